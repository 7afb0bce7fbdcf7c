//! What the role may read of the source, told before a night begins, with the GRANT that helps.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{SourceTable, list, quote_identifier};
use crate::postgres::Server;
use crate::star::design::Design;

/// A lock needs the privilege on the whole table, so columns granted one by one don't help.
const PRIVILEGES: &str = "
SELECT current_user::text, named.place,
       coalesce(has_schema_privilege(c.relnamespace, 'USAGE'), true),
       has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS named(schema, name, place)
JOIN pg_namespace AS n ON n.nspname = named.schema
JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = named.name
ORDER BY named.place";

/// The error that says all of it at once, if there is something to say.
pub async fn denied(client: &Client, server: &Server, design: &Design) -> Result<Option<Error>> {
    let tables: Vec<&SourceTable> = design.reads.keys().collect();
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.table.as_str()).collect();
    let rows = client
        .query_typed(PRIVILEGES, &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)])
        .await
        .map_err(|error| server.error(error, "cannot ask what may be read of the source"))?;
    let mut role = String::new();
    let (mut unreadable, mut grants, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        role = row.get(0);
        let place = usize::try_from(row.get::<_, i64>(1)).unwrap_or_default();
        let Some(table) = place.checked_sub(1).and_then(|place| tables.get(place)) else { continue };
        let (usage, select, hides): (bool, bool, bool) = (row.get(2), row.get(3), row.get(4));
        let mut grant = |grant: String| {
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        };
        if !usage {
            let schema = quote_identifier(&table.schema);
            grant(format!("GRANT USAGE ON SCHEMA {schema} TO {};", quote_identifier(&role)));
        }
        if !select {
            grant(format!("GRANT SELECT ON {} TO {};", table.quoted(), quote_identifier(&role)));
        }
        if !usage || !select {
            unreadable.push(*table);
        } else if hides {
            hidden.push(*table);
        }
    }
    Ok(match (unreadable.as_slice(), hidden.as_slice()) {
        ([], []) => None,
        ([], _) => Some(
            Error::new(
                ErrorKind::Fit,
                format!("row-level security would hide rows of {} from the role {role}", list(hidden)),
            )
            .hint(format!(
                "a part of a table is never taken for the whole: ALTER ROLE {} BYPASSRLS, or connect as a role that sees all rows",
                quote_identifier(&role)
            )),
        ),
        _ => Some(
            Error::new(ErrorKind::Fit, format!("the role {role} may not read {}", list(unreadable)))
                .hint(grants.join(" ")),
        ),
    })
}
