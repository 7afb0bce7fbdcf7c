//! Every kind of relation is read whole, by its own name and by its own rows, or refused.

use crate::support::{Cluster, Database, Project, Ran, cluster, peer, seen_in_star, wait_until};

/// Rows, different ids and their sum, as another reader sees them in what was extracted.
fn extracted(project: &Project, table: &str, to: &str) -> String {
    project.starmill(&["extract", "pipelines/p.toml", "--table", table, "--to", to]).exits(0);
    let files = project.path(&format!("{to}/public.{table}/*.parquet"));
    peer(&format!("SELECT count(*), count(DISTINCT id), sum(id) FROM '{}'", files.display()))
}

/// Partitions, their partitions, a default one, children of a parent; heaps of many pages and of none;
/// read one by one, and by a role that may read the parent only.
pub fn trees_are_read_whole(cluster: &Cluster) {
    let source = cluster.database();
    source.sql(
        "CREATE TABLE big (id bigint, at date, region text, fill text) PARTITION BY RANGE (at); \
         CREATE TABLE big_24 PARTITION OF big FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
         CREATE TABLE big_25 PARTITION OF big FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY LIST (region); \
         CREATE TABLE big_25_eu (region text, id bigint, gone int, fill text, at date); ALTER TABLE big_25_eu DROP COLUMN gone; \
         ALTER TABLE big_25 ATTACH PARTITION big_25_eu FOR VALUES IN ('eu'); \
         CREATE TABLE big_25_rest PARTITION OF big_25 DEFAULT; \
         CREATE TABLE big_26 PARTITION OF big FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); \
         CREATE TABLE big_rest PARTITION OF big DEFAULT; \
         INSERT INTO big SELECT n, date '2024-01-01' + n % 900, (ARRAY['eu', 'us', NULL])[1 + n % 3], repeat('x', 900) FROM generate_series(1, 60000) AS n WHERE n % 900 < 731; \
         INSERT INTO big VALUES (1000001, NULL, 'eu', ''), (1000002, '1999-01-01', NULL, ''); \
         CREATE TABLE parent (id bigint, fill text); CREATE TABLE child (extra int) INHERITS (parent); CREATE TABLE grandchild () INHERITS (child); \
         INSERT INTO parent SELECT n, '' FROM generate_series(1, 100) AS n; \
         INSERT INTO child SELECT n, repeat('y', 900), 1 FROM generate_series(1000, 31000) AS n; \
         INSERT INTO grandchild VALUES (99999, 'z', 2); \
         DROP ROLE IF EXISTS parents_only; CREATE ROLE parents_only LOGIN; GRANT SELECT ON big, parent TO parents_only; \
         ALTER TABLE big_24 ENABLE ROW LEVEL SECURITY",
    );
    for table in ["big", "parent"] {
        let truth = source.sql(&format!("SELECT count(*), count(DISTINCT id), sum(id) FROM {table}"));
        for user in ["postgres", "parents_only"] {
            let project = Project::over(&source.url_of(user), "", "SELECT 1 AS one");
            project.write("sql/p/s.sql", &format!("SELECT id FROM {table}"));
            assert_eq!(
                extracted(&project, table, "taken"),
                truth,
                "{table} as {user} on {}",
                cluster.version()
            );
            // The same through a night, whose total Postgres measures over the whole tree.
            project.edit(
                "pipelines/p.toml",
                "[summary.s]\n",
                &format!(
                    "[summary.s]\nkey = [\"id\"]\ntotals = {{ id = \"SELECT sum(id) FROM {table}\" }}\n"
                ),
            );
            project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        }
    }
    source.sql("DROP OWNED BY parents_only; DROP ROLE parents_only");
}

#[test]
fn partitions_and_children_are_read_whole_also_where_only_the_parent_may_be_read() {
    trees_are_read_whole(cluster());
}

