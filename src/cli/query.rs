//! `starmill query`: SQL from the command line or standard input, rows to where they are asked for.

use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use tokio::task::JoinSet;

use super::args::{Format, QueryArgs, RowFormat};
use super::command::{fail, stoppable};
use super::prompt;
use super::rows::Aligned;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::query::statements::split;
use crate::query::write::{Csv, Json, Parquet, Sink};
use crate::query::{Answer, Reading, failed};

pub async fn query(args: QueryArgs) -> u8 {
    let shown = if args.row_format() == RowFormat::Json { Format::Json } else { Format::Text };
    if args.sql.is_none() && args.output.is_some() && io::stdin().is_terminal() {
        let error =
            Error::new(ErrorKind::Usage, "--output needs a SELECT").hint("write it after the pipeline");
        return fail(shown, &error);
    }
    let result = match &args.sql {
        Some(text) if text != "-" => stoppable(answer_all(&args, text)).await,
        None if io::stdin().is_terminal() => prompt::converse(&args).await,
        _ => {
            let mut text = String::new();
            match io::stdin().read_to_string(&mut text) {
                Ok(_) => stoppable(answer_all(&args, &text)).await,
                Err(error) => Err(Error::new(ErrorKind::Usage, "cannot read the query").caused_by(error)),
            }
        }
    };
    match result {
        Ok(()) => 0,
        Err(error) => fail(shown, &error),
    }
}

async fn answer_all(args: &QueryArgs, text: &str) -> Result<()> {
    let (statements, _) = split(text);
    match statements.as_slice() {
        [] => {
            return Err(Error::new(ErrorKind::Usage, "there is no SQL here")
                .hint("write one SELECT; `starmill query --help` has examples"));
        }
        [_, _, ..] if args.row_format() != RowFormat::Table => {
            return Err(Error::new(ErrorKind::Usage, "several SELECTs cannot share one output")
                .hint("ask one at a time, or for tables"));
        }
        _ => {}
    }
    if args.row_format() == RowFormat::Parquet && args.output.is_none() && io::stdout().is_terminal() {
        return Err(Error::new(ErrorKind::Usage, "Parquet is not for a terminal").hint("add --output FILE"));
    }
    let reading = Reading::open(&args.path, args.at.as_deref())?;
    match &args.output {
        None => {
            answer_into(&reading, &statements, args.row_format(), || Ok(BufWriter::new(io::stdout()))).await
        }
        Some(path) => into_file(&reading, &statements, args.row_format(), path).await,
    }
}

/// A file appears whole or not at all.
async fn into_file(reading: &Reading, statements: &[&str], format: RowFormat, path: &Path) -> Result<()> {
    let unwritable = || format!("cannot write {}", path.display());
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        // A device or a pipe is written to, never replaced.
        let file =
            std::fs::OpenOptions::new().write(true).open(path).or_error(ErrorKind::Store, unwritable)?;
        return answer_into(reading, statements, format, || file.try_clone().map(BufWriter::new)).await;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Not the private rights of a temporary file, but those that any new file of the user's has.
    let rights = std::fs::Permissions::from_mode(0o666);
    let file = tempfile::Builder::new().permissions(rights).tempfile_in(folder);
    let file = file.or_error(ErrorKind::Store, unwritable)?;
    answer_into(reading, statements, format, || file.as_file().try_clone().map(BufWriter::new)).await?;
    file.persist(path).or_error(ErrorKind::Store, unwritable)?;
    Ok(())
}

async fn answer_into<W: Write + Send + 'static>(
    reading: &Reading,
    statements: &[&str],
    format: RowFormat,
    open: impl Fn() -> io::Result<W>,
) -> Result<()> {
    for statement in statements {
        let answer = reading.ask(statement).await?;
        write_answer(answer, format, open().or_error(ErrorKind::Store, unwritten)?).await?;
    }
    Ok(())
}

fn unwritten() -> String {
    "the rows cannot be written".to_owned()
}

/// Writes the rows as they come. A reader that closes its pipe has seen enough.
pub async fn write_answer<W: Write + Send + 'static>(
    answer: Answer,
    format: RowFormat,
    out: W,
) -> Result<()> {
    // The engine works in a task of its own, so that whoever gives up waiting for it is free at once,
    // however deep it is in a join.
    let mut work = JoinSet::new();
    work.spawn(write_rows(answer, format, out));
    match work.join_next().await {
        Some(Ok(written)) => written,
        Some(Err(error)) => Err(Error::new(ErrorKind::Bug, "the query ended by itself").caused_by(error)),
        None => Ok(()),
    }
}

async fn write_rows<W: Write + Send + 'static>(mut answer: Answer, format: RowFormat, out: W) -> Result<()> {
    let written = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).or_error(ErrorKind::Store, unwritten),
    };
    let mut sink = match sink(format, out, &answer.schema) {
        Ok(sink) => sink,
        Err(error) => return written(Err(error)).map(|_| ()),
    };
    while let Some(batch) = answer.rows.next().await {
        if !written(sink.write(&batch.map_err(failed)?))? {
            return Ok(());
        }
    }
    written(sink.finish()).map(|_| ())
}

fn sink<W: Write + Send + 'static>(
    format: RowFormat,
    out: W,
    schema: &SchemaRef,
) -> io::Result<Box<dyn Sink>> {
    Ok(match format {
        RowFormat::Table => Box::new(Aligned::new(out, schema)),
        RowFormat::Csv => Box::new(Csv::new(out, schema)?),
        RowFormat::Json => Box::new(Json::new(out)),
        RowFormat::Parquet => Box::new(Parquet::new(out, schema)?),
    })
}
