//! The SQL that starmill writes around a model: surrogate keys, lookups, first-seen values, order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;

use super::session::{STAR, star_reference};
use crate::name::{ModelName, quote_identifier as quote};
use crate::pipeline::Pipeline;
use crate::pipeline::model::{Body, Model};

/// The rows that a model's own SELECT gives.
pub fn model_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "model", model.as_str())
}

/// The values that were given once to a model's keys.
pub fn registry_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "registry", model.as_str())
}

/// A registry's columns: the key, the surrogate if the model is a dimension, the first-seen columns.
pub fn registry_schema(model: &Model, raw: &Schema) -> SchemaRef {
    let field =
        |name: &str| raw.field_with_name(name).ok().map(|f| Field::new(name, f.data_type().clone(), true));
    let mut fields: Vec<Field> = model.key.iter().filter_map(|column| field(&column.value)).collect();
    if let Some(surrogate) = model.surrogate() {
        fields.push(Field::new(surrogate, DataType::Int64, true));
    }
    fields.extend(model.first_seen.iter().filter_map(|column| field(&column.value)));
    Arc::new(Schema::new(fields))
}

/// The keys that the registry doesn't have yet, in business-key order, with what they are given:
/// the next surrogates after `highest`, and the first-seen values as the model gives them now.
pub fn new_registrations_sql(model: &Model, highest: i64) -> String {
    let keys: Vec<String> = model.key.iter().map(|column| quote(&column.value)).collect();
    let mut given: Vec<String> = keys.iter().map(|key| format!("n.{key}")).collect();
    let order = given.join(", ");
    if let Some(surrogate) = model.surrogate() {
        let number = format!("{highest} + row_number() OVER (ORDER BY {order})");
        given.push(format!("CAST({number} AS BIGINT) AS {}", quote(surrogate)));
    }
    given.extend(model.first_seen.iter().map(|column| format!("n.{}", quote(&column.value))));
    let mut wanted = keys.clone();
    wanted.extend(model.first_seen.iter().map(|column| quote(&column.value)));
    let same: Vec<String> = keys.iter().map(|key| format!("r.{key} = m.{key}")).collect();
    let whole: Vec<String> = keys.iter().map(|key| format!("m.{key} IS NOT NULL")).collect();
    format!(
        "SELECT {} FROM (SELECT DISTINCT {} FROM {} AS m WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS r WHERE {})) AS n ORDER BY {order}",
        given.join(", "),
        wanted.iter().map(|column| format!("m.{column}")).collect::<Vec<_>>().join(", "),
        model_reference(&model.name).to_quoted_string(),
        whole.join(" AND "),
        registry_reference(&model.name).to_quoted_string(),
        same.join(" AND "),
    )
}

/// Whether the published SELECT ends with a column that tells the rows that the registry doesn't know
/// yet. A dimension needs none: its new keys are numbered before.
pub fn is_flagged(model: &Model) -> bool {
    model.registered() && model.surrogate().is_none()
}

const FLAG: &str = "starmill: new";

/// The SELECT of what is published, over the model's own rows, in the published order.
pub fn published_sql(
    pipeline: &Pipeline,
    model: &Model,
    raw: &Schema,
    published: &BTreeMap<ModelName, SchemaRef>,
) -> String {
    let registered = model.registered();
    let first_seen = |name: &str| model.first_seen.iter().any(|column| column.value == name);
    let known =
        model.key.first().map(|key| format!("r.{} IS NOT NULL", quote(&key.value))).unwrap_or_default();
    let mut columns: Vec<String> = Vec::new();
    if let Some(surrogate) = model.surrogate() {
        columns.push(format!("r.{}", quote(surrogate)));
    }
    for field in raw.fields() {
        let name = quote(field.name());
        columns.push(match first_seen(field.name()) {
            true => format!("CASE WHEN {known} THEN r.{name} ELSE m.{name} END AS {name}"),
            false => format!("m.{name} AS {name}"),
        });
    }
    let mut joins = String::new();
    if registered {
        let same: Vec<String> = model
            .key
            .iter()
            .map(|column| quote(&column.value))
            .map(|key| format!("r.{key} = m.{key}"))
            .collect();
        let registry = registry_reference(&model.name).to_quoted_string();
        joins.push_str(&format!(" LEFT JOIN {registry} AS r ON {}", same.join(" AND ")));
    }
    for (index, lookup) in model.lookups().iter().enumerate() {
        let Some(dimension) = pipeline.model(&lookup.dimension) else { continue };
        let Some(surrogate) = dimension.surrogate() else { continue };
        let is_calendar = matches!(dimension.body, Body::Calendar { .. });
        let integer = if is_calendar { "INT" } else { "BIGINT" };
        columns.push(format!(
            "coalesce(l{index}.{}, CAST(-1 AS {integer})) AS {}",
            quote(surrogate),
            quote(&lookup.column.value)
        ));
        let same: Vec<String> = lookup
            .on
            .iter()
            .map(|(key, column)| {
                let ours = format!("m.{}", quote(&column.value));
                let theirs = format!("l{index}.{}", quote(key));
                match (is_date(published, &lookup.dimension, key), is_timestamp(raw, &column.value)) {
                    // The day in the pipeline's zone, which the column's type carries.
                    (true, true) => format!("CAST({ours} AS DATE) = {theirs}"),
                    _ => format!("{ours} = {theirs}"),
                }
            })
            .collect();
        let dimension = star_reference(&lookup.dimension).to_quoted_string();
        joins.push_str(&format!(" LEFT JOIN {dimension} AS l{index} ON {}", same.join(" AND ")));
    }
    if is_flagged(model) {
        columns.push(format!("NOT ({known}) AS {}", quote(FLAG)));
    }
    let mut sql = format!(
        "SELECT {} FROM {} AS m{joins}",
        columns.join(", "),
        model_reference(&model.name).to_quoted_string()
    );
    if model.surrogate().is_some() {
        let nulls = vec!["NULL"; raw.fields().len()].join(", ");
        sql = format!("{sql} UNION ALL SELECT CAST(-1 AS BIGINT), {nulls}");
    }
    format!("SELECT * FROM ({sql}) AS p ORDER BY {}", order(model, raw))
}

/// `order_by`, made unique by the key; all columns when there is neither.
fn order(model: &Model, raw: &Schema) -> String {
    let mut columns = model.sort_columns();
    if model.key.is_empty() {
        let rest = raw.fields().iter().map(|field| field.name().clone());
        columns.extend(rest.filter(|name| !model.order_by.iter().any(|column| &column.value == name)));
    }
    columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
}

fn is_date(published: &BTreeMap<ModelName, SchemaRef>, dimension: &ModelName, key: &str) -> bool {
    let schema = published.get(dimension);
    schema
        .and_then(|schema| schema.field_with_name(key).ok())
        .is_some_and(|field| field.data_type() == &DataType::Date32)
}

fn is_timestamp(raw: &Schema, column: &str) -> bool {
    raw.field_with_name(column).is_ok_and(|field| matches!(field.data_type(), DataType::Timestamp(..)))
}
