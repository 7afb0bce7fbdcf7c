//! Facts of other kinds than one row a thing that happened: periods, milestones, bridges; and junk dimensions.

use crate::support::{Project, cluster, counts, diff_of};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];

fn over(settings: &str, models: &[(&str, &str)], schema: &str, tables: &[(&str, &str)]) -> Project {
    let toml = format!("name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n{settings}");
    Project::of(&toml, models, schema, tables)
}

fn asked(project: &Project, sql: &str) -> String {
    project.starmill(&["query", "pipelines/p.toml", sql, "--format", "csv"]).exits(0).stdout
}

const ORDERS: &str =
    "CREATE TABLE orders (id int PRIMARY KEY, channel text, is_gift boolean, rank numeric(4,1), amount int);";
const FLAGS: &str = "[dimension.dim_flags]\nsurrogate = \"flags_key\"\nfrom = { fact_orders = [\"channel\", \"is_gift\", \"rank\"] }\n\
    [fact.fact_orders]\nkey = [\"id\"]\ngrain = \"orders\"\nmeasures = [\"amount\"]\n";
const FLAGGED: &str = "SELECT id, channel, is_gift, rank, amount FROM orders; -- every one\n";

#[test]
fn a_junk_dimension_has_the_combinations_that_occur_and_keeps_their_keys() {
    let first = "id,channel,is_gift,rank,amount\n1,web,true,1.0,5\n2,web,true,1.0,6\n3,web,,1.0,7\n4,,,,8\n5,\"\",,,9\n6,\"a\"\",\"\"b\",true,2.5,1\n";
    let project = over(FLAGS, &[("fact_orders", FLAGGED)], ORDERS, &[("orders", first)]);
    let night = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
    assert_eq!(
        counts(&night, "dim_flags").0,
        6,
        "five combinations and the unknown member: NULL is not the empty text"
    );
    assert_eq!(
        asked(
            &project,
            "SELECT f.id, d.channel, d.is_gift, d.rank FROM fact_orders AS f JOIN dim_flags AS d USING (flags_key) ORDER BY f.id"
        ),
        "id,channel,is_gift,rank\n1,web,true,1.0\n2,web,true,1.0\n3,web,,1.0\n4,,,\n5,\"\",,\n6,\"a\"\",\"\"b\",true,2.5\n"
    );
    let columns = asked(&project, "SELECT * FROM fact_orders WHERE id = 1");
    assert_eq!(
        columns.lines().next(),
        Some("id,amount,flags_key"),
        "what the dimension has is the fact's no more"
    );
    let key = asked(&project, "SELECT flags_key FROM fact_orders WHERE id = 3");
    // A combination goes, another comes: what was given stays given.
    project.write("data/orders.csv", "id,channel,is_gift,rank,amount\n3,web,,1.0,7\n7,app,false,1.0,5\n");
    project.starmill(&RUN).exits(0);
    assert_eq!(asked(&project, "SELECT flags_key FROM fact_orders WHERE id = 3"), key);
    assert_eq!(asked(&project, "SELECT count(*) AS n FROM dim_flags"), "n\n3\n");
    // A column that something else names stays in the fact, too.
    project.edit(
        "pipelines/p.toml",
        "measures = [\"amount\"]",
        "measures = [\"amount\"]\nindexes = [[\"channel\"]]",
    );
    project.starmill(&RUN).exits(0);
    assert_eq!(asked(&project, "SELECT channel FROM fact_orders WHERE id = 7"), "channel\napp\n");
    // So does one of which a total is asked for.
    project.edit(
        "pipelines/p.toml",
        "indexes = [[\"channel\"]]",
        "totals = { rank = \"SELECT sum(rank) FROM orders\" }",
    );
    let summed = project.starmill(&RUN).exits(0);
    summed.says("total of rank");
}

