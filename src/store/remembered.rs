//! That a store was made, remembered outside of it.
//!
//! A store that is gone, because its disk is not mounted, looks like one that never was; begun anew, it
//! would give surrogate keys a second time, to other members. So what its commit point last said is kept
//! beside the project, or, where nothing can be written there, among the user's own state.

use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::Latest;
use super::objects::alias;
use super::{Readers, create_folder, replace_file};
use crate::clock;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::SnapshotId;
use crate::pipeline::Place;

/// What is allowed to a run whose store is not the one that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing: it goes on, or begins what nobody has begun before.
    Usual,
    /// A new beginning is meant.
    New,
    /// A backup that is older than what was published last is meant.
    Restored,
}

/// What a store's commit point last said.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remembered {
    folder: PathBuf,
    store: String,
    newest: SnapshotId,
    at: DateTime<Utc>,
}

/// Where one store is remembered.
#[derive(Debug, Clone)]
pub struct Memory {
    /// As people name it.
    store: String,
    files: Vec<PathBuf>,
}

impl Memory {
    /// The memory of a store's folder, for a project.
    pub fn of(project: &Path, place: &Place) -> Memory {
        let project = really(project);
        let file = |home: PathBuf, known: &[u8]| home.join("stores").join(format!("{}.json", alias(known)));
        let beside = project.join(".starmill");
        match place {
            Place::Folder(folder) => {
                let folder = really(folder);
                // Inside the project, where the project is doesn't matter: it may move, its memory with it.
                let inside = folder.strip_prefix(&project).unwrap_or(&folder);
                let mut files = vec![file(beside, inside.as_os_str().as_encoded_bytes())];
                let whole = folder.as_os_str().as_encoded_bytes();
                files.extend(state_folder().map(|home| file(home, whole)));
                Memory { store: folder.display().to_string(), files }
            }
            Place::Bucket(bucket) => {
                // Buckets of one name on two servers are two.
                let known = bucket.whole_name();
                let mut files = vec![file(beside, known.as_bytes())];
                files.extend(state_folder().map(|home| file(home, known.as_bytes())));
                Memory { store: bucket.to_string(), files }
            }
        }
    }

    fn recall(&self) -> Option<Remembered> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).ok()?;
            serde_json::from_str::<Remembered>(&text)
                .inspect_err(|error| tracing::warn!(file = %path.display(), %error, "a memory is ignored"))
                .ok()
        };
        self.files.iter().filter_map(read).max_by_key(|remembered| remembered.at)
    }

    /// Keeps what a commit said. The commit stands, so a failure is only told.
    pub fn keep(&self, latest: &Latest) {
        let Some(newest) = latest.newest() else { return };
        let remembered = Remembered {
            folder: PathBuf::from(&self.store),
            store: latest.store.clone(),
            newest: newest.clone(),
            at: clock::now(),
        };
        let kept = self.files.iter().any(|path| {
            let written = write(path, &remembered);
            written.inspect_err(|error| tracing::debug!(%error, "not remembered there")).is_ok()
        });
        if !kept {
            tracing::warn!(store = self.store, "the store is remembered nowhere outside of it");
        }
    }

    /// Refuses a store that is gone, is another one, or is older than remembered.
    pub fn require(&self, latest: Option<&Latest>, beginning: Beginning) -> Result<()> {
        let Some(known) = self.recall() else { return Ok(()) };
        let (newest, at) = (&known.newest, known.at.format("%Y-%m-%d %H:%M UTC"));
        let held = latest.and_then(Latest::newest);
        match latest {
            _ if beginning == Beginning::New => Ok(()),
            None => {
                Err(gone(&self.store, &format!("it held snapshot {newest} when it was last written, {at}")))
            }
            Some(latest) if latest.store != known.store => match beginning {
                Beginning::Restored => Ok(()),
                _ => Err(gone(
                    &self.store,
                    &format!("another store lies there than the one that held snapshot {newest}, {at}"),
                )),
            },
            Some(_) if held.is_none_or(|held| held < newest) && beginning != Beginning::Restored => {
                Err(older(&self.store, held, &format!("snapshot {newest} was published from it, {at}")))
            }
            Some(_) => Ok(()),
        }
    }
}

/// A path without `..`, `.` and links, as far as it exists: one folder has one name.
fn really(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut real = PathBuf::from("/");
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::Normal(name) => {
                real.push(name);
                // A link that leads nowhere now still says where it leads.
                if let Ok(leads) = std::fs::read_link(&real) {
                    real.pop();
                    real = std::fs::canonicalize(real.join(&leads)).unwrap_or_else(|_| real.join(leads));
                }
            }
            _ => {}
        }
    }
    real
}

fn write(path: &Path, remembered: &Remembered) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let text = serde_json::to_string_pretty(remembered).or_error(ErrorKind::Bug, || "a memory".to_owned())?;
    replace_file(path, &text, Readers::Owner)
}

/// Where programs of this user keep what they need to remember.
fn state_folder() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    let home = || std::env::var_os("HOME").map(PathBuf::from).and_then(absolute);
    let state = state.or_else(|| Some(home()?.join(".local").join("state")))?;
    Some(state.join("starmill"))
}

/// The store was there and is not.
pub fn gone(store: &str, how: &str) -> Error {
    Error::new(ErrorKind::Store, format!("the store {store} is gone: {how}")).hint(
        "mount its disk, or restore it from a backup; if a new beginning is meant, say `run --new-store`: \
         surrogate keys are then given anew, and first-seen values are lost",
    )
}

/// The store is older than what somebody knows of it.
pub fn older(store: &str, held: Option<&SnapshotId>, how: &str) -> Error {
    let newest = held.map_or("none".to_owned(), |id| format!("{id} at the newest"));
    let message = format!("the store {store} is older than it was: it holds snapshot {newest}, but {how}");
    Error::new(ErrorKind::Store, message).hint(
        "restore the newer one; if this backup is meant, say `run --accept-restored`: what keys were given \
         after it is then taken from the target, as far as it holds them",
    )
}
