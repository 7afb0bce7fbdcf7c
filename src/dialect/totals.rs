//! Totals under conditions. A total is one row, whether or not it is of any: where the engine moves a condition that no
//! column has a part in below it, the row stays, and what it counts is left out. Nothing moves below a limit, so each
//! total stands below one that takes all of its rows.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{Aggregate, Expr, Limit, LogicalPlan, lit};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The engine's rule that this one comes before.
pub const BEFORE: &str = "push_down_filter";

#[derive(Debug)]
pub struct Totals;

impl OptimizerRule for Totals {
    fn name(&self) -> &str {
        "keep_totals"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let kept = plan.transform_up(|node| match node {
            LogicalPlan::Limit(_) => Ok(Transformed::no(node)),
            node => node.map_children(|child| match child {
                LogicalPlan::Aggregate(of) if has_total(&of) => Ok(Transformed::yes(limited(of))),
                child => Ok(Transformed::no(child)),
            }),
        })?;
        Ok(Transformed::no(kept.data))
    }
}

/// Whether one of its rows is of all that it reads.
fn has_total(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.is_empty() || matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)])
}

fn limited(aggregate: Aggregate) -> LogicalPlan {
    let rows = if aggregate.group_expr.is_empty() { 1 } else { i64::MAX };
    LogicalPlan::Limit(Limit {
        skip: None,
        fetch: Some(Box::new(lit(rows))),
        input: Arc::new(LogicalPlan::Aggregate(aggregate)),
    })
}
