//! The shape of one table of the target: its columns, keys and indexes, made to fit the star's.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::hung::PlainIndex;
use super::keys::{self, KeyThere};
use super::{Loader, describe, hung};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{quote_identifier as quote, quote_literal};
use crate::pgcopy::encode;
use crate::star::table::StarTable;

#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub type_name: String,
}

/// The columns that a table of the star has in the target.
pub fn columns(table: &StarTable) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    for field in table.schema().fields() {
        let type_name = encode::postgres_type(field.data_type()).ok_or_else(|| {
            Error::new(
                ErrorKind::Store,
                format!(
                    "{}.{} is {}, which is not delivered into Postgres",
                    table.name(),
                    field.name(),
                    field.data_type()
                ),
            )
            .hint("cast the column to text in the model, or leave the target away")
        })?;
        columns.push(Column { name: field.name().clone(), type_name });
    }
    Ok(columns)
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
    let is_ours = |index: &PlainIndex| {
        made.is_some_and(|made| made.has(&made.indexes, &index.name, Some(&index.definition)))
    };
    let asked = |index: &PlainIndex| table.contract.indexes.contains(&index.columns);
    let gone: Vec<&PlainIndex> = there.iter().filter(|index| is_ours(index) && !asked(index)).collect();
    let lacking = |columns: &&Vec<String>| there.iter().all(|known| known.columns != **columns);
    let lacking: Vec<&Vec<String>> = table.contract.indexes.iter().filter(lacking).collect();
    let fits = gone.is_empty() && lacking.is_empty();
    if !fits && !hung::owns(loader, relation).await? {
        tracing::warn!(table = relation, "the role does not own the table, whose indexes stay as they are");
        return Ok(made.map(|made| made.indexes.clone()).unwrap_or_default());
    }
    for index in gone {
        loader.execute(&format!("DROP INDEX {}", loader.qualified(&index.name)), &doing).await?;
    }
    for columns in &lacking {
        loader.execute(&format!("CREATE INDEX ON {name} ({})", quoted(columns)), &doing).await?;
    }
    let ours = |index: &PlainIndex| {
        (is_ours(index) || there.iter().all(|known| known.name != index.name)) && asked(index)
    };
    if fits {
        return Ok(there.iter().filter(|index| ours(index)).map(|index| index.name.clone()).collect());
    }
    let now = hung::plain_indexes(loader, relation).await?;
    Ok(now.iter().filter(|index| ours(index)).map(|index| index.name.clone()).collect())
}

/// A column of the target's table.
#[derive(Debug)]
pub struct ColumnThere {
    pub name: String,
    /// Its number in the table, which another column of its name would not have.
    pub number: i16,
    pub type_name: String,
    pub not_null: bool,
    /// It has no default, and must not be NULL.
    pub demands_a_value: bool,
}

