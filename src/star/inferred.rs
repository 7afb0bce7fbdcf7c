//! Members that facts bring into a dimension before the source tells of them: known by their key alone, and marked. A later
//! night that has the member in the dimension's own rows fills it in, under the key that it was given.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, JoinType, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col, lit};
use datafusion::sql::sqlparser::ast::Statement;

use super::session::Session;
use crate::pipeline::Pipeline;
use crate::pipeline::model::{IS_INFERRED, Lookup, Model};

/// The lookups that bring members into a dimension, with the facts that make them.
pub fn lookups_into<'a>(pipeline: &'a Pipeline, dimension: &Model) -> Vec<(&'a Model, &'a Lookup)> {
    let name = dimension.name.clone();
    let of = |fact: &'a Model| fact.lookups().iter().map(move |lookup| (fact, lookup));
    let all = pipeline.models.iter().flat_map(of);
    all.filter(|(_, lookup)| lookup.inferred && lookup.dimension == name).collect()
}

const OWN: &str = "starmill: own";
const BROUGHT: &str = "starmill: brought";

/// A dimension's own rows and the members that facts bring, told apart by a further column. Each fact comes as its SELECT.
pub async fn with_members(
    session: &Session,
    own: LogicalPlan,
    brought: Vec<(Statement, &Lookup)>,
) -> Result<LogicalPlan> {
    let schema = Arc::clone(own.schema());
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let own = LogicalPlanBuilder::from(own).alias(OWN)?.build()?;
    let marked = |is_inferred: bool| lit(is_inferred).alias(IS_INFERRED);
    let of = |relation: &str, name: &str| Expr::Column(Column::new(Some(relation.to_owned()), name));
    let mut columns: Vec<Expr> = names.iter().map(|name| of(OWN, name).alias(name)).collect();
    columns.push(marked(false));
    let mut rows = LogicalPlanBuilder::from(own.clone()).project(columns)?;
    let mut all: Option<LogicalPlanBuilder> = None;
    for (statement, lookup) in brought {
        let on = &lookup.on;
        let fact = session.plan_model(statement).await?;
        let keys = on.iter().map(|(key, column)| {
            let data_type = schema
                .field_with_unqualified_name(key)
                .map_or(DataType::Null, |field| field.data_type().clone());
            let value = Expr::Column(Column::new_unqualified(&column.value));
            cast(value, data_type).alias(key)
        });
        let mut keys = LogicalPlanBuilder::from(fact).project(keys.collect::<Vec<_>>())?;
        for (key, _) in on {
            keys = keys.filter(col(quoted(key)).is_not_null())?;
        }
        // Always in the order of the key's columns, so that those of several facts are one.
        let order: Vec<Expr> = names
            .iter()
            .filter(|name| on.iter().any(|(key, _)| key == *name))
            .map(|name| col(quoted(name)))
            .collect();
        let keys = keys.project(order)?;
        all = Some(match all {
            None => keys,
            Some(all) => all.union(keys.build()?)?,
        });
    }
    let Some(all) = all else { return rows.build() };
    let keys: Vec<String> = all.schema().fields().iter().map(|field| field.name().clone()).collect();
    let left: Vec<Column> = keys.iter().map(|key| Column::new(Some(BROUGHT), key)).collect();
    let right: Vec<Column> = keys.iter().map(|key| Column::new(Some(OWN), key)).collect();
    let unknown = all.distinct()?.alias(BROUGHT)?.join(own, JoinType::LeftAnti, (left, right), None)?;
    let mut columns = Vec::new();
    for field in schema.fields() {
        let name = field.name();
        let value = match keys.contains(name) {
            true => of(BROUGHT, name),
            false => Expr::Literal(ScalarValue::try_from(field.data_type())?, None),
        };
        columns.push(value.alias(name));
    }
    columns.push(marked(true));
    rows = rows.union(unknown.project(columns)?.build()?)?;
    rows.build()
}

/// A name as the engine parses it back.
fn quoted(name: &str) -> String {
    crate::name::quote_identifier(name)
}
