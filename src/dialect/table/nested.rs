//! Arrays and json.

use super::{ARRAYS, JSON, Line, operator, scalar};

pub const LINES: &[Line] = &[
    scalar(ARRAYS, "make_array", &["cardinality(ARRAY[i, 2])"]).written("ARRAY[…]"),
    scalar(ARRAYS, "string_to_array", &["array_to_string(string_to_array(t, '_'), '|')"]),
    scalar(ARRAYS, "array_to_string", &["array_to_string(string_to_array(t, 'b'), ',')"]),
    scalar(ARRAYS, "cardinality", &["cardinality(string_to_array(t, '_'))"]),
    scalar(ARRAYS, "array_element", &["(string_to_array(t, '_'))[1]", "(string_to_array(t, '_'))[7]"])
        .written("a[i]"),
    scalar(ARRAYS, "array_remove_all", &["array_to_string(array_remove(string_to_array(t, '_'), 'a'), ',')"])
        .written("array_remove")
        .rewritten("array_remove_all"),
    scalar(ARRAYS, "array_length", &["array_length(string_to_array(t, '_'), 1)"])
        .rewritten("nullif(array_length(a, 1), 0)"),
    scalar(ARRAYS, "array_append", &["array_to_string(array_append(string_to_array(t, '_'), 'z'), ',')"]),
    scalar(ARRAYS, "array_prepend", &["array_to_string(array_prepend('z', string_to_array(t, '_')), ',')"]),
    scalar(
        ARRAYS,
        "array_concat",
        &["array_to_string(array_cat(string_to_array(t, '_'), string_to_array('x,y', ',')), ',')"],
    )
    .written("array_cat"),
    scalar(ARRAYS, "array_position", &["array_position(string_to_array(t, '_'), 'b')"]),
    operator(
        ARRAYS,
        "starmill any =",
        "= ANY (array)",
        &["i = ANY (ARRAY[1, NULL, id])", "'a' = ANY (string_to_array(t, '_'))"],
    ),
    operator(ARRAYS, "starmill any <>", "<> ANY (array)", &["i <> ANY (ARRAY[1, id])"]),
    operator(ARRAYS, "starmill any <", "< ANY (array)", &["i < ANY (ARRAY[1, NULL, 6])"]),
    operator(ARRAYS, "starmill any <=", "<= ANY (array)", &["n <= ANY (ARRAY[2.5, 0.05])"]),
    operator(ARRAYS, "starmill any >", "> ANY (array)", &["t > ANY (ARRAY['a', NULL])"]),
    operator(ARRAYS, "starmill any >=", ">= ANY (array)", &["day >= ANY (ARRAY[DATE '2024-03-31'])"]),
    operator(ARRAYS, "starmill all =", "= ALL (array)", &["i = ALL (ARRAY[1, id])"]),
    operator(
        ARRAYS,
        "starmill all <>",
        "<> ALL (array)",
        &["i <> ALL (ARRAY[6, NULL])", "t <> ALL (string_to_array('a,ab', ','))"],
    ),
    operator(ARRAYS, "starmill all <", "< ALL (array)", &["i < ALL (ARRAY[3, 7])"]),
    operator(ARRAYS, "starmill all <=", "<= ALL (array)", &["i <= ALL (ARRAY[1, NULL])"]),
    operator(ARRAYS, "starmill all >", "> ALL (array)", &["b > ALL (ARRAY[5, 6])"]),
    operator(
        ARRAYS,
        "starmill all >=",
        ">= ALL (array)",
        &["d >= ALL (ARRAY[2.5, 0.1]::double precision[])"],
    ),
    operator(
        ARRAYS,
        "starmill contains",
        "@>, <@ of arrays",
        &["string_to_array(t, '_') @> ARRAY['a']", "ARRAY['b', NULL] <@ string_to_array(t, '_')"],
    ),
    operator(ARRAYS, "starmill overlaps", "&& of arrays", &["string_to_array(t, '_') && ARRAY['b', 'z']"]),
    operator(
        ARRAYS,
        "starmill slice",
        "a[i:j]",
        &["array_to_string((string_to_array(t, '_'))[1:1], '|')", "cardinality((ARRAY[1, 2, 3])[2:9])"],
    ),
    scalar(ARRAYS, "array_upper", &["array_upper(string_to_array(t, '_'), 1)"]).ours(),
    scalar(ARRAYS, "array_lower", &["array_lower(string_to_array(t, '_'), 1)"]).ours(),
    scalar(
        ARRAYS,
        "generate_series",
        &["array_length(ARRAY(SELECT g FROM generate_series(1, 5, 2) AS g), 1)"],
    )
    .ours(),
    operator(
        ARRAYS,
        "starmill ordinals",
        "WITH ORDINALITY",
        &["(SELECT max(o.n) FROM unnest(ARRAY[7, 8]) WITH ORDINALITY AS o (x, n))"],
    ),
    operator(
        ARRAYS,
        "starmill or empty",
        "ARRAY(SELECT …)",
        &[
            "array_to_string(ARRAY(SELECT x.id FROM visit AS x ORDER BY x.id), ',')",
            "cardinality(ARRAY(SELECT x.id FROM visit AS x WHERE x.id > 7 ORDER BY 1))",
        ],
    ),
    operator(
        ARRAYS,
        "starmill nonempty",
        "LEFT JOIN LATERAL",
        &["(SELECT max(o.x) FROM unnest(ARRAY[7, 8]) AS o (x))"],
    ),
    operator(JSON, "starmill ->", "->", &["(attrs -> 'addr' -> 'city')::text", "(attrs -> 'size')::text"]),
    operator(JSON, "starmill ->>", "->>", &["attrs ->> 'size'", "attrs -> 'addr' ->> 'city'"]),
    operator(JSON, "starmill #>", "#>", &["(attrs #> '{addr,city}')::text"]),
    operator(
        JSON,
        "starmill #>>",
        "#>>",
        &["attrs #>> '{addr,city}'", "attrs #>> '{1}'", "attrs #>> ARRAY['addr', 'city']"],
    ),
    operator(JSON, "starmill ?", "?", &["attrs ? 'size'", "(attrs -> 'addr') ? 'city'"]),
    operator(JSON, "starmill ?|", "?|", &["attrs ?| ARRAY['x', 'size']"]),
    operator(JSON, "starmill ?&", "?&", &["attrs ?& ARRAY['addr', 'size']"]),
    operator(
        JSON,
        "starmill @>",
        "@>, <@",
        &["attrs @> '{\"size\": \"L\"}'", "'{\"addr\": {}}' <@ attrs", "attrs @> '[2]'"],
    ),
    operator(
        JSON,
        "starmill json",
        "jsonb_array_elements in FROM",
        &["(SELECT max(e ->> 'x') FROM jsonb_array_elements('[{\"x\": \"a\"}]') AS e)"],
    ),
    scalar(JSON, "jsonb_typeof", &["jsonb_typeof(attrs)", "jsonb_typeof(attrs -> 'size')"]).ours(),
    scalar(
        JSON,
        "jsonb_array_length",
        &["CASE WHEN jsonb_typeof(attrs) = 'array' THEN jsonb_array_length(attrs) END"],
    )
    .ours(),
    scalar(JSON, "jsonb_extract_path", &["jsonb_extract_path(attrs, 'addr', 'city')::text"]).ours(),
    scalar(JSON, "jsonb_extract_path_text", &["jsonb_extract_path_text(attrs, 'addr', 'city')"]).ours(),
    scalar(
        JSON,
        "jsonb_path_exists",
        &["jsonb_path_exists(attrs, '$.addr.city')", "jsonb_path_exists(attrs, '$[1]')"],
    )
    .ours(),
    scalar(
        JSON,
        "jsonb_path_query_first",
        &[
            "jsonb_path_query_first(attrs, '$.addr.city')::text",
            "jsonb_path_query_first(attrs, '$[last]')::text",
        ],
    )
    .ours(),
    scalar(JSON, "jsonb_path_query_array", &["jsonb_path_query_array(attrs, '$[*]')::text"]).ours(),
    scalar(
        JSON,
        "jsonb_path_query",
        &["(SELECT count(*) FROM jsonb_path_query('{\"a\": [1, 2]}', '$.a[*]') AS e)"],
    )
    .ours(),
    scalar(JSON, "jsonb_array_elements", &["(SELECT count(*) FROM jsonb_array_elements('[1, 2]') AS e)"])
        .ours(),
    scalar(
        JSON,
        "jsonb_array_elements_text",
        &["(SELECT max(e) FROM jsonb_array_elements_text('[\"a\", \"b\"]') AS e)"],
    )
    .ours(),
    scalar(
        JSON,
        "jsonb_object_keys",
        &["(SELECT max(k) FROM jsonb_object_keys('{\"a\": 1, \"b\": 2}') AS k)"],
    )
    .ours(),
    operator(
        JSON,
        "starmill json values",
        "jsonb_each",
        &["(SELECT max((e.value)::text) FROM jsonb_each('{\"a\": 1, \"b\": 2}') AS e)"],
    ),
    operator(
        JSON,
        "starmill json texts",
        "jsonb_each_text",
        &["(SELECT max(e.value) FROM jsonb_each_text('{\"a\": 1, \"b\": null}') AS e)"],
    ),
    operator(
        ARRAYS,
        "starmill array",
        "a column of arrays",
        &[
            "tags",
            "cardinality(tags)",
            "tags[1]",
            "1 = ANY (tags)",
            "tags @> ARRAY[1]",
            "array_to_string(tags, '|')",
        ],
    ),
    operator(
        JSON,
        "starmill jsonb",
        "::jsonb",
        &["('{\"b\":1.50,\"a\":[1e2,null]}'::jsonb)::text", "attrs @> '{\"size\": \"L\"}'::jsonb"],
    ),
    operator(
        JSON,
        "starmill jsonb compared",
        "=, <> of jsonb",
        &["attrs -> 'size' = '\"L\"'", "attrs = '{}'::jsonb", "'[1.0]'::jsonb = '[1]'::jsonb"],
    ),
    scalar(ARRAYS, "regexp_split_to_array", &["array_to_string(regexp_split_to_array(t, '[_.]'), '|')"])
        .ours(),
    operator(
        ARRAYS,
        "starmill element",
        "a[i]",
        &["tags[1]", "tags[-1]", "tags[array_length(tags, 1)]", "(string_to_array(t, '_'))[id]"],
    ),
    operator(
        JSON,
        "starmill json as it is",
        "::json",
        &["'{\"a\": 1.50}'::json ->> 'a'", "('{\"b\":1}'::json)::text"],
    ),
];
