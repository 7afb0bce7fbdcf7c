-- Posts and their comments, by day of the post (in the pipeline's time zone) and author.
-- The comments are counted a post first: joined as they are, each post would count once a comment.
-- Owner: blog
WITH commented AS (
    SELECT post_id, count(*) AS comment_count
    FROM comments
    GROUP BY post_id
)
SELECT
    CAST(p.created_at AS date) AS day,
    p.author_id,
    count(*) AS post_count,
    CAST(coalesce(sum(c.comment_count), 0) AS bigint) AS comment_count
FROM posts AS p
LEFT JOIN commented AS c ON c.post_id = p.id
GROUP BY CAST(p.created_at AS date), p.author_id
