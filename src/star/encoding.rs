//! How the columns of a Parquet file are encoded: with a dictionary where values recur, plainly where
//! they don't. Both are what every reader reads; a dictionary of values that hardly recur costs more
//! time than all else of the writing, and saves nothing.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// Rows of a row group: what a reader can skip by statistics, and what the writer holds in memory.
const GROUP_ROWS: usize = 131_072;
/// Values that a writer takes at once.
const WRITE_ROWS: usize = 8_192;
/// The share of different values among the first rows above which a dictionary is not tried.
const RECURRING: f64 = 0.6;
/// Fewer values than this say nothing.
const SAMPLE: usize = 1_024;

/// The properties of a file whose first rows are these.
pub fn properties(first: &RecordBatch, sort: &[String]) -> WriterProperties {
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
    let columns = schema.fields().iter().zip(first.columns());
    let plain = columns.filter(|(_, column)| !recurs(column)).map(|(field, _)| field.name());
    let without = |builder: WriterPropertiesBuilder, name: &String| {
        builder.set_column_dictionary_enabled(ColumnPath::new(vec![name.clone()]), false)
    };
    plain.fold(common, without).build()
}

/// Whether the values of a column recur so often that a dictionary pays.
fn recurs(column: &ArrayRef) -> bool {
    let present = column.len() - column.null_count();
    if present < SAMPLE {
        return true;
    }
    // A fixed seed: the same rows give the same file.
    let mut hashes = vec![0; column.len()];
    let state = RandomState::with_seed(0);
    if create_hashes([column], &state, &mut hashes).is_err() {
        return true;
    }
    let different: HashSet<u64> = hashes.into_iter().collect();
    (different.len() as f64) < RECURRING * present as f64
}
