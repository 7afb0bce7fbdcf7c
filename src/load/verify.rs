//! Whether the target still holds what was published: every row compared, nothing changed.

use serde::{Deserialize, Serialize};

use super::Loader;
use super::alike::{differ, exact_key, numbered, same};
use super::beside::Beside;
use super::receipt::{received, table_exists};
use super::shape::{columns, fits, loose, quoted};
use crate::error::Result;
use crate::postgres::Isolation;
use crate::star::table::StarTable;

/// What the target holds of the published star.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verification {
    pub target: String,
    pub schema: String,
    /// The published snapshot.
    pub snapshot: String,
    /// The snapshot that the target's receipt names.
    pub delivered: Option<String>,
    pub tables: Vec<HeldTable>,
}

/// How the rows of one table of the target differ from those that were published.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct HeldTable {
    pub table: String,
    /// Whether there is such a table, with these columns.
    pub fits: bool,
    pub missing: u64,
    pub surplus: u64,
    pub changed: u64,
}

impl HeldTable {
    pub fn holds(&self) -> bool {
        self.fits && self.missing + self.surplus + self.changed == 0
    }
}

impl Verification {
    pub fn holds(&self) -> bool {
        self.tables.iter().all(HeldTable::holds)
    }
}

pub async fn star(loader: &Loader<'_>) -> Result<Verification> {
    // One instant for all tables; the temporary ones go with the transaction.
    loader.server.begin(loader.client, Isolation::RepeatableRead).await?;
    let found = tables(loader).await;
    let _ = loader.client.batch_execute("ROLLBACK").await;
    found
}

async fn tables(loader: &Loader<'_>) -> Result<Verification> {
    let star = loader.shipment.star;
    let received = received(loader.client, loader.server, loader.target, loader.shipment.pipeline).await?;
    let mut found = Verification {
        target: loader.target.url.to_string(),
        schema: loader.target.schema.clone(),
        snapshot: star.snapshot.to_string(),
        delivered: received.map(|received| received.snapshot.to_string()),
        tables: Vec::new(),
    };
    for table in &star.tables {
        found.tables.push(held(loader, table).await?);
    }
    Ok(found)
}

async fn held(loader: &Loader<'_>, table: &StarTable) -> Result<HeldTable> {
    let columns = columns(table)?;
    let mut held = HeldTable { table: table.name().to_string(), ..HeldTable::default() };
    let exists = loader.exists(&table_exists(loader, table.name().as_str())).await?;
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    if !exists || !fits(loader, table, None).await? {
        held.missing = table.rows();
        return Ok(held);
    }
    held.fits = true;
    let into = loader.own(table.name().as_str()).await?;
    let doing = format!("compare {into}");
    let rows = Beside::of_table(loader, table, &columns).await?;
    let beside = &rows.name;
    let (identity, loose) = (table.contract.identity(), loose(loader, table.name().as_str()).await?);
    let (same_row, differ) = match identity.as_slice() {
        [] => (
            "t.\"starmill: row\" = n.\"starmill: row\" AND t.\"starmill: copy\" = n.\"starmill: copy\""
                .to_owned(),
            "false".to_owned(),
        ),
        identity => {
            let differ = differ(columns.iter().filter(|column| !identity.contains(&column.name)));
            (same(identity, &loose), differ)
        }
    };
    let list = quoted(&names);
    let told_apart: Vec<String> = identity.iter().map(|name| exact_key(name, &loose)).collect();
    // Rows that the target has twice are one row to a join, and one too many.
    let repeated = match identity.is_empty() {
        true => "0".to_owned(),
        false => format!(
            "(SELECT coalesce(sum(rows - 1), 0)::bigint FROM (SELECT count(*) AS rows FROM t GROUP BY {}) AS g)",
            told_apart.join(", ")
        ),
    };
    let (ours, theirs) = match identity.is_empty() {
        true => (numbered(beside, "", &list), numbered(&into, "", &list)),
        false => (format!("SELECT {list} FROM {beside}"), format!("SELECT {list} FROM {into}")),
    };
    let count = format!(
        "SELECT (SELECT count(*) FROM n WHERE NOT EXISTS (SELECT 1 FROM t WHERE {same_row})), \
                (SELECT count(*) FROM t WHERE NOT EXISTS (SELECT 1 FROM n WHERE {same_row})) + {repeated}, \
                (SELECT count(*) FROM n JOIN t ON {same_row} WHERE {differ})"
    );
    let query = format!("WITH n AS MATERIALIZED ({ours}), t AS MATERIALIZED ({theirs}) {count}");
    let row = loader.client.query_one(&query, &[]).await;
    let row = row.map_err(|error| loader.failed(error, &doing))?;
    let number = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
    (held.missing, held.surplus, held.changed) = (number(0), number(1), number(2));
    rows.clear(loader).await?;
    Ok(held)
}
