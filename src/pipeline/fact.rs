//! What a fact's rows are: each something that happened, what was at the end of a period, how far something has come; or who
//! belongs together, by which weight.

use std::ops::Range;

use super::Spanned;

#[derive(Debug)]
pub enum FactKind {
    Transaction,
    Periodic(Periodic),
    /// The columns of its milestones: a time, once one is reached.
    Accumulating(Vec<Spanned<String>>),
    Bridge(Bridge),
}

/// One row a thing and period.
#[derive(Debug)]
pub struct Periodic {
    pub every: Every,
    /// The column of the period's first day; else the one date in the key.
    pub period: Option<Spanned<String>>,
    pub allow_gaps: bool,
    /// Measures that are summed over the things, never over the periods.
    pub semi_additive: Vec<Spanned<String>>,
    pub place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Every {
    pub const ALL: [Every; 5] = [Every::Day, Every::Week, Every::Month, Every::Quarter, Every::Year];

    pub fn word(self) -> &'static str {
        match self {
            Every::Day => "day",
            Every::Week => "week",
            Every::Month => "month",
            Every::Quarter => "quarter",
            Every::Year => "year",
        }
    }
}

/// Rows that say who belongs to what, by weights that are one together.
#[derive(Debug)]
pub struct Bridge {
    pub group: Vec<Spanned<String>>,
    pub weight: Spanned<String>,
}
