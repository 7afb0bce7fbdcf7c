//! What must not be shown, found while it is still text: passwords in addresses however they are
//! misspelt, keys and their values, the paths of webhooks. What is left of them is `…`.

use std::borrow::Cow;
use std::ops::Range;

/// What is put in a secret's place.
const MASK: &str = "…";

/// A message without its secrets.
pub fn without(text: &str) -> Cow<'_, str> {
    let places = places(text);
    match places.is_empty() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(Edited::new(text, places).text),
    }
}

/// A text in which some places are masked, and where its other places are now.
pub struct Edited {
    pub text: String,
    places: Vec<Range<usize>>,
}

impl Edited {
    /// A pipeline's own file: addresses, and whatever stands behind a key that may hold a secret.
    pub fn file(text: &str) -> Edited {
        let mut found = places(text);
        found.extend(behind_keys(text));
        Edited::new(text, found)
    }

    fn new(text: &str, found: Vec<Range<usize>>) -> Edited {
        let places = merged(text, found);
        let (mut masked, mut from) = (String::with_capacity(text.len()), 0);
        for place in &places {
            masked.push_str(&text[from..place.start]);
            masked.push_str(MASK);
            from = place.end;
        }
        masked.push_str(&text[from..]);
        Edited { text: masked, places }
    }

    /// Where a span of the original text is; one that is masked is where its mask is.
    pub fn span(&self, span: &Range<usize>) -> Range<usize> {
        self.place(span.start, false)..self.place(span.end, true)
    }

    fn place(&self, offset: usize, is_end: bool) -> usize {
        let (mut removed, mut added) = (0, 0);
        for place in self.places.iter().take_while(|place| place.start < offset) {
            if offset < place.end {
                let start = place.start + added - removed;
                return if is_end { start + MASK.len() } else { start };
            }
            removed += place.len();
            added += MASK.len();
        }
        offset + added - removed
    }
}

/// In order, none in another, none over the end of a line.
fn merged(text: &str, mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_by_key(|place| place.start);
    let mut lines: Vec<Range<usize>> = Vec::new();
    for place in found {
        let mut start = place.start;
        for part in text[place.clone()].split('\n') {
            let end = start + part.len();
            match lines.last_mut() {
                Some(last) if start < last.end => last.end = last.end.max(end),
                _ if end > start => lines.push(start..end),
                _ => {}
            }
            start = end + 1;
        }
    }
    lines
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')
}

/// Every secret of a message.
fn places(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    for token in text.split(is_boundary) {
        in_address(token, at, &mut found);
        at += token.len() + text[at + token.len()..].chars().next().map_or(0, char::len_utf8);
    }
    behind_equals(text, &mut found);
    found
}

