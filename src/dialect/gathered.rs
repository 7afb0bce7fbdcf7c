//! Subqueries that read the row around them by more than equal keys: `(SELECT count(*) FROM b WHERE b.at < a.at)`,
//! `(SELECT sum(x) FROM unnest(a.tags) AS x)`. The engine plans none of them. Each row is numbered, joined with what
//! the subquery finds for it, and gathered again.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::{Join, Subquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Filter, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Operator,
    Projection, SortExpr, WindowFunctionDefinition, lit,
};

use super::first_rows::bounds;
use super::lateral::{Rows, beside_its_rows, columns_of, moved, named_as, of_found};
use super::single;

/// A projection or a filter whose subqueries are gathered beside its rows.
pub fn in_node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let input = match &node {
        LogicalPlan::Projection(projection) => Arc::clone(&projection.input),
        LogicalPlan::Filter(filter) => Arc::clone(&filter.input),
        _ => return Ok(Transformed::no(node)),
    };
    if !has_open(&node)? {
        return Ok(Transformed::no(node));
    }
    let whole = columns_of(&input);
    let mut rows = LogicalPlan::clone(&input);
    if let LogicalPlan::Filter(filter) = node {
        let mut kept = Vec::new();
        for part in split_conjunction_owned(filter.predicate.clone()) {
            // What a row has to find elsewhere the engine joins itself.
            kept.push(if is_native(&part)? { part } else { beside(part, &mut rows)? });
        }
        let predicate = conjunction(kept).unwrap_or(lit(true));
        if predicate == filter.predicate {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let kept = LogicalPlanBuilder::from(rows).filter(predicate)?.project(whole)?.build()?;
        return Ok(Transformed::yes(kept));
    }
    let names = NamePreserver::new(&node);
    let mut all = Vec::new();
    for expr in node.expressions() {
        let name = names.save(&expr);
        all.push(name.restore(beside(expr, &mut rows)?));
    }
    match all == node.expressions() {
        true => Ok(Transformed::no(node)),
        false => Ok(Transformed::yes(LogicalPlanBuilder::from(rows).project(all)?.build()?)),
    }
}

/// An expression with the values of its subqueries, which are added to the rows.
fn beside(expr: Expr, rows: &mut LogicalPlan) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| {
        let value = match &expr {
            Expr::ScalarSubquery(subquery) if is_open(subquery)? && is_one_row(&subquery.subquery) => {
                value_of(&subquery.subquery, rows)?
            }
            Expr::ScalarSubquery(subquery) if is_open(subquery)? || is_single(subquery) => {
                single::value_of(&subquery.subquery, rows)?
            }
            Expr::Exists(exists) if is_open(&exists.subquery)? => {
                let count = value_of(&counted(&exists.subquery)?, rows)?;
                count.map(|count| if exists.negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) })
            }
            _ => None,
        };
        Ok(value.map_or(Transformed::no(expr), Transformed::yes))
    })?;
    Ok(replaced.data)
}

/// Whether a condition is that a row finds others in a table, or none.
fn is_native(condition: &Expr) -> Result<bool> {
    match condition {
        Expr::Exists(exists) => Ok(!takes_apart(&exists.subquery.subquery)?),
        Expr::Not(inner) => is_native(inner),
        _ => Ok(false),
    }
}

/// The rows of the left side with what a LATERAL subquery finds for each.
pub fn joined(join: &Join, subquery: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let rows = numbered(LogicalPlan::clone(&join.left))?;
    let mut gathered = Gathered::new(&rows);
    let Some((plan, columns)) = gathered.over(subquery, rows)? else { return Ok(None) };
    let condition = join.filter.clone().filter(|filter| *filter != lit(true));
    let outer = join.join_type == JoinType::Left;
    // Of a left join a row stays of which nothing is found. One that a condition takes away later has no place to stay.
    if outer && (condition.is_some() || gathered.drops) {
        return Ok(None);
    }
    let columns = if outer { of_found(columns, gathered.markers.clone())? } else { columns };
    let mut whole = columns_of(&join.left);
    whole.extend(named_as(&join.right, columns));
    let mut plan = LogicalPlanBuilder::from(plan);
    let kept = if outer { conjunction(gathered.kept) } else { conjunction(gathered.markers) };
    if let Some(kept) = kept {
        plan = plan.filter(kept)?;
    }
    plan = plan.project(whole)?;
    if let Some(condition) = condition {
        plan = plan.filter(condition)?;
    }
    Ok(Some(plan.build()?))
}

