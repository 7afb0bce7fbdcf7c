//! Names that the engine gives to two columns where Postgres has two columns without one: it leaves a cast out of a name, so
//! that `sum(x), sum(x::float8)` are one to it.

use crate::dialect::visit;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr as Planned;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Spanned as _, Value, Visitor, VisitorMut,
};

use super::functions::plain::{Given, Plain};
use super::functions::wrong;
use super::named;
use super::reword::call;
use super::words::folded;

pub const NAME: &str = "starmill cast";

/// A cast that says in its name what it casts to; the value is what it is given.
pub const TOLD_APART: Plain = Plain {
    name: NAME,
    takes: |types, _| Ok(types.to_vec()),
    gives: |types, _| match types {
        [of, DataType::Utf8] => Ok(Given::Type(of.clone())),
        _ => Err(wrong("a value and a type are expected")),
    },
    work: |call| Ok(std::sync::Arc::clone(call.arg(0)?)),
};

/// The cast behind it, once every column has its name.
pub fn bare(function: &ScalarFunction) -> Option<Planned> {
    match function.args.as_slice() {
        [value, _] if function.func.name() == TOLD_APART.name => Some(value.clone()),
        _ => None,
    }
}

/// Tells the casts of a query apart, where two of its calls or groups differ in nothing else.
pub fn in_query(query: &mut Query) {
    if !clashes(query) {
        return;
    }
    let mut casts = Casts;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let _ = visit::change(select, &mut casts);
    }
    let _ = visit::change(&mut query.order_by, &mut casts);
}

fn clashes(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    if visit::see(query, &mut HasCast).is_continue() {
        return false;
    }
    let mut calls = Calls { all: BTreeMap::new(), clash: false };
    let _ = visit::see(select.as_ref(), &mut calls);
    let _ = visit::see(&query.order_by, &mut calls);
    if let GroupByExpr::Expressions(groups, _) = &select.group_by {
        groups.iter().for_each(|group| calls.see(group));
    }
    calls.clash
}

/// Most queries cast nothing, and have nothing that could differ in it.
struct HasCast;

impl Visitor for HasCast {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The calls of a query, by what they are without their casts.
struct Calls {
    all: BTreeMap<String, String>,
    clash: bool,
}

impl Calls {
    fn see(&mut self, expr: &Expr) {
        let mut bare = expr.clone();
        let _ = visit::change(&mut bare, &mut Uncast);
        let (bare, whole) = (bare.to_string(), expr.to_string());
        match self.all.get(&bare) {
            Some(known) => self.clash |= *known != whole,
            None => {
                self.all.insert(bare, whole);
            }
        }
    }
}

impl Visitor for Calls {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Function(_)) {
            self.see(expr);
        }
        ControlFlow::Continue(())
    }
}

struct Uncast;

impl VisitorMut for Uncast {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        while let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = expr {
            *expr = std::mem::replace(inner.as_mut(), Expr::Tuple(Vec::new()));
        }
        ControlFlow::Continue(())
    }
}

struct Casts;

impl VisitorMut for Casts {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && !matches!(inner.as_ref(), Expr::Value(_))
        {
            let to = Expr::value(Value::SingleQuotedString(data_type.to_string()));
            *expr = call(TOLD_APART.name, expr.span(), &[&expr.clone(), &to]);
        }
        ControlFlow::Continue(())
    }
}

/// `WITH c (n, f) AS (SELECT 1, 1::bigint …)`: the columns under the names that they get anyway.
pub fn named_columns(query: &mut Query) {
    for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
        let names: Vec<Ident> = cte.alias.columns.iter().map(|column| column.name.clone()).collect();
        if !names.is_empty() {
            under_names(&mut cte.query.body, &names);
        }
    }
}

/// Further branches of a set operation under the names of the first: the engine gives those to what is computed there, and
/// not to columns, which may then have a name twice.
pub fn branches(query: &mut Query) {
    fn first(body: &SetExpr) -> Option<&Select> {
        match body {
            SetExpr::Select(select) => Some(select),
            SetExpr::SetOperation { left, .. } => first(left),
            _ => None,
        }
    }
    fn named(body: &mut SetExpr, names: &[Ident]) {
        match body {
            SetExpr::Select(select) if select.projection.len() == names.len() => {
                for (item, name) in select.projection.iter_mut().zip(names) {
                    if let SelectItem::UnnamedExpr(expr) = item {
                        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name.clone() };
                    }
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                named(left, names);
                named(right, names);
            }
            _ => {}
        }
    }
    let SetExpr::SetOperation { .. } = query.body.as_ref() else { return };
    let names: Option<Vec<String>> =
        first(&query.body).and_then(|select| select.projection.iter().map(named::name_of).collect());
    let Some(names) = names else { return };
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    if distinct.len() == names.len() {
        let names: Vec<Ident> = names.iter().map(|name| Ident::with_quote('"', name)).collect();
        named(&mut query.body, &names);
    }
}

fn under_names(body: &mut SetExpr, names: &[Ident]) {
    match body {
        SetExpr::Select(select) => name_items(select, names),
        SetExpr::SetOperation { left, right, .. } => {
            under_names(left, names);
            under_names(right, names);
        }
        SetExpr::Query(query) => under_names(&mut query.body, names),
        _ => {}
    }
}

fn name_items(select: &mut Select, names: &[Ident]) {
    let mut seen: Vec<String> = Vec::new();
    let mut twice = false;
    for item in &select.projection {
        let shown = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => folded(name),
            SelectItem::UnnamedExpr(expr) => {
                let mut bare = expr.clone();
                let _ = visit::change(&mut bare, &mut Uncast);
                bare.to_string()
            }
            SelectItem::ExprWithAlias { alias, .. } => folded(alias),
            _ => return,
        };
        twice |= seen.contains(&shown);
        seen.push(shown);
    }
    if !twice || select.projection.len() != names.len() {
        return;
    }
    for (item, name) in select.projection.iter_mut().zip(names) {
        if let SelectItem::UnnamedExpr(expr) = item {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: name.clone() };
        }
    }
}
