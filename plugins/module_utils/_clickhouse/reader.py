# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What exists, and what each declaration means to the server (private: may change at any time).

What a run that finds nothing to do does not need (C(differences), C(join), C(alter), C(history)) is imported where it is needed, here, in
C(schema) and in C(run): modules travel as sources, and are compiled each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import random
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import ddl, messages
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    ConnectionFailed,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.declaration import (
    Declared,
    Key,
    Purge,
    collection_text,
    drop_rank,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.found import (
    LOCK_SUFFIX,
    REBUILD_SUFFIX,
    TAIL_SUFFIX,
    Change,
    Definition,
    Found,
)

if t.TYPE_CHECKING:
    from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import inline

# A declaration that needs what the same plan creates cannot be tried beforehand.
_NOT_THERE_YET = {60, 81}
_CREATED_FIRST = {"function": 46, "named_collection": 669}
_UNKNOWN_DICTIONARY = 36
_ACCESS_DENIED = 497
# Engines that cannot be tried as a temporary table.
_NOT_TEMPORARY = 80
# Beginnings of engines that reach beyond the server's own tables as soon as one is created: they register with ZooKeeper or a
# broker, open a file for themselves or write one, start to replicate, keep a dictionary from being dropped. Tables with one are
# tried as Memory, for their columns.
_OUTSIDE = (
    *("Azure", "DeltaLake", "Dictionary", "EmbeddedRocksDB", "FileLog", "Hudi", "Iceberg", "KeeperMap", "MaterializedPostgreSQL"),
    *("NATS", "Paimon", "RabbitMQ", "S3Queue", "SQLite", "TimeSeries"),
)
# Engines that keep rows themselves, beside the MergeTree family: a temporary table of theirs may hold a row.
_KEEP_ROWS = ("Memory",)
# Behind the name of what shows a materialized view's own columns; what its query gives is shown without them.
_OWN_COLUMNS = "_columns"
VIEWS = ("view", "materialized_view")
_TRIED_AS_MEMORY = ("head", "columns", "source", "engine")
# Of a statement that was formatted before: the server has no temporary views yet.
_NO_TEMPORARY_VIEWS = 62
_SYNTAX_ERROR = 62
# Statements in one request. Many more take the server longer than several requests (1,000 at once ten times as long as 200, 26.7).
_LOT = 200
# What a table of the engine AggregatingMergeTree may need to be made again: columns that are neither keys nor aggregates.
_PERMISSIVE_TABLE = {"allow_dimensions_outside_sorting_key": "1"}
# What a rebuild makes beside a table for a while.
_SUFFIXES = (REBUILD_SUFFIX, TAIL_SUFFIX, LOCK_SUFFIX)


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
        purge: t.Sequence[Purge] = (),
    ) -> None:
        self.client = client
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
        # Texts of what exists and of what is declared; tables missing here as other replicas have them.
        self.have: dict[Key, str] = {}
        self.texts: dict[Key, str] = {}
        self.joined: dict[Key, list[ddl.Clause]] = {}
        self.databases: dict[str, tuple[str, str]] = {}
        # The connection's, also while it does not exist yet; the user's where the connection has none.
        self._database: str | None = client.connection.database
        # Functions and dictionaries that are created or changed.
        self.changing: set[Key] = set()
        # Functions as declared, where one of them is created or changed.
        self.functions: dict[str, inline.Function] = {}
        self.purged: list[Declared] = []
        # What exists, and may have to be altered.
        self.differing: list[Declared] = []

    @property
    def to_check(self) -> bool:
        """Whether what the plan does has to be found out, or to be checked: more than tables and the like that are created."""
        if self.differing or self.beside or any(item.absent for item in self.every):
            return True
        return any(item.key not in self.have and (item.kind in VIEWS or self.is_replicated(item)) for item in self.tables)

    def is_replicated(self, item: Declared) -> bool:
        """Whether it keeps its rows in a replicated table."""
        return ddl.engine_of(ddl.clause(ddl.split_clauses(self.texts[item.key]), "engine"))[0].startswith("Replicated")

    @property
    def database(self) -> str:
        """The session's database, which names without one belong to."""
        if self._database is None:
            ((self._database,),) = self.client.rows("SELECT currentDatabase()")
        return self._database

    def read(self) -> None:
        """Ask the server. C(let_go) belongs behind it, even where it fails."""
        self.databases = self._databases()
        if self.client.connection.database in self.databases:
            self.client.use_database()
        have = self.have = self._tables()
        self.purged = self._undeclared() if self.purge else []
        self.every += self.purged
        formatted = self._formatted()
        for item in self.want:
            if item.kind == "database" and item.database in self.databases:
                have[item.key] = formatted[item.key, "have"]
        clauses = {item.key: ddl.split_clauses(formatted[item.key, "want"]) for item in self.want if item.kind != "named_collection"}
        for item in self.want:
            if item.kind == "table" and not ddl.clause(clauses[item.key], "engine"):
                engine = self.client.setting("default_table_engine") or "MergeTree"
                clauses[item.key] = ddl.with_clause(clauses[item.key], ddl.Clause("engine", f"ENGINE = {engine}"))
            if item.kind == "materialized_view":
                clauses[item.key] = self._qualified(clauses[item.key])
        macros = self._macros(clauses)
        self.changing = self._changing(clauses, macros)
        tried = self._tried(clauses, macros)
        clauses.update(tried)
        self.joined = self._joined(tried)
        have.update({key: ddl.mask(ddl.join_clauses(theirs), self.secrets) for key, theirs in self.joined.items()})
        gone = [item for item in self.every if item.absent and item.kind == "database" and item.database in self.databases]
        have.update({item.key: item.label for item in gone})
        for key in clauses.keys() & have.keys():
            self._learn_secrets(clauses[key], ddl.split_clauses(have[key]))
        for item in self.want:
            if item.kind == "named_collection":
                self.texts[item.key] = collection_text(item.name, ddl.collection_entries(item.statement))
                if item.key in have:
                    self.differing.append(item)  # its values have to be looked at
                continue
            ours = clauses[item.key]
            if item.key in have and item.kind != "database":
                ours = _filled(item, ours, have[item.key], macros)
            text = self.texts[item.key] = ddl.mask(ddl.join_clauses(ours), self.secrets)
            if ddl.mask(have.get(item.key, ""), self.secrets) == text:
                have[item.key] = text  # another object's secret may be an ordinary word in this one
            if item.key in have and (have[item.key] != text or item.key in self.former or item.key in self.joined):
                self.differing.append(item)

    def _joined(self, tried: t.Mapping[Key, list[ddl.Clause]]) -> dict[Key, list[ddl.Clause]]:
        """Replicated tables that are missing here, as other replicas have them, where they have another definition."""
        missing = [item for item in self.tables if item.kind == "table" and item.key in tried and item.key not in self.have]
        # Such a database creates the tables of all its replicas by itself.
        missing = [item for item in missing if not self.databases.get(item.database, ("", ""))[0].startswith("Replicated")]
        if not missing:
            return {}
        from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import join

        return join.read(self.client, {item.key: tried[item.key] for item in missing})

    def _undeclared(self) -> list[Declared]:
        """What is to be purged, views before tables. Reads the text of each, too."""
        keep = {item.key for item in self.every} | {item.renamed_from for item in self.every}
        keep |= {(item.database, item.name + suffix) for item in self.want for suffix in _SUFFIXES}
        databases = _literals(sorted({entry.database for entry in self.purge}))
        query = (
            "SELECT database, name, create_table_query FROM system.tables"
            f" WHERE database IN ({databases}) AND NOT is_temporary AND NOT startsWith(name, '.inner')"
        )
        found: list[Declared] = []
        for database, name, text in self.client.rows(query):
            for number, entry in enumerate(self.purge):
                if (database, name) in keep or entry.database != database or (database, name) in self.have:
                    continue
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in entry.names) and not any(
                    fnmatch.fnmatchcase(name, pattern) for pattern in entry.keep
                ):
                    self.have[database, name] = text
                    found.append(Declared(-1, ddl.kind_of(text), database, name, absent=True, where=f"purge[{number}]"))
        return sorted(found, key=lambda item: (drop_rank(item), item.key))

    def _databases(self) -> dict[str, tuple[str, str]]:
        named = {item.database for item in self.every} | {self.client.connection.database or ""}
        names = _literals(sorted(named - {""}))
        if not names:
            return {}
        # The engine alone, where the server says no more.
        query = (
            "SELECT name, if(engine_full = '', engine, engine_full), comment, currentDatabase()"
            f" FROM system.databases WHERE name IN ({names})"
        )
        found: dict[str, tuple[str, str]] = {}
        for name, engine, comment, database in self.client.rows(query):
            self._database = self._database or database
            found[name] = engine, comment
        return found

    def _qualified(self, parts: list[ddl.Clause]) -> list[ddl.Clause]:
        """A materialized view with the names that it has outside of its query as the server writes them."""
        texts = {key: ddl.clause(parts, key) for key in ("refresh", "to")}
        if not any(ddl.unqualified(text) for text in texts.values()):
            return parts
        for key, text in texts.items():
            parts = ddl.replace_clause(parts, key, ddl.qualify(text, self.database))
        return parts

    def _changing(self, clauses: t.Mapping[Key, list[ddl.Clause]], macros: t.Mapping[str, str]) -> set[Key]:
        """Functions and dictionaries that are created or changed, and functions that call these."""
        kinds = ("function", "dictionary")
        items = [item for item in self.want if item.kind in kinds]
        found = {
            item.key
            for item in items
            if item.key not in self.have
            or ddl.mask(ddl.join_clauses(_filled(item, clauses[item.key], self.have[item.key], macros)), self.secrets)
            != ddl.mask(self.have[item.key], self.secrets)
        }
        found |= {item.key for item in self.every if item.absent and item.kind in kinds}
        if any(not database for database, _name in found):
            from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import inline

            texts = {item.name: ddl.join_clauses(clauses[item.key]) for item in items if item.kind == "function"}
            self.functions = {name: inline.function(text) for name, text in texts.items()}
        if found:
            for _item in items:  # each may call the one before
                found |= {item.key for item in items if item.kind == "function" and self.uses_changing(item.body, found)}
        return found

    def uses_changing(self, text: str, changing: t.Collection[Key] | None = None) -> bool:
        """Whether an expression calls functions, or asks dictionaries, that are created or changed."""
        keys = self.changing if changing is None else changing
        if not keys:
            return False
        functions = {name for database, name in keys if not database}
        if any(token.text in functions for token in ddl.tokenize(text) if token.kind in ("word", "quoted")):
            return True
        return not set(keys).isdisjoint(ddl.references(ddl.Create("", self.database, "", text))) if ddl.looks_up(text) else False

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
        if "DEFINER = CURRENT_USER" in definers or any(
            "currentDatabase()" in arguments or (name in ddl.SESSION_DATABASE and "''" in arguments) for name, arguments in engines
        ):
            ((found["currentDatabase()"], found["currentUser()"]),) = self.client.rows("SELECT currentDatabase(), currentUser()")
        return found

    def _formatted(self) -> dict[tuple[Key, str], str]:
        """Every declaration on one line, as the server formats it; a syntax error names its object."""
        texts: list[tuple[Declared, str, str]] = []
        for item in self.want:
            want, have = _databases_as(item, self.databases.get(item.database))
            texts.append((item, "want", want))
            if have:
                texts.append((item, "have", have))
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
                    message = messages.syntax_error(str(error), text)
                    raise ClickHouseError(f"{item.subject}: {message}", error.code) from error
            formatted[item.key, side] = line
        return formatted

    def _tried(self, clauses: t.Mapping[Key, list[ddl.Clause]], macros: t.Mapping[str, str]) -> dict[Key, list[ddl.Clause]]:
        """Declarations as the server understands them, by making each one for a moment."""
        have = self.have
        made: dict[str, Declared] = {}
        waiting: dict[Key, list[ddl.Clause]] = {}
        # But for calls of functions, in whose place the server has their text, they are as declared.
        waiting.update({item.key: ddl.split_clauses(have[item.key]) for item in self.tables if self._only_calls(item, clauses, macros)})
        trials = self._trials({key: parts for key, parts in clauses.items() if key not in waiting}, macros)
        refused = self.make_all({name: text for texts in trials.values() for name, text in texts.items()})
        for item in self.tables:
            names = list(trials.get(item.key, ()))
            error = next((refused[name] for name in names if name in refused), None)
            if error is not None and item.kind == "table" and item.key in have and self._made_all_the_same(names[0], clauses[item.key]):
                error = None
            if error is None:
                made.update(dict.fromkeys(names[:1], item))
            elif item.kind == "table" and item.key in have and error.code in self._created_first(item):
                waiting[item.key] = ddl.split_clauses(have[item.key])  # compared once that is there
            elif not self._may_be_right(item, error):
                raise error.about(item.subject) from error
        if not made:
            return waiting
        texts = self.read_back([*made, *(name + _OWN_COLUMNS for name in made)])
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
            found[item.key] = from_temporary(item, ours, theirs)
            if item.key in have and item.kind == "table" and self.uses_changing(item.body):
                theirs = found[item.key]
                again, now = (alter_with_again(theirs, ours, self.uses_changing, spelt) for spelt in (self._inlined, str))
                same = ddl.join_clauses(_filled(item, again, have[item.key], macros)) == have[item.key]
                found[item.key] = again if same else now
        return found

    def _trials(self, clauses: t.Mapping[Key, list[ddl.Clause]], macros: t.Mapping[str, str]) -> dict[Key, dict[str, str]]:
        """The statements that try each declaration, by the names of what they make; the first of them is read back."""
        trials: dict[Key, dict[str, str]] = {}
        attempt = random.getrandbits(32)
        for number, item in enumerate(self.tables):
            if item.key not in clauses:
                continue
            parts = clauses[item.key]
            exists = item.key in self.have
            if item.kind in ("dictionary", "function") or (item.kind != "table" and not exists):
                continue
            if item.kind == "table" and reaches_outside(parts) and not ddl.clause(parts, "columns") and not ddl.clause(parts, "source"):
                continue
            # Declared as the server writes it: a temporary table would tell nothing new.
            if exists and ddl.join_clauses(_filled(item, parts, self.have[item.key], macros)) == self.have[item.key]:
                continue
            if self.uses_changing(item.body):
                if item.kind in VIEWS:
                    continue
                parts = alter_without(parts, self.uses_changing) if exists else parts
            name = f"__groundwork_{attempt:08x}_{number}"
            trials[item.key] = {name: _temporary(name, item.kind, parts)}
            if item.kind == "materialized_view" and ddl.clause(parts, "columns"):
                trials[item.key][name + _OWN_COLUMNS] = _temporary(name + _OWN_COLUMNS, "view", parts)
        return trials

    def _created_first(self, item: Declared) -> set[int]:
        """Errors of a declaration that needs functions, named collections or dictionaries that the same plan creates."""
        missing = {other.kind for other in self.want if other.key not in self.have}
        codes = {code for kind, code in _CREATED_FIRST.items() if kind in missing}
        dictionaries = {other.key for other in self.want if other.kind == "dictionary" and other.key not in self.have}
        if dictionaries & ddl.references(ddl.Create(item.kind, item.database, item.name, item.body)):
            codes.add(_UNKNOWN_DICTIONARY)
        return codes

    def _may_be_right(self, item: Declared, error: ClickHouseError) -> bool:
        """Whether a declaration that cannot be tried may be right all the same."""
        view = item.kind != "table"
        if view and error.code != _ACCESS_DENIED:
            return True  # what it reads may be altered by the same plan: it is checked when all that is known
        if item.key not in self.have and self.uses_changing(item.body):
            return True
        if (view or item.key not in self.have) and error.code in _NOT_THERE_YET | self._created_first(item):
            return True
        return _no_temporary(error) or (view and error.code == _NO_TEMPORARY_VIEWS)

    def _made_all_the_same(self, name: str, parts: list[ddl.Clause]) -> bool:
        """Make for a moment what the server refuses today, for the sake of a table that it has made before. Whether it does."""
        more = _PERMISSIVE_TABLE if ddl.engine_of(ddl.clause(parts, "engine"))[0].endswith("AggregatingMergeTree") else {}
        more = {setting: value for setting, value in more.items() if setting not in ddl.settings(ddl.clause(parts, "settings"))}
        try:
            self.client.execute(_temporary(name, "table", ddl.with_settings(parts, more) if more else parts), self.client.permissive)
            self.loose |= {name} if ddl.looks_up(ddl.join_clauses(parts)) else set()
            if more:
                self.client.execute(f"ALTER TABLE {name} RESET SETTING {', '.join(more)}")
        except ConnectionFailed:
            raise
        except ClickHouseError:
            return False
        return True

    def make_all(self, statements: t.Mapping[str, str]) -> dict[str, ClickHouseError]:
        """Make many things for a moment, given by their names, in few requests. Returns what was refused.

        Statements that are sent together fail together: those of a lot that failed are sent again in two halves. What was made all
        the same is not made again.
        """
        refused: dict[str, ClickHouseError] = {}
        names = list(statements)
        lots = [names[start : start + _LOT] for start in range(0, len(names), _LOT)]
        while lots:
            lot = lots.pop()
            try:
                self.client.execute(" PARALLEL WITH ".join(statements[name] for name in lot))
            except ConnectionFailed:
                raise
            except ClickHouseError as error:
                if len(lot) > 1:
                    # Servers before 25.4 know no PARALLEL WITH.
                    size = 1 if error.code == _SYNTAX_ERROR else (len(lot) + 1) // 2
                    lots += [lot[start : start + size] for start in range(0, len(lot), size)]
                else:
                    refused[lot[0]] = error
        self.loose |= {name for name, text in statements.items() if name not in refused and _is_loose(text)}
        return refused

    def _only_calls(self, item: Declared, clauses: t.Mapping[Key, list[ddl.Clause]], macros: t.Mapping[str, str]) -> bool:
        """Whether what is declared is what exists, but for calls of functions that are created or changed."""
        if item.key not in self.have or item.kind in ("dictionary", "function") or not self.uses_changing(item.body):
            return False
        parts = clauses[item.key]
        called = [ddl.Clause(part.key, self._inlined(part.text)) for part in parts]
        return ddl.join_clauses(_filled(item, called, self.have[item.key], macros)) == self.have[item.key]

    def _inlined(self, text: str) -> str:
        from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import inline

        return inline.inlined(text, self.functions)

    def make(self, name: str, kind: str, parts: list[ddl.Clause]) -> None:
        """Make for a moment what exists already."""
        try:
            self.alter(name, _temporary(name, kind, parts))
        except ConnectionFailed:
            raise
        except ClickHouseError:
            if kind != "table" or not self._made_all_the_same(name, parts):
                raise

    def alter(self, name: str, statement: str) -> None:
        self.client.execute(statement)
        if _is_loose(statement):
            self.loose.add(name)

    def read_back(self, names: t.Collection[str]) -> dict[str, str]:
        """Texts of what was made for a moment, which ends here. Formatted once more: the server shows what it has read from its files."""
        text = "ifNull(formatQuerySingleLineOrNull(create_table_query), create_table_query)"
        query = f"SELECT name, {text} FROM system.tables WHERE is_temporary AND name IN ({_literals(names)})"
        if not self.loose:
            return dict(self.client.last_rows(query))
        texts = dict(self.client.rows(query))
        self.let_go()
        self.client.last_rows("SELECT 1")
        return texts

    def let_go(self) -> None:
        """Take back the references of temporary tables: the server keeps them for good, and nobody could drop a dictionary again."""
        if not self.loose:
            return
        from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter

        query = f"SELECT name, create_table_query FROM system.tables WHERE is_temporary AND name IN ({_literals(self.loose)})"
        self.loose = set()
        with contextlib.suppress(ClickHouseError):  # it is gone, or the engine has no ALTER
            for name, text in self.client.rows(query):
                plan = alter.without_lookups(ddl.split_clauses(text))
                for statement in plan.statements(name):
                    self.client.execute(statement)

    def _learn_secrets(self, ours: list[ddl.Clause], theirs: list[ddl.Clause]) -> None:
        """What the server hides is a secret, known to us or not."""
        for part in ours:
            self.secrets |= ddl.hidden_literals(part.text, ddl.clause(theirs, part.key))

    def found(self, changes: t.Mapping[Key, Change]) -> Found:
        """All of it, with what makes it as declared; what differs in lines to read as well."""
        have, want = {**self.have, **self.former}, self.texts
        pairs = [{have.get(key, ""), want.get(key, "")} for key in have.keys() | want.keys()]
        texts = sorted({text for pair in pairs if len(pair) > 1 for text in pair if text})
        pretty: dict[str, str] = {}
        if texts:
            rows = self.client.rows(f"SELECT formatQueryOrNull(arrayJoin([{_literals(texts)}]))")
            pretty = {text: line or text for text, (line,) in zip(texts, rows)}
        return Found(
            have={key: Definition(text, pretty.get(text, text)) for key, text in have.items()},
            want={key: Definition(text, pretty.get(text, text)) for key, text in want.items()},
            changes=changes,
            databases=frozenset(self.databases),
            secrets=frozenset(self.secrets),
            purged=self.purged,
            # Only an order of changes asks for it.
            database=self.database if self.to_check else "",
            former=frozenset(self.former),
        )


