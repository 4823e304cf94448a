# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module clickhouse_info against the real engine."""

from __future__ import annotations

import json
import time
import typing as t
from collections.abc import Callable, Iterator

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.groundwork.observability.plugins.module_utils import _clickhouse_info as info
from ansible_collections.groundwork.observability.plugins.module_utils._clickhouse_query import Answer, Session
from ansible_collections.groundwork.observability.plugins.modules import clickhouse_info

from tests.support.clickhouse import ClickHouse
from tests.support.daemon import free_ports
from tests.support.http_server import http_server
from tests.support.zookeeper import ZooKeeper

pytestmark = pytest.mark.integration

Result = dict[str, t.Any]
Run = Callable[..., Result]

ANYWHERE = "<networks><ip>::/0</ip></networks><quota>default</quota>"
DIGEST = "5e" * 32
USERS = f"""
<profiles>
  <default><max_memory_usage>5000000000</max_memory_usage><max_threads>2</max_threads>
    <output_format_json_quote_64bit_integers>1</output_format_json_quote_64bit_integers></default>
  <one><readonly>1</readonly></one>
</profiles>
<roles>
  <analyst><grants><query>GRANT SELECT ON shop.*</query></grants></analyst>
  <chief><grants><query>GRANT analyst</query></grants></chief>
</roles>
<users>
  <reader><password>hunter2-reader</password>{ANYWHERE}<profile>default</profile>
    <grants><query>GRANT SELECT ON shop.*</query></grants></reader>
  <admin><password>hunter2-admin</password>{ANYWHERE}<profile>default</profile><access_management>1</access_management></admin>
  <one><password>hunter2-one</password>{ANYWHERE}<profile>one</profile></one>
  <sums><password_sha256_hex>{DIGEST}</password_sha256_hex>{ANYWHERE}<profile>default</profile>
    <grants><query>GRANT analyst</query><query>GRANT SELECT(a, `it's`), INSERT ON shop.t WITH GRANT OPTION</query></grants></sums>
</users>
"""
ADMIN = {"login_user": "admin", "login_password": "hunter2-admin"}
READER = {"login_user": "reader", "login_password": "hunter2-reader"}

# What community.clickhouse's clickhouse_info returns (its documentation, 2026), by section: keys of an entry.
PEER = {
    "databases": "engine data_path metadata_path uuid engine_full comment",
    "users": "id storage auth_type auth_params host_ip host_names host_names_regexp host_names_like default_roles_all default_roles_list "
    "default_roles_except grantees_any grantees_list grantees_except default_database roles grants",
    "roles": "id storage grants",
    "settings": "value changed description min max readonly type default alias_for",
    "merge_tree_settings": "value changed description min max readonly type",
    "quotas": "id storage keys durations apply_to_all apply_to_list apply_to_except",
    "settings_profiles": "id storage num_elements apply_to_all apply_to_list apply_to_except",
    "storage_policies": "volume_name volume_priority disks volume_type max_data_part_size move_factor prefer_not_to_merge",
}
PEER_TABLE = (
    "uuid engine is_temporary data_paths metadata_path metadata_modification_time dependencies_database dependencies_table "
    "create_table_query engine_full as_select partition_key sorting_key primary_key sampling_key storage_policy total_rows total_bytes "
    "parts active_parts total_marks lifetime_rows lifetime_bytes comment has_own_data loading_dependencies_database "
    "loading_dependencies_table loading_dependent_database loading_dependent_table"
)
PEER_DICTIONARY = (
    "uuid status origin key.names key.types attribute.names attribute.types bytes_allocated hierarchical_index_bytes_allocated query_count "
    "hit_rate found_rate element_count load_factor source lifetime_min lifetime_max loading_start_time last_successful_update_time "
    "loading_duration last_exception"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouse]:
    with ZooKeeper() as zookeeper:
        node = ClickHouse(users=USERS, zookeeper=zookeeper.address, macros={"shard": "1", "replica": "ä 'a'"})
        shard = f"<shard><replica><host>127.0.0.1</host><port>{node.tcp_port}</port><password>hunter2</password></replica></shard>"
        node.write("config.d/cluster.xml", f"<remote_servers><one>{shard}</one></remote_servers>")
        with node:
            for statement in (
                "CREATE DATABASE shop COMMENT 'it''s a shop'",
                "CREATE DATABASE other",
                "CREATE TABLE shop.t (a UInt64, `it's` String) ENGINE = MergeTree PARTITION BY a % 2 ORDER BY a",
                "CREATE TABLE shop.`漢'` (a UInt64) ENGINE = Memory",
                "CREATE TABLE shop.r (a UInt64) ENGINE = ReplicatedMergeTree('/r', 'a') ORDER BY a",
                "CREATE TABLE other.pg (a UInt64) ENGINE = PostgreSQL('h:1', 'd', 't', 'u', 'hunter2')",
                "CREATE TABLE other.s3 (a UInt64) ENGINE = S3('http://127.0.0.1:1/bucket/a', 'KEY', 'hunter2', 'CSV')",
                "CREATE VIEW other.v AS SELECT * FROM url('http://u:hunter2@h/', 'CSV', 'a UInt64')",
                "CREATE DICTIONARY shop.d (a UInt64, b String) PRIMARY KEY a SOURCE(CLICKHOUSE(QUERY 'SELECT 1, 2' PASSWORD 'hunter2')) "
                "LAYOUT(FLAT()) LIFETIME(0)",
                "INSERT INTO shop.t SELECT number, 'x' FROM numbers(1000)",
            ):
                node.query(statement)
            yield node


