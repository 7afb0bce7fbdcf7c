//! The built-in calendar: its range, its names, its holidays, and that it has every day that facts look up.

use crate::support::Project;

const SCHEMA: &str = "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz NOT NULL, due date, amount numeric(10,2) NOT NULL);";
const ORDERS: &str =
    "id,at,due,amount\n1,2024-12-31 23:30:00+00,2024-03-01,10.00\n2,2024-02-29 12:00:00+00,,5.00\n";

fn sales(dates: &str) -> Project {
    let toml = format!(
        "name = \"p\"\ntimezone = \"Europe/Berlin\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n\
         [dimension.dim_date]\ndates = {dates}\n\
         [fact.f]\nkey = [\"id\"]\ngrain = \"orders\"\nmeasures = [\"amount\"]\n\
         lookups.at_key = {{ dimension = \"dim_date\", on = {{ date = \"at\" }} }}\n\
         lookups.due_key = {{ dimension = \"dim_date\", on = {{ date = \"due\" }} }}\n"
    );
    Project::of(&toml, &[("f", "SELECT id, at, due, amount FROM orders")], SCHEMA, &[("orders", ORDERS)])
}

fn asked(project: &Project, sql: &str) -> String {
    project.starmill(&["query", "pipelines/p.toml", sql, "--format", "csv"]).exits(0).stdout
}

#[test]
fn a_calendar_grows_with_the_days_that_facts_look_up_by_whole_years() {
    let project = sales("{ from = \"facts\", to = \"facts\" }");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let range =
        "SELECT min(date) AS first, max(date) AS last, count(*) AS days FROM dim_date WHERE date_key <> -1";
    // Order 1 is one of the first of January in the pipeline's zone.
    assert_eq!(asked(&project, range), "first,last,days\n2024-01-01,2025-12-31,731\n");
    assert_eq!(
        asked(&project, "SELECT at_key, due_key FROM f ORDER BY id"),
        "at_key,due_key\n20250101,20240301\n20240229,-1\n"
    );
    project.write("data/orders.csv", &format!("{ORDERS}3,2023-05-05 00:00:00+00,2026-01-01,1.00\n"));
    let grown = project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    grown.says("dim_date");
    assert_eq!(asked(&project, range), "first,last,days\n2023-01-01,2026-12-31,1461\n");
    project.write("data/orders.csv", "id,at,due,amount\n");
    project.edit("pipelines/p.toml", "from = \"facts\"", "from = \"2022-02-02\"");
    project.edit("pipelines/p.toml", "url = \"data\"", "url = \"data\"\nallow_empty = [\"orders\"]");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    assert_eq!(asked(&project, range), "first,last,days\n2022-02-02,2022-12-31,333\n");
    // A mistake in somebody's data makes no calendar of eight thousand years.
    project.write("data/orders.csv", &format!("{ORDERS}3,2024-05-05 00:00:00+00,9999-01-01,1.00\n"));
    project.starmill(&["run", "pipelines/p.toml"]).exits(6).warns("would go from 2022-02-02 to 9999-12-31");
}

#[test]
fn a_day_that_the_calendar_lacks_fails_the_audit_unless_so_many_may() {
    let project = sales("{ from = \"2024-01-01\", to = \"2024-12-31\" }");
    let refused = project.starmill(&["run", "pipelines/p.toml"]).exits(7);
    refused.says("at_key not found in dim_date").says("at=2025-01-01T00:30:00+01:00, rows=1");
    project.edit("pipelines/p.toml", "on = { date = \"at\" }", "on = { date = \"at\" }, unknown_max = 1");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
}

#[test]
fn months_have_their_names_in_a_language_and_holidays_come_from_a_file() {
    let dates = "{ from = \"2024-01-01\", to = \"2025-12-31\", language = \"de\", fiscal_start = 7, holidays = \"data/holidays.csv\" }";
    let project = sales(dates);
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("cannot read the holidays: data/holidays.csv");
    for (csv, told) in [
        ("day,name\n", "has not the columns of holidays"),
        ("date,name\n2024-13-01,x\n", "data/holidays.csv:2: `2024-13-01` is not a date"),
        ("date,name\n2024-12-25,x\n2024-12-25,y\n", "data/holidays.csv:3: 2024-12-25 is there twice"),
        ("date,name\n2024-12-25,\"x\n", "data/holidays.csv:2: a quote opens here and never closes"),
        ("date,name\n2024-12-25,\n", "2024-12-25 has no name"),
    ] {
        project.write("data/holidays.csv", csv);
        project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns(told);
    }
    project.write("data/holidays.csv", "date,name\n2025-01-01,\"Neujahr, frei\"\n2024-12-25,Weihnachten\n");
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let sql = "SELECT d.month_name, d.weekday_name, d.fiscal_year, d.fiscal_period, d.is_holiday, d.holiday_name, d.quarter_end_date, d.year_month \
         FROM f JOIN dim_date AS d ON d.date_key = f.at_key ORDER BY f.id";
    assert_eq!(
        asked(&project, sql).lines().skip(1).collect::<Vec<_>>(),
        [
            "Januar,Mittwoch,2025,7,true,\"Neujahr, frei\",2025-03-31,2025-01",
            "Februar,Donnerstag,2024,8,false,,2024-03-31,2024-02"
        ]
    );
    project.edit("pipelines/p.toml", "\"de\"", "\"dee\"");
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("no names of months and days in `dee`")
        .warns("did you mean \"de\"?");
    project.edit("pipelines/p.toml", "\"dee\"", "\"pl\"");
    project.edit("pipelines/p.toml", "fiscal_start = 7", "fiscal_start = 13");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("fiscal_start");
    project.edit("pipelines/p.toml", "to = \"2025-12-31\"", "to = \"fact\"");
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("`fact` is not a date")
        .warns("or \"facts\"");
}

