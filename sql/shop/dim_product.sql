-- One row a product, its category flattened, its JSON attributes as columns.
-- Owner: sales analytics
WITH RECURSIVE paths AS (
    SELECT category_id, name, name AS path
    FROM categories
    WHERE parent_id IS NULL
    UNION ALL
    SELECT c.category_id, c.name, p.path || ' > ' || c.name
    FROM categories AS c
    JOIN paths AS p ON p.category_id = c.parent_id
)
SELECT
    p.product_id,
    p.product_name,
    c.name AS category,
    c.path AS category_path,          -- from the top: Home > Kitchen > Basics
    p.unit_price,                     -- today's price; what was paid is in the fact
    p.attributes ->> 'color' AS color,
    p.attributes ->> 'size' AS size
FROM products AS p
LEFT JOIN paths AS c ON c.category_id = p.category_id
