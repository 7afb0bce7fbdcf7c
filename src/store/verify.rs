//! Holds what lies in a store against the hashes that were taken when it was written.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::Store;
use super::delta::LOG;
use super::forget::NEXT;
use super::lock::{LINK, are_keys_of_a_run, published_target};
use super::manifest::{Latest, Manifest, TableRecord};
use super::objects::Objects;
use super::tables::{is_data_of_a_run, link_target, part_name, table_below};
use super::{LATEST, MANIFEST, keys_below, manifest_of, snapshot_below};
use crate::error::Result;
use crate::name::SnapshotId;
use crate::star::shelf::{self, hash};
use crate::star::table::DataFile;

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
pub struct Verified {
    pub snapshots: Vec<SnapshotId>,
    pub files: u64,
    pub bytes: u64,
    pub damaged: Vec<Damage>,
    /// Files that were read: one that several snapshots name is read once.
    #[serde(skip)]
    seen: BTreeSet<String>,
}

/// One file that is not what was published.
#[derive(Debug, Serialize)]
pub struct Damage {
    pub path: String,
    pub problem: String,
    /// The snapshot that it was found in.
    #[serde(skip)]
    pub of: Option<SnapshotId>,
}

const STRANGE: &str = "nobody published it";

impl Store {
    /// Reads every file of some snapshots, and of the registry, once.
    pub fn verify(&self, latest: &Latest, snapshots: &[SnapshotId]) -> Result<Verified> {
        let mut found = self.verify_snapshots(latest, snapshots)?;
        self.verify_tables(latest, &mut found)?;
        self.verify_link(latest, &mut found);
        for (model, entry) in &latest.keys {
            let below = keys_below(model);
            for file in &entry.files {
                found.file(&self.objects, &below, file, None)?;
            }
            // A file that is damaged was told already.
            let mut whole = true;
            for file in &entry.files {
                whole &= self.objects.fetch(&below, file)?.is_ok();
            }
            if whole && let Ok(Some(problem)) = self.given_twice(model, entry) {
                found.damage(self.objects.shown(LATEST), problem, None);
            }
            for there in self.objects.entries(&below)? {
                // What a dead run left is swept by the next.
                let left = are_keys_of_a_run(&there);
                if !left && !entry.files.iter().any(|file| file.name == there.name) {
                    let name = format!("{below}/{}", there.name);
                    found.damage(self.objects.shown(&name), STRANGE.to_owned(), None);
                }
            }
        }
        Ok(found)
    }

    /// The same without what is no snapshot's own.
    pub fn verify_snapshots(&self, latest: &Latest, snapshots: &[SnapshotId]) -> Result<Verified> {
        let mut found = Verified { snapshots: snapshots.to_vec(), ..Verified::default() };
        for id in snapshots {
            self.verify_snapshot(latest, id, &mut found)?;
        }
        Ok(found)
    }

    fn verify_snapshot(&self, latest: &Latest, id: &SnapshotId, found: &mut Verified) -> Result<()> {
        let (below, name) = (snapshot_below(id), manifest_of(id));
        let shown = self.objects.shown(&name);
        let text = match self.manifest_text(id, latest.manifests.get(id)) {
            Ok(text) => text,
            // A server that gives no answer says nothing of what lies there.
            Err(error) if matches!(self.objects, Objects::Bucket(_)) && !self.objects.exist() => {
                return Err(error);
            }
            Err(error) => {
                let why = error.causes().first().cloned().unwrap_or_else(|| error.to_string());
                found.damage(shown, why, Some(id));
                return Ok(());
            }
        };
        found.files += 1;
        found.bytes += text.len() as u64;
        // Snapshots of an older starmill have no hash of their manifest.
        if latest.manifests.get(id).is_some_and(|known| *known != hash(&text)) {
            let problem = "its bytes are not those that were published".to_owned();
            found.damage(shown.clone(), problem, Some(id));
        }
        let manifest = match serde_json::from_slice::<Manifest>(&text) {
            Ok(manifest) => manifest,
            Err(error) => {
                found.damage(shown, format!("it cannot be read: {error}"), Some(id));
                return Ok(());
            }
        };
        let named = |name: &str| {
            [MANIFEST, NEXT].contains(&name)
                || manifest.tables.iter().any(|table| table.name.as_str() == name)
        };
        for strange in self.objects.entries(&below)?.iter().filter(|entry| !named(&entry.name)) {
            let path = self.objects.shown(&format!("{below}/{}", strange.name));
            found.damage(path, STRANGE.to_owned(), Some(id));
        }
        for table in &manifest.tables {
            let files = self.files_below(&manifest, &table.name);
            for file in &table.files {
                found.file(&self.objects, &files, file, Some(id))?;
            }
            if let Objects::Folder(_) = self.objects {
                self.verify_shown(latest, &manifest, table, found);
            }
        }
        Ok(())
    }

