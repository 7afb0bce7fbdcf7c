//! Dimensions that keep what their rows were, night after night.

use fastrand::Rng;

use crate::support::{Database, Project, cluster, counts, rounds};

const TABLES: &str = "CREATE TABLE customers (customer_id integer PRIMARY KEY, name text, city text, tier text, score numeric(6,2), changed_at timestamptz); \
     CREATE TABLE orders (order_id integer PRIMARY KEY, customer_id integer, ordered_at timestamptz NOT NULL, amount numeric(10,2) NOT NULL); \
     INSERT INTO customers VALUES (1, 'Ada', 'Berlin', 'gold', 1.5, '2024-01-01'), (2, 'Ben', NULL, 'silver', NULL, '2024-01-01'); \
     INSERT INTO orders VALUES (1, 1, '2024-03-01', 10), (2, 2, '2024-03-02', 20), (3, NULL, '2024-03-03', 5)";

const MODEL: &str = "SELECT customer_id, name, city, tier, score, changed_at FROM customers";
const FACT: &str = "SELECT order_id, customer_id, ordered_at, amount FROM orders";

/// A star of orders by customers whose history is kept.
fn sales(source: &Database, history: &str) -> Project {
    sales_in(source, history, "UTC")
}

fn sales_in(source: &Database, history: &str, zone: &str) -> Project {
    source.sql(TABLES);
    let url = source.url();
    let toml = format!(
        "name = \"p\"\ntimezone = \"{zone}\"\n[source]\nurl = \"{url}\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{url}\"\nschema = \"mart\"\n\
         [dimension.dim_customer]\nkey = [\"customer_id\"]\nsurrogate = \"customer_key\"\n{history}\n\
         [fact.fact_orders]\nkey = [\"order_id\"]\ngrain = \"orders\"\nmeasures = [\"amount\"]\n\
         lookups.customer_key = {{ dimension = \"dim_customer\", on = [\"customer_id\"], as_of = \"ordered_at\" }}\n\
         lookups.customer_now_key = {{ dimension = \"dim_customer\", on = [\"customer_id\"] }}\n"
    );
    Project::of(&toml, &[("dim_customer", MODEL), ("fact_orders", FACT)], "", &[])
}

const TRACKED: &str = "history = { track = [\"city\", \"tier\"] }";

fn night(project: &Project) -> serde_json::Value {
    project.starmill(&["run", "pipelines/p.toml", "--format", "json"]).exits(0).json()
}

/// The versions in the target: who, what they were, and whether they are so now.
fn versions(source: &Database) -> String {
    source.sql(
        "SELECT customer_key, customer_durable_key, customer_id, name, coalesce(city, '-'), tier, is_current \
         FROM mart.dim_customer ORDER BY customer_id NULLS FIRST, valid_from",
    )
}

