//! A numeric as Postgres computes with it: its digits, and how many of them stand after the point. How many a
//! quotient has depends on the values divided.

use std::sync::LazyLock;

use arrow::datatypes::i256;
use bigdecimal::num_bigint::{BigInt, Sign};
use datafusion::common::Result;

use super::wrong;

/// Digits that a quotient has at least, as Postgres counts them: in groups of four.
pub const SIGNIFICANT: i64 = 16;
const GROUP: i64 = 4;
/// Digits after the point that Postgres shows at most.
pub const MOST_SHOWN: i64 = 1000;

/// A value, and its digits after the point. Most fit into the narrow form, which is the faster.
#[derive(Debug, Clone, Copy)]
pub enum Digits {
    Narrow(i128, u32),
    Wide(i256, u32),
}

use Digits::{Narrow, Wide};

/// What is taken for the digits after the point that Postgres shows of the values that are computed with: a result has
/// no fewer than they. Where those are not known, what both give alike is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// As many as the values have here.
    Most,
    /// None that count.
    Fewest,
}

impl Shown {
    pub fn scale(self, chosen: i64, shown: u32) -> u32 {
        let digits = if self == Shown::Most { chosen.max(i64::from(shown)) } else { chosen };
        u32::try_from(digits.clamp(0, MOST_SHOWN)).unwrap_or_default()
    }
}

static TENS: LazyLock<Vec<i256>> = LazyLock::new(|| {
    let ten = i256::from_i128(10);
    std::iter::successors(Some(i256::ONE), |power| power.checked_mul(ten)).take(77).collect()
});

fn ten(power: u32) -> Option<i256> {
    TENS.get(power as usize).copied()
}

/// As many as fit.
const NARROW_TENS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

pub fn narrow_ten(power: u32) -> Option<i128> {
    NARROW_TENS.get(power as usize).copied()
}

pub fn too_long() -> datafusion::common::DataFusionError {
    wrong("numeric out of range: more than 76 digits")
}

impl Digits {
    pub fn scale(self) -> u32 {
        match self {
            Narrow(_, scale) | Wide(_, scale) => scale,
        }
    }

    pub fn is_zero(self) -> bool {
        match self {
            Narrow(value, _) => value == 0,
            Wide(value, _) => value == i256::ZERO,
        }
    }

    pub fn long(self) -> BigInt {
        match self {
            Narrow(value, _) => BigInt::from(value),
            Wide(value, _) => BigInt::from_signed_bytes_le(&value.to_le_bytes()),
        }
    }

    pub fn of_long(value: &BigInt, scale: u32) -> Result<Digits> {
        let value = i256::from_string(&value.to_string()).ok_or_else(too_long)?;
        Ok(match value.to_i128() {
            Some(value) => Narrow(value, scale),
            None => Wide(value, scale),
        })
    }

    /// How many digits it is written with, before and after the point.
    pub fn length(self) -> i64 {
        let magnitude = self.wide().wrapping_abs();
        i64::try_from(TENS.partition_point(|ten| *ten <= magnitude)).unwrap_or_default()
    }

    /// About as large.
    pub fn approximate(self) -> f64 {
        format!("{}e-{}", self.wide(), self.scale()).parse().unwrap_or(f64::INFINITY)
    }

    /// Where the first group of four digits stands, which it is, and the next, where one follows.
    pub fn groups(self) -> (i64, i64, Option<i64>) {
        let (weight, first) = self.weight();
        let first = i64::try_from(first).unwrap_or_default();
        let below = 4 * (weight - 1);
        // What stands behind the first group, as whole groups, in Postgres's form, which has none that are zero at its end.
        let scale = i64::from(self.scale());
        let digits = BigInt::from(self.long().magnitude().clone());
        let ten = |power: i64| BigInt::from(10).pow(u32::try_from(power).unwrap_or_default());
        let rest = &digits
            - match below + 4 + scale {
                by @ 0.. => BigInt::from(first) * ten(by),
                _ => digits.clone(),
            };
        if rest.sign() == Sign::NoSign {
            return (weight, first, None);
        }
        let second = match below + scale {
            by @ 0.. => rest / ten(by),
            by => rest * ten(-by),
        };
        (weight, first, Some(i64::try_from(second).unwrap_or_default()))
    }

