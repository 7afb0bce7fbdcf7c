//! Servers of other clouds, each test with a bucket of its own: Azure's (npm's azurite), and one that speaks as Google's does
//! about versions, over the S3 server of the other tests.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::bucket::{Bucket, forwarded, read_request};
use super::{Project, free_port, root, wait_until};

/// What every emulator of Azure's storage calls its account, as its documentation says.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A container of a test's own.
pub struct Container {
    pub name: String,
    port: u16,
}

fn azurite() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let program = root().join("target/peers/node_modules/.bin/azurite-blob");
        assert!(program.exists(), "azurite is missing: run tests/run, which fetches it");
        let port = free_port();
        // The server ends with the pipe that it is watched by, however the tests end.
        let watched = "\"$0\" \"$@\" >/dev/null 2>&1 & server=$!; cat > /dev/null; kill $server";
        let mut shell = Command::new("sh");
        shell.args(["-c", watched]).arg(program).args([
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &port.to_string(),
        ]);
        shell.args(["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
        let child = shell.stdin(Stdio::piped()).spawn().unwrap();
        Box::leak(Box::new(child));
        wait_until("the Azure server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        port
    })
}

impl Container {
    pub fn make() -> Container {
        let (port, name) = (azurite(), format!("stars-{:08x}", fastrand::u32(..)));
        let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
        let heads = format!("x-ms-date:{date}\nx-ms-version:2021-08-06");
        let signed =
            format!("PUT\n\n\n\n\n\n\n\n\n\n\n\n{heads}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container");
        let mut hash = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY).unwrap()).unwrap();
        hash.update(signed.as_bytes());
        let signature = STANDARD.encode(hash.finalize().into_bytes());
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(
            stream,
            "PUT /{ACCOUNT}/{name}?restype=container HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-ms-date: {date}\r\n\
             x-ms-version: 2021-08-06\r\nauthorization: SharedKey {ACCOUNT}:{signature}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        Container { name, port }
    }

    pub fn url(&self) -> String {
        format!("az://{}/night/shop", self.name)
    }

    /// Makes a project publish into it.
    pub fn holds(&self, project: &mut Project) {
        let endpoint = format!("http://127.0.0.1:{}/{ACCOUNT}", self.port);
        let cache = project.path("cache").display().to_string();
        for (name, value) in [
            ("SHOP_STORE", self.url().as_str()),
            ("AZURE_STORAGE_ENDPOINT", &endpoint),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
            ("XDG_CACHE_HOME", &cache),
        ] {
            project.set(name, value);
        }
    }
}

/// A server that keeps conditions on generations, as Google's documentation of its XML interface says; whether it looks at
/// them is the test's.
pub struct Generations {
    port: u16,
}

/// The generation of every object that is there, and the last that was given.
type Known = Mutex<(BTreeMap<String, u64>, u64)>;

impl Generations {
    pub fn before(bucket: &Bucket, obeys: bool) -> Generations {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (known, server) = (Arc::new(Known::new((BTreeMap::new(), 1_000))), bucket.port);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let known = Arc::clone(&known);
                std::thread::spawn(move || {
                    let _ = speak(client, server, &known, obeys);
                });
            }
        });
        Generations { port }
    }

    /// Makes a project publish into the bucket through it.
    pub fn holds(&self, bucket: &Bucket, project: &mut Project) {
        let key = "{\"private_key\": \"k\", \"private_key_id\": \"i\", \"client_email\": \"e\", \"disable_oauth\": true}";
        std::fs::write(project.path("google.json"), key).unwrap();
        let (endpoint, cache) = (format!("http://127.0.0.1:{}", self.port), project.path("cache"));
        for (name, value) in [
            ("SHOP_STORE", bucket.url().replace("s3://", "gs://")),
            ("GOOGLE_BASE_URL", endpoint),
            ("GOOGLE_SERVICE_ACCOUNT", project.path("google.json").display().to_string()),
            ("XDG_CACHE_HOME", cache.display().to_string()),
        ] {
            project.set(name, &value);
        }
    }
}

/// One request a connection.
fn speak(mut client: TcpStream, server: u16, known: &Known, obeys: bool) -> std::io::Result<()> {
    let Some((head, body)) = read_request(&mut BufReader::new(client.try_clone()?))? else { return Ok(()) };
    let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    let plain = ["%2F /", "%2D -", "%2E .", "%5F _"].iter().fold(line.to_owned(), |line, pair| {
        let (coded, letter) = pair.split_once(' ').unwrap();
        line.replace(coded, letter)
    });
    let mut words = plain.split(' ');
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let expected = rest.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("x-goog-if-generation-match").then(|| value.trim().parse::<u64>().ok())?
    });
    // One request after the other: what is compared is still so when it is written.
    let mut known = known.lock().unwrap();
    let there = known.0.get(&path).copied().unwrap_or(0);
    if obeys && method == "PUT" && expected.is_some_and(|expected| expected != there) {
        let body = "<?xml version='1.0'?><Error><Code>PreconditionFailed</Code><Message>x</Message></Error>";
        write!(
            client,
            "HTTP/1.1 412 X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )?;
        return Ok(());
    }
    // The S3 server takes no words of Google's, nor does it ask who it is that is signed in.
    let strange = ["connection:", "x-goog-", "authorization:"];
    let kept =
        rest.lines().filter(|line| !strange.iter().any(|start| line.to_lowercase().starts_with(start)));
    let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
    let answer = forwarded(server, &format!("{plain}\r\n{kept}"), &body, true)?;
    let whole = answer.starts_with(b"HTTP/1.1 2") && !path.contains("?list-type");
    match method.as_str() {
        "PUT" | "POST" if whole && !path.contains('?') => {
            known.1 += 1;
            let given = known.1;
            known.0.insert(path.clone(), given);
        }
        "DELETE" => drop(known.0.remove(&path)),
        _ => {}
    }
    let at = answer.windows(2).position(|window| window == b"\r\n").map_or(0, |at| at + 2);
    client.write_all(&answer[..at])?;
    if let Some(generation) = known.0.get(&path).filter(|_| whole) {
        write!(client, "x-goog-generation: {generation}\r\n")?;
    }
    client.write_all(&answer[at..])
}
