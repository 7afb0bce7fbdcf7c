//! What a pipeline asks of the built-in calendar, every mistake with its place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use chrono::{Month, NaiveDate};

use super::Resolver;
use crate::name::{list, nearest};
use crate::pgcopy::csv::CsvReader;
use crate::pipeline::calendar::{Calendar, Edge, LANGUAGES, LONGEST, Language};
use crate::pipeline::file::Text;
use crate::pipeline::model_file::DatesFile;

impl Resolver<'_> {
    pub(super) fn calendar(&self, dates: &DatesFile) -> Option<Calendar> {
        let (from, to) = (self.edge(&dates.from), self.edge(&dates.to));
        let language = match &dates.language {
            Some(code) => self.language(code),
            None => LANGUAGES.first(),
        };
        let fiscal_start =
            dates.fiscal_start.and_then(|month| Month::try_from(u8::try_from(month).ok()?).ok());
        let holidays = dates.holidays.as_ref().map(|path| self.holidays(path));
        let (from, to) = (from?, to?);
        if let (Edge::Day(from), Edge::Day(to)) = (from, to)
            && (to < from || to - from > LONGEST)
        {
            let message = "the calendar must end after it begins, within 400 years";
            self.notes.error(dates.place.clone(), message, "swap or correct the dates");
            return None;
        }
        let holidays = match holidays {
            Some(holidays) => Some(holidays?),
            None => None,
        };
        Some(Calendar { from, to, fiscal_start, language: language?, holidays })
    }

    fn edge(&self, text: &Option<Text>) -> Option<Edge> {
        let text = text.as_ref()?;
        if text.value == "facts" {
            return Some(Edge::Facts);
        }
        text.value.parse::<NaiveDate>().map(Edge::Day).ok().or_else(|| {
            let message = format!("`{}` is not a date", text.value);
            self.notes.error(
                text.span.clone(),
                message,
                "write \"2024-01-31\"; or \"facts\": the whole years of the days that facts look up",
            );
            None
        })
    }

    fn language(&self, code: &Text) -> Option<&'static Language> {
        let known = Language::by_code(&code.value);
        if known.is_none() {
            let codes: Vec<&str> = LANGUAGES.iter().map(|language| language.code).collect();
            let near = nearest(&code.value, codes.iter().copied());
            let near = near.map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default();
            let message = format!("there are no names of months and days in `{}`", code.value);
            self.notes.error(code.span.clone(), message, format!("{near}languages: {}", list(&codes)));
        }
        known
    }

    /// The days of a CSV file in the project: `date,name`, with a header.
    fn holidays(&self, path: &Text) -> Option<Vec<(NaiveDate, String)>> {
        let refuse = |message: String, help: &str| {
            self.notes.error(path.span.clone(), message, help);
            None
        };
        let shown = &path.value;
        let file = match File::open(self.project.join(shown)) {
            Ok(file) => file,
            Err(error) => {
                return refuse(
                    format!("cannot read the holidays: {shown}: {error}"),
                    "name a CSV file of the project, with the columns date and name",
                );
            }
        };
        let mut reader = CsvReader::new(BufReader::new(file));
        let mut days: BTreeMap<NaiveDate, String> = BTreeMap::new();
        let mut is_header = true;
        loop {
            match reader.advance() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let at = error.line().map(|line| format!(":{line}")).unwrap_or_default();
                    return refuse(format!("{shown}{at}: {error}"), "write two columns, date and name");
                }
            }
            if reader.is_blank() {
                continue;
            }
            let field = |at: usize| if at < reader.len() { reader.field(at) } else { Ok(None) };
            let (first, second) = match (field(0), field(1)) {
                (Ok(first), Ok(second)) => (first.unwrap_or_default(), second.unwrap_or_default()),
                (Err(error), _) | (_, Err(error)) => {
                    let at = error.line().unwrap_or_default();
                    return refuse(format!("{shown}:{at}: {error}"), "write two columns, date and name");
                }
            };
            if std::mem::take(&mut is_header) {
                if (first, second, reader.len()) != ("date", "name", 2) {
                    return refuse(
                        format!("{shown} has not the columns of holidays"),
                        "begin it with the line: date,name",
                    );
                }
                continue;
            }
            let Ok(day) = first.parse::<NaiveDate>() else {
                return refuse(
                    format!("{shown}:{}: `{first}` is not a date", reader.line()),
                    "write 2024-12-25",
                );
            };
            if second.is_empty() || days.insert(day, second.to_owned()).is_some() {
                let wrong = if second.is_empty() { "has no name" } else { "is there twice" };
                return refuse(
                    format!("{shown}:{}: {day} {wrong}", reader.line()),
                    "give each day one line with its name",
                );
            }
        }
        Some(days.into_iter().collect())
    }
}
