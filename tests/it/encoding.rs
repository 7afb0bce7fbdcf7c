//! Files are encoded by what their columns hold. Whatever was chosen, another reader sees what the
//! server prints.

use crate::support::{Database, Project, cluster, peer};

/// More than a row group, so that every choice is tried across batches, pages and groups.
const ROWS: u32 = 150_000;

/// A column's name, its values as Postgres makes them of `i`, how Postgres and how DuckDB print it, and
/// the encoding that its values are to get.
struct Column(&'static str, &'static str, &'static str, &'static str, &'static str);

const DELTA: &str = "DELTA_BINARY_PACKED";
const PLAIN: &str = "PLAIN";
const DICTIONARY: &str = "RLE_DICTIONARY";

const MICROS_OF: &str = "(extract(epoch FROM v) * 1000000)::numeric(38,0)::text";

const COLUMNS: &[Column] = &[
    // Neighbours so far apart that their difference is no integer of the same width.
    Column(
        "far8",
        "(CASE i % 2 WHEN 0 THEN 9223372036854775809 - i ELSE -9223372036854775809 + i END)::bigint",
        "v::text",
        "v::VARCHAR",
        DELTA,
    ),
    Column(
        "far4",
        "(CASE i % 2 WHEN 0 THEN 2147483649 - i ELSE -2147483649 + i END)::int",
        "v::text",
        "v::VARCHAR",
        DELTA,
    ),
    Column(
        "far2",
        "(CASE i % 2 WHEN 0 THEN 32767 - i % 16000 ELSE -32769 + i % 16000 END)::smallint",
        "v::text",
        "v::VARCHAR",
        DELTA,
    ),
    Column("key", "i::bigint * 1000003", "v::text", "v::VARCHAR", DELTA),
    Column("gaps", "CASE WHEN i % 7 > 0 THEN (i / 4)::int END", "v::text", "v::VARCHAR", DELTA),
    Column("rare", "CASE WHEN i % 20000 = 9000 THEN i END", "v::text", "v::VARCHAR", DICTIONARY),
    Column("few", "((i * 7919) % 50) * 1000000::bigint", "v::text", "v::VARCHAR", DICTIONARY),
    Column("money9", "(md5f(i) * 9999999 - 5000000)::numeric(9,2)", "v::text", "v::VARCHAR", DELTA),
    Column("money18", "(md5f(i) * 1e15 - 5e14)::numeric(18,2)", "v::text", "v::VARCHAR", DELTA),
    Column("money38", "(md5f(i) * 1e30 - 5e29)::numeric(38,6)", "v::text", "v::VARCHAR", PLAIN),
    Column(
        "day",
        "date '0001-01-01' + (md5f(i) * 3652058)::int",
        "(v - date '1970-01-01')::text",
        "(v - DATE '1970-01-01')::VARCHAR",
        DELTA,
    ),
    Column(
        "clock",
        "time '00:00' + (md5f(i) * 86399) * interval '1 s'",
        MICROS_OF,
        "(date_part('hour', v) * 3600000000 + date_part('minute', v) * 60000000 + date_part('us', v))::VARCHAR",
        DELTA,
    ),
    Column(
        "instant",
        "timestamptz '2024-01-01 00:00+00' + i * interval '31 s 7 us'",
        MICROS_OF,
        "epoch_us(v)::VARCHAR",
        DELTA,
    ),
    Column("words", "repeat('ü', i % 11) || md5(i::text)", "v", "v", PLAIN),
    Column("status", "(ARRAY['new','paid','sent',''])[1 + i % 4]", "v", "v", DICTIONARY),
    Column("bytes", "decode(md5(i::text), 'hex')", "encode(v, 'hex')", "lower(hex(v))", PLAIN),
    Column("yes", "i % 3 = 0", "v::text", "v::VARCHAR", PLAIN),
    Column("half", "(md5f(i) - 0.5)::float8::numeric(18,6)::float8", "v::text", "float_text(v)", PLAIN),
];

/// A table of all columns, and a pipeline beside it.
fn project(source: &Database, settings: &str) -> Project {
    // A number from 0 to 1 that looks random and is the same each time.
    source.sql(
        "CREATE FUNCTION md5f(i int) RETURNS numeric LANGUAGE sql IMMUTABLE AS \
         $$ SELECT ('x' || substr(md5(i::text), 1, 15))::bit(60)::bigint::numeric / 1152921504606846976 $$",
    );
    let values = COLUMNS.iter().map(|Column(name, value, ..)| format!("{value} AS {name}"));
    source.sql(&format!(
        "CREATE TABLE t AS SELECT i AS id, {} FROM generate_series(1, {ROWS}) AS i",
        values.collect::<Vec<_>>().join(", ")
    ));
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\nconnections = 1\n[store]\nurl = \"out\"\n{settings}\n[summary.s]\nkey = [\"id\"]\n",
        source.url()
    );
    Project::of(&toml, &[("s", "SELECT * FROM t")], "", &[])
}

