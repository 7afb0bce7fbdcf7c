//! Connections as psql users expect them: TLS by `sslmode`, service files, local sockets.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::support::{Cluster, Project, cluster, cluster_with};

/// One row, and whether a session is encrypted, as the server sees it.
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); \
    CREATE FUNCTION encrypted() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'";

/// A server that speaks TLS, and the certificates around it.
struct Secure {
    cluster: Cluster,
    folder: tempfile::TempDir,
}

impl Secure {
    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn url(&self, role: &str, host: &str, parameters: &str) -> String {
        format!("postgres://{role}@{host}:{}/postgres?{parameters}", self.cluster.port())
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn write(path: PathBuf, text: &str) {
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    if nix::unistd::geteuid().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        std::os::unix::fs::chown(&path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    }
}

fn secure() -> &'static Secure {
    static SECURE: OnceLock<Secure> = OnceLock::new();
    SECURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (authority("our authority"), authority("another authority"));
        let server_key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let server = server.signed_by(&server_key, &ours).unwrap();
        let card_key = KeyPair::generate().unwrap();
        let card = named("carded").signed_by(&card_key, &ours).unwrap();
        let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        file("ca.crt", &ours.pem());
        file("other.crt", &other.pem());
        file("self.crt", &server.pem());
        file("card.crt", &card.pem());
        file("card.key", &card_key.serialize_pem());
        let rules = "hostssl all only_tls all trust\nhost all only_tls all reject\n\
                     hostnossl all only_plain all trust\nhost all only_plain all reject\n\
                     hostssl all carded all cert";
        let cluster = cluster_with(rules, |data: &Path| {
            write(data.join("server.crt"), &server.pem());
            write(data.join("server.key"), &server_key.serialize_pem());
            write(data.join("root.crt"), &ours.pem());
            let settings = data.join("postgresql.conf");
            let text = std::fs::read_to_string(&settings).unwrap();
            std::fs::write(&settings, format!("{text}\nssl = on\nssl_ca_file = 'root.crt'\n")).unwrap();
        });
        for role in ["only_tls", "only_plain", "carded"] {
            cluster.admin().sql(&format!("CREATE ROLE {role} LOGIN"));
        }
        cluster.admin().sql(&format!("{TABLE}; GRANT SELECT ON t TO PUBLIC"));
        Secure { cluster, folder }
    })
}

/// A pipeline that tells whether its session was encrypted.
fn project(url: &str) -> Project {
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{url}\"\n[store]\nurl = \"out/shop\"\n[summary.s]\nkey = [\"id\"]\n[[summary.s.control]]\n\
         name = \"encrypted\"\nsource = \"SELECT count(*) FROM t WHERE encrypted()\"\n\
         star = \"SELECT count(*) FROM s\"\n"
    );
    Project::of(&toml, &[("s", "SELECT id FROM t")], "", &[])
}

const RUN: [&str; 2] = ["run", "pipelines/p.toml"];

#[test]
fn each_sslmode_promises_what_libpq_promises() {
    let secure = secure();
    let (ca, other, own) = (secure.file("ca.crt"), secure.file("other.crt"), secure.file("self.crt"));
    let root = |mode: &str, file: &str| format!("sslmode={mode}&sslrootcert={file}");
    // 0 is encrypted, 7 is not: the pipeline's control counts it.
    for (role, host, parameters, code, says) in [
        ("only_tls", "localhost", "".to_owned(), 0, ""),
        ("only_tls", "localhost", "sslmode=prefer".to_owned(), 0, ""),
        ("only_tls", "localhost", "sslmode=allow".to_owned(), 0, ""),
        ("only_tls", "localhost", "sslmode=require".to_owned(), 0, ""),
        ("only_tls", "localhost", "sslmode=disable".to_owned(), 4, "pg_hba.conf"),
        ("only_plain", "localhost", "sslmode=prefer".to_owned(), 7, "encrypted"),
        ("only_plain", "localhost", "sslmode=require".to_owned(), 4, "pg_hba.conf"),
        ("postgres", "localhost", "sslmode=allow".to_owned(), 7, "encrypted"),
        ("postgres", "localhost", "sslmode=prefer".to_owned(), 0, ""),
        ("postgres", "127.0.0.1", root("verify-ca", &ca), 0, ""),
        ("postgres", "localhost", root("verify-full", &ca), 0, ""),
        ("postgres", "127.0.0.1", root("verify-full", &ca), 4, "is made out to another host"),
        ("postgres", "localhost", root("verify-ca", &other), 4, "give its CA with sslrootcert"),
        ("postgres", "localhost", root("require", &other), 4, "give its CA with sslrootcert"),
        ("postgres", "localhost", root("require", &ca), 0, ""),
        ("postgres", "localhost", root("verify-full", &own), 0, ""),
        ("postgres", "127.0.0.1", root("verify-full", &own), 4, "is made out to another host"),
        ("postgres", "localhost", "sslmode=verify-full".to_owned(), 3, "add sslrootcert=FILE"),
        (
            "postgres",
            "localhost",
            "sslmode=require&sslrootcert=system".to_owned(),
            3,
            "add sslmode=verify-full",
        ),
        ("postgres", "localhost", "sslmode=verify-full&sslrootcert=system".to_owned(), 4, "sslrootcert=FILE"),
        ("postgres", "localhost", "sslmode=verified".to_owned(), 3, "verify-ca and verify-full"),
        ("postgres", "localhost", root("verify-ca", "/no/such/file"), 3, "cannot read /no/such/file"),
        ("carded", "localhost", "sslmode=require".to_owned(), 4, "certificate"),
        (
            "carded",
            "localhost",
            format!("sslmode=require&sslcert={}&sslkey={}", secure.file("card.crt"), secure.file("card.key")),
            0,
            "",
        ),
    ] {
        let mut project = project(&secure.url(role, host, &parameters));
        project.set("HOME", project.path("").to_str().unwrap());
        let ran = project.starmill(&RUN);
        assert_eq!(ran.code, Some(code), "{role} {parameters}: {}{}", ran.stdout, ran.stderr);
        assert!(
            format!("{}{}", ran.stdout, ran.stderr).contains(says),
            "{role} {parameters}: {}",
            ran.stderr
        );
    }
}

