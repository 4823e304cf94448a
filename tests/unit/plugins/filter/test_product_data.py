# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declarations of product data: the types of the README's tables, and what is refused."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.groundwork.observability.plugins.filter import product_data as filters
from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data
from ansible_collections.groundwork.observability.plugins.plugin_utils._product_types import Reading, mysql_reading, postgres_reading

README = Path(__file__).parents[4] / "roles" / "product_data" / "README.md"
SHOP = {"name": "shop", "type": "postgresql", "host": "db", "database": "shop", "user": "u"}
CRM = {**SHOP, "name": "crm", "type": "mysql"}
ORDERS = {"name": "orders", "source": "shop", "table": "orders", "keys": ["id"], "every": "15m"}
QUERY = {"name": "q", "source": "shop", "query": "SELECT 1 AS id", "columns": [{"name": "id", "type": "Int32"}], "every": "1h"}
LOCAL = {"name": "local", "type": "file"}
FILE = {"name": "f", "source": "local", "path": "a.csv", "format": "CSV", "columns": [{"name": "a", "type": "Int8"}], "every": "1h"}
# As the role reads it from system.tables.
TABLE = {"database": "product", "kind": "table", "has_rows": 1}
PASSWORDS = {"shop": "s3cret-1", "crm": "s3cret-2"}
ROW = {"table_name": "public.orders", "column_name": "id", "column_type": "bigint", "nullable": 0, "dimensions": 0, "is_enum": 0}


def documented(heading: str) -> list[tuple[str, str]]:
    """The rows of a table of types in the README."""
    table = README.read_text(encoding="utf-8").partition(f"| {heading} | ClickHouse | |\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", table, flags=re.MULTILINE)


def read(kind: str, of: str, nullable: bool) -> Reading:
    if of == "mysql":
        return mysql_reading("`c`", kind, nullable)
    return postgres_reading('"c"', kind, nullable, dimensions=1)


TYPES = [("postgresql", *row) for row in documented("PostgreSQL")] + [("mysql", *row) for row in documented("MySQL, MariaDB")]


def test_the_readme_has_the_tables() -> None:
    assert len(TYPES) > 40


@pytest.mark.parametrize(("of", "kind", "wanted"), TYPES)
def test_types_of_the_readme(of: str, kind: str, wanted: str) -> None:
    assert read(kind, of, nullable=False).type == wanted
    nullable = read(kind, of, nullable=True).type
    if wanted.startswith(("Nullable", "Array")):
        assert nullable == wanted
    else:
        assert nullable == (wanted.replace("(String)", "(Nullable(String))") if wanted.startswith("Low") else f"Nullable({wanted})")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("numeric(5,-2)", "Decimal(7, 0)"),
        ("numeric(3,5)", "Decimal(5, 5)"),
        ("numeric(76,10)", "Decimal(76, 10)"),
        ("numeric(77,10)", "String"),
        ("numeric(10)", "Decimal(10, 0)"),
        ("timestamp(3) without time zone", "Nullable(DateTime64(6, 'UTC'))"),
        ("character varying(10)", "String"),
        ("numeric(10,2)[]", "Array(Nullable(Decimal(10, 2)))"),
        ("numeric[]", "Array(Nullable(String))"),
        ("timestamp(3) with time zone[]", "Array(Nullable(String))"),
    ],
)
def test_further_types_of_postgres(kind: str, wanted: str) -> None:
    assert read(kind, "postgresql", nullable=False).type == wanted


def test_enumerations_and_dimensions_of_postgres() -> None:
    assert postgres_reading('"c"', "mood", True, is_enum=True).type == "LowCardinality(Nullable(String))"
    assert postgres_reading('"c"', "integer[]", True, dimensions=2).type == "Array(Array(Nullable(Int32)))"


EVERY = {"15m": "15 MINUTE", "90s": "90 SECOND", "24h": "1 DAY", "1h30m": "90 MINUTE", "2h": "2 HOUR"}


