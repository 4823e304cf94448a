# GNU General Public License v3.0+ (see LICENSE)
"""What the routes of the alerting provisioning API share."""

from __future__ import annotations

from .api import Fail, Reply, Request
from .store import Row

READ, WRITE = "alert.provisioning:read", "alert.provisioning:write"


def provenance(request: Request) -> str:
    """What a write leaves behind as the origin of the object."""
    return "" if "x-disable-provenance" in request.headers else "api"


def check_provenance(old: Row | None, new: str) -> None:
    """Policies, mute timings and templates: what came from the API or a file must not lose its origin."""
    if old and old["provenance"] and not new:
        raise Fail(403, f"cannot change provenance from '{old['provenance']}' to ''", traced=True)


def with_provenance(shown: Row, row: Row) -> Row:
    """An object as answered, with its origin where it has one."""
    return {**shown, **({"provenance": row["provenance"]} if row["provenance"] else {})}


def missing() -> Reply:
    """The answer for an object that does not exist, on most of these routes."""
    return Reply(404, "null", "text/plain; charset=utf-8")


def invalid(problem: str) -> Fail:
    """The answer to an object that cannot be."""
    return Fail(400, f"invalid object specification: {problem}", traced=True)
