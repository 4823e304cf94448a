# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications of the Grafana modules (private: may change at any time)."""

from __future__ import annotations

import typing as t

Spec = dict[str, t.Any]

# What the option allow of grafana_folders may list.
DELETE_CONTENT = "delete_content"
_TEXT = {"type": "str"}
_TEXTS = {"type": "list", "elements": "str"}
_DATASOURCE_FLAGS = {"basic_auth": "basicAuth", "with_credentials": "withCredentials", "is_default": "isDefault"}
_FOLDER = {"folder_uid": {**_TEXT, "default": ""}, "folder": _TEXT}
_PURGE = {"type": "bool", "default": False}
# The roles of organisations.
ROLES = ("Viewer", "Editor", "Admin", "None")
_STATE = {**_TEXT, "choices": ["present", "absent"], "default": "present"}


def connection_spec() -> Spec:
    """Options of the connection, which all modules have; the documentation fragment C(grafana) describes them."""
    return {
        "url": {**_TEXT, "required": True, "aliases": ["grafana_url"]},
        "url_username": {**_TEXT, "aliases": ["grafana_user"]},
        "url_password": {**_TEXT, "no_log": True, "aliases": ["grafana_password"]},
        "token": {**_TEXT, "no_log": True, "aliases": ["grafana_api_key"]},
        **dict.fromkeys(("client_cert", "client_key", "ca_path"), {"type": "path"}),
        "validate_certs": {"type": "bool", "default": True},
        "use_proxy": {"type": "bool", "default": True},
        "http_agent": {**_TEXT, "default": "ansible-groundwork-observability"},
        "timeout": {"type": "int", "default": 30},
        "retries": {"type": "int", "default": 3},
        "org_id": {"type": "int"},
        "org_name": _TEXT,
    }


def connection_rules() -> Spec:
    """Rules between the options above, as arguments of C(AnsibleModule)."""
    return {
        "mutually_exclusive": [("token", "url_username"), ("org_id", "org_name")],
        "required_together": [("url_username", "url_password")],
        "required_one_of": [("token", "url_username", "client_cert")],
        "required_by": {"client_key": ["client_cert"]},
    }


def folders_spec() -> Spec:
    """Options of C(grafana_folders)."""
    folder = {
        "uid": {**_TEXT, "required": True},
        "title": {**_TEXT, "aliases": ["name"]},
        "parent_uid": {**_TEXT, "default": ""},
        "state": _STATE,
    }
    return {
        **connection_spec(),
        "folders": {"type": "list", "elements": "dict", "required": True, "options": folder},
        "purge": {**_TEXTS, "default": []},
        "allow": {**_TEXTS, "choices": [DELETE_CONTENT], "default": []},
    }


def datasources_spec() -> Spec:
    """Options of C(grafana_datasources)."""
    texts = {name: {**_TEXT, "default": ""} for name in ("user", "database")}
    flags = {name: {"type": "bool", "aliases": [alias]} for name, alias in _DATASOURCE_FLAGS.items()}
    datasource = {
        "uid": {**_TEXT, "required": True},
        "name": _TEXT,
        "type": {**_TEXT, "aliases": ["ds_type"]},
        "access": {**_TEXT, "choices": ["proxy", "direct"], "default": "proxy"},
        "url": {**_TEXT, "default": "", "aliases": ["ds_url"]},
        **texts,
        **flags,
        "basic_auth_user": {**_TEXT, "aliases": ["basicAuthUser"]},
        "json_data": {"type": "dict", "default": {}, "aliases": ["jsonData", "additional_json_data"]},
        "secure_json_data": {"type": "dict", "no_log": True, "aliases": ["secureJsonData", "additional_secure_json_data"]},
        "state": _STATE,
    }
    purge = {"uids": {**_TEXTS, "required": True}, "keep": {**_TEXTS, "default": []}}
    return {
        **connection_spec(),
        "datasources": {"type": "list", "elements": "dict", "required": True, "options": datasource},
        "update_secrets": {**_TEXT, "choices": ["digest", "always", "on_create"], "default": "digest", "no_log": False},
        "purge": {"type": "dict", "options": purge},
    }


def dashboards_spec() -> Spec:
    """Options of C(grafana_dashboards)."""
    dashboard = {"uid": _TEXT, "dashboard": {"type": "dict"}, "path": {"type": "path"}, **_FOLDER, "state": _STATE}
    directory = {"path": {"type": "path", "required": True}, **_FOLDER}
    return {
        **connection_spec(),
        "dashboards": {"type": "list", "elements": "dict", "default": [], "options": dashboard},
        "directories": {"type": "list", "elements": "dict", "default": [], "options": directory},
        "inputs": {"type": "dict", "default": {}},
        "commit_message": {**_TEXT, "default": "Saved by Ansible"},
        "purge": {**_TEXTS, "default": []},
    }


