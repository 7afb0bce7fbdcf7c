//! Masks: what stands in a person's place is all that is ever written, and it is the same wherever the same value stood.

use std::path::Path;

use crate::support::{Database, Project, cluster, peer};

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];
const KEY: &str = "0123456789abcdef0123456789abcdef";

const TOML: &str = "name = \"p\"\n[source]\nurl = \"URL\"\nmask_key = \"env:PEOPLE_KEY\"\n\
    [source.mask]\n\"users.email\" = \"hmac\"\n\"public.orders.user_email\" = \"hmac\"\n\"users.name\" = \"null\"\n\
    \"users.phone\" = \"text:hidden\"\n\"users.ssn\" = \"hmac\"\n\"orders.ssn\" = \"hmac\"\n\"users.born\" = \"null\"\n\
    [store]\nurl = \"out\"\ngrace = \"0s\"\n[run]\nmemory = \"32MB\"\n\
    [dimension.dim_user]\nkey = [\"email\"]\nsurrogate = \"user_key\"\n\
    [fact.f]\nkey = [\"id\"]\ngrain = \"orders\"\nmeasures = [\"amount\"]\nlookups.user_key = { dimension = \"dim_user\", on = { email = \"user_email\" } }\n\
    [[fact.f.control]]\nname = \"who ordered\"\nsource = \"SELECT count(DISTINCT user_email) FROM orders\"\n\
    star = \"SELECT count(DISTINCT user_email) FROM f\"\n\
    [[fact.f.control]]\nname = \"who has a name\"\nsource = \"SELECT count(name) FROM users\"\n\
    star = \"SELECT count(name) FROM dim_user WHERE user_key <> -1\"\n";
const MODELS: [(&str, &str); 2] = [
    ("dim_user", "SELECT email, name, phone, ssn, born, code FROM users"),
    (
        "f",
        "SELECT o.id, o.user_email, u.ssn = o.ssn AS same, o.amount FROM orders AS o LEFT JOIN users AS u ON u.email = o.user_email",
    ),
];
const SCHEMA: &str = "CREATE TABLE users (email varchar(80) PRIMARY KEY, name text NOT NULL CHECK (name <> 'nobody'), phone char(16), \
    ssn bigint UNIQUE, born date, code uuid); \
    CREATE TABLE orders (id int PRIMARY KEY, user_email char(80), ssn int, amount numeric(12,2));";
/// What no file may have.
const SECRETS: [&str; 4] = ["ann@example.org", "Ann Secret", "555-0101", "123456789"];

fn users() -> String {
    users_of(3_000)
}

fn users_of(count: usize) -> String {
    let people = (0..count)
        .map(|n| format!("user{n}@example.org,User Secret {n},555-9{n},{},1980-01-01,\n", 1_000_000 + n));
    let ann =
        "ann@example.org,Ann Secret,555-0101,123456789,1977-07-07,6b2f51c8-0000-4000-8000-0023456780ab\n";
    format!("email,name,phone,ssn,born,code\n{ann}{}", people.collect::<String>())
}

fn orders() -> String {
    let orders = (0..3_000).map(|n| format!("{},user{n}@example.org,{},1.00\n", n + 2, 1_000_000 + n));
    format!("id,user_email,ssn,amount\n1,ann@example.org,123456789,10.50\n{}", orders.collect::<String>())
}

fn folder() -> Project {
    let mut project = Project::of(
        &TOML.replace("URL", "data"),
        &MODELS,
        SCHEMA,
        &[("users", &users()), ("orders", &orders())],
    );
    project.set("PEOPLE_KEY", KEY);
    project
}

fn on_postgres() -> (Project, Database) {
    let database = cluster().database();
    database.sql(SCHEMA);
    for (table, rows) in [("users", users()), ("orders", orders())] {
        database.sql(&format!("COPY {table} FROM STDIN (FORMAT csv, HEADER);\n{rows}\\.\n"));
    }
    let mut project = Project::of(&TOML.replace("URL", &database.url()), &MODELS, "", &[]);
    project.set("PEOPLE_KEY", KEY);
    (project, database)
}

