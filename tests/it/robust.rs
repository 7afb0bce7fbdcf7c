//! Gentle to its source, and safe when the source is not gentle: bounds, standbys, poolers, lost
//! connections. After each of them nothing is published, nothing is left on the server, and it can be
//! run again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::{
    Cluster, Database, Project, Proxy, Ran, cluster, cluster_with, free_port, peer, program, wait_until,
};

/// A run of the shop that pauses before each of its tables.
struct Paused {
    child: Child,
    flag: PathBuf,
}

fn paused(project: &Project) -> Paused {
    let flag = project.path("paused");
    let child = project
        .start(&["run", "pipelines/shop.toml"], Some(&format!("extract.table=pause:{}", flag.display())));
    wait_until("the run to pause", || flag.exists());
    Paused { child, flag }
}

impl Paused {
    /// Lets it go on to its end.
    fn goes_on(mut self) -> Ran {
        wait_until("the run to end", || {
            let _ = std::fs::remove_file(&self.flag);
            self.child.try_wait().unwrap().is_some()
        });
        Ran::of(self.child)
    }
}

fn sessions(source: &Database) -> String {
    source.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'starmill%' AND datname = current_database()")
}

#[track_caller]
fn assert_nothing_is_left(project: &Project, source: &Database) {
    assert_eq!(project.latest(), None);
    wait_until("the sessions to end", || sessions(source) == "0");
    assert_eq!(project.entries("out/shop/.scratch"), Vec::<String>::new());
}

#[test]
fn a_session_that_the_dba_ends_ends_the_run_and_it_can_be_run_again() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    let run = paused(&project);
    source.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'starmill shop' AND datname = current_database()");
    run.goes_on().exits(4).warns("help: ");
    assert_nothing_is_left(&project, &source);
    project.night();
}

#[test]
fn a_statement_that_the_dba_cancels_ends_the_run_and_it_can_be_run_again() {
    let source = cluster().shop();
    source.sql("CREATE VIEW slow AS SELECT order_id, pg_sleep(0.01)::text AS slept FROM orders");
    let project = Project::shop_on(&source);
    read_slowly(&project);
    let child = project.start(&["run", "pipelines/shop.toml"], None);
    wait_until("the slow read to be cancelled", || {
        source.sql("SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity WHERE application_name = 'starmill shop' AND datname = current_database() AND query LIKE 'COPY%slow%'") != "0"
    });
    Ran::of(child)
        .exits(4)
        .warns("cannot read public.slow")
        .warns("somebody cancelled it on the server; run again");
    assert_nothing_is_left(&project, &source);
    source.sql("CREATE OR REPLACE VIEW slow AS SELECT order_id, ''::text AS slept FROM orders");
    project.night();
}

/// Has a model read the view `slow`.
fn read_slowly(project: &Project) {
    project.edit(
        "sql/shop/order_summary.sql",
        "FROM orders AS o",
        "FROM (SELECT orders.*, slow.slept FROM orders JOIN public.slow USING (order_id) WHERE slow.slept = '') AS o",
    );
}

#[test]
fn a_server_that_shuts_down_in_the_middle_ends_the_run() {
    let own = cluster_with("", |_| {});
    let source = own.shop();
    let project = Project::shop_on(&source);
    let run = paused(&project);
    drop(own);
    run.goes_on().exits(4).warns("help: ");
    assert_eq!(project.latest(), None);
}

#[test]
fn a_connection_cut_in_the_middle_ends_the_run_and_leaves_nothing() {
    let source = cluster().shop();
    // At the greeting, in the catalog, in the rows.
    for bytes in [10, 2_000, 60_000, 400_000] {
        let proxy = Proxy::cutting(cluster().port(), bytes);
        let mut project = Project::shop();
        project.set("SHOP_SOURCE", &format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port, source.name));
        project.starmill(&["run", "pipelines/shop.toml"]).exits(4);
        assert_nothing_is_left(&project, &source);
        project.set("SHOP_SOURCE", &source.url());
        project.night();
    }
}

