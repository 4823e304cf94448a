-- Machines that send measurements, and who repairs them.
CREATE TABLE factory.plants (id UInt16, name String, zone LowCardinality(String), position Point) ENGINE = MergeTree ORDER BY id

CREATE TABLE factory.machines (plant UInt16, id UInt32, model LowCardinality(String), built Date32, serial FixedString(12), notes Nullable(String))
ENGINE = ReplacingMergeTree ORDER BY (plant, id)

CREATE TABLE factory.sensors (machine UInt32, id UInt64, unit Enum8('c' = 1, 'bar' = 2, 'rpm' = 3), low Float32 DEFAULT -1e3, high Float32 DEFAULT 1e3)
ENGINE = MergeTree ORDER BY (machine, id)

CREATE TABLE factory.readings (sensor UInt64, at DateTime64(3) CODEC(DoubleDelta, ZSTD(1)), value Float32 CODEC(Gorilla, ZSTD(1)), quality UInt8 DEFAULT 255)
ENGINE = MergeTree PARTITION BY toMonday(at) ORDER BY (sensor, at) SETTINGS index_granularity = 16384

CREATE TABLE factory.readings_minute (sensor UInt64, minute DateTime, low SimpleAggregateFunction(min, Float32), high SimpleAggregateFunction(max, Float32),
mean AggregateFunction(avg, Float32)) ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(minute) ORDER BY (sensor, minute)

CREATE MATERIALIZED VIEW factory.readings_minute_mv TO factory.readings_minute AS SELECT sensor, toStartOfMinute(at) AS minute, min(value) AS low,
max(value) AS high, avgState(value) AS mean FROM factory.readings GROUP BY sensor, minute

CREATE TABLE factory.readings_day (sensor UInt64, day Date, low SimpleAggregateFunction(min, Float32), high SimpleAggregateFunction(max, Float32),
mean AggregateFunction(avg, Float32)) ENGINE = AggregatingMergeTree ORDER BY (sensor, day)

CREATE MATERIALIZED VIEW factory.readings_day_mv TO factory.readings_day AS SELECT sensor, toDate(minute) AS day, min(low) AS low, max(high) AS high,
avgMergeState(mean) AS mean FROM factory.readings_minute GROUP BY sensor, day

CREATE VIEW factory.means AS SELECT sensor, day, avgMerge(mean) AS mean FROM factory.readings_day GROUP BY sensor, day

CREATE VIEW factory.out_of_range AS SELECT r.sensor AS sensor, r.at AS at, r.value AS value FROM factory.readings AS r
INNER JOIN factory.sensors AS s ON s.id = r.sensor WHERE r.value < s.low OR r.value > s.high

CREATE TABLE factory.alarms (sensor UInt64, raised DateTime, cleared Nullable(DateTime), severity UInt8, acknowledged Bool, by LowCardinality(Nullable(String)))
ENGINE = ReplacingMergeTree(severity) ORDER BY (sensor, raised)

CREATE MATERIALIZED VIEW factory.alarms_mv TO factory.alarms AS SELECT sensor, toDateTime(at) AS raised, 9::UInt8 AS severity FROM factory.readings WHERE value > 900

CREATE TABLE factory.repairs (machine UInt32, day Date, worker UInt64, minutes UInt32, parts Nested(code String, amount UInt8), report String CODEC(ZSTD(9)))
ENGINE = MergeTree PARTITION BY toYear(day) ORDER BY (machine, day)

CREATE VIEW factory.parts_used AS SELECT code, sum(amount) AS amount FROM factory.repairs ARRAY JOIN parts.code AS code, parts.amount AS amount GROUP BY code

CREATE TABLE factory.shifts (plant UInt16, start DateTime('Europe/Berlin'), hours Decimal32(1), crew Array(UInt64)) ENGINE = MergeTree ORDER BY (plant, start)

CREATE TABLE factory.output (machine UInt32, at DateTime, good UInt32, bad UInt32) ENGINE = SummingMergeTree((good, bad)) ORDER BY (machine, at)

CREATE VIEW factory.yield AS SELECT machine, sum(good) / (sum(good) + sum(bad)) AS yield FROM factory.output GROUP BY machine HAVING sum(good) > 0

CREATE TABLE factory.firmware (model String, version Tuple(major UInt8, minor UInt8, patch UInt16), image String, sha256 FixedString(32))
ENGINE = MergeTree ORDER BY (model, version)

CREATE VIEW factory.newest_firmware AS SELECT model, max(version) AS version FROM factory.firmware GROUP BY model

CREATE DICTIONARY factory.machine_models (id UInt64, model String, plant UInt64) PRIMARY KEY id
SOURCE(CLICKHOUSE(QUERY 'SELECT id, model, plant FROM factory.machines FINAL')) LAYOUT(SPARSE_HASHED()) LIFETIME(MIN 60 MAX 600)

CREATE DICTIONARY factory.limits (sensor UInt64, low Float32, high Float32) PRIMARY KEY sensor
SOURCE(CLICKHOUSE(QUERY 'SELECT id AS sensor, low, high FROM factory.sensors')) LAYOUT(HASHED(PREALLOCATE 1)) LIFETIME(60)

CREATE VIEW factory.checked AS SELECT sensor, at, value BETWEEN dictGet('factory.limits', 'low', sensor) AND dictGet('factory.limits', 'high', sensor) AS fine
FROM factory.readings

CREATE TABLE factory.telemetry_in (sensor UInt64, at DateTime64(3), value Float32) ENGINE = Null

CREATE MATERIALIZED VIEW factory.telemetry_route TO factory.readings AS SELECT sensor, at, value FROM factory.telemetry_in WHERE isFinite(value)

CREATE TABLE factory.telemetry_file (sensor UInt64, at DateTime64(3), value Float32) ENGINE = File(Parquet)

CREATE TABLE factory.energy (plant UInt16, quarter DateTime, kwh Float64, price Nullable(Decimal(9, 5)), cost Float64 ALIAS kwh * ifNull(toFloat64(price), 0))
ENGINE = MergeTree ORDER BY (plant, quarter)

CREATE TABLE factory.memory_cache (id UInt64, body String) ENGINE = Memory SETTINGS max_rows_to_keep = 1000, min_rows_to_keep = 100

CREATE VIEW factory.latest AS SELECT sensor, value FROM factory.readings ORDER BY at DESC LIMIT 1 BY sensor

CREATE VIEW factory.gaps AS SELECT sensor, minute FROM factory.readings_minute ORDER BY minute ASC WITH FILL STEP toIntervalMinute(1)
