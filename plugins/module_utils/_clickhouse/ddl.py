# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading ClickHouse DDL without a server (private: may change at any time).

The server is the normaliser: nothing here rewrites an expression. This file finds the clauses of a statement, puts
another head on it, hides secrets, and gives a declaration what the server fills in by itself where it was left open.
"""

from __future__ import annotations

import functools
import re
import typing as t

HIDDEN = "'[HIDDEN]'"

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

_KINDS = {
    ("TABLE",): "table",
    ("VIEW",): "view",
    ("MATERIALIZED", "VIEW"): "materialized_view",
    ("DICTIONARY",): "dictionary",
    ("FUNCTION",): "function",
    ("NAMED", "COLLECTION"): "named_collection",
}
# Kinds that belong to no database.
GLOBAL = ("function", "named_collection")
KEYWORDS = {kind: " ".join(words) for words, kind in _KINDS.items()}

# Clauses of a statement as the server writes it, by the words that open them outside any parenthesis.
_CLAUSES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("refresh", ("REFRESH",)),
    ("to", ("TO",)),
    ("engine", ("ENGINE", "=")),
    ("partition_by", ("PARTITION", "BY")),
    ("primary_key", ("PRIMARY", "KEY")),
    ("order_by", ("ORDER", "BY")),
    ("sample_by", ("SAMPLE", "BY")),
    ("ttl", ("TTL",)),
    ("settings", ("SETTINGS",)),
    ("definer", ("DEFINER", "=")),
    ("security", ("SQL", "SECURITY")),
    ("comment", ("COMMENT",)),
    ("fill", ("POPULATE",)),
    ("fill", ("EMPTY",)),
    ("select", ("AS", "SELECT")),
    ("select", ("AS", "WITH")),
    ("select", ("AS", "(")),
    ("source", ("AS",)),
)

# Clauses of a table or view in the order in which the server writes them.
_ORDER = (
    *("head", "refresh", "to", "columns", "source", "engine", "partition_by", "primary_key", "order_by", "sample_by", "ttl"),
    *("settings", "definer", "security", "comment", "fill", "select"),
)

# Words behind which an expression begins or goes on; for other operators the server writes signs and functions.
_OPERATORS = frozenset(("NOT", "AND", "OR", "IN", "LIKE", "ILIKE"))
_BEFORE_EXPRESSIONS = _OPERATORS | {"BY", "KEY", "TTL", "DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL", "WHERE", "SET", "AS"}

_OPENINGS: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
for _key, _words in _CLAUSES:
    _OPENINGS.setdefault(_words[0], []).append((_key, _words))

# Position of the password or key among the arguments of table engines and functions, by how many there are at least.
_SECRET_ARGUMENTS: dict[str, tuple[tuple[int, int], ...]] = {
    "postgresql": ((5, 4),),
    "materializedpostgresql": ((5, 4),),
    "mysql": ((5, 4),),
    "materializedmysql": ((4, 3),),
    "mongodb": ((5, 4),),
    "Redis": ((3, 2),),
    "redis": ((5, 4),),
    "remote": ((5, 4), (4, 3)),
    "remotesecure": ((5, 4), (4, 3)),
    "s3": ((3, 2),),
    "s3queue": ((3, 2),),
    "s3cluster": ((4, 3),),
    "gcs": ((3, 2),),
    "cosn": ((3, 2),),
    "oss": ((3, 2),),
    "deltalake": ((3, 2),),
    "hudi": ((3, 2),),
    "iceberg": ((3, 2),),
    "icebergs3": ((3, 2),),
    "azureblobstorage": ((5, 4),),
    "azurequeue": ((5, 4),),
    "odbc": ((1, 0),),
    "jdbc": ((1, 0),),
    "ytsaurus": ((3, 2),),
}
_DATABASE_SECRETS = {"materializedpostgresql": 3, "mysql": 3, "postgresql": 3, "s3": 2}
# Of these a compression, or a structure of columns, may stand in the secret's place.
_OBJECT_STORAGES = frozenset(("s3", "s3queue", "s3cluster", "gcs", "cosn", "oss"))
_FORMAT = re.compile(r"[A-Z]\w{1,40}\Z")
_NO_SECRET = re.compile(r"(auto|none|gzip|gz|deflate|brotli|br|xz|lzma|zstd|zst|lz4|bz2|snappy)\Z|.*[\s(]", re.IGNORECASE)
_FILLED = {("AS", "SELECT"): "AS SELECT", ("AS", "WITH"): "AS SELECT", ("AS", "("): "AS SELECT", ("CLONE", "AS"): "CLONE AS"}
# Engines to whose arguments the server adds the format that it has guessed.
_GUESSED_FORMAT = frozenset(("AzureBlobStorage", "COSN", "GCS", "HDFS", "OSS", "S3", "URL"))

# Engines for which an empty name of a database is the session's.
SESSION_DATABASE = frozenset(("Buffer", "Merge"))

# Functions whose first argument names a dictionary, or a table of the engine Join.
_LOOKUP = re.compile(r"(dict[A-Z]|joinGet)")
_VIEW = re.compile(r"CREATE (MATERIALIZED )?VIEW ")
_LAYOUT = re.compile(r" LAYOUT\((\w+)")
# Types of a dictionary's key for which the server keeps a simple layout.
_NUMERIC_TYPE = re.compile(r"(U?Int\d+|B?Float\d+|Bool|Decimal\d*)\Z")
# What a materialized view's own table is called: of a database that gives UUIDs, and of any other.
_INNER = re.compile(r"\.inner_id\.[0-9a-f-]{36}")

# Secrets inside of literals, with what stands around them.
_URL_PASSWORD = re.compile(r"://[^/\s:@']*:([^/\s@']+)@")
_ACCOUNT_KEY = re.compile(r"AccountKey=([^;']+)")
_EPHEMERAL = re.compile(r"( EPHEMERAL) defaultValueOfTypeName\('(?:[^'\\]|\\.)*'\)")
_SECRET_NAME = re.compile(r"(password|passwd|secret|token(?!izer)|access_key|account_key|connection_string|sasl_jaas)", re.IGNORECASE)


class DDLError(ValueError):
    """A statement that this collection does not accept."""


class Token(t.NamedTuple):
    kind: str
    text: str
    start: int
    end: int
    depth: int

    def is_(self, word: str) -> bool:
        return len(self.text) == len(word) and self.text.upper() == word and self.kind in ("word", "other")


class Create(t.NamedTuple):
    """A C(CREATE) statement: what it makes, and the text behind the name."""

    kind: str
    database: str
    name: str
    body: str


class Clause(t.NamedTuple):
    key: str
    text: str


@functools.lru_cache(maxsize=16384)
def tokenize(text: str) -> tuple[Token, ...]:
    """Tokens without white space and comments; C(depth) counts the parentheses around a token."""
    tokens: list[Token] = []
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


def quote_name(name: str) -> str:
    """An identifier, quoted where it has to be."""
    if _SIMPLE.match(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def qualified(database: str, name: str) -> str:
    """A name with its database; of what belongs to none (a function), the name alone."""
    return f"{quote_name(database)}.{quote_name(name)}" if database else quote_name(name)


def parse_create(text: str, database: str = "") -> Create:
    """Take a C(CREATE) statement apart, or raise C(DDLError), which says why it cannot be managed.

    C(database) is that of a name without one; where it is empty, the name has to have it.
    """
    tokens = tokenize(text)
    while tokens and tokens[-1].is_(";"):
        tokens = tokens[:-1]
    if not tokens:
        raise DDLError("the statement is empty")
    for token in tokens:
        if token.kind == "other" and token.text in "'`\"":
            raise DDLError(f"a quote opened at character {token.start} is never closed")
        if token.is_(";") and token.depth == 0:
            raise DDLError("more than one statement: give each object its own ddl")
    if tokens[-1].depth or any(token.depth < 0 for token in tokens) or tokens[-1].text in ("(", "[", "{"):
        raise DDLError("its parentheses do not match")
    cursor = _Cursor(tokens)
    if not cursor.take("CREATE"):
        raise DDLError(f"expected a CREATE statement, found {_excerpt(tokens[0].text)}")
    cursor.take("OR", "REPLACE")
    kind = next((kind for words, kind in _KINDS.items() if cursor.take(*words)), None)
    if kind is None:
        words = " ".join(token.text.upper() for token in tokens[1:3] if token.kind == "word")
        hint = "; declare databases by kind and name" if words.startswith("DATABASE") else ""
        raise DDLError(f"CREATE {words} is not managed, only {', '.join(KEYWORDS.values())}{hint}")
    cursor.take("IF", "NOT", "EXISTS")
    parts = [cursor.identifier()]
    while cursor.take("."):
        parts.append(cursor.identifier())
    if None in parts or len(parts) > 2:
        raise DDLError(f"expected a name after CREATE {KEYWORDS[kind]}")
    if kind in GLOBAL:
        if len(parts) > 1:
            raise DDLError(f"a {kind.replace('_', ' ')} belongs to no database: give its name alone")
        parts.insert(0, "")
    elif len(parts) == 1 and not database:
        raise DDLError(f"the name {quote_name(str(parts[0]))} needs its database: write database.{parts[0]}, or set login_database")
    elif len(parts) == 1:
        parts.insert(0, database)
    rest = tokens[cursor.position :]
    if _matches(rest, 0, ("ON", "CLUSTER")) or _matches(rest, 2, ("ON", "CLUSTER")):
        raise DDLError("ON CLUSTER is not accepted: every node is converged by its own host in the play")
    if not rest:
        raise DDLError(f"nothing follows the name in CREATE {KEYWORDS[kind]}")
    body = text[rest[0].start : rest[-1].end]
    if kind == "function" and not any(one.text == "-" and other.text == ">" for one, other in zip(rest, rest[1:])):
        raise DDLError("a function is written AS (arguments) -> expression")
    if kind == "table":
        for index, token in enumerate(rest):
            if token.depth or token.kind != "word":
                continue
            filled = next((name for words, name in _FILLED.items() if _matches(rest, index, words)), None)
            if filled:
                raise DDLError(f"{filled} would fill the table: declare its columns")
        if not engine_of(body)[0] and rest[0].is_("AS"):
            raise DDLError("the statement names no ENGINE, which would be that of the other table: declare it")
    return Create(kind, str(parts[0]), str(parts[1]), body)


def parse_name(text: str) -> list[str]:
    """The parts of a name, as C(database) or C(database.table), quoted or not."""
    cursor = _Cursor(tokenize(text))
    parts = [cursor.identifier()]
    while cursor.take("."):
        parts.append(cursor.identifier())
    if None in parts or cursor.position < len(cursor.tokens):
        raise DDLError(f"{_excerpt(text)} is not a name")
    return [str(part) for part in parts]


class _Cursor:
    def __init__(self, tokens: t.Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0

    def take(self, *words: str) -> bool:
        ahead = self.tokens[self.position : self.position + len(words)]
        if len(ahead) == len(words) and all(token.is_(word) for token, word in zip(ahead, words)):
            self.position += len(words)
            return True
        return False

    def identifier(self) -> str | None:
        if self.position < len(self.tokens) and self.tokens[self.position].kind in ("word", "quoted"):
            self.position += 1
            return unquote(self.tokens[self.position - 1].text)
        return None

    def names(self, database: str) -> set[tuple[str, str]]:
        """The object named here, if one is."""
        first = self.identifier()
        second = self.identifier() if self.take(".") else None
        if first is None:
            return set()
        return {(first, second) if second is not None else (database, first)}


def references(create: Create) -> set[tuple[str, str]]:
    """Objects that a statement reads or writes (a superset: aliases may be among them)."""
    tokens = tokenize(create.body)
    found: set[tuple[str, str]] = set()
    for index, token in enumerate(tokens):
        if token.kind != "word":
            continue
        word = token.text.upper()
        opens = word in ("FROM", "JOIN", "TO", "IN") or (word == "ON" and index and tokens[index - 1].is_("DEPENDS"))
        if opens or (word == "AS" and token.depth == 0 and create.kind == "table"):
            cursor = _Cursor(tokens[index + 1 :])
            found |= cursor.names(create.database)
            while cursor.take(",") or (cursor.take("AS") and cursor.identifier() and cursor.take(",")):
                found |= cursor.names(create.database)
        if _LOOKUP.match(token.text) and _matches(tokens, index + 1, ("(",)) and index + 2 < len(tokens):
            found |= _in_text(tokens[index + 2 :], create.database)
    engine, arguments = engine_of(create.body)
    values = [unquote(argument) for argument in arguments]
    if engine in ("Alias", "Dictionary") and len(values) == 1:
        found |= _in_text(tokenize(arguments[0]), create.database)
    if engine == "Alias" and len(values) > 1:
        found.add((values[0], values[1]))
    if engine == "Distributed" and len(values) > 2:
        found.add((values[1], values[2]))
    if engine == "Buffer" and len(values) > 1:
        found.add((values[0], values[1]))
    return found


def unqualified(text: str) -> bool:
    """Whether a C(TO) or C(REFRESH) clause names an object without its database."""
    return any(len(name) == 1 for name in _clause_names(text))


def qualify(text: str, database: str) -> str:
    """A C(TO) or C(REFRESH) clause with the database of every object: the session's, where there is none."""
    for name in reversed(_clause_names(text)):
        if len(name) == 1:
            text = f"{text[: name[0].start]}{quote_name(database)}.{text[name[0].start :]}"
    return text


