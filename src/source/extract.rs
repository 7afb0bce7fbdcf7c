//! Reads every table and every total of a Postgres snapshot, over all its sessions at once.
//!
//! The work is cut into tasks that the sessions take from one queue, so that they finish together:
//! totals first, then tables by size, large ones in ranges of pages. A session appends what it
//! reads of a table to a part of its own, in rising order of pages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;
use tokio_postgres::{CancelToken, Client, SimpleQueryMessage};

use super::files::{table_read, value_error};
use super::snapshot::SourceSnapshot;
use super::{Extracted, Order};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{SourceTable, quote_identifier};
use crate::pgcopy::column::Column;
use crate::pgcopy::decode::{BATCH_ROWS, DecodeError, Decoder};
use crate::pgcopy::mapping::Mapping;
use crate::pipeline::catalog::RelationKind;
use crate::pipeline::control::{Control, SourceSide};
use crate::pipeline::{Pipeline, Special};
use crate::postgres::Server;
use crate::progress::{Event, Progress};
use crate::star::design::{Design, Read};
use crate::star::number::Number;
use crate::star::staged::{Part, PartWriter, Stage, StagedTable};
use crate::star::{ControlTotals, Extract};

/// Pages of a range: large enough that a COPY's start doesn't show, small enough that the sessions
/// finish within a moment of each other.
const RANGE_BYTES: u64 = 16 << 20;

pub async fn extract(snapshot: SourceSnapshot, order: Order<'_>) -> Result<Extracted> {
    let SourceSnapshot { server, sessions, position, held_since, ranges, block_size, sizes } = snapshot;
    let tasks = tasks(order.pipeline, order.design, &sizes, ranges.then_some(block_size));
    let crew = Arc::new(Crew {
        pipeline: Arc::clone(order.pipeline),
        design: Arc::clone(order.design),
        server,
        stage: Arc::clone(order.stage),
        progress: order.progress.clone(),
        tasks: Mutex::new(tasks),
    });
    let mut workers: JoinSet<Result<Haul>> = JoinSet::new();
    let cancels = sessions.iter().map(Client::cancel_token).collect();
    for client in sessions {
        let crew = Arc::clone(&crew);
        workers.spawn(async move { crew.work(client).await });
    }
    // When this future is dropped or fails, the server must not go on computing for nobody.
    let guard = CancelOnDrop { server: crew.server.clone(), sessions: Some(cancels) };
    let most = order.pipeline.source.snapshot_max;
    let hauls = tokio::time::timeout(most, gather(&mut workers)).await.map_err(|_| {
        Error::new(
            ErrorKind::Source,
            format!(
                "the source snapshot was held for {} and is not read yet",
                humantime::format_duration(most)
            ),
        )
        .hint("raise `snapshot_max` or `connections` in [source], or read less: fewer columns, fewer tables")
    })??;
    guard.disarm();
    let held_seconds = held_since.elapsed().as_secs_f64();
    let mut parts: BTreeMap<SourceTable, Vec<Part>> = BTreeMap::new();
    let mut numbers: BTreeMap<usize, Number> = BTreeMap::new();
    for mut haul in hauls {
        if let Some(session) = haul.session.take() {
            let ended = session.batch_execute("COMMIT").await;
            ended.map_err(|error| crew.server.error(error, "cannot end the source snapshot"))?;
        }
        numbers.extend(haul.numbers);
        for (table, part) in haul.parts {
            parts.entry(table).or_default().push(part);
        }
    }
    let (mut tables, mut reads) = (BTreeMap::new(), Vec::new());
    for (table, read) in &order.design.reads {
        let staged = StagedTable::new(
            Arc::clone(&read.schema),
            &read.columns,
            parts.remove(table).unwrap_or_default(),
        );
        reads.push(table_read(table, read, &staged));
        tables.insert(table.clone(), staged);
    }
    let numbers: Vec<Number> = numbers.into_values().collect();
    if numbers.len() != order.design.controls.len() {
        return Err(Error::new(ErrorKind::Bug, "a control's source side was not measured"));
    }
    fault::at(Point::ExtractDone).or_error(ErrorKind::Source, || "the extraction failed".to_owned())?;
    Ok(Extracted {
        extract: Extract { tables, totals: ControlTotals(numbers) },
        reads,
        position,
        held_seconds,
    })
}

async fn gather(workers: &mut JoinSet<Result<Haul>>) -> Result<Vec<Haul>> {
    let mut hauls = Vec::new();
    while let Some(joined) = workers.join_next().await {
        hauls.push(joined.or_error(ErrorKind::Bug, || "a worker ended by itself".to_owned())??);
    }
    Ok(hauls)
}

struct CancelOnDrop {
    server: Server,
    sessions: Option<Vec<CancelToken>>,
}

impl CancelOnDrop {
    fn disarm(mut self) {
        self.sessions = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        for session in self.sessions.take().into_iter().flatten() {
            self.server.cancel(session);
        }
    }
}

