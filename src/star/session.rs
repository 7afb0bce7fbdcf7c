//! The one place where a DataFusion session is made, and where its errors become ours.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, TableProvider};
use datafusion::common::config::Dialect;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::build_side;
use super::string_agg::string_agg;
use crate::diagnostic::Diagnostic;
use crate::dialect::distinct::TwoGroupings;
use crate::dialect::functions::{array_text, run_at};
use crate::dialect::guards::RaisingLast;
use crate::dialect::lateral::Laterals;
use crate::dialect::planner::Operators;
use crate::dialect::refuse::{self, Finding, Setting};
use crate::dialect::told::{in_sql, told};
use crate::dialect::{functions, independent, rewrite, unions, unmatched};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{ModelName, SourceTable};
use crate::pipeline::sql::SelectSql;

/// The catalog of the source's tables, each in its own schema.
pub const SOURCE: &str = "source";
/// The catalog of the star; its schema `star` has what is published, the others what is under way.
pub const STAR: &str = "star";

/// How much a session may use.
#[derive(Debug, Clone)]
pub struct Budget {
    pub memory: usize,
    pub scratch: PathBuf,
}

/// How a model is built: as the engine would, or more frugally when memory didn't suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// All cores.
    Full,
    /// One partition, smaller batches.
    Frugal,
    /// Sort-merge joins, which spill, and still smaller batches.
    Spilling,
}

impl Effort {
    pub const ALL: [Effort; 3] = [Effort::Full, Effort::Frugal, Effort::Spilling];
}

/// A session with the star's settings and tables.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
}

/// The memory and scratch that all sessions of a run share.
pub fn runtime(budget: &Budget) -> Result<Arc<RuntimeEnv>> {
    const NAMED_CONSUMERS: usize = 3;
    let top = std::num::NonZeroUsize::new(NAMED_CONSUMERS).unwrap_or(std::num::NonZeroUsize::MIN);
    let pool: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(FairSpillPool::new(budget.memory), top));
    RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_temp_file_path(&budget.scratch)
        .build_arc()
        .or_error(ErrorKind::Store, || format!("cannot use {} as scratch", budget.scratch.display()))
}

impl Session {
    pub fn new(timezone: Tz, runtime: &Arc<RuntimeEnv>, effort: Effort) -> Result<Session> {
        let state = SessionStateBuilder::new()
            .with_config(config(timezone, effort))
            .with_runtime_env(Arc::clone(runtime))
            // Asked before the engine's own.
            .with_expr_planners(vec![Arc::new(Operators)])
            .with_default_features()
            .with_analyzer_rules(vec![
                Arc::new(independent::WrittenKeys),
                Arc::new(ResolveGroupingFunction::new()),
                Arc::new(Laterals),
                Arc::new(rewrite::Meaning),
                Arc::new(TypeCoercion::new()),
                Arc::new(rewrite::Exactness),
            ])
            .with_optimizer_rules(independent::rules())
            .with_optimizer_rule(Arc::new(TwoGroupings))
            .with_optimizer_rule(Arc::new(RaisingLast))
            .with_physical_optimizer_rules(build_side::among(unmatched::rules()))
            .build();
        let session = Session { context: SessionContext::new_with_state(state) };
        session.context.register_udaf(string_agg());
        functions::register(&session.context, timezone);
        for name in [SOURCE, STAR] {
            session.context.register_catalog(name, Arc::new(MemoryCatalogProvider::new()));
        }
        Ok(session)
    }

    pub fn add(&self, at: TableReference, table: Arc<dyn TableProvider>) -> Result<()> {
        let table = with_arrays(&at, table)
            .map_err(|error| Error::new(ErrorKind::Bug, format!("cannot register {at}: {error}")))?;
        let added = || {
            let (catalog, schema) = (at.catalog()?, at.schema()?);
            let catalog = self.context.catalog(catalog)?;
            if catalog.schema(schema).is_none() {
                catalog.register_schema(schema, Arc::new(MemorySchemaProvider::new())).ok()?;
            }
            let schema = catalog.schema(schema)?;
            schema.deregister_table(at.table()).ok()?;
            schema.register_table(at.table().to_owned(), table).ok()
        };
        match added() {
            Some(_) => Ok(()),
            None => Err(Error::new(ErrorKind::Bug, format!("cannot register {at}"))),
        }
    }

    /// The instant that `run_at()` gives from now on.
    pub fn runs_at(&self, zone: Tz, at: DateTime<Utc>) {
        self.context.register_udf(run_at::run_at(zone, Some(at)));
    }

