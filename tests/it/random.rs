//! Expressions that nobody wrote: random and well typed, over the awkward rows. Each is answered as Postgres answers it,
//! or refused; one that is answered otherwise is told by its smallest part that is.

use std::fmt::Write as _;

use fastrand::Rng;

use crate::cases::judge;
use crate::dialect::project;
use crate::support::{Database, cluster, rounds};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Integer,
    Numeric,
    Double,
    Text,
    Boolean,
    Date,
    Local,
    Instant,
    Interval,
}

const TYPES: [Type; 9] = [
    Type::Integer,
    Type::Numeric,
    Type::Double,
    Type::Text,
    Type::Boolean,
    Type::Date,
    Type::Local,
    Type::Instant,
    Type::Interval,
];

/// An expression and its parts, each with its type.
#[derive(Debug, Clone)]
struct Expression {
    sql: String,
    of: Type,
    parts: Vec<Expression>,
}

/// What may be made of values: `{0}` stands for the first.
const FORMS: &[(Type, &str, &[Type])] = {
    use Type::{Boolean, Date, Double, Instant, Integer, Interval, Local, Numeric, Text};
    &[
        (Integer, "({0} % 7)", &[Integer]),
        (Integer, "coalesce({0}, 3)", &[Integer]),
        (Integer, "nullif({0}, 6)", &[Integer]),
        (Integer, "CASE WHEN {0} THEN {1} ELSE 2 END", &[Boolean, Integer]),
        (Integer, "length({0})", &[Text]),
        (Integer, "({0} - {1})", &[Date, Date]),
        (Integer, "CAST(round({0} / 1000000, 0) AS integer)", &[Numeric]),
        (Integer, "strpos({0}, 'b')", &[Text]),
        (Numeric, "round({0}, 2)", &[Numeric]),
        (Numeric, "round({0} / 3, 6)", &[Numeric]),
        (Numeric, "round({0} / nullif({1}, 0), 4)", &[Numeric, Integer]),
        (Numeric, "({0} + {1})", &[Numeric, Integer]),
        (Numeric, "greatest({0}, {1})", &[Numeric, Numeric]),
        (Numeric, "abs({0})", &[Numeric]),
        (Numeric, "trunc({0}, 1)", &[Numeric]),
        (Numeric, "CAST({0} AS numeric(18,3))", &[Integer]),
        (Numeric, "extract(epoch FROM {0})", &[Instant]),
        (Numeric, "round(extract(epoch FROM {0}) / 60, 2)", &[Interval]),
        (Double, "({0} / 4)", &[Double]),
        (Double, "CAST({0} AS double precision)", &[Numeric]),
        (Double, "coalesce({0}, {1})", &[Double, Numeric]),
        (Double, "date_part('dow', {0})", &[Date]),
        (Text, "upper({0})", &[Text]),
        (Text, "({0} || '-' || {1})", &[Text, Integer]),
        (Text, "concat({0}, {1}, {2})", &[Text, Boolean, Double]),
        (Text, "CAST({0} AS text)", &[Instant]),
        (Text, "CAST({0} AS text)", &[Double]),
        (Text, "CAST({0} AS text)", &[Interval]),
        (Text, "to_char({0}, 'YYYY-MM-DD HH24:MI:SS')", &[Local]),
        (Text, "to_char({0}, 'FM9999999990.00')", &[Numeric]),
        (Text, "left({0}, 2)", &[Text]),
        (Text, "split_part({0}, '_', 1)", &[Text]),
        (Text, "nullif({0}, '')", &[Text]),
        (Text, "substr({0}, 2, 3)", &[Text]),
        (Text, "md5({0})", &[Text]),
        (Boolean, "({0} > {1})", &[Integer, Integer]),
        (Boolean, "({0} = {1})", &[Text, Text]),
        (Boolean, "({0} AND {1})", &[Boolean, Boolean]),
        (Boolean, "({0} OR {1})", &[Boolean, Boolean]),
        (Boolean, "(NOT {0})", &[Boolean]),
        (Boolean, "({0} IS DISTINCT FROM {1})", &[Numeric, Numeric]),
        (Boolean, "({0} IS NULL)", &[Text]),
        (Boolean, "({0} BETWEEN {1} AND {2})", &[Date, Date, Date]),
        (Boolean, "({0} < {1})", &[Local, Instant]),
        (Boolean, "({0} < {1})", &[Date, Instant]),
        (Boolean, "({0} >= {1})", &[Interval, Interval]),
        (Boolean, "({0} IN ({1}, 1, NULL))", &[Integer, Integer]),
        (Boolean, "({0} LIKE 'a%')", &[Text]),
        (Boolean, "(({0}, {1}) < (2, 'b'))", &[Integer, Text]),
        (Boolean, "({0} = ANY (ARRAY[1, 6, {1}]))", &[Integer, Integer]),
        (Boolean, "({0} <> 0 AND 12 / {0} > 1)", &[Integer]),
        (Date, "CAST({0} AS date)", &[Instant]),
        (Date, "CAST({0} AS date)", &[Local]),
        (Date, "({0} + {1} % 40)", &[Date, Integer]),
        (Date, "coalesce({0}, '2024-03-31')", &[Date]),
        (Date, "CAST(date_trunc('month', {0}) AS date)", &[Date]),
        (Local, "date_trunc('week', {0})", &[Local]),
        (Local, "({0} + INTERVAL '1 month 2 days')", &[Local]),
        (Local, "({0} AT TIME ZONE 'America/New_York')", &[Instant]),
        (Local, "({0} + {1})", &[Date, Interval]),
        (Instant, "date_trunc('day', {0})", &[Instant]),
        (Instant, "({0} + INTERVAL '1 day')", &[Instant]),
        (Instant, "({0} - INTERVAL '90 minutes')", &[Instant]),
        (Instant, "CAST({0} AS timestamptz)", &[Local]),
        (Instant, "({0} AT TIME ZONE 'Asia/Kathmandu')", &[Local]),
        (Instant, "greatest({0}, {1})", &[Instant, Date]),
        (Interval, "({0} - {1})", &[Instant, Instant]),
        (Interval, "({0} - {1})", &[Local, Local]),
        (Interval, "age({0}, {1})", &[Local, Local]),
        (Interval, "({0} * 1.5)", &[Interval]),
        (Interval, "justify_hours({0})", &[Interval]),
        (Interval, "make_interval(days => {0} % 100)", &[Integer]),
    ]
};

