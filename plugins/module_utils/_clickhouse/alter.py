# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one definition to another: which C(ALTER) commands lead there, and what they would cost (private: may change at any time).

Pure, and no judge of what the server can do: the server rehearses the commands on a twin of the table before the
first change (C(rehearsal)), so that a command it refuses, or one that leads elsewhere, is no plan.
"""

from __future__ import annotations

import functools
import re
import typing as t
from dataclasses import dataclass, field

from . import argument_specs, sql_clauses, sql_tokens
from . import change as planned

_DEFAULTS = ("DEFAULT", "MATERIALIZED", "ALIAS", "EPHEMERAL")
# Parts of a column behind its type, in the order in which the server writes them.
_POLICY = "storage_policy"
_PARTS = (*_DEFAULTS, "COMMENT", "CODEC", "STATISTICS", "TTL", "SETTINGS")
_ITEMS = ("INDEX", "CONSTRAINT", "PROJECTION")
# Kinds of default whose values are not kept on disk.
_UNSTORED = ("ALIAS", "EPHEMERAL")


@dataclass(frozen=True)
class Column:
    """One column of a definition: its text as the server writes it, and the parts of that."""

    name: str
    text: str
    type: str
    parts: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def default_kind(self) -> str:
        return next((kind for kind in _DEFAULTS if kind in self.parts), "")

    @property
    def definition(self) -> str:
        """Its text as commands take it, where more may follow: C(EPHEMERAL) alone would take that for its expression."""
        if self.parts.get("EPHEMERAL") != "":
            return self.text
        head = f"{sql_tokens.tokenize(self.text)[0].text} {self.type} EPHEMERAL"
        return f"{head} defaultValueOfTypeName({sql_tokens.quote_string(self.type)}){self.text[len(head) :]}"

    @property
    def settings(self) -> dict[str, str]:
        return sql_clauses.parse_settings(f"SETTINGS {self.parts['SETTINGS'][1:-1]}") if "SETTINGS" in self.parts else {}


@dataclass(frozen=True)
class Elements:
    """What stands between the parentheses of a table: columns, and by their keyword indices, constraints and projections."""

    columns: t.Mapping[str, Column]
    items: t.Mapping[str, t.Mapping[str, str]]

    @property
    def texts(self) -> dict[tuple[str, str], str]:
        """All of them in the server's order, by keyword (of columns: none) and name."""
        columns = {("", name): column.text for name, column in self.columns.items()}
        return {**columns, **{(keyword, name): text for keyword, items in self.items.items() for name, text in items.items()}}


@functools.lru_cache(maxsize=4096)
def parse_elements(text: str) -> Elements:
    """Take a column list in the server's own words apart."""
    columns = {}
    items: dict[str, dict[str, str]] = {keyword: {} for keyword in _ITEMS}
    for piece in sql_tokens.split_arguments(text):
        tokens = sql_tokens.tokenize(piece)
        if tokens[0].kind == "quoted":
            column = _parse_column(piece, tokens)
            columns[column.name] = column
        elif tokens[0].text.upper() in _ITEMS:
            items[tokens[0].text.upper()][tokens[1].value] = piece
    return Elements(columns, items)


def parse_columns(clauses: sql_clauses.Clauses) -> t.Mapping[str, Column]:
    """Columns of a table, attributes of a dictionary."""
    return parse_elements(sql_clauses.clause_text(clauses, "columns")).columns


def _parse_column(piece: str, tokens: t.Sequence[sql_tokens.Token]) -> Column:
    starts: list[tuple[str, int, int]] = []
    rank = 0
    for index, token in enumerate(tokens):
        word = token.text.upper()
        if token.kind != "word" or token.depth or word not in _PARTS or _PARTS.index(word) < rank:
            continue
        if not sql_clauses.is_name_in_expression(tokens, index):
            starts.append((word, token.start, token.end))
            rank = max(_PARTS.index(word) + 1, len(_DEFAULTS) if word in _DEFAULTS else 0)
    ends = [start for _word, start, _end in starts[1:]] + [len(piece)]
    kind = piece[tokens[0].end : starts[0][1] if starts else len(piece)].strip()
    parts = {word: piece[end:stop].strip() for (word, _start, end), stop in zip(starts, ends)}
    return Column(tokens[0].value, piece, kind, parts)


