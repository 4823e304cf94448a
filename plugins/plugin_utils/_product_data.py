# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: from what role product_data declares to objects of module clickhouse_schema. May change at any time. Pure.

A snapshot consists of a table over its source (C(<database>_source.<name>)), the table with the rows (C(<database>.<name>)), and the
view that fills it (C(<database>.<name>_refresh)). Passwords are in named collections only. The name of a collection ends with a digest of
its values: ClickHouse reads a collection when a table is created, so with changed values the table gets another one, and is created again.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import quote_name, quote_string
from ansible_collections.groundwork.observability.plugins.module_utils._durations import sql_interval
from ansible_collections.groundwork.observability.plugins.module_utils._grafana.secret_digest import digest
from ansible_collections.groundwork.observability.plugins.plugin_utils._constraints import milliseconds
from ansible_collections.groundwork.observability.plugins.plugin_utils._product_types import Reading, mysql_reading, postgres_reading

Options = t.Mapping[str, t.Any]
# Source and table -> the catalogue's rows of its columns, in their order.
Catalogue = t.Mapping[tuple[str, str], t.Sequence[Options]]
PORTS = {"postgresql": 5432, "mysql": 3306}
ENGINES = {"postgresql": "PostgreSQL", "mysql": "MySQL"}
# Kinds of sources that hold files. A source of the first kind has a named collection, as databases have.
FILES = ("s3", "http", "file")
# What holds the moment of a snapshot that is kept beside later ones.
TIME = "snapshot_time"
REFRESH, HISTORY = "_refresh", "_history"
# Of named collections: no source is called so.
DICTIONARY = "dictionary"
# Of a one-off import: ClickHouse counts from 1970, so the first refresh is due at once. The role drops the view when the rows are there.
ONCE = "1 YEAR"
ONCE_SECONDS = 366 * 86400
# A dictionary over a one-off import is loaded again after so many seconds.
ONCE_DICTIONARY_SECONDS = 3600
# A snapshot is late after so many intervals without a success.
LATE_AFTER = 3
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_(), '/+.=-]{0,499}")
_COLUMN = re.compile(r"[^\"'`\\\x00-\x1f\x7f]{1,128}")
_PATH = re.compile(r"[^/\"'`\\\x00-\x1f\x7f][^\"'`\\\x00-\x1f\x7f]{0,500}")
_TABLE = re.compile(r"([^\"'`\\.\x00-\x1f\x7f]{1,128}\.)?[^\"'`\\.\x00-\x1f\x7f]{1,128}")
# A one-off import is tried until it succeeds.
_ONCE_RETRIES = "SETTINGS refresh_retries = -1, refresh_retry_initial_backoff_ms = 1000, refresh_retry_max_backoff_ms = 600000"
# A failed refresh is tried again after 1, 2 and 4 seconds; after that the next one is due as planned.
_RETRIES = "SETTINGS refresh_retries = 3, refresh_retry_initial_backoff_ms = 1000, refresh_retry_max_backoff_ms = 10000"
_POSTGRES_CATALOGUE = """
SELECT n.nspname || '.' || c.relname AS table_name, a.attname::text AS column_name, a.attnum::int AS position,
  format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE a.atttypid END, CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END)
    AS column_type,
  (NOT a.attnotnull)::int AS nullable, a.attndims::int AS dimensions, (t.typtype = 'e')::int AS is_enum
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
WHERE n.nspname || '.' || c.relname IN ({tables}) AND a.attnum > 0 AND NOT a.attisdropped
  AND has_column_privilege(c.oid, a.attnum, 'SELECT')
"""
_MYSQL_CATALOGUE = """
SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS table_name, COLUMN_NAME AS column_name, ORDINAL_POSITION AS position,
  COLUMN_TYPE AS column_type, IS_NULLABLE = 'YES' AS nullable, 0 AS dimensions, 0 AS is_enum
FROM information_schema.COLUMNS WHERE CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) IN ({tables})
"""


