//! What happened in one run: the same values for people, for `--format json`, and for `runs/`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock::Stopwatch;
use crate::error::Error;
use crate::load::Delivery;
use crate::name::{RunId, SnapshotId};
use crate::star::audit::{ControlLine, Coverage};
use crate::star::diff::TableDiff;
use crate::star::origin::{Position, TableRead};
use crate::star::session::Effort;
use crate::store::manifest::StepRecord;

/// The report. Fields that a run did not come to are empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunReport {
    pub run: RunId,
    pub pipeline: String,
    pub mode: Mode,
    pub outcome: Outcome,
    pub exit_code: u8,
    pub started_at: DateTime<Utc>,
    pub seconds: f64,
    /// The snapshot that this run published.
    pub snapshot: Option<SnapshotId>,
    /// The snapshot that the star was compared with.
    pub since: Option<SnapshotId>,
    /// Where the published tables lie.
    pub output: Option<String>,
    pub source: SourceReport,
    pub tables: Vec<TableReport>,
    pub controls: Vec<ControlLine>,
    pub coverage: Option<Coverage>,
    pub diff: Vec<TableDiff>,
    pub delivery: Option<Delivery>,
    pub steps: Vec<StepRecord>,
    pub warnings: Vec<String>,
    pub error: Option<ErrorReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Run,
    DryRun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The snapshot is published, and delivered if there is a target.
    Published,
    /// A dry run: everything was built and audited, nothing published.
    Rehearsed,
    /// The audit refused; nothing was published.
    Refused,
    /// Published, but the target does not have it yet.
    DeliveryPending,
    Failed,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SourceReport {
    pub url: String,
    pub position: Option<Position>,
    pub held_seconds: f64,
    pub tables: Vec<TableRead>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableReport {
    pub table: String,
    pub role: String,
    pub rows: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub effort: Effort,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorReport {
    pub kind: String,
    pub message: String,
    pub causes: Vec<String>,
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<serde_json::Value>,
}

impl ErrorReport {
    pub fn of(error: &Error) -> ErrorReport {
        let places = error.context().iter().map(|(what, value)| format!("{what}: {value}"));
        ErrorReport {
            kind: error.kind().word().to_owned(),
            message: error.message().to_owned(),
            causes: error.causes().into_iter().chain(places).collect(),
            hint: error.help().map(str::to_owned),
            diagnostics: error.diagnostics().iter().map(|diagnostic| diagnostic.to_json()).collect(),
        }
    }
}

impl RunReport {
    pub fn new(run: RunId, pipeline: String, mode: Mode, started_at: DateTime<Utc>) -> RunReport {
        RunReport {
            run,
            pipeline,
            mode,
            outcome: Outcome::Failed,
            exit_code: 1,
            started_at,
            seconds: 0.0,
            snapshot: None,
            since: None,
            output: None,
            source: SourceReport::default(),
            tables: Vec::new(),
            controls: Vec::new(),
            coverage: None,
            diff: Vec::new(),
            delivery: None,
            steps: Vec::new(),
            warnings: Vec::new(),
            error: None,
        }
    }

    /// Notes what a step cost.
    pub fn step(&mut self, step: &str, watch: &Stopwatch) {
        self.steps.push(StepRecord { step: step.to_owned(), cost: watch.cost() });
    }

    pub fn has_differences(&self) -> bool {
        !self.diff.iter().all(TableDiff::is_empty)
    }
}
