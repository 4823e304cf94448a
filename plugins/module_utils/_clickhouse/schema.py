# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases, tables and views: declared, read, planned, applied (private: may change at any time).

``declare`` and ``plan_schema`` are pure. ``Reader`` asks the server for what exists and for the canonical form of what
is declared; ``converge`` joins the two and is the one place that writes.
"""

from __future__ import annotations

import dataclasses
import heapq
import random
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import ddl
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._plan import DRIFTED, ObjectState, Plan, Step

PRESENT = "present"
CREATED = "created"

# The order in which kinds are created where nothing else decides.
_RANKS = {"database": 0, "table": 1, "distributed": 2, "view": 3, "materialized_view": 4}

# Answers that mean "somebody else is changing it": already there, gone meanwhile, being created, a peer's ALTER, a peer's
# definition in ZooKeeper that is ahead. Read again, plan again.
_CONTESTED = {57, 82, 342, 517}
_ATTEMPTS = 6
_PAUSE_AT_MOST = 4.0

# A declaration that needs what the same plan creates cannot be tried beforehand.
_NOT_THERE_YET = {60, 81}
# Engines that cannot be tried as a temporary table.
_NOT_TEMPORARY = 80
# Of a statement that was formatted before: the server has no temporary views yet.
_NO_TEMPORARY_VIEWS = 62


@dataclass(frozen=True)
class Declared:
    """One object as it should be."""

    index: int
    kind: str
    database: str
    name: str
    body: str = ""
    engine: str | None = None
    comment: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return (self.database, self.name)

    @property
    def label(self) -> str:
        return self.database if self.kind == "database" else f"{self.database}.{self.name}"

    @property
    def subject(self) -> str:
        option = "name" if self.kind == "database" else "ddl"
        return f"{self.label} (objects[{self.index}].{option})"

    @property
    def head(self) -> str:
        if self.kind == "database":
            return f"CREATE DATABASE {ddl.quote_name(self.database)}"
        return f"CREATE {ddl.KEYWORDS[self.kind]} {ddl.qualified(self.database, self.name)}"

    @property
    def statement(self) -> str:
        if self.kind != "database":
            return f"{self.head} {self.body}"
        engine = f" ENGINE = {self.engine}" if self.engine else ""
        comment = f" COMMENT {ddl.quote_string(self.comment)}" if self.comment else ""
        return self.head + engine + comment


@dataclass(frozen=True)
class Definition:
    """A definition in the server's own words: one line to compare, several to read."""

    text: str
    pretty: str = ""


@dataclass(frozen=True)
class Found:
    """What the server knows: what exists, and what each declaration means to it."""

    have: t.Mapping[tuple[str, str], Definition] = field(default_factory=dict)
    want: t.Mapping[tuple[str, str], Definition] = field(default_factory=dict)
    databases: t.Collection[str] = ()
    secrets: t.Collection[str] = ()


def declare(objects: t.Sequence[t.Mapping[str, t.Any]]) -> list[Declared]:
    """Check the option C(objects) and put it in the order of creation."""
    declared: dict[tuple[str, str], Declared] = {}
    for index, options in enumerate(objects):
        item = _declare(index, options)
        other = declared.get(item.key)
        if other is not None:
            raise ClickHouseError(f"{item.label} is declared twice: objects[{other.index}] and objects[{index}]")
        declared[item.key] = item
    return _ordered(declared)


def secrets_of(objects: t.Sequence[t.Mapping[str, t.Any]]) -> set[str]:
    """Passwords and keys inside the declarations."""
    found: set[str] = set()
    for options in objects:
        for text in (options.get("ddl"), options.get("engine") and f"CREATE DATABASE x ENGINE = {options['engine']}"):
            if text:
                found |= ddl.secret_literals(text)
    return found


