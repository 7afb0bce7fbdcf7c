//! How people name a row of a table: by a value of its key, or by `column=value,column=value`.

use crate::error::{Error, ErrorKind, Result};
use crate::name::{ModelName, list, nearest};
use crate::store::Store;
use crate::store::manifest::Latest;

/// A table and the columns of its key.
pub struct Named {
    pub table: ModelName,
    pub key: Vec<String>,
}

/// The table as the newest snapshot has it that has it; or as the registry does, which remembers longer.
pub fn named(store: &Store, latest: &Latest, table: &str) -> Result<Named> {
    let mut known: Vec<ModelName> = latest.keys.keys().cloned().collect();
    for id in latest.snapshots.iter().rev() {
        let manifest = store.manifest(id)?;
        if let Some(record) = manifest.tables.iter().find(|record| record.name.as_str() == table) {
            return Ok(Named { table: record.name.clone(), key: record.memory.key.clone() });
        }
        known.extend(manifest.tables.into_iter().map(|record| record.name));
    }
    if let Some((name, entry)) = latest.keys.iter().find(|(name, _)| name.as_str() == table) {
        let key = entry.shape.key.clone();
        return Ok(Named { table: name.clone(), key });
    }
    known.sort();
    known.dedup();
    let help = match nearest(table, known.iter().map(ModelName::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its tables: {}", list(&known)),
    };
    Err(Error::new(ErrorKind::Usage, format!("no snapshot that is kept has a table `{table}`")).hint(help))
}

/// The columns that name a row, with their values: of a key of one column its value, else `column=value,column=value`. A
/// value may have commas, since only what a column's name follows begins the next one.
pub fn pairs(text: &str, named: &Named) -> Result<(Vec<String>, Vec<String>)> {
    match named.key.as_slice() {
        [] => {
            return Err(Error::new(ErrorKind::Usage, format!("{} has no key by which a row could be named", named.table)).hint(
                "rows of a table without a key can only be forgotten with their snapshots: `starmill snapshots prune`",
            ));
        }
        [column] => return Ok((vec![column.clone()], vec![text.to_owned()])),
        _ => {}
    }
    let mut begins: Vec<(usize, &String)> = Vec::new();
    for column in &named.key {
        let begin = format!("{column}=");
        let at = text.match_indices(&begin).map(|(at, _)| at);
        begins.extend(
            at.filter(|at| *at == 0 || text.get(..*at).is_some_and(|before| before.ends_with(',')))
                .map(|at| (at, column)),
        );
    }
    begins.sort();
    let ends = begins.iter().skip(1).map(|(at, _)| at - 1).chain([text.len()]);
    let found: Vec<(&String, String)> = begins
        .iter()
        .zip(ends)
        .map(|((at, column), end)| {
            (*column, text.get(at + column.len() + 1..end).unwrap_or_default().to_owned())
        })
        .collect();
    let whole = begins.first().is_some_and(|(at, _)| *at == 0);
    let once = |column: &String| found.iter().filter(|(name, _)| *name == column).count() == 1;
    if !whole || !named.key.iter().all(once) || found.len() != named.key.len() {
        let wanted: Vec<String> = named.key.iter().map(|column| format!("{column}=…")).collect();
        let message = format!("`{text}` is no key of {}, which is {}", named.table, list(&named.key));
        return Err(
            Error::new(ErrorKind::Usage, message).hint(format!("write --key \"{}\"", wanted.join(",")))
        );
    }
    let value =
        |column: &String| found.iter().find(|(name, _)| *name == column).map(|(_, value)| value.clone());
    Ok((named.key.clone(), named.key.iter().filter_map(value).collect()))
}
