//! Another reader of Parquet, to see what analysts see: DuckDB, which `tests/run` fetches.

use std::process::Command;

use super::{Project, root};

const SCRIPT: &str = r"
import sys, duckdb
db = duckdb.connect()
db.execute('SET TimeZone = \'UTC\'')
# A float as Postgres prints it: shortest, and without a fraction that is none.
db.execute('CREATE MACRO float_text(v) AS CASE WHEN isnan(v) THEN \'NaN\' WHEN isinf(v) THEN CASE WHEN v > 0 THEN \'Infinity\' ELSE \'-Infinity\' END ELSE regexp_replace(v::VARCHAR, \'[.]0$\', \'\') END')
for row in db.execute(sys.argv[1]).fetchall():
    print('|'.join('NULL' if value is None else str(value) for value in row))
";

/// The rows that it answers, a line each.
#[track_caller]
pub fn peer(sql: &str) -> String {
    let python = root().join("target/peers/bin/python");
    assert!(python.exists(), "DuckDB is missing: run tests/run, which fetches it");
    let output = Command::new(python).args(["-c", SCRIPT, sql]).output().unwrap();
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end_matches('\n').to_owned()
}

/// What it sees in the published table `s` of a project whose store is `out`.
#[track_caller]
pub fn seen_in_star(project: &Project, select: &str) -> String {
    peer(&format!("SELECT {select} FROM '{}'", project.path("out/latest/s/*.parquet").display()))
}
