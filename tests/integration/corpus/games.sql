-- Games: players, matches, leagues, purchases, cheats.
CREATE TABLE games.players (id UInt64, nick String, joined Date, country LowCardinality(String) DEFAULT 'xx', banned Bool DEFAULT 0) ENGINE = ReplacingMergeTree ORDER BY id

CREATE TABLE games.matches (id UUID, mode Enum8('solo' = 1, 'duo' = 2, 'squad' = 4), start DateTime, seconds UInt16, map LowCardinality(String))
ENGINE = MergeTree PARTITION BY toYYYYMM(start) ORDER BY (mode, start)

CREATE TABLE games.scores (match UUID, player UInt64, score Int32, kills UInt8, deaths UInt8, ratio Float32 MATERIALIZED kills / greatest(deaths, 1))
ENGINE = MergeTree ORDER BY (player, match)

CREATE TABLE games.moves (match UUID, tick UInt32 CODEC(Delta, LZ4), player UInt64, x Float32, y Float32, z Float32, input UInt64)
ENGINE = MergeTree PARTITION BY sipHash64(match) % 8 ORDER BY (match, tick, player)

CREATE TABLE games.ratings (player UInt64, rating SimpleAggregateFunction(anyLast, Int32), peak SimpleAggregateFunction(max, Int32),
games SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY player

CREATE MATERIALIZED VIEW games.ratings_mv TO games.ratings AS
SELECT player, anyLast(score) AS rating, max(score) AS peak, count() AS games FROM games.scores GROUP BY player

CREATE TABLE games.leagues (season UInt16, name String, tiers Array(Tuple(name String, floor Int32))) ENGINE = MergeTree ORDER BY (season, name)

CREATE TABLE games.friends (a UInt64, b UInt64, since Date, sign Int8, version UInt32) ENGINE = VersionedCollapsingMergeTree(sign, version) ORDER BY (a, b)

CREATE TABLE games.inventory (player UInt64, item UInt32, amount Int64) ENGINE = SummingMergeTree(amount) ORDER BY (player, item)

CREATE TABLE games.items (id UInt32, name String, rarity Enum8('common' = 1, 'rare' = 5, 'epic' = 9), stats Map(String, Int16)) ENGINE = MergeTree ORDER BY id

CREATE TABLE games.purchases (player UInt64, item UInt32, at DateTime, coins UInt32, store Variant(String, UInt16)) ENGINE = MergeTree ORDER BY (player, at)

CREATE MATERIALIZED VIEW games.purchases_to_inventory TO games.inventory AS SELECT player, item, count()::Int64 AS amount FROM games.purchases GROUP BY player, item

CREATE TABLE games.revenue (day Date, item UInt32, coins SimpleAggregateFunction(sum, UInt64), buyers AggregateFunction(uniqCombined64, UInt64)) ENGINE = AggregatingMergeTree ORDER BY (day, item)

CREATE MATERIALIZED VIEW games.revenue_mv TO games.revenue AS
SELECT toDate(at) AS day, item, sum(coins) AS coins, uniqCombined64State(player) AS buyers FROM games.purchases GROUP BY day, item

CREATE VIEW games.buyers AS SELECT day, uniqCombined64Merge(buyers) AS buyers FROM games.revenue GROUP BY day

CREATE VIEW games.leaderboard AS SELECT player, rating, dense_rank() OVER (ORDER BY rating DESC) AS place FROM games.ratings

CREATE VIEW games.top_hundred AS SELECT player, place FROM games.leaderboard WHERE place <= 100

CREATE DICTIONARY games.item_names (id UInt64, name String, rarity String) PRIMARY KEY id
SOURCE(CLICKHOUSE(QUERY 'SELECT id, name, toString(rarity) AS rarity FROM games.items')) LAYOUT(FLAT()) LIFETIME(0)

CREATE TABLE games.drops (match UUID, item UInt32, chance Decimal(6, 5), named String DEFAULT dictGetOrDefault('games.item_names', 'name', item, '?'))
ENGINE = MergeTree ORDER BY (item, match)

CREATE VIEW games.epic_drops AS SELECT item, count() AS drops FROM games.drops WHERE dictGet('games.item_names', 'rarity', item) = 'epic' GROUP BY item

CREATE TABLE games.chat (room UInt32, at DateTime64(3), player UInt64, text String, INDEX by_words lower(text) TYPE tokenbf_v1(8192, 2, 7) GRANULARITY 4)
ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (room, at) TTL toDateTime(at) + INTERVAL 60 DAY DELETE WHERE room != 0

CREATE TABLE games.cheats (player UInt64, rule LowCardinality(String), at DateTime, proof String CODEC(ZSTD(12)), confidence Float32)
ENGINE = MergeTree ORDER BY (rule, player)

CREATE VIEW games.suspects AS SELECT player, uniqExact(rule) AS rules, max(confidence) AS confidence FROM games.cheats GROUP BY player HAVING rules > 1

CREATE TABLE games.lobby (room UInt32, player UInt64, ready Bool) ENGINE = Memory

CREATE TABLE games.sessions (player UInt64, start DateTime, end DateTime, device LowCardinality(String), seconds Int64 ALIAS dateDiff('second', start, end))
ENGINE = MergeTree PARTITION BY toYYYYMM(start) ORDER BY (player, start)

CREATE VIEW games.online AS SELECT toStartOfHour(start) AS hour, uniq(player) AS players FROM games.sessions GROUP BY hour WITH TOTALS

CREATE VIEW games.cube AS SELECT mode, map, count() AS matches FROM games.matches GROUP BY CUBE(mode, map)

CREATE VIEW games.union_of_all AS SELECT id::String AS id, 'player' AS kind FROM games.players UNION ALL SELECT id::String AS id, 'match' AS kind FROM games.matches

CREATE FUNCTION games_tier AS rating -> multiIf(rating < 1000, 'bronze', rating < 2000, 'silver', 'gold')

CREATE VIEW games.tiers AS SELECT games_tier(rating) AS tier, count() AS players FROM games.ratings GROUP BY tier
