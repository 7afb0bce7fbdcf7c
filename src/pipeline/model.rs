//! One table of the star: what kind it is, what it is made of, what must hold of it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::Spanned;
use super::calendar::Calendar;
use super::fact::FactKind;
use super::sql::SelectSql;
use super::times::Times;
use crate::name::ModelName;

#[derive(Debug)]
pub struct Model {
    pub name: ModelName,
    pub role: Role,
    /// The business key; empty only for a summary that is compared by whole rows.
    pub key: Vec<Spanned<String>>,
    pub body: Body,
    /// What sorts the Parquet when it isn't the key.
    pub order_by: Vec<Spanned<String>>,
    /// Indexes that the target gets besides the key's.
    pub indexes: Vec<Vec<Spanned<String>>>,
    /// Columns that keep the value they had when their row was first seen.
    pub first_seen: Vec<Spanned<String>>,
    /// The models that this one reads.
    pub reads: Vec<ModelName>,
    /// Columns that others ask of it: other models, and controls.
    pub asked_for: BTreeSet<String>,
    pub declared: Declared,
    /// Where it is declared.
    pub place: Range<usize>,
}

/// What the pipeline says of a table besides what it is made of.
#[derive(Debug, Default)]
pub struct Declared {
    pub description: Option<String>,
    /// Whether its published columns change only by the user's word.
    pub frozen: bool,
    pub columns: Vec<DeclaredColumn>,
    /// The columns of which it says what their total is.
    pub totals: Vec<Spanned<String>>,
}

#[derive(Debug)]
pub struct DeclaredColumn {
    pub name: Spanned<String>,
    /// Its type, in Postgres's words, as `in_sql` prints it.
    pub type_name: Option<Spanned<String>>,
    pub not_null: bool,
    pub description: Option<String>,
    /// Whether its sum means something, where the SELECT doesn't tell it.
    pub additive: Option<bool>,
}

#[derive(Debug)]
pub enum Role {
    Dimension {
        surrogate: Spanned<String>,
        history: Option<History>,
        /// What the texts of the unknown member say.
        unknown: String,
    },
    Fact {
        lookups: Vec<Lookup>,
        /// The columns whose sums are audited against the grain.
        measures: Vec<Spanned<String>>,
        /// Those of them that may be floating point, whose sum depends on the order of the rows.
        allow_float: Vec<Spanned<String>>,
        kind: FactKind,
    },
    Summary,
}

impl Role {
    pub fn word(&self) -> &'static str {
        match self {
            Role::Dimension { .. } => "dimension",
            Role::Fact { kind: FactKind::Bridge(_), .. } => "bridge",
            Role::Fact { .. } => "fact",
            Role::Summary => "summary",
        }
    }
}

/// Since when a version of a dimension's row holds, and until when; the last one of a living member is open.
pub const VALID_FROM: &str = "valid_from";
pub const VALID_TO: &str = "valid_to";
pub const IS_CURRENT: &str = "is_current";

/// A dimension that keeps what its rows were (type 2): one row a version, which the surrogate identifies.
#[derive(Debug)]
pub struct History {
    pub tracked: Tracked,
    /// The column that says since when a row is as it is; else the source snapshot's time does.
    pub effective_from: Option<Spanned<String>>,
    /// Where it is declared.
    pub place: Range<usize>,
}

/// The columns of which a change makes a new version; those of the others are overwritten in all versions (type 1).
#[derive(Debug)]
pub enum Tracked {
    Columns(Vec<Spanned<String>>),
    AllBut(Vec<Spanned<String>>),
}

impl Tracked {
    pub fn named(&self) -> &[Spanned<String>] {
        let (Tracked::Columns(columns) | Tracked::AllBut(columns)) = self;
        columns
    }
}

#[derive(Debug)]
pub enum Body {
    Sql(SelectSql),
    /// The combinations that occur in facts.
    Junk(Junk),
    /// The built-in calendar.
    Calendar(Calendar),
    /// The built-in dimension of the times of a day.
    Times(Times),
}

