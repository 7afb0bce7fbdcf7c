//! What a run goes on with: the keys and histories that were kept, unless the pipeline says something else of them now, which
//! counts only by the user's word.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, Schema};

use super::Request;
use super::masked::Remasked;
use crate::dialect::told::in_sql;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{ModelName, list, nearest};
use crate::pipeline::Pipeline;
use crate::pipeline::model::Model;
use crate::star::design::{Design, ModelDesign};
use crate::star::memory::Memory;
use crate::star::versions::{Restatement, definition};
use crate::star::{Edited, Registry};
use crate::store::manifest::KeysEntry;
use crate::store::{Published, Store};

/// The registry that this pipeline goes on with. A model whose key, surrogate, first-seen columns or history changed goes on
/// only by the user's word; with another key from an empty registry.
pub fn registry(
    store: &Store,
    previous: Option<&Published>,
    pipeline: &Pipeline,
    design: &Design,
    request: &Request,
    remasked: &Remasked,
) -> Result<BTreeMap<ModelName, Registry>> {
    let Some(latest) = store.latest()? else { return Ok(BTreeMap::new()) };
    let mut keys: BTreeMap<ModelName, KeysEntry> = latest.keys;
    for (_, entry) in keys.iter_mut().filter(|(name, _)| remasked.models.contains(*name)) {
        // What was given to the values as they were, or kept of them, is nobody's now.
        entry.begin_anew();
    }
    let mut begun: Vec<&ModelName> = Vec::new();
    for model in &pipeline.models {
        let record = previous.and_then(|p| p.manifest.tables.iter().find(|table| table.name == model.name));
        let record = record.map(|record| record.memory.clone());
        // The registry remembers longer than the last snapshot, from which a model may be missing.
        let registered =
            keys.get(&model.name).filter(|_| model.registered()).map(|entry| entry.shape.clone());
        let now = Memory::of(model);
        let Some(before) = registered.or(record).filter(|before| *before != now) else { continue };
        if !accepts(&request.accept, &model.name) {
            let message = format!(
                "the key, surrogate, history or first-seen columns of {} changed: from {} to {}",
                model.name, before, now
            );
            let lost = match (before.goes_on_as(&now), before.history.is_some(), before.first_seen.is_empty())
            {
                (false, true, _) => "; the history that is kept of it is lost then, and begins anew",
                (false, false, false) => {
                    "; the first-seen values that are kept of it are lost then, corrected ones too, and begin anew"
                }
                _ => "",
            };
            return Err(Error::new(ErrorKind::Pipeline, message)
                .hint(format!("change it back, or say that it is meant: --accept {}{lost}", model.name)));
        }
        if before.begins_history_as(&now) {
            begun.push(&model.name);
        } else if !before.goes_on_as(&now)
            && let Some(entry) = keys.get_mut(&model.name)
        {
            entry.begin_anew();
        }
    }
    keys.retain(|name, _| pipeline.model(name).is_some());
    let mut registry = store.registry(&keys)?;
    for (model, design) in pipeline.models.iter().zip(&design.models) {
        let name = &model.name;
        let Some(known) = registry.get_mut(name) else { continue };
        fits(model, design, known, pipeline.deployment.timezone.name())?;
        if begun.contains(&name) {
            known.numbers = std::mem::take(&mut known.tables);
        }
        known.restatement = edited(keys.get(name), pipeline, model, &design.contract.schema, &request.accept);
    }
    Ok(registry)
}

/// A frozen table's columns change only by the user's word.
pub fn frozen(
    previous: Option<&Published>,
    pipeline: &Pipeline,
    design: &Design,
    request: &Request,
) -> Result<()> {
    let Some(previous) = previous else { return Ok(()) };
    for (model, design) in pipeline.models.iter().zip(&design.models) {
        let before = previous.star.tables.iter().find(|table| *table.name() == model.name);
        let Some(before) =
            before.filter(|_| design.contract.frozen && !accepts(&request.accept, &model.name))
        else {
            continue;
        };
        let changes = design.contract.changes(before.schema());
        if !changes.is_empty() {
            let message =
                format!("the columns of {} are frozen, and would change: {}", model.name, list(&changes));
            return Err(Error::new(ErrorKind::Pipeline, message)
                .hint(format!("change them back, or say that it is meant: --accept {}", model.name)));
        }
    }
    Ok(())
}

/// Whether the SELECT that a history is kept of is another since, and what was said about it.
fn edited(
    entry: Option<&KeysEntry>,
    pipeline: &Pipeline,
    model: &Model,
    gives: &Schema,
    accepted: &[String],
) -> Edited {
    let before = entry.and_then(|entry| entry.definition.as_ref()).filter(|_| model.history().is_some());
    match (before, said(accepted, &model.name)) {
        (Some(before), said) if *before != definition(pipeline, model, gives) => {
            said.map_or(Edited::Unsaid, Edited::Said)
        }
        _ => Edited::No,
    }
}

