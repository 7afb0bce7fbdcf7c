//! Whatever is wrong: one clear error with its place and a remedy, the right exit code, nothing
//! half-written, no password in sight.

use crate::support::{Project, cluster};

#[test]
fn every_mistake_of_a_pipeline_is_reported_at_once_with_its_place() {
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "connections = 2", "conections = 2");
    project.edit("pipelines/shop.toml", "keep = 14", "keep = \"many\"");
    project.edit("pipelines/shop.toml", "timezone = \"UTC\"", "timezone = \"Europe/Berlim\"");
    project.edit("pipelines/shop.toml", "dimension = \"dim_carrier\"", "dimension = \"dim_carier\"");
    project.edit("pipelines/shop.toml", "\"400MB\"", "\"lots\"");
    std::fs::remove_file(project.path("sql/shop/top_products.sql")).unwrap();
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    let ran = ran
        .warns("unknown key `conections` in [source]")
        .warns("did you mean `connections`?")
        .warns("pipelines/shop.toml:8:1")
        .warns("`store.keep` must be a whole number from 1 to 100000, not a string")
        .warns("there is no time zone `Europe/Berlim`")
        .warns("did you mean `Europe/Berlin`?")
        .warns("there is no dimension `dim_carier`")
        .warns("`lots` is not an amount of memory")
        .warns("sql/shop/top_products.sql")
        .warns("error: 6 mistakes in pipelines/shop.toml");
    assert_eq!(ran.stdout, "");
    let json = project.starmill(&["check", "pipelines/shop.toml", "--format", "json"]).exits(3).json();
    let places: Vec<_> = json["error"]["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["place"]["line"].clone())
        .collect();
    assert_eq!(places.len(), 6);
    assert!(places.contains(&8.into()), "{places:?}");
}

#[test]
fn toml_that_does_not_parse_names_the_line() {
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "schemas = [\"public\"]", "schemas = [\"public\"");
    project
        .starmill(&["check", "pipelines/shop.toml"])
        .exits(3)
        .warns("this TOML does not parse")
        .warns("pipelines/shop.toml:");
}

#[test]
fn mistakes_in_sql_are_shown_under_their_line() {
    let project = Project::shop();
    project.edit("sql/shop/dim_carrier.sql", "carrier_name", "carier_name");
    project.edit("sql/shop/dim_customer.sql", "FROM customers", "FROM custommers");
    project.edit("sql/shop/daily_sales.sql", "GROUP BY", "GROUP YB");
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    ran.warns("sql/shop/daily_sales.sql:12:1").warns("this SQL does not parse");
    project.edit("sql/shop/daily_sales.sql", "GROUP YB", "GROUP BY");
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    ran.warns("sql/shop/dim_carrier.sql:3:20")
        .warns("carier_name")
        .warns("columns here: carrier_id, carrier_name")
        .warns("there is no model and no source table `custommers`")
        .warns("did you mean `customers`?")
        .warns("sql/shop/dim_customer.sql:7:6");
}

