//! What a pipeline is: one star, as its TOML file and its SQL files declare it.
//!
//! `file` says what the TOML holds, with places; `resolve` turns it into a [`Pipeline`], reporting
//! every mistake at once. Nothing here knows the source's tables: that is the plan's.

pub mod calendar;
pub mod catalog;
pub mod control;
mod cron;
mod deployment;
pub mod fact;
mod file;
pub mod filter;
mod mask;
pub mod model;
mod model_file;
pub mod notify;
mod place;
mod relations;
mod resolve;
pub mod schedule;
mod section;
mod settings;
pub mod sql;
pub mod times;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;

use crate::diagnostic::{Diagnostic, Document};
use crate::name::ModelName;
use crate::secret;
use control::Control;
use filter::SourceFilter;
use model::Model;
use notify::NotifySettings;
use schedule::Schedule;

pub use crate::pgcopy::policy::{ColumnAs, Decimal, Extremes, FarDates, Special, TypePolicy};
pub use place::{BucketSettings, Place, Service, is_address};
pub use resolve::{deployment, mistakes, read, read_source, read_with_mistakes};
pub use section::Spanned;

/// One star, declared. Models stand in build order: each after those it reads.
#[derive(Debug)]
pub struct Pipeline {
    pub deployment: Deployment,
    pub source: SourceSettings,
    pub models: Vec<Model>,
    pub controls: Vec<Control>,
    pub warnings: Vec<Diagnostic>,
    /// Models that are declared and could not be read. A pipeline that is run has none.
    pub unread: Vec<String>,
}

/// Where a pipeline runs, where its star goes, who is told. Whoever operates a published star needs
/// no more than this, and it can be read while the models are broken.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub name: String,
    pub description: Option<String>,
    pub timezone: Tz,
    /// The folder that holds `pipelines/` and `sql/`; relative paths are relative to it.
    pub project: PathBuf,
    pub store: StoreSettings,
    pub run: RunSettings,
    /// Functions that are taken as the engine answers them.
    pub allow: Vec<String>,
    pub target: Option<TargetSettings>,
    pub schedule: Option<Schedule>,
    pub notify: NotifySettings,
    pub document: Document,
}

impl Pipeline {
    pub fn model(&self, name: &ModelName) -> Option<&Model> {
        self.models.iter().find(|model| &model.name == name)
    }
}

/// How long a server may be silent when nothing else is said.
pub const SILENT_MAX: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
pub struct SourceSettings {
    pub url: Location,
    pub schemas: Vec<String>,
    pub connections: usize,
    pub snapshot_max: Duration,
    /// How long its server, or a session with it, may not answer at all.
    pub silent_max: Duration,
    pub lock_timeout: Duration,
    /// How long one statement may take; none is what the server allows the role.
    pub statement_timeout: Option<Duration>,
    pub types: TypePolicy,
    pub filters: Vec<SourceFilter>,
    /// Source tables that may become empty from one night to the next.
    pub allow_empty: Vec<Spanned<String>>,
    /// Relations that are not in the snapshot (foreign tables) but may be read all the same.
    pub allow_foreign: Vec<Spanned<String>>,
}

#[derive(Debug, Clone)]
pub struct StoreSettings {
    pub place: Place,
    pub keep: usize,
    /// A snapshot that was published so recently may still have readers, and is not pruned.
    pub grace: Duration,
    /// How long the reports of runs are kept.
    pub keep_runs: Duration,
    pub encodings: Encodings,
    /// Bytes after which a table goes on in another file, about.
    pub file_size: u64,
    /// Whether `lake.sqlite` tells other engines of its snapshots.
    pub lake: bool,
    /// Whether each of its tables has a Delta log.
    pub delta: bool,
}

/// Which of Parquet's encodings files are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encodings {
    /// Differences of numbers too, which make files small and quick to write.
    Delta,
    /// Plain values and dictionaries alone, which every reader knows.
    Plain,
}

#[derive(Debug, Clone)]
pub struct RunSettings {
    pub memory: usize,
    pub scratch: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct TargetSettings {
    pub url: PostgresUrl,
    pub schema: String,
    /// The schema of a lake that tells other engines of the store's snapshots.
    pub lake: Option<String>,
    /// How long its server may not answer at all.
    pub silent_max: Duration,
    /// How long a statement waits for a lock. Then it lets go, so that others come through, and the delivery is tried again for
    /// `lock_wait`.
    pub lock_timeout: Duration,
    pub lock_wait: Duration,
    /// How long a statement may take; none is what the server allows the role.
    pub statement_timeout: Option<Duration>,
    /// As whom it writes; none as whom it connects.
    pub role: Option<String>,
    /// Whether views of others are made again when a column that they read gets another type; else they stand in its way.
    pub recreates_views: bool,
    /// Whether facts point at their dimensions by foreign keys.
    pub foreign_keys: bool,
}

/// Where a source is.
#[derive(Debug, Clone)]
pub enum Location {
    Postgres(PostgresUrl),
    Folder(PathBuf),
}

impl Location {
    pub fn is_postgres(&self) -> bool {
        matches!(self, Location::Postgres(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Postgres(url) => url.fmt(f),
            Location::Folder(folder) => folder.display().fmt(f),
        }
    }
}

/// A connection string. It prints without its password; only a connection sees the whole.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    pub fn new(url: impl Into<String>) -> PostgresUrl {
        PostgresUrl(url.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return "postgres".to_owned() };
        // A password may hold any of :/?@, written raw. What stands before the first colon is the
        // user, what follows the last @ the host; when the two can't be told apart, neither is shown.
        let shown = match (rest.split_once('@'), rest.rsplit_once('@')) {
            (Some((first, _)), Some((before, host))) => {
                let user = first.split([':', '/', '?']).next().unwrap_or_default();
                let parameters = before.contains('?') && before.contains('=');
                if parameters { "…".to_owned() } else { format!("{user}@{host}") }
            }
            _ => rest.to_owned(),
        };
        // A password may also stand in the query: ?password=…
        let shown = format!("{scheme}://{}", shown.split('?').next().unwrap_or_default());
        secret::without(&shown).into_owned()
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({})", self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_prints_without_its_password_however_it_is_written() {
        for (url, shown) in [
            ("postgres://ann:hunter2@db:5432/shop", "postgres://ann@db:5432/shop"),
            ("postgres://ann:hun/ter2@db/shop", "postgres://ann@db/shop"),
            ("postgres://ann:hun?ter2@db/shop", "postgres://ann@db/shop"),
            ("postgres://ann:hun@ter2@db/shop", "postgres://ann@db/shop"),
            ("postgres://ann@db/shop?password=hunter2", "postgres://ann@db/shop"),
            ("postgres://db/shop?password=hun@ter2", "postgres://…"),
            ("postgresql://db/shop", "postgresql://db/shop"),
        ] {
            assert_eq!(PostgresUrl::new(url).to_string(), shown);
            assert!(!format!("{:?}", PostgresUrl::new(url)).contains("ter2"));
        }
    }
}
