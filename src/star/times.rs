//! The built-in dimension of the times of a day: one row an hour, minute or second, and the unknown member.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int16Array, Int32Array, RecordBatch, StringArray, Time64MicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::pipeline::times::Times;

const DAY: u32 = 86_400;

/// What a column says of a second of the day.
enum Column {
    Key,
    Time,
    Number(fn(u32) -> u32),
    /// A number above what a smallint holds.
    Large(fn(u32) -> u32),
    Text(fn(u32) -> &'static str),
}

fn columns(times: Times) -> Vec<(&'static str, Column)> {
    use Column::{Key, Large, Number, Text, Time};
    let mut columns = vec![
        ("time_key", Key),
        ("time", Time),
        ("hour", Number(|second| second / 3_600)),
        ("hour_12", Number(|second| (second / 3_600 + 11) % 12 + 1)),
        ("am_pm", Text(|second| if second < DAY / 2 { "AM" } else { "PM" })),
    ];
    if times != Times::Hour {
        columns.push(("minute", Number(|second| second / 60 % 60)));
        columns.push(("minute_of_day", Number(|second| second / 60)));
    }
    if times == Times::Second {
        columns.push(("second", Number(|second| second % 60)));
        columns.push(("second_of_day", Large(|second| second)));
    }
    columns
}

/// Its columns. `time_key` is hh, hhmm or hhmmss, so that a person can read it in a fact.
pub fn schema(times: Times) -> SchemaRef {
    let fields = columns(times).into_iter().map(|(name, column)| {
        let data_type = match column {
            Column::Key | Column::Large(_) => DataType::Int32,
            Column::Time => DataType::Time64(TimeUnit::Microsecond),
            Column::Number(_) => DataType::Int16,
            Column::Text(_) => DataType::Utf8,
        };
        Field::new(name, data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The key of the time in `column`, as SQL: of its zone, where it has one.
pub fn key_of(times: Times, column: &str) -> String {
    let part = |part: &str| format!("CAST(floor(date_part('{part}', {column})) AS INT)");
    match times {
        Times::Hour => part("hour"),
        Times::Minute => format!("{} * 100 + {}", part("hour"), part("minute")),
        Times::Second => {
            format!("{} * 10000 + {} * 100 + {}", part("hour"), part("minute"), part("second"))
        }
    }
}

/// Every time of the day, then the unknown member with key -1.
pub fn rows(times: Times, unknown: &str) -> Result<RecordBatch, ArrowError> {
    let key = |second: u32| {
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        match times {
            Times::Hour => hour,
            Times::Minute => hour * 100 + minute,
            Times::Second => hour * 10_000 + minute * 100 + second % 60,
        }
    };
    let seconds = || (0..DAY).step_by(times.step() as usize);
    let arrays = columns(times).into_iter().map(|(_, column)| -> ArrayRef {
        match column {
            Column::Key => {
                Arc::new(Int32Array::from_iter_values(seconds().map(|second| key(second) as i32).chain([-1])))
            }
            Column::Time => {
                let times = seconds().map(|second| Some(i64::from(second) * 1_000_000));
                Arc::new(times.chain([None]).collect::<Time64MicrosecondArray>())
            }
            Column::Number(of) => Arc::new(
                seconds().map(|second| Some(of(second) as i16)).chain([None]).collect::<Int16Array>(),
            ),
            Column::Large(of) => Arc::new(
                seconds().map(|second| Some(of(second) as i32)).chain([None]).collect::<Int32Array>(),
            ),
            Column::Text(of) => Arc::new(StringArray::from_iter_values(seconds().map(of).chain([unknown]))),
        }
    });
    RecordBatch::try_new(schema(times), arrays.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{Int16Type, Int32Type};

    #[test]
    fn a_day_has_its_times_each_with_a_key_that_reads_as_the_time() {
        for (times, count, noon, last) in [
            (Times::Hour, 24, 12, 23),
            (Times::Minute, 1_440, 1_200, 2_359),
            (Times::Second, 86_400, 120_000, 235_959),
        ] {
            let rows = rows(times, "Unknown").unwrap();
            assert_eq!(rows.num_rows(), count + 1);
            let keys = rows.column(0).as_primitive::<Int32Type>();
            assert_eq!((keys.value(0), keys.value(count / 2)), (0, noon));
            assert_eq!((keys.value(count - 1), keys.value(count)), (last, -1));
            let twelve = rows.column(3).as_primitive::<Int16Type>();
            assert_eq!((twelve.value(0), twelve.value(count / 2), twelve.value(count - 1)), (12, 12, 11));
            let halves = rows.column(4).as_string::<i32>();
            assert_eq!(
                (halves.value(count / 2 - 1), halves.value(count / 2), halves.value(count)),
                ("AM", "PM", "Unknown")
            );
        }
    }
}
