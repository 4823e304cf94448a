# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clauses of a statement in the words of the server: C(ENGINE), C(ORDER BY), C(SETTINGS) and so on (private: may change at any time).

Pure. The server is the normaliser: no expression is rewritten here.
"""

from __future__ import annotations

import functools
import typing as t

from . import sql_tokens

# Clauses of a statement as the server writes it, by the words that open them outside any parenthesis.
_CLAUSES = (
    *(("refresh", "REFRESH"), ("to", "TO"), ("engine", "ENGINE ="), ("partition_by", "PARTITION BY"), ("primary_key", "PRIMARY KEY")),
    *(("order_by", "ORDER BY"), ("sample_by", "SAMPLE BY"), ("ttl", "TTL"), ("settings", "SETTINGS"), ("definer", "DEFINER =")),
    *(("security", "SQL SECURITY"), ("comment", "COMMENT"), ("fill", "POPULATE"), ("fill", "EMPTY"), ("select", "AS SELECT")),
    *(("select", "AS WITH"), ("select", "AS ("), ("source", "AS")),
)
# Clauses of a table or view in the order in which the server writes them.
CLAUSE_ORDER = (
    *("head", "refresh", "to", "columns", "source", "engine", "partition_by", "primary_key", "order_by", "sample_by", "ttl"),
    *("settings", "definer", "security", "comment", "fill", "select"),
)
# Words behind which an expression begins or goes on; for other operators the server writes signs and functions.
_OPERATORS = frozenset(("NOT", "AND", "OR", "IN", "LIKE", "ILIKE"))
_BEFORE_EXPRESSIONS = _OPERATORS | {"BY", "KEY", "TTL", "DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL", "WHERE", "SET", "AS"}
_OPENINGS: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
for _key, _words in ((key, tuple(words.split())) for key, words in _CLAUSES):
    _OPENINGS.setdefault(_words[0], []).append((_key, _words))


class Clause(t.NamedTuple):
    """A part of a statement: which one it is, and its text with the words that open it."""

    key: str
    text: str


Clauses = list[Clause]


def split_clauses(text: str) -> Clauses:
    """Clauses of a statement that the server has formatted on one line; joined by blanks they are the statement."""
    return list(_split(text))


@functools.lru_cache(maxsize=4096)
def _split(text: str) -> tuple[Clause, ...]:
    tokens = sql_tokens.tokenize(text)
    starts = [("head", 0)]
    seen = {"head"}
    for index, token in enumerate(tokens):
        if token.depth or index < 2:
            continue
        key = None
        if token.text == "(" and "columns" not in seen and seen <= {"head", "refresh", "to"}:
            key = "columns"
        else:
            openings = _OPENINGS.get(token.text.upper())
            if openings and not is_name_in_expression(tokens, index):
                key = next((key for key, words in openings if sql_tokens.tokens_match(tokens, index, words)), None)
        if key == "settings" and seen == {"head", "refresh"}:
            key = None  # those of the refresh
        if key is not None and key not in seen and not (key == "to" and seen & {"columns", "engine"}):
            starts.append((key, token.start))
            seen.add(key)
            if key == "select":
                break
    ends = [start for _key, start in starts[1:]] + [len(text)]
    return tuple(Clause(key, text[start:end].strip()) for (key, start), end in zip(starts, ends))


def is_name_in_expression(tokens: t.Sequence[sql_tokens.Token], index: int) -> bool:
    """Whether a word stands in an expression: the server does not quote names such as C(ttl), C(comment) or C(settings) there."""
    if not index or tokens[index].text in _OPERATORS:
        return False
    previous = tokens[index - 1]
    if previous.kind == "other":
        return previous.text not in ")]}"
    if previous.text == "EPHEMERAL" and tokens[index].text.isupper():
        return False  # has no expression
    return previous.kind == "word" and previous.text in _BEFORE_EXPRESSIONS and not is_name_in_expression(tokens, index - 1)


def join_clauses(clauses: Clauses) -> str:
    """The statement that consists of these clauses."""
    return " ".join(clause.text for clause in clauses)


def clause_text(clauses: Clauses, key: str) -> str:
    """The text of one clause; empty where a statement has none of that kind."""
    return next((item.text for item in clauses if item.key == key), "")


def object_kind(text: str) -> str:
    """What kind of object in a database a statement of the server makes: a table, where it says nothing else."""
    words = clause_text(split_clauses(text), "head").upper().split()
    return {"VIEW": "view", "MATERIALIZED": "materialized_view", "DICTIONARY": "dictionary"}.get(words[1], "table")


def replace_clause(clauses: Clauses, key: str, text: str) -> Clauses:
    """The clauses with another text for one of them, if it is there."""
    return [Clause(key, text) if item.key == key else item for item in clauses]


def parse_engine(text: str) -> tuple[str, list[str]]:
    """Name and arguments of the table engine in a statement or an C(ENGINE) clause; an empty name when there is none."""
    tokens = sql_tokens.tokenize(text)
    _start, named = find_engine(tokens)
    if not named:
        return "", []
    opened = named + 1
    if opened < len(tokens) and tokens[opened].text == "(" and tokens[opened].depth == 0:
        return tokens[named].text, [text[start:end] for start, end in sql_tokens.argument_spans_at(tokens, opened)]
    return tokens[named].text, []


def table_engine(clauses: Clauses) -> tuple[str, list[str]]:
    """Name and arguments of the engine of a table; an empty name when there is none."""
    return parse_engine(clause_text(clauses, "engine"))


def engine_name(clauses: Clauses) -> str:
    """Name of a table's engine."""
    return sql_tokens.unquote(table_engine(clauses)[0])


