//! How the source's schema changed since the last run, and which models that touches. It is told
//! before a row is read.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::design::Read;
use super::origin::{ReadColumn, TableRead};
use crate::name::{ModelName, SourceTable, list};
use crate::pipeline::catalog::{Catalog, Relation, SourceColumn};

/// One change of a table that the last run read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChange {
    pub table: SourceTable,
    #[serde(flatten)]
    pub kind: ChangeKind,
    /// The models that used what changed, or use what was added.
    pub models: BTreeSet<ModelName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ChangeKind {
    TableDropped,
    Added {
        column: String,
        data_type: String,
    },
    Dropped {
        column: String,
        data_type: String,
    },
    Retyped {
        column: String,
        from: String,
        to: String,
    },
    /// It stands in the same place and has the same type; only its name is another.
    ProbablyRenamed {
        column: String,
        to: String,
    },
}

impl SchemaChange {
    /// Whether something that was there is so no more.
    pub fn takes_away(&self) -> bool {
        !matches!(self.kind, ChangeKind::Added { .. })
    }
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        match &self.kind {
            ChangeKind::TableDropped => write!(f, "the table {table} is gone")?,
            ChangeKind::Added { column, data_type } => write!(f, "{table}.{column} ({data_type}) was added")?,
            ChangeKind::Dropped { column, data_type } => write!(f, "{table}.{column} ({data_type}) is gone")?,
            ChangeKind::Retyped { column, from, to } => write!(f, "{table}.{column} was {from} and is {to}")?,
            ChangeKind::ProbablyRenamed { column, to } => {
                write!(f, "{table}.{column} was probably renamed to {to}")?
            }
        }
        match self.models.is_empty() {
            true => f.write_str("; no model uses it"),
            false => write!(f, "; used by {}", list(&self.models)),
        }
    }
}

/// Every change of the tables that the last run read, in their order. `used_by` tells who uses a
/// column now, where that is known.
pub fn changes(
    known: &[TableRead],
    catalog: &Catalog,
    now: &dyn Fn(&SourceTable) -> Option<Read>,
) -> Vec<SchemaChange> {
    let mut changes = Vec::new();
    // A snapshot of an older starmill doesn't say what there was.
    for read in known.iter().filter(|read| !read.schema.is_empty()) {
        match catalog.relations.get(&read.table) {
            None => changes.push(SchemaChange {
                table: read.table.clone(),
                kind: ChangeKind::TableDropped,
                models: read.schema.iter().flat_map(|column| column.used_by.iter().cloned()).collect(),
            }),
            Some(relation) => changes.extend(of_table(read, relation, now(&read.table).as_ref())),
        }
    }
    changes
}

fn of_table(read: &TableRead, relation: &Relation, now: Option<&Read>) -> Vec<SchemaChange> {
    let change = |kind, models| SchemaChange { table: read.table.clone(), kind, models };
    let was = |name: &str| read.schema.iter().any(|column| column.name == name);
    let mut added: Vec<&SourceColumn> = relation.columns.iter().filter(|column| !was(&column.name)).collect();
    let gone: Vec<&ReadColumn> =
        read.schema.iter().filter(|column| relation.column(&column.name).is_none()).collect();
    let mut found = Vec::new();
    for column in &read.schema {
        let models = column.used_by.clone();
        let name = column.name.clone();
        let kind = match relation.column(&column.name) {
            Some(same) if same.type_name == column.type_name => continue,
            Some(other) => ChangeKind::Retyped {
                column: name,
                from: column.type_name.clone(),
                to: other.type_name.clone(),
            },
            None => match successor(column, &added, gone.len()) {
                Some(at) => ChangeKind::ProbablyRenamed { column: name, to: added.remove(at).name.clone() },
                None => ChangeKind::Dropped { column: name, data_type: column.type_name.clone() },
            },
        };
        found.push(change(kind, models));
    }
    for column in added {
        let models = now.and_then(|read| read.used_by.get(&column.name)).cloned().unwrap_or_default();
        let kind = ChangeKind::Added { column: column.name.clone(), data_type: column.type_name.clone() };
        found.push(change(kind, models));
    }
    found
}

/// The new column that an old one became: the one in its place, which a rename keeps; or the only
/// new one, if it is the only one that went. Both only with the same type.
fn successor(gone: &ReadColumn, added: &[&SourceColumn], all_gone: usize) -> Option<usize> {
    let same_type = |column: &&SourceColumn| column.type_name == gone.type_name;
    let in_place = added.iter().position(|column| column.number == gone.number && same_type(column));
    let only = (added.len() == 1 && all_gone == 1).then(|| added.iter().position(same_type)).flatten();
    in_place.or(only)
}
