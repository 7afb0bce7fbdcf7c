//! Several questions in one text, apart at their semicolons.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::diagnostic::Document;

/// The statements of a text, and whether the last one has its semicolon. A text that is still inside
/// a quote or a comment is one statement without its end.
pub fn split(text: &str) -> (Vec<&str>, bool) {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location() else {
        return (vec![text.trim()], false);
    };
    let document = Document::new("", text);
    let mut statements = Vec::new();
    let mut start = 0;
    for token in tokens.iter().filter(|token| token.token == Token::SemiColon) {
        let at = document.offset(token.span.start.line, token.span.start.column);
        statements.push(text[start..at].trim());
        start = at + 1;
    }
    let rest = tokens.iter().rev().take_while(|token| token.token != Token::SemiColon);
    let ended = rest.into_iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::EOF));
    if !ended {
        statements.push(text[start..].trim());
    }
    statements.retain(|statement| !statement.is_empty());
    (statements, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_ends_a_statement_unless_it_is_quoted() {
        assert_eq!(split("SELECT 1; SELECT ';' -- no;\n"), (vec!["SELECT 1", "SELECT ';' -- no;"], false));
        assert_eq!(split("SELECT 'ü';  "), (vec!["SELECT 'ü'"], true));
        assert_eq!(split("SELECT 'open;"), (vec!["SELECT 'open;"], false));
        assert_eq!(split(" ;; "), (vec![], true));
        assert_eq!(split("SELECT \";\", $$;$$;SELECT 2;"), (vec!["SELECT \";\", $$;$$", "SELECT 2"], true));
    }
}
