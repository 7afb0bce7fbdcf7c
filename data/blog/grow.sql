-- Grows the blog's schema in an empty database, the same rows every time:
--   psql "$BLOG_SOURCE" -f data/blog/grow.sql                 100,000 users, 1,000,000 posts and follows,
--                                                             5,000,000 comments and likes
--   psql "$BLOG_SOURCE" -v users=10000 -f data/blog/grow.sql  everything in proportion
\set ON_ERROR_STOP on
\if :{?users}
\else
    \set users 100000
\endif
BEGIN;
\ir schema.sql

-- Every fortieth has no bio, every ninetieth an empty one.
INSERT INTO users (id, name, email, bio, settings, created_at)
SELECT
    n,
    'User ' || n,
    CASE WHEN n % 20 <> 0 THEN 'user' || n || '@example.com' END,
    CASE WHEN n % 90 = 0 THEN '' WHEN n % 40 <> 0 THEN repeat('Writes about ' || n % 97 || '. ', n % 7 + 1) END,
    jsonb_build_object('theme', (ARRAY['light', 'dark'])[n % 2 + 1], 'language', (ARRAY['en', 'de', 'fr'])[n % 3 + 1], 'mails', n % 4 = 0),
    timestamptz '2023-01-01 00:00:00+00' + n * (interval '700 days' / :users)
FROM generate_series(1, :users) AS n;

-- Ten posts a user on average; every fiftieth user has none, the one before has twice as many.
INSERT INTO posts (id, title, body, author_id, created_at)
SELECT
    n,
    'Post ' || n,
    repeat('Sentence ' || n % 991 || '. ', n % 30 + 5),
    CASE WHEN author % 50 = 0 THEN author - 1 ELSE author END,
    timestamptz '2024-01-01 00:00:00+00' + n * (interval '700 days' / (:users * 10))
FROM generate_series(1, :users * 10) AS n
CROSS JOIN LATERAL (SELECT (n::bigint * 7919 % :users + 1)::integer AS author) AS a;

-- Five comments a post on average; every tenth post has none, the next twice as many.
INSERT INTO comments (id, post_id, author_id, body, created_at)
SELECT
    n,
    CASE WHEN post % 10 = 0 THEN post - 1 ELSE post END,
    (n::bigint * 104729 % :users + 1)::integer,
    'Comment ' || n,
    timestamptz '2024-01-02 00:00:00+00' + n * (interval '700 days' / (:users * 50))
FROM generate_series(1, :users * 50) AS n
CROSS JOIN LATERAL (SELECT (n::bigint * 15485863 % (:users * 10) + 1)::integer AS post) AS p;

INSERT INTO likes (user_id, post_id, created_at)
SELECT (post::bigint * 31 + number * 20011) % :users + 1, post, timestamptz '2024-01-02 00:00:00+00' + post * (interval '700 days' / (:users * 10))
FROM generate_series(1, :users * 10) AS post
CROSS JOIN generate_series(1, CASE WHEN post % 25 = 0 THEN 0 ELSE 5 END) AS number
ON CONFLICT DO NOTHING;

-- Every user but each hundredth follows ten.
INSERT INTO follows (follower_id, following_id, created_at)
SELECT follower, (follower - 1 + number * 9973) % :users + 1, timestamptz '2024-01-01 00:00:00+00' + follower * interval '1 second'
FROM generate_series(1, :users) AS follower
CROSS JOIN generate_series(1, CASE WHEN follower % 100 = 0 THEN 0 ELSE 10 END) AS number
ON CONFLICT DO NOTHING;

CREATE INDEX ON posts (author_id);
CREATE INDEX ON comments (post_id);
CREATE INDEX ON comments (author_id);
CREATE INDEX ON likes (post_id);
CREATE INDEX ON follows (following_id);
COMMIT;
VACUUM ANALYZE;
