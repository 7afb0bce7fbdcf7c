//! Aggregates and windows.

use super::{Line, aggregate, window};

pub const LINES: &[Line] = &[
    aggregate("count", &["count(*)", "count(i)", "count(DISTINCT t)", "count(*) FILTER (WHERE i > 0)"]),
    aggregate("sum", &["sum(i)", "sum(n)", "sum(DISTINCT i)", "sum(d)"]).ours(),
    aggregate("avg", &["round(avg(i), 8)", "round(avg(n), 12)", "round(avg(DISTINCT b), 4)", "avg(d)"])
        .ours(),
    aggregate("min", &["min(i)", "min(t)", "min(at)", "min(day)"]),
    aggregate("max", &["max(n)", "max(t)", "max(made)", "max(d)"]),
    aggregate("bool_and", &["bool_and(i > 0)"]),
    aggregate("bool_or", &["bool_or(i > 0)"]),
    aggregate("bit_and", &["bit_and(i)"]),
    aggregate("bit_or", &["bit_or(i)"]),
    aggregate("bit_xor", &["bit_xor(id)"]),
    aggregate("string_agg", &["string_agg(t, ',' ORDER BY id)", "string_agg(DISTINCT t, ',' ORDER BY t)"])
        .ours(),
    aggregate("array_agg", &["array_to_string(array_agg(t ORDER BY id), ',')"]),
    aggregate(
        "percentile_cont",
        &[
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY d)",
            "percentile_cont(0.9) WITHIN GROUP (ORDER BY i DESC)",
            "(percentile_cont(ARRAY[0.25, 0.9]) WITHIN GROUP (ORDER BY n))[2]",
        ],
    )
    .ours(),
    aggregate(
        "percentile_disc",
        &[
            "percentile_disc(0.5) WITHIN GROUP (ORDER BY t)",
            "percentile_disc(0.75) WITHIN GROUP (ORDER BY day DESC)",
        ],
    )
    .ours(),
    aggregate("mode", &["mode() WITHIN GROUP (ORDER BY ok)", "mode() WITHIN GROUP (ORDER BY i)"]).ours(),
    aggregate("grouping", &["grouping(ok)"]),
    aggregate("stddev", &["stddev(CAST(m AS double precision))"]).ours(),
    aggregate("stddev_pop", &["stddev_pop(CAST(id AS double precision))"]).ours(),
    aggregate("var", &["var_samp(CAST(m AS double precision))"]).written("var_samp").ours(),
    aggregate("var_pop", &["var_pop(CAST(id AS double precision))"]).ours(),
    aggregate("covar_pop", &["covar_pop(d, r)"]).ours(),
    aggregate("covar_samp", &["covar_samp(id, m)"]).ours(),
    aggregate("corr", &["corr(id, d)"]).ours(),
    aggregate("regr_count", &["regr_count(d, CAST(id AS double precision))"]).ours(),
    aggregate("regr_avgx", &["regr_avgx(d, id)"]).ours(),
    aggregate("regr_avgy", &["regr_avgy(d, id)"]).ours(),
    aggregate("regr_sxx", &["regr_sxx(d, id)"]).ours(),
    aggregate("regr_syy", &["regr_syy(d, id)"]).ours(),
    aggregate("regr_sxy", &["regr_sxy(d, id)"]).ours(),
    aggregate("regr_slope", &["regr_slope(d, id)"]).ours(),
    aggregate("regr_intercept", &["regr_intercept(d, id)"]).ours(),
    aggregate("regr_r2", &["regr_r2(d, id)"]).ours(),
    window("row_number", &["row_number() OVER (ORDER BY id)"]),
    window("rank", &["rank() OVER (ORDER BY ok, i)"]),
    window("dense_rank", &["dense_rank() OVER (ORDER BY ok)"]),
    window("percent_rank", &["percent_rank() OVER (ORDER BY ok)"]),
    window("cume_dist", &["cume_dist() OVER (ORDER BY ok)"]),
    window("ntile", &["ntile(4) OVER (ORDER BY id)"]),
    window(
        "lag",
        &[
            "lag(i) OVER (ORDER BY id)",
            "lag(i, 2, 0) OVER (ORDER BY id)",
            "lag(t) OVER (PARTITION BY ok ORDER BY id)",
        ],
    ),
    window("lead", &["lead(n) OVER (ORDER BY id)", "lead(t, 1, 'end') OVER (ORDER BY id)"]),
    window("first_value", &["first_value(t) OVER (PARTITION BY ok ORDER BY id)"]),
    window(
        "last_value",
        &[
            "last_value(i) OVER (ORDER BY id)",
            "last_value(i) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        ],
    ),
    window("nth_value", &["nth_value(i, 2) OVER (ORDER BY id)"]),
];
