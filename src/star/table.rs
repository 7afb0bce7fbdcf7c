//! A table of the star at rest: Parquet that every reader opens, sorted, with its hashes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::contract::TableContract;
use super::cut::Cutter;
use super::encoding;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::ModelName;
use crate::pipeline::Encodings;

/// Encoded bytes after which a row group ends, also with few rows.
const GROUP_BYTES: usize = 48 << 20;

/// One Parquet file, as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    #[serde(deserialize_with = "in_its_folder")]
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// A name that leads to no other folder: it is joined to a path before long.
fn in_its_folder<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let leads_away = name.is_empty() || name.contains(['/', '\0']) || name == "." || name == "..";
    match leads_away {
        true => Err(serde::de::Error::custom(format!("`{}` is not the name of a file", name.escape_debug()))),
        false => Ok(name),
    }
}

/// Whether a table's files are still as they were hashed.
#[derive(Debug, Clone)]
pub enum Provenance {
    /// This run wrote them, and took their hashes while it did.
    Written,
    /// They come from the store, and are held against their hashes before a row of them is believed.
    Kept,
    /// The same, and they are elsewhere: what is not at its path yet is brought there.
    Away(Arc<dyn Bring>),
}

/// Brings files of a store that is no folder of this machine, each whole and held against its hash.
pub trait Bring: Send + Sync + std::fmt::Debug {
    fn bring(&self, path: &Path, file: &DataFile) -> Result<()>;
}

/// A table of the star: what it is, and where its files are. `shelf` reads it.
#[derive(Debug, Clone)]
pub struct StarTable {
    pub contract: Arc<TableContract>,
    pub folder: PathBuf,
    pub files: Vec<DataFile>,
    pub provenance: Provenance,
}

impl StarTable {
    pub fn name(&self) -> &ModelName {
        &self.contract.name
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.contract.schema
    }

    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Hashes of its files: equal hashes, equal rows.
    pub fn hashes(&self) -> Vec<String> {
        self.files.iter().map(|file| file.sha256.clone()).collect()
    }

    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.files.iter().map(|file| self.folder.join(&file.name))
    }
}

/// The schema with its instants shown in a zone.
pub fn in_zone(schema: &Schema, zone: &str) -> SchemaRef {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
            Arc::new(field.as_ref().clone().with_data_type(data_type))
        }
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// Writes one Parquet file, hashing it on the way.
pub struct TableWriter {
    path: PathBuf,
    schema: SchemaRef,
    sort: Vec<String>,
    encodings: Encodings,
    stage: Stage,
    cutter: Cutter,
    /// Batches are written as they come, once the first rows are there.
    uncut: bool,
    rows: u64,
}

/// The first rows say how the file is encoded, so the writer waits until the cutter has a batch of them.
enum Stage {
    Waiting(HashingFile),
    Writing(Box<ArrowWriter<HashingFile>>),
    /// A writer that failed writes no more.
    Failed,
}

impl TableWriter {
    pub fn create(
        path: &Path,
        schema: &SchemaRef,
        sort: &[String],
        encodings: Encodings,
    ) -> Result<TableWriter> {
        let file =
            File::create(path).or_error(ErrorKind::Store, || format!("cannot write {}", path.display()))?;
        let file =
            HashingFile { file: BufWriter::with_capacity(1 << 18, file), hash: Sha256::new(), bytes: 0 };
        Ok(TableWriter {
            path: path.to_owned(),
            schema: Arc::clone(schema),
            sort: sort.to_vec(),
            encodings,
            stage: Stage::Waiting(file),
            cutter: Cutter::new(Arc::clone(schema)),
            uncut: false,
            rows: 0,
        })
    }

    /// For rows of which nobody wants the same bytes again: they need not be put together anew.
    pub fn uncut(self) -> TableWriter {
        TableWriter { uncut: true, ..self }
    }

    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if self.uncut && matches!(self.stage, Stage::Writing(_)) {
            return self.encode(&batch);
        }
        let full = self.cutter.push(batch).or_error(ErrorKind::Bug, || "cannot re-cut a batch".to_owned())?;
        full.iter().try_for_each(|batch| self.encode(batch))?;
        if self.uncut && !full.is_empty() {
            self.encode_rest()?;
        }
        Ok(())
    }

    fn encode_rest(&mut self) -> Result<()> {
        let rest =
            self.cutter.finish().or_error(ErrorKind::Bug, || "cannot re-cut the last batch".to_owned())?;
        rest.iter().try_for_each(|batch| self.encode(batch))
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        fault::at(Point::WriteBatch).map_err(|error| write_error(&self.path, error))?;
        self.rows += batch.num_rows() as u64;
        let mut writer = self.writer(batch)?;
        let written = writer.write(batch).and_then(|()| match writer.in_progress_size() {
            // So that large values don't pile up.
            GROUP_BYTES.. => writer.flush(),
            _ => Ok(()),
        });
        self.stage = Stage::Writing(writer);
        written.map_err(|error| write_error(&self.path, error))
    }

    /// The writer, made when the first rows are there.
    fn writer(&mut self, first: &RecordBatch) -> Result<Box<ArrowWriter<HashingFile>>> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Writing(writer) => Ok(writer),
            Stage::Waiting(file) => {
                let properties = encoding::properties(first, &self.sort, self.encodings);
                ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(properties))
                    .map(Box::new)
                    .map_err(|error| write_error(&self.path, error))
            }
            Stage::Failed => Err(Error::new(ErrorKind::Bug, "a writer that failed was used again")),
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that the file has so far, about: what is not written yet is counted as it will be.
    pub fn size(&self) -> u64 {
        match &self.stage {
            Stage::Writing(writer) => (writer.bytes_written() + writer.in_progress_size()) as u64,
            Stage::Waiting(_) | Stage::Failed => 0,
        }
    }

    pub fn finish(mut self) -> Result<DataFile> {
        self.encode_rest()?;
        let writer = self.writer(&RecordBatch::new_empty(Arc::clone(&self.schema)))?;
        let mut inner = writer.into_inner().map_err(|error| write_error(&self.path, error))?;
        inner.flush().map_err(|error| write_error(&self.path, error))?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let sha256 = inner.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(DataFile { name, rows: self.rows, bytes: inner.bytes, sha256 })
    }
}

fn write_error(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Store, format!("cannot write {}", path.display()))
        .caused_by(error)
        .hint("free space there; nothing of this run has been published")
}

struct HashingFile {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