class ProductDataError(Exception):
    """What is declared cannot be made. The text says which option, and what to do."""


class Column(t.NamedTuple):
    """A column of a snapshot."""

    name: str
    reading: Reading


@dataclasses.dataclass(frozen=True)
class ProductData:
    """The role's options."""

    database: str
    sources: t.Sequence[Options] = ()
    snapshots: t.Sequence[Options] = ()
    passwords: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    dictionaries: t.Sequence[Options] = ()
    # Who reads the snapshots for the dictionaries.
    dictionary_user: str = ""
    dictionary_password: str = ""

    @property
    def source_database(self) -> str:
        """Where the tables over the sources are, so that who reads snapshots needs no right on them."""
        return f"{self.database}_source"

    def source(self, name: str) -> Options:
        """The source with this name."""
        return next(source for source in self.sources if source["name"] == name)

    def collection_values(self, source: Options) -> dict[str, str]:
        """What the named collection of a source holds."""
        if source["type"] == "s3":
            access = {"no_sign_request": "1"}
            if source.get("user"):
                access = {"access_key_id": str(source["user"]), "secret_access_key": str(self.passwords[source["name"]])}
            return {**access, "url": str(source["url"])}
        return {
            "database": str(source["database"]),
            "host": str(source["host"]),
            "password": str(self.passwords[source["name"]]),
            "port": str(source.get("port") or PORTS[source["type"]]),
            "user": str(source["user"]),
        }

    def collection(self, source: Options) -> str:
        """The name of the named collection of a source."""
        return self._named(source["name"], self.collection_values(source))

    @property
    def dictionary_values(self) -> dict[str, str]:
        """What the named collection of the dictionaries holds."""
        return {"password": self.dictionary_password, "user": self.dictionary_user}

    @property
    def dictionary_collection(self) -> str:
        """The name of the named collection of the dictionaries."""
        return self._named(DICTIONARY, self.dictionary_values)

    @property
    def collections(self) -> dict[str, dict[str, str]]:
        """The values of each named collection, by its name."""
        by_name = [source for source in self.sources if source["type"] not in ("http", "file")]
        found = {self.collection(source): self.collection_values(source) for source in by_name}
        return {**found, self.dictionary_collection: self.dictionary_values} if self.dictionaries else found

    def _named(self, name: str, values: t.Mapping[str, str]) -> str:
        place = f"{self.database}_{name}"
        return f"{place}_{digest(values, place)[:16]}"

    def table_of(self, snapshot: Options) -> str:
        """The table of a snapshot in the source, with its schema or database."""
        source, table = self.source(snapshot["source"]), str(snapshot["table"])
        return table if "." in table else f"{'public' if source['type'] == 'postgresql' else source['database']}.{table}"


def seconds(duration: str) -> int:
    """The length of a duration such as C(1h30m)."""
    return milliseconds(duration) // 1000


def _every(snapshot: Options) -> str:
    """How often a snapshot is made, as C(REFRESH EVERY) takes it."""
    return sql_interval(seconds(snapshot["every"]))


def _schedule(snapshot: Options) -> str:
    """When the view of a snapshot refreshes it, and how often a failed refresh is tried again."""
    if snapshot.get("once"):
        return f"AFTER {ONCE} {_ONCE_RETRIES}"
    # Not all servers and all snapshots at the same moment.
    return f"EVERY {_every(snapshot)} RANDOMIZE FOR {max(1, seconds(snapshot['every']) // 10)} SECOND {_RETRIES}"


def finished_imports(data: ProductData, filled: t.Collection[str]) -> set[str]:
    """Names of the one-off imports whose tables have their rows. A table gets all its rows at once, or none."""
    return {str(one["name"]) for one in data.snapshots if one.get("once") and one["name"] in filled}


