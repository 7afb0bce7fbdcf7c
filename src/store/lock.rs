//! Only one run writes a store at a time, and it begins by sweeping up what a dead one left.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::UpdateVersion;

use super::bucket::lease::Lease;
use super::bucket::{Bucket, Swapped};
use super::manifest::Latest;
use super::objects::{Entry, Kind, Objects};
use super::{
    Beginning, KEYS, LATEST, Memory, SNAPSHOTS, Scratch, Store, create_folder, scratch, store_error,
};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{RunId, SnapshotId, host};
use crate::pipeline::{Deployment, Place};

const LOCK: &str = ".lock";
/// What a run asks its server with is gone after its first seconds.
const AN_HOUR: chrono::TimeDelta = chrono::TimeDelta::hours(1);
pub(super) const RESERVE: &str = ".reserve";
/// Bytes: room for a commit point of some hundred snapshots.
const RESERVED: usize = 256 << 10;

/// The right to write a store, until it is dropped.
pub struct StoreWriter {
    store: Store,
    run: RunId,
    memory: Memory,
    hold: Hold,
    /// Whether what other engines read shows what is published.
    pub(super) followed: Mutex<Result<()>>,
}

/// What keeps others from writing.
enum Hold {
    /// The kernel lets go of it when the process ends, however it ends.
    Lock(File),
    /// Whoever replaces the commit point replaces the one that was read when the lease was taken.
    Lease { _lease: Lease, bucket: Arc<Bucket>, read: Mutex<Option<UpdateVersion>> },
}

impl StoreWriter {
    /// Takes the lock, or says who holds it; then sees that it is the store that is remembered, and sweeps.
    pub fn acquire(deployment: &Deployment, run: &RunId, beginning: Beginning) -> Result<StoreWriter> {
        let memory = Memory::of(&deployment.project, &deployment.store.place);
        let store = Store::of(&deployment.store);
        let hold = match &deployment.store.place {
            Place::Folder(folder) => StoreWriter::lock(folder, &memory, run, beginning)?,
            Place::Bucket(_) => StoreWriter::lease(&store, run)?,
        };
        let writer = StoreWriter { store, run: run.clone(), memory, hold, followed: Mutex::new(Ok(())) };
        let latest = writer.store.latest_or_lost()?;
        writer.memory.require(latest.as_ref(), beginning)?;
        if let Some(latest) = &latest {
            writer.store.settle_manifests(latest)?;
            // What the lake and the logs name yet is not swept.
            writer.follow(latest);
        }
        writer.sweep(beginning)?;
        writer.reserve();
        Ok(writer)
    }

    fn lock(folder: &Path, memory: &Memory, run: &RunId, beginning: Beginning) -> Result<Hold> {
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
        let holder = format!("{}\n", holder(run));
        let told =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
        told.map_err(|error| store_error("cannot write", &path, error))?;
        Ok(Hold::Lock(file))
    }

    fn lease(store: &Store, run: &RunId) -> Result<Hold> {
        let Objects::Bucket(bucket) = &store.objects else {
            return Err(Error::new(ErrorKind::Bug, "a lease of a folder"));
        };
        bucket.require_ours(bucket.read(LATEST)?.is_some())?;
        bucket.require_conditions(run)?;
        store.ready_copies()?;
        let lease = Lease::take(bucket, run, &holder(run))?;
        // Read under the lease: what comes after it was written by nobody who respects it.
        let read = Mutex::new(bucket.read(LATEST)?.map(|there| there.version));
        Ok(Hold::Lease { _lease: lease, bucket: Arc::clone(bucket), read })
    }

    /// Keeps some room on the disk: forgetting old snapshots needs a little before it gives much.
    fn reserve(&self) {
        let Objects::Folder(folder) = &self.store.objects else { return };
        let path = folder.join(RESERVE);
        if !path.exists()
            && let Err(error) = std::fs::write(&path, vec![0xA5; RESERVED])
        {
            let _ = std::fs::remove_file(&path);
            tracing::debug!(%error, "no room is reserved");
        }
    }

