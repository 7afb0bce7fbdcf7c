//! A run's report as text: tables, controls, changes, delivery.

use std::borrow::Cow;

use indicatif::{DecimalBytes, HumanCount};

use super::correct::correction;
use super::{block, grouped, table};
use crate::load::{Delivery, TakenOver};
use crate::name::list;
use crate::pipeline::Service;
use crate::run::report::{Mode, Outcome, RunReport};
use crate::shown;
use crate::star::audit::{ControlLine, Verdict};
use crate::star::diff::{ExampleKind, Presence, TableDiff};
use crate::star::session::Effort;

/// A run's report.
pub fn run(report: &RunReport, folder: &str) -> String {
    let mut text = String::new();
    if report.outcome == Outcome::AlreadyDone {
        return format!("{}\n", headline(report));
    }
    if report.tables.is_empty() && report.controls.is_empty() && report.is_run() {
        return text;
    }
    text.push_str(&format!("{}\n\n", headline(report)));
    if !report.is_run() {
        let snapshot = report.snapshot.as_ref().map_or(String::new(), |id| format!(", snapshot {id}"));
        text.push_str(&format!("  by {}{snapshot}\n", report.by));
    }
    text.push_str(&tables(report));
    text.push_str(&controls(report));
    text.push_str(&changes(report));
    text.push_str(&super::plan::changed(&report.source.changes));
    if let Some(delivery) = &report.pending_delivery {
        text.push_str(&format!("\n  Before this night, what was pending:\n\n{}", self::delivery(delivery)));
    }
    if let Some(delivery) = &report.delivery {
        text.push_str(&format!("\n{}", self::delivery(delivery)));
    }
    if report.snapshot.is_some() && report.is_run() {
        text.push_str(&whereabouts(report, folder));
    }
    for warning in &report.warnings {
        text.push_str(&format!("\nwarning: {}\n", crate::shown::line(warning)));
    }
    for lost in report.lost_corrections.iter().take(LOST) {
        let lost = shown::line(&lost.to_string()).into_owned();
        text.push_str(&format!(
            "\nwarning: corrected after the backup, and to be corrected again (`starmill correct`): {lost}\n"
        ));
    }
    let more = report.lost_corrections.len().saturating_sub(LOST);
    if more > 0 {
        text.push_str(&format!(
            "\nwarning: {more} more values were corrected after the backup: --format json has them all\n"
        ));
    }
    text
}

/// Corrections that are told one by one.
const LOST: usize = 10;