#[test]
fn what_the_engine_would_answer_otherwise_than_postgres_is_refused() {
    let refused = [
        ("SELECT id, id > ALL (SELECT id FROM t) AS x FROM t", "ANY and ALL over a subquery"),
        ("SELECT id, string_agg(name, ',') AS names FROM t GROUP BY id", "states none"),
        ("SELECT id, row_number() OVER () AS n FROM t", "row_number depends on the order"),
        ("SELECT id, CAST(price / 3 AS text) AS third FROM t", "the same digits after the point"),
        ("SELECT id, CAST(avg(price) AS text) AS mean FROM t GROUP BY id", "state the digits"),
        ("SELECT id, CAST(name AS char(2)) AS short FROM t", "does not cut it"),
        ("SELECT id, to_char(day, '%Y-%m') AS month FROM t", "takes Postgres's patterns"),
        ("SELECT id, to_date(name, 'IYYY-IW') AS month FROM t", "does not read IYYY here"),
        ("SELECT id FROM t LIMIT 5", "LIMIT without ORDER BY"),
        ("SELECT id, random() AS dice FROM t", "another answer in every run"),
        ("SELECT id FROM t; SELECT id FROM t", "a second statement"),
        ("DELETE FROM t", "not a SELECT"),
        ("WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone", "writes"),
        ("SELECT id INTO other FROM t", "SELECT INTO"),
        ("SELECT id FROM t FOR UPDATE", "row locks"),
        ("-- only a remark", "no SQL here"),
    ];
    for (sql, message) in refused {
        let toml =
            "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.m]\nkey = [\"id\"]\n";
        let project = Project::of(
            toml,
            &[("m", sql)],
            "CREATE TABLE t (id int PRIMARY KEY, name text, price numeric(10,2), day date, at timestamptz)",
            &[("t", "id,name,price,day,at\n")],
        );
        let ran = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
        assert!(ran.stderr.contains(message), "{sql}\n{}", ran.stderr);
        assert!(ran.stderr.contains("sql/p/m.sql:1:"), "{sql}\n{}", ran.stderr);
        assert!(ran.stderr.contains("help: "), "{sql}\n{}", ran.stderr);
    }
}

#[test]
fn models_that_read_each_other_in_a_circle_are_named() {
    let project = Project::shop();
    project.edit(
        "sql/shop/dim_carrier.sql",
        "FROM shipping_carriers",
        "FROM shipping_carriers WHERE carrier_id IN (SELECT carrier_id FROM fact_order_items)",
    );
    project
        .starmill(&["check", "pipelines/shop.toml"])
        .exits(3)
        .warns("models read each other in a circle")
        .warns("dim_carrier → ");
}

#[test]
fn columns_that_the_pipeline_names_must_be_the_models() {
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "key = [\"item_id\"]", "key = [\"itemid\"]");
    project.edit(
        "pipelines/shop.toml",
        "measures = [\"quantity\", \"line_total\"]",
        "measures = [\"quantity\", \"line_totl\"]",
    );
    project.edit("pipelines/shop.toml", "indexes = [[\"ordered_at\"]]", "indexes = [[\"ordred_at\"]]");
    project.edit(
        "pipelines/shop.toml",
        "SELECT sum(quantity) FROM order_items",
        "SELECT sum(quantity) FROM order_itms",
    );
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    ran.warns("the key names `itemid`, which `fact_order_items` has not")
        .warns("did you mean `item_id`?")
        .warns("an index names `ordred_at`")
        .warns("the source has no table `order_itms`");
}

#[test]
fn keys_and_indexes_that_no_target_can_have_are_told_at_check() {
    let many: Vec<String> = (0..33).map(|number| format!("c{number}")).collect();
    let columns = many.iter().map(|name| format!("id AS {name}")).collect::<Vec<_>>().join(", ");
    let list = format!("[\"{}\"]", many.join("\", \""));
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"postgres://h/d\"\nschema = \"mart\"\n\
         [summary.a]\nkey = [\"id\", \"id\"]\n[summary.b]\nkey = [\"id\"]\nindexes = [[]]\n[summary.c]\nkey = {list}\n\
         [summary.e]\nkey = [\"c1\"]\nindexes = [{list}]\n"
    );
    let wide = format!("SELECT {columns} FROM t");
    let one = "SELECT id FROM t";
    let models = [("a", one), ("b", one), ("c", wide.as_str()), ("e", wide.as_str())];
    let project = Project::of(&toml, &models, "CREATE TABLE t (id int);", &[("t", "id\n1\n")]);
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("the key of `a` names `id` twice")
        .warns("an index of `b` has no columns")
        .warns("the key of `c` has 33 columns")
        .warns("the index of `e` has 33 columns");
    project.edit("pipelines/p.toml", "schema = \"mart\"", "schema = \"\"");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("a schema has a name");
}

