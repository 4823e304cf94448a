# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role product_data: rows of a real PostgreSQL and a real MariaDB arrive in a real engine, exactly, and stay when a source is away."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
import threading
import typing as t
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse import declaration, schema
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client
from ansible_collections.groundwork.observability.plugins.module_utils._plan import Plan
from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data
from ansible_collections.groundwork.observability.plugins.plugin_utils._dashboards import build

from tests import previews
from tests.support import dashboards
from tests.support.clickhouse import ClickHouse, files, until
from tests.support.grafana_macros import expand, expand_product
from tests.support.http_server import http_server
from tests.support.mariadb import MariaDB
from tests.support.postgres import Postgres

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
# 1,000,000 in `make soak`.
ROWS = int(os.environ.get("GROUNDWORK_PRODUCT_ROWS", "10000"))
PASSWORDS = {"shop": "s3cret-of-the-shop", "crm": "s3cret-of-the-crm"}
READER, READER_PASSWORD = "reader", "s3cret-of-the-reader"
SECRETS = (*PASSWORDS.values(), READER_PASSWORD)
# The rights of the user of dashboards, as role clickhouse gives them.
SERVER = {
    "users": f"""
    <profiles><reader><readonly>1</readonly></reader></profiles>
    <users>
      <default><access_management>1</access_management><named_collection_control>1</named_collection_control></default>
      <{READER}>
        <password>{READER_PASSWORD}</password><networks><ip>::/0</ip></networks><profile>reader</profile><quota>default</quota>
        <grants>
          <query>GRANT SELECT ON otel.*</query>
          <query>GRANT SELECT, dictGet ON product.*</query><query>GRANT SELECT ON system.*</query><query>GRANT REMOTE ON *.*</query>
        </grants>
      </{READER}>
    </users>"""
}
# The statements of the README, with a user of a test.
POSTGRES_USER = f"""
CREATE ROLE clickhouse LOGIN PASSWORD '{PASSWORDS["shop"]}';
ALTER ROLE clickhouse SET default_transaction_read_only = on;
GRANT CONNECT ON DATABASE shop TO clickhouse;
GRANT USAGE ON SCHEMA public TO clickhouse;
"""
ORDERS = f"""
CREATE TABLE orders (id bigint PRIMARY KEY, customer integer NOT NULL, status text, total numeric(12, 2) NOT NULL,
  placed timestamptz NOT NULL, secret text NOT NULL DEFAULT 'not for ClickHouse');
INSERT INTO orders (id, customer, status, total, placed) SELECT n, n % 97, CASE WHEN n % 5 > 0 THEN 'state ' || n % 5 END, n * 1.01,
  '2024-01-01 00:00:00.123456+00'::timestamptz + n * interval '1 second' FROM generate_series(1, {ROWS}) AS n;
GRANT SELECT (id, customer, status, total, placed) ON orders TO clickhouse;
"""
CUSTOMERS = f"""
CREATE USER clickhouse@'%' IDENTIFIED BY '{PASSWORDS["crm"]}';
CREATE TABLE customers (id INT UNSIGNED PRIMARY KEY, name VARCHAR(100) NOT NULL, credit DECIMAL(12, 2), since DATETIME(3) NOT NULL,
  kind ENUM('private', 'business') NOT NULL) CHARACTER SET utf8mb4;
INSERT INTO customers SELECT seq, CONCAT('Kunde Nº ', seq), IF(seq % 7 > 0, seq * 1.5, NULL),
  TIMESTAMP'2020-01-01 00:00:00.250' + INTERVAL seq MINUTE, IF(seq % 3 > 0, 'private', 'business') FROM seq_1_to_{ROWS};
GRANT SELECT ON shop.customers TO clickhouse@'%';
"""
SNAPSHOTS: list[dict[str, t.Any]] = [
    {"name": "orders", "source": "shop", "table": "orders", "keys": ["id"], "every": "1h"},
    {"name": "customers", "source": "crm", "table": "customers", "keys": ["id"], "every": "1h"},
]


DICTIONARIES = [{"name": "customer", "snapshot": "customers", "attributes": ["name", "credit", "kind"]}]


class Product(t.NamedTuple):
    """The databases of a product."""

    postgres: Postgres
    mariadb: MariaDB

    def data(self, *snapshots: dict[str, t.Any], **passwords: str) -> product_data.ProductData:
        """Options of the role."""
        kinds: dict[str, tuple[str, Postgres | MariaDB]] = {"shop": ("postgresql", self.postgres), "crm": ("mysql", self.mariadb)}
        sources = [
            {"name": name, "type": kind, "host": server.host, "port": server.port, "database": "shop", "user": "clickhouse"}
            for name, (kind, server) in kinds.items()
        ]
        dictionaries = [one for one in DICTIONARIES if one["snapshot"] in [snapshot["name"] for snapshot in snapshots]]
        return product_data.ProductData(
            "product", sources, list(snapshots), {**PASSWORDS, **passwords}, dictionaries, READER, READER_PASSWORD
        )


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with Postgres() as postgres, MariaDB() as mariadb:
        postgres.query(POSTGRES_USER + ORDERS)
        mariadb.query(CUSTOMERS)
        yield Product(postgres, mariadb)


