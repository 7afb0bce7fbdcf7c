//! Makes an older snapshot the published one again: first shown, then done, then delivered.

use std::path::Path;

use serde::Serialize;

use super::compare::between;
use crate::error::{Error, ErrorKind, Result};
use crate::load::{Adopt, Delivery};
use crate::name::SnapshotId;
use crate::pipeline;
use crate::run::delivery::{deliver_published, still_pending};
use crate::run::record::Record;
use crate::run::report::Mode;
use crate::star::diff::TableDiff;
use crate::store::manifest::Hold;
use crate::store::{Store, StoreWriter};

/// What a rollback would do.
#[derive(Debug, Clone, Serialize)]
pub struct RollbackPlan {
    pub pipeline: String,
    pub from: SnapshotId,
    pub to: SnapshotId,
    /// What readers will see change, in the store and in the target.
    pub tables: Vec<TableDiff>,
    /// Why that cannot be told: the published snapshot may be damaged, which is a reason to leave it.
    pub unknown: Option<String>,
    /// Where it is delivered, without a password.
    pub target: Option<String>,
    /// Columns of the source that are masked otherwise in the snapshot that is left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remasked: Vec<String>,
}

/// What a rollback did.
#[derive(Debug, Serialize)]
pub struct Rollback {
    #[serde(flatten)]
    pub plan: RollbackPlan,
    /// What keeps the next runs from publishing over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    pub delivery: Option<Delivery>,
}

pub async fn plan(path: &Path, reference: Option<&str>) -> Result<RollbackPlan> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let latest = store.commit_point()?;
    let from = latest.snapshot.clone();
    let to = match reference {
        Some(reference) => store.find(reference, deployment.timezone)?,
        // Not simply the one before it: that may be one which was rolled back from.
        None => match store.manifest(&from).ok().and_then(|manifest| manifest.previous) {
            Some(previous) if latest.snapshots.contains(&previous) => previous,
            _ => store.find("latest~1", deployment.timezone)?,
        },
    };
    if from == to {
        return Err(Error::new(ErrorKind::Usage, format!("{to} is the published snapshot already"))
            .hint("`starmill snapshots list` shows the others"));
    }
    let (tables, unknown) = match between(&deployment, &store, &from, &to).await {
        Ok(diff) => (diff.tables, None),
        Err(error) => {
            let cause = error.causes().into_iter().next();
            (Vec::new(), Some(cause.map_or(error.to_string(), |cause| format!("{error}: {cause}"))))
        }
    };
    let target = deployment.target.map(|target| format!("schema {} of {}", target.schema, target.url));
    let remasked = remasked(&store, &from, &to);
    Ok(RollbackPlan { pipeline: deployment.name, from, to, tables, unknown, target, remasked })
}

/// Columns whose values were masked otherwise, or not at all, when the older one was made.
fn remasked(store: &Store, from: &SnapshotId, to: &SnapshotId) -> Vec<String> {
    let (Ok(from), Ok(to)) = (store.manifest(from), store.manifest(to)) else { return Vec::new() };
    let other = |(column, mask): &(&String, &String)| to.masks.get(*column) != Some(*mask);
    from.masks.iter().filter(other).map(|(column, _)| column.clone()).collect()
}

/// Does what was shown, or nothing when another snapshot was published meanwhile. The result is an
/// error when the target could not be told; the commit point has moved all the same.
pub async fn roll_back(path: &Path, plan: RollbackPlan, hold: Option<String>) -> Result<Rollback> {
    let deployment = pipeline::deployment(path)?;
    let writer = StoreWriter::for_command(&deployment)?;
    let latest = writer.store().commit_point()?;
    if latest.snapshot != plan.from {
        return Err(Error::new(ErrorKind::Store, format!("{} was published meanwhile", latest.snapshot))
            .hint("nothing was done; look again at what would change"));
    }
    // The registry is not touched by a rollback.
    let verified = writer.store().verify_snapshots(&latest, std::slice::from_ref(&plan.to))?;
    if let Some(damage) = verified.damaged.first() {
        let message = format!("{} is damaged: {}", damage.path, damage.problem);
        return Err(Error::new(ErrorKind::Store, message).hint("nothing was done; choose another snapshot"));
    }
    let mut record = Record::begin(&deployment, writer.store(), Mode::Rollback);
    let hold = writer.roll_back(&plan.to, hold.map(Hold::new))?;
    record.rolled_back(&plan.from, &plan.to, hold.as_ref());
    tracing::info!(from = %plan.from, to = %plan.to, "rolled back");
    let delivery = match &deployment.target {
        Some(target) => {
            let delivered = deliver_published(&deployment, target, writer.store(), Adopt::Refuse).await;
            let delivered = delivered.map_err(still_pending);
            record.delivered(&plan.to, delivered.as_ref());
            Some(delivered?)
        }
        None => None,
    };
    Ok(Rollback { plan, hold, delivery })
}

/// What a release did.
#[derive(Debug, Serialize)]
pub struct Release {
    pub pipeline: String,
    /// The published snapshot, over which the next run publishes.
    pub snapshot: SnapshotId,
    /// What kept it from that.
    pub hold: Hold,
}

/// Takes off a hold.
pub fn release(path: &Path) -> Result<Release> {
    let deployment = pipeline::deployment(path)?;
    let writer = StoreWriter::for_command(&deployment)?;
    let record = Record::begin(&deployment, writer.store(), Mode::Release);
    let hold = writer.take_off_hold()?;
    let snapshot = writer.store().commit_point()?.snapshot;
    record.released(&snapshot, &hold);
    Ok(Release { pipeline: deployment.name, snapshot, hold })
}