def _declare(index: int, options: t.Mapping[str, t.Any]) -> Declared:
    where = f"objects[{index}]"
    name, kind, text = options.get("name"), options.get("kind"), options.get("ddl")
    for option in ("name", "ddl", "engine", "comment"):
        try:
            (options.get(option) or "").encode()
        except UnicodeEncodeError as error:
            raise ClickHouseError(f"{where}.{option} is not valid UTF-8 at character {error.start}") from error
    if text is None:
        if kind != "database":
            what = f"a {kind} named {name}" if kind else f"{name!r}"
            raise ClickHouseError(f"{where}.ddl is missing: {what} is declared by its CREATE statement")
        if not name:
            raise ClickHouseError(f"{where}.name is missing: a database is declared by its name")
        return Declared(index, "database", name, "", engine=options.get("engine"), comment=options.get("comment"))
    if kind == "database":
        raise ClickHouseError(f"{where}.ddl does not go with kind=database: use name, engine and comment")
    for option in ("engine", "comment"):
        if options.get(option) is not None:
            raise ClickHouseError(f"{where}.{option} is for databases: say it in the statement in {where}.ddl")
    try:
        create = ddl.parse_create(text)
    except ddl.DDLError as error:
        raise ClickHouseError(f"{name + ' ' if name else ''}({where}.ddl): {error}") from error
    item = Declared(index, create.kind, create.database, create.name, create.body)
    if name and name != item.label:
        raise ClickHouseError(f"{where}.name is {name}, but the statement in {where}.ddl makes {item.label}")
    if kind and kind != item.kind:
        raise ClickHouseError(f"{item.label} ({where}.kind): {kind} is declared, but the statement makes a {item.kind}")
    return item


def _ordered(declared: t.Mapping[tuple[str, str], Declared]) -> list[Declared]:
    """Databases, tables, Distributed tables, views, materialized views; before that, what an object refers to."""
    waits: dict[tuple[str, str], set[tuple[str, str]]] = {}
    ranks: dict[tuple[str, str], tuple[int, int]] = {}
    for key, item in declared.items():
        kind = item.kind
        needs: set[tuple[str, str]] = set()
        if kind != "database":
            create = ddl.Create(item.kind, item.database, item.name, item.body)
            needs = ddl.references(create) | {(item.database, "")}
            if kind == "table" and ddl.engine_of(item.body)[0] in ("Distributed", "Buffer", "Merge"):
                kind = "distributed"
        waits[key] = {need for need in needs if need in declared and need != key}
        ranks[key] = (_RANKS[kind], item.index)
    ready = [(ranks[key], key) for key, needs in waits.items() if not needs]
    heapq.heapify(ready)
    ordered: list[Declared] = []
    while ready:
        _rank, key = heapq.heappop(ready)
        ordered.append(declared[key])
        for other, needs in waits.items():
            if key in needs:
                needs.remove(key)
                if not needs:
                    heapq.heappush(ready, (ranks[other], other))
    if len(ordered) < len(declared):
        rest = sorted(declared[key].label for key, needs in waits.items() if needs)
        raise ClickHouseError(f"objects refer to each other in a circle: {', '.join(rest)}")
    return ordered


def plan_schema(want: t.Sequence[Declared], found: Found, secrets: t.Collection[str] = ()) -> Plan:
    """What has to be done. Pure: two structures in, a plan out."""
    steps: list[Step] = []
    states: list[ObjectState] = []
    databases = {item.database for item in want if item.kind == "database"} | set(found.databases)
    for item in want:
        if item.database not in databases:
            raise ClickHouseError(f"{item.subject}: the database {item.database} neither exists nor is declared")
        have = found.have.get(item.key)
        shown = ddl.mask(item.statement, secrets)
        canonical = found.want.get(item.key, Definition(shown, shown))
        if have is None:
            steps.append(Step(item.label, item.statement, shown))
            states.append(ObjectState(item.label, item.kind, CREATED, "", canonical.pretty))
        else:
            status = PRESENT if have.text == canonical.text else DRIFTED
            after = have.pretty if status == PRESENT else canonical.pretty
            states.append(ObjectState(item.label, item.kind, status, have.pretty, after))
    return Plan(tuple(steps), tuple(states))


