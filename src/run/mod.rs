//! One night: rehearse, publish, deliver, report. The order of the steps is here and nowhere else.

pub mod alert;
mod continued;
pub mod delivery;
pub mod extract;
mod masked;
mod outdated;
pub mod plan;
pub mod record;
mod rehearse;
pub mod report;
mod restored;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::execution::runtime_env::RuntimeEnv;
use tracing::Instrument;

use crate::clock::{self, Stopwatch};
use crate::error::{Error, ErrorKind, Result};
use crate::name::RunId;
use crate::pipeline::{self, Deployment, Pipeline};
use crate::postgres;
use crate::progress::{Event, Progress};
use crate::star::PublishedStar;
use crate::star::audit::Strictness;
use crate::star::session::{Budget, runtime};
use crate::store::{Beginning, Memory, PrunePlan, Retention, Scratch, Store, StoreWriter};

pub use rehearse::altered;
use rehearse::{Rehearsal, Stand};
use report::{ErrorReport, Mode, Outcome, RunReport};

/// Whose words the ends of runs are in the log: a surface that prints them itself leaves them out.
pub const ENDS: &str = "starmill::ends";

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    pub purpose: Purpose,
    pub strictness: Strictness,
    /// Models whose changed key or surrogate is accepted.
    pub accept: Vec<String>,
    /// Whether differences from the published star are an exit code of their own.
    pub differences: Differences,
    /// The night of the schedule that this is; none when a person asks for it.
    pub scheduled_for: Option<DateTime<Utc>>,
    pub alerts: Alerts,
    /// What becomes of a store that is gone, or older than remembered.
    pub beginning: Beginning,
}

/// What becomes of the star that a run builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Publish,
    /// A dry run: it is built, audited, shown, and thrown away.
    Rehearse,
}

