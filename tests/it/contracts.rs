//! What a pipeline declares of its columns: held at check, proven by the audit, told wherever a column is shown.

use crate::support::{Project, cluster, diff_of};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const SCHEMA: &str = "CREATE TABLE sales (id int PRIMARY KEY, day date, shop text, customer int, amount numeric(10,2), price numeric(6,2));";
const ROWS: &str = "id,day,shop,customer,amount,price\n1,2024-01-01,a,7,10.50,2.00\n2,2024-01-01,a,7,4.50,3.00\n3,2024-01-02,b,8,1.00,1.00\n";
const DAILY: &str = "SELECT day, shop, sum(amount) AS revenue, count(DISTINCT customer) AS customers, CAST(round(avg(price), 2) AS numeric(10,2)) AS price, \
    max(amount) AS largest, count(*) AS sales, CAST(sum(amount) / count(*) AS numeric(20,6)) AS per_sale, CAST(sum(amount) / 2 AS numeric(20,2)) AS half, \
    rank() OVER (PARTITION BY day ORDER BY sum(amount) DESC) AS place FROM sales GROUP BY day, shop";

fn project(columns: &str) -> Project {
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.daily]\nkey = [\"day\", \"shop\"]\n\
         [summary.monthly]\nkey = [\"month\"]\n{columns}"
    );
    let monthly = "SELECT CAST(date_trunc('month', day) AS date) AS month, sum(revenue) AS revenue, sum(customers) AS customers FROM daily GROUP BY 1";
    Project::of(&toml, &[("daily", DAILY), ("monthly", monthly)], SCHEMA, &[("sales", ROWS)])
}

fn told(project: &Project, table: &str) -> Vec<String> {
    told_in(project, "out", table)
}

