//! What a target is asked before and between deliveries: which database it is, what it holds. Nothing is changed there.

use std::time::Duration;

use super::receipt;
use crate::error::Result;
use crate::name::{SnapshotId, SourceTable, quote_identifier};
use crate::pipeline::{Deployment, TargetSettings};
use crate::postgres::{Isolation, Pins, Server, Side};

/// How long something small that is asked may take.
const SOON: Duration = Duration::from_secs(10);

/// Which database a target is.
pub struct Identity {
    pub system_identifier: Option<String>,
    pub database: Option<String>,
}

/// Asks the target which database it is.
pub async fn identity(target: &TargetSettings, pipeline: &str) -> Result<Identity> {
    let server = asked(target, pipeline, "UTC", &[])?;
    let told = async {
        let client = server.connect().await?;
        let failed = |error| server.error(error, "the target cannot be asked which database it is");
        let row = client.query_one("SELECT current_database()::text", &[]).await.map_err(failed)?;
        let system = client.query_one("SELECT system_identifier::text FROM pg_control_system()", &[]).await;
        Ok(Identity { system_identifier: system.ok().map(|row| row.get(0)), database: Some(row.get(0)) })
    };
    server.watched(target.silent_max, told).await
}

/// A server that is asked something small, which is answered soon or not at all.
pub fn asked(
    target: &TargetSettings,
    pipeline: &str,
    timezone: &str,
    search_path: &[String],
) -> Result<Server> {
    let pins = Pins {
        pipeline,
        timezone,
        search_path,
        lock_timeout: Some(SOON),
        statement_timeout: Some(SOON),
        role: target.role.as_deref(),
    };
    Server::new(&target.url, Side::Target, &pins)
}

/// The tables of the target's schema that some relations are or read: they themselves, what their views
/// read, their partitions and children, and the parents of those.
pub async fn sources_in(
    target: &TargetSettings,
    pipeline: &str,
    read: &[&SourceTable],
) -> Result<Vec<String>> {
    let server = asked(target, pipeline, "UTC", &[])?;
    let failed =
        |error| server.error(error, "the target cannot be asked what the source's tables are made of");
    let names: Vec<String> = read.iter().map(|table| table.quoted()).collect();
    let query = "WITH RECURSIVE r(oid) AS ( \
           SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL \
           UNION SELECT x.oid FROM r JOIN LATERAL ( \
             SELECT d.refobjid AS oid FROM pg_rewrite AS w JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid \
               WHERE w.ev_class = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.oid \
             UNION ALL SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = r.oid \
             UNION ALL SELECT i.inhparent FROM pg_inherits AS i WHERE i.inhrelid = r.oid) AS x ON true) \
         SELECT DISTINCT c.relname::text FROM r JOIN pg_class AS c ON c.oid = r.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $2";
    let told = async {
        let client = server.connect().await?;
        let rows = client.query(query, &[&names, &target.schema]).await.map_err(failed)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    server.watched(target.silent_max, told).await
}

/// What a target's receipt names.
pub struct Received {
    pub store: String,
    pub snapshot: SnapshotId,
}

/// What the target says that it holds of a pipeline; nothing is changed there.
pub async fn received(target: &TargetSettings, deployment: &Deployment) -> Result<Option<Received>> {
    let path = [target.schema.clone()];
    let server = asked(target, &deployment.name, deployment.timezone.name(), &path)?;
    let told = async {
        let client = server.connect().await?;
        server.begin(&client, Isolation::ReadCommitted).await?;
        let found = receipt::received(&client, &server, target, &deployment.name).await;
        let _ = client.batch_execute("ROLLBACK").await;
        found
    };
    server.watched(target.silent_max, told).await
}

/// What the target holds of some columns of a table, as text; none when it has no such table. The unknown
/// member is nobody's.
pub async fn given(
    target: &TargetSettings,
    deployment: &Deployment,
    table: &str,
    columns: &[&str],
    surrogate: Option<&str>,
) -> Result<Option<Vec<Vec<Option<String>>>>> {
    let server = super::server(target, &deployment.name, "UTC", &target.schema)?;
    let failed = |error| server.error(error, format!("the target refused to show the keys of {table}"));
    let name = format!("{}.{}", quote_identifier(&target.schema), quote_identifier(table));
    let members = surrogate.map(|surrogate| format!(" WHERE {} <> -1", quote_identifier(surrogate)));
    let told = async {
        let client = server.connect().await?;
        server.begin(&client, Isolation::ReadCommitted).await?;
        let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await.map_err(failed)?;
        if !there.get::<_, bool>(0) {
            return Ok(None);
        }
        let has = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
        let there = client.query(has, &[&name]).await.map_err(failed)?;
        let there: Vec<String> = there.iter().map(|row| row.get(0)).collect();
        // What the target hasn't got yet, it cannot tell of.
        let listed = columns.iter().map(|column| match there.iter().any(|name| name == column) {
            true => quote_identifier(column),
            false => "NULL".to_owned(),
        });
        let listed: Vec<String> = listed.collect();
        let query = format!("SELECT {} FROM {name}{}", listed.join(", "), members.unwrap_or_default());
        let messages = client.simple_query(&query).await.map_err(failed)?;
        let rows = messages.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..columns.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(Some(rows.collect()))
    };
    server.watched(target.silent_max, told).await
}
