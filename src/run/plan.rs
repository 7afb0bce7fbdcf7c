//! What a run would do: everything resolved and checked, no row read, nothing written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::delivery;
use crate::diagnostic::Diagnostic;
use crate::error::{Error, ErrorKind, Result};
use crate::load::Obstacle;
use crate::name::{SourceTable, list};
use crate::pipeline::catalog::{Catalog, RelationKind};
use crate::pipeline::model::Body;
use crate::pipeline::{self, Location, Pipeline, mistakes};
use crate::source::Source;
use crate::star::design::{Design, design};
use crate::star::drift::{SchemaChange, changes};
use crate::star::origin::TableRead;
use crate::star::session::{Budget, Effort, Session, runtime};
use crate::store::Store;

/// A pipeline that fits its source, and the source, still waiting.
pub struct Plan {
    pub pipeline: Arc<Pipeline>,
    pub design: Arc<Design>,
    pub source: Source,
    /// How the source's schema changed since the last run.
    pub changes: Vec<SchemaChange>,
    /// The masks of all columns that the source has, used or not.
    pub masked: BTreeMap<String, String>,
}

/// The plan of a pipeline whose store, if there is one that can be read, says what the last run read.
pub async fn planned(path: &Path) -> Result<Plan> {
    let (pipeline, found) = pipeline::read_with_mistakes(path)?;
    if found.iter().any(Diagnostic::is_error) {
        return Err(with_more(path, pipeline, found).await);
    }
    let pipeline = match pipeline {
        Some(pipeline) => Pipeline { warnings: found, ..pipeline },
        None => pipeline::read(path)?,
    };
    let published = Store::of(&pipeline.deployment.store).published().ok().flatten();
    let known = published.map(|published| published.manifest.source).unwrap_or_default();
    plan(pipeline, &known).await
}

/// The mistakes of a pipeline's own words, and those that the source shows, in one round.
async fn with_more(path: &Path, pipeline: Option<Pipeline>, mut found: Vec<Diagnostic>) -> Error {
    let shown = path.display().to_string();
    let more = async {
        let pipeline = pipeline?;
        let source = Source::open(&pipeline).await.ok()?;
        let catalog = source.catalog(&pipeline).await.ok()?;
        let budget = Budget { memory: pipeline.deployment.run.memory, scratch: std::env::temp_dir() };
        let session =
            Session::new(pipeline.deployment.timezone, &runtime(&budget).ok()?, Effort::Full).ok()?;
        design(&pipeline, &catalog, &session).await.ok()?.err()
    };
    for diagnostic in more.await.into_iter().flatten() {
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }
    mistakes(&shown, found)
}

/// Opens the source, reads its catalog, and holds the pipeline against it.
///
/// `known` is what the last run read: with it, a column that was dropped is told from one that never
/// was, and is the source's fault, not the pipeline's.
pub async fn plan(pipeline: Pipeline, known: &[TableRead]) -> Result<Plan> {
    let most = pipeline.source.snapshot_max;
    let told = async {
        let source = Source::open(&pipeline).await?;
        let catalog = source.catalog(&pipeline).await?;
        Ok((source, catalog))
    };
    let silent = |most| {
        Error::new(ErrorKind::Source, format!("the source did not tell of its tables within {most}"))
            .hint("see whether the server answers: psql; `snapshot_max` in [source] bounds the wait")
    };
    let (source, catalog) = in_time(most, told, silent).await?;
    // What is planned here is not the server's time.
    let slow = |most| {
        Error::new(ErrorKind::Source, format!("the models were not planned and held against the source within {most}"))
            .hint("a model that nests deeply or is very long takes long to plan, and is named in the log then; else see whether the server answers; `snapshot_max` in [source] bounds the wait")
    };
    in_time(most.saturating_add(PLANNING), held(pipeline, known, source, catalog), slow).await
}

/// How long the models of a pipeline may be planned at most, besides what the server takes.
const PLANNING: Duration = Duration::from_secs(60);

async fn in_time<T>(
    most: Duration,
    told: impl Future<Output = Result<T>>,
    late: impl Fn(humantime::FormattedDuration) -> Error,
) -> Result<T> {
    let told = tokio::time::timeout(most, told).await;
    told.map_err(|_| late(humantime::format_duration(most)))?
}

