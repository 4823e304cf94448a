# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What definitions refer to, what is lost with a table, and the queries that are made of others, as tables."""

from __future__ import annotations

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import (
    dependencies,
    differences,
    object_changes,
    sql_functions,
    view_checks,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.references import qualify_clause
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import split_clauses

# A query in the server's words -> the tables that it names.
QUERIES = {
    "SELECT a FROM d.t": "d.t",
    "SELECT a FROM t": "default.t",
    "SELECT a FROM d.t AS x INNER JOIN d.u AS y ON x.k = y.k": "d.t d.u",
    "SELECT a FROM d.t AS x, d.u AS y WHERE a IN (d.s)": "d.t d.u d.s",
    "SELECT a FROM (SELECT b FROM d.t) WHERE b IN (SELECT c FROM d.u)": "d.t d.u",
    "SELECT a FROM numbers(3) WHERE a IN (1, 2)": "",
    "SELECT a, b FROM d.t GROUP BY a, b ORDER BY a, b": "d.t",
}


@pytest.mark.parametrize("query", QUERIES)
def test_tables_of_a_query(query: str) -> None:
    assert " ".join(".".join(place.key) for place in dependencies.table_names(query, "default")) == QUERIES[query]


# A query -> the same over x in place of d.t.
SUBSTITUTED = {
    "SELECT a FROM d.t": "SELECT a FROM x AS t",
    "SELECT t.a, d.t.b FROM d.t FINAL": "SELECT t.a, t.b FROM x AS t FINAL",
    "SELECT o.a FROM d.t AS o": "SELECT o.a FROM x AS o",
    "SELECT a FROM d.u WHERE a IN (d.t)": "SELECT a FROM d.u WHERE a IN (x)",
    "SELECT a FROM t": "SELECT a FROM t",
    "SELECT 'd.t' FROM d.u": "SELECT 'd.t' FROM d.u",
}


@pytest.mark.parametrize("query", SUBSTITUTED)
def test_a_query_over_another_table(query: str) -> None:
    assert view_checks.replace_table_names(query, {("d", "t"): "x"}, "default") == SUBSTITUTED[query]


NAMES = {"SELECT a * 2 FROM t": False, "SELECT * FROM t": True, "SELECT t.* FROM t": True, "SELECT count(*) FROM t": False}


@pytest.mark.parametrize("query", NAMES)
def test_a_query_that_names_no_columns(query: str) -> None:
    assert ("*" in dependencies.named_columns(query)) == NAMES[query]


SOURCES = {
    "SOURCE(CLICKHOUSE(TABLE 't' DB 'd'))": {("d", "t")},
    "SOURCE(CLICKHOUSE(TABLE 't'))": {("default", "t")},
    "SOURCE(CLICKHOUSE(HOST 'h' TABLE 'd.t'))": {("d", "t")},
    "SOURCE(CLICKHOUSE(QUERY 'SELECT k FROM d.t'))": {("d", "t")},
    "SOURCE(HTTP(URL 'http://h' FORMAT 'CSV'))": set(),
}


@pytest.mark.parametrize("source", SOURCES)
def test_tables_of_a_dictionary(source: str) -> None:
    assert dependencies.dictionary_sources(f"(k UInt64) PRIMARY KEY k {source}", "default") == SOURCES[source]


OUTPUTS = {
    "AS SELECT a, b AS c FROM d.t": ["a", "c"],
    "AS SELECT t.a, count() AS `n n` FROM d.t AS t": ["a", "n n"],
    "AS WITH x AS (SELECT z FROM d.u) SELECT k FROM x": ["k"],
    "AS SELECT count() FROM d.t": [],
    "AS SELECT a FROM d.t UNION ALL SELECT b FROM d.u": [],
}


@pytest.mark.parametrize("select", OUTPUTS)
def test_columns_that_a_query_gives(select: str) -> None:
    assert differences.query_output_columns(select) == OUTPUTS[select]


FUNCTIONS = {
    name: sql_functions.parse_function(text)
    for name, text in {
        "f": "CREATE FUNCTION f AS x -> (x + 1)",
        "g": "CREATE FUNCTION g AS (x, y) -> (f(x) * y)",
        "s": "CREATE FUNCTION s AS x -> toString(x)",
    }.items()
}
CALLS = {
    "f(n)": "(n + 1)",
    "f(n * 2)": "((n * 2) + 1)",
    "f(f(n))": "((n + 1) + 1)",
    "g(n, 3)": "((n + 1) * 3)",
    "s(n * 2)": "toString(n * 2)",
    "f(n, 3)": "f(n, 3)",
    "'f(n)'": "'f(n)'",
}


@pytest.mark.parametrize("text", CALLS)
def test_calls_of_functions(text: str) -> None:
    assert sql_functions.inline_calls(text, FUNCTIONS) == CALLS[text]


# An engine, with settings -> whether something is lost when its table is dropped and created.
LOST = {
    "ENGINE = Kafka('h:1', 't', 'g', 'CSV')": False,
    "ENGINE = Kafka('h:1', 't', 'g', 'CSV') SETTINGS kafka_keeper_path = '/k', kafka_replica_name = 'r'": True,
    "ENGINE = RabbitMQ SETTINGS rabbitmq_host_port = 'h:1', rabbitmq_exchange_name = 'e'": True,
    "ENGINE = RabbitMQ SETTINGS rabbitmq_host_port = 'h:1', rabbitmq_queue_consume = 1": False,
    "ENGINE = NATS SETTINGS nats_url = 'h:1', nats_subjects = 's'": True,
    "ENGINE = NATS SETTINGS nats_url = 'h:1', nats_stream = 's', nats_consumer_name = 'c'": False,
    "ENGINE = S3Queue('http://h/b/*', 'CSV') SETTINGS mode = 'unordered'": True,
    "ENGINE = FileLog('/var/log/x', 'CSV')": True,
    "ENGINE = Buffer('d', 't', 1, 1, 1, 1, 1, 1, 1)": False,
    "ENGINE = `Null`": False,
}


@pytest.mark.parametrize("engine", LOST)
def test_loss_of_recreated_engines(engine: str) -> None:
    clauses = split_clauses(f"CREATE TABLE d.t (`k` UInt8) {engine}")
    assert bool(object_changes.recreate_loss(clauses)) == LOST[engine]
    assert object_changes.holds_no_rows(clauses)


@pytest.mark.parametrize("engine", ["MergeTree ORDER BY k", "Memory", "Log", "Set", "Join(ANY, LEFT, k)", "File('CSV')", "KeeperMap('/k')"])
def test_engines_with_rows_are_not_recreated(engine: str) -> None:
    assert not object_changes.holds_no_rows(split_clauses(f"CREATE TABLE d.t (`k` UInt8) ENGINE = {engine}"))


QUALIFIED = {
    "TO d": "TO p.d",
    "TO q.d": "TO q.d",
    "REFRESH EVERY 1 HOUR DEPENDS ON a, q.b APPEND": "REFRESH EVERY 1 HOUR DEPENDS ON p.a, q.b APPEND",
    "REFRESH EVERY 1 HOUR": "REFRESH EVERY 1 HOUR",
}


@pytest.mark.parametrize("text", QUALIFIED)
def test_names_of_the_session_s_database(text: str) -> None:
    assert qualify_clause(text, "p") == QUALIFIED[text]
