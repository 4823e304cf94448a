# GNU General Public License v3.0+ (see LICENSE)
"""Makes the checkout importable as ansible_collections.groundwork.observability, as ansible itself does, before any test is read."""

from __future__ import annotations

from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

_AnsibleCollectionFinder(paths=[str(Path(__file__).parents[1] / ".collections")])._install()
