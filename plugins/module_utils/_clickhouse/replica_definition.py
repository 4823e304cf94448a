# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A replica that is made anew joins its peers first and changes after (private: may change at any time).

The server creates a replica only with the definition that its table has in ZooKeeper. Where that is not the declared one, the table
is created as ZooKeeper has it, and then altered like any other. ``place`` and ``definition`` are pure, ``read`` asks the server.

What ZooKeeper has is not written quite as C(system.tables) shows it: keys stand there without their outer parentheses, newer
servers leave out parentheses that do nothing. A part that differs in parentheses only is taken as declared. Were it another one after all,
the server would refuse to create the table, as it does without this file.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from dataclasses import dataclass

from . import alter, argument_specs, declaration, error_codes, sql_clauses, sql_secrets, sql_tokens
from . import change as planned
from . import client as clickhouse

_COLUMNS = "columns format version: 1"
_METADATA = "metadata format version: 1"
# What stands in a table's metadata, each on a line of its own.
_FIELDS = (
    *("date column", "sampling expression", "index granularity", "mode", "sign column", "primary key", "data format version"),
    *("partition key", "sorting key", "ttl", "indices", "projections", "granularity bytes", "constraints"),
    *("merge parameters format version", "version column", "is_deleted column", "columns to sum", "graphite hash"),
)
# Of all these, the version that also knows the other columns of an engine.
_ALL_PARAMETERS = 2
_MODES = {
    "0": "",
    "1": "Collapsing",
    "2": "Summing",
    "3": "Aggregating",
    "5": "Replacing",
    "6": "Graphite",
    "7": "VersionedCollapsing",
    "8": "Coalescing",
}
# Servers before 25.12 wrote there what their settings add to every table.
_IMPLICIT_INDEX = "auto_minmax_index_"
_GRANULARITY, _GRANULARITY_BYTES = "8192", "10485760"
_DEPTH = 10
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f"}

# Functions whose arguments the server hides.
_CRYPT = re.compile(r"\w*(en|de)crypt", re.IGNORECASE)
# The server has no ZooKeeper, or does not let this user look into it.
_NOT_TO_BE_KNOWN = {error_codes.UNKNOWN_TABLE, error_codes.ACCESS_DENIED}


@dataclass(frozen=True)
class ZooKeeperPath:
    """Where a replicated table is in ZooKeeper; C(zookeeper) is the name of an auxiliary one, or empty."""

    zookeeper: str
    path: str


def zookeeper_path(key: declaration.Key, engine: str, macros: t.Mapping[str, str], settings: t.Mapping[str, str]) -> ZooKeeperPath | None:
    """Where a declared table will be. Nothing for one that is not replicated or that has a path of its own (C({uuid})).

    C(engine) is its C(ENGINE) clause; C(settings) are those of the server, which hold the path of a table declared without arguments.
    """
    name, arguments = sql_clauses.parse_engine(engine)
    if not name.startswith("Replicated"):
        return None
    given = sql_clauses.replica_path(arguments)
    path = _expand_macros(sql_tokens.unquote(given[0]) if given else settings.get("default_replica_path", ""), key, macros)
    if path is None:
        return None
    zookeeper, found, rest = ("", "", path) if path.startswith("/") else path.partition(":/")
    path = found[1:] + rest
    if not path.startswith("/"):
        return None
    return ZooKeeperPath("" if zookeeper == "default" else zookeeper, path[:-1] if path.endswith("/") else path)


def _expand_macros(text: str, key: declaration.Key, macros: t.Mapping[str, str]) -> str | None:
    """The text with its macros, which may hold macros themselves; nothing when one of them cannot be known."""
    values = {"database": key[0], "table": key[1], **macros}
    for _level in range(_DEPTH):
        names = re.findall(r"\{([^{}]*)\}", text)
        if not names:
            return text
        if any(name not in values for name in names):
            return None
        text = re.sub(r"\{([^{}]*)\}", lambda match: values[match.group(1)], text)
    return None


def stored_definition(declared: sql_clauses.Clauses, columns: str, metadata: str) -> sql_clauses.Clauses | None:
    """The definition that ZooKeeper has, with the head, path, settings and comment that are declared: those are each replica's own.

    Both texts are values of ZooKeeper. What is the same as declared is spelt as declared: where all is, so is the whole. Nothing for a
    format, an engine or an old kind of table that is not known here.
    """
    stored = _parse_metadata(metadata)
    pieces = _parse_columns(columns)
    if stored is None or pieces is None or stored["date column"] or stored.get("data format version", "0") == "0":
        return None
    engine = _merge_engine(sql_clauses.clause_text(declared, "engine"), stored)
    if engine is None:
        return None
    primary, order = ("", stored["primary key"]) if "sorting key" not in stored else (stored["primary key"], stored["sorting key"])
    texts = {
        "head": sql_clauses.clause_text(declared, "head"),
        "columns": _merge_elements(sql_clauses.clause_text(declared, "columns"), pieces, stored),
        "engine": engine,
        "partition_by": _merge_key(declared, "partition_by", stored.get("partition key", "")),
        "primary_key": _merge_key(declared, "primary_key", primary),
        "order_by": _merge_key(declared, "order_by", order) or "ORDER BY tuple()",
        "sample_by": _merge_key(declared, "sample_by", stored["sampling expression"]),
        "ttl": _prefer_declared(sql_clauses.clause_text(declared, "ttl"), f"TTL {stored['ttl']}" if "ttl" in stored else ""),
        "settings": _merge_settings(sql_clauses.clause_text(declared, "settings"), stored),
        "comment": sql_clauses.clause_text(declared, "comment"),
    }
    return [sql_clauses.Clause(key, text) for key, text in texts.items() if text]


