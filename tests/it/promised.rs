//! What the pipeline promises of its tables, the target holds: foreign keys from facts to dimensions, columns that are NOT NULL.

use crate::support::{A_CUSTOMER_GOES_AND_ONE_COMES, Project, cluster};

const VERIFY: [&str; 3] = ["deliver", "--verify", "pipelines/shop.toml"];
const KEYS: &str = "SELECT string_agg(c.relname || '.' || k.conname || ' ' || d.relname || ' ' || k.convalidated, ', ' ORDER BY k.conname) \
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class d ON d.oid = k.confrelid \
     WHERE k.contype = 'f' AND c.relname = 'fact_order_items'";

#[test]
fn facts_point_at_their_dimensions_where_the_pipeline_asks_for_it() {
    let source = cluster().shop();
    let target = cluster().database();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &target.url());
    project.night();
    assert_eq!(target.sql(KEYS), "");
    // A key of somebody's own serves as well, and stays.
    target.sql("ALTER TABLE mart.fact_order_items ADD CONSTRAINT dba FOREIGN KEY (product_key) REFERENCES mart.dim_product (product_key) ON DELETE RESTRICT");
    project.edit("pipelines/shop.toml", "[target]", "[target]\nforeign_keys = true");
    project.night();
    let keys = target.sql(KEYS);
    assert!(keys.contains("fact_order_items.dba dim_product true"), "{keys}");
    assert!(keys.contains("fact_order_items_customer_key_fkey dim_customer true"), "{keys}");
    assert!(!keys.contains("product_key_fkey"), "{keys}");
    // Members and their facts come, change and go.
    source.sql(A_CUSTOMER_GOES_AND_ONE_COMES);
    project.night();
    assert_eq!(target.sql(KEYS), keys);
    project.starmill(&VERIFY).exits(0);
    // What somebody dropped is made again; what is asked for no more goes, and theirs stays.
    target.sql("ALTER TABLE mart.fact_order_items DROP CONSTRAINT fact_order_items_customer_key_fkey");
    project.night();
    assert_eq!(target.sql(KEYS), keys);
    project.edit("pipelines/shop.toml", "[target]\nforeign_keys = true", "[target]");
    project.night();
    assert_eq!(target.sql(KEYS), "fact_order_items.dba dim_product true");
    project.starmill(&VERIFY).exits(0);
}

#[test]
fn the_key_of_a_dimension_may_change_and_a_dimension_may_go_beneath_our_own_foreign_keys() {
    let target = cluster().database();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{}\"\nforeign_keys = true\n\
         [dimension.d]\nkey = [\"id\"]\nsurrogate = \"d_key\"\n\
         [fact.f]\ngrain = \"f\"\nkey = [\"n\"]\nlookups.d_key = {{ dimension = \"d\", on = {{ id = \"id\" }} }}\ncolumns.v = {{ not_null = true }}\n",
        target.url()
    );
    let project = Project::of(
        &toml,
        &[("d", "SELECT id, name FROM d"), ("f", "SELECT n, id, v FROM f")],
        "CREATE TABLE d (id int PRIMARY KEY, name text); CREATE TABLE f (n int PRIMARY KEY, id int, v int);",
        &[("d", "id,name\n1,a\n2,b\n"), ("f", "n,id,v\n1,1,5\n2,2,6\n3,7,7\n")],
    );
    let run = ["run", "pipelines/p.toml"];
    let accepted = ["run", "--accept", "d", "pipelines/p.toml"];
    project.starmill(&run).exits(0);
    let keys = "SELECT string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname) FROM pg_constraint k WHERE k.contype = 'f' AND k.conrelid = 'mart.f'::regclass";
    let not_null =
        "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'mart.f'::regclass AND attname = 'v'";
    assert_eq!(target.sql(keys), "f_d_key_fkey FOREIGN KEY (d_key) REFERENCES mart.d(d_key)");
    assert_eq!(target.sql(not_null), "t");
    // Another surrogate, looked up under the same column.
    project.edit("pipelines/p.toml", "surrogate = \"d_key\"", "surrogate = \"member_key\"");
    project.starmill(&["check", "pipelines/p.toml"]).exits(0);
    project.starmill(&accepted).exits(0);
    assert_eq!(target.sql(keys), "f_d_key_fkey FOREIGN KEY (d_key) REFERENCES mart.d(member_key)");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
    // Nothing is promised any more.
    project.edit("pipelines/p.toml", "columns.v = { not_null = true }\n", "");
    project.starmill(&run).exits(0);
    assert_eq!(target.sql(not_null), "f");
    // Somebody has ours checked at the end: it is theirs since, and stands beneath another key of the dimension.
    target.sql("ALTER TABLE mart.f ALTER CONSTRAINT f_d_key_fkey DEFERRABLE INITIALLY DEFERRED");
    project.write("data/f.csv", "n,id,v\n1,1,5\n2,2,8\n3,7,7\n4,1,1\n");
    project.starmill(&run).exits(0);
    assert!(target.sql(keys).ends_with("DEFERRABLE INITIALLY DEFERRED"), "{}", target.sql(keys));
    // A key that was dropped is made again though something is still to be checked.
    target.sql("ALTER TABLE mart.f DROP CONSTRAINT f_pkey, ADD COLUMN note text");
    project.write("data/f.csv", "n,id,v\n1,2,5\n2,2,8\n3,7,7\n4,1,1\n5,1,1\n");
    project.starmill(&run).exits(0);
    assert_eq!(
        target
            .sql("SELECT count(*) FROM pg_constraint WHERE conrelid = 'mart.f'::regclass AND contype = 'p'"),
        "1"
    );
    target.sql("ALTER TABLE mart.f DROP COLUMN note, DROP CONSTRAINT f_d_key_fkey");
    project.starmill(&run).exits(0);
    // The dimension goes.
    let toml = project.read("pipelines/p.toml");
    let toml = toml.replace("[dimension.d]\nkey = [\"id\"]\nsurrogate = \"member_key\"\n", "");
    let toml = toml.replace("lookups.d_key = { dimension = \"d\", on = { id = \"id\" } }\n", "");
    project.write("pipelines/p.toml", &toml);
    project.write("sql/p/f.sql", "SELECT n, id, v, CAST(id AS bigint) AS d_key FROM f");
    project.starmill(&["check", "pipelines/p.toml"]).exits(0);
    project.starmill(&run).exits(0);
    assert_eq!(target.sql(keys), "");
    assert_eq!(target.sql("SELECT to_regclass('mart.d') IS NULL"), "t");
}

