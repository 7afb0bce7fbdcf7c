//! Looks for a person in every snapshot that is kept, in the registry, and in the examples of manifests and reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use serde_json::Value;

use super::Store;
use super::manifest::{Latest, TableRecord};
use super::value::{exact, plainly};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{ModelName, SnapshotId, named};
use crate::pipeline::Encodings;
use crate::star::columns::ColumnIds;
use crate::star::diff::walk::cell;
use crate::star::shelf;
use crate::star::table::{DataFile, StarTable, in_zone};

/// Rows that are looked at together.
pub(super) const ROWS: usize = 8_192;

/// Who is forgotten, and who names them.
#[derive(Debug, Clone)]
pub struct Wish {
    pub table: ModelName,
    /// The columns that name a row, by which it is looked for in every snapshot, whatever its key is there.
    pub columns: Vec<String>,
    /// Of each row, their values.
    pub keys: Vec<Vec<String>>,
    /// The same values in the other words in which examples and corrections tell them.
    pub respelled: Vec<Vec<String>>,
    /// What else names the person: columns of other tables that are compared with one of these, by its place.
    pub told_as: Vec<(usize, String)>,
    /// Columns of other tables that hold the table's surrogate key.
    pub named_by: Vec<(ModelName, String)>,
    /// What files are written in.
    pub encodings: Encodings,
}

/// What is to be done, or was.
#[derive(Debug, Default, serde::Serialize)]
pub struct Forgetting {
    /// Snapshots whose files or examples change.
    pub snapshots: Vec<SnapshotId>,
    /// Rows that go, each counted once in whatever many snapshots.
    pub rows: u64,
    /// Rows of other tables that lead to the unknown member from then on.
    pub unlinked: BTreeMap<ModelName, u64>,
    pub files: usize,
    /// Rows of the registry that go.
    pub registered: u64,
    /// Reports of runs of which examples go.
    pub reports: usize,
    #[serde(skip)]
    pub(super) changed: BTreeMap<(ModelName, String), Changed>,
    /// The surrogate keys of those who go.
    #[serde(skip)]
    pub(super) surrogates: BTreeSet<i64>,
}

/// A data file that is written anew.
#[derive(Debug, Clone)]
pub(super) struct Changed {
    /// Its table, with this file alone.
    pub table: StarTable,
    pub ids: ColumnIds,
    pub rows: u64,
    pub change: Change,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Rows go.
    Without,
    /// In these columns a surrogate becomes the unknown member's.
    Unlinked(Vec<String>),
}

impl Forgetting {
    /// A table's files that nothing was found in yet, each as a table of its own.
    fn files_left(&self, record: &TableRecord, table: &StarTable) -> Vec<((ModelName, String), StarTable)> {
        let of = |file: &DataFile| (record.name.clone(), file.name.clone());
        let left = table.files.iter().filter(|file| !self.changed.contains_key(&of(file)));
        left.map(|file| (of(file), StarTable { files: vec![file.clone()], ..table.clone() })).collect()
    }
}

