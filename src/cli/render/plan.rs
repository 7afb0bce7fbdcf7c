//! What a run would do, as text.

use indicatif::{DecimalBytes, HumanCount};

use super::{block, table};
use crate::run::altered;
use crate::run::extract::{Extraction, files_of};
use crate::run::plan::{Plan, PlanSummary};
use crate::star::drift::SchemaChange;

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
    for read in &plan.reads {
        if let Some(filter) = &read.filter {
            text.push_str(&format!("\n  Of {}, only the rows where {}.\n", read.table, one_line(filter)));
        }
    }
    text.push_str(&changed(&plan.changes));
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
    for obstacle in &plan.obstacles {
        text.push_str(&format!(
            "\nwarning: the target will not take the star: {}\n",
            crate::shown::line(&obstacle.to_string())
        ));
    }
    for warning in &plan.warnings {
        text.push_str(&format!("\nwarning: {}\n", crate::shown::line(warning)));
    }
    text
}

/// How the source's schema changed since the last run.
pub(super) fn changed(changes: &[SchemaChange]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let lines = changes.iter().map(|change| format!("    {change}\n"));
    format!("\n  The source's schema changed since the last run:\n{}", lines.collect::<String>())
}

pub fn checked(plan: &Plan) -> String {
    let (models, controls) = (plan.pipeline.models.len(), plan.pipeline.controls.len());
    let tables = plan.design.reads.len();
    format!(
        "{} fits its source: {models} models over {tables} tables, {controls} controls.\n{}",
        plan.pipeline.deployment.name,
        changed(&plan.changes)
    )
}

fn one_line(text: &str) -> String {
    text.replace("\n)", ")").replace('\n', " ")
}

/// What was taken of the source.
pub fn extraction(taken: &Extraction) -> String {
    let looked = taken.folder.is_none();
    let what = if looked { "looked through, nothing written" } else { "extracted" };
    let mut text = format!("{} · {what} · {:.2} s\n\n", taken.pipeline, taken.seconds);
    let mut rows = table(&["table", "rows", "columns", "size", ""], &[1, 2, 3]);
    for table in &taken.tables {
        rows.add_row([
            table.table.to_string(),
            HumanCount(table.rows).to_string(),
            table.columns.len().to_string(),
            if looked { String::new() } else { DecimalBytes(table.bytes).to_string() },
            match &taken.folder {
                Some(folder) => files_of(folder, &table.table).join("*.parquet").display().to_string(),
                None => String::new(),
            },
        ]);
    }
    text.push_str(&block(&rows));
    for table in &taken.tables {
        if let Some(filter) = &table.filter {
            text.push_str(&format!("\n  Of {}, only the rows where {}.\n", table.table, one_line(filter)));
        }
    }
    for table in &taken.tables {
        for (column, values) in &table.altered {
            text.push_str(&format!("\nwarning: {}\n", altered(&table.table, column, *values)));
        }
    }
    text.push_str(&format!(
        "\n  All as of one instant; the source snapshot was held for {:.2} s.\n",
        taken.held_seconds
    ));
    text
}
