//! Builds the star: every model after those it reads, two at a time, each straight into Parquet.

mod remember;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{displayable, execute_stream};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::columns::ColumnIds;
use super::compose;
use super::days;
use super::design::{Design, ModelDesign};
use super::junk;
use super::parts::{Layout, PartsWriter};
use super::register::Registrar;
use super::schema::publish_batch;
use super::session::{Effort, Session, is_exhausted, model_error, source_reference, star_reference};
use super::staged::{Stage, StageFailure, require_folder, stage_stream};
use super::table::{Provenance, StarTable};
use super::times;
use super::{BuiltStar, Extract, Kept, Registration, Registry, SourceTables, calendar, shelf};
use crate::clock::{Cost, Stopwatch};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::fault::{self, Point};
use crate::name::ModelName;
use crate::pipeline::Pipeline;
use crate::pipeline::model::{Body, Model};

/// What the builder is given besides the source's rows.
pub struct Workshop {
    pub runtime: Arc<RuntimeEnv>,
    pub stage: Arc<Stage>,
    /// Where the star's tables are written: `<folder>/<model>/part-0.parquet` and so on.
    pub folder: PathBuf,
    /// The numbers that columns were given before.
    pub columns: BTreeMap<ModelName, ColumnIds>,
    pub registry: BTreeMap<ModelName, Registry>,
}

/// How one model was built.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelReport {
    pub model: ModelName,
    pub effort: Effort,
    pub cost: Cost,
}

/// Builds every model. `done` hears of each table as it is finished.
pub async fn build(
    pipeline: &Arc<Pipeline>,
    design: &Arc<Design>,
    extract: Extract,
    workshop: Workshop,
    done: impl Fn(&ModelName, u64),
) -> Result<BuiltStar> {
    let (at, unmet) = (extract.at, extract.unmet);
    let builder = Arc::new(Builder {
        pipeline: Arc::clone(pipeline),
        design: Arc::clone(design),
        at,
        source: extract.tables,
        workshop,
        alone: RwLock::new(()),
    });
    let mut waiting: Vec<usize> = (0..pipeline.models.len()).collect();
    let mut finished: BTreeMap<ModelName, StarTable> = BTreeMap::new();
    let (mut registrations, mut reports) = (Vec::new(), Vec::new());
    let mut histories = BTreeMap::new();
    let mut running: JoinSet<Result<Built>> = JoinSet::new();
    loop {
        while running.len() < CONCURRENT_MODELS
            && let Some(at) = waiting.iter().position(|index| {
                pipeline.models[*index].reads.iter().all(|read| finished.contains_key(read))
            })
        {
            let index = waiting.remove(at);
            let builder = Arc::clone(&builder);
            let star: Vec<StarTable> = finished.values().cloned().collect();
            running.spawn(async move { builder.model(index, &star).await });
        }
        let Some(joined) = running.join_next().await else { break };
        let built = joined.or_error(ErrorKind::Bug, || "a model's task ended by itself".to_owned())??;
        done(built.table.name(), built.table.rows());
        histories.extend(built.kept.map(|kept| (built.table.name().clone(), kept)));
        registrations.extend(built.registration);
        reports.push(built.report);
        finished.insert(built.table.name().clone(), built.table);
    }
    let tables = pipeline.models.iter().filter_map(|model| finished.remove(&model.name)).collect();
    // The JoinSet is empty, so no task holds the builder any more.
    let source = Arc::into_inner(builder).map(|builder| builder.source).unwrap_or_default();
    let (totals, models) = (extract.totals, reports);
    Ok(BuiltStar { at, tables, totals, registrations, models, histories, source, unmet })
}

/// One model decodes and joins while another encodes; more would only share out the memory.
const CONCURRENT_MODELS: usize = 2;

struct Built {
    table: StarTable,
    registration: Option<Registration>,
    /// Of a dimension that keeps its history.
    kept: Option<Kept>,
    report: ModelReport,
}

/// What an attempt made.
struct Made {
    table: StarTable,
    registration: Option<Registration>,
    kept: Option<Kept>,
}

struct Builder {
    at: DateTime<Utc>,
    pipeline: Arc<Pipeline>,
    design: Arc<Design>,
    source: SourceTables,
    workshop: Workshop,
    /// Held for reading by models built in full, for writing by one that needs all the memory.
    alone: RwLock<()>,
}