#[track_caller]
fn assert_same_values(source: &Database, files: &str, Column(name, _, server, reader, _): &Column) {
    let as_v = |printed: &str, from: &str| {
        format!(
            "SELECT string_agg(id || ':' || coalesce({printed}, 'NULL'), ' ' ORDER BY id) FROM (SELECT id, {name} AS v FROM {from}) AS t"
        )
    };
    let seen = peer(&as_v(reader, &format!("'{files}'")));
    let printed = source.sql(&as_v(server, "t"));
    assert!(printed.len() > 1_000_000, "{name}");
    let apart = seen.split(' ').zip(printed.split(' ')).find(|(seen, printed)| seen != printed);
    assert_eq!((apart, seen.len()), (None, printed.len()), "{name}");
}

/// The encodings of a column's chunks, two or more by where its files are cut: dictionary pages are plain
/// themselves, so a plain column is one without a dictionary.
#[track_caller]
fn assert_encoded(files: &str, column: &str, as_told: &str) {
    let chunks =
        peer(&format!("SELECT encodings FROM parquet_metadata('{files}') WHERE path_in_schema = '{column}'"));
    assert!(chunks.lines().count() >= 2, "{column}");
    for chunk in chunks.lines() {
        let used = [DELTA, DICTIONARY, PLAIN].into_iter().find(|encoding| chunk.contains(encoding));
        assert_eq!(used, Some(as_told), "{column}: {chunk}");
    }
}

#[test]
fn every_way_of_encoding_brings_the_values_that_the_server_prints() {
    let source = cluster().database();
    let project = project(&source, "");
    project
        .starmill(&["extract", "pipelines/p.toml", "--table", "t", "--to", "taken"])
        .exits(0)
        .says("150,000");
    let files = project.path("taken/public.t/*.parquet").display().to_string();
    for column in COLUMNS {
        assert_same_values(&source, &files, column);
        assert_encoded(&files, column.0, column.4);
    }
}

#[test]
fn a_reader_that_knows_no_differences_is_given_plain_values() {
    let source = cluster().database();
    let project = project(&source, "encodings = \"plain\"");
    project.starmill(&["extract", "pipelines/p.toml", "--table", "t", "--to", "taken"]).exits(0);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    for folder in ["taken/public.t", "out/latest/s"] {
        let files = project.path(&format!("{folder}/*.parquet")).display().to_string();
        for column in COLUMNS {
            assert_same_values(&source, &files, column);
            let recurs = column.4 == DICTIONARY || column.0 == "gaps";
            assert_encoded(&files, column.0, if recurs { DICTIONARY } else { PLAIN });
        }
    }
    project.edit("pipelines/p.toml", "\"plain\"", "\"v1\"");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("valid: delta and plain");
}

#[test]
fn a_few_rows_at_the_front_do_not_decide_how_the_many_are_encoded() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE t (id bigint, at date) PARTITION BY RANGE (at); \
         CREATE TABLE t_a PARTITION OF t FOR VALUES FROM ('2023-01-01') TO ('2024-01-01'); \
         CREATE TABLE t_b PARTITION OF t FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
         INSERT INTO t SELECT i, '2023-05-05' FROM generate_series(1, 5) AS i; \
         INSERT INTO t SELECT i, '2024-05-05' FROM generate_series(6, 150000) AS i",
    );
    let project = Project::over(&source.url(), "connections = 1", "SELECT 1 AS one");
    project.starmill(&["extract", "pipelines/p.toml", "--table", "t", "--to", "taken"]).exits(0);
    let files = project.path("taken/public.t/*.parquet").display().to_string();
    assert_encoded(&files, "id", DELTA);
    assert_eq!(peer(&format!("SELECT count(*), sum(id) FROM '{files}'")), "150000|11250075000");
}
