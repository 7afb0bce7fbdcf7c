-- One row a customer, as they are now.
-- Owner: sales analytics
SELECT
    customer_id, -- the shop's own number
    full_name,
    email        -- NULL: never given; empty: withdrawn
FROM customers