    /// What a person finds who opens a table of a snapshot in its folder.
    fn verify_shown(&self, latest: &Latest, manifest: &Manifest, table: &TableRecord, found: &mut Verified) {
        let id = &manifest.snapshot;
        let shown = self.objects.local(&snapshot_below(id)).join(table.name.as_str());
        let missing = |number: &usize| shown.join(part_name(*number)).symlink_metadata().is_err();
        let gone: Vec<usize> = (0..table.files.len()).filter(missing).collect();
        // Of none a reader gets no rows, and no wrong ones.
        if manifest.shares_files() && gone.len() < table.files.len() {
            for number in gone {
                let problem = "the link is gone, and a reader of its folder gets fewer rows".to_owned();
                found.damage(shown.join(part_name(number)).display().to_string(), problem, Some(id));
            }
        }
        // A reader of the folder would take its rows for ours.
        for (path, name) in super::lock::entries(&shown) {
            let wanted = match manifest.shares_files() {
                true => is_shown(&path, &name, table) || was_replaced(latest, &path, table),
                false => table.files.iter().any(|file| file.name == name),
            };
            if !wanted {
                found.damage(path.display().to_string(), STRANGE.to_owned(), Some(id));
            }
        }
    }

    /// A reader of `latest` that leads elsewhere gets another star. One that is gone misleads nobody: not every disk has
    /// links.
    fn verify_link(&self, latest: &Latest, found: &mut Verified) {
        let Objects::Folder(folder) = &self.objects else { return };
        let link = folder.join(LINK);
        if link.symlink_metadata().is_err() {
            return;
        }
        let problem = match std::fs::read_link(&link) {
            Ok(target) if target == published_target(&latest.snapshot) => return,
            Ok(target) => format!(
                "it leads to {}, and {} is published; the next run mends it",
                target.display(),
                latest.snapshot
            ),
            Err(_) => "it is no link to the published snapshot, and its readers get what was copied there; move it away, \
                       and the next run makes it again"
                .to_owned(),
        };
        found.damage(link.display().to_string(), problem, None);
    }

    /// What lies among the data files, and is none of any snapshot's or run's.
    fn verify_tables(&self, latest: &Latest, found: &mut Verified) -> Result<()> {
        let Ok(named) = self.named(Some(latest), &latest.snapshots) else { return Ok(()) };
        for table in self.tables_there()? {
            let below = table_below(&table);
            for file in self.objects.entries(&below)? {
                // What a dead run left is swept by the next.
                if !named.has(&table, &file.name) && !is_data_of_a_run(&file) && file.name != LOG {
                    let path = self.objects.shown(&format!("{below}/{}", file.name));
                    found.damage(path, STRANGE.to_owned(), None);
                }
            }
        }
        Ok(())
    }
}

/// Whether a link leads to a file that was written anew without somebody: the next run leads it to that one.
fn was_replaced(latest: &Latest, path: &Path, table: &TableRecord) -> bool {
    let target = std::fs::read_link(path).ok();
    let name = target.as_ref().and_then(|target| target.file_name()?.to_str());
    name.is_some_and(|name| latest.replaced.contains_key(&format!("{}/{name}", table.name)))
}

/// Whether a person who opens this gets one of a table's files: by the link to it, or of a copy of the store.
fn is_shown(path: &Path, name: &str, table: &TableRecord) -> bool {
    let place = (0..table.files.len()).find(|number| part_name(*number) == name);
    let Some(file) = place.and_then(|number| table.files.get(number)) else { return false };
    match std::fs::read_link(path) {
        Ok(target) => target == link_target(&table.name, file),
        Err(_) => shelf::whole(path, file).is_ok(),
    }
}

impl Verified {
    fn file(
        &mut self,
        objects: &Objects,
        below: &str,
        file: &DataFile,
        of: Option<&SnapshotId>,
    ) -> Result<()> {
        let name = format!("{below}/{}", file.name);
        let path = objects.shown(&name);
        if !self.seen.insert(path.clone()) {
            return Ok(());
        }
        self.files += 1;
        if let Objects::Folder(folder) = objects
            && folder.join(&name).symlink_metadata().is_ok_and(|meta| meta.is_symlink())
        {
            self.damage(path, "a link stands in its place".to_owned(), of);
            return Ok(());
        }
        match objects.whole(&name, file)? {
            Ok(bytes) => self.bytes += bytes,
            Err(problem) => self.damage(path, problem, of),
        }
        Ok(())
    }

    fn damage(&mut self, path: String, problem: String, of: Option<&SnapshotId>) {
        self.damaged.push(Damage { path, problem, of: of.cloned() });
    }
}
