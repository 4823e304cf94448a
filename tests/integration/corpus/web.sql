-- Web analytics: hits, sessions, funnels, and what a site's owner sees.
CREATE TABLE web.sites (id UInt32, domain String, owner UInt64, settings Map(String, String)) ENGINE = ReplacingMergeTree ORDER BY id

CREATE TABLE web.hits (site UInt32, visitor UInt64, at DateTime, path String, referrer String, agent String CODEC(ZSTD(3)), ip IPv6,
screen Tuple(width UInt16, height UInt16), params Map(LowCardinality(String), String), INDEX by_path path TYPE tokenbf_v1(1024, 3, 0) GRANULARITY 2)
ENGINE = MergeTree PARTITION BY toYYYYMM(at) PRIMARY KEY (site, toDate(at), visitor) ORDER BY (site, toDate(at), visitor, at) SAMPLE BY visitor
TTL at + INTERVAL 25 MONTH

CREATE TABLE web.sessions (site UInt32, session UInt64, visitor UInt64, start DateTime, duration UInt32, hits UInt32, sign Int8)
ENGINE = CollapsingMergeTree(sign) PARTITION BY toYYYYMM(start) ORDER BY (site, start, session)

CREATE TABLE web.goals (site UInt32, goal UInt16, name String, pattern String) ENGINE = MergeTree ORDER BY (site, goal)

CREATE TABLE web.conversions (site UInt32, goal UInt16, visitor UInt64, at DateTime, revenue Nullable(Decimal(12, 2)))
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (site, goal, at)

CREATE TABLE web.pages_hourly (site UInt32, hour DateTime, path String, views SimpleAggregateFunction(sum, UInt64),
visitors AggregateFunction(uniqHLL12, UInt64))
ENGINE = AggregatingMergeTree ORDER BY (site, hour, path)

CREATE MATERIALIZED VIEW web.pages_hourly_mv TO web.pages_hourly AS
SELECT site, toStartOfHour(at) AS hour, path, count() AS views, uniqHLL12State(visitor) AS visitors FROM web.hits GROUP BY site, hour, path

CREATE TABLE web.pages_daily (site UInt32, day Date, path String, views UInt64) ENGINE = SummingMergeTree(views) ORDER BY (site, day, path)

CREATE MATERIALIZED VIEW web.pages_daily_mv TO web.pages_daily AS
SELECT site, toDate(hour) AS day, path, sum(views) AS views FROM web.pages_hourly GROUP BY site, day, path

CREATE TABLE web.referrers (site UInt32, day Date, host String, visits UInt64) ENGINE = SummingMergeTree ORDER BY (site, day, host)

CREATE MATERIALIZED VIEW web.referrers_mv TO web.referrers AS
SELECT site, toDate(at) AS day, domain(referrer) AS host, count() AS visits FROM web.hits WHERE referrer != '' GROUP BY site, day, host

CREATE TABLE web.retention (site UInt32, cohort Date, state AggregateFunction(retention, UInt8, UInt8)) ENGINE = AggregatingMergeTree ORDER BY (site, cohort)

CREATE VIEW web.funnel AS SELECT site, level, count() AS visitors FROM (SELECT site, visitor,
windowFunnel(3600)(at, path = '/', path LIKE '/product%', path = '/checkout') AS level FROM web.hits GROUP BY site, visitor) GROUP BY site, level

CREATE VIEW web.landing AS SELECT site, path, count() AS visits FROM (SELECT site, argMin(path, at) AS path FROM web.hits GROUP BY site, visitor) GROUP BY ALL

CREATE VIEW web.bounce AS SELECT site, countIf(hits = 1) / count() AS rate FROM web.sessions FINAL GROUP BY site

CREATE VIEW web.devices AS SELECT multiIf(screen.width < 600, 'phone', screen.width < 1200, 'tablet', 'desktop') AS device, uniq(visitor) AS visitors
FROM web.hits GROUP BY device

CREATE VIEW web.campaigns AS SELECT params['utm_campaign'] AS campaign, count() AS hits FROM web.hits WHERE mapContains(params, 'utm_campaign') GROUP BY campaign

CREATE VIEW web.sequence AS SELECT visitor, sequenceMatch('(?1)(?t<60)(?2)')(at, path = '/', path = '/buy') AS bought FROM web.hits GROUP BY visitor

CREATE VIEW web.ranked AS SELECT site, path, views, row_number() OVER (PARTITION BY site ORDER BY views DESC) AS rank FROM web.pages_daily

CREATE VIEW web.moving AS SELECT site, day, avg(views) OVER (PARTITION BY site ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) AS week
FROM web.pages_daily

CREATE DICTIONARY web.site_domains (id UInt64, domain String, owner UInt64) PRIMARY KEY id SOURCE(CLICKHOUSE(TABLE 'sites' DB 'web')) LAYOUT(FLAT()) LIFETIME(300)

CREATE DICTIONARY web.goal_names (site UInt32, goal UInt16, name String) PRIMARY KEY site, goal
SOURCE(CLICKHOUSE(TABLE 'goals' DB 'web')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(MIN 0 MAX 300)

CREATE VIEW web.named_conversions AS SELECT dictGet('web.goal_names', 'name', (site, goal)) AS goal_name, count() AS conversions
FROM web.conversions GROUP BY goal_name

CREATE TABLE web.bots (pattern String, name String) ENGINE = MergeTree ORDER BY pattern

CREATE TABLE web.blocked (ip IPv6) ENGINE = Set

CREATE TABLE web.cities (network UInt32, city String) ENGINE = Join(ANY, LEFT, network)

CREATE TABLE web.imports (site UInt32, file String, rows UInt64, at DateTime) ENGINE = TinyLog
