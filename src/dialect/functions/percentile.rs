//! Ordered-set aggregates: `percentile_cont`, `percentile_disc` and `mode`, WITHIN GROUP (ORDER BY …).

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::{SortOptions, cast, concat, sort};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::series::list;
use super::wrong;

pub fn all() -> [AggregateUDF; 3] {
    [Kind::Continuous, Kind::Discrete, Kind::Mode].map(|kind| {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(Percentile { kind, signature })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Between two values, in proportion.
    Continuous,
    /// The first value at or beyond the fraction.
    Discrete,
    /// The value that is there most often.
    Mode,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Percentile {
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Percentile {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Continuous => "percentile_cont",
            Kind::Discrete => "percentile_disc",
            Kind::Mode => "mode",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let fraction = |of: &DataType| match of {
            DataType::List(_) => list(DataType::Float64),
            _ => DataType::Float64,
        };
        match (self.kind, types) {
            (Kind::Continuous, [value, of]) if value.is_numeric() || value.is_null() => {
                Ok(vec![DataType::Float64, fraction(of)])
            }
            (Kind::Discrete, [value, of]) => Ok(vec![value.clone(), fraction(of)]),
            (Kind::Mode, [value]) => Ok(vec![value.clone()]),
            (Kind::Mode, _) => Err(wrong("mode is of one column: mode() WITHIN GROUP (ORDER BY x)")),
            (Kind::Continuous, [_, _]) => Err(wrong(
                "percentile_cont is answered of numbers; of other values take percentile_disc, of intervals their seconds",
            )),
            _ => Err(wrong("a percentile is of one column: percentile_cont(0.9) WITHIN GROUP (ORDER BY x)")),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let value = types.first().cloned().ok_or_else(|| wrong("a percentile of nothing"))?;
        Ok(match types.get(1) {
            Some(DataType::List(_)) => list(value),
            _ => value,
        })
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = args.input_fields.first().ok_or_else(|| wrong("a percentile of nothing"))?;
        let item = Field::new_list_field(value.data_type().clone(), true);
        let values = Field::new(format_state_name(args.name, "values"), DataType::List(item.into()), true);
        let fractions = Field::new(format_state_name(args.name, "fractions"), list(DataType::Float64), true);
        Ok(vec![values.into(), fractions.into()])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let of = match args.return_field.data_type() {
            DataType::List(item) if self.kind != Kind::Mode && is_list(&args) => item.data_type().clone(),
            of => of.clone(),
        };
        let descending = args.order_bys.first().is_some_and(|sort| sort.options.descending);
        Ok(Box::new(Values {
            kind: self.kind,
            of,
            several: is_list(&args),
            descending,
            parts: Vec::new(),
            bytes: 0,
            fractions: None,
        }))
    }
}

/// Whether several fractions are asked for at once.
fn is_list(args: &AccumulatorArgs) -> bool {
    args.expr_fields.get(1).is_some_and(|field| matches!(field.data_type(), DataType::List(_)))
}

#[derive(Debug)]
struct Values {
    kind: Kind,
    of: DataType,
    several: bool,
    descending: bool,
    parts: Vec<ArrayRef>,
    /// Of the parts' values; what they are slices of is shared by the groups.
    bytes: usize,
    fractions: Option<Vec<Option<f64>>>,
}

/// About what an array takes besides its values.
const PART: usize = 192;
/// Parts after which small ones are joined, and the rows of one that is not small.
const PARTS: usize = 32;
const ROWS: usize = 1_024;
/// Bytes of a group whose sorting counts, beside those of thousands of small ones that are sorted one by one.
const LARGE: usize = 1 << 20;

impl Values {
    fn keep(&mut self, part: ArrayRef) -> Result<()> {
        self.bytes += part.to_data().get_slice_memory_size()?;
        self.parts.push(part);
        let small = self.parts.len() - self.parts.iter().rev().take_while(|part| part.len() < ROWS).count();
        if self.parts.len() - small >= PARTS {
            let joined: Vec<&dyn Array> = self.parts[small..].iter().map(|part| part.as_ref()).collect();
            let joined = concat(&joined)?;
            self.parts.truncate(small);
            self.parts.push(joined);
        }
        Ok(())
    }

    /// All values that there are, in their order.
    fn sorted(&self) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.parts.iter().map(|part| part.as_ref()).collect();
        let whole = match parts.is_empty() {
            true => arrow::array::new_empty_array(&self.of),
            false => concat(&parts)?,
        };
        let options = SortOptions { descending: self.descending, nulls_first: false };
        let sorted = sort(&whole, Some(options))?;
        Ok(sorted.slice(0, sorted.len() - sorted.null_count()))
    }

    fn one(&self, sorted: &ArrayRef, fraction: Option<f64>) -> Result<ScalarValue> {
        let Some(fraction) = fraction.filter(|_| !sorted.is_empty()) else {
            return ScalarValue::try_from(&self.of);
        };
        if !(0.0..=1.0).contains(&fraction) {
            return Err(wrong(format!("percentile value {fraction} is not between 0 and 1")));
        }
        let rows = sorted.len();
        if self.kind == Kind::Discrete {
            let row = (fraction * rows as f64).ceil().max(1.0) as usize;
            return ScalarValue::try_from_array(sorted, row.min(rows) - 1);
        }
        let values = sorted.as_primitive::<Float64Type>();
        let place = fraction * (rows - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        let (first, second) = (values.value(low), values.value(high));
        let between = if low == high { first } else { first + (place - low as f64) * (second - first) };
        Ok(ScalarValue::Float64(Some(between)))
    }

    /// The first of those that are there most often.
    fn mode(&self, sorted: &ArrayRef) -> Result<ScalarValue> {
        let ends = arrow::compute::partition(&[Arc::clone(sorted)])?.ranges();
        let mut best: Option<&std::ops::Range<usize>> = None;
        for range in &ends {
            if best.is_none_or(|best| range.len() > best.len()) {
                best = Some(range);
            }
        }
        match best {
            Some(range) => ScalarValue::try_from_array(sorted, range.start),
            None => ScalarValue::try_from(&self.of),
        }
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [value, rest @ ..] = values else { return Err(wrong("a percentile of nothing")) };
        if value.is_empty() {
            return Ok(());
        }
        // Of a mode what stands behind its values is what they are sorted by.
        let given = rest.first().filter(|_| self.kind != Kind::Mode);
        if let (None, Some(given)) = (&self.fractions, given) {
            let given = match given.as_list_opt::<i32>() {
                Some(lists) => lists.value(0),
                None => given.slice(0, 1),
            };
            let given = cast(&given, &DataType::Float64)?;
            self.fractions = Some(given.as_primitive::<Float64Type>().iter().collect());
        }
        self.keep(Arc::clone(value))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, fractions] = states else { return Err(wrong("a percentile's state has two parts")) };
        let (values, fractions) = (values.as_list::<i32>(), fractions.as_list::<i32>());
        for row in 0..values.len() {
            if values.is_null(row) || values.value_length(row) == 0 {
                continue;
            }
            self.keep(values.value(row))?;
            if self.fractions.is_none() && fractions.is_valid(row) {
                self.fractions = Some(fractions.value(row).as_primitive::<Float64Type>().iter().collect());
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sorted = self.sorted()?;
        let values = datafusion::common::utils::SingleRowListArrayBuilder::new(sorted).build_list_scalar();
        let fractions: ArrayRef = Arc::new(Float64Array::from(self.fractions.clone().unwrap_or_default()));
        let fractions =
            datafusion::common::utils::SingleRowListArrayBuilder::new(fractions).build_list_scalar();
        Ok(vec![values, fractions])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sorted = self.sorted()?;
        if self.kind == Kind::Mode {
            return self.mode(&sorted);
        }
        let fractions = self.fractions.clone().unwrap_or_default();
        if !self.several {
            return self.one(&sorted, fractions.first().copied().flatten());
        }
        if sorted.is_empty() {
            return ScalarValue::try_from(&list(self.of.clone()));
        }
        let all =
            fractions.iter().map(|fraction| self.one(&sorted, *fraction)).collect::<Result<Vec<_>>>()?;
        Ok(ScalarValue::List(ScalarValue::new_list_nullable(&all, &self.of)))
    }

    fn size(&self) -> usize {
        // To sort them, the values are joined, numbered and taken in their order.
        let sorting = if self.bytes > LARGE { self.bytes.saturating_mul(5) / 2 } else { 0 };
        size_of_val(self) + self.bytes + self.parts.len() * PART + sorting
    }
}
