//! Delivers a published star into Postgres: one transaction, in which only changed rows are
//! touched, so that views, grants and readers live on. A receipt in the same transaction makes
//! repeating it harmless.

mod alike;
mod asked;
mod beside;
mod copies;
mod depending;
mod describe;
mod foreign;
mod gone;
mod guard;
mod hung;
mod keys;
mod lake;
mod locks;
mod look;
mod merge;
mod not_null;
mod pointing;
mod prove;
mod receipt;
mod reshape;
mod shape;
mod takeover;
mod verify;
mod views;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, SqlState};

use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::{self, Point};
use crate::lake::Shore;
use crate::name::SnapshotId;
use crate::name::{quote_identifier, quote_literal};
use crate::pipeline::TargetSettings;
use crate::postgres::{Isolation, Pins, Server, Side};
use crate::star::PublishedStar;

pub use asked::{Identity, Received, given, identity, received, sources_in};
use lake::Lake;
pub use lake::forget as forget_in_lake;
pub use look::{Obstacle, look, refusal};
use merge::Merged;
use receipt::Receipt;
pub use takeover::{TakenOver, takeover};
pub use verify::{HeldTable, Verification};
use views::SetAside;

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
    /// Views of others that were made again, since a column that they read got another type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<String>,
}

/// What a transaction did.
struct Delivered {
    tables: Vec<DeliveredTable>,
    views: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DeliveredTable {
    pub table: String,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// How it was not as it had been left, so that every row was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
}

/// A published star on its way.
pub struct Shipment<'a> {
    pub star: &'a PublishedStar,
    pub pipeline: &'a str,
    /// The id of the store that it comes from.
    pub store: &'a str,
    pub trust: Trust,
    /// How long it is tried again while others hold what it needs.
    pub lock_wait: Duration,
    /// The source's own tables, when they lie in the target's schema.
    pub sources: Vec<String>,
    /// What the target's lake follows, if it has one.
    pub shore: Option<&'a dyn Shore>,
    /// The store's snapshots: only what changed since the one that the target holds has to travel.
    pub kept: &'a (dyn Fn(&SnapshotId) -> Option<PublishedStar> + Send + Sync),
}

/// Loads the published star. Readers of the target see the old star until the commit, the new one
/// after it, and never a mixture.
pub async fn load(
    shipment: Shipment<'_>,
    target: &TargetSettings,
    timezone: Tz,
    adopt: Adopt,
) -> Result<Delivery> {
    let server = server(target, shipment.pipeline, timezone.name(), &target.schema)?;
    let wait = shipment.lock_wait;
    let loaded = async {
        let client = server.connect().await?;
        let loader = Loader::new(&client, &server, target, shipment);
        patiently(loader, adopt, wait).await
    };
    let Delivered { tables, views } = server.watched(target.silent_max, loaded).await?;
    Ok(Delivery { target: target.url.to_string(), schema: target.schema.clone(), tables, views })
}

/// Delivers, and lets go of everything where others hold what it needs: whoever queues behind it comes through meanwhile.
async fn patiently(mut loader: Loader<'_>, adopt: Adopt, wait: Duration) -> Result<Delivered> {
    let watch = Stopwatch::start();
    let mut pause = FIRST_PAUSE;
    loop {
        let loaded = loader.transaction(adopt).await;
        let Err(error) = &loaded else { return loaded };
        // The server rolls back when the session ends; saying so frees its locks at once.
        let _ = loader.client.batch_execute("ROLLBACK").await;
        loader.set_aside.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let unproven = loader.unproven.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(table) = unproven {
            loader.drifted = Some(table);
            tracing::warn!(%error, "sending what changed is not enough; every row is compared");
            loader.shipment.trust = Trust::Nothing;
            continue;
        }
        if !error.is_busy() || watch.elapsed() + pause > wait {
            return loaded;
        }
        tracing::warn!(%error, again_in = ?pause, "others hold what the delivery needs");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The first pause between two attempts, each of which is twice as long, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether the target still holds the star, row by row. Nothing is changed there.
pub async fn verify(shipment: Shipment<'_>, target: &TargetSettings, timezone: Tz) -> Result<Verification> {
    let server = server(target, shipment.pipeline, timezone.name(), &target.schema)?;
    let held = async {
        let client = server.connect().await?;
        let loader = Loader::new(&client, &server, target, shipment);
        verify::star(&loader).await
    };
    server.watched(target.silent_max, held).await
}

/// A target's server for a pipeline's sessions that look into one schema, with the target's own bounds.
fn server(target: &TargetSettings, pipeline: &str, timezone: &str, schema: &str) -> Result<Server> {
    // Functions of triggers name what they mean as their authors' sessions did.
    let path = [schema.to_owned(), "public".to_owned()];
    let pins = Pins {
        pipeline,
        timezone,
        search_path: &path,
        lock_timeout: Some(target.lock_timeout),
        statement_timeout: target.statement_timeout,
        role: target.role.as_deref(),
    };
    Server::new(&target.url, Side::Target, &pins)
}

struct Loader<'a> {
    client: &'a Client,
    server: &'a Server,
    target: &'a TargetSettings,
    shipment: Shipment<'a>,
    /// The table that sending what changed did not make what it should be: then all of it is sent.
    unproven: Mutex<Option<String>>,
    /// Triggers and rules of others that may have their way with what is written.
    rewriting: Vec<String>,
    /// Views that are put back at the end.
    set_aside: Mutex<Vec<SetAside>>,
    /// The table of which that was found out before.
    drifted: Option<String>,
}

impl<'a> Loader<'a> {
    fn new(
        client: &'a Client,
        server: &'a Server,
        target: &'a TargetSettings,
        shipment: Shipment<'a>,
    ) -> Loader<'a> {
        Loader {
            client,
            server,
            target,
            shipment,
            unproven: Mutex::default(),
            set_aside: Mutex::default(),
            rewriting: Vec::new(),
            drifted: None,
        }
    }
}