def _literal(text: str) -> str:
    """A literal of PostgreSQL and MySQL, of a name that has neither quotes nor backslashes."""
    return f"'{text}'"


def _source_name(kind: str, *parts: str) -> str:
    """A quoted name in the source's SQL."""
    mark = '"' if kind == "postgresql" else "`"
    return ".".join(f"{mark}{part}{mark}" for part in parts)


# What is wrong with the options


def problems(data: ProductData) -> list[str]:
    """What contradicts what in the options, one line each. Types and the values of single options are checked elsewhere."""
    sources = {str(source.get("name")): source for source in data.sources}
    names = [str(source.get("name")) for source in data.sources]
    found = _twice("product_data_sources", names) + _twice("product_data_snapshots", [str(one.get("name")) for one in data.snapshots])
    for name, source in sources.items():
        found += [f"product_data_sources ({name}): {problem}" for problem in _source_problems(source)]
        if source.get("user") and not data.passwords.get(name):
            found.append(f"product_data_passwords has no entry {name}: add the password of that source to observability_secrets_file")
    for name in data.passwords:
        if name not in names:
            found.append(f"product_data_passwords has an entry {name}, but product_data_sources has only {_list(names)}")
    if DICTIONARY in names:
        found.append(f"product_data_sources: {DICTIONARY} is a name of the role: choose another")
    found += _dictionary_problems(data)
    for number, snapshot in enumerate(data.snapshots):
        where = f"product_data_snapshots[{number}] ({snapshot.get('name')})"
        found += [f"{where}: {problem}" for problem in _snapshot_problems(snapshot, sources)]
    return found


def _source_problems(source: Options) -> list[str]:
    """Options that a kind of source needs, or does not have."""
    kind = str(source.get("type"))
    needed = {"s3": ("url",), "http": ("url",), "file": ()}.get(kind, ("host", "database", "user"))
    possible = {"s3": ("url", "user"), "http": ("url",), "file": ()}.get(kind, ("host", "port", "database", "user"))
    given = [name for name in ("host", "port", "database", "user", "url") if source.get(name)]
    found = [f"type {kind} needs {name}: set it" for name in needed if name not in given]
    found += [f"type {kind} has no {name}: take it out" for name in given if name not in possible]
    if "url" in given and not str(source["url"]).endswith("/"):
        found.append("url has to end with a slash: the paths of files follow it")
    return found


