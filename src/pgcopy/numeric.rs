//! Postgres's numeric: base-10000 digits with weight, sign and display scale.

use arrow::datatypes::i256;

use super::policy::Decimal;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Why a numeric has no place in a decimal.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// NaN, Infinity or -Infinity.
    Special(&'static str),
    /// It has more digits than the decimal holds; the value as Postgres would print it.
    TooManyDigits(String),
    /// The bytes are no numeric.
    Malformed,
}

/// The integers that decimals are made of: as much arithmetic as reading one needs, none of it wrapping.
pub trait Digits: Copy + PartialEq + PartialOrd + std::ops::Neg<Output = Self> {
    const ZERO: Self;
    fn of(small: i128) -> Self;
    fn times(self, factor: Self) -> Option<Self>;
    fn plus(self, more: Self) -> Option<Self>;
    /// `10^exponent`, when it fits.
    fn power_of_ten(exponent: u32) -> Option<Self>;
    /// The quotient of a division that leaves nothing.
    fn divided(self, by: Self) -> Option<Self>;
}

impl Digits for i128 {
    const ZERO: i128 = 0;

    fn of(small: i128) -> i128 {
        small
    }

    fn times(self, factor: i128) -> Option<i128> {
        self.checked_mul(factor)
    }

    fn plus(self, more: i128) -> Option<i128> {
        self.checked_add(more)
    }

    fn power_of_ten(exponent: u32) -> Option<i128> {
        10_i128.checked_pow(exponent)
    }

    fn divided(self, by: i128) -> Option<i128> {
        (self % by == 0).then_some(self / by)
    }
}

impl Digits for i256 {
    const ZERO: i256 = i256::ZERO;

    fn of(small: i128) -> i256 {
        i256::from_i128(small)
    }

    fn times(self, factor: i256) -> Option<i256> {
        self.checked_mul(factor)
    }

    fn plus(self, more: i256) -> Option<i256> {
        self.checked_add(more)
    }

    fn power_of_ten(exponent: u32) -> Option<i256> {
        i256::from_i128(10).checked_pow(exponent)
    }

    fn divided(self, by: i256) -> Option<i256> {
        (self.checked_rem(by)? == i256::ZERO).then_some(self.checked_div(by)?)
    }
}

/// Reads the binary form into an integer scaled by `10^scale`, exactly or not at all.
#[inline]
pub fn decode<T: Digits>(bytes: &[u8], decimal: Decimal) -> Result<T, Unfit> {
    let [n0, n1, w0, w1, s0, s1, d0, d1, digits @ ..] = bytes else { return Err(Unfit::Malformed) };
    let count = usize::from(u16::from_be_bytes([*n0, *n1]));
    let weight = i64::from(i16::from_be_bytes([*w0, *w1]));
    let sign = u16::from_be_bytes([*s0, *s1]);
    let display_scale = u16::from_be_bytes([*d0, *d1]);
    if digits.len() != count * 2 {
        return Err(Unfit::Malformed);
    }
    match sign {
        0 | NEGATIVE => {}
        NAN => return Err(Unfit::Special("NaN")),
        POSITIVE_INFINITY => return Err(Unfit::Special("Infinity")),
        NEGATIVE_INFINITY => return Err(Unfit::Special("-Infinity")),
        _ => return Err(Unfit::Malformed),
    }
    let digits = digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    if digits.clone().any(|digit| digit > 9999) {
        return Err(Unfit::Malformed);
    }
    let value = match count {
        0..=4 => short(digits.clone(), weight, decimal).map(T::of),
        _ => None,
    };
    match value.or_else(|| magnitude(digits.clone(), weight, decimal)) {
        Some(value) => Ok(if sign == NEGATIVE { -value } else { value }),
        None => Err(Unfit::TooManyDigits(print(digits, weight, sign == NEGATIVE, display_scale))),
    }
}

/// Numbers of up to four base-10000 digits, which most are, without wide arithmetic. None is no
/// verdict: the long way decides.
#[inline]
fn short(digits: impl Iterator<Item = u16>, weight: i64, decimal: Decimal) -> Option<i128> {
    let (mut value, mut last) = (0_u64, weight + 1);
    for digit in digits {
        value = value * 10_000 + u64::from(digit);
        last -= 1;
    }
    let exponent = match value {
        0 => 0,
        _ => 4 * last + i64::from(decimal.scale),
    };
    let value = match usize::try_from(exponent) {
        Ok(up) => value.checked_mul(*POWERS.get(up)?)?,
        Err(_) => {
            let down = *POWERS.get(usize::try_from(-exponent).ok()?)?;
            (value % down == 0).then_some(value / down)?
        }
    };
    match POWERS.get(usize::from(decimal.precision)) {
        Some(limit) => (value < *limit).then_some(i128::from(value)),
        None => Some(i128::from(value)),
    }
}