def _clause_names(text: str) -> list[list[Token]]:
    """The names behind C(TO), and behind C(DEPENDS ON) up to what is none; each is its parts."""
    tokens = tokenize(text)
    found: list[list[Token]] = []
    for index, token in enumerate(tokens):
        if not (token.is_("TO") or (token.is_("ON") and index and tokens[index - 1].is_("DEPENDS"))):
            continue
        position = index + 1
        while position < len(tokens) and tokens[position].kind in ("word", "quoted"):
            qualified_name = position + 2 < len(tokens) and tokens[position + 1].text == "."
            found.append([tokens[position], tokens[position + 2]] if qualified_name else [tokens[position]])
            position += 3 if qualified_name else 1
            if position >= len(tokens) or tokens[position].text != ",":
                break
            position += 1
    return found


def looks_up(text: str) -> bool:
    """Whether an expression reads a dictionary, or a table by its name."""
    tokens = tokenize(text)
    for index, token in enumerate(tokens):
        behind = tokens[index + 1 + _matches(tokens, index + 1, ("(",)) :]
        if token.is_("IN") and behind and behind[0].kind in ("word", "quoted"):
            return True
        if token.kind == "word" and _LOOKUP.match(token.text) and _matches(tokens, index + 1, ("(",)):
            return True
    return False