def _list(names: t.Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _listed(value: t.Any) -> list[t.Any]:
    """A list. That another value is none is said elsewhere."""
    return value if isinstance(value, list) else []


def _twice(option: str, names: t.Sequence[str]) -> list[str]:
    return [f"{option} has {name} twice: give each a name of its own" for name in sorted(set(names)) if names.count(name) > 1]


def _dictionary_problems(data: ProductData) -> list[str]:
    names = [str(one.get("name")) for one in data.dictionaries]
    found = _twice("product_data_dictionaries", names)
    snapshots = {str(one.get("name")): one for one in data.snapshots}
    for number, one in enumerate(data.dictionaries):
        where, snapshot = f"product_data_dictionaries[{number}] ({one.get('name')})", snapshots.get(str(one.get("snapshot")))
        if names[number] in snapshots or names[number] == "freshness" or names[number].endswith((REFRESH, HISTORY)):
            found.append(f"{where}: name: a snapshot or another object of the role has it: choose another")
        if snapshot is None:
            found.append(f"{where}: snapshot {one.get('snapshot')} is not in product_data_snapshots: they are {_list(snapshots)}")
            continue
        keys, attributes = ([str(name) for name in _listed(values)] for values in (snapshot.get("keys"), one.get("attributes")))
        if not keys:
            found.append(f"{where}: snapshot {one['snapshot']} has no keys, by which rows are found: set them")
        if not attributes or set(attributes) & set(keys):
            found.append(f"{where}: attributes has to name columns of the snapshot that are none of its keys ({_list(keys)})")
    return found


def _snapshot_problems(snapshot: Options, sources: t.Mapping[str, Options]) -> list[str]:
    source = sources.get(str(snapshot.get("source")), {})
    found = _file_problems(snapshot) if source.get("type") in FILES else _table_problems(snapshot)
    name, query = str(snapshot.get("name")), snapshot.get("query")
    columns = [column for column in _listed(snapshot.get("columns")) if isinstance(column, t.Mapping)]
    keys = [str(key) for key in _listed(snapshot.get("keys"))]
    if name == "freshness" or name.endswith((REFRESH, HISTORY)):
        found.append("name: freshness, and names that end with _refresh or _history, are those of the role: choose another")
    if str(snapshot.get("source")) not in sources:
        found.append(f"source {snapshot.get('source')} is not in product_data_sources: they are {_list(sources)}")
    if (query or snapshot.get("path")) and not (columns and all(column.get("type") for column in columns)):
        found.append("query and path need columns, each with name and type: a catalogue knows tables only")
    names = [str(column.get("name")) for column in columns]
    found += [f"columns has {one} twice" for one in sorted(set(names)) if names.count(one) > 1]
    for column in columns:
        found += _column_problems(column)
    found += [f"keys has {key}, which is not in columns: they are {_list(names)}" for key in keys if columns and key not in names]
    found += [f"keys has {key} twice" for key in sorted(set(keys)) if keys.count(key) > 1]
    if bool(snapshot.get("every")) == bool(snapshot.get("once")):
        found.append("set either every, for a refresh in each interval, or once: true, for a one-off import")
    if snapshot.get("once") and snapshot.get("mode", "full") == "append":
        found.append("mode append needs every: a one-off import has one set of rows")
    if snapshot.get("keep_days") and snapshot.get("mode", "full") != "append":
        found.append("keep_days is for mode append: a full snapshot has the rows of the last refresh only")
    return found


def _table_problems(snapshot: Options) -> list[str]:
    table, query = snapshot.get("table"), snapshot.get("query")
    found = [f"{name} is for sources of files ({', '.join(FILES)}): take it out" for name in ("path", "format") if snapshot.get(name)]
    if bool(table) == bool(query):
        found.append("set either table or query")
    if table and not _TABLE.fullmatch(str(table)):
        found.append("table has to be a name, or schema.table, without quotes, backslashes and control characters")
    if query and str(query).rstrip().endswith(";"):
        found.append("query ends with a semicolon: take it out, the query becomes a part of another")
    return found


def _file_problems(snapshot: Options) -> list[str]:
    path, kind = str(snapshot.get("path") or ""), str(snapshot.get("format") or "")
    found = [f"{name} is for sources that are databases: take it out" for name in ("table", "query") if snapshot.get(name)]
    if not _PATH.fullmatch(path) or ".." in path.split("/"):
        found.append("path has to be a relative path of printable characters, without quotes, backslashes and ..")
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]{1,60}", kind):
        found.append("format has to be the name of one of ClickHouse's formats, such as CSVWithNames, JSONEachRow or Parquet")
    return found


def _column_problems(column: Options) -> list[str]:
    found = []
    if not _COLUMN.fullmatch(str(column.get("name"))):
        found.append(f"columns: name {str(column.get('name'))!r} has a quote, a backslash or a control character, or is too long")
    kind = column.get("type")
    if kind and not (_TYPE.fullmatch(str(kind)) and str(kind).count("(") == str(kind).count(")") and str(kind).count("'") % 2 == 0):
        found.append(f"columns: type {kind!r} of {column.get('name')} is not a type of ClickHouse")
    return found


# Objects


def collection_objects(data: ProductData) -> list[dict[str, str]]:
    """The databases and the named collections: all that has to be there before a source can be asked."""
    objects = [{"kind": "database", "name": name, "engine": "Atomic"} for name in (data.database, data.source_database)]
    for name, values in data.collections.items():
        assigned = ", ".join(f"{key} = {quote_string(value)}" for key, value in values.items())
        objects.append({"ddl": f"CREATE NAMED COLLECTION {quote_name(name)} AS {assigned}"})
    return objects


