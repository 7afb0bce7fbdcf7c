//! Takes a person out of every snapshot that is kept, out of the registry, and out of the examples in manifests and reports.
//!
//! Data files are written anew without the rows, manifests anew with their names: beside the old ones first, then the commit
//! point, which has their hashes, and only then in their place. Killed anywhere, a reader finds the manifest that the commit
//! point knows; the next writer ends the work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch, not};

use super::compact::{TOGETHER, in_columns};
use super::forgetting::{
    Change, Changed, Forgetting, ROWS, Wish, integers, is_told, matching, told, without_examples,
};
use super::lock::StoreWriter;
use super::manifest::{Forgotten, Latest, Manifest};
use super::objects::Objects;
use super::tables::table_below;
use super::{MANIFEST, Readers, Store, create_folder, keys_below, snapshot_below, sync_file, sync_folder};
use crate::clock;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{ModelName, SnapshotId};
use crate::star::scan::{Columns, scan};
use crate::star::shelf;
use crate::star::table::{DataFile, StarTable, TableWriter};

/// A manifest that takes the place of its snapshot's once the commit point knows it.
pub(super) const NEXT: &str = "manifest.next.json";
/// The unknown member, which stands for who is not there.
const UNKNOWN: i64 = -1;
impl Store {
    /// Copies on this machine go, too: of snapshots that were pruned there may be some still.
    pub fn forget_copies(&self) {
        if let Objects::Bucket(bucket) = &self.objects {
            bucket.forget_copies();
        }
    }

    /// Puts the manifests to their places that the commit point knows, and takes away those that it does not.
    pub(super) fn settle_manifests(&self, latest: &Latest) -> Result<()> {
        if latest.rewritten.is_none() && matches!(self.objects, Objects::Bucket(_)) {
            return Ok(());
        }
        for id in &latest.snapshots {
            let below = snapshot_below(id);
            let next = format!("{below}/{NEXT}");
            let Some(text) = self.objects.read(&next)? else { continue };
            if latest.manifests.get(id).is_some_and(|known| *known == shelf::hash(&text)) {
                self.objects.put(&format!("{below}/{MANIFEST}"), &text, Readers::All)?;
            } else if let Objects::Bucket(_) = self.objects {
                // It may be a writer's who still works, believes that it holds the lease, and is about to commit it.
                continue;
            }
            self.objects.remove(&next)?;
        }
        Ok(())
    }
}

impl StoreWriter {
    /// Does what was planned.
    pub async fn forget(&self, wish: &Wish, plan: &Forgetting) -> Result<()> {
        let store = self.store();
        let latest = store.commit_point()?;
        let mut manifests = Vec::new();
        for id in &plan.snapshots {
            manifests.push(store.manifest_by(Some(&latest), id)?);
        }
        // Examples decide nothing, so they go first: what is killed after it is done again.
        for (name, report) in store.reports_with(&told(wish))? {
            let text = serde_json::to_string_pretty(&report).or_error(ErrorKind::Bug, || name.clone())?;
            store.objects.write(&name, &text, Readers::Owner)?;
        }
        let mut sent: Vec<(PathBuf, String)> = Vec::new();
        let mut written: BTreeMap<(ModelName, String), DataFile> = BTreeMap::new();
        for (number, (of, changed)) in plan.changed.iter().enumerate() {
            let below = table_below(of.0.as_str());
            let folder = store.objects.local(&below);
            create_folder(&folder)?;
            let name = format!("{}-{number}.parquet", self.run());
            let file = rewrite(changed, wish, plan, &folder.join(&name))?;
            sent.push((folder.join(&name), format!("{below}/{name}")));
            written.insert(of.clone(), file);
        }
        let mut next = Latest { rewritten: Some(self.run().clone()), ..latest.clone() };
        let mut gone: Vec<String> =
            written.keys().map(|(table, file)| format!("{}/{file}", table_below(table.as_str()))).collect();
        if let Some((table, _)) = store.registered(&latest, wish)?
            && let Some(entry) = next.keys.get_mut(&wish.table)
        {
            let below = keys_below(&wish.table);
            let (name, folder) = (format!("{}{TOGETHER}.parquet", self.run()), store.objects.local(&below));
            let file = kept_keys(&table, wish, &folder.join(&name))?;
            sent.push((folder.join(&name), format!("{below}/{name}")));
            gone.extend(entry.files.iter().map(|file| format!("{below}/{}", file.name)));
            entry.files = vec![file];
            entry.corrections.retain(|correction| !is_told(&correction.key, &told(wish)));
        }
        if let Objects::Bucket(bucket) = &store.objects {
            bucket.send(sent).await?;
        }
        let mut texts = Vec::new();
        for manifest in manifests {
            let id = manifest.snapshot.clone();
            let text = self.rewritten(manifest, wish, plan, &written)?;
            next.manifests.insert(id.clone(), shelf::hash(text.as_bytes()));
            store.objects.write(&format!("{}/{NEXT}", snapshot_below(&id)), &text, Readers::All)?;
            texts.push(id);
        }
        for ((table, old), file) in &written {
            next.replaced.insert(format!("{table}/{old}"), file.clone());
        }
        at(Point::ForgetWritten, &store.local_folder())?;
        self.commit(&next)?;
        // It is done; what is left of it the next writer ends.
        if let Err(error) = self.clear_up(&next, &texts, gone) {
            tracing::warn!(
                error = error.in_full(),
                "they are forgotten, and the files that had them go with the next run"
            );
        }
        Ok(())
    }

