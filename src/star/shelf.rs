//! The one way from a data file to its batches, for the audit, the diff, questions and deliveries.
//!
//! A file is opened by its own path, never by a pattern or an address that a folder's name could be taken
//! for. What comes from the store is held against its hash first, and every file must have the rows that
//! were written down of it: a table that has rows and scans as empty is an error, never an empty table.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as EngineResult, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Type;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics as ParquetStatistics;
use sha2::{Digest, Sha256};

use super::table::{DataFile, Provenance, StarTable, in_zone};
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Every batch of a table in its own order, with the named columns in the order of `columns`, or all.
pub fn batches<'a>(
    table: &'a StarTable,
    columns: Option<&'a [&'a str]>,
    rows: usize,
) -> impl Iterator<Item = Result<RecordBatch>> + Send + 'a {
    type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch>> + Send + 'a>;
    table.files.iter().flat_map(move |file| -> Batches<'a> {
        let path = table.folder.join(&file.name);
        match reader(&path, file, &table.provenance, columns, rows) {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok((reader, order)) => Box::new(reader.map(move |batch| {
                let batch = batch.map_err(|error| unreadable(&path, error))?;
                match &order {
                    Some(order) => batch.project(order).map_err(|error| unreadable(&path, error)),
                    None => Ok(batch),
                }
            })),
        }
    })
}

/// A reader of one file, and where in its batches the wanted columns are.
fn reader(
    path: &Path,
    file: &DataFile,
    provenance: &Provenance,
    columns: Option<&[&str]>,
    rows: usize,
) -> Result<(ParquetRecordBatchReader, Option<Vec<usize>>)> {
    let (handle, metadata) = open(path, file, provenance)?;
    let failed = |error| unreadable(path, error);
    let metadata =
        ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()).map_err(failed)?;
    let mut builder =
        ParquetRecordBatchReaderBuilder::new_with_metadata(handle, metadata).with_batch_size(rows);
    if let Some(columns) = columns {
        let roots: Vec<usize> =
            columns.iter().filter_map(|name| builder.schema().index_of(name).ok()).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        builder = builder.with_projection(mask);
    }
    let reader = builder.build().map_err(failed)?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let order = columns.map(|columns| {
        columns.iter().map(|name| schema.index_of(name)).collect::<std::result::Result<Vec<_>, _>>()
    });
    let order = order.transpose().map_err(|error| unreadable(path, error))?;
    Ok((reader, order))
}

/// Opens a file that is what was written down of it, and reads its footer.
fn open(path: &Path, file: &DataFile, provenance: &Provenance) -> Result<(File, ParquetMetaData)> {
    match provenance {
        Provenance::Written => {}
        Provenance::Kept => require_whole(path, file)?,
        Provenance::Away(store) => {
            if !is_whole(path, file) {
                store.bring(path, file)?;
            }
            require_whole(path, file)?;
        }
    }
    let handle = File::open(path).map_err(|error| unreadable(path, error))?;
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let metadata = ArrowReaderMetadata::load(&handle, options).map_err(|error| unreadable(path, error))?;
    let metadata = without_extremes_of_floats(metadata.metadata().as_ref().clone())
        .map_err(|error| unreadable(path, error))?;
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
    if rows != file.rows {
        let message =
            format!("{} has {rows} rows, and {} were written down of it", path.display(), file.rows);
        return Err(damaged(message));
    }
    Ok((handle, metadata))
}

/// Extremes leave NaN out, which is greater than every number in Postgres: whoever believed them would skip rows, or take a
/// column for one value.
fn without_extremes_of_floats(metadata: ParquetMetaData) -> ParquetResult<ParquetMetaData> {
    let is_float = |column: &ColumnChunkMetaData| matches!(column.column_type(), Type::FLOAT | Type::DOUBLE);
    let floats: Vec<bool> = metadata
        .row_groups()
        .first()
        .map_or(Vec::new(), |group| group.columns().iter().map(is_float).collect());
    if !floats.contains(&true) {
        return Ok(metadata);
    }
    let pages = metadata.column_index().cloned().map(|mut groups| {
        for (page, float) in groups.iter_mut().flat_map(|group| group.iter_mut().zip(&floats)) {
            if *float {
                *page = ColumnIndexMetaData::NONE;
            }
        }
        groups
    });
    let mut builder = metadata.into_builder();
    let groups = builder.take_row_groups().into_iter().map(|group| {
        let columns = group.columns().iter().map(|column| match is_float(column) {
            true => column.clone().into_builder().clear_statistics().build(),
            false => Ok(column.clone()),
        });
        let columns = columns.collect::<ParquetResult<Vec<_>>>()?;
        group.into_builder().set_column_metadata(columns).build()
    });
    let groups = groups.collect::<ParquetResult<Vec<_>>>()?;
    Ok(builder.set_row_groups(groups).set_column_index(pages).build())
}

