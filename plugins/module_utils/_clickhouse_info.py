# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a ClickHouse server tells about itself (private: may change at any time).

A section is one query and a function that brings its rows into shape. The number of queries depends on nothing that
the server holds.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import (
    argument_specs,
    error_codes,
    sql_secrets,
    sql_tokens,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouseError
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.settings import check_text
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_query import HIDDEN, Session, read_rows

Row = t.Dict[str, t.Any]

# Errors that concern one section and say nothing about the others: no privilege, a table that this version does not
# have, no ZooKeeper or none that answers, a user or role that was dropped between two queries.
_SKIPPING = {
    error_codes.ACCESS_DENIED,
    error_codes.UNKNOWN_TABLE,
    error_codes.NO_ZOOKEEPER,
    error_codes.KEEPER_EXCEPTION,
    error_codes.UNKNOWN_USER,
    error_codes.UNKNOWN_ROLE,
}
# Seconds of delay from which ClickHouse itself, by default, prefers another replica.
_LATE = 300

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:\.(\d+))?[-.]?(.*)")
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):[^/@\s]+@")
_SECRET_SETTING = re.compile(
    r"password|passphrase|(?:^|[_.])(?:secret|secret_key|secret_access_key|access_key_id|credentials|api_key|private_key)$"
)
_SECRET_KEY = re.compile(r"password|hash|salt|secret", re.IGNORECASE)

_DATABASE = ("engine", "data_path", "metadata_path", "uuid", "engine_full", "comment", "is_external")
_TABLE = (
    "uuid", "engine", "is_temporary", "data_paths", "metadata_path", "metadata_modification_time", "dependencies_database",
    "dependencies_table", "create_table_query", "engine_full", "as_select", "partition_key", "sorting_key", "primary_key", "sampling_key",
    "storage_policy", "total_rows", "total_bytes", "total_bytes_uncompressed", "parts", "active_parts", "total_marks", "lifetime_rows",
    "lifetime_bytes", "comment", "has_own_data", "loading_dependencies_database", "loading_dependencies_table",
    "loading_dependent_database", "loading_dependent_table",
)  # fmt: skip
_DICTIONARY = (
    "uuid", "status", "origin", "key.names", "key.types", "attribute.names", "attribute.types", "bytes_allocated",
    "hierarchical_index_bytes_allocated", "query_count", "hit_rate", "found_rate", "element_count", "load_factor", "source", "lifetime_min",
    "lifetime_max", "loading_start_time", "last_successful_update_time", "error_count", "loading_duration", "last_exception", "comment",
)  # fmt: skip
_REPLICA = (
    "uuid", "engine", "is_leader", "can_become_leader", "is_readonly", "readonly_start_time", "is_session_expired", "future_parts",
    "parts_to_check", "zookeeper_name", "zookeeper_path", "replica_name", "replica_path", "columns_version", "queue_size",
    "inserts_in_queue", "merges_in_queue", "part_mutations_in_queue", "queue_oldest_time", "log_max_index", "log_pointer",
    "last_queue_update", "absolute_delay", "total_replicas", "active_replicas", "lost_part_count", "last_queue_update_exception",
    "zookeeper_exception", "replica_is_active",
)  # fmt: skip
_MUTATION = (
    "database", "table", "mutation_id", "command", "create_time", "parts_to_do", "parts_to_do_names", "is_done", "is_killed",
    "latest_failed_part", "latest_fail_time", "latest_fail_reason",
)  # fmt: skip
_USER = (
    "id", "storage", "auth_type", "auth_params", "valid_until", "host_ip", "host_names", "host_names_regexp", "host_names_like",
    "default_roles_all", "default_roles_list", "default_roles_except", "grantees_any", "grantees_list", "grantees_except",
    "default_database",
)  # fmt: skip
_QUOTA = ("id", "storage", "keys", "durations", "apply_to_all", "apply_to_list", "apply_to_except")
_PROFILE = ("id", "storage", "num_elements", "apply_to_all", "apply_to_list", "apply_to_except")
_SETTING = ("value", "changed", "description", "min", "max", "readonly", "type", "default", "alias_for")
_CHANGED = ("value", "default", "type", "description")
_SHARD_REPLICA = (
    "host_name", "host_address", "port", "is_local", "is_active", "user", "default_database", "errors_count", "slowdowns_count",
    "estimated_recovery_time",
)  # fmt: skip
_VOLUME = ("volume_name", "volume_priority", "disks", "volume_type", "max_data_part_size", "move_factor", "prefer_not_to_merge")
_DISK = (
    "path", "free_space", "total_space", "unreserved_space", "keep_free_space", "type", "object_storage_type", "metadata_type",
    "is_encrypted", "is_read_only", "is_write_once", "is_remote", "is_broken", "cache_path",
)  # fmt: skip
_GRANT = ("access_type", "access_object", "database", "table", "column", "is_partial_revoke", "grant_option")
_ELEMENT = ("index", "setting_name", "value", "min", "max", "writability", "inherit_profile")
_PART_SUMS = {
    "parts": "count()",
    "partitions": "uniqExact(partition_id)",
    **{name: f"sum({name})" for name in ("rows", "bytes_on_disk", "data_compressed_bytes", "data_uncompressed_bytes")},
    "modification_time": "max(modification_time)",
}