/// A pipeline held against what its source has.
async fn held(pipeline: Pipeline, known: &[TableRead], source: Source, catalog: Catalog) -> Result<Plan> {
    // Planning needs no scratch of its own; the engine makes a folder only when it spills.
    let budget = Budget { memory: pipeline.deployment.run.memory, scratch: std::env::temp_dir() };
    let session = Session::new(pipeline.deployment.timezone, &runtime(&budget)?, Effort::Full)?;
    let design = match design(&pipeline, &catalog, &session).await? {
        Ok(design) => design,
        Err(found) => {
            let changes = changes(known, &catalog, &|_| None);
            let lost = lost(known, &catalog);
            let touched = changes.iter().any(|change| change.takes_away() && !change.models.is_empty());
            return Err(match !lost.is_empty() || touched {
                true => schema_changed(&lost, &changes, found),
                false => mistakes(&pipeline.deployment.document.path, found),
            });
        }
    };
    not_denied(&source, &design).await?;
    source.require_judgeable(&pipeline, &design, &session).await?;
    let mut refused = refused_filters(&source, &pipeline, &catalog, &design).await?;
    // A wrong condition stands in every total, and would be told again for each.
    if refused.is_empty() {
        refused = refused_controls(&source, &pipeline, &design).await?;
    }
    if !refused.is_empty() {
        return Err(mistakes(&pipeline.deployment.document.path, refused));
    }
    let changes = changes(known, &catalog, &|table| design.reads.get(table).cloned());
    let masked = masked(&catalog);
    Ok(Plan { pipeline: Arc::new(pipeline), design: Arc::new(design), source, changes, masked })
}

fn masked(catalog: &Catalog) -> BTreeMap<String, String> {
    let columns = catalog.relations.iter().flat_map(|(table, relation)| {
        relation.columns.iter().map(move |column| (format!("{table}.{}", column.name), column))
    });
    columns.filter_map(|(full, column)| Some((full, column.mask.as_ref()?.record()))).collect()
}

/// The role may read every table, and sees all its rows.
pub(super) async fn not_denied(source: &Source, design: &Design) -> Result<()> {
    let Source::Postgres(source) = source else { return Ok(()) };
    match source.denied(design).await? {
        Some(denied) => Err(denied),
        None => Ok(()),
    }
}

/// What the last run read and the source has no more.
fn lost(known: &[TableRead], catalog: &Catalog) -> Vec<String> {
    let mut lost = Vec::new();
    for read in known {
        let Some(relation) = catalog.relations.get(&read.table) else {
            lost.push(format!("the table {}", read.table));
            continue;
        };
        let columns = read.columns.iter().filter(|name| relation.column(name).is_none());
        lost.extend(columns.map(|name| format!("the column {}.{name}", read.table)));
    }
    lost
}

fn schema_changed(lost: &[String], changes: &[SchemaChange], found: Vec<Diagnostic>) -> Error {
    let message = match lost {
        [] => "the source's schema changed since the last run, and the pipeline does not fit it any more"
            .to_owned(),
        _ => format!("the source's schema changed since the last run: it has no more {}", list(lost)),
    };
    let error =
        changes.iter().fold(Error::new(ErrorKind::Fit, message), |error, change| error.at("changed", change));
    error
        .with_diagnostics(found)
        .hint("if it was renamed, follow it in the SQL above; if it is gone for good, remove it there")
}

/// A condition that the server refuses is the pipeline's mistake, with its place.
async fn refused_filters(
    source: &Source,
    pipeline: &Pipeline,
    catalog: &Catalog,
    design: &Design,
) -> Result<Vec<Diagnostic>> {
    let Source::Postgres(source) = source else { return Ok(Vec::new()) };
    for filter in &pipeline.source.filters {
        if let [first, ..] = source.volatile(&filter.calls).await?.as_slice() {
            let message =
                format!("`{first}` is volatile: it may answer otherwise in every session and every run");
            let refused = Diagnostic::error(message)
                .at(&pipeline.deployment.document, filter.condition.span.clone())
                .help("declare it STABLE or IMMUTABLE if it is, or write the condition without it");
            return Ok(vec![refused]);
        }
    }
    let refused = source.refused_filters(design).await?;
    let diagnostics = refused.into_iter().map(|(table, reason)| {
        let own = pipeline.source.filters_of(catalog, &table).next();
        let span = own.map_or(0..0, |filter| filter.condition.span.clone());
        Diagnostic::error(format!("the condition of {table}: {reason}"))
            .at(&pipeline.deployment.document, span)
            .help("it is SQL that the source's server evaluates, over that table's columns")
    });
    Ok(diagnostics.collect())
}

