//! What a member of a dimension was, in words.

use std::fmt::Write as _;

use super::correct::correction;
use crate::operate::history::{FirstSeen, MemberHistory, Remembered, Version};
use crate::shown::line;

pub fn remembered(remembered: &Remembered) -> String {
    match remembered {
        Remembered::Versions(history) => member_history(history),
        Remembered::FirstSeen(row) => first_seen(row),
    }
}

fn first_seen(row: &FirstSeen) -> String {
    let mut text =
        format!("{} · {} · {} · as of {}\n\n", row.pipeline, row.table, line(&row.key), row.snapshot);
    let width = row.first_seen.keys().map(|column| column.chars().count()).max().unwrap_or(0);
    for (column, value) in &row.first_seen {
        let value = value.as_ref().map_or_else(|| "NULL".into(), |value| line(value));
        let _ = writeln!(text, "  {column:width$}  {value}");
    }
    for one in &row.corrections {
        let _ = writeln!(text, "\n  corrected: {}", correction(one));
        if one.snapshot.is_none() {
            let _ = writeln!(text, "  the next run shows it");
        }
    }
    text
}

fn member_history(history: &MemberHistory) -> String {
    let MemberHistory { pipeline, table, key, durable_key, snapshot, .. } = history;
    let mut text =
        format!("{pipeline} · {table} · {} · durable key {durable_key} · as of {snapshot}\n", line(key));
    let mut until: Option<&str> = None;
    for (number, version) in history.versions.iter().enumerate() {
        let from = version.valid_from.as_deref();
        if let (true, Some(until), Some(from)) = (version.after_gap, until, from) {
            let _ = writeln!(text, "\n  not there from {until} to {from}");
        }
        let from = from.map_or("the beginning".to_owned(), str::to_owned);
        let to = version.valid_to.as_ref().map_or("on".to_owned(), |to| format!("to {to}"));
        let _ = writeln!(text, "\n  {} from {from} {to}", version.surrogate);
        changes(&mut text, version, number == 0);
        until = version.valid_to.as_deref();
    }
    if let Some(until) = until {
        let _ = writeln!(text, "\n  not there since {until}");
    }
    text
}

fn changes(text: &mut String, version: &Version, is_first: bool) {
    let width = version.changes.iter().map(|change| change.column.chars().count()).max().unwrap_or(0);
    for change in &version.changes {
        let told = |value: &Option<String>| {
            value.as_ref().map_or_else(|| "NULL".to_owned(), |value| line(value).into_owned())
        };
        let new = told(&change.new);
        let said = if is_first { new } else { format!("{} → {new}", told(&change.old)) };
        let _ = writeln!(text, "      {:width$}  {said}", change.column);
    }
    if version.changes.is_empty() {
        let _ = writeln!(text, "      as before");
    }
}
