//! What moves over one session's line, as whoever watches it sees it from outside.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::since_start;

/// One session: whether an answer is awaited, and when a byte last moved.
#[derive(Default)]
pub struct Traffic {
    /// The server's process for it; 0 before it said so.
    process: AtomicI32,
    awaited: AtomicBool,
    /// Requests that were sent and not answered yet. One may follow another that nobody waits for, as when a statement is
    /// forgotten; then the answer to that is not the other's.
    open: AtomicU32,
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

    /// So many requests went out, or bytes of one.
    pub fn asked(&self, requests: u32) {
        self.open.fetch_add(requests, Ordering::Relaxed);
        self.awaited.store(true, Ordering::Relaxed);
        self.moved();
    }

    pub fn answered(&self) {
        if self.settled() == 0 {
            self.awaited.store(false, Ordering::Relaxed);
        }
    }

    /// One request less is open; how many are left.
    pub fn settled(&self) -> u32 {
        let left = |open: u32| Some(open.saturating_sub(1));
        let before = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).unwrap_or_default();
        before.saturating_sub(1)
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

/// Walks what is sent for the requests in it that the server answers with being ready again.
#[derive(Default)]
pub struct Requests {
    /// What is known of a message's kind and length.
    header: Vec<u8>,
    /// Bytes of a message that are still to come.
    rest: usize,
    /// The first message has a length only.
    begun: bool,
    /// Whether the last one ended with a Sync, which a server that is told to expect rows takes for nothing.
    by_sync: bool,
}

const QUERY: u8 = b'Q';
const SYNC: u8 = b'S';
const CALL: u8 = b'F';

impl Requests {
    pub fn by_sync(&self) -> bool {
        self.by_sync
    }

    /// How many of them begin in these bytes, which follow those before.
    pub fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut found = 0;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let whole = if self.begun { 5 } else { 4 };
            let taken = (whole - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.header.len() < whole {
                break;
            }
            let length =
                self.header[whole - 4..].iter().fold(0_usize, |all, byte| all << 8 | usize::from(*byte));
            self.rest = length.saturating_sub(4);
            let kind = if self.begun { self.header[0] } else { QUERY };
            if [QUERY, SYNC, CALL].contains(&kind) {
                found += 1;
                self.by_sync = kind == SYNC;
            }
            self.begun = true;
            self.header.clear();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_however_their_bytes_are_sent() {
        let message = |kind: u8, body: &[u8]| {
            let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
            [&[kind][..], &length, body].concat()
        };
        let start = [&12_u32.to_be_bytes()[..], &[0, 3, 0, 0, b'a', 0, 0, 0]].concat();
        // A password is no request; a statement that is forgotten is one, and so is what follows it.
        let sent = [
            start,
            message(b'p', b"secret\0"),
            message(b'C', b"Ss0\0"),
            message(SYNC, &[]),
            message(b'P', b"SELECT 'Q'\0"),
            message(SYNC, &[]),
            message(QUERY, b"SELECT 1\0"),
        ]
        .concat();
        for piece in [1, 3, 7, sent.len()] {
            let mut requests = Requests::default();
            let found: u32 = sent.chunks(piece).map(|bytes| requests.count(bytes)).sum();
            assert_eq!((found, requests.by_sync()), (4, false), "{piece}");
        }
    }

    #[test]
    fn one_answer_is_not_that_of_two_requests() {
        let traffic = Traffic::default();
        traffic.is_of(7);
        traffic.asked(2);
        traffic.answered();
        assert!(traffic.awaited.load(Ordering::Relaxed));
        traffic.answered();
        assert!(!traffic.awaited.load(Ordering::Relaxed));
    }
}
