//! `to_char` of dates, local times and instants, by Postgres's patterns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use chrono_tz::{OffsetName, Tz, TzOffset};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::convert::micros;
use super::pattern::{Case, DAYS, Field, Key, MONTHS, Piece, pieces, short};
use super::plain::INTERVAL;
use super::{given, number_pattern, rows_of, span_text, wrong, zone};

pub fn to_char(own: Tz) -> ScalarUDF {
    ScalarUDF::new_from_impl(ToChar {
        own: own.name(),
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    own: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of @ (DataType::Date32 | DataType::Timestamp(..)), _] => Ok(vec![of.clone(), DataType::Utf8]),
            [DataType::Interval(_) | DataType::Duration(_), _] => Ok(vec![INTERVAL, DataType::Utf8]),
            [DataType::Time32(_) | DataType::Time64(_), _] => Ok(vec![span_text::TIME, DataType::Utf8]),
            [DataType::Float32, _] => Err(wrong(
                "to_char of a real is not answered here; say of how many digits: to_char(CAST(x AS numeric(12,2)), '990.00')",
            )),
            [of, _] if of.is_numeric() => Ok(vec![number_pattern::printed_from(of), DataType::Utf8]),
            [of, _] => Err(wrong(format!(
                "to_char of {} is not answered here; cast it to text: CAST(x AS text), lpad(CAST(x AS text), 2, '0')",
                crate::dialect::told::in_sql(&of.to_string())
            ))),
            _ => Err(wrong("to_char takes a time and a pattern: to_char(x, 'YYYY-MM-DD')")),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, pattern] = args.args.as_slice() else { return Err(wrong("to_char takes two arguments")) };
        let rows = rows_of(&args.args, args.number_rows);
        let values = value.to_array(rows)?;
        if values.data_type().is_numeric() {
            let patterns = cast(&pattern.to_array(rows)?, &DataType::Utf8)?;
            return given(number_pattern::printed(&values, patterns.as_string::<i32>())?, &args.args);
        }
        let printed: ArrayRef = match pattern {
            ColumnarValue::Scalar(pattern) => {
                let pieces = pattern.try_as_str().flatten().and_then(printable);
                Arc::new(self.printed(&values, |_| pieces.as_deref())?)
            }
            ColumnarValue::Array(patterns) => {
                let patterns = cast(patterns, &DataType::Utf8)?;
                let patterns: Vec<Option<Vec<Piece>>> =
                    patterns.as_string::<i32>().iter().map(|pattern| pattern.and_then(printable)).collect();
                Arc::new(self.printed(&values, |row| patterns[row].as_deref())?)
            }
        };
        given(printed, &args.args)
    }
}

impl ToChar {
    fn printed<'a>(
        &self,
        values: &ArrayRef,
        pieces: impl Fn(usize) -> Option<&'a [Piece]>,
    ) -> Result<StringArray> {
        if matches!(values.data_type(), DataType::Interval(_) | DataType::Time64(_)) {
            return span_text::printed(values, pieces);
        }
        let own = zone::zone(self.own)?;
        let shown_in = match values.data_type() {
            DataType::Timestamp(_, Some(name)) => Some(zone::zone(name)?),
            // A day is the instant at which it begins in the pipeline's zone.
            DataType::Date32 => Some(own),
            _ => None,
        };
        let is_day = *values.data_type() == DataType::Date32;
        let times = micros(values)?;
        let mut texts = StringBuilder::with_capacity(times.len(), times.len() * 12);
        let mut text = String::new();
        for row in 0..times.len() {
            let Some(pieces) = pieces(row).filter(|_| times.is_valid(row)) else {
                texts.append_null();
                continue;
            };
            let mut at = times.value(row);
            if is_day {
                at = zone::instant(at, own).ok_or_else(out_of_range)?;
            }
            let moment = Moment::of(at, shown_in).ok_or_else(out_of_range)?;
            text.clear();
            for piece in pieces {
                match piece {
                    Piece::Text(letter, _) => text.push(*letter),
                    Piece::Field(field) => moment.print(*field, &mut text),
                }
            }
            texts.append_value(&text);
        }
        Ok(texts.finish())
    }
}

/// A pattern's pieces; an empty one prints NULL.
fn printable(pattern: &str) -> Option<Vec<Piece>> {
    (!pattern.is_empty()).then(|| pieces(pattern))
}

