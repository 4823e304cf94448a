# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""Archives of a mirror: what a vendor calls them, how they are downloaded and verified, and what the lock says about them.

Each role declares its archives in vars/main/component.yml; the README of role common explains the keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import typing as t

from ansible.module_utils.compat.version import LooseVersion

LOCK = "artifacts.lock.yml"
LOCK_HEAD = """\
# Written by the playbook mirror: the SHA-256 of every archive, and what it was compared with. stand_in: true is not the vendor's software.
---
"""
NONE_PUBLISHED = "none published"
NOT_VERIFIED = "not verified: "
VALID = "valid"
# Seconds before each further attempt of a download that broke.
PAUSES = (1, 2, 4)
TIMEOUT = 60
CHUNK = 1 << 20


class ArtifactError(Exception):
    """An archive cannot be had, or is not what it should be: one line for the user."""


class InvalidSignature(ArtifactError):
    """The vendor did not sign this archive."""


def release(spec: t.Mapping[str, t.Any], version: str, arch: str) -> dict[str, t.Any]:
    """An entry of the table for one version and platform, all its placeholders but those of files filled in.

    :param spec: the entry. Only C(archive) and C(url) have to be there.
    :param version: the version, as the vendor writes it.
    :param arch: the platform, as the vendor writes it, for example V(arm64).
    :returns: C(archive), C(url), C(checksum) and C(signature), the latter two empty where the vendor publishes none.
    """
    spec = dict(spec)
    for first, changed in sorted(spec.get("since", {}).items(), key=lambda item: LooseVersion(item[0])):
        if LooseVersion(version) >= LooseVersion(first):
            spec.update(changed)
    known = {"version": version, "arch": arch}
    known["archive"] = filled(spec["archive"], known)
    known["url"] = filled(spec["url"], known)
    return {
        "archive": known["archive"],
        "url": known["url"],
        "checksum": filled(spec.get("checksum", {}), known),
        "signature": filled(spec.get("signature", {}), known),
    }


def filled(value: t.Any, known: t.Mapping[str, str]) -> t.Any:
    """A text, or all texts of a structure, with C({name}) replaced by what is known; other placeholders stay."""
    if isinstance(value, str):
        for name, text in known.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, t.Mapping):
        return {key: filled(item, known) for key, item in value.items()}
    return [filled(item, known) for item in value]


def parse_checksum(text: str, archive: str, checksum: t.Mapping[str, str]) -> str:
    """An archive's checksum as its vendor publishes it: a bare one, lines of C(checksum  name), or versions of a Grafana plugin.

    :param text: what the vendor's URL answered.
    :param archive: the archive's name.
    :param checksum: C(algorithm); for a Grafana plugin also C(version) and C(package).
    :raises ArtifactError: it is not there. It is never guessed from another archive's.
    """
    found: dict[str, str] = {}
    if "package" in checksum:
        try:
            items = json.loads(text)["items"]
            packages = next(item["packages"] for item in items if item["version"] == checksum["version"])
            found[archive] = packages[checksum["package"]][checksum["algorithm"]]
        except (ValueError, KeyError, TypeError, StopIteration):
            pass
    else:
        length = hashlib.new(checksum["algorithm"]).digest_size * 2
        for line in text.splitlines():
            digest, _separator, name = line.strip().partition(" ")
            if len(digest) == length and all(char in "0123456789abcdef" for char in digest.lower()):
                found[name.strip().lstrip("*").rsplit("/", 1)[-1]] = digest.lower()
    if archive in found:
        return found[archive]
    # One alone is that archive's, whatever name the vendor's build gave it.
    if len(found) == 1:
        return next(iter(found.values()))
    raise ArtifactError(f"no {checksum['algorithm']} of {archive} among {len(found)} lines")