/// A run that pauses before its first table, while somebody does something to the source.
fn meanwhile(source: &Database, project: &Project, done: &str) -> Ran {
    let flag = project.path("paused");
    let child =
        project.start(&["run", "pipelines/p.toml"], Some(&format!("extract.table=pause:{}", flag.display())));
    wait_until("the run to pause", || flag.exists());
    source.sql(done);
    std::fs::remove_file(&flag).unwrap();
    Ran::of(child)
}

#[test]
fn a_partition_attached_while_the_table_is_read_ends_the_run() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE part (id int, at date) PARTITION BY RANGE (at); CREATE TABLE part_24 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
         INSERT INTO part VALUES (1, '2024-05-05'); CREATE TABLE part_25 (id int, at date); INSERT INTO part_25 VALUES (2, '2025-05-05')",
    );
    let project = Project::over(&source.url(), "", "SELECT id FROM part");
    meanwhile(
        &source,
        &project,
        "ALTER TABLE part ATTACH PARTITION part_25 FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    )
    .exits(4)
    .warns("the partitions of part changed while the source was read");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    assert_eq!(seen_in_star(&project, "count(*)"), "2");
}

/// A TRUNCATE waits for the run, or, where only the parent may be read and its lock doesn't reach the
/// partitions (before Postgres 13), ends it.
pub fn a_partition_truncated_meanwhile_is_no_smaller_table(cluster: &Cluster) {
    let source = cluster.database();
    source.sql(
        "CREATE TABLE part (id int, at date) PARTITION BY RANGE (at); CREATE TABLE part_24 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
         CREATE TABLE part_25 PARTITION OF part FOR VALUES FROM ('2025-01-01') TO ('2026-01-01'); INSERT INTO part VALUES (1, '2024-05-05'), (2, '2025-05-05'); \
         DROP ROLE IF EXISTS parent_reader; CREATE ROLE parent_reader LOGIN; GRANT SELECT ON part TO parent_reader",
    );
    let project = Project::over(&source.url_of("parent_reader"), "", "SELECT id FROM part");
    let ran = meanwhile(
        &source,
        &project,
        "DO $$ BEGIN SET LOCAL lock_timeout = '300ms'; TRUNCATE part_24; EXCEPTION WHEN lock_not_available THEN NULL; END $$",
    );
    let left = source.sql("SELECT count(*) FROM part");
    if cluster.version() >= 13 {
        ran.exits(0);
        assert_eq!((left.as_str(), seen_in_star(&project, "count(*)").as_str()), ("2", "2"));
    } else {
        ran.exits(4).warns("part_24 changed while the source was read");
        assert_eq!(left, "1");
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        assert_eq!(seen_in_star(&project, "count(*)"), "1");
    }
    source.sql("DROP OWNED BY parent_reader; DROP ROLE parent_reader");
}

#[test]
fn a_partition_truncated_while_the_parent_is_read_waits_or_ends_the_run() {
    a_partition_truncated_meanwhile_is_no_smaller_table(cluster());
}

#[test]
fn a_materialized_view_refreshed_while_it_is_read_ends_the_run_also_below_a_view() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS id FROM t; \
         CREATE VIEW above AS SELECT id FROM counted",
    );
    for relation in ["counted", "above"] {
        let project = Project::over(&source.url(), "", &format!("SELECT id FROM {relation}"));
        meanwhile(&source, &project, "INSERT INTO t VALUES (2); REFRESH MATERIALIZED VIEW counted")
            .exits(4)
            .warns("counted changed while the source was read");
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    }
}