/// A surrogate key that starmill adds to a fact: the dimension's row whose business key equals the
/// fact's columns, else the unknown member.
#[derive(Debug)]
pub struct Lookup {
    /// The column that is added.
    pub column: Spanned<String>,
    pub dimension: ModelName,
    /// The dimension's key column and the fact's column that it equals; of a combination each of its columns.
    pub on: Vec<(String, Spanned<String>)>,
    /// The fact's column of whose time the dimension's version is meant; the current one, where none is named.
    pub as_of: Option<Spanned<String>>,
    /// How many keys may have no row in the dimension; unsaid, they are only noted.
    pub unknown_max: Option<UnknownMax>,
    /// Whether a key that the dimension doesn't have becomes a member of it, which a later night fills in.
    pub inferred: bool,
    /// Whether `on` names the columns whose combination is the dimension's row.
    pub is_combination: bool,
}

impl Lookup {
    /// The fact's columns by which it finds a row: where one of them is NULL, nothing can be found.
    pub fn columns(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.on.iter().map(|(_, column)| column).chain(&self.as_of)
    }
}

/// The business key of a junk dimension: its columns' values in one text.
pub const COMBINATION: &str = "combination";

/// What somebody asks for who asks for all columns.
pub const ALL: &str = "*";

/// What a junk dimension is made of: the combinations of some columns that occur in facts.
#[derive(Debug)]
pub struct Junk {
    /// What its columns are called.
    pub names: Vec<String>,
    /// Facts with as many columns of theirs, in the same order.
    pub from: Vec<(ModelName, Vec<Spanned<String>>)>,
}

/// Tells the members of a dimension that facts brought, and that the source has not told of yet.
pub const IS_INFERRED: &str = "is_inferred";

/// A bound on the rows of a fact whose key a dimension doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownMax {
    Rows(u64),
    /// Hundredths of a percent of the fact's rows.
    Share(u64),
}

impl UnknownMax {
    const WHOLE: u64 = 10_000;