def _in_text(tokens: t.Sequence[Token], database: str) -> set[tuple[str, str]]:
    """The object named by the first token, which may be a literal that holds the name."""
    return _Cursor(tokenize(unquote(tokens[0].text)) if tokens[0].kind == "string" else tokens).names(database)


def split_clauses(text: str) -> list[Clause]:
    """Clauses of a statement that the server has formatted on one line; joined by blanks they are the statement."""
    return list(_split(text))


@functools.lru_cache(maxsize=4096)
def _split(text: str) -> tuple[Clause, ...]:
    tokens = tokenize(text)
    starts: list[tuple[str, int]] = [("head", 0)]
    seen = {"head"}
    index = 0
    while index < len(tokens):
        token = tokens[index]
        key = None
        if token.depth == 0 and index > 1:
            if token.text == "(" and "columns" not in seen and seen <= {"head", "refresh", "to"}:
                key = "columns"
            else:
                openings = _OPENINGS.get(token.text.upper())
                if openings and not is_name(tokens, index):
                    key = next((key for key, words in openings if _matches(tokens, index, words)), None)
        if key == "settings" and seen == {"head", "refresh"}:
            key = None  # those of the refresh
        if key is not None and key not in seen and not (key == "to" and seen & {"columns", "engine"}):
            starts.append((key, token.start))
            seen.add(key)
            if key == "select":
                break
        index += 1
    ends = [start for _key, start in starts[1:]] + [len(text)]
    return tuple(Clause(key, text[start:end].strip()) for (key, start), end in zip(starts, ends))


