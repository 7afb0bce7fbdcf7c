//! What a DBA does to delivered tables, and the star that they hold nevertheless.

use crate::support::{Database, Project, cluster};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const VERIFY: [&str; 3] = ["deliver", "--verify", "pipelines/p.toml"];

/// One summary over a table `a`, delivered into `mart.s`.
fn project(database: &Database, ddl: &str, sql: &str, rows: &str) -> Project {
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{}\"\nschema = \"mart\"\n[summary.s]\nkey = [\"id\"]\n",
        database.url()
    );
    let project = Project::of(&toml, &[("s", sql)], ddl, &[("a", rows)]);
    project.starmill(&RUN).exits(0);
    project
}

fn names(database: &Database) -> Project {
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, name text, n int);";
    project(database, ddl, "SELECT id, CAST(n AS int) AS n, name FROM a", "id,name,n\n10,Ann,1\n20,Ben,2\n")
}

#[test]
fn a_key_by_somebodys_loose_collation_is_still_the_stars() {
    let database = cluster().database();
    let ddl = "CREATE TABLE a (id text PRIMARY KEY, n int);";
    let project = project(&database, ddl, "SELECT id, n FROM a", "id,n\nann,1\nben,2\n");
    database.sql(
        "CREATE COLLATION mart.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         ALTER TABLE mart.s ALTER id TYPE text COLLATE mart.ci",
    );
    project.write("data/a.csv", "id,n\nANN,1\nben,2\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id COLLATE \"C\" FROM mart.s ORDER BY 1"), "ANN\nben");
    project.starmill(&VERIFY).exits(0);
    database.sql("UPDATE mart.s SET id = 'ann' WHERE id = 'ANN'");
    project.starmill(&VERIFY).exits(8);
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn doubles_that_nearly_cancel_out_are_no_drift_and_a_zero_has_its_sign() {
    let database = cluster().database();
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, x float8, n int);";
    let rows = "id,x,n\n1,1e17,1\n2,1.0,1\n3,-1e17,1\n4,2.0,1\n5,0.3,1\n6,0.0,1\n";
    let project = project(&database, ddl, "SELECT id, x, n FROM a", rows);
    // Rows that are updated stand elsewhere, and are added up in another order.
    for n in 2..5 {
        let rows = rows.replace("1e17,1\n2", &format!("1e17,{n}\n2")).replace("0.3,1", &format!("0.3,{n}"));
        project.write("data/a.csv", &rows);
        let ran = project.starmill(&RUN).exits(0);
        assert!(!ran.stdout.contains("somebody wrote"), "{}", ran.stdout);
    }
    database.sql(
        "UPDATE mart.s SET n = 7 WHERE id = 2; UPDATE mart.s SET n = 1 WHERE id = 2; VACUUM FULL mart.s",
    );
    project.write("data/a.csv", &rows.replace("6,0.0", "6,-0.0"));
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT x FROM mart.s WHERE id = 6"), "-0");
    project.starmill(&VERIFY).exits(0);
    database.sql("UPDATE mart.s SET x = 0 WHERE id = 6");
    project.starmill(&VERIFY).exits(8);
}

