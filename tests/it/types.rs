//! Every line of the one table of types: what another reader of Parquet sees is what the server prints.

use std::fmt::Write as _;

use starmill::pgcopy::types::{TYPES, documentation};

use crate::support::{Cluster, Database, Project, assert_document, cluster, peer, seen_in_star};

/// A line's test: how the column is declared, its values, and how the other reader shows a value as
/// Postgres prints it.
struct Case {
    title: &'static str,
    /// What must be there before the table.
    before: &'static str,
    declared: &'static str,
    values: &'static [&'static str],
    /// The server's text, as an expression over `v`.
    server: &'static str,
    /// The reader's text of the same, as an expression over `v`, in DuckDB's SQL.
    reader: &'static str,
    since: u32,
}

const fn case(
    title: &'static str,
    declared: &'static str,
    values: &'static [&'static str],
    server: &'static str,
    reader: &'static str,
) -> Case {
    Case { title, before: "", declared, values, server, reader, since: 12 }
}

/// A type that arrives as Postgres's own text.
const fn text(title: &'static str, declared: &'static str, values: &'static [&'static str]) -> Case {
    case(title, declared, values, "v::text", "v")
}

/// Before Postgres 14 `extract` gives doubles, so whole seconds and their fraction are taken apart.
const MICROS: &str = "(extract(epoch FROM date_trunc('second', v))::numeric * 1000000 + extract(microseconds FROM v)::numeric % 1000000)::numeric(38,0)::text";