/// Passwords in an address: between the first colon after the scheme and the last @, whatever stands
/// between; without an @, whatever stands behind a colon that no port follows.
fn in_address(token: &str, at: usize, found: &mut Vec<Range<usize>>) {
    let lower = token.to_ascii_lowercase();
    let mut add = |range: Range<usize>| {
        if range.start < range.end {
            found.push(at + range.start..at + range.end);
        }
    };
    let Some(scheme) = token.find("://") else {
        // A webhook's address without its scheme.
        if lower.starts_with("hooks.")
            && let Some(slash) = token.find('/')
        {
            return add(slash + 1..token.len());
        }
        // `ann:secret@host`, `postgres:/ann:secret@host`: no scheme, or a broken one.
        let spelled = lower.starts_with("postgres") || lower.starts_with("mysql") || lower.starts_with("s3:");
        if let (Some(colon), Some(at)) = (token.rfind(':'), token.find('@'))
            && at < colon
        {
            // `ann@host:secret/shop`: what stands where a port does and is none.
            let rest = &token[colon + 1..];
            let port = rest.split('/').next().unwrap_or_default();
            if rest.contains('/') && !port.is_empty() && port.parse::<u16>().is_err() {
                add(colon + 1..token.len());
            }
        } else if let (Some(colon), Some(last)) = (token.find(':'), token.rfind('@')) {
            let host = token[last + 1..].starts_with(|c: char| c.is_alphanumeric() || c == '[');
            let cast = token[colon + 1..].starts_with(':');
            if colon < last && host && !cast {
                add(colon + 1..last);
            }
        } else if spelled && let Some(colon) = token.rfind(':') {
            add(colon + 1..token.len());
        } else if let (Some(last), None) = (token.rfind('@'), token.find(':'))
            && let Some(slash) = token[..last].find('/')
        {
            // `ann/secret@host`.
            add(slash + 1..last);
        }
        return;
    };
    let rest = scheme + 3;
    if lower.starts_with("http") {
        let host = token[rest..].find(['/', '?', '#']).map_or(token.len(), |end| rest + end);
        match token.rfind('@') {
            Some(last) => add(rest..last),
            None => add((host + 1).min(token.len())..token.len()),
        }
        return;
    }
    let colon = token[rest..].find(':').map(|colon| rest + colon);
    let encoded = lower[rest..].find("%3a").map(|colon| rest + colon + 2);
    let opens = [colon, encoded].into_iter().flatten().min();
    let database = lower.starts_with("postgres");
    match (opens, token.rfind('@')) {
        (Some(opens), Some(last)) if opens < last => add(opens + 1..last),
        // A key alone before the host is a secret where it is no database's user.
        (_, Some(last)) if !database => add(rest..last),
        // `ann;secret@h`: what no user's name has begins something else.
        (_, Some(last)) => {
            let other = token[rest..last].find(|c: char| !(c.is_alphanumeric() || "._-%+".contains(c)));
            if let Some(other) = other {
                add(rest + other + 1..last);
            }
        }
        (Some(opens), None) => {
            let port = token[opens + 1..].split(['/', '?']).next().unwrap_or_default();
            let is_port = !port.is_empty() && port.parse::<u16>().is_ok() && token[opens + 1..].contains('/');
            let is_v6 = token[rest..].starts_with('[');
            if !is_port && !is_v6 {
                add(opens + 1..token.len());
            }
        }
        _ => {}
    }
}

/// Words whose value is a secret, whatever stands before them.
const WORDS: [&str; 24] = [
    "client_key",
    "server_key",
    "password",
    "pass",
    "passphrase",
    "pw",
    "accountkey",
    "account_key",
    "sharedaccesskey",
    "sharedaccesssignature",
    "credential",
    "passwd",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "access_key",
    "access_key_id",
    "secret_access_key",
    "signature",
    "sig",
    "sas",
    "bearer",
];

/// `PGPASSWORD`, `sslpassword`, `db_password`, `scram_client_key`: one of the words, whatever it belongs to.
fn is_secret_word(word: &str) -> bool {
    let is = |known: &str| {
        word.strip_suffix(known).is_some_and(|before| {
            before.is_empty() || before.ends_with('_') || ["ssl", "pg", "pgssl"].contains(&before)
        })
    };
    WORDS.iter().any(|known| is(known)) || word.ends_with("password")
}

/// `password=…`, `sslpassword = '…'`, `token=…`.
fn behind_equals(text: &str, found: &mut Vec<Range<usize>>) {
    for (equals, _) in text.match_indices('=') {
        let before = text[..equals].trim_end_matches([' ', '\t']);
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        // The character before a word may be longer than a byte.
        let word = before.get(start..).unwrap_or_default().to_ascii_lowercase();
        if !is_secret_word(&word) {
            continue;
        }
        let value = &text[equals + 1..];
        let from = equals + 1 + (value.len() - value.trim_start_matches([' ', '\t']).len());
        let value = &text[from..];
        let end = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |end| end + 1),
            _ => value
                .find(|c: char| c.is_whitespace() || matches!(c, '&' | ';' | ',' | ')'))
                .unwrap_or(value.len()),
        };
        let quoted = usize::from(value.starts_with(['"', '\'']));
        if from + quoted < from + end {
            found.push(from + quoted..from + end);
        }
    }
}

