//! When a pipeline runs: a POSIX cron line in a time zone. Pure: the time is always handed in.
//!
//! A cron line names local times. Each of them is one instant: a local time that the clocks skip is
//! the first instant after the gap, one that they show twice is the first of the two.

use std::time::Duration;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

pub use super::cron::{CronLine, CronMistake};

/// When the nights of a pipeline begin, and how stubbornly they are tried.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub line: CronLine,
    pub timezone: Tz,
    /// How often a night that failed for a passing reason is tried again.
    pub retries: u32,
    /// The wait before the first of them; it doubles from one to the next.
    pub retry_wait: Duration,
    /// A night that has not ended well so long after its time is late.
    pub late_after: Duration,
}

/// The clocks of no zone are ever set by more than a day.
const LARGEST_SHIFT: TimeDelta = TimeDelta::hours(26);

impl Schedule {
    /// The first night after an instant.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut local = instant.with_timezone(&self.timezone).naive_local();
        loop {
            local = self.line.next_local(local)?;
            // Local times that were shown before, or skipped, lie at or before the instant.
            match self.instant(local) {
                Some(night) if night > instant => return Some(night),
                _ => {}
            }
        }
    }

    /// The last night up to an instant, that one included.
    pub fn last_until(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // Where the clocks were set back lately, later local times than theirs have been already.
        let behind = self.offset(instant.checked_sub_signed(LARGEST_SHIFT)?) - self.offset(instant);
        let shown = instant.with_timezone(&self.timezone).naive_local();
        let mut local = shown.checked_add_signed(behind.max(TimeDelta::zero()))?;
        loop {
            local = self.line.last_local(local)?;
            match self.instant(local) {
                Some(night) if night <= instant => return Some(night),
                _ => local = local.checked_sub_signed(TimeDelta::seconds(1))?,
            }
        }
    }

    /// How far the clocks are ahead of UTC.
    fn offset(&self, instant: DateTime<Utc>) -> TimeDelta {
        instant.with_timezone(&self.timezone).naive_local() - instant.naive_utc()
    }

    /// The one instant of a local time.
    fn instant(&self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.timezone.from_local_datetime(&local) {
            LocalResult::Single(at) => Some(at.to_utc()),
            LocalResult::Ambiguous(first, second) => Some(first.min(second).to_utc()),
            LocalResult::None => self.end_of_gap(local),
        }
    }

    /// The first instant at which the clocks have passed a local time that they never show.
    fn end_of_gap(&self, skipped: NaiveDateTime) -> Option<DateTime<Utc>> {
        let passed = |at: DateTime<Utc>| at.with_timezone(&self.timezone).naive_local() > skipped;
        let mut before = skipped.and_utc().checked_sub_signed(LARGEST_SHIFT)?;
        let mut after = skipped.and_utc().checked_add_signed(LARGEST_SHIFT)?;
        while after - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            if passed(middle) { after = middle } else { before = middle }
        }
        Some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(line: &str, zone: Tz) -> Schedule {
        Schedule {
            line: CronLine::parse(line).unwrap(),
            timezone: zone,
            retries: 0,
            retry_wait: Duration::ZERO,
            late_after: Duration::ZERO,
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_skipped_local_time_runs_at_the_first_instant_after_the_gap() {
        // Berlin's clocks jump from 2:00 to 3:00 on 29 March 2026, at 1:00 UTC.
        let nightly = schedule("30 2 * * *", Tz::Europe__Berlin);
        assert_eq!(nightly.next_after(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(nightly.next_after(at("2026-03-29T01:00:00Z")), Some(at("2026-03-30T00:30:00Z")));
        assert_eq!(nightly.last_until(at("2026-03-29T05:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        // Samoa had no 30 December 2011 at all.
        let samoa = schedule("0 12 30 * *", Tz::Pacific__Apia);
        assert_eq!(samoa.next_after(at("2011-12-15T00:00:00Z")), Some(at("2011-12-30T10:00:00Z")));
    }

    #[test]
    fn a_local_time_that_occurs_twice_runs_once() {
        // Berlin's clocks show 2:00 to 3:00 twice on 25 October 2026: from 0:00 and from 1:00 UTC.
        let nightly = schedule("30 2 * * *", Tz::Europe__Berlin);
        assert_eq!(nightly.next_after(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(nightly.next_after(at("2026-10-25T00:30:00Z")), Some(at("2026-10-26T01:30:00Z")));
        assert_eq!(nightly.last_until(at("2026-10-25T01:10:00Z")), Some(at("2026-10-25T00:30:00Z")));
    }
}
