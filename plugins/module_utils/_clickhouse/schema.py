# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases, tables and views: read, planned, applied (private: may change at any time).

``plan_schema`` is pure. ``Reader`` asks the server for what exists and for the canonical form of what is declared; ``converge`` joins the
two and is the one place that writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import random
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter, ddl, join
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.changes import (
    DROP_TABLE,
    REBUILD_SUFFIX,
    Change,
    change,
    collection,
    dropped,
    is_replicated,
    own_words,
    renamed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import (
    ABSENT,
    Declared,
    Key,
    Purge,
    collection_text,
    drop_rank,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.rebuild import (
    REBUILD,
    SUFFIXES,
    Rebuild,
    Replan,
    blocks_of,
)
from ansible_collections.groundwork.observability.plugins.module_utils._plan import DRIFTED, ObjectState, Plan, Step

PRESENT = "present"
CREATED = "created"
ALTERED = "altered"
DROPPED = "dropped"
# What the option allow may list: steps after which data is gone, or that copy all of it.
PERMISSIONS = (alter.DROP_COLUMN, DROP_TABLE, alter.MODIFY_LOSSY, REBUILD)

# Answers that mean "somebody else is changing it": already there, gone meanwhile, being created, a peer's ALTER, a peer's
# definition in ZooKeeper that is ahead. Read again, plan again.
_CONTESTED = {57, 82, 122, 342, 517}
# Of a replica that is created while its peers still have another definition.
_PEERS_DIFFER = {122, 342}
_ATTEMPTS = 6
# A replica that has lost ZooKeeper, or was started a moment ago: no matter how often, as long as a statement may take.
_READ_ONLY = 242
_PAUSE_AT_MOST = 4.0

# A declaration that needs what the same plan creates cannot be tried beforehand.
_NOT_THERE_YET = {60, 81}
_UNKNOWN_FUNCTION = 46
_UNKNOWN_COLLECTION = 669
_UNKNOWN_DICTIONARY = 36
# Engines that cannot be tried as a temporary table.
_NOT_TEMPORARY = 80
# Beginnings of engines that reach beyond the server's own tables as soon as one is created: they register with ZooKeeper or a
# broker, open a file for themselves or write one, start to replicate, keep a dictionary from being dropped. Tables with one are
# tried as Memory, for their columns.
_OUTSIDE = (
    *("Azure", "DeltaLake", "Dictionary", "EmbeddedRocksDB", "FileLog", "Hudi", "Iceberg", "KeeperMap", "MaterializedPostgreSQL"),
    *("NATS", "Paimon", "RabbitMQ", "S3Queue", "SQLite"),
)
# Behind the name of what shows a materialized view's own columns; what its query gives is shown without them.
_OWN_COLUMNS = "_columns"
_TRIED_AS_MEMORY = ("head", "columns", "source", "engine")
# Of a statement that was formatted before: the server has no temporary views yet.
_NO_TEMPORARY_VIEWS = 62
# ZooKeeper has a replica of this name already.
_REPLICA_REMAINS = 253
_WIDE = {"min_bytes_for_wide_part": "0", "min_rows_for_wide_part": "0"}
# Of a change to a replicated table: no use in trying again.
_REFUSED = {497}


@dataclass(frozen=True)
class Definition:
    """A definition in the server's own words: one line to compare, several to read."""

    text: str
    pretty: str = ""


@dataclass(frozen=True)
class Found:
    """What the server knows: what exists, what each declaration means to it, and what leads from one to the other."""

    have: t.Mapping[Key, Definition] = field(default_factory=dict)
    want: t.Mapping[Key, Definition] = field(default_factory=dict)
    databases: t.Collection[str] = ()
    secrets: t.Collection[str] = ()
    changes: t.Mapping[Key, Change] = field(default_factory=dict)
    purged: t.Sequence[Declared] = ()


def plan_schema(want: t.Sequence[Declared], found: Found, secrets: t.Collection[str] = (), allow: t.Collection[str] = ()) -> Plan:
    """What has to be done. Pure: two structures in, a plan out."""
    steps: list[Step] = []
    states: list[ObjectState] = []
    databases = {item.database for item in want if item.kind == "database" and not item.absent} | set(found.databases)
    for item in (*_by_dependency(want, found.have), *_by_dependency(found.purged, found.have)):
        if item.database and item.database not in databases and not item.absent:
            raise ClickHouseError(f"{item.subject}: the database {item.database} neither exists nor is declared")
        have = found.have.get(item.key)
        shown = "" if item.absent else item.shown(secrets)
        canonical = found.want.get(item.key, Definition(shown, shown))
        if have is None:
            if not item.absent:
                text = own_words(item, canonical.text)
                steps.append(Step(item.key, text, shown if text == item.statement else text))
            states.append(_state(item, ABSENT if item.absent else CREATED, "", canonical.pretty))
        elif have.text == canonical.text and item.key not in found.changes:
            states.append(_state(item, PRESENT, have.pretty, have.pretty))
        else:
            made = found.changes.get(item.key, Change(impossible=("it cannot be altered",)))
            obstacles = made.obstacles(allow)
            status = DRIFTED if obstacles else DROPPED if item.absent else CREATED if made.join else ALTERED
            before = "" if status == CREATED else have.pretty
            states.append(_state(item, status, before, canonical.pretty, "; ".join(obstacles)))
            if made.join:
                steps.append(Step(item.key, made.join, ddl.mask(made.join, secrets)))
            if not obstacles:
                steps += made.steps(item.key, secrets)
    return Plan(tuple(steps), tuple(states))


def _state(item: Declared, status: str, before: str, after: str, reason: str = "") -> ObjectState:
    return ObjectState(item.label, item.kind, status, before, after, reason, item.key)


def _by_dependency(want: t.Sequence[Declared], have: t.Mapping[Key, Definition]) -> list[Declared]:
    """What goes goes after what refers to it: a dictionary after the tables that ask it."""
    uses = {
        item.key: ddl.references(ddl.Create("table", item.database, item.name, have[item.key].text))
        for item in want
        if item.absent and item.key in have
    }
    ordered: dict[Key, Declared] = {}
    pending: set[Key] = set()

    def place(item: Declared) -> None:
        if item.key in pending or item.key in ordered:
            return
        pending.add(item.key)
        for other in want:
            if item.absent and item.key in uses.get(other.key, ()):
                place(other)
        ordered[item.key] = item

    for item in want:
        place(item)
    return list(ordered.values())


class Reader:
    """Reads what exists, and has the server write each declaration in its own words.

    The declaration is created as a temporary table or view in this session and read back, all of them in one query;
    allowed in check mode, because it is gone with the session. What the server already shows exactly as declared, and
    views that are yet to be created, are only formatted.
    """

    def __init__(
        self,
        client: ClickHouse,
        want: t.Sequence[Declared],
        secrets: t.Collection[str],
        allow: t.Collection[str] = (),
        purge: t.Sequence[Purge] = (),
    ) -> None:
        self.client = client
        self.allow = allow
        self.purge = purge
        self.every = list(want)
        self.want = [item for item in want if not item.absent]
        self.secrets = set(secrets)
        self.tables = [item for item in self.want if item.kind not in ("database", "named_collection")]
        # Text of the objects that are yet to be renamed, under their former names.
        self.former: dict[Key, str] = {}
        # Columns that the query of a view gives.
        self.gives: dict[Key, str] = {}
        # Temporary tables that refer to a dictionary or another table.
        self.loose: set[str] = set()
        # Text of what stands beside an object, to take its place.
        self.beside: dict[Key, str] = {}

    def read(self) -> Found:
        try:
            return self._read()
        finally:
            self._let_go()

    def _read(self) -> Found:
        databases = self._databases()
        have = self._tables()
        purged = self._undeclared(have) if self.purge else []
        self.every += purged
        pairs = {item.key: _databases_as(item, databases.get(item.database)) for item in self.want}
        formatted = self._formatted(databases, pairs)
        for item in self.want:
            if item.kind == "database" and item.database in databases:
                have[item.key] = formatted[item.key, "have"]
        clauses = {item.key: ddl.split_clauses(formatted[item.key, "want"]) for item in self.want if item.kind != "named_collection"}
        macros = self._macros(clauses)
        tried = self._tried(have, clauses, macros)
        clauses.update(tried)
        joined = self._joined(have, tried, databases)
        changes = {item.key: dropped(item, have.get(item.key, "")) for item in self.every if item.absent}
        have.update({item.key: item.label for item in self.every if item.absent and item.kind == "database" and item.database in databases})
        want: dict[Key, str] = {}
        for key in clauses.keys() & have.keys():
            self._learn_secrets(clauses[key], ddl.split_clauses(have[key]))
        for item in self.want:
            if item.kind == "named_collection":
                self._collection(item, have, want, changes)
                continue
            ours = clauses[item.key]
            if item.key in have and item.kind != "database":
                ours = _filled(item, ours, have[item.key], macros)
            want[item.key] = ddl.mask(ddl.join_clauses(ours), self.secrets)
            if ddl.mask(have.get(item.key, ""), self.secrets) == want[item.key]:
                have[item.key] = want[item.key]  # another object's secret may be an ordinary word in this one
            if item.key in have and (have[item.key] != want[item.key] or item.key in self.former or item.key in joined):
                changes[item.key] = self._change(item, ddl.split_clauses(have[item.key]), ddl.split_clauses(want[item.key]))
            if item.key in joined:
                behind = join.behind(joined[item.key], changes.pop(item.key), self.allow)
                if behind is None:
                    del have[item.key]
                else:
                    changes[item.key] = behind
        changes.update(self._rehearsed(have, want, changes))
        changes.update(self._replaced(have, want, changes))
        return self._found({**have, **self.former}, want, changes, databases, purged)

    def _joined(
        self, have: dict[Key, str], tried: t.Mapping[Key, list[ddl.Clause]], databases: t.Mapping[str, tuple[str, str]]
    ) -> dict[Key, list[ddl.Clause]]:
        """Replicated tables that are missing here while other replicas have another definition. Puts theirs into C(have)."""
        missing = [item for item in self.tables if item.kind == "table" and item.key in tried and item.key not in have]
        # Such a database creates the tables of all its replicas by itself.
        missing = [item for item in missing if not databases.get(item.database, ("", ""))[0].startswith("Replicated")]
        joined = join.read(self.client, {item.key: tried[item.key] for item in missing}) if missing else {}
        have.update({key: ddl.mask(ddl.join_clauses(clauses), self.secrets) for key, clauses in joined.items()})
        return joined

    def _change(self, item: Declared, have: list[ddl.Clause], want: list[ddl.Clause]) -> Change:
        """From what exists to what is declared, behind renaming it and its columns."""
        columns = alter.renames(have, want, item.renamed_columns)
        try:
            rest = change(item, self._with_renamed(item, have, columns) if columns else have, want)
        except ConnectionFailed:
            raise
        except ClickHouseError as error:
            rest = Change(impossible=(str(error),))
        if item.kind == "materialized_view" and not ddl.clause(want, "to") and item.key in self.gives:
            own, given = (alter.elements(text).columns for text in (ddl.clause(have, "columns"), self.gives[item.key]))
            if set(given) - set(own):
                more = ", ".join(name for name in given if name not in own)
                rest = Change(impossible=(f"its query gives other columns than the view's own table has ({more})",))
        if columns:
            rest = dataclasses.replace(
                rest.after(f"ALTER TABLE {item.sql_name} {alter.rename_commands(columns)}"),
                renamed=columns,
                shared=is_replicated(want),
                source=item.sql_name,
            )
        if item.key in self.former and item.renamed_from:
            rest = renamed(item, ddl.qualified(*item.renamed_from), have, want, rest)
        return rest

    def _with_renamed(self, item: Declared, have: list[ddl.Clause], columns: t.Mapping[str, str]) -> list[ddl.Clause]:
        """The table with its columns renamed, in the server's words: other columns, keys and indices name them, too."""
        name = f"__groundwork_{random.getrandbits(32):08x}_renamed"
        self._make(name, item.kind, have)
        self.client.execute(f"ALTER TABLE {name} {alter.rename_commands(columns)}")
        query = f"SELECT create_table_query FROM system.tables WHERE is_temporary AND name = {ddl.quote_string(name)}"
        return _from_temporary(item, have, ddl.split_clauses(self.client.rows(query)[0][0]))

    def _collection(self, item: Declared, have: dict[Key, str], want: dict[Key, str], changes: dict[Key, Change]) -> None:
        """Compare named collections by key, and by value as far as the server shows values."""
        want[item.key] = collection_text(item.name, ddl.collection_entries(item.statement))
        if item.key not in have:
            return
        if not have[item.key]:
            changes[item.key] = Change(impossible=("it is defined in the server's configuration",))
            return
        made = collection(item, have[item.key], item.statement)
        have[item.key] = collection_text(item.name, ddl.collection_entries(have[item.key]))
        if made.statements:
            changes[item.key] = made

    def _undeclared(self, have: dict[Key, str]) -> list[Declared]:
        """What is to be purged, views before tables. Reads the text of each into C(have)."""
        keep = {item.key for item in self.every} | {item.renamed_from for item in self.every}
        keep |= {(item.database, item.name + suffix) for item in self.want for suffix in SUFFIXES}
        databases = _literals(sorted({entry.database for entry in self.purge}))
        query = (
            "SELECT database, name, create_table_query FROM system.tables"
            f" WHERE database IN ({databases}) AND NOT is_temporary AND NOT startsWith(name, '.inner')"
        )
        found: list[Declared] = []
        for database, name, text in self.client.rows(query):
            for number, entry in enumerate(self.purge):
                if (database, name) in keep or entry.database != database or (database, name) in have:
                    continue
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in entry.names) and not any(
                    fnmatch.fnmatchcase(name, pattern) for pattern in entry.keep
                ):
                    have[database, name] = text
                    found.append(Declared(-1, ddl.kind_of(text), database, name, absent=True, where=f"purge[{number}]"))
        return sorted(found, key=lambda item: (drop_rank(item), item.key))

    def _replaced(self, have: t.Mapping[Key, str], want: t.Mapping[Key, str], changes: t.Mapping[Key, Change]) -> dict[Key, Change]:
        """Tables that no ALTER makes as declared, and replacements that an earlier run has left in the middle."""
        found: dict[Key, Change] = {}
        for item in self.tables:
            made, leftover = changes.get(item.key), self.beside.get(item.key)
            if item.kind not in ("table", "materialized_view") or item.key not in have or item.key in self.former:
                continue
            if made is not None and made.join:
                continue
            if item.kind == "materialized_view":
                if leftover is not None:
                    name = ddl.qualified(item.database, item.name + REBUILD_SUFFIX)
                    found[item.key] = (made or Change()).after(f"DROP TABLE {name} SYNC")
                continue
            now = ddl.split_clauses(have[item.key])
            comment = _comment(leftover) if leftover is not None else ""
            if leftover is not None and blocks_of(comment) is not None:
                finish = Rebuild(self.client, item, ddl.split_clauses(leftover), now).finish(comment)
                if made is not None and not made.impossible:
                    made = dataclasses.replace(made.after(*finish.statements), prepare=finish.prepare)
                found[item.key] = made if made is not None and not made.impossible else finish
            elif made is not None and made.impossible and ddl.kind_of(have[item.key]) == "table":
                rebuild = Rebuild(self.client, item, now, ddl.split_clauses(want[item.key]), leftover)
                found[item.key] = rebuild.change(made) if REBUILD in self.allow else rebuild.hint(made)
        return found

    def _databases(self) -> dict[str, tuple[str, str]]:
        names = _literals(sorted({item.database for item in self.every if item.database}))
        if not names:
            return {}
        # The engine alone, where the server says no more.
        query = f"SELECT name, if(engine_full = '', engine, engine_full), comment FROM system.databases WHERE name IN ({names})"
        return {name: (engine, comment) for name, engine, comment in self.client.rows(query)}

    def _tables(self) -> dict[Key, str]:
        functions = [item for item in self.every if item.kind == "function"]
        collections = [item for item in self.every if item.kind == "named_collection"]
        tables = [item for item in self.every if item.kind != "database" and item.kind not in ddl.GLOBAL]
        have: dict[Key, str] = {}
        if functions:
            names = _literals(item.name for item in functions)
            query = f"SELECT name, create_query FROM system.functions WHERE origin = 'SQLUserDefined' AND name IN ({names})"
            have = {("", name): text for name, text in self.client.rows(query)}
        if collections:
            names = _literals(item.name for item in collections)
            query = f"SELECT name, if(source = 'SQL', create_query, '') FROM system.named_collections WHERE name IN ({names})"
            have |= {("NAMED COLLECTION", name): text for name, text in self.client.rows(query)}
        if not tables:
            return have
        beside = {(item.database, item.name + REBUILD_SUFFIX): item.key for item in tables}
        former = {item.renamed_from: item for item in tables if item.renamed_from}
        wanted = [*(item.key for item in tables), *beside, *former]
        databases = _literals(sorted({database for database, _name in wanted}))
        names = _literals(sorted({name for _database, name in wanted}))
        keys = ", ".join(f"({_literals(key)})" for key in wanted)
        # From pairs alone the server does not see which tables to leave out, and writes down every one of the database.
        query = (
            f"SELECT database, name, create_table_query FROM system.tables WHERE database IN ({databases}) AND name IN ({names})"
            f" AND (database, name) IN ({keys})"
        )
        texts = {(database, name): text for database, name, text in self.client.rows(query)}
        declared = {item.key for item in tables}
        for key, item in former.items():
            if key in texts and item.key not in texts:
                self.former[item.key] = texts[key]
                parts = ddl.split_clauses(texts[key])
                head = " ".join(ddl.clause(parts, "head").split()[:-1])
                texts[item.key] = ddl.join_clauses(ddl.replace_clause(parts, "head", f"{head} {item.sql_name}"))
        self.beside = {beside[key]: text for key, text in texts.items() if key in beside}
        return have | {key: text for key, text in texts.items() if key in declared}

    def _macros(self, clauses: t.Mapping[Key, list[ddl.Clause]]) -> dict[str, str]:
        """The server's macros, where a declaration names its path in ZooKeeper; the session's user and database, where it says so."""
        engines = [ddl.engine_of(ddl.clause(parts, "engine")) for parts in clauses.values()]
        definers = {ddl.clause(parts, "definer") for parts in clauses.values()}
        found: dict[str, str] = {}
        if any(name.startswith("Replicated") and ddl.replica_path(arguments) for name, arguments in engines):
            found.update(self.client.rows("SELECT macro, substitution FROM system.macros"))
        if "DEFINER = CURRENT_USER" in definers or any("currentDatabase()" in arguments for _name, arguments in engines):
            ((found["currentDatabase()"], found["currentUser()"]),) = self.client.rows("SELECT currentDatabase(), currentUser()")
        return found

    def _formatted(
        self, databases: t.Mapping[str, t.Any], pairs: t.Mapping[tuple[str, str], tuple[str, str]]
    ) -> dict[tuple[Key, str], str]:
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
        formatted: dict[tuple[Key, str], str] = {}
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
        have: t.Mapping[Key, str],
        clauses: t.Mapping[Key, list[ddl.Clause]],
        macros: t.Mapping[str, str],
    ) -> dict[Key, list[ddl.Clause]]:
        """Declarations as the server understands them, by making each one for a moment."""
        made: dict[str, Declared] = {}
        waiting: dict[Key, list[ddl.Clause]] = {}
        attempt = random.getrandbits(32)
        functions = any(item.kind == "function" and item.key not in have for item in self.want)
        collections = any(item.kind == "named_collection" and item.key not in have for item in self.want)
        dictionaries = {item.key for item in self.want if item.kind == "dictionary" and item.key not in have}
        for number, item in enumerate(self.tables):
            parts = clauses[item.key]
            exists = item.key in have
            if item.kind in ("dictionary", "function") or (item.kind != "table" and not exists):
                continue
            if item.kind == "table" and _reaches_outside(parts) and not ddl.clause(parts, "columns") and not ddl.clause(parts, "source"):
                continue
            # Declared as the server writes it: a temporary table would tell nothing new, and costs a round trip.
            if exists and ddl.join_clauses(_filled(item, parts, have[item.key], macros)) == have[item.key]:
                continue
            name = f"__groundwork_{attempt:08x}_{number}"
            try:
                self._make(name, item.kind, parts)
                if item.kind == "materialized_view" and ddl.clause(parts, "columns"):
                    self._make(name + _OWN_COLUMNS, "view", parts)
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                view = item.kind != "table"
                not_yet = _NOT_THERE_YET | ({_UNKNOWN_FUNCTION} if functions else set()) | ({_UNKNOWN_COLLECTION} if collections else set())
                if dictionaries & ddl.references(ddl.Create(item.kind, item.database, item.name, item.body)):
                    not_yet |= {_UNKNOWN_DICTIONARY}
                later = error.code in not_yet and (view or not exists)
                if exists and not view and error.code in not_yet - _NOT_THERE_YET:
                    waiting[item.key] = ddl.split_clauses(have[item.key])  # compared once that is there
                elif not later and not _no_temporary(error) and not (view and error.code == _NO_TEMPORARY_VIEWS):
                    raise error.about(item.subject) from error
            else:
                made[name] = item
        if not made:
            return waiting
        texts = self._read_back([*made, *(name + _OWN_COLUMNS for name in made)])
        if len(texts) < len(made):
            raise ClickHouseError(f"{self.client.connection.url} lost the session's temporary tables: address one server, no load balancer")
        found = waiting
        for name, item in made.items():
            theirs = ddl.split_clauses(texts[name])
            self._learn_secrets(clauses[item.key], theirs)
            self.gives[item.key] = ddl.clause(theirs, "columns")
            ours = clauses[item.key]
            if name + _OWN_COLUMNS in texts:
                ours = ddl.replace_clause(ours, "columns", ddl.clause(ddl.split_clauses(texts[name + _OWN_COLUMNS]), "columns"))
            found[item.key] = _from_temporary(item, ours, theirs)
        return found

    def _make(self, name: str, kind: str, parts: list[ddl.Clause]) -> None:
        """Make something for a moment."""
        self._alter(name, _temporary(name, kind, parts))

    def _alter(self, name: str, statement: str) -> None:
        self.client.execute(statement)
        if not statement.startswith("CREATE TEMPORARY VIEW") and ddl.looks_up(statement):
            self.loose.add(name)

    def _read_back(self, names: t.Collection[str]) -> dict[str, str]:
        """Texts of what was made for a moment, which ends here. Formatted once more: the server shows what it has read from its files."""
        text = "ifNull(formatQuerySingleLineOrNull(create_table_query), create_table_query)"
        query = f"SELECT name, {text} FROM system.tables WHERE is_temporary AND name IN ({_literals(names)})"
        if not self.loose:
            return dict(self.client.last_rows(query))
        texts = dict(self.client.rows(query))
        self._let_go()
        self.client.last_rows("SELECT 1")
        return texts

    def _let_go(self) -> None:
        """Take back the references of temporary tables: the server keeps them for good, and nobody could drop a dictionary again."""
        if not self.loose:
            return
        query = f"SELECT name, create_table_query FROM system.tables WHERE is_temporary AND name IN ({_literals(self.loose)})"
        self.loose = set()
        with contextlib.suppress(ClickHouseError):  # it is gone, or the engine has no ALTER
            for name, text in self.client.rows(query):
                plan = alter.without_lookups(ddl.split_clauses(text))
                for statement in plan.statements(name):
                    self.client.execute(statement)

    def _rehearsed(self, have: t.Mapping[Key, str], want: t.Mapping[Key, str], changes: t.Mapping[Key, Change]) -> dict[Key, Change]:
        """Changes of tables, tried on a twin of each with one row at most: a refused one, or one that leads elsewhere, is none.

        Where rows are rewritten there are two twins, for small parts and large ones.
        """
        found: dict[Key, Change] = {}
        made: dict[str, Declared] = {}
        attempt = random.getrandbits(32)
        for number, item in enumerate(self.tables):
            made_by = changes.get(item.key)
            if made_by is None or item.kind != "table" or made_by.impossible:
                continue
            alters = [text for text in made_by.statements if text.startswith("ALTER")]
            name = f"__groundwork_{attempt:08x}_twin_{number}"
            twin = ddl.split_clauses(have[item.key])
            if _reaches_outside(twin):
                continue
            twins = {name: twin}
            if made_by.sample and ddl.engine_of(ddl.clause(twin, "engine"))[0].endswith("MergeTree"):
                # With a file a column, as large parts have it, the server reads only the columns that it takes for needed.
                twins[f"{name}_wide"] = ddl.with_settings(twin, _WIDE)
            try:
                for table, parts in twins.items():
                    self._make(table, item.kind, parts)
            except ConnectionFailed:
                raise
            except ClickHouseError:  # an engine without temporary tables: the server decides when it is altered
                continue
            real = made_by.source or item.sql_name
            sample = ", ".join(ddl.quote_name(made_by.renamed.get(column, column)) for column in made_by.sample)
            try:
                for table in twins:
                    if sample:
                        self.client.execute(f"INSERT INTO {table} ({sample}) SELECT {sample} FROM {real} LIMIT 1")
                    for statement in alters:
                        self._alter(table, statement.replace(item.sql_name, table, 1))
                if made_by.casts and not made_by.obstacles(self.allow):
                    # A value that does not fit would stop the mutation, and everything behind it.
                    former = "".join(f", {ddl.quote_name(old)} AS {ddl.quote_name(new)}" for new, old in made_by.renamed.items())
                    rows = f"(SELECT *{former} FROM {real})" if former else real
                    self.client.rows(f"SELECT count() FROM {rows} WHERE NOT ignore({', '.join(made_by.casts)})")
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                found[item.key] = dataclasses.replace(made_by, impossible=(str(error),))
            else:
                made[name] = item
        if made:
            for name, text in self._read_back(made).items():
                item = made[name]
                ours = ddl.split_clauses(want[item.key])
                theirs = _from_temporary(item, ours, ddl.split_clauses(text))
                if ddl.join_clauses(ddl.fill(ours, theirs, {})) != ddl.join_clauses(theirs):
                    left = _state(item, DRIFTED, ddl.join_clauses(theirs), want[item.key]).difference
                    reason = f"no ALTER leads there, but only to: {left}"
                    found[item.key] = dataclasses.replace(changes[item.key], impossible=(reason,))
        return found

    def _learn_secrets(self, ours: list[ddl.Clause], theirs: list[ddl.Clause]) -> None:
        """What the server hides is a secret, known to us or not."""
        for part in ours:
            self.secrets |= ddl.hidden_literals(part.text, ddl.clause(theirs, part.key))

    def _found(
        self,
        have: t.Mapping[Key, str],
        want: t.Mapping[Key, str],
        changes: t.Mapping[Key, Change],
        databases: t.Mapping[str, t.Any],
        purged: t.Sequence[Declared],
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
            purged=purged,
        )


