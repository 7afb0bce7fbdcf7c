//! Json that is changed: `a || b`, `a - 'key'`, `a #- '{path}'`, `jsonb_set`, `jsonb_strip_nulls`, `jsonb_pretty`.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_datafusion_err};

use super::super::plain::{Call, Given, Plain, is_text};
use super::super::series::list;
use super::super::wrong;
use super::normal::{normal, quoted};
use super::scan::{Kind, Value};
use super::{not_json, takes_path, takes_texts};

pub const JOINED: &str = "starmill jsonb ||";
pub const WITHOUT: &str = "starmill jsonb -";
pub const WITHOUT_PATH: &str = "starmill jsonb #-";

pub fn all() -> Vec<Plain> {
    let json = |name, work| Plain {
        name,
        takes: |types, _| takes_texts(types, 1),
        gives: |_, _| Ok(Given::Json),
        work,
    };
    vec![
        Plain { takes: |types, _| takes_texts(types, 2), ..json(JOINED, joined) },
        Plain { takes: |types, _| takes_key(types), ..json(WITHOUT, without) },
        Plain { takes: |types, _| takes_path(types), ..json(WITHOUT_PATH, without_path) },
        Plain { takes: |types, _| takes_set(types), ..json("jsonb_set", set) },
        json("jsonb_strip_nulls", |call| each(call, |tree| Ok(tree.stripped()))),
        Plain {
            gives: |_, _| Ok(Given::Type(DataType::Utf8)),
            ..json("jsonb_pretty", |call| {
                let pretty = |text: &str| {
                    let mut out = String::new();
                    Tree::of(Value::of(text)).pretty(0, &mut out);
                    out
                };
                Ok(Arc::new(call.text(0)?.iter().map(|text| text.map(pretty)).collect::<StringArray>()))
            })
        },
    ]
}

fn takes_key(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [json, of] if is_text(json) && of.is_integer() => Ok(vec![DataType::Utf8, DataType::Int64]),
        [json, DataType::List(_)] if is_text(json) => Ok(vec![DataType::Utf8, list(DataType::Utf8)]),
        types => takes_texts(types, 2),
    }
}

fn takes_set(types: &[DataType]) -> Result<Vec<DataType>> {
    match types {
        [json, path, new, rest @ ..] if is_text(new) && matches!(rest, [] | [DataType::Boolean]) => {
            let mut taken = takes_path(&[json.clone(), path.clone()])?;
            taken.push(DataType::Utf8);
            taken.extend(rest.iter().cloned());
            Ok(taken)
        }
        _ => Err(wrong("jsonb_set takes json, a path, and json: jsonb_set(x, '{a,b}', to_jsonb(y))")),
    }
}

/// A json value, taken apart.
#[derive(Debug, Clone)]
enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    Leaf(String),
}

