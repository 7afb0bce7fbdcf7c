//! Snapshots, their differences, the history of runs, the nights to come: as text.

use chrono::{DateTime, Utc};
use indicatif::{DecimalBytes, HumanCount};

use super::run::differences;
use super::{block, table};
use crate::load::{HeldTable, Verification};
use crate::name::list;
use crate::operate::compare::Comparison;
use crate::operate::prune::Pruning;
use crate::operate::rollback::{Release, Rollback, RollbackPlan};
use crate::operate::runs::History;
use crate::operate::snapshots::{Changes, Shown, SnapshotLine, Snapshots};
use crate::run::report::Outcome;
use crate::serve::Upcoming;
use crate::shown;
use crate::star::origin::Position;
use crate::store::Verified;
use crate::store::manifest::Hold;

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn changes(changes: Option<Changes>) -> String {
    match changes {
        None => "first".to_owned(),
        Some(Changes { added: 0, removed: 0, changed: 0 }) => "nothing".to_owned(),
        Some(sum) => {
            let count = |number| HumanCount(number).to_string();
            format!("+{} -{} ~{}", count(sum.added), count(sum.removed), count(sum.changed))
        }
    }
}

fn position(position: &Position) -> String {
    match position {
        Position::Postgres { snapshot, standby, .. } => {
            format!("{snapshot}{}", if *standby { " (standby)" } else { "" })
        }
        Position::Folder { files } => format!("{} files", files.len()),
    }
}

fn lines(snapshots: &[SnapshotLine]) -> String {
    let header = ["", "snapshot", "made at", "source position", "tables", "rows", "size", "changes"];
    let mut rows = table(&header, &[4, 5, 6]);
    for line in snapshots {
        rows.add_row([
            if line.published { "*".to_owned() } else { String::new() },
            line.snapshot.to_string(),
            time(line.created_at),
            line.position.as_ref().map_or("DAMAGED".to_owned(), position),
            line.tables.to_string(),
            HumanCount(line.rows).to_string(),
            DecimalBytes(line.bytes).to_string(),
            changes(line.changes),
        ]);
    }
    block(&rows)
}

pub fn snapshots(list: &Snapshots) -> String {
    match list.snapshots.as_slice() {
        [] => format!("{}: nothing is published yet in {}\n", list.pipeline, list.store),
        some => {
            let text = format!("{} · {}\n\n{}\n  * is published\n", list.pipeline, list.store, lines(some));
            text + &list.hold.as_ref().map(held).unwrap_or_default()
        }
    }
}

fn held(hold: &Hold) -> String {
    let (by, because) = (shown::line(&hold.by), shown::line(&hold.because));
    format!("\n  Held since {} by {by}: {because}\n", time(hold.since))
}

pub fn release(done: &Release) -> String {
    format!(
        "{} · {}\n{}\n  Released: the next run publishes over it.\n",
        done.pipeline,
        done.snapshot,
        held(&done.hold)
    )
}

pub fn snapshot(shown: &Shown) -> String {
    let manifest = &shown.manifest;
    let published = if shown.published { " · published" } else { "" };
    let mut text = format!("{} · snapshot {}{published}\n\n", manifest.pipeline.name, manifest.snapshot);
    text.push_str(&format!(
        "  made at         {} by starmill {}\n",
        time(manifest.created_at),
        manifest.starmill
    ));
    text.push_str(&format!("  source          {}\n", manifest.pipeline.source));
    text.push_str(&format!("  position        {}\n", position(&manifest.position)));
    let previous = manifest.previous.as_ref().map_or("none".to_owned(), ToString::to_string);
    text.push_str(&format!("  previous        {previous}\n"));
    let passed = manifest.controls.len();
    let coverage = &manifest.coverage;
    text.push_str(&format!(
        "  controls        {passed}, over {} of {} numeric columns\n",
        coverage.covered, coverage.columns
    ));
    text.push_str(&format!("  folder          {}\n\n", shown.folder));
    let mut rows = table(&["table", "role", "rows", "size", "key"], &[2, 3]);
    for record in &manifest.tables {
        rows.add_row([
            record.name.to_string(),
            record.role.clone(),
            HumanCount(record.rows).to_string(),
            DecimalBytes(record.bytes).to_string(),
            record.memory.key.join(", "),
        ]);
    }
    text.push_str(&block(&rows));
    match &manifest.previous {
        Some(previous) if manifest.changes.iter().any(|diff| !diff.is_empty()) => {
            text.push_str(&format!("\n  Changed since {previous}:\n\n{}", differences(&manifest.changes)));
        }
        Some(previous) => text.push_str(&format!("\n  Nothing changed since {previous}.\n")),
        None => {}
    }
    text
}

pub fn comparison(comparison: &Comparison) -> String {
    let heading = format!("{} · {} → {}\n\n", comparison.pipeline, comparison.from, comparison.to);
    match comparison.has_differences() {
        true => heading + &differences(&comparison.tables),
        false => heading + "  Nothing differs.\n",
    }
}

pub fn rollback_plan(plan: &RollbackPlan) -> String {
    let mut text = format!("{} · roll back {} → {}\n\n", plan.pipeline, plan.from, plan.to);
    match (&plan.unknown, plan.tables.iter().all(|diff| diff.is_empty())) {
        (Some(reason), _) => {
            text.push_str(&format!("  What readers will see change cannot be told: {reason}\n"))
        }
        (None, true) => text.push_str("  Readers will see no difference.\n"),
        (None, false) => text.push_str(&format!("  Readers will see:\n\n{}", differences(&plan.tables))),
    }
    if !plan.remasked.is_empty() {
        text.push_str(&format!(
            "\n  That snapshot was made when these columns were masked otherwise, or not at all: {}.\n",
            list(&plan.remasked)
        ));
    }
    match &plan.target {
        Some(target) => text.push_str(&format!("\n  The same goes into {target}.\n")),
        None => text.push_str("\n  There is no target.\n"),
    }
    text
}

