//! What a table of the star is, besides its rows. The design makes it, the manifest keeps it, and whoever comes after asks
//! nothing else: the audit, the diff, the delivery, questions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::additivity::NotAdditive;
use super::lineage::Lineage;
use super::memory::Memory;
use crate::dialect::told::in_sql;
use crate::name::ModelName;
use crate::pipeline::Spanned;
use crate::pipeline::fact::FactKind;
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
    pub description: Option<String>,
    /// Whether its columns change only by the user's word.
    pub frozen: bool,
    /// The columns of an accumulating fact's milestones.
    pub milestones: Vec<String>,
    /// What is known of its columns besides their types, by name.
    pub notes: BTreeMap<String, ColumnNote>,
}

/// What is known of a column besides its name and type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnNote {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_additive: Option<NotAdditive>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_null: bool,
    /// The dimension whose member it names, where it is looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimension: Option<String>,
    /// The columns of the source that it is made of, as `users.name`; a table alone where its rows are counted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub made_of: BTreeSet<String>,
}

impl ColumnNote {
    pub fn is_empty(&self) -> bool {
        *self == ColumnNote::default()
    }

    /// What people are told of the column; none where there is nothing to tell.
    pub fn told(&self) -> Option<String> {
        let not_additive = self.not_additive.as_ref().map(ToString::to_string);
        let told: Vec<String> = self.description.iter().cloned().chain(not_additive).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// How a column of a table differs from the one that was published: none where there is, or was, no such column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractChange {
    pub column: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl fmt::Display for ContractChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = &self.column;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{column} {before} → {after}"),
            (Some(before), None) => write!(f, "{column} ({before}) is gone"),
            (None, after) => write!(f, "{column} ({}) is new", after.as_deref().unwrap_or_default()),
        }
    }
}

/// What the design found out of a model's columns.
#[derive(Debug, Clone, Default)]
pub struct ColumnsKnown {
    pub additivity: BTreeMap<String, NotAdditive>,
    pub lineage: Lineage,
}

impl TableContract {
    /// The contract of a model that gives these columns (`raw`) and publishes those.
    pub fn of(model: &Model, raw: &Schema, schema: SchemaRef, known: &ColumnsKnown) -> TableContract {
        let mut notes: BTreeMap<String, ColumnNote> = BTreeMap::new();
        for (column, made_of) in
            known.lineage.iter().filter(|(name, _)| schema.column_with_name(name).is_some())
        {
            notes.entry(column.clone()).or_default().made_of.clone_from(made_of);
        }
        for (column, not_additive) in &known.additivity {
            notes.entry(column.clone()).or_default().not_additive = Some(not_additive.clone());
        }
        for lookup in model.lookups() {
            let note = notes.entry(lookup.column.value.clone()).or_default();
            note.dimension = Some(lookup.dimension.to_string());
        }
        for declared in &model.declared.columns {
            let note = notes.entry(declared.name.value.clone()).or_default();
            note.description.clone_from(&declared.description);
            note.not_null = declared.not_null;
        }
        notes.retain(|_, note| !note.is_empty());
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
                Body::Junk(_) | Body::Calendar(_) | Body::Times(_) => None,
            },
            description: model.declared.description.clone(),
            frozen: model.declared.frozen,
            milestones: match model.fact_kind() {
                Some(FactKind::Accumulating(milestones)) => {
                    milestones.iter().map(|column| column.value.clone()).collect()
                }
                _ => Vec::new(),
            },
            notes,
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
            description: None,
            frozen: false,
            milestones: Vec::new(),
            notes: BTreeMap::new(),
        }
    }

    /// How the columns differ from those that a table was published with.
    pub fn changes(&self, before: &Schema) -> Vec<ContractChange> {
        let told = |schema: &Schema, name: &str| {
            let field = schema.field_with_name(name).ok()?;
            Some(in_sql(&field.data_type().to_string()))
        };
        let names = before
            .fields()
            .iter()
            .chain(self.schema.fields().iter().filter(|field| before.field_with_name(field.name()).is_err()));
        let changes = names.map(|field| ContractChange {
            column: field.name().clone(),
            before: told(before, field.name()),
            after: told(&self.schema, field.name()),
        });
        changes.filter(|change| change.before != change.after).collect()
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