def is_replicated(clauses: Clauses) -> bool:
    """Whether a table shares its definition with other replicas."""
    return engine_name(clauses).startswith("Replicated")


def find_engine(tokens: t.Sequence[sql_tokens.Token]) -> tuple[int, int]:
    """Where C(ENGINE) stands, and where the engine's name; the sign between them may be left out."""
    bare = (0, 0)
    for index, token in enumerate(tokens[:-1]):
        if token.depth == 0 and token.is_word("ENGINE"):
            if tokens[index + 1].text == "=" and index + 2 < len(tokens):
                return index, index + 2
            if not bare[1] and tokens[index + 1].kind == "word" and not (index and tokens[index - 1].text == "."):
                bare = index, index + 1
    return bare


def replace_engine(text: str, engine: str) -> str:
    """A statement or C(ENGINE) clause, as somebody wrote it, with another C(ENGINE = name(arguments))."""
    tokens = sql_tokens.tokenize(text)
    start, end = find_engine(tokens)
    if end + 1 < len(tokens) and tokens[end + 1].text == "(":
        end = next(index for index in range(end + 2, len(tokens)) if tokens[index].text == ")" and tokens[index].depth == 0)
    return text[: tokens[start].start] + engine + text[tokens[end].end :]


def engine_clause(name: str, arguments: t.Sequence[str]) -> str:
    """An C(ENGINE) clause."""
    return f"ENGINE = {name}({', '.join(arguments)})" if arguments else f"ENGINE = {name}"


def replica_path(arguments: t.Sequence[str]) -> list[str]:
    """The ZooKeeper path and replica name among the arguments of a Replicated engine, if they are given."""
    given = arguments[:2]
    return list(given) if len(given) == 2 and all(argument.startswith("'") for argument in given) else []


def without_replication(clauses: Clauses) -> Clauses:
    """A table's definition with the plain engine in place of the Replicated one; any other as it is."""
    name, arguments = table_engine(clauses)
    if not name.startswith("Replicated"):
        return list(clauses)
    plain = engine_clause(name[len("Replicated") :], arguments[len(replica_path(arguments)) :])
    return replace_clause(clauses, "engine", plain)


def parse_settings(text: str) -> dict[str, str]:
    """Settings of a C(SETTINGS) clause."""
    groups = sql_tokens.split_at_commas(sql_tokens.tokenize(text)[1:])
    return {group[0].text: text[group[2].start : group[-1].end] for group in groups if len(group) > 2}


def settings_clause(values: t.Mapping[str, str]) -> str:
    """The opposite of C(settings)."""
    return "SETTINGS " + ", ".join(f"{name} = {value}" for name, value in values.items())


def set_settings(clauses: Clauses, values: t.Mapping[str, str]) -> Clauses:
    """A table's definition with more settings, or other values of them."""
    parts = list(clauses)
    return set_clause(parts, Clause("settings", settings_clause({**parse_settings(clause_text(parts, "settings")), **values})))


def set_clause(clauses: Clauses, added: Clause) -> Clauses:
    """A definition with a clause, which stands at its place; another of its kind is replaced."""
    return sorted([*(part for part in clauses if part.key != added.key), added], key=lambda part: CLAUSE_ORDER.index(part.key))