/// Why an attempt failed: another, more frugal one may pass, or none will.
enum Failure {
    Engine(DataFusionError),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

impl From<StageFailure> for Failure {
    fn from(failure: StageFailure) -> Failure {
        match failure {
            StageFailure::Engine(error) => Failure::Engine(error),
            StageFailure::Ours(error) => Failure::Final(error),
        }
    }
}

impl Builder {
    async fn model(&self, index: usize, star: &[StarTable]) -> Result<Built> {
        let (model, design) = (&self.pipeline.models[index], &self.design.models[index]);
        fault::at(Point::BuildModel)
            .or_error(ErrorKind::Model, || format!("building {} failed", model.name))?;
        let watch = Stopwatch::start();
        let mut exhausted = None;
        for effort in Effort::ALL {
            let attempt = match effort {
                Effort::Full => {
                    let _shared = self.alone.read().await;
                    self.attempt(model, design, star, effort).await
                }
                Effort::Frugal | Effort::Spilling => {
                    let _alone = self.alone.write().await;
                    self.attempt(model, design, star, effort).await
                }
            };
            match attempt {
                Ok(Made { table, registration, kept }) => {
                    let report = ModelReport { model: model.name.clone(), effort, cost: watch.cost() };
                    return Ok(Built { table, registration, kept, report });
                }
                Err(Failure::Engine(error)) if is_exhausted(&error) => {
                    let reason = error.strip_backtrace();
                    tracing::info!(model = %model.name, ?effort, reason, "memory is exhausted; building more frugally");
                    exhausted = Some(error);
                }
                Err(Failure::Engine(error)) => return Err(self.failed(model, error)),
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        let error = exhausted.unwrap_or(DataFusionError::Internal("no attempt was made".to_owned()));
        Err(self.failed(model, error))
    }

    fn failed(&self, model: &Model, error: DataFusionError) -> Error {
        let error = model_error(error, format!("the model {} failed", model.name));
        match &model.body {
            Body::Sql(sql) => error.at("file", &sql.document.path),
            Body::Junk(_) | Body::Calendar(_) | Body::Times(_) => error,
        }
    }

    /// What a model's SELECT gives; a junk dimension's rows are those of its facts' SELECTs.
    async fn own_plan(&self, session: &Session, model: &Model) -> Result<LogicalPlan, Failure> {
        let names: Vec<&ModelName> = match &model.body {
            Body::Junk(junk) => junk.from.iter().map(|(fact, _)| fact).collect(),
            _ => vec![&model.name],
        };
        let mut plans = Vec::new();
        for name in names {
            let mut designs = self.pipeline.models.iter().zip(&self.design.models);
            let statement = designs
                .find(|(model, _)| model.name == *name)
                .and_then(|(_, design)| design.statement.clone());
            let statement = statement.ok_or_else(|| Error::new(ErrorKind::Bug, "a model without SQL"))?;
            plans.push(session.plan_model(statement).await.map_err(Failure::Engine)?);
        }
        match (&model.body, plans.pop()) {
            (Body::Junk(junk), last) => {
                plans.extend(last);
                junk::combinations(junk, plans).map_err(Failure::Engine)
            }
            (_, Some(plan)) => Ok(plan),
            (_, None) => Err(Error::new(ErrorKind::Bug, "a model without SQL").into()),
        }
    }

    /// A table whose rows are made without a SELECT.
    fn built_in(
        &self,
        model: &Model,
        design: &ModelDesign,
        rows: Result<RecordBatch, ArrowError>,
    ) -> Result<Made, Failure> {
        let rows = rows.or_error(ErrorKind::Bug, || format!("the rows of {}", model.name))?;
        let mut writer = self.writer(model, design)?;
        writer.write(rows)?;
        Ok(Made { table: self.table(model, design, writer)?, registration: None, kept: None })
    }

    async fn attempt(
        &self,
        model: &Model,
        design: &ModelDesign,
        star: &[StarTable],
        effort: Effort,
    ) -> Result<Made, Failure> {
        if let Body::Times(times) = model.body {
            let rows = times::rows(times, model.unknown());
            return self.built_in(model, design, rows);
        }
        if let Body::Calendar(calendar) = &model.body {
            let days = match calendar.grows() {
                true => self.days(&self.session(star, effort)?, model).await?,
                false => None,
            };
            let span = days::span(calendar, days, self.at).map_err(|error| error.at("model", &model.name))?;
            return self.built_in(model, design, calendar::rows(calendar, span, model.unknown()));
        }
        let session = self.session(star, effort)?;
        let plan = self.own_plan(&session, model).await?;
        let plan = self.with_members(&session, model, plan).await?;
        let mut registrar = model.registered().then(|| self.registrar(model, design));
        let (mut registration, mut kept) = (None, None);
        match (registrar.take(), model.surrogate()) {
            // New keys are numbered before the model's rows can carry them, so the rows are kept.
            (Some(registrar), Some(_)) => {
                let rows = stage_stream(&self.workshop.stage, run(&session, plan).await?).await?;
                let given = rows.rows();
                session.add(compose::model_reference(&model.name), Arc::new(rows))?;
                (registration, kept) = self.number(&session, model, registrar, given).await?;
            }
            (unnumbered, _) => {
                let view = Arc::new(ViewTable::new(plan, None));
                session.add(compose::model_reference(&model.name), view)?;
                if let Some(registrar) = &unnumbered {
                    session.add(compose::registry_reference(&model.name), registrar.known())?;
                }
                registrar = unnumbered;
            }
        }
        let published = self.pipeline.models.iter().zip(&self.design.models);
        let published =
            published.map(|(model, design)| (model.name.clone(), Arc::clone(&design.contract.schema)));
        let text = compose::published_sql(
            &self.pipeline,
            model,
            &design.raw,
            &design.contract.sort,
            &published.collect(),
        );
        let plan = session.plan_text(&text).await.map_err(Failure::Engine)?;
        let mut stream = run(&session, plan).await?;
        let mut writer = self.writer(model, design)?;
        while let Some(batch) = stream.next().await {
            let mut batch = batch.map_err(Failure::Engine)?;
            if let Some(registrar) = &mut registrar {
                batch = keep_new_rows(batch, registrar)?;
            }
            let batch = publish_batch(&batch, &design.contract.schema).map_err(|reason| {
                Error::new(ErrorKind::Model, format!("the model {} gave a value that its column cannot hold", model.name))
                    .caused_by(reason)
                    .hint("where a number is too large, cast to a wider type: CAST(x AS numeric(38,2)); leave other values out")
            })?;
            writer.write(batch)?;
        }
        if let Some(registrar) = registrar {
            registration = registrar.finish()?.map(|(registration, _)| registration);
        }
        Ok(Made { table: self.table(model, design, writer)?, registration, kept })
    }

    fn zone(&self) -> &'static str {
        self.pipeline.deployment.timezone.name()
    }

    fn registrar<'a>(&self, model: &'a Model, design: &ModelDesign) -> Registrar<'a> {
        let registry = self.workshop.registry.get(&model.name).cloned().unwrap_or_default();
        Registrar::new(model, design, registry, &self.workshop.folder, self.zone())
    }

