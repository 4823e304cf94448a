# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is planned from what is declared and what exists."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import (
    declaration,
    execution,
    object_changes,
    planning,
    schema,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.change import Change
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.observation import Definition, Observation
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Step

from tests.support.connect import connection

DATABASE = {"kind": "database", "name": "d"}
TABLE = {"ddl": "CREATE TABLE d.t (x UInt8) ENGINE = Memory"}
VIEW = {"ddl": "CREATE VIEW d.v AS SELECT x FROM d.t"}


def names(objects: list[dict[str, t.Any]]) -> list[str]:
    return [item.label for item in declaration.declare(objects)]


def test_order_of_kinds() -> None:
    objects = [
        {"ddl": "CREATE MATERIALIZED VIEW d.mv TO d.sums AS SELECT x FROM d.t"},
        VIEW,
        {"ddl": "CREATE TABLE d.all AS d.t ENGINE = Distributed(c, d, t)"},
        TABLE,
        {"ddl": "CREATE TABLE d.sums (x UInt8) ENGINE = Memory"},
        DATABASE,
    ]
    assert names(objects) == ["d", "d.t", "d.sums", "d.all", "d.v", "d.mv"]


def test_references_come_before_kinds() -> None:
    objects = [
        {"ddl": "CREATE VIEW d.a AS SELECT * FROM d.b JOIN d.mv USING x"},
        {"ddl": "CREATE VIEW d.b AS SELECT x FROM t"},
        {"ddl": "CREATE TABLE d.copy AS d.original ENGINE = Memory"},
        {"ddl": "CREATE MATERIALIZED VIEW d.mv ENGINE = Memory AS SELECT x FROM d.t"},
        {"ddl": "CREATE TABLE d.original (x UInt8) ENGINE = Memory"},
        TABLE,
    ]
    assert names(objects) == ["d.original", "d.copy", "d.t", "d.b", "d.mv", "d.a"]


def test_readers_of_a_dictionary_are_created_after_and_dropped_before_it() -> None:
    objects = [
        {"ddl": "CREATE TABLE d.a (x UInt64, y String DEFAULT dictGet('d.z', 'y', x)) ENGINE = Memory"},
        {"ddl": "CREATE TABLE d.b (x UInt64, y String) ENGINE = Dictionary('d.z')"},
        {"ddl": "CREATE DICTIONARY d.z (x UInt64, y String) PRIMARY KEY x SOURCE(NULL()) LAYOUT(FLAT()) LIFETIME(0)"},
    ]
    assert names(objects) == ["d.z", "d.a", "d.b"]
    have = {item.key: Definition(item.statement) for item in declaration.declare(objects)}
    gone = [{"kind": kind, "name": name, "state": "absent"} for kind, name in (("dictionary", "d.z"), ("table", "d.a"), ("table", "d.b"))]
    items = declaration.declare(gone)
    drops = {item.key: object_changes.plan_drop(item, have[item.key].text) for item in items}
    plan = planning.plan_schema(items, Observation(have), drops, ["drop_table"])
    assert plan.statements == ["DROP TABLE d.a SYNC", "DROP TABLE d.b SYNC", "DROP DICTIONARY d.z SYNC"]


def test_function_is_created_with_the_formatted_text() -> None:
    """Its parentheses end up in the tables that call it, and a server that starts takes them from its own text."""
    want = declaration.declare([{"ddl": "CREATE FUNCTION twice AS x -> x * 2"}])
    own = Definition("CREATE FUNCTION twice AS x -> (x * 2)")
    assert planning.plan_schema(want, Observation(want={("", "twice"): own})).statements == [own.text]


