//! Enums, which travel as the texts of their labels, in the order in which those were declared: where they are compared,
//! sorted, or the least of them is asked for, by the place of their label.

use std::sync::Arc;

use arrow::array::{AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{InList, ScalarFunction, Sort};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Between, BinaryExpr, ColumnarValue, Distinct, Expr, ExprSchemable, LogicalPlan,
    LogicalPlanBuilder, Operator, Projection, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, Window,
};

use super::functions::{given, wrong};
use super::refuse::kinds::{self, Enum};
use super::rewrite::is_comparison;

pub const PLACE: &str = "starmill place of label";
pub const LABEL: &str = "starmill label";

/// A comparison, or a choice, of enums by the places of their labels; None where none is one.
pub fn by_place(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let one_of = |values: &[&Expr]| values.iter().find_map(|value| kinds::enum_of(value, schema));
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) =>
        {
            let of = one_of(&[left, right])?;
            let (left, right) = (placed(left, &of, schema)?, placed(right, &of, schema)?);
            Some(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op: *op, right: Box::new(right) }))
        }
        Expr::Between(between) => {
            let of = one_of(&[&between.expr, &between.low, &between.high])?;
            let side = |side: &Expr| placed(side, &of, schema).map(Box::new);
            Some(Expr::Between(Between {
                expr: side(&between.expr)?,
                negated: between.negated,
                low: side(&between.low)?,
                high: side(&between.high)?,
            }))
        }
        Expr::ScalarFunction(function) if ["greatest", "least"].contains(&function.func.name()) => {
            let of = one_of(&function.args.iter().collect::<Vec<_>>())?;
            let args = function.args.iter().map(|arg| placed(arg, &of, schema)).collect::<Option<_>>()?;
            let chosen = ScalarFunction::new_udf(Arc::clone(&function.func), args);
            Some(label(Expr::ScalarFunction(chosen), &of))
        }
        Expr::AggregateFunction(function) => {
            let mut function = function.clone();
            sorted(&mut function.params.order_by, schema).then(|| Expr::AggregateFunction(function))
        }
        Expr::WindowFunction(window) => {
            let mut window = window.clone();
            sorted(&mut window.params.order_by, schema).then(|| Expr::WindowFunction(window))
        }
        _ => None,
    }
}

/// A text that is no label is an error where an enum is meant, and not another value.
pub fn require_labels(expr: &Expr, schema: &DFSchema) -> Result<()> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            meet(&[left, right], schema)
        }
        Expr::InList(InList { expr: value, list, .. }) => {
            meet(&std::iter::once(&**value).chain(list).collect::<Vec<_>>(), schema)
        }
        Expr::Between(between) => meet(&[&between.expr, &between.low, &between.high], schema),
        Expr::ScalarFunction(function) if kinds::CHOOSE.contains(&function.func.name()) => {
            meet(&function.args.iter().collect::<Vec<_>>(), schema)
        }
        Expr::Case(case) => {
            let whens = case.when_then_expr.iter().map(|(when, _)| &**when);
            meet(&case.expr.as_deref().into_iter().chain(whens).collect::<Vec<_>>(), schema)?;
            let results = case.when_then_expr.iter().map(|(_, then)| &**then);
            meet(&results.chain(case.else_expr.as_deref()).collect::<Vec<_>>(), schema)
        }
        _ => Ok(()),
    }
}

/// Texts that are written out beside an enum are labels of it.
fn meet(values: &[&Expr], schema: &DFSchema) -> Result<()> {
    let Some(of) = values.iter().find_map(|value| kinds::enum_of(value, schema)) else { return Ok(()) };
    for value in values {
        if let Expr::Literal(value, _) = value
            && let Some(text) = value.try_as_str().flatten()
        {
            of.place(text)?;
        }
    }
    Ok(())
}

impl Enum {
    fn place(&self, text: &str) -> Result<i32> {
        let place = self.labels.iter().position(|label| label == text);
        place
            .and_then(|place| i32::try_from(place).ok())
            .ok_or_else(|| wrong(format!("invalid input value for enum {}: \"{text}\"", self.name)))
    }
}

/// `mode` and `percentile_disc` of one fraction give one of the values, too.
fn is_of_order(name: &str, args: &[Expr], schema: &DFSchema) -> bool {
    match (name, args) {
        ("mode", [_]) => true,
        ("percentile_disc", [_, of]) => of.get_type(schema).is_ok_and(|of| of.is_numeric()),
        _ => false,
    }
}

/// The least or the largest of enums: the call that gives its place, and the enum whose label stands there.
pub fn extreme(call: &Expr, schema: &DFSchema) -> Option<(Expr, Enum)> {
    let is_one = |name: &str| ["min", "max"].contains(&name);
    match call {
        Expr::AggregateFunction(function)
            if is_one(function.func.name())
                || is_of_order(function.func.name(), &function.params.args, schema) =>
        {
            let first = function.params.args.first()?;
            let of = kinds::enum_of(first, schema)?;
            let mut function = function.clone();
            let placed = placed(first, &of, schema)?;
            *function.params.args.first_mut()? = placed;
            Some((Expr::AggregateFunction(function), of))
        }
        Expr::WindowFunction(window) if is_one(window.fun.name()) => {
            let first = window.params.args.first()?;
            let of = kinds::enum_of(first, schema)?;
            let mut window = window.clone();
            let placed = placed(first, &of, schema)?;
            *window.params.args.first_mut()? = placed;
            Some((Expr::WindowFunction(window), of))
        }
        _ => None,
    }
}