#[test]
fn tables_that_inherit_from_ours_keep_their_values_when_a_column_changes_or_goes() {
    let database = cluster().database();
    let project = names(&database);
    database.sql("CREATE TABLE mart.c (x int) INHERITS (mart.s); INSERT INTO mart.c (id, n, name, x) VALUES (7, 7, 'own', 1)");
    project.write("sql/p/s.sql", "SELECT id, name AS n, name FROM a");
    let refused = project.starmill(&RUN).exits(11);
    refused
        .warns("what inherits from it would change with it: mart.c")
        .warns("ALTER TABLE mart.c NO INHERIT \"mart\".\"s\"");
    project.write("sql/p/s.sql", "SELECT id, name FROM a");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, n, name, x FROM mart.c"), "7|7|own|1");
    project.write("sql/p/s.sql", "SELECT id, id AS name FROM a");
    project.starmill(&RUN).exits(11);
    database.sql("ALTER TABLE mart.c NO INHERIT mart.s");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT id, n, name, x FROM mart.c"), "7|7|own|1");
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn a_table_that_was_restored_from_an_old_dump_is_compared_row_by_row() {
    let database = cluster().database();
    let project = names(&database);
    project.write("data/a.csv", "id,name,n\n10,Anna,1\n20,Ben,2\n");
    database.restore("mart.s", "mart.s", || {
        project.starmill(&RUN).exits(0);
    });
    assert_eq!(database.sql("SELECT name FROM mart.s ORDER BY id"), "Ann\nBen");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT name FROM mart.s ORDER BY id"), "Anna\nBen");
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn values_move_between_rows_under_the_unique_keys_of_others() {
    let database = cluster().database();
    let project = names(&database);
    database.sql(
        "ALTER TABLE mart.s ADD CONSTRAINT names UNIQUE (name); \
         CREATE TABLE mart.theirs (s_id int REFERENCES mart.s (id)); INSERT INTO mart.theirs VALUES (20)",
    );
    // A row goes, and a new one has its name, while rows are pointed at.
    project.write("data/a.csv", "id,name,n\n20,Ben,2\n30,Ann,3\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, name FROM mart.s ORDER BY id"), "20|Ben\n30|Ann");
    // Two rows swap theirs: that takes a key that is checked at the end.
    project.write("data/a.csv", "id,name,n\n20,Ann,2\n30,Ben,3\n");
    let refused = project.starmill(&RUN).exits(11);
    refused
        .warns("may take values of names from each other")
        .warns("UNIQUE (…) DEFERRABLE INITIALLY DEFERRED");
    database.sql(
        "ALTER TABLE mart.s DROP CONSTRAINT names, ADD CONSTRAINT names UNIQUE (name) DEFERRABLE INITIALLY DEFERRED",
    );
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT id, name FROM mart.s ORDER BY id"), "20|Ann\n30|Ben");
}

#[test]
fn what_a_trigger_deferred_to_the_end_is_seen_by_the_proof() {
    let database = cluster().database();
    let project = names(&database);
    database.sql(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE mart.s SET name = lower(name); RETURN NULL; END'; \
         CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON mart.s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
         WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION late()",
    );
    project.write("data/a.csv", "id,name,n\n10,Anna,1\n20,Ben,2\n");
    project.starmill(&RUN).exits(11).warns("not as sent, where the trigger late on mart.s may change");
    assert_eq!(database.sql("SELECT name FROM mart.s ORDER BY id"), "Ann\nBen");
}

#[test]
fn a_primary_key_of_somebody_else_stays_and_rows_are_known_by_a_unique_one() {
    let database = cluster().database();
    let project = names(&database);
    // Under our constraint's name, over a column of theirs.
    database.sql(
        "ALTER TABLE mart.s DROP CONSTRAINT s_pkey; ALTER TABLE mart.s ADD COLUMN uid uuid NOT NULL DEFAULT gen_random_uuid(); \
         ALTER TABLE mart.s ADD CONSTRAINT s_pkey PRIMARY KEY (uid)",
    );
    let uids = database.sql("SELECT uid FROM mart.s ORDER BY id");
    let keys = "SELECT string_agg(pg_get_constraintdef(oid), '; ' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'mart.s'::regclass AND contype IN ('p', 'u')";
    for n in 3..5 {
        project.write("data/a.csv", &format!("id,name,n\n10,Ann,{n}\n20,Ben,2\n"));
        project.starmill(&RUN).exits(0).says("s             0        1        0");
        assert_eq!(database.sql(keys), "UNIQUE (id); PRIMARY KEY (uid)");
    }
    assert_eq!(database.sql("SELECT uid FROM mart.s ORDER BY id"), uids);
    // Another key of the star takes ours along, and leaves theirs.
    let database = cluster().database();
    let project = names(&database);
    database.sql("ALTER TABLE mart.s DROP CONSTRAINT s_pkey; ALTER TABLE mart.s ADD CONSTRAINT s_pkey PRIMARY KEY (name)");
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql(keys), "UNIQUE (id); PRIMARY KEY (name)");
    project.edit("pipelines/p.toml", "key = [\"id\"]", "key = [\"n\"]");
    project.starmill(&["run", "--accept", "s", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql(keys), "UNIQUE (n); PRIMARY KEY (name)");
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn a_table_that_a_dba_partitioned_has_the_keys_that_it_can_have() {
    let database = cluster().database();
    let project = names(&database);
    database.sql(
        "DROP TABLE mart.s; CREATE TABLE mart.s (id int, n int, name text, PRIMARY KEY (id, name)) PARTITION BY LIST (name); \
         CREATE TABLE mart.s_ann PARTITION OF mart.s FOR VALUES IN ('Ann'); CREATE TABLE mart.s_rest PARTITION OF mart.s DEFAULT",
    );
    project.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(0);
    for n in 3..5 {
        project.write("data/a.csv", &format!("id,name,n\n10,Ann,{n}\n20,Ann,2\n30,Cem,3\n"));
        project.starmill(&RUN).exits(0);
        project.starmill(&VERIFY).exits(0);
    }
    assert_eq!(database.sql("SELECT count(*) FROM mart.s_ann"), "2");
}

#[test]
fn values_of_others_that_would_follow_a_changed_one_stay() {
    let database = cluster().database();
    let project = names(&database);
    database.sql(
        "ALTER TABLE mart.s ADD CONSTRAINT names UNIQUE (name); \
         CREATE TABLE mart.theirs (name text REFERENCES mart.s (name) ON UPDATE SET NULL); INSERT INTO mart.theirs VALUES ('Ann'), ('Ben')",
    );
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n");
    project.starmill(&RUN).exits(0);
    project.write("data/a.csv", "id,name,n\n10,Anna,5\n20,Ben,2\n");
    let refused = project.starmill(&RUN).exits(11);
    refused
        .warns("other values of name in the star")
        .warns("the foreign key theirs_name_fkey of mart.theirs");
    assert_eq!(database.sql("SELECT name FROM mart.theirs ORDER BY 1"), "Ann\nBen");
}

#[test]
fn statistics_and_publications_are_named_before_a_table_goes() {
    let database = cluster().database();
    let project = names(&database);
    database
        .sql("CREATE STATISTICS mart.of_both ON id, n FROM mart.s; CREATE PUBLICATION feed FOR TABLE mart.s");
    let toml = project.read("pipelines/p.toml");
    project.write(
        "pipelines/p.toml",
        &toml.replace("[summary.s]\nkey = [\"id\"]\n", "[summary.other]\nkey = [\"id\"]\n"),
    );
    project.write("sql/p/other.sql", "SELECT id, name FROM a");
    let refused = project.starmill(&RUN).exits(11);
    refused.warns("the statistics of_both").warns("its place in the publication feed");
    assert_eq!(database.sql("SELECT count(*) FROM mart.s"), "2");
}

#[test]
fn an_index_that_somebody_made_under_the_name_of_ours_is_theirs() {
    let database = cluster().database();
    let project = names(&database);
    project.edit("pipelines/p.toml", "key = [\"id\"]\n", "key = [\"id\"]\nindexes = [[\"name\"]]\n");
    project.starmill(&RUN).exits(0);
    database.sql("DROP INDEX mart.s_name_idx; CREATE INDEX s_name_idx ON mart.s (name text_pattern_ops)");
    project.edit("pipelines/p.toml", "indexes = [[\"name\"]]\n", "");
    project.starmill(&RUN).exits(0);
    assert!(
        database
            .sql("SELECT indexdef FROM pg_indexes WHERE indexname = 's_name_idx'")
            .contains("text_pattern_ops")
    );
}

#[test]
fn a_column_that_somebody_declared_not_null_is_so_in_its_new_type() {
    let database = cluster().database();
    let project = names(&database);
    database.sql("ALTER TABLE mart.s ALTER COLUMN name SET NOT NULL");
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS int) AS n, CAST(n AS bigint) AS name FROM a");
    project.starmill(&RUN).exits(0);
    let column = "SELECT format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'mart.s'::regclass AND attname = 'name'";
    assert_eq!(database.sql(column), "bigint|t");
    assert_eq!(database.sql("SELECT name FROM mart.s ORDER BY id"), "1\n2");
    // Verified while it still has the old one.
    database.sql("ALTER TABLE mart.s ALTER COLUMN name TYPE text");
    project.starmill(&VERIFY).exits(8).says("s");
}

/// A trigger function, and a table `t` beside `s`, with the columns of `s` parted between them.
fn beside(database: &Database, body: &str) -> Project {
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{}\"\nschema = \"mart\"\n\
         [summary.s]\nkey = [\"id\"]\n[summary.t]\nkey = [\"id\"]\n",
        database.url()
    );
    let models = [("s", "SELECT id, n FROM a"), ("t", "SELECT id, name FROM a")];
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, name text, n int);";
    let project = Project::of(&toml, &models, ddl, &[("a", "id,name,n\n10,Ann,1\n20,Ben,2\n")]);
    project.starmill(&RUN).exits(0);
    database.sql(&format!(
        "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} RETURN NULL; END$$"
    ));
    project.write("data/a.csv", "id,name,n\n10,Anna,1\n20,Ben,2\n");
    project
}

