//! The deployment resolved: the store, the budget, the target, the schedule, who is told.

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;

use super::file::{NotifyFile, PipelineFile, ScheduleFile, TargetFile, Text};
use super::notify::{AlertKind, NotifySettings, WebhookUrl};
use super::resolve::{Resolver, stem};
use super::schedule::{CronLine, Schedule};
use super::settings::is_postgres;
use super::{
    Deployment, Encodings, Place, PostgresUrl, RunSettings, SILENT_MAX, Service, StoreSettings,
    TargetSettings,
};
use crate::diagnostic::Diagnostic;
use crate::dialect::told;
use crate::name::{list, nearest};

/// Below that not even the shop's models, sorted on disk, have room for their merges.
const LEAST_MEMORY: usize = 32_000_000;
/// How long reports of runs are kept unless the pipeline says otherwise.
const A_YEAR: Duration = Duration::from_secs(366 * 86_400);

/// Bytes of a data file, unless the pipeline says otherwise, and how many there may be. Smaller ones are shared by more
/// nights, and cost each night more time: `benches/README.md` has both.
const FILE_SIZE: u64 = 3_000_000;
const FILE_SIZES: RangeInclusive<u64> = 64_000..=4 << 30;

/// Bytes of a name in Postgres; what is longer is cut, and then another name.
const LONGEST_NAME: usize = 63;

/// A path without `.` and `..`.
fn plainly(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

fn bytes(text: &Text) -> Option<u64> {
    text.value.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64())
}

/// An address that is none of a bucket.
fn is_elsewhere(url: &str) -> bool {
    url.contains("://") && Service::of(url).is_none()
}

/// How long a statement of a delivery waits for a lock that others hold, and how long it is tried again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_WAIT: Duration = Duration::from_secs(10 * 60);

