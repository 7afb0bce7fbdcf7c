//! What the TOML says of one table of the star, as it says it.

use std::ops::Range;

use super::file::{Pairs, Text};
use super::section::{Section, Spanned};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleWord {
    Dimension,
    Fact,
    Summary,
    Bridge,
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
    pub times: Option<Text>,
    pub grain: Option<GrainFile>,
    pub measures: Pairs,
    /// Measures that may be floating point.
    pub allow_float: Vec<Text>,
    pub lookups: Vec<LookupFile>,
    /// Facts with the columns whose combinations a junk dimension has.
    pub from: Vec<(Text, Vec<Text>)>,
    pub periodic: Option<PeriodicFile>,
    pub semi_additive: Vec<Text>,
    pub accumulating: Option<Vec<Text>>,
    /// Of a bridge: the columns within which its weights add up to one, and that of the weights.
    pub group: Option<Vec<Text>>,
    pub weight: Option<Text>,
    pub totals: Pairs,
    pub controls: Vec<ControlFile>,
    pub indexes: Vec<Vec<Text>>,
    pub order_by: Vec<Text>,
    pub first_seen: Vec<Text>,
    pub description: Option<Text>,
    pub contract: Option<Text>,
    pub columns: Vec<(Text, ColumnFile)>,
}

/// A dimension that starmill makes without a SELECT: what it is called, its business key, its surrogate.
pub struct BuiltIn {
    pub word: &'static str,
    pub key: &'static str,
    pub surrogate: &'static str,
}

impl ModelFile {
    pub fn built_in(&self) -> Option<BuiltIn> {
        if self.dates.is_some() {
            return Some(BuiltIn { word: "calendar", key: "date", surrogate: "date_key" });
        }
        self.times.as_ref().map(|_| BuiltIn {
            word: "dimension of times",
            key: "time",
            surrogate: "time_key",
        })
    }
}

/// What is declared of a column.
#[derive(Debug)]
pub struct ColumnFile {
    pub type_name: Option<Text>,
    pub not_null: Option<Spanned<bool>>,
    pub description: Option<Text>,
    pub additive: Option<Spanned<bool>>,
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
pub struct PeriodicFile {
    pub every: Option<Text>,
    pub period: Option<Text>,
    pub allow_gaps: Option<Spanned<bool>>,
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

pub fn models(root: &Section) -> Vec<ModelFile> {
    let mut models = Vec::new();
    let roles = [
        ("dimension", RoleWord::Dimension),
        ("fact", RoleWord::Fact),
        ("bridge", RoleWord::Bridge),
        ("summary", RoleWord::Summary),
    ];
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
    let is_bridge = role == RoleWord::Bridge;
    let file = ModelFile {
        role,
        place: name.span.clone(),
        name,
        key: section.strings("key"),
        surrogate: if is_dimension { section.string("surrogate") } else { None },
        history: if is_dimension { section.section("history").map(history) } else { None },
        unknown: if is_dimension { section.string("unknown") } else { None },
        dates: if is_dimension { section.section("dates").map(dates) } else { None },
        times: if is_dimension { section.string("times") } else { None },
        grain: if is_fact { grain(&section) } else { None },
        from: if is_dimension { section.named_strings("from").unwrap_or_default() } else { Vec::new() },
        periodic: if is_fact { periodic(&section) } else { None },
        semi_additive: if is_fact {
            section.strings("semi_additive").unwrap_or_default()
        } else {
            Vec::new()
        },
        accumulating: if is_fact { section.strings("accumulating") } else { None },
        group: if is_bridge { section.strings("group") } else { None },
        weight: if is_bridge { section.string("weight") } else { None },
        measures: if is_fact { section.pairs("measures").unwrap_or_default() } else { Vec::new() },
        allow_float: if is_fact { section.strings("allow_float").unwrap_or_default() } else { Vec::new() },
        lookups: if is_fact || is_bridge { lookups(&section) } else { Vec::new() },
        totals: section.pairs("totals").unwrap_or_default(),
        controls: section.sections("control").into_iter().filter_map(control).collect(),
        indexes: section.string_lists("indexes").unwrap_or_default(),
        order_by: section.strings("order_by").unwrap_or_default(),
        first_seen: section.strings("first_seen").unwrap_or_default(),
        description: section.string("description"),
        contract: section.string("contract"),
        columns: columns(&section),
    };
    section.finish();
    file
}

fn columns(section: &Section) -> Vec<(Text, ColumnFile)> {
    let column = |(name, column): (Text, Section)| {
        let file = ColumnFile {
            type_name: column.string("type"),
            not_null: column.boolean("not_null"),
            description: column.string("description"),
            additive: column.boolean("additive"),
        };
        column.finish();
        (name, file)
    };
    section.named_sections("columns").into_iter().map(column).collect()
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

fn periodic(section: &Section) -> Option<PeriodicFile> {
    if !section.has("periodic") {
        return None;
    }
    let Some(inner) = section.is_table("periodic").then(|| section.section("periodic")).flatten() else {
        let every = section.string("periodic")?;
        let place = every.span.clone();
        return Some(PeriodicFile { every: Some(every), period: None, allow_gaps: None, place });
    };
    let file = PeriodicFile {
        every: inner.required("every", "\"month\""),
        period: inner.string("period"),
        allow_gaps: inner.boolean("allow_gaps"),
        place: inner.span.clone(),
    };
    inner.finish();
    Some(file)
}

fn grain(section: &Section) -> Option<GrainFile> {
    if !section.has("grain") {
        // The rows of a periodic fact are those of no table.
        if !section.has("periodic") {
            section.missing("grain", "\"order_items\"");
        }
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