    fn session(&self, star: &[StarTable], effort: Effort) -> Result<Session> {
        let session = Session::new(self.pipeline.deployment.timezone, &self.workshop.runtime, effort)?;
        session.runs_at(self.pipeline.deployment.timezone, self.at);
        for (table, staged) in &self.source {
            session.add(source_reference(table), Arc::new(staged.clone()))?;
        }
        for table in star {
            session.add(star_reference(table.name()), shelf::provider(table, self.zone()))?;
        }
        Ok(session)
    }

    fn writer(&self, model: &Model, design: &ModelDesign) -> Result<PartsWriter> {
        let folder = self.workshop.folder.join(model.name.as_str());
        // What an attempt before this one has left is no part of the table.
        let _ = std::fs::remove_dir_all(&folder);
        require_folder(&folder)?;
        let store = &self.pipeline.deployment.store;
        let ids = self.workshop.columns.get(&model.name).cloned().unwrap_or_default();
        let layout = Layout {
            schema: &ids.of(&design.contract.schema).told(&design.contract.schema),
            sort: &design.contract.sort,
            key: &design.contract.key(),
            encodings: store.encodings,
            file_size: store.file_size,
        };
        PartsWriter::create(&folder, &layout)
    }

    fn table(&self, model: &Model, design: &ModelDesign, writer: PartsWriter) -> Result<StarTable> {
        Ok(StarTable {
            contract: Arc::clone(&design.contract),
            folder: self.workshop.folder.join(model.name.as_str()),
            files: writer.finish()?,
            provenance: Provenance::Written,
        })
    }
}

/// Takes off the column that tells new rows, and has the registrar keep those.
fn keep_new_rows(batch: RecordBatch, registrar: &mut Registrar) -> Result<RecordBatch, Failure> {
    let flag = batch.num_columns() - 1;
    let bug = || "the rows that are new".to_owned();
    let is_new = batch.column(flag).as_boolean().clone();
    if is_new.true_count() > 0 {
        let places: Vec<usize> =
            registrar.columns().filter_map(|name| batch.schema().index_of(name).ok()).collect();
        let rows = batch.project(&places).or_error(ErrorKind::Bug, bug)?;
        registrar.keep(&filter_record_batch(&rows, &is_new).or_error(ErrorKind::Bug, bug)?)?;
    }
    let published: Vec<usize> = (0..flag).collect();
    Ok(batch.project(&published).or_error(ErrorKind::Bug, bug)?)
}

async fn run(
    session: &Session,
    plan: LogicalPlan,
) -> Result<datafusion::execution::SendableRecordBatchStream, Failure> {
    let state = session.state();
    let plan = state.create_physical_plan(&plan).await.map_err(Failure::Engine)?;
    tracing::debug!("planned:\n{}", displayable(plan.as_ref()).indent(false));
    execute_stream(plan, session.context().task_ctx()).map_err(Failure::Engine)
}
