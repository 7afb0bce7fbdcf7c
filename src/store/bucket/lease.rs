//! Who writes a bucket now: an object with an expiry, renewed while its holder lives. It spares work; what keeps a star
//! whole is that `latest.json` is replaced only while it is what its writer has read.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use object_store::UpdateVersion;
use serde::{Deserialize, Serialize};

use super::{Bucket, Swapped};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::RunId;

pub const LEASE: &str = ".lease.json";
/// How often somebody who finds the lease free may lose it to others before giving up.
const TRIES: usize = 5;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Held {
    run: RunId,
    holder: String,
    /// How long it holds after its last renewal.
    seconds: f64,
    renewed: u64,
    released: bool,
}

/// The right to write a bucket, as far as others respect it.
pub struct Lease {
    shared: Arc<Shared>,
}

struct Shared {
    bucket: Arc<Bucket>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    held: Held,
    version: UpdateVersion,
    ended: bool,
}

fn body(held: &Held) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(held).or_error(ErrorKind::Bug, || "a lease".to_owned())
}

impl Lease {
    /// Takes the lease that nobody holds, or whose holder has died; else says who holds it.
    pub fn take(bucket: &Arc<Bucket>, run: &RunId, holder: &str) -> Result<Lease> {
        let seconds = bucket.settings().lease.as_secs_f64();
        let held = Held { run: run.clone(), holder: holder.to_owned(), seconds, renewed: 0, released: false };
        let text = body(&held)?;
        for _ in 0..TRIES {
            let there = match bucket.swap(LEASE, &text, None)? {
                Swapped::Done(version) => return Ok(Lease::renewed(bucket, held, version)),
                Swapped::Lost => bucket.read(LEASE)?,
            };
            let Some(there) = there else { continue };
            let known = serde_json::from_slice::<Held>(&there.bytes).ok();
            let lasts = known.as_ref().map_or(seconds, |known| known.seconds);
            if !known.as_ref().is_some_and(|known| known.released) {
                let silent = now(bucket, run)?.signed_duration_since(there.written);
                if silent.to_std().unwrap_or_default() <= Duration::from_secs_f64(lasts.clamp(0.0, 86_400.0))
                {
                    let holder = known.map_or("somebody".to_owned(), |known| known.holder);
                    return Err(held_by(bucket, &holder, lasts));
                }
                tracing::warn!(store = %bucket.settings(), "a writer died, and its lease is taken over");
            }
            if let Swapped::Done(version) = bucket.swap(LEASE, &text, Some(&there.version))? {
                return Ok(Lease::renewed(bucket, held, version));
            }
        }
        Err(held_by(bucket, "others, who began at the same time", seconds))
    }

    /// Renews it from now on.
    fn renewed(bucket: &Arc<Bucket>, held: Held, version: UpdateVersion) -> Lease {
        let every = bucket.settings().lease / 3;
        let state = Mutex::new(State { held, version, ended: false });
        let shared = Arc::new(Shared { bucket: Arc::clone(bucket), state, changed: Condvar::new() });
        let renewing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("lease".to_owned());
        if let Err(error) = thread.spawn(move || renewing.renew(every)) {
            tracing::warn!(%error, "the lease is not renewed");
        }
        Lease { shared }
    }
}

impl Shared {
    fn renew(&self, every: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let waited = self.changed.wait_timeout_while(state, every, |state| !state.ended);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.ended {
                return;
            }
            state.held.renewed += 1;
            match self.replaced(&state) {
                Ok(Some(version)) => state.version = version,
                // The commit will say so.
                Ok(None) => {
                    tracing::warn!(store = %self.bucket.settings(), "another writer has taken the lease over");
                    state.ended = true;
                }
                Err(error) => tracing::warn!(%error, "the lease was not renewed"),
            }
        }
    }

    fn replaced(&self, state: &State) -> Result<Option<UpdateVersion>> {
        match self.bucket.swap(LEASE, &body(&state.held)?, Some(&state.version))? {
            Swapped::Done(version) => Ok(Some(version)),
            Swapped::Lost => {
                // An earlier renewal whose answer was lost.
                let there = self.bucket.read(LEASE)?;
                let ours = |there: &super::Versioned| {
                    serde_json::from_slice::<Held>(&there.bytes).is_ok_and(|held| held.run == state.held.run)
                };
                Ok(there.filter(ours).map(|there| there.version))
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.ended {
            state.ended = true;
            state.held.released = true;
            if let Err(error) = self.shared.replaced(&state) {
                tracing::debug!(%error, "the lease ends by itself");
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

fn held_by(bucket: &Bucket, holder: &str, seconds: f64) -> Error {
    let message = format!("another run holds the store {}: {}", bucket.settings(), holder.trim());
    Error::new(ErrorKind::Locked, message).hint(format!(
        "wait for it to end; if it has died, its lease ends {seconds:.0} s after its last sign of life"
    ))
}

/// What the server's clock says: when it has written something just now.
fn now(bucket: &Bucket, run: &RunId) -> Result<chrono::DateTime<chrono::Utc>> {
    let name = format!(".lease-{run}");
    bucket.write(&name, b"a look at the clock\n")?;
    let written = bucket.read(&name)?.map(|there| there.written);
    bucket.remove(vec![name.clone()])?;
    written.ok_or_else(|| {
        Error::new(ErrorKind::Store, format!("{} was written and is not there", bucket.shown(&name)))
            .hint("the server shows writes late, and cannot hold a store")
    })
}
