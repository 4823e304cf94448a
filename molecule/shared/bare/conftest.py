# GNU General Public License v3.0+ (see LICENSE)
"""One scenario is enough for what takes long and is the same in all."""

from __future__ import annotations

import os

collect_ignore = [] if os.environ["MOLECULE_SCENARIO_NAME"] == "default" else ["test_installed.py"]
