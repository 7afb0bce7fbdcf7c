//! Texts: letters by their simple case, as Postgres folds them one by one, and pieces of a text by a pattern.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
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
        folded("quote_literal", |call| each(call, quote_literal)),
    ]
}

fn each(call: &Call, give: impl Fn(&str) -> String) -> Result<ArrayRef> {
    Ok(Arc::new(call.text(0)?.iter().map(|text| text.map(&give)).collect::<StringArray>()))
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