    pub fn state(&self) -> SessionState {
        self.context.state()
    }

    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Plans a statement of the user's whose names have been rewritten.
    pub async fn plan(&self, statement: Statement) -> Result<LogicalPlan, DataFusionError> {
        let statement = datafusion::sql::parser::Statement::Statement(Box::new(statement));
        self.context.state().statement_to_plan(statement).await
    }

    /// Plans a model's SELECT, which gives what a table can have.
    pub async fn plan_model(&self, statement: Statement) -> Result<LogicalPlan, DataFusionError> {
        rewrite::publishable(unions::with_types(self.plan(statement).await?)?)
    }

    /// What of a planned query would be answered otherwise than by Postgres, or from run to run.
    pub fn refused(&self, plan: &LogicalPlan, setting: Setting<'_>) -> Result<Vec<Finding>, DataFusionError> {
        Ok(refuse::findings(plan, &self.analyzed(plan)?, setting))
    }

    /// The plan in Postgres's meaning, its types settled.
    pub fn analyzed(&self, plan: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let state = self.context.state();
        state.analyzer().execute_and_check(plan.clone(), state.config_options(), |_, _| {})
    }

    /// An analyzed plan as it will run.
    pub fn optimized(&self, analyzed: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let state = self.context.state();
        state.optimizer().optimize(analyzed, &state, |_, _| {})
    }

    /// Plans SQL that starmill composed.
    pub async fn plan_text(&self, sql: &str) -> Result<LogicalPlan, DataFusionError> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql)?;
        match (statements.pop(), statements.pop()) {
            (Some(statement), None) => self.plan(statement).await,
            _ => Err(DataFusionError::Internal("composed SQL is one statement".to_owned())),
        }
    }
}

/// Names the type of a column of arrays, which comes as Postgres prints it.
pub const ARRAY_TYPE: &str = "starmill: array";

/// The type of a column's elements, where it is read as an array.
pub fn element_of(field: &Field) -> Option<DataType> {
    array_text::elements_of(field.metadata().get(ARRAY_TYPE)?)
}

/// A table whose arrays are read of the texts that they travel as.
fn with_arrays(
    at: &TableReference,
    table: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>, DataFusionError> {
    let schema = table.schema();
    if schema.fields().iter().all(|field| element_of(field).is_none()) {
        return Ok(table);
    }
    let columns = schema.fields().iter().map(|field| {
        let column = Expr::Column(Column::new_unqualified(field.name()));
        match element_of(field) {
            Some(element) => array_text::read(column, element).alias(field.name()),
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let rows = LogicalPlanBuilder::scan(at.clone(), provider_as_source(table), None)?;
    Ok(Arc::new(ViewTable::new(rows.project(columns)?.build()?, None)))
}

/// The source's table as the engine names it.
pub fn source_reference(table: &SourceTable) -> TableReference {
    TableReference::full(SOURCE, table.schema.as_str(), table.table.as_str())
}

/// The star's table as the engine names it.
pub fn star_reference(model: &ModelName) -> TableReference {
    TableReference::full(STAR, "star", model.as_str())
}

fn config(timezone: Tz, effort: Effort) -> SessionConfig {
    let (partitions, batch_size) = match effort {
        Effort::Full => (parallelism(), 8_192),
        Effort::Frugal => (1, 4_096),
        // The engine plans sort-merge joins, which spill, only for more than one partition.
        Effort::Spilling => (2, 1_024),
    };
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(batch_size)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some(timezone.name().to_owned());
    options.execution.parquet.schema_force_view_types = false;
    options.execution.sort_spill_reservation_bytes = 2 << 20;
    options.optimizer.prefer_hash_join = effort != Effort::Spilling;
    if effort == Effort::Full {
        // A build side of this size is cheaper to share than to repartition both sides by hash,
        // and the probe side keeps its order, so that the table need not be sorted again.
        options.optimizer.hash_join_single_partition_threshold = 64 << 20;
        options.optimizer.hash_join_single_partition_threshold_rows = 4_000_000;
    }
    config
}

fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(8)
}

/// An engine's error while a model runs, as ours.
pub fn model_error(error: DataFusionError, what: String) -> Error {
    if let Some(ours) = ours(&error) {
        return ours;
    }
    let exhausted = is_exhausted(&error);
    let root = error.find_root();
    let full = matches!(root, DataFusionError::IoError(io) if io.kind() == std::io::ErrorKind::StorageFull);
    if full || root.to_string().contains("No space left on device") {
        return Error::new(ErrorKind::Store, format!("{what}: the scratch folder is full"))
            .caused_by(error)
            .hint("free space there, or point `scratch` in [run] to a larger disk");
    }
    let text = strip(error);
    // The engine advises its own settings, which nobody can set here.
    let cause = if exhausted { text.split(" Consider increasing").next().unwrap_or_default() } else { &text };
    let ours = Error::new(ErrorKind::Model, what).caused_by(cause.to_owned());
    match exhausted {
        true => ours.hint("raise `memory` in [run], or let the model join and sort less at once"),
        false => ours,
    }
}

/// An error of our own that travelled through the engine: a damaged file stays one, whoever read it.
fn ours(error: &DataFusionError) -> Option<Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return Some(ours.clone());
        }
        next = error.source();
    }
    None
}

