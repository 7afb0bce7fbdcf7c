//! Arrays: comparisons with any and all of their elements, what one has of another, and parts of them. An element that
//! is NULL equals none, as in Postgres.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, Scalar, UInt32Array, UInt64Array,
    new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::cmp;
use arrow::compute::{concat, filter, take};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;

use super::plain::{Call, Given, Plain};
use super::series::list;
use super::wrong;

/// `x op ANY (array)`, by the operator; `x op ALL (array)`.
pub const ANY: [(&str, &str); 6] = [
    ("=", "starmill any ="),
    ("<>", "starmill any <>"),
    ("<", "starmill any <"),
    ("<=", "starmill any <="),
    (">", "starmill any >"),
    (">=", "starmill any >="),
];
pub const ALL: [(&str, &str); 6] = [
    ("=", "starmill all ="),
    ("<>", "starmill all <>"),
    ("<", "starmill all <"),
    ("<=", "starmill all <="),
    (">", "starmill all >"),
    (">=", "starmill all >="),
];
pub const CONTAINS: &str = "starmill contains";
pub const OVERLAPS: &str = "starmill overlaps";
pub const SLICE: &str = "starmill slice";
pub const ELEMENT_AT: &str = "starmill element";
pub const REMOVE: &str = "starmill array remove";

pub fn all() -> Vec<Plain> {
    let compared = ANY.iter().chain(&ALL).map(|(_, name)| Plain {
        name,
        takes: |types, _| takes_element(types),
        gives: |_, _| Ok(Given::Type(DataType::Boolean)),
        work: compared,
    });
    let both = [(CONTAINS, contains as fn(&Call) -> Result<ArrayRef>), (OVERLAPS, overlaps)];
    let both = both.map(|(name, work)| Plain {
        name,
        takes: |types, _| takes_both(types),
        gives: |_, _| Ok(Given::Type(DataType::Boolean)),
        work,
    });
    let remove = Plain {
        name: REMOVE,
        takes: |types, _| match types {
            [DataType::List(element), _] => {
                Ok(vec![list(element.data_type().clone()), element.data_type().clone()])
            }
            _ => Err(wrong("array_remove takes an array and an element")),
        },
        gives: |types, _| Ok(Given::Type(types.first().cloned().unwrap_or(DataType::Null))),
        work: removed,
    };
    let ends = [("array_upper", upper as fn(&Call) -> Result<ArrayRef>), ("array_lower", lower)];
    let ends = ends.map(|(name, work)| Plain {
        name,
        takes: |types, _| match types {
            [DataType::List(of), _] => Ok(vec![DataType::List(Arc::clone(of)), DataType::Int64]),
            _ => Err(not_arrays()),
        },
        gives: |_, _| Ok(Given::Type(DataType::Int32)),
        work,
    });
    let slice = Plain { name: SLICE, takes: takes_slice, gives: gives_same, work: slice };
    let or_empty = Plain {
        name: OR_EMPTY,
        takes: |types, _| Ok(types.to_vec()),
        gives: gives_same,
        work: empty_where_null,
    };
    let element_at = Plain {
        name: ELEMENT_AT,
        takes: |types, _| match types {
            [DataType::List(_), of] if of.is_integer() || of.is_null() => {
                Ok(vec![types[0].clone(), DataType::Int64])
            }
            [DataType::List(_), _] => Err(wrong("an element is asked for by its number")),
            _ => Err(not_arrays()),
        },
        gives: |types, _| match types.first().and_then(element) {
            Some(of) => Ok(Given::Type(of.clone())),
            None => Err(not_arrays()),
        },
        work: element_at,
    };
    compared.chain(both).chain(ends).chain([slice, element_at, remove, NON_EMPTY, or_empty]).collect()
}

/// An array without the elements that are a value; NULL is one like others here.
fn removed(call: &Call) -> Result<ArrayRef> {
    let (lists, values) = (call.arg(0)?.as_list::<i32>(), call.arg(1)?);
    let mut kept: Vec<Option<ArrayRef>> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if lists.is_null(row) {
            kept.push(None);
            continue;
        }
        let (elements, value) = (lists.value(row), Scalar::new(values.slice(row, 1)));
        kept.push(Some(filter(&elements, &cmp::distinct(&elements, &value)?)?));
    }
    let parts: Vec<&dyn Array> = kept.iter().flatten().map(|part| part.as_ref() as &dyn Array).collect();
    let field = match lists.data_type() {
        DataType::List(field) => Arc::clone(field),
        _ => return Err(not_arrays()),
    };
    let elements = match parts.is_empty() {
        true => arrow::array::new_empty_array(field.data_type()),
        false => concat(&parts)?,
    };
    let lengths = kept.iter().map(|part| part.as_ref().map_or(0, |part| part.len()));
    let nulls = NullBuffer::from_iter(kept.iter().map(Option::is_some));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), elements, Some(nulls))?))
}