#[test]
fn a_fact_that_reads_the_calendar_cannot_make_it_grow() {
    let project = sales("{ from = \"2024-01-01\", to = \"facts\" }");
    project.write("sql/p/f.sql", "SELECT o.id, o.at, o.due, o.amount FROM orders AS o WHERE EXISTS (SELECT 1 FROM dim_date AS d WHERE d.date_key = 1)");
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("`f` reads `dim_date`, into which it would bring days");
}

fn shifts(times: &str) -> Project {
    let toml = format!(
        "name = \"p\"\ntimezone = \"Europe/Berlin\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n\
         [dimension.dim_time]\n{times}\n\
         [fact.f]\nkey = [\"id\"]\ngrain = \"orders\"\n\
         lookups.at_time_key = {{ dimension = \"dim_time\", on = {{ time = \"at\" }} }}\n\
         lookups.begun_key = {{ dimension = \"dim_time\", on = {{ time = \"begun\" }} }}\n"
    );
    let schema = "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, begun time, day date);";
    let orders = "id,at,begun,day\n1,2024-12-31 23:30:59.999999+00,00:00:00,2024-01-01\n2,2024-07-01 12:00:00+00,23:59:59.999999,\n3,,,\n";
    Project::of(&toml, &[("f", "SELECT id, at, begun, day FROM orders")], schema, &[("orders", orders)])
}

#[test]
fn a_fact_finds_the_time_of_day_of_an_instant_in_the_pipelines_zone_and_of_a_time() {
    for (times, keys, rows) in [
        ("hour", "at_time_key,begun_key\n0,0\n14,23\n-1,-1\n", 24),
        ("minute", "at_time_key,begun_key\n30,0\n1400,2359\n-1,-1\n", 1_440),
        ("second", "at_time_key,begun_key\n3059,0\n140000,235959\n-1,-1\n", 86_400),
    ] {
        let project = shifts(&format!("times = \"{times}\""));
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        assert_eq!(asked(&project, "SELECT at_time_key, begun_key FROM f ORDER BY id"), keys);
        let count = "SELECT count(*) AS n, count(DISTINCT time) AS times FROM dim_time WHERE time_key >= 0";
        assert_eq!(asked(&project, count), format!("n,times\n{rows},{rows}\n"));
        let joined = "SELECT f.id, t.hour, t.hour_12, t.am_pm FROM f JOIN dim_time AS t ON t.time_key = f.begun_key ORDER BY f.id";
        assert_eq!(asked(&project, joined), "id,hour,hour_12,am_pm\n1,0,12,AM\n2,23,11,PM\n3,,,Unknown\n");
    }
}

#[test]
fn what_a_dimension_of_times_cannot_have_is_told_at_check() {
    for (times, told) in [
        ("times = \"day\"", "write times = \"minute\", \"hour\" or \"second\""),
        ("times = \"minute\"\nkey = [\"x\"]", "the dimension of times's key is `time`"),
        ("times = \"minute\"\nsurrogate = \"x\"", "the dimension of times's surrogate key is `time_key`"),
        ("times = \"minute\"\nhistory = { track = [\"hour\"] }", "has no history"),
    ] {
        shifts(times).starmill(&["check", "pipelines/p.toml"]).exits(3).warns(told);
    }
    let project = shifts("times = \"minute\"");
    project.edit("pipelines/p.toml", "on = { time = \"begun\" }", "on = { time = \"day\" }");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("which is time, by day, which is date");
    project.edit("pipelines/p.toml", "on = { time = \"day\" }", "on = { time = \"at\" }, inferred = true");
    project.starmill(&["check", "pipelines/p.toml"]).exits(3).warns("has every time of a day already");
}

#[test]
fn a_calendar_does_not_grow_by_a_day_that_a_fact_keeps_as_it_was_first_seen() {
    let project = sales("{ from = \"facts\", to = \"facts\" }");
    project.edit(
        "pipelines/p.toml",
        "measures = [\"amount\"]",
        "measures = [\"amount\"]\nfirst_seen = [\"due\"]",
    );
    let told = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
    told.warns("`first_seen` keeps what `due` was, and the calendar grows by what it is");
}
