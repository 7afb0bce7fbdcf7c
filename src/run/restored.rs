//! A store that was restored from an older backup: what keys were given after it is taken from the snapshots that are
//! still there and from the target, so that no member gets another key, and no key another member.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};

use super::outdated::{LostCorrection, Side, outdated};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::load;
use crate::name::{ModelName, SnapshotId};
use crate::pipeline::model::{Model, VALID_FROM, VALID_TO};
use crate::pipeline::{Encodings, Pipeline, TargetSettings};
use crate::star::contract::TableContract;
use crate::star::design::Design;
use crate::star::schema::fitted;
use crate::star::staged::require_folder;
use crate::star::table::{Provenance, StarTable, TableWriter};
use crate::star::versions::{self, ENDED, REVISION};
use crate::star::{Registration, Registry, shelf};
use crate::store::Store;

/// What the backup did not know.
pub struct Completed {
    pub added: Vec<Registration>,
    /// First-seen values that were corrected after it.
    pub lost: Vec<LostCorrection>,
}

/// Completes every registry from the snapshots that are there and not named, and from the target, as far as they hold its
/// tables; gives what was added.
pub async fn complete(
    pipeline: &Pipeline,
    design: &Design,
    store: &Store,
    folder: &Path,
    registry: &mut BTreeMap<ModelName, Registry>,
) -> Result<Completed> {
    let mut snapshots = Vec::new();
    for id in store.unnamed()? {
        snapshots.push(store.snapshot(&id).map_err(|error| unreadable(store, &id, error))?.star);
    }
    let (mut added, mut lost) = (Vec::new(), Vec::new());
    for (model, design) in pipeline.models.iter().zip(&design.models).filter(|(model, _)| model.registered())
    {
        let known = registry.entry(model.name.clone()).or_default();
        let zone = pipeline.deployment.timezone.name();
        let schema = design.contract.memory.published_schema(&design.raw, zone);
        let tables =
            snapshots.iter().flat_map(|star| star.tables.iter().map(|table| (&star.snapshot, table)));
        let history = design.contract.memory.history.is_some();
        let told = if history { without_ours(&schema) } else { Arc::clone(&schema) };
        let mut given = Vec::new();
        for (id, table) in tables.filter(|(_, table)| *table.name() == model.name) {
            for batch in shelf::batches(table, None, 8_192) {
                let batch = batch.map_err(|error| unreadable(store, id, error))?;
                given.extend(of_star(&batch, &told, model, history)?);
            }
        }
        if history {
            // What was said last counts, so the oldest comes first.
            given.reverse();
        }
        if let Some(target) = &pipeline.deployment.target {
            given.extend(of_target(pipeline, target, model, &told).await?);
        }
        if history {
            given = as_said(&given, &schema, model, known)?;
        }
        lost.extend(outdated(&given, known, model)?);
        let registry = design.contract.memory.registry_schema(&design.raw, zone);
        added.extend(registered(&given, model, (&schema, &registry), folder, known)?);
    }
    Ok(Completed { added, lost })
}

/// A snapshot that tells of keys that were given, and cannot be read: which it is, and how to go on without it.
fn unreadable(store: &Store, id: &SnapshotId, error: Error) -> Error {
    let message = format!("the snapshot {id}, which may tell of keys that were given, cannot be read");
    Error::new(ErrorKind::Store, message).caused_by(error).hint(format!(
        "restore it from a backup; or move {} out of the store and run again: what it gave is then known from the target alone",
        store.snapshot_shown(id)
    ))
}

/// The columns of a history's log that a published table has, too.
fn without_ours(schema: &SchemaRef) -> SchemaRef {
    let published =
        schema.fields().iter().filter(|field| ![REVISION, ENDED].contains(&field.name().as_str()));
    Arc::new(Schema::new(published.cloned().collect::<Vec<_>>()))
}

/// Versions as the log says them, each table's after those before it. One that has ended stays ended: a target may be behind.
fn as_said(
    given: &[RecordBatch],
    schema: &SchemaRef,
    model: &Model,
    known: &Registry,
) -> Result<Vec<RecordBatch>> {
    let bug = || "versions of a published star".to_owned();
    let surrogate = model.surrogate().unwrap_or_default();
    let column = |batch: &RecordBatch, name: &str| {
        batch
            .column_by_name(name)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::Bug, format!("versions without {name}")))
    };
    let mut revision = 0;
    for table in &known.tables {
        for batch in shelf::batches(table, Some(&[REVISION]), 8_192) {
            let said = column(&batch?, REVISION)?;
            revision =
                revision.max(said.as_primitive::<Int64Type>().iter().flatten().max().unwrap_or_default());
        }
    }
    let mut ended = BTreeSet::new();
    let mut said = Vec::new();
    for batch in given {
        revision += 1;
        let (keys, to) = (column(batch, surrogate)?, column(batch, VALID_TO)?);
        let (keys, to) = (keys.as_primitive::<Int64Type>(), to.as_primitive::<TimestampMicrosecondType>());
        let open = |row: usize| to.value(row) >= versions::OPEN_END;
        let kept: BooleanArray =
            (0..batch.num_rows()).map(|row| Some(!(open(row) && ended.contains(&keys.value(row))))).collect();
        ended.extend((0..batch.num_rows()).filter(|row| !open(*row)).map(|row| keys.value(row)));
        let why: StringArray =
            (0..batch.num_rows()).map(|row| (!open(row)).then_some(versions::RESTORED)).collect();
        let revisions = Int64Array::from(vec![revision; batch.num_rows()]);
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            REVISION => Ok(Arc::new(revisions.clone()) as ArrayRef),
            ENDED => Ok(Arc::new(why.clone()) as ArrayRef),
            name => column(batch, name),
        });
        let whole = RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>>>()?);
        let whole = whole.and_then(|whole| filter_record_batch(&whole, &kept));
        said.push(whole.or_error(ErrorKind::Bug, bug)?);
    }
    Ok(said)
}

