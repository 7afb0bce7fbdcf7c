//! Nothing is lost, nothing of anybody else's is touched, and no damaged byte travels.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Project, Ran, cluster, rounds};

/// Keys and a lookup alone: no total would notice a table that is read as empty.
const KEYS: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"${STORE:-out}\"\n\
    [dimension.dim_a]\nkey = [\"id\"]\nsurrogate = \"a_key\"\n\
    [fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nlookups.a_key = { dimension = \"dim_a\", on = { id = \"a\" } }\n";

fn keys() -> Project {
    let models = [("dim_a", "SELECT id, name FROM a"), ("f", "SELECT id, a FROM t")];
    let schema =
        "CREATE TABLE a (id int PRIMARY KEY, name text); CREATE TABLE t (id int PRIMARY KEY, a int);";
    let tables = [("a", "id,name\n10,Ann\n20,Ben\n"), ("t", "id,a\n1,10\n2,20\n3,10\n")];
    Project::of(KEYS, &models, schema, &tables)
}

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];

#[test]
fn a_store_is_read_whatever_its_path_is_spelled_like() {
    for name in ["out [1]", "what?", "a*b", "50%41", "new\nline", "Müller Ordner", "a#b", "c:|d", "quo'te\"s"]
    {
        let mut project = keys();
        project.set("STORE", name);
        project.starmill(&RUN).exits(0);
        project.write("data/a.csv", "id,name\n5,Eve\n10,Ann\n20,Ben\n");
        let report = project.starmill(&["run", "pipelines/p.toml", "--format", "json"]).exits(0).json();
        let found = |control: &serde_json::Value| control["name"] == "a_key not found in dim_a";
        let line = report["controls"].as_array().unwrap().iter().find(|line| found(line)).unwrap().clone();
        assert_eq!(line["verdict"], "passed", "{name}: {report:#}");
        let rows =
            project.starmill(&["query", "pipelines/p.toml", "SELECT id, a_key FROM dim_a ORDER BY a_key"]);
        let rows = rows.exits(0).stdout.replace(' ', "");
        assert!(
            rows.contains("10|1\n") && rows.contains("20|2\n") && rows.contains("5|3\n"),
            "{name}: {rows}"
        );
    }
}

#[test]
fn a_fact_that_finds_no_member_at_all_is_refused() {
    let project = keys();
    project.write("data/t.csv", "id,a\n1,11\n2,21\n3,11\n");
    project
        .starmill(&RUN)
        .exits(7)
        .says("FAILED  f        a_key not found in dim_a")
        .says("a=11, rows=2")
        .says("unknown_max = \"100%\"");
    project.edit("pipelines/p.toml", "on = { id = \"a\" }", "on = { id = \"a\" }, unknown_max = \"100%\"");
    project.starmill(&RUN).exits(0).says("note  f        a_key not found in dim_a");
}

#[test]
fn keys_that_are_null_and_keys_that_are_nowhere_are_two_numbers_and_may_be_bounded() {
    let project = keys();
    project.write("data/t.csv", "id,a\n1,10\n2,\n3,99\n4,99\n5,98\n6,20\n");
    project
        .starmill(&RUN)
        .exits(0)
        .says("note  f        a_key unknown: a is NULL")
        .says("id=2")
        .says("note  f        a_key not found in dim_a")
        .says("a=99, rows=2");
    for (bound, code) in [("3", 0), ("2", 7), ("0", 7), ("\"50%\"", 0), ("\"49.99%\"", 7)] {
        let project = keys();
        project.write("data/t.csv", "id,a\n1,10\n2,\n3,99\n4,99\n5,98\n6,20\n");
        let bounded = format!("on = {{ id = \"a\" }}, unknown_max = {bound}");
        project.edit("pipelines/p.toml", "on = { id = \"a\" }", &bounded);
        project.starmill(&RUN).exits(code);
    }
    let project = keys();
    project.edit("pipelines/p.toml", "on = { id = \"a\" }", "on = { id = \"a\" }, unknown_max = \"many\"");
    project.starmill(&RUN).exits(3).warns("`unknown_max` cannot be `many`").warns("\"0.5%\"");
}