#[test]
fn a_connection_that_loses_what_is_sent_is_given_up() {
    let source = cluster().shop();
    // In the catalog, in the rows.
    for bytes in [3_000, 60_000, 400_000] {
        let proxy = Proxy::losing(cluster().port(), bytes);
        let mut project = Project::shop();
        project.edit(
            "pipelines/shop.toml",
            "snapshot_max = \"30m\"",
            "snapshot_max = \"30m\"\nsilent_max = \"1s\"",
        );
        project.set("SHOP_SOURCE", &format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port, source.name));
        let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(4);
        ran.warns("nothing has come over a connection with the source").warns("`silent_max` in [source]");
        assert_nothing_is_left(&project, &source);
    }
    // A target's: the star stays published, and is delivered over a line that holds.
    let target = cluster().database();
    let mut given_up = 0;
    for bytes in [5_000, 9_000, 13_000] {
        let proxy = Proxy::losing(cluster().port(), bytes);
        let mut project = Project::shop();
        project.edit("pipelines/shop.toml", "schema = \"mart\"", "schema = \"mart\"\nsilent_max = \"1s\"");
        project.set("SHOP_TARGET", &format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port, target.name));
        let ran = project.starmill(&["run", "pipelines/shop.toml"]);
        // A question before the night that stays without an answer holds up nothing.
        if ran.code != Some(0) {
            let ran = ran.exits(11);
            ran.warns("nothing has come over a connection with the target").warns("`silent_max` in [target]");
            given_up += 1;
        }
        project.set("SHOP_TARGET", &target.url());
        project.starmill(&["deliver", "pipelines/shop.toml"]).exits(0);
        target.sql("DROP SCHEMA mart CASCADE");
    }
    assert!(given_up > 0, "no delivery met the line that loses");
}

#[test]
fn a_statement_that_takes_long_is_no_silence() {
    let source = cluster().shop();
    source.sql("CREATE VIEW slow AS SELECT order_id, pg_sleep(0.0005)::text AS slept FROM orders");
    let project = Project::shop_on(&source);
    project.edit(
        "pipelines/shop.toml",
        "snapshot_max = \"30m\"",
        "snapshot_max = \"30m\"\nsilent_max = \"500ms\"",
    );
    read_slowly(&project);
    project.starmill(&["run", "pipelines/shop.toml"]).exits(0);
}

#[test]
fn a_server_that_is_just_starting_is_waited_for() {
    let source = cluster().shop();
    let proxy = Proxy::late(cluster().port(), Duration::from_millis(900));
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &format!("postgres://postgres@127.0.0.1:{}/{}", proxy.port, source.name));
    project.set("STARMILL_LOG", "info");
    project
        .starmill(&["run", "pipelines/shop.toml"])
        .exits(0)
        .warns("cannot connect to the source; trying again");
}

#[test]
fn a_wrong_password_is_not_tried_again() {
    let source = cluster().shop();
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &source.url_of("guarded"));
    project.set("PGPASSWORD", "wrong");
    project.set("STARMILL_LOG", "info");
    let ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(4);
    assert!(!ran.stderr.contains("trying again"), "{}", ran.stderr);
}

#[test]
fn every_bound_ends_the_run_cleanly_and_says_which_it_was() {
    let source = cluster().shop();
    source.sql("CREATE VIEW slow AS SELECT order_id, pg_sleep(0.002)::text AS slept FROM orders");
    let bounded = |setting: &str, expected: &[&str]| {
        let project = Project::shop_on(&source);
        match setting.starts_with("snapshot_max") {
            true => project.edit("pipelines/shop.toml", "snapshot_max = \"30m\"", setting),
            false => project.edit("pipelines/shop.toml", "[store]", &format!("{setting}\n[store]")),
        }
        read_slowly(&project);
        let mut ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(4);
        for text in expected {
            ran = ran.warns(text);
        }
        assert_nothing_is_left(&project, &source);
    };
    bounded("snapshot_max = \"500ms\"", &["the source snapshot was held for 500ms", "snapshot_max"]);
    bounded(
        "statement_timeout = \"300ms\"",
        &["cannot read public.slow", "raise `statement_timeout` in [source]"],
    );
    // A role's own bound is the DBA's word, and holds.
    source.sql(&format!("ALTER ROLE postgres IN DATABASE {} SET statement_timeout = '300ms'", source.name));
    bounded("", &["statement timeout"]);
    source.sql(&format!("ALTER ROLE postgres IN DATABASE {} RESET statement_timeout", source.name));
}

