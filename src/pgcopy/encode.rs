//! Record batches into binary COPY, for delivery into Postgres.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::{EPOCH_DAYS, EPOCH_MICROS, numeric};

/// The Postgres type that holds an Arrow type exactly, or none.
pub fn postgres_type(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 => "text".to_owned(),
        DataType::Binary => "bytea".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Time64(TimeUnit::Microsecond) => "time without time zone".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp without time zone".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::List(element) if !matches!(element.data_type(), DataType::List(_)) => {
            format!("{}[]", postgres_type(element.data_type())?)
        }
        _ => return None,
    })
}

/// The number by which Postgres knows the type of an array's elements.
fn type_oid(data_type: &DataType) -> Option<u32> {
    Some(match data_type {
        DataType::Boolean => 16,
        DataType::Binary => 17,
        DataType::Int64 => 20,
        DataType::Int16 => 21,
        DataType::Int32 => 23,
        DataType::Utf8 => 25,
        DataType::Float32 => 700,
        DataType::Float64 => 701,
        DataType::Date32 => 1082,
        DataType::Time64(_) => 1083,
        DataType::Timestamp(_, None) => 1114,
        DataType::Timestamp(_, Some(_)) => 1184,
        DataType::Decimal128(..) => 1700,
        _ => return None,
    })
}

/// An array of one dimension, counted from 1; one without elements has none.
fn array(elements: &dyn Array, out: &mut Vec<u8>) -> bool {
    let (Some(oid), Ok(length)) = (type_oid(elements.data_type()), i32::try_from(elements.len())) else {
        return false;
    };
    put(out, i32::from(length > 0).to_be_bytes());
    put(out, i32::from(elements.null_count() > 0).to_be_bytes());
    put(out, oid.to_be_bytes());
    if length > 0 {
        put(out, length.to_be_bytes());
        put(out, 1_i32.to_be_bytes());
    }
    (0..elements.len()).all(|at| field(elements, at, out).is_some())
}

/// COPY's header.
pub fn header(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
}

/// COPY's trailer.
pub fn trailer(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i16).to_be_bytes());
}

/// Appends all rows of a batch whose columns all have a [`postgres_type`].
///
/// A timestamp or date outside Postgres's calendar is an error that names the column.
pub fn rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), String> {
    let fields = i16::try_from(batch.num_columns()).map_err(|_| "too many columns".to_owned())?;
    for row in 0..batch.num_rows() {
        out.extend_from_slice(&fields.to_be_bytes());
        for (index, column) in batch.columns().iter().enumerate() {
            field(column.as_ref(), row, out).ok_or_else(|| {
                let name = batch.schema().field(index).name().clone();
                format!("column {name}: a value is outside what Postgres holds")
            })?;
        }
    }
    Ok(())
}

/// A value with its length before it; none where Postgres does not hold it.
fn field(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> Option<()> {
    if column.is_null(row) {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Some(());
    }
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    if !value(column, row, out) {
        return None;
    }
    let length = i32::try_from(out.len() - start - 4).ok()?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Some(())
}

fn value(column: &dyn Array, row: usize, out: &mut Vec<u8>) -> bool {
    match column.data_type() {
        DataType::Boolean => out.push(u8::from(column.as_boolean().value(row))),
        DataType::Int16 => put(out, column.as_primitive::<Int16Type>().value(row).to_be_bytes()),
        DataType::Int32 => put(out, column.as_primitive::<Int32Type>().value(row).to_be_bytes()),
        DataType::Int64 => put(out, column.as_primitive::<Int64Type>().value(row).to_be_bytes()),
        DataType::Float32 => put(out, column.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => put(out, column.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Decimal128(_, scale) => {
            numeric::encode(column.as_primitive::<Decimal128Type>().value(row), *scale, out);
        }
        DataType::Utf8 => out.extend_from_slice(column.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => out.extend_from_slice(column.as_binary::<i32>().value(row)),
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().value(row).checked_sub(EPOCH_DAYS);
            return days.map(|days| put(out, days.to_be_bytes())).is_some();
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            put(out, column.as_primitive::<Time64MicrosecondType>().value(row).to_be_bytes());
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let micros = micros.checked_sub(EPOCH_MICROS);
            return micros.map(|micros| put(out, micros.to_be_bytes())).is_some();
        }
        DataType::List(_) => return array(column.as_list::<i32>().value(row).as_ref(), out),
        _ => return false,
    }
    true
}

fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&bytes);
}
