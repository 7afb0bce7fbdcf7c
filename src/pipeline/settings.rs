//! The source's settings resolved: where it is, how its types travel, its bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::file::{PipelineFile, Text};
use super::resolve::Resolver;
use super::{ColumnAs, Decimal, Location, PostgresUrl, SourceSettings, Special, TypePolicy};

impl Resolver<'_> {
    pub(super) fn source(&self, file: &PipelineFile) -> Option<SourceSettings> {
        let source = &file.source;
        let url = source.url.as_ref()?;
        let location = if is_postgres(&url.value) {
            Location::Postgres(PostgresUrl::new(url.value.clone()))
        } else if url.value.contains("password=") || url.value.starts_with("host=") {
            let message = "a source is not given by keywords and values";
            self.notes.error(url.span.clone(), message, "write postgres://user@host:port/database");
            return None;
        } else if let Some((scheme, _)) = url.value.split_once("://") {
            let message = format!("a source cannot be read from `{scheme}://`");
            self.notes.error(url.span.clone(), message, "write postgres://… or a folder");
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
        let special =
            source.special.as_ref().map_or(Some(Special::Refuse), |text| match text.value.as_str() {
                "refuse" => Some(Special::Refuse),
                "null" => Some(Special::Null),
                "clamp" => Some(Special::Clamp),
                other => {
                    let message = format!("`special` cannot be `{other}`");
                    self.notes.error(text.span.clone(), message, "valid: refuse, null and clamp");
                    None
                }
            });
        let duration = |text: &Option<Text>, default: u64| match text {
            Some(text) => self.duration(text),
            None => Some(Duration::from_secs(default)),
        };
        Some(SourceSettings {
            url: location,
            schemas: match &source.schemas {
                Some(schemas) => schemas.iter().map(|schema| schema.value.clone()).collect(),
                None => vec!["public".to_owned()],
            },
            connections: source.connections.and_then(|n| usize::try_from(n).ok()).unwrap_or(2),
            snapshot_max: duration(&source.snapshot_max, 30 * 60)?,
            lock_timeout: duration(&source.lock_timeout, 10)?,
            types: TypePolicy { numeric: numeric?, special: special?, columns: self.column_types(file) },
            allow_empty: source.allow_empty.iter().map(|table| table.value.clone()).collect(),
            allow_foreign: source.allow_foreign.iter().map(|table| table.value.clone()).collect(),
        })
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
                    "valid: \"decimal(p,s)\" with p from 1 to 38 and s from 0 to p, and \"text\"",
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
    let fits = (1..=38).contains(&precision) && scale >= 0 && scale as u8 <= precision;
    fits.then_some(ColumnAs::Decimal(Decimal { precision, scale }))
}
