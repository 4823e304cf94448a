# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server has of the objects that are declared: read in few queries, changed by nothing (private: may change at any time)."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
import typing as t

from . import change as planned
from . import client as clickhouse
from . import create_statement, declaration, server_defaults, sql_clauses, sql_tokens

# What a rebuild makes beside a table for a while.
_SUFFIXES = (planned.REBUILD_SUFFIX, planned.TAIL_SUFFIX, planned.LOCK_SUFFIX)
# Of objects without a database: what their keys begin with, their definition, and where the server has them.
_GLOBAL_OBJECTS = {
    "function": ("", "create_query", "system.functions WHERE origin = 'SQLUserDefined' AND"),
    "named_collection": ("NAMED COLLECTION", "if(source = 'SQL', create_query, '')", "system.named_collections WHERE"),
}
_SYNTAX = re.compile(r"Syntax error[^:]*: failed at position (\d+)")
_EXPECTED = re.compile(r"Expected one of: (.*?)(?:: In scope |\. \(SYNTAX_ERROR\)|$)", re.DOTALL)
# Words that a message lists of those that the server would have understood, and tokens around the place.
_EXPECTED_AT_MOST = 6
_AROUND = 3


class ServerState(t.NamedTuple):
    """What was read of a server, by the keys of objects.

    C(databases) are engine and comment of each declared database that exists. C(database) is the session's, which names without one
    belong to. C(definitions) are the C(CREATE) statements of what exists, under the declared names; C(former) are those of objects
    that still have their former names, as these have them. C(leftovers) are those of what an interrupted run has left beside an
    object. C(purged) is what exists, is not declared, and shall be dropped.
    """

    databases: t.Mapping[str, tuple[str, str]]
    database: str
    definitions: declaration.Texts
    former: declaration.Texts
    leftovers: declaration.Texts
    purged: tuple[declaration.Declared, ...]


def read_server_state(
    client: clickhouse.ClickHouse, declared: declaration.Objects, purge: t.Sequence[declaration.Purge]
) -> ServerState:
    """Ask the server for what is declared; from then on the session is in the connection's database, where that exists.

    Raises C(ClickHouseError).
    """
    databases, database = _read_databases(client, declared)
    if client.connection.database in databases:
        client.use_database()
    definitions, other = _read_global_objects(client, declared)
    texts, former, leftovers = _read_tables(client, declared)
    definitions.update(texts)
    unwanted = [(item, text) for item, text in _read_undeclared(client, declared, purge) if item.key not in definitions]
    definitions.update({item.key: text for item, text in unwanted})
    purged = tuple(sorted((item for item, _text in unwanted), key=lambda item: (declaration.drop_rank(item), item.key)))
    database = database or other or client.rows("SELECT currentDatabase()")[0][0]
    return ServerState(databases, database, definitions, former, leftovers, purged)


def _read_databases(client: clickhouse.ClickHouse, declared: declaration.Objects) -> tuple[dict[str, tuple[str, str]], str]:
    """Engines and comments of databases, and the session's database where the answer says it."""
    database = client.connection.database or ""
    named = ({item.database for item in declared} | {database}) - {""}
    if not named:
        return {}, database
    names = sql_tokens.quoted_list(sorted(named))
    # The engine alone, where the server says no more.
    query = (
        "SELECT name, if(engine_full = '', engine, engine_full), comment, currentDatabase()"
        f" FROM system.databases WHERE name IN ({names}) OR name = currentDatabase()"
    )
    rows = client.rows(query)
    return {name: (engine, comment) for name, engine, comment, _database in rows}, database or (rows[0][3] if rows else "")


def _read_global_objects(
    client: clickhouse.ClickHouse, declared: declaration.Objects
) -> tuple[dict[declaration.Key, str], str]:
    """Definitions of functions and named collections, and the session's database where the answer says it.

    The definition of a collection is empty where the server's configuration has it.
    """
    found: dict[declaration.Key, str] = {}
    database = ""
    for kind, (home, definition, source) in _GLOBAL_OBJECTS.items():
        names = sql_tokens.quoted_list(item.name for item in declared if item.kind == kind)
        if names:
            rows = client.rows(f"SELECT name, {definition}, currentDatabase() FROM {source} name IN ({names})")
            found |= {(home, name): text for name, text, _database in rows}
            database = rows[0][2] if rows else database
    return found, database


