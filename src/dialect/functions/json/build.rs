//! Json that is made of values: `to_jsonb`, `jsonb_build_object`, `jsonb_agg` and their kin.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use super::super::plain::{Call, Given, Plain};
use super::super::series::list;
use super::super::wrong;
use super::normal::{normal, quoted};
use crate::dialect::printed;

/// A value as an element of an aggregate's array: NULL is null there.
pub const ELEMENT: &str = "starmill json element";
/// A key and its value, as a member of an aggregate's object.
pub const MEMBER: &str = "starmill json member";
/// Arrays and objects of what an aggregate has put together.
pub const ARRAY: &str = "starmill json array";
pub const ARRAY_B: &str = "starmill jsonb array";
pub const OBJECT: &str = "starmill json object";
pub const OBJECT_B: &str = "starmill jsonb object";
/// The same where no order is stated, and a key that comes twice has no last value.
pub const OBJECT_ONCE: &str = "starmill jsonb object of keys";

const STRING: &str = "starmill json string";
pub const AS_TEXT: &str = "starmill text of json";
const TIME: &str = "starmill json time";
const NUMBER: &str = "starmill json number";
const LIST: &str = "starmill json list";

/// Functions that take values of any type and give json.
pub const BUILDERS: [&str; 8] = [
    "to_json",
    "to_jsonb",
    "json_build_object",
    "jsonb_build_object",
    "json_build_array",
    "jsonb_build_array",
    ELEMENT,
    MEMBER,
];

/// Whether a function makes json of values.
pub fn makes_json(name: &str) -> bool {
    BUILDERS.contains(&name)
        || [ARRAY, ARRAY_B, OBJECT, OBJECT_B, OBJECT_ONCE, STRING, TIME, NUMBER, LIST].contains(&name)
}

pub fn all() -> Vec<Plain> {
    let any = |name, work| Plain {
        name,
        takes: |types, _| Ok(types.to_vec()),
        gives: |_, _| Ok(Given::Json),
        work,
    };
    let texts = |name, work| Plain { takes: |_, _| Ok(vec![DataType::Utf8]), ..any(name, work) };
    let lists = |name, work| Plain { takes: |_, _| Ok(vec![list(DataType::Utf8)]), ..any(name, work) };
    let part = |name, work| Plain { gives: |_, _| Ok(Given::Type(DataType::Utf8)), ..any(name, work) };
    vec![
        any("to_json", |call| Ok(Arc::clone(call.arg(0)?))),
        any("to_jsonb", |call| normalized(call.text(0)?)),
        part(ELEMENT, |call| {
            let elements = call.text(0)?.iter().map(|element| Some(element.unwrap_or("null")));
            Ok(Arc::new(elements.collect::<StringArray>()))
        }),
        any("json_build_object", |call| object(call, " : ")),
        any("jsonb_build_object", |call| normalized(object(call, ": ")?.as_string())),
        any("json_build_array", array),
        any("jsonb_build_array", |call| normalized(array(call)?.as_string())),
        part(MEMBER, |call| members(call, ": ", false)),
        texts(STRING, |call| each(call, string)),
        texts(TIME, |call| each(call, time)),
        texts(NUMBER, |call| each(call, number)),
        part(AS_TEXT, |call| Ok(Arc::clone(call.arg(0)?))),
        any(LIST, |call| each_list(call, |values| Ok(joined("[", ",", &values?, "]")))),
        lists(ARRAY, |call| each_list(call, |values| Ok(joined("[", ", ", &values?, "]")))),
        lists(ARRAY_B, |call| {
            let arrays = each_list(call, |values| Ok(joined("[", ", ", &values?, "]")))?;
            normalized(arrays.as_string())
        }),
        lists(OBJECT, |call| {
            each_list(call, |values| {
                let spaced: Vec<String> = values?.iter().map(|member| spaced(member)).collect();
                Ok(joined("{ ", ", ", &spaced, " }"))
            })
        }),
        lists(OBJECT_B, |call| {
            let objects = each_list(call, |values| Ok(joined("{", ", ", &values?, "}")))?;
            normalized(objects.as_string())
        }),
        lists(OBJECT_ONCE, |call| {
            let objects = each_list(call, |values| once(&values?))?;
            normalized(objects.as_string())
        }),
    ]
}

/// Json as a text that is none.
pub fn as_text(json: Expr) -> Expr {
    called(AS_TEXT, json)
}

