//! Copies of a bucket's files on this machine: they never change, so what was read once need not come again. Each is held
//! against its hash before a row of it is believed, like any file of a store.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Bucket;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::objects::alias;
use crate::store::store_error;

/// Copies go after so long, a month and no multiple of a night, and come again when somebody needs them.
const KEPT: Duration = Duration::from_secs(30 * 86_400 + 43_200);

impl Bucket {
    /// Where copies of its files lie.
    pub fn cache(&self) -> PathBuf {
        if let Some(folder) = &self.settings().cache {
            return folder.clone();
        }
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        let place = alias(self.settings().whole_name().as_bytes());
        home.unwrap_or_else(std::env::temp_dir).join("starmill").join(place)
    }

    /// Makes the folder of the copies, which is its owner's alone, and lets old ones go.
    pub fn ready_cache(&self) -> Result<()> {
        let folder = self.cache();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| store_error("cannot create", &folder, error))?;
        let meta = folder.symlink_metadata().map_err(|error| store_error("cannot read", &folder, error))?;
        let owner = std::os::unix::fs::MetadataExt::uid(&meta);
        if !meta.is_dir() || owner != nix::unistd::geteuid().as_raw() {
            let message = format!(
                "{} is somebody else's, and copies of the store's files would lie there",
                folder.display()
            );
            return Err(
                Error::new(ErrorKind::Store, message).hint("name a folder of your own: `cache` in [store]")
            );
        }
        for below in ["tables", "keys"] {
            forget(&folder.join(below), KEPT);
        }
        Ok(())
    }

    /// Lets every copy on this machine go; what is wanted again is brought again.
    pub fn forget_copies(&self) {
        for below in ["tables", "keys"] {
            forget(&self.cache().join(below), Duration::ZERO);
        }
    }
}

fn forget(folder: &Path, kept: Duration) {
    let Ok(tables) = std::fs::read_dir(folder) else { return };
    for file in tables.flatten().filter_map(|table| std::fs::read_dir(table.path()).ok()).flatten().flatten()
    {
        let since = file.metadata().and_then(|meta| meta.modified()).map(DateTime::<Utc>::from);
        let age = since.ok().and_then(|since| (clock::now() - since).to_std().ok());
        let old = age.is_some_and(|age| age > kept);
        let ours = file
            .file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(".parquet") || name.ends_with(".new"));
        if old && ours {
            let _ = std::fs::remove_file(file.path());
        }
    }
}
