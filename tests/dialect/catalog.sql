-- What Postgres takes, by the types that travel here: src/dialect/table/catalog.txt, which
-- STARMILL_TEST_BLESS=1 tests/run the_catalog writes again from a server of version 15.
WITH known(name) AS (VALUES ('bool'),('int2'),('int4'),('int8'),('numeric'),('float4'),('float8'),('text'),('bpchar'),('varchar'),('bytea'),('date'),('time'),('timestamp'),('timestamptz'),('interval'),('json'),('jsonb'),('uuid'),('any'),('anyelement'),('anyarray'),('anynonarray'),('anyenum'),('anycompatible'),('anycompatiblearray'),('anycompatiblenonarray')),
said AS (
  SELECT y.oid, CASE WHEN e.oid IS NOT NULL AND e.typname IN (SELECT name FROM known) THEN e.typname || '[]'
    WHEN y.typname IN (SELECT name FROM known) THEN y.typname::text ELSE '-' END AS name
  FROM pg_type y LEFT JOIN pg_type e ON e.typarray = y.oid),
called AS (
  SELECT p.prokind::text AS kind, p.proname, p.provariadic <> 0 AS many, p.pronargdefaults, coalesce(g.aggkind::text, 'n') AS sorted,
    coalesce((SELECT string_agg(s.name, ',' ORDER BY u.o) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u(t, o) JOIN said s ON s.oid = u.t), '') AS args,
    EXISTS (SELECT 1 FROM unnest(p.proargtypes::oid[]) AS u(t) WHERE u.t IN ('internal'::regtype, 'cstring'::regtype)) AS "inner"
  FROM pg_proc p LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
  WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype, 'cstring'::regtype))
SELECT line FROM (
  SELECT DISTINCT CASE WHEN sorted <> 'n' THEN 'sorted' WHEN kind = 'a' THEN 'aggregate' WHEN kind = 'w' THEN 'window' ELSE 'function' END
    || ' ' || proname || '(' || args || CASE WHEN many THEN '...' ELSE '' END || ')' || CASE WHEN pronargdefaults > 0 THEN ' ' || pronargdefaults ELSE '' END AS line
  FROM called WHERE NOT "inner"
  UNION
  SELECT 'operator ' || o.oprname || '(' || CASE WHEN o.oprleft = 0 THEN '' ELSE l.name || ',' END || r.name || ')'
  FROM pg_operator o LEFT JOIN said l ON l.oid = o.oprleft JOIN said r ON r.oid = o.oprright WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND coalesce(l.name, '') <> '-' AND r.name <> '-'
  UNION
  SELECT CASE c.castcontext WHEN 'i' THEN 'implied ' ELSE 'cast ' END || s.name || ' ' || t.name
  FROM pg_cast c JOIN said s ON s.oid = c.castsource JOIN said t ON t.oid = c.casttarget WHERE s.name <> '-' AND t.name <> '-' AND c.castsource <> c.casttarget) AS lines ORDER BY line COLLATE "C"
