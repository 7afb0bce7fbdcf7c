//! Json: what stands in it, and whether. It travels as its text, a jsonb in Postgres's own form.

pub mod build;
pub mod change;
mod contain;
mod normal;
pub mod path;
mod scan;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::plain::{Call, Given, Plain, is_text};
use super::series::list;
use super::wrong;
use scan::{Kind, Value};

/// What of a set is json, said again where an array of it was taken apart.
pub const MARK: &str = "starmill json";

/// A text as jsonb; and a form of jsonb that is the same for equal values.
pub const CAST: &str = "starmill jsonb";
pub const CAST_TEXT: &str = "starmill json as it is";
pub const COMPARED: &str = "starmill jsonb compared";

/// The function that an operator between json and something else is.
pub fn operator(op: &BinaryOperator) -> Option<(&'static str, bool)> {
    Some(match op {
        BinaryOperator::Arrow => ("starmill ->", false),
        BinaryOperator::LongArrow => ("starmill ->>", false),
        BinaryOperator::HashArrow => ("starmill #>", false),
        BinaryOperator::HashLongArrow => ("starmill #>>", false),
        BinaryOperator::Question => ("starmill ?", false),
        BinaryOperator::QuestionPipe => ("starmill ?|", false),
        BinaryOperator::QuestionAnd => ("starmill ?&", false),
        BinaryOperator::AtArrow => ("starmill @>", false),
        BinaryOperator::ArrowAt => ("starmill @>", true),
        _ => return None,
    })
}

/// Whether a function gives json, and no text.
pub fn gives_json(name: &str) -> bool {
    [
        "starmill ->",
        "starmill #>",
        MARK,
        CAST,
        CAST_TEXT,
        "jsonb_extract_path",
        "jsonb_path_query_first",
        "jsonb_path_query_array",
        "jsonb_set",
        "jsonb_strip_nulls",
    ]
    .contains(&name)
        || [change::JOINED, change::WITHOUT, change::WITHOUT_PATH].contains(&name)
        || build::makes_json(name)
}

pub fn all() -> Vec<Plain> {
    [read_functions(), build::all(), change::all(), path::all()].concat()
}

fn read_functions() -> Vec<Plain> {
    let member =
        |name, work| Plain { name, takes: |types, _| takes_step(types), gives: |_, _| Ok(Given::Json), work };
    let path =
        |name, work| Plain { name, takes: |types, _| takes_path(types), gives: |_, _| Ok(Given::Json), work };
    let plain_text = |plain: Plain| Plain { gives: |_, _| Ok(Given::Type(DataType::Utf8)), ..plain };
    let asked = |name, work| Plain {
        name,
        takes: |types, _| takes_path(types),
        gives: |_, _| Ok(Given::Type(DataType::Boolean)),
        work,
    };
    let only = |name, gives, work| Plain { name, takes: |types, _| takes_texts(types, 1), gives, work };
    let lists = |name, work| Plain {
        name,
        takes: |types, _| takes_texts(types, 1),
        gives: |_, _| Ok(lists_of_text()),
        work,
    };
    vec![
        member("starmill ->", |call| stepped(call, |value| Ok(Some(Cow::Borrowed(value.0))))),
        plain_text(member("starmill ->>", |call| stepped(call, |value| Ok(value.text())))),
        path("starmill #>", |call| walked(call, |value| Some(Cow::Borrowed(value.0)))),
        plain_text(path("starmill #>>", |call| walked(call, Value::text))),
        Plain {
            takes: |types, _| takes_many(types),
            ..path("jsonb_extract_path", |call| walked(call, |value| Some(Cow::Borrowed(value.0))))
        },
        Plain {
            takes: |types, _| takes_many(types),
            ..plain_text(path("jsonb_extract_path_text", |call| walked(call, Value::text)))
        },
        Plain { takes: |types, _| takes_texts(types, 2), ..asked("starmill ?", has) },
        asked("starmill ?|", |call| has_of(call, false)),
        asked("starmill ?&", |call| has_of(call, true)),
        Plain { takes: |types, _| takes_texts(types, 2), ..asked("starmill @>", contains) },
        only(
            "jsonb_typeof",
            |_, _| Ok(Given::Type(DataType::Utf8)),
            |call| texts(call, |value| Ok(Some(Cow::Borrowed(value.kind().name())))),
        ),
        only("jsonb_array_length", |_, _| Ok(Given::Type(DataType::Int32)), length),
        only(CAST, |_, _| Ok(Given::Json), |call| read(call, normal::normal)),
        only(
            CAST_TEXT,
            |_, _| Ok(Given::Json),
            |call| read(call, |text| normal::normal(text).map(|_| text.to_owned())),
        ),
        only(COMPARED, |_, _| Ok(Given::Type(DataType::Utf8)), |call| read(call, normal::comparable)),
        only(MARK, |_, _| Ok(Given::Json), |call| Ok(Arc::clone(call.arg(0)?))),
        lists("jsonb_array_elements", |call| elements(call, |value| Some(Cow::Borrowed(value.0)))),
        lists("jsonb_array_elements_text", |call| elements(call, Value::text)),
        lists("jsonb_object_keys", |call| members(call, |key, _| Some(key))),
        lists("starmill json values", |call| members(call, |_, value| Some(Cow::Borrowed(value.0)))),
        lists("starmill json texts", |call| members(call, |_, value| value.text())),
    ]
}

