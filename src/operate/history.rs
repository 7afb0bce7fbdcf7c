//! What one member of a dimension was, version by version, and what changed in each.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use serde::Serialize;

use super::member::{Named, named, pairs};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{self, ModelName, SnapshotId, list};
use crate::pipeline::model::{VALID_FROM, VALID_TO};
use crate::pipeline::{self, Deployment};
use crate::star::correction::Correction;
use crate::star::diff::cursor::shown;
use crate::star::diff::walk::cell;
use crate::star::shelf;
use crate::star::table::{StarTable, in_zone};
use crate::star::versions::{BEGINNING_OF_TIME, OPEN_END, added, durable_key};
use crate::store::Store;
use crate::store::forgetting::matching;
use crate::store::manifest::Latest;

/// One member, as the published snapshot has it.
#[derive(Debug, Serialize)]
pub struct MemberHistory {
    pub pipeline: String,
    pub snapshot: SnapshotId,
    pub table: String,
    /// `column=value` pairs.
    pub key: String,
    pub durable_key: i64,
    pub versions: Vec<Version>,
}

/// What a row was when it was first seen, and what of it somebody changed since.
#[derive(Debug, Serialize)]
pub struct FirstSeen {
    pub pipeline: String,
    pub snapshot: SnapshotId,
    pub table: String,
    /// `column=value` pairs.
    pub key: String,
    /// By column; none is NULL.
    pub first_seen: BTreeMap<String, Option<String>>,
    pub corrections: Vec<Correction>,
}

/// What is remembered of one row.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Remembered {
    Versions(MemberHistory),
    FirstSeen(FirstSeen),
}

#[derive(Debug, Serialize)]
pub struct Version {
    pub surrogate: i64,
    /// None: as far as is known.
    pub valid_from: Option<String>,
    /// None: open.
    pub valid_to: Option<String>,
    /// Whether nobody was there between the version before and this one.
    pub after_gap: bool,
    /// What it is otherwise than the version before; of the first all that is tracked.
    pub changes: Vec<Said>,
}

/// A column's value in a version, and in the one before.
#[derive(Debug, Serialize)]
pub struct Said {
    pub column: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// What a member was, version by version; or what a row was when it was first seen.
pub fn history(path: &Path, table: &str, key: &str) -> Result<Remembered> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let latest = store.commit_point()?;
    let named = named(&store, &latest, table)?;
    let (columns, values) = pairs(key, &named)?;
    let entry = latest.keys.get(&named.table).filter(|entry| !entry.shape.first_seen.is_empty());
    if let Some(entry) = entry {
        let held = store.first_seen(&latest, &named.table, &columns, &values)?;
        let held = held.ok_or_else(|| unknown(&named.table, &columns, &values))?;
        let of_it = entry.corrections.iter().filter(|correction| correction.key == held.key);
        let corrections = of_it.cloned().collect();
        return Ok(Remembered::FirstSeen(FirstSeen {
            pipeline: deployment.name,
            snapshot: latest.snapshot.clone(),
            table: named.table.to_string(),
            key: held.key,
            first_seen: held.values,
            corrections,
        }));
    }
    versions(deployment, &store, &latest, named, (columns, values)).map(Remembered::Versions)
}

fn unknown(table: &ModelName, columns: &[String], values: &[String]) -> Error {
    let message = format!("{table} has never had a member {}", name::named(columns, values).join(", "));
    Error::new(ErrorKind::Usage, message).hint("write the key as `starmill query` shows it")
}

