# GNU General Public License v3.0+ (see LICENSE)
"""The tables in each role's README, made from its argument specification: python -m tests.readme_tables writes them.

A unit test compares them, so that defaults, specification and README cannot drift apart.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[1] / "roles"
BEGIN, END = "<!-- variables: made from meta/argument_specs.yml -->", "<!-- end of variables -->"
VALUES_BEGIN, VALUES_END = "<!-- values: made from plugins/plugin_utils/_constraints.py -->", "<!-- end of values -->"
ALERTS_BEGIN, ALERTS_END = "<!-- alerts: made from files/alerts -->", "<!-- end of alerts -->"


def entry_points(role: str) -> dict[str, Any]:
    """Entry point -> its specification."""
    specs: dict[str, Any] = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return specs


def _text(description: Any) -> str:
    joined = " ".join(description) if isinstance(description, list) else str(description)
    return re.sub(r"\b[CVO]\(([^)]*)\)", r"`\1`", joined).replace("|", "\\|")


def _default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "required, secret" if option.get("no_log") else "required"
    value = option.get("default")
    shown = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{shown}`".replace("|", "\\|")


def table(role: str) -> str:
    """All options of a role, one table an entry point."""
    parts = []
    for name, spec in entry_points(role).items():
        options = spec.get("options") or {}
        if len(entry_points(role)) > 1:
            parts.append(f"### Entry point `{name}`\n\n{spec['short_description']}.\n")
        if options:
            rows = [f"| `{key}` | {value['type']} | {_default(value)} | {_text(value['description'])} |" for key, value in options.items()]
            parts.append("\n".join(["| variable | type | default | |", "|---|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def values_table() -> str:
    """What the words of the constraints mean, as far as they do not say it themselves."""
    from tests import conftest  # noqa: F401  makes the collection importable where pytest has not

    constraints = importlib.import_module("ansible_collections.groundwork.observability.plugins.plugin_utils._constraints")
    rows = [f"| {words} | {looks} |" for words, (_, looks) in constraints.KINDS.items() if looks]
    shown = [re.sub(r"\(\S+\)", "...", row).replace("\\", "") for row in rows]
    return "\n".join(["| a value that must be | is |", "|---|---|", *shown]) + "\n"


def alerts_table() -> str:
    """What each alert is about, and what its threshold is and may be."""
    from tests import conftest  # noqa: F401

    alerts = importlib.import_module("ansible_collections.groundwork.observability.plugins.plugin_utils._grafana_alerts").shipped()
    rows = []
    for alert in alerts:
        ((kind, limit),) = alert["threshold"].items()
        low, high = alert.get("range", ("", ""))
        condition = f"{'>' if kind == 'gt' else '<'} {limit} {alert['unit']}"
        link = f"[`{alert['uid']}`](../../docs/runbooks/{alert['uid']}.md)"
        allowed = f"{low} to {high}" if "range" in alert else "fixed"
        rows.append(f"| {link} | {alert['title']} | {condition} | {allowed} | {alert['for']} | {alert['severity']} |")
    return "\n".join(["| alert | meaning | fires at | may be set to | for | severity |", "|---|---|---|---|---|---|", *rows]) + "\n"


def _between(text: str, begin: str, end: str, content: str) -> str:
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{content}\n{end}{rest.split(end)[1]}"


def rendered(role: str) -> str:
    """The role's README with its tables as they should be."""
    readme = _between((ROLES / role / "README.md").read_text(), BEGIN, END, table(role))
    if ALERTS_BEGIN in readme:
        readme = _between(readme, ALERTS_BEGIN, ALERTS_END, alerts_table())
    return _between(readme, VALUES_BEGIN, VALUES_END, values_table()) if VALUES_BEGIN in readme else readme


if __name__ == "__main__":
    for readme in sorted(ROLES.glob("*/README.md")):
        if BEGIN in readme.read_text():
            readme.write_text(rendered(readme.parent.name))
