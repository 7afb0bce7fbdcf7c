//! Which night is due, which is tried again, which is late. Pure: the time is handed in, so that a
//! year of nights passes in a test's second.

use chrono::{DateTime, TimeDelta, Utc};

use crate::pipeline::schedule::Schedule;

/// A night that begins so long after its time has been missed, by somebody.
const PUNCTUAL: TimeDelta = TimeDelta::seconds(60);
/// No two attempts are further apart.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);

/// Nobody is asked more often whether the store is free.
const SHORTEST_LOCKED_WAIT: TimeDelta = TimeDelta::seconds(10);

/// The nights of several pipelines, of which some may run at once.
#[derive(Debug)]
pub struct Timetable {
    entries: Vec<Entry>,
    /// How many may run at once.
    jobs: usize,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    /// The last night that needs no run any more.
    had: DateTime<Utc>,
    state: State,
    /// The night whose lateness has been told.
    told: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running(Attempt),
    Resting { last: Attempt, until: DateTime<Utc> },
}

/// One try at one night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub night: DateTime<Utc>,
    /// Counted from 1.
    pub number: u32,
    pub work: Work,
    /// Another run held the store, and this attempt waited for it.
    pub waited: bool,
}

/// What is left to do of a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Run,
    /// The star is published; only the target doesn't have it.
    Deliver,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start {
        entry: usize,
        attempt: Attempt,
    },
    /// The attempts at a night end without success, because the next one has come.
    GiveUp {
        entry: usize,
        night: DateTime<Utc>,
    },
    /// A night began late, or has not ended well in time; said once a night.
    Late {
        entry: usize,
        night: DateTime<Utc>,
        by: TimeDelta,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Published and delivered; or somebody else has had this night.
    Well,
    /// For a reason that may pass.
    Passing,
    /// Published; the target doesn't have it.
    Pending,
    /// Another run holds the store.
    Locked,
    /// For good: trying again would change nothing.
    Badly,
}

/// What follows from an attempt's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The night is over.
    Over,
    /// It is tried again then.
    Again(DateTime<Utc>),
}

impl Timetable {
    pub fn new(jobs: usize) -> Timetable {
        Timetable { entries: Vec::new(), jobs: jobs.max(1) }
    }

    /// Adds a pipeline whose nights up to `had` need no run any more.
    pub fn add(&mut self, schedule: Schedule, had: DateTime<Utc>) -> usize {
        self.entries.push(Entry { schedule, had, state: State::Waiting, told: None });
        self.entries.len() - 1
    }

    /// Gives a pipeline another schedule; what it is doing goes on.
    pub fn reschedule(&mut self, entry: usize, schedule: Schedule) {
        self.entries[entry].schedule = schedule;
    }

    /// Makes a delivery that an earlier scheduler left undone the first thing to do.
    pub fn owe_delivery(&mut self, entry: usize, now: DateTime<Utc>) {
        let entry = &mut self.entries[entry];
        let last = Attempt { night: entry.had, number: 0, work: Work::Deliver, waited: false };
        entry.state = State::Resting { last, until: now };
    }

    /// What is to be done at this moment. The caller starts what it is told to.
    pub fn due(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        let mut steps = Vec::new();
        for index in 0..self.entries.len() {
            let free = self.running() < self.jobs;
            let entry = &mut self.entries[index];
            if let Some(attempt) = entry.due(index, now, &mut steps)
                && free
            {
                entry.state = State::Running(attempt);
                steps.push(Step::Start { entry: index, attempt });
            }
            entry.lateness(index, now, &mut steps);
        }
        steps
    }

