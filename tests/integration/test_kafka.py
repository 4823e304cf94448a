# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables over a topic that the README of role product_data declares, with a real broker."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse.client import ClickHouse as Client

from tests.support.clickhouse import ClickHouse, QueryError, until
from tests.support.connect import connection
from tests.support.converge import converge
from tests.support.kafka import PASSWORDS, Kafka

pytestmark = [pytest.mark.integration, pytest.mark.soak]

README = Path(__file__).resolve().parents[2] / "roles/product_data/README.md"
ADMIN = "<users><default><access_management>1</access_management><named_collection_control>1</named_collection_control></default></users>"
BROKERS = "kafka1.example.com:9093,kafka2.example.com:9093"


def declared(kafka: Kafka, user: str = "clickhouse", collection: str = "kafka_1") -> list[dict[str, Any]]:
    """The objects of the README, for a test's broker."""
    text = README.read_text(encoding="utf-8").split("## Topics of Kafka")[1].split("```yaml\n")[1].split("```")[0]
    values = {
        BROKERS: kafka.address,
        "'sasl_ssl'": "'sasl_plaintext'",
        "SCRAM-SHA-512": "PLAIN",
        "'clickhouse'": f"'{user}'",
        "{{ kafka_password }}": PASSWORDS[user],
        "{{ inventory_hostname }}": "ch1",
        "kafka_1": collection,
    }
    for placeholder, value in values.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    return list(yaml.safe_load(text)["telemetry_schema_objects"])


def answers(server: ClickHouse, sql: str, wanted: str) -> bool:
    """Whether a query has this answer."""
    return server.query(sql) == wanted


def test_topic_is_read_into_its_table() -> None:
    """All messages, also after a crash and with another account; those that are no JSON are kept apart."""
    with Kafka() as kafka, ClickHouse(users=ADMIN) as server:
        client = Client(connection(server.port))
        try:
            assert converge(client, *declared(kafka)).changed
            assert not converge(client, *declared(kafka)).changed
        finally:
            client.close()
        settings = "SETTINGS kafka_topic_list = 'orders', kafka_group_name = 'writer', kafka_format = 'RawBLOB'"
        server.query(f"CREATE TABLE writer (message String) ENGINE = Kafka(kafka_1) {settings}")
        message = """concat('{"id": ', toString(number), ', "customer": "c", "total": "', toString(number), '.50"}')"""

        def write(what: str) -> None:
            """Each row is a message. The broker may not serve yet."""

            def written() -> bool:
                try:
                    server.query(f"INSERT INTO writer SETTINGS async_insert = 0 SELECT {what}")
                except QueryError:
                    return False
                return True

            until("the broker takes messages", written, 60)

        rows = "SELECT count(), uniqExact(id), sum(total), max(kafka_offset) FROM events.orders FINAL"
        for number in range(3):
            write(message.replace("number", str(number)))
        until("the first messages are stored", functools.partial(answers, server, rows, "3\t3\t4.5\t2"), 120)
        write("'no JSON'")
        errors = "SELECT message, error != '', kafka_offset FROM events.orders_errors FINAL"
        until("the other one is kept apart", functools.partial(answers, server, errors, "no JSON\t1\t3"), 120)

        write(message.replace("number", "4"))
        server.kill()
        server.start()
        write(message.replace("number", "5"))
        until("it goes on after a crash", functools.partial(answers, server, rows, "5\t5\t14.5\t5"), 120)

        client = Client(connection(server.port))
        try:
            another = declared(kafka, "clickhouse2", "kafka_2")
            (collection,) = [one for one in another if "NAMED COLLECTION" in one.get("ddl", "")]
            assert converge(client, *declared(kafka), collection).changed
            assert converge(client, *another).changed
            assert not converge(client, *another).changed
        finally:
            client.close()
        write(message.replace("number", "6"))
        until("another account goes on", functools.partial(answers, server, rows, "6\t6\t21\t6"), 120)
        assert server.query("SELECT count() FROM events.orders_errors FINAL") == "1"

        shown = server.query("SELECT create_table_query FROM system.tables") + server.log.read_text(errors="replace")
        assert not any(secret in shown for secret in PASSWORDS.values())
