//! Masks of tonight against those of the nights before: another one is accepted by name, and what was kept by the old values
//! goes.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};
use crate::name::{ModelName, list};
use crate::pipeline::Pipeline;
use crate::star::design::Design;
use crate::star::diff::TableDiff;
use crate::store::manifest::Manifest;

/// What a night does about masks.
#[derive(Debug, Default)]
pub struct Remasked {
    /// Models that have other values of some column tonight, because its mask is another.
    pub models: BTreeSet<ModelName>,
    /// The masks that the next night is held against.
    pub masks: BTreeMap<String, String>,
}

/// A column's mask before and now.
type Change<'a> = (Option<&'a String>, Option<&'a String>);

/// Holds tonight's masks against those of the published star. A column that is masked otherwise has other values in every
/// row, and one that is masked no more, or whose name is another's now, shows what nobody was to see: only by the user's word.
pub fn remasked(
    before: Option<&Manifest>,
    now: &BTreeMap<String, String>,
    pipeline: &Pipeline,
    design: &Design,
    accepted: &[String],
) -> Result<Remasked> {
    let mut changes: BTreeMap<&str, Change<'_>> = BTreeMap::new();
    let known = before.map(|before| &before.masks);
    for (column, was) in known.into_iter().flatten() {
        changes.insert(column, (Some(was), now.get(column)));
    }
    for (column, mask) in
        now.iter().filter(|(column, _)| known.is_none_or(|known| !known.contains_key(*column)))
    {
        // A column that was not read has no values in the star that could become others.
        let was_read = before.is_some_and(|before| {
            before.source.iter().any(|read| {
                let name = column.strip_prefix(&format!("{}.", read.table));
                name.is_some_and(|name| read.columns.iter().any(|column| column == name))
            })
        });
        if was_read {
            changes.insert(column, (None, Some(mask)));
        }
    }
    changes.retain(|_, (was, now)| was != now);
    let unknown =
        accepted.iter().filter(|name| name.contains('.')).find(|name| !changes.contains_key(name.as_str()));
    if let Some(unknown) = unknown.filter(|name| !now.contains_key(*name)) {
        let message = format!("there is no column `{unknown}` whose mask could be accepted");
        return Err(Error::new(ErrorKind::Usage, message)
            .hint("name it with schema, table and column, as the error does that asks for it"));
    }
    let refused: Vec<(&&str, &Change<'_>)> =
        changes.iter().filter(|(column, _)| !accepted.iter().any(|name| name == **column)).collect();
    if !refused.is_empty() {
        let told = refused.iter().map(|(column, (was, now))| {
            let was = was.map_or("no mask".to_owned(), |mask| format!("\"{mask}\""));
            let now = now.map_or("no mask, if it is there at all".to_owned(), |mask| format!("\"{mask}\""));
            format!("the mask of {column} changed: from {was} to {now}")
        });
        let told: Vec<String> = told.collect();
        let accept: Vec<String> = refused.iter().map(|(column, _)| format!("--accept {column}")).collect();
        return Err(Error::new(ErrorKind::Pipeline, told.join("; "))
            .hint(format!("change it back, or say that it is meant: {}", accept.join(" "))));
    }
    let mut masks = now.clone();
    for (column, was) in known.into_iter().flatten() {
        // What is gone and was not spoken of is remembered.
        if !changes.contains_key(column.as_str()) {
            masks.entry(column.clone()).or_insert_with(|| was.clone());
        }
    }
    Ok(Remasked { models: users(&changes.keys().copied().collect(), pipeline, design), masks })
}

/// The models that have values of some columns, by themselves or through others.
fn users(columns: &BTreeSet<&str>, pipeline: &Pipeline, design: &Design) -> BTreeSet<ModelName> {
    let mut users = BTreeSet::new();
    for (table, read) in &design.reads {
        for (column, models) in &read.used_by {
            if columns.contains(format!("{table}.{column}").as_str()) {
                users.extend(models.iter().cloned());
            }
        }
    }
    // In build order, so those who read one come after it.
    for model in &pipeline.models {
        if model.reads.iter().any(|read| users.contains(read)) {
            users.insert(model.name.clone());
        }
    }
    users
}

impl Remasked {
    /// Takes from what is told of a night the values that were there before the mask.
    pub fn hide(&self, changes: &mut [TableDiff]) {
        for table in
            changes.iter_mut().filter(|diff| self.models.iter().any(|model| model.as_str() == diff.table))
        {
            table.examples.clear();
        }
    }

    /// What is told of it, if anything.
    pub fn told(&self) -> Option<String> {
        (!self.models.is_empty()).then(|| {
            format!(
                "other masks: {} have other values, and give surrogate keys and first-seen values anew, and the histories that were kept of them are lost; older snapshots and reports have the values as they were, until they are pruned",
                list(&self.models)
            )
        })
    }
}
