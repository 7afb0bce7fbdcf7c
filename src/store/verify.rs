//! Holds what lies in a store against the hashes that were taken when it was written.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Store;
use super::manifest::{Latest, Manifest};
use crate::error::Result;
use crate::name::SnapshotId;
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
                for table in &manifest.tables {
                    for file in &table.files {
                        found.file(&folder.join(table.name.as_str()), file);
                    }
                }
            }
            Err(error) => found.damage(path, format!("it cannot be read: {error}")),
        }
    }
}

/// Reads a file whole, and says how many bytes it has, or what is wrong with it.
pub fn whole(folder: &Path, file: &DataFile) -> Result<u64, Damage> {
    let path = folder.join(&file.name);
    let problem = match hash_file(&path) {
        Ok((bytes, _)) if bytes != file.bytes => {
            format!("it has {bytes} bytes, and {} were published", file.bytes)
        }
        Ok((_, hash)) if hash != file.sha256 => "its bytes are not those that were published".to_owned(),
        Ok((bytes, _)) => return Ok(bytes),
        Err(error) => error.to_string(),
    };
    Err(Damage { path, problem })
}

impl Verified {
    fn file(&mut self, folder: &Path, file: &DataFile) {
        self.files += 1;
        match whole(folder, file) {
            Ok(bytes) => self.bytes += bytes,
            Err(damage) => self.damaged.push(damage),
        }
    }

    fn damage(&mut self, path: PathBuf, problem: String) {
        self.damaged.push(Damage { path, problem });
    }
}

fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hex(&hasher.finalize()))),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