#[test]
fn a_store_that_is_gone_is_not_begun_anew() {
    let project = keys();
    project.starmill(&RUN).exits(0).says("First run");
    std::fs::rename(project.path("out"), project.path("elsewhere")).unwrap();
    project.starmill(&RUN).exits(8).warns("is gone").warns("--new-store");
    project.starmill(&["run", "--dry-run", "pipelines/p.toml"]).exits(8).warns("is gone");
    assert!(!project.path("out").exists(), "nothing is made where a disk should be mounted");
    std::fs::create_dir(project.path("out")).unwrap();
    project.starmill(&RUN).exits(8).warns("is gone");
    std::fs::remove_dir_all(project.path("out")).unwrap();
    std::fs::rename(project.path("elsewhere"), project.path("out")).unwrap();
    project.starmill(&RUN).exits(0).says("Nothing changed");
    std::fs::remove_dir_all(project.path("out")).unwrap();
    project.starmill(&["run", "--new-store", "pipelines/p.toml"]).exits(0).says("First run");
    project.starmill(&RUN).exits(0);
}

#[test]
fn a_project_that_cannot_be_written_is_remembered_in_the_users_state() {
    let mut project = keys();
    let home = tempfile::tempdir().unwrap();
    project.set("XDG_STATE_HOME", home.path().to_str().unwrap());
    // A file where the memory's folder would be, which stops root too.
    project.write(".starmill", "");
    project.starmill(&RUN).exits(0);
    assert!(home.path().join("starmill/stores").is_dir());
    std::fs::remove_dir_all(project.path("out")).unwrap();
    project.starmill(&RUN).exits(8).warns("is gone");
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

#[test]
fn an_older_backup_gives_no_key_a_second_time_unless_it_is_meant() {
    let database = cluster().database();
    let project = keys();
    let target = format!("[target]\nurl = \"{}\"\nschema = \"mart\"\n[dimension.dim_a]", database.url());
    project.edit("pipelines/p.toml", "[dimension.dim_a]", &target);
    project.starmill(&RUN).exits(0);
    copy(&project.path("out"), &project.path("backup"));
    project.write("data/a.csv", "id,name\n10,Ann\n20,Ben\n30,Cem\n");
    project.starmill(&RUN).exits(0);
    std::fs::remove_dir_all(project.path("out")).unwrap();
    copy(&project.path("backup"), &project.path("out"));
    project.write("data/a.csv", "id,name\n10,Ann\n20,Ben\n25,Dan\n30,Cem\n");
    project.starmill(&RUN).exits(8).warns("is older than it was").warns("--accept-restored");
    // The project is new too, and only the target knows.
    std::fs::remove_dir_all(project.path(".starmill")).unwrap();
    project.starmill(&RUN).exits(8).warns("is older than it was").warns("schema mart holds snapshot");
    project.starmill(&["run", "--accept-restored", "pipelines/p.toml"]).exits(0);
    assert_eq!(
        database.sql("SELECT id, a_key FROM mart.dim_a WHERE id IS NOT NULL ORDER BY id"),
        "10|1\n20|2\n25|4\n30|3"
    );
    project.starmill(&RUN).exits(0).says("Nothing changed");
    // A store that is gone altogether, with no memory beside the project.
    std::fs::remove_dir_all(project.path("out")).unwrap();
    std::fs::remove_dir_all(project.path(".starmill")).unwrap();
    project.starmill(&RUN).exits(8).warns("is gone").warns("schema mart holds snapshot");
}

#[test]
fn a_restored_commit_point_learns_the_keys_of_the_snapshots_that_are_still_there() {
    let project = keys();
    project.starmill(&RUN).exits(0);
    copy(&project.path("out/keys"), &project.path("keys"));
    let latest = project.read("out/latest.json");
    project.write("data/a.csv", "id,name\n10,Ann\n20,Ben\n30,Cem\n");
    project.starmill(&RUN).exits(0);
    std::fs::remove_dir_all(project.path("out/keys")).unwrap();
    copy(&project.path("keys"), &project.path("out/keys"));
    project.write("out/latest.json", &latest);
    project.write("data/a.csv", "id,name\n10,Ann\n20,Ben\n25,Dan\n30,Cem\n");
    project.starmill(&RUN).exits(8).warns("is older than it was");
    let again = ["run", "--accept-restored", "pipelines/p.toml"];
    // One of them that is damaged is named, with how to go on without it.
    let newer = project.entries("out/snapshots").pop().unwrap();
    let file = project.path(&project.data_file("out", &newer, "dim_a"));
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, "half").unwrap();
    let refused = project.starmill(&again).exits(8);
    refused
        .warns(&format!("the snapshot {newer}, which may tell of keys"))
        .warns(&format!("out/snapshots/{newer} out"));
    std::fs::write(&file, good).unwrap();
    project.starmill(&again).exits(0).says("1 keys that the restored store did not know were taken");
    let asked = "SELECT id, a_key FROM dim_a WHERE id IS NOT NULL ORDER BY id";
    let keys = project.starmill(&["query", "pipelines/p.toml", asked, "--format", "csv"]).exits(0);
    assert_eq!(keys.stdout, "id,a_key\n10,1\n20,2\n25,4\n30,3\n");
    project.starmill(&RUN).exits(0).says("Nothing changed");
}

