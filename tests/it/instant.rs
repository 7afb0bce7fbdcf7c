//! One instant: whatever others do to the source, a run sees it before or after, never in between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{Project, Ran, cluster, rounds, wait_until};

const MONEY: &str = "
name = \"p\"
[source]
url = \"${SOURCE}\"
connections = 3
[store]
url = \"out\"
keep = 1
[summary.savings_now]
key = [\"id\"]
totals = { amount = \"SELECT sum(amount) FROM savings\" }
[summary.current_now]
key = [\"id\"]
totals = { amount = \"SELECT sum(amount) FROM current\" }
[summary.wealth]
[[summary.wealth.control]]
name = \"no cent is lost between the tables\"
source = \"SELECT (SELECT sum(amount) FROM savings) + (SELECT sum(amount) FROM current)\"
star = \"SELECT sum(total) FROM wealth\"
[[summary.wealth.control]]
name = \"the bank's money is constant\"
source = \"SELECT 200000.00\"
star = \"SELECT sum(total) FROM wealth\"
";

#[test]
fn totals_match_to_the_cent_under_a_writer_that_moves_money_between_tables() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE savings (id int PRIMARY KEY, amount numeric(12,2) NOT NULL); \
         CREATE TABLE current (LIKE savings INCLUDING ALL); \
         INSERT INTO savings SELECT n, 100 FROM generate_series(1, 1000) AS n; \
         INSERT INTO current SELECT n, 100 FROM generate_series(1, 1000) AS n",
    );
    let models = [
        ("savings_now", "SELECT id, amount FROM savings"),
        ("current_now", "SELECT id, amount FROM current"),
        (
            "wealth",
            "SELECT sum(amount) AS total FROM (SELECT amount FROM savings UNION ALL SELECT amount FROM current) AS a",
        ),
    ];
    let mut project = Project::of(MONEY, &models, "", &[]);
    project.set("SOURCE", &source.url());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..2 {
            let (source, stop) = (&source, &stop);
            scope.spawn(move || {
                let transfers: String = (0..200)
                    .map(|n| {
                        let id = (n * 37 + seed * 501) % 1000 + 1;
                        format!("BEGIN; UPDATE savings SET amount = amount - 0.01 WHERE id = {id}; UPDATE current SET amount = amount + 0.01 WHERE id = {}; COMMIT;\n", 1001 - id)
                    })
                    .collect();
                while !stop.load(Ordering::Relaxed) {
                    source.sql(&transfers);
                }
            });
        }
        for _ in 0..rounds(8) {
            let ran = project.starmill(&["run", "pipelines/p.toml"]);
            if ran.code != Some(0) {
                stop.store(true, Ordering::Relaxed);
            }
            ran.exits(0);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Starts a run that pauses at a point, does something to the source, and lets it go on.
fn with_pause(project: &Project, point: &str, meanwhile: impl FnOnce()) -> Ran {
    let flag = project.path("paused");
    let fault = format!("{point}=pause:{}", flag.display());
    let child = project.start(&["run", "pipelines/shop.toml", "--format", "json"], Some(&fault));
    wait_until("the run to pause", || flag.exists());
    meanwhile();
    std::fs::remove_file(&flag).unwrap();
    Ran::of(child)
}

#[test]
fn a_truncate_before_the_locks_is_seen_whole_and_refused_as_suddenly_empty() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.night();
    let before = project.latest();
    let ran = with_pause(&project, "source.resolved", || {
        source.sql("TRUNCATE order_items");
    });
    let report = ran.exits(7).json();
    let suddenly = report["controls"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["name"].as_str().unwrap().contains("suddenly empty"));
    assert_eq!(suddenly.unwrap()["table"], "public.order_items");
    assert_eq!(project.latest(), before);
    project.edit(
        "pipelines/shop.toml",
        "connections = 2",
        "allow_empty = [\"order_items\"]\nconnections = 2",
    );
    let emptied = project.night();
    assert_eq!(crate::support::counts(&emptied, "fact_order_items"), (0, 12_258, 0));
}

#[test]
fn a_table_of_which_a_model_asks_for_no_row_that_there_is_was_not_emptied() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int PRIMARY KEY, state text); INSERT INTO t SELECT i, 'open' FROM generate_series(1, 200) AS i");
    let project = Project::over(&source.url(), "", "SELECT count(*) AS n FROM t");
    let run = ["run", "pipelines/p.toml"];
    project.starmill(&run).exits(0);
    project.write("sql/p/s.sql", "SELECT id FROM t WHERE state = 'disputed'");
    project.starmill(&run).exits(0);
    project.write("sql/p/s.sql", "SELECT id FROM t WHERE state = 'open'");
    project.starmill(&run).exits(0);
    // Neither is one that has rows that the pipeline's own filter leaves out of sight: there it is empty.
    source.sql("UPDATE t SET state = 'closed'");
    project.edit("pipelines/p.toml", "[store]", "[source.where]\nt = \"state <> 'closed'\"\n[store]");
    project.starmill(&run).exits(7).says("suddenly empty");
    project.edit("pipelines/p.toml", "state <> 'closed'", "id > 0");
    project.starmill(&run).exits(0);
    source.sql("UPDATE t SET state = 'open'");
    project.starmill(&run).exits(0);
    source.sql("TRUNCATE t");
    project.starmill(&run).exits(7).says("suddenly empty");
}

#[test]
fn a_truncate_after_the_locks_waits_until_the_snapshot_is_read() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    let flag = project.path("truncated");
    let truncating = source.clone();
    let mut waiting = None;
    let ran = with_pause(&project, "source.locked", || {
        let done = flag.clone();
        waiting = Some(thread::spawn(move || {
            truncating.sql("TRUNCATE order_items");
            std::fs::write(done, "").unwrap();
        }));
        wait_until("the TRUNCATE to wait for our lock", || {
            source.sql("SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database WHERE NOT l.granted AND d.datname = current_database()") == "1"
        });
        assert!(!flag.exists());
    });
    let report = ran.exits(0).json();
    assert_eq!(
        report["controls"].as_array().unwrap().iter().filter(|line| line["verdict"] == "failed").count(),
        0
    );
    waiting.unwrap().join().unwrap();
    assert_eq!(source.sql("SELECT count(*) FROM order_items"), "0");
    let items = report["tables"]
        .as_array()
        .unwrap()
        .iter()
        .find(|table| table["table"] == "fact_order_items")
        .unwrap();
    assert_eq!(items["rows"], 12_258);
}