fn has_open(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            found |= match expr {
                Expr::ScalarSubquery(subquery) => is_open(subquery)? || is_single(subquery),
                Expr::Exists(exists) => is_open(&exists.subquery)?,
                _ => false,
            };
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Whether a subquery reads the row around it by more than conditions of equal keys.
fn is_open(subquery: &Subquery) -> Result<bool> {
    if subquery.outer_ref_columns.is_empty() {
        return Ok(false);
    }
    let mut open = false;
    subquery.subquery.apply_with_subqueries(|node| {
        open |= match node {
            LogicalPlan::Filter(Filter { predicate, .. }) => split_conjunction(predicate)
                .into_iter()
                .any(|part| part.contains_outer() && !is_equal_key(part)),
            LogicalPlan::Projection(_) => {
                node.all_out_ref_exprs().iter().any(Expr::contains_outer) && takes_apart(&subquery.subquery)?
            }
            _ => false,
        };
        Ok(if open { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(open)
}

fn takes_apart(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Unnest(_))))
}

/// `inner = outer`, which the engine plans.
pub fn is_equal_key(part: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return false };
    let (outer, inner) = if left.contains_outer() { (left, right) } else { (right, left) };
    !inner.contains_outer() && outer.column_refs().is_empty()
}

/// Whether a subquery reads the row around it, and may have more than one row.
fn is_single(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty() && !is_one_row(&subquery.subquery)
}

/// Whether a subquery has one row, whatever it finds.
pub fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) => {
            plan.inputs().into_iter().all(is_one_row)
        }
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// How many rows a subquery has.
fn counted(subquery: &Subquery) -> Result<LogicalPlan> {
    let count = AggregateFunction::new_udf(count_udaf(), vec![lit(1_i64)], false, None, Vec::new(), None);
    let count = Expr::AggregateFunction(count).alias("count");
    let aggregate = Aggregate::try_new(Arc::clone(&subquery.subquery), Vec::new(), vec![count])?;
    Ok(LogicalPlan::Aggregate(aggregate))
}

/// The value that a subquery has for each of the rows, as a column that is added to them.
pub fn value_of(subquery: &LogicalPlan, rows: &mut LogicalPlan) -> Result<Option<Expr>> {
    let numbered = numbered(rows.clone())?;
    let mut gathered = Gathered::new(&numbered);
    let Some((plan, columns)) = gathered.over(subquery, numbered)? else { return Ok(None) };
    // Only what was aggregated is one row for each.
    if !gathered.whole {
        return Ok(None);
    }
    let Some(value) = columns.into_iter().next() else { return Ok(None) };
    let name = gathered.name("value");
    let mut all = gathered.own.clone();
    all.push(value.alias(&name));
    *rows = LogicalPlanBuilder::from(plan).project(all)?.build()?;
    Ok(Some(Expr::Column(Column::new_unqualified(name))))
}

const ROW: &str = "gathered row";

/// Rows that are told apart, once.
fn numbered(plan: LogicalPlan) -> Result<LogicalPlan> {
    if columns_of(&plan).iter().any(is_number) {
        return Ok(plan);
    }
    let mut number = WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new());
    // Which row has which number does not matter.
    number.params.order_by = vec![SortExpr::new(lit(ScalarValue::Null), true, false)];
    let name = format!("{ROW} {}", plan.schema().fields().len());
    LogicalPlanBuilder::from(plan).window(vec![Expr::from(number).alias(name)])?.build()
}

/// Whether a column is the number of a row.
pub fn is_number(of: &Expr) -> bool {
    matches!(of, Expr::Column(column) if column.name.starts_with(ROW))
}

