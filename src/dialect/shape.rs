//! Clauses that the engine does not have, said by those that it has: `WITH TIES`, `OFFSET` alone, `FULL JOIN … USING`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Distinct, Expr, Fetch, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, JoinConstraint, JoinOperator, LimitClause,
    ObjectNamePart, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Value,
    VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::words::folded;

/// More rows than any query has.
const ALL_ROWS: &str = "1000000000000000000";

fn number(digits: &str) -> Expr {
    Expr::value(Value::Number(digits.to_owned(), false))
}

/// `FETCH FIRST n ROWS ONLY` as `LIMIT n`, and an OFFSET with a LIMIT that no answer reaches.
pub fn limited(query: &mut Query) {
    if let Some(fetch) = query.fetch.take_if(|fetch| is_plain(fetch)) {
        let rows = fetch.quantity.unwrap_or_else(|| number("1"));
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(rows),
            clause => {
                *clause =
                    Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() })
            }
        }
    }
    if let Some(LimitClause::LimitOffset { limit, offset: Some(_), .. }) = &mut query.limit_clause
        && limit
            .as_ref()
            .is_none_or(|limit| matches!(limit, Expr::Value(value) if value.value == Value::Null))
    {
        *limit = Some(number(ALL_ROWS));
    }
    with_ties(query);
}

/// `DISTINCT ON (b, a) … ORDER BY a, b`: the same groups, named in the order in which they are sorted.
pub fn distinct_as_sorted(query: &mut Query) {
    let (Some(order_by), SetExpr::Select(select)) = (&query.order_by, query.body.as_mut()) else { return };
    let OrderByKind::Expressions(keys) = &order_by.kind else { return };
    if let Some(Distinct::On(on)) = &mut select.distinct {
        let place = |expr: &Expr| keys.iter().position(|key| key.expr == *expr);
        if on.iter().all(|expr| place(expr).is_some_and(|at| at < on.len())) {
            on.sort_by_key(place);
        }
    }
}

pub fn is_plain(fetch: &Fetch) -> bool {
    !fetch.with_ties && !fetch.percent
}

/// `FETCH FIRST n ROWS WITH TIES`: the rows whose rank is no higher.
fn with_ties(query: &mut Query) {
    let ties = query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties && !fetch.percent);
    let (Some(order_by), SetExpr::Select(select)) = (&query.order_by, query.body.as_mut()) else { return };
    let OrderByKind::Expressions(keys) = &order_by.kind else { return };
    if !ties || query.limit_clause.is_some() || select.distinct.is_some() || select.qualify.is_some() {
        return;
    }
    let keys = keys.iter().map(|key| Some(OrderByExpr { expr: meant(&key.expr, select)?, ..key.clone() }));
    let Some(keys) = keys.collect::<Option<Vec<OrderByExpr>>>() else { return };
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let quantity = query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref());
    let rows = quantity.map_or_else(|| "1".to_owned(), ToString::to_string);
    let condition = format!("rank() OVER (ORDER BY {}) <= ({rows})", keys.join(", "));
    let parsed =
        Parser::new(&PostgreSqlDialect {}).try_with_sql(&condition).and_then(|mut it| it.parse_expr());
    if let Ok(condition) = parsed {
        select.qualify = Some(condition);
        query.fetch = None;
    }
}

/// What a key of an ORDER BY is: a column of the SELECT by its number or its name, or itself.
fn meant(key: &Expr, select: &Select) -> Option<Expr> {
    let of = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
        _ => None,
    };
    match key {
        Expr::Value(value) => match &value.value {
            Value::Number(at, _) => of(select.projection.get(at.parse::<usize>().ok()?.checked_sub(1)?)?),
            _ => None,
        },
        Expr::Identifier(name) => {
            let named = select.projection.iter().find(|item| {
                matches!(item, SelectItem::ExprWithAlias { alias, .. } if folded(alias) == folded(name))
            });
            named.map_or_else(|| Some(key.clone()), of)
        }
        other => Some(other.clone()),
    }
}