class Reader:
    """Reads what exists, and has the server write each declaration in its own words.

    The declaration is created as a temporary table or view in this session and read back, all of them in one query;
    allowed in check mode, because it is gone with the session. What the server already shows exactly as declared, and
    views that are yet to be created, are only formatted.
    """

    def __init__(self, client: ClickHouse, want: t.Sequence[Declared], secrets: t.Collection[str]) -> None:
        self.client = client
        self.want = want
        self.secrets = set(secrets)
        self.tables = [item for item in want if item.kind != "database"]

    def read(self) -> Found:
        databases = self._databases()
        have = self._tables()
        pairs = {item.key: _databases_as(item, databases.get(item.database)) for item in self.want}
        formatted = self._formatted(databases, pairs)
        for item in self.want:
            if item.kind == "database" and item.database in databases:
                have[item.key] = formatted[item.key, "have"]
        clauses = {item.key: ddl.split_clauses(formatted[item.key, "want"]) for item in self.want}
        clauses.update(self._tried(have, clauses))
        macros = self._macros(clauses)
        want: dict[tuple[str, str], str] = {}
        for item in self.want:
            ours = clauses[item.key]
            if item.key in have and item.kind != "database":
                known = {**macros, "database": item.database, "table": item.name}
                ours = ddl.fill(ours, ddl.split_clauses(have[item.key]), known)
            want[item.key] = ddl.mask(ddl.join_clauses(ours), self.secrets)
        return self._found(have, want, databases)

    def _databases(self) -> dict[str, tuple[str, str]]:
        names = _literals(sorted({item.database for item in self.want}))
        query = f"SELECT name, engine_full, comment FROM system.databases WHERE name IN ({names})"
        return {name: (engine, comment) for name, engine, comment in self.client.rows(query)}

    def _tables(self) -> dict[tuple[str, str], str]:
        if not self.tables:
            return {}
        databases = _literals(sorted({item.database for item in self.tables}))
        keys = ", ".join(f"({_literals(item.key)})" for item in self.tables)
        query = (
            f"SELECT database, name, create_table_query FROM system.tables WHERE database IN ({databases}) AND (database, name) IN ({keys})"
        )
        return {(database, name): text for database, name, text in self.client.rows(query)}

    def _macros(self, clauses: t.Mapping[tuple[str, str], list[ddl.Clause]]) -> dict[str, str]:
        """The server's macros, where a declaration names its path in ZooKeeper."""
        engines = (ddl.engine_of(ddl.clause(parts, "engine")) for parts in clauses.values())
        if any(name.startswith("Replicated") and ddl.replica_path(arguments) for name, arguments in engines):
            return dict(self.client.rows("SELECT macro, substitution FROM system.macros"))
        return {}

    def _formatted(
        self, databases: t.Mapping[str, t.Any], pairs: t.Mapping[tuple[str, str], tuple[str, str]]
    ) -> dict[tuple[tuple[str, str], str], str]:
        """Every declaration on one line, as the server formats it; a syntax error names its object."""
        texts: list[tuple[Declared, str, str]] = []
        for item in self.want:
            texts.append((item, "want", pairs[item.key][0]))
            if item.kind == "database" and item.database in databases:
                texts.append((item, "have", pairs[item.key][1]))
        array = _literals(text for _item, _side, text in texts)
        rows = self.client.rows(f"SELECT formatQuerySingleLineOrNull(arrayJoin([{array}]))")
        formatted: dict[tuple[tuple[str, str], str], str] = {}
        for (item, side, text), (line,) in zip(texts, rows):
            if line is None:
                try:
                    self.client.rows(f"SELECT formatQuerySingleLine({ddl.quote_string(text)})")
                except ConnectionFailed:
                    raise
                except ClickHouseError as error:
                    raise error.about(item.subject) from error
            formatted[item.key, side] = line
        return formatted

    def _tried(
        self, have: t.Mapping[tuple[str, str], str], clauses: t.Mapping[tuple[str, str], list[ddl.Clause]]
    ) -> dict[tuple[str, str], list[ddl.Clause]]:
        """Declarations as the server understands them, by making each one for a moment."""
        made: dict[str, Declared] = {}
        attempt = random.getrandbits(32)
        for number, item in enumerate(self.tables):
            parts = clauses[item.key]
            exists = item.key in have
            if ddl.join_clauses(parts) == have.get(item.key) or (item.kind != "table" and not exists):
                continue
            name = f"__groundwork_{attempt:08x}_{number}"
            try:
                self.client.execute(_temporary(name, item.kind, parts))
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                view = item.kind != "table"
                later = error.code in _NOT_THERE_YET and (view or not exists)
                if not later and error.code != _NOT_TEMPORARY and not (view and error.code == _NO_TEMPORARY_VIEWS):
                    raise error.about(item.subject) from error
            else:
                made[name] = item
        if not made:
            return {}
        query = f"SELECT name, create_table_query FROM system.tables WHERE is_temporary AND name IN ({_literals(made)})"
        texts = dict(self.client.last_rows(query))
        if len(texts) < len(made):
            raise ClickHouseError(f"{self.client.connection.url} lost the session's temporary tables: address one server, no load balancer")
        found: dict[tuple[str, str], list[ddl.Clause]] = {}
        for name, item in made.items():
            theirs = ddl.split_clauses(texts[name])
            self._learn_secrets(clauses[item.key], theirs)
            found[item.key] = _from_temporary(item, clauses[item.key], theirs)
        return found

    def _learn_secrets(self, ours: list[ddl.Clause], theirs: list[ddl.Clause]) -> None:
        """What the server hides among an engine's arguments is a secret, known to us or not."""
        arguments = ddl.engine_of(ddl.clause(ours, "engine"))[1]
        hidden = ddl.engine_of(ddl.clause(theirs, "engine"))[1]
        for our, their in zip(arguments, hidden):
            if their == ddl.HIDDEN and our.startswith("'"):
                self.secrets.add(ddl.unquote(our))

    def _found(
        self,
        have: t.Mapping[tuple[str, str], str],
        want: t.Mapping[tuple[str, str], str],
        databases: t.Mapping[str, t.Any],
    ) -> Found:
        texts = sorted({*have.values(), *want.values()})
        rows = self.client.rows(f"SELECT formatQueryOrNull(arrayJoin([{_literals(texts)}]))")
        pretty = {text: line or text for text, (line,) in zip(texts, rows)}
        return Found(
            have={key: Definition(text, pretty[text]) for key, text in have.items()},
            want={key: Definition(text, pretty[text]) for key, text in want.items()},
            databases=frozenset(databases),
            secrets=frozenset(self.secrets),
        )