def alter_without(parts: list[ddl.Clause], uses: t.Callable[[str], bool]) -> list[ddl.Clause]:
    """The part of a table that the server can be shown before the functions and dictionaries of the plan are there."""
    from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter

    return alter.without(parts, uses)


def alter_with_again(
    parts: list[ddl.Clause], declared: list[ddl.Clause], uses: t.Callable[[str], bool], spelt: t.Callable[[str], str]
) -> list[ddl.Clause]:
    """The opposite of C(alter_without)."""
    from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import alter

    return alter.with_again(parts, declared, uses, spelt)


def _filled(item: Declared, clauses: list[ddl.Clause], have: str, macros: t.Mapping[str, str]) -> list[ddl.Clause]:
    """A declaration with what the server has filled in by itself."""
    theirs = ddl.split_clauses(have)
    table = ddl.inner_table(item.name, ddl.clause(theirs, "engine")) if item.kind == "materialized_view" else item.name
    return ddl.fill(clauses, theirs, {**macros, "database": item.database, "table": table})


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


def _is_loose(statement: str) -> bool:
    """Whether the server would keep a reference of what a statement makes."""
    return not statement.startswith("CREATE TEMPORARY VIEW") and ddl.looks_up(statement)


def _no_temporary(error: ClickHouseError) -> bool:
    """Whether it is the kind of table that cannot be temporary; the code is used for much else."""
    return error.code == _NOT_TEMPORARY and "emporary" in str(error)


