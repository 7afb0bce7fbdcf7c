//! The types that are published: those that every reader of Parquet opens, exactly.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Field, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

/// The published type of what a model gives, or what helps when there is none.
pub fn published_type(data_type: &DataType) -> Result<DataType, &'static str> {
    Ok(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => DataType::Int16,
        DataType::UInt16 | DataType::Int32 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 | DataType::Int64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float32,
        DataType::Boolean | DataType::Float64 | DataType::Date32 => data_type.clone(),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        // The instant is the same in any zone; UTC is what all readers understand.
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => match (precision, scale) {
            (precision, scale @ 0..) if *precision <= 38 => DataType::Decimal128(*precision, *scale),
            _ => {
                return Err(
                    "cast it to a numeric of at most 38 digits, which states those of a quotient: CAST(x AS numeric(20,6)), or round(x, 6)",
                );
            }
        },
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            DataType::List(Arc::new(Field::new("element", published_type(field.data_type())?, true)))
        }
        DataType::Dictionary(_, values) => published_type(values)?,
        DataType::Null => return Err("give the NULL a type: CAST(NULL AS text)"),
        _ => return Err("cast it to text, or publish its fields as columns"),
    })
}

/// Text of json may hold what no text of Postgres does.
fn has_null_character(array: &ArrayRef) -> bool {
    if let Some(lists) = array.as_list_opt::<i32>() {
        return has_null_character(lists.values());
    }
    let Some(texts) = array.as_string_opt::<i32>() else { return false };
    let (first, last) = (texts.value_offsets().first(), texts.value_offsets().last());
    match (first, last) {
        (Some(first), Some(last)) => texts.value_data()[*first as usize..*last as usize].contains(&0),
        _ => false,
    }
}

/// Rows in these columns, by their names: what they have not is NULL, and what does not fit is an error.
pub fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => cast_with_options(column, field.data_type(), &exact),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>, _>>()?)
}

/// A batch in the published schema. A value that the published type cannot hold is an error that
/// names its column.
pub fn publish_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let exact = CastOptions { safe: false, ..Default::default() };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (column, field) in batch.columns().iter().zip(schema.fields()) {
        let array = if column.data_type() == field.data_type() {
            Arc::clone(column)
        } else {
            cast_with_options(column, field.data_type(), &exact)
                .map_err(|error| format!("column {}: {error}", field.name()))?
        };
        // The engine's decimal sums may pass the precision that their type declares.
        if let DataType::Decimal128(precision, _) = field.data_type()
            && array.null_count() < array.len()
        {
            array
                .as_primitive::<Decimal128Type>()
                .validate_decimal_precision(*precision)
                .map_err(|error| format!("column {}: {error}", field.name()))?;
        }
        if has_null_character(&array) {
            return Err(format!(
                "column {}: a text has a null character, which Postgres refuses",
                field.name()
            ));
        }
        columns.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| error.to_string())
}