#[test]
fn a_csv_that_is_broken_names_file_line_and_remedy() {
    let broken = |edit: &dyn Fn(&Project), code: i32, expected: &[&str]| {
        let project = Project::shop();
        edit(&project);
        let mut ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(code);
        for text in expected {
            ran = ran.warns(text);
        }
        assert_eq!(project.latest(), None);
        assert_eq!(project.entries("out/shop/snapshots"), [""; 0]);
        assert_eq!(ran.stdout, "");
    };
    broken(
        &|p| p.edit("data/shop/order_items.csv", "\n3,", "\n3,1,"),
        5,
        &["data/shop/order_items.csv:4: 6 fields, but the header has 5", "help: "],
    );
    broken(
        &|p| p.edit("data/shop/order_items.csv", "\n3,", "\nthree,"),
        5,
        &[
            "data/shop/order_items.csv:4: public.order_items.item_id: the value `three` is not a valid integer",
        ],
    );
    broken(
        &|p| p.edit("data/shop/shipping_carriers.csv", "Blitz\"\"\"", "Blitz\"\""),
        5,
        &["data/shop/shipping_carriers.csv:5: a quote opens here and never closes"],
    );
    broken(
        &|p| p.edit("data/shop/orders.csv", "order_id,customer_id", "order_id,customer"),
        5,
        &[
            "data/shop/orders.csv:1: the header does not fit schema.sql; missing: customer_id; not declared: customer",
        ],
    );
    broken(
        &|p| p.edit("data/shop/orders.csv", "2024-02-29 12:00:00+00", "2024-02-30 12:00:00+00"),
        5,
        &["data/shop/orders.csv:11: public.orders.ordered_at", "not a valid timestamptz"],
    );
    broken(
        &|p| p.edit("data/shop/orders.csv", "2024-02-29 12:00:00+00", "2024-02-29 12:00:00"),
        5,
        &["write an offset"],
    );
    broken(
        &|p| p.edit("data/shop/shipping_carriers.csv", "1,DHL", "1,"),
        5,
        &["data/shop/shipping_carriers.csv:2: carrier_name is NULL, but declared NOT NULL"],
    );
    broken(
        &|p| std::fs::remove_file(p.path("data/shop/orders.csv")).unwrap(),
        4,
        &["cannot read", "orders.csv"],
    );
    broken(
        &|p| std::fs::remove_file(p.path("data/shop/schema.sql")).unwrap(),
        4,
        &["schema.sql", "guessing types would turn money into floats"],
    );
    broken(
        &|p| p.edit("data/shop/schema.sql", "CREATE TABLE orders (", "CREATE TABLE orders"),
        5,
        &["this statement does not parse"],
    );
}

#[test]
fn money_with_more_digits_than_its_type_is_refused_never_rounded() {
    let toml =
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.m]\nkey = [\"id\"]\n";
    let schema = "CREATE TABLE t (id int PRIMARY KEY, price numeric(10,2), fx numeric)";
    let project = Project::of(
        toml,
        &[("m", "SELECT id, price, fx FROM t")],
        schema,
        &[("t", "id,price,fx\n1,1.005,1\n")],
    );
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(5)
        .warns("data/t.csv:2: public.t.price: the value `1.005` has more digits than decimal(10,2) holds");
    project.write("data/t.csv", "id,price,fx\n1,1.00,0.12345678901234\n");
    let ran = project.starmill(&["run", "pipelines/p.toml"]).exits(5);
    ran.warns("set below [source.columns]: \"public.t.fx\" = { as = \"decimal(38,14)\" }");
    project.edit(
        "pipelines/p.toml",
        "[store]",
        "[source.columns]\n\"public.t.fx\" = { as = \"decimal(38,14)\" }\n[store]",
    );
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    project.write("data/t.csv", "id,price,fx\n1,NaN,1\n");
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(5)
        .warns("`NaN` has no place in Arrow")
        .warns("special = \"null\"");
}

