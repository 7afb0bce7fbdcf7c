//! The SQL by which tonight's rows of a dimension are held against its history, and by which that is published.

use arrow::datatypes::{DataType, Schema};

use super::compose::{
    last_reference, model_reference, numbers_reference, registry_reference, versions_reference,
};
use super::memory::Memory;
use super::versions::{CHANGED, DELETED, ENDED, REVISION, Restatement, Versions, durable_key};
use crate::name::{ModelName, quote_identifier as quote};
use crate::pipeline::model::{IS_CURRENT, VALID_FROM, VALID_TO};

/// Since when a member's first version holds: facts that are older than what is known of it find it.
const BEGINNING: &str = "CAST('0001-01-01 00:00:00+00' AS TIMESTAMP(6) WITH TIME ZONE)";
/// Until when the open version holds.
const END: &str = "CAST('9999-12-31 00:00:00+00' AS TIMESTAMP(6) WITH TIME ZONE)";

/// Tonight's row, the last version of its member, any version, a number from before the history: no column has such a name.
const M: &str = "\"starmill: m\"";
const L: &str = "\"starmill: l\"";
const V: &str = "\"starmill: v\"";
const N: &str = "\"starmill: n\"";
const X: &str = "\"starmill: x\"";
const TOP: &str = "\"starmill: top\"";

