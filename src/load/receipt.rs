//! The target's own record of what it was delivered, written in the same transaction.

use std::collections::BTreeMap;

use serde_json::Value;

use tokio_postgres::Client;

use super::shape::{self, Made, Ours};
use super::{Adopt, Hashes, Loader, Received};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{SnapshotId, quote_identifier, quote_literal};
use crate::pipeline::TargetSettings;
use crate::postgres::Server;
use crate::star::PublishedStar;
use crate::star::table::StarTable;

use crate::name::DELIVERY_TABLE as TABLE;

/// What the target holds of this pipeline.
pub struct Receipt {
    /// Tables that were delivered before, with the hashes of their files; none when adopted, so
    /// that every row is compared.
    pub tables: Hashes,
    /// Tables that a former delivery made, whoever's: starmill may change those.
    pub owned: Vec<String>,
    /// What of each table starmill made; receipts of an older starmill don't tell.
    pub made: BTreeMap<String, Made>,
    /// Whether tables of others are taken over.
    pub adopts: bool,
    /// The star that it names, while the store has it.
    star: Option<PublishedStar>,
}

impl Receipt {
    /// Makes the table of the receipts what it has to be.
    pub async fn make_room(loader: &Loader<'_>) -> Result<()> {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {} (pipeline text PRIMARY KEY, store text NOT NULL, snapshot text NOT NULL, \
             delivered_at timestamptz NOT NULL, tables jsonb NOT NULL, made jsonb)",
            loader.qualified(TABLE)
        );
        // IF NOT EXISTS still wants the right to create, so a granted-only role asks first.
        if !loader.exists(&table_exists(loader, TABLE)).await? {
            loader.execute(&create, "create the receipts").await?;
        }
        if !loader.exists(&has_column(loader, "made")).await? {
            let add = format!("ALTER TABLE {} ADD COLUMN made jsonb", loader.qualified(TABLE));
            loader.execute(&add, "let the receipts tell what starmill made").await?;
        }
        Ok(())
    }

    pub async fn read(loader: &Loader<'_>, adopt: Adopt) -> Result<Receipt> {
        // An older starmill's receipts don't tell what was made.
        let query = format!(
            "SELECT store, snapshot, tables::text, to_jsonb(r) ->> 'made' FROM {} AS r WHERE pipeline = $1",
            loader.qualified(TABLE)
        );
        let adopts = adopt == Adopt::TakeOver;
        let pipeline = &loader.shipment.pipeline;
        let row = match loader.exists(&table_exists(loader, TABLE)).await? {
            true => loader.client.query_opt(&query, &[pipeline]).await,
            false => Ok(None),
        };
        let row = row.map_err(|error| loader.failed(error, "show its receipt"))?;
        let Some(row) = row else {
            let owned = adopted(loader, adopt).await?;
            return Ok(Receipt { tables: Hashes::new(), owned, made: BTreeMap::new(), adopts, star: None });
        };
        let made = match row.get::<_, Option<String>>(3) {
            Some(text) => serde_json::from_str(&text)
                .or_error(ErrorKind::Store, || "the target's receipt is not starmill's".to_owned())?,
            None => BTreeMap::new(),
        };
        let (held_by, snapshot): (String, String) = (row.get(0), row.get(1));
        let tables: Hashes = serde_json::from_str(&row.get::<_, String>(2))
            .or_error(ErrorKind::Store, || "the target's receipt is not starmill's".to_owned())?;
        let mut owned: Vec<String> = tables.keys().cloned().collect();
        if adopt == Adopt::TakeOver {
            owned.extend(adopted(loader, adopt).await?);
        }
        match (held_by == loader.shipment.store, adopt) {
            (true, _) => {
                let star = SnapshotId::parse(&snapshot).and_then(|snapshot| (loader.shipment.kept)(&snapshot));
                Ok(Receipt { tables, owned, made, adopts, star })
            }
            (false, Adopt::TakeOver) => {
                Ok(Receipt { tables: Hashes::new(), owned, made, adopts, star: None })
            }
            (false, Adopt::Refuse) => Err(Error::new(
                ErrorKind::Store,
                format!(
                    "schema {} holds the star of another store ({held_by}, snapshot {snapshot})",
                    loader.target.schema
                ),
            )
            .hint(
                "use another schema; `starmill deliver --adopt` shows what would become of that star, and asks",
            )),
        }
    }

    /// The star that the target was left with, and a table as it has it.
    pub fn held(&self, table: &StarTable) -> Option<(&PublishedStar, &StarTable)> {
        let star = self.star.as_ref()?;
        Some((star, star.tables.iter().find(|held| held.name() == table.name())?))
    }

    /// Keeps it; `ours` is what of each table's keys and indexes we made.
    pub async fn write(&self, loader: &Loader<'_>, ours: Vec<Ours>) -> Result<()> {
        let shipment = &loader.shipment;
        let hashes = shipment.star.tables.iter().map(|table| {
            (table.name().to_string(), Value::from_iter(table.hashes().into_iter().map(Value::from)))
        });
        let hashes = Value::from(serde_json::Map::from_iter(hashes));
        let mut made = BTreeMap::new();
        for (table, ours) in shipment.star.tables.iter().zip(ours) {
            let before = self.made.get(table.name().as_str());
            made.insert(table.name().to_string(), shape::made(loader, table, before, ours).await?);
        }
        let made = serde_json::to_string(&made).or_error(ErrorKind::Bug, || "the receipt".to_owned())?;
        let statement = format!(
            "INSERT INTO {} (pipeline, store, snapshot, delivered_at, tables, made) VALUES ({}, {}, {}, clock_timestamp(), {}::jsonb, {}::jsonb) \
             ON CONFLICT (pipeline) DO UPDATE SET store = excluded.store, snapshot = excluded.snapshot, \
             delivered_at = excluded.delivered_at, tables = excluded.tables, made = excluded.made",
            loader.qualified(TABLE),
            quote_literal(shipment.pipeline),
            quote_literal(shipment.store),
            quote_literal(shipment.star.snapshot.as_str()),
            quote_literal(&hashes.to_string()),
            quote_literal(&made),
        );
        loader.execute(&statement, "keep the receipt").await
    }
}

