//! Every point at which a test may break a run, named once.
//!
//! `STARMILL_FAULT=<point>=<action>` arms one point; without the variable a point costs one load.
//! Actions: `kill` (SIGKILL to ourselves), `fail` (an I/O error), `full` (no space left),
//! `pause` (wait for SIGINT, SIGTERM or a file: see [`Action::Pause`]).

use std::path::PathBuf;
use std::sync::OnceLock;

macro_rules! points {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point { $($variant),+ }

        impl Point {
            pub const ALL: &'static [Point] = &[$(Point::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name),+ }
            }
        }
    };
}

points! {
    SourceResolved = "source.resolved",
    SourceLocked = "source.locked",
    ExtractTable = "extract.table",
    ExtractDone = "extract.done",
    BuildModel = "build.model",
    WriteBatch = "write.batch",
    AuditDone = "audit.done",
    PublishStart = "publish.start",
    PublishTables = "publish.tables",
    PublishKeys = "publish.keys",
    PublishManifest = "publish.manifest",
    PublishSynced = "publish.synced",
    PublishRenamed = "publish.renamed",
    PublishCommitFile = "publish.commit-file",
    PublishCommitted = "publish.committed",
    PublishLinked = "publish.linked",
    LakeWritten = "lake.written",
    DeltaTable = "delta.table",
    ForgetWritten = "forget.written",
    ForgetCommitted = "forget.committed",
    PruneSnapshot = "prune.snapshot",
    LoadStart = "load.start",
    LoadTable = "load.table",
    LoadMerged = "load.merged",
    LoadReceipt = "load.receipt",
    LoadCommitted = "load.committed",
}

enum Action {
    Kill,
    Fail,
    Full,
    /// Creates the file, then waits until it is gone: a test knows where we are, and goes on.
    Pause(PathBuf),
}

/// Does what the armed action says when `point` is the armed one.
pub fn at(point: Point) -> std::io::Result<()> {
    let Some((armed, action)) = armed() else { return Ok(()) };
    if *armed != point {
        return Ok(());
    }
    match action {
        Action::Kill => {
            // Not an exit: no destructor may tidy up, as after a power cut.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
            std::process::abort()
        }
        Action::Fail => Err(std::io::Error::other(format!("fault injected at {}", point.name()))),
        Action::Full => Err(std::io::Error::from(std::io::ErrorKind::StorageFull)),
        Action::Pause(file) => {
            std::fs::write(file, point.name())?;
            while file.exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Ok(())
        }
    }
}

fn armed() -> Option<&'static (Point, Action)> {
    static ARMED: OnceLock<Option<(Point, Action)>> = OnceLock::new();
    ARMED.get_or_init(|| std::env::var("STARMILL_FAULT").ok().and_then(|text| parse(&text))).as_ref()
}

fn parse(text: &str) -> Option<(Point, Action)> {
    let (name, action) = text.split_once('=')?;
    let point = Point::ALL.iter().copied().find(|point| point.name() == name)?;
    let action = match action.split_once(':') {
        None if action == "kill" => Action::Kill,
        None if action == "fail" => Action::Fail,
        None if action == "full" => Action::Full,
        Some(("pause", file)) => Action::Pause(PathBuf::from(file)),
        _ => return None,
    };
    Some((point, action))
}
