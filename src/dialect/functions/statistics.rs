//! Variances, covariances and regressions of doubles, added up as Postgres adds them (by Youngs and Cramer), so that also
//! their last digits are Postgres's where it meets the rows in the same order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::wrong;

/// What is told of the sums.
type Tell = fn(&Sums) -> Option<f64>;

/// Each by its name, its other names, its number of arguments, and what it tells.
const ALL: [(&str, &[&str], usize, Tell); 16] = [
    ("stddev", &["stddev_samp"], 1, |of| of.sample(of.sxx).map(f64::sqrt)),
    ("stddev_pop", &[], 1, |of| of.population(of.sxx).map(f64::sqrt)),
    ("var", &["var_samp", "variance"], 1, |of| of.sample(of.sxx)),
    ("var_pop", &[], 1, |of| of.population(of.sxx)),
    ("covar_samp", &[], 2, |of| of.sample(of.sxy)),
    ("covar_pop", &[], 2, |of| of.population(of.sxy)),
    ("corr", &[], 2, |of| {
        (of.rows >= 1.0 && of.sxx != 0.0 && of.syy != 0.0).then(|| of.sxy / (of.sxx * of.syy).sqrt())
    }),
    ("regr_avgx", &[], 2, |of| of.population(of.sx)),
    ("regr_avgy", &[], 2, |of| of.population(of.sy)),
    ("regr_sxx", &[], 2, |of| (of.rows >= 1.0).then_some(of.sxx)),
    ("regr_syy", &[], 2, |of| (of.rows >= 1.0).then_some(of.syy)),
    ("regr_sxy", &[], 2, |of| (of.rows >= 1.0).then_some(of.sxy)),
    ("regr_slope", &[], 2, |of| of.slope()),
    ("regr_intercept", &[], 2, |of| of.slope().map(|_| (of.sy - of.sx * of.sxy / of.sxx) / of.rows)),
    ("regr_r2", &[], 2, |of| match (of.sxx, of.syy) {
        _ if of.rows < 1.0 => None,
        (0.0, _) => None,
        (_, 0.0) => Some(1.0),
        _ => Some((of.sxy * of.sxy) / (of.sxx * of.syy)),
    }),
    ("regr_count", &[], 2, |of| Some(of.rows)),
];

pub fn all() -> Vec<AggregateUDF> {
    let made = ALL.iter().enumerate().map(|(at, (_, aliases, ..))| {
        let signature = Signature::user_defined(Volatility::Immutable);
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        AggregateUDF::new_from_impl(Statistic { at, aliases, signature })
    });
    made.collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Statistic {
    at: usize,
    aliases: Vec<String>,
    signature: Signature,
}

impl Statistic {
    /// Only the count of a regression is a whole number.
    fn gives(&self) -> DataType {
        if self.name() == "regr_count" { DataType::Int64 } else { DataType::Float64 }
    }

    fn accumulator(&self, kept: Option<VecDeque<(f64, f64)>>) -> Box<dyn Accumulator> {
        let (.., tell) = ALL[self.at];
        Box::new(One { sums: Sums::default(), kept, tell, gives: self.gives() })
    }
}

impl AggregateUDFImpl for Statistic {
    fn name(&self) -> &str {
        ALL[self.at].0
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (name, _, number, _) = ALL[self.at];
        let numbers = types.iter().all(|of| of.is_numeric() || of.is_null());
        match numbers && types.len() == number {
            true => Ok(vec![DataType::Float64; number]),
            false => Err(wrong(format!("{name} is of numbers, {number} at a time"))),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.gives())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name: &str| {
            Arc::new(Field::new(format_state_name(args.name, name), DataType::Float64, false)) as FieldRef
        };
        Ok(["rows", "sx", "sxx", "sy", "syy", "sxy"].map(field).to_vec())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return Err(wrong(format!("{}(DISTINCT …) is not answered here", self.name())));
        }
        Ok(self.accumulator(None))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.accumulator(Some(VecDeque::new())))
    }
}

/// What is known of the rows so far: of one column its values are x.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    rows: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

impl Sums {
    fn is_finite(&self) -> bool {
        [self.sx, self.sxx, self.sy, self.syy, self.sxy].iter().all(|sum| sum.is_finite())
    }

    fn add(&mut self, x: f64, y: f64) {
        let before = self.rows;
        self.rows += 1.0;
        self.sx += x;
        self.sy += y;
        if before > 0.0 {
            let (of_x, of_y) = (x * self.rows - self.sx, y * self.rows - self.sy);
            let scale = 1.0 / (self.rows * before);
            self.sxx += of_x * of_x * scale;
            self.syy += of_y * of_y * scale;
            self.sxy += of_x * of_y * scale;
        } else if !x.is_finite() || !y.is_finite() {
            (self.sxx, self.syy, self.sxy) = (f64::NAN, f64::NAN, f64::NAN);
        }
    }

