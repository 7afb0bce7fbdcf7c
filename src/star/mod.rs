//! What a star is, wherever it comes from or goes. Each state is a type, and each step consumes
//! the state before it, so that skipping one doesn't compile.

pub mod additivity;
pub mod audit;
pub mod book;
pub mod build;
mod build_side;
pub mod calendar;
pub mod columns;
mod compacted;
pub mod compose;
pub mod contract;
pub mod correction;
mod cut;
mod days;
pub mod design;
pub mod diff;
pub mod drift;
mod encoding;
pub mod inferred;
mod junk;
mod lineage;
pub mod memory;
pub mod number;
pub mod origin;
mod parts;
mod register;
pub mod scan;
pub mod schema;
pub mod session;
pub mod shelf;
pub mod staged;
mod string_agg;
pub mod table;
mod times;
pub mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::name::{ModelName, SnapshotId, SourceTable};
use audit::ControlLine;
use build::ModelReport;
use number::Number;
use staged::StagedTable;
use table::{DataFile, StarTable};
use versions::Restatement;

/// The source's tables as of one instant, and the source's numbers of that same instant.
#[derive(Debug)]
pub struct Extract {
    /// The instant of all of it.
    pub at: DateTime<Utc>,
    pub tables: SourceTables,
    /// Tables that have rows, of which the models' own conditions left none to read.
    pub unmet: BTreeSet<SourceTable>,
    pub totals: ControlTotals,
}

pub type SourceTables = BTreeMap<SourceTable, StagedTable>;

/// The source's side of every control, in the order of the pipeline's controls.
#[derive(Debug)]
pub struct ControlTotals(pub Vec<Number>);

/// The star, built and not yet proven.
#[derive(Debug)]
pub struct BuiltStar {
    /// The instant of the source that it was built of.
    pub at: DateTime<Utc>,
    pub tables: StarTables,
    pub totals: ControlTotals,
    pub registrations: Vec<Registration>,
    pub models: Vec<ModelReport>,
    pub histories: BTreeMap<ModelName, Kept>,
    /// Kept for the audit's examples.
    pub source: SourceTables,
    /// Tables that have rows, of which the models' own conditions left none.
    pub unmet: BTreeSet<SourceTable>,
}

/// The star, proven against the source. Only the audit makes one.
#[derive(Debug)]
pub struct AuditedStar {
    pub tables: StarTables,
    pub lines: Vec<ControlLine>,
    pub coverage: audit::Coverage,
    /// The sum of every numeric column, by table and column.
    pub sums: audit::Sums,
    pub registrations: Vec<Registration>,
    pub models: Vec<ModelReport>,
}

/// A star that readers see.
#[derive(Debug)]
pub struct PublishedStar {
    pub snapshot: SnapshotId,
    pub tables: StarTables,
    pub sums: audit::Sums,
}

/// What one model's keys have been given, ever.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    pub tables: Vec<StarTable>,
    /// The highest surrogate given, of this key and of any key before it.
    pub highest: i64,
    /// What members were called before the model had a history, when it has one since.
    pub numbers: Vec<StarTable>,
    /// Of a history: whether the model's SELECT is another than the one that it was kept of, and what becomes of its members.
    pub restatement: Edited,
}

/// What was kept of a dimension's versions tonight, for the audit.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Rows that the model gave.
    pub rows: u64,
    /// Versions that ended because of a next one, which doesn't begin there.
    pub gaps: u64,
    /// Members whose tracked columns changed, though the source says no later time since when, and some of them.
    pub late: u64,
    pub examples: Vec<String>,
}

/// Whether a model's SELECT was edited since its history was kept last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Edited {
    #[default]
    No,
    /// Nobody has said yet what becomes of members that it changes.
    Unsaid,
    Said(Restatement),
}

/// In build order.
pub type StarTables = Vec<StarTable>;

impl Registration {
    /// The file of what was given after a backup that is gone on from, and was found in the target.
    pub const RESTORED: &'static str = "restored.parquet";
}

/// What a run gave for the first time to the keys of one model: surrogates, first-seen values.
#[derive(Debug, Clone)]
pub struct Registration {
    pub model: ModelName,
    pub folder: PathBuf,
    pub file: DataFile,
    /// The highest surrogate given so far.
    pub highest: i64,
}
