# GNU General Public License v3.0+ (see LICENSE)
"""Settings that pass through to a program: what it does not know is refused by name, what it knows is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.plugin_utils import _vendor_settings

from tests.support.inventory import Inventory

ROLES = Path(__file__).parents[2] / "roles"

WRONG: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("zookeeper_config", {"tickTimee": 2000}, ("tickTimee is no setting", "did you mean tickTime?", "3.9.4")),
    ("zookeeper_config", {"maxClientCnxn": 10}, ("did you mean maxClientCnxns?",)),
    ("zookeeper_config", {"tickTime": "fast"}, ("zookeeper_config.tickTime is 'fast'", "a number")),
    ("zookeeper_config", {"sslQuorum": "perhaps"}, ("zookeeper_config.sslQuorum", "true or false")),
    ("zookeeper_config", {"dataDir": "/srv/zk"}, ("sets dataDir", "zookeeper_data_dir")),
    ("zookeeper_config", {"secureClientPort": 1234}, ("zookeeper_client_port",)),
    ("zookeeper_config", {"admin.serverPort": 1234}, ("zookeeper_admin_port",)),
    ("zookeeper_config", {"metricsProvider.httpPort": 1234}, ("zookeeper_metrics_port",)),
    ("zookeeper_config", {"server.4": "host:2888:3888"}, ("server.4", "group zookeeper")),
    ("zookeeper_config", {"4lw.commands.whitelst": "*"}, ("did you mean 4lw.commands.whitelist?",)),
    ("clickhouse_config", {"max_concurent_queries": 100}, ("max_concurent_queries is no setting", "did you mean max_concurrent_queries?")),
    ("clickhouse_config", {"max_concurrent_queries": "many"}, ("clickhouse_config.max_concurrent_queries is 'many'", "a number")),
    ("clickhouse_config", {"async_load_databases": "perhaps"}, ("async_load_databases", "true or false")),
    ("clickhouse_config", {"remote_server": {}}, ("did you mean remote_servers?",)),
    ("clickhouse_config", {"logger": {"use_syslog": "perhaps"}}, ("clickhouse_config.logger.use_syslog",)),
    ("clickhouse_config", {"merge_tree": {"max_suspicious_broken_part": 5}}, ("did you mean max_suspicious_broken_parts?",)),
    ("clickhouse_config", {"merge_tree": {"max_suspicious_broken_parts": "five"}}, ("merge_tree.max_suspicious_broken_parts", "a number")),
    ("clickhouse_config", {"path": "/srv/ch/"}, ("clickhouse_data_dir",)),
    ("clickhouse_config", {"https_port": 8444}, ("clickhouse_https_port",)),
    ("clickhouse_config", {"listen_host": "::"}, ("clickhouse_listen",)),
    ("clickhouse_config", {"macros": {"shard": 2}}, ("macros.shard", "clickhouse_shard")),
    ("clickhouse_users_config", {"profile": {}}, ("clickhouse_users_config.profile is no setting", "did you mean profiles?")),
    ("clickhouse_users_config", {"profiles": {"default": {"max_memory_usge": 1}}}, ("did you mean max_memory_usage?",)),
    ("clickhouse_users_config", {"profiles": {"default": {"max_memory_usage": "all"}}}, ("max_memory_usage is 'all'",)),
    ("grafana_ini", {"sever": {"root_url": "https://x/"}}, ("grafana_ini.sever is no setting", "did you mean server?")),
    ("grafana_ini", {"auth.anonymos": {"enabled": False}}, ("did you mean auth.anonymous?",)),
    ("grafana_ini", {"server": {"rooturl": "https://x/"}}, ("grafana_ini.server.rooturl", "did you mean root_url?")),
    ("grafana_ini", {"security": {"cookie_samsite": "lax"}}, ("did you mean cookie_samesite?",)),
    ("grafana_ini", {"server": {"enable_gzip": "perhaps"}}, ("grafana_ini.server.enable_gzip", "true or false")),
    ("grafana_ini", {"database": {"max_open_conn": "many"}}, ("grafana_ini.database.max_open_conn", "a number")),
    ("zookeeper_config", {"tickTime": 0}, ("zookeeper_config.tickTime is 0", "at least 1")),
    ("zookeeper_config", {"initLimit": "5k"}, ("zookeeper_config.initLimit is '5k'", "whole number")),
    ("zookeeper_config", {"snapCount": 99999999999}, ("zookeeper_config.snapCount", "2147483648")),
    (
        "zookeeper_config",
        {"minSessionTimeout": 60000, "maxSessionTimeout": 4000},
        ("minSessionTimeout (60000)", "maxSessionTimeout (4000)"),
    ),
    ("grafana_ini", {"server": {"http_port": 3001}}, ("server.http_port", "grafana_port")),
    ("grafana_ini", {"paths": {"data": "/srv/grafana"}}, ("grafana_data_dir",)),
    ("grafana_ini", {"security": {"admin_user": "root"}}, ("grafana_admin_user",)),
    ("grafana_ini", {"database": {"type": "mysql"}}, ("grafana_ini sets database.type", "grafana_database_type")),
    ("grafana_ini", {"database": {"url": "mysql://x"}}, ("grafana_database_host",)),
    ("grafana_ini", {"smtp": {"host": "x:25"}}, ("grafana_smtp_host",)),
    ("grafana_ini", {"auth.generic_oauth": {"scopes": "openid"}}, ("grafana_oauth_scopes",)),
    ("grafana_secret_ini", {"smtp": {"password": "x"}}, ("grafana_secret_ini sets smtp.password", "grafana_smtp_password")),
    ("grafana_secret_ini", {"auth.githib": {"client_secret": "x"}}, ("did you mean auth.github?",)),
    ("grafana_secret_ini", {"auth.github": {"client_secrets": "x"}}, ("did you mean client_secret?",)),
]
RIGHT: list[dict[str, Any]] = [
    {"zookeeper_config": {"tickTime": "3000", "4lw.commands.whitelist": "*", "authProvider.1": "x", "metricsProvider.exportJvmInfo": True}},
    {"zookeeper_config": {"ssl.quorum.ciphersuites": "x", "ssl.keyStore.type": "PEM", "jute.maxbuffer": 1}, "zookeeper_version": "3.10.0"},
    {
        "clickhouse_config": {
            "max_concurrent_queries": 100,
            "mark_cache_size": "5G",
            "query_thread_log": {"@remove": 1},
            "macros": {"rack": 1},
        }
    },
    {
        "clickhouse_config": {
            "storage_configuration": {"disks": {"x": {"type": "s3"}}},
            "mysql_port": 9004,
            "merge_tree": {"old_parts_lifetime": 60},
        }
    },
    {"clickhouse_config": {"max_concurrent_queries": {"@from_env": "MOST"}, "a_section_of_tomorrow": {"x": 1}}},
    {"clickhouse_config": {"max_concurent_queries": 1}, "clickhouse_version": "27.1.1.1"},
    {
        "clickhouse_users_config": {
            "profiles": {"mine": {"profile": "default", "max_threads": "auto", "constraints": {"max_threads": {"max": 4}}}}
        }
    },
    {
        "grafana_ini": {
            "plugin.grafana-image-renderer": {"rendering_mode": "default"},
            "feature_toggles": {"enable": "x"},
            "smtp": {"ehlo_identity": "x"},
        }
    },
    {"grafana_ini": {"server": {"enable_gzip": "$__env{GZIP}", "router_logging": ""}, "database": {"max_open_conn": "%(x)s", "wal": True}}},
    {"zookeeper_config": {"tickTime": 3000, "minSessionTimeout": -1, "maxSessionTimeout": 90000}},
    {"grafana_ini": {"sever": {"root_url": "https://x/"}}, "grafana_version": "13.0.0"},
    {"grafana_ini": {"users": {"default_theme": "light"}, "auth.generic_oauth": {"enabled": True}}},
]


@pytest.mark.parametrize(("option", "settings", "said"), WRONG, ids=[f"{option}-{settings}"[:70] for option, settings, _ in WRONG])
def test_unknown_settings_are_refused(option: str, settings: dict[str, Any], said: tuple[str, ...]) -> None:
    given: dict[str, Any] = {option: settings}
    found = Inventory().set("all", **given).problems()
    assert [line for line in found if option in line and all(text in line for text in said)], found


@pytest.mark.parametrize("variables", RIGHT, ids=[str(variables)[:70] for variables in RIGHT])
def test_known_settings_are_accepted(variables: dict[str, Any]) -> None:
    assert Inventory().set(**variables).problems() == []


def test_the_roles_own_settings_are_known() -> None:
    known = _vendor_settings.known_settings("zookeeper", "settings")
    own = yaml.safe_load((ROLES / "zookeeper/vars/main/main.yml").read_text(encoding="utf-8"))["__zookeeper_settings"]
    assert [name for name in own if name not in known and not name.startswith("metricsProvider.")] == []
    settings = _vendor_settings.known_settings("clickhouse", "settings")
    profiles = yaml.safe_load((ROLES / "clickhouse/vars/main/main.yml").read_text(encoding="utf-8"))["__clickhouse_users"]["profiles"]
    grafana = yaml.safe_load((ROLES / "grafana/files/known_settings.yml").read_text(encoding="utf-8"))
    variables = yaml.safe_load((ROLES / "grafana/vars/main/main.yml").read_text(encoding="utf-8"))
    ini: dict[str, dict[str, Any]] = {}
    for section, own in [*variables["__grafana_settings"].items(), *variables["__grafana_secret_settings"].items()]:
        # A section that depends on an option is in a variable of its own; that of the database is there once for each kind.
        parts = [own] if isinstance(own, dict) else [variables[name] for name in re.findall(r"__grafana_\w+", own)]
        for part in [kind for found in parts for kind in (found.values() if "sqlite3" in found else [found])]:
            ini.setdefault(section, {}).update(part)
    assert {"host", "password"} <= set(ini["database"]) and {"ha_peers"} <= set(ini["unified_alerting"])
    assert [section for section in ini if section not in grafana["sections"].split()] == []
    assert [name for section, own in ini.items() for name in own if name not in grafana["settings"][section].split()] == []
    assert [name for profile in profiles.values() for name in profile if name not in settings and name != "constraints"] == []


def test_the_lists_are_of_the_versions_that_are_installed() -> None:
    for role, variable in (("zookeeper", "zookeeper_version"), ("clickhouse", "clickhouse_version"), ("grafana", "grafana_version")):
        listed = yaml.safe_load((ROLES / role / "files/known_settings.yml").read_text(encoding="utf-8"))["version"]
        pinned = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text(encoding="utf-8"))[variable]
        assert re.findall(r"\d+", listed)[:2] == re.findall(r"\d+", pinned)[:2]


def grafana_names() -> list[tuple[str, str]]:
    """Each section and setting of grafana.ini that the list has."""
    known = yaml.safe_load((ROLES / "grafana/files/known_settings.yml").read_text(encoding="utf-8"))
    return [(section, name) for section, names in known["settings"].items() for name in names.split()]


def problems_of(sections: dict[str, dict[str, Any]]) -> list[str]:
    host = Inventory().set("all", grafana_ini=sections)
    return [line for line in host.problems() if "is no setting" in line]


def test_every_setting_of_grafana_is_accepted() -> None:
    sections: dict[str, dict[str, Any]] = {}
    for section, name in grafana_names():
        sections.setdefault(section, {})[name] = "x"
    # Values are another matter, see above.
    assert len(sections) > 90
    assert problems_of(sections) == []


def test_misspelt_setting_is_named_in_every_section_of_grafana_ini() -> None:
    """One letter too many, and two that changed places."""
    names = grafana_names()
    known = set(names)
    misspelt = [(section, f"{name[:3]}x{name[3:]}", name) for section, name in names]
    misspelt += [(section, name[:-2] + name[:-3:-1], name) for section, name in names]
    sections: dict[str, dict[str, Any]] = {}
    for section, wrong, _name in misspelt:
        if (section, wrong) not in known:
            sections.setdefault(section, {})[wrong] = "x"
    said = problems_of(sections)
    count = sum(map(len, sections.values()))
    together = " ".join(said)
    every = [f"grafana_ini.{section}.{wrong} " for section, settings in sections.items() for wrong in settings]
    assert [path for path in every if path not in together] == []
    assert count > 1500


def test_misspelt_section_of_grafana_ini_is_named() -> None:
    known = yaml.safe_load((ROLES / "grafana/files/known_settings.yml").read_text(encoding="utf-8"))["sections"].split()
    wrong = {f"{section[:2]}x{section[2:]}": {"a": 1} for section in known}
    assert len(problems_of(wrong)) == len(wrong)


def test_user_defined_names_are_accepted() -> None:
    own: dict[str, Any] = {"plugin.my-app": {"x": 1}, "unified_storage.folders": {"mode": 1}, "feature_toggles": {"alertRule": True}}
    more: dict[str, Any] = dict.fromkeys(("server.custom_response_headers", "smtp.static_headers"), {"X-Anything": "x"})
    assert problems_of({**own, **more}) == []
