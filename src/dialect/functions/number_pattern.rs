//! `to_char` of numbers by Postgres's patterns: `FM999,990.00`, signs in all their places, `#` where a number is too long.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type};
use bigdecimal::{BigDecimal, RoundingMode};
use datafusion::common::Result;

use super::wrong;

/// What stands at one place of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// A digit that is left out where it says nothing, or one that is always there.
    Digit {
        always: bool,
    },
    Point,
    Group,
    /// A sign where the number begins or ends.
    Sign,
    /// A sign where it is written.
    Placed,
    Minus,
    /// `<12>` for a number below nothing.
    Angles,
    Literal(String),
}

#[derive(Debug)]
struct Pattern {
    pieces: Vec<Piece>,
    /// Without blanks and zeros that fill it.
    fill: bool,
    before: usize,
    after: usize,
}

/// Parts of Postgres's patterns that are not answered here.
const UNKNOWN: [&str; 6] = ["RN", "EEEE", "TH", "PL", "V", "L"];

/// What a pattern has that is not answered here.
pub fn unprintable(pattern: &str) -> Option<String> {
    read(pattern).err().map(|error| error.strip_backtrace())
}

/// Pieces of two letters.
const WORDS: [(&str, Piece); 3] = [("MI", Piece::Minus), ("SG", Piece::Placed), ("PR", Piece::Angles)];

fn read(pattern: &str) -> Result<Pattern> {
    let mut read = Pattern { pieces: Vec::new(), fill: true, before: 0, after: 0 };
    let mut rest = pattern;
    let mut point = false;
    while let Some(letter) = rest.chars().next() {
        let upper = rest.to_ascii_uppercase();
        let mut length = letter.len_utf8();
        if let Some(known) = UNKNOWN.iter().find(|known| upper.starts_with(**known)) {
            return Err(wrong(format!("to_char does not print {known} of numbers here")));
        }
        let word = upper.get(..2).unwrap_or(&upper);
        if word == "FM" {
            read.fill = false;
            rest = &rest[2..];
            continue;
        }
        let piece = match WORDS.into_iter().find(|(known, _)| *known == word) {
            Some((_, piece)) => {
                length = 2;
                piece
            }
            None => match letter {
                '9' | '0' => {
                    if point {
                        read.after += 1;
                    } else {
                        read.before += 1;
                    }
                    Piece::Digit { always: letter == '0' }
                }
                '.' | 'D' | 'd' => {
                    if point {
                        return Err(wrong("multiple decimal points"));
                    }
                    point = true;
                    Piece::Point
                }
                ',' | 'G' | 'g' => Piece::Group,
                'S' | 's' => Piece::Sign,
                '"' => {
                    let inner = rest[1..].split('"').next().unwrap_or_default();
                    length = (inner.len() + 2).min(rest.len());
                    Piece::Literal(inner.to_owned())
                }
                ' ' | '-' | '/' | ':' | '%' | '$' | '€' => Piece::Literal(letter.to_string()),
                other => {
                    return Err(wrong(format!(
                        "to_char does not print {other} of numbers here: write it in quotes, \"{other}\""
                    )));
                }
            },
        };
        read.pieces.push(piece);
        rest = &rest[length..];
    }
    let points = read.pieces.contains(&Piece::Point);
    if points && !read.fill && (read.before == 0 || read.after == 0) {
        return Err(wrong("to_char does not print a point without digits on both of its sides here"));
    }
    Ok(read)
}

/// Every number by its pattern.
pub fn printed(numbers: &ArrayRef, patterns: &StringArray) -> Result<ArrayRef> {
    let of = numbers.data_type().clone();
    let decimal = |row: usize, after: usize| -> Result<Option<BigDecimal>> {
        Ok(match &of {
            DataType::Float64 => {
                let value = numbers.as_primitive::<Float64Type>().value(row);
                if !value.is_finite() {
                    return Err(wrong("to_char of NaN and infinity is not answered here"));
                }
                // Rounded as it is in two's powers, and not as it is written.
                format!("{value:.after$}").parse().ok()
            }
            DataType::Decimal256(..) => {
                numbers.as_primitive::<Decimal256Type>().value_as_string(row).parse().ok()
            }
            _ => numbers.as_primitive::<Decimal128Type>().value_as_string(row).parse().ok(),
        })
    };
    let mut known: Option<(String, Pattern)> = None;
    let mut found: Vec<Option<String>> = Vec::with_capacity(numbers.len());
    for row in 0..numbers.len() {
        if numbers.is_null(row) || patterns.is_null(row) {
            found.push(None);
            continue;
        }
        let pattern = patterns.value(row);
        if pattern.is_empty() {
            found.push(Some(String::new()));
            continue;
        }
        if known.as_ref().is_none_or(|(before, _)| before != pattern) {
            known = Some((pattern.to_owned(), read(pattern)?));
        }
        let after = known.as_ref().map_or(0, |(_, pattern)| pattern.after);
        let number = decimal(row, after)?.ok_or_else(|| wrong("a number is expected"))?;
        if let (DataType::Float64, Some((_, pattern))) = (&of, &known)
            && number.to_plain_string().split('.').next().map_or(0, str::len) + pattern.after > 15
        {
            return Err(wrong(format!(
                "to_char of the double {number} asks for more than 15 digits, of which Postgres prints fewer: cast it to numeric"
            )));
        }
        found.push(known.as_ref().map(|(_, pattern)| print(&number, pattern)));
    }
    Ok(Arc::new(StringArray::from(found)))
}

/// The type that a number is printed from: integers and numerics by all of their digits.
pub fn printed_from(of: &DataType) -> DataType {
    match of {
        DataType::Decimal128(..) | DataType::Decimal256(..) => of.clone(),
        of if of.is_floating() => DataType::Float64,
        _ => DataType::Decimal128(20, 0),
    }
}