    /// The same value without zeros at its end.
    fn trimmed(self) -> Digits {
        let (mut value, mut scale, ten) = (self.wide(), self.scale(), i256::from_i128(10));
        while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
            (value, scale) = (value.wrapping_div(ten), scale - 1);
        }
        Wide(value, scale)
    }

    /// The same value with so many digits after the point, which are no fewer.
    fn extended(self, scale: u32) -> Option<Digits> {
        let by = scale.checked_sub(self.scale())?;
        if by == 0 {
            return Some(self);
        }
        if let Narrow(value, _) = self
            && let Some(value) = narrow_ten(by).and_then(|ten| value.checked_mul(ten))
        {
            return Some(Narrow(value, scale));
        }
        self.wide().checked_mul(ten(by)?).map(|value| Wide(value, scale))
    }

    pub fn negated(self) -> Result<Digits> {
        match self {
            Narrow(value, scale) => value.checked_neg().map(|value| Narrow(value, scale)),
            Wide(value, scale) => value.checked_neg().map(|value| Wide(value, scale)),
        }
        .ok_or_else(too_long)
    }

    pub fn plus(self, other: Digits) -> Result<Digits> {
        let scale = self.scale().max(other.scale());
        let sides = self.extended(scale).zip(other.extended(scale));
        let (left, right) = sides.ok_or_else(too_long)?;
        if let (Narrow(left, _), Narrow(right, _)) = (left, right)
            && let Some(sum) = left.checked_add(right)
        {
            return Ok(Narrow(sum, scale));
        }
        let sum = left.wide().checked_add(right.wide()).ok_or_else(too_long)?;
        Ok(Wide(sum, scale))
    }

    pub fn times(self, other: Digits) -> Result<Digits> {
        let scale = self.scale() + other.scale();
        if let (Narrow(left, _), Narrow(right, _)) = (self, other)
            && let Some(product) = left.checked_mul(right)
        {
            return Ok(Narrow(product, scale));
        }
        if let Some(product) = self.wide().checked_mul(other.wide()) {
            return Ok(Wide(product, scale));
        }
        // Of an average that was kept with more digits than it has, the last are zeros.
        let (left, right) = (self.trimmed(), other.trimmed());
        let product = left.wide().checked_mul(right.wide()).ok_or_else(too_long)?;
        Ok(Wide(product, left.scale() + right.scale()))
    }

    /// The quotient, with the digits that Postgres chooses.
    pub fn over(self, other: Digits, shown: Shown) -> Result<Digits> {
        if other.is_zero() {
            return Err(wrong("division by zero"));
        }
        let chosen = SIGNIFICANT - self.quotient_weight(other) * GROUP;
        self.divided(other, shown.scale(chosen, self.scale().max(other.scale())))
    }

    /// The square root, with the digits that Postgres chooses: sixteen, or as many as the value has after the point.
    pub fn sqrt(self, shown: Shown) -> Result<Digits> {
        let (weight, _) = self.weight();
        let chosen = SIGNIFICANT - (weight * GROUP / 2 + 1);
        self.root(shown.scale(chosen, self.scale()))
    }

    /// The square root rounded to a scale.
    pub fn root(self, scale: u32) -> Result<Digits> {
        let value = self.long();
        if value.sign() == Sign::Minus {
            return Err(wrong("cannot take square root of a negative number"));
        }
        // Twice the digits of the root, and two more where the value has fewer than that.
        let by = 2 * i64::from(scale) - i64::from(self.scale());
        let power = |by: i64| BigInt::from(10).pow(u32::try_from(by).unwrap_or_default());
        let square = if by < 0 { &value / power(-by) } else { &value * power(by) };
        let root = square.sqrt();
        let rest = &square - &root * &root;
        let rounded = if rest > root { root + 1 } else { root };
        Digits::of_long(&rounded, scale)
    }

    /// Rounded half away from zero to a scale.
    fn divided(self, other: Digits, scale: u32) -> Result<Digits> {
        // A quotient has no fewer digits after the point than what is divided, unless that is not known.
        let by = i64::from(scale) + i64::from(other.scale()) - i64::from(self.scale());
        let (up, down) = (u32::try_from(by).unwrap_or(0), u32::try_from(-by).unwrap_or(0));
        if let (Narrow(left, _), Narrow(right, _)) = (self, other)
            && let Some(left) = narrow_ten(up).and_then(|ten| left.checked_mul(ten))
            && let Some(right) = narrow_ten(down).and_then(|ten| right.checked_mul(ten))
            && let Some(quotient) = rounded(left, right)
        {
            return Ok(Narrow(quotient, scale));
        }
        let left = ten(up).and_then(|ten| self.wide().checked_mul(ten));
        let right = ten(down).and_then(|ten| other.wide().checked_mul(ten));
        let quotient = match (left, right) {
            (Some(left), Some(right)) => rounded_wide(left, right),
            _ => rounded_long(self.wide(), other.wide(), up, down),
        };
        quotient.map(|quotient| Wide(quotient, scale)).ok_or_else(too_long)
    }

    /// The weight that Postgres expects of a quotient, in groups of four digits.
    fn quotient_weight(self, other: Digits) -> i64 {
        let ((weight, first), (of_other, first_of_other)) = (self.weight(), other.weight());
        weight - of_other - i64::from(first <= first_of_other)
    }

    /// Where the first group of four digits stands, and which it is.
    fn weight(self) -> (i64, u128) {
        let (digits, length) = match self {
            Narrow(0, _) => return (0, 0),
            Narrow(value, _) => (value.unsigned_abs(), i64::from(value.unsigned_abs().ilog10()) + 1),
            Wide(value, scale) => match value.to_i128() {
                Some(value) => return Narrow(value, scale).weight(),
                None => {
                    let value = value.wrapping_abs();
                    let length = TENS.partition_point(|ten| *ten <= value);
                    // The leading digits are enough.
                    let spare = TENS.get(length.saturating_sub(30)).copied().unwrap_or(i256::ONE);
                    let leading = value.checked_div(spare).and_then(i256::to_i128).unwrap_or_default();
                    (leading.unsigned_abs(), i64::try_from(length).unwrap_or_default())
                }
            },
        };
        let exponent = length - 1 - i64::from(self.scale());
        let weight = exponent.div_euclid(GROUP);
        let wanted = exponent - GROUP * weight + 1;
        let has = i64::from(digits.ilog10()) + 1;
        let power = |by: i64| narrow_ten(u32::try_from(by).unwrap_or(0)).unwrap_or(1).unsigned_abs();
        let first = match (has >= wanted, u64::try_from(digits)) {
            (false, _) => digits * power(wanted - has),
            // Far quicker, and what most values are.
            (true, Ok(digits)) => u128::from(digits / u64::try_from(power(has - wanted)).unwrap_or(u64::MAX)),
            (true, Err(_)) => digits / power(has - wanted),
        };
        (weight, first)
    }

    /// The same where it is short and fits, as most do.
    fn fitted_narrow(self, precision: u8, scale: u32, rounds: bool) -> Option<i128> {
        let Narrow(value, has) = self else { return None };
        let moved = match scale.checked_sub(has) {
            Some(by) => value.checked_mul(narrow_ten(by)?)?,
            None => rounded(value, narrow_ten(has - scale)?).filter(|_| rounds)?,
        };
        let bound = narrow_ten(u32::from(precision));
        bound.is_none_or(|bound| moved.unsigned_abs() < bound.unsigned_abs()).then_some(moved)
    }

    /// As an Arrow decimal of 256 bits.
    pub fn wide(self) -> i256 {
        match self {
            Narrow(value, _) => i256::from_i128(value),
            Wide(value, _) => value,
        }
    }

    /// As one of 128 bits, if it has so few.
    pub fn narrow(self) -> Option<i128> {
        match self {
            Narrow(value, _) => Some(value),
            Wide(value, _) => value.to_i128(),
        }
    }

    /// Its digits in a numeric of a scale and at most so many digits. `rounds` says whether digits may go.
    pub fn fitted(self, precision: u8, scale: u32, rounds: bool) -> Result<Digits> {
        if let Some(value) = self.fitted_narrow(precision, scale, rounds) {
            return Ok(Narrow(value, scale));
        }
        let value = match scale >= self.scale() {
            true => self.extended(scale).ok_or_else(too_long)?.wide(),
            false => {
                let by = self.scale() - scale;
                let power = ten(by).ok_or_else(too_long)?;
                if !rounds && self.wide().checked_rem(power) != Some(i256::ZERO) {
                    return Err(wrong(format!(
                        "a quotient has {} digits after the point, and only {scale} can be kept; state how many: CAST(a / b AS numeric(20,6))",
                        self.scale()
                    )));
                }
                match (self, narrow_ten(by)) {
                    (Narrow(value, _), Some(power)) => rounded(value, power).map(i256::from_i128),
                    _ => rounded_wide(self.wide(), power),
                }
                .ok_or_else(too_long)?
            }
        };
        let bound = ten(u32::from(precision)).unwrap_or(i256::MAX);
        match value < bound && value > bound.wrapping_neg() {
            true => Ok(Wide(value, scale)),
            false => Err(wrong(format!(
                "numeric field overflow: numeric({precision},{scale}) holds no value of more than {} digits before the point",
                i64::from(precision) - i64::from(scale)
            ))),
        }
    }
}

