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
import re
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter, compose, ddl
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._plan import DRIFTED, ObjectState, Plan, Step

PRESENT = "present"
CREATED = "created"
ALTERED = "altered"
ABSENT = "absent"
DROPPED = "dropped"
DROP_TABLE = "drop_table"
KINDS = ("database", *ddl.KEYWORDS)
# What the option allow may list: steps after which data is gone.
PERMISSIONS = (alter.DROP_COLUMN, DROP_TABLE, alter.MODIFY_LOSSY)

# The order in which kinds are created where nothing else decides.
_RANKS = {"database": 0, "function": 1, "table": 2, "dictionary": 3, "distributed": 4, "view": 5, "materialized_view": 6}
# What is text to the server, and is replaced as a whole.
_REPLACED = ("view", "dictionary", "function")

# Answers that mean "somebody else is changing it": already there, gone meanwhile, being created, a peer's ALTER, a peer's
# definition in ZooKeeper that is ahead. Read again, plan again.
_CONTESTED = {57, 82, 122, 342, 517}
# Of a replica that is created while its peers still have another definition.
_PEERS_DIFFER = {122, 342}
_ATTEMPTS = 6
_PAUSE_AT_MOST = 4.0

# A declaration that needs what the same plan creates cannot be tried beforehand.
_NOT_THERE_YET = {60, 81}
_UNKNOWN_FUNCTION = 46
# Engines that cannot be tried as a temporary table.
_NOT_TEMPORARY = 80
# Of a statement that was formatted before: the server has no temporary views yet.
_NO_TEMPORARY_VIEWS = 62
# ZooKeeper has a replica of this name already.
_REPLICA_REMAINS = 253
# Of a change to a replicated table: no use in trying again.
_REFUSED = {497}


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
    absent: bool = False
    option: str = "ddl"

    @property
    def key(self) -> tuple[str, str]:
        return (self.database, self.name)

    @property
    def label(self) -> str:
        return ".".join(part for part in self.key if part)

    @property
    def subject(self) -> str:
        return f"{self.label} (objects[{self.index}].{self.option})"

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
class Change:
    """What makes an existing object as declared: statements, permissions that they need, and why there are none."""

    statements: tuple[str, ...] = ()
    needs: tuple[tuple[str, str], ...] = ()
    impossible: tuple[str, ...] = ()
    casts: tuple[str, ...] = ()
    sample: tuple[str, ...] = ()
    shared: bool = False

    def obstacles(self, allow: t.Collection[str]) -> list[str]:
        """Why it may not or cannot be made."""
        return [*self.impossible, *(f"{reason} (allow: [{need}])" for need, reason in self.needs if need not in allow)]


@dataclass(frozen=True)
class Found:
    """What the server knows: what exists, what each declaration means to it, and what leads from one to the other."""

    have: t.Mapping[tuple[str, str], Definition] = field(default_factory=dict)
    want: t.Mapping[tuple[str, str], Definition] = field(default_factory=dict)
    databases: t.Collection[str] = ()
    secrets: t.Collection[str] = ()
    changes: t.Mapping[tuple[str, str], Change] = field(default_factory=dict)


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
        settings = [f"{name} = {ddl.quote_string(str(value))}" for name, value in (options.get("settings") or {}).items()]
        for text in (options.get("ddl"), options.get("engine") and f"CREATE DATABASE x ENGINE = {options['engine']}", ", ".join(settings)):
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
    if options.get("state") == ABSENT:
        return _absent(index, where, name, kind, text)
    given = [option for option in compose.TABLE_OPTIONS if options.get(option) is not None]
    if given and (text is not None or kind not in (None, "table")):
        what = f"a {kind}" if kind not in (None, "table") else "a statement in ddl"
        raise ClickHouseError(f"{where}.{given[0]} does not go with {what}")
    if kind == "table" and text is None and name or given:
        return _composed(index, where, name, options)
    if text is None:
        if kind != "database":
            what = f"a {kind} named {name}" if kind else f"{name!r}"
            raise ClickHouseError(f"{where}.ddl is missing: {what} is declared by its CREATE statement")
        if not name:
            raise ClickHouseError(f"{where}.name is missing: a database is declared by its name")
        return Declared(index, "database", name, "", engine=options.get("engine"), comment=options.get("comment"), option="name")
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