fn versions(
    deployment: Deployment,
    store: &Store,
    latest: &Latest,
    named: Named,
    (columns, values): (Vec<String>, Vec<String>),
) -> Result<MemberHistory> {
    let published = store.snapshot(&latest.snapshot)?;
    let Some(table) = published.star.tables.iter().find(|table| *table.name() == named.table) else {
        let message =
            format!("the published snapshot has no table {}, only its registry remembers it", named.table);
        return Err(Error::new(ErrorKind::Usage, message)
            .hint("its history goes on with the next run of a pipeline that has the model"));
    };
    if table.contract.memory.history.is_none() {
        let with: Vec<&ModelName> = (published.star.tables.iter())
            .filter(|table| table.contract.memory.history.is_some())
            .map(StarTable::name)
            .collect();
        let help = match with.as_slice() {
            [] => format!("give it one: history = {{ track = [\"…\"] }} in [dimension.{}]", named.table),
            some => format!("tables that do: {}", list(some)),
        };
        return Err(Error::new(
            ErrorKind::Usage,
            format!("{} keeps neither a history nor first-seen values", named.table),
        )
        .hint(help));
    }
    let rows = rows_of(table, &deployment, &columns, std::slice::from_ref(&values))?;
    if rows.is_empty() {
        return Err(unknown(&named.table, &columns, &values));
    }
    let durable = rows.first().map_or(0, |row| row.durable);
    Ok(MemberHistory {
        pipeline: deployment.name,
        snapshot: latest.snapshot.clone(),
        table: named.table.to_string(),
        key: name::named(&columns, &values).join(", "),
        durable_key: durable,
        versions: versions_of(rows),
    })
}

/// One version as it lies in the table.
struct Row {
    surrogate: i64,
    durable: i64,
    from: (i64, String),
    to: (i64, String),
    /// What is tracked, by column.
    values: Vec<(String, Option<String>)>,
}

fn rows_of(
    table: &StarTable,
    deployment: &Deployment,
    columns: &[String],
    keys: &[Vec<String>],
) -> Result<Vec<Row>> {
    let zoned = in_zone(table.schema(), deployment.timezone.name());
    let mut rows = Vec::new();
    for batch in shelf::batches(table, None, 8_192) {
        let batch = batch?;
        let of_them = matching(&batch, columns, keys)?;
        let found =
            filter_record_batch(&batch, &of_them).or_error(ErrorKind::Bug, || "versions".to_owned())?;
        let texts = shown(&found, &zoned)?;
        for row in 0..found.num_rows() {
            rows.extend(row_of(table, &found, &texts, row));
        }
    }
    rows.sort_by_key(|row| row.from.0);
    Ok(rows)
}

fn row_of(table: &StarTable, batch: &RecordBatch, texts: &RecordBatch, row: usize) -> Option<Row> {
    let memory = &table.contract.memory;
    let (history, surrogate) = (memory.history.as_ref()?, memory.surrogate.as_ref()?);
    let integer = |name: &str| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let time = |name: &str| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        Some((column.value(row), cell(texts.column_by_name(name)?, row)))
    };
    let ours = added(surrogate);
    let tracked = texts.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let tracked = tracked.into_iter().filter(|name| {
        history.tracks(name) && name != surrogate && !memory.key.contains(name) && !ours.contains(name)
    });
    let values = tracked.filter_map(|name| {
        let column = texts.column_by_name(&name)?;
        Some((column.is_valid(row).then(|| cell(column, row)), name))
    });
    Some(Row {
        surrogate: integer(surrogate)?,
        durable: integer(&durable_key(surrogate))?,
        from: time(VALID_FROM)?,
        to: time(VALID_TO)?,
        values: values.map(|(value, name)| (name, value)).collect(),
    })
}

fn versions_of(rows: Vec<Row>) -> Vec<Version> {
    let mut versions = Vec::new();
    let mut before: Option<&Row> = None;
    for row in &rows {
        let changes = row.values.iter().filter_map(|(column, new)| {
            let old = before.and_then(|before| before.values.iter().find(|(name, _)| name == column));
            let old = old.and_then(|(_, value)| value.clone());
            (before.is_none() || old != *new).then(|| Said { column: column.clone(), old, new: new.clone() })
        });
        versions.push(Version {
            surrogate: row.surrogate,
            valid_from: (row.from.0 != BEGINNING_OF_TIME).then(|| row.from.1.clone()),
            valid_to: (row.to.0 != OPEN_END).then(|| row.to.1.clone()),
            after_gap: before.is_some_and(|before| before.to.0 < row.from.0),
            changes: changes.collect(),
        });
        before = Some(row);
    }
    versions
}
