//! The sessions of one source snapshot at work: each takes the next task from one queue, so that they
//! finish together, and none commits before all have read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::super::snapshot::held_too_long;
use super::copy::TableCopy;
use super::sink::{Destination, Sink};
use super::task::Task;
use crate::clock::Stopwatch;
use crate::dialect::functions::run_at;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::SourceTable;
use crate::pipeline::Pipeline;
use crate::postgres::{Cancellation, Server, Session};
use crate::progress::{Event, Progress};
use crate::star::design::Design;
use crate::star::number::Number;
use crate::star::origin::Altered;

/// What all sessions share.
pub struct Crew<D: Destination> {
    pub pipeline: Arc<Pipeline>,
    pub design: Arc<Design>,
    pub server: Server,
    pub progress: Progress,
    pub destination: D,
    pub held_since: Stopwatch,
    /// The instant of the snapshot.
    pub at: DateTime<Utc>,
    /// In which instants are shown.
    pub zone: &'static str,
    pub tasks: Mutex<VecDeque<Task>>,
}

/// What all sessions brought.
pub struct Haul<K> {
    pub parts: BTreeMap<SourceTable, Vec<K>>,
    pub altered: BTreeMap<SourceTable, Altered>,
    /// Tables that have rows, of which the models' own conditions left none.
    pub unmet: BTreeSet<SourceTable>,
    pub numbers: BTreeMap<usize, Number>,
    /// Their transactions are still open: the first session holds the locks, without which a
    /// TRUNCATE would empty what the others still read. All end together, when all have read.
    pub sessions: Vec<Session>,
}

/// What one session brought.
struct Share<K> {
    parts: Vec<(SourceTable, K)>,
    altered: Vec<(SourceTable, Altered)>,
    numbers: BTreeMap<usize, Number>,
    session: Session,
}

type Kept<D> = <<D as Destination>::Sink as Sink>::Kept;

impl<D: Destination> Crew<D> {
    /// Does all tasks, or cancels what the server is doing for us.
    pub async fn work(self: &Arc<Self>, sessions: Vec<Session>) -> Result<Haul<Kept<D>>> {
        let mut workers: JoinSet<Result<Share<Kept<D>>>> = JoinSet::new();
        let cancels = sessions.iter().map(Session::cancellation).collect();
        for (number, client) in sessions.into_iter().enumerate() {
            let crew = Arc::clone(self);
            workers.spawn(async move { crew.session(client, number).await });
        }
        // When this future is dropped or fails, the server must not go on computing for nobody.
        let guard = CancelOnDrop(Some(cancels));
        let most = self.pipeline.source.snapshot_max;
        let left = most.saturating_sub(self.held_since.elapsed());
        let read = self.server.watched(self.pipeline.source.silent_max, self.gathered(&mut workers));
        let gathered = tokio::time::timeout(left, read).await;
        let haul = gathered.map_err(|_| held_too_long(most, "is not read yet"))??;
        guard.disarm();
        Ok(haul)
    }

    async fn gathered(&self, workers: &mut JoinSet<Result<Share<Kept<D>>>>) -> Result<Haul<Kept<D>>> {
        let mut haul = gather(workers).await?;
        haul.unmet = self.unmet(&haul).await?;
        Ok(haul)
    }

