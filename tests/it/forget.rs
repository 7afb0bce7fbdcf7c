//! Somebody is forgotten: in every snapshot that is kept, in the registry, in examples, in the lake and in the target.

use serde_json::Value;

use crate::support::{Bucket, Project, cluster, delta, lake, peer};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const TOML: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\ngrace = \"0s\"\nfile_size = \"64kB\"\nlake = true\ndelta = true\n\
    [dimension.dim_user]\nkey = [\"email\"]\nsurrogate = \"user_key\"\nfirst_seen = [\"city\"]\n\
    [fact.f]\nkey = [\"id\"]\ngrain = \"orders\"\nmeasures = [\"amount\"]\nlookups.user_key = { dimension = \"dim_user\", on = { email = \"email\" } }\n\
    [summary.points]\nkey = [\"email\", \"day\"]\n";
const MODELS: [(&str, &str); 3] = [
    ("dim_user", "SELECT email, name, city FROM users"),
    ("f", "SELECT o.id, o.amount, o.email, o.day FROM orders AS o"),
    ("points", "SELECT email, day, sum(amount) AS amount FROM orders GROUP BY email, day"),
];
const SCHEMA: &str = "CREATE TABLE users (email text PRIMARY KEY, name text, city text); \
    CREATE TABLE orders (id int PRIMARY KEY, email text, amount numeric(12,2), day date);";

fn users(city: &str) -> String {
    let many = (0..3_000).map(|n| format!("user{n}@x.org,User {n},City {n}\n"));
    format!("email,name,city\nann@x.org,Ann Secret,{city}\n{}", many.collect::<String>())
}

fn orders(more: u32) -> String {
    let many = (10..4_000 + more)
        .map(|n| format!("{n},user{}@x.org,{}.25,2024-01-{:02}\n", n % 3_000, n % 90, 1 + n % 28));
    format!(
        "id,email,amount,day\n1,ann@x.org,10.50,2024-01-05\n2,ann@x.org,5.25,2024-02-05\n{}",
        many.collect::<String>()
    )
}

fn nights(project: &Project) {
    project.starmill(&RUN).exits(0);
    project.write("data/users.csv", &users("Bonn"));
    project.write("data/orders.csv", &orders(10));
    project.starmill(&RUN).exits(0);
    // One that is refused tells of examples.
    project.write("sql/p/dim_user.sql", "SELECT email, name, city FROM users UNION ALL SELECT email, name, city FROM users WHERE email = 'ann@x.org'");
    project.starmill(&RUN).exits(7).says("email=ann@x.org");
    project.write("sql/p/dim_user.sql", MODELS[0].1);
    project.write("data/orders.csv", &orders(20));
    project.starmill(&RUN).exits(0);
}

fn project() -> Project {
    Project::of(TOML, &MODELS, SCHEMA, &[("users", &users("Berlin")), ("orders", &orders(0))])
}

fn asked(project: &Project, sql: &str, at: &str) -> String {
    let ran = project.starmill(&["query", "pipelines/p.toml", sql, "--at", at, "--format", "csv"]).exits(0);
    ran.stdout.lines().nth(1).unwrap_or_default().to_owned()
}

