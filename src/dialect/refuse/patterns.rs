//! Regular expressions: what the engine's mean otherwise than Postgres's.

use datafusion::logical_expr::Expr;

use super::expressions::refusal;
use super::{Refusal, shown};
use crate::dialect::exactness::DOT_MATCHES_NEWLINE;

/// Regular expressions that mean something else to the engine.
pub(super) fn pattern(
    expr: &Expr,
    pattern: &Expr,
    replacement: Option<&Expr>,
    flags: Option<&Expr>,
) -> Option<Refusal> {
    let literal = |expr: &Expr| match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    let Some(pattern) = literal(pattern) else {
        return refusal(
            format!(
                "the pattern of {} is not written out, so nobody can say whether it means here what it means in Postgres",
                shown(expr)
            ),
            "write the pattern as a literal, or use LIKE, replace, split_part",
        );
    };
    // What the rewriting put there, so that `.` is any character.
    let pattern = pattern.strip_prefix(DOT_MATCHES_NEWLINE).unwrap_or(&pattern);
    let plain = without_escapes_and_classes(pattern);
    let replacing = matches!(expr, Expr::ScalarFunction(_));
    if replacing && plain.contains('|') {
        return refusal(
            format!(
                "{} would take the first alternative that matches, where Postgres takes the longest",
                shown(expr)
            ),
            "write one call for each alternative, or CASE WHEN x LIKE … THEN …",
        );
    }
    if pattern.contains("(?")
        || pattern.starts_with("***")
        || ["\\m", "\\M", "\\y", "\\Y", "\\<", "\\>"].iter().any(|it| pattern.contains(it))
    {
        return refusal(
            format!("the pattern of {} has a construct that means something else here", shown(expr)),
            "write it without (?…), \\m, \\M and \\y",
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
        && regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(""))
    {
        return refusal(
            format!("the pattern of {} matches what is empty, of which Postgres finds more", shown(expr)),
            "write a pattern that takes at least one character: a+ instead of a*",
        );
    }
    if regex::Regex::new(pattern).is_err() {
        return refusal(
            format!("the pattern of {} is not read here", shown(expr)),
            "write it without references to its own groups, and without lookaround",
        );
    }
    if let Some(other) =
        flags.and_then(&literal).and_then(|flags| flags.chars().find(|flag| !"gic".contains(*flag)))
    {
        return refusal(
            format!("the flag {other} of {} means something else here", shown(expr)),
            "g, i and c mean the same",
        );
    }
    let escaped = replacement.and_then(&literal).is_some_and(|text| has_other_escapes(&text));
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
