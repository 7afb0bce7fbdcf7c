//! `exp`, `ln`, `log` and `power` of numerics, with the digits that Postgres chooses: sixteen that count, or as many
//! after the point as its arguments have.

use std::sync::LazyLock;

use bigdecimal::num_bigint::{BigInt, Sign};
use datafusion::common::Result;

use super::digits::{Digits, SIGNIFICANT, Shown};
use super::wrong;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Called {
    Exp,
    Ln,
    /// Of a base and a number.
    Log,
    Power,
}

/// Which digits a power by a whole number has: Postgres 16 chooses them by its size, as for any other; before, sixteen
/// stood after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    Before16,
    Since16,
}

impl Called {
    /// The value of some arguments.
    pub fn computed(self, args: &[Digits], shown: Shown, servers: Servers) -> Result<Digits> {
        let most = args.iter().map(|arg| arg.scale()).max().unwrap_or_default();
        let scale = |weight: i64| i64::from(shown.scale(SIGNIFICANT - weight, most));
        match (self, args) {
            (Called::Exp, [of]) => {
                let scale = scale((of.approximate() * LOG10_E) as i64);
                rounded(exp(&Real::of(*of), scale + GUARD)?, scale)
            }
            (Called::Ln, [of]) => {
                positive(*of)?;
                let scale = scale(logarithm_weight(*of));
                rounded(ln(*of, scale + GUARD), scale)
            }
            (Called::Log, [base, of]) => {
                positive(*base)?;
                positive(*of)?;
                let weight = logarithm_weight(*of) - logarithm_weight(*base);
                let scale = scale(weight);
                let digits = scale + GUARD + 2 * logarithm_weight(*base).abs() + weight.abs();
                let (above, below) = (ln(*of, digits), ln(*base, digits));
                if below.value.sign() == Sign::NoSign {
                    return Err(wrong("division by zero"));
                }
                let quotient = above.value * power_of_ten(digits) / below.value;
                rounded(Real { value: quotient, digits }, scale)
            }
            (Called::Power, [base, of]) => power(*base, *of, servers, &scale),
            _ => Err(wrong("a function of numerics got another number of arguments")),
        }
    }
}

type Scale<'a> = &'a dyn Fn(i64) -> i64;

const LOG10_E: f64 = std::f64::consts::LOG10_E;
/// Digits that are computed beyond those that stay.
const GUARD: i64 = 20;

/// A value times ten to the power of its digits after the point.
#[derive(Debug, Clone)]
struct Real {
    value: BigInt,
    digits: i64,
}

impl Real {
    fn of(value: Digits) -> Real {
        Real { value: value.long(), digits: i64::from(value.scale()) }
    }

    /// With so many digits after the point; what is beyond is cut.
    fn to(&self, digits: i64) -> BigInt {
        match digits - self.digits {
            by @ 0.. => &self.value * power_of_ten(by),
            by => &self.value / power_of_ten(-by),
        }
    }
}

fn power_of_ten(power: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(power.max(0)).unwrap_or_default())
}

/// Half away from zero.
fn rounded(value: Real, scale: i64) -> Result<Digits> {
    let by = value.digits - scale;
    let value = match by > 0 {
        true => {
            let (ten, half) = (power_of_ten(by), power_of_ten(by) / 2);
            let magnitude: BigInt = (BigInt::from(value.value.magnitude().clone()) + half) / ten;
            if value.value.sign() == Sign::Minus { -magnitude } else { magnitude }
        }
        false => value.value * power_of_ten(-by),
    };
    Digits::of_long(&value, u32::try_from(scale).unwrap_or_default())
}

fn positive(value: Digits) -> Result<()> {
    match value.long().sign() {
        Sign::Plus => Ok(()),
        Sign::NoSign => Err(wrong("cannot take logarithm of zero")),
        Sign::Minus => Err(wrong("cannot take logarithm of a negative number")),
    }
}

/// e to the power of a value, by its series over a small part of it, squared again.
fn exp(of: &Real, digits: i64) -> Result<Real> {
    let size = of.to(0);
    // Ten thousand digits before the point are none that are held.
    if size.magnitude() > &20_000_u32.into() {
        return match size.sign() {
            Sign::Minus => Ok(Real { value: BigInt::from(0), digits }),
            _ => Err(wrong("value overflows numeric format")),
        };
    }
    let whole = i64::try_from(&size).unwrap_or_default();
    let halvings = 64 - whole.unsigned_abs().leading_zeros() + 6;
    let work = digits + (whole.max(0) / 2) + i64::from(halvings) + GUARD;
    let one = power_of_ten(work);
    let part = of.to(work) >> halvings;
    let (mut sum, mut term, mut number) = (one.clone(), one.clone(), 1_u32);
    loop {
        term = term * &part / &one / number;
        if term.sign() == Sign::NoSign || term == BigInt::from(-1) {
            break;
        }
        sum += &term;
        number += 1;
    }
    for _ in 0..halvings {
        sum = &sum * &sum / &one;
    }
    Ok(Real { value: sum, digits: work })
}

/// Digits to which the logarithm of ten is kept.
const KEPT: i64 = 1_200;
static LN_TEN: LazyLock<BigInt> = LazyLock::new(|| of_ratio(&(power_of_ten(KEPT) * 10), KEPT));

