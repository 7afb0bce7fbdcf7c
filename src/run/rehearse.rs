//! Everything of a night up to publishing: plan, extract, build, audit, diff. A dry run ends here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::continued::{accepts, frozen, registry};
use super::masked::{Remasked, remasked};
use super::plan::{Plan, plan};
use super::report::{RunReport, TableReport};
use super::{Request, delivery, restored};
use crate::clock::Stopwatch;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::{ModelName, SourceTable};
use crate::pipeline::Pipeline;
use crate::progress::{Event, Progress};
use crate::source::{Extracted, Order};
use crate::star::audit::{Standards, Verdict, audit};
use crate::star::build::{Workshop, build};
use crate::star::diff::TableDiff;
use crate::star::diff::{StarView, diff};
use crate::star::origin::TableRead;
use crate::star::session::{Budget, Effort, Session, runtime};
use crate::star::staged::{Stage, require_folder};
use crate::star::{AuditedStar, BuiltStar};
use crate::store::{Beginning, Proof, Published, Scratch, Store, StoreWriter};

/// Where a rehearsal takes place.
pub struct Stand {
    store: Store,
    /// Where the star's files are written.
    star: PathBuf,
    scratch: Scratch,
}

impl Stand {
    /// A dry run writes into its scratch only.
    pub fn dry(store: Store, scratch: Scratch) -> Stand {
        Stand { store, star: scratch.folder().join("star"), scratch }
    }

    /// A run writes where its star can be published from.
    pub fn of(writer: &StoreWriter, scratch: Scratch) -> Stand {
        Stand { store: writer.store().clone(), star: writer.star_folder(&scratch), scratch }
    }
}

/// A star that has been proven and compared, ready to be published.
pub struct Rehearsal {
    pub pipeline: Arc<Pipeline>,
    pub star: AuditedStar,
    pub proof: Proof,
    /// Where its files may lie until they are published.
    pub scratch: Scratch,
}

/// The part of the memory budget in which small staged tables may stay.
const STAGED_SHARE: usize = 8;

pub async fn rehearse(
    pipeline: Pipeline,
    request: &Request,
    stand: Stand,
    progress: &Progress,
    report: &mut RunReport,
) -> Result<Rehearsal> {
    let watch = Stopwatch::start();
    progress.tell(Event::Step("plan"));
    let previous = match stand.store.latest_or_lost()? {
        Some(latest) => Some(stand.store.snapshot(&latest.snapshot)?),
        None => None,
    };
    same_pipeline(&stand.store, previous.as_ref(), &pipeline)?;
    let Plan { pipeline, design, source, changes, masked } = plan(pipeline, known(previous.as_ref())).await?;
    delivery::look_ahead(&pipeline, &design, request.purpose, report).await?;
    let before = previous.as_ref().map(|previous| &previous.manifest);
    let remasked = remasked(before, &masked, &pipeline, &design, &request.accept)?;
    report.warnings.extend(remasked.told());
    for change in &changes {
        progress.tell(Event::Note(format!("the source changed since the last run: {change}")));
    }
    report.source.changes = changes;
    report
        .warnings
        .extend(pipeline.warnings.iter().chain(&design.warnings).map(|warning| warning.message.clone()));
    frozen(previous.as_ref(), &pipeline, &design, request)?;
    let mut registry = registry(&stand.store, previous.as_ref(), &pipeline, &design, request, &remasked)?;
    let restored = match request.beginning {
        Beginning::Restored => {
            let completed =
                restored::complete(&pipeline, &design, &stand.store, &stand.star, &mut registry).await?;
            report.lost_corrections = completed.lost;
            completed.added
        }
        Beginning::Usual | Beginning::New => Vec::new(),
    };
    if !restored.is_empty() {
        let rows: u64 = restored.iter().map(|registration| registration.file.rows).sum();
        report
            .warnings
            .push(format!("{rows} keys that the restored store did not know were taken from its newer snapshots and the target"));
    }
    let budget =
        Budget { memory: pipeline.deployment.run.memory, scratch: stand.scratch.folder().to_owned() };
    let runtime = runtime(&budget)?;
    let stage = Stage::new(stand.scratch.folder(), pipeline.deployment.run.memory / STAGED_SHARE);
    report.step("plan", &watch);

    progress.tell(Event::Step("extract"));
    let watch = Stopwatch::start();
    let session = Session::new(pipeline.deployment.timezone, &runtime, Effort::Full)?;
    let order =
        Order { pipeline: &pipeline, design: &design, stage: &stage, session, progress: progress.clone() };
    let snapshot = source.snapshot(&pipeline, &design).await?;
    let Extracted { extract, reads, position, held_seconds } = snapshot.extract(order).await?;
    for read in &reads {
        report
            .warnings
            .extend(read.altered.iter().map(|(column, values)| altered(&read.table, column, *values)));
    }
    report.source.position = Some(position.clone());
    report.source.held_seconds = held_seconds;
    report.source.tables.clone_from(&reads);
    report.step("extract", &watch);

    progress.tell(Event::Step("build"));
    let watch = Stopwatch::start();
    require_folder(&stand.star)?;
    let columns = stand.store.latest()?.map(|latest| latest.columns).unwrap_or_default();
    let workshop =
        Workshop { runtime: Arc::clone(&runtime), stage, folder: stand.star.clone(), columns, registry };
    let done = |model: &ModelName, rows| progress.tell(Event::Table { table: model.to_string(), rows });
    let mut built = build(&pipeline, &design, extract, workshop, done).await?;
    built.registrations.splice(0..0, restored);
    report.tables = table_reports(&pipeline, &built);
    report.step("build", &watch);

    progress.tell(Event::Step("audit"));
    let watch = Stopwatch::start();
    let previous_rows = previous_rows(previous.as_ref());
    let standards = Standards {
        strictness: request.strictness,
        previous_rows: &previous_rows,
        allow_empty: &pipeline.source.allow_empty,
    };
    let star = match audit(&pipeline, &design, &runtime, standards, built).await? {
        Ok(star) => star,
        Err(failed) => {
            let refused = failed.lines.iter().filter(|line| line.verdict == Verdict::Failed).count();
            let total = failed.lines.len();
            report.controls = failed.lines;
            report.coverage = Some(failed.coverage);
            report.step("audit", &watch);
            return Err(Error::new(
                ErrorKind::Audit,
                format!("the audit refused the star: {refused} of {total} controls failed"),
            )
            .hint("nothing was published; mend the model or the source, and run again"));
        }
    };
    report.controls.clone_from(&star.lines);
    report.coverage = Some(star.coverage.clone());
    report.step("audit", &watch);
    fault::at(Point::AuditDone)
        .or_error(ErrorKind::Store, || "the run failed after its audit".to_owned())
        .map_err(|error| error.hint("nothing was published; run again"))?;

    progress.tell(Event::Step("diff"));
    let watch = Stopwatch::start();
    let published = previous.as_ref().map(|previous| &previous.star);
    let view = StarView::audited(&star);
    let mut changes = diff(pipeline.deployment.timezone, &runtime, published, &view).await?;
    remasked.hide(&mut changes.tables);
    tell_corrections(&stand.store, previous.as_ref(), &mut changes.tables)?;
    report.since.clone_from(&changes.since);
    report.diff.clone_from(&changes.tables);
    first_seen_stands(&pipeline, request, &remasked, report)?;
    report.step("diff", &watch);
    let Remasked { models: anew, masks } = remasked;
    let (created_at, steps) = (report.started_at, report.steps.clone());
    let proof = Proof { created_at, position, reads, diff: changes, steps, masks, anew };
    Ok(Rehearsal { pipeline, star, proof, scratch: stand.scratch })
}

