//! Cron lines against an independent judge: Postgres walks every minute of a year, with its own
//! calendar and its own time zones, and says which of them a line means.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use starmill::pipeline::schedule::{CronLine, Schedule};

use crate::support::{cluster, rounds};

const YEAR: &str = "2026";

fn schedule(line: &str, zone: &str) -> Schedule {
    let line = CronLine::parse(line).unwrap_or_else(|mistake| panic!("{line}: {mistake:?}"));
    let second = Duration::from_secs(1);
    Schedule { line, timezone: zone.parse().unwrap(), retries: 0, retry_wait: second, late_after: second }
}

/// The values that one field means; nothing is shared with the product.
fn values(field: &str, low: u32, high: u32, names: &[&str], first_name: u32) -> Vec<u32> {
    let number = |text: &str| {
        let name = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        name.map_or_else(|| text.parse().unwrap(), |at| at as u32 + first_name)
    };
    let mut found = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((from, to)) => (number(from), number(to)),
            None => (number(range), number(range)),
        };
        found.extend((from..=to).step_by(step.parse().unwrap()));
    }
    found
}

/// The same line as a condition over a local time `l`.
fn condition(line: &str) -> String {
    let nickname = match line {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        line => line,
    };
    let fields: Vec<&str> = nickname.split_whitespace().collect();
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let within = |part: &str, values: Vec<u32>| {
        let list: Vec<String> = values.iter().map(u32::to_string).collect();
        format!("extract({part} FROM l) IN ({})", list.join(","))
    };
    let minute = within("minute", values(fields[0], 0, 59, &[], 0));
    let hour = within("hour", values(fields[1], 0, 23, &[], 0));
    let day = within("day", values(fields[2], 1, 31, &[], 0));
    let month = within("month", values(fields[3], 1, 12, &months, 1));
    let weekdays = values(fields[4], 0, 7, &days, 0).into_iter().map(|day| day % 7).collect();
    let weekday = within("dow", weekdays);
    let both = if fields[2] != "*" && fields[4] != "*" { "OR" } else { "AND" };
    format!("{minute} AND {hour} AND {month} AND ({day} {both} {weekday})")
}

const LINES: [&str; 22] = [
    "30 3 * * *",
    "30 2 * * *",
    "0 2 * * *",
    "59 2 * * sun",
    "15,45 1-3 * * *",
    "*/7 * * * *",
    "0 */5 * * *",
    "0 0 13 * fri",
    "0 12 1,15 * mon",
    "5 4 */10 * *",
    "5 4 */10 * 3",
    "0 9-17/2 * * mon-fri",
    "0 0 29 2 *",
    "0 0 31 * *",
    "10 1 * jan,JUL,12 *",
    "0 6 * * 5-7",
    "0 6 * * 0,7",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
];

const ZONES: [&str; 5] =
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"];

/// A line of random fields, each of which has values.
fn random_line(random: &mut fastrand::Rng) -> String {
    let mut field = |low: u32, high: u32| match random.u8(..6) {
        0 | 1 => "*".to_owned(),
        2 => format!("*/{}", random.u32(1..=high)),
        3 => {
            let from = random.u32(low..=high);
            format!("{from}-{}/{}", random.u32(from..=high), random.u32(1..=4))
        }
        4 => format!("{},{}", random.u32(low..=high), random.u32(low..=high)),
        _ => random.u32(low..=high).to_string(),
    };
    let (minute, hour, month) = (field(0, 59), field(0, 23), field(1, 12));
    // A day that every month has, so that the line is one that runs.
    let (day, weekday) = (field(1, 28), field(0, 7));
    format!("{minute} {hour} {day} {month} {weekday}")
}

#[test]
fn a_year_of_nights_is_what_postgres_says_it_is() {
    let judge = cluster().database();
    let mut random = fastrand::Rng::with_seed(2026);
    for zone in ZONES {
        // Every minute of the year and what the clocks show then; and, for the local times that they
        // skip, the first instant after.
        judge.sql(&format!(
            "DROP TABLE IF EXISTS shown; \
             CREATE TABLE shown AS SELECT min(u) AS at, u AT TIME ZONE '{zone}' AS l \
               FROM generate_series('{YEAR}-01-01 00:00Z'::timestamptz, '{YEAR}-12-31 23:59Z', '1 minute') AS u GROUP BY 2; \
             INSERT INTO shown SELECT (SELECT min(at) FROM shown AS s WHERE s.l > skipped.l), l FROM ( \
               SELECT l FROM generate_series((SELECT min(l) FROM shown), (SELECT max(l) FROM shown), '1 minute') AS l \
               EXCEPT SELECT l FROM shown) AS skipped"
        ));
        let random_lines: Vec<String> = (0..rounds(6)).map(|_| random_line(&mut random)).collect();
        let lines: Vec<&str> = LINES.into_iter().chain(random_lines.iter().map(String::as_str)).collect();
        let mut questions = String::new();
        for line in &lines {
            let _ = write!(
                questions,
                "SELECT coalesce(string_agg(DISTINCT extract(epoch FROM at)::bigint::text, ','), '') FROM shown WHERE {};",
                condition(line)
            );
        }
        let answers = judge.sql(&questions);
        let mut answers = answers.split('\n');
        for line in &lines {
            let judged = answers.next().unwrap_or_default();
            let mut expected: Vec<i64> = judged
                .split(',')
                .filter(|epoch| !epoch.is_empty())
                .map(|epoch| epoch.parse().unwrap())
                .collect();
            expected.sort_unstable();
            let schedule = schedule(line, zone);
            // From the last instant before the first minute to the last minute that the judge knows.
            let end: DateTime<Utc> = format!("{YEAR}-12-31T23:59:00Z").parse().unwrap();
            let mut at: DateTime<Utc> = format!("{YEAR}-01-01T00:00:00Z").parse().unwrap();
            at -= chrono::TimeDelta::seconds(1);
            let mut found = Vec::new();
            while let Some(night) = schedule.next_after(at).filter(|night| *night <= end) {
                found.push(night.timestamp());
                assert_eq!(schedule.last_until(night), Some(night), "{line} in {zone}");
                let later = night + chrono::TimeDelta::seconds(59);
                assert_eq!(schedule.last_until(later), Some(night), "{line} in {zone}");
                at = night;
            }
            assert_eq!(found, expected, "{line} in {zone}");
        }
    }
}
