//! `sum` and `avg` of intervals: months, days and times are added up each for itself, as in Postgres, and an average is their
//! sum over their number, what is left of months going to days.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, IntervalMonthDayNano};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, SortExpr, Volatility, WindowFunctionDefinition,
};

use super::interval::{intervals, length_of};
use super::plain::INTERVAL;
use super::scaled::cascaded;
use super::wrong;
use crate::dialect::rewrite::is_interval;

/// The engine's `avg`, which takes intervals, too, until they are told apart.
pub fn avg() -> AggregateUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    AggregateUDF::new_from_impl(Average { engine: avg_udaf(), signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Average {
    engine: Arc<AggregateUDF>,
    signature: Signature,
}

impl AggregateUDFImpl for Average {
    fn name(&self) -> &str {
        "avg"
    }

    fn aliases(&self) -> &[String] {
        self.engine.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of] if is_interval(of) => Ok(vec![INTERVAL]),
            [of @ DataType::Float32] => Ok(vec![of.clone()]),
            [of] if of.is_numeric() => Ok(vec![of.clone()]),
            [DataType::Null] => Ok(vec![DataType::Float64]),
            _ => Err(wrong("avg takes numbers or intervals")),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of] if is_interval(of) => Ok(INTERVAL),
            [of] if of.is_integer() || *of == DataType::Float32 => Ok(DataType::Float64),
            types => self.engine.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.engine.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.engine.state_fields(args)
    }
}

/// An aggregate of intervals in Postgres's way, where it is one.
pub fn aggregate(mut of: AggregateFunction, of_first: &DataType) -> Option<AggregateFunction> {
    if !is_interval(of_first) {
        return None;
    }
    let first = of.params.args.first()?.clone();
    match of.func.name() {
        "min" | "max" if of.params.order_by.is_empty() => {
            // The first of those that are as long as each other.
            let ascending = of.func.name() == "min";
            of.params.order_by = vec![SortExpr::new(length_of(first), ascending, false)];
            of.params.distinct = false;
            let func = first_value_udaf();
            // Where there are only NULLs the first is one.
            Some(AggregateFunction { func, params: of.params })
        }
        name => Some(AggregateFunction { func: Arc::new(sums(name)?), params: of.params }),
    }
}

pub fn window(of: WindowFunction, of_first: &DataType) -> Option<WindowFunction> {
    let sums = sums(of.fun.name()).filter(|_| is_interval(of_first))?;
    Some(WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(Arc::new(sums)), params: of.params })
}

fn sums(name: &str) -> Option<AggregateUDF> {
    let kind = match name {
        "sum" => Kind::Sum,
        "avg" | "mean" => Kind::Average,
        _ => return None,
    };
    let signature = Signature::any(1, Volatility::Immutable);
    Some(AggregateUDF::new_from_impl(Sums { kind, signature }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Average,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sums {
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Sums {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum => "starmill sum of intervals",
            Kind::Average => "starmill avg of intervals",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Added { kind: self.kind, months: 0, days: 0, micros: 0, count: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, DataType::Int64, true))
        };
        Ok(["months", "days", "micros", "count"].map(field).to_vec())
    }
}

#[derive(Debug)]
struct Added {
    kind: Kind,
    months: i64,
    days: i64,
    micros: i64,
    count: i64,
}

fn out_of_range() -> datafusion::common::DataFusionError {
    wrong("interval out of range")
}

impl Added {
    fn add(&mut self, [months, days, micros, count]: [i64; 4]) -> Result<()> {
        let added = |one: i64, other: i64| one.checked_add(other).ok_or_else(out_of_range);
        self.months = added(self.months, months)?;
        self.days = added(self.days, days)?;
        self.micros = added(self.micros, micros)?;
        self.count = added(self.count, count)?;
        Ok(())
    }

    fn each(&mut self, values: &[ArrayRef], sign: i64) -> Result<()> {
        let [values] = values else { return Err(wrong("intervals are added up")) };
        for of in intervals(values)?.iter().flatten() {
            let parts = [i64::from(of.months), i64::from(of.days), of.nanoseconds / 1_000, 1];
            self.add(parts.map(|part| part * sign))?;
        }
        Ok(())
    }
}

impl Accumulator for Added {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let parts: Vec<&Int64Array> =
            states.iter().filter_map(|state| state.as_primitive_opt::<Int64Type>()).collect();
        let [months, days, micros, count] = parts.as_slice() else {
            return Err(wrong("a state has four parts"));
        };
        for row in 0..months.len() {
            self.add([months.value(row), days.value(row), micros.value(row), count.value(row)])?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok([self.months, self.days, self.micros, self.count]
            .map(|part| ScalarValue::Int64(Some(part)))
            .to_vec())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let narrow = |part: i64| i32::try_from(part).map_err(|_| out_of_range());
        let nanos = self.micros.checked_mul(1_000).ok_or_else(out_of_range)?;
        let sum = IntervalMonthDayNano::new(narrow(self.months)?, narrow(self.days)?, nanos);
        let count = self.count as f64;
        let found = match self.kind {
            Kind::Sum => sum,
            Kind::Average => cascaded(sum, |value| value / count).ok_or_else(out_of_range)?,
        };
        Ok(ScalarValue::IntervalMonthDayNano(Some(found)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// A key of an order, by its length where it is an interval.
pub fn sorted(key: SortExpr, of: &DataType) -> SortExpr {
    if is_interval(of) { SortExpr { expr: length_of(key.expr), ..key } } else { key }
}
