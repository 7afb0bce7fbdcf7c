//! A dimension that keeps what its rows were (type 2). Its registry is a log: what was last said of a version counts, and
//! nothing that was said is taken away, so that the history outlives every snapshot. Tonight's rows are held against it, and
//! what is new of them is said.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use super::compose::{model_reference, registry_reference};
use super::memory::Memory;
use super::shelf;
use crate::error::{Error, ErrorKind};
use crate::name::{ModelName, list, quote_identifier as quote};
use crate::pipeline::Pipeline;
use crate::pipeline::model::{Body, IS_CURRENT, Model, Tracked, VALID_FROM, VALID_TO};

/// Since when a member's first version holds: facts that are older than what is known of it find it.
const BEGINNING: &str = "CAST('0001-01-01 00:00:00+00' AS TIMESTAMP(6) WITH TIME ZONE)";
/// Until when the open version holds.
const END: &str = "CAST('9999-12-31 00:00:00+00' AS TIMESTAMP(6) WITH TIME ZONE)";

/// The same in microseconds since 1970.
pub const BEGINNING_OF_TIME: i64 = -62_135_596_800_000_000;
pub const OPEN_END: i64 = 253_402_214_400_000_000;

/// Which of what was said of a version was said last.
pub const REVISION: &str = "starmill: revision";
/// Why a version ended; nothing, while it is open.
pub const ENDED: &str = "starmill: ended";
const CHANGED: &str = "changed";
const DELETED: &str = "deleted";
const PLACE: &str = "starmill: place";

/// Why a version ended is not known of one that was taken from a published star.
pub const RESTORED: &str = "restored";

/// Which versions of its rows a dimension keeps, as the pipeline says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The columns that are tracked; none where it is all but some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<String>,
}

impl Versions {
    pub fn of(model: &Model) -> Option<Versions> {
        let history = model.history()?;
        let named = || history.tracked.named().iter().map(|column| column.value.clone()).collect();
        let (track, except) = match history.tracked {
            Tracked::Columns(_) => (Some(named()), Vec::new()),
            Tracked::AllBut(_) => (None, named()),
        };
        let effective_from = history.effective_from.as_ref().map(|column| column.value.clone());
        Some(Versions { track, except, effective_from })
    }

    pub fn tracks(&self, column: &str) -> bool {
        let is = |name: &String| name == column;
        let tells_time = self.effective_from.as_ref().is_some_and(is);
        !tells_time
            && self.track.as_ref().map_or_else(|| !self.except.iter().any(is), |track| track.iter().any(is))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.track {
            Some(track) => write!(f, "history of {}", list(track))?,
            None if self.except.is_empty() => f.write_str("history of all columns")?,
            None => write!(f, "history of all but {}", list(&self.except))?,
        }
        match &self.effective_from {
            Some(column) => write!(f, " since {column}"),
            None => Ok(()),
        }
    }
}

/// The column that names a member in all its versions: the surrogate of its first.
pub fn durable_key(surrogate: &str) -> String {
    format!("{}_durable_key", surrogate.strip_suffix("_key").unwrap_or(surrogate))
}

/// The columns that a history adds to its model's.
pub fn added(surrogate: &str) -> [String; 4] {
    [durable_key(surrogate), VALID_FROM.to_owned(), VALID_TO.to_owned(), IS_CURRENT.to_owned()]
}

/// The columns of the log: the key, the version, and all that it was.
pub fn registry_schema(key: &[String], surrogate: &str, raw: &Schema, zone: &str) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let of =
        |name: &String| Some(Field::new(name, raw.field_with_name(name).ok()?.data_type().clone(), true));
    let mut fields: Vec<Field> = key.iter().filter_map(of).collect();
    for number in [surrogate, &durable_key(surrogate), REVISION] {
        fields.push(Field::new(number, DataType::Int64, true));
    }
    fields.push(Field::new(VALID_FROM, time.clone(), true));
    fields.push(Field::new(VALID_TO, time, true));
    fields.push(Field::new(ENDED, DataType::Utf8, true));
    let rest = raw.fields().iter().map(|field| field.name()).filter(|name| !key.contains(name));
    fields.extend(rest.filter_map(of));
    Arc::new(Schema::new(fields))
}

/// What becomes of members whose tracked columns say something else because the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restatement {
    /// They are another version from tonight on.
    Open,
    /// They were always so: all their versions are overwritten in the columns that changed.
    Restate,
}

/// Hash of a model's SELECT and those of the models that it reads: what a history is kept of. Comments and blanks say nothing.
pub fn definition(pipeline: &Pipeline, model: &Model) -> String {
    let mut waiting = vec![&model.name];
    let mut seen: BTreeSet<&ModelName> = BTreeSet::new();
    let mut text = String::new();
    while let Some(name) = waiting.pop() {
        let Some(model) = pipeline.model(name).filter(|_| seen.insert(name)) else { continue };
        if let Body::Sql(sql) = &model.body {
            text.push_str(&format!("{name}: {}\n", sql.rewritten(&mut |_| None)));
        }
        waiting.extend(&model.reads);
    }
    shelf::hash(text.as_bytes())
}

