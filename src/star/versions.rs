//! A dimension that keeps what its rows were (type 2). Its registry is a log: what was last said of a version counts, and
//! nothing that was said is taken away, so that the history outlives every snapshot. Tonight's rows are held against it, and
//! what is new of them is said.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

use super::shelf;
use crate::error::{Error, ErrorKind};
use crate::name::{ModelName, list};
use crate::pipeline::Pipeline;
use crate::pipeline::model::{Body, IS_CURRENT, Model, Tracked, VALID_FROM, VALID_TO};

/// When a first version opens, and when an open one ends: 0001-01-01 and 9999-12-31, in microseconds since 1970.
pub const BEGINNING_OF_TIME: i64 = -62_135_596_800_000_000;
pub const OPEN_END: i64 = 253_402_214_400_000_000;

/// Which of what was said of a version was said last.
pub const REVISION: &str = "starmill: revision";
/// Why a version ended; nothing, while it is open.
pub const ENDED: &str = "starmill: ended";
pub const CHANGED: &str = "changed";
pub const DELETED: &str = "deleted";

/// Why a version ended is not known of one that was taken from a published star.
pub const RESTORED: &str = "restored";

/// Which versions of its rows a dimension keeps, as the pipeline says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The columns that are tracked; none where it is all but some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<String>,
}

impl Versions {
    pub fn of(model: &Model) -> Option<Versions> {
        let history = model.history()?;
        // In no order that one could change without meaning it.
        let named = || {
            let mut names: Vec<String> =
                history.tracked.named().iter().map(|column| column.value.clone()).collect();
            names.sort();
            names
        };
        let (track, except) = match history.tracked {
            Tracked::Columns(_) => (Some(named()), Vec::new()),
            Tracked::AllBut(_) => (None, named()),
        };
        let effective_from = history.effective_from.as_ref().map(|column| column.value.clone());
        Some(Versions { track, except, effective_from })
    }

    pub fn tracks(&self, column: &str) -> bool {
        let is = |name: &String| name == column;
        let tells_time = self.effective_from.as_ref().is_some_and(is);
        !tells_time
            && self.track.as_ref().map_or_else(|| !self.except.iter().any(is), |track| track.iter().any(is))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.track {
            Some(track) => write!(f, "history of {}", list(track))?,
            None if self.except.is_empty() => f.write_str("history of all columns")?,
            None => write!(f, "history of all but {}", list(&self.except))?,
        }
        match &self.effective_from {
            Some(column) => write!(f, " since {column}"),
            None => Ok(()),
        }
    }
}

/// The column that names a member in all its versions: the surrogate of its first.
pub fn durable_key(surrogate: &str) -> String {
    format!("{}_durable_key", surrogate.strip_suffix("_key").unwrap_or(surrogate))
}

/// The columns that a history adds to its model's.
pub fn added(surrogate: &str) -> [String; 4] {
    [durable_key(surrogate), VALID_FROM.to_owned(), VALID_TO.to_owned(), IS_CURRENT.to_owned()]
}

/// The columns of the log: the key, the version, and all that it was. What the model gave once and gives no more stays there.
pub fn registry_schema(key: &[String], surrogate: &str, raw: &Schema, zone: &str) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let of =
        |name: &String| Some(Field::new(name, raw.field_with_name(name).ok()?.data_type().clone(), true));
    let mut fields: Vec<Field> = key.iter().filter_map(of).collect();
    for number in [surrogate, &durable_key(surrogate), REVISION] {
        fields.push(Field::new(number, DataType::Int64, true));
    }
    fields.push(Field::new(VALID_FROM, time.clone(), true));
    fields.push(Field::new(VALID_TO, time, true));
    fields.push(Field::new(ENDED, DataType::Utf8, true));
    let rest = raw.fields().iter().map(|field| field.name()).filter(|name| !key.contains(name));
    fields.extend(rest.filter_map(of));
    Arc::new(Schema::new(fields))
}

/// What becomes of members whose tracked columns say something else because the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restatement {
    /// They are another version from tonight on, as after every change in the source.
    Open,
    /// They were always so: all their versions are overwritten in the columns that changed.
    Restate,
}

/// What a history is kept of: the model's SELECT and those of the models that it reads, the pipeline's zone, and the columns
/// that it gives. Comments and blanks say nothing.
pub fn definition(pipeline: &Pipeline, model: &Model, gives: &Schema) -> String {
    let mut waiting = vec![&model.name];
    let mut seen: BTreeSet<&ModelName> = BTreeSet::new();
    let mut text = format!("{}\n", pipeline.deployment.timezone.name());
    for field in gives.fields() {
        text.push_str(&format!("{} {}\n", field.name(), field.data_type()));
    }
    while let Some(name) = waiting.pop() {
        let Some(model) = pipeline.model(name).filter(|_| seen.insert(name)) else { continue };
        if let Body::Sql(sql) = &model.body {
            text.push_str(&format!("{name}: {}\n", sql.rewritten(&mut |_| None)));
        }
        waiting.extend(&model.reads);
    }
    shelf::hash(text.as_bytes())
}

/// A model was edited, and nobody has said what that means for the past.
pub fn unsaid(model: &ModelName, moved: u64) -> Error {
    let members = if moved == 1 { "1 member".to_owned() } else { format!("{moved} members") };
    let message = format!(
        "{model} was edited, or the time zone changed, and {members} of its history would be another version, or end, though the source may not have changed"
    );
    Error::new(ErrorKind::Pipeline, message).hint(format!(
        "say what is meant: --accept {model}=restate (they were always so: the columns that differ are overwritten in all their versions), or --accept {model}=open (they are so from now on: a new version each)"
    ))
}

/// The source's instant is before what was seen of it last.
pub fn behind(model: &ModelName) -> Error {
    let message = format!("the source's instant is before that at which versions of {model} began or ended");
    Error::new(ErrorKind::Fit, message)
        .hint("its clock went back, or an older copy of it is read: mend the clock, or read the newer copy")
}
