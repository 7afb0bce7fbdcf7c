//! `SELECT *` over a join by columns that both sides have: in Postgres those come first, and once, from whichever side has
//! them. The engine takes them of one side, and leaves them in their places.

use datafusion::sql::sqlparser::ast::{
    JoinConstraint, JoinOperator, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

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
