//! What happened in every run, the failed ones too: `runs/<run>.json`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lock::RESERVE;
use super::prune::is_full;
use super::{Readers, Store};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::name::RunId;

const FOLDER: &str = "runs";

pub(super) fn report_of(run: &RunId) -> String {
    format!("{FOLDER}/{run}.json")
}

impl Store {
    /// Keeps what happened in a run, by its id.
    pub fn keep_report<R: Serialize>(&self, run: &RunId, report: &R) -> Result<()> {
        let text =
            serde_json::to_string_pretty(report).or_error(ErrorKind::Bug, || "the report".to_owned())?;
        let name = report_of(run);
        self.objects.write(&name, &text, Readers::Owner).or_else(|error| {
            // On a full disk the room that is kept for a prune has enough for what went wrong.
            match is_full(&error) && self.objects.remove(RESERVE).is_ok() {
                true => self.objects.write(&name, &text, Readers::Owner),
                false => Err(error),
            }
        })
    }

    /// The runs that have a report, the newest first.
    pub fn runs(&self) -> Vec<RunId> {
        self.runs_there().unwrap_or_else(|error| {
            tracing::warn!(store = self.shown(), %error, "the runs cannot be read");
            Vec::new()
        })
    }

    /// The same, and an error where they cannot be read.
    fn runs_there(&self) -> Result<Vec<RunId>> {
        let entries = self.objects.entries(FOLDER)?;
        let mut runs: Vec<RunId> =
            entries.iter().filter_map(|entry| RunId::parse(entry.name.strip_suffix(".json")?)).collect();
        runs.sort();
        runs.reverse();
        Ok(runs)
    }

    /// Forgets the reports of runs that began longer ago. What is no report of a run stays.
    pub fn forget_reports(&self, longer_ago: Duration, now: DateTime<Utc>) -> Result<()> {
        let Ok(length) = TimeDelta::from_std(longer_ago) else { return Ok(()) };
        // A length that no calendar holds is for ever.
        let Some(since) = now.checked_sub_signed(length) else { return Ok(()) };
        for run in self.runs().into_iter().filter(|run| run.started_at() < since) {
            self.objects.remove(&report_of(&run))?;
        }
        Ok(())
    }

    /// The report of a run.
    pub fn report<R: DeserializeOwned>(&self, run: &RunId) -> Result<R> {
        let name = report_of(run);
        let text = self.objects.require(&name)?;
        serde_json::from_slice(&text).or_error(ErrorKind::Store, || {
            format!("{} is not the report of a run", self.objects.shown(&name))
        })
    }

    /// The reports of all runs, the newest first, each read when it is asked for. What cannot be read
    /// is left out, and told in the log: one damaged report must not hide the others.
    pub fn reports<R: DeserializeOwned>(&self) -> impl Iterator<Item = R> + '_ {
        self.runs().into_iter().filter_map(|run| self.report_or_none(&run))
    }

    /// The same, and an error where nobody knows which there are.
    pub fn reports_there<R: DeserializeOwned>(&self) -> Result<impl Iterator<Item = R> + '_> {
        Ok(self.runs_there()?.into_iter().filter_map(|run| self.report_or_none(&run)))
    }

    fn report_or_none<R: DeserializeOwned>(&self, run: &RunId) -> Option<R> {
        let report = self.report(run);
        report.inspect_err(|error| tracing::warn!(%run, %error, "a run's report is left out")).ok()
    }
}
