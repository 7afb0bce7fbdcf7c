//! `sum` that never wraps: it adds up in a type that no number of rows can fill, and a total that its own
//! type cannot hold is an error.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Field, FieldRef, Float64Type, Int64Type, i256,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};
use datafusion::physical_expr::NullState;

use super::arithmetic::postgres_name;
use super::wrong;

pub fn sum() -> AggregateUDF {
    AggregateUDF::new_from_impl(CheckedSum { engine: Sum::new() })
}

/// What is added up, and what in.
trait Exact: Send + Sync + std::fmt::Debug + 'static {
    type In: ArrowPrimitiveType + Send + std::fmt::Debug;
    type Wide: ArrowPrimitiveType + Send + std::fmt::Debug;

    fn widen(value: Native<Self::In>) -> Native<Self::Wide>;

    /// The total in the result's type, or none when that cannot hold it.
    fn narrow(total: Native<Self::Wide>, to: &DataType) -> Option<Native<Self::In>>;

    fn state(of: &DataType) -> DataType;
}

type Native<T> = <T as ArrowPrimitiveType>::Native;

#[derive(Debug)]
struct Integers;

impl Exact for Integers {
    type In = Int64Type;
    type Wide = Decimal128Type;

    fn widen(value: i64) -> i128 {
        i128::from(value)
    }

    fn narrow(total: i128, _: &DataType) -> Option<i64> {
        i64::try_from(total).ok()
    }

    fn state(_: &DataType) -> DataType {
        DataType::Decimal128(38, 0)
    }
}

#[derive(Debug)]
struct Numerics;

impl Exact for Numerics {
    type In = Decimal128Type;
    type Wide = Decimal256Type;

    fn widen(value: i128) -> i256 {
        i256::from_i128(value)
    }

    fn narrow(total: i256, to: &DataType) -> Option<i128> {
        let DataType::Decimal128(precision, scale) = to else { return None };
        let narrow = total.to_i128()?;
        Decimal128Type::validate_decimal_precision(narrow, *precision, *scale).is_ok().then_some(narrow)
    }

    fn state(of: &DataType) -> DataType {
        match of {
            DataType::Decimal128(_, scale) => DataType::Decimal256(76, *scale),
            other => other.clone(),
        }
    }
}

/// Quotients, which have room to spare.
#[derive(Debug)]
struct Quotients;

impl Exact for Quotients {
    type In = Decimal256Type;
    type Wide = Decimal256Type;

    fn widen(value: i256) -> i256 {
        value
    }

    fn narrow(total: i256, to: &DataType) -> Option<i256> {
        let DataType::Decimal256(precision, scale) = to else { return None };
        Decimal256Type::validate_decimal_precision(total, *precision, *scale).is_ok().then_some(total)
    }

    fn state(of: &DataType) -> DataType {
        of.clone()
    }
}

#[derive(Debug)]
struct Doubles;

impl Exact for Doubles {
    type In = Float64Type;
    type Wide = Float64Type;

    fn widen(value: f64) -> f64 {
        value
    }

    fn narrow(total: f64, _: &DataType) -> Option<f64> {
        (!total.is_infinite()).then_some(total)
    }

    fn state(of: &DataType) -> DataType {
        of.clone()
    }
}