impl Loader<'_> {
    async fn transaction(&mut self, adopt: Adopt) -> Result<Delivered> {
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
        guard::announce(self).await?;
        Receipt::make_room(self).await?;
        let receipt = Receipt::read(self, adopt).await?;
        self.rewriting = hung::rewriting(self).await?;
        locks::take(self, &receipt).await?;
        foreign::let_go(self, &receipt).await?;
        let mut delivered = Vec::new();
        let star = self.shipment.star;
        for table in &star.tables {
            at(Point::LoadTable)?;
            delivered.push(merge::table(self, table, &receipt).await?);
        }
        // What points at a table is written after it, and deleted before it.
        for (table, merged) in star.tables.iter().zip(&mut delivered).rev() {
            merge::part_last(self, table, merged).await?;
        }
        // What others deferred to the end has its say now: nothing may write after the proof.
        let deferred = self.execute("SET CONSTRAINTS ALL IMMEDIATE", "keep what is checked at the end").await;
        deferred.inspect_err(|error| self.note_clash(error, &delivered))?;
        for (table, merged) in star.tables.iter().zip(&mut delivered) {
            merge::give_keys(self, table, &receipt, merged).await?;
        }
        for (table, merged) in star.tables.iter().zip(&mut delivered) {
            merge::promise(self, table, &receipt, merged).await?;
        }
        gone::drop(self, &receipt).await?;
        let views = views::put_back(self).await?;
        at(Point::LoadMerged)?;
        if let (Some(schema), Some(shore)) = (&self.target.lake, self.shipment.shore) {
            let adopts = adopt == Adopt::TakeOver;
            Lake { client: self.client, server: self.server, schema, adopts }.bring_up(shore).await?;
        }
        let ours = delivered.iter_mut().map(|merged| std::mem::take(&mut merged.ours)).collect();
        receipt.write(self, ours).await?;
        at(Point::LoadReceipt)?;
        // Nothing is written after the proof: a trigger may hang anywhere.
        for (table, merged) in star.tables.iter().zip(&delivered) {
            merge::conclude(self, table, merged).await?;
        }
        self.execute("COMMIT", "commit").await?;
        at(Point::LoadCommitted)?;
        let tables = delivered.into_iter().map(|merged| merged.delivered).collect();
        Ok(Delivered { tables, views })
    }

    /// A key that is checked at the end may clash with a row that nobody delivered.
    fn note_clash(&self, error: &Error, delivered: &[Merged]) {
        let by_changes = delivered.iter().find(|merged| merged.by_changes);
        let may_be = !error.is_busy() && error.kind() == ErrorKind::Store;
        if let Some(merged) = by_changes.filter(|_| may_be) {
            self.note_unproven(&merged.delivered.table);
        }
    }

    /// Sending what changed was not enough for a table.
    fn note_unproven(&self, table: &str) {
        *self.unproven.lock().unwrap_or_else(PoisonError::into_inner) = Some(table.to_owned());
    }

    /// Whether a table of the target's schema is one that the pipeline reads.
    fn is_source(&self, table: &str) -> bool {
        self.shipment.sources.iter().any(|source| source == table)
    }

    /// What helps when a table is not ours to write.
    fn instead_of(&self, table: &str) -> &'static str {
        if self.is_source(table) { receipt::SOURCE_TABLE } else { receipt::STRANGERS }
    }

    fn qualified(&self, table: &str) -> String {
        format!("{}.{}", quote_identifier(&self.target.schema), quote_identifier(table))
    }

    /// The table's own rows, without those of tables that inherit from it. One that is partitioned has none of its own.
    async fn own(&self, table: &str) -> Result<String> {
        let name = self.qualified(table);
        let partitioned = format!(
            "SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind = 'p'",
            quote_literal(&name)
        );
        Ok(if self.exists(&partitioned).await? { name } else { format!("ONLY {name}") })
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
        let named =
            |db: &DbError| Some((db.code().clone(), db.table()?.to_owned(), db.constraint()?.to_owned()));
        let key = error.as_db_error().and_then(named);
        let error = self.server.error(error, format!("the target {} refused to {doing}", self.target.url));
        match key {
            Some((SqlState::UNIQUE_VIOLATION, table, key)) => error.hint(format!(
                "rows of {} may take values of {key} from each other on their way: drop it, and declare it as a constraint that is checked at the end (UNIQUE (…) DEFERRABLE INITIALLY DEFERRED); where that cannot be, or the star has a value twice, do without it",
                self.qualified(&table)
            )),
            Some((SqlState::FOREIGN_KEY_VIOLATION, table, key)) => error.hint(format!(
                "what {key} of {table} points at may come later, or go earlier: have it checked at the end (ALTER TABLE … ALTER CONSTRAINT {} DEFERRABLE INITIALLY DEFERRED); where the star does not have it, do without the key",
                quote_identifier(&key)
            )),
            _ => error,
        }
    }
}

fn at(point: Point) -> Result<()> {
    fault::at(point).map_err(|error| Error::new(ErrorKind::Store, "the delivery failed").caused_by(error))
}

/// Hashes of a table's files: equal hashes, equal rows.
type Hashes = BTreeMap<String, Vec<String>>;