#[test]
fn a_fact_goes_together_with_its_dimension_and_rights_that_are_lacking_keep_nothing_back() {
    let target = cluster().database();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{}\"\nforeign_keys = true\n\
         [summary.s]\nkey = [\"id\"]\n\
         [dimension.dim]\nkey = [\"id\"]\nsurrogate = \"d_key\"\n\
         [fact.fact]\ngrain = \"f\"\nkey = [\"n\"]\nlookups.d_key = {{ dimension = \"dim\", on = {{ id = \"id\" }} }}\n",
        target.url()
    );
    let models =
        [("s", "SELECT id, name FROM d"), ("dim", "SELECT id, name FROM d"), ("fact", "SELECT n, id FROM f")];
    let project = Project::of(
        &toml,
        &models,
        "CREATE TABLE d (id int PRIMARY KEY, name text); CREATE TABLE f (n int PRIMARY KEY, id int);",
        &[("d", "id,name\n1,a\n2,b\n"), ("f", "n,id\n1,1\n2,2\n")],
    );
    let run = ["run", "pipelines/p.toml"];
    project.starmill(&run).exits(0);
    let both = project.read("pipelines/p.toml");
    project.write("pipelines/p.toml", both.split("[dimension").next().unwrap());
    project.starmill(&["check", "pipelines/p.toml"]).exits(0);
    project.starmill(&run).exits(0);
    assert_eq!(
        target.sql("SELECT to_regclass('mart.dim') IS NULL AND to_regclass('mart.fact') IS NULL"),
        "t"
    );
    // The dimension is somebody else's to point at.
    project.write("pipelines/p.toml", &both.replace("foreign_keys = true", "foreign_keys = false"));
    project.starmill(&run).exits(0);
    let role = format!("filler_{}", target.name);
    target.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA mart TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA mart TO {role}; \
         ALTER TABLE mart.fact OWNER TO {role}; REVOKE INSERT, UPDATE ON mart.s FROM {role}; GRANT INSERT (id, name), UPDATE (name) ON mart.s TO {role}"
    ));
    let url = target.url().replace("postgres@", &format!("{role}@"));
    project.write("pipelines/p.toml", &both.replace(&target.url(), &url));
    project.write("data/d.csv", "id,name\n1,a\n2,c\n3,d\n");
    project.starmill(&["check", "pipelines/p.toml"]).exits(0);
    let ran = project.starmill(&run).exits(0);
    ran.warns("GRANT REFERENCES");
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
    target.sql(&format!("GRANT REFERENCES ON mart.dim TO {role}"));
    project.starmill(&run).exits(0);
    assert_eq!(target.sql("SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), "1");
}

#[test]
fn what_is_declared_not_null_reaches_no_table_of_others_and_no_key_of_theirs() {
    let target = cluster().database();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{}\"\n\
         [summary.s]\nkey = [\"id\"]\ncolumns.name = {{ not_null = true }}\n",
        target.url()
    );
    let ddl = "CREATE TABLE a (id int PRIMARY KEY, name text);";
    let project =
        Project::of(&toml, &[("s", "SELECT id, name FROM a")], ddl, &[("a", "id,name\n1,a\n2,b\n")]);
    let run = ["run", "pipelines/p.toml"];
    project.starmill(&run).exits(0);
    let not_null = |table: &str| {
        target.sql(&format!("SELECT attnotnull FROM pg_attribute WHERE attrelid = 'mart.{table}'::regclass AND attname = 'name'"))
    };
    assert_eq!(not_null("s"), "t");
    // A key of theirs holds the column.
    target.sql("ALTER TABLE mart.s DROP CONSTRAINT s_pkey; ALTER TABLE mart.s ADD CONSTRAINT theirs PRIMARY KEY (name)");
    project.edit("pipelines/p.toml", "columns.name = { not_null = true }\n", "");
    project.starmill(&run).exits(0);
    // A table of theirs inherits it.
    target.sql("ALTER TABLE mart.s DROP CONSTRAINT theirs; ALTER TABLE mart.s ALTER name DROP NOT NULL; CREATE TABLE mart.c () INHERITS (mart.s); INSERT INTO mart.c VALUES (9, NULL)");
    project.edit(
        "pipelines/p.toml",
        "key = [\"id\"]\n",
        "key = [\"id\"]\ncolumns.name = { not_null = true }\n",
    );
    project.starmill(&run).exits(0);
    assert_eq!(not_null("c"), "f");
}