fn narrowed<E: Exact>(total: Native<E::Wide>, to: &DataType) -> Result<Native<E::In>> {
    E::narrow(total, to).ok_or_else(|| {
        let help = match to {
            DataType::Int64 => "; sum numerics: sum(CAST(x AS numeric(38,0)))",
            DataType::Float64 => ": overflow, or an infinite value was summed",
            _ => ": it has more than 38 digits",
        };
        wrong(format!("sum is out of range of {}{help}", postgres_name(to)))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    engine: Sum,
}

/// Calls a generic function for the type of what is summed; others are left to the engine.
macro_rules! by_type {
    ($data_type:expr, $function:ident($($arg:expr),*), $otherwise:expr) => {
        match $data_type {
            DataType::Int64 => Ok($function::<Integers>($($arg),*)),
            DataType::Decimal128(..) => Ok($function::<Numerics>($($arg),*)),
            DataType::Decimal256(..) => Ok($function::<Quotients>($($arg),*)),
            DataType::Float64 => Ok($function::<Doubles>($($arg),*)),
            _ => $otherwise,
        }
    };
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.engine.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            return self.engine.state_fields(args);
        }
        let state = match args.return_type() {
            DataType::Int64 => Integers::state(args.return_type()),
            of @ DataType::Decimal128(..) => Numerics::state(of),
            of => of.clone(),
        };
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), state, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let to = args.return_field.data_type().clone();
        match args.is_distinct {
            true => {
                let distinct = self.engine.accumulator(args)?;
                by_type!(&to, distinct_of(distinct, &to), Err(wrong("sum(DISTINCT …) of this type")))
            }
            false => by_type!(&to, single(&to), self.engine.accumulator(args)),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let to = args.return_field.data_type().clone();
        match args.is_distinct {
            true => self.engine.create_sliding_accumulator(args),
            false if to == DataType::Float64 => Ok(Box::new(Frame { values: VecDeque::new() })),
            false => by_type!(&to, single(&to), self.engine.create_sliding_accumulator(args)),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.engine.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let to = args.return_field.data_type().clone();
        by_type!(&to, groups(&to), self.engine.create_groups_accumulator(args))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn single<E: Exact>(to: &DataType) -> Box<dyn Accumulator> {
    Box::new(Single::<E> { total: Native::<E::Wide>::ZERO, values: 0, to: to.clone() })
}

fn groups<E: Exact>(to: &DataType) -> Box<dyn GroupsAccumulator> {
    Box::new(Groups::<E> { totals: Vec::new(), nulls: NullState::new(), to: to.clone(), kind: PhantomData })
}

fn distinct_of<E: Exact>(distinct: Box<dyn Accumulator>, to: &DataType) -> Box<dyn Accumulator> {
    Box::new(Distinct::<E> { distinct, to: to.clone(), kind: PhantomData })
}

/// One total, from which rows that leave a window's frame are taken off again.
#[derive(Debug)]
struct Single<E: Exact> {
    total: Native<E::Wide>,
    values: u64,
    to: DataType,
}

impl<E: Exact> Single<E> {
    fn each<T: ArrowPrimitiveType>(array: &ArrayRef, mut see: impl FnMut(T::Native)) -> u64 {
        let array = array.as_primitive::<T>();
        array.iter().flatten().for_each(&mut see);
        (array.len() - array.null_count()) as u64
    }
}

impl<E: Exact> Accumulator for Single<E> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let total = &mut self.total;
        self.values += Self::each::<E::In>(&values[0], |value| *total = total.add_wrapping(E::widen(value)));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let total = &mut self.total;
        self.values -= Self::each::<E::In>(&values[0], |value| *total = total.sub_wrapping(E::widen(value)));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let total = &mut self.total;
        self.values += Self::each::<E::Wide>(&states[0], |value| *total = total.add_wrapping(value));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let total = (self.values > 0).then_some(self.total);
        Ok(vec![ScalarValue::new_primitive::<E::Wide>(total, &E::state(&self.to))?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total = match self.values {
            0 => None,
            _ => Some(narrowed::<E>(self.total, &self.to)?),
        };
        ScalarValue::new_primitive::<E::In>(total, &self.to)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// The doubles in a window's frame, added up anew for each row: what is taken off a sum of doubles leaves
/// its rounding behind, and a large value takes the small ones along.
#[derive(Debug)]
struct Frame {
    values: VecDeque<Option<f64>>,
}

impl Accumulator for Frame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(values[0].as_primitive::<Float64Type>().iter());
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.drain(..values[0].len().min(self.values.len()));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total = self.values.iter().flatten().copied().reduce(|total, value| total + value);
        let total = total.map(|total| narrowed::<Doubles>(total, &DataType::Float64)).transpose()?;
        Ok(ScalarValue::Float64(total))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<Option<f64>>()
    }
}

/// The engine's set of values, added up here.
#[derive(Debug)]
struct Distinct<E: Exact> {
    distinct: Box<dyn Accumulator>,
    to: DataType,
    kind: PhantomData<E>,
}

impl<E: Exact> Accumulator for Distinct<E> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.distinct.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.distinct.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.distinct.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.distinct.state()?;
        let mut total = Single::<E> { total: Native::<E::Wide>::ZERO, values: 0, to: self.to.clone() };
        if let Some(ScalarValue::List(list)) = state.first()
            && list.is_valid(0)
        {
            total.update_batch(&[list.value(0)])?;
        }
        total.evaluate()
    }

    fn size(&self) -> usize {
        self.distinct.size()
    }
}

/// One total for each group.
struct Groups<E: Exact> {
    totals: Vec<Native<E::Wide>>,
    nulls: NullState,
    to: DataType,
    kind: PhantomData<E>,
}

impl<E: Exact> Groups<E> {
    fn wide(&mut self, emit: EmitTo) -> PrimitiveArray<E::Wide> {
        let totals = emit.take_needed(&mut self.totals);
        PrimitiveArray::<E::Wide>::new(totals.into(), self.nulls.build(emit))
    }
}

impl<E: Exact> GroupsAccumulator for Groups<E> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.totals.resize(groups, Native::<E::Wide>::ZERO);
        let totals = &mut self.totals;
        let values = values[0].as_primitive::<E::In>();
        self.nulls.accumulate(group_indices, values, filter, groups, |group, value| {
            totals[group] = totals[group].add_wrapping(E::widen(value));
        });
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.totals.resize(groups, Native::<E::Wide>::ZERO);
        let totals = &mut self.totals;
        let values = states[0].as_primitive::<E::Wide>();
        self.nulls.accumulate(group_indices, values, None, groups, |group, value| {
            totals[group] = totals[group].add_wrapping(value);
        });
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let to = self.to.clone();
        let totals = self.wide(emit);
        let narrow: PrimitiveArray<E::In> = totals.try_unary(|total| narrowed::<E>(total, &to))?;
        Ok(Arc::new(narrow.with_data_type(to)))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let state = E::state(&self.to);
        Ok(vec![Arc::new(self.wide(emit).with_data_type(state))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<E::In>();
        let wide: PrimitiveArray<E::Wide> = values.unary(E::widen);
        let kept = filter.map(|filter| {
            let chosen: Vec<bool> = filter.iter().map(|kept| kept == Some(true)).collect();
            NullBuffer::from(chosen)
        });
        let (_, buffer, nulls) = wide.into_parts();
        let nulls = NullBuffer::union(nulls.as_ref(), kept.as_ref());
        let state = PrimitiveArray::<E::Wide>::new(buffer, nulls).with_data_type(E::state(&self.to));
        Ok(vec![Arc::new(state)])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<Native<E::Wide>>() + self.nulls.size()
    }
}
