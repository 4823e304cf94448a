# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table declared by options, as the C(CREATE TABLE) statement that says the same (private: may change at any time)."""

from __future__ import annotations

import typing as t

from .tokens import DDLError, parse_name, qualify_name, quote_name, quote_string, tokenize

Options = t.Mapping[str, t.Any]

# Options of a table that hold an expression, with what stands before it.
CLAUSE_OPTIONS = {
    "partition_by": "PARTITION BY",
    "primary_key": "PRIMARY KEY",
    "order_by": "ORDER BY",
    "sample_by": "SAMPLE BY",
    "ttl": "TTL",
}
# Those that declare a table by options; the others are for every kind of object.
TABLE_OPTIONS = ("columns", "indices", "projections", "constraints", "settings", *CLAUSE_OPTIONS)


def create_table(name: str, options: Options) -> str:
    """The statement. Raises C(DDLError), which begins with the option at fault."""
    parts = parse_name(name)
    if len(parts) != 2:
        raise DDLError(f"name: {name} needs its database: write database.{name}")
    if not options.get("columns"):
        raise DDLError("columns is missing: a table has one at least")
    pieces = [_column_sql(f"columns[{index}]", column) for index, column in enumerate(options["columns"])]
    for index, item in enumerate(options.get("indices") or ()):
        where = f"indices[{index}]"
        expression, kind = _check_fragment(f"{where}.expression", item["expression"]), _check_fragment(f"{where}.type", item["type"])
        pieces.append(f"INDEX {quote_name(item['name'])} {expression} TYPE {kind} GRANULARITY {item['granularity']}")
    for index, item in enumerate(options.get("constraints") or ()):
        pieces.append(f"CONSTRAINT {quote_name(item['name'])} CHECK {_check_fragment(f'constraints[{index}].check', item['check'])}")
    for index, item in enumerate(options.get("projections") or ()):
        pieces.append(f"PROJECTION {quote_name(item['name'])} ({_check_fragment(f'projections[{index}].query', item['query'])})")
    clauses = [f"ENGINE = {_check_fragment('engine', options['engine'])}"] if options.get("engine") else []
    clauses += [f"{words} {_check_fragment(option, options[option])}" for option, words in CLAUSE_OPTIONS.items() if options.get(option)]
    if options.get("settings"):
        clauses.append(
            "SETTINGS " + ", ".join(f"{_setting_name(name)} = {_setting_value(name, value)}" for name, value in options["settings"].items())
        )
    if options.get("comment"):
        clauses.append(f"COMMENT {quote_string(options['comment'])}")
    return f"CREATE TABLE {qualify_name(*parts)} ({', '.join(pieces)}) {' '.join(clauses)}"


def _column_sql(where: str, options: Options) -> str:
    text = f"{quote_name(options['name'])} {_check_fragment(f'{where}.type', options['type'])}"
    if options.get("default") is not None:
        text += f" {options['default_kind']} {_check_fragment(f'{where}.default', options['default'])}"
    elif options["default_kind"] == "EPHEMERAL":
        text += " EPHEMERAL"
    elif options["default_kind"] != "DEFAULT":
        raise DDLError(f"{where}.default is missing: {options['default_kind']} needs an expression")
    if options.get("comment"):
        text += f" COMMENT {quote_string(options['comment'])}"
    if options.get("codec"):
        text += f" CODEC({_check_fragment(f'{where}.codec', options['codec'])})"
    if options.get("ttl"):
        text += f" TTL {_check_fragment(f'{where}.ttl', options['ttl'])}"
    return text


def _check_fragment(where: str, text: str) -> str:
    """A piece of SQL that stays within its place."""
    tokens = tokenize(text)
    if not tokens:
        raise DDLError(f"{where} is empty")
    depth = 0
    for token in tokens:
        if token.kind == "other" and token.text in "'`\"":
            raise DDLError(f"{where}: a quote is opened and never closed")
        if token.is_word(";"):
            raise DDLError(f"{where}: there is a semicolon in it")
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if depth < 0:
            raise DDLError(f"{where}: its parentheses do not match")
    if depth:
        raise DDLError(f"{where}: its parentheses do not match")
    return text[tokens[0].start : tokens[-1].end]


def _setting_name(name: t.Any) -> str:
    if not str(name).isidentifier():
        raise DDLError(f"settings: {str(name)!r} is no name of a setting")
    return str(name)


def _setting_value(name: str, value: t.Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return quote_string(value)
    raise DDLError(f"settings.{name}: expected a text, number or boolean")
