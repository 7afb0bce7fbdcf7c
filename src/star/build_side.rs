//! Which side of a hash join is kept in memory. The engine compares what it knows of both sides' bytes, and where it knows one
//! alone, their rows: a table of long texts is then kept for the sake of a few counts that are joined to it. Here the width of
//! each column is carried along from the tables, so that the side of fewer bytes is kept, and the rows of the other stay as
//! they are sorted.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

use super::compacted::Compacted;

/// Below this it matters little which side is kept.
const SMALL: f64 = (16 << 20) as f64;
/// A side that is not this much smaller is no reason to turn a join around.
const MUCH: f64 = 1.5;
/// A side of more is split over all cores by hash.
const LARGE: f64 = (256 << 20) as f64;
/// Bytes of a row in the hash table.
const ENTRY: f64 = 16.0;
/// Bytes of a text of which nothing is known.
const TEXT: f64 = 24.0;

/// The engine's rules with this one where it chooses a join's sides.
pub fn among(
    mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let after =
        rules.iter().position(|rule| rule.name() == "join_selection").map_or(rules.len(), |at| at + 1);
    rules.insert(after, Arc::new(BuildSide));
    rules
}

#[derive(Debug)]
struct BuildSide;

impl PhysicalOptimizerRule for BuildSide {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = plan.transform_up(|node| {
            let turned = turned(node)?;
            match compacting(&turned.data)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => Ok(turned),
            }
        })?;
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "build_side"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A join whose kept side holds on to no more than its rows; it may stand below a projection that puts columns in their order.
fn compacting(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        if projection.input().downcast_ref::<HashJoinExec>().is_none() {
            return Ok(None);
        }
        let Some(join) = compacting(projection.input())? else { return Ok(None) };
        return Ok(Some(replace_children_if_necessary(Arc::clone(plan), vec![join])?));
    }
    let Some(join) = plan.downcast_ref::<HashJoinExec>() else { return Ok(None) };
    if !gives_slices(join.left()) {
        return Ok(None);
    }
    let kept = Arc::new(Compacted::new(Arc::clone(join.left()))) as Arc<dyn ExecutionPlan>;
    let sides = vec![kept, Arc::clone(join.right())];
    Ok(Some(replace_children_if_necessary(Arc::clone(plan), sides)?))
}

/// Whether a plan's batches are slices of larger ones.
fn gives_slices(plan: &Arc<dyn ExecutionPlan>) -> bool {
    match plan.downcast_ref::<ProjectionExec>() {
        Some(projection) => gives_slices(projection.input()),
        None => plan.downcast_ref::<AggregateExec>().is_some(),
    }
}

/// A join that keeps its smaller side.
fn turned(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(Transformed::no(node)) };
    if !join.join_type().supports_swap() || join.null_aware {
        return Ok(Transformed::no(node));
    }
    let (Some(kept), Some(other)) = (bytes(join.left()), bytes(join.right())) else {
        return Ok(Transformed::no(node));
    };
    if kept < SMALL || kept < other * MUCH {
        return Ok(Transformed::no(node));
    }
    let mode = if other > LARGE { PartitionMode::Partitioned } else { PartitionMode::CollectLeft };
    // A projection that puts the columns back in their order stands above the join.
    Ok(Transformed::yes(join.swap_inputs(mode)?))
}

/// About how much memory a plan's rows take in a hash join; none where nobody knows how many they are.
fn bytes(plan: &Arc<dyn ExecutionPlan>) -> Option<f64> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    let rows = *statistics.num_rows.get_value()? as f64;
    Some(rows * (widths(plan).iter().sum::<f64>() + ENTRY))
}

/// About how many bytes each column has in a row.
fn widths(plan: &Arc<dyn ExecutionPlan>) -> Vec<f64> {
    let schema = plan.schema();
    let children = plan.children();
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let below = widths(projection.input());
        let of = |at: usize, column: Option<&Column>| {
            let known = column.and_then(|column| below.get(column.index()).copied());
            known.unwrap_or_else(|| width(schema.field(at).data_type()))
        };
        let expressions = projection.expr().iter().enumerate();
        return expressions.map(|(at, expr)| of(at, expr.expr.downcast_ref::<Column>())).collect();
    }
    if children.is_empty() {
        return of_table(plan, &schema);
    }
    // Other steps give columns of those below by their names, or make some of their own.
    let mut below: Vec<(String, f64)> = Vec::new();
    for child in children {
        let names = child.schema();
        let names = names.fields().iter().map(|field| field.name().clone());
        below.extend(names.zip(widths(child)));
    }
    let fields =
        schema.fields().iter().map(|field| match below.iter().position(|(name, _)| name == field.name()) {
            Some(at) => below.remove(at).1,
            None => width(field.data_type()),
        });
    fields.collect()
}

/// A table's bytes, shared out over its columns: those of a fixed width have theirs, the others what is left.
fn of_table(plan: &Arc<dyn ExecutionPlan>, schema: &Schema) -> Vec<f64> {
    let fixed = |data_type: &DataType| data_type.primitive_width().map(|bytes| bytes as f64);
    let known = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok();
    let whole = known.and_then(|known| {
        let (bytes, rows) = (*known.total_byte_size.get_value()?, *known.num_rows.get_value()?);
        Some(bytes as f64 / rows.max(1) as f64)
    });
    let data_types = || schema.fields().iter().map(|field| field.data_type());
    let varying = data_types().filter(|data_type| fixed(data_type).is_none()).count().max(1) as f64;
    let left = whole.map(|whole| (whole - data_types().filter_map(fixed).sum::<f64>()).max(0.0) / varying);
    data_types().map(|data_type| fixed(data_type).or(left).unwrap_or_else(|| width(data_type))).collect()
}

fn width(data_type: &DataType) -> f64 {
    data_type.primitive_width().map_or(TEXT, |bytes| bytes as f64)
}
