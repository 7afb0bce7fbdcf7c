-- One row an order, orders without items included: six tables flattened into one lookup.
-- Owner: sales analytics
WITH lines AS (
    SELECT
        i.order_id,
        count(*) AS item_count,
        sum(i.line_total) AS order_total,
        string_agg(p.product_name, ', ' ORDER BY i.item_id) AS product_names
    FROM order_items AS i
    LEFT JOIN products AS p ON p.product_id = i.product_id
    GROUP BY i.order_id
)
SELECT
    o.order_id,
    o.ordered_at,
    o.customer_id,
    c.full_name AS customer_name,                       -- as they are now
    a.city AS shipping_city,
    s.carrier_name,                                     -- NULL until the order is handed over
    coalesce(l.item_count, 0) AS item_count,
    coalesce(l.order_total, CAST(0 AS numeric(20,2))) AS order_total, -- the sum of the items, never the stored column
    l.product_names,                                    -- in the order of the items
    c.full_name AS customer_name_at_order,              -- as they were when the order was first seen
    a.city AS city_at_order
FROM orders AS o
LEFT JOIN customers AS c ON c.customer_id = o.customer_id
LEFT JOIN addresses AS a ON a.address_id = o.address_id
LEFT JOIN shipping_carriers AS s ON s.carrier_id = o.carrier_id
LEFT JOIN lines AS l ON l.order_id = o.order_id
