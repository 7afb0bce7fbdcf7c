//! What the parser reads otherwise than Postgres, and says only in part: `a IS DISTINCT FROM b AND c`, windows that
//! extend a window, `float`. Put right where it stands in the query.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, ExactNumberInfo, Expr, Function, GroupByExpr, Ident, NamedWindowDefinition,
    NamedWindowExpr, ObjectNamePart, Query, Select, SelectItem, SetExpr, Spanned as _, UnaryOperator, Value,
    Visitor, VisitorMut, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::independent::END_OF_KEYS;
use super::lists::is_text;
use super::reword::call;
use super::table;
use super::words::folded;

/// Conditions in a row, in the order in which they are written.
#[derive(Debug, Default)]
struct Chain {
    first: Option<Expr>,
    rest: Vec<(BinaryOperator, Expr)>,
}

/// `a IS DISTINCT FROM b AND c`, of which the parser takes all that follows for the right side.
pub fn distinct_from(expr: &mut Expr) {
    if !swallows(expr) {
        return;
    }
    let taken = std::mem::replace(expr, Expr::Tuple(Vec::new()));
    *expr = joined(chain(taken));
}

fn is_link(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or)
}

/// Whether at the right end of a condition one has swallowed others.
fn swallows(expr: &Expr) -> bool {
    match expr {
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => {
            matches!(right.as_ref(), Expr::BinaryOp { op, .. } if is_link(op)) || swallows(right)
        }
        Expr::BinaryOp { op, right, .. } if is_link(op) => swallows(right),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => swallows(expr),
        _ => false,
    }
}

fn chain(expr: Expr) -> Chain {
    let whole = |first| Chain { first: Some(first), rest: Vec::new() };
    match expr {
        Expr::BinaryOp { left, op, right } if is_link(&op) => {
            let mut found = chain(*left);
            let after = chain(*right);
            found.rest.extend(after.first.map(|first| (op, first)));
            found.rest.extend(after.rest);
            found
        }
        Expr::IsDistinctFrom(left, right) => {
            let mut found = chain(*right);
            found.first = found.first.map(|first| Expr::IsDistinctFrom(left, Box::new(first)));
            found
        }
        Expr::IsNotDistinctFrom(left, right) => {
            let mut found = chain(*right);
            found.first = found.first.map(|first| Expr::IsNotDistinctFrom(left, Box::new(first)));
            found
        }
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
            let mut found = chain(*expr);
            let not = |expr| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) };
            found.first = found.first.map(not);
            found
        }
        other => whole(other),
    }
}

/// AND binds more closely than OR.
fn joined(chain: Chain) -> Expr {
    let binary = |left, op, right| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    let mut all: Vec<Expr> = chain.first.into_iter().collect();
    for (op, next) in chain.rest {
        match (op, all.pop()) {
            (BinaryOperator::And, Some(last)) => all.push(binary(last, BinaryOperator::And, next)),
            (_, last) => {
                all.extend(last);
                all.push(next);
            }
        }
    }
    let either = |left, right| binary(left, BinaryOperator::Or, right);
    all.into_iter().reduce(either).unwrap_or(Expr::Tuple(Vec::new()))
}

/// `float` and `float(25)` are doubles, `float(24)` is a real.
pub fn float(data_type: &mut DataType) {
    let DataType::Float(bits) = data_type else { return };
    *data_type = match bits {
        ExactNumberInfo::Precision(1..=24) => DataType::Real,
        _ => DataType::DoublePrecision,
    };
}

/// Digits of seconds that every time has here.
pub const MICROSECONDS: u64 = 6;

/// A timestamp counts microseconds, where the engine would count a thousandth of them, and end in the year 2262.
pub fn micros(data_type: &mut DataType) {
    if let DataType::Timestamp(digits @ None, _) = data_type {
        *digits = Some(MICROSECONDS);
    }
}

/// Windows that have no frame.
const FRAMELESS: [&str; 8] =
    ["row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead"];

