# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the option C(objects) declares, checked and in the order of creation (private: may change at any time). Pure."""

from __future__ import annotations

import contextlib
import graphlib
import heapq
import typing as t
from dataclasses import dataclass, field

from . import client as clickhouse
from . import create_statement, references, sql_clauses, sql_secrets, sql_tokens

Options = t.Mapping[str, t.Any]
Key = tuple[str, str]
_Node = t.TypeVar("_Node")

ABSENT = "absent"

# The order in which kinds are created where nothing else decides.
_CREATED = ("database", "named_collection", "function", "table", "dictionary", "distributed", "view", "materialized_view")
_OVER_TABLES = ("Distributed", "Buffer", "Merge")
_SYSTEM = ("system", "information_schema", "INFORMATION_SCHEMA")


@dataclass(frozen=True)
class Declared:
    """One object as it should be. C(where) is the option that says so, for messages."""

    index: int
    kind: str
    database: str
    name: str
    body: str = ""
    engine: str | None = None
    comment: str | None = None
    absent: bool = False
    where: str = ""
    renamed_from: Key | None = None
    renamed_columns: t.Mapping[str, str] = field(default_factory=dict)
    materialize: bool = False

    @property
    def key(self) -> Key:
        """What tells it from all others. Named collections and functions have their names to themselves."""
        return ("NAMED COLLECTION", self.name) if self.kind == "named_collection" else (self.database, self.name)

    @property
    def label(self) -> str:
        return ".".join(part for part in (self.database, self.name) if part)

    @property
    def subject(self) -> str:
        return f"{self.label} ({self.where})"

    @property
    def sql_name(self) -> str:
        """Its name, quoted where it has to be."""
        return sql_tokens.quote_name(self.database) if self.kind == "database" else sql_tokens.qualify_name(self.database, self.name)

    def condition(self, column: str) -> str:
        """What selects it in a system table, which has its name in this column."""
        return f"database = {sql_tokens.quote_string(self.database)} AND {column} = {sql_tokens.quote_string(self.name)}"

    @property
    def statement(self) -> str:
        if self.kind != "database":
            return f"CREATE {create_statement.KIND_KEYWORDS[self.kind]} {self.sql_name} {self.body}"
        engine = f" ENGINE = {self.engine}" if self.engine else ""
        comment = f" COMMENT {sql_tokens.quote_string(self.comment)}" if self.comment else ""
        return f"CREATE DATABASE {self.sql_name}{engine}{comment}"

    def create_statement_as(self, text: str) -> str:
        """The statement that makes it, which the server writes as C(text). A function is made in the server's words.

        Its parentheses end up in the tables that call it, and a server that has restarted knows those of its own text only.
        """
        return text if self.kind == "function" and sql_secrets.HIDDEN_LITERAL not in text else self.statement

    def shown(self, secrets: t.Collection[str]) -> str:
        """The statement without secrets."""
        if self.kind == "named_collection":
            return collection_text(self.name, self.statement)
        return sql_secrets.mask_secrets(self.statement, secrets)


Objects = t.Sequence[Declared]
# Statements by the objects that they make, as text and as clauses.
Texts = t.Mapping[Key, str]
Definitions = t.Mapping[Key, sql_clauses.Clauses]


class Purge(t.NamedTuple):
    """Tables, views and dictionaries of a database that are removed unless they are declared; names are shell patterns."""

    database: str
    names: tuple[str, ...] = ("*",)
    keep: tuple[str, ...] = ()


def collection_text(name: str, statement: str) -> str:
    """A C(CREATE NAMED COLLECTION) in the server's own order of keys, its values hidden as the server hides them."""
    entries = create_statement.parse_collection(statement)
    pieces = [
        f"{sql_tokens.quote_name(key)} = {sql_secrets.HIDDEN_LITERAL} {flag}".strip() for key, (_value, flag) in sorted(entries.items())
    ]
    return f"CREATE NAMED COLLECTION {sql_tokens.quote_name(name)} AS {', '.join(pieces)}"


def declare(objects: t.Sequence[Options], database: str = "") -> list[Declared]:
    """Check the option C(objects) and put it in the order of creation. Raises C(ClickHouseError) naming object and option.

    C(database) is that of names without one; where it is empty, they have to have it.
    """
    declared: dict[Key, Declared] = {}
    for index, options in enumerate(objects):
        item = _declare_object(index, _qualify_options(options, database), database)
        other = declared.get(item.key)
        if other is not None:
            raise clickhouse.ClickHouseError(f"{item.label} is declared twice: objects[{other.index}] and objects[{index}]")
        declared[item.key] = item
    for item in declared.values():
        old = declared.get(item.renamed_from) if item.renamed_from else None
        if old is not None and not old.absent:
            where = f"{item.label} (objects[{item.index}].renamed_from)"
            raise clickhouse.ClickHouseError(f"{where}: {old.label} is declared itself: objects[{old.index}]")
    return _creation_order(declared)


