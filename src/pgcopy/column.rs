//! One column being filled, from binary COPY or from text: a value is exact, or it is refused.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};

use super::mapping::Mapping;
use super::numeric::{self, Unfit};
use super::{EPOCH_DAYS, EPOCH_MICROS, text};
use crate::pipeline::{Decimal, Special};

/// A value that Arrow cannot hold as the pipeline wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// What is wrong with it: "has more digits than decimal(38,10) holds".
    pub reason: String,
    /// The value as Postgres prints it, shortened.
    pub value: String,
    /// What the pipeline can say to let it pass.
    pub remedy: Option<String>,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value {} {}", self.value, self.reason)
    }
}

impl ValueError {
    fn new(value: &str, reason: impl Into<String>) -> ValueError {
        let mut shown: String = value.chars().take(60).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        ValueError { reason: reason.into(), value: format!("`{shown}`"), remedy: None }
    }

    fn malformed(bytes: &[u8], expected: &str) -> ValueError {
        let hex: String = bytes.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
        ValueError {
            reason: format!("is not the binary form of {expected}"),
            value: format!("\\x{hex}"),
            remedy: None,
        }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> ValueError {
        self.remedy = Some(remedy.into());
        self
    }

    fn special(word: &str) -> ValueError {
        ValueError::new(word, "has no place in Arrow")
            .remedy("say in the pipeline, in [source], what becomes of it: special = \"null\", or for dates \"clamp\"")
    }
}

pub struct Column {
    mapping: Mapping,
    special: Special,
    builder: Builder,
    /// Bytes of variable length since the last batch.
    bytes: usize,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, Decimal),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

const MONEY: Decimal = Decimal { precision: 19, scale: 2 };

impl Column {
    pub fn new(mapping: Mapping, zone: &str, special: Special, rows: usize) -> Column {
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
            Mapping::Decimal(size) => decimal(size),
            Mapping::Money => decimal(MONEY),
            Mapping::Text | Mapping::PaddedText | Mapping::Jsonb | Mapping::Uuid | Mapping::TextForm => {
                Builder::Text(StringBuilder::with_capacity(rows, rows * 16))
            }
            Mapping::Bytes => Builder::Bytes(BinaryBuilder::with_capacity(rows, rows * 16)),
            Mapping::Date => Builder::Date(Date32Builder::with_capacity(rows)),
            Mapping::Time => Builder::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            Mapping::Timestamp | Mapping::TimestampTz => {
                let builder = TimestampMicrosecondBuilder::with_capacity(rows);
                Builder::Timestamp(builder.with_data_type(mapping.arrow_type(zone)))
            }
        };
        Column { mapping, special, builder, bytes: 0 }
    }

    /// Bytes of text and binary values waiting for the next batch.
    pub fn pending_bytes(&self) -> usize {
        self.bytes
    }

    /// The values pushed so far, as one array; the column is empty again.
    pub fn finish(&mut self) -> ArrayRef {
        self.bytes = 0;
        match &mut self.builder {
            Builder::Boolean(builder) => Arc::new(builder.finish()),
            Builder::Int16(builder) => Arc::new(builder.finish()),
            Builder::Int32(builder) => Arc::new(builder.finish()),
            Builder::Int64(builder) => Arc::new(builder.finish()),
            Builder::Float32(builder) => Arc::new(builder.finish()),
            Builder::Float64(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder, _) => Arc::new(builder.finish()),
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Bytes(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Time(builder) => Arc::new(builder.finish()),
            Builder::Timestamp(builder) => Arc::new(builder.finish()),
        }
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
            Builder::Text(builder) => {
                self.bytes += bytes.len();
                match self.mapping {
                    Mapping::Uuid => builder.append_value(text::format_uuid(&fixed(bytes, "uuid")?)),
                    mapping => {
                        let bytes = match (mapping, bytes) {
                            (Mapping::Jsonb, [1, json @ ..]) => json,
                            (Mapping::Jsonb, _) => return Err(ValueError::malformed(bytes, "jsonb")),
                            _ => bytes,
                        };
                        let value = std::str::from_utf8(bytes)
                            .map_err(|_| ValueError::malformed(bytes, "UTF-8 text"))?;
                        builder.append_value(match mapping {
                            Mapping::PaddedText => value.trim_end_matches(' '),
                            _ => value,
                        });
                    }
                }
            }
            Builder::Bytes(builder) => {
                self.bytes += bytes.len();
                builder.append_value(bytes);
            }
            Builder::Date(builder) => {
                match i32::from_be_bytes(fixed(bytes, "date")?) {
                    i32::MAX => return self.infinity("infinity"),
                    i32::MIN => return self.infinity("-infinity"),
                    days => match days.checked_add(EPOCH_DAYS) {
                        Some(days) => builder.append_value(days),
                        None => return Err(ValueError::malformed(bytes, "date")),
                    },
                };
            }
            Builder::Time(builder) => match i64::from_be_bytes(fixed(bytes, "time")?) {
                micros @ 0..86_400_000_000 => builder.append_value(micros),
                86_400_000_000 => return Err(end_of_day()),
                _ => return Err(ValueError::malformed(bytes, "time")),
            },
            Builder::Timestamp(builder) => {
                match i64::from_be_bytes(fixed(bytes, "timestamp")?) {
                    i64::MAX => return self.infinity("infinity"),
                    i64::MIN => return self.infinity("-infinity"),
                    micros => match micros.checked_add(EPOCH_MICROS) {
                        Some(micros) => builder.append_value(micros),
                        None => return Err(too_far()),
                    },
                };
            }
        }
        Ok(())
    }

