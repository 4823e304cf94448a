-- Spellings that the server changes, and what it adds by itself: an empty line between statements, {name} is a free name.

CREATE TABLE x.{name} (a UInt8, b Nested(c String, d Array(UInt8))) ENGINE = MergeTree ORDER BY a

create table x.{name} (a tinyint unsigned, b int, c varchar(10), d double) engine = MergeTree primary key a

CREATE TABLE x.{name} (a DateTime CODEC(Delta, LZ4HC), b Float64 CODEC(Gorilla), c Int64 CODEC(DoubleDelta, ZSTD))
  ENGINE = MergeTree
  ORDER BY ()

CREATE TABLE x.{name} (a Enum('x', 'y'), b Enum8('p' = 3, 'q')) ENGINE = Memory

CREATE TABLE x.{name} (a Variant(String, Array(UInt8), UInt64), b Tuple(x UInt8, y String))
  ENGINE = MergeTree
  ORDER BY tuple()

CREATE TABLE x.{name} (a Date, b UInt8 DEFAULT CASE WHEN a > '2020-01-01' THEN 1 ELSE 2 END, c UInt8 MATERIALIZED b::UInt8)
  ENGINE = MergeTree
  ORDER BY a

CREATE TABLE x.{name} (a Date, b Bool ALIAS a BETWEEN '2020-01-01' AND '2021-01-01', c Bool ALIAS a <> '2020-01-01')
  ENGINE = MergeTree
  ORDER BY a

CREATE TABLE x.{name} (INDEX i b TYPE minmax, a UInt8, CONSTRAINT c CHECK a < 9, b UInt8)
  ENGINE = MergeTree
  ORDER BY a

CREATE TABLE x.{name} (a UInt8, b String, PROJECTION p (SELECT b, count() GROUP BY b)) ENGINE = MergeTree ORDER BY a

CREATE TABLE x.{name} (a DateTime, b UInt8)
  ENGINE = MergeTree
  ORDER BY a
  TTL a + INTERVAL 1 MONTH DELETE WHERE b = 1, a + INTERVAL 1 YEAR

CREATE TABLE x.{name} (a DateTime, b UInt64 TTL a + INTERVAL 1 DAY) ENGINE = MergeTree ORDER BY a

CREATE TABLE x.{name} (a DateTime, b UInt64)
  ENGINE = MergeTree
  ORDER BY a
  TTL a + INTERVAL 1 DAY GROUP BY a SET b = sum(b)

CREATE TABLE x.{name} (a UInt64, v UInt64, s Int8) ENGINE = VersionedCollapsingMergeTree(s, v) ORDER BY a SAMPLE BY a

CREATE TABLE x.{name} (a UInt64, v UInt64)
  ENGINE = ReplacingMergeTree(v)
  ORDER BY (a)
  SETTINGS index_granularity=1024, ttl_only_drop_parts=1

CREATE TABLE x.{name} (a UInt64, v AggregateFunction(uniq, UInt64), w SimpleAggregateFunction(max, UInt64))
  ENGINE = AggregatingMergeTree()
  ORDER BY a

CREATE TABLE x.{name} (a String COMMENT 'it''s `a` \'column\'')
  ENGINE = MergeTree
  ORDER BY a COMMENT 'ENGINE = Log
SETTINGS x = 1'

CREATE TABLE x.`{name} ``weird ``name` (`a.b` UInt8, `c d` UInt8) ENGINE = MergeTree ORDER BY `a.b`

CREATE TABLE x."{name} it's" (a UInt8) ENGINE = Log

CREATE TABLE x.{name} (a UInt8) ENGINE = Null

CREATE TABLE x.{name} (a UInt8, b String) ENGINE = Join(ANY, LEFT, a)

CREATE TABLE x.{name} (a UInt8) ENGINE = Set

CREATE TABLE x.{name} (a UInt8) ENGINE = Buffer(x, src, 1, 10, 100, 10000, 1000000, 10000000, 100000000)

CREATE TABLE x.{name} (a UInt8) ENGINE = Merge(x, '^src')

CREATE TABLE x.{name} AS x.src ENGINE = Memory

CREATE TABLE x.{name} AS x.src ENGINE = Distributed('one', x, 'src')

CREATE TABLE x.{name} (a UInt8) ENGINE = Distributed(one, x, src, rand(), 'default') SETTINGS fsync_after_insert = 1

CREATE TABLE x.{name} (a String) ENGINE = PostgreSQL('h:5432', 'd', 't', 'u', 'hunter2')

CREATE TABLE x.{name} (a String) ENGINE = MySQL('h:3306', 'd', 't', 'u', 'hunter2') SETTINGS connection_pool_size = 4

CREATE TABLE x.{name} (a String) ENGINE = S3('https://s3.example.com/bucket/*.csv', 'key', 'hunter2', 'CSV')

CREATE TABLE x.{name} (a String) ENGINE = URL('https://h/x.csv', CSV)

CREATE TABLE x.{name} (a String)
  ENGINE = Kafka()
  SETTINGS kafka_broker_list = 'h:9092', kafka_topic_list = 't', kafka_group_name = 'g', kafka_format = 'JSONEachRow'

CREATE VIEW x.{name} AS SELECT a, count() c FROM x.src WHERE a BETWEEN 1 AND 2 GROUP BY 1 -- comment

CREATE VIEW x.{name} (a UInt16) AS SELECT a FROM x.src

CREATE VIEW x.{name}
  AS WITH s AS (SELECT *
  FROM x.src) SELECT *, '--' AS d
  FROM s
  ORDER BY a LIMIT 1, 2
  SETTINGS max_threads = 1

CREATE VIEW x.{name} AS SELECT a FROM x.src UNION ALL SELECT 2 AS a COMMENT 'AS SELECT'

CREATE MATERIALIZED VIEW x.{name} TO x.src AS SELECT if(a > 1, 1, 2)::UInt8 a FROM x.src2 WHERE NOT a IN (1, 2)

CREATE MATERIALIZED VIEW x.{name} TO x.src (a UInt8) AS SELECT a FROM x.src2

CREATE MATERIALIZED VIEW x.{name} ENGINE = MergeTree ORDER BY a POPULATE AS SELECT a FROM x.src2

CREATE MATERIALIZED VIEW x.{name}
  ENGINE = SummingMergeTree
  ORDER BY a
  SETTINGS ttl_only_drop_parts = 1
  AS SELECT a, count() c
  FROM x.src2 GROUP BY a
  COMMENT 'c'

CREATE MATERIALIZED VIEW x.{name} REFRESH EVERY 1 HOUR APPEND TO x.src AS SELECT a FROM x.src2