#[test]
fn a_member_keeps_what_it_was_and_facts_find_what_it_was_then() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    let first = night(&project);
    assert_eq!(counts(&first, "dim_customer").0, 3);
    assert_eq!(
        versions(&source),
        "-1|-1||Unknown|Unknown|Unknown|t\n1|1|1|Ada|Berlin|gold|t\n2|2|2|Ben|-|silver|t"
    );
    let opened = source.sql(
        "SELECT DISTINCT valid_from AT TIME ZONE 'UTC', valid_to AT TIME ZONE 'UTC' FROM mart.dim_customer",
    );
    assert_eq!(opened, "0001-01-01 00:00:00|9999-12-31 00:00:00");

    // A move is a new version, a rename touches both; the unknown city was one, too.
    source.sql("UPDATE customers SET city = 'Wien' WHERE customer_id = 2; UPDATE customers SET name = 'Ada L.' WHERE customer_id = 1");
    let second = night(&project);
    assert_eq!(
        counts(&second, "dim_customer"),
        (1, 0, 2),
        "Ben's second version; his first ended, and Ada's name"
    );
    let moved =
        source.sql("SELECT valid_from AT TIME ZONE 'UTC' FROM mart.dim_customer WHERE customer_key = 3");
    source.sql(&format!("INSERT INTO orders VALUES (4, 2, timestamptz '{moved}+00', 7), (5, 2, timestamptz '{moved}+00' - interval '1 microsecond', 8)"));
    source.sql("UPDATE customers SET name = 'Benjamin' WHERE customer_id = 2");
    night(&project);
    assert_eq!(
        versions(&source),
        "-1|-1||Unknown|Unknown|Unknown|t\n1|1|1|Ada L.|Berlin|gold|t\n2|2|2|Benjamin|-|silver|f\n3|2|2|Benjamin|Wien|silver|t"
    );
    assert_eq!(
        source.sql("SELECT order_id, customer_key, customer_now_key FROM mart.fact_orders ORDER BY order_id"),
        "1|1|1\n2|2|3\n3|-1|-1\n4|3|3\n5|2|3",
        "an interval has its beginning and not its end"
    );

    // Who is deleted has no current version, and who comes back begins a new one; the gap stays.
    source.sql("DELETE FROM customers WHERE customer_id = 2");
    let gone = night(&project);
    assert_eq!(counts(&gone, "dim_customer"), (0, 0, 1));
    assert_eq!(source.sql("SELECT customer_now_key FROM mart.fact_orders WHERE order_id = 2"), "-1");
    assert_eq!(
        source.sql("SELECT customer_key FROM mart.fact_orders WHERE order_id = 2"),
        "2",
        "it was somebody then"
    );
    night(&project);
    source.sql("INSERT INTO customers VALUES (2, 'Ben again', 'Wien', 'silver', 3, '2025-01-01')");
    night(&project);
    assert_eq!(
        source.sql("SELECT customer_key, customer_durable_key, name, is_current FROM mart.dim_customer WHERE customer_id = 2 ORDER BY valid_from"),
        "2|2|Ben again|f\n3|2|Ben again|f\n4|2|Ben again|t"
    );
    assert_eq!(
        source.sql("SELECT count(*) FROM mart.dim_customer a JOIN mart.dim_customer b ON a.customer_id = b.customer_id AND b.customer_key = 4 AND a.customer_key = 3 WHERE a.valid_to < b.valid_from"),
        "1"
    );

    // A night in which nothing happens changes nothing.
    let quiet = night(&project);
    assert_eq!(counts(&quiet, "dim_customer"), (0, 0, 0));
    assert_eq!(counts(&quiet, "fact_orders"), (0, 0, 0));
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn the_source_may_say_since_when_a_version_holds() {
    let source = cluster().database();
    let history = "history = { except = [\"name\", \"score\"], effective_from = \"changed_at\" }";
    let project = sales_in(&source, history, "Europe/Berlin");
    night(&project);
    source.sql(
        "UPDATE customers SET tier = 'platinum', changed_at = '2024-03-01 00:00+00' WHERE customer_id = 1",
    );
    night(&project);
    let ada = "SELECT customer_key, tier, valid_from AT TIME ZONE 'UTC', valid_to AT TIME ZONE 'UTC', changed_at AT TIME ZONE 'UTC' \
               FROM mart.dim_customer WHERE customer_id = 1 ORDER BY valid_from";
    assert_eq!(
        source.sql(ada),
        "1|gold|0001-01-01 00:00:00|2024-03-01 00:00:00|2024-01-01 00:00:00\n3|platinum|2024-03-01 00:00:00|9999-12-31 00:00:00|2024-03-01 00:00:00"
    );
    assert_eq!(
        source.sql("SELECT customer_key FROM mart.fact_orders WHERE order_id = 1"),
        "3",
        "ordered at that instant"
    );

    // Who changes a tracked column and not the time is told, with the row, and nothing is published.
    for (changed_at, offending) in
        [("changed_at", "customer_id=1"), ("NULL", "customer_id=1"), ("'2023-01-01'", "customer_id=1")]
    {
        source.sql(&format!(
            "UPDATE customers SET tier = 'none', changed_at = {changed_at} WHERE customer_id = 1"
        ));
        let refused = project.starmill(&["run", "pipelines/p.toml"]).exits(7);
        refused.says("FAILED").says("members that changed without a later time").says(offending);
    }
    source.sql("UPDATE customers SET changed_at = '2024-04-01' WHERE customer_id = 1");
    night(&project);
    assert_eq!(source.sql("SELECT count(*) FROM mart.dim_customer WHERE customer_id = 1"), "3");
    // Deleted, and written again with its old time: it was away meanwhile.
    source.sql("CREATE TABLE kept AS SELECT * FROM customers WHERE customer_id = 1; DELETE FROM customers WHERE customer_id = 1");
    night(&project);
    source.sql("INSERT INTO customers SELECT * FROM kept");
    night(&project);
    assert_eq!(
        source.sql(
            "SELECT count(*), count(*) FILTER (WHERE is_current) FROM mart.dim_customer WHERE customer_id = 1"
        ),
        "4|1"
    );
}

#[test]
fn a_local_time_and_a_day_ask_for_the_version_of_that_instant_in_the_pipelines_zone() {
    let source = cluster().database();
    let history = "history = { track = [\"tier\"], effective_from = \"changed_at\" }";
    let project = sales_in(&source, history, "Europe/Berlin");
    source.sql("ALTER TABLE orders ADD placed timestamp, ADD day date; UPDATE orders SET placed = '2024-01-01', day = '2024-01-01'");
    project.write(
        "sql/p/fact_orders.sql",
        "SELECT order_id, customer_id, ordered_at, placed, day, amount FROM orders",
    );
    project.edit(
        "pipelines/p.toml",
        "lookups.customer_now_key",
        "lookups.placed_key = { dimension = \"dim_customer\", on = [\"customer_id\"], as_of = \"placed\" }\n\
         lookups.day_key = { dimension = \"dim_customer\", on = [\"customer_id\"], as_of = \"day\" }\nlookups.customer_now_key",
    );
    night(&project);
    source.sql(
        "UPDATE customers SET tier = 'none', changed_at = '2024-07-01 22:00+00' WHERE customer_id = 1; \
         INSERT INTO orders VALUES (10, 1, '2024-07-01 21:59:59.999999+00', 1, '2024-07-01 23:59:59.999999', '2024-07-01'), \
         (11, 1, '2024-07-01 22:00+00', 1, '2024-07-02 00:00', '2024-07-02')",
    );
    night(&project);
    assert_eq!(
        source.sql("SELECT order_id, customer_key, placed_key, day_key FROM mart.fact_orders WHERE order_id >= 10 ORDER BY 1"),
        "10|1|1|1\n11|3|3|3"
    );
}

