//! Regular expressions whose matches are counted, taken and split at. Which patterns mean the same as in Postgres is
//! asked while the query is planned.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use regex::{Regex, RegexBuilder};

use super::plain::{Call, Given, Plain, is_text};
use super::series::list;
use super::wrong;

pub fn all() -> Vec<Plain> {
    let function = |name, gives, work| Plain {
        name,
        takes: |types, _| match types.len() {
            2..=3 if types.iter().all(is_text) => Ok(vec![DataType::Utf8; types.len()]),
            _ => Err(wrong("a text, a pattern and flags are expected")),
        },
        gives,
        work,
    };
    // Their third argument says where to begin.
    let from_the_start = |name, gives, work| Plain {
        name,
        takes: |types, _| match types.len() {
            2 if types.iter().all(is_text) => Ok(vec![DataType::Utf8; 2]),
            _ => Err(wrong(
                "a text and a pattern are expected; where to begin, and flags, cannot be said here",
            )),
        },
        gives,
        work,
    };
    vec![
        from_the_start("regexp_count", |_, _| Ok(Given::Type(DataType::Int32)), count),
        function("regexp_like", |_, _| Ok(Given::Type(DataType::Boolean)), like),
        function("regexp_match", |_, _| Ok(Given::Type(list(DataType::Utf8))), groups),
        from_the_start("regexp_substr", |_, _| Ok(Given::Type(DataType::Utf8)), first),
        function("regexp_split_to_array", |_, _| Ok(Given::Type(list(DataType::Utf8))), split),
    ]
}

/// Each row's text with its pattern, compiled once where all have the same.
fn each<T>(call: &Call, give: impl Fn(&str, &Regex) -> T) -> Result<Vec<Option<T>>> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let flags = if call.args.len() == 3 { Some(call.text(2)?) } else { None };
    let mut known: Option<(String, Regex)> = None;
    let mut found = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if texts.is_null(row) || patterns.is_null(row) || flags.is_some_and(|flags| flags.is_null(row)) {
            found.push(None);
            continue;
        }
        let flags = flags.map_or("", |flags| flags.value(row));
        let key = format!("{flags}/{}", patterns.value(row));
        if known.as_ref().is_none_or(|(before, _)| *before != key) {
            known = Some((key, compiled(patterns.value(row), flags)?));
        }
        if let Some((_, pattern)) = &known {
            found.push(Some(give(texts.value(row), pattern)));
        }
    }
    Ok(found)
}

fn compiled(pattern: &str, flags: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    builder.dot_matches_new_line(true);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            flag => {
                return Err(wrong(format!("the flag {flag} of a regular expression is not answered here")));
            }
        };
    }
    builder.build().map_err(|error| wrong(format!("invalid regular expression: {error}")))
}

fn count(call: &Call) -> Result<ArrayRef> {
    let counts =
        each(call, |text, pattern| i32::try_from(pattern.find_iter(text).count()).unwrap_or(i32::MAX))?;
    Ok(Arc::new(Int32Array::from(counts)))
}

fn like(call: &Call) -> Result<ArrayRef> {
    Ok(Arc::new(BooleanArray::from(each(call, |text, pattern| pattern.is_match(text))?)))
}

fn first(call: &Call) -> Result<ArrayRef> {
    let found = each(call, |text, pattern| pattern.find(text).map(|found| found.as_str().to_owned()))?;
    Ok(Arc::new(found.into_iter().map(Option::flatten).collect::<StringArray>()))
}

/// What the groups of the first match have, or all of it where there are none. A group that took no part is NULL.
fn groups(call: &Call) -> Result<ArrayRef> {
    let all = each(call, |text, pattern| {
        let found = pattern.captures(text)?;
        let own = if found.len() > 1 { 1 } else { 0 };
        let text_of = |group: Option<regex::Match>| group.map(|group| group.as_str().to_owned());
        Some(found.iter().skip(own).map(text_of).collect::<Vec<Option<String>>>())
    })?;
    let mut found = ListBuilder::new(StringBuilder::new());
    for groups in all.into_iter().map(Option::flatten) {
        let matches = groups.is_some();
        found.values().extend(groups.into_iter().flatten());
        found.append(matches);
    }
    Ok(Arc::new(found.finish()))
}

fn split(call: &Call) -> Result<ArrayRef> {
    let all = each(call, |text, pattern| {
        // A match of nothing at either end splits nothing off.
        let matches = pattern.find_iter(text);
        let matches =
            matches.filter(|found| !found.is_empty() || !(found.end() == 0 || found.start() == text.len()));
        let mut parts = Vec::new();
        let mut begins = 0;
        for found in matches {
            parts.push(text[begins..found.start()].to_owned());
            begins = found.end();
        }
        parts.push(text[begins..].to_owned());
        parts
    })?;
    let mut found = ListBuilder::new(StringBuilder::new());
    for parts in all {
        let whole = parts.is_some();
        for part in parts.into_iter().flatten() {
            found.values().append_value(part);
        }
        found.append(whole);
    }
    Ok(Arc::new(found.finish()))
}
