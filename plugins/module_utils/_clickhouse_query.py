# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One statement, its parameters and settings, and the rows it returns (private: may change at any time).

What is wrong with the input is said here, before anything is sent.
"""

from __future__ import annotations

import decimal
import json
import math
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import argument_specs, error_codes, sql_tokens
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import (
    ClickHouse,
    ClickHouseError,
    query_size_settings,
    translate_exceptions,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.settings import check_text, excerpt

HIDDEN = "[HIDDEN]"
# A line of names, a line of types, then a line for each row: nothing is lost that JSON can hold.
ROWS_FORMAT = "JSONCompactEachRowWithNamesAndTypes"
# What a multipart form may carry in one field, unless the server's configuration says otherwise.
LARGEST_FIELD = 131_072
# Numbers that JSON cannot hold exactly as text, all others as numbers, names kept, bytes as they are.
_ROWS_SETTINGS = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_64bit_floats": "0",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_denormals": "1",
    "output_format_json_named_tuples_as_objects": "1",
    "output_format_json_map_as_array_of_tuples": "0",
    "output_format_json_validate_utf8": "0",
}

# Statements that only read. The server is told to refuse writing all the same, but it lets more than these through
# (KILL QUERY, for example), so whatever is not in this list needs to be allowed.
_READS = ("SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[-+]?[A-Za-z0-9][A-Za-z0-9.+-]*")
_NUMERIC = re.compile(r"U?Int\d+|B?Float\d+|Decimal\d*|Bool")
_BOOLEANS = {"True": "true", "False": "false", "1": "true", "0": "false"}
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"})
# Fragments of a secret that are shorter than this are chance, unless they stand in quotes.
_FRAGMENT = 4
_QUOTED = re.compile(r"'([^']+)'")
_ERROR_NAME = re.compile(r"\([A-Z][A-Z_]+\)")


def argument_spec() -> dict[str, t.Any]:
    """Options of C(clickhouse_query)."""
    return {
        **argument_specs.connection_spec(),
        "query": {"type": "str", "required": True},
        "parameters": {"type": "dict", "default": {}},
        "secret_parameters": {"type": "dict", "default": {}, "no_log": True},
        "settings": {"type": "dict", "default": {}},
        "database": {"type": "str"},
        "write": {"type": "bool", "default": False},
    }


class Answer(t.NamedTuple):
    """What the server sent for one statement."""

    body: bytes
    format: str | None
    query_id: str | None
    summary: dict[str, int]


class Session(ClickHouse):
    """An open session in which statements are asked for their rows as JSON has them."""

    def ask(
        self,
        statement: str,
        parameters: t.Mapping[str, str] | None = None,
        settings: t.Mapping[str, str] | None = None,
        database: str | None = None,
        *,
        read_only: bool = True,
    ) -> Answer:
        """Run a statement, once, for its rows in C(ROWS_FORMAT). Read-only means that the server refuses to write.

        Parameters are sent in the body, for an URL ends up in the logs of proxies.
        """
        known = self._client.server_settings
        # A user whose profile is readonly=1 may set none.
        rows = {name: value for name, value in _ROWS_SETTINGS.items() if name in known and not int(known[name].readonly)}
        options = {"default_format": ROWS_FORMAT, **query_size_settings(statement), **rows, **(settings or {})}
        if read_only and self.setting("readonly") in (None, "0"):
            options["readonly"] = "2"
        if database is not None:
            options["database"] = database
        form: dict[str, t.Any] = {f"param_{name}": (None, text) for name, text in (parameters or {}).items()}
        if form:
            form["query"] = (None, statement)
        with translate_exceptions(self.connection):
            answer = self._client._raw_request(b"" if form else statement.encode(), options, fields=form or None)
        headers = answer.headers
        summary = {name: int(number) for name, number in json.loads(headers.get("X-ClickHouse-Summary") or "{}").items()}
        return Answer(answer.data, headers.get("X-ClickHouse-Format"), headers.get("X-ClickHouse-Query-Id"), summary)


class Unknown(ClickHouseError):
    """The connection broke after a statement had been sent that may write: it may have run."""


@dataclass(frozen=True)
class Statement:
    """What a statement says about itself."""

    text: str
    verb: str
    reads: bool
    placeholders: dict[str, str]


def read_statement(text: str) -> Statement:
    """Take a statement apart as far as it matters, or say what is wrong with it."""
    check_text("query", text)
    tokens = sql_tokens.tokenize(text)
    while tokens and tokens[-1].is_word(";"):
        tokens = tokens[:-1]
    words = [token for token in tokens if token.text != "("]
    if not words:
        raise ClickHouseError("query: it is empty")
    verb = words[0].text.upper()
    if verb == "WITH" and any(one.is_word("INSERT") and two.is_word("INTO") for one, two in zip(tokens, tokens[1:])):
        verb = "INSERT"
    formats = [index for index in range(1, len(tokens) - 1) if _is_format(tokens, index)]
    if verb == "INSERT" and formats and not tokens[formats[0] + 1].is_word("VALUES"):
        # What follows is data, in whatever form.
        tokens = tokens[: formats[0] + 2]
    for token in tokens:
        if token.kind == "other" and token.text in "'`\"":
            raise ClickHouseError(f"query: a quote opened at character {token.start} is never closed")
        if token.is_word(";"):
            raise ClickHouseError("query: more than one statement")
    if verb != "INSERT" and any(index + 2 == len(tokens) or tokens[index + 2].is_word("SETTINGS") for index in formats):
        raise ClickHouseError("query: leave the FORMAT clause out, rows are returned as data")
    return Statement(text, verb, verb in _READS, _placeholders(text, tokens))


def _is_format(tokens: t.Sequence[sql_tokens.Token], index: int) -> bool:
    """Whether a C(FORMAT) clause begins here, as opposed to something named format."""
    named = tokens[index - 1].is_word("AS") or tokens[index - 1].is_word("INTO") or tokens[index - 1].text in (".", ",")
    return tokens[index].is_word("FORMAT") and tokens[index].depth == 0 and tokens[index + 1].kind == "word" and not named


def _placeholders(text: str, tokens: t.Sequence[sql_tokens.Token]) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, token in enumerate(tokens[:-3]):
        if token.text == "{" and token.kind == "other" and tokens[index + 1].kind == "word" and tokens[index + 2].text == ":":
            end = next((other.start for other in tokens[index + 3 :] if other.text == "}" and other.depth == token.depth), None)
            if end is not None:
                found.setdefault(tokens[index + 1].text, text[tokens[index + 2].end : end].strip())
    return found


def bind_parameters(statement: Statement, parameters: t.Mapping[str, t.Any], secret: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Parameters as the server reads them."""
    bound: dict[str, str] = {}
    for option, given in (("parameters", parameters), ("secret_parameters", secret)):
        for name, value in given.items():
            where = f"{option}.{name}"
            if not _NAME.fullmatch(str(name)):
                raise ClickHouseError(f"{option}: {excerpt(str(name))} is no name of a parameter: letters, digits and _ make one")
            if name in bound:
                raise ClickHouseError(f"{where}: it is among parameters, too")
            if name not in statement.placeholders:
                raise ClickHouseError(f"{where}: the query has no {{{name}:Type}}")
            bound[name] = parameter_text(value, statement.placeholders[name], where)
            if len(bound[name].encode()) > LARGEST_FIELD:
                raise ClickHouseError(f"{where}: it is longer than {LARGEST_FIELD // 1024} KiB")
    for name, kind in statement.placeholders.items():
        if name not in bound:
            raise ClickHouseError(f"parameters.{name} is missing: the query has {{{name}:{kind}}}")
    if bound and len(statement.text.encode()) > LARGEST_FIELD:
        raise ClickHouseError(f"query: with parameters it cannot be longer than {LARGEST_FIELD // 1024} KiB")
    return bound


