//! Delta logs: DuckDB, deltalake and Polars read each table by its own log as `starmill query` answers it.

use crate::support::{Bucket, Project, cluster, delta};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const TOML: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\nfile_size = \"64kB\"\ngrace = \"0s\"\ndelta = true\n\
    [summary.s]\nkey = [\"id\"]\n[fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nmeasures = [\"amount\"]\n";
const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, amount numeric(12,2), note text, day date);";

fn rows(ids: impl Iterator<Item = u32>) -> String {
    ids.fold("id,amount,note,day\n".to_owned(), |text, id| {
        let noise = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{text}{id},{}.{:02},{noise:016x},2024-01-{:02}\n", id % 900, id % 100, 1 + id % 28)
    })
}

fn project() -> Project {
    let models = [
        ("f", "SELECT CAST(100000 + id AS bigint) AS id, amount, note, day FROM t"),
        ("s", "SELECT CAST(id AS text) AS id, day FROM t WHERE id < 5"),
    ];
    Project::of(TOML, &models, SCHEMA, &[("t", &rows(0..12_000))])
}

fn ours(project: &Project, table: &str, at: &str) -> String {
    let sql = format!("SELECT * FROM {table} ORDER BY CAST(id AS text)");
    let asked =
        project.starmill(&["query", "pipelines/p.toml", &sql, "--at", at, "--format", "csv"]).exits(0);
    asked.stdout.lines().skip(1).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_read(project: &Project, table: &str, version: Option<u32>, ours: &str) {
    let path = project.path(&format!("out/tables/{table}"));
    for (reader, rows) in ["DuckDB", "deltalake", "Polars"].iter().zip(delta(&path, version)) {
        assert!(
            rows == ours,
            "{reader} reads of {table} {} lines, and there are {}",
            rows.lines().count(),
            ours.lines().count()
        );
    }
}

/// How many versions a table's log has.
fn versions(project: &Project, table: &str) -> usize {
    let entries = project.entries(&format!("out/tables/{table}/_delta_log"));
    entries.iter().filter(|name| name.ends_with(".json")).count()
}

#[test]
fn three_engines_read_every_version_that_is_kept_through_changed_columns_and_checkpoints() {
    let project = project();
    let mut answers = Vec::new();
    for night in 0..13_u32 {
        if night == 5 {
            project.write(
                "sql/p/f.sql",
                "SELECT CAST(100000 + id AS bigint) AS id, amount, day, id * 2 AS twice FROM t",
            );
        }
        if night == 8 {
            project.write(
                "sql/p/f.sql",
                "SELECT CAST(100000 + id AS bigint) AS id, CAST(day AS text) AS day, amount FROM t",
            );
        }
        project.write("data/t.csv", &rows(0..12_000 - night * 10));
        project.starmill(&RUN).exits(0);
        answers.push(ours(&project, "f", "latest"));
    }
    for version in [0, 4, 5, 7, 8, 9, 10, 11, 12] {
        assert_read(&project, "f", Some(version), &answers[version as usize]);
    }
    assert_read(&project, "f", None, &answers[12]);
    assert_eq!(
        (versions(&project, "f"), versions(&project, "s")),
        (13, 1),
        "what did not change has no new version"
    );
    assert_eq!(project.read("out/tables/f/_delta_log/_last_checkpoint").matches("\"version\":10").count(), 1);
    // A reader that begins with the checkpoint needs nothing before it.
    for version in 0..10 {
        std::fs::remove_file(project.path(&format!("out/tables/f/_delta_log/{version:020}.json"))).unwrap();
    }
    assert_read(&project, "f", Some(10), &answers[10]);
    assert_read(&project, "f", None, &answers[12]);
}

#[test]
fn a_rollback_is_a_version_and_a_table_that_left_has_no_rows() {
    let project = project();
    project.starmill(&RUN).exits(0);
    let first = ours(&project, "f", "latest");
    project.write("data/t.csv", &rows(6_000..12_500));
    project.starmill(&RUN).exits(0);
    assert_read(&project, "f", None, &ours(&project, "f", "latest"));
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", "--yes"]).exits(0);
    assert_read(&project, "f", None, &first);
    assert_eq!(versions(&project, "f"), 3);
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"]).exits(0);
    assert_read(&project, "f", None, &first);
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"id\"]\n", "");
    std::fs::rename(project.path("sql/p/s.sql"), project.path("s.sql")).unwrap();
    project.starmill(&RUN).exits(0);
    assert_read(&project, "s", None, "");
    std::fs::rename(project.path("s.sql"), project.path("sql/p/s.sql")).unwrap();
    project.edit("pipelines/p.toml", "[fact.f]", "[summary.s]\nkey = [\"id\"]\n[fact.f]");
    project.starmill(&RUN).exits(0);
    assert_read(&project, "s", None, &ours(&project, "s", "latest"));
}

