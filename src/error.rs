//! One error type. Its kind says what the reader can do, and is the process's exit code.

use std::fmt;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::secret;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, from the point of view of the person who has to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A mistake of starmill's own.
    Bug,
    /// The command line is wrong.
    Usage,
    /// The pipeline file or the SQL of its models is wrong.
    Pipeline,
    /// The source is unreachable, refused us, got lost, or a bound on it was hit.
    Source,
    /// The source's schema, privileges or a value don't fit what the pipeline needs.
    Fit,
    /// A model failed while running: SQL, memory, overflow.
    Model,
    /// The audit refused the star.
    Audit,
    /// The store, the scratch folder or the target refused.
    Store,
    /// Another run holds the store's lock.
    Locked,
    /// Asked for by `--exit-code`: the star differs from the published one.
    Differences,
    /// The snapshot is published, its delivery into the target is not done.
    DeliveryPending,
    /// Somebody keeps the pipeline from publishing until they say otherwise.
    Held,
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl ErrorKind {
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Bug => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Pipeline => 3,
            ErrorKind::Source => 4,
            ErrorKind::Fit => 5,
            ErrorKind::Model => 6,
            ErrorKind::Audit => 7,
            ErrorKind::Store => 8,
            ErrorKind::Locked => 9,
            ErrorKind::Differences => 10,
            ErrorKind::DeliveryPending => 11,
            ErrorKind::Held => 12,
            ErrorKind::Interrupted => 130,
            ErrorKind::Terminated => 143,
        }
    }

    const ALL: [ErrorKind; 14] = [
        ErrorKind::Bug,
        ErrorKind::Usage,
        ErrorKind::Pipeline,
        ErrorKind::Source,
        ErrorKind::Fit,
        ErrorKind::Model,
        ErrorKind::Audit,
        ErrorKind::Store,
        ErrorKind::Locked,
        ErrorKind::Differences,
        ErrorKind::DeliveryPending,
        ErrorKind::Held,
        ErrorKind::Interrupted,
        ErrorKind::Terminated,
    ];

    /// The kind that a process ended with; none for 0, and for what is no exit code of ours.
    pub fn of_exit_code(code: i32) -> Option<ErrorKind> {
        ErrorKind::ALL.into_iter().find(|kind| i32::from(kind.exit_code()) == code)
    }

    /// Whether the same may go well a little later, without anybody's help: what is out of reach or
    /// full now, and what somebody ended. What the audit refused, and what is wrong with the pipeline,
    /// its models or a value, never does.
    pub fn may_pass(self) -> bool {
        match self {
            ErrorKind::Source
            | ErrorKind::Store
            | ErrorKind::Locked
            | ErrorKind::DeliveryPending
            | ErrorKind::Interrupted
            | ErrorKind::Terminated => true,
            ErrorKind::Bug
            | ErrorKind::Usage
            | ErrorKind::Pipeline
            | ErrorKind::Fit
            | ErrorKind::Model
            | ErrorKind::Audit
            | ErrorKind::Held
            | ErrorKind::Differences => false,
        }
    }

    /// The stable word for this kind in JSON.
    pub fn word(self) -> &'static str {
        match self {
            ErrorKind::Bug => "bug",
            ErrorKind::Usage => "usage",
            ErrorKind::Pipeline => "pipeline",
            ErrorKind::Source => "source",
            ErrorKind::Fit => "fit",
            ErrorKind::Model => "model",
            ErrorKind::Audit => "audit",
            ErrorKind::Store => "store",
            ErrorKind::Locked => "locked",
            ErrorKind::Differences => "differences",
            ErrorKind::DeliveryPending => "delivery_pending",
            ErrorKind::Held => "held",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Terminated => "terminated",
        }
    }
}

/// An error with the place where it happened, the step that helps, and its cause.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    diagnostics: Vec<Diagnostic>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    is_busy: bool,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: secret::without(&message.into()).into_owned(),
            context: Vec::new(),
            hint: None,
            diagnostics: Vec::new(),
            source: None,
            is_busy: false,
        }))
    }

    /// Others hold what is needed, and may let it go in a moment.
    pub fn busy(mut self, is_busy: bool) -> Error {
        self.0.is_busy = is_busy;
        self
    }

    pub fn is_busy(&self) -> bool {
        self.0.is_busy
    }

    /// In one line: itself, and the mistake or cause beneath it.
    pub fn told_whole(&self) -> String {
        let mistake = self.diagnostics().first().map(|mistake| mistake.message.clone());
        let more = mistake.or_else(|| self.causes().into_iter().next());
        more.map_or(self.to_string(), |more| format!("{self}: {more}"))
    }

    /// Where it happened: `("table", "public.orders")`. The innermost place is added first.
    pub fn at(mut self, what: &'static str, value: impl fmt::Display) -> Error {
        self.0.context.push((what, secret::without(&value.to_string()).into_owned()));
        self
    }

    /// The next step that helps. The first hint given is the most specific one, so it stays.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint.get_or_insert_with(|| secret::without(&hint.into()).into_owned());
        self
    }

    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    pub fn with_diagnostics(mut self, diagnostics: Vec<Diagnostic>) -> Error {
        self.0.diagnostics = diagnostics;
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    pub fn help(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }

    /// The message and its causes, for a line of the log.
    pub fn in_full(&self) -> String {
        let causes = self.causes().into_iter();
        std::iter::once(self.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
    }

    /// The causes, outermost first, each said once: many libraries repeat their cause's text.
    pub fn causes(&self) -> Vec<String> {
        let mut said = Vec::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = self.0.source.as_deref().map(|e| e as _);
        while let Some(error) = next {
            let text = secret::without(&error.to_string()).into_owned();
            if !self.0.message.contains(&text) && !said.iter().any(|before: &String| before.contains(&text)) {
                said.push(text);
            }
            next = error.source();
        }
        said
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// Turns a foreign error into ours at the place that knows what was being done.
pub trait ResultExt<T> {
    fn or_error(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> ResultExt<T> for std::result::Result<T, E> {
    fn or_error(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(kind, message()).caused_by(cause))
    }
}
