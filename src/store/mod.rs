//! Where published stars are kept: a folder whose `latest.json` is the only commit point.
//!
//! Nothing that `latest.json` doesn't name is part of the store; the next writer sweeps it away.

mod compact;
mod history;
mod lock;
pub mod manifest;
pub mod notes;
mod prune;
mod publish;
mod reference;
mod remembered;
mod scratch;
mod tables;
mod verify;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{ModelName, RunId, SnapshotId};
use crate::pipeline::Deployment;
use crate::star::PublishedStar;
use crate::star::columns::untold;
use crate::star::table::{DataFile, Provenance, StarTable};
use crate::star::{Registry, shelf};

pub use lock::StoreWriter;
use lock::{entries, lost_commit};
use manifest::{KeysEntry, Latest, Manifest};
pub use prune::{PrunePlan, Retention};
pub use publish::Proof;
pub use remembered::{Beginning, Memory, gone, older};
pub use scratch::Scratch;
pub use verify::{Damage, Verified};

/// A store, for reading. It may not exist yet.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A published snapshot with everything that is known of it.
#[derive(Debug)]
pub struct Published {
    pub manifest: Manifest,
    pub star: PublishedStar,
}

const LATEST: &str = "latest.json";

impl Store {
    pub fn new(folder: &Path) -> Store {
        Store { folder: folder.to_owned() }
    }

    /// A deployment's store, to be read. One that was there and is gone is no empty one.
    pub fn there(deployment: &Deployment) -> Result<Store> {
        let store = Store::new(&deployment.store.folder);
        if store.latest_or_lost()?.is_none() {
            Memory::of(&deployment.project, store.folder()).require(None, Beginning::Usual)?;
        }
        Ok(store)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit point, or none before the first publication.
    pub fn latest(&self) -> Result<Option<Latest>> {
        let path = self.folder.join(LATEST);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(store_error("cannot read", &path, error)),
        };
        let latest: Latest = serde_json::from_str(&text)
            .or_error(ErrorKind::Store, || format!("{} is not starmill's", path.display()))
            .map_err(|error| error.hint("restore the file, or point `url` in [store] to another folder"))?;
        if latest.format > manifest::FORMAT {
            return Err(Error::new(
                ErrorKind::Store,
                format!("the store {} was written by a newer starmill", self.folder.display()),
            )
            .hint("use that version, or a store of its own"));
        }
        Ok(Some(latest))
    }

    /// Whether something was published here, though `latest.json` is gone: the link is made only
    /// after a commit, and a snapshot with a predecessor is not a first one that was killed.
    fn was_published(&self) -> bool {
        let has_predecessor = |(folder, _): (PathBuf, String)| {
            let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap_or_default();
            let manifest: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            manifest.get("previous").is_some_and(|previous| !previous.is_null())
        };
        self.folder.join("latest").symlink_metadata().is_ok()
            || entries(&self.folder.join("snapshots")).into_iter().any(has_predecessor)
    }

    /// Whether the folder is there, and its commit point, if there is one, can be read.
    pub fn is_readable(&self) -> bool {
        self.folder.exists() && self.latest_or_lost().is_ok()
    }

    /// The commit point, or none before the first publication; an error when it was lost.
    pub fn latest_or_lost(&self) -> Result<Option<Latest>> {
        match self.latest()? {
            None if self.was_published() => Err(lost_commit(&self.folder)),
            latest => Ok(latest),
        }
    }

    /// The published snapshot, or none before the first.
    pub fn published(&self) -> Result<Option<Published>> {
        match self.latest()? {
            Some(latest) => self.snapshot(&latest.snapshot).map(Some),
            None => Ok(None),
        }
    }