#[test]
fn a_history_outlives_pruning_rollback_failed_nights_and_nights_without_the_model() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    project.edit("pipelines/p.toml", "url = \"out\"", "url = \"out\"\nkeep = 1\ngrace = \"0s\"");
    let move_to =
        |city: &str| source.sql(&format!("UPDATE customers SET city = '{city}' WHERE customer_id = 1"));
    night(&project);
    move_to("Wien");
    night(&project);
    move_to("Rom");
    // A night that fails has seen nothing.
    source.sql("INSERT INTO orders VALUES (9, 1, '2024-01-01', 1)");
    project.write("sql/p/fact_orders.sql", &format!("{FACT} WHERE order_id < 9"));
    project.starmill(&["run", "pipelines/p.toml"]).exits(7);
    project.write("sql/p/fact_orders.sql", FACT);
    move_to("Oslo");
    // One without the model neither.
    let toml = project.read("pipelines/p.toml");
    let begin = toml.find("[dimension").unwrap();
    project.write(
        "pipelines/p.toml",
        &format!("{}[fact.fact_orders]\nkey = [\"order_id\"]\ngrain = \"orders\"\n", &toml[..begin]),
    );
    night(&project);
    project.write("pipelines/p.toml", &toml);
    night(&project);
    let cities = || {
        source.sql(
            "SELECT string_agg(city, ' ' ORDER BY valid_from) FROM mart.dim_customer WHERE customer_id = 1",
        )
    };
    assert_eq!(cities(), "Berlin Wien Oslo");
    assert_eq!(project.entries("out/snapshots").len(), 1, "all of that is pruned but the last");

    project.edit("pipelines/p.toml", "keep = 1", "keep = 14");
    move_to("Bern");
    night(&project);
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", "latest~1", "--yes"]).exits(0);
    assert_eq!(cities(), "Berlin Wien Oslo");
    move_to("Nizza");
    night(&project);
    assert_eq!(cities(), "Berlin Wien Oslo Bern Nizza", "what was seen was seen");
    let keys = "SELECT string_agg(customer_key::text, ' ' ORDER BY valid_from) FROM mart.dim_customer WHERE customer_id = 1";
    assert_eq!(source.sql(keys), "1 3 4 5 6");
}

#[test]
fn an_edit_of_the_model_is_no_change_of_its_members_until_somebody_says_so() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    night(&project);
    source.sql("UPDATE customers SET city = 'Wien' WHERE customer_id = 1");
    night(&project);
    let before = project.read("out/latest.json");
    // A comment, blanks and what changes no member ask nothing.
    project.write("sql/p/dim_customer.sql", &format!("-- as they are\n{MODEL}\n"));
    night(&project);
    project.write("sql/p/dim_customer.sql", &MODEL.replace("tier,", "upper(tier) AS tier,"));
    let asked = project.starmill(&["run", "pipelines/p.toml"]).exits(3);
    asked
        .warns("dim_customer was edited, or the time zone changed, and 2 members of its history would be another version")
        .warns("--accept dim_customer=restate")
        .warns("--accept dim_customer=open");
    assert_ne!(before, project.read("out/latest.json"), "the night before was another");
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer"]).exits(3);
    project
        .starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=always"])
        .exits(2)
        .warns("--accept dim_customer=restate");
    project
        .starmill(&["run", "pipelines/p.toml", "--accept", "fact_orders=open"])
        .exits(2)
        .warns("keeps no history");
    project.starmill(&["run", "--dry-run", "pipelines/p.toml", "--accept", "dim_customer=restate"]).exits(0);

    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=restate"]).exits(0);
    assert_eq!(
        versions(&source),
        "-1|-1||Unknown|Unknown|Unknown|t\n1|1|1|Ada|Berlin|GOLD|f\n3|1|1|Ada|Wien|GOLD|t\n2|2|2|Ben|-|SILVER|t",
        "they were always so, but not in Wien"
    );
    night(&project);
    project.write("sql/p/dim_customer.sql", &MODEL.replace("tier,", "lower(tier) AS tier,"));
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=open"]).exits(0);
    assert_eq!(
        versions(&source),
        "-1|-1||Unknown|Unknown|Unknown|t\n1|1|1|Ada|Berlin|GOLD|f\n3|1|1|Ada|Wien|GOLD|f\n4|1|1|Ada|Wien|gold|t\n2|2|2|Ben|-|SILVER|f\n5|2|2|Ben|-|silver|t"
    );
}

#[test]
fn a_dimension_may_begin_to_keep_its_history_and_keeps_its_keys() {
    let source = cluster().database();
    let project = sales(&source, "");
    let toml = project.read("pipelines/p.toml");
    project.write("pipelines/p.toml", &toml.replace(", as_of = \"ordered_at\"", ""));
    source.sql("INSERT INTO customers VALUES (0, 'Zoe', 'Graz', 'gold', 1, NULL)");
    night(&project);
    source.sql("DELETE FROM customers WHERE customer_id = 0; INSERT INTO customers VALUES (7, 'Gil', 'Graz', 'gold', 1, NULL)");
    night(&project);
    let keys = "SELECT customer_id, customer_key FROM mart.dim_customer ORDER BY 2";
    assert_eq!(source.sql(keys), "|-1\n1|2\n2|3\n7|4");
    project.write(
        "pipelines/p.toml",
        &toml.replace("surrogate = \"customer_key\"", &format!("surrogate = \"customer_key\"\n{TRACKED}")),
    );
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(3)
        .warns("history of city and tier")
        .warns("--accept dim_customer");
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer"]).exits(0);
    assert_eq!(source.sql(keys), "|-1\n1|2\n2|3\n7|4");
    source.sql("UPDATE customers SET city = 'Wien' WHERE customer_id = 7");
    night(&project);
    assert_eq!(source.sql(keys), "|-1\n1|2\n2|3\n7|4\n7|5");

    // Tracking more keeps what was kept.
    project.edit("pipelines/p.toml", "\"city\", \"tier\"", "\"city\", \"tier\", \"score\"");
    project.starmill(&["run", "pipelines/p.toml"]).exits(3);
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer"]).exits(0);
    source.sql("UPDATE customers SET score = 9 WHERE customer_id = 7");
    night(&project);
    assert_eq!(
        source
            .sql("SELECT customer_key, city, score FROM mart.dim_customer WHERE customer_id = 7 ORDER BY 1"),
        "4|Graz|1.00\n5|Wien|1.00\n6|Wien|9.00"
    );
}

