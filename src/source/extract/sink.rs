//! Where the rows of a table go: to rest for a night's models, into files of their own, or nowhere.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::{Error, ErrorKind, Result};
use crate::name::SourceTable;
use crate::pipeline::Encodings;
use crate::star::staged::{Part, PartWriter, Stage};
use crate::star::table::{DataFile, TableWriter};

/// Opens a sink for every table that a session reads.
pub trait Destination: Send + Sync + 'static {
    type Sink: Sink;

    /// `session` tells the sinks of one table apart.
    fn open(&self, table: &SourceTable, schema: &SchemaRef, session: usize) -> Result<Self::Sink>;
}

/// Takes what one session reads of one table.
pub trait Sink: Send + 'static {
    /// What is left when all is written.
    type Kept: Send + 'static;

    fn write(&mut self, batch: RecordBatch) -> Result<()>;
    fn finish(self) -> Result<Self::Kept>;
    fn rows(kept: &Self::Kept) -> u64;
}

/// At rest during a run: in memory while the rows are few.
pub struct Staging(pub Arc<Stage>);

impl Destination for Staging {
    type Sink = PartWriter;

    fn open(&self, _: &SourceTable, schema: &SchemaRef, _: usize) -> Result<PartWriter> {
        Ok(PartWriter::new(&self.0, Arc::clone(schema)))
    }
}

impl Sink for PartWriter {
    type Kept = Part;

    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        PartWriter::write(self, batch)
    }

    fn finish(self) -> Result<Part> {
        PartWriter::finish(self)
    }

    fn rows(kept: &Part) -> u64 {
        kept.rows()
    }
}

/// Parquet as the star's: `<folder>/<schema>.<table>/part-<session>.parquet`.
pub struct Files {
    pub folder: PathBuf,
    pub encodings: Encodings,
}

impl Destination for Files {
    type Sink = TableWriter;

    fn open(&self, table: &SourceTable, schema: &SchemaRef, session: usize) -> Result<TableWriter> {
        let folder = self.folder.join(folder_name(table));
        // Never those above it: they may be gone with an extraction that was stopped.
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::new(
                    ErrorKind::Store,
                    format!("cannot create the folder {}", folder.display()),
                )
                .caused_by(error));
            }
            _ => {}
        }
        let path = folder.join(format!("part-{session}.parquet"));
        if path.exists() {
            // Where Orders and orders are one name.
            return Err(Error::new(
                ErrorKind::Store,
                format!("two tables would be written into {}", folder.display()),
            )
            .hint("extract them one at a time, with --table"));
        }
        // Which session has which range is chance, so no two extractions give the same files.
        Ok(TableWriter::create(&path, schema, &[], self.encodings)?.uncut())
    }
}

impl Sink for TableWriter {
    type Kept = DataFile;

    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        TableWriter::write(self, batch)
    }

    fn finish(self) -> Result<DataFile> {
        TableWriter::finish(self)
    }

    fn rows(kept: &DataFile) -> u64 {
        kept.rows
    }
}

/// A folder's name that no table's name can lead elsewhere.
pub fn folder_name(table: &SourceTable) -> String {
    let plain = |name: &str| name.replace('%', "%25").replace('/', "%2F").replace('.', "%2E");
    format!("{}.{}", plain(&table.schema), plain(&table.table))
}

/// Every value is looked at, and none kept.
pub struct Nowhere;

/// Counts rows.
pub struct Count(u64);

impl Destination for Nowhere {
    type Sink = Count;

    fn open(&self, _: &SourceTable, _: &SchemaRef, _: usize) -> Result<Count> {
        Ok(Count(0))
    }
}

impl Sink for Count {
    type Kept = u64;

    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.0 += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(self) -> Result<u64> {
        Ok(self.0)
    }

    fn rows(kept: &u64) -> u64 {
        *kept
    }
}