fn unreadable(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    if error.to_string().contains("Too many open files") {
        let message = format!("cannot open {}: this process may open no more files", path.display());
        return Error::new(ErrorKind::Store, message)
            .caused_by(error)
            .hint("raise the limit, ulimit -n, or write larger files: `file_size` in [store]");
    }
    damaged(format!("cannot read back {}", path.display())).caused_by(error)
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Store, message).hint(
        "`starmill snapshots verify` says what is damaged, `starmill snapshots rollback` publishes another snapshot",
    )
}

/// A file with its own path.
#[derive(Debug, Clone)]
struct Shelved {
    path: PathBuf,
    file: DataFile,
    provenance: Provenance,
}

fn shelved(table: &StarTable) -> impl Iterator<Item = Shelved> {
    table.files.iter().map(|file| Shelved {
        path: table.folder.join(&file.name),
        file: file.clone(),
        provenance: table.provenance.clone(),
    })
}

/// The table as a session reads it, its timestamps in the pipeline's zone, so that a day means
/// there what it means in a source table.
pub fn provider(table: &StarTable, zone: &str) -> Arc<dyn TableProvider> {
    let (files, sort) = (shelved(table).collect(), table.contract.sort.clone());
    Arc::new(ShelfTable { files, schema: in_zone(table.schema(), zone), sort })
}

/// Several tables of one schema as one, in no order.
pub fn union(tables: &[StarTable], zone: &str) -> Arc<dyn TableProvider> {
    let schema = tables
        .first()
        .map_or_else(|| Arc::new(arrow::datatypes::Schema::empty()), |table| in_zone(table.schema(), zone));
    Arc::new(ShelfTable { files: tables.iter().flat_map(shelved).collect(), schema, sort: Vec::new() })
}

#[derive(Debug)]
struct ShelfTable {
    files: Vec<Shelved>,
    schema: SchemaRef,
    sort: Vec<String>,
}

#[async_trait]
impl TableProvider for ShelfTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        // Statistics of pages spare reading; every row is still tested.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let opened = self.open().await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let mut files = Vec::new();
        for file in opened {
            let statistics =
                DFParquetMetadata::statistics_from_parquet_metadata(&file.metadata, &self.schema)?;
            let mut part =
                PartitionedFile::new(file.label.as_str(), file.bytes).with_statistics(Arc::new(statistics));
            part.extensions.insert_arc(Arc::new(file));
            files.push(part);
        }
        let statistics = files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(statistics, &self.schema)?;
        let mut options = state.config_options().execution.parquet.clone();
        options.skip_metadata = false;
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(datafusion::common::config::TableParquetOptions {
                global: options,
                ..Default::default()
            })
            .with_parquet_file_reader_factory(Arc::new(ByPath));
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(if filters.is_empty() { limit } else { None })
            .with_output_ordering(self.ordering().into_iter().collect())
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

impl ShelfTable {
    async fn open(&self) -> Result<Vec<Opened>> {
        let files = self.files.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let opened = files.iter().enumerate().map(|(number, shelved)| {
                let (handle, metadata) = open(&shelved.path, &shelved.file, &shelved.provenance)?;
                Ok(Opened {
                    label: format!("{number:06}.parquet"),
                    path: shelved.path.clone(),
                    bytes: shelved.file.bytes,
                    handle,
                    metadata: Arc::new(metadata),
                })
            });
            opened.collect::<Result<Vec<_>>>()
        });
        opened.await.or_error(ErrorKind::Bug, || "a reader ended by itself".to_owned())?
    }

    /// Every file is sorted so; whether they are together, the engine judges by their extremes.
    fn ordering(&self) -> Option<LexOrdering> {
        let options = SortOptions { descending: false, nulls_first: false };
        let columns = self.sort.iter().map_while(|name| {
            let column = Column::new_with_schema(name, &self.schema).ok()?;
            Some(PhysicalSortExpr { expr: Arc::new(column), options })
        });
        LexOrdering::new(columns)
    }
}