#[test]
fn a_server_that_refuses_is_told_apart_and_never_shows_the_password() {
    let source = cluster().shop();
    let mut project = Project::shop();
    let port = cluster().port();
    let mut refused = |url: &str, code: i32, expected: &[&str]| {
        project.set("SHOP_SOURCE", url);
        for args in [vec!["run"], vec!["check"], vec!["plan"], vec!["run", "--dry-run"]] {
            let mut args = args.clone();
            args.push("pipelines/shop.toml");
            let mut ran = project.starmill(&args).exits(code).never_shows("hunter2");
            for text in expected {
                ran = ran.warns(text);
            }
            assert_eq!(ran.stderr.matches("error: cannot").count(), usize::from(code == 4));
        }
        assert_eq!(project.latest(), None);
    };
    let at = format!("127.0.0.1:{port}/{}", source.name);
    refused(
        &format!("postgres://guarded:hunter2@{at}"),
        4,
        &[
            "cannot connect to the source postgres://guarded@",
            "password authentication failed",
            "check the password",
        ],
    );
    refused(&format!("postgres://guarded@{at}"), 4, &["give the password: in PGPASSWORD, in ~/.pgpass"]);
    refused(
        "postgres://me:hunter2@127.0.0.1:1/shop",
        4,
        &["cannot connect to the source", "check host and port"],
    );
    refused(
        &format!("postgres://postgres:hunter2@127.0.0.1:{port}/nowhere"),
        4,
        &["database \"nowhere\" does not exist", "check the database's name"],
    );
    refused(
        "postgres://me:hunter2@host.invalid/shop?connect_timeout=2",
        4,
        &["cannot connect to the source"],
    );
    refused("host=db password=hunter2", 3, &["a source is not given by keywords and values"]);
    refused(
        "postgres://me:hun/ter2:hunter2@127.0.0.1:1/shop",
        4,
        &["cannot connect to the source postgres://me@127.0.0.1:1/shop"],
    );
    refused("mysql://me:hunter2@db/shop", 3, &["a source cannot be read from `mysql://`"]);
}

#[test]
fn a_host_that_swallows_packets_is_given_up_on() {
    // A listener whose backlog is full never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &format!("postgres://me@127.0.0.1:{port}/shop?connect_timeout=1"));
    let started = std::time::Instant::now();
    project.starmill(&["run", "pipelines/shop.toml"]).exits(4).warns("cannot connect to the source");
    assert!(started.elapsed().as_secs() < 30);
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_password_comes_from_the_environment_or_pgpass() {
    let source = cluster().shop();
    source.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guarded");
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &source.url_of("guarded"));
    project.set("PGPASSWORD", "open sesame");
    project.night();
    project.set("PGPASSWORD", "");
    project.write("pgpass", &format!("*:{}:*:guarded:open sesame\n", cluster().port()));
    project.set("PGPASSFILE", project.path("pgpass").to_str().unwrap());
    // As libpq does: a password that everybody may read is none.
    set_mode(&project.path("pgpass"), 0o644);
    let passed_over = project.starmill(&["run", "pipelines/shop.toml"]).exits(4);
    passed_over.warns("may be read by others and is passed over: chmod 0600").never_shows("open sesame");
    set_mode(&project.path("pgpass"), 0o600);
    project.night();
}

#[test]
fn a_server_that_asks_otherwise_than_is_allowed_gets_no_password() {
    let source = cluster().shop();
    source.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guarded");
    let mut project = Project::shop();
    project.set("PGPASSWORD", "open sesame");
    let mut tried = |parameters: &str| {
        project.set("SHOP_SOURCE", &format!("{}?{parameters}", source.url_of("guarded")));
        project.starmill(&["run", "--dry-run", "pipelines/shop.toml"])
    };
    tried("require_auth=scram-sha-256").exits(0);
    tried("require_auth=!password,!md5").exits(0);
    tried("require_auth=md5").exits(4).warns("the server asks by scram-sha-256, and require_auth allows md5");
    tried("require_auth=none").exits(4).warns("require_auth allows none").never_shows("open sesame");
    tried("require_auth=kerberos").exits(3).warns("`require_auth` cannot be that");
    project.set("SHOP_SOURCE", &format!("{}?require_auth=scram-sha-256", source.url()));
    project.starmill(&["plan", "pipelines/shop.toml"]).exits(4).warns("the server does not ask who we are");
}

