//! A target is other people's too: what they hung on a delivered table stays, and what stands in the way
//! is named.

use crate::support::{Database, Project, cluster};

const TOML: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"URL\"\nschema = \"mart\"\n\
    [dimension.dim_a]\nkey = [\"id\"]\nsurrogate = \"a_key\"\n[summary.s]\nkey = [\"id\"]\n";

fn project(database: &Database) -> Project {
    let project = unrun(database);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    project
}

fn unrun(database: &Database) -> Project {
    Project::of(
        &TOML.replace("URL", &database.url()),
        &[("dim_a", "SELECT id, name FROM a"), ("s", "SELECT id, CAST(n AS int) AS n, name FROM a")],
        "CREATE TABLE a (id int PRIMARY KEY, name text, n int);",
        &[("a", "id,name,n\n10,Ann,1\n20,Ben,2\n")],
    )
}

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];

#[test]
fn what_a_dba_hung_on_a_table_stays_through_changes_and_retypes() {
    let database = cluster().database();
    let project = project(&database);
    database.sql(
        "ALTER TABLE mart.s ADD COLUMN note text; UPDATE mart.s SET note = 'by hand ' || id; \
         ALTER TABLE mart.s ADD COLUMN twice bigint GENERATED ALWAYS AS (id * 2) STORED; \
         ALTER TABLE mart.s ADD CONSTRAINT names UNIQUE (name); ALTER TABLE mart.s ALTER COLUMN name SET NOT NULL; \
         ALTER TABLE mart.s ADD CONSTRAINT positive CHECK (n >= 0); CREATE INDEX of_n ON mart.s (n); \
         COMMENT ON COLUMN mart.s.n IS 'how many'; \
         CREATE TABLE mart.theirs (s_id int REFERENCES mart.s (id)); INSERT INTO mart.theirs VALUES (10); \
         CREATE TABLE mart.of_keys (a_key bigint REFERENCES mart.dim_a (a_key)); INSERT INTO mart.of_keys VALUES (1)",
    );
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n30,Cem,3\n");
    project.starmill(&RUN).exits(0);
    let rows = || database.sql("SELECT id, n, name, note, twice FROM mart.s ORDER BY id");
    assert_eq!(rows(), "10|5|Ann|by hand 10|20\n20|2|Ben|by hand 20|40\n30|3|Cem||60");
    // A column that gets another type keeps its index, check and comment, and its place.
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS bigint) AS n, name FROM a");
    project.write("data/a.csv", "id,name,n\n10,Ann,6\n20,Ben,2\n30,Cem,3\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(rows(), "10|6|Ann|by hand 10|20\n20|2|Ben|by hand 20|40\n30|3|Cem||60");
    let hung = database.sql(
        "SELECT (SELECT count(*) FROM pg_constraint WHERE conname IN ('names', 'positive')), \
                (SELECT count(*) FROM pg_indexes WHERE indexname = 'of_n'), \
                (SELECT attnotnull FROM pg_attribute WHERE attrelid = 'mart.s'::regclass AND attname = 'name'), \
                col_description('mart.s'::regclass, 2), \
                (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'mart.s'::regclass AND attnum = 2)",
    );
    assert_eq!(hung, "2|1|t|how many|bigint");
    // A column of ours that the star no longer has goes; theirs doesn't.
    project.write("sql/p/s.sql", "SELECT id, name FROM a");
    database.sql("ALTER TABLE mart.s DROP CONSTRAINT positive; DROP INDEX mart.of_n");
    project.starmill(&RUN).exits(0);
    let columns = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'mart.s'::regclass AND attnum > 0 AND NOT attisdropped";
    assert_eq!(database.sql(columns), "id,name,note,twice");
}

