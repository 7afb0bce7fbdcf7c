//! What has to become of a table's columns and keys so that it takes the star's rows: planned first, from the catalog alone, so
//! that what stands in the way is known before a night is built; then done.

use super::depending::Fate;
use super::hung;
use super::keys::{self, KeyChange};
use super::pointing::pointing;
use super::receipt::Receipt;
use super::shape::{Column, ColumnThere, Constraints, columns_there};
use super::{Loader, depending, foreign, views};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{list, quote_identifier as quote};
use crate::pgcopy::encode;
use crate::star::diff::widens;
use crate::star::table::StarTable;

/// What has to be done to a table.
pub struct Reshaping {
    changes: Vec<Change>,
    keys: KeyChange,
    /// Whether nobody has anything in its rows, so that they may be written anew.
    only_ours: bool,
    /// What stands in the way, each with what helps.
    pub refused: Vec<Error>,
}

enum Change {
    Drop(String),
    /// With what hangs on the column.
    Retype {
        to: Column,
        is_key: bool,
        not_null: bool,
        hung: Vec<String>,
        keeps_values: bool,
    },
    Add(Column),
}

impl Reshaping {
    /// Whether only the table's owner may do it.
    pub fn wants_owner(&self) -> bool {
        !self.changes.is_empty() || self.keys.state != Constraints::Kept
    }
}

/// What became of an existing table's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shaped {
    pub keys: Constraints,
    /// Whether a column came or went, or got a type that does not hold its values, so that every row is to be written.
    pub values_changed: bool,
    /// Rows that were deleted, since their keys could not be kept.
    pub emptied: u64,
    /// Columns that somebody declared NOT NULL, and that are so again once their values are written.
    pub not_null: Vec<String>,
}

impl Shaped {
    /// Whether its rows are those that it had.
    pub fn has_its_rows(&self) -> bool {
        self.keys == Constraints::Kept && !self.values_changed
    }
}

/// Plans to give an existing table the columns that the star has now, and to take keys away that are not its keys any more.
/// Columns and constraints that somebody else made stay; what depends on a column or key of ours is its owner's affair: there
/// is no CASCADE.
pub async fn planned(
    loader: &Loader<'_>,
    table: &StarTable,
    columns: &[Column],
    receipt: &Receipt,
    same_key: bool,
) -> Result<Reshaping> {
    let relation = table.name().as_str();
    let (name, made) = (loader.qualified(relation), receipt.made.get(relation));
    let (there, oid) = (columns_there(loader, relation).await?, hung::oid(loader, relation).await?);
    let is_made = |column: &ColumnThere| made.is_some_and(|made| made.has_column(column, oid));
    let (ours, theirs): (Vec<&ColumnThere>, Vec<&ColumnThere>) = there.iter().partition(|column| {
        let wanted = columns.iter().any(|wanted| wanted.name == column.name);
        wanted || is_made(column)
    });
    // A column that somebody made is not overwritten because the star has one of its name.
    let knows = made.is_some() && !receipt.adopts;
    let taken = ours.iter().filter(|column| knows && !is_made(column));
    let mut refused: Vec<Error> = taken.map(|column| taken_name(&name, column)).collect();
    refused.extend(refused_columns(&name, &theirs));
    let keys = keys::planned(loader, table, receipt, &theirs, same_key).await?;
    let keys = keys.unwrap_or_else(|error| {
        refused.push(error);
        KeyChange::none()
    });
    let identity = table.contract.identity();
    let mut changes = Vec::new();
    for column in ours {
        match columns.iter().find(|wanted| wanted.name == column.name) {
            None => {
                refused.extend(in_the_way_of_a_drop(loader, table, column, receipt).await?);
                changes.push(Change::Drop(column.name.clone()));
            }
            Some(wanted) if wanted.type_name == column.type_name => {}
            Some(wanted) => {
                refused.extend(in_the_way_of_a_type(loader, table, wanted).await?);
                let is_key = identity.contains(&column.name);
                let not_null = column.not_null;
                let hung = hung::on_column(loader, relation, &column.name, made).await?;
                let keeps_values = keeps_values(receipt, table, column);
                changes.push(Change::Retype { to: wanted.clone(), is_key, not_null, hung, keeps_values });
            }
        }
    }
    let changed = !changes.is_empty()
        || columns.iter().any(|column| there.iter().all(|known| known.name != column.name));
    if let Some(whole) = hung::whole(loader, relation).await?.filter(|_| changed) {
        let message = format!("the columns of {name} change, which is a partition of {whole}");
        let help = format!("ALTER TABLE {whole} DETACH PARTITION {name}, and deliver again");
        refused.push(Error::new(ErrorKind::Store, message).hint(help));
    }
    let new = columns.iter().filter(|column| there.iter().all(|known| known.name != column.name));
    changes.extend(new.cloned().map(Change::Add));
    let only_ours = theirs.is_empty() && pointing(loader, relation).await?.is_empty();
    Ok(Reshaping { changes, keys, only_ours, refused })
}