#[test]
fn of_several_servers_the_one_that_is_wanted_is_read() {
    let source = cluster().shop();
    let port = cluster().port();
    let name = source.url().rsplit('/').next().unwrap().to_owned();
    let user = source.url().split("://").nth(1).unwrap().split('@').next().unwrap().to_owned();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut project = Project::shop();
    let mut tried = |parameters: &str| {
        let url = format!("postgres://{user}@127.0.0.1:{dead},127.0.0.1:{port}/{name}?{parameters}");
        project.set("SHOP_SOURCE", &url);
        project.starmill(&["plan", "pipelines/shop.toml"])
    };
    for wanted in ["any", "read-write", "primary", "prefer-standby"] {
        tried(&format!("target_session_attrs={wanted}")).exits(0);
    }
    tried("target_session_attrs=standby").exits(4);
    tried("target_session_attrs=first").exits(3).warns("primary, standby and prefer-standby");
    project.set("SHOP_SOURCE", &format!("{}?target_session_attrs=standby", source.url()));
    project
        .starmill(&["plan", "pipelines/shop.toml"])
        .exits(4)
        .warns("none of the source's servers is a standby");
    project.set(
        "SHOP_SOURCE",
        &format!("postgres://{user}@127.0.0.1/{name}?port={port}&client_encoding=UTF8&keepalives_count=3"),
    );
    project.starmill(&["plan", "pipelines/shop.toml"]).exits(0);
    project.set("SHOP_SOURCE", &format!("{}?sslcrl=/tmp/x", source.url()));
    project
        .starmill(&["plan", "pipelines/shop.toml"])
        .exits(3)
        .warns("`sslcrl` is not taken")
        .warns("revocation lists");
}

#[test]
fn a_table_that_may_not_be_read_is_named_with_the_grant_that_helps() {
    let source = cluster().shop();
    source.sql("CREATE ROLE poor_b LOGIN; GRANT SELECT ON customers, products, categories, order_items, shipping_carriers TO poor_b");
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &source.url_of("poor_b"));
    let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(5);
    ran.warns("the role poor_b may not read public.addresses and public.orders").warns(
        "help: GRANT SELECT ON \"public\".\"addresses\" TO \"poor_b\"; GRANT SELECT ON \"public\".\"orders\" TO \"poor_b\";",
    );
}

#[test]
fn row_level_security_is_an_error_and_not_a_smaller_table() {
    let source = cluster().shop();
    source.sql(
        "CREATE ROLE partial_b LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO partial_b; \
         ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY half ON orders TO partial_b USING (order_id % 2 = 0)",
    );
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &source.url_of("partial_b"));
    project.starmill(&["run", "pipelines/shop.toml"]).exits(5).warns("row-level security");
    assert_eq!(project.latest(), None);
}

#[test]
fn a_table_that_somebody_holds_is_waited_for_only_so_long() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.edit(
        "pipelines/shop.toml",
        "snapshot_max = \"30m\"",
        "snapshot_max = \"30m\"\nlock_timeout = \"200ms\"",
    );
    let mut holder = source
        .psql()
        .args(["-c", "BEGIN; LOCK TABLE orders; SELECT pg_sleep(60)"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::support::wait_until("the lock", || {
        source.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'orders'::regclass") == "1"
    });
    project
        .starmill(&["run", "pipelines/shop.toml"])
        .exits(4)
        .warns("public.orders")
        .warns("lock timeout")
        .warns("lock_timeout");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_source_that_takes_too_long_is_let_go() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.edit("pipelines/shop.toml", "snapshot_max = \"30m\"", "snapshot_max = \"300ms\"");
    project.edit(
        "pipelines/shop.toml",
        "SELECT count(DISTINCT order_id) FROM order_items",
        "SELECT count(DISTINCT order_id) FROM order_items, (SELECT pg_sleep(30)) AS s",
    );
    let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(4);
    ran.warns("the source snapshot was held for 300ms").warns("snapshot_max");
    let busy = || {
        source.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'starmill' AND datname = current_database()")
    };
    crate::support::wait_until("the server to be let go", || busy() == "0");
}

#[test]
fn a_control_that_the_server_cannot_run_is_found_by_check() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.edit(
        "pipelines/shop.toml",
        "SELECT sum(quantity) FROM order_items",
        "SELECT sum(quantty) FROM order_items",
    );
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    ran.warns("column \"quantty\" does not exist").warns("pipelines/shop.toml:");
}