#[test]
fn a_table_that_changes_its_shape_between_plan_and_snapshot_is_told() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    let ran = with_pause(&project, "source.resolved", || {
        source.sql("ALTER TABLE order_items ALTER COLUMN line_total TYPE numeric(14,4)");
    });
    let report = ran.exits(5).json();
    assert!(report["error"]["message"].as_str().unwrap().contains("public.order_items"), "{report:#}");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(0);
}

#[test]
fn only_the_columns_that_some_model_uses_are_read_and_each_table_once() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    let report = project.night();
    let columns: Vec<(String, Vec<String>)> = report["source"]["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|read| {
            let names =
                read["columns"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
            (read["table"]["table"].as_str().unwrap().to_owned(), names.collect())
        })
        .collect();
    let of = |table: &str| {
        columns
            .iter()
            .filter(|(name, _)| name == table)
            .map(|(_, columns)| columns.join(","))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("addresses"), ["address_id,city"], "no street, no postcode");
    assert_eq!(
        of("orders"),
        ["order_id,customer_id,address_id,carrier_id,ordered_at"],
        "never the stored order_total"
    );
    assert_eq!(of("order_items"), ["item_id,order_id,product_id,quantity,line_total"]);
    assert_eq!(columns.len(), 7);
}

#[test]
fn a_source_that_is_done_with_has_no_session_left() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.night();
    let sessions = || {
        source.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'starmill shop' AND datname = current_database()")
    };
    wait_until("the sessions to end", || sessions() == "0");
    let flag = project.path("paused");
    let child = project
        .start(&["run", "pipelines/shop.toml"], Some(&format!("extract.table=pause:{}", flag.display())));
    wait_until("the run to pause", || flag.exists());
    assert_ne!(sessions(), "0");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGINT)
        .unwrap();
    std::fs::remove_file(&flag).unwrap();
    Ran::of(child).exits(130).warns("interrupted; nothing was published");
    wait_until("the sessions to end", || sessions() == "0");
}
