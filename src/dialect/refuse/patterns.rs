//! Regular expressions: what the engine's mean otherwise than Postgres's.

use datafusion::logical_expr::Expr;

use super::expressions::refusal;
use super::{Refusal, longest, shown};
use crate::dialect::exactness::{case_of, flags_at, is_regex, written_text as literal};
use crate::dialect::functions::regular::{self, Case, Reading};

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
        Expr::BinaryExpr(binary) if is_regex(binary.op) => {
            pattern(expr, &binary.right, None, "", case_of(binary.op))
        }
        Expr::ScalarFunction(function) if TAKE_PATTERNS.contains(&function.func.name()) => {
            let (name, args) = (function.func.name(), &function.args);
            let flags = match args.get(flags_at(name)).map(literal) {
                None => String::new(),
                Some(Some(flags)) => flags,
                Some(None) => {
                    return refusal(
                        format!("the flags of {} are not written out as a text", shown(expr)),
                        "write them out: 'g', 'i' or 'gi'; where to begin cannot be said here",
                    );
                }
            };
            let replaces = name == "regexp_replace";
            other_flag(expr, &flags, replaces).or_else(|| {
                let replacement = args.get(2).filter(|_| replaces);
                pattern(expr, args.get(1)?, replacement, &flags, Case::of(&flags))
            })
        }
        _ => None,
    }
}

/// A flag that means something else here, or that the function does not take.
fn other_flag(expr: &Expr, flags: &str, replaces: bool) -> Option<Refusal> {
    let known = if replaces { "gi" } else { "ic" };
    if replaces
        && flags.is_empty()
        && matches!(expr, Expr::ScalarFunction(function) if function.args.len() > 3)
    {
        return refusal(format!("the flags of {} are empty", shown(expr)), "leave them out");
    }
    let other = flags.chars().find(|flag| !known.contains(*flag))?;
    refusal(
        format!("the flag {other} of {} means something else here", shown(expr)),
        if replaces { "g and i mean the same" } else { "i and c mean the same" },
    )
}

fn pattern(
    expr: &Expr,
    pattern: &Expr,
    replacement: Option<&Expr>,
    flags: &str,
    case: Case,
) -> Option<Refusal> {
    let Some(pattern) = literal(pattern) else {
        return refusal(
            format!(
                "the pattern of {} is not written out, so nobody can say whether it means here what it means in Postgres",
                shown(expr)
            ),
            "write the pattern as a literal, or use LIKE, replace, split_part",
        );
    };
    let name = name_of(expr);
    // Whether something matches at all is the same however it is found.
    let finds = !matches!(name, "" | "regexp_like");
    if let Some(refusal) = other_construct(expr, &pattern, finds) {
        return Some(refusal);
    }
    let known = match regular::read(&pattern, case) {
        Reading::Known(known) => known,
        Reading::TooLarge => return too_large(expr),
        Reading::Unread => {
            return refusal(
                format!("the pattern of {} is not read here, or not in Postgres either", shown(expr)),
                "write it without references to its own groups, without \\D, \\S and \\W in brackets, with a - at their end, and with one quantifier behind what it repeats",
            );
        }
    };
    if (flags.contains('g') || name == "regexp_count") && known.is_match("") {
        return refusal(
            format!("the pattern of {} matches what is empty, of which Postgres finds more", shown(expr)),
            "write a pattern that takes at least one character: a+ instead of a*",
        );
    }
    let found = if finds { otherwise_found(expr, known.as_str(), replacement) } else { None };
    found.or_else(|| other_replacement(expr, replacement?))
}

/// The function that is called; none of an operator.
fn name_of(expr: &Expr) -> &str {
    match expr {
        Expr::ScalarFunction(function) => function.func.name(),
        _ => "",
    }
}

