-- What the vendor's documentation says of engines and features, a definition of each: an empty line between statements.
-- {folder} is the server's own. What this engine does not have is in test_clickhouse_roundtrips.py.

-- Sources of what follows
CREATE TABLE x.src (id UInt64, parent UInt64, at DateTime, name String, value Float64, tags Map(String, String))
  ENGINE = MergeTree
  ORDER BY id

CREATE TABLE x.landing (id UInt64, at DateTime, name String, value Float64) ENGINE = Null COMMENT 'Nothing stays here'

-- MergeTree
CREATE TABLE x.merge_tree (
  tenant LowCardinality(String),
  visitor UInt64,
  at DateTime64(3, 'Europe/Berlin'),
  url String
)
ENGINE = MergeTree
PARTITION BY (tenant, toMonday(at))
PRIMARY KEY (tenant, toStartOfHour(at), intHash32(visitor))
ORDER BY (tenant, toStartOfHour(at), intHash32(visitor), url)
SAMPLE BY intHash32(visitor)
TTL toDateTime(at) + INTERVAL 3 MONTH
SETTINGS min_bytes_for_wide_part = 0, merge_with_ttl_timeout = 3600, storage_policy = 'default', index_granularity = 4096
COMMENT 'Visits'

CREATE TABLE x.unordered (a UInt8) ENGINE MergeTree

CREATE TABLE x.one_expression (day Date, a String) ENGINE = MergeTree() PARTITION BY toYYYYMM(day) ORDER BY lower(a)

CREATE TABLE x.descending (at DateTime, host String) ENGINE = MergeTree ORDER BY (host, at DESC)

CREATE TABLE x.one_partition (at DateTime, `index` UInt8, `key` String, `größe` UInt8, `a.b` String)
  ENGINE = MergeTree
  PARTITION BY tuple()
  ORDER BY (index, `größe`, `a.b`)
  SETTINGS ratio_of_defaults_for_sparse_serialization = 0.5, merge_max_block_size=1024

CREATE TABLE x.with_uuid UUID '6f0b4a52-9c1d-4b59-8f6e-0d3c1a2b3c4d' (id UInt64) ENGINE = MergeTree ORDER BY id

CREATE TABLE IF NOT EXISTS x.if_not_exists /* once */ (
  id UInt64, -- who
  name String
)
ENGINE = MergeTree()
ORDER BY (id);

CREATE TABLE x.nullable_key (a Nullable(UInt64), b String) ENGINE = MergeTree ORDER BY (a, b) SETTINGS allow_nullable_key = true

CREATE TABLE x.key_in_column (id UInt64 PRIMARY KEY, at DateTime) ENGINE = MergeTree

CREATE TABLE x.key_in_list (id UInt64, at DateTime, PRIMARY KEY (id, at)) ENGINE = MergeTree

CREATE TABLE x.block_columns (id UInt64) ENGINE = MergeTree ORDER BY id
  SETTINGS enable_block_number_column = 1, enable_block_offset_column = 1

CREATE TABLE x.implicit_indices (id UInt64, name String, value Float64) ENGINE = MergeTree ORDER BY id
  SETTINGS add_minmax_index_for_numeric_columns = 1, add_minmax_index_for_string_columns = 1

CREATE TABLE x.implicit_statistics (id UInt64, value Float64) ENGINE = MergeTree ORDER BY id
  SETTINGS auto_statistics_types = 'tdigest, minmax'

CREATE TABLE x.session_setting (code LowCardinality(UInt8)) ENGINE = MergeTree ORDER BY code
  SETTINGS allow_suspicious_low_cardinality_types = 1, index_granularity = 512

CREATE TABLE x.own_disk (id UInt64) ENGINE = MergeTree ORDER BY id
  SETTINGS disk = disk(name = 'roundtrip', type = 'local', path = '{folder}/disks/roundtrip/')

CREATE TABLE x.replacing (id UInt64, name String) ENGINE = ReplacingMergeTree ORDER BY id

CREATE TABLE x.replacing_deleted (id UInt64, name String, version DateTime64(6), gone UInt8)
  ENGINE = ReplacingMergeTree(version, gone)
  PRIMARY KEY id
  ORDER BY (id, name)
  SETTINGS allow_experimental_replacing_merge_with_cleanup = 1, min_age_to_force_merge_seconds = 600

CREATE TABLE x.sampled (id UInt64, at DateTime, name String, value Float64) ENGINE = ReplacingMergeTree() ORDER BY id SAMPLE BY id

CREATE TABLE x.summing_one (day Date, host String, bytes UInt64, last DateTime) ENGINE = SummingMergeTree(bytes)
  ORDER BY (day, host)

CREATE TABLE x.summing_some (day Date, requests UInt64, bytes UInt64, peak Float64, codesMap Nested(code UInt16, times UInt64))
  ENGINE = SummingMergeTree((requests, bytes))
  ORDER BY day

