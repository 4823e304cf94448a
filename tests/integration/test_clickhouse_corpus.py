# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions in the style of real products (corpus/): created, found as declared, and evolved beside the same done by hand."""

from __future__ import annotations

import contextlib
import io
import json
import re
import typing as t
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.create_statement import parse_create
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.sql_tokens import (
    quote_name,
    quote_string,
    split_arguments,
    tokenize,
    unquote,
)
from ansible_collections.groundwork.observability.plugins.modules import clickhouse_schema

from tests.support.clickhouse import ClickHouse, QueryError

pytestmark = pytest.mark.integration

Result = dict[str, t.Any]

CORPUS = Path(__file__).parent / "corpus"
EVOLUTIONS: list[Result] = yaml.safe_load((CORPUS / "evolutions.yml").read_text(encoding="utf-8"))
# Parts stay as they were inserted, so that both sides have the same rows at any time.
CONFIG = """
<merge_tree>
  <max_bytes_to_merge_at_max_space_in_pool>1</max_bytes_to_merge_at_max_space_in_pool>
  <max_bytes_to_merge_at_min_space_in_pool>1</max_bytes_to_merge_at_min_space_in_pool>
  <max_number_of_merges_with_ttl_in_pool>0</max_number_of_merges_with_ttl_in_pool>
</merge_tree>
"""
HAND = "hand_"
ROWS = 20


def family(templates: Sequence[str], members: Sequence[Result]) -> Iterator[str]:
    """Every template made for every member."""
    for member in members:
        values = {"parameters": "", **member}
        yield from (template.format(**values) for template in templates)


def definitions() -> dict[str, str]:
    """All of the corpus, by name."""
    texts: list[str] = []
    for path in sorted(CORPUS.glob("*.sql")):
        texts += [text for text in path.read_text(encoding="utf-8").split("\n\n") if "CREATE" in text]
    for entry in yaml.safe_load((CORPUS / "families.yml").read_text(encoding="utf-8")).values():
        texts += family(entry["templates"], entry["members"])
    found: dict[str, str] = {}
    for text in texts:
        create = parse_create(text)
        name = ".".join(part for part in (create.database, create.name) if part)
        assert name not in found, name
        found[name] = text
    return found


