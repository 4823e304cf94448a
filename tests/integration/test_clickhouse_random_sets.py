# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""clickhouse_schema changes random sets of objects that depend on each other, and sets whose change is interrupted, on the real engine."""

from __future__ import annotations

import os
import re
import typing as t
from collections import Counter
from collections.abc import Callable

import pytest
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError, ConnectionFailed
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.support.clickhouse import ClickHouse, files, until
from tests.support.converge import EVERYTHING, converge, drop_everything

pytestmark = pytest.mark.integration

# Changes of a set into another one. The same ones in each run, unless the environment gives a number: then the seed decides.
SETS = int(os.environ.get("GROUNDWORK_SETS", "40"))
# Changes behind each other, on one server: each begins with what the one before has left.
CHAIN = 5
# Declared objects by name.
Set = dict[str, str]
# Tables that are in every set, and a column of theirs.
KEPT = ("t", "u", "z")
COLUMN = re.compile(r"\b([abc]) (?:UInt|Float)")
# Files of a part of a table, which merges write and remove.
PART = re.compile(r"^store/.*/\w+_\d+_\d+_\d+(_\d+)?/")
FUNCTIONS = ("(x) -> x + 1", "(x) -> x * 3", "(x, y) -> x + y")
TYPES = ("UInt32", "UInt64", "Float64")
ENGINES = {
    "t": "MergeTree ORDER BY k",
    "u": "MergeTree ORDER BY k",
    "z": "MergeTree ORDER BY k",
    "asks": "MergeTree ORDER BY k",
    "input": "Null",
    "all": "Distributed(one, d, t)",
    "hashed": "Distributed(one, d, t, k)",
    "both": "Merge(d, '^(t|u)$')",
    "each": "Merge('d', '^t$')",
    "later": "Buffer(d, t, 1, 1000, 1000, 100000, 100000, 10000000, 10000000)",
}
KINDS = {"TABLE": "table", "VIEW": "view", "MATERIALIZED": "materialized_view", "DICTIONARY": "dictionary", "FUNCTION": "function"}


