//! The words that must not be mixed: each kind of name has a type of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table of the source database, always with its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceTable {
    pub schema: String,
    pub table: String,
}

impl SourceTable {
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> SourceTable {
        SourceTable { schema: schema.into(), table: table.into() }
    }

    /// As Postgres wants it in a statement: `"public"."Order"`.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.table))
    }
}

impl fmt::Display for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// The name of a model, and of the star's table that it builds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    /// Takes what can be a file, a folder and a table at once: `[a-z_][a-z0-9_]*`, up to 63 bytes.
    pub fn parse(text: &str) -> Option<ModelName> {
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        let head = first.is_ascii_lowercase() || first == b'_';
        let tail = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        (head && tail && text.len() <= 63).then(|| ModelName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run, whatever became of it: `20261120T033000Z-7f3a`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// The last four digits are the fraction of the second, so that ids sort as their runs began.
    pub fn new(started: chrono::DateTime<chrono::Utc>) -> RunId {
        let fraction = u64::from(started.timestamp_subsec_nanos().min(999_999_999)) * 65_536 / 1_000_000_000;
        RunId(format!("{}-{fraction:04x}", started.format("%Y%m%dT%H%M%SZ")))
    }

    /// Reads the id of a run.
    pub fn parse(text: &str) -> Option<RunId> {
        RunId::is_one(text).then(|| RunId(text.to_owned()))
    }

    /// When the run began, to the second.
    pub fn started_at(&self) -> chrono::DateTime<chrono::Utc> {
        started_at(&self.0)
    }

    /// Whether a text is an id that [`RunId::new`] gave, so that nothing else is ever swept away.
    pub fn is_one(text: &str) -> bool {
        let shape = "00000000T000000Z-ffff";
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                b'f' => byte.is_ascii_hexdigit(),
                _ => byte == like,
            })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A published star. It carries the id of the run that published it, so that one leads to the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(String);

impl SnapshotId {
    pub fn of(run: &RunId) -> SnapshotId {
        SnapshotId(run.0.clone())
    }

    /// Reads the name of a snapshot's folder; anything that could leave the folder is refused.
    pub fn parse(text: &str) -> Option<SnapshotId> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (plain && !text.is_empty()).then(|| SnapshotId(text.to_owned()))
    }

    /// When the run began that published it, to the second.
    pub fn started_at(&self) -> chrono::DateTime<chrono::Utc> {
        started_at(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is read back is a path before long, so it is parsed like what is typed.
macro_rules! parsed {
    ($name:ident, $what:literal) => {
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<$name, String> {
                $name::parse(&text)
                    .ok_or_else(|| format!(concat!("`{}` is not ", $what), text.escape_debug()))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

parsed!(ModelName, "the name of a model");
parsed!(RunId, "the id of a run");
parsed!(SnapshotId, "the id of a snapshot");

/// The time that an id of a run begins with; the epoch for what is none.
fn started_at(id: &str) -> chrono::DateTime<chrono::Utc> {
    let time = id.split('-').next().unwrap_or_default();
    chrono::NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").unwrap_or_default().and_utc()
}

/// The table of a target's schema that holds the receipts.
pub const DELIVERY_TABLE: &str = "starmill_delivery";

/// Quotes an identifier for Postgres and DataFusion alike, doubling the quotes inside.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text literal for Postgres (with `standard_conforming_strings`) and DataFusion alike.
pub fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The valid name nearest to a misspelt one, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    valid
        .into_iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.chars().count().min(name.chars().count()) / 4
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `a, b and c`, for messages.
pub fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// Who is at work, as `user@host`: a run, a delivery or a rollback is somebody's.
pub fn who() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let user = user.map_or_else(|| nix::unistd::geteuid().to_string(), |user| user.name);
    format!("{user}@{}", host())
}

/// Columns with a row's values in them, as people name a row: `column=value`.
pub fn named(columns: &[String], values: &[String]) -> Vec<String> {
    columns.iter().zip(values).map(|(column, value)| format!("{column}={value}")).collect()
}

/// This machine's name, as others know it.
pub fn host() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
