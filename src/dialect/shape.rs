//! Clauses that the engine does not have, said by those that it has: `WITH TIES`, `OFFSET` alone, a `lag` with a default
//! that is computed.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    CaseWhen, Distinct, Expr, Fetch, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, LimitClause, ObjectNamePart, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, Value,
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