#[test]
fn what_stands_in_the_way_is_named_and_nothing_is_destroyed() {
    let database = cluster().database();
    let project = project(&database);
    database.sql("ALTER TABLE mart.s ADD COLUMN note text; UPDATE mart.s SET note = 'precious'");
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"id\"]", "[summary.s]\nkey = [\"name\"]");
    let accepted = ["run", "--accept", "s", "pipelines/p.toml"];
    project.starmill(&accepted).exits(11).warns("note").warns("would be lost").never_shows("CASCADE");
    assert_eq!(database.sql("SELECT count(note) FROM mart.s"), "2");
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"name\"]", "[summary.s]\nkey = [\"id\"]");
    project.starmill(&accepted).exits(0);
    // A table that the star no longer has, with somebody's column.
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"id\"]\n", "");
    project.starmill(&RUN).exits(11).warns("the column note").warns("DROP TABLE").never_shows("CASCADE");
    assert_eq!(database.sql("SELECT count(note) FROM mart.s"), "2");
    // A view on a column that goes: the server's own advice would destroy it.
    let database = cluster().database();
    let project = self::project(&database);
    database.sql("CREATE VIEW mart.v AS SELECT n FROM mart.s");
    project.write("sql/p/s.sql", "SELECT id, name FROM a");
    project.starmill(&RUN).exits(11).warns("others depend on it: the view mart.v").never_shows("CASCADE");
    assert_eq!(database.sql("SELECT count(*) FROM mart.v"), "2");
    // A column that must have a value, which no row of the star brings.
    let database = cluster().database();
    let project = self::project(&database);
    database.sql("ALTER TABLE mart.s ADD COLUMN owner text NOT NULL DEFAULT 'x'; ALTER TABLE mart.s ALTER COLUMN owner DROP DEFAULT");
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n30,Cem,3\n");
    project.starmill(&RUN).exits(11).warns("owner").warns("SET DEFAULT");
}

#[test]
fn what_goes_with_a_column_a_key_or_a_table_is_named_before_it_goes() {
    let fresh = || {
        let database = cluster().database();
        let project = project(&database);
        (database, project)
    };
    // A foreign key that would take its rows along.
    let (database, project) = fresh();
    database.sql("ALTER TABLE mart.s ADD UNIQUE (name); CREATE TABLE mart.theirs (name text REFERENCES mart.s (name) ON DELETE CASCADE); INSERT INTO mart.theirs VALUES ('Ann'), ('Ben')");
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"id\"]", "[summary.s]\nkey = [\"name\"]");
    project.starmill(&["run", "--accept", "s", "pipelines/p.toml"]).exits(11).warns("theirs");
    assert_eq!(database.sql("SELECT count(*) FROM mart.theirs"), "2");
    // What hangs on a column of ours.
    let (database, project) = fresh();
    database.sql("ALTER TABLE mart.s ADD CONSTRAINT mine CHECK (n > 0); CREATE INDEX my_index ON mart.s (name) WHERE n > 0");
    project.write("sql/p/s.sql", "SELECT id, name FROM a");
    project.starmill(&RUN).exits(11).warns("the constraint mine").warns("the index my_index");
    database.sql("DROP INDEX mart.my_index; ALTER TABLE mart.s DROP CONSTRAINT mine");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    // And on a table.
    let (database, project) = fresh();
    database
        .sql("CREATE INDEX my_index ON mart.s (n); CREATE RULE r AS ON DELETE TO mart.s DO ALSO SELECT 1");
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"id\"]\n", "");
    project.starmill(&RUN).exits(11).warns("the index my_index").warns("the rule r");
    assert_eq!(database.sql("SELECT count(*) FROM mart.s"), "2");
    // A column of theirs, when the star gets one of its name.
    let (database, project) = fresh();
    database.sql("ALTER TABLE mart.s ADD COLUMN note text; UPDATE mart.s SET note = 'precious'");
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS int) AS n, name, 'ours' AS note FROM a");
    project.starmill(&RUN).exits(11).warns("a column note already");
    assert_eq!(database.sql("SELECT count(*) FROM mart.s WHERE note = 'precious'"), "2");
    // A table that another pipeline delivers.
    let (database, project) = fresh();
    let other = Project::of(
        &TOML.replace("URL", &database.url()).replace("name = \"p\"", "name = \"q\""),
        &[("dim_a", "SELECT id, name FROM a"), ("s", "SELECT id, name FROM a")],
        "CREATE TABLE a (id int PRIMARY KEY, name text, n int);",
        &[("a", "id,name,n\n1,Zoe,1\n")],
    );
    other.starmill(&RUN).exits(11).warns("belongs to the pipeline p");
    other
        .starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"])
        .exits(8)
        .warns("belongs to the pipeline p");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_table_that_a_view_of_the_source_reads_is_a_source() {
    let database = cluster().database();
    database.sql(
        "CREATE TABLE s (id int PRIMARY KEY, name text); INSERT INTO s SELECT g, 'row' FROM generate_series(1, 100) AS g; \
         CREATE VIEW v AS SELECT * FROM s; \
         CREATE TABLE par (id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF par FOR VALUES FROM (1) TO (100); \
         INSERT INTO par SELECT g FROM generate_series(1, 50) AS g",
    );
    for (name, sql) in
        [("s", "SELECT id, name FROM v WHERE id < 4"), ("part", "SELECT id FROM par WHERE id < 4")]
    {
        let toml = format!(
            "name = \"p\"\n[source]\nurl = \"{0}\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{0}\"\nschema = \"public\"\n[summary.{name}]\nkey = [\"id\"]\n",
            database.url()
        );
        let project = Project::of(&toml, &[(name, sql)], "", &[]);
        project.starmill(&RUN).exits(11).never_shows("--adopt");
        project.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(8);
    }
    assert_eq!(database.sql("SELECT (SELECT count(*) FROM s), (SELECT count(*) FROM par)"), "100|50");
}

