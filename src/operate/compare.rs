//! The difference between any two kept snapshots.

use std::path::Path;

use serde::Serialize;

use crate::error::Result;
use crate::name::SnapshotId;
use crate::pipeline::{self, Deployment};
use crate::run::readers_engine;
use crate::star::diff::{StarDiff, StarView, TableDiff, diff};
use crate::store::Store;

#[derive(Debug, Serialize)]
pub struct Comparison {
    pub pipeline: String,
    pub from: SnapshotId,
    pub to: SnapshotId,
    pub tables: Vec<TableDiff>,
}

impl Comparison {
    pub fn has_differences(&self) -> bool {
        !self.tables.iter().all(TableDiff::is_empty)
    }
}

/// What changed from one snapshot to another.
pub async fn compare(path: &Path, from: &str, to: &str) -> Result<Comparison> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let (from, to) = (store.find(from, deployment.timezone)?, store.find(to, deployment.timezone)?);
    let tables = between(&deployment, &store, &from, &to).await?.tables;
    Ok(Comparison { pipeline: deployment.name, from, to, tables })
}

pub async fn between(
    deployment: &Deployment,
    store: &Store,
    from: &SnapshotId,
    to: &SnapshotId,
) -> Result<StarDiff> {
    let (old, new) = (store.snapshot(from)?, store.snapshot(to)?);
    let (_scratch, runtime) = readers_engine(deployment)?;
    let view = StarView::published(&new.star);
    diff(deployment.timezone, &runtime, Some(&old.star), &view).await
}
