//! The unknown member, and members that facts bring before the source tells of them.

use crate::support::{Database, Project, cluster, counts};

const TABLES: &str = "CREATE TABLE customers (shop integer, number integer, name text, city varchar(20), attrs jsonb, since date, PRIMARY KEY (shop, number)); \
     CREATE TABLE orders (id integer PRIMARY KEY, shop integer, customer bigint, payer bigint, amount numeric(10,2) NOT NULL); \
     INSERT INTO customers VALUES (1, 1, 'Ada', 'Berlin', '{}', '2024-01-01'); \
     INSERT INTO orders VALUES (1, 1, 1, NULL, 10), (2, 1, 2, 1, 20), (3, NULL, 3, 4, 5), (4, 1, 2, 2, 1)";

fn sales(source: &Database, lookups: &str) -> Project {
    source.sql(TABLES);
    let url = source.url();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{url}\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{url}\"\nschema = \"mart\"\n\
         [dimension.dim_customer]\nkey = [\"shop\", \"number\"]\nsurrogate = \"customer_key\"\n\
         [dimension.dim_date]\ndates = {{ from = \"2024-01-01\", to = \"2024-01-02\" }}\nunknown = \"?\"\n\
         [fact.fact_orders]\nkey = [\"id\"]\ngrain = \"orders\"\nmeasures = [\"amount\"]\n{lookups}\n"
    );
    Project::of(
        &toml,
        &[
            ("dim_customer", "SELECT shop, number, name, city, attrs, since FROM customers"),
            ("fact_orders", "SELECT id, shop, customer, payer, amount FROM orders"),
        ],
        "",
        &[],
    )
}

const INFERRED: &str = "lookups.customer_key = { dimension = \"dim_customer\", on = { number = \"customer\", shop = \"shop\" }, inferred = true }\n\
     lookups.payer_key = { dimension = \"dim_customer\", on = { shop = \"shop\", number = \"payer\" }, inferred = true }";

fn night(project: &Project) -> serde_json::Value {
    project.starmill(&["run", "pipelines/p.toml", "--format", "json"]).exits(0).json()
}

#[test]
fn the_texts_of_the_unknown_member_say_so_and_the_rest_is_null() {
    let source = cluster().database();
    let project = sales(
        &source,
        "lookups.customer_key = { dimension = \"dim_customer\", on = { shop = \"shop\", number = \"customer\" } }",
    );
    night(&project);
    let unknown = "SELECT d::text FROM mart.dim_customer AS d WHERE customer_key = -1";
    assert_eq!(source.sql(unknown), "(-1,,,Unknown,Unknown,,)");
    assert_eq!(
        source.sql("SELECT month_name, weekday_name, date IS NULL FROM mart.dim_date WHERE date_key = -1"),
        "?|?|t"
    );
    project.edit(
        "pipelines/p.toml",
        "surrogate = \"customer_key\"",
        "surrogate = \"customer_key\"\nunknown = \"O'Brien\"",
    );
    night(&project);
    assert_eq!(source.sql(unknown), "(-1,,,O'Brien,O'Brien,,)");
}

#[test]
fn a_fact_that_comes_before_its_member_brings_it_and_a_later_night_fills_it_in() {
    let source = cluster().database();
    let project = sales(&source, INFERRED);
    let ran = project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    ran.says("note  dim_customer  members that facts brought (inferred)").says("shop=1, number=2");
    let members = "SELECT customer_key, shop, number, name, is_inferred FROM mart.dim_customer WHERE customer_key <> -1 ORDER BY 1";
    assert_eq!(
        source.sql(members),
        "1|1|1|Ada|f\n2|1|2||t",
        "two facts bring one member, and a key with NULL none"
    );
    let orders = "SELECT id, customer_key, payer_key FROM mart.fact_orders ORDER BY 1";
    assert_eq!(source.sql(orders), "1|1|-1\n2|2|1\n3|-1|-1\n4|2|2");
    assert_eq!(source.sql("SELECT is_inferred FROM mart.dim_customer WHERE customer_key = -1"), "f");
    project.starmill(&["run", "--strict", "pipelines/p.toml"]).exits(7);

    source.sql("INSERT INTO customers VALUES (1, 0, 'Zoe', 'Graz', '{}', NULL), (1, 2, 'Ben', 'Wien', '{}', NULL); INSERT INTO orders VALUES (5, 2, 9, 9, 1)");
    let second = night(&project);
    assert_eq!(counts(&second, "dim_customer"), (2, 0, 1));
    assert_eq!(source.sql(members), "1|1|1|Ada|f\n2|1|2|Ben|f\n3|1|0|Zoe|f\n4|2|9||t");
    assert_eq!(counts(&second, "fact_orders"), (1, 0, 0), "no key of a fact changes");
    // Nobody refers to it any more.
    source.sql("DELETE FROM orders WHERE id = 5");
    assert_eq!(counts(&night(&project), "dim_customer"), (0, 1, 0));
    project.starmill(&["deliver", "--verify", "pipelines/p.toml"]).exits(0);
}

#[test]
fn what_cannot_be_inferred_is_told_before_a_night() {
    let source = cluster().database();
    let project = sales(&source, INFERRED);
    let check = || project.starmill(&["check", "pipelines/p.toml"]);
    check().exits(0);
    // A mistake of the fact is told, though its dimension cannot be looked at without it.
    project.edit("sql/p/fact_orders.sql", "FROM orders", "FROM no_such_table");
    check().exits(3).warns("there is no model and no source table `no_such_table`");
    project.edit("sql/p/fact_orders.sql", "FROM no_such_table", "FROM orders");
    project.edit(
        "sql/p/fact_orders.sql",
        "FROM orders",
        "FROM orders WHERE shop IN (SELECT shop FROM dim_customer)",
    );
    check().exits(3).warns("`fact_orders` reads `dim_customer`, into which it would bring members");
    project.edit(
        "sql/p/fact_orders.sql",
        "FROM orders WHERE shop IN (SELECT shop FROM dim_customer)",
        "FROM orders",
    );
    project.edit("sql/p/dim_customer.sql", "since", "since AS is_inferred");
    check().exits(3).warns("has a column `is_inferred` already");
    project.edit("sql/p/dim_customer.sql", "since AS is_inferred", "since");
    project.edit(
        "pipelines/p.toml",
        "surrogate = \"customer_key\"",
        "surrogate = \"customer_key\"\nhistory = { track = [\"city\"] }",
    );
    check().exits(3).warns("keeps its history, into which a fact brings no members");
    project.edit("pipelines/p.toml", "\nhistory = { track = [\"city\"] }", "");
    project.edit("pipelines/p.toml", "inferred = true", "inferred = \"yes\"");
    check().exits(3).warns("inferred");
    // A key of another kind.
    project.edit("pipelines/p.toml", "inferred = \"yes\"", "inferred = true");
    project.edit("sql/p/fact_orders.sql", "customer,", "CAST(customer AS text) || 'x' AS customer,");
    check()
        .exits(3)
        .warns("`customer_key` looks up dim_customer.number, which is integer, by customer, which is text")
        .warns("cast one of them");
}

#[test]
fn a_key_that_does_not_fit_the_dimensions_type_ends_the_run() {
    let source = cluster().database();
    let project = sales(&source, INFERRED);
    source.sql("INSERT INTO orders VALUES (6, 1, 5000000000, NULL, 1)");
    project.starmill(&["run", "pipelines/p.toml"]).exits(6).warns("dim_customer");
}