    /// One column alone, which Postgres divides and does not scale.
    fn add_one(&mut self, x: f64) {
        let before = self.rows;
        self.rows += 1.0;
        self.sx += x;
        if before > 0.0 {
            let of = x * self.rows - self.sx;
            self.sxx += of * of / (self.rows * before);
        } else if !x.is_finite() {
            self.sxx = f64::NAN;
        }
    }

    fn merge(&mut self, other: &Sums) {
        if self.rows == 0.0 {
            *self = *other;
        } else if other.rows != 0.0 {
            let rows = self.rows + other.rows;
            let of_x = self.sx / self.rows - other.sx / other.rows;
            let of_y = self.sy / self.rows - other.sy / other.rows;
            self.sxx += other.sxx + self.rows * other.rows * of_x * of_x / rows;
            self.syy += other.syy + self.rows * other.rows * of_y * of_y / rows;
            self.sxy += other.sxy + self.rows * other.rows * of_x * of_y / rows;
            self.sx += other.sx;
            self.sy += other.sy;
            self.rows = rows;
        }
    }

    fn sample(&self, sum: f64) -> Option<f64> {
        (self.rows >= 2.0).then(|| sum / (self.rows - 1.0))
    }

    fn population(&self, sum: f64) -> Option<f64> {
        (self.rows >= 1.0).then(|| sum / self.rows)
    }

    fn slope(&self) -> Option<f64> {
        (self.rows >= 1.0 && self.sxx != 0.0).then(|| self.sxy / self.sxx)
    }
}

#[derive(Debug)]
struct One {
    sums: Sums,
    /// The rows of a frame that moves: what left cannot be taken off again.
    kept: Option<VecDeque<(f64, f64)>>,
    tell: Tell,
    gives: DataType,
}

/// The rows of which all arguments are there, x and y; Postgres names y first.
fn pairs(values: &[ArrayRef]) -> Result<(bool, Vec<(f64, f64)>)> {
    match values {
        [only] => {
            let only = only.as_primitive::<Float64Type>();
            Ok((true, only.iter().flatten().map(|x| (x, 0.0)).collect()))
        }
        [y, x] => {
            let (y, x) = (y.as_primitive::<Float64Type>(), x.as_primitive::<Float64Type>());
            Ok((false, x.iter().zip(y).filter_map(|(x, y)| Some((x?, y?))).collect()))
        }
        _ => Err(wrong("a statistic is of one column or of two")),
    }
}

impl One {
    fn add(&mut self, one: bool, pairs: impl IntoIterator<Item = (f64, f64)>) -> Result<()> {
        for (x, y) in pairs {
            let finite = x.is_finite() && y.is_finite() && self.sums.is_finite();
            if one {
                self.sums.add_one(x)
            } else {
                self.sums.add(x, y)
            }
            // What was finite does not become infinite without a word.
            if finite && !self.sums.is_finite() {
                return Err(wrong("value out of range: overflow"));
            }
        }
        Ok(())
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (one, pairs) = pairs(values)?;
        if let Some(kept) = &mut self.kept {
            kept.extend(pairs.iter().copied());
        }
        self.add(one, pairs)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (one, pairs) = pairs(values)?;
        let Some(kept) = &mut self.kept else { return Err(wrong("rows are not taken off again")) };
        kept.drain(..pairs.len().min(kept.len()));
        let left: Vec<(f64, f64)> = kept.iter().copied().collect();
        self.sums = Sums::default();
        self.add(one, left)
    }

    fn supports_retract_batch(&self) -> bool {
        self.kept.is_some()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let columns: Vec<_> = states.iter().map(|state| state.as_primitive::<Float64Type>()).collect();
        let [rows, sx, sxx, sy, syy, sxy] = columns.as_slice() else {
            return Err(wrong("a statistic's state has six parts"));
        };
        for at in 0..rows.len() {
            let other = Sums {
                rows: rows.value(at),
                sx: sx.value(at),
                sxx: sxx.value(at),
                sy: sy.value(at),
                syy: syy.value(at),
                sxy: sxy.value(at),
            };
            let finite = self.sums.is_finite() && other.is_finite();
            self.sums.merge(&other);
            if finite && !self.sums.is_finite() {
                return Err(wrong("value out of range: overflow"));
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let Sums { rows, sx, sxx, sy, syy, sxy } = self.sums;
        Ok([rows, sx, sxx, sy, syy, sxy].map(|sum| ScalarValue::Float64(Some(sum))).to_vec())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let told = (self.tell)(&self.sums);
        Ok(match self.gives {
            DataType::Int64 => ScalarValue::Int64(told.map(|rows| rows as i64)),
            _ => ScalarValue::Float64(told),
        })
    }

    fn size(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.capacity() * size_of::<(f64, f64)>());
        size_of_val(self) + kept
    }
}
