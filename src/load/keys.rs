//! The keys of a table of the target: what tells its rows apart, made where nobody has made it, beside the keys of others.

use std::collections::BTreeSet;

use super::pointing::{Pointing, pointing};
use super::receipt::Receipt;
use super::shape::{ColumnThere, Constraints, Made, quoted};
use super::{Loader, foreign, hung};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{list, quote_identifier as quote};
use crate::star::table::StarTable;

/// Whether two states of a table have the same keys.
pub fn has_same_keys(one: &StarTable, other: &StarTable) -> bool {
    let keys = |table: &StarTable| (table.contract.identity(), table.contract.key());
    keys(one) == keys(other)
}

/// A primary or unique key of the target's table.
pub struct KeyThere {
    pub name: String,
    pub definition: String,
    kind: String,
    deferrable: bool,
    columns: Vec<String>,
}

impl KeyThere {
    /// Whether it is ours: what was made, or a primary key on what tells the star's rows apart, whatever somebody called it.
    pub fn is_ours(&self, table: &StarTable, made: Option<&Made>) -> bool {
        let is_primary = self.kind == "p" && self.columns == table.contract.identity();
        let is_business = table.contract.memory.surrogate.is_some()
            && self.kind == "u"
            && self.deferrable
            && self.columns == table.contract.key();
        is_primary
            || match made {
                Some(made) => made.has(&made.constraints, &self.name, Some(&self.definition)),
                // Before receipts told, only starmill made a key that is checked at the end of a transaction.
                None => is_business,
            }
    }
}

