//! Values as text for people. JSON comes from the same values.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{DecimalBytes, HumanCount};

use super::command::stderr_is_styled;
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::load::Delivery;
use crate::run::plan::{Plan, PlanSummary};
use crate::run::report::{Mode, Outcome, RunReport};
use crate::star::audit::{ControlLine, Verdict};
use crate::star::diff::{ExampleKind, Presence, TableDiff};
use crate::star::number::Number;
use crate::star::session::Effort;

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

/// A run's report.
pub fn run(report: &RunReport, folder: &str) -> String {
    let mut text = String::new();
    if report.tables.is_empty() && report.controls.is_empty() {
        return text;
    }
    text.push_str(&format!("{}\n\n", headline(report)));
    text.push_str(&tables(report));
    text.push_str(&controls(report));
    text.push_str(&changes(report));
    if let Some(delivery) = &report.delivery {
        text.push_str(&format!("\n{}", self::delivery(delivery)));
    }
    if report.snapshot.is_some() {
        text.push_str(&whereabouts(report, folder));
    }
    for warning in &report.warnings {
        text.push_str(&format!("\nwarning: {warning}\n"));
    }
    text
}

fn headline(report: &RunReport) -> String {
    let what = match (report.outcome, report.mode) {
        (Outcome::Published | Outcome::DeliveryPending, _) => "published",
        (Outcome::Rehearsed, _) => "dry run, nothing published",
        (Outcome::Refused, _) => "REFUSED by the audit, nothing published",
        (Outcome::Failed, Mode::DryRun | Mode::Run) => "FAILED, nothing published",
    };
    format!("{} · run {} · {what} · {:.2} s", report.pipeline, report.run, report.seconds)
}

fn tables(report: &RunReport) -> String {
    let mut rows = table(&["table", "role", "rows", "size", "time", ""], &[2, 3, 4]);
    for line in &report.tables {
        rows.add_row([
            line.table.clone(),
            line.role.clone(),
            HumanCount(line.rows).to_string(),
            DecimalBytes(line.bytes).to_string(),
            format!("{:.2} s", line.seconds),
            match line.effort {
                Effort::Full => String::new(),
                Effort::Frugal => "built on one core, to fit the memory".to_owned(),
                Effort::Spilling => "built with sorts on disk, to fit the memory".to_owned(),
            },
        ]);
    }
    if report.tables.is_empty() { String::new() } else { format!("{}\n", block(&rows)) }
}

fn controls(report: &RunReport) -> String {
    let mut rows = table(&["", "control", "", "source", "star"], &[3, 4]);
    for (line, name) in folded(&report.controls) {
        let mark = match line.verdict {
            Verdict::Passed => "ok",
            Verdict::Failed => "FAILED",
            Verdict::Noted => "note",
        };
        rows.add_row([mark.to_owned(), line.table.clone(), name, grouped(&line.source), grouped(&line.star)]);
    }
    let mut text = if report.controls.is_empty() { String::new() } else { block(&rows) };
    let speaks = |line: &&ControlLine| line.verdict == Verdict::Failed || !line.examples.is_empty();
    for line in report.controls.iter().filter(speaks) {
        text.push_str(&offence(line));
    }
    if let Some(coverage) = &report.coverage {
        let share = (coverage.covered * 100).checked_div(coverage.columns).unwrap_or(100);
        text.push_str(&format!(
            "\n  Controls cover {} of {} numeric columns ({share} %)",
            coverage.covered, coverage.columns
        ));
        if !coverage.uncovered.is_empty() {
            text.push_str(&format!("; not covered: {}", coverage.uncovered.join(", ")));
        }
        text.push_str(".\n");
    }
    text
}

