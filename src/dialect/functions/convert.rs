//! Casts with Postgres's meaning: local times and instants by the zone's clocks, doubles to integers and
//! numerics by rounding, and what is out of range is an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float32Array, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive};
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arithmetic::postgres_name;
use super::{wrong, zone};

/// Casts that fail rather than give NULL.
pub const EXACT: CastOptions =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

/// A local time, or a day's midnight, to the instant at which the clocks of the type's zone show it.
pub fn to_instant(to: &DataType) -> Arc<ScalarUDF> {
    convert(Kind::Instant, to)
}

/// An instant to what the clocks of its own zone show.
pub fn to_local(to: &DataType) -> Arc<ScalarUDF> {
    convert(Kind::Local, to)
}

/// A double to an integer: the nearest, the even one of two.
pub fn to_integer(to: &DataType) -> Arc<ScalarUDF> {
    convert(Kind::Integer, to)
}

/// A double to a numeric: its fifteen (of a real six) significant digits, rounded half away from zero.
pub fn to_numeric(to: &DataType) -> Arc<ScalarUDF> {
    convert(Kind::Numeric, to)
}

/// A numeric to the double that is nearest to it.
pub fn to_double(to: &DataType) -> Arc<ScalarUDF> {
    convert(Kind::Double, to)
}

/// A double to the real that is nearest to it.
pub fn to_real() -> Arc<ScalarUDF> {
    convert(Kind::Real, &DataType::Float32)
}

fn convert(kind: Kind, to: &DataType) -> Arc<ScalarUDF> {
    let name = match kind {
        Kind::Instant => "starmill instant",
        Kind::Local => "starmill local",
        Kind::Integer => "starmill integer",
        Kind::Numeric => "starmill numeric",
        Kind::Double => "starmill double",
        Kind::Real => "starmill real",
    };
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Convert { kind, to: to.clone(), name, signature }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Instant,
    Local,
    Integer,
    Numeric,
    Double,
    Real,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Convert {
    kind: Kind,
    to: DataType,
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Convert {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("a cast has one operand")) };
        over(value, |array| self.converted(array))
    }
}

/// Applies a function of arrays to an array or to a single value.
pub fn over(value: &ColumnarValue, f: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(f(array)?),
        ColumnarValue::Scalar(scalar) => {
            let array = f(&scalar.to_array_of_size(1)?)?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        }
    })
}

impl Convert {
    fn converted(&self, array: &ArrayRef) -> Result<ArrayRef> {
        match self.kind {
            Kind::Instant => {
                let zone = zone_of(&self.to)?;
                shifted(array, &self.to, |local| zone::instant(local, zone))
            }
            Kind::Local => {
                let zone = zone_of(array.data_type())?;
                shifted(array, &self.to, |instant| zone::local(instant, zone))
            }
            Kind::Integer => to_integers(array, &self.to),
            Kind::Numeric => to_numerics(array, &self.to),
            Kind::Double => to_doubles(array, &self.to),
            Kind::Real => to_reals(array),
        }
    }
}

fn zone_of(data_type: &DataType) -> Result<Tz> {
    match data_type {
        DataType::Timestamp(_, Some(name)) => zone::zone(name),
        _ => Ok(Tz::UTC),
    }
}

/// Days or times as microseconds, whatever their unit.
pub fn micros(array: &ArrayRef) -> Result<Int64Array> {
    let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
    let times = match array.data_type() {
        // A timestamp's microseconds are those of its instant, whatever zone shows it.
        DataType::Timestamp(unit, Some(_)) => {
            let instant =
                array.to_data().into_builder().data_type(DataType::Timestamp(*unit, None)).build()?;
            cast_with_options(&arrow::array::make_array(instant), &plain, &EXACT)?
        }
        _ => cast_with_options(array, &plain, &EXACT)?,
    };
    Ok(times.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>())
}

/// Times moved between a zone's clocks and UTC's.
pub fn shifted(array: &ArrayRef, to: &DataType, shift: impl Fn(i64) -> Option<i64>) -> Result<ArrayRef> {
    let times = micros(array)?;
    let moved: Int64Array =
        times.try_unary(|micros| shift(micros).ok_or_else(|| wrong("timestamp out of range")))?;
    typed(moved, to)
}

/// Microseconds as times of a type.
pub fn typed(micros: Int64Array, to: &DataType) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, name) = to else { return Err(wrong("a time becomes a time")) };
    let micros = micros.reinterpret_cast::<TimestampMicrosecondType>();
    let plain = cast_with_options(&micros, &DataType::Timestamp(*unit, None), &EXACT)?;
    let typed = plain.to_data().into_builder().data_type(DataType::Timestamp(*unit, name.clone())).build()?;
    Ok(arrow::array::make_array(typed))
}

