//! Values of several types that meet - compared, or one of them given - become one type as in Postgres: a day among
//! instants is an instant, a numeric among doubles a double, and a text that is written out is whatever the others are.

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, Case, Expr, ExprSchemable, cast};

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
}

impl Met {
    /// Values that are compared: a numeric meets a double and a real as a double.
    fn compared<'a>(values: impl Iterator<Item = &'a Expr> + Clone, schema: &DFSchema) -> Met {
        let met = Met::given(values, schema);
        Met { floating: met.floating.map(|_| DataType::Float64), json: false, ..met }
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
        let floating = types.filter(|of| of.is_floating()).max_by_key(|of| *of == DataType::Float64);
        Met { instant, floating, element, json }
    }

    fn is_nothing(&self) -> bool {
        self.instant.is_none() && self.floating.is_none() && self.element.is_none() && !self.json
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
        *value = match (of, &self.instant, &self.floating) {
            (_, Some(instant), _) => as_instant(taken, instant, schema),
            (Ok(of), None, Some(floating)) if is_decimal(&of) => cast(taken, floating.clone()),
            _ => taken,
        };
    }
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
