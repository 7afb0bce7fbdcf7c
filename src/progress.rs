//! What a long step says while it works. Who listens, and how it is shown, is the surface's affair.

use std::sync::Arc;

#[derive(Debug, Clone)]
pub enum Event {
    /// A step begins: `extract`, `build`, `audit`, `diff`, `publish`, `load`.
    Step(&'static str),
    /// So many rows of a table have passed.
    Rows { table: String, rows: u64 },
    /// Something that people should know before it goes on.
    Note(String),
    /// A table is done.
    Table { table: String, rows: u64 },
}

/// Told to by every step; silent unless someone listens.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Progress {
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Progress {
        Progress(Some(Arc::new(listener)))
    }

    pub fn tell(&self, event: Event) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }
}
