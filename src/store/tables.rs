//! The data files of a store. They belong to their tables and are never changed: a night names again those of the nights
//! before it whose rows did not change, and a file goes when no snapshot that is kept names it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::bucket;
use super::lock::StoreWriter;
use super::manifest::{Latest, Manifest};
use super::objects::{Entry, Kind, Objects};
use super::{SNAPSHOTS, Store, create_folder, snapshot_below, store_error, sync_file, sync_folder};
use crate::error::Result;
use crate::fault::{self, Point};
use crate::name::{ModelName, RunId, SnapshotId};
use crate::star::shelf;
use crate::star::table::{DataFile, StarTable};

pub(super) const FOLDER: &str = "tables";
/// How a file's name ends while it is copied from another disk.
const UNFINISHED: &str = ".new";

/// The data files that some snapshots name, by their tables and names.
#[derive(Default)]
pub(super) struct Named(BTreeMap<String, BTreeMap<String, DataFile>>);

impl Named {
    pub(super) fn has(&self, table: &str, file: &str) -> bool {
        self.0.get(table).is_some_and(|files| files.contains_key(file))
    }

    fn extend(&mut self, other: Named) {
        for (table, files) in other.0 {
            self.0.entry(table).or_default().extend(files);
        }
    }

    /// One of these very bytes.
    fn same(&self, table: &ModelName, as_this: &DataFile) -> Option<&DataFile> {
        let same = |file: &&DataFile| file.sha256 == as_this.sha256 && file.bytes == as_this.bytes;
        self.0.get(table.as_str())?.values().find(same)
    }
}

impl Store {
    /// Below which name those of one of a snapshot's tables lie. Older snapshots have folders of their own.
    pub(super) fn files_below(&self, manifest: &Manifest, table: &ModelName) -> String {
        match manifest.shares_files() {
            true => table_below(table.as_str()),
            false => format!("{}/{table}", snapshot_below(&manifest.snapshot)),
        }
    }

    /// Every table that has had files here. What is a link leads to somebody else's.
    pub(super) fn tables_there(&self) -> Result<Vec<String>> {
        let entries = self.objects.entries(FOLDER)?.into_iter();
        Ok(entries.filter(|entry| entry.kind == Kind::Folder).map(|entry| entry.name).collect())
    }

    /// What some snapshots name together; an error when one of them cannot be asked.
    pub(super) fn named<'a>(
        &self,
        latest: Option<&Latest>,
        ids: impl IntoIterator<Item = &'a SnapshotId>,
    ) -> Result<Named> {
        let mut named = Named::default();
        for id in ids {
            let manifest = self.manifest_by(latest, id)?;
            if !manifest.shares_files() {
                continue;
            }
            for table in manifest.tables {
                let files = table.files.into_iter().map(|file| (file.name.clone(), file));
                named.0.entry(table.name.to_string()).or_default().extend(files);
            }
        }
        Ok(named)
    }
}

/// Below which name a table's files lie.
pub(super) fn table_below(table: &str) -> String {
    format!("{FOLDER}/{table}")
}

/// A data file that some run wrote: it bears the run's id and a number.
pub(super) fn is_data_of_a_run(file: &Entry) -> bool {
    let numbered = [".parquet", UNFINISHED].iter().find_map(|end| file.name.strip_suffix(end));
    let numbered = numbered.and_then(|name| name.rsplit_once('-'));
    file.kind == Kind::File
        && numbered.is_some_and(|(run, number)| {
            RunId::is_one(run) && !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
        })
}

/// Files that were put to their places for a commit. Without one they go again.
pub(super) struct Placed {
    pub(super) tables: Vec<StarTable>,
    new: Vec<PathBuf>,
    /// The snapshot's folder, once it is in its place.
    pub(super) snapshot: Option<PathBuf>,
}

