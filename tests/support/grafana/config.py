# GNU General Public License v3.0+ (see LICENSE)
"""grafana.ini over conf/defaults.ini, read by Grafana's rules."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

QUOTES = ('"""', "`", '"', "'")
EXPANDER = re.compile(r"\$(|__\w+){([^}]+)}")
REFERENCE = re.compile(r"%\(([^)]+)\)s")


class ConfigError(Exception):
    """The configuration cannot be read; the message says which file or value."""


def expand(value: str) -> str:
    """Replace `$__file{path}`, `$__env{NAME}` and `${NAME}`."""

    def replace(match: re.Match[str]) -> str:
        kind, argument = match.groups()
        if kind == "__file":
            try:
                return Path(argument).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"failed to expand $__file{{{argument}}}: {error.strerror}") from error
        if kind in ("", "__env"):
            return os.environ.get(argument, "")
        return match[0]

    return EXPANDER.sub(replace, value)


def unquote(text: str) -> str:
    """A quoted value is taken as it is; in a bare one `#` and `;` begin a comment (so passwords need quotes)."""
    text = text.strip()
    for quote in QUOTES:
        if text.startswith(quote) and text.find(quote, len(quote)) > 0:
            return text[len(quote) : text.find(quote, len(quote))]
    return re.split("[#;]", text, maxsplit=1)[0].strip()


class Config:
    """Values by section and key; the last one set wins."""

    def __init__(self, home: Path, files: list[Path], overrides: Mapping[str, str] | None = None) -> None:
        overrides = overrides or {}
        self.home = home
        self.sections: dict[str, dict[str, str]] = {}
        self._read(home / "conf" / "defaults.ini")
        self._override({key[8:]: value for key, value in overrides.items() if key.startswith("default.")})
        for file in files:
            self._read(file)
        self._environment()
        self._override({key: value for key, value in overrides.items() if not key.startswith("default.")})

    def text(self, section: str, key: str, default: str = "") -> str:
        """A value with everything in it expanded."""
        raw = self.sections.get(section, {}).get(key, default)
        return expand(REFERENCE.sub(lambda match: self._reference(section, match), raw))

    def flag(self, section: str, key: str, default: bool = False) -> bool:
        """A switch."""
        return self.text(section, key, str(default)).lower() in ("1", "t", "true", "yes", "y", "on")

    def number(self, section: str, key: str, default: int) -> int:
        """A whole number; the default when it is none."""
        value = self.text(section, key)
        return int(value) if re.fullmatch(r"-?\d+", value) else default

    def path(self, key: str) -> Path:
        """One of [paths], relative to the home folder."""
        return self.home / self.text("paths", key)

    def _reference(self, section: str, match: re.Match[str]) -> str:
        for name in (section, "DEFAULT"):
            if match[1] in self.sections.get(name, {}):
                return self.text(name, match[1])
        return match[0]

    def _read(self, file: Path) -> None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}") from error
        section = "DEFAULT"
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line[0] in "#;":
                continue
            if line[0] == "[" and line[-1] == "]":
                section = line[1:-1].strip()
                continue
            key, separator, value = line.partition("=")
            if not separator:
                raise ConfigError(f"{file}:{number}: key-value delimiter not found")
            self.sections.setdefault(section, {})[key.strip()] = unquote(value)

    def _environment(self) -> None:
        for section, values in self.sections.items():
            for key in values:
                name = re.sub(r"[.-]", "_", f"GF_{section}_{key}" if section != "DEFAULT" else f"GF_{key}").upper()
                if os.environ.get(name):
                    values[key] = os.environ[name]

    def _override(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            section, _dot, key = name.rpartition(".")
            self.sections.setdefault(section or "DEFAULT", {})[key] = value