CREATE TABLE x.aggregating (
  hour DateTime,
  visitors AggregateFunction(uniqCombined(14), UInt64),
  latency AggregateFunction(quantilesTDigest(0.5, 0.95), Float32),
  last_url AggregateFunction(argMax, String, DateTime),
  errors AggregateFunction(countIf, UInt8),
  slowest SimpleAggregateFunction(max, Float64),
  urls SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
  codes SimpleAggregateFunction(sumMap, Map(UInt16, UInt64))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY hour

CREATE TABLE x.collapsing (visitor UInt64, pages UInt32, sign Int8) ENGINE = CollapsingMergeTree(sign) ORDER BY visitor

CREATE TABLE x.versioned_collapsing (visitor UInt64, pages UInt32, sign Int8, changed DateTime)
  ENGINE = VersionedCollapsingMergeTree(sign, changed)
  PARTITION BY toYYYYMM(changed)
  ORDER BY visitor

CREATE TABLE x.coalescing (id UInt64, email Nullable(String), phone Nullable(String)) ENGINE = CoalescingMergeTree ORDER BY id

CREATE TABLE x.coalescing_some (id UInt64, email Nullable(String), phone Nullable(String))
  ENGINE = CoalescingMergeTree((email, phone))
  ORDER BY id

CREATE TABLE x.graphite (Path String, Time DateTime, Value Float64, Version UInt32)
  ENGINE = GraphiteMergeTree('graphite_rollup')
  PARTITION BY toYYYYMM(Time)
  ORDER BY (Path, Time)

-- Replicated
CREATE TABLE x.replicated (id UInt64) ENGINE = ReplicatedMergeTree ORDER BY id

CREATE TABLE x.replicated_macros (id UInt64, version UInt32, gone UInt8)
  ENGINE = ReplicatedReplacingMergeTree('/tables/{shard}/{database}/{table}', '{replica}', version, gone)
  ORDER BY id

CREATE TABLE x.replicated_uuid UUID '6f0b4a52-9c1d-4b59-8f6e-0d3c1a2b3c4e' (id UInt64)
  ENGINE = ReplicatedMergeTree('/by-uuid/{uuid}/{shard}', '{replica}')
  ORDER BY id

CREATE TABLE x.replicated_plain (day Date, n UInt64) ENGINE = ReplicatedSummingMergeTree('/tables/plain', 'r1', (n)) ORDER BY day

CREATE TABLE x.replicated_coalescing (id UInt64, a Nullable(String)) ENGINE = ReplicatedCoalescingMergeTree() ORDER BY id

CREATE TABLE x.replicated_graphite (Path String, Time DateTime, Value Float64, Version UInt32)
  ENGINE = ReplicatedGraphiteMergeTree('graphite_rollup')
  ORDER BY (Path, Time)

CREATE TABLE x.replicated_settings (id UInt64, v AggregateFunction(sum, UInt64)) ENGINE = ReplicatedAggregatingMergeTree
  ORDER BY id
  SETTINGS replicated_deduplication_window = 0, min_replicated_logs_to_keep = 20

-- Log, Memory, Set, Join, Null
CREATE TABLE x.tiny_log (a UInt8, b Array(String)) ENGINE = TinyLog

CREATE TABLE x.stripe_log (a UInt8, b Nullable(String)) ENGINE = StripeLog COMMENT 'Small'

CREATE TABLE x.log_policy (a UInt8) ENGINE = Log SETTINGS storage_policy = 'default'

CREATE TABLE x.memory_ring (a UInt8) ENGINE = Memory SETTINGS min_rows_to_keep = 100, max_rows_to_keep = 1000

CREATE TABLE x.memory_compressed (a String) ENGINE = Memory() SETTINGS compress = 1

CREATE TABLE x.set_in_memory (a UInt8, b String) ENGINE = Set SETTINGS persistent = 0

CREATE TABLE x.join_settings (id UInt64, day Date, name Nullable(String))
  ENGINE = Join(ALL, INNER, id, day)
  SETTINGS join_use_nulls = 1, max_rows_in_join = 100000, join_overflow_mode = 'break', persistent = false

-- Over other tables
CREATE TABLE x.buffer AS x.src ENGINE = Buffer('x', 'src', 4, 5, 60, 1000, 100000, 1000000, 10000000, 10, 5000, 500000)

CREATE TABLE x.merge_columns (id UInt64, name String) ENGINE = Merge(REGEXP('^x$'), '^(src|landing)$')

CREATE TABLE x.merge_guessed ENGINE = Merge(x, '^src$')

CREATE TABLE x.merge_current AS x.src ENGINE = Merge(currentDatabase(), '^src$')

CREATE TABLE x.distributed AS x.src
  ENGINE = Distributed('{cluster}', 'x', 'src', sipHash64(name) % 16, 'default')
  SETTINGS fsync_after_insert = 0, bytes_to_throw_insert = 0, monitor_batch_inserts = 1, skip_unavailable_shards = 1

CREATE TABLE x.distributed_guessed ENGINE = Distributed(one, x, src, cityHash64(id))

CREATE TABLE x.distributed_current (id UInt64) ENGINE = Distributed(one, currentDatabase(), src)

CREATE TABLE x.alias ENGINE = Alias(x, src)

CREATE TABLE x.alias_text ENGINE = Alias('x', 'src')

CREATE TABLE x.alias_name ENGINE = Alias('x.src')

CREATE TABLE x.remote (id UInt64, name String) ENGINE = Remote('127.0.0.1', 'x', 'src', 'default', '')

CREATE TABLE x.remote_secure (id UInt64, name String) ENGINE = RemoteSecure('127.0.0.1', 'x', 'src')

-- Generated rows
CREATE TABLE x.random (id UInt64, name String, list Array(Int8)) ENGINE = GenerateRandom(7, 5, 3)

CREATE TABLE x.random_plain (id UInt64) ENGINE = GenerateRandom

CREATE TABLE x.fuzz_json (json String) ENGINE = FuzzJSON('{"a": 1}', 42)

CREATE TABLE x.fuzz_query (query String) ENGINE = FuzzQuery('SELECT 1', 500, 8956)

CREATE TABLE x.executable (id UInt64, name String) ENGINE = Executable('rows.sh', TabSeparated, (SELECT id FROM x.src LIMIT 10))

CREATE TABLE x.executable_pool (id UInt64, name String)
  ENGINE = ExecutablePool('rows.sh', 'TSV', (SELECT id FROM x.src), (SELECT 1 AS one))
  SETTINGS pool_size = 4, send_chunk_header = true, command_read_timeout = 500

CREATE TABLE x.query_runner (query String, database String, settings Map(String, String)) ENGINE = QueryRunner

-- Files
CREATE TABLE x.file_csv (id UInt64, name String) ENGINE = File(CSV) SETTINGS format_csv_delimiter = ';'

CREATE TABLE x.file_parquet (id UInt64, name Nullable(String)) ENGINE = File('Parquet')

CREATE TABLE x.file_path (id UInt64, name String) ENGINE = File(JSONEachRow, 'rows.jsonl')

CREATE TABLE x.file_guessed ENGINE = File('JSONEachRow', 'rows.jsonl')

CREATE TABLE x.file_packed (id UInt64) ENGINE = File(TSV, 'rows-{a,b}.tsv.gz', 'gzip')

CREATE TABLE x.file_log (id bigint, name text) ENGINE = FileLog('logs/', 'JSONEachRow')
  SETTINGS poll_max_batch_size = 100, max_threads = 1

CREATE TABLE x.url_guessed (id UInt64) ENGINE = URL('http://127.0.0.1:1/rows.csv')

CREATE TABLE x.url (id UInt64, name String) ENGINE = URL('http://127.0.0.1:1/rows.tsv.gz', 'TSV', 'gzip')

CREATE TABLE x.url_headers (id UInt64) ENGINE = URL('http://127.0.0.1:1/rows.csv', CSVWithNames, headers('X-Tenant' = 'shop'))

CREATE TABLE x.s3_public (id UInt64, name String) ENGINE = S3('http://127.0.0.1:1/bucket/rows.parquet', NOSIGN)

CREATE TABLE x.s3_parts (id UInt64, day Date)
  ENGINE = S3('http://127.0.0.1:1/bucket/{_partition_id}.csv.zst', 'CSVWithNames', 'zstd')
  PARTITION BY toYYYYMM(day)
  SETTINGS input_format_csv_skip_first_lines = 1

CREATE TABLE x.s3_token (id UInt64) ENGINE = S3('http://127.0.0.1:1/bucket/rows.csv', 'key', 'hunter2', 'hunter3', 'CSV', 'none')

CREATE TABLE x.s3_named (id UInt64) ENGINE = S3(archive, filename = 'rows.csv', format = 'CSV')

CREATE TABLE x.gcs (id UInt64) ENGINE = GCS('http://127.0.0.1:1/bucket/rows.csv', 'key', 'hunter2', 'CSV')

CREATE TABLE x.oss (id UInt64) ENGINE = OSS('http://127.0.0.1:1/bucket/rows.csv', 'key', 'hunter2', 'CSV')

CREATE TABLE x.cosn (id UInt64) ENGINE = COSN('http://127.0.0.1:1/bucket/rows.csv', 'key', 'hunter2', 'CSV')

CREATE TABLE x.s3_queue (id bigint, name varchar)
  ENGINE = S3Queue('http://127.0.0.1:1/bucket/*.csv', 'key', 'hunter2', 'CSV')
  SETTINGS mode = 'unordered', keeper_path = '/s3queue/x', polling_min_timeout_ms = 60000, polling_max_timeout_ms = 600000

CREATE TABLE x.azure (id UInt64)
  ENGINE = AzureBlobStorage(
    'DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=aHVudGVyMg==;BlobEndpoint=http://127.0.0.1:1/dev;',
    'box', 'rows.csv', 'CSV'
  )

CREATE TABLE x.hdfs (id UInt64) ENGINE = HDFS('hdfs://127.0.0.1:1/rows.tsv', 'TSV')

CREATE TABLE x.sqlite (id int, name text) ENGINE = SQLite('rows.sqlite', 'rows')

CREATE TABLE x.rocksdb (id UInt64, name String) ENGINE = EmbeddedRocksDB PRIMARY KEY id

CREATE TABLE x.rocksdb_ttl (id UInt64, name String) ENGINE = EmbeddedRocksDB(3600) PRIMARY KEY id
  SETTINGS optimize_for_bulk_insert = 0

CREATE TABLE x.rocksdb_folder (id bigint unsigned, name text) ENGINE = EmbeddedRocksDB(0, 'rocks') PRIMARY KEY id

CREATE TABLE x.keeper_map_copy AS x.src ENGINE = KeeperMap('/copy') PRIMARY KEY id

CREATE TABLE x.keeper_map (id bigint unsigned, name text) ENGINE = KeeperMap('/settings', 100) PRIMARY KEY id

-- Streams
CREATE TABLE x.kafka (id UInt64, name String) ENGINE = Kafka('h:9092', 'orders', 'shop', 'JSONEachRow')
  SETTINGS kafka_num_consumers = 2, kafka_handle_error_mode = 'stream'

CREATE TABLE x.kafka_keeper (id bigint) ENGINE = Kafka
  SETTINGS kafka_broker_list = 'h:9092', kafka_topic_list = 'a', kafka_group_name = 'shop', kafka_format = 'JSONEachRow',
    kafka_keeper_path = '/kafka/orders', kafka_replica_name = '{replica}'

CREATE TABLE x.kafka_sasl (id UInt64) ENGINE = Kafka
  SETTINGS kafka_broker_list = 'h:9092,i:9092', kafka_topic_list = 'a,b', kafka_group_name = 'shop', kafka_format = 'Avro',
    kafka_security_protocol = 'sasl_ssl', kafka_sasl_mechanism = 'PLAIN', kafka_sasl_username = 'u',
    kafka_sasl_password = 'hunter2'

CREATE TABLE x.azure_queue (id UInt64)
  ENGINE = AzureQueue(
    'DefaultEndpointsProtocol=http;AccountName=dev;AccountKey=aHVudGVyMg==;BlobEndpoint=http://127.0.0.1:1/dev;',
    'box', '*', 'CSV'
  )
  SETTINGS mode = 'unordered', polling_min_timeout_ms = 60000, polling_max_timeout_ms = 600000

-- Other databases
CREATE TABLE x.postgresql (id Int32, name Nullable(String))
  ENGINE = PostgreSQL('h:5432', 'shop', 'orders', 'u', 'hunter2', 'sales', 'ON CONFLICT DO NOTHING')

CREATE TABLE x.postgresql_named (id Int32) ENGINE = PostgreSQL(crm, table = 'people')

CREATE TABLE x.mysql (id Int32, name String) ENGINE = MySQL('h:3306', 'shop', 'orders', 'u', 'hunter2', 0, 'UPDATE id = id + 1')

CREATE TABLE x.mongodb (_id String, name String) ENGINE = MongoDB('h:27017', 'shop', 'orders', 'u', 'hunter2')

CREATE TABLE x.mongodb_uri (_id String) ENGINE = MongoDB('mongodb://u:hunter2@h:27017/shop', 'orders')

CREATE TABLE x.redis (id String, n UInt32) ENGINE = Redis('h:6379', 1, 'hunter2', 8) PRIMARY KEY id

CREATE TABLE x.odbc (id Int32) ENGINE = ODBC('DSN=shop', 'sales', 'orders')

CREATE TABLE x.jdbc (id Int32) ENGINE = JDBC('jdbc:sqlite:x', 'sales', 'orders')

-- Types
CREATE TABLE x.numbers (
  a Int8, b Int16, c Int128, d Int256, e UInt256, f BFloat16, g Float32, h Decimal(38, 10), i Decimal32(4), j Decimal256(20),
    k NUMERIC(10), l DEC(12, 2), m Bool
)
ENGINE = MergeTree
ORDER BY a

CREATE TABLE x.sql_names (
  a BIGINT UNSIGNED, b DOUBLE PRECISION NOT NULL, c NATIONAL CHARACTER VARYING(20), d TEXT NULL, e TIMESTAMP, f INTEGER SIGNED,
    g BLOB, h BOOLEAN, i INET6, j REAL NULL DEFAULT 1
)
ENGINE = MergeTree
ORDER BY a

CREATE TABLE x.times (
  a Date, b Date32, c DateTime('UTC'), d DateTime64(9), e DateTime64(6, 'Asia/Tokyo'), f DateTime32, g Time, h Time64(3),
    i IntervalDay, j IntervalMonth
)
ENGINE = MergeTree
ORDER BY a

CREATE TABLE x.texts (
  a String, b FixedString(16), c LowCardinality(Nullable(String)), d LowCardinality(FixedString(2)), e UUID, f IPv4,
    g Nullable(IPv6),
  h Enum8('off' = -1, 'on' = 1), i Enum16('a' = 1000, 'it\'s' = 1001), j Enum('x' = 300, 'y')
)
ENGINE = MergeTree
ORDER BY a

CREATE TABLE x.nesting (
  a Array(Array(Nullable(Int32))), b Map(LowCardinality(String), Array(Tuple(at DateTime, value Float64))), c Tuple(UInt8,
    Tuple(x String, `y z` Int8)),
  d Nested(name String, more Nested(key String, value Float64)), e Tuple()
)
ENGINE = MergeTree
ORDER BY tuple()

CREATE TABLE x.json (
  id UInt64,
  plain JSON,
  hinted JSON(max_dynamic_paths = 16, max_dynamic_types = 4, user.id UInt64, `at` DateTime64(3), SKIP debug, SKIP REGEXP '^tmp'),
  any Dynamic,
  few Dynamic(max_types = 8),
  one_of Variant(Array(JSON), DateTime, String)
)
ENGINE = MergeTree
ORDER BY (id, hinted.user.id)

CREATE TABLE x.geo (id UInt8, a Point, b Ring, c LineString, d MultiLineString, e Polygon, f MultiPolygon, g Geometry)
  ENGINE = MergeTree ORDER BY id

CREATE TABLE x.vectors (id UInt64, small QBit(BFloat16, 8), large QBit(Float64, 16)) ENGINE = MergeTree ORDER BY id

CREATE TABLE x.states (
  a AggregateFunction(groupBitmap, UInt32), b AggregateFunction(sumMapIf, Array(UInt8), Array(UInt64), UInt8),
  c AggregateFunction(1, sumMap, Tuple(Array(UInt8), Array(UInt64))), d SimpleAggregateFunction(anyLast, Nullable(String)),
    e AggregateFunction(count),
  f AggregateFunction(quantileExactWeighted(0.9), UInt8, UInt64), g AggregateFunction(avgOrNull, Decimal(10, 2))
)
ENGINE = AggregatingMergeTree
ORDER BY tuple()

-- Columns
CREATE TABLE x.defaults (
  id UUID DEFAULT generateUUIDv7(),
  made DEFAULT now(),
  raw String EPHEMERAL,
  raw_number UInt16 EPHEMERAL 7,
  guessed EPHEMERAL 'x',
  size UInt32 MATERIALIZED length(raw),
  upper MATERIALIZED upper(name),
  name String DEFAULT trim(BOTH ' ' FROM raw),
  both String ALIAS concat(name, '-', toString(id)),
  twice ALIAS raw_number + 1,
  is_new Bool DEFAULT true,
  words Array(String) DEFAULT ['a', 'b'],
  pairs Map(String, UInt8) DEFAULT map('a', 1),
  kind Enum8('a' = 1, 'b' = 2) DEFAULT 'a',
  price Decimal(10, 2) DEFAULT -1.50,
  nothing Nullable(Int8) DEFAULT NULL
)
ENGINE = MergeTree
ORDER BY id

CREATE TABLE x.codecs (
  at DateTime64(3) CODEC(DoubleDelta, LZ4),
  a UInt64 CODEC(Delta(4), ZSTD(6)),
  b Float64 CODEC(FPC(12), Default),
  c Int32 CODEC(T64('bit'), LZ4HC(9)),
  d UInt32 CODEC(GCD, LZ4),
  e String CODEC(NONE),
  f Array(Float32) CODEC(Gorilla(4), ZSTD(1)),
  g LowCardinality(String) CODEC(ZSTD(3)),
  h String DEFAULT 'x' COMMENT 'last' CODEC(ZSTD) TTL at + INTERVAL 1 DAY,
  i Nullable(String) CODEC(Default)
)
ENGINE = MergeTree
ORDER BY at

CREATE TABLE x.column_settings (
  id UInt64,
  body String CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 16777216, max_compress_block_size = 16777216)
)
ENGINE = MergeTree
ORDER BY id