/// Flips one bit in the middle of a published file.
fn damage(project: &Project, pattern: &str) -> String {
    let id: serde_json::Value = serde_json::from_str(&project.read("out/latest.json")).unwrap();
    let file = match pattern {
        "keys" => format!("out/keys/dim_a/{}", project.entries("out/keys/dim_a")[0]),
        table => project.data_file("out", id["snapshot"].as_str().unwrap(), table),
    };
    let mut bytes = std::fs::read(project.path(&file)).unwrap();
    let at = 8;
    bytes[at] ^= 1;
    std::fs::write(project.path(&file), bytes).unwrap();
    file
}

#[test]
fn no_damaged_byte_travels() {
    let database = cluster().database();
    let delivered = || {
        let project = keys();
        let target = format!("[target]\nurl = \"{}\"\nschema = \"mart\"\n[dimension.dim_a]", database.url());
        project.edit("pipelines/p.toml", "[dimension.dim_a]", &target);
        database.sql("DROP SCHEMA IF EXISTS mart CASCADE");
        project.starmill(&RUN).exits(0);
        project
    };
    let named = |ran: Ran, file: &str| {
        let ran = ran.exits(8);
        let shown = format!("{}{}", ran.stdout, ran.stderr);
        assert!(shown.contains(file.trim_start_matches("out/")), "{file} is not named:\n{shown}");
    };
    let project = delivered();
    let file = damage(&project, "f");
    named(project.starmill(&["deliver", "pipelines/p.toml"]), &file);
    named(project.starmill(&["deliver", "--verify", "pipelines/p.toml"]), &file);
    named(project.starmill(&["query", "pipelines/p.toml", "SELECT sum(id) FROM f"]), &file);
    named(project.starmill(&["snapshots", "verify", "pipelines/p.toml"]), &file);
    project.write("data/t.csv", "id,a\n1,10\n2,20\n3,20\n");
    named(project.starmill(&RUN), &file);
    assert_eq!(database.sql("SELECT count(*), sum(id) FROM mart.f"), "3|6");
    let project = delivered();
    let file = damage(&project, "keys");
    named(project.starmill(&RUN), &file);
    // A question that doesn't read the damaged table is answered.
    let project = delivered();
    damage(&project, "f");
    project.starmill(&["query", "pipelines/p.toml", "SELECT count(name) FROM dim_a"]).exits(0);
}

#[test]
fn an_id_that_leads_elsewhere_is_never_followed() {
    let project = keys();
    project.starmill(&RUN).exits(0);
    project.write("precious/manifest.json", "{}");
    let latest = project.read("out/latest.json");
    let id =
        serde_json::from_str::<serde_json::Value>(&latest).unwrap()["snapshot"].as_str().unwrap().to_owned();
    let forged = latest.replacen("\"snapshots\": [", "\"snapshots\": [\n    \"../../precious\",", 1);
    assert_ne!(forged, latest);
    project.write("out/latest.json", &forged);
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"]).exits(8);
    project.starmill(&RUN).exits(8).warns("latest.json");
    assert!(project.path("precious/manifest.json").exists());
    project.write("out/latest.json", &latest);
    let manifest = format!("out/snapshots/{id}/manifest.json");
    let named = format!("\"{id}-0.parquet\"");
    project.edit(&manifest, &named, "\"../../../../precious/manifest.json\"");
    project.starmill(&["query", "pipelines/p.toml", "SELECT 1 AS one"]).exits(8);
}

