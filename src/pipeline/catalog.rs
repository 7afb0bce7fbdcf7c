//! What a source offers: its relations, their columns, and how each column travels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::{SourceTable, nearest};
use crate::pgcopy::mapping::{Mapping, Unmappable};
use crate::pgcopy::mask::Mask;

/// Every relation of the source that a pipeline could name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub relations: BTreeMap<SourceTable, Relation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub kind: RelationKind,
    pub columns: Vec<SourceColumn>,
    /// The columns of its primary key, when rows are held to it at once; none when it has no such key.
    pub primary_key: Vec<String>,
    /// The planner's guess, where the source has one.
    pub estimated_rows: Option<u64>,
    pub bytes: Option<u64>,
    /// Foreign tables among its partitions and children or below a view, and materialized views
    /// below a view: what a lock of the relation doesn't hold.
    pub beneath: Vec<Beneath>,
}

/// A relation that another one reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beneath {
    pub table: SourceTable,
    pub kind: RelationKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
    File,
}

impl RelationKind {
    pub fn word(self) -> &'static str {
        match self {
            RelationKind::Table => "table",
            RelationKind::PartitionedTable => "partitioned table",
            RelationKind::View => "view",
            RelationKind::MaterializedView => "materialized view",
            RelationKind::ForeignTable => "foreign table",
            RelationKind::File => "file",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    pub name: String,
    /// Its place in the table, which a rename keeps.
    pub number: i32,
    pub type_name: String,
    /// Of an enum, in the order in which they were declared.
    pub labels: Vec<String>,
    pub mapping: Result<Mapping, Unmappable>,
    pub not_null: bool,
    /// What stands in the place of its values.
    pub mask: Option<Mask>,
}

impl Catalog {
    /// The first of `schemas` that has the table.
    pub fn find(&self, schemas: &[String], table: &str) -> Option<SourceTable> {
        let candidates = schemas.iter().map(|schema| SourceTable::new(schema.as_str(), table));
        candidates.into_iter().find(|candidate| self.relations.contains_key(candidate))
    }

    /// `orders`, found in `schemas`, or `public.orders`.
    pub fn named(&self, schemas: &[String], name: &str) -> Option<SourceTable> {
        let full = self.relations.keys().find(|table| table.to_string() == name);
        full.cloned().or_else(|| self.find(schemas, name))
    }

    /// What a misspelt table may have meant, and which tables there are, for a help line.
    pub fn suggestion(&self, schemas: &[String], name: &str) -> String {
        let shown: Vec<String> = self
            .relations
            .keys()
            .map(|table| match schemas.contains(&table.schema) {
                true => table.table.clone(),
                false => table.to_string(),
            })
            .collect();
        let near = nearest(name, shown.iter().map(String::as_str));
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        match shown.len() {
            0 => format!("the source has no tables in {}", schemas.join(", ")),
            1..=20 => format!("{near}tables of the source: {}", shown.join(", ")),
            many => format!("{near}the source has {many} tables, such as {}", shown[..12].join(", ")),
        }
    }
}

impl Relation {
    pub fn column(&self, name: &str) -> Option<&SourceColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}