#[test]
fn what_a_trigger_writes_into_another_table_or_row_is_found_out_wherever_it_hangs() {
    let acts = [
        ("DELETE FROM mart.s WHERE id = 20;", "TRIGGER g AFTER UPDATE ON mart.t FOR EACH STATEMENT"),
        (
            "UPDATE mart.s SET n = n + 1;",
            "CONSTRAINT TRIGGER g AFTER UPDATE ON mart.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
        ),
        (
            "UPDATE mart.t SET name = lower(name) WHERE id <> NEW.id;",
            "TRIGGER g AFTER UPDATE ON mart.t FOR EACH ROW WHEN (pg_trigger_depth() = 0)",
        ),
        (
            "UPDATE mart.t SET name = upper(name) WHERE id = 20;",
            "TRIGGER g AFTER INSERT OR UPDATE ON mart.starmill_delivery FOR EACH STATEMENT",
        ),
        (
            "BEGIN UPDATE mart.t SET name = upper(name) WHERE id = 20; EXCEPTION WHEN division_by_zero THEN NULL; END;",
            "TRIGGER g AFTER UPDATE ON mart.t FOR EACH ROW WHEN (pg_trigger_depth() = 0)",
        ),
    ];
    for (body, trigger) in acts {
        let database = cluster().database();
        let project = beside(&database, body);
        database.sql(&format!("CREATE {trigger} EXECUTE FUNCTION public.f()"));
        let refused = project.starmill(&RUN).exits(11);
        refused.warns("a trigger or rule on a delivered table changes what is written");
        let held = database.sql("SELECT id, n, name FROM mart.s JOIN mart.t USING (id) ORDER BY id");
        assert_eq!(held, "10|1|Ann\n20|2|Ben", "{body}");
    }
    // So is what it writes into a table that is made anew in the same delivery.
    let database = cluster().database();
    let project = beside(&database, "UPDATE mart.s SET n = CASE id WHEN 10 THEN 2 ELSE 1 END;");
    database.sql("CREATE TRIGGER g AFTER UPDATE ON mart.t FOR EACH STATEMENT EXECUTE FUNCTION public.f(); DROP TABLE mart.s");
    project.starmill(&RUN).exits(11).warns("mart\".\"s\": ").warns("the trigger g on mart.t may change");
    // One that writes elsewhere is nobody's fault, and finds what it names as in its author's sessions.
    let database = cluster().database();
    let project = beside(&database, "INSERT INTO log VALUES (now());");
    database.sql("CREATE TABLE public.log (at timestamptz); CREATE TRIGGER g AFTER UPDATE ON mart.t FOR EACH ROW EXECUTE FUNCTION public.f()");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT count(*) FROM log"), "1");
    // A partition's own.
    let database = cluster().database();
    let project = names(&database);
    database.sql(
        "DROP TABLE mart.s; CREATE TABLE mart.s (id int PRIMARY KEY, n int, name text) PARTITION BY RANGE (id); \
         CREATE TABLE mart.s1 PARTITION OF mart.s FOR VALUES FROM (0) TO (1000)",
    );
    project.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(0);
    database.sql(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.name := upper(NEW.name); RETURN NEW; END$$; \
         CREATE TRIGGER g BEFORE INSERT OR UPDATE ON mart.s1 FOR EACH ROW EXECUTE FUNCTION f()",
    );
    project.write("data/a.csv", "id,name,n\n10,Anna,1\n20,Ben,2\n");
    project.starmill(&RUN).exits(11).warns("the trigger g on mart.s1");
}

