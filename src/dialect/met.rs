//! Values of several types that meet - compared, or one of them given - become one type as in Postgres: a day among
//! instants is an instant, a numeric among doubles a double, and a text that is written out is whatever the others are.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use chrono_tz::Tz;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::{Between, Case, Cast, Expr, ExprSchemable, cast};

use super::functions::padded::is_bpchar;
use super::functions::{array_text, json, named};
use super::meaning::is_timestamp;
use super::refuse::kinds::is_jsonb;
use super::rewrite::is_decimal;

pub fn between(mut between: Between, schema: &DFSchema) -> Transformed<Expr> {
    let met = Met::compared([&*between.expr, &*between.low, &*between.high].into_iter(), schema);
    if met.is_nothing() {
        return Transformed::no(Expr::Between(between));
    }
    met.make(&mut between.expr, schema);
    met.make(&mut between.low, schema);
    met.make(&mut between.high, schema);
    Transformed::yes(Expr::Between(between))
}

pub fn in_list(mut list: InList, schema: &DFSchema) -> Transformed<Expr> {
    let all = || std::iter::once(&*list.expr).chain(&list.list);
    if all().any(is_bpchar) {
        list.expr = Box::new(without_blanks(*list.expr));
        list.list = list.list.into_iter().map(without_blanks).collect();
        return Transformed::yes(Expr::InList(list));
    }
    let met = Met::compared(all(), schema);
    if met.is_nothing() {
        return Transformed::no(Expr::InList(list));
    }
    met.make(&mut list.expr, schema);
    list.list.iter_mut().for_each(|item| met.make(item, schema));
    Transformed::yes(Expr::InList(list))
}

pub fn case(mut case: Case, schema: &DFSchema) -> Transformed<Expr> {
    let whens = case.when_then_expr.iter().map(|(when, _)| &**when);
    let compared = match case.expr.as_deref() {
        Some(of) => Met::compared(std::iter::once(of).chain(whens), schema),
        None => Met::default(),
    };
    let results = case.when_then_expr.iter().map(|(_, then)| &**then);
    let given = Met::given(results.chain(case.else_expr.as_deref()), schema);
    if compared.is_nothing() && given.is_nothing() {
        return Transformed::no(Expr::Case(case));
    }
    case.expr.iter_mut().for_each(|of| compared.make(of, schema));
    for (when, then) in &mut case.when_then_expr {
        compared.make(when, schema);
        given.make(then, schema);
    }
    case.else_expr.iter_mut().for_each(|of| given.make(of, schema));
    Transformed::yes(Expr::Case(case))
}

/// Arguments that become one type.
pub fn meeting(mut function: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let mut met = Met::given(function.args.iter(), schema);
    // Of json, nothing but a choice is known: what is compared is refused.
    met.json &= function.func.name() == "coalesce";
    // They say their type of all their arguments.
    met.common = None;
    if met.is_nothing() {
        return Transformed::no(Expr::ScalarFunction(function));
    }
    function.args.iter_mut().for_each(|arg| met.make(arg, schema));
    Transformed::yes(Expr::ScalarFunction(function))
}

/// An instant among values that meet makes days and local times instants of its zone, as in Postgres.
pub fn instant_among<'a>(
    values: impl Iterator<Item = &'a Expr> + Clone,
    schema: &DFSchema,
) -> Option<DataType> {
    let mut types = values.clone().filter_map(|value| value.get_type(schema).ok());
    let instant = types.find(|of| matches!(of, DataType::Timestamp(_, Some(_))));
    // Beside a text that is written out a local time stays what it is, too.
    let mut written = values.clone().filter(|value| is_written(value)).take(1);
    let types = values.filter_map(|value| value.get_type(schema).ok());
    let local = |_| types.into_iter().find(is_timestamp);
    instant.or_else(|| written.next().and_then(local))
}

/// A text that is written out, which is of the type of what it meets.
pub fn is_written(value: &Expr) -> bool {
    matches!(value, Expr::Literal(ScalarValue::Utf8(Some(_)), _))
}

pub fn as_instant(expr: Expr, instant: &DataType, schema: &DFSchema) -> Expr {
    match expr.get_type(schema) {
        Ok(DataType::Date32 | DataType::Timestamp(_, None)) => cast(expr, instant.clone()),
        _ if is_written(&expr) => cast(expr, instant.clone()),
        _ => expr,
    }
}

/// Names the casts by which branches became one type, and which nobody wrote.
const MET: &str = "starmill met";

/// A branch as it was written.
pub fn as_written(branch: &Expr) -> &Expr {
    match branch {
        Expr::Cast(cast) if cast.field.name() == MET => &cast.expr,
        other => other,
    }
}