    /// Puts everything to its place after the commit, and removes the files that were replaced.
    fn clear_up(&self, latest: &Latest, snapshots: &[SnapshotId], gone: Vec<String>) -> Result<()> {
        let store = self.store();
        at(Point::ForgetCommitted, &store.local_folder())?;
        store.settle_manifests(latest)?;
        if let Objects::Folder(folder) = &store.objects {
            for id in snapshots {
                let manifest = store.manifest_by(Some(latest), id)?;
                let tables = manifest.tables.iter().map(|table| (&table.name, table.files.as_slice()));
                self.show(&folder.join(snapshot_below(id)), tables);
            }
        }
        for name in &gone {
            // A copy of it, where the store is a bucket.
            let _ = std::fs::remove_file(store.objects.local(name));
        }
        match &store.objects {
            Objects::Folder(_) => Ok(()),
            Objects::Bucket(bucket) => {
                store.forget_copies();
                bucket.remove(gone)
            }
        }
    }

    /// A manifest that names the new files, and says what was done.
    fn rewritten(
        &self,
        mut manifest: Manifest,
        wish: &Wish,
        plan: &Forgetting,
        written: &BTreeMap<(ModelName, String), DataFile>,
    ) -> Result<String> {
        let mut done = Forgotten {
            at: clock::now(),
            run: self.run().clone(),
            table: wish.table.clone(),
            rows: BTreeMap::new(),
        };
        for record in &mut manifest.tables {
            let mut touched = None;
            for file in &mut record.files {
                let of = (record.name.clone(), file.name.clone());
                if let (Some(new), Some(changed)) = (written.get(&of), plan.changed.get(&of)) {
                    *file = new.clone();
                    *done.rows.entry(record.name.clone()).or_default() += changed.rows;
                    touched = Some(&changed.table);
                }
            }
            let Some(table) = touched else { continue };
            record.rows = record.files.iter().map(|file| file.rows).sum();
            record.bytes = record.files.iter().map(|file| file.bytes).sum();
            if let Some(sums) = manifest.sums.get_mut(record.name.as_str()) {
                let star = StarTable { files: record.files.clone(), ..table.clone() };
                let names: Vec<String> = sums.keys().cloned().collect();
                let asked = Columns { key: &record.memory.key, sums: &names, lookups: &[], surrogate: None };
                *sums = names.iter().cloned().zip(scan(&star, &asked)?.sums).collect();
            }
        }
        manifest.forgotten.push(done);
        let value = serde_json::to_value(&manifest).or_error(ErrorKind::Bug, || "a manifest".to_owned())?;
        let value = without_examples(&value, &told(wish)).unwrap_or(value);
        serde_json::to_string_pretty(&value).or_error(ErrorKind::Bug, || "a manifest".to_owned())
    }
}

fn at(point: Point, path: &Path) -> Result<()> {
    fault::at(point).map_err(|error| super::store_error("cannot forget in", path, error))
}

/// Writes a data file anew, with its columns' numbers, as a night would have written it.
fn rewrite(changed: &Changed, wish: &Wish, plan: &Forgetting, to: &Path) -> Result<DataFile> {
    let table = &changed.table;
    let writer =
        TableWriter::create(to, &changed.ids.told(table.schema()), &table.contract.sort, wish.encodings)?;
    written(table, writer, to, |batch| match &changed.change {
        Change::Without => without(&batch, wish),
        Change::Unlinked(columns) => unlinked(&batch, columns, plan),
    })
}

/// Writes a registry's rows without those who are forgotten.
fn kept_keys(table: &StarTable, wish: &Wish, to: &Path) -> Result<DataFile> {
    let writer = TableWriter::create(to, table.schema(), &[], wish.encodings)?;
    written(table, writer, to, |batch| without(&in_columns(&batch, table)?, wish))
}

pub(super) fn written(
    table: &StarTable,
    mut writer: TableWriter,
    to: &Path,
    change: impl Fn(RecordBatch) -> Result<RecordBatch>,
) -> Result<DataFile> {
    for batch in shelf::batches(table, None, ROWS) {
        writer.write(change(batch?)?)?;
    }
    let file = writer.finish()?;
    sync_file(to)?;
    sync_folder(to.parent().unwrap_or(to))?;
    Ok(file)
}

fn without(batch: &RecordBatch, wish: &Wish) -> Result<RecordBatch> {
    let kept = not(&matching(batch, &wish.columns, &wish.keys)?);
    let kept = kept.and_then(|kept| filter_record_batch(batch, &kept));
    kept.or_error(ErrorKind::Bug, || "rows that stay".to_owned())
}

fn unlinked(batch: &RecordBatch, columns: &[String], plan: &Forgetting) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
    for column in columns {
        let Some((place, field)) = schema.column_with_name(column) else { continue };
        let held = integers(batch, column)?;
        let now =
            held.iter().map(|key| key.map(|key| if plan.surrogates.contains(&key) { UNKNOWN } else { key }));
        let now: Int64Array = now.collect();
        if let Some(array) = arrays.get_mut(place) {
            *array = cast(&(Arc::new(now) as ArrayRef), field.data_type())
                .or_error(ErrorKind::Bug, || column.clone())?;
        }
    }
    RecordBatch::try_new(schema, arrays).or_error(ErrorKind::Bug, || "rows with other keys".to_owned())
}
