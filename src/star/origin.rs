//! Where a star's rows came from: the position of the source, and what was read of each table.

use serde::{Deserialize, Serialize};

use crate::name::SourceTable;

/// Where in the source's history a snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Position {
    Postgres {
        /// `pg_current_snapshot()`: the transactions that the snapshot sees.
        snapshot: String,
        system_identifier: Option<String>,
        timeline: Option<i64>,
        server_version: String,
        standby: bool,
    },
    Folder {
        files: Vec<FileState>,
    },
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
}