def _literals(values: t.Iterable[str]) -> str:
    return ", ".join(ddl.quote_string(value) for value in values)


def _databases_as(item: Declared, existing: tuple[str, str] | None) -> tuple[str, str]:
    """The declaration (of a database: with what it leaves open as it is now), and what exists in the same words."""
    if item.kind != "database" or existing is None:
        return item.statement, ""
    engine, comment = existing
    want = dataclasses.replace(
        item,
        engine=engine if item.engine is None else item.engine,
        comment=comment if item.comment is None else item.comment,
    )
    return want.statement, dataclasses.replace(item, engine=engine, comment=comment).statement


def _temporary(name: str, kind: str, parts: list[ddl.Clause]) -> str:
    if kind != "table":
        keys = ("columns", "select") if kind == "view" else ("select",)
        return " ".join([f"CREATE TEMPORARY VIEW {name}", *(ddl.clause(parts, key) for key in keys)])
    engine, arguments = ddl.engine_of(ddl.clause(parts, "engine"))
    if engine.startswith("Replicated"):
        plain = ddl.engine_clause(engine[len("Replicated") :], arguments[len(ddl.replica_path(arguments)) :])
        parts = ddl.replace_clause(parts, "engine", plain)
    return ddl.join_clauses(ddl.replace_clause(parts, "head", f"CREATE TEMPORARY TABLE {name}"))