/// What values become that meet, where the engine would make other types of them.
#[derive(Debug, Default)]
struct Met {
    /// Of days and local times.
    instant: Option<DataType>,
    /// Of numerics.
    floating: Option<DataType>,
    /// Of a text that is written out beside an array: that of the array's elements.
    element: Option<DataType>,
    /// Of a text that is written out beside a jsonb.
    json: bool,
    /// Of numbers of several types, and of days among local times: what is computed of them asks before the engine has
    /// made them one type, and would take the first for all.
    common: Option<DataType>,
    /// Of a text that is written out among numerics, which has digits of its own.
    numeric: bool,
}

impl Met {
    /// Values that are compared: a numeric meets a double and a real as a double.
    fn compared<'a>(values: impl Iterator<Item = &'a Expr> + Clone, schema: &DFSchema) -> Met {
        let met = Met::given(values, schema);
        Met { floating: met.floating.map(|_| DataType::Float64), json: false, common: None, ..met }
    }

    /// Values of which one is given: a numeric is a real where only reals are, else a double.
    fn given<'a>(values: impl Iterator<Item = &'a Expr> + Clone, schema: &DFSchema) -> Met {
        let instant = instant_among(values.clone(), schema);
        let written = values.clone().any(is_written);
        let json = written && values.clone().any(|value| is_jsonb(value, schema));
        let types = values.filter_map(|value| value.get_type(schema).ok());
        let element = types.clone().find_map(|of| match of {
            DataType::List(element) if written => Some(element.data_type().clone()),
            _ => None,
        });
        let numeric = written && types.clone().any(|of| is_decimal(&of));
        let floating = types.clone().filter(|of| of.is_floating()).max_by_key(|of| *of == DataType::Float64);
        let common = common(&types.collect::<Vec<_>>());
        Met { instant, floating, element, json, common, numeric }
    }

    fn is_nothing(&self) -> bool {
        self.instant.is_none()
            && self.floating.is_none()
            && self.element.is_none()
            && self.common.is_none()
            && !self.json
            && !self.numeric
    }

    fn make(&self, value: &mut Expr, schema: &DFSchema) {
        let of = value.get_type(schema);
        let taken = std::mem::take(value);
        if let (Some(element), true) = (&self.element, is_written(&taken)) {
            *value = array_text::read(taken, element.clone());
            return;
        }
        if let (true, true, Some(as_json)) = (self.json, is_written(&taken), named(json::CAST, Tz::UTC)) {
            *value = Expr::ScalarFunction(ScalarFunction::new_udf(as_json, vec![taken]));
            return;
        }
        if let (true, Some(read)) = (self.numeric && self.floating.is_none(), as_numeric(&taken)) {
            *value = read;
            return;
        }
        if let (Some(common), Ok(of)) = (&self.common, &of)
            && of != common
            && !of.is_null()
            && !is_written(&taken)
        {
            *value = Expr::Cast(Cast::new_from_field(
                Box::new(taken),
                Arc::new(Field::new(MET, common.clone(), true)),
            ));
            return;
        }
        *value = match (of, &self.instant, &self.floating) {
            (_, Some(instant), _) => as_instant(taken, instant, schema),
            (Ok(of), None, Some(floating)) if is_decimal(&of) => cast(taken, floating.clone()),
            _ => taken,
        };
    }
}

/// The one type of numbers of several, or of days and local times; none where they have one.
pub fn common(types: &[DataType]) -> Option<DataType> {
    let known: Vec<DataType> = types.iter().filter(|of| !of.is_null()).cloned().collect();
    let first = known.first()?;
    if known.iter().all(|of| of == first) {
        return None;
    }
    let is_local = |of: &DataType| matches!(of, DataType::Date32 | DataType::Timestamp(_, None));
    if known.iter().all(is_local) {
        return known.into_iter().find(is_timestamp);
    }
    let is_number = |of: &DataType| of.is_integer() || of.is_floating() || is_decimal(of);
    let mixed = known.iter().any(DataType::is_floating) && known.iter().any(is_decimal);
    if !known.iter().all(is_number) || mixed {
        return None;
    }
    type_union_resolution(&known)
}

/// A text that is written out as the numeric that it says, with its digits.
pub fn as_numeric(value: &Expr) -> Option<Expr> {
    match value {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            written_numeric(text).map(|read| Expr::Literal(read, None))
        }
        _ => None,
    }
}

/// `1.50` as a numeric of two digits after the point.
pub fn written_numeric(text: &str) -> Option<ScalarValue> {
    let digits = text.trim();
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let (before, after) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let places = before.len() + after.len();
    if !all(before) || !all(after) || before.is_empty() || places > 38 {
        return None;
    }
    let value: i128 = format!("{before}{after}").parse().ok()?;
    let value = if digits.starts_with('-') { -value } else { value };
    let (precision, scale) = (u8::try_from(places).ok()?, i8::try_from(after.len()).ok()?);
    Some(ScalarValue::Decimal128(Some(value), precision, scale))
}

/// A literal beside a `x::bpchar`: blanks at its end are nothing, either.
pub fn without_blanks(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) => {
            Expr::Literal(ScalarValue::Utf8(Some(text.trim_end_matches(' ').to_owned())), metadata)
        }
        other => other,
    }
}
