//! Bounded memory: far below the data's size the night still finishes, with the same star.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Project, Ran, cluster};

#[test]
fn with_little_memory_the_night_spills_and_gives_the_same_bytes() {
    let source = cluster().database();
    let grown = source
        .psql()
        .args(["-q", "-v", "orders=150000", "-f", "data/shop/grow.sql"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(grown.status.success(), "{}", String::from_utf8_lossy(&grown.stderr));
    let hashes = |memory: &str| {
        let project = Project::shop_on(&source);
        project.edit("pipelines/shop.toml", "400MB", memory);
        let report = project.night();
        let id = report["snapshot"].as_str().unwrap();
        let manifest: serde_json::Value =
            serde_json::from_str(&project.read(&format!("out/shop/snapshots/{id}/manifest.json"))).unwrap();
        let files = manifest["tables"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|table| table["files"].as_array().unwrap());
        let files: Vec<_> = files.map(|file| file["sha256"].clone()).collect();
        let efforts: Vec<String> = report["tables"]
            .as_array()
            .unwrap()
            .iter()
            .map(|table| table["effort"].as_str().unwrap().to_owned())
            .collect();
        (files, efforts)
    };
    let (plenty, full) = hashes("2GB");
    let (little, frugal) = hashes("32MB");
    assert_eq!(plenty, little);
    assert!(full.iter().all(|effort| effort == "full"), "{full:?}");
    assert!(
        frugal.iter().any(|effort| effort != "full"),
        "the memory was not little enough to show anything: {frugal:?}"
    );
}

#[test]
fn a_model_that_no_memory_suffices_for_says_so() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[run]\nmemory = \"32MB\"\n[summary.huge]\n";
    let sql = "SELECT a.n FROM t CROSS JOIN (SELECT string_agg(CAST(x AS text) || repeat('x', 1000), ',' ORDER BY x) AS n FROM generate_series(1, 200000) AS x) AS a";
    let project = Project::of(toml, &[("huge", sql)], "CREATE TABLE t (a int)", &[("t", "a\n1\n")]);
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(6)
        .warns("the model huge failed")
        .warns("raise `memory` in [run]")
        .never_shows("datafusion");
    project.edit("pipelines/p.toml", "32MB", "31MB");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("at least 32MB");
}

/// The command's end, and the most kilobytes of memory that it held at once: what was resident, since a limit of
/// the address space would count the stacks that threads reserve and hardly touch, and their number is the
/// machine's and the moment's.
fn peak(project: &Project, args: &[&str]) -> (Ran, u64) {
    let mut child = project.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let now = std::fs::read_to_string(&status).unwrap_or_default();
        let held = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let held = held.and_then(|held| held.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(held.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(peak > 0, "no memory was seen");
    (Ran::of(child), peak)
}

#[test]
fn large_values_do_not_pile_up_on_their_way_into_parquet() {
    let source = cluster().database();
    // 400 MB that don't compress, in 10,000 rows, which a batch and a row group that only count rows would
    // hold at once.
    source.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v bytea); ALTER TABLE t ALTER v SET STORAGE EXTERNAL; \
         DO $$ DECLARE noise bytea := (SELECT string_agg(decode(md5(i::text), 'hex'), '') FROM generate_series(1, 262144) AS i); BEGIN \
         INSERT INTO t SELECT i, substr(noise, 1 + (i::bigint * 1000003 % 4150000)::int, 40000) FROM generate_series(1, 10000) AS i; END $$",
    );
    let project = Project::over(&source.url(), "", "SELECT 1 AS one");
    let extract = ["extract", "pipelines/p.toml", "--table", "t", "--to", "taken"];
    let (ran, peak) = peak(&project, &extract);
    ran.exits(0).says("10,000");
    assert!(peak < 250_000, "{peak} kB");
}

#[test]
fn distinct_texts_of_many_groups_stay_within_the_memory() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int PRIMARY KEY, g int, v text); INSERT INTO t SELECT i, i % 60000, 'some longer text ' || i % 7919 FROM generate_series(1, 480000) AS i");
    for sql in [
        "SELECT g, count(*) AS n, count(DISTINCT v) AS d, min(v) AS lowest, sum(id) AS total FROM t GROUP BY g",
        "SELECT g, count(*) AS n, count(DISTINCT v) AS d, avg(CAST(id AS double precision)) AS mean, count(DISTINCT v || g) FILTER (WHERE id > 9) AS total FROM t GROUP BY g",
    ] {
        let project = Project::over(&source.url(), "", sql);
        project.edit("pipelines/p.toml", "[store]", "[run]\nmemory = \"64MB\"\n[store]");
        let (ran, peak) = peak(&project, &["run", "pipelines/p.toml"]);
        ran.exits(0);
        // A set of texts for each group would take a gigabyte; each partition has its own hash tables.
        let partitions = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8) as u64;
        assert!(peak < 400_000 + 100_000 * partitions, "{peak} kB");
        let asked = "SELECT count(*) AS groups, sum(n) AS n, sum(d) AS d, sum(total) AS total FROM s";
        let told = project.starmill(&["query", "pipelines/p.toml", asked, "--format", "csv"]).exits(0).stdout;
        let judged = source.sql(&format!("SELECT count(*), sum(n), sum(d), sum(total) FROM ({sql}) AS s"));
        assert_eq!(told.lines().last().unwrap().replace(',', "|"), judged);
    }
}
