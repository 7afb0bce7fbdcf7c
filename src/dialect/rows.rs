//! Conditions over rows and over subqueries that the engine does not plan or answers otherwise, in words that it
//! answers alike: `(a, b) = (c, d)` column by column, `x > ALL (SELECT …)` by what must not exist, EXISTS as a value by
//! counting.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Spanned as _, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, UnaryOperator, Value, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::functions::arrays::{ALL, ANY};
use super::functions::periods::OVERLAPS;
use super::reword::call;
use super::sets;

/// What the rows of a subquery are called, which nobody else can call his.
const ROWS: &str = "starmill rows";

/// What of a condition means the same wherever it stands.
pub fn anywhere(expr: &mut Expr) {
    let said = match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => match (row(left), row(right)) {
            (Some(one), Some(other)) => {
                let ends: Vec<&Expr> = one.iter().chain(&other).collect();
                Some(call(OVERLAPS, left.span(), &ends))
            }
            _ => None,
        },
        Expr::BinaryOp { left, op, right } => match (row(left), row(right)) {
            (Some(left), Some(right)) => compared(&left, op, &right),
            _ => None,
        },
        Expr::InList { expr: one, list, negated } => {
            let one = row(one);
            let equal = one.and_then(|one| {
                let each = list.iter().map(|item| compared(&one, &BinaryOperator::Eq, &row(item)?));
                each.collect::<Option<Vec<Expr>>>().and_then(|each| joined(each, &BinaryOperator::Or))
            });
            equal.map(|equal| if *negated { not(equal) } else { equal })
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => subquery(right).map(|subquery| {
            Expr::InSubquery { expr: left.clone(), subquery: Box::new(subquery.clone()), negated: false }
        }),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => subquery(right).map(|subquery| {
            Expr::InSubquery { expr: left.clone(), subquery: Box::new(subquery.clone()), negated: true }
        }),
        Expr::IsNull(inner) => each_of(inner, Expr::IsNull),
        Expr::IsNotNull(inner) => each_of(inner, Expr::IsNotNull),
        _ => None,
    };
    if let Some(said) = said.or_else(|| of_array(expr)) {
        *expr = said;
    }
}

/// `(a, b) IS NULL`: all of its columns are; `IS NOT NULL`: none of them is.
fn each_of(inner: &Expr, asked: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let each = row(inner)?.into_iter().map(|column| asked(Box::new(column))).collect();
    joined(each, &BinaryOperator::And).map(nested)
}

/// `x op ANY (array)` as a function of our own, which knows NULL as Postgres does.
fn of_array(expr: &Expr) -> Option<Expr> {
    let (left, op, right, names) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op, right, ANY),
        Expr::AllOp { left, compare_op, right } => (left, compare_op, right, ALL),
        _ => return None,
    };
    if subquery(right).is_some() {
        return None;
    }
    let op = op.to_string();
    let (_, name) = names.into_iter().find(|(written, _)| *written == op)?;
    Some(call(name, expr.span(), &[left, right]))
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => bare(inner),
        other => other,
    }
}

/// The columns of `(a, b)` and of `ROW(a, b)`.
fn row(expr: &Expr) -> Option<Vec<Expr>> {
    match bare(expr) {
        Expr::Tuple(row) if row.len() > 1 => Some(row.clone()),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            sets::arguments(function)
        }
        _ => None,
    }
}

fn subquery(expr: &Expr) -> Option<&Query> {
    match bare(expr) {
        Expr::Subquery(query) => Some(query),
        _ => None,
    }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(expr)) }
}

fn binary(left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    nested(Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) })
}

fn joined(parts: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    parts.into_iter().reduce(|left, right| binary(left, op, right))
}

/// Rows are equal where all columns are; else the first that differ decide. NULL counts as in the columns.
fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    let by = |op: &BinaryOperator| {
        left.iter().zip(right).map(|(left, right)| binary(left.clone(), op, right.clone())).collect()
    };
    if left.len() != right.len() {
        return None;
    }
    let (strict, last) = match op {
        BinaryOperator::Eq => return joined(by(op), &BinaryOperator::And),
        BinaryOperator::NotEq => return joined(by(op), &BinaryOperator::Or),
        BinaryOperator::Lt | BinaryOperator::LtEq => (BinaryOperator::Lt, op),
        BinaryOperator::Gt | BinaryOperator::GtEq => (BinaryOperator::Gt, op),
        _ => return None,
    };
    let mut pairs = left.iter().zip(right).rev();
    let (end, of) = pairs.next()?;
    let mut whole = binary(end.clone(), last, of.clone());
    for (left, right) in pairs {
        let equal = binary(left.clone(), &BinaryOperator::Eq, right.clone());
        let rest = binary(equal, &BinaryOperator::And, whole);
        whole = binary(binary(left.clone(), &strict, right.clone()), &BinaryOperator::Or, rest);
    }
    Some(whole)
}

/// What of a condition of WHERE, HAVING or ON keeps the same rows: NULL keeps none, no more than false does.
pub fn keeping_rows(condition: &mut Expr) {
    match condition {
        Expr::Nested(inner) => keeping_rows(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            keeping_rows(left);
            keeping_rows(right);
        }
        other => {
            if let Some(said) = existing(other) {
                *other = said;
            }
        }
    }
}

