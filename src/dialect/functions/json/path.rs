//! SQL/JSON paths that walk: keys, elements and all elements, `$.a."b c"[0][*]`, in the lax way that Postgres takes when
//! nothing is said. Filters, arithmetic and methods are not read.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::scan::{Kind, Value};
use super::{lists_of_text, takes_texts};
use crate::dialect::functions::plain::{Call, Given, Plain};
use crate::dialect::functions::wrong;

pub fn all() -> Vec<Plain> {
    let asked = |name, gives, work| Plain { name, takes: |types, _| takes_texts(types, 2), gives, work };
    vec![
        asked(
            "jsonb_path_exists",
            |_, _| Ok(Given::Type(DataType::Boolean)),
            |call| {
                let found = each(call, |items| Ok(Some(!items.is_empty())))?;
                Ok(Arc::new(BooleanArray::from(found)))
            },
        ),
        asked(
            "jsonb_path_query_first",
            |_, _| Ok(Given::Json),
            |call| {
                let found = each(call, |items| Ok(items.first().map(|item| item.0.to_owned())))?;
                Ok(Arc::new(StringArray::from(found)))
            },
        ),
        asked(
            "jsonb_path_query_array",
            |_, _| Ok(Given::Json),
            |call| {
                let found = each(call, |items| {
                    let all: Vec<&str> = items.iter().map(|item| item.0).collect();
                    Ok(Some(format!("[{}]", all.join(", "))))
                })?;
                Ok(Arc::new(StringArray::from(found)))
            },
        ),
        asked("jsonb_path_query", |_, _| Ok(lists_of_text()), queried),
    ]
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
    Last,
    Every,
}

/// Whether a path is one that is walked here.
pub fn is_read(path: &str) -> bool {
    steps(path).is_some()
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let path = path.trim();
    let path = path.strip_prefix("lax ").map_or(path, str::trim_start);
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(key) = rest.strip_prefix(".\"") {
            let end = key.find('"')?;
            // What is escaped in it is not read.
            let name = key.get(..end).filter(|name| !name.contains('\\'))?;
            steps.push(Step::Member(name.to_owned()));
            rest = &key[end + 1..];
        } else if let Some(key) = rest.strip_prefix('.') {
            let end = key.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(key.len());
            let name =
                key.get(..end).filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'))?;
            // `.size()` is a method.
            if key[end..].starts_with('(') {
                return None;
            }
            steps.push(Step::Member(name.to_owned()));
            rest = &key[end..];
        } else {
            let inner = rest.strip_prefix('[')?;
            let end = inner.find(']')?;
            steps.push(match inner[..end].trim() {
                "*" => Step::Every,
                "last" => Step::Last,
                number => Step::Element(number.parse().ok()?),
            });
            rest = &inner[end + 1..];
        }
    }
    Some(steps)
}

/// The items that a path leads to. What is no array is one of itself, and of an array each element is asked for a key.
fn walked<'a>(value: Value<'a>, steps: &[Step]) -> Vec<Value<'a>> {
    let mut items = vec![value];
    for step in steps {
        let taken = items.into_iter().flat_map(|item| -> Vec<Value<'a>> {
            let is_array = item.kind() == Kind::Array;
            match step {
                Step::Member(name) if is_array => {
                    item.elements().filter_map(|element| element.member(name)).collect()
                }
                Step::Member(name) => item.member(name).into_iter().collect(),
                Step::Every if is_array => item.elements().collect(),
                Step::Element(at) if is_array => item.elements().nth(*at).into_iter().collect(),
                Step::Last if is_array => item.elements().last().into_iter().collect(),
                Step::Every | Step::Last | Step::Element(0) => vec![item],
                Step::Element(_) => Vec::new(),
            }
        });
        items = taken.collect();
    }
    items
}

fn each<T>(call: &Call, give: impl Fn(Vec<Value>) -> Result<Option<T>>) -> Result<Vec<Option<T>>> {
    let mut known: Option<(&str, Vec<Step>)> = None;
    let mut found = Vec::with_capacity(call.rows);
    for (json, path) in call.text(0)?.iter().zip(call.text(1)?) {
        let (Some(json), Some(path)) = (json, path) else {
            found.push(None);
            continue;
        };
        if known.as_ref().is_none_or(|(before, _)| *before != path) {
            let steps = steps(path).ok_or_else(|| wrong(format!("the path {path} is not read here")))?;
            known = Some((path, steps));
        }
        let steps = known.as_ref().map_or(&[][..], |(_, steps)| steps.as_slice());
        found.push(give(walked(Value::of(json), steps))?);
    }
    Ok(found)
}

fn queried(call: &Call) -> Result<ArrayRef> {
    let all = each(call, |items| {
        Ok(Some(items.iter().map(|item| Cow::Owned(item.0.to_owned())).collect::<Vec<Cow<str>>>()))
    })?;
    let mut lists = ListBuilder::new(StringBuilder::new());
    for items in all {
        for item in items.iter().flatten() {
            lists.values().append_value(item);
        }
        lists.append(items.is_some());
    }
    Ok(Arc::new(lists.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_walked_as_postgres_walks_it_in_the_lax_way() {
        let json = "{\"a\": [{\"b\": 1}, {\"b\": 2}, {\"c\": 3}], \"x y\": null, \"n\": 7}";
        for (path, expected) in [
            ("$.a.b", vec!["1", "2"]),
            ("$.a[*].b", vec!["1", "2"]),
            ("$.a[last]", vec!["{\"c\": 3}"]),
            ("$.a[1].b", vec!["2"]),
            ("$.\"x y\"", vec!["null"]),
            ("$.n[0]", vec!["7"]),
            ("$.n[1]", vec![]),
            ("$.none.of", vec![]),
            ("lax $.n", vec!["7"]),
        ] {
            let items = walked(Value::of(json), &steps(path).unwrap());
            assert_eq!(items.iter().map(|item| item.0).collect::<Vec<_>>(), expected, "{path}");
        }
        for path in ["strict $.a", "$.a ? (@.b > 1)", "$.a.size()", "$.*", "a", "$.a[0 to 1]", "$.1"] {
            assert!(!is_read(path), "{path}");
        }
    }
}
