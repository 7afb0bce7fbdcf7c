//! Some values in one text that tells them apart: the business key of a row that is known by all of its columns. The same value
//! gives the same text whatever type it travels in, so that a column that is widened makes no other rows of its rows.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use sha2::{Digest, Sha256};

use super::plain::{Call, Given, Plain};
use super::{print, wrong};

/// A name that nobody can write: `(name, value, name, value, …)`.
pub const NAME: &str = "starmill combination";

/// A longer text is told by its beginning and its hash: an index of Postgres's takes no entry of more than some 2,700 bytes.
const LONGEST: usize = 1_000;
const BEGINNING: usize = 200;

pub const COMBINATION: Plain = Plain {
    name: NAME,
    takes: |types, _| Ok(types.iter().map(plain).collect()),
    gives: |_, _| Ok(Given::Type(DataType::Utf8)),
    work: |call| combined(call),
};

fn plain(of: &DataType) -> DataType {
    match of {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        // Of a real the double that it is: `0.1::real` is another number than `0.1`.
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        of => of.clone(),
    }
}

fn combined(call: &Call) -> datafusion::common::Result<ArrayRef> {
    let mut columns: Vec<(String, Texts)> = Vec::new();
    for pair in call.args.chunks(2) {
        let [name, value] = pair else { return Err(wrong("a name without a value")) };
        let names = name.as_string_opt::<i32>().filter(|names| call.rows == 0 || !names.is_null(0));
        let name = names.and_then(|names| (call.rows > 0).then(|| names.value(0).to_owned()));
        columns.push((name.unwrap_or_default(), Texts::of(value)?));
    }
    // In whatever order the columns are named, it is the same combination.
    columns.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut found = StringBuilder::with_capacity(call.rows, call.rows * 32);
    let mut row = String::new();
    for at in 0..call.rows {
        row.clear();
        for (place, (name, texts)) in columns.iter().enumerate() {
            row.push_str(if place > 0 { ", " } else { "" });
            let _ = write!(row, "{name}=");
            match texts.value(at) {
                Some(value) => {
                    let _ = write!(row, "\"{}\"", value.replace('"', "\"\""));
                }
                None => row.push_str("NULL"),
            }
        }
        found.append_value(shortened(&row));
    }
    Ok(Arc::new(found.finish()))
}

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let mut told: String = text.chars().take(BEGINNING).collect();
    told.push_str("… sha256:");
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(told, "{byte:02x}");
    }
    Cow::Owned(told)
}

/// The shortest digits of a double, without an exponent, as a numeric of the same value has them; zero has no sign to Postgres.
fn digits(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => (value + 0.0).to_string(),
    }
}

/// A column's values as texts.
struct Texts {
    texts: StringArray,
    /// Whether digits after the point may go that are zero.
    is_exact: bool,
    /// Whether a time of midnight says no more than its day.
    is_local: bool,
}

impl Texts {
    fn of(array: &ArrayRef) -> datafusion::common::Result<Texts> {
        let texts = match array.data_type() {
            DataType::Float64 => {
                let values = array.as_primitive::<Float64Type>().iter();
                Arc::new(values.map(|value| value.map(digits)).collect::<StringArray>())
            }
            DataType::Timestamp(unit, Some(_)) => {
                print::printed(&cast(array, &DataType::Timestamp(*unit, Some("UTC".into())))?)?
            }
            _ => print::printed(array)?,
        };
        let texts = texts.as_string_opt::<i32>().ok_or_else(|| wrong("a text is expected"))?.clone();
        let is_exact = matches!(array.data_type(), DataType::Decimal128(..) | DataType::Decimal256(..));
        let is_local = matches!(array.data_type(), DataType::Timestamp(_, None));
        Ok(Texts { texts, is_exact, is_local })
    }

    fn value(&self, at: usize) -> Option<&str> {
        if self.texts.is_null(at) {
            return None;
        }
        let text = self.texts.value(at);
        Some(match (self.is_exact && text.contains('.'), self.is_local) {
            (true, _) => text.trim_end_matches('0').trim_end_matches('.'),
            (_, true) => text.strip_suffix(" 00:00:00").unwrap_or(text),
            _ => text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Float32Array, Float64Array, Int32Array, TimestampMicrosecondArray};
    use chrono_tz::Tz;

    fn told(columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
        let rows = columns[0].1.len();
        let mut args: Vec<ArrayRef> = Vec::new();
        for (name, values) in columns {
            args.push(Arc::new(StringArray::from(vec![name; rows])));
            let of = plain(values.data_type());
            args.push(cast(&values, &of).unwrap());
        }
        let found = combined(&Call { name: NAME, args: &args, rows, zone: Tz::UTC }).unwrap();
        found.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
    }

    #[test]
    fn the_same_value_is_the_same_text_in_every_type_and_order_of_columns() {
        let numeric = |digits: Vec<i128>, scale: i8| -> ArrayRef {
            Arc::new(Decimal128Array::from(digits).with_precision_and_scale(20, scale).unwrap())
        };
        let one = told(vec![("x", numeric(vec![150, 500, 0, -20], 2))]);
        assert_eq!(one, ["x=\"1.5\"", "x=\"5\"", "x=\"0\"", "x=\"-0.2\""]);
        assert_eq!(told(vec![("x", numeric(vec![15, 50, 0, -2], 1))]), one);
        assert_eq!(told(vec![("x", Arc::new(Int32Array::from(vec![5])))]), one[1..2]);
        assert_eq!(told(vec![("x", numeric(vec![500], 0))]), ["x=\"500\""]);
        let doubles = told(vec![("x", Arc::new(Float64Array::from(vec![-0.0, 0.0, 1.5])))]);
        assert_eq!(doubles, ["x=\"0\"", "x=\"0\"", "x=\"1.5\""]);
        let large = told(vec![("x", Arc::new(Float64Array::from(vec![1e15, 0.00001, f64::NEG_INFINITY])))]);
        assert_eq!(large, ["x=\"1000000000000000\"", "x=\"0.00001\"", "x=\"-Infinity\""]);
        let real = told(vec![("x", Arc::new(Float32Array::from(vec![0.1])))]);
        assert_eq!(real, ["x=\"0.10000000149011612\""]);
        let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
        let both = told(vec![("b", text(Some("1\", c=\"2"))), ("a", text(None))]);
        assert_eq!(both, ["a=NULL, b=\"1\"\", c=\"\"2\""]);
        assert_eq!(told(vec![("a", text(None)), ("b", text(Some("1\", c=\"2")))]), both);
        assert_ne!(told(vec![("a", text(Some("NULL")))]), told(vec![("a", text(None))]));
        let day = |zone: Option<&str>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone_opt(zone.map(str::to_owned)))
        };
        assert_eq!(told(vec![("d", day(None))]), ["d=\"1970-01-01\""]);
        assert_eq!(told(vec![("d", day(Some("Europe/Berlin")))]), ["d=\"1970-01-01 00:00:00+00\""]);
    }

    #[test]
    fn a_long_combination_is_told_by_its_beginning_and_its_hash() {
        let of = |text: String| told(vec![("x", Arc::new(StringArray::from(vec![text])))]).remove(0);
        let (one, other) = (of("é".repeat(5_000)), of(format!("{}e", "é".repeat(4_999))));
        assert!(one.len() < LONGEST && one != other, "{one}");
        assert!(one.starts_with("x=\"éé"), "{one}");
    }
}