const CASES: &[Case] = &[
    case("boolean", "boolean", &["true", "false"], "v::text", "v::VARCHAR"),
    case("smallint", "smallint", &["-32768", "0", "32767"], "v::text", "v::VARCHAR"),
    case("integer", "integer", &["-2147483648", "0", "2147483647"], "v::text", "v::VARCHAR"),
    case("bigint", "bigint", &["-9223372036854775808", "9223372036854775807"], "v::text", "v::VARCHAR"),
    // Bits, not digits: what is compared is the value itself.
    case(
        "real",
        "real",
        &["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "0.1", "3.4028235e38", "1e-45", "16777217"],
        "v::float8::text",
        "float_text(v::DOUBLE)",
    ),
    case(
        "double precision",
        "double precision",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'-0'",
            "0.1",
            "1.7976931348623157e308",
            "5e-324",
            "123456789.125",
        ],
        "v::text",
        "float_text(v)",
    ),
    case(
        "numeric(p,s), up to 38 digits",
        "numeric(38,10)",
        &["0", "-0.0000000001", "9999999999999999999999999999.9999999999", "1e27", "-12345.6789"],
        "v::text",
        "v::VARCHAR",
    ),
    case(
        "numeric",
        "numeric",
        &["0", "0.0000000001", "-9999999999999999999999999999.9999999999", "100000000", "1.10"],
        "v::numeric(38,10)::text",
        "v::VARCHAR",
    ),
    case(
        "money",
        "money",
        &["'$1,234.56'", "'-$0.01'", "92233720368547758.07"],
        "v::numeric::text",
        "v::VARCHAR",
    ),
    case(
        "text",
        "text",
        &["''", "'x'", "E'tab\\tline\\nquote\"\\\\'", "'Größe 🚀 ﷽'", "repeat('x', 100000)"],
        "v",
        "v",
    ),
    case("varchar(n)", "varchar(5)", &["''", "'ab'", "'ab   '", "'größe'"], "v", "v"),
    case("char(n)", "char(4)", &["'ab'", "'  ab'", "''", "'größ'"], "rtrim(v::text, ' ')", "v"),
    case("name", "name", &["'pg_class'", "repeat('n', 63)"], "v::text", "v"),
    Case {
        before: "CREATE EXTENSION IF NOT EXISTS citext",
        ..case("citext", "citext", &["'AbC'", "''"], "v::text", "v")
    },
    case("json", "json", &["'{\"b\" : 1.50,  \"a\":null}'", "'[]'", "'\"x\"'"], "v::text", "v"),
    case(
        "jsonb",
        "jsonb",
        &["'{\"b\": 1.50, \"a\": null}'", "'12345678901234567890.123456789012345678901'", "'[]'"],
        "v::text",
        "v",
    ),
    case("xml", "xml", &["'<a>ü</a>'", "'<?xml version=\"1.0\"?><a/>'", "'<a/><b/>'"], "v::text", "v"),
    case(
        "uuid",
        "uuid",
        &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'00000000-0000-0000-0000-000000000000'"],
        "v::text",
        "v",
    ),
    case(
        "bytea",
        "bytea",
        &["''", "'\\x00ff10'", "decode(repeat('ab', 5000), 'hex')"],
        "encode(v, 'hex')",
        "lower(hex(v))",
    ),
    case(
        "date",
        "date",
        &[
            "'1970-01-01'",
            "'2024-02-29'",
            "'0001-01-01'",
            "'9999-12-31'",
            "'0044-03-15 BC'",
            "'5874897-12-31'",
        ],
        "(v - date '1970-01-01')::text",
        "(v - DATE '1970-01-01')::VARCHAR",
    ),
    case("time", "time", &["'00:00'", "'23:59:59.999999'", "'12:34:56.7'"], "v::text", "v::VARCHAR"),
    case(
        "timestamp",
        "timestamp",
        &[
            "'1970-01-01'",
            "'2024-02-29 13:45:00.000001'",
            "'0044-03-15 12:00:00 BC'",
            "'9999-12-31 23:59:59.999999'",
            "'290000-01-01'",
        ],
        MICROS,
        "epoch_us(v)::VARCHAR",
    ),
    case(
        "timestamptz",
        "timestamptz",
        &[
            "'1970-01-01 00:00+00'",
            "'2024-03-31 02:30:00+01'",
            "'0044-03-15 12:00:00+00 BC'",
            "'9999-12-31 23:59:59.999999+00'",
        ],
        MICROS,
        "epoch_us(v)::VARCHAR",
    ),
    text("timetz", "timetz", &["'12:00:00.5+02'", "'24:00:00-15:59'"]),
    text("interval", "interval", &["'1 mon 2 days 03:04:05.678'", "'-1 year'", "'0'", "'178000000 years'"]),
    Case {
        before: "CREATE TYPE mood AS ENUM ('sad', 'it''s ok')",
        ..text("enum", "mood", &["'sad'", "'it''s ok'"])
    },
    text("array", "text[]", &["'{}'", "'{1,NULL,\"NULL\",\"a,b\"}'", "'{{1,2},{3,4}}'", "'[0:1]={x,y}'"]),
    Case {
        before: "CREATE TYPE pair AS (a int, b text)",
        ..text("composite", "pair", &["ROW(1, 'a b')", "ROW(NULL, '')", "ROW(-1, 'q\"')"])
    },
    text("range", "int4range", &["'[1,5)'", "'empty'", "'(,)'"]),
    Case { since: 14, ..text("multirange", "nummultirange", &["'{[1.5,2),[3,)}'", "'{}'"]) },
    text("inet", "inet", &["'10.0.0.1/8'", "'::1'", "'192.168.0.1'"]),
    text("cidr", "cidr", &["'10.0.0.0/8'", "'2001:db8::/32'"]),
    text("macaddr", "macaddr", &["'08:00:2b:01:02:03'"]),
    text("bit", "bit varying(9)", &["B'101'", "B''"]),
    text("tsvector", "tsvector", &["'a:1 fat:2,4A'", "''"]),
    Case {
        before: "CREATE EXTENSION IF NOT EXISTS hstore",
        ..text("hstore", "hstore", &["'a=>1, b=>NULL'", "''"])
    },
    text("oid", "oid", &["0", "4294967295"]),
    text("regclass", "regclass", &["'pg_class'", "'information_schema.tables'"]),
    text("point", "point", &["'(1.5,-2)'", "'(NaN,Infinity)'", "'(0.1,1e300)'"]),
    text("\"char\"", "\"char\"", &["'x'", "''"]),
    text("any other", "pg_lsn", &["'16/B374D848'"]),
    Case {
        before: "CREATE DOMAIN euros AS numeric(12,2) CHECK (VALUE > -100); CREATE DOMAIN prices AS euros",
        ..case("domain", "prices", &["99.95", "-0.01"], "v::text", "v::VARCHAR")
    },
];

/// Those that don't arrive, and have tests of their own below.
const REFUSED: [&str; 2] = ["numeric(p,s), 39 to 76 digits", "numeric(p,s), above 76 digits"];

#[test]
fn every_line_of_the_table_has_a_test_and_the_page_is_printed_from_it() {
    for entry in TYPES {
        let tested = CASES.iter().any(|case| case.title == entry.title) || REFUSED.contains(&entry.title);
        assert!(tested, "{} has no test", entry.title);
    }
    assert_eq!(TYPES.len(), CASES.len() + REFUSED.len());
    assert_document("docs/types.md", &documentation());
}

