//! Rows on their way into a file, cut alike whatever batches they came in: so the same rows give the
//! same bytes, and large values don't pile up.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// A batch ends with the row whose texts and binary values bring it to so many bytes.
const BATCH_BYTES: usize = 4 << 20;

pub struct Cutter {
    schema: SchemaRef,
    pending: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Cutter {
    pub fn new(schema: SchemaRef) -> Cutter {
        Cutter { schema, pending: Vec::new(), rows: 0, bytes: 0 }
    }

    /// Takes rows, and gives the batches that they fill.
    pub fn push(&mut self, mut rest: RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut full = Vec::new();
        while rest.num_rows() > 0 {
            let rows = self.rows_that_fit(&rest);
            self.rows += rows;
            self.bytes += bytes(&rest, rows);
            self.pending.push(rest.slice(0, rows));
            rest = rest.slice(rows, rest.num_rows() - rows);
            if self.rows == BATCH_ROWS || self.bytes >= BATCH_BYTES {
                full.extend(self.finish()?);
            }
        }
        Ok(full)
    }

    /// The rows that fill no batch.
    pub fn finish(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        (self.rows, self.bytes) = (0, 0);
        let mut pending = std::mem::take(&mut self.pending);
        match pending.len() {
            // What has the right size already needs no copy.
            0 | 1 => Ok(pending.pop()),
            _ => concat_batches(&self.schema, &pending).map(Some),
        }
    }

    fn rows_that_fit(&self, batch: &RecordBatch) -> usize {
        let most = batch.num_rows().min(BATCH_ROWS - self.rows);
        let fills = |rows: usize| self.bytes + bytes(batch, rows) >= BATCH_BYTES;
        if !fills(most) {
            return most;
        }
        // Bytes only grow with the rows, so the row that fills the batch is found by halving.
        let (mut short, mut enough) = (0, most);
        while enough - short > 1 {
            let middle = short + (enough - short) / 2;
            if fills(middle) {
                enough = middle;
            } else {
                short = middle;
            }
        }
        enough
    }
}

/// Bytes of variable length in the first rows.
fn bytes(batch: &RecordBatch, rows: usize) -> usize {
    batch.columns().iter().map(|column| column_bytes(column.as_ref(), 0, rows)).sum()
}

fn column_bytes(column: &dyn Array, start: usize, end: usize) -> usize {
    match column.data_type() {
        DataType::Utf8 => length(column, column.as_string::<i32>().value_offsets(), start, end),
        DataType::Binary => length(column, column.as_binary::<i32>().value_offsets(), start, end),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            let present = (start..end).filter(|row| list.is_valid(*row));
            let values = present.map(|row| {
                let (first, last) =
                    (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                (last - first) * size_of::<u64>() + column_bytes(list.values(), first, last)
            });
            values.sum()
        }
        // Of what is published, all else is of fixed length.
        _ => 0,
    }
}

/// What a NULL leaves between its offsets is not written, so it doesn't count.
fn length(column: &dyn Array, offsets: &[i32], start: usize, end: usize) -> usize {
    match column.null_count() {
        0 => (offsets[end] - offsets[start]) as usize,
        _ => {
            let present = (start..end).filter(|row| column.is_valid(*row));
            present.map(|row| (offsets[row + 1] - offsets[row]) as usize).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
    use arrow::datatypes::{Field, Int64Type, Schema};

    use super::*;

    fn batch(rows: usize, wide: impl Fn(usize) -> usize) -> RecordBatch {
        let texts = (0..rows).map(|row| (row % 7 > 0).then(|| "x".repeat(wide(row))));
        let lists = (0..rows).map(|row| Some(vec![Some(row as i64); row % 3]));
        let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("list", list.data_type().clone(), true),
        ]);
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        RecordBatch::try_new(Arc::new(schema), vec![ids, Arc::new(StringArray::from_iter(texts)), list])
            .unwrap()
    }

    #[test]
    fn what_lies_under_a_null_is_no_part_of_a_batch() {
        let hidden = StringArray::from_iter_values((0..3_000).map(|_| "h".repeat(5_000)));
        let (offsets, values, _) = hidden.into_parts();
        let nulls = (0..3_000).map(|row| row % 3 == 0).collect();
        let text: ArrayRef = Arc::new(StringArray::new(offsets, values, Some(nulls)));
        let told = RecordBatch::try_from_iter([("text", Arc::clone(&text))]).unwrap();
        let plain: ArrayRef = Arc::new(StringArray::from_iter(text.as_string::<i32>().iter()));
        let plain = RecordBatch::try_from_iter([("text", plain)]).unwrap();
        let rows = |batches: Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>();
        assert_eq!(rows(cut(&told)), rows(cut(&plain)));
        assert_eq!(rows(cut(&told)).len(), 2, "a third of 15 MB");
    }

    /// The batches that come of rows handed over in pieces of any size.
    fn cut(rows: &RecordBatch) -> Vec<RecordBatch> {
        let mut cutter = Cutter::new(rows.schema());
        let (mut cut, mut at) = (Vec::new(), 0);
        while at < rows.num_rows() {
            let piece = fastrand::usize(1..20_000).min(rows.num_rows() - at);
            cut.extend(cutter.push(rows.slice(at, piece)).unwrap());
            at += piece;
        }
        cut.extend(cutter.finish().unwrap());
        cut
    }

    #[test]
    fn however_rows_come_they_are_cut_alike_and_none_is_lost() {
        fastrand::seed(59);
        for (rows, wide) in [(30_000, 3), (9_000, 2_000), (50, 3 << 20), (0, 1)] {
            let whole = batch(rows, |row| (row * 7_919) % (2 * wide));
            let first = cut(&whole);
            for _ in 0..20 {
                assert_eq!(cut(&whole), first, "{rows} rows of some {wide} bytes");
            }
            assert_eq!(concat_batches(&whole.schema(), &first).unwrap(), whole);
            for batch in &first {
                assert!(batch.num_rows() <= BATCH_ROWS);
                let without_the_last = bytes(batch, batch.num_rows() - 1);
                assert!(without_the_last < BATCH_BYTES, "{without_the_last}");
            }
            for batch in first.iter().rev().skip(1) {
                let full = batch.num_rows() == BATCH_ROWS || bytes(batch, batch.num_rows()) >= BATCH_BYTES;
                assert!(full, "{} rows", batch.num_rows());
            }
        }
    }
}
