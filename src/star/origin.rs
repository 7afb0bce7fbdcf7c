//! Where a star's rows came from: the position of the source, and what was read of each table.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::name::{ModelName, SourceTable};
use crate::pipeline::catalog::SourceColumn;

/// Where in the source's history a snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Position {
    Postgres {
        /// `pg_current_snapshot()`: the transactions that the snapshot sees.
        snapshot: String,
        system_identifier: Option<String>,
        timeline: Option<i64>,
        /// Snapshots of an older starmill don't say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        server_version: String,
        standby: bool,
        /// The server's clock when the snapshot was taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<DateTime<Utc>>,
    },
    Folder {
        files: Vec<FileState>,
    },
}

impl Position {
    /// The instant of the source, where it is known.
    pub fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Position::Postgres { at, .. } => *at,
            Position::Folder { files } => {
                files.iter().filter_map(|file| file.modified.as_ref()?.parse().ok()).max()
            }
        }
    }
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    pub name: String,
    pub bytes: u64,
    pub modified: Option<String>,
}

/// What was read of one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableRead {
    pub table: SourceTable,
    pub columns: Vec<String>,
    pub rows: u64,
    /// Bytes in Arrow's memory form.
    pub bytes: u64,
    /// Bytes that the table takes where it lies: heap and TOAST in Postgres, without indexes; its file in a folder. None
    /// of a view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// Which rows were read, when not all, in Postgres's SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub altered: Altered,
    /// What stood in the place of which column's values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, String>,
    /// Every column that the table had, read or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<ReadColumn>,
}

/// How many values of each column a policy turned into NULL or moved; without those that have none.
pub type Altered = BTreeMap<String, u64>;

/// A column of a table as it was when the table was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its place in the table, which a rename keeps.
    pub number: i32,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub used_by: BTreeSet<ModelName>,
}

impl ReadColumn {
    /// Of which nobody knows yet who uses it.
    pub fn of(column: &SourceColumn) -> ReadColumn {
        ReadColumn {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            number: column.number,
            used_by: BTreeSet::new(),
        }
    }
}