#[test]
fn a_log_that_is_behind_is_brought_up_and_one_of_others_is_named() {
    let project = project();
    assert_eq!(project.starmill_with_fault(&RUN, "delta.table=kill").code, None);
    assert_eq!(versions(&project, "f"), 0, "it is published, and not told yet");
    project.write("data/t.csv", &rows(0..100));
    project.starmill(&RUN).exits(0);
    assert_eq!(versions(&project, "f"), 2);
    assert_read(&project, "f", None, &ours(&project, "f", "latest"));
    project.write("data/t.csv", &rows(0..90));
    project
        .starmill_with_fault(&RUN, "delta.table=fail")
        .exits(0)
        .warns("does not show the published snapshot; the next run mends it");
    project.starmill(&RUN).exits(0);
    assert_read(&project, "f", None, &ours(&project, "f", "latest"));
    let theirs = "{\"commitInfo\":{\"timestamp\":1,\"operation\":\"OPTIMIZE\",\"engineInfo\":\"another\"}}\n";
    project.write("out/tables/f/_delta_log/00000000000000000003.json", theirs);
    let refused = project.starmill(&RUN).exits(8);
    refused
        .warns("is no log that starmill wrote: its version 3 is not starmill's")
        .warns("move it away; the next run begins it anew");
    std::fs::rename(project.path("out/tables/f/_delta_log"), project.path("theirs")).unwrap();
    project.starmill(&RUN).exits(0);
    assert_read(&project, "f", None, &ours(&project, "f", "latest"));
}

#[test]
fn values_of_every_type_that_delta_has_are_read_and_a_time_is_told() {
    let database = cluster().database();
    database.sql(
        "CREATE TABLE t (id text PRIMARY KEY, b boolean, i2 smallint, i8 bigint, r real, d double precision, n numeric(38,10), \
         n5 numeric(5,1), x bytea, day date, ts timestamp, tz timestamptz, j jsonb, u uuid, a int[], at time); \
         INSERT INTO t VALUES ('1', true, -32768, -9223372036854775808, 1.5, 'NaN', -9999999999999999999999999999.9999999999, -9999.9, \
         '\\x00ff', '0001-01-01', '2024-02-29 23:59:59.999999', '2024-02-29 23:59:59.999999+00', '{\"a\": 1}', \
         '00000000-0000-0000-0000-000000000001', '{1,NULL,3}', '00:00'), \
         ('2', false, 32767, 9223372036854775807, '-0', 'Infinity', 9999999999999999999999999999.9999999999, 0.1, '', '9999-12-31', \
         '1900-01-01', '1900-01-01 00:00+00', '[]', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '{}', '23:59'); INSERT INTO t (id) VALUES ('3')",
    );
    let toml = TOML.replace("[fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nmeasures = [\"amount\"]\n", "");
    let toml = toml.replace("url = \"data\"", &format!("url = \"{}\"", database.url()));
    let columns = "id, b, i2, i8, r, d, n, n5, x, day, ts, tz, j, u, a";
    let project = Project::of(&toml, &[("s", &format!("SELECT {columns} FROM t"))], "", &[]);
    project.starmill(&RUN).exits(0);
    let read = delta(&project.path("out/tables/s"), None);
    let files = format!(
        "SELECT COLUMNS(*)::VARCHAR FROM '{}' ORDER BY id",
        project.path("out/latest/s/*.parquet").display()
    );
    let files = crate::support::peer(&files).replace("NULL", "\u{1}").replace('|', ",");
    let files = files.replace(",\u{1}", ",").replace('\u{1}', "NULL");
    for rows in read {
        assert_eq!(rows.replace("[1, NULL, 3]", "[1, , 3]"), files.replace("[1, NULL, 3]", "[1, , 3]"));
    }
    project.write("sql/p/s.sql", &format!("SELECT {columns}, at FROM t"));
    project.starmill(&RUN).exits(0).warns("Delta has no type for that column's values");
    assert_read(&project, "s", None, "");
}

#[test]
fn a_table_in_a_bucket_has_its_log_there() {
    let (mut project, bucket) = (Project::shop(), Bucket::make());
    bucket.holds(&mut project, &bucket.endpoint());
    let source = cluster().shop();
    project.set("SHOP_SOURCE", &source.url());
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\ndelta = true");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(0);
    source.sql("DELETE FROM order_items WHERE item_id < 100");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(0);
    let logs: Vec<String> =
        bucket.objects().into_iter().filter(|name| name.contains("fact_order_items/_delta_log/")).collect();
    assert_eq!(logs.len(), 2, "{logs:?}");
    // A copy of the bucket's part is read as the folder that it is.
    for name in bucket.objects().iter().filter(|name| name.starts_with("tables/fact_order_items/")) {
        let path = project.path(&format!("copy/{name}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bucket.get(name).unwrap()).unwrap();
    }
    let rows = project
        .starmill(&[
            "query",
            "pipelines/shop.toml",
            "SELECT count(*) FROM fact_order_items",
            "--format",
            "csv",
        ])
        .exits(0);
    for read in delta(&project.path("copy/tables/fact_order_items"), None) {
        assert_eq!(read.lines().count().to_string(), rows.stdout.lines().last().unwrap());
    }
}
