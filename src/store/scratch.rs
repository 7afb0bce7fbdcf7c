//! A run's own folder for spilling and staged tables; gone with the run, or swept by the next.
//!
//! Rows of the source lie there, so nobody but their owner may look: its mode is 0700. Outside of a store
//! its name is one that nobody can foresee.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::lock::{entries, remove};
use super::{create_folder, store_error};
use crate::error::{Error, ErrorKind, Result};
use crate::name::RunId;

/// The folder inside a store, or inside the folder that the pipeline names.
pub const FOLDER: &str = ".scratch";

/// What the lock's file of every scratch folder says, so that nobody else's folder is taken for one.
const MARK: &str = "starmill scratch\n";

/// What folders in the system's own folder for temporary files begin with.
const PREFIX: &str = "starmill-";

/// Holds a lock on its folder, by which a sweeper knows that its owner lives.
pub struct Scratch {
    folder: PathBuf,
    /// The folder above, when it was made for this one.
    above: Option<PathBuf>,
    _lock: File,
}

impl Scratch {
    /// Scratch inside a folder of the user's own.
    pub fn create(parent: &Path, run: &RunId) -> Result<Scratch> {
        let above = parent.join(FOLDER);
        let made = !above.exists();
        create_folder(parent)?;
        for twin in 1.. {
            // Two readers may begin at one instant, and have one id.
            let name = if twin == 1 { run.to_string() } else { format!("{run}-{twin}") };
            let folder = above.join(name);
            if let Some(lock) = claim(&folder)? {
                // One that a dead run of ours lay in, or that was not there, goes again when it is empty.
                let ours = sweep(&above, "") || made;
                return Ok(Scratch { folder, above: ours.then_some(above), _lock: lock });
            }
        }
        Err(Error::new(ErrorKind::Bug, "no scratch folder has a free name"))
    }

    /// Scratch in the system's folder for temporary files, which is everybody's.
    pub fn private(run: &RunId) -> Result<Scratch> {
        let parent = std::env::temp_dir();
        sweep(&parent, PREFIX);
        loop {
            let folder = parent.join(format!("{PREFIX}{run}-{:016x}", fastrand::u64(..)));
            if let Some(lock) = claim(&folder)? {
                return Ok(Scratch { folder, above: None, _lock: lock });
            }
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Makes a folder that nobody else has, with its lock held; none when its name is taken.
fn claim(folder: &Path) -> Result<Option<File>> {
    loop {
        if let Some(above) = folder.parent() {
            let above_made = DirBuilder::new().recursive(true).mode(0o700).create(above);
            above_made.map_err(|error| store_error("cannot create", above, error))?;
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(None),
            // Another run's end took away the folder above in between.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(store_error("cannot create", folder, error)),
        }
        let path = folder.join("lock");
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut lock = match made {
            Ok(lock) => lock,
            // A sweeper took the empty folder away in between.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(store_error("cannot create", &path, error)),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(store_error("cannot lock", &path, error)),
        }
        lock.write_all(MARK.as_bytes()).map_err(|error| store_error("cannot write", &path, error))?;
        // Between creation and lock a sweeper may have had the lock, and removed it all.
        if path.exists() {
            return Ok(Some(lock));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "scratch remains; the next run sweeps it");
        }
        // Leaves no empty folder behind; another run's scratch keeps it.
        if let Some(above) = &self.above {
            let _ = std::fs::remove_dir(above);
        }
    }
}

/// Removes the scratch of runs that are dead: folders of this user that bear a run's id and our mark, and
/// whose lock can be had. Nothing is followed that is a link. Says whether there was one.
pub(super) fn sweep(folder: &Path, prefix: &str) -> bool {
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    if prefix.is_empty() && is_link(folder) {
        return false;
    }
    let mut swept = false;
    for (path, name) in entries(folder) {
        let run = name.strip_prefix(prefix).is_some_and(bears_run);
        let ours = |meta: std::fs::Metadata| meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw();
        if !run || !path.symlink_metadata().is_ok_and(ours) {
            continue;
        }
        let Some(lock) = marked(&path.join("lock")) else { continue };
        if lock.try_lock().is_ok() {
            match remove(&path) {
                Ok(()) => swept = true,
                Err(error) => tracing::warn!(folder = %path.display(), %error, "cannot sweep scratch"),
            }
        }
    }
    swept
}

/// A run's id, and perhaps something that tells it from a twin.
fn bears_run(name: &str) -> bool {
    match name.get(21..) {
        Some(rest) => RunId::is_one(&name[..21]) && (rest.is_empty() || rest.starts_with('-')),
        None => false,
    }
}

/// The lock's file, if it is one of ours.
fn marked(path: &Path) -> Option<File> {
    let mut lock = OpenOptions::new().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(path).ok()?;
    let mut said = String::new();
    (&mut lock).take(64).read_to_string(&mut said).ok()?;
    (said == MARK).then_some(lock)
}