fn existing(expr: &Expr) -> Option<Expr> {
    let (left, op, query, every) = match expr {
        Expr::InSubquery { expr, subquery, negated } => {
            row(expr)?;
            let op = if *negated { BinaryOperator::NotEq } else { BinaryOperator::Eq };
            (expr, op, subquery.as_ref(), *negated)
        }
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op.clone(), subquery(right)?, false),
        Expr::AllOp { left, compare_op, right } => (left, compare_op.clone(), subquery(right)?, true),
        _ => return None,
    };
    let left = row(left).unwrap_or_else(|| vec![left.as_ref().clone()]);
    let columns: Vec<Ident> =
        (1..=left.len()).map(|at| Ident::with_quote('"', format!("row {at}"))).collect();
    let right: Vec<Expr> = columns.iter().cloned().map(Expr::Identifier).collect();
    let compared = match left.as_slice() {
        [one] => binary(one.clone(), &op, right[0].clone()),
        _ => compared(&left, &op, &right)?,
    };
    // ALL: no row may be of which it is not true.
    let wanted = if every { Expr::IsNotTrue(Box::new(compared)) } else { compared };
    let column = |name: &Ident| TableAliasColumnDef { name: name.clone(), data_type: None };
    let mut query = query.clone();
    if let SetExpr::Select(select) = query.body.as_mut() {
        // Columns that are selected twice have two names.
        for (item, name) in select.projection.iter_mut().zip(&columns) {
            if let SelectItem::UnnamedExpr(expr) = item {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name.clone() };
            }
        }
    }
    let rows = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::with_quote('"', ROWS),
            columns: columns.iter().map(column).collect(),
            at: None,
        }),
        sample: None,
    };
    let mut subquery =
        Parser::new(&PostgreSqlDialect {}).try_with_sql("SELECT 1").ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = subquery.body.as_mut() else { return None };
    select.from = vec![TableWithJoins { relation: rows, joins: Vec::new() }];
    select.selection = Some(wanted);
    Some(Expr::Exists { subquery, negated: every })
}

/// EXISTS and IN where their values are used, by the number of rows; as conditions they are planned as they are.
pub fn values(select: &mut Select) {
    struct Values(usize);
    impl VisitorMut for Values {
        type Break = ();
        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if self.0 == 0 {
                existence(expr);
                membership(expr);
            }
            ControlFlow::Continue(())
        }
    }
    let mut values = Values(0);
    let _ = visit::change(&mut select.projection, &mut values);
    if let Some(condition) = &mut select.selection {
        inside(condition, &mut |expr| {
            let _ = visit::change(expr, &mut Values(0));
        });
    }
}

/// What stands inside of the conditions that rows must meet.
fn inside(condition: &mut Expr, see: &mut dyn FnMut(&mut Expr)) {
    match condition {
        Expr::Nested(inner) => inside(inner, see),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            inside(left, see);
            inside(right, see);
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } if matches!(bare(expr), Expr::Exists { .. }) => {}
        Expr::Exists { .. } | Expr::InSubquery { .. } => {}
        other => see(other),
    }
}

/// `x IN (SELECT …)`: true where an equal row is; else NULL where one may be; else false.
fn membership(expr: &mut Expr) {
    let Expr::InSubquery { expr: one, subquery, negated } = expr else { return };
    if row(one).is_some() {
        return;
    }
    let text = "CASE WHEN (SELECT count(*) FROM r AS r (\"row 1\") WHERE \"row 1\" = one) > 0 THEN true \
        WHEN one IS NULL AND (SELECT count(*) FROM r AS r (\"row 1\")) > 0 THEN NULL \
        WHEN (SELECT count(*) FROM r AS r (\"row 1\") WHERE \"row 1\" IS NULL) > 0 THEN NULL ELSE false END";
    let Ok(mut said) =
        Parser::new(&PostgreSqlDialect {}).try_with_sql(text).and_then(|mut parser| parser.parse_expr())
    else {
        return;
    };
    struct Put<'a>(&'a Expr, &'a Query);
    impl VisitorMut for Put<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if matches!(&*expr, Expr::Identifier(name) if name.value == "one") {
                *expr = nested(self.0.clone());
            }
            ControlFlow::Continue(())
        }
        fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { alias: Some(alias), .. } = factor {
                alias.name = Ident::with_quote('"', ROWS);
                let (alias, subquery) = (Some(alias.clone()), Box::new(self.1.clone()));
                *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
            }
            ControlFlow::Continue(())
        }
    }
    let _ = visit::change(&mut said, &mut Put(one, subquery));
    *expr = if *negated { not(said) } else { nested(said) };
}

fn existence(expr: &mut Expr) {
    let Expr::Exists { subquery, negated } = expr else { return };
    let SetExpr::Select(select) = subquery.body.as_mut() else { return };
    let plain = select.distinct.is_none()
        && select.having.is_none()
        && subquery.limit_clause.is_none()
        && subquery.fetch.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty())
        && !select.projection.iter().any(aggregates);
    if !plain {
        return;
    }
    let count =
        Parser::new(&PostgreSqlDialect {}).try_with_sql("count(*)").and_then(|mut it| it.parse_expr());
    let Ok(count) = count else { return };
    subquery.order_by = None;
    select.projection = vec![SelectItem::UnnamedExpr(count)];
    let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
    let none = Expr::value(Value::Number("0".to_owned(), false));
    *expr = binary(Expr::Subquery(subquery.clone()), &op, none);
}

/// Whether what is selected may be one row of all.
fn aggregates(item: &SelectItem) -> bool {
    struct Calls(bool);
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= matches!(expr, Expr::Function(_));
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls(false);
    let _ = visit::see(item, &mut calls);
    calls.0
}
