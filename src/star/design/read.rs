//! What is read of each source table: the columns that some model uses, of the rows that some model wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::{Designer, filter};
use crate::diagnostic::Diagnostic;
use crate::dialect::functions::array_text::elements_of;
use crate::dialect::refuse::kinds::{self, Enum};
use crate::name::{ModelName, SourceTable};
use crate::pgcopy::mapping::Mapping;
use crate::pipeline::catalog::{Relation, SourceColumn};
use crate::pipeline::model::Model;
use crate::pipeline::sql::SelectSql;
use crate::star::session::{ARRAY_TYPE, SOURCE, plan_diagnostics};

/// One source table and what of it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub relation: Relation,
    /// All columns that can be read, as the engine sees the table.
    pub schema: SchemaRef,
    /// The positions in `schema` that some model uses.
    pub columns: Vec<usize>,
    /// Which rows the pipeline says belong to the source, in Postgres's SQL: models and totals see
    /// no others.
    pub declared_filter: Option<String>,
    /// Which rows are read, in Postgres's SQL: those, less what every model leaves out by itself.
    pub filter: Option<String>,
    /// The models that use each column.
    pub used_by: BTreeMap<String, BTreeSet<ModelName>>,
}

impl Read {
    /// What stands in the place of which column's values, of those that are read.
    pub fn masked(&self) -> BTreeMap<String, String> {
        let names = self.columns.iter().map(|column| self.schema.field(*column).name());
        let masked = names
            .filter_map(|name| Some((name.clone(), self.relation.column(name)?.mask.as_ref()?.record())));
        masked.collect()
    }
}

/// What the models want of a source table.
#[derive(Default)]
pub(super) struct Usage {
    /// By position, with those who use it.
    pub(super) columns: BTreeMap<usize, BTreeSet<ModelName>>,
    /// For each scan, which of its conditions the server may apply.
    pub(super) scans: Vec<BTreeSet<String>>,
}

impl Designer<'_> {
    pub(super) fn reads(&self) -> BTreeMap<SourceTable, Read> {
        let mut reads = BTreeMap::new();
        for (table, usage) in &self.used {
            let schema = Arc::clone(&self.schemas[table]);
            let declared_filter = self.pipeline.source.declared_filter(self.catalog, table);
            let filters = declared_filter.iter().cloned().chain(filter::shared(&usage.scans));
            let filter = filters.collect::<Vec<_>>().join(" AND ");
            let named = |(column, models): (&usize, &BTreeSet<ModelName>)| {
                (schema.field(*column).name().clone(), models.clone())
            };
            let read = Read {
                relation: self.catalog.relations[table].clone(),
                columns: usage.columns.keys().copied().collect(),
                used_by: usage.columns.iter().map(named).collect(),
                schema,
                declared_filter,
                filter: (!filter.is_empty()).then_some(filter),
            };
            reads.insert(table.clone(), read);
        }
        reads
    }

    /// A column that exists but cannot be read is missing from the planner's schema: say why.
    pub(super) fn explain_unmappable(&self, diagnostic: &mut Diagnostic) {
        for table in self.schemas.keys() {
            for column in &self.catalog.relations[table].columns {
                if let Err(unmappable) = &column.mapping
                    && diagnostic.message.contains(&column.name)
                {
                    diagnostic.message = format!("{table}.{}: {}", column.name, unmappable.reason);
                    diagnostic.help = Some(unmappable.remedy.clone());
                }
            }
        }
    }

    /// Notes what a model reads; false when the engine cannot run it, which is told then.
    pub(super) async fn note_usage(&mut self, analyzed: LogicalPlan, model: &Model, sql: &SelectSql) -> bool {
        let state = self.session.state();
        let optimized = match self.session.optimized(analyzed) {
            Ok(optimized) => optimized,
            Err(error) => {
                self.found.extend(plan_diagnostics(&error, sql));
                return false;
            }
        };
        // Planned to the end: what the engine cannot run is told here, and not at night.
        if let Err(error) = state.query_planner().create_physical_plan(&optimized, &state).await {
            self.found.extend(plan_diagnostics(&error, sql));
            return false;
        }
        let _ = optimized.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let TableReference::Full { catalog, schema, table } = &scan.table_name
                && catalog.as_ref() == SOURCE
            {
                let table = SourceTable::new(schema.as_ref(), table.as_ref());
                let pushable = self.pushable(&table, &scan.filters);
                let usage = self.used.entry(table).or_default();
                usage.scans.push(pushable);
                let all: Vec<usize> = (0..scan.source.schema().fields().len()).collect();
                for column in scan.projection.as_ref().unwrap_or(&all) {
                    usage.columns.entry(*column).or_default().insert(model.name.clone());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        });
        true
    }
}

/// A column of arrays with the name of its type, by which a session reads what travels as a text.
pub fn elements_told(field: Field, mapping: Mapping, type_name: &str) -> Field {
    match mapping {
        Mapping::TextForm if elements_of(type_name).is_some() => {
            field.with_metadata([(ARRAY_TYPE.to_owned(), type_name.to_owned())].into())
        }
        _ => field,
    }
}

/// A column as the planner hears of it: what it is in Postgres, where its Arrow type doesn't say so.
pub fn told(field: Field, mapping: Mapping, column: &SourceColumn) -> Field {
    let type_name = column.type_name.as_str();
    if !column.labels.is_empty() {
        let (name, labels) = (type_name.to_owned(), column.labels.clone());
        return kinds::an_enum(field, &Enum { name, labels });
    }
    let is_varying = ["character varying", "varchar"].iter().any(|name| type_name.starts_with(name));
    match mapping {
        Mapping::PaddedText => kinds::padded(field, type_name),
        Mapping::Text if is_varying => kinds::varying(field, type_name),
        // It is read as the array that it is.
        Mapping::TextForm if elements_of(type_name).is_some() => field,
        Mapping::TextForm => kinds::as_text(field, type_name),
        Mapping::Jsonb => kinds::json_text(field, type_name),
        Mapping::Decimal(_) if type_name == "numeric" => kinds::undeclared(field, type_name),
        _ => field,
    }
}