@pytest.fixture
def run(server: ClickHouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    warnings: list[str] = []
    monkeypatch.setattr(clickhouse_info.AnsibleModule, "warn", lambda _module, message: warnings.append(message))

    def call(*, check: bool = False, **options: t.Any) -> Result:
        where = {"login_host": server.host, "login_port": server.port, "secure": False, "retries": 0}
        arguments = {"_ansible_check_mode": check, **where, **options}
        capsys.readouterr()
        warnings.clear()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            clickhouse_info.main()
        return {**json.loads(capsys.readouterr().out), "warnings": list(warnings)}

    return call


def test_everything(server: ClickHouse, run: Run) -> None:
    result = run(filter=["all"], **ADMIN)
    assert "failed" not in result, result["msg"]
    assert result["skipped"] == {}
    assert not result["changed"]
    assert {*info.ALWAYS, *info.SECTIONS} <= set(result)

    assert result["version"]["raw"] == server.query("SELECT version()")
    assert result["version"]["year"] == 26
    assert result["driver"]["version"]
    assert result["server"]["uptime"] >= 0
    assert result["server"]["user"] == "admin"
    assert result["macros"] == {"shard": "1", "replica": "ä 'a'"}
    replica = result["clusters"]["one"]["shards"]["1"]["replicas"]["1"]
    assert (replica["port"], replica["is_local"]) == (server.tcp_port, 1)

    assert result["databases"]["shop"]["comment"] == "it's a shop"
    table = result["tables"]["shop"]["t"]
    assert (table["engine"], table["total_rows"], table["active_parts"]) == ("MergeTree", 1000, 2)
    assert table["total_bytes"] > 0
    assert result["tables"]["shop"]["漢'"]["engine"] == "Memory"
    assert "query_log" not in result["tables"]["shop"]
    parts = result["parts"]["shop"]["t"]
    assert (parts["rows"], parts["parts"], parts["partitions"]) == (1000, 2, 2)
    assert parts["bytes_on_disk"] > 0
    assert result["dictionaries"]["shop"]["d"]["status"] == "NOT_LOADED"
    replica = result["replicas"]["shop"]["r"]
    assert (replica["healthy"], replica["problems"]) == (True, [])
    assert (replica["active_replicas"], replica["total_replicas"]) == (1, 1)
    assert result["mutations"] == []

    assert "default" in result["quotas"]
    assert {"default", "one"} <= set(result["settings_profiles"])
    assert {"setting_name": "readonly", "value": "1"}.items() <= result["settings_profile_elements"]["profiles"]["one"][0].items()
    assert any(grant["access_type"] == "SELECT" and grant["database"] == "shop" for grant in result["grants"]["roles"]["analyst"])
    assert result["disks"]["default"]["total_space"] > 0
    assert result["storage_policies"]["default"]["volumes"][0]["disks"] == ["default"]
    assert result["changed_server_settings"]["mark_cache_size"]["value"] == "100000000"


def test_database_and_settings_of_the_session(run: Run) -> None:
    result = run(filter=["server", "settings"], login_database="shop", session_settings={"max_threads": 3})
    assert "shop" in result["server"].values()
    assert result["settings"]["max_threads"]["value"] == "3"
    assert run(login_database="nowhere")["msg"].startswith("login_database: ")


def test_users_and_roles(run: Run) -> None:
    result = run(filter=["users", "roles"], **ADMIN)
    users, roles = result["users"], result["roles"]
    assert users["sums"]["roles"] == ["analyst"]
    assert users["sums"]["grants"] == [
        "GRANT INSERT, SELECT(a, `it's`) ON shop.t TO sums WITH GRANT OPTION",
        "GRANT analyst TO sums",
    ]
    assert users["reader"]["grants"] == ["GRANT SELECT ON shop.* TO reader"]
    assert roles["analyst"]["grants"] == ["GRANT SELECT ON shop.* TO analyst"]
    assert roles["chief"]["roles"] == ["analyst"]
    assert run(filter=["roles"], **ADMIN)["roles"] == roles
    assert set(run(filter=["users"], **ADMIN)) & {"users", "roles"} == {"users"}


def test_superset_of_the_peer(run: Run) -> None:
    result = run(limit=["all"], **ADMIN)
    for section, keys in PEER.items():
        for name, entry in result[section].items():
            assert set(keys.split()) <= set(entry), (section, name)
    assert set(PEER_TABLE.split()) <= set(result["tables"]["shop"]["t"])
    assert set(PEER_DICTIONARY.split()) <= set(result["dictionaries"]["shop"]["d"])
    assert {"users", "roles"} <= set(result["grants"])
    assert {"users", "roles", "profiles"} <= set(result["settings_profile_elements"])
    assert {"raw", "year", "feature", "maintenance", "build", "type"} == set(result["version"])
    assert len(result["settings"]) > 1000
    assert len(result["merge_tree_settings"]) > 100


def test_no_secrets(server: ClickHouse, run: Run) -> None:
    text = json.dumps(run(filter=["all"], **ADMIN))
    assert "hunter2" not in text
    # The whole digest: four of its characters also occur in some UUIDs.
    assert DIGEST not in text
    assert "[HIDDEN]" in text


@pytest.mark.parametrize("options", [ADMIN, {"login_user": "one", "login_password": "hunter2-one"}])
def test_changed_settings_are_those_of_the_user(server: ClickHouse, run: Run, options: Result) -> None:
    """Not those that the module sends to get its answers."""
    result = run(filter=["changed_settings", "settings"], **options)
    wanted = server.query(
        "SELECT name, value FROM system.settings WHERE changed", user=options["login_user"], password=options["login_password"]
    )
    found = {name: entry["value"] for name, entry in result["changed_settings"].items()}
    assert found == dict(line.split("\t") for line in wanted.splitlines())
    assert found == {name: entry["value"] for name, entry in result["settings"].items() if entry["changed"]}
    if options is ADMIN:
        assert found["max_memory_usage"] == "5000000000"
        assert found["output_format_json_quote_64bit_integers"] == "1"
        assert "readonly" not in found
    else:
        assert found["readonly"] == "1"


def test_default_leaves_the_large_lists_out(run: Run) -> None:
    result = run(**ADMIN)
    assert not set(info.LARGE) & set(result)
    assert {"changed_settings", "tables", "users"} <= set(result)
    assert run(filter=["version"], **ADMIN).keys() & {*info.ALWAYS, *info.SECTIONS} == {"version"}


def test_databases(run: Run) -> None:
    result = run(databases=["other", "no'such\\"], **ADMIN)
    assert result["skipped"] == {}
    assert list(result["databases"]) == ["other"]
    assert set(result["tables"]) == {"other"}
    assert set(result["tables"]["other"]) == {"pg", "s3", "v"}
    assert result["parts"] == result["replicas"] == result["dictionaries"] == {}
    assert result["users"]
    assert set(run(databases=["shop"], filter=["replicas"], **ADMIN)["replicas"]) == {"shop"}


def test_unfinished_mutations(server: ClickHouse, run: Run) -> None:
    server.query("CREATE TABLE other.m (a UInt64, password String) ENGINE = MergeTree ORDER BY a")
    server.query("INSERT INTO other.m VALUES (1, 'x')")
    server.query("ALTER TABLE other.m UPDATE password = 'hunter2' WHERE throwIf(a = 1)", mutations_sync=0)
    try:
        deadline = time.monotonic() + 20
        while True:
            (mutation,) = run(filter=["mutations"], **ADMIN)["mutations"]
            if mutation["latest_fail_reason"] or time.monotonic() > deadline:
                break
        assert (mutation["database"], mutation["table"], mutation["parts_to_do"], mutation["is_done"]) == ("other", "m", 1, 0)
        assert mutation["latest_fail_reason"]
        assert "hunter2" not in json.dumps(mutation)
        assert run(filter=["mutations"], databases=["shop"], **ADMIN)["mutations"] == []
    finally:
        server.query("KILL MUTATION WHERE database = 'other' SYNC")
        server.query("DROP TABLE other.m SYNC")


def test_unhealthy_replica_is_reported(server: ClickHouse, run: Run) -> None:
    server.query("CREATE TABLE other.one (a UInt64) ENGINE = ReplicatedMergeTree('/two', 'one') ORDER BY a")
    server.query("CREATE TABLE other.two (a UInt64) ENGINE = ReplicatedMergeTree('/two', 'two') ORDER BY a")
    try:
        assert run(filter=["replicas"], databases=["other"], **ADMIN)["replicas"]["other"]["one"]["healthy"]
        server.query("DETACH TABLE other.two SYNC")
        replica = run(filter=["replicas"], databases=["other"], **ADMIN)["replicas"]["other"]["one"]
        assert not replica["healthy"]
        assert replica["problems"] == ["1 of 2 replicas are active"]
    finally:
        server.query("ATTACH TABLE other.two")
        server.query("DROP TABLE other.one SYNC")
        server.query("DROP TABLE other.two SYNC")


def test_unreadable_sections_are_named(run: Run) -> None:
    for check in (True, False):
        result = run(filter=["all"], check=check, **READER)
        assert "failed" not in result, result["msg"]
        denied = {"users", "roles", "grants", "quotas", "settings_profiles", "clusters", "disks", "replicas", "mutations", "parts"}
        assert denied <= set(result["skipped"])
        for section, reason in result["skipped"].items():
            assert result[section] == ([] if section == "mutations" else {})
            assert reason.startswith("Code: 497. ")
            assert "\n" not in reason
            assert f"{section} is empty: {reason}" in result["warnings"]
        assert result["version"]["raw"]
        assert set(result["tables"]) >= {"shop"}
        assert "other" not in result["tables"]


def test_grants_of_others_may_be_hidden_alone(run: Run) -> None:
    """The user default reads all tables of the system, but SHOW USERS was not granted."""
    result = run(filter=["users", "roles"])
    assert set(result["skipped"]) == {"users.grants", "roles.grants"}
    assert result["users"]["sums"]["roles"] == ["analyst"]
    assert result["users"]["sums"]["grants"] == []


def test_constant_number_of_queries(server: ClickHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Session.ask
    seen: list[str] = []

    def counted(connected: Session, statement: str, *args: t.Any, **options: t.Any) -> Answer:
        seen.append(statement)
        return ask(connected, statement, *args, **options)

    monkeypatch.setattr(Session, "ask", counted)
    run(**ADMIN)
    before = len(seen)
    for number in range(20):
        server.query(f"CREATE TABLE other.t{number} (a UInt8) ENGINE = MergeTree ORDER BY a")
    seen.clear()
    assert len(run(**ADMIN)["tables"]["other"]) == 23
    assert len(seen) == before == len(info.SECTIONS) - len(info.LARGE) + 2
    for number in range(20):
        server.query(f"DROP TABLE other.t{number} SYNC")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filter": []}, r"^filter: it is empty, leave it out for everything$"),
        ({"filter": ["nonsense"]}, r"value of filter must be one or more of: all, driver"),
        ({"filter": ["tables", "!users"]}, r"value of filter must be"),
        ({"filter": {"a": 1}}, r"filter"),
        ({"databases": []}, r"^databases: it is empty, leave it out for all$"),
        ({"databases": ["shop", " "]}, r"^databases\[1\]: it is empty$"),
        ({"databases": ["shop", "shop"]}, r"^databases\[1\]: shop is there twice$"),
        ({"database": "shop"}, r"Unsupported parameters.*database"),
        ({"login_port": "http"}, r"login_port"),
        ({"client_key": "/nowhere"}, r"client_key.*client_cert|missing parameter"),
    ],
)  # fmt: skip
def test_bad_input_is_not_sent(run: Run, monkeypatch: pytest.MonkeyPatch, options: Result, message: str) -> None:
    monkeypatch.setattr(clickhouse_info, "Session", lambda _connection: pytest.fail("it was sent"))
    result = run(**options)
    assert result["failed"]
    assert "\n" not in result["msg"]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result["msg"])


