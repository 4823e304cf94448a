# GNU General Public License v3.0+ (see LICENSE)
"""What variables of a role are, without a playbook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[2] / "roles"


def rendered(role: str, expression: str, **values: Any) -> Any:
    """What an expression is with the defaults and variables of a role."""
    loader = DataLoader()
    known: dict[str, Any] = {}
    for path in (ROLES / role / "defaults/main.yml", *(ROLES / role / "vars/main").glob("*.yml")):
        known |= loader.load_from_file(str(path), trusted_as_template=True)
    return Templar(loader=loader, variables={**known, **values}).template(trust_as_template(f"{{{{ {expression} }}}}"))
