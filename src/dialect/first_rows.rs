//! The first rows of each group: `LATERAL (SELECT … WHERE inner = outer ORDER BY … LIMIT n)` as rows that are numbered
//! within their group, and `(SELECT x … ORDER BY … LIMIT 1)` as the first value of its group.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{Join, Limit, Subquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, FetchType, Filter, LogicalPlan, LogicalPlanBuilder, Operator, SkipType,
    Sort, SortExpr, WindowFunctionDefinition, lit,
};

use super::lateral::{beside_its_rows, columns_of, moved, named_as};

/// The rows of the left side with the first of those that the subquery finds for each, where it finds them by equal
/// keys.
pub fn joined(join: &Join, subquery: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    if !limits(subquery) {
        return Ok(None);
    }
    let mut numbered = Numbered::after(join.left.schema().fields().len());
    let Some(found) = numbered.step(subquery, None)? else { return Ok(None) };
    let mut right = named_as(&join.right, found.columns);
    let mut conditions: Vec<Expr> = join.filter.iter().cloned().collect();
    for (outer, key) in found.keys {
        conditions.push(outer.eq(key.clone()));
        right.push(key);
    }
    let right = LogicalPlanBuilder::from(found.plan).project(right)?.build()?;
    let mut whole = columns_of(&join.left);
    whole.extend(join.right.schema().columns().into_iter().map(Expr::Column));
    let left = LogicalPlanBuilder::from(LogicalPlan::clone(&join.left));
    Ok(Some(left.join_on(right, join.join_type, conditions)?.project(whole)?.build()?))
}

fn limits(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Limit(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => plan.inputs().into_iter().any(limits),
        _ => false,
    }
}

/// A step of the subquery without its reference to the outer row.
pub struct Step {
    pub plan: LogicalPlan,
    /// What stands for the step's columns.
    pub columns: Vec<Expr>,
    /// What of the outer row is equal to which column.
    pub keys: Vec<(Expr, Expr)>,
}

/// Rows that are passed over, and rows that are kept.
pub type Bounds = (usize, usize);

pub fn bounds(limit: &Limit) -> Result<Option<Bounds>> {
    Ok(match (limit.get_skip_type()?, limit.get_fetch_type()?) {
        (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) => Some((skip, fetch)),
        _ => None,
    })
}

/// Steps without their references to the outer row.
pub struct Numbered {
    prefix: usize,
    names: usize,
}

impl Numbered {
    /// Names that rows of so many columns do not have yet.
    pub fn after(prefix: usize) -> Numbered {
        Numbered { prefix, names: 0 }
    }

