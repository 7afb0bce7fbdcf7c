//! Another reader of Parquet, to see what analysts see: DuckDB, which `tests/run` fetches.

use std::process::Command;

use super::{Project, root};

const SCRIPT: &str = r"
import sys, duckdb
db = duckdb.connect()
db.execute('SET TimeZone = \'UTC\'')
# On a slow machine it would be among the rows.
db.execute('SET enable_progress_bar = false')
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

const LAKE: &str = r"
import sys, duckdb, importlib.resources
db = duckdb.connect(config={'allow_unsigned_extensions': 'true'})
for package in ['ducklake', 'sqlite_scanner', 'postgres_scanner', 'httpfs']:
    folder = importlib.resources.files('duckdb_extension_' + package) / 'extensions'
    db.execute(f'LOAD \'{next(folder.rglob(package + chr(46) + chr(42)))}\'')
db.execute('SET TimeZone = \'UTC\'')
# On a slow machine it would be among the rows.
db.execute('SET enable_progress_bar = false')
db.execute(sys.argv[1])
for query in sys.argv[2:]:
    for row in db.execute(f'SELECT COLUMNS(*)::VARCHAR FROM ({query})').fetchall():
        print(','.join('' if value is None else value for value in row))
    print(chr(30), end='')
";

/// What DuckDB answers to some queries over a lake that it attaches as `lake`.
#[track_caller]
pub fn lake(attach: &str, queries: &[&str]) -> Vec<String> {
    asked_of_lake(attach, queries).unwrap_or_else(|error| panic!("{attach}\n{queries:?}\n{error}"))
}

/// The same, or what it says against them.
pub fn asked_of_lake(attach: &str, queries: &[&str]) -> Result<Vec<String>, String> {
    let python = root().join("target/peers/bin/python");
    assert!(python.exists(), "DuckDB is missing: run tests/run, which fetches it");
    let output = Command::new(python).args(["-c", LAKE, attach]).args(queries).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    Ok(text.split_terminator('\u{1e}').map(|answer| answer.trim_end_matches('\n').to_owned()).collect())
}

const DELTA: &str = r"
import sys, duckdb, importlib.resources, deltalake, polars
db = duckdb.connect(config={'allow_unsigned_extensions': 'true'})
folder = importlib.resources.files('duckdb_extension_delta') / 'extensions'
file = next(folder.rglob('*.duckdb_extension'))
db.execute(f'LOAD \'{file}\'')
db.execute('SET TimeZone = \'UTC\'')
# On a slow machine it would be among the rows.
db.execute('SET enable_progress_bar = false')
path, version = sys.argv[1], int(sys.argv[2])
at = {} if version < 0 else {'version': version}
def show(of):
    for row in db.execute(f'SELECT COLUMNS(*)::VARCHAR FROM {of} ORDER BY 1').fetchall():
        print(','.join('' if value is None else value for value in row))
    print(chr(30), end='')
option = '' if version < 0 else f', version => {version}'
show(f'delta_scan(\'{path}\'{option})')
db.register('theirs', deltalake.DeltaTable(path, **at).to_pyarrow_table())
show('theirs')
db.register('polars', polars.scan_delta(path, **at).collect().to_arrow())
show('polars')
";

/// The rows of a Delta table, at one of its versions or now, as DuckDB, deltalake and Polars read them.
#[track_caller]
pub fn delta(path: &std::path::Path, version: Option<u32>) -> Vec<String> {
    let python = root().join("target/peers/bin/python");
    let version = version.map_or("-1".to_owned(), |version| version.to_string());
    let output = Command::new(python).args(["-c", DELTA]).arg(path).arg(version).output().unwrap();
    assert!(output.status.success(), "{}\n{}", path.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\u{1e}').map(|answer| answer.trim_end_matches('\n').to_owned()).collect()
}
