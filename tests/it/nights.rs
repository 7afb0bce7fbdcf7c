//! Nights as stories: what happens to the source by day, and what the next night shows.

use crate::support::{Project, cluster, counts, diff_of};

#[test]
fn a_week_of_nights() {
    let source = cluster().shop();
    let mut project = Project::shop_on(&source);
    project.set("SHOP_TARGET", &source.url());
    let first = project.night();
    assert_eq!(counts(&first, "order_summary"), (5_000, 0, 0));

    // A late order comes in, at a time long past.
    source.sql(
        "INSERT INTO orders VALUES (6000, 1, 1, 2, '2024-02-29 23:30:00+00', 10.00); \
         INSERT INTO order_items VALUES (20000, 6000, 1, 2, 10.00)",
    );
    let second = project.night();
    assert_eq!(counts(&second, "order_summary"), (1, 0, 0));
    assert_eq!(counts(&second, "fact_order_items"), (1, 0, 0));
    assert_eq!(counts(&second, "dim_customer"), (0, 0, 0));
    let (added, removed, changed) = counts(&second, "daily_sales");
    assert_eq!((added + changed, removed), (1, 0), "one day's sales of one category");
    let total = &diff_of(&second, "fact_order_items")["totals"]["line_total"];
    assert_eq!((total["before"].as_str(), total["after"].as_str()), (Some("2580456.66"), Some("2580466.66")));

    // A customer is renamed: every copy follows, but not what an order first saw.
    let orders: u64 = source.sql("SELECT count(*) FROM orders WHERE customer_id = 1").parse().unwrap();
    assert!(orders > 1);
    source.sql("UPDATE customers SET full_name = 'Ada Lovelace' WHERE customer_id = 1");
    let dry =
        project.starmill(&["run", "--dry-run", "pipelines/shop.toml", "--format", "json"]).exits(0).json();
    let third = project.night();
    for report in [&dry, &third] {
        assert_eq!(counts(report, "dim_customer"), (0, 0, 1));
        assert_eq!(counts(report, "order_summary"), (0, 0, orders));
        assert_eq!(
            diff_of(report, "order_summary")["changed_columns"],
            serde_json::json!({ "customer_name": orders })
        );
        let change = &diff_of(report, "dim_customer")["examples"][0];
        assert_eq!(change["key"], "customer_id=1");
        assert_eq!(change["changes"][0]["old"], "Ada \"The Countess\" Abel");
        assert_eq!(change["changes"][0]["new"], "Ada Lovelace");
    }
    assert_eq!(dry["diff"], third["diff"], "the dry run shows what the run does");
    assert_eq!(
        source.sql("SELECT DISTINCT customer_name, customer_name_at_order FROM mart.order_summary WHERE customer_id = 1"),
        "Ada Lovelace|Ada \"The Countess\" Abel"
    );

    // A customer with no orders is deleted, and the next one gets a key of its own.
    let key = source.sql("SELECT customer_key FROM mart.dim_customer WHERE customer_id = 1000");
    source.sql(
        "DELETE FROM addresses WHERE customer_id = 1000; DELETE FROM customers WHERE customer_id = 1000",
    );
    let fourth = project.night();
    assert_eq!(counts(&fourth, "dim_customer"), (0, 1, 0));
    source.sql("INSERT INTO customers VALUES (2000, 'New One', NULL)");
    project.night();
    let given = source.sql("SELECT customer_key FROM mart.dim_customer WHERE customer_id = 2000");
    assert_ne!(given, key, "a surrogate key is never given again");
    assert_eq!(given, "1001");
    source.sql("INSERT INTO customers VALUES (1000, 'Back Again', NULL)");
    project.night();
    assert_eq!(
        source.sql("SELECT customer_key FROM mart.dim_customer WHERE customer_id = 1000"),
        key,
        "and never changed"
    );

    // A column that a model uses is dropped: told with its place, and nothing is published.
    let before = project.latest();
    source.sql("ALTER TABLE customers DROP COLUMN email");
    let dropped = project.starmill(&["run", "pipelines/shop.toml"]).exits(5);
    let dropped = dropped.warns(
        "the source's schema changed since the last run: it has no more the column public.customers.email",
    );
    dropped.warns("sql/shop/dim_customer.sql:6:5").warns("email").warns("columns here: ");
    assert_eq!(project.latest(), before);
    project.starmill(&["check", "pipelines/shop.toml"]).exits(5).warns("sql/shop/dim_customer.sql:6:5");
    source.sql("ALTER TABLE customers ADD COLUMN email text");
    let healed = project.night();
    assert_eq!(
        diff_of(&healed, "dim_customer")["changed_columns"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["email"]
    );
    project.assert_store_is_whole();
}

#[test]
fn the_textbook_mistake_is_refused_with_both_numbers_and_rows() {
    // Every item counted once per address of its customer: a join that multiplies.
    let project = Project::shop();
    let first = project.night();
    project.edit("sql/shop/fact_order_items.sql", "LEFT JOIN orders AS o ON o.order_id = i.order_id", "LEFT JOIN orders AS o ON o.order_id = i.order_id\nLEFT JOIN addresses AS a ON a.customer_id = o.customer_id");
    let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(7);
    let ran =
        ran.says("REFUSED by the audit, nothing published").says("FAILED  fact_order_items  duplicate keys");
    let ran = ran
        .says("source 12,258, star 14,706, difference 2,448")
        .says("item_id=")
        .warns("the audit refused the star")
        .warns("nothing was published");
    drop(ran);
    assert_eq!(project.latest().as_deref(), first["snapshot"].as_str());
    let dry = project
        .starmill(&["run", "--dry-run", "--exit-code", "pipelines/shop.toml", "--format", "json"])
        .exits(7)
        .json();
    assert_eq!(dry["outcome"], "refused");
    let failed: Vec<&str> = dry["controls"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["verdict"] == "failed")
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    assert!(
        failed.contains(&"duplicate keys")
            && failed.contains(&"rows of the grain")
            && failed.contains(&"sum of line_total"),
        "{failed:?}"
    );
}

#[test]
fn a_lost_row_and_a_wrong_cent_are_each_refused_and_shown() {
    let project = Project::shop();
    project.edit(
        "sql/shop/fact_order_items.sql",
        "LEFT JOIN orders AS o ON o.order_id = i.order_id",
        "LEFT JOIN orders AS o ON o.order_id = i.order_id\nWHERE i.item_id <> 77",
    );
    project.starmill(&["run", "pipelines/shop.toml"]).exits(7).says("missing: item_id=77");
    let project = Project::shop();
    project.edit(
        "sql/shop/fact_order_items.sql",
        "    i.line_total ",
        "    i.line_total + CASE WHEN i.item_id = 78 THEN 0.01 ELSE 0.00 END AS line_total ",
    );
    project
        .starmill(&["run", "pipelines/shop.toml"])
        .exits(7)
        .says("item_id=78, expected=")
        .says("difference 0.01");
    assert_eq!(project.latest(), None, "nothing was ever published");
}

#[test]
fn strict_refuses_what_is_otherwise_noted() {
    let project = Project::shop();
    project
        .starmill(&["run", "--dry-run", "pipelines/shop.toml"])
        .exits(0)
        .says("note  fact_order_items  carrier_key unknown: carrier_id is NULL");
    project
        .starmill(&["run", "--dry-run", "--strict", "pipelines/shop.toml"])
        .exits(7)
        .says("FAILED  fact_order_items  carrier_key unknown: carrier_id is NULL");
}

#[test]
fn exit_code_tells_of_differences() {
    let project = Project::shop();
    project.starmill(&["run", "--dry-run", "--exit-code", "pipelines/shop.toml"]).exits(10).says("First run");
    project.night();
    project.starmill(&["run", "--dry-run", "--exit-code", "pipelines/shop.toml"]).exits(0);
    project.edit("data/shop/shipping_carriers.csv", "5,Never used", "5,At last");
    let ran = project.starmill(&["run", "--dry-run", "--exit-code", "pipelines/shop.toml"]).exits(10);
    ran.says("carrier_name: Never used → At last").says("carrier_name (1)");
}

#[test]
fn a_dry_run_writes_nothing_into_the_store() {
    let project = Project::shop();
    project.starmill(&["run", "--dry-run", "pipelines/shop.toml"]).exits(0);
    assert_eq!(project.entries("."), ["data", "pipelines", "sql"]);
    project.night();
    let before = project.entries("out/shop/snapshots");
    project.starmill(&["run", "--dry-run", "pipelines/shop.toml"]).exits(0);
    assert_eq!(project.entries("out/shop/snapshots"), before);
    assert_eq!(project.entries("out/shop/runs").len(), 1);
}

#[test]
fn a_changed_key_is_refused_until_it_is_accepted() {
    let project = Project::shop();
    project.night();
    project.edit("pipelines/shop.toml", "key = [\"carrier_id\"]", "key = [\"carrier_name\"]");
    project.edit(
        "pipelines/shop.toml",
        "dimension = \"dim_carrier\", on = [\"carrier_id\"]",
        "dimension = \"dim_carrier\", on = { carrier_name = \"carrier_name\" }",
    );
    project.edit("sql/shop/fact_order_items.sql", "    o.carrier_id,", "    s.carrier_name,");
    project.edit("sql/shop/fact_order_items.sql", "LEFT JOIN orders AS o ON o.order_id = i.order_id", "LEFT JOIN orders AS o ON o.order_id = i.order_id\nLEFT JOIN shipping_carriers AS s ON s.carrier_id = o.carrier_id");
    let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(3);
    ran.warns("dim_carrier changed").warns("--accept dim_carrier");
    let report = project
        .starmill(&["run", "--accept", "dim_carrier", "pipelines/shop.toml", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(report["outcome"], "published");
    project.night();
    project.assert_store_is_whole();
}

#[test]
fn a_model_that_was_away_for_a_night_does_not_come_back_otherwise_unnoticed() {
    let project = Project::shop();
    project.night();
    let whole = project.read("pipelines/shop.toml");
    let start = whole.find("[summary.order_summary]").unwrap();
    let end = whole.find("[summary.daily_sales]").unwrap();
    project.write("pipelines/shop.toml", &format!("{}{}", &whole[..start], &whole[end..]));
    let away = project.night();
    assert_eq!(diff_of(&away, "order_summary")["presence"], "dropped");
    project.write(
        "pipelines/shop.toml",
        &whole.replace("\"city_at_order\"]", "\"city_at_order\", \"carrier_name\"]"),
    );
    let ran = project.starmill(&["run", "pipelines/shop.toml"]).exits(3);
    ran.warns("first-seen columns of order_summary changed").warns("--accept order_summary");
    project.write("pipelines/shop.toml", &whole);
    let back = project.night();
    assert_eq!(counts(&back, "order_summary"), (5_000, 0, 0));
}

#[test]
fn a_summary_of_which_nothing_is_left_is_compared_all_the_same() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.one]\n";
    let schema = "CREATE TABLE t (a int)";
    let project =
        Project::of(toml, &[("one", "SELECT sum(a) AS total FROM t")], schema, &[("t", "a\n1\n2\n")]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    project.write("sql/p/one.sql", "SELECT sum(a) AS revenue FROM t");
    let report = project.starmill(&["run", "pipelines/p.toml", "--format", "json"]).exits(0).json();
    assert_eq!(counts(&report, "one"), (1, 1, 0));
    assert_eq!(diff_of(&report, "one")["reshaped"], serde_json::json!(["revenue", "total"]));
}

#[test]
fn a_first_seen_value_survives_a_vanished_row() {
    let project = Project::shop();
    project.night();
    let orders = project.read("data/shop/orders.csv");
    let items = project.read("data/shop/order_items.csv");
    let line = orders.lines().find(|line| line.starts_with("4999,")).unwrap().to_owned();
    let customer = line.split(',').nth(1).unwrap().to_owned();
    project.write("data/shop/orders.csv", &orders.replace(&format!("{line}\n"), ""));
    project.write(
        "data/shop/order_items.csv",
        &items
            .lines()
            .filter(|line| line.split(',').nth(1) != Some("4999"))
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    );
    let gone = project.night();
    assert_eq!(counts(&gone, "order_summary"), (0, 1, 0));
    let customers = project.read("data/shop/customers.csv");
    let old = customers.lines().find(|line| line.starts_with(&format!("{customer},"))).unwrap().to_owned();
    let name = old.split(',').nth(1).unwrap().to_owned();
    project
        .write("data/shop/customers.csv", &customers.replace(&old, &old.replace(&name, "Changed Meanwhile")));
    project.night();
    project.write("data/shop/orders.csv", &orders);
    project.write("data/shop/order_items.csv", &items);
    let back = project.night();
    assert_eq!(counts(&back, "order_summary"), (1, 0, 0));
    let files = std::fs::File::open(project.path("out/shop/latest/order_summary/part-0.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(files)
        .unwrap()
        .build()
        .unwrap();
    let mut seen = None;
    for batch in reader {
        use arrow::array::AsArray;
        let batch = batch.unwrap();
        let ids = batch.column_by_name("order_id").unwrap().as_primitive::<arrow::datatypes::Int32Type>();
        if let Some(at) = ids.values().iter().position(|id| *id == 4999) {
            let text =
                |column: &str| batch.column_by_name(column).unwrap().as_string::<i32>().value(at).to_owned();
            seen = Some((text("customer_name"), text("customer_name_at_order")));
        }
    }
    assert_eq!(seen, Some(("Changed Meanwhile".to_owned(), name)));
}
