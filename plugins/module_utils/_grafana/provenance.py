# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where objects of Grafana's alerting come from, and what follows from it (private: may change at any time). Pure.

Grafana notes with each object whether the API, a file or a person at its pages has written it. Its pages may change only the last.
A header makes what the API writes count as written by a person.
"""

from __future__ import annotations

import typing as t

from .client import GrafanaError
from .kind import Declared, Found, Observation, matches_any
from .planning import is_as_declared

API, FILE, PAGES = "api", "file", ""
_HEADERS = {"X-Disable-Provenance": "true"}


def wanted_provenance(params: t.Mapping[str, t.Any]) -> str:
    """What the option editable_in_ui asks for."""
    return PAGES if params["editable_in_ui"] else API


def headers_for(subject: Declared | Found | None) -> t.Mapping[str, str]:
    """The headers of a write: as declared, or for what is deleted as it was found."""
    if isinstance(subject, Declared):
        return _HEADERS if _wanted(subject) == PAGES else {}
    return _HEADERS if subject is not None and not subject.raw.get("provenance") else {}


def _wanted(item: Declared) -> str:
    """What is declared: where it can be compared it is in the value."""
    return str({**item.raw, **(item.value or {})}.get("provenance", API))


def check_provenance(item: Declared, found: Found | None, title: str, *, may_become_editable: bool) -> None:
    """Raises C(GrafanaError) for what a file owns, and for what Grafana does not give back to its pages."""
    if found is None or is_as_declared(item, found):
        return
    origin = found.raw.get("provenance")
    if origin == FILE:
        raise GrafanaError(f"{item.where}: {title} comes from a provisioning file: change or remove it there")
    if item.value is not None and origin == API and _wanted(item) == PAGES and not may_become_editable:
        raise GrafanaError(
            f"{item.where}: {title} was written through the API without editable_in_ui, and Grafana does not change that: "
            "delete it first, or leave editable_in_ui false"
        )


def purged_by_pattern(option: str, want: t.Sequence[Declared], observation: Observation, params: t.Mapping[str, t.Any]) -> list[Declared]:
    """What is not declared, comes from no file, and whose key matches one of the patterns of an option of purge."""
    patterns, declared = (params["purge"] or {}).get(option) or [], {item.uid for item in want}
    return [
        Declared(key, None, f"purge.{option}")
        for key, found in sorted(observation.have.items())
        if key not in declared and found.raw.get("provenance") != FILE and matches_any(key, patterns)
    ]
