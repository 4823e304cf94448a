-- The shop's database. Each SELECT writes the statements that are still missing, \gexec runs them: psql prints what it
-- did ("CREATE ROLE", ...) and nothing when all was there.

-- The shop comes over the Unix socket as the system user of the same name (peer authentication): there is no password.
SELECT 'CREATE ROLE shop LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop') \gexec
-- For dashboards with live product data. It cannot log in by network before someone gives it a password.
SELECT 'CREATE ROLE shop_grafana LOGIN CONNECTION LIMIT 10'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop_grafana') \gexec
SELECT 'ALTER ROLE shop_grafana SET default_transaction_read_only = on'
WHERE NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setrole = 'shop_grafana'::regrole) \gexec
SELECT $$CREATE DATABASE shop TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'$$
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'shop') \gexec

\set QUIET on
\connect shop
\set QUIET off

SELECT 'CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL, price numeric(8, 2) NOT NULL, stock integer NOT NULL)'
WHERE to_regclass('public.products') IS NULL \gexec
SELECT $$
  INSERT INTO products (id, name, price, stock) VALUES
    (1, 'espresso cup', 6.50, 120), (2, 'tea pot', 24.90, 35), (3, 'milk jug', 12.00, 60), (4, 'bread knife', 39.00, 20),
    (5, 'cutting board', 29.50, 25), (6, 'salt mill', 34.00, 18), (7, 'pepper mill', 34.00, 22), (8, 'soup plate', 9.80, 200),
    (9, 'dessert plate', 7.20, 180), (10, 'wine glass', 11.40, 150), (11, 'water glass', 4.60, 240), (12, 'carafe', 27.00, 30),
    (13, 'cast iron pan', 79.00, 12), (14, 'sauce pan', 54.00, 16), (15, 'whisk', 8.90, 75), (16, 'ladle', 10.50, 64),
    (17, 'colander', 19.90, 40), (18, 'apron', 22.00, 48), (19, 'oven glove', 14.50, 55), (20, 'kitchen scale', 44.00, 14)
$$ WHERE NOT EXISTS (SELECT FROM products) \gexec
SELECT format('GRANT SELECT ON products TO %I', name) FROM unnest(ARRAY['shop', 'shop_grafana']) AS name
WHERE NOT has_table_privilege(name, 'products', 'SELECT') \gexec