#[test]
fn a_full_disk_is_told_and_the_last_star_stands() {
    let project = Project::shop();
    project.night();
    let before = project.latest();
    let ran = project.starmill_with_fault(&["run", "pipelines/shop.toml"], "write.batch=full").exits(8);
    ran.warns("cannot write").warns("no storage space").warns("free space there");
    assert_eq!(project.latest(), before);
    project.assert_store_is_whole();
}

#[test]
fn a_store_that_cannot_be_written_or_read_is_told() {
    let project = Project::shop();
    project.write("out", "a file, not a folder");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(8).warns("cannot create").warns("out/shop");
    let project = Project::shop();
    project.night();
    let snapshots = project.entries("out/shop/snapshots");
    project.write("out/shop/latest.json", "{ not json");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(8).warns("latest.json is not starmill's");
    std::fs::remove_file(project.path("out/shop/latest.json")).unwrap();
    project.starmill(&["run", "pipelines/shop.toml"]).exits(8).warns("its latest.json is gone");
    assert_eq!(project.entries("out/shop/snapshots"), snapshots, "nothing is swept away");
}

#[test]
fn what_starmill_did_not_make_is_never_swept_away() {
    let project = Project::shop();
    project.write("out/shop/snapshots/mine/precious.txt", "mine");
    project.write("out/shop/keys/ssh/id_ed25519", "mine");
    project.write("out/shop/latest/not-a-link.txt", "mine");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(8).warns("its latest.json is gone");
    std::fs::rename(project.path("out/shop/latest"), project.path("out/shop/other")).unwrap();
    project.night();
    std::fs::remove_file(project.path("out/shop/latest")).unwrap();
    std::fs::rename(project.path("out/shop/other"), project.path("out/shop/latest")).unwrap();
    // The link cannot be made any more, which is no reason not to publish.
    let report = project.night();
    assert_eq!(report["outcome"], "published");
    for path in [
        "out/shop/snapshots/mine/precious.txt",
        "out/shop/keys/ssh/id_ed25519",
        "out/shop/latest/not-a-link.txt",
    ] {
        assert_eq!(project.read(path), "mine", "{path}");
    }
    project.assert_store_is_whole();
}

#[test]
fn a_store_that_holds_another_pipelines_star_is_not_mixed_up() {
    let project = Project::shop();
    project.night();
    project.edit("pipelines/shop.toml", "name = \"shop\"", "name = \"shop2\"");
    project.starmill(&["run", "pipelines/shop.toml"]).exits(3).warns("holds the star of the pipeline `shop`");
}

#[test]
fn a_pipeline_that_does_not_exist_and_wrong_usage_are_told() {
    let project = Project::shop();
    project
        .starmill(&["run", "pipelines/shpo.toml"])
        .exits(3)
        .warns("cannot read the pipeline pipelines/shpo.toml");
    project.starmill(&["rum", "pipelines/shop.toml"]).exits(2).warns("unrecognized subcommand 'rum'");
    project.starmill(&["run"]).exits(2).warns("<PIPELINE>");
    project.edit("pipelines/shop.toml", "${SHOP_SOURCE:-data/shop}", "${SHOP_SOURCE}");
    project
        .starmill(&["check", "pipelines/shop.toml"])
        .exits(3)
        .warns("the environment variable `SHOP_SOURCE` is not set");
}

#[test]
fn a_source_that_is_empty_is_no_folder() {
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", "");
    project.edit("pipelines/shop.toml", "${SHOP_SOURCE:-data/shop}", "${SHOP_SOURCE}");
    project.starmill(&["check", "pipelines/shop.toml"]).exits(3).warns("the source's url is empty");
}

