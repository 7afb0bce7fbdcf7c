//! Keeps the registry in few files: every night that gives keys adds one, and every night reads them all.
//! What was given stays as it was given.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::lock::StoreWriter;
use super::manifest::KeysEntry;
use super::{keys_below, sync_file, sync_folder};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::name::{ModelName, SnapshotId};
use crate::pipeline::Encodings;
use crate::star::shelf;
use crate::star::table::{StarTable, TableWriter};

/// Files of one model's registry, from which on they are written together.
const MANY: usize = 32;

/// What the file of a registry that was written together ends with.
pub(super) const TOGETHER: &str = "-together";

impl StoreWriter {
    /// Writes a registry of many files as one, and says where it lies and what it is called. It counts from the commit
    /// that names it; the files that it holds are swept after that.
    pub(super) fn compact(
        &self,
        model: &ModelName,
        entry: &mut KeysEntry,
        id: &SnapshotId,
    ) -> Result<Option<(PathBuf, String)>> {
        if entry.files.len() < MANY {
            return Ok(None);
        }
        let below = keys_below(model);
        let folder = self.store().objects.local(&below);
        let store = self.store();
        let tables = entry.files.iter().map(|file| store.keys(model, std::slice::from_ref(file)));
        let tables = tables.collect::<Result<Vec<_>>>()?;
        let schema = together(&tables);
        let path = folder.join(format!("{id}{TOGETHER}.parquet"));
        let mut writer = TableWriter::create(&path, &schema, &[], Encodings::Delta)?;
        for table in &tables {
            for batch in shelf::batches(table, None, 8_192) {
                writer.write(fitted(&batch?, &schema, model)?)?;
            }
        }
        let one = writer.finish()?;
        sync_file(&path)?;
        sync_folder(&folder)?;
        let name = format!("{below}/{}", one.name);
        entry.files = vec![one];
        Ok(Some((path, name)))
    }
}

/// The columns that any of the files has, each in its newest type: a model may give more than it gave, and wider.
fn together(tables: &[StarTable]) -> SchemaRef {
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in tables.iter().rev().flat_map(|table| table.schema().fields()) {
        if fields.iter().all(|known| known.name() != field.name()) {
            fields.push(Arc::clone(field));
        }
    }
    Arc::new(Schema::new(fields))
}

/// Rows in these columns; what they have not is NULL, and what does not fit is an error.
fn fitted(batch: &RecordBatch, schema: &SchemaRef, model: &ModelName) -> Result<RecordBatch> {
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => cast_with_options(column, field.data_type(), &exact),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>();
    let fitted = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns));
    fitted.or_error(ErrorKind::Store, || {
        format!("what the registry keeps of {model} does not fit its newest columns")
    })
}
