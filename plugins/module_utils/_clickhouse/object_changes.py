# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what exists to what is declared, for every kind of object (private: may change at any time). Pure.

Tables and databases without rows of their own are dropped and created where no ALTER makes them as declared. A table that consumes a
stream is dropped first, so that nothing is consumed until it is there again: each message then reaches all views that read from it. Where
such a view changes as well, an empty table stands in for it.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from . import alter, argument_specs, create_statement, declaration, sql_clauses, sql_secrets, sql_tokens
from . import change as planned

# What is text to the server, and is replaced as a whole.
_REPLACED = ("view", "dictionary", "function")
# Of a materialized view with TO, what ALTER changes.
_ALTERED = {"select", "columns", "comment", "refresh", "definer", "security"}
# Engines of tables that consume what they read.
_STREAMS = ("AzureQueue", "FileLog", "Kafka", "NATS", "RabbitMQ", "S3Queue")
# Engines of tables that hold nothing by themselves, or give it away first.
_WITHOUT_ROWS = (
    *("Alias", "AzureBlobStorage", "Buffer", "COSN", "Dictionary", "Distributed", "Executable", "ExecutablePool", "GCS", "GenerateRandom"),
    *("HDFS", "JDBC", "Merge", "MongoDB", "MySQL", "Null", "ODBC", "OSS", "PostgreSQL", "Redis", "Remote", "RemoteSecure", "S3", "SQLite"),
    *("URL", "YTsaurus"),
)
# Those of them that take and leave columns.
_WITH_ALTERED_COLUMNS = ("Buffer", "Distributed", "Merge", "Null")
# Engines of databases whose tables are elsewhere, and whose arguments the server shows as they were given.
_EXTERNAL_DATABASES = ("HDFS", "MySQL", "PostgreSQL", "S3")
# Why others are not dropped and created; all that are not named here keep their tables.
_OTHER_DATABASES = {
    "Backup": "what it shows is that of one backup",
    "DataLakeCatalog": "the server does not show all of its settings",
    "Filesystem": "the server shows its path in another way than it was given",
    "MaterializedPostgreSQL": "its copies of tables and its replication slot would be dropped",
    "SQLite": "the server does not show its file",
}
# Databases in which one table takes another's place at once.
_ATOMIC = ("Atomic", "Overlay", "Replicated", "Shared")


def plan_change(
    item: declaration.Declared, have: sql_clauses.Clauses, want: sql_clauses.Clauses, database_engine: str = "Atomic"
) -> planned.Change:
    """From what exists to what is declared, both under the declared name. C(database_engine) is that of the object's database."""
    differing = {part.key for part in set(have) ^ set(want)}
    if not differing:
        return planned.Change()
    comment = sql_clauses.clause_text(want, "comment") or "COMMENT ''"
    if "head" in differing:
        return planned.Change(impossible=("another kind of object has this name",))
    if item.kind == "database":
        return _plan_database(item, have, differing, comment)
    if item.kind in _REPLACED:
        replace = item.create_statement_as(sql_clauses.join_clauses(want)).replace("CREATE ", "CREATE OR REPLACE ", 1)
        return planned.Change(
            (replace,), halves=((_keep_dropped_attributes(item, have, want),), (replace,)) if item.kind == "dictionary" else ()
        )
    if item.kind == "materialized_view":
        return _plan_materialized_view(item, have, want, differing, comment)
    if holds_no_rows(have) and not is_alterable(have, differing):
        return plan_recreate(item, have, want, database_engine)
    if sql_secrets.HIDDEN_LITERAL in sql_clauses.join_clauses(want):
        return planned.Change(impossible=("it holds a secret that the server does not show",))
    made = alter.plan_alter(item.sql_name, have, want, materialize=item.materialize)
    return made if made.statements or made.impossible else planned.Change(impossible=("no ALTER makes this difference",))


def _plan_database(item: declaration.Declared, have: sql_clauses.Clauses, differing: set[str], comment: str) -> planned.Change:
    """ALTER for the comment; with another engine it is dropped and created where its tables are elsewhere."""
    if differing == {"comment"}:
        return planned.Change((f"ALTER DATABASE {item.sql_name} MODIFY {comment}",))
    name = sql_clauses.clause_text(have, "engine").partition("= ")[2].partition("(")[0].strip()
    if name in _EXTERNAL_DATABASES:
        return planned.Change((f"DROP DATABASE {item.sql_name} SYNC", item.statement), lost=planned.UNAVAILABLE)
    why = _OTHER_DATABASES.get(name, "its tables would be dropped")
    reason = f"its engine cannot be altered, and one of the engine {name} is not dropped for another: {why}. Drop it first (state: absent)"
    return planned.Change(impossible=(reason,))