fn headline(report: &RunReport) -> String {
    let what = match (report.outcome, report.mode) {
        (Outcome::Published | Outcome::DeliveryPending, _) => "published",
        (Outcome::Rehearsed, _) => "dry run, nothing published",
        (Outcome::Refused, _) => "REFUSED by the audit, nothing published",
        (Outcome::Delivered, _) => "delivered by command",
        (Outcome::RolledBack, _) => "rolled back by command",
        (Outcome::Held, _) => "HELD, nothing published",
        (Outcome::Released, _) => "released by command",
        (Outcome::Failed, Mode::Delivery) => "FAILED, nothing delivered",
        (Outcome::Failed, _) => "FAILED, nothing published",
        (Outcome::AlreadyDone, _) => "nothing to do: another run has had this night",
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
    if report.tables.is_empty() {
        return String::new();
    }
    let stored: u64 = report.source.tables.iter().filter_map(|read| read.stored).sum();
    let sized = (stored > 0).then(|| {
        let star: u64 = report.tables.iter().map(|line| line.bytes).sum();
        let (star, stored) = (DecimalBytes(star), DecimalBytes(stored));
        format!("\n  The star takes {star}, the tables that it was made of {stored}.\n")
    });
    format!("{}{}\n", block(&rows), sized.unwrap_or_default())
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
            text.push_str(&format!("; not covered: {}", shown::line(&coverage.uncovered.join(", "))));
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
        text.push_str(&format!("      {}\n", shown::line(example)));
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
    format!("\n  Changes since {since}:\n\n{}", differences(&report.diff))
}

/// What differs, table by table, with examples.
pub fn differences(diffs: &[TableDiff]) -> String {
    let mut rows = table(&["table", "added", "removed", "changed", "changed columns"], &[1, 2, 3]);
    let differing = || diffs.iter().filter(|diff| !diff.is_empty());
    for diff in differing() {
        rows.add_row([
            diff.table.clone(),
            HumanCount(diff.added).to_string(),
            HumanCount(diff.removed).to_string(),
            HumanCount(diff.changed).to_string(),
            changed_columns(diff),
        ]);
    }
    let mut text = block(&rows);
    for diff in diffs.iter().filter(|diff| !diff.is_empty() || !diff.corrected.is_empty()) {
        text.push_str(&details(diff));
    }
    let same = diffs.len() - differing().count();
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
    match diff.contract.is_empty() {
        true if !diff.reshaped.is_empty() => {
            // Reports of an older starmill tell no more.
            said.push(format!("columns added, removed or retyped: {}", diff.reshaped.join(", ")));
        }
        _ => said.extend(diff.contract.iter().map(ToString::to_string)),
    }
    said.join(", ")
}

fn details(diff: &TableDiff) -> String {
    if diff.examples.is_empty()
        && diff.totals.is_empty()
        && diff.corrected.is_empty()
        && diff.milestones.is_empty()
    {
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
        text.push_str(&format!("    {sign} {}", shown::line(&example.key)));
        for change in &example.changes {
            let [column, old, new] = [&change.column, &change.old, &change.new].map(|text| shown::line(text));
            text.push_str(&format!("\n        {column}: {old} → {new}"));
        }
        text.push('\n');
    }
    for (column, made_of) in &diff.made_of {
        let made_of: Vec<&str> = made_of.iter().map(String::as_str).collect();
        text.push_str(&format!("    {column} is made of {}\n", shown::line(&list(made_of))));
    }
    for (milestone, rows) in &diff.milestones {
        let told = [("reached", rows.reached), ("moved", rows.moved), ("taken back", rows.taken_back)];
        let told = told.into_iter().filter(|(_, rows)| *rows > 0);
        let told: Vec<String> = told.map(|(what, rows)| format!("{what} in {}", HumanCount(rows))).collect();
        text.push_str(&format!("    milestone {milestone}: {}\n", told.join(", ")));
    }
    for one in &diff.corrected {
        text.push_str(&format!("    corrected: {}\n", correction(one)));
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
    let table = report.tables.iter().find(|table| table.role == "summary").or(report.tables.first());
    let table = table.map(|table| table.table.clone()).unwrap_or_default();
    let mut text = format!("\n  Published: {}\n", shown::line(folder));
    // What a terminal would obey cannot be copied from one; and a bucket has no folder of links.
    if Service::of(folder).is_none() && matches!(shown::line(&latest), Cow::Borrowed(_)) {
        let command = duckdb(&format!("{latest}/{table}"));
        text.push_str(&format!("  Query it:  {command}\n"));
    }
    text
}

/// A command that a shell takes as it is, over the files of a folder of any name.
fn duckdb(folder: &str) -> String {
    let mut files = String::new();
    for c in folder.chars() {
        match c {
            '[' | '*' | '?' => files.extend(['[', c, ']']),
            '\'' => files.push_str("''"),
            c => files.push(c),
        }
    }
    let sql = format!("SELECT * FROM '{files}/*.parquet' LIMIT 10");
    match sql.contains(['"', '$', '`', '\\', '!']) {
        true => format!("duckdb -c '{}'", sql.replace('\'', r"'\''")),
        false => format!("duckdb -c \"{sql}\""),
    }
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
    let mut text =
        format!("  Delivered into schema {} of {}:\n\n{}", delivery.schema, delivery.target, block(&rows));
    if !delivery.views.is_empty() {
        let views = delivery.views.iter().map(|view| shown::line(view));
        text.push_str(&format!("\n  Made again, over columns of another type: {}.\n", list(views)));
    }
    for line in &delivery.tables {
        if let Some(drift) = &line.drift {
            text.push_str(&format!(
                "\n  {}: somebody wrote there since the last delivery ({}), so every row was compared.\n",
                line.table,
                shown::line(drift)
            ));
        }
    }
    text
}

/// What taking over would do to tables that are there already.
pub fn takeover(plan: &[TakenOver]) -> String {
    if plan.is_empty() {
        return "  The target has no tables of these names.\n".to_owned();
    }
    let mut rows = table(&["table", "rows now", "rows of the star", "columns retyped"], &[1, 2]);
    for line in plan {
        rows.add_row([
            line.table.clone(),
            HumanCount(line.rows).to_string(),
            HumanCount(line.star_rows).to_string(),
            line.retyped.join(", "),
        ]);
    }
    format!(
        "  Taking over deletes the rows that the star does not have, and changes those that differ:\n\n{}",
        block(&rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_is_shown_names_a_folder_of_any_name() {
        assert_eq!(duckdb("out/latest/s"), r#"duckdb -c "SELECT * FROM 'out/latest/s/*.parquet' LIMIT 10""#);
        assert_eq!(duckdb("a[1]*/s"), r#"duckdb -c "SELECT * FROM 'a[[]1][*]/s/*.parquet' LIMIT 10""#);
        assert_eq!(
            duckdb("it's $5"),
            r#"duckdb -c 'SELECT * FROM '\''it'\'''\''s $5/*.parquet'\'' LIMIT 10'"#
        );
    }
}