#[test]
fn a_dba_sees_who_is_reading() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    let run = paused(&project);
    let seen = source.sql("SELECT DISTINCT application_name, count(*) OVER () FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'starmill%'");
    assert_eq!(seen, "starmill shop|2");
    run.goes_on().exits(0);
}

/// Starts a server that has nothing to say to the tests.
fn quietly(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A standby of a cluster, which follows it.
struct Standby {
    server: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Standby {
    fn of(primary: &Cluster) -> Standby {
        let folder = tempfile::Builder::new().prefix("starmill-standby").tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(65_534), None).ok();
        let data = folder.path().join("data");
        let backup = program("pg_basebackup")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &primary.port().to_string(),
                "-U",
                "postgres",
                "-R",
                "-c",
                "fast",
                "-D",
            ])
            .arg(&data)
            .current_dir("/tmp")
            .output()
            .unwrap();
        assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
        let port = free_port();
        let server = quietly(
            program("postgres")
                .args([
                    "-D",
                    data.to_str().unwrap(),
                    "-p",
                    &port.to_string(),
                    "-k",
                    folder.path().to_str().unwrap(),
                ])
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "fsync=off"])
                .args(["-c", "max_standby_streaming_delay=100ms", "-c", "wal_receiver_status_interval=100ms"])
                .current_dir("/tmp"),
        );
        Standby { server, port, _folder: folder }
    }

    fn url(&self, database: &Database) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, database.name)
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.server.id() as i32),
            nix::sys::signal::Signal::SIGINT,
        )
        .ok();
        self.server.wait().ok();
    }
}

#[test]
fn a_hot_standby_is_read_and_its_conflicts_are_told() {
    let primary = cluster_with("host replication postgres 127.0.0.1/32 trust", |_| {});
    let source = primary.shop();
    let standby = Standby::of(&primary);
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &standby.url(&source));
    wait_until("the standby to answer", || {
        project.starmill(&["check", "pipelines/shop.toml"]).code == Some(0)
    });
    let report = project.night();
    assert_eq!(report["source"]["position"]["standby"], true);
    // Replay that must remove rows which our snapshot still sees waits, and then ends us.
    let before = project.latest();
    let run = paused(&project);
    source.sql("DELETE FROM order_items WHERE item_id % 2 = 0");
    source.sql("VACUUM order_items");
    std::thread::sleep(Duration::from_secs(2));
    run.goes_on().exits(4).warns("hot_standby_feedback");
    assert_eq!(project.latest(), before);
    wait_until("the standby to have caught up", || {
        project.starmill(&["run", "pipelines/shop.toml"]).code == Some(0)
    });
}