def _keep_dropped_attributes(item: declaration.Declared, have: sql_clauses.Clauses, want: sql_clauses.Clauses) -> str:
    """The statement that makes a dictionary as declared, but with the attributes that it has and shall lose."""
    old, new = alter.parse_columns(have), alter.parse_columns(want)
    body = item.statement
    columns = [body[start:end] for start, end in sql_tokens.argument_spans(body)]
    columns += [column.text for name, column in old.items() if name not in new]
    start, end = sql_tokens.argument_spans(body)[0][0], sql_tokens.argument_spans(body)[-1][1]
    return f"{body[:start]}{', '.join(columns)}{body[end:]}".replace("CREATE ", "CREATE OR REPLACE ", 1)


def _plan_materialized_view(
    item: declaration.Declared, have: sql_clauses.Clauses, want: sql_clauses.Clauses, differing: set[str], comment: str
) -> planned.Change:
    """ALTER where it does; otherwise another view takes the place, so that no inserted row misses both.

    With another target the new view writes to it before the old one is gone, with the same target rows would be written twice. A
    refreshable view computes all rows again, and may be gone for a moment.
    """
    refresh, other = sql_clauses.clause_text(want, "refresh"), sql_clauses.clause_text(have, "refresh")
    appends = {any(token.is_word("APPEND") for token in sql_tokens.tokenize(text)) for text in (refresh, other)}
    if differing <= _ALTERED and bool(refresh) == bool(other) and len(appends) == 1:
        statements = []
        if differing & {"select", "columns"}:
            statements.append("MODIFY QUERY " + re.sub(r"^AS\s", "", sql_clauses.clause_text(want, "select")))
        if "refresh" in differing:
            statements.append(f"MODIFY {refresh}")
        if differing & {"definer", "security"}:
            statements.append(f"MODIFY {sql_clauses.clause_text(want, 'definer')} {sql_clauses.clause_text(want, 'security')}".strip())
        if "comment" in differing:
            statements.append(f"MODIFY {comment}")
        return planned.Change(tuple(f"ALTER TABLE {item.sql_name} {statement}" for statement in statements))
    if not (sql_clauses.clause_text(have, "to") and sql_clauses.clause_text(want, "to")):
        rest = ", ".join(sorted(differing))
        return planned.Change(impossible=(f"cannot be altered: {rest}. Drop the view and its rows (state: absent), then create it again",))
    if refresh or other:
        return planned.Change((f"DROP TABLE {item.sql_name} SYNC", item.statement), lost=planned.UNAVAILABLE)
    if "to" not in differing:
        return planned.Change(impossible=(f"cannot be altered: {', '.join(sorted(differing - _ALTERED))}",))
    beside = dataclasses.replace(item, name=item.name + planned.REBUILD_SUFFIX)
    return planned.Change(
        (beside.statement, f"EXCHANGE TABLES {item.sql_name} AND {beside.sql_name}", f"DROP TABLE {beside.sql_name} SYNC")
    )


def plan_collection_change(item: declaration.Declared, have: str) -> planned.Change | None:
    """From one named collection to another, by key, and by value as far as the server shows values; nothing where they are the same.

    C(have) is its statement, which is empty where the server's configuration has it.
    """
    if not have:
        return planned.Change(impossible=("it is defined in the server's configuration",))
    before, after = create_statement.parse_collection(have), create_statement.parse_collection(item.statement)
    changed = {key: entry for key, entry in after.items() if not _same_entry(before.get(key), entry)}
    gone = [key for key in before if key not in after]
    texts = []
    for hidden in (False, True):
        sets = [
            f"{sql_tokens.quote_name(key)} = {sql_secrets.HIDDEN_LITERAL if hidden else value} {flag}".strip()
            for key, (value, flag) in changed.items()
        ]
        words = [f"SET {', '.join(sets)}"] if sets else []
        words += [f"DELETE {', '.join(map(sql_tokens.quote_name, gone))}"] if gone else []
        texts.append(f"ALTER NAMED COLLECTION {item.sql_name} {' '.join(words)}")
    return planned.Change((texts[0],), shown=(texts[1],)) if changed or gone else None


def _same_entry(have: tuple[str, str] | None, want: tuple[str, str]) -> bool:
    if have is None or have[1] != want[1]:
        return False
    # The server writes every value as text.
    return have[0] == sql_secrets.HIDDEN_LITERAL or sql_tokens.unquote(have[0]) == sql_tokens.unquote(want[0])


def plan_rename(
    item: declaration.Declared, former: str, have: sql_clauses.Clauses, want: sql_clauses.Clauses, rest: planned.Change
) -> planned.Change:
    """A change behind the renaming of the object, whose former name (quoted where it has to be) is given."""
    if (
        sql_clauses.is_replicated(have)
        and sql_clauses.is_replicated(want)
        and not sql_clauses.replica_path(sql_clauses.parse_engine(item.body)[1])
    ):
        # A replica made later would take the path that goes with the new name, and be alone there.
        path = ", ".join(sql_clauses.replica_path(sql_clauses.table_engine(have)[1]))
        reason = f"a replicated table keeps its path in ZooKeeper when it is renamed: declare the path, Replicated...({path})"
        return planned.Change(impossible=(reason,))
    what = "DICTIONARY" if item.kind == "dictionary" else "TABLE"
    return dataclasses.replace(rest.after(f"RENAME {what} {former} TO {item.sql_name}"), source=former)


