//! The two documents of a store: the commit point, and the proof that goes with each snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Cost;
use crate::error::{Error, ErrorKind};
use crate::name::{ModelName, RunId, SnapshotId, who};
use crate::star::audit::{ControlLine, Coverage, Sums};
use crate::star::columns::ColumnIds;
use crate::star::contract::{ColumnNote, TableContract};
use crate::star::correction::Correction;
use crate::star::diff::TableDiff;
use crate::star::memory::Memory;
use crate::star::origin::{Position, TableRead};
use crate::star::session::Effort;
use crate::star::table::{DataFile, StarTable};

/// Raised when an older starmill could no longer read a store.
pub const FORMAT: u32 = 2;

/// `latest.json`: the published snapshot, every snapshot that is kept, the registry's files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Latest {
    pub format: u32,
    /// Given at the first publication; tells stores apart in a target.
    pub store: String,
    pub snapshot: SnapshotId,
    pub published_at: DateTime<Utc>,
    /// Oldest first. The published one is among them, not always the last.
    pub snapshots: Vec<SnapshotId>,
    pub keys: BTreeMap<ModelName, KeysEntry>,
    /// The newest that was ever published, kept or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<SnapshotId>,
    /// Since when a kept snapshot is no longer the published one; its readers need some time.
    #[serde(default)]
    pub superseded: BTreeMap<SnapshotId, DateTime<Utc>>,
    /// When each kept snapshot was published first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub firsts: BTreeMap<SnapshotId, DateTime<Utc>>,
    /// SHA-256 of each kept snapshot's `manifest.json`, which has those of all its files.
    #[serde(default)]
    pub manifests: BTreeMap<SnapshotId, String>,
    /// The numbers that columns were ever given. A model may be away for a night.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<ModelName, ColumnIds>,
    /// The run that last took away what others had left: those who began before it commit no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<RunId>,
    /// The last run that took somebody out of the snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<RunId>,
    /// Data files, by table and name, that were written anew then, and by which they were replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, DataFile>,
    /// Who keeps the pipeline from publishing, until they say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// Somebody rolled back, and wants it to stay so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub since: DateTime<Utc>,
    /// As `user@host`.
    pub by: String,
    pub because: String,
}

impl Hold {
    pub fn new(because: String) -> Hold {
        Hold { since: crate::clock::now(), by: who(), because }
    }

    /// What a run is told that would publish.
    pub fn refusal(&self) -> Error {
        let Hold { since, by, because } = self;
        let since = since.format("%Y-%m-%d %H:%M:%SZ");
        let message =
            format!("nothing is published since {since}, when {by} rolled back and held it: {because}");
        Error::new(ErrorKind::Held, message)
            .hint("`starmill snapshots release PIPELINE` lets the next run publish again")
    }
}

impl Latest {
    /// The newest snapshot that was ever published here, as far as it is known.
    pub fn newest(&self) -> Option<&SnapshotId> {
        self.snapshots.iter().chain(&self.newest).max()
    }

    /// The same store with another of its snapshots published.
    pub fn moved_to(mut self, snapshot: SnapshotId, now: DateTime<Utc>) -> Latest {
        let left = std::mem::replace(&mut self.snapshot, snapshot);
        self.superseded.remove(&self.snapshot);
        if left != self.snapshot {
            self.superseded.insert(left, now);
        }
        self.published_at = now;
        self
    }

    /// The same store without some of its snapshots.
    pub fn without(mut self, gone: &[SnapshotId]) -> Latest {
        self.snapshots.retain(|id| !gone.contains(id));
        self.superseded.retain(|id, _| !gone.contains(id));
        self.manifests.retain(|id, _| !gone.contains(id));
        self.firsts.retain(|id, _| !gone.contains(id));
        self
    }
}

/// The files of one model's registry, and the highest surrogate ever given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysEntry {
    pub files: Vec<DataFile>,
    pub highest: i64,
    pub shape: Memory,
    /// Hash of the SELECTs that a history was kept of last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// First-seen values that somebody changed on purpose, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrections: Vec<Correction>,
}

impl KeysEntry {
    /// Forgets what was given: the next night gives it anew.
    pub fn begin_anew(&mut self) {
        self.files.clear();
        self.corrections.clear();
    }
}