def is_name(tokens: t.Sequence[Token], index: int) -> bool:
    """Whether a word stands in an expression: the server does not quote names such as C(ttl), C(comment) or C(settings) there."""
    if not index or tokens[index].text in _OPERATORS:
        return False
    previous = tokens[index - 1]
    if previous.kind == "other":
        return previous.text not in ")]}"
    if previous.text == "EPHEMERAL" and tokens[index].text.isupper():
        return False  # has no expression
    return previous.kind == "word" and previous.text in _BEFORE_EXPRESSIONS and not is_name(tokens, index - 1)


def _matches(tokens: t.Sequence[Token], index: int, words: tuple[str, ...]) -> bool:
    ahead = tokens[index : index + len(words)]
    return len(ahead) == len(words) and all(map(Token.is_, ahead, words))


def join_clauses(clauses: t.Iterable[Clause]) -> str:
    return " ".join(clause.text for clause in clauses)


def clause(clauses: t.Iterable[Clause], key: str) -> str:
    return next((item.text for item in clauses if item.key == key), "")


def kind_of(text: str) -> str:
    """What kind of object in a database a statement of the server makes: a table, where it says nothing else."""
    words = clause(split_clauses(text), "head").upper().split()
    return {"VIEW": "view", "MATERIALIZED": "materialized_view", "DICTIONARY": "dictionary"}.get(words[1], "table")


