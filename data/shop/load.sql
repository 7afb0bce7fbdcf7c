-- Loads the sample into an empty database: psql "$SHOP_SOURCE" -f data/shop/load.sql
-- Run it from the project's folder: \copy reads the files from where psql was started.
\set ON_ERROR_STOP on
BEGIN;
\ir schema.sql
\copy customers FROM 'data/shop/customers.csv' WITH (FORMAT csv, HEADER)
\copy addresses FROM 'data/shop/addresses.csv' WITH (FORMAT csv, HEADER)
\copy shipping_carriers FROM 'data/shop/shipping_carriers.csv' WITH (FORMAT csv, HEADER)
\copy categories FROM 'data/shop/categories.csv' WITH (FORMAT csv, HEADER)
\copy products FROM 'data/shop/products.csv' WITH (FORMAT csv, HEADER)
\copy orders FROM 'data/shop/orders.csv' WITH (FORMAT csv, HEADER)
\copy order_items FROM 'data/shop/order_items.csv' WITH (FORMAT csv, HEADER)
COMMIT;
ANALYZE;
