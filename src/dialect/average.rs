//! `avg` of integers and numerics as Postgres has it: their sum divided by their count, a numeric quotient; and the
//! variances and deviations of them, quotients of their sums and of those of their squares. So is the least of enums: the
//! label at the least place.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::functions::core::nullif;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, Filter, LogicalPlan, Operator, Projection, Window,
    WindowFunctionDefinition, binary_expr, cast, lit,
};

use super::enums;
use super::functions::numeric::digits_of;
use super::functions::{quotient, sum};
use super::refuse::kinds::Enum;
use super::rewrite::is_decimal;

/// The step with each such average taken apart, and what puts it together above it.
pub fn as_quotients(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Aggregate(aggregate) => {
            let Some(parts) = apart(&aggregate.aggr_expr, aggregate.input.schema())? else {
                return Ok(LogicalPlan::Aggregate(aggregate));
            };
            let whole = Arc::clone(&aggregate.schema);
            let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
            let below = whole.fields().len() - aggr_expr.len();
            let (calls, places) = once(&parts);
            let made = Aggregate::try_new(input, group_expr, calls)?;
            together(LogicalPlan::Aggregate(made), &whole, below, &parts, &places)
        }
        LogicalPlan::Window(window) => {
            let Some(parts) = apart(&window.window_expr, window.input.schema())? else {
                return Ok(LogicalPlan::Window(window));
            };
            let whole = Arc::clone(&window.schema);
            let below = whole.fields().len() - window.window_expr.len();
            let (calls, places) = once(&parts);
            let made = Window::try_new(calls, window.input)?;
            together(LogicalPlan::Window(made), &whole, below, &parts, &places)
        }
        node => Ok(node),
    }
}

/// Every call once, and where among them those of each part stand: of an average and a deviation the sum is the same.
fn once(parts: &[Part]) -> (Vec<Expr>, Vec<Vec<usize>>) {
    let mut calls: Vec<Expr> = Vec::new();
    let mut bare: Vec<Expr> = Vec::new();
    let mut place = |call: Expr| {
        let is = call.clone().unalias();
        bare.iter().position(|known| *known == is).unwrap_or_else(|| {
            calls.push(call);
            bare.push(is);
            bare.len() - 1
        })
    };
    let places = parts.iter().map(|part| part.calls().into_iter().map(&mut place).collect()).collect();
    (calls, places)
}

/// A projection of what averages gave, computed together with them: so a quotient of an average is one of its sum and
/// its count, whose digits are known.
pub fn as_one(node: LogicalPlan) -> Result<(LogicalPlan, Option<Above>)> {
    let names = NamePreserver::new(&node);
    let (LogicalPlan::Projection(Projection { input, .. }) | LogicalPlan::Filter(Filter { input, .. })) =
        &node
    else {
        return Ok((node, None));
    };
    let LogicalPlan::Projection(inner) = input.as_ref() else { return Ok((node, None)) };
    let is_open = |expr: &Expr| quotient::of(&expr.clone().unalias()).is_some_and(|of| !of.is_rounded());
    if !inner.expr.iter().any(is_open) {
        return Ok((node, None));
    }
    let inner = inner.clone();
    let computed = |expr: Expr| {
        let made = expr.transform_up(|expr| match &expr {
            Expr::Column(column) => match inner.schema.maybe_index_of_column(column) {
                Some(at) => Ok(Transformed::yes(inner.expr[at].clone().unalias())),
                None => Ok(Transformed::no(expr)),
            },
            _ => Ok(Transformed::no(expr)),
        });
        made.map(|made| made.data)
    };
    Ok(match node {
        LogicalPlan::Projection(outer) => {
            let named = outer.expr.into_iter().map(|expr| {
                let name = names.save(&expr);
                computed(expr).map(|made| name.restore(made))
            });
            let columns = named.collect::<Result<Vec<_>>>()?;
            let made = Projection::try_new_with_schema(columns, Arc::clone(&inner.input), outer.schema)?;
            (LogicalPlan::Projection(made), None)
        }
        // What HAVING keeps is asked below, so that the projection is the next one's still.
        LogicalPlan::Filter(filter) => {
            let kept = Filter::try_new(computed(filter.predicate)?, Arc::clone(&inner.input))?;
            (LogicalPlan::Filter(kept), Some(Above { columns: inner.expr, schema: inner.schema }))
        }
        node => (node, None),
    })
}

