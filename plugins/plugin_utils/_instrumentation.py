# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: OpenTelemetry's agents for services of a host, and the environment that loads them. May change at any time."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
import urllib.parse

from ansible_collections.groundwork.observability.plugins.plugin_utils import _components

OPTION = "otel_collector_instrumented_services"
_FILES = _components.ROLES / "otel_collector" / "files"
REQUIREMENTS = _FILES / "opentelemetry_python.txt"
NPM_LOCK = _FILES / "opentelemetry_nodejs" / "package-lock.json"
NODE_PROGRAM = NPM_LOCK.with_name("register.js")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@-]{0,200}\.service")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 _.:/-]{0,126}[A-Za-z0-9])?")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,127}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_KEYS = ("unit", "language", "service_name", "attributes", "environment")
# Language -> the variable that loads its agent, and a separator between the agent and what a service has in it besides.
LOADERS = {"java": ("JAVA_TOOL_OPTIONS", " "), "nodejs": ("NODE_OPTIONS", " "), "python": ("PYTHONPATH", ":")}


def service_problem(service: t.Mapping[str, t.Any]) -> str:
    """What is wrong with an entry of the option, empty where nothing is."""
    unknown = sorted(str(key) for key in service if key not in _KEYS)
    if unknown:
        return f"{', '.join(unknown)}: no such key; there are {', '.join(_KEYS)}"
    unit = service.get("unit")
    if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
        return "unit is missing, or is not the name of a service with its ending, such as shop.service"
    if unit.endswith("@.service") or unit.startswith("otelcol-"):
        return f"unit {unit} is a template or a collector: name one service of an application"
    if service.get("language") not in LOADERS:
        return f"language has to be one of {', '.join(LOADERS)}"
    if not isinstance(service.get("service_name"), str) or not _NAME.fullmatch(service["service_name"]):
        return "service_name is missing, or has other characters than up to 128 letters, digits, spaces and _ . : / -"
    return _texts_problem(service, "attributes", _ATTRIBUTE) or _texts_problem(service, "environment", _VARIABLE) or _owned(service)


def _texts_problem(service: t.Mapping[str, t.Any], key: str, names: re.Pattern[str]) -> str:
    texts = service.get(key, {})
    if not isinstance(texts, t.Mapping):
        return f"{key} has to be a dictionary"
    for name, value in texts.items():
        if not names.fullmatch(str(name)):
            return f"{key} has {str(name)!r}, which is not a name for one of them"
        if isinstance(value, (bool, dict, list)) or value is None or not str(value) or not str(value).isprintable():
            return f"{key}.{name} has to be text or a number, without line breaks"
    return ""


def _owned(service: t.Mapping[str, t.Any]) -> str:
    """The role's own variables and attributes: a second value would win or lose without a word."""
    if "service.name" in service.get("attributes", {}):
        return "attributes has service.name: set service_name"
    for name in service.get("environment", {}):
        if name.startswith("OTEL_EXPORTER_OTLP") or name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
            return f"environment has {name}, which the role sets: use service_name and attributes, and send to the node agent"
    return ""


def services_of(value: t.Any) -> list[t.Mapping[str, t.Any]]:
    """The right entries of the option. Of others preflight says what is wrong."""
    entries = [entry for entry in value if isinstance(entry, t.Mapping)] if isinstance(value, list) else []
    return [entry for entry in entries if not service_problem(entry)]


def name_of(language: str) -> str:
    """Name of an agent's archive among all archives; with C(-) for C(_) its folder below observability_install_dir."""
    return f"opentelemetry_{language}"