fn out_of_range() -> datafusion::common::DataFusionError {
    wrong("timestamp out of range")
}

/// What the clocks of a zone show.
struct Moment {
    local: NaiveDateTime,
    /// How far the zone is from UTC then, and what it calls itself. None of a local time.
    zone: Option<TzOffset>,
}

const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// What chrono's count of days, which begins with 0001-01-01, is behind the Julian one.
const JULIAN: i32 = 1_721_425;

impl Moment {
    fn of(at: i64, zone: Option<Tz>) -> Option<Moment> {
        let utc = DateTime::from_timestamp_micros(at)?.naive_utc();
        let Some(zone) = zone else { return Some(Moment { local: utc, zone: None }) };
        let offset = zone.offset_from_utc_datetime(&utc);
        let seconds = offset.fix().local_minus_utc();
        let local = utc.checked_add_signed(chrono::TimeDelta::seconds(i64::from(seconds)))?;
        Some(Moment { local, zone: Some(offset) })
    }

    /// The year without its era.
    fn year(&self) -> i64 {
        years(i64::from(self.local.year()))
    }

    fn print(&self, field: Field, out: &mut String) {
        let Some((number, width)) = self.number(field) else { return out.push_str(&self.word(field)) };
        let width = if field.bare { 0 } else { width };
        match (field.ordinal, u64::try_from(number)) {
            (None, Ok(number)) => write_number(number, width, out),
            _ => out.push_str(&ordinal(format!("{number:0width$}"), field.ordinal)),
        }
    }

    /// A number, and how many digits it is filled up to.
    fn number(&self, field: Field) -> Option<(i64, usize)> {
        let (local, micros) = (self.local, i64::from(self.local.nanosecond()) / 1_000);
        let whole = |number: u32, width| Some((i64::from(number), width));
        let week = self.local.iso_week();
        match field.key {
            Key::Hour24 => whole(local.hour(), 2),
            Key::Hour12 => whole((local.hour() + 11) % 12 + 1, 2),
            Key::Minute => whole(local.minute(), 2),
            Key::Second => whole(local.second(), 2),
            Key::SecondOfDay => whole(local.num_seconds_from_midnight(), 0),
            Key::Month => whole(local.month(), 2),
            Key::DayOfMonth => whole(local.day(), 2),
            Key::DayOfYear => whole(local.ordinal(), 3),
            Key::DayOfWeek => whole(local.weekday().num_days_from_sunday() + 1, 0),
            Key::IsoDayOfWeek => whole(local.weekday().number_from_monday(), 0),
            Key::IsoDayOfYear => whole((week.week() - 1) * 7 + local.weekday().number_from_monday(), 3),
            Key::WeekOfMonth => whole((local.day() - 1) / 7 + 1, 0),
            Key::WeekOfYear => whole((local.ordinal() - 1) / 7 + 1, 2),
            Key::IsoWeek => whole(week.week(), 2),
            Key::Quarter => whole((local.month() - 1) / 3 + 1, 0),
            Key::JulianDay => Some((i64::from(local.num_days_from_ce() + JULIAN), 0)),
            Key::Century => Some(century(i64::from(local.year()))),
            Key::Year(digits) => Some((last(self.year(), digits), digits)),
            Key::IsoYear(digits) => Some((last(years(i64::from(week.year())), digits), digits)),
            // These are filled up whatever stands before them.
            Key::Millisecond | Key::Microsecond | Key::Fraction(_) if field.bare => None,
            Key::Millisecond => Some((micros / 1_000, 3)),
            Key::Microsecond => Some((micros, 6)),
            Key::Fraction(digits) => Some((micros / 10_i64.pow(6 - digits), digits as usize)),
            _ => None,
        }
    }

