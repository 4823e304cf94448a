# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(CREATE) statements as users write them, or declare them by options: which are accepted, and what they make. Pure.

(Private: may change at any time.)
"""

from __future__ import annotations

import typing as t

from . import argument_specs, sql_clauses, sql_tokens

# Kinds that belong to no database.
GLOBAL_KINDS = ("function", "named_collection")
KIND_KEYWORDS = {kind: kind.upper().replace("_", " ") for kind in argument_specs.KINDS if kind != "database"}
_FILLED = {("AS", "SELECT"): "AS SELECT", ("AS", "WITH"): "AS SELECT", ("AS", "("): "AS SELECT", ("CLONE", "AS"): "CLONE AS"}
# Those that declare a table by options; the others are for every kind of object.
TABLE_OPTIONS = ("columns", "indices", "projections", "constraints", "settings", *argument_specs.CLAUSE_OPTIONS)
# What else a table may have between its parentheses: how it is written, and which of its options are pieces of SQL.
_ELEMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "indices": ("INDEX {name} {expression} TYPE {type} GRANULARITY {granularity}", ("expression", "type")),
    "constraints": ("CONSTRAINT {name} CHECK {check}", ("check",)),
    "projections": ("PROJECTION {name} ({query})", ("query",)),
}

Options = t.Mapping[str, t.Any]


class Create(t.NamedTuple):
    """A C(CREATE) statement: what it makes, and the text behind the name."""

    kind: str
    database: str
    name: str
    body: str


def parse_create(text: str, database: str = "") -> Create:
    """Take a C(CREATE) statement apart, or raise C(DDLError), which says why it cannot be managed.

    C(database) is that of a name without one; where it is empty, the name has to have it.
    """
    tokens = _statement_tokens(text)
    cursor = sql_tokens.TokenCursor(tokens)
    if not cursor.take("CREATE"):
        raise sql_tokens.DDLError(f"expected a CREATE statement, found {sql_tokens.excerpt(tokens[0].text)}")
    cursor.take("OR", "REPLACE")
    kind = next((kind for kind, words in KIND_KEYWORDS.items() if cursor.take(*words.split())), None)
    if kind is None:
        words = " ".join(token.text.upper() for token in tokens[1:3] if token.kind == "word")
        hint = "; declare databases by kind and name" if words.startswith("DATABASE") else ""
        raise sql_tokens.DDLError(f"CREATE {words} is not managed, only {', '.join(KIND_KEYWORDS.values())}{hint}")
    cursor.take("IF", "NOT", "EXISTS")
    parts = cursor.name_parts()
    if not parts or len(parts) > 2:
        raise sql_tokens.DDLError(f"expected a name after CREATE {KIND_KEYWORDS[kind]}")
    if kind in GLOBAL_KINDS:
        if len(parts) > 1:
            raise sql_tokens.DDLError(f"a {kind.replace('_', ' ')} belongs to no database: give its name alone")
        parts.insert(0, "")
    elif len(parts) == 1 and not database:
        raise sql_tokens.DDLError(
            f"the name {sql_tokens.quote_name(parts[0])} needs its database: write database.{parts[0]}, or set login_database"
        )
    elif len(parts) == 1:
        parts.insert(0, database)
    rest = tokens[cursor.position :]
    if not rest:
        raise sql_tokens.DDLError(f"nothing follows the name in CREATE {KIND_KEYWORDS[kind]}")
    body = text[rest[0].start : rest[-1].end]
    _check_body(kind, rest, body)
    return Create(kind, parts[0], parts[1], body)


def _statement_tokens(text: str) -> t.Sequence[sql_tokens.Token]:
    """Tokens of one whole statement, without the semicolon at its end."""
    tokens = sql_tokens.tokenize(text)
    while tokens and tokens[-1].is_word(";"):
        tokens = tokens[:-1]
    if not tokens:
        raise sql_tokens.DDLError("the statement is empty")
    _check_closed(tokens)
    if any(token.is_word(";") and token.depth == 0 for token in tokens):
        raise sql_tokens.DDLError("more than one statement: give each object its own ddl")
    return tokens


def _check_closed(tokens: t.Sequence[sql_tokens.Token], where: str = "") -> None:
    """Raise C(DDLError) unless each quote and parenthesis of a text is closed."""
    for token in tokens:
        if token.kind == "other" and token.text in "'`\"":
            raise sql_tokens.DDLError(f"{where}a quote opened at character {token.start} is never closed")
    if tokens[-1].depth or tokens[-1].text in ("(", "[", "{") or any(token.depth < 0 for token in tokens):
        raise sql_tokens.DDLError(f"{where}its parentheses do not match")


def _check_body(kind: str, rest: t.Sequence[sql_tokens.Token], body: str) -> None:
    """Raise C(DDLError) for what this collection does not make, or not that way."""
    if sql_tokens.tokens_match(rest, 0, ("ON", "CLUSTER")) or sql_tokens.tokens_match(rest, 2, ("ON", "CLUSTER")):
        raise sql_tokens.DDLError("ON CLUSTER is not accepted: every node is converged by its own host in the play")
    if kind == "function" and not any(one.text == "-" and other.text == ">" for one, other in zip(rest, rest[1:])):
        raise sql_tokens.DDLError("a function is written AS (arguments) -> expression")
    if kind != "table":
        return
    for index, token in enumerate(rest):
        filled = next((name for words, name in _FILLED.items() if sql_tokens.tokens_match(rest, index, words)), None)
        if filled and not token.depth and token.kind == "word":
            raise sql_tokens.DDLError(f"{filled} would fill the table: declare its columns")
    if not sql_clauses.parse_engine(body)[0] and rest[0].is_word("AS"):
        raise sql_tokens.DDLError("the statement names no ENGINE, which would be that of the other table: declare it")


def parse_collection(text: str) -> dict[str, tuple[str, str]]:
    """Keys of a C(CREATE NAMED COLLECTION): the value as it is written, and C(OVERRIDABLE), C(NOT OVERRIDABLE) or nothing."""
    tokens = sql_tokens.tokenize(text)
    start = next((index for index, token in enumerate(tokens) if token.is_word("AS")), -1) + 1
    found = {}
    for group in sql_tokens.split_at_commas(tokens[start:]):
        if len(group) < 3 or group[1].text != "=" or any(token.depth for token in group):
            raise sql_tokens.DDLError("a named collection is written AS key = value [[NOT] OVERRIDABLE], ...")
        flag = " ".join(item.text.upper() for item in group[3:] if item.kind == "word")
        sign = group[2].text == "-"
        found[group[0].value] = (text[group[2].start : group[2 + sign].end], flag)
    return found


def create_table(name: str, options: Options) -> str:
    """The statement. Raises C(DDLError), which begins with the option at fault."""
    parts = sql_tokens.parse_name(name)
    if len(parts) != 2:
        raise sql_tokens.DDLError(f"name: {name} needs its database: write database.{name}")
    if not options.get("columns"):
        raise sql_tokens.DDLError("columns is missing: a table has one at least")
    pieces = [_column_sql(f"columns[{index}]", column) for index, column in enumerate(options["columns"])]
    for option, (form, fragments) in _ELEMENTS.items():
        for index, item in enumerate(options.get(option) or ()):
            checked = {key: _check_fragment(f"{option}[{index}].{key}", item[key]) for key in fragments}
            pieces.append(form.format(**{**item, **checked, "name": sql_tokens.quote_name(item["name"])}))
    words = {"engine": "ENGINE =", **argument_specs.CLAUSE_OPTIONS}
    clauses = [f"{words[option]} {_check_fragment(option, options[option])}" for option in words if options.get(option)]
    if options.get("settings"):
        clauses.append("SETTINGS " + ", ".join(_setting_sql(name, value) for name, value in options["settings"].items()))
    if options.get("comment"):
        clauses.append(f"COMMENT {sql_tokens.quote_string(options['comment'])}")
    return f"CREATE TABLE {sql_tokens.qualify_name(*parts)} ({', '.join(pieces)}) {' '.join(clauses)}"


def _column_sql(where: str, options: Options) -> str:
    text = f"{sql_tokens.quote_name(options['name'])} {_check_fragment(f'{where}.type', options['type'])}"
    if options.get("default") is not None:
        text += f" {options['default_kind']} {_check_fragment(f'{where}.default', options['default'])}"
    elif options["default_kind"] == "EPHEMERAL":
        text += " EPHEMERAL"
    elif options["default_kind"] != "DEFAULT":
        raise sql_tokens.DDLError(f"{where}.default is missing: {options['default_kind']} needs an expression")
    if options.get("comment"):
        text += f" COMMENT {sql_tokens.quote_string(options['comment'])}"
    if options.get("codec"):
        text += f" CODEC({_check_fragment(f'{where}.codec', options['codec'])})"
    if options.get("ttl"):
        text += f" TTL {_check_fragment(f'{where}.ttl', options['ttl'])}"
    return text


def _check_fragment(where: str, text: str) -> str:
    """A piece of SQL that stays within its place."""
    tokens = sql_tokens.tokenize(text)
    if not tokens:
        raise sql_tokens.DDLError(f"{where} is empty")
    _check_closed(tokens, f"{where}: ")
    if any(token.is_word(";") for token in tokens):
        raise sql_tokens.DDLError(f"{where}: there is a semicolon in it")
    return text[tokens[0].start : tokens[-1].end]


def _setting_sql(name: t.Any, value: t.Any) -> str:
    if not str(name).isidentifier():
        raise sql_tokens.DDLError(f"settings: {str(name)!r} is no name of a setting")
    if not isinstance(value, (str, int, float)):
        raise sql_tokens.DDLError(f"settings.{name}: expected a text, number or boolean")
    # The sign makes a number of a boolean.
    return f"{name} = {sql_tokens.quote_string(value) if isinstance(value, str) else repr(+value)}"


def created_name(statement: str) -> str:
    """The name that a C(CREATE) statement gives, as far as it can be read; empty where it cannot."""
    tokens = sql_tokens.tokenize(statement)
    kinds = ("TABLE", "VIEW", "DICTIONARY", "FUNCTION", "COLLECTION")
    start = next((index + 1 for index, token in enumerate(tokens) if any(map(token.is_word, kinds))), len(tokens))
    cursor = sql_tokens.TokenCursor(tokens[start:])
    while cursor.take("IF") or cursor.take("NOT") or cursor.take("EXISTS"):
        pass
    return "".join(".".join(filter(None, key)) for key in cursor.names(""))
