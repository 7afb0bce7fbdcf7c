//! Makes an audited star the published one, at one instant: the replacement of `latest.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::lock::StoreWriter;
use super::manifest::{FORMAT, Hold, KeysEntry, Latest, Manifest, PipelineRecord, StepRecord, TableRecord};
use super::objects::Objects;
use super::tables::Placed;
use super::{
    KEYS, MANIFEST, Readers, create_folder, keys_below, manifest_of, replace_file, snapshot_below,
    store_error, sync_file, sync_folder,
};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{ModelName, SnapshotId};
use crate::pipeline::Pipeline;
use crate::star::columns::ColumnIds;
use crate::star::diff::StarDiff;
use crate::star::memory;
use crate::star::origin::{Position, TableRead};
use crate::star::shelf::hash;
use crate::star::table::{DataFile, StarTable};
use crate::star::versions::definition;
use crate::star::{AuditedStar, PublishedStar, Registration};

/// Tells the file of keys that were taken from the target from the one of those that a run gave.
pub(super) const RESTORED: &str = "-restored";

/// Everything that is stored with a snapshot besides its tables.
pub struct Proof {
    pub created_at: DateTime<Utc>,
    pub position: Position,
    pub reads: Vec<TableRead>,
    pub diff: StarDiff,
    pub steps: Vec<StepRecord>,
    /// The masks that the next night is held against.
    pub masks: BTreeMap<String, String>,
    /// Models whose registry begins anew, because their values are masked otherwise.
    pub anew: BTreeSet<ModelName>,
}

impl StoreWriter {
    /// Publishes the star. Until the commit nothing is visible; after it everything is.
    pub async fn publish(
        &self,
        pipeline: &Pipeline,
        star: AuditedStar,
        proof: Proof,
    ) -> Result<PublishedStar> {
        let id = SnapshotId::of(self.run());
        at(Point::PublishStart, &self.store().local_folder())?;
        let latest = self.store().latest()?;
        if let Some(hold) = latest.as_ref().and_then(|latest| latest.hold.as_ref()) {
            return Err(hold.refusal());
        }
        let new = self.new_snapshot_folder();
        if let Objects::Folder(_) = &self.store().objects {
            create_folder(&new)?;
        }
        let mut star = star;
        let mut placed = self.place(std::mem::take(&mut star.tables), latest.as_ref()).await?;
        let columns = numbered(&placed.tables, latest.as_ref());
        let anew = proof.anew.clone();
        let manifest = self.manifest(pipeline, &star, &placed.tables, &columns, proof, latest.as_ref());
        let text =
            serde_json::to_string_pretty(&manifest).or_error(ErrorKind::Bug, || "the manifest".to_owned())?;
        let keys = self.publish_keys(pipeline, (&star, &placed.tables), latest.as_ref(), &id, &anew).await?;
        at(Point::PublishManifest, &new)?;
        match &self.store().objects {
            Objects::Folder(folder) => {
                self.put_snapshot(folder, &id, &text, &mut placed, latest.is_none())?
            }
            objects @ Objects::Bucket(_) => {
                objects.write(&manifest_of(&id), &text, Readers::All)?;
                at(Point::PublishRenamed, &new)?;
            }
        }
        let now = crate::clock::now();
        let mut latest = match latest {
            Some(latest) => latest.moved_to(id.clone(), now),
            None => first_commit(&id, now),
        };
        latest.format = FORMAT;
        latest.keys = keys;
        latest.columns = columns;
        latest.manifests.insert(id.clone(), hash(text.as_bytes()));
        latest.snapshots.push(id.clone());
        latest.firsts.insert(id.clone(), now);
        latest.newest = latest.newest().cloned();
        if let Err(error) = self.commit(&latest) {
            if let Objects::Bucket(_) = &self.store().objects {
                // A request that nobody answered may still be obeyed, so what it names stays until the next run knows.
                placed.committed();
            }
            return Err(error);
        }
        let tables = placed.committed();
        Ok(PublishedStar { snapshot: id, tables, sums: star.sums })
    }