/// The store and snapshot that a target says it holds of a pipeline.
pub async fn received(
    client: &Client,
    server: &Server,
    target: &TargetSettings,
    pipeline: &str,
) -> Result<Option<Received>> {
    let failed =
        |error| server.error(error, format!("the target {} refused to show its receipt", target.url));
    let table = format!("{}.{}", quote_identifier(&target.schema), quote_identifier(TABLE));
    let there = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await.map_err(failed)?;
    if !there.get::<_, bool>(0) {
        return Ok(None);
    }
    let query = format!("SELECT store, snapshot FROM {table} WHERE pipeline = $1");
    let row = client.query_opt(&query, &[&pipeline]).await.map_err(failed)?;
    Ok(row.and_then(|row| {
        Some(Received { store: row.get(0), snapshot: SnapshotId::parse(row.get::<_, &str>(1))? })
    }))
}

/// Without a receipt, tables of the star's names are somebody else's.
async fn adopted(loader: &Loader<'_>, adopt: Adopt) -> Result<Vec<String>> {
    let found = strangers(loader).await?;
    if let Some(source) = found.iter().find(|name| loader.is_source(name)) {
        let message = format!("{}.{source} is the table that the pipeline reads", loader.target.schema);
        return Err(Error::new(ErrorKind::Store, message).hint(SOURCE_TABLE));
    }
    if let Some((owner, table)) = other_owner(loader, &found).await? {
        let message = format!("{}.{table} belongs to the pipeline {owner}", loader.target.schema);
        return Err(Error::new(ErrorKind::Store, message)
            .hint("give this pipeline a `schema` of its own in [target]"));
    }
    if !found.is_empty() && adopt == Adopt::Refuse {
        let names = crate::name::list(&found);
        return Err(Error::new(
            ErrorKind::Store,
            format!("schema {} has tables that starmill did not make: {names}", loader.target.schema),
        )
        .hint(STRANGERS));
    }
    Ok(found)
}

/// What helps when a table of a model's name is the source's own.
pub const SOURCE_TABLE: &str = "name another `schema` in [target]; a source table is never taken over";
/// What helps when it is anybody else's.
pub const STRANGERS: &str =
    "name another `schema` in [target]; `starmill deliver --adopt` shows what would become of them, and asks";

/// Another pipeline that delivers one of some tables: a table has one owner.
pub async fn other_owner(loader: &Loader<'_>, tables: &[String]) -> Result<Option<(String, String)>> {
    if !loader.exists(&table_exists(loader, TABLE)).await? {
        return Ok(None);
    }
    let query = format!(
        "SELECT pipeline, name FROM {}, unnest($2::text[]) AS name WHERE pipeline <> $1 AND tables ? name LIMIT 1",
        loader.qualified(TABLE)
    );
    let row = loader.client.query_opt(&query, &[&loader.shipment.pipeline, &tables]).await;
    let row = row.map_err(|error| loader.failed(error, "show its receipts"))?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// Tables of the star's names that are there already.
pub async fn strangers(loader: &Loader<'_>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for table in &loader.shipment.star.tables {
        if loader.exists(&table_exists(loader, table.name().as_str())).await? {
            found.push(table.name().to_string());
        }
    }
    Ok(found)
}

/// What stands under a table's name can be filled.
pub async fn require_table(loader: &Loader<'_>, table: &str) -> Result<()> {
    let query = format!("SELECT c.relkind::text {}", of_name(loader, table));
    let row = loader.client.query_opt(&query, &[]).await;
    let row = row.map_err(|error| loader.failed(error, "look for its tables"))?;
    let kind: String = row.map_or_else(|| "r".to_owned(), |row| row.get(0));
    let (kind, command) = match kind.as_str() {
        "r" | "p" => return Ok(()),
        "v" => ("a view", "VIEW"),
        "m" => ("a materialized view", "MATERIALIZED VIEW"),
        "f" => ("a foreign table", "FOREIGN TABLE"),
        "S" => ("a sequence", "SEQUENCE"),
        "i" | "I" => ("an index", "INDEX"),
        _ => ("a type", "TYPE"),
    };
    let qualified = loader.qualified(table);
    let message = format!("{qualified} is {kind}, no table that can be filled");
    Err(Error::new(ErrorKind::Store, message)
        .hint(format!("move it out of the way: ALTER {command} {qualified} RENAME TO …; or name another `schema` in [target]")))
}

fn has_column(loader: &Loader<'_>, column: &str) -> String {
    format!(
        "SELECT 1 FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid \
         JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {} AND a.attname = {} AND NOT a.attisdropped",
        quote_literal(&loader.target.schema),
        quote_literal(TABLE),
        quote_literal(column)
    )
}

/// A query that gives a row when the target's schema has the table.
pub fn table_exists(loader: &Loader<'_>, table: &str) -> String {
    format!("SELECT 1 {}", of_name(loader, table))
}

fn of_name(loader: &Loader<'_>, table: &str) -> String {
    format!(
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {}",
        quote_literal(&loader.target.schema),
        quote_literal(table)
    )
}
