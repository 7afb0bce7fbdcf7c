//! One side of the walk: its rows in key order, a batch at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use chrono_tz::Tz;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::StreamExt;
use tokio::sync::mpsc::{Receiver, channel};

use super::walk::cell;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::name::quote_identifier as quote;
use crate::star::session::{Effort, Session, model_error, star_reference};
use crate::star::shelf;
use crate::star::staged::schema_only;
use crate::star::table::{StarTable, in_zone};

/// Rows that are read at once, and batches that are read ahead.
const ROWS: usize = 8_192;
const AHEAD: usize = 2;

/// What an engine is made of, where one is needed.
pub type Engine<'a> = (Tz, &'a Arc<RuntimeEnv>);

/// Where the rows come from.
enum Source {
    /// The files, which are sorted by the key already, one after the other.
    Files(Receiver<Result<RecordBatch>>),
    /// The engine, which sorts them.
    Sorted(SendableRecordBatchStream),
}

impl Source {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Source::Files(batches) => batches.recv().await.transpose(),
            Source::Sorted(stream) => {
                let batch = stream.next().await.transpose();
                batch.map_err(|error| model_error(error, "cannot compare the stars".to_owned()))
            }
        }
    }
}

pub struct Cursor {
    source: Source,
    converter: RowConverter,
    pub batch: RecordBatch,
    pub rows: Rows,
    pub at: usize,
    /// How many of the batch's first columns are the key.
    pub key: usize,
}

impl Cursor {
    pub async fn open(
        engine: Engine<'_>,
        table: &StarTable,
        columns: &[String],
        key: &[String],
    ) -> Result<Cursor> {
        let schema = in_zone(table.schema(), engine.0.name());
        let schema = projected(&schema, columns)?;
        let source = match !key.is_empty() && table.contract.sort.starts_with(key) {
            true => Source::Files(files(table.clone(), columns.to_vec(), SchemaRef::clone(&schema))),
            false => Source::Sorted(sorted(engine, table, columns, key).await?),
        };
        Cursor::over(source, schema, key.len()).await
    }

    /// Over files that are sorted by `key`, their values as they are.
    pub async fn of_files(table: &StarTable, columns: &[String], key: usize) -> Result<Cursor> {
        let schema = projected(table.schema(), columns)?;
        let source = Source::Files(files(table.clone(), columns.to_vec(), SchemaRef::clone(&schema)));
        Cursor::over(source, schema, key).await
    }

    async fn over(source: Source, schema: SchemaRef, key: usize) -> Result<Cursor> {
        let options = SortOptions { descending: false, nulls_first: false };
        let fields = schema.fields()[..key].iter();
        let fields =
            fields.map(|field| SortField::new_with_options(field.data_type().clone(), options)).collect();
        let converter = RowConverter::new(fields).or_error(ErrorKind::Bug, || "key rows".to_owned())?;
        let rows = converter.empty_rows(0, 0);
        let batch = RecordBatch::new_empty(schema);
        let mut cursor = Cursor { source, converter, batch, rows, at: 0, key };
        cursor.refill().await?;
        Ok(cursor)
    }

    /// Makes sure that there is a current row, unless the side has ended.
    pub async fn refill(&mut self) -> Result<()> {
        while self.at >= self.batch.num_rows() {
            let Some(batch) = self.source.next().await? else { return Ok(()) };
            self.batch = batch;
            let keys = &self.batch.columns()[..self.key];
            self.rows =
                self.converter.convert_columns(keys).or_error(ErrorKind::Bug, || "key rows".to_owned())?;
            self.at = 0;
        }
        Ok(())
    }

    pub fn left(&self) -> usize {
        self.batch.num_rows() - self.at
    }

    pub fn key_text(&self, row: usize) -> String {
        let schema = self.batch.schema();
        let shown = (0..self.key).map(|column| {
            format!("{}={}", schema.field(column).name(), cell(self.batch.column(column), row))
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

fn projected(schema: &SchemaRef, columns: &[String]) -> Result<SchemaRef> {
    let wanted = columns.iter().map(|name| schema.index_of(name));
    let schema =
        wanted.collect::<std::result::Result<Vec<_>, _>>().and_then(|wanted| schema.project(&wanted));
    schema.map(SchemaRef::new).or_error(ErrorKind::Bug, || "columns to compare".to_owned())
}

/// Reads the files beside the walk.
fn files(table: StarTable, columns: Vec<String>, schema: SchemaRef) -> Receiver<Result<RecordBatch>> {
    let (sender, receiver) = channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        for batch in shelf::batches(&table, Some(&names), ROWS) {
            // The walk may have ended with an error, and wants no more.
            if sender.blocking_send(batch.and_then(|batch| shown(&batch, &schema))).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A batch with its instants in the pipeline's zone.
pub fn shown(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>();
    let batch = columns.and_then(|columns| RecordBatch::try_new(SchemaRef::clone(schema), columns));
    batch.or_error(ErrorKind::Bug, || "rows to compare".to_owned())
}

/// Has the engine sort what is not sorted by the key.
async fn sorted(
    (timezone, runtime): Engine<'_>,
    table: &StarTable,
    columns: &[String],
    key: &[String],
) -> Result<SendableRecordBatchStream> {
    let (session, zone) = (Session::new(timezone, runtime, Effort::Frugal)?, timezone.name());
    let failed = |error| model_error(error, format!("cannot compare {}", table.name()));
    let reference = star_reference(table.name());
    let rows = match table.files.is_empty() {
        true => schema_only(in_zone(table.schema(), zone)),
        false => shelf::provider(table, zone),
    };
    session.add(reference.clone(), rows)?;
    let list = |names: &[String]| names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
    let text =
        format!("SELECT {} FROM {} ORDER BY {}", list(columns), reference.to_quoted_string(), list(key));
    let plan = session.plan_text(&text).await.map_err(failed)?;
    let frame = session.context().execute_logical_plan(plan).await.map_err(failed)?;
    frame.execute_stream().await.map_err(failed)
}