fn leaf(of: Type, rng: &mut Rng) -> Expression {
    let all: &[&str] = match of {
        Type::Integer => &["id", "i", "2", "NULL::integer"],
        Type::Numeric => &["n", "m", "1.50", "CAST(0.005 AS numeric(6,3))"],
        Type::Double => &["d", "CAST(id AS double precision)", "0.1::float"],
        Type::Text => &["t", "'a_b'", "''"],
        Type::Boolean => &["ok", "true", "NULL::boolean"],
        Type::Date => &["day", "DATE '2024-03-31'"],
        Type::Local => &["made", "TIMESTAMP '2024-10-27 02:30'"],
        Type::Instant => &["at", "until"],
        Type::Interval => &["INTERVAL '1 day 02:00'", "(until - at)", "INTERVAL '-1 month'"],
    };
    Expression { sql: all[rng.usize(..all.len())].to_owned(), of, parts: Vec::new() }
}

fn expression(of: Type, depth: usize, rng: &mut Rng) -> Expression {
    let fitting: Vec<_> = FORMS.iter().filter(|(gives, ..)| *gives == of).collect();
    if depth == 0 || fitting.is_empty() || rng.u8(..10) < 2 {
        return leaf(of, rng);
    }
    let (_, form, takes) = fitting[rng.usize(..fitting.len())];
    let parts: Vec<Expression> = takes.iter().map(|of| expression(*of, depth - 1, rng)).collect();
    let mut sql = (*form).to_owned();
    for (at, part) in parts.iter().enumerate() {
        sql = sql.replace(&format!("{{{at}}}"), &part.sql);
    }
    Expression { sql, of, parts }
}

/// A statement that shows an expression in one of the places where it may stand.
fn statement(expression: &Expression, place: u8) -> String {
    let sql = &expression.sql;
    match (place, expression.of) {
        (0, Type::Boolean) => format!("SELECT id FROM v WHERE {sql}"),
        (1, Type::Boolean) => format!("SELECT count(*) FILTER (WHERE {sql}) AS x FROM v"),
        (1, Type::Integer | Type::Numeric) => format!("SELECT ok, sum({sql}) AS x FROM v GROUP BY ok"),
        (1, of) if of != Type::Interval => {
            format!("SELECT min({sql}) AS x, count(DISTINCT {sql}) AS y FROM v")
        }
        (2, of) if of != Type::Interval => format!("SELECT {sql} AS x, count(*) AS n FROM v GROUP BY {sql}"),
        (3, _) => format!("SELECT id, lag({sql}) OVER (ORDER BY id) AS x FROM v"),
        (4, _) => format!("SELECT id, x FROM v CROSS JOIN LATERAL (SELECT {sql} AS x) AS l"),
        _ => format!("SELECT id, {sql} AS x FROM v"),
    }
}