#[test]
fn a_foreign_table_is_refused_wherever_it_hides_and_read_by_the_pipelines_word() {
    let source = cluster().database();
    source.sql(&format!(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{}', dbname '{}'); \
         CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'postgres'); \
         CREATE TABLE there (id int, at date); INSERT INTO there VALUES (1, '2024-01-01'), (2, '2024-01-02'); \
         CREATE FOREIGN TABLE away (id int, at date) SERVER far OPTIONS (table_name 'there'); \
         CREATE VIEW over_away AS SELECT id FROM away; CREATE VIEW over_over AS SELECT id FROM over_away; \
         CREATE TABLE part (id int, at date) PARTITION BY RANGE (at); \
         CREATE TABLE part_near PARTITION OF part FOR VALUES FROM ('2025-01-01') TO ('2026-01-01'); INSERT INTO part VALUES (3, '2025-05-05'); \
         CREATE FOREIGN TABLE part_far PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') SERVER far OPTIONS (table_name 'there')",
        cluster().port(),
        source.name
    ));
    for (relation, foreign, rows) in
        [("away", "away", "2"), ("over_over", "away", "2"), ("part", "part_far", "3")]
    {
        let sql = format!("SELECT id FROM {relation}");
        let project = Project::over(&source.url(), "", &sql);
        let help = format!("add to [source]: allow_foreign = [\"public.{foreign}\"]");
        project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("foreign table").warns(&help);
        project
            .starmill(&["extract", "pipelines/p.toml", "--table", relation, "--dry-run"])
            .exits(3)
            .warns(&help);
        let project = Project::over(&source.url(), &format!("allow_foreign = [\"public.{foreign}\"]"), &sql);
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        let seen = seen_in_star(&project, "count(*)");
        assert_eq!(seen, rows, "{relation}");
    }
}

#[test]
fn wide_tables_long_names_and_large_values_arrive() {
    let source = cluster().database();
    let columns: Vec<String> = (1..300).map(|n| format!("c{n} int DEFAULT {n}")).collect();
    let long = "n".repeat(60) + "ü";
    source.sql(&format!(
        "CREATE TABLE wide (id int, {}); INSERT INTO wide (id) SELECT n FROM generate_series(1, 1000) AS n; \
         CREATE TABLE \"{long}\" (id int, \"select\" text, \"a\"\"b/c\" int GENERATED ALWAYS AS (id * 2) STORED); INSERT INTO \"{long}\" VALUES (1, 'x'); \
         CREATE TABLE huge (id int, v text, b bytea); INSERT INTO huge SELECT n, repeat(chr(96 + n), 50000000), decode(repeat('0' || n, 20000000), 'hex') FROM generate_series(1, 3) AS n; \
         CREATE UNLOGGED TABLE nothing (id bigint, v numeric)",
        columns.join(", ")
    ));
    let project = Project::over(&source.url(), "", "SELECT id FROM wide");
    assert_eq!(extracted(&project, "wide", "a"), "1000|1000|500500");
    let files = |path: &str| project.path(path).display().to_string();
    assert_eq!(peer(&format!("SELECT sum(c299 + c1) FROM '{}'", files("a/public.wide/*.parquet"))), "300000");
    project.starmill(&["extract", "pipelines/p.toml", "--table", &long, "--to", "b"]).exits(0);
    let path = files(&format!("b/public.{long}/*.parquet"));
    assert_eq!(peer(&format!("SELECT * FROM '{path}'")), "1|x|2");
    assert_eq!(extracted(&project, "huge", "c"), "3|3|6");
    let path = files("c/public.huge/*.parquet");
    assert_eq!(
        peer(&format!(
            "SELECT id, length(v), left(v, 1), octet_length(b), hex(b)[1:2] FROM '{path}' ORDER BY id"
        )),
        "1|50000000|a|20000000|01\n2|50000000|b|20000000|02\n3|50000000|c|20000000|03"
    );
    // A table without rows has a file with its columns.
    assert_eq!(extracted(&project, "nothing", "d"), "0|0|NULL");
}

