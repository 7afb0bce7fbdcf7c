//! The only place that asks what time it is.
//!
//! `STARMILL_CLOCK=<instant>*<speed>` lets a test's process begin at an instant of its choice, and time
//! pass faster: `2026-03-29T00:59:30Z*60`. It moves schedules and what is written about times; what a
//! step took is always measured in true time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

const VARIABLE: &str = "STARMILL_CLOCK";

struct Pretended {
    began: Instant,
    start: DateTime<Utc>,
    speed: u32,
}

pub fn now() -> DateTime<Utc> {
    match pretended() {
        Some(clock) => clock.start + scaled(clock.began.elapsed(), clock.speed),
        None => Utc::now(),
    }
}

/// Waits until an instant, or for half a minute: the time may be set anew meanwhile, or the machine
/// sleep, so whoever waits looks again.
pub async fn sleep_towards(until: DateTime<Utc>) {
    let left = (until - now()).to_std().unwrap_or_default();
    let left = left / pretended().map_or(1, |clock| clock.speed);
    tokio::time::sleep(left.min(Duration::from_secs(30)).max(Duration::from_millis(1))).await;
}

/// The variable that makes a child's clock go on from here, when ours is not the true one.
pub fn for_child() -> Option<(&'static str, String)> {
    let speed = pretended()?.speed;
    Some((VARIABLE, format!("{}*{speed}", now().to_rfc3339_opts(SecondsFormat::Micros, true))))
}

/// True time since this process first asked.
pub fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn pretended() -> Option<&'static Pretended> {
    static CLOCK: OnceLock<Option<Pretended>> = OnceLock::new();
    let parse = || {
        let text = std::env::var(VARIABLE).ok()?;
        let (start, speed) = text.split_once('*').unwrap_or((&text, "1"));
        let start = start.parse().ok()?;
        Some(Pretended {
            began: Instant::now(),
            start,
            speed: speed.parse().ok().filter(|speed| *speed > 0)?,
        })
    };
    CLOCK.get_or_init(parse).as_ref()
}

fn scaled(elapsed: Duration, speed: u32) -> TimeDelta {
    TimeDelta::from_std(elapsed * speed).unwrap_or(TimeDelta::MAX)
}

/// Measures one step: wall time, CPU time of the process, and its peak resident memory so far.
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

/// What a step cost.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    pub wall_ms: f64,
    pub cpu_ms: f64,
    /// Highest resident memory of the process up to the end of the step, in bytes.
    pub peak_rss_bytes: u64,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch { wall: Instant::now(), cpu: usage().0 }
    }

    pub fn elapsed(&self) -> Duration {
        self.wall.elapsed()
    }

    pub fn cost(&self) -> Cost {
        let (cpu, peak_rss_bytes) = usage();
        Cost {
            wall_ms: millis(self.wall.elapsed()),
            cpu_ms: millis(cpu.saturating_sub(self.cpu)),
            peak_rss_bytes,
        }
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

fn usage() -> (Duration, u64) {
    match getrusage(UsageWho::RUSAGE_SELF) {
        Ok(usage) => {
            let cpu = usage.user_time() + usage.system_time();
            let cpu = Duration::from_micros(u64::try_from(cpu.num_microseconds()).unwrap_or(0));
            // Linux counts the peak in KiB.
            (cpu, u64::try_from(usage.max_rss()).unwrap_or(0) * 1024)
        }
        Err(_) => (Duration::ZERO, 0),
    }
}
