# GNU General Public License v3.0+ (see LICENSE)
"""Makes the checkout importable as ansible_collections.groundwork.observability, as ansible itself does, before any test is read."""

from __future__ import annotations

from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from hypothesis import settings

# How long an example takes says something of the machine, not of the code.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

_AnsibleCollectionFinder(paths=[str(Path(__file__).parents[1] / ".collections")])._install()
