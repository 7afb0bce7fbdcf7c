//! One instant of a Postgres database: tables resolved, locked, the snapshot taken and exported,
//! the catalog confirmed inside it, and joined by as many sessions as the pipeline allows.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::DateTime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::storage::{self, Storage};
use super::{catalog, privilege};
use crate::clock::{self, Stopwatch};
use crate::dialect::functions::run_at;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{SourceTable, list, quote_literal};
use crate::pipeline::catalog::{Catalog, Relation, RelationKind};
use crate::pipeline::{Pipeline, PostgresUrl, TypePolicy};
use crate::postgres::{Isolation, Pins, Server, Session, Side};
use crate::star::design::Design;
use crate::star::origin::Position;

/// A session that has not taken its snapshot yet.
pub struct PostgresSource {
    server: Server,
    client: Session,
    silent_max: Duration,
}

/// Sessions that all see the same instant. Dropping them ends the snapshot on the server.
pub struct SourceSnapshot {
    pub server: Server,
    pub sessions: Vec<Session>,
    pub position: Position,
    pub held_since: Stopwatch,
    /// Bytes of a page, where a range of pages is read by a scan of just that range: as of Postgres 14.
    pub page_bytes: Option<u64>,
    /// Where the rows of every table lie, as of now.
    pub storage: BTreeMap<SourceTable, Storage>,
}

const TID_RANGE_SCANS: i32 = 140_000;

impl PostgresSource {
    pub async fn connect(url: &PostgresUrl, pipeline: &Pipeline) -> Result<PostgresSource> {
        let source = &pipeline.source;
        let pins = Pins {
            pipeline: &pipeline.deployment.name,
            timezone: pipeline.deployment.timezone.name(),
            search_path: &source.schemas,
            lock_timeout: Some(source.lock_timeout),
            statement_timeout: source.statement_timeout,
            role: None,
        };
        let server = Server::new(url, Side::Source, &pins)?.discreet(!source.types.masks.columns.is_empty());
        let client = server.connect().await?;
        Ok(PostgresSource { server, client, silent_max: source.silent_max })
    }

    pub async fn catalog(&self, policy: &TypePolicy) -> Result<Catalog> {
        let read = async {
            self.server.begin(&self.client, Isolation::Snapshot).await?;
            let read = catalog::read(&self.client, &self.server, policy).await;
            self.end().await?;
            read
        };
        self.server.watched(self.silent_max, read).await
    }

    /// What the role may not read of the design's tables, and the statements that would let it.
    pub async fn denied(&self, design: &Design) -> Result<Option<Error>> {
        self.server.begin(&self.client, Isolation::Snapshot).await?;
        let denied = privilege::denied(&self.client, &self.server, design).await;
        self.end().await?;
        denied
    }

    /// Asks the server to parse each control's source side, which only it can judge. It plans them as
    /// a night would run them, and stops before the first row.
    pub async fn refused_controls(&self, design: &Design) -> Result<Vec<(usize, String)>> {
        let mut refused = Vec::new();
        for (index, control) in design.controls.iter().enumerate() {
            let doing = || format!("cannot check a control over {}", list(&control.tables));
            match self.judged(&control.postgres, doing).await? {
                Ok(1) => {}
                Ok(columns) => refused.push((index, format!("gives {columns} columns, not one"))),
                Err(reason) => refused.push((index, reason)),
            }
        }
        Ok(refused)
    }

    /// The same for the filters that the pipeline declares.
    pub async fn refused_filters(&self, design: &Design) -> Result<Vec<(SourceTable, String)>> {
        let mut refused = Vec::new();
        for (table, read) in &design.reads {
            let Some(filter) = &read.declared_filter else { continue };
            let probe = format!("SELECT FROM {} WHERE {filter}", table.quoted());
            let doing = || format!("cannot check the filter of {table}");
            if let Err(reason) = self.judged(&probe, doing).await? {
                refused.push((table.clone(), reason));
            }
        }
        Ok(refused)
    }