/// A projection that stands above a step once that is rewritten.
pub struct Above {
    columns: Vec<Expr>,
    schema: DFSchemaRef,
}

impl Above {
    pub fn of(self, node: LogicalPlan) -> Result<LogicalPlan> {
        let made = Projection::try_new_with_schema(self.columns, Arc::new(node), self.schema)?;
        Ok(LogicalPlan::Projection(made))
    }
}

/// A call that stays, or the sum and the count of an average, or those and the sum of the squares of a variance.
enum Part {
    Whole(Expr),
    Average(Expr, Expr),
    Spread {
        sums: [Expr; 3],
        spread: Spread,
    },
    /// The place of the least or largest label of an enum.
    Place(Expr, Enum),
}

/// What of a variance is asked.
#[derive(Clone, Copy)]
struct Spread {
    /// Of a sample, which one value alone is none of.
    sample: bool,
    /// The deviation, its root.
    root: bool,
}

impl Spread {
    fn named(name: &str) -> Option<Spread> {
        let (sample, root) = match name {
            "var" | "var_samp" | "variance" => (true, false),
            "var_pop" => (false, false),
            "stddev" | "stddev_samp" => (true, true),
            "stddev_pop" => (false, true),
            _ => return None,
        };
        Some(Spread { sample, root })
    }
}

impl Part {
    fn calls(&self) -> Vec<Expr> {
        match self {
            Part::Whole(call) | Part::Place(call, _) => vec![call.clone()],
            Part::Average(sum, count) => vec![sum.clone(), count.clone()],
            Part::Spread { sums, .. } => sums.to_vec(),
        }
    }
}

/// None where no call is such an average.
fn apart(calls: &[Expr], input: &DFSchema) -> Result<Option<Vec<Part>>> {
    let parts: Vec<Part> =
        calls.iter().enumerate().map(|(at, call)| part(at, call, input)).collect::<Result<_>>()?;
    Ok(parts.iter().any(|part| !matches!(part, Part::Whole(_))).then_some(parts))
}

fn part(at: usize, call: &Expr, input: &DFSchema) -> Result<Part> {
    let bare = call.clone().unalias();
    if let Some((place, of)) = enums::extreme(&bare, input) {
        return Ok(Part::Place(place.alias(format!(" place {at}")), of));
    }
    let of = match &bare {
        Expr::AggregateFunction(function) => (function.func.name(), function.params.args.as_slice()),
        Expr::WindowFunction(window) => (window.fun.name(), window.params.args.as_slice()),
        _ => return Ok(Part::Whole(call.clone())),
    };
    if let (Some(spread), [arg]) = (Spread::named(of.0), of.1) {
        let Some(summed) = summed(arg, input)?.filter(|_| !is_distinct(&bare)) else {
            return Ok(Part::Whole(call.clone()));
        };
        let square = binary_expr(summed.clone(), Operator::Multiply, summed.clone());
        let of_sum =
            |arg: Expr, name: &str| with(&bare, Arc::new(sum::sum()), arg).alias(format!(" {name} {at}"));
        let count = with(&bare, count_udaf(), arg.clone()).alias(format!(" count {at}"));
        let sums = [of_sum(summed, "sum"), of_sum(square, "squares"), count];
        return Ok(Part::Spread { sums, spread });
    }
    let ("avg" | "mean", [arg]) = of else { return Ok(Part::Whole(call.clone())) };
    // Doubles are added up one after the other, as in Postgres. Over frames that move, the engine would take off what
    // leaves, and a large value takes the small ones along.
    let double = arg.get_type(input)?.is_floating().then(|| cast(arg.clone(), DataType::Float64));
    let Some(summed) = summed(arg, input)?.or(double) else { return Ok(Part::Whole(call.clone())) };
    let sum = with(&bare, Arc::new(sum::sum()), summed).alias(format!(" sum {at}"));
    let count = with(&bare, count_udaf(), arg.clone()).alias(format!(" count {at}"));
    Ok(Part::Average(sum, count))
}

