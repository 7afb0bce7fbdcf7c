//! Whether the sum of a column over rows means something: the sum of averages, or of counts of distinct things, is no number
//! that anybody asked for.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use serde::{Deserialize, Serialize};

use super::session::STAR;
use crate::dialect::refuse::origins;
use crate::name::ModelName;

/// Why a column is not to be summed; nothing where nothing is known against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NotAdditive {
    Average,
    Ratio,
    /// The same thing may be counted in several rows.
    DistinctCount,
    /// A smallest or largest value, a median, a deviation.
    Statistic {
        of: String,
    },
    /// A number that a window gives: a rank, a running total.
    Window {
        of: String,
    },
    /// Summed over other columns, never over this one.
    SemiAdditive {
        not_over: String,
    },
    /// The pipeline says so.
    Declared,
}

impl fmt::Display for NotAdditive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAdditive::Average => f.write_str("not additive: an average"),
            NotAdditive::Ratio => f.write_str("not additive: a ratio"),
            NotAdditive::DistinctCount => f.write_str("not summable: a count of distinct values"),
            NotAdditive::Statistic { of } | NotAdditive::Window { of } => write!(f, "not additive: {of}()"),
            NotAdditive::SemiAdditive { not_over } => {
                write!(f, "semi-additive: never summed over {not_over}")
            }
            NotAdditive::Declared => f.write_str("not additive"),
        }
    }
}

/// What is known of the columns of the models that a model reads.
pub type Known = BTreeMap<ModelName, BTreeMap<String, NotAdditive>>;

/// What speaks against summing a column of a plan, as its SELECT computes it.
pub fn of_column(plan: &LogicalPlan, at: usize, known: &Known) -> Option<NotAdditive> {
    let column = Column::from(plan.schema().qualified_field(at));
    of(&Expr::Column(column), &[plan], known, 0)
}

/// An expression that is nested deeper is left at that.
const DEEPEST: usize = 64;

fn of(expr: &Expr, inputs: &[&LogicalPlan], known: &Known, depth: usize) -> Option<NotAdditive> {
    if depth > DEEPEST {
        return None;
    }
    let below = |expr: &Expr| of(expr, inputs, known, depth + 1);
    match expr {
        Expr::Column(column) => {
            let mut found = None;
            origins(column, inputs, &mut |origin, steps| {
                if found.is_some() {
                    return;
                }
                found = match origin {
                    Expr::Column(column) => steps.iter().find_map(|step| of_table(column, step, known)),
                    other => of(other, steps, known, depth + 1),
                };
            });
            found
        }
        Expr::Alias(alias) => below(&alias.expr),
        Expr::Cast(cast) => below(&cast.expr),
        Expr::TryCast(cast) => below(&cast.expr),
        Expr::Negative(inner) => below(inner),
        Expr::AggregateFunction(call) => match call.func.name() {
            "count" if call.params.distinct => Some(NotAdditive::DistinctCount),
            "sum" if call.params.distinct => Some(NotAdditive::Statistic { of: "sum(DISTINCT)".to_owned() }),
            "count" if inputs.iter().any(|input| is_distinct(input)) => Some(NotAdditive::DistinctCount),
            "count" => None,
            "sum" => call.params.args.iter().find_map(|summed| match (below(summed), summed) {
                // Quotients of single rows, such as amounts in another currency, add up.
                (Some(NotAdditive::Ratio), expr) if !matches!(expr, Expr::Column(_)) => None,
                (found, _) => found,
            }),
            "avg" | "mean" => Some(NotAdditive::Average),
            other => Some(NotAdditive::Statistic { of: other.to_owned() }),
        },
        Expr::WindowFunction(call) => Some(NotAdditive::Window { of: call.fun.name().to_owned() }),
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Divide if !binary.right.column_refs().is_empty() => Some(NotAdditive::Ratio),
            Operator::Divide | Operator::Modulo => below(&binary.left),
            Operator::Plus | Operator::Minus | Operator::Multiply => {
                below(&binary.left).or_else(|| below(&binary.right))
            }
            _ => None,
        },
        Expr::ScalarFunction(call) => match call.func.name() {
            "round" | "trunc" | "coalesce" | "nullif" | "abs" => call.args.iter().find_map(below),
            of @ ("greatest" | "least") => Some(NotAdditive::Statistic { of: of.to_owned() }),
            _ => None,
        },
        Expr::Case(case) => {
            let then = case.when_then_expr.iter().find_map(|(_, then)| below(then));
            then.or_else(|| case.else_expr.as_ref().and_then(|otherwise| below(otherwise)))
        }
        Expr::ScalarSubquery(subquery) => of_column(&subquery.subquery, 0, known),
        _ => None,
    }
}

/// Whether a plan's rows are those of a SELECT DISTINCT, or of a GROUP BY that counts nothing.
fn is_distinct(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Distinct(_) => true,
        LogicalPlan::Aggregate(step) => step.aggr_expr.is_empty(),
        LogicalPlan::SubqueryAlias(step) => is_distinct(&step.input),
        LogicalPlan::Projection(step) => is_distinct(&step.input),
        LogicalPlan::Filter(step) => is_distinct(&step.input),
        _ => false,
    }
}

/// What another model's column is, as it was found out when that was designed.
fn of_table(column: &Column, step: &LogicalPlan, known: &Known) -> Option<NotAdditive> {
    let LogicalPlan::TableScan(scan) = step else { return None };
    let name = (scan.table_name.catalog() == Some(STAR)).then(|| scan.table_name.table())?;
    let columns = known.iter().find(|(model, _)| model.as_str() == name).map(|(_, columns)| columns)?;
    columns.get(&column.name).cloned()
}
