//! A store as lakes follow it, and the lake that lies in its own folder: `lake.sqlite`, by which other engines see every kept
//! snapshot. It decides nothing. It follows each commit, and one that could not is brought up to it by the next run.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::lock::StoreWriter;
use super::manifest::Latest;
use super::objects::Objects;
use super::tables::{FOLDER, table_below};
use super::{Store, store_error, sync_file, sync_folder};
use crate::error::{Error, ErrorKind, Result};
use crate::fault::{self, Point};
use crate::lake::{Catalog, FileFacts, Night, NightColumn, NightTable, Rows, Shore, Tongue};
use crate::name::SnapshotId;
use crate::star::table::DataFile;

pub const LAKE: &str = "lake.sqlite";
/// How long another program may hold it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a commit point says, for a lake that follows it.
pub struct Followed<'a> {
    pub store: &'a Store,
    pub latest: &'a Latest,
}

impl Shore for Followed<'_> {
    fn store(&self) -> &str {
        &self.latest.store
    }

    fn tables(&self) -> Result<String> {
        match &self.store.objects {
            Objects::Folder(folder) => {
                let whole = std::fs::canonicalize(folder).map(|folder| folder.join(FOLDER));
                let whole = whole.map_err(|error| store_error("cannot find", folder, error))?;
                let text = whole.to_str().ok_or_else(|| {
                    let message =
                        format!("the path {} is no text, which a lake cannot tell", whole.display());
                    Error::new(ErrorKind::Store, message).hint("leave `lake` out, or move the store")
                })?;
                Ok(format!("{text}/"))
            }
            objects @ Objects::Bucket(_) => Ok(format!("{}/", objects.shown(FOLDER))),
        }
    }

    fn published(&self) -> (&SnapshotId, DateTime<Utc>) {
        (&self.latest.snapshot, self.latest.published_at)
    }

    fn kept(&self) -> &[SnapshotId] {
        &self.latest.snapshots
    }

    fn night(&self, snapshot: &SnapshotId) -> Result<Option<Night>> {
        let manifest = self.store.manifest_by(Some(self.latest), snapshot)?;
        if !manifest.shares_files() {
            return Ok(None);
        }
        let mut tables = Vec::new();
        for table in manifest.tables {
            let mut columns = Vec::new();
            for column in table.columns {
                let (Some(id), Ok(data_type)) = (column.id, column.data_type.parse()) else {
                    let message = format!(
                        "the manifest of {snapshot} does not tell what {}.{} is",
                        table.name, column.name
                    );
                    return Err(
                        Error::new(ErrorKind::Store, message).hint("use the version that published it")
                    );
                };
                columns.push(NightColumn { name: column.name, id, data_type });
            }
            tables.push(NightTable { name: table.name, columns, files: table.files });
        }
        let at = self.latest.firsts.get(snapshot).copied().unwrap_or(manifest.created_at);
        Ok(Some(Night { snapshot: snapshot.clone(), at, tables }))
    }

    fn replaced(&self) -> &BTreeMap<String, DataFile> {
        &self.latest.replaced
    }

    fn facts(&self, table: &NightTable, file: &DataFile) -> Result<FileFacts> {
        let below = table_below(table.name.as_str());
        let path = self.store.objects.local(&below).join(&file.name);
        if let Objects::Bucket(_) = &self.store.objects
            && !path.exists()
        {
            self.store.objects.fetch(&below, file)?.map_err(|problem| {
                let name = self.store.objects.shown(&format!("{below}/{}", file.name));
                Error::new(ErrorKind::Store, format!("{name} is damaged: {problem}"))
                    .hint("`starmill snapshots verify` says what else is")
            })?;
        }
        FileFacts::read(&path, file.rows, &table.columns)
    }
}

impl StoreWriter {
    /// Brings what other engines read up to a commit point. It decides nothing, so what stands in the way is kept for who
    /// asks for it.
    pub(super) fn follow(&self, latest: &Latest) {
        let lake = self.store().lake().map_or(Ok(()), |path| self.bring_up(&path, latest));
        let followed = lake.and_then(|()| match self.store().delta {
            true => self.bring_logs_up(latest),
            false => Ok(()),
        });
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = followed;
    }

    /// Whoever wants other engines to see the star is told before a night when they cannot.
    pub fn require_followed(&self) -> Result<()> {
        if !self.store().lake {
            self.tell_of_a_lake_that_is_left();
        }
        std::mem::replace(&mut *self.followed.lock().unwrap_or_else(PoisonError::into_inner), Ok(()))
    }

    pub(super) fn has_followed(&self) -> bool {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).is_ok()
    }

    /// Tells what stood in the way, where nothing can be taken back.
    pub(super) fn tell_unfollowed(&self) {
        if let Err(error) = &*self.followed.lock().unwrap_or_else(PoisonError::into_inner) {
            tracing::warn!(
                error = error.in_full(),
                "what other engines read (the lake, Delta logs) does not show the published snapshot; the next run mends it"
            );
        }
    }

    /// Whoever reads the lake holds its file, so the next one is made beside it and takes its name.
    fn bring_up(&self, path: &Path, latest: &Latest) -> Result<()> {
        let path = &whole(path)?;
        let tongue = Tongue::Sqlite;
        let old = open(path)?;
        let rows = match &old {
            Some(old) => read(old, path)?,
            None => Rows::new(),
        };
        let catalog = Catalog::of(&rows).map_err(|problem| not_ours(path, &problem))?;
        let now = catalog.brought_up(&Followed { store: self.store(), latest })?;
        let changes = tongue.change(&rows, &now.rows());
        // Of an older format alone there is nothing to show yet.
        if changes.is_empty() || (old.is_none() && now.is_empty()) {
            return Ok(());
        }
        let new = path.with_extension("sqlite.new");
        let _ = std::fs::remove_dir_all(&new);
        let _ = std::fs::remove_file(&new);
        let made = make(old, path, &new, tongue.create().iter().chain(&changes)).and_then(|()| {
            fault::at(Point::LakeWritten).map_err(|error| store_error("cannot write", path, error))?;
            std::fs::rename(&new, path).map_err(|error| store_error("cannot rename", &new, error))?;
            sync_folder(path.parent().unwrap_or(path))
        });
        if made.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        made
    }

    /// A lake that nobody brings up to date any more shows an old star to whoever asks it.
    fn tell_of_a_lake_that_is_left(&self) {
        if let Objects::Folder(folder) = &self.store().objects
            && folder.join(LAKE).exists()
        {
            let path = folder.join(LAKE);
            tracing::warn!(lake = %path.display(), "it is not brought up to date any more: remove it, or write lake = true in [store]");
        }
    }
}

