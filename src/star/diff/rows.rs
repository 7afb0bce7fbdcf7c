//! The rows themselves that make one star's table of another's: for whoever has the one, and is to have the other.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{BatchCoalescer, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};

use super::cursor::Cursor;
use super::walk::{Sight, differences, walk};
use super::without_shared;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::star::table::StarTable;

/// Rows of one batch of changes.
const ROWS: usize = 8_192;

/// What turns a table into a later one.
#[derive(Debug, Default)]
pub struct RowChanges {
    /// Rows that are new or have other values, whole.
    pub fresh: Vec<RecordBatch>,
    /// What tells the rows apart that are gone; a row that stands elsewhere in the order is among the fresh ones, too.
    pub gone: Vec<RecordBatch>,
}

/// Whether every value of some columns is one of others of the same names, as it is.
fn is_held_by(old: &Schema, new: &Schema) -> bool {
    let holds = |(old, new): (&Arc<Field>, &Arc<Field>)| {
        old.name() == new.name() && widens(old.data_type(), new.data_type())
    };
    old.fields().len() == new.fields().len() && old.fields().iter().zip(new.fields()).all(holds)
}

/// Whether a type has every value of another, so that none is rounded, cut or refused.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64};
    match (from, to) {
        (Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) => true,
        (Decimal128(digits, scale), Decimal128(more, finer)) => {
            finer >= scale && i16::from(*more) - i16::from(*finer) >= i16::from(*digits) - i16::from(*scale)
        }
        _ => from == to,
    }
}

/// The changes between two states of a table with the same columns, in types that hold what they held, and order, whose rows are told apart by `identity`; nothing
/// when they take more than so many bytes, or the order tells no rows apart.
pub async fn row_changes(
    old: &StarTable,
    new: &StarTable,
    identity: &[String],
    most_bytes: usize,
) -> Result<Option<RowChanges>> {
    let (key, sort) = (new.contract.key(), &new.contract.sort);
    let comparable = is_held_by(old.schema(), new.schema())
        && old.contract.sort == *sort
        && !key.is_empty()
        && !identity.is_empty()
        && key.iter().all(|column| sort.contains(column));
    if !comparable {
        return Ok(None);
    }
    let rest = new.schema().fields().iter().map(|field| field.name()).filter(|name| !sort.contains(name));
    let columns: Vec<String> = sort.iter().chain(rest).cloned().collect();
    let (mut old, new) = without_shared(old, new);
    // Its values are read in the types that they have now.
    old.contract = old.contract.with_schema(Arc::clone(new.schema()));
    let old_rows = Cursor::of_files(&old, &columns, sort.len()).await?;
    let new_rows = Cursor::of_files(&new, &columns, sort.len()).await?;
    let identity = identity.iter().filter_map(|name| columns.iter().position(|column| column == name));
    let identity: Vec<usize> = identity.collect();
    let schema = new_rows.batch.schema();
    let keys = Arc::new(schema.project(&identity).or_error(ErrorKind::Bug, NEVER)?);
    let mut gathered = Gathered {
        identity,
        fresh: BatchCoalescer::new(schema, ROWS),
        gone: BatchCoalescer::new(keys, ROWS),
        changes: RowChanges::default(),
        bytes: 0,
        most_bytes,
    };
    walk(old_rows, new_rows, &mut gathered).await?;
    if gathered.is_enough() {
        return Ok(None);
    }
    gathered.finished().map(Some)
}

struct Gathered {
    /// Where in a batch the columns are that tell its rows apart.
    identity: Vec<usize>,
    fresh: BatchCoalescer,
    gone: BatchCoalescer,
    changes: RowChanges,
    bytes: usize,
    most_bytes: usize,
}

const NEVER: fn() -> String = || "rows that differ".to_owned();

fn completed(rows: &mut BatchCoalescer) -> impl Iterator<Item = RecordBatch> + '_ {
    std::iter::from_fn(|| rows.next_completed_batch())
}

impl Gathered {
    /// A copy of some rows, which keeps nothing alive of the batch that they were read in.
    fn copied(
        &mut self,
        rows: &RecordBatch,
        wanted: Range<usize>,
        only: Option<&BooleanArray>,
    ) -> Result<RecordBatch> {
        let start = wanted.start;
        let wanted = wanted.filter(|row| only.is_none_or(|only| only.value(row - start)));
        let wanted: UInt32Array = wanted.map(|row| row as u32).collect();
        let copied = take_record_batch(rows, &wanted).or_error(ErrorKind::Bug, NEVER)?;
        let bytes =
            copied.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
        self.bytes += bytes.sum::<usize>();
        Ok(copied)
    }

    fn keep_fresh(&mut self, rows: RecordBatch) -> Result<()> {
        self.fresh.push_batch(rows).or_error(ErrorKind::Bug, NEVER)?;
        self.changes.fresh.extend(completed(&mut self.fresh));
        Ok(())
    }

    fn finished(mut self) -> Result<RowChanges> {
        self.fresh.finish_buffered_batch().or_error(ErrorKind::Bug, NEVER)?;
        self.gone.finish_buffered_batch().or_error(ErrorKind::Bug, NEVER)?;
        self.changes.fresh.extend(completed(&mut self.fresh));
        self.changes.gone.extend(completed(&mut self.gone));
        Ok(self.changes)
    }
}

impl Sight for Gathered {
    fn removed(&mut self, old: &Cursor, rows: usize) -> Result<()> {
        let keys = old.batch.project(&self.identity).or_error(ErrorKind::Bug, NEVER)?;
        let keys = self.copied(&keys, old.at..old.at + rows, None)?;
        self.gone.push_batch(keys).or_error(ErrorKind::Bug, NEVER)?;
        self.changes.gone.extend(completed(&mut self.gone));
        Ok(())
    }

    fn added(&mut self, new: &Cursor, rows: usize) -> Result<()> {
        let rows = self.copied(&new.batch, new.at..new.at + rows, None)?;
        self.keep_fresh(rows)
    }

    fn pairs(&mut self, old: &Cursor, new: &Cursor, run: usize) -> Result<()> {
        let Some(differs) = differences((old, new), run, &mut |_, _, _, _| {})? else { return Ok(()) };
        let rows = self.copied(&new.batch, new.at..new.at + run, Some(&differs))?;
        self.keep_fresh(rows)
    }

    fn is_enough(&self) -> bool {
        self.bytes > self.most_bytes
    }
}