#[test]
fn taking_over_is_shown_first_and_never_takes_a_source() {
    let database = cluster().database();
    database.sql("CREATE TABLE s (id int PRIMARY KEY, name text); INSERT INTO s SELECT g, 'row ' || g FROM generate_series(1, 100) AS g");
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{0}\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{0}\"\nschema = \"public\"\n[summary.s]\nkey = [\"id\"]\n",
        database.url()
    );
    let project = Project::of(&toml, &[("s", "SELECT id, name FROM public.s WHERE id <= 3")], "", &[]);
    project.starmill(&RUN).exits(11).warns("name another `schema`").never_shows("--adopt");
    for args in [
        vec!["deliver", "--adopt", "pipelines/p.toml"],
        vec!["deliver", "--adopt", "--yes", "pipelines/p.toml"],
    ] {
        project.starmill(&args).exits(8);
    }
    assert_eq!(database.sql("SELECT count(*) FROM public.s"), "100");
    // Somebody else's table, which is no source.
    database.sql("CREATE SCHEMA mart; CREATE TABLE mart.s (id int PRIMARY KEY, name text, note text); INSERT INTO mart.s VALUES (7, 'old', 'x')");
    project.edit("pipelines/p.toml", "schema = \"public\"", "schema = \"mart\"");
    project.starmill(&RUN).exits(11).warns("shows what would become of them");
    project
        .starmill(&["deliver", "--adopt", "pipelines/p.toml"])
        .exits(2)
        .says("Taking over deletes")
        .warns("--yes");
    assert_eq!(database.sql("SELECT count(*) FROM mart.s"), "1");
    project.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT count(*), count(note) FROM mart.s"), "3|0");
}

#[test]
fn what_is_no_table_is_moved_out_of_the_way_and_never_taken_over() {
    let database = cluster().database();
    let project = project(&database);
    database.sql("DROP TABLE mart.s; CREATE VIEW mart.s AS SELECT 1 AS id");
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n");
    let remedy = "ALTER VIEW \"mart\".\"s\" RENAME TO";
    project.starmill(&RUN).exits(11).warns("is a view").warns(remedy).never_shows("--adopt");
    project.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(8).warns(remedy);
    database.sql("ALTER VIEW \"mart\".\"s\" RENAME TO theirs");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT count(*) FROM mart.s"), "1");
    assert_eq!(database.sql("SELECT count(*) FROM mart.theirs"), "1");
}

