//! What lies in a store, by names with slashes: in a folder of this machine, or in a bucket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bucket::{Bucket, Swapped};
use super::{Readers, create_folder, replace_file, store_error};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Place;
use crate::star::shelf::{self, hash};
use crate::star::table::{Bring, DataFile, Provenance};

#[derive(Debug, Clone)]
pub enum Objects {
    Folder(PathBuf),
    Bucket(Arc<Bucket>),
}

/// What was found, or what is wrong with it. That it could not be looked for is another matter: an error.
pub type Found<T> = std::result::Result<T, String>;

fn gone() -> String {
    "it is gone".to_owned()
}

/// What lies directly below a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub kind: Kind,
    pub bytes: u64,
    /// What the server says of its content.
    pub e_tag: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    /// Leads to somebody else's, or is none of the above.
    Other,
}

impl fmt::Display for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objects::Folder(folder) => folder.display().fmt(f),
            Objects::Bucket(bucket) => bucket.settings().fmt(f),
        }
    }
}

impl Objects {
    pub fn of(place: &Place) -> Objects {
        match place {
            Place::Folder(folder) => Objects::Folder(folder.clone()),
            Place::Bucket(settings) => Objects::Bucket(Bucket::of(settings)),
        }
    }

    /// An object as people find it.
    pub fn shown(&self, name: &str) -> String {
        match self {
            Objects::Folder(folder) => folder.join(name).display().to_string(),
            Objects::Bucket(bucket) => bucket.shown(name),
        }
    }

    /// Whether there is a place to write into. A bucket is there until a request says otherwise.
    pub fn exist(&self) -> bool {
        match self {
            Objects::Folder(folder) => folder.exists(),
            Objects::Bucket(bucket) => bucket.seems_there(),
        }
    }

    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Objects::Folder(folder) => {
                let path = folder.join(name);
                match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(store_error("cannot read", &path, error)),
                }
            }
            Objects::Bucket(bucket) => Ok(bucket.read(name)?.map(|found| found.bytes)),
        }
    }

    /// One that must be there.
    pub fn require(&self, name: &str) -> Result<Vec<u8>> {
        if let Objects::Folder(folder) = self {
            let path = folder.join(name);
            return std::fs::read(&path).map_err(|error| store_error("cannot read", &path, error));
        }
        self.read(name)?.ok_or_else(|| {
            Error::new(ErrorKind::Store, format!("{} is gone", self.shown(name))).hint(
                "`starmill snapshots verify` says what is damaged, `starmill snapshots rollback` publishes another snapshot",
            )
        })
    }

    /// Writes a text, or replaces it whole.
    pub fn write(&self, name: &str, text: &str, readers: Readers) -> Result<()> {
        self.put(name, text.as_bytes(), readers)
    }

    /// The same of anything.
    pub fn put(&self, name: &str, bytes: &[u8], readers: Readers) -> Result<()> {
        match self {
            Objects::Folder(folder) => {
                let path = folder.join(name);
                create_folder(path.parent().unwrap_or(folder))?;
                replace_file(&path, bytes, readers)
            }
            Objects::Bucket(bucket) => bucket.write(name, bytes),
        }
    }

    /// Writes what is not there yet, whole; or says that it is there. In a folder nobody else writes: the lock is held.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        match self {
            Objects::Folder(folder) => {
                let there = folder.join(name).exists();
                if !there {
                    self.put(name, bytes, Readers::All)?;
                }
                Ok(!there)
            }
            Objects::Bucket(bucket) => Ok(matches!(bucket.swap(name, bytes, None)?, Swapped::Done(_))),
        }
    }

    /// What lies directly below a name, sorted; nothing where nothing is.
    pub fn entries(&self, below: &str) -> Result<Vec<Entry>> {
        match self {
            Objects::Folder(folder) => {
                let entries = super::lock::entries(&folder.join(below)).into_iter().map(|(path, name)| {
                    let meta = path.symlink_metadata().ok();
                    let kind = match &meta {
                        Some(meta) if meta.is_file() => Kind::File,
                        Some(meta) if meta.is_dir() => Kind::Folder,
                        _ => Kind::Other,
                    };
                    Entry { name, kind, bytes: meta.map_or(0, |meta| meta.len()), e_tag: None }
                });
                Ok(entries.collect())
            }
            Objects::Bucket(bucket) => bucket.list(below),
        }
    }

    /// Removes an object; in a folder also a folder, with all that is in it.
    pub fn remove(&self, name: &str) -> Result<()> {
        match self {
            Objects::Folder(folder) => super::lock::remove(&folder.join(name)),
            Objects::Bucket(bucket) => bucket.remove(vec![name.to_owned()]),
        }
    }

    /// Removes all that lies below a name.
    pub fn remove_below(&self, name: &str) -> Result<()> {
        match self {
            Objects::Folder(folder) => {
                let path = folder.join(name);
                // What is gone already need not go.
                if path.symlink_metadata().is_ok() { super::lock::remove(&path) } else { Ok(()) }
            }
            Objects::Bucket(bucket) => {
                let mut files = Vec::new();
                for entry in bucket.list(name)? {
                    let below = format!("{name}/{}", entry.name);
                    match entry.kind {
                        Kind::Folder => self.remove_below(&below)?,
                        Kind::File | Kind::Other => files.push(below),
                    }
                }
                bucket.remove(files)
            }
        }
    }

    /// The folder of this machine that has the files below a name, or copies of them.
    pub fn local(&self, below: &str) -> PathBuf {
        match self {
            Objects::Folder(folder) => folder.join(below),
            Objects::Bucket(bucket) => bucket.cache().join(below),
        }
    }

    /// How files below a name come to this machine.
    pub fn provenance(&self, below: &str) -> Provenance {
        match self {
            Objects::Folder(_) => Provenance::Kept,
            Objects::Bucket(bucket) => {
                Provenance::Away(Arc::new(Away { bucket: Arc::clone(bucket), below: below.to_owned() }))
            }
        }
    }

    /// Reads a file where it is kept, whole, and says how many bytes it has, or what is wrong with it.
    pub fn whole(&self, name: &str, file: &DataFile) -> Result<Found<u64>> {
        match self {
            Objects::Folder(folder) => Ok(shelf::whole(&folder.join(name), file)),
            Objects::Bucket(bucket) => {
                Ok(bucket.digest(name)?.ok_or_else(gone).and_then(|read| shelf::is_this(read, file)))
            }
        }
    }

    /// Makes sure that a file is on this machine, and is what was written down of it.
    pub fn fetch(&self, below: &str, file: &DataFile) -> Result<Found<()>> {
        let path = self.local(below).join(&file.name);
        match self {
            Objects::Folder(_) => Ok(shelf::whole(&path, file).map(|_| ())),
            Objects::Bucket(_) if shelf::is_whole(&path, file) => Ok(Ok(())),
            Objects::Bucket(bucket) => {
                Away { bucket: Arc::clone(bucket), below: below.to_owned() }.whole(&path, file)
            }
        }
    }
}