fn print(number: &BigDecimal, pattern: &Pattern) -> String {
    let scale = i64::try_from(pattern.after).unwrap_or(0);
    let rounded = number.with_scale_round(scale, RoundingMode::HalfUp);
    let negative = rounded.sign() == bigdecimal::num_bigint::Sign::Minus;
    let text = rounded.abs().to_plain_string();
    let (whole, after) = text.split_once('.').unwrap_or((&text, ""));
    let whole = if whole == "0" { "" } else { whole };
    let too_long = whole.len().max(1) > pattern.before;
    let digits: Vec<char> = format!("{whole:>width$}", width = pattern.before).chars().collect();
    let after: Vec<char> = after.chars().collect();
    Printing { pattern, digits, after, negative, too_long }.done()
}

struct Printing<'a> {
    pattern: &'a Pattern,
    /// One for each place before the point, blank where the number has none.
    digits: Vec<char>,
    after: Vec<char>,
    negative: bool,
    too_long: bool,
}

impl Printing<'_> {
    fn done(&self) -> String {
        let pieces = &self.pattern.pieces;
        let signed = pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Sign | Piece::Placed | Piece::Minus | Piece::Angles));
        // From the first place that is always there on, zeros are written.
        let forced = pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Digit { .. }))
            .take(self.pattern.before)
            .position(|piece| *piece == Piece::Digit { always: true });
        let last_always = self.last_always();
        let (mut out, mut place, mut point, mut begun) = (String::new(), 0, false, false);
        let mut number_at = None;
        for piece in pieces {
            if matches!(piece, Piece::Digit { .. } | Piece::Point | Piece::Group) {
                number_at.get_or_insert(out.len());
            }
            match piece {
                Piece::Digit { .. } if !point => {
                    let digit = match self.digits.get(place) {
                        _ if self.too_long => '#',
                        Some(' ') if forced.is_some_and(|forced| place >= forced) => '0',
                        // Of a number without a point, its last digit is there even where it is nothing.
                        Some(' ')
                            if place + 1 == self.pattern.before
                                && self.pattern.after == 0
                                && !self.has_point() =>
                        {
                            '0'
                        }
                        // `0.` where nothing is written behind the point either.
                        Some(' ')
                            if place + 1 == self.pattern.before
                                && !self.pattern.fill
                                && last_always.is_none() =>
                        {
                            '0'
                        }
                        Some(digit) => *digit,
                        None => ' ',
                    };
                    if digit != ' ' && !begun {
                        begun = true;
                    }
                    if digit != ' ' || self.pattern.fill {
                        out.push(digit);
                    }
                    place += 1;
                }
                Piece::Digit { .. } => {
                    let at = place - self.pattern.before;
                    let digit = if self.too_long { '#' } else { self.after.get(at).copied().unwrap_or('0') };
                    if self.pattern.fill || at <= last_always.unwrap_or(0) && last_always.is_some() {
                        out.push(digit);
                    }
                    place += 1;
                }
                Piece::Point => {
                    point = true;
                    if !begun {
                        begun = true;
                    }
                    out.push('.');
                }
                Piece::Group => {
                    if begun {
                        out.push(',');
                    } else if self.pattern.fill {
                        out.push(' ');
                    }
                }
                Piece::Minus => match (self.negative, self.pattern.fill) {
                    (true, _) => out.push('-'),
                    (false, true) => out.push(' '),
                    _ => {}
                },
                Piece::Placed => out.push(if self.negative { '-' } else { '+' }),
                Piece::Sign if place > 0 => out.push(if self.negative { '-' } else { '+' }),
                Piece::Sign | Piece::Angles => {}
                Piece::Literal(text) => out.push_str(text),
            }
        }
        self.with_sign(&out, number_at.unwrap_or(0), signed)
    }

    fn has_point(&self) -> bool {
        self.pattern.pieces.contains(&Piece::Point)
    }

    /// The last place after the point that is written when what fills is left out.
    fn last_always(&self) -> Option<usize> {
        let after = self.pattern.pieces.iter().filter(|piece| matches!(piece, Piece::Digit { .. }));
        let forced = after
            .skip(self.pattern.before)
            .enumerate()
            .filter(|(_, piece)| **piece == Piece::Digit { always: true })
            .map(|(at, _)| at)
            .last();
        let said = self.after.iter().rposition(|digit| *digit != '0');
        forced.max(said)
    }

    fn with_sign(&self, out: &str, number_at: usize, signed: bool) -> String {
        let angles = self.pattern.pieces.contains(&Piece::Angles);
        let leading = self.pattern.pieces.iter().take_while(|piece| !matches!(piece, Piece::Digit { .. }));
        let anchored = leading.into_iter().any(|piece| *piece == Piece::Sign);
        let begins =
            out[number_at..].find(|letter: char| letter != ' ').map_or(out.len(), |at| number_at + at);
        if angles {
            let (open, close) = match (self.negative, self.pattern.fill) {
                (true, _) => ("<", ">"),
                (false, true) => (" ", " "),
                _ => ("", ""),
            };
            return format!("{}{open}{}{close}", &out[..begins], &out[begins..]);
        }
        if anchored {
            let sign = if self.negative { '-' } else { '+' };
            return format!("{}{sign}{}", &out[..begins], &out[begins..]);
        }
        if signed {
            return out.to_owned();
        }
        match (self.negative, self.pattern.fill) {
            (true, _) => format!("{}-{}", &out[..begins], &out[begins..]),
            (false, true) => format!("{} {}", &out[..number_at], &out[number_at..]),
            (false, false) => out.to_owned(),
        }
    }
}
