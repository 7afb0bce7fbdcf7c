//! Postgres's SQL on another engine: what the engine answers otherwise is rewritten to what Postgres
//! answers, or refused with what to write instead.
//!
//! `words` looks at the SQL as it is written, and `reword` says it in words that the engine plans. `table` says which
//! functions there are. `rewrite` and `exactness` turn the engine's own operations into `functions` with Postgres's
//! meaning, once before and once after it has settled the types. `refuse` walks the plan as it will run, where every
//! implicit cast is visible.

mod aggregated;
mod apart;
mod average;
mod calls;
pub mod dependent;
pub mod distinct;
mod enums;
mod exactness;
mod first_rows;
pub mod foreign;
pub mod functions;
mod gathered;
mod grammar;
pub mod guards;
pub mod independent;
pub mod lateral;
mod lists;
mod meaning;
mod met;
mod multisets;
mod named;
mod numerics;
mod outputs;
mod patterned;
pub mod planner;
mod printed;
pub mod refuse;
pub mod reword;
pub mod rewrite;
mod rows;
mod sets;
mod shape;
pub mod single;
pub mod spelled;
pub mod table;
pub mod told;
mod totals;
mod truth;
pub mod unions;
pub mod unmatched;
mod using;
pub mod visit;
pub mod words;
mod written;

pub use refuse::{Finding, Purpose};