/// Files that lie in a bucket below a name.
#[derive(Debug)]
struct Away {
    bucket: Arc<Bucket>,
    below: String,
}

impl Away {
    /// Brings a file, whole; or says what is wrong with it.
    fn whole(&self, path: &Path, file: &DataFile) -> Result<Found<()>> {
        let folder = path.parent().unwrap_or(path);
        create_folder(folder)?;
        let copy = folder.join(format!(".{}-{:016x}.new", file.name, fastrand::u64(..)));
        let brought = self.brought(&copy, file);
        match brought {
            Ok(Ok(())) => {
                std::fs::rename(&copy, path).map_err(|error| store_error("cannot write", path, error))?;
            }
            Ok(Err(_)) | Err(_) => drop(std::fs::remove_file(&copy)),
        }
        brought
    }

    fn brought(&self, copy: &Path, file: &DataFile) -> Result<Found<()>> {
        let mut found = Err(gone());
        // What was damaged on its way comes whole the second time.
        for _ in 0..2 {
            let Some(read) = self.bucket.bring(&self.name(file), copy)? else { return Ok(Err(gone())) };
            found = shelf::is_this(read, file).map(|_| ());
            if found.is_ok() {
                break;
            }
        }
        Ok(found)
    }

    fn name(&self, file: &DataFile) -> String {
        format!("{}/{}", self.below, file.name)
    }
}

impl Bring for Away {
    fn bring(&self, path: &Path, file: &DataFile) -> Result<()> {
        self.whole(path, file)?.map_err(|problem| {
            let message = format!("{} is damaged: {problem}", self.bucket.shown(&self.name(file)));
            Error::new(ErrorKind::Store, message).hint(
                "`starmill snapshots verify` says what is damaged, `starmill snapshots rollback` publishes another snapshot",
            )
        })
    }
}

/// A name for a place that says where it is to nobody.
pub fn alias(place: &[u8]) -> String {
    hash(place)[..16].to_owned()
}
