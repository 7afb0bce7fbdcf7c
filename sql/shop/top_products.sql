-- The ten best products of each category, by revenue; the lower product number wins a tie.
-- Owner: sales analytics
WITH sales AS (
    SELECT product_key, sum(quantity) AS quantity, sum(line_total) AS revenue
    FROM fact_order_items
    GROUP BY product_key
),
ranked AS (
    SELECT
        coalesce(p.category_path, 'unknown') AS category,
        row_number() OVER (
            PARTITION BY coalesce(p.category_path, 'unknown')
            ORDER BY s.revenue DESC, p.product_id
        ) AS rank,
        p.product_id,
        p.product_name,
        s.quantity,
        s.revenue
    FROM sales AS s
    JOIN dim_product AS p ON p.product_key = s.product_key
)
SELECT category, rank, product_id, product_name, quantity, revenue
FROM ranked
WHERE rank <= 10