def reaches_outside(parts: list[ddl.Clause]) -> bool:
    engine = ddl.engine_of(ddl.clause(parts, "engine"))[0]
    if ddl.looks_up(ddl.clause(parts, "columns")) and not engine.endswith("MergeTree"):
        return True  # not every engine lets go of what it refers to
    return engine.startswith(_OUTSIDE) or "kafka_keeper_path" in ddl.settings(ddl.clause(parts, "settings"))


def keeps_rows(parts: list[ddl.Clause]) -> bool:
    """Whether a table's engine keeps its rows itself; every other one may pass them on, or take them from elsewhere."""
    engine = ddl.engine_of(ddl.clause(parts, "engine"))[0]
    return engine.endswith("MergeTree") or engine in _KEEP_ROWS


def _temporary(name: str, kind: str, parts: list[ddl.Clause]) -> str:
    """The statement that makes a temporary table or view, once however often it is sent."""
    if kind != "table":
        keys = ("columns", "select") if kind == "view" else ("select",)
        return " ".join([f"CREATE TEMPORARY VIEW IF NOT EXISTS {name}", *(ddl.clause(parts, key) for key in keys)])
    if reaches_outside(parts):
        parts = ddl.replace_clause([part for part in parts if part.key in _TRIED_AS_MEMORY], "engine", "ENGINE = Memory")
    else:
        parts = ddl.without_replicas(parts)
    return ddl.join_clauses(ddl.replace_clause(parts, "head", f"CREATE TEMPORARY TABLE IF NOT EXISTS {name}"))


def from_temporary(item: Declared, ours: list[ddl.Clause], theirs: list[ddl.Clause]) -> list[ddl.Clause]:
    """What was read back, under its own name and engine again."""
    if item.kind == "materialized_view":
        return ddl.replace_clause(ours, "select", ddl.clause(theirs, "select"))
    if item.kind == "view":
        kept = [part for part in ours if part.key not in ("columns", "select")]
        return [kept[0], *(part for part in theirs if part.key == "columns"), *kept[1:], theirs[-1]]
    if reaches_outside(ours):
        columns = [part for part in theirs if part.key == "columns"]
        return [ours[0], *columns, *(part for part in ours[1:] if part.key not in ("columns", "source"))]
    parts = ddl.replace_clause(theirs, "head", ddl.clause(ours, "head"))
    engine, arguments = ddl.engine_of(ddl.clause(ours, "engine"))
    if engine.startswith("Replicated"):
        path = ddl.replica_path(arguments)
        _plain, rest = ddl.engine_of(ddl.clause(theirs, "engine"))
        parts = ddl.replace_clause(parts, "engine", ddl.engine_clause(engine, path + rest))
    return parts