/// Whether a column's new type has every value that was delivered into it.
fn keeps_values(receipt: &Receipt, table: &StarTable, column: &ColumnThere) -> bool {
    let held = receipt.held(table).map(|(_, held)| held);
    let of = |table: &StarTable| {
        table.schema().field_with_name(&column.name).ok().map(|field| field.data_type().clone())
    };
    let (Some(before), Some(after)) = (held.and_then(of), of(table)) else { return false };
    encode::postgres_type(&before).as_ref() == Some(&column.type_name) && widens(&before, &after)
}

/// A column of somebody's under the name of one of the star's.
fn taken_name(name: &str, column: &ColumnThere) -> Error {
    let message = format!("{name} has a column {} already, which starmill did not make", column.name);
    Error::new(ErrorKind::Store, message)
        .hint("rename that column, or drop it, or give the model's another name with AS; `starmill deliver --adopt` takes it over, after it asked")
}

/// Columns of others that leave no room for the star's rows.
fn refused_columns(name: &str, theirs: &[&ColumnThere]) -> Option<Error> {
    theirs.iter().find(|column| column.demands_a_value).map(|column| {
        let message = format!(
            "{name} has the column {}, which starmill did not make, which must have a value, and has no default",
            column.name
        );
        let help = format!(
            "give it a default: ALTER TABLE {name} ALTER COLUMN {} SET DEFAULT …; or drop its NOT NULL",
            quote(&column.name)
        );
        Error::new(ErrorKind::Store, message).hint(help)
    })
}

async fn in_the_way_of_a_drop(
    loader: &Loader<'_>,
    table: &StarTable,
    column: &ColumnThere,
    receipt: &Receipt,
) -> Result<Option<Error>> {
    let made = receipt.made.get(table.name().as_str());
    let (relation, name) = (table.name().as_str(), loader.qualified(table.name().as_str()));
    let others = hung::on_column(loader, relation, &column.name, made).await?;
    if !others.is_empty() {
        let message = format!(
            "the star no longer has the column {} of {name}, and dropping it would drop {}, which starmill did not make",
            column.name,
            list(others)
        );
        let error = Error::new(ErrorKind::Store, message);
        return Ok(Some(error.hint("drop what is not wanted of that by hand, and deliver again")));
    }
    let depending = depending::on_column(
        loader,
        relation,
        &column.name,
        Fate::Dropped(&foreign::ours(loader, receipt).await?),
    )
    .await?;
    Ok((!depending.is_empty()).then(|| {
        let message = format!(
            "the star no longer has the column {} of {name}, and others depend on it: {}",
            column.name,
            list(&depending)
        );
        Error::new(ErrorKind::Store, message)
            .hint("have them do without the column, or drop them by hand, and deliver again")
    }))
}

