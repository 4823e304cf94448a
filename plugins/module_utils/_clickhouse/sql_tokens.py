# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of ClickHouse SQL, and the names and literals that they spell (private: may change at any time). Pure."""

from __future__ import annotations

import functools
import re
import typing as t

_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --[^\n]* | \#[!\x20][^\n]* | /\*.*?\*/)
  | (?P<string>'(?:[^'\\]|\\.|'')*')
  | (?P<quoted>`(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*")
  | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<number>\d[\w.]*)
  | (?P<word>[^\W\d]\w*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


class DDLError(ValueError):
    """A statement that this collection does not accept."""


class Token(t.NamedTuple):
    """A word, name, literal, number or sign, where it stands, and how many parentheses are around it."""

    kind: str
    text: str
    start: int
    end: int
    depth: int

    def is_word(self, word: str) -> bool:
        """Whether it is this keyword or sign, in any case; C(word) is in upper case."""
        return len(self.text) == len(word) and self.text.upper() == word and self.kind in ("word", "other")

    @property
    def is_name(self) -> bool:
        """Whether it may be the name of something: a word, or quoted."""
        return self.kind in ("word", "quoted")

    @property
    def value(self) -> str:
        """What a literal or a quoted name says; any other token as it is."""
        return unquote(self.text)


@functools.lru_cache(maxsize=16384)
def tokenize(text: str) -> tuple[Token, ...]:
    """Tokens without white space and comments; C(depth) counts the parentheses around a token."""
    tokens = []
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "space":
            continue
        value = match.group()
        if value in (")", "]", "}"):
            depth -= 1
        tokens.append(Token(kind, value, match.start(), match.end(), depth))
        if value in ("(", "[", "{"):
            depth += 1
    return tuple(tokens)


@functools.lru_cache(maxsize=4096)
def names_in(text: str) -> frozenset[str]:
    """All words and names of a text."""
    return frozenset(token.value for token in tokenize(text) if token.is_name)


def unquote(text: str) -> str:
    """The value of a string literal or of a quoted identifier."""
    if not text or text[0] not in "'`\"":
        return text
    quote, body = text[0], text[1:-1]
    return re.sub(
        r"\\(.)|" + quote * 2,
        lambda match: _ESCAPES.get(match.group(1), match.group(1)) if match.group(1) else quote,
        body,
        flags=re.DOTALL,
    )


def quote_string(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_list(values: t.Iterable[str]) -> str:
    """String literals, separated by commas."""
    return ", ".join(quote_string(value) for value in values)


def quoted_keys(keys: t.Iterable[t.Sequence[str]]) -> str:
    """Tuples of string literals, separated by commas."""
    return ", ".join(f"({quoted_list(key)})" for key in keys)


def quote_name(name: str) -> str:
    """An identifier, quoted where it has to be."""
    if _SIMPLE.match(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def qualify_name(database: str, name: str) -> str:
    """A name with its database; of what belongs to none (a function), the name alone."""
    return f"{quote_name(database)}.{quote_name(name)}" if database else quote_name(name)


def parse_name(text: str) -> list[str]:
    """The parts of a name, as C(database) or C(database.table), quoted or not."""
    cursor = TokenCursor(tokenize(text))
    parts = cursor.name_parts()
    if not parts or cursor.position < len(cursor.tokens):
        raise DDLError(f"{excerpt(text)} is not a name")
    return parts


class TokenCursor:
    """A position among tokens, which moves behind what is taken."""

    def __init__(self, tokens: t.Sequence[Token], position: int = 0) -> None:
        self.tokens = tokens
        self.position = position

    def take(self, *words: str) -> bool:
        """Move behind these words, if they stand here. Whether they do."""
        found = tokens_match(self.tokens, self.position, words)
        self.position += len(words) if found else 0
        return found

    def identifier(self) -> str | None:
        """Move behind a name, if one stands here, and return it without quotes."""
        token = self.tokens[self.position] if self.position < len(self.tokens) else None
        if token is None or not token.is_name:
            return None
        self.position += 1
        return token.value

    def name_parts(self) -> list[str]:
        """Move behind a name with what qualifies it, and return its parts; none where no name stands here, or a dot at its end."""
        parts = [self.identifier()]
        while self.take("."):
            parts.append(self.identifier())
        return [] if None in parts else [str(part) for part in parts]

    def names(self, database: str) -> set[tuple[str, str]]:
        """The object named here, if one is."""
        first = self.identifier()
        second = self.identifier() if self.take(".") else None
        if first is None:
            return set()
        return {(first, second) if second is not None else (database, first)}


def tokens_match(tokens: t.Sequence[Token], index: int, words: tuple[str, ...]) -> bool:
    """Whether these keywords and signs stand at a position."""
    ahead = tokens[index : index + len(words)]
    return len(ahead) == len(words) and all(map(Token.is_word, ahead, words))


def split_at_commas(tokens: t.Iterable[Token], depth: int = 0) -> list[list[Token]]:
    """Groups of the tokens between commas, where these stand inside of so many parentheses."""
    groups: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == "," and token.depth == depth:
            groups.append([])
        else:
            groups[-1].append(token)
    return groups


def argument_spans_at(tokens: t.Sequence[Token], opened: int) -> list[tuple[int, int]]:
    """Spans of the arguments in the parenthesis that opens at a token."""
    depth = tokens[opened].depth
    end = next((index for index in range(opened + 1, len(tokens)) if tokens[index].depth == depth), len(tokens))
    groups = split_at_commas(tokens[opened + 1 : end], depth + 1)
    # The last argument of a parenthesis that is never closed has no end.
    return [(group[0].start, group[-1].end) for group in (groups if end < len(tokens) else groups[:-1]) if group]


def split_arguments(text: str) -> list[str]:
    """What the first parenthesis of a text holds, cut at its commas."""
    return [text[start:end] for start, end in argument_spans(text)]


def argument_spans(text: str) -> list[tuple[int, int]]:
    """Where each of C(arguments) stands."""
    tokens = tokenize(text)
    opened = next((index for index, token in enumerate(tokens) if token.text == "("), None)
    return [] if opened is None else argument_spans_at(tokens, opened)


def excerpt(text: str) -> str:
    """The beginning of a text, quoted, for messages."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