#[test]
fn what_was_somebody_elses_stays_where_it_is() {
    let database = cluster().database();
    database.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let project = Project::over(&database.url(), "", "SELECT id FROM t");
    project.write("home/.scratch/mine/notes.txt", "precious");
    project.write("home/.scratch/20260101T000000Z-abcd/lock", "");
    project.write("home/.scratch/20260101T000000Z-abcd/notes.txt", "precious");
    std::os::unix::fs::symlink(project.path("home"), project.path("home/.scratch/20260101T000000Z-ffff"))
        .unwrap();
    project.starmill(&["extract", "pipelines/p.toml", "--to", "home/taken"]).exits(0);
    for kept in ["mine/notes.txt", "20260101T000000Z-abcd/notes.txt", "20260101T000000Z-ffff"] {
        assert!(project.path(&format!("home/.scratch/{kept}")).exists(), "{kept}");
    }
    project.starmill(&RUN).exits(0);
    // Folders of a run's name in the store's own place, without what only a run writes; and a link.
    project.write("out/snapshots/20260101T000000Z-abcd/notes.txt", "precious");
    std::os::unix::fs::symlink(project.path("home"), project.path("out/snapshots/20260102T000000Z-abcd"))
        .unwrap();
    project.starmill(&RUN).exits(0);
    assert!(project.path("out/snapshots/20260101T000000Z-abcd/notes.txt").exists());
    assert!(project.path("out/snapshots/20260102T000000Z-abcd").is_symlink());
    assert!(project.path("home/taken").exists());
}