    /// Those of some functions that may answer otherwise each time they are asked.
    pub async fn volatile(&self, functions: &[String]) -> Result<Vec<String>> {
        let query =
            "SELECT DISTINCT proname::text FROM pg_proc WHERE proname = ANY ($1) AND provolatile = 'v'";
        let rows = self.client.query_typed(query, &[(&functions, Type::TEXT_ARRAY)]).await;
        let rows = rows.map_err(|error| self.server.error(error, "cannot ask about functions"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// How many columns a SELECT gives, or what is wrong with it.
    async fn judged(&self, sql: &str, doing: impl FnOnce() -> String) -> Result<Result<usize, String>> {
        match self.judge(sql).await {
            Ok(columns) => Ok(Ok(columns)),
            Err(error) => match wrong_sql(&error) {
                Some(reason) => Ok(Err(reason)),
                None => Err(self.server.error(error, doing())),
            },
        }
    }

    async fn judge(&self, sql: &str) -> Result<usize, tokio_postgres::Error> {
        // A transaction of its own: one that failed refuses everything after.
        let _ = self.server.begin(&self.client, Isolation::Snapshot).await;
        let judged = self
            .client
            .simple_query(&format!("SELECT * FROM ({}\n) AS judged LIMIT 0", run_at::told(sql, clock::now())))
            .await;
        let ended = self.client.batch_execute("ROLLBACK").await;
        let messages = judged.and_then(|messages| ended.map(|()| messages))?;
        let columns = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::RowDescription(columns) => Some(columns.len()),
            _ => None,
        });
        Ok(columns.unwrap_or(0))
    }

    async fn end(&self) -> Result<()> {
        let ended = self.client.batch_execute("ROLLBACK").await;
        ended.map_err(|error| self.server.error(error, "cannot end a transaction in the source"))
    }

    /// Takes the source snapshot. The bound on it counts from here, so that a server that stalls before it
    /// is taken holds up no night either.
    pub async fn snapshot(self, pipeline: &Pipeline, design: &Design) -> Result<SourceSnapshot> {
        let (most, held_since) = (pipeline.source.snapshot_max, Stopwatch::start());
        let server = self.server.clone();
        let taken = server.watched(pipeline.source.silent_max, self.taken(pipeline, design, held_since));
        let taken = tokio::time::timeout(most, taken).await;
        taken.map_err(|_| held_too_long(most, "could not be taken"))?
    }

    async fn taken(
        self,
        pipeline: &Pipeline,
        design: &Design,
        held_since: Stopwatch,
    ) -> Result<SourceSnapshot> {
        let PostgresSource { server, client, .. } = self;
        fault::at(Point::SourceResolved).or_error(ErrorKind::Source, || "the source failed".to_owned())?;
        let helpers = (1..pipeline.source.connections).map(|_| begin_helper(&server));
        let helpers = futures::future::try_join_all(helpers).await?;
        // Whoever waits for a lock holds back vacuum already.
        let most = pipeline.source.snapshot_max;
        let locking = tokio::time::timeout(most, lock(&client, &server, design)).await;
        let descent = locking.map_err(|_| held_too_long(most, "its tables are not locked yet"))??;
        let helpers = lock_helpers(helpers, &server, design, descent, pipeline.source.lock_timeout).await?;
        fault::at(Point::SourceLocked).or_error(ErrorKind::Source, || "the source failed".to_owned())?;
        // The first query of the transaction takes the snapshot; everything is locked by now.
        let row = client
            .query_typed_one(
                "SELECT pg_export_snapshot(), txid_current_snapshot()::text, current_setting('server_version'), \
                 current_setting('server_version_num')::int, current_setting('block_size')::int, pg_is_in_recovery(), \
                 CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') \
                      THEN (SELECT system_identifier::text FROM pg_control_system()) END, \
                 CASE WHEN has_function_privilege('pg_control_checkpoint()', 'EXECUTE') \
                      THEN (SELECT timeline_id::bigint FROM pg_control_checkpoint()) END, current_database()::text, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint",
                &[],
            )
            .await
            .map_err(|error| server.error(error, "cannot take the source snapshot"))?;
        let exported: String = row.get(0);
        let position = Position::Postgres {
            snapshot: row.get(1),
            server_version: row.get(2),
            standby: row.get(5),
            system_identifier: row.get(6),
            timeline: row.get(7),
            database: row.get(8),
            at: DateTime::from_timestamp_micros(row.get(9)),
        };
        confirm(&client, &server, pipeline, design).await?;
        let tables: Vec<&SourceTable> = design.reads.keys().collect();
        let storage = storage::read(&client, &server, &tables).await?;
        let mut sessions = vec![client];
        for helper in helpers {
            let join = format!("SET TRANSACTION SNAPSHOT {}", quote_literal(&exported));
            let joined = helper.batch_execute(&join).await;
            joined.map_err(|error| server.error(error, "cannot join the source snapshot"))?;
            sessions.push(helper);
        }
        let page_bytes = u64::try_from(row.get::<_, i32>(4)).unwrap_or(8_192);
        let page_bytes = (row.get::<_, i32>(3) >= TID_RANGE_SCANS).then_some(page_bytes);
        Ok(SourceSnapshot { server, sessions, position, held_since, page_bytes, storage })
    }
}

/// The bound on how long a run may hold its snapshot was hit.
pub fn held_too_long(most: Duration, so_far: &str) -> Error {
    let most = humantime::format_duration(most);
    Error::new(ErrorKind::Source, format!("the source snapshot was held for {most} and {so_far}"))
        .hint("raise `snapshot_max` or `connections` in [source], or read less: fewer columns, fewer tables")
}

/// What the SQL itself got wrong, in the server's words: class 42, but for privileges, and values that
/// are no literals of their type.
fn wrong_sql(error: &tokio_postgres::Error) -> Option<String> {
    let db = error.as_db_error()?;
    let class = &db.code().code()[..2];
    let wrong = matches!(class, "42" | "22") && *db.code() != SqlState::INSUFFICIENT_PRIVILEGE;
    wrong.then(|| db.message().to_owned())
}

/// How far a lock of a partitioned table goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descent {
    /// To its partitions, as LOCK does.
    Whole,
    /// Before Postgres 13 LOCK wants the privilege on every partition. Without it only the table itself
    /// is locked, and a partition truncated meanwhile is found at the end.
    Only,
}

