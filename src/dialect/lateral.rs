//! LATERAL: what a subquery in a FROM computes of each row before it, without a table of its own, is computed beside
//! the row; and the first rows of each group that a LIMIT keeps are numbered, since the engine plans neither.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, RecursionUnnestOption, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::logical_plan::{Join, SubqueryAlias, Unnest};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, when};
use datafusion::optimizer::AnalyzerRule;

use super::functions::arrays;
use super::{first_rows, gathered, single};

#[derive(Debug)]
pub struct Laterals;

impl AnalyzerRule for Laterals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let planned = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) => joined(join),
            node => first_rows::in_expressions(node)?
                .transform_data(gathered::in_node)?
                .transform_data(single::perhaps_nothing),
        })?;
        Ok(planned.data)
    }

    fn name(&self) -> &str {
        "postgres_lateral"
    }
}

fn joined(join: Join) -> Result<Transformed<LogicalPlan>> {
    let subquery = match join.right.as_ref() {
        LogicalPlan::Subquery(subquery) => Arc::clone(&subquery.subquery),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => match input.as_ref() {
            LogicalPlan::Subquery(subquery) => Arc::clone(&subquery.subquery),
            _ => return Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        _ => return Ok(Transformed::no(LogicalPlan::Join(join))),
    };
    if !join.on.is_empty() || !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    if let Some(plan) = beside(&join, &subquery)? {
        return Ok(Transformed::yes(plan));
    }
    if let Some(plan) = first_rows::joined(&join, &subquery)? {
        return Ok(Transformed::yes(plan));
    }
    match gathered::joined(&join, &subquery)? {
        Some(plan) => Ok(Transformed::yes(plan)),
        None => Ok(Transformed::no(LogicalPlan::Join(join))),
    }
}

/// The rows of the left side with what the subquery computes of each, where it reads nothing else.
fn beside(join: &Join, subquery: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let left = LogicalPlan::clone(&join.left);
    let outer = join.join_type == JoinType::Left;
    let own = columns_of(&left);
    let mut rows = Rows {
        own: own.clone(),
        outer,
        filtered: false,
        names: 0,
        prefix: 0,
        flagged: outer,
        flags: Vec::new(),
    };
    let Some((plan, columns)) = rows.over(subquery, left)? else { return Ok(None) };
    let columns = if outer { of_found(columns, std::mem::take(&mut rows.flags))? } else { columns };
    let condition = join.filter.clone().filter(|filter| !is_true(filter));
    if outer && (rows.filtered || condition.is_some()) {
        return Ok(None);
    }
    let mut whole = own;
    whole.extend(named_as(&join.right, columns));
    let mut plan = LogicalPlanBuilder::from(plan).project(whole)?;
    if let Some(condition) = condition {
        plan = plan.filter(condition)?;
    }
    Ok(Some(plan.build()?))
}

/// What is computed for rows of a left join: nothing where nothing was found.
pub fn of_found(columns: Vec<Expr>, found: Vec<Expr>) -> Result<Vec<Expr>> {
    let Some(found) = conjunction(found) else { return Ok(columns) };
    columns.into_iter().map(|column| when(found.clone(), column).end()).collect()
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Boolean(Some(true)), _))
}

pub fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

/// Columns under the names that a plan gave them.
pub fn named_as(plan: &LogicalPlan, columns: Vec<Expr>) -> Vec<Expr> {
    let fields = plan.schema().iter();
    let name = |((qualifier, field), column): ((Option<&_>, &Arc<_>), Expr)| {
        let field: &arrow::datatypes::Field = field;
        column.alias_qualified(qualifier.cloned(), field.name())
    };
    fields.zip(columns).map(name).collect()
}

/// What a column of the outer query is beside its rows.
pub fn beside_its_rows(expr: Expr) -> Result<Expr> {
    let replaced = expr.transform_up(|expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}

/// An expression over the columns of a plan, over those that stand for them.
pub fn moved(expr: Expr, from: &LogicalPlan, to: &[Expr]) -> Result<Expr> {
    let replaced = expr.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let at = from.schema().index_of_column(column)?;
        Ok(match to.get(at) {
            Some(column) => Transformed::yes(column.clone()),
            None => Transformed::no(expr),
        })
    })?;
    Ok(replaced.data)
}

/// The rows of a plan, to which more columns are added.
pub struct Rows {
    own: Vec<Expr>,
    outer: bool,
    pub filtered: bool,
    pub names: usize,
    /// Tells the names of one gathering from those of another.
    prefix: usize,
    /// Whether what is taken apart says of each row whether anything came of it.
    flagged: bool,
    pub flags: Vec<Expr>,
}

