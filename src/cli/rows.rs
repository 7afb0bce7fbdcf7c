//! Rows as an aligned table for people, a window at a time, so that any number of them can pass.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use unicode_width::UnicodeWidthStr;

use crate::query::write::{Sink, formatters, is_null, text};
use crate::shown;

/// Rows whose widths are looked at before the first of them is printed.
const WINDOW: usize = 1_000;

pub struct Aligned<W: Write> {
    out: W,
    names: Vec<String>,
    right: Vec<bool>,
    widths: Vec<usize>,
    waiting: Vec<Vec<String>>,
    rows: u64,
    headed: bool,
}

impl<W: Write> Aligned<W> {
    pub fn new(out: W, schema: &SchemaRef) -> Aligned<W> {
        let names: Vec<String> =
            schema.fields().iter().map(|field| shown::line(field.name()).into_owned()).collect();
        Aligned {
            out,
            right: schema.fields().iter().map(|field| field.data_type().is_numeric()).collect(),
            widths: names.iter().map(|name| name.width()).collect(),
            names,
            waiting: Vec::new(),
            rows: 0,
            headed: false,
        }
    }

    fn flush_window(&mut self) -> io::Result<()> {
        for row in &self.waiting {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if !self.headed {
            self.headed = true;
            let names = std::mem::take(&mut self.names);
            self.line(&names)?;
            let rules: Vec<String> = self.widths.iter().map(|width| "-".repeat(width + 2)).collect();
            writeln!(self.out, "{}", rules.join("+"))?;
        }
        for row in std::mem::take(&mut self.waiting) {
            self.line(&row)?;
        }
        Ok(())
    }

    fn line(&mut self, cells: &[String]) -> io::Result<()> {
        let mut text = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let gap = " ".repeat(self.widths[at].saturating_sub(cell.width()));
            let (before, after) = if self.right[at] { (gap.as_str(), "") } else { ("", gap.as_str()) };
            text.push_str(&format!("{} {before}{cell}{after} ", if at > 0 { "|" } else { "" }));
        }
        writeln!(self.out, "{}", text.trim_end())
    }
}

impl<W: Write + Send> Sink for Aligned<W> {
    fn write(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let formatters = formatters(batch)?;
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().zip(&formatters).map(|(column, formatter)| {
                match is_null(column, row) {
                    true => Ok("NULL".to_owned()),
                    false => text(column, formatter, row).map(|text| shown::line(&text).into_owned()),
                }
            });
            self.waiting.push(cells.collect::<Result<_, _>>()?);
            self.rows += 1;
            if self.waiting.len() >= WINDOW {
                self.flush_window()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.flush_window()?;
        let noun = if self.rows == 1 { "row" } else { "rows" };
        writeln!(self.out, "({} {noun})", self.rows)?;
        self.out.flush()
    }
}