/// What reads a column, and tables that inherit from ours: their rows are nobody's but theirs.
async fn in_the_way_of_a_type(
    loader: &Loader<'_>,
    table: &StarTable,
    wanted: &Column,
) -> Result<Option<Error>> {
    let (relation, name) = (table.name().as_str(), loader.qualified(table.name().as_str()));
    let becomes = format!("the column {} of {name} is {} now", wanted.name, wanted.type_name);
    let children = hung::children(loader, relation).await?;
    if let Some(first) = children.first() {
        let message =
            format!("{becomes}, and what inherits from it would change with it: {}", list(&children));
        let help =
            format!("let it inherit no more: ALTER TABLE {first} NO INHERIT {name}; and deliver again");
        return Ok(Some(Error::new(ErrorKind::Store, message).hint(help)));
    }
    let depending = views::in_the_way(loader, relation, &wanted.name).await?;
    Ok((!depending.is_empty()).then(|| {
        let message = format!("{becomes}, and others depend on what it was: {}", list(&depending));
        Error::new(ErrorKind::Store, message).hint(
            "drop them by hand, deliver again, and make them anew (`views = \"recreate\"` in [target] does that of plain views); or keep the column's type with a CAST in the model",
        )
    }))
}

/// Does what was planned.
pub async fn reshape(loader: &Loader<'_>, table: &StarTable, planned: Reshaping) -> Result<Shaped> {
    if let Some(refused) = planned.refused.into_iter().next() {
        return Err(refused);
    }
    let name = loader.qualified(table.name().as_str());
    keys::drop(loader, table, &planned.keys).await?;
    let keeps = |change: &Change| matches!(change, Change::Retype { keeps_values: true, .. });
    let values_changed = !planned.changes.iter().all(keeps);
    let (mut not_null, mut emptied) = (Vec::new(), 0);
    for change in planned.changes {
        match change {
            Change::Drop(column) => {
                // Tables that inherit from it keep theirs.
                let own = loader.own(table.name().as_str()).await?;
                let statement = format!("ALTER TABLE {own} DROP COLUMN {}", quote(&column));
                loader.execute(&statement, &format!("drop the column {column} of {name}")).await?;
            }
            Change::Retype { to, is_key, not_null: was, hung, keeps_values } => {
                views::set_aside(loader, table.name().as_str(), &to.name).await?;
                match (keeps_values, is_key) {
                    (true, _) => retype_all(loader, &name, &to, &hung).await?,
                    (false, true) => {
                        emptied += retype_key(loader, table, &to, planned.only_ours, &hung).await?;
                    }
                    (false, false) => not_null.extend(retype(loader, &name, &to, was, &hung).await?),
                }
            }
            Change::Add(Column { name: column, type_name }) => {
                let statement = format!("ALTER TABLE {name} ADD COLUMN {} {type_name}", quote(&column));
                loader.execute(&statement, &format!("add the column {column} to {name}")).await?;
            }
        }
    }
    Ok(Shaped { keys: planned.keys.state, values_changed, emptied, not_null })
}

fn alter_type(name: &str, wanted: &Column, using: &str) -> String {
    let (column, to) = (quote(&wanted.name), &wanted.type_name);
    format!("ALTER TABLE {name} ALTER COLUMN {column} TYPE {to} USING {using}::{to}")
}

/// What the server refused, with what helps rather than what it advises.
fn stuck(error: Error, doing: &str, help: String) -> Error {
    if error.is_busy() {
        return error;
    }
    Error::new(error.kind(), format!("cannot {doing}")).caused_by(error).hint(help)
}

/// What helps when a column cannot get another type.
fn unhung(wanted: &Column, hung: &[String]) -> String {
    let hung = if hung.is_empty() { "its default, check or index".to_owned() } else { list(hung) };
    format!("drop what hangs on {} ({hung}) by hand, deliver again, and make it anew", wanted.name)
}

