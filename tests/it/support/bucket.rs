//! A real S3 server (PyPI's moto), one for all tests, each with a bucket of its own; and one that stands before it and
//! answers otherwise, as a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use super::{Project, free_port, root, wait_until};

/// A bucket of a test's own.
pub struct Bucket {
    pub name: String,
    pub port: u16,
}

fn server() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let program = root().join("target/peers/bin/moto_server");
        assert!(program.exists(), "moto is missing: run tests/run, which fetches it");
        let port = free_port();
        // The server ends with the pipe that it is watched by, however the tests end.
        let watched = "\"$0\" \"$@\" >/dev/null 2>&1 & server=$!; cat > /dev/null; kill $server";
        let mut shell = Command::new("sh");
        shell.args(["-c", watched]).arg(program).args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let child = shell.stdin(Stdio::piped()).spawn().unwrap();
        Box::leak(Box::new(child));
        wait_until("the S3 server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        port
    })
}

/// What a server answered.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Somebody has signed, and this server doesn't ask what.
const SIGNED: &str = "authorization: AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x\r\n";

/// One plain request.
fn request(port: u16, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{SIGNED}content-length: 0\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut whole = Vec::new();
    stream.read_to_end(&mut whole).unwrap();
    let text = String::from_utf8_lossy(&whole).into_owned();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let at = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    Answer { status, body: whole.split_off(at) }
}

impl Bucket {
    pub fn make() -> Bucket {
        let port = server();
        let name = format!("stars-{:08x}", fastrand::u32(..));
        assert_eq!(request(port, "PUT", &format!("/{name}")).status, 200);
        Bucket { name, port }
    }

    pub fn url(&self) -> String {
        format!("s3://{}/night/shop", self.name)
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a project publish into it.
    pub fn holds(&self, project: &mut Project, endpoint: &str) {
        for (name, value) in [
            ("SHOP_STORE", self.url().as_str()),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIANIGHTLY"),
            ("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-the-bucket"),
            ("AWS_REGION", "eu-central-1"),
        ] {
            project.set(name, value);
        }
        let cache = project.path("cache").display().to_string();
        project.set("XDG_CACHE_HOME", &cache);
    }

    /// Every object of the store, by its name below it.
    pub fn objects(&self) -> Vec<String> {
        let answer = request(self.port, "GET", &format!("/{}?list-type=2&max-keys=1000", self.name));
        let text = String::from_utf8(answer.body).unwrap();
        let keys = text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
        keys.filter_map(|key| key.strip_prefix("night/shop/"))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let answer = request(self.port, "GET", &format!("/{}/night/shop/{name}", self.name));
        (answer.status == 200).then_some(answer.body)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "PUT /{}/{name} HTTP/1.1\r\nhost: 127.0.0.1\r\n{SIGNED}content-length: {}\r\nconnection: close\r\n\r\n",
            self.name,
            bytes.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }

    pub fn delete(&self, name: &str) {
        request(self.port, "DELETE", &format!("/{}/night/shop/{name}", self.name));
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.get(name).unwrap_or_else(|| panic!("{name} is not there"))).unwrap()
    }

    pub fn latest(&self) -> Option<String> {
        let latest: serde_json::Value = serde_json::from_slice(&self.get("latest.json")?).unwrap();
        Some(latest["snapshot"].as_str().unwrap().to_owned())
    }

    /// Every data file that some kept snapshot names, by its object's name.
    pub fn named_files(&self) -> Vec<String> {
        let mut named = Vec::new();
        for id in self.json("latest.json")["snapshots"].as_array().unwrap() {
            let manifest = self.json(&format!("snapshots/{}/manifest.json", id.as_str().unwrap()));
            for table in manifest["tables"].as_array().unwrap() {
                for file in table["files"].as_array().unwrap() {
                    let (table, file) = (table["name"].as_str().unwrap(), file["name"].as_str().unwrap());
                    named.push(format!("tables/{table}/{file}"));
                }
            }
        }
        named.sort();
        named.dedup();
        named
    }