def plan_alter(name: str, have: sql_clauses.Clauses, want: sql_clauses.Clauses, *, materialize: bool = False) -> planned.Change:
    """What leads from one table to another of the same C(name), quoted where it has to be. Both are clauses in the server's own words.

    With C(materialize) new indices and projections are also built for the parts that are there.

    One statement where the server allows it: it checks all commands before it does the first. What goes before it: columns that make
    place for columns below their name (C(b) for C(b.x)); a server that does both at once while it rewrites rows dies (26.7). So does a
    storage policy, among whose volumes the server looks for those that a TTL names. What goes after it: columns that others were computed
    from, for the server asks the table as it is before. The second of the halves only drops columns. The sample is of a row that shows
    whether the server can rewrite one.
    """
    old, new = parse_elements(sql_clauses.clause_text(have, "columns")), parse_elements(sql_clauses.clause_text(want, "columns"))
    needs: list[tuple[str, str]] = []
    different = [key for key in ("engine", "partition_by") if sql_clauses.clause_text(have, key) != sql_clauses.clause_text(want, key)]
    different += ["primary_key"] if _primary_key(have) != _primary_key(want) else []
    impossible = [f"{key.upper().replace('_', ' ')} cannot be altered" for key in different]
    dropped, added = _plan_items(old, new, materialize)
    kept = {name: column for name, column in old.columns.items() if name not in new.columns or not _is_recreated(column, new.columns[name])}
    anew = [f"DROP COLUMN {sql_tokens.quote_name(name)}" for name in old.columns if name not in kept]
    columns = _plan_columns(kept, new.columns, needs)
    gone = [column for name, column in old.columns.items() if name not in new.columns]
    lost = [column.name for column in gone if column.default_kind not in _UNSTORED]
    needs += [(argument_specs.DROP_COLUMN, f"column {name} and its values would be dropped{_rename_hint(name, old, new)}") for name in lost]
    used = _computed_from(kept[name] for name in new.columns if name in kept)
    drops = {column.name: f"DROP COLUMN {sql_tokens.quote_name(column.name)}" for column in gone}
    below = {name.rpartition(".")[0] for name in new.columns if name not in old.columns}
    earlier = [text for name, text in drops.items() if name in below and name not in used]
    if earlier:
        earlier, dropped = [*dropped, *earlier], []
    policy, settings = _settings_commands(have, want)
    casts = [_cast(kept[name], column) for name, column in new.columns.items() if name in kept]
    rewrites = any(column.type != new.columns[name].type for name, column in kept.items() if name in new.columns)
    rewrites = rewrites or _column_ttls(have, old) != _column_ttls(want, new)
    stored = [name for name, column in old.columns.items() if column.default_kind in ("", "DEFAULT")]
    now = [text for column, text in drops.items() if column not in used | below]
    later = [text for column, text in drops.items() if column in used]
    commands = [*dropped, *anew, *columns, *now, *added, *_table_clauses(have, want), *settings]
    first = [command for command in commands if command not in now]
    change = planned.Change(
        _alter_statements(name, earlier, commands, later),
        tuple(needs),
        tuple(impossible),
        tuple(filter(None, casts)),
        tuple(stored) if rewrites else (),
        _columns_computed_from_dropped(old, new, lost),
        sql_clauses.is_replicated(want),
        name,
        halves=(_alter_statements(name, earlier, first), _alter_statements(name, [*now, *later])) if now or later else (),
    )
    return change.after(*_alter_statements(name, policy))


def _alter_statements(name: str, *lists: t.Sequence[str]) -> tuple[str, ...]:
    """A statement for each list of commands."""
    return tuple(f"ALTER TABLE {name} " + ", ".join(f"({command})" for command in commands) for commands in lists if commands)


def _rename_hint(name: str, old: Elements, new: Elements) -> str:
    """The hint that a column which goes may be one that comes, under another name."""
    same = [other for other, column in new.columns.items() if other not in old.columns and column.type == old.columns[name].type]
    return f"; if {same[0]} is its new name, declare renamed_columns: {{{same[0]}: {name}}}" if len(same) == 1 else ""


def _columns_computed_from_dropped(old: Elements, new: Elements, lost: t.Sequence[str]) -> dict[str, str]:
    """Columns whose values, as far as they were never written, are computed from one that is dropped; with that one's name."""
    found = {}
    for name, column in old.columns.items():
        if name in new.columns and column.default_kind == "DEFAULT":
            used = [other for other in lost if other in _computed_from([column])]
            if used:
                found[name] = ", ".join(used)
    return found