#[test]
fn verifying_counts_rows_that_are_there_twice() {
    let database = cluster().database();
    let project = project(&database);
    database.sql(
        "ALTER TABLE mart.s DROP CONSTRAINT s_pkey; INSERT INTO mart.s SELECT * FROM mart.s WHERE id = 10",
    );
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(8);
}

#[test]
fn a_delivery_waits_for_a_lock_for_a_while_only() {
    let database = cluster().database();
    let project = project(&database);
    let mut holder =
        database.psql().args(["-c", "BEGIN; LOCK TABLE mart.s; SELECT pg_sleep(60)"]).spawn().unwrap();
    crate::support::wait_until("the table is locked", || {
        database.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'mart.s'::regclass") == "1"
    });
    project.write("data/a.csv", "id,name,n\n10,Ann,9\n20,Ben,2\n");
    project.edit("pipelines/p.toml", "[target]", "[target]\nlock_timeout = \"500ms\"\nlock_wait = \"0s\"");
    project.starmill(&RUN).exits(11).warns("conflicting lock").warns("`lock_wait` in [target]");
    // With some patience it is tried again, and others come through in between.
    project.edit("pipelines/p.toml", "lock_wait = \"0s\"", "lock_wait = \"1m\"");
    let mut delivery = project
        .command(&["deliver", "pipelines/p.toml"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(delivery.try_wait().unwrap().is_none(), "it waits");
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()");
    let ended = delivery.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && told.contains("others hold what the delivery needs"), "{told}");
    assert_eq!(database.sql("SELECT n FROM mart.s WHERE id = 10"), "9");
    holder.kill().unwrap();
    holder.wait().unwrap();
    database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
}

#[test]
fn rows_of_others_that_a_deleted_row_would_take_along_stay() {
    let database = cluster().database();
    let project = project(&database);
    database.sql(
        "CREATE TABLE mart.theirs (s_id int REFERENCES mart.s (id) ON DELETE CASCADE); INSERT INTO mart.theirs VALUES (10), (20)",
    );
    // What is added and changed deletes nothing.
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n30,Cem,3\n");
    project.starmill(&RUN).exits(0);
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n30,Cem,3\n");
    project.starmill(&RUN).exits(11).warns("rows of others").warns("theirs");
    assert_eq!(database.sql("SELECT string_agg(s_id::text, ',' ORDER BY s_id) FROM mart.theirs"), "10,20");
    assert_eq!(database.sql("SELECT count(*) FROM mart.s"), "3");
    // The remedy that is printed.
    database.sql(
        "DELETE FROM mart.theirs WHERE s_id = 20; ALTER TABLE mart.theirs DROP CONSTRAINT theirs_s_id_fkey; \
         ALTER TABLE mart.theirs ADD FOREIGN KEY (s_id) REFERENCES mart.s (id)",
    );
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM mart.s"), "10,30");
}

#[test]
fn tables_that_inherit_from_a_delivered_one_keep_their_rows() {
    let database = cluster().database();
    let project = project(&database);
    database.sql(
        "CREATE TABLE mart.of_key (x int) INHERITS (mart.s); INSERT INTO mart.of_key (id, n, name, x) VALUES (20, 9, 'own', 1), (7, 7, 'own', 2)",
    );
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Bob,2\n30,Cem,3\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, n, name, x FROM mart.of_key ORDER BY id"), "7|7|own|2\n20|9|own|1");
    assert_eq!(
        database.sql("SELECT id, n, name FROM ONLY mart.s ORDER BY id"),
        "10|5|Ann\n20|2|Bob\n30|3|Cem"
    );
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_table_that_somebody_made_in_place_of_ours_is_not_written() {
    let database = cluster().database();
    let project = project(&database);
    database.sql(
        "DROP TABLE mart.s; CREATE TABLE mart.s AS SELECT * FROM (VALUES (7, 1, 'theirs')) AS t(id, n, name)",
    );
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n");
    project.starmill(&RUN).exits(11).warns("\"mart\".\"s\" is not the table that starmill delivered");
    assert_eq!(database.sql("SELECT id, n, name FROM mart.s"), "7|1|theirs");
    // The remedy that was named.
    database.sql("ALTER TABLE mart.s RENAME TO kept");
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT id, n, name FROM mart.s ORDER BY 1"), "10|5|Ann\n20|2|Ben");
    assert_eq!(database.sql("SELECT id, n, name FROM mart.kept"), "7|1|theirs");
    // The other one: it is taken over when somebody says so.
    database.sql("DROP TABLE mart.s; CREATE TABLE mart.s AS SELECT * FROM mart.kept");
    project.write("data/a.csv", "id,name,n\n10,Ann,7\n20,Ben,2\n");
    project.starmill(&RUN).exits(11);
    project.starmill(&["deliver", "pipelines/p.toml", "--adopt", "--yes"]).exits(0);
    assert_eq!(database.sql("SELECT id, n, name FROM mart.s ORDER BY 1"), "10|7|Ann\n20|2|Ben");
    // A database that was restored gives our table another number, and leaves its keys.
    database.restore("mart.s", "mart.s", || {});
    project.write("data/a.csv", "id,name,n\n10,Ann,6\n20,Ben,2\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, n, name FROM mart.s ORDER BY 1"), "10|6|Ann\n20|2|Ben");
}

#[test]
fn what_the_target_cannot_have_is_told_by_check() {
    let many: Vec<String> = (0..1_601).map(|number| format!("n AS c{number}")).collect();
    let toml = TOML.replace("URL", "postgres://nobody@127.0.0.1:1/none")
        + "indexes = [[\"n\"]]\n[summary.s_n_idx]\n[summary.dim_a_pkey]\n[summary.wide]\n[summary.bare]\n";
    let project = Project::of(
        &toml,
        &[
            ("dim_a", "SELECT id, name FROM a"),
            ("s", "SELECT id, CAST(n AS int) AS n, name FROM a"),
            ("s_n_idx", "SELECT id FROM a"),
            ("dim_a_pkey", "SELECT id FROM a"),
            ("wide", &format!("SELECT {} FROM a", many.join(", "))),
            ("bare", "SELECT id AS \"\" FROM a"),
        ],
        "CREATE TABLE a (id int PRIMARY KEY, name text, n int);",
        &[("a", "id,name,n\n10,Ann,1\n20,Ben,2\n")],
    );
    let checked = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
    checked
        .warns("`s_n_idx` is the name that an index of `s` gets in the target")
        .warns("`dim_a_pkey` is the name that an index of `dim_a` gets in the target")
        .warns("`wide` has 1601 columns, and a table of the target 1600 at most")
        .warns("a column has an empty name");
}

#[test]
fn a_delivery_acts_as_the_role_that_is_named_and_its_statements_end_in_time() {
    let database = cluster().database();
    database.sql("CREATE ROLE loader_r; CREATE SCHEMA mart AUTHORIZATION loader_r");
    let project = unrun(&database);
    project.edit("pipelines/p.toml", "[target]", "[target]\nrole = \"loader_r\"");
    project.starmill(&RUN).exits(0);
    assert_eq!(
        database.sql("SELECT tableowner FROM pg_tables WHERE schemaname = 'mart' AND tablename = 's'"),
        "loader_r"
    );
    project.edit("pipelines/p.toml", "role = \"loader_r\"", "role = \"nobody_r\"");
    project.write("data/a.csv", "id,name,n\n10,Ann,9\n20,Ben,2\n");
    project.starmill(&RUN).exits(11).warns("nobody_r");
    project.edit(
        "pipelines/p.toml",
        "role = \"nobody_r\"",
        "role = \"loader_r\"\nstatement_timeout = \"300ms\"",
    );
    database.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NEW; END'; \
         CREATE TRIGGER slow BEFORE UPDATE ON mart.s FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(8).warns("`statement_timeout` in [target]");
}

#[test]
fn a_column_that_somebody_dropped_or_compares_otherwise_is_brought_up_to_date() {
    let database = cluster().database();
    let project = project(&database);
    // Nothing changed in the source, and the target lacks a column.
    database.sql("ALTER TABLE mart.s RENAME COLUMN n TO n_old");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, n FROM mart.s ORDER BY id"), "10|1\n20|2");
    // To somebody's collation a and A are one; to the star they are not.
    database.sql(
        "CREATE COLLATION mart.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         ALTER TABLE mart.s ALTER name TYPE text COLLATE mart.ci",
    );
    project.write("data/a.csv", "id,name,n\n10,ANN,1\n20,Ben,2\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT name COLLATE \"C\" FROM mart.s WHERE id = 10"), "ANN");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
    database.sql("UPDATE mart.s SET name = 'ann' WHERE id = 10");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(8);
}

