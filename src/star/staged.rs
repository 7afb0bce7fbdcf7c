//! A table at rest during a run: small ones in memory, large ones as Arrow IPC in scratch.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as EngineResult, Statistics, internal_err};
use datafusion::datasource::TableType;
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};

use super::compacted::compact;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Where staged tables go: memory until the shared allowance is used up, then files.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    /// Bytes of batches that may still be kept in memory, over all tables of the run.
    allowance: AtomicUsize,
    next_file: AtomicU64,
}

impl Stage {
    pub fn new(folder: &Path, memory: usize) -> Arc<Stage> {
        Arc::new(Stage {
            folder: folder.to_owned(),
            allowance: AtomicUsize::new(memory),
            next_file: AtomicU64::new(0),
        })
    }

    fn try_keep(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.allowance.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// One stream of a table's rows, written in its own order.
pub struct PartWriter {
    stage: Arc<Stage>,
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    held_bytes: usize,
    file: Option<(PathBuf, StreamWriter<BufWriter<File>>)>,
    rows: u64,
    bytes: u64,
    order: Vec<Rising>,
}

/// Whether an integer column has only risen so far, which spares a sort later.
struct Rising {
    column: usize,
    last: Option<i64>,
    holds: bool,
}

/// A finished part.
#[derive(Debug)]
pub struct Part {
    batches: Vec<RecordBatch>,
    file: Option<PathBuf>,
    rows: u64,
    bytes: u64,
    rising: Vec<usize>,
}

impl Part {
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

impl PartWriter {
    pub fn new(stage: &Arc<Stage>, schema: SchemaRef) -> PartWriter {
        let integer =
            |data_type: &DataType| matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64);
        let order = schema.fields().iter().enumerate().filter(|(_, field)| integer(field.data_type()));
        PartWriter {
            stage: Arc::clone(stage),
            order: order.map(|(column, _)| Rising { column, last: None, holds: true }).collect(),
            schema,
            held: Vec::new(),
            held_bytes: 0,
            file: None,
            rows: 0,
            bytes: 0,
        }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let bytes = batch.get_array_memory_size();
        self.rows += batch.num_rows() as u64;
        self.bytes += bytes as u64;
        self.order.iter_mut().filter(|rising| rising.holds).for_each(|rising| rising.see(&batch));
        if self.file.is_none() {
            if self.stage.try_keep(bytes) {
                self.held_bytes += bytes;
                self.held.push(batch);
                return Ok(());
            }
            self.open_file()?;
        }
        self.write_to_file(&batch)
    }

    fn open_file(&mut self) -> Result<()> {
        let number = self.stage.next_file.fetch_add(1, Ordering::Relaxed);
        let path = self.stage.folder.join(format!("staged-{number}.arrow"));
        // Rows of the source that nobody else should read.
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(arrow::error::ArrowError::from)
            .and_then(|file| StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), &self.schema));
        self.file = Some((path.clone(), opened.map_err(|error| stage_error(&path, error))?));
        for batch in std::mem::take(&mut self.held) {
            self.write_to_file(&batch)?;
        }
        self.stage.give_back(std::mem::take(&mut self.held_bytes));
        Ok(())
    }

    fn write_to_file(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.file {
            Some((path, writer)) => writer.write(batch).map_err(|error| stage_error(path, error)),
            None => Ok(()),
        }
    }

    pub fn finish(mut self) -> Result<Part> {
        let file = match self.file.take() {
            Some((path, writer)) => {
                let flushed = writer
                    .into_inner()
                    .and_then(|mut inner| inner.flush().map_err(arrow::error::ArrowError::from));
                flushed.map_err(|error| stage_error(&path, error))?;
                Some(path)
            }
            None => None,
        };
        Ok(Part {
            batches: self.held,
            file,
            rows: self.rows,
            bytes: self.bytes,
            rising: self.order.iter().filter(|rising| rising.holds).map(|rising| rising.column).collect(),
        })
    }
}

fn stage_error(path: &Path, error: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Store, format!("cannot write scratch: {}", path.display()))
        .caused_by(error)
        .hint("free space there, or point `scratch` in [run] to a larger disk")
}

impl Rising {
    fn see(&mut self, batch: &RecordBatch) {
        let array = batch.column(self.column);
        if array.null_count() > 0 {
            self.holds = false;
            return;
        }
        let values: &mut dyn Iterator<Item = i64> = match array.data_type() {
            DataType::Int16 => &mut array.as_primitive::<Int16Type>().values().iter().map(|v| i64::from(*v)),
            DataType::Int32 => &mut array.as_primitive::<Int32Type>().values().iter().map(|v| i64::from(*v)),
            _ => &mut array.as_primitive::<Int64Type>().values().iter().copied(),
        };
        for value in values {
            if self.last.is_some_and(|last| last > value) {
                self.holds = false;
                return;
            }
            self.last = Some(value);
        }
    }
}

/// A whole table at rest. It presents the source's full schema; only the columns that the run
/// needs were staged, and asking for another is an error, never an empty column.
#[derive(Debug, Clone)]
pub struct StagedTable {
    schema: SchemaRef,
    /// For each column of `schema`, its position in the parts.
    staged: Vec<Option<usize>>,
    parts: Arc<Vec<Part>>,
    /// Columns by which every part is sorted, each by itself.
    rising: Vec<usize>,
}