impl Rows {
    /// Rows that all stay, and say whether something was found for them.
    pub fn gathered(own: Vec<Expr>, prefix: usize, names: usize) -> Rows {
        Rows { own, outer: true, filtered: false, names, prefix, flagged: true, flags: Vec::new() }
    }

    /// A name that no other column has: those of the subquery may be those of the rows.
    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("lateral {} {} {of}", self.prefix, self.names)
    }

    /// The rows with the columns of a subquery's step, or none where it reads a table.
    pub fn over(
        &mut self,
        step: &LogicalPlan,
        rows: LogicalPlan,
    ) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        match step {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Ok(Some((rows, Vec::new()))),
            LogicalPlan::SubqueryAlias(alias) => self.over(&alias.input, rows),
            LogicalPlan::Subquery(subquery) => self.over(&subquery.subquery, rows),
            LogicalPlan::Projection(projection) => {
                let Some((plan, columns)) = self.over(&projection.input, rows)? else { return Ok(None) };
                let (mut all, mut made) = (self.own.clone(), Vec::new());
                for expr in &projection.expr {
                    let bare = expr.clone().unalias();
                    let name = self.name(&expr.schema_name().to_string());
                    all.push(beside_its_rows(moved(bare, &projection.input, &columns)?)?.alias(&name));
                    made.push(Expr::Column(Column::new_unqualified(name)));
                }
                Ok(Some((LogicalPlanBuilder::from(plan).project(all)?.build()?, made)))
            }
            LogicalPlan::Filter(filter) => {
                let Some((plan, columns)) = self.over(&filter.input, rows)? else { return Ok(None) };
                self.filtered = true;
                let condition = moved(filter.predicate.clone(), &filter.input, &columns)?;
                let plan = LogicalPlanBuilder::from(plan).filter(beside_its_rows(condition)?)?.build()?;
                Ok(Some((plan, columns)))
            }
            LogicalPlan::Unnest(unnest) => self.unnested(unnest, rows),
            _ => Ok(None),
        }
    }

    fn unnested(&mut self, unnest: &Unnest, rows: LogicalPlan) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        let Some((plan, columns)) = self.over(&unnest.input, rows)? else { return Ok(None) };
        let stands_for = |column: &Column| -> Result<Option<Column>> {
            let at = unnest.input.schema().index_of_column(column)?;
            Ok(match columns.get(at) {
                Some(Expr::Column(column)) => Some(column.clone()),
                _ => None,
            })
        };
        let mut options = unnest.options.clone();
        options.recursions.clear();
        for recursion in &unnest.options.recursions {
            let Some(input_column) = stands_for(&recursion.input_column)? else { return Ok(None) };
            let output_column = Column::new_unqualified(self.name(&recursion.output_column.name));
            options.recursions.push(RecursionUnnestOption {
                input_column,
                output_column,
                depth: recursion.depth,
            });
        }
        let mut lists = Vec::new();
        for column in &unnest.exec_columns {
            match stands_for(column)? {
                Some(column) => lists.push(column),
                None => return Ok(None),
            }
        }
        // A row of which nothing comes stays in a left join.
        let plan = match self.outer {
            false => plan,
            true => {
                let kept = |column: Column| {
                    let list = Expr::Column(column.clone());
                    if lists.contains(&column) { arrays::or_null(list).alias(column.name) } else { list }
                };
                let mut all: Vec<Expr> = plan.schema().columns().into_iter().map(kept).collect();
                if self.flagged {
                    let some = |list: &Column| arrays::or_null(Expr::Column(list.clone())).is_not_null();
                    let name = self.name("flag");
                    all.extend(lists.iter().map(some).reduce(Expr::or).map(|some| some.alias(&name)));
                    self.own.push(Expr::Column(Column::new_unqualified(&name)));
                    self.flags.push(Expr::Column(Column::new_unqualified(name)));
                }
                LogicalPlanBuilder::from(plan).project(all)?.build()?
            }
        };
        let options = options.with_preserve_nulls(self.outer);
        let plan = LogicalPlan::Unnest(Unnest::try_new(Arc::new(plan), lists, options)?);
        let columns = plan.schema().columns().into_iter().map(Expr::Column);
        let made = columns.filter(|column| !self.own.contains(column)).collect();
        Ok(Some((plan, made)))
    }
}
