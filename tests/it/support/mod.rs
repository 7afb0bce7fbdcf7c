//! A project folder of one's own, the binary, and a throw-away Postgres.

mod bucket;
pub mod clouds;
mod cluster;
mod peer;
mod proxy;
mod receiver;
pub mod scheduler;
mod terminal;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub use bucket::{Bucket, Fate, Meddler, Seen};
pub use cluster::{Cluster, Database, cluster, cluster_of, cluster_with, free_port, other_servers, program};
pub use peer::{asked_of_lake, delta, lake, peer, seen_in_star};
pub use proxy::Proxy;
pub use receiver::{Receiver, fetch};
pub use terminal::Terminal;

/// A copy of the shop in a folder that goes with the test.
pub struct Project {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

const SINGLE: &str = "FROM order_items AS i";
const DOUBLED: &str = "FROM (SELECT * FROM order_items UNION ALL SELECT * FROM order_items) AS i";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Project {
    /// The shop on its CSV files.
    pub fn shop() -> Project {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pipelines", "sql", "data"] {
            copy_folder(&root().join(name), &folder.path().join(name));
        }
        Project { folder, variables: Vec::new() }
    }

    /// The shop on a database that has its tables.
    pub fn shop_on(database: &Database) -> Project {
        let mut project = Project::shop();
        project.set("SHOP_SOURCE", &database.url());
        project
    }

    /// A pipeline of the test's own: its TOML, its models, and the tables of its folder source.
    pub fn of(toml: &str, models: &[(&str, &str)], schema: &str, tables: &[(&str, &str)]) -> Project {
        let project = Project { folder: tempfile::tempdir().unwrap(), variables: Vec::new() };
        project.write("pipelines/p.toml", toml);
        for (name, sql) in models {
            project.write(&format!("sql/p/{name}.sql"), sql);
        }
        if !schema.is_empty() {
            project.write("data/schema.sql", schema);
        }
        for (name, csv) in tables {
            project.write(&format!("data/{name}.csv"), csv);
        }
        project
    }

    /// A pipeline over a database, with further settings of its source, and one summary `s`.
    pub fn over(url: &str, settings: &str, sql: &str) -> Project {
        let toml = format!(
            "name = \"p\"\n[source]\nurl = \"{url}\"\n{settings}\n[store]\nurl = \"out\"\n[summary.s]\n"
        );
        Project::of(&toml, &[("s", sql)], "", &[])
    }