impl Placed {
    pub(super) fn committed(mut self) -> Vec<StarTable> {
        self.new.clear();
        self.snapshot = None;
        std::mem::take(&mut self.tables)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // First what names them.
        if let Some(folder) = &self.snapshot {
            let _ = std::fs::remove_dir_all(folder);
        }
        for path in &self.new {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl StoreWriter {
    /// Puts a star's files to their tables, each on disk; one that a kept snapshot has already is named again, when it
    /// is still what was published.
    pub(super) async fn place(&self, tables: Vec<StarTable>, latest: Option<&Latest>) -> Result<Placed> {
        let objects = &self.store().objects;
        let mut named = Named::default();
        if let Some(latest) = latest {
            // Of a snapshot that cannot be read nothing is shared.
            let published = std::iter::once(&latest.snapshot).chain(latest.newest());
            for id in published.collect::<BTreeSet<_>>() {
                named.extend(self.store().named(Some(latest), [id]).unwrap_or_default());
            }
        }
        let mut placed = Placed { tables: Vec::new(), new: Vec::new(), snapshot: None };
        let mut sent = Vec::new();
        for table in tables {
            let below = table_below(table.name().as_str());
            let folder = objects.local(&below);
            create_folder(&folder)?;
            let mut files = Vec::new();
            let lies = match objects {
                Objects::Folder(_) => Vec::new(),
                Objects::Bucket(_) => objects.entries(&below)?,
            };
            let is_there = |there: &DataFile, same: &Path| match objects {
                Objects::Folder(_) => shelf::is_whole(&folder.join(&there.name), there),
                Objects::Bucket(_) => lies.iter().any(|entry| {
                    entry.name == there.name && entry.bytes == there.bytes && bucket::may_hold(entry, same)
                }),
            };
            for (number, file) in table.files.iter().enumerate() {
                let from = table.folder.join(&file.name);
                let there = named.same(table.name(), file);
                if let Some(there) = there.filter(|there| is_there(there, &from)) {
                    // What is there already need not reach the disk again.
                    std::fs::remove_file(&from)
                        .map_err(|error| store_error("cannot remove", &from, error))?;
                    files.push(there.clone());
                    continue;
                }
                if let Objects::Folder(_) = objects {
                    sync_file(&from)?;
                }
                if let Some(there) = there {
                    // The same bytes, in place of those that were lost: every snapshot that names them has them again.
                    let kept = folder.join(&there.name);
                    move_file(&from, &kept).map_err(|error| store_error("cannot replace", &kept, error))?;
                    sent.push((kept, format!("{below}/{}", there.name)));
                    files.push(there.clone());
                    continue;
                }
                let name = format!("{}-{number}.parquet", self.run());
                let to = folder.join(&name);
                move_file(&from, &to).map_err(|error| store_error("cannot move", &from, error))?;
                sent.push((to.clone(), format!("{below}/{name}")));
                placed.new.push(to);
                files.push(DataFile { name, ..file.clone() });
            }
            if let Objects::Folder(_) = objects {
                sync_folder(&folder)?;
            }
            placed.tables.push(StarTable { folder, files, ..table });
        }
        let above = objects.local(FOLDER);
        match objects {
            Objects::Folder(folder) => {
                sync_folder(&above)?;
                sync_folder(folder)?;
            }
            Objects::Bucket(bucket) => bucket.send(sent).await?,
        }
        fault::at(Point::PublishTables).map_err(|error| store_error("cannot publish into", &above, error))?;
        Ok(placed)
    }

    /// Shows a snapshot's tables where a person looks for them: `snapshots/<id>/<table>/part-0.parquet` and so on, links
    /// to the files. Nothing of ours reads them, so where none can be made the night goes on.
    pub(super) fn show<'a>(
        &self,
        folder: &Path,
        tables: impl IntoIterator<Item = (&'a ModelName, &'a [DataFile])>,
    ) {
        for (table, files) in tables {
            let folder = folder.join(table.as_str());
            if let Err(error) = show_table(&folder, table, files) {
                // A reader of some of them would take those rows for all.
                for number in 0..files.len() {
                    let link = folder.join(part_name(number));
                    if link.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
                        let _ = std::fs::remove_file(link);
                    }
                }
                tracing::warn!(%table, folder = %folder.display(), %error, "the links to a table's files were not made");
            }
        }
    }

    /// The data files that no kept snapshot names. Where one of those cannot be read nobody knows what it names, and all
    /// stay.
    pub(super) fn unnamed_files<'a>(
        &self,
        latest: Option<&Latest>,
        kept: impl IntoIterator<Item = &'a SnapshotId>,
    ) -> Result<Vec<String>> {
        let tables = self.store().tables_there()?;
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let named = match self.store().named(latest, kept) {
            Ok(named) => named,
            Err(error) => {
                tracing::warn!(%error, "data files that no snapshot names stay until every kept snapshot can be read");
                return Ok(Vec::new());
            }
        };
        let mut unnamed = Vec::new();
        for table in tables {
            let below = table_below(&table);
            let files = self.store().objects.entries(&below)?.into_iter();
            let files = files.filter(|file| is_data_of_a_run(file) && !named.has(&table, &file.name));
            unnamed.extend(files.map(|file| format!("{below}/{}", file.name)));
        }
        Ok(unnamed)
    }

    /// Removes snapshots and files that nothing names, and in a folder the folders that are empty then.
    pub(super) fn remove_all(&self, names: Vec<String>) -> Result<()> {
        let objects = &self.store().objects;
        let (snapshots, files): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| name.starts_with(SNAPSHOTS));
        for snapshot in snapshots {
            objects.remove_below(&snapshot)?;
        }
        match objects {
            Objects::Bucket(bucket) => bucket.remove(files),
            Objects::Folder(folder) => files.into_iter().try_for_each(|name| {
                objects.remove(&name)?;
                if let Some(above) = folder.join(&name).parent().filter(|_| name.starts_with(FOLDER)) {
                    // What is somebody else's keeps it.
                    let _ = std::fs::remove_dir(above);
                }
                Ok(())
            }),
        }
    }
}

/// Moves a file that is on disk already, to another disk, too.
fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let copy = to.with_extension(UNFINISHED.trim_start_matches('.'));
            let copied = std::fs::copy(from, &copy)
                .and_then(|_| File::open(&copy)?.sync_all())
                .and_then(|()| std::fs::rename(&copy, to));
            if copied.is_err() {
                let _ = std::fs::remove_file(&copy);
            }
            copied.and_then(|()| std::fs::remove_file(from))
        }
        moved => moved,
    }
}

/// Where a snapshot's link leads, as it is written.
pub(super) fn link_target(table: &ModelName, file: &DataFile) -> PathBuf {
    Path::new("../../..").join(FOLDER).join(table.as_str()).join(&file.name)
}

/// What a snapshot calls its table's files.
pub(super) fn part_name(number: usize) -> String {
    format!("part-{number}.parquet")
}

fn show_table(folder: &Path, table: &ModelName, files: &[DataFile]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, file) in files.iter().enumerate() {
        let (link, target) = (folder.join(part_name(number)), link_target(table, file));
        if std::fs::read_link(&link).is_ok_and(|now| now == target) {
            continue;
        }
        match link.symlink_metadata() {
            // A copy that somebody made of the store has files where links were.
            Ok(meta) if !meta.is_symlink() => continue,
            Ok(_) => std::fs::remove_file(&link)?,
            Err(_) => {}
        }
        std::os::unix::fs::symlink(&target, &link)?;
    }
    Ok(())
}