def replace_clause(clauses: t.Iterable[Clause], key: str, text: str) -> list[Clause]:
    return [Clause(key, text) if item.key == key else item for item in clauses]


def engine_of(text: str) -> tuple[str, list[str]]:
    """Name and arguments of the table engine in a statement or an C(ENGINE) clause; an empty name when there is none."""
    tokens = tokenize(text)
    _start, named = _engine_at(tokens)
    if not named:
        return "", []
    opened = named + 1
    if opened < len(tokens) and tokens[opened].text == "(" and tokens[opened].depth == 0:
        return tokens[named].text, [text[start:end] for start, end in _arguments(tokens, opened)]
    return tokens[named].text, []


def _engine_at(tokens: t.Sequence[Token]) -> tuple[int, int]:
    """Where C(ENGINE) stands, and where the engine's name; the sign between them may be left out."""
    bare = (0, 0)
    for index, token in enumerate(tokens[:-1]):
        if token.depth == 0 and token.is_("ENGINE"):
            if tokens[index + 1].text == "=" and index + 2 < len(tokens):
                return index, index + 2
            if not bare[1] and tokens[index + 1].kind == "word" and not (index and tokens[index - 1].text == "."):
                bare = index, index + 1
    return bare


def _arguments(tokens: t.Sequence[Token], opened: int) -> list[tuple[int, int]]:
    """Spans of the arguments in the parenthesis that opens at a token."""
    depth = tokens[opened].depth
    spans: list[tuple[int, int]] = []
    group: list[Token] = []
    for token in tokens[opened + 1 :]:
        if token.depth == depth or (token.text == "," and token.depth == depth + 1):
            if group:
                spans.append((group[0].start, group[-1].end))
            group = []
            if token.depth == depth:
                break
        else:
            group.append(token)
    return spans


def arguments(text: str) -> list[str]:
    """What the first parenthesis of a text holds, cut at its commas."""
    return [text[start:end] for start, end in argument_spans(text)]


def argument_spans(text: str) -> list[tuple[int, int]]:
    """Where each of C(arguments) stands."""
    tokens = tokenize(text)
    opened = next((index for index, token in enumerate(tokens) if token.text == "("), None)
    return [] if opened is None else _arguments(tokens, opened)


def alter_commands(statement: str) -> list[str]:
    """Commands of an C(ALTER TABLE), without the parentheses around each."""
    tokens = tokenize(statement)
    start = 5 if len(tokens) > 3 and tokens[3].text == "." else 3
    groups: list[list[Token]] = [[]]
    for token in tokens[start:]:
        if token.text == "," and token.depth == 0:
            groups.append([])
        else:
            groups[-1].append(token)
    texts = [group[1:-1] if group[0].text == "(" and group[-1].text == ")" else group for group in groups if group]
    return [statement[group[0].start : group[-1].end] for group in texts if group]


def engine_clause(name: str, arguments: t.Sequence[str]) -> str:
    return f"ENGINE = {name}({', '.join(arguments)})" if arguments else f"ENGINE = {name}"


def with_engine(text: str, engine: str) -> str:
    """A statement, as somebody wrote it, with another C(ENGINE = name(arguments))."""
    tokens = tokenize(text)
    start, end = _engine_at(tokens)
    if end + 1 < len(tokens) and tokens[end + 1].text == "(":
        end = next(index for index in range(end + 2, len(tokens)) if tokens[index].text == ")" and tokens[index].depth == 0)
    return text[: tokens[start].start] + engine + text[tokens[end].end :]


def replica_path(arguments: t.Sequence[str]) -> list[str]:
    """The ZooKeeper path and replica name among the arguments of a Replicated engine, if they are given."""
    given = arguments[:2]
    return list(given) if len(given) == 2 and all(argument.startswith("'") for argument in given) else []


def without_replicas(clauses: t.Sequence[Clause]) -> list[Clause]:
    """A table's definition with the plain engine in place of the Replicated one; any other as it is."""
    name, arguments = engine_of(clause(clauses, "engine"))
    if not name.startswith("Replicated"):
        return list(clauses)
    plain = engine_clause(name[len("Replicated") :], arguments[len(replica_path(arguments)) :])
    return replace_clause(clauses, "engine", plain)