#[test]
fn a_column_that_comes_later_is_overwritten_in_all_versions() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    night(&project);
    source.sql("UPDATE customers SET city = 'Wien' WHERE customer_id = 1; ALTER TABLE customers ADD phone text, ALTER COLUMN score TYPE numeric(8,3); UPDATE customers SET phone = '1' ");
    project.write(
        "sql/p/dim_customer.sql",
        "SELECT customer_id, name, city, tier, phone, score, changed_at FROM customers",
    );
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=open"]).exits(0);
    assert_eq!(
        source.sql(
            "SELECT customer_key, city, phone, score FROM mart.dim_customer WHERE customer_id = 1 ORDER BY 1"
        ),
        "1|Berlin|1|1.500\n3|Wien|1|1.500"
    );
    night(&project);
}

#[test]
fn what_a_history_cannot_be_is_told_before_a_night() {
    let source = cluster().database();
    let project = sales(&source, "history = { track = [] }");
    let cases = [
        ("history = { track = [] }", "tracks no column", "all but some"),
        ("history = { track = [\"city\"], except = [\"name\"] }", "says both", "or those that it doesn't"),
        ("history = {}", "tracks no column", "track = [\"city\"]"),
        ("history = { track = [\"customer_id\"] }", "which is its key", "another member"),
        ("history = { track = [\"town\"] }", "the history names `town`", "its columns"),
        (
            "history = { track = [\"city\"], effective_from = \"city\" }",
            "is not tracked itself",
            "leave it out",
        ),
        ("history = { track = [\"city\"], effective_from = \"tier\" }", "which is no time", "timestamptz"),
        (
            "history = { except = [\"name\", \"city\", \"tier\", \"score\", \"changed_at\"] }",
            "tracks no column",
            "leave fewer",
        ),
        (
            "history = { track = [\"city\"] }\nfirst_seen = [\"name\"]",
            "keeps every value",
            "remove `first_seen`",
        ),
        ("history = { tracks = [\"city\"] }", "tracks", "did you mean"),
        ("", "keeps none", "history = { track"),
    ];
    let mut before = "history = { track = [] }".to_owned();
    for (history, message, help) in cases {
        project.edit(
            "pipelines/p.toml",
            &format!("\"customer_key\"\n{before}\n"),
            &format!("\"customer_key\"\n{history}\n"),
        );
        history.clone_into(&mut before);
        project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns(message).warns(help);
    }
    project.edit("pipelines/p.toml", "\"customer_key\"\n\n", &format!("\"customer_key\"\n{TRACKED}\n"));
    project.edit("pipelines/p.toml", "as_of = \"ordered_at\"", "as_of = \"amount\"");
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("as_of names `fact_orders.amount`, which is no time");
    project.edit("pipelines/p.toml", "as_of = \"amount\"", "as_of = \"ordered_at\"");
    project.write("sql/p/dim_customer.sql", &MODEL.replace("changed_at", "changed_at AS valid_from"));
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("has a column `valid_from` already");
    project.write("sql/p/dim_customer.sql", &format!("{MODEL} UNION ALL {MODEL}"));
    project.starmill(&["run", "pipelines/p.toml"]).exits(7).says("duplicate keys").says("customer_id=1");
    project.write(
        "sql/p/dim_customer.sql",
        &MODEL.replace("customer_id,", "nullif(customer_id, 1) AS customer_id,"),
    );
    project.starmill(&["run", "pipelines/p.toml"]).exits(7).says("keys with NULL");
}

#[test]
fn a_model_that_gives_a_key_twice_is_refused_on_a_later_night_too() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    night(&project);
    project.write("sql/p/dim_customer.sql", &format!("{MODEL} UNION ALL {MODEL}"));
    project.starmill(&["run", "pipelines/p.toml"]).exits(7).says("duplicate keys").says("customer_id=1");
}

