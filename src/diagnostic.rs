//! A mistake with its place in a file, so that it can be shown under the line that has it.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use crate::secret::{self, Edited};
use crate::shown;

/// A text that people wrote, with the path they know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub path: Arc<str>,
    pub text: Arc<str>,
}

impl Document {
    pub fn new(path: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Document {
        Document { path: path.into(), text: text.into() }
    }

    /// Line and column, both counted from 1, columns in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..offset.min(self.text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The byte offset of a line and column, both counted from 1, columns in characters.
    pub fn offset(&self, line: u64, column: u64) -> usize {
        let line_start = match line {
            0 | 1 => 0,
            _ => {
                self.text.match_indices('\n').nth(line as usize - 2).map_or(self.text.len(), |(at, _)| at + 1)
            }
        };
        self.text[line_start..]
            .char_indices()
            .nth(column.saturating_sub(1) as usize)
            .map_or(self.text.len(), |(at, _)| line_start + at)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// What is wrong, where, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    pub place: Option<Place>,
    pub help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub document: Document,
    pub span: Range<usize>,
}

impl Diagnostic {
    pub fn error(message: impl Into<String>) -> Diagnostic {
        let message = secret::without(&message.into()).into_owned();
        Diagnostic { severity: Severity::Error, message, place: None, help: None }
    }

    pub fn warning(message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(message) }
    }

    pub fn at(mut self, document: &Document, span: Range<usize>) -> Diagnostic {
        let end = document.text.len();
        let span = span.start.min(end)..span.end.clamp(span.start.min(end), end);
        self.place = Some(Place { document: document.clone(), span });
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(secret::without(&help.into()).into_owned());
        self
    }

    pub fn is_in(&self, document: &Document) -> bool {
        self.place.as_ref().is_some_and(|place| place.document.path == document.path)
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The mistake under its line, as a compiler shows it; coloured when `styled`.
    pub fn render(&self, styled: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut groups = Vec::new();
        let (message, help) = (shown::line(&self.message), self.help.as_deref().map(shown::line));
        let title = level.primary_title(&*message);
        // The line is somebody's own, and may hold what must not be shown, whatever is wrong with it.
        let source = self.place.as_ref().map(|place| {
            let edited = Edited::file(&place.document.text);
            let span = edited.span(&place.span);
            (shown::line(&place.document.path), edited.text, span)
        });
        match &source {
            Some((path, text, span)) => groups.push(
                title.element(
                    Snippet::source(text.as_str())
                        .path(&**path)
                        .annotation(AnnotationKind::Primary.span(span.clone())),
                ),
            ),
            None => groups.push(Group::with_title(title)),
        }
        if let Some(help) = &help {
            groups.push(Group::with_title(Level::HELP.secondary_title(&**help)));
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&groups)
    }

    pub fn to_json(&self) -> serde_json::Value {
        let place = self.place.as_ref().map(|place| {
            let (line, column) = place.document.position(place.span.start);
            json!({ "file": &*place.document.path, "line": line, "column": column })
        });
        json!({
            "severity": match self.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "message": self.message,
            "place": place,
            "help": self.help,
        })
    }
}