@dataclass(frozen=True)
class Section:
    """One query. C(scope) is its column that the option databases narrows down."""

    sql: str
    shape: t.Callable[[list[Row]], t.Any]
    scope: str = ""

    def statement(self, databases: t.Sequence[str] | None) -> str:
        if not self.scope or databases is None:
            return self.sql.format(where="", also="")
        narrow = f"has({{databases:Array(String)}}, {self.scope})"
        return self.sql.format(where=f" WHERE {narrow}", also=f" AND {narrow}")


def select_columns(row: Row, names: t.Sequence[str]) -> Row:
    """Values of a row by name, as far as this version of the server has them, without the secrets in them."""
    return {name: mask_value(name, row[name]) for name in names if name in row}


def mask_value(name: str, value: t.Any) -> t.Any:
    """A value without the secrets that text of this kind may hold: statements, URLs, what identifies a user."""
    if isinstance(value, list):
        return [mask_value(name, item) for item in value]
    if not isinstance(value, str) or not value:
        return value
    if name == "auth_params":
        return _without_secret_keys(value)
    if name in ("create_table_query", "engine_full", "as_select", "command", "source"):
        value = sql_secrets.mask_secrets(value, sql_secrets.find_secrets(value))
    return _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", value)


def _without_secret_keys(text: str) -> str:
    try:
        params = json.loads(text)
    except ValueError:
        return HIDDEN
    if not isinstance(params, dict):
        return HIDDEN
    return json.dumps({key: HIDDEN if _SECRET_KEY.search(key) else value for key, value in params.items()}, ensure_ascii=False)


def parse_setting(row: Row, names: t.Sequence[str], name: str = "name") -> Row:
    """A setting, without its value where its name says that it is secret."""
    found = select_columns(row, names)
    if _SECRET_SETTING.search(str(row.get(name) or "")):
        found.update({key: HIDDEN for key in ("value", "default", "min", "max") if found.get(key)})
    return found


def shape_by_name(names: t.Sequence[str]) -> t.Callable[[list[Row]], dict[str, Row]]:
    return lambda rows: {row["name"]: select_columns(row, names) for row in rows}


def shape_by_table(names: t.Sequence[str], nameless: str = "") -> t.Callable[[list[Row]], dict[str, dict[str, Row]]]:
    """Rows by database and table; those of no database are under another name."""

    def shape(rows: list[Row]) -> dict[str, dict[str, Row]]:
        found: dict[str, dict[str, Row]] = {}
        for row in rows:
            name = row["table"] if "table" in row else row["name"]
            found.setdefault(row["database"] or nameless, {})[name] = select_columns(row, names)
        return found

    return shape


