//! The target is looked at before a night builds its star: what stands in the way is told by day.

use nix::sys::signal::Signal;

use crate::support::scheduler::Scheduler;
use crate::support::{Database, Project, cluster};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const CHECK: [&str; 2] = ["check", "pipelines/p.toml"];
const PLAN: [&str; 2] = ["plan", "pipelines/p.toml"];
const DRY: [&str; 3] = ["run", "--dry-run", "pipelines/p.toml"];
const SQL: &str = "SELECT id, CAST(n AS int) AS n, name FROM a";

fn unrun(url: &str) -> Project {
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{url}\"\nschema = \"mart\"\n[summary.s]\nkey = [\"id\"]\n"
    );
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, name text, n int);";
    Project::of(&toml, &[("s", SQL)], ddl, &[("a", "id,name,n\n10,Ann,1\n20,Ben,2\n")])
}

fn project(database: &Database) -> Project {
    let project = unrun(&database.url());
    project.starmill(&RUN).exits(0);
    project
}

/// What check, plan and a dry run say of what stands in the way; nothing is written by any of them.
fn told_by_all(project: &Project, words: &[&str]) {
    for word in words {
        project.starmill(&CHECK).exits(8).warns(word);
        project.starmill(&PLAN).exits(0).says(word);
        project.starmill(&DRY).exits(0).says(word);
    }
}

#[test]
fn what_stands_in_the_way_is_told_before_a_night_and_gone_when_it_is_moved() {
    let database = cluster().database();
    let project = project(&database);
    project.starmill(&CHECK).exits(0);
    database.sql(
        "CREATE VIEW mart.v AS SELECT n FROM mart.s; CREATE MATERIALIZED VIEW mart.m AS SELECT name FROM mart.s; \
         CREATE INDEX mine ON mart.s (n); ALTER TABLE mart.s ADD COLUMN owner text NOT NULL DEFAULT 'x'; ALTER TABLE mart.s ALTER COLUMN owner DROP DEFAULT",
    );
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS bigint) AS n FROM a");
    told_by_all(
        &project,
        &[
            "the column n of \"mart\".\"s\" is bigint now, and others depend on what it was: the view mart.v",
            "the star no longer has the column name of \"mart\".\"s\", and others depend on it: the materialized view mart.m",
            "the column owner, which starmill did not make, which must have a value",
        ],
    );
    // The scheduler says it by day.
    let toml = project.read("pipelines/p.toml");
    project.write("pipelines/p.toml", &format!("{toml}[schedule]\ncron = \"@daily\"\n"));
    let scheduler = Scheduler::start(&project, "2026-11-20T12:00:00Z*1", None, &["pipelines/p.toml"]);
    scheduler.waits_for("the target will not take the star as it is now");
    scheduler.signal(Signal::SIGTERM);
    scheduler.ends();
    // The night says the same before it publishes, and the delivery changes nothing.
    project.starmill(&RUN).exits(11).says("the target will not take the star: ").says("the view mart.v");
    assert_eq!(database.sql("SELECT count(*) FROM mart.v"), "2");
    // What is advised helps.
    database.sql(
        "DROP VIEW mart.v; DROP MATERIALIZED VIEW mart.m; ALTER TABLE mart.s ALTER COLUMN owner SET DEFAULT 'y'",
    );
    project.starmill(&CHECK).exits(0);
    project.starmill(&["deliver", "pipelines/p.toml"]).exits(0);
    assert_eq!(database.sql("SELECT id, n, owner FROM mart.s ORDER BY id"), "10|1|x\n20|2|x");
    // A table that goes, which others read.
    database.sql("CREATE VIEW mart.v AS SELECT id FROM mart.s; ALTER TABLE mart.s DROP COLUMN owner; DROP INDEX mart.mine");
    project.edit("pipelines/p.toml", "[summary.s]", "[summary.t]");
    project.write("sql/p/t.sql", "SELECT id FROM a");
    told_by_all(
        &project,
        &["the star no longer has \"mart\".\"s\", and others depend on it: the view mart.v"],
    );
    database.sql("DROP VIEW mart.v");
    project.starmill(&CHECK).exits(0);
    project.starmill(&RUN).exits(0);
}