#[test]
fn a_key_is_known_whatever_it_is_called_and_made_again_where_somebody_dropped_it() {
    let database = cluster().database();
    let project = project(&database);
    database.sql(
        "ALTER TABLE mart.s RENAME CONSTRAINT s_pkey TO pk_s; ALTER TABLE mart.s ADD COLUMN note text; UPDATE mart.s SET note = 'by hand'; \
         ALTER TABLE mart.s ADD CONSTRAINT mine UNIQUE (id) DEFERRABLE",
    );
    for n in 3..5 {
        project.write("data/a.csv", &format!("id,name,n\n10,Ann,{n}\n20,Ben,2\n"));
        project.starmill(&RUN).exits(0).says("s             0        1        0");
    }
    let constraints = "SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'mart.s'::regclass";
    assert_eq!(database.sql(constraints), "mine,pk_s");
    database.sql("ALTER TABLE mart.s DROP CONSTRAINT pk_s");
    project.write("data/a.csv", "id,name,n\n10,Ann,6\n20,Ben,2\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql(constraints), "mine,s_pkey");
    assert_eq!(database.sql("SELECT note FROM mart.s WHERE id = 10"), "by hand");
    // A key that somebody edited is found out by the totals, and every row compared.
    database.sql("UPDATE mart.s SET id = 50 WHERE id = 10");
    project.write("data/a.csv", "id,name,n\n10,Ann,7\n20,Ben,2\n");
    project.starmill(&RUN).exits(0);
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn indexes_and_descriptions_follow_the_pipeline_and_those_of_others_stay() {
    let database = cluster().database();
    let project = project(&database);
    let indexes = "SELECT string_agg(indexname, ',' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'mart' AND tablename = 's'";
    database.sql("CREATE INDEX mine ON mart.s (n) WITH (fillfactor = 50); CREATE SEQUENCE mart.ticket OWNED BY mart.s.n");
    project.edit(
        "pipelines/p.toml",
        "[summary.s]",
        "[summary.s]\nindexes = [[\"n\"], [\"name\"]]\ndescription = \"Sums\"",
    );
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql(indexes), "mine,s_name_idx,s_pkey", "somebody has one over n already");
    assert!(database.sql("SELECT obj_description('mart.s'::regclass)").starts_with("Sums; summary"));
    project.edit(
        "pipelines/p.toml",
        "indexes = [[\"n\"], [\"name\"]]\ndescription = \"Sums\"",
        "description = \"Totals\"",
    );
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql(indexes), "mine,s_pkey");
    assert!(database.sql("SELECT obj_description('mart.s'::regclass)").starts_with("Totals; summary"));
    database.sql("COMMENT ON TABLE mart.s IS 'ours'");
    project.edit("pipelines/p.toml", "Totals", "Sums");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT obj_description('mart.s'::regclass)"), "ours");
    project.write("sql/p/s.sql", "SELECT id, name FROM a");
    project.starmill(&RUN).exits(11).warns("the index mine").warns("the sequence ticket");
}

