//! Keeps the registry in few files: every night that gives keys adds one, and every night reads them all.
//! What was given stays as it was given.

use std::path::PathBuf;

use arrow::array::RecordBatch;

use super::lock::StoreWriter;
use super::manifest::KeysEntry;
use super::{keys_below, sync_file, sync_folder};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::name::{ModelName, SnapshotId};
use crate::pipeline::Encodings;
use crate::star::schema::fitted;
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
        let many = self.store().keys(model, &entry.files)?;
        let path = folder.join(format!("{id}{TOGETHER}.parquet"));
        let mut writer = TableWriter::create(&path, many.schema(), &[], Encodings::Delta)?;
        for batch in shelf::batches(&many, None, 8_192) {
            writer.write(in_columns(&batch?, &many)?)?;
        }
        let one = writer.finish()?;
        sync_file(&path)?;
        sync_folder(&folder)?;
        let name = format!("{below}/{}", one.name);
        entry.files = vec![one];
        Ok(Some((path, name)))
    }
}

/// Rows of one file of a registry in the columns of all.
pub(super) fn in_columns(batch: &RecordBatch, of: &StarTable) -> Result<RecordBatch> {
    let fits = || format!("what the registry keeps of {} does not fit its newest columns", of.name());
    fitted(batch, of.schema()).or_error(ErrorKind::Store, fits)
}
