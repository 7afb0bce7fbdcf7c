//! Whether a fact can find a dimension's rows by its columns, and ask for a version of a time.

use arrow::datatypes::{DataType, Schema};

use super::Designer;
use crate::dialect::told::in_sql;
use crate::pipeline::model::Model;

/// What values are compared as: those of different kinds are never equal in Postgres, but an error.
#[derive(PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Time,
    Other(DataType),
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Date32 | DataType::Timestamp(..) => Kind::Time,
        data_type if data_type.is_numeric() => Kind::Number,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            Kind::Other(DataType::Binary)
        }
        other => Kind::Other(other.clone()),
    }
}

/// Whether values of two types can be one: those with a zone and those without never are.
pub fn is_same_kind(one: &DataType, other: &DataType) -> bool {
    let is_instant = |of: &DataType| matches!(of, DataType::Timestamp(_, Some(_)));
    kind(one) == kind(other) && is_instant(one) == is_instant(other)
}

impl Designer<'_> {
    pub(super) fn check_lookups(&mut self, model: &Model, raw: &Schema) {
        for lookup in model.lookups().iter().filter(|lookup| !lookup.is_combination) {
            if let Some(as_of) = &lookup.as_of {
                self.require(model, raw, &[], as_of, "as_of");
                self.require_time(model, raw, as_of, "as_of");
            }
            let Some(dimension) = self.published.get(&lookup.dimension).cloned() else { continue };
            for (key, column) in &lookup.on {
                let ours = raw.field_with_name(&column.value).map(|field| field.data_type());
                let theirs = dimension.field_with_name(key).map(|field| field.data_type());
                let (Ok(ours), Ok(theirs)) = (ours, theirs) else { continue };
                // The time of day of an instant is that of the pipeline's zone.
                let is_time_of = matches!((ours, theirs), (DataType::Timestamp(..), DataType::Time64(_)));
                if is_time_of || kind(ours) == kind(theirs) {
                    continue;
                }
                let told = |data_type: &DataType| in_sql(&data_type.to_string());
                let message = format!(
                    "`{}` looks up {}.{key}, which is {}, by {}, which is {}",
                    lookup.column.value,
                    lookup.dimension,
                    told(theirs),
                    column.value,
                    told(ours)
                );
                self.error(column.span.clone(), message, "cast one of them in its SELECT".to_owned());
            }
        }
    }
}