class Builder:
    """Draws one set. Every object refers only to those before it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.objects: Set = {}
        # Columns of what can be read, by its name.
        self.columns: dict[str, list[str]] = {}
        self.call = ""

    def some(self, names: t.Sequence[str]) -> list[str]:
        return self.draw(st.lists(st.sampled_from(list(names)), max_size=3, unique=True)) if names else []

    def maybe(self) -> bool:
        return self.draw(st.booleans())

    def functions(self) -> None:
        if not self.maybe():
            return
        text = self.draw(st.sampled_from(FUNCTIONS))
        self.objects["f"] = f"CREATE FUNCTION f AS {text}"
        self.call = "f({0}, {0})" if "y" in text else "f({0})"
        if self.maybe():
            self.objects["g"] = f"CREATE FUNCTION g AS (x) -> {self.call.format('x')} * 2"
            self.call = "g({0})"

    def table(self, name: str, columns: t.Sequence[str], default: str = "", like: str = "") -> None:
        texts = ["k UInt64", *(f"{column} {self.draw(st.sampled_from(TYPES))}" for column in columns)]
        texts += [f"n UInt64 DEFAULT {default}"] if default else []
        self.columns[name] = list(columns)
        self.objects[name] = f"CREATE TABLE d.{name} ({', '.join(texts)}) ENGINE = {ENGINES[like or name]}"

    def tables(self) -> None:
        for name in KEPT:
            self.table(name, self.some(("a", "b", "c")), self.call.format("k") if self.call and self.maybe() else "")
        if self.maybe():
            own = self.some(self.columns["t"])
            attributes = "".join(f", {column} UInt64" for column in own)
            source = "SOURCE(CLICKHOUSE(TABLE 't' DB 'd'))"
            rest = f"PRIMARY KEY k {source} LAYOUT(HASHED()) LIFETIME(0)"
            self.objects["dict"] = f"CREATE DICTIONARY d.dict (k UInt64{attributes}) {rest}" if own else ""
            if own:
                self.table("asks", [], f"dictGet('d.dict', '{own[0]}', k)")
            else:
                del self.objects["dict"]
        if self.maybe():
            self.table("input", self.some(("a", "b", "c")))
        if self.maybe():
            self.table("all", self.some(self.columns["t"]), like=self.draw(st.sampled_from(("all", "hashed"))))
        if self.maybe():
            shared = [name for name in self.columns["t"] if name in self.columns["u"]]
            self.table("both", shared, like=self.draw(st.sampled_from(("both", "each"))))
        if self.maybe():
            self.table("later", self.some(self.columns["t"]))

    def views(self) -> None:
        for name in ("v", "w", "x")[: self.draw(st.integers(0, 3))]:
            source = self.draw(st.sampled_from([table for table in self.columns if table != "input"]))
            own = self.columns[name] = self.some(self.columns[source])
            reads = ["s.k AS k", *(f"s.{column} AS {column}" for column in own)]
            if self.call and own and self.maybe():
                reads[-1] = f"{self.call.format(f's.{own[-1]}')} AS {own[-1]}"
            join = f" INNER JOIN d.{self.draw(st.sampled_from(('t', 'u')))} AS o ON s.k = o.k" if self.maybe() else ""
            self.objects[name] = f"CREATE VIEW d.{name} AS SELECT {', '.join(reads)} FROM d.{source} AS s{join}"

    def materialized_views(self) -> None:
        """From t, or what is written to input, to u, and from there to z."""
        for name, sources, target in (("m", ("t",), "u"), ("o", ("t", "input"), "u"), ("p", ("u",), "z")):
            source = self.draw(st.sampled_from(sources))
            if source not in self.columns or not self.maybe():
                continue
            given = [column for column in self.some(self.columns[source]) if column in self.columns[target]]
            reads = ["k", *(f"{column} + 1 AS {column}" if self.maybe() else column for column in given)]
            if self.call and given and self.maybe():
                reads[-1] = f"{self.call.format(given[-1])} AS {given[-1]}"
            self.objects[name] = f"CREATE MATERIALIZED VIEW d.{name} TO d.{target} AS SELECT {', '.join(reads)} FROM d.{source}"


@st.composite
def sets(draw: st.DrawFn) -> Set:
    builder = Builder(draw)
    for part in (builder.functions, builder.tables, builder.views, builder.materialized_views):
        part()
    names = draw(st.permutations(list(builder.objects)))
    return {name: builder.objects[name] for name in names}


def renamed_columns(before: str, after: str) -> dict[str, str]:
    """Columns that only one of two definitions of a table has, in pairs: the new name of each former one."""
    former, new = (COLUMN.findall(text) for text in (before, after))
    return dict(zip((name for name in new if name not in former), (name for name in former if name not in new), strict=False))


def wanted(before: Set, after: Set, renames: t.Mapping[str, dict[str, str]]) -> list[t.Any]:
    """The declarations of a set, with renamed columns by table, and of what is in the set before it only, as absent."""
    gone = [(text.split()[1], name) for name, text in before.items() if name not in after]
    absent = [{"kind": KINDS[kind], "name": name if kind == "FUNCTION" else f"d.{name}", "state": "absent"} for kind, name in gone]
    return [*({"ddl": text, "renamed_columns": renames.get(name, {})} for name, text in after.items()), *absent]


def dropped_tables(server: ClickHouse) -> list[str]:
    """UUIDs of tables that were dropped. The server removes their files minutes later."""
    return server.query("SELECT uuid FROM system.dropped_tables").split()


def everything(server: ClickHouse, dropped: t.Collection[str]) -> tuple[str, dict[str, int], list[str]]:
    """All that a run might change: definitions, identities, rows, and files but for those of merges and of C(dropped) tables."""
    top = server.folder / "data"
    until("temporary tables are gone", lambda: not any((top / "data" / "_temporary_and_external_tables").glob("*")))
    tables = server.query(
        "SELECT database, name, uuid, metadata_modification_time, create_table_query, total_rows FROM system.tables"
        " WHERE database IN ('d', 'default', '') ORDER BY ALL"
    )
    paths = {path: size for path, size in files(server).items() if not PART.search(path)}
    kept = {path: size for path, size in paths.items() if not any(uuid in path for uuid in dropped)}
    return tables, kept, [path.read_text() for path in sorted((top / "user_defined").glob("*"))]


def rows(server: ClickHouse) -> dict[str, str]:
    """Rows of tables that keep some."""
    query = "SELECT name, total_rows FROM system.tables WHERE database = 'd' AND engine = 'MergeTree'"
    return dict(line.split("\t") for line in server.query(query).splitlines())


def sums(server: ClickHouse, columns: t.Iterable[tuple[str, str]]) -> list[str]:
    """Sums of columns, given by table and name; small whole numbers are the same in every type."""
    return [server.query(f"SELECT sum(toFloat64({column})) FROM d.{table}") for table, column in columns]


def change(server: ClickHouse, client: Client, before: Set, after: Set, rename: bool) -> None:
    """From one set to another in one call, as check mode has said."""
    renames = {name: renamed_columns(before[name], after[name]) for name in KEPT if rename and name in before}
    objects = wanted(before, after, renames)
    renamed = [(name, new, former) for name, columns in renames.items() for new, former in columns.items()]
    dropped = dropped_tables(server)
    found = everything(server, dropped)
    announced = converge(client, *objects, apply=False, allow=EVERYTHING)
    assert everything(server, dropped) == found
    if "later" in before:
        server.query("OPTIMIZE TABLE d.later")
    counts, values = rows(server), sums(server, ((name, former) for name, _new, former in renamed))
    done = converge(client, *objects, allow=EVERYTHING)
    assert announced.statements == done.statements
    assert done.drifted == []
    event("changed" if done.changed else "the same")
    event("a column was renamed" if any("RENAME COLUMN" in statement for statement in done.statements) else "no column was renamed")
    assert converge(client, *objects).statements == []
    assert sums(server, ((name, new) for name, new, _former in renamed)) == values
    now = rows(server)
    assert {name: now[name] for name in counts if name in after} == {name: count for name, count in counts.items() if name in after}


def use(server: ClickHouse, objects: Set, number: int) -> None:
    """Rows go in where they can, and everything can be read."""
    for name in KEPT:
        columns = ["k", *COLUMN.findall(objects[name])]
        values = [str(number + place) for place in range(len(columns))]
        server.query(f"INSERT INTO d.{name} ({', '.join(columns)}) VALUES ({', '.join(values)})")
    for name in objects:
        if name in ("asks", "input", "later"):
            server.query(f"INSERT INTO d.{name} (k) VALUES ({number})")


@settings(max_examples=SETS // CHAIN, derandomize="GROUNDWORK_SETS" not in os.environ, suppress_health_check=list(HealthCheck))
@given(chain=st.lists(st.tuples(sets(), st.booleans()), min_size=CHAIN, max_size=CHAIN))
def test_any_set_to_any_other(server: ClickHouse, client: Client, chain: list[tuple[Set, bool]]) -> None:
    """New columns replace missing ones, or are their new names."""
    drop_everything(server)
    before: Set = {}
    for number, (after, rename) in enumerate(chain):
        change(server, client, before, after, rename)
        use(server, after, number)
        before = after


DICTIONARY = "PRIMARY KEY k SOURCE(CLICKHOUSE(TABLE 't' DB 'd')) LAYOUT(HASHED()) LIFETIME(0)"
KAFKA = "Kafka('127.0.0.1:1', 'topic', 'group', 'JSONEachRow')"
# Sets before and after a change that is interrupted at each of its statements.
INTERRUPTED: dict[str, tuple[Set, Set]] = {
    "columns, a dictionary, a function and views": (
        {
            "f": "CREATE FUNCTION f AS (x) -> x + 1",
            "t": "CREATE TABLE d.t (k UInt64, a UInt32 DEFAULT f(k)) ENGINE = MergeTree ORDER BY k",
            "u": "CREATE TABLE d.u (k UInt64, a UInt64) ENGINE = MergeTree ORDER BY k",
            "dict": f"CREATE DICTIONARY d.dict (k UInt64, a UInt64) {DICTIONARY}",
            "asks": "CREATE TABLE d.asks (k UInt64, n UInt64 DEFAULT dictGet('d.dict', 'a', k)) ENGINE = MergeTree ORDER BY k",
            "v": "CREATE VIEW d.v AS SELECT k, a FROM d.t",
            "w": "CREATE VIEW d.w AS SELECT v.a FROM d.v",
            "m": "CREATE MATERIALIZED VIEW d.m TO d.u AS SELECT k, f(a) AS a FROM d.t",
        },
        {
            "f": "CREATE FUNCTION f AS (x, y) -> x * y",
            "t": "CREATE TABLE d.t (k UInt64, b UInt32 DEFAULT f(k, 2)) ENGINE = MergeTree ORDER BY k",
            "u": "CREATE TABLE d.u (k UInt64, b UInt64) ENGINE = MergeTree ORDER BY k",
            "dict": f"CREATE DICTIONARY d.dict (k UInt64, b UInt64) {DICTIONARY}",
            "asks": "CREATE TABLE d.asks (k UInt64, n UInt64 DEFAULT dictGet('d.dict', 'b', k)) ENGINE = MergeTree ORDER BY k",
            "v": "CREATE VIEW d.v AS SELECT k, b FROM d.t",
            "w": "CREATE VIEW d.w AS SELECT v.b FROM d.v",
            "m": "CREATE MATERIALIZED VIEW d.m TO d.u AS SELECT k, f(b, 3) AS b FROM d.t",
        },
    ),
    "tables without rows, and a queue": (
        {
            "t": "CREATE TABLE d.t (k UInt64) ENGINE = MergeTree ORDER BY k",
            "u": "CREATE TABLE d.u (k UInt64) ENGINE = MergeTree ORDER BY k",
            "q": f"CREATE TABLE d.q (k UInt64) ENGINE = {KAFKA}",
            "all": "CREATE TABLE d.all (k UInt64) ENGINE = Distributed(one, d, t)",
            "later": "CREATE TABLE d.later (k UInt64) ENGINE = Buffer(d, t, 1, 1000, 1000, 100000, 100000, 10000000, 10000000)",
            "m": "CREATE MATERIALIZED VIEW d.m TO d.u AS SELECT k FROM d.q",
            "o": "CREATE MATERIALIZED VIEW d.o TO d.u AS SELECT k FROM d.t",
        },
        {
            "t": "CREATE TABLE d.t (k UInt64) ENGINE = MergeTree ORDER BY k",
            "u": "CREATE TABLE d.u (k UInt64, b UInt8) ENGINE = MergeTree ORDER BY k",
            "q": f"CREATE TABLE d.q (k UInt64, b UInt8) ENGINE = {KAFKA}",
            "all": "CREATE TABLE d.all (k UInt64) ENGINE = Distributed(one, d, t, k)",
            "later": "CREATE TABLE d.later (k UInt64) ENGINE = Buffer(d, t, 1, 1000, 1000, 100000, 100000, 10000000, 20000000)",
            "m": "CREATE MATERIALIZED VIEW d.m TO d.u AS SELECT k, b FROM d.q",
            "z": "CREATE TABLE d.z (k UInt64) ENGINE = MergeTree ORDER BY k",
            "o": "CREATE MATERIALIZED VIEW d.o TO d.z AS SELECT k FROM d.t",
        },
    ),
    "a table that is copied into another": (
        {
            "t": "CREATE TABLE d.t (k UInt64, a UInt64) ENGINE = MergeTree ORDER BY k",
            "v": "CREATE VIEW d.v AS SELECT k, a FROM d.t",
        },
        {
            "t": "CREATE TABLE d.t (k UInt64, a UInt64, b UInt8) ENGINE = MergeTree ORDER BY (a, k)",
            "v": "CREATE VIEW d.v AS SELECT k, b FROM d.t",
        },
    ),
}  # fmt: skip
# `make soak` interrupts each of them, `make test` the one that copies rows.
EACH_INTERRUPTED = list(INTERRUPTED) if SETS > 300 else ["a table that is copied into another"]
Statements = list[str]


def reset(server: ClickHouse, client: Client, objects: Set) -> str:
    """The set before a change, with a row. Returns how many rows there are."""
    drop_everything(server)
    converge(client, *objects.values())
    server.query("INSERT INTO d.t (k) VALUES (1)")
    return server.query("SELECT count() FROM d.t")


def truthful(ran: Statements, done: t.Sequence[str], uncertain: t.Sequence[str]) -> None:
    """What is said to be done ran, in this order; what ran is said to be done, or to be uncertain."""
    assert not Counter(done) - Counter(ran), "reported, but did not run"
    assert not Counter(ran) - Counter(done) - Counter(uncertain), "ran, but is not reported"
    remaining = iter(ran)
    assert all(statement in remaining for statement in done)


def breaking(ran: Statements, number: int, runs: bool, end: Callable[[], None]) -> Callable[..., None]:
    """Client.execute, which C(end)s before or after the change's statement of this number."""
    execute = Client.execute

    def broken(self: Client, statement: str, *arguments: t.Any) -> None:
        if "__groundwork" in statement:
            return execute(self, statement, *arguments)
        if len(ran) >= number and not runs:
            end()
        execute(self, statement, *arguments)
        ran.append(statement)
        if len(ran) > number:
            end()
        return None

    return broken


