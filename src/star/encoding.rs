//! How the columns of a Parquet file are encoded, chosen by their first rows: with a dictionary where
//! values recur; numbers, dates and instants otherwise as differences from their neighbours, which is
//! smaller than plain values, and leaves zstd less to do.
//!
//! Texts that don't recur stay plain. With their lengths apart (`DELTA_LENGTH_BYTE_ARRAY`) they would be
//! some 4 % smaller, but not every reader knows that; `DELTA_BINARY_PACKED` is as old, and known widely:
//! <https://parquet.apache.org/docs/file-format/implementationstatus/>.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::pipeline::Encodings;

/// Rows of a row group: what a reader can skip by statistics, and what the writer holds in memory.
const GROUP_ROWS: usize = 131_072;
/// Values that a writer takes at once.
const WRITE_ROWS: usize = 8_192;
/// The share of different values among the first rows above which a dictionary is not tried.
const RECURRING: f64 = 0.6;
/// Fewer values than this say nothing.
const SAMPLE: usize = 64;
/// Bits by which a dictionary's index must be shorter than a packed difference: what it takes to look
/// every value up is not paid back by less.
const WORTH_A_LOOKUP: f64 = 1.0;

/// The properties of a file whose first rows are these.
pub fn properties(first: &RecordBatch, sort: &[String], encodings: Encodings) -> WriterProperties {
    let schema = first.schema();
    let sorting = sort.iter().filter_map(|name| {
        let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
        Some(SortingColumn { column_idx, descending: false, nulls_first: false })
    });
    // Nested columns shift the numbers of the leaves, so the order is stated for flat tables.
    let flat = schema.fields().iter().all(|field| !field.data_type().is_nested());
    let common = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_write_batch_size(WRITE_ROWS)
        .set_created_by(concat!("starmill ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_sorting_columns(flat.then(|| sorting.collect()));
    let encoded = |builder: WriterPropertiesBuilder, (name, column): (&String, &ArrayRef)| {
        let path = ColumnPath::new(vec![name.clone()]);
        // Extremes leave NaN out, and a reader that believes them skips rows.
        let builder = match column.data_type().is_floating() {
            true => builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None),
            false => builder,
        };
        let width = integer_bits(column.data_type()).filter(|_| encodings == Encodings::Delta);
        match (dictionary_pays(column, width), width) {
            (true, _) => builder,
            (false, None) => builder.set_column_dictionary_enabled(path, false),
            // Only here: its encoder takes a megabyte for each column.
            (false, Some(_)) => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        }
    };
    let names = schema.fields().iter().map(|field| field.name());
    names.zip(first.columns()).fold(common, encoded).build()
}

/// The width of the integers that Parquet stores such values as, if it does.
fn integer_bits(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Date32 => Some(32),
        DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) => Some(64),
        DataType::Decimal128(..=9, _) => Some(32),
        DataType::Decimal128(..=18, _) => Some(64),
        _ => None,
    }
}

/// Whether the values of a column recur so often that a dictionary pays. `width` is that of integers
/// which are differences otherwise.
fn dictionary_pays(column: &ArrayRef, width: Option<usize>) -> bool {
    let present = column.len() - column.null_count();
    if present < SAMPLE {
        return true;
    }
    let Some(different) = different(column) else { return true };
    let recurs = (different as f64) < RECURRING * present as f64;
    let otherwise = width.and_then(|width| Some(packed_bits(&integers(column)?, width)));
    recurs && otherwise.is_none_or(|bits| (different as f64).log2().ceil() + WORTH_A_LOOKUP < bits)
}

/// How many values differ.
fn different(column: &ArrayRef) -> Option<usize> {
    // A fixed seed: the same rows give the same file.
    let mut hashes = vec![0; column.len()];
    create_hashes([column], &RandomState::with_seed(0), &mut hashes).ok()?;
    Some(hashes.into_iter().collect::<HashSet<u64>>().len())
}

/// The values that are there, as the integers that Parquet stores.
fn integers(column: &ArrayRef) -> Option<Vec<i64>> {
    match column.data_type() {
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>().iter().flatten();
            values.map(|value| i64::try_from(value).ok()).collect()
        }
        _ => {
            let values = cast(column, &DataType::Int64).ok()?;
            Some(values.as_primitive::<Int64Type>().iter().flatten().collect())
        }
    }
}

/// Bits that a packed difference takes on average: in blocks of four times as many values as an integer
/// has bits, the least difference is taken off all, and each quarter has a width of its own.
fn packed_bits(values: &[i64], width: usize) -> f64 {
    let differences: Vec<i128> =
        values.windows(2).map(|pair| i128::from(pair[1]) - i128::from(pair[0])).collect();
    let mut bits = 0;
    for block in differences.chunks(4 * width) {
        let least = block.iter().min().copied().unwrap_or(0);
        for quarter in block.chunks(width) {
            let spread = quarter.iter().max().map_or(0, |most| (most - least).unsigned_abs());
            bits += quarter.len() * (u128::BITS - spread.leading_zeros()) as usize;
        }
    }
    bits as f64 / differences.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_packed_difference_is_as_wide_as_what_is_left_of_it() {
        let steady: Vec<i64> = (0..10_000).map(|n| n * 31_000_000).collect();
        assert_eq!(packed_bits(&steady, 64), 0.0);
        let jumping: Vec<i64> = (0..10_000).map(|n| if n % 2 == 0 { i64::MAX } else { i64::MIN }).collect();
        assert_eq!(packed_bits(&jumping, 64), 65.0);
        let outlier: Vec<i64> = (0..257).map(|n| if n == 200 { 1 << 40 } else { n }).collect();
        assert!((30.0..42.0).contains(&packed_bits(&outlier, 64)), "one of 256 spoils its block");
        assert_eq!(packed_bits(&[], 64) + packed_bits(&[7], 32), 0.0);
    }

    fn few(n: i64) -> i64 {
        (n * 7_919) % 50 * 1_000_000_007
    }

    fn steps(n: i64) -> i64 {
        n / 4
    }

    fn all(n: i64) -> i64 {
        n
    }

    #[test]
    fn a_dictionary_is_for_what_recurs_and_not_for_what_differs_by_little() {
        let numbers =
            |of: fn(i64) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..8_192).map(of))) };
        let texts = |of: fn(i64) -> i64| -> ArrayRef {
            Arc::new(StringArray::from_iter_values((0..8_192).map(|n| format!("text {}", of(n)))))
        };
        assert!(dictionary_pays(&numbers(few), Some(64)));
        assert!(!dictionary_pays(&numbers(steps), Some(64)));
        assert!(dictionary_pays(&numbers(steps), None), "where differences are not to be used");
        assert!(!dictionary_pays(&numbers(all), None));
        assert!(dictionary_pays(&texts(few), None) && !dictionary_pays(&texts(all), None));
    }
}
