//! A run's own folder for spilling and staged tables; gone with the run, or swept by the next.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::lock::{entries, remove};
use super::{create_folder, store_error};
use crate::error::{Error, ErrorKind, Result};
use crate::name::RunId;

/// The folder inside a store, or inside the folder that the pipeline names.
pub const FOLDER: &str = ".scratch";

/// Holds a lock on its folder, by which a sweeper knows that its owner lives.
pub struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    pub fn create(parent: &Path, run: &RunId) -> Result<Scratch> {
        for twin in 1.. {
            // Two readers may begin at one instant, and have one id.
            let name = if twin == 1 { run.to_string() } else { format!("{run}-{twin}") };
            let folder = parent.join(FOLDER).join(name);
            let path = folder.join("lock");
            loop {
                create_folder(&folder)?;
                let lock = match File::create(&path) {
                    Ok(lock) => lock,
                    // A sweeper took the empty folder away in between.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(store_error("cannot create", &path, error)),
                };
                match lock.try_lock() {
                    Ok(()) => {}
                    Err(TryLockError::WouldBlock) => break,
                    Err(TryLockError::Error(error)) => return Err(store_error("cannot lock", &path, error)),
                }
                // Between creation and lock a sweeper may have had the lock, and removed it all.
                if path.exists() {
                    sweep(&parent.join(FOLDER));
                    return Ok(Scratch { folder, _lock: lock });
                }
            }
        }
        Err(Error::new(ErrorKind::Bug, "no scratch folder has a free name"))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "scratch remains; the next run sweeps it");
        }
        // Leaves no empty folder behind; another run's scratch keeps it.
        if let Some(parent) = self.folder.parent() {
            let _ = std::fs::remove_dir(parent);
        }
    }
}

/// Removes the scratch of runs that are dead: those whose lock can be had. A folder without a lock
/// is one that is just being made.
pub(super) fn sweep(folder: &Path) {
    for (path, _) in entries(folder) {
        let Ok(lock) = File::open(path.join("lock")) else {
            // Only an empty one goes: nothing is lost, and its maker makes it again.
            let _ = std::fs::remove_dir(&path);
            continue;
        };
        if lock.try_lock().is_ok()
            && let Err(error) = remove(&path)
        {
            tracing::warn!(folder = %path.display(), %error, "cannot sweep scratch");
        }
    }
}