def declare_purge(entries: t.Sequence[Options]) -> list[Purge]:
    """Check the option C(purge)."""
    for index, entry in enumerate(entries):
        if entry["database"] in _SYSTEM or not entry["database"]:
            raise clickhouse.ClickHouseError(f"purge[{index}].database: {entry['database']!r} is not for purging")
    return [Purge(entry["database"], tuple(entry.get("names") or ("*",)), tuple(entry.get("keep") or ())) for entry in entries]


def find_declared_secrets(objects: t.Sequence[Options]) -> set[str]:
    """Passwords and keys inside the declarations."""
    found = set()
    for options in objects:
        settings = [f"{name} = {sql_tokens.quote_string(str(value))}" for name, value in (options.get("settings") or {}).items()]
        for text in (options.get("ddl"), options.get("engine") and f"CREATE DATABASE x ENGINE = {options['engine']}", ", ".join(settings)):
            if text:
                found |= sql_secrets.find_secrets(text)
    return found - {"[HIDDEN]"}


def _qualify_options(options: Options, database: str) -> Options:
    """The same object, with the names that lack a database in the given one."""
    if not database or options.get("kind") in ("database", *create_statement.GLOBAL_KINDS):
        return options
    full = dict(options)
    for option in ("renamed_from",) if options.get("ddl") else ("name", "renamed_from"):
        with contextlib.suppress(sql_tokens.DDLError):  # it is told with its place later
            parts = sql_tokens.parse_name(options[option]) if options.get(option) else []
            if len(parts) == 1:
                full[option] = sql_tokens.qualify_name(database, parts[0]) if option == "renamed_from" else f"{database}.{options[option]}"
    return full


def _declare_object(index: int, options: Options, database: str) -> Declared:
    where = f"objects[{index}]"
    name, kind, text = options.get("name"), options.get("kind"), options.get("ddl")
    for option in ("name", "ddl", "engine", "comment", "renamed_from"):
        try:
            (options.get(option) or "").encode()
        except UnicodeEncodeError as error:
            raise clickhouse.ClickHouseError(f"{where}.{option} is not valid UTF-8 at character {error.start}") from error
    if options.get("state") == ABSENT:
        return _declare_absent(index, where, options)
    given = [option for option in create_statement.TABLE_OPTIONS if options.get(option) is not None]
    if given and (text is not None or kind not in (None, "table")):
        what = f"a {kind}" if kind not in (None, "table") else "a statement in ddl"
        raise clickhouse.ClickHouseError(f"{where}.{given[0]} does not go with {what}")
    if kind == "table" and text is None and name or given:
        return _declare_table_options(index, where, name, options)
    if text is None:
        return _declare_database(index, where, options)
    return _declare_statement(index, where, options, database)


def _declare_database(index: int, where: str, options: Options) -> Declared:
    name, kind = options.get("name"), options.get("kind")
    if kind != "database":
        what = f"a {kind} named {name}" if kind else f"{name!r}"
        raise clickhouse.ClickHouseError(f"{where}.ddl is missing: {what} is declared by its CREATE statement")
    if not name:
        raise clickhouse.ClickHouseError(f"{where}.name is missing: a database is declared by its name")
    _refuse_options(where, options, ("renamed_from", "renamed_columns", "materialize"), " does not go with kind=database")
    return Declared(index, kind, name, "", engine=options.get("engine"), comment=options.get("comment"), where=f"{where}.name")


def _declare_statement(index: int, where: str, options: Options, database: str) -> Declared:
    name, kind, text = options.get("name"), options.get("kind"), options["ddl"]
    if kind == "database":
        raise clickhouse.ClickHouseError(f"{where}.ddl does not go with kind=database: use name, engine and comment")
    _refuse_options(where, options, ("engine", "comment"), f" is for databases: say it in the statement in {where}.ddl")
    try:
        create = create_statement.parse_create(text, database)
        if create.kind == "named_collection":
            create_statement.parse_collection(text)
    except sql_tokens.DDLError as error:
        label = name or create_statement.created_name(text)
        raise clickhouse.ClickHouseError(f"{label + ' ' if label else ''}({where}.ddl): {error}") from error
    item = Declared(
        index, create.kind, create.database, create.name, create.body, where=f"{where}.ddl", **_rename_options(where, create.kind, options)
    )
    if name and name != item.label and (item.database, name) != (database, item.name):
        raise clickhouse.ClickHouseError(f"{where}.name is {name}, but the statement in {where}.ddl makes {item.label}")
    if kind and kind != item.kind:
        raise clickhouse.ClickHouseError(f"{item.label} ({where}.kind): {kind} is declared, but the statement makes a {item.kind}")
    return item


def _rename_options(where: str, kind: str, options: Options) -> dict[str, t.Any]:
    """The former names of an object and of its columns, and how it is altered."""
    old, columns = options.get("renamed_from"), options.get("renamed_columns") or {}
    if kind in create_statement.GLOBAL_KINDS:
        _refuse_options(where, options, ("renamed_from",), f" does not go with a {kind}")
    if kind != "table":
        _refuse_options(where, options, ("renamed_columns", "materialize"), " is for tables")
    if len(set(columns.values())) < len(columns):
        raise clickhouse.ClickHouseError(f"{where}.renamed_columns: two columns have one former name")
    if not all(isinstance(word, str) and word for pair in columns.items() for word in pair):
        raise clickhouse.ClickHouseError(f"{where}.renamed_columns: expected new names with former names, both texts")
    former = _parse_parts(f"{where}.renamed_from", old, 2, "expected database.name") if old else None
    return {"renamed_from": former and (former[0], former[1]), "renamed_columns": columns, "materialize": bool(options.get("materialize"))}


