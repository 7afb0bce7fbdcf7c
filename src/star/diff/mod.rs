//! What changed between two stars, table by table, found by walking both in key order.

pub mod cursor;
mod rows;
pub mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use chrono_tz::Tz;
use datafusion::execution::runtime_env::RuntimeEnv;
use serde::{Deserialize, Serialize};

use super::audit::Sums;
use super::contract::ContractChange;
use super::correction::Correction;
use super::number::Number;
use super::table::StarTable;
use super::{AuditedStar, PublishedStar};
use crate::error::Result;
use crate::name::SnapshotId;
use cursor::Cursor;
pub use rows::{RowChanges, row_changes, widens};
use walk::{Tally, walk};

/// What a run changes in the published star.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StarDiff {
    /// The snapshot compared with; none on the first run.
    pub since: Option<SnapshotId>,
    pub tables: Vec<TableDiff>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableDiff {
    pub table: String,
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    /// In how many rows each column changed.
    pub changed_columns: BTreeMap<String, u64>,
    /// The columns of the source that the changed columns are made of, as `users.name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made_of: BTreeMap<String, BTreeSet<String>>,
    /// Columns that the other star's table has not, or has in another type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reshaped: Vec<String>,
    /// The same, with what they were and are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contract: Vec<ContractChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// How the sum of each numeric column moved; those that didn't are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub totals: BTreeMap<String, Movement>,
    /// Of an accumulating fact: how far its rows came since, by milestone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub milestones: BTreeMap<String, Milestone>,
    /// First-seen values that somebody changed since, on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrected: Vec<Correction>,
    /// Whether the table is new, gone, or was there.
    pub presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    Kept,
    New,
    Dropped,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Movement {
    pub before: Number,
    pub after: Number,
}

/// In how many rows that were there before a milestone was reached, moved to another time, or taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Milestone {
    pub reached: u64,
    pub moved: u64,
    pub taken_back: u64,
}

impl Milestone {
    fn see(&mut self, before: &ArrayRef, after: &ArrayRef, differs: &BooleanArray) {
        for row in (0..differs.len()).filter(|row| differs.value(*row)) {
            match (before.is_valid(row), after.is_valid(row)) {
                (false, true) => self.reached += 1,
                (true, false) => self.taken_back += 1,
                _ => self.moved += 1,
            }
        }
    }
}

/// One row that differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Example {
    pub kind: ExampleKind,
    /// `column=value` pairs of the key.
    pub key: String,
    /// The changed columns with their old and new values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExampleKind {
    Added,
    Removed,
    Changed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    pub column: String,
    pub old: String,
    pub new: String,
}

impl StarDiff {
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(TableDiff::is_empty)
    }
}

impl TableDiff {
    pub fn is_empty(&self) -> bool {
        self.added + self.removed + self.changed == 0
            && self.reshaped.is_empty()
            && self.presence == Presence::Kept
    }

    fn unchanged(table: &str) -> TableDiff {
        TableDiff {
            table: table.to_owned(),
            added: 0,
            removed: 0,
            changed: 0,
            changed_columns: BTreeMap::new(),
            made_of: BTreeMap::new(),
            reshaped: Vec::new(),
            contract: Vec::new(),
            examples: Vec::new(),
            totals: BTreeMap::new(),
            milestones: BTreeMap::new(),
            corrected: Vec::new(),
            presence: Presence::Kept,
        }
    }
}

/// Examples of each kind that a table shows.
const EXAMPLES: usize = 3;

/// A star as the diff sees it, published or about to be.
pub struct StarView<'a> {
    tables: &'a [StarTable],
    sums: &'a Sums,
}

