//! The only place that asks what time it is.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

pub fn now() -> DateTime<Utc> {
    Utc::now()
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
