//! A folder of CSV files is what Postgres would have made of them: the DDL that `pg_dump` prints types it, and what
//! Postgres would not have taken is refused.

use std::path::Path;
use std::process::Command;

use crate::support::{Cluster, Database, Project, cluster, cluster_of, other_servers, program};

const RICH: &str = "CREATE SCHEMA \"Sales\"; CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy'); \
    CREATE DOMAIN email AS varchar(40) NOT NULL CONSTRAINT has_at CHECK (VALUE LIKE '%_@_%') CHECK (VALUE <> 'a@b'); \
    CREATE DOMAIN small AS integer CHECK (VALUE >= 0 AND VALUE < 1000) DEFAULT 3; \
    CREATE FUNCTION loud(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN upper($1); -- ; ' \nEND;$$; \
    CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(5), mail email, feels mood DEFAULT 'sad', code char(3), size small, \
      doubled int GENERATED ALWAYS AS (id * 2) STORED, facts jsonb, CHECK (name <> code OR name IS NULL)); \
    CREATE TABLE \"Sales\".people (id bigserial, region text, part int, UNIQUE (region, part), CONSTRAINT known CHECK (region IN ('eu', 'us')), \
      CONSTRAINT own CHECK (length(trim(region)) > 0) NO INHERIT, UNIQUE (region, id) INCLUDE (part)); \
    ALTER TABLE \"Sales\".people ADD CONSTRAINT late CHECK (part < 100) NOT VALID; \
    ALTER TABLE \"Sales\".people ADD CONSTRAINT pk PRIMARY KEY (id); CREATE UNIQUE INDEX ON \"Sales\".people (lower(region)) WHERE part = 0; \
    CREATE TABLE \"Sales\".old (more text) INHERITS (\"Sales\".people); CREATE UNLOGGED TABLE \"Sales\".quick (id int UNIQUE, \"Order\" text[]); \
    CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at); CREATE TABLE parts_24 PARTITION OF parts FOR VALUES FROM ('2024-01-01') TO ('2025-01-01'); \
    CREATE VIEW happy AS SELECT * FROM people WHERE feels = 'happy'; CREATE INDEX ON people (name); \
    CREATE TRIGGER t BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); \
    COMMENT ON TABLE people IS 'who; \'; ALTER TABLE people ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON people USING (true); \
    INSERT INTO people (name, mail, feels, code, size, facts) VALUES ('Ann', 'ann@x', 'it''s ok', 'a', 7, '{\"a\": 1}'), (NULL, 'b@yy', 'happy', NULL, NULL, NULL); \
    INSERT INTO \"Sales\".people (region, part) VALUES ('eu', 1), ('us', NULL), ('us', NULL); INSERT INTO \"Sales\".quick VALUES (1, '{x,\"y,z\"}'); INSERT INTO parts VALUES (1, '2024-05-05')";

const TOML: &str = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\n";

const MODEL: &str = "SELECT p.id, p.name, p.mail, p.feels, p.code, p.size, s.region, s.part, CAST(q.\"Order\" AS text) AS orders, t.at \
    FROM people p LEFT JOIN \"Sales\".people s ON s.id = p.id LEFT JOIN \"Sales\".quick q ON q.id = p.id LEFT JOIN parts t ON t.id = p.id";

/// The database as `pg_dump` prints it and COPY writes it.
fn dumped(database: &Database, dump: &mut Command, folder: &Path) {
    let printed = dump.args(["--schema-only", "--dbname", &database.url()]).output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("schema.sql"), printed.stdout).unwrap();
    for (file, from) in [
        ("people.csv", "people"),
        ("Sales.people.csv", "\"Sales\".people"),
        ("Sales.quick.csv", "\"Sales\".quick"),
        ("parts.csv", "(SELECT * FROM parts)"),
    ] {
        let rows = database.sql(&format!("COPY {from} TO STDOUT (FORMAT csv, HEADER)"));
        std::fs::write(folder.join(file), rows + "\n").unwrap();
    }
}