const NON_EMPTY: Plain = Plain {
    name: "starmill nonempty",
    takes: |types, _| Ok(types.to_vec()),
    gives: gives_same,
    work: null_where_empty,
};
pub const OR_EMPTY: &str = "starmill or empty";

/// A list, and NULL in the place of one without elements.
pub fn or_null(list: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(NON_EMPTY.udf(Tz::UTC)), vec![list]))
}

fn not_arrays() -> datafusion::common::DataFusionError {
    wrong("an array is expected: ARRAY[1, 2], string_to_array(x, ','), array_agg(x ORDER BY y)")
}

fn element(of: &DataType) -> Option<&DataType> {
    match of {
        DataType::List(field) => Some(field.data_type()),
        _ => None,
    }
}

fn takes_element(types: &[DataType]) -> Result<Vec<DataType>> {
    let [one, DataType::List(_)] = types else { return Err(not_arrays()) };
    let of = element(&types[1]).and_then(|of| comparison_coercion(one, of));
    let of = of.ok_or_else(|| wrong("ANY and ALL compare a value with an array of its type"))?;
    Ok(vec![of.clone(), list(of)])
}

fn takes_both(types: &[DataType]) -> Result<Vec<DataType>> {
    let [left, right] = types else { return Err(not_arrays()) };
    let (Some(left), Some(right)) = (element(left), element(right)) else { return Err(not_arrays()) };
    let of =
        comparison_coercion(left, right).ok_or_else(|| wrong("both arrays have elements of one type"))?;
    Ok(vec![list(of.clone()), list(of)])
}

fn takes_slice(types: &[DataType], _: Tz) -> Result<Vec<DataType>> {
    match types {
        [DataType::List(_), _, _] => Ok(vec![types[0].clone(), DataType::Int64, DataType::Int64]),
        _ => Err(not_arrays()),
    }
}

fn gives_same(types: &[DataType], _: Tz) -> Result<Given> {
    types.first().cloned().map(Given::Type).ok_or_else(not_arrays)
}

fn lists(array: &ArrayRef) -> Result<&ListArray> {
    array.as_list_opt::<i32>().ok_or_else(not_arrays)
}

/// The element of a number, counted from 1; NULL where there is none.
fn element_at(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call.arg(0)?)?;
    let numbers = call.arg(1)?.as_primitive::<Int64Type>();
    let offsets = lists.value_offsets();
    let place = |row: usize| {
        if lists.is_null(row) || numbers.is_null(row) {
            return None;
        }
        let at = numbers.value(row).checked_sub(1)?;
        let inside = (0..i64::from(lists.value_length(row))).contains(&at);
        inside.then(|| u64::try_from(i64::from(offsets[row]) + at).ok()).flatten()
    };
    let places: UInt64Array = (0..call.rows).map(place).collect();
    Ok(take(lists.values(), &places, None)?)
}

/// The rows that the elements of lists stand in.
fn owners(lists: &ListArray) -> UInt32Array {
    let owner = |row: usize| {
        let length = if lists.is_null(row) { 0 } else { lists.value_length(row) };
        std::iter::repeat_n(row as u32, usize::try_from(length).unwrap_or(0))
    };
    (0..lists.len()).flat_map(owner).collect()
}

/// The elements of all rows, in order, whatever lies between them in memory.
fn elements(lists: &ListArray) -> Result<ArrayRef> {
    let within = |row: usize| {
        let (start, length) = (lists.value_offsets()[row], lists.value_length(row));
        let end = if lists.is_null(row) { start } else { start + length };
        (start..end).map(|at| u64::try_from(at).unwrap_or(0))
    };
    let at: UInt64Array = (0..lists.len()).flat_map(within).collect();
    Ok(take(lists.values(), &at, None)?)
}

fn compared(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call.arg(1)?)?;
    let owners = owners(lists);
    let (one, each) = (take(call.arg(0)?, &owners, None)?, elements(lists)?);
    let words = call.name.trim_start_matches("starmill ");
    let (which, op) = words.split_once(' ').unwrap_or((words, "="));
    let found = match op {
        "=" => cmp::eq(&one, &each),
        "<>" => cmp::neq(&one, &each),
        "<" => cmp::lt(&one, &each),
        "<=" => cmp::lt_eq(&one, &each),
        ">" => cmp::gt(&one, &each),
        _ => cmp::gt_eq(&one, &each),
    }?;
    // ANY is decided by one that is true, ALL by one that is false; else by one that is not known.
    let decides = which == "any";
    let mut answers: Vec<Option<bool>> = vec![Some(!decides); lists.len()];
    for (row, answer) in owners.values().iter().zip(&found) {
        let known = &mut answers[*row as usize];
        match answer {
            Some(answer) if answer == decides => *known = Some(decides),
            None if *known != Some(decides) => *known = None,
            _ => {}
        }
    }
    for (row, answer) in answers.iter_mut().enumerate() {
        if lists.is_null(row) {
            *answer = None;
        }
    }
    Ok(Arc::new(BooleanArray::from(answers)))
}