def obsolete_objects(data: ProductData, there: t.Sequence[Options]) -> list[dict[str, str]]:
    """Tables over sources, dictionaries and named collections that are not needed any more, declared absent. They hold no rows.

    :param data: the options.
    :param there: C(database), C(name), C(kind) and C(has_rows) of each table, of each dictionary that reads by the role's named collection,
        and of each named collection, whose database is empty.
    """
    snapshots, dictionaries = ({one["name"] for one in declared} for declared in (data.snapshots, data.dictionaries))
    snapshots -= finished_imports(data, filled_tables(data, there))
    ours = re.compile(rf"{re.escape(data.database)}_[A-Za-z0-9_]+_[0-9a-f]{{16}}")
    found = []
    for one in there:
        if one["database"] == data.source_database and one["name"] not in snapshots:
            found.append({"kind": "table", "name": f"{data.source_database}.{quote_name(one['name'])}", "state": "absent"})
        if one["database"] == data.database and one["kind"] == DICTIONARY and one["name"] not in dictionaries:
            found.append({"kind": DICTIONARY, "name": f"{data.database}.{quote_name(one['name'])}", "state": "absent"})
        if not one["database"] and ours.fullmatch(one["name"]) and one["name"] not in data.collections:
            found.append({"kind": "named_collection", "name": one["name"], "state": "absent"})
    return found


def filled_tables(data: ProductData, there: t.Sequence[Options]) -> set[str]:
    """Names of the tables with rows, from what C(obsolete_objects) takes."""
    return {str(one["name"]) for one in there if one["database"] == data.database and int(one["has_rows"])}


def catalogue_queries(data: ProductData) -> list[dict[str, str]]:
    """For each source with tables to copy: C(source), and the C(query) by which ClickHouse reads the columns from its catalogue."""
    found = []
    for source in data.sources:
        tables = sorted({data.table_of(one) for one in data.snapshots if one["source"] == source["name"] and one.get("table")})
        if tables:
            template = _POSTGRES_CATALOGUE if source["type"] == "postgresql" else _MYSQL_CATALOGUE
            text = template.format(tables=", ".join(map(_literal, tables)))
            function = f"{source['type']}({quote_name(data.collection(source))}, query = {quote_string(' '.join(text.split()))})"
            found.append({"source": source["name"], "query": f"SELECT * FROM {function} ORDER BY table_name, position"})
    return found


def snapshot_columns(data: ProductData, snapshot: Options, catalogue: Catalogue) -> list[Column]:
    """The columns of a snapshot. Raises C(ProductDataError) if the source has no such table or column."""
    declared = {column["name"]: column.get("type") for column in snapshot.get("columns") or ()}
    keys = set(snapshot.get("keys") or ())
    if not snapshot.get("table"):
        return [Column(name, Reading("", str(kind), str(kind))) for name, kind in declared.items()]
    source, where = data.source(snapshot["source"]), f"snapshot {snapshot['name']}"
    table = data.table_of(snapshot)
    rows = catalogue.get((source["name"], table), ())
    if not rows:
        raise ProductDataError(
            f"{where}: source {source['name']} has no table {table}, or its user {source['user']} may not read it: correct "
            "product_data_snapshots, or grant SELECT in the source"
        )
    known = {str(row["column_name"]): row for row in rows}
    for option, names in (("columns", declared), ("keys", keys)):
        missing = sorted(set(names) - set(known))
        if missing:
            raise ProductDataError(
                f"{where}: {option} has {_list(missing)}, which {table} of source {source['name']} lacks, or its user may not read: "
                f"there are {_list(known)}"
            )
    hostile = [name for name in declared or known if not _COLUMN.fullmatch(name)]
    if hostile:
        what = f"the name of column {hostile[0]!r} has a quote, a backslash or a control character"
        raise ProductDataError(f"{where}: {what}: leave it out of columns")
    return [Column(name, _column_reading(source["type"], known[name], declared.get(name), name in keys)) for name in declared or known]