fn same_star(server: &Cluster, dump: &mut Command) {
    let database = server.database();
    database.sql(RICH);
    let live = Project::over(&database.url(), "", MODEL);
    let question = ["query", "pipelines/p.toml", "SELECT * FROM s ORDER BY id", "--format", "csv"];
    live.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let answer = live.starmill(&question).exits(0).stdout;
    let folder = Project::over("data", "", MODEL);
    dumped(&database, dump, &folder.path("data"));
    folder.starmill(&["run", "pipelines/p.toml"]).exits(0);
    assert_eq!(
        folder.starmill(&question).exits(0).stdout,
        answer,
        "as version {} dumps it",
        server.version()
    );
    assert!(answer.contains("Ann") && answer.lines().count() == 3, "{answer}");
}

#[test]
fn what_pg_dump_prints_types_a_folder_and_gives_the_same_star_as_its_server() {
    same_star(cluster(), &mut program("pg_dump"));
}

pub fn other_dumps() {
    for programs in other_servers() {
        same_star(&cluster_of(&programs), &mut Command::new(programs.join("pg_dump")));
    }
}

#[test]
fn what_postgres_would_not_take_is_refused_with_its_line() {
    let before = "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN year AS integer CHECK (VALUE BETWEEN 1901 AND 2155); \
        CREATE DOMAIN mail AS text NOT NULL CONSTRAINT has_at CHECK (VALUE ~~ '%@%'::text);";
    // The column, values that are taken, one that is not and what is told of it.
    let cases: &[(&str, &[&str], &str, &[&str])] = &[
        (
            "v varchar(3)",
            &["abc", "äöü", "ab ", "abc  "],
            "abcd",
            &["t.csv:{line}: public.t.v: `abcd` has 4 characters, and the type 3"],
        ),
        ("v char(2)", &["a", "ab", "ab "], "abc", &["has 3 characters"]),
        ("v character varying(2) NOT NULL", &["ab"], "abc", &["has 3 characters"]),
        ("v mood", &["sad", ""], "hapy", &["`hapy` is no label of its type", "did you mean `happy`?"]),
        (
            "v year",
            &["1901", "2155", ""],
            "1900",
            &["t.csv:{line}: this row breaks the check year_check of public.t", "correct the row"],
        ),
        ("v mail", &["a@b"], "nobody", &["breaks the check has_at"]),
        ("v mail", &["a@b"], "", &["v is NULL, but declared NOT NULL"]),
        ("v int CHECK (v > 0)", &["1", ""], "0", &["breaks the check t_v_check", "CHECK (v > 0)"]),
        ("v int, CHECK (v <> id)", &["7", ""], "0", &["breaks the check t_check"]),
        ("v text CONSTRAINT few CHECK (v IN ('a', 'b'))", &["a", ""], "c", &["breaks the check few"]),
        (
            "v text CHECK ((v)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            &["a"],
            "c",
            &["t_v_check"],
        ),
        (
            "v int UNIQUE",
            &["1", "2", "", ""],
            "2",
            &["t.csv:{line}: the same v stands in line 3, and it is unique (t_v_key)"],
        ),
        ("v numeric(5,2) UNIQUE", &["1.5", "2"], "1.50", &["stands in line 2"]),
        ("v int, UNIQUE NULLS NOT DISTINCT (v)", &["1", ""], "", &["stands in line 3"]),
        ("v json", &["{}", "[1]"], "{a}", &["is not JSON"]),
        (
            "v varchar(3)[]",
            &["{abc,NULL}", "{}", ""],
            "{abc,defg}",
            &["has the element `defg`, which has 4 characters"],
        ),
        ("v year[]", &[""], "{1}", &["is of a domain that has conditions"]),
        (
            "v mood[]",
            &["{sad,happy}"],
            "{sad,hapy}",
            &["`hapy`, which is no label of its type", "did you mean `happy`?"],
        ),
    ];
    for (declared, good, bad, told) in cases {
        let table = format!("CREATE TABLE t (id int PRIMARY KEY, {declared})");
        let mut csv = "id,v\n".to_owned();
        for (id, value) in good.iter().enumerate() {
            csv.push_str(&format!(
                "{id},{}\n",
                if value.is_empty() { String::new() } else { format!("\"{}\"", value.replace('"', "\"\"")) }
            ));
        }
        let project = Project::of(
            "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\n",
            &[("s", "SELECT id, v FROM t")],
            &format!("{before}\n{table};\n"),
            &[("t", &csv)],
        );
        let database = cluster().database();
        database.sql(&format!("{before} {table}"));
        let load = |csv: &str| {
            let path = project.path("judge.csv");
            std::fs::write(&path, csv).unwrap();
            let copied = database
                .psql()
                .args(["-c", &format!("\\copy t FROM '{}' (FORMAT csv, HEADER)", path.display())])
                .output()
                .unwrap();
            database.sql("TRUNCATE t");
            copied.status.success()
        };
        assert!(load(&csv), "Postgres takes {good:?} for {declared}");
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        // A condition over both columns wants a row of its own before the one that breaks it.
        let over_both = declared.contains("<> id");
        let mut broken = if over_both { "id,v\n7,8\n".to_owned() } else { csv.clone() };
        let (line, id) = (broken.lines().count() + 1, if over_both { 0 } else { good.len() });
        let field = if bad.is_empty() { String::new() } else { format!("\"{bad}\"") };
        broken.push_str(&format!("{id},{field}\n"));
        assert!(!load(&broken), "Postgres refuses {bad:?} for {declared}");
        project.write("data/t.csv", &broken);
        let mut refused = project.starmill(&["run", "pipelines/p.toml"]).exits(5);
        for text in *told {
            refused = refused.warns(&text.replace("{line}", &line.to_string()));
        }
    }
}