#[test]
fn a_declared_filter_is_the_servers_and_the_totals_see_the_same_rows() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SINCE", "2024-06-01");
    project.edit(
        "pipelines/shop.toml",
        "[store]",
        "[source.where]\norders = \"ordered_at >= '${SINCE}' -- the young ones\"\n\
         \"public.order_items\" = \"order_id IN (SELECT order_id FROM orders WHERE ordered_at >= '2024-06-01')\"\n[store]",
    );
    let report = project.night();
    let read = |table: &str| {
        let tables = report["source"]["tables"].as_array().unwrap();
        tables.iter().find(|read| read["table"]["table"] == table).unwrap()["rows"].to_string()
    };
    let young = source.sql("SELECT count(*) FROM orders WHERE ordered_at >= '2024-06-01'");
    assert_ne!(young, source.sql("SELECT count(*) FROM orders"));
    assert_eq!(read("orders"), young);
    let items = source.sql(
        "SELECT count(*) FROM order_items JOIN orders USING (order_id) WHERE ordered_at >= '2024-06-01'",
    );
    assert_eq!(read("order_items"), items);
    project
        .starmill(&["plan", "pipelines/shop.toml"])
        .exits(0)
        .says("Of public.orders, only the rows where (ordered_at >= '2024-06-01'");
}

#[test]
fn a_filter_that_cannot_be_is_told_with_its_place() {
    let source = cluster().shop();
    let told = |filter: &str, expected: &[&str]| {
        let project = Project::shop_on(&source);
        project.edit("pipelines/shop.toml", "[store]", &format!("[source.where]\n{filter}\n[store]"));
        let mut ran = project.starmill(&["check", "pipelines/shop.toml"]).exits(3);
        for text in expected {
            ran = ran.warns(text);
        }
    };
    told(
        "ordrs = \"true\"",
        &["[source.where] names `ordrs`, which the source has not", "did you mean `orders`?"],
    );
    told(
        "orders = \"ordered_at >= now() - interval '1 day'\"",
        &["`now` is another value in every session", "pipelines/shop.toml:"],
    );
    told("orders = \"ordered_at >= CURRENT_DATE\"", &["`current_date` is another value in every session"]);
    told("orders = \"ordered_at > 'yesterday'\"", &["`yesterday` is another value in every session"]);
    source.sql("CREATE FUNCTION fickle() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'");
    told("orders = \"order_id > fickle()\"", &["`fickle` is volatile", "pipelines/shop.toml:"]);
    told("orders = \"ordered_at >\"", &["this condition does not parse", "pipelines/shop.toml:"]);
    told("orders = \"true; DROP TABLE orders\"", &["this condition does not parse"]);
    told(
        "orders = \"order_at IS NULL\"",
        &["the condition of public.orders: column \"order_at\" does not exist", "pipelines/shop.toml:"],
    );
    told("orders = \"ordered_at >= 'soon'\"", &["the condition of public.orders: invalid input syntax"]);
    let project = Project::shop();
    project.edit("pipelines/shop.toml", "[store]", "[source.where]\norders = \"true\"\n[store]");
    project
        .starmill(&["check", "pipelines/shop.toml"])
        .exits(3)
        .warns("a folder of files has nobody to evaluate a condition");
}

/// The filter that a plan says of a table.
fn planned_filter(project: &Project) -> Option<String> {
    let plan = project.starmill(&["plan", "pipelines/p.toml", "--format", "json"]).exits(0).json();
    plan["reads"][0]["filter"].as_str().map(str::to_owned)
}