fn told_in(project: &Project, store: &str, table: &str) -> Vec<String> {
    let manifest = project.read(&format!("{store}/latest/manifest.json"));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let tables = manifest["tables"].as_array().unwrap();
    let table = tables.iter().find(|one| one["name"] == table).unwrap();
    let columns = table["columns"].as_array().unwrap().iter();
    columns
        .filter(|column| !column["not_additive"].is_null())
        .map(|column| {
            format!(
                "{} {}",
                column["name"].as_str().unwrap(),
                column["not_additive"]["kind"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn averages_ratios_and_distinct_counts_are_known_as_no_numbers_to_sum() {
    let project = project("");
    project.starmill(&RUN).exits(0);
    assert_eq!(
        told(&project, "daily"),
        ["customers distinct_count", "price average", "largest statistic", "per_sale ratio", "place window"],
        "revenue, sales and half of the revenue may be summed"
    );
    assert_eq!(told(&project, "monthly"), ["customers distinct_count"], "summed again it is no better");
    // A total of what cannot be summed is not shown to move.
    project
        .write("data/sales.csv", &ROWS.replace("3,2024-01-02,b,8,1.00,1.00", "3,2024-01-02,b,8,3.00,3.00"));
    let night = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
    let totals = diff_of(&night, "daily")["totals"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(totals, ["half", "revenue"]);
    let other = "WITH seen AS (SELECT DISTINCT day, customer FROM sales) SELECT CAST(date_trunc('month', day) AS date) AS month, count(*) AS customers, \
        CAST(max(0) AS bigint) AS largest FROM seen GROUP BY 1";
    project.write("sql/p/monthly.sql", other);
    project.starmill(&RUN).exits(0);
    assert_eq!(told(&project, "monthly"), ["customers distinct_count", "largest statistic"]);
    let other = "SELECT CAST(date_trunc('month', day) AS date) AS month, CAST(sum(amount / price) AS numeric(20,4)) AS converted, \
        greatest(count(*), 5) AS most, count(*) AS sales FROM sales GROUP BY 1";
    project.write("sql/p/monthly.sql", other);
    project.starmill(&RUN).exits(0);
    assert_eq!(told(&project, "monthly"), ["most statistic"], "quotients of rows add up");
    // The word of the pipeline counts.
    project.edit("pipelines/p.toml", "key = [\"day\", \"shop\"]", "key = [\"day\", \"shop\"]\ncolumns.largest = { additive = true }\ncolumns.sales = { additive = false }");
    project.starmill(&RUN).exits(0);
    assert_eq!(
        told(&project, "daily"),
        ["customers distinct_count", "price average", "sales declared", "per_sale ratio", "place window"]
    );
}

#[test]
fn the_bundled_shop_knows_its_distinct_counts() {
    let project = Project::shop();
    project.starmill(&["run", "pipelines/shop.toml"]).exits(0);
    assert_eq!(told_in(&project, "out/shop", "daily_sales"), ["order_count distinct_count"]);
}

#[test]
fn a_declared_type_that_the_select_does_not_give_is_a_mistake_with_its_place() {
    let project = project(
        "[summary.monthly.columns]\nmonth = { type = \"timestamp\" }\nrevenu = { type = \"numeric(12,2)\" }\nrevenue = { type = \"money\" }\n",
    );
    let ran = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
    ran.warns("`money` is no type of a published column");
    project.edit("pipelines/p.toml", "\"money\"", "\"numeric(12, 2)\"");
    let ran = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
    for said in [
        "`monthly` declares month as timestamp, and its SELECT gives date",
        "CAST(month AS timestamp)",
        "`monthly` declares `revenu`, and publishes no such column",
        "did you mean `revenue`?",
        "`monthly` declares revenue as numeric(12,2), and its SELECT gives numeric(30,2)",
    ] {
        assert!(ran.stderr.contains(said), "{said}\n{}", ran.stderr);
    }
    project.write("sql/p/monthly.sql", "SELECT CAST(date_trunc('month', day) AS timestamp) AS month, CAST(sum(revenue) AS numeric(12,2)) AS revenue, sum(customers) AS customers FROM daily GROUP BY 1");
    project.edit("pipelines/p.toml", "revenu = { type = \"numeric(12,2)\" }\n", "");
    project.starmill(&["check", "pipelines/p.toml"]).exits(0);
    project.edit(
        "pipelines/p.toml",
        "[summary.monthly.columns]",
        "contract = \"closed\"\n[summary.monthly.columns]",
    );
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("write one of open and frozen");
}

#[test]
fn a_column_that_is_never_null_is_proven_not_to_be() {
    let project = project("columns.revenue = { not_null = true, description = \"What was sold\" }\n");
    project.starmill(&RUN).exits(0).says("NULL in revenue, which is declared not_null");
    project.write("data/sales.csv", &format!("{ROWS}4,2024-03-01,b,8,,1.00\n"));
    project.starmill(&RUN).exits(7).says("month=2024-03-01");
    // The unknown member of a dimension stands for rows that nobody knows.
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[dimension.d]\nkey = [\"id\"]\nsurrogate = \"k\"\ncolumns.day = { not_null = true }\n";
    let project = Project::of(toml, &[("d", "SELECT id, day FROM sales")], SCHEMA, &[("sales", ROWS)]);
    project.starmill(&RUN).exits(0);
}

#[test]
fn a_frozen_table_changes_its_columns_only_by_the_users_word() {
    let project = project("contract = \"frozen\"\n");
    project.starmill(&RUN).exits(0);
    let edited = "SELECT CAST(date_trunc('month', day) AS date) AS month, CAST(sum(revenue) AS numeric(20,2)) AS revenue, max(shop) AS shop FROM daily GROUP BY 1";
    project.write("sql/p/monthly.sql", edited);
    let latest = project.latest();
    project.starmill(&RUN).exits(3).warns(
        "the columns of monthly are frozen, and would change: revenue numeric(30,2) → numeric(20,2), customers (bigint) is gone and shop (text) is new",
    );
    project.starmill(&["run", "--dry-run", "pipelines/p.toml"]).exits(3).warns("--accept monthly");
    assert_eq!(project.latest(), latest);
    project
        .starmill(&["run", "pipelines/p.toml", "--accept", "monthly"])
        .exits(0)
        .says("revenue numeric(30,2) → numeric(20,2)");
    project.starmill(&RUN).exits(0);
    // What is not frozen is told.
    project.edit("pipelines/p.toml", "contract = \"frozen\"\n", "");
    project.write("sql/p/monthly.sql", "SELECT CAST(date_trunc('month', day) AS date) AS month, sum(revenue) AS revenue FROM daily GROUP BY 1");
    project.starmill(&["run", "--dry-run", "pipelines/p.toml"]).exits(0).says("shop (text) is gone");
}

#[test]
fn the_target_says_what_its_columns_are_unless_somebody_else_does() {
    let source = cluster().database();
    source.sql("CREATE TABLE sales (id int PRIMARY KEY, shop text, amount numeric(10,2)); INSERT INTO sales VALUES (1, 'a', 1), (2, 'a', 2)");
    let url = source.url();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{url}\"\n[store]\nurl = \"out\"\n[target]\nurl = \"{url}\"\nschema = \"mart\"\n\
         [summary.s]\nkey = [\"shop\"]\ndescription = \"Shops\"\ncolumns.amount = {{ description = \"A mean's mean\" }}\ncolumns.sales = {{ description = \"How many\" }}\n"
    );
    let sql = "SELECT shop, CAST(avg(amount) AS numeric(20,4)) AS amount, count(*) AS sales FROM sales GROUP BY shop";
    let project = Project::of(&toml, &[("s", sql)], "", &[]);
    project.starmill(&RUN).exits(0);
    let comments = "SELECT col_description('mart.s'::regclass, n) FROM generate_series(1, 3) AS n";
    assert_eq!(source.sql(comments), "\nA mean's mean; not additive: an average\nHow many");
    assert!(source.sql("SELECT obj_description('mart.s'::regclass)").starts_with("Shops; "));
    source.sql("COMMENT ON COLUMN mart.s.amount IS 'mine'");
    project.edit("pipelines/p.toml", "How many", "Rows");
    project.starmill(&RUN).exits(0);
    assert_eq!(source.sql(comments), "\nmine\nRows");
    project.edit("pipelines/p.toml", "columns.sales = { description = \"Rows\" }\n", "");
    project.starmill(&RUN).exits(0);
    assert_eq!(source.sql(comments).trim_end(), "\nmine");
}

#[test]
fn a_changed_column_tells_of_which_columns_of_the_source_it_is_made() {
    let settings = "[dimension.dim_user]\nkey = [\"id\"]\n[summary.s]\nkey = [\"id\"]\n[summary.t]\nkey = [\"id\"]\n\
        [fact.f]\nkey = [\"id\"]\ngrain = \"posts\"\nlookups.user_key = { dimension = \"dim_user\", on = { id = \"author\" } }\n";
    let schema = "CREATE TABLE users (id int PRIMARY KEY, name text, city text); CREATE TABLE posts (id int PRIMARY KEY, author int, likes int);";
    let models = [
        ("dim_user", "SELECT id, name, city FROM users"),
        (
            "s",
            "WITH p AS (SELECT author, count(*) AS n, sum(likes) + count(*) AS score FROM posts GROUP BY author) \
             SELECT u.id, u.name || ' of ' || upper(u.city) AS title, coalesce(p.n, 0) AS n, p.score, (SELECT max(likes) FROM posts) AS best \
             FROM users AS u LEFT JOIN p ON p.author = u.id",
        ),
        ("t", "SELECT id, title || '!' AS title, CASE WHEN n > 1 THEN score END AS score FROM s"),
        ("f", "SELECT id, author FROM posts"),
    ];
    let toml = format!("name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n{settings}");
    let rows =
        [("users", "id,name,city\n1,a,x\n2,b,y\n"), ("posts", "id,author,likes\n1,1,5\n2,1,6\n3,2,1\n")];
    let project = Project::of(&toml, &models, schema, &rows);
    let first = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
    let stored =
        first["source"]["tables"].as_array().unwrap().iter().map(|read| read["stored"].as_u64().unwrap());
    assert_eq!(stored.collect::<Vec<_>>(), [34, 25], "bytes of the files");
    project.write("data/users.csv", "id,name,city\n1,a,z\n2,b,y\n");
    project.write("data/posts.csv", "id,author,likes\n1,1,5\n2,1,9\n3,1,1\n");
    let ran = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
    let made_of = |table: &str| diff_of(&ran, table)["made_of"].clone();
    assert_eq!(
        made_of("s"),
        serde_json::json!({
            "title": ["users.city", "users.name"], "n": ["posts"], "score": ["posts", "posts.likes"], "best": ["posts.likes"],
        })
    );
    assert_eq!(
        made_of("t"),
        serde_json::json!({ "title": ["users.city", "users.name"], "score": ["posts", "posts.likes"] })
    );
    assert_eq!(made_of("f"), serde_json::json!({ "author": ["posts.author"], "user_key": ["posts.author"] }));
    let id = ran["snapshot"].as_str().unwrap();
    project
        .starmill(&["snapshots", "show", "pipelines/p.toml", id])
        .exits(0)
        .says("title is made of users.city and users.name");
}
