//! The target's own record of what it was delivered, written in the same transaction.

use serde_json::Value;

use super::{Adopt, Hashes, Loader};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::quote_literal;

const TABLE: &str = "starmill_delivery";

/// What the target holds of this pipeline.
pub struct Receipt {
    /// Tables that were delivered before, with the hashes of their files; none when adopted, so
    /// that every row is compared.
    pub tables: Hashes,
    /// Tables that a former delivery made, whoever's: starmill may change those.
    pub owned: Vec<String>,
}

impl Receipt {
    pub async fn read(loader: &Loader<'_>, adopt: Adopt) -> Result<Receipt> {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {} (pipeline text PRIMARY KEY, store text NOT NULL, snapshot text NOT NULL, \
             delivered_at timestamptz NOT NULL, tables jsonb NOT NULL)",
            loader.qualified(TABLE)
        );
        // IF NOT EXISTS still wants the right to create, so a granted-only role asks first.
        if !loader.exists(&table_exists(loader, TABLE)).await? {
            loader.execute(&create, "create the receipts").await?;
        }
        let query = format!(
            "SELECT store, snapshot, tables::text FROM {} WHERE pipeline = $1",
            loader.qualified(TABLE)
        );
        let pipeline = &loader.shipment.pipeline;
        let row = loader.client.query_opt(&query, &[pipeline]).await;
        let row = row.map_err(|error| loader.failed(error, "show its receipt"))?;
        let Some(row) = row else {
            return Ok(Receipt { tables: Hashes::new(), owned: adopted(loader, adopt).await? });
        };
        let (held_by, snapshot): (String, String) = (row.get(0), row.get(1));
        let tables: Hashes = serde_json::from_str(&row.get::<_, String>(2))
            .or_error(ErrorKind::Store, || "the target's receipt is not starmill's".to_owned())?;
        let mut owned: Vec<String> = tables.keys().cloned().collect();
        if adopt == Adopt::TakeOver {
            owned.extend(adopted(loader, adopt).await?);
        }
        match (held_by == loader.shipment.store, adopt) {
            (true, _) => Ok(Receipt { tables, owned }),
            (false, Adopt::TakeOver) => Ok(Receipt { tables: Hashes::new(), owned }),
            (false, Adopt::Refuse) => Err(Error::new(
                ErrorKind::Store,
                format!(
                    "schema {} holds the star of another store ({held_by}, snapshot {snapshot})",
                    loader.target.schema
                ),
            )
            .hint("use another schema, or take it over with `starmill deliver --adopt`")),
        }
    }

    pub async fn write(&self, loader: &Loader<'_>) -> Result<()> {
        let shipment = &loader.shipment;
        let hashes = shipment.star.tables.iter().map(|table| {
            let files = table.files.iter().map(|file| Value::from(file.sha256.clone()));
            (table.name.to_string(), Value::from_iter(files))
        });
        let hashes = Value::from(serde_json::Map::from_iter(hashes));
        let statement = format!(
            "INSERT INTO {} (pipeline, store, snapshot, delivered_at, tables) VALUES ({}, {}, {}, clock_timestamp(), {}::jsonb) \
             ON CONFLICT (pipeline) DO UPDATE SET store = excluded.store, snapshot = excluded.snapshot, \
             delivered_at = excluded.delivered_at, tables = excluded.tables",
            loader.qualified(TABLE),
            quote_literal(shipment.pipeline),
            quote_literal(shipment.store),
            quote_literal(shipment.star.snapshot.as_str()),
            quote_literal(&hashes.to_string()),
        );
        loader.execute(&statement, "keep the receipt").await
    }
}

/// The snapshot that the target says it holds.
pub async fn delivered_snapshot(loader: &Loader<'_>) -> Result<Option<String>> {
    if !loader.exists(&table_exists(loader, TABLE)).await? {
        return Ok(None);
    }
    let query = format!("SELECT snapshot FROM {} WHERE pipeline = $1", loader.qualified(TABLE));
    let row = loader.client.query_opt(&query, &[&loader.shipment.pipeline]).await;
    let row = row.map_err(|error| loader.failed(error, "show its receipt"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Without a receipt, tables of the star's names are somebody else's.
async fn adopted(loader: &Loader<'_>, adopt: Adopt) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for table in &loader.shipment.star.tables {
        if loader.exists(&table_exists(loader, table.name.as_str())).await? {
            found.push(table.name.to_string());
        }
    }
    if !found.is_empty() && adopt == Adopt::Refuse {
        let names = crate::name::list(&found);
        return Err(Error::new(
            ErrorKind::Store,
            format!("schema {} has tables that starmill did not make: {names}", loader.target.schema),
        )
        .hint("use another schema, or take them over with `starmill deliver --adopt`"));
    }
    Ok(found)
}

/// A query that gives a row when the target's schema has the table.
pub fn table_exists(loader: &Loader<'_>, table: &str) -> String {
    format!(
        "SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {}",
        quote_literal(&loader.target.schema),
        quote_literal(table)
    )
}
