//! One instant of a Postgres database: tables resolved, locked, the snapshot taken and exported,
//! the catalog confirmed inside it, and joined by as many sessions as the pipeline allows.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::catalog;
use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{SourceTable, list, quote_literal};
use crate::pipeline::catalog::{Catalog, RelationKind};
use crate::pipeline::{Pipeline, PostgresUrl, TypePolicy};
use crate::postgres::{Pins, Server, Side};
use crate::star::design::Design;
use crate::star::origin::Position;

/// A session that has not taken its snapshot yet.
pub struct PostgresSource {
    server: Server,
    client: Client,
}

/// Sessions that all see the same instant. Dropping them ends the snapshot on the server.
pub struct SourceSnapshot {
    pub server: Server,
    pub sessions: Vec<Client>,
    pub position: Position,
    pub held_since: Stopwatch,
    /// Whether a range of ctid is read by a scan of just that range, as of Postgres 14.
    pub ranges: bool,
    pub block_size: u64,
    /// Bytes of every table that is read, as of now.
    pub sizes: BTreeMap<SourceTable, u64>,
}

const TID_RANGE_SCANS: i32 = 140_000;

impl PostgresSource {
    pub async fn connect(url: &PostgresUrl, pipeline: &Pipeline) -> Result<PostgresSource> {
        let pins = Pins {
            timezone: pipeline.deployment.timezone.name(),
            search_path: &pipeline.source.schemas,
            lock_timeout: Some(pipeline.source.lock_timeout),
        };
        let server = Server::new(url, Side::Source, &pins)?;
        let client = server.connect().await?;
        Ok(PostgresSource { server, client })
    }

    pub async fn catalog(&self, policy: &TypePolicy) -> Result<Catalog> {
        catalog::read(&self.client, &self.server, policy).await
    }

    /// Asks the server to parse each control's source side, which only it can judge.
    pub async fn refused_controls(&self, design: &Design) -> Result<Vec<(usize, String)>> {
        let mut refused = Vec::new();
        for (index, control) in design.controls.iter().enumerate() {
            match self.client.prepare(&control.postgres).await {
                Ok(statement) if statement.columns().len() == 1 => {}
                Ok(statement) => {
                    refused.push((index, format!("gives {} columns, not one", statement.columns().len())))
                }
                // Class 42 is what the SQL itself got wrong, but for privileges.
                Err(error) => match error.as_db_error() {
                    Some(db)
                        if db.code().code().starts_with("42")
                            && *db.code() != SqlState::INSUFFICIENT_PRIVILEGE =>
                    {
                        refused.push((index, db.message().to_owned()));
                    }
                    _ => {
                        let doing = format!("cannot check a control over {}", list(&control.tables));
                        return Err(self.server.error(error, doing));
                    }
                },
            }
        }
        Ok(refused)
    }

    pub async fn snapshot(self, pipeline: &Pipeline, design: &Design) -> Result<SourceSnapshot> {
        let PostgresSource { server, client } = self;
        fault::at(Point::SourceResolved).or_error(ErrorKind::Source, || "the source failed".to_owned())?;
        let helpers = (1..pipeline.source.connections).map(|_| begin_helper(&server));
        let helpers = futures::future::try_join_all(helpers).await?;
        let held_since = Stopwatch::start();
        lock(&client, &server, design).await?;
        let helpers = lock_helpers(helpers, &server, design).await?;
        fault::at(Point::SourceLocked).or_error(ErrorKind::Source, || "the source failed".to_owned())?;
        // The first query of the transaction takes the snapshot; everything is locked by now.
        let row = client
            .query_one(
                "SELECT pg_export_snapshot(), pg_current_snapshot()::text, current_setting('server_version'), \
                 current_setting('server_version_num')::int, current_setting('block_size')::int, pg_is_in_recovery(), \
                 CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') \
                      THEN (SELECT system_identifier::text FROM pg_control_system()) END, \
                 CASE WHEN has_function_privilege('pg_control_checkpoint()', 'EXECUTE') \
                      THEN (SELECT timeline_id::bigint FROM pg_control_checkpoint()) END",
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
        };
        confirm(&client, &server, pipeline, design).await?;
        let tables: Vec<&SourceTable> = design.reads.keys().collect();
        let sizes = catalog::sizes(&client, &server, &tables).await?;
        let sizes = tables.into_iter().cloned().zip(sizes).collect();
        let mut sessions = vec![client];
        for helper in helpers {
            let join = format!("SET TRANSACTION SNAPSHOT {}", quote_literal(&exported));
            let joined = helper.batch_execute(&join).await;
            joined.map_err(|error| server.error(error, "cannot join the source snapshot"))?;
            sessions.push(helper);
        }
        let ranges = row.get::<_, i32>(3) >= TID_RANGE_SCANS;
        let block_size = u64::try_from(row.get::<_, i32>(4)).unwrap_or(8_192);
        Ok(SourceSnapshot { server, sessions, position, held_since, ranges, block_size, sizes })
    }
}

/// Begins the transaction and locks every table in it, before any query. BEGIN, SET and LOCK take
/// no snapshot, so a TRUNCATE or a rewriting ALTER TABLE comes wholly before it or wholly after.
async fn lock(client: &Client, server: &Server, design: &Design) -> Result<()> {
    client
        .batch_execute(BEGIN)
        .await
        .map_err(|error| server.error(error, "cannot begin reading the source"))?;
    for table in lockable(design) {
        let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE", table.quoted());
        client.batch_execute(&statement).await.map_err(|error| {
            let denied = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
            let gone = error.code() == Some(&SqlState::UNDEFINED_TABLE);
            let ours = server.error(error, format!("cannot lock {table} for reading"));
            match (denied, gone) {
                (true, _) => grant(table),
                (_, true) => changed(&[table.to_string()]),
                _ => ours,
            }
        })?;
    }
    Ok(())
}

fn grant(table: &SourceTable) -> Error {
    Error::new(ErrorKind::Fit, format!("the role may not read {table}")).hint(format!(
        "GRANT USAGE ON SCHEMA {} TO …; GRANT SELECT ON {} TO …",
        crate::name::quote_identifier(&table.schema),
        table.quoted()
    ))
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
        if relation.kind != read.relation.kind || relation.columns != read.relation.columns {
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

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// One more session, its transaction begun.
async fn begin_helper(server: &Server) -> Result<Client> {
    let client = server.connect().await?;
    client
        .batch_execute(BEGIN)
        .await
        .map_err(|error| server.error(error, "cannot begin reading the source"))?;
    Ok(client)
}

/// Every session locks for itself, before anyone can queue up: an ALTER TABLE that waits for the
/// first session's lock would keep the others waiting behind it, and all of them for ever. A helper
/// that comes too late is left out.
async fn lock_helpers(helpers: Vec<Client>, server: &Server, design: &Design) -> Result<Vec<Client>> {
    let tables: Vec<String> = lockable(design).map(SourceTable::quoted).collect();
    let mut statement = format!("SET LOCAL lock_timeout = '{HELPER_LOCK_TIMEOUT}'");
    if !tables.is_empty() {
        statement.push_str(&format!("; LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", ")));
    }
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
