//! Where published stars are kept: a folder, or a bucket's part, whose `latest.json` is the only commit point.
//!
//! Nothing that `latest.json` doesn't name is part of the store; the next writer sweeps it away.

mod bucket;
mod compact;
pub mod correct;
mod delta;
mod disk;
mod forget;
pub mod forgetting;
mod history;
mod lake;
mod lock;
pub mod manifest;
pub mod notes;
mod objects;
mod prune;
mod publish;
mod reference;
mod remembered;
mod scratch;
mod tables;
mod value;
mod verify;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{ModelName, RunId, SnapshotId};
use crate::pipeline::{Deployment, StoreSettings};
use crate::star::PublishedStar;
use crate::star::columns::untold;
use crate::star::contract::TableContract;
use crate::star::table::{DataFile, Provenance, StarTable};
use crate::star::{Registry, shelf};

pub use disk::put_folder;
use disk::{Readers, create_folder, replace_file, store_error, sync_file, sync_folder};
pub use lake::Followed;
pub use lock::StoreWriter;
use lock::lost_commit;
use manifest::{KeysEntry, Latest, Manifest};
use objects::{Kind, Objects};
pub use prune::{PrunePlan, Retention};
pub use publish::Proof;
pub use remembered::{Beginning, Memory, gone, older};
pub use scratch::Scratch;
pub use verify::{Damage, Verified};

/// A store, for reading. It may not exist yet.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Objects,
    /// Whether it has a lake beside its commit point.
    lake: bool,
    /// Whether its tables have Delta logs.
    delta: bool,
}

/// A published snapshot with everything that is known of it.
#[derive(Debug)]
pub struct Published {
    pub manifest: Manifest,
    pub star: PublishedStar,
}

const LATEST: &str = "latest.json";
const SNAPSHOTS: &str = "snapshots";
const MANIFEST: &str = "manifest.json";
const KEYS: &str = "keys";

fn snapshot_below(id: &SnapshotId) -> String {
    format!("{SNAPSHOTS}/{id}")
}

fn manifest_of(id: &SnapshotId) -> String {
    format!("{SNAPSHOTS}/{id}/{MANIFEST}")
}

fn keys_below(model: &ModelName) -> String {
    format!("{KEYS}/{model}")
}

impl Store {
    pub fn of(settings: &StoreSettings) -> Store {
        Store { objects: Objects::of(&settings.place), lake: settings.lake, delta: settings.delta }
    }

    /// A deployment's store, to be read. One that was there and is gone is no empty one.
    pub fn there(deployment: &Deployment) -> Result<Store> {
        let store = Store::of(&deployment.store);
        if store.latest_or_lost()?.is_none() {
            Memory::of(&deployment.project, &deployment.store.place).require(None, Beginning::Usual)?;
        }
        store.ready_copies()?;
        Ok(store)
    }

    /// Where it is, as people name it.
    pub fn shown(&self) -> String {
        self.objects.to_string()
    }

    /// Whether its folder is there. Whether a bucket is, is found out when it is used.
    pub fn exists(&self) -> bool {
        self.objects.exist()
    }

    /// A folder of this machine for what goes with the store, and need not be kept: the store's own, or the one that has
    /// copies of its files.
    pub fn local_folder(&self) -> PathBuf {
        self.objects.local("")
    }

    /// Makes the folder of copies of a bucket's files.
    pub fn ready_copies(&self) -> Result<()> {
        match &self.objects {
            Objects::Folder(_) => Ok(()),
            Objects::Bucket(bucket) => bucket.ready_cache(),
        }
    }

    /// The commit point, or none before the first publication.
    pub fn latest(&self) -> Result<Option<Latest>> {
        match self.objects.read(LATEST)? {
            Some(bytes) => self.commit_point_of(&bytes).map(Some),
            None => Ok(None),
        }
    }

    fn commit_point_of(&self, bytes: &[u8]) -> Result<Latest> {
        let latest: Latest = serde_json::from_slice(bytes)
            .or_error(ErrorKind::Store, || format!("{} is not starmill's", self.objects.shown(LATEST)))
            .map_err(|error| error.hint("restore the file, or point `url` in [store] to another folder"))?;
        if latest.format > manifest::FORMAT {
            return Err(Error::new(
                ErrorKind::Store,
                format!("the store {} was written by a newer starmill", self.shown()),
            )
            .hint("use that version, or a store of its own"));
        }
        Ok(latest)
    }

