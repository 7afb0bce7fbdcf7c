//! What stands in a star's way into its target, known before the night that builds it: nothing is changed there, and no table
//! is locked.

use chrono_tz::Tz;
use serde::Serialize;

use super::receipt::{Receipt, table_exists};
use super::{Adopt, Loader, Shipment, asked, gone, hung, merge, shape};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{DELIVERY_TABLE, quote_identifier as quote, quote_literal};
use crate::pipeline::TargetSettings;
use crate::postgres::Isolation;
use crate::star::table::StarTable;

/// Something that stands in the way.
#[derive(Debug, Clone, Serialize)]
pub struct Obstacle {
    pub what: String,
    /// What helps.
    pub help: Option<String>,
    /// Whether the role lacks a right.
    pub is_privilege: bool,
}

impl Obstacle {
    fn of(error: &Error) -> Obstacle {
        let what = std::iter::once(error.to_string()).chain(error.causes()).collect::<Vec<_>>().join(": ");
        Obstacle { what, help: error.help().map(str::to_owned), is_privilege: false }
    }

    fn privilege(what: String, help: String) -> Obstacle {
        Obstacle { what, help: Some(help), is_privilege: true }
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}

/// Looks at the target as a star would find it. `shipment` has the star's tables as they are designed, without their rows.
pub async fn look(shipment: Shipment<'_>, target: &TargetSettings, timezone: Tz) -> Result<Vec<Obstacle>> {
    let path = [target.schema.clone()];
    let server = asked::asked(target, shipment.pipeline, timezone.name(), &path)?;
    let looked = async {
        let client = server.connect().await?;
        let loader = Loader::new(&client, &server, target, shipment);
        server.begin(&client, Isolation::RepeatableRead).await?;
        loader.execute("SET TRANSACTION READ ONLY", "be looked at").await?;
        let found = Look { loader: &loader, role: String::new(), found: Vec::new() }.whole().await;
        let _ = client.batch_execute("ROLLBACK").await;
        found
    };
    server.watched(target.silent_max, looked).await
}

struct Look<'a> {
    loader: &'a Loader<'a>,
    /// As whom it would be delivered.
    role: String,
    found: Vec<Obstacle>,
}

