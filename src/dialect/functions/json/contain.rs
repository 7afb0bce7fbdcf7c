//! `a @> b` of jsonb: whether what is in b is in a, at the same places.

use super::scan::{Kind, Value};

/// An array contains what its elements contain; at the top also a single value that is one of them.
pub fn contains(whole: Value, part: Value) -> bool {
    match (whole.kind(), part.kind()) {
        (Kind::Array, Kind::Object) => false,
        (Kind::Array, Kind::Array) => within(whole, part),
        (Kind::Array, _) => whole.elements().any(|element| equal(element, part)),
        _ => within(whole, part),
    }
}

fn within(whole: Value, part: Value) -> bool {
    match (whole.kind(), part.kind()) {
        (Kind::Object, Kind::Object) => {
            part.members().all(|(key, member)| whole.member(&key).is_some_and(|there| within(there, member)))
        }
        (Kind::Array, Kind::Array) => {
            part.elements().all(|element| whole.elements().any(|there| within(there, element)))
        }
        (Kind::Object | Kind::Array, _) | (_, Kind::Object | Kind::Array) => false,
        _ => equal(whole, part),
    }
}

/// Whether two single values are one: numbers by what they are worth.
fn equal(one: Value, other: Value) -> bool {
    match (one.kind(), other.kind()) {
        (Kind::Number, Kind::Number) => one.number().is_some_and(|number| Some(number) == other.number()),
        (Kind::String, Kind::String) => one.text() == other.text(),
        (kind, of) => kind == of && one.0 == other.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_contained_is_what_postgres_says() {
        // SELECT '{"a": [1, 2, {"b": 1.0}]}'::jsonb @> '{"a": [{"b": 1}]}', …
        for (whole, part, expected) in [
            (r#"{"a": [1, 2, {"b": 1.0}]}"#, r#"{"a": [{"b": 1}]}"#, true),
            (r#"["foo", "bar"]"#, r#""bar""#, true),
            (r#""bar""#, r#"["bar"]"#, false),
            ("[1, 2, 3]", "[3, 1, 3]", true),
            ("[[1, 2]]", "[1]", false),
            (r#"{"a": {"b": {}}}"#, r#"{"b": {}}"#, false),
            (r#"{"a": null}"#, r#"{"a": null}"#, true),
            (r#"{"a": "x"}"#, "{}", true),
            ("[]", "{}", false),
            ("1", "1.00", true),
        ] {
            assert_eq!(contains(Value::of(whole), Value::of(part)), expected, "{whole} @> {part}");
        }
    }
}