#[test]
fn a_night_without_the_rights_that_it_needs_ends_before_it_builds_and_says_which() {
    let database = cluster().database();
    let role = format!("writer_{}", database.name);
    database.sql(&format!("CREATE ROLE {role} LOGIN"));
    let url = database.url().replace("postgres@", &format!("{role}@"));
    let project = unrun(&url);
    let base = &database.name;
    project
        .starmill(&CHECK)
        .exits(8)
        .warns("may not create the schema mart")
        .warns(&format!("GRANT CREATE ON DATABASE \"{base}\" TO \"{role}\""));
    // Each statement that is advised, in turn, until the night goes through.
    let mut said = Vec::new();
    for _ in 0..6 {
        let ran = project.starmill(&RUN);
        if ran.code == Some(0) {
            break;
        }
        let ran = ran.exits(8);
        assert!(!project.path("out/latest").exists(), "nothing is published");
        let help = ran.stderr.lines().find_map(|line| line.trim().strip_prefix("help: ")).unwrap().to_owned();
        database.sql(&help);
        said.push(help);
    }
    assert_eq!(database.sql("SELECT count(*) FROM mart.s"), "2", "{said:?}");
    assert!(said.iter().any(|help| help.contains("CREATE ON DATABASE")), "{said:?}");
    // A right that is taken away, and a table that somebody else owns, whose columns change.
    database.sql(&format!("ALTER TABLE mart.s OWNER TO postgres; GRANT SELECT, INSERT ON mart.s TO {role}"));
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS bigint) AS n, name FROM a");
    let ran = project.starmill(&RUN).exits(8);
    ran.warns("may not DELETE in \"mart\".\"s\"")
        .warns("may not UPDATE in \"mart\".\"s\"")
        .warns("does not own \"mart\".\"s\", and its columns or keys change");
    project.starmill(&PLAN).exits(0).says("may not UPDATE");
    database.sql(&format!("GRANT UPDATE, DELETE ON mart.s TO {role}; ALTER TABLE mart.s OWNER TO {role}"));
    project.starmill(&RUN).exits(0);
    // Rows that a policy hides would be taken for missing.
    database.sql(
        "ALTER TABLE mart.s ENABLE ROW LEVEL SECURITY; ALTER TABLE mart.s FORCE ROW LEVEL SECURITY; CREATE POLICY late_ones ON mart.s USING (id > 10)",
    );
    let ran = project.starmill(&RUN).exits(8);
    ran.warns("row-level security hides rows").warns(&format!("ALTER ROLE \"{role}\" BYPASSRLS"));
    database.sql(&format!("ALTER ROLE {role} BYPASSRLS"));
    project.starmill(&RUN).exits(0);
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn somebody_elses_tables_are_told_by_check_and_a_target_that_is_away_holds_up_nothing() {
    let database = cluster().database();
    database.sql("CREATE SCHEMA mart; CREATE TABLE mart.s (id int)");
    let project = unrun(&database.url());
    project.starmill(&CHECK).exits(8).warns("has tables that starmill did not make: s");
    let away = unrun("postgres://postgres@127.0.0.1:1/nowhere");
    away.starmill(&CHECK).exits(0).warns("the target could not be looked at").warns("refused");
    away.starmill(&RUN).exits(11);
}

