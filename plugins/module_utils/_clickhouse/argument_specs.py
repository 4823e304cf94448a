# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications: of the connection, and of the modules of objects (private: may change at any time).

Nothing is imported here: each module travels with all that it imports, and would travel with what only another one needs.
"""

from __future__ import annotations

import typing as t

Spec = dict[str, t.Any]

# Kinds of objects.
KINDS = ("database", "table", "view", "materialized_view", "dictionary", "function", "named_collection")
# What the option allow may list: steps after which data is gone, or that copy all of it.
DROP_COLUMN = "drop_column"
DROP_TABLE = "drop_table"
MODIFY_LOSSY = "modify_lossy"
REBUILD = "rebuild"
PERMISSIONS = (DROP_COLUMN, DROP_TABLE, MODIFY_LOSSY, REBUILD)
# Options of a table that hold an expression, with what stands before it.
CLAUSE_OPTIONS = {
    "partition_by": "PARTITION BY",
    "primary_key": "PRIMARY KEY",
    "order_by": "ORDER BY",
    "sample_by": "SAMPLE BY",
    "ttl": "TTL",
}
_TEXT = {"type": "str"}
_FLAG = {"type": "bool", "default": False}
_TEXTS = {"type": "list", "elements": "str"}


def connection_spec() -> Spec:
    """Options of the connection, which all modules have; the documentation fragment C(clickhouse) describes them."""
    return {
        "login_host": {**_TEXT, "default": "localhost"},
        "login_port": {"type": "int"},
        "secure": {"type": "bool", "default": True},
        "validate_certs": {"type": "bool", "default": True},
        **dict.fromkeys(("ca_path", "client_cert", "client_key"), {"type": "path"}),
        "login_user": {**_TEXT, "default": "default"},
        "login_password": {**_TEXT, "no_log": True},
        "login_database": _TEXT,
        "session_settings": {"type": "dict", "default": {}},
        "connect_timeout": {"type": "int", "default": 10},
        "timeout": {"type": "int", "default": 300},
        "retries": {"type": "int", "default": 3},
    }


def connection_rules() -> Spec:
    """Rules between the options above, as arguments of C(AnsibleModule)."""
    return {"required_by": {"client_key": ["client_cert"]}}


def table_spec() -> Spec:
    """Options of C(clickhouse_table)."""
    return {**connection_spec(), "name": _TEXT, **object_spec(), **_policy_spec()}


def schema_spec() -> Spec:
    """Options of C(clickhouse_schema)."""
    item = {"name": _TEXT, "kind": {**_TEXT, "choices": list(KINDS)}, **object_spec()}
    purge = {"database": {**_TEXT, "required": True}, "names": {**_TEXTS, "default": ["*"]}, "keep": {**_TEXTS, "default": []}}
    return {
        **connection_spec(),
        "objects": {"type": "list", "elements": "dict", "required": True, "options": item},
        "purge": {"type": "list", "elements": "dict", "default": [], "options": purge},
        **_policy_spec(),
    }


def object_spec() -> Spec:
    """Options of one declared object, but for its name and kind."""

    def entries(required: t.Sequence[str], **more: t.Any) -> Spec:
        return {"type": "list", "elements": "dict", "options": {**dict.fromkeys(required, {**_TEXT, "required": True}), **more}}

    return {
        **dict.fromkeys(("ddl", "engine", "comment", "renamed_from"), _TEXT),
        "renamed_columns": {"type": "dict"},
        "materialize": _FLAG,
        # From here to the clauses: a table without a CREATE TABLE statement.
        "columns": entries(
            ["name", "type"],
            default=_TEXT,
            default_kind={**_TEXT, "choices": ["DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL"], "default": "DEFAULT"},
            **dict.fromkeys(("comment", "codec", "ttl", "renamed_from"), _TEXT),
        ),
        "indices": entries(["name", "expression", "type"], granularity={"type": "int", "default": 1}),
        "projections": entries(["name", "query"]),
        "constraints": entries(["name", "check"]),
        "settings": {"type": "dict"},
        # Said for the primary key's name, which sounds like a secret's.
        **dict.fromkeys(CLAUSE_OPTIONS, {**_TEXT, "no_log": False}),
        "state": {**_TEXT, "choices": ["present", "absent"], "default": "present"},
    }


def _policy_spec() -> Spec:
    """Options that say what may be done to objects that differ from their declaration."""
    return {
        "allow": {**_TEXTS, "choices": list(PERMISSIONS), "default": []},
        "on_drift": {**_TEXT, "choices": ["fail", "report"], "default": "fail"},
        "history": _TEXT,
        "cluster": _TEXT,
    }