/// Rules of one table that all hold, 0 against 0, share a line; every other control has its own.
fn folded(controls: &[ControlLine]) -> Vec<(&ControlLine, String)> {
    let holds = |line: &ControlLine| {
        let nothing = line.source.to_string() == "0" && line.star.to_string() == "0";
        line.verdict == Verdict::Passed && nothing && !line.name.contains(" not found in ")
    };
    let mut lines: Vec<(&ControlLine, String)> = Vec::new();
    for line in controls {
        match lines.last_mut() {
            Some((last, name)) if holds(last) && holds(line) && last.table == line.table => {
                name.push_str(&format!(", {}", line.name));
            }
            _ => lines.push((line, line.name.clone())),
        }
    }
    lines
}

fn offence(line: &ControlLine) -> String {
    let mut text = format!(
        "\n  {} {}: source {}, star {}, difference {}\n",
        line.table,
        line.name,
        grouped(&line.source),
        grouped(&line.star),
        grouped(&line.source.difference(&line.star))
    );
    for example in &line.examples {
        text.push_str(&format!("      {example}\n"));
    }
    text
}

fn changes(report: &RunReport) -> String {
    if report.diff.is_empty() {
        return String::new();
    }
    let Some(since) = &report.since else {
        return "\n  First run: every row is new.\n".to_owned();
    };
    if !report.has_differences() {
        return format!("\n  Nothing changed since {since}.\n");
    }
    let mut text = format!("\n  Changes since {since}:\n\n");
    let mut rows = table(&["table", "added", "removed", "changed", "changed columns"], &[1, 2, 3]);
    let differing = || report.diff.iter().filter(|diff| !diff.is_empty());
    for diff in differing() {
        rows.add_row([
            diff.table.clone(),
            HumanCount(diff.added).to_string(),
            HumanCount(diff.removed).to_string(),
            HumanCount(diff.changed).to_string(),
            changed_columns(diff),
        ]);
    }
    text.push_str(&block(&rows));
    for diff in differing() {
        text.push_str(&details(diff));
    }
    let same = report.diff.len() - differing().count();
    if same > 0 {
        text.push_str(&format!(
            "\n  {same} {} unchanged.\n",
            if same == 1 { "table is" } else { "tables are" }
        ));
    }
    text
}

fn changed_columns(diff: &TableDiff) -> String {
    let mut said: Vec<String> = diff
        .changed_columns
        .iter()
        .map(|(column, rows)| format!("{column} ({})", HumanCount(*rows)))
        .collect();
    match diff.presence {
        Presence::New => said.push("new table".to_owned()),
        Presence::Dropped => said.push("table no longer in the pipeline".to_owned()),
        Presence::Kept => {}
    }
    if !diff.reshaped.is_empty() {
        said.push(format!("columns added, removed or retyped: {}", diff.reshaped.join(", ")));
    }
    said.join(", ")
}

fn details(diff: &TableDiff) -> String {
    if diff.examples.is_empty() && diff.totals.is_empty() {
        return String::new();
    }
    let mut text = format!("\n  {}\n", diff.table);
    let mut examples: Vec<_> = diff.examples.iter().collect();
    examples.sort_by_key(|example| example.kind);
    for example in examples {
        let sign = match example.kind {
            ExampleKind::Added => "+",
            ExampleKind::Removed => "-",
            ExampleKind::Changed => "~",
        };
        text.push_str(&format!("    {sign} {}", example.key));
        for change in &example.changes {
            text.push_str(&format!("\n        {}: {} → {}", change.column, change.old, change.new));
        }
        text.push('\n');
    }
    for (column, movement) in &diff.totals {
        let by = movement.before.difference(&movement.after);
        text.push_str(&format!(
            "    total of {column}: {} → {} ({}{})\n",
            grouped(&movement.before),
            grouped(&movement.after),
            if by.to_string().starts_with('-') { "" } else { "+" },
            grouped(&by)
        ));
    }
    text
}

