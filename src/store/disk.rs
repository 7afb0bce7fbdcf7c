//! Files and folders that survive a power cut, and the words for what the disk refused.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::lock;
use crate::error::{Error, ErrorKind, Result};

/// An error of the file system, with the step that helps.
pub fn store_error(doing: &str, path: &Path, error: std::io::Error) -> Error {
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

pub fn sync_file(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| store_error("cannot sync", path, error))
}

/// Makes what was written or renamed in a folder survive a power cut.
pub fn sync_folder(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| store_error("cannot sync", path, error))
}

pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| store_error("cannot create", path, error))
}

/// Who may read a file, as far as the umask lets them.
#[derive(Debug, Clone, Copy)]
pub enum Readers {
    All,
    /// Its rows are nobody else's business.
    Owner,
}

/// Replaces a file so that readers see the old text or the new one, and a power cut leaves one.
pub fn replace_file(path: &Path, bytes: impl AsRef<[u8]>, readers: Readers) -> Result<()> {
    let temporary = path.with_extension("json.new");
    let mode = match readers {
        Readers::All => 0o666,
        Readers::Owner => 0o600,
    };
    // One that a dead run left has the mode that it had.
    let _ = std::fs::remove_file(&temporary);
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary);
    let written = opened.and_then(|mut file| {
        file.write_all(bytes.as_ref())?;
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
