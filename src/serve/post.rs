//! One pipeline that the scheduler looks after: what became of its last night, and who is told.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::night::Ended;
use super::timetable::{Attempt, Doing, End, Next, Work};
use crate::diagnostic::Diagnostic;
use crate::error::Result;
use crate::notify::Alert;
use crate::pipeline::notify::AlertKind;
use crate::pipeline::schedule::Schedule;
use crate::pipeline::{self, Deployment};
use crate::run::report::{Outcome, RunReport};
use crate::run::{alert, delivery};
use crate::store::Store;
use crate::store::notes::WatchNote;

pub struct Post {
    pub path: PathBuf,
    pub deployment: Deployment,
    attempt: Option<Attempt>,
    /// What the last run reported.
    last: Option<Box<RunReport>>,
    /// What the last attempt said, until one goes well.
    said: Option<String>,
    /// Nights that came to an end since the scheduler began, by how.
    ends: Ends,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Ends {
    pub well: u64,
    pub badly: u64,
    pub attempts: u64,
}

/// How a pipeline stands, for those who ask over HTTP.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    pub pipeline: String,
    pub doing: Activity,
    /// The night that runs, or the last one that did.
    pub night: Option<DateTime<Utc>>,
    pub next_night: Option<DateTime<Utc>>,
    /// What the last attempt said, when it did not end well.
    pub trouble: Option<String>,
    pub ends: Ends,
    #[serde(skip)]
    pub deployment: Deployment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    Waiting,
    Running,
    /// Between two attempts at one night.
    Resting,
}

impl From<Doing> for Activity {
    fn from(doing: Doing) -> Activity {
        match doing {
            Doing::Waiting => Activity::Waiting,
            Doing::Running => Activity::Running,
            Doing::Resting => Activity::Resting,
        }
    }
}

impl Post {
    pub fn open(path: &Path) -> Result<(Post, Schedule)> {
        let deployment = pipeline::deployment(path)?;
        let Some(schedule) = deployment.schedule.clone() else {
            let document = &deployment.document;
            let missing = Diagnostic::error(format!("{} has no [schedule]", deployment.name))
                .at(document, 0..0)
                .help("add [schedule] with cron = \"30 3 * * *\"");
            return Err(pipeline::mistakes(&document.path, vec![missing]));
        };
        let post = Post {
            path: path.to_owned(),
            deployment,
            attempt: None,
            last: None,
            said: None,
            ends: Ends::default(),
        };
        Ok((post, schedule))
    }

    fn store(&self) -> Store {
        Store::of(&self.deployment.store)
    }

    /// The last night that needs no run any more: one that has been had, or one from before anybody
    /// looked after this schedule.
    ///
    /// A store that is out of reach stops no scheduler: its nights are told when they fail, and a run that finds it had
    /// has nothing to do.
    pub fn had(&self, schedule: &Schedule, now: DateTime<Utc>) -> DateTime<Utc> {
        let store = self.store();
        let mut watch = WatchNote {
            cron: schedule.line.as_str().to_owned(),
            timezone: schedule.timezone.name().to_owned(),
            since: now,
        };
        let unreached = |error| {
            let pipeline = &self.deployment.name;
            tracing::warn!(pipeline, %error, "nobody knows since when its nights are looked after");
        };
        match store.note_there::<WatchNote>() {
            // Another line has other nights, and nobody has missed those.
            Ok(Some(known)) if known.cron == watch.cron && known.timezone == watch.timezone => watch = known,
            Ok(_) => store.keep_note(&watch).unwrap_or_else(unreached),
            // What cannot be read is not written over.
            Err(error) => unreached(error),
        }
        let had =
            store.reports::<RunReport>().find(RunReport::is_final_night).and_then(|had| had.scheduled_for);
        // No clock or command that ran ahead makes nights be had that are still to come.
        had.map_or(watch.since, |had| had.max(watch.since)).min(now)
    }

    /// Whether a former scheduler, or a killed run, left a published star undelivered.
    pub fn owes_delivery(&self) -> bool {
        // A store that cannot be read is its next night's to tell, and nobody else's to suffer from.
        delivery::is_pending(&self.deployment, &self.store())
            .inspect_err(
                |error| tracing::warn!(pipeline = self.deployment.name, %error, "the store cannot be read"),
            )
            .unwrap_or(false)
    }

    pub fn begins(&mut self, attempt: Attempt) {
        let (pipeline, night, number) = (&self.deployment.name, attempt.night, attempt.number);
        match attempt.work {
            Work::Run => tracing::info!(pipeline, %night, attempt = number, "the night begins"),
            Work::Deliver => {
                tracing::info!(pipeline, %night, attempt = number, "the delivery is tried again")
            }
        }
        self.ends.attempts += 1;
        if attempt.work == Work::Run {
            self.last = None;
        }
        if attempt.number == 1 {
            self.said = None;
        }
        self.attempt = Some(attempt);
    }

