//! First-seen values: nobody changes one by accident, in the target neither, and whoever does it on purpose is kept.

use crate::support::{Bucket, Database, Project, cluster, diff_of};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const ORDERS: &str = "SELECT o.order_id, c.city, c.city AS \"city first\", c.since AS first_since, o.amount AS first_amount, o.amount \
    FROM orders AS o JOIN customers AS c ON c.customer_id = o.customer_id";
const CITIES: &str =
    "SELECT \"city first\" AS city, count(*) AS orders FROM orders_as_seen GROUP BY \"city first\"";

fn orders(source: &Database) -> Project {
    source.sql(
        "CREATE TABLE customers (customer_id integer PRIMARY KEY, city text, since date); \
         CREATE TABLE orders (order_id bigint PRIMARY KEY, customer_id integer, amount numeric(10,2)); \
         INSERT INTO customers VALUES (1, 'Rome', '2020-01-01'), (2, NULL, NULL); \
         INSERT INTO orders VALUES (10, 1, 5.50), (11, 1, 6), (12, 2, 7)",
    );
    let url = source.url();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{url}\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{url}\"\nschema = \"mart\"\n\
         [summary.orders_as_seen]\nkey = [\"order_id\"]\nfirst_seen = [\"city first\", \"first_since\", \"first_amount\"]\n\
         [summary.cities]\n"
    );
    Project::of(&toml, &[("orders_as_seen", ORDERS), ("cities", CITIES)], "", &[])
}

fn seen(source: &Database) -> String {
    source.sql("SELECT order_id, \"city first\", first_since, first_amount FROM mart.orders_as_seen ORDER BY order_id")
}

fn correct(project: &Project, args: &[&str]) -> crate::support::Ran {
    let command = ["correct", "pipelines/p.toml", "orders_as_seen"];
    project.starmill(&[&command, args].concat())
}

#[test]
fn the_target_refuses_whoever_changes_a_first_seen_value_by_accident() {
    let source = cluster().database();
    let project = orders(&source);
    project.starmill(&RUN).exits(0);
    let refused = source.try_sql("UPDATE mart.orders_as_seen SET \"city first\" = 'Bern'").unwrap_err();
    assert!(
        refused.contains(
            "mart.orders_as_seen.city first is as it was when its row was first seen, and is not changed"
        ) && refused.contains("starmill correct changes one on purpose"),
        "{refused}"
    );
    assert!(source.try_sql("UPDATE mart.orders_as_seen SET first_since = NULL WHERE order_id = 10").is_err());
    let comment = "SELECT col_description('mart.orders_as_seen'::regclass, 3)";
    assert_eq!(
        source.sql(comment),
        "As it was when the row was first seen; kept by starmill, changed by `starmill correct` alone"
    );
    // What is not kept may be changed, as far as the delivery is concerned, which changes it back.
    source.sql("UPDATE mart.orders_as_seen SET city = 'Bern', \"city first\" = \"city first\"");
    // Somebody's own comment stays; a column that is kept no more is guarded and described as such no more.
    source.sql("COMMENT ON COLUMN mart.orders_as_seen.first_since IS 'ask Ada'");
    project.edit("pipelines/p.toml", "\"city first\", \"first_since\", ", "\"first_since\", ");
    project.starmill(&[&RUN[..], &["--accept", "orders_as_seen"]].concat()).exits(0);
    source.sql("UPDATE mart.orders_as_seen SET \"city first\" = 'Bern'");
    assert!(source.try_sql("UPDATE mart.orders_as_seen SET first_since = '2000-01-01'").is_err());
    assert_eq!(source.sql(comment), "");
    assert_eq!(source.sql("SELECT col_description('mart.orders_as_seen'::regclass, 4)"), "ask Ada");
    project.edit("pipelines/p.toml", "first_seen = [\"first_since\", \"first_amount\"]", "");
    project.starmill(&[&RUN[..], &["--accept", "orders_as_seen"]].concat()).exits(0);
    source.sql("UPDATE mart.orders_as_seen SET first_since = '2000-01-01'");
    // A guard that somebody dropped comes back; the table itself can go with its guard.
    project.edit(
        "pipelines/p.toml",
        "key = [\"order_id\"]",
        "key = [\"order_id\"]\nfirst_seen = [\"first_since\"]",
    );
    project.starmill(&[&RUN[..], &["--accept", "orders_as_seen"]].concat()).exits(0);
    source.sql("DROP TRIGGER starmill_keeps_first_seen ON mart.orders_as_seen");
    project.starmill(&RUN).exits(0);
    assert!(source.try_sql("UPDATE mart.orders_as_seen SET first_since = '2000-01-02'").is_err());
    project.write(
        "pipelines/p.toml",
        &project
            .read("pipelines/p.toml")
            .replace("[summary.orders_as_seen]\nkey = [\"order_id\"]\nfirst_seen = [\"first_since\"]\n", ""),
    );
    project.write("sql/p/cities.sql", "SELECT city, count(*) AS orders FROM customers GROUP BY city");
    std::fs::remove_file(project.path("sql/p/orders_as_seen.sql")).unwrap();
    project.starmill(&RUN).exits(0);
    assert_eq!(source.sql("SELECT to_regclass('mart.orders_as_seen') IS NULL"), "t");
}