#[test]
fn a_column_of_ours_that_somebody_retyped_or_made_anew_is_no_longer_trusted() {
    let database = cluster().database();
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, name text, n numeric(10,2));";
    let project =
        project(&database, ddl, "SELECT id, n, name FROM a", "id,name,n\n10,Ann,1.50\n20,Ben,2.25\n");
    database.sql("ALTER TABLE mart.s ALTER n TYPE int");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT n FROM mart.s ORDER BY id"), "1.50\n2.25");
    // Of the same name and type, and another column.
    database.sql("ALTER TABLE mart.s RENAME COLUMN name TO name_old; ALTER TABLE mart.s ADD COLUMN name text; UPDATE mart.s SET name = 'precious'");
    let refused = project.starmill(&RUN).exits(11);
    refused.warns("has a column name already, which starmill did not make");
    // What is advised: it is taken over.
    let copy = cluster().database();
    copy.sql("CREATE SCHEMA mart");
    let taken =
        self::project(&copy, ddl, "SELECT id, n, name FROM a", "id,name,n\n10,Ann,1.50\n20,Ben,2.25\n");
    copy.sql("ALTER TABLE mart.s DROP COLUMN name; ALTER TABLE mart.s ADD COLUMN name text");
    taken.starmill(&["deliver", "pipelines/p.toml"]).exits(8);
    taken.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(0);
    assert_eq!(copy.sql("SELECT name FROM mart.s ORDER BY id"), "Ann\nBen");
    taken.starmill(&RUN).exits(0);
    // Nor is it taken for ours when the star has it no more.
    project.write("sql/p/s.sql", "SELECT id, n FROM a");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT DISTINCT name FROM mart.s"), "precious");
    // What tells the rows apart is gone, and with it whose values are whose.
    database.sql("ALTER TABLE mart.s DROP COLUMN id");
    project.starmill(&RUN).exits(11).warns("its rows are not known again, and the values of");
    assert_eq!(database.sql("SELECT DISTINCT name FROM mart.s"), "precious");
}

