//! The lake: DuckDB sees by it what `starmill query` sees, in every snapshot that is kept.

use std::process::{Child, Command};

use serde_json::Value;

use crate::support::{Bucket, Database, Project, asked_of_lake, cluster, lake, root, wait_until};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const TOML: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\nfile_size = \"64kB\"\ngrace = \"0s\"\nlake = true\n\
    [summary.s]\nkey = [\"id\"]\n[fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nmeasures = [\"amount\"]\n";
const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, amount numeric(12,2), note text, day date);";

/// Rows whose files differ in every night that changes them, and only there.
fn rows(ids: impl Iterator<Item = u32>, amount: u32) -> String {
    ids.fold("id,amount,note,day\n".to_owned(), |text, id| {
        let noise = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{text}{id},{}.{:02},{noise:016x},2024-01-{:02}\n", id % 900 + amount, id % 100, 1 + id % 28)
    })
}

fn project() -> Project {
    let models = [("f", "SELECT id, amount, note, day FROM t"), ("s", "SELECT id, day FROM t WHERE id < 5")];
    Project::of(TOML, &models, SCHEMA, &[("t", &rows(0..20_000, 0))])
}

fn attached(project: &Project) -> String {
    format!("ATTACH 'ducklake:sqlite:{}' AS lake (READ_ONLY)", project.path("out/lake.sqlite").display())
}

fn published(project: &Project) -> String {
    let latest: Value = serde_json::from_str(&project.read("out/latest.json")).unwrap();
    latest["snapshot"].as_str().unwrap().to_owned()
}

/// What `starmill query` answers, without the names of the columns.
fn ours(project: &Project, sql: &str, at: &str) -> String {
    let asked = project.starmill(&["query", "pipelines/p.toml", sql, "--at", at, "--format", "csv"]).exits(0);
    asked.stdout.lines().skip(1).collect::<Vec<_>>().join("\n")
}

/// The lake's snapshots: number, and the store's.
fn snapshots(project: &Project) -> Vec<(String, String)> {
    let told = lake(
        &attached(project),
        &[
            "SELECT snapshot_id, json_extract_string(commit_extra_info, '$.snapshot') FROM ducklake_snapshots('lake')",
        ],
    );
    told[0]
        .lines()
        .map(|line| line.split_once(',').unwrap())
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

/// Every kept snapshot holds the same rows here and there.
fn assert_same(project: &Project, tables: &[(&str, &str)]) {
    for (number, snapshot) in snapshots(project) {
        for (table, from) in tables {
            if snapshot.as_str() < *from {
                continue;
            }
            let star = format!("SELECT * FROM {table} ORDER BY 1");
            let theirs = format!("SELECT * FROM lake.{table} AT (VERSION => {number}) ORDER BY 1");
            let count = format!("SELECT count(*) FROM lake.{table} AT (VERSION => {number})");
            let answers = lake(&attached(project), &[&theirs, &count]);
            assert_eq!(answers[0], ours(project, &star, &snapshot), "{table} in {snapshot}");
            assert_eq!(answers[1], answers[0].lines().count().to_string(), "{table} in {snapshot}");
        }
    }
}

#[test]
fn duckdb_sees_every_kept_snapshot_after_columns_came_went_and_got_other_names_and_types() {
    let project = project();
    let mut ids = Vec::new();
    let nights = [
        ("f", "SELECT id, amount, note, day FROM t"),
        ("f", "SELECT id, amount, note, day, id * 2 AS twice FROM t"),
        ("f", "SELECT id, amount, day, id * 2 AS twice FROM t"),
        ("f", "SELECT id, amount, day, id * 2 AS doubled FROM t"),
        ("f", "SELECT id, amount, CAST(day AS text) AS day, id * 2 AS doubled FROM t"),
        ("f", "SELECT id, day, note, amount FROM t"),
        ("s", "SELECT CAST(id AS text) AS id, day FROM t WHERE id < 3"),
    ];
    for (model, sql) in nights {
        project.write(&format!("sql/p/{model}.sql"), sql);
        project.starmill(&[&RUN[..], &["--accept", "s"]].concat()).exits(0);
        ids.push(published(&project));
    }
    let told = snapshots(&project);
    assert_eq!(told.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>(), ids);
    assert_same(&project, &[("f", ""), ("s", "")]);
    // A table that leaves, and one of its name that comes.
    let toml = project.read("pipelines/p.toml");
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"id\"]\n", "");
    std::fs::rename(project.path("sql/p/s.sql"), project.path("s.sql")).unwrap();
    project.starmill(&RUN).exits(0);
    let gone = asked_of_lake(&attached(&project), &["SELECT * FROM lake.s"]).unwrap_err();
    assert!(gone.contains("s does not exist"), "{gone}");
    std::fs::rename(project.path("s.sql"), project.path("sql/p/s.sql")).unwrap();
    project.write("pipelines/p.toml", &toml);
    project.starmill(&RUN).exits(0);
    assert_same(&project, &[("f", "")]);
    let now = lake(&attached(&project), &["SELECT * FROM lake.s ORDER BY 1"]);
    assert_eq!(now[0], ours(&project, "SELECT * FROM s ORDER BY 1", "latest"));
}