fn snapshots(project: &Project) -> Vec<String> {
    let latest: Value = serde_json::from_str(&project.read("out/latest.json")).unwrap();
    latest["snapshots"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

const ANN: [&str; 8] =
    ["snapshots", "forget", "pipelines/p.toml", "--table", "dim_user", "--key", "ann@x.org", "--yes"];
const FACTS: &str = "SELECT count(*), sum(amount), count(DISTINCT id) FROM f";
const HERS: &str = "SELECT count(*) FROM f WHERE user_key = -1";

fn has_ann(project: &Project) -> bool {
    let files =
        |of: &str| format!("SELECT count(*) FROM '{}' WHERE email = 'ann@x.org'", project.path(of).display());
    let rows: u32 = ["out/tables/dim_user/*.parquet", "out/keys/dim_user/*.parquet"]
        .iter()
        .map(|of| peer(&files(of)).parse::<u32>().unwrap())
        .sum();
    rows > 0
}

fn told_anywhere(project: &Project) -> bool {
    let mut texts = vec![project.read("out/latest.json")];
    texts.extend(
        snapshots(project).iter().map(|id| project.read(&format!("out/snapshots/{id}/manifest.json"))),
    );
    texts.extend(project.entries("out/runs").iter().map(|run| project.read(&format!("out/runs/{run}"))));
    texts.iter().any(|text| text.contains("email=ann@x.org"))
}

/// Nothing of her is left, and all else is as it was.
fn assert_forgotten(project: &Project, before: &[(String, String)]) {
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
    assert!(!has_ann(project) && !told_anywhere(project));
    for (number, (id, facts)) in before.iter().enumerate() {
        assert_eq!(asked(project, FACTS, id), *facts);
        assert_eq!(asked(project, HERS, id), "2");
        assert_eq!(asked(project, "SELECT count(*) FROM dim_user WHERE email IS NOT NULL", id), "3000");
        let attach = format!(
            "ATTACH 'ducklake:sqlite:{}' AS lake (READ_ONLY)",
            project.path("out/lake.sqlite").display()
        );
        let at = format!("AT (VERSION => {})", number + 1);
        let seen = lake(
            &attach,
            &[
                &format!("SELECT count(*) FROM lake.dim_user {at} WHERE email = 'ann@x.org'"),
                &format!("{FACTS} {at}").replace("FROM f", "FROM lake.f"),
            ],
        );
        assert_eq!(seen, ["0", facts]);
        let manifest: Value =
            serde_json::from_str(&project.read(&format!("out/snapshots/{id}/manifest.json"))).unwrap();
        let forgotten = &manifest["forgotten"][0];
        assert_eq!(
            (
                forgotten["table"].as_str(),
                forgotten["rows"]["dim_user"].as_u64(),
                forgotten["rows"]["f"].as_u64()
            ),
            (Some("dim_user"), Some(1), Some(2))
        );
    }
    let dim = delta(&project.path("out/tables/dim_user"), None);
    assert!(dim.iter().all(|rows| rows.lines().count() == 3_001 && !rows.contains("ann@x.org")));
    assert_eq!(project.data_files("out"), project.named_files("out"));
}

fn before(project: &Project) -> Vec<(String, String)> {
    snapshots(project).into_iter().map(|id| (id.clone(), asked(project, FACTS, &id))).collect()
}

#[test]
fn who_is_forgotten_is_nowhere_and_everything_else_is_as_it_was() {
    let project = project();
    nights(&project);
    let before = before(&project);
    assert!(has_ann(&project) && told_anywhere(&project));
    let plan = project.starmill(&ANN[..7]).exits(2);
    plan.says("Of dim_user: 1 row.")
        .says("Of f: ")
        .says("Of the registry: 1 row.")
        .says("It cannot be undone.")
        .warns("nobody is there to confirm it");
    project.starmill(&[&ANN[..7], &["--dry-run"]].concat()).exits(0).says("Nothing was done.");
    assert!(has_ann(&project));
    project.starmill(&ANN).exits(0).says("Forgotten.");
    assert_forgotten(&project, &before);
    project.starmill(&ANN).exits(0).says("Nothing that is kept has them.");
    // The source still has her: she comes back as somebody new, and first seen where she is now.
    let highest = asked(&project, "SELECT max(user_key) FROM dim_user", "latest");
    project.starmill(&RUN).exits(0);
    let back = asked(&project, "SELECT user_key, city FROM dim_user WHERE email = 'ann@x.org'", "latest");
    assert_eq!(back, format!("{},Bonn", highest.parse::<u32>().unwrap() + 1));
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn killed_anywhere_it_is_done_or_not_and_can_be_done_again() {
    for point in [
        "forget.written",
        "publish.commit-file",
        "publish.committed",
        "forget.committed",
        "lake.written",
        "delta.table",
    ] {
        let project = project();
        nights(&project);
        let before = before(&project);
        assert_eq!(project.starmill_with_fault(&ANN, &format!("{point}=kill")).code, None, "{point}");
        project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
        let done = !["forget.written", "publish.commit-file"].contains(&point);
        for (id, facts) in &before {
            assert_eq!(asked(&project, FACTS, id), *facts, "{point}");
            let hers = asked(&project, "SELECT count(*) FROM dim_user WHERE email = 'ann@x.org'", id);
            assert_eq!(hers, if done { "0" } else { "1" }, "{point}");
        }
        project.starmill(&ANN).exits(0);
        assert_forgotten(&project, &before);
    }
}

#[test]
fn rows_of_several_key_columns_go_and_what_is_misnamed_is_told() {
    let project = project();
    nights(&project);
    let forget = ["snapshots", "forget", "pipelines/p.toml", "--yes"];
    let sum = "SELECT count(*), sum(amount) FROM points WHERE email = 'ann@x.org'";
    assert_eq!(asked(&project, sum, "latest"), "2,15.75");
    let keys = ["--table", "points", "--key", "email=ann@x.org,day=2024-01-05"];
    project.starmill(&[&forget[..], &keys].concat()).exits(0);
    for id in snapshots(&project) {
        assert_eq!(asked(&project, sum, &id), "1,5.25");
        let manifest: Value =
            serde_json::from_str(&project.read(&format!("out/snapshots/{id}/manifest.json"))).unwrap();
        let all = asked(&project, "SELECT sum(amount) FROM points", &id);
        assert_eq!(
            manifest["sums"]["points"]["amount"].as_str().unwrap(),
            all,
            "the next night is compared with what is left"
        );
    }
    let refused = |args: &[&str], says: &str| {
        project.starmill(&[&forget[..], args].concat()).exits(2).warns(says);
    };
    refused(&["--table", "points", "--key", "ann@x.org"], "write --key \"email=…,day=…\"");
    refused(&["--table", "dim_usr", "--key", "ann@x.org"], "did you mean `dim_user`?");
    refused(&["--table", "dim_user"], "--key");
    refused(&["--table", "f", "--key", "abc"], "`abc` is no value of f.id");
    // Only whose all values are asked for, also with a comma in one of them.
    project.write(
        "data/orders.csv",
        &(orders(30) + "90001,\"bob,day=2024-01-05\",1.00,2024-03-05\n90002,bob,1.00,2024-03-05\n"),
    );
    project.starmill(&RUN).exits(0);
    let bobs = "SELECT count(*), min(email) FROM points WHERE email LIKE 'bob%'";
    assert_eq!(asked(&project, bobs, "latest"), "2,bob");
    project
        .starmill(&[&forget[..], &["--table", "points", "--key", "email=bob,day=2024-03-05"]].concat())
        .exits(0);
    assert_eq!(asked(&project, bobs, "latest"), "1,\"bob,day=2024-01-05\"");
}

#[test]
fn a_row_is_found_by_its_columns_whatever_the_key_was_in_a_snapshot() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\ngrace = \"0s\"\n\
        [dimension.s]\nkey = [\"nr\"]\nsurrogate = \"k\"\nfirst_seen = [\"n\"]\n";
    let schema = "CREATE TABLE t (id int PRIMARY KEY, nr int, n text);";
    let project = Project::of(
        toml,
        &[("s", "SELECT id, nr, n FROM t")],
        schema,
        &[("t", "id,nr,n\n1,2,ann\n2,1,bob\n")],
    );
    project.starmill(&RUN).exits(0);
    project.edit("pipelines/p.toml", "key = [\"nr\"]", "key = [\"id\"]");
    project.starmill(&[&RUN[..], &["--accept", "s"]].concat()).exits(0);
    let forget = ["snapshots", "forget", "pipelines/p.toml", "--table", "s", "--yes", "--key"];
    project.starmill(&[&forget[..], &["-1"]].concat()).exits(0).says("Nothing that is kept has them.");
    project.starmill(&[&forget[..], &["1"]].concat()).exits(0).says("Forgotten.");
    for at in ["latest", "latest~1"] {
        assert_eq!(asked(&project, "SELECT count(*), min(n) FROM s WHERE k > 0", at), "1,bob");
    }
    assert_eq!(peer(&format!("SELECT n FROM '{}'", project.path("out/keys/s/*.parquet").display())), "bob");
    // A dimension that is gone is remembered by the registry alone.
    std::fs::rename(project.path("sql/p/s.sql"), project.path("sql/p/e.sql")).unwrap();
    project.edit("pipelines/p.toml", "[dimension.s]", "[dimension.e]");
    project.starmill(&RUN).exits(0);
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"]).exits(0);
    project.starmill(&[&forget[..], &["2"]].concat()).exits(0).says("Of the registry: 1 row.");
    assert_eq!(
        peer(&format!("SELECT count(*) FROM '{}'", project.path("out/keys/s/*.parquet").display())),
        "0"
    );
}

#[test]
fn a_key_of_bytes_is_named_as_it_is_shown() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\nkey = [\"k\"]\n";
    let data = "k,n\n\\x0001,1\n\\x0002,2\n\\x00ff,3\n";
    let schema = "CREATE TABLE t (k bytea PRIMARY KEY, n int);";
    let project = Project::of(toml, &[("s", "SELECT k, n FROM t")], schema, &[("t", data)]);
    project.starmill(&RUN).exits(0);
    let forget = |key: &str| {
        project.starmill(&["snapshots", "forget", "pipelines/p.toml", "--table", "s", "--key", key, "--yes"])
    };
    forget("nonsense").exits(2).warns("is no value of s.k");
    forget("\\x0002").exits(0).says("Forgotten.");
    forget("00FF").exits(0).says("Forgotten.");
    assert_eq!(asked(&project, "SELECT count(*), min(n) FROM s", "latest"), "1,1");
}

#[test]
fn a_bucket_and_a_target_forget_too() {
    let database = cluster().database();
    let (mut project, bucket) = (project(), Bucket::make());
    bucket.holds(&mut project, &bucket.endpoint());
    project.edit("pipelines/p.toml", "url = \"out\"", &format!("url = \"{}\"", bucket.url()));
    let target = format!("[target]\nurl = \"{}\"\nlake = \"lake\"\n[dimension.dim_user]", database.url());
    project.edit("pipelines/p.toml", "lake = true\n", "lease = \"2s\"\n");
    project.edit("pipelines/p.toml", "[dimension.dim_user]", &target);
    nights(&project);
    let hers = "SELECT (SELECT count(*) FROM mart.dim_user WHERE email = 'ann@x.org'), (SELECT count(*) FROM mart.f WHERE user_key = -1), (SELECT count(*) FROM mart.f)";
    assert_eq!(database.sql(hers), "1|0|4012");
    let files = bucket.objects().len();
    // Killed before the target is told: asked again, it is.
    assert_eq!(project.starmill_with_fault(&ANN, "forget.committed=kill").code, None);
    assert_eq!(database.sql(hers), "1|0|4012");
    std::thread::sleep(std::time::Duration::from_secs(3));
    loop {
        let again = project.starmill(&ANN);
        if again.code != Some(9) {
            again.exits(0).says("Nothing that is kept has them.");
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert_eq!(database.sql(hers), "0|2|4012");
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
    for at in ["latest", "latest~1", "latest~2"] {
        assert_eq!(asked(&project, "SELECT count(*) FROM dim_user WHERE email = 'ann@x.org'", at), "0");
        assert_eq!(asked(&project, HERS, at), "2");
    }
    // Of what was pruned there were copies on this machine.
    let copies = std::process::Command::new("grep")
        .args(["-rl", "Ann Secret"])
        .arg(project.path("cache"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&copies.stdout), "");
    assert!(bucket.objects().len() <= files + 4, "what was replaced is gone: {:?}", bucket.objects());
    let paths = "SELECT count(*) FROM lake.ducklake_data_file AS d JOIN lake.ducklake_table AS t USING (table_id) WHERE t.table_name = 'dim_user' AND d.path NOT IN ";
    let there: Vec<String> = bucket
        .objects()
        .iter()
        .filter_map(|name| name.strip_prefix("tables/dim_user/").map(|name| format!("'{name}'")))
        .collect();
    assert_eq!(
        database.sql(&format!("{paths}({})", there.join(","))),
        "0",
        "the lake names only what is there"
    );
}