/// A frame that nobody wrote ends with the last row that is ordered like the current one. The engine ends it with the row
/// itself where it takes the order for one without equals, which it may be no more.
pub fn default_frame(expr: &mut Expr) {
    let Expr::Function(Function { name, over: Some(WindowType::WindowSpec(spec)), .. }) = expr else {
        return;
    };
    let called = name.0.last().and_then(ObjectNamePart::as_ident).map(folded).unwrap_or_default();
    if spec.window_frame.is_none() && !spec.order_by.is_empty() && !FRAMELESS.contains(&called.as_str()) {
        spec.window_frame = Some(WindowFrame {
            units: WindowFrameUnits::Range,
            start_bound: WindowFrameBound::Preceding(None),
            end_bound: Some(WindowFrameBound::CurrentRow),
        });
    }
}

/// `GROUP BY ()`, which is what an aggregate without GROUP BY means.
pub fn one_group(select: &mut Select) {
    let GroupByExpr::Expressions(keys, modifiers) = &mut select.group_by else { return };
    let is_empty = |key: &Expr| matches!(key, Expr::Tuple(of) if of.is_empty());
    if modifiers.is_empty() && keys.len() == 1 && keys.iter().all(is_empty) {
        let mut calls = Aggregates(false);
        let _ = visit::see(&select.projection, &mut calls);
        let _ = visit::see(&select.having, &mut calls);
        if calls.0 {
            keys.clear();
        }
    }
}

/// Whether something is aggregated.
struct Aggregates(bool);

impl Visitor for Aggregates {
    type Break = ();
    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && function.over.is_none()
        {
            let name = function.name.0.last().and_then(ObjectNamePart::as_ident).map(folded);
            let line = name.and_then(|name| table::line(&name));
            self.0 |= line.is_some_and(|line| line.kind == table::Kind::Aggregate);
        }
        ControlFlow::Continue(())
    }
}

/// `dec(10, 1)`, as standard SQL may call a numeric.
pub fn named_type(data_type: &mut DataType) {
    if let DataType::Dec(info) = data_type {
        *data_type = DataType::Numeric(*info);
    }
}

/// `GROUP BY ROLLUP (1, 2)`: a number is a column of the SELECT there, too.
pub fn numbered_keys(select: &mut Select) {
    let columns: Vec<Option<Expr>> = select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
            _ => None,
        })
        .collect();
    // Behind a * nobody knows here which column a number is.
    if columns.iter().any(Option::is_none) {
        return;
    }
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    for key in keys {
        let (Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)) = key else { continue };
        for key in sets.iter_mut().flatten() {
            if let Expr::Value(value) = key
                && let Value::Number(number, _) = &value.value
                && let Some(place) = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1))
                && let Some(Some(column)) = columns.get(place)
            {
                *key = column.clone();
            }
        }
    }
}

/// Tells where the keys of a GROUP BY end.
pub fn written_keys(select: &mut Select) {
    let GroupByExpr::Expressions(keys, modifiers) = &mut select.group_by else { return };
    let sets =
        |key: &Expr| matches!(key, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_) | Expr::Tuple(_));
    if !keys.is_empty() && modifiers.is_empty() && !keys.iter().any(|key| sets(key) || is_end_of_keys(key)) {
        keys.push(call(END_OF_KEYS, select.select_token.0.span, &[]));
    }
}

pub fn is_end_of_keys(key: &Expr) -> bool {
    matches!(key, Expr::Function(of) if of.name.to_string().contains(END_OF_KEYS))
}

/// A text that a column of another type becomes in the first member is a plain one, of which nothing is noted any more: the
/// engine wants the same said of the column in every step.
fn plain_text(item: &mut SelectItem) {
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
        && let Expr::Cast { expr: inner, data_type, .. } = &*expr
        && (matches!(data_type, DataType::Text) || is_text(data_type))
        && matches!(inner.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_))
    {
        // All of it, as a function gives it.
        let first = Expr::value(Value::Number("1".to_owned(), false));
        *expr = call("substr", expr.span(), &[&expr.clone(), &first]);
    }
}

