# GNU General Public License v3.0+ (see LICENSE)
"""Grafana's configuration files as its own parsers read them: addresses, references to secrets, ldap.toml."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.template import trust_as_template
from ansible_collections.groundwork.observability.plugins.filter import grafana


@pytest.mark.parametrize(
    ("host", "expected"), [("db.example", "db.example:5432"), ("192.0.2.1", "192.0.2.1:5432"), ("2001:db8::1", "[2001:db8::1]:5432")]
)
def test_host_and_port(host: str, expected: str) -> None:
    assert grafana.host_and_port(host, 5432) == expected


@pytest.mark.parametrize(("host", "expected"), [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("gf1.example.com", "0.0.0.0")])
def test_listen_address(host: str, expected: str) -> None:
    assert grafana.listen_address(host) == expected


def test_peers_are_the_hosts_of_the_group() -> None:
    hostvars = {"gf1": {"ansible_host": "192.0.2.1"}, "gf2": {"observability_address": "2001:db8::2", "grafana_alerting_port": 9194}}
    assert grafana.grafana_peers(hostvars, {"grafana": ["gf1", "gf2"]}) == ["192.0.2.1:9094", "[2001:db8::2]:9194"]


def test_each_secret_is_a_file_that_one_setting_names() -> None:
    settings = {"security": {"secret_key": "a b"}, "auth.generic_oauth": {"client_secret": "x"}, "smtp": {"password": ""}}
    files = grafana.grafana_secret_files(settings)
    assert files == [
        {"path": "secrets/security.secret_key", "content": "a b"},
        {"path": "secrets/auth.generic_oauth.client_secret", "content": "x"},
    ]
    assert grafana.grafana_secret_settings(files, "/etc/grafana") == {
        "security": {"secret_key": "$__file{/etc/grafana/secrets/security.secret_key}"},
        "auth.generic_oauth": {"client_secret": "$__file{/etc/grafana/secrets/auth.generic_oauth.client_secret}"},
    }


def test_ldap_toml_is_what_the_data_say() -> None:
    server: dict[str, Any] = {
        "attributes": {"username": "uid"},
        "group_mappings": [{"group_dn": "cn=admins", "org_role": "Admin", "grafana_admin": True}, {"group_dn": "*", "org_role": "Viewer"}],
        "host": "ldap.example.com",
        "bind_password": "quote \" backslash \\ é # [x]",
        "search_base_dns": ["dc=example,dc=com"],
    }
    text = grafana.grafana_ldap_toml([server, {"host": "second", "use_ssl": False}], {"use_ssl": True})
    assert tomllib.loads(text) == {"servers": [{"use_ssl": True, **server}, {"use_ssl": False, "host": "second"}]}


def test_alerts_that_left_the_file_of_a_host_are_deleted() -> None:
    """The text of the host's file is one of Ansible's own kind."""
    template = {"name": "t", "template": "x"}
    first = grafana.grafana_alerting_file(grafana.grafana_alerting_options({"templates": [template]}))
    second = grafana.grafana_alerting_file(grafana.grafana_alerting_options({}), trust_as_template(first))
    assert json.loads(second)["deleteTemplates"] == [{"orgId": 1, "name": "t"}]
    assert grafana.grafana_alerting_file(grafana.grafana_alerting_options({}), trust_as_template(second)) == second
    with pytest.raises(AnsibleFilterError, match="is not as the role wrote it"):
        grafana.grafana_alerting_file(grafana.grafana_alerting_options({}), trust_as_template("x: ["))


def test_files_of_the_controller(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("PEM\n")
    assert grafana.controller_files({"tls/a.crt": str(tmp_path / "ca.pem"), "tls/b.crt": ""}) == [{"path": "tls/a.crt", "content": "PEM\n"}]
    with pytest.raises(AnsibleFilterError, match="nowhere.pem on the controller cannot be read"):
        grafana.controller_files({"tls/a.crt": str(tmp_path / "nowhere.pem")})