#[test]
fn a_pooler_that_lends_a_session_for_a_transaction_is_no_hindrance_and_is_left_as_it_was() {
    let source = cluster().shop();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let settings = folder.path().join("pgbouncer.ini");
    std::fs::write(
        &settings,
        format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 4\n[databases]\n{} = host=127.0.0.1 port={} user=postgres\n",
            cluster().port(),
            source.name,
            cluster().port()
        ),
    )
    .unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut pooler = quietly(program("pgbouncer").arg(&settings).current_dir("/tmp"));
    let url = format!("postgres://postgres@127.0.0.1:{port}/{}", source.name);
    let pooled = |sql: &str| {
        let output = Command::new("psql").args(["-X", "-At", "-d", &url, "-c", sql]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    wait_until("the pooler to answer", || pooled("SELECT 1").is_some());
    let settings = "SELECT current_setting('TimeZone'), current_setting('row_security'), current_setting('search_path'), current_setting('lock_timeout')";
    let before = pooled(settings).unwrap();
    let mut project = Project::shop();
    project.set("SHOP_SOURCE", &url);
    for _ in 0..3 {
        project.night();
    }
    project.starmill(&["extract", "pipelines/shop.toml", "--table", "orders", "--to", "taken"]).exits(0);
    let seen = peer(&format!(
        "SELECT count(*), sum(order_total) FROM '{}'",
        project.path("taken/public.orders/*.parquet").display()
    ));
    assert_eq!(seen, source.sql("SELECT count(*), sum(order_total) FROM orders"));
    // Whoever gets the session after us finds it as we found it.
    for _ in 0..8 {
        assert_eq!(pooled(settings).unwrap(), before);
    }
    pooler.kill().unwrap();
    pooler.wait().unwrap();
}

#[test]
fn an_extraction_that_fails_or_is_stopped_leaves_no_folder() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    let args = ["extract", "pipelines/shop.toml", "--to", "taken/here"];
    std::fs::create_dir_all(project.path("taken")).unwrap();
    for (fault, code) in [("write.batch=full", 8), ("extract.table=fail", 4)] {
        project.starmill_with_fault(&args, fault).exits(code);
        assert_eq!(project.entries("taken"), Vec::<String>::new(), "{fault}");
    }
    let flag = project.path("paused");
    let child = project.start(&args, Some(&format!("extract.table=pause:{}", flag.display())));
    wait_until("the extraction to pause", || flag.exists());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGINT)
        .unwrap();
    std::fs::remove_file(&flag).unwrap();
    Ran::of(child).exits(130);
    assert_eq!(project.entries("taken"), Vec::<String>::new());
    wait_until("the sessions to end", || sessions(&source) == "0");
    // Killed outright it leaves scratch behind, which the next one sweeps.
    assert_eq!(project.starmill_with_fault(&args, "write.batch=kill").code, None);
    assert_eq!(project.entries("taken"), [".scratch"]);
    project.starmill(&args).exits(0).says("public.orders");
    assert_eq!(project.entries("taken"), ["here"]);
    // What is there is never overwritten.
    project.starmill(&args).exits(2).warns("taken/here is there already");
    project.starmill(&["extract", "pipelines/shop.toml"]).exits(2).warns("--to <FOLDER>");
    project
        .starmill(&["extract", "pipelines/shop.toml", "--dry-run"])
        .exits(0)
        .says("looked through, nothing written");
    let files = Project::shop();
    files
        .starmill(&["extract", "pipelines/shop.toml", "--dry-run"])
        .exits(2)
        .warns("a folder of files already");
    project
        .starmill(&["extract", "pipelines/shop.toml", "--dry-run", "--table", "ordrs"])
        .exits(5)
        .warns("did you mean `orders`?");
}

#[test]
fn what_changed_in_the_sources_schema_is_told_before_anything_is_read() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.night();
    source.sql(
        "ALTER TABLE customers ADD COLUMN phone text; ALTER TABLE products ALTER COLUMN unit_price TYPE numeric(12,2); \
         ALTER TABLE addresses RENAME COLUMN street TO street_line; ALTER TABLE orders DROP COLUMN order_total",
    );
    let said = [
        "public.customers.phone (text) was added; no model uses it",
        "public.addresses.street was probably renamed to street_line; no model uses it",
        "is gone; no model uses it",
    ];
    let mut ran = project
        .starmill(&["plan", "pipelines/shop.toml"])
        .exits(0)
        .says("The source's schema changed since the last run:");
    for text in said {
        ran = ran.says(text);
    }
    ran.says("public.products.unit_price was numeric(").says("and is numeric(12,2); used by dim_product");
    // A run says it before it reads, also when it then fails.
    let mut ran = project.starmill_with_fault(&["run", "pipelines/shop.toml"], "extract.table=fail").exits(4);
    for text in said {
        ran = ran.warns(&format!(
            "note: the source changed since the last run: {}",
            if text.starts_with("is") { "public.orders.order_total" } else { text }
        ));
    }
    // A type that a model cannot live with is told as what it is.
    source.sql("ALTER TABLE order_items ALTER COLUMN quantity TYPE text");
    project
        .starmill(&["run", "pipelines/shop.toml"])
        .exits(5)
        .warns("the pipeline does not fit it any more")
        .warns("changed: public.order_items.quantity was integer and is text");
    source.sql("ALTER TABLE order_items ALTER COLUMN quantity TYPE integer USING quantity::integer");
    // What a model uses and is gone ends it, with its name, its new name, and who is hit.
    source.sql("ALTER TABLE customers RENAME COLUMN full_name TO name");
    let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(5);
    ran.warns("it has no more the column public.customers.full_name")
        .warns("changed: public.customers.full_name was probably renamed to name; used by dim_customer and order_summary");
    source.sql("ALTER TABLE customers RENAME COLUMN name TO full_name");
    let report = project.night();
    assert_eq!(report["source"]["changes"].as_array().unwrap().len(), 4, "{:#}", report["source"]["changes"]);
    let again = project.night();
    assert!(again["source"].get("changes").is_none(), "what was told once is known");
}