fn read(call: &Call, form: impl Fn(&str) -> Option<String>) -> Result<ArrayRef> {
    let each = call.text(0)?.iter().map(|text| match text {
        Some(text) => {
            form(text).map(Some).ok_or_else(|| wrong(format!("invalid input syntax for type json: {text}")))
        }
        None => Ok(None),
    });
    Ok(Arc::new(each.collect::<Result<StringArray>>()?))
}

fn lists_of_text() -> Given {
    Given::Type(list(DataType::Utf8))
}

fn not_json() -> DataFusionError {
    wrong("json is expected: a column of json or jsonb, or what -> gives")
}

fn takes_texts(types: &[DataType], number: usize) -> Result<Vec<DataType>> {
    match types.len() == number && types.iter().all(is_text) {
        true => Ok(vec![DataType::Utf8; number]),
        false => Err(not_json()),
    }
}

fn takes_step(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [json, step] if is_text(json) && step.is_integer() => Ok(vec![DataType::Utf8, DataType::Int64]),
        types => takes_texts(types, 2),
    }
}

fn takes_path(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [json, DataType::List(_)] if is_text(json) => Ok(vec![DataType::Utf8, list(DataType::Utf8)]),
        types => takes_texts(types, 2),
    }
}

fn takes_many(types: &[DataType]) -> Result<Vec<DataType>> {
    takes_texts(types, types.len().max(1))
}

/// A text of each value.
fn texts<'a>(call: &'a Call, give: impl Fn(Value<'a>) -> Result<Option<Cow<'a, str>>>) -> Result<ArrayRef> {
    let found = call.text(0)?.iter().map(|json| json.map(Value::of).map_or(Ok(None), &give));
    Ok(Arc::new(found.collect::<Result<StringArray>>()?))
}

/// `x -> step` by a key's name or an element's number.
fn stepped<'a>(call: &'a Call, give: impl Fn(Value<'a>) -> Result<Option<Cow<'a, str>>>) -> Result<ArrayRef> {
    let json = call.text(0)?;
    let numbers = call.arg(1)?.as_primitive_opt::<Int64Type>();
    let names = call.arg(1)?.as_string_opt::<i32>();
    let find = |row: usize| -> Result<Option<Cow<'a, str>>> {
        if json.is_null(row) || call.arg(1)?.is_null(row) {
            return Ok(None);
        }
        let value = Value::of(json.value(row));
        let found = match (numbers, names) {
            (Some(numbers), _) => match (value.kind(), numbers.value(row)) {
                (Kind::Array, at) => value.element(at),
                (Kind::Object, _) => None,
                (_, 0 | -1) => {
                    return Err(wrong(format!(
                        "{} has no elements: of one that is no array, json and jsonb give another first element",
                        value.0
                    )));
                }
                _ => None,
            },
            (None, Some(names)) => value.member(names.value(row)),
            _ => None,
        };
        found.map_or(Ok(None), &give)
    };
    Ok(Arc::new((0..call.rows).map(find).collect::<Result<StringArray>>()?))
}

/// The steps of a path: an array, one written as a text, or the arguments that follow.
fn steps(call: &Call, row: usize) -> Result<Option<Vec<String>>> {
    if call.args.len() > 2 || call.name.starts_with("jsonb_extract") {
        let args = (1..call.args.len()).map(|at| call.text(at)).collect::<Result<Vec<&StringArray>>>()?;
        return Ok(args
            .into_iter()
            .map(|arg| (!arg.is_null(row)).then(|| arg.value(row).to_owned()))
            .collect());
    }
    steps_of(call.arg(1)?, row)
}

/// The steps of a path that is one array, or written as a text.
fn steps_of(path: &ArrayRef, row: usize) -> Result<Option<Vec<String>>> {
    if path.is_null(row) {
        return Ok(None);
    }
    match (path.as_list_opt::<i32>(), path.as_string_opt::<i32>()) {
        (Some(lists), _) => {
            let element = lists.value(row);
            let names = element.as_string_opt::<i32>().ok_or_else(not_json)?;
            Ok(names.iter().map(|name| name.map(str::to_owned)).collect())
        }
        (None, Some(texts)) => written(texts.value(row)).map(Some),
        (None, None) => Err(not_json()),
    }
}

