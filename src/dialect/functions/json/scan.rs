//! A json text, read where it stands: a value is the part of the text that it takes, and nothing is copied before
//! somebody asks for it.

use std::borrow::Cow;

use bigdecimal::BigDecimal;

/// One value, without blanks around it. What Postgres sends is well formed; of what is not, values are missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value<'a>(pub &'a str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// As `jsonb_typeof` names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Null => "null",
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl<'a> Value<'a> {
    pub fn of(text: &'a str) -> Value<'a> {
        Value(text.trim_matches([' ', '\t', '\n', '\r']))
    }

    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The value as Postgres gives it as text: a string without its quotes, and NULL for null.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.kind() {
            Kind::String => Some(unquoted(self.0)),
            Kind::Null => None,
            _ => Some(Cow::Borrowed(self.0)),
        }
    }

    /// The members of an object; of a key that stands more than once each.
    pub fn members(self) -> Members<'a> {
        let rest = if self.kind() == Kind::Object { &self.0[1..] } else { "" };
        Members { parts: Parts { rest } }
    }

    /// The elements of an array.
    pub fn elements(self) -> Elements<'a> {
        let rest = if self.kind() == Kind::Array { &self.0[1..] } else { "" };
        Elements { parts: Parts { rest } }
    }

    /// The member of a name, the last where there are several.
    pub fn member(self, name: &str) -> Option<Value<'a>> {
        self.members().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// The element at a place, counted from 0, or from the end where it is negative.
    pub fn element(self, at: i64) -> Option<Value<'a>> {
        let at = match at {
            0.. => usize::try_from(at).ok()?,
            _ => self.elements().count().checked_sub(usize::try_from(at.unsigned_abs()).ok()?)?,
        };
        self.elements().nth(at)
    }

    /// What a step of a path leads to: a member of an object, or an element of an array.
    pub fn step(self, name: &str) -> Option<Value<'a>> {
        match self.kind() {
            Kind::Object => self.member(name),
            Kind::Array => self.element(name.trim().parse().ok()?),
            _ => None,
        }
    }

    pub fn number(self) -> Option<BigDecimal> {
        self.0.parse().ok()
    }
}

/// A string's characters.
pub fn unquoted(text: &str) -> Cow<'_, str> {
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match bare.contains('\\') {
        false => Cow::Borrowed(bare),
        true => Cow::Owned(serde_json::from_str(text).unwrap_or_else(|_| bare.to_owned())),
    }
}

/// What is left of an object or an array.
struct Parts<'a> {
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn pass(&mut self, passed: impl Fn(u8) -> bool) {
        let end = self.rest.bytes().position(|byte| !passed(byte)).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    /// The next value, with what separates it passed over.
    fn value(&mut self) -> Option<Value<'a>> {
        self.pass(|byte| is_blank(byte) || byte == b',' || byte == b':');
        let end = end_of(self.rest.as_bytes());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!value.is_empty()).then_some(Value(value))
    }
}

/// Where the value ends that a text begins with.
fn end_of(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = text.get(at)
                    && *byte != b'"'
                {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                at = (at + 1).min(text.len());
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            byte if depth == 0 && (is_blank(*byte) || *byte == b',' || *byte == b':') => return at,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[derive(Debug)]
pub struct Members<'a> {
    parts: Parts<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.parts.value()?;
        Some((unquoted(key.0), self.parts.value()?))
    }
}

#[derive(Debug)]
pub struct Elements<'a> {
    parts: Parts<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.parts.value()
    }
}

impl std::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_where_they_stand() {
        let value =
            Value::of(r#" {"a": [1, {"b": "x\"]}"}, null], "ö": {"": -1.50e3}, "c,d": true, "a": "last"} "#);
        assert_eq!(value.member("a"), Some(Value("\"last\"")));
        assert_eq!(value.member("ö").and_then(|inner| inner.member("")), Some(Value("-1.50e3")));
        assert_eq!(value.member("c,d").map(Value::kind), Some(Kind::Boolean));
        assert_eq!(value.member("b"), None);
        let (_, array) = value.members().next().unwrap();
        assert_eq!(array.elements().count(), 3);
        let inner = array.element(1).and_then(|object| object.member("b")).and_then(Value::text);
        assert_eq!(inner.as_deref(), Some("x\"]}"));
        assert_eq!(array.element(-1).map(Value::kind), Some(Kind::Null));
        assert_eq!(array.element(-4), None);
        assert_eq!(Value::of("[]").elements().count() + Value::of("{ }").members().count(), 0);
    }
}
