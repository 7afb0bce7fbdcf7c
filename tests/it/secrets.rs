//! No password, key or token is ever shown, whatever is wrong with the line that holds it; and a terminal
//! obeys nothing that data say.

use crate::support::{Project, cluster};

const SECRET: &str = "hunter2";

/// Lines of a pipeline's file, each wrong in its own way.
const SPELLINGS: [&str; 55] = [
    "[source]\nurl = \"user=ann pass=hunter2 host=h\"",
    "[source]\nurl = \"DefaultEndpointsProtocol=https;AccountKey=hunter2\"",
    "[source]\nurl = \"ann/hunter2@h/d\"",
    "[source]\nurl = \"data\"\nkey = \"hunter2\"",
    "[source]\nurl = \"data\"\n[notify]\nheartbeat = \"hc-ping.example/hunter2\"",
    "[source]\nurl = \"data\"\n[notify]\nhartbeat = \"hc-ping.example/hunter2\"",
    "[source]\nurl = \"postgress://ann:hunter2@h/d\"",
    "[source]\nurl = \"mysql://ann:hunter2@h/d\"",
    "[source]\nurl = \"s3://key:hunter2@bucket\"",
    "[source]\nurl = \"postgres://ann:hunter2\"",
    "[source]\nurl = \"postgres:/ann:hunter2@h/d\"",
    "[source]\nurl = \"postgres//ann:hunter2@h/d\"",
    "[source]\nurl = \"POSTGRES://ann:hunter2@h/d\"",
    "[source]\nurl = \"ann:hunter2@h/d\"",
    "[source]\nurl = \"host=h password=hunter2\"",
    "[source]\nurl = \"host = h password = hunter2\"",
    "[source]\nurl = \"Server=h;Pwd=hunter2\"",
    "[source]\nurl = \"postgres://ann:hunter2@h/d",
    "[source]\nurl = postgres://ann:hunter2@h/d",
    "[source]\nurl = [\"postgres://ann:hunter2@h/d\"]",
    "[source]\nurl = \"data\"\npasword = \"hunter2\"",
    "[source]\nurl = \"data\"\npassword = \"hunter2\"",
    "[source]\nulr = \"postgres://ann:hunter2@h/d\"",
    "[source]\nurl = \"\"\"\npostgres://ann:hunter2@h/d\n",
    "source = \"postgres://ann:hunter2@h/d\"",
    "source = { url = \"x://ann:hunter2@h/d\" }",
    "[source]\nurl = \"data\"\n[store]\nurl = \"s3://key:hunter2@bucket/prefix\"",
    "[source]\nurl = \"data\"\n[target]\nurl = \"postgress://ann:hunter2@h/d\"",
    "[source]\nurl = \"data\"\n[target]\nurl = \"host=h password=hunter2\"",
    "[source]\nurl = \"data\"\n[target]\nurl = \"postgres://ann:hunter2\"",
    "[source]\nurl = \"data\"\n[notify]\nwebhook = \"hooks.example/T0/hunter2\"",
    "[source]\nurl = \"data\"\n[notify]\nwebhok = \"https://hooks.example/T0/hunter2\"",
    "[source]\nurl = \"data\"\n[notify]\ncommand = \"curl -H hunter2 https://hooks.example\"",
    "[source]\nurl = \"data\"\n[notify]\ntoken = \"hunter2\"",
    "[source]\nurl = \"postgres://ann:hunter2@h/d\"\nconections = 2",
    "[source]\nurl = \"postgres://ann%3Ahunter2@h:x/d\"",
    "[source]\nurl = \"postgres://h/d?password=hunter2&nonsense=1\"",
    "[source]\nurl = \"postgres://ann:hunter2@127.0.0.1:1/d\"",
    "[source]\nurl = \"data\"\n[target]\nurl = \"hooks.example.com/services/hunter2\"",
    "[source]\nurl = \"PGPASSWORD=hunter2 psql -h db\"",
    "[source]\nurl = \"postgres://ann;hunter2@127.0.0.1:1/d\"",
    "[source]\nadress = \"postgres://ann:\"hunter2@127.0.0.1:1/d\"",
    "[source]\nurl = \"postgres://ann@127.0.0.1:1/d?scram_client_key=hunter2\"",
    "[source]\nurl = \"ann@h:hunter2/d\"",
    "[source]\nurl = \"data\"\nmask_keys = \"hunter2\"",
    "[source]\nurl = \"data\"\nmaskkey = \"hunter2\"",
    "[source]\nurl = \"data\"\nmask-key = \"hunter2\"",
    "[source]\nurl = \"data\"\nmask_key = [\"hunter2\"]",
    "[source]\nurl = \"data\"\nmask_key = { a = \"hunter2\" }",
    "[source]\nurl = \"data\"\nmask_key = \"hunter2",
    "[source]\nurl = \"data\"\nmask_key = hunter2",
    "mask_key = \"hunter2\"\n[source]\nurl = \"data\"",
    "[source]\nurl = \"data\"\n[source.mask]\nmask_key = \"hunter2\"",
    "[source]\nurl = \"data\"\n[notify]\nslack = \"T0/hunter2\"",
    "[source]\nurl = \"data\"\n[target]\nurl = \"\"\nuser = \"ann:hunter2\"",
];