/// `manifest.json`: what a snapshot holds, where it came from, and the proof.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub starmill: String,
    pub snapshot: SnapshotId,
    pub run: RunId,
    pub previous: Option<SnapshotId>,
    pub created_at: DateTime<Utc>,
    pub pipeline: PipelineRecord,
    pub position: Position,
    pub source: Vec<TableRead>,
    pub tables: Vec<TableRecord>,
    pub controls: Vec<ControlLine>,
    pub coverage: Coverage,
    pub sums: Sums,
    pub changes: Vec<TableDiff>,
    pub steps: Vec<StepRecord>,
    /// The masks of the source's columns, those that no model reads too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masks: BTreeMap<String, String>,
    /// What was taken out of it since it was published. Its numbers are those of what is left, its proof that of what was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<Forgotten>,
}

/// Rows that were taken out of a snapshot, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Forgotten {
    pub at: DateTime<Utc>,
    pub run: RunId,
    /// The table whose rows were asked for.
    pub table: ModelName,
    /// Rows that went from it, and rows of others that lead to the unknown member since.
    pub rows: BTreeMap<ModelName, u64>,
}

impl Manifest {
    /// Whether its data files are the tables', and not its own.
    pub fn shares_files(&self) -> bool {
        self.format >= 2
    }
}

/// The pipeline as it was resolved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PipelineRecord {
    pub name: String,
    pub description: Option<String>,
    pub timezone: String,
    /// Without its password.
    pub source: String,
}

/// One published table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableRecord {
    pub name: ModelName,
    pub role: String,
    #[serde(flatten)]
    pub memory: Memory,
    pub indexes: Vec<Vec<String>>,
    pub sort: Vec<String>,
    pub columns: Vec<ColumnRecord>,
    /// The model's SELECT; none for a calendar.
    pub sql: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether its columns change only by the user's word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<String>,
    pub rows: u64,
    pub bytes: u64,
    pub files: Vec<DataFile>,
    pub effort: Effort,
    pub cost: Cost,
}

impl TableRecord {
    /// What is kept of a table, whose columns have these numbers.
    pub fn of(table: &StarTable, numbers: Option<&ColumnIds>, effort: Effort, cost: Cost) -> TableRecord {
        let contract = table.contract.as_ref();
        let columns = contract.schema.fields().iter().map(|field| ColumnRecord {
            id: numbers.and_then(|of| of.ids.get(field.name()).copied()),
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
            note: contract.notes.get(field.name()).cloned().unwrap_or_default(),
        });
        TableRecord {
            name: contract.name.clone(),
            role: contract.role.clone(),
            memory: contract.memory.clone(),
            indexes: contract.indexes.clone(),
            sort: contract.sort.clone(),
            columns: columns.collect(),
            sql: contract.sql.clone(),
            description: contract.description.clone(),
            frozen: contract.frozen,
            milestones: contract.milestones.clone(),
            rows: table.rows(),
            bytes: table.bytes(),
            files: table.files.clone(),
            effort,
            cost,
        }
    }

    /// What the table was, with these columns.
    pub fn contract(&self, schema: SchemaRef) -> TableContract {
        let noted = self.columns.iter().map(|column| (column.name.clone(), column.note.clone()));
        TableContract {
            name: self.name.clone(),
            role: self.role.clone(),
            memory: self.memory.clone(),
            indexes: self.indexes.clone(),
            sort: self.sort.clone(),
            schema,
            sql: self.sql.clone(),
            description: self.description.clone(),
            frozen: self.frozen,
            milestones: self.milestones.clone(),
            notes: noted.filter(|(_, note)| !note.is_empty()).collect(),
        }
    }

    /// The schema, as far as the types' names tell it.
    pub fn schema(&self) -> Option<SchemaRef> {
        let field =
            |column: &ColumnRecord| Some(Field::new(&column.name, column.data_type.parse().ok()?, true));
        let fields = self.columns.iter().map(field).collect::<Option<Vec<Field>>>()?;
        Some(Arc::new(Schema::new(fields)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRecord {
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    /// Its number in the files, for the table's whole life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i32>,
    #[serde(flatten)]
    pub note: ColumnNote,
}

/// What one step of the run cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepRecord {
    pub step: String,
    #[serde(flatten)]
    pub cost: Cost,
}
