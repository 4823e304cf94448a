# GNU General Public License v3.0+ (see LICENSE)
"""Random definitions of a MergeTree table, for tests that change any into any other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_clauses import (
    clause_text,
    join_clauses,
    parse_settings,
    replace_clause,
    split_clauses,
)
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import quote_string
from hypothesis import strategies as st


def table(columns: str, rest: str = "ENGINE = MergeTree ORDER BY k") -> str:
    return f"CREATE TABLE d.t ({columns}) {rest}"


# Definitions over the option space: a key that stays, other columns, indices, constraints, projections, clauses.
TYPES = (
    *("UInt8", "UInt16", "UInt64", "Int16", "Int64", "Int128", "Float32", "Float64", "Bool", "String", "FixedString(4)", "UUID", "IPv4"),
    *("Date", "Date32", "DateTime", "DateTime('UTC')", "DateTime64(3)", "LowCardinality(String)", "Nullable(UInt8)", "Nullable(String)"),
    *("Array(UInt8)", "Array(UInt32)", "Array(Nullable(String))", "Map(String, UInt8)", "Tuple(x UInt8, y String)", "Nested(x UInt8)"),
    *("Decimal(9, 2)", "Decimal(18, 2)", "Enum8('a' = 1)", "Enum8('a' = 1, 'b' = 2)"),
    *("Variant(String, UInt8)", "Dynamic", "JSON", "JSON(a UInt8)"),
)
NAMES = ("a", "b", "c", "with space", "tick`", "ü", "select", "ttl", "comment", "SETTINGS", "codec")
BLOCKS = ("min_compress_block_size", "max_compress_block_size")
NUMERIC = ("UInt8", "UInt16", "UInt64", "Int16", "Int64")
WIDER = {("UInt8", "UInt16"), ("UInt8", "UInt64"), ("UInt16", "UInt64"), ("UInt8", "Int16"), ("UInt16", "Int64"), ("Int16", "Int64")}
WORDS = ("String", "LowCardinality(String)")
# What generateRandom does not make, or makes only in the columns' own words.
NOT_RANDOM = ("Nested(x UInt8)", "Variant(String, UInt8)", "Dynamic", "JSON", "JSON(a UInt8)")


def quoted(name: str) -> str:
    return "`" + name.replace("`", "\\`") + "`"


@dataclass(frozen=True)
class Random:
    """A table, the types of its columns other than the key, and what can be inserted into them."""

    text: str
    types: Mapping[str, str]
    computed: Collection[str]

    @property
    def insert(self) -> str:
        """Rows with other values in every column that takes them, always the same."""
        names = [name for name, kind in self.types.items() if name not in self.computed and kind not in NOT_RANDOM]
        columns = "".join(f", {quoted(name)}" for name in names)
        if not names:
            return "INSERT INTO d.t (k) SELECT number FROM numbers(20)"
        structure = ", ".join(f"{quoted(name)} {self.types[name]}" for name in names)
        rows = f"SELECT rowNumberInAllBlocks(){columns} FROM generateRandom({quote_string(structure)}, 1, 5, 3) LIMIT 20"
        return f"INSERT INTO d.t (k{columns}) {rows}"


@st.composite
def definitions(draw: st.DrawFn) -> Random:
    """Over the option space; some are of no use to the server."""

    def one_in(number: int) -> bool:
        return draw(st.integers(1, number)) == number

    def choice(*values: str) -> str:
        return draw(st.sampled_from(values))

    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    columns: dict[str, str] = {}
    types: dict[str, str] = {}
    computed: dict[str, str] = {}
    for name in names:
        kind = types[name] = draw(st.sampled_from(TYPES))
        text = f"{quoted(name)} {kind}"
        if kind in NUMERIC and draw(st.booleans()):
            default = choice("DEFAULT", "MATERIALIZED", "ALIAS")
            numbers = [quoted(other) for other in types if types[other] in NUMERIC and other != name]
            text += f" {default} {choice('k', *numbers)} + {draw(st.integers(0, 3))}"
            if default != "DEFAULT":
                computed[name] = default
        elif kind in WORDS and one_in(3):
            text += f" DEFAULT {choice(quote_string('x'), 'toString(k)', 'hex(toString(k + 1))')}"
        elif kind in NUMERIC and one_in(6):
            text += " EPHEMERAL"
            computed[name] = "EPHEMERAL"
        if one_in(4):
            text += " COMMENT " + choice("'x'", "'it''s'", "'two\\nlines'")
        if computed.get(name) not in ("ALIAS", "EPHEMERAL"):
            if one_in(4):
                text += f" CODEC({choice('ZSTD(1)', 'ZSTD(3)', 'LZ4', 'NONE')})"
            if one_in(8) and kind in NUMERIC:
                text += f" STATISTICS({choice('tdigest', 'minmax', 'uniq, minmax')})"
            if one_in(6):
                text += f" TTL toDateTime(k) + INTERVAL {draw(st.integers(90, 91))} YEAR"
            if one_in(8):
                sizes = draw(st.dictionaries(st.sampled_from(BLOCKS), st.integers(65536, 65537), min_size=1))
                text += f" SETTINGS ({', '.join(f'{name} = {value}' for name, value in sizes.items())})"
        columns[name] = text
    place = draw(st.integers(0, len(names)))
    parts = [*list(columns.values())[:place], "k UInt32", *list(columns.values())[place:]]
    stored = [name for name in names if computed.get(name) not in ("ALIAS", "EPHEMERAL")]
    numbers = [quoted(name) for name in stored if types[name] in NUMERIC]
    words = [quoted(name) for name in stored if types[name] in WORDS]
    for index in draw(st.lists(st.sampled_from(("i1", "i2", "i3")), unique=True, max_size=3)):
        kinds = [("minmax", "k"), ("set(10)", "k"), ("bloom_filter(0.01)", "k * 2")] + [("minmax", name) for name in numbers]
        kinds += [(kind, name) for kind in ("bloom_filter", "tokenbf_v1(256, 2, 0)", "ngrambf_v1(3, 256, 2, 0)") for name in words]
        kind, over = draw(st.sampled_from(kinds))
        parts.append(f"INDEX {index} {over} TYPE {kind} GRANULARITY {draw(st.integers(1, 2))}")
    for constraint in draw(st.lists(st.sampled_from(("c1", "c2")), unique=True, max_size=2)):
        parts.append(f"CONSTRAINT {constraint} {choice('CHECK', 'ASSUME')} k < {draw(st.integers(1000, 1001))}")
    version = next((quoted(name) for name in stored if types[name] in NUMERIC[:3] and name not in computed), "")
    engine = choice("ReplacingMergeTree", "AggregatingMergeTree", "CoalescingMergeTree") if one_in(8) else "MergeTree"
    if version and one_in(10):
        engine = f"ReplacingMergeTree({version})"
    if engine == "MergeTree" and one_in(4):
        parts.append(f"PROJECTION p1 ({choice('SELECT count() GROUP BY k + 1', 'SELECT count() GROUP BY k', 'SELECT k ORDER BY k % 7')})")
    order = "ORDER BY k"
    if numbers and one_in(6):
        order = f"{choice('', 'PRIMARY KEY k ')}ORDER BY (k, {choice(*numbers)})"
    rest = f"ENGINE = {engine}{' PARTITION BY k % 3' if one_in(10) else ''} {order}{' SAMPLE BY k' if one_in(8) else ''}"
    if one_in(3):
        ttl = f"toDateTime(k) + INTERVAL {draw(st.integers(90, 91))} YEAR"
        rest += f" TTL {ttl}{choice('', ' RECOMPRESS CODEC(ZSTD(3))', ' WHERE k > 5', f', {ttl} + INTERVAL 1 DAY RECOMPRESS CODEC(LZ4)')}"
    chosen = draw(st.dictionaries(st.just("parts_to_throw_insert"), st.integers(1000, 1001)))
    if one_in(2):  # a file a column, as large parts have it
        chosen["min_bytes_for_wide_part"] = draw(st.integers(0, 1))
    if chosen:
        rest += " SETTINGS " + ", ".join(f"{name} = {value}" for name, value in chosen.items())
    if one_in(3):
        rest += " COMMENT " + choice("'one'", "'t''wo'")
    return Random(table(", ".join(parts), rest), types, computed)


def sorted_settings(text: str) -> str:
    """The order of settings has no meaning, and follows the order of changes."""
    clauses = split_clauses(text)
    pairs = sorted(parse_settings(clause_text(clauses, "settings")).items())
    return join_clauses(replace_clause(clauses, "settings", str(pairs)))