    /// What is known of a snapshot, without opening its tables.
    pub fn manifest(&self, id: &SnapshotId) -> Result<Manifest> {
        let path = self.snapshot_folder(id).join("manifest.json");
        let text =
            std::fs::read_to_string(&path).map_err(|error| store_error("cannot read", &path, error))?;
        // Snapshots of an older starmill have no hash of their manifest.
        let known = self.latest()?.and_then(|latest| latest.manifests.get(id).cloned());
        if known.is_some_and(|known| known != shelf::hash(text.as_bytes())) {
            let message =
                format!("{} is damaged: its bytes are not those that were published", path.display());
            return Err(Error::new(ErrorKind::Store, message).hint(
                "`starmill snapshots verify` says what else is, `starmill snapshots rollback` publishes another snapshot",
            ));
        }
        serde_json::from_str(&text)
            .or_error(ErrorKind::Store, || format!("{} is not a manifest", path.display()))
    }

    pub fn snapshot(&self, id: &SnapshotId) -> Result<Published> {
        let manifest = self.manifest(id)?;
        let mut tables = Vec::new();
        for table in &manifest.tables {
            let place = self.files_folder(&manifest, &table.name);
            let whole = match star_table(&place, &table.name, &table.files, &table.sort) {
                Ok(whole) => whole,
                // Its rows cannot be read, but what it was is written down; who needs them is told then.
                Err(error) => StarTable {
                    name: table.name.clone(),
                    folder: place.clone(),
                    files: table.files.clone(),
                    provenance: Provenance::Kept,
                    schema: table.schema().ok_or(error)?,
                    sort: table.sort.clone(),
                },
            };
            let columns = whole.schema.fields().iter().map(|field| field.name());
            if !columns.eq(table.columns.iter().map(|column| &column.name)) {
                let message = format!("{} has not the columns that were published", place.display());
                return Err(Error::new(ErrorKind::Store, message)
                    .hint("`starmill snapshots verify` says what is damaged"));
            }
            tables.push(whole);
        }
        let shapes = manifest.tables.iter().map(|table| table.shape.clone()).collect();
        let star = PublishedStar { snapshot: id.clone(), tables, shapes, sums: manifest.sums.clone() };
        Ok(Published { manifest, star })
    }

    /// Snapshots that are there, and that the commit point does not name: the newest first.
    pub fn unnamed(&self) -> Result<Vec<SnapshotId>> {
        let named = self.latest()?.map(|latest| latest.snapshots).unwrap_or_default();
        let mut found: Vec<SnapshotId> = lock::entries(&self.folder.join("snapshots"))
            .into_iter()
            .filter(|(path, _)| path.join("manifest.json").is_file())
            .filter_map(|(_, name)| RunId::parse(&name).as_ref().map(SnapshotId::of))
            .filter(|id| !named.contains(id))
            .collect();
        found.sort();
        found.reverse();
        Ok(found)
    }

    pub fn snapshot_folder(&self, id: &SnapshotId) -> PathBuf {
        self.folder.join("snapshots").join(id.as_str())
    }

    /// The registry of every model that has one.
    pub fn registry(&self, keys: &BTreeMap<ModelName, KeysEntry>) -> Result<BTreeMap<ModelName, Registry>> {
        let mut registry = BTreeMap::new();
        for (model, entry) in keys {
            let folder = self.folder.join("keys").join(model.as_str());
            let mut tables = Vec::new();
            for file in &entry.files {
                // A surrogate that was given is never given again, so what says so must be whole.
                let path = folder.join(&file.name);
                shelf::whole(&path, file).map_err(|problem| {
                    let message = format!("the registry is damaged: {}: {problem}", path.display());
                    Error::new(ErrorKind::Store, message)
                        .hint("restore the file from a backup; a run without it would give keys anew")
                })?;
                tables.push(star_table(&folder, model, std::slice::from_ref(file), &[])?);
            }
            if let Some(problem) = self.given_twice(model, entry)? {
                let message = format!("{} is damaged: {problem}", self.folder.join(LATEST).display());
                return Err(Error::new(ErrorKind::Store, message)
                    .hint("restore latest.json from a backup; a run would give keys twice"));
            }
            registry.insert(model.clone(), Registry { tables, highest: entry.highest });
        }
        Ok(registry)
    }