/// What of some statements is answered otherwise; those that are refused, or that Postgres refuses, are none of it.
fn wrong(database: &Database, statements: &[String]) -> Vec<(usize, String)> {
    let fails = |sql: &String| database.try_sql(&format!("SELECT count(q.*) FROM ({sql}) AS q")).is_err();
    let mut left: Vec<usize> = (0..statements.len()).filter(|at| !fails(&statements[*at])).collect();
    let texts = |left: &[usize]| left.iter().map(|at| statements[*at].clone()).collect::<Vec<String>>();
    let checked = texts(&left);
    let told = project(database, &checked.iter().map(String::as_str).collect::<Vec<_>>(), false).starmill(&[
        "check",
        "pipelines/p.toml",
        "--format",
        "json",
    ]);
    if let Some(diagnostics) = told.json()["error"]["diagnostics"].as_array() {
        let refused: Vec<usize> = diagnostics
            .iter()
            .filter_map(|found| {
                found["place"]["file"].as_str()?.strip_prefix("sql/p/m")?.strip_suffix(".sql")?.parse().ok()
            })
            .collect();
        left = left.iter().enumerate().filter(|(at, _)| !refused.contains(at)).map(|(_, at)| *at).collect();
    }
    let mut found = Vec::new();
    loop {
        let all = texts(&left);
        if all.is_empty() {
            return found;
        }
        database.sql("DROP SCHEMA IF EXISTS mart CASCADE");
        let ran = project(database, &all.iter().map(String::as_str).collect::<Vec<_>>(), true)
            .starmill(&["run", "pipelines/p.toml"]);
        if ran.code == Some(0) {
            break;
        }
        let failed = all.iter().enumerate().find(|(at, _)| ran.stderr.contains(&format!("sql/p/m{at}.sql")));
        let (at, _) = failed.unwrap_or_else(|| panic!("{}", ran.stderr));
        found.push((left[at], ran.stderr.clone()));
        left.remove(at);
    }
    for (at, statement) in left.iter().enumerate() {
        let sql = &statements[*statement];
        database.sql("DROP TABLE IF EXISTS judged");
        database.sql(&format!("CREATE TABLE judged AS {sql}"));
        let columns = database.sql("SELECT string_agg(format(CASE WHEN atttypid = 'numeric'::regtype THEN 'trim_scale(%I)::text' ELSE '%I::text' END, attname), ', ') FROM pg_attribute WHERE attrelid = 'judged'::regclass AND attnum > 0");
        // What is a numeric there may be an integer here; what they are worth is compared.
        let same = |of: &str| {
            let columns =
                columns.replace("trim_scale(", "trim_scale((").replace(")::text", ")::numeric)::text");
            format!("SELECT {columns} FROM {of}")
        };
        let both = format!(
            "SELECT 'starmill', * FROM ({0} EXCEPT ALL {1}) AS a UNION ALL SELECT 'postgres', * FROM ({1} EXCEPT ALL {0}) AS b LIMIT 6",
            same(&format!("mart.m{at}")),
            same("judged")
        );
        let difference = database.sql(&both);
        if !difference.is_empty() {
            found.push((*statement, difference));
        }
    }
    found
}

/// The smallest part of an expression that is answered otherwise in some place, and how.
fn smallest(database: &Database, expression: &Expression, place: u8, how: String) -> (String, String) {
    for part in &expression.parts {
        for place in [5, place] {
            let found = wrong(database, &[statement(part, place)]);
            if let Some((_, how)) = found.into_iter().next() {
                return smallest(database, part, place, how);
            }
        }
    }
    (statement(expression, place), how)
}

#[test]
fn expressions_that_nobody_wrote_are_answered_as_in_postgres_or_refused() {
    const A_BATCH: usize = 60;
    let database = judge(cluster());
    let mut told = String::new();
    for seed in 0..rounds(2) {
        let mut rng = Rng::with_seed(seed as u64);
        let made: Vec<(Expression, u8)> = (0..A_BATCH)
            .map(|_| (expression(TYPES[rng.usize(..TYPES.len())], 3, &mut rng), rng.u8(..6)))
            .collect();
        let statements: Vec<String> =
            made.iter().map(|(expression, place)| statement(expression, *place)).collect();
        for (at, how) in wrong(&database, &statements) {
            let (expression, place) = &made[at];
            let (sql, how) = smallest(&database, expression, *place, how);
            let _ = writeln!(told, "seed {seed}: {sql}\n{how}\n");
        }
    }
    assert!(told.is_empty(), "answered otherwise than by Postgres:\n{told}");
}
