//! Reads one TOML table key by key, noting every mistake with its place instead of stopping at one.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Document};
use crate::name::{list, nearest};

/// A value with its place in the pipeline file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Range<usize>,
}

impl<T> Spanned<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: f(self.value), span: self.span }
    }
}

/// Where the mistakes of one document gather.
pub struct Notes {
    pub document: Document,
    found: RefCell<Vec<Diagnostic>>,
}

impl Notes {
    pub fn new(document: Document) -> Notes {
        Notes { document, found: RefCell::default() }
    }

    pub fn add(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    pub fn error(&self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.add(Diagnostic::error(message).at(&self.document, span).help(help));
    }

    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// A name of the user's, and what stands under it.
pub type NamedStrings = (Spanned<String>, Vec<Spanned<String>>);

/// One table of the file. Every key asked for is thereby a known one; [`Section::finish`] reports
/// the rest.
pub struct Section<'a> {
    pub path: String,
    pub span: Range<usize>,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
    notes: &'a Notes,
}

impl<'a> Section<'a> {
    pub fn root(table: &'a TomlSpanned<DeTable<'a>>, notes: &'a Notes) -> Section<'a> {
        Section::new(String::new(), table.get_ref(), table.span(), notes)
    }

    fn new(path: String, table: &'a DeTable<'a>, span: Range<usize>, notes: &'a Notes) -> Section<'a> {
        Section { path, span, table, asked: RefCell::default(), notes }
    }

    fn get(&self, key: &'static str) -> Option<&'a TomlSpanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    pub fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// The place of the table's header: its first line, so that a long table is not underlined whole.
    fn header(&self) -> Range<usize> {
        let text = &self.notes.document.text;
        let start = self.span.start.min(text.len());
        let line = text[start..].find('\n').map_or(text.len(), |at| start + at);
        start..line.min(self.span.end.max(start))
    }

    fn wrong_type(&self, key: &str, value: &TomlSpanned<DeValue>, expected: &str) {
        self.notes.error(
            value.span(),
            format!("`{}` must be {expected}, not {}", self.join(key), type_name(value.get_ref())),
            format!("write {expected}"),
        );
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn string(&self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(self.expand(text, value.span())),
            _ => {
                self.wrong_type(key, value, "a string");
                None
            }
        }
    }

    /// A bound that is a number or a text such as `"0.5%"`, as text.
    pub fn string_or_integer(&self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(self.expand(text, value.span())),
            DeValue::Integer(number) if number.radix() == 10 => {
                Some(Spanned { value: number.as_str().replace('_', ""), span: value.span() })
            }
            _ => {
                self.wrong_type(key, value, "a whole number or a string");
                None
            }
        }
    }

    pub fn required(&self, key: &'static str, example: &str) -> Option<Spanned<String>> {
        if !self.has(key) {
            self.missing(key, example);
        }
        self.string(key)
    }

    pub fn missing(&self, key: &str, example: &str) {
        let message = match self.path.as_str() {
            "" => format!("`{key}` is missing"),
            path => format!("[{path}] needs `{key}`"),
        };
        // A whole section has no sign of equality.
        let help =
            if key.starts_with('[') { format!("add {example}") } else { format!("add `{key} = {example}`") };
        self.notes.error(self.header(), message, help);
    }

    pub fn integer(&self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().replace('_', "").parse::<i64>().ok(),
            _ => None,
        };
        let (low, high) = (range.start(), range.end());
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                let message = format!("`{}` must be from {low} to {high}, not {number}", self.join(key));
                self.notes.error(value.span(), message, "write a number in between");
                None
            }
            None => {
                self.wrong_type(key, value, &format!("a whole number from {low} to {high}"));
                None
            }
        }
    }

