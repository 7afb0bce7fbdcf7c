//! IN and EXISTS over subqueries, where NULL and the empty set decide.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::{Found, Refusal, shown};
use crate::dialect::gathered::is_equal_key;

/// Where a condition stands: what is false and what is NULL are told apart or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// One of the conditions that a row must meet, all of them.
    Conjunct,
    /// In an OR of those: NULL still keeps no row.
    Kept,
    /// Its value is used.
    Value,
}

/// An aggregate within a subquery of nothing but the row around it, which Postgres computes in the query around.
pub fn of_outer_rows(node: &LogicalPlan, found: &mut Found) {
    let LogicalPlan::Aggregate(aggregate) = node else { return };
    for expr in &aggregate.aggr_expr {
        let (mut outer, mut own) = (false, false);
        let _ = expr.apply(|part| {
            outer |= matches!(part, Expr::OuterReferenceColumn(..));
            own |= matches!(part, Expr::Column(_));
            Ok(TreeNodeRecursion::Continue)
        });
        if outer && !own {
            let message =
                format!("{} is an aggregate of the query around the subquery in Postgres", shown(expr));
            found.add(
                expr,
                Refusal::new(
                    message,
                    "aggregate in the query around it, or join the rows that are meant, and aggregate them",
                ),
            );
        }
    }
}