impl Store {
    /// Where its own lake is, if the pipeline wants one.
    fn lake(&self) -> Option<PathBuf> {
        match &self.objects {
            Objects::Folder(folder) if self.lake => Some(folder.join(LAKE)),
            _ => None,
        }
    }
}

/// Where a lake's file is, by whatever link it is reached. What lies beside it may be somebody's who writes into it.
fn whole(path: &Path) -> Result<PathBuf> {
    let is_there = path.symlink_metadata().is_ok();
    let path = match std::fs::canonicalize(path) {
        Ok(whole) => whole,
        Err(_) if is_there => return Err(not_ours(path, "it is a link that leads nowhere")),
        Err(_) => path.to_owned(),
    };
    if is_there && !path.is_file() {
        return Err(not_ours(&path, "it is no file"));
    }
    let beside = |end: &str| path.with_file_name(format!("{LAKE}{end}"));
    let left = ["-journal", "-wal", "-shm"].into_iter().filter(|end| *end == "-journal" || !is_there);
    if let Some(left) = left.map(beside).find(|left| left.exists()) {
        let message = format!(
            "{} is there: a program that wrote into the lake was killed, or still writes",
            left.display()
        );
        return Err(Error::new(ErrorKind::Store, message).hint(format!(
            "end it, and move {LAKE} away with all that begins with its name; the next run writes it anew"
        )));
    }
    Ok(path)
}

/// Opens a lake to be read, if there is one.
fn open(path: &Path) -> Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(PATIENCE)?;
        Ok(connection)
    });
    opened.map(Some).map_err(|error| lake_error(path, error))
}

/// Makes the next lake: a copy of the old one, with what others have put into it, and our changes.
fn make<'a>(
    old: Option<Connection>,
    path: &Path,
    new: &Path,
    statements: impl Iterator<Item = &'a String>,
) -> Result<()> {
    let failed = |error: rusqlite::Error| lake_error(path, error);
    if let Some(old) = &old {
        let name = new.to_str().ok_or_else(|| not_ours(path, "its path is no text"))?;
        old.execute("VACUUM INTO ?1", [name]).map_err(failed)?;
    }
    write(new, statements).map_err(failed)?;
    if old.is_some() {
        let like = std::fs::metadata(path).and_then(|meta| {
            // Where it cannot be given to whom it was, its rights say who reads it.
            let _ = std::os::unix::fs::chown(new, Some(meta.uid()), Some(meta.gid()));
            std::fs::set_permissions(new, meta.permissions())
        });
        like.map_err(|error| store_error("cannot write", new, error))?;
    }
    sync_file(new)
}

fn read(connection: &Connection, path: &Path) -> Result<Rows> {
    let failed = |error: rusqlite::Error| lake_error(path, error);
    let is_one = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'ducklake_metadata'";
    if connection.query_row(is_one, [], |row| row.get::<_, i64>(0)).map_err(failed)? == 0 {
        return Err(not_ours(path, "it has no table of a lake"));
    }
    let mut rows = Rows::new();
    for (table, query) in Tongue::Sqlite.select() {
        let mut statement = connection.prepare(&query).map_err(failed)?;
        let width = statement.column_count();
        let read = statement.query_map([], |row| (0..width).map(|at| row.get(at)).collect());
        let read = read.and_then(Iterator::collect).map_err(failed)?;
        rows.insert(table, read);
    }
    Ok(rows)
}

fn write<'a>(path: &Path, statements: impl Iterator<Item = &'a String>) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    // Nobody sees it before it is whole.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    let transaction = connection.transaction()?;
    for statement in statements {
        transaction.execute_batch(statement)?;
    }
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

fn not_ours(path: &Path, problem: &str) -> Error {
    Error::new(ErrorKind::Store, format!("{} is no lake that starmill wrote: {problem}", path.display()))
        .hint("move it away, with all that begins with its name; the next run writes it anew, from the snapshots that are kept")
}

fn lake_error(path: &Path, error: rusqlite::Error) -> Error {
    let code = error.sqlite_error_code();
    let (message, hint) = match code {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            return not_ours(path, "it is no SQLite database, or damaged");
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            format!("another program holds {}", path.display()),
            "end what writes into it; whoever reads a lake attaches it READ_ONLY",
        ),
        Some(ErrorCode::DiskFull) => {
            (format!("cannot write {}", path.display()), "free space there; the star itself is whole")
        }
        _ => (
            format!("cannot write {}", path.display()),
            "give this user the right to write it and its folder; the star itself is whole",
        ),
    };
    Error::new(ErrorKind::Store, message).caused_by(error).hint(hint)
}
