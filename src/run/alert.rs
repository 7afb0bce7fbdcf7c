//! Whether people are told of a run's end, and in which words.

use std::path::Path;

use super::report::{Mode, Outcome, RunReport};
use crate::clock;
use crate::error::ErrorKind;
use crate::name::{RunId, host};
use crate::notify::{Alert, Outbox, ping};
use crate::pipeline::notify::AlertKind;
use crate::pipeline::{self, Deployment};
use crate::star::audit::Verdict;
use crate::store::Store;
use crate::store::notes::IncidentNote;

/// Tells how a run ended, if there is somebody to tell and something to be told.
pub async fn after_run(path: &Path, report: &RunReport) {
    // Without a deployment nobody knows whom to tell; the exit code speaks.
    let Ok(deployment) = pipeline::deployment(path) else { return };
    if report.mode != Mode::DryRun {
        outbox(&deployment).tell_kept(&deployment.notify).await;
    }
    if let Some(kind) = kind_of(&deployment, report) {
        tell(&deployment, of_run(&deployment, kind, report)).await;
    }
    if report.outcome == Outcome::Published {
        alive(&deployment).await;
    }
}

/// Says that a night went well, to whoever would miss it.
pub async fn alive(deployment: &Deployment) {
    if let Some(url) = &deployment.notify.heartbeat {
        ping(url).await;
    }
}

/// What people are owed.
pub fn outbox(deployment: &Deployment) -> Outbox {
    Outbox::of(&Store::of(&deployment.store).local_folder())
}

/// What a run's end is to the people: nothing, when all is as it was.
pub fn kind_of(deployment: &Deployment, report: &RunReport) -> Option<AlertKind> {
    let interrupted = [ErrorKind::Interrupted, ErrorKind::Terminated, ErrorKind::Locked];
    if report.mode == Mode::DryRun || interrupted.iter().any(|kind| kind.exit_code() == report.exit_code) {
        return None;
    }
    match report.outcome {
        Outcome::Refused => Some(AlertKind::Refusal),
        Outcome::Failed | Outcome::DeliveryPending | Outcome::Held => Some(AlertKind::Failure),
        Outcome::Published => {
            let open = Store::of(&deployment.store).note::<IncidentNote>();
            let wants = |kind: AlertKind| deployment.notify.on.contains(&kind);
            // Who was told of a failure and wants to hear of its end hears that; it is a success, too.
            let told = open.is_some_and(|open| wants(open.kind));
            Some(if told && wants(AlertKind::Recovery) { AlertKind::Recovery } else { AlertKind::Success })
        }
        Outcome::Rehearsed
        | Outcome::AlreadyDone
        | Outcome::Delivered
        | Outcome::RolledBack
        | Outcome::Released => None,
    }
}

/// Remembers what is wrong, or right again, and sends the alert if somebody wants it.
pub async fn tell(deployment: &Deployment, alert: Alert) {
    if remember(deployment, &alert) == Wanted::Yes {
        outbox(deployment).tell(&deployment.notify, alert).await;
    }
}

/// Whether an alert is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Yes,
    /// The pipeline doesn't want its kind, or somebody has told the same of the same night.
    No,
}

/// Notes what is wrong until it comes right. A recovery is wanted by those who were told of what it
/// recovers from.
pub fn remember(deployment: &Deployment, alert: &Alert) -> Wanted {
    let store = Store::of(&deployment.store);
    let wants = |kind: AlertKind| deployment.notify.on.contains(&kind);
    let _held = store.hold_notes();
    let open = store.note::<IncidentNote>();
    let (noted, wanted) = match alert.event {
        AlertKind::Test => (Ok(()), true),
        AlertKind::Success => (store.drop_note::<IncidentNote>(), wants(AlertKind::Success)),
        AlertKind::Recovery => {
            let told = open.is_some_and(|open| wants(open.kind));
            (store.drop_note::<IncidentNote>(), told && wants(AlertKind::Recovery))
        }
        kind => {
            // Two schedulers of one store live through the same night.
            let same = |open: &IncidentNote| {
                open.kind == kind && alert.scheduled_for.is_some() && open.night == alert.scheduled_for
            };
            let said = open.as_ref().is_some_and(same);
            let since = open.map_or(alert.at, |open| open.since);
            let note = IncidentNote { kind, run: alert.run.clone(), night: alert.scheduled_for, since };
            // Where a store should be and is not, none is made for a note's sake.
            let keeps = !said && store.exists();
            (if keeps { store.keep_note(&note) } else { Ok(()) }, !said && wants(kind))
        }
    };
    if let Err(error) = noted {
        tracing::warn!(%error, "what is wrong was not noted");
    }
    if wanted { Wanted::Yes } else { Wanted::No }
}

