//! What becomes of values that Arrow cannot hold as they are. Everything else is exact or refused.

use std::collections::BTreeMap;

use super::mask::Mask;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePolicy {
    /// For `numeric` declared without precision.
    pub numeric: Decimal,
    pub extremes: Extremes,
    /// `schema.table.column` to its own mapping.
    pub columns: BTreeMap<String, ColumnAs>,
    pub masks: Masks,
}

/// The columns whose values nobody sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    /// `schema.table.column`, or `table.column` of one of the pipeline's schemas.
    pub columns: BTreeMap<String, Mask>,
    /// Columns that have the name of a masked one, and are said to be something else.
    pub bare: Vec<String>,
    pub schemas: Vec<String>,
}

impl Masks {
    /// The mask of `schema.table.column`.
    pub fn of(&self, column: &str) -> Option<&Mask> {
        self.columns.iter().find(|(name, _)| self.names(name, column)).map(|(_, mask)| mask)
    }

    /// Whether a mask's name is that of `schema.table.column`.
    pub fn names(&self, name: &str, column: &str) -> bool {
        name == column
            || self.schemas.iter().any(|schema| {
                column.strip_prefix(schema.as_str()).and_then(|rest| rest.strip_prefix('.')) == Some(name)
            })
    }
}

/// What becomes of values at and beyond the ends of what readers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extremes {
    pub special: Special,
    pub far_dates: FarDates,
}

impl Extremes {
    /// Nothing changes on its way: what has no place is refused.
    pub const EXACT: Extremes = Extremes { special: Special::Refuse, far_dates: FarDates::Keep };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    pub precision: u8,
    pub scale: i8,
}

impl Decimal {
    /// Digits that every reader of Parquet holds; wider ones live only inside a run.
    pub const PUBLISHED: u8 = 38;
    /// Digits that Arrow holds.
    pub const WIDEST: u8 = 76;

    pub fn is_wide(self) -> bool {
        self.precision > Decimal::PUBLISHED
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnAs {
    Decimal(Decimal),
    Text,
}

/// What becomes of NaN and ±Infinity of numeric, and ±infinity of dates and timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    Refuse,
    Null,
    /// Dates and timestamps move to the nearest end of the calendar; numerics are refused.
    Clamp,
}

/// What becomes of dates and timestamps before the year 1 or after 9999, which Parquet holds but
/// many a reader does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FarDates {
    Keep,
    Refuse,
    Null,
    /// They move to the nearest end of these years.
    Clamp,
}
