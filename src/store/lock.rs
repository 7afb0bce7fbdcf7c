//! Only one run writes a store at a time, and it begins by sweeping up what a dead one left.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::manifest::Latest;
use super::{Beginning, Memory, Store, create_folder, scratch, store_error};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{RunId, SnapshotId, host};
use crate::pipeline::Deployment;

const LOCK: &str = ".lock";
pub(super) const RESERVE: &str = ".reserve";
/// Bytes: room for a commit point of some hundred snapshots.
const RESERVED: usize = 256 << 10;

/// The right to write a store: holds its lock until dropped. The kernel lets go of it when the
/// process ends, however it ends.
pub struct StoreWriter {
    store: Store,
    run: RunId,
    memory: Memory,
    lock: File,
}

impl StoreWriter {
    /// Takes the lock, or says who holds it; then sees that it is the store that is remembered, and sweeps.
    pub fn acquire(deployment: &Deployment, run: &RunId, beginning: Beginning) -> Result<StoreWriter> {
        let folder = deployment.store.folder.as_path();
        let memory = Memory::of(&deployment.project, folder);
        if !folder.exists() {
            // Nothing is made where a disk should be mounted.
            memory.require(None, beginning)?;
        }
        create_folder(folder)?;
        let path = folder.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = file.map_err(|error| store_error("cannot open", &path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                return Err(Error::new(
                    ErrorKind::Locked,
                    format!("another run holds the store {}: {}", folder.display(), holder.trim()),
                )
                .hint("wait for it to end; the lock goes with its process, so there is nothing to remove"));
            }
            Err(TryLockError::Error(error)) => return Err(store_error("cannot lock", &path, error)),
        }
        let since = clock::now().format("%Y-%m-%d %H:%M:%S UTC");
        let holder = format!("run {run}, process {} on {}, since {since}\n", std::process::id(), host());
        let told =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
        told.map_err(|error| store_error("cannot write", &path, error))?;
        let writer = StoreWriter { store: Store::new(folder), run: run.clone(), memory, lock: file };
        writer.memory.require(writer.store.latest_or_lost()?.as_ref(), beginning)?;
        writer.sweep(beginning)?;
        writer.reserve();
        Ok(writer)
    }

    /// Keeps some room on the disk: forgetting old snapshots needs a little before it gives much.
    fn reserve(&self) {
        let path = self.store.folder.join(RESERVE);
        if !path.exists()
            && let Err(error) = std::fs::write(&path, vec![0xA5; RESERVED])
        {
            let _ = std::fs::remove_file(&path);
            tracing::debug!(%error, "no room is reserved");
        }
    }