fn rounded(left: i128, right: i128) -> Option<i128> {
    let (above, below) = (left.unsigned_abs(), right.unsigned_abs());
    // One division, which is most of what a quotient costs.
    let quotient = match (u64::try_from(above), u64::try_from(below)) {
        (Ok(above), Ok(below)) => u128::from(above / below),
        _ => above / below,
    };
    let rest = above - quotient * below;
    let quotient = i128::try_from(quotient + u128::from(rest >= below - rest)).ok()?;
    Some(if (left < 0) == (right < 0) { quotient } else { -quotient })
}

fn rounded_wide(left: i256, right: i256) -> Option<i256> {
    let (above, below) = (left.wrapping_abs(), right.wrapping_abs());
    let (quotient, rest) = (above.checked_div(below)?, above.checked_rem(below)?);
    let up = rest >= below.wrapping_sub(rest);
    let quotient = if up { quotient.checked_add(i256::ONE)? } else { quotient };
    Some(if left.is_negative() == right.is_negative() { quotient } else { quotient.wrapping_neg() })
}

/// The same where what is divided has more digits than the quotient may have.
fn rounded_long(left: i256, right: i256, up: u32, down: u32) -> Option<i256> {
    let long =
        |value: i256, by: u32| BigInt::from_signed_bytes_le(&value.to_le_bytes()) * BigInt::from(10).pow(by);
    let (left, right) = (long(left, up), long(right, down));
    let (above, below) = (left.magnitude(), right.magnitude());
    let (quotient, rest) = (above / below, above % below);
    let up = &rest + &rest >= *below;
    let quotient = BigInt::from_biguint(left.sign() * right.sign(), quotient + u32::from(up));
    i256::from_string(&quotient.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Digits) -> String {
        let digits = format!("{:0>1$}", value.wide().wrapping_abs().to_string(), value.scale() as usize + 1);
        let sign = if value.wide().is_negative() { "-" } else { "" };
        let (whole, rest) = digits.split_at(digits.len() - value.scale() as usize);
        if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
    }

    #[test]
    fn a_quotient_has_the_digits_that_postgres_gives_it() {
        // As psql prints them.
        for ((left, a), (right, b), told) in [
            ((200, 2), (300, 2), "0.66666666666666666667"),
            ((200_000_000, 2), (300, 2), "666666.666666666667"),
            ((1, 0), (3, 0), "0.33333333333333333333"),
            ((-250, 2), (5, 2), "-50.0000000000000000"),
            ((1, 2), (123_456_789, 2), "0.0000000081000000737100006708"),
            ((0, 2), (7, 0), "0.00000000000000000000"),
            ((99_999, 4), (10_000, 4), "9.9999000000000000"),
            ((i128::MAX, 2), (7, 9), "243058833514956045330981862451263008181428571.428571429"),
        ] {
            assert_eq!(
                text(Narrow(left, a).over(Narrow(right, b), Shown::Most).unwrap()),
                told,
                "{left} {right}"
            );
            let wide = Wide(i256::from_i128(left), a).over(Wide(i256::from_i128(right), b), Shown::Most);
            assert_eq!(text(wide.unwrap()), told, "{left} {right}");
        }
        assert!(Narrow(1, 0).over(Narrow(0, 5), Shown::Most).is_err());
    }

    #[test]
    fn a_root_has_the_digits_that_postgres_gives_it() {
        // As psql prints them.
        for ((value, scale), told) in [
            ((2, 0), "1.414213562373095"),
            ((225, 2), "1.500000000000000"),
            ((0, 2), "0.000000000000000"),
            ((1, 4), "0.01000000000000000"),
            ((123_456_789, 2), "1111.1111060555555"),
            ((99_999_999_999_999, 2), "999999.99999999500"),
        ] {
            assert_eq!(text(Narrow(value, scale).sqrt(Shown::Most).unwrap()), told, "{value}");
        }
        assert!(Narrow(-1, 0).sqrt(Shown::Most).is_err());
    }

    #[test]
    fn of_a_scale_that_is_not_known_there_is_a_most_and_a_fewest() {
        let (large, seven) = (Narrow(10_i128.pow(22), 10), Narrow(70_000_000_000, 10));
        assert_eq!(large.over(seven, Shown::Most).unwrap().scale(), 10);
        assert_eq!(large.over(seven, Shown::Fewest).unwrap().scale(), 8);
        assert_eq!(Narrow(20_000_000_000, 10).sqrt(Shown::Fewest).unwrap().scale(), 15);
    }

    #[test]
    fn a_value_is_rounded_away_from_zero_or_refused() {
        assert_eq!(Narrow(-25, 1).fitted(5, 0, true).unwrap().narrow(), Some(-3));
        assert_eq!(Narrow(24, 1).fitted(5, 0, true).unwrap().narrow(), Some(2));
        assert!(Narrow(24, 1).fitted(5, 0, false).is_err());
        assert!(Narrow(99_999, 1).fitted(4, 0, true).is_err());
    }
}