fn seen(project: &Project) -> String {
    let table = |name: &str| format!("'{}'", project.path(&format!("out/latest/{name}/*.parquet")).display());
    peer(&format!(
        "SELECT u.email, u.name, u.phone, u.ssn, u.born, u.code, f.same, f.amount FROM {} AS u JOIN {} AS f ON f.user_email = u.email \
         WHERE u.code IS NOT NULL AND u.user_key = f.user_key",
        table("dim_user"),
        table("f")
    ))
}

/// HMAC-SHA-256 of a value, its first 16 bytes, as Python computes it.
fn code(value: &str) -> String {
    let python = crate::support::root().join("target/peers/bin/python");
    let program =
        format!("import hmac; print(hmac.new(b'{KEY}', b'{value}', 'sha256').hexdigest()[:32], end='')");
    String::from_utf8(std::process::Command::new(python).args(["-c", &program]).output().unwrap().stdout)
        .unwrap()
}

/// Holds every file below a folder against what none may have.
fn assert_nobody_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nobody_below(&path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            for secret in SECRETS {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} has {secret}", path.display());
            }
        }
    }
}

#[test]
fn a_code_is_the_same_for_the_same_value_from_postgres_and_from_files_and_nothing_else_is_there() {
    let (postgres, _database) = on_postgres();
    let folder = folder();
    let expected = format!(
        "{}|NULL|hidden|{}|NULL|6b2f51c8-0000-4000-8000-0023456780ab|True|10.50",
        code("ann@example.org"),
        code("123456789")
    );
    for project in [&postgres, &folder] {
        let report = project.starmill(&[&RUN[..], &["--format", "json"]].concat()).exits(0).json();
        assert_eq!(seen(project), expected);
        let controls: Vec<String> =
            report["controls"].as_array().unwrap().iter().map(|line| line["name"].to_string()).collect();
        let is_there =
            |name: &str| assert!(controls.iter().any(|known| known.contains(name)), "{name}: {controls:?}");
        is_there("who has a name (users.name as it is masked)");
        match std::ptr::eq(project, &postgres) {
            true => is_there("who ordered (orders.user_email as it is before its mask)"),
            false => is_there("who ordered (orders.user_email as it is masked)"),
        }
        let parquet = format!("SELECT * FROM '{}'", project.path("out/latest/dim_user/*.parquet").display());
        let all = peer(&parquet);
        assert!(SECRETS.iter().all(|secret| !all.contains(secret)));
        assert_nobody_below(&project.path("out"));
    }
    let manifest =
        postgres.read(&format!("out/snapshots/{}/manifest.json", postgres.entries("out/snapshots")[0]));
    assert!(
        manifest.contains("\"name\": \"null\"") && manifest.contains("\"phone\": \"text:hidden\""),
        "{manifest}"
    );
    assert!(manifest.contains("\"email\": \"hmac, key ") && !manifest.contains(KEY));
}