def _composed(index: int, where: str, name: str | None, options: t.Mapping[str, t.Any]) -> Declared:
    if not name:
        raise ClickHouseError(f"{where}.name is missing: a table is named database.name")
    try:
        create = ddl.parse_create(compose.create_table(name, options))
    except ddl.DDLError as error:
        raise ClickHouseError(f"{name}: {where}.{error}") from error
    return Declared(index, create.kind, create.database, create.name, create.body, option="columns")


def _absent(index: int, where: str, name: str | None, kind: str | None, text: str | None) -> Declared:
    for option, value in (("ddl", text), ("name", None if name else "missing")):
        if value is not None:
            raise ClickHouseError(f"{where}.{option}: what is absent is declared by its kind and name alone")
    if kind is None:
        raise ClickHouseError(f"{where}.kind is missing: say what {name} is that shall be absent")
    try:
        parts = ddl.parse_name(str(name))
    except ddl.DDLError as error:
        raise ClickHouseError(f"{where}.name: {error}") from error
    alone = kind in ("database", "function")
    if len(parts) != (1 if alone else 2):
        raise ClickHouseError(f"{where}.name is {name}: a {kind} is named {'name' if alone else 'database.name'}")
    if alone:
        parts.insert(0 if kind == "function" else 1, "")
    return Declared(index, kind, parts[0], parts[1], absent=True, option="name")


def _ordered(declared: t.Mapping[tuple[str, str], Declared]) -> list[Declared]:
    """Databases, tables, Distributed tables, views, materialized views; before that, what an object refers to."""
    waits: dict[tuple[str, str], set[tuple[str, str]]] = {}
    ranks: dict[tuple[str, str], tuple[int, int]] = {}
    for key, item in declared.items():
        kind = item.kind
        needs: set[tuple[str, str]] = set()
        if kind not in ("database", "function") and not item.absent:
            create = ddl.Create(item.kind, item.database, item.name, item.body)
            needs = ddl.references(create) | {(item.database, "")}
            if kind == "table" and ddl.engine_of(item.body)[0] in ("Distributed", "Buffer", "Merge"):
                kind = "distributed"
        waits[key] = {need for need in needs if need in declared and need != key}
        # What goes is gone before anything comes: views first, databases last.
        ranks[key] = (-_RANKS[kind] - 1 if item.absent else _RANKS[kind], item.index)
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


def plan_schema(want: t.Sequence[Declared], found: Found, secrets: t.Collection[str] = (), allow: t.Collection[str] = ()) -> Plan:
    """What has to be done. Pure: two structures in, a plan out."""
    steps: list[Step] = []
    states: list[ObjectState] = []
    databases = {item.database for item in want if item.kind == "database" and not item.absent} | set(found.databases)
    for item in want:
        if item.database and item.database not in databases and not item.absent:
            raise ClickHouseError(f"{item.subject}: the database {item.database} neither exists nor is declared")
        have = found.have.get(item.key)
        if item.absent:
            canonical = Definition("")
        else:
            shown = ddl.mask(item.statement, secrets)
            canonical = found.want.get(item.key, Definition(shown, shown))
        if have is None:
            if not item.absent:
                steps.append(Step(item.label, item.statement, shown))
            states.append(ObjectState(item.label, item.kind, ABSENT if item.absent else CREATED, "", canonical.pretty))
        elif have.text == canonical.text:
            states.append(ObjectState(item.label, item.kind, PRESENT, have.pretty, have.pretty))
        else:
            change = found.changes.get(item.key, Change(impossible=("it cannot be altered",)))
            obstacles = change.obstacles(allow)
            status = DRIFTED if obstacles else DROPPED if item.absent else ALTERED
            states.append(ObjectState(item.label, item.kind, status, have.pretty, canonical.pretty, "; ".join(obstacles)))
            if not obstacles:
                steps += [Step(item.label, text, ddl.mask(text, secrets), change.shared) for text in change.statements]
    return Plan(tuple(steps), tuple(states))