def _parse_metadata(metadata: str) -> dict[str, str] | None:
    first, *lines = metadata.split("\n")
    found = {}
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon or name not in _FIELDS or name in found:
            return None
        found[name] = value[1:]
    return found if first == _METADATA and set(_FIELDS[:6]) <= found.keys() else None


def _parse_columns(text: str) -> list[str] | None:
    """Columns as they stand in a C(CREATE TABLE). In ZooKeeper their parts are separated by tabs, and escaped, but for the name."""
    first, *lines = text.split("\n")
    if first != _COLUMNS:
        return None
    found = []
    for line in filter(None, lines[1:]):
        name = line[: sql_tokens.tokenize(line)[0].end]
        parts = [_unescape(part) for part in line[len(name) :].strip(" ").split("\t")]
        if "EPHEMERAL" in parts[1:2] and parts[2].startswith("defaultValueOfTypeName("):
            del parts[2]
        found.append(" ".join([name, *parts]))
    return found


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match.group(1), match.group(1)), text, flags=re.DOTALL)


def _merge_elements(declared: str, columns: t.Sequence[str], stored: t.Mapping[str, str]) -> str:
    """The column list: columns, indices, constraints, projections, each as declared if it is the same."""
    pieces = list(columns)
    for keyword, name in (("INDEX", "indices"), ("CONSTRAINT", "constraints"), ("PROJECTION", "projections")):
        pieces += [
            f"{keyword} {item}" for item in sql_tokens.split_arguments(f"({stored.get(name, '')})") if not item.startswith(_IMPLICIT_INDEX)
        ]
    ours, theirs = (alter.parse_elements(text).texts for text in (declared, f"({', '.join(pieces)})"))
    spelt = {key: _prefer_declared(ours.get(key, ""), text) for key, text in theirs.items()}
    return declared if list(spelt.items()) == list(ours.items()) else f"({', '.join(spelt.values())})"


def _merge_key(declared: sql_clauses.Clauses, key: str, stored: str) -> str:
    """A clause with a key, of which ZooKeeper has the list without its parentheses."""
    words, given = argument_specs.CLAUSE_OPTIONS[key], sql_clauses.clause_text(declared, key)
    if given and _comparable_tokens(_strip_parentheses(given[len(words) :])) == _comparable_tokens(_strip_parentheses(stored)):
        return given
    several = len(sql_tokens.split_arguments(f"({stored})")) > 1
    return f"{words} ({stored})" if several else f"{words} {stored}" if stored else ""


def _strip_parentheses(text: str) -> str:
    """A key without the parentheses or the C(tuple) around all of it."""
    while True:
        tokens = sql_tokens.tokenize(text)
        named = bool(tokens) and tokens[0].text == "tuple"
        opened = tokens[named:]
        if not opened or opened[0].text != "(" or any(token.depth == 0 for token in opened[1:-1]):
            return text
        text = text[opened[0].end : opened[-1].start]


def _prefer_declared(declared: str, stored: str) -> str:
    return declared if _comparable_tokens(declared) == _comparable_tokens(stored) else stored


def _comparable_tokens(text: str) -> list[str]:
    """What is compared: tokens without parentheses, names without quotes."""
    tokens = [token for token in sql_tokens.tokenize(text) if token.text not in ("(", ")")]
    return [token.value if token.kind == "quoted" else token.text for token in tokens]


def _merge_engine(declared: str, stored: t.Mapping[str, str]) -> str | None:
    """The engine, by the columns that it works with; a Graphite engine's configuration is not in ZooKeeper."""
    kind = _MODES.get(stored["mode"])
    if kind is None:
        return None
    name, arguments = sql_clauses.parse_engine(declared)
    theirs = f"Replicated{kind}MergeTree"
    path = sql_clauses.replica_path(arguments)
    partial = int(stored.get("merge parameters format version", "1")) < _ALL_PARAMETERS
    if kind == "Graphite" or (partial and kind):
        return declared if name == theirs else None
    sums = stored.get("columns to sum", "").split(",") if stored.get("columns to sum") else []
    columns = [stored["sign column"], stored.get("version column", ""), stored.get("is_deleted column", ""), *sums]
    columns = [column for column in columns if column]
    ours = [
        sql_tokens.unquote(column)
        for argument in arguments[len(path) :]
        for column in sql_tokens.split_arguments(f"({_strip_parentheses(argument)})")
    ]
    if name == theirs and ours == columns:
        return declared
    quoted = [sql_tokens.quote_name(column) for column in columns]
    return sql_clauses.engine_clause(theirs, [*path, *([f"({', '.join(quoted)})"] if len(sums) > 1 else quoted)])


