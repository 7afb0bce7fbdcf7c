//! What is said to a lake's home, in SQL: its tables, its rows, and what is to change of them.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Row, Rows};
use super::spec::{self, Kind};
use crate::name::{quote_identifier, quote_literal};

/// Which SQL a home reads.
#[derive(Debug, Clone)]
pub enum Tongue {
    Sqlite,
    /// In a schema of this name.
    Postgres(String),
}

/// Rows that one statement brings.
const AT_ONCE: usize = 500;

impl Tongue {
    /// A table of the catalog, as its home names it.
    fn table(&self, name: &str) -> String {
        match self {
            Tongue::Sqlite => quote_identifier(name),
            Tongue::Postgres(schema) => format!("{}.{}", quote_identifier(schema), quote_identifier(name)),
        }
    }

    fn type_of(&self, kind: Kind) -> &'static str {
        match (self, kind) {
            (_, Kind::Integer) => "BIGINT",
            (_, Kind::Key) => "BIGINT PRIMARY KEY",
            (_, Kind::Text) => "VARCHAR",
            (Tongue::Sqlite, Kind::Boolean) => "BIGINT",
            (Tongue::Sqlite, Kind::Uuid | Kind::Instant) => "VARCHAR",
            (Tongue::Postgres(_), Kind::Boolean) => "BOOLEAN",
            (Tongue::Postgres(_), Kind::Uuid) => "UUID",
            (Tongue::Postgres(_), Kind::Instant) => "TIMESTAMPTZ",
        }
    }

    /// What makes each table of a catalog, where it is missing.
    pub fn create_each(&self) -> impl Iterator<Item = (&'static str, String)> {
        spec::TABLES.iter().map(|(name, columns)| {
            let column =
                |(name, kind): &(&str, Kind)| format!("{} {}", quote_identifier(name), self.type_of(*kind));
            let columns: Vec<String> = columns.iter().map(column).collect();
            (*name, format!("CREATE TABLE IF NOT EXISTS {} ({})", self.table(name), columns.join(", ")))
        })
    }

    /// The same for all of them.
    pub fn create(&self) -> Vec<String> {
        self.create_each().map(|(_, statement)| statement).collect()
    }

    /// Asks for the rows of every table that is filled, each value as text.
    pub fn select(&self) -> Vec<(&'static str, String)> {
        let select = |(name, _): &(&'static str, &[&str])| {
            let value = |(column, kind): &(&str, Kind)| {
                let column = quote_identifier(column);
                match (self, kind) {
                    (Tongue::Sqlite, _) => format!("CAST({column} AS TEXT)"),
                    (Tongue::Postgres(_), Kind::Boolean) => format!("{column}::int::text"),
                    (Tongue::Postgres(_), Kind::Instant) => {
                        format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US\"+00\"')")
                    }
                    (Tongue::Postgres(_), _) => format!("{column}::text"),
                }
            };
            let values: Vec<String> = spec::columns(name).iter().map(value).collect();
            (*name, format!("SELECT {} FROM {}", values.join(", "), self.table(name)))
        };
        spec::FILLED.iter().map(select).collect()
    }

    /// What turns some rows into others.
    pub fn change(&self, from: &Rows, to: &Rows) -> Vec<String> {
        let mut statements = Vec::new();
        for (table, by) in spec::FILLED {
            let places: Vec<usize> = by.iter().filter_map(|column| spec::place(table, column)).collect();
            let (old, new) = (grouped(from.get(table), &places), grouped(to.get(table), &places));
            let goes: Vec<&Row> =
                old.iter().filter(|(key, rows)| new.get(*key) != Some(*rows)).map(|(key, _)| key).collect();
            let comes: Vec<&&Row> = new
                .iter()
                .filter(|(key, rows)| old.get(*key) != Some(*rows))
                .flat_map(|(_, rows)| rows)
                .collect();
            for some in goes.chunks(AT_ONCE) {
                statements.push(self.delete(table, by, some));
            }
            for some in comes.chunks(AT_ONCE) {
                let rows: Vec<String> = some.iter().map(|row| format!("({})", literals(row))).collect();
                statements.push(format!("INSERT INTO {} VALUES {}", self.table(table), rows.join(", ")));
            }
        }
        statements
    }

    fn delete(&self, table: &str, by: &[&str], keys: &[&Row]) -> String {
        let one = |key: &&Row| {
            let equal = by.iter().zip(*key).map(|(column, value)| match value {
                Some(value) => format!("{} = {}", quote_identifier(column), quote_literal(value)),
                None => format!("{} IS NULL", quote_identifier(column)),
            });
            format!("({})", equal.collect::<Vec<_>>().join(" AND "))
        };
        if let [column] = by {
            let values = keys.iter().filter_map(|key| key.first()?.as_deref()).map(quote_literal);
            let values: Vec<String> = values.collect();
            let column = quote_identifier(column);
            return format!("DELETE FROM {} WHERE {column} IN ({})", self.table(table), values.join(", "));
        }
        let keys: Vec<String> = keys.iter().map(one).collect();
        format!("DELETE FROM {} WHERE {}", self.table(table), keys.join(" OR "))
    }
}

/// Rows by what they are replaced by.
fn grouped<'a>(rows: Option<&'a BTreeSet<Row>>, places: &[usize]) -> BTreeMap<Row, BTreeSet<&'a Row>> {
    let mut groups: BTreeMap<Row, BTreeSet<&Row>> = BTreeMap::new();
    for row in rows.into_iter().flatten() {
        let key = places.iter().map(|place| row.get(*place).cloned().flatten()).collect();
        groups.entry(key).or_default().insert(row);
    }
    groups
}

fn literals(row: &Row) -> String {
    let values = row.iter().map(|value| value.as_deref().map_or("NULL".to_owned(), quote_literal));
    values.collect::<Vec<_>>().join(", ")
}