#[test]
fn a_rollback_and_a_prune_are_seen_and_what_changed_between_nights_is_told() {
    let project = project();
    project.starmill(&RUN).exits(0);
    let first = published(&project);
    project.write("data/t.csv", &rows((0..19_000).chain(30_000..30_010), 0));
    project.starmill(&RUN).exits(0);
    let second = published(&project);
    let attach = attached(&project);
    let changes = "SELECT change_type, count(DISTINCT id) FROM ducklake_table_changes('lake', 'main', 'f', 2, 2) GROUP BY 1 ORDER BY 1";
    let unchanged = "SELECT count(*) FROM (SELECT id, rowid AS r FROM lake.f) JOIN (SELECT id, rowid AS r FROM lake.f AT (VERSION => 1)) USING (id, r)";
    let told = lake(&attach, &[changes, unchanged]);
    // Files whose rows did not change are the same; of the others every row goes, and comes again.
    let count = |kind: &str| -> u32 {
        let line = told[0].lines().find(|line| line.starts_with(kind)).unwrap();
        line.split_once(',').unwrap().1.parse().unwrap()
    };
    assert_eq!(count("delete") - count("insert"), 990, "{told:?}");
    assert!(count("delete") < 4_000, "{told:?}");
    assert!(told[1].parse::<u32>().unwrap() > 15_000, "{told:?}");

    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", &first, "--yes"]).exits(0);
    let ids: Vec<String> = snapshots(&project).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [first.clone(), second.clone(), first.clone()]);
    assert_eq!(lake(&attach, &["SELECT count(*) FROM lake.f"])[0], "20000");
    let told = lake(&attach, &["SELECT commit_message FROM ducklake_snapshots('lake') ORDER BY snapshot_id"]);
    assert_eq!(told[0], format!("run {first}\nrun {second}\nrollback to {first}"));

    let prune = ["snapshots", "prune", "pipelines/p.toml", &second, "--grace", "0s"];
    project.starmill(&prune).exits(0);
    let ids: Vec<String> = snapshots(&project).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [first.clone(), first.clone()]);
    let gone = asked_of_lake(&attach, &["SELECT * FROM lake.f AT (VERSION => 2)"]).unwrap_err();
    assert!(gone.contains("No snapshot found at version 2"), "{gone}");
    assert_same(&project, &[("f", ""), ("s", "")]);
    assert_eq!(project.data_files("out"), project.named_files("out"));
}