def _read_tables(
    client: clickhouse.ClickHouse, declared: declaration.Objects
) -> tuple[dict[declaration.Key, str], dict[declaration.Key, str], dict[declaration.Key, str]]:
    """Definitions of tables, views and dictionaries: under their names, under their former names, and of what stands beside them."""
    tables = [item for item in declared if item.kind != "database" and item.kind not in create_statement.GLOBAL_KINDS]
    if not tables:
        return {}, {}, {}
    beside = {(item.database, item.name + planned.REBUILD_SUFFIX): item.key for item in tables}
    renamed = {item.renamed_from: item for item in tables if item.renamed_from}
    wanted = [*(item.key for item in tables), *beside, *renamed]
    databases = sql_tokens.quoted_list(sorted({database for database, _name in wanted}))
    names = sql_tokens.quoted_list(sorted({name for _database, name in wanted}))
    # From pairs alone the server does not see which tables to leave out, and writes down every one of the database.
    query = (
        f"SELECT database, name, create_table_query FROM system.tables WHERE database IN ({databases}) AND name IN ({names})"
        f" AND (database, name) IN ({sql_tokens.quoted_keys(wanted)})"
    )
    texts = {(database, name): text for database, name, text in client.rows(query)}
    former = {item.key: texts[key] for key, item in renamed.items() if key in texts and item.key not in texts}
    found = {item.key: texts[item.key] for item in tables if item.key in texts}
    found.update({item.key: _under_declared_name(item, former[item.key]) for item in tables if item.key in former})
    return found, former, {beside[key]: text for key, text in texts.items() if key in beside}


def _under_declared_name(item: declaration.Declared, text: str) -> str:
    parts = sql_clauses.split_clauses(text)
    head = " ".join(sql_clauses.clause_text(parts, "head").split()[:-1])
    return sql_clauses.join_clauses(sql_clauses.replace_clause(parts, "head", f"{head} {item.sql_name}"))


def _read_undeclared(
    client: clickhouse.ClickHouse, declared: declaration.Objects, purge: t.Sequence[declaration.Purge]
) -> list[tuple[declaration.Declared, str]]:
    """What is to be purged, with its definition."""
    if not purge:
        return []
    keep = {item.key for item in declared} | {item.renamed_from for item in declared}
    keep |= {(item.database, item.name + suffix) for item in declared if not item.absent for suffix in _SUFFIXES}
    databases = sql_tokens.quoted_list(sorted({entry.database for entry in purge}))
    query = (
        "SELECT database, name, create_table_query FROM system.tables"
        f" WHERE database IN ({databases}) AND NOT is_temporary AND NOT startsWith(name, '.inner')"
    )
    found = []
    for database, name, text in client.rows(query):
        number = next((number for number, entry in enumerate(purge) if entry.database == database and _is_purged(name, entry)), None)
        if number is not None and (database, name) not in keep:
            found.append(
                (declaration.Declared(-1, sql_clauses.object_kind(text), database, name, absent=True, where=f"purge[{number}]"), text)
            )
    return found


def _is_purged(name: str, entry: declaration.Purge) -> bool:
    purged, kept = (any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns) for patterns in (entry.names, entry.keep))
    return purged and not kept


def format_declarations(
    client: clickhouse.ClickHouse, declared: declaration.Objects, databases: t.Mapping[str, tuple[str, str]]
) -> tuple[dict[declaration.Key, str], dict[declaration.Key, str]]:
    """Every declaration on one line, as the server formats it; and databases that exist, in the same words.

    Raises C(ClickHouseError), which names the object that has a syntax error.
    """
    texts: list[tuple[declaration.Declared, bool, str]] = []
    for item in declared:
        want, have = _database_statements(item, databases.get(item.database))
        texts += [(item, False, want), *([(item, True, have)] if have else [])]
    if not texts:
        return {}, {}
    array = sql_tokens.quoted_list(text for _item, _exists, text in texts)
    rows = client.rows(f"SELECT formatQuerySingleLineOrNull(arrayJoin([{array}]))")
    formatted: tuple[dict[declaration.Key, str], dict[declaration.Key, str]] = ({}, {})
    for (item, exists, text), (line,) in zip(texts, rows):
        if line is None:
            raise _syntax_error(client, item, text)
        formatted[exists][item.key] = line
    return formatted


