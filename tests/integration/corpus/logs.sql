-- Logs, traces and metrics of services.
CREATE TABLE logs.records (at DateTime64(9) CODEC(Delta, ZSTD(1)), service LowCardinality(String), severity Int8, body String CODEC(ZSTD(1)),
trace FixedString(32), attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)), INDEX by_trace trace TYPE bloom_filter(0.001) GRANULARITY 1,
INDEX by_key mapKeys(attributes) TYPE bloom_filter(0.01) GRANULARITY 1, INDEX by_body body TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8)
ENGINE = MergeTree PARTITION BY toDate(at) ORDER BY (service, toDateTime(at), at) TTL toDateTime(at) + toIntervalDay(30)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1

CREATE TABLE logs.spans (at DateTime64(9), trace String, span String, parent String, service LowCardinality(String), name LowCardinality(String),
duration UInt64 CODEC(ZSTD(1)), events Nested(at DateTime64(9), name LowCardinality(String)), status Enum8('unset' = 0, 'ok' = 1, 'error' = 2))
ENGINE = MergeTree PARTITION BY toDate(at) ORDER BY (service, name, toDateTime(at)) TTL toDate(at) + INTERVAL 7 DAY

CREATE TABLE logs.trace_times (trace String, first DateTime, last DateTime, INDEX by_trace trace TYPE bloom_filter(0.01))
ENGINE = MergeTree PARTITION BY toDate(first) ORDER BY (trace, first)

CREATE MATERIALIZED VIEW logs.trace_times_mv TO logs.trace_times AS
SELECT trace, min(at)::DateTime AS first, max(at)::DateTime AS last FROM logs.spans WHERE trace != '' GROUP BY trace

CREATE TABLE logs.severities (minute DateTime, service LowCardinality(String), severity Int8, records UInt64) ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(minute) ORDER BY (service, severity, minute) TTL minute + INTERVAL 1 YEAR

CREATE MATERIALIZED VIEW logs.severities_mv TO logs.severities AS
SELECT toStartOfMinute(at) AS minute, service, severity, count() AS records FROM logs.records GROUP BY minute, service, severity

CREATE TABLE logs.durations (hour DateTime, service LowCardinality(String), name LowCardinality(String), calls SimpleAggregateFunction(sum, UInt64),
slowest SimpleAggregateFunction(max, UInt64), quantiles AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), UInt64))
ENGINE = AggregatingMergeTree ORDER BY (service, name, hour)

CREATE MATERIALIZED VIEW logs.durations_mv TO logs.durations AS SELECT toStartOfHour(at) AS hour, service, name, count() AS calls, max(duration) AS slowest,
quantilesTDigestState(0.5, 0.95, 0.99)(duration) AS quantiles FROM logs.spans GROUP BY hour, service, name

CREATE VIEW logs.slow AS SELECT service, name, quantilesTDigestMerge(0.5, 0.95, 0.99)(quantiles)[3] AS p99 FROM logs.durations GROUP BY service, name

CREATE VIEW logs.errors AS SELECT at, service, body, attributes['exception.type'] AS exception FROM logs.records WHERE severity >= 17

CREATE VIEW logs.error_rate AS SELECT service, countIf(status = 'error') / count() AS rate FROM logs.spans GROUP BY service

CREATE VIEW logs.edges AS SELECT p.service AS caller, c.service AS callee, count() AS calls FROM logs.spans AS c
INNER JOIN logs.spans AS p ON p.span = c.parent AND p.trace = c.trace WHERE p.service != c.service GROUP BY caller, callee

CREATE TABLE logs.metrics_sum (service LowCardinality(String), metric LowCardinality(String), at DateTime64(9), value Float64 CODEC(Gorilla, ZSTD(1)),
attributes Map(String, String), monotonic Bool) ENGINE = MergeTree PARTITION BY toDate(at) ORDER BY (service, metric, toUnixTimestamp64Nano(at))

CREATE TABLE logs.metrics_histogram (metric LowCardinality(String), at DateTime64(9), bounds Array(Float64), counts Array(UInt64), total UInt64,
PROJECTION totals (SELECT metric, sum(total) GROUP BY metric)) ENGINE = MergeTree PARTITION BY toDate(at) ORDER BY (metric, at)

CREATE VIEW logs.rates AS SELECT metric, at, value - lagInFrame(value) OVER (PARTITION BY metric ORDER BY at) AS delta FROM logs.metrics_sum

CREATE TABLE logs.deploys (service String, version String, at DateTime, by String DEFAULT 'ci') ENGINE = MergeTree ORDER BY (service, at)

CREATE VIEW logs.since_deploy AS SELECT r.service AS service, d.version AS version, count() AS records FROM (SELECT service::String AS service,
at::DateTime AS at FROM logs.records) AS r ASOF LEFT JOIN logs.deploys AS d ON d.service = r.service AND d.at <= r.at GROUP BY service, version

CREATE TABLE logs.alerts (rule String, fired DateTime, resolved Nullable(DateTime), labels Map(String, String), value Float64)
ENGINE = ReplacingMergeTree ORDER BY (rule, fired) PARTITION BY toYYYYMM(fired)

CREATE TABLE logs.samples (at DateTime64(9), service LowCardinality(String), severity Int8, body String)
ENGINE = Buffer('logs', 'records', 1, 10, 100, 1000, 10000, 100000, 1000000)

CREATE TABLE logs.everywhere (at DateTime64(9), service LowCardinality(String), severity Int8, body String)
ENGINE = Distributed('one', 'logs', 'records', rand())

CREATE TABLE logs.archive (day Date, service String, lines UInt64) ENGINE = StripeLog

CREATE TABLE logs.raw_json (at DateTime, data JSON(level String, code Nullable(Int32), SKIP password)) ENGINE = MergeTree ORDER BY at

CREATE VIEW logs.json_levels AS SELECT data.level AS level, count() AS n FROM logs.raw_json GROUP BY level

CREATE MATERIALIZED VIEW logs.last_errors ENGINE = ReplacingMergeTree(at) ORDER BY service AS
SELECT service, at, body FROM logs.records WHERE severity >= 17