#[test]
fn keys_of_several_columns_nul_bytes_and_checks_that_cannot_be_judged_are_told() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\n";
    let project = Project::of(
        toml,
        &[("s", "SELECT a, n FROM t")],
        "CREATE TABLE t (a int, b text, n int);\nALTER TABLE ONLY public.t\n    ADD CONSTRAINT whole PRIMARY KEY (a, b);",
        &[("t", "a,b,n\n1,x,1\n1,y,2\n")],
    );
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    // Also where the models don't read all of the key.
    project.write("data/t.csv", "a,b,n\n1,x,1\n2,x,1\n1,x,2\n");
    let twice = project.starmill(&["run", "pipelines/p.toml"]).exits(5);
    twice.warns("t.csv:4: the same a and b stands in line 2, and their combination is unique (whole)");
    project.write("data/t.csv", "a,b,n\n1,x,1\n2,,1\n");
    project
        .starmill(&["run", "pipelines/p.toml"])
        .exits(5)
        .warns("t.csv:3: b is NULL, but declared NOT NULL");
    project.write("data/t.csv", "a,b,n\n1,x\0y,1\n");
    project.starmill(&["run", "pipelines/p.toml"]).exits(5).warns("t.csv:2: a NUL byte");
    project.write("data/t.csv", "a,b,n\n1,x,1\n");
    project.write("data/schema.sql", "CREATE FUNCTION f(int) RETURNS boolean LANGUAGE sql AS 'SELECT true';\nCREATE TABLE t (a int, b text, n int, CONSTRAINT odd CHECK (f(n)));");
    for command in ["check", "run"] {
        let refused = project.starmill(&[command, "pipelines/p.toml"]).exits(5);
        refused
            .warns("schema.sql: the check odd of public.t cannot be judged here")
            .warns("leave it out of schema.sql");
    }
    project.write("data/schema.sql", "CREATE TABLE t (a int);\nCREATE TABLE public.t (a int);");
    project
        .starmill(&["check", "pipelines/p.toml"])
        .exits(5)
        .warns("schema.sql:2: public.t is declared a second time");
}

