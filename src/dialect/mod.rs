//! Postgres's SQL on another engine: what the engine answers otherwise is rewritten to what Postgres
//! answers, or refused with what to write instead.
//!
//! `words` looks at the SQL as it is written, and `reword` says it in words that the engine plans. `table` says which
//! functions there are. `rewrite` and `exactness` turn the engine's own operations into `functions` with Postgres's
//! meaning, once before and once after it has settled the types. `refuse` walks the plan as it will run, where every
//! implicit cast is visible.

mod average;
pub mod distinct;
mod exactness;
pub mod functions;
mod lists;
mod numerics;
pub mod planner;
pub mod refuse;
pub mod reword;
pub mod rewrite;
pub mod table;
pub mod told;
pub mod words;

pub use refuse::{Finding, Purpose};
