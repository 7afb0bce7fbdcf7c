//! How the pipelines stand, in Prometheus's words. What a store says is read anew each time, so that
//! runs of other machines count too.

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Standings;
use super::post::{Activity, Standing};
use crate::clock;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::run::delivery;
use crate::run::report::RunReport;
use crate::star::audit::Verdict;
use crate::store::Store;
use crate::store::notes::IncidentNote;

type Float = Gauge<f64, std::sync::atomic::AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPipeline {
    pipeline: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTable {
    pipeline: String,
    table: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerdict {
    pipeline: String,
    verdict: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    pipeline: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBuild {
    version: String,
}

#[derive(Default)]
struct Metrics {
    build: Family<OfBuild, Gauge>,
    active: Family<OfPipeline, Gauge>,
    next_night: Family<OfPipeline, Float>,
    nights: Family<OfOutcome, Counter>,
    attempts: Family<OfPipeline, Counter>,
    last_success: Family<OfPipeline, Float>,
    last_run: Family<OfPipeline, Float>,
    last_seconds: Family<OfPipeline, Float>,
    last_exit_code: Family<OfPipeline, Gauge>,
    rows: Family<OfTable, Gauge>,
    controls: Family<OfVerdict, Gauge>,
    age: Family<OfPipeline, Float>,
    lag: Family<OfPipeline, Float>,
    incident: Family<OfPipeline, Gauge>,
    readable: Family<OfPipeline, Gauge>,
    left_out: Gauge,
}

/// The metrics as an OpenMetrics text; `readable` says of each pipeline whether its store can be read
/// now; one of which nothing is known in time is not asked again.
pub fn text(standings: &Standings, readable: &[Option<bool>]) -> Result<String> {
    let metrics = Metrics::default();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    metrics.build.get_or_create(&OfBuild { version }).set(1);
    metrics.left_out.set(i64::try_from(standings.left_out.len()).unwrap_or(i64::MAX));
    for (standing, readable) in standings.pipelines.iter().zip(readable) {
        // One damaged store must not hide the others.
        if let Err(error) = metrics.take(standing, *readable) {
            tracing::warn!(pipeline = standing.pipeline, %error, "the snapshot is left out of the metrics");
        }
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry()).or_error(ErrorKind::Bug, || "the metrics".to_owned())?;
    Ok(text)
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1_000.0
}

fn since(at: DateTime<Utc>) -> f64 {
    (clock::now() - at).num_milliseconds().max(0) as f64 / 1_000.0
}

impl Metrics {
    fn take(&self, standing: &Standing, readable: Option<bool>) -> Result<()> {
        let pipeline = OfPipeline { pipeline: standing.pipeline.clone() };
        self.active.get_or_create(&pipeline).set(i64::from(standing.doing == Activity::Running));
        if let Some(next) = standing.next_night {
            self.next_night.get_or_create(&pipeline).set(seconds(next));
        }
        for (outcome, count) in [("well", standing.ends.well), ("badly", standing.ends.badly)] {
            let label = OfOutcome { pipeline: standing.pipeline.clone(), outcome: outcome.to_owned() };
            self.nights.get_or_create(&label).inc_by(count);
        }
        self.attempts.get_or_create(&pipeline).inc_by(standing.ends.attempts);
        self.readable.get_or_create(&pipeline).set(i64::from(readable == Some(true)));
        if readable.is_none() {
            return Ok(());
        }
        let store = Store::of(&standing.deployment.store);
        self.incident.get_or_create(&pipeline).set(i64::from(store.note::<IncidentNote>().is_some()));
        self.take_runs(&pipeline, &store);
        self.take_snapshot(&pipeline, &store, standing)
    }

    fn take_runs(&self, pipeline: &OfPipeline, store: &Store) {
        let ended = |report: &RunReport| seconds(report.started_at) + report.seconds;
        let mut reports = store.reports::<RunReport>();
        let Some(newest) = reports.next() else { return };
        // Whatever was done last: a delivery by command mends what the night left.
        self.last_exit_code.get_or_create(pipeline).set(newest.exit_code.into());
        let mut runs = std::iter::once(newest).chain(reports).filter(RunReport::is_run);
        let Some(last) = runs.next() else { return };
        self.last_run.get_or_create(pipeline).set(ended(&last));
        self.last_seconds.get_or_create(pipeline).set(last.seconds);
        for verdict in Verdict::ALL {
            let label = OfVerdict { pipeline: pipeline.pipeline.clone(), verdict: verdict.word().to_owned() };
            let count = last.controls.iter().filter(|line| line.verdict == verdict).count();
            self.controls.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let success = std::iter::once(last).chain(runs).find(|report| report.snapshot.is_some());
        if let Some(success) = success {
            self.last_success.get_or_create(pipeline).set(ended(&success));
        }
    }

    fn take_snapshot(&self, pipeline: &OfPipeline, store: &Store, standing: &Standing) -> Result<()> {
        let Some(latest) = store.latest()? else { return Ok(()) };
        let manifest = store.manifest(&latest.snapshot)?;
        self.age.get_or_create(pipeline).set(since(manifest.created_at));
        for table in &manifest.tables {
            let label = OfTable { pipeline: pipeline.pipeline.clone(), table: table.name.to_string() };
            self.rows.get_or_create(&label).set(i64::try_from(table.rows).unwrap_or(i64::MAX));
        }
        if standing.deployment.target.is_some() {
            let pending = delivery::is_pending(&standing.deployment, store)?;
            self.lag.get_or_create(pipeline).set(if pending { since(latest.published_at) } else { 0.0 });
        }
        Ok(())
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("starmill");
        let r = &mut registry;
        r.register("build", "The version that runs", self.build.clone());
        r.register("run_active", "1 while a night runs", self.active.clone());
        r.register("next_run_timestamp_seconds", "When the next night begins", self.next_night.clone());
        r.register("nights", "Nights since the scheduler began, by their end", self.nights.clone());
        r.register("attempts", "Attempts at nights since the scheduler began", self.attempts.clone());
        r.register("last_success_timestamp_seconds", "When a run last published", self.last_success.clone());
        r.register("last_run_timestamp_seconds", "When the last run ended", self.last_run.clone());
        r.register("last_run_duration_seconds", "How long the last run took", self.last_seconds.clone());
        r.register(
            "last_run_exit_code",
            "Exit code of the last run, or of a later delivery or rollback",
            self.last_exit_code.clone(),
        );
        r.register("table_rows", "Rows of the published tables", self.rows.clone());
        r.register("controls", "Controls of the last run, by verdict", self.controls.clone());
        r.register("snapshot_age_seconds", "Age of what is published", self.age.clone());
        r.register("delivery_lag_seconds", "How long the target lacks what is published", self.lag.clone());
        r.register("incident", "1 while a failure that was told has not come right", self.incident.clone());
        r.register(
            "store_readable",
            "1 when the store and its commit point can be read",
            self.readable.clone(),
        );
        r.register(
            "pipelines_left_out",
            "Pipelines that could not be read, and have no nights",
            self.left_out.clone(),
        );
        registry
    }
}