def test_column_named_like_a_table_is_not_a_reference() -> None:
    objects = [
        {"ddl": "CREATE TABLE d.a (b UInt8) ENGINE = Memory"},
        {"ddl": "CREATE TABLE d.b (a UInt8) ENGINE = Memory"},
    ]
    assert names(objects) == ["d.a", "d.b"]


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([TABLE, DATABASE, TABLE], r"d\.t is declared twice: objects\[0\] and objects\[2\]"),
        ([{"name": "d.t", "kind": "table"}], r"d\.t: objects\[0\]\.columns is missing"),
        ([{"name": "d"}], r"objects\[0\]\.ddl is missing: 'd'"),
        ([{"kind": "database"}], r"objects\[0\]\.name is missing"),
        ([{**DATABASE, "ddl": "CREATE DATABASE d"}], r"objects\[0\]\.ddl does not go with kind=database"),
        ([{**TABLE, "engine": "Memory"}], r"objects\[0\]\.engine is for databases"),
        ([{**TABLE, "comment": ""}], r"objects\[0\]\.comment is for databases"),
        ([DATABASE, {**TABLE, "name": "d.u"}], r"objects\[1\]\.name is d\.u, but the statement in .* makes d\.t"),
        ([{**TABLE, "kind": "view"}], r"d\.t \(objects\[0\]\.kind\): view is declared, .* makes a table"),
        ([{"name": "d.t", "ddl": "DROP TABLE d.t"}], r"d\.t \(objects\[0\]\.ddl\): expected a CREATE"),
        ([{"kind": "database", "name": "d\udce9"}], r"objects\[0\]\.name is not valid UTF-8 at character 1"),
        (
            [{"ddl": "CREATE VIEW d.a AS SELECT 1 FROM d.b"}, {"ddl": "CREATE VIEW d.b AS SELECT 1 FROM d.a"}],
            r"in a circle: d\.a, d\.b",
        ),
    ],
)
def test_refuses(objects: list[dict[str, t.Any]], message: str) -> None:
    with pytest.raises(ClickHouseError, match=message) as caught:
        declaration.declare(objects)
    assert "\n" not in str(caught.value)


def test_plan_creates_what_is_missing() -> None:
    want = declaration.declare([{**DATABASE, "comment": "it's"}, TABLE])
    plan = planning.plan_schema(want, Observation())
    assert plan.changed
    assert plan.statements == ["CREATE DATABASE d COMMENT 'it\\'s'", "CREATE TABLE d.t (x UInt8) ENGINE = Memory"]
    assert [(state.name, state.status, state.before) for state in plan.objects] == [
        ("d", "created", ""),
        ("d.t", "created", ""),
    ]
    assert [entry["after"] for entry in plan.diff] == [f"{statement}\n" for statement in plan.statements]


def test_plan_leaves_what_is_there() -> None:
    want = declaration.declare([TABLE])
    same = Definition("CREATE TABLE d.t ...", "CREATE TABLE d.t\n...")
    plan = planning.plan_schema(want, Observation({("d", "t"): same}, {("d", "t"): same}, {"d": ("Atomic", "")}))
    assert not plan.changed
    assert plan.diff == []
    assert plan.result["objects"][0]["status"] == "present"


def test_plan_reports_drift_and_does_not_touch_it() -> None:
    want = declaration.declare([DATABASE, TABLE])
    have = Definition("x UInt16", "a\nx UInt16\nb")
    other = Definition("x UInt8", "a\nx UInt8\nb")
    plan = planning.plan_schema(want, Observation({("d", "t"): have}, {("d", "t"): other}))
    assert plan.statements == ["CREATE DATABASE d"]
    assert [state.name for state in plan.drifted] == ["d.t"]
    assert plan.drifted[0].difference == "- x UInt16 | + x UInt8"


def test_plan_needs_the_database() -> None:
    with pytest.raises(ClickHouseError, match=r"d\.t \(objects\[0\]\.ddl\): the database d neither exists nor is"):
        planning.plan_schema(declaration.declare([TABLE]), Observation())


def test_plan_hides_secrets() -> None:
    objects = [DATABASE, {"ddl": "CREATE TABLE d.p (x UInt8) ENGINE = PostgreSQL('h', 'd', 't', 'u', 'hunter2')"}]
    plan = planning.plan_offline(declaration.declare(objects), declaration.find_declared_secrets(objects))
    assert "hunter2" in plan.steps[1].statement
    assert "hunter2" not in str(plan.result)