/// One column of one row in every test's own table `t`, and a NULL.
fn fill(source: &Database, case: &Case) {
    let mut sql = format!("{}; CREATE TABLE t (id int PRIMARY KEY, v {});", case.before, case.declared);
    for (number, value) in case.values.iter().enumerate() {
        let _ = write!(sql, "INSERT INTO t VALUES ({number}, {value});");
    }
    sql.push_str("INSERT INTO t VALUES (1000, NULL);");
    source.sql(&sql);
}

fn pipeline(source: &Database, settings: &str) -> Project {
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n{settings}\n[store]\nurl = \"out\"\n[summary.s]\nkey = [\"id\"]\n",
        source.url()
    );
    Project::of(&toml, &[("s", "SELECT * FROM t")], "", &[])
}

/// Whether a server, which may be built with less than Debian's, has the type at all.
fn has(source: &Database, case: &Case) -> bool {
    let extension = case.before.strip_prefix("CREATE EXTENSION IF NOT EXISTS ");
    let known = match extension {
        Some(extension) => format!("SELECT count(*) FROM pg_available_extensions WHERE name = '{extension}'"),
        None if case.title == "xml" => {
            "SELECT count(*) FROM pg_config WHERE name = 'CONFIGURE' AND setting LIKE '%libxml%'".to_owned()
        }
        None => "SELECT 1".to_owned(),
    };
    source.sql(&known) != "0"
}

pub fn every_type_arrives(cluster: &Cluster) {
    let version = cluster.version();
    for case in CASES.iter().filter(|case| case.since <= version) {
        let source = cluster.database();
        if !has(&source, case) {
            continue;
        }
        fill(&source, case);
        let printed = source.sql(&format!(
            "SELECT id || '|' || coalesce(replace({}, chr(10), '~'), 'NULL') FROM t ORDER BY id",
            case.server
        ));
        let project = pipeline(&source, "");
        project
            .starmill(&["extract", "pipelines/p.toml", "--table", "t", "--to", "taken"])
            .exits(0)
            .says("extracted");
        let seen = peer(&format!(
            "SELECT id || '|' || coalesce(replace({}, chr(10), '~'), 'NULL') FROM '{}' ORDER BY id",
            case.reader,
            project.path("taken/public.t/*.parquet").display()
        ));
        assert_eq!(seen, printed, "{} on Postgres {version}", case.title);
    }
}

#[test]
fn what_another_reader_of_parquet_sees_is_what_the_server_prints() {
    let cluster = cluster();
    assert!(CASES.iter().all(|case| has(&cluster.admin(), case)), "the test server has every type");
    every_type_arrives(cluster);
}

#[test]
fn digits_that_no_reader_holds_stay_inside_and_models_may_compute_with_them() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v numeric(60,20)); \
         INSERT INTO t VALUES (1, 1234567890123456789012345678901234567890.12345678901234567890), (2, 0.5)",
    );
    let project = pipeline(&source, "");
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(3)
        .warns("column `v` of `s` is numeric(60,20), which cannot be published")
        .warns("cast it to a numeric of at most 38 digits");
    project
        .starmill(&["extract", "pipelines/p.toml", "--table", "t", "--to", "taken"])
        .exits(5)
        .warns("\"public.t.v\" = { as = \"text\" }");
    project.write(
        "sql/p/s.sql",
        "SELECT id, (v > 1) AS large, CAST(CAST(v AS numeric(60,20)) AS text) AS v FROM t",
    );
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let rows = peer(&format!(
        "SELECT id || '|' || large || '|' || v FROM '{}' ORDER BY id",
        project.path("out/latest/s/*.parquet").display()
    ));
    assert_eq!(
        rows,
        "1|true|1234567890123456789012345678901234567890.12345678901234567890\n2|false|0.50000000000000000000"
    );
    // As text it is published as it stands.
    let text = pipeline(&source, "[source.columns]\n\"public.t.v\" = { as = \"text\" }");
    text.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let rows = peer(&format!(
        "SELECT v FROM '{}' ORDER BY id LIMIT 1",
        text.path("out/latest/s/*.parquet").display()
    ));
    assert_eq!(rows, "1234567890123456789012345678901234567890.12345678901234567890");
}

