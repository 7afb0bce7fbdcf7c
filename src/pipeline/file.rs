//! What the TOML says, as it says it, with the place of everything that can be wrong later.

use std::ops::Range;

use toml::de::DeTable;

use super::section::{Notes, Section, Spanned};
use crate::diagnostic::Diagnostic;

pub type Text = Spanned<String>;
pub type Pairs = Vec<(Text, Text)>;

#[derive(Debug, Default)]
pub struct PipelineFile {
    pub name: Option<Text>,
    pub description: Option<Text>,
    pub timezone: Option<Text>,
    pub source: SourceFile,
    pub store: StoreFile,
    pub run: RunFile,
    pub sql: SqlFile,
    pub target: Option<TargetFile>,
    pub schedule: Option<ScheduleFile>,
    pub notify: NotifyFile,
    pub models: Vec<ModelFile>,
}

#[derive(Debug, Default)]
pub struct SourceFile {
    pub url: Option<Text>,
    pub schemas: Option<Vec<Text>>,
    pub connections: Option<i64>,
    pub snapshot_max: Option<Text>,
    pub silent_max: Option<Text>,
    pub lock_timeout: Option<Text>,
    pub statement_timeout: Option<Text>,
    pub numeric: Option<Text>,
    pub special: Option<Text>,
    pub far_dates: Option<Text>,
    pub allow_empty: Vec<Text>,
    pub allow_foreign: Vec<Text>,
    pub columns: Vec<(Text, Option<Text>)>,
    pub filters: Pairs,
    pub masks: Pairs,
    pub mask_key: Option<Text>,
}

#[derive(Debug, Default)]
pub struct StoreFile {
    pub url: Option<Text>,
    pub keep: Option<i64>,
    pub grace: Option<Text>,
    pub keep_runs: Option<Text>,
    pub encodings: Option<Text>,
    pub file_size: Option<Text>,
    /// Whether `lake.sqlite` tells other engines of the snapshots.
    pub lake: Option<Spanned<bool>>,
    /// Whether each table has a Delta log.
    pub delta: Option<Spanned<bool>>,
    /// Of a store in a bucket.
    pub endpoint: Option<Text>,
    pub account: Option<Text>,
    pub region: Option<Text>,
    pub addressing: Option<Text>,
    pub cache: Option<Text>,
    pub lease: Option<Text>,
}

#[derive(Debug, Default)]
pub struct RunFile {
    pub memory: Option<Text>,
    pub scratch: Option<Text>,
}

#[derive(Debug, Default)]
pub struct SqlFile {
    pub allow: Vec<Text>,
}

#[derive(Debug)]
pub struct TargetFile {
    pub url: Option<Text>,
    pub schema: Option<Text>,
    /// The schema that tells other engines of the snapshots.
    pub lake: Option<Text>,
    pub silent_max: Option<Text>,
}

#[derive(Debug)]
pub struct ScheduleFile {
    pub cron: Option<Text>,
    pub timezone: Option<Text>,
    pub retries: Option<i64>,
    pub retry_wait: Option<Text>,
    pub late_after: Option<Text>,
}

#[derive(Debug, Default)]
pub struct NotifyFile {
    pub webhook: Option<Text>,
    pub heartbeat: Option<Text>,
    pub command: Option<Vec<Text>>,
    pub on: Option<Vec<Text>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleWord {
    Dimension,
    Fact,
    Summary,
}

#[derive(Debug)]
pub struct ModelFile {
    pub role: RoleWord,
    pub name: Text,
    pub place: Range<usize>,
    pub key: Option<Vec<Text>>,
    pub surrogate: Option<Text>,
    pub history: Option<HistoryFile>,
    pub unknown: Option<Text>,
    pub dates: Option<DatesFile>,
    pub grain: Option<GrainFile>,
    pub measures: Pairs,
    /// Measures that may be floating point.
    pub allow_float: Vec<Text>,
    pub lookups: Vec<LookupFile>,
    pub totals: Pairs,
    pub controls: Vec<ControlFile>,
    pub indexes: Vec<Vec<Text>>,
    pub order_by: Vec<Text>,
    pub first_seen: Vec<Text>,
}

#[derive(Debug)]
pub struct DatesFile {
    pub from: Option<Text>,
    pub to: Option<Text>,
    pub fiscal_start: Option<i64>,
    pub language: Option<Text>,
    pub holidays: Option<Text>,
    pub place: Range<usize>,
}

#[derive(Debug)]
pub struct HistoryFile {
    pub track: Option<Vec<Text>>,
    pub except: Option<Vec<Text>>,
    pub effective_from: Option<Text>,
    pub place: Range<usize>,
}

#[derive(Debug)]
pub struct GrainFile {
    pub table: Text,
    pub filter: Option<Text>,
}

#[derive(Debug)]
pub struct LookupFile {
    pub column: Text,
    pub dimension: Text,
    pub on: Pairs,
    /// The fact's column whose time says which version of the dimension's row is meant.
    pub as_of: Option<Text>,
    pub unknown_max: Option<Text>,
    /// Whether a key that the dimension doesn't have yet becomes a member of it.
    pub inferred: Option<Spanned<bool>>,
}

#[derive(Debug)]
pub struct ControlFile {
    pub name: Text,
    pub source: Text,
    pub star: Text,
}

/// How much of a pipeline is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// All but the source and the models, which need not even be right.
    Deployment,
}

