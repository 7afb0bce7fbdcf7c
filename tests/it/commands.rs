//! Commands with their whole output.

use crate::support::{Project, assert_output, cluster, steady};

#[test]
fn plan_shows_what_would_be_read_built_and_written() {
    let project = Project::shop();
    let ran = project.starmill(&["plan", "pipelines/shop.toml"]).exits(0);
    let shown = ran.stdout.replace(project.path("").to_str().unwrap(), "<project>/");
    assert_output("plan.txt", &steady(&shown));
    assert_eq!(project.entries("."), ["data", "pipelines", "sql"], "nothing is written");
}

#[test]
fn plan_over_postgres_tells_locks_and_estimates_and_reads_no_row() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    let scans =
        || source.sql("SELECT pg_stat_clear_snapshot(); SELECT sum(seq_scan) FROM pg_stat_user_tables");
    let before = scans();
    let plan = project.starmill(&["plan", "pipelines/shop.toml", "--format", "json"]).exits(0).json();
    assert_eq!(scans(), before);
    let items = plan["reads"]
        .as_array()
        .unwrap()
        .iter()
        .find(|read| read["table"]["table"] == "order_items")
        .unwrap();
    assert_eq!(
        (&items["lock"], &items["estimated_rows"], &items["kind"]),
        (&"ACCESS SHARE".into(), &12_258.into(), &"table".into())
    );
    assert_eq!(plan["connections"], 2);
    project
        .starmill(&["plan", "pipelines/shop.toml"])
        .exits(0)
        .says("over 2 connections on one snapshot")
        .says("ACCESS SHARE");
}

#[test]
fn check_says_that_all_is_well() {
    let project = Project::shop();
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(0);
    assert_eq!(ran.stdout, "shop fits its source: 8 models over 7 tables, 11 controls.\n");
    assert_eq!(ran.stderr, "");
    let json = project.starmill(&["check", "pipelines/shop.toml", "--format", "json"]).exits(0).json();
    assert_eq!(
        json,
        serde_json::json!({ "ok": true, "pipeline": "shop", "models": 8, "controls": 11, "changes": [], "diagnostics": [] })
    );
}

#[test]
fn a_name_that_is_a_model_and_a_table_is_warned_of() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.t]\nkey = [\"id\"]\n[summary.m]\nkey = [\"id\"]\n";
    let schema = "CREATE TABLE t (id int PRIMARY KEY)";
    let project = Project::of(
        toml,
        &[("t", "SELECT id + 1 AS id FROM t"), ("m", "SELECT id FROM t")],
        schema,
        &[("t", "id\n1\n")],
    );
    let ran = project.starmill(&["check", "pipelines/p.toml"]).exits(0);
    ran.warns("`t` is a model and a table of the source; the model is read")
        .warns("write public.t for the source's table")
        .warns("sql/p/m.sql:1:16");
}

#[test]
fn help_helps() {
    let project = Project::shop();
    let help = project.starmill(&["--help"]).exits(0);
    help.says("starmill run --dry-run pipelines/shop.toml")
        .says("Exit codes:")
        .says("7 the audit refused")
        .says("PGPASSWORD");
    project.starmill(&["run", "--help"]).exits(0).says("--exit-code").says("Examples:");
    project.starmill(&["--version"]).exits(0).says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_json_report_has_the_documented_shape() {
    let project = Project::shop();
    let report = project.night();
    let mut keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "by",
            "controls",
            "coverage",
            "delivery",
            "diff",
            "error",
            "exit_code",
            "mode",
            "outcome",
            "output",
            "pipeline",
            "run",
            "seconds",
            "snapshot",
            "since",
            "source",
            "started_at",
            "steps",
            "tables",
            "warnings"
        ]
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
    for entry in report["diff"].as_array().unwrap() {
        for key in ["table", "added", "removed", "changed", "changed_columns"] {
            assert!(!entry[key].is_null(), "{key} in {entry}");
        }
    }
    assert_eq!(
        report["coverage"],
        serde_json::json!({ "covered": 8, "columns": 11, "uncovered": ["dim_product.unit_price", "daily_sales.order_count", "top_products.quantity"] })
    );
    let kept: serde_json::Value = serde_json::from_str(
        &project.read(&format!("out/shop/runs/{}.json", report["run"].as_str().unwrap())),
    )
    .unwrap();
    assert_eq!(kept, report, "what is kept is what was printed");
    let steps: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["plan", "extract", "build", "audit", "diff", "publish"]);
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let project = Project::shop();
    let mut child = project.start(&["run", "pipelines/shop.toml"], None);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
    assert_eq!(output.status.code(), Some(0));
    assert!(project.latest().is_some());
}

#[test]
fn a_run_that_fails_is_kept_among_the_runs_with_its_reason() {
    let project = Project::shop();
    project.edit("data/shop/order_items.csv", "\n3,", "\nthree,");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(5);
    let runs = project.entries("out/shop/runs");
    assert_eq!(runs.len(), 1);
    let report: serde_json::Value =
        serde_json::from_str(&project.read(&format!("out/shop/runs/{}", runs[0]))).unwrap();
    assert_eq!(
        (&report["outcome"], &report["exit_code"], &report["error"]["kind"]),
        (&"failed".into(), &5.into(), &"fit".into())
    );
}

#[test]
fn every_layers_mistakes_are_told_in_one_round_in_the_words_of_sql() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.a]\n[summary.b]\n[summary.c]\n[summary.d]\n[summary.e]\n[summary.f]\n[summary.g]\n[summary.h]\n";
    let project = Project::of(
        toml,
        &[
            ("a", "SELECT id, to_number(s, '99') AS x, frobnicate(s) AS y FROM t"),
            ("b", "SELECT t.id FROM t WHERE t.id IN (SELECT x FROM unnest(ARRAY[t.id, 2]) AS x)"),
            ("c", "SELECT id FROM t WHERE id NOT IN (SELECT id FROM t) OR n > 1"),
            ("d", "SELECT id, s + n AS x FROM t"),
            ("e", "SELECT id FROM t WHERE"),
            ("f", "SELECT id FROM nowhere"),
            // It reads one that could not be read, and says nothing wrong itself.
            ("g", "SELECT id FROM e"),
            ("h", "SELECT id, coalesc(s, '') AS x FROM t"),
        ],
        "CREATE TABLE t (id int, n numeric(12,2), s text)",
        &[("t", "id,n,s\n1,1.5,a\n")],
    );
    let first = project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("there is no function `to_number` here")
        .warns("there is no function `frobnicate` here")
        .warns("this subquery reads the row around it in a way that cannot be planned here")
        .warns("row_number() OVER (PARTITION BY")
        .warns("id NOT IN (SELECT …) would be answered here as if NULL were false")
        .warns("text")
        .warns("numeric(12,2)")
        .warns("sql/p/e.sql")
        .warns("there is no model and no source table `nowhere`")
        .warns("did you mean `coalesce`?")
        .warns("8 mistakes in pipelines/p.toml");
    for word in ["Utf8", "Decimal128", "Physical plan", "Possible function", "InSubquery", "sql/p/g.sql"] {
        assert!(!first.stderr.contains(word), "{word} in {}", first.stderr);
    }
    for _ in 0..3 {
        assert_eq!(
            project.starmill(&["check", "pipelines/p.toml"]).exits(3).stderr,
            first.stderr,
            "the same each time"
        );
    }
}
