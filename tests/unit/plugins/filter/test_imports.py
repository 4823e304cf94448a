# GNU General Public License v3.0+ (see LICENSE)
"""Filters are quick to import: a worker of Ansible imports all filter files of a collection, anew for each task that uses one of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[4]
PLUGINS = "ansible_collections.groundwork.observability.plugins"
# The engines behind single filters, which import them when they are called.
ENGINES = (
    *("_constraints", "_dashboards", "_grafana_alerts", "_grafana_content", "_grafana_notifications"),
    *("_hosts", "_product_data", "_site", "_vendor_settings"),
)
LISTED = f"""
import importlib, json, pkgutil, sys
from tests import conftest
import {PLUGINS}.filter as filters
ours = [name for _finder, name, _package in pkgutil.iter_modules(filters.__path__)]
for name in ours:
    importlib.import_module(f"{PLUGINS}.filter.{{name}}")
print(json.dumps([len(ours), sorted(sys.modules)]))
"""


def test_no_engine_is_imported_with_the_filters() -> None:
    done = subprocess.run([sys.executable, "-c", LISTED], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    files, modules = json.loads(done.stdout)
    assert files > 20
    assert [name for name in modules if name.startswith(f"{PLUGINS}.module_utils._grafana")] == []
    assert [name for name in ENGINES if f"{PLUGINS}.plugin_utils.{name}" in modules] == []
    assert "ansible.module_utils.urls" not in modules