enum Task {
    /// One statement, and for each control that it serves the place of its number in it.
    Totals {
        sql: String,
        controls: Vec<(usize, usize)>,
    },
    Copy {
        table: SourceTable,
        range: Option<(u64, Option<u64>)>,
    },
}

/// What one session brought.
#[derive(Default)]
struct Haul {
    parts: BTreeMap<SourceTable, Part>,
    numbers: BTreeMap<usize, Number>,
    /// Its transaction is still open: the first session holds the locks, without which a TRUNCATE
    /// would empty what the others still read. All end together, when all have read.
    session: Option<Client>,
}

fn tasks(
    pipeline: &Pipeline,
    design: &Design,
    sizes: &BTreeMap<SourceTable, u64>,
    block_size: Option<u64>,
) -> VecDeque<Task> {
    let mut tasks: VecDeque<Task> = total_tasks(pipeline, design).into();
    let mut tables: Vec<(&SourceTable, &Read)> = design.reads.iter().collect();
    let size = |table: &SourceTable| sizes.get(table).copied().unwrap_or(0);
    tables.sort_by_key(|(table, _)| std::cmp::Reverse(size(table)));
    for (table, read) in tables {
        let bytes = size(table);
        match block_size {
            Some(block) if read.relation.kind == RelationKind::Table && bytes > RANGE_BYTES => {
                let (blocks, step) = (bytes / block, RANGE_BYTES / block);
                let mut start = 0;
                while start < blocks {
                    // The table may have grown since its size was read: the last range is open.
                    let end = start + step;
                    let end = (end < blocks).then_some(end);
                    tasks.push_back(Task::Copy { table: table.clone(), range: Some((start, end)) });
                    start += step;
                }
            }
            _ => tasks.push_back(Task::Copy { table: table.clone(), range: None }),
        }
    }
    tasks
}

/// One statement a table for all aggregates over it, and one for every other control.
fn total_tasks(pipeline: &Pipeline, design: &Design) -> Vec<Task> {
    let mut by_table: BTreeMap<&SourceTable, Vec<(usize, &Control)>> = BTreeMap::new();
    let mut tasks = Vec::new();
    for (index, (control, resolved)) in pipeline.controls.iter().zip(&design.controls).enumerate() {
        match (&control.source, resolved.tables.first()) {
            // A subquery in the filter reads another table, and keeps its own statement.
            (SourceSide::Aggregate { .. }, Some(table)) if resolved.tables.len() == 1 => {
                by_table.entry(table).or_default().push((index, control));
            }
            _ => tasks.push(Task::Totals {
                sql: format!("SELECT (q.n)::text, pg_typeof(q.n)::text FROM ({}) AS q(n)", resolved.postgres),
                controls: vec![(index, 0)],
            }),
        }
    }
    for (table, controls) in by_table {
        let mut columns: Vec<String> = Vec::new();
        let mut places = Vec::new();
        for (index, control) in &controls {
            let SourceSide::Aggregate { expression, filter, .. } = &control.source else { continue };
            let expression = &in_double(expression, &design.reads[table]);
            let number = match filter {
                Some(filter) => format!("{expression} FILTER (WHERE {filter})"),
                None => expression.clone(),
            };
            // Several controls often ask for the same number.
            let column = format!("({number})::text, pg_typeof({number})::text");
            let place = columns.iter().position(|known| *known == column).unwrap_or(columns.len());
            if place == columns.len() {
                columns.push(column);
            }
            places.push((*index, place));
        }
        let sql = format!("SELECT {} FROM {}", columns.join(", "), table.quoted());
        tasks.push(Task::Totals { sql, controls: places });
    }
    tasks
}

/// Postgres sums real in real, seven digits; the star is summed in double.
fn in_double(expression: &str, read: &Read) -> String {
    let column = expression.strip_prefix("sum(").and_then(|rest| rest.strip_suffix(')'));
    let mapping = column.and_then(|column| read.relation.column(column)).map(|column| &column.mapping);
    match (column, mapping) {
        (Some(column), Some(Ok(Mapping::Float32))) => format!("sum(({column})::float8)"),
        _ => expression.to_owned(),
    }
}

/// What all workers share.
struct Crew {
    pipeline: Arc<Pipeline>,
    design: Arc<Design>,
    server: Server,
    stage: Arc<Stage>,
    progress: Progress,
    tasks: Mutex<VecDeque<Task>>,
}

impl Crew {
    async fn work(&self, client: Client) -> Result<Haul> {
        let mut writers: BTreeMap<SourceTable, PartWriter> = BTreeMap::new();
        let mut haul = Haul::default();
        while let Some(task) = self.next() {
            match task {
                Task::Totals { sql, controls } => {
                    self.measure(&client, &sql, &controls, &mut haul.numbers).await?
                }
                Task::Copy { table, range } => {
                    fault::at(Point::ExtractTable)
                        .or_error(ErrorKind::Source, || format!("cannot read {table}"))?;
                    let columns = Columns::of(&self.design.reads[&table])?;
                    let writer = writers
                        .entry(table.clone())
                        .or_insert_with(|| PartWriter::new(&self.stage, Arc::clone(&columns.schema)));
                    self.copy(&client, &table, &columns, range, writer).await?;
                }
            }
        }
        for (table, writer) in writers {
            self.progress.tell(Event::Table { table: table.to_string(), rows: writer.rows() });
            haul.parts.insert(table, writer.finish()?);
        }
        haul.session = Some(client);
        Ok(haul)
    }

