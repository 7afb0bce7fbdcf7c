//! One line of progress on a terminal; nothing in a pipe.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Format;
use super::render;
use crate::progress::{Event, Progress};
use crate::shown;

pub struct Spinner {
    bar: ProgressBar,
    format: Format,
}

/// A spinner on stderr. It hides itself when stderr is no terminal.
pub fn progress(format: Format) -> Spinner {
    let target = match format {
        Format::Text => ProgressDrawTarget::stderr(),
        Format::Json => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:8} {elapsed:>4}  {wide_msg}") {
        bar.set_style(style);
    }
    if !bar.is_hidden() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    Spinner { bar, format }
}

impl Spinner {
    pub fn listener(&self) -> Progress {
        let (bar, format) = (self.bar.clone(), self.format);
        let rows: Mutex<BTreeMap<String, u64>> = Mutex::default();
        Progress::new(move |event| match event {
            Event::Step(step) => {
                bar.set_prefix(step);
                bar.set_message("");
            }
            Event::Rows { table, rows: more } => {
                let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
                let count = rows.entry(table.clone()).or_default();
                *count += more;
                bar.set_message(format!("{}: {} rows", shown::line(&table), HumanCount(*count)));
            }
            // Above the line, and in a pipe too: it is said before anything is read.
            Event::Note(note) if format == Format::Text => {
                bar.suspend(|| render::say(&format!("note: {note}")))
            }
            Event::Note(_) => {}
            Event::Table { table, rows } => {
                bar.set_message(format!("{}: {} rows, done", shown::line(&table), HumanCount(rows)))
            }
        })
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