def fill(want: list[Clause], have: list[Clause], macros: t.Mapping[str, str]) -> list[Clause]:
    """A canonical declaration with what the server fills in by itself where it was left open.

    Only that: the path of a replicated table, C(index_granularity), C(ORDER BY) from C(PRIMARY KEY) or where there is
    none, C(PRIMARY KEY) where it is the same, the expression of C(EPHEMERAL), the column list and the definer of a view,
    the columns of a table that takes them from elsewhere, among an engine's arguments the quotes around names and the
    format that it guesses, the C(COMPLEX_KEY_) of a dictionary's layout, and C('[HIDDEN]') in place of an empty password.
    What remains different is drift.
    C(macros) are the server's and, as calls, the functions that it replaces by their values.
    """
    filled: list[Clause] = []
    for item in want:
        other = clause(have, item.key)
        text = item.text
        if item.key == "head":
            text = _fill_head(text, other)
        elif item.key == "engine":
            text = _fill_engine(text, other, macros)
        elif item.key == "settings":
            text = _fill_settings(text, other)
        elif item.key == "columns" and " EPHEMERAL" in text:
            text = _fill_ephemeral(text, other)
        elif item.key == "definer" and text == "DEFINER = CURRENT_USER":
            text = other if unquote(other.partition("= ")[2]) == macros.get("currentUser()") else text
        elif item.key == "primary_key":
            text = _fill_layout(text, other, clause(want, "columns"))
        if item.key != "fill":
            filled.append(Clause(item.key, _fill_empty_secrets(text, other)))
    keys = {item.key for item in filled}
    view = _VIEW.match(clause(have, "head")) is not None
    unsorted = not clause(want, "primary_key") and not clause(want, "order_by")
    for item in have:
        granularity = settings(item.text).get("index_granularity") if item.key == "settings" else None
        implied = item.key in ("columns", "definer", "security") and view
        implied = implied or (item.key == "columns" and not clause(want, "source"))
        implied = implied or (item.text == "ORDER BY tuple()" and unsorted)
        sorted_by_key = item.text.replace("ORDER BY", "PRIMARY KEY", 1) == clause(want, "primary_key") != ""
        if item.key not in keys and granularity:
            filled.append(Clause("settings", f"SETTINGS index_granularity = {granularity}"))
        elif item.key not in keys and (implied or sorted_by_key):
            filled.append(item)
    filled = _fill_primary_key(filled, clause(have, "primary_key"))
    order = [item.key for item in have]
    if {item.key for item in filled} == set(order):
        filled.sort(key=lambda item: order.index(item.key))
    else:
        filled.sort(key=lambda item: _ORDER.index(item.key))
    return filled


def _fill_head(want: str, have: str) -> str:
    """Take over the server's head where both name the same kind of object (it may carry a UUID)."""
    return have if want.split()[:2] == have.split()[:2] else want


def inner_table(view: str, engine: str) -> str:
    """The name of the table in which a materialized view keeps its rows, where its C(ENGINE) clause has it in the path in ZooKeeper."""
    named = _INNER.search(engine)
    return named.group() if named else f".inner.{view}"


def _fill_primary_key(want: list[Clause], have: str) -> list[Clause]:
    """A primary key that is the sorting key may be said or not."""
    same = clause(want, "order_by").replace("ORDER BY", "PRIMARY KEY", 1)
    if not same or {clause(want, "primary_key"), have} != {"", same}:
        return want
    return [part for part in want if part.key != "primary_key"] + ([Clause("primary_key", have)] if have else [])


def _fill_layout(want: str, have: str, columns: str) -> str:
    """The server writes C(COMPLEX_KEY_) before a dictionary's layout where its key is not one number."""
    ours, theirs = _LAYOUT.search(want), _LAYOUT.search(have)
    if ours is None or theirs is None or theirs.group(1) != f"COMPLEX_KEY_{ours.group(1)}":
        return want
    key = [unquote(name.strip()) for name in want[len("PRIMARY KEY") :].partition(" SOURCE")[0].strip(" ()").split(",")]
    kinds = {unquote(tokens[0].text): tokens[1].text for tokens in map(tokenize, arguments(columns)) if len(tokens) > 1}
    if len(key) == 1 and _NUMERIC_TYPE.match(kinds.get(key[0], "")):
        return want
    return want[: ours.start(1)] + theirs.group(1) + want[ours.end(1) :]


def _fill_empty_secrets(want: str, have: str) -> str:
    """The server shows an empty password as a hidden one."""
    if HIDDEN not in have or "''" not in want:
        return want
    spans = [our for our, their in _aligned(want, have) if our.text == "''" and their.text == HIDDEN]
    for token in reversed(spans):
        want = want[: token.start] + HIDDEN + want[token.end :]
    return want