#[test]
fn what_a_member_was_is_shown_version_by_version() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    night(&project);
    source.sql("UPDATE customers SET city = 'Wien', name = 'Benjamin' WHERE customer_id = 2");
    night(&project);
    source.sql("DELETE FROM customers WHERE customer_id = 2");
    night(&project);
    let gone = project.starmill(&["history", "pipelines/p.toml", "dim_customer", "2"]).exits(0);
    assert_eq!(gone.stderr, "");
    gone.says("p · dim_customer · customer_id=2 · durable key 2 · as of ").says("  not there since 20");
    source.sql("INSERT INTO customers VALUES (2, 'Ben', 'Wien', 'silver', 1, NULL)");
    night(&project);
    let ran = project.starmill(&["history", "pipelines/p.toml", "dim_customer", "2"]).exits(0);
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| !line.is_empty()).skip(1).collect();
    assert!(lines[0].starts_with("  2 from the beginning to 20"), "{}", ran.stdout);
    assert_eq!(lines[1..3], ["      city  NULL", "      tier  silver"]);
    assert!(lines[3].starts_with("  3 from 20") && lines[3].contains(" to 20"), "{}", ran.stdout);
    assert_eq!(lines[4], "      city  NULL → Wien");
    assert!(lines[5].starts_with("  not there from 20"), "{}", ran.stdout);
    assert!(lines[6].starts_with("  4 from 20") && lines[6].ends_with(" on"), "{}", ran.stdout);
    assert_eq!(lines[7], "      as before");
    let told = project
        .starmill(&["history", "pipelines/p.toml", "dim_customer", "2", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(told["durable_key"], 2);
    assert_eq!(told["versions"].as_array().unwrap().len(), 3);
    assert_eq!(told["versions"][2]["valid_to"], serde_json::Value::Null);

    let wrong =
        |args: [&str; 2]| project.starmill(&["history", "pipelines/p.toml", args[0], args[1]]).exits(2);
    wrong(["dim_customer", "99"]).warns("has never had a member customer_id=99");
    wrong(["dim_customers", "1"]).warns("did you mean `dim_customer`?");
    wrong(["fact_orders", "1"])
        .warns("fact_orders keeps neither a history nor first-seen values")
        .warns("tables that do: dim_customer");
}

#[test]
fn who_is_forgotten_is_out_of_the_history_too() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    source.sql("UPDATE customers SET name = 'Secret Person' WHERE customer_id = 2");
    night(&project);
    source.sql("UPDATE customers SET city = 'Secret City' WHERE customer_id = 2");
    night(&project);
    // A column comes on the way.
    project.write("sql/p/dim_customer.sql", &MODEL.replace("score,", "score, 'x' AS phone,"));
    night(&project);
    source.sql("DELETE FROM customers WHERE customer_id = 2");
    night(&project);
    project
        .starmill(&[
            "snapshots",
            "forget",
            "pipelines/p.toml",
            "--table",
            "dim_customer",
            "--key",
            "2",
            "--yes",
        ])
        .exits(0);
    assert_eq!(source.sql("SELECT count(*) FROM mart.dim_customer WHERE customer_id = 2"), "0");
    assert_eq!(source.sql("SELECT customer_key FROM mart.fact_orders WHERE order_id = 2"), "-1");
    for (folder, _) in [("out/keys/dim_customer", 0), ("out/tables/dim_customer", 0)] {
        for file in project.entries(folder) {
            let bytes = std::fs::read(project.path(&format!("{folder}/{file}"))).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!holds("Secret Person") && !holds("Secret City"), "{folder}/{file}");
        }
    }
    night(&project);
    assert_eq!(source.sql("SELECT count(*) FROM mart.dim_customer"), "2");
    project.starmill(&["snapshots", "verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_store_that_was_restored_learns_the_versions_that_came_after_its_backup() {
    for lost in [false, true] {
        let source = cluster().database();
        let project = sales(&source, TRACKED);
        night(&project);
        let latest = project.read("out/latest.json");
        let kept: Vec<String> = project.entries("out/snapshots");
        source.sql("UPDATE customers SET city = 'Wien' WHERE customer_id = 1; DELETE FROM customers WHERE customer_id = 2");
        night(&project);
        source.sql("UPDATE customers SET city = 'Rom' WHERE customer_id = 1");
        night(&project);
        let before = source.sql("SELECT d::text FROM mart.dim_customer AS d ORDER BY customer_key");
        project.write("out/latest.json", &latest);
        if lost {
            // Only the target knows.
            for id in project.entries("out/snapshots").iter().filter(|id| !kept.contains(id)) {
                std::fs::remove_dir_all(project.path(&format!("out/snapshots/{id}"))).unwrap();
            }
        }
        project.starmill(&["run", "pipelines/p.toml"]).exits(8).warns("--accept-restored");
        // A column that the newer snapshots and the target have not takes nothing away.
        project.write("sql/p/dim_customer.sql", &MODEL.replace("score,", "'p' AS phone, score,"));
        let accept = ["run", "--accept-restored", "--accept", "dim_customer=open", "pipelines/p.toml"];
        project.starmill(&accept).exits(0);
        source.sql("ALTER TABLE mart.dim_customer DROP COLUMN phone");
        project.write("sql/p/dim_customer.sql", MODEL);
        assert_eq!(
            source.sql("SELECT d::text FROM mart.dim_customer AS d ORDER BY customer_key"),
            before,
            "lost: {lost}"
        );
        source.sql("INSERT INTO customers VALUES (2, 'Ben', NULL, 'silver', NULL, NULL)");
        night(&project);
        assert_eq!(source.sql("SELECT string_agg(customer_key::text, ' ' ORDER BY 1) FROM mart.dim_customer WHERE customer_id = 2").len(), 3);
        assert_eq!(source.sql("SELECT max(customer_key) FROM mart.dim_customer"), "5");
    }
}

#[test]
fn a_history_of_many_nights_stays_in_few_files_and_whole() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\nkeep = 1\ngrace = \"0s\"\n[dimension.dim_a]\nkey = [\"id\"]\nhistory = { track = [\"city\"] }\n";
    let schema = |city: &str| format!("CREATE TABLE a (id int PRIMARY KEY, city {city}, note text);");
    let project = Project::of(
        toml,
        &[("dim_a", "SELECT id, city FROM a")],
        &schema("integer"),
        &[("a", "id,city,note\n1,0,x\n")],
    );
    for number in 0..34 {
        if number == 5 {
            // A column comes, and another widens.
            project.write("sql/p/dim_a.sql", "SELECT id, note, city FROM a");
            project.write("data/schema.sql", &schema("bigint"));
        }
        project.write("data/a.csv", &format!("id,city,note\n1,{number},x\n"));
        let accept: &[&str] = if number == 5 { &["--accept", "dim_a=open"] } else { &[] };
        project.starmill(&[&["run", "pipelines/p.toml"], accept].concat()).exits(0);
    }
    assert!(project.entries("out/keys/dim_a").len() < 5, "{:?}", project.entries("out/keys/dim_a"));
    let asked = "SELECT count(*), min(city), max(city), count(note), count(DISTINCT a_key) FROM dim_a WHERE a_key <> -1";
    let found = project.starmill(&["query", "pipelines/p.toml", asked, "--format", "csv"]).exits(0);
    assert_eq!(found.stdout.lines().nth(1), Some("34,0,33,34,34"));
}

