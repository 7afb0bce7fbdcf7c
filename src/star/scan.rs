//! Reads the files that are going to be published, as any reader would: what the audit proves and
//! the diff shows is what lies on disk.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};
use arrow::row::{OwnedRow, RowConverter, SortField};
use bigdecimal::BigDecimal;

use super::number::Number;
use super::shelf;
use super::table::StarTable;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// What one pass over a table found.
pub struct Scan {
    pub rows: u64,
    /// The sum of each asked column, in the order asked.
    pub sums: Vec<Number>,
    /// Of each asked lookup, the rows that have the unknown member's key.
    pub unresolved: Vec<Unresolved>,
    /// Rows whose key has a NULL, the unknown member apart.
    pub null_keys: u64,
    /// Rows that are the unknown member.
    pub unknown_members: u64,
    /// Every key is greater than the one before it: sorted, and without duplicates.
    pub strictly_rising: bool,
}

/// Rows of a fact that have the unknown member's key, by what they would be looked up by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unresolved {
    /// One of its columns is NULL.
    pub null: u64,
    /// The dimension has no such row.
    pub orphans: u64,
}

/// A surrogate key that was looked up, and the fact's columns that it was looked up by.
#[derive(Debug, Clone)]
pub struct LookedUp {
    pub column: String,
    pub on: Vec<String>,
}

/// What to look at.
pub struct Columns<'a> {
    pub key: &'a [String],
    pub sums: &'a [String],
    pub lookups: &'a [LookedUp],
    pub surrogate: Option<&'a str>,
}

/// Reads the asked columns of every file of a table, once.
pub fn scan(table: &StarTable, columns: &Columns) -> Result<Scan> {
    let mut names: Vec<&str> = Vec::new();
    let looked_up =
        columns.lookups.iter().flat_map(|lookup| std::iter::once(&lookup.column).chain(&lookup.on));
    let all = columns.key.iter().chain(columns.sums).chain(looked_up).map(String::as_str);
    for name in all.chain(columns.surrogate) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let position = |name: &str| names.iter().position(|known| *known == name).unwrap_or(0);
    let mut keys = RisingKeys::new(table, columns.key)?;
    let mut sums: Vec<Sum> = columns.sums.iter().map(|_| Sum::default()).collect();
    let mut found = Scan {
        rows: 0,
        sums: Vec::new(),
        unresolved: vec![Unresolved::default(); columns.lookups.len()],
        null_keys: 0,
        unknown_members: 0,
        strictly_rising: true,
    };
    for batch in shelf::batches(table, Some(&names), 8_192) {
        let batch = batch?;
        found.rows += batch.num_rows() as u64;
        for (sum, name) in sums.iter_mut().zip(columns.sums) {
            sum.add(batch.column(position(name)));
        }
        for (unresolved, lookup) in found.unresolved.iter_mut().zip(columns.lookups) {
            let unknown = equal_to(batch.column(position(&lookup.column)), -1);
            let on: Vec<&ArrayRef> = lookup.on.iter().map(|name| batch.column(position(name))).collect();
            for row in unknown.iter().enumerate().filter_map(|(row, unknown)| unknown.then_some(row)) {
                match on.iter().any(|array| array.is_null(row)) {
                    true => unresolved.null += 1,
                    false => unresolved.orphans += 1,
                }
            }
        }
        let members = columns.surrogate.map_or(0, |name| {
            let unknown = equal_to(batch.column(position(name)), -1);
            unknown.iter().filter(|unknown| *unknown).count() as u64
        });
        found.unknown_members += members;
        if !columns.key.is_empty() {
            let arrays: Vec<ArrayRef> =
                columns.key.iter().map(|name| batch.column(position(name)).clone()).collect();
            let nulls =
                (0..batch.num_rows()).filter(|row| arrays.iter().any(|array| array.is_null(*row))).count();
            found.null_keys += nulls as u64;
            found.strictly_rising &= keys.see(&arrays)?;
        }
    }
    // The unknown member's key is NULL, and it alone may be.
    found.null_keys = found.null_keys.saturating_sub(found.unknown_members);
    found.sums = sums.into_iter().zip(columns.sums).map(|(sum, name)| sum.number(table, name)).collect();
    Ok(found)
}

/// Compares each key with the one before it, over the borders of batches.
struct RisingKeys {
    converter: RowConverter,
    last: Option<OwnedRow>,
}

impl RisingKeys {
    fn new(table: &StarTable, key: &[String]) -> Result<RisingKeys> {
        let options = SortOptions { descending: false, nulls_first: false };
        let mut fields = Vec::new();
        for name in key {
            let field = table.schema().field_with_name(name);
            let field = field.or_error(ErrorKind::Bug, || format!("no key column {name}"))?;
            fields.push(SortField::new_with_options(field.data_type().clone(), options));
        }
        let converter = RowConverter::new(fields).or_error(ErrorKind::Bug, || "key rows".to_owned())?;
        Ok(RisingKeys { converter, last: None })
    }

