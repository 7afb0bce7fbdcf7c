//! Forgets old snapshots: first the plan, then the commit that no longer names them, then the
//! removal. A crash in between leaves folders that the next writer sweeps.

use super::lock::{StoreWriter, remove};
use super::manifest::Latest;
use super::store_error;
use crate::error::Result;
use crate::fault::{self, Point};
use crate::name::SnapshotId;

/// Which snapshots go. The published one never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePlan {
    pub remove: Vec<SnapshotId>,
    pub keep: Vec<SnapshotId>,
}

impl PrunePlan {
    /// Keeps the newest `keep` snapshots, and the published one whatever its age.
    pub fn by_count(latest: &Latest, keep: usize) -> PrunePlan {
        let old = latest.snapshots.len().saturating_sub(keep.max(1));
        let mut plan = PrunePlan { remove: Vec::new(), keep: Vec::new() };
        for (age, id) in latest.snapshots.iter().enumerate() {
            let side = if age < old && *id != latest.snapshot { &mut plan.remove } else { &mut plan.keep };
            side.push(id.clone());
        }
        plan
    }
}

impl StoreWriter {
    pub fn prune(&self, plan: PrunePlan) -> Result<()> {
        let Some(latest) = self.store().latest()? else { return Ok(()) };
        if plan.remove.is_empty() {
            return Ok(());
        }
        self.commit(&Latest { snapshots: plan.keep, ..latest })?;
        for id in &plan.remove {
            let folder = self.store().snapshot_folder(id);
            fault::at(Point::PruneSnapshot).map_err(|error| store_error("cannot remove", &folder, error))?;
            remove(&folder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn latest(published: usize, count: usize) -> Latest {
        let ids: Vec<SnapshotId> = (0..count).filter_map(|n| SnapshotId::parse(&format!("s{n}"))).collect();
        Latest {
            format: 1,
            store: "x".to_owned(),
            snapshot: ids[published].clone(),
            published_at: crate::clock::now(),
            snapshots: ids,
            keys: BTreeMap::new(),
        }
    }

    #[test]
    fn the_published_snapshot_stays_even_when_it_is_the_oldest() {
        let plan = PrunePlan::by_count(&latest(0, 5), 2);
        let kept: Vec<&str> = plan.keep.iter().map(SnapshotId::as_str).collect();
        assert_eq!(kept, ["s0", "s3", "s4"]);
        assert_eq!(PrunePlan::by_count(&latest(2, 3), 14).remove, []);
    }
}