    pub fn boolean(&self, key: &'static str) -> Option<Spanned<bool>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(answer) => Some(Spanned { value: *answer, span: value.span() }),
            _ => {
                self.wrong_type(key, value, "true or false");
                None
            }
        }
    }

    /// An array of strings; one lone string is an array of one.
    pub fn strings(&self, key: &'static str) -> Option<Vec<Spanned<String>>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(vec![self.expand(text, value.span())]),
            DeValue::Array(_) => self.string_array(key, value),
            _ => {
                self.wrong_type(key, value, "an array of strings");
                None
            }
        }
    }

    /// An array of arrays of strings, as in `indexes`.
    pub fn string_lists(&self, key: &'static str) -> Option<Vec<Vec<Spanned<String>>>> {
        let value = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, "an array of arrays of strings");
            return None;
        };
        items.iter().map(|item| self.string_array(key, item)).collect()
    }

    fn string_array(&self, key: &str, value: &TomlSpanned<DeValue>) -> Option<Vec<Spanned<String>>> {
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, "an array of strings");
            return None;
        };
        let mut strings = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => strings.push(self.expand(text, item.span())),
                _ => self.wrong_type(key, item, "an array of strings"),
            }
        }
        Some(strings)
    }

    pub fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(self.join(key), table, value.span(), self.notes)),
            _ => {
                self.wrong_type(key, value, "a table");
                None
            }
        }
    }

    /// Names with arrays of strings, as in `from = { fact_orders = ["channel", "status"] }`.
    pub fn named_strings(&self, key: &'static str) -> Option<Vec<NamedStrings>> {
        let value = self.get(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, "a table of arrays of strings");
            return None;
        };
        let named = table.iter().filter_map(|(name, value)| {
            let name = Spanned { value: name.get_ref().to_string(), span: name.span() };
            Some((name, self.string_array(key, value)?))
        });
        Some(named.collect())
    }

    /// A value that is a table, or not (`on = [...]` or `on = { … }`).
    pub fn is_table(&self, key: &'static str) -> bool {
        self.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// Names with what they stand for: `["a", { b = "c" }]` or `{ a = "a", b = "c" }`. A lone string
    /// stands for itself.
    pub fn pairs(&self, key: &'static str) -> Option<Vec<(Spanned<String>, Spanned<String>)>> {
        const EXPECTED: &str = "an array of strings, or a table of strings";
        let value = self.get(key)?;
        let items: Vec<&TomlSpanned<DeValue>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut pairs = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => {
                    let text = self.expand(text, item.span());
                    pairs.push((text.clone(), text));
                }
                DeValue::Table(table) => self.string_entries(key, table, &mut pairs),
                _ => self.wrong_type(key, item, EXPECTED),
            }
        }
        Some(pairs)
    }

    fn string_entries(&self, key: &str, table: &DeTable, into: &mut Vec<(Spanned<String>, Spanned<String>)>) {
        for (name, value) in table.iter() {
            match value.get_ref() {
                DeValue::String(text) => into.push((
                    Spanned { value: name.get_ref().to_string(), span: name.span() },
                    self.expand(text, value.span()),
                )),
                _ => self.wrong_type(key, value, "a string"),
            }
        }
    }

    /// Every entry of a table whose keys are the user's own names, with each name's place.
    pub fn named_sections(&self, key: &'static str) -> Vec<(Spanned<String>, Section<'a>)> {
        let Some(outer) = self.section(key) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, value) in outer.table.iter() {
            let path = format!("{}.{}", outer.path, name.get_ref());
            match value.get_ref() {
                DeValue::Table(table) => {
                    let name = Spanned { value: name.get_ref().to_string(), span: name.span() };
                    found.push((name, Section::new(path, table, value.span(), self.notes)));
                }
                _ => outer.wrong_type(name.get_ref(), value, "a table"),
            }
        }
        found
    }

    /// The tables of `[[key]]`.
    pub fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, "an array of tables");
            return Vec::new();
        };
        let mut found = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    found.push(Section::new(self.join(key), table, item.span(), self.notes));
                }
                _ => self.wrong_type(key, item, "an array of tables"),
            }
        }
        found
    }

    /// Reports every key that nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        for (name, _) in self.table.iter() {
            let name_text: &str = name.get_ref();
            if asked.contains(&name_text) {
                continue;
            }
            let mut valid = asked.clone();
            valid.sort_unstable();
            valid.dedup();
            let place =
                if self.path.is_empty() { "the pipeline".to_owned() } else { format!("[{}]", self.path) };
            let help = match nearest(name_text, valid.iter().copied()) {
                Some(near) => format!("did you mean `{near}`? Valid here: {}", list(valid)),
                None => format!("valid here: {}", list(valid)),
            };
            self.notes.error(name.span(), format!("unknown key `{name_text}` in {place}"), help);
        }
    }

    /// Replaces `${VAR}` and `${VAR:-default}` by the environment; `:-` also covers an empty value.
    fn expand(&self, text: &str, span: Range<usize>) -> Spanned<String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..start + length];
            let (variable, default) = match inner.split_once(":-") {
                Some((variable, default)) => (variable, Some(default)),
                None => (inner, None),
            };
            match (std::env::var(variable).ok().filter(|v| default.is_none() || !v.is_empty()), default) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => self.notes.error(
                    span.clone(),
                    format!("the environment variable `{variable}` is not set"),
                    format!("set it, or give it a default: `${{{variable}:-…}}`"),
                ),
            }
            rest = &rest[start + length + 1..];
        }
        out.push_str(rest);
        Spanned { value: out, span }
    }
}

fn type_name(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
