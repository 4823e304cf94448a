# GNU General Public License v3.0+ (see LICENSE)
"""Grafana's log lines: logfmt on the console, in paths.logs/grafana.log, or both."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from .store import now

LEVELS = ("debug", "info", "warn", "error")


class Log:
    """Callers never hand secrets to a log line."""

    def __init__(self, modes: list[str], level: str, folder: Path) -> None:
        self._least = LEVELS.index(level) if level in LEVELS else 1
        self._console = "console" in modes
        self._file: Path | None = None
        if "file" in modes:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = folder / "grafana.log"
        self._lock = threading.Lock()

    def __call__(self, level: str, logger: str, message: str, **fields: object) -> None:
        """Write one line, if its level is wanted."""
        if LEVELS.index(level) < self._least:
            return
        values = {"logger": logger, "t": now(), "level": level, "msg": message, **fields}
        line = " ".join(f"{key}={_quote(str(value))}" for key, value in values.items())
        with self._lock:
            if self._console:
                print(line, file=sys.stdout, flush=True)
            if self._file:
                with self._file.open("a", encoding="utf-8") as file:
                    print(line, file=file)


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if not value or set(value) & set(' "=\n') else value