#[test]
fn the_first_change_of_a_member_needs_a_later_time_too_and_one_to_come_waits() {
    let source = cluster().database();
    let history = "history = { track = [\"tier\"], effective_from = \"changed_at\" }";
    let project = sales(&source, history);
    night(&project);
    for changed_at in ["changed_at", "'2020-01-01'", "NULL"] {
        source.sql(&format!(
            "UPDATE customers SET tier = 'none', changed_at = {changed_at} WHERE customer_id = 1"
        ));
        let refused = project.starmill(&["run", "pipelines/p.toml"]).exits(7);
        refused.says("members that changed without a later time").says("customer_id=1");
    }
    // A change of next year is none yet; taken back, it never was one.
    source.sql("UPDATE customers SET name = 'Ada L.', changed_at = '2999-01-01' WHERE customer_id = 1");
    assert_eq!(counts(&night(&project), "dim_customer"), (0, 0, 1), "what is not tracked is overwritten");
    assert_eq!(source.sql("SELECT tier, name FROM mart.dim_customer WHERE customer_id = 1"), "gold|Ada L.");
    source.sql("UPDATE customers SET changed_at = now() - interval '1 second' WHERE customer_id = 1");
    assert_eq!(counts(&night(&project), "dim_customer"), (1, 0, 1));
    // Back from a deletion with an old time: what is between is a gap.
    source.sql("CREATE TABLE kept AS SELECT * FROM customers WHERE customer_id = 1; DELETE FROM customers WHERE customer_id = 1");
    night(&project);
    source.sql("INSERT INTO customers SELECT * FROM kept");
    night(&project);
    let gap = "SELECT count(*) FROM mart.dim_customer a JOIN mart.dim_customer b USING (customer_id) WHERE b.is_current AND a.customer_key = 3 AND a.valid_to < b.valid_from";
    assert_eq!(source.sql(gap), "1");
    // An edit opens versions, whatever the source's time says.
    project.write("sql/p/dim_customer.sql", &MODEL.replace("tier,", "upper(tier) AS tier,"));
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=open"]).exits(0);
    assert_eq!(
        source.sql("SELECT count(*) FROM mart.dim_customer WHERE is_current AND tier = upper(tier)"),
        "2"
    );
    night(&project);
}

#[test]
fn what_is_kept_in_one_type_is_not_rewritten_in_another() {
    let source = cluster().database();
    let project = sales(&source, "history = { track = [\"city\", \"tier\", \"score\"] }");
    night(&project);
    source.sql("UPDATE customers SET score = 7 WHERE customer_id = 1");
    night(&project);
    let before = source.sql("SELECT d::text FROM mart.dim_customer AS d ORDER BY 1");
    source.sql("ALTER TABLE customers ALTER score TYPE numeric(6,0)");
    let refused = project.starmill(&["run", "pipelines/p.toml"]).exits(3);
    refused
        .warns("dim_customer.score is kept as numeric(6,2), and would be numeric(6,0)")
        .warns("CAST(score AS numeric(6,2))");
    assert_eq!(source.sql("SELECT d::text FROM mart.dim_customer AS d ORDER BY 1"), before);
    // The remedy, and the other.
    project
        .write("sql/p/dim_customer.sql", &MODEL.replace("score,", "CAST(score AS numeric(6,2)) AS score,"));
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=open"]).exits(0);
    project.write("sql/p/dim_customer.sql", &MODEL.replace("score,", "score AS points,"));
    project.edit("pipelines/p.toml", "\"score\"", "\"points\"");
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=open"]).exits(0);
    // A key that is written otherwise would be another member.
    source.sql("ALTER TABLE orders DROP COLUMN customer_id; ALTER TABLE orders ADD customer_id timestamp");
    project.write(
        "sql/p/dim_customer.sql",
        "SELECT ordered_at AS customer_id, 'x' AS city, 'y' AS tier, 1 AS points FROM orders",
    );
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(3)
        .warns("dim_customer.customer_id is kept as integer");
}

#[test]
fn a_column_that_goes_and_comes_back_is_what_it_was() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    night(&project);
    source.sql("UPDATE customers SET city = 'Wien' WHERE customer_id = 1");
    night(&project);
    project.write("sql/p/dim_customer.sql", &MODEL.replace("city, ", ""));
    project.edit("pipelines/p.toml", "\"city\", \"tier\"", "\"tier\"");
    source.sql("UPDATE customers SET name = 'Ada L.' WHERE customer_id = 1");
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=open"]).exits(0);
    source.sql("UPDATE customers SET tier = 'none' WHERE customer_id = 1");
    night(&project);
    project.write("sql/p/dim_customer.sql", MODEL);
    project.edit("pipelines/p.toml", "\"tier\"", "\"city\", \"tier\"");
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=restate"]).exits(0);
    assert_eq!(
        source.sql(
            "SELECT customer_key, city, tier, name FROM mart.dim_customer WHERE customer_id = 1 ORDER BY 1"
        ),
        "1|Berlin|gold|Ada L.\n3|Wien|gold|Ada L.\n4|Wien|none|Ada L."
    );
}

#[test]
fn a_rollback_past_a_restatement_goes_on() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    night(&project);
    source.sql("UPDATE customers SET city = 'Wien' WHERE customer_id = 1");
    night(&project);
    let upper = MODEL.replace("tier,", "upper(tier) AS tier,");
    project.write("sql/p/dim_customer.sql", &upper);
    project.starmill(&["run", "pipelines/p.toml", "--accept", "dim_customer=restate"]).exits(0);
    project.starmill(&["snapshots", "rollback", "pipelines/p.toml", "--yes"]).exits(0);
    night(&project);
    assert_eq!(source.sql("SELECT DISTINCT tier FROM mart.dim_customer WHERE customer_id = 1"), "GOLD");
}

#[test]
fn an_edit_that_takes_members_away_or_another_zone_asks_first() {
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    night(&project);
    project.write("sql/p/dim_customer.sql", &format!("{MODEL} WHERE customer_id > 1"));
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(3)
        .warns("1 member of its history would be another version, or end");
    project.write(
        "sql/p/dim_customer.sql",
        &MODEL.replace("tier,", "CAST(CAST(changed_at AS date) AS text) AS tier,"),
    );
    project
        .starmill(&[
            "run",
            "pipelines/p.toml",
            "--accept",
            "dim_customer",
            "--accept",
            "dim_customer=restate",
        ])
        .exits(0);
    project.edit("pipelines/p.toml", "timezone = \"UTC\"", "timezone = \"America/New_York\"");
    project.starmill(&["run", "pipelines/p.toml"]).exits(3).warns("the time zone changed").warns("2 members");
    let both =
        ["run", "pipelines/p.toml", "--accept", "dim_customer=open", "--accept", "dim_customer=restate"];
    project.starmill(&both).exits(2).warns("say one of them");
    let rekeyed =
        project.read("pipelines/p.toml").replace("surrogate = \"customer_key\"", "surrogate = \"buyer_key\"");
    project.write("pipelines/p.toml", &rekeyed);
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(3)
        .warns("the history that is kept of it is lost then");
}

