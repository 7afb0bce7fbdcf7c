//! SQL as Postgres's users write it: every statement is answered as Postgres answers it, or refused with
//! the words that say why. Postgres itself is the judge, over awkward rows.

use std::fmt::Write as _;

use starmill::dialect::table::{Answer, Kind, documentation, lines};

use crate::support::{Database, Project, assert_document, cluster};

pub const TABLES: &str = "
CREATE TABLE visit (id int);
INSERT INTO visit VALUES (1), (2);
CREATE TABLE ban (id int, grp int);
INSERT INTO ban VALUES (1, 1), (NULL, 2);
CREATE TABLE orders (order_id int PRIMARY KEY);
INSERT INTO orders VALUES (1), (2), (3), (4);
CREATE TABLE payments (payment_id int PRIMARY KEY, order_id int);
INSERT INTO payments VALUES (1, 1), (2, 3), (3, 3);
CREATE TABLE empty (id int, x int);
CREATE TABLE v (id int PRIMARY KEY, i int, b bigint, n numeric(12,2), m numeric(10,4), d double precision, r real,
  t text, day date, made timestamp, at timestamptz, until timestamptz, attrs jsonb, ok boolean, tags int[]);
INSERT INTO v VALUES
 (1, 1, 10, 2.50, 1.0050, 2.5, 0.1, 'a_b', '2024-02-29', '2024-01-31 23:30:00', '2024-03-30 02:30+01', '2024-04-02 02:30+02', '{\"size\": \"L\", \"addr\": {\"city\": \"Ulm\"}}', true, '{1,2,1}'),
 (2, -7, -3, -2.50, -1.0050, -2.5, -2.5, E'line one\\nline two', '2024-03-31', '2024-03-31 02:30:00', '2024-10-27 02:30+02', '2024-10-27 02:30+01', '{\"size\": null}', false, '{}'),
 (3, 2147483647, 9007199254740993, 0.01, 0.0001, 0.30000000000000004, 1e10, 'ab', '2000-01-01', '2024-10-27 02:30:00.123456', '2024-10-27 02:30+01', '2024-10-28 14:00:00.5+01', '{}', NULL, NULL),
 (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (5, 0, 0, 1234567.89, 3.0000, 1.005, 3.25, '', '1999-12-31', '1999-12-31 00:00:00', '1999-12-31 23:59:59.999999Z', '2000-01-01 00:00:00Z', '{\"size\": \"L\", \"addr\": {}}', true, '{3}'),
 (6, 6, 6, 0.05, 2.6750, 1e15, 0.3, 'a.b|c', '2024-12-31', '2024-06-15 12:00:00', '2024-06-15 12:00+02', '2024-06-14 06:30+02', '[1, 2]', false, '{1}');
CREATE TABLE wide (id int PRIMARY KEY, big bigint, most numeric(38,2), huge double precision, small smallint);
INSERT INTO wide VALUES (1, 9223372036854775807, 85000000000000000000000000000000000.00, 1e308, 32767),
  (2, 1, 850000000000000000000000000000000000.00, 1e308, 1);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE felt (id int PRIMARY KEY, m mood, w mood NOT NULL);
INSERT INTO felt VALUES (1, 'happy', 'ok'), (2, 'sad', 'happy'), (3, 'ok', 'sad'), (4, NULL, 'ok'), (5, 'sad', 'sad');
";

pub const ZONE: &str = "Europe/Berlin";

fn database() -> Database {
    let database = cluster().database();
    database.sql(TABLES);
    database
}

/// A pipeline with a summary for each statement.
pub fn project(database: &Database, statements: &[&str], target: bool) -> Project {
    let mut toml = format!(
        "name = \"p\"\ntimezone = \"{ZONE}\"\n[source]\nurl = \"{0}\"\n[store]\nurl = \"out\"\n",
        database.url()
    );
    if target {
        let _ = writeln!(toml, "[target]\nurl = \"{}\"\nschema = \"mart\"", database.url());
    }
    let mut models = Vec::new();
    for (number, sql) in statements.iter().enumerate() {
        let _ = writeln!(toml, "[summary.m{number}]");
        models.push((format!("m{number}"), (*sql).to_owned()));
    }
    let models: Vec<(&str, &str)> = models.iter().map(|(name, sql)| (name.as_str(), sql.as_str())).collect();
    Project::of(&toml, &models, "", &[])
}

/// Builds and delivers every statement, and has Postgres say which of them it answers otherwise.
#[track_caller]
fn assert_answered(statements: &[&str]) {
    assert_answered_in(database(), statements);
}

#[track_caller]
fn assert_answered_in(database: Database, statements: &[&str]) {
    let project = project(&database, statements, true);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let mut wrong = String::new();
    for (number, sql) in statements.iter().enumerate() {
        let both = format!(
            "SET timezone = '{ZONE}'; SET search_path = public, mart; \
             SELECT 'starmill', s.* FROM (SELECT * FROM mart.m{number} EXCEPT ALL ({sql})) AS s \
             UNION ALL SELECT 'postgres', j.* FROM (({sql}) EXCEPT ALL SELECT * FROM mart.m{number}) AS j LIMIT 10"
        );
        let difference = database.sql(&both).replace("SET\n", "").replace("SET", "");
        if !difference.trim().is_empty() {
            let _ = writeln!(wrong, "{sql}\n{difference}\n");
        }
    }
    assert!(wrong.is_empty(), "answered otherwise than by Postgres:\n{wrong}");
}

/// Checks every statement in one pipeline; each must be refused in its own words.
#[track_caller]
fn assert_refused(cases: &[(&str, &str)]) {
    let database = database();
    let statements: Vec<&str> = cases.iter().map(|(sql, _)| *sql).collect();
    let project = project(&database, &statements, false);
    let told = project.starmill(&["check", "pipelines/p.toml", "--format", "json"]).exits(3).json();
    let diagnostics = told["error"]["diagnostics"].as_array().unwrap();
    let mut missed = String::new();
    for (number, (sql, words)) in cases.iter().enumerate() {
        let file = format!("sql/p/m{number}.sql");
        let of: Vec<&str> = diagnostics
            .iter()
            .filter(|found| found["place"]["file"] == file.as_str())
            .filter_map(|found| found["message"].as_str())
            .collect();
        if !of.iter().any(|message| message.contains(words)) {
            let _ = writeln!(missed, "{sql}\n  wants: {words}\n  told: {of:?}\n");
        }
    }
    assert!(missed.is_empty(), "not refused, or in other words:\n{missed}");
}

#[test]
fn subqueries_know_null_and_the_empty_set() {
    assert_answered(&[
        "SELECT id FROM visit WHERE id IN (SELECT id FROM ban)",
        "SELECT id FROM visit WHERE id NOT IN (SELECT id FROM ban)",
        "SELECT id FROM visit WHERE id NOT IN (SELECT id FROM ban WHERE id IS NOT NULL)",
        "SELECT id FROM v WHERE i NOT IN (SELECT x FROM empty)",
        "SELECT id FROM v WHERE i IN (SELECT id FROM visit) OR id = 4",
        "SELECT id FROM visit WHERE NOT (id IN (SELECT id FROM ban)) OR id = 4",
        "SELECT id, id IN (SELECT id FROM ban) AS banned FROM visit",
        "SELECT id FROM visit WHERE CASE WHEN id IN (SELECT id FROM ban) THEN false ELSE true END",
        "SELECT id FROM v WHERE (i, id) > (20, 2)",
        "SELECT id FROM v WHERE (i, id) = (1, 1)",
        "SELECT rows.id, rows.id IN (SELECT id FROM ban) AS x FROM visit AS rows WHERE rows.id > ALL (SELECT x FROM empty)",
        "SELECT id FROM v WHERE ROW(i, t) = ROW(1, 'a_b')",
        "SELECT id, CASE r WHEN 0.1 THEN 'x' ELSE 'y' END AS x, coalesce(r, n) AS z FROM v WHERE id <> 3",
        "SELECT id FROM v WHERE i = ANY (tags)",
        "SELECT id FROM v WHERE i > ALL (ARRAY[1, NULL])",
        "SELECT order_id, EXISTS (SELECT 1 FROM payments AS p WHERE p.order_id = o.order_id) AS paid, order_id IN (SELECT order_id FROM payments) AS is_in, order_id IN (SELECT id FROM ban) AS may_be FROM orders AS o",
        "SELECT id FROM v WHERE (id, i) IN (SELECT id, id FROM visit) OR (id, i) NOT IN (SELECT id, grp FROM ban)",
        "SELECT id FROM v WHERE i > ALL (SELECT id FROM ban) OR i < ANY (SELECT id FROM ban)",
        "SELECT o.order_id, s.payment_id FROM orders AS o LEFT JOIN LATERAL (SELECT p.payment_id FROM payments AS p WHERE p.order_id = o.order_id ORDER BY p.payment_id DESC LIMIT 1) AS s ON true",
        "SELECT order_id, (SELECT p.payment_id FROM payments AS p WHERE p.order_id = o.order_id ORDER BY p.payment_id DESC LIMIT 1) AS x FROM orders AS o",
        "SELECT id, u.k, u.x FROM v CROSS JOIN LATERAL (VALUES ('n', n), ('m', m)) AS u (k, x)",
        "SELECT v.id, u.tag, u.n FROM v LEFT JOIN LATERAL unnest(tags) WITH ORDINALITY AS u (tag, n) ON true",
        "SELECT v.id, e.key, e.value FROM v, jsonb_each_text(attrs) AS e WHERE id < 6",
        "SELECT order_id FROM orders AS o WHERE EXISTS (SELECT 1 FROM payments AS p WHERE p.order_id = o.order_id)",
        "SELECT order_id FROM orders AS o WHERE NOT EXISTS (SELECT 1 FROM payments AS p WHERE p.order_id = o.order_id)",
        "SELECT id FROM visit WHERE id IN (SELECT max(id) FROM visit)",
        "SELECT order_id, (SELECT count(*) FROM payments AS p WHERE p.order_id = o.order_id) AS n FROM orders AS o",
        "SELECT order_id FROM orders AS o WHERE 0 = (SELECT count(*) FROM payments AS p WHERE p.order_id = o.order_id)",
        // What NOT IN and EXCEPT ALL are advised to be written as.
        "SELECT id FROM visit AS v WHERE NOT EXISTS (SELECT 1 FROM ban AS s WHERE (s.id = 3) IS NOT FALSE)",
        "SELECT id FROM visit AS v WHERE NOT EXISTS (SELECT 1 FROM ban AS s WHERE s.grp = v.id AND (s.id = 3) IS NOT FALSE)",
        "SELECT id FROM visit AS v WHERE NOT EXISTS (SELECT 1 FROM ban AS s WHERE (s.id = v.id) IS NOT FALSE)",
        "SELECT i, row_number() OVER (PARTITION BY i ORDER BY i) AS copy FROM v EXCEPT SELECT i, row_number() OVER (PARTITION BY i ORDER BY i) AS copy FROM v WHERE id > 3",
        "SELECT i FROM v EXCEPT SELECT id FROM visit",
        "SELECT i FROM v INTERSECT SELECT i FROM v",
        "SELECT v.id, s.id IS NOT NULL AS banned FROM visit AS v LEFT JOIN (SELECT DISTINCT id FROM ban) AS s ON s.id = v.id",
        "SELECT coalesce(l.id, r.id) AS id FROM visit AS l FULL JOIN ban AS r ON l.id = r.id",
        "SELECT id FROM visit LEFT JOIN ban USING (id)",
        "SELECT id FROM v ORDER BY id DESC LIMIT 1000000000 OFFSET 2",
    ]);
    assert_refused(&[
        ("SELECT id FROM visit NATURAL FULL JOIN ban", "RIGHT and FULL JOIN"),
        ("SELECT -2 ^ 2 AS x FROM visit", "-a ^ b"),
    ]);
    assert_refused(&[
        ("SELECT id FROM visit WHERE 3 NOT IN (SELECT id FROM ban)", "NOT IN (SELECT"),
        (
            "SELECT id FROM visit AS v WHERE 3 NOT IN (SELECT b.id FROM ban AS b WHERE b.grp = v.id)",
            "NOT IN (SELECT",
        ),
        (
            "SELECT id FROM visit AS v WHERE id NOT IN (SELECT b.id FROM ban AS b WHERE b.grp = v.id)",
            "NOT IN (SELECT",
        ),
        ("SELECT id FROM visit WHERE id NOT IN (SELECT id FROM ban) OR id = 4", "NOT IN (SELECT"),
        (
            "SELECT order_id FROM orders AS o WHERE EXISTS (SELECT count(*) FROM payments AS p WHERE p.order_id = o.order_id)",
            "EXISTS over an aggregate",
        ),
        (
            "SELECT order_id FROM orders AS o WHERE 0 IN (SELECT count(*) FROM payments AS p WHERE p.order_id = o.order_id)",
            "IN over an aggregate",
        ),
    ]);
}

#[test]
fn numbers_never_wrap_and_round_as_in_postgres() {
    assert_answered(&[
        "SELECT id, i + 1::bigint AS x FROM v",
        "SELECT id, n + m AS x, n - m AS y, n * m AS z FROM v",
        "SELECT id, i % 4 AS x FROM v",
        "SELECT id, d * 2 AS x, d + n AS y FROM v",
        "SELECT id FROM v WHERE d = 0.3",
        "SELECT id FROM v WHERE d IN (0.3, 1.005)",
        "SELECT id FROM v WHERE d BETWEEN 0.3 AND 1.005",
        "SELECT id FROM v WHERE d > n",
        "SELECT id, CAST(d AS numeric(20,2)) AS x FROM v",
        "SELECT id, CAST(r AS numeric(20,4)) AS x FROM v",
        "SELECT id, round(d) AS x FROM v",
        "SELECT id, CAST(d AS bigint) AS x FROM v",
        "SELECT id, CAST(n AS int) AS x, CAST(m AS bigint) AS y FROM v",
        "SELECT id, round(m, 2) AS x, round(m) AS y FROM v",
        "SELECT sum(i) AS i, sum(n) AS n, sum(d) AS d FROM v",
        "SELECT ok, sum(n) AS n, sum(i) AS i FROM v GROUP BY ok",
        "SELECT sum(DISTINCT n) AS n FROM v",
        "SELECT id, sum(n) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS n FROM v",
        "SELECT sum(x) AS x FROM empty",
        "SELECT id, -i AS x, abs(n) AS y FROM v",
        "SELECT id, i / 4 AS x FROM v",
        "SELECT sum(CAST(big AS numeric(38,0))) AS x FROM wide",
        "SELECT nullif(d, 0.3) AS x, coalesce(d, 0.3) AS y, greatest(d, 0.3) AS z FROM v",
        "SELECT CASE d WHEN 0.3 THEN 'yes' ELSE 'no' END AS x, CASE WHEN i > 0 THEN d ELSE 0.3 END AS y FROM v",
        "SELECT id, r + i AS x, r * 3 AS y FROM v WHERE id < 3",
        "SELECT a.id, k FROM (SELECT id, d AS k FROM v) AS a JOIN (SELECT n AS k FROM v) AS b USING (k)",
        "SELECT id, sum(x) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS x FROM (VALUES (1, CAST(1e20 AS double precision)), (2, CAST(1 AS double precision)), (3, CAST(1 AS double precision))) AS q (id, x)",
    ]);
    assert_refused(&[
        ("SELECT id FROM v WHERE d IN (SELECT n FROM v)", "doubles and numerics"),
        ("SELECT d AS x FROM v INTERSECT SELECT n FROM v", "doubles and numerics"),
        ("SELECT x FROM (VALUES (CAST(1 AS double precision)), (0.3)) AS q (x)", "doubles and numerics"),
        ("SELECT id FROM v WHERE r IN (0.1, 0.3)", "compares a real"),
        ("SELECT lpad(t, i, 'x') AS x FROM v", "may be negative"),
    ]);
    assert_refused(&[
        ("SELECT id, round(d, 2) AS x FROM v", "rounds a double"),
        ("SELECT id, CASE WHEN ok THEN 1 ELSE 'no' END AS x FROM v", "a CASE gives"),
        ("SELECT id AS x FROM v UNION ALL SELECT t FROM v", "UNION's column"),
        ("SELECT id, nullif(t, i) AS x FROM v", "nullif is given"),
        ("SELECT id, coalesce(i, '-') AS x FROM v", "invalid input syntax for type integer: \"-\""),
        ("SELECT id FROM v WHERE day > 20240201", "compares a date or time with a number"),
        ("SELECT id FROM v WHERE t = i", "compares text with a number"),
    ]);
}

#[test]
fn a_nan_is_greater_than_every_number_in_the_source_and_in_what_other_models_read() {
    let database = database();
    database.sql(
        "CREATE TABLE gauges (id int PRIMARY KEY, g int NOT NULL, v double precision, r real); \
         INSERT INTO gauges VALUES (1, 1, 1.5, 1.5), (2, 1, 'NaN', 'NaN'), (3, 1, 1.5, 1.5), (4, 2, 'NaN', 'NaN'), (5, 2, -1, -1), \
         (6, 2, 7, 7), (7, 3, NULL, NULL), (8, 4, 'NaN', 'NaN'), (9, 5, '-Infinity', '-Infinity'), (10, 5, 'NaN', '2')",
    );
    assert_answered_in(
        database,
        &[
            "SELECT id, g, v, r FROM gauges WHERE g = 1",
            "SELECT id, g, v, r FROM gauges",
            "SELECT id, v, r FROM m0",
            "SELECT id FROM m0 WHERE v > 100",
            "SELECT id FROM m1 WHERE r > 100 OR v < -2",
            "SELECT min(v) AS a, max(v) AS b, min(r) AS c, max(r) AS d FROM m1",
            "SELECT g, min(v) AS a, max(v) AS b, min(r) AS c, max(r) AS d FROM m1 GROUP BY g",
            "SELECT g, min(v) AS a, max(v) AS b, min(r) AS c, max(r) AS d FROM gauges GROUP BY g",
            "SELECT g, max(v) FILTER (WHERE id > 1) AS b FROM gauges GROUP BY g HAVING max(v) > 100",
            "SELECT id, max(v) OVER (PARTITION BY g ORDER BY id) AS a, min(v) OVER (ORDER BY id) AS b FROM gauges",
            "SELECT m.id FROM m1 AS m JOIN (SELECT 'NaN'::float8 AS w) AS x ON m.v = x.w",
            "SELECT v, count(*) AS n FROM m1 GROUP BY v",
            "SELECT DISTINCT ON (g) g, v, id FROM m1 ORDER BY g, v DESC NULLS LAST, id",
        ],
    );
}

#[test]
fn the_catalog_of_what_postgres_takes_is_that_of_a_server() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (query, file) = (root.join("tests/dialect/catalog.sql"), root.join("src/dialect/table/catalog.txt"));
    let database = cluster().database();
    let mut said: Vec<String> =
        database.sql(&std::fs::read_to_string(query).unwrap()).lines().map(str::to_owned).collect();
    // Of a later version, which the table of functions has, too.
    said.push("aggregate any_value(anyelement)".to_owned());
    said.sort();
    said.dedup();
    let is_15 = database.sql("SHOW server_version_num").starts_with("15");
    if std::env::var_os("STARMILL_TEST_BLESS").is_some() && is_15 {
        std::fs::write(&file, said.join("\n") + "\n").unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap();
    let lost: Vec<&str> = kept.lines().filter(|line| said.iter().all(|said| said != line)).collect();
    let new = said.iter().filter(|line| kept.lines().all(|kept| kept != line.as_str())).count();
    // Other versions have some more, and have lost a few.
    assert!(lost.len() <= if is_15 { 0 } else { 60 }, "{lost:?}");
    assert!(new == 0 || !is_15, "{new} lines are missing");
}

#[test]
fn a_path_of_names_is_walked_whatever_text_the_names_are() {
    let database = database();
    database.sql(
        "CREATE TABLE cats (id int PRIMARY KEY, parent int, name varchar(50), t text, d jsonb); \
         INSERT INTO cats VALUES (1, NULL, 'a', 'x', '{}'), (2, 1, 'b', 'y', '{\"a\": 1}'), (3, 2, 'c', NULL, NULL)",
    );
    let walk = |first: &str, step: &str| {
        format!(
            "WITH RECURSIVE p AS (SELECT id, {first} AS path FROM cats WHERE parent IS NULL \
             UNION ALL SELECT c.id, {step} FROM cats AS c JOIN p ON c.parent = p.id) SELECT id, path FROM p"
        )
    };
    let statements = [
        walk("CAST(name AS text)", "p.path || ' > ' || c.name"),
        walk("name::text", "concat(p.path, '/', c.name)"),
        walk("t", "p.path || ' > ' || c.t"),
        walk("name", "c.name"),
        walk("d::text", "c.d::text"),
    ];
    assert_answered_in(database, &statements.each_ref().map(String::as_str));
}

#[test]
fn a_json_that_another_model_publishes_is_still_asked() {
    let database = database();
    database.sql("CREATE TABLE held (id int PRIMARY KEY, d json, c name); INSERT INTO held VALUES (1, '{\"a\": {\"b\": 7}}', 'n')");
    let statements = [
        "SELECT id, attrs, attrs->'addr' AS part FROM v",
        "SELECT id, attrs->>'size' AS s, part->>'city' AS c FROM m0",
        "SELECT id, d->>'a' AS a, (d->'a'->>'b')::int AS b, c || '!' AS c FROM held",
    ];
    let project = project(&database, &statements, true);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let asked = "SELECT count(DISTINCT attrs->>'size') AS n FROM m0";
    project.starmill(&["query", "pipelines/p.toml", asked, "--format", "csv"]).exits(0).says("1");
    assert_eq!(database.sql("SELECT * FROM mart.m2"), "1|{\"b\": 7}|7|n!");
    assert_eq!(database.sql("SELECT s, c FROM mart.m1 WHERE c IS NOT NULL"), "L|Ulm");
}

#[test]
fn a_null_character_is_told_within_an_array_too() {
    let database = database();
    database.sql("CREATE TABLE held (id int PRIMARY KEY, d json); INSERT INTO held VALUES (1, '{\"a\": \"x\\u0000\"}')");
    let project = project(&database, &["SELECT ARRAY[d->>'a'] AS x FROM held"], true);
    project.starmill(&["run", "pipelines/p.toml"]).exits(6).warns("a text has a null character");
}

#[test]
fn quotients_and_averages_have_postgres_digits() {
    assert_answered(&[
        "SELECT id, round(n / 3, 6) AS x, CAST(n / m AS numeric(30,12)) AS y, round(m / n, 4) AS z FROM v WHERE n <> 0",
        "SELECT a.id, CAST(a.n / b.n AS numeric(38,20)) AS x, CAST(a.m / b.n AS numeric(38,24)) AS y, CAST(a.n / b.m AS numeric(38,18)) AS z FROM v AS a CROSS JOIN v AS b WHERE b.id <> 4",
        "SELECT id, CAST(i / 3.0 AS numeric(38,20)) AS x, CAST(100.0 / nullif(i, 0) AS numeric(38,24)) AS y, CAST(1.0 / nullif(b, 0) AS numeric(38,30)) AS z FROM v",
        "SELECT id, CAST(n / 3 * 100 AS numeric(38,22)) AS x, CAST(n / 3 / 7 AS numeric(38,22)) AS y, CAST(1 - n / 7 + i AS numeric(38,20)) AS z, CAST(-(n / 3) * (m / 7) AS numeric(38,28)) AS w FROM v",
        "SELECT id, CAST(n / (m / 3) AS numeric(38,16)) AS x, CAST((n + m) / (n * 2 - 0.5) AS numeric(38,16)) AS y FROM v WHERE m <> 0",
        "SELECT v.id FROM v JOIN visit AS w ON v.n / 3 > w.id",
        "SELECT id, n / 3 > 0.8333333333333333 AS x, n / 3 = 0.83333333333333333333 AS y FROM v",
        "SELECT ok, round(avg(n), 20) AS n, CAST(avg(m) AS numeric(38,20)) AS m, round(avg(i), 16) AS i, round(avg(b), 8) AS b, round(avg(DISTINCT i), 6) AS d, round(avg(n) FILTER (WHERE id > 1), 4) AS f FROM v GROUP BY ok",
        "SELECT round(x / 2, 3) AS x FROM (SELECT avg(n) AS x FROM v) AS q",
        "SELECT round(avg(n / 7), 3) AS x FROM v",
        "SELECT round(avg(n), 20) AS n, count(*) AS c, sum(i) AS s FROM v",
        "SELECT round(avg(x), 2) AS x FROM empty",
        "SELECT id, round(avg(n) OVER (PARTITION BY ok ORDER BY id), 16) AS x, CAST(avg(i) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS numeric(38,16)) AS y, sum(i) OVER (PARTITION BY ok) AS z FROM v",
        "SELECT ok FROM v GROUP BY ok HAVING avg(n) > 1 ORDER BY avg(n) LIMIT 2",
        "SELECT ok, round(coalesce(sum(n) / nullif(sum(i), 0), 0), 2) AS x, CAST(sum(n) / count(*) AS numeric(38,20)) AS y, round(100.0 * count(i) / count(*), 1) AS pct FROM v GROUP BY ok",
        "SELECT ok, id % 2 AS odd, round(avg(n), 6) AS x FROM v GROUP BY GROUPING SETS ((ok), (id % 2), ())",
        "SELECT q.id, round(q.x, 3) AS x FROM (SELECT id, n / 7 AS x FROM v) AS q WHERE q.x > 0",
        "SELECT round(sum(n / 7), 10) AS x, round(max(n / 7), 18) AS y, round(min(m / n), 12) AS z FROM v WHERE n <> 0",
        "SELECT id, i::numeric / 7 > 0 AS x, round(i::numeric / 7, 5) AS y, n::numeric AS z, '1.50'::numeric + n AS w FROM v",
        "SELECT id, round(n, 4) AS x, CAST(round(n, 3) AS text) AS y, round(n / 3) AS z, abs(n / 3) > 1 AS p, CAST(floor(n / 3) AS numeric(20,0)) AS f FROM v",
        "SELECT id, CASE WHEN n > 1 THEN round(n / 3, 2) ELSE 0 END AS x FROM v",
        "SELECT id, round(n / 1e2, 4) AS a, round(1e2 / 3, 4) AS b, round(100 * n / 1E3, 4) AS c, round(i / 1e1, 2) AS d, round(n / (1e2 * 3), 6) AS e, n / 1e2 = 0.025 AS f FROM v",
        "SELECT CAST(sum(b) AS numeric(38,0)) / 2 > 1 AS x, round(CAST(sum(b) AS numeric(38,0)) / count(*), 4) AS y FROM v WHERE id <> 3",
        "SELECT sum(i) / 2 AS x, sum(CASE WHEN ok THEN 1 ELSE 0 END) / count(*) AS y, sum(CASE WHEN i > 0 THEN i ELSE 0 END) / 3 AS z, count(*) / 4 AS w FROM v",
        "SELECT id, row_number() OVER (ORDER BY id) / 4 AS x, ntile(4) OVER (ORDER BY id) / 3 AS y, rank() OVER (ORDER BY id) - 1 AS z FROM v",
        "SELECT id, CAST(extract(month FROM day) AS int) / 4 AS x, round(CAST(extract(month FROM day) AS numeric(20,0)) / 4, 2) AS y FROM v",
        "SELECT id, avg(d) OVER (ORDER BY id ROWS 1 PRECEDING) AS x FROM v WHERE id <> 6",
        "SELECT CAST(sum(b) AS bigint) / 2 AS x, sum(i)::bigint / count(*) AS y FROM v WHERE id <> 3",
        "SELECT id, round(CASE WHEN i > 0 THEN n / i ELSE m / 3 END, 6) AS x FROM v",
        "SELECT id, power(CAST(i AS double precision), CAST(2 AS double precision)) AS x, array_length(ARRAY[ARRAY[1, 2, 3], ARRAY[4, 5, 6]], 1) AS y FROM v",
        "SELECT id, (string_to_array(t, '_'))[1] AS x, at AT TIME ZONE 'Etc/GMT-1' AS y FROM v",
        "SELECT array_to_string(array_agg(CAST(i AS text) ORDER BY id), ',') AS x, array_to_string(ARRAY[CASE WHEN true THEN 't' ELSE 'f' END], ',') AS y FROM v",
        "SELECT id, (n / 3)::int AS x, floor(n / 3)::bigint AS y, trunc(n / 3, 1) AS z, trunc(m / 7) AS w FROM v",
        "SELECT CAST(x AS numeric(20,4)) AS y FROM (SELECT n / 3 AS x FROM v UNION ALL SELECT m / 7 FROM v UNION ALL SELECT 1 FROM v) AS q",
        "SELECT id, round(n / sum(n) OVER () * 100, 4) AS pct, round(n / (SELECT sum(n) FROM v), 6) AS part FROM v",
        "SELECT id, CASE WHEN id > 1 THEN day + INTERVAL '1 day' ELSE made END AS x, coalesce(day + INTERVAL '1 day', made) AS y FROM v",
        "SELECT round((SELECT avg(n) FROM v), 5) AS x, count(*) AS n FROM v WHERE n > round((SELECT avg(n) FROM v), 2) / 1000",
        "SELECT id, round(extract(month FROM day) / 4, 2) AS x, floor((extract(month FROM day) - 1) / 3) + 1 AS q FROM v",
        "SELECT id, round(id) / 2 AS x, (n / 3)::double precision AS y, '0.1'::float + 0.2 AS z FROM v",
        "SELECT d FROM v UNION SELECT n FROM v",
        "SELECT i AS x FROM v UNION ALL SELECT n FROM v UNION ALL SELECT d FROM v",
        "SELECT id FROM v WHERE i <> 0 AND 12 / i > 1",
        "SELECT id FROM v WHERE i = 0 OR 12 / i > 1",
        "SELECT id FROM (SELECT id, i FROM v WHERE i <> 0) AS s WHERE 12 / i > 1",
        "SELECT id FROM v WHERE CASE WHEN i <> 0 THEN 12 / i > 1 ELSE false END",
        "SELECT count(*) FILTER (WHERE i <> 0 AND 12 / i > 1) AS x FROM v",
        "SELECT id FROM v WHERE t ~ '^[0-9]+$' AND t::int > 5",
    ]);
    assert_refused(&[
        ("SELECT id, n / 3 AS x FROM v", "cannot be published"),
        ("SELECT avg(i) AS x FROM v", "cannot be published"),
        ("SELECT id, CAST(n / 3 AS text) AS x FROM v", "digits after the point"),
        ("SELECT id, 'x' || n / 3 AS x FROM v", "digits after the point"),
        ("SELECT id FROM v WHERE n > (SELECT avg(n) FROM v) / 1000", "divides with (SELECT …)"),
        ("SELECT sum(b) / 2 AS x FROM v", "is a numeric in Postgres"),
        ("SELECT coalesce(sum(b), 0) / count(*) AS x FROM v", "is a numeric in Postgres"),
        (
            "WITH c AS (SELECT ok, sum(b) AS s FROM v GROUP BY ok) SELECT abs(s) / 2 AS x FROM c",
            "is a numeric in Postgres",
        ),
        (
            "SELECT x / 2 AS y FROM (SELECT sum(q.n) AS x FROM (SELECT ok, count(*) AS n FROM v GROUP BY ok) AS q) AS r",
            "is a numeric in Postgres",
        ),
        ("SELECT id, sum(b) OVER (ORDER BY id) / 2 AS x FROM v WHERE id <> 3", "is a numeric in Postgres"),
        (
            "SELECT round(x, 16) AS y FROM (VALUES (1 / 3.0), (2.5 / 7), (1)) AS q (x)",
            "in VALUES would lose digits",
        ),
        ("SELECT array_to_string(array_agg(d ORDER BY id), ',') AS x FROM v", "print its elements otherwise"),
        ("SELECT array_to_string(ARRAY[true, false], ',') AS x FROM v", "print its elements otherwise"),
        ("SELECT id, at AT TIME ZONE 'CET' AS x FROM v", "takes an abbreviation"),
        ("SELECT id, d::numeric AS x FROM v", "as numeric has as many digits"),
        ("SELECT id, t::numeric AS x FROM v", "as numeric has as many digits"),
    ]);
}

#[test]
fn quotients_of_thousands_of_magnitudes_are_postgres_own() {
    let database = database();
    database.sql(
        "SELECT setseed(0.25); CREATE TABLE q (id int PRIMARY KEY, a numeric(14,2), b numeric(20,8), c numeric(30,0), d numeric, i int); \
         INSERT INTO q SELECT g, (random() - 0.5) * 10 ^ (random() * 11), (random() - 0.5) * 10 ^ (random() * 19 - 8), \
           (random() - 0.5) * 10 ^ (random() * 29), round(((random() - 0.5) * 10 ^ (random() * 12))::numeric, (random() * 8)::int), \
           (random() * 10 ^ (random() * 9))::int FROM generate_series(1, 4000) AS g; \
         DELETE FROM q WHERE a = 0 OR b = 0 OR c = 0 OR d = 0 OR i = 0",
    );
    assert_answered_in(
        database,
        &[
            "SELECT id, CAST(a / b AS numeric(38,12)) AS x, round(b / a, 14) AS y, CAST(a / i AS numeric(38,22)) AS z FROM q",
            "SELECT id, CAST(i / a AS numeric(38,20)) AS x, CAST(b / c AS numeric(38,20)) AS y, a / c > b / i AS z FROM q",
            "SELECT id, CAST(a / b / i AS numeric(38,12)) AS x, CAST(a / (b / i) AS numeric(38,2)) AS y, CAST(a / b * b - a AS numeric(38,18)) AS z FROM q",
            "SELECT id, CAST(d / a AS numeric(38,8)) AS x, CAST(i / d AS numeric(38,8)) AS y FROM q WHERE abs(d) < 100000 AND abs(d) > 1 AND abs(a) > 1 AND i < 1000000",
            "SELECT id % 50 AS k, CAST(avg(a) AS numeric(38,14)) AS a, CAST(avg(b) AS numeric(38,20)) AS b, round(avg(i), 12) AS i, CAST(avg(c) AS numeric(38,2)) AS c, CAST(sum(a) / sum(b) AS numeric(38,16)) AS s FROM q GROUP BY id % 50",
        ],
    );
}

#[test]
fn what_is_out_of_range_ends_the_night() {
    let database = database();
    for (sql, words) in [
        ("SELECT big + 1 AS x FROM wide", "bigint out of range"),
        ("SELECT id, i + i AS x FROM v WHERE id = 3", "integer out of range"),
        ("SELECT id, i * i AS x FROM v", "integer out of range"),
        ("SELECT small + small AS x FROM wide", "smallint out of range"),
        ("SELECT -(-big - 1) AS x FROM wide", "bigint out of range"),
        ("SELECT w.id FROM wide AS w JOIN wide AS o ON w.big + o.big > 0", "bigint out of range"),
        ("SELECT id, sum(big) OVER (ORDER BY id) AS x FROM wide", "sum is out of range of bigint"),
        ("SELECT power(huge, 2) AS x FROM wide", "out of range"),
        ("SELECT sqrt(d) AS x FROM v", "square root of a negative number"),
        ("SELECT sum(big) AS x FROM wide", "sum is out of range of bigint"),
        (
            "SELECT sum(t) AS x FROM (SELECT most AS t FROM wide UNION ALL SELECT most FROM wide) AS u",
            "sum is out of range",
        ),
        ("SELECT huge * 10 AS x FROM wide", "out of range"),
        ("SELECT sum(huge) AS x FROM wide", "sum is out of range"),
        ("SELECT id, d / 0 AS x FROM v", "division by zero"),
        ("SELECT id, round(n / 0, 2) AS x FROM v", "division by zero"),
        ("SELECT id, round(1.0 / i, 2) AS x FROM v", "division by zero"),
        ("SELECT CAST(n / 0.01 AS numeric(5,2)) AS x FROM v", "numeric field overflow"),
        ("SELECT id, d / i AS x FROM v", "division by zero"),
        ("SELECT id, ln(d - d) AS x FROM v", "out of range"),
        ("SELECT id, i / 0 AS x FROM v", "division by zero"),
        ("SELECT CAST(huge AS bigint) AS x FROM wide", "bigint out of range"),
        ("SELECT CAST(d AS int) AS x FROM v WHERE id = 6", "integer out of range"),
    ] {
        let project = project(&database, &[sql], false);
        let ran = project.starmill(&["run", "pipelines/p.toml"]);
        let refused = ran.code == Some(6) || ran.code == Some(3);
        assert!(refused && ran.stderr.contains(words), "{sql}: {:?}\n{}", ran.code, ran.stderr);
    }
}

#[test]
fn times_are_those_of_the_pipelines_zone() {
    assert_answered(&[
        "SELECT at AS x FROM v UNION ALL SELECT day FROM v",
        "SELECT id, 'at ' || made AS x, concat('at ', at, ok) AS y, INTERVAL '90 minutes'::text AS z FROM v",
        "SELECT id, date_trunc('decade', made) AS x, extract(epoch FROM date_trunc('month', day)) AS y FROM v",
        "SELECT id, date_trunc('day', day) + INTERVAL '24 hours' AS x, extract(epoch FROM made - day) AS y FROM v",
        "SELECT id, coalesce(day, '9999-12-31') AS x, coalesce(until, '9999-12-31') AS y FROM v",
        "SELECT id, age(until, at)::text AS x, (until - at)::text AS y, made + INTERVAL '1 day 04:05:06' AS z FROM v",
        "SELECT d AS x FROM generate_series((SELECT min(day) FROM v), DATE '2000-03-01', '1 month') AS d",
        "SELECT id, sum(id) OVER (w ORDER BY id) AS x, row_number() OVER (w ORDER BY id DESC) AS y FROM v WINDOW w AS (PARTITION BY ok)",
        "SELECT id FROM v WHERE ok IS DISTINCT FROM true AND id < 4",
        "SELECT id, (i, t) IS NULL AS x, ROW(i, t) IS NOT NULL AS y FROM v",
        "SELECT id FROM v WHERE until - at > INTERVAL '2 days'",
        "SELECT id, CASE WHEN until - at <= INTERVAL '1 hour' THEN 'soon' ELSE 'late' END AS x FROM v",
        "SELECT id FROM v WHERE until - at BETWEEN INTERVAL '0' AND INTERVAL '3 days'",
        "SELECT id, extract(epoch FROM until - at) AS x FROM v",
        "SELECT id, extract(hour FROM until - at) AS h, extract(day FROM until - at) AS d, extract(minute FROM until - at) AS m, extract(second FROM until - at) AS s FROM v",
        "SELECT id, extract(epoch FROM at) AS x, extract(epoch FROM made) AS y, extract(epoch FROM day) AS z FROM v",
        "SELECT id, extract(second FROM at) AS x, extract(second FROM made) AS y FROM v",
        "SELECT id, extract(year FROM at) AS y, extract(hour FROM at) AS h, extract(isodow FROM day) AS i, extract(dow FROM at) AS w, extract(doy FROM day) AS d, extract(week FROM day) AS k FROM v",
        "SELECT id, extract(century FROM day) AS c, extract(decade FROM day) AS d, extract(millennium FROM day) AS m FROM v",
        "SELECT id FROM v WHERE INTERVAL '36 hours' > INTERVAL '1 day' AND INTERVAL '24 hours' = INTERVAL '1 day'",
        "SELECT id, to_timestamp(1700000000) AS x, to_timestamp(d) AS y FROM v WHERE abs(d) < 1e9",
        "SELECT id, at AT TIME ZONE 'America/New_York' AS x FROM v",
        "SELECT id, made AT TIME ZONE 'America/New_York' AS x FROM v",
        "SELECT id, made AT TIME ZONE 'Europe/Berlin' AS x, at AT TIME ZONE 'Europe/Berlin' AS y FROM v",
        "SELECT id, extract(epoch FROM at AT TIME ZONE 'America/New_York') AS x FROM v",
        "SELECT id, CAST(made AS timestamptz) AS x FROM v",
        "SELECT id, CAST(at AS timestamp) AS x FROM v",
        "SELECT id, CAST(day AS timestamptz) AS x, CAST(at AS date) AS y FROM v",
        "SELECT v.id, w.id AS other FROM v JOIN v AS w ON v.at >= w.day",
        "SELECT id FROM v WHERE at >= day",
        "SELECT id FROM v WHERE at >= date '2024-06-15'",
        "SELECT id, coalesce(at, date '2024-06-01') AS x FROM v",
        "SELECT id, greatest(at, date '2024-06-01') AS x FROM v",
        "SELECT id FROM v WHERE at IN (date '2024-06-01', timestamptz '2024-06-15 12:00:00+02')",
        "SELECT id, CASE at WHEN date '2024-06-01' THEN 1 ELSE 2 END AS x FROM v",
        "SELECT id FROM v WHERE at BETWEEN date '2024-01-01' AND date '2024-12-31'",
        "SELECT id FROM v WHERE at > made",
        "SELECT id, at + INTERVAL '1 day' AS x, at + INTERVAL '24 hours' AS y, at - INTERVAL '1 month' AS z FROM v",
        "SELECT id, made + INTERVAL '1 month 12 hours' AS x FROM v",
        "SELECT id, CAST(day AS timestamp) + INTERVAL '12 hours' AS x FROM v",
        "SELECT id, day + 1 AS x FROM v",
        "SELECT id, CAST('2024-06-27 02:30:00' AS timestamptz) AS x, CAST(made AS timestamptz) AS y FROM v",
        "SELECT id FROM v WHERE at >= '2024-10-27 02:30'",
        "SELECT id FROM v WHERE at >= '2024-03-31 02:30:00' AND made < '2024-12-24 10:00'",
        "SELECT id FROM v WHERE at BETWEEN '2024-06-01 10:00' AND timestamptz '2024-10-27 02:30+01'",
        "SELECT id, CAST(left('2024-01-01 10:00:00+02', 19) AS timestamp) AS x FROM v",
    ]);
    assert_refused(&[(
        "SELECT x FROM (VALUES (timestamptz '2024-06-01 00:00:00+00'), (date '2024-06-01')) AS q (x)",
        "instants and days",
    )]);
    assert_refused(&[
        ("SELECT id, now() AS x FROM v", "another answer in every run"),
        ("SELECT id FROM v WHERE day > current_date", "another answer in every run"),
        ("SELECT id, row_number() OVER w AS x FROM v WINDOW w AS (PARTITION BY ok)", "depends on the order"),
        ("SELECT id, row_number() OVER () AS x FROM v", "depends on the order"),
    ]);
}

#[test]
fn texts_are_read_by_postgres_patterns() {
    // Each is read by both, or by neither.
    let cases = [
        ("20240105", "YYYYMMDD"),
        ("2024-1-5", "YYYY-MM-DD"),
        ("2024/01/05", "YYYY-MM-DD"),
        ("  2024-01-05  ", "YYYY-MM-DD"),
        ("05.01.2024", "DD.MM.YYYY"),
        ("5 January 2024", "DD Month YYYY"),
        ("05 jan 24", "DD Mon YY"),
        ("5th of Jan 2024", "DDth \"of\" Mon YYYY"),
        ("2024-01-05 15:04:05.678", "YYYY-MM-DD HH24:MI:SS.MS"),
        ("2024-01-05 03:04 PM", "YYYY-MM-DD HH12:MI AM"),
        ("12:30 am", "HH:MI am"),
        ("20240105150405", "YYYYMMDDHH24MISS"),
        ("2024-01-05T15:04:05", "YYYY-MM-DD\"T\"HH24:MI:SS"),
        ("2024 01", "YYYY MM"),
        ("2024", "YYYY"),
        ("", "YYYY"),
        ("69", "YY"),
        ("70", "YY"),
        ("5", "Y"),
        ("519", "YYY"),
        ("2024-060", "YYYY-DDD"),
        ("1.25", "SS.MS"),
        ("1.025", "SS.US"),
        ("1.5", "SS.FF3"),
        ("2024-02-30", "YYYY-MM-DD"),
        ("2024-13-01", "YYYY-MM-DD"),
        ("25:00", "HH24:MI"),
        ("13:00 PM", "HH12:MI PM"),
        ("abc", "YYYY"),
        ("2024-0x", "YYYY-MM"),
        ("2024_01_05", "YYYY MM DD"),
        ("2024   01", "YYYY-MM"),
        ("2024--01", "YYYY-MM"),
        ("20 24-01", "YYYY-MM"),
        ("Friday 5 Jan 2024", "Day DD Mon YYYY"),
        ("2024-01-05", "FXYYYY-MM-DD"),
        ("2024 -01-05", "FXYYYY-MM-DD"),
        ("2024-1-5", "FXYYYY-MM-DD"),
        ("2024-01-05 extra", "YYYY-MM-DD"),
        ("12024-01-05", "YYYY-MM-DD"),
        ("2024-01-05", "YYYY-MM-DD HH24"),
        ("1 2", "MM MM"),
        ("1 1", "MM MM"),
        ("202401051", "YYYYMMDD"),
        ("2024015", "YYYYMMDD"),
        ("24-1-5", "YYYY-MM-DD"),
        ("03-31 02:30 2024", "MM-DD HH24:MI YYYY"),
        ("9", "FMMM"),
        ("2024-1-5", "FMYYYY-FMMM-FMDD"),
        ("Sept 5", "Mon DD"),
        ("MAY 5", "Mon DD"),
        ("May5", "MonDD"),
    ];
    let database = database();
    let judge = |statement: &str| {
        let asked = format!("SET timezone = '{ZONE}'; {statement}");
        let answered = database.psql().args(["-qAt", "-c", &asked]).output().unwrap();
        answered.status.success()
    };
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for (text, pattern) in cases {
        for name in ["to_date", "to_timestamp"] {
            let statement = format!("SELECT {name}('{text}', '{pattern}') AS x");
            if judge(&statement) { taken.push(statement) } else { refused.push(statement) }
        }
    }
    assert!(taken.len() > 60 && refused.len() > 15, "{} {}", taken.len(), refused.len());
    assert_answered_in(database, &taken.iter().map(String::as_str).collect::<Vec<_>>());
    let database = cluster().database();
    for statement in &refused {
        let ran = project(&database, &[statement], false).starmill(&["run", "pipelines/p.toml"]);
        assert!(
            [Some(3), Some(6)].contains(&ran.code),
            "{statement}: {:?}\n{}{}",
            ran.code,
            ran.stdout,
            ran.stderr
        );
    }
    assert_answered(&[
        "SELECT id, to_date(CAST(day AS text), 'YYYY-MM-DD') AS x, to_timestamp(to_char(made, 'YYYY-MM-DD HH24:MI:SS.US'), 'YYYY-MM-DD HH24:MI:SS.US') AS y FROM v",
    ]);
    assert_refused(&[
        ("SELECT to_date(t, 'IYYY-IW') AS x FROM v", "to_date does not read IYYY here"),
        ("SELECT to_timestamp(t, 'YYYY-MM-DD TZ') AS x FROM v", "to_timestamp does not read TZ here"),
        ("SELECT to_date(t, '%Y-%m-%d') AS x FROM v", "takes Postgres's patterns"),
    ]);
}

#[test]
fn intervals_are_scaled_and_ages_counted_as_in_postgres() {
    assert_answered(&[
        "SELECT id, day + id * INTERVAL '1 day' AS x, made + i % 5 * INTERVAL '1 hour' AS y, at - INTERVAL '1 day' * 2 AS z FROM v",
        "SELECT id, extract(epoch FROM (until - at) * 2.5) AS x, extract(epoch FROM (until - at) / 3) AS y FROM v",
        "SELECT id, made + INTERVAL '1 year 1 month' / 7 AS x, made - id * INTERVAL '1 month' AS y, made + INTERVAL '1 month 10 days' * d AS z FROM v WHERE abs(d) < 100",
        "SELECT id, INTERVAL '1 day' * id > INTERVAL '2 days' AS x, n * INTERVAL '1 hour' < INTERVAL '1 day' AS y FROM v",
        "SELECT id, day + INTERVAL '12 hours' AS x, day - INTERVAL '1 day' AS y, INTERVAL '1 month' + day AS z FROM v",
        "SELECT id FROM v WHERE day < DATE '2024-03-01' + INTERVAL '1 month' AND day >= date_trunc('year', day)",
        "SELECT a.id, extract(year FROM age(a.made, b.made)) AS y, extract(month FROM age(a.made, b.made)) AS m, extract(day FROM age(a.made, b.made)) AS d, extract(epoch FROM age(a.at, b.until)) AS e, age(a.day, b.made) > INTERVAL '1 month' AS x FROM v AS a CROSS JOIN v AS b",
        "SELECT id, made + age(made, day) AS x FROM v WHERE id < 6",
        "SELECT id FROM v ORDER BY id FETCH FIRST 2 ROWS ONLY",
        "SELECT id FROM v ORDER BY id OFFSET 1 ROWS FETCH NEXT ROW ONLY",
        "SELECT id, t COLLATE \"C\" < 'b' AS x, @ n AS y, |/ CAST(id AS double precision) AS z FROM v",
        "SELECT id, (regexp_match(t, '([a-z]_)'))[1] AS x FROM v",
        "SELECT id, trunc(-n, 1) AS x, trunc(m) AS y, trunc(n * m, 3) AS z, trunc(n, 5) AS w, sign(n) AS s, mod(i, 4) AS q, mod(i, 4) * 2 AS r FROM v",
    ]);
    assert_refused(&[
        ("SELECT id FROM v FETCH FIRST 2 ROWS ONLY", "LIMIT without ORDER BY"),
        ("SELECT id FROM v WHERE t COLLATE \"de_DE\" < 'b'", "ordered by bytes"),
        ("SELECT id, age(made) > INTERVAL '1 day' AS x FROM v", "age takes two times"),
    ]);
}

#[test]
fn times_are_printed_by_postgres_patterns() {
    let patterns = [
        "YYYY-MM-DD HH24:MI:SS.US",
        "YYYYMMDD",
        "Y,YYY YYY YY Y",
        "IYYY IYY IY I IW ID IDDD",
        "DDD DD D W WW Q J CC",
        "HH HH12 HH24 MI SS MS US SSSS SSSSS",
        "FF1 FF2 FF3 FF4 FF5 FF6",
        "AM PM a.m. P.M. am pm AD bc B.C. a.d.",
        "MONTH|Month|month|MON|Mon|mon",
        "DAY|Day|day|DY|Dy|dy",
        "FMMONTH|FMMonth|TMMonth|FMDay|TMDay|FMday",
        "RM|rm|FMRM",
        "FMMM/FMDD/FMYYYY FMHH12:FMMI:FMSS FMMS FMUS FMDDD FMIDDD FMWW FMCC",
        "DDth MMTH YYYYth Dth HH24th WWth Y,YYYth",
        "TZ tz TZH TZM OF FMOF TZH:TZM",
        "yyyy-mm-dd hh24:mi:ss",
        "Yyyy Mm Dd",
        "\"year\" YYYY \"quoted \\\" text\"",
        "\\\"YYYY\\\"",
        "YYYY\\MM",
        "FXYYYY FX MM",
        "DDSP",
        "FM",
        "xyz",
        "Größe: YYYY",
        "YYYYMonthDD",
        "HH24MISSUS",
        "IYYY-\"W\"IW",
        "\"%\"Q",
        "FM\"x\"MM",
        "TMmon",
    ];
    let statements: Vec<String> = patterns
        .iter()
        .map(|pattern| {
            let pattern = pattern.replace('\'', "''");
            let of = |column: &str| format!("to_char({column}, '{pattern}') AS {column}");
            let columns = ["day", "made", "at", "until"].map(of).join(", ");
            format!("SELECT id, {columns} FROM v")
        })
        .collect();
    let mut statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    statements.extend([
        "SELECT id, to_char(day, '') AS x, to_char(made, NULL) AS y, to_char(date_trunc('month', at), 'YYYY-MM') AS z FROM v",
        "SELECT id, to_char(day, CASE WHEN id > 2 THEN 'YYYY' ELSE 'MM' END) AS x FROM v",
        "SELECT to_char(day, 'YYYY-MM') AS month, count(*) AS n FROM v GROUP BY to_char(day, 'YYYY-MM')",
        "SELECT to_char(TIMESTAMP '2024-02-29 00:00:00', 'Day HH12 AM') AS x",
        "SELECT g AS x, h.h AS y, i.n AS z FROM generate_series(1, 3) AS g CROSS JOIN generate_series(2, 6, 2) AS h CROSS JOIN generate_series(1, 2) AS i (n)",
        "SELECT to_char(generate_series, 'IYYY IW ID IDDD DDD WW D Q J') AS x FROM generate_series(TIMESTAMP '2019-12-20', TIMESTAMP '2021-01-10', INTERVAL '1 day')",
    ]);
    assert_answered(&statements);
}

#[test]
fn what_travels_as_text_and_is_none_is_not_compared_as_text() {
    let database = database();
    database.sql(
        "CREATE TABLE k (id int PRIMARY KEY, c char(4), m mood, l interval, a inet, w varchar(9)); \
         INSERT INTO k VALUES (1, 'ab', 'happy', '24 hours', '10.0.0.9', 'ab  '), (2, 'abcd', 'ok', '1 day', '9.0.0.1', 'abcd'), (3, NULL, 'sad', NULL, NULL, '')",
    );
    for (sql, words) in [
        ("SELECT id FROM k WHERE c = 'ab '", "is a char(n)"),
        ("SELECT id FROM k WHERE c LIKE 'ab'", "is a char(n)"),
        ("SELECT id FROM k WHERE c IN ('ab ', 'x')", "is a char(n)"),
        ("SELECT id FROM (SELECT id, c AS d FROM k) AS s WHERE s.d > 'a '", "is a char(n)"),
        ("SELECT id FROM k WHERE a > '10.0.0.1'", "ordered as text"),
        ("SELECT max(l) AS x FROM k", "ordered as text"),
        ("SELECT id FROM k ORDER BY l LIMIT 1", "ordered as text"),
        ("SELECT id FROM k WHERE coalesce(a, '10.0.0.1') > '10.0.0.1'", "ordered as text"),
        ("SELECT id, row_number() OVER (ORDER BY a) AS x FROM k", "ordered as text"),
        ("SELECT id FROM k WHERE l = '1 day'", "ordered as text"),
        ("SELECT min(a) AS x FROM k", "ordered as text"),
        ("SELECT id FROM k WHERE w = c", "a char(n) and a varchar"),
        ("SELECT k.id FROM k JOIN k AS o ON k.c < o.w", "a char(n) and a varchar"),
        ("SELECT id FROM k WHERE c IN (w, 'x')", "a char(n) and a varchar"),
        ("SELECT id FROM k WHERE w IN (SELECT c FROM k)", "a char(n) and a varchar"),
        ("SELECT id FROM k WHERE EXISTS (SELECT 1 FROM k AS o WHERE o.c = k.w)", "a char(n) and a varchar"),
        ("SELECT id, CASE w WHEN c THEN 1 END AS x FROM k", "a char(n) and a varchar"),
        ("SELECT id, nullif(w, c) AS x FROM k", "a char(n) and a varchar"),
        ("SELECT id, coalesce(c, w) AS x FROM k", "a char(n) and a varchar"),
        ("SELECT id, greatest(c, w) AS x FROM k", "a char(n) and a varchar"),
        ("SELECT id, CASE WHEN id = 1 THEN c ELSE w END AS x FROM k", "a char(n) and a varchar"),
        ("SELECT c AS x FROM k UNION SELECT w FROM k", "a char(n) and a varchar"),
        ("SELECT id, octet_length(c) AS x FROM k", "whose padding counts"),
        ("SELECT array_to_string(array_agg(c ORDER BY id), ',') AS x FROM k", "whose padding counts"),
        ("SELECT id, concat(c, '!') AS x FROM k", "whose padding counts"),
        ("SELECT id FROM k WHERE c ~ '^ab +$'", "whose padding"),
        ("SELECT id FROM k WHERE coalesce(c, 'x') = 'x '", "is a char(n)"),
        ("SELECT id FROM k WHERE coalesce(c, 'x') LIKE 'x%'", "whose padding"),
        ("SELECT id FROM k WHERE CASE WHEN id > 1 THEN c END IN ('ab ', 'x')", "is a char(n)"),
        ("SELECT id, w::bpchar AS x FROM k", "whose padding is not here"),
        ("SELECT id, length(w::bpchar) AS x FROM k", "whose padding is not here"),
        ("SELECT w::bpchar AS x, count(*) AS n FROM k GROUP BY 1", "whose padding is not here"),
        ("SELECT id FROM k WHERE w::bpchar = w", "whose padding is not here"),
        ("SELECT max(w::bpchar) AS x FROM k", "whose padding is not here"),
        ("SELECT id, id::char AS x FROM k", "limited length"),
        ("SELECT id, w::character AS x FROM k", "limited length"),
        ("SELECT id FROM ONLY (k)", "ONLY"),
    ] {
        let project = project(&database, &[sql], false);
        let ran = project.starmill(&["check", "pipelines/p.toml"]);
        assert!(ran.code == Some(3) && ran.stderr.contains(words), "{sql}: {:?}\n{}", ran.code, ran.stderr);
    }
    for sql in [
        "SELECT id, c, m FROM k WHERE m = 'ok' OR rtrim(c) = 'ab'",
        "SELECT k.id FROM k JOIN k AS o ON k.c = o.c AND k.m = o.m",
        "SELECT m, count(*) AS n FROM k GROUP BY m",
        "SELECT id, rtrim(c) || '!' AS x, length(c) AS n FROM k WHERE c = 'ab'",
        "SELECT id FROM k WHERE c = rtrim(w) AND octet_length(CAST(c AS text)) > 1 AND CAST(c AS text) ~ '^ab$'",
    ] {
        project(&database, &[sql], false).starmill(&["run", "pipelines/p.toml"]).exits(0);
    }
}

#[test]
fn a_function_that_is_allowed_by_name_is_taken_and_told() {
    let database = database();
    let project = project(&database, &["SELECT id, levenshtein(t, 'ab') AS x FROM v"], false);
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("`allow = [\"levenshtein\"]` in [sql]");
    project.edit("pipelines/p.toml", "[store]", "[sql]\nallow = [\"levenshtein\"]\n[store]");
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(0)
        .says("levenshtein is answered as the engine answers it");
    project.edit("pipelines/p.toml", "levenshtein", "levenshtien");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("did you mean `levenshtein`?");
}

#[test]
fn rows_that_were_multiplied_are_told_apart_by_all_that_they_are_grouped_and_sorted_by() {
    assert_answered(&[
        "SELECT id, count(*) AS c FROM v, unnest(tags) x GROUP BY id, x",
        "SELECT count(*) AS c FROM (SELECT DISTINCT v.id, x FROM v, unnest(tags) x) q",
        "SELECT DISTINCT ON (id, x) id FROM v, unnest(tags) x ORDER BY id, x",
        "SELECT order_id, count(*) AS m FROM (SELECT o.order_id, p.id AS x, count(*) AS c FROM orders o CROSS JOIN visit p GROUP BY o.order_id, p.id) q GROUP BY order_id, x",
        "SELECT order_id, count(*) AS m FROM (SELECT o.order_id, p.id AS x, count(*) AS c FROM orders o CROSS JOIN visit p GROUP BY o.order_id, p.id) q GROUP BY order_id",
        "SELECT ok, count(*) AS c FROM (SELECT a.ok, b.id AS k FROM (SELECT ok, count(*) AS n FROM v GROUP BY ok) a CROSS JOIN visit b GROUP BY a.ok, b.id) q GROUP BY ok, k",
        "SELECT rn, count(*) AS c FROM (SELECT row_number() OVER (ORDER BY id) AS rn, tags FROM v) q, unnest(tags) x GROUP BY rn, x",
        "SELECT rn, count(*) AS c FROM (SELECT rn, x FROM (SELECT row_number() OVER (ORDER BY id) AS rn, tags FROM v) q, unnest(tags) x GROUP BY rn, x) z GROUP BY rn",
        "SELECT id, x FROM v, unnest(tags) x ORDER BY id DESC, x LIMIT 3",
        "SELECT rn, x, sum(x) OVER (ORDER BY rn) AS s FROM (SELECT rn, unnest(tags) AS x FROM (SELECT row_number() OVER (ORDER BY id) AS rn, tags FROM v) q) z",
        "SELECT rn, count(*) OVER w AS s, last_value(x) OVER (w) AS l FROM (SELECT rn, unnest(ARRAY[1, 1]) AS x FROM (SELECT row_number() OVER (ORDER BY id) AS rn FROM v) q) z WINDOW w AS (ORDER BY rn)",
        "SELECT id, generate_series(1, 3) AS g FROM v ORDER BY id, g DESC LIMIT 4",
        "SELECT o.order_id, (SELECT count(*) FROM payments p WHERE p.order_id < o.order_id) AS e, (SELECT count(*) FROM payments p WHERE p.order_id <= o.order_id) AS s FROM orders o, visit",
    ]);
}

#[test]
fn text_json_and_arrays_answer_as_in_postgres() {
    assert_answered(&[
        "SELECT id FROM v WHERE t ~ 'one.line'",
        "SELECT id FROM v WHERE t ~ '^a.b'",
        "SELECT id, regexp_replace(t, '[0-9_]+', '-') AS x FROM v",
        "SELECT id, regexp_replace(t, 'a.', 'x') AS x FROM v",
        "SELECT id, attrs ->> 'size' AS x FROM v",
        "SELECT id, attrs -> 'addr' ->> 'city' AS x FROM v",
        "SELECT id FROM v WHERE attrs ->> 'size' = 'L'",
        "SELECT id FROM v WHERE (attrs ? 'size') IS NOT TRUE",
        "SELECT id, nullif(cardinality(string_to_array(t, '_')), 0) AS x FROM v",
        "SELECT id, cardinality(string_to_array(t, '_')) AS x FROM v",
        "SELECT id, CAST(n AS text) AS x, CAST(i AS text) AS y, CAST(day AS text) AS z FROM v",
        "SELECT id, CAST(CAST(d AS numeric(20,2)) AS text) AS x FROM v",
        "SELECT id, encode(decode('6162', 'hex'), 'hex') AS x FROM v",
        "SELECT id FROM v WHERE attrs -> 'size' = '\"L\"'",
        "SELECT id FROM v WHERE attrs -> 'size' IS NULL",
        "SELECT id FROM v WHERE NOT (attrs ? 'size')",
        "SELECT id FROM v WHERE tags = '{1, 2, 1}'",
        "SELECT id, md5(concat_ws('-', id, t, ok, d, made, at)) AS x FROM v",
    ]);
    assert_refused(&[
        ("SELECT id, x'ff' AS x FROM v", "x'…'"),
        ("SELECT id FROM v ORDER BY attrs, id LIMIT 3", "is json"),
        ("SELECT count(DISTINCT attrs -> 'size') AS x FROM v", "is json"),
        ("SELECT id, length(attrs) AS x FROM v", "no text in Postgres"),
        ("SELECT id, nullif(attrs, '{ }') AS x FROM v", "is json"),
        ("SELECT id, regexp_replace(t, 'x*', '-', 'g') AS x FROM v", "matches what is empty"),
        ("SELECT id, regexp_replace(t, '(\\w)\\1', 'D') AS x FROM v", "is not read here"),
        (
            "SELECT q.a::text AS a FROM (SELECT i AS a FROM v UNION ALL SELECT n FROM v) AS q",
            "the same digits after the point",
        ),
        ("SELECT sum(r) AS x FROM v", "adds reals"),
        ("SELECT id, count(DISTINCT ok) OVER () AS x FROM v", "distinct values in a window"),
        ("SELECT id FROM v TABLESAMPLE BERNOULLI (0)", "TABLESAMPLE"),
        ("SELECT id, regexp_replace(t, 'b', '$1') AS x FROM v", "in the replacement"),
        ("SELECT id, regexp_replace(t, 'a|ab', 'x') AS x FROM v", "first way to match"),
        ("SELECT id FROM v WHERE t ~ t", "is not written out"),
        ("SELECT id, regexp_replace(t, '(.*?)(b+)', '[\\2]') AS x FROM v", "greedy and lazy"),
        ("SELECT id, regexp_replace(t, 'b', '\\0') AS x FROM v", "an escape"),
        ("SELECT id, array_length(string_to_array(t, '_'), 2) AS x FROM v", "array_length"),
        ("SELECT id, levenshtein(t, 'a') AS x FROM v", "levenshtein is not known to answer as in Postgres"),
        ("SELECT id, nvl(t, 'a') AS x FROM v", "nvl is not known"),
        ("SELECT approx_distinct(t) AS x FROM v", "approx_distinct is not known"),
        ("SELECT id, sqrt(n) AS x FROM v", "cannot be published"),
        ("SELECT id, power(i, 0.5) AS x FROM v", "cannot be published"),
        ("SELECT stddev(i) AS x FROM v", "cannot be published"),
        ("SELECT id, var_samp(n) OVER (ORDER BY id) AS x FROM v", "cannot be published"),
        ("SELECT id, '\\x6162'::bytea AS x FROM v", "bytea"),
    ]);
}

#[test]
fn distinct_texts_are_counted_beside_other_aggregates() {
    assert_answered(&[
        "SELECT ok, count(*) AS n, count(DISTINCT t) AS d, count(i) AS c, min(n) AS lo, max(t) AS hi, sum(n) AS s, sum(b) AS sb FROM v GROUP BY ok",
        "SELECT count(*) AS n, count(DISTINCT t) AS d, sum(i) AS s FROM v",
        "SELECT count(*) AS n, count(DISTINCT t) AS d, sum(i) AS s, max(t) AS hi FROM v WHERE id > 100",
        "SELECT id % 2 AS odd, count(DISTINCT t || 'x') AS d, count(DISTINCT t || 'x') + count(*) AS both FROM v GROUP BY id % 2 HAVING count(DISTINCT t || 'x') > 0 ORDER BY 1",
        "SELECT q.d, q.n FROM (SELECT ok, count(DISTINCT t) AS d, count(*) AS n FROM v GROUP BY ok) AS q WHERE q.n > 1",
        "SELECT ok, t, count(DISTINCT t) AS d, count(*) AS n FROM v GROUP BY ok, t",
        "SELECT ok, count(DISTINCT t) AS a, count(DISTINCT i) AS b, count(*) FILTER (WHERE i > 0) AS c FROM v GROUP BY ok",
        "SELECT ok, count(DISTINCT t) AS a, count(DISTINCT left(t, 1)) AS b, avg(d) > 1 AS c FROM v GROUP BY ok",
        "SELECT ok, count(DISTINCT t) FILTER (WHERE i > 0) AS a, count(DISTINCT decode('61', 'hex')) AS b, count(*) AS n FROM v GROUP BY ok",
        "SELECT count(DISTINCT t) FILTER (WHERE i > 0) AS a, count(DISTINCT left(t, 1)) AS b FROM v WHERE id < 0",
        "SELECT ok, id % 2 AS odd, count(DISTINCT t) AS a, count(DISTINCT left(t, 1)) AS b, count(DISTINCT i) AS c FROM v GROUP BY GROUPING SETS ((ok), (id % 2), ())",
    ]);
}

#[test]
fn what_postgres_prints_for_in_and_like_is_answered_like_them() {
    assert_answered(&[
        "SELECT id FROM visit WHERE id = ANY (ARRAY[1, NULL])",
        "SELECT id, id <> ALL (ARRAY[1, NULL]) AS x FROM visit",
        "SELECT id, i = ANY ((ARRAY['1', '6'])::int[]) AS x FROM v",
        "SELECT id, t = ANY ((ARRAY['ab'::character varying, 'a_b'::character varying])::text[]) AS x FROM v",
        "SELECT id, t ~~ 'a%'::text AS a, t !~~ 'a\\_%' AS b, t ~~* 'A%' AS c, t !~~* 'L%' AS d FROM v",
        "SELECT id, t LIKE 'a#_%' ESCAPE '#' AS a, t LIKE 'a\\_b' ESCAPE '' AS b, t NOT ILIKE 'A!_B' ESCAPE '!' AS c FROM v",
        "SELECT id, t ~ '^a.*$'::text AS a, t !~* 'LINE.one'::text AS b, regexp_replace(t, 'a.b'::text, 'x'::text, 'g'::text) AS c FROM v",
        "SELECT id, t::varchar AS x, CAST(i AS character varying) AS y FROM v",
        "SELECT id, 'ab  '::bpchar = t::bpchar AS x FROM v",
        "SELECT id FROM v WHERE 'x ' = 'x'::bpchar AND t::bpchar IN ('ab ', 'a_b  ') AND t::bpchar IS NOT NULL",
    ]);
}

/// Statements that show an example at work.
fn shown_at_work(kind: Kind, example: &str) -> String {
    match kind {
        Kind::Aggregate => format!("SELECT ok, {example} AS x FROM v GROUP BY ok"),
        _ => format!("SELECT id, {example} AS x FROM v"),
    }
}

#[test]
fn every_function_of_the_table_answers_as_postgres_or_is_refused_and_the_page_is_printed_from_it() {
    let (mut answered, mut refused) = (Vec::new(), Vec::new());
    for line in lines() {
        assert!(!line.examples.is_empty(), "{} has no example", line.name);
        for example in line.examples {
            let statement = shown_at_work(line.kind, example);
            match line.answer {
                Answer::Refused(_) => refused.push(statement),
                _ => answered.push(statement),
            }
        }
    }
    assert_answered(&answered.iter().map(String::as_str).collect::<Vec<_>>());
    let cases: Vec<(&str, &str)> = refused.iter().map(|statement| (statement.as_str(), "")).collect();
    assert_refused(&cases);
    assert_document("docs/dialect.md", &documentation());
}