/// The model of `--accept model`, and what is said of its history: `--accept model=restate`.
fn parts(accepted: &str) -> (&str, Option<&str>) {
    accepted.split_once('=').map_or((accepted, None), |(model, choice)| (model, Some(choice)))
}

/// Whether a change of a model is accepted.
pub fn accepts(accepted: &[String], model: &ModelName) -> bool {
    accepted.iter().any(|name| parts(name).0 == model.as_str())
}

fn said(accepted: &[String], model: &ModelName) -> Option<Restatement> {
    let of_it = accepted.iter().map(|name| parts(name)).filter(|(name, _)| *name == model.as_str());
    of_it.filter_map(|(_, choice)| choice_of(choice?)).next()
}

fn choice_of(choice: &str) -> Option<Restatement> {
    match choice {
        "restate" => Some(Restatement::Restate),
        "open" => Some(Restatement::Open),
        _ => None,
    }
}

/// What is accepted must be there, or the acceptance is a slip of the pen.
pub fn known_models(pipeline: &Pipeline, accepted: &[String]) -> Result<()> {
    let names = || pipeline.models.iter().map(|model| model.name.as_str());
    // A column's mask is held against the source later.
    for (name, choice) in accepted.iter().filter(|name| !name.contains('.')).map(|name| parts(name)) {
        let Some(model) = pipeline.models.iter().find(|model| model.name.as_str() == name) else {
            let hint = match nearest(name, names()) {
                Some(near) => format!("did you mean `--accept {near}`?"),
                None => format!("models here: {}", list(names())),
            };
            let message = format!("{} has no model `{name}` to accept", pipeline.deployment.name);
            return Err(Error::new(ErrorKind::Usage, message).hint(hint));
        };
        let Some(choice) = choice else { continue };
        if model.history().is_none() || choice_of(choice).is_none() {
            let message = match model.history() {
                None => format!("`{name}` keeps no history that `{choice}` could be said of"),
                Some(_) => format!("`{choice}` says nothing about the history of `{name}`"),
            };
            let hint = match model.history() {
                None => format!("write --accept {name}"),
                Some(_) => format!("write --accept {name}=restate or --accept {name}=open"),
            };
            return Err(Error::new(ErrorKind::Usage, message).hint(hint));
        }
    }
    for model in &pipeline.models {
        let of_it = accepted.iter().map(|name| parts(name)).filter(|(name, _)| *name == model.name.as_str());
        let choices: BTreeSet<&str> = of_it.filter_map(|(_, choice)| choice).collect();
        if choices.len() > 1 {
            let message = format!("{} is said of `{}`", list(&choices), model.name);
            return Err(Error::new(ErrorKind::Usage, message).hint("say one of them"));
        }
    }
    Ok(())
}

/// What is kept of a model's rows must be what it gives: another type may say the same in other words, or less.
fn fits(model: &Model, design: &ModelDesign, known: &Registry, zone: &str) -> Result<()> {
    let now = design.contract.memory.published_schema(&design.raw, zone);
    for field in known.tables.iter().chain(&known.numbers).flat_map(|table| table.schema().fields()) {
        let Ok(given) = now.field_with_name(field.name()) else { continue };
        if holds(field.data_type(), given.data_type()) {
            continue;
        }
        let column = field.name();
        let (before, after) =
            (in_sql(&field.data_type().to_string()), in_sql(&given.data_type().to_string()));
        let message = format!(
            "{}.{column} is kept as {before}, and would be {after}, in which it would not be what it was",
            model.name
        );
        let is_key = design.contract.memory.key.contains(column);
        return Err(Error::new(ErrorKind::Pipeline, message).hint(match is_key {
            true => format!("cast it in the SELECT to what it was: CAST({column} AS {before}); or give the key another name with AS, under which keys are given anew"),
            false => format!("cast it in the SELECT to what it was: CAST({column} AS {before}); or give it another name with AS, under which it begins anew"),
        }));
    }
    Ok(())
}

/// Whether a type has every value of another, written alike.
fn holds(before: &DataType, now: &DataType) -> bool {
    use DataType::{Decimal128, Float32, Float64, Int16, Int32, Int64, Utf8};
    let digits = |integer: &DataType| match integer {
        Int16 => 5,
        Int32 => 10,
        _ => 19,
    };
    match (before, now) {
        (one, other) if one == other => true,
        (Int16, Int32 | Int64) | (Int32, Int64) | (Int16 | Int32 | Int64, Utf8) | (Float32, Float64) => true,
        (Int16 | Int32 | Int64, Decimal128(precision, scale)) => {
            i16::from(*precision) - i16::from(*scale) >= digits(before)
        }
        (Decimal128(p, s), Decimal128(precision, scale)) => {
            scale >= s && i16::from(*precision) - i16::from(*scale) >= i16::from(*p) - i16::from(*s)
        }
        _ => false,
    }
}
