//! Between the nights: snapshots listed, compared, rolled back, pruned, verified; runs looked up.

use crate::support::{Project, assert_output, cluster, counts, diff_of, steady, wait_until, without_costs};

const SHOP: &str = "pipelines/shop.toml";

/// Three nights: the first, one with a renamed customer, one with an order item less.
fn three_nights(project: &Project) -> [String; 3] {
    let mut ids = Vec::new();
    project.night();
    ids.push(project.latest().unwrap());
    project.edit("data/shop/customers.csv", "Ada", "Eve");
    project.night();
    ids.push(project.latest().unwrap());
    let items = project.read("data/shop/order_items.csv");
    let shorter = items.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    project.write("data/shop/order_items.csv", &shorter);
    project.night();
    ids.push(project.latest().unwrap());
    ids.try_into().unwrap()
}

#[test]
fn the_list_shows_what_changed_and_which_is_published() {
    let project = Project::shop();
    project.starmill(&["snapshots", "list", SHOP]).exits(0).says("nothing is published yet");
    let ids = three_nights(&project);
    let listed = project.starmill(&["snapshots", "list", SHOP]).exits(0);
    let shown = listed.stdout.replace(project.path("").to_str().unwrap(), "<project>/");
    let mut dated = String::new();
    for line in without_costs(&steady(&shown)).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let words = words.iter().map(|word| match word.as_bytes() {
            [_, _, _, _, b'-', _, _, b'-', _, _] => "<date>",
            [_, _, b':', _, _, b':', _, _] => "<time>",
            _ => word,
        });
        dated.push_str(&(words.collect::<Vec<_>>().join(" ") + "\n"));
    }
    assert_output("snapshots.txt", &dated);
    let json = project.starmill(&["snapshots", "list", SHOP, "--format", "json"]).exits(0).json();
    let lines = json["snapshots"].as_array().unwrap();
    assert_eq!(lines.iter().map(|line| line["snapshot"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    assert_eq!(lines.iter().map(|line| line["published"] == true).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(lines[1]["changes"], serde_json::json!({ "added": 0, "removed": 0, "changed": 7 }));
    assert_eq!(lines[0]["changes"], serde_json::Value::Null);
    let shown = project.starmill(&["snapshots", "show", SHOP, "latest~1"]).exits(0);
    shown
        .says(&format!("shop · snapshot {}", ids[1]))
        .says("full_name: Ada")
        .says("over 8 of 11 numeric columns");
}

#[test]
fn any_two_snapshots_are_compared_by_id_by_place_or_by_date() {
    let project = Project::shop();
    let ids = three_nights(&project);
    let of = |args: &[&str]| {
        let mut all = vec!["diff", SHOP, "--format", "json"];
        all.extend(args);
        project.starmill(&all).exits(0).json()
    };
    let step = of(&["latest~2", "latest~1"]);
    assert_eq!((step["from"].as_str(), step["to"].as_str()), (Some(ids[0].as_str()), Some(ids[1].as_str())));
    let table = |report: &serde_json::Value, name: &str| {
        counts(&serde_json::json!({ "diff": report["tables"] }), name)
    };
    assert_eq!(table(&step, "dim_customer"), (0, 0, 1));
    assert_eq!(table(&step, "fact_order_items"), (0, 0, 0));
    let whole = of(&[&ids[0]]);
    assert_eq!(table(&whole, "dim_customer"), (0, 0, 1));
    assert_eq!(table(&whole, "fact_order_items"), (0, 1, 0));
    let back = of(&["latest", "latest~2"]);
    assert_eq!(table(&back, "fact_order_items"), (1, 0, 0));
    let back = serde_json::json!({ "diff": back["tables"] });
    assert_eq!(
        diff_of(&back, "dim_customer")["examples"][0]["changes"][0]["new"],
        "Ada \"The Countess\" Abel"
    );
    // The same as what the night itself has shown.
    let night = project.starmill(&["runs", SHOP, "last", "--format", "json"]).exits(0).json();
    assert_eq!(night["diff"], of(&["latest~1"])["tables"]);
    let today = &ids[2][..8];
    let date = format!("{}-{}-{}", &today[..4], &today[4..6], &today[6..8]);
    assert_eq!(of(&["latest~1", &date])["to"], ids[2].as_str());
    assert!(project.starmill(&["diff", SHOP, "latest", &date]).exits(0).stdout.contains("Nothing differs."));
    project.starmill(&["diff", SHOP, "latest~1", "--exit-code"]).exits(10);
    project.starmill(&["diff", SHOP, "latest", "--exit-code"]).exits(0);
    for (reference, help) in [
        ("latest~3", "latest~2 is the oldest that is kept"),
        ("2020-01-01", "the oldest snapshot that is kept is"),
        ("yesterday", "name it by an id or its beginning, latest, latest~1, a date"),
        ("2", "3 snapshots begin so"),
        ("../../etc", "name it by"),
    ] {
        let refused = project.starmill(&["diff", SHOP, reference]).exits(2);
        refused.warns(&format!("has no one snapshot `{reference}`")).warns(help);
    }
}

#[test]
fn a_rollback_shows_what_readers_and_the_target_get_and_nothing_else_moves() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    project.night();
    let first = project.latest().unwrap();
    source.sql("UPDATE customers SET full_name = 'Eve' WHERE customer_id = 1; INSERT INTO customers VALUES (2000, 'New', NULL)");
    project.night();
    let second = project.latest().unwrap();
    let names = "SELECT full_name FROM mart.dim_customer WHERE customer_id IN (1, 2000) ORDER BY 1";
    assert_eq!(source.sql(names), "Eve\nNew");

    let unasked = project.starmill(&["snapshots", "rollback", SHOP]).exits(2);
    let unasked =
        unasked.says("Readers will see:").says("full_name: Eve → Ada").says("The same goes into schema mart");
    unasked.warns("nobody is there to confirm it").warns("--yes");
    assert_eq!(project.latest(), Some(second.clone()));

    let done = project.starmill(&["snapshots", "rollback", SHOP, &first, "--yes"]).exits(0);
    done.says(&format!("Published: {first} (was {second})")).says("Delivered into schema mart");
    assert_eq!(project.latest(), Some(first.clone()));
    assert!(project.path("out/shop/latest").read_link().unwrap().ends_with(&first));
    assert_eq!(source.sql(names), "Ada \"The Countess\" Abel");
    project.starmill(&["deliver", SHOP, "--verify"]).exits(0);
    project
        .starmill(&["snapshots", "rollback", SHOP, &first, "--yes"])
        .exits(2)
        .warns("is the published snapshot already");

    // The next night compares with what is published, and gives nobody another's key.
    let third = project.night();
    assert_eq!(third["since"], first.as_str());
    assert_eq!(counts(&third, "dim_customer"), (1, 0, 1));
    let key = "SELECT customer_key FROM mart.dim_customer WHERE customer_id = 2000";
    assert_eq!(source.sql(key), "1001");
    source.sql("INSERT INTO customers VALUES (2001, 'Newer', NULL)");
    project.night();
    assert_eq!(source.sql("SELECT customer_key FROM mart.dim_customer WHERE customer_id = 2001"), "1002");
}

#[test]
fn a_rollback_is_all_or_nothing_and_its_delivery_may_be_pending() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    project.night();
    let first = project.latest().unwrap();
    source.sql("UPDATE customers SET full_name = 'Eve' WHERE customer_id = 1");
    project.night();
    let second = project.latest().unwrap();
    let args = ["snapshots", "rollback", SHOP, "--yes"];
    project.starmill_with_fault(&args, "publish.commit-file=kill");
    assert_eq!(project.latest(), Some(second.clone()));
    project.starmill_with_fault(&args, "publish.commit-file=full").exits(8).warns("free space there");
    assert_eq!(project.latest(), Some(second.clone()));
    project.starmill_with_fault(&args, "publish.committed=kill");
    assert_eq!(project.latest(), Some(first.clone()));
    project.starmill(&["snapshots", "rollback", SHOP, &second, "--yes"]).exits(0);
    project.starmill_with_fault(&args, "load.merged=fail").exits(11).warns("the target does not have it");
    assert_eq!(project.latest(), Some(first));
    // What is pending is delivered before the next night begins.
    let night = project.starmill(&["run", SHOP]).exits(0);
    night.says("Before this night, what was pending:");
    // A damaged snapshot is not published again.
    let file = project.data_file("out/shop", &second, "dim_carrier");
    let mut bytes = std::fs::read(project.path(&file)).unwrap();
    bytes[100] ^= 1;
    std::fs::write(project.path(&file), bytes).unwrap();
    let refused = project.starmill(&["snapshots", "rollback", SHOP, &second, "--yes"]).exits(8);
    refused.warns(&format!("{file} is damaged")).warns("choose another snapshot");
}

#[test]
fn a_flipped_bit_is_named() {
    let project = Project::shop();
    let ids = three_nights(&project);
    project.starmill(&["snapshots", "verify", SHOP]).exits(0).says("every byte is as it was published");
    let flip = |relative: &str| {
        let mut bytes = std::fs::read(project.path(relative)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(project.path(relative), bytes).unwrap();
    };
    let file = project.data_file("out/shop", &ids[1], "order_summary");
    flip(&file);
    let found = project.starmill(&["snapshots", "verify", SHOP]).exits(8);
    found.says("1 damaged").says(&file).warns("the store is damaged");
    project.starmill(&["snapshots", "verify", SHOP, "latest", "latest~2"]).exits(0);
    flip(&file);
    // A digit of the proof itself, a file that is gone, one that is cut, one of the registry.
    let manifest = format!("out/shop/snapshots/{}/manifest.json", ids[2]);
    project.edit(&manifest, "2580", "2581");
    std::fs::remove_file(project.path(&project.data_file("out/shop", &ids[0], "dim_date"))).unwrap();
    let cut = project.data_file("out/shop", &ids[0], "dim_product");
    let bytes = std::fs::read(project.path(&cut)).unwrap();
    std::fs::write(project.path(&cut), &bytes[..bytes.len() - 1]).unwrap();
    flip(&format!("out/shop/keys/dim_customer/{}.parquet", ids[0]));
    let json = project.starmill(&["snapshots", "verify", SHOP, "--format", "json"]).exits(8).json();
    let damaged: Vec<String> = json["damaged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(damaged.len(), 4, "{damaged:#?}");
    for part in [&manifest, "dim_date", "dim_product", "keys/dim_customer"] {
        assert!(damaged.iter().any(|path| path.contains(part)), "{part}: {damaged:#?}");
    }
}

#[test]
fn pruning_shows_its_plan_and_never_takes_what_is_published_or_still_read() {
    let project = Project::shop();
    let ids = three_nights(&project);
    let plan =
        project.starmill(&["snapshots", "prune", SHOP, "--keep", "1", "--grace", "0s", "--dry-run"]).exits(0);
    plan.says("these snapshots go, 1 stay").says(&ids[0]).says(&ids[1]).says("Nothing was removed");
    assert_eq!(project.entries("out/shop/snapshots").len(), 3);
    let waiting = project.starmill(&["snapshots", "prune", SHOP, "--keep", "1"]).exits(0);
    waiting.says("no snapshot goes, 3 stay").says("Kept a while longer, for readers");
    project.starmill(&["snapshots", "prune", SHOP, "--keep", "0"]).exits(2).warns("keep 1 or more");
    project.starmill(&["snapshots", "prune", SHOP, "latest"]).exits(2).warns("is the published snapshot");
    project.starmill(&["snapshots", "prune", SHOP, &ids[0]]).exits(2).warns("--grace 0s");
    project.starmill(&["snapshots", "prune", SHOP, "--older-than", "soon"]).exits(2);
    let old =
        project.starmill(&["snapshots", "prune", SHOP, "--older-than", "30d", "--grace", "0s"]).exits(0);
    old.says("no snapshot goes, 3 stay");
    // The published one is the oldest: what is older than nothing is all but that.
    project.starmill(&["snapshots", "rollback", SHOP, &ids[0], "--yes"]).exits(0);
    let pruned = project.starmill(&["snapshots", "prune", SHOP, &ids[1], "--grace", "0s"]).exits(0);
    pruned.says("Removed 1.");
    let pruned = project.starmill(&[
        "snapshots",
        "prune",
        SHOP,
        "--older-than",
        "0s",
        "--grace",
        "0s",
        "--format",
        "json",
    ]);
    let pruned = pruned.exits(0).json();
    assert_eq!((&pruned["done"], &pruned["keep"]), (&true.into(), &1.into()));
    assert_eq!(project.entries("out/shop/snapshots"), [ids[0].clone()]);
    project.starmill(&["snapshots", "verify", SHOP]).exits(0);
    // The registry outlives them all.
    project.night();
    project.starmill(&["snapshots", "verify", SHOP]).exits(0);
}

#[test]
fn a_run_leaves_readers_their_time_before_it_prunes() {
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 1\ngrace = \"2s\"");
    project.night();
    project.night();
    assert_eq!(project.entries("out/shop/snapshots").len(), 2, "the first was superseded just now");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    project.night();
    assert_eq!(project.entries("out/shop/snapshots").len(), 2, "now it went, and the second has its time");
}

#[test]
fn the_target_is_held_against_what_is_published_row_by_row_and_mended() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    project.night();
    let held = project.starmill(&["deliver", SHOP, "--verify"]).exits(0);
    held.says("ok  fact_order_items        0        0        0");
    source.sql(
        "UPDATE mart.fact_order_items SET line_total = line_total + 0.01 WHERE item_id = 7; \
         DELETE FROM mart.order_summary WHERE order_id = 5; \
         DROP TABLE mart.dim_carrier",
    );
    let snapshot = "SELECT string_agg(relname || ':' || relfilenode, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'mart'::regnamespace";
    let before = source.sql(snapshot);
    let json = project.starmill(&["deliver", SHOP, "--verify", "--format", "json"]).exits(8).json();
    let of = |name: &str| {
        let tables = json["tables"].as_array().unwrap();
        let line = tables.iter().find(|line| line["table"] == name).unwrap();
        ["missing", "surplus", "changed"].map(|what| line[what].as_u64().unwrap())
    };
    assert_eq!(
        (of("fact_order_items"), of("order_summary"), of("dim_carrier")),
        ([0, 0, 1], [1, 0, 0], [6, 0, 0])
    );
    assert_eq!(of("daily_sales"), [0, 0, 0]);
    assert_eq!(source.sql(snapshot), before, "nothing was changed there");
    let told = project.starmill(&["deliver", SHOP, "--verify"]).exits(8);
    told.says("DIFFERS").warns("does not hold the published snapshot").warns("starmill deliver");
    project.starmill(&["deliver", SHOP]).exits(0);
    project.starmill(&["deliver", SHOP, "--verify"]).exits(0);
    assert_eq!(source.sql("SELECT count(*) FROM mart.dim_carrier"), "6");
}

#[test]
fn after_a_pending_delivery_the_next_run_delivers_it_first_even_if_its_own_night_is_refused() {
    let source = cluster().shop();
    let target = cluster().database();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &target.url());
    project.starmill_with_fault(&["run", SHOP], "load.merged=fail").exits(11);
    let owed = project.latest().unwrap();
    // A grain that doubles rows: the audit refuses this night.
    project.double_items();
    let refused = project.starmill(&["run", SHOP]).exits(7);
    refused.says("Before this night, what was pending:");
    assert_eq!(target.sql("SELECT snapshot FROM mart.starmill_delivery"), owed);
    let again = project.starmill(&["run", SHOP, "--format", "json"]).exits(7).json();
    assert_eq!(again["pending_delivery"], serde_json::Value::Null, "and only once");
    // A target that is still down is told, and holds up nothing.
    project.single_items();
    project.starmill_with_fault(&["run", SHOP], "load.merged=fail").exits(11);
    let still = project.starmill_with_fault(&["run", SHOP], "load.start=fail").exits(11);
    still.says("is still not delivered");
}

#[test]
fn runs_are_listed_with_outcome_and_reason_and_shown_again_whole() {
    let project = Project::shop();
    project.starmill(&["runs", SHOP]).exits(0).says("shop has no runs yet");
    let first = project.starmill(&["run", SHOP]).exits(0).stdout;
    project.edit("sql/shop/order_summary.sql", "SELECT", "SELECTT");
    project.starmill(&["run", SHOP]).exits(3);
    project.edit("sql/shop/order_summary.sql", "SELECTT", "SELECT");
    project.starmill_with_fault(&["run", SHOP], "publish.synced=full").exits(8);
    let listed = project.starmill(&["runs", SHOP]).exits(0);
    let listed =
        listed.says("1 mistake in pipelines/shop.toml").says("cannot publish into").says("published");
    let lines: Vec<&str> = listed.stdout.lines().filter(|line| line.contains("UTC")).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("no storage space"), "{}", lines[0]);
    let runs = project.starmill(&["runs", SHOP, "--format", "json"]).exits(0).json();
    let codes: Vec<u64> =
        runs["runs"].as_array().unwrap().iter().map(|run| run["exit_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [8, 3, 0]);
    let id = runs["runs"][2]["run"].as_str().unwrap();
    assert_eq!(project.starmill(&["runs", SHOP, id]).exits(0).stdout, first, "as it was printed that night");
    project
        .starmill(&["runs", SHOP, "last"])
        .exits(0)
        .says("error: cannot publish into")
        .says("help: free space there");
    project.starmill(&["runs", SHOP, "2019"]).exits(2).warns("`starmill runs` lists them");
    project.starmill(&["runs", SHOP, "--limit", "1"]).exits(0).says("2 older: --limit 3");
    // Ids sort as their runs began, within one second too.
    let ids: Vec<&str> =
        runs["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "{ids:?}");
}

#[test]
fn broken_models_stand_in_nobodys_way_when_a_star_is_operated() {
    let project = Project::shop();
    three_nights(&project);
    project.edit("sql/shop/order_summary.sql", "SELECT", "SELECTT");
    project.edit("pipelines/shop.toml", "key = [\"customer_id\"]", "kee = [\"customer_id\"]");
    project.edit("pipelines/shop.toml", "${SHOP_SOURCE:-data/shop}", "${NOT_SET_ANYWHERE}");
    project.starmill(&["run", SHOP]).exits(3);
    for args in [
        &["snapshots", "list", SHOP] as &[&str],
        &["snapshots", "rollback", SHOP, "--yes"],
        &["snapshots", "verify", SHOP],
        &["diff", SHOP, "latest", "latest~1"],
        &["runs", SHOP],
        &["query", SHOP, "SELECT count(*) FROM order_summary"],
        &["schedule", "--list", SHOP],
    ] {
        project.starmill(args).exits(0);
    }
    // What is read of the file must still be right.
    project.edit("pipelines/shop.toml", "keep = 14", "keep = 14\nkeeep = 1");
    project.starmill(&["snapshots", "list", SHOP]).exits(3).warns("unknown key `keeep` in [store]");
}

#[test]
fn a_store_that_another_run_writes_is_not_rolled_back_or_pruned() {
    let project = Project::shop();
    three_nights(&project);
    let pause = project.path("paused");
    let run = project.start(&["run", SHOP], Some(&format!("audit.done=pause:{}", pause.display())));
    wait_until("the run to hold the lock", || pause.exists());
    project.starmill(&["snapshots", "rollback", SHOP, "--yes"]).exits(9).warns("another run holds the store");
    project.starmill(&["snapshots", "prune", SHOP, "--keep", "1"]).exits(9);
    project.starmill(&["snapshots", "verify", SHOP]).exits(0);
    project.starmill(&["query", SHOP, "SELECT 1"]).exits(0);
    std::fs::remove_file(&pause).unwrap();
    crate::support::Ran::of(run).exits(0);
}

#[test]
fn a_damaged_snapshot_is_seen_left_and_pruned() {
    let project = Project::shop();
    let ids = three_nights(&project);
    // The published one is damaged: no night with other rows can compare with it, but a rollback leaves it.
    std::fs::remove_file(project.path(&project.data_file("out/shop", &ids[2], "fact_order_items"))).unwrap();
    let items = project.read("data/shop/order_items.csv");
    project.write(
        "data/shop/order_items.csv",
        &(items.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n"),
    );
    project.starmill(&["run", SHOP]).exits(8).warns("starmill snapshots rollback");
    // A damaged registry forbids nothing that doesn't touch it.
    let registry = project.path(&format!("out/shop/keys/dim_customer/{}.parquet", ids[0]));
    let good = std::fs::read(&registry).unwrap();
    let mut bad = good.clone();
    bad[50] ^= 1;
    std::fs::write(&registry, &bad).unwrap();
    let done = project.starmill(&["snapshots", "rollback", SHOP, "latest~1", "--yes"]).exits(0);
    done.says("What readers will see change cannot be told: ").says(&format!("Published: {}", ids[1]));
    std::fs::write(&registry, &good).unwrap();
    project.starmill(&["run", SHOP]).exits(0);
    // One whose proof cannot be read is listed, and goes when it is named, once, however often.
    project.write(&format!("out/shop/snapshots/{}/manifest.json", ids[0]), "{");
    project.starmill(&["snapshots", "list", SHOP]).exits(0).says("DAMAGED").says(&ids[1]);
    let pruned =
        project.starmill(&["snapshots", "prune", SHOP, &ids[0], &ids[0], &ids[2], "--grace", "0s"]).exits(0);
    pruned.says("Removed 2.");
    project.starmill(&["snapshots", "verify", SHOP]).exits(0);
}

#[test]
fn a_damaged_registry_gives_no_keys() {
    let project = Project::shop();
    let ids = three_nights(&project);
    let registry = project.path(&format!("out/shop/keys/dim_product/{}.parquet", ids[0]));
    let good = std::fs::read(&registry).unwrap();
    for at in [10, good.len() / 2, good.len() - 20] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&registry, &bad).unwrap();
        let refused = project.starmill(&["run", SHOP]).exits(8);
        refused.warns("the registry is damaged: ").warns("restore the file from a backup");
    }
    std::fs::write(&registry, &good).unwrap();
    project.starmill(&["run", SHOP]).exits(0);
}

#[test]
fn a_lost_commit_point_is_told_as_lost_not_as_nothing() {
    let project = Project::shop();
    three_nights(&project);
    std::fs::remove_file(project.path("out/shop/latest.json")).unwrap();
    for args in [
        &["snapshots", "list", SHOP] as &[&str],
        &["snapshots", "verify", SHOP],
        &["query", SHOP, "SELECT 1"],
    ] {
        project.starmill(args).exits(8).warns("its latest.json is gone");
    }
}

#[test]
fn by_itself_a_rollback_goes_to_what_the_published_one_was_compared_with() {
    let project = Project::shop();
    let ids = three_nights(&project);
    // The third is bad and left; the fourth is compared with the second, and goes back to it.
    project
        .starmill(&["snapshots", "rollback", SHOP, "--yes"])
        .exits(0)
        .says(&format!("Published: {}", ids[1]));
    project.night();
    project
        .starmill(&["snapshots", "rollback", SHOP, "--yes"])
        .exits(0)
        .says(&format!("Published: {}", ids[1]));
}

#[test]
fn a_rollback_may_be_held_until_somebody_releases_it() {
    let project = Project::shop();
    project.night();
    project.edit("data/shop/order_items.csv", "\n1,1,", "\n1,2000,");
    project.night();
    let ids: Vec<String> = snapshots(&project);
    project
        .starmill(&["snapshots", "release", SHOP])
        .exits(2)
        .warns("nobody keeps this pipeline from publishing");
    let held = project.starmill(&["snapshots", "rollback", SHOP, "--yes", "--hold", "wrong prices"]).exits(0);
    held.says("until `starmill snapshots release`").says(": wrong prices");
    let told = project.path("told.txt");
    project.edit(
        SHOP,
        "[store]",
        &format!("[notify]\ncommand = [\"sh\", \"-c\", \"cat >> {}\"]\n[store]", told.display()),
    );
    let run = project.starmill(&["run", SHOP]).exits(12);
    run.warns(": wrong prices")
        .warns("starmill snapshots release")
        .says("HELD, nothing published")
        .says("Changes since");
    assert!(std::fs::read_to_string(&told).unwrap().contains("wrong prices"), "people are told");
    assert_eq!(project.latest().unwrap(), ids[0]);
    // So it is through another rollback, a prune and a dry run.
    let again = project.starmill(&["snapshots", "rollback", SHOP, &ids[1], "--yes"]).exits(0);
    again.says("until `starmill snapshots release`");
    project.starmill(&["snapshots", "prune", SHOP, "--keep", "5"]).exits(0);
    project.starmill(&["run", SHOP, "--dry-run"]).exits(0);
    project.starmill(&["run", SHOP]).exits(12);
    project.starmill(&["snapshots", "list", SHOP]).exits(0).says("Held since").says(": wrong prices");
    project.starmill(&["snapshots", "release", SHOP]).exits(0).says("the next run publishes over it");
    project.starmill(&["run", SHOP]).exits(0);
    assert_eq!(snapshots(&project).len(), 3);
    let runs = project.starmill(&["runs", SHOP]).exits(0);
    runs.says("released").says("held").says("rolled back");
}

fn snapshots(project: &Project) -> Vec<String> {
    let list = project.starmill(&["snapshots", "list", SHOP, "--format", "json"]).exits(0).json();
    list["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["snapshot"].as_str().unwrap().to_owned())
        .collect()
}
