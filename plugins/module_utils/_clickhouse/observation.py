# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server has and what is declared, both in the server's words (private: may change at any time).

C(observe) asks the server; what it returns is frozen, and all that is planned is made from it. What a run without changes does not need
is imported where it is needed: modules travel as sources, and are compiled each time.
"""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass, field

from . import client as clickhouse
from . import declaration, references, server_defaults, server_state, sql_clauses, sql_secrets, sql_tokens

if t.TYPE_CHECKING:
    from . import sql_functions

VIEWS = ("view", "materialized_view")


class Definition(t.NamedTuple):
    """A definition in the server's own words: one line to compare, several to read."""

    text: str
    pretty: str = ""

    @property
    def clauses(self) -> sql_clauses.Clauses:
        return sql_clauses.split_clauses(self.text)


class _Declarations:
    """What an observation and the comparison that it is made from have in common."""

    declared: tuple[declaration.Declared, ...]
    database: str
    changing: frozenset[declaration.Key]

    @property
    def present(self) -> list[declaration.Declared]:
        """What is declared to be there."""
        return [item for item in self.declared if not item.absent]

    @property
    def tables(self) -> list[declaration.Declared]:
        """What is declared to be there and has clauses: all but databases and named collections."""
        return [item for item in self.present if item.kind not in ("database", "named_collection")]

    def uses_changing(self, text: str) -> bool:
        """Whether an expression calls functions, or reads dictionaries, that are created or changed."""
        return references.refers_to_any(text, self.changing, self.database)


@dataclass(frozen=True)
class Observation(_Declarations):
    """Both sides of all that is declared, by key, without secrets.

    C(have) is what exists, C(want) what each declaration means to the server; C(databases) are engine and comment of databases that
    exist, C(database) is the session's. C(declared) are all objects, with those that are purged.

    C(differing) exist and may have to be altered. C(former) are definitions of those that still have their former names; C(leftovers)
    those of what an interrupted run has left beside an object; C(stored) those that ZooKeeper has of replicated tables which are missing
    here, where they are not as declared; C(collections) the statements of named collections. C(query_columns) are the columns that
    the queries of views give. C(changing) are functions and dictionaries that are created, changed or dropped, and functions that call
    these. C(secrets) are literals to hide.
    """

    have: t.Mapping[declaration.Key, Definition] = field(default_factory=dict)
    want: t.Mapping[declaration.Key, Definition] = field(default_factory=dict)
    databases: t.Mapping[str, tuple[str, str]] = field(default_factory=dict)
    database: str = ""
    declared: tuple[declaration.Declared, ...] = ()
    purged: tuple[declaration.Declared, ...] = ()
    differing: tuple[declaration.Declared, ...] = ()
    former: declaration.Texts = field(default_factory=dict)
    leftovers: declaration.Texts = field(default_factory=dict)
    stored: declaration.Definitions = field(default_factory=dict)
    collections: declaration.Texts = field(default_factory=dict)
    query_columns: declaration.Texts = field(default_factory=dict)
    changing: frozenset[declaration.Key] = frozenset()
    secrets: frozenset[str] = frozenset()

    @property
    def needs_changes(self) -> bool:
        """Whether the plan does more than to create tables and the like, or has to be checked before it does."""
        if self.differing or self.leftovers or any(item.absent for item in self.declared):
            return True
        return any(
            item.key not in self.have and (item.kind in VIEWS or sql_clauses.is_replicated(self.want[item.key].clauses))
            for item in self.tables
        )

    def database_engine(self, item: declaration.Declared) -> str:
        """The engine of an object's database, with its arguments; empty where the database does not exist."""
        return self.databases.get(item.database, ("", ""))[0]

    def both(self, item: declaration.Declared) -> tuple[sql_clauses.Clauses, sql_clauses.Clauses]:
        """What an object is, and what it shall be."""
        return self.have[item.key].clauses, self.want[item.key].clauses

    def without(self, keys: t.Collection[declaration.Key]) -> Observation:
        """The same, as if these objects did not exist."""
        return dataclasses.replace(self, have={key: definition for key, definition in self.have.items() if key not in keys})


