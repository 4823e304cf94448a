# GNU General Public License v3.0+ (see LICENSE)
"""Grafana's ClickHouse data source: no registry has it, so a stand-in with its id, version and shape."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from tests.testbed.artifacts import catalogue

NAME = "grafana_clickhouse_datasource"
VERSION = catalogue()[NAME].version
ARCHIVE = catalogue()[NAME].archive
PLUGIN = "grafana-clickhouse-datasource"

FILES = {
    "plugin.json": json.dumps(
        {
            "type": "datasource",
            "id": PLUGIN,
            "name": "ClickHouse (stand-in of the groundwork.observability testbed)",
            "metrics": True,
            "backend": True,
            "info": {
                "description": "Not the vendor's plugin: a stand-in for tests",
                "author": {"name": "groundwork.observability testbed"},
                "version": VERSION,
            },
            "dependencies": {"grafanaDependency": ">=10.4.0", "plugins": []},
        },
        indent=2,
    ),
    "README.md": f"""\
# Stand-in for {PLUGIN} {VERSION}

Made for a testbed that cannot reach the vendor's download. It has the plugin's id and version and none of its code.
""",
}


def inputs() -> list[str | Path]:
    """What the archive depends on."""
    return [VERSION, Path(__file__)]


def build(work: Path) -> list[Path]:
    """Pack the stand-in as the vendor packs the plugin."""
    archive = work / ARCHIVE
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in FILES.items():
            # A fixed date: the same archive whenever it is built.
            info = zipfile.ZipInfo(f"{PLUGIN}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            file.writestr(info, text)
    return [archive]
