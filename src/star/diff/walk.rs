//! The walk over both sides of a table in key order.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::boolean::or;
use arrow::compute::kernels::cmp::distinct;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::cursor::Cursor;
use super::{Change, EXAMPLES, Example, ExampleKind, TableDiff};
use crate::error::{ErrorKind, Result, ResultExt};

/// What is made of a walk: rows that only one side has, and runs of rows that both have.
pub trait Sight {
    /// `rows` rows of the old side from its place on, whose keys the new side has not.
    fn removed(&mut self, old: &Cursor, rows: usize) -> Result<()>;
    fn added(&mut self, new: &Cursor, rows: usize) -> Result<()>;
    fn pairs(&mut self, old: &Cursor, new: &Cursor, run: usize) -> Result<()>;
    /// Whether no more is wanted.
    fn is_enough(&self) -> bool {
        false
    }
}

/// Walks over both sides, which are sorted by the same key.
pub async fn walk(mut old: Cursor, mut new: Cursor, sight: &mut (dyn Sight + Send)) -> Result<()> {
    while !sight.is_enough() {
        match (old.left(), new.left()) {
            (0, 0) => return Ok(()),
            (left, 0) => {
                sight.removed(&old, left)?;
                old.at += left;
            }
            (0, left) => {
                sight.added(&new, left)?;
                new.at += left;
            }
            _ => step(&mut old, &mut new, sight)?,
        }
        old.refill().await?;
        new.refill().await?;
    }
    Ok(())
}

/// Takes the longest run of rows that both sides have, else one row that only one side has.
fn step(old: &mut Cursor, new: &mut Cursor, sight: &mut (dyn Sight + Send)) -> Result<()> {
    let most = old.left().min(new.left());
    let same = |at: usize| old.rows.row(old.at + at) == new.rows.row(new.at + at);
    let run = (0..most).take_while(|at| same(*at)).count();
    if run > 0 {
        sight.pairs(old, new, run)?;
        old.at += run;
        new.at += run;
    } else if old.rows.row(old.at) < new.rows.row(new.at) {
        sight.removed(old, 1)?;
        old.at += 1;
    } else {
        sight.added(new, 1)?;
        new.at += 1;
    }
    Ok(())
}

/// Which rows of a run differ in which columns, and in any of them; nothing where none does.
pub fn differences(
    (old, new): (&Cursor, &Cursor),
    run: usize,
    see: &mut dyn FnMut(usize, &ArrayRef, &ArrayRef, &BooleanArray),
) -> Result<Option<BooleanArray>> {
    let mut any: Option<BooleanArray> = None;
    for column in new.key..new.batch.num_columns() {
        let before = old.batch.column(column).slice(old.at, run);
        let after = new.batch.column(column).slice(new.at, run);
        if before.to_data() == after.to_data() {
            continue;
        }
        let differs = differing(&before, &after)?;
        if differs.true_count() == 0 {
            continue;
        }
        see(column, &before, &after, &differs);
        any = Some(match any {
            Some(any) => or(&any, &differs).or_error(ErrorKind::Bug, || "comparing rows".to_owned())?,
            None => differs,
        });
    }
    Ok(any)
}

/// Counts what differs, with examples.
pub struct Tally {
    /// Columns of which it is told whether they were reached or moved.
    pub milestones: Vec<String>,
    pub found: TableDiff,
}

impl Tally {
    fn wants(&self, kind: ExampleKind) -> bool {
        self.found.examples.iter().filter(|example| example.kind == kind).count() < EXAMPLES
    }

    fn only(&mut self, side: &Cursor, rows: usize, kind: ExampleKind) {
        for row in side.at..side.at + rows {
            if !self.wants(kind) {
                break;
            }
            self.found.examples.push(Example { kind, key: side.key_text(row), changes: Vec::new() });
        }
    }
}

impl Sight for Tally {
    fn removed(&mut self, old: &Cursor, rows: usize) -> Result<()> {
        self.found.removed += rows as u64;
        self.only(old, rows, ExampleKind::Removed);
        Ok(())
    }

    fn added(&mut self, new: &Cursor, rows: usize) -> Result<()> {
        self.found.added += rows as u64;
        self.only(new, rows, ExampleKind::Added);
        Ok(())
    }

    fn pairs(&mut self, old: &Cursor, new: &Cursor, run: usize) -> Result<()> {
        let schema = new.batch.schema();
        let (found, milestones) = (&mut self.found, &self.milestones);
        let any = differences((old, new), run, &mut |column, before, after, differs| {
            let name = schema.field(column).name();
            *found.changed_columns.entry(name.clone()).or_default() += differs.true_count() as u64;
            if milestones.contains(name) {
                found.milestones.entry(name.clone()).or_default().see(before, after, differs);
            }
        })?;
        let Some(any) = any else { return Ok(()) };
        self.found.changed += any.true_count() as u64;
        for at in (0..run).filter(|at| any.value(*at)) {
            if !self.wants(ExampleKind::Changed) {
                break;
            }
            let changes = (new.key..new.batch.num_columns()).filter_map(|column| {
                let (before, after) = (old.batch.column(column), new.batch.column(column));
                let change = Change {
                    column: schema.field(column).name().clone(),
                    old: cell(before, old.at + at),
                    new: cell(after, new.at + at),
                };
                let same = before.slice(old.at + at, 1).to_data() == after.slice(new.at + at, 1).to_data();
                (!same).then_some(change)
            });
            let changes = changes.collect();
            let key = new.key_text(new.at + at);
            self.found.examples.push(Example { kind: ExampleKind::Changed, key, changes });
        }
        Ok(())
    }
}

fn differing(before: &ArrayRef, after: &ArrayRef) -> Result<BooleanArray> {
    if before.data_type().is_nested() {
        let differs =
            (0..before.len()).map(|at| before.slice(at, 1).to_data() != after.slice(at, 1).to_data());
        return Ok(BooleanArray::from(differs.collect::<Vec<bool>>()));
    }
    distinct(before, after).or_error(ErrorKind::Bug, || "comparing columns".to_owned())
}

pub fn cell(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    match ArrayFormatter::try_new(array, &FormatOptions::default()) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(error) => error.to_string(),
    }
}
