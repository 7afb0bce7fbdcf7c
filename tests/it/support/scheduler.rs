//! A scheduler as it lives, and the shop with a night of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Project;

pub const SHOP: &str = "pipelines/shop.toml";

/// A scheduler under way, with what it has logged so far.
pub struct Scheduler {
    pub child: Child,
    log: Arc<Mutex<String>>,
}

impl Scheduler {
    /// Starts with the clock at an instant, so many times as fast.
    pub fn start(project: &Project, clock: &str, fault: Option<&str>, args: &[&str]) -> Scheduler {
        let mut all = vec!["schedule"];
        all.extend(args);
        let mut command = project.command(&all);
        command.env("STARMILL_CLOCK", clock).stdout(Stdio::null()).stderr(Stdio::piped());
        if let Some(fault) = fault {
            command.env("STARMILL_FAULT", fault);
        }
        let mut child = command.spawn().unwrap();
        let log: Arc<Mutex<String>> = Arc::default();
        let (reader, lines) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let mut log = lines.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Scheduler { child, log }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn waits_for(&self, text: &str) {
        for _ in 0..3_000 {
            if self.log().contains(text) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the log lacks {text:?} after half a minute:\n{}", self.log());
    }

    /// Where it answers over HTTP.
    pub fn address(&self) -> String {
        let log = self.log();
        log.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub fn ends(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        // What it logged last is read by another thread.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        (code, log)
    }

    pub fn stops(self) -> (Option<i32>, String) {
        self.signal(Signal::SIGTERM);
        self.ends()
    }
}

impl Drop for Scheduler {
    /// A test that failed leaves nobody running.
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// A night at 3:30 in Berlin, that is 2:30 UTC in winter, and quick repetitions.
pub fn shop(more: &str) -> Project {
    let project = Project::shop();
    project.edit(
        SHOP,
        "timezone = \"Europe/Berlin\"\n",
        &format!("timezone = \"Europe/Berlin\"\nretries = 2\nretry_wait = \"20s\"\n{more}"),
    );
    project
}

pub fn reports(project: &Project) -> Vec<serde_json::Value> {
    let runs = project.entries("out/shop/runs");
    runs.iter()
        .map(|name| serde_json::from_str(&project.read(&format!("out/shop/runs/{name}"))).unwrap())
        .collect()
}

pub fn nights(project: &Project) -> Vec<String> {
    reports(project).iter().map(|report| report["scheduled_for"].as_str().unwrap_or("-").to_owned()).collect()
}
