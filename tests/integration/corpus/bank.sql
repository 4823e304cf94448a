-- A bank: accounts, transfers, balances, risk, reports to the authorities.
CREATE TABLE bank.accounts (iban String, owner UInt64, opened Date, currency FixedString(3), closed Nullable(Date), kind Enum8('giro' = 1, 'saving' = 2))
ENGINE = ReplacingMergeTree(opened) ORDER BY iban

CREATE TABLE bank.transfers (id UInt128, booked DateTime64(6, 'UTC'), debit String, credit String, amount Decimal(38, 6), purpose String, hash FixedString(32))
ENGINE = MergeTree PARTITION BY toYYYYMM(booked) ORDER BY (debit, booked, id)

CREATE TABLE bank.balances (iban String, amount SimpleAggregateFunction(sum, Decimal(38, 6)), last SimpleAggregateFunction(max, DateTime64(6, 'UTC')))
ENGINE = AggregatingMergeTree ORDER BY iban

CREATE MATERIALIZED VIEW bank.balances_debit TO bank.balances AS SELECT debit AS iban, sum(-amount) AS amount, max(booked) AS last FROM bank.transfers GROUP BY iban

CREATE MATERIALIZED VIEW bank.balances_credit TO bank.balances AS SELECT credit AS iban, sum(amount) AS amount, max(booked) AS last FROM bank.transfers GROUP BY iban

CREATE VIEW bank.balance AS SELECT iban, sum(amount) AS amount FROM bank.balances GROUP BY iban

CREATE TABLE bank.rates (currency FixedString(3), day Date, rate Float64) ENGINE = ReplacingMergeTree ORDER BY (currency, day)

CREATE DICTIONARY bank.rates_by_day (currency String, first Date, last Date, rate Float64) PRIMARY KEY currency
SOURCE(CLICKHOUSE(QUERY 'SELECT toString(currency) AS currency, day AS first, day AS last, rate FROM bank.rates')) LAYOUT(RANGE_HASHED()) RANGE(MIN first MAX last)
LIFETIME(3600)

CREATE TABLE bank.cards (number_hash UInt64, iban String, valid Date, state Enum8('new' = 0, 'active' = 1, 'blocked' = 2)) ENGINE = ReplacingMergeTree ORDER BY number_hash

CREATE TABLE bank.card_uses (card UInt64, at DateTime, merchant LowCardinality(String), cents Int64, place Tuple(Float64, Float64), online Bool)
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (card, at) SETTINGS min_rows_for_wide_part = 0

CREATE TABLE bank.merchants_daily (day Date, merchant LowCardinality(String), uses UInt64, cents Int64) ENGINE = SummingMergeTree ORDER BY (merchant, day)

CREATE MATERIALIZED VIEW bank.merchants_daily_mv TO bank.merchants_daily AS
SELECT toDate(at) AS day, merchant, count() AS uses, sum(cents) AS cents FROM bank.card_uses GROUP BY day, merchant

CREATE VIEW bank.impossible_travel AS SELECT card, at, geoDistance(place.1, place.2, lagInFrame(place.1) OVER w, lagInFrame(place.2) OVER w) AS meters
FROM bank.card_uses WINDOW w AS (PARTITION BY card ORDER BY at)

CREATE TABLE bank.risk_scores (iban String, model LowCardinality(String), score Float32, features Array(Float32), at DateTime) ENGINE = MergeTree ORDER BY (model, iban)

CREATE VIEW bank.risky AS WITH (SELECT avg(score) FROM bank.risk_scores) AS mean SELECT iban, score FROM bank.risk_scores WHERE score > mean * 2

CREATE TABLE bank.loans (id UInt64, iban String, granted Date, principal Decimal(18, 2), percent Decimal(5, 3), months UInt16, CONSTRAINT some CHECK months > 0)
ENGINE = MergeTree ORDER BY id

CREATE TABLE bank.installments (loan UInt64, due Date, amount Decimal(18, 2), paid Nullable(Date)) ENGINE = MergeTree ORDER BY (loan, due)

CREATE VIEW bank.overdue AS SELECT loan, count() AS missing FROM bank.installments WHERE paid IS NULL AND due < '2024-01-01' GROUP BY loan

CREATE TABLE bank.documents (id UUID, owner UInt64, kind String, body String CODEC(ZSTD(15)), uploaded DateTime) ENGINE = MergeTree ORDER BY (owner, id)
TTL uploaded + INTERVAL 10 YEAR

CREATE TABLE bank.audit (at DateTime64(3), clerk LowCardinality(String), action LowCardinality(String), before String, after String, day Date MATERIALIZED toDate(at))
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (clerk, at) COMMENT 'kept for ever'

CREATE VIEW bank.clerks AS SELECT clerk, groupUniqArray(action) AS actions FROM bank.audit GROUP BY clerk

CREATE TABLE bank.reports (quarter UInt16, sheet String, cells Map(String, Decimal(38, 2))) ENGINE = MergeTree ORDER BY (quarter, sheet)

CREATE VIEW bank.totals AS SELECT quarter, sumMap(cells) AS cells FROM bank.reports GROUP BY quarter

CREATE TABLE bank.sanctions (name String, list LowCardinality(String), tokens Array(String) MATERIALIZED splitByNonAlpha(lower(name))) ENGINE = MergeTree ORDER BY name

CREATE VIEW bank.matches AS SELECT a.owner AS owner, s.name AS name FROM bank.accounts AS a CROSS JOIN bank.sanctions AS s WHERE toString(a.owner) = s.name

CREATE TABLE bank.orders_in (id UInt64, text String) ENGINE = URL('http://127.0.0.1:1/orders', JSONEachRow)

CREATE TABLE bank.old_core (id UInt64, name String) ENGINE = PostgreSQL('127.0.0.1:1', 'core', 'accounts', 'reader', 'hunter2')

CREATE TABLE bank.old_cards (id UInt64, name String) ENGINE = MySQL('127.0.0.1:1', 'cards', 'cards', 'reader', 'hunter2')

CREATE TABLE bank.exports (id UInt64, name String) ENGINE = S3('http://127.0.0.1:1/bucket/export.csv', 'key', 'hunter2', 'CSV')

CREATE FUNCTION bank_cents AS amount -> toInt64(round(amount * 100))

CREATE VIEW bank.in_cents AS SELECT id, bank_cents(amount) AS cents FROM bank.transfers