/// Reads the TOML, noting every mistake; what could be read is returned all the same.
pub fn parse(notes: &Notes, extent: Extent) -> PipelineFile {
    let (table, errors) = DeTable::parse_recoverable(&notes.document.text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let diagnostic = Diagnostic::error(format!("this TOML does not parse: {}", error.message().trim()));
        notes.add(diagnostic.at(&notes.document, span));
    }
    let root = Section::root(&table, notes);
    let whole = extent == Extent::Whole;
    let file = PipelineFile {
        name: root.string("name"),
        description: root.string("description"),
        timezone: root.string("timezone"),
        source: match root.section("source") {
            Some(section) if whole => source(section),
            Some(_) => SourceFile::default(),
            None => {
                root.missing("[source]", "[source] with `url = \"postgres://…\"` or a folder below it");
                SourceFile::default()
            }
        },
        store: root.section("store").map(store).unwrap_or_default(),
        run: root.section("run").map(run).unwrap_or_default(),
        sql: root.section("sql").map(sql).unwrap_or_default(),
        target: root.section("target").map(target),
        schedule: root.section("schedule").map(schedule),
        notify: root.section("notify").map(notify).unwrap_or_default(),
        models: if whole { models(&root) } else { Vec::new() },
    };
    if whole {
        root.finish();
    }
    file
}

fn source(section: Section) -> SourceFile {
    let file = SourceFile {
        url: section.required("url", "\"postgres://…\" or a folder"),
        schemas: section.strings("schemas"),
        connections: section.integer("connections", 1..=64),
        snapshot_max: section.string("snapshot_max"),
        silent_max: section.string("silent_max"),
        lock_timeout: section.string("lock_timeout"),
        statement_timeout: section.string("statement_timeout"),
        numeric: section.string("numeric"),
        special: section.string("special"),
        far_dates: section.string("far_dates"),
        allow_empty: section.strings("allow_empty").unwrap_or_default(),
        allow_foreign: section.strings("allow_foreign").unwrap_or_default(),
        filters: section.pairs("where").unwrap_or_default(),
        masks: section.pairs("mask").unwrap_or_default(),
        mask_key: section.string("mask_key"),
        columns: section
            .named_sections("columns")
            .into_iter()
            .map(|(name, column)| {
                let mapping = column.required("as", "\"decimal(20,13)\" or \"text\"");
                column.finish();
                (name, mapping)
            })
            .collect(),
    };
    section.finish();
    file
}

fn store(section: Section) -> StoreFile {
    let file = StoreFile {
        url: section.string("url"),
        keep: section.integer("keep", 1..=100_000),
        grace: section.string("grace"),
        keep_runs: section.string("keep_runs"),
        encodings: section.string("encodings"),
        file_size: section.string("file_size"),
        lake: section.boolean("lake"),
        delta: section.boolean("delta"),
        endpoint: section.string("endpoint"),
        account: section.string("account"),
        region: section.string("region"),
        addressing: section.string("addressing"),
        cache: section.string("cache"),
        lease: section.string("lease"),
    };
    section.finish();
    file
}

fn run(section: Section) -> RunFile {
    let file = RunFile { memory: section.string("memory"), scratch: section.string("scratch") };
    section.finish();
    file
}

fn sql(section: Section) -> SqlFile {
    let file = SqlFile { allow: section.strings("allow").unwrap_or_default() };
    section.finish();
    file
}

fn target(section: Section) -> TargetFile {
    let file = TargetFile {
        url: section.required("url", "\"postgres://…\""),
        schema: section.string("schema"),
        lake: section.string("lake"),
        silent_max: section.string("silent_max"),
    };
    section.finish();
    file
}