@pytest.mark.parametrize(("every", "wanted"), EVERY.items())
def test_interval(every: str, wanted: str) -> None:
    data = product_data.ProductData("product", [SHOP], [{**QUERY, "every": every}], {"shop": "s3cret-1"})
    assert f" REFRESH EVERY {wanted} " in str(product_data.wanted(data, [], [], rehearsal=False).objects)


def options(**more: t.Any) -> dict[str, t.Any]:
    return {"database": "product", "sources": [SHOP, CRM], "snapshots": [ORDERS, QUERY], **more}


LOOKUP = {"name": "order", "snapshot": "orders", "attributes": ["status"]}


def test_only_the_collections_have_passwords_and_their_names_follow_from_all_values() -> None:
    collections = filters.product_data_collections(options(), PASSWORDS)
    results = [{"item": {"source": "shop"}, "rows": [ROW]}]
    made = filters.product_data_objects(options(), PASSWORDS, results, [])
    queries = filters.product_data_catalogue_queries(options(), PASSWORDS)
    assert [one["source"] for one in queries] == ["shop"]
    assert "s3cret-1" in str(collections)
    assert "s3cret" not in str(made) + str(queries)
    names = {
        str(filters.product_data_collections(options(**more), passwords)[2]["ddl"]).split()[3]
        for more, passwords in (
            ({}, PASSWORDS),
            ({}, {**PASSWORDS, "shop": "s3cret-3"}),
            ({"sources": [{**SHOP, "host": "other"}, CRM]}, PASSWORDS),
            ({"sources": [{**SHOP, "port": 5433}, CRM]}, PASSWORDS),
            ({"sources": [{**SHOP, "user": "v"}, CRM]}, PASSWORDS),
        )
    }
    assert len(names) == 5
    assert str(filters.product_data_collections(options(), PASSWORDS)[2]["ddl"]).split()[3] in names


