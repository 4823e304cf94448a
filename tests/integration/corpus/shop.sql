-- A shop: what it sells, to whom, and what its managers look at.
CREATE TABLE shop.customers (id UInt64, mail String, name String, country FixedString(2), created DateTime DEFAULT now(), gone Bool DEFAULT false)
ENGINE = ReplacingMergeTree(created) ORDER BY id

CREATE TABLE shop.addresses (customer UInt64, kind Enum8('home' = 1, 'work' = 2), street String, zip String, city LowCardinality(String))
ENGINE = MergeTree ORDER BY (customer, kind)

CREATE TABLE shop.products (sku String, title String, price Decimal(12, 2), weight Nullable(Float32), tags Array(String), changed DateTime)
ENGINE = ReplacingMergeTree(changed) PARTITION BY cityHash64(sku) % 4 ORDER BY sku

CREATE TABLE shop.orders (id UInt64, customer UInt64, placed DateTime, status Enum8('open' = 1, 'paid' = 2, 'sent' = 3), total Decimal(12, 2))
ENGINE = MergeTree PARTITION BY toYYYYMM(placed) ORDER BY (customer, placed, id)

CREATE TABLE shop.lines (order UInt64, position UInt8, sku String, quantity UInt16, price Decimal(12, 2), sum Decimal(18, 2) MATERIALIZED quantity * price)
ENGINE = MergeTree ORDER BY (order, position)

CREATE TABLE shop.payments (id UUID, order UInt64, at DateTime64(3, 'UTC'), method LowCardinality(String), cents Int64, raw String CODEC(ZSTD(6)))
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (order, at) TTL toDateTime(at) + INTERVAL 10 YEAR

CREATE TABLE shop.returns (order UInt64, sku String, at Date, reason String, INDEX by_reason reason TYPE ngrambf_v1(3, 256, 2, 0) GRANULARITY 1)
ENGINE = MergeTree ORDER BY (order, sku)

CREATE TABLE shop.stock (warehouse UInt16, sku String, delta Int32, at DateTime) ENGINE = MergeTree ORDER BY (warehouse, sku, at)

CREATE TABLE shop.stock_now (warehouse UInt16, sku String, amount Int64) ENGINE = SummingMergeTree ORDER BY (warehouse, sku)

CREATE MATERIALIZED VIEW shop.stock_now_mv TO shop.stock_now AS
SELECT warehouse, sku, sum(delta) AS amount FROM shop.stock GROUP BY warehouse, sku

CREATE TABLE shop.carts (session UUID, customer Nullable(UInt64), items Nested(sku String, quantity UInt8), at DateTime)
ENGINE = MergeTree ORDER BY session TTL at + INTERVAL 2 DAY

CREATE TABLE shop.coupons (code String, percent UInt8, valid_from Date, valid_to Date, CONSTRAINT percentage CHECK percent <= 100)
ENGINE = ReplacingMergeTree ORDER BY code

CREATE TABLE shop.reviews (sku String, customer UInt64, stars UInt8, body String, at DateTime, PROJECTION by_customer (SELECT * ORDER BY customer))
ENGINE = MergeTree ORDER BY (sku, at)

CREATE TABLE shop.sales_daily (day Date, country FixedString(2), orders UInt64, revenue Decimal(38, 2)) ENGINE = SummingMergeTree
PARTITION BY toYear(day) ORDER BY (day, country)

CREATE TABLE shop.sales_by_status (status Enum8('open' = 1, 'paid' = 2, 'sent' = 3), day Date, orders SimpleAggregateFunction(sum, UInt64),
customers AggregateFunction(uniq, UInt64)) ENGINE = AggregatingMergeTree ORDER BY (status, day)

CREATE MATERIALIZED VIEW shop.sales_by_status_mv TO shop.sales_by_status AS
SELECT status, toDate(placed) AS day, count() AS orders, uniqState(customer) AS customers FROM shop.orders GROUP BY status, day

CREATE VIEW shop.open_orders AS SELECT id, customer, total FROM shop.orders WHERE status = 'open'

CREATE VIEW shop.best_customers AS SELECT customer, sum(total) AS spent FROM shop.orders GROUP BY customer ORDER BY spent DESC LIMIT 100

CREATE VIEW shop.order_lines AS SELECT o.id AS id, o.placed AS placed, l.sku AS sku, l.quantity AS quantity
FROM shop.orders AS o INNER JOIN shop.lines AS l ON l.order = o.id

CREATE VIEW shop.between_dates AS SELECT * FROM shop.orders WHERE placed BETWEEN {since:DateTime} AND {until:DateTime}

CREATE DICTIONARY shop.prices (sku String, price Float64, title String DEFAULT '?') PRIMARY KEY sku
SOURCE(CLICKHOUSE(QUERY 'SELECT sku, toFloat64(price) AS price, title FROM shop.products')) LAYOUT(HASHED()) LIFETIME(MIN 30 MAX 60)

CREATE DICTIONARY shop.customer_names (id UInt64, name String, country String) PRIMARY KEY id
SOURCE(CLICKHOUSE(TABLE 'customers' DB 'shop')) LAYOUT(HASHED_ARRAY()) LIFETIME(600)

CREATE VIEW shop.priced AS SELECT sku, quantity, dictGet('shop.prices', 'price', sku) AS now FROM shop.lines

CREATE TABLE shop.events (kind LowCardinality(String), at DateTime, payload String) ENGINE = Null

CREATE MATERIALIZED VIEW shop.events_kept (kind LowCardinality(String), at DateTime, payload String) ENGINE = MergeTree ORDER BY (kind, at)
AS SELECT * FROM shop.events WHERE kind != 'debug'

CREATE TABLE shop.events_all (kind LowCardinality(String), at DateTime, payload String) ENGINE = Merge('shop', '^events_k')

CREATE FUNCTION shop_net AS (gross, percent) -> gross / (1 + percent / 100)

CREATE VIEW shop.net AS SELECT id, shop_net(total, 19) AS net FROM shop.orders
