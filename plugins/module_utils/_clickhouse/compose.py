# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table declared by options, as the C(CREATE TABLE) statement that says the same (private: may change at any time)."""

from __future__ import annotations

import typing as t

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import ddl

Options = t.Mapping[str, t.Any]

# Options of a table that hold an expression, with what stands before it.
_CLAUSES = {"partition_by": "PARTITION BY", "primary_key": "PRIMARY KEY", "order_by": "ORDER BY", "sample_by": "SAMPLE BY", "ttl": "TTL"}
# Those that declare a table by options; the others are for every kind of object.
TABLE_OPTIONS = ("columns", "indices", "projections", "constraints", "settings", *_CLAUSES)


def spec() -> dict[str, dict[str, t.Any]]:
    """Argument specification of C(TABLE_OPTIONS)."""

    def entries(required: t.Sequence[str], **more: t.Any) -> dict[str, t.Any]:
        return {"type": "list", "elements": "dict", "options": {**{name: {"type": "str", "required": True} for name in required}, **more}}

    text = {"type": "str"}
    return {
        "columns": entries(
            ["name", "type"],
            default=text,
            default_kind={"type": "str", "choices": ["DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL"], "default": "DEFAULT"},
            comment=text,
            codec=text,
            ttl=text,
            renamed_from=text,
        ),
        "indices": entries(["name", "expression", "type"], granularity={"type": "int", "default": 1}),
        "projections": entries(["name", "query"]),
        "constraints": entries(["name", "check"]),
        "settings": {"type": "dict"},
        # Said for the primary key's name, which sounds like a secret's.
        **dict.fromkeys(_CLAUSES, {**text, "no_log": False}),
    }


def object_spec() -> dict[str, dict[str, t.Any]]:
    """Argument specification of an object, but for its name and kind."""
    text = {"type": "str"}
    return {
        **dict.fromkeys(("ddl", "engine", "comment", "renamed_from"), text),
        "renamed_columns": {"type": "dict"},
        "materialize": {"type": "bool", "default": False},
        **spec(),
        "state": {**text, "choices": ["present", "absent"], "default": "present"},
    }


def create_table(name: str, options: Options) -> str:
    """The statement. Raises C(DDLError), which begins with the option at fault."""
    parts = ddl.parse_name(name)
    if len(parts) != 2:
        raise ddl.DDLError(f"name: {name} needs its database: write database.{name}")
    if not options.get("columns"):
        raise ddl.DDLError("columns is missing: a table has one at least")
    pieces = [_column(f"columns[{index}]", column) for index, column in enumerate(options["columns"])]
    for index, item in enumerate(options.get("indices") or ()):
        where = f"indices[{index}]"
        expression, kind = _fragment(f"{where}.expression", item["expression"]), _fragment(f"{where}.type", item["type"])
        pieces.append(f"INDEX {ddl.quote_name(item['name'])} {expression} TYPE {kind} GRANULARITY {item['granularity']}")
    for index, item in enumerate(options.get("constraints") or ()):
        pieces.append(f"CONSTRAINT {ddl.quote_name(item['name'])} CHECK {_fragment(f'constraints[{index}].check', item['check'])}")
    for index, item in enumerate(options.get("projections") or ()):
        pieces.append(f"PROJECTION {ddl.quote_name(item['name'])} ({_fragment(f'projections[{index}].query', item['query'])})")
    clauses = [f"ENGINE = {_fragment('engine', options['engine'])}"] if options.get("engine") else []
    clauses += [f"{words} {_fragment(option, options[option])}" for option, words in _CLAUSES.items() if options.get(option)]
    if options.get("settings"):
        clauses.append("SETTINGS " + ", ".join(f"{_setting(name)} = {_value(name, value)}" for name, value in options["settings"].items()))
    if options.get("comment"):
        clauses.append(f"COMMENT {ddl.quote_string(options['comment'])}")
    return f"CREATE TABLE {ddl.qualified(*parts)} ({', '.join(pieces)}) {' '.join(clauses)}"


def _column(where: str, options: Options) -> str:
    text = f"{ddl.quote_name(options['name'])} {_fragment(f'{where}.type', options['type'])}"
    if options.get("default") is not None:
        text += f" {options['default_kind']} {_fragment(f'{where}.default', options['default'])}"
    elif options["default_kind"] == "EPHEMERAL":
        text += " EPHEMERAL"
    elif options["default_kind"] != "DEFAULT":
        raise ddl.DDLError(f"{where}.default is missing: {options['default_kind']} needs an expression")
    if options.get("comment"):
        text += f" COMMENT {ddl.quote_string(options['comment'])}"
    if options.get("codec"):
        text += f" CODEC({_fragment(f'{where}.codec', options['codec'])})"
    if options.get("ttl"):
        text += f" TTL {_fragment(f'{where}.ttl', options['ttl'])}"
    return text


def _fragment(where: str, text: str) -> str:
    """A piece of SQL that stays within its place."""
    tokens = ddl.tokenize(text)
    if not tokens:
        raise ddl.DDLError(f"{where} is empty")
    depth = 0
    for token in tokens:
        if token.kind == "other" and token.text in "'`\"":
            raise ddl.DDLError(f"{where}: a quote is opened and never closed")
        if token.is_(";"):
            raise ddl.DDLError(f"{where}: there is a semicolon in it")
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if depth < 0:
            raise ddl.DDLError(f"{where}: its parentheses do not match")
    if depth:
        raise ddl.DDLError(f"{where}: its parentheses do not match")
    return text[tokens[0].start : tokens[-1].end]


def _setting(name: t.Any) -> str:
    if not str(name).isidentifier():
        raise ddl.DDLError(f"settings: {str(name)!r} is no name of a setting")
    return str(name)


def _value(name: str, value: t.Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return ddl.quote_string(value)
    raise ddl.DDLError(f"settings.{name}: expected a text, number or boolean")
