//! The scheduler's timetable with a clock of the test's own: a year passes in a second.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use starmill::pipeline::schedule::{CronLine, Schedule};
use starmill::serve::timetable::{Attempt, End, Next, Step, Timetable, Work};

use crate::support::rounds;

fn nightly(line: &str, zone: &str) -> Schedule {
    Schedule {
        line: CronLine::parse(line).unwrap(),
        timezone: zone.parse().unwrap(),
        retries: 5,
        retry_wait: Duration::from_secs(60),
        late_after: Duration::from_secs(3_600),
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// What happened, as the scheduler would have lived it.
#[derive(Default)]
struct Life {
    /// Attempts by pipeline and night.
    attempts: BTreeMap<(usize, DateTime<Utc>), u32>,
    well: BTreeMap<(usize, DateTime<Utc>), u32>,
    late: Vec<(usize, DateTime<Utc>, TimeDelta)>,
    given_up: Vec<(usize, DateTime<Utc>)>,
}

/// Lives from `now` to `end`; `fate` says of every attempt how long it takes and how it ends.
fn live(
    timetable: &mut Timetable,
    mut now: DateTime<Utc>,
    end: DateTime<Utc>,
    jobs: usize,
    mut fate: impl FnMut(usize, Attempt) -> (TimeDelta, End),
) -> Life {
    let mut life = Life::default();
    let mut running: Vec<(DateTime<Utc>, usize, Attempt, End)> = Vec::new();
    while now < end {
        for step in timetable.due(now) {
            match step {
                Step::Start { entry, attempt } => {
                    assert!(running.iter().all(|(_, other, ..)| *other != entry), "two runs of one pipeline");
                    assert!(attempt.night <= now);
                    let (length, end) = fate(entry, attempt);
                    running.push((now + length, entry, attempt, end));
                    assert!(running.len() <= jobs);
                    *life.attempts.entry((entry, attempt.night)).or_default() += 1;
                }
                Step::GiveUp { entry, night } => life.given_up.push((entry, night)),
                Step::Late { entry, night, by } => life.late.push((entry, night, by)),
            }
        }
        let next = timetable.next(now).into_iter().chain(running.iter().map(|(until, ..)| *until)).min();
        let Some(next) = next else { break };
        assert!(next > now || running.iter().any(|(until, ..)| *until <= now), "time stands still at {now}");
        now = next.max(now);
        running.sort_by_key(|(until, ..)| *until);
        while let Some((_, entry, attempt, end)) =
            running.first().copied().filter(|(until, ..)| *until <= now)
        {
            running.remove(0);
            timetable.ended(entry, end, now);
            if end == End::Well {
                *life.well.entry((entry, attempt.night)).or_default() += 1;
            }
        }
    }
    life
}

#[test]
fn a_quiet_year_runs_every_night_once_and_none_late() {
    let mut timetable = Timetable::new(2);
    let zones = [("30 2 * * *", "Europe/Berlin"), ("15 1 * * *", "America/New_York"), ("0 4 * * *", "UTC")];
    for (line, zone) in zones {
        timetable.add(nightly(line, zone), at("2026-01-01T00:00:00Z"));
    }
    let life =
        live(&mut timetable, at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), 2, |_, attempt| {
            assert_eq!((attempt.number, attempt.work), (1, Work::Run));
            (TimeDelta::minutes(20), End::Well)
        });
    assert!(life.late.is_empty() && life.given_up.is_empty());
    for (entry, zone) in zones.iter().enumerate() {
        let nights = life.attempts.iter().filter(|((of, _), _)| *of == entry);
        let counts: Vec<u32> = nights.map(|(_, count)| *count).collect();
        assert_eq!((counts.len(), counts.iter().max()), (365, Some(&1)), "{zone:?}");
    }
}

#[test]
fn in_a_stormy_year_no_night_is_run_twice_and_none_is_lost_unsaid() {
    for seed in 0..rounds(20) {
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let jobs = random.usize(1..3);
        let mut timetable = Timetable::new(jobs);
        let lines =
            [("30 2 * * *", "Europe/Berlin"), ("0 */6 * * *", "UTC"), ("45 23 * * mon-fri", "Asia/Tokyo")];
        for (line, zone) in lines {
            timetable.add(nightly(line, zone), at("2026-01-01T00:00:00Z"));
        }
        let life = live(
            &mut timetable,
            at("2026-01-01T00:00:00Z"),
            at("2027-01-01T00:00:00Z"),
            jobs,
            |_, attempt| {
                let minutes = if random.u8(..20) == 0 { random.i64(60..2_000) } else { random.i64(1..90) };
                let end = match (random.u8(..10), attempt.work) {
                    (0, _) => End::Passing,
                    (1, Work::Run) => End::Locked,
                    (2, Work::Run) => End::Badly,
                    (3, _) => End::Pending,
                    _ => End::Well,
                };
                (TimeDelta::minutes(minutes), end)
            },
        );
        assert!(life.well.values().all(|count| *count == 1), "a night ended well twice");
        for (entry, (line, zone)) in lines.into_iter().enumerate() {
            // Every night was tried, or another began after it that covers it, late.
            let schedule = nightly(line, zone);
            let mut night = at("2026-01-01T00:00:00Z");
            while let Some(next) =
                schedule.next_after(night).filter(|next| *next < at("2026-12-25T00:00:00Z"))
            {
                let covered = life
                    .attempts
                    .keys()
                    .any(|(of, had)| *of == entry && *had >= next && *had < next + TimeDelta::days(5));
                assert!(covered, "the night {next} of {line} was lost");
                night = next;
            }
        }
    }
}

#[test]
fn what_may_pass_is_tried_again_with_growing_waits_and_the_audit_never() {
    let mut timetable = Timetable::new(1);
    let entry = timetable.add(nightly("0 3 * * *", "UTC"), at("2026-01-01T00:00:00Z"));
    let mut now = at("2026-01-01T03:00:00Z");
    let mut waits = Vec::new();
    for number in 1..=6 {
        let attempt = Attempt { night: at("2026-01-01T03:00:00Z"), number, work: Work::Run, waited: false };
        assert_eq!(timetable.due(now), [Step::Start { entry, attempt }]);
        assert!(timetable.due(now).is_empty(), "it runs already");
        match timetable.ended(entry, End::Passing, now) {
            Next::Again(then) => {
                waits.push((then - now).num_minutes());
                assert_eq!(timetable.next(now), Some(then));
                now = then;
            }
            Next::Over => waits.push(-1),
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, -1]);
    assert!(timetable.is_idle() && timetable.due(now).is_empty());

    let now = at("2026-01-02T03:00:00Z");
    assert_eq!(timetable.due(now).len(), 1);
    assert_eq!(timetable.ended(entry, End::Badly, now), Next::Over);
    assert!(timetable.due(now + TimeDelta::hours(5)).is_empty());
}

#[test]
fn a_pending_delivery_is_repeated_alone_until_the_next_night_brings_it() {
    let mut timetable = Timetable::new(1);
    let entry = timetable.add(nightly("0 3 * * *", "UTC"), at("2026-01-01T00:00:00Z"));
    let night = at("2026-01-01T03:00:00Z");
    timetable.due(night);
    let Next::Again(then) = timetable.ended(entry, End::Pending, night) else { panic!("it is tried again") };
    let attempt = Attempt { night, number: 2, work: Work::Deliver, waited: false };
    assert_eq!(timetable.due(then), [Step::Start { entry, attempt }]);
    timetable.ended(entry, End::Pending, then);
    let next = at("2026-01-02T03:00:00Z");
    let steps = timetable.due(next);
    assert_eq!(steps[0], Step::GiveUp { entry, night });
    assert_eq!(
        steps[1],
        Step::Start { entry, attempt: Attempt { night: next, number: 1, work: Work::Run, waited: false } }
    );
    // What a scheduler before this one left undelivered comes first.
    let mut timetable = Timetable::new(1);
    let entry = timetable.add(nightly("0 3 * * *", "UTC"), night);
    timetable.owe_delivery(entry, next - TimeDelta::hours(5));
    let steps = timetable.due(next - TimeDelta::hours(5));
    assert!(
        matches!(steps.as_slice(), [Step::Start { attempt: Attempt { work: Work::Deliver, .. }, .. }]),
        "{steps:?}"
    );
}

#[test]
fn nights_missed_while_down_or_still_running_are_run_once_late_and_said() {
    let mut timetable = Timetable::new(1);
    // Down for three nights.
    let entry = timetable.add(nightly("0 3 * * *", "UTC"), at("2026-01-01T03:00:00Z"));
    let now = at("2026-01-04T10:00:00Z");
    let night = at("2026-01-04T03:00:00Z");
    let attempt = Attempt { night, number: 1, work: Work::Run, waited: false };
    let late = Step::Late { entry, night, by: TimeDelta::hours(7) };
    assert_eq!(timetable.due(now), [Step::Start { entry, attempt }, late]);
    // It runs for two days: of the nights that it covers, one is run, and said.
    assert_eq!(timetable.due(now + TimeDelta::hours(24)), []);
    let ended = now + TimeDelta::hours(48);
    timetable.ended(entry, End::Well, ended);
    let steps = timetable.due(ended);
    let missed = at("2026-01-06T03:00:00Z");
    assert!(
        matches!(steps[0], Step::Start { attempt: Attempt { night, .. }, .. } if night == missed),
        "{steps:?}"
    );
    assert!(matches!(steps[1], Step::Late { night, .. } if night == missed), "{steps:?}");
    timetable.ended(entry, End::Well, ended);
    assert_eq!(timetable.due(ended), []);
}

#[test]
fn a_night_that_is_not_over_in_time_is_late_once() {
    let mut timetable = Timetable::new(1);
    let entry = timetable.add(nightly("0 3 * * *", "UTC"), at("2026-01-01T00:00:00Z"));
    let night = at("2026-01-01T03:00:00Z");
    assert_eq!(timetable.due(night).len(), 1);
    let moment = timetable.next(night).unwrap();
    assert_eq!((moment - night).num_minutes(), 60);
    assert!(matches!(timetable.due(moment).as_slice(), [Step::Late { by, .. }] if by.num_minutes() == 60));
    assert_eq!(timetable.due(moment + TimeDelta::hours(1)), []);
    assert_eq!(timetable.ended(entry, End::Well, moment + TimeDelta::hours(2)), Next::Over);
    // One that waits for the only job is late as well.
    let mut timetable = Timetable::new(1);
    timetable.add(nightly("0 3 * * *", "UTC"), at("2026-01-01T00:00:00Z"));
    let second = timetable.add(nightly("0 3 * * *", "UTC"), at("2026-01-01T00:00:00Z"));
    assert_eq!(timetable.due(night).len(), 1);
    let steps = timetable.due(night + TimeDelta::minutes(61));
    assert!(steps.contains(&Step::Late { entry: second, night, by: TimeDelta::minutes(61) }), "{steps:?}");
}