class Reader:
    """Reads what exists, and has the server write each declaration in its own words.

    The declaration is created as a temporary table or view in this session and read back, all of them in one query;
    allowed in check mode, because it is gone with the session. What the server already shows exactly as declared, and
    views that are yet to be created, are only formatted.
    """

    def __init__(self, client: ClickHouse, want: t.Sequence[Declared], secrets: t.Collection[str], allow: t.Collection[str] = ()) -> None:
        self.client = client
        self.allow = allow
        self.every = want
        self.want = [item for item in want if not item.absent]
        self.secrets = set(secrets)
        self.tables = [item for item in self.want if item.kind != "database"]

    def read(self) -> Found:
        databases = self._databases()
        have = self._tables()
        pairs = {item.key: _databases_as(item, databases.get(item.database)) for item in self.want}
        formatted = self._formatted(databases, pairs)
        for item in self.want:
            if item.kind == "database" and item.database in databases:
                have[item.key] = formatted[item.key, "have"]
        clauses = {item.key: ddl.split_clauses(formatted[item.key, "want"]) for item in self.want}
        macros = self._macros(clauses)
        clauses.update(self._tried(have, clauses, macros))
        changes = {item.key: _dropped(item, have.get(item.key, "")) for item in self.every if item.absent}
        have.update({item.key: item.label for item in self.every if item.absent and item.kind == "database" and item.database in databases})
        want: dict[tuple[str, str], str] = {}
        for item in self.want:
            ours = clauses[item.key]
            if item.key in have and item.kind != "database":
                ours = _filled(item, ours, have[item.key], macros)
            want[item.key] = ddl.mask(ddl.join_clauses(ours), self.secrets)
            if item.key in have and have[item.key] != want[item.key]:
                changes[item.key] = _change(item, ddl.split_clauses(have[item.key]), ddl.split_clauses(want[item.key]))
        changes.update(self._rehearsed(have, want, changes))
        return self._found(have, want, changes, databases)

    def _databases(self) -> dict[str, tuple[str, str]]:
        names = _literals(sorted({item.database for item in self.every if item.database}))
        if not names:
            return {}
        query = f"SELECT name, engine_full, comment FROM system.databases WHERE name IN ({names})"
        return {name: (engine, comment) for name, engine, comment in self.client.rows(query)}

    def _tables(self) -> dict[tuple[str, str], str]:
        functions = [item for item in self.every if item.kind == "function"]
        tables = [item for item in self.every if item.kind not in ("database", "function")]
        have: dict[tuple[str, str], str] = {}
        if functions:
            names = _literals(item.name for item in functions)
            query = f"SELECT name, create_query FROM system.functions WHERE origin = 'SQLUserDefined' AND name IN ({names})"
            have = {("", name): text for name, text in self.client.rows(query)}
        if not tables:
            return have
        databases = _literals(sorted({item.database for item in tables}))
        keys = ", ".join(f"({_literals(item.key)})" for item in tables)
        query = (
            f"SELECT database, name, create_table_query FROM system.tables WHERE database IN ({databases}) AND (database, name) IN ({keys})"
        )
        return have | {(database, name): text for database, name, text in self.client.rows(query)}

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
        if not texts:
            return {}
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
        self,
        have: t.Mapping[tuple[str, str], str],
        clauses: t.Mapping[tuple[str, str], list[ddl.Clause]],
        macros: t.Mapping[str, str],
    ) -> dict[tuple[str, str], list[ddl.Clause]]:
        """Declarations as the server understands them, by making each one for a moment."""
        made: dict[str, Declared] = {}
        attempt = random.getrandbits(32)
        functions = any(item.kind == "function" and item.key not in have for item in self.want)
        not_yet = _NOT_THERE_YET | ({_UNKNOWN_FUNCTION} if functions else set())
        for number, item in enumerate(self.tables):
            parts = clauses[item.key]
            exists = item.key in have
            if item.kind in ("dictionary", "function") or (item.kind != "table" and not exists):
                continue
            # Declared as the server writes it: a temporary table would tell nothing new, and costs a round trip.
            if exists and ddl.join_clauses(_filled(item, parts, have[item.key], macros)) == have[item.key]:
                continue
            name = f"__groundwork_{attempt:08x}_{number}"
            try:
                self.client.execute(_temporary(name, item.kind, parts))
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                view = item.kind != "table"
                later = error.code in not_yet and (view or not exists)
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

    def _rehearsed(
        self, have: t.Mapping[tuple[str, str], str], want: t.Mapping[tuple[str, str], str], changes: t.Mapping[tuple[str, str], Change]
    ) -> dict[tuple[str, str], Change]:
        """Changes of tables, tried on a twin of each with one row at most: a refused one, or one that leads elsewhere, is none."""
        found: dict[tuple[str, str], Change] = {}
        made: dict[str, Declared] = {}
        attempt = random.getrandbits(32)
        for number, item in enumerate(self.tables):
            change = changes.get(item.key)
            if change is None or item.kind != "table" or change.impossible:
                continue
            name = f"__groundwork_{attempt:08x}_twin_{number}"
            twin = ddl.split_clauses(have[item.key])
            try:
                self.client.execute(_temporary(name, item.kind, twin))
            except ConnectionFailed:
                raise
            except ClickHouseError:  # an engine without temporary tables: the server decides when it is altered
                continue
            real, sample = ddl.qualified(*item.key), ", ".join(map(ddl.quote_name, change.sample))
            try:
                if sample:
                    self.client.execute(f"INSERT INTO {name} ({sample}) SELECT {sample} FROM {real} LIMIT 1")
                for statement in change.statements:
                    self.client.execute(statement.replace(real, name, 1))
                if change.casts and not change.obstacles(self.allow):
                    # A value that does not fit would stop the mutation, and everything behind it.
                    self.client.rows(f"SELECT count() FROM {real} WHERE NOT ignore({', '.join(change.casts)})")
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                found[item.key] = dataclasses.replace(change, impossible=(str(error),))
            else:
                made[name] = item
        if made:
            query = f"SELECT name, create_table_query FROM system.tables WHERE is_temporary AND name IN ({_literals(made)})"
            for name, text in self.client.last_rows(query):
                item = made[name]
                ours = ddl.split_clauses(want[item.key])
                theirs = _from_temporary(item, ours, ddl.split_clauses(text))
                if ddl.join_clauses(ddl.fill(ours, theirs, {})) != ddl.join_clauses(theirs):
                    left = ObjectState(item.label, item.kind, DRIFTED, ddl.join_clauses(theirs), want[item.key]).difference
                    reason = f"no ALTER leads there, but only to: {left}"
                    found[item.key] = dataclasses.replace(changes[item.key], impossible=(reason,))
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
        changes: t.Mapping[tuple[str, str], Change],
        databases: t.Mapping[str, t.Any],
    ) -> Found:
        texts = sorted({*have.values(), *want.values()})
        rows = self.client.rows(f"SELECT formatQueryOrNull(arrayJoin([{_literals(texts)}]))")
        pretty = {text: line or text for text, (line,) in zip(texts, rows)}
        return Found(
            have={key: Definition(text, pretty[text]) for key, text in have.items()},
            want={key: Definition(text, pretty[text]) for key, text in want.items()},
            changes=changes,
            databases=frozenset(databases),
            secrets=frozenset(self.secrets),
        )


