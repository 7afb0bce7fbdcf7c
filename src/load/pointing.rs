//! Foreign keys of others that point at a delivered table: what they would take along, and in which order rows may go.

use super::Loader;
use super::hung::oid;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{list, quote_identifier as quote};

/// A foreign key of another table.
pub struct Pointing {
    name: String,
    /// The table that has it, quoted where it must be.
    table: String,
    oid: u32,
    /// Its columns, and those of ours that they point at.
    columns: Vec<(String, String)>,
    /// Whether a row that is deleted, or whose values change, changes or deletes theirs.
    on_delete: bool,
    on_update: bool,
    /// Whether the role may look into the table.
    readable: bool,
}

impl std::fmt::Display for Pointing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the foreign key {} of {}", self.name, self.table)
    }
}

impl Pointing {
    /// Whether it is one of some.
    pub fn is_among(&self, keys: &[u32]) -> bool {
        keys.contains(&self.oid)
    }

    /// Says of a row `t` that something points at it by this key; nothing where the role cannot tell.
    fn points_at_row(&self) -> Option<String> {
        let same =
            self.columns.iter().map(|(theirs, ours)| format!("p.{} = t.{}", quote(theirs), quote(ours)));
        let same: Vec<String> = same.collect();
        self.readable
            .then(|| format!("EXISTS (SELECT FROM {} AS p WHERE {})", self.table, same.join(" AND ")))
    }

    /// The statement that drops it.
    pub fn drop(&self) -> String {
        format!("ALTER TABLE {} DROP CONSTRAINT {}", self.table, quote(&self.name))
    }
}

/// What points at a table.
pub async fn pointing(loader: &Loader<'_>, table: &str) -> Result<Vec<Pointing>> {
    let names = |of: &str, numbers: &str| {
        format!(
            "array(SELECT a.attname::text FROM unnest({numbers}) WITH ORDINALITY AS c(number, place) \
             JOIN pg_attribute AS a ON a.attrelid = {of} AND a.attnum = c.number ORDER BY c.place)"
        )
    };
    let query = format!(
        "SELECT k.conname::text, format('%I.%I', n.nspname, c.relname), {}, {}, k.confdeltype IN ('c', 'n', 'd'), \
                k.confupdtype IN ('c', 'n', 'd'), has_table_privilege(k.conrelid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AND NOT row_security_active(k.conrelid), k.oid \
         FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE k.contype = 'f' AND k.confrelid = $1 ORDER BY 2, 1",
        names("k.conrelid", "k.conkey"),
        names("k.confrelid", "k.confkey"),
    );
    let rows = loader.client.query(&query, &[&oid(loader, table).await?]).await;
    let rows = rows.map_err(|error| loader.failed(error, "show what points at its tables"))?;
    let pointing = |row: &tokio_postgres::Row| {
        let (theirs, ours): (Vec<String>, Vec<String>) = (row.get(2), row.get(3));
        Pointing {
            name: row.get(0),
            table: row.get(1),
            columns: theirs.into_iter().zip(ours).collect(),
            on_delete: row.get(4),
            on_update: row.get(5),
            readable: row.get(6),
            oid: row.get(7),
        }
    };
    Ok(rows.iter().map(pointing).collect())
}

/// Refuses to delete rows of a table where that would change those of others.
pub async fn spare_deleted(loader: &Loader<'_>, table: &str, gone: &str) -> Result<()> {
    let own = loader.own(table).await?;
    for key in pointing(loader, table).await?.iter().filter(|key| key.on_delete) {
        // Where the role cannot see what points there, any row may be pointed at.
        let pointed = key.points_at_row().map(|points| format!(" AND {points}")).unwrap_or_default();
        if !loader.exists(&format!("SELECT FROM {own} AS t WHERE ({gone}){pointed}")).await? {
            continue;
        }
        let message = format!(
            "{} has rows that the star no longer has, and deleting them would delete or change rows of others by {key}",
            loader.qualified(table)
        );
        return Err(Error::new(ErrorKind::Store, message).hint(
            "declare the foreign key again without ON DELETE CASCADE, SET NULL or SET DEFAULT, or delete what points at those rows by hand",
        ));
    }
    Ok(())
}

/// Refuses to change values that others' rows would follow. `differing` asks for rows `t` whose values among some columns are
/// others in the star.
pub async fn spare_updated(
    loader: &Loader<'_>,
    table: &str,
    pointing: &[Pointing],
    differing: impl Fn(&[&String]) -> Option<String>,
) -> Result<()> {
    for key in pointing.iter().filter(|key| key.on_update) {
        let ours: Vec<&String> = key.columns.iter().map(|(_, ours)| ours).collect();
        let Some(query) = differing(&ours) else { continue };
        let pointed = key.points_at_row().map(|points| format!(" AND {points}")).unwrap_or_default();
        if !loader.exists(&format!("{query}{pointed}")).await? {
            continue;
        }
        let message = format!(
            "{} has other values of {} in the star, and changing them would change rows of others by {key}",
            loader.qualified(table),
            list(ours)
        );
        return Err(Error::new(ErrorKind::Store, message).hint(
            "declare the foreign key again without ON UPDATE CASCADE, SET NULL or SET DEFAULT, and on the table's key",
        ));
    }
    Ok(())
}

/// Says of a row `t` that nothing points at it; nothing where the role cannot tell.
pub fn pointed_at_by_none(pointing: &[Pointing]) -> Option<String> {
    let by_none = pointing.iter().map(|key| Some(format!("NOT {}", key.points_at_row()?)));
    Some(by_none.collect::<Option<Vec<String>>>()?.join(" AND ")).filter(|said| !said.is_empty())
}