def _syntax_error(client: clickhouse.ClickHouse, item: declaration.Declared, text: str) -> clickhouse.ClickHouseError:
    try:
        client.rows(f"SELECT formatQuerySingleLine({sql_tokens.quote_string(text)})")
    except clickhouse.ServerError as error:
        return clickhouse.ClickHouseError(f"{item.subject}: {syntax_error(str(error), text)}", error.code)
    return clickhouse.ClickHouseError(f"{item.subject}: the server cannot parse it")


def syntax_error(message: str, statement: str) -> str:
    """The server's message on a statement that it cannot parse: the place and what it expected, without the rest of the statement.

    Literals around the place are left out, for one of them may be a secret. Any other message is returned as it is.
    """
    match = _SYNTAX.search(message)
    if match is None:
        return message
    # The server counts bytes.
    position = len(statement.encode()[: int(match.group(1))].decode(errors="ignore"))
    found = _EXPECTED.search(message)
    expected = found.group(1).split(", ") if found else []
    more = ", ..." if len(expected) > _EXPECTED_AT_MOST else ""
    hint = f"; expected {', '.join(expected[:_EXPECTED_AT_MOST])}{more}" if expected else ""
    return f"Code: 62. Syntax error at character {position}, near {_excerpt_around(statement, position)}{hint}"


def _excerpt_around(statement: str, position: int) -> str:
    """Tokens of a statement around a character, counted from 1."""
    tokens = sql_tokens.tokenize(statement)
    here = next((index for index, token in enumerate(tokens) if token.end >= position), len(tokens))
    near = tokens[max(0, here - _AROUND) : here + _AROUND]
    pieces = []
    for token, previous in zip(near, [None, *near]):
        gap = " " if previous is not None and token.start > previous.end else ""
        pieces.append(gap + ("'...'" if token.kind in ("string", "heredoc") else token.text))
    return repr("".join(pieces))


def _database_statements(item: declaration.Declared, existing: tuple[str, str] | None) -> tuple[str, str]:
    """The declaration (of a database: with what it leaves open as it is now), and what exists in the same words."""
    if item.kind != "database" or existing is None:
        return item.statement, ""
    engine, comment = existing
    if item.engine is not None and engine == item.engine.partition("(")[0].strip():
        engine = item.engine
    want = dataclasses.replace(
        item, engine=engine if item.engine is None else item.engine, comment=comment if item.comment is None else item.comment
    )
    return want.statement, dataclasses.replace(item, engine=engine, comment=comment).statement


def read_macros(client: clickhouse.ClickHouse, definitions: t.Iterable[sql_clauses.Clauses]) -> dict[str, str]:
    """Values that the server puts into these definitions: its macros, and what C(currentDatabase()) and C(currentUser()) give."""
    parts = list(definitions)
    engines = [sql_clauses.table_engine(clauses) for clauses in parts]
    definers = {sql_clauses.clause_text(clauses, "definer") for clauses in parts}
    found: dict[str, str] = {}
    if any(name.startswith("Replicated") and sql_clauses.replica_path(arguments) for name, arguments in engines):
        found.update(client.rows("SELECT macro, substitution FROM system.macros"))
    if "DEFINER = CURRENT_USER" in definers or any(
        "currentDatabase()" in arguments or (name in server_defaults.SESSION_DATABASE_ENGINES and "''" in arguments)
        for name, arguments in engines
    ):
        ((found["currentDatabase()"], found["currentUser()"]),) = client.rows("SELECT currentDatabase(), currentUser()")
    return found