    /// Every file that the published snapshot names is there, and has the hash that its manifest says.
    #[track_caller]
    pub fn assert_whole(&self) {
        use sha2::Digest;
        let id = self.latest().expect("something is published");
        let manifest = self.json(&format!("snapshots/{id}/manifest.json"));
        for table in manifest["tables"].as_array().unwrap() {
            for file in table["files"].as_array().unwrap() {
                let name =
                    format!("tables/{}/{}", table["name"].as_str().unwrap(), file["name"].as_str().unwrap());
                let bytes = self.get(&name).unwrap_or_else(|| panic!("{name} is not there"));
                let hash: String =
                    sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(hash, file["sha256"].as_str().unwrap(), "{name}");
            }
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fate {
    Passes,
    /// It is sent on without its conditions.
    Unconditionally,
    /// It is not sent on; this status, and this code in the answer's body.
    Refused(u16, &'static str),
    /// Neither is it sent on, nor answered.
    Lost,
    /// It is sent on, and its answer is lost.
    AnswerLost,
    /// It is sent on, and its answer is cut after so many bytes of its body.
    AnswerCut(usize),
    /// Bytes of its answer's body are changed.
    Damaged,
}

/// A request as a rule sees it.
pub struct Seen {
    pub method: String,
    pub path: String,
    pub head: String,
    /// How many were before it.
    pub number: usize,
}

type Rule = dyn Fn(&Seen) -> Fate + Send + Sync;

/// Stands before the server.
pub struct Meddler {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Meddler {
    pub fn before(bucket: &Bucket, rule: impl Fn(&Seen) -> Fate + Send + Sync + 'static) -> Meddler {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, rule, server) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(rule), bucket.port);
        let kept = Arc::clone(&heads);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (rule, heads) = (Arc::clone(&rule), Arc::clone(&kept));
                std::thread::spawn(move || {
                    let _ = serve(client, server, rule.as_ref(), &heads);
                });
            }
        });
        Meddler { port, heads }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// The head and the body of a request, unless there is none.
pub fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

/// What the server answers to a request that is sent on.
pub fn forwarded(server: u16, head: &str, body: &[u8], signs: bool) -> std::io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    let signed = if signs { SIGNED } else { "" };
    write!(upstream, "{head}{signed}connection: close\r\n\r\n")?;
    upstream.write_all(body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// One request a connection.
fn serve(mut client: TcpStream, server: u16, rule: &Rule, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let Some((head, body)) = read_request(&mut BufReader::new(client.try_clone()?))? else { return Ok(()) };
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or("").to_owned(), words.next().unwrap_or("").to_owned());
    let number = {
        let mut heads = heads.lock().unwrap();
        heads.push(head.clone());
        heads.len() - 1
    };
    let fate = rule(&Seen { method, path, head: head.clone(), number });
    if matches!(fate, Fate::Lost) {
        return Ok(());
    }
    if let Fate::Refused(status, code) = fate {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test says</Message></Error>"
        );
        write!(
            client,
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )?;
        return Ok(());
    }
    let condition = ["if-none-match:", "if-match:"];
    let taken: &[&str] = if matches!(fate, Fate::Unconditionally) { &condition } else { &[] };
    let is_kept = |line: &str| {
        let line = line.to_lowercase();
        !line.starts_with("connection:") && !taken.iter().any(|start| line.starts_with(start))
    };
    let kept = head.lines().filter(|line| is_kept(line));
    let head: String = kept.map(|line| format!("{line}\r\n")).collect();
    let mut answer = forwarded(server, &head, &body, false)?;
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    match fate {
        Fate::AnswerLost => {}
        Fate::AnswerCut(after) => client.write_all(&answer[..answer.len().min(at + after)])?,
        Fate::Damaged => {
            let middle = at + (answer.len() - at) / 2;
            if let Some(byte) = answer.get_mut(middle) {
                *byte ^= 0x20;
            }
            client.write_all(&answer)?;
        }
        _ => client.write_all(&answer)?,
    }
    Ok(())
}
