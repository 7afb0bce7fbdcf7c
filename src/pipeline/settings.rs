//! The source's settings resolved: where it is, how its types travel, its bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::catalog::{Relation, RelationKind};
use super::file::{PipelineFile, Text};
use super::filter::SourceFilter;
use super::resolve::Resolver;
use super::{
    ColumnAs, Decimal, Extremes, FarDates, Location, PostgresUrl, SILENT_MAX, SourceSettings, Special,
    TypePolicy,
};
use crate::name::{SourceTable, list};
use crate::secret;

/// Why a relation isn't read, and what would let it be.
pub struct Refusal {
    pub message: String,
    pub help: String,
}

impl SourceSettings {
    /// The foreign tables that a relation is or reads, and that the pipeline doesn't allow: their rows
    /// are in no snapshot of this server.
    pub fn foreign_below<'a>(
        &'a self,
        table: &'a SourceTable,
        relation: &'a Relation,
    ) -> impl Iterator<Item = Refusal> + 'a {
        let allowed =
            |table: &SourceTable| self.allow_foreign.iter().any(|name| name.value == table.to_string());
        let beneath = relation.beneath.iter().filter(|beneath| beneath.kind == RelationKind::ForeignTable);
        let itself = (relation.kind == RelationKind::ForeignTable).then_some(table);
        let foreign = itself.into_iter().chain(beneath.map(|beneath| &beneath.table));
        foreign.filter(move |foreign| !allowed(table) && !allowed(foreign)).map(move |foreign| Refusal {
            message: match foreign == table {
                true => format!("{table} is a foreign table: its rows are not part of the source snapshot"),
                false => format!(
                    "{table} reads the foreign table {foreign}, whose rows are not part of the source snapshot"
                ),
            },
            help: format!("if that is acceptable, add to [source]: allow_foreign = [\"{foreign}\"]"),
        })
    }
}