    /// Takes `"3"` or `"0.5%"`, with at most two digits after the point.
    pub fn parse(text: &str) -> Option<UnknownMax> {
        let Some(share) = text.strip_suffix('%') else { return text.parse().ok().map(UnknownMax::Rows) };
        let (whole, part) = share.trim_end().split_once('.').unwrap_or((share.trim_end(), ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 2 {
            return None;
        }
        let hundredths: u64 = format!("{whole}{part:0<2}").parse().ok()?;
        (hundredths <= UnknownMax::WHOLE).then_some(UnknownMax::Share(hundredths))
    }

    pub fn allows(self, unknown: u64, rows: u64) -> bool {
        match self {
            UnknownMax::Rows(most) => unknown <= most,
            UnknownMax::Share(share) => {
                u128::from(unknown) * u128::from(UnknownMax::WHOLE) <= u128::from(rows) * u128::from(share)
            }
        }
    }

    /// Whether a fact may know none of its dimension's rows.
    pub fn allows_all(self) -> bool {
        self == UnknownMax::Share(UnknownMax::WHOLE)
    }
}

impl Model {
    pub fn fact_kind(&self) -> Option<&FactKind> {
        match &self.role {
            Role::Fact { kind, .. } => Some(kind),
            _ => None,
        }
    }

    /// Columns of the SELECT that are not published, because a junk dimension has them: those that nothing else of the
    /// pipeline names.
    pub fn moved_out(&self) -> Vec<&str> {
        let combined = self.lookups().iter().filter(|lookup| lookup.is_combination);
        let mut moved: Vec<&str> =
            combined.flat_map(|lookup| lookup.columns().map(|column| column.value.as_str())).collect();
        let others = self.lookups().iter().filter(|lookup| !lookup.is_combination);
        let measures = match &self.role {
            Role::Fact { measures, .. } => measures.as_slice(),
            _ => &[],
        };
        let of_kind: &[Spanned<String>] = match self.fact_kind() {
            Some(FactKind::Accumulating(milestones)) => milestones,
            Some(FactKind::Periodic(periodic)) => &periodic.semi_additive,
            _ => &[],
        };
        let named: Vec<&str> =
            (self.key.iter().chain(&self.order_by).chain(&self.first_seen).chain(measures))
                .chain(of_kind)
                .chain(self.indexes.iter().flatten())
                .chain(others.flat_map(Lookup::columns))
                .chain(self.declared.columns.iter().map(|column| &column.name))
                .chain(&self.declared.totals)
                .map(|column| column.value.as_str())
                .collect();
        let asked = |column: &str| self.asked_for.contains(column) || self.asked_for.contains(ALL);
        moved.retain(|column| !named.contains(column) && !asked(column));
        moved
    }

    pub fn key_columns(&self) -> Vec<String> {
        self.key.iter().map(|column| column.value.clone()).collect()
    }

    /// What the rows of the published table are sorted by, made unique by the key.
    pub fn sort_columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        let ordered = self.order_by.iter().map(|column| column.value.clone());
        for column in ordered.chain(self.row_key()) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    pub fn surrogate(&self) -> Option<&str> {
        match &self.role {
            Role::Dimension { surrogate, .. } => Some(&surrogate.value),
            _ => None,
        }
    }

    /// What the texts of a dimension's unknown member say.
    pub fn unknown(&self) -> &str {
        match &self.role {
            Role::Dimension { unknown, .. } => unknown,
            _ => "",
        }
    }

    pub fn history(&self) -> Option<&History> {
        match &self.role {
            Role::Dimension { history, .. } => history.as_ref(),
            _ => None,
        }
    }

    /// What tells the published rows apart: the business key, and of a history the version's beginning.
    pub fn row_key(&self) -> Vec<String> {
        let mut key = self.key_columns();
        key.extend(self.history().map(|_| VALID_FROM.to_owned()));
        key
    }

    /// Of the built-in calendar what it is asked for.
    pub fn calendar(&self) -> Option<&Calendar> {
        match &self.body {
            Body::Calendar(calendar) => Some(calendar),
            Body::Sql(_) | Body::Junk(_) | Body::Times(_) => None,
        }
    }

    /// Of the built-in dimension of the times of a day, how finely it tells them apart.
    pub fn times(&self) -> Option<Times> {
        match self.body {
            Body::Times(times) => Some(times),
            Body::Sql(_) | Body::Junk(_) | Body::Calendar(_) => None,
        }
    }

    pub fn lookups(&self) -> &[Lookup] {
        match &self.role {
            Role::Fact { lookups, .. } => lookups,
            _ => &[],
        }
    }

    /// Columns whose values are given once and kept in the registry: the surrogate key of a
    /// dimension, the first-seen columns of any model.
    pub fn registered(&self) -> bool {
        !self.first_seen.is_empty()
            || (self.surrogate().is_some() && matches!(self.body, Body::Sql(_) | Body::Junk(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::UnknownMax::{self, Rows, Share};

    #[test]
    fn a_bound_is_a_number_of_rows_or_a_share() {
        let good = [
            ("0", Rows(0)),
            ("12", Rows(12)),
            ("0.5%", Share(50)),
            ("100%", Share(10_000)),
            ("0.01 %", Share(1)),
        ];
        for (text, bound) in good {
            assert_eq!(UnknownMax::parse(text), Some(bound), "{text}");
        }
        for text in ["", "%", "-1", "1.5", "101%", "0.001%", ".5%", "1e2%", "five"] {
            assert_eq!(UnknownMax::parse(text), None, "{text}");
        }
        assert!(Share(50).allows(5, 1_000) && !Share(50).allows(6, 1_000));
        assert!(Rows(0).allows(0, 0) && !Rows(0).allows(1, 1_000_000));
        assert!(Share(u64::MAX).allows(u64::MAX, u64::MAX));
    }
}