def shape_settings(names: t.Sequence[str]) -> t.Callable[[list[Row]], dict[str, Row]]:
    return lambda rows: {row["name"]: parse_setting(row, names) for row in rows}


def shape_clusters(rows: list[Row]) -> Row:
    found: Row = {}
    for row in rows:
        shards = found.setdefault(row["cluster"], {"shards": {}})["shards"]
        shard = shards.setdefault(str(row["shard_num"]), {"shard_weight": row["shard_weight"], "replicas": {}})
        shard["replicas"][str(row["replica_num"])] = select_columns(row, _SHARD_REPLICA)
    return found


def shape_policies(rows: list[Row]) -> Row:
    """Policies with their volumes; a policy itself has the fields of its first volume, too."""
    found: Row = {}
    for row in rows:
        volume = select_columns(row, _VOLUME)
        found.setdefault(row["policy_name"], {**volume, "volumes": []})["volumes"].append(volume)
    return found


def shape_owned(owners: t.Mapping[str, str], shape: t.Callable[[Row], Row]) -> t.Callable[[list[Row]], Row]:
    """Rows that belong to a user, a role or a profile, as the first filled column says."""

    def shaped(rows: list[Row]) -> Row:
        found: Row = {group: {} for group in owners.values()}
        for row in rows:
            column = next((column for column in owners if row.get(column) is not None), None)
            if column is not None:
                found[owners[column]].setdefault(row[column], []).append(shape(row))
        return found

    return shaped


def problems(replica: Row) -> list[str]:
    """What is wrong with a replica, in words; nothing, if it is well."""
    found = []
    if replica.get("is_readonly"):
        found.append("it is read-only")
    if replica.get("is_session_expired"):
        found.append("its session with ZooKeeper has expired")
    active, total = replica.get("active_replicas"), replica.get("total_replicas")
    if active is not None and total is not None and active < total:
        found.append(f"{active} of {total} replicas are active")
    if (replica.get("absolute_delay") or 0) > _LATE:
        found.append(f"it is {replica['absolute_delay']} seconds behind")
    if replica.get("lost_part_count"):
        found.append(f"{replica['lost_part_count']} parts were lost")
    for name in ("last_queue_update_exception", "zookeeper_exception"):
        if replica.get(name):
            found.append(f"{name}: {' '.join(str(replica[name]).split())[:200]}")
    return found


def shape_replicas(rows: list[Row]) -> dict[str, dict[str, Row]]:
    found = shape_by_table(_REPLICA)(rows)
    for tables in found.values():
        for replica in tables.values():
            replica["problems"] = problems(replica)
            replica["healthy"] = not replica["problems"]
    return found


def version_parts(raw: str) -> Row:
    """A version taken apart."""
    match = _VERSION.fullmatch(raw)
    numbers = [None if part is None else int(part) for part in match.groups()[:4]] if match else [None] * 4
    parts: Row = dict(zip(("year", "feature", "maintenance", "build"), numbers))
    return {"raw": raw, **parts, "type": (match.group(5) if match else "") or None}


