//! Questions about a published star: what is answered, in which form, and what is refused.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use crate::support::{Project, assert_output, cluster};

const SHOP: &str = "pipelines/shop.toml";

fn ask(project: &Project, sql: &str) -> String {
    project.starmill(&["query", SHOP, sql, "--format", "csv"]).exits(0).stdout
}

#[test]
fn rows_come_as_a_table_for_people() {
    let project = Project::shop();
    project.night();
    let sql = "SELECT day, category, revenue, CAST(NULL AS text) AS nothing FROM daily_sales ORDER BY day, category LIMIT 3; \
               SELECT carrier_key, carrier_name AS name FROM dim_carrier ORDER BY carrier_key";
    let ran = project.starmill(&["query", SHOP, sql]).exits(0);
    assert_output("query.txt", &ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn every_value_survives_in_csv_json_and_parquet() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, amount numeric(38,10) NOT NULL, name text, at timestamptz, day date, flag boolean, big bigint, ratio double precision)";
    let rows = "id,amount,name,at,day,flag,big,ratio\n\
        1,1234567890123456789012345678.0123456789,\"comma, \"\"quote\"\"\nline\",2026-03-29 01:30:00.000001+00,2026-03-29,t,9223372036854775807,0.1\n\
        2,-0.0000000001,\"\",,,,,\n\
        3,0,\"\u{1b}[31mred \u{fc}\",1970-01-01 00:00:00+00,0001-01-01,f,-1,1e300\n";
    let toml = "name = \"p\"\ntimezone = \"Europe/Berlin\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out/shop\"\n[summary.s]\nkey = [\"id\"]\n";
    let project = Project::of(toml, &[("s", "SELECT * FROM t")], schema, &[("t", rows)]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let query = |format: &str| {
        project
            .starmill(&["query", "pipelines/p.toml", "SELECT * FROM s ORDER BY id", "--format", format])
            .exits(0)
    };
    assert_eq!(
        query("csv").stdout,
        "id,amount,name,at,day,flag,big,ratio\n\
         1,1234567890123456789012345678.0123456789,\"comma, \"\"quote\"\"\nline\",2026-03-29 03:30:00.000001+02:00,2026-03-29,true,9223372036854775807,0.1\n\
         2,-0.0000000001,\"\",,,,,\n\
         3,0.0000000000,\u{1b}[31mred \u{fc},1970-01-01 01:00:00+01:00,0001-01-01,false,-1,1e300\n"
    );
    let json = query("json").stdout;
    assert!(json.contains("\"amount\":1234567890123456789012345678.0123456789"), "{json}");
    assert!(json.contains("\"name\":\"\",\"at\":null"), "{json}");
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed[0]["big"], 9_223_372_036_854_775_807_i64);
    assert_eq!(parsed[0]["name"], "comma, \"quote\"\nline");
    // On a terminal a value must not be obeyed.
    let table = query("table").stdout;
    assert!(
        table.contains("\\u{1b}[31mred \u{fc}") && table.contains("line") && !table.contains('\u{1b}'),
        "{table}"
    );
    // What was written as Parquet is read back by another reader: our own source.
    project
        .starmill(&[
            "query",
            "pipelines/p.toml",
            "SELECT * FROM s ORDER BY id",
            "--format",
            "parquet",
            "--output",
            "o.parquet",
        ])
        .exits(0);
    let file = std::fs::File::open(project.path("o.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    let shown = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    assert!(
        shown.contains("1234567890123456789012345678.0123456789")
            && shown.contains("2026-03-29T01:30:00.000001Z"),
        "{shown}"
    );
    let rights = std::fs::metadata(project.path("o.parquet")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&rights.permissions()) & 0o077, 0o044);
}

#[test]
fn another_snapshot_is_asked_by_name() {
    let project = Project::shop();
    project.night();
    project.edit("data/shop/customers.csv", "Ada", "Eve");
    project.night();
    let sql = "SELECT full_name FROM dim_customer WHERE customer_id = 1";
    assert_eq!(ask(&project, sql), "full_name\n\"Eve \"\"The Countess\"\" Abel\"\n");
    let before = project.starmill(&["query", SHOP, sql, "--at", "latest~1", "--format", "csv"]).exits(0);
    assert_eq!(before.stdout, "full_name\n\"Ada \"\"The Countess\"\" Abel\"\n");
    project
        .starmill(&["query", SHOP, sql, "--at", "latest~9"])
        .exits(2)
        .warns("has no one snapshot `latest~9`");
    let empty = Project::shop();
    empty
        .starmill(&["query", SHOP, sql])
        .exits(8)
        .warns("nothing is published")
        .warns("run the pipeline first");
    assert!(empty.entries("out").is_empty(), "asking makes no store");
}