/// The SQL of each column's value.
type Values<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// Writes the SQL of one dimension's history.
pub struct Book<'a> {
    model: &'a ModelName,
    key: Vec<String>,
    surrogate: String,
    durable: String,
    /// All columns that the model gives but its key.
    rest: Vec<&'a str>,
    /// Those that it gave once: they stay as they are.
    kept: Vec<String>,
    versions: &'a Versions,
    /// Its column that says since when a row is so, as an instant: tonight's, and the last version's.
    effective: Option<(String, String)>,
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
            kept: Vec::new(),
            versions,
            effective: effective.map(|column| {
                let of = |table: &str| instant_of(&format!("{table}.{}", quote(column)), column, raw, zone);
                (of(M), of(L))
            }),
        })
    }

    /// The same over a log with columns that the model gives no more.
    pub fn keeping(self, columns: Vec<String>) -> Book<'a> {
        Book { kept: columns, ..self }
    }

    fn same_key(&self, one: &str, other: &str) -> String {
        let same: Vec<String> = self.key.iter().map(|key| format!("{one}.{key} = {other}.{key}")).collect();
        same.join(" AND ")
    }

    fn keys(&self, of: &str) -> String {
        listed(of, self.key.iter().cloned())
    }

    /// What a version has of its own, and no later one overwrites.
    fn belongs(&self, column: &str) -> bool {
        self.versions.tracks(column) || self.versions.effective_from.as_deref() == Some(column)
    }

    /// Whether one row says something else than another in some columns.
    fn differs(&self, one: &str, other: &str, which: impl Fn(&str) -> bool) -> String {
        let columns = self.rest.iter().filter(|column| which(column));
        let differ = columns.map(|column| format!("({one}.{0} IS DISTINCT FROM {other}.{0})", quote(column)));
        let differ = differ.collect::<Vec<_>>().join(" OR ");
        if differ.is_empty() { "FALSE".to_owned() } else { format!("({differ})") }
    }

    /// What was last said of each version.
    pub fn versions_sql(&self) -> String {
        let log = registry_reference(self.model).to_quoted_string();
        let (s, revision) = (&self.surrogate, quote(REVISION));
        format!(
            "SELECT {columns} FROM {log} AS {V} JOIN (SELECT {s}, max({revision}) AS {TOP} FROM {log} GROUP BY {s}) AS {X} ON {V}.{s} = {X}.{s} AND {V}.{revision} = {X}.{TOP}",
            columns = listed(V, self.log_columns().into_iter()),
        )
    }

    /// The last version of each member, of the versions: later ones have higher numbers.
    pub fn last_sql(&self) -> String {
        let versions = versions_reference(self.model).to_quoted_string();
        let (s, d) = (&self.surrogate, &self.durable);
        format!(
            "SELECT {columns} FROM {versions} AS {V} JOIN (SELECT max({s}) AS {TOP} FROM {versions} GROUP BY {d}) AS {X} ON {V}.{s} = {X}.{TOP}",
            columns = listed(V, self.log_columns().into_iter()),
        )
    }

    /// The rows that the model gives tonight, the versions, and the last of each member.
    fn tables(&self) -> (String, String, String) {
        let whole: Vec<String> = self.key.iter().map(|key| format!("{M}.{key} IS NOT NULL")).collect();
        let model = model_reference(self.model).to_quoted_string();
        (
            format!("(SELECT * FROM {model} AS {M} WHERE {}) AS {M}", whole.join(" AND ")),
            format!("{} AS {V}", versions_reference(self.model).to_quoted_string()),
            format!("{} AS {L}", last_reference(self.model).to_quoted_string()),
        )
    }

    /// Members whose tracked columns say something else, and since when, if that is not still to come.
    fn moved(&self, restatement: Restatement, edited: bool) -> String {
        let differs = self.differs(M, L, |column| self.versions.tracks(column));
        match (restatement, &self.effective) {
            (Restatement::Restate, _) => "FALSE".to_owned(),
            (Restatement::Open, Some((since, _))) if !edited => {
                format!("(({differs}) AND coalesce({since} <= run_at(), TRUE))")
            }
            (Restatement::Open, _) => differs,
        }
    }

    /// Since when a member is another version. After an edit the source's own time need not be another.
    fn since(&self, edited: bool) -> String {
        match &self.effective {
            Some((now, before)) if edited => {
                format!(
                    "CASE WHEN coalesce({now} > {before} AND {now} <= run_at(), FALSE) THEN {now} ELSE run_at() END"
                )
            }
            Some((now, _)) => now.clone(),
            None => "run_at()".to_owned(),
        }
    }

    /// How many members would be another version, or end.
    pub fn touched_sql(&self) -> String {
        let (m, _, l) = self.tables();
        let same = self.same_key(L, M);
        let differs = self.differs(M, L, |column| self.versions.tracks(column));
        format!(
            "SELECT count(*) FROM {l} WHERE {L}.{VALID_TO} = {END} AND (NOT EXISTS (SELECT 1 FROM {m} WHERE {same}) OR EXISTS (SELECT 1 FROM {m} WHERE {same} AND {differs}))"
        )
    }

    /// How many versions began or ended after the source's instant.
    pub fn behind_sql(&self) -> String {
        let (_, versions, _) = self.tables();
        let ended = format!("({V}.{} = '{DELETED}' AND {V}.{VALID_TO} > run_at())", quote(ENDED));
        let began = match self.effective {
            Some(_) => "FALSE".to_owned(),
            None => format!("{V}.{VALID_FROM} > run_at()"),
        };
        format!("SELECT count(*) FROM {versions} WHERE {began} OR {ended}")
    }

    /// Members whose tracked columns changed, though the source says no later time since when.
    pub fn late_sql(&self) -> Option<String> {
        let (now, before) = self.effective.as_ref()?;
        let (m, _, l) = self.tables();
        let moved = self.moved(Restatement::Open, false);
        Some(format!(
            "SELECT {} FROM {m} JOIN {l} ON {} WHERE {L}.{VALID_TO} = {END} AND {moved} AND NOT coalesce({now} > coalesce({before}, {BEGINNING}), FALSE)",
            self.keys(M),
            self.same_key(L, M)
        ))
    }

    /// What tonight's rows say that the log doesn't, in its columns: versions that begin, those that end, and what is
    /// overwritten in those that were. New versions are numbered after `highest`; members that were known before there was a
    /// history keep the number that they had, where `numbered`.
    pub fn news_sql(&self, highest: i64, edited: Option<Restatement>, numbered: bool) -> String {
        let restatement = edited.unwrap_or(Restatement::Open);
        let (moved, since) = (self.moved(restatement, edited.is_some()), self.since(edited.is_some()));
        let (m, v, l) = self.tables();
        let (s, d, same) = (&self.surrogate, &self.durable, self.same_key(L, M));
        let open = format!("{L}.{VALID_TO} = {END}");
        // What changes twice at one instant has been one version.
        let later = format!("{moved} AND {since} > {L}.{VALID_FROM}");
        let number = format!("{highest} + row_number() OVER (ORDER BY {})", self.keys(M));
        let (named, known) = match numbered {
            true => (
                format!("CASE WHEN {L}.{s} IS NULL THEN coalesce({N}.{s}, {number}) ELSE {number} END"),
                format!(
                    " LEFT JOIN {} AS {N} ON {}",
                    numbers_reference(self.model).to_quoted_string(),
                    self.same_key(N, M)
                ),
            ),
            false => (number, String::new()),
        };
        let returns = match &self.effective {
            Some((now, _)) => format!(
                "CASE WHEN coalesce({now} >= {L}.{VALID_TO} AND {now} <= run_at(), FALSE) THEN {now} ELSE run_at() END"
            ),
            None => "run_at()".to_owned(),
        };
        let from = format!(
            "CASE WHEN {L}.{s} IS NULL THEN {BEGINNING} WHEN {L}.{VALID_TO} < {END} THEN {returns} ELSE {since} END"
        );
        let begins = format!(
            "SELECT {} FROM {m} LEFT JOIN {l} ON {same}{known} WHERE {L}.{s} IS NULL OR {L}.{VALID_TO} < {END} OR ({later})",
            self.row(
                M,
                &named,
                &format!("coalesce({L}.{d}, {named})"),
                [&from, END, "CAST(NULL AS TEXT)"],
                |column| self.value(column, M, None)
            ),
        );
        let version = |of: &str, to: &str, why: &str, value: &dyn Fn(&str) -> String| {
            self.row(
                of,
                &format!("{of}.{s}"),
                &format!("{of}.{d}"),
                [&format!("{of}.{VALID_FROM}"), to, why],
                value,
            )
        };
        let ends = format!(
            "SELECT {} FROM {m} JOIN {l} ON {same} WHERE {open} AND {later}",
            version(L, &since, &format!("'{CHANGED}'"), &|column| self.value(column, M, Some(L))),
        );
        let in_place = format!(
            "SELECT {} FROM {m} JOIN {l} ON {same} WHERE {open} AND {moved} AND NOT ({since} > {L}.{VALID_FROM})",
            version(L, END, "CAST(NULL AS TEXT)", &|column| self.value(column, M, None)),
        );
        let gone = format!(
            "SELECT {} FROM {l} WHERE {open} AND NOT EXISTS (SELECT 1 FROM {m} WHERE {same})",
            version(L, "run_at()", &format!("'{DELETED}'"), &|column| format!("{L}.{}", quote(column))),
        );
        let (overwritten, values) = self.overwritten(restatement);
        let overwrites = format!(
            "SELECT {} FROM {v} JOIN {m} ON {} JOIN {l} ON {} WHERE {overwritten} AND NOT ({V}.{s} = {L}.{s} AND {open} AND {moved})",
            version(V, &format!("{V}.{VALID_TO}"), &format!("{V}.{}", quote(ENDED)), &*values),
            self.same_key(V, M),
            self.same_key(V, L),
        );
        let all =
            [begins, ends, in_place, gone, overwrites].map(|part| format!("SELECT * FROM ({part}) AS {X}"));
        let columns = listed(N, self.log_columns().into_iter());
        format!("SELECT {columns} FROM ({}) AS {N} ORDER BY {N}.{s}", all.join(" UNION ALL "))
    }

    /// A column's value: of a version's own where it belongs to it, else tonight's.
    fn value(&self, column: &str, tonight: &str, version: Option<&str>) -> String {
        let from = version.filter(|_| self.belongs(column)).unwrap_or(tonight);
        format!("{from}.{}", quote(column))
    }

    /// One row of the log.
    fn row(
        &self,
        keys: &str,
        surrogate: &str,
        durable: &str,
        [from, to, why]: [&str; 3],
        value: impl Fn(&str) -> String,
    ) -> String {
        let next = format!(
            "(SELECT coalesce(max({0}), 0) + 1 FROM {1})",
            quote(REVISION),
            registry_reference(self.model).to_quoted_string()
        );
        let mut columns = vec![self.keys(keys)];
        columns.push(format!("CAST({surrogate} AS BIGINT) AS {}", self.surrogate));
        columns.push(format!("CAST({durable} AS BIGINT) AS {}", self.durable));
        columns.push(format!("CAST({next} AS BIGINT) AS {}", quote(REVISION)));
        columns.push(format!("{from} AS {VALID_FROM}, {to} AS {VALID_TO}, {why} AS {}", quote(ENDED)));
        columns.extend(self.rest.iter().map(|column| format!("{} AS {}", value(column), quote(column))));
        // What nobody tells any more stays what it was last, of a next version too.
        let of = if keys == M { L } else { keys };
        columns.extend(self.kept.iter().map(|column| format!("{of}.{0} AS {0}", quote(column))));
        columns.join(", ")
    }

    /// Which versions of those who are there are overwritten, and with what.
    fn overwritten(&self, restatement: Restatement) -> (String, Values<'_>) {
        let others = self.differs(V, M, |column| !self.belongs(column));
        if restatement == Restatement::Open {
            return (others, Box::new(|column| self.value(column, M, Some(V))));
        }
        let restated = |column: &str| {
            format!("({L}.{VALID_TO} = {END} AND ({M}.{0} IS DISTINCT FROM {L}.{0}))", quote(column))
        };
        let tracked = self.rest.iter().filter(|column| self.versions.tracks(column));
        let which = tracked.map(|column| {
            format!("({} AND ({V}.{1} IS DISTINCT FROM {M}.{1}))", restated(column), quote(column))
        });
        let which: Vec<String> = std::iter::once(others).chain(which).collect();
        let values = move |column: &str| match self.versions.tracks(column) {
            true => format!("CASE WHEN {} THEN {M}.{1} ELSE {V}.{1} END", restated(column), quote(column)),
            false => self.value(column, M, Some(V)),
        };
        (format!("({})", which.join(" OR ")), Box::new(values))
    }

    fn log_columns(&self) -> Vec<String> {
        let ours = [
            self.surrogate.clone(),
            self.durable.clone(),
            quote(REVISION),
            VALID_FROM.to_owned(),
            VALID_TO.to_owned(),
            quote(ENDED),
        ];
        let rest =
            self.rest.iter().map(|column| quote(column)).chain(self.kept.iter().map(|column| quote(column)));
        self.key.iter().cloned().chain(ours).chain(rest).collect()
    }

    /// What is published: every version but those that were over as soon as they began, rows that nobody can be known by, so
    /// that the audit finds them, and the unknown member. A key that the model gives twice comes twice.
    pub fn published_sql(&self, raw: &Schema, unknown_member: &str) -> String {
        let (s, d) = (&self.surrogate, &self.durable);
        let names: Vec<String> = raw.fields().iter().map(|field| quote(field.name())).collect();
        let unknown: Vec<String> = self.key.iter().map(|key| format!("{M}.{key} IS NULL")).collect();
        let model = model_reference(self.model).to_quoted_string();
        let never = format!(
            "coalesce({V}.{} = '{DELETED}' AND {V}.{VALID_TO} = {V}.{VALID_FROM}, FALSE)",
            quote(ENDED)
        );
        format!(
            "SELECT {V}.{s}, {V}.{d}, {v}, {V}.{VALID_FROM}, {V}.{VALID_TO}, {V}.{VALID_TO} = {END} AS {IS_CURRENT} FROM ({versions}) AS {V} LEFT JOIN (SELECT {keys} FROM {model} AS {M}) AS {M} ON {same} AND {V}.{VALID_TO} = {END} WHERE NOT {never} UNION ALL SELECT CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), {m}, {BEGINNING}, {END}, TRUE FROM {model} AS {M} WHERE {unknown} UNION ALL SELECT CAST(-1 AS BIGINT), CAST(-1 AS BIGINT), {unknown_member}, {BEGINNING}, {END}, TRUE",
            v = listed(V, names.iter().cloned()),
            m = listed(M, names.iter().cloned()),
            versions = self.versions_sql(),
            keys = self.keys(M),
            same = self.same_key(V, M),
            unknown = unknown.join(" OR "),
        )
    }

    /// How many versions ended because of a next one that doesn't begin where they end.
    pub fn gaps_sql(&self) -> String {
        let (d, s, ended) = (&self.durable, &self.surrogate, quote(ENDED));
        format!(
            "SELECT count(*) FROM (SELECT {V}.{VALID_TO}, {V}.{ended}, lead({V}.{VALID_FROM}) OVER (PARTITION BY {V}.{d} ORDER BY {V}.{VALID_FROM}, {V}.{s}) AS {TOP} FROM ({}) AS {V}) AS {X} WHERE {X}.{ended} = '{CHANGED}' AND ({X}.{VALID_TO} IS DISTINCT FROM {X}.{TOP})",
            self.versions_sql()
        )
    }
}

fn listed(of: &str, columns: impl Iterator<Item = String>) -> String {
    columns.map(|column| format!("{of}.{column}")).collect::<Vec<_>>().join(", ")
}

/// A column of a table that is a time, as the instant that it is in the pipeline's zone.
pub fn instant_of(value: &str, column: &str, raw: &Schema, zone: &str) -> String {
    match raw.field_with_name(column).map(|field| field.data_type()) {
        Ok(DataType::Timestamp(_, None) | DataType::Date32) => {
            format!("timezone('{zone}', CAST({value} AS TIMESTAMP(6)))")
        }
        _ => value.to_owned(),
    }
}

/// What a lookup asks besides the key of a dimension that has versions: the one of a time, or the current one.
pub fn asked_of(alias: &str, time: Option<&str>) -> String {
    match time {
        Some(time) => format!(" AND {alias}.{VALID_FROM} <= {time} AND {time} < {alias}.{VALID_TO}"),
        None => format!(" AND {alias}.{IS_CURRENT}"),
    }
}