    /// Puts a snapshot's folder to its place, whole and on disk.
    fn put_snapshot(
        &self,
        store: &Path,
        id: &SnapshotId,
        manifest: &str,
        placed: &mut Placed,
        is_first: bool,
    ) -> Result<()> {
        let new = self.new_snapshot_folder();
        replace_file(&new.join(MANIFEST), manifest, Readers::All)?;
        self.show(&new, placed.tables.iter().map(|table| (table.name(), table.files.as_slice())));
        for table in &placed.tables {
            sync_folder(&new.join(table.name().as_str()))?;
        }
        sync_folder(&new)?;
        at(Point::PublishSynced, &new)?;
        let folder = store.join(snapshot_below(id));
        std::fs::rename(&new, &folder).map_err(|error| store_error("cannot rename", &new, error))?;
        placed.snapshot = Some(folder.clone());
        sync_folder(folder.parent().unwrap_or(store))?;
        if is_first {
            // A first publication made these folders too.
            sync_folder(store)?;
            let above = store.parent().filter(|above| !above.as_os_str().is_empty());
            sync_folder(above.unwrap_or(Path::new(".")))?;
        }
        at(Point::PublishRenamed, &folder)
    }

    /// Makes another kept snapshot the published one. Nothing else moves: the registry keeps what it
    /// has given, and the snapshots after it stay. Gives the hold under which it is, this one's or a former one's.
    pub fn roll_back(&self, to: &SnapshotId, hold: Option<Hold>) -> Result<Option<Hold>> {
        let latest = self.store().latest()?;
        let latest = latest.filter(|latest| latest.snapshots.contains(to)).ok_or_else(|| {
            Error::new(ErrorKind::Store, format!("the store does not keep the snapshot {to}"))
        })?;
        let mut latest = latest.moved_to(to.clone(), crate::clock::now());
        latest.hold = hold.or(latest.hold);
        self.commit(&latest)?;
        Ok(latest.hold)
    }

    /// Lets the next run publish again; gives what kept it from it.
    pub fn take_off_hold(&self) -> Result<Hold> {
        let mut latest = self.store().commit_point()?;
        let hold = latest.hold.take().ok_or_else(|| {
            Error::new(ErrorKind::Usage, "nobody keeps this pipeline from publishing")
                .hint("`starmill snapshots list` shows the published snapshot, and a hold where there is one")
        })?;
        self.commit(&latest)?;
        Ok(hold)
    }

    /// The commit: readers see the new snapshot from the moment of the rename. What comes after it
    /// cannot fail any more, since it could not be taken back.
    pub(super) fn commit(&self, latest: &Latest) -> Result<()> {
        // Of two writers that say the same, each must know which of them has said it.
        let latest = &Latest { writer: self.signs().then(|| self.run().clone()), ..latest.clone() };
        let text = text_of(latest)?;
        at(Point::PublishCommitFile, &self.store().local_folder())?;
        self.replace_commit_point(&text)?;
        let _ = fault::at(Point::PublishCommitted);
        self.memory().keep(latest);
        self.link(&latest.snapshot);
        let _ = fault::at(Point::PublishLinked);
        self.follow(latest);
        self.tell_unfollowed();
        Ok(())
    }