#[test]
fn which_nights_were_slow_is_a_query() {
    let project = Project::shop();
    project.night();
    project.double_items();
    project.starmill(&["run", SHOP]).exits(7);
    let runs = ask(
        &project,
        "SELECT outcome, exit_code, rows > 0, seconds >= build_seconds AND seconds > 0, reason IS NULL FROM starmill.runs ORDER BY started_at",
    );
    let lines: Vec<&str> = runs.lines().skip(1).collect();
    assert_eq!(lines, ["published,0,true,true,true", "refused,7,true,true,false"]);
    let failed = ask(
        &project,
        "SELECT \"table\", control, source, star, difference FROM starmill.controls WHERE verdict = 'failed' AND control = 'rows of the grain'",
    );
    assert_eq!(failed.lines().nth(1), Some("fact_order_items,rows of the grain,12258,24516,12258"));
    let columns = ["runs", "tables", "controls"]
        .map(|table| ask(&project, &format!("SELECT * FROM starmill.{table} WHERE false")));
    assert!(
        columns[0].starts_with("run,started_at,scheduled_for,seconds,outcome,by,exit_code,snapshot,rows"),
        "{columns:?}"
    );
    // No column is empty in every run of this history, but for those that these runs cannot have.
    let filled = ask(&project, "SELECT * FROM starmill.runs WHERE exit_code = 0");
    let (names, values) = filled.trim().split_once('\n').unwrap();
    let empty: Vec<&str> = names
        .split(',')
        .zip(values.split(','))
        .filter(|(_, value)| value.is_empty())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(empty, ["scheduled_for", "load_seconds", "reason"]);
    let tables = ask(
        &project,
        "SELECT \"table\", role, rows, rows_added FROM starmill.tables WHERE rows_added IS NOT NULL AND \"table\" = 'dim_carrier'",
    );
    assert_eq!(tables.lines().nth(1), Some("dim_carrier,dimension,6,6"));
}

#[test]
fn nothing_can_be_written_and_mistakes_are_shown_under_their_words() {
    let project = Project::shop();
    project.night();
    for (sql, message, help) in [
        ("DELETE FROM order_summary", "DELETE is not a SELECT", "a published star is only read"),
        ("INSERT INTO dim_carrier SELECT * FROM dim_carrier", "INSERT is not a SELECT", "only read"),
        ("UPDATE dim_carrier SET carrier_name = ''", "UPDATE is not a SELECT", "only read"),
        ("DROP TABLE order_summary", "DROP is not a SELECT", "only read"),
        ("CREATE TABLE x AS SELECT 1", "CREATE is not a SELECT", "only read"),
        ("COPY order_summary TO '/tmp/x'", "COPY is not a SELECT", "only read"),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "does not parse", "one SELECT"),
        ("SELECT 1 INTO x", "SELECT INTO writes a table", "remove INTO"),
        (
            "WITH gone AS (DELETE FROM order_summary RETURNING *) SELECT * FROM gone",
            "this writes",
            "one SELECT",
        ),
        ("SELECT * FROM '/etc/passwd'", "there is no table /etc/passwd", "tables here: "),
        ("SELECT * FROM orders", "there is no table orders in this snapshot", "tables here: "),
        (
            "SELECT * FROM information_schema.tables",
            "there is no table information_schema.tables",
            "tables here: ",
        ),
        ("SELECT * FROM starmill.run", "there is no table starmill.run", "did you mean starmill.runs?"),
        ("SELECT revenu FROM daily_sales", "revenu", "columns here: "),
        ("SELECT ,", "does not parse", "one SELECT"),
        ("   ", "there is no SQL here", "write one SELECT"),
    ] {
        let before = project.entries("out/shop");
        let refused = project.starmill(&["query", SHOP, sql]).exits(2);
        refused.warns(message).warns(help);
        assert_eq!(project.entries("out/shop"), before);
    }
    project.assert_store_is_whole();
    let quotient =
        project.starmill(&["query", SHOP, "SELECT sum(revenue) / 3 AS x FROM daily_sales"]).exits(0);
    quotient.says("860152.22");
    let average = "SELECT avg(revenue) AS a, avg(item_count) AS b, sum(revenue) / 7 AS c FROM daily_sales";
    let judged = " 378.5325891154466774 | 1.7981516796244682 | 368636.665714285714";
    project.starmill(&["query", SHOP, average]).exits(0).says(judged);
    let failing =
        project.starmill(&["query", SHOP, "SELECT 1 / (item_count - item_count) FROM daily_sales"]).exits(6);
    failing.warns("the query failed").warns("division by zero");
    project
        .starmill(&["query", SHOP, "SELECT 1; SELECT 2", "--format", "json"])
        .exits(2)
        .json()["error"]["message"]
        .as_str()
        .filter(|message| message.contains("several SELECTs"))
        .unwrap();
}