/// Only the server can judge SQL that it is going to run.
async fn refused_controls(source: &Source, pipeline: &Pipeline, design: &Design) -> Result<Vec<Diagnostic>> {
    let Source::Postgres(source) = source else { return Ok(Vec::new()) };
    let refused = source.refused_controls(design).await?;
    let diagnostics = refused.into_iter().map(|(index, reason)| {
        let control = &pipeline.controls[index];
        let sql = control.source.sql();
        Diagnostic::error(format!("the source's side of \"{}\" of {}: {reason}", control.name, control.model))
            .at(&sql.document, sql.whole())
            .help("it is SQL that the source's server runs, over its own tables")
    });
    Ok(diagnostics.collect())
}

/// The plan as people and JSON see it.
#[derive(Debug, Serialize)]
pub struct PlanSummary {
    pub pipeline: String,
    pub source: String,
    pub connections: usize,
    pub reads: Vec<PlannedRead>,
    pub builds: Vec<PlannedModel>,
    pub controls: usize,
    pub store: String,
    pub target: Option<String>,
    pub changes: Vec<SchemaChange>,
    pub warnings: Vec<String>,
    /// What stands in its way into the target.
    pub obstacles: Vec<Obstacle>,
}

#[derive(Debug, Serialize)]
pub struct PlannedRead {
    pub table: SourceTable,
    pub kind: RelationKind,
    pub columns: Vec<String>,
    /// How many columns the table has.
    pub of_columns: usize,
    pub estimated_rows: Option<u64>,
    pub bytes: Option<u64>,
    /// Which rows are read, when not all.
    pub filter: Option<String>,
    /// The lock that is taken; none for what cannot be locked.
    pub lock: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct PlannedModel {
    pub table: String,
    pub role: &'static str,
    pub key: Vec<String>,
    pub reads: Vec<String>,
    pub columns: usize,
    pub file: Option<String>,
}

impl Plan {
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.pipeline.warnings.iter().chain(&self.design.warnings)
    }

    /// What stands in the way of its star into the target, or why the target could not be looked at.
    pub async fn obstacles(&self) -> std::result::Result<Vec<Obstacle>, String> {
        let found = delivery::obstacles(&self.pipeline, &self.design).await;
        found.map_err(|error| format!("the target could not be looked at: {}", error.told_whole()))
    }

    pub async fn summary(&self) -> PlanSummary {
        let (obstacles, unseen) = match self.obstacles().await {
            Ok(found) => (found, None),
            Err(unseen) => (Vec::new(), Some(unseen)),
        };
        let (pipeline, design) = (&self.pipeline, &self.design);
        let on_server = matches!(pipeline.source.url, Location::Postgres(_));
        let reads = design.reads.iter().map(|(table, read)| PlannedRead {
            table: table.clone(),
            kind: read.relation.kind,
            columns: read.columns.iter().map(|column| read.schema.field(*column).name().clone()).collect(),
            of_columns: read.relation.columns.len(),
            estimated_rows: read.relation.estimated_rows,
            bytes: read.relation.bytes,
            filter: read.filter.clone(),
            lock: match read.relation.kind {
                RelationKind::Table | RelationKind::PartitionedTable | RelationKind::View => {
                    on_server.then_some("ACCESS SHARE")
                }
                _ => None,
            },
        });
        let builds = pipeline.models.iter().zip(&design.models).map(|(model, design)| PlannedModel {
            table: model.name.to_string(),
            role: model.role.word(),
            key: model.key_columns(),
            reads: model.reads.iter().map(ToString::to_string).collect(),
            columns: design.contract.schema.fields().len(),
            file: match &model.body {
                Body::Sql(sql) => Some(sql.document.path.to_string()),
                Body::Junk(_) | Body::Calendar(_) | Body::Times(_) => None,
            },
        });
        PlanSummary {
            pipeline: pipeline.deployment.name.clone(),
            source: pipeline.source.url.to_string(),
            connections: if on_server { pipeline.source.connections } else { 0 },
            reads: reads.collect(),
            builds: builds.collect(),
            controls: pipeline.controls.len(),
            store: pipeline.deployment.store.place.to_string(),
            target: pipeline
                .deployment
                .target
                .as_ref()
                .map(|target| format!("{} (schema {})", target.url, target.schema)),
            changes: self.changes.clone(),
            warnings: self.warnings().map(|warning| warning.message.clone()).chain(unseen).collect(),
            obstacles,
        }
    }
}