def converge(
    client: Client, objects: list[dict[str, str]], purge: t.Sequence[dict[str, t.Any]] = (), allow: t.Collection[str] = ()
) -> Plan:
    plan = schema.converge(
        client,
        declaration.declare(objects),
        declaration.find_declared_secrets(objects),
        apply=True,
        keep_drift=False,
        allow=allow,
        purge=declaration.declare_purge(purge),
    )
    assert not plan.drifted, [(state.name, state.reason, state.difference) for state in plan.drifted]
    return plan


THERE = r"""
SELECT database, name,
  if(engine = 'Dictionary' AND create_table_query LIKE '%NAME product\_dictionary\_%', 'dictionary', 'table') AS kind,
  ifNull(total_rows, 0) > 0 AS has_rows
FROM system.tables WHERE database IN ('product', 'product_source')
UNION ALL SELECT '', name, 'named_collection', 0 FROM system.named_collections FORMAT JSONEachRow
"""


def apply(client: Client, server: ClickHouse, data: product_data.ProductData) -> list[Plan]:
    """What the role's tasks do, without Ansible around it."""
    assert product_data.problems(data) == []
    collections = product_data.collection_objects(data)
    plans = [converge(client, collections)]
    answers = [
        {"source": one["source"], "rows": [json.loads(line) for line in server.query(f"{one['query']} FORMAT JSONEachRow").splitlines()]}
        for one in product_data.catalogue_queries(data)
    ]
    there = [json.loads(line) for line in server.query(THERE).splitlines()]
    filled = product_data.filled_tables(data, there)
    tables = [one["name"] for one in there if one["database"] == "product"]
    wanted = product_data.wanted(data, answers, tables, rehearsal=False, filled=filled)
    plans.append(converge(client, collections + wanted.objects, wanted.purge))
    return [*plans, converge(client, product_data.obsolete_objects(data, there), allow=["drop_table"])]


def refreshed(server: ClickHouse, name: str) -> None:
    """Refresh a snapshot now."""
    server.query(f"SYSTEM REFRESH VIEW product.{name}_refresh")
    server.query(f"SYSTEM WAIT VIEW product.{name}_refresh")


class Played(t.NamedTuple):
    """What runs of the role printed, and the databases that the server had behind each."""

    check: str
    first: str
    second: str
    databases: tuple[str, ...]