def library_panels_spec() -> Spec:
    """Options of C(grafana_library_panels)."""
    panel = {
        "uid": {**_TEXT, "required": True},
        "name": _TEXT,
        "kind": {**_TEXT, "choices": ["panel", "variable"], "default": "panel"},
        "model": {"type": "dict"},
        "path": {"type": "path"},
        **_FOLDER,
        "state": _STATE,
    }
    return {
        **connection_spec(),
        "library_panels": {"type": "list", "elements": "dict", "required": True, "options": panel},
        "purge": {**_TEXTS, "default": []},
    }


def silences_spec() -> Spec:
    """Options of C(grafana_silences)."""
    matcher = {
        "name": {**_TEXT, "required": True},
        "value": {**_TEXT, "required": True},
        "is_regex": {"type": "bool", "default": False, "aliases": ["isRegex"]},
        "is_equal": {"type": "bool", "default": True, "aliases": ["isEqual"]},
    }
    silence = {
        **dict.fromkeys(("name", "created_by", "starts_at", "ends_at", "duration"), _TEXT),
        "comment": {**_TEXT, "default": ""},
        "matchers": {"type": "list", "elements": "dict", "options": matcher},
        "state": _STATE,
    }
    purge = {"names": {**_TEXTS, "required": True}, "keep": {**_TEXTS, "default": []}}
    return {
        **connection_spec(),
        "silences": {"type": "list", "elements": "dict", "required": True, "options": silence},
        "purge": {"type": "dict", "options": purge},
    }


def alerting_spec() -> Spec:
    """Options of C(grafana_alerting)."""
    dicts = {"type": "list", "elements": "dict"}
    waits = {"group_wait": "groupWait", "group_interval": "groupInterval", "repeat_interval": "repeatInterval"}
    route = {
        "receiver": _TEXT,
        "group_by": {**_TEXTS, "aliases": ["groupByStr"]},
        **{name: {**_TEXT, "aliases": [alias]} for name, alias in waits.items()},
        "routes": dicts,
        "state": _STATE,
    }
    policy = {
        **route,
        "object_matchers": {"type": "list", "elements": "raw", "aliases": ["objectMatchers", "matchers"]},
        "continue": {"type": "bool", "aliases": ["Continue"]},
        "mute_time_intervals": {**_TEXTS, "aliases": ["muteTimeIntervals"]},
        "active_time_intervals": _TEXTS,
        "position": {**_TEXT, "choices": ["first", "last"], "default": "last"},
    }
    tree = {**route, "receiver": {**_TEXT, "aliases": ["rootPolicyReceiver"]}}
    template = {"name": {**_TEXT, "required": True}, "template": _TEXT, "state": _STATE}
    purge = dict.fromkeys(("templates", "mute_timings", "contact_points", "rule_groups"), _TEXTS)
    return {
        **connection_spec(),
        "rule_groups": {**dicts, "default": [], "options": _rule_group()},
        "contact_points": {**dicts, "default": [], "options": _contact_point()},
        "policies": {**dicts, "default": [], "options": policy},
        "policy_tree": {"type": "dict", "options": tree},
        "mute_timings": {**dicts, "default": [], "options": _mute_timing()},
        "templates": {**dicts, "default": [], "options": template},
        "editable_in_ui": {"type": "bool", "default": False},
        "update_secrets": {**_TEXT, "choices": ["digest", "always", "on_create"], "default": "digest", "no_log": False},
        "purge": {"type": "dict", "options": {**purge, "policies": {"type": "list", "elements": "raw"}}},
    }


def _contact_point() -> Spec:
    return {
        "uid": {**_TEXT, "required": True},
        "name": _TEXT,
        "type": _TEXT,
        "settings": {"type": "dict", "default": {}},
        "secure_settings": {"type": "dict", "no_log": True},
        "disable_resolve_message": {"type": "bool", "default": False, "aliases": ["disableResolveMessage"]},
        "state": _STATE,
    }


def _mute_timing() -> Spec:
    times = {name: {**_TEXT, "required": True} for name in ("start_time", "end_time")}
    interval = {
        "times": {"type": "list", "elements": "dict", "options": times},
        **dict.fromkeys(("weekdays", "days_of_month", "months", "years"), _TEXTS),
        "location": _TEXT,
    }
    intervals = {"type": "list", "elements": "dict", "options": interval}
    return {"name": {**_TEXT, "required": True}, "time_intervals": intervals, "state": _STATE}