/// Puts the place of its label where an enum is sorted by.
fn by_its_place(key: &mut Expr, schema: &DFSchema) -> bool {
    let place = kinds::enum_of(key, schema).and_then(|of| placed(key, &of, schema));
    let is_one = place.is_some();
    if let Some(place) = place {
        *key = place;
    }
    is_one
}

/// Sorts by places what is sorted by enums.
fn sorted(keys: &mut [Sort], schema: &DFSchema) -> bool {
    let mut any = false;
    for key in keys {
        any |= by_its_place(&mut key.expr, schema);
    }
    any
}

/// The same in an ORDER BY and a DISTINCT ON.
pub fn sorted_node(node: LogicalPlan) -> LogicalPlan {
    match node {
        LogicalPlan::Sort(mut sort) => {
            let schema = Arc::clone(sort.input.schema());
            sorted(&mut sort.expr, &schema);
            LogicalPlan::Sort(sort)
        }
        LogicalPlan::Distinct(Distinct::On(mut on)) => {
            let schema = Arc::clone(on.input.schema());
            if let Some(keys) = &mut on.sort_expr {
                sorted(keys, &schema);
            }
            for key in &mut on.on_expr {
                by_its_place(key, &schema);
            }
            LogicalPlan::Distinct(Distinct::On(on))
        }
        node => node,
    }
}

/// The place of a value's label. A text is one that is written out; what is none is no enum in Postgres, either.
fn placed(value: &Expr, of: &Enum, schema: &DFSchema) -> Option<Expr> {
    let is_one = kinds::enum_of(value, schema).is_some_and(|known| known == *of);
    let is_written = matches!(value, Expr::Literal(..));
    if !is_one && !is_written {
        return None;
    }
    let place = ScalarUDF::new_from_impl(Place {
        of: of.clone(),
        signature: Signature::any(1, Volatility::Immutable),
    });
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(place), vec![value.clone()])))
}

pub fn label(place: Expr, of: &Enum) -> Expr {
    let label = ScalarUDF::new_from_impl(Label {
        of: of.clone(),
        signature: Signature::any(1, Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(label), vec![place]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    of: Enum,
    signature: Signature,
}

impl ScalarUDFImpl for Place {
    fn name(&self) -> &str {
        PLACE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("one label has a place")) };
        let rows = super::functions::rows_of(&args.args, args.number_rows);
        let labels = cast(&value.to_array(rows)?, &DataType::Utf8)?;
        let place = |label: Option<&str>| label.map(|label| self.of.place(label)).transpose();
        let places = labels.as_string::<i32>().iter().map(place).collect::<Result<Int32Array>>()?;
        given(Arc::new(places), &args.args)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Label {
    of: Enum,
    signature: Signature,
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        LABEL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(kinds::an_enum(Field::new(LABEL, DataType::Utf8, true), &self.of)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else { return Err(wrong("one place has a label")) };
        let rows = super::functions::rows_of(&args.args, args.number_rows);
        let places = value.to_array(rows)?;
        let places = places.as_primitive::<Int32Type>().iter();
        let label = |place: Option<i32>| self.of.labels.get(usize::try_from(place?).ok()?);
        let labels: StringArray = places.map(label).collect();
        given(Arc::new(labels), &args.args)
    }
}

/// What a step gives of a value that is no text in Postgres is none, either: where the engine forgets it, it is said again.
pub fn kept(node: LogicalPlan) -> Result<LogicalPlan> {
    let (exprs, below): (&[Expr], usize) = match &node {
        LogicalPlan::Projection(Projection { expr, .. }) => (expr, 0),
        LogicalPlan::Window(Window { window_expr, input, .. }) => {
            (window_expr, input.schema().fields().len())
        }
        LogicalPlan::Aggregate(Aggregate { aggr_expr, schema, .. }) => {
            (aggr_expr, schema.fields().len() - aggr_expr.len())
        }
        _ => return Ok(node),
    };
    let input = merge_schema(&node.inputs());
    let forgotten = exprs.iter().enumerate().filter_map(|(at, expr)| {
        let said = kinds::said_of(expr, &input)?;
        let field = node.schema().fields().get(below + at)?;
        (!kinds::is_said(field, &said)).then_some((below + at, said))
    });
    let forgotten: Vec<(usize, FieldMetadata)> = forgotten.collect();
    if forgotten.is_empty() {
        return Ok(node);
    }
    let columns = node.schema().iter().enumerate().map(|(at, (qualifier, field))| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match forgotten.iter().find(|(of, _)| *of == at) {
            Some((_, said)) => {
                column.alias_qualified_with_metadata(qualifier.cloned(), field.name(), Some(said.clone()))
            }
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(node).project(columns)?.build()
}
