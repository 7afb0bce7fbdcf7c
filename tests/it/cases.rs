//! The statements of `tests/dialect/*.slt`: each is answered as Postgres answers it, or refused in the words that its
//! file expects. `tests/run dialect --update` has Postgres write the answers anew; whoever finds a statement that is not
//! there adds it with `query T rowsort`, or `statement error` and the words.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sqllogictest::{DefaultColumnType, ExpectedError, QueryExpect, Record, StatementExpect};

use crate::dialect::{TABLES, ZONE, project};
use crate::support::{Cluster, Database, cluster, cluster_of, other_servers, rounds};

type Case = Record<DefaultColumnType>;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialect");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "slt"));
    files.sort();
    files
}

fn cases(path: &Path) -> Vec<Case> {
    sqllogictest::parse_file(path).unwrap()
}

/// The awkward rows in a database of the pipelines' zone.
pub fn judge(cluster: &Cluster) -> Database {
    let database = cluster.database();
    database.sql(TABLES);
    let name = database.url().rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    database.sql(&format!("ALTER DATABASE \"{name}\" SET timezone = '{ZONE}'"));
    database
}

/// The rows of a relation as lines, in order: values by a bar, numerics without zeros that say nothing.
fn rows(database: &Database, relation: &str) -> Vec<String> {
    let columns = database.sql(&format!(
        "SELECT string_agg(format($f$coalesce(replace(replace(%s, E'\\n', '\\n'), E'\\t', '\\t'), 'NULL')$f$, \
         CASE WHEN atttypid = 'numeric'::regtype THEN format('trim_scale(%I)::text', attname) ELSE format('%I::text', attname) END), \
         ' || ''|'' || ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '{relation}'::regclass AND attnum > 0"
    ));
    let mut found: Vec<String> = database
        .sql(&format!("SELECT '|' || {} || '|' FROM {relation}", columns.trim()))
        .lines()
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

/// What Postgres itself says.
fn judged(database: &Database, sql: &str) -> Vec<String> {
    database.sql("DROP TABLE IF EXISTS judged");
    database.sql(&format!("CREATE TABLE judged AS {sql}"));
    rows(database, "judged")
}

fn answered(case: &Case) -> Option<(&str, &[String])> {
    match case {
        Record::Query { sql, expected: QueryExpect::Results { results, .. }, .. } => Some((sql, results)),
        _ => None,
    }
}

fn refused(case: &Case) -> Option<(&str, &ExpectedError)> {
    match case {
        Record::Statement { sql, expected: StatementExpect::Error(error), .. } => Some((sql, error)),
        _ => None,
    }
}

/// One file: its answers in one night, its refusals in one check.
#[track_caller]
fn hold(path: &Path) {
    let cases = cases(path);
    let known = cases.iter().all(|case| {
        answered(case).is_some()
            || refused(case).is_some()
            || matches!(case, Record::Comment(_) | Record::Newline | Record::Control(_))
    });
    assert!(known, "{}: a case is neither a query with rows nor a statement with an error", path.display());
    let database = judge(cluster());
    let mut wrong = String::new();
    let queries: Vec<(&str, &[String])> = cases.iter().filter_map(answered).collect();
    let statements: Vec<&str> = queries.iter().map(|(sql, _)| *sql).collect();
    if !statements.is_empty() {
        project(&database, &statements, true).starmill(&["run", "pipelines/p.toml"]).exits(0);
    }
    for (number, (sql, expected)) in queries.iter().enumerate() {
        let found = rows(&database, &format!("mart.m{number}"));
        if found != **expected {
            let _ = writeln!(wrong, "{sql}\n  expected {expected:?}\n  found    {found:?}\n");
        }
    }
    let refusals: Vec<(&str, &ExpectedError)> = cases.iter().filter_map(refused).collect();
    let statements: Vec<&str> = refusals.iter().map(|(sql, _)| *sql).collect();
    if !statements.is_empty() {
        let checked = project(&database, &statements, false);
        let told = checked.starmill(&["check", "pipelines/p.toml", "--format", "json"]).exits(3).json();
        for (number, (sql, expected)) in refusals.iter().enumerate() {
            let file = format!("sql/p/m{number}.sql");
            let diagnostics = told["error"]["diagnostics"].as_array().unwrap();
            let mut said = diagnostics.iter().filter(|found| found["place"]["file"] == file.as_str());
            if !said.any(|found| expected.is_match(found["message"].as_str().unwrap(), None)) {
                let _ = writeln!(wrong, "{sql}\n  is not refused with {expected:?}\n");
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{wrong}", path.display());
}

/// Has Postgres answer every query of a file again.
fn update(path: &Path) {
    let database = judge(cluster());
    let mut text = String::new();
    for mut case in cases(path) {
        if let Record::Query { sql, expected: QueryExpect::Results { results, .. }, .. } = &mut case {
            *results = judged(&database, sql);
        }
        let _ = writeln!(text, "{case}");
    }
    std::fs::write(path, text).unwrap();
}

fn family(name: &str) {
    let path = files().into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == name)).unwrap();
    if std::env::var_os("STARMILL_TEST_UPDATE").is_some() {
        update(&path);
    }
    hold(&path);
}

#[test]
fn enums_are_answered_as_in_postgres_or_refused() {
    family("enums");
}

#[test]
fn remedies_are_answered_as_in_postgres() {
    family("remedies");
}

#[test]
fn arithmetic_is_answered_as_in_postgres_or_refused() {
    family("arithmetic");
}

#[test]
fn arrays_are_answered_as_in_postgres_or_refused() {
    family("arrays");
}

#[test]
fn daily_models_are_answered_as_in_postgres_or_refused() {
    family("models");
}

#[test]
fn json_is_answered_as_in_postgres_or_refused() {
    family("json");
}

#[test]
fn queries_are_answered_as_in_postgres_or_refused() {
    family("queries");
}

#[test]
fn what_once_went_wrong_is_answered_as_in_postgres_or_refused() {
    family("found");
}

#[test]
fn what_postgres_rejects_is_refused() {
    family("rejected");
}

#[test]
fn texts_are_answered_as_in_postgres_or_refused() {
    family("text");
}

#[test]
fn times_are_answered_as_in_postgres_or_refused() {
    family("times");
}

#[test]
fn no_file_of_cases_is_left_out() {
    let names: Vec<String> =
        files().iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        [
            "arithmetic",
            "arrays",
            "enums",
            "found",
            "json",
            "models",
            "queries",
            "rejected",
            "remedies",
            "text",
            "times"
        ]
    );
    let all: usize = files().iter().map(|path| cases(path).iter().filter_map(answered).count()).sum();
    assert!(all >= 900, "{all} statements are answered");
}

/// Other servers give the answers that stand in the files: one in twenty each time, all in the long form.
pub fn judged_by_other_servers() {
    let step = if rounds(0) > 0 { 1 } else { 20 };
    for programs in other_servers() {
        let cluster = cluster_of(&programs);
        let database = judge(&cluster);
        let mut differing = String::new();
        for path in files() {
            for (sql, expected) in cases(&path).iter().filter_map(answered).step_by(step) {
                let found = judged(&database, sql);
                if found != expected {
                    let _ = writeln!(differing, "{sql}\n  expected {expected:?}\n  found    {found:?}\n");
                }
            }
        }
        assert!(differing.is_empty(), "{}:\n{differing}", programs.display());
    }
}

/// A remedy that names columns, functions or labels of the statement, or only what the engine guesses.
fn is_of_the_statement(help: &str) -> bool {
    let begins = ["columns here", "did you mean", "possible column", "has type", "- can only be used"];
    begins.iter().any(|begin| help.starts_with(begin))
        || [
            "to GROUP BY, or aggregate it: max(",
            "`allow = [",
            "the source has ",
            "tables of the source",
            "its labels: ",
        ]
        .iter()
        .any(|part| help.contains(part))
}

#[test]
fn every_remedy_that_is_printed_was_followed_over_the_same_rows() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialect/remedies.slt"))
            .unwrap();
    // One after which nothing is asked was not followed.
    let followed = text.split("\n# remedy: ").skip(1).map(|part| (part.lines().next().unwrap(), part));
    for (remedy, part) in followed.clone() {
        assert!(part.contains("\nquery T rowsort\n"), "nothing follows the remedy: {remedy}");
    }
    let known: Vec<&str> = followed
        .map(|(remedy, _)| remedy)
        .chain(text.lines().filter_map(|line| line.strip_prefix("# no SQL: ")))
        .collect();
    let database = judge(cluster());
    let refusals: Vec<String> = files()
        .iter()
        .flat_map(|path| cases(path))
        .filter_map(|case| refused(&case).map(|(sql, _)| sql.to_owned()))
        .collect();
    let statements: Vec<&str> = refusals.iter().map(String::as_str).collect();
    let checked = project(&database, &statements, false);
    let told = checked.starmill(&["check", "pipelines/p.toml", "--format", "json"]).exits(3).json();
    let mut printed: Vec<&str> = told["error"]["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|found| found["help"].as_str())
        .filter(|help| !is_of_the_statement(help) && !known.contains(help))
        .collect();
    printed.sort_unstable();
    printed.dedup();
    assert!(printed.is_empty(), "nobody followed these remedies:\n{}", printed.join("\n"));
}