def _filled(item: Declared, clauses: list[ddl.Clause], have: str, macros: t.Mapping[str, str]) -> list[ddl.Clause]:
    """A declaration with what the server has filled in by itself."""
    return ddl.fill(clauses, ddl.split_clauses(have), {**macros, "database": item.database, "table": item.name})


def _comment(text: str) -> str:
    """The comment of a table."""
    return ddl.unquote(ddl.clause(ddl.split_clauses(text), "comment")[len("COMMENT ") :])


def _literals(values: t.Iterable[str]) -> str:
    return ", ".join(ddl.quote_string(value) for value in values)


def _databases_as(item: Declared, existing: tuple[str, str] | None) -> tuple[str, str]:
    """The declaration (of a database: with what it leaves open as it is now), and what exists in the same words."""
    if item.kind != "database" or existing is None:
        return item.statement, ""
    engine, comment = existing
    if item.engine is not None and engine == item.engine.partition("(")[0].strip():
        engine = item.engine
    want = dataclasses.replace(
        item,
        engine=engine if item.engine is None else item.engine,
        comment=comment if item.comment is None else item.comment,
    )
    return want.statement, dataclasses.replace(item, engine=engine, comment=comment).statement


def _no_temporary(error: ClickHouseError) -> bool:
    """Whether it is the kind of table that cannot be temporary; the code is used for much else."""
    return error.code == _NOT_TEMPORARY and "emporary" in str(error)


