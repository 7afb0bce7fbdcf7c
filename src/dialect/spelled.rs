//! What the parser does not read at all, put into words that it reads before it begins: `BETWEEN SYMMETRIC`,
//! `trim(BOTH FROM x)`, `EXCLUDE NO OTHERS`, `TABLE t`.

use crate::dialect::visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, UnaryOperator, VisitorMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Whitespace};

/// A parser of a text in Postgres's SQL.
pub fn parser(text: &str) -> Result<Parser<'static>, ParserError> {
    Ok(of_tokens(tokens(text)?))
}

/// A text's tokens, in words that the parser reads.
pub fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, ParserError> {
    Ok(respelled(Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location()?))
}

pub fn of_tokens(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens)
}

/// Levels of parentheses: the parser's time doubles with a few of them.
pub const DEEPEST: usize = 20;

/// Levels of brackets among them, which double it each. An array of Postgres has six dimensions at most.
pub const DEEPEST_BRACKETS: usize = 6;

/// Where the parentheses of a text go deeper than that; what the tokenizer does not take is the parser's to say.
pub fn too_deep(text: &str) -> Option<Span> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().ok()?;
    let (mut depth, mut brackets): (usize, usize) = (0, 0);
    for token in tokens {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::LBracket => brackets += 1,
            Token::RBracket => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        if depth + brackets > DEEPEST || brackets > DEEPEST_BRACKETS {
            return Some(token.span);
        }
    }
    None
}

pub fn is_word(token: Option<&TokenWithSpan>, wanted: &str) -> bool {
    match token.map(|token| &token.token) {
        Some(Token::Word(word)) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

/// The tokens that the parser gets.
struct Respelled {
    all: Vec<TokenWithSpan>,
    /// Where among them those stand that are no blanks.
    said: Vec<usize>,
}

impl Respelled {
    /// The last token that is no blank, or one before it.
    fn before(&self, back: usize) -> Option<&TokenWithSpan> {
        let at = self.said.len().checked_sub(back).and_then(|at| self.said.get(at))?;
        self.all.get(*at)
    }

    fn opens(&self, back: usize) -> bool {
        self.before(back).is_some_and(|token| token.token == Token::LParen)
    }

    fn say(&mut self, token: Token, at: Span) {
        self.said.push(self.all.len());
        self.all.push(TokenWithSpan::new(token, at));
        self.all.push(TokenWithSpan::new(Token::Whitespace(Whitespace::Space), at));
    }

    /// Takes the last token back.
    fn unsay(&mut self) {
        if let Some(token) = self.said.pop().and_then(|at| self.all.get_mut(at)) {
            token.token = Token::Whitespace(Whitespace::Space);
        }
    }

    /// `trim(BOTH FROM x)` and `trim(FROM x)`: blanks are meant, on both sides.
    fn trims(&mut self, at: Span) {
        if self.opens(1) && is_word(self.before(2), "trim") {
            self.say(Token::make_keyword("BOTH"), at);
        }
        let sided = ["both", "leading", "trailing"].iter().any(|side| is_word(self.before(1), side));
        if sided && self.opens(2) && is_word(self.before(3), "trim") {
            self.say(Token::SingleQuotedString(" ".to_owned()), at);
        }
    }

    fn begins(&self) -> bool {
        let after = ["union", "all", "except", "intersect"];
        self.said.is_empty() || self.opens(1) || after.iter().any(|word| is_word(self.before(1), word))
    }
}

/// `x>-1`, `x->-1`: an operator ends in a sign only if it has one of these somewhere, and otherwise the sign is what
/// follows bears. The operator alone, and the sign.
fn before_a_sign(token: &Token) -> Option<(Token, Token)> {
    const KEEPS_ITS_END: [char; 9] = ['~', '!', '@', '#', '%', '^', '&', '|', '`'];
    let Token::CustomBinaryOperator(operator) = token else { return None };
    if operator.contains(KEEPS_ITS_END) || operator.contains('?') {
        return None;
    }
    let (rest, sign) = match (operator.strip_suffix('-'), operator.strip_suffix('+')) {
        (Some(rest), _) => (rest, Token::Minus),
        (_, Some(rest)) => (rest, Token::Plus),
        _ => return None,
    };
    match Tokenizer::new(&PostgreSqlDialect {}, rest).tokenize().ok()?.as_slice() {
        [only] => Some((only.clone(), sign)),
        _ => None,
    }
}

fn respelled(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Respelled { all: Vec::with_capacity(tokens.len()), said: Vec::new() };
    for token in tokens {
        let at = token.span;
        let is = |wanted| is_word(Some(&token), wanted);
        if matches!(token.token, Token::Whitespace(_)) {
            out.all.push(token);
        } else if let Some((operator, sign)) = before_a_sign(&token.token) {
            out.say(operator, at);
            out.say(sign, at);
        } else if is("symmetric") && is_word(out.before(1), "between") {
            // A sign that the first bound bears, and nothing else in this SQL.
            out.say(Token::DoubleExclamationMark, at);
        } else if is("others") && is_word(out.before(1), "no") && is_word(out.before(2), "exclude") {
            // What a frame does anyway.
            out.unsay();
            out.unsay();
        } else if is("table") && out.begins() {
            out.say(Token::make_keyword("SELECT"), at);
            out.say(Token::Mul, at);
            out.say(Token::make_keyword("FROM"), at);
        } else {
            if is("from") {
                out.trims(at);
            }
            out.said.push(out.all.len());
            out.all.push(token);
        }
    }
    out.all
}

/// Puts in its place what the signs say that were set for the parser.
pub fn settled(query: &mut Query) {
    struct Settled;
    impl VisitorMut for Settled {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            symmetric(expr);
            ControlFlow::Continue(())
        }
    }
    let _ = visit::change(query, &mut Settled);
}

/// `x BETWEEN SYMMETRIC a AND b`, whichever of the bounds is the lower.
fn symmetric(expr: &mut Expr) {
    let Expr::Between { expr: value, negated, low, high } = expr else { return };
    if !take_sign(low) {
        return;
    }
    let side = |value: &Expr| Box::new(Expr::Nested(Box::new(value.clone())));
    let between = |low: &Expr, high: &Expr| Expr::Between {
        expr: side(value),
        negated: false,
        low: side(low),
        high: side(high),
    };
    let either = Expr::BinaryOp {
        left: Box::new(between(low, high)),
        op: BinaryOperator::Or,
        right: Box::new(between(high, low)),
    };
    let either = Expr::Nested(Box::new(either));
    *expr = match negated {
        true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(either) },
        false => either,
    };
}

