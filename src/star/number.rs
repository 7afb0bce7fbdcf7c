//! One number of a control: exact unless it came from floating point.

use std::fmt;
use std::str::FromStr;

use bigdecimal::{BigDecimal, Zero};
use datafusion::common::ScalarValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sums of doubles depend on the order of their rows in the last digits; two of them are the same
/// when they differ by less than this part of the larger.
const TOLERANCE: f64 = 1e-9;

/// A sum this many times smaller than what was added up is one that nearly cancelled out.
const CANCELS: f64 = 10.0;

#[derive(Debug, Clone)]
pub enum Number {
    Exact(BigDecimal),
    /// `within` is how far another order of the rows may lead from it.
    Approximate {
        value: f64,
        within: f64,
    },
    /// The sum of no rows, or of NULLs only.
    Null,
}

impl Number {
    pub fn of_float(value: f64) -> Number {
        Number::Approximate { value, within: 0.0 }
    }

    /// A sum of doubles. Each addition rounds by half a unit in the last place at most of what was added up so far, which is never
    /// more than all values without their signs: a sum that nearly cancels out is far less exact than its size says.
    pub fn of_floats(sum: f64, count: u64, magnitude: f64) -> Number {
        let within = count as f64 * f64::EPSILON * magnitude;
        let cancels = sum.abs() < magnitude / CANCELS;
        let matters = cancels && within.is_finite() && within > TOLERANCE * sum.abs();
        Number::Approximate { value: sum, within: if matters { within } else { 0.0 } }
    }

    pub fn of_count(count: u64) -> Number {
        Number::Exact(BigDecimal::from(count))
    }

    /// An integer scaled by `10^scale`.
    pub fn of_scaled(digits: i128, scale: i8) -> Number {
        Number::Exact(BigDecimal::new(digits.into(), i64::from(scale)))
    }

    /// What Postgres printed: the value, and the name of its type.
    pub fn parse(text: Option<&str>, type_name: &str) -> Option<Number> {
        let Some(text) = text else { return Some(Number::Null) };
        if matches!(type_name, "double precision" | "real") {
            let word = text.to_ascii_lowercase();
            return word.replace("infinity", "inf").parse().ok().map(Number::of_float);
        }
        BigDecimal::from_str(text).ok().map(Number::Exact)
    }

    pub fn of_scalar(value: &ScalarValue) -> Option<Number> {
        if value.is_null() {
            return Some(Number::Null);
        }
        match value {
            ScalarValue::Float64(Some(value)) => Some(Number::of_float(*value)),
            ScalarValue::Float32(Some(value)) => Some(Number::of_float(f64::from(*value))),
            ScalarValue::Decimal128(Some(digits), _, scale) => Some(Number::of_scaled(*digits, *scale)),
            ScalarValue::Decimal256(Some(digits), _, scale) => {
                let digits = BigDecimal::from_str(&digits.to_string()).ok()?;
                Some(Number::Exact(digits * BigDecimal::new(1.into(), i64::from(*scale))))
            }
            other => BigDecimal::from_str(&other.to_string()).ok().map(Number::Exact),
        }
    }

    /// Whether both sides say the same. A sum of nothing is 0, as people mean it.
    pub fn agrees_with(&self, other: &Number) -> bool {
        match (self, other) {
            (Number::Exact(a), Number::Exact(b)) => a == b,
            (Number::Null, Number::Null) => true,
            (Number::Null, Number::Exact(n)) | (Number::Exact(n), Number::Null) => n.is_zero(),
            _ => {
                let (a, b) = (self.as_f64(), other.as_f64());
                let within = self.within().max(other.within()).max(TOLERANCE * a.abs().max(b.abs()));
                let close = (a - b).abs() <= within;
                close || a == b || (a.is_nan() && b.is_nan())
            }
        }
    }

    /// Whether it is farther from nothing: what has rows twice sums up to more, of negative numbers too.
    pub fn is_more_than(&self, other: &Number) -> bool {
        self.as_f64().abs() > other.as_f64().abs()
    }

    /// `other - self`, for people.
    pub fn difference(&self, other: &Number) -> Number {
        let exact = |number: &Number| match number {
            Number::Exact(value) => Some(value.clone()),
            Number::Null => Some(BigDecimal::zero()),
            Number::Approximate { .. } => None,
        };
        match (exact(self), exact(other)) {
            (Some(a), Some(b)) => Number::Exact(b - a),
            _ => Number::of_float(other.as_f64() - self.as_f64()),
        }
    }

    fn within(&self) -> f64 {
        match self {
            Number::Approximate { within, .. } => *within,
            Number::Exact(_) | Number::Null => 0.0,
        }
    }

    fn as_f64(&self) -> f64 {
        match self {
            Number::Exact(value) => value.to_string().parse().unwrap_or(f64::NAN),
            Number::Approximate { value, .. } => *value,
            Number::Null => 0.0,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Exact(value) => f.write_str(&value.to_plain_string()),
            Number::Approximate { value, .. } => write!(f, "{value}"),
            Number::Null => f.write_str("NULL"),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&match self {
            Number::Approximate { value, within } if *within > 0.0 => format!("~{value}±{within}"),
            Number::Approximate { value, .. } => format!("~{value}"),
            other => other.to_string(),
        })
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = match text.strip_prefix('~') {
            Some(float) => approximate(float),
            None if text == "NULL" => Some(Number::Null),
            None => BigDecimal::from_str(&text).ok().map(Number::Exact),
        };
        parsed.ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a number")))
    }
}

/// `12.5`, or `12.5±0.25`.
fn approximate(text: &str) -> Option<Number> {
    let (value, within) = text.split_once('±').unwrap_or((text, "0"));
    Some(Number::Approximate { value: value.parse().ok()?, within: within.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Number {
        Number::parse(Some(text), "numeric").unwrap()
    }

    #[test]
    fn a_cent_is_never_rounded_away() {
        assert!(exact("100.10").agrees_with(&exact("100.1")));
        assert!(!exact("99999999999999999999.99").agrees_with(&exact("99999999999999999999.98")));
        assert_eq!(exact("10.00").difference(&exact("9.99")).to_string(), "-0.01");
    }

    #[test]
    fn the_sum_of_nothing_is_zero_but_not_one() {
        assert!(Number::Null.agrees_with(&exact("0.00")));
        assert!(!Number::Null.agrees_with(&exact("1")));
    }

    #[test]
    fn doubles_agree_but_for_the_order_of_their_rows() {
        let sum = Number::of_float(0.1 + 0.2);
        assert!(sum.agrees_with(&Number::of_float(0.3)));
        assert!(!sum.agrees_with(&Number::of_float(0.300_001)));
    }

    #[test]
    fn a_sum_that_nearly_cancels_out_is_as_exact_as_what_was_added_up() {
        let values = [1e17, 1.0, -1e17, 2.0, 0.3];
        let sum =
            Number::of_floats(values.iter().sum(), 5, values.iter().map(|value: &f64| value.abs()).sum());
        let other_order: f64 = [1e17, -1e17, 1.0, 2.0, 0.3].iter().sum();
        assert!(sum.agrees_with(&Number::of_float(other_order)), "{sum:?} {other_order}");
        assert!(!sum.agrees_with(&Number::of_float(1e6)));
        let kept: Number = serde_json::from_str(&serde_json::to_string(&sum).unwrap()).unwrap();
        assert!(kept.agrees_with(&Number::of_float(other_order)));
        let plain = serde_json::to_string(&Number::of_floats(12.5, 3, 12.5)).unwrap();
        assert_eq!(plain, "\"~12.5\"");
    }
}