fn is_distinct(call: &Expr) -> bool {
    match call {
        Expr::AggregateFunction(of) => of.params.distinct,
        Expr::WindowFunction(of) => of.params.distinct,
        _ => false,
    }
}

/// `(n * squares - sum * sum) / (n * (n - 1))`, as Postgres computes it, and its root.
fn spread_of(sum: Expr, squares: Expr, count: Expr, spread: Spread, known: &dyn Fn(&Expr) -> bool) -> Expr {
    let both = |left, op, right| quotient::binary(left, op, right, known);
    let above = both(
        both(count.clone(), Operator::Multiply, squares),
        Operator::Minus,
        both(sum.clone(), Operator::Multiply, sum),
    );
    let other =
        if spread.sample { binary_expr(count.clone(), Operator::Minus, lit(1_i64)) } else { count.clone() };
    let below = binary_expr(count, Operator::Multiply, other);
    let below = Expr::ScalarFunction(ScalarFunction::new_udf(nullif(), vec![below, lit(0_i64)]));
    let variance = both(above, Operator::Divide, below);
    if spread.root { quotient::root(variance) } else { variance }
}

/// What is added up: integers as numerics, which no number of them leaves. None for doubles.
fn summed(arg: &Expr, input: &DFSchema) -> Result<Option<Expr>> {
    let of = arg.get_type(input)?;
    if is_decimal(&of) {
        return Ok(Some(arg.clone()));
    }
    Ok(digits_of(&of).map(|digits| cast(arg.clone(), DataType::Decimal128(digits, 0))))
}

/// The same call of another aggregate.
fn with(call: &Expr, function: Arc<AggregateUDF>, arg: Expr) -> Expr {
    match call.clone() {
        Expr::AggregateFunction(mut of) => {
            of.params.args = vec![arg];
            Expr::AggregateFunction(AggregateFunction { func: function, params: of.params })
        }
        Expr::WindowFunction(of) => {
            let mut params = of.params;
            params.args = vec![arg];
            let fun = WindowFunctionDefinition::AggregateUDF(function);
            Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
        }
        other => other,
    }
}

/// The columns of the step as they were, from those of the step as it is.
fn together(
    made: LogicalPlan,
    whole: &DFSchema,
    below: usize,
    parts: &[Part],
    places: &[Vec<usize>],
) -> Result<LogicalPlan> {
    let of = |at: usize| Expr::Column(Column::from(made.schema().qualified_field(at)));
    let is_known = |expr: &Expr| {
        matches!(expr.get_type(made.schema()), Ok(DataType::Decimal128(..=37, _) | DataType::Int64))
    };
    let mut columns: Vec<Expr> = (0..below).map(of).collect();
    let fields = whole.iter().skip(below);
    for ((part, places), (qualifier, field)) in parts.iter().zip(places).zip(fields) {
        let calls: Vec<Expr> = places.iter().map(|place| of(below + place)).collect();
        let value = match (part, calls.as_slice()) {
            (Part::Whole(_), [call]) => call.clone(),
            (Part::Place(_, of), [place]) => enums::label(place.clone(), of),
            (Part::Average(..), [sum, count]) => match sum.get_type(made.schema())?.is_floating() {
                true => binary_expr(sum.clone(), Operator::Divide, cast(count.clone(), DataType::Float64)),
                false => quotient::binary(sum.clone(), Operator::Divide, count.clone(), &is_known),
            },
            (Part::Spread { spread, .. }, [sum, squares, count]) => {
                spread_of(sum.clone(), squares.clone(), count.clone(), *spread, &is_known)
            }
            _ => return plan_err!("an average lacks its parts"),
        };
        columns.push(match &value {
            Expr::Column(column) if column.relation.as_ref() == qualifier && column.name == *field.name() => {
                value
            }
            _ => value.alias_qualified(qualifier.cloned(), field.name()),
        });
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(made))?))
}
