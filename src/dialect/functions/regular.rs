//! Postgres's regular expressions in the engine's words: classes are those of Postgres (where its locale is UTF-8), escapes
//! and brackets mean what they mean there. What is not known to mean the same is not translated.

use std::iter::Peekable;
use std::str::Chars;

/// Stands before a pattern that is translated; `.` is any character then, as it is in Postgres.
pub const TRANSLATED: &str = "(?s";

/// Whether letters are meant as they are written. In either case each stands for its own small letter and its own capital,
/// and for no letter that folds to one of those: so it is in Postgres, and the engine's own folding goes further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    AsWritten,
    Either,
}

impl Case {
    fn prefix(self) -> String {
        match self {
            Case::AsWritten => format!("{TRANSLATED})"),
            Case::Either => format!("{TRANSLATED}-i)"),
        }
    }

    /// What flags say; the last one counts.
    pub fn of(flags: &str) -> Case {
        match flags.chars().rfind(|flag| "ic".contains(*flag)) {
            Some('i') => Case::Either,
            _ => Case::AsWritten,
        }
    }
}

/// The small letter and the capital of one; none where nobody knows Postgres's.
fn both(letter: char) -> Option<(char, char)> {
    fn single(mut letters: impl Iterator<Item = char>) -> Option<char> {
        letters.next().filter(|_| letters.next().is_none())
    }
    let upper = single(letter.to_uppercase());
    let lower = match letter {
        '\u{130}' => 'i',
        letter => single(letter.to_lowercase())?,
    };
    let upper = match upper {
        Some(upper) => upper,
        // Those with an iota below have a capital of their own, which no capital of several letters tells.
        None if ('\u{1F80}'..='\u{1FFC}').contains(&letter) => return None,
        None => letter,
    };
    Some((lower, upper))
}

const WORD: &str = r"\p{Alphabetic}\p{Nd}_";
const DIGIT: &str = "0-9";
/// Blanks, without those at which no line may break.
const SPACE: &str = r"\t-\r \x{1680}\x{2000}-\x{2006}\x{2008}-\x{200A}\x{2028}\x{2029}\x{205F}\x{3000}";

/// What no text of Postgres has. Beside it a backslash is a class of two, which the engine does not take for a literal:
/// of those it makes a LIKE, in which a backslash would escape what follows.
const NOWHERE: &str = r"\x00";
const BACKSLASH: &str = r"[\x00\\]";

/// A class by its name between brackets and colons.
fn class(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => r"\p{Alphabetic}\p{Nd}",
        "alpha" => r"[\p{Alphabetic}\p{Nd}--[0-9]]",
        "digit" => DIGIT,
        "space" => SPACE,
        "blank" => r"\t \x{2000}-\x{2006}\x{2008}-\x{200A}\x{205F}\x{3000}",
        "upper" => r"\p{Changes_When_Lowercased}",
        "lower" => r"\p{Changes_When_Uppercased}",
        "punct" => r"[^\p{Alphabetic}\p{Nd}\p{Cc}\p{Cn}\p{Z}]\x{A0}\x{2007}\x{202F}",
        "xdigit" => "0-9A-Fa-f",
        "word" => WORD,
        _ => return None,
    })
}

/// How a pattern is read.
pub enum Reading {
    Known(regex::Regex),
    /// It would be read, and is larger than the engine takes.
    TooLarge,
    /// It has what nobody knows to mean the same, or what Postgres refuses.
    Unread,
}

pub fn read(pattern: &str, case: Case) -> Reading {
    match said(pattern, case).map(|said| regex::Regex::new(&said)) {
        Some(Ok(known)) => Reading::Known(known),
        Some(Err(regex::Error::CompiledTooBig(_))) => Reading::TooLarge,
        _ => Reading::Unread,
    }
}

/// None where a pattern has what nobody knows to mean the same, or what Postgres refuses.
pub fn translated(pattern: &str, case: Case) -> Option<String> {
    match read(pattern, case) {
        Reading::Known(known) => Some(known.as_str().to_owned()),
        Reading::TooLarge | Reading::Unread => None,
    }
}

fn said(pattern: &str, case: Case) -> Option<String> {
    let mut translation = Translation { rest: pattern.chars().peekable(), said: case.prefix(), case };
    translation.all()?;
    Some(translation.said)
}

struct Translation<'a> {
    rest: Peekable<Chars<'a>>,
    said: String,
    case: Case,
}

/// Letters of a range whose other case is looked up.
const MOST_FOLDED: usize = 4_096;

/// Most repetitions that Postgres takes.
const MOST: u32 = 255;