pub fn rollback(done: &Rollback) -> String {
    let mut text = format!("\n  Published: {} (was {})\n", done.plan.to, done.plan.from);
    if let Some(delivery) = &done.delivery {
        text.push_str(&format!("\n{}", super::delivery(delivery)));
    }
    text + &match &done.hold {
        Some(hold) => {
            format!("{}  Runs rehearse, and end with 12, until `starmill snapshots release`.\n", held(hold))
        }
        None => "\n  The next run publishes a new snapshot over it; surrogate keys go on where they were.\n"
            .to_owned(),
    }
}

pub fn prune_plan(pruning: &Pruning) -> String {
    let mut text = match pruning.remove.as_slice() {
        [] => format!("{}: no snapshot goes, {} stay.\n", pruning.pipeline, pruning.keep),
        some => format!(
            "{} · these snapshots go, {} stay:\n\n{}\n  {} in all.\n",
            pruning.pipeline,
            pruning.keep,
            lines(some),
            DecimalBytes(pruning.freed)
        ),
    };
    if !pruning.spared.is_empty() {
        let spared = crate::name::list(&pruning.spared);
        text.push_str(&format!("\n  Kept a while longer, for readers that may still be there: {spared}.\n"));
    }
    text
}

pub fn pruned(pruning: &Pruning) -> String {
    match (pruning.remove.len(), pruning.done) {
        (0, _) => String::new(),
        (_, false) => "\n  Nothing was removed: --dry-run.\n".to_owned(),
        (count, true) => format!("\n  Removed {count}.\n"),
    }
}

pub fn verified(verified: &Verified) -> String {
    let (snapshots, files) = (verified.snapshots.len(), HumanCount(verified.files));
    let size = DecimalBytes(verified.bytes);
    let mut text = format!("{snapshots} snapshots and the registry: {files} files, {size} read");
    if verified.damaged.is_empty() {
        return text + "; every byte is as it was published.\n";
    }
    text.push_str(&format!("; {} damaged:\n\n", verified.damaged.len()));
    for damage in &verified.damaged {
        text.push_str(&format!("  {}: {}\n", damage.path, damage.problem));
    }
    text
}

pub fn verification(found: &Verification) -> String {
    let heading = format!("schema {} of {} · snapshot {}\n\n", found.schema, found.target, found.snapshot);
    let mut rows = table(&["", "table", "missing", "surplus", "changed", ""], &[2, 3, 4]);
    for held in &found.tables {
        let HeldTable { table, missing, surplus, changed, fits } = held;
        rows.add_row([
            if held.holds() { "ok".to_owned() } else { "DIFFERS".to_owned() },
            table.clone(),
            HumanCount(*missing).to_string(),
            HumanCount(*surplus).to_string(),
            HumanCount(*changed).to_string(),
            if *fits { String::new() } else { "no such table, or without some of its columns".to_owned() },
        ]);
    }
    heading + &block(&rows)
}

pub fn history(history: &History) -> String {
    if history.runs.is_empty() {
        return format!("{} has no runs yet.\n", history.pipeline);
    }
    let mut rows =
        table(&["run", "started at", "outcome", "exit", "time", "rows", "changes", "reason"], &[3, 4, 5]);
    for line in &history.runs {
        let late = line.scheduled_for.map(|night| line.started_at - night);
        let late = late.filter(|late| late.num_seconds() > 60).map_or(String::new(), |late| {
            let late = std::time::Duration::from_secs(late.num_seconds().unsigned_abs());
            format!(" (late by {})", humantime::format_duration(late))
        });
        let nothing = line.rows == 0;
        rows.add_row([
            line.run.to_string(),
            time(line.started_at) + &late,
            line.outcome.word().replace('_', " "),
            line.exit_code.to_string(),
            format!("{:.2} s", line.seconds),
            if nothing { String::new() } else { HumanCount(line.rows).to_string() },
            match line.outcome {
                Outcome::Failed
                | Outcome::Refused
                | Outcome::Delivered
                | Outcome::RolledBack
                | Outcome::Released => String::new(),
                _ => changes(Some(line.changes)),
            },
            match (&line.reason, line.outcome) {
                (Some(reason), _) => reason.clone(),
                (None, Outcome::Delivered | Outcome::RolledBack | Outcome::Released) => {
                    format!("by {}", line.by)
                }
                (None, _) => String::new(),
            },
        ]);
    }
    let more = match history.of - history.runs.len() {
        0 => String::new(),
        older => format!("\n  {older} older: --limit {}\n", history.of),
    };
    format!("{}\n\n{}{more}", history.pipeline, block(&rows))
}

pub fn upcoming(upcoming: &Vec<Upcoming>) -> String {
    let mut text = String::new();
    for pipeline in upcoming {
        text.push_str(&format!("{} · {} ({})\n\n", pipeline.pipeline, pipeline.cron, pipeline.timezone));
        for night in &pipeline.nights {
            text.push_str(&format!("  {night}\n"));
        }
        text.push('\n');
    }
    text
}