pub fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// The engine's message without its internal layers.
fn strip(error: DataFusionError) -> String {
    let text = error.strip_backtrace();
    let line = text.lines().next().unwrap_or_default();
    // What kind of error it is to the engine tells nobody anything.
    let bare = ["Execution error: ", "Arrow error: ", "Compute error: "];
    bare.iter().fold(line, |line, prefix| line.strip_prefix(prefix).unwrap_or(line)).to_owned()
}

/// What the innermost error says: the outer ones only tell where in the engine it came up.
fn root_text(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::Context(_, inner) => inner.strip_backtrace(),
        root => root.strip_backtrace(),
    }
}

/// What the engine advises where a column is neither grouped nor aggregated, with an aggregate that Postgres has.
fn grouped(help: &str) -> Option<String> {
    let (column, _) = help.strip_prefix("Either add '")?.split_once('\'')?;
    let column = column.rsplit('.').next().unwrap_or(column);
    Some(format!("add {column} to GROUP BY, or aggregate it: max({column})"))
}

/// The engine's refusal of a user's query, as diagnostics under the line that has it.
pub fn plan_diagnostics(error: &DataFusionError, sql: &SelectSql) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for error in error.iter() {
        let Some(diagnostic) = error.diagnostic() else {
            let text = root_text(error);
            let line = text.lines().next().unwrap_or_default();
            let line = ["Error during planning: ", "Schema error: ", "This feature is not implemented: "]
                .iter()
                .fold(line, |line, prefix| line.strip_prefix(prefix).unwrap_or(line));
            let line = line.split(" No function matches").next().unwrap_or(line);
            let line = ["Execution error: ", "Arrow error: ", "Parser error: "]
                .iter()
                .fold(line, |line, prefix| line.strip_prefix(prefix).unwrap_or(line));
            let told = told(line);
            let ours = Diagnostic::error(told.message).at(&sql.document, sql.whole());
            found.push(match told.help {
                Some(help) => ours.help(help),
                None => ours,
            });
            continue;
        };
        let span = diagnostic.span.map_or(sql.whole(), |span| {
            sql.place(datafusion::sql::sqlparser::tokenizer::Span {
                start: datafusion::sql::sqlparser::tokenizer::Location {
                    line: span.start.line,
                    column: span.start.column,
                },
                end: datafusion::sql::sqlparser::tokenizer::Location {
                    line: span.end.line,
                    column: span.end.column,
                },
            })
        });
        let told = told(&diagnostic.message);
        let mut ours = Diagnostic::error(told.message).at(&sql.document, span);
        let notes = diagnostic.notes.iter().map(|note| note.message.as_str());
        let helps = notes.chain(diagnostic.helps.iter().map(|help| help.message.as_str()));
        // The engine's guesses at functions change from run to run.
        let steady = helps.filter(|help| {
            !["Possible function", "- can only be used with", "perhaps you need to cast "]
                .iter()
                .any(|begin| help.starts_with(begin))
        });
        let mut help: Vec<String> =
            steady.map(|help| grouped(help).unwrap_or_else(|| in_sql(help))).chain(told.help).collect();
        if let DataFusionError::SchemaError(schema, _) = error.find_root()
            && let datafusion::common::SchemaError::FieldNotFound { valid_fields, .. } = schema.as_ref()
        {
            let names: Vec<&str> = valid_fields.iter().map(|field| field.name.as_str()).collect();
            help = vec![format!("columns here: {}", names.join(", "))];
        }
        if !help.is_empty() {
            ours = ours.help(help.join("; "));
        }
        found.push(ours);
    }
    found
}
