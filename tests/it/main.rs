//! starmill as its users meet it: the real binary, real files, a real Postgres.

mod bad_input;
mod commands;
mod delivery;
mod first_night;
mod house;
mod instant;
mod judge;
mod kills;
mod memory;
mod nights;
mod support;
