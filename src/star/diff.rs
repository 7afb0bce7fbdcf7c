//! What changed between two stars, table by table, found by walking both in key order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::compute::kernels::boolean::or;
use arrow::compute::kernels::cmp::distinct;
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono_tz::Tz;
use datafusion::common::TableReference;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::audit::Sums;
use super::number::Number;
use super::session::{Effort, STAR, Session, model_error};
use super::table::StarTable;
use super::{AuditedStar, PublishedStar, shelf};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::name::{SnapshotId, quote_identifier as quote};
use crate::pipeline::Pipeline;
use crate::pipeline::model::Model;

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
    /// Columns that the other star's table has not, or has in another type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reshaped: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// How the sum of each numeric column moved; those that didn't are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub totals: BTreeMap<String, Movement>,
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
            reshaped: Vec::new(),
            examples: Vec::new(),
            totals: BTreeMap::new(),
            presence: Presence::Kept,
        }
    }
}

/// Examples of each kind that a table shows.
const EXAMPLES: usize = 3;

/// A star as the diff sees it, published or about to be.
pub struct StarView<'a> {
    tables: &'a [StarTable],
    /// The key of each table, in their order; empty for one that has none.
    keys: Vec<Vec<String>>,
    sums: &'a Sums,
}

impl<'a> StarView<'a> {
    pub fn audited(pipeline: &Pipeline, star: &'a AuditedStar) -> StarView<'a> {
        let keys = pipeline.models.iter().map(Model::key_columns).collect();
        StarView { tables: &star.tables, keys, sums: &star.sums }
    }

    pub fn published(star: &'a PublishedStar) -> StarView<'a> {
        let keys = star.shapes.iter().map(|shape| shape.key.clone()).collect();
        StarView { tables: &star.tables, keys, sums: &star.sums }
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
    for (table, key) in new.tables.iter().zip(&new.keys) {
        let before = old.and_then(|star| star.tables.iter().find(|old| old.name == table.name));
        let mut found = match before {
            None => TableDiff {
                added: table.rows(),
                presence: Presence::New,
                ..TableDiff::unchanged(table.name.as_str())
            },
            Some(before) if same_files(before, table) => TableDiff::unchanged(table.name.as_str()),
            Some(before) => compare(timezone, runtime, before, table, &key_of(key, before, table)).await?,
        };
        if let Some(old) = old {
            found.totals = movements(old.sums.get(table.name.as_str()), new.sums.get(table.name.as_str()));
        }
        tables.push(found);
    }
    for before in old.iter().flat_map(|star| &star.tables) {
        if new.tables.iter().all(|table| table.name != before.name) {
            tables.push(TableDiff {
                removed: before.rows(),
                presence: Presence::Dropped,
                ..TableDiff::unchanged(before.name.as_str())
            });
        }
    }
    Ok(StarDiff { since: old.map(|star| star.snapshot.clone()), tables })
}

/// The same rows give the same bytes, so equal hashes spare the walk.
fn same_files(old: &StarTable, new: &StarTable) -> bool {
    let hashes = |table: &StarTable| table.files.iter().map(|file| file.sha256.clone()).collect::<Vec<_>>();
    old.schema == new.schema && hashes(old) == hashes(new)
}

/// The columns that tell which rows belong together: the key, or the whole row without one.
fn key_of(key: &[String], old: &StarTable, new: &StarTable) -> Vec<String> {
    let shared = |name: &String| old.schema.field_with_name(name).is_ok();
    if !key.is_empty() && key.iter().all(shared) {
        return key.to_vec();
    }
    let names = new.schema.fields().iter().map(|field| field.name().clone());
    names.filter(|name| same_type(old, new, name)).collect()
}

fn same_type(old: &StarTable, new: &StarTable, name: &str) -> bool {
    let type_of =
        |table: &StarTable| table.schema.field_with_name(name).ok().map(|field| field.data_type().clone());
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
    let all = old.schema.fields().iter().chain(new.schema.fields());
    let mut reshaped: Vec<String> =
        all.map(|field| field.name().clone()).filter(|name| !same_type(old, new, name)).collect();
    reshaped.sort();
    reshaped.dedup();
    let names = new.schema.fields().iter().map(|field| field.name().clone());
    let shared: Vec<String> = names.filter(|name| same_type(old, new, name) && !key.contains(name)).collect();
    let mut columns = key.to_vec();
    columns.extend(shared);
    if columns.is_empty() {
        // Nothing of the old table is left to compare with.
        let found = TableDiff::unchanged(new.name.as_str());
        return Ok(TableDiff { added: new.rows(), removed: old.rows(), reshaped, ..found });
    }
    let session = Session::new(timezone, runtime, Effort::Frugal)?;
    let old_rows = Cursor::open(&session, "old", old, &columns, key, timezone.name()).await?;
    let new_rows = Cursor::open(&session, "new", new, &columns, key, timezone.name()).await?;
    let mut walk =
        Walk { key: key.len(), found: TableDiff { reshaped, ..TableDiff::unchanged(new.name.as_str()) } };
    walk.run(old_rows, new_rows).await?;
    Ok(walk.found)
}

/// One side of the walk: its rows in key order, a batch at a time.
struct Cursor {
    stream: SendableRecordBatchStream,
    converter: RowConverter,
    batch: RecordBatch,
    rows: Rows,
    at: usize,
    key: usize,
}

impl Cursor {
    async fn open(
        session: &Session,
        side: &str,
        table: &StarTable,
        columns: &[String],
        key: &[String],
        zone: &str,
    ) -> Result<Cursor> {
        let failed = |error| model_error(error, format!("cannot compare {}", table.name));
        let reference = TableReference::full(STAR, side, table.name.as_str());
        session.add(reference.clone(), shelf::provider(table, zone))?;
        let list = |names: &[String]| names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
        let text =
            format!("SELECT {} FROM {} ORDER BY {}", list(columns), reference.to_quoted_string(), list(key));
        let plan = session.plan_text(&text).await.map_err(failed)?;
        let frame = session.context().execute_logical_plan(plan).await.map_err(failed)?;
        let stream = frame.execute_stream().await.map_err(failed)?;
        let options = SortOptions { descending: false, nulls_first: false };
        let schema = stream.schema();
        let fields = schema.fields()[..key.len()].iter();
        let fields =
            fields.map(|field| SortField::new_with_options(field.data_type().clone(), options)).collect();
        let converter = RowConverter::new(fields).or_error(ErrorKind::Bug, || "key rows".to_owned())?;
        let rows = converter.empty_rows(0, 0);
        let batch = RecordBatch::new_empty(schema);
        let mut cursor = Cursor { stream, converter, batch, rows, at: 0, key: key.len() };
        cursor.refill().await?;
        Ok(cursor)
    }

    /// Makes sure that there is a current row, unless the side has ended.
    async fn refill(&mut self) -> Result<()> {
        while self.at >= self.batch.num_rows() {
            let Some(batch) = self.stream.next().await else { return Ok(()) };
            self.batch = batch.map_err(|error| model_error(error, "cannot compare the stars".to_owned()))?;
            let keys = &self.batch.columns()[..self.key];
            self.rows =
                self.converter.convert_columns(keys).or_error(ErrorKind::Bug, || "key rows".to_owned())?;
            self.at = 0;
        }
        Ok(())
    }

    fn left(&self) -> usize {
        self.batch.num_rows() - self.at
    }

    fn key_text(&self, row: usize) -> String {
        let schema = self.batch.schema();
        let shown = (0..self.key).map(|column| {
            format!("{}={}", schema.field(column).name(), cell(self.batch.column(column), row))
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

struct Walk {
    key: usize,
    found: TableDiff,
}

impl Walk {
    async fn run(&mut self, mut old: Cursor, mut new: Cursor) -> Result<()> {
        loop {
            match (old.left(), new.left()) {
                (0, 0) => return Ok(()),
                (left, 0) => {
                    self.only(&old, left, ExampleKind::Removed);
                    old.at += left;
                }
                (0, left) => {
                    self.only(&new, left, ExampleKind::Added);
                    new.at += left;
                }
                _ => self.step(&mut old, &mut new)?,
            }
            old.refill().await?;
            new.refill().await?;
        }
    }

    /// Takes the longest run of rows that both sides have, else one row that only one side has.
    fn step(&mut self, old: &mut Cursor, new: &mut Cursor) -> Result<()> {
        let most = old.left().min(new.left());
        let same = |at: usize| old.rows.row(old.at + at) == new.rows.row(new.at + at);
        let run = (0..most).take_while(|at| same(*at)).count();
        if run > 0 {
            self.pairs(old, new, run)?;
            old.at += run;
            new.at += run;
        } else if old.rows.row(old.at) < new.rows.row(new.at) {
            self.only(old, 1, ExampleKind::Removed);
            old.at += 1;
        } else {
            self.only(new, 1, ExampleKind::Added);
            new.at += 1;
        }
        Ok(())
    }

    fn only(&mut self, side: &Cursor, rows: usize, kind: ExampleKind) {
        match kind {
            ExampleKind::Removed => self.found.removed += rows as u64,
            _ => self.found.added += rows as u64,
        }
        for row in side.at..side.at + rows {
            if !self.wants(kind) {
                break;
            }
            self.found.examples.push(Example { kind, key: side.key_text(row), changes: Vec::new() });
        }
    }

    fn wants(&self, kind: ExampleKind) -> bool {
        self.found.examples.iter().filter(|example| example.kind == kind).count() < EXAMPLES
    }

    /// Rows of the same keys: which columns differ, and where.
    fn pairs(&mut self, old: &Cursor, new: &Cursor, run: usize) -> Result<()> {
        let schema = new.batch.schema();
        let mut any: Option<BooleanArray> = None;
        for column in self.key..new.batch.num_columns() {
            let before = old.batch.column(column).slice(old.at, run);
            let after = new.batch.column(column).slice(new.at, run);
            if before.to_data() == after.to_data() {
                continue;
            }
            let differs = differing(&before, &after)?;
            let count = differs.true_count() as u64;
            if count == 0 {
                continue;
            }
            *self.found.changed_columns.entry(schema.field(column).name().clone()).or_default() += count;
            any = Some(match any {
                Some(any) => or(&any, &differs).or_error(ErrorKind::Bug, || "comparing rows".to_owned())?,
                None => differs,
            });
        }
        let Some(any) = any else { return Ok(()) };
        self.found.changed += any.true_count() as u64;
        for at in (0..run).filter(|at| any.value(*at)) {
            if !self.wants(ExampleKind::Changed) {
                break;
            }
            let changes = (self.key..new.batch.num_columns()).filter_map(|column| {
                let (before, after) = (old.batch.column(column), new.batch.column(column));
                let change = Change {
                    column: schema.field(column).name().clone(),
                    old: cell(before, old.at + at),
                    new: cell(after, new.at + at),
                };
                let same = before.slice(old.at + at, 1).to_data() == after.slice(new.at + at, 1).to_data();
                (!same).then_some(change)
            });
            let changes = changes.collect();
            let key = new.key_text(new.at + at);
            self.found.examples.push(Example { kind: ExampleKind::Changed, key, changes });
        }
        Ok(())
    }
}

fn differing(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray> {
    if before.data_type().is_nested() {
        let differs =
            (0..before.len()).map(|at| before.slice(at, 1).to_data() != after.slice(at, 1).to_data());
        return Ok(BooleanArray::from(differs.collect::<Vec<bool>>()));
    }
    distinct(before, after).or_error(ErrorKind::Bug, || "comparing columns".to_owned())
}

fn cell(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    match ArrayFormatter::try_new(array, &FormatOptions::default()) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => error.to_string(),
    }
}