#[test]
fn columns_may_have_any_names_and_a_time_that_is_null_finds_nobody() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE t (\"next_from\" int, versions text, l text, m text, v int, n text, \"Order\" text, \"a \"\"b\" text, PRIMARY KEY (next_from, versions)); \
         INSERT INTO t VALUES (1, 'x', 'l', 'm', 1, 'n', 'o', 'q'); \
         CREATE TABLE f (id int PRIMARY KEY, k int, x text, at timestamptz, r int); INSERT INTO f VALUES (1, 1, 'x', NULL, 1), (2, 1, 'x', '2024-01-01', 1)",
    );
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[store]\nurl = \"out\"\n[dimension.dim_t]\nkey = [\"next_from\", \"versions\"]\nhistory = {{ except = [\"v\"] }}\n\
         [fact.f]\nkey = [\"id\"]\ngrain = \"f\"\nlookups.t_key = {{ dimension = \"dim_t\", on = {{ next_from = \"k\", versions = \"x\" }}, as_of = \"at\", unknown_max = 0 }}\n",
        source.url()
    );
    let models = [("dim_t", "SELECT * FROM t"), ("f", "SELECT id, k, x, at, r FROM f")];
    let project = Project::of(&toml, &models, "", &[]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0).says("t_key unknown: k or x or at is NULL");
    source.sql("UPDATE t SET l = 'L', \"a \"\"b\" = 'Q', v = 2");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let asked = "SELECT l, v, \"Order\", \"a \"\"b\", is_current FROM dim_t WHERE t_key > 0 ORDER BY t_key";
    let found = project.starmill(&["query", "pipelines/p.toml", asked, "--format", "csv"]).exits(0);
    assert_eq!(found.stdout.lines().skip(1).collect::<Vec<_>>(), ["l,2,o,q,false", "L,2,o,Q,true"]);
    project
        .starmill(&["history", "pipelines/p.toml", "dim_t", "next_from=1,versions=x"])
        .exits(0)
        .says("l → L");
}

#[test]
fn what_changes_twice_at_one_instant_is_one_version() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[dimension.dim_a]\nkey = [\"id\"]\nhistory = { track = [\"city\"] }\n";
    let schema = "CREATE TABLE a (id int PRIMARY KEY, city text);";
    let project =
        Project::of(toml, &[("dim_a", "SELECT id, city FROM a")], schema, &[("a", "id,city\n1,x\n2,x\n")]);
    let run = |accept: &[&str]| project.starmill(&[&["run", "pipelines/p.toml"], accept].concat());
    run(&[]).exits(0);
    project.write("data/a.csv", "id,city\n1,y\n2,x\n");
    run(&[]).exits(0);
    // The files are those of the last night, and so is their instant.
    project.write("sql/p/dim_a.sql", "SELECT id, upper(city) AS city FROM a");
    run(&["--accept", "dim_a=open"]).exits(0);
    let asked = "SELECT id, city, is_current FROM dim_a WHERE id > 0 ORDER BY a_key";
    let rows = |project: &Project| {
        project.starmill(&["query", "pipelines/p.toml", asked, "--format", "csv"]).exits(0).stdout
    };
    assert_eq!(
        rows(&project).lines().skip(1).collect::<Vec<_>>(),
        ["1,x,false", "2,x,false", "1,Y,true", "2,X,true"]
    );
    // An older copy of the files.
    let file = std::fs::File::options().write(true).open(project.path("data/a.csv")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
    let schema = std::fs::File::options().write(true).open(project.path("data/schema.sql")).unwrap();
    schema
        .set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000))
        .unwrap();
    run(&[]).exits(5).warns("the source's instant is before that at which versions of dim_a began or ended");
}

/// What a member was, as a night saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    id: i64,
    from: String,
    to: String,
    city: Option<i64>,
    tier: Option<i64>,
    name: String,
}

/// The history that follows from the states of all nights, told plainly: no set, no window, no log.
#[derive(Default)]
struct Replay {
    versions: Vec<Seen>,
}

const BEGINNING: &str = "0001-01-01 00:00:00";
const END: &str = "9999-12-31 00:00:00";

impl Replay {
    fn night(&mut self, at: &str, state: &[(i64, Option<i64>, Option<i64>, String)]) {
        for version in self.versions.iter_mut().filter(|version| version.to == END) {
            if state.iter().all(|(id, ..)| *id != version.id) {
                version.to = at.to_owned();
            }
        }
        for (id, city, tier, name) in state {
            let known = self.versions.iter().any(|version| version.id == *id);
            let open = self.versions.iter_mut().find(|version| version.id == *id && version.to == END);
            let same = open.as_ref().is_some_and(|open| open.city == *city && open.tier == *tier);
            if let Some(open) = open.filter(|_| !same) {
                open.to = at.to_owned();
            }
            if !same {
                let from = if known { at } else { BEGINNING };
                self.versions.push(Seen {
                    id: *id,
                    from: from.to_owned(),
                    to: END.to_owned(),
                    city: *city,
                    tier: *tier,
                    name: name.clone(),
                });
            }
            for version in self.versions.iter_mut().filter(|version| version.id == *id) {
                version.name.clone_from(name);
            }
        }
    }
}

