//! Masks held against the source: each names a column that is there, and none is gone around by a view.

use std::collections::{BTreeMap, BTreeSet};

use super::{Designer, Read};
use crate::diagnostic::Diagnostic;
use crate::name::{SourceTable, list, nearest};
use crate::pgcopy::mapping::Mapping;
use crate::pgcopy::mask::{Form, Mask};
use crate::pipeline::SourceSettings;
use crate::pipeline::catalog::{Catalog, SourceColumn};
use crate::pipeline::sql::SelectSql;

/// A mask of a column that isn't there is a slip of the pen, and would leave another one bare.
pub fn misplaced(source: &SourceSettings, catalog: &Catalog) -> Vec<Diagnostic> {
    let columns = || {
        catalog.relations.iter().flat_map(|(table, relation)| {
            relation.columns.iter().map(move |column| (format!("{table}.{}", column.name), column))
        })
    };
    let masks = &source.types.masks;
    let mut found = Vec::new();
    for (full, _) in
        columns().filter(|(full, _)| masks.columns.keys().filter(|name| masks.names(name, full)).count() > 1)
    {
        let message = format!("[source.mask] names {full} twice, with its schema and without");
        found.push(Diagnostic::error(message).help("leave one of the lines out"));
    }
    for (name, mask) in masks
        .columns
        .iter()
        .map(|(name, mask)| (name, Some(mask)))
        .chain(masks.bare.iter().map(|name| (name, None)))
    {
        let mut named = columns().filter(|(full, _)| masks.names(name, full)).peekable();
        if named.peek().is_none() {
            let names: Vec<String> = columns().map(|(full, _)| full).collect();
            let short = names.iter().filter_map(|full| full.split_once('.')).map(|(_, short)| short);
            let near = nearest(name, names.iter().map(String::as_str).chain(short));
            let help =
                near.map_or("name it with its table".to_owned(), |near| format!("did you mean `{near}`?"));
            let message = format!("[source.mask] names `{name}`, which the source has not");
            found.push(Diagnostic::error(message).help(help));
        }
        if !source.url.is_postgres() && matches!(mask, Some(Mask::Hmac(_))) {
            found.extend(named.filter_map(|(full, column)| written_in_ways(&full, column)));
        }
    }
    found
}

/// A view, or a table with partitions, shows under its own name what is masked under another's.
pub fn bare(
    source: &SourceSettings,
    catalog: &Catalog,
    reads: &BTreeMap<SourceTable, Read>,
) -> Vec<Diagnostic> {
    let masks = &source.types.masks;
    let mut found = Vec::new();
    for (table, read) in reads {
        for of in read.relation.beneath.iter().map(|beneath| &beneath.table) {
            let Some(relation) = catalog.relations.get(of) else { continue };
            let masked: BTreeSet<&str> =
                relation.columns.iter().filter(|c| c.mask.is_some()).map(|c| c.name.as_str()).collect();
            let bare = read.columns.iter().map(|column| read.schema.field(*column).name());
            let said =
                |name: &str| masks.bare.iter().any(|said| masks.names(said, &format!("{table}.{name}")));
            let bare: Vec<&String> = bare
                .filter(|name| read.relation.column(name).is_some_and(|c| c.mask.is_none()) && !said(name))
                .collect();
            if masked.is_empty() || bare.is_empty() {
                continue;
            }
            found.push(match bare.iter().find(|name| masked.contains(name.as_str())) {
                Some(name) => Diagnostic::error(format!("{table} shows {of}.{name}, which is masked, as it is"))
                    .help(format!(
                            "add to [source.mask]: \"{table}.{name}\" = …, as of {of}.{name}; or = \"none\", when it is something else"
                        )),
                None => Diagnostic::warning(format!(
                    "{table} reads {of}, of which {} masked: what of {} comes from there needs a mask of its own",
                    match masked.len() {
                        1 => format!("{} is", list(masked.iter())),
                        _ => format!("{} are", list(masked.iter())),
                    },
                    list(bare.iter()),
                )),
            });
        }
    }
    found
}

impl Designer<'_> {
    /// The masked columns that a control's source side names, for who reads its line.
    pub(super) fn masked_in(&self, sql: &SelectSql, tables: &BTreeSet<SourceTable>) -> Vec<String> {
        let named = sql.mentioned_columns();
        let mut masked = Vec::new();
        for table in tables {
            let Some(relation) = self.catalog.relations.get(table) else { continue };
            let of_it = relation.columns.iter().filter(|column| named.contains(&column.name));
            masked.extend(of_it.filter_map(|column| {
                let name = format!("{}.{}", table.table, column.name);
                Some(match column.mask.as_ref()? {
                    Mask::Hmac(_) if self.pipeline.source.url.is_postgres() => {
                        format!("{name} as it is before its mask")
                    }
                    Mask::Hmac(_) | Mask::Null | Mask::Text(_) => format!("{name} as it is masked"),
                })
            }));
        }
        masked
    }
}

/// In files the same value may be written in several ways, which have different codes.
fn written_in_ways(full: &str, column: &SourceColumn) -> Option<Diagnostic> {
    if !matches!(column.mapping, Ok(Mapping::Masked(Form::Cast))) {
        return None;
    }
    let message = format!(
        "{full} is {}, of which a file may write equal values in several ways, and each would get a code of its own",
        column.type_name
    );
    Some(
        Diagnostic::error(message)
            .help("texts, integers and uuids of files can have codes; write \"null\" or \"text:…\""),
    )
}