def remove_expressions(parts: sql_clauses.Clauses, uses: t.Callable[[str], bool]) -> sql_clauses.Clauses:
    """A table without the expressions that C(uses) says yes to."""
    found = parse_elements(sql_clauses.clause_text(parts, "columns"))
    pieces = [
        _column_text(column, {part: text for part, text in column.parts.items() if not uses(text)}) for column in found.columns.values()
    ]
    pieces += [text for items in found.items.values() for text in items.values() if not uses(text)]
    kept = [part for part in parts if part.key != "ttl" or not uses(part.text)]
    return sql_clauses.replace_clause(kept, "columns", f"({', '.join(pieces)})")


def restore_expressions(
    parts: sql_clauses.Clauses, declared: sql_clauses.Clauses, uses: t.Callable[[str], bool], spelt: t.Callable[[str], str]
) -> sql_clauses.Clauses:
    """What C(without) has left, as the server writes it, with the expressions as they are declared, in the words that C(spelt) gives."""
    ours, theirs = (parse_elements(sql_clauses.clause_text(side, "columns")) for side in (declared, parts))
    pieces = []
    for name, column in theirs.columns.items():
        again = {part: spelt(text) for part, text in ours.columns[name].parts.items() if uses(text)} if name in ours.columns else {}
        pieces.append(_column_text(column, {**column.parts, **again}) if again else column.text)
    pieces += [theirs.items[keyword].get(name, spelt(text)) for keyword, items in ours.items.items() for name, text in items.items()]
    found = sql_clauses.replace_clause(parts, "columns", f"({', '.join(pieces)})")
    ttl = sql_clauses.clause_text(declared, "ttl")
    if ttl and uses(ttl):
        place = next((index for index, part in enumerate(found) if part.key in ("settings", "comment")), len(found))
        found.insert(place, sql_clauses.Clause("ttl", spelt(ttl)))
    return found


def _column_text(column: Column, parts: t.Mapping[str, str]) -> str:
    """A column with other parts."""
    words = [f"{part} {parts[part]}".strip() if part != "CODEC" else f"CODEC{parts[part]}" for part in _PARTS if part in parts]
    return " ".join([sql_tokens.tokenize(column.text)[0].text, *([column.type] if column.type else []), *words])


def rename_commands(columns: t.Mapping[str, str]) -> str:
    """Commands of the C(ALTER TABLE) that gives columns (new to old) their names."""
    return ", ".join(f"(RENAME COLUMN {sql_tokens.quote_name(old)} TO {sql_tokens.quote_name(new)})" for new, old in columns.items())


def alias_commands(columns: t.Mapping[str, str], want: sql_clauses.Clauses) -> dict[str, str]:
    """Commands that keep former names of columns (new to old) as an C(ALIAS) of the new ones, by name."""
    new = parse_columns(want)
    return {
        old: f"ADD COLUMN {sql_tokens.quote_name(old)} {new[name].type} ALIAS {sql_tokens.quote_name(name)}"
        for name, old in columns.items()
        if old not in new and "." not in old and new[name].default_kind != "EPHEMERAL"
    }


def _primary_key(clauses: sql_clauses.Clauses) -> str:
    """That is the sorting key where it is not declared by itself, and stays as it is when the sorting key gets longer."""
    return sql_clauses.clause_text(clauses, "primary_key").removeprefix("PRIMARY KEY") or sql_clauses.clause_text(
        clauses, "order_by"
    ).removeprefix("ORDER BY")


def _plan_items(old: Elements, new: Elements, materialize: bool) -> tuple[list[str], list[str]]:
    """Indices, constraints and projections: those that differ, or stand behind one that does, are made anew at their place."""
    dropped = []
    added = []
    for keyword in _ITEMS:
        before, after = list(old.items[keyword].items()), list(new.items[keyword].items())
        same = 0
        while same < min(len(before), len(after)) and before[same] == after[same]:
            same += 1
        if keyword == "CONSTRAINT" or [item for item in before if item in after] != [item for item in after if item in before]:
            # A constraint has no place to be put at; an order that differs is made anew from where it does.
            kept = dict(before[:same])
        else:
            kept = dict(item for item in before if item in after)
        dropped += [f"DROP {keyword} {sql_tokens.quote_name(name)}" for name, _text in before if name not in kept]
        previous = ""
        for name, text in after:
            if name not in kept:
                place = "" if keyword == "CONSTRAINT" else f" AFTER {sql_tokens.quote_name(previous)}" if previous else " FIRST"
                added.append(f"ADD {text}{place}")
                if materialize and keyword != "CONSTRAINT":
                    added.append(f"MATERIALIZE {keyword} {sql_tokens.quote_name(name)}")
            previous = name
    return dropped, added