    pub fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("lateral {of} {} {}", self.prefix, self.names)
    }

    pub fn step(&mut self, step: &LogicalPlan, within: Option<Bounds>) -> Result<Option<Step>> {
        match step {
            LogicalPlan::Limit(limit) if within.is_none() => match bounds(limit)? {
                Some(bounds) => self.step(&limit.input, Some(bounds)),
                None => Ok(None),
            },
            LogicalPlan::SubqueryAlias(alias) if within.is_none() => self.step(&alias.input, None),
            LogicalPlan::Projection(projection) => {
                let Some(below) = self.step(&projection.input, within)? else { return Ok(None) };
                let (mut all, mut columns) = (Vec::new(), Vec::new());
                for expr in &projection.expr {
                    let bare = expr.clone().unalias();
                    if bare.contains_outer() {
                        return Ok(None);
                    }
                    let name = self.name("column");
                    all.push(moved(bare, &projection.input, &below.columns)?.alias(&name));
                    columns.push(Expr::Column(Column::new_unqualified(name)));
                }
                all.extend(below.keys.iter().map(|(_, key)| key.clone()));
                let plan = LogicalPlanBuilder::from(below.plan).project(all)?.build()?;
                Ok(Some(Step { plan, columns, keys: below.keys }))
            }
            LogicalPlan::Sort(sort) => match within {
                Some(bounds) => self.numbered(sort, bounds),
                None => Ok(None),
            },
            LogicalPlan::Filter(filter) if within.is_none() => self.filtered(filter),
            _ => Ok(None),
        }
    }

    /// The rows that an order and a limit keep of each group.
    fn numbered(&mut self, sort: &Sort, (skip, fetch): Bounds) -> Result<Option<Step>> {
        let Some(below) = self.step(&sort.input, None)? else { return Ok(None) };
        let mut window =
            WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new());
        window.params.partition_by = below.keys.iter().map(|(_, key)| key.clone()).collect();
        for key in &sort.expr {
            let expr = moved(key.expr.clone(), &sort.input, &below.columns)?;
            window.params.order_by.push(SortExpr { expr, ..key.clone() });
        }
        let number = self.name("row");
        let window = Expr::from(window).alias(&number);
        let number = Expr::Column(Column::new_unqualified(number));
        let (skip, last) = (skip as u64, skip.saturating_add(fetch) as u64);
        let kept = number.clone().gt(lit(skip)).and(number.lt_eq(lit(last)));
        let plan = LogicalPlanBuilder::from(below.plan).window(vec![window])?.filter(kept)?.build()?;
        Ok(Some(Step { plan, columns: below.columns, keys: below.keys }))
    }

    /// The rows of every outer row, each with the keys that it is found by.
    fn filtered(&mut self, filter: &Filter) -> Result<Option<Step>> {
        if !filter.input.all_out_ref_exprs().is_empty() {
            return Ok(None);
        }
        let (mut own, mut keys) = (Vec::new(), Vec::new());
        for part in split_conjunction_owned(filter.predicate.clone()) {
            if !part.contains_outer() {
                own.push(part);
                continue;
            }
            let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else {
                return Ok(None);
            };
            let (outer, inner) = if left.contains_outer() { (*left, *right) } else { (*right, *left) };
            if inner.contains_outer() || !outer.column_refs().is_empty() {
                return Ok(None);
            }
            keys.push((beside_its_rows(outer)?, inner));
        }
        let columns = columns_of(&filter.input);
        let mut all = columns.clone();
        let mut named = Vec::new();
        for (outer, inner) in keys {
            let name = self.name("key");
            all.push(inner.alias(&name));
            named.push((outer, Expr::Column(Column::new_unqualified(name))));
        }
        let mut plan = LogicalPlanBuilder::from(LogicalPlan::clone(&filter.input));
        if let Some(own) = conjunction(own) {
            plan = plan.filter(own)?;
        }
        Ok(Some(Step { plan: plan.project(all)?.build()?, columns, keys: named }))
    }
}

/// Every `(SELECT x … ORDER BY … LIMIT 1)` that reads the row around it, as the first value of what it finds.
pub fn in_expressions(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let replaced = expr.transform_up(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
            Ok(match first_value(subquery)? {
                Some(subquery) => Transformed::yes(Expr::ScalarSubquery(subquery)),
                None => Transformed::no(expr),
            })
        })?;
        Ok(replaced.update_data(|expr| name.restore(expr)))
    })
}

fn first_value(subquery: &Subquery) -> Result<Option<Subquery>> {
    let LogicalPlan::Limit(limit) = subquery.subquery.as_ref() else { return Ok(None) };
    if subquery.outer_ref_columns.is_empty() || bounds(limit)? != Some((0, 1)) {
        return Ok(None);
    }
    let mut value = match limit.input.schema().columns().into_iter().next() {
        Some(column) => Expr::Column(column),
        None => return Ok(None),
    };
    let mut below = &limit.input;
    while let LogicalPlan::Projection(projection) = below.as_ref() {
        value = moved(value, below, &projection.expr.iter().cloned().map(Expr::unalias).collect::<Vec<_>>())?;
        below = &projection.input;
    }
    let LogicalPlan::Sort(sort) = below.as_ref() else { return Ok(None) };
    let order = sort.expr.clone();
    let first = AggregateFunction::new_udf(first_value_udaf(), vec![value], false, None, order, None);
    let name = limit.input.schema().field(0).name();
    let first = Expr::AggregateFunction(first).alias(name);
    let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(&sort.input), Vec::new(), vec![first])?);
    Ok(Some(Subquery { subquery: Arc::new(plan), ..subquery.clone() }))
}
