# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of SQL functions, replaced by the functions' text as the server does it (private: may change at any time). Pure.

Good enough to see that nothing differs, which is all that it is used for: the server itself is given the calls.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from . import sql_tokens

# A function that calls itself would never end.
_CALLS = 1000


@dataclass(frozen=True)
class Function:
    """Parameters and text of a function."""

    parameters: tuple[str, ...]
    body: str


def parse_function(text: str) -> Function:
    """A function from its C(CREATE FUNCTION), in the server's words."""
    tokens = sql_tokens.tokenize(text)
    start = next(index for index, token in enumerate(tokens) if token.is_word("AS"))
    arrow = next(index for index, (one, two) in enumerate(zip(tokens, tokens[1:])) if one.text == "-" and two.text == ">")
    names = tuple(token.value for token in tokens[start + 1 : arrow] if token.is_name)
    return Function(names, text[tokens[arrow + 1].end :].strip())


def inline_calls(text: str, functions: t.Mapping[str, Function]) -> str:
    """A text, in the server's words, without calls of C(functions)."""
    for _call in range(_CALLS):
        found = _first_call(text, functions)
        if found is None:
            break
        start, end, called, arguments = found
        text = text[:start] + _substitute_arguments(called.body, dict(zip(called.parameters, arguments))) + text[end:]
    return text


def _first_call(text: str, functions: t.Mapping[str, Function]) -> tuple[int, int, Function, list[str]] | None:
    """Where a call begins and ends, what is called, and with what."""
    tokens = sql_tokens.tokenize(text)
    for index, (token, following) in enumerate(zip(tokens, tokens[1:])):
        called = functions.get(token.value) if token.is_name else None
        if called is None or following.text != "(":
            continue
        closing = (other for other in tokens[index + 2 :] if other.text == ")" and other.depth == token.depth)
        end = next(closing).end
        arguments = sql_tokens.split_arguments(text[token.start : end])
        if len(arguments) == len(called.parameters):
            return token.start, end, called, arguments
    return None


def _substitute_arguments(body: str, values: t.Mapping[str, str]) -> str:
    tokens = sql_tokens.tokenize(body)
    pieces, position = [], 0
    for index, token in enumerate(tokens):
        if not token.is_name or token.value not in values:
            continue
        value = values[token.value]
        alone = index and tokens[index - 1].text in ("(", ",") and index + 1 < len(tokens) and tokens[index + 1].text in (")", ",")
        pieces += [body[position : token.start], value if alone or not _has_operator(value) else f"({value})"]
        position = token.end
    return "".join(pieces) + body[position:]


def _has_operator(text: str) -> bool:
    """Whether an expression has an operator outside of any parentheses."""
    words = ("AND", "OR", "NOT", "IN", "LIKE", "ILIKE", "IS", "GLOBAL")
    tokens = sql_tokens.tokenize(text)
    signs = [token for token in tokens if token.depth == 0 and token.kind == "other" and token.text not in "()[]{}."]
    return bool(signs) or any(token.is_word(word) for token in tokens if token.depth == 0 for word in words)
