# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read from a server, and which declarations and views are tried there, as tables without a server."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import canonical, error_codes, server_state, view_checks
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ServerError
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import Purge, declare, sort_by_needs
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.observation import Comparison
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.references import view_target
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import split_clauses

TABLE = "CREATE TABLE d.t (`a` String) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 8192"
VIEW = "CREATE VIEW d.v AS SELECT a FROM d.t"
CALLS = "CREATE TABLE d.c (`a` String, `b` String DEFAULT f(a)) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 8192"
FUNCTION = "CREATE FUNCTION f AS x -> x"


def comparison(*statements: str, existing: t.Collection[str] = (), changing: t.Collection[tuple[str, str]] = ()) -> Comparison:
    declared = tuple(declare([{"ddl": text} for text in statements]))
    have = {item.key: item.statement for item in declared if item.label in existing}
    clauses = {item.key: split_clauses(item.statement) for item in declared}
    return Comparison(declared, clauses, have, {}, "default", frozenset(), frozenset(changing))


@pytest.mark.parametrize(
    ("statement", "existing", "code", "valid"),
    [
        (TABLE, "", error_codes.UNKNOWN_TABLE, True),
        (TABLE, "", error_codes.UNKNOWN_DATABASE, True),
        (TABLE, "d.t", error_codes.UNKNOWN_TABLE, False),
        (TABLE, "", error_codes.UNKNOWN_IDENTIFIER, False),
        (TABLE, "", error_codes.INCORRECT_QUERY, False),
        (VIEW, "", error_codes.UNKNOWN_IDENTIFIER, True),
        (VIEW, "", error_codes.ACCESS_DENIED, False),
        (CALLS, "", error_codes.UNKNOWN_FUNCTION, True),
        (CALLS, "d.c", error_codes.UNKNOWN_FUNCTION, False),
    ],
)
def test_declarations_with_missing_dependencies(statement: str, existing: str, code: int, valid: bool) -> None:
    compared = comparison(statement, FUNCTION, existing=[existing])
    item = next(item for item in compared.declared if item.kind != "function")
    assert canonical._may_be_valid(compared, item, ServerError("refused", code)) is valid


def test_engines_without_temporary_tables_may_be_valid() -> None:
    compared = comparison(TABLE)
    error = ServerError("Temporary tables cannot be created with the engine X", error_codes.INCORRECT_QUERY)
    assert canonical._may_be_valid(compared, compared.declared[0], error)


@pytest.mark.parametrize(
    ("statement", "existing", "tried"),
    [
        (TABLE, "", "CREATE TEMPORARY TABLE IF NOT EXISTS X (`a` String) ENGINE = MergeTree ORDER BY a SETTINGS index_granularity = 8192"),
        (VIEW, "", None),
        (VIEW, "d.v", "CREATE TEMPORARY VIEW IF NOT EXISTS X AS SELECT a FROM d.t"),
        # An existing table is tried without calls of functions that are not there yet.
        (
            CALLS,
            "d.c",
            "CREATE TEMPORARY TABLE IF NOT EXISTS X (`a` String, `b` String) ENGINE = MergeTree ORDER BY a"
            " SETTINGS index_granularity = 8192",
        ),
        ("CREATE DICTIONARY d.x (`k` UInt64) PRIMARY KEY k SOURCE(NULL()) LAYOUT(FLAT())", "", None),
    ],
)
def test_trial_statements(statement: str, existing: str, tried: str | None) -> None:
    compared = comparison(statement, existing=[existing], changing=[("", "f")])
    trials = canonical._trial_statements(compared, compared.declared)
    statements = [" ".join(text.replace(name, "X").split()) for names in trials.values() for name, text in names.items()]
    assert statements == ([tried] if tried else [])