#[test]
fn conditions_that_every_model_has_are_applied_by_the_server() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE t (id int PRIMARY KEY, status text, code char(3), at timestamptz, day date, price numeric(8,2), ok boolean, ratio float8, u uuid, j json, deleted_at timestamptz); \
         INSERT INTO t SELECT n, 's' || n % 4, 'c' || n % 3, timestamptz '2024-01-01 00:00+00' + n * interval '1 day', date '2024-01-01' + n, n * 1.25, n % 2 = 0, n / 7.0, md5(n::text)::uuid, '{}', CASE WHEN n % 5 = 0 THEN now() END FROM generate_series(1, 200) AS n",
    );
    let filter_of = |conditions: &str| {
        let project = Project::over(&source.url(), "", &format!("SELECT id FROM t WHERE {conditions}"));
        let filter = planned_filter(&project);
        // The star is the same whoever applies the condition.
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        let star = seen_in_star(&project, "count(*), sum(id)");
        assert_eq!(
            star,
            source.sql(&format!("SELECT count(*), sum(id) FROM t WHERE {conditions}")),
            "{conditions}"
        );
        let report =
            project.starmill(&["run", "--dry-run", "pipelines/p.toml", "--format", "json"]).exits(0).json();
        let read = report["source"]["tables"][0]["rows"].as_u64().unwrap();
        (filter.unwrap_or_default(), read < 200)
    };
    for (conditions, pushed) in [
        ("deleted_at IS NULL", "(\"deleted_at\" IS NULL)"),
        ("deleted_at IS NOT NULL", "(\"deleted_at\" IS DISTINCT FROM NULL)"),
        ("id > 100", "(\"id\" > 100)"),
        ("100 >= id", "(\"id\" <= 100)"),
        ("status = 's1'", "(\"status\" = 's1')"),
        ("code = 'c1'", "(\"code\" = 'c1')"),
        ("day < '2024-03-01'", "(\"day\" < date '2024-03-01')"),
        ("at >= '2024-03-01T00:00:00Z'", "(\"at\" >= timestamptz '2024-03-01 00:00:00.000000+00')"),
        ("price <= 99.99", "(\"price\" <= 99.99)"),
        ("ok", "(\"ok\")"),
        ("NOT ok", "(NOT \"ok\")"),
        ("id < 50 AND ok", "(\"id\" < 50) AND (\"ok\")"),
    ] {
        assert_eq!(filter_of(conditions), (pushed.to_owned(), true), "{conditions}");
    }
    // Where the two may not agree on every row, the engine alone decides.
    for conditions in ["status < 's2'", "status <> 's1'", "ratio > 3", "lower(status) = 's1'", "id % 2 = 1"] {
        assert_eq!(filter_of(conditions), (String::new(), false), "{conditions}");
    }
}

#[test]
fn a_condition_of_one_model_is_not_pushed_and_none_hides_rows_from_the_audit() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int PRIMARY KEY, v numeric(8,2), kind int); INSERT INTO t SELECT n, n, n % 3 FROM generate_series(1, 99) AS n");
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[store]\nurl = \"out\"\n[summary.a]\nkey = [\"id\"]\n[summary.b]\nkey = [\"id\"]\n",
        source.url()
    );
    let project = Project::of(
        &toml,
        &[("a", "SELECT id FROM t WHERE kind = 1 AND id > 10"), ("b", "SELECT id FROM t WHERE kind = 1")],
        "",
        &[],
    );
    assert_eq!(planned_filter(&project).as_deref(), Some("(\"kind\" = 1)"));
    project.write("sql/p/b.sql", "SELECT t.id FROM t JOIN t AS other ON other.id = t.id WHERE t.kind = 1");
    let both = planned_filter(&project);
    // The join carries nothing over to its other side, which reads all rows.
    assert_eq!(both, None);
    // A condition that all models have may be all models' mistake: the grain's count still sees it.
    let toml = toml.replace(
        "[summary.a]\nkey = [\"id\"]\n[summary.b]\nkey = [\"id\"]\n",
        "[fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nmeasures = [\"v\"]\n",
    );
    let project = Project::of(&toml, &[("f", "SELECT id, v FROM t WHERE kind = 1")], "", &[]);
    assert_eq!(planned_filter(&project).as_deref(), Some("(\"kind\" = 1)"));
    project.starmill(&["run", "pipelines/p.toml"]).exits(7);
    // What the pipeline itself declares is the source, for both sides.
    project.edit("pipelines/p.toml", "[store]", "[source.where]\nt = \"kind = 1\"\n[store]");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_row_with_an_empty_field_is_there_for_the_engine_and_for_postgres() {
    let source = cluster().database();
    source.sql("CREATE TYPE pair AS (a text, b text); CREATE TABLE t (id int, p pair); INSERT INTO t VALUES (1, ('x', NULL)), (2, ('x', 'y')), (3, NULL), (4, (NULL, NULL))");
    let project = Project::over(&source.url(), "", "SELECT id FROM t WHERE p IS NOT NULL");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let star = seen_in_star(&project, "string_agg(id, ' ' ORDER BY id)");
    assert_eq!(star, "1 2 4");
}

