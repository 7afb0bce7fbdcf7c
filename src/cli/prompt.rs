//! The interactive prompt of `starmill query`: history, completion, and a few backslash commands.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::io::AsyncWriteExt;
use tokio::process::Command as Process;

use super::args::QueryArgs;
use super::command::print;
use super::render;
use crate::dialect::told::in_sql;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::query::statements::split;
use crate::query::{Listed, Reading};
use crate::serve::program;
use crate::star::contract::ColumnNote;

const HELP: &str = "\
A SELECT ends with a semicolon, and may have several lines.
  \\d            the tables
  \\d TABLE      its columns
  \\at SNAPSHOT  ask another snapshot: an id, latest, latest~1, a date
  \\q            leave (or Ctrl-D)
  Tab completes names; the arrows go through what was asked before; Ctrl-C ends a query.
";

const KEYWORDS: [&str; 40] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "USING",
    "ON",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "LIKE",
    "DISTINCT",
    "AS",
    "WITH",
    "UNION ALL",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DESC",
    "count(*)",
    "sum(",
    "min(",
    "max(",
    "avg(",
    "extract(",
    "date_trunc(",
    "coalesce(",
    "round(",
    "cast(",
    "EXISTS",
];

/// How long a query may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks and answers until the user leaves.
pub async fn converse(args: &QueryArgs) -> Result<()> {
    let mut reading = Reading::open(&args.path, args.at.as_deref())?;
    let config = Config::builder().completion_type(CompletionType::List).history_ignore_space(true).build();
    let unusable = || "the terminal cannot be used".to_owned();
    let mut editor: Editor<Names, FileHistory> =
        Editor::with_config(config).or_error(ErrorKind::Bug, unusable)?;
    editor.set_helper(Some(Names::of(&reading)));
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none yet.
        let _ = editor.load_history(file);
    }
    print(&format!("{} · snapshot {} · \\? helps\n", reading.pipeline(), reading.snapshot()));
    loop {
        let prompt = format!("{}=> ", reading.pipeline());
        let line = tokio::task::block_in_place(|| editor.readline(&prompt));
        match line {
            Ok(line) => {
                let _ = editor.add_history_entry(line.trim());
                match command(line.trim()) {
                    Command::Leave => break,
                    Command::Help => print(HELP),
                    Command::List => print(&tables(&reading)),
                    Command::Describe(name) => print(&columns(&reading, name)),
                    Command::At(reference) => match Reading::open(&args.path, Some(reference)) {
                        Ok(other) => {
                            reading = other;
                            editor.set_helper(Some(Names::of(&reading)));
                            print(&format!("snapshot {}\n", reading.snapshot()));
                        }
                        Err(error) => render::error(&error),
                    },
                    Command::Unknown(word) => print(&format!("there is no {word} here; \\? helps\n")),
                    Command::Ask("") => {}
                    Command::Ask(text) => ask(&reading, args, text).await?,
                }
            }
            // Ctrl-C at the prompt gives the line up, Ctrl-D leaves.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).or_error(ErrorKind::Bug, unusable),
        }
    }
    if let Some(file) = &history {
        let saved = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = saved.map_err(ReadlineError::from).and_then(|()| editor.save_history(file)) {
            tracing::debug!(%error, "the history was not kept");
        }
    }
    Ok(())
}

/// Answers in a process of its own: a join that no longer listens can be ended by Ctrl-C, and what it
/// held of the memory goes with it.
async fn ask(reading: &Reading, args: &QueryArgs, text: &str) -> Result<()> {
    let not_asked = || "the query could not be asked".to_owned();
    let format = args.row_format().to_possible_value().map(|value| value.get_name().to_owned());
    let mut child = Process::new(program())
        .args(["query", "--at", reading.snapshot().as_str(), "--format", &format.unwrap_or_default()])
        .arg(&args.path)
        .arg("-")
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .or_error(ErrorKind::Bug, not_asked)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).await.or_error(ErrorKind::Bug, not_asked)?;
    }
    tokio::select! {
        // How it went it has said itself.
        _ = child.wait() => {}
        _ = tokio::signal::ctrl_c() => {
            // On a terminal it has heard it too; it sweeps its scratch, says so, and ends.
            if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGINT);
            }
            if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
    Ok(())
}

