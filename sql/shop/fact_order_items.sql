-- One row an order item; starmill adds the keys into every dimension.
-- Owner: sales analytics
SELECT
    i.item_id,
    i.order_id,
    o.customer_id,
    i.product_id,
    o.carrier_id,   -- NULL until the order is handed over
    o.ordered_at,
    i.quantity,
    i.line_total    -- the price at the time of the order
FROM order_items AS i
LEFT JOIN orders AS o ON o.order_id = i.order_id