impl Store {
    /// Values of a table's columns in the words in which the store tells of them: those that are compared, and those of
    /// examples, whose instants are of a pipeline's zone.
    pub fn respelled(
        &self,
        latest: &Latest,
        table: &ModelName,
        columns: &[String],
        keys: &[Vec<String>],
        zone: &str,
    ) -> Result<Vec<Vec<String>>> {
        let mut schemas: Vec<SchemaRef> = Vec::new();
        for id in latest.snapshots.iter().rev() {
            let tables = self.snapshot(id)?.star.tables;
            schemas
                .extend(tables.iter().find(|one| one.name() == table).map(|one| in_zone(one.schema(), zone)));
        }
        if let Some(entry) = latest.keys.get(table).filter(|entry| !entry.files.is_empty()) {
            schemas.push(Arc::clone(self.keys(table, &entry.files)?.schema()));
        }
        let mut found: Vec<Vec<String>> = Vec::new();
        for (schema, key) in schemas.iter().flat_map(|schema| keys.iter().map(move |key| (schema, key))) {
            let (mut plain, mut shown) = (Vec::new(), Vec::new());
            for (column, value) in columns.iter().zip(key) {
                let Ok(field) = schema.field_with_name(column) else { continue };
                let Some(array) = exact(value, field.data_type()) else { continue };
                plain.push(plainly(&array, column)?.as_string::<i32>().value(0).to_owned());
                shown.push(cell(&array, 0));
            }
            let whole = [plain, shown].into_iter().filter(|spelled| spelled.len() == columns.len());
            found.extend(whole.filter(|spelled| spelled != key));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// What forgetting would do; nothing is changed.
    pub fn forgetting(&self, latest: &Latest, wish: &Wish) -> Result<Forgetting> {
        let mut found = Forgetting::default();
        let mut manifests = Vec::new();
        for id in &latest.snapshots {
            let manifest = self.manifest_by(Some(latest), id)?;
            if !manifest.shares_files() {
                let message =
                    format!("snapshot {id} is of an older format, from which nobody can be taken out");
                return Err(Error::new(ErrorKind::Store, message)
                    .hint(format!("forget it as a whole: `starmill snapshots prune … {id}`")));
            }
            manifests.push((manifest, self.snapshot(id)?.star.tables));
        }
        for (manifest, tables) in &manifests {
            for (record, table) in
                manifest.tables.iter().zip(tables).filter(|(record, _)| record.name == wish.table)
            {
                let place = format!("snapshot {}", manifest.snapshot);
                require_columns(&record.name, table.schema(), &wish.columns, &wish.keys, &place)?;
                self.find_rows(record, table, wish, &mut found)?;
            }
        }
        if !found.surrogates.is_empty() {
            for (manifest, tables) in &manifests {
                for (record, table) in manifest.tables.iter().zip(tables) {
                    find_links(record, table, wish, &mut found)?;
                }
            }
        }
        found.files = found.changed.len();
        found.registered = self.registered(latest, wish)?.map_or(0, |(_, rows)| rows);
        for (manifest, _) in &manifests {
            let named = manifest.tables.iter().any(|table| {
                table
                    .files
                    .iter()
                    .any(|file| found.changed.contains_key(&(table.name.clone(), file.name.clone())))
            });
            let value =
                serde_json::to_value(manifest).or_error(ErrorKind::Bug, || "a manifest".to_owned())?;
            if named || without_examples(&value, &told(wish)).is_some() {
                found.snapshots.push(manifest.snapshot.clone());
            }
        }
        found.reports = self.reports_with(&told(wish))?.len();
        Ok(found)
    }

    fn find_rows(
        &self,
        record: &TableRecord,
        table: &StarTable,
        wish: &Wish,
        found: &mut Forgetting,
    ) -> Result<()> {
        for (of, one) in found.files_left(record, table) {
            let mut rows = 0;
            for batch in shelf::batches(&one, None, ROWS) {
                let batch = batch?;
                let gone = matching(&batch, &wish.columns, &wish.keys)?;
                rows += gone.true_count() as u64;
                if let Some(surrogate) = &record.memory.surrogate {
                    let given = integers(&batch, surrogate)?;
                    let of_them = gone.iter().enumerate().filter(|(_, gone)| *gone == Some(true));
                    found.surrogates.extend(
                        of_them.filter(|(row, _)| given.is_valid(*row)).map(|(row, _)| given.value(row)),
                    );
                }
            }
            if rows > 0 {
                found.rows += rows;
                found
                    .changed
                    .insert(of, Changed { table: one, ids: ids_of(record), rows, change: Change::Without });
            }
        }
        Ok(())
    }

    /// The registry's files of the table without who is forgotten, and how many rows go; none where none do.
    pub(super) fn registered(&self, latest: &Latest, wish: &Wish) -> Result<Option<(StarTable, u64)>> {
        let Some(entry) = latest.keys.get(&wish.table).filter(|entry| !entry.files.is_empty()) else {
            return Ok(None);
        };
        let table = self.keys(&wish.table, &entry.files)?;
        require_columns(&wish.table, table.schema(), &wish.columns, &wish.keys, "the registry")?;
        let mut rows = 0;
        for batch in shelf::batches(&table, None, ROWS) {
            rows += matching(&batch?, &wish.columns, &wish.keys)?.true_count() as u64;
        }
        Ok((rows > 0).then_some((table, rows)))
    }

    /// The reports of runs that have examples of who is forgotten, without them.
    pub(super) fn reports_with(&self, told: &[Vec<String>]) -> Result<Vec<(String, Value)>> {
        let mut found = Vec::new();
        for run in self.runs() {
            let name = super::history::report_of(&run);
            let Some(text) = self.objects.read(&name)? else { continue };
            let Ok(value) = serde_json::from_slice::<Value>(&text) else { continue };
            if let Some(without) = without_examples(&value, told) {
                found.push((name, without));
            }
        }
        Ok(found)
    }
}

/// The rows that are named.
pub fn matching(batch: &RecordBatch, names: &[String], keys: &[Vec<String>]) -> Result<BooleanArray> {
    let mut columns: Vec<(ArrayRef, Vec<Option<String>>)> = Vec::new();
    for (place, column) in names.iter().enumerate() {
        let array = batch.column_by_name(column).ok_or_else(|| bug(format!("no column {column}")))?;
        let values = keys.iter().map(|key| key.get(place).map(String::as_str)).collect::<Vec<_>>();
        columns.push((plainly(array, column)?, written(values, array.data_type(), column)?));
    }
    let is_one = |row: usize| {
        (0..keys.len()).any(|key| {
            columns.iter().all(|(array, wanted)| {
                let wanted = wanted.get(key).and_then(Option::as_deref);
                array.is_valid(row) && wanted == Some(array.as_string::<i32>().value(row))
            })
        })
    };
    Ok((0..batch.num_rows()).map(|row| Some(is_one(row))).collect())
}

/// Values as a column of a type has them, in the words that its own are compared in; none for what is no value of it.
fn written(values: Vec<Option<&str>>, data_type: &DataType, column: &str) -> Result<Vec<Option<String>>> {
    let one = |value: Option<&str>| {
        let Some(array) = value.and_then(|value| exact(value, data_type)) else { return Ok(None) };
        Ok(Some(plainly(&array, column)?.as_string::<i32>().value(0).to_owned()))
    };
    values.into_iter().map(one).collect()
}

pub(super) fn integers(batch: &RecordBatch, column: &str) -> Result<Int64Array> {
    let array = batch.column_by_name(column).ok_or_else(|| bug(format!("no column {column}")))?;
    let wide = cast(array, &DataType::Int64).or_error(ErrorKind::Bug, || column.to_owned())?;
    Ok(wide.as_primitive::<Int64Type>().clone())
}

fn bug(message: String) -> Error {
    Error::new(ErrorKind::Bug, message)
}

/// Where a column that names rows is missing, somebody else could be taken for them; where a value is none of its type, nobody.
pub(super) fn require_columns(
    table: &ModelName,
    schema: &Schema,
    columns: &[String],
    keys: &[Vec<String>],
    place: &str,
) -> Result<()> {
    for (at, column) in columns.iter().enumerate() {
        let Ok(field) = schema.field_with_name(column) else {
            let message =
                format!("{table} has no column {column} in {place}, by which its rows could be told apart");
            return Err(Error::new(ErrorKind::Usage, message).hint(
                "name the rows by columns that it has everywhere, column=value,column=value; or prune the snapshot: `starmill snapshots prune`",
            ));
        };
        for key in keys {
            let value = key.get(at).map(String::as_str);
            if written(vec![value], field.data_type(), column)?.iter().any(Option::is_none) {
                let message = format!("`{}` is no value of {table}.{column}", value.unwrap_or_default());
                return Err(
                    Error::new(ErrorKind::Usage, message).hint("write it as `starmill query` shows it")
                );
            }
        }
    }
    Ok(())
}

fn ids_of(record: &TableRecord) -> ColumnIds {
    let ids = record.columns.iter().filter_map(|column| Some((column.name.clone(), column.id?)));
    ColumnIds { last: 0, ids: ids.collect() }
}

/// The files of a table that lead to who is forgotten.
fn find_links(record: &TableRecord, table: &StarTable, wish: &Wish, found: &mut Forgetting) -> Result<()> {
    let columns: Vec<String> = wish
        .named_by
        .iter()
        .filter(|(model, column)| {
            *model == record.name && record.columns.iter().any(|known| known.name == *column)
        })
        .map(|(_, column)| column.clone())
        .collect();
    if columns.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    for (of, one) in found.files_left(record, table) {
        let mut rows = 0;
        for batch in shelf::batches(&one, Some(&names), ROWS) {
            let batch = batch?;
            let held: Vec<Int64Array> =
                columns.iter().map(|column| integers(&batch, column)).collect::<Result<_>>()?;
            let leads = |row: usize| {
                held.iter()
                    .any(|column| column.is_valid(row) && found.surrogates.contains(&column.value(row)))
            };
            rows += (0..batch.num_rows()).filter(|row| leads(*row)).count() as u64;
        }
        if rows > 0 {
            *found.unlinked.entry(record.name.clone()).or_default() += rows;
            let change = Change::Unlinked(columns.clone());
            found.changed.insert(of, Changed { table: one, ids: ids_of(record), rows, change });
        }
    }
    Ok(())
}

/// How examples tell of who is forgotten: of each of these, all its pairs `column=value`.
pub(super) fn told(wish: &Wish) -> Vec<Vec<String>> {
    let mut told = Vec::new();
    for key in wish.keys.iter().chain(&wish.respelled) {
        told.push(named(&wish.columns, key));
        let elsewhere = wish.told_as.iter().filter(|_| wish.columns.len() == 1);
        told.extend(
            elsewhere.filter_map(|(place, column)| Some(vec![format!("{column}={}", key.get(*place)?)])),
        );
    }
    told
}

/// Whether a text has a pair, and not a longer one that begins or ends so.
fn has_pair(text: &str, pair: &str) -> bool {
    text.match_indices(pair).any(|(at, _)| {
        let (before, after) =
            (text.get(..at).unwrap_or_default(), text.get(at + pair.len()..).unwrap_or_default());
        (before.is_empty() || before.ends_with(' ')) && (after.is_empty() || after.starts_with(", "))
    })
}

/// Lists in manifests and reports that tell of single rows.
const EXAMPLES: [&str; 3] = ["examples", "corrected", "lost_corrections"];

/// Whether a row's key is that of somebody who is told so.
pub(super) fn is_told(key: &str, told: &[Vec<String>]) -> bool {
    told.iter().any(|pairs| pairs.iter().all(|pair| has_pair(key, pair)))
}

/// A document without the examples that tell of somebody; none when it has none.
pub(super) fn without_examples(value: &Value, told: &[Vec<String>]) -> Option<Value> {
    fn tells(value: &Value, told: &[Vec<String>]) -> bool {
        match value {
            Value::String(text) => is_told(text, told),
            Value::Array(items) => items.iter().any(|item| tells(item, told)),
            Value::Object(fields) => fields.values().any(|field| tells(field, told)),
            _ => false,
        }
    }
    fn take(value: &mut Value, told: &[Vec<String>]) -> bool {
        match value {
            Value::Object(fields) => fields.iter_mut().fold(false, |taken, (name, field)| match field {
                Value::Array(items) if EXAMPLES.contains(&name.as_str()) => {
                    let before = items.len();
                    items.retain(|item| !tells(item, told));
                    taken | (items.len() < before)
                }
                field => taken | take(field, told),
            }),
            Value::Array(items) => items.iter_mut().fold(false, |taken, item| taken | take(item, told)),
            _ => false,
        }
    }
    let mut without = value.clone();
    take(&mut without, told).then_some(without)
}