#[test]
fn neither_scratch_nor_a_report_nor_an_error_has_what_is_masked() {
    let (postgres, database) = on_postgres();
    // As many as do not stay in memory.
    let files = folder();
    files.write("data/users.csv", &users_of(60_000));
    database.sql(
        "INSERT INTO users SELECT 'more' || n || '@example.org', 'More Secret ' || n, '555-8' || n, 2000000 + n, '1980-01-01' \
         FROM generate_series(1, 60000) AS n",
    );
    for project in [&postgres, &files] {
        for point in ["extract.done", "audit.done"] {
            assert_eq!(project.starmill_with_fault(&RUN, &format!("{point}=kill")).code, None);
            let scratch = project.entries("out/.scratch");
            let staged = project.entries(&format!("out/.scratch/{}", scratch[0]));
            assert!(
                point != "extract.done" || staged.iter().any(|name| name.ends_with(".arrow")),
                "{staged:?}"
            );
            assert_nobody_below(&project.path("out"));
        }
        // Keys that are there twice, and facts without a member, are told with examples.
        project.write("sql/p/f.sql", "SELECT o.id, o.user_email, true AS same, o.amount FROM orders AS o, (VALUES (1), (2)) AS twice (n)");
        let ran = project.starmill(&RUN).exits(7);
        SECRETS.iter().fold(ran, |ran, secret| ran.never_shows(secret));
        assert_nobody_below(&project.path("out"));
    }
    // A value that does not fit its column is told without it.
    let files = folder();
    files.write("data/users.csv", &users().replace("123456789", "123456789x"));
    let refused = files
        .starmill(&RUN)
        .exits(5)
        .warns("public.users.ssn: the value that is masked is not a valid integer of its column");
    refused.never_shows("123456789");
    // A model compares what stands there, in Postgres as here.
    database.sql("ANALYZE");
    let found = format!(
        "SELECT email, name, phone, ssn, born, code FROM users WHERE email = '{}'",
        code("ann@example.org")
    );
    postgres.write("sql/p/f.sql", MODELS[1].1);
    for (sql, rows) in [
        (found.as_str(), 1),
        (
            &MODELS[0]
                .1
                .replace("FROM users", "FROM users WHERE email = 'ann@example.org' OR name IS NOT NULL"),
            0,
        ),
    ] {
        postgres.write("sql/p/dim_user.sql", sql);
        postgres.edit(
            "pipelines/p.toml",
            "lookups.user_key = { dimension = \"dim_user\", on = { email = \"user_email\" } }",
            "lookups.user_key = { dimension = \"dim_user\", on = { email = \"user_email\" }, unknown_max = \"100%\" }",
        );
        let plan = postgres.starmill(&["run", "pipelines/p.toml", "--dry-run", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
        let table =
            report["tables"].as_array().unwrap().iter().find(|table| table["table"] == "dim_user").unwrap();
        assert_eq!(table["rows"], rows + 1, "the unknown member, and who is asked for: {}", plan.stderr);
        postgres.edit("pipelines/p.toml", ", unknown_max = \"100%\"", "");
    }
}

#[test]
fn another_mask_or_key_is_accepted_by_name_or_not_at_all() {
    let mut project = folder();
    project.starmill(&RUN).exits(0);
    let first = seen(&project);
    project.set("PEOPLE_KEY", "another key of thirty-two bytes!");
    let refused = project.starmill(&RUN).exits(3);
    refused
        .warns("the mask of public.orders.user_email changed: from \"hmac, key ")
        .warns("the mask of public.users.ssn changed: from \"hmac, key ")
        .warns("--accept public.orders.ssn --accept public.orders.user_email --accept public.users.email --accept public.users.ssn");
    let accepted: Vec<&str> =
        ["public.orders.user_email", "public.orders.ssn", "public.users.email", "public.users.ssn"]
            .into_iter()
            .flat_map(|name| ["--accept", name])
            .collect();
    project.starmill(&[&RUN[..], &accepted].concat()).exits(0);
    assert_ne!(seen(&project), first);
    // Nobody unmasks by forgetting a line.
    let bare = ["--accept", "public.users.name"];
    project.edit("pipelines/p.toml", "\"users.name\" = \"null\"\n", "");
    project.starmill(&RUN).exits(3).warns("the mask of public.users.name changed: from \"null\" to no mask");
    project
        .starmill(&[&RUN[..], &["--accept", "public.users.nam"]].concat())
        .exits(2)
        .warns("no column `public.users.nam`");
    // Not over a night that does not read it, either.
    project.edit("pipelines/p.toml", "[store]", "\"users.name\" = \"null\"\n[store]");
    project.write("sql/p/dim_user.sql", "SELECT email, phone, ssn, born, code FROM users");
    project.edit(
        "pipelines/p.toml",
        "star = \"SELECT count(name) FROM dim_user WHERE user_key <> -1\"",
        "star = \"SELECT 0\"",
    );
    project.starmill(&RUN).exits(0);
    project.edit("pipelines/p.toml", "\"users.name\" = \"null\"\n", "");
    project.write("sql/p/dim_user.sql", MODELS[0].1);
    project.edit(
        "pipelines/p.toml",
        "star = \"SELECT 0\"",
        "star = \"SELECT count(name) FROM dim_user WHERE user_key <> -1\"",
    );
    project.starmill(&RUN).exits(3).warns("the mask of public.users.name changed: from \"null\" to no mask");
    project.starmill(&[&RUN[..], &bare].concat()).exits(0);
}

#[test]
fn what_was_kept_of_values_goes_when_they_are_masked() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\nmask_key = \"env:PEOPLE_KEY\"\n[store]\nurl = \"out\"\ngrace = \"0s\"\n\
        [dimension.d]\nkey = [\"email\"]\nsurrogate = \"k\"\nfirst_seen = [\"name\"]\n[summary.s]\nkey = [\"email\"]\n";
    let models = [("d", "SELECT email, name FROM users"), ("s", "SELECT email, k FROM d WHERE k > 0")];
    let mut project =
        Project::of(toml, &models, SCHEMA, &[("users", &users()), ("orders", "id,user_email,ssn,amount\n")]);
    project.set("PEOPLE_KEY", KEY);
    project.starmill(&RUN).exits(0);
    project.edit(
        "pipelines/p.toml",
        "[store]",
        "[source.mask]\n\"users.email\" = \"hmac\"\n\"users.name\" = \"hmac\"\n[store]",
    );
    let accept = ["--accept", "public.users.email", "--accept", "public.users.name"];
    let ran = project
        .starmill(&[&RUN[..], &accept].concat())
        .exits(0)
        .says("give surrogate keys and first-seen values anew");
    ran.never_shows("ann@example.org").never_shows("Ann Secret");
    let all = peer(&format!("SELECT * FROM '{}'", project.path("out/latest/d/*.parquet").display()));
    assert!(
        all.contains(&code("ann@example.org"))
            && all.contains(&code("Ann Secret"))
            && !all.contains("Ann Secret")
    );
    project
        .starmill(&["snapshots", "rollback", "pipelines/p.toml"])
        .says("masked otherwise, or not at all: public.users.email");
    project.starmill(&["snapshots", "prune", "pipelines/p.toml", "--keep", "1", "--grace", "0s"]).exits(0);
    let keys = peer(&format!("SELECT * FROM '{}'", project.path("out/keys/d/*.parquet").display()));
    assert!(
        keys.contains(&code("ann@example.org")) && !keys.contains("ann@") && !keys.contains("Ann Secret")
    );
    project.starmill(&RUN).exits(0).says("Nothing changed");
}

#[test]
fn what_the_server_says_of_values_is_left_out() {
    let (mut project, database) = on_postgres();
    let toml = project.read("pipelines/p.toml");
    let refused = |project: &Project, ran: crate::support::Ran| {
        let ran = ran.warns("SQLSTATE 22P02; its words are left out");
        SECRETS.iter().fold(ran, |ran, secret| ran.never_shows(secret));
        assert_nobody_below(&project.path("out"));
    };
    project.write(
        "pipelines/p.toml",
        &toml.replace("count(DISTINCT user_email) FROM orders", "sum(CAST(user_email AS int)) FROM orders"),
    );
    refused(&project, project.starmill(&RUN).exits(5));
    project.write(
        "pipelines/p.toml",
        &toml.replace("[store]", "[source.where]\nusers = \"email::int > 0\"\n[store]"),
    );
    refused(&project, project.starmill(&RUN).exits(5));
    // Postgres counts codes as they are counted here, whatever the column's collation.
    database.sql("CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
        ALTER TABLE orders ALTER COLUMN user_email TYPE varchar(80) COLLATE ci; INSERT INTO orders VALUES (90001, 'ANN@example.org', 1, 1)");
    project.write("pipelines/p.toml", &toml);
    project.starmill(&RUN).exits(0);
    // A column that only has the name of a masked one.
    database.sql("CREATE VIEW goods AS SELECT email AS id, 'a widget'::text AS name FROM users");
    project.write(
        "pipelines/p.toml",
        &(toml.replace("[store]", "\"goods.id\" = \"hmac\"\n[store]")
            + "[summary.goods_sold]\nkey = [\"id\"]\n"),
    );
    project.write("sql/p/goods_sold.sql", "SELECT id, name FROM goods");
    project.starmill(&RUN).exits(3).warns("or = \"none\", when it is something else");
    project.edit("pipelines/p.toml", "[store]", "\"goods.name\" = \"none\"\n[store]");
    project.starmill(&RUN).exits(0);
    // Wherever the key is put by mistake, it is not shown.
    for place in ["env:${PEOPLE_KEY}", "file:${PEOPLE_KEY}", "${PEOPLE_KEY}", KEY] {
        project.write("pipelines/p.toml", &toml.replace("env:PEOPLE_KEY", place));
        project
            .starmill(&["check", "pipelines/p.toml"])
            .exits(3)
            .warns("mask_key in [source]")
            .never_shows(KEY);
    }
    project.set("PEOPLE_KEY", KEY);
    let files = folder();
    files.write("data/users.csv", &users().replace("123456789,", "123456789x,"));
    files.write("sql/p/dim_user.sql", "SELECT email, name, phone, code FROM users");
    files.write("sql/p/f.sql", "SELECT id, user_email, amount FROM orders");
    files.starmill(&RUN).exits(5).warns("users.csv:2: public.users.ssn: the value that is masked");
}

#[test]
fn a_mask_that_would_mask_nothing_is_refused() {
    let (mut project, database) = on_postgres();
    let toml = project.read("pipelines/p.toml");
    let refused = |from: &str, to: &str, says: &[&str]| {
        project.write("pipelines/p.toml", &toml.replace(from, to));
        let ran = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
        says.iter().fold(ran, |ran, says| ran.warns(says)).never_shows(KEY);
    };
    refused(
        "\"users.email\"",
        "\"users.emial\"",
        &["[source.mask] names `users.emial`", "did you mean `users.email`?"],
    );
    refused(
        "\"users.email\"",
        "\"email\"",
        &["a masked column is named with its table", "write \"users.email\""],
    );
    refused(
        "= \"null\"",
        "= \"nul\"",
        &["a column cannot be masked by this", "valid: \"hmac\", \"null\", \"text:…\""],
    );
    refused("mask_key = \"env:PEOPLE_KEY\"\n", "", &["codes need a key", "mask_key = \"env:"]);
    refused(
        "env:PEOPLE_KEY",
        "env:NO_SUCH_KEY",
        &["the variable NO_SUCH_KEY, which has the key of the masks, is not set"],
    );
    refused("env:PEOPLE_KEY", "file:no/such/key", &["cannot read the key of the masks: no/such/key"]);
    refused("env:PEOPLE_KEY", "${PEOPLE_KEY}", &["its place is written as it is, without variables"]);
    project.set("PEOPLE_KEY", "short");
    project.write("pipelines/p.toml", &toml);
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("the key of the masks has 5 bytes")
        .warns("openssl rand -hex 32");
    project.write("key", &format!("{KEY}\n"));
    project.write("pipelines/p.toml", &toml.replace("env:PEOPLE_KEY", "file:key"));
    project.starmill(&RUN).exits(0);
    assert!(seen(&project).starts_with(&code("ann@example.org")), "a line's end is no part of the key");
    // A view shows by another name what is masked.
    database.sql("CREATE VIEW people AS SELECT email, name, phone, ssn, born, code FROM users");
    project.write("sql/p/dim_user.sql", "SELECT email, name, phone, ssn, born, code FROM people");
    let bare = project.starmill(&["check", "pipelines/p.toml"]).exits(3);
    bare.warns("public.people shows public.users.email, which is masked, as it is")
        .warns("\"public.people.email\" = …");
    let mut files = folder();
    files.set("PEOPLE_KEY", KEY);
    files.edit("pipelines/p.toml", "\"users.born\" = \"null\"", "\"users.born\" = \"hmac\"");
    files
        .starmill(&["check", "pipelines/p.toml"])
        .exits(3)
        .warns("public.users.born is date, of which a file may write equal values in several ways");
}

#[test]
fn an_extraction_takes_what_is_masked() {
    let (project, _database) = on_postgres();
    project.starmill(&["extract", "pipelines/p.toml", "--to", "taken", "--table", "users"]).exits(0);
    let all = peer(&format!("SELECT * FROM '{}'", project.path("taken/*users*/*.parquet").display()));
    assert!(all.contains(&code("ann@example.org")), "{}", all.lines().next().unwrap());
    assert!(SECRETS.iter().all(|secret| !all.contains(secret)));
    assert_nobody_below(&project.path("taken"));
}
