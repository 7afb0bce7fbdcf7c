//! A store in a container of Azure's and in a bucket of Google's: published, read, raced for and refused, as on S3.

use crate::support::clouds::{Container, Generations};
use crate::support::{Bucket, Project, Ran, cluster, counts, wait_until};

const RUN: [&str; 2] = ["run", "pipelines/shop.toml"];

fn of(project: &Project, args: &[&str]) -> Ran {
    project.starmill(args)
}

/// Nights, questions, a rollback and a race, with the answers that a store in a folder gives.
fn lives_there(project: &mut Project, url: &str) {
    let source = cluster().shop();
    project.set("SHOP_SOURCE", &source.url());
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 2\ngrace = \"0s\"");
    let beside = Project::shop_on(&source);
    of(project, &RUN).exits(0).says(&format!("Published: {url}/snapshots/"));
    beside.night();
    source.sql("UPDATE customers SET full_name = 'Nobody' WHERE customer_id = 3; DELETE FROM order_items WHERE item_id = 7");
    let report = of(project, &["run", "pipelines/shop.toml", "--format", "json"]).exits(0).json();
    beside.night();
    assert_eq!(counts(&report, "dim_customer"), (0, 0, 1));
    assert_eq!(counts(&report, "fact_order_items"), (0, 1, 0));
    let asked = |project: &Project, at: &str| {
        let question =
            "SELECT count(*), sum(line_total), max(customer_key), min(ordered_key) FROM fact_order_items";
        of(project, &["query", "pipelines/shop.toml", question, "--at", at, "--format", "csv"])
            .exits(0)
            .stdout
    };
    for at in ["latest", "latest~1"] {
        assert_eq!(asked(project, at), asked(&beside, at));
    }
    // Another machine has nothing of it yet.
    project.set("XDG_CACHE_HOME", &project.path("elsewhere").display().to_string());
    assert_eq!(asked(project, "latest~1"), asked(&beside, "latest~1"));
    of(project, &["snapshots", "verify", "pipelines/shop.toml"])
        .exits(0)
        .says("2 snapshots and the registry");

    // Two writers.
    let flag = project.path("paused");
    let first = project.start(&RUN, Some(&format!("audit.done=pause:{}", flag.display())));
    wait_until("the first run to pause", || flag.exists());
    of(project, &RUN).exits(9).warns(&format!("another run holds the store {url}"));
    std::fs::remove_file(&flag).unwrap();
    Ran::of(first).exits(0);

    of(project, &["snapshots", "rollback", "pipelines/shop.toml", "--yes"]).exits(0);
    of(project, &RUN).exits(0);
    of(project, &["snapshots", "verify", "pipelines/shop.toml"])
        .exits(0)
        .says("2 snapshots and the registry");
    of(project, &["runs", "pipelines/shop.toml"]).exits(0).says("rolled back");
}

/// A writer who stopped for longer than its lease commits nothing over the one that came after it.
fn is_overtaken(project: &Project) {
    project.edit("pipelines/shop.toml", "grace = \"0s\"", "grace = \"0s\"\nlease = \"2s\"");
    crate::buckets::overtaken_by_another(project);
    of(project, &["snapshots", "verify", "pipelines/shop.toml"]).exits(0);
}

#[test]
fn a_star_lives_in_a_container_of_azures() {
    let (mut project, container) = (Project::shop(), Container::make());
    container.holds(&mut project);
    lives_there(&mut project, &container.url());
    is_overtaken(&project);
}

#[test]
fn a_star_lives_in_a_bucket_of_googles() {
    let (mut project, bucket) = (Project::shop(), Bucket::make());
    Generations::before(&bucket, true).holds(&bucket, &mut project);
    lives_there(&mut project, &bucket.url().replace("s3://", "gs://"));
    is_overtaken(&project);
    bucket.assert_whole();
}

#[test]
fn a_server_that_ignores_generations_is_refused() {
    let (mut project, bucket) = (Project::shop(), Bucket::make());
    Generations::before(&bucket, false).holds(&bucket, &mut project);
    of(&project, &RUN).exits(8).warns("though it was asked not to").warns("generations");
    assert_eq!(bucket.latest(), None);
}

#[test]
fn a_container_that_is_not_there_and_a_key_that_is_wrong_are_told() {
    let (mut project, container) = (Project::shop(), Container::make());
    container.holds(&mut project);
    project.set("SHOP_STORE", "az://nowhere-to-be-found/shop");
    of(&project, &RUN).exits(8).warns("there is no bucket nowhere-to-be-found").warns("`url` in [store]");
    container.holds(&mut project);
    let wrong = "d3JvbmcgYnV0IHdlbGwgZm9ybWVk";
    project.set("AZURE_STORAGE_ACCOUNT_KEY", wrong);
    let ran = of(&project, &RUN)
        .exits(8)
        .warns("does not know these credentials")
        .warns("AZURE_STORAGE_ACCOUNT_KEY");
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(wrong));
    project.set("AZURE_STORAGE_ACCOUNT_KEY", "not base 64!");
    let ran = of(&project, &RUN).exits(8).warns("AZURE_STORAGE_");
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("not base 64!"));
    container.holds(&mut project);
    project.set("AZURE_STORAGE_ACCOUNT_NAME", "");
    of(&project, &RUN).exits(8).warns("`account`");
}

#[test]
fn what_is_of_another_service_is_told() {
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\nregion = \"eu-west-1\"\naccount = \"a\"");
    let store = |url: &str| {
        let text = project.read("pipelines/shop.toml");
        let line = text
            .lines()
            .find(|line| line.starts_with("url = ") && line.contains("SHOP_STORE"))
            .unwrap()
            .to_owned();
        project.edit("pipelines/shop.toml", &line, &format!("url = \"{url}\""));
        let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
        project.edit("pipelines/shop.toml", &format!("url = \"{url}\""), &line);
        ran
    };
    store("az://stars/shop").warns("`region` is of S3");
    store("gs://stars/shop").warns("`region` is of S3").warns("`account` is of Azure");
    store("s3://stars/shop").warns("`account` is of Azure");
    store("out/shop").warns("`account` is of a store in a bucket");
    store("az://key@stars/shop").warns("no user and no password").warns("write az://bucket/prefix");
}