def _column_reading(kind: str, row: Options, wanted: str | None, is_key: bool) -> Reading:
    """How a column is read: as its type in the catalogue says, and into the declared type. Keys are never NULL."""
    name, nullable = _source_name(kind, str(row["column_name"])), bool(int(row["nullable"]))
    if kind == "postgresql":
        found = postgres_reading(name, str(row["column_type"]), nullable, int(row["dimensions"]), bool(int(row["is_enum"])))
    else:
        found = mysql_reading(name, str(row["column_type"]), nullable)
    own = re.sub(r"Nullable\((.*)\)", r"\1", found.type) if is_key and "Array" not in found.type else found.type
    into = str(wanted or own)
    if into == found.type:
        return found
    return dataclasses.replace(found, type=into, conversion=f"CAST({found.conversion}, {quote_string(into)})")


def snapshot_objects(data: ProductData, snapshot: Options, columns: t.Sequence[Column], finished: bool = False) -> list[dict[str, str]]:
    """The tables and views of a snapshot. Of a one-off import that is finished, only the table is left."""
    name, appends = snapshot["name"], snapshot.get("mode", "full") == "append"
    if appends and any(column.name == TIME for column in columns):
        raise ProductDataError(f"snapshot {name}: with mode append the column {TIME} is the role's own: leave it out of columns")
    keys = [quote_name(key) for key in snapshot.get("keys") or ()]
    structure = ", ".join(f"{quote_name(column.name)} {column.reading.raw}" for column in columns)
    table, raw = f"{data.database}.{quote_name(name)}", f"{data.source_database}.{quote_name(name)}"
    view = f"{data.database}.{quote_name(name + REFRESH)}"
    time = [f"{TIME} DateTime('UTC')"] if appends else []
    body = ", ".join(time + [f"{quote_name(column.name)} {column.reading.type}" for column in columns])
    values = [f"now('UTC') AS {TIME}"] if appends else []
    values += [_selected(column) for column in columns]
    made = f"CREATE TABLE {table} ({body}) ENGINE = MergeTree ORDER BY ({', '.join(keys)})"
    if finished:
        return [{"ddl": made}]
    objects = []
    if data.source(snapshot["source"])["type"] == "file":
        # A table of the engine File keeps the files that its pattern matched when it was created.
        raw = f"file({', '.join(map(quote_string, (snapshot['path'], snapshot['format'], structure)))})"
    else:
        objects.append(f"CREATE TABLE {raw} ({structure}) ENGINE = {_source_engine(data, snapshot, columns)}")
    objects += [
        made,
        f"CREATE MATERIALIZED VIEW {view} REFRESH {_schedule(snapshot)} TO {table} "
        f"AS SELECT {', '.join(values)} FROM {raw}{_not_empty(data, snapshot, raw)}",
    ]
    if appends:
        history = f"{data.database}.{quote_name(name + HISTORY)}"
        selected = ", ".join([TIME, *(quote_name(column.name) for column in columns)])
        ttl = f" TTL {TIME} + INTERVAL {int(snapshot['keep_days'])} DAY" if snapshot.get("keep_days") else ""
        objects += [
            f"CREATE TABLE {history} ({body}) ENGINE = MergeTree PARTITION BY toYYYYMM({TIME}) ORDER BY ({', '.join([*keys, TIME])}){ttl}",
            # It also runs after a refresh that failed; each snapshot is added once all the same.
            f"CREATE MATERIALIZED VIEW {data.database}.{quote_name(name + HISTORY + REFRESH)} REFRESH EVERY {_every(snapshot)} "
            f"DEPENDS ON {view} {_RETRIES} APPEND TO {history} AS SELECT {selected} "
            f"FROM {table} WHERE {TIME} > (SELECT max({TIME}) FROM {history})",
        ]
    return [{"ddl": statement} for statement in objects]


