//! The built-in calendar dimension: one row a day, and the unknown member.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Int16Builder, Int32Builder, RecordBatch, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use chrono::{Datelike, NaiveDate};

/// The calendar's columns. `date_key` is yyyymmdd, so that a person can read it in a fact.
pub fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("date_key", DataType::Int32),
        field("date", DataType::Date32),
        field("year", DataType::Int16),
        field("quarter", DataType::Int16),
        field("month", DataType::Int16),
        field("month_name", DataType::Utf8),
        field("day", DataType::Int16),
        field("day_of_year", DataType::Int16),
        field("iso_year", DataType::Int16),
        field("iso_week", DataType::Int16),
        field("iso_weekday", DataType::Int16),
        field("weekday_name", DataType::Utf8),
        field("is_weekend", DataType::Boolean),
        field("month_start_date", DataType::Date32),
    ]))
}

const SHORTS: usize = 8;

/// Every day from `from` to `to`, both included, then the unknown member with key -1.
pub fn rows(from: NaiveDate, to: NaiveDate, unknown: &str) -> Result<RecordBatch, ArrowError> {
    let mut key = Int32Builder::new();
    let (mut date, mut month_start) = (Date32Builder::new(), Date32Builder::new());
    let (mut month_name, mut weekday_name) = (StringBuilder::new(), StringBuilder::new());
    let mut weekend = BooleanBuilder::new();
    let mut shorts: [Int16Builder; SHORTS] = Default::default();
    let days = |date: NaiveDate| (date - NaiveDate::default()).num_days() as i32;
    for day in from.iter_days().take_while(|day| *day <= to) {
        key.append_value(day.year() * 10_000 + day.month() as i32 * 100 + day.day() as i32);
        date.append_value(days(day));
        month_start.append_value(days(day) - day.day0() as i32);
        month_name.append_value(day.format("%B").to_string());
        weekday_name.append_value(day.format("%A").to_string());
        let iso = day.iso_week();
        let weekday = day.weekday().number_from_monday();
        weekend.append_value(weekday > 5);
        let numbers = [
            day.year() as i16,
            day.month0() as i16 / 3 + 1,
            day.month() as i16,
            day.day() as i16,
            day.ordinal() as i16,
            iso.year() as i16,
            iso.week() as i16,
            weekday as i16,
        ];
        shorts.iter_mut().zip(numbers).for_each(|(builder, number)| builder.append_value(number));
    }
    key.append_value(-1);
    date.append_null();
    month_start.append_null();
    month_name.append_value(unknown);
    weekday_name.append_value(unknown);
    weekend.append_null();
    shorts.iter_mut().for_each(Int16Builder::append_null);
    let [year, quarter, month, day, ordinal, iso_year, iso_week, weekday] =
        shorts.map(|mut builder| Arc::new(builder.finish()) as ArrayRef);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(key.finish()),
        Arc::new(date.finish()),
        year,
        quarter,
        month,
        Arc::new(month_name.finish()),
        day,
        ordinal,
        iso_year,
        iso_week,
        weekday,
        Arc::new(weekday_name.finish()),
        Arc::new(weekend.finish()),
        Arc::new(month_start.finish()),
    ];
    RecordBatch::try_new(schema(), columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Int16Type, Int32Type};

    #[test]
    fn a_leap_day_has_its_row_and_the_last_row_is_the_unknown_member() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let rows = rows(day("2024-02-28"), day("2024-03-01"), "Unknown").unwrap();
        let keys = rows.column(0).as_primitive::<Int32Type>();
        assert_eq!(keys.values(), &[20_240_228, 20_240_229, 20_240_301, -1]);
        assert_eq!(rows.column(7).as_primitive::<Int16Type>().value(1), 60);
        assert!(rows.column(1).is_null(3));
    }

    #[test]
    fn the_first_days_of_january_may_belong_to_the_last_iso_year() {
        let day = "2027-01-01".parse::<NaiveDate>().unwrap();
        let rows = rows(day, day, "Unknown").unwrap();
        assert_eq!(rows.column(8).as_primitive::<Int16Type>().value(0), 2026);
        assert_eq!(rows.column(9).as_primitive::<Int16Type>().value(0), 53);
    }
}
