//! What a table of the star is, besides its rows. The design makes it, the manifest keeps it, and whoever comes after asks
//! nothing else: the audit, the diff, the delivery, questions.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::memory::Memory;
use crate::name::ModelName;
use crate::pipeline::Spanned;
use crate::pipeline::model::{Body, Model};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableContract {
    pub name: ModelName,
    /// dimension, fact, summary; or registry, whose tables are nobody's but ours.
    pub role: String,
    pub memory: Memory,
    /// Indexes that a target gets besides the key's.
    pub indexes: Vec<Vec<String>>,
    /// What the rows are sorted by, ascending, NULLs last.
    pub sort: Vec<String>,
    pub schema: SchemaRef,
    /// The model's SELECT; none for a calendar.
    pub sql: Option<String>,
}

impl TableContract {
    /// The contract of a model that gives these columns (`raw`) and publishes those.
    pub fn of(model: &Model, raw: &Schema, schema: SchemaRef) -> TableContract {
        let index = |index: &Vec<Spanned<String>>| index.iter().map(|column| column.value.clone()).collect();
        TableContract {
            name: model.name.clone(),
            role: model.role.word().to_owned(),
            memory: Memory::of(model),
            indexes: model.indexes.iter().map(index).collect(),
            sort: sort(model, raw),
            schema,
            sql: match &model.body {
                Body::Sql(sql) => Some(sql.document.text.to_string()),
                Body::Calendar(_) => None,
            },
        }
    }

    /// That of files of a model's registry.
    pub fn of_registry(name: &ModelName, schema: SchemaRef) -> TableContract {
        TableContract {
            name: name.clone(),
            role: "registry".to_owned(),
            memory: Memory::default(),
            indexes: Vec::new(),
            sort: Vec::new(),
            schema,
            sql: None,
        }
    }

    /// The same table with its columns in other types or zones.
    pub fn with_schema(&self, schema: SchemaRef) -> Arc<TableContract> {
        Arc::new(TableContract { schema, ..self.clone() })
    }

    /// What tells the table's rows apart; nothing of a summary that is compared by whole rows.
    pub fn key(&self) -> Vec<String> {
        self.memory.row_key()
    }

    pub fn surrogate(&self) -> Option<&str> {
        self.memory.surrogate.as_deref()
    }

    /// What tells a target's rows apart: the surrogate, the business key, or nothing.
    pub fn identity(&self) -> Vec<String> {
        match &self.memory.surrogate {
            Some(surrogate) => vec![surrogate.clone()],
            None => self.key(),
        }
    }
}

/// The columns that a table's rows are sorted by: `order_by` and the key, or all of them when there is no key.
pub fn sort(model: &Model, raw: &Schema) -> Vec<String> {
    let mut columns = model.sort_columns();
    if model.key.is_empty() {
        let rest = raw.fields().iter().map(|field| field.name().clone());
        let rest: Vec<String> = rest.filter(|name| !columns.contains(name)).collect();
        columns.extend(rest);
    }
    columns
}
