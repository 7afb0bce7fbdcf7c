//! When two rows are one, and when they have the same values, in the target's own SQL: byte by byte, whatever its collations say.

use std::collections::BTreeSet;

use super::shape::Column;
use crate::name::quote_identifier as quote;

/// Whether rows `t` and `n` are one. A key that somebody's collation is `loose` about is held byte by byte as well.
pub fn same(identity: &[String], loose: &BTreeSet<String>) -> String {
    let same = identity.iter().map(|name| {
        let same = format!("t.{0} = n.{0}", quote(name));
        match loose.contains(name) {
            true => format!("{same} AND t.{0} COLLATE \"C\" = n.{0} COLLATE \"C\"", quote(name)),
            false => same,
        }
    });
    same.collect::<Vec<_>>().join(" AND ")
}

/// A key's column as rows are grouped by it.
pub fn exact_key(name: &str, loose: &BTreeSet<String>) -> String {
    let bytes = if loose.contains(name) { " COLLATE \"C\"" } else { "" };
    format!("{}{bytes}", quote(name))
}

/// Whether rows `t` and `n` differ in some columns.
pub fn differ<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    let differ = columns.map(|column| {
        let (before, after) = (exactly("t", column), exactly("n", column));
        format!("{before} IS DISTINCT FROM {after}")
    });
    let differ: Vec<String> = differ.collect();
    if differ.is_empty() { "false".to_owned() } else { differ.join(" OR ") }
}

/// A value as it is compared where `=` takes different values for one: `a` for `A` by somebody's collation, 0 for -0.
fn exactly(row: &str, column: &Column) -> String {
    let value = format!("{row}.{}", quote(&column.name));
    match column.type_name.as_str() {
        "text" | "text[]" => format!("{value} COLLATE \"C\""),
        "real" => format!("float4send({value})"),
        "double precision" => format!("float8send({value})"),
        "real[]" | "double precision[]" => format!("{value}::text"),
        _ => value,
    }
}

/// Rows without a key, equal ones told apart by a number.
pub fn numbered(table: &str, extra: &str, list: &str) -> String {
    format!(
        "SELECT {extra} ROW({list})::text AS \"starmill: row\", row_number() OVER (PARTITION BY ROW({list})::text) AS \"starmill: copy\" FROM {table}"
    )
}
