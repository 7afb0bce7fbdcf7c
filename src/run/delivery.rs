//! A published star on its way into the target: after its night, before the next one, or by command.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::record::Record;
use super::report::{Mode, Outcome, RunReport};
use super::{Purpose, alert};
use crate::clock::{self, Stopwatch};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Shore;
use crate::load::{self, Adopt, Delivery, Obstacle, Shipment, TakenOver, Trust, Verification};
use crate::name::{RunId, SnapshotId, SourceTable};
use crate::pipeline::{self, Deployment, Pipeline, TargetSettings};
use crate::progress::{Event, Progress};
use crate::star::PublishedStar;
use crate::star::audit::Sums;
use crate::star::design::{Design, ModelDesign};
use crate::star::origin::Position;
use crate::star::table::{Provenance, StarTable};
use crate::store::manifest::{Latest, Manifest};
use crate::store::notes::DeliveryNote;
use crate::store::{Beginning, Followed, Store, StoreWriter, gone, older};

/// How long what is pending may wait for locks in the target: its night has not begun yet.
const PATIENCE: Duration = Duration::from_secs(30);

/// Delivers what this run published.
pub async fn deliver(
    deployment: &Deployment,
    store: &Store,
    star: &PublishedStar,
    progress: &Progress,
    report: &mut RunReport,
) -> Result<()> {
    let Some(target) = &deployment.target else { return Ok(()) };
    progress.tell(Event::Step("load"));
    let watch = Stopwatch::start();
    let loaded = ship(deployment, target, store, star, Adopt::Refuse, Trust::Receipt, target.lock_wait).await;
    report.step("load", &watch);
    report.delivery = Some(loaded.map_err(still_pending)?);
    Ok(())
}

/// Stops the night before keys are given twice, when the target knows more of this store than it does
/// itself. A target that cannot be asked holds up nothing.
pub async fn require_known(
    deployment: &Deployment,
    store: &Store,
    beginning: Beginning,
    report: &mut RunReport,
) -> Result<()> {
    let Some(target) = &deployment.target else { return Ok(()) };
    if beginning == Beginning::New {
        return Ok(());
    }
    let received = match load::received(target, deployment).await {
        Ok(Some(received)) => received,
        Ok(None) => return Ok(()),
        Err(error) => {
            report.warnings.push(format!("the target could not be asked what it holds: {error}"));
            return Ok(());
        }
    };
    let (place, latest) = (store.shown(), store.latest()?);
    let holds = format!("the target's schema {} holds snapshot {} of it", target.schema, received.snapshot);
    match latest {
        None => Err(gone(&place, &holds)),
        Some(latest) if latest.store == received.store => {
            let newest = latest.newest();
            let newer = newest.is_none_or(|newest| *newest < received.snapshot);
            match newer && beginning != Beginning::Restored {
                true => Err(older(&place, newest, &holds)),
                false => Ok(()),
            }
        }
        // Another store's star: the delivery says so, and what may be done.
        Some(_) => Ok(()),
    }
}

/// What stands in the way of a designed star into its target; nothing where there is no target.
pub async fn obstacles(pipeline: &Pipeline, design: &Design) -> Result<Vec<Obstacle>> {
    let deployment = &pipeline.deployment;
    let Some(target) = &deployment.target else { return Ok(Vec::new()) };
    let store = Store::of(&deployment.store);
    let latest = if store.exists() { store.latest()? } else { None };
    let published = match &latest {
        Some(latest) => Some(store.snapshot(&latest.snapshot)?),
        None => None,
    };
    let sources = match &published {
        Some(published) => sources(&published.manifest, target).await?,
        // Nothing is known of the source's cluster yet: whoever cannot tell is careful.
        None if pipeline.source.url.is_postgres() => {
            let read: Vec<&SourceTable> = design.reads.keys().collect();
            load::sources_in(target, &deployment.name, &read).await?
        }
        None => Vec::new(),
    };
    let of_design = |model: &ModelDesign| StarTable {
        contract: Arc::clone(&model.contract),
        folder: PathBuf::new(),
        files: Vec::new(),
        provenance: Provenance::Written,
    };
    let star = PublishedStar {
        snapshot: latest
            .as_ref()
            .map_or_else(|| SnapshotId::of(&RunId::new(clock::now())), |latest| latest.snapshot.clone()),
        tables: design.models.iter().map(of_design).collect(),
        sums: Sums::new(),
    };
    let kept = |id: &SnapshotId| store.snapshot(id).ok().map(|published| published.star);
    // A store that was never published has delivered nothing.
    let id = latest.as_ref().map_or("", |latest| latest.store.as_str());
    let shipment =
        Shipment { trust: Trust::Receipt, kept: &kept, ..shipment(deployment, id, &star, sources) };
    load::look(shipment, target, deployment.timezone).await
}