    /// When something may be due next.
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.entries.iter().flat_map(|entry| entry.moments(now)).filter(|at| *at > now).min()
    }

    /// When the next night of a pipeline begins.
    pub fn next_night(&self, entry: usize, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.entries[entry].schedule.next_after(now)
    }

    /// Takes note of an attempt's end.
    pub fn ended(&mut self, entry: usize, end: End, now: DateTime<Utc>) -> Next {
        let entry = &mut self.entries[entry];
        let State::Running(mut attempt) = entry.state else { return Next::Over };
        let tries = match end {
            End::Well | End::Badly => false,
            End::Locked => true,
            End::Passing | End::Pending => attempt.number <= entry.schedule.retries,
        };
        if end == End::Pending {
            attempt.work = Work::Deliver;
        }
        if !tries {
            entry.state = State::Waiting;
            entry.had = entry.had.max(attempt.night);
            return Next::Over;
        }
        if end == End::Locked {
            // Waiting for somebody else is no attempt of ours.
            attempt.number -= 1;
            attempt.waited = true;
        }
        let mut until = now + wait(&entry.schedule, attempt.number);
        if end == End::Locked {
            until = until.max(now + SHORTEST_LOCKED_WAIT);
        }
        entry.state = State::Resting { last: attempt, until };
        Next::Again(until)
    }

    /// Whether anything runs or waits for another attempt.
    pub fn is_idle(&self) -> bool {
        self.entries.iter().all(|entry| entry.state == State::Waiting)
    }

    /// What a pipeline is doing: nothing, or an attempt, or resting after one.
    pub fn doing(&self, entry: usize) -> Doing {
        match self.entries[entry].state {
            State::Waiting => Doing::Waiting,
            State::Running(_) => Doing::Running,
            State::Resting { .. } => Doing::Resting,
        }
    }

    fn running(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.state, State::Running(_))).count()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    Waiting,
    Running,
    Resting,
}

impl Entry {
    /// The attempt that could begin now.
    fn due(&mut self, index: usize, now: DateTime<Utc>, steps: &mut Vec<Step>) -> Option<Attempt> {
        let newest = self.schedule.last_until(now).filter(|night| *night > self.had);
        match self.state {
            State::Running(_) => None,
            State::Waiting => {
                newest.map(|night| Attempt { night, number: 1, work: Work::Run, waited: false })
            }
            State::Resting { last, until } => match newest.filter(|night| *night > last.night) {
                Some(night) => {
                    // The next night has come. It delivers what is pending first, so nothing is lost. What only
                    // waited for another run was never tried, and that run says itself how it went.
                    let only_waited = last.waited && last.number == 0;
                    if last.night > self.had && !only_waited {
                        steps.push(Step::GiveUp { entry: index, night: last.night });
                    }
                    self.had = self.had.max(last.night);
                    self.state = State::Waiting;
                    Some(Attempt { night, number: 1, work: Work::Run, waited: false })
                }
                None => (until <= now).then_some(Attempt { number: last.number + 1, ..last }),
            },
        }
    }

    /// Tells of a night that began late or is not over in time.
    fn lateness(&mut self, index: usize, now: DateTime<Utc>, steps: &mut Vec<Step>) {
        let (night, began_late) = match self.state {
            State::Running(attempt) if attempt.night > self.had => {
                (attempt.night, attempt.number == 1 && !attempt.waited && now - attempt.night > PUNCTUAL)
            }
            State::Resting { last, .. } if last.night > self.had => (last.night, false),
            // It waits for one of the jobs.
            State::Waiting => match self.schedule.last_until(now).filter(|night| *night > self.had) {
                Some(night) => (night, false),
                None => return,
            },
            _ => return,
        };
        let fresh = steps.iter().any(|step| matches!(step, Step::Start { entry, .. } if *entry == index));
        let overdue = now - night > delta(self.schedule.late_after);
        if self.told != Some(night) && (overdue || (began_late && fresh)) {
            self.told = Some(night);
            steps.push(Step::Late { entry: index, night, by: now - night });
        }
    }

    /// The moments at which something of this pipeline may become due.
    fn moments(&self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let mut moments: Vec<DateTime<Utc>> = self.schedule.next_after(now).into_iter().collect();
        if let State::Resting { until, .. } = self.state {
            moments.push(until);
        }
        if let Some(night) = self.schedule.last_until(now).filter(|night| *night > self.had) {
            moments.push(night + delta(self.schedule.late_after) + TimeDelta::milliseconds(1));
        }
        moments
    }
}

/// The wait after so many attempts: it doubles from one to the next, up to an hour.
fn wait(schedule: &Schedule, attempts: u32) -> TimeDelta {
    let first = delta(schedule.retry_wait);
    let doubled = 2_i32.checked_pow(attempts.saturating_sub(1)).and_then(|times| first.checked_mul(times));
    doubled.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT.max(first))
}

/// A length that no calendar holds is as good as a century.
fn delta(length: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(length).unwrap_or(TimeDelta::days(36_525)).min(TimeDelta::days(36_525))
}