impl Tree {
    fn of(value: Value) -> Tree {
        match value.kind() {
            Kind::Object => Tree::Object(
                value.members().map(|(key, member)| (key.into_owned(), Tree::of(member))).collect(),
            ),
            Kind::Array => Tree::Array(value.elements().map(Tree::of).collect()),
            _ => Tree::Leaf(value.0.to_owned()),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Tree::Object(members) => {
                out.push('{');
                for (at, (key, member)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    quoted(key, out);
                    out.push_str(": ");
                    member.write(out);
                }
                out.push('}');
            }
            Tree::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    out.push_str(if at > 0 { ", " } else { "" });
                    element.write(out);
                }
                out.push(']');
            }
            Tree::Leaf(text) => out.push_str(text),
        }
    }

    fn pretty(&self, depth: usize, out: &mut String) {
        let line = |out: &mut String, depth: usize| {
            let _ = write!(out, "\n{}", "    ".repeat(depth));
        };
        match self {
            Tree::Object(members) => {
                out.push('{');
                for (at, (key, member)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    line(out, depth + 1);
                    quoted(key, out);
                    out.push_str(": ");
                    member.pretty(depth + 1, out);
                }
                line(out, depth);
                out.push('}');
            }
            Tree::Array(elements) => {
                out.push('[');
                for (at, element) in elements.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    line(out, depth + 1);
                    element.pretty(depth + 1, out);
                }
                line(out, depth);
                out.push(']');
            }
            Tree::Leaf(text) => out.push_str(text),
        }
    }

    fn stripped(self) -> Tree {
        match self {
            Tree::Object(members) => {
                let kept =
                    members.into_iter().filter(|(_, of)| !matches!(of, Tree::Leaf(text) if text == "null"));
                Tree::Object(kept.map(|(key, member)| (key, member.stripped())).collect())
            }
            Tree::Array(elements) => Tree::Array(elements.into_iter().map(Tree::stripped).collect()),
            leaf @ Tree::Leaf(_) => leaf,
        }
    }

    fn elements(self) -> Vec<Tree> {
        match self {
            Tree::Array(elements) => elements,
            other => vec![other],
        }
    }

    /// Two objects as one; what else is joined as arrays.
    fn joined(self, other: Tree) -> Result<Tree> {
        match (self, other) {
            (Tree::Object(mut one), Tree::Object(other)) => {
                one.extend(other);
                Ok(Tree::Object(one))
            }
            (one, other) => {
                let mut all = one.elements();
                all.extend(other.elements());
                Ok(Tree::Array(all))
            }
        }
    }

    fn without(self, key: &str) -> Result<Tree> {
        match self {
            Tree::Object(members) => {
                Ok(Tree::Object(members.into_iter().filter(|(name, _)| name != key).collect()))
            }
            Tree::Array(elements) => {
                let named = |of: &Tree| matches!(of, Tree::Leaf(text) if text.starts_with('"') && super::scan::unquoted(text) == key);
                Ok(Tree::Array(elements.into_iter().filter(|of| !named(of)).collect()))
            }
            Tree::Leaf(_) => Err(wrong("cannot delete from scalar")),
        }
    }

    fn without_element(self, at: i64) -> Result<Tree> {
        match self {
            Tree::Array(mut elements) => {
                if let Some(at) = place(at, elements.len()) {
                    elements.remove(at);
                }
                Ok(Tree::Array(elements))
            }
            Tree::Object(_) => Err(wrong("cannot delete from object using integer index")),
            Tree::Leaf(_) => Err(wrong("cannot delete from scalar")),
        }
    }

    fn without_path(self, path: &[String]) -> Result<Tree> {
        let Some((step, rest)) = path.split_first() else { return Ok(self) };
        match self {
            Tree::Object(members) if rest.is_empty() => Tree::Object(members).without(step),
            Tree::Object(members) => {
                let each = members.into_iter().map(|(key, member)| {
                    let member = if key == *step { member.without_path(rest)? } else { member };
                    Ok((key, member))
                });
                Ok(Tree::Object(each.collect::<Result<_>>()?))
            }
            Tree::Array(mut elements) => {
                let at = place(index(step)?, elements.len());
                match (at, rest.is_empty()) {
                    (Some(at), true) => {
                        elements.remove(at);
                    }
                    (Some(at), false) => elements[at] = elements[at].clone().without_path(rest)?,
                    (None, _) => {}
                }
                Ok(Tree::Array(elements))
            }
            Tree::Leaf(text) => Ok(Tree::Leaf(text)),
        }
    }

    fn set(self, path: &[String], new: &Tree, create: bool) -> Result<Tree> {
        let Some((step, rest)) = path.split_first() else { return Ok(self) };
        match self {
            Tree::Object(mut members) => {
                match members.iter_mut().find(|(key, _)| key == step) {
                    Some((_, member)) if rest.is_empty() => *member = new.clone(),
                    Some((_, member)) => *member = member.clone().set(rest, new, create)?,
                    None if rest.is_empty() && create => members.push((step.clone(), new.clone())),
                    None => {}
                }
                Ok(Tree::Object(members))
            }
            Tree::Array(mut elements) => {
                let at = index(step)?;
                match place(at, elements.len()) {
                    Some(at) if rest.is_empty() => elements[at] = new.clone(),
                    Some(at) => elements[at] = elements[at].clone().set(rest, new, create)?,
                    None if rest.is_empty() && create && at < 0 => elements.insert(0, new.clone()),
                    None if rest.is_empty() && create => elements.push(new.clone()),
                    None => {}
                }
                Ok(Tree::Array(elements))
            }
            Tree::Leaf(text) => Ok(Tree::Leaf(text)),
        }
    }
}

