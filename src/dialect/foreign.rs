//! What the parser takes of other databases' SQL, and Postgres does not: every part of a SELECT is named here, so that one
//! that a later parser reads is looked at before it is answered.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, ArrayElemTypeDef, BinaryOperator, CastKind, DataType, DateTimeField, ExactNumberInfo, Expr,
    GroupByExpr, GroupByWithModifier, Join, JoinConstraint, JoinOperator, LimitClause, OrderByKind, Query,
    Select, SelectFlavor, SelectItem, SetExpr, SetQuantifier, Spanned as _, Subscript, TableFactor,
    TypedString, UnaryOperator, Value, WildcardAdditionalOptions,
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
        body,
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
    refuse(
        by_name(body),
        "UNION BY NAME is not Postgres's",
        "write the columns in one order in every branch",
    );
    let keys = order_by.iter().flat_map(|order| match &order.kind {
        OrderByKind::Expressions(keys) => keys.as_slice(),
        OrderByKind::All(_) => &[],
    });
    let constant = keys.map(|key| &key.expr).any(|key| match key {
        Expr::Value(value) => !matches!(value.value, Value::Number(..)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => matches!(expr.as_ref(), Expr::Value(_)),
        _ => false,
    });
    refuse(
        constant,
        "ORDER BY a constant sorts nothing, and Postgres refuses it",
        "name a column, or its place",
    );
    found
}

/// Whether some set operation puts columns together by their names.
fn by_name(body: &SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { set_quantifier, left, right, .. } => {
            use SetQuantifier::{AllByName, ByName, DistinctByName};
            matches!(set_quantifier, AllByName | ByName | DistinctByName) || by_name(left) || by_name(right)
        }
        _ => false,
    }
}

/// Types that Postgres has, by the names that it has for them.
fn is_postgres_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Int(length)
        | DataType::Integer(length)
        | DataType::SmallInt(length)
        | DataType::BigInt(length) => length.is_none(),
        DataType::Int2(length) | DataType::Int4(length) | DataType::Int8(length) => length.is_none(),
        DataType::Float(info) => !matches!(info, ExactNumberInfo::PrecisionAndScale(..)),
        DataType::Array(ArrayElemTypeDef::SquareBracket(of, _)) => is_postgres_type(of),
        DataType::Array(_) => false,
        DataType::TinyInt(_)
        | DataType::MediumInt(_)
        | DataType::Double(_)
        | DataType::String(_)
        | DataType::Datetime(_)
        | DataType::Datetime64(..)
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Int128
        | DataType::Int256
        | DataType::Float32
        | DataType::Float64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::HugeInt
        | DataType::UHugeInt
        | DataType::Nvarchar(_)
        | DataType::Blob(_)
        | DataType::Clob(_)
        | DataType::Bytes(_)
        | DataType::Binary(_)
        | DataType::Varbinary(_)
        | DataType::IntegerUnsigned(_)
        | DataType::IntUnsigned(_)
        | DataType::BigIntUnsigned(_)
        | DataType::SmallIntUnsigned(_)
        | DataType::TinyIntUnsigned(_)
        | DataType::Unsigned
        | DataType::UnsignedInteger
        | DataType::Signed
        | DataType::SignedInteger
        | DataType::Map(..)
        | DataType::Struct(..)
        | DataType::Tuple(_)
        | DataType::Nullable(_) => false,
        _ => true,
    }
}

const IN_FIELDS: &str = "write the text out: INTERVAL '1 day'";

