//! Joins by columns that both sides have. Where they are named, they are written out: each is one side's column, or of
//! whichever side has it. Of `SELECT *` they come first in Postgres, and once; the engine takes them of one side, and leaves
//! them in their places.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, VisitorMut,
};

use super::named::name_of;
use super::reword::call;
use super::words::folded;

pub const OTHER_COLUMNS: &str = "SELECT * over a join by USING has other columns here than in Postgres, where those that both sides share come first, and once";

/// How a join shares columns.
fn shares(join: &JoinOperator) -> bool {
    let constraint = match join {
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => constraint,
        other => return is_outer(other),
    };
    merges(constraint)
}

/// Whether one side of it may be missing: then its columns are NULL, and the other's are not.
pub fn is_outer(join: &JoinOperator) -> bool {
    match join {
        JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => merges(constraint),
        _ => false,
    }
}

fn merges(constraint: &JoinConstraint) -> bool {
    matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
}

/// Whether it is a `SELECT *` over such a join.
pub fn spreads(select: &Select, is_such: impl Fn(&JoinOperator) -> bool) -> bool {
    let all = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    all && select.from.iter().any(|from| has_join(from, &is_such))
}

/// Whether one is among a FROM's, in parentheses or not.
fn has_join(from: &TableWithJoins, is_such: &dyn Fn(&JoinOperator) -> bool) -> bool {
    let within = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => has_join(table_with_joins, is_such),
        _ => false,
    };
    within(&from.relation)
        || from.joins.iter().any(|join| is_such(&join.join_operator) || within(&join.relation))
}

/// Those whose columns are taken by their places: by a set operation, or by names that are given to them.
pub fn by_place(query: &Query) -> Vec<&Select> {
    let mut found = Vec::new();
    if matches!(query.body.as_ref(), SetExpr::SetOperation { .. }) {
        branches(&query.body, &mut found);
    }
    let with = query.with.iter().flat_map(|with| &with.cte_tables);
    for named in with.filter(|of| !of.alias.columns.is_empty()) {
        branches(&named.query.body, &mut found);
    }
    let mut selects = Vec::new();
    branches_of_any(&query.body, &mut selects);
    let factors = selects.into_iter().flat_map(|select| &select.from);
    let factors = factors
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    for factor in factors {
        if let TableFactor::Derived { subquery, alias: Some(alias), .. } = factor
            && !alias.columns.is_empty()
        {
            branches(&subquery.body, &mut found);
        }
    }
    found
}

fn branches<'a>(body: &'a SetExpr, found: &mut Vec<&'a Select>) {
    let mut selects = Vec::new();
    branches_of_any(body, &mut selects);
    // Those of outer joins are refused wherever they stand.
    found.extend(selects.into_iter().filter(|select| spreads(select, shares) && !spreads(select, is_outer)));
}

fn branches_of_any<'a>(body: &'a SetExpr, found: &mut Vec<&'a Select>) {
    match body {
        SetExpr::Select(select) => found.push(select),
        SetExpr::SetOperation { left, right, .. } => {
            branches_of_any(left, found);
            branches_of_any(right, found);
        }
        SetExpr::Query(query) => branches_of_any(&query.body, found),
        _ => {}
    }
}

