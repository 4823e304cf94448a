# GNU General Public License v3.0+ (see LICENSE)
"""What grafana.ini says for values of the role's options, as a parser with Grafana's rules reads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.support.grafana.app import App
from tests.support.grafana.config import Config
from tests.support.grafana.log import Log
from tests.unit.test_rendered_values import BASE, ROLES

DATABASE = {"grafana_database_host": "db.example.com", "grafana_database_password": "database-0123456789"}
TEMPLATE = ROLES / "grafana/templates/grafana.ini.j2"


def grafana_ini(folder: Path, **values: Any) -> Config:
    """The settings of a host with these variables; its secrets are files below the folder."""
    templar = Templar(loader=DataLoader(), variables={**BASE, "__grafana_root": str(folder), **values})
    (folder / "grafana.ini").write_text(templar.template(trust_as_template(TEMPLATE.read_text(encoding="utf-8"))))
    for file in templar.template(trust_as_template("{{ __grafana_secrets }}")):
        (folder / file["path"]).parent.mkdir(exist_ok=True)
        (folder / file["path"]).write_text(file["content"])
    (folder / "conf").mkdir(exist_ok=True)
    shutil.copy(Path(__file__).parents[1] / "support/grafana/defaults.ini", folder / "conf/defaults.ini")
    return Config(folder, [folder / "grafana.ini"])


def section(config: Config, name: str, *keys: str) -> tuple[str, ...]:
    return tuple(config.text(name, key) for key in keys)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"grafana_database_type": "postgres", **DATABASE}, ("postgres", "db.example.com:5432", "verify-full", "database-0123456789")),
        ({"grafana_database_type": "mysql", **DATABASE}, ("mysql", "db.example.com:3306", "true", "database-0123456789")),
        (
            {"grafana_database_type": "mysql", **DATABASE, "grafana_database_tls": "require", "grafana_database_port": 3307},
            ("mysql", "db.example.com:3307", "skip-verify", "database-0123456789"),
        ),
    ],
)
def test_database(tmp_path: Path, values: dict[str, Any], expected: tuple[str, ...]) -> None:
    config = grafana_ini(tmp_path, **values)
    assert section(config, "database", "type", "host", "ssl_mode", "password") == expected
    assert "0123456789" not in (tmp_path / "grafana.ini").read_text()


def test_alerting_peers_are_set_with_several_servers_only(tmp_path: Path) -> None:
    assert section(grafana_ini(tmp_path), "unified_alerting", "ha_peers") == ("",)
    hosts = {"gw1": {"ansible_host": "192.0.2.18"}, "gf2": {"ansible_host": "2001:db8::2"}}
    values = {"hostvars": {**BASE["hostvars"], **hosts}, "groups": {**BASE["groups"], "grafana": ["gw1", "gf2"]}}
    (tmp_path / "second").mkdir()
    config = grafana_ini(tmp_path / "second", **values, grafana_address="192.0.2.18")
    found = section(config, "unified_alerting", "ha_peers", "ha_listen_address")
    assert found == ("192.0.2.18:9094,[2001:db8::2]:9094", "192.0.2.18:9094")


def test_log_in_and_mail(tmp_path: Path) -> None:
    expression = "contains(groups[*], 'a;b#c') && 'Admin' || `Viewer`"
    config = grafana_ini(
        tmp_path,
        grafana_smtp_host="mail.example.com:587",
        grafana_smtp_user="grafana",
        grafana_smtp_password="smtp-;#'\"-0123456789",
        grafana_oauth_client_id="grafana",
        grafana_oauth_client_secret="oauth-0123456789",
        grafana_oauth_role_attribute_path=expression,
        grafana_ldap_servers=[{"host": "ldap"}],
        grafana_secret_ini={"auth.github": {"client_secret": "github-0123456789"}},
        grafana_ini={"auth.github": {"enabled": True}},
    )
    assert section(config, "smtp", "enabled", "host", "password") == ("true", "mail.example.com:587", "smtp-;#'\"-0123456789")
    assert section(config, "smtp", "startTLS_policy") == ("MandatoryStartTLS",)
    found = section(config, "auth.generic_oauth", "enabled", "client_secret", "role_attribute_path", "scopes")
    assert found == ("true", "oauth-0123456789", expression, "openid profile email")
    assert section(config, "auth.ldap", "enabled", "config_file") == ("true", f"{tmp_path}/ldap.toml")
    assert section(config, "auth.github", "enabled", "client_secret") == ("True", "github-0123456789")
    assert "0123456789" not in (tmp_path / "grafana.ini").read_text()


def test_nothing_is_on_by_default(tmp_path: Path) -> None:
    config = grafana_ini(tmp_path)
    assert section(config, "database", "type", "password") == ("sqlite3", "")
    for name in ("smtp", "auth.generic_oauth", "auth.ldap", "auth.anonymous"):
        assert not config.flag(name, "enabled"), name


def test_plugins_are_loaded_from_their_folders(tmp_path: Path) -> None:
    """By the stand-in, which looks for plugins where grafana.ini says."""
    plugins = [{"id": "pie-panel", "version": "1.0.0"}]
    folders = {"common_install_dir": str(tmp_path / "opt"), "grafana_data_dir": str(tmp_path / "data")}
    config = grafana_ini(tmp_path, grafana_plugins=plugins, **folders)
    home = tmp_path / "opt/grafana-plugin-pie-panel/current"
    assert section(config, "plugin.pie-panel", "path") == (str(home),)
    (home / "pie-panel").mkdir(parents=True)
    (home / "pie-panel/plugin.json").write_text('{"id": "pie-panel"}')
    assert set(App(config, Log([], "error", tmp_path)).plugins) == {"pie-panel"}
    assert App(grafana_ini(tmp_path, **folders), Log([], "error", tmp_path)).plugins == {}