#[test]
fn sql_may_come_from_standard_input() {
    let project = Project::shop();
    project.night();
    for args in [&["query", SHOP] as &[&str], &["query", SHOP, "-"]] {
        let mut child = project
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"SELECT ';' AS a; -- the end;\nSELECT 2 AS b\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), " a\n---\n ;\n(1 row)\n b\n---\n 2\n(1 row)\n");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_none_is_left_half() {
    let project = Project::shop();
    project.night();
    let sql = "SELECT * FROM fact_order_items";
    let refused = project
        .starmill(&["query", SHOP, sql, "--format", "csv", "--output", "no/such/folder/x.csv"])
        .exits(8);
    refused.warns("cannot write no/such/folder/x.csv");
    let failing = "SELECT 1 / (item_id - 12000) FROM fact_order_items ORDER BY 1";
    project.starmill(&["query", SHOP, failing, "--format", "csv", "--output", "x.csv"]).exits(6);
    assert!(!project.path("x.csv").exists());
    assert_eq!(project.entries("."), [".starmill", "data", "out", "pipelines", "sql"]);
}

#[test]
fn a_large_answer_streams_and_a_reader_may_stop_early() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int PRIMARY KEY, filler text); INSERT INTO t SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 400000) AS g");
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[store]\nurl = \"out/shop\"\n[run]\nmemory = \"64MB\"\n[summary.s]\nkey = [\"id\"]\n",
        source.url()
    );
    let project = Project::of(&toml, &[("s", "SELECT * FROM t")], "", &[]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    for format in ["table", "csv", "json", "parquet"] {
        let mut child = project
            .command(&["query", "pipelines/p.toml", "SELECT * FROM s", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = vec![0; 100];
        lines.read_exact(&mut first).unwrap();
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap()),
            (Some(0), String::new())
        );
    }
    // 100 MB of text pass through a small process.
    let mut child = project
        .command(&["query", "pipelines/p.toml", "SELECT * FROM s", "--format", "csv"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = 0;
    let mut peak = 0;
    let reader = BufReader::new(child.stdout.take().unwrap());
    for line in reader.lines() {
        line.unwrap();
        lines += 1;
        if lines % 50_000 == 0 {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
            peak = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(lines, 400_001);
    assert!(peak > 10_000 && peak < 300_000, "{peak} kB");
}

#[test]
fn several_answers_share_one_file_and_a_device_is_written_to_not_replaced() {
    let project = Project::shop();
    project.night();
    let two = "SELECT * FROM dim_carrier ORDER BY 1; SELECT 1 AS one";
    project.starmill(&["query", SHOP, two, "--output", "two.txt"]).exits(0);
    assert_eq!(project.read("two.txt"), project.starmill(&["query", SHOP, two]).exits(0).stdout);
    let device = project.path("device");
    std::os::unix::fs::symlink("/dev/null", &device).unwrap();
    project.starmill(&["query", SHOP, two, "--output", "device"]).exits(0);
    assert!(std::fs::symlink_metadata(&device).unwrap().is_symlink());
}

#[test]
fn bytes_come_as_copy_takes_them_back() {
    let toml =
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out/shop\"\n[summary.s]\nkey = [\"id\"]\n";
    let schema = "CREATE TABLE t (id int PRIMARY KEY, b bytea)";
    let project =
        Project::of(toml, &[("s", "SELECT id, b FROM t")], schema, &[("t", "id,b\n1,\\x00ff\n2,\\x\n3,\n")]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let csv = project
        .starmill(&["query", "pipelines/p.toml", "SELECT * FROM s ORDER BY id", "--format", "csv"])
        .exits(0);
    assert_eq!(csv.stdout, "id,b\n1,\\x00ff\n2,\\x\n3,\n");
}

#[test]
fn what_a_form_cannot_hold_is_refused_and_headings_are_the_user_s() {
    let project = Project::shop();
    project.night();
    assert_eq!(ask(&project, "SELECT NULL AS n, NULL::text AS t, '' AS e"), "n,t,e\n,,\"\"\n");
    let nan = "SELECT 'NaN'::double precision AS x";
    let refused = project.starmill(&["query", SHOP, nan, "--format", "json"]).exits(8);
    refused.says("x has NaN or infinity, which JSON has not: cast it to text");
    assert_eq!(ask(&project, nan), "x\nNaN\n");
    let sum = ask(&project, "SELECT sum(revenue), count(*) FROM daily_sales");
    assert_eq!(sum, "sum,count\n2580456.66,6817\n");
    // The ending of a file says its form.
    project.starmill(&["query", SHOP, "SELECT 1 AS one", "--output", "one.csv"]).exits(0);
    assert_eq!(project.read("one.csv"), "one\n1\n");
    project.starmill(&["query", SHOP, "SELECT 1 AS one", "--output", "one.json"]).exits(0);
    assert_eq!(project.read("one.json"), "[{\"one\":1}]\n");
}