/// Begins the transaction and locks every table in it, before any query. BEGIN, SET and LOCK take
/// no snapshot, so a TRUNCATE or a rewriting ALTER TABLE comes wholly before it or wholly after.
async fn lock(client: &Client, server: &Server, design: &Design) -> Result<Descent> {
    for descent in [Descent::Whole, Descent::Only] {
        server.begin(client, Isolation::Snapshot).await?;
        match lock_each(client, design, descent).await {
            Ok(()) => return Ok(descent),
            Err((_, error)) if descent == Descent::Whole && is_denied(&error) => {
                let ended = client.batch_execute("ROLLBACK").await;
                ended.map_err(|error| server.error(error, "cannot lock the source's tables"))?;
            }
            Err((table, error)) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                return Err(changed(&[table.to_string()]));
            }
            Err((table, error)) => {
                return Err(server.error(error, format!("cannot lock {table} for reading")));
            }
        }
    }
    Err(Error::new(ErrorKind::Bug, "no lock was tried"))
}

async fn lock_each<'a>(
    client: &Client,
    design: &'a Design,
    descent: Descent,
) -> Result<(), (&'a SourceTable, tokio_postgres::Error)> {
    for table in lockable(design) {
        let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE", locked(table, design, descent));
        client.batch_execute(&statement).await.map_err(|error| (table, error))?;
    }
    Ok(())
}

fn locked(table: &SourceTable, design: &Design, descent: Descent) -> String {
    let is_tree = design.reads[table].relation.kind == RelationKind::PartitionedTable
        || design.reads[table].relation.kind == RelationKind::Table;
    match descent {
        Descent::Only if is_tree => format!("ONLY {}", table.quoted()),
        _ => table.quoted(),
    }
}

fn is_denied(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

fn changed(what: &[String]) -> Error {
    Error::new(
        ErrorKind::Fit,
        format!("the source's schema changed while the run was starting: {}", list(what)),
    )
    .hint("run again; `starmill check` says whether the pipeline still fits")
}

/// The columns that the design rests on are still what they were, now that nobody can change them.
async fn confirm(client: &Client, server: &Server, pipeline: &Pipeline, design: &Design) -> Result<()> {
    let now = catalog::read(client, server, &pipeline.source.types).await?;
    let mut differing = Vec::new();
    for (table, read) in &design.reads {
        let Some(relation) = now.relations.get(table) else {
            differing.push(table.to_string());
            continue;
        };
        let same = |now: &Relation, then: &Relation| {
            now.kind == then.kind && now.columns == then.columns && now.primary_key == then.primary_key
        };
        if !same(relation, &read.relation) {
            differing.push(table.to_string());
        }
    }
    if differing.is_empty() { Ok(()) } else { Err(changed(&differing)) }
}

/// The tables that can be locked: a materialized view or foreign table has no such lock.
fn lockable(design: &Design) -> impl Iterator<Item = &SourceTable> {
    let unlockable = [RelationKind::MaterializedView, RelationKind::ForeignTable];
    design
        .reads
        .iter()
        .filter(move |(_, read)| !unlockable.contains(&read.relation.kind))
        .map(|(table, _)| table)
}

/// One more session, its transaction begun.
async fn begin_helper(server: &Server) -> Result<Session> {
    let client = server.connect().await?;
    server.begin(&client, Isolation::Snapshot).await?;
    Ok(client)
}

/// Every session locks for itself, before anyone can queue up: an ALTER TABLE that waits for the
/// first session's lock would keep the others waiting behind it, and all of them for ever. A helper
/// that comes too late is left out.
async fn lock_helpers(
    helpers: Vec<Session>,
    server: &Server,
    design: &Design,
    descent: Descent,
    lock_timeout: Duration,
) -> Result<Vec<Session>> {
    let tables: Vec<String> = lockable(design).map(|table| locked(table, design, descent)).collect();
    let mut statement = format!("SET LOCAL lock_timeout = '{HELPER_LOCK_TIMEOUT}'");
    if !tables.is_empty() {
        statement.push_str(&format!("; LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", ")));
    }
    // What it waits for later, it may wait for as long as the first session.
    statement.push_str(&format!("; SET LOCAL lock_timeout = {}", lock_timeout.as_millis()));
    let locked = helpers.iter().map(|helper| helper.batch_execute(&statement));
    let locked = futures::future::join_all(locked).await;
    let mut ready = Vec::new();
    for (helper, locked) in helpers.into_iter().zip(locked) {
        match locked {
            Ok(()) => ready.push(helper),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                tracing::info!(
                    "a helper session could not lock the tables in time; reading goes on without it"
                );
            }
            Err(error) => return Err(server.error(error, "cannot lock the source's tables")),
        }
    }
    Ok(ready)
}

/// Long enough for a lock that is free, short enough not to hold up the night.
const HELPER_LOCK_TIMEOUT: &str = "1s";