    /// Puts this run's new registrations beside the old ones. They count once they are committed.
    async fn publish_keys(
        &self,
        pipeline: &Pipeline,
        (star, placed): (&AuditedStar, &[StarTable]),
        latest: Option<&Latest>,
        id: &SnapshotId,
        anew: &BTreeSet<ModelName>,
    ) -> Result<BTreeMap<ModelName, KeysEntry>> {
        let mut keys = latest.map(|latest| latest.keys.clone()).unwrap_or_default();
        for model in pipeline.models.iter().filter(|model| model.registered()) {
            let entry = keys.entry(model.name.clone()).or_default();
            let shape = memory::Memory::of(model);
            if !entry.shape.goes_on_as(&shape) || anew.contains(&model.name) {
                // Another key, accepted: what was given to the old one counts no more.
                entry.begin_anew();
            }
            for correction in entry.corrections.iter_mut().filter(|correction| correction.snapshot.is_none())
            {
                correction.snapshot = Some(id.clone());
            }
            entry.shape = shape;
            let gives = placed.iter().find(|table| *table.name() == model.name);
            let gives = gives.filter(|_| model.history().is_some());
            entry.definition = gives.map(|table| definition(pipeline, model, table.schema()));
        }
        let objects = &self.store().objects;
        let mut sent: Vec<(PathBuf, String)> = Vec::new();
        for registration in &star.registrations {
            let below = keys_below(&registration.model);
            let folder = objects.local(&below);
            create_folder(&folder)?;
            let from = registration.folder.join(&registration.file.name);
            sync_file(&from)?;
            let name = match registration.file.name == Registration::RESTORED {
                true => format!("{id}{RESTORED}.parquet"),
                false => format!("{id}.parquet"),
            };
            let file = DataFile { name, ..registration.file.clone() };
            let to = folder.join(&file.name);
            std::fs::rename(&from, &to).map_err(|error| store_error("cannot move", &from, error))?;
            sync_folder(&folder)?;
            sent.push((to, format!("{below}/{}", file.name)));
            let entry = keys.entry(registration.model.clone()).or_default();
            entry.files.push(file);
            entry.highest = entry.highest.max(registration.highest);
        }
        for (model, entry) in &mut keys {
            sent.extend(self.compact(model, entry, id)?);
        }
        if let Objects::Bucket(bucket) = objects {
            // One that was written together meanwhile is named no more.
            let named = |name: &str| {
                keys.iter().any(|(model, entry)| {
                    entry.files.iter().any(|file| name == format!("{}/{}", keys_below(model), file.name))
                })
            };
            bucket.send(sent.into_iter().filter(|(_, name)| named(name)).collect()).await?;
        }
        let _ = std::fs::remove_dir_all(self.new_snapshot_folder().join(".keys"));
        let folder = objects.local(KEYS);
        if folder.exists() {
            sync_folder(&folder)?;
            sync_folder(&self.store().local_folder())?;
        }
        at(Point::PublishKeys, &folder)?;
        Ok(keys)
    }
}

fn at(point: Point, path: &Path) -> Result<()> {
    fault::at(point).map_err(|error| store_error("cannot publish into", path, error))
}

/// The numbers of all columns, those of models that are away tonight with them.
fn numbered(tables: &[StarTable], latest: Option<&Latest>) -> BTreeMap<ModelName, ColumnIds> {
    let mut columns = latest.map(|latest| latest.columns.clone()).unwrap_or_default();
    for table in tables {
        let before = columns.entry(table.name().clone()).or_default();
        *before = before.of(table.schema());
    }
    columns
}

fn first_commit(id: &SnapshotId, now: DateTime<Utc>) -> Latest {
    Latest {
        format: FORMAT,
        store: format!("{:016x}", fastrand::u64(..)),
        snapshot: id.clone(),
        published_at: now,
        snapshots: Vec::new(),
        keys: BTreeMap::new(),
        newest: None,
        superseded: BTreeMap::new(),
        firsts: BTreeMap::new(),
        manifests: BTreeMap::new(),
        columns: BTreeMap::new(),
        writer: None,
        rewritten: None,
        replaced: BTreeMap::new(),
        hold: None,
    }
}

pub(super) fn text_of(latest: &Latest) -> Result<String> {
    serde_json::to_string_pretty(latest).or_error(ErrorKind::Bug, || "latest.json".to_owned())
}

impl StoreWriter {
    fn manifest(
        &self,
        pipeline: &Pipeline,
        star: &AuditedStar,
        placed: &[StarTable],
        numbers: &BTreeMap<ModelName, ColumnIds>,
        proof: Proof,
        latest: Option<&Latest>,
    ) -> Manifest {
        let mut tables = Vec::new();
        for table in placed {
            let Some(report) = star.models.iter().find(|report| report.model == *table.name()) else {
                continue;
            };
            tables.push(TableRecord::of(table, numbers.get(table.name()), report.effort, report.cost));
        }
        Manifest {
            format: FORMAT,
            starmill: env!("CARGO_PKG_VERSION").to_owned(),
            snapshot: SnapshotId::of(self.run()),
            run: self.run().clone(),
            previous: latest.map(|latest| latest.snapshot.clone()),
            created_at: proof.created_at,
            pipeline: PipelineRecord {
                name: pipeline.deployment.name.clone(),
                description: pipeline.deployment.description.clone(),
                timezone: pipeline.deployment.timezone.name().to_owned(),
                source: pipeline.source.url.to_string(),
            },
            position: proof.position,
            source: proof.reads,
            tables,
            controls: star.lines.clone(),
            coverage: star.coverage.clone(),
            sums: star.sums.clone(),
            changes: proof.diff.tables,
            steps: proof.steps,
            forgotten: Vec::new(),
            masks: proof.masks,
        }
    }
}