/// The natural logarithm of a positive value.
fn ln(of: Digits, digits: i64) -> Real {
    let work = digits + GUARD;
    let (mantissa, length) = (of.long(), of.length());
    let exponent = length - 1 - i64::from(of.scale());
    // Between one and ten.
    let ratio = Real { value: mantissa, digits: length - 1 }.to(work);
    let tens = Real { value: LN_TEN.clone(), digits: KEPT }.to(work) * exponent;
    Real { value: of_ratio(&ratio, work) + tens, digits: work }
}

/// The logarithm of a value between one and ten: of its root's root's root, by a series that converges fast there.
fn of_ratio(ratio: &BigInt, work: i64) -> BigInt {
    const ROOTS: u32 = 8;
    let one = power_of_ten(work);
    let mut root = ratio.clone();
    for _ in 0..ROOTS {
        root = (root * &one).sqrt();
    }
    let part = (&root - &one) * &one / (&root + &one);
    let square = &part * &part / &one;
    let (mut sum, mut term, mut number) = (part.clone(), part, 1_u32);
    loop {
        term = term * &square / &one;
        number += 2;
        let next = &term / number;
        if next.sign() == Sign::NoSign {
            break;
        }
        sum += next;
    }
    sum << (ROOTS + 1)
}

/// The decimal weight that Postgres expects of a value's logarithm.
fn logarithm_weight(of: Digits) -> i64 {
    let value = of.approximate();
    if (0.9..=1.1).contains(&value) {
        // As much as it is from one.
        let apart = Digits::Narrow(1, 0).negated().and_then(|one| of.plus(one));
        return match apart {
            Ok(apart) if !apart.is_zero() => apart.length() - 1 - i64::from(apart.scale()),
            _ => 0,
        };
    }
    let (weight, first, second) = of.groups();
    let (leading, weight) = match second {
        Some(second) => (first * 10_000 + second, weight - 1),
        None => (first, weight),
    };
    let logarithm = (leading as f64).ln() + (weight * 4) as f64 * std::f64::consts::LN_10;
    logarithm.abs().log10() as i64
}

fn power(base: Digits, of: Digits, servers: Servers, scale: Scale) -> Result<Digits> {
    let is_negative = base.long().sign() == Sign::Minus;
    let exponent = Real::of(of);
    let whole = exponent.to(0);
    let is_whole = &whole * power_of_ten(exponent.digits) == exponent.value;
    if base.is_zero() && exponent.value.sign() == Sign::Minus {
        return Err(wrong("zero raised to a negative power is undefined"));
    }
    if let (true, Ok(whole)) = (is_whole, i32::try_from(&whole)) {
        let size = if base.is_zero() { 0.0 } else { f64::from(whole) * base.approximate().abs().log10() };
        if size > 10_000.0 {
            return Err(wrong("value overflows numeric format"));
        }
        let scale = match servers {
            Servers::Since16 => scale(size as i64),
            Servers::Before16 => SIGNIFICANT.max(i64::from(base.scale())),
        };
        return whole_power(base, whole, size, scale);
    }
    if is_negative && !is_whole {
        return Err(wrong("a negative number raised to a non-integer power yields a complex result"));
    }
    if base.is_zero() {
        return Ok(Digits::Narrow(0, SIGNIFICANT as u32));
    }
    let magnitude = if is_negative { base.negated()? } else { base };
    // A first look says how large it will be.
    let size = magnitude.approximate().ln() * of.approximate();
    if size > 20_000.0 {
        return Err(wrong("value overflows numeric format"));
    }
    let weight = (size * LOG10_E) as i64;
    let scale = scale(weight);
    let digits = scale + weight.max(0) + exponent.digits + GUARD;
    let logarithm = ln(magnitude, digits);
    let product =
        Real { value: logarithm.value * exponent.value, digits: logarithm.digits + exponent.digits };
    let result = rounded(exp(&product, scale + GUARD)?, scale)?;
    let odd = (&whole % 2_u32).sign() != Sign::NoSign;
    if is_negative && odd { result.negated() } else { Ok(result) }
}

/// By a whole number, to a scale; of a result of about so many digits before the point.
fn whole_power(base: Digits, exponent: i32, weight: f64, scale: i64) -> Result<Digits> {
    let times = exponent.unsigned_abs();
    // Far below what is shown it is zero, and its digits need not be known.
    if weight < -(scale as f64) - 40.0 {
        return rounded(Real { value: BigInt::from(0), digits: 0 }, scale);
    }
    if i64::from(times) * base.length() > 40_000 {
        let digits = scale + GUARD + 12;
        let magnitude = if base.long().sign() == Sign::Minus { base.negated()? } else { base };
        let logarithm = ln(magnitude, digits + weight.max(0.0) as i64);
        let product = Real { value: logarithm.value * exponent, digits: logarithm.digits };
        let result = rounded(exp(&product, scale + GUARD)?, scale)?;
        let is_negative = base.long().sign() == Sign::Minus && exponent % 2 != 0;
        return if is_negative { result.negated() } else { Ok(result) };
    }
    let whole = Real { value: base.long().pow(times), digits: i64::from(base.scale()) * i64::from(times) };
    match exponent < 0 {
        false => rounded(whole, scale),
        true => {
            let digits = scale + GUARD;
            let above = power_of_ten(whole.digits + digits);
            rounded(Real { value: above / whole.value, digits }, scale)
        }
    }
}