fn index(step: &str) -> Result<i64> {
    step.trim().parse().map_err(|_| wrong(format!("path element is not an integer: \"{step}\"")))
}

/// An element's place, counted from the end where it is negative.
fn place(at: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let at = if at < 0 { at + length } else { at };
    (0..length).contains(&at).then(|| usize::try_from(at).ok()).flatten()
}

fn printed(tree: &Tree) -> Result<String> {
    let mut out = String::new();
    tree.write(&mut out);
    normal(&out).ok_or_else(|| exec_datafusion_err!("{out} is no json"))
}

fn each(call: &Call, change: impl Fn(Tree) -> Result<Tree>) -> Result<ArrayRef> {
    let row = |text: Option<&str>| match text {
        Some(text) => printed(&change(Tree::of(Value::of(text)))?).map(Some),
        None => Ok(None),
    };
    Ok(Arc::new(call.text(0)?.iter().map(row).collect::<Result<StringArray>>()?))
}

fn joined(call: &Call) -> Result<ArrayRef> {
    let rows = call.text(0)?.iter().zip(call.text(1)?).map(|(one, other)| match (one, other) {
        (Some(one), Some(other)) => {
            // What is written beside it is json, too, or an error.
            let other =
                normal(other).ok_or_else(|| wrong(format!("invalid input syntax for type json: {other}")))?;
            printed(&Tree::of(Value::of(one)).joined(Tree::of(Value::of(&other)))?).map(Some)
        }
        _ => Ok(None),
    });
    Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
}

fn without(call: &Call) -> Result<ArrayRef> {
    let (json, key) = (call.text(0)?, call.arg(1)?);
    let row = |row: usize| -> Result<Option<String>> {
        if json.is_null(row) || key.is_null(row) {
            return Ok(None);
        }
        let tree = Tree::of(Value::of(json.value(row)));
        let left = match (key.as_primitive_opt::<Int64Type>(), key.as_list_opt::<i32>()) {
            (Some(places), _) => tree.without_element(places.value(row))?,
            (_, Some(lists)) => {
                let names = lists.value(row);
                let names = names.as_string_opt::<i32>().ok_or_else(not_json)?;
                names.iter().flatten().try_fold(tree, |tree, name| tree.without(name))?
            }
            _ => tree.without(call.text(1)?.value(row))?,
        };
        printed(&left).map(Some)
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Result<StringArray>>()?))
}

fn without_path(call: &Call) -> Result<ArrayRef> {
    let json = call.text(0)?;
    let row = |row: usize| -> Result<Option<String>> {
        let Some(steps) = super::steps_of(call.arg(1)?, row)?.filter(|_| !json.is_null(row)) else {
            return Ok(None);
        };
        let tree = Tree::of(Value::of(json.value(row)));
        if matches!(tree, Tree::Leaf(_)) {
            return Err(wrong("cannot delete path in scalar"));
        }
        printed(&tree.without_path(&steps)?).map(Some)
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Result<StringArray>>()?))
}

fn set(call: &Call) -> Result<ArrayRef> {
    let (json, new) = (call.text(0)?, call.text(2)?);
    let create: Option<&BooleanArray> = call.args.get(3).and_then(|of| of.as_boolean_opt());
    let row = |row: usize| -> Result<Option<String>> {
        let missing = json.is_null(row) || new.is_null(row) || create.is_some_and(|of| of.is_null(row));
        let Some(steps) = super::steps_of(call.arg(1)?, row)?.filter(|_| !missing) else { return Ok(None) };
        let tree = Tree::of(Value::of(json.value(row)));
        if matches!(tree, Tree::Leaf(_)) {
            return Err(wrong("cannot set path in scalar"));
        }
        let empty = matches!(&tree, Tree::Object(of) if of.is_empty())
            || matches!(&tree, Tree::Array(of) if of.is_empty());
        if empty && create.is_some_and(|of| !of.value(row)) {
            return printed(&tree).map(Some);
        }
        let new = normal(new.value(row)).ok_or_else(not_json)?;
        let new = Tree::of(Value::of(&new));
        printed(&tree.set(&steps, &new, create.is_none_or(|of| of.value(row)))?).map(Some)
    };
    Ok(Arc::new((0..call.rows).map(row).collect::<Result<StringArray>>()?))
}