#[test]
fn more_digits_than_anything_holds_are_refused_with_the_line_to_paste() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v numeric(90,2)); INSERT INTO t VALUES (1, 1.5)");
    let project = pipeline(&source, "");
    let refused = |ran: crate::support::Ran, code| {
        ran.exits(code)
            .warns("numeric(90,2) has more than the 76 digits")
            .warns("\"public.t.v\" = { as = \"text\" }");
    };
    refused(project.starmill(&["extract", "pipelines/p.toml", "--table", "t", "--dry-run"]), 5);
    project.write("sql/p/s.sql", "SELECT id, v FROM t");
    refused(project.starmill(&["check", "pipelines/p.toml"]), 3);
    // The line that it says lets it pass.
    for line in ["as = \"text\"", "as = \"decimal(38,2)\""] {
        let project = pipeline(&source, &format!("[source.columns]\n\"public.t.v\" = {{ {line} }}"));
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        let seen = seen_in_star(&project, "v::VARCHAR");
        assert_eq!(seen, "1.50", "{line}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_the_line_it_says_lets_it_pass() {
    for (declared, value, line) in [
        ("numeric", "0.123456789012", "\"public.t.v\" = { as = \"decimal(38,12)\" }"),
        ("numeric", "1e40", "\"public.t.v\" = { as = \"text\" }"),
        ("time", "'24:00'", "\"public.t.v\" = { as = \"text\" }"),
    ] {
        let source = cluster().database();
        source.sql(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, v {declared}); INSERT INTO t VALUES (1, {value})"
        ));
        let ran = pipeline(&source, "").starmill(&["run", "pipelines/p.toml"]).exits(5);
        ran.warns("public.t.v: the value").warns(&format!("set below [source.columns]: {line}"));
        let project = pipeline(&source, &format!("[source.columns]\n{line}"));
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        let seen = seen_in_star(&project, "v::VARCHAR");
        assert_eq!(seen, source.sql("SELECT v FROM t"));
    }
}

#[test]
fn infinity_and_far_years_become_what_the_pipeline_says() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE t (id int PRIMARY KEY, d date, p timestamptz); INSERT INTO t VALUES \
         (1, 'infinity', 'infinity'), (2, '-infinity', '-infinity'), (3, '0044-03-15 BC', '0044-03-15 00:00+00 BC'), \
         (4, '10000-01-01', '10000-01-01 00:00+00'), (5, '5874897-12-31', '294276-12-31 23:59:59+00'), (6, '9999-12-31', '0001-01-01 00:00+00')",
    );
    let seen = |settings: &str| {
        let project = pipeline(&source, settings);
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        peer(&format!(
            "SELECT id || ' ' || coalesce((d - DATE '1970-01-01')::VARCHAR, '-') || ' ' || coalesce(epoch_us(p)::VARCHAR, '-') FROM '{}' ORDER BY id",
            project.path("out/latest/s/*.parquet").display()
        ))
    };
    let project = pipeline(&source, "special = \"clamp\"\nfar_dates = \"null\"");
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(0)
        .says("warning: public.t.d: 5 values became NULL or were moved")
        .says("warning: public.t.p: 5 values became NULL or were moved");
    project
        .starmill(&["extract", "pipelines/p.toml", "--table", "t", "--dry-run"])
        .exits(0)
        .says("warning: public.t.d: 5 values became NULL or were moved");
    let (first, last) = ("-719162 -62135596800000000", "2932896 253402300799999999");
    assert_eq!(
        seen("special = \"clamp\"\nfar_dates = \"clamp\""),
        format!("1 {last}\n2 {first}\n3 {first}\n4 {last}\n5 {last}\n6 2932896 -62135596800000000")
    );
    assert_eq!(
        seen("special = \"null\"\nfar_dates = \"null\""),
        "1 - -\n2 - -\n3 - -\n4 - -\n5 - -\n6 2932896 -62135596800000000"
    );
    let refused = |settings: &str, rows: &str, value: &str, says: &str| {
        let project = pipeline(&source, settings);
        project.write("sql/p/s.sql", "SELECT * FROM t");
        project.edit(
            "pipelines/p.toml",
            "[store]",
            &format!("[source.where]\n\"public.t\" = \"id IN ({rows})\"\n[store]"),
        );
        project.starmill(&["run", "pipelines/p.toml"]).exits(5).warns(value).warns(says);
    };
    refused("", "1", "public.t.d: the value `infinity` has no place in Arrow", "special = \"null\"");
    refused("special = \"null\"", "5", "public.t.p: the value", "is later than Arrow counts");
    refused(
        "far_dates = \"refuse\"",
        "3",
        "public.t.d: the value `0044-03-15 BC` is before the year 1",
        "far_dates = \"keep\"",
    );
    refused("far_dates = \"refuse\"", "4", "is before the year 1 or after 9999", "far_dates");
}
