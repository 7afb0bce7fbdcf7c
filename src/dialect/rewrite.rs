//! Rewrites a plan's expressions to those that answer as Postgres does.
//!
//! Two rules: one before the engine settles the types, for operations whose result has another type in
//! Postgres; one after it, where operands have their final types and implicit casts are written out.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::functions::core::nullif;
use datafusion::functions::math::log10;
use datafusion::functions_nested::remove::array_remove_all_udf;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF, cast, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::functions::padded::is_bpchar;
use super::functions::{interval, numeric, print, quotient};
use super::refuse::is_one;
use super::{average, exactness, numerics, unions};

/// What runs before the types are settled.
#[derive(Debug)]
pub struct Meaning;

/// What runs after it.
#[derive(Debug)]
pub struct Exactness;

impl AnalyzerRule for Meaning {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        over_expressions(plan, &meaning, &|node| unions::as_one_type(average::as_quotients(node)?))
    }

    fn name(&self) -> &str {
        "postgres_meaning"
    }
}

impl AnalyzerRule for Exactness {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        over_expressions(plan, &exactness::exactness, &Ok)
    }

    fn name(&self) -> &str {
        "postgres_exactness"
    }
}

/// What a query gives, in types that a table can have: intervals as their texts, and a NULL of no type as a text.
pub fn publishable(plan: LogicalPlan) -> Result<LogicalPlan> {
    let fields = plan.schema().iter();
    let columns = fields.map(|(qualifier, field)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match field.data_type() {
            of if is_interval(of) => print::text(column).alias_qualified(qualifier.cloned(), field.name()),
            DataType::Null => cast(column, DataType::Utf8).alias_qualified(qualifier.cloned(), field.name()),
            _ => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    match columns.iter().all(|column| matches!(column, Expr::Column(_))) {
        true => Ok(plan),
        false => LogicalPlanBuilder::from(plan).project(columns)?.build(),
    }
}

type Rewrite<'a> = &'a dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

/// Rewrites every expression of a plan and of its subqueries, bottom up; names stay as they were.
fn over_expressions(
    plan: LogicalPlan,
    rewrite: Rewrite,
    finish: &dyn Fn(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::TableScan(scan) = &node {
            schema
                .merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
        }
        let names = NamePreserver::new(&node);
        let mut named = |expr: Expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| rewrite(expr, &schema))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        };
        node.map_expressions(|expr| match expr {
            // Each of its parts is a column of what is grouped.
            Expr::GroupingSet(set) => Expr::GroupingSet(set).map_children(&mut named),
            expr => named(expr),
        })?
        .map_data(LogicalPlan::recompute_schema)?
        .map_data(finish)
    })?;
    Ok(rewritten.data)
}