#[test]
fn a_grain_that_is_misspelt_is_told_once_and_where_it_is_written() {
    let project = Project::shop();
    let text = project.read("pipelines/shop.toml");
    let line =
        text.lines().position(|line| line.starts_with("grain") && line.contains("order_items")).unwrap() + 1;
    project.edit("pipelines/shop.toml", "grain = \"order_items\"", "grain = \"order_itms\"");
    // A mistake of another layer does not hide it.
    project.edit("pipelines/shop.toml", "timezone = \"UTC\"", "timezone = \"Europe/Berlino\"");
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    let ran = ran.warns("Europe/Berlino").warns(&format!("pipelines/shop.toml:{line}:"));
    assert_eq!(ran.stderr.matches("no table `order_itms`").count(), 1, "{}", ran.stderr);
}

#[test]
fn mistakes_of_every_layer_are_told_in_one_round() {
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "connections = 2", "conections = 2");
    project.edit("pipelines/shop.toml", "keep = 14", "keep = \"many\"");
    project.edit("sql/shop/dim_carrier.sql", "carrier_name", "carier_name");
    project.edit(
        "sql/shop/dim_customer.sql",
        "FROM customers",
        "FROM customers WHERE (customer_id > ALL (SELECT 1)) IS NULL",
    );
    project.edit("sql/shop/daily_sales.sql", "GROUP BY", "HAVING sum(line_total) / 3 > 0 GROUP BY");
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    let ran = ran.warns("unknown key `conections`").warns("`store.keep` must be a whole number");
    let ran = ran.warns("ANY and ALL over a subquery");
    // A model that does not parse hides what others say of its table.
    let ran = ran.warns("this SQL does not parse");
    assert!(ran.stderr.contains("mistakes in pipelines/shop.toml"));
    project.edit("sql/shop/daily_sales.sql", "HAVING sum(line_total) / 3 > 0 GROUP BY", "GROUP BY");
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
    ran.warns("unknown key `conections`")
        .warns("`store.keep` must be a whole number")
        .warns("ANY and ALL over a subquery")
        .warns("columns here: carrier_id, carrier_name");
}

#[test]
fn sql_of_any_depth_ends_in_an_answer_or_an_error() {
    let repeated = |what: &str, by: &str, times: usize| vec![what; times].join(by);
    let nested = |depth| (0..depth).fold("name".to_owned(), |inner, _| format!("coalesce({inner}, name)"));
    let chain: Vec<String> = (1..1_000).map(|n| format!("c{n} AS (SELECT id FROM c{})", n - 1)).collect();
    for sql in [
        repeated("SELECT id FROM t", " UNION ALL ", 600),
        format!("SELECT id FROM t WHERE {}", repeated("id = 1", " OR ", 2_000)),
        format!("SELECT id, {} AS x FROM t", repeated("name", " || ", 3_000)),
        format!("SELECT id, {} AS x FROM t", repeated("id", " + ", 3_000)),
        format!("WITH c0 AS (SELECT id FROM t), {} SELECT id FROM c999", chain.join(", ")),
        format!("SELECT id, {} AS x FROM t", nested(15)),
        format!("SELECT id, {} AS x FROM t", nested(200)),
        format!("SELECT id FROM t WHERE {}id = 1{}", "(".repeat(3_000), ")".repeat(3_000)),
        format!("SELECT id, {}1{} AS x FROM t", "ARRAY[".repeat(300), "]".repeat(300)),
        format!("SELECT id, {}1 AS x FROM t WHERE id = 1", "ARRAY[".repeat(24)),
        format!("SELECT id, {}1{} AS x FROM t", "(ARRAY[".repeat(6), "])".repeat(6)),
    ] {
        let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.m]\n";
        let schema = "CREATE TABLE t (id int, name text)";
        let project = Project::of(toml, &[("m", &sql)], schema, &[("t", "id,name\n1,a\n")]);
        for command in ["check", "run"] {
            let ran = project.starmill(&[command, "pipelines/p.toml"]);
            assert!(matches!(ran.code, Some(0 | 3 | 6)), "{command}: {:?} {}…", ran.code, &sql[..60]);
        }
    }
}
