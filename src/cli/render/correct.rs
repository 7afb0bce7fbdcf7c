//! Corrected first-seen values, in words.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::operate::correct::Corrections;
use crate::shown::line;
use crate::star::correction::Correction;

fn value(value: &Option<String>) -> Cow<'_, str> {
    value.as_ref().map_or(Cow::Borrowed("NULL"), |value| line(value))
}

/// One correction: what became what, and why.
pub fn correction(correction: &Correction) -> String {
    let Correction { key, column, old, new, because, by, at, .. } = correction;
    let at = at.format("%Y-%m-%d %H:%M:%SZ");
    let (key, column, because, by) = (line(key), line(column), line(because), line(by));
    format!("{key} {column}: {} → {}, by {by} at {at}: {because}", value(old), value(new))
}

/// What `starmill correct` did, or would do.
pub fn corrections(told: &Corrections) -> String {
    let mut text = format!("{} · {}\n\n", told.pipeline, told.table);
    if told.corrections.is_empty() {
        text.push_str("  The values are so already: nothing changes.\n");
        return text;
    }
    for one in &told.corrections {
        let _ = writeln!(text, "  {}", correction(one));
    }
    text.push_str(match told.done {
        true => "\n  Corrected. The next run shows it, and whatever is made of it.\n",
        false => "\n  Nothing was done.\n",
    });
    text
}
