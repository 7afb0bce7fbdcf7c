//! The one table of functions: which of them answer as in Postgres, which are ours, and which are refused with what to
//! write instead. A function of the engine's that has no line here is refused. `docs/dialect.md` is printed from it,
//! and every line is held against Postgres by its examples.

mod aggregates;
mod catalog;
mod json;
mod nested;
mod numbers;
mod operators;
mod text;
mod times;

pub use catalog::{Called, Catalog, Signature};

use super::functions::json::build::AS_TEXT;
use super::functions::run_at::RUN_AT;
use std::fmt::Write as _;

/// How a function is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The engine's own gives what Postgres gives.
    Same,
    /// A function of our own with Postgres's meaning.
    Ours,
    /// What the engine runs instead.
    Rewritten(&'static str),
    /// Not answered; what to write.
    Refused(&'static str),
}

/// Where a function stands in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Aggregate,
    Window,
    /// What an operator or a piece of syntax is, under a name that nobody can call.
    Operator,
}

/// One function.
#[derive(Debug)]
pub struct Line {
    pub family: &'static str,
    /// As the engine names it, and as Postgres does where that differs.
    pub name: &'static str,
    pub written: &'static str,
    pub kind: Kind,
    pub answer: Answer,
    /// Expressions that are answered as in Postgres, or refused.
    pub examples: &'static [&'static str],
}

const fn scalar(family: &'static str, name: &'static str, examples: &'static [&'static str]) -> Line {
    Line { family, name, written: name, kind: Kind::Scalar, answer: Answer::Same, examples }
}

const fn aggregate(name: &'static str, examples: &'static [&'static str]) -> Line {
    Line { kind: Kind::Aggregate, ..scalar("aggregates", name, examples) }
}

const fn window(name: &'static str, examples: &'static [&'static str]) -> Line {
    Line { kind: Kind::Window, ..scalar("windows", name, examples) }
}

const fn operator(
    family: &'static str,
    name: &'static str,
    written: &'static str,
    examples: &'static [&'static str],
) -> Line {
    Line { kind: Kind::Operator, written, answer: Answer::Ours, ..scalar(family, name, examples) }
}

impl Line {
    const fn ours(self) -> Line {
        Line { answer: Answer::Ours, ..self }
    }

    const fn rewritten(self, to: &'static str) -> Line {
        Line { answer: Answer::Rewritten(to), ..self }
    }

    const fn refused(self, instead: &'static str) -> Line {
        Line { answer: Answer::Refused(instead), ..self }
    }

    /// How Postgres writes it.
    const fn written(self, written: &'static str) -> Line {
        Line { written, ..self }
    }
}

const NUMBERS: &str = "numbers";
pub const TEXT: &str = "text";
const TIMES: &str = "times";
const ANY: &str = "values of any type";
const ARRAYS: &str = "arrays";
const JSON: &str = "json";
const BYTES: &str = "bytes";

/// Every line, by family.
pub fn lines() -> impl Iterator<Item = &'static Line> {
    [
        operators::LINES,
        numbers::LINES,
        text::LINES,
        times::LINES,
        nested::LINES,
        json::LINES,
        aggregates::LINES,
    ]
    .into_iter()
    .flatten()
}

/// A function's line, by the engine's name.
pub fn line(name: &str) -> Option<&'static Line> {
    lines().find(|line| line.name == name || line.written == name)
}

/// What the engine makes of syntax, not of a name: `(a, b)`, a field of a composite, a cast that is told from another.
/// `run_at()` is no function of Postgres's.
pub const SYNTAX: [&str; 6] =
    ["struct", "get_field", super::apart::NAME, super::independent::END_OF_KEYS, RUN_AT, AS_TEXT];

/// The page of the table.
pub fn documentation() -> String {
    let mut page = "# Functions and operators\n\nWhich functions and operators of Postgres a model may call, and how each is answered: *same* by the engine's own, *ours* by one \
        with Postgres's meaning, *rewritten* to another, or *refused*. Every line is held against Postgres by its examples, \
        over awkward values (`tests/it/dialect.rs`). A function that has no line is refused by `check`, whatever the engine \
        knows; `allow = [\"name\"]` in `[sql]` takes one as the engine answers it.\n\nBeside it lies Postgres's own catalog: a call, an operator or a cast for whose types Postgres has none is refused, as it \
        refuses it, as far as the types are known for certain.\n\n`run_at()` is starmill's own: the instant of the source snapshot, a \
        `timestamp with time zone`, in models, in both sides of controls, and in questions. Of a folder it is when its newest \
        file was changed.\n\nThis page is printed from `src/dialect/table.rs`.\n"
        .to_owned();
    let mut families: Vec<&str> = Vec::new();
    for line in lines() {
        if !families.contains(&line.family) {
            families.push(line.family);
        }
    }
    let mut before = "";
    for line in families.into_iter().flat_map(|family| lines().filter(move |line| line.family == family)) {
        if line.family != before {
            before = line.family;
            let _ = write!(page, "\n## {}\n\n| | answer | examples |\n|---|---|---|\n", capital(before));
        }
        let answer = match line.answer {
            Answer::Same => "same".to_owned(),
            Answer::Ours => "ours".to_owned(),
            Answer::Rewritten(to) => format!("rewritten to `{to}`"),
            Answer::Refused(instead) => format!("refused: {instead}"),
        };
        let examples: Vec<String> =
            line.examples.iter().map(|example| format!("`{}`", example.replace('|', "\\|"))).collect();
        let _ =
            writeln!(page, "| `{}` | {answer} | {} |", line.written.replace('|', "\\|"), examples.join(", "));
    }
    page
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