/// `a FULL JOIN b USING (id)`: ON, and `id` of whichever side has it. Also RIGHT, of which it is the right side's.
pub fn merged(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let [from] = select.from.as_mut_slice() else { return };
    let [join] = from.joins.as_mut_slice() else { return };
    let (Some(left), Some(right)) = (name_of(&from.relation), name_of(&join.relation)) else { return };
    let full = matches!(join.join_operator, JoinOperator::FullOuter(_));
    let (JoinOperator::FullOuter(constraint)
    | JoinOperator::Right(constraint)
    | JoinOperator::RightOuter(constraint)) = &mut join.join_operator
    else {
        return;
    };
    let JoinConstraint::Using(names) = constraint else { return };
    let columns = names.iter().map(|name| match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name.clone()),
        _ => None,
    });
    let Some(columns) = columns.collect::<Option<Vec<Ident>>>() else { return };
    let wild =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if select.projection.iter().any(wild) {
        return;
    }
    let side = |side: &Ident, column: &Ident| Expr::CompoundIdentifier(vec![side.clone(), column.clone()]);
    let equal = columns.iter().map(|column| Expr::BinaryOp {
        left: Box::new(side(&left, column)),
        op: BinaryOperator::Eq,
        right: Box::new(side(&right, column)),
    });
    let both = |left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    };
    let Some(on) = equal.reduce(both) else { return };
    *constraint = JoinConstraint::On(on);
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = item
            && columns.iter().any(|column| folded(column) == folded(name))
        {
            *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(name.clone()), alias: name.clone() };
        }
    }
    struct Merged<'a> {
        columns: &'a [Ident],
        make: &'a dyn Fn(&Ident) -> Expr,
    }
    impl VisitorMut for Merged<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(name) = expr
                && let Some(column) = self.columns.iter().find(|column| folded(column) == folded(name))
            {
                *expr = (self.make)(column);
            }
            ControlFlow::Continue(())
        }
    }
    let make = |column: &Ident| match full {
        true => super::reword::call("coalesce", column.span, &[&side(&left, column), &side(&right, column)]),
        false => side(&right, column),
    };
    let mut merged = Merged { columns: &columns, make: &make };
    let _ = VisitMut::visit(&mut select.projection, &mut merged);
    let _ = VisitMut::visit(&mut select.selection, &mut merged);
    let _ = VisitMut::visit(&mut select.group_by, &mut merged);
    let _ = VisitMut::visit(&mut select.having, &mut merged);
    // An ORDER BY means the column of the SELECT, where there is one.
}

fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            alias.columns.is_empty().then(|| alias.name.clone())
        }
        TableFactor::Table { name, alias: None, args: None, .. } => {
            name.0.last().and_then(ObjectNamePart::as_ident).cloned()
        }
        _ => None,
    }
}

/// `lag(x, 1, y)` with a default that is computed: that, where no row stands there.
pub fn or_default(expr: &mut Expr) {
    let Expr::Function(function) = &*expr else { return };
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return };
    let FunctionArguments::List(list) = &function.args else { return };
    let [value, by, FunctionArg::Unnamed(FunctionArgExpr::Expr(default))] = list.args.as_slice() else {
        return;
    };
    if !["lag", "lead"].contains(&folded(name).as_str()) || matches!(default, Expr::Value(_)) {
        return;
    }
    let with = |args: Vec<FunctionArg>| {
        let list = FunctionArgumentList { args, ..list.clone() };
        Expr::Function(Function { args: FunctionArguments::List(list), ..function.clone() })
    };
    let one = FunctionArg::Unnamed(FunctionArgExpr::Expr(number("1")));
    let nowhere = Expr::IsNull(Box::new(with(vec![one, by.clone()])));
    *expr = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: nowhere, result: default.clone() }],
        else_result: Some(Box::new(with(vec![value.clone(), by.clone()]))),
    };
}
