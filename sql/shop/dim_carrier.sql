-- One row a shipping carrier.
-- Owner: sales analytics
SELECT carrier_id, carrier_name
FROM shipping_carriers
