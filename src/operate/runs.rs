//! The history of a pipeline's runs: outcome and reason of each.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::snapshots::Changes;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{RunId, SnapshotId};
use crate::pipeline;
use crate::run::report::{Outcome, RunReport};
use crate::store::Store;

/// The newest runs first.
#[derive(Debug, Serialize)]
pub struct History {
    pub pipeline: String,
    pub runs: Vec<RunLine>,
    /// How many there are in all.
    pub of: usize,
}

#[derive(Debug, Serialize)]
pub struct RunLine {
    pub run: RunId,
    pub started_at: DateTime<Utc>,
    pub scheduled_for: Option<DateTime<Utc>>,
    pub seconds: f64,
    pub by: String,
    pub outcome: Outcome,
    pub exit_code: u8,
    pub snapshot: Option<SnapshotId>,
    pub rows: u64,
    pub changes: Changes,
    /// Why it did not end well.
    pub reason: Option<String>,
}

impl From<&RunReport> for RunLine {
    fn from(report: &RunReport) -> RunLine {
        RunLine {
            run: report.run.clone(),
            started_at: report.started_at,
            scheduled_for: report.scheduled_for,
            seconds: report.seconds,
            by: report.by.clone(),
            outcome: report.outcome,
            exit_code: report.exit_code,
            snapshot: report.snapshot.clone(),
            rows: report.tables.iter().map(|table| table.rows).sum(),
            changes: Changes::of(&report.diff),
            reason: report.reason(),
        }
    }
}

pub fn history(path: &Path, limit: usize) -> Result<History> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let runs = store.reports::<RunReport>().take(limit).map(|report| RunLine::from(&report)).collect();
    Ok(History { pipeline: deployment.name, runs, of: store.runs().len() })
}

/// One run's whole report: by its id or the beginning of it, or `latest`.
pub fn report(path: &Path, reference: &str) -> Result<RunReport> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let runs = store.runs();
    let found: Vec<&RunId> = match reference {
        "latest" | "last" => runs.first().into_iter().collect(),
        _ => runs.iter().filter(|run| run.as_str().starts_with(reference)).collect(),
    };
    match found.as_slice() {
        [one] => store.report(one),
        found => {
            let message = format!("{} has no one run `{reference}`", deployment.name);
            let hint = match found {
                [] => "`starmill runs` lists them".to_owned(),
                several => format!("{} runs begin so: {}", several.len(), crate::name::list(several)),
            };
            Err(Error::new(ErrorKind::Usage, message).hint(hint))
        }
    }
}
