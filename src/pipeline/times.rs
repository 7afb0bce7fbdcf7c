//! How finely the built-in dimension of the times of a day tells them apart.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Hour,
    Minute,
    Second,
}

impl Times {
    pub const WORDS: [&'static str; 3] = ["hour", "minute", "second"];

    pub fn by_word(word: &str) -> Option<Times> {
        Some(match word {
            "hour" => Times::Hour,
            "minute" => Times::Minute,
            "second" => Times::Second,
            _ => return None,
        })
    }

    /// The seconds between two of its rows.
    pub fn step(self) -> u32 {
        match self {
            Times::Hour => 3_600,
            Times::Minute => 60,
            Times::Second => 1,
        }
    }
}