#[test]
fn a_servers_own_reading_of_backslashes_changes_no_condition() {
    let source = cluster().database();
    source.sql(&format!("CREATE TABLE t (id int, code text); INSERT INTO t VALUES (1, 'a\\b'), (2, 'ab'); ALTER DATABASE {} SET standard_conforming_strings = off", source.name));
    let project = Project::over(&source.url(), "", "SELECT id FROM t WHERE code = 'a\\b'");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let star = seen_in_star(&project, "count(*), sum(id)");
    assert_eq!(star, "1|1");
}

#[test]
fn a_declared_filter_reaches_partitions_by_the_tables_name_and_locks_what_it_reads() {
    let source = cluster().database();
    source.sql(
        "CREATE TABLE part (id int, at date, gone boolean) PARTITION BY RANGE (at); CREATE TABLE part_24 PARTITION OF part FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
         INSERT INTO part SELECT n, '2024-05-05', n % 2 = 0 FROM generate_series(1, 10) AS n; CREATE TABLE wanted (id int); INSERT INTO wanted SELECT n FROM generate_series(1, 5) AS n",
    );
    let settings = "[source.where]\npart = \"NOT part.gone AND part.id IN (SELECT id FROM wanted)\"";
    let project = Project::over(&source.url(), settings, "SELECT id FROM part");
    project.edit("pipelines/p.toml", "[summary.s]\n", "[summary.s]\nkey = [\"id\"]\ntotals = { id = \"SELECT sum(id) FROM part WHERE id <= (SELECT max(id) FROM part)\" }\n");
    let seen = |project: &Project| seen_in_star(project, "count(*), sum(id)");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    assert_eq!(seen(&project), "3|9");
    let plan = project.starmill(&["plan", "pipelines/p.toml", "--format", "json"]).exits(0).json();
    let locked: Vec<&str> = plan["reads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|read| read["table"]["table"].as_str().unwrap())
        .collect();
    assert_eq!(locked, ["part", "wanted"]);
    // Somebody who empties it meanwhile waits until all is read.
    let flag = project.path("paused");
    let mut child =
        project.start(&["run", "pipelines/p.toml"], Some(&format!("extract.table=pause:{}", flag.display())));
    wait_until("the run to pause", || flag.exists());
    let truncating = {
        let source = source.clone();
        std::thread::spawn(move || source.sql("TRUNCATE wanted"))
    };
    wait_until("the TRUNCATE to wait", || {
        source.sql("SELECT count(*) FROM pg_stat_activity WHERE query = 'TRUNCATE wanted' AND wait_event_type = 'Lock'") == "1"
    });
    wait_until("the run to end", || {
        let _ = std::fs::remove_file(&flag);
        child.try_wait().unwrap().is_some()
    });
    Ran::of(child).exits(0);
    truncating.join().unwrap();
    assert_eq!(seen(&project), "3|9");
}

#[test]
fn tables_of_confusing_names_lie_in_folders_of_their_own() {
    let source = cluster().database();
    source.sql("CREATE SCHEMA \"a.b\"; CREATE SCHEMA a; CREATE TABLE \"a.b\".c (id int); CREATE TABLE a.\"b.c\" (id int, v text); CREATE TABLE \"../up\" (id int)");
    let project = Project::over(
        &source.url(),
        "schemas = [\"a.b\", \"a\", \"public\"]",
        "SELECT c.id FROM c JOIN a.\"b.c\" AS d USING (id) JOIN \"../up\" USING (id)",
    );
    project.starmill(&["extract", "pipelines/p.toml", "--to", "taken"]).exits(0);
    assert_eq!(project.entries("taken"), ["a%2Eb.c", "a.b%2Ec", "extract.json", "public.%2E%2E%2Fup"]);
}

#[test]
fn what_models_read_is_extracted_in_any_zone_and_whole() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.edit("pipelines/shop.toml", "timezone = \"UTC\"", "timezone = \"Europe/Berlin\"");
    project.edit(
        "sql/shop/dim_carrier.sql",
        "FROM shipping_carriers",
        "FROM shipping_carriers WHERE carrier_id > 3",
    );
    project.starmill(&["extract", "pipelines/shop.toml", "--dry-run"]).exits(0);
    project.starmill(&["extract", "pipelines/shop.toml", "--to", "taken"]).exits(0);
    let seen = |table: &str, what: &str| {
        peer(&format!(
            "SELECT {what} FROM '{}'",
            project.path(&format!("taken/public.{table}/*.parquet")).display()
        ))
    };
    let micros = source.sql("SELECT sum((extract(epoch FROM ordered_at) * 1000000)::bigint) FROM orders");
    assert_eq!(seen("orders", "sum(epoch_us(ordered_at))"), micros);
    assert_eq!(seen("shipping_carriers", "count(*)"), source.sql("SELECT count(*) FROM shipping_carriers"));
}