#[test]
fn a_table_without_columns_keeps_its_rows() {
    let database = cluster().database();
    database.sql("CREATE TABLE z (); INSERT INTO z DEFAULT VALUES; INSERT INTO z DEFAULT VALUES; INSERT INTO z DEFAULT VALUES; CREATE TABLE o (id int); INSERT INTO o VALUES (1), (2)");
    let toml = "name = \"p\"\n[source]\nurl = \"${S}\"\n[store]\nurl = \"out\"\n[summary.s]\ntotals = { n = \"SELECT count(*) FROM z\" }\n[summary.t]\n";
    let models = [("s", "SELECT count(*) AS n FROM z"), ("t", "SELECT o.id FROM o CROSS JOIN z")];
    let schema = "CREATE TABLE z ();\nCREATE TABLE o (id int);";
    let mut project = Project::of(toml, &models, schema, &[("z", "\n\n\n\n"), ("o", "id\n1\n2\n")]);
    for source in ["data".to_owned(), database.url()] {
        project.set("S", &source);
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        let asked = "SELECT (SELECT n FROM s) AS z, count(*) AS crossed FROM t";
        project.starmill(&["query", "pipelines/p.toml", asked, "--format", "csv"]).exits(0).says("3,6");
    }
}

#[test]
fn what_is_said_after_a_table_was_made_holds_too() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\n";
    let read = [("s", "SELECT id, v FROM t")];
    let of = |schema: &str, csv: &str| Project::of(toml, &read, schema, &[("t", csv)]);
    let table = "CREATE TABLE t (id int, v text);";
    of(&format!("{table} ALTER TABLE ONLY t ALTER COLUMN v SET NOT NULL;"), "id,v\n1,x\n2,\n")
        .starmill(&["run", "pipelines/p.toml"])
        .exits(5)
        .warns("t.csv:3: v is NULL, but declared NOT NULL");
    let inherited = "CREATE TABLE base (id int, CONSTRAINT small CHECK (id < 5)); CREATE TABLE t (v text) INHERITS (base);";
    of(inherited, "id,v\n1,x\n9,y\n")
        .starmill(&["run", "pipelines/p.toml"])
        .exits(5)
        .warns("t.csv:3: this row breaks the check small of public.t");
    for change in ["ALTER DOMAIN d ADD CHECK (VALUE > 0)", "ALTER TYPE mood ADD VALUE 'glad'"] {
        let schema = format!("CREATE DOMAIN d AS int; CREATE TYPE mood AS ENUM ('sad');\n{change};\n{table}");
        of(&schema, "id,v\n1,x\n")
            .starmill(&["check", "pipelines/p.toml"])
            .exits(5)
            .warns("schema.sql:2: a type is changed after it was made")
            .warns("write it as it is now");
    }
    let owner = format!("CREATE TYPE mood AS ENUM ('sad'); ALTER TYPE mood OWNER TO ann; {table}");
    of(&owner, "id,v\n1,x\n").starmill(&["run", "pipelines/p.toml"]).exits(0);
    // A file that two tables could be read from.
    of(&format!("{table} CREATE SCHEMA t; CREATE TABLE \"s.t\" (id int); CREATE SCHEMA s; CREATE TABLE s.t (id int);"), "id,v\n1,x\n")
        .starmill(&["check", "pipelines/p.toml"])
        .exits(5)
        .warns("s.t.csv could hold")
        .warns("leave one of the tables out of schema.sql");
}

#[test]
fn checks_know_the_order_of_an_enum_and_the_padding_of_a_char() {
    let toml = "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\n";
    let run = |check: &str, label: &str| {
        let schema = format!(
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TABLE t (id int, m mood, c char(4), CHECK ({check}));"
        );
        let rows = format!("id,m,c\n1,{label},ab\n");
        let project = Project::of(toml, &[("s", "SELECT id FROM t")], &schema, &[("t", &rows)]);
        project.starmill(&["run", "pipelines/p.toml"])
    };
    run("m > 'ok'", "happy").exits(0);
    // As a text it would be larger.
    run("m > 'ok'", "sad").exits(5).warns("this row breaks the check");
    let told = run("octet_length(c) = 4", "ok").exits(5);
    told.warns("cannot be judged here").warns("whose padding counts");
}

