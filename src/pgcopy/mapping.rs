//! How each Postgres type travels: what `types.rs` lists, applied to one column.

use arrow::datatypes::{DataType, TimeUnit};

use super::mask::{Form, Mask};
use super::policy::{ColumnAs, Decimal, TypePolicy};
use super::types::TYPES;

/// How one column travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal(Decimal),
    Money,
    Text,
    PaddedText,
    Jsonb,
    Uuid,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    /// Cast to text by Postgres.
    TextForm,
    /// A text or a code stands in the place of what travels so.
    Masked(Form),
}

/// A column cannot be read at all, and what the pipeline can say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmappable {
    pub reason: String,
    pub remedy: String,
}

impl Mapping {
    /// Every way in which a value travels, decimals of every width among them, for those who try them all.
    pub const EVERY: [Mapping; 20] = [
        Mapping::Boolean,
        Mapping::Int16,
        Mapping::Int32,
        Mapping::Int64,
        Mapping::Float32,
        Mapping::Float64,
        Mapping::Decimal(Decimal { precision: 9, scale: 2 }),
        Mapping::Decimal(Decimal { precision: 38, scale: 10 }),
        Mapping::Decimal(Decimal { precision: 38, scale: 38 }),
        Mapping::Decimal(Decimal { precision: 76, scale: 20 }),
        Mapping::Money,
        Mapping::Text,
        Mapping::PaddedText,
        Mapping::Jsonb,
        Mapping::Uuid,
        Mapping::Bytes,
        Mapping::Date,
        Mapping::Time,
        Mapping::Timestamp,
        Mapping::TimestampTz,
    ];

    /// The mapping of a column whose type Postgres names so (`format_type`, or in DDL).
    ///
    /// `column` is its full name, `schema.table.column`, by which the pipeline may override it.
    pub fn of(type_name: &str, column: &str, policy: &TypePolicy) -> Result<Mapping, Unmappable> {
        match (policy.masks.of(column), Mapping::unmasked(type_name, column, policy)) {
            (Some(Mask::Text(_) | Mask::Hmac(_)), natural) => {
                Ok(Mapping::Masked(natural.map_or(Form::Cast, Form::of)))
            }
            // Of NULLs nobody needs the digits.
            (Some(Mask::Null), Err(_)) => Ok(Mapping::TextForm),
            (Some(Mask::Null) | None, natural) => natural,
        }
    }

    fn unmasked(type_name: &str, column: &str, policy: &TypePolicy) -> Result<Mapping, Unmappable> {
        let (base, arguments) = split(type_name);
        let own = policy.columns.get(column);
        if own == Some(&ColumnAs::Text) {
            let text_already = Mapping::named(&base).is_some_and(|mapping| mapping.is_text());
            return Ok(if text_already { Mapping::Text } else { Mapping::TextForm });
        }
        if base != "numeric" && base != "decimal" {
            return match own {
                Some(_) => Err(Unmappable {
                    reason: format!("{type_name} is not a numeric, so it cannot be read as a decimal"),
                    remedy: "remove the override".to_owned(),
                }),
                None => Ok(Mapping::named(&base).unwrap_or(Mapping::TextForm)),
            };
        }
        if let Some(ColumnAs::Decimal(decimal)) = own {
            return Ok(Mapping::Decimal(*decimal));
        }
        let [precision, rest @ ..] = arguments.as_slice() else {
            return Ok(Mapping::Decimal(policy.numeric));
        };
        let scale = rest.first().copied().unwrap_or(0);
        // Postgres 15 allows scale below 0 ((5,-2) holds 7 digits) and above precision.
        let digits = if scale < 0 { precision - scale } else { (*precision).max(scale) };
        match (u8::try_from(digits), i8::try_from(scale.max(0))) {
            (Ok(precision @ ..=Decimal::WIDEST), Ok(scale)) => {
                Ok(Mapping::Decimal(Decimal { precision, scale }))
            }
            _ => Err(Unmappable {
                reason: format!(
                    "{type_name} has more than the {} digits that can be computed with",
                    Decimal::WIDEST
                ),
                remedy: format!(
                    "add to the pipeline, below [source.columns]: \"{column}\" = {{ as = \"text\" }}, or as = \"decimal({},{})\" if its values fit",
                    Decimal::PUBLISHED,
                    scale.clamp(0, 38)
                ),
            }),
        }
    }

    fn named(base: &str) -> Option<Mapping> {
        TYPES.iter().find(|entry| entry.names.contains(&base)).and_then(|entry| entry.mapping)
    }

    fn is_text(self) -> bool {
        matches!(self, Mapping::Text | Mapping::PaddedText)
    }