#[test]
fn the_system_s_roots_verify_a_server_too() {
    let secure = secure();
    let mut project = project(&secure.url("postgres", "localhost", "sslmode=verify-full&sslrootcert=system"));
    project.set("SSL_CERT_FILE", &secure.file("ca.crt"));
    project.starmill(&RUN).exits(0);
}

#[test]
fn a_root_certificate_in_the_home_folder_is_found() {
    let secure = secure();
    let mut project = project(&secure.url("postgres", "localhost", "sslmode=verify-full"));
    project.set("HOME", project.path("").to_str().unwrap());
    project.write(".postgresql/root.crt", &std::fs::read_to_string(secure.file("ca.crt")).unwrap());
    project.starmill(&RUN).exits(0);
    project.write(".postgresql/root.crt", &std::fs::read_to_string(secure.file("other.crt")).unwrap());
    project.starmill(&RUN).exits(4);
}

#[test]
fn a_server_without_tls_is_read_plainly_unless_that_is_refused() {
    let plain = cluster().database();
    plain.sql(TABLE);
    project(&plain.url()).starmill(&RUN).exits(7).says("encrypted");
    let refused = project(&format!("{}?sslmode=require", plain.url())).starmill(&RUN).exits(4);
    refused.warns("turn ssl on in the server");
}

#[test]
fn a_service_and_the_variables_fill_what_the_url_leaves_out() {
    let source = cluster().database();
    source.sql(&format!("{TABLE}; GRANT SELECT ON t TO guarded"));
    let mut project = project("postgres:///?service=night");
    let port = cluster().port();
    project.write(
        "services",
        &format!(
            "[other]\nhost=nowhere\n[night]\nhost=127.0.0.1\nport={port}\ndbname={}\nuser=guarded\n",
            source.name
        ),
    );
    project.set("PGSERVICEFILE", project.path("services").to_str().unwrap());
    project.starmill(&RUN).exits(4).warns("give the password");
    project.set("PGPASSWORD", "open sesame");
    project.starmill(&RUN).exits(7).says("encrypted").never_shows("sesame");
    project.edit("services", "[night]", "[day]");
    project.starmill(&RUN).exits(3).warns("there is no service `night`").warns("add [night] to");
    // A local socket, found where the variable says.
    let socket = cluster().socket_folder();
    project.edit("pipelines/p.toml", "postgres:///?service=night", "postgres:///");
    project.set("PGHOST", socket.to_str().unwrap());
    project.set("PGPORT", &port.to_string());
    project.set("PGUSER", "postgres");
    project.set("PGDATABASE", &source.name);
    project.set("PGSSLMODE", "verify-full");
    project.starmill(&RUN).exits(7).says("encrypted");
}

#[test]
fn a_run_through_tls_that_is_interrupted_leaves_nothing_running_on_the_server() {
    let secure = secure();
    let database = secure.cluster.database();
    database.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 3000000)");
    let url = format!("postgres://only_tls@localhost:{}/{}", secure.cluster.port(), database.name);
    database.sql("GRANT SELECT ON t TO only_tls");
    let toml = format!(
        "name = \"p\"\n[source]\nurl = \"{url}\"\n[store]\nurl = \"out/shop\"\n[summary.s]\nkey = [\"n\"]\n\
         totals = {{ n = \"SELECT count(pg_sleep(0.001)) FROM t\" }}\n"
    );
    let project = Project::of(&toml, &[("s", "SELECT count(*) AS n FROM t")], "", &[]);
    let run = project.start(&RUN, None);
    let working = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'only_tls' AND state = 'active'";
    crate::support::wait_until("the server to compute", || database.sql(working) != "0");
    std::thread::sleep(std::time::Duration::from_millis(300));
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(run.id()).unwrap()),
        nix::sys::signal::Signal::SIGINT,
    )
    .unwrap();
    crate::support::Ran::of(run).exits(130);
    crate::support::wait_until("the server to stop", || database.sql(working) == "0");
}