#[test]
fn a_random_history_is_the_one_replayed_from_the_nights_states() {
    for seed in 0..rounds(2) as u64 {
        random_history(seed);
    }
}

fn random_history(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let source = cluster().database();
    let project = sales(&source, TRACKED);
    let toml = project
        .read("pipelines/p.toml")
        .replace("on = [\"customer_id\"]", "on = [\"customer_id\"], unknown_max = \"100%\"");
    project.write("pipelines/p.toml", &toml);
    source.sql(
        "TRUNCATE customers, orders; ALTER TABLE customers ALTER city TYPE integer USING NULL, ALTER tier TYPE integer USING NULL; \
         INSERT INTO orders SELECT n, n % 14, timestamptz '2020-01-01 00:00+00', 1 FROM generate_series(1, 40) AS n",
    );
    let mut replay = Replay::default();
    let mut before = Vec::new();
    for night_number in 0..7 {
        for _ in 0..random.usize(0..8) {
            let id = random.i64(1..13);
            let value = |random: &mut Rng| {
                if random.u8(0..4) == 0 { "NULL".to_owned() } else { random.u8(0..3).to_string() }
            };
            let (city, tier) = (value(&mut random), value(&mut random));
            source.sql(&match random.u8(0..6) {
                0 => format!("DELETE FROM customers WHERE customer_id = {id}"),
                1 => format!("UPDATE customers SET name = 'n{}' WHERE customer_id = {id}", random.u8(0..3)),
                2 => format!("UPDATE customers SET city = {city} WHERE customer_id = {id}"),
                3 => format!("UPDATE customers SET tier = {tier}, name = 'x' WHERE customer_id = {id}"),
                _ => format!(
                    "INSERT INTO customers VALUES ({id}, 'new', {city}, {tier}) ON CONFLICT DO NOTHING"
                ),
            });
        }
        // Orders of the instants that matter: just before, at and after the last night.
        source.sql(&format!(
            "INSERT INTO orders SELECT {night_number} * 1000 + 100 + n, n % 14, now() - n * interval '400 milliseconds', 1 FROM generate_series(1, 30) AS n"
        ));
        let report = night(&project);
        let at = source.sql(&format!(
            "SELECT timestamptz '{}' AT TIME ZONE 'UTC'",
            report["source"]["position"]["at"].as_str().unwrap()
        ));
        let state = source.sql("SELECT customer_id, city, tier, name FROM customers ORDER BY 1");
        let state = state.lines().map(|line| {
            let cells: Vec<&str> = line.split('|').collect();
            (cells[0].parse().unwrap(), cells[1].parse().ok(), cells[2].parse().ok(), cells[3].to_owned())
        });
        replay.night(&at, &state.collect::<Vec<_>>());
        let rows = source.sql(
            "SELECT customer_id, valid_from AT TIME ZONE 'UTC', valid_to AT TIME ZONE 'UTC', city, tier, name, customer_key, customer_durable_key, is_current \
             FROM mart.dim_customer WHERE customer_key <> -1",
        );
        let rows: Vec<Vec<String>> =
            rows.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect();
        let mut found: Vec<Seen> = rows
            .iter()
            .map(|row| Seen {
                id: row[0].parse().unwrap(),
                from: row[1].clone(),
                to: row[2].clone(),
                city: row[3].parse().ok(),
                tier: row[4].parse().ok(),
                name: row[5].clone(),
            })
            .collect();
        found.sort();
        let mut expected = replay.versions.clone();
        expected.sort();
        assert_eq!(found, expected, "seed {seed}, night {night_number}");
        for row in &rows {
            assert_eq!(row[8] == "t", row[2] == END, "{row:?}");
        }
        // A key is one version's, and a version keeps it; the durable key is one member's.
        let mut keys: Vec<[String; 4]> =
            rows.iter().map(|row| [6, 0, 1, 7].map(|at| row[at].clone())).collect();
        keys.sort();
        for (position, known) in before.iter().enumerate() {
            assert!(
                keys.contains(known),
                "seed {seed}, night {night_number}: {known:?} of {position} is gone"
            );
        }
        let distinct = |of: &[usize]| {
            let values = keys.iter().map(|key| of.iter().map(|at| key[*at].as_str()).collect::<Vec<_>>());
            values.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(distinct(&[0]), keys.len());
        assert_eq!((distinct(&[3]), distinct(&[1])), (distinct(&[1, 3]), distinct(&[1, 3])));
        before = keys;
        let wrong = "SELECT count(*) FROM mart.fact_orders AS f WHERE f.customer_key <> coalesce((SELECT d.customer_key FROM mart.dim_customer AS d \
             WHERE d.customer_id = f.customer_id AND d.valid_from <= f.ordered_at AND f.ordered_at < d.valid_to), -1) \
             OR f.customer_now_key <> coalesce((SELECT d.customer_key FROM mart.dim_customer AS d WHERE d.customer_id = f.customer_id AND d.is_current), -1)";
        assert_eq!(source.sql(wrong), "0", "seed {seed}, night {night_number}");
        // The diff says what is otherwise than the night before.
        if night_number > 0 {
            let (added, removed, changed) = counts(&report, "dim_customer");
            let otherwise =
                source.sql("SELECT count(*) FROM (TABLE mart.dim_customer EXCEPT TABLE last) AS d");
            let fresh = source.sql("SELECT count(*) FROM mart.dim_customer WHERE customer_key NOT IN (SELECT customer_key FROM last)");
            assert_eq!((added + changed).to_string(), otherwise, "seed {seed}, night {night_number}");
            assert_eq!((added.to_string(), removed), (fresh, 0), "seed {seed}, night {night_number}");
        }
        source.sql("DROP TABLE IF EXISTS last; CREATE TABLE last AS SELECT * FROM mart.dim_customer");
    }
}
