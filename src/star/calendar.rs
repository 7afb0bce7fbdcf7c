//! The built-in calendar dimension: one row a day, and the unknown member.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Int16Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use chrono::{Datelike, Months, NaiveDate};

use crate::pipeline::calendar::Calendar;

/// The calendar's columns. `date_key` is yyyymmdd, so that a person can read it in a fact.
pub fn schema(calendar: &Calendar) -> SchemaRef {
    let fields =
        columns(calendar).into_iter().map(|(name, column)| Field::new(name, column.data_type(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// What a column says of a day.
enum Column {
    Key,
    Number(fn(NaiveDate, &Calendar) -> i16),
    Text(fn(NaiveDate, &Calendar) -> String),
    /// A text that not every day has.
    Name(fn(NaiveDate, &Calendar) -> Option<&str>),
    Date(fn(NaiveDate) -> NaiveDate),
    Flag(fn(NaiveDate, &Calendar) -> bool),
}

impl Column {
    fn data_type(&self) -> DataType {
        match self {
            Column::Key => DataType::Int32,
            Column::Number(_) => DataType::Int16,
            Column::Text(_) | Column::Name(_) => DataType::Utf8,
            Column::Date(_) => DataType::Date32,
            Column::Flag(_) => DataType::Boolean,
        }
    }
}

fn columns(calendar: &Calendar) -> Vec<(&'static str, Column)> {
    use Column::{Date, Flag, Key, Name, Number, Text};
    let mut columns = vec![
        ("date_key", Key),
        ("date", Date(|day| day)),
        ("year", Number(|day, _| day.year() as i16)),
        ("quarter", Number(|day, _| quarter(day))),
        ("month", Number(|day, _| day.month() as i16)),
        ("month_name", Text(|day, calendar| calendar.language.months[day.month0() as usize].to_owned())),
        ("day", Number(|day, _| day.day() as i16)),
        ("day_of_year", Number(|day, _| day.ordinal() as i16)),
        ("iso_year", Number(|day, _| day.iso_week().year() as i16)),
        ("iso_week", Number(|day, _| day.iso_week().week() as i16)),
        ("iso_weekday", Number(|day, _| day.weekday().number_from_monday() as i16)),
        (
            "weekday_name",
            Text(|day, calendar| {
                calendar.language.days[day.weekday().num_days_from_monday() as usize].to_owned()
            }),
        ),
        ("is_weekend", Flag(|day, _| day.weekday().number_from_monday() > 5)),
        ("month_start_date", Date(month_start)),
        ("month_end_date", Date(|day| month_end(day, 1))),
        ("quarter_start_date", Date(quarter_start)),
        ("quarter_end_date", Date(|day| month_end(quarter_start(day), 3))),
        ("year_month", Text(|day, _| day.format("%Y-%m").to_string())),
    ];
    if calendar.fiscal_start.is_some() {
        columns.extend([
            ("fiscal_year", Number(|day, calendar| fiscal(day, calendar).0)),
            ("fiscal_quarter", Number(|day, calendar| (fiscal(day, calendar).1 - 1) / 3 + 1)),
            ("fiscal_period", Number(|day, calendar| fiscal(day, calendar).1)),
        ]);
    }
    if calendar.holidays.is_some() {
        columns.extend([
            ("is_holiday", Flag(|day, calendar| holiday(day, calendar).is_some())),
            ("holiday_name", Name(holiday)),
        ]);
    }
    columns
}

fn quarter(day: NaiveDate) -> i16 {
    day.month0() as i16 / 3 + 1
}

fn month_start(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

/// The last day of a month so many months from a day's on.
fn month_end(day: NaiveDate, months: u32) -> NaiveDate {
    let next = month_start(day).checked_add_months(Months::new(months));
    next.and_then(|next| next.pred_opt()).unwrap_or(day)
}

fn quarter_start(day: NaiveDate) -> NaiveDate {
    month_start(day).checked_sub_months(Months::new(day.month0() % 3)).unwrap_or(day)
}

/// The fiscal year, named after the year in which it ends, and the month of it, counted from 1.
fn fiscal(day: NaiveDate, calendar: &Calendar) -> (i16, i16) {
    let start = calendar.fiscal_start.map_or(1, |month| month.number_from_month());
    let period = (day.month() + 12 - start) % 12 + 1;
    let ends_later = start > 1 && day.month() >= start;
    (day.year() as i16 + i16::from(ends_later), period as i16)
}

fn holiday(day: NaiveDate, calendar: &Calendar) -> Option<&str> {
    let holidays = calendar.holidays.as_deref()?;
    let at = holidays.binary_search_by_key(&day, |(day, _)| *day).ok()?;
    holidays.get(at).map(|(_, name)| name.as_str())
}

/// Every day from `from` to `to`, both included, then the unknown member with key -1.
pub fn rows(
    calendar: &Calendar,
    (from, to): (NaiveDate, NaiveDate),
    unknown: &str,
) -> Result<RecordBatch, ArrowError> {
    let days: Vec<NaiveDate> = from.iter_days().take_while(|day| *day <= to).collect();
    let number = |day: NaiveDate| (day - NaiveDate::default()).num_days() as i32;
    let key = |day: &NaiveDate| day.year() * 10_000 + day.month() as i32 * 100 + day.day() as i32;
    let days = || days.iter().copied();
    let arrays = columns(calendar).into_iter().map(|(_, column)| -> ArrayRef {
        match column {
            Column::Key => Arc::new(Int32Array::from_iter_values(days().map(|day| key(&day)).chain([-1]))),
            Column::Number(of) => {
                Arc::new(days().map(|day| Some(of(day, calendar))).chain([None]).collect::<Int16Array>())
            }
            Column::Text(of) => {
                let texts = days().map(|day| of(day, calendar)).chain([unknown.to_owned()]);
                Arc::new(StringArray::from_iter_values(texts))
            }
            Column::Name(of) => {
                let names = days().map(|day| of(day, calendar)).chain([Some(unknown)]);
                Arc::new(names.collect::<StringArray>())
            }
            Column::Date(of) => {
                Arc::new(days().map(|day| Some(number(of(day)))).chain([None]).collect::<Date32Array>())
            }
            Column::Flag(of) => {
                Arc::new(days().map(|day| Some(of(day, calendar))).chain([None]).collect::<BooleanArray>())
            }
        }
    });
    RecordBatch::try_new(schema(calendar), arrays.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::calendar::{Edge, Language};
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Date32Type, Int16Type, Int32Type};
    use chrono::Month;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn of(from: &str, to: &str, fiscal_start: Option<Month>, language: &str) -> RecordBatch {
        let (from, to) = (day(from), day(to));
        let holidays =
            Some(vec![(day("2024-02-29"), "Leap".to_owned()), (day("2024-12-25"), "Christmas".to_owned())]);
        let language = Language::by_code(language).unwrap();
        let calendar =
            Calendar { from: Edge::Day(from), to: Edge::Day(to), fiscal_start, language, holidays };
        rows(&calendar, (from, to), "Unknown").unwrap()
    }

    fn numbers(rows: &RecordBatch, name: &str) -> Vec<Option<i16>> {
        rows.column_by_name(name).unwrap().as_primitive::<Int16Type>().iter().collect()
    }

    fn texts(rows: &RecordBatch, name: &str) -> Vec<Option<String>> {
        rows.column_by_name(name)
            .unwrap()
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect()
    }

    #[test]
    fn a_leap_day_has_its_row_and_the_last_row_is_the_unknown_member() {
        let rows = of("2024-02-28", "2024-03-01", None, "de");
        let keys = rows.column(0).as_primitive::<Int32Type>();
        assert_eq!(keys.values(), &[20_240_228, 20_240_229, 20_240_301, -1]);
        assert_eq!(numbers(&rows, "day_of_year"), [Some(59), Some(60), Some(61), None]);
        assert!(rows.column(1).is_null(3));
        assert_eq!(
            texts(&rows, "month_name")[1..].iter().flatten().collect::<Vec<_>>(),
            ["Februar", "März", "Unknown"]
        );
        assert_eq!(
            texts(&rows, "holiday_name"),
            [None, Some("Leap".to_owned()), None, Some("Unknown".to_owned())]
        );
        assert!(rows.column_by_name("fiscal_year").is_none());
    }

    #[test]
    fn the_first_days_of_january_may_belong_to_the_last_iso_year() {
        let rows = of("2027-01-01", "2027-01-01", None, "en");
        assert_eq!(numbers(&rows, "iso_year")[0], Some(2026));
        assert_eq!(numbers(&rows, "iso_week")[0], Some(53));
        assert_eq!(texts(&rows, "weekday_name")[0].as_deref(), Some("Friday"));
    }

    #[test]
    fn months_and_quarters_end_where_they_do_and_a_fiscal_year_is_named_after_its_end() {
        let rows = of("2024-02-01", "2024-12-31", Some(Month::April), "en");
        let dates = |name: &str, row: usize| {
            let days = rows.column_by_name(name).unwrap().as_primitive::<Date32Type>().value(row);
            (NaiveDate::default() + chrono::TimeDelta::days(days.into())).to_string()
        };
        assert_eq!(
            (dates("month_end_date", 0), dates("quarter_start_date", 0)),
            ("2024-02-29".into(), "2024-01-01".into())
        );
        let last = rows.num_rows() - 2;
        assert_eq!(
            (dates("month_end_date", last), dates("quarter_end_date", last)),
            ("2024-12-31".into(), "2024-12-31".into())
        );
        let (years, periods, quarters) = (
            numbers(&rows, "fiscal_year"),
            numbers(&rows, "fiscal_period"),
            numbers(&rows, "fiscal_quarter"),
        );
        assert_eq!((years[0], periods[0], quarters[0]), (Some(2024), Some(11), Some(4)));
        let april = 29 + 31;
        assert_eq!((years[april], periods[april], quarters[april]), (Some(2025), Some(1), Some(1)));
        assert_eq!((years[last], periods[last], quarters[last]), (Some(2025), Some(9), Some(3)));
    }
}
