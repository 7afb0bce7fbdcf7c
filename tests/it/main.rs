//! starmill as its users meet it: the real binary, real files, a real Postgres.

mod bad_input;
mod commands;
mod cron;
mod delivery;
mod encoding;
mod first_night;
mod house;
mod instant;
mod judge;
mod kills;
mod memory;
mod nights;
mod operate;
mod query;
mod relations;
mod robust;
mod schedule;
mod servers;
mod support;
mod surface;
mod terminal;
mod timetable;
mod tls;
mod types;
