//! Killed at any moment: the old star or the new one, whole; and the next run succeeds.

use crate::support::{Database, Project, Ran, cluster, lake, rounds, wait_until};

const SIGKILL: Option<i32> = None;

/// Every point that a run passes, in order, as `fault.rs` names them.
pub const RUN_POINTS: [&str; 19] = [
    "source.resolved",
    "source.locked",
    "extract.table",
    "extract.done",
    "build.model",
    "write.batch",
    "audit.done",
    "publish.start",
    "publish.tables",
    "publish.keys",
    "publish.manifest",
    "publish.synced",
    "publish.renamed",
    "publish.commit-file",
    "publish.committed",
    "publish.linked",
    "lake.written",
    "delta.table",
    "prune.snapshot",
];

/// Those of a command that forgets somebody; `forget.rs` goes through them.
const FORGET_POINTS: [&str; 2] = ["forget.written", "forget.committed"];

const LOAD_POINTS: [&str; 5] = ["load.start", "load.table", "load.merged", "load.receipt", "load.committed"];

/// What a reader of the target would see: the star whole, or not at all.
fn assert_target_is_whole(source: &Database) {
    if source.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'mart'") == "0" {
        return;
    }
    let rows = source.sql("SELECT (SELECT sum(line_total) FROM mart.fact_order_items), (SELECT sum(revenue) FROM mart.daily_sales), (SELECT sum(order_total) FROM mart.order_summary)");
    let totals: Vec<&str> = rows.split('|').collect();
    assert!(totals.windows(2).all(|pair| pair[0] == pair[1]), "{rows}");
}

/// The lake shows the published star, in files that are there.
fn assert_lake_is_of(project: &Project) {
    let attach = format!(
        "ATTACH 'ducklake:sqlite:{}' AS lake (READ_ONLY)",
        project.path("out/shop/lake.sqlite").display()
    );
    let total = |of: &str| format!("SELECT count(*), sum(line_total) FROM {of}");
    let files = format!("'{}'", project.path("out/shop/latest/fact_order_items/*.parquet").display());
    let answers = lake(&attach, &[&total("lake.fact_order_items"), &total(&files)]);
    assert_eq!(answers[0], answers[1]);
    assert_eq!(project.entries("out/shop").iter().filter(|name| name.starts_with("lake.sqlite")).count(), 1);
}

fn change(source: &Database, round: usize) {
    let id = 30_000 + round;
    source.sql(&format!(
        "INSERT INTO orders VALUES ({id}, 1, 1, 2, '2025-01-01 00:00:00+00', 1.00); INSERT INTO order_items VALUES ({id}, {id}, 1, 1, 1.00); \
         INSERT INTO customers VALUES ({id}, 'Customer {id}', NULL)"
    ));
}

#[test]
fn a_run_killed_at_any_point_leaves_a_whole_star_and_the_next_one_succeeds() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 1\ngrace = \"0s\"\nlake = true\ndelta = true");
    project.night();
    for (round, point) in RUN_POINTS.iter().chain(&LOAD_POINTS).enumerate() {
        change(&source, round);
        let before = project.latest();
        let killed = project.starmill_with_fault(&["run", "pipelines/shop.toml"], &format!("{point}=kill"));
        assert_eq!(killed.code, SIGKILL, "{point} was not passed");
        project.assert_store_is_whole();
        assert_target_is_whole(&source);
        let committed = RUN_POINTS.iter().position(|known| known == point).is_none_or(|at| at >= 14);
        assert_eq!(project.latest() != before, committed, "{point}");
        let next = project.night();
        assert_eq!(next["outcome"], "published", "after {point}");
        project.assert_store_is_whole();
        assert_target_is_whole(&source);
        assert_eq!(project.entries("out/shop/snapshots").len(), 1, "swept after {point}");
        assert_eq!(project.data_files("out/shop"), project.named_files("out/shop"), "swept after {point}");
        assert_lake_is_of(&project);
        assert_eq!(project.entries("out/shop/.scratch"), [""; 0], "swept after {point}");
        let orders: usize = source.sql("SELECT count(*) FROM mart.order_summary").parse().unwrap();
        assert_eq!(orders, 5_001 + round, "after {point}");
    }
    // Every key was given once, whatever happened in between.
    assert_eq!(source.sql("SELECT count(*) - count(DISTINCT customer_key) FROM mart.dim_customer"), "0");
    assert_eq!(
        source.sql("SELECT max(customer_key) FROM mart.dim_customer"),
        "1024",
        "no key was lost to a killed run"
    );
}