/// Each value of a call that makes json as its json, once its type is known.
pub fn of_values(
    function: &mut ScalarFunction,
    schema: &DFSchema,
    is_json: &dyn Fn(&Expr) -> bool,
) -> Result<bool> {
    let name = function.func.name().to_owned();
    if !BUILDERS.contains(&name.as_str()) {
        return Ok(false);
    }
    let keyed = ["json_build_object", "jsonb_build_object", MEMBER].contains(&name.as_str());
    let args = std::mem::take(&mut function.args);
    for (at, arg) in args.into_iter().enumerate() {
        let made = match keyed && at % 2 == 0 {
            true => match arg.get_type(schema)? {
                DataType::Utf8 => arg,
                DataType::Timestamp(..) | DataType::List(_) => {
                    return Err(wrong("a key of json is a text or a number: cast it, CAST(x AS text)"));
                }
                _ => printed::apart(&arg, schema).unwrap_or_else(|| cast(arg, DataType::Utf8)),
            },
            false if is_json(&arg) => arg,
            false => as_json(arg, schema, is_json)?,
        };
        function.args.push(made);
    }
    Ok(true)
}

fn as_json(value: Expr, schema: &DFSchema, is_json: &dyn Fn(&Expr) -> bool) -> Result<Expr> {
    let of = value.get_type(schema)?;
    let name = match &of {
        DataType::Null => return Ok(Expr::Literal(ScalarValue::Utf8(None), None)),
        of if of.is_numeric() || *of == DataType::Boolean => NUMBER,
        DataType::Timestamp(..) => TIME,
        DataType::List(element) => {
            let of = element.data_type();
            if !(of.is_integer()
                || of.is_null()
                || matches!(of, DataType::Utf8 | DataType::Boolean | DataType::Date32))
            {
                return Err(wrong(
                    "of arrays, those of integers, texts, booleans and days are made json here",
                ));
            }
            // An array of json is one of texts here, which nobody tells from another.
            let made = |value: &Expr| match value {
                Expr::ScalarFunction(function) => match function.func.name() {
                    "make_array" => !function.args.iter().any(is_json),
                    name => ["string_to_array", "regexp_split_to_array"].contains(&name),
                },
                _ => false,
            };
            if *of == DataType::Utf8 && !made(&value) {
                return Err(wrong(
                    "an array of texts is made json here where it is written out, or split from a text",
                ));
            }
            return Ok(called(LIST, value));
        }
        DataType::Struct(_) | DataType::Map(..) => {
            return Err(wrong(
                "a row is not made json here: name its columns, jsonb_build_object('id', id, 'name', name)",
            ));
        }
        _ => STRING,
    };
    let text = match of {
        DataType::Utf8 => value,
        _ => printed::apart(&value, schema).unwrap_or_else(|| cast(value, DataType::Utf8)),
    };
    Ok(called(name, text))
}

fn called(name: &'static str, arg: Expr) -> Expr {
    let function = all().into_iter().find(|plain| plain.name == name);
    match function {
        Some(plain) => Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(plain.udf(Tz::UTC)), vec![arg])),
        None => arg,
    }
}

fn normalized(texts: &StringArray) -> Result<ArrayRef> {
    let each = texts.iter().map(|text| match text {
        Some(text) => normal(text).map(Some).ok_or_else(|| wrong(format!("{text} is no json"))),
        None => Ok(None),
    });
    Ok(Arc::new(each.collect::<Result<StringArray>>()?))
}

fn each(call: &Call, make: impl Fn(&str) -> String) -> Result<ArrayRef> {
    Ok(Arc::new(call.text(0)?.iter().map(|text| text.map(&make)).collect::<StringArray>()))
}

fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quoted(text, &mut out);
    out
}

/// `2024-01-31 10:20:30+01` as `"2024-01-31T10:20:30+01:00"`.
fn time(text: &str) -> String {
    let said = text.replacen(' ', "T", 1);
    let clock = said.find('T').map_or("", |at| &said[at..]);
    let offset = clock.find(['+', '-']).map(|at| &clock[at..]);
    match offset {
        Some(offset) if offset.len() == 3 => format!("\"{said}:00\""),
        _ => format!("\"{said}\""),
    }
}

fn number(text: &str) -> String {
    match text {
        "NaN" | "Infinity" | "-Infinity" => format!("\"{text}\""),
        text => text.to_owned(),
    }
}

fn joined(before: &str, between: &str, parts: &[String], after: &str) -> String {
    format!("{before}{}{after}", parts.join(between))
}

fn no_key() -> datafusion::common::DataFusionError {
    wrong("the key of a json object is NULL")
}