def _refuse_options(where: str, options: Options, refused: t.Sequence[str], why: str) -> None:
    """Raise C(ClickHouseError) for the first of these options that is given; C(why) is what is said of it."""
    for option in refused:
        if options.get(option) not in (None, False, {}):
            raise clickhouse.ClickHouseError(f"{where}.{option}{why}")


def _parse_parts(where: str, name: str, count: int, form: str) -> list[str]:
    try:
        parts = sql_tokens.parse_name(name)
    except sql_tokens.DDLError as error:
        raise clickhouse.ClickHouseError(f"{where}: {error}") from error
    if len(parts) != count:
        raise clickhouse.ClickHouseError(f"{where} is {name}: {form}")
    return parts


def _declare_table_options(index: int, where: str, name: str | None, options: Options) -> Declared:
    if not name:
        raise clickhouse.ClickHouseError(f"{where}.name is missing: a table is named database.name")
    if options.get("renamed_columns"):
        raise clickhouse.ClickHouseError(f"{where}.renamed_columns goes with a statement in ddl: say renamed_from of each of the columns")
    former = {column["name"]: column["renamed_from"] for column in options.get("columns") or () if column.get("renamed_from")}
    try:
        create = create_statement.parse_create(create_statement.create_table(name, options))
    except sql_tokens.DDLError as error:
        raise clickhouse.ClickHouseError(f"{name}: {where}.{error}") from error
    renames = _rename_options(where, create.kind, {**options, "renamed_columns": former})
    return Declared(index, create.kind, create.database, create.name, create.body, where=f"{where}.columns", **renames)


def _declare_absent(index: int, where: str, options: Options) -> Declared:
    name, kind = options.get("name"), options.get("kind")
    alone = ("ddl", "engine", "comment", "renamed_from", "renamed_columns", *create_statement.TABLE_OPTIONS)
    why = ": what is absent is declared by its kind and name alone"
    _refuse_options(where, options, alone, why)
    if not name:
        raise clickhouse.ClickHouseError(f"{where}.name{why}")
    if kind is None:
        raise clickhouse.ClickHouseError(f"{where}.kind is missing: say what {name} is that shall be absent")
    single = kind == "database" or kind in create_statement.GLOBAL_KINDS
    parts = _parse_parts(f"{where}.name", str(name), 1 if single else 2, f"a {kind} is named {'name' if single else 'database.name'}")
    if single:
        parts.insert(1 if kind == "database" else 0, "")
    return Declared(index, kind, parts[0], parts[1], absent=True, where=f"{where}.name")


def _creation_order(declared: t.Mapping[Key, Declared]) -> list[Declared]:
    """Databases, tables, Distributed tables, views, materialized views; before that, what an object refers to."""
    waits: dict[Key, set[Key]] = {}
    ranks: dict[Key, tuple[int, int]] = {}
    for key, item in declared.items():
        kind = item.kind
        needs = set()
        if item.database and kind != "database" and not item.absent:
            needs = references.find_references(item.body, item.database, kind) | {(item.database, "")}
            if kind == "table" and sql_clauses.parse_engine(item.body)[0] in _OVER_TABLES:
                kind = "distributed"
        waits[key] = {need for need in needs if need in declared and need != key}
        # What goes is gone before anything comes: views first, databases last.
        rank = _CREATED.index(kind)
        ranks[key] = (-rank - 1 if item.absent else rank, item.index)
    ordered = sort_by_needs(waits, ranks)
    if len(ordered) < len(declared):
        rest = sorted(declared[key].label for key in declared.keys() - set(ordered))
        raise clickhouse.ClickHouseError(f"objects refer to each other in a circle: {', '.join(rest)}")
    return [declared[key] for key in ordered]


def sort_by_needs(needs: t.Mapping[_Node, t.Collection[_Node]], ranks: t.Mapping[_Node, t.Any]) -> list[_Node]:
    """Each behind what it needs, by rank where that leaves a choice; what is on a circle or needs one is left out."""
    sorter = graphlib.TopologicalSorter(needs)
    with contextlib.suppress(graphlib.CycleError):  # it goes on as far as it can
        sorter.prepare()
    ready: list[tuple[t.Any, _Node]] = []
    ordered = []
    while sorter.is_active():
        for node in sorter.get_ready():
            heapq.heappush(ready, (ranks[node], node))
        ordered.append(heapq.heappop(ready)[1])
        sorter.done(ordered[-1])
    return ordered


def drop_rank(item: Declared) -> int:
    """Where an object stands among those that are purged: views before tables."""
    return -_CREATED.index(item.kind)
