//! `format('%s of %s', x, y)`: texts put into a text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::plain::{Call, Given, Plain, is_text};
use super::text::quote_literal;
use super::wrong;

pub const FORMAT: Plain = Plain {
    name: "format",
    takes: |types, _| match types.first() {
        Some(of) if is_text(of) => Ok(vec![DataType::Utf8; types.len()]),
        _ => Err(wrong("format takes a text first: format('%s of %s', x, y)")),
    },
    gives: |_, _| Ok(Given::Type(DataType::Utf8)),
    work,
};

fn work(call: &Call) -> Result<ArrayRef> {
    let args = (0..call.args.len()).map(|at| call.text(at)).collect::<Result<Vec<&StringArray>>>()?;
    let row = |row: usize| -> Result<Option<String>> {
        let (pattern, values) = args.split_first().ok_or_else(|| wrong("format takes a text first"))?;
        if pattern.is_null(row) {
            return Ok(None);
        }
        let value = |at: usize| values.get(at).map(|value| value.is_valid(row).then(|| value.value(row)));
        formatted(pattern.value(row), &value).map(Some)
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Result<StringArray>>()?))
}

/// Blanks that nobody means.
const WIDEST: usize = 10_000;

/// What a pattern has that is not answered here.
pub fn unformatted(pattern: &str) -> Option<String> {
    formatted(pattern, &|_| Some(None)).err().map(|error| error.strip_backtrace())
}

/// `%[position$][-][width]s`, of s, L and %.
fn formatted<'a>(pattern: &str, value: &dyn Fn(usize) -> Option<Option<&'a str>>) -> Result<String> {
    let mut out = String::new();
    let mut letters = pattern.chars().peekable();
    let mut next = 0;
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut digits = String::new();
        let mut left = false;
        let kind = loop {
            match letters.next() {
                None => return Err(wrong("unterminated format() type specifier")),
                Some('$') => {
                    let position: usize = digits.parse().map_err(|_| wrong("format specifies argument 0"))?;
                    next = position.checked_sub(1).ok_or_else(|| wrong("format specifies argument 0"))?;
                    digits.clear();
                }
                Some('-') => left = true,
                Some(digit) if digit.is_ascii_digit() => digits.push(digit),
                Some(kind) => break kind,
            }
        };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let given = value(next).ok_or_else(|| wrong("too few arguments for format()"))?;
        next += 1;
        let text = match kind {
            's' => given.unwrap_or_default().to_owned(),
            'L' => given.map_or_else(|| "NULL".to_owned(), quote_literal),
            other => return Err(wrong(format!("format does not answer %{other} here"))),
        };
        let width: usize = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(usize::MAX) };
        if width > WIDEST {
            return Err(wrong(format!("format is asked for {digits} characters, more than {WIDEST}")));
        }
        let blanks = " ".repeat(width.saturating_sub(text.chars().count()));
        match left {
            true => out.extend([text.as_str(), &blanks]),
            false => out.extend([blanks.as_str(), &text]),
        }
    }
    Ok(out)
}
