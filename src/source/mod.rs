//! Where the rows come from: Postgres as of one instant, or a folder of CSV files.

mod catalog;
mod extract;
mod folder;
mod privilege;
mod snapshot;
mod storage;

use std::sync::Arc;

use crate::error::Result;
use crate::pipeline::catalog::Catalog;
use crate::pipeline::{Location, Pipeline};
use crate::progress::Progress;
use crate::star::Extract;
use crate::star::design::Design;
use crate::star::origin::{Position, TableRead};
use crate::star::session::Session;
use crate::star::staged::Stage;

pub use extract::{Taken, ZONE, folder_name, look_through, take};
use folder::Folder;
pub use snapshot::{PostgresSource, SourceSnapshot as PostgresSnapshot};

/// A source that answers, before any snapshot is taken.
pub enum Source {
    Postgres(Box<PostgresSource>),
    Folder(Folder),
}

/// A source at one instant.
pub enum SourceSnapshot {
    Postgres(Box<PostgresSnapshot>),
    Folder(Folder),
}

/// What an extraction needs besides the snapshot.
pub struct Order<'a> {
    pub pipeline: &'a Arc<Pipeline>,
    pub design: &'a Arc<Design>,
    pub stage: &'a Arc<Stage>,
    /// For a folder's totals, which have no server to measure them.
    pub session: Session,
    pub progress: Progress,
}

/// What an extraction gave.
pub struct Extracted {
    pub extract: Extract,
    pub reads: Vec<TableRead>,
    pub position: Position,
    /// How long the source held the snapshot, in seconds.
    pub held_seconds: f64,
}

impl Source {
    pub async fn open(pipeline: &Pipeline) -> Result<Source> {
        match &pipeline.source.url {
            Location::Postgres(url) => {
                Ok(Source::Postgres(Box::new(PostgresSource::connect(url, pipeline).await?)))
            }
            Location::Folder(folder) => Ok(Source::Folder(Folder::open(folder)?)),
        }
    }

    /// Every relation that could be read, as of now.
    pub async fn catalog(&self, pipeline: &Pipeline) -> Result<Catalog> {
        match self {
            Source::Postgres(source) => source.catalog(&pipeline.source.types).await,
            Source::Folder(folder) => folder.catalog(&pipeline.source.types),
        }
    }

    /// Whether all that the source's rows are held against here can be judged here.
    pub async fn require_judgeable(
        &self,
        pipeline: &Pipeline,
        design: &Design,
        session: &Session,
    ) -> Result<()> {
        match self {
            Source::Postgres(_) => Ok(()),
            Source::Folder(folder) => folder.require_judgeable(pipeline, design, session).await,
        }
    }

    /// Locks what the design reads, then takes the snapshot, then confirms the catalog inside it.
    pub async fn snapshot(self, pipeline: &Pipeline, design: &Design) -> Result<SourceSnapshot> {
        match self {
            Source::Postgres(source) => {
                Ok(SourceSnapshot::Postgres(Box::new(source.snapshot(pipeline, design).await?)))
            }
            Source::Folder(folder) => Ok(SourceSnapshot::Folder(folder)),
        }
    }
}

impl SourceSnapshot {
    /// Reads every table and measures every control's source side, then lets the snapshot go.
    pub async fn extract(self, order: Order<'_>) -> Result<Extracted> {
        match self {
            SourceSnapshot::Postgres(snapshot) => extract::extract(*snapshot, order).await,
            SourceSnapshot::Folder(folder) => folder::extract(folder, order).await,
        }
    }
}