pub async fn there(loader: &Loader<'_>, table: &str) -> Result<Vec<KeyThere>> {
    let query = "SELECT k.conname::text, pg_get_constraintdef(k.oid), k.contype::text, k.condeferrable, \
                array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c(number, place) \
                      JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY c.place) \
         FROM pg_constraint AS k WHERE k.conrelid = $1 AND k.contype IN ('p', 'u')";
    let rows = loader.client.query(query, &[&hung::oid(loader, table).await?]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its keys"))?;
    let key = |row: &tokio_postgres::Row| KeyThere {
        name: row.get(0),
        definition: row.get(1),
        kind: row.get(2),
        deferrable: row.get(3),
        columns: row.get(4),
    };
    Ok(rows.iter().map(key).collect())
}

/// Whether a column alone tells a table's rows apart, so that it can be pointed at.
pub async fn are_told_apart_by(loader: &Loader<'_>, table: &str, column: &str) -> Result<bool> {
    let there = there(loader, table).await?;
    Ok(there.iter().any(|key| !key.deferrable && key.columns == [column]))
}

/// The columns of a table's primary key, whoever made it.
pub async fn primary(loader: &Loader<'_>, table: &str) -> Result<Vec<String>> {
    let there = there(loader, table).await?;
    Ok(there.into_iter().filter(|key| key.kind == "p").flat_map(|key| key.columns).collect())
}

/// Whether some key keeps rows from being there twice.
pub async fn tell_apart(loader: &Loader<'_>, table: &str, identity: &[String]) -> Result<bool> {
    let there = there(loader, table).await?;
    Ok(there.iter().any(|key| key.columns.iter().all(|column| identity.contains(column))))
}

/// A key that a table of the star is to have.
struct WantedKey {
    is: Wanted,
    columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Primary,
    /// What tells rows apart, where somebody has made another key the primary one.
    Identity,
    /// Checked at the end of a transaction: rows may swap theirs.
    Business,
}

impl WantedKey {
    fn is_served_by(&self, key: &KeyThere) -> bool {
        match self.is {
            Wanted::Primary => key.kind == "p" && key.columns == self.columns,
            Wanted::Identity => {
                let set = |columns: &[String]| columns.iter().cloned().collect::<BTreeSet<String>>();
                set(&key.columns) == set(&self.columns)
            }
            Wanted::Business => key.kind == "u" && key.deferrable && key.columns == self.columns,
        }
    }

    fn definition(&self) -> String {
        let columns = quoted(&self.columns);
        match self.is {
            Wanted::Primary => format!("PRIMARY KEY ({columns})"),
            Wanted::Identity => format!("UNIQUE ({columns})"),
            Wanted::Business => format!("UNIQUE ({columns}) DEFERRABLE INITIALLY DEFERRED"),
        }
    }
}

/// The keys that a table is to have, beside those that others have made.
async fn wanted(
    loader: &Loader<'_>,
    table: &StarTable,
    there: &[KeyThere],
    made: Option<&Made>,
) -> Result<Vec<WantedKey>> {
    let mut wanted: Vec<WantedKey> = Vec::new();
    if !table.contract.identity().is_empty() {
        let taken = there.iter().any(|key| key.kind == "p" && !key.is_ours(table, made));
        let is = if taken { Wanted::Identity } else { Wanted::Primary };
        wanted.push(WantedKey { is, columns: table.contract.identity() });
    }
    if table.contract.memory.surrogate.is_some() {
        wanted.push(WantedKey { is: Wanted::Business, columns: table.contract.key() });
    }
    // A key of a partitioned table has the columns that it is cut by.
    if let Some(cut_by) = cut_by(loader, table.name().as_str()).await? {
        wanted.retain(|key| {
            cut_by.iter().all(|column| column.as_ref().is_some_and(|column| key.columns.contains(column)))
        });
    }
    Ok(wanted)
}

/// The columns that somebody partitioned a table by; none for an expression.
async fn cut_by(loader: &Loader<'_>, table: &str) -> Result<Option<Vec<Option<String>>>> {
    let query = "SELECT array(SELECT a.attname::text FROM unnest(p.partattrs::int2[]) AS c(number) \
                LEFT JOIN pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = c.number AND c.number > 0) \
         FROM pg_partitioned_table AS p WHERE p.partrelid = $1";
    let row = loader.client.query_opt(query, &[&hung::oid(loader, table).await?]).await;
    Ok(row.map_err(|error| loader.failed(error, "show what its tables are cut by"))?.map(|row| row.get(0)))
}

/// Makes the keys that a table lacks, after its rows are in, which is faster. Gives their names.
pub async fn make(loader: &Loader<'_>, table: &StarTable, made: Option<&Made>) -> Result<BTreeSet<String>> {
    let (name, relation) = (loader.qualified(table.name().as_str()), table.name().as_str());
    let before = there(loader, relation).await?;
    let wanted = wanted(loader, table, &before, made).await?;
    let lacking: Vec<&WantedKey> =
        wanted.iter().filter(|key| !before.iter().any(|known| key.is_served_by(known))).collect();
    for key in &lacking {
        let statement = format!("ALTER TABLE {name} ADD {}", key.definition());
        loader.execute(&statement, &format!("give {name} its keys")).await?;
    }
    if lacking.is_empty() {
        return Ok(BTreeSet::new());
    }
    let now = there(loader, relation).await?.into_iter().map(|key| key.name);
    Ok(now.filter(|name| before.iter().all(|known| known.name != *name)).collect())
}

/// What has to become of a table's keys.
pub struct KeyChange {
    pub state: Constraints,
    /// Those of our own making that are not the star's.
    gone: Vec<KeyThere>,
    /// Foreign keys of ours that point at them; they are made again at the end.
    pointing: Vec<Pointing>,
}

impl KeyChange {
    pub fn none() -> KeyChange {
        KeyChange { state: Constraints::Kept, gone: Vec::new(), pointing: Vec::new() }
    }
}

/// What has to become of a table's keys, or what stands in its way.
pub async fn planned(
    loader: &Loader<'_>,
    table: &StarTable,
    receipt: &Receipt,
    theirs: &[&ColumnThere],
    same_key: bool,
) -> Result<Result<KeyChange>> {
    let made = receipt.made.get(table.name().as_str());
    let there = there(loader, table.name().as_str()).await?;
    let wanted = wanted(loader, table, &there, made).await?;
    let has_all = wanted.iter().all(|key| there.iter().any(|known| key.is_served_by(known)));
    let (ours, others): (Vec<KeyThere>, Vec<KeyThere>) =
        there.into_iter().partition(|key| key.is_ours(table, made));
    let only_wanted = ours.iter().all(|known| wanted.iter().any(|key| key.is_served_by(known)));
    if only_wanted && has_all {
        return Ok(Ok(KeyChange::none()));
    }
    let pointing = pointing(loader, table.name().as_str()).await?;
    if only_wanted && same_key && !(theirs.is_empty() && others.is_empty() && pointing.is_empty()) {
        // Its rows are told apart as before. Without anything of others they are written anew, which mends more.
        return Ok(Ok(KeyChange { state: Constraints::Lacking, gone: Vec::new(), pointing: Vec::new() }));
    }
    let name = loader.qualified(table.name().as_str());
    if !theirs.is_empty() {
        let names = list(theirs.iter().map(|column| &column.name));
        let message = format!(
            "the key of {name} changed, so its rows are not known again, and the values of {names}, which starmill did not make, would be lost"
        );
        return Ok(Err(Error::new(ErrorKind::Store, message)
            .hint("keep those values in a table of their own, drop the columns, and deliver again")));
    }
    let ours_pointing = foreign::ours(loader, receipt).await?;
    let (pointing, others): (Vec<Pointing>, Vec<Pointing>) =
        pointing.into_iter().partition(|key| key.is_among(&ours_pointing));
    if !others.is_empty() {
        let message = format!(
            "the key of {name} changed, so its rows are written anew, and {} would lose or refuse theirs",
            list(&others)
        );
        return Ok(Err(Error::new(ErrorKind::Store, message)
            .hint("drop those foreign keys, deliver again, and make them anew on the new key")));
    }
    Ok(Ok(KeyChange { state: Constraints::Dropped, gone: ours, pointing }))
}

/// Drops the keys that are to go.
pub async fn drop(loader: &Loader<'_>, table: &StarTable, change: &KeyChange) -> Result<()> {
    let name = loader.qualified(table.name().as_str());
    let doing = format!("drop the old keys of {name}");
    for key in &change.pointing {
        loader.execute(&key.drop(), &doing).await?;
    }
    for key in &change.gone {
        let drop = format!("ALTER TABLE {name} DROP CONSTRAINT {}", quote(&key.name));
        loader.execute(&drop, &doing).await?;
        // A primary key leaves its columns NOT NULL behind.
        for column in key.columns.iter().filter(|_| key.kind == "p") {
            let nullable = format!("ALTER TABLE {name} ALTER COLUMN {} DROP NOT NULL", quote(column));
            loader.execute(&nullable, &doing).await?;
        }
    }
    Ok(())
}
