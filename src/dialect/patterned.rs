//! Patterns that are written in SQL's own forms, as regular expressions: `x SIMILAR TO 'a%|b_'`, `substring(x FROM 'a(.)b')`.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Spanned as _, Subscript, UnaryOperator, Value, ValueWithSpan,
};

use super::reword::call;

fn text(value: &ValueWithSpan) -> Option<&str> {
    match &value.value {
        Value::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => text(value),
        _ => None,
    }
}

pub fn as_regular(expr: &mut Expr) {
    let said = match expr {
        Expr::SimilarTo { negated, expr: value, pattern, escape_char } => {
            let escape = escape_char.as_ref().map(text);
            similar(value, pattern, escape).map(|similar| match negated {
                true => {
                    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(similar))) }
                }
                false => similar,
            })
        }
        Expr::Substring { expr: value, substring_from: Some(pattern), substring_for: None, .. } => {
            literal(pattern).map(|pattern| found(value, pattern))
        }
        _ => None,
    };
    if let Some(said) = said {
        *expr = said;
    }
}

/// None where the pattern is not written out, or escapes are others than a backslash.
fn similar(value: &Expr, pattern: &Expr, escape: Option<Option<&str>>) -> Option<Expr> {
    if escape.is_some_and(|escape| escape != Some("\\")) {
        return None;
    }
    let pattern = Expr::value(Value::SingleQuotedString(format!("^({})$", translated(literal(pattern)?)?)));
    let sides = (Box::new(Expr::Nested(Box::new(value.clone()))), Box::new(pattern));
    Some(Expr::BinaryOp { left: sides.0, op: BinaryOperator::PGRegexMatch, right: sides.1 })
}

/// SQL's pattern as a regular expression: `%` is any text, `_` any letter, and what means something else there is quoted.
fn translated(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut letters = pattern.chars();
    let mut class = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                // An escaped letter is a construct of regular expressions, which two of them read in two ways.
                let next = letters.next().filter(|next| !next.is_ascii_alphanumeric())?;
                out.extend(['\\', next]);
            }
            // A class within a class, `[[:digit:]_]`.
            '[' if class => return None,
            letter if class => {
                class = letter != ']';
                out.push(letter);
            }
            '[' => {
                class = true;
                out.push('[');
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '.' | '^' | '$' => out.extend(['\\', letter]),
            letter => out.push(letter),
        }
    }
    Some(out)
}

/// `(regexp_match(x, 'a(.)b'))[1]`: what the first group has matched, or all.
fn found(value: &Expr, pattern: &str) -> Expr {
    let mut escaped = false;
    let grouped = pattern.chars().any(|letter| {
        let opens = letter == '(' && !escaped;
        escaped = letter == '\\' && !escaped;
        opens
    });
    let pattern = if grouped { pattern.to_owned() } else { format!("({pattern})") };
    let pattern = Expr::value(Value::SingleQuotedString(pattern));
    let matched = call("regexp_match", value.span(), &[value, &pattern]);
    let index = Expr::value(Value::Number("1".to_owned(), false));
    Expr::CompoundFieldAccess {
        root: Box::new(Expr::Nested(Box::new(matched))),
        access_chain: vec![AccessExpr::Subscript(Subscript::Index { index })],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_sql_are_regular_expressions() {
        for (pattern, regular) in
            [("a%", "a.*"), ("(a|b)_.c", "(a|b).\\.c"), ("[^_%]+\\%", "[^_%]+\\%"), ("a$", "a\\$")]
        {
            assert_eq!(translated(pattern).as_deref(), Some(regular), "{pattern}");
        }
        for unread in ["a\\", "\\d+", "[[:digit:]_]+"] {
            assert_eq!(translated(unread), None, "{unread}");
        }
    }
}
