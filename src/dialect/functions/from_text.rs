//! `to_date(text, pattern)` and `to_timestamp(text, pattern)`: a text read by Postgres's patterns, as leniently as
//! Postgres reads it, and as strictly.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{Datelike, NaiveDate};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::pattern::{DAYS, Field, Key, MONTHS, Piece, pieces, short};
use super::{given, rows_of, wrong};

/// Days before 1970, as chrono counts them.
const EPOCH: i32 = 719_163;
const DAY: i64 = 86_400_000_000;

pub fn to_date() -> ScalarUDF {
    ScalarUDF::new_from_impl(ToDate { signature: Signature::string(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToDate {
    signature: Signature,
}

impl ScalarUDFImpl for ToDate {
    fn name(&self) -> &str {
        "to_date"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over(&args, |micros| {
            let days = micros.iter().map(|at| at.and_then(|at| i32::try_from(at.div_euclid(DAY)).ok()));
            Ok(Arc::new(days.collect::<Date32Array>()))
        })
    }
}

/// Reads every text by its pattern, to the microseconds that the clocks of some place show.
pub fn over(
    args: &ScalarFunctionArgs,
    give: impl Fn(Int64Array) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let [text, pattern] = args.args.as_slice() else { return Err(wrong("a text is read by a pattern")) };
    let rows = rows_of(&args.args, args.number_rows);
    let strings = |value: &ColumnarValue, rows| {
        cast(&value.to_array(rows)?, &DataType::Utf8).map_err(DataFusionError::from)
    };
    let texts = strings(text, rows)?;
    let same = matches!(pattern, ColumnarValue::Scalar(_));
    let patterns = strings(pattern, if same { 1 } else { rows })?;
    let parsed: Vec<Option<Vec<Piece>>> =
        patterns.as_string::<i32>().iter().map(|pattern| pattern.map(pieces)).collect();
    let read = |(row, text): (usize, Option<&str>)| match (text, &parsed[if same { 0 } else { row }]) {
        (Some(text), Some(pieces)) => read(pieces, text).map(Some),
        _ => Ok(None),
    };
    let found = texts.as_string::<i32>().iter().enumerate().map(read).collect::<Result<Int64Array>>()?;
    given(give(found)?, &args.args)
}

/// What was read so far. What a text doesn't say is nothing, the first month, the first day.
#[derive(Debug, Default)]
struct Read {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    twelve: bool,
    afternoon: bool,
}

/// The text that is left.
struct Input<'a> {
    left: Peekable<Chars<'a>>,
}

fn is_separator(letter: char) -> bool {
    letter.is_ascii_graphic() && !letter.is_ascii_alphanumeric()
}

/// Blanks as C knows them.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

impl Input<'_> {
    fn spaces(&mut self) -> i64 {
        let mut skipped = 0;
        while self.left.next_if(|letter| is_space(*letter)).is_some() {
            skipped += 1;
        }
        skipped
    }

    /// A number of exactly so many characters, or of as many digits as there are.
    fn number(&mut self, most: Option<usize>, name: &str) -> Result<(i64, usize)> {
        self.spaces();
        let mut word = String::new();
        let fits = |word: &str| most.is_none_or(|most| word.chars().count() < most);
        match most {
            Some(_) => {
                while fits(&word)
                    && let Some(letter) = self.left.next()
                {
                    word.push(letter);
                }
            }
            None => {
                word.extend(self.left.next_if(|letter| ['-', '+'].contains(letter)));
                while let Some(digit) = self.left.next_if(char::is_ascii_digit) {
                    word.push(digit);
                }
            }
        }
        let length = word.chars().count();
        if most.is_some_and(|most| length < most) {
            return Err(wrong(format!("source string too short for \"{name}\" formatting field")));
        }
        let number = word.parse::<i32>();
        let number = number.map_err(|_| wrong(format!("invalid value \"{word}\" for \"{name}\"")))?;
        Ok((i64::from(number), length))
    }

    /// Which of some words it begins with.
    fn word(&mut self, words: &[&str], name: &str) -> Result<i64> {
        let rest: String = self.left.clone().collect();
        let begins =
            |word: &&str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let found = words.iter().position(begins);
        let Some(at) = found else {
            return Err(wrong(format!("invalid value \"{rest}\" for \"{name}\"")));
        };
        for _ in words[at].chars() {
            self.left.next();
        }
        i64::try_from(at).map_err(|_| wrong("too many words"))
    }
}

fn read(pieces: &[Piece], text: &str) -> Result<i64> {
    let mut input = Input { left: text.chars().peekable() };
    let (mut found, mut exact, mut extra) = (Read::default(), false, 0_i64);
    for (at, piece) in pieces.iter().enumerate() {
        // What a pattern asks beyond the text's end is not asked.
        if input.left.peek().is_none() {
            break;
        }
        let is_exact = matches!(piece, Piece::Field(Field { key: Key::Exact, .. }));
        if !exact && !is_exact && (at == 0 || matches!(piece, Piece::Field(_))) {
            extra += input.spaces();
        }
        match piece {
            Piece::Text(letter, quoted) if !quoted && (is_space(*letter) || is_separator(*letter)) => {
                let skips = input.left.peek().is_some_and(|next| is_space(*next) || is_separator(*next));
                if exact || skips {
                    input.left.next();
                }
                extra -= i64::from(!exact && !skips);
            }
            Piece::Text(..) if !exact && extra > 0 => extra -= 1,
            Piece::Text(..) => drop(input.left.next()),
            Piece::Field(Field { key: Key::Exact, .. }) => exact = true,
            Piece::Field(field) => {
                found.field(*field, next_is_digit(*field, pieces.get(at + 1)), &mut input)?;
                if !exact {
                    extra = input.spaces();
                }
            }
        }
    }
    found.micros(text)
}

/// Whether what follows a field in a pattern is a number, so that the field has its own width.
fn next_is_digit(field: Field, next: Option<&Piece>) -> bool {
    if field.ordinal.is_some() {
        return false;
    }
    match next {
        None => false,
        Some(Piece::Text(letter, _)) => letter.is_ascii_digit(),
        Some(Piece::Field(next)) => !matches!(
            next.key,
            Key::MonthName(_)
                | Key::MonthShort(_)
                | Key::DayName(_)
                | Key::DayShort(_)
                | Key::Meridiem(..)
                | Key::Era(..)
                | Key::Roman(_)
                | Key::Zone(_)
                | Key::ZoneHours
                | Key::ZoneOffset
                | Key::Exact
        ),
    }
}

impl Read {
    fn field(&mut self, field: Field, digit_follows: bool, input: &mut Input) -> Result<()> {
        let name = field.key.name();
        let width = |width: usize| (digit_follows && !field.bare).then_some(width);
        match field.key {
            Key::Year(digits) => {
                let (year, length) = input.number(width(digits), name)?;
                self.year = if digits < 4 && length < 4 { full_year(year) } else { year };
            }
            Key::Month => self.month = Some(set(self.month, input.number(width(2), name)?.0, name)?),
            Key::DayOfMonth => self.day = Some(set(self.day, input.number(width(2), name)?.0, name)?),
            Key::DayOfYear => {
                self.day_of_year = Some(set(self.day_of_year, input.number(width(3), name)?.0, name)?)
            }
            Key::Hour24 => self.hour = input.number(width(2), name)?.0,
            Key::Hour12 => (self.hour, self.twelve) = (input.number(width(2), name)?.0, true),
            Key::Minute => self.minute = input.number(width(2), name)?.0,
            Key::Second => self.second = input.number(width(2), name)?.0,
            Key::Millisecond => {
                let (part, length) = input.number(width(3), name)?;
                self.micros += part * 1_000 * [100, 10].get(length - 1).copied().unwrap_or(1);
            }
            Key::Microsecond => self.fraction(6, width(6), name, input)?,
            Key::Fraction(digits) => self.fraction(digits, width(digits as usize), name, input)?,
            Key::MonthName(_) => self.month = Some(set(self.month, input.word(&MONTHS, name)? + 1, name)?),
            Key::MonthShort(_) => {
                self.month = Some(set(self.month, input.word(&MONTHS.map(short), name)? + 1, name)?)
            }
            // Which day of the week it is follows from the date.
            Key::DayName(_) => drop(input.word(&DAYS, name)?),
            Key::DayShort(_) => drop(input.word(&DAYS.map(short), name)?),
            Key::Meridiem(_, dots) => {
                let words = if dots { ["a.m.", "p.m."] } else { ["am", "pm"] };
                (self.afternoon, self.twelve) = (input.word(&words, name)? == 1, true);
            }
            _ => return Err(unread(name)),
        }
        if field.ordinal.is_some() {
            input.left.next();
            input.left.next();
        }
        Ok(())
    }

    /// The first so many digits of a second's fraction.
    fn fraction(&mut self, digits: u32, most: Option<usize>, name: &str, input: &mut Input) -> Result<()> {
        let (part, length) = input.number(most, name)?;
        let length = u32::try_from(length).unwrap_or(digits).min(6);
        self.micros += part * 10_i64.pow(6 - length);
        Ok(())
    }

    fn micros(self, text: &str) -> Result<i64> {
        let out = || wrong(format!("date/time field value out of range: \"{text}\""));
        let mut hour = self.hour;
        if self.twelve {
            if !(1..=12).contains(&hour) {
                return Err(wrong(format!("hour \"{hour}\" is invalid for the 12-hour clock")));
            }
            hour = hour % 12 + if self.afternoon { 12 } else { 0 };
        }
        let in_range =
            (0..24).contains(&hour) && (0..60).contains(&self.minute) && (0..60).contains(&self.second);
        if !in_range || !(0..1_000_000).contains(&self.micros) {
            return Err(out());
        }
        let year = i32::try_from(if self.year < 0 { self.year + 1 } else { self.year }).map_err(|_| out())?;
        let small = |number: i64| u32::try_from(number).map_err(|_| out());
        // A zero is as good as nothing.
        let said = |part: Option<i64>| part.filter(|part| *part != 0);
        let date = match (said(self.day_of_year), said(self.month), said(self.day)) {
            (Some(_), None, None) if self.year == 0 => {
                return Err(wrong("cannot calculate day of year without year information"));
            }
            (Some(day), None, None) => NaiveDate::from_yo_opt(year, small(day)?),
            (Some(_), ..) => return Err(unread("DDD beside MM or DD")),
            (None, month, day) => {
                NaiveDate::from_ymd_opt(year, small(month.unwrap_or(1))?, small(day.unwrap_or(1))?)
            }
        };
        let days = i64::from(date.ok_or_else(out)?.num_days_from_ce() - EPOCH);
        let seconds = hour * 3_600 + self.minute * 60 + self.second;
        Ok(days * DAY + seconds * 1_000_000 + self.micros)
    }
}

fn unread(name: &str) -> DataFusionError {
    wrong(format!("{name} is not read in a text here: take it apart, with substr or split_part"))
}

/// A field that a pattern has twice must say the same twice.
fn set(known: Option<i64>, value: i64, name: &str) -> Result<i64> {
    match known {
        Some(known) if known != 0 && known != value => {
            Err(wrong(format!("conflicting values for \"{name}\" field in formatting string")))
        }
        _ => Ok(value),
    }
}

/// The year nearest to 2020 that ends so.
fn full_year(year: i64) -> i64 {
    match year {
        ..70 => year + 2_000,
        70..100 => year + 1_900,
        100..520 => year + 2_000,
        520..1_000 => year + 1_000,
        _ => year,
    }
}

/// Whether all fields of a pattern are read; the name of one that is not.
pub fn unreadable(pattern: &str) -> Option<&'static str> {
    pieces(pattern).iter().find_map(|piece| match piece {
        Piece::Field(Field { key, .. }) => match key {
            Key::Year(_)
            | Key::Month
            | Key::DayOfMonth
            | Key::DayOfYear
            | Key::Hour24
            | Key::Hour12
            | Key::Minute
            | Key::Second
            | Key::Millisecond
            | Key::Microsecond
            | Key::Fraction(_)
            | Key::MonthName(_)
            | Key::MonthShort(_)
            | Key::DayName(_)
            | Key::DayShort(_)
            | Key::Meridiem(..)
            | Key::Exact => None,
            other => Some(other.name()),
        },
        Piece::Text(..) => None,
    })
}
