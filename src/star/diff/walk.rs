//! The walk over both sides of a table in key order.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::boolean::or;
use arrow::compute::kernels::cmp::distinct;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::cursor::Cursor;
use super::{Change, EXAMPLES, Example, ExampleKind, TableDiff};
use crate::error::{ErrorKind, Result, ResultExt};

pub struct Walk {
    pub key: usize,
    /// Columns of which it is told whether they were reached or moved.
    pub milestones: Vec<String>,
    pub found: TableDiff,
}

impl Walk {
    pub async fn run(&mut self, mut old: Cursor, mut new: Cursor) -> Result<()> {
        loop {
            match (old.left(), new.left()) {
                (0, 0) => return Ok(()),
                (left, 0) => {
                    self.only(&old, left, ExampleKind::Removed);
                    old.at += left;
                }
                (0, left) => {
                    self.only(&new, left, ExampleKind::Added);
                    new.at += left;
                }
                _ => self.step(&mut old, &mut new)?,
            }
            old.refill().await?;
            new.refill().await?;
        }
    }

    /// Takes the longest run of rows that both sides have, else one row that only one side has.
    fn step(&mut self, old: &mut Cursor, new: &mut Cursor) -> Result<()> {
        let most = old.left().min(new.left());
        let same = |at: usize| old.rows.row(old.at + at) == new.rows.row(new.at + at);
        let run = (0..most).take_while(|at| same(*at)).count();
        if run > 0 {
            self.pairs(old, new, run)?;
            old.at += run;
            new.at += run;
        } else if old.rows.row(old.at) < new.rows.row(new.at) {
            self.only(old, 1, ExampleKind::Removed);
            old.at += 1;
        } else {
            self.only(new, 1, ExampleKind::Added);
            new.at += 1;
        }
        Ok(())
    }

    fn only(&mut self, side: &Cursor, rows: usize, kind: ExampleKind) {
        match kind {
            ExampleKind::Removed => self.found.removed += rows as u64,
            _ => self.found.added += rows as u64,
        }
        for row in side.at..side.at + rows {
            if !self.wants(kind) {
                break;
            }
            self.found.examples.push(Example { kind, key: side.key_text(row), changes: Vec::new() });
        }
    }

    fn wants(&self, kind: ExampleKind) -> bool {
        self.found.examples.iter().filter(|example| example.kind == kind).count() < EXAMPLES
    }

    /// Rows of the same keys: which columns differ, and where.
    fn pairs(&mut self, old: &Cursor, new: &Cursor, run: usize) -> Result<()> {
        let schema = new.batch.schema();
        let mut any: Option<BooleanArray> = None;
        for column in self.key..new.batch.num_columns() {
            let before = old.batch.column(column).slice(old.at, run);
            let after = new.batch.column(column).slice(new.at, run);
            if before.to_data() == after.to_data() {
                continue;
            }
            let differs = differing(&before, &after)?;
            let count = differs.true_count() as u64;
            if count == 0 {
                continue;
            }
            *self.found.changed_columns.entry(schema.field(column).name().clone()).or_default() += count;
            if self.milestones.contains(schema.field(column).name()) {
                let milestone = self.found.milestones.entry(schema.field(column).name().clone());
                milestone.or_default().see(&before, &after, &differs);
            }
            any = Some(match any {
                Some(any) => or(&any, &differs).or_error(ErrorKind::Bug, || "comparing rows".to_owned())?,
                None => differs,
            });
        }
        let Some(any) = any else { return Ok(()) };
        self.found.changed += any.true_count() as u64;
        for at in (0..run).filter(|at| any.value(*at)) {
            if !self.wants(ExampleKind::Changed) {
                break;
            }
            let changes = (self.key..new.batch.num_columns()).filter_map(|column| {
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