def _merge_settings(declared: str, stored: t.Mapping[str, str]) -> str:
    """The declared settings, with those that ZooKeeper fixes for all replicas."""
    found = sql_clauses.parse_settings(declared)
    fixed = (
        ("index_granularity", stored["index granularity"], _GRANULARITY),
        ("index_granularity_bytes", stored.get("granularity bytes", "0"), _GRANULARITY_BYTES),
    )
    changed = {name: value for name, value, default in fixed if found.get(name, default) != value}
    if not changed:
        return declared
    return sql_clauses.settings_clause({**found, **changed})


def create_then_alter(joined: sql_clauses.Clauses, change: planned.Change, allow: t.Collection[str]) -> planned.Change | None:
    """The change of a table behind its creation as ZooKeeper has it. Nothing where values, which others have, would have to be tried."""
    if change.casts and not change.obstacles(allow):
        return None
    elements = alter.parse_elements(sql_clauses.clause_text(joined, "columns"))
    values = [
        f"defaultValueOfTypeName({sql_tokens.quote_string(column.type)}) AS {sql_tokens.quote_name(column.name)}"
        for column in elements.columns.values()
        if column.default_kind in ("", "DEFAULT")
    ]
    # A row for the rehearsal, unless the table might refuse this one.
    source = f"(SELECT {', '.join(values)} WHERE {int(not elements.items['CONSTRAINT'])})"
    return dataclasses.replace(change, create=sql_clauses.join_clauses(joined), source=source)


def read_stored_definitions(
    client: clickhouse.ClickHouse, tables: declaration.Definitions
) -> dict[declaration.Key, sql_clauses.Clauses]:
    """Definitions that tables have in ZooKeeper, of those that have one there that is not the declared one.

    C(tables) are the declarations of tables that this server does not have, in its own words. A user who may not read
    C(system.zookeeper), C(system.macros) or C(system.server_settings) gets none, and nobody those that hold a secret.
    """
    engines = {key: sql_clauses.clause_text(clauses, "engine") for key, clauses in tables.items() if sql_clauses.is_replicated(clauses)}
    if not engines:
        return {}
    macros = dict(_rows_if_allowed(client, "SELECT macro, substitution FROM system.macros"))
    settings = {}
    if not all(sql_clauses.replica_path(sql_clauses.parse_engine(engine)[1]) for engine in engines.values()):
        settings = dict(_rows_if_allowed(client, "SELECT name, value FROM system.server_settings WHERE name = 'default_replica_path'"))
    places = {key: zookeeper_path(key, engine, macros, settings) for key, engine in engines.items()}
    stored: dict[tuple[ZooKeeperPath, str], str] = {}
    for zookeeper in sorted({found.zookeeper for found in places.values() if found}):
        paths = sorted({found.path for found in places.values() if found and found.zookeeper == zookeeper})
        where = f"path IN ({sql_tokens.quoted_list(paths)}) AND name IN ('columns', 'metadata')"
        query = f"SELECT path, name, value FROM system.zookeeper WHERE {where}"
        if zookeeper:
            query += f" AND zookeeperName = {sql_tokens.quote_string(zookeeper)}"
        try:
            rows = _rows_if_allowed(client, query, *([error_codes.UNKNOWN_IDENTIFIER] if zookeeper else []))
        except clickhouse.ServerError as error:
            labels = [".".join(key) for key, found in places.items() if found and found.zookeeper == zookeeper]
            raise error.about(", ".join(labels)) from error
        stored.update({(ZooKeeperPath(zookeeper, path), name): value for path, name, value in rows})
    joined = {}
    for key, found in places.items():
        if found and (found, "columns") in stored and (found, "metadata") in stored:
            clauses = stored_definition(tables[key], stored[found, "columns"], stored[found, "metadata"])
            differs = clauses is not None and sql_clauses.join_clauses(clauses) != sql_clauses.join_clauses(tables[key])
            if clauses is not None and differs and not _holds_secret(clauses) and not _holds_secret(tables[key]):
                joined[key] = clauses
    return joined


def _holds_secret(clauses: sql_clauses.Clauses) -> bool:
    """Whether the server would hide a part of the definition, which ZooKeeper shows."""
    text = sql_clauses.join_clauses(clauses)
    return (
        sql_secrets.HIDDEN_LITERAL in text
        or bool(sql_secrets.find_secrets(text))
        or any(_CRYPT.match(token.text) for token in sql_tokens.tokenize(text))
    )


def _rows_if_allowed(client: clickhouse.ClickHouse, query: str, *also: int) -> list[tuple[t.Any, ...]]:
    """Rows of a query, or none where the server does not let this user ask."""
    try:
        return client.rows(query)
    except clickhouse.ServerError as error:
        if error.code not in _NOT_TO_BE_KNOWN.union(also):
            raise
        return []
