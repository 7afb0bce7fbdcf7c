-- One row a post: its author embedded, its comments and likes counted.
-- Owner: blog
WITH commented AS (
    SELECT post_id, count(*) AS comment_count
    FROM comments
    GROUP BY post_id
),
liked AS (
    SELECT post_id, count(*) AS like_count
    FROM likes
    GROUP BY post_id
)
SELECT
    p.id AS post_id,
    p.title,
    p.body,
    p.created_at,
    p.author_id,
    u.name AS author_name,                              -- as they are now
    u.email AS author_email,
    coalesce(c.comment_count, 0) AS comment_count,
    coalesce(l.like_count, 0) AS like_count
FROM posts AS p
LEFT JOIN users AS u ON u.id = p.author_id
LEFT JOIN commented AS c ON c.post_id = p.id
LEFT JOIN liked AS l ON l.post_id = p.id
