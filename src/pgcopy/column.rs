//! One column being filled, from binary COPY or from text: a value is exact, or it is refused.

use std::mem::replace;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    Decimal256Builder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringArray,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};

use arrow::datatypes::DataType;

use super::mapping::Mapping;
use super::mask::{Mask, Raw};
use super::numeric::{self, Unfit};
use super::policy::{Decimal, Extremes, FarDates, Special};
use super::value::{UTF_8, ValueError, end_of_day, far, too_far};
use super::{EPOCH_DAYS, EPOCH_MICROS, text};

pub struct Column {
    pub(super) mapping: Mapping,
    extremes: Extremes,
    data_type: DataType,
    pub(super) builder: Builder,
    /// Bytes of variable length since the last batch.
    pub(super) bytes: usize,
    /// Values that a policy turned into NULL or moved, over all batches.
    altered: u64,
    pub(super) mask: Option<Mask>,
}

pub(super) enum Builder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, Decimal),
    Wide(Decimal256Builder, Decimal),
    /// UTF-8 is checked once a batch, which is faster than once a value.
    Text(BinaryBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

const MONEY: Decimal = Decimal { precision: 19, scale: 2 };

impl Column {
    pub fn new(mapping: Mapping, zone: &str, extremes: Extremes, rows: usize) -> Column {
        let decimal = |decimal: Decimal| {
            let builder = Decimal128Builder::with_capacity(rows).with_data_type(mapping.arrow_type(zone));
            Builder::Decimal(builder, decimal)
        };
        let builder = match mapping {
            Mapping::Boolean => Builder::Boolean(BooleanBuilder::with_capacity(rows)),
            Mapping::Int16 => Builder::Int16(Int16Builder::with_capacity(rows)),
            Mapping::Int32 => Builder::Int32(Int32Builder::with_capacity(rows)),
            Mapping::Int64 => Builder::Int64(Int64Builder::with_capacity(rows)),
            Mapping::Float32 => Builder::Float32(Float32Builder::with_capacity(rows)),
            Mapping::Float64 => Builder::Float64(Float64Builder::with_capacity(rows)),
            Mapping::Decimal(size) if size.is_wide() => {
                let builder = Decimal256Builder::with_capacity(rows);
                Builder::Wide(builder.with_data_type(mapping.arrow_type(zone)), size)
            }
            Mapping::Decimal(size) => decimal(size),
            Mapping::Money => decimal(MONEY),
            Mapping::Text
            | Mapping::PaddedText
            | Mapping::Jsonb
            | Mapping::Uuid
            | Mapping::TextForm
            | Mapping::Masked(_) => Builder::Text(BinaryBuilder::with_capacity(rows, rows * 16)),
            Mapping::Bytes => Builder::Bytes(BinaryBuilder::with_capacity(rows, rows * 16)),
            Mapping::Date => Builder::Date(Date32Builder::with_capacity(rows)),
            Mapping::Time => Builder::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            Mapping::Timestamp | Mapping::TimestampTz => {
                let builder = TimestampMicrosecondBuilder::with_capacity(rows);
                Builder::Timestamp(builder.with_data_type(mapping.arrow_type(zone)))
            }
        };
        Column {
            mapping,
            extremes,
            data_type: mapping.arrow_type(zone),
            builder,
            bytes: 0,
            altered: 0,
            mask: None,
        }
    }

    /// How many values a policy turned into NULL or moved so far.
    pub fn altered(&self) -> u64 {
        self.altered
    }

    /// Bytes of text and binary values waiting for the next batch.
    pub fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// The values pushed so far, as one array; the column is empty again, with room for so many rows and
    /// as many bytes.
    pub fn finish(&mut self, rows: usize) -> Result<ArrayRef, ValueError> {
        let bytes = self.bytes + self.bytes / 8;
        self.bytes = 0;
        Ok(match &mut self.builder {
            Builder::Boolean(builder) => Arc::new(builder.finish()),
            Builder::Int16(builder) => Arc::new(replace(builder, Int16Builder::with_capacity(rows)).finish()),
            Builder::Int32(builder) => Arc::new(replace(builder, Int32Builder::with_capacity(rows)).finish()),
            Builder::Int64(builder) => Arc::new(replace(builder, Int64Builder::with_capacity(rows)).finish()),
            Builder::Float32(builder) => Arc::new(builder.finish()),
            Builder::Float64(builder) => {
                Arc::new(replace(builder, Float64Builder::with_capacity(rows)).finish())
            }
            Builder::Decimal(builder, _) => {
                let data_type = self.data_type.clone();
                let next = Decimal128Builder::with_capacity(rows).with_data_type(data_type);
                Arc::new(replace(builder, next).finish())
            }
            Builder::Wide(builder, _) => Arc::new(builder.finish()),
            Builder::Text(builder) => {
                Arc::new(utf8(replace(builder, BinaryBuilder::with_capacity(rows, bytes)).finish())?)
            }
            Builder::Bytes(builder) => {
                Arc::new(replace(builder, BinaryBuilder::with_capacity(rows, bytes)).finish())
            }
            Builder::Date(builder) => Arc::new(replace(builder, Date32Builder::with_capacity(rows)).finish()),
            Builder::Time(builder) => Arc::new(builder.finish()),
            Builder::Timestamp(builder) => {
                let data_type = self.data_type.clone();
                let next = TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(data_type);
                Arc::new(replace(builder, next).finish())
            }
        })
    }

    pub fn push_null(&mut self) {
        match &mut self.builder {
            Builder::Boolean(builder) => builder.append_null(),
            Builder::Int16(builder) => builder.append_null(),
            Builder::Int32(builder) => builder.append_null(),
            Builder::Int64(builder) => builder.append_null(),
            Builder::Float32(builder) => builder.append_null(),
            Builder::Float64(builder) => builder.append_null(),
            Builder::Decimal(builder, _) => builder.append_null(),
            Builder::Wide(builder, _) => builder.append_null(),
            Builder::Text(builder) => builder.append_null(),
            Builder::Bytes(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
            Builder::Time(builder) => builder.append_null(),
            Builder::Timestamp(builder) => builder.append_null(),
        }
    }

    /// A value in binary COPY's form.
    #[inline]
    pub fn push_binary(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        if let Some(mask) = self.mask.clone() {
            return self.push_masked(&mask, Raw::Binary(bytes));
        }
        match &mut self.builder {
            Builder::Boolean(builder) => builder.append_value(fixed::<1>(bytes, "boolean")?[0] != 0),
            Builder::Int16(builder) => builder.append_value(i16::from_be_bytes(fixed(bytes, "smallint")?)),
            Builder::Int32(builder) => builder.append_value(i32::from_be_bytes(fixed(bytes, "integer")?)),
            Builder::Int64(builder) => builder.append_value(i64::from_be_bytes(fixed(bytes, "bigint")?)),
            Builder::Float32(builder) => builder.append_value(f32::from_be_bytes(fixed(bytes, "real")?)),
            Builder::Float64(builder) => {
                builder.append_value(f64::from_be_bytes(fixed(bytes, "double precision")?));
            }
            Builder::Decimal(builder, decimal) => match numeric::decode(bytes, *decimal) {
                Ok(value) => builder.append_value(value),
                Err(unfit) => return self.unfit(unfit, bytes),
            },
            Builder::Wide(builder, decimal) => match numeric::decode(bytes, *decimal) {
                Ok(value) => builder.append_value(value),
                Err(unfit) => return self.unfit(unfit, bytes),
            },
            Builder::Text(builder) => {
                self.bytes += bytes.len();
                match (self.mapping, bytes) {
                    (Mapping::Uuid, _) => builder.append_value(text::format_uuid(&fixed(bytes, "uuid")?)),
                    (Mapping::Jsonb, [1, json @ ..]) => builder.append_value(json),
                    (Mapping::Jsonb, _) => return Err(ValueError::malformed(bytes, "jsonb")),
                    (Mapping::PaddedText, _) => builder.append_value(text::unpadded(bytes)),
                    _ => builder.append_value(bytes),
                }
            }
            Builder::Bytes(builder) => {
                self.bytes += bytes.len();
                builder.append_value(bytes);
            }
            Builder::Date(_) => {
                let days = i32::from_be_bytes(fixed(bytes, "date")?);
                match days {
                    i32::MAX => return self.infinity("infinity"),
                    i32::MIN => return self.infinity("-infinity"),
                    days => self.push_date(i64::from(days) + i64::from(EPOCH_DAYS))?,
                }
            }
            Builder::Time(builder) => match i64::from_be_bytes(fixed(bytes, "time")?) {
                micros @ 0..86_400_000_000 => builder.append_value(micros),
                86_400_000_000 => return Err(end_of_day()),
                _ => return Err(ValueError::malformed(bytes, "time")),
            },
            Builder::Timestamp(_) => match i64::from_be_bytes(fixed(bytes, "timestamp")?) {
                i64::MAX => return self.infinity("infinity"),
                i64::MIN => return self.infinity("-infinity"),
                micros => self.push_timestamp(i128::from(micros) + i128::from(EPOCH_MICROS))?,
            },
        }
        Ok(())
    }

    /// A day, counted from 1970.
    #[inline]
    fn push_date(&mut self, days: i64) -> Result<(), ValueError> {
        let moved = match self.extremes.far_dates {
            _ if (FIRST_DAY..=LAST_DAY).contains(&days) => Some(days),
            FarDates::Keep => Some(days),
            FarDates::Refuse => return Err(far(&shown_day(days))),
            FarDates::Null => None,
            FarDates::Clamp => Some(days.clamp(FIRST_DAY, LAST_DAY)),
        };
        self.altered += u64::from(moved != Some(days));
        if let Builder::Date(builder) = &mut self.builder {
            // A date of Postgres's calendar, which ends in 5874897, has room in Arrow's.
            let fits = |days| i32::try_from(days).map_err(|_| too_far(&shown_day(days)));
            builder.append_option(moved.map(fits).transpose()?);
        }
        Ok(())
    }

    /// An instant or a local time, counted in microseconds from 1970.
    #[inline]
    fn push_timestamp(&mut self, micros: i128) -> Result<(), ValueError> {
        let near = i64::try_from(micros).ok().filter(|micros| (FIRST_MICRO..=LAST_MICRO).contains(micros));
        let moved = match (near, self.extremes.far_dates) {
            (Some(micros), _) => Some(micros),
            (None, FarDates::Keep) => {
                Some(i64::try_from(micros).map_err(|_| too_far("(after the year 294246)"))?)
            }
            (None, FarDates::Refuse) => return Err(far(&shown_instant(micros))),
            (None, FarDates::Null) => {
                self.altered += 1;
                None
            }
            (None, FarDates::Clamp) => {
                self.altered += 1;
                Some(if micros < 0 { FIRST_MICRO } else { LAST_MICRO })
            }
        };
        if let Builder::Timestamp(builder) = &mut self.builder {
            builder.append_option(moved);
        }
        Ok(())
    }

    /// A value in Postgres's text form.
    pub fn push_text(&mut self, value: &str) -> Result<(), ValueError> {
        if let Some(mask) = self.mask.clone() {
            return self.push_masked(&mask, Raw::Text(value));
        }
        if matches!(self.mapping, Mapping::Date | Mapping::Timestamp | Mapping::TimestampTz) {
            match value.trim().to_ascii_lowercase().as_str() {
                "infinity" => return self.infinity("infinity"),
                "-infinity" => return self.infinity("-infinity"),
                _ => {}
            }
        }
        let wrong = |type_name: &str| ValueError::new(value, format!("is not a valid {type_name}"));
        // As Postgres prints it where nothing is said of the currency: $1,234.50.
        let plain = (self.mapping == Mapping::Money).then(|| value.replace(['$', ','], ""));
        let value = plain.as_deref().unwrap_or(value);
        match &mut self.builder {
            Builder::Boolean(builder) => {
                builder.append_value(text::boolean(value).ok_or_else(|| wrong("boolean"))?);
            }
            Builder::Int16(builder) => {
                builder.append_value(value.trim().parse().map_err(|_| wrong("smallint"))?)
            }
            Builder::Int32(builder) => {
                builder.append_value(value.trim().parse().map_err(|_| wrong("integer"))?)
            }
            Builder::Int64(builder) => {
                builder.append_value(value.trim().parse().map_err(|_| wrong("bigint"))?)
            }
            Builder::Float32(builder) => {
                let number: f32 = value.trim().parse().map_err(|_| wrong("real"))?;
                if number.is_infinite() && !says_infinity(value) {
                    return Err(wrong("real"));
                }
                builder.append_value(number);
            }
            Builder::Float64(builder) => {
                let number: f64 = value.trim().parse().map_err(|_| wrong("double precision"))?;
                if number.is_infinite() && !says_infinity(value) {
                    return Err(wrong("double precision"));
                }
                builder.append_value(number);
            }
            Builder::Decimal(builder, decimal) => match numeric::parse(value, *decimal) {
                Ok(parsed) => builder.append_value(parsed),
                Err(unfit) => return self.unfit(unfit, value.as_bytes()),
            },
            Builder::Wide(builder, decimal) => match numeric::parse(value, *decimal) {
                Ok(parsed) => builder.append_value(parsed),
                Err(unfit) => return self.unfit(unfit, value.as_bytes()),
            },
            Builder::Text(builder) => {
                self.bytes += value.len();
                match self.mapping {
                    Mapping::Uuid => builder.append_value(text::uuid(value).ok_or_else(|| wrong("uuid"))?),
                    Mapping::PaddedText => builder.append_value(value.trim_end_matches(' ')),
                    _ => builder.append_value(value),
                }
            }
            Builder::Bytes(builder) => {
                let bytes = text::bytes(value).ok_or_else(|| wrong("bytea in hex form (\\x…)"))?;
                self.bytes += bytes.len();
                builder.append_value(bytes);
            }
            Builder::Date(_) => {
                let days = text::date(value).ok_or_else(|| wrong("date (yyyy-mm-dd)"))?;
                self.push_date(i64::from(days))?;
            }
            Builder::Time(builder) if value.starts_with("24:00") => {
                let _ = builder;
                return Err(end_of_day());
            }
            Builder::Time(builder) => builder.append_value(text::time(value).ok_or_else(|| wrong("time"))?),
            Builder::Timestamp(_) => {
                let micros = match self.mapping {
                    Mapping::TimestampTz => text::timestamp_tz(value).ok_or_else(|| {
                        wrong("timestamptz").remedy("write an offset: 2024-02-29 13:45:00+01")
                    })?,
                    _ => text::timestamp(value).ok_or_else(|| wrong("timestamp"))?,
                };
                self.push_timestamp(i128::from(micros))?;
            }
        }
        Ok(())
    }

    fn unfit(&mut self, unfit: Unfit, raw: &[u8]) -> Result<(), ValueError> {
        match unfit {
            Unfit::Special(_) if self.extremes.special == Special::Null => {
                self.altered += 1;
                self.push_null();
                Ok(())
            }
            Unfit::Special(word) => Err(ValueError::special(word)),
            Unfit::Malformed => match std::str::from_utf8(raw) {
                Ok(text) if !text.contains('\0') => Err(ValueError::new(text, "is not a valid numeric")),
                _ => Err(ValueError::malformed(raw, "numeric")),
            },
            Unfit::TooManyDigits(value) => {
                let Decimal { precision, scale } = match self.mapping {
                    Mapping::Decimal(decimal) => decimal,
                    _ => MONEY,
                };
                let reason = format!("has more digits than decimal({precision},{scale}) holds");
                Err(ValueError::new(&value, reason).remedy(roomier(&value)))
            }
        }
    }

    /// Infinity by the pipeline's policy. Clamping moves it to the ends of what every Parquet
    /// reader accepts: the years 0001 and 9999.
    fn infinity(&mut self, word: &'static str) -> Result<(), ValueError> {
        let positive = word == "infinity";
        self.altered += u64::from(self.extremes.special != Special::Refuse);
        match (self.extremes.special, &mut self.builder) {
            (Special::Null, _) => self.push_null(),
            (Special::Clamp, Builder::Date(_)) => {
                self.push_date(if positive { LAST_DAY } else { FIRST_DAY })?;
            }
            (Special::Clamp, Builder::Timestamp(_)) => {
                self.push_timestamp(i128::from(if positive { LAST_MICRO } else { FIRST_MICRO }))?;
            }
            _ => return Err(ValueError::special(word)),
        }
        Ok(())
    }
}

/// The ends of the years 1 to 9999, in days and microseconds from 1970.
const FIRST_DAY: i64 = -719_162;
const LAST_DAY: i64 = 2_932_896;
const DAY: i64 = 86_400_000_000;
const FIRST_MICRO: i64 = FIRST_DAY * DAY;
const LAST_MICRO: i64 = (LAST_DAY + 1) * DAY - 1;

/// Checks a batch's texts together; which one is wrong is only searched when one is.
fn utf8(values: BinaryArray) -> Result<StringArray, ValueError> {
    let (offsets, bytes, nulls) = values.into_parts();
    match StringArray::try_new(offsets.clone(), bytes.clone(), nulls.clone()) {
        Ok(texts) => Ok(texts),
        Err(_) => {
            let values = BinaryArray::new(offsets, bytes, nulls);
            let wrong = (0..values.len())
                .map(|at| values.value(at))
                .find(|value| std::str::from_utf8(value).is_err());
            Err(ValueError::malformed(wrong.unwrap_or_default(), UTF_8))
        }
    }
}

/// The override that lets a number pass, which may be text only.
fn roomier(value: &str) -> String {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let (whole, fraction) = (whole.trim_start_matches('-').len(), fraction.len());
    match whole + fraction {
        ..=38 => format!("as = \"decimal(38,{fraction})\""),
        _ => "as = \"text\"".to_owned(),
    }
}

fn shown_day(days: i64) -> String {
    let date = i32::try_from(days).ok().and_then(chrono::NaiveDate::from_epoch_days);
    date.map_or_else(|| format!("(day {days} from 1970)"), text::format_date)
}

fn shown_instant(micros: i128) -> String {
    let instant = i64::try_from(micros).ok().and_then(chrono::DateTime::from_timestamp_micros);
    let shown = |instant: chrono::DateTime<chrono::Utc>| {
        let (day, era) = match text::format_date(instant.date_naive()) {
            day if day.ends_with(" BC") => (day.trim_end_matches(" BC").to_owned(), " BC"),
            day => (day, ""),
        };
        format!("{day} {}{era}", instant.format("%H:%M:%S%.f"))
    };
    instant.map_or_else(|| "(after the year 262142)".to_owned(), shown)
}

#[inline]
fn fixed<const N: usize>(bytes: &[u8], expected: &str) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::malformed(bytes, expected))
}

/// 1e400 is no double, but Rust reads it as infinity.
fn says_infinity(text: &str) -> bool {
    text.to_ascii_lowercase().contains("inf")
}
