//! Operators between values that are no function by name, and casts.

use super::{Answer, Kind, Line, operator, scalar};

const OPERATORS: &str = "operators";
const CASTS: &str = "casts";

/// One that the engine answers as Postgres does.
const fn same(family: &'static str, written: &'static str, examples: &'static [&'static str]) -> Line {
    Line { kind: Kind::Operator, written, answer: Answer::Same, ..scalar(family, written, examples) }
}

const fn ours(family: &'static str, written: &'static str, examples: &'static [&'static str]) -> Line {
    operator(family, written, written, examples)
}

pub const LINES: &[Line] = &[
    ours(
        OPERATORS,
        "+ - * of integers and numerics",
        &["i::bigint + 1", "n - m", "n * m", "-n", "b * 2", "n + i"],
    ),
    ours(OPERATORS, "/ of integers", &["i / 4", "-7 / 2"]),
    ours(OPERATORS, "/ of numerics", &["round(n / nullif(m, 0), 8)", "CAST(n / 7 AS numeric(20,6))"]),
    ours(OPERATORS, "%", &["i % 4", "-7 % 3", "n % 2"]),
    ours(OPERATORS, "+ - * / of doubles", &["d * 2", "d + n", "d / 3", "r + 1"]),
    ours(OPERATORS, "^", &["CAST(id AS double precision) ^ 2", "round(1.05 ^ id, 6)"]),
    same(OPERATORS, "& | #", &["id & 3", "id | 8", "id # 5", "~i"]),
    ours(OPERATORS, "<< >>", &["id << 3", "i >> 1", "i << 31"]),
    ours(
        OPERATORS,
        "= <> < <= > >=",
        &[
            "d = 0.3",
            "n > m",
            "day < at",
            "made >= day",
            "t < 'b'",
            "at = '2024-03-30 02:30+01'",
            "ok <> true",
        ],
    ),
    same(OPERATORS, "IS DISTINCT FROM", &["i IS DISTINCT FROM id", "t IS NOT DISTINCT FROM NULL"]),
    ours(OPERATORS, "BETWEEN", &["day BETWEEN '2024-01-01' AND '2024-12-31'", "i BETWEEN SYMMETRIC 6 AND 0"]),
    ours(OPERATORS, "IN", &["i IN (1, 6, NULL)", "d IN (0.3, 1.005)", "(id, i) IN ((1, 1), (2, 3))"]),
    ours(OPERATORS, "AND OR NOT", &["i <> 0 AND 12 / nullif(i, 0) > 1", "NOT ok OR i IS NULL"]),
    ours(OPERATORS, "|| of texts", &["t || '!'", "t || id", "ok || t"]),
    same(OPERATORS, "LIKE, ILIKE", &["t LIKE 'a\\_%'", "t ILIKE 'A%'", "t NOT LIKE '%b'"]),
    ours(OPERATORS, "~, ~*", &["t ~ '^a'", "t !~ 'b$'", "t ~* 'LINE'"]),
    ours(OPERATORS, "SIMILAR TO", &["t SIMILAR TO '(a|l)%'"]),
    ours(OPERATORS, "- of times", &["(at - until)::text", "(day - made)::text", "day - DATE '2024-01-01'"]),
    ours(
        OPERATORS,
        "+ - of a time and an interval",
        &["at + INTERVAL '1 month'", "day - INTERVAL '1 day'", "made + INTERVAL '90 minutes'"],
    ),
    ours(
        OPERATORS,
        "* / of an interval",
        &["(INTERVAL '1 month' * 1.5)::text", "(INTERVAL '1 day' / 7)::text"],
    ),
    ours(
        OPERATORS,
        "AT TIME ZONE",
        &["at AT TIME ZONE 'America/New_York'", "made AT TIME ZONE 'Asia/Kolkata'"],
    ),
    operator(
        OPERATORS,
        "starmill periods overlap",
        "OVERLAPS",
        &["(at, until) OVERLAPS (TIMESTAMPTZ '2024-03-31', TIMESTAMPTZ '2024-04-01')"],
    ),
    ours(
        CASTS,
        "to smallint, integer, bigint",
        &[
            "CAST(n AS int)",
            "CAST(d AS bigint)",
            "CAST(' 12 ' AS int)",
            "CAST(ok AS int)",
            "CAST(id AS smallint)",
        ],
    ),
    ours(
        CASTS,
        "to numeric(p,s)",
        &[
            "CAST(d AS numeric(20,2))",
            "CAST(n AS numeric(20,1))",
            "CAST('1e3' AS numeric(10,2))",
            "CAST(i AS numeric)",
        ],
    ),
    ours(
        CASTS,
        "to double precision, real",
        &["CAST(n AS double precision)", "CAST('1.5e3' AS double precision)", "CAST(n AS real)"],
    ),
    ours(
        CASTS,
        "to text, varchar(n)",
        &[
            "CAST(d AS text)",
            "CAST(at AS text)",
            "CAST(ok AS text)",
            "CAST(n AS text)",
            "CAST(t AS varchar(2))",
        ],
    ),
    ours(CASTS, "to boolean", &["CAST('yes' AS boolean)", "CAST(i AS boolean)"]),
    ours(CASTS, "to date", &["CAST(made AS date)", "CAST(at AS date)", "CAST('Jan 5, 2024' AS date)"]),
    ours(CASTS, "to time", &["CAST(made AS time)", "CAST('24:00' AS time)"]),
    ours(
        CASTS,
        "to timestamp, timestamp(n)",
        &["CAST(day AS timestamp)", "CAST(at AS timestamp)", "CAST(made AS timestamp(0))"],
    ),
    ours(
        CASTS,
        "to timestamptz",
        &[
            "CAST(made AS timestamptz)",
            "CAST(day AS timestamptz)",
            "CAST('2024-07-01 12:00 America/New_York' AS timestamptz)",
        ],
    ),
    ours(CASTS, "to interval", &["CAST('1 day 04:05' AS interval)::text", "CAST('P1Y2M' AS interval)::text"]),
    ours(CASTS, "to jsonb", &["CAST('{\"b\":1,\"a\":2}' AS jsonb)::text"]),
    ours(CASTS, "to an array", &["CAST('{1,2}' AS int[])", "CAST(tags AS text)"]),
    ours(CASTS, "to numeric of a double", &["CAST(d AS numeric)"])
        .refused("CAST(x AS numeric(20,6)), which states the digits"),
    ours(CASTS, "to char(n)", &["CAST(t AS char(4))"]).refused("left(x, n)"),
    ours(CASTS, "to bytea of a text", &["CAST(t AS bytea)"]).refused("decode(x, 'hex')"),
];
