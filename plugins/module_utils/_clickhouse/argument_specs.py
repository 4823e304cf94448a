# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications of the ClickHouse modules (private: may change at any time).

What a specification takes from elsewhere is imported by the function that needs it: no module compiles what only another one uses.
"""

from __future__ import annotations

import typing as t

Spec = dict[str, t.Any]

_TEXT = {"type": "str"}


def connection_spec() -> Spec:
    """Options of the connection, which all modules have; the documentation fragment C(clickhouse) describes them."""
    return {
        "login_host": {"type": "str", "default": "localhost"},
        "login_port": {"type": "int"},
        "secure": {"type": "bool", "default": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path"},
        "login_user": {"type": "str", "default": "default"},
        "login_password": {"type": "str", "no_log": True},
        "login_database": {"type": "str"},
        "session_settings": {"type": "dict", "default": {}},
        "connect_timeout": {"type": "int", "default": 10},
        "timeout": {"type": "int", "default": 300},
        "retries": {"type": "int", "default": 3},
    }


def connection_rules() -> Spec:
    """Rules between the options above, as arguments of C(AnsibleModule)."""
    return {"required_by": {"client_key": ["client_cert"]}}


def query_spec() -> Spec:
    """Options of C(clickhouse_query)."""
    return {
        **connection_spec(),
        "query": {"type": "str", "required": True},
        "parameters": {"type": "dict", "default": {}},
        "secret_parameters": {"type": "dict", "default": {}, "no_log": True},
        "settings": {"type": "dict", "default": {}},
        "database": _TEXT,
        "write": {"type": "bool", "default": False},
    }


def info_spec() -> Spec:
    """Options of C(clickhouse_info)."""
    from .info import ALWAYS, SECTIONS

    return {
        **connection_spec(),
        "filter": {"type": "list", "elements": "str", "aliases": ["limit"], "choices": ["all", *ALWAYS, *SECTIONS]},
        "databases": {"type": "list", "elements": "str"},
    }


def table_spec() -> Spec:
    """Options of C(clickhouse_table)."""
    return {**connection_spec(), "name": _TEXT, **object_spec(), **_policy_spec()}


def schema_spec() -> Spec:
    """Options of C(clickhouse_schema)."""
    from .declaration import KINDS

    purge = {
        "database": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "default": ["*"]},
        "keep": {"type": "list", "elements": "str", "default": []},
    }
    return {
        **connection_spec(),
        "objects": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {"name": _TEXT, "kind": {"type": "str", "choices": list(KINDS)}, **object_spec()},
        },
        "purge": {"type": "list", "elements": "dict", "default": [], "options": purge},
        **_policy_spec(),
    }


def object_spec() -> Spec:
    """Options of one declared object, but for its name and kind."""
    return {
        **dict.fromkeys(("ddl", "engine", "comment", "renamed_from"), _TEXT),
        "renamed_columns": {"type": "dict"},
        "materialize": {"type": "bool", "default": False},
        **_table_options_spec(),
        "state": {**_TEXT, "choices": ["present", "absent"], "default": "present"},
    }


def _table_options_spec() -> Spec:
    """Options that declare a table without a C(CREATE TABLE) statement."""
    from .table_options import CLAUSE_OPTIONS

    def entries(required: t.Sequence[str], **more: t.Any) -> Spec:
        return {"type": "list", "elements": "dict", "options": {**{name: {"type": "str", "required": True} for name in required}, **more}}

    return {
        "columns": entries(
            ["name", "type"],
            default=_TEXT,
            default_kind={"type": "str", "choices": ["DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL"], "default": "DEFAULT"},
            comment=_TEXT,
            codec=_TEXT,
            ttl=_TEXT,
            renamed_from=_TEXT,
        ),
        "indices": entries(["name", "expression", "type"], granularity={"type": "int", "default": 1}),
        "projections": entries(["name", "query"]),
        "constraints": entries(["name", "check"]),
        "settings": {"type": "dict"},
        # Said for the primary key's name, which sounds like a secret's.
        **dict.fromkeys(CLAUSE_OPTIONS, {**_TEXT, "no_log": False}),
    }


def _policy_spec() -> Spec:
    """Options that say what may be done to objects that differ from their declaration."""
    from .change import PERMISSIONS

    return {
        "allow": {"type": "list", "elements": "str", "choices": list(PERMISSIONS), "default": []},
        "on_drift": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
        "history": _TEXT,
        "cluster": _TEXT,
    }
