-- One row a user: what only the page of a profile reads.
-- Owner: blog
SELECT
    id AS user_id,
    bio,                                    -- NULL: never written; empty: removed
    settings,                               -- as the application keeps them
    settings ->> 'theme' AS theme,
    settings ->> 'language' AS language
FROM users
