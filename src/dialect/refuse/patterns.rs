//! Regular expressions: what the engine's mean otherwise than Postgres's.

use datafusion::logical_expr::Expr;

use super::expressions::refusal;
use super::{Refusal, shown};
use crate::dialect::exactness::is_regex;
use crate::dialect::functions::regular;

/// Functions that take a text and a pattern.
const TAKE_PATTERNS: [&str; 8] = [
    "regexp_replace",
    "regexp_match",
    "regexp_matches",
    "regexp_like",
    "regexp_count",
    "regexp_instr",
    "regexp_substr",
    "regexp_split_to_array",
];

/// Regular expressions, as they are written, that mean something else to the engine.
pub(super) fn refused(expr: &Expr) -> Option<Refusal> {
    match expr {
        Expr::BinaryExpr(binary) if is_regex(binary.op) => pattern(expr, &binary.right, None, None),
        Expr::ScalarFunction(function)
            if function.func.name() == "regexp_count"
                && function.args.get(1).and_then(literal).is_some_and(|pattern| finds_nothing(&pattern)) =>
        {
            Some(empty_matches(expr))
        }
        Expr::ScalarFunction(function) if TAKE_PATTERNS.contains(&function.func.name()) => {
            let replaces = function.func.name() == "regexp_replace";
            let args = &function.args;
            pattern(expr, args.get(1)?, args.get(2).filter(|_| replaces), args.get(3).filter(|_| replaces))
        }
        _ => None,
    }
}

fn pattern(expr: &Expr, pattern: &Expr, replacement: Option<&Expr>, flags: Option<&Expr>) -> Option<Refusal> {
    let Some(pattern) = literal(pattern) else {
        return refusal(
            format!(
                "the pattern of {} is not written out, so nobody can say whether it means here what it means in Postgres",
                shown(expr)
            ),
            "write the pattern as a literal, or use LIKE, replace, split_part",
        );
    };
    let plain = without_escapes_and_classes(&pattern);
    let said = regular::translated(&pattern);
    let replacing = matches!(expr, Expr::ScalarFunction(_));
    if replacing && plain.contains('|') && !(trims(&pattern) || alternatives_begin_apart(&pattern)) {
        return refusal(
            format!(
                "{} would take the first alternative that matches, where Postgres takes the longest",
                shown(expr)
            ),
            "write one call for each alternative, or CASE WHEN x LIKE … THEN …",
        );
    }
    if pattern.replace("(?:", "(").contains("(?")
        || pattern.starts_with("***")
        || ["\\m", "\\M", "\\y", "\\Y", "\\<", "\\>"].iter().any(|it| pattern.contains(it))
    {
        return refusal(
            format!("the pattern of {} has a construct that means something else here", shown(expr)),
            "write it without (?i), (?=…), \\m, \\M and \\y",
        );
    }
    if replacing && ["*?", "+?", "??", "}?"].iter().any(|lazy| plain.contains(lazy)) {
        return refusal(
            format!(
                "the pattern of {} mixes greedy and lazy parts, which Postgres weighs otherwise",
                shown(expr)
            ),
            "write what may stand there: [^,]* instead of .*?",
        );
    }
    if flags.is_some_and(|flags| literal(flags).is_some_and(|flags| flags.contains('g')))
        && finds_nothing(&pattern)
    {
        return Some(empty_matches(expr));
    }
    if said.is_none() {
        return refusal(
            format!("the pattern of {} is not read here, or not in Postgres either", shown(expr)),
            "write it without references to its own groups, without \\D, \\S and \\W in brackets, with a - at their end, and with one quantifier behind what it repeats",
        );
    }
    if let Some(other) =
        flags.and_then(literal).and_then(|flags| flags.chars().find(|flag| !"gic".contains(*flag)))
    {
        return refusal(
            format!("the flag {other} of {} means something else here", shown(expr)),
            "g, i and c mean the same",
        );
    }
    let escaped = replacement.and_then(literal).is_some_and(|text| has_other_escapes(&text));
    if escaped {
        return refusal(
            format!("the replacement of {} has an escape that means something else here", shown(expr)),
            "only \\1 to \\9 mean the same; use replace(x, from, to) for the rest",
        );
    }
    let dollar = replacement.is_some_and(|text| literal(text).is_none_or(|text| text.contains('$')));
    if dollar {
        return refusal(
            format!(
                "`$` in the replacement of {} would name a group, which Postgres writes \\1",
                shown(expr)
            ),
            "use replace(x, from, to), or write the replacement without $",
        );
    }
    None
}

/// `^\s+|\s+$`: where both match at once they match the same.
fn trims(pattern: &str) -> bool {
    let Some((first, last)) = pattern.strip_prefix('^').and_then(|rest| rest.split_once('|')) else {
        return false;
    };
    let Some(repeated) = first.strip_suffix('+') else { return false };
    let is_one = match repeated.strip_prefix('[') {
        Some(set) => set.len() > 1 && !set[1..set.len() - 1].contains(']') && set.ends_with(']'),
        None => {
            let letter = repeated.strip_prefix('\\').unwrap_or(repeated);
            letter.chars().count() == 1
                && (repeated.starts_with('\\')
                    || letter.chars().all(|c| c.is_alphanumeric() || " -_/,;:".contains(c)))
        }
    };
    is_one && last.strip_suffix('$') == Some(first)
}

