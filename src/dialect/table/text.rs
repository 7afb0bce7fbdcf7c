//! Texts and bytes.

use super::{BYTES, Line, TEXT, operator, scalar};

pub const LINES: &[Line] = &[
    scalar(TEXT, "character_length", &["length(t)", "char_length('größe')", "character_length(t)"])
        .written("length"),
    scalar(TEXT, "octet_length", &["octet_length(t)", "octet_length('größe')"]),
    scalar(TEXT, "bit_length", &["bit_length('größe')"]),
    scalar(TEXT, "lower", &["lower('APFEL')", "lower(t)"]).ours(),
    scalar(TEXT, "upper", &["upper('straße ﬁ')", "upper(t)"]).ours(),
    scalar(TEXT, "initcap", &["initcap('hELLO wORLD-o''neil x1y')"]).ours(),
    scalar(TEXT, "quote_literal", &["quote_literal(t)", "quote_literal('it''s')", "quote_literal('a\\b')"])
        .ours(),
    operator(
        TEXT,
        "starmill text",
        "::text",
        &[
            "d::text",
            "r::text",
            "made::text",
            "at::text",
            "(until - at)::text",
            "decode('00ff', 'hex')::text",
            "string_to_array(t, '_')::text",
            "t || d",
        ],
    ),
    operator(TEXT, "starmill letter", "concat(boolean)", &["concat(ok, t)", "concat_ws('-', ok, id, NULL)"]),
    scalar(TEXT, "left", &["left(t, 2)", "left(t, -2)", "left('größe', 3)"]),
    scalar(TEXT, "right", &["right(t, 2)", "right(t, -2)", "right('größe', 3)"]),
    scalar(
        TEXT,
        "substr",
        &["substr(t, 2)", "substring(t, 2, 3)", "substring(t FROM 2 FOR 2)", "substr(t, -1, 4)"],
    ),
    scalar(
        TEXT,
        "overlay",
        &["overlay(t PLACING 'xy' FROM 2)", "overlay('größe' PLACING 'xy' FROM 2 FOR 4)"],
    ),
    scalar(TEXT, "strpos", &["strpos(t, 'b')", "position('n' IN t)", "strpos(t, '')"]),
    scalar(TEXT, "replace", &["replace(t, 'a', 'xyz')", "replace(t, '', 'x')"]),
    scalar(TEXT, "translate", &["translate(t, 'ab', 'x')", "translate('größe', 'öß', 'os')"]),
    scalar(TEXT, "btrim", &["trim(t)", "btrim('xxaxx', 'x')", "trim(BOTH ' ' FROM '  a  ')"]),
    scalar(TEXT, "ltrim", &["ltrim('  a ')", "ltrim('xyxa', 'xy')"]),
    scalar(TEXT, "rtrim", &["rtrim(' a  ')", "rtrim('axyx', 'xy')"]),
    scalar(TEXT, "lpad", &["lpad(t, 5, '*')", "lpad(t, 2)"]),
    scalar(TEXT, "rpad", &["rpad(t, 5, '*')", "rpad(t, 2)"]),
    scalar(TEXT, "repeat", &["repeat(t, 2)", "repeat(t, 0)", "repeat(t, -1)"]).ours(),
    scalar(TEXT, "reverse", &["reverse(t)", "reverse('größe')"]),
    scalar(TEXT, "split_part", &["split_part(t, '_', 1)", "split_part(t, '_', -1)", "split_part(t, '_', 9)"]),
    scalar(TEXT, "starts_with", &["starts_with(t, 'a')"]),
    scalar(TEXT, "ascii", &["ascii(t)", "ascii('ö')"]),
    scalar(TEXT, "chr", &["chr(65)", "chr(246)"]),
    scalar(TEXT, "concat", &["concat(t, '-', i)", "concat(t, NULL, 'x')", "t || '-' || i"]),
    scalar(TEXT, "concat_ws", &["concat_ws('-', t, i, NULL, 'x')"]),
    scalar(TEXT, "regexp_replace", &["regexp_replace(t, '[ab]+', 'x')", "regexp_replace(t, 'a', 'x', 'g')"]),
    scalar(
        TEXT,
        "regexp_match",
        &["(regexp_match(t, '([a-z])_([a-z])'))[2]", "cardinality(regexp_match(t, '(a)(x)?'))"],
    )
    .ours(),
    scalar(TEXT, "md5", &["md5(t)"]),
    scalar(TEXT, "bpchar", &["t::bpchar = 'ab '"]).written("::bpchar").ours(),
    scalar(
        BYTES,
        "encode",
        &["encode(decode('6162', 'hex'), 'hex')", "encode(decode('00ff', 'hex'), 'hex')"],
    ),
    scalar(BYTES, "decode", &["encode(decode('YWI=', 'base64'), 'hex')"]),
    scalar(BYTES, "sha224", &["encode(sha224(decode('6162', 'hex')), 'hex')"]),
    scalar(BYTES, "sha256", &["encode(sha256(decode('6162', 'hex')), 'hex')"]),
    scalar(BYTES, "sha384", &["encode(sha384(decode('6162', 'hex')), 'hex')"]),
    scalar(BYTES, "sha512", &["encode(sha512(decode('6162', 'hex')), 'hex')"]),
    scalar(TEXT, "regexp_count", &["regexp_count(t, '[ab]')"]).ours(),
    scalar(TEXT, "regexp_like", &["regexp_like(t, '^a')", "regexp_like(t, 'A', 'i')"]).ours(),
    scalar(TEXT, "regexp_substr", &["regexp_substr(t, '[b-z]+')"]).ours(),
    scalar(
        TEXT,
        "format",
        &["format('%s-%s', id, t)", "format('%2$s %1$L %%', t, i)", "format('[%-5s|%5s]', t, ok)"],
    )
    .ours(),
];
