//! The one table of types: what each Postgres type becomes. `docs/types.md` is printed from it, and
//! `tests/it/types.rs` holds every line of it against what the server prints.

use std::fmt::Write as _;

use super::mapping::Mapping;

/// One line of the table.
pub struct TypeEntry {
    /// As people write it.
    pub title: &'static str,
    /// What Postgres and DDL call it, without arguments.
    pub names: &'static [&'static str],
    /// How it travels; none where it depends on the declaration, or where Postgres's text is taken.
    pub mapping: Option<Mapping>,
    pub arrow: &'static str,
    pub note: &'static str,
}

const fn line(
    title: &'static str,
    names: &'static [&'static str],
    mapping: Mapping,
    arrow: &'static str,
    note: &'static str,
) -> TypeEntry {
    TypeEntry { title, names, mapping: Some(mapping), arrow, note }
}

/// A type without one of Arrow's own.
const fn text_form(title: &'static str, note: &'static str) -> TypeEntry {
    TypeEntry { title, names: &[], mapping: None, arrow: "Utf8", note }
}

const fn numeric(title: &'static str, arrow: &'static str, note: &'static str) -> TypeEntry {
    TypeEntry { title, names: &["numeric", "decimal"], mapping: None, arrow, note }
}

const FAR: &str = "microseconds; ±infinity by `special`, BC and years after 9999 by `far_dates`";

pub const TYPES: &[TypeEntry] = &[
    line("boolean", &["boolean", "bool"], Mapping::Boolean, "Boolean", ""),
    line("smallint", &["smallint", "int2", "smallserial"], Mapping::Int16, "Int16", ""),
    line("integer", &["integer", "int", "int4", "serial"], Mapping::Int32, "Int32", ""),
    line("bigint", &["bigint", "int8", "bigserial"], Mapping::Int64, "Int64", ""),
    line("real", &["real", "float4"], Mapping::Float32, "Float32", "IEEE values kept: NaN, ±Infinity, -0"),
    line(
        "double precision",
        &["double precision", "float8", "float"],
        Mapping::Float64,
        "Float64",
        "IEEE values kept: NaN, ±Infinity, -0",
    ),
    numeric(
        "numeric(p,s), up to 38 digits",
        "Decimal128(p,s)",
        "NaN and ±Infinity by `special`; a negative scale, or one above the precision, is widened to what it holds: (5,-2) is (7,0), (2,5) is (5,5)",
    ),
    numeric(
        "numeric(p,s), 39 to 76 digits",
        "Decimal256(p,s)",
        "inside a run; published only as a decimal of at most 38 digits, or as text",
    ),
    numeric(
        "numeric(p,s), above 76 digits",
        "none",
        "refused, unless read `as = \"text\"` or as a decimal that its values fit",
    ),
    numeric(
        "numeric",
        "Decimal128(38,10)",
        "or as `numeric` in [source] says; a value with more digits is refused, never rounded",
    ),
    line("money", &["money"], Mapping::Money, "Decimal128(19,2)", "in the C locale's cents"),
    line("text", &["text"], Mapping::Text, "Utf8", ""),
    line("varchar(n)", &["character varying", "varchar"], Mapping::Text, "Utf8", ""),
    line(
        "char(n)",
        &["character", "char", "bpchar"],
        Mapping::PaddedText,
        "Utf8",
        "without the spaces at its end, which mean nothing to Postgres",
    ),
    line("name", &["name"], Mapping::Text, "Utf8", ""),
    line("citext", &["citext"], Mapping::Text, "Utf8", "as written; models compare it exactly"),
    line("json", &["json"], Mapping::Text, "Utf8", "as written"),
    line("jsonb", &["jsonb"], Mapping::Jsonb, "Utf8", "as Postgres prints it; numbers keep all digits"),
    // Its binary form leaves out the declaration.
    line("xml", &["xml"], Mapping::TextForm, "Utf8", "as written"),
    line("uuid", &["uuid"], Mapping::Uuid, "Utf8", "lower case, with hyphens"),
    line("bytea", &["bytea"], Mapping::Bytes, "Binary", ""),
    line(
        "date",
        &["date"],
        Mapping::Date,
        "Date32",
        "±infinity by `special`, BC and years after 9999 by `far_dates`",
    ),
    line(
        "time",
        &["time", "time without time zone"],
        Mapping::Time,
        "Time64(µs)",
        "24:00 is refused, since no reader has it; `as = \"text\"` keeps it",
    ),
    line(
        "timestamp",
        &["timestamp", "timestamp without time zone"],
        Mapping::Timestamp,
        "Timestamp(µs)",
        FAR,
    ),
    line(
        "timestamptz",
        &["timestamptz", "timestamp with time zone"],
        Mapping::TimestampTz,
        "Timestamp(µs, UTC)",
        FAR,
    ),
    text_form("timetz", ""),
    text_form("interval", "`1 mon 2 days 03:04:05`; compute with it in the source, or cast it there"),
    text_form("enum", "its label; ordered as text, not as declared"),
    text_form(
        "array",
        "`{1,NULL,3}`, with odd lower bounds as `[0:1]={1,2}`; a model reads and publishes a list of booleans, integers, doubles, texts, days, local times and numerics with declared digits",
    ),
    text_form("composite", "`(1,\"a b\")`"),
    text_form("range", ""),
    text_form("multirange", "since Postgres 14"),
    text_form("inet", ""),
    text_form("cidr", ""),
    text_form("macaddr", "macaddr8 too"),
    text_form("bit", "varbit too"),
    text_form("tsvector", "tsquery too"),
    text_form("hstore", ""),
    text_form("oid", ""),
    text_form("regclass", "and the other reg types: by name, qualified unless in the pipeline's `schemas`"),
    text_form("point", "and the other geometric types: line, lseg, box, path, polygon, circle"),
    text_form("\"char\"", ""),
    text_form("any other", "of an extension, or of your own"),
    TypeEntry {
        title: "domain",
        names: &[],
        mapping: None,
        arrow: "as the type below it",
        note: "over anything, other domains too",
    },
];

