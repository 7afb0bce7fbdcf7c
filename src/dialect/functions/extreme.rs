//! `min` and `max` of doubles and reals, where NaN is greater than every number, as in Postgres: the engine's own by groups
//! compares with `<`, to which NaN is nothing.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
};

pub fn max() -> AggregateUDF {
    AggregateUDF::new_from_impl(Extreme { engine: Max::new() })
}

pub fn min() -> AggregateUDF {
    AggregateUDF::new_from_impl(Extreme { engine: Min::new() })
}

/// The engine's own, but that groups of floats are gathered as all rows are, by the order of the values.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme<A> {
    engine: A,
}

impl<A: AggregateUDFImpl + PartialEq + Eq + std::hash::Hash> AggregateUDFImpl for Extreme<A> {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.engine.return_type(types)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.engine.coerce_types(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.engine.accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.return_field.data_type().is_floating() && self.engine.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.engine.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.engine.create_sliding_accumulator(args)
    }

    fn is_descending(&self) -> Option<bool> {
        self.engine.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.engine.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn set_monotonicity(&self, of: &DataType) -> SetMonotonicity {
        self.engine.set_monotonicity(of)
    }

    fn value_from_stats(
        &self,
        args: &datafusion::logical_expr::StatisticsArgs,
    ) -> Option<datafusion::common::ScalarValue> {
        self.engine.value_from_stats(args)
    }
}