impl Resolver<'_> {
    pub(super) fn source(&self, file: &PipelineFile) -> Option<SourceSettings> {
        let source = &file.source;
        let url = source.url.as_ref()?;
        let location = if url.value.trim().is_empty() {
            let message = "the source's url is empty";
            let help = "write postgres://user@host/database, or a folder; if it is a variable's, set that";
            self.notes.error(url.span.clone(), message, help);
            return None;
        } else if is_postgres(&url.value) {
            self.whole_address(url);
            Location::Postgres(PostgresUrl::new(url.value.clone()))
        } else if url.value.contains("password=") || url.value.starts_with("host=") {
            let message = "a source is not given by keywords and values";
            self.notes.error(url.span.clone(), message, "write postgres://user@host:port/database");
            return None;
        } else if let Some((scheme, _)) = url.value.split_once("://") {
            let message = format!("a source cannot be read from `{scheme}://`");
            self.notes.error(url.span.clone(), message, "write postgres://… or a folder");
            return None;
        } else if !self.plain_folder(url) {
            return None;
        } else {
            Location::Folder(self.project.join(&url.value))
        };
        let default = Decimal { precision: 38, scale: 10 };
        let numeric = source.numeric.as_ref().map_or(Some(default), |text| match column_as(&text.value) {
            Some(ColumnAs::Decimal(decimal)) => Some(decimal),
            _ => {
                self.notes.error(
                    text.span.clone(),
                    "`numeric` must be a decimal type",
                    "write \"decimal(38,10)\"",
                );
                None
            }
        });
        let special = [("refuse", Special::Refuse), ("null", Special::Null), ("clamp", Special::Clamp)];
        let far_dates = [
            ("keep", FarDates::Keep),
            ("refuse", FarDates::Refuse),
            ("null", FarDates::Null),
            ("clamp", FarDates::Clamp),
        ];
        let special = self.choice("special", &source.special, &special);
        let far_dates = self.choice("far_dates", &source.far_dates, &far_dates);
        let duration = |text: &Option<Text>, default: u64| match text {
            Some(text) => self.duration(text),
            None => Some(Duration::from_secs(default)),
        };
        let schemas: Vec<String> = match &source.schemas {
            Some(schemas) => schemas.iter().map(|schema| schema.value.clone()).collect(),
            None => vec!["public".to_owned()],
        };
        Some(SourceSettings {
            url: location,
            schemas: schemas.clone(),
            connections: source.connections.and_then(|n| usize::try_from(n).ok()).unwrap_or(2),
            snapshot_max: duration(&source.snapshot_max, 30 * 60)?,
            silent_max: match &source.silent_max {
                Some(text) => self.duration(text)?,
                None => SILENT_MAX,
            },
            lock_timeout: duration(&source.lock_timeout, 10)?,
            statement_timeout: match &source.statement_timeout {
                Some(text) => Some(self.duration(text)?),
                None => None,
            },
            types: TypePolicy {
                numeric: numeric?,
                extremes: Extremes { special: special?, far_dates: far_dates? },
                columns: self.column_types(file),
                masks: self.masks(source, &schemas),
            },
            filters: source
                .filters
                .iter()
                .filter_map(|(table, condition)| SourceFilter::resolve(table, condition, self.notes))
                .collect(),
            allow_empty: source.allow_empty.clone(),
            allow_foreign: source.allow_foreign.clone(),
        })
    }

    /// A folder's path becomes a name that is shown everywhere, so what looks like an address is none.
    pub(super) fn plain_folder(&self, url: &Text) -> bool {
        let plain = secret::without(&url.value) == url.value
            && !["postgres:", "postgresql:", "postgres//"].iter().any(|start| url.value.starts_with(start));
        if !plain {
            let message = "this is neither an address nor a folder";
            self.notes.error(url.span.clone(), message, "write postgres://user@host/database, or a folder");
        }
        plain
    }

    /// An address that names a user with a password needs a host behind them.
    pub(super) fn whole_address(&self, url: &Text) {
        if !url.value.contains('@') && secret::without(&url.value) != url.value {
            let message = "this address has a user and a password, but no host";
            self.notes.error(url.span.clone(), message, "write postgres://user@host/database");
        }
    }

    /// One of some words; the first is what is meant when nothing is said.
    pub(super) fn choice<T: Copy>(&self, key: &str, text: &Option<Text>, choices: &[(&str, T)]) -> Option<T> {
        let Some(text) = text else { return choices.first().map(|(_, choice)| *choice) };
        let chosen = choices.iter().find(|(word, _)| *word == text.value);
        if chosen.is_none() {
            let message = format!("`{key}` cannot be `{}`", text.value);
            let valid = format!("valid: {}", list(choices.iter().map(|(word, _)| word)));
            self.notes.error(text.span.clone(), message, valid);
        }
        chosen.map(|(_, choice)| *choice)
    }

    fn column_types(&self, file: &PipelineFile) -> BTreeMap<String, ColumnAs> {
        let mut types = BTreeMap::new();
        for (name, mapping) in &file.source.columns {
            if name.value.split('.').count() != 3 {
                self.notes.error(
                    name.span.clone(),
                    "a column is named with its table and schema",
                    "write \"public.rates.fx\"",
                );
            }
            let Some(mapping) = mapping else { continue };
            match column_as(&mapping.value) {
                Some(mapping) => {
                    types.insert(name.value.clone(), mapping);
                }
                None => self.notes.error(
                    mapping.span.clone(),
                    format!("a column cannot be read as `{}`", mapping.value),
                    "valid: \"decimal(p,s)\" with p from 1 to 76 and s from 0 to p, and \"text\"",
                ),
            }
        }
        types
    }
}

pub(super) fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// `decimal(p,s)` or `text`.
fn column_as(text: &str) -> Option<ColumnAs> {
    if text.eq_ignore_ascii_case("text") {
        return Some(ColumnAs::Text);
    }
    let inner = text.trim().strip_prefix("decimal(")?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',')?;
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: i8 = scale.trim().parse().ok()?;
    let fits = (1..=Decimal::WIDEST).contains(&precision) && scale >= 0 && scale as u8 <= precision;
    fits.then_some(ColumnAs::Decimal(Decimal { precision, scale }))
}