/// Takes the sign off the first value of an expression.
fn take_sign(expr: &mut Expr) -> bool {
    match expr {
        Expr::UnaryOp { op: UnaryOperator::PGPrefixFactorial, expr: inner } => {
            *expr = std::mem::replace(inner.as_mut(), Expr::Tuple(Vec::new()));
            true
        }
        Expr::BinaryOp { left, .. } => take_sign(left),
        Expr::Cast { expr, .. } | Expr::Collate { expr, .. } => take_sign(expr),
        Expr::AtTimeZone { timestamp, .. } => take_sign(timestamp),
        Expr::CompoundFieldAccess { root, .. } => take_sign(root),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_does_not_read_is_respelled() {
        for (written, read) in [
            (
                "SELECT a BETWEEN SYMMETRIC b + 1 AND c",
                "SELECT ((a) BETWEEN (b + 1) AND (c) OR (a) BETWEEN (c) AND (b + 1))",
            ),
            (
                "SELECT a NOT BETWEEN symmetric b AND c AND d",
                "SELECT NOT ((a) BETWEEN (b) AND (c) OR (a) BETWEEN (c) AND (b)) AND d",
            ),
            ("SELECT trim(BOTH FROM a)", "SELECT TRIM(BOTH ' ' FROM a)"),
            ("SELECT trim(trailing from a || 'x')", "SELECT TRIM(TRAILING ' ' FROM a || 'x')"),
            ("SELECT trim( FROM a)", "SELECT TRIM(BOTH ' ' FROM a)"),
            ("SELECT trim(BOTH 'x' FROM a)", "SELECT TRIM(BOTH 'x' FROM a)"),
            ("TABLE a UNION TABLE b", "SELECT * FROM a UNION SELECT * FROM b"),
            (
                "SELECT sum(a) OVER (ORDER BY b ROWS 1 PRECEDING EXCLUDE NO OTHERS)",
                "SELECT sum(a) OVER (ORDER BY b ROWS 1 PRECEDING)",
            ),
        ] {
            let mut query = parser(written).unwrap().parse_query().unwrap();
            settled(&mut query);
            assert_eq!(query.to_string(), read, "{written}");
        }
    }
}