/// The page that people read.
pub fn documentation() -> String {
    let mut page = String::from(PREFACE);
    page.push_str("\n| Postgres | Arrow | |\n|---|---|---|\n");
    for entry in TYPES {
        let title = entry.title.replace('|', "\\|");
        let _ = writeln!(page, "| {title} | {} | {} |", entry.arrow, entry.note);
    }
    page.push_str(POLICIES);
    page
}

const PREFACE: &str = "\
# How each type travels

Every value arrives exactly, or the run is refused with the table, the column, the value, and the line that
helps. A type without one of Arrow's own arrives as Postgres prints it, in a session whose settings are
pinned: ISO dates, the pipeline's time zone, shortest exact floats, hexadecimal bytea.

This page is printed from `src/pgcopy/types.rs`; each of its lines has a test that compares what another
reader of Parquet sees with what the server prints.
";

const POLICIES: &str = "
What Arrow has no place for, the pipeline decides, in `[source]`:

| key | values | about |
|---|---|---|
| `numeric` | `\"decimal(38,10)\"` | what `numeric` without precision becomes |
| `special` | `\"refuse\"`, `\"null\"`, `\"clamp\"` | NaN and ±Infinity of numeric (which cannot be clamped), ±infinity of dates and timestamps |
| `far_dates` | `\"keep\"`, `\"refuse\"`, `\"null\"`, `\"clamp\"` | dates and timestamps before the year 1 or after 9999: Parquet holds them, many a reader does not. Later than 294246 Arrow cannot count, so that `keep` refuses |

Clamped values move to the first instant of the year 1 or the last of 9999. One column's own mapping stands below
`[source.columns]`:

```toml
[source.columns]
\"public.rates.fx\" = { as = \"decimal(20,13)\" }
\"public.shifts.ends_at\" = { as = \"text\" }
```
";