def _not_empty(data: ProductData, snapshot: Options, raw: str) -> str:
    """A condition that fails the refresh where files are gone: ClickHouse takes no file for no rows, which would empty the snapshot.

    A one-off import without rows fails as well: nothing would tell it from one that was not made.
    """
    if data.source(snapshot["source"])["type"] not in FILES and not snapshot.get("once"):
        return ""
    return f" WHERE (SELECT throwIf(count() = 0, 'the source has no such file, or no row in it') FROM (SELECT 1 FROM {raw} LIMIT 1)) = 0"


def _selected(column: Column) -> str:
    name = quote_name(column.name)
    made = column.reading.conversion.replace("{}", name)
    return name if made == name else f"{made} AS {name}"


def _source_engine(data: ProductData, snapshot: Options, columns: t.Sequence[Column]) -> str:
    """The engine of the table over the source. It reads by a query in the source's own SQL, and is created without asking the source."""
    source = data.source(snapshot["source"])
    query, kind = snapshot.get("query"), source["type"]
    if kind == "s3":
        name = quote_name(data.collection(source))
        return f"S3({name}, filename = {quote_string(snapshot['path'])}, format = {quote_string(snapshot['format'])})"
    if kind == "http":
        return f"URL({quote_string(source['url'] + snapshot['path'])}, {quote_string(snapshot['format'])})"
    if not query:
        selected = ", ".join(f"{column.reading.expression} AS {_source_name(source['type'], column.name)}" for column in columns)
        query = f"SELECT {selected} FROM {_source_name(source['type'], *data.table_of(snapshot).split('.'))}"
    return f"{ENGINES[source['type']]}({quote_name(data.collection(source))}, query = {quote_string(str(query).strip())})"


def dictionary_object(data: ProductData, dictionary: Options, columns: t.Sequence[Column]) -> dict[str, str]:
    """A dictionary over a snapshot. Each server loads it from its own copy, at the latest one interval after a refresh."""
    snapshot = next(one for one in data.snapshots if one["name"] == dictionary["snapshot"])
    # An attribute cannot be LowCardinality.
    types = {column.name: re.sub(r"^LowCardinality\((.*)\)$", r"\1", column.reading.type) for column in columns}
    missing = [name for name in dictionary["attributes"] if name not in types]
    if missing:
        where = f"dictionary {dictionary['name']}: attributes has {_list(missing)}"
        raise ProductDataError(f"{where}, which snapshot {snapshot['name']} lacks: there are {_list(types)}")
    keys = ", ".join(quote_name(key) for key in snapshot["keys"])
    body = ", ".join(f"{quote_name(name)} {types[name]}" for name in (*snapshot["keys"], *dictionary["attributes"]))
    table = f"DB {quote_string(data.database)} TABLE {quote_string(snapshot['name'])}"
    length = ONCE_DICTIONARY_SECONDS if snapshot.get("once") else seconds(snapshot["every"])
    return {
        "ddl": f"CREATE DICTIONARY {data.database}.{quote_name(dictionary['name'])} ({body}) PRIMARY KEY {keys} "
        f"SOURCE(CLICKHOUSE(NAME {quote_name(data.dictionary_collection)} {table})) "
        f"LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(MIN {max(1, length // 2)} MAX {length})"
    }


