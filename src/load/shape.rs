//! The shape of one table of the target: its columns, keys and indexes, made to fit the star's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Loader, describe, hung};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{list, quote_identifier as quote, quote_literal};
use crate::star::table::StarTable;

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub type_name: String,
}

/// Whether a table's keys are those of the star, or were dropped to be made anew after the merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraints {
    Kept,
    Dropped,
    /// Somebody dropped one: it is made again after the merge.
    Lacking,
}

pub fn quoted(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

pub fn definitions(columns: &[Column]) -> String {
    columns
        .iter()
        .map(|column| format!("{} {}", quote(&column.name), column.type_name))
        .collect::<Vec<_>>()
        .join(", ")
}

pub async fn create(loader: &Loader<'_>, table: &StarTable, columns: &[Column]) -> Result<()> {
    let name = loader.qualified(table.name().as_str());
    loader
        .execute(&format!("CREATE TABLE {name} ({})", definitions(columns)), &format!("create {name}"))
        .await?;
    let comment = format!("COMMENT ON TABLE {name} IS {}", quote_literal(&describe::of_table(loader, table)));
    loader.execute(&comment, &format!("describe {name}")).await
}

/// Makes the indexes that the pipeline asks for and nobody has made, and drops ours that it asks for no more. Gives the names of
/// those that are ours.
pub async fn index(loader: &Loader<'_>, table: &StarTable, made: Option<&Made>) -> Result<BTreeSet<String>> {
    let (name, relation) = (loader.qualified(table.name().as_str()), table.name().as_str());
    let doing = format!("index {name}");
    let there = hung::plain_indexes(loader, relation).await?;
    let is_ours = |index: &str| made.is_some_and(|made| made.indexes.contains(index));
    let asked = |columns: &Vec<String>| table.contract.indexes.contains(columns);
    let gone: Vec<&String> = there
        .iter()
        .filter(|(index, columns)| is_ours(index) && !asked(columns))
        .map(|(index, _)| index)
        .collect();
    let lacking = |columns: &&Vec<String>| there.iter().all(|(_, known)| known != *columns);
    let lacking: Vec<&Vec<String>> = table.contract.indexes.iter().filter(lacking).collect();
    let fits = gone.is_empty() && lacking.is_empty();
    if !fits && !hung::owns(loader, relation).await? {
        tracing::warn!(table = relation, "the role does not own the table, whose indexes stay as they are");
        return Ok(made.map(|made| made.indexes.clone()).unwrap_or_default());
    }
    for index in gone {
        loader.execute(&format!("DROP INDEX {}", loader.qualified(index)), &doing).await?;
    }
    for columns in &lacking {
        loader.execute(&format!("CREATE INDEX ON {name} ({})", quoted(columns)), &doing).await?;
    }
    let before: BTreeSet<&String> = there.iter().map(|(index, _)| index).collect();
    let now = if lacking.is_empty() { there.clone() } else { hung::plain_indexes(loader, relation).await? };
    let ours = now
        .into_iter()
        .filter(|(index, columns)| (is_ours(index) || !before.contains(index)) && asked(columns));
    Ok(ours.map(|(index, _)| index).collect())
}

/// The keys, made after the rows are in, which is faster. The business key is checked at the end of
/// a transaction: rows may swap theirs.
pub async fn constrain(loader: &Loader<'_>, table: &StarTable) -> Result<()> {
    let name = loader.qualified(table.name().as_str());
    for key in wanted_keys(table) {
        constrain_by(loader, &name, &key).await?;
    }
    Ok(())
}

/// A key that a table of the star is to have.
struct WantedKey {
    /// `p` or `u`, as the catalog has it; a unique one is checked at the end of a transaction.
    kind: &'static str,
    columns: Vec<String>,
}

impl WantedKey {
    fn is(&self, key: &KeyThere) -> bool {
        key.kind == self.kind && (key.deferrable || self.kind == "p") && key.columns == self.columns
    }
}

fn wanted_keys(table: &StarTable) -> Vec<WantedKey> {
    let mut wanted: Vec<WantedKey> = Vec::new();
    if !table.contract.identity().is_empty() {
        wanted.push(WantedKey { kind: "p", columns: table.contract.identity() });
    }
    if table.contract.memory.surrogate.is_some() {
        wanted.push(WantedKey { kind: "u", columns: table.contract.key() });
    }
    wanted
}

/// Makes the keys that a table lacks.
pub async fn constrain_lacking(loader: &Loader<'_>, table: &StarTable) -> Result<()> {
    let name = loader.qualified(table.name().as_str());
    let there = keys_there(loader, table.name().as_str()).await?;
    for key in wanted_keys(table) {
        if !there.iter().any(|known| key.is(known)) {
            constrain_by(loader, &name, &key).await?;
        }
    }
    Ok(())
}

async fn constrain_by(loader: &Loader<'_>, name: &str, key: &WantedKey) -> Result<()> {
    let columns = quoted(&key.columns);
    let constraint = match key.kind {
        "p" => format!("PRIMARY KEY ({columns})"),
        _ => format!("UNIQUE ({columns}) DEFERRABLE INITIALLY DEFERRED"),
    };
    loader.execute(&format!("ALTER TABLE {name} ADD {constraint}"), &format!("give {name} its keys")).await
}

/// What became of an existing table's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shaped {
    pub keys: Constraints,
    /// Whether a column came or went, or got another type, so that every row is to be written.
    pub columns_changed: bool,
}