    fn see(&mut self, arrays: &[ArrayRef]) -> Result<bool> {
        let rows =
            self.converter.convert_columns(arrays).or_error(ErrorKind::Bug, || "key rows".to_owned())?;
        let count = rows.num_rows();
        if count == 0 {
            return Ok(true);
        }
        let first = self.last.as_ref().is_none_or(|last| last.row() < rows.row(0));
        let rising = first && (1..count).all(|at| rows.row(at - 1) < rows.row(at));
        self.last = Some(rows.row(count - 1).owned());
        Ok(rising)
    }
}

/// Where an integer column has a value; a NULL has it nowhere.
fn equal_to(array: &ArrayRef, wanted: i64) -> BooleanBuffer {
    match array.data_type() {
        DataType::Int64 => {
            array.as_primitive::<Int64Type>().iter().map(|value| value == Some(wanted)).collect()
        }
        DataType::Int32 => {
            array.as_primitive::<Int32Type>().iter().map(|v| v.map(i64::from) == Some(wanted)).collect()
        }
        _ => BooleanBuffer::new_unset(array.len()),
    }
}

/// An exact sum: wide enough for any number of 38-digit decimals.
#[derive(Default)]
struct Sum {
    wide: i256,
    float: f64,
    /// The doubles without their signs, and how many they are.
    magnitude: f64,
    floats: u64,
    seen: bool,
}

impl Sum {
    fn add(&mut self, array: &ArrayRef) {
        if array.null_count() == array.len() {
            return;
        }
        self.seen = true;
        match array.data_type() {
            DataType::Int16 => {
                self.add_wide(array.as_primitive::<Int16Type>().iter().flatten().map(i128::from))
            }
            DataType::Int32 => {
                self.add_wide(array.as_primitive::<Int32Type>().iter().flatten().map(i128::from))
            }
            DataType::Int64 => {
                self.add_wide(array.as_primitive::<Int64Type>().iter().flatten().map(i128::from))
            }
            DataType::Decimal128(..) => {
                self.add_wide(array.as_primitive::<Decimal128Type>().iter().flatten())
            }
            DataType::Float32 => {
                self.add_floats(array.as_primitive::<Float32Type>().iter().flatten().map(f64::from));
            }
            DataType::Float64 => {
                self.add_floats(array.as_primitive::<Float64Type>().iter().flatten());
            }
            _ => {}
        }
    }

    fn add_floats(&mut self, values: impl Iterator<Item = f64>) {
        for value in values {
            self.float += value;
            self.magnitude += value.abs();
            self.floats += 1;
        }
    }

    fn add_wide(&mut self, values: impl Iterator<Item = i128>) {
        let mut narrow: i128 = 0;
        for value in values {
            match narrow.checked_add(value) {
                Some(sum) => narrow = sum,
                None => {
                    self.wide = self.wide.wrapping_add(i256::from_i128(narrow));
                    narrow = value;
                }
            }
        }
        self.wide = self.wide.wrapping_add(i256::from_i128(narrow));
    }

    fn number(self, table: &StarTable, name: &str) -> Number {
        if !self.seen {
            return Number::Null;
        }
        match table.schema().field_with_name(name).map(|field| field.data_type().clone()) {
            Ok(DataType::Float32 | DataType::Float64) => {
                Number::of_floats(self.float, self.floats, self.magnitude)
            }
            Ok(DataType::Decimal128(_, scale)) => scaled(self.wide, scale),
            _ => scaled(self.wide, 0),
        }
    }
}

fn scaled(digits: i256, scale: i8) -> Number {
    match digits.to_i128() {
        Some(narrow) => Number::of_scaled(narrow, scale),
        None => {
            let whole: BigDecimal = digits.to_string().parse().unwrap_or_default();
            Number::Exact(whole * BigDecimal::new(1.into(), i64::from(scale)))
        }
    }
}

/// A table's file that another thread should scan, without borrowing anything.
pub async fn scan_apart(
    table: StarTable,
    key: Vec<String>,
    sums: Vec<String>,
    lookups: Vec<LookedUp>,
    surrogate: Option<String>,
) -> Result<Scan> {
    let task = tokio::task::spawn_blocking(move || {
        let columns = Columns { key: &key, sums: &sums, lookups: &lookups, surrogate: surrogate.as_deref() };
        scan(&table, &columns)
    });
    task.await.map_err(|error| Error::new(ErrorKind::Bug, "a scan ended by itself").caused_by(error))?
}