@pytest.mark.parametrize(
    ("more", "passwords", "message"),
    [
        ({"sources": [SHOP, SHOP, CRM]}, {}, "product_data_sources has shop twice"),
        ({"sources": [{**SHOP, "name": "dictionary"}], "snapshots": []}, {}, "dictionary is a name of the role"),
        ({"dictionaries": [LOOKUP, LOOKUP]}, {}, "product_data_dictionaries has order twice"),
        ({"dictionaries": [{**LOOKUP, "name": "orders"}]}, {}, "name: a snapshot or another object of the role has it"),
        ({"dictionaries": [{**LOOKUP, "snapshot": "ordres"}]}, {}, "snapshot ordres is not in product_data_snapshots: they are orders, q"),
        ({"dictionaries": [{**LOOKUP, "snapshot": "q"}]}, {}, "snapshot q has no keys"),
        ({"dictionaries": [{**LOOKUP, "attributes": ["id"]}]}, {}, "none of its keys (id)"),
        ({"dictionaries": [{**LOOKUP, "attributes": []}]}, {}, "attributes has to name columns"),
        ({"sources": [{"name": "shop", "type": "postgresql", "host": "db", "user": "u"}, CRM]}, {}, "type postgresql needs database"),
        ({"sources": [{**SHOP, "url": "http://x/"}, CRM]}, {}, "type postgresql has no url"),
        ({"sources": [SHOP, CRM, {"name": "b", "type": "s3", "url": "http://x/b"}]}, {}, "url has to end with a slash"),
        ({"sources": [SHOP, CRM, {"name": "b", "type": "s3", "url": "http://x/b/", "user": "k"}]}, {}, "no entry b"),
        ({"sources": [SHOP, CRM, {"name": "b", "type": "file", "host": "x"}]}, {}, "type file has no host"),
        ({"snapshots": [{**ORDERS, "path": "x.csv"}]}, {}, "path is for sources of files"),
        *(
            ({"sources": [SHOP, CRM, LOCAL], "snapshots": [{**FILE, "path": path}]}, {}, "path has to be")
            for path in ("/etc/x", "a/../b", "a'b")
        ),
        ({"sources": [SHOP, CRM, LOCAL], "snapshots": [{**FILE, "format": "csv, 'x'"}]}, {}, "format has to be"),
        ({"sources": [SHOP, CRM, LOCAL], "snapshots": [{**FILE, "table": "x"}]}, {}, "table is for sources that are databases"),
        ({"sources": [SHOP, CRM, LOCAL], "snapshots": [{**FILE, "columns": [{"name": "a"}]}]}, {}, "query and path need columns"),
        ({"snapshots": [QUERY, QUERY]}, {}, "product_data_snapshots has q twice"),
        ({}, {"shop": ""}, "product_data_passwords has no entry shop"),
        ({}, {"shpo": "x"}, "entry shpo, but product_data_sources has only shop, crm"),
        ({"snapshots": [{**ORDERS, "source": "shpo"}]}, {}, "source shpo is not in product_data_sources: they are shop, crm"),
        ({"snapshots": [{**ORDERS, "query": "SELECT 1"}]}, {}, "set either table or query"),
        ({"snapshots": [{**ORDERS, "once": True}]}, {}, "set either every"),
        ({"snapshots": [{**ORDERS, "every": None}]}, {}, "set either every"),
        ({"snapshots": [{**ORDERS, "every": None, "once": True, "mode": "append"}]}, {}, "mode append needs every"),
        ({"snapshots": [{**ORDERS, "table": None}]}, {}, "set either table or query"),
        ({"snapshots": [{**ORDERS, "table": "o'; DROP TABLE x; --"}]}, {}, "table has to be a name"),
        ({"snapshots": [{**ORDERS, "table": "a.b.c"}]}, {}, "table has to be a name"),
        ({"snapshots": [{**ORDERS, "name": "orders_refresh"}]}, {}, "those of the role"),
        ({"snapshots": [{**ORDERS, "name": "freshness"}]}, {}, "those of the role"),
        ({"snapshots": [{**QUERY, "columns": None}]}, {}, "query and path need columns"),
        ({"snapshots": [{**QUERY, "columns": [{"name": "id"}]}]}, {}, "query and path need columns"),
        ({"snapshots": [{**QUERY, "query": "SELECT 1;"}]}, {}, "semicolon"),
        ({"snapshots": [{**QUERY, "keys": ["x"]}]}, {}, "keys has x, which is not in columns: they are id"),
        ({"snapshots": [{**QUERY, "keys": ["id", "id"]}]}, {}, "keys has id twice"),
        ({"snapshots": [{**QUERY, "keep_days": 3}]}, {}, "keep_days is for mode append"),
        ({"snapshots": [{**QUERY, "columns": [{"name": "id", "type": "Int8) ENGINE = Null --"}]}]}, {}, "is not a type of ClickHouse"),
        ({"snapshots": [{**QUERY, "columns": [{"name": "id", "type": "Int8; DROP"}]}]}, {}, "is not a type of ClickHouse"),
        ({"snapshots": [{**QUERY, "columns": [{"name": 'a"b', "type": "Int8"}]}]}, {}, "has a quote"),
        ({"snapshots": [{**QUERY, "columns": [{"name": "a", "type": "Int8"}] * 2}]}, {}, "columns has a twice"),
    ],
)
def test_contradictions_are_refused(more: dict[str, t.Any], passwords: dict[str, str], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        filters.product_data_collections(options(**more), {**PASSWORDS, **passwords})


@pytest.mark.parametrize(
    ("snapshot", "rows", "message"),
    [
        (ORDERS, [], "source shop has no table public.orders, or its user u may not read it"),
        ({**ORDERS, "keys": ["no"]}, [ROW], "keys has no, which public.orders of source shop lacks"),
        ({**ORDERS, "columns": [{"name": "id"}, {"name": "nmae"}]}, [ROW], "columns has nmae, which public.orders of source shop lacks"),
        (ORDERS, [ROW, {**ROW, "column_name": "a`b"}], "leave it out of columns"),
        ({**ORDERS, "mode": "append"}, [ROW, {**ROW, "column_name": "snapshot_time"}], "the column snapshot_time is the role's own"),
    ],
)
def test_what_the_catalogue_lacks_is_refused(snapshot: dict[str, t.Any], rows: list[dict[str, t.Any]], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(message)):
        filters.product_data_objects(options(snapshots=[snapshot]), PASSWORDS, [{"item": {"source": "shop"}, "rows": rows}], [])


def test_dictionary_has_the_types_of_its_snapshot() -> None:
    rows = [ROW, {**ROW, "column_name": "status", "column_type": "mood", "is_enum": 1, "nullable": 1}]
    results = [{"item": {"source": "shop"}, "rows": rows}]
    made = str(filters.product_data_objects(options(dictionaries=[LOOKUP]), PASSWORDS, results, [])["objects"])
    assert "CREATE DICTIONARY product.order (id Int64, status Nullable(String)) PRIMARY KEY id " in made
    with pytest.raises(
        AnsibleFilterError, match="dictionary order: attributes has note, which snapshot orders lacks: there are id, status"
    ):
        filters.product_data_objects(options(dictionaries=[{**LOOKUP, "attributes": ["note"]}]), PASSWORDS, results, [])


def test_source_without_an_answer() -> None:
    results = [{"item": {"source": "shop"}, "msg": "it is away"}]
    with pytest.raises(AnsibleFilterError, match="orders: its columns are not known, because source shop did not answer: it is away"):
        filters.product_data_objects(options(), PASSWORDS, results, [])
    kept = filters.product_data_objects(options(), PASSWORDS, results, [TABLE | {"name": name} for name in ("orders", "orders_refresh")])
    assert "product.orders (" not in str(kept["objects"])
    assert "orders_refresh" in kept["purge"][0]["keep"]
    rehearsed = filters.product_data_objects(options(), PASSWORDS, results, [], check_mode=True)
    assert "it is left out of check mode" in rehearsed["messages"][0]


def test_finished_import_has_only_its_table() -> None:
    """Also where its source is away. An unfinished one has a view that refreshes it at once, and is tried until it succeeds."""
    once = {**{key: value for key, value in ORDERS.items() if key != "every"}, "once": True}
    results = [{"item": {"source": "shop"}, "rows": [ROW]}]
    given = options(snapshots=[once])
    first = filters.product_data_objects(given, PASSWORDS, results, [])
    assert "product.orders_refresh REFRESH AFTER 1 YEAR SETTINGS refresh_retries = -1" in str(first["objects"])
    there = [TABLE | {"name": "orders"}, TABLE | {"name": "orders_refresh"}, TABLE | {"name": "orders", "database": "product_source"}]
    empty = [one | {"has_rows": 0} for one in there]
    assert filters.product_data_objects(given, PASSWORDS, results, empty) == first
    assert filters.product_data_obsolete_objects(given, PASSWORDS, empty) == []
    done = filters.product_data_objects(given, PASSWORDS, results, there)
    assert [one["ddl"].partition(" (")[0] for one in done["objects"]] == ["CREATE TABLE product.orders"]
    assert filters.product_data_obsolete_objects(given, PASSWORDS, there) == [
        {"kind": "table", "name": "product_source.orders", "state": "absent"}
    ]
    away = filters.product_data_objects(given, PASSWORDS, [{"item": {"source": "shop"}, "msg": "it is away"}], there)
    assert (away["objects"], away["messages"]) == ([], [])
    assert done["purge"] == away["purge"] == [{"database": "product", "names": ["*_refresh"], "keep": []}]
