-- The shop's normalized tables. The same DDL types the CSV files beside it and makes the tables
-- in Postgres.

CREATE TABLE customers (
    customer_id integer PRIMARY KEY,
    full_name text NOT NULL,
    email text
);

CREATE TABLE addresses (
    address_id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers (customer_id),
    street text NOT NULL,
    city text NOT NULL,
    postcode varchar(12)
);

CREATE TABLE shipping_carriers (
    carrier_id integer PRIMARY KEY,
    carrier_name text NOT NULL
);

CREATE TABLE categories (
    category_id integer PRIMARY KEY,
    name text NOT NULL,
    parent_id integer REFERENCES categories (category_id)
);

CREATE TABLE products (
    product_id integer PRIMARY KEY,
    product_name text NOT NULL,
    category_id integer NOT NULL REFERENCES categories (category_id),
    unit_price numeric(10,2) NOT NULL,
    attributes jsonb NOT NULL
);

CREATE TABLE orders (
    order_id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers (customer_id),
    address_id integer NOT NULL REFERENCES addresses (address_id),
    carrier_id integer REFERENCES shipping_carriers (carrier_id),
    ordered_at timestamptz NOT NULL,
    order_total numeric(10,2)
);

CREATE TABLE order_items (
    item_id integer PRIMARY KEY,
    order_id integer NOT NULL REFERENCES orders (order_id),
    product_id integer NOT NULL REFERENCES products (product_id),
    quantity integer NOT NULL,
    line_total numeric(10,2) NOT NULL
);