@dataclass
class World:
    """A server with the corpus: as declared, and made by hand beside it, in databases with C(hand_) before their names."""

    server: ClickHouse
    declared: dict[str, str]
    created: Result = field(default_factory=dict)

    @property
    def databases(self) -> list[str]:
        return sorted({name.partition(".")[0] for name in self.declared if "." in name})

    def by_hand(self, text: str) -> str:
        """The statement for what is made by hand."""
        return re.sub(rf"(?<![\w.`])({'|'.join(self.databases)})(?=\.|'|`\.)", rf"{HAND}\1", text)

    def objects(self, databases: Sequence[str]) -> list[Result]:
        names = [{"kind": "database", "name": name} for name in databases]
        return [*names, *({"ddl": text} for name, text in self.declared.items() if name.partition(".")[0] in databases or "." not in name)]

    def run(self, databases: Sequence[str], *, check: bool = False, allow: Sequence[str] = ()) -> Result:
        """Call the module."""
        where = {"login_host": self.server.host, "login_port": self.server.port, "secure": False, "retries": 0}
        arguments = {"objects": self.objects(databases), "allow": list(allow), "_ansible_check_mode": check, **where}
        output = io.StringIO()
        with patch_module_args(arguments), contextlib.redirect_stdout(output), pytest.raises(SystemExit):
            clickhouse_schema.main()
        assert "hunter2" not in output.getvalue()
        return dict(json.loads(output.getvalue().splitlines()[-1]))

    def texts(self, database: str) -> dict[str, str]:
        """Definitions of a database in the server's words, without what differs in every database."""
        query = f"SELECT name, create_table_query FROM system.tables WHERE database = '{database}' AND NOT startsWith(name, '.')"
        rows = self.server.query(f"{query} FORMAT JSONCompactEachRow").splitlines()
        return {name: text.replace(HAND, "") for name, text in map(json.loads, rows)}

    def rows(self, database: str) -> dict[str, str]:
        """Number and checksum of the rows of the tables of a database that keep any."""
        query = f"SELECT name FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree' AND total_rows > 0"
        names = [name for name in self.server.query(query).splitlines() if not name.startswith(".")]
        digest = "concat(toString(count()), ' ', toString(sum(cityHash64(formatRow('RowBinary', *)))))"
        each = [f"SELECT '{name}', {digest} FROM {database}.`{name}`" for name in names]
        return dict(line.split("\t") for line in self.server.query(" UNION ALL ".join(each)).splitlines()) if each else {}

    def fill(self) -> int:
        """Insert the same rows into both sides. Returns how many tables took some."""
        databases = ", ".join(map(quote_string, self.databases))
        query = (
            "SELECT database, table, arrayStringConcat(groupArray(concat('`', name, '` ', type)), ', ') FROM (SELECT * FROM system.columns"
            f" WHERE database IN ({databases}) AND default_kind IN ('', 'DEFAULT') ORDER BY position)"
            " WHERE (database, table) IN (SELECT database, name FROM system.tables WHERE engine LIKE '%MergeTree' OR engine = 'Null')"
            " AND NOT startsWith(table, '.') GROUP BY database, table ORDER BY ALL FORMAT JSONCompactEachRow"
        )
        filled = 0
        for number, line in enumerate(self.server.query(query).splitlines()):
            database, table, structure = json.loads(line)
            names = ", ".join(quote_name(unquote(tokenize(piece)[0].text)) for piece in split_arguments(f"({structure})"))
            source = f"generateRandom({quote_string(structure)}, {number + 1}, 6, 3) LIMIT {ROWS}"
            for prefix in ("", HAND):
                insert = f"INSERT INTO {prefix}{database}.`{table}` ({names}) SELECT * FROM {source}"
                with contextlib.suppress(QueryError):  # types that cannot be random, and what a constraint or a view refuses
                    self.server.query(insert, max_threads=1, max_insert_threads=1)
                    filled += not prefix
        return filled


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ClickHouse(CONFIG, cluster="one") as node:
        made = World(node, definitions())
        made.created = made.run(made.databases)
        assert "failed" not in made.created, made.created["msg"]
        for statement in made.created["statements"]:
            if "FUNCTION" not in statement.split("(")[0]:
                # Hidden passwords are as good as any.
                database = statement.startswith("CREATE DATABASE")
                node.query(statement.replace("DATABASE ", f"DATABASE {HAND}") if database else made.by_hand(statement))
        # What refreshes by itself would do so on both sides at different times.
        node.query("SYSTEM STOP VIEWS")
        assert made.fill() > 100
        yield made


def test_all_definitions_are_created_and_then_unchanged(world: World) -> None:
    """In one call each, in the words that the server has for the same statements sent by hand."""
    assert len(world.declared) >= 400
    assert len(EVOLUTIONS) >= 60
    assert {state["status"] for state in world.created["objects"]} == {"created"}
    assert len(world.created["statements"]) == len(world.declared) + len(world.databases)
    for check in (True, False):
        again = world.run(world.databases, check=check)
        assert "failed" not in again, again["msg"]
        assert again["statements"] == []
        assert {state["status"] for state in again["objects"]} == {"present"}
    for database in world.databases:
        assert world.texts(database) == world.texts(HAND + database)
        assert world.rows(database) == world.rows(HAND + database)


@pytest.mark.parametrize("number", range(len(EVOLUTIONS)))
def test_evolutions_are_what_is_done_by_hand(world: World, number: int) -> None:
    """In one call: the same definitions, the same rows, and nothing left to do."""
    evolution = EVOLUTIONS[number]
    for name, (old, new) in evolution["change"].items():
        assert old in world.declared[name]
        world.declared[name] = world.declared[name].replace(old, new)
    databases = sorted({name.partition(".")[0] for name in evolution["change"]})
    check = world.run(databases, check=True, allow=evolution.get("allow", ()))
    do = world.run(databases, allow=evolution.get("allow", ()))
    assert "failed" not in do, do["msg"]
    assert do["statements"] == check["statements"] != []
    for statement in evolution["by_hand"]:
        world.server.query(world.by_hand(statement), mutations_sync=2, alter_sync=2)
    for database in databases:
        assert world.texts(database) == world.texts(HAND + database)
        assert world.rows(database) == world.rows(HAND + database)
    assert world.run(databases)["statements"] == []
