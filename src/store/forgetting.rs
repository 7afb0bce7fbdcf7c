//! Looks for a person in every snapshot that is kept, in the registry, and in the examples of manifests and reports.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use serde_json::Value;

use super::Store;
use super::manifest::{Latest, Manifest, TableRecord};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{ModelName, SnapshotId, list};
use crate::pipeline::Encodings;
use crate::star::columns::ColumnIds;
use crate::star::shelf;
use crate::star::table::StarTable;

const ROWS: usize = 8_192;

/// Who is forgotten, and who names them.
#[derive(Debug, Clone)]
pub struct Wish {
    pub table: ModelName,
    /// Of each row, the values of the table's key columns as Postgres prints them.
    pub keys: Vec<Vec<String>>,
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
    /// Rows go, whose key is in these columns.
    Without(Vec<String>),
    /// In these columns a surrogate becomes the unknown member's.
    Unlinked(Vec<String>),
}

impl Store {
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
                require_key(record, wish)?;
                self.find_rows(record, table, wish, &mut found)?;
            }
        }
        if found.rows == 0
            && manifests
                .iter()
                .all(|(manifest, _)| manifest.tables.iter().all(|table| table.name != wish.table))
        {
            let message = format!("no snapshot that is kept has a table `{}`", wish.table);
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("`starmill snapshots show` lists the tables of one"));
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
            if named || without_examples(&value, &told([manifest], wish)).is_some() {
                found.snapshots.push(manifest.snapshot.clone());
            }
        }
        found.reports = self.reports_with(&told(manifests.iter().map(|(manifest, _)| manifest), wish))?.len();
        Ok(found)
    }

    fn find_rows(
        &self,
        record: &TableRecord,
        table: &StarTable,
        wish: &Wish,
        found: &mut Forgetting,
    ) -> Result<()> {
        for file in &table.files {
            let of = (record.name.clone(), file.name.clone());
            if found.changed.contains_key(&of) {
                continue;
            }
            let one = StarTable { files: vec![file.clone()], ..table.clone() };
            let mut rows = 0;
            for batch in shelf::batches(&one, None, ROWS) {
                let batch = batch?;
                let gone = matching(&batch, &record.shape.key, &wish.keys)?;
                rows += gone.true_count() as u64;
                if let Some(surrogate) = &record.shape.surrogate {
                    let given = integers(&batch, surrogate)?;
                    let of_them = gone.iter().enumerate().filter(|(_, gone)| *gone == Some(true));
                    found.surrogates.extend(
                        of_them.filter(|(row, _)| given.is_valid(*row)).map(|(row, _)| given.value(row)),
                    );
                }
            }
            if rows > 0 {
                found.rows += rows;
                found.changed.insert(
                    of,
                    Changed {
                        table: one,
                        ids: ids_of(record),
                        rows,
                        change: Change::Without(record.shape.key.clone()),
                    },
                );
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
        let mut rows = 0;
        for batch in shelf::batches(&table, None, ROWS) {
            rows += matching(&batch?, &entry.shape.key, &wish.keys)?.true_count() as u64;
        }
        Ok((rows > 0).then_some((table, rows)))
    }

    /// The reports of runs that have examples of who is forgotten, without them.
    pub(super) fn reports_with(&self, told: &[String]) -> Result<Vec<(String, Value)>> {
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

/// The rows whose key is one of those that are forgotten.
pub(super) fn matching(batch: &RecordBatch, key: &[String], keys: &[Vec<String>]) -> Result<BooleanArray> {
    let mut texts: Vec<ArrayRef> = Vec::new();
    for column in key {
        let array = batch.column_by_name(column).ok_or_else(|| bug(format!("no key column {column}")))?;
        texts.push(cast(array, &DataType::Utf8).or_error(ErrorKind::Bug, || column.clone())?);
    }
    let is_one = |row: usize| {
        keys.iter().any(|key| {
            texts
                .iter()
                .zip(key)
                .all(|(column, value)| column.is_valid(row) && column.as_string::<i32>().value(row) == value)
        })
    };
    Ok((0..batch.num_rows()).map(|row| Some(is_one(row))).collect())
}

pub(super) fn integers(batch: &RecordBatch, column: &str) -> Result<Int64Array> {
    let array = batch.column_by_name(column).ok_or_else(|| bug(format!("no column {column}")))?;
    let wide = cast(array, &DataType::Int64).or_error(ErrorKind::Bug, || column.to_owned())?;
    Ok(wide.as_primitive::<Int64Type>().clone())
}

fn bug(message: String) -> Error {
    Error::new(ErrorKind::Bug, message)
}

fn require_key(record: &TableRecord, wish: &Wish) -> Result<()> {
    let key = &record.shape.key;
    match wish.keys.iter().find(|values| values.len() != key.len()) {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Usage, format!("the key of {} is {}", record.name, list(key)))
            .hint(match key.as_slice() {
                [] => "a table without a key has no row that could be named".to_owned(),
                [_] => "write --key and its value".to_owned(),
                many => format!(
                    "write --key {}",
                    many.iter().map(|column| format!("{column}=…")).collect::<Vec<_>>().join(",")
                ),
            })),
    }
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
    for file in &table.files {
        let of = (record.name.clone(), file.name.clone());
        if found.changed.contains_key(&of) {
            continue;
        }
        let one = StarTable { files: vec![file.clone()], ..table.clone() };
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

/// How examples tell of who is forgotten: `column=value`, by the first column of the key.
pub(super) fn told<'a>(manifests: impl IntoIterator<Item = &'a Manifest>, wish: &Wish) -> Vec<String> {
    let mut told = BTreeSet::new();
    for manifest in manifests {
        for record in manifest.tables.iter().filter(|record| record.name == wish.table) {
            for values in &wish.keys {
                told.extend(
                    record
                        .shape
                        .key
                        .first()
                        .zip(values.first())
                        .map(|(column, value)| format!("{column}={value}")),
                );
            }
        }
    }
    told.into_iter().collect()
}

/// A document without the examples that tell of somebody; none when it has none.
pub(super) fn without_examples(value: &Value, told: &[String]) -> Option<Value> {
    fn tells(value: &Value, told: &[String]) -> bool {
        match value {
            Value::String(text) => told.iter().any(|of| text.contains(of)),
            Value::Array(items) => items.iter().any(|item| tells(item, told)),
            Value::Object(fields) => fields.values().any(|field| tells(field, told)),
            _ => false,
        }
    }
    fn take(value: &mut Value, told: &[String]) -> bool {
        match value {
            Value::Object(fields) => fields.iter_mut().fold(false, |taken, (name, field)| match field {
                Value::Array(items) if name == "examples" => {
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