def _rule_group() -> Spec:
    rule = {
        "uid": {**_TEXT, "required": True},
        "title": _TEXT,
        "condition": _TEXT,
        "data": {"type": "list", "elements": "dict", "required": True},
        "no_data_state": {
            **_TEXT,
            "choices": ["NoData", "Alerting", "OK", "KeepLast"],
            "default": "NoData",
            "aliases": ["noDataState"],
        },
        "exec_err_state": {
            **_TEXT,
            "choices": ["Error", "Alerting", "OK", "KeepLast"],
            "default": "Error",
            "aliases": ["execErrState"],
        },
        "for": {**_TEXT, "default": "0s"},
        "keep_firing_for": _TEXT,
        "missing_series_evals_to_resolve": {"type": "int", "aliases": ["missingSeriesEvalsToResolve"]},
        "annotations": {"type": "dict", "default": {}},
        "labels": {"type": "dict", "default": {}},
        "is_paused": {"type": "bool", "default": False, "aliases": ["isPaused"]},
        "notification_settings": {"type": "dict"},
        "record": {"type": "dict"},
    }
    return {
        "folder_uid": {**_TEXT, "required": True, "aliases": ["folderUid"]},
        "name": {**_TEXT, "required": True, "aliases": ["title"]},
        "interval": {**_TEXT, "default": "1m"},
        "rules": {"type": "list", "elements": "dict", "default": [], "options": rule},
        "state": _STATE,
    }


def info_spec(sections: t.Sequence[str]) -> Spec:
    """Options of C(grafana_info)."""
    choices = ["all", *sections]
    return {**connection_spec(), "filter": {**_TEXTS, "choices": choices, "default": ["all"], "aliases": ["gather"]}}


def test_notification_spec() -> Spec:
    """Options of C(grafana_test_notification)."""
    annotations = {"type": "dict", "default": {"description": "This is a test. Nothing is wrong."}}
    return {
        **connection_spec(),
        "contact_points": {**_TEXTS, "default": []},
        "labels": {"type": "dict", "default": {}},
        "annotations": annotations,
    }


def access_spec() -> Spec:
    """Options of C(grafana_access)."""
    lists = {
        **_people_options(),
        "service_accounts": _service_account_options(),
        "permissions": _permission_options(),
        "preferences": {
            "team": _TEXT,
            "theme": {**_TEXT, "choices": ["light", "dark", "system", ""]},
            "timezone": _TEXT,
            "week_start": {**_TEXT, "choices": ["saturday", "sunday", "monday", "browser", ""]},
            "language": _TEXT,
            "home_dashboard_uid": _TEXT,
        },
    }
    return {
        **connection_spec(),
        **{name: {"type": "list", "elements": "dict", "default": [], "options": options} for name, options in lists.items()},
    }


def _people_options() -> dict[str, Spec]:
    """Organizations, users and teams."""
    member = {"login": {**_TEXT, "required": True}, "role": {**_TEXT, "choices": list(ROLES), "default": "Viewer"}, "state": _STATE}
    organization = {
        "name": {**_TEXT, "required": True},
        "id": {"type": "int"},
        "users": {"type": "list", "elements": "dict", "options": member},
        "purge": _PURGE,
        "state": _STATE,
    }
    user = {
        "login": {**_TEXT, "required": True},
        "email": _TEXT,
        "name": _TEXT,
        "password": {**_TEXT, "no_log": True},
        "update_password": {**_TEXT, "choices": ["always", "on_create"], "default": "on_create", "no_log": False},
        "is_admin": {"type": "bool"},
        "disabled": {"type": "bool"},
        "state": _STATE,
    }
    team = {
        "name": {**_TEXT, "required": True},
        "email": _TEXT,
        "members": _TEXTS,
        "admins": _TEXTS,
        "purge": {**_PURGE, "aliases": ["enforce_members"]},
        "state": _STATE,
    }
    return {"organizations": organization, "users": user, "teams": team}


def _service_account_options() -> Spec:
    token = {
        "name": {**_TEXT, "required": True},
        "path": {"type": "path"},
        "return_key": {"type": "bool", "default": False},
        "seconds_to_live": {"type": "int"},
        "replace": {**_TEXTS, "choices": ["lost", "expired", "always"], "default": []},
        "state": _STATE,
    }
    return {
        "name": {**_TEXT, "required": True},
        "role": {**_TEXT, "choices": list(ROLES)},
        "disabled": {"type": "bool"},
        "tokens": {"type": "list", "elements": "dict", "no_log": False, "options": token},
        "purge": _PURGE,
        "state": _STATE,
    }


def _permission_options() -> Spec:
    grant = {
        **dict.fromkeys(("user", "team", "service_account"), _TEXT),
        "role": {**_TEXT, "choices": ["Viewer", "Editor", "Admin"]},
        "permission": {**_TEXT, "choices": ["View", "Query", "Edit", "Admin"]},
        "state": _STATE,
    }
    return {
        **dict.fromkeys(("folder_uid", "dashboard_uid", "datasource_uid"), _TEXT),
        "permissions": {"type": "list", "elements": "dict", "default": [], "options": grant},
        "purge": _PURGE,
    }
