# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and databases without rows of their own are dropped and created where no ALTER makes them as declared. Pure.

(Private: may change at any time.) A table that consumes a stream is dropped first, so that nothing is consumed until it is there
again: each message then reaches all views that read from it. Where such a view changes as well, an empty table stands in for it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .change import DROP_TABLE, REBUILD_SUFFIX, UNAVAILABLE, Change
from .clauses import Clause, clause_text, parse_engine, parse_settings
from .declaration import Declared
from .tokens import unquote

# Engines of tables that consume what they read.
_STREAMS = ("AzureQueue", "FileLog", "Kafka", "NATS", "RabbitMQ", "S3Queue")
# Engines of tables that hold nothing by themselves, or give it away first.
_WITHOUT_ROWS = (
    *("Alias", "AzureBlobStorage", "Buffer", "COSN", "Dictionary", "Distributed", "Executable", "ExecutablePool", "GCS", "GenerateRandom"),
    *("HDFS", "JDBC", "Merge", "MongoDB", "MySQL", "Null", "ODBC", "OSS", "PostgreSQL", "Redis", "Remote", "RemoteSecure", "S3", "SQLite"),
    *("URL", "YTsaurus"),
)
# Those of them that take and leave columns.
_ALTERED = ("Buffer", "Distributed", "Merge", "Null")
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


def engine_name(clauses: t.Sequence[Clause]) -> str:
    """Name of a table's engine."""
    return unquote(parse_engine(clause_text(clauses, "engine"))[0])


def is_stream(clauses: t.Sequence[Clause]) -> bool:
    """Whether a table consumes what it reads."""
    return engine_name(clauses) in _STREAMS


def holds_no_rows(clauses: t.Sequence[Clause]) -> bool:
    """Whether no row is lost with a table."""
    return engine_name(clauses) in (*_STREAMS, *_WITHOUT_ROWS)


def is_alterable(clauses: t.Sequence[Clause], differing: t.Collection[str]) -> bool:
    """Whether ALTER may do to a table without rows what differs; the server rehearses it where it can."""
    name = engine_name(clauses)
    if set(differing) <= {"comment"}:
        return True
    if name in ("AzureQueue", "S3Queue"):
        return set(differing) <= {"comment", "settings"}
    return name in _ALTERED and set(differing) <= {"columns", "comment", "settings"}


def is_external_database(text: str) -> bool:
    """Whether nothing is lost with a database. C(text) is its engine with its arguments."""
    return text.partition("(")[0].strip() in _EXTERNAL_DATABASES


def database_recreate_obstacle(text: str) -> str:
    """Why a database is not made anew. C(text) is its engine with its arguments."""
    name = text.partition("(")[0].strip()
    why = _OTHER_DATABASES.get(name, "its tables would be dropped")
    return f"its engine cannot be altered, and one of the engine {name} is not dropped for another: {why}. Drop it first (state: absent)"


def recreate_loss(clauses: t.Sequence[Clause]) -> str:
    """What is lost when a table that consumes a stream is dropped and created; empty where nothing is."""
    name, settings = engine_name(clauses), parse_settings(clause_text(clauses, "settings"))
    if name == "Kafka" and "kafka_keeper_path" in settings:
        return "its offsets in ZooKeeper would be dropped with it"
    if name == "RabbitMQ" and unquote(settings.get("rabbitmq_queue_consume", "0")) not in ("1", "true"):
        return "its queues, and the messages that wait in them, would be dropped with it"
    if name == "NATS" and not ("nats_stream" in settings and "nats_consumer_name" in settings):
        return "messages that are published while it is made anew would be lost"
    if name in ("AzureQueue", "S3Queue"):
        return "its record of processed files in ZooKeeper would be dropped with it, and files that are still there read again"
    if name == "FileLog":
        return "its offsets would be dropped with it, and files that are still there read again"
    return ""


def plan_recreate(item: Declared, have: t.Sequence[Clause], want: t.Sequence[Clause], database_engine: str) -> Change:
    """What makes a table without rows of its own as declared. C(database_engine) is that of its database."""
    reason = recreate_loss(have)
    needs = ((DROP_TABLE, reason),) if reason else ()
    drop = f"DROP TABLE {item.sql_name} SYNC"
    replace = item.statement.replace("CREATE ", "CREATE OR REPLACE ", 1)
    atomic = database_engine.partition("(")[0] in _ATOMIC
    if engine_name(have) in _STREAMS:
        stand_in = f"CREATE TABLE {item.sql_name} {clause_text(want, 'columns')} ENGINE = Null"
        halves = ((drop, stand_in), (replace,)) if atomic else ((drop, stand_in), (drop, item.statement))
        return Change((drop, item.statement), needs, halves=halves if clause_text(want, "columns") else ())
    if engine_name(have) == "Distributed" and atomic:
        beside = dataclasses.replace(item, name=item.name + REBUILD_SUFFIX)
        exchange = f"EXCHANGE TABLES {item.sql_name} AND {beside.sql_name}"
        return Change((beside.statement, exchange, *drop_statements("Distributed", beside.sql_name)), needs)
    if not atomic:
        return Change((*drop_statements(engine_name(have), item.sql_name), item.statement), needs, lost=UNAVAILABLE)
    return Change((*drop_statements(engine_name(have), item.sql_name)[:-1], replace), needs)


def drop_statements(name: str, table: str) -> tuple[str, ...]:
    """What drops a table of an engine, behind what gives away the rows that it holds for others."""
    flush = {"Buffer": f"OPTIMIZE TABLE {table}", "Distributed": f"SYSTEM FLUSH DISTRIBUTED {table}"}.get(name)
    return (*((flush,) if flush else ()), f"DROP TABLE {table} SYNC")