/// Those powers of ten that a u64 holds.
const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut at = 1;
    while at < 20 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

fn magnitude<T: Digits>(digits: impl Iterator<Item = u16>, weight: i64, decimal: Decimal) -> Option<T> {
    let scale = i64::from(decimal.scale);
    let mut value = T::ZERO;
    // The power of ten that the last digit taken stands at, above the decimal's last place.
    let mut exponent = 0;
    for (digit, place) in digits.zip(0..) {
        let digit = i128::from(digit);
        exponent = 4 * (weight - place) + scale;
        if exponent >= 0 {
            value = value.times(T::of(10_000))?.plus(T::of(digit))?;
        } else if exponent > -4 {
            let below = 10_i128.pow((-exponent) as u32);
            value = value.times(T::of(10_000 / below))?.plus(T::of(digit.divided(below)?))?;
            exponent = 0;
        } else if digit != 0 {
            return None;
        } else {
            exponent = 0;
        }
    }
    if value != T::ZERO && exponent > 0 {
        value = value.times(T::power_of_ten(u32::try_from(exponent).ok()?)?)?;
    }
    (value < T::power_of_ten(u32::from(decimal.precision))?).then_some(value)
}

fn print(digits: impl Iterator<Item = u16>, weight: i64, negative: bool, display_scale: u16) -> String {
    let digits: Vec<u16> = digits.collect();
    let at = |place: i64| match usize::try_from(place) {
        Ok(place) => digits.get(place).copied().unwrap_or(0),
        Err(_) => 0,
    };
    let mut text = String::new();
    for place in 0..=weight.max(0) {
        // Above the first digit there are only zeros; a number below one begins with 0.
        text.push_str(&format!("{:04}", if weight < 0 { 0 } else { at(place) }));
    }
    let whole = text.trim_start_matches('0');
    let mut text =
        format!("{}{}", if negative { "-" } else { "" }, if whole.is_empty() { "0" } else { whole });
    if display_scale > 0 {
        let groups = i64::from(display_scale.div_ceil(4));
        let mut fraction = String::new();
        for group in 1..=groups {
            fraction.push_str(&format!("{:04}", at(weight + group)));
        }
        fraction.truncate(usize::from(display_scale));
        text.push('.');
        text.push_str(&fraction);
    }
    text
}

/// Reads the text form, with an exponent or without, exactly or not at all.
pub fn parse<T: Digits>(text: &str, decimal: Decimal) -> Result<T, Unfit> {
    let trimmed = text.trim();
    match trimmed.to_ascii_lowercase().as_str() {
        "nan" => return Err(Unfit::Special("NaN")),
        "infinity" | "+infinity" | "inf" | "+inf" => return Err(Unfit::Special("Infinity")),
        "-infinity" | "-inf" => return Err(Unfit::Special("-Infinity")),
        _ => {}
    }
    let (negative, unsigned) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| Unfit::Malformed)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(Unfit::Malformed);
    }
    let fits = || {
        let mut value = T::ZERO;
        for byte in whole.bytes().chain(fraction.bytes()) {
            value = value.times(T::of(10))?.plus(T::of(i128::from(byte - b'0')))?;
        }
        let fraction_digits = i64::try_from(fraction.len()).ok()?;
        let shift = i64::from(decimal.scale).checked_sub(fraction_digits)?.checked_add(exponent)?;
        if value == T::ZERO {
            return Some(value);
        }
        let factor = T::power_of_ten(u32::try_from(shift.unsigned_abs()).ok()?)?;
        let value = if shift >= 0 { value.times(factor)? } else { value.divided(factor)? };
        (value < T::power_of_ten(u32::from(decimal.precision))?).then_some(value)
    };
    match fits() {
        Some(value) => Ok(if negative { -value } else { value }),
        None => Err(Unfit::TooManyDigits(trimmed.to_owned())),
    }
}