#[test]
fn what_a_role_has_set_for_itself_changes_no_value_and_no_filter() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE t (id int PRIMARY KEY, r regclass, n int); INSERT INTO t SELECT i, 'pg_class', nullif(i % 2, 0) FROM generate_series(1, 9) AS i; \
         CREATE VIEW x AS SELECT xmlelement(name a, decode('0102', 'hex')) AS x",
    );
    let project =
        Project::over(&source.url(), "[source.where]\nt = \"n = NULL OR id < 4\"", "SELECT 1 AS one");
    let settings = ["quote_all_identifiers = on", "transform_null_equals = on", "xmlbinary = hex"];
    for setting in settings {
        source.sql(&format!("ALTER ROLE postgres IN DATABASE {} SET {setting}", source.name));
    }
    project
        .starmill(&["extract", "pipelines/p.toml", "--table", "t", "--table", "x", "--to", "taken"])
        .exits(0);
    source.sql(&format!("ALTER ROLE postgres IN DATABASE {} RESET ALL", source.name));
    let seen = |table: &str, select: &str| {
        peer(&format!(
            "SELECT {select} FROM '{}'",
            project.path(&format!("taken/{table}/*.parquet")).display()
        ))
    };
    assert_eq!(seen("public.t", "count(*), min(r), max(r)"), "3|pg_class|pg_class");
    assert_eq!(seen("public.x", "x"), "<a>AQI=</a>");
}

#[test]
fn a_folder_that_nothing_can_be_moved_to_is_refused_before_anything_is_read() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let project = Project::over(&source.url(), "", "SELECT 1 AS one");
    let extract = |to: &str| project.starmill(&["extract", "pipelines/p.toml", "--table", "t", "--to", to]);
    std::os::unix::fs::symlink("nowhere", project.path("dangling")).unwrap();
    extract("dangling").exits(2).warns("dangling is a link that leads nowhere");
    std::fs::create_dir(project.path("real")).unwrap();
    std::os::unix::fs::symlink("real", project.path("link")).unwrap();
    extract("link").exits(0);
    assert!(project.path("real/extract.json").exists() && project.path("link").is_symlink());
    extract("link").exits(2).warns("link is there already");
    // Written by somebody else while this one reads.
    let flag = project.path("paused");
    let child = project.start(
        &["extract", "pipelines/p.toml", "--table", "t", "--to", "taken"],
        Some(&format!("extract.table=pause:{}", flag.display())),
    );
    wait_until("the extraction to pause", || flag.exists());
    extract("taken").exits(0);
    std::fs::remove_file(&flag).unwrap();
    Ran::of(child).exits(2).warns("taken is there already").warns("name another folder");
}

#[test]
fn tables_are_extracted_before_there_is_any_model_or_a_right_one() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2)");
    let toml = format!("[source]\nurl = \"{}\"\n", source.url());
    let project = Project::of(&toml, &[], "", &[]);
    let extract = ["extract", "pipelines/p.toml", "--table", "t", "--dry-run"];
    project.starmill(&extract).exits(0).says("public.t");
    project
        .starmill(&["extract", "pipelines/p.toml", "--dry-run"])
        .exits(3)
        .warns("the pipeline has no models");
    project.write("pipelines/p.toml", &format!("{toml}[summary.s]\n"));
    project.write("sql/p/s.sql", "SELECT FROM WHERE");
    project.starmill(&extract).exits(0).says("public.t");
    project.starmill(&["extract", "pipelines/p.toml", "--dry-run"]).exits(3);
}