/// `a JOIN b USING (id)` as `a JOIN b ON a.id = b.id`, and `id` as `a.id` wherever it is named; of a RIGHT JOIN it is
/// the right side's, and of a FULL JOIN whichever is there.
pub fn merged(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_))) {
        return;
    }
    let [from] = select.from.as_mut_slice() else { return };
    let Some((joins, owners)) = written_out(from).filter(|(_, owners)| !owners.is_empty()) else { return };
    from.joins = joins;
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = item
            && owner(&owners, name).is_some()
        {
            *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(name.clone()), alias: name.clone() };
        }
    }
    let outputs: Vec<String> = select.projection.iter().filter_map(name_of).collect();
    let is_output = |key: &Expr| matches!(key, Expr::Identifier(name) if outputs.contains(&folded(name)));
    let mut merged = Merged { owners: &owners, depth: 0 };
    let _ = visit::change(&mut select.projection, &mut merged);
    for join in &mut from.joins {
        let _ = visit::change(&mut join.join_operator, &mut merged);
    }
    let _ = visit::change(&mut select.selection, &mut merged);
    let _ = visit::change(&mut select.group_by, &mut merged);
    let _ = visit::change(&mut select.having, &mut merged);
    let _ = visit::change(&mut select.named_window, &mut merged);
    if let Some(Distinct::On(on)) = &mut select.distinct {
        for key in on.iter_mut().filter(|key| !is_output(key)) {
            let _ = visit::change(key, &mut merged);
        }
    }
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(keys) = &mut order_by.kind
    {
        for key in keys.iter_mut().filter(|key| !is_output(&key.expr)) {
            let _ = visit::change(&mut key.expr, &mut merged);
        }
    }
}

/// What stands for a column that joins share.
type Owner = (String, Expr);

fn owner<'a>(owners: &'a [Owner], name: &Ident) -> Option<&'a Expr> {
    let name = folded(name);
    owners.iter().find(|(known, _)| *known == name).map(|(_, owner)| owner)
}

/// The joins of a FROM with ON, and what they share; none where it cannot be told without the tables.
fn written_out(from: &TableWithJoins) -> Option<(Vec<datafusion::sql::sqlparser::ast::Join>, Vec<Owner>)> {
    let first = table_name(&from.relation);
    let mut owners: Vec<Owner> = Vec::new();
    let mut joins = from.joins.clone();
    for (at, join) in joins.iter_mut().enumerate() {
        let operator = join.join_operator.clone();
        let Some(constraint) = constraint_of(&mut join.join_operator).filter(|of| merges(of)) else {
            continue;
        };
        let JoinConstraint::Using(names) = &*constraint else { return None };
        let right = table_name(&join.relation)?;
        let mut condition: Option<Expr> = None;
        for name in names {
            let column = single(name)?;
            let left = match owner(&owners, column) {
                Some(owner) => owner.clone(),
                None if at == 0 => of_table(first.as_ref()?, column),
                None => return None,
            };
            let right = of_table(&right, column);
            let equal = binary(left.clone(), BinaryOperator::Eq, right.clone());
            condition = Some(match condition {
                Some(others) => binary(others, BinaryOperator::And, equal),
                None => equal,
            });
            let shared = match &operator {
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => right,
                JoinOperator::FullOuter(_) => call("coalesce", column.span, &[&left, &right]),
                _ => left,
            };
            owners.retain(|(known, _)| *known != folded(column));
            owners.push((folded(column), shared));
        }
        *constraint = JoinConstraint::On(condition?);
    }
    Some((joins, owners))
}

fn constraint_of(join: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match join {
        JoinOperator::Join(of)
        | JoinOperator::Inner(of)
        | JoinOperator::Left(of)
        | JoinOperator::LeftOuter(of)
        | JoinOperator::Right(of)
        | JoinOperator::RightOuter(of)
        | JoinOperator::FullOuter(of) => Some(of),
        _ => None,
    }
}

fn single(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name),
        _ => None,
    }
}

fn of_table(table: &Ident, column: &Ident) -> Expr {
    Expr::CompoundIdentifier(vec![Ident { span: column.span, ..table.clone() }, column.clone()])
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// What a table of a FROM is called.
fn table_name(factor: &TableFactor) -> Option<Ident> {
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

/// Names shared columns as what they are. A subquery has tables of its own.
struct Merged<'a> {
    owners: &'a [Owner],
    depth: usize,
}

impl VisitorMut for Merged<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && self.depth == 0
            && let Some(owner) = owner(self.owners, name)
        {
            *expr = owner.clone();
        }
        ControlFlow::Continue(())
    }
}