/// Looks at the target before a night builds its star. What lacks a right ends a night that would publish; what else stands in the
/// way is told. A target that cannot be asked holds up nothing.
pub async fn look_ahead(
    pipeline: &Pipeline,
    design: &Design,
    purpose: Purpose,
    report: &mut RunReport,
) -> Result<()> {
    let found = match obstacles(pipeline, design).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(error = error.told_whole(), "the target could not be looked at");
            return Ok(());
        }
    };
    let (lacking, others): (Vec<Obstacle>, Vec<Obstacle>) =
        found.into_iter().partition(|obstacle| obstacle.is_privilege && purpose == Purpose::Publish);
    report
        .warnings
        .extend(others.iter().map(|obstacle| format!("the target will not take the star: {obstacle}")));
    match load::refusal(&lacking) {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// Delivers what a former run published and could not deliver, before this night begins: its readers
/// have waited long enough. A target that is still down is told, and holds up nothing.
pub async fn pending(
    deployment: &Deployment,
    store: &Store,
    progress: &Progress,
    report: &mut RunReport,
) -> Result<()> {
    let (Some(target), Some(latest)) = (&deployment.target, owed(deployment, store)?) else { return Ok(()) };
    progress.tell(Event::Step("load"));
    let watch = Stopwatch::start();
    let published = store.snapshot(&latest.snapshot)?;
    match ship(
        deployment,
        target,
        store,
        &published.star,
        Adopt::Refuse,
        Trust::Receipt,
        target.lock_wait.min(PATIENCE),
    )
    .await
    {
        Ok(delivery) => report.pending_delivery = Some(delivery),
        Err(error) => {
            let snapshot = &latest.snapshot;
            report.warnings.push(format!("snapshot {snapshot} is still not delivered: {error}"));
        }
    }
    report.step("load pending", &watch);
    Ok(())
}

/// Whether something is published that a delivery into the target was begun for and did not end.
pub fn is_pending(deployment: &Deployment, store: &Store) -> Result<bool> {
    Ok(owed(deployment, store)?.is_some())
}

/// The commit point, when its snapshot is owed to the target.
fn owed(deployment: &Deployment, store: &Store) -> Result<Option<Latest>> {
    let Some(target) = &deployment.target else { return Ok(None) };
    match store.note::<DeliveryNote>() {
        Some(note) if is_of(&note, target) => {
            Ok(store.latest()?.filter(|latest| note.snapshot.as_ref() != Some(&latest.snapshot)))
        }
        // Never delivered there: the next run brings all of it.
        _ => Ok(None),
    }
}

/// Whether somebody was forgotten since the target was delivered to.
pub fn owes_rewritten(deployment: &Deployment, store: &Store) -> Result<bool> {
    let Some(target) = &deployment.target else { return Ok(false) };
    let Some(rewritten) = store.latest()?.and_then(|latest| latest.rewritten) else { return Ok(false) };
    let delivered =
        store.note::<DeliveryNote>().filter(|note| is_of(note, target)).map(|note| note.delivered_at);
    // A run's id tells its time to the second.
    Ok(delivered.is_none_or(|at| at < rewritten.started_at() + chrono::TimeDelta::seconds(1)))
}

/// Delivers the published snapshot again, every row compared, whatever the target's receipt says.
pub async fn redeliver(path: &Path, adopt: Adopt) -> Result<Delivery> {
    let deployment = pipeline::deployment(path)?;
    let target = target_of(&deployment)?;
    // Under the lock, so that no run publishes and delivers a newer star in between.
    let writer = StoreWriter::for_command(&deployment)?;
    let store = writer.store();
    let snapshot = store.commit_point()?.snapshot;
    let record = Record::begin(&deployment, store, Mode::Delivery);
    let delivery = deliver_published(&deployment, target, store, adopt).await;
    record.delivered(&snapshot, delivery.as_ref());
    let delivery = delivery?;
    let newest = store.reports::<RunReport>().find(RunReport::is_run);
    if newest.is_some_and(|report| report.outcome == Outcome::DeliveryPending) {
        alert::recovered(&deployment, "the target has the published snapshot").await;
    }
    Ok(delivery)
}

/// Delivers what the commit point names.
pub async fn deliver_published(
    deployment: &Deployment,
    target: &TargetSettings,
    store: &Store,
    adopt: Adopt,
) -> Result<Delivery> {
    let latest = store.commit_point()?;
    let published = store.snapshot(&latest.snapshot)?;
    ship(deployment, target, store, &published.star, adopt, Trust::Nothing, target.lock_wait).await
}

/// Whether the target still holds the published snapshot, row by row. Nothing is changed there.
pub async fn verify(path: &Path) -> Result<Verification> {
    let deployment = pipeline::deployment(path)?;
    let target = target_of(&deployment)?;
    let store = Store::of(&deployment.store);
    let latest = store.commit_point()?;
    let published = store.snapshot(&latest.snapshot)?;
    let shipment = shipment(&deployment, &latest.store, &published.star, Vec::new());
    load::verify(shipment, target, deployment.timezone).await
}

fn target_of(deployment: &Deployment) -> Result<&TargetSettings> {
    deployment.target.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Pipeline, format!("{} has no target", deployment.name))
            .hint("add [target] with url = \"postgres://…\", or set the variable that it names")
    })
}