impl Translation<'_> {
    fn all(&mut self) -> Option<()> {
        // Whether something stands before that can be repeated.
        let mut repeats = false;
        while let Some(letter) = self.rest.next() {
            let quantifier = match letter {
                '*' | '+' | '?' => Some(letter.to_string()),
                '{' if self.rest.peek().is_some_and(char::is_ascii_digit) => Some(self.bound()?),
                _ => None,
            };
            if let Some(quantifier) = quantifier {
                if !repeats {
                    return None;
                }
                repeats = false;
                self.said.push_str(&quantifier);
                self.said.extend(self.rest.next_if_eq(&'?'));
                continue;
            }
            let anchors = letter == '\\' && matches!(self.rest.peek(), Some('A' | 'Z'));
            repeats = !matches!(letter, '(' | '|' | '^' | '$') && !anchors;
            match letter {
                '\\' => self.escape()?,
                '[' => self.bracket()?,
                '{' | '}' => self.said.extend(['\\', letter]),
                '(' if self.rest.next_if_eq(&'?').is_some() => {
                    self.rest.next_if_eq(&':')?;
                    self.said.push_str("(?:");
                }
                '(' | ')' | '|' | '^' | '$' | '.' => self.said.push(letter),
                letter => self.plain(letter)?,
            }
        }
        Some(())
    }

    /// A letter that stands for itself, or for itself in both cases.
    fn plain(&mut self, letter: char) -> Option<()> {
        let written = |letter: char| regex::escape(letter.encode_utf8(&mut [0; 4]));
        let said = match self.case {
            Case::AsWritten => written(letter),
            Case::Either => match both(letter)? {
                (lower, upper) if lower == upper => written(lower),
                (lower, upper) => format!("[{lower}{upper}]"),
            },
        };
        self.said.push_str(&said);
        Some(())
    }

    /// `{2}`, `{2,}`, `{2,4}`, whose brace is taken.
    fn bound(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '}' => break,
                letter => text.push(letter),
            }
        }
        let (least, most) =
            text.split_once(',').map_or((text.as_str(), None), |(least, most)| (least, Some(most)));
        let number = |digits: &str| digits.parse::<u32>().ok().filter(|number| *number <= MOST);
        let least = number(least)?;
        // What is there no times is no part of the engine's pattern, its groups neither.
        if most.map_or(least == 0, |most| number(most) == Some(0)) {
            return None;
        }
        match most {
            Some("") | None => {}
            Some(most) => {
                number(most).filter(|most| *most >= least)?;
            }
        }
        Some(format!("{{{text}}}"))
    }

    fn escape(&mut self) -> Option<()> {
        let shown = |set: &str, negated: bool| format!("[{}{set}]", if negated { "^" } else { "" });
        let said = match self.rest.next()? {
            'd' => shown(DIGIT, false),
            'D' => shown(DIGIT, true),
            's' => shown(SPACE, false),
            'S' => shown(SPACE, true),
            'w' => shown(WORD, false),
            'W' => shown(WORD, true),
            'A' => "\\A".to_owned(),
            'Z' => "\\z".to_owned(),
            letter => match self.letter(letter)? {
                '\\' => BACKSLASH.to_owned(),
                letter => return self.plain(letter),
            },
        };
        self.said.push_str(&said);
        Some(())
    }

    /// The one character that an escape stands for.
    fn letter(&mut self, escaped: char) -> Option<char> {
        Some(match escaped {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'u' => {
                let digits: String =
                    (0..4).map_while(|_| self.rest.next_if(char::is_ascii_hexdigit)).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?;
                char::from_u32(code)?
            }
            letter if letter.is_alphanumeric() => return None,
            letter => letter,
        })
    }

    /// What stands between brackets, of which the first is taken.
    fn bracket(&mut self) -> Option<()> {
        self.said.push('[');
        self.said.extend(self.rest.next_if_eq(&'^'));
        let mut first = true;
        loop {
            let letter = self.rest.next()?;
            match letter {
                ']' if !first => break,
                '[' if matches!(self.rest.peek(), Some('.' | '=')) => return None,
                '[' if self.rest.next_if_eq(&':').is_some() => self.named()?,
                '\\' => match self.rest.next()? {
                    'd' => self.said.push_str(DIGIT),
                    's' => self.said.push_str(SPACE),
                    'w' => self.said.push_str(WORD),
                    escaped => {
                        let letter = self.letter(escaped)?;
                        self.range(letter)?;
                    }
                },
                // In the middle it would begin a range.
                '-' if !first && self.rest.peek() != Some(&']') => return None,
                letter => self.range(letter)?,
            }
            first = false;
        }
        self.said.push(']');
        Some(())
    }

    fn named(&mut self) -> Option<()> {
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(char::is_ascii_alphabetic) {
            name.push(letter);
        }
        self.rest.next_if_eq(&':')?;
        self.rest.next_if_eq(&']')?;
        // Letters of either case are letters.
        let name = match (self.case, name.as_str()) {
            (Case::Either, "upper" | "lower") => "alpha",
            (_, name) => name,
        };
        self.said.push_str(class(name)?);
        Some(())
    }

    /// A character between brackets, or a range that it begins.
    fn range(&mut self, first: char) -> Option<()> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('-') || matches!(ahead.peek(), Some(']') | None) {
            match self.case {
                Case::AsWritten => self.among(first),
                Case::Either => {
                    let (lower, upper) = both(first)?;
                    self.among(lower);
                    self.among(upper);
                }
            }
            return Some(());
        }
        self.among(first);
        self.rest.next();
        let last = match self.rest.next()? {
            '[' => return None,
            '\\' => {
                let escaped = self.rest.next()?;
                self.letter(escaped)?
            }
            last => last,
        };
        self.said.push('-');
        self.among(last);
        if first > last || (self.case == Case::Either && (first..=last).count() > MOST_FOLDED) {
            return None;
        }
        if self.case == Case::Either {
            for letter in first..=last {
                let (lower, upper) = both(letter)?;
                for other in [lower, upper].into_iter().filter(|other| !(first..=last).contains(other)) {
                    self.among(other);
                }
            }
        }
        Some(())
    }

    fn among(&mut self, letter: char) {
        if letter == '\\' {
            self.said.push_str(NOWHERE);
        }
        if matches!(letter, '\\' | '[' | ']' | '^' | '-' | '&' | '~') {
            self.said.push('\\');
        }
        self.said.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_mean_the_same_is_not_translated() {
        for pattern in [
            "a**",
            "*a",
            "(+a)",
            "a{2}{3}",
            "a{300}",
            "a{3,2}",
            "[a--b]",
            "[z-a]",
            "[[.a.]]",
            "[[=a=]]",
            "[[:nope:]]",
            r"\1",
            r"(a)\1",
            r"\ma",
            r"\yb",
            "(?=a)",
            "(?i)a",
            r"[\D]",
            "[a-c-e]",
            "(a",
            "[a",
            "(b){0}a",
            "b{0,0}a",
            "a$*",
            r"a\Z*",
        ] {
            assert_eq!(translated(pattern, Case::AsWritten), None, "{pattern}");
        }
    }

    #[test]
    fn brackets_and_escapes_mean_what_they_mean_in_postgres() {
        let matches = |pattern: &str, text: &str| {
            regex::Regex::new(&translated(pattern, Case::AsWritten).unwrap()).unwrap().is_match(text)
        };
        for (pattern, text, expected) in [
            ("^[a&&b]{4}$", "a&&b", true),
            ("^[x~~y]{4}$", "x~~y", true),
            ("^[]x]+$", "]x", true),
            ("^[^]x]+$", "ab", true),
            ("^[[]$", "[", true),
            ("^[a-]+$", "a-", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "größe", true),
            (r"^\w+$", "e\u{301}", false),
            (r"\s", "\u{a0}", false),
            ("^[[:alnum:]]+$", "größe1", true),
            ("^[[:alpha:]]+$", "a1", false),
            ("^[[:punct:]]+$", "$+.-_«", true),
            (r"a\Z", "ab\na", true),
            (r"^\bx", "\u{8}x", true),
            ("a{,2}", "a{,2}", true),
            (r"^a\\b$", r"a\b", true),
            (r"^[\\]$", r"\", true),
            (r"^\u00e9$", "é", true),
            ("a#b ", "a#b ", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} of {text}");
        }
    }

    #[test]
    fn in_either_case_a_letter_is_its_own_small_letter_and_its_own_capital() {
        let matches = |pattern: &str, text: &str| {
            // The engine asks for either case itself, and goes further.
            let said = format!("(?i){}", translated(pattern, Case::Either).unwrap());
            regex::Regex::new(&said).unwrap().is_match(text)
        };
        for (pattern, text, expected) in [
            ("^straße$", "STRAßE", true),
            ("^ß$", "ẞ", false),
            ("^ẞ$", "ß", true),
            ("k", "\u{212A}", false),
            ("\u{212A}", "k", true),
            ("s", "ſ", false),
            ("ſ", "S", true),
            ("[a-z]", "É", false),
            ("^[a-zé]+$", "CAFÉ", true),
            ("[^a-z]", "K", false),
            ("^[[:upper:]]$", "日", true),
            ("^[[:lower:]]+$", "Abc", true),
            (r"^\u00e9$", "É", true),
            ("µ", "μ", false),
            ("^[w-z]+$", "WXyz", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} of {text}");
        }
    }
}