def agent_archives() -> dict[str, dict[str, t.Any]]:
    """Name of an archive -> what a role would declare of it, and C(language), whose services need it."""
    requirements = REQUIREMENTS.read_bytes()
    found = re.search(rb"^opentelemetry-distro==([\w.]+)", requirements, flags=re.MULTILINE)
    distro = found[1].decode() if found else "0"
    every: dict[str, t.Any] = {"groups": ["node_agent"], "strip": 0, "checksum": {}}
    python: dict[str, t.Any] = {
        "language": "python",
        "version": f"{distro}-{hashlib.sha256(requirements).hexdigest()[:8]}",
        "arch": ["amd64", "arm64"],
        "archive": "opentelemetry-python-{version}-linux-{arch}.tar",
        # Nobody publishes these packages as one archive: the playbook mirror makes it.
        "url": "",
        "requirements": str(REQUIREMENTS),
    }
    java: dict[str, t.Any] = {
        "language": "java",
        "version_variable": "otel_collector_java_agent_version",
        "version": str(_components.defaults("otel_collector")["otel_collector_java_agent_version"]),
        "arch": ["any"],
        "archive": "opentelemetry-javaagent-{version}.jar",
        "unpack": False,
        "url": "https://github.com/open-telemetry/opentelemetry-java-instrumentation/releases/download/v{version}/opentelemetry-javaagent.jar",
    }
    lock = NPM_LOCK.read_bytes()
    release = json.loads(lock)["packages"]["node_modules/@opentelemetry/auto-instrumentations-node"]["version"]
    packed = lock + NODE_PROGRAM.read_bytes()
    nodejs: dict[str, t.Any] = {
        "language": "nodejs",
        "version": f"{release}-{hashlib.sha256(packed).hexdigest()[:8]}",
        "arch": ["any"],
        "archive": "opentelemetry-nodejs-{version}.tar",
        # As for Python.
        "url": "",
        "npm_lock": str(NPM_LOCK),
    }
    return {name_of(entry["language"]): {**every, **entry} for entry in (java, nodejs, python)}


def environment(service: t.Mapping[str, t.Any], agent: str, endpoint: str, token: str) -> dict[str, str]:
    """The variables with which a service loads its agent, which sends to the node agent of the host.

    :param service: an entry of the option.
    :param agent: the folder or file of the agent on the host.
    :param endpoint: URL of the node agent.
    :param token: the node agent's token.
    """
    loader, separator = LOADERS[service["language"]]
    own = {name: str(value) for name, value in service.get("environment", {}).items()}
    loads = {
        "java": [f"-javaagent:{agent}"],
        "nodejs": [f"--require {agent}"],
        "python": [f"{agent}/opentelemetry/instrumentation/auto_instrumentation", agent],
    }[service["language"]]
    attributes = {name: urllib.parse.quote(str(value), safe="") for name, value in service.get("attributes", {}).items()}
    return {
        **dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "otlp"),
        # Otherwise it replaces the inventory's host.name by the host's own name, and asks for the metadata of several clouds.
        **({"OTEL_NODE_RESOURCE_DETECTORS": "env"} if service["language"] == "nodejs" else {}),
        **own,
        loader: separator.join([*loads, *([own[loader]] if loader in own else [])]),
        "OTEL_SERVICE_NAME": service["service_name"],
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{name}={value}" for name, value in sorted(attributes.items())),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{urllib.parse.quote(token, safe='')}",
    }


def unit_problem(service: t.Mapping[str, t.Any], status: int, text: str, own: str) -> str:
    """Why a service of a host cannot be instrumented, empty where it can.

    :param service: an entry of the option.
    :param status: exit status of C(systemctl cat).
    :param text: what it printed: the files of the unit, each after a comment with its path.
    :param own: path of the role's own file among them.
    """
    unit, (loader, _separator) = service["unit"], LOADERS[service["language"]]
    if status:
        return f"{OPTION}: there is no unit {unit}. Install the application first, or correct the name"
    files = re.split(r"^# (?=/)", text, flags=re.MULTILINE)
    sets = re.compile(rf"^[^#\n]*\b{loader}=", flags=re.MULTILINE)
    setting = [file.partition("\n")[0] for file in files if not file.startswith(f"{own}\n") and sets.search(file)]
    if setting and loader not in service.get("environment", {}):
        return f"{OPTION}: {', '.join(setting)} sets {loader}, which loads the agent. Repeat its value in environment of the entry"
    return ""