    /// A table from which nothing came may have been emptied, or hold nothing of what the models ask for. Only the
    /// server can tell them apart.
    async fn unmet(&self, haul: &Haul<Kept<D>>) -> Result<BTreeSet<SourceTable>> {
        let mut found = BTreeSet::new();
        let Some(session) = haul.sessions.first() else { return Ok(found) };
        for (table, read) in &self.design.reads {
            let came =
                haul.parts.get(table).is_some_and(|parts| parts.iter().any(|kept| D::Sink::rows(kept) > 0));
            if came || read.filter == read.declared_filter {
                continue;
            }
            let kept =
                read.declared_filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
            let query = format!("SELECT 1 FROM {}{kept}\nLIMIT 1", table.quoted());
            let rows = session.simple_query(&query).await;
            let rows = rows
                .map_err(|error| self.server.error(error, format!("cannot see whether {table} is empty")))?;
            if rows.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))) {
                found.insert(table.clone());
            }
        }
        Ok(found)
    }

    async fn session(&self, client: Session, number: usize) -> Result<Share<Kept<D>>> {
        let mut share =
            Share { parts: Vec::new(), altered: Vec::new(), numbers: BTreeMap::new(), session: client };
        let mut open: Option<Open<D::Sink>> = None;
        while let Some(task) = self.next() {
            match task {
                Task::Totals { sql, controls } => {
                    self.measure(&share.session, &sql, &controls, &mut share.numbers).await?
                }
                Task::Copy { table, range } => {
                    fault::at(Point::ExtractTable)
                        .or_error(ErrorKind::Source, || format!("cannot read {table}"))?;
                    // The ranges of one table follow each other, so one that was left never comes back.
                    let at_hand = match open.take() {
                        Some(same) if same.copy.is_of(&table) => same,
                        other => {
                            share.parts.extend(other.map(|left| self.close(left)).transpose()?);
                            self.open(table, number)?
                        }
                    };
                    let Open { table, copy, sink, rows } = at_hand;
                    let (progress, shown) = (self.progress.clone(), table.to_string());
                    let keep = move |(sink, rows): &mut (D::Sink, u64), batch: RecordBatch| {
                        *rows += batch.num_rows() as u64;
                        progress.tell(Event::Rows { table: shown.clone(), rows: batch.num_rows() as u64 });
                        sink.write(batch)
                    };
                    let ((sink, rows), altered) =
                        copy.run(&share.session, &self.server, &range, (sink, rows), keep).await?;
                    if !altered.is_empty() {
                        share.altered.push((table.clone(), altered));
                    }
                    open = Some(Open { table, copy, sink, rows });
                }
            }
        }
        share.parts.extend(open.map(|left| self.close(left)).transpose()?);
        Ok(share)
    }

    fn next(&self) -> Option<Task> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn open(&self, table: SourceTable, session: usize) -> Result<Open<D::Sink>> {
        let extremes = self.pipeline.source.types.extremes;
        let copy = TableCopy::new(&table, &self.design.reads[&table], self.zone, extremes)?;
        let sink = self.destination.open(&table, &copy.schema, session)?;
        Ok(Open { table, copy, sink, rows: 0 })
    }

    fn close(&self, open: Open<D::Sink>) -> Result<(SourceTable, Kept<D>)> {
        self.progress.tell(Event::Table { table: open.table.to_string(), rows: open.rows });
        Ok((open.table, open.sink.finish()?))
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
        let messages = client.simple_query(&run_at::told(sql, self.at)).await.map_err(|error| {
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
}

/// The table that a session is at.
struct Open<S> {
    table: SourceTable,
    copy: TableCopy,
    sink: S,
    rows: u64,
}

async fn gather<K: 'static>(workers: &mut JoinSet<Result<Share<K>>>) -> Result<Haul<K>> {
    let mut haul = Haul {
        parts: BTreeMap::new(),
        altered: BTreeMap::new(),
        unmet: BTreeSet::new(),
        numbers: BTreeMap::new(),
        sessions: Vec::new(),
    };
    while let Some(joined) = workers.join_next().await {
        let share = joined.or_error(ErrorKind::Bug, || "a worker ended by itself".to_owned())??;
        for (table, part) in share.parts {
            haul.parts.entry(table).or_insert_with(Vec::new).push(part);
        }
        for (table, altered) in share.altered {
            let sums = haul.altered.entry(table).or_default();
            altered.into_iter().for_each(|(column, values)| *sums.entry(column).or_default() += values);
        }
        haul.numbers.extend(share.numbers);
        haul.sessions.push(share.session);
    }
    Ok(haul)
}

struct CancelOnDrop(Option<Vec<Cancellation>>);

impl CancelOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.take().into_iter().flatten().for_each(Server::cancel);
    }
}