@dataclass(frozen=True)
class Comparison(_Declarations):
    """Declarations beside what exists, before it is known what the server makes of the declarations.

    C(clauses) are the declarations as the server formats them, C(have) the statements of what exists; C(functions) are declared
    functions, where one of them is created or changed. For the rest see C(Observation).
    """

    declared: tuple[declaration.Declared, ...]
    clauses: declaration.Definitions
    have: declaration.Texts
    macros: t.Mapping[str, str]
    database: str
    secrets: frozenset[str]
    changing: frozenset[declaration.Key] = frozenset()
    functions: t.Mapping[str, sql_functions.Function] = field(default_factory=dict)

    def filled(self, item: declaration.Declared, clauses: sql_clauses.Clauses) -> sql_clauses.Clauses:
        """A definition with what the server has filled in by itself."""
        theirs = sql_clauses.split_clauses(self.have[item.key])
        table = (
            server_defaults.inner_table_name(item.name, sql_clauses.clause_text(theirs, "engine"))
            if item.kind == "materialized_view"
            else item.name
        )
        return server_defaults.fill_server_defaults(clauses, theirs, {**self.macros, "database": item.database, "table": table})

    def is_as_declared(self, item: declaration.Declared, clauses: sql_clauses.Clauses | None = None) -> bool:
        """Whether an object exists, and the server shows it in the words of these clauses (without: of its declaration)."""
        ours = self.clauses[item.key] if clauses is None else clauses
        return item.key in self.have and sql_clauses.join_clauses(self.filled(item, ours)) == self.have[item.key]

    def is_same_but_for_secrets(self, item: declaration.Declared) -> bool:
        """Whether an object exists as it is declared, with secrets hidden on both sides."""
        if item.key not in self.have:
            return False
        ours = sql_clauses.join_clauses(self.filled(item, self.clauses[item.key]))
        return sql_secrets.mask_secrets(ours, self.secrets) == sql_secrets.mask_secrets(self.have[item.key], self.secrets)


class Canonical(t.NamedTuple):
    """Declarations as the server understood them when they were tried, columns that the queries of views give, secrets that it hid."""

    definitions: declaration.Definitions
    query_columns: declaration.Texts
    secrets: frozenset[str]


def observe(
    client: clickhouse.ClickHouse,
    declared: declaration.Objects,
    secrets: t.Collection[str],
    purge: t.Sequence[declaration.Purge],
) -> Observation:
    """Read what exists, and have the server write each declaration in its own words. Raises C(ClickHouseError).

    Allowed in check mode: declarations that differ from what exists are made as temporary tables and views, which are gone at the end.
    """
    server = server_state.read_server_state(client, declared, purge)
    comparison = _compare_texts(client, (*declared, *server.purged), server, frozenset(secrets))
    server_words = Canonical({}, {}, frozenset())
    tried = [item for item in comparison.tables if not comparison.is_as_declared(item)]
    if tried:
        from . import canonical

        server_words = canonical.canonical_definitions(client, comparison, tried)
    missing = [item for item in tried if item.kind == "table" and item.key in server_words.definitions and item.key not in comparison.have]
    # A Replicated database creates the tables of all its replicas by itself.
    missing = [item for item in missing if not server.databases.get(item.database, ("", ""))[0].startswith("Replicated")]
    stored = {}
    if missing:
        from . import replica_definition

        stored = replica_definition.read_stored_definitions(client, {item.key: server_words.definitions[item.key] for item in missing})
    return _observation(server, comparison, server_words, stored)


def _compare_texts(
    client: clickhouse.ClickHouse, declared: tuple[declaration.Declared, ...], server: server_state.ServerState, secrets: frozenset[str]
) -> Comparison:
    """What exists and what is declared, as far as the server's formatting alone tells."""
    present = [item for item in declared if not item.absent]
    formatted, databases = server_state.format_declarations(client, present, server.databases)
    clauses = {
        item.key: _with_implied_names(client, item, sql_clauses.split_clauses(formatted[item.key]), server.database)
        for item in present
        if item.kind != "named_collection"
    }
    macros = server_state.read_macros(client, clauses.values())
    comparison = Comparison(declared, clauses, {**server.definitions, **databases}, macros, server.database, secrets)
    return _with_changing(comparison)


def _with_implied_names(
    client: clickhouse.ClickHouse, item: declaration.Declared, clauses: sql_clauses.Clauses, database: str
) -> sql_clauses.Clauses:
    """A declaration with the engine that is the server's default, and with the databases of the tables that a view writes to."""
    if item.kind == "table" and not sql_clauses.clause_text(clauses, "engine"):
        engine = client.setting("default_table_engine") or "MergeTree"
        return sql_clauses.set_clause(clauses, sql_clauses.Clause("engine", f"ENGINE = {engine}"))
    if item.kind == "materialized_view":
        for key in ("refresh", "to"):
            qualified = references.qualify_clause(sql_clauses.clause_text(clauses, key), database)
            clauses = sql_clauses.replace_clause(clauses, key, qualified)
    return clauses