/// Whether a key of the file may hold a secret, or is a misspelling of one that does.
fn is_sensitive(key: &str) -> bool {
    let key = key.trim_matches(['"', '\'']).to_ascii_lowercase();
    let inside = [
        "pass",
        "pwd",
        "secret",
        "token",
        "cred",
        "auth",
        "dsn",
        "hook",
        "heartbeat",
        "api",
        "access",
        "url",
        "accountkey",
        "account_key",
        "mask",
        "slack",
    ];
    let near = |known: &str| strsim::levenshtein(&key, known) <= 1 + known.len() / 5;
    let whole = [
        "password",
        "secret",
        "token",
        "webhook",
        "heartbeat",
        "credentials",
        "command",
        "pw",
        "uri",
        "user",
    ];
    inside.iter().any(|part| key.contains(part))
        || whole.iter().any(|known| near(known))
        || ["ulr", "key"].contains(&key.as_str())
}

/// In a TOML file, the values of sensitive keys up to the end of their line: a quote that is missing, a
/// comment sign in a password, a value of the wrong type end none of them.
fn behind_keys(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut at, mut inside): (usize, Option<&str>) = (0, None);
    for line in text.split('\n') {
        let range = at..at + line.len();
        at += line.len() + 1;
        // A value that goes on over lines is as secret as its first.
        if let Some(closing) = inside {
            found.push(range.clone());
            if line.contains(closing) {
                inside = None;
            }
            continue;
        }
        for (equals, _) in line.match_indices(['=', ':']) {
            let before = line[..equals].trim_end();
            let key = before.rsplit(['{', ',', '.', ' ', '[']).next().unwrap_or_default();
            let value = line[equals + 1..].trim_start();
            let from = line.len() - value.len();
            if key.is_empty() {
                continue;
            }
            if !is_sensitive(key) {
                // Whatever a key is called, an address with a user may have a password, which its quotes may cut.
                if let Some(scheme) = value.find("://").filter(|scheme| value[*scheme..].contains('@')) {
                    let user = value[scheme + 3..].find([':', '"', '\'']);
                    found.extend(user.map(|user| range.start + from + scheme + 4 + user..range.end));
                }
                continue;
            }
            let names_a_folder = key.trim_matches(['"', '\'']).ends_with("url");
            // A table's key is a list of columns.
            let columns = key.trim_matches(['"', '\'']) == "key" && value.starts_with('[');
            if !columns && !is_harmless(value, names_a_folder) {
                let scheme = value.find("://").filter(|end| {
                    value[..*end]
                        .trim_matches('"')
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-.${}:_".contains(c))
                });
                found.push(range.start + from + scheme.map_or(0, |end| end + 3)..range.end);
            }
            inside = match value {
                multi if multi.starts_with("\"\"\"") && !multi[3..].contains("\"\"\"") => Some("\"\"\""),
                multi if multi.starts_with("'''") && !multi[3..].contains("'''") => Some("'''"),
                list if list.starts_with('[') && !list.contains(']') => Some("]"),
                _ => None,
            };
            break;
        }
    }
    found
}

