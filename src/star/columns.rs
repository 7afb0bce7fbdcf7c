//! The numbers of a table's columns, by which engines tell them apart: a column keeps its number for the table's whole
//! life, and a number is never given again, so that nobody is shown one column's values under another's name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use serde::{Deserialize, Serialize};

/// What was given to a table's columns so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnIds {
    /// The highest that was ever given.
    pub last: i32,
    /// Those of the columns that there are.
    pub ids: BTreeMap<String, i32>,
}

impl ColumnIds {
    /// The numbers of a table that has these columns now: one that left and comes back is another column.
    pub fn of(&self, schema: &Schema) -> ColumnIds {
        let mut last = self.last;
        let mut numbered = |field: &Arc<Field>| {
            let known = self.ids.get(field.name()).copied();
            let id = known.unwrap_or_else(|| {
                last += 1;
                last
            });
            (field.name().clone(), id)
        };
        let ids = schema.fields().iter().map(&mut numbered).collect();
        ColumnIds { last, ids }
    }

    /// A schema whose files tell them.
    pub fn told(&self, schema: &Schema) -> SchemaRef {
        let field = |field: &Arc<Field>| match self.ids.get(field.name()) {
            Some(id) => {
                let id = [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())];
                Arc::new(field.as_ref().clone().with_metadata(HashMap::from(id)))
            }
            None => Arc::clone(field),
        };
        Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
    }
}

/// A schema as it is computed with, whatever its files tell besides.
pub fn untold(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_metadata(HashMap::new()));
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    fn schema(names: &[&str]) -> Schema {
        Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>())
    }

    fn shown(ids: &ColumnIds) -> Vec<(&str, i32)> {
        ids.ids.iter().map(|(name, id)| (name.as_str(), *id)).collect()
    }

    #[test]
    fn a_number_is_a_columns_for_life_and_never_given_again() {
        let first = ColumnIds::default().of(&schema(&["c", "a", "b"]));
        assert_eq!(shown(&first), [("a", 2), ("b", 3), ("c", 1)]);
        let without = first.of(&schema(&["b", "c"]));
        assert_eq!(shown(&without), [("b", 3), ("c", 1)]);
        let again = without.of(&schema(&["a", "b", "c", "d"]));
        assert_eq!(shown(&again), [("a", 4), ("b", 3), ("c", 1), ("d", 5)]);
        assert_eq!(again.of(&schema(&["d", "c", "b", "a"])), again, "whatever order they stand in");
    }
}