    /// Gives the reserved room back.
    pub(super) fn release(&self) {
        if let Objects::Folder(folder) = &self.store.objects {
            let _ = std::fs::remove_file(folder.join(RESERVE));
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether others may write beside it, who believe that it is dead.
    pub(super) fn signs(&self) -> bool {
        matches!(self.hold, Hold::Lease { .. })
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Replaces the commit point, which must be the one that this writer has read.
    pub(super) fn replace_commit_point(&self, text: &str) -> Result<()> {
        match &self.hold {
            Hold::Lock(lock) => {
                let folder = self.store.local_folder();
                still_holds(&folder.join(LOCK), lock)?;
                super::replace_file(&folder.join(LATEST), text, super::Readers::All)
            }
            Hold::Lease { bucket, read, .. } => {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                match bucket.swap(LATEST, text.as_bytes(), read.as_ref())? {
                    Swapped::Done(version) => {
                        *read = Some(version);
                        Ok(())
                    }
                    Swapped::Lost => Err(self.overtaken()),
                }
            }
        }
    }

    /// Another writer has committed since this one began.
    fn overtaken(&self) -> Error {
        let latest = self.store.latest().ok().flatten();
        let by = latest.map_or("another run".to_owned(), |latest| {
            let writer = latest.writer.map_or(String::new(), |run| format!(", run {run} wrote last"));
            format!("snapshot {} is published there{writer}", latest.snapshot)
        });
        let message =
            format!("another run wrote the store {} while this one worked: {by}", self.store.shown());
        Error::new(ErrorKind::Locked, message).hint("nothing was published; run again")
    }

    /// Removes what no commit names: half-written snapshots, keys that were never published, the
    /// scratch of dead runs; and repairs the link. Only what bears a run's id is ever removed.
    fn sweep(&self, beginning: Beginning) -> Result<()> {
        let latest = self.store.latest_or_lost()?;
        let mut left = self.left_over(latest.as_ref(), beginning)?;
        if let (Hold::Lease { .. }, false) = (&self.hold, left.is_empty()) {
            // Some of it may be a writer's who still works, and believes that it holds the lease. Its commit must fail
            // before anything of it is taken away. Where nothing was published yet, it stays.
            match latest.clone() {
                Some(latest) => {
                    let text = super::publish::text_of(&Latest { writer: Some(self.run.clone()), ..latest })?;
                    self.replace_commit_point(&text)?;
                }
                None => left.clear(),
            }
        }
        self.remove_all(left)?;
        scratch::sweep(&self.store.local_folder().join(scratch::FOLDER), "");
        let Objects::Folder(folder) = &self.store.objects else { return Ok(()) };
        for (path, name) in entries(&folder.join(SNAPSHOTS)) {
            if is_unfinished(&name) && path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                remove(&path)?;
            }
        }
        let _ = std::fs::remove_file(folder.join("latest.json.new"));
        if let Some(latest) = &latest {
            for id in &latest.snapshots {
                if let Ok(manifest) = self.store.manifest(id)
                    && manifest.shares_files()
                {
                    let tables = manifest.tables.iter().map(|table| (&table.name, table.files.as_slice()));
                    self.show(&folder.join(super::snapshot_below(id)), tables);
                }
            }
            self.link(&latest.snapshot);
        }
        Ok(())
    }

    /// What dead runs left: folders of snapshots and files that no commit names, and what they asked the server with.
    fn left_over(&self, latest: Option<&Latest>, beginning: Beginning) -> Result<Vec<String>> {
        let objects = &self.store.objects;
        let kept: BTreeSet<&str> =
            latest.iter().flat_map(|l| l.snapshots.iter().map(SnapshotId::as_str)).collect();
        let mut left = Vec::new();
        for entry in objects.entries(SNAPSHOTS)? {
            // A restored commit point does not know what was published after it, which tells of keys that were given.
            let tells = beginning == Beginning::Restored && RunId::is_one(&entry.name);
            let of_a_run = entry.kind == Kind::Folder && RunId::is_one(&entry.name);
            if of_a_run
                && !kept.contains(entry.name.as_str())
                && !tells
                && self.store.has_manifest(&entry.name)?
            {
                left.push(format!("{SNAPSHOTS}/{}", entry.name));
            }
        }
        for model in objects.entries(KEYS)? {
            let entry = latest.and_then(|latest| {
                latest.keys.iter().find(|(name, _)| name.as_str() == model.name).map(|(_, entry)| entry)
            });
            let named =
                |name: &str| entry.is_some_and(|entry| entry.files.iter().any(|file| file.name == name));
            for file in objects.entries(&format!("{KEYS}/{}", model.name))? {
                if are_keys_of_a_run(&file) && !named(&file.name) {
                    left.push(format!("{KEYS}/{}/{}", model.name, file.name));
                }
            }
        }
        if let Objects::Bucket(_) = objects {
            let of_a_run = |name: &str| {
                let run = [".probe-", ".lease-"].iter().find_map(|start| name.strip_prefix(start));
                run.and_then(RunId::parse).is_some_and(|run| clock::now() - run.started_at() > AN_HOUR)
            };
            let asked = objects.entries("")?.into_iter().filter(|entry| of_a_run(&entry.name));
            left.extend(asked.map(|entry| entry.name));
        }
        let told = if beginning == Beginning::Restored { self.store.unnamed()? } else { Vec::new() };
        let kept = latest.iter().flat_map(|latest| &latest.snapshots).chain(&told);
        if self.has_followed() {
            left.extend(self.unnamed_files(latest, kept)?);
        }
        Ok(left)
    }

    /// Takes the lock for a command that is no run.
    pub fn for_command(deployment: &Deployment) -> Result<StoreWriter> {
        let writer = StoreWriter::acquire(deployment, &RunId::new(clock::now()), Beginning::Usual)?;
        writer.tell_unfollowed();
        Ok(writer)
    }

    /// Where this run builds its star: where it can be published by a rename, or in its scratch, to be sent from there.
    pub fn star_folder(&self, scratch: &Scratch) -> PathBuf {
        match &self.store.objects {
            Objects::Folder(_) => self.new_snapshot_folder(),
            Objects::Bucket(_) => scratch.folder().join("star"),
        }
    }

    /// The folder of a snapshot in the making, to be renamed when it is whole.
    pub(super) fn new_snapshot_folder(&self) -> PathBuf {
        self.store.objects.local(SNAPSHOTS).join(format!("{UNFINISHED}{}", self.run))
    }

    /// Points `latest` at a snapshot. A convenience only: nothing reads it to decide what is
    /// published, so where no link can be made the night goes on.
    pub(super) fn link(&self, snapshot: &SnapshotId) {
        let Objects::Folder(folder) = &self.store.objects else { return };
        let link = folder.join(LINK);
        let target = published_target(snapshot);
        if std::fs::read_link(&link).is_ok_and(|now| now == target) {
            return;
        }
        let temporary = folder.join("latest.new");
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

/// What the folder of a snapshot that is being made begins with.
const UNFINISHED: &str = ".new-";

fn is_unfinished(name: &str) -> bool {
    name.strip_prefix(UNFINISHED).is_some_and(RunId::is_one)
}

/// A file of the registry that some run wrote: it bears the run's id and one of its kinds of keys.
pub(super) fn are_keys_of_a_run(file: &Entry) -> bool {
    file.kind == Kind::File
        && file.name.strip_suffix(".parquet").is_some_and(|name| {
            let kinds = [super::publish::RESTORED, super::compact::TOGETHER];
            let kind = kinds.into_iter().find_map(|kind| name.strip_suffix(kind));
            RunId::is_one(kind.unwrap_or(name))
        })
}

/// The lock is this file's, not its name's: whoever removed it let another run begin.
fn still_holds(path: &Path, lock: &File) -> Result<()> {
    let of = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    let held = lock.metadata().map(of).map_err(|error| store_error("cannot read", path, error))?;
    if std::fs::metadata(path).map(of).is_ok_and(|there| there == held) {
        return Ok(());
    }
    let message = format!("{} was removed or replaced while this run worked", path.display());
    Err(Error::new(ErrorKind::Store, message).hint(
        "another run may have begun since, so nothing was published; leave the file alone, and run again",
    ))
}

/// Who holds a store, for those who find it held.
fn holder(run: &RunId) -> String {
    let since = clock::now().format("%Y-%m-%d %H:%M:%S UTC");
    format!("run {run}, process {} on {}, since {since}", std::process::id(), host())
}

/// The link is made only after a commit. Without `latest.json` every snapshot would look like one that
/// was never published, and sweeping would lose them all.
pub(super) fn lost_commit(store: &str) -> Error {
    let message = format!("{store} has published snapshots, but its latest.json is gone");
    Error::new(ErrorKind::Store, message).hint(
        "restore latest.json from a backup; or move what lies there away, and begin anew with `starmill run --new-store`",
    )
}

impl Drop for StoreWriter {
    /// What was not published goes at once, while the lock still keeps others away.
    fn drop(&mut self) {
        if let Objects::Folder(_) = &self.store.objects {
            let _ = std::fs::remove_dir_all(self.new_snapshot_folder());
        }
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