def test_an_error_of_another_kind_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(info.SECTIONS, "disks", info.Section("SELECT nothing FROM system.disks", lambda rows: rows))
    result = run(filter=["macros", "disks"], **ADMIN)
    assert result["failed"]
    assert result["code"] == 47
    assert result["msg"].startswith("section disks: Code: 47. ")
    monkeypatch.setitem(info.SECTIONS, "disks", info.Section("SELECT * FROM system.not_in_this_version", lambda rows: rows))
    result = run(filter=["macros", "disks"], **ADMIN)
    assert result["disks"] == {}
    assert "Code: 60. " in result["skipped"]["disks"]
    assert result["macros"]["shard"] == "1"


def test_connection_errors(run: Run) -> None:
    result = run(login_user="admin", login_password="wrong-pw")
    assert result["failed"]
    assert result["code"] in (194, 516)
    assert "wrong-pw" not in json.dumps(result)
    (port,) = free_ports(1)
    result = run(login_port=port)
    assert result["failed"]
    assert f"127.0.0.1:{port}" in result["msg"]
    for answer, message in ((b"18.16.1\n", "is too old"), (b"<html>hello</html>", "is not ClickHouse 24.8 or newer")):
        with http_server(answer) as port:
            assert message in run(login_port=port)["msg"]


def test_without_the_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse_info, "HAS_CLICKHOUSE_CONNECT", False)
    result = run()
    assert result["failed"]
    assert "Failed to import the required Python library (clickhouse-connect)" in result["msg"]
