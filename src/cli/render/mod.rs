//! Values as text for people. JSON comes from the same values.

mod operate;
mod plan;
mod run;

use std::io::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::command::stderr_is_styled;
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::run::report::RunReport;
use crate::star::number::Number;

pub use operate::{
    comparison, history, prune_plan, pruned, rollback, rollback_plan, snapshot, snapshots, upcoming,
    verification, verified,
};
pub use plan::{checked, extraction, plan};
pub use run::{delivery, run};

fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_string()));
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn block(table: &Table) -> String {
    let lines = table.lines().map(|line| format!("  {}\n", line.trim_end()));
    lines.collect()
}

/// A plain list.
pub fn listing(header: &[&str], right: &[usize], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut rows = table(header, right);
    rows.add_rows(lines);
    block(&rows)
}

/// The error that a kept report tells of.
pub fn kept_error(report: &RunReport) -> String {
    let Some(error) = &report.error else { return String::new() };
    let mut text = format!("\nerror: {}\n", error.message);
    for cause in &error.causes {
        text.push_str(&format!("  because: {cause}\n"));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("  help: {hint}\n"));
    }
    text
}

/// An error on stderr: what, why, what helps, and every diagnostic under its line.
pub fn error(error: &Error) {
    let styled = stderr_is_styled();
    for diagnostic in error.diagnostics() {
        say(&format!("{}\n", diagnostic.render(styled)));
    }
    say(&format!("error: {}", error.message()));
    for (what, value) in error.context() {
        say(&format!("  {what}: {value}"));
    }
    for cause in error.causes() {
        say(&format!("  because: {cause}"));
    }
    if let Some(hint) = error.help() {
        say(&format!("  help: {hint}"));
    }
}

pub fn diagnostics(diagnostics: &[&Diagnostic]) {
    for diagnostic in diagnostics {
        say(&format!("{}\n", diagnostic.render(stderr_is_styled())));
    }
}

/// A line on stderr; one that nobody reads any more is no reason to fail.
pub fn say(line: &str) {
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
