//! Reads every table and every total of a Postgres snapshot, over all its sessions at once.

mod copy;
mod crew;
mod sink;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::folder::table_read;
use super::snapshot::SourceSnapshot;
use super::storage;
use super::{Extracted, Order};
use crate::clock;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::SourceTable;
use crate::pipeline::Pipeline;
use crate::progress::Progress;
use crate::star::design::Design;
use crate::star::number::Number;
use crate::star::origin::{Altered, Position};
use crate::star::staged::StagedTable;
use crate::star::table::DataFile;
use crate::star::{ControlTotals, Extract};

use crew::{Crew, Haul};
pub use sink::folder_name;
use sink::{Destination, Files, Nowhere, Sink, Staging};

/// What a night reads: tables at rest for its models, and every control's source side.
pub async fn extract(snapshot: SourceSnapshot, order: Order<'_>) -> Result<Extracted> {
    let zone = order.pipeline.deployment.timezone.name();
    let staging = Staging(Arc::clone(order.stage));
    let stored: BTreeMap<SourceTable, u64> =
        snapshot.storage.iter().map(|(table, storage)| (table.clone(), storage.bytes())).collect();
    let read = read(snapshot, order.pipeline, order.design, order.progress.clone(), staging, zone).await?;
    let Taken { tables: mut parts, mut altered, unmet, numbers, position, held_seconds } = read;
    let at = position.at().unwrap_or_else(clock::now);
    let (mut tables, mut reads) = (BTreeMap::new(), Vec::new());
    for (table, read) in &order.design.reads {
        let parts = parts.remove(table).unwrap_or_default();
        let staged = StagedTable::new(Arc::clone(&read.schema), &read.columns, parts);
        let altered = altered.remove(table).unwrap_or_default();
        reads.push(table_read(table, read, &staged, altered, stored.get(table).copied()));
        tables.insert(table.clone(), staged);
    }
    let numbers: Vec<Number> = numbers.into_values().collect();
    if numbers.len() != order.design.controls.len() {
        return Err(Error::new(ErrorKind::Bug, "a control's source side was not measured"));
    }
    fault::at(Point::ExtractDone).or_error(ErrorKind::Source, || "the extraction failed".to_owned())?;
    Ok(Extracted {
        extract: Extract { at, tables, unmet, totals: ControlTotals(numbers) },
        reads,
        position,
        held_seconds,
    })
}

/// In which tables that are taken as they are show their instants: every reader understands it.
pub const ZONE: &str = "UTC";

/// Everything that was asked for, as of one instant.
pub struct Taken<K> {
    pub tables: BTreeMap<SourceTable, Vec<K>>,
    pub altered: BTreeMap<SourceTable, Altered>,
    /// Tables that have rows, of which the models' own conditions left none.
    pub unmet: BTreeSet<SourceTable>,
    pub numbers: BTreeMap<usize, Number>,
    pub position: Position,
    pub held_seconds: f64,
}

/// Writes every table of the design as Parquet below `folder`.
pub async fn take(
    snapshot: SourceSnapshot,
    pipeline: &Arc<Pipeline>,
    design: &Arc<Design>,
    progress: Progress,
    folder: &std::path::Path,
) -> Result<Taken<DataFile>> {
    let files = Files { folder: folder.to_owned(), encodings: pipeline.deployment.store.encodings };
    read(snapshot, pipeline, design, progress, files, ZONE).await
}

/// Reads every table of the design, looks at every value, and keeps only how many rows there are.
pub async fn look_through(
    snapshot: SourceSnapshot,
    pipeline: &Arc<Pipeline>,
    design: &Arc<Design>,
    progress: Progress,
) -> Result<Taken<u64>> {
    read(snapshot, pipeline, design, progress, Nowhere, ZONE).await
}

async fn read<D: Destination>(
    snapshot: SourceSnapshot,
    pipeline: &Arc<Pipeline>,
    design: &Arc<Design>,
    progress: Progress,
    destination: D,
    zone: &'static str,
) -> Result<Taken<<D::Sink as Sink>::Kept>> {
    let SourceSnapshot { server, sessions, position, held_since, page_bytes, storage } = snapshot;
    let tasks = task::tasks(pipeline, design, &storage, page_bytes);
    let crew = Arc::new(Crew {
        pipeline: Arc::clone(pipeline),
        design: Arc::clone(design),
        server,
        progress,
        destination,
        held_since,
        at: position.at().unwrap_or_else(clock::now),
        zone,
        tasks: Mutex::new(tasks),
    });
    let Haul { parts: tables, altered, unmet, numbers, sessions } = crew.work(sessions).await?;
    if let Some(session) = sessions.first() {
        storage::unmoved(session, &crew.server, design).await?;
    }
    for session in &sessions {
        let ended = session.batch_execute("COMMIT").await;
        ended.map_err(|error| crew.server.error(error, "cannot end the source snapshot"))?;
    }
    let held_seconds = crew.held_since.elapsed().as_secs_f64();
    Ok(Taken { tables, altered, unmet, numbers, position, held_seconds })
}
