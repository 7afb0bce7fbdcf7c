-- One row a user: what every page reads.
-- Owner: blog
SELECT
    id AS user_id,
    name,
    email,          -- NULL: never given
    created_at
FROM users
