-- Sales by day, in the pipeline's time zone, and category.
-- Owner: sales analytics
SELECT
    CAST(f.ordered_at AS date) AS day,
    coalesce(p.category_path, 'unknown') AS category,
    count(*) AS item_count,
    count(DISTINCT f.order_id) AS order_count, -- orders of this category; not additive over categories
    sum(f.quantity) AS quantity,
    sum(f.line_total) AS revenue
FROM fact_order_items AS f
LEFT JOIN dim_product AS p ON p.product_key = f.product_key
GROUP BY CAST(f.ordered_at AS date), coalesce(p.category_path, 'unknown')