def parameter_text(value: t.Any, kind: str, where: str) -> str:
    """One value of a parameter: containers as literals, everything else as tab-separated text has it."""
    base, _arguments = _type(kind)
    if value is None:
        return "\\N"
    if isinstance(value, str):
        check_text(where, value)
        # Text given for a container is its literal, where a backslash already means what it does in SQL.
        return value if base in ("Array", "Tuple", "Map", "Nested", "Identifier") else value.translate(_ESCAPES)
    if base in ("JSON", "Object") and isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)
    return _literal(value, kind, where)


def _literal(value: t.Any, kind: str, where: str) -> str:
    base, arguments = _type(kind)
    if value is None:
        return "NULL"
    if base == "Bool" and str(value) in _BOOLEANS:
        return _BOOLEANS[str(value)]
    if isinstance(value, bool):
        return str(value).lower() if base == "String" else str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        check_text(where, value)
        return value if _NUMERIC.fullmatch(base) and _NUMBER.fullmatch(value) else sql_tokens.quote_string(value)
    if isinstance(value, list) and base == "Tuple":
        if len(value) != len(arguments):
            raise ClickHouseError(f"{where}: {len(value)} values for {kind}")
        return "(" + ", ".join(_literal(item, argument, where) for item, argument in zip(value, arguments)) + ")"
    if isinstance(value, list) and base == "Array" and arguments:
        return "[" + ", ".join(_literal(item, arguments[0], where) for item in value) + "]"
    if isinstance(value, dict) and base == "Map" and len(arguments) == 2:
        pairs = (f"{_literal(key, arguments[0], where)}: {_literal(item, arguments[1], where)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise ClickHouseError(f"{where}: a {'list' if isinstance(value, list) else 'dict'} is no value of {kind}")


def _type(kind: str) -> tuple[str, list[str]]:
    """Name and arguments of a type, without what makes no difference to a literal of it; names of tuple elements are left out."""
    tokens = sql_tokens.tokenize(kind)
    if not tokens:
        return "", []
    texts = []
    for text in sql_tokens.split_arguments(kind):
        rest = sql_tokens.tokenize(text)[1:]
        texts.append(text[rest[0].start :] if rest and rest[0].kind in ("word", "quoted") else text)
    if tokens[0].text in ("Nullable", "LowCardinality") and texts:
        return _type(texts[0])
    return tokens[0].text, texts


def check_database(name: str | None) -> None:
    if name is not None:
        check_text("database", name)
        if not name.strip():
            raise ClickHouseError("database: it is empty")


def read_rows(answer: Answer) -> tuple[list[dict[str, str]], list[dict[str, t.Any]]]:
    """Columns and rows of an answer; both are empty where a statement returns none."""
    if not answer.body:
        return [], []
    if answer.format != ROWS_FORMAT:
        raise ClickHouseError(f"query: leave the FORMAT clause out, rows are returned as data (the answer has {answer.format})")
    lines = answer.body.decode("utf-8", "surrogateescape").rstrip("\n").split("\n")
    names, kinds = unique_names(json.loads(lines[0])), json.loads(lines[1])
    # A user who may not change settings gets Decimals as numbers, which a float would round. They become the texts that
    # others get, whole ones only where they cannot be taken for integers.
    exact = ["Decimal" in kind for kind in kinds]
    whole = ["Decimal" in kind and "Int" not in kind for kind in kinds]
    number: t.Any = decimal.Decimal if any(exact) else float
    rough = not answer.body.isascii() or number is decimal.Decimal
    rows = []
    for line in lines[2:]:
        values = json.loads(line, parse_float=number)
        if rough:
            values = [_plain_value(*value) for value in zip(values, exact, whole)]
        rows.append(dict(zip(names, values)))
    return [{"name": name, "type": kind} for name, kind in zip(names, kinds)], rows


def _plain_value(value: t.Any, exact: bool, whole: bool) -> t.Any:
    """Bytes that are no text shown as text, decimal numbers as text or as floats."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, decimal.Decimal):
        return str(value) if exact else float(value)
    if isinstance(value, int) and not isinstance(value, bool) and whole:
        return str(value)
    if isinstance(value, list):
        return [_plain_value(item, exact, whole) for item in value]
    if isinstance(value, dict):
        return {_plain_value(key, exact, whole): _plain_value(item, exact, whole) for key, item in value.items()}
    return value


def unique_names(names: t.Sequence[str]) -> list[str]:
    """Names of columns, with a number where one occurs again: a dict has each but once."""
    found: list[str] = []
    for name in names:
        number = 2
        candidate = name
        while candidate in found or (candidate != name and candidate in names):
            candidate = f"{name}_{number}"
            number += 1
        found.append(candidate)
    return found


def secret_spellings(parameters: t.Mapping[str, t.Any]) -> set[str]:
    """All spellings in which a secret value may come back."""
    found: set[str] = set()
    waiting: list[t.Any] = list(parameters.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            spellings = {
                value,
                value.translate(_ESCAPES),
                sql_tokens.quote_string(value)[1:-1],
                json.dumps(value, ensure_ascii=False)[1:-1],
            }
            spellings |= {sql_tokens.quote_string(spelling)[1:-1].translate(_ESCAPES) for spelling in (value, value.translate(_ESCAPES))}
            spellings |= {value.translate(_ESCAPES).replace("'", "\\'"), value.replace("'", "''")}
            found |= spellings | {" ".join(spelling.split()) for spelling in spellings}
        elif value is not None and not isinstance(value, bool):
            found.add(str(value))
    return {spelling for spelling in found if spelling.strip()}


def mask_secret_values(value: t.Any, secrets: t.Collection[str]) -> t.Any:
    """The value without secrets, in names as well."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in sorted(secrets, key=len, reverse=True):
            value = value.replace(secret, HIDDEN)
        return value
    if isinstance(value, list):
        return [mask_secret_values(item, secrets) for item in value]
    if isinstance(value, dict):
        return {mask_secret_values(key, secrets): mask_secret_values(item, secrets) for key, item in value.items()}
    return value


def mask_error_message(error: ClickHouseError, secrets: t.Collection[str]) -> str:
    """The error without secrets, and without its text where that shows a part of one (what could not be parsed)."""
    message = str(mask_secret_values(str(error), secrets))
    quoted = set(_QUOTED.findall(message))
    for secret in secrets:
        fragments = {secret[start : start + _FRAGMENT] for start in range(len(secret) - _FRAGMENT + 1)}
        if any(fragment in message for fragment in fragments) or any(text in secret for text in quoted):
            code = "" if error.code is None else f"Code: {error.code}. "
            name = _ERROR_NAME.search(message)
            return f"query: {code}{name.group() + ' ' if name else ''}The message is hidden, as it may show a part of a secret parameter"
    return message


def explain_readonly_error(error: ClickHouseError, statement: Statement, write: bool) -> ClickHouseError:
    """The error with the option to change, where the server refused to write."""
    if error.code == error_codes.READONLY and not write and "Cannot execute query in readonly mode" in str(error):
        return error.about(f"query: {statement.verb} is not allowed, set write: true")
    return error if error.code is None else error.about("query")


def check_write_allowed(statement: Statement, write: bool) -> None:
    """Refuse what does not only read unless it may write."""
    if not statement.reads and not write:
        raise ClickHouseError(f"query: {excerpt(statement.verb)} is not known to only read, set write: true to allow it")