def plan_drop(item: declaration.Declared, have: str) -> planned.Change:
    """What removes an object. Only views without rows of their own go without permission."""
    if item.kind == "database":
        return planned.Change((f"DROP DATABASE {item.sql_name} SYNC",), ((argument_specs.DROP_TABLE, "all its tables would be dropped"),))
    if item.kind in create_statement.GLOBAL_KINDS:
        return planned.Change((f"DROP {create_statement.KIND_KEYWORDS[item.kind]} {item.sql_name}",))
    if item.kind == "dictionary":
        return planned.Change((f"DROP DICTIONARY {item.sql_name} SYNC",))
    kind = sql_clauses.object_kind(have) if have else "table"
    keeps_rows = kind != "view" and not (kind == "materialized_view" and sql_clauses.clause_text(sql_clauses.split_clauses(have), "to"))
    return planned.Change(
        (f"DROP TABLE {item.sql_name} SYNC",), ((argument_specs.DROP_TABLE, "its rows would be dropped"),) if keeps_rows else ()
    )


def is_stream(clauses: sql_clauses.Clauses) -> bool:
    """Whether a table consumes what it reads."""
    return sql_clauses.engine_name(clauses) in _STREAMS


def holds_no_rows(clauses: sql_clauses.Clauses) -> bool:
    """Whether no row is lost with a table."""
    return sql_clauses.engine_name(clauses) in (*_STREAMS, *_WITHOUT_ROWS)


def is_alterable(clauses: sql_clauses.Clauses, differing: t.Collection[str]) -> bool:
    """Whether ALTER may do to a table without rows what differs; the server rehearses it where it can."""
    name = sql_clauses.engine_name(clauses)
    altered = {"comment"}
    if name in _WITH_ALTERED_COLUMNS:
        altered |= {"columns", "settings"}
    elif name in ("AzureQueue", "S3Queue"):
        altered |= {"settings"}
    return altered.issuperset(differing)


def recreate_loss(clauses: sql_clauses.Clauses) -> str:
    """What is lost when a table that consumes a stream is dropped and created; empty where nothing is."""
    name, settings = sql_clauses.engine_name(clauses), sql_clauses.parse_settings(sql_clauses.clause_text(clauses, "settings"))
    if name == "Kafka" and "kafka_keeper_path" in settings:
        return "its offsets in ZooKeeper would be dropped with it"
    if name == "RabbitMQ" and sql_tokens.unquote(settings.get("rabbitmq_queue_consume", "0")) not in ("1", "true"):
        return "its queues, and the messages that wait in them, would be dropped with it"
    if name == "NATS" and not ("nats_stream" in settings and "nats_consumer_name" in settings):
        return "messages that are published while it is made anew would be lost"
    if name in ("AzureQueue", "S3Queue"):
        return "its record of processed files in ZooKeeper would be dropped with it, and files that are still there read again"
    if name == "FileLog":
        return "its offsets would be dropped with it, and files that are still there read again"
    return ""


def plan_recreate(item: declaration.Declared, have: sql_clauses.Clauses, want: sql_clauses.Clauses, database_engine: str) -> planned.Change:
    """What makes a table without rows of its own as declared. C(database_engine) is that of its database."""
    engine, reason = sql_clauses.engine_name(have), recreate_loss(have)
    needs = ((argument_specs.DROP_TABLE, reason),) if reason else ()
    *flush, drop = drop_statements(engine, item.sql_name)
    replace = item.statement.replace("CREATE ", "CREATE OR REPLACE ", 1)
    atomic = database_engine.partition("(")[0] in _ATOMIC
    if engine in _STREAMS:
        stand_in = f"CREATE TABLE {item.sql_name} {sql_clauses.clause_text(want, 'columns')} ENGINE = Null"
        halves = ((drop, stand_in), (replace,)) if atomic else ((drop, stand_in), (drop, item.statement))
        return planned.Change((drop, item.statement), needs, halves=halves if sql_clauses.clause_text(want, "columns") else ())
    if engine == "Distributed" and atomic:
        beside = dataclasses.replace(item, name=item.name + planned.REBUILD_SUFFIX)
        exchange = f"EXCHANGE TABLES {item.sql_name} AND {beside.sql_name}"
        return planned.Change((beside.statement, exchange, *drop_statements(engine, beside.sql_name)), needs)
    if not atomic:
        return planned.Change((*flush, drop, item.statement), needs, lost=planned.UNAVAILABLE)
    return planned.Change((*flush, replace), needs)


def drop_statements(name: str, table: str) -> tuple[str, ...]:
    """What drops a table of an engine, behind what gives away the rows that it holds for others."""
    flush = {"Buffer": f"OPTIMIZE TABLE {table}", "Distributed": f"SYSTEM FLUSH DISTRIBUTED {table}"}.get(name)
    return (*((flush,) if flush else ()), f"DROP TABLE {table} SYNC")
