-- One row a post in somebody's feed: the newest fifty of those whom they follow; of two of one instant the later number.
-- Owner: blog
WITH waiting AS (
    SELECT
        f.follower_id AS user_id,
        p.id AS post_id,
        p.author_id,
        p.created_at,
        row_number() OVER (PARTITION BY f.follower_id ORDER BY p.created_at DESC, p.id DESC) AS place
    FROM follows AS f
    JOIN posts AS p ON p.author_id = f.following_id
)
SELECT
    w.user_id,
    w.post_id,
    w.created_at,
    w.author_id,
    u.name AS author_name           -- as they are now
FROM waiting AS w
LEFT JOIN users AS u ON u.id = w.author_id
WHERE w.place <= 50