/// A cast among what the step of a recursive query gives, written twice: so it is told from the one by which the engine
/// makes the step's columns those of the first member.
pub fn steps(query: &mut Query) {
    let Some(with) = query.with.as_mut().filter(|with| with.recursive) else { return };
    for cte in &mut with.cte_tables {
        let SetExpr::SetOperation { left, right, .. } = cte.query.body.as_mut() else { continue };
        if let SetExpr::Select(first) = left.as_mut() {
            first.projection.iter_mut().for_each(plain_text);
        }
        let SetExpr::Select(select) = right.as_mut() else { continue };
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                && let Expr::Cast { kind, data_type, array, .. } = &*expr
            {
                let (kind, data_type, array) = (kind.clone(), data_type.clone(), *array);
                let once = Box::new(std::mem::replace(expr, Expr::value(Value::Null)));
                *expr = Expr::Cast { kind, expr: once, data_type, array, format: None };
            }
        }
    }
}

/// Windows that extend another, each with what it takes from it.
pub fn windows(select: &mut Select) {
    let mut known: Vec<(String, WindowSpec)> = Vec::new();
    for NamedWindowDefinition(name, window) in &mut select.named_window {
        let spec = match window {
            NamedWindowExpr::NamedWindow(other) => find(&known, other).cloned(),
            NamedWindowExpr::WindowSpec(spec) => {
                extend(spec, &known);
                Some(spec.clone())
            }
        };
        known.extend(spec.map(|spec| (folded(name), spec)));
    }
    struct Over<'a>(&'a [(String, WindowSpec)]);
    impl VisitorMut for Over<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(Function { over: Some(over), .. }) = expr {
                match over {
                    WindowType::WindowSpec(spec) => extend(spec, self.0),
                    WindowType::NamedWindow(name) => {
                        if let Some(spec) = find(self.0, name) {
                            *over = WindowType::WindowSpec(spec.clone());
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    if !known.is_empty() {
        let _ = visit::change(&mut select.projection, &mut Over(&known));
        let _ = visit::change(&mut select.qualify, &mut Over(&known));
        select.named_window.clear();
    }
}

fn find<'a>(known: &'a [(String, WindowSpec)], name: &Ident) -> Option<&'a WindowSpec> {
    let name = folded(name);
    known.iter().find(|(known, _)| *known == name).map(|(_, spec)| spec)
}

fn extend(spec: &mut WindowSpec, known: &[(String, WindowSpec)]) {
    let Some(base) = spec.window_name.as_ref().and_then(|name| find(known, name)) else { return };
    spec.partition_by.clone_from(&base.partition_by);
    if spec.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
    spec.window_name = None;
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn what_follows_a_distinct_from_is_not_its_right_side() {
        for (written, meant) in [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("x AND a IS NOT DISTINCT FROM b OR c", "(x AND (a IS NOT DISTINCT FROM b)) OR c"),
            ("x OR a IS DISTINCT FROM b AND c", "x OR ((a IS DISTINCT FROM b) AND c)"),
            ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
            (
                "a IS DISTINCT FROM b AND c IS DISTINCT FROM d OR e",
                "((a IS DISTINCT FROM b) AND (c IS DISTINCT FROM d)) OR e",
            ),
            ("a IS DISTINCT FROM (b AND c)", "a IS DISTINCT FROM (b AND c)"),
        ] {
            let parsed = |text: &str| {
                Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap()
            };
            let mut read = parsed(written);
            distinct_from(&mut read);
            assert_eq!(shape(&read), shape(&parsed(meant)), "{written}");
        }
    }

    /// The tree, whatever it was written with.
    fn shape(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("[{} {op} {}]", shape(left), shape(right)),
            Expr::IsDistinctFrom(left, right) => format!("<{} {}>", shape(left), shape(right)),
            Expr::IsNotDistinctFrom(left, right) => format!("<{} not {}>", shape(left), shape(right)),
            Expr::UnaryOp { op, expr } => format!("{op} {}", shape(expr)),
            Expr::Nested(inner) => shape(inner),
            other => other.to_string(),
        }
    }
}