fn whereabouts(report: &RunReport, folder: &str) -> String {
    let latest = match folder.find("snapshots/") {
        Some(at) => format!("{}latest", &folder[..at]),
        None => folder.to_owned(),
    };
    let shown = report.tables.iter().find(|table| table.role == "summary").or(report.tables.first());
    let shown = shown.map(|table| table.table.clone()).unwrap_or_default();
    format!(
        "\n  Published: {folder}\n  Query it:  duckdb -c \"SELECT * FROM '{latest}/{shown}/*.parquet' LIMIT 10\"\n"
    )
}

/// A delivery's receipt.
pub fn delivery(delivery: &Delivery) -> String {
    let mut rows = table(&["table", "inserted", "updated", "deleted"], &[1, 2, 3]);
    for line in &delivery.tables {
        rows.add_row([
            line.table.clone(),
            HumanCount(line.inserted).to_string(),
            HumanCount(line.updated).to_string(),
            HumanCount(line.deleted).to_string(),
        ]);
    }
    format!("  Delivered into schema {} of {}:\n\n{}", delivery.schema, delivery.target, block(&rows))
}

/// What would be read, built and written.
pub fn plan(plan: &PlanSummary) -> String {
    let mut text = format!("{}\n\n  Reads {}", plan.pipeline, plan.source);
    if plan.connections > 0 {
        text.push_str(&format!(", over {} connections on one snapshot", plan.connections));
    }
    text.push_str(":\n\n");
    let mut rows = table(&["table", "kind", "rows (about)", "size", "lock", "columns"], &[2, 3]);
    for read in &plan.reads {
        rows.add_row([
            read.table.to_string(),
            read.kind.word().to_owned(),
            read.estimated_rows.map_or("?".to_owned(), |rows| HumanCount(rows).to_string()),
            read.bytes.map_or("?".to_owned(), |bytes| DecimalBytes(bytes).to_string()),
            read.lock.unwrap_or("none").to_owned(),
            format!("{} of {}: {}", read.columns.len(), read.of_columns, read.columns.join(", ")),
        ]);
    }
    text.push_str(&block(&rows));
    text.push_str("\n  Builds, in this order:\n\n");
    let mut rows = table(&["table", "role", "key", "columns", "reads"], &[3]);
    for model in &plan.builds {
        rows.add_row([
            model.table.clone(),
            model.role.to_owned(),
            model.key.join(", "),
            model.columns.to_string(),
            model.reads.join(", "),
        ]);
    }
    text.push_str(&block(&rows));
    text.push_str(&format!(
        "\n  Audits {} controls besides keys and lookups.\n  Writes a snapshot into {}",
        plan.controls, plan.store
    ));
    if let Some(target) = &plan.target {
        text.push_str(&format!(",\n  and delivers it into {target}"));
    }
    text.push_str(".\n");
    for warning in &plan.warnings {
        text.push_str(&format!("\nwarning: {warning}\n"));
    }
    text
}

pub fn checked(plan: &Plan) -> String {
    let (models, controls) = (plan.pipeline.models.len(), plan.pipeline.controls.len());
    let tables = plan.design.reads.len();
    format!(
        "{} fits its source: {models} models over {tables} tables, {controls} controls.\n",
        plan.pipeline.name
    )
}

/// An error on stderr: what, why, what helps, and every diagnostic under its line.
pub fn error(error: &Error) {
    let styled = stderr_is_styled();
    for diagnostic in error.diagnostics() {
        eprintln!("{}\n", diagnostic.render(styled));
    }
    eprintln!("error: {}", error.message());
    for (what, value) in error.context() {
        eprintln!("  {what}: {value}");
    }
    for cause in error.causes() {
        eprintln!("  because: {cause}");
    }
    if let Some(hint) = error.help() {
        eprintln!("  help: {hint}");
    }
}

pub fn diagnostics(diagnostics: &[&Diagnostic]) {
    for diagnostic in diagnostics {
        eprintln!("{}\n", diagnostic.render(stderr_is_styled()));
    }
}

pub fn warning(message: &str) {
    eprintln!("warning: {message}");
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
