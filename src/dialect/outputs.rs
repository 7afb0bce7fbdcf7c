//! Names of a SELECT's own columns where Postgres does not know them: in HAVING, and in an ORDER BY that computes something.
//! There a name is a column of the tables; the engine takes the SELECT's first. So those get their names afterwards.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Spanned as _,
    TableAlias, TableFactor, TableWithJoins, Visitor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::named::name_of;
use super::words::folded;

/// Gives the columns of a SELECT their names outside of it, where they would be taken for others inside.
pub fn named_outside(query: &mut Query) {
    let keys = keys_of(query);
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let names: Option<Vec<String>> = select.projection.iter().map(name_of).collect();
    let Some(names) = names else { return };
    let misread = misread(select, &keys);
    let asks = select.distinct.is_none() && keys.iter().any(|key| asks(&key.expr));
    if misread.is_empty() && !asks {
        return;
    }
    let hidden = |at: usize| Ident::with_quote('"', format!("starmill column {at}"));
    let mut said: Vec<(String, Expr, Ident)> = Vec::new();
    let mut outside = Vec::new();
    for (at, (item, name)) in select.projection.iter_mut().zip(&names).enumerate() {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = &*item else { return };
        let inner = match misread.contains(name) {
            true => hidden(at),
            false => Ident::with_quote('"', name.as_str()),
        };
        if misread.contains(name) || matches!(item, SelectItem::ExprWithAlias { .. }) {
            said.push((name.clone(), expr.clone(), inner.clone()));
        }
        if misread.contains(name) {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: inner.clone() };
        }
        outside.push((inner, Ident::with_quote('"', name.as_str())));
    }
    let meant = |key: &mut Expr| {
        let found = match &*key {
            Expr::Identifier(name) => said.iter().find(|(known, ..)| *known == folded(name)),
            other => said.iter().find(|(_, expr, _)| expr == other),
        };
        if let Some((.., inner)) = found {
            *key = Expr::Identifier(Ident { span: key.span(), ..inner.clone() });
        }
    };
    if let Some(Distinct::On(on)) = &mut select.distinct {
        on.iter_mut().for_each(meant);
    }
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order_by.kind
    {
        keys.iter_mut().for_each(|key| meant(&mut key.expr));
        // The engine plans a subquery as a column, and not as a key.
        for (at, key) in keys.iter_mut().enumerate().filter(|(_, key)| asks && self::asks(&key.expr)) {
            let alias = Ident::with_quote('"', format!("starmill key {at}"));
            let expr = std::mem::replace(&mut key.expr, Expr::Identifier(alias.clone()));
            select.projection.push(SelectItem::ExprWithAlias { expr, alias });
        }
    }
    wrap(query, outside);
}

/// `SELECT inner AS outer, … FROM (query)`.
fn wrap(query: &mut Query, columns: Vec<(Ident, Ident)>) {
    let Ok(mut whole) = Parser::new(&PostgreSqlDialect {})
        .try_with_sql("SELECT 1 FROM t")
        .and_then(|mut parser| parser.parse_query())
    else {
        return;
    };
    let SetExpr::Select(select) = whole.body.as_mut() else { return };
    let rows = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::with_quote('"', "starmill columns"),
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    };
    select.from = vec![TableWithJoins { relation: rows, joins: Vec::new() }];
    let column = |(inner, alias)| SelectItem::ExprWithAlias { expr: Expr::Identifier(inner), alias };
    select.projection = columns.into_iter().map(column).collect();
    *query = *whole;
}

/// Whether a subquery is a part of it.
fn asks(expr: &Expr) -> bool {
    struct Asks;
    impl Visitor for Asks {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    visit::see(expr, &mut Asks).is_break()
}

fn keys_of(query: &Query) -> Vec<OrderByExpr> {
    match query.order_by.as_ref().map(|order_by| &order_by.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.clone(),
        _ => Vec::new(),
    }
}

/// The names of columns that HAVING or a key that computes something would read.
fn misread(select: &Select, keys: &[OrderByExpr]) -> Vec<String> {
    let mut read = Read { names: Vec::new(), depth: 0 };
    for key in keys.iter().map(|key| &key.expr).filter(|key| !matches!(key, Expr::Identifier(_))) {
        let _ = visit::see(key, &mut read);
    }
    let _ = visit::see(&select.having, &mut read);
    let own = select.projection.iter().filter_map(|item| match item {
        // Under its own name it is the same column.
        SelectItem::ExprWithAlias { expr: Expr::Identifier(name), alias }
            if folded(name) == folded(alias) =>
        {
            None
        }
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    });
    own.filter(|name| read.names.contains(name)).collect()
}

/// What is misread where columns are spread by `*`, and cannot be named one by one.
pub fn spread(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let spreads = select.projection.iter().any(|item| name_of(item).is_none());
    misread(select, &keys_of(query)).into_iter().next().filter(|_| spreads)
}

/// Whether rows of a set operation are sorted by what is computed.
pub fn sorts_by_more_than_columns(query: &Query) -> bool {
    let is_column = |key: &OrderByExpr| matches!(key.expr, Expr::Identifier(_) | Expr::Value(_));
    matches!(query.body.as_ref(), SetExpr::SetOperation { .. }) && !keys_of(query).iter().all(is_column)
}

/// The columns that an expression reads itself.
struct Read {
    names: Vec<String>,
    depth: usize,
}

impl Visitor for Read {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) if self.depth == 0 => self.names.push(folded(name)),
            Expr::CompoundIdentifier(parts) if self.depth == 0 => self.names.extend(parts.last().map(folded)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
