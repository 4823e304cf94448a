# GNU General Public License v3.0+ (see LICENSE)
"""The built collection in an empty folder, run by a user without privileges, and the vendors' sites that it fills a mirror from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from plugins.module_utils import _artifacts
from plugins.plugin_utils import _components
from tests.support.vendor import Vendor, signed
from tests.testbed import image

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
NOBODY = 65534
# Settings of the tests, which the user does not have.
OTHERS = ("ANSIBLE_", "MOLECULE_", "GROUNDWORK_", "PYTHONPATH", "XDG_")
# A user without privileges. Of root's it may only read, for the programs of these tests may lie in root's home.
UNPRIVILEGED = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


class Installed:
    """What a user has: the collection below `folder`, an inventory, and no checkout."""

    def __init__(self, folder: Path, inventory: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.site = self.home / "site"
        self.mirror = self.home / ".cache" / "groundwork-observability" / "mirror"
        collections = folder / "collections"
        self.given: dict[str, Any] = {}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(OTHERS)},
            "PATH": f"{PROGRAMS}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(self.home),
            "ANSIBLE_HOME": str(self.home / ".ansible"),
            "ANSIBLE_REMOTE_TMP": str(self.home / "tmp"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            # Only to save time: what has been compiled before.
            "PYTHONPATH": str(image.AT_START.parent),
            "GROUNDWORK_COMPILED": str(image.COMPILED),
        }
        built = folder / "built"
        self._galaxy("build", CHECKOUT, "--output-path", built)
        # --no-deps: community.crypto comes with the tests' ansible.
        self._galaxy("install", next(built.glob("*.tar.gz")), "--no-deps", "--collections-path", collections)
        shutil.copytree(inventory, self.site)
        self.own()

    def _galaxy(self, *words: str | Path) -> None:
        # Not from the checkout, where its own settings would find the collection in place.
        command = [PROGRAMS / "ansible-galaxy", "collection", *words]
        subprocess.run(list(map(str, command)), cwd=self.folder, env=self.environment, check=True, capture_output=True)

    def own(self) -> None:
        """Give everything below the user's home to the user."""
        if os.geteuid() == 0:
            for path in (self.home, *self.home.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def play(self, name: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a playbook of the collection as that user, with settings besides those of the inventory."""
        settings = self.home / "settings.json"
        settings.write_text(json.dumps({**self.given, **more}), encoding="utf-8")
        self.own()
        program = PROGRAMS / "ansible-playbook"
        command = [program, "-i", self.site / "hosts.yml", "-e", f"@{settings}", *arguments, f"groundwork.observability.{name}"]
        return subprocess.run(
            [*(UNPRIVILEGED if os.geteuid() == 0 else ()), *map(str, command)],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


@contextlib.contextmanager
def installed(inventory: Path) -> Iterator[Installed]:
    """A user for the time of the block. pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="groundwork-user-") as folder:
        Path(folder).chmod(0o755)
        yield Installed(Path(folder), inventory)


def vendors_table(url: str) -> dict[str, Any]:
    """The roles' table of archives with a local server in place of every vendor: the host's name becomes the path's first folder."""

    def local(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: local(item) for key, item in value.items()}
        if isinstance(value, list):
            return [local(item) for item in value]
        # Whose signature it is stays as it is.
        return value.replace("https://", f"{url}/") if isinstance(value, str) and value.startswith("https://") else value

    return dict(local(_components.archives()))


def publish(vendor: Vendor, table: dict[str, Any], archives: Path, archs: Iterable[str], keys: Path) -> dict[str, str]:
    """Let the server have what the vendors publish: an archive from the folder `archives` if it is there, and a few bytes for others.

    Returns the name of each archive and its path on the server. Of signatures only those by gpg are real, with a key made in the folder
    `keys`: cosign's need the internet.
    """
    places: dict[str, str] = {}
    plugin: dict[str, dict[str, str]] = {}
    lists: dict[str, str] = {}
    for spec in table.values():
        for arch in archs if spec["arch"] != ["any"] else ["any"]:
            wanted = _artifacts.release(spec, str(spec["version"]), arch)
            built = archives / wanted["archive"]
            content: bytes | Path = built if built.exists() else f"{wanted['archive']} for {arch}\n".encode()
            places[wanted["archive"]] = place = wanted["url"].removeprefix(vendor.url)
            vendor.files[place] = content
            checksum = wanted["checksum"]
            data = content.read_bytes() if isinstance(content, Path) else content
            digest = hashlib.new(checksum["algorithm"], data).hexdigest()
            where = checksum["url"].removeprefix(vendor.url)
            if "package" in checksum:
                plugin[checksum["package"]] = {"sha256": digest}
                versions = {"items": [{"version": checksum["version"], "packages": plugin}]}
                vendor.files[where] = json.dumps(versions).encode()
            else:
                lists[where] = lists.get(where, "") + f"{digest}  {wanted['archive']}\n"
                vendor.files[where] = lists[where].encode()
            files = {name: file.removeprefix(vendor.url) for name, file in wanted["signature"].get("files", {}).items()}
            vendor.files.update(dict.fromkeys(files.values(), b"no signature\n"))
            if "keys" in files:
                vendor.files[files["signature"]], vendor.files[files["keys"]] = signed(data, keys)
    return places