#[test]
fn a_condition_that_check_takes_is_one_that_the_night_takes() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE part (id int, at date, region text) PARTITION BY RANGE (at); \
         CREATE TABLE part_24 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
         CREATE TABLE part_25 PARTITION OF part FOR VALUES FROM ('2025-01-01') TO ('2026-01-01'); \
         CREATE TABLE wanted (id int); INSERT INTO wanted VALUES (1), (3); \
         INSERT INTO part SELECT n, date '2024-01-01' + n * 10, 'eu' FROM generate_series(1, 60) AS n",
    );
    let taken = [
        "id < 40 -- so many",
        "part.id < 40",
        "public.part.id < 40",
        "\\\"public\\\".part.id < 40 AND public.part.region = 'eu' /* both */",
        "EXISTS (SELECT 1 FROM wanted WHERE wanted.id = public.part.id)",
        "part.id IN (SELECT w.id FROM public.wanted AS w) -- a comment",
    ];
    for condition in taken {
        let toml = format!(
            "name = \"p\"\n[source]\nurl = \"{}\"\n[source.where]\npart = \"{condition}\"\n[store]\nurl = \"out\"\n[fact.s]\nkey = [\"id\"]\n\
             grain = {{ table = \"part\", where = \"id > 0 -- all\" }}\nmeasures = [\"id\"]\n",
            source.url()
        );
        let project = Project::of(&toml, &[("s", "SELECT id FROM part")], "", &[]);
        project.starmill(&["check", "pipelines/p.toml"]).exits(0);
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        let kept =
            source.sql(&format!("SELECT count(*) FROM part WHERE {}\n", condition.replace("\\\"", "\"")));
        project.starmill(&["query", "pipelines/p.toml", "SELECT count(*) AS n FROM s"]).exits(0).says(&kept);
    }
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[source.where]\npart = \"other.part.id < 40\"\n[store]\nurl = \"out\"\n[summary.s]\n",
        source.url()
    );
    let project = Project::of(&toml, &[("s", "SELECT id FROM part")], "", &[]);
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("the condition of public.part");
}

#[test]
fn special_values_that_become_null_are_none_to_measures_and_totals_either() {
    let source = cluster().database();
    source.sql("CREATE TABLE pay (id int PRIMARY KEY, amount numeric(12,2), free numeric); INSERT INTO pay VALUES (1, 1.25, 'NaN'), (2, 'NaN', 2.5), (3, NULL, 1)");
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\nspecial = \"null\"\n[store]\nurl = \"out\"\n[fact.s]\nkey = [\"id\"]\ngrain = \"pay\"\nmeasures = [\"amount\", \"free\"]\n\
         [summary.t]\ntotals = {{ n = \"SELECT count(amount) FROM pay\", f = \"SELECT sum(free) FROM pay WHERE amount IS NULL\" }}\n",
        source.url()
    );
    let models = [
        ("s", "SELECT id, amount, free FROM pay"),
        ("t", "SELECT count(amount) AS n, sum(free) FILTER (WHERE amount IS NULL) AS f FROM pay"),
    ];
    let project = Project::of(&toml, &models, "", &[]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let asked = [
        "query",
        "pipelines/p.toml",
        "SELECT n, f, (SELECT sum(amount) FROM s) AS a FROM t",
        "--format",
        "csv",
    ];
    let told = project.starmill(&asked).exits(0).stdout;
    assert!(told.contains("1,3.5") && told.contains("1.25"), "{told}");
}

