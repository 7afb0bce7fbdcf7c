//! Arguments for which a function answers as in Postgres, and those for which it does not.

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;

/// Elements that print as in Postgres.
pub(super) fn prints_alike(array: &DataType) -> bool {
    match array {
        DataType::List(element) | DataType::LargeList(element) => {
            let of = element.data_type();
            of.is_integer()
                || of.is_null()
                || matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Date32)
        }
        _ => true,
    }
}

/// Names that are abbreviations first in Postgres, and places here.
pub(super) fn is_abbreviation(zone: &Expr) -> bool {
    const BOTH: [&str; 7] = ["CET", "MET", "EET", "WET", "EST", "MST", "HST"];
    matches!(zone, Expr::Literal(name, _) if name.try_as_str().flatten().is_some_and(|name| BOTH.contains(&name)))
}

/// The first dimension, which alone is answered.
pub fn is_one(dimension: Option<&Expr>) -> bool {
    match dimension {
        Some(Expr::Literal(value, _)) => value.to_string() == "1",
        Some(Expr::Cast(cast)) => is_one(Some(&cast.expr)),
        _ => false,
    }
}
