//! Which columns are a table's primary key, as a planner hears of it: a field says so until the table is made, and the
//! table says it from then on.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Constraint, Constraints, Result as EngineResult};

/// How a field says that it is one of its table's primary key.
const KEY: &str = "starmill: key";

/// Marks a column of a primary key.
pub fn of_key(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(KEY.to_owned(), String::new());
    field.with_metadata(metadata)
}

pub fn key_of(schema: &SchemaRef) -> Constraints {
    let fields = schema.fields().iter().enumerate();
    let columns: Vec<usize> =
        fields.filter(|(_, field)| field.metadata().contains_key(KEY)).map(|(at, _)| at).collect();
    Constraints::new_unverified(if columns.is_empty() {
        Vec::new()
    } else {
        vec![Constraint::PrimaryKey(columns)]
    })
}

/// The planner hears of a key once: a column is no other because of it.
pub fn without_key(schema: SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|field| !field.metadata().contains_key(KEY)) {
        return schema;
    }
    let plain = schema.fields().iter().map(|field| {
        let mut metadata = field.metadata().clone();
        metadata.remove(KEY);
        field.as_ref().clone().with_metadata(metadata)
    });
    Arc::new(Schema::new(plain.collect::<Vec<Field>>()))
}

/// A batch as the table's schema tells of it.
pub fn told(batch: &RecordBatch, schema: &SchemaRef) -> EngineResult<RecordBatch> {
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &rows)?)
}
