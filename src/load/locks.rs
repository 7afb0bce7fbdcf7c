//! Locks that a delivery takes at once, before it does anything: those of tables whose shape changes. Readers who hold one of
//! them and wait for another would else be in a deadlock with it, and the server ends one of the two.

use std::time::Duration;

use super::keys::has_same_keys;
use super::receipt::{Receipt, table_exists};
use super::{Loader, gone, shape};
use crate::error::Result;
use crate::star::table::StarTable;

/// How long it waits for them all: less than a reader does who waits for one of them before the server looks for deadlocks
/// (`deadlock_timeout`, a second). Then it lets go of everything, and tries again.
const WAIT: Duration = Duration::from_millis(500);

/// Locks the tables whose columns or keys are others than those that the target was left with, and those that go.
pub async fn take(loader: &Loader<'_>, receipt: &Receipt) -> Result<()> {
    let mut names = Vec::new();
    for table in &loader.shipment.star.tables {
        let name = table.name().as_str();
        let Some(made) = receipt.made.get(name) else { continue };
        // Of a snapshot that the store has no more, the catalog tells.
        let as_it_was = match is_as_it_was(receipt, table) {
            Some(as_it_was) => as_it_was,
            None => shape::fits(loader, table, Some(made)).await?,
        };
        if !as_it_was && loader.exists(&table_exists(loader, name)).await? {
            names.push(loader.qualified(name));
        }
    }
    let gone = gone::planned(loader, receipt).await?;
    names.extend(gone.iter().filter(|gone| !gone.is_others).map(|gone| loader.qualified(&gone.table)));
    if names.is_empty() {
        return Ok(());
    }
    let bound = |wait: Duration| format!("SET LOCAL lock_timeout = '{}ms'", wait.as_millis());
    let wait = WAIT.min(loader.target.lock_timeout);
    loader.execute(&bound(wait), "wait less").await?;
    let statement = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", "));
    loader.execute(&statement, "have the tables whose shape changes to itself").await?;
    loader.execute(&bound(loader.target.lock_timeout), "wait as before").await
}

/// Whether a table has the columns and keys that it was left with; nothing where the store does not know any more.
fn is_as_it_was(receipt: &Receipt, table: &StarTable) -> Option<bool> {
    let (_, held) = receipt.held(table)?;
    Some(held.schema() == table.schema() && has_same_keys(held, table))
}