#[test]
fn rows_without_a_key_are_told_apart_across_partitions_and_their_table_after_a_restore() {
    let database = cluster().database();
    let toml = TOML.replace("URL", &database.url()).replace("key = [\"id\"]\n", "");
    let toml = toml.split("[dimension").next().unwrap().to_owned() + "[summary.s]\n";
    let project = Project::of(
        &toml,
        &[("s", "SELECT id, name FROM a")],
        "CREATE TABLE a (id int PRIMARY KEY, name text);",
        &[("a", "id,name\n1,a\n2,b\n3,c\n")],
    );
    project.starmill(&RUN).exits(0);
    database.sql(
        "DROP TABLE mart.s; CREATE TABLE mart.s (id int, name text, note text) PARTITION BY LIST (id); \
         CREATE TABLE mart.s1 PARTITION OF mart.s FOR VALUES IN (1); CREATE TABLE mart.s2 PARTITION OF mart.s FOR VALUES IN (2); CREATE TABLE mart.s3 PARTITION OF mart.s FOR VALUES IN (3)",
    );
    project.starmill(&["deliver", "--adopt", "--yes", "pipelines/p.toml"]).exits(0);
    database.sql("UPDATE mart.s SET note = 'hand ' || id");
    project.write("data/a.csv", "id,name\n2,b\n3,c\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, note FROM mart.s ORDER BY id"), "2|hand 2\n3|hand 3");
    // Restored, it has another number.
    database.restore("mart.s", "mart.(s|s1|s2|s3)", || {});
    project.write("data/a.csv", "id,name\n3,c\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, note FROM mart.s"), "3|hand 3");
}