/// What a run's end is to be told as, if it is to be told.
pub fn about(deployment: &Deployment, report: &RunReport) -> Option<Alert> {
    let kind = kind_of(deployment, report)?;
    Some(of_run(deployment, kind, report))
}

/// Tells that what was wrong has come right by other means than a run.
pub async fn recovered(deployment: &Deployment, how: &str) {
    if Store::of(&deployment.store).note::<IncidentNote>().is_some() {
        tell(deployment, bare(deployment, AlertKind::Recovery, format!("recovered; {how}"))).await;
    }
}

/// Failed controls that an alert names.
const CONTROLS: usize = 10;

/// An alert about a run.
pub fn of_run(deployment: &Deployment, event: AlertKind, report: &RunReport) -> Alert {
    let mut alert = bare(deployment, event, line(event, report));
    alert.run = Some(report.run.clone());
    alert.outcome = Some(report.outcome.word().to_owned());
    alert.exit_code = Some(report.exit_code);
    if let Some(error) = &report.error {
        alert.message = Some(error.message.clone());
        alert.causes.clone_from(&error.causes);
        alert.hint.clone_from(&error.hint);
    }
    for line in report.controls.iter().filter(|line| line.verdict == Verdict::Failed).take(CONTROLS) {
        let told = format!("{} {}: source {}, star {}", line.table, line.name, line.source, line.star);
        alert.causes.push(told);
    }
    alert.scheduled_for = report.scheduled_for;
    alert.started_at = Some(report.started_at);
    alert.seconds = Some(report.seconds);
    alert
}

/// An alert that tells nothing but a line.
pub fn bare(deployment: &Deployment, event: AlertKind, text: String) -> Alert {
    let store = Store::of(&deployment.store);
    let latest = store.latest().ok().flatten();
    Alert {
        event,
        pipeline: deployment.name.clone(),
        text: format!("starmill {}: {text}", deployment.name),
        run: None,
        outcome: None,
        exit_code: None,
        message: None,
        causes: Vec::new(),
        hint: None,
        scheduled_for: None,
        started_at: None,
        seconds: None,
        snapshot: latest.map(|latest| latest.snapshot),
        host: host(),
        at: clock::now(),
    }
}

fn line(event: AlertKind, report: &RunReport) -> String {
    let run: &RunId = &report.run;
    match (event, report.reason()) {
        (AlertKind::Recovery, _) => format!("recovered; run {run} published a new snapshot"),
        (_, Some(reason)) => {
            format!("run {run} {} (exit {}): {reason}", verb(report.outcome), report.exit_code)
        }
        (_, None) => format!("run {run} {}", verb(report.outcome)),
    }
}

fn verb(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Published => "published a new snapshot",
        Outcome::Rehearsed => "rehearsed",
        Outcome::Refused => "was refused by the audit",
        Outcome::DeliveryPending => "published, but could not deliver",
        Outcome::Failed => "failed",
        Outcome::AlreadyDone => "had nothing to do",
        Outcome::Delivered => "delivered the published snapshot",
        Outcome::RolledBack => "published an older snapshot again",
        Outcome::Held => "was held and published nothing",
        Outcome::Released => "lets the next run publish again",
    }
}