def _filled(item: Declared, clauses: list[ddl.Clause], have: str, macros: t.Mapping[str, str]) -> list[ddl.Clause]:
    """A declaration with what the server has filled in by itself."""
    return ddl.fill(clauses, ddl.split_clauses(have), {**macros, "database": item.database, "table": item.name})


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


def _change(item: Declared, have: list[ddl.Clause], want: list[ddl.Clause]) -> Change:
    """From what exists to what is declared."""
    differing = {part.key for side in (have, want) for part in side if ddl.clause(have, part.key) != ddl.clause(want, part.key)}
    name = ddl.qualified(item.database, item.name) if item.kind != "database" else ddl.quote_name(item.database)
    comment = ddl.clause(want, "comment") or "COMMENT ''"
    if "head" in differing:
        return Change(impossible=("another kind of object has this name",))
    if item.kind == "database":
        if differing != {"comment"}:
            return Change(impossible=("its engine cannot be altered",))
        return Change((f"ALTER DATABASE {name} MODIFY {comment}",))
    if item.kind in _REPLACED:
        return Change((item.statement.replace("CREATE ", "CREATE OR REPLACE ", 1),))
    if item.kind == "materialized_view":
        if not ddl.clause(have, "to") or not differing <= {"select", "columns", "comment"}:
            rest = ", ".join(sorted(differing - {"select", "columns", "comment"})) or "the query of one without TO"
            return Change(impossible=(f"cannot be altered: {rest}. Drop the view (state: absent), then create it again",))
        query = re.sub(r"^AS\s", "", ddl.clause(want, "select"))
        statements = [f"ALTER TABLE {name} MODIFY QUERY {query}"] if differing & {"select", "columns"} else []
        return Change((*statements, *([f"ALTER TABLE {name} MODIFY {comment}"] if "comment" in differing else [])))
    if item.kind == "table" and ddl.HIDDEN in ddl.join_clauses(want):
        return Change(impossible=("it holds a secret that the server does not show",))
    plan = alter.alteration(have, want)
    shared = ddl.engine_of(ddl.clause(want, "engine"))[0].startswith("Replicated")
    if not plan.commands and not plan.impossible:
        return Change(impossible=("no ALTER makes this difference",))
    return Change((plan.statement(name),), plan.needs, plan.impossible, plan.casts, plan.sample, shared)