SECTIONS = {
    "server": Section(
        "SELECT hostName() AS host_name, uptime() AS uptime, timezone() AS timezone, now('UTC') AS time_utc, "
        "toString(serverUUID()) AS uuid, currentUser() AS user, currentDatabase() AS default_database",
        lambda rows: rows[0],
    ),
    "macros": Section("SELECT * FROM system.macros", lambda rows: {row["macro"]: row["substitution"] for row in rows}),
    "clusters": Section("SELECT * FROM system.clusters ORDER BY cluster, shard_num, replica_num", shape_clusters),
    "databases": Section("SELECT * FROM system.databases{where} ORDER BY name", shape_by_name(_DATABASE), "name"),
    "tables": Section("SELECT * FROM system.tables{where} ORDER BY database, name", shape_by_table(_TABLE), "database"),
    "parts": Section(
        f"SELECT database, table, {', '.join(f'{text} AS {name}' for name, text in _PART_SUMS.items())} FROM system.parts"
        " WHERE active{also} GROUP BY database, table ORDER BY database, table",
        shape_by_table(tuple(_PART_SUMS)),
        "database",
    ),
    "dictionaries": Section(
        "SELECT * FROM system.dictionaries{where} ORDER BY database, name", shape_by_table(_DICTIONARY, "dict"), "database"
    ),
    "replicas": Section("SELECT * FROM system.replicas{where} ORDER BY database, table", shape_replicas, "database"),
    "mutations": Section(
        "SELECT * FROM system.mutations WHERE NOT is_done{also} ORDER BY database, table, mutation_id",
        lambda rows: [select_columns(row, _MUTATION) for row in rows],
        "database",
    ),
    "users": Section("SELECT * FROM system.users ORDER BY name", shape_by_name(_USER)),
    "roles": Section("SELECT * FROM system.roles ORDER BY name", shape_by_name(("id", "storage"))),
    "grants": Section(
        "SELECT * FROM system.grants", shape_owned({"user_name": "users", "role_name": "roles"}, lambda row: select_columns(row, _GRANT))
    ),
    "quotas": Section("SELECT * FROM system.quotas ORDER BY name", shape_by_name(_QUOTA)),
    "settings_profiles": Section("SELECT * FROM system.settings_profiles ORDER BY name", shape_by_name(_PROFILE)),
    "settings_profile_elements": Section(
        "SELECT * FROM system.settings_profile_elements",
        shape_owned(
            {"profile_name": "profiles", "user_name": "users", "role_name": "roles"},
            lambda row: parse_setting(row, _ELEMENT, "setting_name"),
        ),
    ),
    "settings": Section("SELECT * FROM system.settings ORDER BY name", shape_settings(_SETTING)),
    # Which of these are changed is found out here, see Gatherer.
    "changed_settings": Section("SELECT * FROM system.settings ORDER BY name", shape_settings(_CHANGED)),
    "merge_tree_settings": Section("SELECT * FROM system.merge_tree_settings ORDER BY name", shape_settings(_SETTING)),
    "changed_merge_tree_settings": Section(
        "SELECT * FROM system.merge_tree_settings WHERE changed ORDER BY name", shape_settings(_CHANGED)
    ),
    "changed_server_settings": Section("SELECT * FROM system.server_settings WHERE changed ORDER BY name", shape_settings(_CHANGED)),
    "disks": Section("SELECT * FROM system.disks ORDER BY name", shape_by_name(_DISK)),
    "storage_policies": Section("SELECT * FROM system.storage_policies ORDER BY policy_name, volume_priority", shape_policies),
}
# Known without asking.
ALWAYS = ("driver", "version")
# Over a thousand settings with their descriptions, of which few are of interest.
LARGE = ("settings", "merge_tree_settings")
LISTS = ("mutations",)


def names_in(names: t.Sequence[str] | None) -> list[str]:
    """Sections to return, in their own order."""
    every = [*ALWAYS, *SECTIONS]
    if names is None:
        return [name for name in every if name not in LARGE]
    if not names:
        raise ClickHouseError("filter: it is empty, leave it out for everything")
    return every if "all" in names else [name for name in every if name in names]


def check_databases(names: t.Sequence[str] | None) -> None:
    if names is None:
        return
    if not names:
        raise ClickHouseError("databases: it is empty, leave it out for all")
    for index, name in enumerate(names):
        if not name.strip():
            raise ClickHouseError(f"databases[{index}]: it is empty")
        if name in names[:index]:
            raise ClickHouseError(f"databases[{index}]: {name} is there twice")
        check_text(f"databases[{index}]", name)