/// Rows, and what is found for each of them.
struct Gathered {
    own: Vec<Expr>,
    /// What says that a row of the subquery is one.
    markers: Vec<Expr>,
    /// Of those, what a left join keeps its rows by.
    kept: Vec<Expr>,
    /// Whether each of the rows stands there once again.
    whole: bool,
    /// Whether a condition takes rows away after they were joined.
    drops: bool,
    names: usize,
    prefix: usize,
}

impl Gathered {
    fn new(rows: &LogicalPlan) -> Gathered {
        let own = columns_of(rows);
        let prefix = own.len();
        Gathered { own, markers: Vec::new(), kept: Vec::new(), whole: false, drops: false, names: 0, prefix }
    }

    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("gathered {} {} {of}", self.prefix, self.names)
    }

    fn over(&mut self, step: &LogicalPlan, rows: LogicalPlan) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        match step {
            LogicalPlan::SubqueryAlias(alias) => self.over(&alias.input, rows),
            LogicalPlan::Subquery(subquery) => self.over(&subquery.subquery, rows),
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Ok(Some((rows, Vec::new()))),
            _ if step.all_out_ref_exprs().is_empty() => self.joined(step, Vec::new(), rows),
            LogicalPlan::Projection(projection) => {
                let Some((plan, columns)) = self.over(&projection.input, rows)? else { return Ok(None) };
                let mut all = self.carried();
                let mut made = Vec::new();
                for expr in &projection.expr {
                    let name = self.name("column");
                    let bare = moved(expr.clone().unalias(), &projection.input, &columns)?;
                    all.push(beside_its_rows(bare)?.alias(&name));
                    made.push(Expr::Column(Column::new_unqualified(name)));
                }
                Ok(Some((LogicalPlanBuilder::from(plan).project(all)?.build()?, made)))
            }
            LogicalPlan::Filter(filter) => self.filtered(filter, rows),
            LogicalPlan::Unnest(unnest) => {
                let mut beside = Rows::gathered(self.carried(), self.prefix, self.names);
                let Some((plan, columns)) = beside.over(&LogicalPlan::Unnest(unnest.clone()), rows)? else {
                    return Ok(None);
                };
                if beside.filtered {
                    return Ok(None);
                }
                self.names = beside.names;
                self.markers.extend(beside.flags);
                Ok(Some((plan, columns)))
            }
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                self.aggregated(aggregate, rows)
            }
            LogicalPlan::Limit(limit) => self.limited(limit, rows),
            _ => Ok(None),
        }
    }

    /// The first rows that are found for each, by an order.
    fn limited(&mut self, limit: &Limit, rows: LogicalPlan) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        // What is computed of the rows may wait until they are chosen.
        if let LogicalPlan::Projection(projection) = limit.input.as_ref() {
            let chosen = Limit { input: Arc::clone(&projection.input), ..limit.clone() };
            let chosen = Arc::new(LogicalPlan::Limit(chosen));
            let chosen = Projection::try_new(projection.expr.clone(), chosen)?;
            return self.over(&LogicalPlan::Projection(chosen), rows);
        }
        let (Some((0, fetch)), LogicalPlan::Sort(sort)) = (bounds(limit)?, limit.input.as_ref()) else {
            return Ok(None);
        };
        let Some((plan, columns)) = self.over(&sort.input, rows)? else { return Ok(None) };
        let mut number =
            WindowFunction::new(WindowFunctionDefinition::WindowUDF(row_number_udwf()), Vec::new());
        number.params.partition_by = self.own.iter().filter(|of| is_number(of)).cloned().collect();
        // What is no row of the subquery comes last.
        let last = |marker: &Expr| SortExpr::new(marker.clone(), false, false);
        number.params.order_by = self.markers.iter().map(last).collect();
        for key in &sort.expr {
            let expr = beside_its_rows(moved(key.expr.clone(), &sort.input, &columns)?)?;
            number.params.order_by.push(SortExpr { expr, ..key.clone() });
        }
        let name = self.name("number");
        let plan = LogicalPlanBuilder::from(plan).window(vec![Expr::from(number).alias(&name)])?.build()?;
        let kept = Expr::Column(Column::new_unqualified(name)).lt_eq(lit(fetch as u64));
        self.kept.push(kept.clone());
        self.markers.push(kept);
        Ok(Some((plan, columns)))
    }

    /// The rows' own columns, and those of markers.
    fn carried(&self) -> Vec<Expr> {
        let mut all = self.own.clone();
        for marker in self.markers.iter().chain(&self.kept) {
            for column in marker.column_refs() {
                let column = Expr::Column(column.clone());
                if !all.contains(&column) {
                    all.push(column);
                }
            }
        }
        all
    }

    /// Rows that are found by conditions.
    fn filtered(&mut self, filter: &Filter, rows: LogicalPlan) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        let parts = split_conjunction_owned(filter.predicate.clone());
        if filter.input.all_out_ref_exprs().is_empty() {
            return self.joined(&filter.input, parts, rows);
        }
        let Some((plan, columns)) = self.over(&filter.input, rows)? else { return Ok(None) };
        let (mut all, name) = (columns_of(&plan), self.name("kept"));
        let condition = moved(filter.predicate.clone(), &filter.input, &columns)?;
        all.push(beside_its_rows(condition)?.alias(&name));
        self.drops = true;
        self.markers.push(Expr::Column(Column::new_unqualified(name)));
        Ok(Some((LogicalPlanBuilder::from(plan).project(all)?.build()?, columns)))
    }

    /// The rows beside those of a plan that does not read them.
    fn joined(
        &mut self,
        found: &LogicalPlan,
        parts: Vec<Expr>,
        rows: LogicalPlan,
    ) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        if parts.iter().any(has_subquery) {
            return Ok(None);
        }
        let (open, own): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(Expr::contains_outer);
        let mut right = LogicalPlanBuilder::from(found.clone());
        if let Some(own) = conjunction(own) {
            right = right.filter(own)?;
        }
        let (mut all, mut columns) = (Vec::new(), Vec::new());
        for column in columns_of(found) {
            let name = self.name("found");
            all.push(column.alias(&name));
            columns.push(Expr::Column(Column::new_unqualified(name)));
        }
        let marker = self.name("is found");
        all.push(lit(true).alias(&marker));
        let right = right.project(all)?.build()?;
        let conditions = open.into_iter().map(|part| beside_its_rows(moved(part, found, &columns)?));
        let mut conditions: Vec<Expr> = conditions.collect::<Result<_>>()?;
        if conditions.is_empty() {
            conditions.push(lit(true));
        }
        let plan = LogicalPlanBuilder::from(rows).join_on(right, JoinType::Left, conditions)?.build()?;
        self.markers.push(Expr::Column(Column::new_unqualified(marker)).is_not_null());
        Ok(Some((plan, columns)))
    }

    /// One row again for each, with what was aggregated of those found for it.
    fn aggregated(
        &mut self,
        aggregate: &Aggregate,
        rows: LogicalPlan,
    ) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        let Some((plan, columns)) = self.over(&aggregate.input, rows)? else { return Ok(None) };
        let is_found = conjunction(self.markers.drain(..));
        let (mut calls, mut made) = (Vec::new(), Vec::new());
        for call in &aggregate.aggr_expr {
            let Expr::AggregateFunction(mut of) = call.clone().unalias() else { return Ok(None) };
            let over = |expr: Expr| beside_its_rows(moved(expr, &aggregate.input, &columns)?);
            let args = std::mem::take(&mut of.params.args);
            of.params.args = args.into_iter().map(over).collect::<Result<_>>()?;
            for key in &mut of.params.order_by {
                key.expr = over(key.expr.clone())?;
            }
            let filter = of.params.filter.take().map(|filter| over(*filter)).transpose()?;
            of.params.filter = conjunction(filter.into_iter().chain(is_found.clone())).map(Box::new);
            let name = self.name("aggregate");
            calls.push(Expr::AggregateFunction(of).alias(&name));
            made.push(Expr::Column(Column::new_unqualified(name)));
        }
        self.kept.clear();
        self.drops = false;
        self.whole = true;
        let aggregate = Aggregate::try_new(Arc::new(plan), self.own.clone(), calls)?;
        Ok(Some((LogicalPlan::Aggregate(aggregate), made)))
    }
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    })
    .unwrap_or(true)
}