impl StagedTable {
    /// `columns` are the positions in `schema` of the parts' columns, in their order.
    pub fn new(schema: SchemaRef, columns: &[usize], parts: Vec<Part>) -> StagedTable {
        let mut staged = vec![None; schema.fields().len()];
        for (position, column) in columns.iter().enumerate() {
            staged[*column] = Some(position);
        }
        let rising = (0..columns.len())
            .filter(|position| parts.iter().all(|part| part.rows == 0 || part.rising.contains(position)))
            .collect();
        StagedTable { schema, staged, parts: Arc::new(parts), rising }
    }

    /// A table of batches in memory, all columns staged.
    pub fn of_batches(schema: SchemaRef, batches: Vec<RecordBatch>) -> StagedTable {
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let bytes = batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum();
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let part = Part { batches, file: None, rows, bytes, rising: Vec::new() };
        StagedTable::new(schema, &columns, vec![part])
    }

    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

#[async_trait]
impl TableProvider for StagedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let mut positions = Vec::with_capacity(columns.len());
        for column in &columns {
            match self.staged[*column] {
                Some(position) => positions.push(position),
                None => return internal_err!("column {} was not staged", self.schema.field(*column).name()),
            }
        }
        let schema = Arc::new(self.schema.project(&columns)?);
        let source =
            StagedSource { schema, positions, parts: Arc::clone(&self.parts), rising: self.rising.clone() };
        Ok(DataSourceExec::from_data_source(source))
    }
}

/// A scan of some columns of a staged table, one partition a part.
#[derive(Debug, Clone)]
struct StagedSource {
    schema: SchemaRef,
    positions: Vec<usize>,
    parts: Arc<Vec<Part>>,
    rising: Vec<usize>,
}

impl DataSource for StagedSource {
    fn open(&self, partition: usize, _context: Arc<TaskContext>) -> EngineResult<SendableRecordBatchStream> {
        let parts = Arc::clone(&self.parts);
        let positions = self.positions.clone();
        let batches: Box<dyn Iterator<Item = EngineResult<RecordBatch>> + Send> = match &parts[partition].file
        {
            // Local files, just written: they come from the page cache, so reading doesn't wait.
            Some(path) => {
                let file = BufReader::with_capacity(1 << 20, File::open(path)?);
                let reader = StreamReader::try_new(file, None)?;
                Box::new(reader.map(move |batch| {
                    let batch = batch?;
                    let wanted = batch.project(&positions)?;
                    // All columns lie in one buffer, which nobody may keep for the sake of a few of them.
                    if wanted.num_columns() < batch.num_columns() { compact(&wanted) } else { Ok(wanted) }
                }))
            }
            None => Box::new(
                (0..parts[partition].batches.len())
                    .map(move |index| Ok(parts[partition].batches[index].project(&positions)?)),
            ),
        };
        let stream = futures::stream::iter(batches);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream)))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "staged, parts={}", self.parts.len())
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.parts.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        let ordering = |(index, position): (usize, &usize)| {
            self.rising.contains(position).then(|| {
                let column = Arc::new(Column::new(self.schema.field(index).name(), index));
                let options = SortOptions { descending: false, nulls_first: false };
                LexOrdering::new([PhysicalSortExpr { expr: column, options }])
            })?
        };
        let orderings: Vec<LexOrdering> = self.positions.iter().enumerate().filter_map(ordering).collect();
        EquivalenceProperties::new_with_orderings(Arc::clone(&self.schema), orderings)
    }

    fn partition_statistics(&self, partition: Option<usize>) -> EngineResult<Arc<Statistics>> {
        let parts: Vec<&Part> = match partition {
            Some(partition) => self.parts.get(partition).into_iter().collect(),
            None => self.parts.iter().collect(),
        };
        let mut statistics = Statistics::new_unknown(&self.schema);
        let rows: u64 = parts.iter().map(|part| part.rows).sum();
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
        statistics.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, _limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        None
    }

    fn fetch(&self) -> Option<usize> {
        None
    }

    fn try_swapping_with_projection(
        &self,
        _projection: &ProjectionExprs,
    ) -> EngineResult<Option<Arc<dyn DataSource>>> {
        Ok(None)
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}

/// Reads a stream of batches into a staged table of one part.
pub async fn stage_stream(
    stage: &Arc<Stage>,
    mut stream: SendableRecordBatchStream,
) -> Result<StagedTable, StageFailure> {
    use futures::StreamExt;
    let schema = stream.schema();
    let mut writer = PartWriter::new(stage, Arc::clone(&schema));
    while let Some(batch) = stream.next().await {
        writer.write(batch.map_err(StageFailure::Engine)?).map_err(StageFailure::Ours)?;
    }
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let part = writer.finish().map_err(StageFailure::Ours)?;
    Ok(StagedTable::new(schema, &columns, vec![part]))
}

/// Whether the engine failed, which a more frugal effort may mend, or we did.
pub enum StageFailure {
    Engine(DataFusionError),
    Ours(Error),
}

/// An empty table of a schema, for planning without data.
pub fn schema_only(schema: SchemaRef) -> Arc<dyn TableProvider> {
    Arc::new(SchemaOnly(StagedTable::of_batches(schema, Vec::new())))
}

/// It asks for a scan's conditions, so that a plan shows which rows nobody wants.
#[derive(Debug)]
struct SchemaOnly(StagedTable);

#[async_trait]
impl TableProvider for SchemaOnly {
    fn schema(&self) -> SchemaRef {
        StagedTable::schema(&self.0)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, filters, limit).await
    }
}

/// Creates a folder with those above it; it may be there already.
pub fn require_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .or_error(ErrorKind::Store, || format!("cannot create the folder {}", path.display()))
}