#[test]
fn readers_look_only_into_files_that_can_have_their_rows_and_miss_none() {
    let project = project();
    project.starmill(&RUN).exits(0);
    let attach = attached(&project);
    let files = lake(&attach, &["SELECT count(*) FROM ducklake_list_files('lake', 'f')"]);
    assert!(files[0].parse::<u32>().unwrap() > 2, "{files:?}");
    let mut random = fastrand::Rng::with_seed(20_261_127);
    let mut asked = Vec::new();
    for _ in 0..20 {
        let (low, span) = (random.u32(0..20_000), random.u32(0..3_000));
        asked.push(format!("id BETWEEN {low} AND {}", low + span));
        asked.push(format!("amount < {}.5", random.u32(0..900)));
        asked.push(format!("day = DATE '2024-01-{:02}'", random.u32(1..=28)));
    }
    let theirs: Vec<String> =
        asked.iter().map(|where_| format!("SELECT count(*), sum(id) FROM lake.f WHERE {where_}")).collect();
    let theirs = lake(&attach, &theirs.iter().map(String::as_str).collect::<Vec<_>>());
    for (where_, theirs) in asked.iter().zip(theirs) {
        assert_eq!(
            theirs,
            ours(&project, &format!("SELECT count(*), sum(id) FROM f WHERE {where_}"), "latest"),
            "{where_}"
        );
    }
}

#[test]
fn values_of_every_published_type_are_those_of_the_files() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, b boolean, i2 smallint, i8 bigint, r real, d double precision, n numeric(38,10), \
        n5 numeric(5,1), x bytea, t text, day date, at time, ts timestamp, tz timestamptz, j jsonb, u uuid, a int[], m numeric(9,2)[], far date);";
    let database = cluster().database();
    database.sql(schema);
    database.sql(
        "INSERT INTO t VALUES \
         (1, true, -32768, -9223372036854775808, 1.5, 'NaN', -9999999999999999999999999999.9999999999, -9999.9, '\\x00ff', E'a,\"b\\n', \
          '0001-01-01', '00:00', '2024-02-29 23:59:59.999999', '2024-02-29 23:59:59.999999+00', '{\"a\": 1}', \
          '00000000-0000-0000-0000-000000000001', '{1,NULL,3}', '{1.50}', '4713-01-01 BC'), \
         (2, false, 32767, 9223372036854775807, '-0', 'Infinity', 9999999999999999999999999999.9999999999, 0.1, '', 'ü€😀', \
          '9999-12-31', '23:59:59.999999', '1900-01-01', '1900-01-01 00:00+00', '[]', 'ffffffff-ffff-ffff-ffff-ffffffffffff', \
          '{}', '{NULL,-0.01}', '20000-12-31'); \
         INSERT INTO t (id) VALUES (3)",
    );
    let toml = TOML.replace("[fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nmeasures = [\"amount\"]\n", "");
    let toml = toml.replace("url = \"data\"", &format!("url = \"{}\"\nfar_dates = \"keep\"", database.url()));
    let project = Project::of(&toml, &[("s", "SELECT * FROM t")], "", &[]);
    project.starmill(&RUN).exits(0);
    let files = format!("SELECT * FROM '{}' ORDER BY id", project.path("out/latest/s/*.parquet").display());
    let answers = lake(
        &attached(&project),
        &[
            "SELECT * FROM lake.s ORDER BY id",
            &files,
            "SELECT count(*) FROM lake.s WHERE n < 0 AND i8 < 0 AND far < DATE '0001-01-01'",
        ],
    );
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].lines().count(), 4, "{}", answers[0]);
    assert_eq!(answers[2], "1");
}

#[test]
fn what_lies_in_lists_is_told_apart_through_other_names_too() {
    let project = project();
    for sql in [
        "SELECT id, ARRAY[id, NULL] AS a, ARRAY[note] AS b FROM t WHERE id < 9",
        "SELECT id, ARRAY[id, NULL] AS c, ARRAY[note] AS b FROM t WHERE id < 9",
        "SELECT ARRAY[note, 'x'] AS a, id, ARRAY[id, 7] AS b FROM t WHERE id < 9",
    ] {
        project.write("sql/p/s.sql", sql);
        project.starmill(&RUN).exits(0);
    }
    for (number, snapshot) in snapshots(&project) {
        let files = project.path(&format!("out/snapshots/{snapshot}/s/*.parquet"));
        let answers = lake(
            &attached(&project),
            &[
                &format!("SELECT * FROM lake.s AT (VERSION => {number}) ORDER BY id"),
                &format!("SELECT * FROM '{}' ORDER BY id", files.display()),
            ],
        );
        assert_eq!(answers[0], answers[1]);
        assert!(answers[0].contains("[8, "), "{}", answers[0]);
    }
}