    /// A value in Postgres's text form.
    pub fn push_text(&mut self, value: &str) -> Result<(), ValueError> {
        if matches!(self.mapping, Mapping::Date | Mapping::Timestamp | Mapping::TimestampTz) {
            match value.trim().to_ascii_lowercase().as_str() {
                "infinity" => return self.infinity("infinity"),
                "-infinity" => return self.infinity("-infinity"),
                _ => {}
            }
        }
        let wrong = |type_name: &str| ValueError::new(value, format!("is not a valid {type_name}"));
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
            Builder::Date(builder) => {
                builder.append_value(text::date(value).ok_or_else(|| wrong("date (yyyy-mm-dd)"))?)
            }
            Builder::Time(builder) if value.starts_with("24:00") => {
                let _ = builder;
                return Err(end_of_day());
            }
            Builder::Time(builder) => builder.append_value(text::time(value).ok_or_else(|| wrong("time"))?),
            Builder::Timestamp(builder) => {
                let micros = match self.mapping {
                    Mapping::TimestampTz => text::timestamp_tz(value).ok_or_else(|| {
                        wrong("timestamptz").remedy("write an offset: 2024-02-29 13:45:00+01")
                    })?,
                    _ => text::timestamp(value).ok_or_else(|| wrong("timestamp"))?,
                };
                builder.append_value(micros);
            }
        }
        Ok(())
    }

    fn unfit(&mut self, unfit: Unfit, raw: &[u8]) -> Result<(), ValueError> {
        match unfit {
            Unfit::Special(_) if self.special == Special::Null => {
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
                let fraction = value.split_once('.').map_or(0, |(_, digits)| digits.len()).min(37);
                Err(ValueError::new(
                    &value,
                    format!("has more digits than decimal({precision},{scale}) holds"),
                )
                .remedy(format!("as = \"decimal(38,{fraction})\", or as = \"text\"")))
            }
        }
    }

    /// Infinity by the pipeline's policy. Clamping moves it to the ends of what every Parquet
    /// reader accepts: the years 0001 and 9999.
    fn infinity(&mut self, word: &'static str) -> Result<(), ValueError> {
        const FIRST_DAY: i32 = -719_162;
        const LAST_DAY: i32 = 2_932_896;
        const DAY: i64 = 86_400_000_000;
        let positive = word == "infinity";
        match (self.special, &mut self.builder) {
            (Special::Null, _) => self.push_null(),
            (Special::Clamp, Builder::Date(builder)) => {
                builder.append_value(if positive { LAST_DAY } else { FIRST_DAY });
            }
            (Special::Clamp, Builder::Timestamp(builder)) => builder.append_value(if positive {
                i64::from(LAST_DAY) * DAY + DAY - 1
            } else {
                i64::from(FIRST_DAY) * DAY
            }),
            _ => return Err(ValueError::special(word)),
        }
        Ok(())
    }
}

#[inline]
fn fixed<const N: usize>(bytes: &[u8], expected: &str) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::malformed(bytes, expected))
}

/// 1e400 is no double, but Rust reads it as infinity.
fn says_infinity(text: &str) -> bool {
    text.to_ascii_lowercase().contains("inf")
}

fn end_of_day() -> ValueError {
    ValueError::new("24:00:00", "is no time of day in Arrow").remedy("as = \"text\"")
}

fn too_far() -> ValueError {
    ValueError::new("(after the year 294246)", "is later than Arrow counts").remedy("as = \"text\"")
}
