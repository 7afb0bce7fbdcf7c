//! A store as lakes follow it, and the lake that lies in its own folder: `lake.sqlite`, by which other engines see every kept
//! snapshot. It decides nothing. It follows each commit, and one that could not is brought up to it by the next run.

use std::path::{Path, PathBuf};
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
                let whole = std::path::absolute(folder.join(FOLDER));
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
        Ok(Some(Night { snapshot: snapshot.clone(), at: manifest.created_at, tables }))
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
    /// Brings what other engines read up to the commit point, before a run begins: whoever wants it is told when it cannot
    /// be had.
    pub fn follow(&self) -> Result<()> {
        let Some(latest) = self.store().latest()? else { return Ok(()) };
        match self.store().lake() {
            Some(path) => self.bring_up(&path, &latest)?,
            None => self.tell_of_a_lake_that_is_left(),
        }
        match self.store().delta {
            true => self.bring_logs_up(&latest),
            false => Ok(()),
        }
    }

    /// The same after a commit, which cannot be taken back.
    pub(super) fn follow_committed(&self, latest: &Latest) {
        let tell = |error: Error, what: &str| {
            let cause = error.causes().into_iter().next().unwrap_or_default();
            tracing::warn!(%error, cause, "other engines still see the snapshot before; the next run brings {what} up to this one");
        };
        if let Some(path) = self.store().lake()
            && let Err(error) = self.bring_up(&path, latest)
        {
            tell(error, "the lake");
        }
        if self.store().delta
            && let Err(error) = self.bring_logs_up(latest)
        {
            tell(error, "the Delta logs");
        }
    }

    /// Whoever reads the lake holds its file, so the next one is made beside it and takes its name.
    fn bring_up(&self, path: &Path, latest: &Latest) -> Result<()> {
        let failed = |error: rusqlite::Error| lake_error(path, error);
        let (tongue, new) = (Tongue::Sqlite, path.with_extension("sqlite.new"));
        let old = open(path).map_err(failed)?;
        let rows = match &old {
            Some(old) => read(old, path)?,
            None => Rows::new(),
        };
        let catalog = Catalog::of(&rows).map_err(|problem| not_ours(path, &problem))?;
        let now = catalog.brought_up(&Followed { store: self.store(), latest })?;
        let changes = tongue.change(&rows, &now.rows());
        if changes.is_empty() {
            return Ok(());
        }
        let _ = std::fs::remove_file(&new);
        if let Some(old) = old {
            // With what others have put into it.
            let copied = new.to_str().map(|new| old.execute("VACUUM INTO ?1", [new]));
            copied.unwrap_or(Ok(0)).map_err(failed)?;
            drop(old);
            let meta =
                std::fs::metadata(path).and_then(|meta| std::fs::set_permissions(&new, meta.permissions()));
            meta.map_err(|error| store_error("cannot write", &new, error))?;
        }
        let written = write(&new, tongue.create().iter().chain(&changes)).map_err(failed);
        let written = written.and_then(|()| {
            sync_file(&new)?;
            fault::at(Point::LakeWritten).map_err(|error| store_error("cannot write", path, error))?;
            std::fs::rename(&new, path).map_err(|error| store_error("cannot rename", &new, error))?;
            sync_folder(path.parent().unwrap_or(path))
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        written
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

/// Opens a lake to be read, if there is one.
fn open(path: &Path) -> rusqlite::Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(Some(connection))
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
        .hint("move it away; the next run writes it anew, from the snapshots that are kept")
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