/// The texts of each row's list; json where they are, else made so.
fn each_list(call: &Call, make: impl Fn(Result<Vec<String>>) -> Result<String>) -> Result<ArrayRef> {
    let lists = call.arg(0)?.as_list_opt::<i32>().ok_or_else(|| wrong("an array is expected"))?;
    let made_here = call.name == LIST;
    let row = |row: usize| {
        if lists.is_null(row) {
            return Ok(None);
        }
        let values = lists.value(row);
        if [OBJECT, OBJECT_B, OBJECT_ONCE].contains(&call.name) && values.null_count() > 0 {
            return Err(no_key());
        }
        make(parts(&values, made_here)).map(Some)
    };
    Ok(Arc::new((0..lists.len()).map(row).collect::<Result<StringArray>>()?))
}

fn parts(values: &ArrayRef, made_here: bool) -> Result<Vec<String>> {
    let texts = arrow::compute::cast(values, &DataType::Utf8)?;
    let quotes = made_here && matches!(values.data_type(), DataType::Utf8 | DataType::Date32);
    let part = |text: Option<&str>| match text {
        None => "null".to_owned(),
        Some(text) if quotes => string(text),
        Some(text) => text.to_owned(),
    };
    Ok(texts.as_string::<i32>().iter().map(part).collect())
}

/// The arguments of a call, each a text.
fn args<'a>(call: &'a Call) -> Result<Vec<&'a StringArray>> {
    (0..call.args.len()).map(|at| call.text(at)).collect()
}

fn value(arg: &StringArray, row: usize) -> &str {
    if arg.is_null(row) { "null" } else { arg.value(row) }
}

/// Keys and their values; of a key that is NULL either an error, or NULL for who puts the members together.
fn members(call: &Call, between: &str, strict: bool) -> Result<ArrayRef> {
    let args = args(call)?;
    if args.len() % 2 != 0 {
        return Err(wrong("argument list must have even number of elements"));
    }
    let row = |row: usize| {
        let mut members = Vec::with_capacity(args.len() / 2);
        for pair in args.chunks_exact(2) {
            if pair[0].is_null(row) {
                return if strict { Err(no_key()) } else { Ok(None) };
            }
            members.push(format!("{}{between}{}", string(pair[0].value(row)), value(pair[1], row)));
        }
        Ok(Some(members.join(", ")))
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Result<StringArray>>()?))
}

fn object(call: &Call, between: &str) -> Result<ArrayRef> {
    let members = members(call, between, true)?;
    let objects = members.as_string::<i32>().iter().map(|of| of.map(|of| format!("{{{of}}}")));
    Ok(Arc::new(objects.collect::<StringArray>()))
}

fn array(call: &Call) -> Result<ArrayRef> {
    let args = args(call)?;
    let row = |row: usize| {
        let values: Vec<&str> = args.iter().map(|arg| value(arg, row)).collect();
        Some(format!("[{}]", values.join(", ")))
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<StringArray>()))
}

/// `"key": value` as json_object_agg prints it.
fn spaced(member: &str) -> String {
    let (key, value) = key_of(member);
    format!("{key} : {value}")
}

/// A member's key, in its quotes, and its value.
fn key_of(member: &str) -> (&str, &str) {
    let mut escaped = false;
    let closes = member.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    let (key, rest) = member.split_at(closes.map_or(member.len(), |(at, _)| at + 1));
    (key, rest.trim_start_matches(": "))
}

/// An object of members in the order of their texts.
fn once(members: &[String]) -> Result<String> {
    for pair in members.windows(2) {
        let ((one, first), (other, second)) = (key_of(&pair[0]), key_of(&pair[1]));
        if one == other && first != second {
            return Err(wrong(format!(
                "the key {one} comes with several values, of which Postgres keeps the last: say which that is, jsonb_object_agg(k, v ORDER BY x)"
            )));
        }
    }
    Ok(joined("{", ", ", members, "}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_offsets_in_json() {
        for (text, told) in [
            ("2024-01-31 10:20:30", "\"2024-01-31T10:20:30\""),
            ("2024-01-31 10:20:30.5+01", "\"2024-01-31T10:20:30.5+01:00\""),
            ("2024-01-31 10:20:30-03:30", "\"2024-01-31T10:20:30-03:30\""),
        ] {
            assert_eq!(time(text), told);
        }
    }

    #[test]
    fn a_key_that_comes_twice_has_no_last_value_without_an_order() {
        let of =
            |members: &[&str]| once(&members.iter().map(|member| (*member).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[r#""a": 1"#, r#""b\"": 2"#]).unwrap(), r#"{"a": 1, "b\"": 2}"#);
        assert!(of(&[r#""a": 1"#, r#""a": 1"#]).is_ok());
        assert!(of(&[r#""a": 1"#, r#""a": 2"#]).is_err());
    }
}
