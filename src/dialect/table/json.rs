//! Json that is made and changed.

use super::{JSON, Line, operator, scalar};

pub const LINES: &[Line] = &[
    scalar(
        JSON,
        "to_jsonb",
        &[
            "to_jsonb(n)::text",
            "to_jsonb(t)::text",
            "to_jsonb(at)::text",
            "to_jsonb(made)::text",
            "to_jsonb(tags)::text",
            "to_jsonb(r)::text",
            "to_jsonb(attrs)::text",
        ],
    )
    .ours(),
    scalar(JSON, "to_json", &["to_json(t)::text", "to_json(day)::text", "to_json(ok)::text"]).ours(),
    scalar(
        JSON,
        "jsonb_build_object",
        &[
            "jsonb_build_object('id', id, 'n', n, 't', t, 'attrs', attrs)::text",
            "jsonb_build_object('bb', 1, 'a', NULL, 'bb', 2)::text",
        ],
    )
    .ours(),
    scalar(JSON, "json_build_object", &["json_build_object('id', id, 'n', n, 'ok', ok)::text"]).ours(),
    scalar(JSON, "jsonb_build_array", &["jsonb_build_array(id, t, n, NULL, tags)::text"]).ours(),
    scalar(JSON, "json_build_array", &["json_build_array(id, t, day)::text"]).ours(),
    operator(
        JSON,
        "starmill jsonb array",
        "jsonb_agg",
        &[
            "(SELECT jsonb_agg(w.n ORDER BY w.id) FROM v AS w)::text",
            "(SELECT jsonb_agg(jsonb_build_object('id', w.id) ORDER BY w.id) FROM v AS w WHERE w.id < 3)::text",
        ],
    ),
    operator(
        JSON,
        "starmill json array",
        "json_agg",
        &["(SELECT json_agg(w.t ORDER BY w.id) FROM v AS w)::text"],
    ),
    operator(
        JSON,
        "starmill json element",
        "an element of jsonb_agg",
        &["(SELECT jsonb_agg(w.ok ORDER BY w.id) FROM v AS w)::text"],
    ),
    operator(
        JSON,
        "starmill jsonb object of keys",
        "jsonb_object_agg",
        &["(SELECT jsonb_object_agg(w.id, w.t) FROM v AS w)::text"],
    ),
    operator(
        JSON,
        "starmill jsonb object",
        "jsonb_object_agg with ORDER BY",
        &["(SELECT jsonb_object_agg(coalesce(w.t, '?'), w.n ORDER BY w.id) FROM v AS w)::text"],
    ),
    operator(
        JSON,
        "starmill json object",
        "json_object_agg",
        &["(SELECT json_object_agg(w.id, w.n ORDER BY w.id) FROM v AS w)::text"],
    ),
    operator(
        JSON,
        "starmill json member",
        "a member of jsonb_object_agg",
        &["(SELECT jsonb_object_agg(w.id, w.day) FROM v AS w)::text"],
    ),
    operator(
        JSON,
        "starmill jsonb ||",
        "||",
        &[
            "(attrs || '{\"new\": 1}')::text",
            "('[1]'::jsonb || '[2, 3]'::jsonb)::text",
            "(jsonb_build_object('a', 1) || jsonb_build_object('a', id))::text",
        ],
    ),
    operator(
        JSON,
        "starmill jsonb -",
        "-",
        &[
            "('{\"a\": 1, \"b\": 2}'::jsonb - 'a')::text",
            "('[\"a\", 1, \"b\"]'::jsonb - -1)::text",
            "('{\"a\": 1, \"b\": 2}'::jsonb - ARRAY['a', 'b'])::text",
        ],
    ),
    operator(JSON, "starmill jsonb #-", "#-", &["('{\"a\": {\"b\": [1, 2]}}'::jsonb #- '{a,b,0}')::text"]),
    scalar(
        JSON,
        "jsonb_set",
        &[
            "jsonb_set('{\"a\": {\"b\": 1}}'::jsonb, '{a,c}', to_jsonb(id))::text",
            "jsonb_set('{\"a\": [1, 2]}'::jsonb, '{a,-1}', '\"x\"')::text",
            "jsonb_set('{\"a\": 1}'::jsonb, '{b}', '2', false)::text",
        ],
    )
    .ours(),
    scalar(
        JSON,
        "jsonb_strip_nulls",
        &["jsonb_strip_nulls('{\"a\": null, \"b\": [null, {\"c\": null}]}'::jsonb)::text"],
    )
    .ours(),
    scalar(JSON, "jsonb_pretty", &["jsonb_pretty(attrs)"]).ours(),
];