#[test]
fn no_secret_is_shown_however_its_line_is_misspelt() {
    for spelling in SPELLINGS {
        let toml = format!("name = \"p\"\n{spelling}\n[schedule]\ncron = \"0 3 * * *\"\n[summary.s]\n");
        let schema = "CREATE TABLE t (id int);";
        let project = Project::of(&toml, &[("s", "SELECT id FROM t")], schema, &[("t", "id\n1\n")]);
        for args in [
            vec!["check"],
            vec!["plan"],
            vec!["run"],
            vec!["run", "--format", "json"],
            vec!["schedule", "--list"],
            vec!["runs"],
            vec!["deliver"],
            vec!["snapshots", "list"],
            vec!["query"],
        ] {
            let mut args = args.clone();
            args.push("pipelines/p.toml");
            if args[0] == "query" {
                args.push("SELECT 1 AS one");
            }
            let ran = project.starmill(&args).never_shows(SECRET);
            let _ = ran;
        }
        // Nor is it kept anywhere beside the pipeline's own file.
        let kept = std::process::Command::new("grep")
            .args(["-rl", SECRET, "."])
            .current_dir(project.path("."))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&kept.stdout).trim(), "./pipelines/p.toml", "{spelling}");
        let named = std::process::Command::new("find")
            .args([".", "-name", "*hunter2*"])
            .current_dir(project.path("."))
            .output();
        assert_eq!(String::from_utf8_lossy(&named.unwrap().stdout), "", "{spelling}");
    }
}

#[test]
fn a_terminal_obeys_nothing_that_data_and_names_say() {
    let database = cluster().database();
    database.sql(
        "CREATE TABLE t (id text PRIMARY KEY, \"we\u{1b}[31mird\" text); \
         INSERT INTO t VALUES (E'a\\x1b]0;owned\\x07', E'one\\nerror: forged\\r'), ('pay \u{202e}001', 'x')",
    );
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{}\"\n[store]\nurl = \"out\"\n[summary.s]\nkey = [\"id\"]\n",
        database.url()
    );
    let project =
        Project::of(&toml, &[("s", "SELECT id, \"we\u{1b}[31mird\" AS \"v\u{202e}\" FROM t")], "", &[]);
    let harmless = |text: &str, what: &str| {
        let obeyed = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!text.chars().any(obeyed), "{what}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{what}: {text:?}");
    };
    let mut all = String::new();
    for round in 0..2 {
        let ran = project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        harmless(&ran.stdout, "run");
        harmless(&ran.stderr, "run");
        all.push_str(&ran.stdout);
        if round == 0 {
            database.sql("UPDATE t SET \"we\u{1b}[31mird\" = E'two\\nerror: forged\\x1b[2J' WHERE id LIKE 'a%'; DELETE FROM t WHERE id LIKE 'pay%'");
        }
    }
    assert!(all.contains("\\u{1b}"), "{all}");
    for args in [
        vec!["diff", "pipelines/p.toml", "latest~1"],
        vec!["snapshots", "show", "pipelines/p.toml"],
        vec!["plan", "pipelines/p.toml"],
        vec!["runs", "pipelines/p.toml", "latest"],
        vec!["query", "pipelines/p.toml", "SELECT * FROM s"],
        vec!["query", "pipelines/p.toml", "SELECT CAST(id AS int) AS n FROM s"],
        vec!["query", "pipelines/p.toml", "SELECT nothing FROM s"],
    ] {
        let ran = project.starmill(&args);
        harmless(&ran.stdout, &format!("{args:?}"));
        harmless(&ran.stderr, &format!("{args:?}"));
    }
}
