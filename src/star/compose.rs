//! The SQL that starmill writes around a model: surrogate keys, lookups, first-seen values, order.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::TableReference;

use super::book::{self, Book};
use super::junk;
use super::memory::Memory;
use super::session::{STAR, star_reference};
use super::times;
use crate::dialect::refuse::kinds;
use crate::name::{ModelName, quote_identifier as quote, quote_literal};
use crate::pipeline::Pipeline;
use crate::pipeline::model::{COMBINATION, IS_INFERRED, Model};

/// The rows that a model's own SELECT gives.
pub fn model_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "model", model.as_str())
}

/// The values that were given once to a model's keys.
pub fn registry_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "registry", model.as_str())
}

/// The versions that a dimension's history has, and the last of each member.
pub fn versions_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "versions", model.as_str())
}

pub fn last_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "last", model.as_str())
}

/// What members were called before they had a history.
pub fn numbers_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "numbers", model.as_str())
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
    order: &[String],
    published: &BTreeMap<ModelName, SchemaRef>,
) -> String {
    let zone = pipeline.deployment.timezone.name();
    if let Some(book) = Book::of(&model.name, &Memory::of(model), raw, zone) {
        return ordered(&book.published_sql(raw, &unknown_member(model, raw)), order);
    }
    let registered = model.registered();
    let first_seen = |name: &str| model.first_seen.iter().any(|column| column.value == name);
    let known =
        model.key.first().map(|key| format!("r.{} IS NOT NULL", quote(&key.value))).unwrap_or_default();
    let mut columns: Vec<String> = Vec::new();
    if let Some(surrogate) = model.surrogate() {
        columns.push(format!("r.{}", quote(surrogate)));
    }
    // As the row is published: what it was when it was first seen, where that is kept.
    let shown = |name: &str| {
        let name_quoted = quote(name);
        match first_seen(name) {
            true => format!("CASE WHEN {known} THEN r.{name_quoted} ELSE m.{name_quoted} END"),
            false => format!("m.{name_quoted}"),
        }
    };
    let moved_out = model.moved_out();
    for field in raw.fields().iter().filter(|field| !moved_out.contains(&field.name().as_str())) {
        columns.push(format!("{} AS {}", shown(field.name()), quote(field.name())));
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
        let is_built_in = dimension.calendar().is_some() || dimension.times().is_some();
        let integer = if is_built_in { "INT" } else { "BIGINT" };
        columns.push(format!(
            "coalesce(l{index}.{}, CAST(-1 AS {integer})) AS {}",
            quote(surrogate),
            quote(&lookup.column.value)
        ));
        let combined = lookup
            .is_combination
            .then(|| format!("l{index}.{COMBINATION} = {}", junk::combination_of(&lookup.on)));
        let same: Vec<String> = lookup
            .on
            .iter()
            .filter(|_| combined.is_none())
            .map(|(key, column)| {
                let ours = shown(&column.value);
                if let Some(times) = dimension.times() {
                    return format!("l{index}.{} = {}", quote(surrogate), times::key_of(times, &ours));
                }
                let theirs = format!("l{index}.{}", quote(key));
                match (is_date(published, &lookup.dimension, key), is_timestamp(raw, &column.value)) {
                    // The day in the pipeline's zone, which the column's type carries.
                    (true, true) => format!("CAST({ours} AS DATE) = {theirs}"),
                    _ => format!("{ours} = {theirs}"),
                }
            })
            .chain(combined.clone())
            .collect();
        let versions = dimension.history().map(|_| {
            let time = lookup
                .as_of
                .as_ref()
                .map(|column| book::instant_of(&shown(&column.value), &column.value, raw, zone));
            book::asked_of(&format!("l{index}"), time.as_deref())
        });
        let (dimension, versions) =
            (star_reference(&lookup.dimension).to_quoted_string(), versions.unwrap_or_default());
        joins.push_str(&format!(" LEFT JOIN {dimension} AS l{index} ON {}{versions}", same.join(" AND ")));
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
        sql = format!("{sql} UNION ALL SELECT CAST(-1 AS BIGINT), {}", unknown_member(model, raw));
    }
    ordered(&sql, order)
}

/// The model's columns in the unknown member: its texts say so, the rest is NULL; its key stays what nobody has.
pub fn unknown_member(model: &Model, raw: &Schema) -> String {
    let value = |field: &FieldRef| {
        let is_key = model.key.iter().any(|key| key.value == *field.name());
        if field.name() == IS_INFERRED {
            return "FALSE".to_owned();
        }
        match is_text(field.data_type()) && !is_key && kinds::is_text_field(field) {
            true => quote_literal(model.unknown()),
            false => "NULL".to_owned(),
        }
    };
    raw.fields().iter().map(value).collect::<Vec<_>>().join(", ")
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn ordered(sql: &str, order: &[String]) -> String {
    let order: Vec<String> = order.iter().map(|column| quote(column)).collect();
    format!("SELECT * FROM ({sql}) AS p ORDER BY {}", order.join(", "))
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
