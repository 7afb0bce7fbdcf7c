//! A fresh machine: no server, no store.

use crate::support::{Project, assert_output, steady, without_costs};

#[test]
fn the_first_night_publishes_every_table_and_says_so() {
    let project = Project::shop();
    let report = project.night();
    assert_eq!(report["outcome"], "published");
    assert_eq!(report["since"], serde_json::Value::Null);
    let rows: Vec<(&str, u64)> = report["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["table"].as_str().unwrap(), table["rows"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ("dim_customer", 1_001),
            ("dim_product", 301),
            ("dim_carrier", 6),
            ("dim_date", 1_462),
            ("order_summary", 5_000),
            ("fact_order_items", 12_258),
            ("daily_sales", 6_817),
            ("top_products", 130),
        ]
    );
    assert_eq!(project.latest().as_deref(), report["snapshot"].as_str());
    project.assert_store_is_whole();
    assert_eq!(
        project.entries("out/shop"),
        [".lock", ".reserve", "keys", "latest", "latest.json", "runs", "snapshots", "tables"]
    );
    assert_eq!(
        std::fs::read_link(project.path("out/shop/latest")).unwrap().file_name().unwrap().to_str(),
        report["snapshot"].as_str()
    );
}

#[test]
fn the_report_is_one_that_a_person_reads() {
    let project = Project::shop();
    let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(0);
    assert_eq!(ran.stderr, "", "nothing but the report, when piped");
    assert_output("first_night.txt", &without_costs(&steady(&ran.stdout)));
}

#[test]
fn a_second_night_over_the_same_source_changes_nothing_and_writes_the_same_bytes() {
    let project = Project::shop();
    let first = project.night();
    let second = project.night();
    assert_eq!(second["since"], first["snapshot"]);
    let hashes = |report: &serde_json::Value| {
        let id = report["snapshot"].as_str().unwrap();
        let manifest: serde_json::Value =
            serde_json::from_str(&project.read(&format!("out/shop/snapshots/{id}/manifest.json"))).unwrap();
        let tables = manifest["tables"].as_array().unwrap().clone();
        tables.into_iter().map(|table| table["files"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(hashes(&first), hashes(&second));
    for table in second["diff"].as_array().unwrap() {
        assert_eq!(
            (&table["added"], &table["removed"], &table["changed"]),
            (&0.into(), &0.into(), &0.into()),
            "{table}"
        );
    }
    let dry = project.starmill(&["run", "--dry-run", "--exit-code", "pipelines/shop.toml"]).exits(0);
    dry.says("Nothing changed since").says("dry run, nothing published");
}

#[test]
fn a_store_keeps_as_many_snapshots_as_the_pipeline_says() {
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 2\ngrace = \"0s\"");
    let ids: Vec<String> = (0..4).map(|_| project.night()["snapshot"].as_str().unwrap().to_owned()).collect();
    let mut expected = ids[2..].to_vec();
    expected.sort();
    assert_eq!(project.entries("out/shop/snapshots"), expected);
    assert_eq!(project.entries("out/shop/runs").len(), 4);
    project.assert_store_is_whole();
}

#[test]
fn starmill_may_be_started_from_anywhere() {
    let project = Project::shop();
    let elsewhere = tempfile::tempdir().unwrap();
    let toml = project.path("pipelines/shop.toml");
    let output =
        project.command(&["run", toml.to_str().unwrap()]).current_dir(elsewhere.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(project.latest().is_some(), "the store is relative to the project, not to where one stands");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}
