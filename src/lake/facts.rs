//! What a data file's footer tells to whoever looks for rows: how long it is, and between which values a column's lie.
//!
//! Bounds are given where what Parquet keeps of them is exact and written in one way: integers, decimals, days, instants.
//! A text's may be cut, and those of floats know no NaN, so a reader opens those files.

use std::fs::File;
use std::path::Path;

use arrow::datatypes::DataType;
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::statistics::Statistics;

use super::NightColumn;
use crate::error::{Error, ErrorKind, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Bytes of the metadata at the file's end.
    pub footer: i64,
    pub columns: Vec<ColumnFacts>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFacts {
    pub id: i64,
    pub bytes: i64,
    pub nulls: Option<i64>,
    pub min: Option<String>,
    pub max: Option<String>,
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl FileFacts {
    /// Reads a file's footer.
    pub fn read(path: &Path, rows: u64, columns: &[NightColumn]) -> Result<FileFacts> {
        let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Store, format!("cannot read the end of {}", path.display()))
                .caused_by(error)
                .hint("`starmill snapshots verify` says what is damaged")
        };
        let file = File::open(path).map_err(|error| unreadable(error.into()))?;
        let footer = footer(&file).map_err(|error| unreadable(error.into()))?;
        let loaded = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let loaded = loaded.map_err(|error| unreadable(error.into()))?;
        let there = loaded.metadata().file_metadata().num_rows();
        if u64::try_from(there).ok() != Some(rows) {
            // A lake's readers count by what it tells, and open no file.
            let message = format!("{} has {there} rows, and {rows} were written down of it", path.display());
            return Err(Error::new(ErrorKind::Store, message)
                .hint("`starmill snapshots verify` says what is damaged"));
        }
        let groups = loaded.metadata().row_groups();
        let facts = |column: &NightColumn| {
            let chunks = groups.iter().flat_map(|group| group.columns());
            let chunks: Vec<_> =
                chunks.filter(|chunk| chunk.column_path().parts().first() == Some(&column.name)).collect();
            let statistics: Option<Vec<&Statistics>> =
                chunks.iter().map(|chunk| chunk.statistics()).collect();
            let nested = matches!(column.data_type, DataType::List(_));
            // A list's NULLs are not those of its elements.
            let statistics = statistics.filter(|_| !nested).unwrap_or_default();
            let nulls: Option<u64> = match statistics.is_empty() {
                true => None,
                false => statistics.iter().map(|one| one.null_count_opt()).sum(),
            };
            let (min, max) = bounds(&statistics, &column.data_type).unwrap_or((None, None));
            ColumnFacts {
                id: i64::from(column.id),
                bytes: chunks.iter().map(|chunk| chunk.compressed_size()).sum(),
                nulls: nulls.map(count),
                min,
                max,
            }
        };
        let mut columns: Vec<ColumnFacts> = columns.iter().map(facts).collect();
        columns.sort_by_key(|column| column.id);
        Ok(FileFacts { footer, columns })
    }
}

/// The length that stands before the last four bytes.
fn footer(file: &File) -> std::io::Result<i64> {
    use std::os::unix::fs::FileExt;
    let end = file.metadata()?.len();
    let mut length = [0; 4];
    file.read_exact_at(&mut length, end.saturating_sub(8))?;
    Ok(i64::from(u32::from_le_bytes(length)))
}

/// The least and the greatest value in all of a file's groups.
fn bounds(statistics: &[&Statistics], data_type: &DataType) -> Option<(Option<String>, Option<String>)> {
    let mut least: Option<i128> = None;
    let mut greatest: Option<i128> = None;
    for one in statistics {
        // All of a group's values may be NULL; else one without bounds says nothing of them all.
        let (min, max) = match one {
            Statistics::Int32(values) => {
                (values.min_opt().map(|v| i128::from(*v)), values.max_opt().map(|v| i128::from(*v)))
            }
            Statistics::Int64(values) => {
                (values.min_opt().map(|v| i128::from(*v)), values.max_opt().map(|v| i128::from(*v)))
            }
            Statistics::FixedLenByteArray(values) => (
                values.min_opt().and_then(|v| big_endian(v.data())),
                values.max_opt().and_then(|v| big_endian(v.data())),
            ),
            _ => return None,
        };
        let (min, max) = (min?, max?);
        least = Some(least.map_or(min, |least| least.min(min)));
        greatest = Some(greatest.map_or(max, |greatest| greatest.max(max)));
    }
    let (least, greatest) = (written(least?, data_type)?, written(greatest?, data_type)?);
    Some((Some(least), Some(greatest)))
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    let mut wide = if negative { [0xff; 16] } else { [0; 16] };
    let start = wide.len().checked_sub(bytes.len())?;
    wide.get_mut(start..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// A bound as a catalog writes it.
fn written(value: i128, data_type: &DataType) -> Option<String> {
    let usual = |year: i32| (1..=9999).contains(&year);
    match data_type {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(value.to_string()),
        DataType::Decimal128(_, scale) => {
            Some(BigDecimal::new(BigInt::from(value), i64::from(*scale)).to_plain_string())
        }
        DataType::Date32 => {
            let day =
                NaiveDate::default().checked_add_signed(TimeDelta::try_days(i64::try_from(value).ok()?)?)?;
            usual(day.year()).then(|| day.format("%Y-%m-%d").to_string())
        }
        DataType::Timestamp(_, zone) => {
            let at = DateTime::from_timestamp_micros(i64::try_from(value).ok()?)?;
            let zone = if zone.is_some() { "+00" } else { "" };
            usual(at.year()).then(|| format!("{}{zone}", at.format("%Y-%m-%d %H:%M:%S%.6f")))
        }
        _ => None,
    }
}
