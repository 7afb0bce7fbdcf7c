//! One night: rehearse, publish, deliver, report. The order of the steps is here and nowhere else.

pub mod plan;
mod rehearse;
pub mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{self, Stopwatch};
use crate::error::{Error, ErrorKind, Result};
use crate::load;
use crate::name::RunId;
use crate::pipeline::{self, Pipeline};
use crate::progress::{Event, Progress};
use crate::star::PublishedStar;
use crate::star::audit::Strictness;
use crate::store::{PrunePlan, Scratch, Store, StoreWriter};

use rehearse::{Rehearsal, Stand};
use report::{ErrorReport, Mode, Outcome, RunReport};

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    pub mode: Mode,
    pub strictness: Strictness,
    /// Models whose changed key or surrogate is accepted.
    pub accept: Vec<String>,
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
    let id = RunId::new(started_at, fastrand::u16(..));
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut report = RunReport::new(id, name, request.mode, started_at);
    let mut stopped = None;
    let result = tokio::select! {
        result = night(path, &request, &progress, &mut report) => Some(result),
        kind = stop => { stopped = Some(kind); None }
    };
    // Publishing never waits, so a signal finds it not begun or done.
    let result =
        result.unwrap_or_else(|| Err(interrupted(stopped.unwrap_or(ErrorKind::Interrupted), &report)));
    report.seconds = watch.elapsed().as_secs_f64();
    match &result {
        Ok(()) => report.exit_code = 0,
        Err(error) => {
            report.exit_code = error.kind().exit_code();
            report.error = Some(ErrorReport::of(error));
            report.outcome = match error.kind() {
                ErrorKind::Audit => Outcome::Refused,
                // Whatever ended the run after its commit, the star is published.
                _ if report.snapshot.is_some() => Outcome::DeliveryPending,
                _ => Outcome::Failed,
            };
        }
    }
    (report, result)
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

async fn night(path: &Path, request: &Request, progress: &Progress, report: &mut RunReport) -> Result<()> {
    let pipeline = pipeline::read(path)?;
    report.pipeline.clone_from(&pipeline.name);
    report.source.url = pipeline.source.url.to_string();
    match request.mode {
        Mode::DryRun => {
            let parent = pipeline.run.scratch.clone().unwrap_or_else(own_temporary_folder);
            let scratch = Scratch::create(&parent, &report.run)?;
            let stand = Stand::dry(Store::new(&pipeline.store.folder), scratch);
            rehearse::rehearse(pipeline, request, stand, progress, report).await?;
            report.outcome = Outcome::Rehearsed;
            Ok(())
        }
        Mode::Run => {
            let writer = StoreWriter::acquire(&pipeline.store.folder, &report.run)?;
            let parent = pipeline.run.scratch.clone().unwrap_or_else(|| pipeline.store.folder.clone());
            let published = async {
                let scratch = Scratch::create(&parent, &report.run)?;
                let stand = Stand::of(&writer, scratch);
                let rehearsal = rehearse::rehearse(pipeline, request, stand, progress, report).await?;
                publish(rehearsal, &writer, progress, report)
            };
            let published = published.await;
            let (pipeline, star) = published?;
            deliver(&pipeline, writer.store(), &star, progress, report).await
        }
    }
}

/// The system's folder is everybody's; ours in it is this user's.
fn own_temporary_folder() -> PathBuf {
    std::env::temp_dir().join(format!("starmill-{}", nix::unistd::geteuid()))
}

fn publish(
    rehearsal: Rehearsal,
    writer: &StoreWriter,
    progress: &Progress,
    report: &mut RunReport,
) -> Result<(Arc<Pipeline>, PublishedStar)> {
    progress.tell(Event::Step("publish"));
    let watch = Stopwatch::start();
    let Rehearsal { pipeline, star, proof } = rehearsal;
    let star = writer.publish(&pipeline, star, proof)?;
    report.outcome = Outcome::Published;
    report.snapshot = Some(star.snapshot.clone());
    report.output = Some(writer.store().snapshot_folder(&star.snapshot).display().to_string());
    // The star is published; an old snapshot that stays is no reason to say otherwise.
    let pruned = writer.store().latest().and_then(|latest| match latest {
        Some(latest) => writer.prune(PrunePlan::by_count(&latest, pipeline.store.keep)),
        None => Ok(()),
    });
    if let Err(error) = pruned {
        report.warnings.push(format!("old snapshots were not pruned: {error}"));
    }
    report.step("publish", &watch);
    Ok((pipeline, star))
}

async fn deliver(
    pipeline: &Pipeline,
    store: &Store,
    star: &PublishedStar,
    progress: &Progress,
    report: &mut RunReport,
) -> Result<()> {
    let Some(target) = &pipeline.target else { return Ok(()) };
    progress.tell(Event::Step("load"));
    let watch = Stopwatch::start();
    let latest = store.latest()?.ok_or_else(|| Error::new(ErrorKind::Bug, "the store lost its commit"))?;
    let shipment = load::Shipment { star, pipeline: &pipeline.name, store: &latest.store };
    let loaded = load::load(shipment, target, pipeline.timezone, load::Adopt::Refuse).await;
    report.step("load", &watch);
    match loaded {
        Ok(delivery) => {
            report.delivery = Some(delivery);
            Ok(())
        }
        Err(error) => Err(pending(error)),
    }
}

fn pending(error: Error) -> Error {
    let hint = error.help().unwrap_or("mend the target").to_owned();
    Error::new(ErrorKind::DeliveryPending, "the snapshot is published, but the target does not have it")
        .caused_by(error)
        .hint(format!("{hint}; then `starmill deliver` or the next run delivers it"))
}

/// Delivers the published snapshot again; harmless when the target has it already.
pub async fn redeliver(path: &Path, adopt: load::Adopt) -> Result<load::Delivery> {
    let pipeline = pipeline::read(path)?;
    let target = pipeline.target.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Pipeline, format!("{} has no target", pipeline.name))
            .hint("add [target] with url = \"postgres://…\", or set the variable that it names")
    })?;
    // Under the lock, so that no run publishes and delivers a newer star in between.
    let id = RunId::new(clock::now(), fastrand::u16(..));
    let writer = StoreWriter::acquire(&pipeline.store.folder, &id)?;
    let store = writer.store();
    let (Some(latest), Some(published)) = (store.latest()?, store.published()?) else {
        return Err(Error::new(
            ErrorKind::Store,
            format!("nothing is published in {}", store.folder().display()),
        )
        .hint("run the pipeline first"));
    };
    let shipment = load::Shipment { star: &published.star, pipeline: &pipeline.name, store: &latest.store };
    load::load(shipment, target, pipeline.timezone, adopt).await
}

/// Keeps the report among the store's runs. The run is over by then, so a failure is only told.
pub fn keep(path: &Path, report: &RunReport) -> Result<()> {
    if report.mode == Mode::DryRun || report.exit_code == ErrorKind::Locked.exit_code() {
        return Ok(());
    }
    let Ok(pipeline) = pipeline::read(path) else { return Ok(()) };
    Store::new(&pipeline.store.folder).keep_report(&report.run, report)
}