def _reaches_outside(parts: list[ddl.Clause]) -> bool:
    engine = ddl.engine_of(ddl.clause(parts, "engine"))[0]
    if ddl.looks_up(ddl.clause(parts, "columns")) and not engine.endswith("MergeTree"):
        return True  # not every engine lets go of what it refers to
    return engine.startswith(_OUTSIDE) or "kafka_keeper_path" in ddl.settings(ddl.clause(parts, "settings"))


def _temporary(name: str, kind: str, parts: list[ddl.Clause]) -> str:
    if kind != "table":
        keys = ("columns", "select") if kind == "view" else ("select",)
        return " ".join([f"CREATE TEMPORARY VIEW {name}", *(ddl.clause(parts, key) for key in keys)])
    if _reaches_outside(parts):
        parts = ddl.replace_clause([part for part in parts if part.key in _TRIED_AS_MEMORY], "engine", "ENGINE = Memory")
    else:
        parts = ddl.without_replicas(parts)
    return ddl.join_clauses(ddl.replace_clause(parts, "head", f"CREATE TEMPORARY TABLE {name}"))


def _from_temporary(item: Declared, ours: list[ddl.Clause], theirs: list[ddl.Clause]) -> list[ddl.Clause]:
    """What was read back, under its own name and engine again."""
    if item.kind == "materialized_view":
        return ddl.replace_clause(ours, "select", ddl.clause(theirs, "select"))
    if item.kind == "view":
        kept = [part for part in ours if part.key not in ("columns", "select")]
        return [kept[0], *(part for part in theirs if part.key == "columns"), *kept[1:], theirs[-1]]
    if _reaches_outside(ours):
        columns = [part for part in theirs if part.key == "columns"]
        return [ours[0], *columns, *(part for part in ours[1:] if part.key not in ("columns", "source"))]
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
    purge: t.Sequence[Purge] = (),
) -> Plan:
    """Read, plan and, if asked to, apply, until nothing is left to do or somebody else's change does not end."""
    items: dict[tuple[str, ...], Declared] = {item.key: item for item in want}
    done: list[tuple[Step, ObjectState]] = []
    unsure: tuple[Step, ObjectState] | None = None
    pause = 0.2
    deadline = time.monotonic() + client.connection.timeout
    attempt = 0
    while True:
        attempt += 1
        found = client.patiently(lambda: Reader(client, want, secrets, allow, purge).read())
        items |= {item.key: item for item in found.purged}
        plan = plan_schema(want, found, found.secrets, allow)
        states = {state.key: state for state in plan.objects}
        if unsure is not None and unsure[0] not in plan.steps:
            done.append(unsure)
        unsure = None
        if plan.drifted and not keep_drift:
            plan = _without_steps(plan)
        if not apply or not plan.steps:
            return _with_done(plan, done)
        for position, step in enumerate(plan.steps):
            try:
                if step.prepare is not None:
                    extra = step.prepare()
                    done += [(Step(step.target, text, ddl.mask(text, found.secrets)), states[step.target]) for text in extra]
                client.execute(step.statement)
            except ClickHouseError as error:
                lost = isinstance(error, ConnectionFailed)
                contested = isinstance(error, Replan) or error.code in _CONTESTED or (step.shared and error.code not in _REFUSED)
                read_only = step.shared and error.code == _READ_ONLY
                again = time.monotonic() < deadline if read_only else (lost or contested) and attempt < _ATTEMPTS
                if again:
                    unsure = (step, states[step.target]) if lost else None
                    break
                item = items[step.target]
                where = item.subject + (step.release() if step.release is not None else "")
                if error.code in _PEERS_DIFFER:
                    where += ": its other replicas have another definition, converge them in the same run"
                elif error.code == _REPLICA_REMAINS:
                    where += (
                        ": ZooKeeper has this replica already, of a host that was lost or of one with the same macros. "
                        f"For a lost one: SYSTEM DROP REPLICA '<replica>' FROM TABLE {item.sql_name} on another replica, then run again"
                    )
                elif read_only:
                    where += (
                        f": its replica has not come back within {client.connection.timeout} s (timeout). Look for ZooKeeper; "
                        f"where that has lost the replica: SYSTEM RESTORE REPLICA {item.sql_name}, then run again"
                    )
                elif lost:
                    where += f"; {len(plan.steps) - position} of {len(plan.steps)} statements left, run it again"
                raise error.about(where, [item.shown for item, _state in done]) from error
            done.append((step, states[step.target]))
        else:
            return _with_done(dataclasses.replace(plan, steps=()), done)
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 2, _PAUSE_AT_MOST)


def plan_offline(want: t.Sequence[Declared], secrets: t.Collection[str]) -> Plan:
    """The plan for a server that is not there yet: it has nothing, or it has what cannot be known."""
    return plan_schema(want, Found(databases={item.database for item in want}), secrets)


_DONE = (CREATED, ALTERED, DROPPED)


def _without_steps(plan: Plan) -> Plan:
    """The plan when nothing may be done: what is there, and how it differs."""
    return Plan((), tuple(state for state in plan.objects if state.status not in _DONE))


def _with_done(plan: Plan, done: t.Sequence[tuple[Step, ObjectState]]) -> Plan:
    """The plan as seen from the start of the run: what was done on the way is reported as it was then."""
    states = {state.key: state for _step, state in reversed(done)}
    return dataclasses.replace(
        plan,
        steps=(*(step for step, _state in done), *plan.steps),
        objects=tuple(states.get(state.key, state) for state in plan.objects),
    )