/// A model's SELECT was edited, and nobody has said what that means for the past.
pub fn unsaid(model: &ModelName, moved: u64) -> Error {
    let members = if moved == 1 { "1 member".to_owned() } else { format!("{moved} members") };
    let message = format!(
        "the SELECT of {model} was edited, and {members} of its history would be another version, though the source may not have changed"
    );
    Error::new(ErrorKind::Pipeline, message).hint(format!(
        "say what is meant: --accept {model}=restate (they were always so: the columns that differ are overwritten in all their versions), or --accept {model}=open (they are so from now on: a new version each)"
    ))
}

/// Writes the SQL of one dimension's history.
pub struct Book<'a> {
    model: &'a ModelName,
    key: Vec<String>,
    surrogate: String,
    durable: String,
    /// All columns that the model gives but its key.
    rest: Vec<&'a str>,
    versions: &'a Versions,
    /// Its column that says since when a row is so, as an instant.
    effective: Option<String>,
}

impl<'a> Book<'a> {
    /// None of a table that keeps no history.
    pub fn of(model: &'a ModelName, memory: &'a Memory, raw: &'a Schema, zone: &str) -> Option<Book<'a>> {
        let (versions, surrogate) = (memory.history.as_ref()?, memory.surrogate.as_ref()?);
        let names = raw.fields().iter().map(|field| field.name());
        let effective = versions.effective_from.as_ref();
        Some(Book {
            model,
            key: memory.key.iter().map(|column| quote(column)).collect(),
            surrogate: quote(surrogate),
            durable: quote(&durable_key(surrogate)),
            rest: names.filter(|name| !memory.key.contains(name)).map(String::as_str).collect(),
            versions,
            effective: effective.map(|column| instant_of("m", column, raw, zone)),
        })
    }

    fn same_key(&self, one: &str, other: &str) -> String {
        let same: Vec<String> = self.key.iter().map(|key| format!("{one}.{key} = {other}.{key}")).collect();
        same.join(" AND ")
    }

    fn listed(&self, of: &str, columns: impl Iterator<Item = String>) -> String {
        columns.map(|column| format!("{of}.{column}")).collect::<Vec<_>>().join(", ")
    }

    fn keys(&self, of: &str) -> String {
        self.listed(of, self.key.iter().cloned())
    }

    /// Whether one row says something else than another in the columns that are tracked, or in the others.
    fn differs(&self, one: &str, other: &str, tracked: bool) -> String {
        let columns = self.rest.iter().filter(|column| self.versions.tracks(column) == tracked);
        let differ = columns.map(|column| format!("({one}.{0} IS DISTINCT FROM {other}.{0})", quote(column)));
        let differ = differ.collect::<Vec<_>>().join(" OR ");
        if differ.is_empty() { "FALSE".to_owned() } else { format!("({differ})") }
    }

    /// What was last said of each version.
    fn versions(&self) -> String {
        let log = registry_reference(self.model).to_quoted_string();
        let (place, revision) = (quote(PLACE), quote(REVISION));
        format!(
            "SELECT * FROM (SELECT r.*, row_number() OVER (PARTITION BY r.{0} ORDER BY r.{revision} DESC) AS {place} FROM {log} AS r) AS f WHERE {place} = 1",
            self.surrogate
        )
    }

    /// The versions, the last of each member, and the rows that the model gives tonight.
    fn with(&self) -> String {
        let (place, key) = (quote(PLACE), self.keys("v"));
        let columns = [self.surrogate.as_str(), &self.durable, VALID_FROM, VALID_TO].map(str::to_owned);
        let kept =
            self.key.iter().cloned().chain(columns).chain(self.rest.iter().map(|column| quote(column)));
        let kept: Vec<String> = kept.collect();
        let whole =
            self.key.iter().map(|key| format!("m.{key} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
        format!(
            "WITH v AS ({versions}), l AS (SELECT {kept} FROM (SELECT {of_v}, row_number() OVER (PARTITION BY {key} ORDER BY v.{VALID_FROM} DESC, v.{surrogate} DESC) AS {place} FROM v) AS o WHERE {place} = 1), m AS (SELECT * FROM {model} AS m WHERE {whole})",
            versions = self.versions(),
            kept = kept.join(", "),
            of_v = self.listed("v", kept.iter().cloned()),
            surrogate = self.surrogate,
            model = model_reference(self.model).to_quoted_string(),
        )
    }

    /// How many members would be another version because their tracked columns say something else.
    pub fn moved_sql(&self) -> String {
        let (same, moved) = (self.same_key("l", "m"), self.differs("m", "l", true));
        format!(
            "{} SELECT count(*) FROM m JOIN l ON {same} WHERE l.{VALID_TO} = {END} AND {moved}",
            self.with()
        )
    }

    /// What tonight's rows say that the log doesn't, in its columns: versions that begin, those that end, and what is
    /// overwritten in those that were. New versions are numbered after `highest`; `numbers` names what members were called
    /// before they had a history.
    pub fn news_sql(&self, highest: i64, restatement: Restatement, numbers: Option<&str>) -> String {
        let (same, moved) = (self.same_key("l", "m"), self.differs("m", "l", true));
        let moved = match restatement {
            Restatement::Open => moved,
            Restatement::Restate => "FALSE".to_owned(),
        };
        let since = self.effective.clone().unwrap_or_else(|| "run_at()".to_owned());
        let next = format!(
            "(SELECT coalesce(max({0}), 0) + 1 FROM {1})",
            quote(REVISION),
            registry_reference(self.model).to_quoted_string()
        );
        let (s, d) = (&self.surrogate, &self.durable);
        let fixed = |surrogate: &str, from: &str, to: &str, ended: &str| {
            format!(
                "CAST({surrogate} AS BIGINT) AS {s}, CAST({next} AS BIGINT) AS {0}, {from} AS {VALID_FROM}, {to} AS {VALID_TO}, {ended} AS {1}",
                quote(REVISION),
                quote(ENDED)
            )
        };
        let tracked_of = |of: &str| {
            let column = |column: &&str| {
                let from = if self.versions.tracks(column) { of } else { "m" };
                format!("{from}.{0} AS {0}", quote(column))
            };
            self.rest.iter().map(column).collect::<Vec<_>>()
        };
        let row = |keys: &str, fixed: String, durable: &str, rest: Vec<String>| {
            let mut columns = vec![keys.to_owned(), fixed, format!("CAST({durable} AS BIGINT) AS {d}")];
            columns.extend(rest);
            columns.join(", ")
        };
        let number = format!("{highest} + row_number() OVER (ORDER BY {})", self.keys("m"));
        let (named, known) = match numbers {
            Some(numbers) => (
                format!("CASE WHEN l.{s} IS NULL THEN coalesce(n.{s}, {number}) ELSE {number} END"),
                format!(" LEFT JOIN {numbers} AS n ON {}", self.same_key("n", "m")),
            ),
            None => (number, String::new()),
        };
        let from = format!(
            "CASE WHEN l.{s} IS NULL THEN {BEGINNING} WHEN l.{VALID_TO} < {END} THEN greatest({since}, l.{VALID_TO}) ELSE {since} END"
        );
        let begins = format!(
            "SELECT {} FROM m LEFT JOIN l ON {same}{known} WHERE l.{s} IS NULL OR l.{VALID_TO} < {END} OR {moved}",
            row(
                &self.keys("m"),
                fixed(&named, &from, END, "CAST(NULL AS TEXT)"),
                &format!("coalesce(l.{d}, {named})"),
                tracked_of("m")
            ),
        );
        let ends = format!(
            "SELECT {} FROM m JOIN l ON {same} WHERE l.{VALID_TO} = {END} AND {moved}",
            row(
                &self.keys("l"),
                fixed(&format!("l.{s}"), &format!("l.{VALID_FROM}"), &since, &format!("'{CHANGED}'")),
                &format!("l.{d}"),
                tracked_of("l")
            ),
        );
        let all_of_l = self.rest.iter().map(|column| format!("l.{0} AS {0}", quote(column))).collect();
        let gone = format!(
            "SELECT {} FROM l WHERE l.{VALID_TO} = {END} AND NOT EXISTS (SELECT 1 FROM m WHERE {same})",
            row(
                &self.keys("l"),
                fixed(&format!("l.{s}"), &format!("l.{VALID_FROM}"), "run_at()", &format!("'{DELETED}'")),
                &format!("l.{d}"),
                all_of_l
            ),
        );
        let (overwritten, rest) = self.overwritten(restatement, &tracked_of("v"));
        let ended = format!("v.{}", quote(ENDED));
        let overwrites = format!(
            "SELECT {} FROM v JOIN m ON {} JOIN l ON {} WHERE {overwritten} AND NOT (v.{s} = l.{s} AND l.{VALID_TO} = {END} AND {moved})",
            row(
                &self.keys("v"),
                fixed(&format!("v.{s}"), &format!("v.{VALID_FROM}"), &format!("v.{VALID_TO}"), &ended),
                &format!("v.{d}"),
                rest
            ),
            self.same_key("v", "m"),
            self.same_key("v", "l"),
        );
        let all: Vec<String> =
            [&begins, &ends, &gone, &overwrites].map(|part| format!("SELECT * FROM ({part}) AS p")).into();
        let columns = self.log_columns();
        format!("{} SELECT {columns} FROM ({}) AS n ORDER BY n.{s}", self.with(), all.join(" UNION ALL "))
    }

    /// Which versions of those who are there are overwritten, and with what.
    fn overwritten(&self, restatement: Restatement, rest: &[String]) -> (String, Vec<String>) {
        let others = self.differs("v", "m", false);
        if restatement == Restatement::Open {
            return (others, rest.to_vec());
        }
        let restated = |column: &str| {
            format!("(l.{VALID_TO} = {END} AND (m.{0} IS DISTINCT FROM l.{0}))", quote(column))
        };
        let mut which = vec![others];
        let values = self.rest.iter().map(|column| {
            let name = quote(column);
            if !self.versions.tracks(column) {
                return format!("m.{name} AS {name}");
            }
            let is = restated(column);
            which.push(format!("({is} AND (v.{name} IS DISTINCT FROM m.{name}))"));
            format!("CASE WHEN {is} THEN m.{name} ELSE v.{name} END AS {name}")
        });
        let values = values.collect();
        (format!("({})", which.join(" OR ")), values)
    }

    fn log_columns(&self) -> String {
        let ours = [
            self.surrogate.clone(),
            self.durable.clone(),
            quote(REVISION),
            VALID_FROM.to_owned(),
            VALID_TO.to_owned(),
            quote(ENDED),
        ];
        let columns =
            self.key.iter().cloned().chain(ours).chain(self.rest.iter().map(|column| quote(column)));
        columns.map(|column| format!("n.{column}")).collect::<Vec<_>>().join(", ")
    }

    /// What is published: every version, rows that nobody can be known by, so that the audit finds them, and the unknown
    /// member. A key that the model gives twice comes twice.
    pub fn published_sql(&self, raw: &Schema, unknown_member: &str) -> String {
        let (s, d) = (&self.surrogate, &self.durable);
        let names: Vec<String> = raw.fields().iter().map(|field| quote(field.name())).collect();
        let of = |table: &str| self.listed(table, names.iter().cloned());
        let unknown: Vec<String> = self.key.iter().map(|key| format!("m.{key} IS NULL")).collect();
        let model = model_reference(self.model).to_quoted_string();
        format!(
            "SELECT v.{s}, v.{d}, {v}, v.{VALID_FROM}, v.{VALID_TO}, v.{VALID_TO} = {END} AS {IS_CURRENT} FROM ({versions}) AS v LEFT JOIN (SELECT {keys} FROM {model} AS m) AS m ON {same} AND v.{VALID_TO} = {END} UNION ALL SELECT CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), {m}, {BEGINNING}, {END}, TRUE FROM {model} AS m WHERE {unknown} UNION ALL SELECT CAST(-1 AS BIGINT), CAST(-1 AS BIGINT), {unknown_member}, {BEGINNING}, {END}, TRUE",
            v = of("v"),
            m = of("m"),
            versions = self.versions(),
            keys = self.keys("m"),
            same = self.same_key("v", "m"),
            unknown = unknown.join(" OR "),
        )
    }

    /// How many versions ended because of a next one that doesn't begin where they end.
    pub fn gaps_sql(&self) -> String {
        let (key, s) = (self.keys("v"), &self.surrogate);
        let ended = quote(ENDED);
        format!(
            "SELECT count(*) FROM (SELECT v.{VALID_TO}, v.{ended}, lead(v.{VALID_FROM}) OVER (PARTITION BY {key} ORDER BY v.{VALID_FROM}, v.{s}) AS next FROM ({}) AS v) AS g WHERE g.{ended} = '{CHANGED}' AND (g.{VALID_TO} IS DISTINCT FROM g.next)",
            self.versions()
        )
    }
}

/// A column of a table that is a time, as the instant that it is in the pipeline's zone.
pub fn instant_of(table: &str, column: &str, raw: &Schema, zone: &str) -> String {
    let value = format!("{table}.{}", quote(column));
    match raw.field_with_name(column).map(|field| field.data_type()) {
        Ok(DataType::Timestamp(_, None) | DataType::Date32) => {
            format!("timezone('{zone}', CAST({value} AS TIMESTAMP(6)))")
        }
        _ => value,
    }
}

/// What a lookup asks besides the key of a dimension that has versions: the one of a time, or the current one.
pub fn asked_of(alias: &str, time: Option<&str>) -> String {
    match time {
        Some(time) => format!(" AND {alias}.{VALID_FROM} <= {time} AND {time} < {alias}.{VALID_TO}"),
        None => format!(" AND {alias}.{IS_CURRENT}"),
    }
}
