//! Postgres's values in and out of Arrow: binary COPY and the text form. No I/O, no async.
//!
//! `types` is the one table of types, which `mapping` applies and `policy` completes; `column` holds the builders that both forms fill, `mask` what stands
//! in a person's place;
//! `decode` reads binary COPY, `csv` reads COPY's CSV, `encode` writes binary COPY.

pub mod column;
pub mod csv;
pub mod decode;
pub mod encode;
pub mod mapping;
pub mod mask;
mod numeric;
pub mod policy;
mod text;
pub mod types;
mod value;

pub use value::ValueError;

/// Days and microseconds between 1970-01-01, where Arrow counts from, and 2000-01-01, Postgres's.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