#[test]
fn a_lock_that_was_removed_lets_two_runs_publish_once() {
    let project = keys();
    project.starmill(&RUN).exits(0);
    let waiting = project.path("waiting");
    let fault = format!("publish.commit-file=pause:{}", waiting.display());
    project.write("data/a.csv", "id,name\n10,Ann\n20,Ben\n30,Cem\n");
    let slow = project.start(&RUN, Some(&fault));
    crate::support::wait_until("the run is about to commit", || waiting.exists());
    std::fs::remove_file(project.path("out/.lock")).unwrap();
    project.starmill(&RUN).exits(0);
    let published = project.read("out/latest.json");
    std::fs::remove_file(&waiting).unwrap();
    Ran::of(slow).exits(8).warns(".lock was removed or replaced");
    assert_eq!(project.read("out/latest.json"), published);
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn what_is_written_outside_the_store_is_its_owners_alone() {
    let database = cluster().database();
    database.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)");
    let mut project = Project::over(&database.url(), "", "SELECT id FROM t");
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
    project.set("TMPDIR", temporary.path().to_str().unwrap());
    let waiting = project.path("waiting");
    let fault = format!("audit.done=pause:{}", waiting.display());
    let run = project.start(&["run", "--dry-run", "pipelines/p.toml"], Some(&fault));
    crate::support::wait_until("the dry run is at work", || waiting.exists());
    let made: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let mode = made[0].metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "{made:?}");
    let name = made[0].file_name().into_string().unwrap();
    assert!(name.starts_with("starmill-") && name.len() > 40, "{name} can be foreseen");
    std::fs::remove_file(&waiting).unwrap();
    Ran::of(run).exits(0);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_registry_of_many_nights_stays_in_few_files_and_gives_what_it_gave() {
    let mut project = keys();
    project.edit("pipelines/p.toml", "[store]", "[store]\nkeep = 2\ngrace = \"0s\"\nkeep_runs = \"20d\"");
    let mut rows = "id,name\n".to_owned();
    // Ten years in the long form.
    let nights = rounds(40);
    let mut seconds = Vec::new();
    for night in 0..nights {
        rows.push_str(&format!("{},member {night}\n", 100_000 - night));
        project.write("data/a.csv", &rows);
        project.write("data/t.csv", &format!("id,a\n1,{}\n", 100_000 - night));
        let at = chrono::NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + chrono::Days::new(night as u64);
        project.set("STARMILL_CLOCK", &format!("{at}T03:00:00Z*1"));
        let began = std::time::Instant::now();
        project.starmill(&RUN).exits(0);
        seconds.push(began.elapsed().as_secs_f64());
    }
    assert!(project.entries("out/keys/dim_a").len() <= 33, "{:?}", project.entries("out/keys/dim_a"));
    assert!(project.entries("out/runs").len() <= 21, "{:?}", project.entries("out/runs"));
    assert!(project.read("out/latest.json").len() < 8_192, "{}", project.read("out/latest.json"));
    let of_hundred = |seconds: &[f64]| seconds.iter().take(100).sum::<f64>() / seconds.len().min(100) as f64;
    let last = &seconds[seconds.len().saturating_sub(100)..];
    eprintln!(
        "{nights} nights: {:.3} s a night at first, {:.3} s at last",
        of_hundred(&seconds),
        of_hundred(last)
    );
    let given = project
        .starmill(&[
            "query",
            "pipelines/p.toml",
            "SELECT count(*) AS n FROM dim_a WHERE a_key = 100001 - id",
            "--format",
            "csv",
        ])
        .exits(0);
    assert_eq!(given.stdout.lines().last(), Some(nights.to_string().as_str()));
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_store_has_one_name_however_its_path_is_written() {
    let mut project = keys();
    std::fs::create_dir(project.path("real")).unwrap();
    std::os::unix::fs::symlink("real", project.path("link")).unwrap();
    project.set("STORE", "link");
    project.starmill(&RUN).exits(0);
    std::fs::remove_dir_all(project.path("real")).unwrap();
    std::fs::create_dir(project.path("real")).unwrap();
    for path in ["real", "./link/", "x/../real", project.path("real").to_str().unwrap()] {
        project.set("STORE", path);
        project.starmill(&RUN).exits(8).warns("is gone");
    }
}

#[test]
fn a_manifest_that_was_changed_is_not_believed() {
    let project = keys();
    project.starmill(&RUN).exits(0);
    let first: serde_json::Value = serde_json::from_str(&project.read("out/latest.json")).unwrap();
    project.write("data/a.csv", "id,name\n10,Ann\n20,Ben\n30,Cem\n");
    project.starmill(&RUN).exits(0);
    let second: serde_json::Value = serde_json::from_str(&project.read("out/latest.json")).unwrap();
    let folder = |latest: &serde_json::Value| {
        project.path(&format!("out/snapshots/{}", latest["snapshot"].as_str().unwrap()))
    };
    std::fs::remove_dir_all(folder(&second)).unwrap();
    copy(&folder(&first), &folder(&second));
    for args in [
        vec!["query", "pipelines/p.toml", "SELECT 1 AS one"],
        vec!["diff", "pipelines/p.toml", "latest~1"],
        RUN.to_vec(),
    ] {
        project.starmill(&args).exits(8).warns("manifest.json is damaged");
    }
}

#[test]
fn a_file_that_nobody_published_is_found_and_a_store_without_a_folder_is_none() {
    let project = Project::shop();
    project.night();
    let id = project.latest().unwrap();
    project.write(&format!("out/shop/snapshots/{id}/dim_customer/part-7.parquet"), "somebody's");
    let verified = project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(8);
    verified.says("part-7.parquet").says("nobody published it");
    std::fs::remove_file(project.path(&format!("out/shop/snapshots/{id}/dim_customer/part-7.parquet")))
        .unwrap();
    project.write(&format!("out/shop/snapshots/{id}/extra.txt"), "somebody's");
    project.write("out/shop/keys/dim_customer/more.parquet", "somebody's");
    let verified = project.starmill(&["snapshots", "verify", "pipelines/shop.toml"]).exits(8);
    verified.says("extra.txt").says("more.parquet");
    std::fs::remove_file(project.path(&format!("out/shop/snapshots/{id}/extra.txt"))).unwrap();
    std::fs::remove_file(project.path("out/shop/keys/dim_customer/more.parquet")).unwrap();
    // What runs report may hold rows, which are for their owner; a star is for everybody.
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(project.path(path)).unwrap().permissions().mode() & 0o077
    };
    assert_eq!(mode(&format!("out/shop/runs/{id}.json")), 0);
    assert_ne!(mode("out/shop/latest.json"), 0);
    // A file that was put aside for a link is not the one that was published.
    let id = project.latest().unwrap();
    let part = project.path(&project.data_file("out/shop", &id, "dim_customer"));
    std::fs::rename(&part, project.path("elsewhere.parquet")).unwrap();
    std::os::unix::fs::symlink(project.path("elsewhere.parquet"), &part).unwrap();
    project
        .starmill(&["snapshots", "verify", "pipelines/shop.toml"])
        .exits(8)
        .says("a link stands in its place");
    // A store that was there and is gone is no empty one, for those who read it either.
    std::fs::rename(project.path("out/shop"), project.path("out/away")).unwrap();
    for args in [vec!["snapshots", "list"], vec!["runs"], vec!["snapshots", "verify"]] {
        let args: Vec<&str> = args.into_iter().chain(["pipelines/shop.toml"]).collect();
        project.starmill(&args).exits(8).warns("is gone");
    }
    let mut project = Project::shop();
    project.set("SHOP_STORE", "");
    project.edit("pipelines/shop.toml", "${SHOP_STORE:-out/shop}", "${SHOP_STORE}");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(3).warns("a store needs a folder of its own");
    assert!(!project.path("latest.json").exists());
    // Also a dry run knows that there was a first one.
    let project = Project::shop();
    project.night();
    std::fs::remove_file(project.path("out/shop/latest.json")).unwrap();
    project.starmill(&["run", "--dry-run", "pipelines/shop.toml"]).exits(8).warns("latest.json");
}