    pub fn set(&mut self, variable: &str, value: &str) {
        self.variables.retain(|(name, _)| name != variable);
        self.variables.push((variable.to_owned(), value.to_owned()));
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, relative: &str) -> String {
        std::fs::read_to_string(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    /// Replaces text in a file, and fails when it isn't there: a test must not pass by a typo.
    pub fn edit(&self, relative: &str, from: &str, to: &str) {
        let text = self.read(relative);
        assert!(text.contains(from), "{relative} has no {from:?}");
        self.write(relative, &text.replacen(from, to, 1));
    }

    /// Makes the fact have every item twice, which the audit refuses.
    pub fn double_items(&self) {
        self.edit("sql/shop/fact_order_items.sql", SINGLE, DOUBLED);
    }

    /// Takes that back.
    pub fn single_items(&self) {
        self.edit("sql/shop/fact_order_items.sql", DOUBLED, SINGLE);
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starmill"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        for name in [
            "SHOP_SOURCE",
            "SHOP_STORE",
            "SHOP_TARGET",
            "STARMILL_FAULT",
            "STARMILL_LOG",
            "STARMILL_LOG_FORMAT",
            "STARMILL_CLOCK",
            "PGPASSWORD",
            "PGHOST",
            "PGPORT",
            "PGUSER",
            "PGDATABASE",
            "PGSERVICE",
            "PGSSLMODE",
            "PGSSLROOTCERT",
            "SSL_CERT_FILE",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_PROFILE",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
        ] {
            command.env_remove(name);
        }
        command.env("NO_COLOR", "1");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn starmill(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran::new(args, self.folder.path(), output)
    }

    /// Runs the shop, and its report as JSON. It must have gone well.
    pub fn night(&self) -> serde_json::Value {
        self.starmill(&["run", "pipelines/shop.toml", "--format", "json"]).exits(0).json()
    }

    /// A run with a fault armed.
    pub fn starmill_with_fault(&self, args: &[&str], fault: &str) -> Ran {
        let output = self.command(args).env("STARMILL_FAULT", fault).output().unwrap();
        Ran::new(args, self.folder.path(), output)
    }

    pub fn start(&self, args: &[&str], fault: Option<&str>) -> Child {
        let mut command = self.command(args);
        if let Some(fault) = fault {
            command.env("STARMILL_FAULT", fault);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The id of the published snapshot, if there is one.
    pub fn latest(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.path("out/shop/latest.json")).ok()?;
        let latest: serde_json::Value = serde_json::from_str(&text).unwrap();
        Some(latest["snapshot"].as_str().unwrap().to_owned())
    }

    /// What lies in a folder, sorted.
    pub fn entries(&self, relative: &str) -> Vec<String> {
        let Ok(found) = std::fs::read_dir(self.path(relative)) else { return Vec::new() };
        let mut names: Vec<String> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The file that the first part of a table of a snapshot is.
    pub fn data_file(&self, store: &str, snapshot: &str, table: &str) -> String {
        let link = self.path(&format!("{store}/snapshots/{snapshot}/{table}/part-0.parquet"));
        let target = std::fs::read_link(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
        format!("{store}/tables/{table}/{}", target.file_name().unwrap().to_str().unwrap())
    }

    /// Every data file that lies in a store.
    pub fn data_files(&self, store: &str) -> Vec<String> {
        let tables = self.entries(&format!("{store}/tables"));
        let files = tables.iter().flat_map(|table| {
            let files = self.entries(&format!("{store}/tables/{table}"));
            let files = files.into_iter().filter(|file| file != "_delta_log");
            files.map(move |file| format!("{table}/{file}"))
        });
        files.collect()
    }

    /// Every data file that some snapshot names.
    pub fn named_files(&self, store: &str) -> Vec<String> {
        let mut named = BTreeSet::new();
        for id in self.entries(&format!("{store}/snapshots")) {
            let manifest = self.read(&format!("{store}/snapshots/{id}/manifest.json"));
            let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
            for table in manifest["tables"].as_array().unwrap() {
                for file in table["files"].as_array().unwrap() {
                    let (table, file) = (table["name"].as_str().unwrap(), file["name"].as_str().unwrap());
                    named.insert(format!("{table}/{file}"));
                }
            }
        }
        named.into_iter().collect()
    }

    /// Every published file is there, whole, and has the hash that its manifest says.
    pub fn assert_store_is_whole(&self) {
        use sha2::Digest;
        let id = self.latest().expect("something is published");
        let folder = format!("out/shop/snapshots/{id}");
        let manifest: serde_json::Value =
            serde_json::from_str(&self.read(&format!("{folder}/manifest.json"))).unwrap();
        let tables = manifest["tables"].as_array().unwrap();
        assert!(!tables.is_empty());
        for table in tables {
            let name = table["name"].as_str().unwrap();
            for (number, file) in table["files"].as_array().unwrap().iter().enumerate() {
                let path = format!("out/shop/tables/{name}/{}", file["name"].as_str().unwrap());
                let shown = self.path(&format!("{folder}/{name}/part-{number}.parquet"));
                assert_eq!(
                    shown.canonicalize().ok(),
                    self.path(&path).canonicalize().ok(),
                    "what a person opens: {}",
                    shown.display()
                );
                let bytes = std::fs::read(self.path(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
                let hash: String =
                    sha2::Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
                        let _ = write!(text, "{byte:02x}");
                        text
                    });
                assert_eq!(hash, file["sha256"].as_str().unwrap(), "{path}");
            }
        }
    }
}

/// What a command did.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    shown: String,
}

impl Ran {
    fn new(args: &[&str], folder: &Path, output: Output) -> Ran {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let shown = format!(
            "starmill {}\nin {}\nexit: {:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            args.join(" "),
            folder.display(),
            output.status
        );
        assert!(!stderr.contains("panicked"), "{shown}");
        Ran { code: output.status.code(), stdout, stderr, shown }
    }

    pub fn of(child: Child) -> Ran {
        let output = child.wait_with_output().unwrap();
        Ran::new(&["(started before)"], Path::new("-"), output)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}", self.shown);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.stdout.contains(text), "stdout lacks {text:?}\n{}", self.shown);
        self
    }

    #[track_caller]
    pub fn warns(self, text: &str) -> Ran {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{}", self.shown);
        self
    }

    #[track_caller]
    pub fn never_shows(self, secret: &str) -> Ran {
        assert!(
            !self.stdout.contains(secret) && !self.stderr.contains(secret),
            "{secret:?} is shown\n{}",
            self.shown
        );
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{}", self.shown))
    }
}

/// Compares a whole output with what `tests/it/expected` says; STARMILL_TEST_BLESS=1 writes it there.
#[track_caller]
pub fn assert_output(name: &str, output: &str) {
    assert_document(&format!("tests/it/expected/{name}"), output);
}

/// The same for a page of the repository that is printed.
#[track_caller]
pub fn assert_document(name: &str, output: &str) {
    let path = root().join(name);
    if std::env::var_os("STARMILL_TEST_BLESS").is_some() {
        std::fs::write(&path, output).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(output == expected, "{name} differs; expected:\n{expected}\nbut got:\n{output}");
}

/// A table's entry in a report's diff.
pub fn diff_of<'a>(report: &'a serde_json::Value, table: &str) -> &'a serde_json::Value {
    let tables = report["diff"].as_array().unwrap();
    tables
        .iter()
        .find(|entry| entry["table"] == table)
        .unwrap_or_else(|| panic!("no diff of {table} in {report:#}"))
}

/// Added, removed and changed rows of a table in a report's diff.
pub fn counts(report: &serde_json::Value, table: &str) -> (u64, u64, u64) {
    let entry = diff_of(report, table);
    let count = |name: &str| entry[name].as_u64().unwrap();
    (count("added"), count("removed"), count("changed"))
}

/// What happens in the shop: customer 17 goes with all their orders, and 50001 comes with one.
pub const A_CUSTOMER_GOES_AND_ONE_COMES: &str = "DELETE FROM order_items WHERE order_id IN (SELECT order_id FROM orders WHERE customer_id = 17); \
         DELETE FROM orders WHERE customer_id = 17; DELETE FROM addresses WHERE customer_id = 17; DELETE FROM customers WHERE customer_id = 17; \
         INSERT INTO customers (customer_id, full_name) VALUES (50001, 'Late'); INSERT INTO addresses (address_id, customer_id, street, city, postcode) VALUES (70001, 50001, 's', 'c', 'p'); \
         INSERT INTO orders (order_id, customer_id, address_id, ordered_at, order_total) VALUES (90001, 50001, 70001, '2024-03-03 10:00:00+00', 5); \
         INSERT INTO order_items VALUES (99998, 90001, 1, 1, 5.00)";

/// How many rounds: a few each time, hundreds when STARMILL_TEST_ROUNDS asks for them.
pub fn rounds(few: usize) -> usize {
    match std::env::var("STARMILL_TEST_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("STARMILL_TEST_ROUNDS is a number"),
        Err(_) => few,
    }
}

/// Waits for what another process does, and fails after a while.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited a minute for: {what}");
}

/// What changes from run to run, made the same: ids, times, durations, sizes.
pub fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split(' ').map(steady_word).collect();
        let _ = writeln!(out, "{}", words.join(" ").trim_end());
    }
    out
}

fn steady_word(word: &str) -> String {
    let bare = word.trim_matches(|c: char| c == ',' || c == '.' || c == ';');
    let is_id = bare.len() == 21
        && bare.as_bytes()[8] == b'T'
        && bare.as_bytes()[16] == b'-'
        && bare.as_bytes()[..8].iter().all(u8::is_ascii_digit);
    if is_id {
        return word.replace(bare, "<run>");
    }
    if let Some(at) = word.find("/snapshots/") {
        return format!("{}/snapshots/<run>", &word[..at]);
    }
    word.to_owned()
}

/// Numbers with a decimal point and a unit after them (`0.12 s`, `1.24 kB`) become `<n>`.
pub fn without_costs(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        for at in 1..words.len() {
            let unit = words[at].trim_end_matches([',', '.']);
            if ["s", "B", "kB", "MB", "GB"].contains(&unit) && words[at - 1].parse::<f64>().is_ok() {
                words[at] = if unit == "s" { words[at].clone() } else { words[at].replace(unit, "<size>") };
                words[at - 1] = "<n>".to_owned();
            }
        }
        let indent = line.len() - line.trim_start().len();
        lines.push(format!("{}{}", " ".repeat(indent), words.join(" ")));
    }
    lines.join("\n") + "\n"
}
