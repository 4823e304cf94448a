# GNU General Public License v3.0+ (see LICENSE)
"""Options that are right alone and cannot work together are refused by name, before any host is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.groundwork.observability.plugins.plugin_utils import _across, _options

from tests.support.dashboards import EXAMPLES
from tests.support.inventory import Inventory
from tests.support.wrong_values import RULE

Change = Callable[[Inventory], Any]
REPLICA = {"clickhouse_shard": 2, "clickhouse_replica": "a"}
GRAFANA_DATABASE = {
    "grafana_database_type": "postgres",
    "grafana_database_host": "db.example.com",
    "grafana_database_password": "psst-0123456789",
}
SHOP = {"refId": "A", "datasourceUid": "shop", "model": {}}
ZK = [{"host": "zk.example.com"}]

SHOP_PORTS = {
    f"otel_collector_gateway_{what}_port": 20000 + number
    for number, what in enumerate(("grpc", "http", "certificate_grpc", "certificate_http", "health", "metrics", "relay"))
}
SECOND: dict[str, Any] = {
    "ansible_host": "192.0.2.18",
    "otel_collector_mode": "gateway",
    "otel_collector_instance": "gateway_shop",
    **SHOP_PORTS,
}


def second(**changed: Any) -> Change:
    """A second gateway on host gw1; a variable that is None is left out."""
    own = {name: value for name, value in {**SECOND, **changed}.items() if value is not None}
    return lambda i: i.add("shop", "collector_instance", **own)


# What is wrong -> the change that makes it so, and what the one line about it says.
WRONG: dict[str, tuple[Change, tuple[str, ...]]] = {
    # Ports of a host, of one role and of several.
    "client port is the quorum's": (
        lambda i: i.set(zookeeper_client_port=2888),
        ("zookeeper_client_port", "zookeeper_quorum_port", "2888"),
    ),
    "election port is the quorum's": (lambda i: i.set(zookeeper_election_port=2888), ("zookeeper_election_port", "zookeeper_quorum_port")),
    "metrics at the client port": (lambda i: i.set(zookeeper_metrics_port=2281), ("zookeeper_metrics_port", "zookeeper_client_port")),
    "metrics everywhere at the admin port": (
        lambda i: i.set(zookeeper_metrics_port=8090, zookeeper_metrics_address="0.0.0.0"),
        ("zookeeper_metrics_port", "zookeeper_admin_port"),
    ),
    "https at the native port": (lambda i: i.set(clickhouse_https_port=9440), ("clickhouse_https_port", "clickhouse_native_port", "9440")),
    "interserver at the https port": (
        lambda i: i.set(clickhouse_interserver_port=8443),
        ("clickhouse_interserver_port", "clickhouse_https_port"),
    ),
    "port as text": (lambda i: i.set(clickhouse_interserver_port="8443"), ("clickhouse_interserver_port", "clickhouse_https_port")),
    "Grafana at ClickHouse's port on its host": (
        lambda i: i.join("gw1", "clickhouse", **REPLICA, grafana_port=8443),
        ("gw1", "grafana_port", "clickhouse_https_port"),
    ),
    "ZooKeeper at ClickHouse's port on its host": (
        lambda i: i.join("zk1", "clickhouse", **REPLICA, zookeeper_client_port=9440),
        ("zk1", "zookeeper_client_port", "clickhouse_native_port"),
    ),
    "ClickHouse everywhere at ZooKeeper's admin port": (
        lambda i: i.join("zk1", "clickhouse", **REPLICA, clickhouse_https_port=8090, clickhouse_listen=["::"]),
        ("zk1", "clickhouse_https_port", "zookeeper_admin_port"),
    ),
    "a gateway's health at the node agent's": (
        lambda i: i.set(otel_collector_gateway_health_port=13134),
        ("otel_collector_gateway_health_port", "otel_collector_node_agent_health_port", "13134"),
    ),
    "two kinds of OTLP at one port": (
        lambda i: i.set(otel_collector_gateway_grpc_port=4318),
        ("otel_collector_gateway_grpc_port", "otel_collector_gateway_http_port"),
    ),
    "an agent's metrics at Grafana's port, everywhere": (
        lambda i: i.set(grafana_address="0.0.0.0", otel_collector_cluster_agent_metrics_port=3000),
        ("otel_collector_cluster_agent_metrics_port", "grafana_port"),
    ),
    # Folders of a host.
    "two services in one folder": (
        lambda i: i.join("zk1", "clickhouse", **REPLICA, zookeeper_data_dir="/srv/data", clickhouse_data_dir="/srv/data"),
        ("clickhouse_data_dir", "zookeeper_data_dir", "/srv/data"),
    ),
    "a service in another's folder": (
        lambda i: i.join("gw1", "clickhouse", **REPLICA, grafana_data_dir="/srv/ch/grafana", clickhouse_data_dir="/srv/ch"),
        ("grafana_data_dir", "clickhouse_data_dir"),
    ),
    "a service in the collectors' folder": (
        lambda i: i.set(grafana_data_dir="/var/lib/otelcol/gateway"),
        ("grafana_data_dir", "/var/lib/otelcol"),
    ),
    # Identities and addresses.
    "one zookeeper_id twice": (lambda i: i.set("zk2", zookeeper_id=1), ("zookeeper_id of zk2", "zk1")),
    "one replica twice": (lambda i: i.set("ch2", clickhouse_replica="a"), ("clickhouse_shard and clickhouse_replica of ch2", "ch1")),
    "even ensemble": (lambda i: i.add("zk4", "zookeeper", zookeeper_id=4), ("group zookeeper has 4 hosts",)),
    "one address twice": (lambda i: i.set("zk2", ansible_host="192.0.2.11"), ("zk2 and zk1", "192.0.2.11", "ansible_host")),
    "one observability_address for all": (lambda i: i.set(observability_address="192.0.2.1"), ("192.0.2.1", "observability_address")),
    "a loopback address": (lambda i: i.set("app1", ansible_host="127.0.0.1"), ("app1", "127.0.0.1", "observability_address")),
    "localhost among others": (lambda i: i.set("gw1", observability_address="localhost"), ("gw1", "localhost", "observability_address")),
    "a gateway on loopback": (
        lambda i: i.set(otel_collector_gateway_listen_address="127.0.0.1"),
        ("gw1", "otel_collector_gateway_listen_address", "agents"),
    ),
    "metrics on loopback": (lambda i: i.set(zookeeper_metrics_address="127.0.0.1"), ("zk1", "zookeeper_metrics_address", "cluster agent")),
    "servers on loopback": (lambda i: i.set(clickhouse_listen=["127.0.0.1"]), ("ch1", "clickhouse_listen", "the other servers")),
    "servers not on loopback": (lambda i: i.set(clickhouse_listen=["192.0.2.14"]), ("clickhouse_listen", "127.0.0.1")),
    # Who may log in.
    "no network of the host itself": (lambda i: i.set(clickhouse_networks=["192.0.2.0/24"]), ("clickhouse_networks", "127.0.0.1")),
    "no network of the gateway": (
        lambda i: i.set(clickhouse_networks=["127.0.0.0/8", "192.0.2.0/28"]),
        ("clickhouse_networks", "192.0.2.18 of gw1"),
    ),
    # Who talks to whom.
    "agents without gateway": (lambda i: i.drop("gateway"), ("node_agent", "group gateway is empty", "otel_collector_gateway_endpoint")),
    "cluster agent without gateway": (
        lambda i: i.drop("gateway").drop("node_agent").drop("prometheus_agent"),
        ("cluster_agent", "gateway"),
    ),
    "gateway without ClickHouse": (
        lambda i: i.drop("clickhouse").set(grafana_clickhouse_host="ch.example.com"),
        ("gateway", "group clickhouse is empty", "otel_collector_clickhouse_endpoint"),
    ),
    "Grafana without ClickHouse": (
        lambda i: i.drop("clickhouse").set(otel_collector_clickhouse_endpoint="https://ch.example.com:8443"),
        ("group clickhouse is empty", "grafana_clickhouse_host"),
    ),
    "ClickHouse without ensemble": (lambda i: i.drop("zookeeper"), ("group zookeeper is empty", "clickhouse_zookeeper_hosts")),
    "two ensembles": (lambda i: i.set(clickhouse_zookeeper_hosts=ZK), ("clickhouse_zookeeper_hosts", "group zookeeper")),
    "a member twice": (
        lambda i: i.drop("zookeeper").set(clickhouse_zookeeper_hosts=ZK * 2),
        ("clickhouse_zookeeper_hosts names a member twice",),
    ),
    # What has to be the same.
    "two clusters": (lambda i: i.set("ch2", clickhouse_cluster="other"), ("clickhouse_cluster differs between ch1 and ch2",)),
    "two native ports": (lambda i: i.set("ch2", clickhouse_native_port=9441), ("clickhouse_native_port differs",)),
    "two quorum ports": (lambda i: i.set("zk2", zookeeper_quorum_port=2889), ("zookeeper_quorum_port differs",)),
    "two election ports": (lambda i: i.set("zk3", zookeeper_election_port=3889), ("zookeeper_election_port differs",)),
    "two cluster secrets": (lambda i: i.set("ch1", clickhouse_cluster_secret="another-0123456789"), ("clickhouse_cluster_secret differs",)),
    "two interserver passwords": (
        lambda i: i.set("ch1", clickhouse_interserver_password="another-0123456789"),
        ("clickhouse_interserver_password differs",),
    ),
    "two passwords of a user": (
        lambda i: i.set("ch1", clickhouse_ingest_password="another-0123456789"),
        ("clickhouse_ingest_password differs",),
    ),
    "two names of a user": (lambda i: i.set("ch1", clickhouse_monitor_user="watcher"), ("clickhouse_monitor_user differs",)),
    "one name for two users": (lambda i: i.set(clickhouse_monitor_user="ingest"), ("clickhouse_admin_user", "ingest", "its own name")),
    "two databases": (lambda i: i.set("ch2", telemetry_schema_database="other"), ("telemetry_schema_database differs",)),
    "two lifetimes of rows": (
        lambda i: i.set("ch2", telemetry_schema_retention={"logs": {"keep": "1d"}}),
        ("telemetry_schema_retention differs",),
    ),
    "rows become cold without a storage policy": (
        lambda i: i.set("ch1 ch2", telemetry_schema_retention={"logs": {"cold_after": "3d"}}),
        ("telemetry_schema_retention: logs has cold_after", "set it"),
    ),
    "a storage policy that no server has": (
        lambda i: i.set("ch1 ch2", telemetry_schema_storage_policy="tiered"),
        ("telemetry_schema_storage_policy is tiered", "clickhouse_config, storage_configuration.policies"),
    ),
    "a disk in a folder of the system": (
        lambda i: i.set("ch1", clickhouse_config={"storage_configuration": {"disks": {"slow": {"path": "/etc/clickhouse/"}}}}),
        ("clickhouse_config: disk slow has the path '/etc/clickhouse/'", "a folder of its own"),
    ),
    "rows become cold where no volume is": (
        lambda i: i.set(
            "ch1 ch2",
            clickhouse_config={"storage_configuration": {"policies": {"tiered": {"volumes": {"default": {"disk": "default"}}}}}},
            telemetry_schema_storage_policy="tiered",
            telemetry_schema_retention={"logs": {"cold_after": "3d"}},
        ),
        ("telemetry_schema_cold_volume is cold", "tiered"),
    ),
    "replicated on one of two": (lambda i: i.set("ch2", telemetry_schema_replicated=False), ("telemetry_schema_replicated differs",)),
    "two gateway tokens": (
        lambda i: i.set("app1", otel_collector_gateway_token="another-0123456789"),
        ("otel_collector_gateway_token differs", "app1"),
    ),
    "two authorities": (lambda i: i.set("app1", observability_pki_dir="/srv/pki"), ("observability_pki_dir differs",)),
    "two mirrors": (lambda i: i.set("app1", observability_mirror="http://mirror.example.com"), ("observability_mirror differs",)),
    # What a setting says and another one takes back.
    "certificates that are always due": (
        lambda i: i.set(observability_tls_days=30, observability_tls_renew_days=30),
        ("observability_tls_days (30)", "observability_tls_renew_days (30)"),
    ),
    "shorter than the default renewal": (lambda i: i.set(observability_tls_days=7), ("observability_tls_days (7)", "renew_days (30)")),
    "one token for both": (
        lambda i: i.set(otel_collector_agent_token="the-same-0123456789", otel_collector_gateway_token="the-same-0123456789"),
        ("otel_collector_gateway_token and otel_collector_agent_token are the same",),
    ),
    "hours without a rate": (
        lambda i: i.set(otel_collector_gateway_queue_hours=5),
        ("otel_collector_gateway_queue_hours is 5", "otel_collector_gateway_queue_rate is 0"),
    ),
    "hours and a share of the disk": (
        lambda i: i.set(otel_collector_agent_queue_hours=5, otel_collector_agent_queue_rate=9, otel_collector_agent_queue_percent=20),
        ("otel_collector_agent_queue_hours is 5", "otel_collector_agent_queue_percent is 20", "set one to 0"),
    ),
    "secrets of no mode": (lambda i: i.set(otel_collector_secret_config={"gatway": {}}), ("otel_collector_secret_config has gatway",)),
    "a suffix of nothing": (lambda i: i.set(otel_collector_clickhouse_table_suffix="_local"), ("otel_collector_clickhouse_table_suffix",)),
    "gateways to another database": (
        lambda i: i.set(otel_collector_clickhouse_database="other"),
        ("otel_collector_clickhouse_database (other)", "telemetry_schema_database (otel)"),
    ),
    "dashboards of another database": (lambda i: i.set(grafana_clickhouse_database="other"), ("grafana_clickhouse_database (other)",)),
    "dashboards at another port": (
        lambda i: i.set(grafana_clickhouse_port=9999),
        ("grafana_clickhouse_port (9999)", "clickhouse_https_port"),
    ),
    "the schema at another port": (lambda i: i.set(telemetry_schema_login_port=9999), ("telemetry_schema_login_port (9999)",)),
    "the schema without TLS": (lambda i: i.set(telemetry_schema_secure=False), ("telemetry_schema_secure",)),
    "tables over another cluster": (
        lambda i: i.set(telemetry_schema_cluster="other"),
        ("telemetry_schema_cluster (other)", "clickhouse_cluster (otel)"),
    ),
    "the server's database": (lambda i: i.set(telemetry_schema_database="system"), ("telemetry_schema_database is system",)),
    "history in the server's database": (lambda i: i.set(telemetry_schema_history="INFORMATION_SCHEMA"), ("telemetry_schema_history is",)),
    "snapshots in the server's database": (lambda i: i.set(product_data_database="system"), ("product_data_database is system",)),
    "snapshots beside telemetry": (
        lambda i: i.set(product_data_database="otel"),
        ("product_data_database (otel)", "telemetry_schema_database"),
    ),
    "a source without its password": (
        lambda i: i.set(product_data_sources=[{"name": "shop", "type": "mysql", "host": "db", "database": "shop", "user": "u"}]),
        ("product_data_passwords has no entry shop", "observability_secrets_file"),
    ),
    "a password without its source": (lambda i: i.set(product_data_passwords={"shop": "x"}), ("product_data_passwords has an entry shop",)),
    "two sets of snapshots": (lambda i: i.set("ch2", product_data_database="other"), ("product_data_database differs",)),
    "a query above the server's memory": (
        lambda i: i.set(clickhouse_config={"max_server_memory_usage": 1000000000}),
        ("clickhouse_grafana_max_memory", "max_server_memory_usage"),
    ),
    "more memory than there is": (
        lambda i: i.set(clickhouse_config={"max_server_memory_usage_to_ram_ratio": 1.5}),
        ("max_server_memory_usage_to_ram_ratio",),
    ),
    "no memory at all": (
        lambda i: i.set(clickhouse_config={"max_server_memory_usage_to_ram_ratio": 0}),
        ("max_server_memory_usage_to_ram_ratio",),
    ),
    # Grafana's database, and who logs in to Grafana.
    "two Grafanas and one file": (
        lambda i: i.join("app1", "grafana"),
        ("group grafana has 2 hosts", "grafana_database_type of gw1, app1 is sqlite3, a file of one host", "group_vars/grafana.yml"),
    ),
    "a database of nobody's": (
        lambda i: i.set(grafana_database_type="postgres"),
        ("grafana_database_type is postgres, and grafana_database_host is not set", "group_vars/grafana.yml"),
    ),
    "a database without a password": (
        lambda i: i.set(grafana_database_type="mysql", grafana_database_host="db"),
        ("grafana_database_password is not set", "observability_secrets_file"),
    ),
    "a database's host for a file": (lambda i: i.set(grafana_database_host="db"), ("grafana_database_host is only used with another",)),
    **{
        f"two Grafanas with another {name}": (
            lambda i, name=name: i.join("app1", "grafana").set(**GRAFANA_DATABASE).set("app1", **{name: "another-0123456789"}),  # type: ignore[misc]
            (f"{name} differs between gw1 and app1", "group_vars/"),
        )
        for name in ("grafana_secret_key", "grafana_admin_password", "grafana_database_host", "grafana_database_password")
    },
    "a certificate that is not there": (
        lambda i: i.set(**GRAFANA_DATABASE, grafana_database_ca_file="/nowhere/ca.pem"),
        ("grafana_database_ca_file is /nowhere/ca.pem", "not a file on the controller"),
    ),
    "mail as nobody": (
        lambda i: i.set(grafana_smtp_user="grafana"),
        ("grafana_smtp_user is set, and grafana_smtp_host, grafana_smtp_password is not",),
    ),
    "a provider without endpoints": (
        lambda i: i.set(grafana_oauth_client_id="x", grafana_oauth_client_secret="another-0123456789"),
        ("grafana_oauth_client_id is set, and grafana_oauth_auth_url, grafana_oauth_token_url, grafana_oauth_api_url is not",),
    ),
    "content that is not there": (lambda i: i.set(grafana_content_dir="/nowhere/content"), ("grafana_content_dir: /nowhere/content",)),
    "a data source that the API cannot find again": (
        lambda i: i.set(grafana_content_delivery="api", grafana_datasources=[{"name": "Shop", "type": "postgres"}]),
        ("grafana_datasources: data source Shop: uid is missing",),
    ),
    "alerts to nobody": (
        lambda i: i.set(grafana_notification_policy={"receiver": "On call"}),
        ("grafana_notification_policy", "sends to On call, which grafana_contact_points does not have"),
    ),
    "alerts of a severity to nobody": (
        lambda i: i.set(grafana_alert_receivers={"default": "grafana-default-email", "critical": ["pager"]}),
        ("grafana_alert_receivers", "sends to pager, which grafana_contact_points does not have"),
    ),
    "alerts sent in two ways": (
        lambda i: i.set(
            grafana_alert_receivers={"default": "grafana-default-email"}, grafana_notification_policy={"receiver": "grafana-default-email"}
        ),
        ("grafana_alert_receivers and grafana_notification_policy both say where alerts go",),
    ),
    "a rule about nothing": (
        lambda i: i.set(grafana_alert_rule_groups=[{"folder": "F", "name": "g", "rules": [{**RULE, "data": [SHOP]}]}]),
        ("rule r asks data source shop, which grafana_datasources does not have",),
    ),
    "two Grafanas to deliver to": (lambda i: i.set(grafana_content_url="https://grafana.example.com"), ("grafana_content_url",)),
    "a plugin twice": (
        lambda i: i.set(grafana_plugins=[{"id": "a-panel", "version": "1.0.0"}, {"id": "a-panel", "version": "1.1.0"}]),
        ("grafana_plugins has a-panel twice",),
    ),
    "a service twice": (
        lambda i: i.set(otel_collector_instrumented_services=[{"unit": "shop.service", "language": "java", "service_name": "shop"}] * 2),
        ("otel_collector_instrumented_services has shop.service twice",),
    ),
    "a data source twice": (
        lambda i: i.set(grafana_datasources=[{"name": "Shop", "type": "postgres"}] * 2),
        ("grafana_datasources: name Shop",),
    ),
    "the role's data source": (
        lambda i: i.set(grafana_datasources=[{"name": "mine", "uid": "clickhouse", "type": "x"}]),
        ("grafana_datasources: uid clickhouse",),
    ),
    "two default data sources": (
        lambda i: i.set(grafana_datasources=[{"name": "mine", "type": "x", "isDefault": True}]),
        ("grafana_datasources: isDefault",),
    ),
    # Groups.
    "a group that is nearly ours": (lambda i: i.add("ch9", "clickhause"), ("group clickhause (ch9)", "did you mean clickhouse?")),
    "a plural": (lambda i: i.add("gw9", "gateways"), ("group gateways", "did you mean gateway?")),
    "a dash": (lambda i: i.add("n9", "node-agent"), ("group node-agent", "did you mean node_agent?")),
    # Users and passwords of one role that another logs in with.
    "a gateway's user that the servers do not have": (
        lambda i: i.set("gw1", otel_collector_clickhouse_username="nobody"),
        ("gw1", "otel_collector_clickhouse_username (nobody)", "clickhouse_ingest_user"),
    ),
    "the cluster agent's user": (
        lambda i: i.set("gw1", otel_collector_clickhouse_monitor_username="nobody"),
        ("otel_collector_clickhouse_monitor_username (nobody)", "clickhouse_monitor_user"),
    ),
    "Grafana's user": (
        lambda i: i.set("gw1", grafana_clickhouse_user="nobody"),
        ("grafana_clickhouse_user (nobody)", "clickhouse_grafana_user"),
    ),
    "the schema's user": (
        lambda i: i.set("ch1 ch2", telemetry_schema_login_user="nobody"),
        ("telemetry_schema_login_user (nobody)", "clickhouse_admin_user"),
    ),
    **{
        f"{name} of its own": (lambda i, name=name: i.set("gw1", **{name: "another-0123456789"}), (f"{name} differs between", "gw1"))  # type: ignore[misc]
        for name in ("clickhouse_ingest_password", "clickhouse_grafana_password", "clickhouse_monitor_password")
    },
    "a further token of gateways is an agent's": (
        lambda i: i.set(otel_collector_gateway_tokens={"shop": "the-same-0123456789"}, otel_collector_agent_token="the-same-0123456789"),
        ("otel_collector_gateway_tokens and otel_collector_agent_token",),
    ),
    "a further token of gateways is their own": (
        lambda i: i.set(otel_collector_gateway_tokens={"shop": "the-same-0123456789"}, otel_collector_gateway_token="the-same-0123456789"),
        ("otel_collector_gateway_tokens has the value of otel_collector_gateway_token",),
    ),
    "programs in the folder of data": (
        lambda i: i.set(observability_install_dir="/srv/x", clickhouse_data_dir="/srv/x/clickhouse"),
        ("clickhouse below observability_install_dir (/srv/x/clickhouse)", "clickhouse_data_dir"),
    ),
    "a group that sounds like ours": (lambda i: i.add("db1", "graphana", ansible_host="192.0.2.99"), ("did you mean grafana?", "db1")),
    "a second gateway with the port of the first one": (
        second(otel_collector_gateway_grpc_port=None),
        ("otel_collector_gateway_grpc_port of shop and otel_collector_gateway_grpc_port of gw1 are both 4317", "give shop a port"),
    ),
    "a second gateway with a port of the node agent": (
        second(otel_collector_gateway_relay_port=8889),
        ("otel_collector_gateway_relay_port of shop and otel_collector_node_agent_metrics_port of gw1 are both 8889",),
    ),
    "two ports of a second gateway": (
        second(otel_collector_gateway_http_port=20000),
        ("shop", "otel_collector_gateway_http_port and otel_collector_gateway_grpc_port are both 20000"),
    ),
    "a third gateway with the name of the second": (
        lambda i: second()(i).add("third", "collector_instance", **SECOND),
        ("otel_collector_instance is gateway_shop for", "third", "192.0.2.18"),
    ),
    "an instance without mode": (second(otel_collector_mode=None), ("shop", "otel_collector_mode is not one of gateway")),
    "an instance without name": (second(otel_collector_instance=None), ("otel_collector_instance (not set) has to begin with gateway_",)),
    "an instance with the name of another mode": (second(otel_collector_instance="node_agent_x"), ("shop", "has to begin with gateway_")),
    "an instance with the name of its mode": (second(otel_collector_instance="gateway"), ("shop", "has to begin with gateway_")),
    "an instance in the group of its mode": (
        lambda i: second()(i).join("shop", "gateway"),
        ("shop is in group collector_instance and in gateway",),
    ),
    "a name of a host outside of the group": (
        lambda i: i.set("gw1", otel_collector_instance="gateway_shop"),
        ("gw1: otel_collector_instance is set", "group collector_instance"),
    ),
    "an instance with another version": (
        second(otel_collector_version="0.150.0"),
        ("otel_collector_version differs between shop and gw1",),
    ),
    "an instance with a wrong value": (second(otel_collector_gateway_memory_mib=1), ("shop", "otel_collector_gateway_memory_mib")),
    "an instance without its secret": (second(otel_collector_gateway_token=""), ("shop", "otel_collector_gateway_token is missing")),
    "a group that sounds like that of instances": (
        lambda i: i.add("shop", "collector_instances", ansible_host="192.0.2.18"),
        ("did you mean collector_instance?",),
    ),
    "clickhouses": (lambda i: i.add("db1", "clickhouses", ansible_host="192.0.2.99"), ("did you mean clickhouse?", "db1")),
}

RIGHT: dict[str, Change] = {
    "the servers' own database, named once more": lambda i: i.set("ch1 ch2", telemetry_schema_database="other").set(
        "gw1", otel_collector_clickhouse_database="other", grafana_clickhouse_database="other"
    ),
    "a group of some of ours": lambda i: i.groups.update(clickhouse1=["ch1"]),
    "a group of another name": lambda i: i.add("db1", "database"),
    "one port on two addresses": lambda i: i.set(zookeeper_metrics_port=8090),
    "everything on one host": lambda i: (
        [i.hosts.pop(name) for name in ("zk2", "zk3", "ch1", "ch2", "gw1", "app1")],
        i.groups.update(dict.fromkeys(i.groups, ["zk1"])),
        i.set("zk1", ansible_host="localhost", clickhouse_shard=1, clickhouse_replica="a"),
    ),
    "ClickHouse elsewhere": lambda i: i.drop("clickhouse").set(
        otel_collector_clickhouse_endpoint="https://ch.example.com:8443",
        otel_collector_clickhouse_database="other",
        otel_collector_clickhouse_table_suffix="_local",
        grafana_clickhouse_host="ch.example.com",
        grafana_clickhouse_port=443,
    ),
    "gateway elsewhere": lambda i: i.drop("gateway").set(otel_collector_gateway_endpoint="gw.example.com:4317"),
    "networks of all": lambda i: i.set(clickhouse_networks=["127.0.0.0/8", "192.0.2.0/24"]),
    "two Grafanas with one database": lambda i: i.join("app1", "grafana").set(**GRAFANA_DATABASE),
    "Grafana with every way to log in": lambda i: i.set(
        grafana_smtp_host="mail.example.com:587",
        grafana_smtp_user="grafana",
        grafana_smtp_password="another-0123456789",
        grafana_oauth_client_id="grafana",
        grafana_oauth_client_secret="another-0123456789",
        **{f"grafana_oauth_{end}_url": f"https://login.example.com/{end}" for end in ("auth", "token", "api")},
        grafana_ldap_servers=[{"host": "ldap.example.com", "search_filter": "(uid=%s)", "search_base_dns": ["dc=example"]}],
        grafana_secret_ini={"auth.github": {"client_secret": "x"}},
    ),
    "another data source": lambda i: i.set(grafana_datasources=[{"name": "Shop", "type": "postgres"}]),
    "users that the inventory adds": lambda i: i.set(clickhouse_users_config={"users": {"mine": {"profile": "ingest"}}}).set(
        "gw1", otel_collector_clickhouse_username="mine", grafana_clickhouse_user="mine"
    ),
    "data below the programs' folder": lambda i: i.set(observability_install_dir="/srv", clickhouse_data_dir="/srv/data"),
    "a group of other servers": lambda i: i.add("db1", "clickhouse_old", ansible_host="192.0.2.99"),
    "a second gateway": second(),
    "a second gateway with a token and a destination of its own": second(
        otel_collector_gateway_token="another-0123456789",
        otel_collector_clickhouse_endpoint="https://ch.example.com:8443",
        otel_collector_clickhouse_database="shop",
    ),
    "second gateways of two hosts": lambda i: second()(i).add("app", "collector_instance", **{**SECOND, "ansible_host": "192.0.2.19"}),
    "log beside the data": lambda i: i.set(zookeeper_data_dir="/srv/zk", zookeeper_log_dir="/srv/zk/log"),
}


def test_number_of_contradictions() -> None:
    assert len(WRONG) >= 40


@pytest.mark.parametrize("wrong", WRONG)
def test_a_contradiction_is_refused(wrong: str) -> None:
    change, said = WRONG[wrong]
    inventory = Inventory()
    change(inventory)
    found = inventory.problems()
    assert [line for line in found if all(text in line for text in said)], found
    assert "another-0123456789" not in str(found)
    assert "the-same-0123456789" not in str(found)


def test_a_dashboard_that_asks_a_data_source_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    inventory = Inventory()
    file = tmp_path / "dashboards/Shop/live.yml"
    file.parent.mkdir(parents=True)
    file.write_text((EXAMPLES / "orders_live.yml").read_text())
    inventory.set(grafana_content_dir=str(tmp_path))
    (found,) = inventory.problems()
    assert f"grafana_content_dir: {file}: asks data source shop of type grafana-postgresql-datasource" in found
    inventory.set(grafana_datasources=[{"name": "Shop", "uid": "shop", "type": "postgres"}])
    assert inventory.problems() == []


@pytest.mark.parametrize("right", RIGHT)
def test_similar_but_valid_inventories_are_accepted(right: str) -> None:
    inventory = Inventory()
    RIGHT[right](inventory)
    assert inventory.problems() == []


def test_every_port_of_a_host_is_known() -> None:
    """An option that is a port of the host is looked at for collisions."""
    stated = {
        name
        for role in ("zookeeper", "clickhouse", "otel_collector", "grafana")
        for name, option in _options.role_options(role).items()
        if "Must be a port of the host." in option["description"]
    }
    assert stated <= {name for ports in _across.LISTENERS.values() for name in ports}
