# GNU General Public License v3.0+ (see LICENSE)
"""The PEM texts that roles write to hosts, from the files that the playbook preflight makes on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleUndefinedVariable
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

VARIABLES = Path(__file__).parents[2] / "roles" / "common" / "vars" / "main" / "main.yml"


def certificate(folder: Path, *, check: bool) -> Any:
    """What a role writes as the certificate of ch1."""
    role = {name: trust_as_template(text) for name, text in yaml.safe_load(VARIABLES.read_text()).items() if "common_tls" in name}
    given = {"common_pki_dir": str(folder), "inventory_hostname": "ch1", "ansible_check_mode": check}
    return Templar(loader=DataLoader(), variables={**role, **given}).template(trust_as_template("{{ common_tls_certificate }}"))


def test_the_file_is_taken_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "ch1.crt").write_text("PEM\n")
    assert certificate(tmp_path, check=False) == certificate(tmp_path, check=True) == "PEM\n"


def test_check_mode_says_that_it_comes_later(tmp_path: Path) -> None:
    assert certificate(tmp_path, check=True) == "(issued when the playbook runs without --check)\n"


def test_a_run_without_the_file_names_the_playbook_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(AnsibleUndefinedVariable, match=rf"{tmp_path} has no certificate of ch1: run playbooks/preflight.yml"):
        certificate(tmp_path, check=False)
