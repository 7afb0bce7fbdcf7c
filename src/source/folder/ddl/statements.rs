//! A script of SQL cut into its statements, as psql does: what `pg_dump` prints is one.

/// One statement without its semicolon, and the line that it begins at.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub text: &'a str,
    pub line: usize,
}

/// The statements of a script. Commands of psql's own and the rows of a `COPY … FROM stdin` are none.
pub fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        rest = trim_start(rest);
        if rest.is_empty() {
            return pieces;
        }
        if rest.starts_with('\\') {
            rest = after_line(rest);
            continue;
        }
        let end = end_of_statement(rest);
        let statement = rest[..end].trim_end();
        let line = 1 + text[..text.len() - rest.len()].matches('\n').count();
        pieces.push(Piece { text: statement, line });
        rest = rest.get(end + 1..).unwrap_or_default();
        if is_copy(statement) {
            rest = rest.split_once("\n\\.").map_or("", |(_, rest)| after_line(rest));
        }
    }
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

fn is_copy(statement: &str) -> bool {
    let upper = statement.to_ascii_uppercase();
    upper.starts_with("COPY ") && upper.contains(" FROM STDIN")
}

/// Without blanks, comments and empty statements.
fn trim_start(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '\u{feff}');
        text = match text.get(..2) {
            Some("--") => after_line(text),
            Some("/*") => &text[comment(text)..],
            _ => return text,
        };
    }
}

/// The length of the comment at the front; comments nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        match rest.as_bytes() {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}

/// Where the statement at the front ends: at a semicolon outside quotes, comments and the bodies of functions.
fn end_of_statement(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = match &bytes[at..] {
            [b';', ..] => return at,
            [b'-', b'-', ..] => text.len() - after_line(&text[at..]).len(),
            [b'/', b'*', ..] => at + comment(&text[at..]),
            [b'\'', ..] => {
                let escapes = at > 0 && matches!(bytes[at - 1], b'e' | b'E');
                after_quote(bytes, at, b'\'', escapes)
            }
            [b'"', ..] => after_quote(bytes, at, b'"', false),
            [b'$', ..] => after_dollars(text, at),
            _ => at + 1,
        };
    }
    text.len()
}

fn after_quote(bytes: &[u8], open: usize, quote: u8, escapes: bool) -> usize {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 1,
            byte if byte == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// After `$tag$ … $tag$`, or after the dollar when it opens nothing.
fn after_dollars(text: &str, at: usize) -> usize {
    let rest = &text[at + 1..];
    let tag = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    if !rest[tag..].starts_with('$') || rest.starts_with(|c: char| c.is_ascii_digit()) {
        return at + 1;
    }
    let mark = &text[at..at + tag + 2];
    let body = at + mark.len();
    text[body..].find(mark).map_or(text.len(), |end| body + end + mark.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_where_psql_cuts_it() {
        let text = "-- a; comment\n\\restrict abc;\nSET a = 'x;''y';\n/* b; /* c; */ */ CREATE FUNCTION f() AS $body$ SELECT 1; $body$;\nCOPY t (a) FROM stdin;\n1;2\n\\.\n\nSELECT \"a;b\", E'\\';', $1 ;;\nlast";
        let found: Vec<(&str, usize)> = split(text).iter().map(|piece| (piece.text, piece.line)).collect();
        assert_eq!(
            found,
            [
                ("SET a = 'x;''y'", 3),
                ("CREATE FUNCTION f() AS $body$ SELECT 1; $body$", 4),
                ("COPY t (a) FROM stdin", 5),
                ("SELECT \"a;b\", E'\\';', $1", 9),
                ("last", 10),
            ]
        );
    }
}
