//! What a run would do, as text.

use indicatif::{DecimalBytes, HumanCount};

use super::{block, table};
use crate::run::plan::{Plan, PlanSummary};

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
        plan.pipeline.deployment.name
    )
}