impl Purpose {
    fn mode(self) -> Mode {
        match self {
            Purpose::Publish => Mode::Run,
            Purpose::Rehearse => Mode::DryRun,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differences {
    Shown,
    ExitCode,
}

/// Who tells people how the run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alerts {
    /// The run does, as the pipeline's `[notify]` says.
    Send,
    /// Whoever started it: it knows whether the night is tried again.
    Leave,
}

/// Runs a pipeline once, unless `stop` ends it before. The report says what happened, also when the
/// result is an error.
pub async fn run(
    path: &Path,
    request: Request,
    progress: Progress,
    stop: impl Future<Output = ErrorKind>,
) -> (RunReport, Result<()>) {
    let (watch, started_at) = (Stopwatch::start(), clock::now());
    let id = RunId::new(started_at);
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let span = tracing::info_span!("run", run = %id, pipeline = name);
    async {
        tracing::info!("the run begins");
        let mut report = RunReport::new(id, name, request.purpose.mode(), started_at);
        report.scheduled_for = request.scheduled_for;
        // The lock outlives the night, so that whoever takes it next finds the report.
        let mut writer = None;
        let mut stopped = None;
        let result = tokio::select! {
            result = night(path, &request, &progress, &mut report, &mut writer) => Some(result),
            kind = stop => { stopped = Some(kind); None }
        };
        postgres::settle();
        // The commit never waits, so a signal finds it not begun or done.
        let result =
            result.unwrap_or_else(|| Err(interrupted(stopped.unwrap_or(ErrorKind::Interrupted), &report)));
        report.seconds = watch.elapsed().as_secs_f64();
        conclude(&mut report, &result, request.differences);
        keep(path, writer.as_ref(), &mut report);
        drop(writer);
        if request.alerts == Alerts::Send {
            alert::after_run(path, &report).await;
        }
        (report, result)
    }
    .instrument(span)
    .await
}

/// Says in the report how the run ended.
fn conclude(report: &mut RunReport, result: &Result<()>, differences: Differences) {
    match result {
        Ok(()) if differences == Differences::ExitCode && report.has_differences() => {
            report.exit_code = ErrorKind::Differences.exit_code();
        }
        Ok(()) => report.exit_code = 0,
        Err(error) => {
            report.exit_code = error.kind().exit_code();
            report.error = Some(ErrorReport::of(error));
            report.outcome = match error.kind() {
                ErrorKind::Audit => Outcome::Refused,
                ErrorKind::Held => Outcome::Held,
                // Whatever ended the run after its commit, the star is published.
                _ if report.snapshot.is_some() => Outcome::DeliveryPending,
                _ => Outcome::Failed,
            };
        }
    }
    let (outcome, exit_code, seconds) = (report.outcome.word(), report.exit_code, report.seconds);
    match report.reason() {
        Some(reason) => tracing::error!(target: ENDS, outcome, exit_code, seconds, reason, "the run ends"),
        None => tracing::info!(target: ENDS, outcome, exit_code, seconds, "the run ends"),
    }
}

/// Keeps the report among the store's runs. The run is over by then, so a failure is only told.
fn keep(path: &Path, writer: Option<&StoreWriter>, report: &mut RunReport) {
    let told = report.mode == Mode::Run
        && report.exit_code != ErrorKind::Locked.exit_code()
        && report.outcome != Outcome::AlreadyDone;
    if !told {
        return;
    }
    let store = match writer {
        Some(writer) => Ok(writer.store().clone()),
        // A pipeline whose models are wrong still says where its runs are told.
        None => pipeline::deployment(path).map(|deployment| Store::of(&deployment.store)),
    };
    let Ok(store) = store else { return };
    if !store.exists() {
        // Where a store should be and is not, none is made for a report's sake.
        return;
    }
    if let Err(error) = store.keep_report(&report.run, report) {
        tracing::warn!(%error, "the report was not kept");
        report.warnings.push(format!("the report was not kept: {error}"));
    }
}

fn interrupted(kind: ErrorKind, report: &RunReport) -> Error {
    let word = if kind == ErrorKind::Terminated { "terminated" } else { "interrupted" };
    match &report.snapshot {
        Some(snapshot) => {
            Error::new(kind, format!("{word} during the delivery; snapshot {snapshot} is published"))
                .hint("`starmill deliver` or the next run delivers it")
        }
        None => Error::new(kind, format!("{word}; nothing was published"))
            .hint("the last snapshot stands; run again"),
    }
}

async fn night(
    path: &Path,
    request: &Request,
    progress: &Progress,
    report: &mut RunReport,
    lock: &mut Option<StoreWriter>,
) -> Result<()> {
    let pipeline = pipeline::read(path)?;
    report.pipeline.clone_from(&pipeline.deployment.name);
    report.source.url = pipeline.source.url.to_string();
    continued::known_models(&pipeline, &request.accept)?;
    let store = &pipeline.deployment.store;
    match request.purpose {
        Purpose::Rehearse => {
            let memory = Memory::of(&pipeline.deployment.project, &store.place);
            let seen = Store::of(store);
            memory.require(seen.latest_or_lost()?.as_ref(), request.beginning)?;
            let scratch = readers_scratch(&pipeline.deployment, &report.run)?;
            let stand = Stand::dry(seen, scratch);
            rehearse::rehearse(pipeline, request, stand, progress, report).await?;
            report.outcome = Outcome::Rehearsed;
            Ok(())
        }
        Purpose::Publish => {
            let seen = Store::of(store);
            if !seen.exists() {
                // Nothing is made where only the target knows that a store was.
                delivery::require_known(&pipeline.deployment, &seen, request.beginning, report).await?;
            }
            let acquired = StoreWriter::acquire(&pipeline.deployment, &report.run, request.beginning)?;
            let writer = &*lock.insert(acquired);
            writer.require_followed()?;
            if request.scheduled_for.map_or(Ok(false), |night| was_had(writer.store(), night))? {
                report.outcome = Outcome::AlreadyDone;
                return Ok(());
            }
            delivery::require_known(&pipeline.deployment, writer.store(), request.beginning, report).await?;
            if request.beginning != Beginning::Restored {
                // A target that is ahead of a restored store tells what was given since.
                delivery::pending(&pipeline.deployment, writer.store(), progress, report).await?;
            }
            let parent =
                pipeline.deployment.run.scratch.clone().unwrap_or_else(|| writer.store().local_folder());
            let scratch = Scratch::create(&parent, &report.run)?;
            let stand = Stand::of(writer, scratch);
            let hold = writer.store().latest()?.and_then(|latest| latest.hold);
            let rehearsal = rehearse::rehearse(pipeline, request, stand, progress, report).await?;
            if let Some(hold) = hold {
                return Err(hold.refusal());
            }
            let (pipeline, star) = publish(rehearsal, writer, progress, report).await?;
            delivery::deliver(&pipeline.deployment, writer.store(), &star, progress, report).await
        }
    }
}

/// How far the clocks of two machines may be apart.
const CLOCKS_DIFFER: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// Whether a night of the schedule needs no run any more: one published it, or failed for good.
fn was_had(store: &Store, night: DateTime<Utc>) -> Result<bool> {
    // The clocks of two machines are never quite the same.
    let since = night - chrono::TimeDelta::days(1);
    let recent = store.reports_there::<RunReport>()?.take_while(|report| report.started_at >= since);
    // A clock that ran ahead makes no night be had that is still to come.
    let horizon = clock::now() + CLOCKS_DIFFER;
    let mut recent = recent.filter(|report| {
        let credible = report.started_at <= horizon;
        if !credible {
            tracing::warn!(run = %report.run, started_at = %report.started_at, "a run is recorded in the future and not believed");
        }
        credible
    });
    Ok(recent.any(|report| report.is_final_night() && report.scheduled_for >= Some(night)))
}

/// Scratch for what only reads the store: in the folder that the pipeline names, else in one of its own.
fn readers_scratch(deployment: &Deployment, run: &RunId) -> Result<Scratch> {
    match &deployment.run.scratch {
        Some(folder) => Scratch::create(folder, run),
        None => Scratch::private(run),
    }
}

/// What an engine needs that only reads the store: its scratch, to be kept as long, and its bounds.
pub fn readers_engine(deployment: &Deployment) -> Result<(Scratch, Arc<RuntimeEnv>)> {
    let scratch = readers_scratch(deployment, &RunId::new(clock::now()))?;
    let budget = Budget { memory: deployment.run.memory, scratch: scratch.folder().to_owned() };
    let runtime = runtime(&budget)?;
    Ok((scratch, runtime))
}

async fn publish(
    rehearsal: Rehearsal,
    writer: &StoreWriter,
    progress: &Progress,
    report: &mut RunReport,
) -> Result<(Arc<Pipeline>, PublishedStar)> {
    progress.tell(Event::Step("publish"));
    let watch = Stopwatch::start();
    let Rehearsal { pipeline, star, proof, scratch } = rehearsal;
    let star = writer.publish(&pipeline, star, proof).await?;
    drop(scratch);
    report.outcome = Outcome::Published;
    report.snapshot = Some(star.snapshot.clone());
    report.output = Some(writer.store().snapshot_shown(&star.snapshot));
    // The star is published; an old snapshot that stays is no reason to say otherwise.
    let store = &pipeline.deployment.store;
    let retention = Retention { count: Some(store.keep), age: None, grace: store.grace };
    let pruned = writer
        .store()
        .commit_point()
        .and_then(|latest| writer.prune(&PrunePlan::new(&latest, &retention, clock::now())));
    if let Err(error) = pruned {
        report.warnings.push(format!("old snapshots were not pruned: {error}"));
    }
    if let Err(error) = writer.store().forget_reports(store.keep_runs, clock::now()) {
        report.warnings.push(format!("old reports were not removed: {error}"));
    }
    report.step("publish", &watch);
    Ok((pipeline, star))
}