def file_hash(path: pathlib.Path, algorithm: str = "sha256") -> str:
    """The checksum of a file of any size, in hexadecimal digits."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def lock_entry(path: pathlib.Path, **statements: t.Any) -> dict[str, t.Any]:
    """What the lock says about an archive: C(sha256), C(size) in bytes, and further statements."""
    return {"sha256": file_hash(path), "size": path.stat().st_size, **statements}


def settled(entry: t.Mapping[str, t.Any], signature: t.Mapping[str, t.Any]) -> bool:
    """Whether everything that can be verified of a pinned archive has been."""
    return "sha256" in entry and not (signature and str(entry.get("signature", NOT_VERIFIED)).startswith(NOT_VERIFIED))


def fetch(
    wanted: t.Mapping[str, t.Any],
    path: pathlib.Path,
    pinned: t.Mapping[str, t.Any],
    pauses: t.Sequence[float] = PAUSES,
) -> tuple[dict[str, t.Any], bool]:
    """Bring one archive to a file and verify it with what is pinned and what the vendor publishes.

    A file that is there already is kept when it is right. A download that broke is continued, also by the next run.

    :param wanted: what RV(release) returned.
    :param path: the file.
    :param pinned: the lock's entry of the archive, empty where it has none.
    :param pauses: seconds before each further attempt.
    :returns: the lock's entry, and whether anything was downloaded.
    :raises ArtifactError: it cannot be downloaded, or is not the right one.
    """
    checksum, signature = wanted["checksum"], wanted["signature"]
    if settled(pinned, signature) and path.exists() and file_hash(path) == pinned["sha256"]:
        return dict(pinned), False
    expected = []
    if "sha256" in pinned:
        expected.append(("sha256", pinned["sha256"], "what the lock pins"))
    if checksum:
        try:
            published = parse_checksum(read(checksum["url"], pauses), wanted["archive"], checksum)
        except ArtifactError as exc:
            raise ArtifactError(f"the checksum of {wanted['archive']} cannot be read at {checksum['url']}: {exc}") from exc
        expected.append((checksum["algorithm"], published, f"what {checksum['url']} publishes"))
    download = not path.exists() or bool(_differences(path, expected))
    if download:
        _download_right(wanted["url"], path, expected, pauses)
    try:
        signed = verify_signature(path, signature, pauses) if signature else pinned.get("signature", NONE_PUBLISHED)
    except InvalidSignature:
        path.unlink()
        raise
    statements = {
        "source": wanted["url"],
        "checksum": f"{checksum['algorithm']} as published" if checksum else pinned.get("checksum", NONE_PUBLISHED),
        "signature": signed,
    }
    return {**pinned, **lock_entry(path, **statements)}, download


def _differences(path: pathlib.Path, expected: t.Sequence[tuple[str, str, str]]) -> list[str]:
    found = []
    for algorithm, digest, where in expected:
        have = file_hash(path, algorithm)
        if have != digest:
            found.append(f"its {algorithm} is {have}, and {where} is {digest}")
    return found


def _download_right(url: str, path: pathlib.Path, expected: t.Sequence[tuple[str, str, str]], pauses: t.Sequence[float]) -> None:
    """Download to a file beside it, which takes its place when it is the right one."""
    part = path.with_name(f".{path.name}.part")
    # What nothing tells to be right or wrong is not put together from two runs.
    if not expected:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    download(url, part, pauses)
    differences = _differences(part, expected)
    if differences and resumed:
        # The vendor may have another file than when the first half came.
        part.unlink()
        download(url, part, pauses)
        differences = _differences(part, expected)
    if differences:
        part.unlink()
        raise ArtifactError(
            f"{url} is not the right archive: {'; '.join(differences)}. It was thrown away. Ask its vendor, "
            f"or remove {path.name} from observability_lock_file when a changed archive is expected"
        )
    part.chmod(0o644)
    part.replace(path)


def download(url: str, part: pathlib.Path, pauses: t.Sequence[float] = PAUSES) -> None:
    """Download the rest of a file, or all of it. What may pass is tried again, from where it broke.

    :raises ArtifactError: it did not arrive whole. What arrived stays, unless the server refused it for good.
    """
    # Not above: each worker of Ansible imports this for the filters, which need the names of archives only.
    import urllib.error
    from http.client import HTTPException

    from ansible.module_utils import urls

    for pause in (*pauses, None):
        try:
            _download_rest(url, part)
            return
        except (OSError, HTTPException, urls.ConnectionError) as exc:
            code = exc.code if isinstance(exc, urllib.error.HTTPError) else 0
            if pause is None or (400 <= code < 500 and code not in (408, 416, 429)):
                raise ArtifactError(f"{url} cannot be downloaded: {exc or type(exc).__name__}") from exc
            if code == 416:  # more than the whole is there
                part.unlink(missing_ok=True)
            time.sleep(pause)


def _download_rest(url: str, part: pathlib.Path) -> None:
    from ansible.module_utils import urls

    begin = part.stat().st_size if part.exists() else 0
    with urls.open_url(url, headers={"Range": f"bytes={begin}-"} if begin else {}, timeout=TIMEOUT) as response:
        continued = response.status == 206
        size = response.headers["Content-Range"].rpartition("/")[2] if continued else response.headers["Content-Length"]
        with part.open("ab" if continued else "wb") as file:
            for chunk in iter(lambda: response.read(CHUNK), b""):
                try:
                    file.write(chunk)
                    file.flush()
                except OSError as exc:
                    raise ArtifactError(f"{part} cannot be written: {exc.strerror}") from exc
    have = part.stat().st_size
    if size and size.isdigit() and have != int(size):
        raise OSError(f"it broke off after {have} of {size} bytes")


def read(url: str, pauses: t.Sequence[float] = PAUSES) -> str:
    """A small text file.

    :raises ArtifactError: it cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        part = pathlib.Path(folder) / "file"
        download(url, part, pauses)
        return part.read_text(encoding="utf-8", errors="replace")


def verify_signature(path: pathlib.Path, signature: t.Mapping[str, t.Any], pauses: t.Sequence[float] = PAUSES) -> str:
    """Verify a file with the vendor's own tool.

    :param signature: C(files), name -> URL, and C(commands), run one after the other until one fails.
    :returns: V(valid), or why it could not be verified, which is what the lock says then.
    :raises InvalidSignature: the signature is not valid.
    :raises ArtifactError: a file that it needs cannot be downloaded.
    """
    for command in signature["commands"]:
        if not shutil.which(command[0]):
            return f"{NOT_VERIFIED}{command[0]} is not installed on the controller"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        known = {"folder": folder, "path": str(path)}
        for name, url in signature["files"].items():
            known[name] = str(pathlib.Path(folder) / name)
            download(url, pathlib.Path(known[name]), pauses)
        for command in signature["commands"]:
            done = subprocess.run(
                filled(command, known), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if done.returncode:
                said = " ".join(line.strip() for line in done.stdout.splitlines()[-3:])
                raise InvalidSignature(f"the signature of {path.name} is not valid: {command[0]} says {said!r}. It was thrown away")
    return VALID
