//! A pipeline held against the source's catalog: every name resolved, every type known, every
//! column that must be read found, before a single row is.

mod control;
mod declared;
pub mod facts;
mod filter;
mod history;
mod inferred;
mod junk;
mod lookups;
pub mod masks;
mod names;
mod patience;
mod published;
mod read;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Statement;

use crate::diagnostic::Diagnostic;
use crate::dialect::Purpose;
use crate::dialect::dependent::{self, Keyed};
use crate::dialect::refuse::{self, Setting};
use crate::error::Result;
use crate::name::{ModelName, SourceTable, nearest};
use crate::pgcopy::mapping::Mapping;
use crate::pipeline::Pipeline;
use crate::pipeline::catalog::{Catalog, SourceColumn};
use crate::pipeline::model::{Body, Model};
use crate::pipeline::sql::SelectSql;
use crate::star::additivity::Known;
use crate::star::contract::{ColumnsKnown, TableContract};
use crate::star::lineage::Lineage;
use crate::star::session::{SOURCE, STAR, Session, plan_diagnostics, source_reference, star_reference};
use crate::star::staged::schema_only;
use crate::star::table::in_zone;

/// Everything that is known of a star before it is built.
#[derive(Debug)]
pub struct Design {
    /// The tables that are read, with their columns in the table's order.
    pub reads: BTreeMap<SourceTable, Read>,
    /// In the order of the pipeline's models, which is build order.
    pub models: Vec<ModelDesign>,
    /// In the order of the pipeline's controls.
    pub controls: Vec<ControlDesign>,
    pub warnings: Vec<Diagnostic>,
}

/// A model that fits: what is computed, and what is published of it.
#[derive(Debug)]
pub struct ModelDesign {
    /// Its SELECT with every table named in full; none for a calendar.
    pub statement: Option<Statement>,
    /// What that gives.
    pub raw: SchemaRef,
    /// With surrogate and lookup keys, in types that every reader opens.
    pub contract: Arc<TableContract>,
}

impl ModelDesign {
    fn of(
        model: &Model,
        statement: Option<Statement>,
        raw: SchemaRef,
        published: SchemaRef,
        known: &ColumnsKnown,
    ) -> ModelDesign {
        let contract = Arc::new(TableContract::of(model, &raw, published, known));
        ModelDesign { statement, raw, contract }
    }
}

#[derive(Debug)]
pub struct ControlDesign {
    /// The source's tables that the control reads.
    pub tables: BTreeSet<SourceTable>,
    /// The source's side for Postgres, every table with its schema.
    pub postgres: String,
    /// The source's side for the engine.
    pub engine: Statement,
    /// The star's side, when it is a query.
    pub star: Option<Statement>,
    /// The masked columns that the source's side names, and whether as they are or as they are masked.
    pub masked: Vec<String>,
}

use patience::Planning;
use read::Usage;
pub use read::{Read, told};

struct Designer<'a> {
    pipeline: &'a Pipeline,
    catalog: &'a Catalog,
    session: &'a Session,
    found: Vec<Diagnostic>,
    used: BTreeMap<SourceTable, Usage>,
    schemas: BTreeMap<SourceTable, SchemaRef>,
    published: BTreeMap<ModelName, SchemaRef>,
    additivity: Known,
    lineage: BTreeMap<ModelName, Lineage>,
}

/// Designs the star, or gives every mistake at once.
pub async fn design(
    pipeline: &Pipeline,
    catalog: &Catalog,
    session: &Session,
) -> Result<std::result::Result<Design, Vec<Diagnostic>>> {
    let mut designer = Designer {
        pipeline,
        catalog,
        session,
        found: Vec::new(),
        used: BTreeMap::new(),
        schemas: BTreeMap::new(),
        published: BTreeMap::new(),
        additivity: Known::new(),
        lineage: BTreeMap::new(),
    };
    designer.check_filters();
    let mut models = Vec::new();
    for model in &pipeline.models {
        if let Some(design) = designer.model(model).await? {
            designer.published.insert(model.name.clone(), Arc::clone(&design.contract.schema));
            models.push(design);
        }
    }
    let mut controls = Vec::new();
    for control in &pipeline.controls {
        controls.extend(designer.control(control).await?);
    }
    designer.register_filters()?;
    if designer.found.iter().any(Diagnostic::is_error) {
        return Ok(Err(designer.found));
    }
    let reads = designer.reads();
    designer.found.extend(masks::bare(&pipeline.source, catalog, &reads));
    if designer.found.iter().any(Diagnostic::is_error) {
        return Ok(Err(designer.found));
    }
    Ok(Ok(Design { reads, models, controls, warnings: designer.found }))
}