#[test]
fn a_lake_that_is_behind_new_or_moved_is_brought_up_to_its_store() {
    let project = project();
    project.edit("pipelines/p.toml", "lake = true", "lake = false");
    project.starmill(&RUN).exits(0);
    assert!(!project.path("out/lake.sqlite").exists());
    project.edit("pipelines/p.toml", "lake = false", "lake = true");
    project.write("data/t.csv", &rows(0..10_000, 0));
    project.starmill(&RUN).exits(0);
    assert_eq!(snapshots(&project).len(), 2, "those that were kept before it was wanted, too");
    // Killed while it was written: the next run tells what it could not.
    project.write("data/t.csv", &rows(0..9_000, 0));
    assert_eq!(project.starmill_with_fault(&RUN, "lake.written=kill").code, None);
    assert_eq!(ours(&project, "SELECT count(*) FROM f", "latest"), "9000");
    project.write("data/t.csv", &rows(0..8_000, 0));
    project.starmill(&RUN).exits(0);
    assert_eq!(snapshots(&project).len(), 4);
    assert_same(&project, &[("f", "")]);
    // Removed, it is written again.
    std::fs::remove_file(project.path("out/lake.sqlite")).unwrap();
    project.starmill(&RUN).exits(0);
    assert_same(&project, &[("f", "")]);
    // Moved with its store, it leads to where that is now.
    std::fs::rename(project.path("out"), project.path("moved [a] it's")).unwrap();
    project.edit("pipelines/p.toml", "url = \"out\"", "url = \"moved [a] it's\"");
    project.starmill(&RUN).exits(0);
    let attach = format!(
        "ATTACH 'ducklake:sqlite:{}' AS lake (READ_ONLY)",
        project.path("moved [a] it''s/lake.sqlite").display()
    );
    assert_eq!(
        lake(&attach, &["SELECT count(*), sum(id) FROM lake.f"])[0],
        format!("8000,{}", 8_000 * 7_999 / 2)
    );
    project.edit("pipelines/p.toml", "lake = true\n", "");
    project.starmill(&RUN).exits(0).warns("it is not brought up to date any more");
}

#[test]
fn a_lake_of_others_is_left_alone_and_named() {
    let project = project();
    project.starmill(&RUN).exits(0);
    let ours = std::fs::read(project.path("out/lake.sqlite")).unwrap();
    project.write("out/lake.sqlite", "no database at all, and longer than a header of a hundred bytes, so that it is read as what it is not, whatever it says in here");
    let refused = project.starmill(&RUN).exits(8);
    refused
        .warns("lake.sqlite is no lake that starmill wrote")
        .warns("move it away, with all that begins with its name; the next run writes it anew");
    std::fs::write(project.path("out/lake.sqlite"), &ours[..ours.len() / 2]).unwrap();
    project.starmill(&RUN).exits(8).warns("lake.sqlite is no lake that starmill wrote");
    // Somebody wrote into it.
    std::fs::write(project.path("out/lake.sqlite"), &ours).unwrap();
    let attach = attached(&project).replace(" (READ_ONLY)", "");
    asked_of_lake(&format!("{attach}; CREATE TABLE lake.theirs AS SELECT 1 AS x"), &[]).unwrap();
    project.starmill(&RUN).exits(8).warns("its snapshot 2 is not starmill's");
    std::fs::write(project.path("out/lake.sqlite"), &ours).unwrap();
    project.starmill(&RUN).exits(0);
    // What others put beside our tables stays.
    let note = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('CREATE TABLE note (x)'); c.execute('INSERT INTO note VALUES (7)'); c.commit()";
    assert!(python(&project, note).wait().unwrap().success());
    project.write("data/t.csv", &rows(0..10, 0));
    project.starmill(&RUN).exits(0);
    let kept = "import sqlite3, sys; sys.exit(sqlite3.connect(sys.argv[1]).execute('SELECT x FROM note').fetchone()[0] != 7)";
    assert!(python(&project, kept).wait().unwrap().success());
}