class Server:
    """Stands where the client does; C(answers) are raised or given, one a statement."""

    def __init__(self, answers: list[Exception | None]) -> None:
        self.answers = answers
        self.connection = connection(1)
        self.tables: set[tuple[str, str]] = set()
        self.executed: list[str] = []

    def call_with_retries(self, call: t.Callable[[], t.Any]) -> t.Any:
        return call()

    def execute(self, statement: str, settings: t.Mapping[str, str] | None = None) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            if answer.args[0] == "lost after":
                self.tables.add(("d", "t"))
            raise answer
        self.executed.append(statement)
        self.tables.add(("d", "t" if "TABLE" in statement else ""))


@pytest.fixture
def converge(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[Server], t.Any]:
    def read(server: Server, *_arguments: t.Any) -> tuple[Observation, dict[tuple[str, str], Change]]:
        same = {key: Definition("x", "x") for key in server.tables}
        return Observation(same, same, {"d": ("Atomic", "")} if ("d", "") in same else {}), {}

    monkeypatch.setattr(schema, "observe_and_compare", read)
    monkeypatch.setattr(execution.time, "sleep", lambda _seconds: None)
    want = declaration.declare([DATABASE, TABLE])
    return lambda server: schema.converge(t.cast("t.Any", server), want, (), apply=True, keep_drift=False)


@pytest.mark.parametrize("code", [57, 82, 342, 517])
def test_concurrently_changed_objects_are_planned_again(converge: t.Callable[[Server], t.Any], code: int) -> None:
    server = Server([None, ClickHouseError("somebody else", code)])
    plan = converge(server)
    assert plan.statements == server.executed
    assert [state.status for state in plan.objects] == ["created", "created"]


def test_replanning_after_concurrent_changes_is_bounded(converge: t.Callable[[Server], t.Any]) -> None:
    with pytest.raises(ClickHouseError, match=r"^d\.t \(objects\[1\]\.ddl\): its other replicas .*METADATA_MISMATCH") as caught:
        converge(Server([None, *[ClickHouseError("METADATA_MISMATCH", 342)] * 50]))
    assert caught.value.details == {"code": 342, "changed": True, "statements": ["CREATE DATABASE d"]}


def test_other_errors_are_not_repeated(converge: t.Callable[[Server], t.Any]) -> None:
    server = Server([None, ClickHouseError("denied", 497), None])
    with pytest.raises(ClickHouseError, match=r"d\.t .*: denied"):
        converge(server)
    assert len(server.executed) == 1


def test_outcome_of_an_unanswered_statement_is_queried(converge: t.Callable[[Server], t.Any]) -> None:
    server = Server([None, ConnectionFailed("lost after")])
    assert converge(server).statements == ["CREATE DATABASE d", "CREATE TABLE d.t (x UInt8) ENGINE = Memory"]
    assert len(server.executed) == 1


STATEMENTS = {
    "DROP": "DROP TABLE d.t SYNC",
    "CREATE": "CREATE TABLE d.t (x UInt8) ENGINE = Null",
    "ALTER": "ALTER TABLE d.t (ADD COLUMN y UInt8)",
}


@pytest.mark.parametrize(
    ("sent", "following", "now", "exists", "ran"),
    [
        ("ALTER", [], [], True, True),
        ("ALTER", [], ["ALTER"], True, False),
        ("ALTER", ["DROP"], ["DROP"], True, True),
        ("ALTER", ["DROP"], ["ALTER", "DROP"], True, False),
        ("ALTER", ["DROP"], ["CREATE"], True, None),
        ("DROP", ["CREATE"], [], False, True),
        ("DROP", ["CREATE"], ["ALTER"], True, False),
        ("CREATE", ["ALTER"], ["DROP"], True, True),
        ("CREATE", ["ALTER"], ["DROP"], False, False),
        ("SYSTEM FLUSH DISTRIBUTED d.t", ["DROP"], ["SYSTEM FLUSH DISTRIBUTED d.t", "DROP"], True, None),
    ],
)
def test_outcome_of_a_statement_without_an_answer(
    sent: str, following: list[str], now: list[str], exists: bool, ran: bool | None
) -> None:
    (item,) = declaration.declare([TABLE])
    found = Observation(have={item.key: Definition("CREATE TABLE d.t")} if exists else {})
    step, *others = (Step(item.key, STATEMENTS.get(name, name), "") for name in (sent, *following, *now))
    assert execution._has_run(step, tuple(others[: len(following)]), tuple(others[len(following) :]), item, found) is ran