/// What stands in a pattern and means something else here.
fn other_construct(expr: &Expr, pattern: &str, finds: bool) -> Option<Refusal> {
    if pattern.replace("(?:", "(").contains("(?")
        || pattern.starts_with("***")
        || ["\\m", "\\M", "\\y", "\\Y", "\\<", "\\>"].iter().any(|it| pattern.contains(it))
    {
        return refusal(
            format!("the pattern of {} has a construct that means something else here", shown(expr)),
            "write it without (?i), (?=…), \\m, \\M and \\y",
        );
    }
    let plain = without_escapes_and_classes(pattern);
    if finds && ["*?", "+?", "??", "}?"].iter().any(|lazy| plain.contains(lazy)) {
        return refusal(
            format!(
                "the pattern of {} mixes greedy and lazy parts, which Postgres weighs otherwise",
                shown(expr)
            ),
            "write what may stand there: [^,]* instead of .*?",
        );
    }
    None
}

/// What a match is replaced by, where that means something else here.
fn other_replacement(expr: &Expr, replacement: &Expr) -> Option<Refusal> {
    let Some(text) = literal(replacement) else {
        return refusal(
            format!("the replacement of {} is not written out: {}", shown(expr), shown(replacement)),
            "use replace(x, from, to), or write the replacement as a literal",
        );
    };
    if has_other_escapes(&text) {
        return refusal(
            format!("the replacement of {} has an escape that means something else here", shown(expr)),
            "only \\1 to \\9 mean the same; use replace(x, from, to) for the rest",
        );
    }
    if text.contains('$') {
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

fn too_large(expr: &Expr) -> Option<Refusal> {
    refusal(
        format!("the pattern of {} is too large to be sure of what it finds", shown(expr)),
        "count less far: \\w+ instead of \\w{1,100}, or [a-z] instead of \\w",
    )
}

/// A match that is not the longest, or whose groups are shared in another way.
fn otherwise_found(expr: &Expr, said: &str, replacement: Option<&Expr>) -> Option<Refusal> {
    match longest::is_found_first(said) {
        Some(true) => {}
        Some(false) => {
            return refusal(
                format!(
                    "{} would take the first way to match, where Postgres takes the longest",
                    shown(expr)
                ),
                "write the longer alternative first (foobar|foo), or one call for each",
            );
        }
        None => {
            return too_large(expr);
        }
    }
    let groups = match replacement.map(literal) {
        Some(Some(replacement)) => replacement.contains('\\'),
        Some(None) => true,
        None => matches!(name_of(expr), "regexp_match" | "regexp_matches"),
    };
    if groups && !longest::is_shared_alike(said) {
        return refusal(
            format!("the groups of {} could share what matches in several ways", shown(expr)),
            "let each group have one part that repeats, and part them by what they do not take: ([^-]+)-(.*)",
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

/// A pattern's own operators: for what is escaped or stands in brackets stands a letter.
fn without_escapes_and_classes(pattern: &str) -> String {
    const ANY: char = 'x';
    let (mut plain, mut chars) = (String::new(), pattern.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
                plain.push(ANY);
            }
            '[' => {
                chars.next_if_eq(&'^');
                // A bracket that comes first stands for itself.
                chars.next_if_eq(&']');
                while let Some(inside) = chars.next() {
                    match inside {
                        ']' => break,
                        '\\' => drop(chars.next()),
                        // A class by its name ends with a bracket of its own.
                        '[' if matches!(chars.peek(), Some(':' | '.' | '=')) => {
                            chars.find(|c| *c == ']');
                        }
                        _ => {}
                    }
                }
                plain.push(ANY);
            }
            c => plain.push(c),
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
            (r"a\.b", "axb"),
            ("[.|]x", "xx"),
            ("[]|.]y", "xy"),
            ("[^].]z|", "xz|"),
            (r"[\].]q", "xq"),
            (r"\d+\.?\d*", "x+x?x*"),
            ("[^[:alnum:]*?]+", "x+"),
        ] {
            assert_eq!(without_escapes_and_classes(pattern), plain, "{pattern}");
        }
    }
}
