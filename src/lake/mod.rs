//! The store's tables as a DuckLake: metadata by which other engines see every kept snapshot, over our own files.
//!
//! A lake is derived: what the store keeps says what its catalog must hold, and one that is behind, or new, is brought up to
//! it. It lies in one of two homes, a SQLite file beside the commit point or a schema of the target; both hold the same rows,
//! as DuckLake 1.0 names them, and each is changed in one transaction. `delta.rs` tells the same of each table by itself.

mod advance;
mod catalog;
pub mod delta;
mod facts;
mod read;
mod spec;
mod statements;

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::name::{ModelName, SnapshotId};
use crate::star::table::DataFile;

pub use catalog::{Catalog, Rows};
pub use facts::FileFacts;
pub use statements::Tongue;

/// A published snapshot, as far as a lake tells of it.
pub struct Night {
    pub snapshot: SnapshotId,
    pub at: DateTime<Utc>,
    pub tables: Vec<NightTable>,
}

pub struct NightTable {
    pub name: ModelName,
    pub columns: Vec<NightColumn>,
    pub files: Vec<DataFile>,
}

pub struct NightColumn {
    pub name: String,
    /// Its number in the files, for the table's whole life.
    pub id: i32,
    pub data_type: DataType,
}

/// A store, as far as a lake follows it.
pub trait Shore: Sync {
    /// The store's id.
    fn store(&self) -> &str;
    /// What its tables' folders lie in: a folder or an address, with a slash at its end.
    fn tables(&self) -> Result<String>;
    /// The published snapshot, and since when it is.
    fn published(&self) -> (&SnapshotId, DateTime<Utc>);
    /// The kept snapshots, the published one among them, in the order in which they were published first.
    fn kept(&self) -> &[SnapshotId];
    /// One of them; none when it is of a store's older format, whose files have no numbers of columns.
    fn night(&self, snapshot: &SnapshotId) -> Result<Option<Night>>;
    /// Files, by table and name, that were written anew without somebody, and by which they were replaced.
    fn replaced(&self) -> &BTreeMap<String, DataFile>;
    /// What a file's footer tells.
    fn facts(&self, table: &NightTable, file: &DataFile) -> Result<FileFacts>;
}