/// A program that is given the lake's path.
fn python(project: &Project, program: &str) -> Child {
    let mut python = Command::new(root().join("target/peers/bin/python"));
    python.args(["-c", program]).arg(project.path("out/lake.sqlite")).arg(project.path("held"));
    python.spawn().unwrap()
}

const HOLD: &str = "
import os, sqlite3, sys, time
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute(MODE)
c.execute('SELECT count(*) FROM ducklake_snapshot').fetchall()
open(sys.argv[2], 'w').close()
while os.path.exists(sys.argv[2]): time.sleep(0.01)
assert c.execute('SELECT count(*) FROM ducklake_snapshot').fetchall() == [(1,)]
";

#[test]
fn a_lake_that_is_written_anew_says_when_each_snapshot_was_published_and_leaves_out_what_is_damaged() {
    let project = project();
    let mut ids = Vec::new();
    for count in [300, 200, 100] {
        project.write("data/t.csv", &rows(0..count, count));
        project.starmill(&RUN).exits(0);
        ids.push(published(&project));
    }
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", &ids[0], "--yes"]).exits(0);
    let times = "SELECT snapshot_time, commit_message, schema_version FROM ducklake_snapshots('lake') ORDER BY snapshot_id";
    let told = |project: &Project| -> Vec<Vec<String>> {
        let lines = lake(&attached(project), &[times])[0].clone();
        lines.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let before = told(&project);
    std::fs::remove_file(project.path("out/lake.sqlite")).unwrap();
    project.write("data/t.csv", &rows(0..100, 50));
    project.starmill(&RUN).exits(0);
    let after = told(&project);
    assert_eq!(after.len(), 5);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before[..2], after[..2]);
        assert_ne!(before[2], after[2], "who stays attached takes no schema for another");
    }
    // One whose files are gone is left out.
    let gone = project.data_file("out", &ids[1], "f");
    std::fs::remove_file(project.path(&gone)).unwrap();
    std::fs::remove_file(project.path("out/lake.sqlite")).unwrap();
    project.starmill(&RUN).exits(0).warns("the lake does not show it");
    assert!(snapshots(&project).iter().all(|(_, id)| *id != ids[1]));
    assert!(snapshots(&project).iter().any(|(_, id)| *id == ids[2]));
}

#[test]
fn what_is_pruned_stays_while_the_lake_names_it() {
    let project = project();
    for count in [300, 200] {
        project.write("data/t.csv", &rows(0..count, count));
        project.starmill(&RUN).exits(0);
    }
    let prune = ["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"];
    project
        .starmill_with_fault(&prune, "lake.written=full")
        .exits(0)
        .warns("does not show the published snapshot");
    assert_eq!(
        lake(&attached(&project), &["SELECT sum(id) FROM lake.f AT (VERSION => 1)"])[0],
        (300 * 299 / 2).to_string()
    );
    project.starmill(&RUN).exits(0);
    assert_eq!(project.data_files("out"), project.named_files("out"));
}

#[test]
fn a_file_keeps_its_readers_and_what_lies_in_its_place_is_named() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let project = project();
    project.starmill(&RUN).exits(0);
    let path = project.path("out/lake.sqlite");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
    std::os::unix::fs::chown(&path, None, Some(65_534)).unwrap();
    project.write("data/t.csv", &rows(0..10, 0));
    project.starmill(&RUN).exits(0);
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.gid()), (0o440, 65_534));
    std::fs::write(project.path("out/lake.sqlite-journal"), "x").unwrap();
    project
        .starmill(&RUN)
        .exits(8)
        .warns("lake.sqlite-journal is there")
        .warns("move lake.sqlite away with all that begins");
    std::fs::remove_file(project.path("out/lake.sqlite-journal")).unwrap();
    std::fs::rename(&path, project.path("elsewhere.sqlite")).unwrap();
    std::fs::create_dir(&path).unwrap();
    project.starmill(&RUN).exits(8).warns("it is no file");
    std::fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(project.path("elsewhere.sqlite"), &path).unwrap();
    project.write("data/t.csv", &rows(0..20, 0));
    project.starmill(&RUN).exits(0);
    assert!(path.symlink_metadata().unwrap().is_symlink());
    assert_eq!(lake(&attached(&project), &["SELECT count(*) FROM lake.f"])[0], "20");
    project.write("sql/p/s.sql", "SELECT id, day, id AS \"Day\" FROM t WHERE id < 5");
    project.starmill(&RUN).exits(3).warns("differ only in case");
}