    /// What is wrong with the highest key that the commit point says was given: the registry's own files tell of a higher.
    fn given_twice(&self, model: &ModelName, entry: &KeysEntry) -> Result<Option<String>> {
        let Some(surrogate) = &entry.shape.surrogate else { return Ok(None) };
        let folder = self.folder.join("keys").join(model.as_str());
        let mut given = 0;
        for file in &entry.files {
            given = given.max(shelf::highest(&folder.join(&file.name), surrogate)?);
        }
        let damaged = given > entry.highest;
        Ok(damaged.then(|| {
            format!("it says that the highest key of {model} is {}, and {given} was given", entry.highest)
        }))
    }
}

/// A table at rest, its schema read from its own files.
fn star_table(folder: &Path, name: &ModelName, files: &[DataFile], sort: &[String]) -> Result<StarTable> {
    let first = files.first().ok_or_else(|| Error::new(ErrorKind::Store, format!("{name} has no files")))?;
    let path = folder.join(&first.name);
    let file = File::open(&path).map_err(|error| store_error("cannot read", &path, error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .or_error(ErrorKind::Store, || format!("{} is not Parquet, or damaged", path.display()))?;
    Ok(StarTable {
        name: name.clone(),
        folder: folder.to_owned(),
        files: files.to_vec(),
        provenance: Provenance::Kept,
        schema: untold(builder.schema()),
        sort: sort.to_vec(),
    })
}

/// An error of the file system, with the step that helps.
fn store_error(doing: &str, path: &Path, error: std::io::Error) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied if doing == "cannot read" => {
            "give this user the right to read there"
        }
        _ if doing == "cannot read" => {
            "`starmill snapshots verify` says what is damaged, `starmill snapshots rollback` publishes another snapshot"
        }
        std::io::ErrorKind::PermissionDenied => "give this user the right to write there",
        std::io::ErrorKind::StorageFull => "free space there; the last snapshot is whole and still published",
        _ => "check the disk; the last snapshot is whole and still published",
    };
    Error::new(ErrorKind::Store, format!("{doing} {}", path.display())).caused_by(error).hint(hint)
}

/// Puts a folder of our own making, two levels deep, to its place, whole and on disk.
pub fn put_folder(from: &Path, to: &Path) -> Result<()> {
    for (path, _) in lock::entries(from) {
        if path.is_dir() {
            for (file, _) in lock::entries(&path) {
                sync_file(&file)?;
            }
            sync_folder(&path)?;
        } else {
            sync_file(&path)?;
        }
    }
    sync_folder(from)?;
    std::fs::rename(from, to).map_err(|error| match error.kind() {
        std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::Usage, format!("{} is there already", to.display()))
                .caused_by(error)
                .hint("somebody put it there meanwhile; name another folder")
        }
        _ => Error::new(ErrorKind::Store, format!("cannot move the tables to {}", to.display()))
            .caused_by(error)
            .hint("name another folder; nothing is left of this extraction"),
    })?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_folder(parent.unwrap_or(Path::new(".")))
}

fn sync_file(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| store_error("cannot sync", path, error))
}

/// Makes what was written or renamed in a folder survive a power cut.
fn sync_folder(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| store_error("cannot sync", path, error))
}

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| store_error("cannot create", path, error))
}

/// Replaces a file so that readers see the old text or the new one, and a power cut leaves one.
/// Who may read a file, as far as the umask lets them.
#[derive(Debug, Clone, Copy)]
enum Readers {
    All,
    /// Its rows are nobody else's business.
    Owner,
}

fn replace_file(path: &Path, text: &str, readers: Readers) -> Result<()> {
    let temporary = path.with_extension("json.new");
    let mode = match readers {
        Readers::All => 0o666,
        Readers::Owner => 0o600,
    };
    // One that a dead run left has the mode that it had.
    let _ = std::fs::remove_file(&temporary);
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary);
    let written = opened.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        store_error("cannot write", &temporary, error)
    })?;
    std::fs::rename(&temporary, path).map_err(|error| store_error("cannot replace", path, error))?;
    // The rename is seen by everyone now, and must not be told as a failure.
    if let Err(error) = sync_folder(path.parent().unwrap_or(Path::new("."))) {
        tracing::warn!(file = %path.display(), %error, "the folder was not synced");
    }
    Ok(())
}