fn schedule(section: Section) -> ScheduleFile {
    let file = ScheduleFile {
        cron: section.required("cron", "\"30 3 * * *\""),
        timezone: section.string("timezone"),
        retries: section.integer("retries", 0..=100),
        retry_wait: section.string("retry_wait"),
        late_after: section.string("late_after"),
    };
    section.finish();
    file
}

fn notify(section: Section) -> NotifyFile {
    let file = NotifyFile {
        webhook: section.string("webhook"),
        heartbeat: section.string("heartbeat"),
        command: section.strings("command"),
        on: section.strings("on"),
    };
    section.finish();
    file
}

fn models(root: &Section) -> Vec<ModelFile> {
    let mut models = Vec::new();
    let roles =
        [("dimension", RoleWord::Dimension), ("fact", RoleWord::Fact), ("summary", RoleWord::Summary)];
    for (word, role) in roles {
        for (name, section) in root.named_sections(word) {
            models.push(model(role, name, section));
        }
    }
    models
}

fn model(role: RoleWord, name: Text, section: Section) -> ModelFile {
    let is_fact = role == RoleWord::Fact;
    let is_dimension = role == RoleWord::Dimension;
    let file = ModelFile {
        role,
        place: name.span.clone(),
        name,
        key: section.strings("key"),
        surrogate: if is_dimension { section.string("surrogate") } else { None },
        history: if is_dimension { section.section("history").map(history) } else { None },
        unknown: if is_dimension { section.string("unknown") } else { None },
        dates: if is_dimension { section.section("dates").map(dates) } else { None },
        grain: if is_fact { grain(&section) } else { None },
        measures: if is_fact { section.pairs("measures").unwrap_or_default() } else { Vec::new() },
        allow_float: if is_fact { section.strings("allow_float").unwrap_or_default() } else { Vec::new() },
        lookups: if is_fact { lookups(&section) } else { Vec::new() },
        totals: section.pairs("totals").unwrap_or_default(),
        controls: section.sections("control").into_iter().filter_map(control).collect(),
        indexes: section.string_lists("indexes").unwrap_or_default(),
        order_by: section.strings("order_by").unwrap_or_default(),
        first_seen: section.strings("first_seen").unwrap_or_default(),
    };
    section.finish();
    file
}

fn dates(section: Section) -> DatesFile {
    let file = DatesFile {
        from: section.required("from", "\"2024-01-01\""),
        to: section.required("to", "\"2027-12-31\""),
        fiscal_start: section.integer("fiscal_start", 1..=12),
        language: section.string("language"),
        holidays: section.string("holidays"),
        place: section.span.clone(),
    };
    section.finish();
    file
}

fn history(section: Section) -> HistoryFile {
    let file = HistoryFile {
        track: section.strings("track"),
        except: section.strings("except"),
        effective_from: section.string("effective_from"),
        place: section.span.clone(),
    };
    section.finish();
    file
}

fn grain(section: &Section) -> Option<GrainFile> {
    if !section.has("grain") {
        section.missing("grain", "\"order_items\"");
        return None;
    }
    if !section.is_table("grain") {
        return section.string("grain").map(|table| GrainFile { table, filter: None });
    }
    let inner = section.section("grain")?;
    let table = inner.required("table", "\"order_items\"");
    let filter = inner.string("where");
    inner.finish();
    table.map(|table| GrainFile { table, filter })
}

fn lookups(section: &Section) -> Vec<LookupFile> {
    let mut found = Vec::new();
    for (column, lookup) in section.named_sections("lookups") {
        let dimension = lookup.required("dimension", "\"dim_customer\"");
        let on = lookup.pairs("on");
        if on.is_none() {
            lookup.missing("on", "[\"customer_id\"]");
        }
        let as_of = lookup.string("as_of");
        let unknown_max = lookup.string_or_integer("unknown_max");
        let inferred = lookup.boolean("inferred");
        lookup.finish();
        if let (Some(dimension), Some(on)) = (dimension, on) {
            found.push(LookupFile { column, dimension, on, as_of, unknown_max, inferred });
        }
    }
    found
}

fn control(section: Section) -> Option<ControlFile> {
    let name = section.required("name", "\"orders counted once\"");
    let source = section.required("source", "\"SELECT count(*) FROM orders\"");
    let star = section.required("star", "\"SELECT count(*) FROM order_summary\"");
    section.finish();
    Some(ControlFile { name: name?, source: source?, star: star? })
}