    /// Gives the reserved room back.
    pub(super) fn release(&self) {
        let _ = std::fs::remove_file(self.store.folder.join(RESERVE));
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The lock is this file's, not its name's: whoever removed it let another run begin.
    pub(super) fn still_holds(&self) -> Result<()> {
        let path = self.store.folder.join(LOCK);
        let of = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let held = self.lock.metadata().map(of).map_err(|error| store_error("cannot read", &path, error))?;
        if std::fs::metadata(&path).map(of).is_ok_and(|there| there == held) {
            return Ok(());
        }
        let message = format!("{} was removed or replaced while this run worked", path.display());
        Err(Error::new(ErrorKind::Store, message).hint(
            "another run may have begun since, so nothing was published; leave the file alone, and run again",
        ))
    }

    /// Takes the lock for a command that is no run.
    pub fn for_command(deployment: &Deployment) -> Result<StoreWriter> {
        StoreWriter::acquire(deployment, &RunId::new(clock::now()), Beginning::Usual)
    }

    /// Where this run builds its star, to be renamed when it is whole.
    pub fn new_snapshot_folder(&self) -> PathBuf {
        self.store.folder.join("snapshots").join(format!(".new-{}", self.run))
    }

    /// Removes what no commit names: half-written snapshots, keys that were never published, the
    /// scratch of dead runs; and repairs the link. Only what bears a run's id is ever removed.
    fn sweep(&self, beginning: Beginning) -> Result<()> {
        let latest = self.store.latest_or_lost()?;
        let kept: BTreeSet<&str> =
            latest.iter().flat_map(|l| l.snapshots.iter().map(SnapshotId::as_str)).collect();
        for (path, name) in entries(&self.store.folder.join("snapshots")) {
            // A restored commit point does not know what was published after it, which tells of keys that were given.
            let tells = beginning == Beginning::Restored && RunId::is_one(&name);
            if is_of_a_dead_run(&path, &name) && !kept.contains(name.as_str()) && !tells {
                remove(&path)?;
            }
        }
        self.sweep_keys(latest.as_ref())?;
        let told = if beginning == Beginning::Restored { self.store.unnamed()? } else { Vec::new() };
        self.sweep_tables(latest.iter().flat_map(|latest| &latest.snapshots).chain(&told))?;
        let _ = std::fs::remove_file(self.store.folder.join("latest.json.new"));
        scratch::sweep(&self.store.folder.join(scratch::FOLDER), "");
        if let Some(latest) = &latest {
            for id in &latest.snapshots {
                if let Ok(manifest) = self.store.manifest(id)
                    && manifest.shares_files()
                {
                    let tables = manifest.tables.iter().map(|table| (&table.name, table.files.as_slice()));
                    self.show(&self.store.snapshot_folder(id), tables);
                }
            }
            self.link(&latest.snapshot);
        }
        Ok(())
    }

    fn sweep_keys(&self, latest: Option<&Latest>) -> Result<()> {
        for (folder, model) in entries(&self.store.folder.join("keys")) {
            let entry = latest.and_then(|latest| {
                latest.keys.iter().find(|(name, _)| name.as_str() == model).map(|(_, entry)| entry)
            });
            for (path, name) in entries(&folder) {
                if are_keys_of_a_run(&path, &name)
                    && !entry.is_some_and(|entry| entry.files.iter().any(|file| file.name == name))
                {
                    remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Points `latest` at a snapshot. A convenience only: nothing reads it to decide what is
    /// published, so where no link can be made the night goes on.
    pub(super) fn link(&self, snapshot: &SnapshotId) {
        let link = self.store.folder.join(LINK);
        let target = published_target(snapshot);
        if std::fs::read_link(&link).is_ok_and(|now| now == target) {
            return;
        }
        let temporary = self.store.folder.join("latest.new");
        let _ = std::fs::remove_file(&temporary);
        let linked =
            std::os::unix::fs::symlink(&target, &temporary).and_then(|()| std::fs::rename(&temporary, &link));
        if let Err(error) = linked {
            let _ = std::fs::remove_file(&temporary);
            tracing::warn!(link = %link.display(), %error, "the link to the latest snapshot was not made");
        }
    }
}

/// The link to the published snapshot.
pub(super) const LINK: &str = "latest";

/// Where it leads, as it is written.
pub(super) fn published_target(snapshot: &SnapshotId) -> PathBuf {
    Path::new("snapshots").join(snapshot.as_str())
}

/// A folder of a snapshot that was being made, or was made and never named: it bears a run's id, and the
/// manifest that only a run writes. What is a link leads to somebody else's.
fn is_of_a_dead_run(path: &Path, name: &str) -> bool {
    let is_folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let unfinished = name.strip_prefix(".new-").is_some_and(RunId::is_one);
    is_folder && (unfinished || (RunId::is_one(name) && path.join("manifest.json").is_file()))
}

/// A file of the registry that some run wrote: it bears the run's id and one of its kinds of keys.
pub(super) fn are_keys_of_a_run(path: &Path, name: &str) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    is_file
        && name.strip_suffix(".parquet").is_some_and(|name| {
            let kinds = [super::publish::RESTORED, super::compact::TOGETHER];
            let kind = kinds.into_iter().find_map(|kind| name.strip_suffix(kind));
            RunId::is_one(kind.unwrap_or(name))
        })
}

/// The link is made only after a commit. Without `latest.json` every snapshot would look like one that
/// was never published, and sweeping would lose them all.
pub(super) fn lost_commit(folder: &Path) -> Error {
    let message = format!("{} has published snapshots, but its latest.json is gone", folder.display());
    Error::new(ErrorKind::Store, message).hint(
        "restore latest.json from a backup; or move the folder away, and begin anew with `starmill run --new-store`",
    )
}

impl Drop for StoreWriter {
    /// What was not published goes at once, while the lock still keeps others away.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.new_snapshot_folder());
    }
}

/// A folder's entries with their names; none when it doesn't exist.
pub(super) fn entries(folder: &Path) -> Vec<(PathBuf, String)> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = found.filter_map(|entry| {
        let entry = entry.ok()?;
        Some((entry.path(), entry.file_name().into_string().ok()?))
    });
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

pub(super) fn remove(path: &Path) -> Result<()> {
    let is_folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let removed = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(|error| store_error("cannot remove", path, error))
}
