# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: the options that an inventory may set, and the values that its hosts have. May change at any time."""

from __future__ import annotations

import difflib
import functools
import typing as t

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.groundwork.observability.plugins.plugin_utils import _components as components
from ansible_collections.groundwork.observability.plugins.plugin_utils._components import ROLES

# Group -> the roles that read the variables of its hosts.
GROUP_ROLES: dict[str, tuple[str, ...]] = {group: declared["roles"] for group, declared in components.groups().items()}


@functools.cache
def role_options(role: str) -> dict[str, dict[str, t.Any]]:
    """The options that an inventory sets for a role, from its meta/argument_specs.yml. Empty for a role without any."""
    path = ROLES / role / "meta" / "argument_specs.yml"
    if not path.exists():
        return {}
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    # Other entry points take parameters that a play or a role hands over.
    entry = "preflight" if role == "common" else "main"
    return t.cast("dict[str, dict[str, t.Any]]", specs.get(entry, {}).get("options", {}))


@functools.cache
def _every_default() -> dict[str, t.Any]:
    """The defaults of all roles, as templates."""
    loader = DataLoader()
    values: dict[str, t.Any] = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        try:
            values.update(loader.load_from_file(str(path), trusted_as_template=True) or {})
        except TypeError:  # ansible-core 2.18: every text is a template
            values.update(loader.load_from_file(str(path)) or {})
    return values


@functools.cache
def _prefixes() -> dict[str, set[str]]:
    """Prefix -> the names that may begin with it. A role may take an option that another role owns."""
    roles = {path.name: set(role_options(path.name)) for path in ROLES.iterdir() if path.is_dir()}
    every = set().union(*roles.values())
    # Options of role verify are given with -e; an inventory may have a verify_ssl of its own.
    prefixes = [f"{role}_" for role, options in roles.items() if options and role != "common"] + ["observability_"]
    return {prefix: {name for name in every if name.startswith(prefix)} for prefix in prefixes}


@functools.cache
def unknown_variable(name: str) -> str:
    """What is wrong with the name of a variable that looks like one of the collection's; empty where nothing is."""
    for prefix, known in _prefixes().items():
        if name.startswith(prefix) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"see the README of role {prefix.rstrip('_')}"
            return f"{name} is not a variable of this collection: {hint}"
    return ""


class Host:
    """The variables of one host: what the inventory gives, and behind it the roles' defaults."""

    def __init__(self, name: str, hostvars: t.Mapping[str, t.Any], groups: t.Mapping[str, t.Sequence[str]]) -> None:
        self.name = name
        # Untemplated: most values are plain, and templating is what takes time.
        raw = getattr(hostvars, "raw_get", hostvars.__getitem__)
        self.given: t.Mapping[str, t.Any] = raw(name)
        self._magic = {"inventory_hostname": name, "groups": groups, "hostvars": hostvars}
        self._values: dict[str, t.Any] = {}

    @functools.cached_property
    def _templar(self) -> Templar:
        return Templar(variables={**_every_default(), **self._magic, **self.given})

    def has(self, name: str) -> bool:
        """Whether the inventory gives a value that is not empty."""
        return name in self.given and self.value(name, self) not in (None, "")

    def value(self, name: str, otherwise: t.Any = None) -> t.Any:
        """The value, templates resolved; C(otherwise) where there is none, or where only the role itself can resolve it."""
        if name not in self._values:
            source = self.given if name in self.given else _every_default()
            self._values[name] = self._resolved(source[name]) if name in source else _ABSENT
        return otherwise if self._values[name] is _ABSENT else self._values[name]

    def _resolved(self, value: t.Any) -> t.Any:
        if not _is_template(value):
            return value
        # Most addresses are this one, and to compile a template takes longer than all other checks of a host.
        if value == "{{ common_address }}" and "common_address" not in self.given:
            return self.address
        if isinstance(value, list):
            parts = [self._resolved(part) for part in value]
            return _ABSENT if any(part is _ABSENT for part in parts) else parts
        try:
            return self._templar.template(value)
        except AnsibleError:
            return _ABSENT

    def number(self, name: str) -> int | None:
        """The value as a number, None where it is none."""
        try:
            return int(str(self.value(name)))
        except ValueError:
            return None

    def text(self, name: str) -> str:
        """The value as text, empty where there is none."""
        value = self.value(name)
        return "" if value is None else str(value)

    @property
    def address(self) -> str:
        """How other hosts reach it, as filter host_address has it."""
        return self.text("observability_address") or self.text("ansible_host") or self.name


_ABSENT = object()


def _is_template(value: t.Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value or "{#" in value
    if isinstance(value, dict):
        return any(_is_template(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(map(_is_template, value))
    # A value that ansible-vault has encrypted is resolved like a template.
    return not isinstance(value, (int, float, type(None)))


class OptionChecks:
    """Checks values of options, each distinct value once, however many hosts have it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], list[str]] = {}

    def problems(self, role: str, name: str, value: t.Any) -> list[str]:
        """What is wrong with the type or the value of an option of a role."""
        from ansible_collections.groundwork.observability.plugins.plugin_utils._constraints import value_problems

        key = (role, name, repr(value))
        if key not in self._known:
            option = role_options(role)[name]
            found = _type_problems(name, option, value) or value_problems(name, option, value)
            self._known[key] = [f"{line} (role {role})" for line in found]
        return self._known[key]


def _type_problems(name: str, option: dict[str, t.Any], value: t.Any) -> list[str]:
    if value is None:
        return [] if option.get("required") else [f"{name} has no value: give it one, or take the line out"]
    # The validator makes text of anything.
    if option.get("type") in ("str", "path") and isinstance(value, (list, dict)):
        return [f"argument '{name}' is of type {type(value).__name__} and has to be text"]
    # Required options are looked at elsewhere, with a hint of what to do.
    checked = ArgumentSpecValidator(_module_spec({name: {**option, "required": False}})).validate({name: value})
    # A value that does not fit is not repeated when it may be a secret.
    return [message.replace(str(value), "(hidden)") if option.get("no_log") else message for message in checked.error_messages]


def _module_spec(options: dict[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """A role's options in the form that the validator takes (it knows no descriptions)."""
    keys = ("type", "elements", "choices", "required", "no_log")
    spec = {}
    for name, option in options.items():
        spec[name] = {key: option[key] for key in keys if key in option}
        if "options" in option:
            spec[name]["options"] = _module_spec(option["options"])
    return spec


def variable_problems(host: Host, roles: t.Iterable[str], checks: OptionChecks) -> list[str]:
    """What is wrong with the variables of one host that has these roles: names, missing values, types, values."""
    found = [problem for name in sorted(map(str, host.given)) if (problem := unknown_variable(name))]
    for role in roles:
        for name, option in role_options(role).items():
            if name in host.given:
                value = host.value(name, _ABSENT)
                found += checks.problems(role, name, value) if value is not _ABSENT else []
            if option.get("required") and not host.has(name):
                found.append(f"{name} is missing (role {role}): {_where(option)}")
    return found


def _where(option: t.Mapping[str, t.Any]) -> str:
    if option.get("no_log"):
        return "run the playbook groundwork.observability.secrets, which adds what is missing to observability_secrets_file"
    return "set it in the host's host_vars/ file or in the hosts file"