#[test]
fn a_reader_in_its_transaction_holds_up_no_night_and_a_writer_is_named() {
    let project = project();
    project.starmill(&RUN).exits(0);
    let mut reader = python(&project, &HOLD.replace("MODE", "'BEGIN'"));
    wait_until("the reader", || project.path("held").exists());
    project.write("data/t.csv", &rows(0..10, 0));
    project.starmill(&RUN).exits(0);
    assert_eq!(lake(&attached(&project), &["SELECT count(*) FROM lake.f"])[0], "10");
    std::fs::remove_file(project.path("held")).unwrap();
    assert!(reader.wait().unwrap().success(), "it saw one star all the time");

    let held = HOLD.replace("[(1,)]", "[(2,)]").replace("MODE", "'BEGIN EXCLUSIVE'");
    let mut writer = python(&project, &held);
    wait_until("the writer", || project.path("held").exists());
    let refused = project.starmill(&RUN).exits(8);
    refused
        .warns("another program holds")
        .warns("end what writes into it; whoever reads a lake attaches it READ_ONLY");
    std::fs::remove_file(project.path("held")).unwrap();
    assert!(writer.wait().unwrap().success());
    project.starmill(&RUN).exits(0);
}

#[test]
fn a_target_has_a_lake_that_moves_with_the_delivered_star() {
    let database = cluster().database();
    let project = project();
    let target = format!("[target]\nurl = \"{}\"\nschema = \"mart\"\nlake = \"lake\"\n", database.url());
    project.edit("pipelines/p.toml", "lake = true\n", &target);
    project.starmill(&RUN).exits(0);
    let attach = attach_target(&database);
    let both = || {
        (
            database.sql("SELECT count(*) FROM mart.f"),
            lake(&attach, &["SELECT count(*) FROM lake.f"])[0].clone(),
        )
    };
    assert_eq!(both(), ("20000".to_owned(), "20000".to_owned()));
    // What fails before the commit shows neither.
    project.write("data/t.csv", &rows(0..15_000, 0));
    project.starmill_with_fault(&RUN, "load.receipt=kill");
    assert_eq!(both(), ("20000".to_owned(), "20000".to_owned()));
    project.write("data/t.csv", &rows(0..14_000, 0));
    project.starmill(&RUN).exits(0);
    assert_eq!(both(), ("14000".to_owned(), "14000".to_owned()));
    let versions =
        "SELECT snapshot_id, commit_message LIKE 'run %' FROM ducklake_snapshots('lake') ORDER BY 1";
    assert_eq!(
        lake(&attach, &[versions])[0],
        "1,true\n2,true\n3,true",
        "the night that was not delivered, too"
    );
    assert_eq!(lake(&attach, &["SELECT count(*) FROM lake.f AT (VERSION => 2)"])[0], "15000");
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", "latest~1", "--yes"]).exits(0);
    assert_eq!(both(), ("15000".to_owned(), "15000".to_owned()));
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"]).exits(0);
    assert_eq!(lake(&attach, &["SELECT min(snapshot_id) FROM ducklake_snapshots('lake')"])[0], "2");
    assert_eq!(both(), ("15000".to_owned(), "15000".to_owned()));
    // An analyst who may only read does.
    database.sql("CREATE ROLE lake_reader LOGIN; GRANT USAGE ON SCHEMA lake TO lake_reader; GRANT SELECT ON ALL TABLES IN SCHEMA lake TO lake_reader");
    project.starmill(&RUN).exits(0);
    let reader = attach.replace("postgres://postgres@", "postgres://lake_reader@");
    assert_eq!(lake(&reader, &["SELECT count(*) FROM lake.f"])[0], "14000");
}

