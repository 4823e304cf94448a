# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""clickhouse_schema beside what people do by hand: one looped task over the statements, in the same run on the same server.

Both make the database and its tables, or one column in each table.

python -m bench.clickhouse_schema [tables ...]; 50 and 1000 by default. Seconds are of the task alone, as
ansible.posix.profile_tasks counts them; without a change, medians of five runs in turns. Requests are what the server counts.
Prints a table; nothing depends on its numbers. Loops are left out above 100 tables. Last come 200 tables without a change that are
declared in other words than the server's, beside the same in its own words.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.clickhouse import ClickHouse

CHECKOUT = Path(__file__).parents[1]
COLUMNS = "k UInt32, v String, w LowCardinality(String) DEFAULT 'x' CODEC(ZSTD(1)), ts DateTime"
REST = "ENGINE = MergeTree PARTITION BY toYYYYMM(ts) ORDER BY (k, ts) TTL ts + INTERVAL 90 DAY"
# Tables for the last comparison.
SPELT = 200


# Of what can be repeated, for the medians.
TURNS = 5


def statements(count: int, more: str = "") -> list[str]:
    return [f"CREATE TABLE d.t{number} ({COLUMNS}{more}) {REST}" for number in range(count)]


def module(server: ClickHouse, ddl: list[str]) -> dict[str, Any]:
    objects = [{"kind": "database", "name": "d"}, *({"ddl": text} for text in ddl)]
    where = {"login_host": server.host, "login_port": server.port, "secure": False, "login_user": "default"}
    return {"name": "ours", "groundwork.observability.clickhouse_schema": {**where, "objects": objects}}


def by_uri(server: ClickHouse, sql: list[str]) -> dict[str, Any]:
    return {"name": "uri", "ansible.builtin.uri": {"url": server.url, "method": "POST", "body": "{{ item }}"}, "loop": sql}


def by_peer(server: ClickHouse, sql: list[str]) -> dict[str, Any]:
    where = {"login_host": server.host, "login_port": server.tcp_port}
    return {"name": "peer", "community.clickhouse.clickhouse_client": {**where, "execute": "{{ item }}"}, "loop": sql}


def seconds(task: dict[str, Any]) -> float:
    """How long a task takes in a play of its own, which has to succeed."""
    with tempfile.TemporaryDirectory() as folder:
        playbook = Path(folder) / "play.json"
        playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]))
        environment = {
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
            "ANSIBLE_NOCOLOR": "1",
        }
        program = Path(sys.executable).with_name("ansible-playbook")
        argv: list[str | Path] = [program, "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}", playbook]
        done = subprocess.run(argv, env={**os.environ, **environment}, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return float(re.findall(rf"^{task['name']} -+ ([\d.]+)s", done.stdout, flags=re.MULTILINE)[0])


def ours(server: ClickHouse, ddl: list[str]) -> tuple[float, int]:
    """Seconds of the module, and its requests.

    The event counts each wait of a connection for another request: a connection of n requests waits n times, and the last wait ends
    when the client closes it. (Queries are another number: each part of C(PARALLEL WITH) is one.)
    """
    asked = "SELECT sum(value) FROM system.events WHERE event = 'HTTPServerConnectionsReused'"
    before = int(server.query(asked))
    took = seconds(module(server, ddl))
    return took, int(server.query(asked)) - before - 1


def in_turns(tasks: list[dict[str, Any]]) -> list[float]:
    """Medians of the seconds of tasks that change nothing. A machine that is slow for a while is so for all of them."""
    took = [[seconds(task) for task in tasks] for _ in range(TURNS)]
    return [statistics.median(column) for column in zip(*took)]


def undo(server: ClickHouse, what: str, count: int) -> None:
    """Take back what a task has made, for the next to make it."""
    if what == "create":
        server.query("DROP DATABASE d SYNC")
    else:
        for number in range(count):
            server.query(f"ALTER TABLE d.t{number} DROP COLUMN x")


def in_other_words() -> None:
    """Tables that are as declared: in the server's own words, and in others."""
    with ClickHouse() as server:
        # The server writes ZSTD(1), which it tells of no text, only of a table that it makes.
        others = [text.replace("v String", "v String CODEC(ZSTD)") for text in statements(SPELT)]
        ours(server, others)
        written = server.query("SELECT create_table_query FROM system.tables WHERE database = 'd' FORMAT JSONCompactColumns")
        (own,) = json.loads(written)
        counted = [ours(server, ddl)[1] for ddl in (own, others)]
        took = in_turns([module(server, ddl) for ddl in (own, others)])
    for words, seconds_, requests in zip(("its own", "other"), took, counted):
        print(f"{SPELT} tables without a change, in {words} words: {seconds_:.2f} s, {requests} requests, {seconds_ / took[0]:.1f} times")


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [50, 1000]
    peer = importlib.util.find_spec("ansible_collections.community.clickhouse") is not None
    if not peer:
        print("community.clickhouse is not in the collection path: without it")
    loops = {"uri": by_uri, **({"clickhouse_client": by_peer} if peer else {})}
    unchanged: dict[int, float] = {}
    print(f"{'tables':>6} {'what':<12} {'ours, s':>8} {'requests':>8}" + "".join(f" {name + ', s':>20} {'times':>6}" for name in loops))
    for count in counts:
        with ClickHouse() as server:
            tables = [text.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS") for text in statements(count)]
            by_hand = ["CREATE DATABASE IF NOT EXISTS d", *tables]
            added = [f"ALTER TABLE d.t{number} ADD COLUMN IF NOT EXISTS x UInt8" for number in range(count)]
            for what, ddl, sql in (
                ("create", statements(count), by_hand),
                ("no change", statements(count), by_hand),
                ("add a column", statements(count, ", x UInt8"), added),
            ):
                own, requests = ours(server, ddl)
                makers = list(loops.values()) if count <= 100 else []
                if what == "no change":
                    own, *others = in_turns([module(server, ddl), *(make(server, sql) for make in makers)])
                    unchanged[count] = own
                else:
                    others = []
                    for make in makers:
                        undo(server, what, count)
                        others.append(seconds(make(server, sql)))
                row = f"{count:>6} {what:<12} {own:>8.2f} {requests:>8}"
                print(row + "".join(f" {other:>20.2f} {other / own:>6.1f}" for other in others), flush=True)
    few, many = min(unchanged), max(unchanged)
    print(f"{many} tables without a change: {unchanged[many] / unchanged[few]:.1f} times the seconds of {few}")
    in_other_words()


if __name__ == "__main__":
    main()
