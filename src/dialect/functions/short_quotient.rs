//! A quotient that is rounded to few digits, divided once. Postgres rounds twice: to the digits that it chooses by the
//! values, and from there to those that are asked for. Where the divisor is so small that no quotient by it comes near
//! enough to a half for that to matter, one rounding gives the same.

use datafusion::logical_expr::Operator;

use super::digits::{Digits, narrow_ten};
use super::formula::{Formula, Reading, Side};

/// Digits after the point of a quotient that is shorter than one group of four digits before it. Each group more is four
/// digits less.
const CHOSEN: u32 = 16;
const GROUP: u64 = 10_000;

/// What is divided by what.
pub struct Short<'a> {
    over: &'a Formula,
    under: &'a Formula,
    sides: &'a [Side],
    known: &'a [bool],
    scale: u32,
    bound: u128,
}

impl<'a> Short<'a> {
    /// None where something else is computed last.
    pub fn of(
        formula: &'a Formula,
        sides: &'a [Side],
        known: &'a [bool],
        (precision, scale): (u8, u32),
    ) -> Option<Short<'a>> {
        let Formula::Binary(Operator::Divide, over, under) = formula else { return None };
        let bound = narrow_ten(u32::from(precision))?.unsigned_abs();
        Some(Short { over, under, sides, known, scale, bound })
    }

    /// The rounded quotient of a row without NULLs, where one division tells it.
    #[inline]
    pub fn at(&self, row: usize) -> Option<i128> {
        let (over, had) = self.value(self.over, row)?;
        let (under, has) = self.value(self.under, row)?;
        let (mut dividend, mut divisor) = (over.unsigned_abs(), under.unsigned_abs());
        match (self.scale + has).checked_sub(had) {
            Some(more) => dividend = dividend.checked_mul(narrow_ten(more)?.unsigned_abs())?,
            None => divisor = divisor.checked_mul(narrow_ten(had - has - self.scale)?.unsigned_abs())?,
        }
        let quotient = divided(dividend, divisor)?;
        if quotient >= self.bound || divisor >= self.smallest_telling(quotient)? {
            return None;
        }
        let quotient = i128::try_from(quotient).ok()?;
        Some(if (over < 0) == (under < 0) { quotient } else { -quotient })
    }

    fn value(&self, of: &Formula, row: usize) -> Option<(i128, u32)> {
        let digits = match of {
            Formula::Argument(at) => self.sides.get(*at)?.digits(row),
            other => other.compute(row, self.sides, self.known, Reading::USUAL).ok()??,
        };
        match digits {
            Digits::Narrow(value, scale) => Some((value, scale)),
            Digits::Wide(..) => None,
        }
    }

    /// The smallest divisor by which a quotient may lie so near a half that Postgres's first rounding moves it onto it: a
    /// quotient that is no half is at least half a divisor's part away from one, and the first rounding moves it by half
    /// of its last digit at most.
    fn smallest_telling(&self, quotient: u128) -> Option<u128> {
        let mut chosen = CHOSEN;
        let mut whole = quotient / narrow_ten(self.scale)?.unsigned_abs();
        while whole >= u128::from(GROUP) {
            whole /= u128::from(GROUP);
            chosen = chosen.checked_sub(4)?;
        }
        Some(narrow_ten(chosen.checked_sub(self.scale)?)?.unsigned_abs())
    }
}

/// Rounded, halves up; in 64 bits where they suffice, which is several times faster.
#[inline]
fn divided(dividend: u128, divisor: u128) -> Option<u128> {
    if let (Ok(dividend), Ok(divisor)) = (u64::try_from(dividend), u64::try_from(divisor)) {
        let (whole, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
        return Some(u128::from(whole) + u128::from(rest >= divisor - rest));
    }
    let (whole, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    Some(whole + u128::from(rest >= divisor - rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Postgres does it: rounded to its own digits first.
    fn twice(over: i128, under: i128, chosen: u32, scale: u32) -> Option<i128> {
        let ten = |by: u32| 10_i128.pow(by);
        let half = |value: i128, by: i128| {
            let away = if (value < 0) == (by < 0) { 1 } else { -1 };
            let (whole, rest) = (value / by, value % by);
            whole + if rest.abs() * 2 >= by.abs() { away } else { 0 }
        };
        Some(half(half(over.checked_mul(ten(chosen))?, under), ten(chosen - scale)))
    }

    #[test]
    fn one_rounding_is_given_only_where_two_give_the_same() {
        let mut given = 0;
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) % below
        };
        for round in 0..200_000 {
            let scale = u32::try_from(next(9)).unwrap();
            let digits = 1 + u32::try_from(next(15)).unwrap();
            let under = i128::from(next(10_u64.pow(digits))) + 1;
            // Next to a half, which is where roundings differ.
            let near = under * (2 * i128::from(next(1_000)) + 1) / (2 * 10_i128.pow(scale));
            let over =
                if round % 2 == 0 { near + i128::from(next(3)) - 1 } else { i128::from(next(1 << 40)) };
            let side = |value: i128| {
                use arrow::array::Decimal128Array;
                let array = Decimal128Array::from(vec![value]).with_precision_and_scale(38, 0).unwrap();
                Side::Narrow(array, 0, false)
            };
            let sides = [side(over), side(-under)];
            let formula = Formula::Binary(
                Operator::Divide,
                Box::new(Formula::Argument(0)),
                Box::new(Formula::Argument(1)),
            );
            let short = Short::of(&formula, &sides, &[true, true], (38, scale)).unwrap();
            let Some(once) = short.at(0) else { continue };
            let chosen = match over.abs() / under {
                0..10_000 => 16,
                10_000..100_000_000 => 12,
                100_000_000..1_000_000_000_000 => 8,
                _ => 4,
            };
            if let Some(twice) = twice(over, -under, chosen, scale) {
                assert_eq!(once, twice, "{over} / -{under} to {scale}");
                given += 1;
            }
        }
        assert!(given > 50_000, "{given}");
    }
}