/// Expressions of other databases.
pub fn of_expr(expr: &Expr) -> Option<Foreign> {
    use BinaryOperator::{DuckIntegerDivide, Match, MyIntegerDivide, Regexp, Spaceship, Xor};
    let (what, help) = match expr {
        Expr::Cast { kind: CastKind::TryCast | CastKind::SafeCast, .. } => (
            "TRY_CAST is not Postgres's",
            "say what can be read: CASE WHEN x ~ '^[0-9]+$' THEN CAST(x AS int) END",
        ),
        Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. })
            if !is_postgres_type(data_type) =>
        {
            (
                "this is no type of Postgres's",
                "write one that is: smallint, integer, bigint, numeric(p,s), double precision, text, timestamp, int[]",
            )
        }
        Expr::Cast { format: Some(_), .. } => {
            ("CAST with FORMAT is not Postgres's", "write to_char or to_date")
        }
        Expr::BinaryOp { op: Spaceship, .. } => {
            ("<=> is no operator of Postgres", "write IS NOT DISTINCT FROM")
        }
        Expr::BinaryOp { op: Xor, .. } => {
            ("XOR is no operator of Postgres", "write a <> b of two conditions")
        }
        Expr::BinaryOp { op: DuckIntegerDivide | MyIntegerDivide, .. } => {
            ("this division is not Postgres's", "write div(a, b)")
        }
        Expr::BinaryOp { op: Match | Regexp, .. } => {
            ("this operator is not Postgres's", "write x ~ 'pattern'")
        }
        Expr::Interval(interval) if !is_text(&interval.value) => {
            ("an interval of Postgres is a text, or a number times one", "write x * INTERVAL '1 day'")
        }
        Expr::Interval(interval) if interval.leading_field.as_ref().is_some_and(is_plural) => (
            "the fields of an interval have no plural in Postgres, where the word is a column's name",
            IN_FIELDS,
        ),
        Expr::CompoundFieldAccess { access_chain, .. }
            if access_chain.iter().any(|access| {
                matches!(access, AccessExpr::Subscript(Subscript::Slice { stride: Some(_), .. }))
            }) =>
        {
            ("a slice with steps is not Postgres's", "write x[1:2]")
        }
        _ => return None,
    };
    Some((expr.span(), what, help))
}

fn is_text(value: &Expr) -> bool {
    matches!(value, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_)))
}

fn is_plural(field: &DateTimeField) -> bool {
    use DateTimeField::{Days, Hours, Minutes, Months, Seconds, Weeks, Years};
    matches!(field, Days | Hours | Minutes | Months | Seconds | Weeks | Years)
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
    let constant = match group_by {
        GroupByExpr::All(_) => false,
        GroupByExpr::Expressions(keys, _) => keys
            .iter()
            .any(|key| matches!(key, Expr::Value(value) if !matches!(value.value, Value::Number(..)))),
    };
    refuse(
        constant,
        "GROUP BY a constant groups nothing, and Postgres refuses it",
        "name a column, or its place",
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

/// Whether some part of a condition is an equality, by which rows of both sides can be put beside each other.
fn has_equality(condition: &Expr) -> bool {
    match condition {
        Expr::Nested(inner) => has_equality(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => has_equality(left) || has_equality(right),
        Expr::BinaryOp { op, .. } => *op == BinaryOperator::Eq,
        Expr::Value(_) => true,
        _ => false,
    }
}

fn of_join(join: &Join) -> Option<Foreign> {
    let (what, help) = match &join.join_operator {
        JoinOperator::Join(JoinConstraint::None)
        | JoinOperator::Inner(JoinConstraint::None)
        | JoinOperator::Left(JoinConstraint::None)
        | JoinOperator::LeftOuter(JoinConstraint::None)
        | JoinOperator::Right(JoinConstraint::None)
        | JoinOperator::RightOuter(JoinConstraint::None)
        | JoinOperator::FullOuter(JoinConstraint::None) => {
            ("a JOIN says what it joins by", "add ON a.id = b.id, or write CROSS JOIN")
        }
        JoinOperator::FullOuter(JoinConstraint::On(on)) if !has_equality(on) => (
            "FULL JOIN takes a condition with an equality in Postgres",
            "put two halves together: … LEFT JOIN … UNION ALL the rows of the other side that have none",
        ),
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
        TableFactor::Table { name, .. } if name.0.len() > 2 => Some((
            factor.span(),
            "a table has at most a schema before its name",
            "write schema.table; another database is another source",
        )),
        TableFactor::Table { with_hints, .. } if !with_hints.is_empty() => {
            Some((factor.span(), "hints of a table are not Postgres's", LEAVE_OUT))
        }
        TableFactor::MatchRecognize { .. } => {
            Some((factor.span(), "MATCH_RECOGNIZE is not Postgres's", "compare neighbours with lag and lead"))
        }
        _ => None,
    }
}
