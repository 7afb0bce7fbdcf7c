//! What happened in one run: the same values for people, for `--format json`, and for `runs/`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::outdated::LostCorrection;
use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind};
use crate::load::Delivery;
use crate::name::{RunId, SnapshotId, who};
use crate::star::audit::{ControlLine, Coverage, Verdict};
use crate::star::diff::TableDiff;
use crate::star::drift::SchemaChange;
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
    /// Who began it, as `user@host`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The night of the schedule that this run is, when a scheduler began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<DateTime<Utc>>,
    pub started_at: DateTime<Utc>,
    pub seconds: f64,
    /// The snapshot that this run published, or that was delivered or rolled back to.
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
    /// What the target was still owed, and got before this night began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_delivery: Option<Delivery>,
    pub steps: Vec<StepRecord>,
    pub warnings: Vec<String>,
    /// What was corrected after the backup that a store was restored from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_corrections: Vec<LostCorrection>,
    pub error: Option<ErrorReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Run,
    DryRun,
    /// The published snapshot was delivered by command.
    Delivery,
    /// An older snapshot was published again by command.
    Rollback,
    /// A hold was taken off by command.
    Release,
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
    /// Another run has had this night of the schedule; nothing was done.
    AlreadyDone,
    /// A delivery by command: the target has the published snapshot.
    Delivered,
    /// An older snapshot is the published one again.
    RolledBack,
    /// Everything was built and audited, and nothing published, because somebody holds the pipeline.
    Held,
    /// Nobody holds the pipeline any more.
    Released,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Published => "published",
            Outcome::Rehearsed => "rehearsed",
            Outcome::Refused => "refused",
            Outcome::DeliveryPending => "delivery_pending",
            Outcome::Failed => "failed",
            Outcome::AlreadyDone => "already_done",
            Outcome::Delivered => "delivered",
            Outcome::RolledBack => "rolled_back",
            Outcome::Held => "held",
            Outcome::Released => "released",
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SourceReport {
    pub url: String,
    pub position: Option<Position>,
    pub held_seconds: f64,
    pub tables: Vec<TableRead>,
    /// How its schema changed since the last run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<SchemaChange>,
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
            by: who(),
            scheduled_for: None,
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
            pending_delivery: None,
            steps: Vec::new(),
            warnings: Vec::new(),
            lost_corrections: Vec::new(),
            error: None,
        }
    }

    /// Whether a night ran, rather than a command between the nights.
    pub fn is_run(&self) -> bool {
        matches!(self.mode, Mode::Run | Mode::DryRun)
    }

    /// Notes what a step cost.
    pub fn step(&mut self, step: &str, watch: &Stopwatch) {
        let cost = watch.cost();
        tracing::info!(step, seconds = cost.wall_ms / 1_000.0, "step done");
        self.steps.push(StepRecord { step: step.to_owned(), cost });
    }

    /// Whether its night needs no other run: it published, or what stopped it does not pass by itself.
    pub fn is_final(&self) -> bool {
        let kind = ErrorKind::of_exit_code(i32::from(self.exit_code));
        self.snapshot.is_some() || !kind.is_some_and(ErrorKind::may_pass)
    }

    /// Whether a night of the schedule was had by this run.
    pub fn is_final_night(&self) -> bool {
        self.scheduled_for.is_some() && self.is_final()
    }

    /// Why the run did not end well, in one line.
    pub fn reason(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        let mut failed = self.controls.iter().filter(|line| line.verdict == Verdict::Failed);
        let refused = failed
            .next()
            .map(|line| format!("{} {}: source {}, star {}", line.table, line.name, line.source, line.star));
        let mistake = error.diagnostics.first().and_then(|mistake| {
            let (place, message) = (&mistake["place"], mistake["message"].as_str()?);
            Some(match (place["file"].as_str(), place["line"].as_u64()) {
                (Some(file), Some(line)) => format!("{message} ({file}:{line})"),
                _ => message.to_owned(),
            })
        });
        Some(match mistake.or(refused).as_ref().or(error.causes.first()) {
            Some(cause) => format!("{}: {cause}", error.message),
            None => error.message.clone(),
        })
    }

    pub fn has_differences(&self) -> bool {
        !self.diff.iter().all(TableDiff::is_empty)
    }
}
