//! What an ALTER TABLE says of a table's columns and rows. Only the forms that are known to say nothing are passed
//! over: whatever else changes a table after it was made would be read as if it had not.

use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::dialect::spelled;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    Nothing,
    /// Keys, conditions, or that a column is never NULL.
    Constraint,
    /// Another shape than that of its CREATE TABLE.
    Change,
}

/// The most that any of a statement's actions says.
pub fn says(text: &str) -> Result<Says, ParserError> {
    let tokens = spelled::tokens(text)?;
    let said = tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_)));
    let said: Vec<&Token> = said.collect();
    let most = actions(after_name(&said)).into_iter().map(|action| of_action(&action)).max();
    Ok(most.unwrap_or(Says::Nothing))
}

/// What stands behind `ALTER TABLE IF EXISTS ONLY schema.name *`.
fn after_name<'a, 'b>(said: &'a [&'b Token]) -> &'a [&'b Token] {
    let is_word = |token: &&&Token, word: &str| word_of(token).is_some_and(|said| said == word);
    let skipped = said.iter().take_while(|token| {
        ["ALTER", "TABLE", "IF", "EXISTS", "ONLY"].iter().any(|word| is_word(token, word))
    });
    let mut at = skipped.count() + 1;
    while said.get(at) == Some(&&Token::Period) {
        at += 2;
    }
    at += usize::from(said.get(at) == Some(&&Token::Mul));
    said.get(at..).unwrap_or_default()
}

fn word_of(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// The first words of each action. What is quoted or no word is `?`.
fn actions(said: &[&Token]) -> Vec<Vec<String>> {
    let (mut found, mut depth) = (vec![Vec::new()], 0_usize);
    for token in said {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => {
                found.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let (Some(action), true) = (found.last_mut(), depth == 0) {
            action.push(word_of(token).unwrap_or_else(|| "?".to_owned()));
        }
    }
    found.into_iter().filter(|action| !action.is_empty()).collect()
}

fn of_action(words: &[String]) -> Says {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let constraint = |rest: &[&str]| match rest {
        // What was never held against the rows that are there says nothing of them.
        ["NOT", "NULL", .., "NOT", "VALID"] => Says::Nothing,
        [.., "USING", "INDEX", _] => Says::Change,
        ["PRIMARY" | "UNIQUE" | "CHECK", ..] => Says::Constraint,
        ["FOREIGN" | "EXCLUDE", ..] => Says::Nothing,
        _ => Says::Change,
    };
    match words.as_slice() {
        ["ADD", "CONSTRAINT", _, rest @ ..] => constraint(rest),
        ["ADD", rest @ ..] => constraint(rest),
        ["ALTER", "COLUMN", _, rest @ ..] | ["ALTER", _, rest @ ..] => match rest {
            ["SET", "NOT", "NULL"] => Says::Constraint,
            ["SET", "DEFAULT" | "STATISTICS" | "STORAGE" | "COMPRESSION" | "GENERATED" | "?", ..]
            | ["RESET", ..]
            | ["DROP", "DEFAULT" | "IDENTITY", ..]
            | ["ADD", "GENERATED", ..]
            | ["RESTART", ..] => Says::Nothing,
            _ => Says::Change,
        },
        ["OWNER" | "ENABLE" | "DISABLE" | "FORCE" | "CLUSTER" | "REPLICA" | "VALIDATE" | "RESET", ..]
        | ["NO", "FORCE", ..]
        | ["ATTACH" | "DETACH", "PARTITION", ..]
        | ["INHERIT", ..]
        | ["NO", "INHERIT", ..]
        | ["SET", "TABLESPACE" | "LOGGED" | "UNLOGGED" | "WITHOUT" | "ACCESS" | "?", ..] => Says::Nothing,
        _ => Says::Change,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_say_nothing_is_passed_over() {
        for (text, told) in [
            ("ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a, b)", Says::Constraint),
            ("ALTER TABLE t ADD CHECK (a > 0)", Says::Constraint),
            ("alter table if exists \"T\".\"alter\" alter column a set not null", Says::Constraint),
            (
                "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (a), ADD UNIQUE (b)",
                Says::Constraint,
            ),
            ("ALTER TABLE ONLY t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u(id) NOT VALID", Says::Nothing),
            ("ALTER TABLE public.t OWNER TO postgres", Says::Nothing),
            ("ALTER TABLE ONLY t ALTER COLUMN id SET DEFAULT nextval('s'::regclass)", Says::Nothing),
            (
                "ALTER TABLE t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME s)",
                Says::Nothing,
            ),
            ("ALTER TABLE ONLY p ATTACH PARTITION q FOR VALUES FROM (1) TO (2)", Says::Nothing),
            ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", Says::Nothing),
            ("ALTER TABLE t SET (fillfactor = 70)", Says::Nothing),
            ("ALTER TABLE ONLY t REPLICA IDENTITY FULL", Says::Nothing),
            ("ALTER TABLE t ALTER a TYPE numeric USING a::numeric", Says::Change),
            ("ALTER TABLE t ALTER COLUMN a SET DATA TYPE text", Says::Change),
            ("ALTER TABLE t ADD COLUMN b int", Says::Change),
            ("ALTER TABLE t ADD b int", Says::Change),
            ("ALTER TABLE t DROP COLUMN b", Says::Change),
            ("ALTER TABLE t OWNER TO me, DROP CONSTRAINT t_pkey", Says::Change),
            ("ALTER TABLE t RENAME a TO b", Says::Change),
            ("ALTER TABLE t SET SCHEMA other", Says::Change),
            ("ALTER TABLE t ALTER a DROP NOT NULL", Says::Change),
            ("ALTER TABLE t ALTER a DROP EXPRESSION", Says::Change),
            ("ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX i", Says::Change),
            ("ALTER TABLE t ADD CONSTRAINT c NOT NULL a NOT VALID", Says::Nothing),
            ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID", Says::Constraint),
            ("ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX i, RENAME TO u", Says::Change),
        ] {
            assert_eq!(says(text), Ok(told), "{text}");
        }
    }
}
