//! What was done to a star between its nights, kept among the runs: a delivery, a rollback, by whom.

use crate::clock::{self, Stopwatch};
use crate::error::{Error, ErrorKind};
use crate::load::Delivery;
use crate::name::{RunId, SnapshotId};
use crate::pipeline::Deployment;
use crate::store::Store;
use crate::store::manifest::Hold;

use super::report::{ErrorReport, Mode, Outcome, RunReport};

/// A line in the history of a store, from when its work begins.
pub struct Record<'a> {
    store: &'a Store,
    report: RunReport,
    watch: Stopwatch,
}

impl<'a> Record<'a> {
    pub fn begin(deployment: &Deployment, store: &'a Store, mode: Mode) -> Record<'a> {
        let at = clock::now();
        let report = RunReport::new(RunId::new(at), deployment.name.clone(), mode, at);
        Record { store, report, watch: Stopwatch::start() }
    }

    /// The snapshot that readers see now, whatever becomes of its delivery.
    pub fn rolled_back(&mut self, from: &SnapshotId, to: &SnapshotId, hold: Option<&Hold>) {
        let held = hold.map(|hold| format!("held until it is released: {}", hold.because));
        self.report.warnings.extend(held);
        self.report.since = Some(from.clone());
        self.report.snapshot = Some(to.clone());
        self.report.outcome = Outcome::RolledBack;
        self.report.exit_code = 0;
        self.keep();
    }

    /// Somebody lets it be published again.
    pub fn released(mut self, snapshot: &SnapshotId, hold: &Hold) {
        self.report.snapshot = Some(snapshot.clone());
        self.report.outcome = Outcome::Released;
        self.report.exit_code = 0;
        let since = hold.since.format("%Y-%m-%d %H:%M:%SZ");
        self.report.warnings.push(format!("it was held since {since} by {}: {}", hold.by, hold.because));
        self.keep();
    }

    /// How the delivery of a snapshot ended.
    pub fn delivered(mut self, snapshot: &SnapshotId, result: Result<&Delivery, &Error>) {
        match result {
            Ok(delivery) => {
                self.report.snapshot = Some(snapshot.clone());
                self.report.delivery = Some(delivery.clone());
                self.report.exit_code = 0;
                if self.report.mode == Mode::Delivery {
                    self.report.outcome = Outcome::Delivered;
                }
            }
            Err(error) => {
                self.report.exit_code = error.kind().exit_code();
                self.report.error = Some(ErrorReport::of(error));
                self.report.outcome = match error.kind() {
                    ErrorKind::DeliveryPending => Outcome::DeliveryPending,
                    _ => Outcome::Failed,
                };
            }
        }
        self.keep();
    }

    /// It is done by then, so a failure to say so is only told.
    fn keep(&mut self) {
        self.report.seconds = self.watch.elapsed().as_secs_f64();
        if let Err(error) = self.store.keep_report(&self.report.run, &self.report) {
            tracing::warn!(%error, "what was done was not kept among the runs");
        }
    }
}
