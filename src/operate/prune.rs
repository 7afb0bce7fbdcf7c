//! Forgets snapshots by count, by age, or by name: first the plan, then the removal.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::snapshots::{SnapshotLine, line};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::name::SnapshotId;
use crate::pipeline::{self, Deployment};
use crate::run::delivery;
use crate::store::manifest::Latest;
use crate::store::{PrunePlan, Retention, Store, StoreWriter};

/// What is to be forgotten. Without any wish, what the pipeline's `keep` lets go.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    pub keep: Option<usize>,
    pub older_than: Option<Duration>,
    pub snapshots: Vec<String>,
    /// Instead of the pipeline's.
    pub grace: Option<Duration>,
}

/// What goes, and what stays though it is older.
#[derive(Debug, Serialize)]
pub struct Pruning {
    pub pipeline: String,
    pub published: SnapshotId,
    pub remove: Vec<SnapshotLine>,
    pub keep: usize,
    /// Kept only because they may still have readers.
    pub spared: Vec<SnapshotId>,
    /// Bytes of the tables that go.
    pub freed: u64,
    pub done: bool,
}

/// What would go; nothing does.
pub fn plan(path: &Path, request: &PruneRequest) -> Result<Pruning> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let latest = store.commit_point()?;
    let plan = decide(&deployment, &store, &latest, request)?;
    shown(&deployment, &store, &latest, &plan)
}

/// Removes what goes; what it says was decided under the lock.
pub async fn prune(path: &Path, request: &PruneRequest, tell: impl FnOnce(&Pruning)) -> Result<Pruning> {
    let deployment = pipeline::deployment(path)?;
    let writer = StoreWriter::for_command(&deployment)?;
    let latest = writer.store().commit_point()?;
    let plan = decide(&deployment, writer.store(), &latest, request)?;
    let mut pruning = shown(&deployment, writer.store(), &latest, &plan)?;
    tell(&pruning);
    writer.prune(&plan)?;
    delivery::forget(&deployment, writer.store()).await;
    pruning.done = true;
    Ok(pruning)
}

fn decide(
    deployment: &Deployment,
    store: &Store,
    latest: &Latest,
    request: &PruneRequest,
) -> Result<PrunePlan> {
    let grace = request.grace.unwrap_or(deployment.store.grace);
    if !request.snapshots.is_empty() {
        let mut named = Vec::new();
        for reference in &request.snapshots {
            let id = store.find(reference, deployment.timezone)?;
            if id == latest.snapshot {
                return Err(Error::new(ErrorKind::Usage, format!("{id} is the published snapshot")).hint(
                    "it always stays; publish another one first: `starmill snapshots rollback`, or a run",
                ));
            }
            named.push(id);
        }
        // Named or not, readers have their time.
        let all = Retention { count: None, age: Some(Duration::ZERO), grace };
        let spared = PrunePlan::new(latest, &all, clock::now()).spared;
        if let Some(read) = named.iter().find(|id| spared.contains(id)) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{read} was published until a short while ago"),
            )
            .hint("it may still have readers; `--grace 0s` does not wait for them"));
        }
        return Ok(PrunePlan::of(latest, named));
    }
    let count = match (request.keep, request.older_than) {
        (Some(0), _) => {
            return Err(Error::new(ErrorKind::Usage, "--keep 0 would remove the published snapshot")
                .hint("it always stays; keep 1 or more"));
        }
        (None, None) => Some(deployment.store.keep),
        (keep, _) => keep,
    };
    Ok(PrunePlan::new(latest, &Retention { count, age: request.older_than, grace }, clock::now()))
}

fn shown(deployment: &Deployment, store: &Store, latest: &Latest, plan: &PrunePlan) -> Result<Pruning> {
    let mut remove = Vec::new();
    for id in &plan.remove {
        remove.push(line(store, id, false));
    }
    Ok(Pruning {
        pipeline: deployment.name.clone(),
        published: latest.snapshot.clone(),
        keep: plan.keep.len(),
        spared: plan.spared.clone(),
        freed: remove.iter().map(|line| line.bytes).sum(),
        remove,
        done: false,
    })
}
