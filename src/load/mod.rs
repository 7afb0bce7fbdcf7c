//! Delivers a published star into Postgres: one transaction, in which only changed rows are
//! touched, so that views, grants and readers live on. A receipt in the same transaction makes
//! repeating it harmless.

mod merge;
mod receipt;
mod shape;
mod verify;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use crate::error::{Error, ErrorKind, Result};
use crate::fault::{self, Point};
use crate::name::{quote_identifier, quote_literal};
use crate::pipeline::TargetSettings;
use crate::postgres::{Isolation, Pins, Server, Side};
use crate::star::PublishedStar;

use receipt::Receipt;
pub use verify::{HeldTable, Verification};

/// Whether a target that holds another store's star is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    Refuse,
    TakeOver,
}

/// Whether a table is taken to hold what the receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A table whose files have the same hashes has the same rows.
    Receipt,
    /// Every row is compared.
    Nothing,
}

/// What the target received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    pub target: String,
    pub schema: String,
    pub tables: Vec<DeliveredTable>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliveredTable {
    pub table: String,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
}

/// A published star on its way.
pub struct Shipment<'a> {
    pub star: &'a PublishedStar,
    pub pipeline: &'a str,
    /// The id of the store that it comes from.
    pub store: &'a str,
    pub trust: Trust,
    /// How long a statement may wait for a lock; none is as long as it takes.
    pub lock_timeout: Option<Duration>,
}

/// Loads the published star. Readers of the target see the old star until the commit, the new one
/// after it, and never a mixture.
pub async fn load(
    shipment: Shipment<'_>,
    target: &TargetSettings,
    timezone: Tz,
    adopt: Adopt,
) -> Result<Delivery> {
    let server = server(target, timezone, &shipment)?;
    let client = server.connect().await?;
    let loader = Loader { client: &client, server: &server, target, shipment };
    let tables = match loader.transaction(adopt).await {
        Ok(tables) => tables,
        Err(error) => {
            // The server rolls back when the session ends; saying so frees its locks at once.
            let _ = client.batch_execute("ROLLBACK").await;
            return Err(error);
        }
    };
    Ok(Delivery { target: target.url.to_string(), schema: target.schema.clone(), tables })
}

/// Whether the target still holds the star, row by row. Nothing is changed there.
pub async fn verify(shipment: Shipment<'_>, target: &TargetSettings, timezone: Tz) -> Result<Verification> {
    let server = server(target, timezone, &shipment)?;
    let client = server.connect().await?;
    let loader = Loader { client: &client, server: &server, target, shipment };
    verify::star(&loader).await
}

fn server(target: &TargetSettings, timezone: Tz, shipment: &Shipment) -> Result<Server> {
    let path = [target.schema.clone()];
    let pins = Pins {
        pipeline: shipment.pipeline,
        timezone: timezone.name(),
        search_path: &path,
        lock_timeout: shipment.lock_timeout,
        statement_timeout: None,
    };
    Server::new(&target.url, Side::Target, &pins)
}

struct Loader<'a> {
    client: &'a Client,
    server: &'a Server,
    target: &'a TargetSettings,
    shipment: Shipment<'a>,
}

impl Loader<'_> {
    async fn transaction(&self, adopt: Adopt) -> Result<Vec<DeliveredTable>> {
        let schema = quote_identifier(&self.target.schema);
        // Whatever the role's default: what waited for a lock must see what was committed meanwhile.
        self.server.begin(self.client, Isolation::ReadCommitted).await?;
        at(Point::LoadStart)?;
        // One delivery into a schema at a time; the others wait here, and then find the receipt.
        let lock = format!(
            "SELECT pg_advisory_xact_lock(hashtext('starmill'), hashtext({}))",
            quote_literal(&self.target.schema)
        );
        self.execute(&lock, "wait for another delivery").await?;
        let exists = self
            .exists(&format!(
                "SELECT 1 FROM pg_namespace WHERE nspname = {}",
                quote_literal(&self.target.schema)
            ))
            .await?;
        if !exists {
            self.execute(&format!("CREATE SCHEMA {schema}"), "create the schema").await?;
        }
        let receipt = Receipt::read(self, adopt).await?;
        let mut delivered = Vec::new();
        let star = self.shipment.star;
        for (shape, table) in star.shapes.iter().zip(&star.tables) {
            at(Point::LoadTable)?;
            delivered.push(merge::table(self, shape, table, &receipt).await?);
        }
        self.drop_gone(&receipt).await?;
        at(Point::LoadMerged)?;
        receipt.write(self).await?;
        at(Point::LoadReceipt)?;
        self.execute("COMMIT", "commit").await?;
        at(Point::LoadCommitted)?;
        Ok(delivered)
    }

    /// A table that the star no longer has goes from the target too; what depends on it stays its
    /// owner's to decide, so there is no CASCADE.
    async fn drop_gone(&self, receipt: &Receipt) -> Result<()> {
        let tables = &self.shipment.star.tables;
        for name in
            receipt.tables.keys().filter(|name| tables.iter().all(|table| table.name.as_str() != *name))
        {
            let statement = format!("DROP TABLE IF EXISTS {}", self.qualified(name));
            self.execute(&statement, &format!("drop {name}, which the star no longer has")).await?;
        }
        Ok(())
    }

    fn qualified(&self, table: &str) -> String {
        format!("{}.{}", quote_identifier(&self.target.schema), quote_identifier(table))
    }

    async fn execute(&self, statement: &str, doing: &str) -> Result<()> {
        self.client.batch_execute(statement).await.map_err(|error| self.failed(error, doing))
    }

    async fn changed(&self, statement: &str, doing: &str) -> Result<u64> {
        self.client.execute(statement, &[]).await.map_err(|error| self.failed(error, doing))
    }

    async fn exists(&self, query: &str) -> Result<bool> {
        let row = self.client.query_opt(&format!("SELECT 1 WHERE EXISTS ({query})"), &[]).await;
        Ok(row.map_err(|error| self.failed(error, "read its catalog"))?.is_some())
    }

    fn failed(&self, error: tokio_postgres::Error, doing: &str) -> Error {
        self.server.error(error, format!("the target {} refused to {doing}", self.target.url))
    }
}

fn at(point: Point) -> Result<()> {
    fault::at(point).map_err(|error| Error::new(ErrorKind::Store, "the delivery failed").caused_by(error))
}

/// Hashes of a table's files: equal hashes, equal rows.
type Hashes = BTreeMap<String, Vec<String>>;