#[test]
fn a_role_that_may_hang_no_trigger_still_delivers_and_is_told() {
    let source = cluster().database();
    let project = orders(&source);
    project.starmill(&RUN).exits(0);
    source.sql("DROP TRIGGER starmill_keeps_first_seen ON mart.orders_as_seen; REVOKE TRIGGER ON mart.orders_as_seen FROM PUBLIC");
    let role = format!("loader_{}", source.sql("SELECT current_database()"));
    source.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA mart, public TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mart TO {role}; GRANT TEMPORARY ON DATABASE {} TO {role}",
        source.sql("SELECT current_database()")
    ));
    let toml = project.read("pipelines/p.toml").replace(&source.url(), &source.url_of(&role));
    project.write("pipelines/p.toml", &toml);
    // Nobody but a table's owner describes it either.
    source.sql("COMMENT ON COLUMN mart.orders_as_seen.first_since IS NULL; UPDATE mart.starmill_delivery SET made = NULL");
    source.sql("INSERT INTO orders VALUES (13, 1, 8)");
    project.starmill(&RUN).exits(0).warns("may make no trigger there");
    assert_eq!(source.sql("SELECT count(*) FROM mart.orders_as_seen"), "4");
}

#[test]
fn a_first_seen_value_is_corrected_on_purpose_and_the_next_night_says_so() {
    let source = cluster().database();
    let project = orders(&source);
    project.starmill(&RUN).exits(0);
    source.sql("UPDATE customers SET city = 'Oslo', since = '2021-05-05' WHERE customer_id = 1");
    project.starmill(&RUN).exits(0);
    let before = "10|Rome|2020-01-01|5.50\n11|Rome|2020-01-01|6.00\n12|||7.00";
    assert_eq!(seen(&source), before);

    let wish =
        ["--key", "11", "--set", "city first=Bern", "--set", "first_amount=6.25", "--because", "ticket 4711"];
    let latest = project.latest();
    correct(&project, &[&wish[..], &["--dry-run"]].concat())
        .exits(0)
        .says("order_id=11 city first: Rome → Bern, by ");
    assert_eq!(project.latest(), latest, "a dry run changes nothing");
    let ran = correct(&project, &wish).exits(0);
    assert!(
        ran.stdout.contains(": ticket 4711\n") && ran.stdout.contains("first_amount: 6.00 → 6.25"),
        "{}",
        ran.stdout
    );
    correct(&project, &wish).exits(0).says("The values are so already: nothing changes.");
    project
        .starmill(&["history", "pipelines/p.toml", "orders_as_seen", "11"])
        .exits(0)
        .says("the next run shows it");
    assert_eq!(seen(&source), before, "the star is what was published");
    project
        .starmill(&["run", "--dry-run", "pipelines/p.toml"])
        .exits(0)
        .says("corrected: order_id=11 city first: Rome → Bern");

    let night = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
    let diff = diff_of(&night, "orders_as_seen");
    assert_eq!(diff["corrected"].as_array().unwrap().len(), 2, "{diff}");
    assert_eq!(diff["corrected"][0]["because"], "ticket 4711");
    let after = "10|Rome|2020-01-01|5.50\n11|Bern|2020-01-01|6.25\n12|||7.00";
    assert_eq!(seen(&source), after);
    assert_eq!(source.sql("SELECT city, orders FROM mart.cities ORDER BY city"), "Bern|1\nRome|1\n|1");
    let manifest = project.read("out/latest/manifest.json");
    assert!(manifest.contains("ticket 4711"), "the manifest says why");
    let shown = project.starmill(&["history", "pipelines/p.toml", "orders_as_seen", "11"]).exits(0);
    assert!(shown.stdout.contains("city first") && shown.stdout.contains("ticket 4711"), "{}", shown.stdout);
    assert!(!shown.stdout.contains("the next run shows it"), "{}", shown.stdout);
    // It stays so, whatever the source says, and is told once.
    source.sql("UPDATE customers SET city = 'Riga' WHERE customer_id = 1");
    let night = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
    assert!(diff_of(&night, "orders_as_seen")["corrected"].is_null());
    assert_eq!(seen(&source), after);

    // The star before it comes back, and the night after corrects it again.
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", "latest~2", "--yes"]).exits(0);
    assert_eq!(seen(&source), before);
    project.starmill(&RUN).exits(0).says("corrected: order_id=11 city first: Rome → Bern");
    assert_eq!(seen(&source), after);

    // What a first-seen value became otherwise is refused still.
    correct(&project, &["--key", "12", "--set", "city first=Kiew", "--because", "it was known"]).exits(0);
    correct(&project, &["--key", "10", "--set-null", "first_since", "--because", "unsure"]).exits(0);
    project.starmill(&RUN).exits(0);
    assert_eq!(seen(&source), "10|Rome||5.50\n11|Bern|2020-01-01|6.25\n12|Kiew||7.00");
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn what_cannot_be_corrected_is_said_with_what_can() {
    let source = cluster().database();
    let project = orders(&source);
    correct(&project, &["--key", "1", "--set", "city=a", "--because", "b"]).exits(8);
    project.starmill(&RUN).exits(0);
    let why = ["--because", "because"];
    let refused = |args: &[&str], said: &str| {
        correct(&project, &[args, &why].concat()).exits(2).warns(said);
    };
    refused(&["--key", "10", "--set", "city=Bern"], "orders_as_seen.city is not kept as first seen");
    refused(
        &["--key", "10", "--set", "city=Bern"],
        "columns that are: city first, first_since and first_amount",
    );
    refused(&["--key", "99", "--set", "city first=Bern"], "orders_as_seen has never had a row order_id=99");
    refused(&["--key", "ten", "--set", "city first=Bern"], "`ten` is no value of orders_as_seen.order_id");
    refused(
        &["--key", "10", "--set", "first_amount=1.005"],
        "`1.005` is no value of orders_as_seen.first_amount",
    );
    refused(
        &["--key", "10", "--set", "first_amount=123456789"],
        "`123456789` is no value of orders_as_seen.first_amount",
    );
    refused(
        &["--key", "10", "--set", "first_since=soon"],
        "`soon` is no value of orders_as_seen.first_since",
    );
    refused(&["--key", "10", "--set", "first_since"], "write --set column=value");
    refused(
        &["--key", "10", "--set", "first_since=2020-01-01", "--set-null", "first_since"],
        "first_since is set twice",
    );
    correct(&project, &["--key", "10", "--set", "first_since=2020-01-02", "--because", " "])
        .exits(2)
        .warns("needs a reason");
    project
        .starmill(&[
            "correct",
            "pipelines/p.toml",
            "cities",
            "--key",
            "Rome",
            "--set",
            "orders=1",
            "--because",
            "b",
        ])
        .exits(2)
        .warns("cities has no key by which a row could be named");
    project
        .starmill(&[
            "correct",
            "pipelines/p.toml",
            "citees",
            "--key",
            "Rome",
            "--set",
            "orders=1",
            "--because",
            "b",
        ])
        .exits(2)
        .warns("did you mean `cities`?");
}

#[test]
fn corrections_go_with_who_is_forgotten_and_with_another_key() {
    let source = cluster().database();
    let project = orders(&source);
    project.starmill(&RUN).exits(0);
    correct(&project, &["--key", "11", "--set", "city first=Secretville", "--because", "the case of Ann"])
        .exits(0);
    project.starmill(&RUN).exits(0);
    source.sql("DELETE FROM orders WHERE order_id = 11");
    project
        .starmill(&[
            "snapshots",
            "forget",
            "pipelines/p.toml",
            "--table",
            "orders_as_seen",
            "--key",
            "11",
            "--yes",
        ])
        .exits(0);
    for file in ["out/latest.json", "out/latest/manifest.json"] {
        assert!(!project.read(file).contains("the case of Ann"), "{file}");
    }
    project.starmill(&RUN).exits(0);
    correct(&project, &["--key", "10", "--set", "city first=Otherville", "--because", "b"]).exits(0);
    project.edit(
        "pipelines/p.toml",
        "first_seen = [\"city first\", \"first_since\", \"first_amount\"]",
        "first_seen = [\"city first\"]",
    );
    project.starmill(&[&RUN[..], &["--accept", "orders_as_seen"]].concat()).exits(0);
    assert!(
        !project.read("out/latest.json").contains("Otherville"),
        "what was given to other columns counts no more"
    );
    assert_eq!(source.sql("SELECT \"city first\" FROM mart.orders_as_seen WHERE order_id = 10"), "Rome");
}

#[test]
fn a_correction_that_is_killed_is_done_or_not_and_a_bucket_takes_one() {
    let source = cluster().database();
    let project = orders(&source);
    project.starmill(&RUN).exits(0);
    let wish = [
        "correct",
        "pipelines/p.toml",
        "orders_as_seen",
        "--key",
        "11",
        "--set",
        "city first=Bern",
        "--because",
        "b",
    ];
    for (fault, done) in [("publish.commit-file=kill", false), ("publish.committed=kill", true)] {
        project.starmill_with_fault(&wish, fault);
        let shown = project.starmill(&["history", "pipelines/p.toml", "orders_as_seen", "11"]).exits(0);
        assert_eq!(shown.stdout.contains("Rome → Bern"), done, "{fault}");
        project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
        project.starmill(&RUN).exits(0);
    }
    assert!(seen(&source).contains("11|Bern"));

    let (bucket, source) = (Bucket::make(), cluster().database());
    let mut project = orders(&source);
    project.edit("pipelines/p.toml", "url = \"out\"", &format!("url = \"{}\"", bucket.url()));
    bucket.holds(&mut project, &bucket.endpoint());
    project.starmill(&RUN).exits(0);
    project.starmill(&wish).exits(0);
    project.starmill(&RUN).exits(0).says("corrected: order_id=11");
    bucket.assert_whole();
}

#[test]
fn an_instant_is_corrected_with_its_zone_and_no_time_is_cut() {
    let toml = "name = \"p\"\ntimezone = \"Europe/Berlin\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n\
        [summary.s]\nkey = [\"id\"]\nfirst_seen = [\"seen_at\", \"local\", \"day\", \"ok\", \"raw\"]\n";
    let schema = "CREATE TABLE t (id int PRIMARY KEY, seen_at timestamptz, local timestamp, day date, ok boolean, raw bytea);";
    let rows =
        "id,seen_at,local,day,ok,raw\n1,2024-01-01 10:00:00+00,2024-01-01 10:00:00,2024-01-01,true,\\x01ff\n";
    let model = "SELECT id, seen_at, local, day, ok, raw FROM t";
    let project = Project::of(toml, &[("s", model)], schema, &[("t", rows)]);
    project.starmill(&RUN).exits(0);
    let set = |value: &str| {
        project.starmill(&[
            "correct",
            "pipelines/p.toml",
            "s",
            "--key",
            "1",
            "--because",
            "b",
            "--set",
            value,
        ])
    };
    for refused in [
        "seen_at=2024-01-01 11:00:00",
        "seen_at=2024-01-01 11:00:00.1234567+00:00",
        "local=2024-01-01 11:00:00+01:00",
        "local=2024-01-01 11:00:00.1234567",
        "day=2024-01-01T11:00:00",
        "ok=maybe",
        "raw=xyz",
        "raw=\\x0g",
        "raw=\\x012",
    ] {
        set(refused).exits(2).warns("is no value of s.");
    }
    for taken in [
        "seen_at=2024-01-01 11:00:00.123456+01:00",
        "local=2024-01-01 11:00:00.5",
        "day=2024-02-29",
        "ok=false",
        "raw=\\x02",
    ] {
        set(taken).exits(0);
    }
    project.starmill(&RUN).exits(0);
    let text = project
        .starmill(&[
            "query",
            "pipelines/p.toml",
            "SELECT seen_at AT TIME ZONE 'UTC' AS at, local, day, ok, raw FROM s",
            "--format",
            "csv",
        ])
        .exits(0)
        .stdout;
    assert_eq!(
        text.lines().nth(1),
        Some("2024-01-01 10:00:00.123456,2024-01-01 11:00:00.500,2024-02-29,false,\\x02")
    );
}

#[test]
fn a_value_or_key_that_a_type_holds_by_rounding_or_guessing_names_nothing() {
    let schema = "CREATE TABLE t (m numeric(10,2) PRIMARY KEY, a text, r real, tm time, ts timestamp, tags text[], secret text);";
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\nmask_key = \"env:MASK\"\n[source.mask]\n\"t.secret\" = \"hmac\"\n[store]\nurl = \"out\"\n\
        [summary.s]\nkey = [\"m\"]\nfirst_seen = [\"a\", \"r\", \"tm\", \"ts\", \"tags\", \"secret\"]\n";
    let rows = "m,a,r,tm,ts,tags,secret\n11.00,x,0.5,10:00:00,2024-01-01 10:00:00,\"{a,b}\",s\n";
    let mut project =
        Project::of(toml, &[("s", "SELECT m, a, r, tm, ts, tags, secret FROM t")], schema, &[("t", rows)]);
    project.set("MASK", "0123456789abcdef0123456789abcdef");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let correct = |key: &str, set: &str| {
        project.starmill(&[
            "correct",
            "pipelines/p.toml",
            "s",
            "--key",
            key,
            "--set",
            set,
            "--because",
            "why",
        ])
    };
    for (key, set, told) in [
        ("10.999", "a=y", "`10.999` is no value of s.m"),
        ("11.0049", "a=y", "is no value of s.m"),
        ("11.00", "r=1e50", "is no value of s.r"),
        ("11.00", "r=16777217", "is no value of s.r"),
        ("11.00", "tm=23:59:60", "is no value of s.tm"),
        ("11.00", "ts=2024-01-01 10:00:00 Europe/Berlin", "is no value of s.ts"),
        ("11.00", "tags={c,d}", "is a list"),
        ("11.00", "secret=clear", "made of t.secret, which is masked"),
    ] {
        correct(key, set).exits(2).warns(told);
    }
    project
        .starmill(&["snapshots", "forget", "pipelines/p.toml", "--table", "s", "--key", "10.999", "--yes"])
        .exits(2);
    project
        .write("pipelines/q.toml", &project.read("pipelines/p.toml").replace("name = \"p\"", "name = \"q\""));
    project
        .starmill(&["correct", "pipelines/q.toml", "s", "--key", "11", "--set", "a=y", "--because", "why"])
        .exits(2)
        .warns("that of the pipeline p");
    correct("11", "a=SECRETVAL").exits(0);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    project.edit("pipelines/p.toml", "\"a\", \"r\"", "\"a\"");
    project.starmill(&["run", "pipelines/p.toml"]).exits(3).warns("corrected ones too, and begin anew");
    project.edit("pipelines/p.toml", "\"a\"", "\"a\", \"r\"");
    // Named in other words than the correction has them, it goes all the same.
    project
        .starmill(&["snapshots", "forget", "pipelines/p.toml", "--table", "s", "--key", "11", "--yes"])
        .exits(0);
    let left = std::process::Command::new("grep")
        .args(["-rl", "SECRETVAL"])
        .arg(project.path("out"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(left.stdout).unwrap(), "");
}

#[test]
fn a_key_of_several_columns_may_have_values_that_look_like_others() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\nkey = [\"e\", \"f\"]\nfirst_seen = [\"v\"]\n";
    let project = Project::of(
        toml,
        &[("s", "SELECT e, f, n, v FROM t")],
        "CREATE TABLE t (e text, f int, n int, v text, PRIMARY KEY (e, f));",
        &[("t", "e,f,n,v\n\"x,n=3\",1,1,old\n")],
    );
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    project
        .starmill(&[
            "correct",
            "pipelines/p.toml",
            "s",
            "--key",
            "e=x,n=3,f=1",
            "--set",
            "v=new",
            "--because",
            "why",
        ])
        .exits(0);
}

#[test]
fn a_store_that_is_gone_on_from_a_backup_names_what_was_corrected_since() {
    let target = cluster().database();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{}\"\n[summary.s]\nkey = [\"id\"]\nfirst_seen = [\"a\"]\n",
        target.url()
    );
    let project = Project::of(
        &toml,
        &[("s", "SELECT id, a FROM t")],
        "CREATE TABLE t (id int PRIMARY KEY, a text);",
        &[("t", "id,a\n1,x\n2,y\n")],
    );
    let run = ["run", "pipelines/p.toml"];
    project.starmill(&run).exits(0);
    let copy = |from: &str, to: &str| {
        let copied =
            std::process::Command::new("cp").arg("-a").args([project.path(from), project.path(to)]).status();
        assert!(copied.unwrap().success());
    };
    copy("out", "backup");
    project
        .starmill(&["correct", "pipelines/p.toml", "s", "--key", "1", "--set", "a=GOOD", "--because", "why"])
        .exits(0);
    project.write("data/t.csv", "id,a\n1,x\n2,y\n3,z\n");
    project.starmill(&run).exits(0);
    std::fs::remove_dir_all(project.path("out")).unwrap();
    copy("backup", "out");
    let ran = project.starmill(&["run", "--accept-restored", "pipelines/p.toml"]).exits(0);
    ran.says("to be corrected again (`starmill correct`): s id=1: a is GOOD, and x in the backup");
    // Whoever is forgotten goes from there, too.
    let told = || {
        let found =
            std::process::Command::new("grep").args(["-rl", "GOOD"]).arg(project.path("out/runs")).output();
        let found = found.unwrap();
        String::from_utf8(found.stdout).unwrap().lines().count()
    };
    assert!(told() > 0);
    project
        .starmill(&["snapshots", "forget", "pipelines/p.toml", "--table", "s", "--key", "1", "--yes"])
        .exits(0);
    assert_eq!(told(), 0);
}