/// What stands in a subquery above its condition on the row around it, and would be computed here of the rows for all.
pub fn of_one_row(node: &LogicalPlan, found: &mut Found) {
    if let LogicalPlan::Subquery(lateral) = node {
        within_one(&lateral.subquery, found);
    }
    let _ = node.apply_expressions(|expr| {
        expr.apply(|expr| {
            match expr {
                Expr::ScalarSubquery(of) => within_one(&of.subquery, found),
                Expr::Exists(of) => within_one(&of.subquery.subquery, found),
                Expr::InSubquery(of) => within_one(&of.subquery.subquery, found),
                Expr::SetComparison(of) => within_one(&of.subquery.subquery, found),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
}

fn within_one(plan: &LogicalPlan, found: &mut Found) {
    let is_open = |input: &LogicalPlan| conditions_around(input).iter().any(|part| !is_equal_key(part));
    let refusal = match plan {
        // One of its own.
        LogicalPlan::Subquery(_) => return,
        LogicalPlan::Window(window) if !conditions_around(&window.input).is_empty() => Some((
            "a window in a subquery that reads the row around it would see here the rows of all",
            "number or sum them in a subquery of FROM, OVER (PARTITION BY …) what the row is compared with, and join it",
        )),
        LogicalPlan::Distinct(distinct) if is_open(distinct.input()) => Some((
            "DISTINCT in a subquery that reads the row around it by more than equal keys is not answered here",
            "join the rows, and write DISTINCT around the join",
        )),
        LogicalPlan::Aggregate(aggregate)
            if !aggregate.group_expr.is_empty() && is_open(&aggregate.input) =>
        {
            Some((
                "GROUP BY in a subquery that reads the row around it by more than equal keys is not answered here",
                "join the rows, and group them around the join, by the row's key too",
            ))
        }
        _ => None,
    };
    if let Some((message, help)) = refusal {
        let at = plan.expressions().into_iter().next().unwrap_or_default();
        found.add(&at, Refusal::new(message.to_owned(), help));
    }
    plan.inputs().into_iter().for_each(|input| within_one(input, found));
}

/// The parts of a plan's conditions that name the row around it, and what else does.
fn conditions_around(plan: &LogicalPlan) -> Vec<Expr> {
    if matches!(plan, LogicalPlan::Subquery(_)) {
        return Vec::new();
    }
    let own = match plan {
        LogicalPlan::Filter(filter) => split_conjunction_owned(filter.predicate.clone()),
        other => other.expressions(),
    };
    let below = plan.inputs().into_iter().flat_map(conditions_around);
    own.into_iter().filter(Expr::contains_outer).chain(below).collect()
}

pub fn node(node: &LogicalPlan, found: &mut Found) {
    let place = if matches!(node, LogicalPlan::Filter(_)) { Place::Conjunct } else { Place::Value };
    let _ = node.apply_expressions(|expr| {
        condition(expr, place, found);
        Ok(TreeNodeRecursion::Continue)
    });
}

fn condition(expr: &Expr, place: Place, found: &mut Found) {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) if place != Place::Value => {
            condition(left, place, found);
            condition(right, place, found);
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) if place != Place::Value => {
            condition(left, Place::Kept, found);
            condition(right, Place::Kept, found);
        }
        Expr::Alias(alias) => condition(&alias.expr, place, found),
        Expr::InSubquery(within) => {
            self::within(expr, within, place, found);
            condition(&within.expr, Place::Value, found);
        }
        Expr::Exists(exists) => {
            let correlated = !exists.subquery.outer_ref_columns.is_empty();
            if correlated && let Some(even) = of_none(&exists.subquery.subquery) {
                let (message, help) = match even {
                    OfNone::OneRow => (
                        "EXISTS over an aggregate without GROUP BY is true for every row, and NOT EXISTS for none: it always gives one",
                        "write true or false for it; or ask for the rows themselves: EXISTS (SELECT 1 FROM …)",
                    ),
                    OfNone::Chosen => (
                        "EXISTS over an aggregate without GROUP BY would lose the rows that have nothing to aggregate",
                        "compare with its value: (SELECT count(*) FROM …) = 0",
                    ),
                };
                found.add(expr, Refusal::new(message.to_owned(), help));
            }
        }
        other => {
            let _ = other.apply_children(|child| {
                condition(child, Place::Value, found);
                Ok(TreeNodeRecursion::Continue)
            });
        }
    }
}

fn within(expr: &Expr, within: &InSubquery, place: Place, found: &mut Found) {
    let correlated = !within.subquery.outer_ref_columns.is_empty();
    if correlated && of_none(&within.subquery.subquery).is_some() {
        let (word, help) = match within.negated {
            false => ("IN", "compare with it: x = (SELECT count(*) FROM …)"),
            true => ("NOT IN", "compare with it: x <> (SELECT count(*) FROM …)"),
        };
        let message = format!(
            "{} {word} over an aggregate without GROUP BY would lose the rows that have nothing to aggregate",
            shown(&within.expr)
        );
        found.add(expr, Refusal::new(message, help));
        return;
    }
    let column = matches!(within.expr.as_ref(), Expr::Column(_));
    let answered = match within.negated {
        false => place != Place::Value,
        // The engine knows NULL in a NOT IN only where it becomes a join by a column of this query.
        true => place == Place::Conjunct && column && !correlated,
    };
    if !answered {
        let (word, help) = match within.negated {
            true => (
                "NOT IN",
                "write NOT EXISTS (SELECT 1 FROM … AS s WHERE (s.x = y) IS NOT FALSE), which is the same with NULLs too",
            ),
            false => (
                "IN",
                "use it as a condition of WHERE; for a value, LEFT JOIN (SELECT DISTINCT x FROM …) AS s ON s.x = y, and ask s.x IS NOT NULL",
            ),
        };
        let message =
            format!("{} {word} (SELECT …) would be answered here as if NULL were false", shown(&within.expr));
        found.add(expr, Refusal::new(message, help));
    }
}

/// What an aggregate without groups gives where there is nothing to aggregate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfNone {
    OneRow,
    /// One row, if a condition or a limit above it keeps that.
    Chosen,
}

fn of_none(plan: &LogicalPlan) -> Option<OfNone> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty().then_some(OfNone::OneRow),
        LogicalPlan::Filter(_) | LogicalPlan::Limit(_) => {
            plan.inputs().into_iter().find_map(of_none).map(|_| OfNone::Chosen)
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Distinct(_) => plan.inputs().into_iter().find_map(of_none),
        _ => None,
    }
}
