//! Bounded memory: far below the data's size the night still finishes, with the same star.

use crate::support::{Project, cluster};

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
        let files: Vec<_> =
            manifest["tables"].as_array().unwrap().iter().map(|table| table["files"].clone()).collect();
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
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[run]\nmemory = \"16MB\"\n[summary.huge]\n";
    let sql = "SELECT a.n FROM t CROSS JOIN (SELECT string_agg(CAST(x.value AS text) || repeat('x', 1000), ',' ORDER BY x.value) AS n FROM generate_series(1, 200000) AS x) AS a";
    let project = Project::of(toml, &[("huge", sql)], "CREATE TABLE t (a int)", &[("t", "a\n1\n")]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(6).warns("the model huge failed").warns("memory");
}
