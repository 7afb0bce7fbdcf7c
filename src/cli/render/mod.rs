//! Values as text for people. JSON comes from the same values.

mod correct;
mod forget;
mod history;
mod operate;
mod plan;
mod run;

use std::io::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::command::stderr_is_styled;
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::run::report::RunReport;
use crate::shown;
use crate::star::number::Number;

pub use correct::corrections;
pub use forget::{forget_plan, forgotten};
pub use history::remembered;
pub use operate::{
    comparison, history, prune_plan, pruned, release, rollback, rollback_plan, snapshot, snapshots, upcoming,
    verification, verified,
};
pub use plan::{checked, extraction, plan};
pub use run::{delivery, run, takeover};

/// A table whose cells a terminal doesn't obey, whoever wrote them.
struct Rows(Table);

impl Rows {
    fn add_row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.0.add_row(cells.into_iter().map(|cell| shown::line(&cell.to_string()).into_owned()));
    }
}

fn table(header: &[&str], right: &[usize]) -> Rows {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_string()));
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Rows(table)
}

fn block(rows: &Rows) -> String {
    let lines = rows.0.lines().map(|line| format!("  {}\n", line.trim_end()));
    lines.collect()
}

/// A plain list.
pub fn listing(header: &[&str], right: &[usize], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut rows = table(header, right);
    lines.for_each(|line| rows.add_row(line));
    block(&rows)
}

/// The error that a kept report tells of.
pub fn kept_error(report: &RunReport) -> String {
    let Some(error) = &report.error else { return String::new() };
    let mut text = format!("\nerror: {}\n", shown::line(&error.message));
    for cause in &error.causes {
        text.push_str(&format!("  because: {}\n", shown::line(cause)));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("  help: {}\n", shown::line(hint)));
    }
    text
}

/// An error on stderr: what, why, what helps, and every diagnostic under its line.
pub fn error(error: &Error) {
    let styled = stderr_is_styled();
    for diagnostic in error.diagnostics() {
        say_styled(&format!("{}\n", diagnostic.render(styled)));
    }
    say(&format!("error: {}", indented(error.message())));
    for (what, value) in error.context() {
        say(&format!("  {what}: {}", indented(value)));
    }
    for cause in error.causes() {
        say(&format!("  because: {}", indented(&cause)));
    }
    if let Some(hint) = error.help() {
        say(&format!("  help: {}", indented(hint)));
    }
}

pub fn diagnostics(diagnostics: &[&Diagnostic]) {
    for diagnostic in diagnostics {
        say_styled(&format!("{}\n", diagnostic.render(stderr_is_styled())));
    }
}

/// Others' lines stay below ours: none of them begins where one of ours would.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

/// A line on stderr; one that nobody reads any more is no reason to fail.
pub fn say(line: &str) {
    say_styled(&shown::text(line));
}

/// The same with colours of our own, whose words have been made harmless before.
fn say_styled(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// 1234567.50 → 1,234,567.50.
fn grouped(number: &Number) -> String {
    let text = number.to_string();
    let (whole, rest) = match text.find('.') {
        Some(at) => text.split_at(at),
        None => (text.as_str(), ""),
    };
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text;
    }
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands_without_losing_a_digit() {
        let show = |text: &str| grouped(&Number::parse(Some(text), "numeric").unwrap());
        assert_eq!(show("1234567.50"), "1,234,567.50");
        assert_eq!(show("-999.01"), "-999.01");
        assert_eq!(show("-1000"), "-1,000");
        assert_eq!(show("0"), "0");
    }
}
