//! Rows copied out of the arrays that they are slices of. An aggregate gives its groups as slices of one array, and a join that
//! keeps them counts the whole array for each: memory that nobody uses, by which the budget is exhausted.

use std::fmt::{Formatter, Result as Written};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, Statistics};
use futures::StreamExt;

/// Rows in arrays of their own.
#[derive(Debug, Clone)]
pub struct Compacted {
    rows: Arc<dyn ExecutionPlan>,
}

impl Compacted {
    pub fn new(rows: Arc<dyn ExecutionPlan>) -> Compacted {
        Compacted { rows }
    }
}

/// The batch itself, unless it holds on to much more than its rows.
pub fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let whole = batch.get_array_memory_size();
    let own = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    let own: usize = own.sum::<std::result::Result<usize, _>>()?;
    if whole <= own.saturating_mul(2) {
        return Ok(batch.clone());
    }
    let all = UInt32Array::from_iter_values(0..batch.num_rows() as u32);
    Ok(take_record_batch(batch, &all)?)
}

impl DisplayAs for Compacted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> Written {
        f.write_str("Compacted")
    }
}

impl ExecutionPlan for Compacted {
    fn name(&self) -> &str {
        "Compacted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.rows.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
            (Some(rows), true) => Ok(Arc::new(Compacted::new(rows))),
            _ => Ok(self),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.rows.execute(partition, context)?;
        let compacted = rows.map(|batch| compact(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), compacted)))
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

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn a_slice_lets_go_of_the_array_that_it_is_of() {
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        let numbers = Int64Array::from_iter((0..100_000).map(|n| (n % 7 > 0).then_some(n)));
        let texts = StringArray::from_iter((0..100_000).map(|n| (n % 5 > 0).then(|| format!("text {n}"))));
        let whole =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(texts)]);
        let whole = whole.unwrap();
        let part = whole.slice(50_000, 100);
        let own = compact(&part).unwrap();
        assert_eq!(own, part);
        assert!(own.get_array_memory_size() < 10_000 && part.get_array_memory_size() > 1_000_000);
        assert_eq!(
            compact(&whole).unwrap().column(0).to_data().buffers()[0].as_ptr(),
            whole.column(0).to_data().buffers()[0].as_ptr()
        );
    }
}
