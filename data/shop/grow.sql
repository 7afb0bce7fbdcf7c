-- Grows the shop's schema in an empty database, the same rows every time:
--   psql "$SHOP_SOURCE" -f data/shop/grow.sql                   500,000 orders, 1,500,000 items
--   psql "$SHOP_SOURCE" -v orders=5000000 -f data/shop/grow.sql
\set ON_ERROR_STOP on
\if :{?orders}
\else
    \set orders 500000
\endif
BEGIN;
\ir schema.sql

INSERT INTO customers (customer_id, full_name, email)
SELECT n, 'Customer ' || n, CASE WHEN n % 20 <> 0 THEN 'customer' || n || '@example.com' END
FROM generate_series(1, greatest(:orders / 5, 10)) AS n;

INSERT INTO addresses (address_id, customer_id, street, city, postcode)
SELECT n, n, 'Street ' || n % 977, 'City ' || n % 300, lpad((n % 99999)::text, 5, '0')
FROM generate_series(1, greatest(:orders / 5, 10)) AS n;

INSERT INTO shipping_carriers (carrier_id, carrier_name)
SELECT n, 'Carrier ' || n
FROM generate_series(1, 8) AS n;

INSERT INTO categories (category_id, name, parent_id)
SELECT n, 'Category ' || n, CASE WHEN n > 5 THEN (n - 6) % 20 + 1 END
FROM generate_series(1, 60) AS n;

INSERT INTO products (product_id, product_name, category_id, unit_price, attributes)
SELECT
    n,
    'Product ' || n,
    n % 60 + 1,
    (n * 7919 % 30000 + 199)::numeric(10,2) / 100,
    jsonb_build_object('color', (ARRAY['red', 'blue', 'green'])[n % 3 + 1], 'size', (ARRAY['S', 'M', 'L'])[n % 3 + 1])
FROM generate_series(1, 5000) AS n;

-- Three items an order on average; every fiftieth order has none.
INSERT INTO orders (order_id, customer_id, address_id, carrier_id, ordered_at, order_total)
SELECT
    n,
    n::bigint * 7919 % greatest(:orders / 5, 10) + 1,
    n::bigint * 7919 % greatest(:orders / 5, 10) + 1,
    CASE WHEN n % 100 <> 0 THEN n % 8 + 1 END,
    timestamptz '2024-01-01 00:00:00+00' + n * (interval '1000 days' / :orders),
    0
FROM generate_series(1, :orders) AS n;

INSERT INTO order_items (item_id, order_id, product_id, quantity, line_total)
SELECT
    n,
    CASE WHEN o.order_id % 50 = 0 THEN o.order_id - 1 ELSE o.order_id END,
    o.product,
    n % 4 + 1,
    p.unit_price * (n % 4 + 1)
FROM generate_series(1, :orders * 3) AS n
CROSS JOIN LATERAL (SELECT ((n - 1) / 3 + 1)::integer AS order_id, (n::bigint * 104729 % 5000 + 1)::integer AS product) AS o
JOIN products AS p ON p.product_id = o.product;

CREATE INDEX ON addresses (customer_id);
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON order_items (order_id);
CREATE INDEX ON order_items (product_id);

UPDATE orders AS o
SET order_total = t.total
FROM (SELECT order_id, sum(line_total) AS total FROM order_items GROUP BY order_id) AS t
WHERE t.order_id = o.order_id AND o.order_id % 1000 <> 0;
COMMIT;
VACUUM ANALYZE;