/// What a policy did is the pipeline's will, and still said.
pub fn altered(table: &SourceTable, column: &str, values: u64) -> String {
    format!("{table}.{column}: {values} values became NULL or were moved, as `special` and `far_dates` say")
}

/// A store holds one pipeline's star; another's would be compared with it, and prune it away.
fn same_pipeline(store: &Store, previous: Option<&Published>, pipeline: &Pipeline) -> Result<()> {
    let holds = previous.map(|previous| &previous.manifest.pipeline.name);
    match holds {
        Some(name) if *name != pipeline.deployment.name => {
            let place = store.shown();
            Err(Error::new(
                ErrorKind::Pipeline,
                format!("the store {place} holds the star of the pipeline `{name}`"),
            )
            .hint("give this pipeline a store of its own: `url` in [store]"))
        }
        _ => Ok(()),
    }
}

fn known(previous: Option<&Published>) -> &[TableRead] {
    previous.map_or(&[], |previous| &previous.manifest.source)
}

fn previous_rows(previous: Option<&Published>) -> BTreeMap<SourceTable, u64> {
    let reads = previous.iter().flat_map(|previous| &previous.manifest.source);
    reads.map(|read| (read.table.clone(), read.rows)).collect()
}

fn table_reports(pipeline: &Pipeline, built: &BuiltStar) -> Vec<TableReport> {
    let mut reports = Vec::new();
    for (table, model) in built.tables.iter().zip(&pipeline.models) {
        let Some(report) = built.models.iter().find(|report| report.model == model.name) else { continue };
        reports.push(TableReport {
            table: model.name.to_string(),
            role: model.role.word().to_owned(),
            rows: table.rows(),
            bytes: table.bytes(),
            seconds: report.cost.wall_ms / 1_000.0,
            effort: report.effort,
        });
    }
    reports
}

/// What of first-seen values somebody changed on purpose, and the published star does not show yet.
fn tell_corrections(store: &Store, previous: Option<&Published>, tables: &mut [TableDiff]) -> Result<()> {
    let Some(latest) = store.latest_or_lost()? else { return Ok(()) };
    let published = previous.map(|previous| &previous.manifest.snapshot);
    for table in tables {
        let entry = latest.keys.iter().find(|(model, _)| model.as_str() == table.table);
        let corrections = entry.into_iter().flat_map(|(_, entry)| &entry.corrections);
        table.corrected = corrections.filter(|one| one.is_newer_than(published)).cloned().collect();
    }
    Ok(())
}

/// A value that is kept as it was when its row was first seen must not differ from the published
/// one, whatever the registry says.
fn first_seen_stands(
    pipeline: &Pipeline,
    request: &Request,
    remasked: &Remasked,
    report: &RunReport,
) -> Result<()> {
    for model in &pipeline.models {
        if accepts(&request.accept, &model.name) || remasked.models.contains(&model.name) {
            continue;
        }
        let Some(changes) = report.diff.iter().find(|diff| diff.table == model.name.as_str()) else {
            continue;
        };
        for column in &model.first_seen {
            let rows = changes.changed_columns.get(&column.value);
            if let Some(rows) = rows.filter(|rows| **rows > changes.corrected_rows(&column.value)) {
                let message = format!(
                    "{}.{} would change in {rows} rows, but keeps its first-seen value",
                    model.name, column.value
                );
                return Err(Error::new(ErrorKind::Audit, message).hint(
                    "the store's registry does not fit its snapshot: restore both from the same backup",
                ));
            }
        }
    }
    Ok(())
}
