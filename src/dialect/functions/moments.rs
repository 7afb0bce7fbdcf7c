//! Days, times of day, local times and instants as Postgres reads them from texts, in every form whose meaning does not
//! hang on a server's DateStyle.

use std::sync::Arc;

use arrow::array::{Date32Array, Int64Array, StringArray, Time64MicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, cast};

use super::convert::typed;
use super::plain::{Call, Given, LOCAL, Plain, in_zone};
use super::time_text::{DAY, Kind, Place, SECOND, Written, invalid, out_of_range, read};
use super::zone;

/// A text as a time of such a type: of a literal the time itself. None where the type is none of a time.
pub fn reading(text: &Expr, to: &DataType) -> Result<Option<Expr>> {
    let (name, own) = match to {
        DataType::Date32 => (DATE, Tz::UTC),
        DataType::Time64(_) => (TIME, Tz::UTC),
        DataType::Timestamp(_, None) => (TIMESTAMP, Tz::UTC),
        DataType::Timestamp(_, Some(name)) => (TIMESTAMPTZ, zone::zone(name)?),
        _ => return Ok(None),
    };
    let Some(plain) = all().into_iter().find(|plain| plain.name == name) else { return Ok(None) };
    let read = match text {
        Expr::Literal(value, metadata) => {
            let texts = [value.cast_to(&DataType::Utf8)?.to_array_of_size(1)?];
            let read = (plain.work)(&Call { name, args: &texts, rows: 1, zone: own })?;
            Expr::Literal(ScalarValue::try_from_array(&read, 0)?, metadata.clone())
        }
        text => Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(plain.udf(own)), vec![text.clone()])),
    };
    // A type may say its zone, or its unit, otherwise.
    Ok(Some(match to {
        DataType::Timestamp(TimeUnit::Microsecond, None) | DataType::Date32 => read,
        to => cast(read, to.clone()),
    }))
}

pub const DATE: &str = "starmill date";
pub const TIME: &str = "starmill time";
pub const TIMESTAMP: &str = "starmill timestamp";
pub const TIMESTAMPTZ: &str = "starmill timestamptz";

pub fn all() -> Vec<Plain> {
    let takes = |_: &[DataType], _: Tz| Ok(vec![DataType::Utf8]);
    vec![
        Plain {
            name: DATE,
            takes,
            gives: |_, _| Ok(Given::Type(DataType::Date32)),
            work: |call| {
                let read = |text: &str| days(&read(text, Kind::Date)?, text);
                Ok(Arc::new(each(call.text(0)?, read)?.collect::<Result<Date32Array>>()?))
            },
        },
        Plain {
            name: TIME,
            takes,
            gives: |_, _| Ok(Given::Type(DataType::Time64(TimeUnit::Microsecond))),
            work: |call| {
                let read = |text: &str| {
                    let clock = read(text, Kind::Time)?.clock;
                    clock.ok_or_else(|| invalid(text, Kind::Time))
                };
                Ok(Arc::new(each(call.text(0)?, read)?.collect::<Result<Time64MicrosecondArray>>()?))
            },
        },
        Plain {
            name: TIMESTAMP,
            takes,
            gives: |_, _| Ok(Given::Type(LOCAL)),
            work: |call| {
                let read = |text: &str| local(&read(text, Kind::Timestamp)?, text);
                typed(each(call.text(0)?, read)?.collect::<Result<Int64Array>>()?, &LOCAL)
            },
        },
        Plain {
            name: TIMESTAMPTZ,
            takes,
            gives: |_, zone| Ok(Given::Type(in_zone(zone))),
            work: |call| {
                let own = call.zone;
                let read = |text: &str| instant(&read(text, Kind::Instant)?, own, text);
                let read: Int64Array = each(call.text(0)?, read)?.collect::<Result<_>>()?;
                typed(read, &in_zone(own))
            },
        },
    ]
}

type Read<'a, T> = Box<dyn Iterator<Item = Result<Option<T>>> + 'a>;

fn each<'a, T: 'a>(texts: &'a StringArray, read: impl Fn(&str) -> Result<T> + 'a) -> Result<Read<'a, T>> {
    Ok(Box::new(texts.iter().map(move |text| text.map(&read).transpose())))
}

fn days(written: &Written, text: &str) -> Result<i32> {
    let day = written.day.ok_or_else(|| invalid(text, Kind::Date))?;
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).map_err(|_| out_of_range(text))
}

/// Microseconds as the clocks show them.
fn local(written: &Written, text: &str) -> Result<i64> {
    let day = i64::from(days(written, text)?);
    let micros = day.checked_mul(DAY).and_then(|day| day.checked_add(written.clock.unwrap_or(0)));
    micros.ok_or_else(|| out_of_range(text))
}

fn instant(written: &Written, own: Tz, text: &str) -> Result<i64> {
    let shown = local(written, text)?;
    let found = match written.place {
        Some(Place::Offset(seconds)) => shown.checked_sub(i64::from(seconds) * SECOND),
        Some(Place::Zone(zone)) => zone::instant(shown, zone),
        None => zone::instant(shown, own),
    };
    found.ok_or_else(|| out_of_range(text))
}