    fn next(&self) -> Option<Task> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    async fn measure(
        &self,
        client: &Client,
        sql: &str,
        controls: &[(usize, usize)],
        into: &mut BTreeMap<usize, Number>,
    ) -> Result<()> {
        let name = || {
            controls
                .iter()
                .map(|(index, _)| self.pipeline.controls[*index].name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let messages = client.simple_query(sql).await.map_err(|error| {
            self.server.error(error, format!("cannot measure the source's side of: {}", name()))
        })?;
        let mut rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let (Some(row), None) = (rows.next(), rows.next()) else {
            return Err(Error::new(
                ErrorKind::Pipeline,
                format!("the source's side of \"{}\" must give one row", name()),
            ));
        };
        for (index, place) in controls {
            let number = Number::parse(row.get(place * 2), row.get(place * 2 + 1).unwrap_or_default());
            let number = number.ok_or_else(|| {
                Error::new(
                    ErrorKind::Pipeline,
                    format!("the source's side of \"{}\" is not a number", name()),
                )
            })?;
            into.insert(*index, number);
        }
        Ok(())
    }

    async fn copy(
        &self,
        client: &Client,
        table: &SourceTable,
        columns: &Columns,
        range: Option<(u64, Option<u64>)>,
        writer: &mut PartWriter,
    ) -> Result<()> {
        let sql = columns.copy_sql(table, range);
        let failed = |error| {
            let error: tokio_postgres::Error = error;
            self.server.error(error, format!("cannot read {table}"))
        };
        let stream = client.copy_out(&sql).await.map_err(failed)?;
        futures::pin_mut!(stream);
        let mut decoder =
            columns.decoder(self.pipeline.deployment.timezone.name(), self.pipeline.source.types.special);
        while let Some(message) = stream.try_next().await.map_err(failed)? {
            decoder.feed(&message).map_err(|error| columns.error(table, error))?;
            if let Some(batch) = decoder.take_full_batch() {
                self.keep(table, batch, writer)?;
            }
        }
        if let Some(batch) = decoder.finish().map_err(|error| columns.error(table, error))? {
            self.keep(table, batch, writer)?;
        }
        // The stream ends when the server has said so; nothing more may follow.
        debug_assert!(stream.next().await.is_none());
        Ok(())
    }

    fn keep(&self, table: &SourceTable, batch: RecordBatch, writer: &mut PartWriter) -> Result<()> {
        self.progress.tell(Event::Rows { table: table.to_string(), rows: batch.num_rows() as u64 });
        writer.write(batch)
    }
}

/// The columns of one table that are read.
struct Columns {
    schema: SchemaRef,
    columns: Vec<(String, Mapping)>,
}

impl Columns {
    fn of(read: &Read) -> Result<Columns> {
        let columns = read.columns.iter().filter_map(|position| {
            let name = read.schema.field(*position).name();
            Some((name.clone(), read.relation.column(name)?.mapping.clone().ok()?))
        });
        let schema =
            read.schema.project(&read.columns).or_error(ErrorKind::Bug, || "a projection".to_owned())?;
        Ok(Columns { schema: Arc::new(schema), columns: columns.collect() })
    }

    fn copy_sql(&self, table: &SourceTable, range: Option<(u64, Option<u64>)>) -> String {
        let selected: Vec<String> =
            self.columns.iter().map(|(name, mapping)| mapping.select(&quote_identifier(name))).collect();
        let filter = match range {
            Some((start, Some(end))) => format!(" WHERE ctid >= '({start},0)' AND ctid < '({end},0)'"),
            Some((start, None)) => format!(" WHERE ctid >= '({start},0)'"),
            None => String::new(),
        };
        format!(
            "COPY (SELECT {} FROM {}{filter}) TO STDOUT (FORMAT binary)",
            selected.join(", "),
            table.quoted()
        )
    }

    fn decoder(&self, zone: &str, special: Special) -> Decoder {
        let columns =
            self.columns.iter().map(|(_, mapping)| Column::new(*mapping, zone, special, BATCH_ROWS));
        Decoder::new(Arc::clone(&self.schema), columns.collect())
    }

    fn error(&self, table: &SourceTable, error: DecodeError) -> Error {
        match error {
            DecodeError::Value(index, error) => value_error(error, table, &self.columns[index].0, None),
            DecodeError::Malformed(reason) => {
                Error::new(ErrorKind::Bug, format!("cannot decode {table}: {reason}"))
            }
        }
    }
}