    /// Takes note of an attempt's end; gives what people are to be told.
    pub fn ended(&mut self, ended: Ended, next: Next) -> Option<Alert> {
        let pipeline = self.deployment.name.clone();
        let said = ended.said.clone();
        if ended.end == End::Locked {
            // Somebody else's run; it says itself how it goes.
            tracing::info!(pipeline, said, "another run holds the store; waiting for it");
            return None;
        }
        if ended.report.is_some() {
            self.last = ended.report;
        }
        match next {
            Next::Again(at) => {
                tracing::warn!(pipeline, said, next_attempt = %at, "the attempt failed and is repeated");
                self.said = Some(said);
                None
            }
            Next::Over if self.was_others() => {
                tracing::info!(pipeline, said, "another scheduler has had the night");
                self.said = None;
                self.untold()
            }
            Next::Over if ended.end == End::Well => {
                tracing::info!(pipeline, said, "the night is over");
                self.ends.well += 1;
                self.said = None;
                self.good_news()
            }
            Next::Over => {
                tracing::error!(pipeline, said, "the night failed");
                self.said = Some(said);
                self.bad_news()
            }
        }
    }

    /// Whether an attempt that ended well did its night's work itself, rather than find it done.
    pub fn is_ours(&self, ended: &Ended) -> bool {
        ended.report.as_ref().is_none_or(|report| report.outcome != Outcome::AlreadyDone)
    }

    /// Whether the last run found that its night had been had.
    fn was_others(&self) -> bool {
        let ran = self.attempt.is_some_and(|attempt| attempt.work == Work::Run);
        ran && self.last.as_ref().is_some_and(|report| report.outcome == Outcome::AlreadyDone)
    }

    /// What the newest run of a night has to tell, when whoever began it may not have told it: it was
    /// killed, or is another scheduler. Whoever told it has noted so.
    pub fn untold(&self) -> Option<Alert> {
        let newest = self.store().reports::<RunReport>().find(RunReport::is_run);
        let newest = newest.filter(RunReport::is_final_night)?;
        if newest.outcome == Outcome::DeliveryPending && !self.owes_delivery() {
            // Somebody has delivered it by hand.
            return None;
        }
        // A night that went well was told when it did, by whoever began it.
        alert::about(&self.deployment, &newest).filter(|alert| alert.event != AlertKind::Success)
    }

    /// Something that is wrong has come right. A delivery by itself says so itself.
    fn good_news(&self) -> Option<Alert> {
        let published = self.last.as_ref().filter(|report| report.outcome == Outcome::Published)?;
        alert::about(&self.deployment, published)
    }

    fn bad_news(&mut self) -> Option<Alert> {
        self.ends.badly += 1;
        match &self.last {
            Some(report) if report.reason().is_some() => alert::about(&self.deployment, report),
            _ => {
                let said = self.said.clone().unwrap_or_default();
                let text = format!("the night failed: {said}");
                let mut alert = alert::bare(&self.deployment, AlertKind::Failure, text);
                alert.scheduled_for = self.attempt.map(|attempt| attempt.night);
                Some(alert)
            }
        }
    }

    /// The next night has come before any attempt at this one went well.
    pub fn gives_up(&mut self, night: DateTime<Utc>) -> Option<Alert> {
        tracing::error!(pipeline = self.deployment.name, %night, "the night was tried until the next one came");
        self.bad_news()
    }

    pub fn is_late(&mut self, night: DateTime<Utc>, by: TimeDelta) -> Option<Alert> {
        let by = humantime::format_duration(std::time::Duration::from_secs(by.num_seconds().unsigned_abs()));
        tracing::warn!(pipeline = self.deployment.name, %night, by = %by, "the night is late");
        let night_text = night.format("%Y-%m-%d %H:%M UTC");
        let text = match &self.said {
            Some(said) => format!("the night of {night_text} is {by} late; its last attempt: {said}"),
            None => format!("the night of {night_text} is {by} late"),
        };
        let mut alert = alert::bare(&self.deployment, AlertKind::Lateness, text);
        alert.scheduled_for = Some(night);
        Some(alert)
    }

    pub fn standing(&self) -> Standing {
        Standing {
            pipeline: self.deployment.name.clone(),
            doing: Activity::Waiting,
            night: self.attempt.map(|attempt| attempt.night),
            next_night: None,
            trouble: self.said.clone(),
            ends: self.ends,
            deployment: self.deployment.clone(),
        }
    }
}
