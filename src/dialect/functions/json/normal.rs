//! A json text in jsonb's own form: keys in its order, the last of equal ones, numbers by all of their digits, blanks
//! where Postgres prints them.

use std::fmt::Write as _;

use bigdecimal::BigDecimal;

use super::scan::{Kind, Value};

/// The text that jsonb prints; none where it is no json.
pub fn normal(text: &str) -> Option<String> {
    // What is not well formed is told by a reader that is known to be strict.
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    write(Value::of(text), &mut out, false)?;
    Some(out)
}

/// A text that is the same for equal jsonb: numbers without the zeros that say nothing.
pub fn comparable(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    write(Value::of(text), &mut out, true)?;
    Some(out)
}

fn write(value: Value, out: &mut String, comparable: bool) -> Option<()> {
    match value.kind() {
        Kind::Object => {
            let mut members: Vec<_> = value.members().collect();
            // Shorter keys first, then by their bytes; of equal ones the last stays.
            members.sort_by(|(one, _), (other, _)| {
                (one.len(), one.as_bytes()).cmp(&(other.len(), other.as_bytes()))
            });
            out.push('{');
            let mut first = true;
            for at in 0..members.len() {
                let (key, member) = &members[at];
                if members.get(at + 1).is_some_and(|(next, _)| next == key) {
                    continue;
                }
                if !first {
                    out.push_str(", ");
                }
                first = false;
                quoted(key, out);
                out.push_str(": ");
                write(*member, out, comparable)?;
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (at, element) in value.elements().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write(element, out, comparable)?;
            }
            out.push(']');
        }
        Kind::String => quoted(&value.text()?, out),
        Kind::Number => {
            let number: BigDecimal = value.number()?;
            let number = if comparable { number.normalized() } else { number };
            // A numeric has no digits before the point that are not written.
            let number = if number.fractional_digit_count() < 0 { number.with_scale(0) } else { number };
            let _ = write!(out, "{}", number.to_plain_string());
        }
        Kind::Boolean | Kind::Null => out.push_str(value.0),
    }
    Some(())
}

/// A string with the escapes that jsonb prints.
pub fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            letter if letter < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_jsonb_prints() {
        // SELECT x::jsonb::text
        for (text, printed) in [
            (r#"{"bb":1,"a":[1.50,1e2,-0.0],"bb":null}"#, r#"{"a": [1.50, 100, 0.0], "bb": null}"#),
            (r#" "öA\n" "#, r#""öA\n""#),
            ("[]", "[]"),
            (r#"{"b":{},"a":{"z":true}}"#, r#"{"a": {"z": true}, "b": {}}"#),
        ] {
            assert_eq!(normal(text).as_deref(), Some(printed), "{text}");
        }
        for text in ["", "{", "[1,]", "{'a': 1}", "01", "nul"] {
            assert_eq!(normal(text), None, "{text}");
        }
        assert_eq!(comparable("[1.50, 100]"), comparable("[1.5, 1e2]"));
    }
}