    /// The Arrow type; `zone` is the pipeline's, so that a day means there what it means here.
    pub fn arrow_type(self, zone: &str) -> DataType {
        match self {
            Mapping::Boolean => DataType::Boolean,
            Mapping::Int16 => DataType::Int16,
            Mapping::Int32 => DataType::Int32,
            Mapping::Int64 => DataType::Int64,
            Mapping::Float32 => DataType::Float32,
            Mapping::Float64 => DataType::Float64,
            Mapping::Decimal(decimal) if decimal.is_wide() => {
                DataType::Decimal256(decimal.precision, decimal.scale)
            }
            Mapping::Decimal(Decimal { precision, scale }) => DataType::Decimal128(precision, scale),
            Mapping::Money => DataType::Decimal128(19, 2),
            Mapping::Text
            | Mapping::PaddedText
            | Mapping::Jsonb
            | Mapping::Uuid
            | Mapping::TextForm
            | Mapping::Masked(_) => DataType::Utf8,
            Mapping::Bytes => DataType::Binary,
            Mapping::Date => DataType::Date32,
            Mapping::Time => DataType::Time64(TimeUnit::Microsecond),
            Mapping::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Mapping::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into())),
        }
    }

    /// What the COPY selects for the column whose quoted name is given.
    pub fn select(self, quoted: &str) -> String {
        match self {
            Mapping::TextForm | Mapping::Masked(Form::Cast) => format!("{quoted}::text"),
            // Its binary form counts the smallest unit of lc_monetary, which C says is a cent.
            Mapping::Money => format!("{quoted}::numeric(19,2)"),
            _ => quoted.to_owned(),
        }
    }
}

/// `numeric(10,2)` → (`numeric`, [10, 2]); `timestamp(3) with time zone` → (`timestamp with time zone`, [3]).
fn split(type_name: &str) -> (String, Vec<i64>) {
    let lower = type_name.trim().to_lowercase();
    match (lower.find('('), lower.find(')')) {
        (Some(open), Some(close)) if open < close => {
            let base = format!("{}{}", lower[..open].trim_end(), &lower[close + 1..]);
            let arguments = lower[open + 1..close].split(',').filter_map(|part| part.trim().parse().ok());
            (base, arguments.collect())
        }
        _ => (lower, Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgcopy::policy::{Extremes, Masks};
    use std::collections::BTreeMap;

    fn policy() -> TypePolicy {
        TypePolicy {
            numeric: Decimal { precision: 38, scale: 10 },
            extremes: Extremes::EXACT,
            masks: Masks::default(),
            columns: BTreeMap::from([
                ("public.t.wide".to_owned(), ColumnAs::Decimal(Decimal { precision: 38, scale: 2 })),
                ("public.t.odd".to_owned(), ColumnAs::Text),
            ]),
        }
    }

    fn decimal(precision: u8, scale: i8) -> Result<Mapping, Unmappable> {
        Ok(Mapping::Decimal(Decimal { precision, scale }))
    }

    #[test]
    fn numeric_keeps_its_declared_precision_and_scale() {
        assert_eq!(Mapping::of("numeric(10,2)", "public.t.a", &policy()), decimal(10, 2));
        assert_eq!(Mapping::of("NUMERIC(10)", "public.t.a", &policy()), decimal(10, 0));
        assert_eq!(Mapping::of("numeric", "public.t.a", &policy()), decimal(38, 10));
    }

    #[test]
    fn negative_scale_and_scale_above_precision_widen_to_what_they_hold() {
        assert_eq!(Mapping::of("numeric(5,-2)", "public.t.a", &policy()), decimal(7, 0));
        assert_eq!(Mapping::of("numeric(2,5)", "public.t.a", &policy()), decimal(5, 5));
    }

    #[test]
    fn more_than_38_digits_stay_inside_and_more_than_76_are_refused_with_the_line_to_paste() {
        assert_eq!(Mapping::of("numeric(50,4)", "public.t.a", &policy()), decimal(50, 4));
        assert_eq!(Mapping::of("numeric(50,4)", "public.t.wide", &policy()), decimal(38, 2));
        assert_eq!(Mapping::of("numeric(76)", "public.t.a", &policy()), decimal(76, 0));
        let refused = Mapping::of("numeric(77,4)", "public.t.a", &policy()).unwrap_err();
        assert!(refused.remedy.contains("\"public.t.a\" = { as = \"text\" }"), "{refused:?}");
    }

    #[test]
    fn a_type_without_an_arrow_type_arrives_as_its_text_form() {
        for name in ["interval", "integer[]", "inet", "tsvector", "timetz", "int4range"] {
            assert_eq!(Mapping::of(name, "public.t.a", &policy()), Ok(Mapping::TextForm), "{name}");
        }
        assert_eq!(Mapping::of("numeric(60,2)", "public.t.odd", &policy()), Ok(Mapping::TextForm));
    }

    #[test]
    fn time_zones_and_precision_of_timestamps_are_told_apart() {
        let name = "timestamp(3) with time zone";
        assert_eq!(Mapping::of(name, "public.t.a", &policy()), Ok(Mapping::TimestampTz));
        assert_eq!(
            Mapping::of("timestamp(3) without time zone", "public.t.a", &policy()),
            Ok(Mapping::Timestamp)
        );
    }
}
