//! Rows without a partner in an outer join. Their columns of the other side are NULL, whatever that side's own rows have;
//! the engine takes what holds of those rows (a column that is one value, or equal to another) to hold of all, and then
//! leaves keys out of a sort, a window or a grouping. So it is forgotten before they are joined; and likewise what it takes to hold
//! of the totals of GROUPING SETS.

use std::fmt::{Formatter, Result as Written};
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, replace_children_if_necessary};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, Statistics,
};

/// The engine's rules, none of which believes that of rows without a partner.
pub fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let own = PhysicalOptimizer::new().rules;
    std::iter::once(Arc::new(Unmatched) as Arc<dyn PhysicalOptimizerRule + Send + Sync>).chain(own).collect()
}

#[derive(Debug)]
struct Unmatched;

impl PhysicalOptimizerRule for Unmatched {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(|node| {
            // Where a total stands in a column's place, it is NULL.
            if node.downcast_ref::<AggregateExec>().is_some_and(|of| of.group_expr().has_grouping_set()) {
                return Ok(Transformed::yes(Arc::new(Forgotten::new(node)) as Arc<dyn ExecutionPlan>));
            }
            let (left, right) = may_miss(&node);
            let sides = node.children().into_iter().zip([left, right]);
            let believed =
                |side: &Arc<dyn ExecutionPlan>| !side.equivalence_properties().eq_group().is_empty();
            let sides: Vec<(Arc<dyn ExecutionPlan>, bool)> =
                sides.map(|(side, may_miss)| (Arc::clone(side), may_miss && believed(side))).collect();
            if !sides.iter().any(|(_, forgets)| *forgets) {
                return Ok(Transformed::no(node));
            }
            let sides = sides.into_iter().map(|(side, forgets)| match forgets {
                true => Arc::new(Forgotten::new(side)) as Arc<dyn ExecutionPlan>,
                false => side,
            });
            let sides = sides.collect();
            Ok(Transformed::yes(replace_children_if_necessary(node, sides)?))
        })?;
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "forget_of_unmatched"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Which sides of a join may be missing from its rows.
fn may_miss(node: &Arc<dyn ExecutionPlan>) -> (bool, bool) {
    let joined = node
        .downcast_ref::<HashJoinExec>()
        .map(|join| *join.join_type())
        .or_else(|| node.downcast_ref::<NestedLoopJoinExec>().map(|join| *join.join_type()))
        .or_else(|| node.downcast_ref::<SortMergeJoinExec>().map(SortMergeJoinExec::join_type));
    match joined {
        Some(JoinType::Left) => (false, true),
        Some(JoinType::Right) => (true, false),
        Some(JoinType::Full) => (true, true),
        _ => (false, false),
    }
}

/// Rows of which nothing is known.
#[derive(Debug, Clone)]
struct Forgotten {
    rows: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Forgotten {
    fn new(rows: Arc<dyn ExecutionPlan>) -> Forgotten {
        let nothing = EquivalenceProperties::new(rows.schema());
        let properties = PlanProperties::clone(rows.properties()).with_eq_properties(nothing);
        Forgotten { rows, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Forgotten {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> Written {
        f.write_str("Forgotten")
    }
}

impl ExecutionPlan for Forgotten {
    fn name(&self) -> &str {
        "Forgotten"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.rows]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(rows), true) => Ok(Arc::new(Forgotten::new(rows))),
            _ => Ok(self),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.rows.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let unknown = || Arc::new(Statistics::new_unknown(&self.schema()));
        Ok(inputs.first().map_or_else(unknown, Arc::clone))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        FilterDescription::from_children(parent_filters, &self.children())
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        child_pushdown_result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        Ok(FilterPushdownPropagation::if_all(child_pushdown_result))
    }
}