fn to_integers(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let doubles = cast_with_options(array, &DataType::Float64, &EXACT)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    // 2^63 itself is no bigint, and every double below it is a whole one that fits.
    let range = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
    let out_of_range = || wrong(format!("{} out of range", postgres_name(to)));
    let whole: Int64Array = doubles.try_unary::<_, Int64Type, _>(|value| {
        let rounded = value.round_ties_even();
        if range.contains(&rounded) { Ok(rounded as i64) } else { Err(out_of_range()) }
    })?;
    cast_with_options(&whole, to, &EXACT).map_err(|_| out_of_range())
}

fn to_numerics(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = to else { return Err(wrong("a numeric of 38 digits")) };
    // Widening a real adds digits that it never had, so it is asked for its own.
    let digits = if array.data_type() == &DataType::Float64 { 15 } else { 6 };
    let doubles = cast_with_options(array, &DataType::Float64, &EXACT)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    let mut numerics = Decimal128Array::builder(doubles.len());
    for value in doubles {
        match value {
            None => numerics.append_null(),
            Some(value) => {
                let numeric = numeric_of(value, digits, *precision, *scale);
                numerics.append_value(numeric.ok_or_else(|| {
                    wrong(format!("numeric field overflow: {value} is no numeric({precision},{scale})"))
                })?);
            }
        }
    }
    Ok(Arc::new(numerics.finish().with_precision_and_scale(*precision, *scale)?))
}

fn to_reals(array: &ArrayRef) -> Result<ArrayRef> {
    let doubles = cast_with_options(array, &DataType::Float64, &EXACT)?;
    let doubles = doubles.as_primitive::<Float64Type>();
    let reals: Float32Array = doubles.try_unary(|double| {
        let real = double as f32;
        match () {
            () if real.is_infinite() && double.is_finite() => Err(wrong("value out of range: overflow")),
            () if real == 0.0 && double != 0.0 => Err(wrong("value out of range: underflow")),
            () => Ok(real),
        }
    })?;
    Ok(Arc::new(reals))
}

/// Numerics as doubles: by one exact division where both sides are exact, else by their digits.
fn to_doubles(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    const EXACT_INTEGERS: i128 = 1 << 53;
    const EXACT_POWERS: i8 = 22;
    let read = |text: &str| text.parse::<f64>().map_err(|_| wrong(format!("{text} is no double")));
    let double: Box<dyn Fn(usize) -> Result<f64>> = match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let divisor = (0..=EXACT_POWERS).contains(scale).then(|| 10_f64.powi(i32::from(*scale)));
            let values = array.as_primitive::<Decimal128Type>();
            Box::new(move |at| match (values.value(at), divisor) {
                (value, Some(divisor)) if value.abs() <= EXACT_INTEGERS => Ok(value as f64 / divisor),
                _ => read(&values.value_as_string(at)),
            })
        }
        _ => {
            let values = array.as_primitive_opt::<Decimal256Type>();
            let values = values.ok_or_else(|| wrong("a numeric becomes a double"))?;
            Box::new(move |at| read(&values.value_as_string(at)))
        }
    };
    let each = (0..array.len()).map(|at| array.is_valid(at).then(|| double(at)).transpose());
    let doubles = each.collect::<Result<Float64Array>>()?;
    if *to == DataType::Float64 {
        return Ok(Arc::new(doubles));
    }
    let overflows = |single: &f32, double: &f64| single.is_infinite() && double.is_finite();
    let singles: Float32Array = doubles.unary(|double| double as f32);
    if singles.values().iter().zip(doubles.values()).any(|(single, double)| overflows(single, double)) {
        return Err(wrong("real out of range"));
    }
    Ok(Arc::new(singles))
}

/// A double's significant digits as an integer of a scale; none when it has no such numeric.
fn numeric_of(value: f64, digits: usize, precision: u8, scale: i8) -> Option<i128> {
    if !value.is_finite() || precision > DECIMAL128_MAX_PRECISION {
        return None;
    }
    let text = format!("{value:.*e}", digits - 1);
    let decimal: BigDecimal = text.parse().ok()?;
    let rounded = decimal.with_scale_round(i64::from(scale), RoundingMode::HalfUp);
    let (integer, _) = rounded.into_bigint_and_exponent();
    let number = integer.to_i128()?;
    (number.unsigned_abs() < 10_u128.checked_pow(u32::from(precision))?).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_become_the_numerics_that_postgres_makes_of_them() {
        // SELECT x::float8::numeric(12,2)
        for (double, hundredths) in [
            (1.005, 101),
            (2.675, 268),
            (-1.005, -101),
            (0.125, 13),
            (1e9 + 0.005, 100_000_000_001),
            (0.0, 0),
        ] {
            assert_eq!(numeric_of(double, 15, 12, 2), Some(hundredths), "{double}");
        }
        assert_eq!(numeric_of(1e15, 15, 12, 2), None);
        assert_eq!(numeric_of(f64::NAN, 15, 12, 2), None);
        assert_eq!(numeric_of(f64::from(0.1_f32), 6, 12, 8), Some(10_000_000));
    }
}
