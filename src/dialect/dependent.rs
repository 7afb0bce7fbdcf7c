//! A GROUP BY over a table's primary key lets the table's other columns stand beside it, since each is one value in
//! each group. The engine wants them among the keys: so they are written there, which changes no group.

use crate::dialect::visit;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectNamePart, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor, Value, Visitor, VisitorMut,
};

use super::grammar::is_end_of_keys;
use super::words::folded;

/// A table whose rows are told apart by its primary key.
pub struct Keyed {
    pub key: Vec<String>,
    pub columns: Vec<String>,
}

/// Writes the columns out that depend on a primary key among the keys of a GROUP BY. `keyed` knows the tables by
/// their whole names.
pub fn written_out(statement: &mut Statement, keyed: &dyn Fn(&[String]) -> Option<Keyed>) {
    struct Queries<'a>(&'a dyn Fn(&[String]) -> Option<Keyed>);
    impl VisitorMut for Queries<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let mut sorted = BTreeSet::new();
            if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|order| &order.kind) {
                keys.iter().for_each(|key| sorted.extend(named(&key.expr)));
            }
            in_body(&mut query.body, &sorted, self.0);
            ControlFlow::Continue(())
        }
    }
    let _ = visit::change(statement, &mut Queries(keyed));
}

fn in_body(body: &mut SetExpr, sorted: &BTreeSet<Named>, keyed: &dyn Fn(&[String]) -> Option<Keyed>) {
    match body {
        SetExpr::Select(select) => in_select(select, sorted, keyed),
        SetExpr::SetOperation { left, right, .. } => {
            in_body(left, &BTreeSet::new(), keyed);
            in_body(right, &BTreeSet::new(), keyed);
        }
        // One in parentheses is a query of its own.
        _ => {}
    }
}

/// A column as it is named: behind its table's name, or alone.
type Named = (Option<String>, String);

/// A table of FROM.
struct Ranged {
    /// As columns name it, and as it is written behind them.
    name: String,
    path: Vec<Ident>,
    table: Keyed,
}

fn in_select(select: &mut Select, sorted: &BTreeSet<Named>, keyed: &dyn Fn(&[String]) -> Option<Keyed>) {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
    // Where the keys' end is not told they are grouping sets, each of which would have to have the key.
    let Some(end) = keys.iter().position(is_end_of_keys) else { return };
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let tables: Vec<Ranged> = factors.filter_map(|factor| ranged(factor, keyed)).collect();
    let merged = merged(select);
    let grouped: BTreeSet<Named> =
        keys[..end].iter().filter_map(|key| column(position(key, &select.projection))).collect();
    let mut used = sorted.clone();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                used.extend(named(expr))
            }
            _ => {}
        }
    }
    select.having.iter().for_each(|having| used.extend(named(having)));
    let mut added = Vec::new();
    for Ranged { name, path, table } in &tables {
        // A bare name is this table's when no other has it.
        // What two tables share by USING is the left one's.
        let alone = |column: &String| {
            let mut having = tables.iter().filter(|other| other.table.columns.contains(column));
            let first = having.next().is_some_and(|first| first.name == *name);
            first && (having.next().is_none() || merged.contains(column))
        };
        let is_among = |named: &BTreeSet<Named>, column: &String| {
            named.contains(&(Some(name.clone()), column.clone()))
                || (alone(column) && named.contains(&(None, column.clone())))
        };
        if table.key.is_empty() || !table.key.iter().all(|column| is_among(&grouped, column)) {
            continue;
        }
        let whole = select.projection.iter().any(|item| is_all_of(item, name));
        for column in &table.columns {
            if (whole || is_among(&used, column)) && !is_among(&grouped, column) {
                let quoted = Ident::with_quote('"', column.as_str());
                added.push(Expr::CompoundIdentifier(path.iter().cloned().chain([quoted]).collect()));
            }
        }
    }
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        keys.splice(end..end, added);
    }
}

/// The columns that joins merge, of which the left side is whole.
fn merged(select: &Select) -> BTreeSet<String> {
    let joins = select.from.iter().flat_map(|from| &from.joins);
    let using = joins.filter_map(|join| match &join.join_operator {
        JoinOperator::Join(JoinConstraint::Using(names))
        | JoinOperator::Inner(JoinConstraint::Using(names))
        | JoinOperator::Left(JoinConstraint::Using(names))
        | JoinOperator::LeftOuter(JoinConstraint::Using(names)) => Some(names),
        _ => None,
    });
    using.flatten().filter_map(|name| name.0.last()?.as_ident().map(folded)).collect()
}

fn ranged(factor: &TableFactor, keyed: &dyn Fn(&[String]) -> Option<Keyed>) -> Option<Ranged> {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
    let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
    let whole: Vec<String> = parts.iter().map(|part| folded(part)).collect();
    let table = keyed(&whole)?;
    let (name, path) = match alias {
        // Its columns have other names.
        Some(alias) if !alias.columns.is_empty() => return None,
        Some(alias) => (folded(&alias.name), vec![alias.name.clone()]),
        None => (whole.last()?.clone(), parts.into_iter().cloned().collect()),
    };
    Some(Ranged { name, path, table })
}

/// What a key by position stands for.
fn position<'a>(key: &'a Expr, projection: &'a [SelectItem]) -> &'a Expr {
    let Expr::Value(value) = key else { return key };
    let Value::Number(number, _) = &value.value else { return key };
    let place = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    match place.and_then(|place| projection.get(place)) {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        _ => key,
    }
}

fn column(expr: &Expr) -> Option<Named> {
    match expr {
        Expr::Nested(inner) => column(inner),
        Expr::Identifier(name) => Some((None, folded(name))),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, name] => Some((Some(folded(table)), folded(name))),
            _ => None,
        },
        _ => None,
    }
}

/// Every column that an expression names, also those of its subqueries: one key more changes nothing.
fn named(expr: &Expr) -> BTreeSet<Named> {
    struct Names(BTreeSet<Named>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0.extend(column(expr));
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(BTreeSet::new());
    let _ = visit::see(expr, &mut names);
    names.0
}

/// `*`, or `t.*` of this table.
fn is_all_of(item: &SelectItem, table: &str) -> bool {
    match item {
        SelectItem::Wildcard(_) => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            name.0.last().and_then(ObjectNamePart::as_ident).is_some_and(|name| folded(name) == table)
        }
        _ => false,
    }
}
