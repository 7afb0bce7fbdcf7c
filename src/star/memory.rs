//! What a table of the star remembers of its rows from night to night: to which key a surrogate was given, and the values
//! that a row had when it was first seen. The registry keeps it, and it outlives every snapshot.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::compose::{model_reference, registry_reference};
use super::schema::published_type;
use super::versions::{self, Versions};
use crate::name::{ModelName, list, quote_identifier as quote};
use crate::pipeline::model::{Model, VALID_FROM};

/// What is kept of a table's rows, and by which key they are known again. A model may be away for a night and come back
/// otherwise, so this is kept with the registry's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub key: Vec<String>,
    pub surrogate: Option<String>,
    pub first_seen: Vec<String>,
    /// Which versions of its rows it keeps; none of most tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Versions>,
}

impl Memory {
    pub fn of(model: &Model) -> Memory {
        Memory {
            key: model.key_columns(),
            surrogate: model.surrogate().map(str::to_owned),
            first_seen: model.first_seen.iter().map(|column| column.value.clone()).collect(),
            history: Versions::of(model),
        }
    }

    /// What tells the published rows apart: the business key, and of a history the version's beginning.
    pub fn row_key(&self) -> Vec<String> {
        let mut key = self.key.clone();
        key.extend(self.history.as_ref().map(|_| VALID_FROM.to_owned()));
        key
    }

    /// Whether a registry of this memory can be gone on with by another: what a history tracks may change, its versions stay.
    pub fn goes_on_as(&self, other: &Memory) -> bool {
        let of = |memory: &Memory| (memory.key.clone(), memory.surrogate.clone(), memory.first_seen.clone());
        of(self) == of(other) && self.history.is_some() == other.history.is_some()
    }

    /// Whether a dimension keeps its history since, under the keys that its members have.
    pub fn begins_history_as(&self, other: &Memory) -> bool {
        let of = |memory: &Memory| (memory.key.clone(), memory.surrogate.clone());
        of(self) == of(other)
            && self.history.is_none()
            && other.history.is_some()
            && self.first_seen.is_empty()
    }

    /// The columns of its files: the key, the surrogate of a dimension, the first-seen columns; of a history whole versions.
    /// `raw` is what the model's SELECT gives, `zone` the pipeline's.
    pub fn registry_schema(&self, raw: &Schema, zone: &str) -> SchemaRef {
        if let (Some(_), Some(surrogate)) = (&self.history, &self.surrogate) {
            return versions::registry_schema(&self.key, surrogate, raw, zone);
        }
        let field = |name: &String| {
            let field = raw.field_with_name(name).ok()?;
            Some(Field::new(name, field.data_type().clone(), true))
        };
        let mut fields: Vec<Field> = self.key.iter().filter_map(field).collect();
        fields.extend(self.surrogate.iter().map(|surrogate| Field::new(surrogate, DataType::Int64, true)));
        fields.extend(self.first_seen.iter().filter_map(field));
        Arc::new(Schema::new(fields))
    }

    /// The same in the types that are published, as its files hold them.
    pub fn published_schema(&self, raw: &Schema, zone: &str) -> SchemaRef {
        let schema = self.registry_schema(raw, zone);
        let plain = schema.fields().iter().map(|field| {
            let data_type = published_type(field.data_type()).unwrap_or(field.data_type().clone());
            field.as_ref().clone().with_data_type(data_type)
        });
        Arc::new(Schema::new(plain.collect::<Vec<_>>()))
    }

    /// The keys that the registry doesn't have yet, in business-key order, with what they are given:
    /// the next surrogates after `highest`, and the first-seen values as the model gives them now.
    pub fn new_registrations_sql(&self, model: &ModelName, highest: i64) -> String {
        let keys: Vec<String> = self.key.iter().map(|column| quote(column)).collect();
        let mut given: Vec<String> = keys.iter().map(|key| format!("n.{key}")).collect();
        let order = given.join(", ");
        if let Some(surrogate) = &self.surrogate {
            let number = format!("{highest} + row_number() OVER (ORDER BY {order})");
            given.push(format!("CAST({number} AS BIGINT) AS {}", quote(surrogate)));
        }
        given.extend(self.first_seen.iter().map(|column| format!("n.{}", quote(column))));
        let mut wanted = keys.clone();
        wanted.extend(self.first_seen.iter().map(|column| quote(column)));
        let same: Vec<String> = keys.iter().map(|key| format!("r.{key} = m.{key}")).collect();
        let whole: Vec<String> = keys.iter().map(|key| format!("m.{key} IS NOT NULL")).collect();
        format!(
            "SELECT {} FROM (SELECT DISTINCT {} FROM {} AS m WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS r WHERE {})) AS n ORDER BY {order}",
            given.join(", "),
            wanted.iter().map(|column| format!("m.{column}")).collect::<Vec<_>>().join(", "),
            model_reference(model).to_quoted_string(),
            whole.join(" AND "),
            registry_reference(model).to_quoted_string(),
            same.join(" AND "),
        )
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(key {}", list(&self.key))?;
        if let Some(surrogate) = &self.surrogate {
            write!(f, ", surrogate {surrogate}")?;
        }
        if !self.first_seen.is_empty() {
            write!(f, ", first seen {}", list(&self.first_seen))?;
        }
        if let Some(history) = &self.history {
            write!(f, ", {history}")?;
        }
        f.write_str(")")
    }
}