/// The elements of `{a,"b c",0}`.
fn written(path: &str) -> Result<Vec<String>> {
    let malformed = || wrong(format!("malformed array literal: \"{path}\""));
    let inner =
        path.trim().strip_prefix('{').and_then(|path| path.strip_suffix('}')).ok_or_else(malformed)?;
    let (mut steps, mut step, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        any = true;
        match letter {
            '\\' => step.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => steps.push(std::mem::take(&mut step).trim().to_owned()),
            '{' | '}' if !quoted => return Err(malformed()),
            letter => step.push(letter),
        }
    }
    if quoted {
        return Err(malformed());
    }
    if any {
        steps.push(step.trim().to_owned());
    }
    Ok(steps)
}

fn walked<'a>(call: &'a Call, give: impl Fn(Value<'a>) -> Option<Cow<'a, str>>) -> Result<ArrayRef> {
    let json = call.text(0)?;
    let find = |row: usize| -> Result<Option<Cow<'a, str>>> {
        let Some(steps) = steps(call, row)?.filter(|_| !json.is_null(row)) else { return Ok(None) };
        let found = steps.iter().try_fold(Value::of(json.value(row)), |value, step| value.step(step));
        Ok(found.and_then(&give))
    };
    Ok(Arc::new((0..call.rows).map(find).collect::<Result<StringArray>>()?))
}

/// Whether a name is a key of an object, a string of an array, or the string itself.
fn names(value: Value, name: &str) -> bool {
    match value.kind() {
        Kind::Object => value.member(name).is_some(),
        Kind::Array => {
            value.elements().any(|of| of.kind() == Kind::String && of.text().as_deref() == Some(name))
        }
        Kind::String => value.text().as_deref() == Some(name),
        _ => false,
    }
}

fn has(call: &Call) -> Result<ArrayRef> {
    let both = call.text(0)?.iter().zip(call.text(1)?);
    let found = both.map(|(json, name)| Some(names(Value::of(json?), name?)));
    Ok(Arc::new(found.collect::<BooleanArray>()))
}

fn has_of(call: &Call, every: bool) -> Result<ArrayRef> {
    let json = call.text(0)?;
    let find = |row: usize| -> Result<Option<bool>> {
        let Some(steps) = steps(call, row)?.filter(|_| !json.is_null(row)) else { return Ok(None) };
        let value = Value::of(json.value(row));
        let mut found = steps.iter().map(|name| names(value, name));
        Ok(Some(if every { found.all(|has| has) } else { found.any(|has| has) }))
    };
    Ok(Arc::new((0..call.rows).map(find).collect::<Result<BooleanArray>>()?))
}

fn contains(call: &Call) -> Result<ArrayRef> {
    let both = call.text(0)?.iter().zip(call.text(1)?);
    let found = both.map(|(whole, part)| Some(contain::contains(Value::of(whole?), Value::of(part?))));
    Ok(Arc::new(found.collect::<BooleanArray>()))
}

fn length(call: &Call) -> Result<ArrayRef> {
    let of = |json: Option<&str>| -> Result<Option<i32>> {
        let Some(value) = json.map(Value::of) else { return Ok(None) };
        match value.kind() {
            Kind::Array => Ok(i32::try_from(value.elements().count()).ok()),
            Kind::Object => Err(wrong("cannot get array length of a non-array")),
            _ => Err(wrong("cannot get array length of a scalar")),
        }
    };
    Ok(Arc::new(call.text(0)?.iter().map(of).collect::<Result<Int32Array>>()?))
}

fn elements<'a>(call: &'a Call, give: impl Fn(Value<'a>) -> Option<Cow<'a, str>>) -> Result<ArrayRef> {
    let mut found = ListBuilder::new(StringBuilder::new());
    for json in call.text(0)? {
        let value = json.map(Value::of);
        match value.map(Value::kind) {
            None | Some(Kind::Array) => {}
            Some(Kind::Object) => return Err(wrong("cannot extract elements from an object")),
            Some(_) => return Err(wrong("cannot extract elements from a scalar")),
        }
        for element in value.into_iter().flat_map(Value::elements) {
            found.values().append_option(give(element));
        }
        found.append(value.is_some());
    }
    Ok(Arc::new(found.finish()))
}

fn members<'a>(
    call: &'a Call,
    give: impl Fn(Cow<'a, str>, Value<'a>) -> Option<Cow<'a, str>>,
) -> Result<ArrayRef> {
    let mut found = ListBuilder::new(StringBuilder::new());
    for json in call.text(0)? {
        let value = json.map(Value::of);
        if value.is_some_and(|value| value.kind() != Kind::Object) {
            return Err(wrong(match value.map(Value::kind) {
                Some(Kind::Array) => "cannot call this function on an array",
                _ => "cannot call this function on a scalar",
            }));
        }
        for (key, member) in value.into_iter().flat_map(Value::members) {
            found.values().append_option(give(key, member));
        }
        found.append(value.is_some());
    }
    Ok(Arc::new(found.finish()))
}
