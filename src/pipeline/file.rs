//! What the TOML says, as it says it, with the place of everything that can be wrong later.

use toml::de::DeTable;

use super::model_file::{ModelFile, models};
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
    pub lock_timeout: Option<Text>,
    pub lock_wait: Option<Text>,
    pub statement_timeout: Option<Text>,
    pub role: Option<Text>,
    pub views: Option<Text>,
    pub foreign_keys: Option<Spanned<bool>>,
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
        lock_timeout: section.string("lock_timeout"),
        lock_wait: section.string("lock_wait"),
        statement_timeout: section.string("statement_timeout"),
        role: section.string("role"),
        views: section.string("views"),
        foreign_keys: section.boolean("foreign_keys"),
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
