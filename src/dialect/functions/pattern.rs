//! The patterns of `to_char`, `to_date` and `to_timestamp`, as Postgres reads them: the longest keyword first, in the
//! case that it is written in, and everything else as it stands.

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The first letters of such a name.
pub fn short(name: &'static str) -> &'static str {
    name.get(..3).unwrap_or(name)
}

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Upper,
    Capital,
    Lower,
}

/// What a keyword stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Hour24,
    Hour12,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    /// So many digits of a second's fraction.
    Fraction(u32),
    SecondOfDay,
    /// AM or PM, with points between the letters or without.
    Meridiem(Case, bool),
    Era(Case, bool),
    /// The last so many digits of the year.
    Year(usize),
    /// `Y,YYY`
    YearWithComma,
    IsoYear(usize),
    MonthName(Case),
    MonthShort(Case),
    Month,
    DayName(Case),
    DayShort(Case),
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    JulianDay,
    Quarter,
    Roman(Case),
    Zone(Case),
    ZoneHours,
    ZoneMinutes,
    ZoneOffset,
    /// `FX`, which is nothing to print.
    Exact,
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A character, and whether it stands between quotes.
    Text(char, bool),
    Field(Field),
}

/// A keyword with what stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub key: Key,
    /// `FM`: nothing is filled up.
    pub bare: bool,
    /// `TM`: words are not filled up.
    pub local: bool,
    /// `TH` or `th`.
    pub ordinal: Option<Case>,
}

use Case::{Capital, Lower, Upper};

/// Keywords that may be written in capitals or small, and mean the same.
const EITHER: [(&str, Key); 43] = [
    ("HH24", Key::Hour24),
    ("HH12", Key::Hour12),
    ("HH", Key::Hour12),
    ("MI", Key::Minute),
    ("SSSSS", Key::SecondOfDay),
    ("SSSS", Key::SecondOfDay),
    ("SS", Key::Second),
    ("MS", Key::Millisecond),
    ("US", Key::Microsecond),
    ("FF1", Key::Fraction(1)),
    ("FF2", Key::Fraction(2)),
    ("FF3", Key::Fraction(3)),
    ("FF4", Key::Fraction(4)),
    ("FF5", Key::Fraction(5)),
    ("FF6", Key::Fraction(6)),
    ("Y,YYY", Key::YearWithComma),
    ("YYYY", Key::Year(4)),
    ("YYY", Key::Year(3)),
    ("YY", Key::Year(2)),
    ("Y", Key::Year(1)),
    ("IYYY", Key::IsoYear(4)),
    ("IYY", Key::IsoYear(3)),
    ("IY", Key::IsoYear(2)),
    ("I", Key::IsoYear(1)),
    ("MM", Key::Month),
    ("DDD", Key::DayOfYear),
    ("DD", Key::DayOfMonth),
    ("D", Key::DayOfWeek),
    ("IDDD", Key::IsoDayOfYear),
    ("ID", Key::IsoDayOfWeek),
    ("WW", Key::WeekOfYear),
    ("W", Key::WeekOfMonth),
    ("IW", Key::IsoWeek),
    ("CC", Key::Century),
    ("J", Key::JulianDay),
    ("Q", Key::Quarter),
    ("TZH", Key::ZoneHours),
    ("TZM", Key::ZoneMinutes),
    ("OF", Key::ZoneOffset),
    ("FX", Key::Exact),
    ("RM", Key::Roman(Upper)),
    ("TZ", Key::Zone(Upper)),
    ("AM", Key::Meridiem(Upper, false)),
];

