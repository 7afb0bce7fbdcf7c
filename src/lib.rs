//! starmill turns a normalized Postgres database into an audited star schema, every night.
//!
//! The map of the house is `src/README.md`. A module imports only from those above it here.

pub mod clock;
pub mod diagnostic;
pub mod error;
pub mod fault;
pub mod name;
pub mod secret;
pub mod shown;

pub mod progress;

pub mod dialect;

pub mod pgcopy;
pub mod pipeline;
pub mod postgres;
pub mod star;

pub mod lake;

pub mod load;
pub mod notify;
pub mod source;
pub mod store;

pub mod run;

pub mod operate;
pub mod query;
pub mod serve;

pub mod cli;