#[test]
fn views_over_a_column_of_another_type_are_made_again_as_they_were() {
    let database = cluster().database();
    let project = project(&database);
    let role = format!("reader_{}", database.name);
    database.sql(&format!(
        "CREATE ROLE {role}; CREATE ROLE {role}_owner; GRANT ALL ON SCHEMA mart TO {role}_owner; GRANT SELECT ON mart.s TO {role}_owner; \
         CREATE VIEW mart.\"v 1\" WITH (security_barrier = true) AS SELECT id, n * 2 AS twice FROM mart.s WHERE n > 0; \
         COMMENT ON VIEW mart.\"v 1\" IS 'it''s doubled'; COMMENT ON COLUMN mart.\"v 1\".twice IS 'two times'; \
         ALTER VIEW mart.\"v 1\" ALTER COLUMN twice SET DEFAULT 7; ALTER VIEW mart.\"v 1\" OWNER TO {role}_owner; \
         GRANT SELECT ON mart.\"v 1\" TO {role} WITH GRANT OPTION; GRANT SELECT (id) ON mart.\"v 1\" TO PUBLIC; \
         CREATE VIEW mart.over AS SELECT sum(twice) AS t FROM mart.\"v 1\"; \
         CREATE MATERIALIZED VIEW mart.m AS SELECT n, count(*) AS c FROM mart.s GROUP BY n; CREATE UNIQUE INDEX m_n ON mart.m (n); \
         COMMENT ON INDEX mart.m_n IS 'of n'; ALTER MATERIALIZED VIEW mart.m ALTER COLUMN c SET STATISTICS 50; ALTER MATERIALIZED VIEW mart.m CLUSTER ON m_n; \
         REVOKE INSERT, UPDATE, DELETE ON mart.over FROM postgres; \
         CREATE VIEW mart.after AS SELECT name FROM mart.s WHERE id IN (SELECT id FROM mart.\"v 1\"); CREATE RULE log AS ON DELETE TO mart.s DO ALSO SELECT count(*) FROM mart.over"
    ));
    let state = "SELECT c.relname, c.relkind, pg_get_userbyid(c.relowner), coalesce(c.relacl, acldefault('r', c.relowner))::text, c.reloptions::text, obj_description(c.oid, 'pg_class'), \
            col_description(c.oid, 2), (SELECT attacl::text FROM pg_attribute WHERE attrelid = c.oid AND attname = 'id'), \
            (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = c.oid), (SELECT string_agg(pg_get_indexdef(indexrelid), ',') FROM pg_index WHERE indrelid = c.oid), \
            (SELECT string_agg(obj_description(indexrelid) || indisclustered, ',') FROM pg_index WHERE indrelid = c.oid), (SELECT string_agg(attstattarget::text, ',') FROM pg_attribute WHERE attrelid = c.oid AND attstattarget > 0) \
         FROM pg_class c WHERE c.relnamespace = 'mart'::regnamespace AND c.relkind IN ('v', 'm') ORDER BY 1";
    let before = database.sql(state);
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS bigint) AS n, name FROM a");
    project.write("data/a.csv", "id,name,n\n10,Ann,5\n20,Ben,2\n");
    let refused = project.starmill(&CHECK).exits(8);
    refused.warns("the materialized view mart.m and the view mart.\"v 1\"").warns("views = \"recreate\"");
    project.edit("pipelines/p.toml", "schema = \"mart\"", "schema = \"mart\"\nviews = \"recreate\"");
    project.starmill(&CHECK).exits(8).warns("the view mart.over (rule log on table s depends on it)");
    database.sql("DROP RULE log ON mart.s");
    project.starmill(&CHECK).exits(0);
    // A new default for what is made must not be theirs.
    database.sql(&format!("ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO {role}"));
    project
        .starmill(&RUN)
        .exits(0)
        .says("Made again, over columns of another type: mart.\"v 1\", mart.m, mart.after and mart.over.");
    assert_eq!(database.sql(state), before);
    assert_eq!(database.sql("SELECT t FROM mart.over"), "14");
    assert_eq!(database.sql("SELECT n, c FROM mart.m ORDER BY n"), "2|1\n5|1");
    // One that cannot be made again stays, and stands in the way.
    database
        .sql("CREATE FUNCTION mart.f() RETURNS SETOF mart.over LANGUAGE sql AS 'SELECT * FROM mart.over'");
    project.write("sql/p/s.sql", "SELECT id, CAST(n AS text) AS n, name FROM a");
    let refused = project.starmill(&CHECK).exits(8);
    refused.warns("the view mart.over (function f() depends on it)");
    project.starmill(&RUN).exits(11);
    database.sql("DROP FUNCTION mart.f()");
    // Nor one whose words mean nothing any more.
    let refused = project.starmill(&["deliver", "pipelines/p.toml"]).exits(8);
    refused.warns("the view mart.\"v 1\" reads what got another type, and cannot be made again");
    assert_eq!(database.sql(state), before);
    assert_eq!(database.sql("SELECT t FROM mart.over"), "14");
    project.edit("pipelines/p.toml", "recreate", "remake");
    project.starmill(&CHECK).exits(3).warns("what becomes of views is");
}
