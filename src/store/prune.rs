//! Forgets old snapshots: first the plan, then the commit that no longer names them, then the
//! removal. A crash in between leaves folders that the next writer sweeps.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::lock::StoreWriter;
use super::manifest::Latest;
use super::{snapshot_below, store_error};
use crate::error::{Error, Result};
use crate::fault::{self, Point};
use crate::name::SnapshotId;

/// How long snapshots are kept. The published one always is.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    /// As many of the newest are kept, if there is a bound.
    pub count: Option<usize>,
    /// Older ones go, if there is a bound; with both bounds, those that either lets go.
    pub age: Option<Duration>,
    /// One that was published so recently may still have readers, and stays.
    pub grace: Duration,
}

/// Which snapshots go. The published one never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunePlan {
    pub remove: Vec<SnapshotId>,
    pub keep: Vec<SnapshotId>,
    /// Those of `keep` that would go but for readers that may still be there.
    pub spared: Vec<SnapshotId>,
}

impl PrunePlan {
    pub fn new(latest: &Latest, retention: &Retention, now: DateTime<Utc>) -> PrunePlan {
        let surplus = retention.count.map_or(0, |count| latest.snapshots.len().saturating_sub(count.max(1)));
        let longer = |since: DateTime<Utc>, bound: Duration| {
            // A bound that no calendar holds is none.
            TimeDelta::from_std(bound).is_ok_and(|bound| now.signed_duration_since(since) > bound)
        };
        let mut plan = PrunePlan { remove: Vec::new(), keep: Vec::new(), spared: Vec::new() };
        for (place, id) in latest.snapshots.iter().enumerate() {
            let old = retention.age.is_some_and(|age| longer(id.started_at(), age));
            let goes = *id != latest.snapshot && (place < surplus || old);
            let read = latest.superseded.get(id).is_some_and(|left| !longer(*left, retention.grace));
            if goes && read && !retention.grace.is_zero() {
                plan.spared.push(id.clone());
            }
            let side = if goes && !plan.spared.contains(id) { &mut plan.remove } else { &mut plan.keep };
            side.push(id.clone());
        }
        plan
    }

    /// Lets exactly these go.
    pub fn of(latest: &Latest, remove: Vec<SnapshotId>) -> PrunePlan {
        let mut remove: Vec<SnapshotId> = remove.into_iter().filter(|id| *id != latest.snapshot).collect();
        // Two names may mean one snapshot.
        remove.sort();
        remove.dedup();
        let keep = latest.snapshots.iter().filter(|id| !remove.contains(id)).cloned().collect();
        PrunePlan { remove, keep, spared: Vec::new() }
    }
}

impl StoreWriter {
    pub fn prune(&self, plan: &PrunePlan) -> Result<()> {
        let Some(latest) = self.store().latest()? else { return Ok(()) };
        if plan.remove.is_empty() {
            return Ok(());
        }
        let latest = latest.without(&plan.remove);
        // Listed before the commit: what others send after it may be what their commit names. Whoever sent something
        // before it commits no more once this has.
        let unnamed = self.unnamed_files(Some(&latest), &latest.snapshots)?;
        match self.commit(&latest) {
            Err(error) if is_full(&error) => {
                self.release();
                self.commit(&latest)?;
            }
            committed => committed?,
        }
        if !self.has_followed() {
            // Their readers would find them gone. The next writer removes them, once they can be told.
            return Ok(());
        }
        for id in &plan.remove {
            let name = snapshot_below(id);
            let folder = self.store().objects.local(&name);
            fault::at(Point::PruneSnapshot).map_err(|error| store_error("cannot remove", &folder, error))?;
            self.store().objects.remove_below(&name)?;
        }
        self.remove_all(unnamed)
    }
}

/// Whether an error says that the disk, or the user's part of it, is full.
pub(super) fn is_full(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<std::io::Error>() {
            return matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            );
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn latest(published: usize, count: u32) -> Latest {
        let id = |day: u32| SnapshotId::parse(&format!("202611{:02}T030000Z-0000", day + 1));
        let ids: Vec<SnapshotId> = (0..count).filter_map(id).collect();
        Latest {
            format: 1,
            store: "x".to_owned(),
            snapshot: ids[published].clone(),
            published_at: crate::clock::now(),
            superseded: ids.iter().map(|id| (id.clone(), id.started_at() + TimeDelta::days(1))).collect(),
            snapshots: ids,
            keys: BTreeMap::new(),
            newest: None,
            manifests: BTreeMap::new(),
            firsts: BTreeMap::new(),
            columns: BTreeMap::new(),
            writer: None,
            rewritten: None,
            replaced: BTreeMap::new(),
            hold: None,
        }
    }

    fn removed(latest: &Latest, retention: &Retention) -> Vec<String> {
        let now = "2026-11-05T03:30:00Z".parse().unwrap();
        let days = PrunePlan::new(latest, retention, now).remove;
        days.iter().map(|id| id.as_str()[6..8].to_owned()).collect()
    }

    #[test]
    fn the_published_snapshot_stays_even_when_it_is_the_oldest() {
        let two = Retention { count: Some(2), ..Retention::default() };
        assert_eq!(removed(&latest(0, 5), &two), ["02", "03"]);
        let all = Retention { age: Some(Duration::ZERO), ..Retention::default() };
        assert_eq!(removed(&latest(2, 5), &all), ["01", "02", "04", "05"]);
        assert!(removed(&latest(2, 3), &Retention { count: Some(14), ..Retention::default() }).is_empty());
    }

    #[test]
    fn readers_of_what_was_just_published_have_time_to_end() {
        // The third was superseded a day ago and half an hour, the fourth half an hour ago.
        let hour = Retention { count: Some(1), grace: Duration::from_secs(3_600), ..Retention::default() };
        assert_eq!(removed(&latest(4, 5), &hour), ["01", "02", "03"]);
        let days = Retention { grace: Duration::from_secs(2 * 86_400), ..hour };
        assert_eq!(removed(&latest(4, 5), &days), ["01", "02"]);
    }

    #[test]
    fn age_and_count_both_let_go() {
        let age = |days: u64| Some(Duration::from_secs(days * 86_400));
        let both = |count, days| Retention { count: Some(count), age: age(days), ..Retention::default() };
        assert_eq!(removed(&latest(4, 5), &both(4, 2)), ["01", "02", "03"]);
        assert_eq!(removed(&latest(4, 5), &both(2, 30)), ["01", "02", "03"]);
    }
}
