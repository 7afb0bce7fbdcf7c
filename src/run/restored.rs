//! A store that was restored from an older backup: what keys were given after it is taken from the target,
//! so that no member gets another key, and no key another member.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::load;
use crate::name::ModelName;
use crate::pipeline::model::Model;
use crate::pipeline::{Encodings, Pipeline, TargetSettings};
use crate::star::design::{Design, ModelDesign};
use crate::star::schema::published_type;
use crate::star::staged::require_folder;
use crate::star::table::{Provenance, StarTable, TableWriter};
use crate::star::{Registration, Registry, compose, shelf};

/// Completes every registry from the target, as far as the target holds its tables; gives what was added.
pub async fn complete(
    pipeline: &Pipeline,
    design: &Design,
    folder: &Path,
    registry: &mut BTreeMap<ModelName, Registry>,
) -> Result<Vec<Registration>> {
    let Some(target) = &pipeline.deployment.target else { return Ok(Vec::new()) };
    let mut added = Vec::new();
    for (model, design) in pipeline.models.iter().zip(&design.models) {
        if model.registered() {
            let known = registry.entry(model.name.clone()).or_default();
            added.extend(of_model(pipeline, target, model, design, folder, known).await?);
        }
    }
    Ok(added)
}

async fn of_model(
    pipeline: &Pipeline,
    target: &TargetSettings,
    model: &Model,
    design: &ModelDesign,
    folder: &Path,
    known: &mut Registry,
) -> Result<Option<Registration>> {
    let session_schema = compose::registry_schema(model, &design.raw);
    let plain = session_schema.fields().iter().map(|field| {
        let data_type = published_type(field.data_type()).unwrap_or(field.data_type().clone());
        field.as_ref().clone().with_data_type(data_type)
    });
    let schema: SchemaRef = Arc::new(Schema::new(plain.collect::<Vec<_>>()));
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let given = load::given(target, &pipeline.deployment, model.name.as_str(), &names, model.surrogate());
    let given = load::watched(target, &pipeline.deployment.name, given).await?;
    let Some(rows) = given.filter(|rows| !rows.is_empty()) else { return Ok(None) };
    let batch = as_batch(&schema, &rows).or_error(ErrorKind::Store, || {
        format!("the keys that the target holds of {} cannot be read", model.name)
    })?;
    let batch = unknown_rows(&batch, known, &model.key_columns())?;
    if batch.num_rows() == 0 {
        return Ok(None);
    }
    if let Some(surrogate) = model.surrogate() {
        let highest = batch.column_by_name(surrogate).map(|keys| {
            let keys = keys.as_primitive::<Int64Type>();
            keys.iter().flatten().max().unwrap_or_default()
        });
        known.highest = known.highest.max(highest.unwrap_or_default());
    }
    let folder = folder.join(".keys").join(model.name.as_str());
    require_folder(&folder)?;
    let path = folder.join(Registration::RESTORED);
    let mut writer = TableWriter::create(&path, &schema, &model.key_columns(), Encodings::Delta)?;
    writer.write(batch)?;
    let file = writer.finish()?;
    known.tables.push(StarTable {
        name: model.name.clone(),
        folder: folder.clone(),
        files: vec![file.clone()],
        provenance: Provenance::Written,
        schema: session_schema,
        sort: Vec::new(),
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

/// The rows whose key the registry doesn't have.
fn unknown_rows(batch: &RecordBatch, known: &Registry, key: &[String]) -> Result<RecordBatch> {
    let bug = || "keys of a registry".to_owned();
    let mut fields = Vec::new();
    for name in key {
        let field = batch.schema().field_with_name(name).cloned().or_error(ErrorKind::Bug, bug)?;
        fields.push(SortField::new(field.data_type().clone()));
    }
    let converter = RowConverter::new(fields).or_error(ErrorKind::Bug, bug)?;
    let keys_of = |batch: &RecordBatch| -> Result<Vec<OwnedRow>> {
        let columns = key.iter().map(|name| batch.column_by_name(name).cloned());
        let columns: Option<Vec<ArrayRef>> = columns.collect();
        let columns = columns.ok_or_else(|| Error::new(ErrorKind::Bug, "a registry without its key"))?;
        let rows = converter.convert_columns(&columns).or_error(ErrorKind::Bug, bug)?;
        Ok(rows.iter().map(|row| row.owned()).collect())
    };
    let mut there = BTreeSet::new();
    for table in &known.tables {
        for batch in shelf::batches(table, None, 8_192) {
            there.extend(keys_of(&batch?)?);
        }
    }
    let fresh: Vec<bool> = keys_of(batch)?.iter().map(|row| !there.contains(row)).collect();
    filter_record_batch(batch, &fresh.into()).or_error(ErrorKind::Bug, bug)
}