/// Gives an existing table the columns that the star has now, and takes keys away that are not its
/// keys any more. Columns and constraints that somebody else made stay; what depends on a column or
/// key of ours is its owner's affair: there is no CASCADE.
pub async fn reshape(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    made: Option<&Made>,
    same_key: bool,
) -> Result<Shaped> {
    let name = loader.qualified(table.name().as_str());
    let mut columns_changed = false;
    let there = columns_there(loader, table.name().as_str()).await?;
    let (ours, theirs): (Vec<&ColumnThere>, Vec<&ColumnThere>) = there.iter().partition(|column| {
        let wanted = columns.iter().any(|wanted| wanted.name == column.name);
        wanted || made.is_some_and(|made| made.columns.contains(&column.name))
    });
    if let Some(made) = made {
        // A column that somebody made is not overwritten because the star has one of its name now.
        let taken = columns.iter().find(|wanted| {
            !made.columns.contains(&wanted.name) && there.iter().any(|column| column.name == wanted.name)
        });
        if let Some(taken) = taken {
            let message = format!("{name} has a column {} already, which starmill did not make", taken.name);
            return Err(Error::new(ErrorKind::Store, message)
                .hint("rename that column, or give the model's another name with AS"));
        }
    }
    let keys = drop_other_keys(loader, table, made, &theirs, same_key).await?;
    let identity = table.contract.identity();
    for column in ours {
        match columns.iter().find(|wanted| wanted.name == column.name) {
            None => {
                let others = hung::on_column(loader, table.name().as_str(), &column.name, made).await?;
                if !others.is_empty() {
                    let message = format!(
                        "the star no longer has the column {} of {name}, and dropping it would drop {}, which starmill did not make",
                        column.name,
                        list(others)
                    );
                    return Err(Error::new(ErrorKind::Store, message)
                        .hint("drop what is not wanted of that by hand, and deliver again"));
                }
                let statement = format!("ALTER TABLE {name} DROP COLUMN {}", quote(&column.name));
                loader.execute(&statement, &format!("drop the column {} of {name}", column.name)).await?;
                columns_changed = true;
            }
            Some(wanted) if wanted.type_name == column.type_name => {}
            Some(wanted) => {
                retype(loader, &name, wanted, identity.contains(&column.name)).await?;
                columns_changed = true;
            }
        }
    }
    for column in columns.iter().filter(|column| there.iter().all(|known| known.name != column.name)) {
        let statement = format!("ALTER TABLE {name} ADD COLUMN {} {}", quote(&column.name), column.type_name);
        loader.execute(&statement, &format!("add the column {} to {name}", column.name)).await?;
        columns_changed = true;
    }
    let demanding = theirs.iter().find(|column| column.demands_a_value);
    if let Some(column) = demanding {
        let message = format!(
            "{name} has the column {}, which starmill did not make, which must have a value, and has no default",
            column.name
        );
        let help = format!(
            "give it a default: ALTER TABLE {name} ALTER COLUMN {} SET DEFAULT …; or drop its NOT NULL",
            quote(&column.name)
        );
        return Err(Error::new(ErrorKind::Store, message).hint(help));
    }
    Ok(Shaped { keys, columns_changed })
}

