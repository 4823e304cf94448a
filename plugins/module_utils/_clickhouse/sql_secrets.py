# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords and keys inside of statements: find and mask them (private: may change at any time). Pure."""

from __future__ import annotations

import re
import typing as t

from . import sql_tokens

HIDDEN_LITERAL = "'[HIDDEN]'"
_NOTHING = sql_tokens.Token("", "", 0, 0, 0)
# Position of the password or key among the arguments of table engines and functions, by how many there are at least.
_SECRET_ARGUMENTS: dict[str, tuple[tuple[int, int], ...]] = {
    **dict.fromkeys(("azureblobstorage", "azurequeue", "materializedpostgresql", "mongodb", "mysql", "postgresql", "redis"), ((5, 4),)),
    **dict.fromkeys(("remote", "remotesecure"), ((5, 4), (4, 3))),
    **dict.fromkeys(("materializedmysql", "s3cluster"), ((4, 3),)),
    **dict.fromkeys(("cosn", "deltalake", "gcs", "hudi", "iceberg", "icebergs3", "oss", "Redis", "s3", "s3queue", "ytsaurus"), ((3, 2),)),
    **dict.fromkeys(("jdbc", "odbc"), ((1, 0),)),
}
_DATABASE_SECRETS = {"materializedpostgresql": 3, "mysql": 3, "postgresql": 3, "s3": 2}
# Of these a compression, or a structure of columns, may stand in the secret's place.
_OBJECT_STORAGES = frozenset(("s3", "s3queue", "s3cluster", "gcs", "cosn", "oss"))
_FORMAT = re.compile(r"[A-Z]\w{1,40}\Z")
_NO_SECRET = re.compile(r"(auto|none|gzip|gz|deflate|brotli|br|xz|lzma|zstd|zst|lz4|bz2|snappy)\Z|.*[\s(]", re.IGNORECASE)
# Secrets inside of literals, with what stands around them.
_URL_PASSWORD = re.compile(r"://[^/\s:@']*:([^/\s@']+)@")
_ACCOUNT_KEY = re.compile(r"AccountKey=([^;']+)")
_SECRET_NAME = re.compile(r"(password|passwd|secret|token(?!izer)|access_key|account_key|connection_string|sasl_jaas)", re.IGNORECASE)


def contains_hidden_secret(text: str) -> bool:
    """Whether a secret of a statement is C('[HIDDEN]'): it was copied from what a server shows."""
    if "[HIDDEN]" not in text:
        return False
    tokens = sql_tokens.tokenize(text)
    collection = sql_tokens.tokens_match(tokens, 0, ("CREATE", "NAMED", "COLLECTION")) and any(
        token.text == HIDDEN_LITERAL for token in tokens
    )
    return collection or "[HIDDEN]" in find_secrets(text)


def find_secrets(text: str) -> set[str]:
    """Values of the string literals that hold a password or key, as far as the statement alone tells."""
    tokens = sql_tokens.tokenize(text)
    found = set()
    database = sql_tokens.tokens_match(tokens, 0, ("CREATE", "DATABASE"))
    for index, token in enumerate(tokens):
        if token.kind in ("other", "number"):
            continue
        following, behind = (*tokens[index + 1 : index + 3], _NOTHING, _NOTHING)[:2]
        if token.kind == "word" and following.text == "(":
            arguments = [text[start:end] for start, end in sql_tokens.argument_spans_at(tokens, index + 1)]
            found |= _secret_argument(token.text, arguments, database)
            if token.is_word("HEADERS"):  # all values of headers('name' = 'value', ...)
                pairs = map(sql_tokens.tokenize, arguments)
                found.update(pair[-1].value for pair in pairs if len(pair) > 1 and pair[-1].kind == "string")
        # name = '...', and PASSWORD '...' among the parameters of a dictionary's source.
        value = behind if following.text == "=" else following if token.kind == "word" else _NOTHING
        if value.kind == "string" and token.is_name and _SECRET_NAME.search(token.text):
            found.add(value.value)
        if token.kind == "string":
            found.update(_URL_PASSWORD.findall(token.value), _ACCOUNT_KEY.findall(token.value))
    return {value for value in found if value}


def _secret_argument(name: str, values: t.Sequence[str], database: bool) -> set[str]:
    """The argument of an engine or table function that is a password or key."""
    rules = _SECRET_ARGUMENTS.get(name) or _SECRET_ARGUMENTS.get(name.lower(), ())
    position = next((position for count, position in rules if len(values) >= count), None)
    if database:
        position = _DATABASE_SECRETS.get(name.lower())
    if position is None or position >= len(values) or values[position][0] != "'":
        return set()
    value = sql_tokens.unquote(values[position])
    if name.lower() not in _OBJECT_STORAGES:
        return {value}
    if _NO_SECRET.match(value) or sql_tokens.unquote(values[position - 1]).upper() == "NOSIGN":
        return set()
    # The token of a session stands between the key and the format.
    rest = [sql_tokens.unquote(text) for text in values[position + 1 : position + 2] if text[0] == "'" and len(values) > position + 2]
    return {value, *(text for text in rest if not _FORMAT.match(text) and not _NO_SECRET.match(text))}


def find_hidden_secrets(ours: str, theirs: str) -> set[str]:
    """Values of our string literals where the server, in the same place, shows that it hides one."""
    found = {
        our.value for our, their in aligned_tokens(ours, theirs) if their.text == HIDDEN_LITERAL and our.kind == "string"
    }
    return {value for value in found if value}


def aligned_tokens(ours: str, theirs: str) -> list[tuple[sql_tokens.Token, sql_tokens.Token]]:
    """Tokens that stand in the same place of two texts, up to where their structure differs."""
    pairs = []
    for our, their in zip(sql_tokens.tokenize(ours), sql_tokens.tokenize(theirs)):
        if our.text != their.text and "other" in (our.kind, their.kind):
            break
        pairs.append((our, their))
    return pairs


def mask_secrets(text: str, secrets: t.Collection[str]) -> str:
    """The text with secrets hidden: whole literals as the server hides them, and passwords inside URLs."""
    if not secrets:
        return text
    pieces = []
    position = 0
    for token in sql_tokens.tokenize(text):
        if token.kind != "string":
            continue
        value = token.value
        shown = token.text
        if value in secrets:
            shown = HIDDEN_LITERAL
        else:
            for secret in secrets:
                shown = shown.replace(f":{secret}@", ":[HIDDEN]@").replace(f"AccountKey={secret}", "AccountKey=[HIDDEN]")
        pieces += [text[position : token.start], shown]
        position = token.end
    return "".join(pieces) + text[position:]