def _fill_ephemeral(want: str, have: str) -> str:
    """C(EPHEMERAL) without an expression is shown with one when the column came by C(ALTER TABLE)."""
    theirs = {tokenize(piece)[0].text: piece for piece in arguments(have)}
    pieces = arguments(want)
    for number, piece in enumerate(pieces):
        other = theirs.get(tokenize(piece)[0].text, "")
        if _EPHEMERAL.sub(r"\1", other) == _EPHEMERAL.sub(r"\1", piece):
            pieces[number] = other
    return f"({', '.join(pieces)})"


def _fill_engine(want: str, have: str, macros: t.Mapping[str, str]) -> str:
    name, arguments = engine_of(want)
    have_name, have_arguments = engine_of(have)
    if name != have_name:
        return want
    if name.startswith("Replicated"):
        path, have_path = replica_path(arguments), replica_path(have_arguments)
        if not path or [_expand(item, macros) for item in path] == [_expand(item, macros) for item in have_path]:
            arguments = have_path + arguments[len(path) :]
    elif len(arguments) == len(have_arguments) or (name in _GUESSED_FORMAT and len(arguments) < len(have_arguments)):
        session = {"''": macros.get("currentDatabase()")} if name in SESSION_DATABASE else {}
        known = {**macros, **session}
        same = [unquote(theirs) in (unquote(ours), known.get(ours)) for ours, theirs in zip(arguments, have_arguments)]
        if all(same):
            arguments = have_arguments
        else:
            arguments = [theirs if equal else ours for ours, theirs, equal in zip(arguments, have_arguments, same)]
    return engine_clause(name, arguments) + _behind_engine(want)


def _behind_engine(text: str) -> str:
    """What an C(ENGINE) clause says after name and arguments (nothing, as far as the server's own text goes)."""
    tokens = tokenize(text)
    end = tokens[2].end
    if len(tokens) > 3 and tokens[3].text == "(":
        end = next(token.end for token in tokens[4:] if token.text == ")" and token.depth == 0)
    return text[end:]


def _expand(text: str, macros: t.Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: macros.get(match.group(1), match.group()), unquote(text))


def settings(text: str) -> dict[str, str]:
    """Settings of a C(SETTINGS) clause."""
    tokens = tokenize(text)[1:]
    found: dict[str, str] = {}
    group: list[Token] = []
    for token in [*tokens, Token("other", ",", len(text), len(text), 0)]:
        if token.text == "," and token.depth == 0:
            if len(group) > 2:
                found[group[0].text] = text[group[2].start : group[-1].end]
            group = []
        else:
            group.append(token)
    return found


def _fill_settings(want: str, have: str) -> str:
    ours, theirs = settings(want), settings(have)
    if "index_granularity" in theirs:
        ours.setdefault("index_granularity", theirs["index_granularity"])
    if ours == theirs:
        return have
    return settings_clause(ours)


def settings_clause(values: t.Mapping[str, str]) -> str:
    """The opposite of C(settings)."""
    return "SETTINGS " + ", ".join(f"{name} = {value}" for name, value in values.items())


def with_settings(clauses: t.Iterable[Clause], values: t.Mapping[str, str]) -> list[Clause]:
    """A table's definition with more settings, or other values of them."""
    parts = list(clauses)
    return with_clause(parts, Clause("settings", settings_clause({**settings(clause(parts, "settings")), **values})))


def with_clause(clauses: t.Iterable[Clause], added: Clause) -> list[Clause]:
    """A definition with a clause, which stands at its place; another of its kind is replaced."""
    return sorted([*(part for part in clauses if part.key != added.key), added], key=lambda part: _ORDER.index(part.key))


def collection_entries(text: str) -> dict[str, tuple[str, str]]:
    """Keys of a C(CREATE NAMED COLLECTION): the value as it is written, and C(OVERRIDABLE), C(NOT OVERRIDABLE) or nothing."""
    tokens = tokenize(text)
    start = next((index for index, token in enumerate(tokens) if token.is_("AS")), -1) + 1
    found: dict[str, tuple[str, str]] = {}
    group: list[Token] = []
    for token in [*tokens[start:], Token("other", ",", len(text), len(text), 0)]:
        if token.text != ",":
            group.append(token)
            continue
        if len(group) < 3 or group[1].text != "=":
            raise DDLError("a named collection is written AS key = value [[NOT] OVERRIDABLE], ...")
        flag = " ".join(item.text.upper() for item in group[3:] if item.kind == "word")
        sign = group[2].text == "-"
        found[unquote(group[0].text)] = (text[group[2].start : group[2 + sign].end], flag)
        group = []
    return found