def _plan_columns(old: t.Mapping[str, Column], new: t.Mapping[str, Column], needs: list[tuple[str, str]]) -> list[str]:
    """What is added, changed and moved, in the order in which the table has it then."""
    commands = []
    order = [name for name in old if name in new]
    previous = ""
    for position, (name, column) in enumerate(new.items()):
        place = f" AFTER {sql_tokens.quote_name(previous)}" if previous else " FIRST"
        stays = position < len(order) and order[position] == name
        if name not in old:
            commands.append(f"ADD COLUMN {column.definition}{place}")
            # ADD COLUMN takes statistics and settings, and forgets them (26.7).
            if "STATISTICS" in column.parts:
                commands.append(f"ADD STATISTICS {sql_tokens.quote_name(name)} TYPE {column.parts['STATISTICS'][1:-1]}")
            if column.settings:
                pairs = ", ".join(f"{setting} = {value}" for setting, value in column.settings.items())
                commands.append(f"MODIFY COLUMN {sql_tokens.quote_name(name)} MODIFY SETTING {pairs}")
        else:
            commands += _modify_command(old[name], column, "" if stays else place, needs)
            order.remove(name)
        order.insert(position, name)
        previous = name
    return commands


def _is_recreated(old: Column, new: Column) -> bool:
    """C(EPHEMERAL) keeps no values, and there is no C(REMOVE EPHEMERAL); one without expression cannot be modified (26.7)."""
    differs = (old.type, old.default_kind, old.parts.get("EPHEMERAL")) != (new.type, new.default_kind, new.parts.get("EPHEMERAL"))
    return old.default_kind == "EPHEMERAL" and differs and (new.default_kind != "EPHEMERAL" or not old.parts["EPHEMERAL"])


def _computed_from(columns: t.Iterable[Column]) -> set[str]:
    """Names in the expressions of columns."""
    return {name for column in columns for name in sql_tokens.names_in(column.parts.get(column.default_kind, ""))}


def _column_ttls(clauses: sql_clauses.Clauses, found: Elements) -> dict[str, str]:
    """Of the table (without a name) and of columns."""
    ttls = {name: column.parts["TTL"] for name, column in found.columns.items() if "TTL" in column.parts}
    return {"": sql_clauses.clause_text(clauses, "ttl"), **ttls}


def _modify_command(old: Column, new: Column, place: str, needs: list[tuple[str, str]]) -> list[str]:
    name = sql_tokens.quote_name(new.name)
    commands = []
    differs = old.type != new.type or any(old.parts.get(part) != text for part, text in new.parts.items() if part != "STATISTICS")
    if differs or place:
        commands.append(f"MODIFY COLUMN {new.definition}{place}")
    statistics = new.parts.get("STATISTICS", "")
    if statistics and statistics != old.parts.get("STATISTICS"):
        # MODIFY COLUMN leaves them as they are (26.7).
        commands.append(f"{'MODIFY' if 'STATISTICS' in old.parts else 'ADD'} STATISTICS {name} TYPE {statistics[1:-1]}")
    commands += [f"MODIFY COLUMN {name} RESET SETTING {setting}" for setting in old.settings if setting not in new.settings]
    for part in old.parts:
        if part in new.parts or part == "SETTINGS" or (part in _DEFAULTS and new.default_kind):
            continue
        if part == "STATISTICS":
            commands.append(f"DROP STATISTICS {name}")
        else:
            commands.append(f"MODIFY COLUMN {name} REMOVE {part}")
    if old.type != new.type and not is_lossless_cast(old.type, new.type):
        needs.append((argument_specs.MODIFY_LOSSY, f"column {new.name} from {old.type} to {new.type} may lose values"))
    if new.default_kind in _UNSTORED and old.default_kind not in _UNSTORED:
        needs.append((argument_specs.MODIFY_LOSSY, f"column {new.name} would no longer keep its values ({new.default_kind})"))
    return commands


def _cast(old: Column, new: Column) -> str:
    if old.type == new.type or {old.default_kind, new.default_kind} & set(_UNSTORED) or is_lossless_cast(old.type, new.type):
        return ""
    # NULL becomes the default, which the server asks for.
    target = to_nullable(new.type) if is_nullable(old.type) and not is_nullable(new.type) else new.type
    # From one enumeration to another the server takes the numbers over, also those that have no name then.
    enums = all(kind.removeprefix("Nullable(").startswith("Enum") for kind in (old.type, target))
    source = f"toInt16({sql_tokens.quote_name(old.name)})" if enums else sql_tokens.quote_name(old.name)
    return f"_CAST({source}, {sql_tokens.quote_string(target)})"


