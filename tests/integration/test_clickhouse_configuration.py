# GNU General Public License v3.0+ (see LICENSE)
"""What ClickHouse says of a configuration, asked as role clickhouse asks it before anything is replaced."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.groundwork.observability.plugins.filter.clickhouse_xml import to_clickhouse_xml

from tests.support.clickhouse import ClickHouse
from tests.testbed.artifacts import clickhouse

ROLE = Path(__file__).parents[2] / "roles" / "clickhouse"
VARS = yaml.safe_load((ROLE / "vars" / "main" / "main.yml").read_text(encoding="utf-8"))
(TASK,) = yaml.safe_load((ROLE / "tasks" / "configure.yml").read_text(encoding="utf-8"))
COMMAND = TASK["groundwork.observability.config_tree"]["validate"]
Settings = dict[str, Any]
Ask = Callable[..., subprocess.CompletedProcess[str]]
# What passes the controller's checks, and words of the engine's answer to it.
WRONG: dict[str, tuple[Settings, Settings, tuple[str, ...]]] = {
    "a choice that a setting does not have": ({}, {"profiles": {"default": {"join_algorithm": "fast"}}}, ("join_algorithm", "'fast'")),
    "a unit of time": ({}, {"profiles": {"default": {"max_execution_time": "soon"}}}, ("max_execution_time",)),
    "a profile that is not there": ({}, {"users": {"x": {"password": "x", "profile": "nix"}}}, ("Profile nix",)),
    "a grant": ({}, {"users": {"x": {"password": "x", "grants": {"query": "GRANT NONSENSE ON *.*"}}}}, ("grant", "user 'x'")),
    "a negative number": ({"max_concurrent_queries": -1}, {}, ("max_concurrent_queries",)),
    "a rule for merges": ({"merge_tree": {"merge_selector_algorithm": "best"}}, {}, ("MergeSelectorAlgorithm", "best")),
    "an unknown setting of replicated tables": ({"replicated_merge_tree": {"nix": 1}}, {}, ("'nix'",)),
    "a log's lifetime": ({"query_log": {"database": "system", "table": "query_log", "ttl": "for ever"}}, {}, ("query_log",)),
}


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run the role's check on settings that are like the role's, with these."""

    def ask(settings: Settings, users: Settings) -> subprocess.CompletedProcess[str]:
        base = {
            "path": "/nonexistent/",
            "https_port": 8443,
            "listen_host": ["127.0.0.1"],
            "default_profile": "default",
            "user_directories": VARS["__clickhouse_settings"]["user_directories"],
            "logger": {"level": "information", "console": True},
            "zookeeper": {"node": {"host": "127.0.0.1", "port": 1}},
            "macros": {"shard": 1, "replica": "a"},
        }
        people = {"profiles": {"default": {}}, "quotas": {"default": {}}, "users": {"dba": {"password_sha256_hex": "0" * 64}}}
        files = {
            "config.xml": base,
            "config.d/test.xml": settings,
            "users.xml": people,
            "users.d/test.xml": users,
            "users.d/zz_check.xml": VARS["__clickhouse_check_user"],
        }
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(to_clickhouse_xml(content), encoding="utf-8")
        query = VARS["__clickhouse_check_query"]
        words = [word.replace("{root}", str(tmp_path)).replace("{{ __clickhouse_check_query }}", query) for word in COMMAND[1:]]
        assert not any("{{" in word for word in words)
        environment = {**os.environ, "GROUNDWORK_ENGINE": str(clickhouse.engine_library() / "libchdb.so")}
        return subprocess.run([*ClickHouse.program(), *words], env=environment, capture_output=True, text=True, check=False, timeout=60)

    return ask


@pytest.mark.parametrize("wrong", WRONG)
def test_refused_configuration_is_named(ask: Ask, wrong: str) -> None:
    settings, users, words = WRONG[wrong]
    said = ask(settings, users)
    assert said.returncode != 0, said
    assert [word for word in words if word not in said.stderr] == [], said.stderr


@pytest.mark.parametrize(
    ("settings", "users"),
    [
        ({}, {}),
        ({"max_concurrent_queries": 50, "merge_tree": {"parts_to_throw_insert": 500}}, {"profiles": {"default": {"max_threads": 4}}}),
        # What would keep a user from everything must not keep the check from asking.
        ({}, {"profiles": {"default": {"readonly": 1, "max_rows_to_read": 1, "max_memory_usage": 1000, "allow_ddl": 0}}}),
        ({}, {"users": {"default": {"password_sha256_hex": "0" * 64, "profile": "default"}}}),
    ],
    ids=["the role's own", "others", "strict limits", "a user default"],
)
def test_accepted_configuration(ask: Ask, settings: Settings, users: Settings) -> None:
    said = ask(settings, users)
    assert (said.returncode, said.stdout) == (0, ""), said.stderr
