-- Version 1 of the telemetry schema: what the role telemetry_schema made with its defaults before the schema had a version, with the sorting keys
-- and granules of version 2, which no ALTER makes, and its indices. They were changed before the first release.
CREATE DATABASE otel ENGINE = Atomic;

CREATE TABLE otel.otel_logs_local (
  Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
  TraceId String CODEC(ZSTD(1)),
  SpanId String CODEC(ZSTD(1)),
  TraceFlags UInt8,
  SeverityText LowCardinality(String) CODEC(ZSTD(1)),
  SeverityNumber UInt8,
  ServiceName LowCardinality(String) CODEC(ZSTD(1)),
  Body String CODEC(ZSTD(3)),
  ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
  ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
  ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
  ScopeName String CODEC(ZSTD(1)),
  ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
  ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
  LogAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
  EventName String CODEC(ZSTD(1)),
  `__otel_materialized_host.name` LowCardinality(String) MATERIALIZED ResourceAttributes['host.name'],
  `__otel_materialized_deployment.environment.name` LowCardinality(String)
    MATERIALIZED ResourceAttributes['deployment.environment.name'],
  INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX idx_log_attr_value mapValues(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX idx_severity SeverityNumber TYPE set(16) GRANULARITY 1,
  INDEX idx_severity_text SeverityText TYPE set(16) GRANULARITY 1,
  INDEX idx_lower_body lower(Body) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 64
) ENGINE = ReplicatedMergeTree
PARTITION BY toDate(Timestamp)
PRIMARY KEY (toStartOfFifteenMinutes(Timestamp), SeverityNumber >= 17, ServiceName)
ORDER BY (toStartOfFifteenMinutes(Timestamp), SeverityNumber >= 17, ServiceName, `__otel_materialized_host.name`, Timestamp)
TTL toDateTime(Timestamp) + INTERVAL 14 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, min_free_disk_ratio_to_perform_insert = 0.05, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE otel.logs_volume_1m_local (
  Minute DateTime,
  ServiceName LowCardinality(String),
  SeverityText LowCardinality(String),
  Host LowCardinality(String),
  Env LowCardinality(String),
  Rows UInt64,
  Bytes UInt64
) ENGINE = ReplicatedSummingMergeTree
PARTITION BY toYYYYMM(Minute)
ORDER BY (toStartOfHour(Minute), ServiceName, SeverityText, Host, Env, Minute)
TTL Minute + INTERVAL 400 DAY
SETTINGS index_granularity = 1024, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE MATERIALIZED VIEW otel.logs_volume_1m_mv
TO otel.logs_volume_1m_local AS
SELECT
  toStartOfMinute(Timestamp) AS Minute, ServiceName, SeverityText,
  ResourceAttributes['host.name'] AS Host,
  ResourceAttributes['deployment.environment.name'] AS Env,
  count() AS Rows,
  sum(length(Body)) AS Bytes
FROM otel.otel_logs_local
GROUP BY ALL;

CREATE TABLE otel.otel_traces_local (
  Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
  TraceId String CODEC(ZSTD(1)),
  SpanId String CODEC(ZSTD(1)),
  ParentSpanId String CODEC(ZSTD(1)),
  TraceState String CODEC(ZSTD(1)),
  SpanName LowCardinality(String) CODEC(ZSTD(1)),
  SpanKind LowCardinality(String) CODEC(ZSTD(1)),
  ServiceName LowCardinality(String) CODEC(ZSTD(1)),
  ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
  ScopeName String CODEC(ZSTD(1)),
  ScopeVersion String CODEC(ZSTD(1)),
  SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
  Duration UInt64 CODEC(T64, ZSTD(1)),
  StatusCode LowCardinality(String) CODEC(ZSTD(1)),
  StatusMessage String CODEC(ZSTD(1)),
  Events Nested (
    Timestamp DateTime64(9),
    Name LowCardinality(String),
    Attributes Map(LowCardinality(String), String)
  ) CODEC(ZSTD(1)),
  Links Nested (
    TraceId String,
    SpanId String,
    TraceState String,
    Attributes Map(LowCardinality(String), String)
  ) CODEC(ZSTD(1)),
  `__otel_materialized_host.name` LowCardinality(String) MATERIALIZED ResourceAttributes['host.name'],
  INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX idx_status StatusCode TYPE set(4) GRANULARITY 1,
  INDEX idx_duration Duration TYPE minmax GRANULARITY 1
) ENGINE = ReplicatedMergeTree
PARTITION BY toDate(Timestamp)
PRIMARY KEY (toStartOfFiveMinutes(Timestamp), StatusCode = 'Error', ServiceName)
ORDER BY (toStartOfFiveMinutes(Timestamp), StatusCode = 'Error', ServiceName, `__otel_materialized_host.name`, Timestamp)
TTL toDateTime(Timestamp) + INTERVAL 7 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, min_free_disk_ratio_to_perform_insert = 0.05, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE otel.otel_traces_trace_id_ts_local (
  TraceId String CODEC(ZSTD(1)),
  Start SimpleAggregateFunction(min, DateTime) CODEC(ZSTD(1)),
  End SimpleAggregateFunction(max, DateTime) CODEC(ZSTD(1))
) ENGINE = ReplicatedAggregatingMergeTree
PARTITION BY toDate(Start)
ORDER BY TraceId
TTL Start + INTERVAL 7 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE MATERIALIZED VIEW otel.otel_traces_trace_id_ts_mv
TO otel.otel_traces_trace_id_ts_local AS
SELECT TraceId, toDateTime(min(Timestamp)) AS Start, toDateTime(max(Timestamp)) AS End
FROM otel.otel_traces_local
WHERE TraceId != ''
GROUP BY TraceId;

CREATE TABLE otel.traces_red_1m_local (
  Minute DateTime,
  ServiceName LowCardinality(String),
  SpanKind LowCardinality(String),
  SpanName LowCardinality(String),
  Env LowCardinality(String),
  Calls SimpleAggregateFunction(sum, UInt64),
  Errors SimpleAggregateFunction(sum, UInt64),
  DurationSum SimpleAggregateFunction(sum, UInt64),
  DurationMax SimpleAggregateFunction(max, UInt64),
  DurationQ AggregateFunction(quantilesTDigest(0.5, 0.9, 0.95, 0.99), Float32)
) ENGINE = ReplicatedAggregatingMergeTree
PARTITION BY toYYYYMM(Minute)
ORDER BY (ServiceName, toStartOfHour(Minute), SpanKind, SpanName, Env, Minute)
TTL Minute + INTERVAL 400 DAY
SETTINGS index_granularity = 1024, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE MATERIALIZED VIEW otel.traces_red_1m_mv
TO otel.traces_red_1m_local AS
SELECT
  toStartOfMinute(Timestamp) AS Minute, ServiceName, SpanKind, SpanName,
  ResourceAttributes['deployment.environment.name'] AS Env,
  count() AS Calls,
  countIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR')) AS Errors,
  sum(Duration) AS DurationSum,
  max(Duration) AS DurationMax,
  quantilesTDigestState(0.5, 0.9, 0.95, 0.99)(toFloat32(Duration)) AS DurationQ
FROM otel.otel_traces_local
GROUP BY ALL;

CREATE TABLE otel.otel_metrics_gauge_local (
ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
ResourceSchemaUrl String CODEC(ZSTD(1)),
ScopeName String CODEC(ZSTD(1)),
ScopeVersion String CODEC(ZSTD(1)),
ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
ScopeSchemaUrl String CODEC(ZSTD(1)),
ServiceName LowCardinality(String) CODEC(ZSTD(1)),
MetricName LowCardinality(String) CODEC(ZSTD(1)),
MetricDescription String CODEC(ZSTD(1)),
MetricUnit String CODEC(ZSTD(1)),
Attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
StartTimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
TimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
Value Float64 CODEC(ZSTD(1)),
Flags UInt32 CODEC(ZSTD(1)),
Exemplars Nested (
  FilteredAttributes Map(LowCardinality(String), String),
  TimeUnix DateTime,
  Value Float64,
  SpanId String,
  TraceId String
) CODEC(ZSTD(1)),
`__otel_materialized_host.name` LowCardinality(String) MATERIALIZED ResourceAttributes['host.name'],
SeriesHash UInt64 MATERIALIZED cityHash64(ResourceAttributes, Attributes) CODEC(ZSTD(1)),
INDEX idx_attr_value mapValues(Attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
INDEX idx_time_minmax TimeUnix TYPE minmax GRANULARITY 1
) ENGINE = ReplicatedMergeTree
PARTITION BY toDate(TimeUnix)
PRIMARY KEY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`)
ORDER BY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`, SeriesHash, TimeUnix)
TTL TimeUnix + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, min_free_disk_ratio_to_perform_insert = 0.05, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE otel.otel_metrics_sum_local (
ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
ResourceSchemaUrl String CODEC(ZSTD(1)),
ScopeName String CODEC(ZSTD(1)),
ScopeVersion String CODEC(ZSTD(1)),
ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
ScopeSchemaUrl String CODEC(ZSTD(1)),
ServiceName LowCardinality(String) CODEC(ZSTD(1)),
MetricName LowCardinality(String) CODEC(ZSTD(1)),
MetricDescription String CODEC(ZSTD(1)),
MetricUnit String CODEC(ZSTD(1)),
Attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
StartTimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
TimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
Value Float64 CODEC(ZSTD(1)),
Flags UInt32 CODEC(ZSTD(1)),
Exemplars Nested (
  FilteredAttributes Map(LowCardinality(String), String),
  TimeUnix DateTime,
  Value Float64,
  SpanId String,
  TraceId String
) CODEC(ZSTD(1)),
AggregationTemporality Int32 CODEC(ZSTD(1)),
IsMonotonic Bool CODEC(ZSTD(1)),
`__otel_materialized_host.name` LowCardinality(String) MATERIALIZED ResourceAttributes['host.name'],
SeriesHash UInt64 MATERIALIZED cityHash64(ResourceAttributes, Attributes) CODEC(ZSTD(1)),
INDEX idx_attr_value mapValues(Attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
INDEX idx_time_minmax TimeUnix TYPE minmax GRANULARITY 1
) ENGINE = ReplicatedMergeTree
PARTITION BY toDate(TimeUnix)
PRIMARY KEY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`)
ORDER BY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`, SeriesHash, TimeUnix)
TTL TimeUnix + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, min_free_disk_ratio_to_perform_insert = 0.05, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE otel.otel_metrics_histogram_local (
ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
ResourceSchemaUrl String CODEC(ZSTD(1)),
ScopeName String CODEC(ZSTD(1)),
ScopeVersion String CODEC(ZSTD(1)),
ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
ScopeSchemaUrl String CODEC(ZSTD(1)),
ServiceName LowCardinality(String) CODEC(ZSTD(1)),
MetricName LowCardinality(String) CODEC(ZSTD(1)),
MetricDescription String CODEC(ZSTD(1)),
MetricUnit String CODEC(ZSTD(1)),
Attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
StartTimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
TimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
Count UInt64 CODEC(Delta(8), ZSTD(1)),
Sum Float64 CODEC(ZSTD(1)),
BucketCounts Array(UInt64) CODEC(ZSTD(1)),
ExplicitBounds Array(Float64) CODEC(ZSTD(1)),
Exemplars Nested (
  FilteredAttributes Map(LowCardinality(String), String),
  TimeUnix DateTime,
  Value Float64,
  SpanId String,
  TraceId String
) CODEC(ZSTD(1)),
Flags UInt32 CODEC(ZSTD(1)),
Min Float64 CODEC(ZSTD(1)),
Max Float64 CODEC(ZSTD(1)),
AggregationTemporality Int32 CODEC(ZSTD(1)),
`__otel_materialized_host.name` LowCardinality(String) MATERIALIZED ResourceAttributes['host.name'],
SeriesHash UInt64 MATERIALIZED cityHash64(ResourceAttributes, Attributes) CODEC(ZSTD(1)),
INDEX idx_attr_value mapValues(Attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
INDEX idx_time_minmax TimeUnix TYPE minmax GRANULARITY 1
) ENGINE = ReplicatedMergeTree
PARTITION BY toDate(TimeUnix)
PRIMARY KEY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`)
ORDER BY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`, SeriesHash, TimeUnix)
TTL TimeUnix + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, min_free_disk_ratio_to_perform_insert = 0.05, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE otel.otel_metrics_exponential_histogram_local (
ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
ResourceSchemaUrl String CODEC(ZSTD(1)),
ScopeName String CODEC(ZSTD(1)),
ScopeVersion String CODEC(ZSTD(1)),
ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
ScopeSchemaUrl String CODEC(ZSTD(1)),
ServiceName LowCardinality(String) CODEC(ZSTD(1)),
MetricName LowCardinality(String) CODEC(ZSTD(1)),
MetricDescription String CODEC(ZSTD(1)),
MetricUnit String CODEC(ZSTD(1)),
Attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
StartTimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
TimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
Count UInt64 CODEC(Delta(8), ZSTD(1)),
Sum Float64 CODEC(ZSTD(1)),
Scale Int32 CODEC(ZSTD(1)),
ZeroCount UInt64 CODEC(ZSTD(1)),
PositiveOffset Int32 CODEC(ZSTD(1)),
PositiveBucketCounts Array(UInt64) CODEC(ZSTD(1)),
NegativeOffset Int32 CODEC(ZSTD(1)),
NegativeBucketCounts Array(UInt64) CODEC(ZSTD(1)),
Exemplars Nested (
  FilteredAttributes Map(LowCardinality(String), String),
  TimeUnix DateTime,
  Value Float64,
  SpanId String,
  TraceId String
) CODEC(ZSTD(1)),
Flags UInt32 CODEC(ZSTD(1)),
Min Float64 CODEC(ZSTD(1)),
Max Float64 CODEC(ZSTD(1)),
AggregationTemporality Int32 CODEC(ZSTD(1)),
`__otel_materialized_host.name` LowCardinality(String) MATERIALIZED ResourceAttributes['host.name'],
SeriesHash UInt64 MATERIALIZED cityHash64(ResourceAttributes, Attributes) CODEC(ZSTD(1)),
INDEX idx_attr_value mapValues(Attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
INDEX idx_time_minmax TimeUnix TYPE minmax GRANULARITY 1
) ENGINE = ReplicatedMergeTree
PARTITION BY toDate(TimeUnix)
PRIMARY KEY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`)
ORDER BY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`, SeriesHash, TimeUnix)
TTL TimeUnix + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, min_free_disk_ratio_to_perform_insert = 0.05, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE otel.otel_metrics_summary_local (
ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
ResourceSchemaUrl String CODEC(ZSTD(1)),
ScopeName String CODEC(ZSTD(1)),
ScopeVersion String CODEC(ZSTD(1)),
ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
ScopeDroppedAttrCount UInt32 CODEC(ZSTD(1)),
ScopeSchemaUrl String CODEC(ZSTD(1)),
ServiceName LowCardinality(String) CODEC(ZSTD(1)),
MetricName LowCardinality(String) CODEC(ZSTD(1)),
MetricDescription String CODEC(ZSTD(1)),
MetricUnit String CODEC(ZSTD(1)),
Attributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
StartTimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
TimeUnix DateTime CODEC(DoubleDelta, ZSTD(1)),
Count UInt64 CODEC(Delta(8), ZSTD(1)),
Sum Float64 CODEC(ZSTD(1)),
ValueAtQuantiles Nested (
  Quantile Float64,
  Value Float64
) CODEC(ZSTD(1)),
Flags UInt32 CODEC(ZSTD(1)),
`__otel_materialized_host.name` LowCardinality(String) MATERIALIZED ResourceAttributes['host.name'],
SeriesHash UInt64 MATERIALIZED cityHash64(ResourceAttributes, Attributes) CODEC(ZSTD(1)),
INDEX idx_attr_value mapValues(Attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
INDEX idx_time_minmax TimeUnix TYPE minmax GRANULARITY 1
) ENGINE = ReplicatedMergeTree
PARTITION BY toDate(TimeUnix)
PRIMARY KEY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`)
ORDER BY (MetricName, toStartOfFifteenMinutes(TimeUnix), ServiceName, `__otel_materialized_host.name`, SeriesHash, TimeUnix)
TTL TimeUnix + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, ttl_only_drop_parts = 1, ratio_of_defaults_for_sparse_serialization = 1, min_free_disk_ratio_to_perform_insert = 0.05, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE TABLE otel.metrics_gauge_5m_local (
  T DateTime,
  MetricName LowCardinality(String),
  ServiceName LowCardinality(String),
  Host LowCardinality(String),
  Attributes Map(LowCardinality(String), String),
  Cnt SimpleAggregateFunction(sum, UInt64),
  Sum SimpleAggregateFunction(sum, Float64),
  Min SimpleAggregateFunction(min, Float64),
  Max SimpleAggregateFunction(max, Float64)
) ENGINE = ReplicatedAggregatingMergeTree
PARTITION BY toYYYYMM(T)
ORDER BY (MetricName, toDate(T), ServiceName, Host, Attributes, T)
TTL T + INTERVAL 400 DAY
SETTINGS index_granularity = 1024, replicated_deduplication_window = 2000, replicated_deduplication_window_seconds = 86400;

CREATE MATERIALIZED VIEW otel.metrics_gauge_5m_mv
TO otel.metrics_gauge_5m_local AS
SELECT
  toStartOfFiveMinutes(TimeUnix) AS T, MetricName, ServiceName,
  ResourceAttributes['host.name'] AS Host,
  Attributes,
  count() AS Cnt,
  sum(Value) AS Sum,
  min(Value) AS Min,
  max(Value) AS Max
FROM otel.otel_metrics_gauge_local
GROUP BY ALL;

CREATE TABLE otel.otel_logs AS otel.otel_logs_local
ENGINE = Distributed('otel', 'otel', 'otel_logs_local',
  cityHash64(if(TraceId = '', concat(ServiceName, toString(Timestamp)), TraceId)));

CREATE TABLE otel.otel_traces AS otel.otel_traces_local
ENGINE = Distributed('otel', 'otel', 'otel_traces_local',
  cityHash64(TraceId));

CREATE TABLE otel.otel_metrics_gauge
AS otel.otel_metrics_gauge_local
ENGINE = Distributed('otel', 'otel',
  'otel_metrics_gauge_local', cityHash64(MetricName, ResourceAttributes, Attributes));

CREATE TABLE otel.otel_metrics_sum
AS otel.otel_metrics_sum_local
ENGINE = Distributed('otel', 'otel',
  'otel_metrics_sum_local', cityHash64(MetricName, ResourceAttributes, Attributes));

CREATE TABLE otel.otel_metrics_histogram
AS otel.otel_metrics_histogram_local
ENGINE = Distributed('otel', 'otel',
  'otel_metrics_histogram_local', cityHash64(MetricName, ResourceAttributes, Attributes));

CREATE TABLE otel.otel_metrics_exponential_histogram
AS otel.otel_metrics_exponential_histogram_local
ENGINE = Distributed('otel', 'otel',
  'otel_metrics_exponential_histogram_local', cityHash64(MetricName, ResourceAttributes, Attributes));

CREATE TABLE otel.otel_metrics_summary
AS otel.otel_metrics_summary_local
ENGINE = Distributed('otel', 'otel',
  'otel_metrics_summary_local', cityHash64(MetricName, ResourceAttributes, Attributes));

CREATE TABLE otel.otel_traces_trace_id_ts
AS otel.otel_traces_trace_id_ts_local
ENGINE = Distributed('otel', 'otel',
  'otel_traces_trace_id_ts_local');

CREATE TABLE otel.logs_volume_1m
AS otel.logs_volume_1m_local
ENGINE = Distributed('otel', 'otel', 'logs_volume_1m_local');

CREATE TABLE otel.traces_red_1m
AS otel.traces_red_1m_local
ENGINE = Distributed('otel', 'otel', 'traces_red_1m_local');

CREATE TABLE otel.metrics_gauge_5m
AS otel.metrics_gauge_5m_local
ENGINE = Distributed('otel', 'otel', 'metrics_gauge_5m_local');