#[test]
fn a_table_that_is_changed_after_it_was_made_is_refused_with_the_line() {
    for change in [
        "ALTER TABLE t ALTER COLUMN v TYPE numeric(10,2)",
        "ALTER TABLE t ADD COLUMN w int",
        "ALTER TABLE t ADD w int",
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE public.t DROP CONSTRAINT t_pkey",
        "ALTER TABLE t OWNER TO me, RENAME TO u",
        "ALTER TABLE t SET SCHEMA app",
    ] {
        let schema = format!("CREATE TABLE t (id int PRIMARY KEY, v text);\n\n{change};");
        let project = Project::of(
            TOML,
            &[("s", "SELECT max(v) AS v FROM t")],
            &schema,
            &[("t", "id,v\n1,3.10\n2,10.5\n")],
        );
        project
            .starmill(&["run", "pipelines/p.toml"])
            .exits(5)
            .warns("schema.sql:3: a table is changed after it was made")
            .warns("leave the ALTER out");
    }
}

#[test]
fn what_every_spelling_of_an_alter_says_of_keys_is_held() {
    for (change, told) in [
        ("ALTER TABLE t ADD CHECK (v > 0)", "breaks the check"),
        ("ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (v) REFERENCES u (id), ADD UNIQUE (v)", "it is unique"),
        ("alter table if exists only t alter v set not null", "declared NOT NULL"),
    ] {
        let schema = format!(
            "CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, v int); {change};"
        );
        let rows = "id,v\n1,-1\n2,-1\n3,\n";
        let project = Project::of(
            TOML,
            &[("s", "SELECT sum(v) AS v FROM t")],
            &schema,
            &[("t", rows), ("u", "id\n1\n")],
        );
        project.starmill(&["run", "pipelines/p.toml"]).exits(5).warns(told);
    }
}

#[test]
fn names_without_a_schema_are_of_the_search_path() {
    for set in [
        "SET search_path=app",
        "SET search_path TO app, public",
        "set search_path = 'app'",
        "SET SESSION search_path = \"app\"",
    ] {
        let schema = format!("{set}; CREATE TABLE t (id int PRIMARY KEY);");
        let project =
            Project::of(TOML, &[("s", "SELECT count(*) AS n FROM app.t")], &schema, &[("app.t", "id\n1\n")]);
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    }
}

#[test]
fn a_time_of_more_digits_than_its_type_has_is_refused_where_postgres_would_keep_another() {
    for (declared, good, bad) in [
        ("timestamp(0)", "2024-01-01 23:59:59.000", "2024-01-01 23:59:59.6"),
        ("timestamp(3) with time zone", "2024-01-01 23:59:59.125+01", "2024-01-01 23:59:59.1251+01"),
        ("time(0)", "23:59:59", "23:59:59.6"),
    ] {
        let schema = format!("CREATE TABLE t (id int PRIMARY KEY, v {declared})");
        let rows = |value: &str| format!("id,v\n1,{value}\n2,\n");
        let project = Project::of(TOML, &[("s", "SELECT id, v FROM t")], &schema, &[("t", &rows(good))]);
        project.starmill(&["run", "pipelines/p.toml"]).exits(0);
        project.write("data/t.csv", &rows(bad));
        project
            .starmill(&["run", "pipelines/p.toml"])
            .exits(5)
            .warns("t.csv:2")
            .warns("more digits after the second");
    }
}

#[test]
fn an_array_of_a_type_by_another_name_is_the_same_array() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, a int[], b int8[], c varchar(5)[], d bool[], e float8[], f int4[]);";
    let toml =
        "name = \"p\"\n[source]\nurl = \"data\"\n[store]\nurl = \"out\"\n[summary.s]\nkey = [\"id\"]\n";
    let select =
        "SELECT id, a, a[1] + b[1] AS sum, c[1] AS c, d[1] AS d, e[1] AS e, cardinality(f) AS f FROM t";
    let row = "id,a,b,c,d,e,f\n1,\"{1,2}\",\"{3}\",\"{x}\",\"{t}\",\"{1.5}\",\"{1,2,3}\"\n";
    let project = Project::of(toml, &[("s", select)], schema, &[("t", row)]);
    project.starmill(&["run", "pipelines/p.toml"]).exits(0);
    let asked = project
        .starmill(&["query", "pipelines/p.toml", "SELECT * FROM s", "--format", "csv"])
        .exits(0)
        .stdout;
    assert_eq!(asked, "id,a,sum,c,d,e,f\n1,\"[1, 2]\",4,x,true,1.5,3\n");
}