#[test]
fn edits_that_keep_the_totals_are_found_by_what_they_clash_with() {
    let database = cluster().database();
    let project = project(&database);
    // Two rows that add up as before, one of which changes in the source.
    database.sql("UPDATE mart.s SET n = n + 1 WHERE id = 10; UPDATE mart.s SET n = n - 1 WHERE id = 20");
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n");
    project.starmill(&RUN).exits(0).says("s: somebody wrote there since the last delivery");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
    // A business key that a new member has now.
    database.sql("UPDATE mart.dim_a SET id = 30 WHERE id = 10");
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n30,Cem,3\n");
    project.starmill(&RUN).exits(0).says("dim_a: somebody wrote there since the last delivery");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
    // A key that was dropped, and a row that is there twice since.
    database.sql(
        "ALTER TABLE mart.s DROP CONSTRAINT s_pkey; INSERT INTO mart.s SELECT * FROM mart.s WHERE id = 10",
    );
    project.write("data/a.csv", "id,name,n\n10,Ann,6\n20,Ben,2\n30,Cem,3\n");
    project.starmill(&RUN).exits(0);
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
    assert_eq!(
        database
            .sql("SELECT count(*) FROM pg_constraint WHERE conrelid = 'mart.s'::regclass AND contype = 'p'"),
        "1"
    );
}

#[test]
fn a_row_that_stands_elsewhere_in_the_order_is_changed_and_not_deleted() {
    let database = cluster().database();
    let toml = TOML
        .replace("URL", &database.url())
        .replace("[summary.s]\nkey = [\"id\"]", "[summary.s]\nkey = [\"id\"]\norder_by = [\"n\"]");
    let rows: String = (1..200).map(|id| format!("{id},Ann,{id}\n")).collect();
    let project = Project::of(
        &toml,
        &[("dim_a", "SELECT id, name FROM a"), ("s", "SELECT id, CAST(n AS int) AS n, name FROM a")],
        "CREATE TABLE a (id int PRIMARY KEY, name text, n int);",
        &[("a", &format!("id,name,n\n{rows}"))],
    );
    project.starmill(&RUN).exits(0);
    project.edit("data/a.csv", "\n7,Ann,7\n", "\n7,Ann,500\n");
    let told = project.starmill(&RUN).exits(0);
    told.says("s             0        1        0");
    assert_eq!(database.sql("SELECT n FROM mart.s WHERE id = 7"), "500");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn a_table_that_somebody_made_in_the_place_of_ours_stays_when_its_model_goes() {
    let database = cluster().database();
    let project = project(&database);
    database.sql("DROP TABLE mart.s; CREATE TABLE mart.s (id int, name text); INSERT INTO mart.s VALUES (99, 'precious')");
    project.edit("pipelines/p.toml", "[summary.s]\nkey = [\"id\"]\n", "");
    project.starmill(&RUN).exits(0);
    assert_eq!(database.sql("SELECT id, name FROM mart.s"), "99|precious");
}