@pytest.fixture(scope="module")
def snapshots(server: ClickHouse, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The role run by ansible-playbook: in check mode, at -vvv, and once more. Then the snapshots have their rows."""
    folder = tmp_path_factory.mktemp("play")
    data = product.data(*SNAPSHOTS)
    variables = {
        "product_data_login_host": server.host,
        "product_data_login_port": server.port,
        "product_data_login_user": "default",
        "product_data_login_password": "",
        "product_data_secure": False,
        "product_data_sources": data.sources,
        "product_data_passwords": data.passwords,
        "product_data_snapshots": data.snapshots,
        "product_data_dictionaries": data.dictionaries,
        "product_data_dictionary_user": READER,
        "product_data_dictionary_password": READER_PASSWORD,
    }
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"ch1": {}}, "vars": variables}}), encoding="utf-8")
    role = {"role": "groundwork.observability.product_data"}
    (folder / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [role]}]), encoding="utf-8")

    def run(*arguments: str) -> str:
        answer = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", folder / "hosts.json", folder / "play.json", *arguments],
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"), "ANSIBLE_HOME": str(folder / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout + answer.stderr

    printed, databases = [], []
    for arguments in (("--check", "--diff"), ("-vvv", "--diff"), ("--diff",)):
        printed.append(run(*arguments))
        databases.append(server.query("SHOW DATABASES"))
    for one in SNAPSHOTS:
        server.query(f"SYSTEM WAIT VIEW product.{one['name']}_refresh")
    return Played(printed[0], printed[1], printed[2], tuple(databases))


def test_check_mode_writes_nothing_and_the_second_run_changes_nothing(snapshots: Played) -> None:
    assert "product" not in snapshots.databases[0].split()
    assert "it is left out of check mode" in snapshots.check
    assert "product_source" in snapshots.databases[1].split()
    assert "CREATE MATERIALIZED VIEW product.customers_refresh" in snapshots.first
    assert " changed=0 " in snapshots.second


def test_no_run_prints_a_password(snapshots: Played) -> None:
    for printed in snapshots[:3]:
        assert not any(secret in printed for secret in SECRETS)


# The same sums in three dialects; each is exact.
CHECKSUMS = {
    "orders": {
        "count": ("count(*)", "count()"),
        "id": ("sum(id)", "sum(id)"),
        "customer": ("sum(customer::bigint * (id % 1000))", "sum(customer::Int64 * (id % 1000))"),
        "status": ("count(status) || ' ' || max(md5(status))", "concat(count(status), ' ', max(lower(hex(MD5(status)))))"),
        "total": ("sum(total)", "sum(total)"),
        "placed": ("sum((extract(epoch FROM placed) * 1000000)::bigint::numeric)", "sum(toUnixTimestamp64Micro(placed)::Int128)"),
    },
    "customers": {
        "count": ("COUNT(*)", "count()"),
        "id": ("SUM(id)", "sum(id)"),
        "name": ("BIT_XOR(CRC32(name))", "groupBitXor(CRC32(name))"),
        "credit": ("SUM(credit)", "sum(credit)"),
        "since": (
            "SUM(CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', since) AS DECIMAL(30)))",
            "sum(toUnixTimestamp64Milli(since)::Int128) * 1000",
        ),
        "kind": ("SUM(kind = 'business')", "sum(kind = 'business')"),
    },
}


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("table", CHECKSUMS)
def test_all_rows_arrive_exactly(server: ClickHouse, product: Product, table: str) -> None:
    source = product.postgres if table == "orders" else product.mariadb
    theirs = source.query(f"SELECT {', '.join(one for one, _ in CHECKSUMS[table].values())} FROM {table}").split("\t")
    ours = server.query(f"SELECT {', '.join(one for _, one in CHECKSUMS[table].values())} FROM product.{table}").split("\t")
    columns = list(CHECKSUMS[table])
    numbers = [dict(zip(columns, map(comparable, values), strict=True)) for values in (theirs, ours)]
    assert numbers[0] == numbers[1]
    assert int(ours[0]) == ROWS


def comparable(text: str) -> str:
    """A number without zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text


@pytest.mark.usefixtures("snapshots")
def test_columns_without_a_grant_are_left_out(server: ClickHouse) -> None:
    columns = server.query("SELECT name FROM system.columns WHERE database = 'product' AND table = 'orders' ORDER BY position").split()
    assert columns == ["id", "customer", "status", "total", "placed"]


@pytest.mark.usefixtures("snapshots")
def test_second_run_changes_nothing(server: ClickHouse, client: Client, product: Product) -> None:
    for plan in apply(client, server, product.data(*SNAPSHOTS)):
        assert not plan.changed


@pytest.mark.usefixtures("snapshots")
def test_reader_sees_either_the_old_or_the_new_rows(server: ClickHouse, product: Product) -> None:
    seen: set[str] = set()
    done = threading.Event()

    what = "SELECT count(), uniqExact(status), any(status) FROM product.orders"

    def read() -> None:
        while not done.is_set():
            seen.add(server.query(what, user=READER, password=READER_PASSWORD))

    product.postgres.query("UPDATE orders SET status = 'first'")
    refreshed(server, "orders")
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for status in ("second", "third"):
            product.postgres.query(f"UPDATE orders SET status = '{status}'")
            refreshed(server, "orders")
    finally:
        done.set()
        reader.join()
    seen.add(server.query(what))
    assert {f"{ROWS}\t1\tfirst", f"{ROWS}\t1\tthird"} <= seen <= {f"{ROWS}\t1\t{status}" for status in ("first", "second", "third")}


def freshness(server: ClickHouse, name: str) -> dict[str, t.Any]:
    """What the reader sees of a snapshot's age."""
    text = server.query(
        f"SELECT * FROM product.freshness WHERE snapshot = '{name}' FORMAT JSONEachRow",
        user=READER,
        password=READER_PASSWORD,
        output_format_json_quote_64bit_integers=0,
    )
    return t.cast("dict[str, t.Any]", json.loads(text))


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize(("name", "error"), [("orders", "Connection refused"), ("customers", "connect")])
def test_source_that_is_down_leaves_the_last_snapshot(server: ClickHouse, client: Client, product: Product, name: str, error: str) -> None:
    source = product.postgres if name == "orders" else product.mariadb
    refreshed(server, name)
    before = freshness(server, name)
    assert (before["rows"], before["last_error"], before["late"]) == (ROWS, "", 0)
    source.stop()
    try:
        server.query(f"SYSTEM REFRESH VIEW product.{name}_refresh")
        until("the refresh fails for good", lambda: error in freshness(server, name)["last_error"], seconds=30)
        after = freshness(server, name)
        assert (after["rows"], after["last_success"]) == (ROWS, before["last_success"])
        assert "Stack trace" not in after["last_error"]
        # A run of the role meanwhile leaves the snapshot as it is.
        data = product.data(*SNAPSHOTS)
        answers = [{"source": one["source"], "error": "away"} for one in product_data.catalogue_queries(data)]
        tables = server.query("SHOW TABLES FROM product").splitlines()
        kept = product_data.wanted(data, answers, tables, rehearsal=False)
        assert not converge(client, product_data.collection_objects(data) + kept.objects, kept.purge).changed
        assert "orders: it stays as it is" in kept.messages[0]
        new = dataclasses.replace(data, snapshots=[*SNAPSHOTS, {**SNAPSHOTS[0], "name": "more"}])
        with pytest.raises(
            product_data.ProductDataError, match="more: its columns are not known, because source shop did not answer: away"
        ):
            product_data.wanted(new, answers, tables, rehearsal=False)
    finally:
        source.start()
    refreshed(server, name)
    assert freshness(server, name)["last_error"] == ""


@pytest.mark.usefixtures("snapshots")
def test_changed_password_reaches_the_snapshots(server: ClickHouse, client: Client, product: Product) -> None:
    data = product.data(*SNAPSHOTS, shop="another-s3cret")
    product.postgres.query("ALTER ROLE clickhouse PASSWORD 'another-s3cret'")
    product.postgres.restart()
    try:
        apply(client, server, data)
        refreshed(server, "orders")
        assert freshness(server, "orders")["last_error"] == ""
        assert server.query("SELECT count() FROM system.named_collections") == "3"
    finally:
        product.postgres.query(f"ALTER ROLE clickhouse PASSWORD '{PASSWORDS['shop']}'")
        product.postgres.restart()
        apply(client, server, product.data(*SNAPSHOTS))


@pytest.mark.usefixtures("snapshots")
def test_each_refresh_is_kept_once_with_append(server: ClickHouse, client: Client, product: Product) -> None:
    small = {"source": "shop", "query": "SELECT id, total FROM orders WHERE id <= 10", "every": "1h", "mode": "append", "keep_days": 30}
    columns = [{"name": "id", "type": "Int64"}, {"name": "total", "type": "Nullable(Decimal(12, 2))"}]
    kept = {"name": "kept", "keys": ["id"], "columns": columns, **small}
    apply(client, server, product.data(*SNAPSHOTS, kept))
    server.query("SYSTEM WAIT VIEW product.kept_refresh")
    until("the first snapshot is kept", lambda: server.query("SELECT count() FROM product.kept_history") == "10")
    first = server.query("SELECT any(snapshot_time) FROM product.kept")
    until("the clock goes on", lambda: server.query(f"SELECT now('UTC') > '{first}'") == "1")
    refreshed(server, "kept")
    for _ in range(2):
        refreshed(server, "kept_history")
    assert server.query("SELECT uniqExact(snapshot_time), count(), uniqExact(id) FROM product.kept_history") == "2\t20\t10"
    assert server.query("SELECT count() FROM product.kept") == "10"
    # Taken out of the list, it is refreshed no more, and its rows stay.
    apply(client, server, product.data(*SNAPSHOTS))
    left = server.query("SELECT database, name FROM system.tables WHERE name LIKE 'kept%' ORDER BY name").split()
    assert left == ["product", "kept", "product", "kept_history"]


@pytest.mark.usefixtures("snapshots")
def test_new_column_of_the_source_is_added(server: ClickHouse, client: Client, product: Product) -> None:
    product.postgres.query("ALTER TABLE orders ADD note text DEFAULT 'n'; GRANT SELECT (note) ON orders TO clickhouse")
    assert any(plan.changed for plan in apply(client, server, product.data(*SNAPSHOTS)))
    refreshed(server, "orders")
    assert server.query("SELECT count() FROM product.orders WHERE note = 'n'") == str(ROWS)


@pytest.mark.usefixtures("snapshots")
def test_dictionary_finds_a_row_by_its_key(server: ClickHouse, client: Client, product: Product) -> None:
    what = "SELECT dictGet('product.customer', 'name', 4), dictGet('product.customer', 'kind', 3), dictGet('product.customer', 'credit', 7)"
    assert server.query(what, user=READER, password=READER_PASSWORD) == "Kunde Nº 4\tbusiness\t\\N"
    assert server.query(f"SELECT dictGetOrDefault('product.customer', 'name', toUInt32({ROWS} + 1), 'nobody')") == "nobody"
    # One that is not declared any more is dropped, with the collection that held the password.
    plans = apply(client, server, dataclasses.replace(product.data(*SNAPSHOTS), dictionaries=[]))
    assert any(plan.changed for plan in plans)
    assert server.query("SELECT count() FROM system.dictionaries") == "0"
    assert "dictionary" not in server.query("SELECT name FROM system.named_collections")
    apply(client, server, product.data(*SNAPSHOTS))
    assert server.query("SELECT dictGet('product.customer', 'name', 4)") == "Kunde Nº 4"


@pytest.mark.usefixtures("snapshots")
def test_example_dashboard_joins_requests_with_orders(server: ClickHouse) -> None:
    """Every query of the example, as the user of dashboards, on spans of two customers."""
    server.query("CREATE DATABASE otel")
    server.query(
        "CREATE TABLE otel.otel_traces (Timestamp DateTime64(9), TraceId String, SpanName String, SpanKind String, StatusCode String, "
        "Duration UInt64, SpanAttributes Map(String, String)) ENGINE = MergeTree ORDER BY Timestamp"
    )
    server.query(
        "INSERT INTO otel.otel_traces SELECT now(), 't', 'POST /orders', 'Server', if(number < 2, 'Error', 'Ok'), 1000, "
        "map('customer.id', toString(4 + number % 2), 'order.id', '101') FROM numbers(10)"
    )
    spec = yaml.safe_load((ROOT / "examples/dashboards/orders.yml").read_text(encoding="utf-8"))
    dashboard = build(spec, "otel", "otel", "clickhouse")
    now = datetime.now(UTC)
    answers = {}
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            sql = expand(target["rawSql"], now - timedelta(hours=1), now + timedelta(hours=1))
            lines = server.query(f"{sql} FORMAT JSONEachRow", user=READER, password=READER_PASSWORD).splitlines()
            answers[panel["title"]] = [json.loads(line) for line in lines]
    by_name = {row["name"]: row for row in answers["Customers with failed requests"]}
    orders = server.query("SELECT count(), sum(total) FROM product.orders WHERE customer = 4").split("\t")
    four = by_name["Kunde Nº 4"]
    assert (int(four["requests"]), four["failed"], str(four["orders"])) == (5, 0.2, orders[0])
    assert float(four["revenue"]) == float(orders[1])
    assert set(by_name) == {"Kunde Nº 4", "Kunde Nº 5"}
    latest = answers["Failed requests for orders"]
    assert [(int(row["order"]), row["customer"]) for row in latest] == [(101, "Kunde Nº 4")] * 2


# Types of PostgreSQL's columns as the checks of dashboards know them.
KINDS = {"bigint": "Int64", "integer": "Int32", "numeric": "Decimal", "text": "String", "timestamp with time zone": "DateTime64"}
# The user of live panels, as the README of role grafana makes it.
LIVE = "grafana_reader"


@pytest.fixture(scope="module")
def live_user(product: Product) -> str:
    readme = (ROOT / "roles/grafana/README.md").read_text(encoding="utf-8").split("## Live product data")[1]
    statements = readme.split("```sql\n")[1].split("```")[0]
    assert "GRANT SELECT" in statements
    product.postgres.query(statements)
    # Without sorts of the planner's own, rows are in order only if the query asks for it.
    product.postgres.query(f"ALTER ROLE {LIVE} SET enable_sort = off")
    return LIVE


def live_answer(postgres: Postgres, sql: str, user: str) -> dashboards.Answer:
    """The rows as Grafana's plugin has them: a time in seconds is a time."""
    described = [line.split("\t") for line in postgres.query(f"{sql} \\gdesc", user=user).splitlines()]
    columns = {name: "DateTime" if name == "time" else KINDS[kind.partition("(")[0]] for name, kind in described}
    rows = json.loads(postgres.query(f"SELECT coalesce(json_agg(row_to_json(answer)), '[]') FROM ({sql}) AS answer", user=user))
    for row in rows:
        if "time" in row:
            row["time"] = f"{datetime.fromtimestamp(row['time'], UTC):%Y-%m-%d %H:%M:%S}"
    return dashboards.Answer(columns, [list(row.values()) for row in rows], sql)


def test_example_dashboard_asks_postgresql_for_live_rows(product: Product, live_user: str) -> None:
    """Each query, with the macros that Grafana's plugin expands, as the user who can only read; and the preview draws the answers."""
    dashboard = build(dashboards.specs(dashboards.EXAMPLES)["orders_live"], "otel", "otel", "clickhouse")
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    end = begin + timedelta(hours=1)
    answers: dict[int, dict[str, dashboards.Answer]] = {}
    for panel in (panel for panel in dashboard["panels"] if "targets" in panel):
        for target in panel["targets"]:
            sql = expand_product(target["rawSql"], target["datasource"]["type"], begin, end)
            answer = live_answer(product.postgres, sql, live_user)
            assert answer.rows, sql
            dashboards.check_form(panel, target["refId"], answer)
            answers.setdefault(panel["id"], {})[target["refId"]] = answer
    rows = {panel["title"]: answers[panel["id"]]["A"].rows for panel in dashboard["panels"] if "targets" in panel}
    # One order a second, from the first second on.
    there = "orders WHERE placed BETWEEN '2024-01-01 00:00:00+00' AND '2024-01-01 01:00:00+00'"
    statuses = product.postgres.query(f"SELECT coalesce(status, 'none'), count(*) FROM {there} GROUP BY 1").splitlines()
    assert {status: str(number) for status, number in rows["Orders by status"]} == dict(line.split("\t") for line in statuses)
    assert {row[0] for row in rows["Orders over time"]} == {f"2024-01-01 00:{minute:02}:00" for minute in range(60)}
    assert sum(row[2] for row in rows["Orders over time"]) == 3599
    assert rows["Value of the orders"] == [[pytest.approx(1.01 * 3599 * 3600 / 2)]]
    assert [row[1] for row in rows["Newest orders"]] == list(range(3599, 3549, -1))

    page = previews.Page(dashboard, "light", begin, end)
    assert "Orders now" in page.draw(answers, {}) and "which this preview does not have" not in page.draw(answers, {})
    assert page.draw({}, {}).count("Grafana asks the data source shop, which this preview does not have.") == 4


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("INSERT INTO orders (id, customer, total, placed) VALUES (-1, 1, 1, now())", "read-only transaction"),
        ("SET default_transaction_read_only = off; INSERT INTO orders VALUES (-1, 1, '', 1, now())", "permission denied for table orders"),
        ("SET default_transaction_read_only = off; DELETE FROM orders", "permission denied for table orders"),
        ("SELECT secret FROM orders", "permission denied for table orders"),
        ("SELECT * FROM pg_authid", "permission denied for table pg_authid"),
    ],
)
def test_user_of_live_panels_reads_what_it_was_granted_and_writes_nothing(product: Product, live_user: str, sql: str, message: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        product.postgres.query(sql, user=live_user)
    assert message in refused.value.stderr
    assert product.postgres.query("SELECT count(*) FROM orders WHERE id > 0") == str(ROWS)


def test_macros_for_mysql_run_on_mariadb(product: Product) -> None:
    sql = "SELECT $__timeGroupAlias(since, '1h'), kind, COUNT(*) FROM customers WHERE $__timeFilter(since) AND since > $__timeFrom() "
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    expanded = expand_product(f"{sql} GROUP BY 1, 2 ORDER BY 1", "mysql", begin, begin + timedelta(hours=2))
    rows = [line.split("\t") for line in product.mariadb.query(f"SET time_zone = '+00:00'; {expanded}").splitlines()]
    assert {int(row[0]) for row in rows} == {int(begin.timestamp()), int(begin.timestamp()) + 3600}
    assert sum(int(row[2]) for row in rows) == 119


# Type, value, the same as ClickHouse prints it. Rows have one value each, the others are NULL.
POSTGRES_VALUES = [
    ("smallint", "-32768", "-32768"),
    ("bigint", "9223372036854775807", "9223372036854775807"),
    ("boolean", "true", "true"),
    ("real", "1.5", "1.5"),
    ("double precision", "'NaN'", "nan"),
    ("numeric(12, 2)", "-9999999999.99", "-9999999999.99"),
    ("numeric", "0.00000000000000000001", "0.00000000000000000001"),
    ("numeric", "-99999999999999999999999999999999999999.5", "-99999999999999999999999999999999999999.5"),
    ("money", "12.34", "12.34"),
    ("char(4)", "'ab'", "ab  "),
    ("text", "'é\t\\'", "é\t\\"),
    ("bytea", "'\\x41425a'", "ABZ"),
    ("date", "'1900-01-01'", "1900-01-01"),
    ("date", "'2299-12-31'", "2299-12-31"),
    ("date", "'0001-01-01'", None),
    ("date", "'infinity'", None),
    ("timestamp", "'2024-02-03 04:05:06.123456'", "2024-02-03 04:05:06.123456"),
    ("timestamp", "'9999-12-31'", None),
    ("timestamptz", "'2024-02-03 04:05:06.123456+02'", "2024-02-03 02:05:06.123456"),
    ("timestamptz", "'1960-01-01 00:00:00.5+00'", "1960-01-01 00:00:00.500000"),
    ("timestamptz", "'2299-12-31 23:59:59.999999+00'", "2299-12-31 23:59:59.999999"),
    ("timestamptz", "'-infinity'", None),
    ("time", "'04:05:06.5'", "04:05:06.5"),
    ("interval", "'1 day 2 hours'", "1 day 02:00:00"),
    ("json", "'{\"a\": [1, null]}'", '{"a": [1, null]}'),
    ("jsonb", "'{\"a\":1}'", '{"a": 1}'),
    ("uuid", "'0af76519-16cd-43dd-8448-eb211c80319c'", "0af76519-16cd-43dd-8448-eb211c80319c"),
    ("mood", "'happy'", "happy"),
    ("inet", "'10.0.0.1'", "10.0.0.1/32"),
    ("cents", "1.5", "1.5"),
    ("integer[]", "'{1,NULL,-3}'", "[1,NULL,-3]"),
    ("integer[][]", "'{{1,2},{3,4}}'", "[[1,2],[3,4]]"),
    ("text[]", "'{a,\"b,c\"}'", "['a','b,c']"),
    ("numeric(10, 2)[]", "'{1.25,2.5}'", "[1.25,2.5]"),
    ("mood[]", "'{sad}'", "['sad']"),
]
MARIADB_VALUES = [
    ("TINYINT(1)", "1", "1"),
    ("TINYINT UNSIGNED", "255", "255"),
    ("SMALLINT", "-32768", "-32768"),
    ("MEDIUMINT UNSIGNED", "16777215", "16777215"),
    ("INT UNSIGNED", "4294967295", "4294967295"),
    ("BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"),
    ("DECIMAL(65, 10)", "-1.2345678901", "-1.2345678901"),
    ("DOUBLE", "2.5", "2.5"),
    ("VARCHAR(20)", "'é😀'", "é😀"),
    ("VARBINARY(4)", "x'41425a'", "ABZ"),
    ("BIT(8)", "b'10101010'", "170"),
    ("YEAR", "2024", "2024"),
    ("DATE", "'2024-02-29'", "2024-02-29"),
    ("DATE", "'0000-00-00'", None),
    ("DATE", "'2024-02-31'", None),
    ("DATE", "'2024-00-00'", None),
    ("DATETIME", "'2299-12-31 23:59:59'", "2299-12-31 23:59:59"),
    ("DATETIME", "'0000-00-00 00:00:00'", None),
    ("DATETIME", "'9999-12-31 23:59:59'", None),
    ("DATETIME(6)", "'1900-01-01 00:00:00.000001'", "1900-01-01 00:00:00.000001"),
    ("TIMESTAMP(6) NULL", "'2024-02-03 04:05:06.123456'", "2024-02-02 19:05:06.123456"),
    ("TIMESTAMP NULL", "'0000-00-00 00:00:00'", None),
    ("TIME", "'-12:00:00'", "-12:00:00"),
    ("JSON", "'{\"a\": 1}'", '{"a": 1}'),
    ("ENUM('sad', 'ok')", "'ok'", "ok"),
    ("SET('a', 'b')", "'a,b'", "a,b"),
    ("UUID", "'0af76519-16cd-43dd-8448-eb211c80319c'", "0af76519-16cd-43dd-8448-eb211c80319c"),
    ("INET6", "'::1'", "::1"),
    ("POINT", "ST_GeomFromText('POINT(1 2)')", "POINT(1 2)"),
]


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("source", ["shop", "crm"])
def test_values_at_the_edges_of_types(server: ClickHouse, client: Client, product: Product, source: str) -> None:
    """Each value arrives as it is, or as NULL where ClickHouse has no such value, whatever time zone and date style the source has."""
    values = POSTGRES_VALUES if source == "shop" else MARIADB_VALUES
    mark = '"' if source == "shop" else "`"
    columns = [f"{mark}c {number}{mark}" for number in range(len(values))]
    kinds = ", ".join(f"{name} {kind}" for name, (kind, _, _) in zip(columns, values, strict=True))
    create = f"CREATE TABLE edges (id int PRIMARY KEY, {kinds});"
    insert = f"INSERT INTO edges VALUES (1, {', '.join(value for _, value, _ in values)}); INSERT INTO edges (id) VALUES (2);"
    if source == "shop":
        product.postgres.query("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN cents AS numeric(5, 1);")
        product.postgres.query(f"SET lc_monetary = 'C'; {create} {insert} GRANT SELECT ON edges TO clickhouse;")
        product.postgres.query("ALTER ROLE clickhouse SET timezone = 'Asia/Tokyo'; ALTER ROLE clickhouse SET datestyle = 'German'")
        product.postgres.restart()
    else:
        product.mariadb.query("SET GLOBAL time_zone = '+09:00'")
        product.mariadb.query(f"{create} {insert} GRANT SELECT ON shop.edges TO clickhouse@'%'")
    name = f"edges_{source}"
    edges = {"name": name, "source": source, "table": "edges", "keys": ["id"], "every": "1h"}
    apply(client, server, product.data(*SNAPSHOTS, edges))
    refreshed(server, name)
    rows = [
        json.loads(line)
        for line in server.query(f"SELECT * APPLY toString FROM product.{name} ORDER BY id FORMAT JSONCompactEachRow").splitlines()
    ]
    assert dict(zip(columns, rows[0][1:], strict=True)) == dict(zip(columns, (wanted for _, _, wanted in values), strict=True))
    # An array of ClickHouse is empty instead of NULL.
    assert rows[1][1:] == ["[]" if kind.endswith("[]") else None for kind, _, _ in values]


def test_files_are_imported(server: ClickHouse, client: Client) -> None:
    """From a web server and from the server's own disk; a file that is gone leaves the former rows."""
    # The engine takes a relative path as one below its data, where a server takes it as one below user_files in there.
    folder = server.folder / "data" / "imports"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"regions-{number}.csv").write_text(f"code,name\nr{number},Region {number}\n", encoding="utf-8")
    columns = [{"name": "code", "type": "String"}, {"name": "name", "type": "String"}]
    with http_server(b'{"currency": "EUR", "rate": 1.5}\n{"currency": "CHF", "rate": 0.25}\n') as port:
        sources: list[dict[str, t.Any]] = [
            {"name": "disk", "type": "file"},
            {"name": "web", "type": "http", "url": f"http://127.0.0.1:{port}/daily/"},
        ]
        rates = [{"name": "currency", "type": "String"}, {"name": "rate", "type": "Float64"}]
        snapshots: list[dict[str, t.Any]] = [
            {
                "name": "regions",
                "source": "disk",
                "path": "imports/regions-*.csv",
                "format": "CSVWithNames",
                "columns": columns,
                "keys": ["code"],
            },
            {"name": "rates", "source": "web", "path": "rates.json", "format": "JSONEachRow", "columns": rates},
        ]
        data = product_data.ProductData("imports", sources, [{**one, "every": "1h"} for one in snapshots])
        assert product_data.problems(data) == []
        wanted = product_data.wanted(data, [], [], rehearsal=False)
        objects = product_data.collection_objects(data) + wanted.objects
        assert converge(client, objects, wanted.purge).changed
        assert not converge(client, objects, wanted.purge).changed
        for name in ("regions", "rates"):
            server.query(f"SYSTEM WAIT VIEW imports.{name}_refresh")
    regions = "SELECT * FROM imports.regions ORDER BY code"
    assert server.query(regions) == "r1\tRegion 1\nr2\tRegion 2"
    assert server.query("SELECT sum(rate) FROM imports.rates") == "1.75"
    (folder / "regions-1.csv").rename(folder / "regions-3.csv")
    server.query("SYSTEM REFRESH VIEW imports.regions_refresh")
    server.query("SYSTEM WAIT VIEW imports.regions_refresh")
    assert server.query(regions) == "r1\tRegion 1\nr2\tRegion 2"
    for path in folder.glob("regions-*.csv"):
        path.unlink()
    server.query("SYSTEM REFRESH VIEW imports.regions_refresh")
    error = "SELECT last_error != '' FROM imports.freshness WHERE snapshot = 'regions'"
    until("the refresh fails", functools.partial(answers, server, error), seconds=60)
    assert server.query(regions) == "r1\tRegion 1\nr2\tRegion 2"


