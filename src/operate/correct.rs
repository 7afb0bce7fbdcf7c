//! Changes first-seen values on purpose, and keeps who did it and why.

use std::path::Path;

use serde::Serialize;

use super::member::{named, pairs};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{self, Deployment};
use crate::star::correction::Correction;
use crate::store::correct::Corrected;
use crate::store::manifest::{Latest, Manifest};
use crate::store::{Store, StoreWriter};

/// Which values of which row shall be what.
#[derive(Debug, Clone)]
pub struct CorrectRequest {
    pub table: String,
    /// A value of the table's key; `column=value,column=value` where it has several columns.
    pub key: String,
    /// `column=value`.
    pub set: Vec<String>,
    /// Columns that become NULL.
    pub set_null: Vec<String>,
    pub because: String,
}

/// What changes, or was changed.
#[derive(Debug, Serialize)]
pub struct Corrections {
    pub pipeline: String,
    pub table: String,
    pub corrections: Vec<Correction>,
    pub done: bool,
}

/// What would change; nothing does.
pub fn plan(path: &Path, request: &CorrectRequest) -> Result<Corrections> {
    let deployment = pipeline::deployment(path)?;
    let store = Store::there(&deployment)?;
    let latest = store.commit_point()?;
    let wish = wished(&deployment, &store, &latest, request)?;
    let corrections = store.correcting(&latest, &wish)?;
    Ok(told(&deployment, &wish, corrections, false))
}

/// Does it; the next run shows it.
pub async fn correct(path: &Path, request: &CorrectRequest) -> Result<Corrections> {
    let deployment = pipeline::deployment(path)?;
    let writer = StoreWriter::for_command(&deployment)?;
    let latest = writer.store().commit_point()?;
    let wish = wished(&deployment, writer.store(), &latest, request)?;
    let corrections = writer.correct(&wish).await?;
    Ok(told(&deployment, &wish, corrections, true))
}

fn told(deployment: &Deployment, wish: &Corrected, corrections: Vec<Correction>, done: bool) -> Corrections {
    Corrections { pipeline: deployment.name.clone(), table: wish.table.to_string(), corrections, done }
}

fn wished(
    deployment: &Deployment,
    store: &Store,
    latest: &Latest,
    request: &CorrectRequest,
) -> Result<Corrected> {
    let manifest = store.manifest(&latest.snapshot)?;
    if manifest.pipeline.name != deployment.name {
        let message = format!(
            "the store is that of the pipeline {}, and not of {}",
            manifest.pipeline.name, deployment.name
        );
        return Err(Error::new(ErrorKind::Usage, message).hint("name the pipeline whose star it is"));
    }
    let named = named(store, latest, &request.table)?;
    let (columns, key) = pairs(&request.key, &named)?;
    let mut set = Vec::new();
    for pair in &request.set {
        let Some((column, value)) = pair.split_once('=') else {
            return Err(Error::new(ErrorKind::Usage, format!("`{pair}` sets nothing"))
                .hint("write --set column=value; --set-null column sets NULL"));
        };
        set.push((column.to_owned(), Some(value.to_owned())));
    }
    set.extend(request.set_null.iter().map(|column| (column.clone(), None)));
    if let Some((column, _)) =
        set.iter().find(|(one, _)| set.iter().filter(|(other, _)| other == one).count() > 1)
    {
        return Err(Error::new(ErrorKind::Usage, format!("{column} is set twice")).hint("set it once"));
    }
    for (column, _) in &set {
        unmasked(&manifest, named.table.as_str(), column)?;
    }
    if request.because.trim().is_empty() {
        return Err(Error::new(ErrorKind::Usage, "a correction needs a reason")
            .hint("say it with --because: whoever reads the history wants to know it"));
    }
    Ok(Corrected { table: named.table, columns, key, set, because: request.because.clone() })
}

/// Nothing of a store has the values of a masked column, so nobody writes one into it.
fn unmasked(manifest: &Manifest, table: &str, column: &str) -> Result<()> {
    let of = |name: &str| manifest.tables.iter().find(|record| record.name.as_str() == name);
    let columns = of(table).into_iter().flat_map(|record| &record.columns);
    let made_of = columns.filter(|known| known.name == column).flat_map(|known| &known.note.made_of);
    for source in made_of {
        let is_it = |masked: &&String| **masked == *source || masked.ends_with(&format!(".{source}"));
        if manifest.masks.keys().any(|masked| is_it(&masked)) {
            let message =
                format!("{table}.{column} is made of {source}, which is masked: nothing here has its values");
            return Err(Error::new(ErrorKind::Usage, message)
                .hint("correct it in the source; `starmill snapshots forget` takes the row out of everything that is kept, and the next run has it anew"));
        }
    }
    Ok(())
}