CREATE TABLE x.column_statistics (
  id UInt64 STATISTICS(minmax, uniq),
  weight Nullable(UInt32) CODEC(ZSTD) STATISTICS(minmax, tdigest),
  value Float64 STATISTICS(tdigest)
)
ENGINE = MergeTree
ORDER BY id

CREATE TABLE x.column_ttl (at DateTime, secret String TTL at + INTERVAL 1 HOUR, note Nullable(String) DEFAULT 'none'
  TTL toStartOfDay(at) + toIntervalWeek(2))
  ENGINE = MergeTree
  ORDER BY at

CREATE TABLE x.commented (a UInt8 COMMENT 'first, (of two)', `b c` String DEFAULT 'COMMENT'
  COMMENT 'it''s "quoted" and \\ escaped')
  ENGINE = MergeTree
  ORDER BY a
  COMMENT 'two
lines'

-- TTL
CREATE TABLE x.ttl_where (at DateTime, level UInt8) ENGINE = MergeTree ORDER BY at
  TTL at + INTERVAL 1 WEEK DELETE WHERE level < 3, at + INTERVAL 1 MONTH DELETE WHERE level IN (3, 4), at + INTERVAL 1 YEAR DELETE

CREATE TABLE x.ttl_group (day Date, host String, n UInt64, peak Float64, last DateTime) ENGINE = MergeTree
  PRIMARY KEY (day, host) ORDER BY (day, host, last)
  TTL day + INTERVAL 30 DAY GROUP BY day, host SET n = sum(n), peak = max(peak), last = max(last), day + INTERVAL 1 YEAR