#[test]
fn two_facts_share_a_junk_dimension_and_its_mistakes_are_told() {
    let schema = format!("{ORDERS} CREATE TABLE returns (id int PRIMARY KEY, via text, gift boolean);");
    let settings = "[dimension.dim_flags]\nsurrogate = \"flags_key\"\nfrom = { fact_orders = [\"channel\", \"is_gift\"], fact_returns = [\"via\", \"gift\"] }\n\
        [fact.fact_orders]\nkey = [\"id\"]\ngrain = \"orders\"\n[fact.fact_returns]\nkey = [\"id\"]\ngrain = \"returns\"\n";
    let project = over(
        settings,
        &[
            ("fact_orders", "SELECT id, channel, is_gift, amount FROM orders"),
            ("fact_returns", "SELECT id, via, gift FROM returns"),
        ],
        &schema,
        &[
            ("orders", "id,channel,is_gift,rank,amount\n1,web,true,1,5\n"),
            ("returns", "id,via,gift\n1,web,true\n2,post,false\n"),
        ],
    );
    project.starmill(&RUN).exits(0);
    assert_eq!(
        asked(
            &project,
            "SELECT r.id, d.channel FROM fact_returns AS r JOIN dim_flags AS d USING (flags_key) JOIN fact_orders AS o USING (flags_key)"
        ),
        "id,channel\n1,web\n"
    );
    let wrong = |from: &str, to: &str, said: &[&str]| {
        let text = project.read("pipelines/p.toml");
        project.edit("pipelines/p.toml", from, to);
        let ran = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
        for said in said {
            assert!(ran.stderr.contains(said), "{said}\n{}", ran.stderr);
        }
        project.write("pipelines/p.toml", &text);
    };
    wrong(
        "fact_returns = [\"via\", \"gift\"]",
        "fact_return = [\"via\", \"gift\"]",
        &["there is no fact `fact_return`", "did you mean `fact_returns`?"],
    );
    wrong("[\"via\", \"gift\"]", "[\"via\"]", &["name as many columns of each fact"]);
    wrong(
        "[\"via\", \"gift\"]",
        "[\"via\", \"gifts\"]",
        &["`from` names `gifts`, which `fact_returns` has not", "pipelines/p.toml:"],
    );
    wrong("[\"via\", \"gift\"]", "[\"via\", \"via\"]", &["takes the column `via` of `fact_returns` twice"]);
    wrong(
        "[\"via\", \"gift\"]",
        "[\"gift\", \"via\"]",
        &["is text in `fact_orders`, and boolean in `fact_returns`"],
    );
    wrong(
        "[fact.fact_returns]\nkey = [\"id\"]",
        "[fact.fact_returns]\nkey = [\"id\"]\nfirst_seen = [\"via\"]",
        &["`first_seen` keeps what it was"],
    );
    wrong(
        "surrogate = \"flags_key\"",
        "surrogate = \"flags_key\"\nkey = [\"channel\"]",
        &["no `key` of its own"],
    );
    wrong(
        "grain = \"returns\"",
        "grain = \"returns\"\nlookups.x_key = { dimension = \"dim_flags\", on = [\"via\"] }",
        &["looked up by itself"],
    );
}

const BALANCES: &str = "CREATE TABLE balances (account int, month date, balance numeric(12,2), moves int);";
const PERIODIC: &str = "[fact.account_months]\nkey = [\"account\", \"month\"]\nperiodic = \"month\"\nsemi_additive = [\"balance\"]\n";

