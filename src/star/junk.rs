//! Junk dimensions: the combinations of some columns that occur in facts, made of the facts' own SELECTs.

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use crate::dialect::functions::combination;
use crate::name::{quote_identifier as quote, quote_literal};
use crate::pipeline::Spanned;
use crate::pipeline::model::{COMBINATION, Junk};

/// The rows of a junk dimension, without keys: `facts` are the plans of its facts, in its order.
pub fn combinations(junk: &Junk, facts: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let mut all: Option<LogicalPlanBuilder> = None;
    for (fact, (_, columns)) in facts.into_iter().zip(&junk.from) {
        let named = columns.iter().zip(&junk.names);
        let named = named.map(|(column, name)| of(&column.value).alias(name));
        let part = LogicalPlanBuilder::from(fact).project(named.collect::<Vec<_>>())?;
        all = Some(match all {
            None => part,
            Some(all) => all.union(part.build()?)?,
        });
    }
    let all = all.unwrap_or_else(|| LogicalPlanBuilder::empty(false));
    // The types are one before the texts are made: 1.5 is the same in both of two facts.
    let args = junk.names.iter().flat_map(|name| [lit(name.as_str()), of(name)]);
    let udf = Arc::new(combination::COMBINATION.udf(Tz::UTC));
    let combined = Expr::ScalarFunction(ScalarFunction::new_udf(udf, args.collect()));
    let mut columns = vec![combined.alias(COMBINATION)];
    columns.extend(junk.names.iter().map(|name| of(name)));
    all.distinct()?.project(columns)?.build()
}

fn of(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The combination of a row `m` of a fact, in SQL.
pub fn combination_of(on: &[(String, Spanned<String>)]) -> String {
    let args = on.iter().map(|(name, column)| format!("{}, m.{}", quote_literal(name), quote(&column.value)));
    format!("{}({})", quote(combination::NAME), args.collect::<Vec<_>>().join(", "))
}