/// Another type in place that has every value: whatever the server has against it, none of them is given up.
async fn retype_all(loader: &Loader<'_>, name: &str, wanted: &Column, hung: &[String]) -> Result<()> {
    let doing = format!("retype the column {} of {name}", wanted.name);
    let done = loader.execute(&alter_type(name, wanted, &quote(&wanted.name)), &doing).await;
    done.map_err(|error| stuck(error, &doing, unhung(wanted, hung)))
}

/// Another type of a key's column in place, by which its rows are known again. Where the values cannot be kept, or would be the
/// same, all rows are written anew, if nobody else has anything in them. Gives how many were deleted.
async fn retype_key(
    loader: &Loader<'_>,
    table: &StarTable,
    wanted: &Column,
    only_ours: bool,
    hung: &[String],
) -> Result<u64> {
    let name = loader.qualified(table.name().as_str());
    let doing = format!("retype the key {} of {name}", wanted.name);
    loader.execute("SAVEPOINT starmill_retype", &doing).await?;
    let alter = alter_type(&name, wanted, &quote(&wanted.name));
    let mut emptied = 0;
    if let Err(error) = loader.execute(&alter, &doing).await {
        if error.is_busy() {
            return Err(error);
        }
        if !only_ours {
            let help = "the rows are not known again by their new keys, and others have values in them or point at them: keep those in a table of their own, drop the columns or foreign keys, and deliver again";
            return Err(stuck(error, &doing, help.to_owned()));
        }
        loader.execute("ROLLBACK TO SAVEPOINT starmill_retype", &doing).await?;
        emptied = loader
            .changed(&format!("DELETE FROM {}", loader.own(table.name().as_str()).await?), &doing)
            .await?;
        let done = loader.execute(&alter, &doing).await;
        done.map_err(|error| stuck(error, &doing, unhung(wanted, hung)))?;
    }
    loader.execute("RELEASE SAVEPOINT starmill_retype", &doing).await?;
    Ok(emptied)
}

/// Another type in place, so that indexes, checks, grants and comments stay. The merge fills the column anew, so values that
/// cannot be cast need not be kept.
///
/// Gives the column's name when somebody declared it NOT NULL, and its values wait for the merge.
async fn retype(
    loader: &Loader<'_>,
    name: &str,
    wanted: &Column,
    not_null: bool,
    hung: &[String],
) -> Result<Option<String>> {
    let column = quote(&wanted.name);
    let doing = format!("retype the column {} of {name}", wanted.name);
    let mut waits = None;
    loader.execute("SAVEPOINT starmill_retype", &doing).await?;
    if let Err(error) = loader.execute(&alter_type(name, wanted, &column), &doing).await {
        // Whoever holds the table says nothing about its values.
        if error.is_busy() {
            return Err(error);
        }
        loader.execute("ROLLBACK TO SAVEPOINT starmill_retype", &doing).await?;
        if not_null {
            let nullable = format!("ALTER TABLE {name} ALTER COLUMN {column} DROP NOT NULL");
            let done = loader.execute(&nullable, &doing).await;
            done.map_err(|error| stuck(error, &doing, unhung(wanted, hung)))?;
            waits = Some(wanted.name.clone());
        }
        let done = loader.execute(&alter_type(name, wanted, "NULL"), &doing).await;
        done.map_err(|error| stuck(error, &doing, unhung(wanted, hung)))?;
    }
    loader.execute("RELEASE SAVEPOINT starmill_retype", &doing).await?;
    Ok(waits)
}

/// Makes columns NOT NULL again, once their values are there.
pub async fn make_not_null(loader: &Loader<'_>, table: &StarTable, columns: &[String]) -> Result<()> {
    let name = loader.qualified(table.name().as_str());
    for column in columns {
        let statement = format!("ALTER TABLE {name} ALTER COLUMN {} SET NOT NULL", quote(column));
        loader.execute(&statement, &format!("make {name}.{column} NOT NULL again")).await?;
    }
    Ok(())
}
