# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a changed secret is found although Grafana never shows secrets (private: may change at any time).

A salted digest of all secrets of an object is kept among its settings that are no secrets, under :data:`RECORD`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import typing as t

RECORD = "groundworkSecrets"
MASK = "********"
OTHER = "******** (another value)"
# What the option update_secrets may be.
DIGEST, ALWAYS, ON_CREATE = "digest", "always", "on_create"


def digest(secrets: t.Mapping[str, str], salt: str) -> str:
    """A digest of names and values that takes long to make: whoever may see the object may guess at the secrets offline."""
    text = json.dumps(sorted(secrets.items())).encode()
    return hashlib.scrypt(text, salt=salt.encode(), n=2**14, r=8, p=1, maxmem=2**26, dklen=32).hex()


def new_salt() -> str:
    """A salt that no other object has."""
    return os.urandom(16).hex()


def make_record(secrets: t.Mapping[str, str], salt: str) -> dict[str, str]:
    """What is kept under :data:`RECORD`."""
    return {"salt": salt, "scrypt": digest(secrets, salt)}


def matches(record: t.Any, secrets: t.Mapping[str, str]) -> bool:
    """Whether a record was made from these secrets."""
    if not isinstance(record, dict):
        return False
    return hmac.compare_digest(str(record.get("scrypt")).encode(), digest(secrets, str(record.get("salt"))).encode())