@pytest.mark.parametrize(
    ("columns", "engine", "made"),
    [
        ("`a` String CODEC(ZSTD(1))", "MergeTree", "(`a` String) ENGINE = MergeTree"),
        (
            "`a` String, `b` UInt8 ALIAS 1",
            "Log",
            "(`a` String, `b` UInt8 ALIAS defaultValueOfTypeName('UInt8')) ENGINE = ReplacingMergeTree",
        ),
        ("`a` String DEFAULT 'x', `e` String EPHEMERAL", "ReplicatedMergeTree('/p', 'r')", "(`a` String) ENGINE = MergeTree"),
    ],
)
def test_tables_that_views_are_checked_on(columns: str, engine: str, made: str) -> None:
    clauses = split_clauses(f"CREATE TABLE d.t ({columns}) ENGINE = {engine}")
    assert view_checks.temporary_table_statement("x", clauses) == f"CREATE TEMPORARY TABLE x {made} ORDER BY tuple()"


def test_view_over_a_topic_may_read_what_the_engine_adds() -> None:
    """A column of the same name that is declared takes precedence."""
    made = view_checks.temporary_table_statement("x", split_clauses("CREATE TABLE d.t (`a` String, `_key` UInt8) ENGINE = Kafka(c)"))
    for column in ("_topic", "_partition", "_offset", "_timestamp_ms", "_raw_message", "_error"):
        assert f"{column} " in made
    assert "_offset UInt64 MATERIALIZED " in made
    assert made.count("_key") == 1


@pytest.mark.parametrize(
    ("to", "target"),
    [("TO d.t ", ("d", "t")), ("TO `a b`.`c.d` ", ("a b", "c.d")), ("", ("", "")), ("TO t ", ("", ""))],
)
def test_targets_of_materialized_views(to: str, target: tuple[str, str]) -> None:
    assert view_target(split_clauses(f"CREATE MATERIALIZED VIEW d.v {to}AS SELECT a FROM d.s")) == target


@pytest.mark.parametrize(
    ("needs", "ordered"),
    [
        ({"a": "", "b": "", "c": ""}, "abc"),
        ({"a": "c", "b": "", "c": ""}, "bca"),
        ({"a": "b", "b": "a", "c": ""}, "c"),
        ({"a": "b", "b": "a", "c": "a", "d": ""}, "d"),
    ],
)
def test_sort_by_needs(needs: dict[str, str], ordered: str) -> None:
    assert "".join(sort_by_needs({name: set(others) for name, others in needs.items()}, {name: name for name in needs})) == ordered


class Server:
    """A server that has these rows, by the system table that a query asks."""

    class connection:  # noqa: N801 - as the client names it
        database = None

    def __init__(self, rows: dict[str, list[tuple[t.Any, ...]]]) -> None:
        self.answers = rows
        self.queries: list[str] = []

    def rows(self, query: str) -> list[tuple[t.Any, ...]]:
        self.queries.append(query)
        return next((rows for table, rows in self.answers.items() if f"system.{table}" in query), [("default",)])


def test_each_kind_is_read_in_one_query() -> None:
    items = [{"kind": "database", "name": "d"}, {"ddl": TABLE, "renamed_from": "d.old"}, {"ddl": FUNCTION}]
    old = TABLE.replace("d.t", "d.old")
    server = Server(
        {
            "databases": [("d", "Atomic", "", "home")],
            "functions": [("f", FUNCTION, "home")],
            "tables": [("d", "old", old), ("d", "t__rebuild", TABLE)],
        }
    )
    state = server_state.read_server_state(t.cast("t.Any", server), declare(items), [])
    assert state.databases == {"d": ("Atomic", "")}
    assert state.database == "home"
    assert state.definitions == {("", "f"): FUNCTION, ("d", "t"): TABLE}
    assert state.former == {("d", "t"): old}
    assert state.leftovers == {("d", "t"): TABLE}
    assert len(server.queries) == 3


def test_purge_leaves_declared_and_kept_objects() -> None:
    rows = [("d", name, TABLE.replace("d.t", f"d.{name}")) for name in ("t", "t__rebuild", "a", "b_keep")]
    server = Server({"databases": [], "tables": rows})
    purge = [Purge("d", keep=("*_keep",))]
    state = server_state.read_server_state(t.cast("t.Any", server), declare([{"ddl": TABLE}]), purge)
    assert [item.label for item in state.purged] == ["d.a"]