/// A file at hand: the engine knows it by its label alone.
#[derive(Debug)]
struct Opened {
    label: String,
    path: PathBuf,
    bytes: u64,
    handle: File,
    metadata: Arc<ParquetMetaData>,
}

/// Gives the engine the file that it was planned with, whatever its path is spelled like.
#[derive(Debug)]
struct ByPath;

impl ParquetFileReaderFactory for ByPath {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> EngineResult<Box<dyn AsyncFileReader + Send>> {
        let opened = file.extensions.get_arc::<Opened>();
        let opened =
            opened.ok_or_else(|| DataFusionError::Internal("a file that nobody opened".to_owned()))?;
        Ok(Box::new(PathReader(opened)))
    }
}

/// Local files come from the page cache, as they were read for their hash, so reading doesn't wait.
struct PathReader(Arc<Opened>);

impl AsyncFileReader for PathReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let read = || {
            let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).map_err(outer)?];
            self.0.handle.read_exact_at(&mut bytes, range.start).map_err(|error| {
                outer(
                    Error::new(ErrorKind::Store, format!("cannot read {}", self.0.path.display()))
                        .caused_by(error),
                )
            })?;
            Ok(Bytes::from(bytes))
        };
        std::future::ready(read()).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        std::future::ready(Ok(Arc::clone(&self.0.metadata))).boxed()
    }
}

fn outer(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// A file as it was when it was found whole: path, inode, size and time of change, with the hash.
type Found = (PathBuf, u64, u64, i64, String);

/// The files that this process has found whole.
static WHOLE: Mutex<BTreeSet<Found>> = Mutex::new(BTreeSet::new());

/// Holds a file against its hash, once in a process as long as it isn't touched.
fn require_whole(path: &Path, file: &DataFile) -> Result<()> {
    let meta = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    let changed = meta.ctime().saturating_mul(1_000_000_000).saturating_add(meta.ctime_nsec());
    let known = (path.to_owned(), meta.ino(), meta.size(), changed, file.sha256.clone());
    if WHOLE.lock().unwrap_or_else(PoisonError::into_inner).contains(&known) {
        return Ok(());
    }
    whole(path, file).map_err(|problem| damaged(format!("{} is damaged: {problem}", path.display())))?;
    WHOLE.lock().unwrap_or_else(PoisonError::into_inner).insert(known);
    Ok(())
}

/// Whether a file is there as it was written down.
pub fn is_whole(path: &Path, file: &DataFile) -> bool {
    require_whole(path, file).is_ok()
}

/// Reads a file whole, and says how many bytes it has, or what is wrong with it.
pub fn whole(path: &Path, file: &DataFile) -> Result<u64, String> {
    is_this(hash_file(path).map_err(|error| error.to_string())?, file)
}

/// Whether what was read, so many bytes of this hash, is a file.
pub fn is_this((bytes, hash): (u64, String), file: &DataFile) -> Result<u64, String> {
    if bytes != file.bytes {
        return Err(format!("it has {bytes} bytes, and {} were published", file.bytes));
    }
    if hash != file.sha256 {
        return Err("its bytes are not those that were published".to_owned());
    }
    Ok(bytes)
}

/// The highest of a file's integers in one column, as its footer tells it; zero where it does not.
pub fn highest(path: &Path, column: &str) -> Result<i64> {
    let handle = File::open(path).map_err(|error| unreadable(path, error))?;
    let options = ArrowReaderOptions::new();
    let loaded = ArrowReaderMetadata::load(&handle, options).map_err(|error| unreadable(path, error))?;
    let groups = loaded.metadata().row_groups().iter();
    let columns =
        groups.flat_map(|group| group.columns()).filter(|chunk| chunk.column_path().string() == column);
    let highest = columns.filter_map(|chunk| match chunk.statistics() {
        Some(ParquetStatistics::Int64(values)) => values.max_opt().copied(),
        _ => None,
    });
    Ok(highest.max().unwrap_or(0))
}

fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hex(&hasher.finalize()))),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// SHA-256 as a manifest writes it.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