enum Command<'a> {
    Leave,
    Help,
    List,
    Describe(&'a str),
    At(&'a str),
    Unknown(&'a str),
    Ask(&'a str),
}

fn command(line: &str) -> Command<'_> {
    let line = if line.starts_with('\\') { line.trim_end_matches(';').trim_end() } else { line };
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (word, rest.trim()) {
        ("\\q" | "exit" | "quit" | "exit;" | "quit;", "") => Command::Leave,
        ("\\?" | "\\h" | "help" | "help;", _) => Command::Help,
        ("\\d" | "\\dt", "") => Command::List,
        ("\\d" | "\\d+", name) => Command::Describe(name),
        ("\\at", "") => Command::At("latest"),
        ("\\at", reference) => Command::At(reference),
        (word, _) if word.starts_with('\\') => Command::Unknown(word),
        _ => Command::Ask(line),
    }
}

fn tables(reading: &Reading) -> String {
    let lines = reading.tables().into_iter().map(|Listed { name, role, rows, .. }| {
        vec![name, role, rows.map_or(String::new(), |rows| indicatif::HumanCount(rows).to_string())]
    });
    render::listing(&["table", "role", "rows"], &[2], lines)
}

fn columns(reading: &Reading, name: &str) -> String {
    let Some(table) = reading.tables().into_iter().find(|table| table.name == name) else {
        return format!("there is no table {name} here; \\d lists them\n");
    };
    let lines = table.schema.fields().iter().map(|field| {
        let note = table.notes.get(field.name());
        let nulls = !field.is_nullable() || note.is_some_and(|note| note.not_null);
        let told = note.and_then(ColumnNote::told).unwrap_or_default();
        let (nulls, type_name) =
            (if nulls { "not null" } else { "" }, in_sql(&field.data_type().to_string()));
        vec![field.name().clone(), type_name, nulls.to_owned(), told]
    });
    render::listing(&["column", "type", "", ""], &[], lines)
}

/// Where what was asked is kept: it may hold names and values, so only its user reads it.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("starmill").join("query_history"))
}

/// The names that can be completed.
struct Names {
    tables: Vec<(String, Vec<String>)>,
}

impl Names {
    fn of(reading: &Reading) -> Names {
        let tables = reading.tables().into_iter().map(|table| {
            let columns = table.schema.fields().iter().map(|field| field.name().clone()).collect();
            (table.name, columns)
        });
        Names { tables: tables.collect() }
    }

    /// Everything that begins with a word; columns only, after the name of their table and a dot.
    fn beginning_with(&self, word: &str) -> Vec<String> {
        if let Some((table, start)) = word.rsplit_once('.')
            && let Some((_, columns)) = self.tables.iter().find(|(name, _)| name == table)
        {
            let columns = columns.iter().filter(|column| column.starts_with(start));
            return columns.map(|column| format!("{table}.{column}")).collect();
        }
        let tables = self.tables.iter().map(|(name, _)| name.clone());
        let columns = self.tables.iter().flat_map(|(_, columns)| columns.iter().cloned());
        let begins = |name: &String| name.starts_with(&word.to_lowercase());
        let mut found: Vec<String> = tables.chain(columns).filter(begins).collect();
        let keywords = KEYWORDS.iter().filter(|keyword| keyword.starts_with(&word.to_uppercase()));
        found.extend(keywords.map(|keyword| (*keyword).to_owned()));
        found.sort();
        found.dedup();
        found
    }
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let part = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let start = line[..at]
            .rfind(|c| !part(c))
            .map_or(0, |place| place + line[place..].chars().next().map_or(1, char::len_utf8));
        let word = &line[start..at];
        if word.is_empty() {
            return Ok((at, Vec::new()));
        }
        let found = self.beginning_with(word).into_iter();
        Ok((start, found.map(|name| Pair { display: name.clone(), replacement: name }).collect()))
    }
}

impl Validator for Names {
    /// A SELECT goes on until its semicolon; everything else is one line.
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let complete = text.is_empty() || !matches!(command(text), Command::Ask(_)) || split(text).1;
        Ok(if complete { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Highlighter for Names {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Helper for Names {}