def _dropped(item: Declared, have: str) -> Change:
    """What removes an object. Only views without rows of their own go without permission."""
    if item.kind == "database":
        return Change((f"DROP DATABASE {ddl.quote_name(item.database)} SYNC",), ((DROP_TABLE, "all its tables would be dropped"),))
    if item.kind == "function":
        return Change((f"DROP FUNCTION {ddl.quote_name(item.name)}",))
    if item.kind == "dictionary":
        return Change((f"DROP DICTIONARY {ddl.qualified(item.database, item.name)} SYNC",))
    clauses = ddl.split_clauses(have) if have else []
    head = ddl.clause(clauses, "head").upper().split()[1:2]
    keeps_rows = head != ["VIEW"] and not (head == ["MATERIALIZED"] and ddl.clause(clauses, "to"))
    return Change(
        (f"DROP TABLE {ddl.qualified(item.database, item.name)} SYNC",),
        ((DROP_TABLE, "its rows would be dropped"),) if keeps_rows else (),
    )


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


def converge(
    client: ClickHouse,
    want: t.Sequence[Declared],
    secrets: t.Collection[str],
    *,
    apply: bool,
    keep_drift: bool,
    allow: t.Collection[str] = (),
) -> Plan:
    """Read, plan and, if asked to, apply, until nothing is left to do or somebody else's change does not end."""
    subjects = {item.label: item.subject for item in want}
    done: list[tuple[Step, ObjectState]] = []
    unsure: tuple[Step, ObjectState] | None = None
    pause = 0.2
    for attempt in range(_ATTEMPTS):
        found = client.patiently(Reader(client, want, secrets, allow).read)
        plan = plan_schema(want, found, found.secrets, allow)
        states = {state.name: state for state in plan.objects}
        if unsure is not None and unsure[0] not in plan.steps:
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
                contested = error.code in _CONTESTED or (step.shared and error.code not in _REFUSED)
                if (lost or contested) and attempt < _ATTEMPTS - 1:
                    unsure = (step, states[step.target]) if lost else None
                    break
                where = subjects[step.target]
                if error.code in _PEERS_DIFFER:
                    where += ": its other replicas have another definition, converge them in the same run"
                elif error.code == _REPLICA_REMAINS:
                    where += (
                        ": ZooKeeper has this replica already, of a host that was lost or of one with the same macros. "
                        f"For a lost one: SYSTEM DROP REPLICA '<replica>' FROM TABLE {step.target} on another replica, then run again"
                    )
                elif lost:
                    where += f"; {len(plan.steps) - position} of {len(plan.steps)} statements left, run it again"
                raise error.about(where, [item.shown for item, _state in done]) from error
            done.append((step, states[step.target]))
        else:
            return _with_done(dataclasses.replace(plan, steps=()), done)
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _PAUSE_AT_MOST)
    raise AssertionError("the last attempt returns or raises")


def plan_offline(want: t.Sequence[Declared], secrets: t.Collection[str]) -> Plan:
    """The plan for a server that is not there yet: it has nothing, or it has what cannot be known."""
    return plan_schema(want, Found(databases={item.database for item in want}), secrets)


_DONE = (CREATED, ALTERED, DROPPED)


def _without_steps(plan: Plan) -> Plan:
    """The plan when nothing may be done: what is there, and how it differs."""
    return Plan((), tuple(state for state in plan.objects if state.status not in _DONE))


def _with_done(plan: Plan, done: t.Sequence[tuple[Step, ObjectState]]) -> Plan:
    """The plan as seen from the start of the run: what was done on the way is reported as it was then."""
    states = {state.name: state for _step, state in reversed(done)}
    return dataclasses.replace(
        plan,
        steps=(*(step for step, _state in done), *plan.steps),
        objects=tuple(states.get(state.name, state) for state in plan.objects),
    )