def _with_changing(comparison: Comparison) -> Comparison:
    """The same, with functions and dictionaries that are created, changed or dropped, and functions that call these."""
    kinds = ("function", "dictionary")
    items = [item for item in comparison.present if item.kind in kinds]
    found = {item.key for item in items if not comparison.is_same_but_for_secrets(item)}
    found |= {item.key for item in comparison.declared if item.absent and item.kind in kinds}
    if not found:
        return comparison
    functions = {}
    if any(not database for database, _name in found):
        from . import sql_functions

        texts = {item.name: sql_clauses.join_clauses(comparison.clauses[item.key]) for item in items if item.kind == "function"}
        functions = {name: sql_functions.parse_function(text) for name, text in texts.items()}
    for _item in items:  # each may call the one before
        found |= {item.key for item in items if item.kind == "function" and references.refers_to_any(item.body, found, comparison.database)}
    return dataclasses.replace(comparison, changing=frozenset(found), functions=functions)


def _observation(
    server: server_state.ServerState,
    comparison: Comparison,
    server_words: Canonical,
    stored: declaration.Definitions,
) -> Observation:
    """Both sides, with secrets hidden and with what the server fills in by itself."""
    clauses = {**comparison.clauses, **server_words.definitions}
    secrets = comparison.secrets | server_words.secrets
    have = {
        **comparison.have,
        **{key: sql_secrets.mask_secrets(sql_clauses.join_clauses(theirs), secrets) for key, theirs in stored.items()},
    }
    for key in clauses.keys() & have.keys():
        secrets |= hidden_secrets(clauses[key], sql_clauses.split_clauses(have[key]))
    gone = [item for item in comparison.declared if item.absent and item.kind == "database" and item.database in server.databases]
    have.update({item.key: item.label for item in gone})
    known = dataclasses.replace(comparison, have=have)
    collections = {item.key: have[item.key] for item in comparison.present if item.kind == "named_collection" and item.key in have}
    want = {}
    differing = []
    for item in comparison.present:
        if item.kind == "named_collection":
            want[item.key] = declaration.collection_text(item.name, item.statement)
            if item.key in have:
                have[item.key] = have[item.key] and declaration.collection_text(item.name, have[item.key])
                differing.append(item)  # its values have to be looked at
            continue
        ours = known.filled(item, clauses[item.key]) if item.key in have and item.kind != "database" else clauses[item.key]
        text = want[item.key] = sql_secrets.mask_secrets(sql_clauses.join_clauses(ours), secrets)
        if sql_secrets.mask_secrets(have.get(item.key, ""), secrets) == text:
            have[item.key] = text  # another object's secret may be an ordinary word in this one
        if item.key in have and (have[item.key] != text or item.key in server.former or item.key in stored):
            differing.append(item)
    return Observation(
        have={key: Definition(text) for key, text in have.items()},
        want={key: Definition(text) for key, text in want.items()},
        databases=server.databases,
        database=server.database,
        declared=comparison.declared,
        purged=server.purged,
        differing=tuple(differing),
        former=server.former,
        leftovers=server.leftovers,
        stored=stored,
        collections=collections,
        query_columns=server_words.query_columns,
        changing=comparison.changing,
        secrets=frozenset(secrets),
    )


def hidden_secrets(ours: sql_clauses.Clauses, theirs: sql_clauses.Clauses) -> set[str]:
    """Literals of our definition that the server hides in its own: these are secrets, known to us or not."""
    return {secret for part in ours for secret in sql_secrets.find_hidden_secrets(part.text, sql_clauses.clause_text(theirs, part.key))}


def with_readable_texts(client: clickhouse.ClickHouse, observation: Observation) -> Observation:
    """The same, with definitions of several lines where both sides differ; former names are shown as they are."""
    have = {**observation.have, **{key: Definition(text) for key, text in observation.former.items()}}
    differing = set(have.items()) ^ set(observation.want.items())
    texts = sorted({definition.text for _key, definition in differing if definition.text})
    readable = {}
    if texts:
        rows = client.rows(f"SELECT formatQueryOrNull(arrayJoin([{sql_tokens.quoted_list(texts)}]))")
        readable = {text: line or text for text, (line,) in zip(texts, rows)}

    def both(side: t.Mapping[declaration.Key, Definition]) -> dict[declaration.Key, Definition]:
        return {key: Definition(definition.text, readable.get(definition.text, definition.text)) for key, definition in side.items()}

    return dataclasses.replace(observation, have=both(have), want=both(observation.want))
