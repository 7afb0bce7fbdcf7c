-- Loads the sample into an empty database: psql "$BLOG_SOURCE" -f data/blog/load.sql
-- Run it from the project's folder: \copy reads the files from where psql was started.
\set ON_ERROR_STOP on
BEGIN;
\ir schema.sql
\copy users FROM 'data/blog/users.csv' WITH (FORMAT csv, HEADER)
\copy posts FROM 'data/blog/posts.csv' WITH (FORMAT csv, HEADER)
\copy comments FROM 'data/blog/comments.csv' WITH (FORMAT csv, HEADER)
\copy likes FROM 'data/blog/likes.csv' WITH (FORMAT csv, HEADER)
\copy follows FROM 'data/blog/follows.csv' WITH (FORMAT csv, HEADER)
COMMIT;
ANALYZE;