#[test]
fn a_periodic_fact_has_one_row_a_thing_and_period_and_knows_what_is_never_summed_over_time() {
    let rows = "account,month,balance,moves\n1,2023-12-01,5.00,2\n1,2024-01-01,6.00,2\n1,2024-02-01,6.00,2\n2,2024-02-01,1.00,0\n";
    let project = over(
        PERIODIC,
        &[("account_months", "SELECT account, month, balance, moves FROM balances")],
        BALANCES,
        &[("balances", rows)],
    );
    project.starmill(&RUN).exits(0);
    assert!(project.read("out/latest/manifest.json").contains("\"not_over\": \"month\""));
    project.write("data/balances.csv", &rows.replace("2,2024-02-01,1.00,0\n", "2,2024-02-01,9.00,4\n"));
    let night = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
    let totals =
        diff_of(&night, "account_months")["totals"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(totals, ["moves"], "the balances of several months are never added up");
    // A month is missing, one is twice in other days, and one is no first day.
    project.write("data/balances.csv", &rows.replace("1,2024-01-01,6.00,2\n", ""));
    project
        .starmill(&RUN)
        .exits(7)
        .says("rows missing for a month between others")
        .says("account=1, first period=2023-12-01, last period=2024-02-01, periods there=2");
    project.write("data/balances.csv", &rows.replace("2,2024-02-01", "2,2024-02-29"));
    project.starmill(&RUN).exits(7).says("periods that begin no month").says("account=2, month=2024-02-29");
    project.write("data/balances.csv", &rows.replace("1,2024-01-01,6.00,2\n", ""));
    project.edit(
        "pipelines/p.toml",
        "periodic = \"month\"",
        "periodic = { every = \"month\", period = \"month\", allow_gaps = true }",
    );
    project.starmill(&RUN).exits(0);
    let wrong = |to: &str, said: &str| {
        let text = project.read("pipelines/p.toml");
        project.edit(
            "pipelines/p.toml",
            "periodic = { every = \"month\", period = \"month\", allow_gaps = true }",
            to,
        );
        project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns(said);
        project.write("pipelines/p.toml", &text);
    };
    wrong("periodic = \"fortnight\"", "write one of day, week, month, quarter and year");
    wrong("periodic = { every = \"month\", period = \"moves\" }", "the period `moves` is not in the key");
    wrong("periodic = \"month\"\naccumulating = [\"month\"]", "cannot be both periodic and accumulating");
    wrong("grain = \"balances\"", "has no periods over which `balance` could not be summed");
    project.edit("pipelines/p.toml", "[\"account\", \"month\"]", "[\"account\"]");
    project.edit(
        "pipelines/p.toml",
        "periodic = { every = \"month\", period = \"month\", allow_gaps = true }",
        "periodic = \"month\"",
    );
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("has not one date");
}

#[test]
fn periods_of_every_length_are_counted_from_first_day_to_first_day() {
    for (every, days, gap) in [
        ("day", ["2024-02-28", "2024-02-29", "2024-03-01"], "2024-02-29"),
        ("week", ["2024-12-23", "2024-12-30", "2025-01-06"], "2024-12-30"),
        ("quarter", ["2023-10-01", "2024-01-01", "2024-04-01"], "2024-01-01"),
        ("year", ["2023-01-01", "2024-01-01", "2025-01-01"], "2024-01-01"),
    ] {
        let rows: String = days.iter().map(|day| format!("1,{day},5.00,2\n")).collect();
        let rows = format!("account,month,balance,moves\n{rows}");
        let settings = PERIODIC.replace("periodic = \"month\"", &format!("periodic = \"{every}\""));
        let project = over(
            &settings,
            &[("account_months", "SELECT account, month, balance FROM balances")],
            BALANCES,
            &[("balances", &rows)],
        );
        project.starmill(&RUN).exits(0);
        project.write("data/balances.csv", &rows.replace(&format!("1,{gap},5.00,2\n"), ""));
        project.starmill(&RUN).exits(7).says(&format!("rows missing for a {every} between others"));
    }
}

#[test]
fn the_diff_of_an_accumulating_fact_says_which_milestone_moved() {
    let source = cluster().database();
    source.sql("CREATE TABLE orders (id int PRIMARY KEY, ordered_at timestamptz, shipped_at timestamptz, delivered_at date); \
        INSERT INTO orders VALUES (1, '2024-01-01', NULL, NULL), (2, '2024-01-01', '2024-01-02', NULL), (3, '2024-01-01', '2024-01-02', '2024-01-03'), (4, '2024-01-01', '2024-01-05', NULL)");
    let url = source.url();
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{url}\"\n[store]\nurl = \"out\"\n[dimension.dim_date]\ndates = {{ from = \"2024-01-01\", to = \"2024-12-31\" }}\n\
         [fact.f]\nkey = [\"id\"]\ngrain = \"orders\"\naccumulating = [\"ordered_at\", \"shipped_at\", \"delivered_at\"]\n\
         lookups.shipped_key = {{ dimension = \"dim_date\", on = {{ date = \"shipped_at\" }} }}\n"
    );
    let project =
        Project::of(&toml, &[("f", "SELECT id, ordered_at, shipped_at, delivered_at FROM orders")], "", &[]);
    project.starmill(&RUN).exits(0);
    source.sql("UPDATE orders SET shipped_at = '2024-01-04' WHERE id = 1; UPDATE orders SET delivered_at = '2024-01-06' WHERE id = 2; \
        UPDATE orders SET delivered_at = NULL WHERE id = 3; UPDATE orders SET shipped_at = '2024-01-06' WHERE id = 4; INSERT INTO orders VALUES (5, '2024-01-02', '2024-01-02', NULL)");
    let ran = project.starmill(&RUN).exits(0);
    for said in [
        "milestone delivered_at: reached in 1, taken back in 1",
        "milestone shipped_at: reached in 1, moved in 1",
    ] {
        assert!(ran.stdout.contains(said), "{said}\n{}", ran.stdout);
    }
    project.edit("pipelines/p.toml", "\"delivered_at\"]", "\"id\", \"deliverd_at\"]");
    let ran = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
    assert!(
        ran.stderr.contains("accumulating names `f.id`, which is no time")
            && ran.stderr.contains("did you mean `delivered_at`?"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_weights_of_a_bridge_are_one_in_each_group() {
    let schema = "CREATE TABLE accounts (id int PRIMARY KEY, name text); CREATE TABLE owners (account int, customer int, share numeric(6,4));";
    let settings = "[dimension.dim_account]\nkey = [\"id\"]\nsurrogate = \"account_key\"\n\
        [bridge.account_owners]\nkey = [\"account\", \"customer\"]\ngroup = [\"account\"]\nweight = \"share\"\n\
        lookups.account_key = { dimension = \"dim_account\", on = { id = \"account\" } }\n";
    let rows = "account,customer,share\n1,7,0.3333\n1,8,0.3333\n1,9,0.3334\n2,7,1\n";
    let models = [
        ("dim_account", "SELECT id, name FROM accounts"),
        ("account_owners", "SELECT account, customer, share FROM owners"),
    ];
    let project = over(settings, &models, schema, &[("accounts", "id,name\n1,a\n2,b\n"), ("owners", rows)]);
    project.starmill(&RUN).exits(0).says("groups whose share is not 1 together");
    assert!(project.starmill(&["plan", "pipelines/p.toml"]).exits(0).stdout.contains("bridge"));
    project.write("data/owners.csv", &rows.replace("0.3334", "0.3333"));
    project.starmill(&RUN).exits(7).says("account=1, sum of weights=0.9999");
    project.write("data/owners.csv", &rows.replace("2,7,1", "2,7,"));
    project.starmill(&RUN).exits(7).says("account=2, sum of weights=NULL");
    project.write(
        "sql/p/account_owners.sql",
        "SELECT account, customer, CAST(share AS double precision) AS share FROM owners",
    );
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("CAST(share AS numeric(20,10))");
    project.edit("pipelines/p.toml", "group = [\"account\"]\n", "");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("needs its group and weight");
}

#[test]
fn one_combination_has_one_key_whatever_the_types_of_its_columns_and_keeps_it_when_they_are_widened() {
    let schema = "CREATE TABLE a (id int PRIMARY KEY, x numeric(4,1), d date, r double precision); \
        CREATE TABLE b (id int PRIMARY KEY, x numeric(6,2), d timestamp, r int);";
    let settings = "[dimension.dim_j]\nfrom = { f = [\"x\", \"d\", \"r\"], g = [\"x\", \"d\", \"r\"] }\n\
        [fact.f]\nkey = [\"id\"]\ngrain = \"a\"\n[fact.g]\nkey = [\"id\"]\ngrain = \"b\"\n";
    let project = over(
        settings,
        &[("f", "SELECT id, x, d, r FROM a"), ("g", "SELECT id, x, d, r FROM b")],
        schema,
        &[
            ("a", "id,x,d,r\n1,1.5,2024-01-01,-0\n2,5.0,2024-01-02,0\n3,5.0,2024-01-02,-0\n"),
            ("b", "id,x,d,r\n1,1.50,2024-01-01 00:00:00,0\n2,5.00,2024-01-02 10:00:00,0\n"),
        ],
    );
    project.starmill(&RUN).exits(0);
    let keys = "SELECT f.id, g.id AS other FROM f JOIN g USING (j_key) ORDER BY f.id";
    assert_eq!(asked(&project, keys), "id,other\n1,1\n", "as Postgres's UNION has one row");
    assert_eq!(asked(&project, "SELECT count(*) AS n FROM dim_j WHERE j_key > 0"), "n\n3\n", "-0 is 0");
    let of = |project: &Project| asked(project, "SELECT id, j_key FROM f ORDER BY id");
    let before = of(&project);
    // The printing of a value is not the value.
    project.edit("data/schema.sql", "x numeric(4,1)", "x numeric(8,4)");
    project.starmill(&RUN).exits(0);
    assert_eq!(of(&project), before);
    // The order in which columns are named is not, either; other columns are another combination.
    project.edit(
        "pipelines/p.toml",
        "f = [\"x\", \"d\", \"r\"], g = [\"x\", \"d\", \"r\"]",
        "f = [\"r\", \"x\", \"d\"], g = [\"r\", \"x\", \"d\"]",
    );
    project.starmill(&RUN).exits(0);
    assert_eq!(of(&project), before);
    project.edit(
        "pipelines/p.toml",
        "f = [\"r\", \"x\", \"d\"], g = [\"r\", \"x\", \"d\"]",
        "f = [\"x\"], g = [\"x\"]",
    );
    project.starmill(&RUN).exits(0);
    let highest: i64 = before.lines().last().unwrap().split(',').next_back().unwrap().parse().unwrap();
    let lowest = asked(&project, "SELECT min(j_key) AS lowest FROM f");
    assert!(
        lowest.lines().nth(1).unwrap().parse::<i64>().unwrap() > highest,
        "no key means another combination: {lowest}"
    );
}

#[test]
fn a_junk_dimension_is_made_of_its_facts_selects_whatever_they_say() {
    let schema = "CREATE TABLE orders (id int PRIMARY KEY, ch text, m timestamptz, gift boolean, n int);";
    let settings = "[dimension.dim_j]\nsurrogate = \"j_key\"\nfrom = { orders = [\"ch\", \"age\", \"q\", \"long\", \"n\"] }\n\
        [fact.orders]\nkey = [\"id\"]\ngrain = \"orders\"\n\
        [[fact.orders.control]]\nname = \"gifts\"\nsource = \"SELECT count(*) FROM orders WHERE gift\"\nstar = \"SELECT count(*) FROM orders WHERE q\"\n\
        [summary.s]\nkey = [\"ch\"]\n";
    let select = "SELECT id, ch, CASE WHEN m < run_at() THEN 'old' ELSE 'new' END AS age, gift IS NOT FALSE AS q, repeat(ch, 3000) AS long, @ n AS n FROM orders";
    let project = over(
        settings,
        &[("orders", select), ("s", "SELECT CH, count(*) AS n FROM orders GROUP BY 1")],
        schema,
        &[(
            "orders",
            "id,ch,m,gift,n\n1,web,2024-01-01 00:00:00+00,true,-5\n2,app,2024-01-01 00:00:00+00,false,5\n3,app,2024-01-01 00:00:00+00,false,-5\n",
        )],
    );
    let target = cluster().database();
    let mut project = project;
    project.edit("pipelines/p.toml", "[store]", "[target]\nurl = \"${TARGET}\"\n[store]");
    project.set("TARGET", &target.url());
    project.starmill(&RUN).exits(0);
    let joined = "SELECT f.id, f.ch, f.q, d.age, d.q AS gift, length(d.long) AS l, d.n, length(d.combination) < 1001 AS short FROM orders AS f JOIN dim_j AS d USING (j_key) ORDER BY f.id";
    assert_eq!(
        asked(&project, joined),
        "id,ch,q,age,gift,l,n,short\n1,web,true,old,true,9000,5,true\n2,app,false,old,false,9000,5,true\n3,app,false,old,false,9000,5,true\n",
        "ch and q stay in the fact: a summary and a control ask for them"
    );
    assert!(!asked(&project, "SELECT * FROM orders").contains("age"));
    // A mistake in the fact's SQL is shown where it is.
    project.write("sql/p/orders.sql", &select.replace("ch, CASE", "chh, CASE"));
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("sql/p/orders.sql:1:12");
}

#[test]
fn a_key_is_found_by_the_value_that_a_first_seen_column_shows() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, ch text, at timestamptz); CREATE TABLE c (ch text PRIMARY KEY, name text);";
    let settings = "[dimension.dim_c]\nkey = [\"ch\"]\n[dimension.dim_h]\nkey = [\"ch\"]\nhistory = { track = [\"name\"] }\n\
        [fact.f]\nkey = [\"id\"]\ngrain = \"t\"\nfirst_seen = [\"ch\"]\nlookups.c_key = { dimension = \"dim_c\", on = [\"ch\"] }\n\
        lookups.h_key = { dimension = \"dim_h\", on = [\"ch\"], as_of = \"at\" }\n";
    let project = over(
        settings,
        &[
            ("f", "SELECT id, ch, at FROM t"),
            ("dim_c", "SELECT ch, name FROM c"),
            ("dim_h", "SELECT ch, name FROM c"),
        ],
        schema,
        &[
            ("t", "id,ch,at\n1,web,2024-01-01 00:00:00+00\n2,web,2024-01-01 00:00:00+00\n"),
            ("c", "ch,name\nweb,Web\napp,App\n"),
        ],
    );
    project.starmill(&RUN).exits(0);
    project.write("data/t.csv", "id,ch,at\n1,,2024-01-01 00:00:00+00\n2,app,2024-01-01 00:00:00+00\n");
    project.starmill(&RUN).exits(0);
    let shown = "SELECT f.id, f.ch, c.ch AS one, h.ch AS other FROM f JOIN dim_c AS c USING (c_key) JOIN dim_h AS h USING (h_key) ORDER BY f.id";
    assert_eq!(asked(&project, shown), "id,ch,one,other\n1,web,web,web\n2,web,web,web\n");
    project
        .starmill(&[
            "correct",
            "pipelines/p.toml",
            "f",
            "--key",
            "1",
            "--set",
            "ch=app",
            "--because",
            "typed wrong",
        ])
        .exits(0);
    project.starmill(&RUN).exits(0);
    assert_eq!(asked(&project, shown), "id,ch,one,other\n1,app,app,app\n2,web,web,web\n");
    project.edit(
        "pipelines/p.toml",
        "dimension = \"dim_c\", on = [\"ch\"] ",
        "dimension = \"dim_c\", on = [\"ch\"], inferred = true ",
    );
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("`first_seen` keeps what `ch` was");
}

#[test]
fn what_an_audit_calls_its_columns_stands_in_nobodys_way_and_a_day_is_one_in_every_zone() {
    let schema = "CREATE TABLE t (first int, periods int, day date, weights numeric(10,2), w numeric(5,5));";
    let settings = "[fact.f]\nkey = [\"first\", \"periods\", \"day\"]\nperiodic = \"day\"\n\
        [bridge.b]\nkey = [\"first\", \"periods\"]\ngroup = [\"first\"]\nweight = \"weights\"\n";
    let project = over(
        settings,
        &[("f", "SELECT first, periods, day FROM t"), ("b", "SELECT first, periods, weights, w FROM t")],
        schema,
        &[(
            "t",
            "first,periods,day,weights,w\n1,1,2011-12-29,1.00,0.5\n2,1,2011-12-29,1.00,0\n3,1,2011-12-30,1.00,0\n4,1,2011-12-31,1.00,0\n",
        )],
    );
    project.edit("pipelines/p.toml", "name = \"p\"", "name = \"p\"\ntimezone = \"Pacific/Apia\"");
    project.starmill(&RUN).exits(0);
    let wrong = |from: &str, to: &str, told: &str| {
        let text = project.read("pipelines/p.toml");
        project.edit("pipelines/p.toml", from, to);
        project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns(told);
        project.write("pipelines/p.toml", &text);
    };
    wrong("group = [\"first\"]", "group = [\"first\", \"first\"]", "`group` names `first` twice");
    wrong("weight = \"weights\"", "weight = \"w\"", "has no digit before the point");
    wrong("periodic = \"day\"", "periodic = \"day\"\nmeasures = [\"first\"]", "has measures, and no grain");
}