/// The keys that a published table holds; none where it has not the columns, or not in these types.
fn of_star(
    batch: &RecordBatch,
    schema: &SchemaRef,
    model: &Model,
    history: bool,
) -> Result<Option<RecordBatch>> {
    // A version may have been without columns that came later.
    let needed: Vec<String> = match history {
        true => {
            let ours = model.surrogate().into_iter().chain([VALID_FROM, VALID_TO]).map(str::to_owned);
            model.key_columns().into_iter().chain(ours).collect()
        }
        false => schema.fields().iter().map(|field| field.name().clone()).collect(),
    };
    if needed.iter().any(|name| batch.column_by_name(name).is_none()) {
        return Ok(None);
    }
    let Ok(whole) = fitted(batch, schema) else { return Ok(None) };
    let bug = || "the keys of a snapshot".to_owned();
    let surrogate = model.surrogate();
    let Some(keys) = surrogate.and_then(|surrogate| whole.column_by_name(surrogate)) else {
        return Ok(Some(whole));
    };
    let members: BooleanArray = keys.as_primitive::<Int64Type>().iter().map(|key| Some(key? >= 0)).collect();
    filter_record_batch(&whole, &members).map(Some).or_error(ErrorKind::Bug, bug)
}

async fn of_target(
    pipeline: &Pipeline,
    target: &TargetSettings,
    model: &Model,
    schema: &SchemaRef,
) -> Result<Option<RecordBatch>> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let given =
        load::given(target, &pipeline.deployment, model.name.as_str(), &names, model.surrogate()).await?;
    let Some(rows) = given.filter(|rows| !rows.is_empty()) else { return Ok(None) };
    let batch = as_batch(schema, &rows).or_error(ErrorKind::Store, || {
        format!("the keys that the target holds of {} cannot be read", model.name)
    })?;
    Ok(Some(batch))
}

/// A file of the keys that the registry does not know, the first of each that is found.
fn registered(
    given: &[RecordBatch],
    model: &Model,
    (schema, registry): (&SchemaRef, &SchemaRef),
    folder: &Path,
    known: &mut Registry,
) -> Result<Option<Registration>> {
    let fresh = match model.history() {
        // What is said of a version counts though others were known.
        Some(_) => given.to_vec(),
        None => unknown_rows(given, known, &model.key_columns())?,
    };
    if fresh.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(None);
    }
    if let Some(surrogate) = model.surrogate() {
        for keys in fresh.iter().filter_map(|batch| batch.column_by_name(surrogate)) {
            let highest = keys.as_primitive::<Int64Type>().iter().flatten().max();
            known.highest = known.highest.max(highest.unwrap_or_default());
        }
    }
    let folder = folder.join(".keys").join(model.name.as_str());
    require_folder(&folder)?;
    let path = folder.join(Registration::RESTORED);
    let mut writer = TableWriter::create(&path, schema, &model.key_columns(), Encodings::Delta)?;
    for batch in fresh {
        writer.write(batch)?;
    }
    let file = writer.finish()?;
    known.tables.push(StarTable {
        contract: Arc::new(TableContract::of_registry(&model.name, Arc::clone(registry))),
        folder: folder.clone(),
        files: vec![file.clone()],
        provenance: Provenance::Written,
    });
    Ok(Some(Registration { model: model.name.clone(), folder, file, highest: known.highest }))
}

/// Rows of text as typed columns; a text that is no such value is an error.
fn as_batch(
    schema: &SchemaRef,
    rows: &[Vec<Option<String>>],
) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (at, field) in schema.fields().iter().enumerate() {
        let texts: StringArray = rows.iter().map(|row| row.get(at).cloned().flatten()).collect();
        if field.data_type() == &DataType::Binary {
            let bytes: Vec<Option<Vec<u8>>> = texts
                .iter()
                .map(|text| text.map(bytes).transpose())
                .collect::<std::result::Result<_, _>>()?;
            let bytes: BinaryArray = bytes.iter().map(|bytes| bytes.as_deref()).collect();
            columns.push(Arc::new(bytes));
            continue;
        }
        columns.push(cast_with_options(&texts, field.data_type(), &exact)?);
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// `\\xbeef`, as the server prints bytes.
fn bytes(text: &str) -> std::result::Result<Vec<u8>, arrow::error::ArrowError> {
    let digits = text.strip_prefix("\\x").unwrap_or(text);
    let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.ok_or_else(|| arrow::error::ArrowError::CastError(format!("{text} is no bytea")))
}

/// The rows whose key the registry doesn't have, each key once.
fn unknown_rows(batches: &[RecordBatch], known: &Registry, key: &[String]) -> Result<Vec<RecordBatch>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let keys = Side::of(first, key)?;
    let mut there = BTreeSet::new();
    for table in &known.tables {
        for batch in shelf::batches(table, None, 8_192) {
            there.extend(keys.rows(&batch?)?);
        }
    }
    let mut fresh = Vec::new();
    for batch in batches {
        let unknown: Vec<bool> = keys.rows(batch)?.into_iter().map(|row| there.insert(row)).collect();
        fresh.push(
            filter_record_batch(batch, &unknown.into())
                .or_error(ErrorKind::Bug, || "keys of a registry".to_owned())?,
        );
    }
    Ok(fresh)
}