#[test]
fn somebodys_table_with_a_key_like_ours_is_not_one_that_was_restored() {
    let database = cluster().database();
    let project = names(&database);
    database.sql("DROP TABLE mart.s; CREATE TABLE mart.s (id int PRIMARY KEY, name text, n int); INSERT INTO mart.s VALUES (99, 'precious', 1)");
    project.write("data/a.csv", "id,name,n\n10,Anna,1\n20,Ben,2\n");
    project.starmill(&RUN).exits(11).warns("is not the table that starmill delivered");
    let toml = project.read("pipelines/p.toml");
    project.write("pipelines/p.toml", &toml.replace("[summary.s]", "[summary.other]"));
    project.write("sql/p/other.sql", "SELECT id, name FROM a");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, name FROM mart.s"), "99|precious");
}

#[test]
fn rows_of_others_are_spared_through_a_whole_that_ours_is_a_part_of_and_only_where_they_point() {
    let database = cluster().database();
    let project = names(&database);
    database.sql(
        "CREATE TABLE mart.theirs (id int REFERENCES mart.s (id) ON DELETE CASCADE); INSERT INTO mart.theirs VALUES (10)",
    );
    // Nothing points at what goes.
    project.write("data/a.csv", "id,name,n\n10,Ann,1\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id FROM mart.s"), "10");
    let database = cluster().database();
    let project = names(&database);
    database.sql(
        "CREATE TABLE mart.whole (id int, n int, name text, PRIMARY KEY (id)) PARTITION BY RANGE (id); \
         ALTER TABLE mart.whole ATTACH PARTITION mart.s FOR VALUES FROM (0) TO (1000); \
         CREATE TABLE mart.theirs (id int REFERENCES mart.whole (id) ON DELETE CASCADE); INSERT INTO mart.theirs VALUES (10), (20)",
    );
    project.write("data/a.csv", "id,name,n\n10,Ann,1\n");
    project.starmill(&RUN).exits(11).warns("rows of others");
    assert_eq!(database.sql("SELECT count(*) FROM mart.theirs"), "2");
    // Its columns change with the whole's alone, and it goes with its place in it.
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS bigint) AS n, name FROM a");
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(8)
        .warns("ALTER TABLE mart.whole DETACH PARTITION \"mart\".\"s\"");
    database.sql("DROP TABLE mart.theirs; ALTER TABLE mart.whole DETACH PARTITION mart.s");
    project.starmill(&RUN).exits(0);
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn a_type_that_holds_every_value_gives_up_none_whatever_the_server_has_against_it() {
    let database = cluster().database();
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, of_id int, n int);";
    let project = project(&database, ddl, "SELECT id, of_id, n FROM a", "id,of_id,n\n10,7,1\n20,8,2\n");
    // A check that fails for a while, and never of NULL.
    database.sql(
        "CREATE TABLE gate (closed bool); INSERT INTO gate VALUES (false); \
         CREATE FUNCTION passes(v bigint) RETURNS bool STRICT LANGUAGE plpgsql AS $$BEGIN IF (SELECT closed FROM public.gate) THEN RAISE EXCEPTION 'closed'; END IF; RETURN true; END$$; \
         ALTER TABLE mart.s ADD CONSTRAINT gated CHECK (passes(of_id)); UPDATE gate SET closed = true",
    );
    project.write("sql/p/s.sql", "SELECT id, CAST(of_id AS bigint) AS of_id, n FROM a");
    project.starmill(&RUN).exits(11).warns("drop what hangs on of_id (the constraint gated) by hand");
    assert_eq!(database.sql("SELECT of_id FROM mart.s ORDER BY id"), "7\n8");
    database.sql("UPDATE gate SET closed = false");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT of_id FROM mart.s ORDER BY id"), "7\n8");
}

