//! Texts: letters by their simple case, as Postgres folds them one by one, and pieces of a text by a pattern.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;

use super::plain::{Call, Given, Plain, is_text};
use super::wrong;

pub fn all() -> Vec<Plain> {
    let folded = |name, work| Plain {
        name,
        takes: |types, _| match types {
            [of] if is_text(of) => Ok(vec![DataType::Utf8]),
            _ => Err(wrong("a text is expected: cast it, CAST(x AS text)")),
        },
        gives: |_, _| Ok(Given::Type(DataType::Utf8)),
        work,
    };
    vec![
        folded("upper", |call| each(call, |text| text.chars().map(upper).collect())),
        folded("lower", |call| each(call, |text| text.chars().map(lower).collect())),
        folded("initcap", |call| each(call, initcap)),
        Plain {
            name: "repeat",
            takes: |types, _| match types {
                [of, by] if is_text(of) && (by.is_integer() || by.is_null()) => {
                    Ok(vec![DataType::Utf8, DataType::Int64])
                }
                _ => Err(wrong("repeat takes a text and a number")),
            },
            gives: |_, _| Ok(Given::Type(DataType::Utf8)),
            work: repeat,
        },
        folded("quote_literal", |call| each(call, quote_literal)),
    ]
}

fn each(call: &Call, give: impl Fn(&str) -> String) -> Result<ArrayRef> {
    Ok(Arc::new(call.text(0)?.iter().map(|text| text.map(&give)).collect::<StringArray>()))
}

/// Bytes that a call may make at once, for all of its rows.
const MOST: usize = 256 << 20;

fn repeat(call: &Call) -> Result<ArrayRef> {
    let (texts, times) = (call.text(0)?, call.arg(1)?.as_primitive::<Int64Type>());
    let times_of = |row: usize| usize::try_from(times.value(row)).unwrap_or(0);
    let lengths = (0..texts.len()).filter(|row| texts.is_valid(*row) && times.is_valid(*row));
    let bytes = lengths
        .fold(0_usize, |sum, row| sum.saturating_add(texts.value(row).len().saturating_mul(times_of(row))));
    if bytes > MOST {
        return Err(wrong(format!(
            "repeat would make {bytes} bytes of text at once, and at most {MOST} are made"
        )));
    }
    let row = |row: usize| {
        let whole = texts.is_valid(row) && times.is_valid(row);
        whole.then(|| texts.value(row).repeat(times_of(row)))
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<StringArray>()))
}

/// One letter for one: ß has no capital of one letter, and stays.
fn upper(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => letter,
    }
}

/// The small letter of İ is i; what Unicode puts on it is another letter.
fn lower(letter: char) -> char {
    letter.to_lowercase().next().unwrap_or(letter)
}

fn initcap(text: &str) -> String {
    let mut within = false;
    let cased = text.chars().map(|letter| {
        let cased = if within { lower(letter) } else { upper(letter) };
        within = letter.is_alphanumeric();
        cased
    });
    cased.collect()
}

pub fn quote_literal(text: &str) -> String {
    let escape = if text.contains('\\') { " E" } else { "" };
    format!("{}'{}'", escape.trim_start(), text.replace('\\', "\\\\").replace('\'', "''"))
}
