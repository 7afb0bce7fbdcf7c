//! A first-seen value that somebody changed on purpose.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::diff::TableDiff;
use crate::name::SnapshotId;

/// What was changed, by whom, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    pub at: DateTime<Utc>,
    /// As `user@host`.
    pub by: String,
    /// `column=value` pairs of the row's key.
    pub key: String,
    pub column: String,
    pub old: Option<String>,
    pub new: Option<String>,
    pub because: String,
    /// The snapshot that shows it first; none until the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
}

impl Correction {
    /// Whether a star that was published then does not show it yet.
    pub fn is_newer_than(&self, snapshot: Option<&SnapshotId>) -> bool {
        match (&self.snapshot, snapshot) {
            (Some(shown), Some(published)) => shown > published,
            (None, _) => true,
            (Some(_), None) => false,
        }
    }
}

impl TableDiff {
    /// How many rows of a first-seen column were changed by somebody's word.
    pub fn corrected_rows(&self, column: &str) -> u64 {
        let mut keys: Vec<&str> = (self.corrected.iter())
            .filter(|correction| correction.column == column)
            .map(|correction| correction.key.as_str())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len() as u64
    }
}
