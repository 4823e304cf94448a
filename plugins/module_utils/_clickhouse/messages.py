# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server and the library say, in fewer words (private: may change at any time). Pure."""

from __future__ import annotations

import re

from .tokens import tokenize, unquote

_SYNTAX = re.compile(r"Syntax error[^:]*: failed at position (\d+)")
_EXPECTED = re.compile(r"Expected one of: (.*?)(?:: In scope |\. \(SYNTAX_ERROR\)|$)", re.DOTALL)
_BROKEN = (
    ("Remote end closed connection", "the server closed it"),
    ("Connection reset", "the server reset it"),
    ("Broken pipe", "the server closed it"),
    ("Connection refused", "the server refused it"),
    ("Read timed out", "no answer came in time"),
    ("IncompleteRead", "the answer broke off"),
)
# Words that a message lists of those that the server would have understood, tokens around the place, and characters of a value.
_EXPECTED_AT_MOST = 6
_AROUND = 3


def syntax_error(message: str, statement: str) -> str:
    """The server's message on a statement that it cannot parse: the place and what it expected, without the rest of the statement.

    Literals around the place are left out, for one of them may be a secret. Any other message is returned as it is.
    """
    match = _SYNTAX.search(message)
    if match is None:
        return message
    # The server counts bytes.
    position = len(statement.encode()[: int(match.group(1))].decode(errors="ignore"))
    found = _EXPECTED.search(message)
    expected = found.group(1).split(", ") if found else []
    more = ", ..." if len(expected) > _EXPECTED_AT_MOST else ""
    hint = f"; expected {', '.join(expected[:_EXPECTED_AT_MOST])}{more}" if expected else ""
    return f"Code: 62. Syntax error at character {position}, near {_excerpt_around(statement, position)}{hint}"


def _excerpt_around(statement: str, position: int) -> str:
    """Tokens of a statement around a character, counted from 1."""
    tokens = tokenize(statement)
    here = next((index for index, token in enumerate(tokens) if token.end >= position), len(tokens))
    near = tokens[max(0, here - _AROUND) : here + _AROUND]
    pieces: list[str] = []
    for token, previous in zip(near, [None, *near]):
        gap = " " if previous is not None and token.start > previous.end else ""
        pieces.append(gap + ("'...'" if token.kind in ("string", "heredoc") else token.text))
    return repr("".join(pieces))


def broken_connection(text: str) -> str:
    """Why a connection broke, in place of what the library for HTTP says; text that is not known is cut to one line."""
    return next((short for words, short in _BROKEN if words in text), " ".join(text.split())[:160])


def created_name(statement: str) -> str:
    """The name that a C(CREATE) statement gives, as far as it can be read; empty where it cannot."""
    rest = list(tokenize(statement))
    kinds = [
        index for index, token in enumerate(rest) if any(map(token.is_word, ("TABLE", "VIEW", "DICTIONARY", "FUNCTION", "COLLECTION")))
    ]
    rest = rest[kinds[0] + 1 :] if kinds else []
    while rest and any(map(rest[0].is_word, ("IF", "NOT", "EXISTS"))):
        rest = rest[1:]
    if not rest or rest[0].kind not in ("word", "quoted"):
        return ""
    named = [unquote(rest[0].text)]
    if len(rest) > 2 and rest[1].text == "." and rest[2].kind in ("word", "quoted"):
        named.append(unquote(rest[2].text))
    return ".".join(named)