def _table_clauses(have: sql_clauses.Clauses, want: sql_clauses.Clauses) -> list[str]:
    commands = []
    for key, remove in (("order_by", ""), ("sample_by", "REMOVE SAMPLE BY"), ("ttl", "REMOVE TTL"), ("comment", "MODIFY COMMENT ''")):
        old, new = sql_clauses.clause_text(have, key), sql_clauses.clause_text(want, key)
        if new and new != old:
            commands.append(f"MODIFY {new}")
        elif old and not new and remove:
            commands.append(remove)
    return commands


def _settings_commands(have: sql_clauses.Clauses, want: sql_clauses.Clauses) -> tuple[list[str], list[str]]:
    """What changes the storage policy, and what changes all other settings."""
    before, after = (sql_clauses.parse_settings(sql_clauses.clause_text(clauses, "settings")) for clauses in (have, want))
    changed = [f"{name} = {value}" for name, value in after.items() if before.get(name) != value]
    removed = [name for name in before if name not in after]
    policy = [pair for pair in changed if pair.startswith(f"{_POLICY} = ")]
    pairs = [pair for pair in changed if pair not in policy]
    commands = [f"MODIFY SETTING {', '.join(pairs)}"] if pairs else []
    commands += [f"RESET SETTING {', '.join(removed)}"] if removed else []
    return [f"MODIFY SETTING {pair}" for pair in policy], commands


def is_nullable(kind: str) -> bool:
    """Whether a type, in the server's own words, has NULL."""
    return kind.startswith(("Nullable(", "LowCardinality(Nullable("))


def to_nullable(kind: str) -> str:
    """A type that has none with NULL."""
    inner = kind.removeprefix("LowCardinality(")
    return f"Nullable({kind})" if inner == kind else f"LowCardinality(Nullable({inner})"


_NUMBER = re.compile(r"(U?)Int(\d+)\Z")


def is_lossless_cast(old: str, new: str) -> bool:
    """Whether every value of a type is a value of another, and stays the same. Both in the server's own words."""
    if old == new:
        return True
    (outer, inner), (new_outer, new_inner) = _type_name(old), _type_name(new)
    if new_outer == "Nullable" and outer != "Nullable":
        return is_lossless_cast(old, new_inner[0])
    if "LowCardinality" in (outer, new_outer):
        return is_lossless_cast(inner[0] if outer == "LowCardinality" else old, new_inner[0] if new_outer == "LowCardinality" else new)
    if outer == new_outer and outer in ("Nullable", "Array", "Map", "Tuple"):
        return len(inner) == len(new_inner) and all(_is_lossless_element_cast(*pair) for pair in zip(inner, new_inner))
    one, other = _NUMBER.match(outer), _NUMBER.match(new_outer)
    if one and other:
        bits, new_bits = int(one.group(2)), int(other.group(2))
        if one.group(1) == other.group(1):
            return new_bits >= bits
        return one.group(1) == "U" and new_bits > bits
    if outer.startswith("Enum") and new_outer.startswith("Enum"):
        return int(outer[4:]) <= int(new_outer[4:]) and set(inner) <= set(new_inner)
    if outer == new_outer == "Decimal":
        return inner[1] == new_inner[1] and int(inner[0]) <= int(new_inner[0])
    if (outer, new_outer) in (("DateTime", "DateTime"), ("DateTime64", "DateTime64")):
        # Time zones are for display.
        return [part for part in inner if not part.startswith("'")] == [part for part in new_inner if not part.startswith("'")]
    return (outer, new_outer) in (("Float32", "Float64"), ("Date", "Date32"))


def _is_lossless_element_cast(old: str, new: str) -> bool:
    """Elements of a tuple may have names, which have to stay."""
    old_words, new_words = old.split(" ", 1), new.split(" ", 1)
    if len(old_words) == len(new_words) == 2 and old_words[0] == new_words[0] and "(" not in old_words[0]:
        return is_lossless_cast(old_words[1], new_words[1])
    return is_lossless_cast(old, new)


def _type_name(text: str) -> tuple[str, list[str]]:
    name, opened, _rest = text.partition("(")
    return name, sql_tokens.split_arguments(text) if opened else []