def _from_temporary(item: Declared, ours: list[ddl.Clause], theirs: list[ddl.Clause]) -> list[ddl.Clause]:
    """What was read back, under its own name and engine again."""
    if item.kind == "materialized_view":
        return ddl.replace_clause(ours, "select", ddl.clause(theirs, "select"))
    if item.kind == "view":
        kept = [part for part in ours if part.key not in ("columns", "select")]
        return [kept[0], *(part for part in theirs if part.key == "columns"), *kept[1:], theirs[-1]]
    parts = ddl.replace_clause(theirs, "head", ddl.clause(ours, "head"))
    engine, arguments = ddl.engine_of(ddl.clause(ours, "engine"))
    if engine.startswith("Replicated"):
        path = ddl.replica_path(arguments)
        _plain, rest = ddl.engine_of(ddl.clause(theirs, "engine"))
        parts = ddl.replace_clause(parts, "engine", ddl.engine_clause(engine, path + rest))
    return parts


def converge(client: ClickHouse, want: t.Sequence[Declared], secrets: t.Collection[str], *, apply: bool, keep_drift: bool) -> Plan:
    """Read, plan and, if asked to, apply, until nothing is left to do or somebody else's change does not end."""
    subjects = {item.label: item.subject for item in want}
    done: list[Step] = []
    unsure: Step | None = None
    pause = 0.2
    for attempt in range(_ATTEMPTS):
        found = client.patiently(Reader(client, want, secrets).read)
        plan = plan_schema(want, found, found.secrets)
        if unsure is not None and unsure not in plan.steps:
            done.append(unsure)
        unsure = None
        if plan.drifted and not keep_drift:
            plan = _without_steps(plan)
        if not apply or not plan.steps:
            return _with_done(plan, done)
        for position, step in enumerate(plan.steps):
            try:
                client.execute(step.statement)
            except ClickHouseError as error:
                lost = isinstance(error, ConnectionFailed)
                if (lost or error.code in _CONTESTED) and attempt < _ATTEMPTS - 1:
                    unsure = step if lost else None
                    break
                left = f"; {len(plan.steps) - position} of {len(plan.steps)} statements left, run it again"
                raise error.about(subjects[step.target] + (left if lost else ""), [item.shown for item in done]) from error
            done.append(step)
        else:
            return _with_done(dataclasses.replace(plan, steps=()), done)
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _PAUSE_AT_MOST)
    raise AssertionError("the last attempt returns or raises")


def plan_offline(want: t.Sequence[Declared], secrets: t.Collection[str]) -> Plan:
    """The plan for a server that is not there yet: it has nothing, or it has what cannot be known."""
    return plan_schema(want, Found(databases={item.database for item in want}), secrets)


def _without_steps(plan: Plan) -> Plan:
    """The plan when nothing may be done: what is there, and how it differs."""
    return Plan((), tuple(state for state in plan.objects if state.status != CREATED))


def _with_done(plan: Plan, done: t.Sequence[Step]) -> Plan:
    """The plan as seen from the start of the run: what was created on the way was not there before."""
    created = {step.target for step in done}
    return dataclasses.replace(
        plan,
        steps=(*done, *plan.steps),
        objects=tuple(dataclasses.replace(state, status=CREATED, before="") if state.name in created else state for state in plan.objects),
    )