impl Look<'_> {
    async fn whole(mut self) -> Result<Vec<Obstacle>> {
        let loader = self.loader;
        if !self.rooms().await? {
            return Ok(self.found);
        }
        let receipt = match Receipt::read(loader, Adopt::Refuse).await {
            Ok(receipt) => receipt,
            Err(error) => {
                self.found.push(Obstacle::of(&error));
                return Ok(self.found);
            }
        };
        for table in &loader.shipment.star.tables {
            self.table(table, &receipt).await?;
        }
        for gone in gone::planned(loader, &receipt).await?.into_iter().filter(|gone| !gone.is_others) {
            match &gone.refused {
                Some(refused) => self.found.push(Obstacle::of(refused)),
                None => self.owned(&gone.table, "it goes, since the star no longer has it").await?,
            }
        }
        Ok(self.found)
    }

    /// The database and its schema; whether there is anything more to look at.
    async fn rooms(&mut self) -> Result<bool> {
        let (loader, schema) = (self.loader, &self.loader.target.schema);
        let query = "SELECT current_user::text, current_database()::text, pg_is_in_recovery(), \
                has_database_privilege(current_database(), 'TEMP'), has_database_privilege(current_database(), 'CREATE'), \
                has_schema_privilege(n.oid, 'USAGE'), has_schema_privilege(n.oid, 'CREATE') \
             FROM (SELECT 1) AS one LEFT JOIN pg_namespace AS n ON n.nspname = $1";
        let row = loader.client.query_one(query, &[schema]).await;
        let row = row.map_err(|error| loader.failed(error, "tell what its role may do"))?;
        let (role, database): (String, String) = (row.get(0), row.get(1));
        self.role.clone_from(&role);
        let (usage, create): (Option<bool>, Option<bool>) = (row.get(5), row.get(6));
        if row.get(2) {
            let what =
                format!("the target {} is a standby, into which nothing can be written", loader.target.url);
            let help = Some("name its primary in [target]".to_owned());
            self.found.push(Obstacle { what, help, is_privilege: false });
            return Ok(false);
        }
        let mut lacks = |has: bool, right: &str, of: &str, what: &str| {
            if !has {
                self.found.push(Obstacle::privilege(
                    format!("the role {role} may not {what}"),
                    format!("GRANT {right} ON {of} TO {}", quote(&role)),
                ));
            }
            has
        };
        let (base, room) = (format!("DATABASE {}", quote(&database)), format!("SCHEMA {}", quote(schema)));
        lacks(row.get(3), "TEMP", &base, "make the temporary tables in which rows are compared");
        match (usage, create) {
            (None, _) => {
                lacks(row.get(4), "CREATE", &base, &format!("create the schema {schema}"));
                return Ok(false);
            }
            (Some(usage), create) => {
                if !lacks(usage, "USAGE", &room, &format!("see what is in the schema {schema}")) {
                    return Ok(false);
                }
                let mut new: Vec<&str> = Vec::new();
                let tables = loader.shipment.star.tables.iter().map(|table| table.name().as_str());
                for name in tables.chain([DELIVERY_TABLE]) {
                    if !loader.exists(&table_exists(loader, name)).await? {
                        new.push(name);
                    }
                }
                let what = format!("create tables in the schema {schema}: {}", crate::name::list(&new));
                lacks(new.is_empty() || create == Some(true), "CREATE", &room, &what);
            }
        }
        if loader.exists(&table_exists(loader, DELIVERY_TABLE)).await? {
            self.sees_all(DELIVERY_TABLE).await?;
            return self.granted(DELIVERY_TABLE, &[], &["SELECT", "INSERT", "UPDATE"]).await;
        }
        Ok(true)
    }

    async fn table(&mut self, table: &StarTable, receipt: &Receipt) -> Result<()> {
        let (loader, name) = (self.loader, table.name().as_str());
        if !loader.exists(&table_exists(loader, name)).await? {
            return Ok(());
        }
        if let Err(error) = merge::require_ours(loader, table, receipt).await {
            self.found.push(Obstacle::of(&error));
            return Ok(());
        }
        let identity = table.contract.identity();
        let names: Vec<&str> = table.schema().fields().iter().map(|field| field.name().as_str()).collect();
        self.sees_all(name).await?;
        self.granted(name, &names, &["SELECT", "INSERT", "DELETE"]).await?;
        let others: Vec<&str> =
            names.into_iter().filter(|name| !identity.iter().any(|key| key == name)).collect();
        if !identity.is_empty() && !others.is_empty() {
            self.granted(name, &others, &["UPDATE"]).await?;
        }
        let columns = match shape::columns(table) {
            Ok(columns) => columns,
            Err(error) => {
                self.found.push(Obstacle::of(&error));
                return Ok(());
            }
        };
        let planned = merge::planned(loader, table, &columns, receipt).await?;
        self.found.extend(planned.refused.iter().map(Obstacle::of));
        if planned.refused.is_empty() && planned.wants_owner() {
            self.owned(name, "its columns or keys change").await?;
        }
        Ok(())
    }

    /// Row-level security hides no rows of a table from the role.
    async fn sees_all(&mut self, table: &str) -> Result<()> {
        let loader = self.loader;
        let hidden =
            format!("SELECT 1 WHERE row_security_active({})", quote_literal(&loader.qualified(table)));
        if loader.exists(&hidden).await? {
            self.found.push(Obstacle::privilege(
                format!(
                    "row-level security hides rows of {} from the role {}",
                    loader.qualified(table),
                    self.role
                ),
                format!("ALTER ROLE {} BYPASSRLS", quote(&self.role)),
            ));
        }
        Ok(())
    }

    /// Whether the role has some rights in a table, or in the columns of it that are asked for.
    async fn granted(&mut self, table: &str, columns: &[&str], rights: &[&str]) -> Result<bool> {
        let loader = self.loader;
        let query = "SELECT array(SELECT r FROM unnest($2::text[]) AS r WHERE NOT has_table_privilege($1::oid, r) \
                   AND (r = 'DELETE' OR cardinality($3::text[]) = 0 OR EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = $1 AND NOT a.attisdropped \
                        AND a.attname = ANY ($3) AND NOT has_column_privilege($1::oid, a.attnum, r))))";
        let oid = hung::oid(loader, table).await?;
        let row = loader.client.query_one(query, &[&oid, &rights, &columns]).await;
        let lacking: Vec<String> =
            row.map_err(|error| loader.failed(error, "tell what its role may do"))?.get(0);
        if lacking.is_empty() {
            return Ok(true);
        }
        let (qualified, lacking) = (loader.qualified(table), lacking.join(", "));
        self.found.push(Obstacle::privilege(
            format!("the role {} may not {lacking} in {qualified}", self.role),
            format!("GRANT {lacking} ON {qualified} TO {}", quote(&self.role)),
        ));
        Ok(false)
    }

    async fn owned(&mut self, table: &str, because: &str) -> Result<()> {
        if hung::owns(self.loader, table).await? {
            return Ok(());
        }
        let (qualified, role) = (self.loader.qualified(table), &self.role);
        self.found.push(Obstacle::privilege(
            format!("the role {role} does not own {qualified}, and {because}"),
            format!("ALTER TABLE {qualified} OWNER TO {}, or GRANT its owner's role TO {0}", quote(role)),
        ));
        Ok(())
    }
}

/// What stands in the way, as an error.
pub fn refusal(found: &[Obstacle]) -> Option<Error> {
    let first = found.first()?;
    let message = format!("the target will not take the star: {}", first.what);
    let error =
        found.iter().skip(1).fold(Error::new(ErrorKind::Store, message), |error, more| error.at("and", more));
    Some(match &first.help {
        Some(help) => error.hint(help),
        None => error,
    })
}
