//! The COPY decoder meets arbitrary bytes: no panic, no endless loop, and no more memory than the
//! bytes are worth.
//!
//!     cargo install cargo-fuzz
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run copy -- -max_total_time=600 -rss_limit_mb=512

#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/pgcopy/mod.rs"]
mod pgcopy;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use libfuzzer_sys::fuzz_target;
use pgcopy::column::Column;
use pgcopy::decode::Decoder;
use pgcopy::mapping::Mapping;
use pgcopy::policy::{Extremes, FarDates, Special};

fuzz_target!(|data: &[u8]| {
    let [columns, policy, cut, bytes @ ..] = data else { return };
    let (special, far_dates) = match policy % 4 {
        0 => (Special::Refuse, FarDates::Keep),
        1 => (Special::Null, FarDates::Null),
        2 => (Special::Clamp, FarDates::Clamp),
        _ => (Special::Null, FarDates::Refuse),
    };
    // Up to four columns, of types that the first byte picks.
    let mappings: Vec<Mapping> = (0..columns % 5)
        .map(|place| Mapping::EVERY[(usize::from(*columns) + usize::from(place) * 7) % Mapping::EVERY.len()])
        .collect();
    let fields: Vec<Field> = mappings.iter().map(|m| Field::new("c", m.arrow_type("UTC"), true)).collect();
    let new = |mapping: &Mapping| Column::new(*mapping, "UTC", Extremes { special, far_dates }, 4);
    let mut decoder = Decoder::new(Arc::new(Schema::new(fields)), mappings.iter().map(new).collect());
    // A stream without its header would hardly ever get beyond it.
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    if policy & 128 == 0 && decoder.feed(header).is_err() {
        return;
    }
    for message in bytes.chunks(usize::from(*cut).max(1)) {
        if decoder.feed(message).is_err() {
            return;
        }
        while decoder.take_full_batch().is_some() {}
    }
    let _ = decoder.finish();
});
