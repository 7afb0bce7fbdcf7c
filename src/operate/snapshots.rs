//! The snapshots of a store: listed, shown, held against their hashes.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Result;
use crate::name::SnapshotId;
use crate::pipeline;
use crate::star::diff::TableDiff;
use crate::star::origin::Position;
use crate::store::manifest::{Hold, Manifest};
use crate::store::{Store, Verified};

/// The store's snapshots, oldest first.
#[derive(Debug, Serialize)]
pub struct Snapshots {
    pub pipeline: String,
    pub store: String,
    pub snapshots: Vec<SnapshotLine>,
    /// Who keeps the pipeline from publishing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

#[derive(Debug, Serialize)]
pub struct SnapshotLine {
    pub snapshot: SnapshotId,
    pub published: bool,
    /// When the run began that made it.
    pub created_at: DateTime<Utc>,
    /// None when the snapshot is damaged.
    pub position: Option<Position>,
    pub tables: usize,
    pub rows: u64,
    pub bytes: u64,
    /// What it changed in the snapshot before it; none for the first.
    pub changes: Option<Changes>,
    /// Why its manifest cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Changes {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
}

impl Changes {
    /// Over all tables.
    pub fn of(tables: &[TableDiff]) -> Changes {
        tables.iter().fold(Changes::default(), |sum, table| Changes {
            added: sum.added + table.added,
            removed: sum.removed + table.removed,
            changed: sum.changed + table.changed,
        })
    }
}

pub fn list(path: &Path) -> Result<Snapshots> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let (mut snapshots, mut hold) = (Vec::new(), None);
    if let Some(latest) = store.latest_or_lost()? {
        hold.clone_from(&latest.hold);
        for id in &latest.snapshots {
            snapshots.push(line(&store, id, *id == latest.snapshot));
        }
    }
    Ok(Snapshots { pipeline: deployment.name, store: store.shown(), snapshots, hold })
}

/// Everything that is known of one snapshot.
#[derive(Debug, Serialize)]
pub struct Shown {
    pub published: bool,
    pub folder: String,
    #[serde(flatten)]
    pub manifest: Manifest,
}

pub fn show(path: &Path, reference: &str) -> Result<Shown> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let id = store.find(reference, deployment.timezone)?;
    let published = store.commit_point()?.snapshot == id;
    let folder = store.snapshot_shown(&id);
    Ok(Shown { published, folder, manifest: store.manifest(&id)? })
}

/// A damaged snapshot has a line too, so that it can be seen, and pruned.
pub fn line(store: &Store, id: &SnapshotId, published: bool) -> SnapshotLine {
    let mut line = SnapshotLine {
        snapshot: id.clone(),
        published,
        created_at: id.started_at(),
        position: None,
        tables: 0,
        rows: 0,
        bytes: 0,
        changes: None,
        damaged: None,
    };
    match store.manifest(id) {
        Ok(manifest) => {
            line.created_at = manifest.created_at;
            line.tables = manifest.tables.len();
            line.rows = manifest.tables.iter().map(|table| table.rows).sum();
            line.bytes = manifest.tables.iter().map(|table| table.bytes).sum();
            line.changes = manifest.previous.as_ref().map(|_| Changes::of(&manifest.changes));
            line.position = Some(manifest.position);
        }
        Err(error) => line.damaged = Some(error.to_string()),
    }
    line
}

/// Holds some snapshots, or all, against the hashes that were taken when they were written.
pub fn verify(path: &Path, references: &[String]) -> Result<Verified> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let latest = store.commit_point()?;
    let ids = match references {
        [] => latest.snapshots.clone(),
        some => some.iter().map(|text| store.find(text, deployment.timezone)).collect::<Result<_>>()?,
    };
    let mut found = store.verify(&latest, &ids)?;
    // A night may have pruned meanwhile; what is no longer kept is not damaged.
    let kept = store.commit_point()?.snapshots;
    let gone: Vec<SnapshotId> = ids.into_iter().filter(|id| !kept.contains(id)).collect();
    found.damaged.retain(|damage| damage.of.as_ref().is_none_or(|of| !gone.contains(of)));
    found.snapshots.retain(|id| !gone.contains(id));
    Ok(found)
}