/// Whether no two alternatives can begin at one place, so that which is tried first decides nothing: each begins with a
/// letter that is written, and another than the others. Before alternatives in a group, and within them, nothing may be
/// repeated: of `x*(b|xbb)` the longest match may begin its group elsewhere than the first that is found.
fn alternatives_begin_apart(pattern: &str) -> bool {
    /// The alternatives of a group: what each begins with, where that is known.
    #[derive(Default)]
    struct Group(Vec<Option<char>>);
    impl Group {
        fn is_told_apart(&self) -> bool {
            let mut known: Vec<char> = self.0.iter().flatten().copied().collect();
            known.sort_unstable();
            known.dedup();
            self.0.len() < 2 || known.len() == self.0.len()
        }
    }
    let mut groups = vec![Group::default()];
    let mut letters = pattern.chars().peekable();
    let (mut begins, mut repeats) = (true, false);
    while let Some(letter) = letters.next() {
        let mut first = None;
        match letter {
            '*' | '+' | '?' | '{' => repeats = true,
            // Each of the outermost begins for itself.
            '|' if groups.len() == 1 => repeats = false,
            _ => {}
        }
        match letter {
            '|' | ')' if begins => {
                if let Some(group) = groups.last_mut() {
                    group.0.push(None);
                }
            }
            '\\' => first = letters.next().filter(|escaped| !escaped.is_alphanumeric()),
            '[' => {
                letters.next_if_eq(&'^');
                letters.next_if_eq(&']');
                for inside in letters.by_ref() {
                    if inside == ']' {
                        break;
                    }
                }
            }
            '(' | ')' | '|' | '.' | '^' | '$' | '*' | '+' | '?' | '{' | '}' => {}
            letter => first = Some(letter),
        }
        if begins && !matches!(letter, '|' | ')') {
            // What may be absent begins nothing.
            let absent = matches!(letters.peek(), Some('*' | '?' | '{'));
            let first = first.filter(|_| !absent).map(|first| first.to_lowercase().next().unwrap_or(first));
            if let Some(group) = groups.last_mut() {
                group.0.push(first);
            }
        }
        begins = matches!(letter, '(' | '|');
        match letter {
            '(' => {
                if letters.next_if_eq(&'?').is_some() {
                    letters.next();
                }
                groups.push(Group::default());
            }
            ')' => match groups.pop() {
                Some(group) if group.is_told_apart() && !(repeats && group.0.len() > 1) => {}
                _ => return false,
            },
            _ => {}
        }
    }
    // Nothing stands behind the last bar.
    if let Some(group) = groups.last_mut().filter(|_| begins) {
        group.0.push(None);
    }
    groups.into_iter().all(|group| group.is_told_apart())
}

/// Whether it matches what is empty.
fn finds_nothing(pattern: &str) -> bool {
    let said = regular::translated(pattern);
    said.is_some_and(|said| regex::Regex::new(&said).is_ok_and(|said| said.is_match("")))
}

fn empty_matches(expr: &Expr) -> Refusal {
    Refusal::new(
        format!("the pattern of {} matches what is empty, of which Postgres finds more", shown(expr)),
        "write a pattern that takes at least one character: a+ instead of a*",
    )
}

/// A text that is written out.
fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        Expr::Cast(cast) if cast.field.data_type().is_string() => literal(&cast.expr),
        _ => None,
    }
}

/// A backslash that names no group of one digit.
fn has_other_escapes(replacement: &str) -> bool {
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            let group = chars.next().is_some_and(|next| ('1'..='9').contains(&next));
            if !group || chars.peek().is_some_and(char::is_ascii_digit) {
                return true;
            }
        }
    }
    false
}

/// A pattern's own operators: what is escaped or stands in brackets is none.
fn without_escapes_and_classes(pattern: &str) -> String {
    let (mut plain, mut chars, mut depth) = (String::new(), pattern.chars().peekable(), 0_u32);
    while let Some(c) = chars.next() {
        match (c, depth) {
            ('\\', _) => {
                chars.next();
            }
            ('[', 0) => {
                depth = 1;
                // A bracket that comes first stands for itself.
                if chars.peek() == Some(&'^') {
                    chars.next();
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                }
            }
            (']', 1) => depth = 0,
            (c, 0) => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_that_begin_alike_are_told_from_others() {
        for apart in
            ["-|_", "(GmbH|AG)$", r" (Inc|Ltd)\.?", "(?:foo|bar)+", "a|b|c", r"\.|,", "x(a|b)y(c|d)", "a+|b+"]
        {
            assert!(alternatives_begin_apart(apart), "{apart}");
        }
        for alike in [
            "a|ab",
            "(foo|fo)",
            "x|X",
            "a?|b",
            "[a]|b",
            "|a",
            "a|",
            "(a|b)|c",
            ".|a",
            "(a|)b",
            r"\d|1",
            "a*|b",
            "^a|b",
            "x*(b|xbb)",
            "(ab?|bc)+",
            "x?((a|xa))",
        ] {
            assert!(!alternatives_begin_apart(alike), "{alike}");
        }
        for trimming in [r"^\s+|\s+$", "^ +| +$", "^[ ,]+|[ ,]+$", "^0+|0+$"] {
            assert!(trims(trimming), "{trimming}");
        }
        for other in [
            r"^\s*|\s*$",
            r"^\s+|\d+$",
            "^ab+|ab+$",
            r"^\s+|\s+",
            "^[a]b]+|[a]b]+$",
            "^.+|.+$x",
            "^(a|b)+|(a|b)+$",
        ] {
            assert!(!trims(other), "{other}");
        }
    }

    #[test]
    fn only_a_patterns_own_operators_count() {
        for (pattern, plain) in [
            ("a.b", "a.b"),
            (r"a\.b", "ab"),
            ("[.|]x", "x"),
            ("[]|.]y", "y"),
            ("[^].]z|", "z|"),
            (r"[\].]q", "q"),
        ] {
            assert_eq!(without_escapes_and_classes(pattern), plain, "{pattern}");
        }
    }
}
