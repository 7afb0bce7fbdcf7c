//! Times and intervals.

use super::{Line, TIMES, operator, scalar};

pub const LINES: &[Line] = &[
    scalar(
        TIMES,
        "date_part",
        &[
            "extract(year FROM day)",
            "extract(month FROM made)",
            "extract(dow FROM at)",
            "extract(isodow FROM day)",
            "extract(week FROM day)",
            "extract(isoyear FROM day)",
            "extract(quarter FROM at)",
            "extract(doy FROM made)",
            "extract(hour FROM at)",
            "extract(second FROM made)",
            "extract(milliseconds FROM made)",
            "extract(microseconds FROM at)",
            "extract(milliseconds FROM until - at)",
            "extract(julian FROM day)",
            "extract(epoch FROM at)",
            "extract(epoch FROM day)",
            "date_part('day', made)",
            "extract(epoch FROM until - at)",
        ],
    )
    .written("extract")
    .ours(),
    scalar(TIMES, "date_bin", &["date_bin(INTERVAL '15 minutes', made, TIMESTAMP '2000-01-01 00:00:00')"]),
    scalar(
        TIMES,
        "date_trunc",
        &[
            "date_trunc('month', day::timestamp)",
            "date_trunc('week', made)",
            "date_trunc('day', at)",
            "date_trunc('hour', at)",
            "date_trunc('quarter', made)",
            "date_trunc('year', at)",
            "date_trunc('minute', until)",
            "date_trunc('decade', made)",
            "date_trunc('month', day)",
            "date_trunc('day', at, 'America/New_York')",
            "extract(epoch FROM date_trunc('hour', until - at))",
        ],
    )
    .ours(),
    operator(
        TIMES,
        "starmill digits of a second",
        "::timestamp(n)",
        &["made::timestamp(3)", "at::timestamptz(0)"],
    ),
    scalar(
        TIMES,
        "to_char",
        &[
            "to_char(day, 'YYYY-MM-DD')",
            "to_char(n, 'FM999,999,990.00')",
            "to_char(n, '9999999.99')",
            "to_char(n, 'S99990.0')",
            "to_char(i, '99990MI')",
            "to_char(id, 'FM000')",
            "to_char(m, '99.99PR')",
            "to_char(i, '999')",
            "to_char(CAST(id AS double precision) / 8, 'FM990.099')",
            "to_char(made, 'FMDay, DD Month YYYY HH12:MI am')",
            "to_char(at, 'IYYY-\"W\"IW-ID HH24:MI:SS.US TZ OF')",
        ],
    )
    .ours(),
    scalar(
        TIMES,
        "age",
        &[
            "extract(year FROM age(made, TIMESTAMP '2000-02-29 12:00'))",
            "extract(epoch FROM age(at, until))",
            "extract(day FROM age(until, at))",
        ],
    )
    .ours(),
    scalar(
        TIMES,
        "starmill *",
        &[
            "made + id * INTERVAL '1 day 2 hours'",
            "at + INTERVAL '1 month' * 1.5",
            "day + INTERVAL '1 day' / 3 * id",
        ],
    )
    .written("interval * n")
    .ours(),
    scalar(TIMES, "starmill /", &["made + INTERVAL '1 month 10 days' / 7"]).written("interval / n").ours(),
    scalar(TIMES, "make_date", &["make_date(2024, id, 2)"]).ours(),
    scalar(
        TIMES,
        "to_timestamp",
        &["to_timestamp(b / 1000000)", "to_timestamp('2024-02-29 15:04', 'YYYY-MM-DD HH24:MI')"],
    )
    .ours(),
    scalar(TIMES, "to_date", &["to_date('20240229', 'YYYYMMDD')", "to_date(id || ' Feb 24', 'DD Mon YY')"])
        .ours(),
    scalar(
        TIMES,
        "timezone",
        &["at AT TIME ZONE 'UTC'", "made AT TIME ZONE 'America/New_York'", "timezone('UTC', made)"],
    )
    .written("AT TIME ZONE")
    .ours(),
    scalar(TIMES, "now", &["now()"]).refused("derive the value from a column"),
    scalar(TIMES, "current_date", &["current_date"]).refused("derive the value from a column"),
    scalar(
        TIMES,
        "make_interval",
        &[
            "made + make_interval(days => 3, hours => id)",
            "make_interval(1, 2, 0, 3)::text",
            "make_interval(secs => 1.5)::text",
        ],
    )
    .ours(),
    scalar(
        TIMES,
        "justify_hours",
        &["justify_hours(INTERVAL '50 hours')::text", "justify_hours(INTERVAL '1 day -26 hours')::text"],
    )
    .ours(),
    scalar(TIMES, "justify_days", &["justify_days(INTERVAL '65 days')::text"]).ours(),
    scalar(TIMES, "justify_interval", &["justify_interval(INTERVAL '1 mon -1 hour')::text"]).ours(),
    scalar(TIMES, "make_time", &["make_time(13, 30, id)", "make_time(24, 0, 0)"]).ours(),
    scalar(TIMES, "make_timestamp", &["make_timestamp(2024, 3, 31, 2, 30, 15.5)"]).ours(),
    scalar(
        TIMES,
        "make_timestamptz",
        &["make_timestamptz(2024, 3, 31, 2, 30, 0)", "make_timestamptz(2024, 10, 27, 2, 30, 0, 'UTC')"],
    )
    .ours(),
    scalar(TIMES, "isfinite", &["isfinite(day)", "isfinite(until - at)"]).ours(),
    operator(
        TIMES,
        "starmill - interval",
        "- interval",
        &[
            "made + (-INTERVAL '1 day')",
            "(-INTERVAL '1 mon 2 days 03:00')::text",
            "until - at > -INTERVAL '1 day'",
        ],
    ),
];
