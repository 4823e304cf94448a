# GNU General Public License v3.0+ (see LICENSE)
"""The real collector as a program for tests."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from tests.testbed.artifacts import otelcol
from tests.testbed.core import cached


def program() -> Path:
    """The collector of the testbed, unpacked once."""

    def unpack(work: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (archive,) = otelcol.build(Path(folder))
            with tarfile.open(archive) as tar:
                tar.extract(otelcol.BINARY, work, filter="data")

    return cached("otelcol-program", otelcol.inputs(), unpack) / otelcol.BINARY


def newer() -> Path:
    """A newer collector with what a gateway and a node agent need, compiled once. `make test` does without: it takes 10 minutes."""
    return otelcol.compiled(otelcol.NEWER)


def newest_exporter() -> Path:
    """A collector with the newest ClickHouse exporter and little else, compiled once. `make test` does without."""
    return otelcol.compiled(otelcol.NEWEST_EXPORTER)