/// Writes the binary form of `value / 10^scale`.
pub fn encode(value: i128, scale: i8, out: &mut Vec<u8>) {
    let scale = scale.max(0) as u32;
    // Pad the fraction to whole base-10000 digits, then cut the number into them.
    let padding = (4 - scale % 4) % 4;
    let fraction_groups = scale.div_ceil(4);
    let mut rest = value.unsigned_abs();
    let mut groups: Vec<u16> = Vec::with_capacity(11);
    if padding > 0 {
        let low = 10_u128.pow(4 - padding);
        groups.push((rest % low * 10_u128.pow(padding)) as u16);
        rest /= low;
    }
    while rest > 0 {
        groups.push((rest % 10_000) as u16);
        rest /= 10_000;
    }
    let mut weight = groups.len() as i64 - i64::from(fraction_groups) - 1;
    groups.reverse();
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i64;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.extend_from_slice(&(groups.len() as u16).to_be_bytes());
    out.extend_from_slice(&(weight as i16).to_be_bytes());
    out.extend_from_slice(&(if value < 0 { NEGATIVE } else { 0 }).to_be_bytes());
    out.extend_from_slice(&(scale as u16).to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Decimal = Decimal { precision: 38, scale: 10 };

    fn binary(digits: &[u16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
        let mut out = Vec::new();
        for word in [digits.len() as u16, weight as u16, sign, scale] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        digits.iter().for_each(|digit| out.extend_from_slice(&digit.to_be_bytes()));
        out
    }

    #[test]
    fn what_is_encoded_decodes_to_itself_at_every_scale() {
        let mut value: i128 = 1;
        for step in 0..2_000_i128 {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            let value = value % 10_i128.pow(1 + (step % 38) as u32);
            for scale in 0..=38 {
                let decimal = Decimal { precision: 38, scale };
                let mut out = Vec::new();
                encode(value, scale, &mut out);
                assert_eq!(decode::<i128>(&out, decimal), Ok(value), "{value} at scale {scale}");
            }
        }
    }

    #[test]
    fn wide_decimals_read_what_narrow_ones_do_and_more() {
        let wide = Decimal { precision: 76, scale: 30 };
        let digits = [1234, 5678, 9012, 3456, 7890, 1234, 5678, 9012, 3456, 7890, 1234, 5678];
        let read = decode::<i256>(&binary(&digits, 5, NEGATIVE, 24), wide);
        let shown = "-123456789012345678901234.567890123456789012345678";
        assert_eq!(read, parse::<i256>(shown, wide));
        assert_eq!(read.map(|value| value.to_string()), Ok(shown.replace('.', "") + "000000"));
        let all = "9".repeat(76);
        let widest = Decimal { precision: 76, scale: 0 };
        assert_eq!(parse::<i256>(&all, widest).map(|value| value.to_string()), Ok(all.clone()));
        assert_eq!(parse::<i256>(&format!("{all}0"), widest), Err(Unfit::TooManyDigits(format!("{all}0"))));
    }

    #[test]
    fn digits_beyond_the_decimal_are_refused_and_shown_as_postgres_prints_them() {
        // 12.34567890123, one digit too fine for scale 10.
        let bytes = binary(&[12, 3456, 7890, 1230], 0, 0, 11);
        assert_eq!(decode::<i128>(&bytes, WIDE), Err(Unfit::TooManyDigits("12.34567890123".to_owned())));
        let cents = Decimal { precision: 4, scale: 2 };
        assert_eq!(
            decode::<i128>(&binary(&[100], 0, 0, 0), cents),
            Err(Unfit::TooManyDigits("100".to_owned()))
        );
        assert_eq!(decode::<i128>(&binary(&[99, 9900], 0, NEGATIVE, 2), cents), Ok(-9999));
    }

    #[test]
    fn special_values_and_broken_bytes_are_told_apart() {
        assert_eq!(decode::<i128>(&binary(&[], 0, NAN, 0), WIDE), Err(Unfit::Special("NaN")));
        assert_eq!(
            decode::<i128>(&binary(&[], 0, NEGATIVE_INFINITY, 32), WIDE),
            Err(Unfit::Special("-Infinity"))
        );
        assert_eq!(decode::<i128>(&binary(&[10_000], 0, 0, 0), WIDE), Err(Unfit::Malformed));
        assert_eq!(decode::<i128>(&[0, 1, 0], WIDE), Err(Unfit::Malformed));
    }

    #[test]
    fn text_is_read_exactly_or_refused() {
        let cents = Decimal { precision: 10, scale: 2 };
        assert_eq!(parse::<i128>("-12.30", cents), Ok(-1230));
        assert_eq!(parse::<i128>("1.5e3", cents), Ok(150_000));
        assert_eq!(parse::<i128>(".5", cents), Ok(50));
        assert_eq!(parse::<i128>("1.005", cents), Err(Unfit::TooManyDigits("1.005".to_owned())));
        assert_eq!(parse::<i128>("1,5", cents), Err(Unfit::Malformed));
        assert_eq!(parse::<i128>("0e99999", cents), Ok(0));
        assert_eq!(parse::<i128>("", cents), Err(Unfit::Malformed));
    }
}
