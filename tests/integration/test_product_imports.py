# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Imports of the role product_data from a real S3-compatible server, on a schedule and one-off."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clickhouse import ClickHouse, until
from tests.support.s3 import S3
from tests.support.zookeeper import ZooKeeper

pytestmark = [pytest.mark.integration, pytest.mark.soak]

ROOT = Path(__file__).resolve().parents[2]
ADMIN = "<users><default><access_management>1</access_management><named_collection_control>1</named_collection_control></default></users>"
FILE = {
    "format": "CSVWithNames",
    "columns": [{"name": "item", "type": "UInt64"}, {"name": "price", "type": "Decimal(12, 2)"}],
    "keys": ["item"],
}
PRICES = "SELECT groupArray((item, price)) FROM (SELECT * FROM product.{} ORDER BY item)"


@pytest.fixture(scope="module")
def store() -> Iterator[S3]:
    with S3() as server:
        yield server


def put(store: S3, path: str, *rows: str) -> None:
    assert store.put(path, "item,price\n" + "".join(f"{row}\n" for row in rows))


def answers(server: ClickHouse, sql: str, wanted: str) -> bool:
    """Whether a query has this answer."""
    return server.query(sql) == wanted


def test_imports_from_a_bucket(store: S3, tmp_path: Path) -> None:
    """One-off imports wait for their file also through a crash, are made once, and leave nothing but the table."""
    wrong_secret = "another-s3cret"
    variables: dict[str, t.Any] = {
        "product_data_login_user": "default",
        "product_data_login_password": "",
        "product_data_secure": False,
        "product_data_sources": [
            {"name": "exports", "type": "s3", "url": store.url, "user": store.key},
            {"name": "rotated", "type": "s3", "url": store.url, "user": store.key},
        ],
        "product_data_passwords": {"exports": store.secret, "rotated": wrong_secret},
        "product_data_snapshots": [
            {"name": "prices", "source": "exports", "path": "prices/*.csv", "every": "1h", **FILE},
            {"name": "refused", "source": "rotated", "path": "prices/*.csv", "every": "1h", **FILE},
            {"name": "tariffs", "source": "exports", "path": "tariffs.csv", "once": True, **FILE},
            {"name": "late", "source": "exports", "path": "late.csv", "once": True, **FILE},
        ],
        "product_data_dictionaries": [{"name": "tariff", "snapshot": "tariffs", "attributes": ["price"]}],
        "product_data_dictionary_user": "default",
        "product_data_dictionary_password": "",
    }
    role = {"role": "groundwork.observability.product_data"}
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [role]}]), encoding="utf-8")
    put(store, "prices/1.csv", "1,1.25")
    put(store, "prices/2.csv", "2,2.50")
    put(store, "tariffs.csv", "7,0.07")

    with ClickHouse(users=ADMIN) as server:
        variables |= {"product_data_login_host": server.host, "product_data_login_port": server.port}
        (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": {"ch1": {}}, "vars": variables}}), encoding="utf-8")

        def play(*arguments: str) -> subprocess.CompletedProcess[str]:
            done = subprocess.run(
                [sys.executable, "-m", "ansible", "playbook", "-i", tmp_path / "hosts.json", tmp_path / "play.json", "--diff", *arguments],
                env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"), "ANSIBLE_HOME": str(tmp_path / "home")},
                capture_output=True,
                text=True,
                check=False,
            )
            assert store.secret not in done.stdout + done.stderr
            assert wrong_secret not in done.stdout + done.stderr
            return done

        first = play("-vvv")
        assert first.returncode != 0
        said = " ".join(first.stdout.split())
        assert "One-off imports failed on ch1: late: " in said, said[-3000:]
        assert "the source has no such file, or no row in it" in said
        assert server.query(PRICES.format("prices")) == "[(1,1.25),(2,2.5)]"
        assert server.query(PRICES.format("tariffs")) == "[(7,0.07)]"
        error = "SELECT position(last_error, 'SignatureDoesNotMatch') > 0 FROM product.freshness WHERE snapshot = 'refused'"
        until("a wrong secret key shows", functools.partial(answers, server, error, "1"), 60)

        server.kill()
        server.start()
        put(store, "late.csv", "8,0.08", "9,0.09")
        until("the import is tried again", functools.partial(answers, server, PRICES.format("late"), "[(8,0.08),(9,0.09)]"), 60)
        second = play()
        assert second.returncode == 0, second.stdout + second.stderr
        there = "SELECT arraySort(groupArray(name)) FROM system.tables WHERE database = '{}'"
        left = "['freshness','late','prices','prices_refresh','refused','refused_refresh','tariff','tariffs']"
        assert server.query(there.format("product")) == left
        assert server.query(there.format("product_source")) == "['prices','refused']"
        assert server.query("SELECT arraySort(groupArray(snapshot)) FROM product.freshness") == "['prices','refused']"
        assert server.query("SELECT dictGet('product.tariff', 'price', 7)") == "0.07"

        put(store, "tariffs.csv", "7,99.99")
        third = play()
        assert " changed=0 " in third.stdout, third.stdout + third.stderr
        assert server.query(PRICES.format("tariffs")) == "[(7,0.07)]"

        server.query("SYSTEM FLUSH LOGS")
        shown = server.query("SELECT create_table_query FROM system.tables") + server.log.read_text(errors="replace")
        if server.query("EXISTS system.query_log") == "1":
            shown += server.query("SELECT query, exception FROM system.query_log")
        assert store.secret not in shown
        assert wrong_secret not in shown


def test_queue_over_a_bucket_keeps_its_state_in_zookeeper(store: S3) -> None:
    """ClickHouse's engine S3Queue on ZooKeeper: each file once, also after a crash of the server."""
    put(store, "queue/1.csv", "1,1")
    with ZooKeeper() as zookeeper, ClickHouse(zookeeper=zookeeper.address, users=ADMIN) as server:
        values = f"url = '{store.url}', access_key_id = '{store.key}', secret_access_key = '{store.secret}'"
        server.query(f"CREATE NAMED COLLECTION exports AS {values}")
        server.query(
            "CREATE TABLE queue (item UInt64, price Float64) ENGINE = S3Queue(exports, filename = 'queue/*.csv', format = 'CSVWithNames') "
            "SETTINGS mode = 'unordered', keeper_path = '/queue'"
        )
        server.query("CREATE TABLE rows (item UInt64, price Float64) ENGINE = MergeTree ORDER BY item")
        server.query("CREATE MATERIALIZED VIEW move TO rows AS SELECT * FROM queue")
        items = "SELECT groupArray(item) FROM (SELECT item FROM rows ORDER BY item)"
        until("the first file is read", functools.partial(answers, server, items, "[1]"), 60)
        server.kill()
        server.start()
        put(store, "queue/2.csv", "2,2")
        until("the second file is read", functools.partial(answers, server, items, "[1,2]"), 60)
