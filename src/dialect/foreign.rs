//! What the parser takes of other databases' SQL, and Postgres does not: every part of a SELECT is named here, so that one
//! that a later parser reads is looked at before it is answered.

use datafusion::sql::sqlparser::ast::{
    GroupByExpr, GroupByWithModifier, Join, JoinOperator, LimitClause, OrderByKind, Query, Select,
    SelectFlavor, SelectItem, Spanned as _, TableFactor, WildcardAdditionalOptions,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, Tokenizer};

/// A construct, and what to write in its place.
pub type Foreign = (Span, &'static str, &'static str);

const LEAVE_OUT: &str = "Postgres has no such clause; leave it out";

/// Where a text has `==`, which the parser takes for `=`.
pub fn double_equals(text: &str) -> Option<Span> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    tokens.into_iter().find(|token| token.token == Token::DoubleEq).map(|token| token.span)
}

pub fn of_query(query: &Query) -> Vec<Foreign> {
    let Query {
        with: _,
        body: _,
        order_by,
        limit_clause,
        fetch: _,
        locks: _,
        for_clause,
        settings,
        format_clause,
        pipe_operators,
    } = query;
    let mut found = Vec::new();
    let mut refuse = |is: bool, what, help| {
        if is {
            found.push((query.span(), what, help));
        }
    };
    refuse(for_clause.is_some(), "FOR XML and FOR JSON are not Postgres's", LEAVE_OUT);
    refuse(
        settings.is_some() || format_clause.is_some(),
        "SETTINGS and FORMAT are not Postgres's",
        LEAVE_OUT,
    );
    refuse(!pipe_operators.is_empty(), "|> is not Postgres's", "write it as a SELECT of subqueries");
    let all = order_by.as_ref().is_some_and(|order| matches!(order.kind, OrderByKind::All(_)));
    refuse(all, "ORDER BY ALL is not Postgres's", "name the columns: ORDER BY a, b");
    let by_comma = matches!(limit_clause, Some(LimitClause::OffsetCommaLimit { .. }));
    refuse(by_comma, "LIMIT with a comma is not Postgres's", "write LIMIT rows OFFSET rows");
    let by = match limit_clause {
        Some(LimitClause::LimitOffset { limit_by, .. }) => !limit_by.is_empty(),
        _ => false,
    };
    refuse(
        by,
        "LIMIT … BY is not Postgres's",
        "number the rows: row_number() OVER (PARTITION BY … ORDER BY …)",
    );
    found
}

pub fn of_select(select: &Select) -> Vec<Foreign> {
    let Select {
        select_token: _,
        optimizer_hints: _,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into: _,
        from,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window: _,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    let mut found = Vec::new();
    let mut refuse = |is: bool, what, help| {
        if is {
            found.push((select.span(), what, help));
        }
    };
    refuse(
        qualify.is_some(),
        "QUALIFY is not Postgres's",
        "filter in a query around it: SELECT … FROM (…) AS t WHERE …",
    );
    refuse(top.is_some(), "TOP is not Postgres's", "write LIMIT at the end");
    refuse(
        matches!(group_by, GroupByExpr::All(_)),
        "GROUP BY ALL is not Postgres's",
        "name the groups: GROUP BY a, b",
    );
    let modified = match group_by {
        GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => {
            modifiers.iter().any(|modifier| !matches!(modifier, GroupByWithModifier::GroupingSets(_)))
        }
    };
    refuse(modified, "WITH ROLLUP and its like are not Postgres's", "write GROUP BY ROLLUP (a, b)");
    refuse(
        *flavor != SelectFlavor::Standard,
        "FROM before SELECT is not Postgres's",
        "write SELECT … FROM …",
    );
    let other = select_modifiers.as_ref().is_some_and(|modifiers| modifiers.is_any_set())
        || !lateral_views.is_empty()
        || prewhere.is_some()
        || !connect_by.is_empty()
        || !cluster_by.is_empty()
        || !distribute_by.is_empty()
        || !sort_by.is_empty()
        || value_table_mode.is_some();
    refuse(other, "this SELECT has a clause of another database", LEAVE_OUT);
    let stars = projection.iter().any(|item| match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => changes_columns(options),
        _ => false,
    });
    refuse(
        stars || exclude.is_some(),
        "a * with EXCEPT, EXCLUDE, REPLACE or RENAME is not Postgres's",
        "name the columns",
    );
    for join in from.iter().flat_map(|from| &from.joins) {
        found.extend(of_join(join));
    }
    found
}

fn changes_columns(options: &WildcardAdditionalOptions) -> bool {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    opt_ilike.is_some()
        || opt_exclude.is_some()
        || opt_except.is_some()
        || opt_replace.is_some()
        || opt_rename.is_some()
        || opt_alias.is_some()
}

fn of_join(join: &Join) -> Option<Foreign> {
    let (what, help) = match &join.join_operator {
        JoinOperator::Join(_)
        | JoinOperator::Inner(_)
        | JoinOperator::Left(_)
        | JoinOperator::LeftOuter(_)
        | JoinOperator::Right(_)
        | JoinOperator::RightOuter(_)
        | JoinOperator::FullOuter(_)
        | JoinOperator::CrossJoin(_) => return None,
        JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) | JoinOperator::RightSemi(_) => {
            ("SEMI JOIN is not Postgres's", "write WHERE EXISTS (SELECT 1 FROM … WHERE …)")
        }
        JoinOperator::Anti(_) | JoinOperator::LeftAnti(_) | JoinOperator::RightAnti(_) => {
            ("ANTI JOIN is not Postgres's", "write WHERE NOT EXISTS (SELECT 1 FROM … WHERE …)")
        }
        JoinOperator::CrossApply | JoinOperator::OuterApply => {
            ("APPLY is not Postgres's", "write CROSS JOIN LATERAL (…), or LEFT JOIN LATERAL (…) ON true")
        }
        JoinOperator::AsOf { .. } => (
            "ASOF JOIN is not Postgres's",
            "write LEFT JOIN LATERAL (SELECT … WHERE u.at <= t.at ORDER BY u.at DESC LIMIT 1) AS u ON true",
        ),
        _ => ("this kind of join is not Postgres's", "write JOIN … ON …"),
    };
    Some((join.relation.span(), what, help))
}

pub fn of_table(factor: &TableFactor) -> Option<Foreign> {
    match factor {
        TableFactor::Pivot { .. } | TableFactor::Unpivot { .. } => Some((
            factor.span(),
            "PIVOT and UNPIVOT are not Postgres's",
            "write sum(x) FILTER (WHERE kind = 'a') AS a, one for each column",
        )),
        TableFactor::MatchRecognize { .. } => {
            Some((factor.span(), "MATCH_RECOGNIZE is not Postgres's", "compare neighbours with lag and lead"))
        }
        _ => None,
    }
}