pub async fn columns_there(loader: &Loader<'_>, table: &str) -> Result<Vec<ColumnThere>> {
    let query = "SELECT a.attname, format_type(a.atttypid, a.atttypmod), \
                a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '', a.attnotnull, a.attnum \
         FROM pg_attribute AS a \
         JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped";
    let rows = loader.client.query(query, &[&loader.target.schema, &table]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its columns"))?;
    let column = |row: &tokio_postgres::Row| ColumnThere {
        name: row.get(0),
        type_name: row.get(1),
        demands_a_value: row.get(2),
        not_null: row.get(3),
        number: row.get(4),
    };
    Ok(rows.iter().map(column).collect())
}

/// Whether a table of the target has all of the star's columns, in their types, and, where it is known what was made, those.
pub async fn fits(loader: &Loader<'_>, table: &StarTable, made: Option<&Made>) -> Result<bool> {
    let name = table.name().as_str();
    let there = columns_there(loader, name).await?;
    let columns = columns(table)?;
    let oid = hung::oid(loader, name).await?;
    let is_made = |column: &ColumnThere| made.is_none_or(|made| made.has_column(column, oid));
    Ok(columns.iter().all(|wanted| {
        there.iter().any(|column| {
            column.name == wanted.name && column.type_name == wanted.type_name && is_made(column)
        })
    }))
}

/// Whether what tells a table's rows apart is still in the columns that were made.
pub async fn has_own(loader: &Loader<'_>, table: &StarTable, made: Option<&Made>) -> Result<bool> {
    let name = table.name().as_str();
    let Some(made) = made else { return Ok(true) };
    let (there, oid) = (columns_there(loader, name).await?, hung::oid(loader, name).await?);
    let identity = table.contract.identity();
    let own = |name: &String| there.iter().any(|column| column.name == *name && made.has_column(column, oid));
    Ok(identity.iter().all(own))
}

/// The columns of a table in which somebody's collation takes different texts for one.
pub async fn loose(loader: &Loader<'_>, table: &str) -> Result<BTreeSet<String>> {
    let query = "SELECT a.attname::text FROM pg_attribute AS a JOIN pg_collation AS c ON c.oid = a.attcollation \
         WHERE a.attrelid = $1 AND NOT a.attisdropped AND NOT c.collisdeterministic";
    let rows = loader.client.query(query, &[&hung::oid(loader, table).await?]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show its collations"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The columns of a table that the star has in another type.
pub async fn retyped(loader: &Loader<'_>, table: &str, columns: &[Column]) -> Result<Vec<String>> {
    let there = columns_there(loader, table).await?;
    let differs = |column: &&ColumnThere| {
        columns.iter().any(|wanted| wanted.name == column.name && wanted.type_name != column.type_name)
    };
    Ok(there.iter().filter(differs).map(|column| column.name.clone()).collect())
}

/// What starmill made of a table, so that what others made is told apart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Made {
    pub columns: BTreeSet<String>,
    pub constraints: BTreeSet<String>,
    #[serde(default)]
    pub indexes: BTreeSet<String>,
    /// The columns' numbers in the table: somebody may make another of its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, i16>,
    /// Keys that point at dimensions.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub foreign_keys: BTreeSet<String>,
    /// Columns that were declared NOT NULL.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub not_null: BTreeSet<String>,
    /// What the constraints and indexes were, by name: somebody may make another of its name. Older receipts don't tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub definitions: BTreeMap<String, String>,
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

impl Made {
    /// Whether a column of the table of this number is one that was made.
    pub fn has_column(&self, column: &ColumnThere, oid: Option<u32>) -> bool {
        // A table that was restored counts its columns anew.
        let number = self.numbers.get(&column.name).filter(|_| self.oid == oid);
        self.columns.contains(&column.name) && number.is_none_or(|number| *number == column.number)
    }

    /// Whether something of a name is what was made.
    pub fn has(&self, names: &BTreeSet<String>, name: &str, definition: Option<&str>) -> bool {
        let known = self.definitions.get(name).map(String::as_str);
        names.contains(name) && (known.is_none() || definition.is_none() || known == definition)
    }
}

/// What of a table's keys and indexes is ours.
#[derive(Debug, Default)]
pub struct Ours {
    pub indexes: BTreeSet<String>,
    /// Keys that were made just now.
    pub keys: BTreeSet<String>,
    /// With what they are.
    pub foreign_keys: Vec<(String, String)>,
    pub not_null: BTreeSet<String>,
}

/// Whether the table of its name is not the one that was delivered: somebody dropped that, and made another. One that was
/// restored has another number, and our columns and words.
pub async fn is_another(loader: &Loader<'_>, table: &str, made: &Made) -> Result<bool> {
    let Some(oid) = made.oid else { return Ok(false) };
    let now = hung::oid(loader, table).await?;
    if now == Some(oid) {
        return Ok(false);
    }
    let there = columns_there(loader, table).await?;
    let said = describe::said(loader, table).await?;
    let lacks = made.columns.iter().any(|made| there.iter().all(|column| column.name != *made));
    let keys = keys::there(loader, table).await?;
    let has_key = made.constraints.is_empty() || keys.iter().any(|key| made.constraints.contains(&key.name));
    Ok(lacks || !has_key || made.description.is_some() && said != made.description)
}

/// What is ours of a table once its delivery is done: the star's columns, and the keys on them.
pub async fn made(loader: &Loader<'_>, table: &StarTable, before: Option<&Made>, ours: Ours) -> Result<Made> {
    let (name, indexes) = (table.name().as_str(), ours.indexes);
    let columns: BTreeSet<String> =
        table.schema().fields().iter().map(|field| field.name().clone()).collect();
    let there = columns_there(loader, name).await?;
    let numbers = there.into_iter().filter(|column| columns.contains(&column.name));
    let numbers = numbers.map(|column| (column.name, column.number)).collect();
    let keys = keys::there(loader, name).await?;
    let keys: Vec<&KeyThere> =
        keys.iter().filter(|key| ours.keys.contains(&key.name) || key.is_ours(table, before)).collect();
    let of_indexes = hung::plain_indexes(loader, name).await?;
    let of_indexes = of_indexes.into_iter().filter(|index| indexes.contains(&index.name));
    let definitions = keys
        .iter()
        .map(|key| (key.name.clone(), key.definition.clone()))
        .chain(of_indexes.map(|index| (index.name, index.definition)))
        .chain(ours.foreign_keys.iter().cloned())
        .collect();
    Ok(Made {
        columns,
        numbers,
        constraints: keys.iter().map(|key| key.name.clone()).collect(),
        indexes,
        foreign_keys: ours.foreign_keys.into_iter().map(|(name, _)| name).collect(),
        not_null: ours.not_null,
        definitions,
        oid: hung::oid(loader, name).await?,
        comments: describe::comments(table),
        description: describe::said(loader, name)
            .await?
            .filter(|said| *said == describe::of_table(loader, table)),
    })
}
