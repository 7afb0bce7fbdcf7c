//! The shape of one table of the target: its columns, keys and indexes, made to fit the star's.

use super::Loader;
use crate::error::Result;
use crate::name::{quote_identifier as quote, quote_literal};
use crate::star::table::{StarTable, TableShape};

pub struct Column {
    pub name: String,
    pub type_name: String,
}

/// Whether a table's keys are those of the star, or were dropped to be made anew after the merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraints {
    Kept,
    Dropped,
}

/// What tells a target's rows apart: the surrogate, the business key, or nothing.
pub fn identity(shape: &TableShape) -> Vec<String> {
    match &shape.surrogate {
        Some(surrogate) => vec![surrogate.clone()],
        None => shape.key.clone(),
    }
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

pub async fn create(
    loader: &Loader<'_>,
    table: &StarTable,
    shape: &TableShape,
    columns: &[Column],
) -> Result<()> {
    let name = loader.qualified(table.name.as_str());
    loader
        .execute(&format!("CREATE TABLE {name} ({})", definitions(columns)), &format!("create {name}"))
        .await?;
    let comment =
        format!("{} of the pipeline {}, delivered by starmill", shape.role, loader.shipment.pipeline);
    let comment = format!("COMMENT ON TABLE {name} IS {}", quote_literal(&comment));
    loader.execute(&comment, &format!("describe {name}")).await
}

/// The indexes that the pipeline asks for, made after the rows are in.
pub async fn index(loader: &Loader<'_>, table: &StarTable, shape: &TableShape) -> Result<()> {
    let name = loader.qualified(table.name.as_str());
    for columns in &shape.indexes {
        let index = format!("CREATE INDEX ON {name} ({})", quoted(columns));
        loader.execute(&index, &format!("index {name}")).await?;
    }
    Ok(())
}

/// The keys, made after the rows are in, which is faster. The business key is checked at the end of
/// a transaction: rows may swap theirs.
pub async fn constrain(loader: &Loader<'_>, table: &StarTable, shape: &TableShape) -> Result<()> {
    let name = loader.qualified(table.name.as_str());
    let doing = format!("give {name} its keys");
    let identity = identity(shape);
    if !identity.is_empty() {
        loader
            .execute(&format!("ALTER TABLE {name} ADD PRIMARY KEY ({})", quoted(&identity)), &doing)
            .await?;
    }
    if shape.surrogate.is_some() {
        let unique =
            format!("ALTER TABLE {name} ADD UNIQUE ({}) DEFERRABLE INITIALLY DEFERRED", quoted(&shape.key));
        loader.execute(&unique, &doing).await?;
    }
    Ok(())
}

/// Gives an existing table the columns that the star has now, and takes keys away that are not its
/// keys any more. What depends on a column or key is its owner's affair: there is no CASCADE.
pub async fn reshape(
    loader: &Loader<'_>,
    table: &StarTable,
    shape: &TableShape,
    columns: &[Column],
) -> Result<Constraints> {
    let name = loader.qualified(table.name.as_str());
    let there = columns_there(loader, table.name.as_str()).await?;
    let constraints = drop_other_keys(loader, table, shape, &there).await?;
    let identity = identity(shape);
    for (column, type_name) in &there {
        let quoted_column = quote(column);
        let (statement, doing) = match columns.iter().find(|wanted| wanted.name == *column) {
            None => (
                format!("ALTER TABLE {name} DROP COLUMN {quoted_column}"),
                format!("drop the column {column} of {name}"),
            ),
            Some(wanted) if wanted.type_name == *type_name => continue,
            // A key column's values are needed to know its rows again.
            Some(wanted) if identity.contains(column) => (
                format!(
                    "ALTER TABLE {name} ALTER COLUMN {quoted_column} TYPE {0} USING {quoted_column}::{0}",
                    wanted.type_name
                ),
                format!("retype the key column {column} of {name}"),
            ),
            // All others are filled anew by the merge, whatever they held.
            Some(wanted) => (
                format!(
                    "ALTER TABLE {name} DROP COLUMN {quoted_column}, ADD COLUMN {quoted_column} {}",
                    wanted.type_name
                ),
                format!("retype the column {column} of {name}"),
            ),
        };
        loader.execute(&statement, &doing).await?;
    }
    for column in columns.iter().filter(|column| there.iter().all(|(name, _)| *name != column.name)) {
        let statement = format!("ALTER TABLE {name} ADD COLUMN {} {}", quote(&column.name), column.type_name);
        loader.execute(&statement, &format!("add the column {} to {name}", column.name)).await?;
    }
    Ok(constraints)
}

async fn columns_there(loader: &Loader<'_>, table: &str) -> Result<Vec<(String, String)>> {
    let query = "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a \
         JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = loader.client.query(query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its columns"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Drops a table's primary and unique keys when they are not those of the star.
async fn drop_other_keys(
    loader: &Loader<'_>,
    table: &StarTable,
    shape: &TableShape,
    there: &[(String, String)],
) -> Result<Constraints> {
    let query = "SELECT k.conname, k.contype::text, k.condeferrable, \
                array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c(number, place) \
                      JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = c.number ORDER BY c.place) \
         FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND k.contype IN ('p', 'u')";
    let rows = loader.client.query(query, &[&loader.target.schema, &table.name.as_str()]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its keys"))?;
    let mut wanted: Vec<(&str, bool, Vec<String>)> = Vec::new();
    if !identity(shape).is_empty() {
        wanted.push(("p", false, identity(shape)));
    }
    if shape.surrogate.is_some() {
        wanted.push(("u", true, shape.key.clone()));
    }
    let found = rows.iter().map(|row| (row.get::<_, &str>(1), row.get(2), row.get::<_, Vec<String>>(3)));
    let found: Vec<(&str, bool, Vec<String>)> = found.collect();
    if found.len() == wanted.len() && wanted.iter().all(|key| found.contains(key)) {
        return Ok(Constraints::Kept);
    }
    let name = loader.qualified(table.name.as_str());
    let doing = format!("drop the old keys of {name}");
    for row in &rows {
        let drop = format!("ALTER TABLE {name} DROP CONSTRAINT {}", quote(row.get(0)));
        loader.execute(&drop, &doing).await?;
    }
    // A primary key leaves its columns NOT NULL behind.
    for (column, _) in there {
        let nullable = format!("ALTER TABLE {name} ALTER COLUMN {} DROP NOT NULL", quote(column));
        loader.execute(&nullable, &doing).await?;
    }
    Ok(Constraints::Dropped)
}
