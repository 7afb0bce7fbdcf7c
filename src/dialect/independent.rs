//! Rows that nothing is known of but what they hold. The engine believes that columns depend on others also where rows were
//! multiplied since (by an unnest, a join, a second grouping), and then leaves out keys of GROUP BY, DISTINCT and ORDER BY
//! that still tell rows apart. So what it believes is forgotten before it is asked.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchemaRef, FunctionalDependencies, Result};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan};
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};

use super::functions::plain::{Given, Plain};
use super::totals;

/// Rules of the engine's that ask which columns depend on which.
const ASK: [&str; 3] = ["optimize_projections", "replace_distinct_aggregate", "eliminate_join"];
/// One that does nothing else than leave out what it takes for doubled.
const LEAVES_OUT: &str = "eliminate_duplicated_expr";

/// The engine's rules, none of which believes in dependencies, or moves conditions below totals.
pub fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in Optimizer::new().rules.into_iter().filter(|rule| rule.name() != LEAVES_OUT) {
        if ASK.contains(&rule.name()) {
            rules.push(Arc::new(Independent));
        }
        if rule.name() == totals::BEFORE {
            rules.push(Arc::new(totals::Totals));
        }
        rules.push(rule);
    }
    rules
}

#[derive(Debug)]
struct Independent;

impl OptimizerRule for Independent {
    fn name(&self) -> &str {
        "forget_dependencies"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let forgotten = plan.transform_up_with_subqueries(|node| {
            match node.schema().functional_dependencies().is_empty() {
                true => Ok(Transformed::no(node)),
                false => forget(node),
            }
        })?;
        // What is forgotten is no change that asks for another round.
        Ok(Transformed::no(forgotten.data))
    }
}

fn forget(mut node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = match &mut node {
        LogicalPlan::Projection(of) => &mut of.schema,
        LogicalPlan::Window(of) => &mut of.schema,
        LogicalPlan::Aggregate(of) => &mut of.schema,
        LogicalPlan::Join(of) => &mut of.schema,
        LogicalPlan::SubqueryAlias(of) => &mut of.schema,
        LogicalPlan::TableScan(of) => &mut of.projected_schema,
        LogicalPlan::Unnest(of) => &mut of.schema,
        LogicalPlan::Union(of) => &mut of.schema,
        LogicalPlan::Values(of) => &mut of.schema,
        LogicalPlan::EmptyRelation(of) => &mut of.schema,
        LogicalPlan::Distinct(Distinct::On(of)) => &mut of.schema,
        _ => return Ok(Transformed::no(node)),
    };
    let bare = schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty())?;
    *schema = DFSchemaRef::new(bare);
    Ok(Transformed::yes(node))
}

/// Stands behind the keys of a GROUP BY: the engine adds columns that it takes for dependent behind it.
pub const END_OF_KEYS: &str = "starmill end of keys";

pub const END: Plain = Plain {
    name: END_OF_KEYS,
    takes: |types, _| Ok(types.to_vec()),
    gives: |_, _| Ok(Given::Type(DataType::Boolean)),
    work: |call| Ok(Arc::new(BooleanArray::from(vec![true; call.rows]))),
};

/// Groupings by the keys that are written, and no others. Before anything else looks at them.
#[derive(Debug)]
pub struct WrittenKeys;

impl AnalyzerRule for WrittenKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let written =
            plan.transform_up_with_subqueries(|node| Ok(Transformed::yes(by_written_keys(node)?)))?;
        Ok(written.data)
    }

    fn name(&self) -> &str {
        "written_keys"
    }
}

fn by_written_keys(node: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Aggregate(aggregate) = node else { return Ok(node) };
    let end = aggregate.group_expr.iter().position(is_end);
    match end {
        Some(end) => {
            let mut written = aggregate.group_expr;
            written.truncate(end);
            // One that is written twice is one: its columns would stand beside those of another place.
            let mut seen: Vec<Expr> = Vec::new();
            written.retain(|key| {
                let is_new = !seen.contains(key);
                seen.push(key.clone());
                is_new
            });
            Aggregate::try_new(aggregate.input, written, aggregate.aggr_expr).map(LogicalPlan::Aggregate)
        }
        None => Ok(LogicalPlan::Aggregate(aggregate)),
    }
}

fn is_end(key: &Expr) -> bool {
    matches!(key, Expr::ScalarFunction(function) if function.func.name() == END_OF_KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rule that an upgrade renames would believe again, and nobody would see it.
    #[test]
    fn the_engine_still_has_the_rules_that_ask_for_dependencies() {
        let engine = Optimizer::new().rules;
        for name in ASK.iter().chain([&LEAVES_OUT]) {
            assert!(engine.iter().any(|rule| rule.name() == *name), "{name}");
        }
        let ours = rules();
        for (at, _) in ours.iter().enumerate().filter(|(_, rule)| ASK.contains(&rule.name())) {
            assert_eq!(ours[at - 1].name(), Independent.name());
        }
        assert!(ours.iter().all(|rule| rule.name() != LEAVES_OUT));
    }
}
