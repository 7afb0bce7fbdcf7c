//! Text that others wrote, made harmless for a person's terminal: what it would obey, and what would
//! change how the rest is read, is shown by its code instead.

use std::borrow::Cow;

/// Whether a terminal obeys a character, or hides it, or lets it turn others around.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// A value, a name, one line: none of its line ends is one for the reader.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed)
}

/// Lines of our own making, with others' words in them.
pub fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_obeyed(c))
}

fn escaped(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_hidden(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_by_its_code() {
        assert_eq!(line("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(line("two\nlines\r\t"), "two\\nlines\\r\\t");
        assert_eq!(text("two\nlines\r"), "two\nlines\\r");
        assert_eq!(line("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(line("pay \u{202e}01"), "pay \\u{202e}01");
        assert_eq!(line("zero\u{200b}width"), "zero\\u{200b}width");
        assert!(matches!(line("Müller, 日本, 😀 1,234.50"), Cow::Borrowed(_)));
    }
}
