//! The one table of functions: which of them answer as in Postgres, which are ours, and which are refused with what to
//! write instead. A function of the engine's that has no line here is refused. `docs/dialect.md` is printed from it,
//! and every line is held against Postgres by its examples.

use std::fmt::Write as _;

/// How a function is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The engine's own gives what Postgres gives.
    Same,
    /// A function of our own with Postgres's meaning.
    Ours,
    /// What the engine runs instead.
    Rewritten(&'static str),
    /// Not answered; what to write.
    Refused(&'static str),
}

/// Where a function stands in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Aggregate,
    Window,
}

/// One function.
#[derive(Debug)]
pub struct Line {
    pub family: &'static str,
    /// As the engine names it, and as Postgres does where that differs.
    pub name: &'static str,
    pub written: &'static str,
    pub kind: Kind,
    pub answer: Answer,
    /// Expressions that are answered as in Postgres, or refused.
    pub examples: &'static [&'static str],
}

const fn scalar(family: &'static str, name: &'static str, examples: &'static [&'static str]) -> Line {
    Line { family, name, written: name, kind: Kind::Scalar, answer: Answer::Same, examples }
}

const fn aggregate(name: &'static str, examples: &'static [&'static str]) -> Line {
    Line { kind: Kind::Aggregate, ..scalar("aggregates", name, examples) }
}

const fn window(name: &'static str, examples: &'static [&'static str]) -> Line {
    Line { kind: Kind::Window, ..scalar("windows", name, examples) }
}

impl Line {
    const fn ours(self) -> Line {
        Line { answer: Answer::Ours, ..self }
    }

    const fn rewritten(self, to: &'static str) -> Line {
        Line { answer: Answer::Rewritten(to), ..self }
    }

    const fn refused(self, instead: &'static str) -> Line {
        Line { answer: Answer::Refused(instead), ..self }
    }

    /// How Postgres writes it.
    const fn written(self, written: &'static str) -> Line {
        Line { written, ..self }
    }
}

const NUMBERS: &str = "numbers";
const TEXT: &str = "text";
const TIMES: &str = "times";
const ANY: &str = "values of any type";
const ARRAYS: &str = "arrays";
const JSON: &str = "json";
const BYTES: &str = "bytes";

pub const LINES: &[Line] = &[
    scalar(
        ANY,
        "coalesce",
        &["coalesce(i, 0)", "coalesce(n, m, 1.5)", "coalesce(t, 'none')", "coalesce(at, day)"],
    ),
    scalar(ANY, "nullif", &["nullif(i, 6)", "nullif(t, '')", "nullif(n, 2.5)"]),
    scalar(
        ANY,
        "greatest",
        &["greatest(i, 3)", "greatest(n, m)", "greatest(t, 'b')", "greatest(day, DATE '2024-03-01')"],
    ),
    scalar(ANY, "least", &["least(i, 3, b)", "least(n, NULL)", "least(made, TIMESTAMP '2024-03-01 00:00')"]),
    scalar(NUMBERS, "abs", &["abs(n)", "abs(d)", "abs(b)"]),
    scalar(NUMBERS, "ceil", &["ceil(d)", "ceil(n)", "ceiling(m)"]),
    scalar(NUMBERS, "floor", &["floor(d)", "floor(n)", "floor(m)"]),
    scalar(
        NUMBERS,
        "round",
        &["round(n, 1)", "round(n)", "round(m, 6)", "round(d)", "round(i)", "round(n, -2)"],
    )
    .ours(),
    scalar(
        NUMBERS,
        "trunc",
        &["trunc(n)", "trunc(m, 2)", "trunc(n, 4)", "trunc(d)", "trunc(CAST(i AS double precision))"],
    ),
    scalar(NUMBERS, "sign", &["sign(n)", "sign(d)", "sign(i)"]).ours(),
    scalar(NUMBERS, "sqrt", &["sqrt(abs(d))", "sqrt(abs(i))"]),
    scalar(NUMBERS, "cbrt", &["cbrt(d)"]).refused("cbrt is not answered here"),
    scalar(NUMBERS, "exp", &["exp(CAST(0.5 AS double precision))", "exp(1)"]),
    scalar(NUMBERS, "ln", &["ln(abs(d))"]),
    scalar(NUMBERS, "log", &["log(CAST(1000 AS double precision))", "log(abs(d) + 1)"]).rewritten("log10(x)"),
    scalar(NUMBERS, "log10", &["log10(CAST(1000 AS double precision))"]),
    scalar(NUMBERS, "power", &["power(CAST(id AS double precision), 2)", "power(id, 3)"]),
    scalar(NUMBERS, "pi", &["pi()"]),
    scalar(NUMBERS, "degrees", &["degrees(CAST(id AS double precision))"]),
    scalar(NUMBERS, "radians", &["radians(CAST(id AS double precision))"]),
    scalar(NUMBERS, "sin", &["sin(CAST(id AS double precision))"]),
    scalar(NUMBERS, "cos", &["cos(CAST(id AS double precision))"]),
    scalar(NUMBERS, "tan", &["tan(CAST(id AS double precision))"]),
    scalar(NUMBERS, "cot", &["round(CAST(cot(CAST(id AS double precision)) AS numeric(20,10)), 8)"]),
    scalar(NUMBERS, "asin", &["asin(CAST(id AS double precision) / 10)"]),
    scalar(NUMBERS, "acos", &["acos(CAST(id AS double precision) / 10)"]),
    scalar(NUMBERS, "atan", &["atan(d)"]),
    scalar(NUMBERS, "atan2", &["atan2(d, CAST(id AS double precision))"]),
    scalar(NUMBERS, "sinh", &["sinh(CAST(id AS double precision) / 10)"]),
    scalar(NUMBERS, "cosh", &["cosh(CAST(id AS double precision) / 10)"]),
    scalar(NUMBERS, "tanh", &["tanh(CAST(id AS double precision) / 10)"]),
    scalar(NUMBERS, "asinh", &["asinh(d)"]),
    scalar(NUMBERS, "acosh", &["acosh(abs(d) + 1)"]),
    scalar(NUMBERS, "atanh", &["atanh(CAST(id AS double precision) / 10)"]),
    scalar(NUMBERS, "gcd", &["gcd(i, 12)", "gcd(b, 9)"]),
    scalar(NUMBERS, "lcm", &["lcm(id, 12)"]),
    scalar(NUMBERS, "factorial", &["factorial(id)"]),
    scalar(NUMBERS, "to_hex", &["to_hex(i)"]).refused("say which is meant: to_hex is not answered here"),
    scalar(TEXT, "character_length", &["length(t)", "char_length('größe')", "character_length(t)"])
        .written("length"),
    scalar(TEXT, "octet_length", &["octet_length(t)", "octet_length('größe')"]),
    scalar(TEXT, "bit_length", &["bit_length('größe')"]),
    scalar(TEXT, "lower", &["lower('APFEL')", "lower(t)"]),
    scalar(TEXT, "upper", &["upper('apfel')", "upper(t)"]),
    scalar(TEXT, "initcap", &["initcap('hELLO wORLD-o''neil x1y')"]),
    scalar(TEXT, "left", &["left(t, 2)", "left(t, -2)", "left('größe', 3)"]),
    scalar(TEXT, "right", &["right(t, 2)", "right(t, -2)", "right('größe', 3)"]),
    scalar(
        TEXT,
        "substr",
        &["substr(t, 2)", "substring(t, 2, 3)", "substring(t FROM 2 FOR 2)", "substr(t, -1, 4)"],
    ),
    scalar(
        TEXT,
        "overlay",
        &["overlay(t PLACING 'xy' FROM 2)", "overlay('größe' PLACING 'xy' FROM 2 FOR 4)"],
    ),
    scalar(TEXT, "strpos", &["strpos(t, 'b')", "position('n' IN t)", "strpos(t, '')"]),
    scalar(TEXT, "replace", &["replace(t, 'a', 'xyz')", "replace(t, '', 'x')"]),
    scalar(TEXT, "translate", &["translate(t, 'ab', 'x')", "translate('größe', 'öß', 'os')"]),
    scalar(TEXT, "btrim", &["trim(t)", "btrim('xxaxx', 'x')", "trim(BOTH ' ' FROM '  a  ')"]),
    scalar(TEXT, "ltrim", &["ltrim('  a ')", "ltrim('xyxa', 'xy')"]),
    scalar(TEXT, "rtrim", &["rtrim(' a  ')", "rtrim('axyx', 'xy')"]),
    scalar(TEXT, "lpad", &["lpad(t, 5, '*')", "lpad(t, 2)"]),
    scalar(TEXT, "rpad", &["rpad(t, 5, '*')", "rpad(t, 2)"]),
    scalar(TEXT, "repeat", &["repeat(t, 2)", "repeat(t, 0)", "repeat(t, -1)"]),
    scalar(TEXT, "reverse", &["reverse(t)", "reverse('größe')"]),
    scalar(TEXT, "split_part", &["split_part(t, '_', 1)", "split_part(t, '_', -1)", "split_part(t, '_', 9)"]),
    scalar(TEXT, "starts_with", &["starts_with(t, 'a')"]),
    scalar(TEXT, "ascii", &["ascii(t)", "ascii('ö')"]),
    scalar(TEXT, "chr", &["chr(65)", "chr(246)"]),
    scalar(TEXT, "concat", &["concat(t, '-', i)", "concat(t, NULL, 'x')", "t || '-' || i"]),
    scalar(TEXT, "concat_ws", &["concat_ws('-', t, i, NULL, 'x')"]),
    scalar(TEXT, "regexp_replace", &["regexp_replace(t, '[ab]+', 'x')", "regexp_replace(t, 'a', 'x', 'g')"]),
    scalar(TEXT, "regexp_match", &["(regexp_match(t, '([a-z])_([a-z])'))[2]"]),
    scalar(TEXT, "md5", &["md5(t)"]),
    scalar(
        BYTES,
        "encode",
        &["encode(decode('6162', 'hex'), 'hex')", "encode(decode('6162ff', 'hex'), 'base64')"],
    ),
    scalar(BYTES, "decode", &["encode(decode('YWI=', 'base64'), 'hex')"]),
    scalar(BYTES, "sha224", &["encode(sha224(decode('6162', 'hex')), 'hex')"]),
    scalar(BYTES, "sha256", &["encode(sha256(decode('6162', 'hex')), 'hex')"]),
    scalar(BYTES, "sha384", &["encode(sha384(decode('6162', 'hex')), 'hex')"]),
    scalar(BYTES, "sha512", &["encode(sha512(decode('6162', 'hex')), 'hex')"]),
    scalar(
        TIMES,
        "date_part",
        &[
            "extract(year FROM day)",
            "extract(month FROM made)",
            "extract(dow FROM at)",
            "extract(isodow FROM day)",
            "extract(week FROM day)",
            "extract(isoyear FROM day)",
            "extract(quarter FROM at)",
            "extract(doy FROM made)",
            "extract(hour FROM at)",
            "extract(second FROM made)",
            "extract(epoch FROM at)",
            "extract(epoch FROM day)",
            "date_part('day', made)",
            "extract(epoch FROM until - at)",
        ],
    )
    .written("extract")
    .ours(),
    scalar(TIMES, "date_bin", &["date_bin(INTERVAL '15 minutes', made, TIMESTAMP '2000-01-01 00:00:00')"]),
    scalar(
        TIMES,
        "date_trunc",
        &[
            "date_trunc('month', day::timestamp)",
            "date_trunc('week', made)",
            "date_trunc('day', at)",
            "date_trunc('hour', at)",
            "date_trunc('quarter', made)",
            "date_trunc('year', at)",
            "date_trunc('minute', until)",
        ],
    ),
    scalar(
        TIMES,
        "to_char",
        &[
            "to_char(day, 'YYYY-MM-DD')",
            "to_char(made, 'FMDay, DD Month YYYY HH12:MI am')",
            "to_char(at, 'IYYY-\"W\"IW-ID HH24:MI:SS.US TZ OF')",
        ],
    )
    .ours(),
    scalar(
        TIMES,
        "age",
        &[
            "extract(year FROM age(made, TIMESTAMP '2000-02-29 12:00'))",
            "extract(epoch FROM age(at, until))",
            "extract(day FROM age(until, at))",
        ],
    )
    .ours(),
    scalar(
        TIMES,
        "starmill *",
        &[
            "made + id * INTERVAL '1 day 2 hours'",
            "at + INTERVAL '1 month' * 1.5",
            "day + INTERVAL '1 day' / 3 * id",
        ],
    )
    .written("interval * n")
    .ours(),
    scalar(TIMES, "starmill /", &["made + INTERVAL '1 month 10 days' / 7"]).written("interval / n").ours(),
    scalar(TIMES, "make_date", &["make_date(2024, id, 2)"]),
    scalar(
        TIMES,
        "to_timestamp",
        &["to_timestamp(b / 1000000)", "to_timestamp('2024-02-29 15:04', 'YYYY-MM-DD HH24:MI')"],
    )
    .ours(),
    scalar(TIMES, "to_date", &["to_date('20240229', 'YYYYMMDD')", "to_date(id || ' Feb 24', 'DD Mon YY')"])
        .ours(),
    scalar(
        TIMES,
        "timezone",
        &["at AT TIME ZONE 'UTC'", "made AT TIME ZONE 'America/New_York'", "timezone('UTC', made)"],
    )
    .written("AT TIME ZONE")
    .ours(),
    scalar(TIMES, "now", &["now()"]).refused("derive the value from a column"),
    scalar(TIMES, "current_date", &["current_date"]).refused("derive the value from a column"),
    scalar(NUMBERS, "random", &["random()"]).refused("derive the value from a column"),
    scalar(ARRAYS, "make_array", &["cardinality(ARRAY[i, 2])"]).written("ARRAY[…]"),
    scalar(ARRAYS, "string_to_array", &["array_to_string(string_to_array(t, '_'), '|')"]),
    scalar(ARRAYS, "array_to_string", &["array_to_string(string_to_array(t, 'b'), ',')"]),
    scalar(ARRAYS, "cardinality", &["cardinality(string_to_array(t, '_'))"]),
    scalar(ARRAYS, "array_element", &["(string_to_array(t, '_'))[1]", "(string_to_array(t, '_'))[7]"])
        .written("a[i]"),
    scalar(ARRAYS, "array_remove_all", &["array_to_string(array_remove(string_to_array(t, '_'), 'a'), ',')"])
        .written("array_remove")
        .rewritten("array_remove_all"),
    scalar(ARRAYS, "array_length", &["array_length(string_to_array(t, '_'), 1)"])
        .rewritten("nullif(array_length(a, 1), 0)"),
    scalar(ARRAYS, "array_append", &["array_to_string(array_append(string_to_array(t, '_'), 'z'), ',')"]),
    scalar(ARRAYS, "array_prepend", &["array_to_string(array_prepend('z', string_to_array(t, '_')), ',')"]),
    scalar(
        ARRAYS,
        "array_concat",
        &["array_to_string(array_cat(string_to_array(t, '_'), string_to_array('x,y', ',')), ',')"],
    )
    .written("array_cat"),
    scalar(ARRAYS, "array_position", &["array_position(string_to_array(t, '_'), 'b')"]),
    scalar(JSON, "json_as_text", &["attrs ->> 'size'", "attrs -> 'addr' ->> 'city'"]).written("->>"),
    scalar(JSON, "json_get", &["attrs -> 'addr' ->> 'city'"]).written("->"),
    scalar(JSON, "json_contains", &["(attrs ? 'size') IS NOT TRUE"]).written("?"),
    scalar(TEXT, "bpchar", &["t::bpchar = 'ab '"]).written("::bpchar").ours(),
    scalar(NUMBERS, "starmill any numeric", &["i::numeric", "n::numeric"]).written("::numeric").ours(),
    aggregate("count", &["count(*)", "count(i)", "count(DISTINCT t)", "count(*) FILTER (WHERE i > 0)"]),
    aggregate("sum", &["sum(i)", "sum(n)", "sum(DISTINCT i)", "sum(d)"]).ours(),
    aggregate("avg", &["round(avg(i), 8)", "round(avg(n), 12)", "round(avg(DISTINCT b), 4)", "avg(d)"])
        .ours(),
    aggregate("min", &["min(i)", "min(t)", "min(at)", "min(day)"]),
    aggregate("max", &["max(n)", "max(t)", "max(made)", "max(d)"]),
    aggregate("bool_and", &["bool_and(i > 0)"]),
    aggregate("bool_or", &["bool_or(i > 0)"]),
    aggregate("bit_and", &["bit_and(i)"]),
    aggregate("bit_or", &["bit_or(i)"]),
    aggregate("bit_xor", &["bit_xor(id)"]),
    aggregate("string_agg", &["string_agg(t, ',' ORDER BY id)", "string_agg(DISTINCT t, ',' ORDER BY t)"])
        .ours(),
    aggregate("array_agg", &["array_to_string(array_agg(t ORDER BY id), ',')"]),
    aggregate("percentile_cont", &["percentile_cont(0.5) WITHIN GROUP (ORDER BY d)"]),
    aggregate("grouping", &["grouping(ok)"]),
    aggregate("stddev", &["stddev(CAST(id AS double precision))"]),
    aggregate("stddev_pop", &["stddev_pop(CAST(id AS double precision))"]),
    aggregate("var", &["var_samp(CAST(id AS double precision))"]).written("var_samp"),
    aggregate("var_pop", &["var_pop(CAST(id AS double precision))"]),
    aggregate("covar_pop", &["covar_pop(CAST(id AS double precision), CAST(id AS double precision))"]),
    aggregate("covar_samp", &["covar_samp(CAST(id AS double precision), CAST(id AS double precision))"]),
    aggregate("corr", &["corr(CAST(id AS double precision), CAST(id AS double precision))"]),
    aggregate("regr_count", &["regr_count(d, CAST(id AS double precision))"]),
    window("row_number", &["row_number() OVER (ORDER BY id)"]),
    window("rank", &["rank() OVER (ORDER BY ok, i)"]),
    window("dense_rank", &["dense_rank() OVER (ORDER BY ok)"]),
    window("percent_rank", &["percent_rank() OVER (ORDER BY ok)"]),
    window("cume_dist", &["cume_dist() OVER (ORDER BY ok)"]),
    window("ntile", &["ntile(4) OVER (ORDER BY id)"]),
    window(
        "lag",
        &[
            "lag(i) OVER (ORDER BY id)",
            "lag(i, 2, 0) OVER (ORDER BY id)",
            "lag(t) OVER (PARTITION BY ok ORDER BY id)",
        ],
    ),
    window("lead", &["lead(n) OVER (ORDER BY id)", "lead(t, 1, 'end') OVER (ORDER BY id)"]),
    window("first_value", &["first_value(t) OVER (PARTITION BY ok ORDER BY id)"]),
    window(
        "last_value",
        &[
            "last_value(i) OVER (ORDER BY id)",
            "last_value(i) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        ],
    ),
    window("nth_value", &["nth_value(i, 2) OVER (ORDER BY id)"]),
];

/// A function's line, by the engine's name.
pub fn line(name: &str) -> Option<&'static Line> {
    LINES.iter().find(|line| line.name == name || line.written == name)
}

/// What the engine makes of syntax, not of a name: `(a, b)`, `x BETWEEN`, a field of a composite.
pub const SYNTAX: [&str; 2] = ["struct", "get_field"];

/// The page of the table.
pub fn documentation() -> String {
    let mut page = "# Functions\n\nWhich functions of Postgres a model may call, and how each is answered: *same* by the engine's own, *ours* by one \
        with Postgres's meaning, *rewritten* to another, or *refused*. Every line is held against Postgres by its examples, \
        over awkward values (`tests/it/dialect.rs`). A function that has no line is refused by `check`, whatever the engine \
        knows; `allow = [\"name\"]` in `[sql]` takes one as the engine answers it.\n\nThis page is printed from `src/dialect/table.rs`.\n"
        .to_owned();
    let mut family = "";
    for line in LINES {
        if line.family != family {
            family = line.family;
            let _ =
                write!(page, "\n## {}\n\n| function | answer | examples |\n|---|---|---|\n", capital(family));
        }
        let answer = match line.answer {
            Answer::Same => "same".to_owned(),
            Answer::Ours => "ours".to_owned(),
            Answer::Rewritten(to) => format!("rewritten to `{to}`"),
            Answer::Refused(instead) => format!("refused: {instead}"),
        };
        let examples: Vec<String> =
            line.examples.iter().map(|example| format!("`{}`", example.replace('|', "\\|"))).collect();
        let _ =
            writeln!(page, "| `{}` | {answer} | {} |", line.written.replace('|', "\\|"), examples.join(", "));
    }
    page
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