def answers(server: ClickHouse, condition: str) -> bool:
    """Whether a query says 1."""
    return server.query(condition) == "1"


# System tables that show statements, definitions or values.
VISIBLE = (
    *("query_log", "query_thread_log", "query_views_log", "text_log", "error_log", "errors", "processes", "view_refreshes", "tables"),
    *("named_collections", "databases", "dictionaries", "settings", "server_settings", "warnings"),
)


@pytest.mark.usefixtures("snapshots")
def test_nobody_else_sees_the_passwords(server: ClickHouse) -> None:
    """Neither in what a reader may select, nor in files other than those of the named collections."""
    server.query("SYSTEM FLUSH LOGS")
    for table in VISIBLE:
        if server.query(f"EXISTS system.{table}") == "0":
            continue
        text = server.query(f"SELECT * FROM system.{table} FORMAT JSONEachRow", user=READER, password=READER_PASSWORD)
        assert not any(secret in text for secret in SECRETS), table
    assert not any(secret in server.log.read_text(errors="replace") for secret in SECRETS)
    secrets = [secret.encode() for secret in SECRETS]
    holding = {name for name in files(server) if any(secret in (server.folder / "data" / name).read_bytes() for secret in secrets)}
    assert holding and all(name.startswith("named_collections/") for name in holding), holding
    for name in holding:
        assert (server.folder / "data" / name).stat().st_mode & 0o007 == 0, name
