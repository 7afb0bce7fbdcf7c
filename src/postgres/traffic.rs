//! What moves over one session's line, as whoever watches it sees it from outside.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::since_start;

/// One session: whether an answer is awaited, and when a byte last moved.
#[derive(Default)]
pub struct Traffic {
    /// The server's process for it; 0 before it said so.
    process: AtomicI32,
    awaited: AtomicBool,
    /// While rows are taken nothing moves, and that is our doing.
    at_work: AtomicBool,
    /// Milliseconds since the process began.
    moved: AtomicU64,
}

impl Traffic {
    pub fn is_of(&self, process: i32) {
        self.process.store(process, Ordering::Relaxed);
    }

    pub fn moved(&self) {
        let now = u64::try_from(since_start().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    pub fn asked(&self) {
        self.awaited.store(true, Ordering::Relaxed);
        self.moved();
    }

    pub fn answered(&self) {
        self.awaited.store(false, Ordering::Relaxed);
    }

    pub fn at_work(&self, is: bool) {
        self.at_work.store(is, Ordering::Relaxed);
    }

    /// The server's process, when an answer of it is awaited and nothing has moved for so long.
    pub fn quiet_for(&self, most: Duration) -> Option<i32> {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        let quiet = self.awaited.load(Ordering::Relaxed)
            && !self.at_work.load(Ordering::Relaxed)
            && since_start().saturating_sub(moved) > most;
        let process = self.process.load(Ordering::Relaxed);
        (quiet && process != 0).then_some(process)
    }
}