/// Another type in place, so that indexes, checks, grants and comments stay. The merge fills the column
/// anew, so values that cannot be cast need not be kept; those of a key are needed to know its rows again.
async fn retype(loader: &Loader<'_>, name: &str, wanted: &Column, is_key: bool) -> Result<()> {
    let column = quote(&wanted.name);
    let doing = format!("retype the column {} of {name}", wanted.name);
    let alter = |using: &str| {
        format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE {0} USING {using}::{0}", wanted.type_name)
    };
    if is_key {
        return loader.execute(&alter(&column), &doing).await;
    }
    loader.execute("SAVEPOINT starmill_retype", &doing).await?;
    if let Err(error) = loader.execute(&alter(&column), &doing).await {
        // Whoever holds the table says nothing about its values.
        if error.is_busy() {
            return Err(error);
        }
        loader.execute("ROLLBACK TO SAVEPOINT starmill_retype", &doing).await?;
        loader.execute(&alter("NULL"), &doing).await?;
    }
    loader.execute("RELEASE SAVEPOINT starmill_retype", &doing).await
}

/// A column of the target's table.
#[derive(Debug)]
struct ColumnThere {
    name: String,
    type_name: String,
    /// It has no default, and must not be NULL.
    demands_a_value: bool,
}

async fn columns_there(loader: &Loader<'_>, table: &str) -> Result<Vec<ColumnThere>> {
    let query = "SELECT a.attname, format_type(a.atttypid, a.atttypmod), \
                a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' \
         FROM pg_attribute AS a \
         JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = loader.client.query(query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its columns"))?;
    let column = |row: &tokio_postgres::Row| ColumnThere {
        name: row.get(0),
        type_name: row.get(1),
        demands_a_value: row.get(2),
    };
    Ok(rows.iter().map(column).collect())
}

/// Whether a table of the target has all of the star's columns.
pub async fn has_columns(loader: &Loader<'_>, table: &StarTable) -> Result<bool> {
    let there = columns_there(loader, table.name().as_str()).await?;
    Ok(table.schema().fields().iter().all(|field| there.iter().any(|column| column.name == *field.name())))
}

/// The columns of a table that the star has in another type.
pub async fn retyped(loader: &Loader<'_>, table: &str, columns: &[Column]) -> Result<Vec<String>> {
    let there = columns_there(loader, table).await?;
    let differs = |column: &&ColumnThere| {
        columns.iter().any(|wanted| wanted.name == column.name && wanted.type_name != column.type_name)
    };
    Ok(there.iter().filter(differs).map(|column| column.name.clone()).collect())
}

/// A primary or unique key of the target's table.
struct KeyThere {
    name: String,
    kind: String,
    deferrable: bool,
    columns: Vec<String>,
}