#[test]
fn rows_that_are_there_twice_go_where_no_key_kept_them_out() {
    let database = cluster().database();
    let project = names(&database);
    database.sql("ALTER TABLE mart.s ADD COLUMN note text; ALTER TABLE mart.s DROP CONSTRAINT s_pkey; INSERT INTO mart.s SELECT * FROM mart.s WHERE id = 10");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, name FROM mart.s ORDER BY id"), "10|Ann\n20|Ben");
    project.starmill(&VERIFY).exits(0);
    // In a table that cannot have the key.
    database.sql(
        "DROP TABLE mart.s; CREATE TABLE mart.s (id int, n int, name text) PARTITION BY LIST (name); CREATE TABLE mart.rest PARTITION OF mart.s DEFAULT",
    );
    project.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(0);
    database.sql("INSERT INTO mart.s VALUES (10, 1, 'Zoe')");
    project.write("data/a.csv", "id,name,n\n10,Anna,1\n20,Ben,2\n");
    project.starmill(&RUN).exits(0);
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn a_key_in_a_coarser_type_writes_its_rows_anew_and_never_those_that_others_have_something_in() {
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, at timestamp, n int);";
    let rows = "id,at,n\n1,2024-01-01 10:00:00,1\n2,2024-01-01 11:00:00,2\n3,2024-01-02 09:00:00,3\n";
    let begun = |database: &Database| {
        let project = project(database, ddl, "SELECT at AS id, n FROM a", rows);
        project.write("data/a.csv", &rows.replace("2,2024-01-01 11:00:00,2\n", ""));
        project.write("sql/p/s.sql", "SELECT CAST(at AS date) AS id, n FROM a");
        project
    };
    let database = cluster().database();
    let project = begun(&database);
    project.starmill(&["run", "--accept", "s", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT id, n FROM mart.s ORDER BY id"), "2024-01-01|1\n2024-01-02|3");
    let database = cluster().database();
    let project = begun(&database);
    database.sql("ALTER TABLE mart.s ADD COLUMN note text");
    let refused = project.starmill(&["run", "--accept", "s", "pipelines/p.toml"]).exits(11);
    refused.warns("the rows are not known again by their new keys");
    database.sql("ALTER TABLE mart.s DROP COLUMN note");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn what_hangs_on_a_column_that_cannot_get_its_type_is_named() {
    let database = cluster().database();
    let project = names(&database);
    database.sql("ALTER TABLE mart.s ADD CONSTRAINT named CHECK (name IS NOT NULL); CREATE INDEX lowered ON mart.s (lower(name))");
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS int) AS n, CAST(n AS bigint) AS name FROM a");
    let refused = project.starmill(&RUN).exits(11);
    refused.warns("drop what hangs on name (the constraint named and the index lowered) by hand");
    database.sql("ALTER TABLE mart.s DROP CONSTRAINT named; DROP INDEX mart.lowered");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
}

#[test]
fn rows_that_point_at_what_is_written_after_them_need_a_key_that_is_checked_at_the_end() {
    let database = cluster().database();
    let project = beside(&database, "");
    database.sql("ALTER TABLE mart.s ADD CONSTRAINT mine FOREIGN KEY (n) REFERENCES mart.t (id) NOT VALID");
    project.write("data/a.csv", "id,name,n\n10,Ann,30\n20,Ben,2\n30,Cem,30\n");
    project.starmill(&RUN).exits(11).warns("ALTER CONSTRAINT \"mine\" DEFERRABLE INITIALLY DEFERRED");
    database.sql("ALTER TABLE mart.s ALTER CONSTRAINT mine DEFERRABLE INITIALLY DEFERRED");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    project.starmill(&VERIFY).exits(0);
}