    /// Whether something was published here, though `latest.json` is gone: the link is made only
    /// after a commit, and a snapshot with a predecessor is not a first one that was killed.
    fn was_published(&self) -> Result<bool> {
        if let Objects::Folder(folder) = &self.objects
            && folder.join(lock::LINK).symlink_metadata().is_ok()
        {
            return Ok(true);
        }
        for snapshot in self.objects.entries(SNAPSHOTS)? {
            let text = self.objects.read(&format!("{SNAPSHOTS}/{}/{MANIFEST}", snapshot.name));
            // One that cannot be read is none that tells.
            let text = if let Objects::Folder(_) = self.objects { text.unwrap_or_default() } else { text? };
            let manifest: serde_json::Value =
                serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default();
            if manifest.get("previous").is_some_and(|previous| !previous.is_null()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the folder is there, and its commit point, if there is one, can be read.
    pub fn is_readable(&self) -> bool {
        self.exists() && self.latest_or_lost().is_ok()
    }

    /// The commit point, or none before the first publication; an error when it was lost.
    pub fn latest_or_lost(&self) -> Result<Option<Latest>> {
        match self.latest()? {
            None if self.was_published()? => Err(lost_commit(&self.shown())),
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
        self.manifest_by(self.latest()?.as_ref(), id)
    }

    /// The same by a commit point that was read already.
    fn manifest_by(&self, latest: Option<&Latest>, id: &SnapshotId) -> Result<Manifest> {
        let name = manifest_of(id);
        // Snapshots of an older starmill have no hash of their manifest.
        let known = latest.and_then(|latest| latest.manifests.get(id));
        let text = self.manifest_text(id, known)?;
        if known.is_some_and(|known| *known != shelf::hash(&text)) {
            let message = format!(
                "{} is damaged: its bytes are not those that were published",
                self.objects.shown(&name)
            );
            return Err(Error::new(ErrorKind::Store, message).hint(
                "`starmill snapshots verify` says what else is, `starmill snapshots rollback` publishes another snapshot",
            ));
        }
        serde_json::from_slice(&text)
            .or_error(ErrorKind::Store, || format!("{} is not a manifest", self.objects.shown(&name)))
    }

    /// A manifest's text: the one that the commit point knows, also where a dead run had no time to put it to its place.
    fn manifest_text(&self, id: &SnapshotId, known: Option<&String>) -> Result<Vec<u8>> {
        let text = self.objects.require(&manifest_of(id))?;
        if known.is_some_and(|known| *known != shelf::hash(&text))
            && let Some(next) = self.objects.read(&format!("{SNAPSHOTS}/{id}/{}", forget::NEXT))?
            && known.is_some_and(|known| *known == shelf::hash(&next))
        {
            return Ok(next);
        }
        Ok(text)
    }

    pub fn snapshot(&self, id: &SnapshotId) -> Result<Published> {
        let manifest = self.manifest(id)?;
        let mut tables = Vec::new();
        for table in &manifest.tables {
            let below = self.files_below(&manifest, &table.name);
            let (place, provenance) = (self.objects.local(&below), self.objects.provenance(&below));
            let of_its_files = match &provenance {
                // What they are is written down, and need not be looked up in them.
                Provenance::Away(_) => None,
                Provenance::Kept | Provenance::Written => Some(schema_of(&place, &table.name, &table.files)),
            };
            let schema = match of_its_files {
                Some(Ok(schema)) => schema,
                // Its rows cannot be read, but what it was is written down; who needs them is told then.
                Some(Err(error)) => table.schema().ok_or(error)?,
                None => table.schema().ok_or_else(|| {
                    let message =
                        format!("the columns of {} are of types that this version does not know", table.name);
                    Error::new(ErrorKind::Store, message).hint("use the version that published them")
                })?,
            };
            let columns = schema.fields().iter().map(|field| field.name());
            if !columns.eq(table.columns.iter().map(|column| &column.name)) {
                let message = format!("{} has not the columns that were published", place.display());
                return Err(Error::new(ErrorKind::Store, message)
                    .hint("`starmill snapshots verify` says what is damaged"));
            }
            tables.push(StarTable {
                contract: Arc::new(table.contract(schema)),
                folder: place,
                files: table.files.clone(),
                provenance,
            });
        }
        let star = PublishedStar { snapshot: id.clone(), tables, sums: manifest.sums.clone() };
        Ok(Published { manifest, star })
    }

    /// Snapshots that are there, and that the commit point does not name: the newest first.
    pub fn unnamed(&self) -> Result<Vec<SnapshotId>> {
        let named = self.latest()?.map(|latest| latest.snapshots).unwrap_or_default();
        let mut found = Vec::new();
        for entry in self.objects.entries(SNAPSHOTS)?.into_iter().filter(|entry| entry.kind == Kind::Folder) {
            let Some(id) = RunId::parse(&entry.name).as_ref().map(SnapshotId::of) else { continue };
            if !named.contains(&id) && self.has_manifest(&entry.name)? {
                found.push(id);
            }
        }
        found.sort();
        found.reverse();
        Ok(found)
    }

    /// Whether a folder among the snapshots is one that some run wrote.
    fn has_manifest(&self, name: &str) -> Result<bool> {
        let entries = self.objects.entries(&format!("{SNAPSHOTS}/{name}"))?;
        Ok(entries.iter().any(|entry| entry.name == MANIFEST && entry.kind == Kind::File))
    }

    /// Where a snapshot is, as people find it.
    pub fn snapshot_shown(&self, id: &SnapshotId) -> String {
        self.objects.shown(&snapshot_below(id))
    }

    /// The registry of every model that has one.
    pub fn registry(&self, keys: &BTreeMap<ModelName, KeysEntry>) -> Result<BTreeMap<ModelName, Registry>> {
        let mut registry = BTreeMap::new();
        for (model, entry) in keys {
            let mut tables = Vec::new();
            for file in &entry.files {
                tables.push(self.keys(model, std::slice::from_ref(file))?);
            }
            if let Some(problem) = self.given_twice(model, entry)? {
                let message = format!("{} is damaged: {problem}", self.objects.shown(LATEST));
                return Err(Error::new(ErrorKind::Store, message)
                    .hint("restore latest.json from a backup; a run would give keys twice"));
            }
            registry
                .insert(model.clone(), Registry { tables, highest: entry.highest, ..Registry::default() });
        }
        Ok(registry)
    }

    /// Files of a model's registry. A surrogate that was given is never given again, so what says so must be whole.
    fn keys(&self, model: &ModelName, files: &[DataFile]) -> Result<StarTable> {
        let below = keys_below(model);
        for file in files {
            self.objects.fetch(&below, file)?.map_err(|problem| {
                let name = self.objects.shown(&format!("{below}/{}", file.name));
                Error::new(ErrorKind::Store, format!("the registry is damaged: {name}: {problem}"))
                    .hint("restore the file from a backup; a run without it would give keys anew")
            })?;
        }
        let folder = self.objects.local(&below);
        Ok(StarTable {
            contract: Arc::new(TableContract::of_registry(model, together(&folder, model, files)?)),
            folder,
            files: files.to_vec(),
            // A copy that goes meanwhile comes again.
            provenance: self.objects.provenance(&below),
        })
    }

    /// What is wrong with the highest key that the commit point says was given: the registry's own files tell of a higher.
    fn given_twice(&self, model: &ModelName, entry: &KeysEntry) -> Result<Option<String>> {
        let Some(surrogate) = &entry.shape.surrogate else { return Ok(None) };
        let below = keys_below(model);
        let mut given = 0;
        for file in &entry.files {
            let path = self.objects.local(&below).join(&file.name);
            given = given.max(shelf::highest(&path, surrogate)?);
        }
        let damaged = given > entry.highest;
        Ok(damaged.then(|| {
            format!("it says that the highest key of {model} is {}, and {given} was given", entry.highest)
        }))
    }
}

/// The columns that any file of a registry has, each in its newest type: a model may give more than it gave, and wider.
fn together(folder: &Path, name: &ModelName, files: &[DataFile]) -> Result<SchemaRef> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for file in files.iter().rev() {
        for field in schema_of(folder, name, std::slice::from_ref(file))?.fields() {
            if fields.iter().all(|known| known.name() != field.name()) {
                fields.push(Arc::clone(field));
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// A table's schema, read from its own files.
fn schema_of(folder: &Path, name: &ModelName, files: &[DataFile]) -> Result<SchemaRef> {
    let first = files.first().ok_or_else(|| Error::new(ErrorKind::Store, format!("{name} has no files")))?;
    let path = folder.join(&first.name);
    let file = File::open(&path).map_err(|error| store_error("cannot read", &path, error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .or_error(ErrorKind::Store, || format!("{} is not Parquet, or damaged", path.display()))?;
    Ok(untold(builder.schema()))
}