/// A variable's name alone, or the plain path of a source or a store: nothing to hide, and what a person
/// looks for.
fn is_harmless(value: &str, names_a_folder: bool) -> bool {
    let value = value.split(" #").next().unwrap_or_default().trim().trim_matches('"');
    // Where a key is found says nothing of it.
    let value = value.strip_prefix("env:").or(value.strip_prefix("file:")).unwrap_or(value);
    let inner = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let path = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
            && text.len() < 64
            && (text.contains('/') || text.len() < 12)
    };
    // `hooks.example.com/x` is no folder.
    let is_host = |text: &str| {
        let first = text.split('/').next().unwrap_or_default();
        text.contains('/') && first.matches('.').count() > 1 && !first.starts_with('.')
    };
    if is_host(value) {
        return false;
    }
    match inner {
        Some(inner) => match inner.split_once(":-") {
            Some((variable, default)) => name(variable) && (default.is_empty() || path(default)),
            None => name(inner),
        },
        None => names_a_folder && path(value) && value.contains('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_however_its_address_is_spelled() {
        for text in [
            "postgress://ann:hunter2@db/shop",
            "postgres://ann:hunter2",
            "postgres://ann:hunter2@",
            "postgres:/ann:hunter2@h/d",
            "postgres//ann:hunter2@h/d",
            "ann:hunter2@db/shop",
            "mysql://ann:hunter2@db/shop",
            "s3://key:hunter2@bucket",
            "s3://hunter2@bucket/prefix",
            "POSTGRES://ann:hunter2@h/d",
            "postgres://ann%3Ahunter2@h",
            "postgres://ann:hun@ter/hunter2@h/d",
            "postgres://ann:hunter2%40h/d",
            "host=h password=hunter2",
            "host=h password = hunter2",
            "password='hunter2 x'",
            "PASSWORD=hunter2",
            "Server=h;Pwd=hunter2;",
            "postgres://h/d?password=hunter2",
            "postgres://h/d?sslpassword=hunter2&x=1",
            "https://hooks.example/T0/hunter2",
            "https://me:hunter2@hooks.example/",
            "https://hooks.example?k=hunter2",
            "the URL `postgres://ann:hunter2@h/d` is wrong",
            "token=hunter2",
            "secret_access_key=hunter2",
            "PGPASSWORD=hunter2 psql -h db",
            "db_password=hunter2",
            "scram_client_key=hunter2",
            "postgres://ann;hunter2@h/d",
            "hooks.example.com/services/hunter2",
        ] {
            let shown = without(text);
            assert!(!shown.contains("hunter2"), "{text} → {shown}");
            assert!(shown.contains('…'), "{text} → {shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "check the password: in PGPASSWORD, in ~/.pgpass, or in the URL",
            "postgres://ann@db:5432/shop",
            "postgres://[::1]:5432/shop",
            "write postgres://user@host:port/database",
            "a::jsonb@>b",
            "it is 12:30:00 now",
            "orders.customer_id = c.customer_id",
            "public.orders",
            "https://hooks.example",
            "SELECT a = b",
        ] {
            assert_eq!(without(text), text);
        }
    }

    #[test]
    fn a_line_of_the_file_shows_its_key_and_no_secret() {
        for line in [
            "url = \"postgress://ann:hunter2@h/d\"",
            "url = \"ann hunter2\"",
            "url = postgres://ann:hunter2@h/d",
            "url = \"postgres://ann:se\"hunter2@h",
            "pasword = \"hunter2\"",
            "pw = 'hunter2'",
            "ulr = \"x hunter2\"",
            "webhok = \"hooks.example/hunter2\"",
            "source = { url = \"x:hunter2\" }",
            "url = [\"postgres://ann:hunter2@h\"]",
            "url = \"\"\"\npostgres://ann:hunter2@h\n\"\"\"",
            "target.url = \"hunter2#x\"",
            "url: hunter2 x",
            "command = [\"curl\", \"-H\", \"X: hunter2\"]",
            "url = \"${DB:-postgres://ann:hunter2@h/d}\"",
            "auth_token = \"hunter2\"",
            "adress = \"postgres://ann:\"hunter2@h\"",
            "url = \"hooks.example.com/services/hunter2\"",
        ] {
            let shown = Edited::file(line).text;
            assert!(!shown.contains("hunter2"), "{line} → {shown}");
        }
        let kept = "name = \"shop\"\nurl = \"${SHOP_SOURCE:-data/shop}\"\nurl = \"data/shop\"\nconections = 2\nshipping = \"a b\"\ngrouping = \"day\"\n";
        assert_eq!(Edited::file(kept).text, kept);
    }

    #[test]
    fn places_around_a_mask_stay_under_their_words() {
        let text = "ä = 1 # postgres://ann:hunter2@h/d then conections";
        let edited = Edited::new(text, places(text));
        for word in ["ä", "then", "conections"] {
            let at = text.find(word).unwrap();
            assert_eq!(&edited.text[edited.span(&(at..at + word.len()))], word);
        }
        let secret = text.find("hunter2").unwrap();
        assert_eq!(&edited.text[edited.span(&(secret..secret + 7))], MASK);
    }
}
