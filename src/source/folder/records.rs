//! The records of a CSV file, and what is told of one that cannot be.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::{SourceTable, list};
use crate::pgcopy::ValueError;
use crate::pgcopy::column::Column;
use crate::pgcopy::csv::{CsvError, CsvReader};

/// Texts of this size are cut into a batch early, so that wide values don't pile up.
pub fn is_wide(columns: &[Column]) -> bool {
    columns.iter().map(Column::pending_bytes).sum::<usize>() >= 8 << 20
}

pub fn cut(schema: &SchemaRef, columns: &mut [Column], rows: usize) -> Result<arrow::array::RecordBatch> {
    let arrays =
        columns.iter_mut().map(|column| column.finish(rows)).collect::<std::result::Result<_, ValueError>>();
    // The reader has seen to it that every record is UTF-8.
    let arrays = arrays.or_error(ErrorKind::Bug, || "a text".to_owned())?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    arrow::array::RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
        .or_error(ErrorKind::Bug, || "a batch".to_owned())
}

/// A value that doesn't fit, with its table, column, place and the line that helps.
pub fn value_error(
    error: ValueError,
    table: &SourceTable,
    column: &str,
    place: Option<(&Path, u64)>,
) -> Error {
    let message = match place {
        Some((path, line)) => format!("{}:{line}: {table}.{column}: {error}", path.display()),
        None => format!("{table}.{column}: {error}"),
    };
    let ours = Error::new(ErrorKind::Fit, message);
    match error.remedy {
        Some(remedy) if remedy.starts_with("as = ") => {
            ours.hint(format!("set below [source.columns]: \"{table}.{column}\" = {{ {remedy} }}"))
        }
        Some(remedy) => ours.hint(remedy),
        None => ours.hint("correct the value in the source"),
    }
}

pub fn open(path: &Path) -> Result<CsvReader<BufReader<File>>> {
    let file = File::open(path).or_error(ErrorKind::Source, || format!("cannot read {}", path.display()))?;
    Ok(CsvReader::new(BufReader::with_capacity(1 << 18, file)))
}

pub fn advance(csv: &mut CsvReader<BufReader<File>>, path: &Path) -> Result<bool> {
    csv.advance().map_err(|error| csv_error(error, path))
}

pub fn csv_error(error: CsvError, path: &Path) -> Error {
    let line = error.line().unwrap_or_default();
    let wrong = Error::new(ErrorKind::Fit, format!("{}:{line}: {error}", path.display()));
    match error {
        CsvError::Io(error) => {
            Error::new(ErrorKind::Source, format!("cannot read {}", path.display())).caused_by(error)
        }
        CsvError::OpenQuote(_) => wrong.hint("double a quote that belongs to the value: \"\""),
        CsvError::Nul(_) => wrong.hint("export the file without it"),
        CsvError::NotUtf8(_) => wrong.hint("export the file in UTF-8"),
    }
}

pub fn check_width(csv: &CsvReader<BufReader<File>>, expected: usize, path: &Path) -> Result<()> {
    // A table may have rows and no columns; each is an empty line.
    if csv.len() == expected || (expected == 0 && csv.is_blank()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Fit,
        format!("{}:{}: {} fields, but the header has {expected}", path.display(), csv.line(), csv.len()),
    )
    .hint("quote values that hold commas or newlines"))
}

/// The header, which names every declared column and no other.
pub fn header(csv: &mut CsvReader<BufReader<File>>, path: &Path, declared: &[String]) -> Result<Vec<String>> {
    if !advance(csv, path)? {
        return Err(Error::new(ErrorKind::Fit, format!("{} is empty: not even a header", path.display()))
            .hint(format!("its first line names the columns: {}", declared.join(","))));
    }
    let mut names = Vec::new();
    for index in 0..(if csv.is_blank() { 0 } else { csv.len() }) {
        let name = csv.field(index).map_err(|error| csv_error(error, path))?.unwrap_or_default();
        names.push(name.trim_start_matches('\u{feff}').to_owned());
    }
    let missing: Vec<&String> = declared.iter().filter(|name| !names.contains(name)).collect();
    let unknown: Vec<&String> = names.iter().filter(|name| !declared.contains(name)).collect();
    if missing.is_empty() && unknown.is_empty() && names.len() == declared.len() {
        return Ok(names);
    }
    let mut message = format!("{}:1: the header does not fit schema.sql", path.display());
    if !missing.is_empty() {
        message.push_str(&format!("; missing: {}", list(missing)));
    }
    if !unknown.is_empty() {
        message.push_str(&format!("; not declared: {}", list(unknown)));
    }
    Err(Error::new(ErrorKind::Fit, message).hint("declare the columns that the file has, in schema.sql"))
}