impl Designer<'_> {
    fn error(&mut self, span: Range<usize>, message: String, help: String) {
        self.found.push(Diagnostic::error(message).at(&self.pipeline.deployment.document, span).help(help));
    }

    async fn model(&mut self, model: &Model) -> Result<Option<ModelDesign>> {
        let sql = match &model.body {
            Body::Sql(sql) => sql,
            Body::Junk(junk) => return self.junk(model, junk).await,
            Body::Calendar(_) | Body::Times(_) => {
                let schema = match (model.calendar(), model.times()) {
                    (Some(calendar), _) => super::calendar::schema(calendar),
                    (None, Some(times)) => super::times::schema(times),
                    (None, None) => return Ok(None),
                };
                for column in model.indexes.iter().flatten() {
                    self.require(model, &schema, &[], column, "an index");
                }
                self.session.add(star_reference(&model.name), schema_only(Arc::clone(&schema)))?;
                self.check_declared(model, &schema);
                let known = self.columns_known(model, None);
                return Ok(Some(ModelDesign::of(model, None, Arc::clone(&schema), schema, &known)));
            }
        };
        // A model that reads one with mistakes would only repeat them.
        if model.reads.iter().any(|read| !self.published.contains_key(read)) || self.reads_unread(model, sql)
        {
            return Ok(None);
        }
        let Some(statement) = self.model_statement(model, sql)? else { return Ok(None) };
        let _planning = Planning::begins(&model.name);
        let plan = match self.session.plan_model(statement.clone()).await {
            Ok(plan) => plan,
            Err(error) => {
                let mut found = plan_diagnostics(&error, sql);
                found.iter_mut().for_each(|diagnostic| self.explain_unmappable(diagnostic));
                self.found.extend(found);
                return Ok(None);
            }
        };
        self.planned(model, Some(statement), plan, sql).await
    }

    /// The design of a model whose rows a plan gives. What is wrong with it is shown in `sql`.
    async fn planned(
        &mut self,
        model: &Model,
        statement: Option<Statement>,
        plan: LogicalPlan,
        sql: &SelectSql,
    ) -> Result<Option<ModelDesign>> {
        let before = self.found.len();
        let Some(analyzed) = self.refuse(&plan, sql) else { return Ok(None) };
        // What is refused for its answer may be what cannot be planned, or takes all memory, and is told in better words.
        let refused = self.found[before..].iter().any(Diagnostic::is_error);
        if !refused && !self.note_usage(analyzed, model, sql).await {
            return Ok(None);
        }
        let raw: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        let before = self.found.len();
        self.check_names(model, &raw, sql);
        if self.found.len() > before {
            return Ok(None);
        }
        let Some(plan) = self.with_members(model, plan, sql).await? else { return Ok(None) };
        let raw: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        let known = self.columns_known(model, Some(&plan));
        let published = self.published_schema(model, plan, &raw, sql).await?;
        let Some(published) = published else { return Ok(None) };
        let zoned = in_zone(&published, self.pipeline.deployment.timezone.name());
        self.session.add(star_reference(&model.name), schema_only(zoned))?;
        self.check_declared(model, &published);
        Ok(Some(ModelDesign::of(model, statement, raw, published, &known)))
    }

    /// Whether a model reads, or looks up, one that could not be read itself.
    fn reads_unread(&self, model: &Model, sql: &SelectSql) -> bool {
        let unread = |name: &str| self.pipeline.unread.iter().any(|unread| unread == name);
        let own = |name: &str| model.name.as_str() == name;
        let read = sql.relations();
        let mut named = read.iter().filter(|relation| relation.schema.is_none() && !own(&relation.table));
        named.any(|relation| unread(&relation.table))
            || model.lookups().iter().any(|lookup| unread(lookup.dimension.as_str()))
    }

    /// Notes what of a query is not answered as by Postgres. Gives the analyzed plan, if there is one.
    fn refuse(&mut self, plan: &LogicalPlan, sql: &SelectSql) -> Option<LogicalPlan> {
        let numeric = self.pipeline.source.types.numeric;
        let numeric = (numeric.precision, numeric.scale);
        let allow = &self.pipeline.deployment.allow;
        match self.session.analyzed(plan) {
            Ok(analyzed) => {
                let setting = Setting { purpose: Purpose::Model, numeric, allow };
                let refused = refuse::findings(plan, &analyzed, setting);
                self.found.extend(refused.into_iter().map(|finding| sql.refused(finding)));
                Some(analyzed)
            }
            Err(error) => {
                self.found.extend(plan_diagnostics(&error, sql));
                None
            }
        }
    }

    /// The model's SELECT with its tables resolved; none when one of them doesn't exist.
    fn model_statement(&mut self, model: &Model, sql: &SelectSql) -> Result<Option<Statement>> {
        let pipeline = self.pipeline;
        let before = self.found.len();
        let mut tables = Vec::new();
        let mut unknown = Vec::new();
        let mut warnings = Vec::new();
        let mut statement = sql.rewritten(&mut |relation| {
            let star = pipeline.models.iter().find(|other| {
                relation.schema.is_none() && other.name.as_str() == relation.table && other.name != model.name
            });
            let table = resolve(self.catalog, &pipeline.source.schemas, relation);
            if let Some(other) = star {
                if table.is_some() {
                    warnings.push((relation.clone(), other.name.clone()));
                }
                return Some(vec![STAR.to_owned(), "star".to_owned(), other.name.to_string()]);
            }
            match table {
                Some(table) => {
                    let target = vec![SOURCE.to_owned(), table.schema.clone(), table.table.clone()];
                    tables.push(table);
                    Some(target)
                }
                None => {
                    unknown.push(relation.clone());
                    None
                }
            }
        });
        dependent::written_out(&mut statement, &|name| self.keyed(name));
        for (relation, name) in warnings {
            let message = format!("`{name}` is a model and a table of the source; the model is read");
            let warning = Diagnostic::warning(message).at(&sql.document, relation.span);
            self.found.push(
                warning.help(format!("write {}.{name} for the source's table", pipeline.source.schemas[0])),
            );
        }
        for relation in unknown {
            self.unknown_table(&relation, sql);
        }
        for table in tables {
            self.register(&table)?;
        }
        let errors = self.found[before..].iter().any(Diagnostic::is_error);
        Ok((!errors).then_some(statement))
    }

    /// A source table by the engine's name for it, when it has a primary key.
    fn keyed(&self, name: &[String]) -> Option<Keyed> {
        let [catalog, schema, table] = name else { return None };
        let relation = self.catalog.relations.get(&SourceTable::new(schema.as_str(), table.as_str()))?;
        // Among the keys of a GROUP BY some types are not told apart as in Postgres.
        let is_one =
            |column: &&SourceColumn| matches!(column.mapping, Ok(mapping) if mapping != Mapping::Jsonb);
        let columns = relation.columns.iter().filter(is_one);
        (catalog == SOURCE && !relation.primary_key.is_empty()).then(|| Keyed {
            key: relation.primary_key.clone(),
            columns: columns.map(|column| column.name.clone()).collect(),
        })
    }

    fn unknown_table(&mut self, relation: &crate::pipeline::sql::Relation, sql: &SelectSql) {
        let name = match &relation.schema {
            Some(schema) => format!("{schema}.{}", relation.table),
            None => relation.table.clone(),
        };
        let models = self.pipeline.models.iter().map(|model| model.name.as_str());
        let help = match nearest(&name, models) {
            Some(near) if relation.schema.is_none() => format!("did you mean the model `{near}`?"),
            _ => self.catalog.suggestion(&self.pipeline.source.schemas, &name),
        };
        let message = format!("there is no model and no source table `{name}`");
        self.found.push(Diagnostic::error(message).at(&sql.document, relation.span.clone()).help(help));
    }

    /// Makes a source table known to the planner, by its schema alone.
    fn register(&mut self, table: &SourceTable) -> Result<()> {
        if self.schemas.contains_key(table) {
            return Ok(());
        }
        let relation = &self.catalog.relations[table];
        let refused = self.pipeline.source.foreign_below(table, relation);
        self.found.extend(refused.map(|refusal| Diagnostic::error(refusal.message).help(refusal.help)));
        let zone = self.pipeline.deployment.timezone.name();
        let fields: Vec<Field> = relation
            .columns
            .iter()
            .filter_map(|column| {
                let mapping = column.mapping.as_ref().ok()?;
                let field = Field::new(&column.name, mapping.arrow_type(zone), true);
                let field = read::elements_told(field, *mapping, &column.type_name);
                // What a column is in Postgres goes with it, so that the night answers as the check does.
                Some(read::told(field, *mapping, column))
            })
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        self.session.add(source_reference(table), schema_only(Arc::clone(&schema)))?;
        self.schemas.insert(table.clone(), schema);
        self.used.entry(table.clone()).or_default();
        Ok(())
    }
}

fn resolve(
    catalog: &Catalog,
    schemas: &[String],
    relation: &crate::pipeline::sql::Relation,
) -> Option<SourceTable> {
    match &relation.schema {
        Some(schema) => {
            let table = SourceTable::new(schema.as_str(), relation.table.as_str());
            catalog.relations.contains_key(&table).then_some(table)
        }
        None => catalog.find(schemas, &relation.table),
    }
}