async fn keys_there(loader: &Loader<'_>, table: &str) -> Result<Vec<KeyThere>> {
    let query = "SELECT k.conname, k.contype::text, k.condeferrable, \
                array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c(number, place) \
                      JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY c.place) \
         FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND k.contype IN ('p', 'u')";
    let rows = loader.client.query(query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its keys"))?;
    let key = |row: &tokio_postgres::Row| KeyThere {
        name: row.get(0),
        kind: row.get(1),
        deferrable: row.get(2),
        columns: row.get(3),
    };
    Ok(rows.iter().map(key).collect())
}

/// Drops a table's keys of our own making when they are not those of the star.
async fn drop_other_keys(
    loader: &Loader<'_>,
    table: &StarTable,
    made: Option<&Made>,
    theirs: &[&ColumnThere],
    same_key: bool,
) -> Result<Constraints> {
    let there = keys_there(loader, table.name().as_str()).await?;
    // Before receipts told, only starmill made a key that is checked at the end of a transaction.
    let identity = table.contract.identity();
    // A table has one primary key: one on our columns is ours whatever somebody called it.
    let is_ours = |key: &&KeyThere| match made {
        Some(made) => made.constraints.contains(&key.name) || (key.kind == "p" && key.columns == identity),
        None => key.kind == "p" || key.deferrable,
    };
    let wanted = wanted_keys(table);
    let ours: Vec<&KeyThere> = there.iter().filter(is_ours).collect();
    let has_all = wanted.iter().all(|key| ours.iter().any(|known| key.is(known)));
    let name = loader.qualified(table.name().as_str());
    let only_wanted = ours.iter().all(|known| wanted.iter().any(|key| key.is(known)));
    if only_wanted && has_all {
        return Ok(Constraints::Kept);
    }
    if only_wanted && same_key && !theirs.is_empty() {
        // Its rows are told apart as before. Without columns of others they are written anew, which mends more.
        return Ok(Constraints::Lacking);
    }
    if !theirs.is_empty() {
        let names = list(theirs.iter().map(|column| &column.name));
        let message = format!(
            "the key of {name} changed, so its rows are not known again, and the values of {names}, which starmill did not make, would be lost"
        );
        return Err(Error::new(ErrorKind::Store, message)
            .hint("keep those values in a table of their own, drop the columns, and deliver again"));
    }
    let referring = hung::referring(loader, table.name().as_str()).await?;
    if !referring.is_empty() {
        let message = format!(
            "the key of {name} changed, so its rows are written anew, and {} would lose or refuse theirs",
            list(referring)
        );
        return Err(Error::new(ErrorKind::Store, message)
            .hint("drop those foreign keys, deliver again, and make them anew on the new key"));
    }
    let doing = format!("drop the old keys of {name}");
    for key in ours {
        let drop = format!("ALTER TABLE {name} DROP CONSTRAINT {}", quote(&key.name));
        loader.execute(&drop, &doing).await?;
        // A primary key leaves its columns NOT NULL behind.
        for column in key.columns.iter().filter(|_| key.kind == "p") {
            let nullable = format!("ALTER TABLE {name} ALTER COLUMN {} DROP NOT NULL", quote(column));
            loader.execute(&nullable, &doing).await?;
        }
    }
    Ok(Constraints::Dropped)
}

/// What starmill made of a table, so that what others made is told apart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Made {
    pub columns: BTreeSet<String>,
    pub constraints: BTreeSet<String>,
    #[serde(default)]
    pub indexes: BTreeSet<String>,
    /// Which table it was. A restored database gives the same table another number.
    #[serde(default)]
    pub oid: Option<u32>,
    /// What was said of its columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub comments: BTreeMap<String, String>,
    /// What was said of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Whether the table of its name is not the one that was delivered: somebody dropped that, and made another. It has
/// another number, and none of the keys that were made.
pub async fn is_another(loader: &Loader<'_>, table: &str, made: &Made) -> Result<bool> {
    let Some(oid) = made.oid else { return Ok(false) };
    if hung::oid(loader, table).await? == Some(oid) {
        return Ok(false);
    }
    if made.constraints.is_empty() {
        let there = columns_there(loader, table).await?;
        return Ok(made.columns.iter().any(|made| there.iter().all(|column| column.name != *made)));
    }
    let there = keys_there(loader, table).await?;
    Ok(there.iter().all(|key| !made.constraints.contains(&key.name)))
}

/// What is ours of a table once its delivery is done: the star's columns, and the keys on them.
pub async fn made(
    loader: &Loader<'_>,
    table: &StarTable,
    before: Option<&Made>,
    indexes: BTreeSet<String>,
) -> Result<Made> {
    let columns = table.schema().fields().iter().map(|field| field.name().clone()).collect();
    let keys = keys_there(loader, table.name().as_str()).await?;
    let ours = |key: &&KeyThere| {
        let known = before.is_some_and(|made| made.constraints.contains(&key.name));
        let primary = key.kind == "p" && key.columns == table.contract.identity();
        let business = table.contract.memory.surrogate.is_some()
            && key.deferrable
            && key.columns == table.contract.key();
        known || primary || business
    };
    let constraints = keys.iter().filter(ours).map(|key| key.name.clone()).collect();
    let oid = hung::oid(loader, table.name().as_str()).await?;
    let description = Some(describe::of_table(loader, table));
    Ok(Made { columns, constraints, indexes, oid, comments: describe::comments(table), description })
}