def holds_hidden(text: str) -> bool:
    """Whether a secret of a statement is C('[HIDDEN]'): it was copied from what a server shows."""
    if "[HIDDEN]" not in text:
        return False
    tokens = tokenize(text)
    collection = _matches(tokens, 0, ("CREATE", "NAMED", "COLLECTION")) and any(token.text == HIDDEN for token in tokens)
    return collection or "[HIDDEN]" in secret_literals(text)


def secret_literals(text: str) -> set[str]:
    """Values of the string literals that hold a password or key, as far as the statement alone tells."""
    tokens = tokenize(text)
    found: set[str] = set()
    database = _matches(tokens, 0, ("CREATE", "DATABASE"))
    for index, token in enumerate(tokens):
        if token.kind in ("other", "number"):
            continue
        if token.kind == "word" and index + 1 < len(tokens) and tokens[index + 1].text == "(":
            found |= _secret_argument(token.text, [text[start:end] for start, end in _arguments(tokens, index + 1)], database)
        if (
            token.kind in ("word", "quoted")
            and index + 2 < len(tokens)
            and tokens[index + 1].text == "="
            and tokens[index + 2].kind == "string"
            and _SECRET_NAME.search(token.text)
        ):
            found.add(unquote(tokens[index + 2].text))
        # All values of headers('name' = 'value', ...).
        if token.is_("HEADERS") and index + 1 < len(tokens) and tokens[index + 1].text == "(":
            pairs = [tokenize(text[start:end]) for start, end in _arguments(tokens, index + 1)]
            found.update(unquote(pair[-1].text) for pair in pairs if len(pair) > 1 and pair[-1].kind == "string")
        # PASSWORD '...' among the parameters of a dictionary's source.
        if token.kind == "word" and index + 1 < len(tokens) and tokens[index + 1].kind == "string" and _SECRET_NAME.search(token.text):
            found.add(unquote(tokens[index + 1].text))
        if token.kind == "string":
            found.update(_URL_PASSWORD.findall(unquote(token.text)), _ACCOUNT_KEY.findall(unquote(token.text)))
    return {value for value in found if value}


def _secret_argument(name: str, values: t.Sequence[str], database: bool) -> set[str]:
    """The argument of an engine or table function that is a password or key."""
    rules = _SECRET_ARGUMENTS.get(name) or _SECRET_ARGUMENTS.get(name.lower(), ())
    position = next((position for count, position in rules if len(values) >= count), None)
    if database:
        position = _DATABASE_SECRETS.get(name.lower())
    if position is None or position >= len(values) or values[position][0] != "'":
        return set()
    value = unquote(values[position])
    if name.lower() not in _OBJECT_STORAGES:
        return {value}
    if _NO_SECRET.match(value) or unquote(values[position - 1]).upper() == "NOSIGN":
        return set()
    # The token of a session stands between the key and the format.
    rest = [unquote(text) for text in values[position + 1 : position + 2] if text[0] == "'" and len(values) > position + 2]
    return {value, *(text for text in rest if not _FORMAT.match(text) and not _NO_SECRET.match(text))}


def hidden_literals(ours: str, theirs: str) -> set[str]:
    """Values of our string literals where the server, in the same place, shows that it hides one."""
    found = {unquote(our.text) for our, their in _aligned(ours, theirs) if their.text == HIDDEN and our.kind == "string"}
    return {value for value in found if value}


def _aligned(ours: str, theirs: str) -> list[tuple[Token, Token]]:
    """Tokens that stand in the same place of two texts, up to where their structure differs."""
    pairs: list[tuple[Token, Token]] = []
    for our, their in zip(tokenize(ours), tokenize(theirs)):
        if our.text != their.text and "other" in (our.kind, their.kind):
            break
        pairs.append((our, their))
    return pairs


def mask(text: str, secrets: t.Collection[str]) -> str:
    """The text with secrets hidden: whole literals as the server hides them, and passwords inside URLs."""
    if not secrets:
        return text
    pieces: list[str] = []
    position = 0
    for token in tokenize(text):
        if token.kind != "string":
            continue
        value = unquote(token.text)
        shown = token.text
        if value in secrets:
            shown = HIDDEN
        else:
            for secret in secrets:
                shown = shown.replace(f":{secret}@", ":[HIDDEN]@").replace(f"AccountKey={secret}", "AccountKey=[HIDDEN]")
        pieces += [text[position : token.start], shown]
        position = token.end
    return "".join(pieces) + text[position:]


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