impl Resolver<'_> {
    pub(super) fn deployment(&self, file: &PipelineFile, path: &Path) -> Option<Deployment> {
        let stem = stem(path);
        let timezone = file.timezone.as_ref().map_or(Some(Tz::UTC), |zone| self.zone(zone));
        // One that is wrong is told of, and hides no other mistake.
        let timezone = timezone.or(Some(Tz::UTC));
        let memory = file.run.memory.as_ref().map_or(Some(400_000_000), |text| self.memory(text));
        let file_size = file.store.file_size.as_ref().map_or(Some(FILE_SIZE), |text| self.file_size(text));
        let grace = self.length(&file.store.grace, Duration::from_secs(3_600));
        let keep_runs = self.length(&file.store.keep_runs, A_YEAR);
        let encodings = [("delta", Encodings::Delta), ("plain", Encodings::Plain)];
        let encodings = self.choice("encodings", &file.store.encodings, &encodings);
        let target = file.target.as_ref().and_then(|target| self.target(target));
        let schedule = file.schedule.as_ref().and_then(|schedule| self.schedule(schedule, timezone));
        let notify = self.notify(&file.notify);
        let place = self.place(&file.store, &stem);
        if let Some(url) = file.store.url.as_ref().filter(|url| url.value.trim().is_empty()) {
            self.notes.error(
                url.span.clone(),
                "a store needs a folder of its own, and this names none",
                format!("write a folder, such as \"out/{stem}\", or set the variable that it names"),
            );
        }
        if let Some(url) = file.store.url.as_ref().filter(|url| !url.value.contains("://")) {
            self.plain_folder(url);
            let (folder, project) = (plainly(&self.project.join(&url.value)), plainly(self.project));
            if !url.value.trim().is_empty() && project.starts_with(&folder) {
                let message = "a store needs a folder of its own, and this is the project's, or one above it";
                self.notes.error(
                    url.span.clone(),
                    message,
                    format!("write a folder, such as \"out/{stem}\""),
                );
            }
        }
        if let Some(scratch) = &file.run.scratch {
            self.plain_folder(scratch);
        }
        if let Some(url) = file.store.url.as_ref().filter(|url| is_elsewhere(&url.value)) {
            let message =
                format!("a store cannot be `{}://…`", url.value.split("://").next().unwrap_or_default());
            self.notes.error(
                url.span.clone(),
                message,
                "write a folder, or s3://bucket/prefix, az://container/prefix, gs://bucket/prefix",
            );
        }
        if let (Some(lake), Some(Place::Bucket(_))) = (&file.store.lake, &place)
            && lake.value
        {
            self.notes.error(
                lake.span.clone(),
                "a store in a bucket has no lake of its own: nobody reads SQLite from there",
                "write lake = \"lake\" in [target], for a schema of that name",
            );
        }
        let scratch = file.run.scratch.as_ref().filter(|text| !text.value.is_empty());
        Some(Deployment {
            name: file.name.as_ref().map_or(stem, |name| name.value.clone()),
            description: file.description.as_ref().map(|text| text.value.clone()),
            timezone: timezone?,
            project: self.project.to_owned(),
            store: StoreSettings {
                place: place?,
                keep: file.store.keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(14),
                grace: grace?,
                keep_runs: keep_runs?,
                encodings: encodings?,
                file_size: file_size?,
                lake: file.store.lake.as_ref().is_some_and(|lake| lake.value),
                delta: file.store.delta.as_ref().is_some_and(|delta| delta.value),
            },
            run: RunSettings { memory: memory?, scratch: scratch.map(|text| self.project.join(&text.value)) },
            allow: self.allowed(&file.sql.allow),
            target,
            schedule,
            notify: notify?,
            document: self.notes.document.clone(),
        })
    }

    /// Functions that a pipeline takes although nobody held them against Postgres: each is told.
    fn allowed(&self, names: &[Text]) -> Vec<String> {
        for name in names {
            match told::known_function(&name.value) {
                Ok(()) => self.notes.add(
                    Diagnostic::warning(format!(
                        "{} is answered as the engine answers it, which may be otherwise than in Postgres",
                        name.value
                    ))
                    .at(&self.notes.document, name.span.clone()),
                ),
                Err(near) => self.notes.error(
                    name.span.clone(),
                    format!("there is no function `{}` that could be allowed", name.value),
                    near.map_or("leave it out".to_owned(), |near| format!("did you mean `{near}`?")),
                ),
            }
        }
        names.iter().map(|name| name.value.clone()).collect()
    }

    fn target(&self, target: &TargetFile) -> Option<TargetSettings> {
        let url = target.url.as_ref().filter(|url| !url.value.is_empty())?;
        self.whole_address(url);
        if !is_postgres(&url.value) {
            self.notes.error(
                url.span.clone(),
                "a target is a Postgres database",
                "write postgres://user@host/database, or leave it empty for no delivery",
            );
        }
        let schema = target.schema.as_ref().map_or("mart".to_owned(), |schema| schema.value.clone());
        for name in [&target.schema, &target.lake].into_iter().flatten() {
            if name.value.is_empty() {
                self.notes.error(name.span.clone(), "a schema has a name", "name it: schema = \"mart\"");
            }
            let reserved = name.value.starts_with("pg_") || name.value == "information_schema";
            if reserved || name.value.len() > LONGEST_NAME {
                let message = match reserved {
                    true => format!("`{}` is a schema of Postgres's own", name.value),
                    false => format!(
                        "this name has {} bytes, and one of Postgres's {LONGEST_NAME} at most",
                        name.value.len()
                    ),
                };
                self.notes.error(name.span.clone(), message, "write another name");
            }
        }
        if let Some(lake) = target.lake.as_ref().filter(|lake| lake.value == schema) {
            self.notes.error(
                lake.span.clone(),
                "a lake needs a schema of its own, and this is the star's",
                "write another name, such as \"lake\"",
            );
        }
        let lake = target.lake.as_ref().map(|lake| lake.value.clone()).filter(|lake| !lake.is_empty());
        let silent = target.silent_max.as_ref();
        let silent_max = silent.map_or(Some(SILENT_MAX), |text| self.duration(text))?;
        let bound = |text: &Option<Text>| match text {
            Some(text) => self.duration(text).map(Some),
            None => Some(None),
        };
        let views = target.views.as_ref();
        if let Some(views) = views.filter(|views| !["keep", "recreate"].contains(&views.value.as_str())) {
            self.notes.error(
                views.span.clone(),
                "what becomes of views is \"keep\" or \"recreate\"",
                "write views = \"recreate\"",
            );
        }
        Some(TargetSettings {
            url: PostgresUrl::new(url.value.clone()),
            schema,
            lake,
            silent_max,
            lock_timeout: bound(&target.lock_timeout)?.unwrap_or(LOCK_TIMEOUT),
            lock_wait: self.length(&target.lock_wait, LOCK_WAIT)?,
            statement_timeout: bound(&target.statement_timeout)?,
            role: target.role.as_ref().map(|role| role.value.clone()).filter(|role| !role.is_empty()),
            foreign_keys: target.foreign_keys.as_ref().is_some_and(|asked| asked.value),
            recreates_views: views.is_some_and(|views| views.value == "recreate"),
        })
    }

    fn schedule(&self, schedule: &ScheduleFile, pipeline_zone: Option<Tz>) -> Option<Schedule> {
        let timezone = match &schedule.timezone {
            Some(zone) => self.zone(zone),
            None => pipeline_zone,
        };
        let line = schedule.cron.as_ref().and_then(|text| self.cron(text));
        let retry_wait = self.length(&schedule.retry_wait, Duration::from_secs(60));
        let late_after = self.length(&schedule.late_after, Duration::from_secs(3_600));
        Some(Schedule {
            line: line?,
            timezone: timezone?,
            retries: schedule.retries.and_then(|retries| u32::try_from(retries).ok()).unwrap_or(5),
            retry_wait: retry_wait?,
            late_after: late_after?,
        })
    }

    fn cron(&self, text: &Text) -> Option<CronLine> {
        match CronLine::parse(&text.value) {
            Ok(line) => Some(line),
            Err(mistake) => {
                // Inside the string, unless escapes or variables moved its characters.
                let written = &self.notes.document.text[text.span.clone()];
                let span = match written.find(&text.value).filter(|_| !text.value.is_empty()) {
                    Some(at) => {
                        let start = text.span.start + at;
                        start + mistake.span.start..start + mistake.span.end
                    }
                    None => text.span.clone(),
                };
                self.notes.error(span, mistake.message, mistake.help);
                None
            }
        }
    }

    fn notify(&self, notify: &NotifyFile) -> Option<NotifySettings> {
        let mut found = NotifySettings { on: AlertKind::USUAL.to_vec(), ..NotifySettings::default() };
        let address = |url: &Option<Text>, what: &str| {
            let Some(url) = url.as_ref().filter(|url| !url.value.is_empty()) else { return Some(None) };
            let parsed = WebhookUrl::parse(&url.value);
            if parsed.is_none() {
                let message = format!("a {what} is an http address");
                self.notes.error(url.span.clone(), message, "write https://host/path");
            }
            parsed.map(Some)
        };
        let (webhook, heartbeat) =
            (address(&notify.webhook, "webhook"), address(&notify.heartbeat, "heartbeat"));
        (found.webhook, found.heartbeat) = (webhook?, heartbeat?);
        if let Some([line]) = notify.command.as_deref()
            && line.value.trim().contains(char::is_whitespace)
        {
            self.notes.error(
                line.span.clone(),
                "a command is a list: the program, then its arguments",
                "write command = [\"program\", \"argument\"]",
            );
        }
        if let Some(command) = notify.command.as_ref().filter(|command| !command.is_empty()) {
            found.command = Some(command.iter().map(|word| word.value.clone()).collect());
        }
        if let Some(on) = &notify.on {
            found.on.clear();
            for word in on {
                match AlertKind::CHOICES.into_iter().find(|kind| kind.word() == word.value) {
                    Some(kind) => found.on.push(kind),
                    None => self.notes.error(
                        word.span.clone(),
                        format!("nobody is told of `{}`", word.value),
                        format!("valid: {}", list(AlertKind::CHOICES.map(AlertKind::word))),
                    ),
                }
            }
        }
        Some(found)
    }

    /// A wait, which may be none at all.
    fn length(&self, text: &Option<Text>, default: Duration) -> Option<Duration> {
        text.as_ref().map_or(Some(default), |text| self.duration_if(text, |_| true))
    }

    /// A bound, which is always some time.
    pub(super) fn duration(&self, text: &Text) -> Option<Duration> {
        self.duration_if(text, |length| length.as_millis() > 0)
    }

    fn duration_if(&self, text: &Text, fits: impl Fn(&Duration) -> bool) -> Option<Duration> {
        humantime::parse_duration(&text.value).ok().filter(fits).or_else(|| {
            let message = format!("`{}` is not a length of time", text.value);
            self.notes.error(text.span.clone(), message, "write 90s, 30m or 2h");
            None
        })
    }

    pub(super) fn zone(&self, zone: &Text) -> Option<Tz> {
        zone.value.parse::<Tz>().ok().or_else(|| {
            let near = nearest(&zone.value, chrono_tz::TZ_VARIANTS.iter().map(|tz| tz.name()));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "use a name of the IANA database, such as Europe/Berlin or UTC".to_owned(),
            };
            self.notes.error(zone.span.clone(), format!("there is no time zone `{}`", zone.value), help);
            None
        })
    }

    fn memory(&self, text: &Text) -> Option<usize> {
        let bytes = bytes(text).and_then(|bytes| usize::try_from(bytes).ok());
        bytes.filter(|bytes| *bytes >= LEAST_MEMORY).or_else(|| {
            let message = format!("`{}` is not an amount of memory", text.value);
            self.notes.error(text.span.clone(), message, "write 400MB or 2GB; at least 32MB");
            None
        })
    }

    fn file_size(&self, text: &Text) -> Option<u64> {
        bytes(text).filter(|bytes| FILE_SIZES.contains(bytes)).or_else(|| {
            let message = format!("`{}` is not a size of files", text.value);
            self.notes.error(text.span.clone(), message, "write 64MB; at least 64kB, at most 4GiB");
            None
        })
    }
}
