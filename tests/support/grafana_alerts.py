# GNU General Public License v3.0+ (see LICENSE)
"""Evaluates an alert rule as Grafana does: its query, the reduction, the threshold, and the states without data and after an error.

Sources, grafana/grafana 11 to 13: a table becomes numbers in pkg/expr/converter.go (isNumberTable, extractNumberSet), the reduction of
numbers is in pkg/expr/commands.go (ReduceCommand), thresholds are in pkg/expr/threshold.go, states in pkg/services/ngalert/eval. The types
of columns are those of grafana/clickhouse-datasource, pkg/converters.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tests.support.clickhouse import QueryError
from tests.support.grafana_macros import expand

NUMBER = re.compile(r"(Nullable\()?(U?Int\d+|Float(32|64)|Decimal\(.*\))\)?")
TEXT = re.compile(r"(LowCardinality\()?(String|FixedString\(\d+\)|Enum(8|16)\(.*\))\)?")
PREDICATES: Mapping[str, Callable[[float, float], bool]] = {"gt": operator.gt, "lt": operator.lt}


class Instance(NamedTuple):
    """What one row of the query leads to: labels, the reduced value, and whether the rule fires for it."""

    labels: dict[str, str]
    value: float
    firing: bool


class RuleError(Exception):
    """Grafana could not evaluate the rule, whatever the data."""


def evaluate(rule: Mapping[str, Any], query: Callable[[str], str], at: datetime) -> list[Instance]:
    """The instances of a rule at a moment. Without data or after an error there is one without labels, in the state that the rule names.

    :param rule: the rule in the form of a provisioning file.
    :param query: runs SQL and gives the answer in format JSONCompact.
    :param at: the moment, with a time zone.
    """
    nodes = {node["refId"]: node for node in rule["data"]}
    threshold = nodes[rule["condition"]]["model"]
    reduction = nodes[threshold["expression"]]["model"]
    source = nodes[reduction["expression"]]
    assert (threshold["type"], reduction["type"]) == ("threshold", "reduce")
    span = source["relativeTimeRange"]
    start, end = (at - timedelta(seconds=span[name]) for name in ("from", "to"))
    try:
        answer = json.loads(query(expand(source["model"]["rawSql"], start, end)))
    except (QueryError, OSError) as error:
        if rule["execErrState"] != "Alerting":
            raise RuleError(str(error)) from error
        return [Instance({}, math.nan, True)]
    numbers = reduce(number_set(answer), reduction)
    if not numbers:
        return [Instance({}, math.nan, rule["noDataState"] == "Alerting")]
    (condition,) = threshold["conditions"]
    (limit,) = condition["evaluator"]["params"]
    exceeds = PREDICATES[condition["evaluator"]["type"]]
    return [Instance(labels, value, exceeds(value, limit)) for labels, value in numbers]


def number_set(answer: Mapping[str, Any]) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each row: text columns are labels, the only other column is the number."""
    names = [column["name"] for column in answer["meta"]]
    numeric = [place for place, column in enumerate(answer["meta"]) if NUMBER.fullmatch(column["type"])]
    texts = [place for place, column in enumerate(answer["meta"]) if TEXT.fullmatch(column["type"])]
    if len(numeric) != 1 or len(numeric) + len(texts) != len(names):
        raise RuleError(f"input data must be a wide series: {answer['meta']}")
    found = [
        ({names[place]: row[place] for place in texts}, math.nan if row[numeric[0]] is None else float(row[numeric[0]]))
        for row in answer["data"]
    ]
    labels = [tuple(sorted(own.items())) for own, _ in found]
    if len(set(labels)) != len(labels):
        raise RuleError(f"two rows have the same labels: {sorted(labels)}")
    return found


def reduce(numbers: list[tuple[dict[str, str], float]], model: Mapping[str, Any]) -> list[tuple[dict[str, str], float]]:
    """A number stays what it is; mode dropNN leaves out what is none or is infinite."""
    assert model["settings"] == {"mode": "dropNN"} and model["reducer"] == "last"
    return [(labels, value) for labels, value in numbers if math.isfinite(value)]
