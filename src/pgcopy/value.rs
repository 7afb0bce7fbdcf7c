//! A value that has no place in Arrow, said so that its owner can find it and decide.

use std::fmt;

/// A value that Arrow cannot hold as the pipeline wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// What is wrong with it: "has more digits than decimal(38,10) holds".
    pub reason: String,
    /// The value as Postgres prints it, shortened.
    pub value: String,
    /// What the pipeline can say to let it pass.
    pub remedy: Option<String>,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value {} {}", self.value, self.reason)
    }
}

impl std::error::Error for ValueError {}

impl ValueError {
    pub(super) fn new(value: &str, reason: impl Into<String>) -> ValueError {
        let mut shown: String = value.chars().take(60).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        ValueError { reason: reason.into(), value: format!("`{shown}`"), remedy: None }
    }

    pub(super) fn malformed(bytes: &[u8], expected: &str) -> ValueError {
        let hex: String = bytes.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
        ValueError {
            reason: match expected {
                UTF_8 => "is not valid UTF-8".to_owned(),
                _ => format!("is not the binary form of {expected}"),
            },
            value: format!("\\x{hex}"),
            remedy: None,
        }
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> ValueError {
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn special(word: &str) -> ValueError {
        ValueError::new(word, "has no place in Arrow").remedy(
            "say in the pipeline, in [source], what becomes of it: special = \"null\", or for dates \"clamp\"; or read the column as = \"text\"",
        )
    }
}

/// What is expected of a text.
pub(super) const UTF_8: &str = "UTF-8 text";

pub(super) fn end_of_day() -> ValueError {
    ValueError::new("24:00:00", "is no time of day in Arrow").remedy("as = \"text\"")
}

/// After the year 294246, which Postgres holds and Arrow does not.
pub(super) fn too_far(shown: &str) -> ValueError {
    ValueError::new(shown, "is later than Arrow counts").remedy(
        "say in the pipeline, in [source], what becomes of it: far_dates = \"null\" or \"clamp\"; or read the column as = \"text\"",
    )
}

/// Before the year 1 or after 9999, in a pipeline that wants none of these.
pub(super) fn far(shown: &str) -> ValueError {
    ValueError::new(shown, "is before the year 1 or after 9999").remedy(
        "say in the pipeline, in [source], what becomes of it: far_dates = \"keep\", \"null\" or \"clamp\"",
    )
}