    fn word(&self, field: Field) -> String {
        let fills = !field.bare && !field.local;
        let filled = |word: String, width: usize| if fills { format!("{word:<width$}") } else { word };
        let dotted = |words: [&str; 2], first: bool, case, dots: bool| {
            let word = if first { words[0] } else { words[1] };
            let word =
                if dots { word.chars().flat_map(|letter| [letter, '.']).collect() } else { word.to_owned() };
            cased(&word, case)
        };
        let local = self.local;
        let month = MONTHS[local.month0() as usize % 12];
        let day = DAYS[local.weekday().num_days_from_sunday() as usize % 7];
        let micros = local.nanosecond() / 1_000;
        match field.key {
            Key::MonthName(case) => filled(cased(month, case), 9),
            Key::MonthShort(case) => cased(short(month), case),
            Key::DayName(case) => filled(cased(day, case), 9),
            Key::DayShort(case) => cased(short(day), case),
            Key::Roman(case) => {
                let roman = cased(ROMAN[local.month0() as usize % 12], case);
                if field.bare { roman } else { format!("{roman:<4}") }
            }
            Key::Meridiem(case, dots) => dotted(["PM", "AM"], local.hour() >= 12, case, dots),
            Key::Era(case, dots) => dotted(["BC", "AD"], local.year() <= 0, case, dots),
            Key::YearWithComma => {
                let year = self.year();
                ordinal(format!("{},{:03}", year / 1_000, year % 1_000), field.ordinal)
            }
            Key::Millisecond => ordinal(format!("{:03}", micros / 1_000), field.ordinal),
            Key::Microsecond => ordinal(format!("{micros:06}"), field.ordinal),
            Key::Fraction(digits) => {
                let (width, part) = (digits as usize, micros / 10_u32.pow(6 - digits));
                ordinal(format!("{part:0>width$}"), field.ordinal)
            }
            Key::Zone(_) | Key::ZoneHours | Key::ZoneMinutes | Key::ZoneOffset => self.zone(field),
            _ => String::new(),
        }
    }

    fn zone(&self, field: Field) -> String {
        let offset = self.zone.map_or(0, |zone| zone.fix().local_minus_utc());
        let (sign, hours, minutes) =
            (if offset < 0 { '-' } else { '+' }, offset.abs() / 3_600, offset.abs() / 60 % 60);
        match field.key {
            Key::Zone(case) => {
                cased(self.zone.as_ref().and_then(OffsetName::abbreviation).unwrap_or_default(), case)
            }
            Key::ZoneHours => format!("{sign}{hours:02}"),
            Key::ZoneMinutes => format!("{minutes:02}"),
            _ => {
                let width = if field.bare { 0 } else { 2 };
                let rest = if offset % 3_600 == 0 { String::new() } else { format!(":{minutes:02}") };
                format!("{sign}{hours:0>width$}{rest}")
            }
        }
    }
}

/// A number filled up with zeros. Every row has several, and the machinery of formatting costs more than all else.
fn write_number(number: u64, width: usize, out: &mut String) {
    let mut digits = [b'0'; 20];
    let (mut first, mut rest) = (digits.len(), number);
    while first > 0 && (rest > 0 || digits.len() - first < width.max(1)) {
        first -= 1;
        digits[first] += (rest % 10) as u8;
        rest /= 10;
    }
    out.extend(digits[first..].iter().copied().map(char::from));
}

/// A year of an era: there is no year 0.
fn years(year: i64) -> i64 {
    if year <= 0 { 1 - year } else { year }
}

fn last(year: i64, digits: usize) -> i64 {
    match digits {
        1 => year % 10,
        2 => year % 100,
        3 => year % 1_000,
        _ => year,
    }
}

fn century(year: i64) -> (i64, usize) {
    let century = if year > 0 { (year - 1) / 100 + 1 } else { year / 100 - 1 };
    let width = if century < 0 { 3 } else { 2 };
    (century, if century.abs() <= 99 { width } else { 0 })
}

pub fn cased(word: &str, case: Case) -> String {
    match case {
        Case::Upper => word.to_uppercase(),
        Case::Lower => word.to_lowercase(),
        Case::Capital => word.to_owned(),
    }
}

/// `1st`, `22ND`, `113th`.
pub fn ordinal(mut number: String, case: Option<Case>) -> String {
    let Some(case) = case else { return number };
    let mut digits = number.bytes().rev();
    let (last, tens) = (digits.next(), digits.next());
    let ending = match (tens, last) {
        (Some(b'1'), _) => "th",
        (_, Some(b'1')) => "st",
        (_, Some(b'2')) => "nd",
        (_, Some(b'3')) => "rd",
        _ => "th",
    };
    number.push_str(&cased(ending, case));
    number
}