/// What a command ships when nothing is known of the target, and it may wait for a lock there.
fn shipment<'a>(
    deployment: &'a Deployment,
    store: &'a str,
    star: &'a PublishedStar,
    sources: Vec<String>,
) -> Shipment<'a> {
    Shipment {
        star,
        pipeline: &deployment.name,
        store,
        trust: Trust::Nothing,
        lock_wait: Duration::ZERO,
        sources,
        shore: None,
        kept: &|_| None,
    }
}

/// Loads a star, and notes before and after what the target holds.
async fn ship(
    deployment: &Deployment,
    target: &TargetSettings,
    store: &Store,
    star: &PublishedStar,
    adopt: Adopt,
    trust: Trust,
    lock_wait: Duration,
) -> Result<Delivery> {
    let latest = store.commit_point()?;
    let mut note = DeliveryNote {
        snapshot: None,
        target: target.url.to_string(),
        schema: target.schema.clone(),
        delivered_at: clock::now(),
    };
    if !store.note::<DeliveryNote>().is_some_and(|known| is_of(&known, target)) {
        store.keep_note(&note)?;
    }
    let sources = sources(&store.manifest(&star.snapshot)?, target).await?;
    let followed = Followed { store, latest: &latest };
    let shore = Some(&followed as &dyn Shore);
    let kept = |id: &SnapshotId| store.snapshot(id).ok().map(|published| published.star);
    let shipment = Shipment {
        trust,
        lock_wait,
        shore,
        kept: &kept,
        ..shipment(deployment, &latest.store, star, sources)
    };
    let delivery = load::load(shipment, target, deployment.timezone, adopt).await?;
    note.snapshot = Some(star.snapshot.clone());
    note.delivered_at = clock::now();
    // The target has its own receipt; without this note the next run only asks it once more.
    if let Err(error) = store.keep_note(&note) {
        tracing::warn!(%error, "the delivery was not noted");
    }
    Ok(delivery)
}

/// Takes out of the target's lake what was pruned from the store. The next delivery does it, too.
pub async fn forget(deployment: &Deployment, store: &Store) {
    let Some(target) = deployment.target.as_ref().filter(|target| target.lake.is_some()) else { return };
    let forgotten = async {
        let latest = store.commit_point()?;
        load::forget_in_lake(target, deployment, &Followed { store, latest: &latest }).await
    };
    if let Err(error) = forgotten.await {
        let cause = error.causes().into_iter().next().unwrap_or_default();
        tracing::warn!(%error, cause, "the target's lake still names what was pruned, until the next delivery");
    }
}

/// What taking over a target would do to the tables that it has already.
pub async fn takeover(path: &Path) -> Result<Vec<TakenOver>> {
    let deployment = pipeline::deployment(path)?;
    let target = target_of(&deployment)?;
    let store = Store::of(&deployment.store);
    let latest = store.commit_point()?;
    let published = store.snapshot(&latest.snapshot)?;
    let sources = sources(&published.manifest, target).await?;
    let shipment = shipment(&deployment, &latest.store, &published.star, sources);
    load::takeover(shipment, target, deployment.timezone).await
}

/// The source's own tables, when the target's schema is the one that they are in: the same cluster, and,
/// as far as it is known, the same database.
async fn sources(manifest: &Manifest, target: &TargetSettings) -> Result<Vec<String>> {
    let tables: Vec<&SourceTable> = manifest.source.iter().map(|read| &read.table).collect();
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let Position::Postgres { system_identifier, database, .. } = &manifest.position else {
        return Ok(Vec::new());
    };
    let there = load::identity(target, &manifest.pipeline.name).await?;
    let same = |known: &Option<String>, there: &Option<String>| match (known, there) {
        (Some(known), Some(there)) => known == there,
        // Whoever cannot tell is careful.
        _ => true,
    };
    let is_source = same(system_identifier, &there.system_identifier) && same(database, &there.database);
    match is_source {
        true => load::sources_in(target, &manifest.pipeline.name, &tables).await,
        false => Ok(Vec::new()),
    }
}

fn is_of(note: &DeliveryNote, target: &TargetSettings) -> bool {
    note.target == target.url.to_string() && note.schema == target.schema
}

/// A delivery's failure, after its snapshot was published.
pub fn still_pending(error: Error) -> Error {
    let hint = error.help().unwrap_or("mend the target").to_owned();
    Error::new(ErrorKind::DeliveryPending, "the snapshot is published, but the target does not have it")
        .caused_by(error)
        .hint(format!("{hint}; then `starmill deliver` or the next run delivers it"))
}
