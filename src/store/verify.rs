//! Holds what lies in a store against the hashes that were taken when it was written.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Store;
use super::lock::{are_keys_of_a_run, entries};
use super::manifest::{Latest, Manifest};
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
}

/// One file that is not what was published.
#[derive(Debug, Serialize)]
pub struct Damage {
    pub path: PathBuf,
    pub problem: String,
}

const STRANGE: &str = "nobody published it";

impl Store {
    /// Reads every file of some snapshots, and of the registry, once.
    pub fn verify(&self, latest: &Latest, snapshots: &[SnapshotId]) -> Result<Verified> {
        let mut found = Verified { snapshots: snapshots.to_vec(), ..Verified::default() };
        for id in snapshots {
            self.verify_snapshot(latest, id, &mut found);
        }
        for (model, entry) in &latest.keys {
            let folder = self.folder().join("keys").join(model.as_str());
            for file in &entry.files {
                found.file(&folder, file);
            }
            for (path, name) in entries(&folder) {
                // What a dead run left is swept by the next.
                let left = are_keys_of_a_run(&path, &name);
                if !left && !entry.files.iter().any(|file| file.name == name) {
                    found.damage(path, STRANGE.to_owned());
                }
            }
        }
        Ok(found)
    }

    fn verify_snapshot(&self, latest: &Latest, id: &SnapshotId, found: &mut Verified) {
        let folder = self.snapshot_folder(id);
        let path = folder.join("manifest.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) => return found.damage(path, error.to_string()),
        };
        found.files += 1;
        found.bytes += text.len() as u64;
        // Snapshots of an older starmill have no hash of their manifest.
        if latest.manifests.get(id).is_some_and(|known| *known != hash(&text)) {
            found.damage(path.clone(), "its bytes are not those that were published".to_owned());
        }
        match serde_json::from_slice::<Manifest>(&text) {
            Ok(manifest) => {
                let named = |name: &str| {
                    name == "manifest.json" || manifest.tables.iter().any(|table| table.name.as_str() == name)
                };
                for (path, _) in entries(&folder).into_iter().filter(|(_, name)| !named(name)) {
                    found.damage(path, STRANGE.to_owned());
                }
                for table in &manifest.tables {
                    let folder = folder.join(table.name.as_str());
                    for file in &table.files {
                        found.file(&folder, file);
                    }
                    // A reader of the folder would take its rows for ours.
                    for (path, name) in entries(&folder) {
                        if !table.files.iter().any(|file| file.name == name) {
                            found.damage(path, STRANGE.to_owned());
                        }
                    }
                }
            }
            Err(error) => found.damage(path, format!("it cannot be read: {error}")),
        }
    }
}

impl Verified {
    fn file(&mut self, folder: &Path, file: &DataFile) {
        self.files += 1;
        let path = folder.join(&file.name);
        if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            return self.damage(path, "a link stands in its place".to_owned());
        }
        match shelf::whole(&path, file) {
            Ok(bytes) => self.bytes += bytes,
            Err(problem) => self.damage(path, problem),
        }
    }

    fn damage(&mut self, path: PathBuf, problem: String) {
        self.damaged.push(Damage { path, problem });
    }
}
