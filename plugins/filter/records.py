# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that make the processors by which a gateway shortens and redacts records."""

from __future__ import annotations

import json
import typing as t

# What tables and dashboards need of a resource, and the mark itself: the limit removes other attributes first.
KEPT = (
    *("service.name", "service.namespace", "service.instance.id", "service.version"),
    *("host.name", "deployment.environment.name", "attributes.count"),
)
MASK = "****"


def _literal(text: str) -> str:
    """A string of OTTL in a configuration file, where the collector takes $$ as one $."""
    return json.dumps(text).replace("$", "$$")


def _attributes(context: str, count: int, length: int, kept: t.Sequence[str] = ("attributes.count",)) -> dict[str, t.Any]:
    """The statements that limit the attributes of one context, and leave a mark where some are removed."""
    target = f"{context}.attributes"
    return {
        "context": context,
        "statements": [
            f'set({target}["attributes.count"], Len({target})) where Len({target}) > {count}',
            f"limit({target}, {count}, {json.dumps(list(kept))})",
            f"truncate_all({target}, {length})",
        ],
    }


def gateway_limits(attributes: int, length: int, body: int, redact_values: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """The settings of a transform processor that bounds what one record may hold.

    What is shortened ends at a whole UTF-8 character. A record that had more attributes gets C(attributes.count), a log that had
    a longer body gets C(body.length), each with the number before.

    :param attributes: most attributes of a record, of its resource, of its scope and of each of a span's events.
    :param length: most bytes of an attribute's value, of a span's name and of a span's status message.
    :param body: most bytes of a log's body. Lists and maps count as the JSON that is stored.
    :param redact_values: regular expressions (RE2); what they match in names and status messages of spans is replaced first.
    """
    shared = [_attributes("resource", attributes, length, KEPT), _attributes("scope", attributes, length)]
    texts = ("span.name", "span.status.message")
    redacted = [f"replace_pattern({text}, {_literal(pattern)}, {_literal(MASK)})" for pattern in redact_values for text in texts]
    return {
        "error_mode": "ignore",
        "log_statements": [
            *shared,
            _attributes("log", attributes, length),
            {
                "context": "log",
                "conditions": [
                    f"IsString(log.body) and Len(log.body) > {body}",
                    f"(IsMap(log.body) or IsList(log.body)) and Len(String(log.body)) > {body}",
                ],
                "statements": [
                    'set(log.cache["body"], String(log.body))',
                    'set(log.attributes["body.length"], Len(log.cache["body"]))',
                    f"truncate_all(log.cache, {body})",
                    'set(log.body, log.cache["body"])',
                ],
            },
        ],
        "trace_statements": [
            *shared,
            *([{"context": "span", "statements": redacted}] if redacted else []),
            _attributes("span", attributes, length),
            {
                "context": "span",
                "conditions": [f"Len({text}) > {length}" for text in texts],
                "statements": [
                    *(f'set(span.cache["{text}"], {text})' for text in texts),
                    f"truncate_all(span.cache, {length})",
                    *(f'set({text}, span.cache["{text}"])' for text in texts),
                ],
            },
            _attributes("spanevent", attributes, length),
        ],
        "metric_statements": [*shared, _attributes("datapoint", attributes, length)],
    }


def gateway_redaction(names: t.Sequence[str], values: t.Sequence[str]) -> dict[str, t.Any]:
    """The settings of a redaction processor.

    :param names: regular expressions (RE2) that match whole names of attributes, and of keys in a log's body; their values are replaced.
    :param values: regular expressions (RE2); what they match in values of attributes and in a log's body is replaced.
    """
    return {
        "allow_all_keys": True,
        # One expression: each is tried on every attribute of every record.
        "blocked_key_patterns": ["^(?:" + "|".join(f"(?:{name})" for name in names).replace("$", "$$") + ")$$"] if names else [],
        "blocked_values": [value.replace("$", "$$") for value in values],
        # Lists, maps and numbers as the text that is stored.
        "redact_all_types": bool(values),
        "summary": "silent",
    }


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_limits": gateway_limits, "gateway_redaction": gateway_redaction}