class Gatherer:
    """Asks for sections, and keeps the reasons why some are empty."""

    def __init__(self, client: Session, databases: t.Sequence[str] | None) -> None:
        self.client = client
        self.databases = databases
        self.skipped: dict[str, str] = {}

    def rows(self, name: str, statement: str) -> list[Row]:
        names = "[" + ", ".join(sql_tokens.quote_string(database) for database in self.databases or ()) + "]"
        parameters = {"databases": names} if "{databases:" in statement else {}
        try:
            return read_rows(self.client.call_with_retries(lambda: self.client.ask(statement, parameters)))[1]
        except ClickHouseError as error:
            if error.code not in _SKIPPING:
                raise error.about(f"section {name}") from error
            self.skipped[name] = str(error)
            return []

    def section(self, name: str) -> t.Any:
        section = SECTIONS[name]
        rows = self.rows(name, section.statement(self.databases))
        if name in self.skipped:
            return [] if name in LISTS else {}
        return section.shape(self._as_before(name, rows))

    def _as_before(self, name: str, rows: list[Row]) -> list[Row]:
        """Settings as they were before this module and its library sent some of their own, which the server counts as changed."""
        if name not in ("settings", "changed_settings"):
            return rows
        found = []
        for row in rows:
            before = self.client.setting(row["name"])
            if before is not None and before != row["value"]:
                row = {**row, "value": before, "changed": int(before != row.get("default"))}
            if name == "settings" or row["changed"]:
                found.append(row)
        return found

    def add_privileges(self, result: Row) -> None:
        """What the listed users and roles were granted: one query for all of their roles, one for all of their grants."""
        groups = [group for group in ("users", "roles") if result.get(group)]
        if not groups:
            return
        label = "+".join(groups)
        granted = self.rows(f"{label}.roles", "SELECT * FROM system.role_grants ORDER BY granted_role_name")
        names = dict.fromkeys(name for group in groups for name in result[group])
        statements = self.rows(f"{label}.grants", "SHOW GRANTS FOR " + ", ".join(quote_grantee(name) for name in names))
        grants: dict[str, list[str]] = {}
        for row in statements:
            for text in row.values():
                grants.setdefault(grantee(text), []).append(text)
        for reason in [reason for reason in self.skipped if reason.startswith(f"{label}.")]:
            message = self.skipped.pop(reason)
            self.skipped.update({f"{group}.{reason.rpartition('.')[2]}": message for group in groups})
        for group, column in (("users", "user_name"), ("roles", "role_name")):
            for name, entry in (result.get(group) or {}).items():
                entry["roles"] = [row["granted_role_name"] for row in granted if row[column] == name]
                entry["grants"] = grants.get(name, [])


def quote_grantee(name: str) -> str:
    """A user's or role's name, always quoted: ALL and the like are words of the statement."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def grantee(statement: str) -> str:
    """Whom a C(GRANT) statement of the server grants something."""
    tokens = sql_tokens.tokenize(statement)
    words = [index for index, token in enumerate(tokens[:-1]) if token.is_word("TO") or token.is_word("FROM")]
    if not words:
        return ""
    rest = tokens[words[-1] + 1 :]
    end = next((index for index, token in enumerate(rest) if index and token.is_word("WITH")), len(rest))
    name = statement[rest[0].start : rest[end - 1].end]
    return sql_tokens.unquote(name)


def gather(client: Session, names: t.Sequence[str], databases: t.Sequence[str] | None, driver: str) -> Row:
    """Everything that was asked for, by section, and why some of it is missing."""
    gatherer = Gatherer(client, databases)
    known: Row = {"driver": {"version": driver}, "version": version_parts(client.version)}
    result = {name: known[name] if name in ALWAYS else gatherer.section(name) for name in names}
    gatherer.add_privileges(result)
    return {**result, "skipped": gatherer.skipped}


def argument_spec() -> dict[str, t.Any]:
    """Options of C(clickhouse_info)."""
    names = {"type": "list", "elements": "str"}
    sections = {**names, "aliases": ["limit"], "choices": ["all", *ALWAYS, *SECTIONS]}
    return {**argument_specs.connection_spec(), "filter": sections, "databases": names}
