-- One row a user, who never wrote included.
-- Owner: blog
WITH written AS (
    SELECT author_id, count(*) AS post_count
    FROM posts
    GROUP BY author_id
),
said AS (
    SELECT author_id, count(*) AS comment_count
    FROM comments
    GROUP BY author_id
),
followed AS (
    SELECT following_id, count(*) AS follower_count
    FROM follows
    GROUP BY following_id
),
following AS (
    SELECT follower_id, count(*) AS following_count
    FROM follows
    GROUP BY follower_id
)
SELECT
    u.id AS user_id,
    u.name,
    coalesce(w.post_count, 0) AS post_count,
    coalesce(s.comment_count, 0) AS comment_count,      -- comments that they wrote
    coalesce(d.follower_count, 0) AS follower_count,    -- those who follow them
    coalesce(g.following_count, 0) AS following_count   -- those whom they follow
FROM users AS u
LEFT JOIN written AS w ON w.author_id = u.id
LEFT JOIN said AS s ON s.author_id = u.id
LEFT JOIN followed AS d ON d.following_id = u.id
LEFT JOIN following AS g ON g.follower_id = u.id