#[test]
fn an_override_of_a_column_that_is_not_there_is_told() {
    let source = cluster().shop();
    let project = Project::shop_on(&source);
    project.edit(
        "pipelines/shop.toml",
        "[store]",
        "[source.columns]\n\"public.orders.order_totl\" = { as = \"text\" }\n[store]",
    );
    project
        .starmill(&["check", "pipelines/shop.toml"])
        .exits(3)
        .warns("[source.columns] names `public.orders.order_totl`, which the source has not")
        .warns("did you mean `public.orders.order_total`?");
}

#[test]
fn a_day_compared_with_an_instant_means_the_pipelines_midnight() {
    let source = cluster().database();
    source.sql("CREATE TABLE t (id int, at timestamptz); INSERT INTO t SELECT n, timestamptz '2024-05-31 00:00+00' + n * interval '1 hour' FROM generate_series(1, 72) AS n");
    let project = Project::over(&source.url(), "", "SELECT id FROM t WHERE at >= date '2024-06-01'");
    project.edit("pipelines/p.toml", "name = \"p\"\n", "name = \"p\"\ntimezone = \"America/New_York\"\n");
    for same in [
        "at >= date '2024-06-01'",
        "at BETWEEN date '2024-06-01' AND date '2024-06-30'",
        "at >= '2024-06-01 00:00:00'",
        "CAST(at AS date) >= date '2024-06-01'",
    ] {
        project.write("sql/p/s.sql", &format!("SELECT id FROM t WHERE {same}"));
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        let star = seen_in_star(&project, "count(*), sum(id)");
        assert_eq!(
            star,
            source.sql("SELECT count(*), sum(id) FROM t WHERE at >= timestamptz '2024-06-01 00:00-04'"),
            "{same}"
        );
    }
}

#[test]
fn a_table_of_few_pages_and_large_values_is_read_by_every_connection() {
    let source = cluster().database();
    // Some 30 pages, and 64 MB beside them.
    source.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text) WITH (fillfactor = 10); ALTER TABLE t ALTER v SET STORAGE EXTERNAL; \
         INSERT INTO t SELECT i, repeat(md5(i::text), 5000) FROM generate_series(1, 400) AS i",
    );
    let project = Project::over(&source.url(), "", "SELECT 1 AS one");
    assert_eq!(extracted(&project, "t", "taken"), "400|400|80200");
    let files = project.path("taken/public.t/*.parquet").display().to_string();
    let rows = peer(&format!("SELECT count(*) FROM '{files}' GROUP BY filename ORDER BY 1"));
    assert_eq!(rows.lines().count(), 2, "both sessions had a part of it: {rows}");
    assert_eq!(
        peer(&format!("SELECT count(*) FROM '{files}' WHERE v <> repeat(md5(id::VARCHAR), 5000)")),
        "0"
    );
}
