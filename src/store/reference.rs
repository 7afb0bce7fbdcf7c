//! How people name a snapshot: by its id, by `latest`, `latest~1`, or by a date.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use super::Store;
use super::manifest::Latest;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{SnapshotId, nearest};

impl Store {
    /// The commit point, or an error that says that there is none yet.
    pub fn commit_point(&self) -> Result<Latest> {
        self.latest_or_lost()?.ok_or_else(|| {
            Error::new(ErrorKind::Store, format!("nothing is published in {}", self.shown()))
                .hint("run the pipeline first")
        })
    }

    /// The snapshot that a reference means; days are days of `timezone`.
    pub fn find(&self, reference: &str, timezone: Tz) -> Result<SnapshotId> {
        let latest = self.commit_point()?;
        resolve(&latest, reference.trim(), timezone).map_err(|hint| {
            let message = format!("the store {} has no one snapshot `{reference}`", self.shown());
            Error::new(ErrorKind::Usage, message).hint(hint)
        })
    }
}

const FORMS: &str =
    "an id or its beginning, latest, latest~1, a date (2026-11-19) or a time (2026-11-19T03:30)";

fn resolve(latest: &Latest, reference: &str, timezone: Tz) -> Result<SnapshotId, String> {
    if let Some(back) = steps_back(reference) {
        let published = latest.snapshots.iter().position(|id| *id == latest.snapshot).unwrap_or_default();
        let Some(back) = back else { return Err(format!("name it by {FORMS}")) };
        let found = published.checked_sub(back).and_then(|place| latest.snapshots.get(place));
        return found.cloned().ok_or_else(|| match published {
            0 => "no older snapshot than the published one is kept: `starmill snapshots list` shows them"
                .to_owned(),
            oldest => format!("latest~{oldest} is the oldest that is kept"),
        });
    }
    if let Some(end) = moment(reference, timezone) {
        let before =
            latest.snapshots.iter().filter(|id| id.started_at() < end).max_by_key(|id| id.started_at());
        return before.cloned().ok_or_else(|| match latest.snapshots.first() {
            Some(oldest) => format!("the oldest snapshot that is kept is {oldest}"),
            None => "none is kept".to_owned(),
        });
    }
    let begins = |id: &&SnapshotId| !reference.is_empty() && id.as_str().starts_with(reference);
    let found: Vec<&SnapshotId> = latest.snapshots.iter().filter(begins).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(match nearest(reference, latest.snapshots.iter().map(SnapshotId::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("name it by {FORMS}"),
        }),
        several => Err(format!("{} snapshots begin so: {}", several.len(), crate::name::list(several))),
    }
}

/// `latest` and `latest~N`; an N that is no number is one that no store has.
fn steps_back(reference: &str) -> Option<Option<usize>> {
    match reference.strip_prefix("latest")? {
        "" => Some(Some(0)),
        rest => rest.strip_prefix('~').map(|steps| steps.parse().ok()),
    }
}

/// The first instant after what a date or a time names: the star as it was at the end of that day.
fn moment(reference: &str, timezone: Tz) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(reference) {
        return instant.to_utc().checked_add_signed(chrono::TimeDelta::seconds(1));
    }
    let local = match NaiveDate::parse_from_str(reference, "%Y-%m-%d") {
        Ok(date) => date.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN),
        Err(_) => {
            let forms = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
            let parse = |form| NaiveDateTime::parse_from_str(reference, form).ok();
            forms.into_iter().find_map(parse)? + chrono::TimeDelta::seconds(1)
        }
    };
    let found = timezone.from_local_datetime(&local);
    // A time that the clocks skip: an hour more or less decides nothing here.
    found
        .latest()
        .or_else(|| timezone.from_local_datetime(&(local + chrono::TimeDelta::hours(1))).latest())
        .map(|at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn latest(published: usize, ids: &[&str]) -> Latest {
        let ids: Vec<SnapshotId> = ids.iter().filter_map(|id| SnapshotId::parse(id)).collect();
        Latest {
            format: 1,
            store: "x".to_owned(),
            snapshot: ids[published].clone(),
            published_at: crate::clock::now(),
            snapshots: ids,
            newest: None,
            keys: BTreeMap::new(),
            superseded: BTreeMap::new(),
            manifests: BTreeMap::new(),
            firsts: BTreeMap::new(),
            columns: BTreeMap::new(),
            writer: None,
            rewritten: None,
            replaced: BTreeMap::new(),
            hold: None,
        }
    }

    const IDS: [&str; 4] =
        ["20261117T023000Z-aaaa", "20261118T023000Z-bbbb", "20261118T233000Z-cccc", "20261120T023000Z-dddd"];

    #[test]
    fn a_snapshot_is_named_by_id_by_its_place_and_by_date() {
        let store = latest(3, &IDS);
        let find = |text: &str| resolve(&store, text, Tz::Europe__Berlin).map(|id| id.to_string());
        assert_eq!(find("latest").as_deref(), Ok(IDS[3]));
        assert_eq!(find("latest~3").as_deref(), Ok(IDS[0]));
        assert_eq!(find("latest~4"), Err("latest~3 is the oldest that is kept".to_owned()));
        assert_eq!(find("20261117").as_deref(), Ok(IDS[0]));
        assert_eq!(find("20261118T23").as_deref(), Ok(IDS[2]));
        assert!(find("20261118").unwrap_err().starts_with("2 snapshots begin so"));
        // In Berlin the one of 23:30 UTC belongs to the 19th, and was still the star of the 19th.
        assert_eq!(find("2026-11-18").as_deref(), Ok(IDS[1]));
        assert_eq!(find("2026-11-19").as_deref(), Ok(IDS[2]));
        assert_eq!(find("2026-11-18T03:30").as_deref(), Ok(IDS[1]));
        assert_eq!(find("2026-11-17T03:29"), Err(format!("the oldest snapshot that is kept is {}", IDS[0])));
        assert!(find("yesterday").unwrap_err().starts_with("name it by"));
        assert!(find("").unwrap_err().starts_with("name it by"));
    }

    #[test]
    fn after_a_rollback_latest_is_the_published_one() {
        let store = latest(1, &IDS);
        assert_eq!(resolve(&store, "latest~1", Tz::UTC).unwrap().as_str(), IDS[0]);
    }
}