impl<'a> StarView<'a> {
    pub fn audited(star: &'a AuditedStar) -> StarView<'a> {
        StarView { tables: &star.tables, sums: &star.sums }
    }

    pub fn published(star: &'a PublishedStar) -> StarView<'a> {
        StarView { tables: &star.tables, sums: &star.sums }
    }
}

/// Compares a star with the one that was published before it.
pub async fn diff(
    timezone: Tz,
    runtime: &Arc<RuntimeEnv>,
    old: Option<&PublishedStar>,
    new: &StarView<'_>,
) -> Result<StarDiff> {
    let mut tables = Vec::new();
    for table in new.tables {
        let before = old.and_then(|star| star.tables.iter().find(|old| old.name() == table.name()));
        let mut found = match before {
            None => TableDiff {
                added: table.rows(),
                presence: Presence::New,
                ..TableDiff::unchanged(table.name().as_str())
            },
            Some(before) if same_files(before, table) => TableDiff::unchanged(table.name().as_str()),
            Some(before) => compare(timezone, runtime, before, table, &key_of(before, table)).await?,
        };
        let made_of =
            |column: &String| Some((column.clone(), table.contract.notes.get(column)?.made_of.clone()));
        found.made_of = found.changed_columns.keys().filter_map(made_of).collect();
        found.made_of.retain(|_, made_of| !made_of.is_empty());
        found.contract = before.map(|before| table.contract.changes(before.schema())).unwrap_or_default();
        if let Some(old) = old {
            found.totals =
                movements(old.sums.get(table.name().as_str()), new.sums.get(table.name().as_str()));
            // What is not to be summed has no total that moves.
            found.totals.retain(|column, _| {
                table.contract.notes.get(column).is_none_or(|note| note.not_additive.is_none())
            });
        }
        tables.push(found);
    }
    for before in old.iter().flat_map(|star| &star.tables) {
        if new.tables.iter().all(|table| table.name() != before.name()) {
            tables.push(TableDiff {
                removed: before.rows(),
                presence: Presence::Dropped,
                ..TableDiff::unchanged(before.name().as_str())
            });
        }
    }
    Ok(StarDiff { since: old.map(|star| star.snapshot.clone()), tables })
}

/// The same rows give the same bytes, so equal hashes spare the walk.
fn same_files(old: &StarTable, new: &StarTable) -> bool {
    old.schema() == new.schema() && old.hashes() == new.hashes()
}

/// Both sides without the files that both have: the same bytes are the same rows.
fn without_shared(old: &StarTable, new: &StarTable) -> (StarTable, StarTable) {
    let (mut old, mut new) = (old.clone(), new.clone());
    if old.schema() == new.schema() {
        new.files.retain(|file| {
            let same = old.files.iter().position(|other| other.sha256 == file.sha256);
            same.map(|at| old.files.remove(at)).is_none()
        });
    }
    (old, new)
}

/// The columns that tell which rows belong together: the key, or the whole row without one.
fn key_of(old: &StarTable, new: &StarTable) -> Vec<String> {
    let shared = |name: &String| old.schema().field_with_name(name).is_ok();
    let key = new.contract.key();
    if !key.is_empty() && key.iter().all(shared) {
        return key;
    }
    let names = new.schema().fields().iter().map(|field| field.name().clone());
    names.filter(|name| same_type(old, new, name)).collect()
}

fn same_type(old: &StarTable, new: &StarTable, name: &str) -> bool {
    let type_of =
        |table: &StarTable| table.schema().field_with_name(name).ok().map(|field| field.data_type().clone());
    type_of(old).is_some() && type_of(old) == type_of(new)
}

fn movements(
    old: Option<&BTreeMap<String, Number>>,
    new: Option<&BTreeMap<String, Number>>,
) -> BTreeMap<String, Movement> {
    let (Some(old), Some(new)) = (old, new) else { return BTreeMap::new() };
    let moved = new.iter().filter_map(|(column, after)| {
        let before = old.get(column)?;
        let movement = Movement { before: before.clone(), after: after.clone() };
        (!before.agrees_with(after)).then(|| (column.clone(), movement))
    });
    moved.collect()
}

async fn compare(
    timezone: Tz,
    runtime: &Arc<RuntimeEnv>,
    old: &StarTable,
    new: &StarTable,
    key: &[String],
) -> Result<TableDiff> {
    let all = old.schema().fields().iter().chain(new.schema().fields());
    let mut reshaped: Vec<String> =
        all.map(|field| field.name().clone()).filter(|name| !same_type(old, new, name)).collect();
    reshaped.sort();
    reshaped.dedup();
    let names = new.schema().fields().iter().map(|field| field.name().clone());
    let shared: Vec<String> = names.filter(|name| same_type(old, new, name) && !key.contains(name)).collect();
    let mut columns = key.to_vec();
    columns.extend(shared);
    if columns.is_empty() {
        // Nothing of the old table is left to compare with.
        let found = TableDiff::unchanged(new.name().as_str());
        return Ok(TableDiff { added: new.rows(), removed: old.rows(), reshaped, ..found });
    }
    let (old, new) = &without_shared(old, new);
    let old_rows = Cursor::open((timezone, runtime), old, &columns, key).await?;
    let new_rows = Cursor::open((timezone, runtime), new, &columns, key).await?;
    let mut tally = Tally {
        milestones: new.contract.milestones.clone(),
        found: TableDiff { reshaped, ..TableDiff::unchanged(new.name().as_str()) },
    };
    walk(old_rows, new_rows, &mut tally).await?;
    Ok(tally.found)
}
