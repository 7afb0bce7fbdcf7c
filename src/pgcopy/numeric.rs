//! Postgres's numeric: base-10000 digits with weight, sign and display scale.

use crate::pipeline::Decimal;

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

/// Reads the binary form into an integer scaled by `10^scale`, exactly or not at all.
pub fn decode(bytes: &[u8], decimal: Decimal) -> Result<i128, Unfit> {
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
    match magnitude(digits.clone(), weight, decimal) {
        Some(value) => Ok(if sign == NEGATIVE { -value } else { value }),
        None => Err(Unfit::TooManyDigits(print(digits, weight, sign == NEGATIVE, display_scale))),
    }
}

fn magnitude(digits: impl Iterator<Item = u16>, weight: i64, decimal: Decimal) -> Option<i128> {
    let scale = i64::from(decimal.scale);
    let mut value: i128 = 0;
    // The power of ten that the last digit taken stands at, above the decimal's last place.
    let mut exponent = 0;
    for (digit, place) in digits.zip(0..) {
        let digit = i128::from(digit);
        exponent = 4 * (weight - place) + scale;
        if exponent >= 0 {
            value = value.checked_mul(10_000)?.checked_add(digit)?;
        } else if exponent > -4 {
            let below = 10_i128.pow((-exponent) as u32);
            if digit % below != 0 {
                return None;
            }
            value = value.checked_mul(10_000 / below)?.checked_add(digit / below)?;
            exponent = 0;
        } else if digit != 0 {
            return None;
        } else {
            exponent = 0;
        }
    }
    if value != 0 && exponent > 0 {
        let factor = 10_i128.checked_pow(u32::try_from(exponent).ok()?)?;
        value = value.checked_mul(factor)?;
    }
    (value < 10_i128.pow(u32::from(decimal.precision))).then_some(value)
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
pub fn parse(text: &str, decimal: Decimal) -> Result<i128, Unfit> {
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
        let mut value: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        }
        let fraction_digits = i64::try_from(fraction.len()).ok()?;
        let shift = i64::from(decimal.scale).checked_sub(fraction_digits)?.checked_add(exponent)?;
        let factor = 10_i128.checked_pow(u32::try_from(shift.unsigned_abs()).ok()?);
        let value = match (value, shift >= 0) {
            (0, _) => 0,
            (value, true) => value.checked_mul(factor?)?,
            (value, false) => {
                let factor = factor?;
                (value % factor == 0).then_some(value / factor)?
            }
        };
        (value < 10_i128.pow(u32::from(decimal.precision))).then_some(value)
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
                assert_eq!(decode(&out, decimal), Ok(value), "{value} at scale {scale}");
            }
        }
    }

    #[test]
    fn digits_beyond_the_decimal_are_refused_and_shown_as_postgres_prints_them() {
        // 12.34567890123, one digit too fine for scale 10.
        let bytes = binary(&[12, 3456, 7890, 1230], 0, 0, 11);
        assert_eq!(decode(&bytes, WIDE), Err(Unfit::TooManyDigits("12.34567890123".to_owned())));
        let cents = Decimal { precision: 4, scale: 2 };
        assert_eq!(decode(&binary(&[100], 0, 0, 0), cents), Err(Unfit::TooManyDigits("100".to_owned())));
        assert_eq!(decode(&binary(&[99, 9900], 0, NEGATIVE, 2), cents), Ok(-9999));
    }

    #[test]
    fn special_values_and_broken_bytes_are_told_apart() {
        assert_eq!(decode(&binary(&[], 0, NAN, 0), WIDE), Err(Unfit::Special("NaN")));
        assert_eq!(decode(&binary(&[], 0, NEGATIVE_INFINITY, 32), WIDE), Err(Unfit::Special("-Infinity")));
        assert_eq!(decode(&binary(&[10_000], 0, 0, 0), WIDE), Err(Unfit::Malformed));
        assert_eq!(decode(&[0, 1, 0], WIDE), Err(Unfit::Malformed));
    }

    #[test]
    fn text_is_read_exactly_or_refused() {
        let cents = Decimal { precision: 10, scale: 2 };
        assert_eq!(parse("-12.30", cents), Ok(-1230));
        assert_eq!(parse("1.5e3", cents), Ok(150_000));
        assert_eq!(parse(".5", cents), Ok(50));
        assert_eq!(parse("1.005", cents), Err(Unfit::TooManyDigits("1.005".to_owned())));
        assert_eq!(parse("1,5", cents), Err(Unfit::Malformed));
        assert_eq!(parse("0e99999", cents), Ok(0));
        assert_eq!(parse("", cents), Err(Unfit::Malformed));
    }
}