#[test]
fn a_run_killed_at_any_millisecond_leaves_a_whole_star_and_the_next_one_succeeds() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 2\ngrace = \"0s\"\nlake = true\ndelta = true");
    let started = std::time::Instant::now();
    project.night();
    let usual = started.elapsed().as_millis() as u64;
    let mut random = fastrand::Rng::with_seed(20_240_229);
    for round in 0..rounds(15) {
        change(&source, round);
        let mut child = project.start(&["run", "pipelines/shop.toml"], None);
        std::thread::sleep(std::time::Duration::from_millis(random.u64(0..=usual)));
        child.kill().unwrap();
        child.wait().unwrap();
        project.assert_store_is_whole();
        assert_target_is_whole(&source);
        if round % 3 == 0 {
            let next = project.night();
            assert_eq!(next["outcome"], "published");
            assert_eq!(source.sql("SELECT count(*) FROM mart.order_summary"), (5_001 + round).to_string());
            assert_eq!(project.entries("out/shop/.scratch"), [""; 0]);
        }
    }
    project.night();
    assert_lake_is_of(&project);
    let keys =
        "SELECT count(*) - count(DISTINCT customer_key), max(customer_key) - count(*) FROM mart.dim_customer";
    assert_eq!(source.sql(keys), "0|-1", "every key was given once, and none was lost");
}

#[test]
fn a_failure_at_any_point_gives_one_clear_error_and_leaves_the_star_alone() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    project.night();
    for (round, point) in RUN_POINTS.iter().take(13).chain(&LOAD_POINTS).enumerate() {
        change(&source, round);
        let before = project.latest();
        let failed = project.starmill_with_fault(&["run", "pipelines/shop.toml"], &format!("{point}=full"));
        let code = failed.code.unwrap();
        assert!([4, 6, 8, 11].contains(&code), "{point}: {code}\n{}", failed.stderr);
        assert_eq!(failed.stderr.matches("error: ").count(), 1, "{}", failed.stderr);
        assert!(failed.stderr.contains("help: ") || [4, 6].contains(&code), "{point}: {}", failed.stderr);
        assert_eq!(project.latest() == before, code != 11, "{point}");
        project.assert_store_is_whole();
        assert_target_is_whole(&source);
        assert!(
            project.entries("out/shop/snapshots").iter().all(|name| !name.starts_with('.')),
            "{point} left something"
        );
        assert_eq!(project.entries("out/shop/.scratch"), [""; 0]);
    }
    project.night();
}

#[test]
fn the_second_of_two_runs_says_who_holds_the_lock() {
    let project = Project::shop();
    let flag = project.path("paused");
    let first =
        project.start(&["run", "pipelines/shop.toml"], Some(&format!("audit.done=pause:{}", flag.display())));
    wait_until("the first run to pause", || flag.exists());
    let pid = first.id();
    project
        .starmill(&["run", "pipelines/shop.toml"])
        .exits(9)
        .warns("another run holds the store")
        .warns(&format!("process {pid} on "));
    project.starmill(&["run", "--dry-run", "pipelines/shop.toml"]).exits(0);
    std::fs::remove_file(&flag).unwrap();
    Ran::of(first).exits(0);
    project.starmill(&["run", "pipelines/shop.toml"]).exits(0);
    project.assert_store_is_whole();
}

#[test]
fn a_signal_ends_the_run_cleanly() {
    use nix::sys::signal::Signal;
    for (signal, code, word) in [(Signal::SIGINT, 130, "interrupted"), (Signal::SIGTERM, 143, "terminated")] {
        let project = Project::shop();
        let flag = project.path("paused");
        let child = project
            .start(&["run", "pipelines/shop.toml"], Some(&format!("build.model=pause:{}", flag.display())));
        wait_until("the run to pause", || flag.exists());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        Ran::of(child).exits(code).warns(&format!("error: {word}; nothing was published"));
        assert_eq!(project.latest(), None);
        assert_eq!(project.entries("out/shop/snapshots"), [""; 0]);
        project.night();
    }
}

#[test]
fn every_fault_point_is_passed_by_these_tests() {
    let source = include_str!("../../src/fault.rs");
    let named: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().split_once(" = \""))
        .map(|(_, rest)| rest.trim_end_matches("\","))
        .filter(|name| name.contains('.'))
        .collect();
    let run = named.iter().filter(|name| !FORGET_POINTS.contains(name)).copied().collect::<Vec<_>>();
    assert_eq!(run, RUN_POINTS.iter().chain(&LOAD_POINTS).copied().collect::<Vec<_>>());
    let forget = include_str!("forget.rs");
    assert!(FORGET_POINTS.iter().all(|point| named.contains(point) && forget.contains(point)));
}