/// The elements of two arrays in a form in which they are compared byte by byte.
fn comparable(left: &ListArray, right: &ListArray) -> Result<(Rows, Rows)> {
    let converter = RowConverter::new(vec![SortField::new(left.values().data_type().clone())])?;
    let rows = |array: &ListArray| converter.convert_columns(&[Arc::clone(array.values())]);
    Ok((rows(left)?, rows(right)?))
}

fn range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = lists.value_offsets();
    let at = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
    at(row)..at(row + 1)
}

fn related(call: &Call, every: bool) -> Result<ArrayRef> {
    let (left, right) = (lists(call.arg(0)?)?, lists(call.arg(1)?)?);
    let (of_left, of_right) = comparable(left, right)?;
    let has = |row: usize, element: usize| {
        !right.values().is_null(element)
            && range(left, row)
                .any(|at| !left.values().is_null(at) && of_left.row(at) == of_right.row(element))
    };
    let answer = |row: usize| {
        (!left.is_null(row) && !right.is_null(row)).then(|| match every {
            true => range(right, row).all(|element| has(row, element)),
            false => range(right, row).any(|element| has(row, element)),
        })
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<BooleanArray>()))
}

/// `a @> b`: every element of b is one of a.
fn contains(call: &Call) -> Result<ArrayRef> {
    related(call, true)
}

/// `a && b`: some element of b is one of a.
fn overlaps(call: &Call) -> Result<ArrayRef> {
    related(call, false)
}

fn ends(call: &Call, of: impl Fn(i32) -> i32) -> Result<ArrayRef> {
    let (lists, dimension) = (lists(call.arg(0)?)?, call.arg(1)?.as_primitive::<Int64Type>());
    let end = |row: usize| {
        let empty = lists.is_null(row) || lists.value_length(row) == 0;
        (!empty && !dimension.is_null(row) && dimension.value(row) == 1).then(|| of(lists.value_length(row)))
    };
    Ok(Arc::new((0..call.rows).map(end).collect::<Int32Array>()))
}

fn upper(call: &Call) -> Result<ArrayRef> {
    ends(call, |length| length)
}

fn lower(call: &Call) -> Result<ArrayRef> {
    ends(call, |_| 1)
}

/// `a[from:to]`: the elements that there are between the two.
fn slice(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call.arg(0)?)?;
    let bound = |at: usize| call.arg(at).map(|array| array.as_primitive::<Int64Type>().clone());
    let (from, to) = (bound(1)?, bound(2)?);
    let (mut at, mut lengths, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..call.rows {
        let known = !lists.is_null(row) && !from.is_null(row) && !to.is_null(row);
        let range = range(lists, row);
        let mut length = 0;
        if known {
            let first = usize::try_from(from.value(row).max(1) - 1).unwrap_or(0);
            let last = usize::try_from(to.value(row).max(0)).unwrap_or(0).min(range.len());
            length = last.saturating_sub(first);
            at.extend((first..first + length).map(|offset| (range.start + offset) as u64));
        }
        lengths.push(length);
        whole.push(known);
    }
    let values = take(lists.values(), &UInt64Array::from(at), None)?;
    rebuilt(values, lengths, whole)
}

fn rebuilt(values: ArrayRef, lengths: Vec<usize>, whole: Vec<bool>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(NullBuffer::from(whole)))?))
}

fn null_where_empty(call: &Call) -> Result<ArrayRef> {
    let given = call.arg(0)?;
    let Some(lists) = given.as_list_opt::<i32>() else {
        return Ok(new_null_array(given.data_type(), call.rows));
    };
    let whole = (0..lists.len()).map(|row| !lists.is_null(row) && lists.value_length(row) > 0);
    let nulls = NullBuffer::from(whole.collect::<Vec<bool>>());
    let DataType::List(field) = lists.data_type() else { return Err(not_arrays()) };
    let (offsets, values) = (lists.offsets().clone(), Arc::clone(lists.values()));
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, Some(nulls))?))
}

fn empty_where_null(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call.arg(0)?)?;
    let lengths = (0..lists.len()).map(|row| range(lists, row).len()).collect();
    rebuilt(elements(lists)?, lengths, vec![true; lists.len()])
}