fn attach_target(database: &Database) -> String {
    let url = database.url();
    format!("ATTACH 'ducklake:postgres:{url}' AS lake (META_SCHEMA 'lake', READ_ONLY)")
}

#[test]
fn a_lake_in_a_schema_of_others_is_refused_and_the_delivery_waits() {
    let database = cluster().database();
    let project = project();
    let target = format!("[target]\nurl = \"{}\"\nschema = \"mart\"\nlake = \"mart\"\n", database.url());
    project.edit("pipelines/p.toml", "lake = true\n", &target);
    project.starmill(&RUN).exits(3).warns("a lake needs a schema of its own");
    project.edit("pipelines/p.toml", "lake = \"mart\"", "lake = \"pg_lake\"");
    project.starmill(&RUN).exits(3).warns("`pg_lake` is a schema of Postgres's own");
    project.edit("pipelines/p.toml", "lake = \"pg_lake\"", "lake = \"theirs\"");
    database.sql("CREATE SCHEMA theirs; CREATE TABLE theirs.ducklake_snapshot (x int)");
    let refused = project.starmill(&RUN).exits(11);
    refused
        .warns("schema theirs holds no lake that starmill wrote")
        .warns("name another schema: `lake` in [target]");
    assert_eq!(
        database.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'mart'"),
        "0",
        "all or nothing"
    );
    database.sql("DROP SCHEMA theirs CASCADE");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    assert_eq!(
        lake(&attach_target(&database).replace("'lake'", "'theirs'"), &["SELECT count(*) FROM lake.f"])[0],
        "20000"
    );
    // Another store's, too.
    std::fs::rename(project.path("out"), project.path("old")).unwrap();
    project.starmill(&[&RUN[..], &["--new-store"]].concat()).exits(11);
    project.starmill(&["deliver", "pipelines/p.toml", "--adopt", "--yes"]).exits(0);
    let told = lake(
        &attach_target(&database).replace("'lake'", "'theirs'"),
        &["SELECT count(*) FROM lake.f", "SELECT count(*) FROM ducklake_snapshots('lake')"],
    );
    assert_eq!(told, ["20000", "1"]);
}

#[test]
fn a_store_in_a_bucket_has_its_lake_in_the_target() {
    let source = cluster().shop();
    let (mut project, bucket) = (Project::shop(), Bucket::make());
    bucket.holds(&mut project, &bucket.endpoint());
    project.set("SHOP_SOURCE", &source.url());
    project.set("SHOP_TARGET", &source.url());
    project.edit("pipelines/shop.toml", "schema = \"mart\"", "schema = \"mart\"\nlake = \"lake\"");
    let run = ["run", "pipelines/shop.toml"];
    project.starmill(&run).exits(0);
    source.sql("DELETE FROM order_items WHERE item_id < 100");
    project.starmill(&run).exits(0);
    let secret = format!(
        "CREATE SECRET (TYPE s3, KEY_ID 'k', SECRET 's', REGION 'us-east-1', URL_STYLE 'path', USE_SSL false, ENDPOINT '{}')",
        bucket.endpoint().trim_start_matches("http://")
    );
    let total = "SELECT count(*), sum(line_total) FROM lake.fact_order_items";
    let answers = lake(
        &format!("{secret}; {}", attach_target(&source)),
        &[total, &format!("{total} AT (VERSION => 1)")],
    );
    let delivered = source.sql("SELECT count(*), sum(line_total) FROM mart.fact_order_items");
    assert_eq!(answers[0], delivered.replace('|', ","));
    let items = source.sql("SELECT count(*) + 99 FROM order_items");
    assert!(answers[1].starts_with(&format!("{items},")), "{answers:?} {items}");
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\nlake = true");
    project
        .starmill(&run)
        .exits(3)
        .warns("a store in a bucket has no lake of its own")
        .warns("write lake = \"lake\" in [target]");
}