/// Keywords whose case is that of what they print.
const CASED: [(&str, Key); 25] = [
    ("rm", Key::Roman(Lower)),
    ("tz", Key::Zone(Lower)),
    ("am", Key::Meridiem(Lower, false)),
    ("pm", Key::Meridiem(Lower, false)),
    ("PM", Key::Meridiem(Upper, false)),
    ("a.m.", Key::Meridiem(Lower, true)),
    ("p.m.", Key::Meridiem(Lower, true)),
    ("A.M.", Key::Meridiem(Upper, true)),
    ("P.M.", Key::Meridiem(Upper, true)),
    ("ad", Key::Era(Lower, false)),
    ("bc", Key::Era(Lower, false)),
    ("AD", Key::Era(Upper, false)),
    ("BC", Key::Era(Upper, false)),
    ("a.d.", Key::Era(Lower, true)),
    ("b.c.", Key::Era(Lower, true)),
    ("A.D.", Key::Era(Upper, true)),
    ("B.C.", Key::Era(Upper, true)),
    ("MONTH", Key::MonthName(Upper)),
    ("Month", Key::MonthName(Capital)),
    ("month", Key::MonthName(Lower)),
    ("MON", Key::MonthShort(Upper)),
    ("Mon", Key::MonthShort(Capital)),
    ("mon", Key::MonthShort(Lower)),
    ("DAY", Key::DayName(Upper)),
    ("Day", Key::DayName(Capital)),
];

const CASED_DAYS: [(&str, Key); 4] = [
    ("day", Key::DayName(Lower)),
    ("DY", Key::DayShort(Upper)),
    ("Dy", Key::DayShort(Capital)),
    ("dy", Key::DayShort(Lower)),
];

impl Key {
    /// The keyword in capitals.
    pub fn name(self) -> &'static str {
        match self {
            Key::MonthName(_) => "MONTH",
            Key::MonthShort(_) => "MON",
            Key::DayName(_) => "DAY",
            Key::DayShort(_) => "DY",
            Key::Meridiem(_, false) => "AM",
            Key::Meridiem(_, true) => "A.M.",
            Key::Era(_, false) => "BC",
            Key::Era(_, true) => "B.C.",
            Key::Roman(_) => "RM",
            Key::Zone(_) => "TZ",
            key => EITHER.iter().find(|(_, known)| *known == key).map_or("?", |(word, _)| word),
        }
    }
}

/// The longest keyword that a text begins with, and its length.
fn keyword(text: &str) -> Option<(Key, usize)> {
    let cased = CASED.iter().chain(&CASED_DAYS).filter(|(word, _)| text.starts_with(word));
    let either = EITHER.iter().filter(|(word, key)| {
        let small = !matches!(key, Key::Roman(_) | Key::Zone(_) | Key::Meridiem(..));
        text.starts_with(word) || (small && text.starts_with(&word.to_ascii_lowercase()))
    });
    cased.chain(either).max_by_key(|(word, _)| word.len()).map(|(word, key)| (*key, word.len()))
}

/// The pieces of a pattern.
pub fn pieces(pattern: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let (mut bare, mut local) = (false, false);
        match rest.get(..2) {
            Some("FM" | "fm") => bare = true,
            Some("TM" | "tm") => local = true,
            _ => {}
        }
        if bare || local {
            rest = &rest[2..];
        }
        if let Some((key, length)) = keyword(rest) {
            rest = &rest[length..];
            let ordinal = match rest.get(..2) {
                Some("TH") => Some(Upper),
                Some("th") => Some(Lower),
                _ => None,
            };
            // `SP` is read, and spells nothing out.
            if ordinal.is_some() || rest.starts_with("SP") {
                rest = &rest[2..];
            }
            found.push(Piece::Field(Field { key, bare, local, ordinal }));
            continue;
        }
        rest = literal(rest, &mut found);
    }
    found
}

/// One character as it stands, or all that stands between quotes. What is left of the pattern.
fn literal<'a>(text: &'a str, found: &mut Vec<Piece>) -> &'a str {
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return "" };
    if first != '"' {
        let quoted = first == '\\' && letters.as_str().starts_with('"');
        let letter = if quoted { letters.next() } else { Some(first) };
        found.extend(letter.map(|letter| Piece::Text(letter, false)));
        return letters.as_str();
    }
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => found.push(Piece::Text(letters.next().unwrap_or('\\'), true)),
            letter => found.push(Piece::Text(letter, true)),
        }
    }
    letters.as_str()
}