def interrupted(client: Client, objects: Set, monkeypatch: pytest.MonkeyPatch, execute: Callable[..., None]) -> ClickHouseError:
    with monkeypatch.context() as patched:
        patched.setattr(Client, "execute", execute)
        patched.setattr("time.sleep", lambda _seconds: None)
        with pytest.raises(ClickHouseError) as caught:
            converge(client, *objects.values(), allow=EVERYTHING)
    return caught.value


@pytest.mark.parametrize("what", EACH_INTERRUPTED)
def test_a_server_that_is_killed_at_any_statement(
    server: ClickHouse, client: Client, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Killed before or after any statement of a change: what was done is told, the next run finishes, and the rows are there.

    In `make soak` before and after each, in `make test` by turns.
    """
    before, after = INTERRUPTED[what]
    reset(server, client, before)
    statements = converge(client, *after.values(), apply=False, allow=EVERYTHING).statements
    for number, statement in enumerate(statements):
        # Before it ran and after, by turns where time is short: killed before a statement, the server is as it is behind the one before.
        for runs in (False, True) if SETS > 300 else (number % 2 == 0,):
            count = reset(server, client, before)
            ran: Statements = []

            def end(ran: Statements = ran, number: int = number, runs: bool = runs) -> None:
                server.kill()
                if runs:
                    raise ConnectionFailed("it was killed")

            error = interrupted(client, after, monkeypatch, breaking(ran, number, runs, end))
            server.start()
            assert list(error.done) == statements[:number], statement
            assert error.uncertain[0] == statement
            truthful(ran, error.done, error.uncertain)
            converge(client, *after.values(), allow=EVERYTHING)
            assert converge(client, *after.values()).statements == []
            assert server.query("SELECT count() FROM d.t") == count, statement


@pytest.mark.parametrize("what", EACH_INTERRUPTED)
def test_a_connection_that_breaks_at_each_retry(server: ClickHouse, client: Client, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """From any statement on, each one breaks the connection when it ran."""
    before, after = INTERRUPTED[what]
    reset(server, client, before)
    total = len(converge(client, *after.values(), apply=False, allow=EVERYTHING).statements)
    for number in range(total):
        count = reset(server, client, before)
        ran: Statements = []

        def end() -> None:
            raise ConnectionFailed("it broke")

        with monkeypatch.context() as patched:
            patched.setattr(Client, "execute", breaking(ran, number, True, end))
            patched.setattr("time.sleep", lambda _seconds: None)
            try:
                plan = converge(client, *after.values(), allow=EVERYTHING)
                done, uncertain = plan.statements, list(plan.uncertain)
            except ConnectionFailed as error:
                done, uncertain = list(error.done), list(error.uncertain)
        truthful(ran, done, uncertain)
        converge(client, *after.values(), allow=EVERYTHING)
        assert converge(client, *after.values()).statements == []
        assert server.query("SELECT count() FROM d.t") == count
