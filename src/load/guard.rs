//! First-seen values in the target: a trigger refuses whoever changes one by accident. The delivery says in its transaction
//! that it is one.

use super::Loader;
use super::hung::{oid, owns};
use crate::error::Result;
use crate::name::{quote_identifier as quote, quote_literal};
use crate::star::table::StarTable;

/// The trigger on a table, and its function in the target's schema.
pub const GUARD: &str = "starmill_keeps_first_seen";

/// What a delivery calls itself in its transaction.
const SETTING: &str = "starmill.delivers";

/// Says to the triggers of this transaction that the delivery writes.
pub async fn announce(loader: &Loader<'_>) -> Result<()> {
    let statement = format!("SELECT set_config('{SETTING}', 'on', true)");
    loader.execute(&statement, "begin the delivery").await
}

/// Guards a table's first-seen columns; one that has none any more is guarded no longer.
pub async fn table(loader: &Loader<'_>, table: &StarTable) -> Result<()> {
    let (name, first_seen) = (table.name().as_str(), &table.contract.memory.first_seen);
    let there = guarded(loader, name).await?;
    if there.as_ref() == (!first_seen.is_empty()).then_some(first_seen) {
        return Ok(());
    }
    let qualified = loader.qualified(name);
    let doing = format!("guard the first-seen columns of {qualified}");
    if there.is_some() {
        if !owns(loader, name).await? {
            // It refuses nothing to a delivery, whatever it names.
            tracing::warn!(table = name, "the role may not change the guard of its first-seen columns");
            return Ok(());
        }
        loader.execute(&format!("DROP TRIGGER {} ON {qualified}", quote(GUARD)), &doing).await?;
    }
    if first_seen.is_empty() {
        return Ok(());
    }
    if !may_guard(loader, name).await? {
        tracing::warn!(
            table = name,
            "the role may make no trigger there, so the target does not refuse whoever changes its first-seen columns"
        );
        return Ok(());
    }
    let function = loader.qualified(GUARD);
    // One that another role made serves as well, and is not ours to replace.
    let known =
        format!("SELECT 1 WHERE to_regprocedure({}) IS NOT NULL", quote_literal(&format!("{function}()")));
    if !loader.exists(&known).await? {
        loader.execute(&create_function(&function), &doing).await?;
    }
    let columns: Vec<String> = first_seen.iter().map(|column| quote_literal(column)).collect();
    // The columns are told as words: none of them is held in its type or name by its guard.
    let trigger = format!(
        "CREATE TRIGGER {} BEFORE UPDATE ON {qualified} FOR EACH ROW \
         WHEN (current_setting('{SETTING}', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION {function}({})",
        quote(GUARD),
        columns.join(", ")
    );
    loader.execute(&trigger, &doing).await?;
    Ok(())
}

/// The columns that a table's guard names; none without a guard.
async fn guarded(loader: &Loader<'_>, table: &str) -> Result<Option<Vec<String>>> {
    let Some(oid) = oid(loader, table).await? else { return Ok(None) };
    // Each argument ends with a zero byte.
    let query = "SELECT encode(tgargs, 'escape') FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2 AND NOT tgisinternal";
    let row = loader.client.query_opt(query, &[&oid, &GUARD]).await;
    let row = row.map_err(|error| loader.failed(error, "show its triggers"))?;
    Ok(row.map(|row| arguments(row.get(0))))
}

/// The words of a trigger's arguments as `encode(…, 'escape')` prints them: bytes outside ASCII, zero and backslashes escaped.
fn arguments(escaped: &str) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut rest = escaped.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        (bytes, rest) = match (first, code, after.first()) {
            (b'\\', _, Some(b'\\')) => (pushed(bytes, b'\\'), after.get(1..).unwrap_or_default()),
            (b'\\', Some(byte), _) => (pushed(bytes, byte), after.get(3..).unwrap_or_default()),
            (byte, _, _) => (pushed(bytes, *byte), after),
        };
    }
    let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.filter(|word| !word.is_empty()).collect()
}

fn pushed(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}

/// Whether the role may hang a trigger on the table, and make its function.
async fn may_guard(loader: &Loader<'_>, table: &str) -> Result<bool> {
    let query = format!(
        "SELECT 1 WHERE has_table_privilege({}, 'TRIGGER') AND has_schema_privilege({}, 'CREATE')",
        quote_literal(&loader.qualified(table)),
        quote_literal(&loader.target.schema)
    );
    loader.exists(&query).await
}

fn create_function(function: &str) -> String {
    let help = quote_literal(
        "starmill correct changes one on purpose, and keeps who did it and why; what else a delivery changes is the star's",
    );
    format!(
        "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $guard$\n\
         DECLARE kept text;\n\
         BEGIN\n\
           FOREACH kept IN ARRAY TG_ARGV LOOP\n\
             IF to_jsonb(NEW) -> kept IS DISTINCT FROM to_jsonb(OLD) -> kept THEN\n\
               RAISE EXCEPTION '%.%.% is as it was when its row was first seen, and is not changed', TG_TABLE_SCHEMA, TG_TABLE_NAME, kept\n\
                 USING ERRCODE = 'restrict_violation', HINT = {help};\n\
             END IF;\n\
           END LOOP;\n\
           RETURN NEW;\n\
         END\n\
         $guard$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_trigger_are_read_back_whatever_they_hold() {
        assert_eq!(arguments("city\\000na me\\000"), ["city", "na me"]);
        assert_eq!(arguments("a\\\\000b\\000"), ["a\\000b"]);
        assert_eq!(arguments("stra\\303\\237e\\000"), ["straße"]);
    }
}