def freshness_objects(data: ProductData, finished: t.Collection[str] = ()) -> list[dict[str, str]]:
    """The view that says of each snapshot on a server how old it is, and what its last refresh failed with."""
    declared = []
    for one in data.snapshots:
        if one["name"] in finished:
            continue
        length = ONCE_SECONDS if one.get("once") else seconds(one["every"])
        parts = ("", HISTORY) if one.get("mode", "full") == "append" else ("",)
        declared += [f"({quote_string(one['name'] + part)}, {quote_string(one['source'])}, {length})" for part in parts]
    if not declared:
        return []
    database = quote_string(data.database)
    return [
        {
            "ddl": f"""
            CREATE VIEW {data.database}.freshness AS
            SELECT
              hostName() AS server, declared.1 AS snapshot, declared.2 AS source, declared.3 AS every_seconds, refreshes.status AS status,
              refreshes.last_success_time AS last_success, dateDiff('second', refreshes.last_success_time, now()) AS age_seconds,
              ifNull(age_seconds > {LATE_AFTER} * every_seconds, true) AS late, tables.total_rows AS rows,
              splitByString(', Stack trace', ifNull(refreshes.exception, ''))[1] AS last_error, refreshes.next_refresh_time AS next_refresh
            FROM (SELECT arrayJoin([{", ".join(declared)}]) AS declared) AS snapshots
            LEFT JOIN (SELECT * FROM system.view_refreshes WHERE database = {database}) AS refreshes
              ON refreshes.view = concat(declared.1, {quote_string(REFRESH)})
            LEFT JOIN (SELECT name, total_rows FROM system.tables WHERE database = {database}) AS tables ON tables.name = declared.1
            """
        }
    ]


class Wanted(t.NamedTuple):
    """What the role has to bring about."""

    objects: list[dict[str, str]]
    purge: list[dict[str, t.Any]]
    # What the user should know, one line each.
    messages: list[str]


def wanted(
    data: ProductData, answers: t.Sequence[Options], tables: t.Collection[str], rehearsal: bool, filled: t.Collection[str] = ()
) -> Wanted:
    """Everything behind the collections. A snapshot that is there, and whose source does not answer, stays as it is.

    :param data: the options.
    :param answers: of each source that was asked C(source), with the C(rows) of its catalogue or the C(error).
    :param tables: names of the tables that the database has.
    :param rehearsal: whether this is check mode, in which a source may not be known to the server yet.
    :param filled: names of the tables that have rows.
    """
    finished = finished_imports(data, filled)
    catalogue: dict[tuple[str, str], list[Options]] = {}
    for answer in answers:
        for row in answer.get("rows") or ():
            catalogue.setdefault((answer["source"], str(row["table_name"])), []).append(row)
    errors = {answer["source"]: str(answer["error"]) for answer in answers if answer.get("error")}
    objects, kept, messages = [], [], []
    columns: dict[str, list[Column]] = {}
    for one in data.snapshots:
        error = errors.get(one["source"]) if one.get("table") else None
        if error is None:
            columns[one["name"]] = snapshot_columns(data, one, catalogue)
            objects += snapshot_objects(data, one, columns[one["name"]], one["name"] in finished)
            continue
        if one["name"] in finished:
            continue
        there = {one["name"], one["name"] + REFRESH} <= set(tables)
        if not there and not rehearsal:
            raise ProductDataError(
                f"snapshot {one['name']}: its columns are not known, because source {one['source']} did not answer: {error}. Correct "
                "product_data_sources or product_data_passwords, or start the source; README.md of role product_data has the GRANTs"
            )
        kept.append(one["name"])
        state = "it stays as it is" if there else "it is left out of check mode"
        messages.append(f"snapshot {one['name']}: {state}, because source {one['source']} did not answer: {error}")
    objects += [dictionary_object(data, one, columns[one["snapshot"]]) for one in data.dictionaries if one["snapshot"] in columns]
    views = [f"{name}{part}{REFRESH}" for name in kept for part in ("", HISTORY)]
    return Wanted(
        objects + freshness_objects(data, finished),
        # Rows of a snapshot that is no longer declared stay.
        [{"database": data.database, "names": [f"*{REFRESH}"], "keep": views}],
        messages,
    )