#[test]
fn times_at_the_ends_count_on_both_sides_as_the_policy_makes_them() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE pay (id int PRIMARY KEY, day date, at timestamp, moment timestamptz); \
         INSERT INTO pay VALUES (1, 'infinity', '-infinity', 'infinity'), (2, '2024-05-05', '2024-05-05 10:00', NULL), \
         (3, '12000-01-01', '0044-03-15 BC', '12000-01-01'), (4, NULL, NULL, '2024-05-05 10:00+00'), (5, '-infinity', 'infinity', '-infinity')",
    );
    for policy in ["special = \"null\"\nfar_dates = \"null\"", "special = \"clamp\"\nfar_dates = \"clamp\""] {
        for condition in [
            "day > DATE '2020-01-01'",
            "at IS NULL",
            "moment >= TIMESTAMPTZ '2024-01-01 00:00+00'",
            "extract(year FROM at) < 100",
        ] {
            let toml = format!(
                "name = \"p\"\n[source]\nurl = \"{}\"\n{policy}\n[store]\nurl = \"out\"\n[fact.s]\nkey = [\"id\"]\n\
                 grain = {{ table = \"pay\", where = \"{condition}\" }}\n",
                source.url()
            );
            let model = format!("SELECT id, day, at, moment FROM pay WHERE {condition}");
            let project = Project::of(&toml, &[("s", &model)], "", &[]);
            project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        }
    }
}

#[test]
fn a_server_that_does_not_tell_of_its_tables_is_waited_for_no_longer_than_a_snapshot_may_take() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"postgres://u@127.0.0.1:{port}/d\"\nsnapshot_max = \"2s\"\n[store]\nurl = \"out\"\n[summary.s]\n"
    );
    let project = Project::of(&toml, &[("s", "SELECT id FROM t")], "", &[]);
    project.starmill(&["check", "pipelines/p.toml"]).exits(4).warns("within 2s").warns("`snapshot_max`");
}

#[test]
fn run_at_is_the_instant_of_the_snapshot_in_models_and_controls_and_questions() {
    let source = cluster().database();
    source.sql("CREATE TABLE o (id int PRIMARY KEY, at timestamptz NOT NULL); INSERT INTO o VALUES (1, '2020-01-01'), (2, '2999-01-01')");
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[store]\nurl = \"out\"\n[summary.s]\nkey = [\"id\"]\n[[summary.s.control]]\n\
         name = \"had\"\nsource = \"SELECT count(*) FROM o WHERE at <= run_at()\"\nstar = \"SELECT count(*) FROM s WHERE was_had\"\n",
        source.url()
    );
    let model = "SELECT id, at <= run_at() AS was_had, at < run_at() - INTERVAL '1 year' AS old, run_at() AS seen FROM o";
    let project = Project::of(&toml, &[("s", model)], "", &[]);
    project.starmill(&["check", "pipelines/p.toml"]).exits(0);
    let before: f64 = source.sql("SELECT extract(epoch FROM clock_timestamp())").trim().parse().unwrap();
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let after: f64 = source.sql("SELECT extract(epoch FROM clock_timestamp())").trim().parse().unwrap();
    let asked =
        |sql: &str| project.starmill(&["query", "pipelines/p.toml", sql, "--format", "csv"]).exits(0).stdout;
    assert_eq!(
        asked("SELECT id, was_had, old FROM s ORDER BY id").replace("\r\n", "\n"),
        "id,was_had,old\n1,true,true\n2,false,false\n"
    );
    // The same in every row, in the manifest, and in a question asked later.
    assert_eq!(
        asked("SELECT count(DISTINCT seen) AS n, bool_and(seen = run_at()) AS same FROM s")
            .replace("\r\n", "\n"),
        "n,same\n1,true\n"
    );
    let seen = asked("SELECT extract(epoch FROM min(seen)) AS e FROM s");
    let seen: f64 = seen.lines().nth(1).unwrap().trim().parse().unwrap();
    assert!((before..=after).contains(&seen), "{before} {seen} {after}");
    // A condition with it is not handed to the source before the snapshot is taken.
    project.write(
        "sql/p/s.sql",
        "SELECT id, true AS was_had, false AS old, at AS seen FROM o WHERE at <= run_at()",
    );
    let slow = project.path("slow");
    let fault = format!("source.locked=pause:{}", slow.display());
    let run = project.start(&["run", "pipelines/p.toml"], Some(&fault));
    wait_until("the lock", || slow.exists());
    source.sql("INSERT INTO o VALUES (3, clock_timestamp())");
    std::fs::remove_file(&slow).unwrap();
    Ran::of(run).exits(0);
    assert_eq!(asked("SELECT id FROM s ORDER BY id").replace("\r\n", "\n"), "id\n1\n3\n");
}