pub(super) fn call(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Transformed<Expr> {
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

pub fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn is_timestamp(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

pub fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
    )
}

/// A local time.
const LOCAL: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Functions whose arguments become one type.
const MEET: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Times subtract to intervals; a double meets a numeric as a double.
fn meaning(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        // `'a%'::text`, as Postgres prints every text: what asks for a literal shall see it.
        Expr::Cast(Cast { expr, field })
            if matches!(&*expr, Expr::Literal(ScalarValue::Utf8(_), _))
                && *field.data_type() == DataType::Utf8 =>
        {
            Ok(Transformed::yes(*expr))
        }
        Expr::Negative(inner) if quotient::of(&inner).is_some_and(|of| !of.is_rounded()) => {
            Ok(Transformed::yes(quotient::negative(*inner)))
        }
        Expr::Cast(Cast { expr, field }) => match numerics::rounded(&expr, field.data_type()) {
            Some(rounded) => Ok(Transformed::yes(rounded)),
            None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
        },
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (Ok(of_left), Ok(of_right)) = (left.get_type(schema), right.get_type(schema)) else {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            };
            if op == Operator::Minus && is_timestamp(&of_left) && is_timestamp(&of_right) {
                let sides = [&*left, &*right];
                let (left, right) = match instant_among(sides.into_iter(), schema) {
                    Some(instant) => {
                        (as_instant(*left, &instant, schema), as_instant(*right, &instant, schema))
                    }
                    None => (*left, *right),
                };
                return Ok(call(interval::difference(), vec![left, right]));
            }
            // A day beside a time is the time at which it begins.
            if op == Operator::Minus && is_timestamp(&of_left) && of_right == DataType::Date32 {
                let right = cast(*right, of_left);
                return Ok(call(interval::difference(), vec![*left, right]));
            }
            if op == Operator::Minus && of_left == DataType::Date32 && is_timestamp(&of_right) {
                let left = cast(*left, of_right);
                return Ok(call(interval::difference(), vec![left, *right]));
            }
            // A day ± an interval is a local time.
            if matches!(op, Operator::Plus | Operator::Minus)
                && of_left == DataType::Date32
                && matches!(of_right, DataType::Interval(_))
            {
                let left = Box::new(cast(*left, LOCAL));
                return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            if op == Operator::Plus
                && of_right == DataType::Date32
                && matches!(of_left, DataType::Interval(_))
            {
                let right = Box::new(cast(*right, LOCAL));
                return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            if is_comparison(op) && (is_bpchar(&left) || is_bpchar(&right)) {
                let (left, right) = (Box::new(without_blanks(*left)), Box::new(without_blanks(*right)));
                return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            if is_comparison(op)
                && let Some(instant) = instant_among([&*left, &*right].into_iter(), schema)
            {
                let left = Box::new(as_instant(*left, &instant, schema));
                let right = Box::new(as_instant(*right, &instant, schema));
                return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            // The engine numbers rows without a sign.
            if is_arithmetic(op) && (of_left == DataType::UInt64 || of_right == DataType::UInt64) {
                let signed = |side: Box<Expr>, of: &DataType| match of {
                    DataType::UInt64 => Box::new(cast(*side, DataType::Int64)),
                    _ => side,
                };
                let (left, right) = (signed(left, &of_left), signed(right, &of_right));
                return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            if let Some(divided) = numerics::operation(&left, op, &right, schema) {
                return Ok(Transformed::yes(divided));
            }
            let real = |of: &DataType, other: &DataType| *of == DataType::Float32 && other.is_integer();
            if is_arithmetic(op) && (real(&of_left, &of_right) || real(&of_right, &of_left)) {
                let (left, right) =
                    (Box::new(cast(*left, DataType::Float64)), Box::new(cast(*right, DataType::Float64)));
                return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            let meets = is_arithmetic(op) || is_comparison(op);
            let double = DataType::Float64;
            let (left, right) = match (is_decimal(&of_left), is_decimal(&of_right)) {
                (true, false) if meets && of_right.is_floating() => (Box::new(cast(*left, double)), right),
                (false, true) if meets && of_left.is_floating() => (left, Box::new(cast(*right, double))),
                _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
            };
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::Between(mut between) => {
            let sides = [&*between.expr, &*between.low, &*between.high];
            if let Some(instant) = instant_among(sides.into_iter(), schema) {
                let side = |side: Box<Expr>| Box::new(as_instant(*side, &instant, schema));
                between.expr = side(between.expr);
                between.low = side(between.low);
                between.high = side(between.high);
                return Ok(Transformed::yes(Expr::Between(between)));
            }
            let double = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_floating());
            if !double(&between.expr) {
                return Ok(Transformed::no(Expr::Between(between)));
            }
            between.low = Box::new(as_double(*between.low, schema));
            between.high = Box::new(as_double(*between.high, schema));
            Ok(Transformed::yes(Expr::Between(between)))
        }
        Expr::InList(mut list) => {
            if std::iter::once(&*list.expr).chain(&list.list).any(is_bpchar) {
                list.expr = Box::new(without_blanks(*list.expr));
                list.list = list.list.into_iter().map(without_blanks).collect();
                return Ok(Transformed::yes(Expr::InList(list)));
            }
            let all = std::iter::once(&*list.expr).chain(&list.list);
            if let Some(instant) = instant_among(all, schema) {
                list.expr = Box::new(as_instant(*list.expr, &instant, schema));
                list.list = list.list.into_iter().map(|item| as_instant(item, &instant, schema)).collect();
                return Ok(Transformed::yes(Expr::InList(list)));
            }
            let double = |expr: &Expr| expr.get_type(schema).is_ok_and(|of| of.is_floating());
            if !double(&list.expr) && !list.list.iter().any(double) {
                return Ok(Transformed::no(Expr::InList(list)));
            }
            list.expr = Box::new(as_double(*list.expr, schema));
            list.list = list.list.into_iter().map(|item| as_double(item, schema)).collect();
            Ok(Transformed::yes(Expr::InList(list)))
        }
        Expr::Case(mut case) => {
            let compared = case.expr.iter().map(|of| &**of);
            let compared = compared.chain(case.when_then_expr.iter().map(|(when, _)| &**when));
            let compared = case.expr.as_ref().and_then(|_| instant_among(compared, schema));
            let results = case.when_then_expr.iter().map(|(_, then)| &**then);
            let given = instant_among(results.chain(case.else_expr.iter().map(|of| &**of)), schema);
            if compared.is_none() && given.is_none() {
                let results = case.when_then_expr.iter().map(|(_, then)| &**then);
                let given = double_among(results.chain(case.else_expr.iter().map(|of| &**of)), schema);
                let whens = case.when_then_expr.iter().map(|(when, _)| &**when);
                let compared = case
                    .expr
                    .as_ref()
                    .and_then(|_| double_among(case.expr.iter().map(|of| &**of).chain(whens), schema));
                if given.is_none() && compared.is_none() {
                    return Ok(Transformed::no(Expr::Case(case)));
                }
                let as_of = |double: &Option<DataType>, expr: Box<Expr>| match double {
                    Some(double) => Box::new(as_floating(*expr, double, schema)),
                    None => expr,
                };
                case.expr = case.expr.map(|of| as_of(&compared, of));
                let branches = case.when_then_expr.into_iter();
                case.when_then_expr =
                    branches.map(|(when, then)| (as_of(&compared, when), as_of(&given, then))).collect();
                case.else_expr = case.else_expr.map(|of| as_of(&given, of));
                return Ok(Transformed::yes(Expr::Case(case)));
            }
            let as_of = |of: &Option<DataType>, expr: Box<Expr>| match of {
                Some(instant) => Box::new(as_instant(*expr, instant, schema)),
                None => expr,
            };
            case.expr = case.expr.map(|of| as_of(&compared, of));
            let branches = case.when_then_expr.into_iter();
            case.when_then_expr =
                branches.map(|(when, then)| (as_of(&compared, when), as_of(&given, then))).collect();
            case.else_expr = case.else_expr.map(|of| as_of(&given, of));
            Ok(Transformed::yes(Expr::Case(case)))
        }
        Expr::ScalarFunction(mut function) if MEET.contains(&function.func.name()) => {
            let Some(instant) = instant_among(function.args.iter(), schema) else {
                let Some(double) = double_among(function.args.iter(), schema) else {
                    return Ok(Transformed::no(Expr::ScalarFunction(function)));
                };
                function.args =
                    function.args.into_iter().map(|arg| as_floating(arg, &double, schema)).collect();
                return Ok(Transformed::yes(Expr::ScalarFunction(function)));
            };
            function.args = function.args.into_iter().map(|arg| as_instant(arg, &instant, schema)).collect();
            Ok(Transformed::yes(Expr::ScalarFunction(function)))
        }
        Expr::ScalarFunction(function) if function.func.name() == numeric::NUMERIC => {
            let value = function.args.first();
            match value.and_then(|value| numeric::exact(value, &value.get_type(schema).ok()?)) {
                Some(value) => Ok(Transformed::yes(value)),
                None => Ok(Transformed::no(Expr::ScalarFunction(function))),
            }
        }
        // The engine divides two natural logarithms.
        Expr::ScalarFunction(function) if function.func.name() == "log" && function.args.len() == 1 => {
            Ok(call(log10(), function.args))
        }
        Expr::ScalarFunction(function) if function.func.name() == "array_remove" => {
            Ok(call(array_remove_all_udf(), function.args))
        }
        // Of no elements there is no length.
        Expr::ScalarFunction(function)
            if function.func.name() == "array_length" && is_one(function.args.get(1)) =>
        {
            Ok(call(nullif(), vec![Expr::ScalarFunction(function), lit(0_i64)]))
        }
        Expr::ScalarFunction(function) if function.func.name() == "trunc" => {
            match numerics::trunc(&function.args, schema) {
                Some(cut) => Ok(Transformed::yes(cut)),
                None => Ok(Transformed::no(Expr::ScalarFunction(function))),
            }
        }
        // Only a double can be rounded without a number of digits, besides a numeric.
        Expr::ScalarFunction(mut function)
            if function.func.name() == "round"
                && function.args.len() == 1
                && function.args[0].get_type(schema).is_ok_and(|of| of.is_integer()) =>
        {
            function.args = function.args.into_iter().map(|arg| cast(arg, DataType::Float64)).collect();
            Ok(Transformed::yes(Expr::ScalarFunction(function)))
        }
        Expr::ScalarFunction(function) if function.func.name() == "round" => {
            match numerics::round(&function.args, schema) {
                Some(rounded) => Ok(Transformed::yes(rounded)),
                None => Ok(Transformed::no(Expr::ScalarFunction(function))),
            }
        }
        // What is rounded up may have one digit more. Of a quotient it is whole, and can be published.
        Expr::ScalarFunction(mut function) if ["ceil", "floor"].contains(&function.func.name()) => {
            let wide = function.args.first().map(|arg| arg.get_type(schema));
            if let Some(Ok(DataType::Decimal256(..))) = wide {
                let whole = DataType::Decimal128(numeric::PUBLISHED, 0);
                return Ok(Transformed::yes(cast(Expr::ScalarFunction(function), whole)));
            }
            let Some(Ok(DataType::Decimal128(precision @ ..38, scale))) =
                function.args.first().map(|arg| arg.get_type(schema))
            else {
                return Ok(Transformed::no(Expr::ScalarFunction(function)));
            };
            let wider = DataType::Decimal128(precision + 1, scale);
            function.args = function.args.into_iter().map(|arg| cast(arg, wider.clone())).collect();
            Ok(Transformed::yes(Expr::ScalarFunction(function)))
        }
        // `1e2` is 100.
        Expr::Literal(ScalarValue::Decimal128(Some(value), precision, scale @ ..0), metadata) => {
            let digits = precision.saturating_add(scale.unsigned_abs());
            match 10_i128.checked_pow(u32::from(scale.unsigned_abs())).and_then(|ten| value.checked_mul(ten))
            {
                Some(value) if digits <= 38 => {
                    let whole = ScalarValue::Decimal128(Some(value), digits, 0);
                    Ok(Transformed::yes(Expr::Literal(whole, metadata)))
                }
                _ => {
                    let literal = ScalarValue::Decimal128(Some(value), precision, scale);
                    Ok(Transformed::no(Expr::Literal(literal, metadata)))
                }
            }
        }
        Expr::ScalarFunction(function) if ["date_part", "extract"].contains(&function.func.name()) => {
            Ok(call(interval::date_part(), function.args))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// An instant among values that meet makes days and local times instants of its zone, as in Postgres.
fn instant_among<'a>(values: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Option<DataType> {
    let mut types = values.filter_map(|value| value.get_type(schema).ok());
    types.find(|of| matches!(of, DataType::Timestamp(_, Some(_))))
}

fn as_instant(expr: Expr, instant: &DataType, schema: &DFSchema) -> Expr {
    match expr.get_type(schema) {
        Ok(DataType::Date32 | DataType::Timestamp(_, None)) => cast(expr, instant.clone()),
        _ => expr,
    }
}

/// What numerics become among some values: doubles, where one is, else reals.
fn double_among<'a>(values: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Option<DataType> {
    let floating = values.filter_map(|value| value.get_type(schema).ok()).filter(|of| of.is_floating());
    floating.max_by_key(|of| *of == DataType::Float64)
}

/// A numeric that meets a double becomes one.
fn as_double(expr: Expr, schema: &DFSchema) -> Expr {
    as_floating(expr, &DataType::Float64, schema)
}

fn as_floating(expr: Expr, floating: &DataType, schema: &DFSchema) -> Expr {
    match expr.get_type(schema) {
        Ok(of) if is_decimal(&of) => cast(expr, floating.clone()),
        _ => expr,
    }
}

pub fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

pub(super) fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

/// A literal beside a `x::bpchar`: blanks at its end are nothing, either.
fn without_blanks(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) => {
            Expr::Literal(ScalarValue::Utf8(Some(text.trim_end_matches(' ').to_owned())), metadata)
        }
        other => other,
    }
}
