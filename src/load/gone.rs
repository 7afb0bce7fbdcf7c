//! Tables that the star no longer has. They go from the target too; what depends on one stays its owner's to decide, so there is
//! no CASCADE.

use super::receipt::{Receipt, require_table, table_exists};
use super::{Loader, depending, foreign, hung, shape};
use crate::error::{Error, ErrorKind, Result};
use crate::name::list;

/// A table that is to go.
pub struct Gone {
    pub table: String,
    /// Whether it is somebody's that stands in the place of ours, which is gone already. It stays.
    pub is_others: bool,
    /// What stands in the way.
    pub refused: Option<Error>,
}

/// The tables that are to go.
pub async fn planned(loader: &Loader<'_>, receipt: &Receipt) -> Result<Vec<Gone>> {
    let tables = &loader.shipment.star.tables;
    let mut gone = Vec::new();
    for name in receipt.tables.keys().filter(|name| tables.iter().all(|table| table.name().as_str() != *name))
    {
        if !loader.exists(&table_exists(loader, name)).await? {
            continue;
        }
        let made = receipt.made.get(name);
        let is_another = match made {
            Some(made) => shape::is_another(loader, name, made).await?,
            None => false,
        };
        // What is no table any more was put there by somebody, too.
        let is_table = require_table(loader, name).await.is_ok();
        let is_others = is_another || !is_table || loader.is_source(name);
        let refused = if is_others { None } else { in_the_way(loader, name, receipt).await? };
        gone.push(Gone { table: name.clone(), is_others, refused });
    }
    Ok(gone)
}

async fn in_the_way(loader: &Loader<'_>, name: &str, receipt: &Receipt) -> Result<Option<Error>> {
    let made = receipt.made.get(name);
    let qualified = loader.qualified(name);
    let hung = match made {
        Some(made) => hung::on_table(loader, name, made).await?,
        None => Vec::new(),
    };
    if !hung.is_empty() {
        let message = format!(
            "the star no longer has {qualified}, and dropping it would drop {}, which starmill did not make",
            list(hung)
        );
        let help =
            format!("keep what is wanted of it, drop it by hand (DROP TABLE {qualified}), and deliver again");
        return Ok(Some(Error::new(ErrorKind::Store, message).hint(help)));
    }
    let depending = depending::on_table(loader, name, &foreign::ours(loader, receipt).await?).await?;
    Ok((!depending.is_empty()).then(|| {
        let message =
            format!("the star no longer has {qualified}, and others depend on it: {}", list(&depending));
        Error::new(ErrorKind::Store, message)
            .hint("have them do without the table, or drop them by hand, and deliver again")
    }))
}

/// Drops them.
pub async fn drop(loader: &Loader<'_>, receipt: &Receipt) -> Result<()> {
    for Gone { table, is_others, refused } in planned(loader, receipt).await? {
        if is_others {
            tracing::warn!(
                table,
                "the star no longer has it, and the target's table of that name is somebody else's: it stays"
            );
            continue;
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        let statement = format!("DROP TABLE {}", loader.qualified(&table));
        loader.execute(&statement, &format!("drop {table}, which the star no longer has")).await?;
    }
    Ok(())
}
