//! The lake in a target: a schema of its own, changed in the transaction that delivers the star, so that who reads the
//! delivered tables and who reads the files by it see the same star from the same instant on.

use std::collections::BTreeSet;

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::error::{Error, ErrorKind, Result};
use crate::lake::{Catalog, Rows, Shore, Tongue};
use crate::name::{quote_identifier, quote_literal};
use crate::pipeline::{Deployment, TargetSettings};
use crate::postgres::{Isolation, Server};

/// A lake's schema, inside of a transaction.
pub(super) struct Lake<'a> {
    pub client: &'a Client,
    pub server: &'a Server,
    pub schema: &'a str,
    /// Whether another store's lake is taken over.
    pub adopts: bool,
}

impl Lake<'_> {
    /// Makes it what the store keeps.
    pub(super) async fn bring_up(&self, shore: &dyn Shore) -> Result<()> {
        self.lock().await?;
        let tongue = self.tongue();
        let there = format!("SELECT 1 FROM pg_namespace WHERE nspname = {}", quote_literal(self.schema));
        if self.first(&there).await?.is_none() {
            self.execute(&format!("CREATE SCHEMA {}", quote_identifier(self.schema))).await?;
        }
        if !self.is_made().await? {
            let others = format!(
                "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE n.nspname = {} AND c.relname LIKE 'ducklake\\_%' LIMIT 1",
                quote_literal(self.schema)
            );
            if let Some(other) = self.first(&others).await? {
                return Err(self.not_ours(&format!("it has a table {other}, and none of its metadata")));
            }
        }
        self.complete(&tongue).await?;
        let rows = self.rows(&tongue).await?;
        let catalog = self.catalog(&rows, shore)?;
        let now = catalog.brought_up(shore)?;
        self.change(&tongue, &rows, &now).await
    }

    /// Makes the tables that are missing. IF NOT EXISTS would still want the right to create.
    async fn complete(&self, tongue: &Tongue) -> Result<()> {
        let there = "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1";
        let rows = self.client.query(there, &[&self.schema]).await.map_err(|error| self.failed(error))?;
        let there: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        for (table, statement) in tongue.create_each().filter(|(table, _)| !there.contains(*table)) {
            tracing::debug!(table, "a table of the lake is made");
            self.execute(&statement).await?;
        }
        Ok(())
    }

    /// Takes out of it what the store keeps no more.
    async fn forget(&self, shore: &dyn Shore) -> Result<()> {
        self.lock().await?;
        if !self.is_made().await? {
            return Ok(());
        }
        let tongue = self.tongue();
        let rows = self.rows(&tongue).await?;
        let catalog = self.catalog(&rows, shore)?;
        self.change(&tongue, &rows, &catalog.forgetting(shore)).await
    }

    fn tongue(&self) -> Tongue {
        Tongue::Postgres(self.schema.to_owned())
    }

    async fn is_made(&self) -> Result<bool> {
        let metadata = format!("{}.ducklake_metadata", quote_identifier(self.schema));
        let made = format!("SELECT 1 WHERE to_regclass({}) IS NOT NULL", quote_literal(&metadata));
        Ok(self.first(&made).await?.is_some())
    }

    fn catalog(&self, rows: &Rows, shore: &dyn Shore) -> Result<Catalog> {
        let catalog = Catalog::of(rows).map_err(|problem| self.not_ours(&problem))?;
        match catalog.store() {
            Some(store) if store != shore.store() && !self.adopts => {
                let message = format!("schema {} holds the lake of another store ({store})", self.schema);
                Err(Error::new(ErrorKind::Store, message).hint(
                    "name another schema: `lake` in [target]; `starmill deliver --adopt` takes this one over",
                ))
            }
            _ => Ok(catalog),
        }
    }

    fn not_ours(&self, problem: &str) -> Error {
        let message = format!("schema {} holds no lake that starmill wrote: {problem}", self.schema);
        Error::new(ErrorKind::Store, message).hint(
            "name another schema: `lake` in [target]; or rename this one, and the next delivery writes it anew",
        )
    }

    /// One writer of a lake at a time.
    async fn lock(&self) -> Result<()> {
        let lock = format!(
            "SELECT pg_advisory_xact_lock(hashtext('starmill lake'), hashtext({}))",
            quote_literal(self.schema)
        );
        self.execute(&lock).await
    }

    async fn rows(&self, tongue: &Tongue) -> Result<Rows> {
        let mut rows = Rows::new();
        for (table, query) in tongue.select() {
            let messages = self.client.simple_query(&query).await.map_err(|error| self.failed(error))?;
            let read = messages.iter().filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
                }
                _ => None,
            });
            rows.insert(table, read.collect::<BTreeSet<_>>());
        }
        Ok(rows)
    }

    async fn change(&self, tongue: &Tongue, from: &Rows, to: &Catalog) -> Result<()> {
        for statement in tongue.change(from, &to.rows()) {
            self.execute(&statement).await?;
        }
        Ok(())
    }

    async fn first(&self, query: &str) -> Result<Option<String>> {
        let row = self.client.query_opt(&format!("SELECT ({query} )::text"), &[]).await;
        Ok(row.map_err(|error| self.failed(error))?.and_then(|row| row.get(0)))
    }

    async fn execute(&self, statement: &str) -> Result<()> {
        self.client.batch_execute(statement).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: tokio_postgres::Error) -> Error {
        self.server.error(error, format!("the target refused to keep the lake in schema {}", self.schema))
    }
}

/// Takes out of a target's lake what its store keeps no more, when there is one.
pub async fn forget(target: &TargetSettings, deployment: &Deployment, shore: &dyn Shore) -> Result<()> {
    let Some(schema) = &target.lake else { return Ok(()) };
    let server = super::server(target, &deployment.name, deployment.timezone.name(), schema)?;
    let forgotten = async {
        let client = server.connect().await?;
        server.begin(&client, Isolation::ReadCommitted).await?;
        let lake = Lake { client: &client, server: &server, schema, adopts: false };
        lake.forget(shore).await?;
        lake.execute("COMMIT").await
    };
    server.watched(target.silent_max, forgotten).await
}