CREATE TABLE x.ttl_recompress (at DateTime, body String) ENGINE = MergeTree ORDER BY at
  TTL at + INTERVAL 1 DAY RECOMPRESS CODEC(ZSTD(6)), at + toIntervalMonth(1) RECOMPRESS CODEC(Delta, LZ4HC(9)),
    at + INTERVAL 1 YEAR
  SETTINGS min_rows_for_wide_part = 0

CREATE TABLE x.ttl_move (at DateTime, body String) ENGINE = MergeTree ORDER BY at
  TTL at + INTERVAL 1 DAY TO VOLUME 'default', at + INTERVAL 2 DAY TO DISK 'default'

-- Indices, projections, constraints
CREATE TABLE x.indices (
  id UInt64,
  at DateTime,
  name String,
  words Array(String),
  attributes Map(LowCardinality(String), String),
  INDEX by_time at TYPE minmax GRANULARITY 4,
  INDEX by_both (name, toDate(at)) TYPE minmax,
  INDEX by_set name TYPE set(100) GRANULARITY 2,
  INDEX by_length length(name) * 2 TYPE set(0),
  INDEX by_bloom attributes['host'] TYPE bloom_filter,
  INDEX by_keys mapKeys(attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
  INDEX by_ngrams lower(name) TYPE ngrambf_v1(3, 1024, 2, 0) GRANULARITY 4,
  INDEX by_tokens name TYPE tokenbf_v1(512, 3, 0) GRANULARITY 1
)
ENGINE = MergeTree
ORDER BY id

CREATE TABLE x.text_index (
  id UInt64,
  body String,
  INDEX by_word body TYPE text(tokenizer = 'splitByNonAlpha'),
  title String,
  INDEX by_lower title TYPE text(tokenizer = ngrams(3), preprocessor = lower(title)) GRANULARITY 64
)
ENGINE = MergeTree
ORDER BY id

CREATE TABLE x.sparse_grams (id UInt64, body String, INDEX by_grams body TYPE sparse_grams(3, 50, 6, 1024, 2, 0))
  ENGINE = MergeTree ORDER BY id

CREATE TABLE x.vector_index (id UInt64, v Array(Float32), INDEX near v TYPE vector_similarity('hnsw', 'cosineDistance',
  4) GRANULARITY 1000)
  ENGINE = MergeTree
  ORDER BY id

CREATE TABLE x.vector_index_tuned (id UInt64, v Array(Float32), INDEX near v TYPE vector_similarity('hnsw', 'L2Distance', 4,
  'bf16', 32, 128))
  ENGINE = MergeTree
  ORDER BY id

CREATE TABLE x.projections (
  id UInt64,
  at DateTime,
  name String,
  value Float64,
  PROJECTION by_name (SELECT * ORDER BY name, at),
  PROJECTION by_hour (SELECT toStartOfHour(at) AS hour, name, count(), sum(value) AS total, uniqState(id) GROUP BY hour, name),
  PROJECTION of_few (WITH lower(name) AS folded SELECT folded, value ORDER BY folded),
  PROJECTION as_offsets (SELECT _part_offset ORDER BY value)
)
ENGINE = MergeTree
ORDER BY id

CREATE TABLE x.projection_settings (
  id UInt64,
  name String,
  PROJECTION by_name (SELECT id, name ORDER BY name) WITH SETTINGS (index_granularity = 512)
)
ENGINE = MergeTree
ORDER BY id
SETTINGS deduplicate_merge_projection_mode = 'rebuild', lightweight_mutation_projection_mode = 'rebuild'

CREATE TABLE x.projection_index (id UInt64, name String, PROJECTION by_name INDEX name TYPE basic) ENGINE = MergeTree ORDER BY id

CREATE TABLE x.constraints (
  url String,
  domain String,
  n Int32,
  CONSTRAINT positive CHECK n > 0 AND (n < 1000 OR domain != ''),
  CONSTRAINT same ASSUME domain = domain(url),
  CONSTRAINT `with name` CHECK NOT match(url, '^ftp')
)
ENGINE = MergeTree
ORDER BY domain

CREATE TABLE x.as_other AS x.indices ENGINE = ReplacingMergeTree(at) ORDER BY (id, name) PARTITION BY toYYYYMM(at)
  COMMENT 'The same columns'

CREATE TABLE x.as_projected AS x.projections ENGINE = MergeTree ORDER BY id

-- Views
CREATE VIEW x.view_wanted AS SELECT * FROM x.src WHERE id = {wanted:UInt64} AND name IN {names:Array(String)}

CREATE VIEW x.view_names (number, `the name`) AS SELECT id, name FROM x.src

CREATE VIEW x.view_types (id UInt32, name LowCardinality(String)) AS SELECT id, name FROM x.src COMMENT 'Narrow'

CREATE VIEW x.view_invoker SQL SECURITY INVOKER AS SELECT id FROM x.src

CREATE VIEW x.view_definer DEFINER = default SQL SECURITY DEFINER AS SELECT id FROM x.src

CREATE VIEW x.view_current DEFINER = CURRENT_USER SQL SECURITY DEFINER AS SELECT id FROM x.src

CREATE VIEW x.view_unsafe SQL SECURITY NONE AS SELECT id, value FROM x.src

CREATE VIEW x.view_windows AS
SELECT id, row_number() OVER w AS place, sum(value)
  OVER (PARTITION BY name ORDER BY at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS running
FROM x.src
WINDOW w AS (PARTITION BY name ORDER BY value DESC NULLS LAST)
QUALIFY place < 4

CREATE VIEW x.view_joins AS
SELECT s.id, p.name AS parent, l.value, tag
FROM x.src AS s
LEFT JOIN x.src AS p ON s.parent = p.id
INNER JOIN x.landing AS l USING (id)
ASOF LEFT JOIN x.descending AS d ON d.host = s.name AND s.at >= d.at
ARRAY JOIN mapKeys(s.tags) AS tag
PREWHERE s.id > 0
WHERE tag NOT LIKE 'x%' AND s.name IS NOT NULL AND s.id GLOBAL IN (SELECT id FROM x.landing)

CREATE VIEW x.view_operators AS
SELECT
  tags['a'] AS a, (id, name).1 AS b, [1, 2][1] AS c, id::String AS d, CAST(value AS Decimal(10, 2)) AS e,
    x.value > 1 ? 'yes' : 'no' AS f,
  EXTRACT(YEAR FROM at) AS g, at - INTERVAL '1 day' AS h, DATE '2020-01-01' AS i, arrayMap(y -> y * 2, [id]) AS j, -value AS k,
    NOT id AS l,
  CASE name WHEN 'a' THEN 1 WHEN 'b' THEN 2 END AS m, name || '-' || name AS n, id BETWEEN 1 AND 9 AS o, id <=> parent AS p,
  SUBSTRING(name FROM 2 FOR 3) AS q, $$it's$$ AS r, 0xFF AS s, 1_000 AS t, inf AS u, id DIV 2 AS v, id MOD 2 AS w,
    POSITION('a' IN name) AS z
FROM x.src AS x

CREATE VIEW x.view_sets AS
WITH RECURSIVE tree AS (SELECT id, parent FROM x.src WHERE parent = 0 UNION ALL SELECT s.id, s.parent FROM x.src AS s
  JOIN tree AS t ON s.parent = t.id)
SELECT id FROM tree INTERSECT SELECT id FROM x.landing EXCEPT SELECT 7

CREATE VIEW x.view_groups AS
SELECT toDate(at) AS day, name, count() AS n, sum(value) FILTER (WHERE value > 1) AS big, quantile(0.9)(value) AS q
FROM x.sampled FINAL SAMPLE 1 / 10 OFFSET 1 / 2
GROUP BY GROUPING SETS ((day, name), (day), ())
HAVING n > 1
ORDER BY day WITH FILL STEP 1, name COLLATE 'en'
LIMIT 3 BY day
LIMIT 100 OFFSET 5
SETTINGS max_threads = 2

CREATE VIEW x.view_excepts AS SELECT id FROM x.src INTERSECT SELECT id FROM x.landing EXCEPT SELECT 7

CREATE VIEW x.view_columns AS SELECT * EXCEPT (tags) REPLACE (value * 2 AS value), COLUMNS('^na') APPLY (upper) FROM x.src

CREATE VIEW x.view_totals AS SELECT name, count() FROM x.src GROUP BY name WITH TOTALS ORDER BY ALL LIMIT 2 WITH TIES

CREATE VIEW x.view_rollup AS SELECT name, id, sum(value) AS total FROM x.src GROUP BY ROLLUP(name, id)

CREATE VIEW x.view_function AS SELECT number, toString(number) AS text
  FROM numbers(10) WHERE number IN (SELECT arrayJoin(range(5)))

CREATE VIEW x.view_values AS SELECT * FROM VALUES('a UInt8, b String', (1, 'x'), (2, 'y'))

CREATE VIEW x.view_remote AS SELECT * FROM remote('127.0.0.1', 'x', 'src', 'default', 'hunter2')

CREATE VIEW x.view_of_view AS SELECT number FROM x.view_names WHERE EXISTS (SELECT 1 FROM x.view_types)

CREATE VIEW x.view_called AS SELECT * FROM x.view_wanted(wanted = 1, names = ['a'])

CREATE VIEW x.view_distinct AS SELECT DISTINCT ON (name) id, name FROM x.src UNION DISTINCT SELECT 1, 'x'

CREATE VIEW x.view_with AS WITH 5 AS least, (SELECT max(id) FROM x.src) AS most SELECT least, most, id FROM x.src WHERE id > least

-- Materialized views
CREATE MATERIALIZED VIEW x.mv_to TO x.summing_one AS
SELECT toDate(at) AS day, name AS host, toUInt64(count()) AS bytes, max(at) AS last FROM x.landing GROUP BY day, host

CREATE MATERIALIZED VIEW x.mv_columns TO x.summing_one (`day` Date, `host` String, `bytes` UInt64)
AS SELECT toDate(at) AS day, name AS host, count() AS bytes FROM x.landing GROUP BY ALL
COMMENT 'By day'

CREATE MATERIALIZED VIEW x.mv_inner ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY (hour, name)
  TTL hour + INTERVAL 1 YEAR
AS SELECT toStartOfHour(at) AS hour, name, countState() AS n, quantilesState(0.5, 0.9)(value) AS q FROM x.src GROUP BY hour, name

CREATE MATERIALIZED VIEW x.mv_inner_columns (id UInt64, name LowCardinality(String), INDEX i name TYPE set(10))
ENGINE = ReplacingMergeTree
ORDER BY id
SETTINGS index_granularity = 1024
AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.mv_inner_spelt (id bigint unsigned default 4 comment 'a' codec(ZSTD), name Nested(a text),
  j JSON(a.b int), index i id type minmax, constraint c check id<100,
  projection p (select id order by id))
ENGINE MergeTree() PRIMARY KEY id SETTINGS ttl_only_drop_parts = true
AS SELECT id, [name] AS `name.a`, '{}' AS j FROM x.src

CREATE MATERIALIZED VIEW x.mv_to_spelt TO x.replacing (id bigint unsigned, name text) AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.mv_inner_unsorted ENGINE = MergeTree AS SELECT id FROM x.src

CREATE MATERIALIZED VIEW x.mv_inner_summing ENGINE = SummingMergeTree(n) ORDER BY (day, name) PARTITION BY toYYYYMM(day)
  AS SELECT toDate(at) day, name, count() n FROM x.src GROUP BY 1, 2

CREATE MATERIALIZED VIEW x.mv_inner_replicated_path
  ENGINE = ReplicatedMergeTree('/inner/{shard}/{database}/{table}', '{replica}')
  ORDER BY id AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.mv_inner_replicated ENGINE = ReplicatedMergeTree ORDER BY id AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.mv_definer TO x.replacing DEFINER = default SQL SECURITY DEFINER AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.mv_none TO x.replacing SQL SECURITY NONE AS SELECT id, name FROM x.src WHERE id % 2

CREATE MATERIALIZED VIEW x.mv_settings TO x.replacing AS SELECT id, name FROM x.src SETTINGS max_threads = 1

CREATE MATERIALIZED VIEW x.mv_union TO x.replacing AS SELECT id, name FROM x.src WHERE id = 1
  UNION ALL SELECT id, name FROM x.src WHERE id = 2

CREATE MATERIALIZED VIEW x.mv_with TO x.replacing AS WITH big AS (SELECT id, name FROM x.src WHERE value > 10)
  SELECT id, name FROM big

CREATE MATERIALIZED VIEW x.mv_join TO x.replacing AS SELECT s.id AS id, p.name AS name FROM x.landing AS s
  LEFT JOIN x.src AS p ON s.id = p.id

CREATE MATERIALIZED VIEW x.mv_of_dictionary TO x.replacing AS
  SELECT id, dictGetOrDefault('x.flat', 'name', id, '?') AS name FROM x.landing

CREATE MATERIALIZED VIEW x.refresh_every REFRESH EVERY 1 DAY OFFSET 3 HOUR RANDOMIZE FOR 10 MINUTE
SETTINGS refresh_retries = 3, refresh_retry_initial_backoff_ms = 500
ENGINE = MergeTree
ORDER BY id
EMPTY
AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.refresh_after REFRESH AFTER 90 MINUTE DEPENDS ON x.refresh_every TO x.replacing EMPTY
  AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.refresh_append REFRESH EVERY 1 WEEK APPEND TO x.replacing AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.refresh_depends REFRESH EVERY 1 DAY DEPENDS ON x.refresh_every, x.refresh_after
(id UInt64, name String)
ENGINE = Memory
AS SELECT id, name FROM x.src

CREATE MATERIALIZED VIEW x.refresh_months REFRESH EVERY 2 MONTH OFFSET 5 DAY 2 HOUR APPEND ENGINE = MergeTree ORDER BY ()
  AS SELECT count() AS n, now() AS at FROM x.src COMMENT 'Counts'

-- Dictionaries
CREATE DICTIONARY x.flat (id UInt64, name String DEFAULT '?', parent UInt64 DEFAULT 0 HIERARCHICAL)
PRIMARY KEY id
SOURCE(CLICKHOUSE(DB 'x' TABLE 'src'))
LIFETIME(MIN 300 MAX 600)
LAYOUT(FLAT(INITIAL_ARRAY_SIZE 1024 MAX_ARRAY_SIZE 50000))

CREATE DICTIONARY x.hashed (id UInt64, name String INJECTIVE, twice UInt64 EXPRESSION id * 2,
  parent Nullable(UInt64) HIERARCHICAL BIDIRECTIONAL)
PRIMARY KEY id
SOURCE(CLICKHOUSE(HOST '127.0.0.1' PORT 9000 USER 'default' PASSWORD 'hunter2' DB 'x' TABLE 'src'
  WHERE 'id > 0' INVALIDATE_QUERY 'SELECT max(at) FROM x.src'))
LAYOUT(HASHED(SHARDS 2 SHARD_LOAD_QUEUE_BACKLOG 1000))
LIFETIME(60)

CREATE DICTIONARY x.sparse (id UInt64, value Float64 DEFAULT 0.)
PRIMARY KEY (id)
SOURCE(CLICKHOUSE(QUERY 'SELECT id, value FROM x.src'))
LIFETIME(0)
LAYOUT(SPARSE_HASHED())
COMMENT 'Few bytes'

CREATE DICTIONARY x.complex (id UInt64, name String, value Float64)
PRIMARY KEY id, name
SOURCE(CLICKHOUSE(TABLE 'src' DB 'x'))
LIFETIME(MIN 0 MAX 1000)
LAYOUT(COMPLEX_KEY_HASHED(PREALLOCATE 1))

CREATE DICTIONARY x.hashed_array (id UInt64, tags Array(String))
PRIMARY KEY id SOURCE(NULL()) LIFETIME(10) LAYOUT(HASHED_ARRAY)

CREATE DICTIONARY x.complex_sparse (name String, value Float64)
PRIMARY KEY name SOURCE(NULL()) LIFETIME(10) LAYOUT(COMPLEX_KEY_SPARSE_HASHED()) SETTINGS(format_csv_allow_single_quotes = 0)

CREATE DICTIONARY x.ranges (id UInt64, first Date, last Date, rate Decimal(10, 4))
PRIMARY KEY id
SOURCE(FILE(PATH '/nowhere/rates.csv' FORMAT 'CSVWithNames'))
LIFETIME(MIN 1 MAX 10)
LAYOUT(RANGE_HASHED(RANGE_LOOKUP_STRATEGY 'max'))
RANGE(MIN first MAX last)

CREATE DICTIONARY x.complex_ranges (country String, first DateTime, last DateTime, rate Float64)
PRIMARY KEY country
SOURCE(HTTP(URL 'http://127.0.0.1:1/rates.tsv' FORMAT 'TabSeparated'
  CREDENTIALS(USER 'u' PASSWORD 'hunter2') HEADERS(HEADER(NAME 'API-KEY' VALUE 'key'))))
LAYOUT(COMPLEX_KEY_RANGE_HASHED())
RANGE(MIN first MAX last)
LIFETIME(MIN 1 MAX 10)

CREATE DICTIONARY x.networks (prefix String, asn UInt32, country String DEFAULT '??')
PRIMARY KEY prefix
SOURCE(CLICKHOUSE(TABLE 'nets'))
LAYOUT(IP_TRIE(ACCESS_TO_KEY_FROM_ATTRIBUTES 1))
LIFETIME(3600)

CREATE DICTIONARY x.cached (id UInt64, name String)
PRIMARY KEY id
SOURCE(MYSQL(PORT 3306 USER 'u' PASSWORD 'hunter2' REPLICA(HOST 'h' PRIORITY 1) REPLICA(HOST 'i' PRIORITY 2) DB 'shop' TABLE 'names'))
LAYOUT(CACHE(SIZE_IN_CELLS 100000 READ_TIMEOUT 500))
LIFETIME(MIN 30 MAX 60)

CREATE DICTIONARY x.complex_cached (id UInt64, name String, value Float64)
PRIMARY KEY id, name
SOURCE(POSTGRESQL(HOST 'h' PORT 5432 USER 'u' PASSWORD 'hunter2' DB 'shop' TABLE 'names'))
LAYOUT(COMPLEX_KEY_CACHE(SIZE_IN_CELLS 1000))
LIFETIME(10)

CREATE DICTIONARY x.on_disk (id UInt64, name String)
PRIMARY KEY id
SOURCE(ODBC(CONNECTION_STRING 'DSN=shop;PWD=hunter2' TABLE 'names'))
LAYOUT(SSD_CACHE(BLOCK_SIZE 4096 FILE_SIZE 16777216 READ_BUFFER_SIZE 1048576 PATH '/nowhere/cache'))
LIFETIME(MIN 1 MAX 2)

CREATE DICTIONARY x.complex_on_disk (a String, b String, name String)
PRIMARY KEY a, b
SOURCE(EXECUTABLE_POOL(COMMAND 'rows.sh' FORMAT 'TSV' POOL_SIZE 2))
LAYOUT(COMPLEX_KEY_SSD_CACHE(PATH '/nowhere/cache2'))
LIFETIME(1)

CREATE DICTIONARY x.complex_direct (a String, b UInt64, name String) PRIMARY KEY a, b SOURCE(CLICKHOUSE(TABLE 'src' DB 'x'))
  LAYOUT(COMPLEX_KEY_DIRECT())

CREATE DICTIONARY x.complex_array (a String, b UInt64, name Nullable(String)) PRIMARY KEY a, b SOURCE(NULL())
  LAYOUT(COMPLEX_KEY_HASHED_ARRAY(SHARDS 4)) LIFETIME(9)

CREATE DICTIONARY x.polygons_each (area Array(Tuple(Float64, Float64)), name String) PRIMARY KEY area SOURCE(NULL())
  LAYOUT(POLYGON_INDEX_EACH(MIN_INTERSECTIONS 1 MAX_DEPTH 5)) LIFETIME(0)

CREATE DICTIONARY x.polygons_cell (area MultiPolygon, name String) PRIMARY KEY area SOURCE(NULL())
  LAYOUT(POLYGON_INDEX_CELL()) LIFETIME(0)

CREATE DICTIONARY x.spam (class UInt8, ngram String, count UInt64) PRIMARY KEY ngram SOURCE(NULL())
  LAYOUT(NAIVE_BAYES(class_attribute 'class' n 2 mode 'token' alpha 1.0)) LIFETIME(0)

CREATE DICTIONARY x.from_cassandra (id UInt64, name String) PRIMARY KEY id
  SOURCE(CASSANDRA(HOST 'h' PORT 9042 KEYSPACE 'shop' COLUMN_FAMILY 'names')) LAYOUT(HASHED()) LIFETIME(10)

CREATE DICTIONARY x.direct (id UInt64, name String) PRIMARY KEY id SOURCE(CLICKHOUSE(TABLE 'src' DB 'x')) LAYOUT(DIRECT())

CREATE DICTIONARY x.polygons (area Array(Array(Array(Tuple(Float64, Float64)))), name String)
PRIMARY KEY area
SOURCE(NULL())
LAYOUT(POLYGON(STORE_POLYGON_KEY_COLUMN 1))
LIFETIME(0)

CREATE DICTIONARY x.polygons_simple (area Polygon, name String) PRIMARY KEY area SOURCE(NULL())
  LAYOUT(POLYGON_SIMPLE()) LIFETIME(0)

CREATE DICTIONARY x.agents (regexp String, name String, version String)
PRIMARY KEY (regexp)
SOURCE(YAMLRegExpTree(PATH '/nowhere/agents.yaml'))
LAYOUT(REGEXP_TREE)
LIFETIME(0)

CREATE DICTIONARY x.from_program (id UInt64, name String)
PRIMARY KEY id
SOURCE(EXECUTABLE(COMMAND 'rows.sh' FORMAT 'TSV' IMPLICIT_KEY true))
LAYOUT(DIRECT)

CREATE DICTIONARY x.from_mongodb (id UInt64, name String)
PRIMARY KEY id
SOURCE(MONGODB(HOST 'h' PORT 27017 USER 'u' PASSWORD 'hunter2' DB 'shop' COLLECTION 'names'))
LAYOUT(HASHED())
LIFETIME(10)

CREATE DICTIONARY x.from_redis (id UInt64, name String)
PRIMARY KEY id
SOURCE(REDIS(HOST 'h' PORT 6379 STORAGE_TYPE 'simple' DB_INDEX 0))
LAYOUT(HASHED())
LIFETIME(10)

CREATE DICTIONARY x.simple_hashed (code String, name String)
  PRIMARY KEY code SOURCE(CLICKHOUSE(TABLE 'src' DB 'x' USER 'default' PASSWORD '')) LAYOUT(HASHED()) LIFETIME(60)

CREATE DICTIONARY x.simple_cache (code UUID, name String)
  PRIMARY KEY code SOURCE(CLICKHOUSE(TABLE 'src' DB 'x')) LAYOUT(CACHE(SIZE_IN_CELLS 1000)) LIFETIME(60)

CREATE DICTIONARY x.simple_direct (day Date, name String) PRIMARY KEY day SOURCE(CLICKHOUSE(TABLE 'src' DB 'x')) LAYOUT(DIRECT())

CREATE DICTIONARY x.simple_sparse (a String, b UInt64, name String)
  PRIMARY KEY (a, b) SOURCE(CLICKHOUSE(TABLE 'src' DB 'x')) LAYOUT(SPARSE_HASHED()) LIFETIME(60)

CREATE DICTIONARY x.simple_array (address IPv4, name String)
  PRIMARY KEY address SOURCE(CLICKHOUSE(TABLE 'src' DB 'x')) LAYOUT(HASHED_ARRAY(SHARDS 4)) LIFETIME(60)

CREATE DICTIONARY x.simple_ranges (country String, first Date, last Date, rate Float64)
  PRIMARY KEY country SOURCE(CLICKHOUSE(TABLE 'src' DB 'x')) LAYOUT(RANGE_HASHED()) RANGE(MIN first MAX last) LIFETIME(60)

CREATE DICTIONARY x.empty_password (id UInt64, name String)
  PRIMARY KEY id SOURCE(MYSQL(HOST 'h' PORT 3306 USER 'u' PASSWORD '' DB 'd' TABLE 't')) LAYOUT(FLAT()) LIFETIME(60)

CREATE TABLE x.mysql_empty_password (id UInt64) ENGINE = MySQL('h:1', 'd', 't', 'u', '')

CREATE TABLE x.of_dictionary (id UInt64, name String, parent UInt64) ENGINE = Dictionary(x.flat)

CREATE TABLE x.of_dictionary_text (id UInt64, name String, parent UInt64) ENGINE = Dictionary('x.flat')

CREATE TABLE x.asks_dictionary (id UInt64, name String DEFAULT dictGet('x.flat', 'name', id)) ENGINE = MergeTree ORDER BY id

-- Functions
CREATE FUNCTION x_answer AS () -> 42

CREATE FUNCTION x_double AS n -> n * 2

CREATE FUNCTION x_clip AS (n, least, most) -> greatest(least, least(n, most))

CREATE FUNCTION x_twice AS (list) -> arrayMap(item -> x_double(item), arrayFilter(item -> item != 0, list))

CREATE FUNCTION `x quoted` AS (a, b) -> CASE WHEN a > b THEN a::String ELSE concat(toString(b), '->') END

CREATE TABLE x.calls_function (id UInt64, double UInt64 MATERIALIZED x_double(id), list Array(UInt64) DEFAULT x_twice([id]))
  ENGINE = MergeTree ORDER BY id

CREATE VIEW x.view_calls_function AS SELECT x_answer() AS a, x_clip(id, 1, 5) AS b FROM x.src
