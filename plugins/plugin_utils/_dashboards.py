# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private: Grafana's JSON of a dashboard, built from a short description. May change at any time.

The file README.md of docs/dashboards explains the description. Sources: Grafana's documentation, "Dashboard JSON model", and the queries of
the dashboards that the ClickHouse data source plugin 4.20 ships; for PostgreSQL and MySQL Grafana's own source, packages/grafana-sql and
pkg/tsdb. Colours are names of Grafana's palette, which has a shade of each for the
light and one for the dark theme, and backgrounds are left to the theme.
"""

from __future__ import annotations

import re
import typing as t

TAG = "groundwork.observability"
TYPE = "grafana-clickhouse-datasource"
GRID = 24
# What the plugin's backend calls a format: pkg sqlds, FormatQueryOption.
TIME_SERIES, TABLE, LOGS, TRACE = 0, 1, 2, 3
# Other macros of the plugin mean something else before 4.19.
MACROS = frozenset(
    f"$__{name}"
    for name in (
        *("timeFilter", "timeFilter_ms", "dateFilter", "dateTimeFilter", "timeInterval", "timeInterval_ms", "interval_s"),
        *("fromTime", "fromTime_ms", "toTime", "toTime_ms", "conditionalAll"),
    )
)
# Data sources of product databases, by plugin: how each calls the formats, package grafana-sql, QueryFormat.
SQL_TYPES = ("grafana-postgresql-datasource", "mysql")
SQL_FORMATS = {TIME_SERIES: "time_series", TABLE: "table"}
SQL_KINDS = ("timeseries", "stat", "bargauge", "table")
# Those that both plugins have.
SQL_MACROS = frozenset(f"$__{name}" for name in ("timeFilter", "timeFrom", "timeTo", "timeGroup", "timeGroupAlias", "interval"))
UID = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
# {host} in a legend or a link: a label of a time series, else a column of the row.
PLACEHOLDER = re.compile(r"(?<!\$)\{(\w+)\}")

Spec = t.Mapping[str, t.Any]
Json = t.Dict[str, t.Any]


class Kind(t.NamedTuple):
    """A kind of panel: Grafana's name of it, the format of its queries, its size on the grid, and its options."""

    type: str
    format: int
    query_type: str
    width: int
    height: int
    options: t.Mapping[str, t.Any]
    # Whether what the legend says can be shown as the name of a series. Else it is added to the description.
    named: bool = False


LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
ROWS = {"calcs": ["lastNotNull"], "fields": "", "values": True, "limit": 50}
KINDS: t.Mapping[str, Kind] = {
    "timeseries": Kind(
        *("timeseries", TIME_SERIES, "timeseries", 12, 8),
        {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        named=True,
    ),
    "stat": Kind(
        *("stat", TABLE, "table", 4, 4),
        {"reduceOptions": LAST, "colorMode": "value", "graphMode": "none", "textMode": "value", "justifyMode": "center"},
        named=True,
    ),
    "bargauge": Kind(
        *("bargauge", TABLE, "table", 12, 8),
        {"reduceOptions": ROWS, "orientation": "horizontal", "displayMode": "basic", "valueMode": "color", "showUnfilled": True},
        named=True,
    ),
    "table": Kind("table", TABLE, "table", 24, 8, {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}),
    "logs": Kind(
        *("logs", LOGS, "logs", 24, 12),
        {"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Descending", "dedupStrategy": "none"},
    ),
    "trace": Kind("traces", TRACE, "traces", 24, 14, {}),
    "nodegraph": Kind("nodeGraph", TABLE, "table", 24, 14, {}),
    "alertlist": Kind(
        *("alertlist", TABLE, "table", 24, 12),
        {
            "alertName": "",
            "dashboardAlerts": False,
            "groupMode": "default",
            "maxItems": 50,
            "sortOrder": 1,
            "viewMode": "list",
            "stateFilter": {"firing": True, "pending": True, "noData": True, "error": True, "normal": False},
        },
    ),
}


class Key(t.NamedTuple):
    """What the value of a key has to be, in words and as Python's types, and whether the key is required."""

    kind: str
    types: tuple[type, ...]
    required: bool = False
    # Lowest and highest number.
    limits: tuple[float, float] | None = None


TEXT, NUMBER, FLAG = Key("a text", (str,)), Key("a number", (int, float)), Key("true or false", (bool,))
LIST, MAPPING = Key("a list", (list, tuple)), Key("a mapping", (t.Mapping,))
WORD = Key("a text or a number", (str, int, float))
SIZE = Key("a number", (int,), limits=(1, GRID))
_REQUIRED_TEXT = TEXT._replace(required=True)
Keys = t.Mapping[str, Key]
DASHBOARD_KEYS: Keys = {
    **dict.fromkeys(("uid", "title", "description"), _REQUIRED_TEXT),
    "rows": LIST._replace(required=True),
    "variables": LIST,
    "range": TEXT,
}
ROW_KEYS: Keys = {"title": _REQUIRED_TEXT, "panels": LIST._replace(required=True)}
PANEL_KEYS: Keys = {
    **dict.fromkeys(("title", "description", "kind", "unit", "legend"), _REQUIRED_TEXT),
    "sql": Key("a text, or a mapping of texts", (str, t.Mapping)),
    "width": SIZE,
    "height": SIZE._replace(limits=(1, 100)),
    **dict.fromkeys(("min", "max", "decimals"), NUMBER),
    "stack": FLAG,
    **dict.fromkeys(("draw", "interval"), TEXT),
    **dict.fromkeys(("thresholds", "columns", "points"), MAPPING),
    "links": LIST,
    "datasource": MAPPING,
}
DATASOURCE_KEYS: Keys = dict.fromkeys(("type", "uid"), _REQUIRED_TEXT)
COLUMN_KEYS: Keys = {"unit": TEXT, "decimals": NUMBER, "thresholds": MAPPING, "links": LIST, "hidden": FLAG}
POINTS_KEYS: Keys = {"query": _REQUIRED_TEXT, "legend": _REQUIRED_TEXT, "links": LIST}
VARIABLE_KEYS: Keys = {
    **dict.fromkeys(("name", "label"), _REQUIRED_TEXT),
    "sql": TEXT,
    "values": LIST,
    "default": WORD,
    **dict.fromkeys(("multi", "all"), FLAG),
}
LINK_KEYS: Keys = {**dict.fromkeys(("title", "dashboard"), _REQUIRED_TEXT), "variables": MAPPING}
THRESHOLD_KEYS: Keys = {"warning": NUMBER, "critical": NUMBER._replace(required=True)}
# Of the option range: the time that a dashboard shows when it opens.
RANGE = re.compile(r"[1-9][0-9]{0,4}[smhdwMy]\Z")


class DashboardError(ValueError):
    """The description is wrong; the message names the dashboard and the panel."""


def build(spec: Spec, database: str, cluster: str, datasource: str) -> Json:
    """The dashboard as Grafana's provisioning files and its API take it.

    :param spec: the description: one file of C(roles/grafana/files/dashboards).
    :param database: database of the telemetry tables, which C({database}) in SQL stands for.
    :param cluster: ClickHouse cluster, which C({cluster}) in SQL stands for.
    :param datasource: uid of the ClickHouse data source.
    :raises DashboardError: where a key is missing or unknown, or a value cannot be used.
    """
    where = f"dashboard {spec.get('uid', '?')}" if isinstance(spec, t.Mapping) else "dashboard"
    _check_keys(spec, DASHBOARD_KEYS, where)
    if not UID.match(spec["uid"]):
        raise DashboardError(f"{where}: uid must be 1 to 40 of A-Z a-z 0-9 _ -")
    if not RANGE.match(spec.get("range", "1h")):
        raise DashboardError(f"{where}: range must be a duration such as 30m, 6h or 7d, not {spec['range']!r}")
    source = {"type": TYPE, "uid": datasource}
    builder = _Builder(where, source, {"{database}": database, "{cluster}": cluster})
    return {
        "uid": spec["uid"],
        "title": spec["title"],
        "description": spec["description"],
        "tags": [TAG],
        "schemaVersion": 39,
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": f"now-{spec.get('range', '1h')}", "to": "now"},
        "annotations": {"list": []},
        "links": [
            {
                "title": "Platform", "type": "dashboards", "tags": [TAG], "asDropdown": True, "icon": "external link",
                "keepTime": True, "includeVars": False, "targetBlank": False,
            }
        ],
        "templating": {"list": [builder.variable(variable) for variable in spec.get("variables", [])]},
        "panels": builder.rows(spec["rows"]),
    }


def _check_keys(given: t.Any, known: Keys, where: str) -> None:
    """Refuse what is not a mapping, has unknown keys, lacks required ones, or has values of another type."""
    if not isinstance(given, t.Mapping):
        raise DashboardError(f"{where}: a mapping is needed, not {given!r}")
    missing = [name for name, key in known.items() if key.required and given.get(name) in (None, "", [])]
    if missing:
        raise DashboardError(f"{where}: {' and '.join(missing)} must be set")
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise DashboardError(f"{where}: unknown: {', '.join(unknown)}. Known are {', '.join(known)}")
    for name, value in given.items():
        key = known[name]
        # Python takes true for 1.
        if not isinstance(value, key.types) or (isinstance(value, bool) and bool not in key.types):
            raise DashboardError(f"{where}: {name} must be {key.kind}, not {value!r}")
        if key.limits and not key.limits[0] <= t.cast(float, value) <= key.limits[1]:
            raise DashboardError(f"{where}: {name} must be from {key.limits[0]} to {key.limits[1]}, not {value!r}")


class _Builder:
    """What the parts of one dashboard share."""

    def __init__(self, where: str, source: Json, names: t.Mapping[str, str]) -> None:
        self.where, self.source, self.names = where, source, names
        self.panel_id = 0

    def sql(self, text: str, where: str) -> str:
        """SQL with the names of the database and the cluster."""
        _check_macros(text, MACROS, where)
        for placeholder, name in self.names.items():
            text = text.replace(placeholder, name)
        return text.strip()

    def variable(self, spec: Spec) -> Json:
        """A variable with values from a query, from a list, or typed in."""
        where = f"{self.where}, variable {spec.get('name', '?') if isinstance(spec, t.Mapping) else '?'}"
        _check_keys(spec, VARIABLE_KEYS, where)
        made: Json = {"name": spec["name"], "label": spec["label"], "hide": 0}
        if "sql" in spec:
            sql = self.sql(spec["sql"], where)
            many = {"multi": bool(spec.get("multi")), "includeAll": bool(spec.get("all"))}
            query = {"editorType": "sql", "rawSql": sql, "queryType": "table", "format": TABLE, "refId": "A"}
            return {**made, **many, "type": "query", "datasource": self.source, "definition": sql, "query": query, "refresh": 2, "sort": 1}
        default = str(spec.get("default", ""))
        chosen = {"selected": True, "text": default, "value": default}
        if "values" in spec:
            values = [str(value) for value in spec["values"]]
            if default not in values:
                raise DashboardError(f"{where}: default must be one of its values")
            options = [{"selected": value == default, "text": value, "value": value} for value in values]
            return {**made, "type": "custom", "query": ",".join(values), "options": options, "current": chosen, "multi": False}
        return {**made, "type": "textbox", "query": default, "options": [chosen], "current": chosen}

    def rows(self, specs: t.Sequence[Spec]) -> list[Json]:
        """Rows one below the other, and the panels of each from left to right."""
        made, top = [], 0
        for row in specs:
            _check_keys(row, ROW_KEYS, f"{self.where}, row {row.get('title', '?') if isinstance(row, t.Mapping) else '?'}")
            self.panel_id += 1
            made.append(
                {
                    "id": self.panel_id, "type": "row", "title": row["title"], "collapsed": False, "panels": [],
                    "gridPos": {"x": 0, "y": top, "w": GRID, "h": 1},
                }
            )
            left, top, height = 0, top + 1, 0
            for spec in row["panels"]:
                panel = self.panel(spec)
                position = panel["gridPos"]
                if left + position["w"] > GRID:
                    left, top, height = 0, top + height, 0
                position.update(x=left, y=top)
                left, height = left + position["w"], max(height, position["h"])
                made.append(panel)
            top += height
        return made

    def panel(self, spec: Spec) -> Json:
        """One panel, not yet placed."""
        where = f"{self.where}, panel {spec.get('title', '?') if isinstance(spec, t.Mapping) else '?'}"
        _check_keys(spec, PANEL_KEYS, where)
        if spec["kind"] not in KINDS:
            raise DashboardError(f"{where}: kind must be one of {', '.join(KINDS)}")
        kind = KINDS[spec["kind"]]
        if ("sql" in spec) == (spec["kind"] == "alertlist"):
            raise DashboardError(f"{where}: {'an alertlist has no sql' if 'sql' in spec else 'sql must be set'}")
        self.panel_id += 1
        made: Json = {
            "id": self.panel_id,
            "type": kind.type,
            "title": spec["title"],
            "description": spec["description"] if kind.named else f"{spec['description']}\n\n{spec['legend']}",
            "gridPos": {"w": spec.get("width", kind.width), "h": spec.get("height", kind.height)},
            "options": dict(kind.options),
            "fieldConfig": {"defaults": self._defaults(spec, kind, where), "overrides": self._overrides(spec, where)},
        }
        source = _datasource(spec, where) if "datasource" in spec else self.source
        if "sql" in spec:
            made.update(datasource=source, interval=spec.get("interval", "1m"), targets=self._targets(spec, kind, source, where))
        return made

    def _targets(self, spec: Spec, kind: Kind, source: Json, where: str) -> list[Json]:
        """Its queries: one, or several by name."""
        queries = spec["sql"] if isinstance(spec["sql"], t.Mapping) else {"A": spec["sql"]}
        if not all(isinstance(sql, str) for sql in queries.values()):
            raise DashboardError(f"{where}: sql must be a text, or a mapping of texts")
        if source["type"] in SQL_TYPES:
            for sql in queries.values():
                _check_macros(sql, SQL_MACROS, where)
            product = {"datasource": source, "editorMode": "code", "rawQuery": True, "format": SQL_FORMATS[kind.format]}
            return [{**product, "refId": name, "rawSql": sql.strip()} for name, sql in queries.items()]
        fixed = {"datasource": self.source, "editorType": "sql", "format": kind.format, "queryType": kind.query_type}
        return [{**fixed, "refId": name, "rawSql": self.sql(sql, where)} for name, sql in queries.items()]

    def _defaults(self, spec: Spec, kind: Kind, where: str) -> Json:
        """What all its values have in common."""
        made: Json = {key: spec[key] for key in ("unit", "min", "max", "decimals") if key in spec}
        if kind.named:
            made["displayName"] = _placeholders(spec["legend"], kind)
        if "thresholds" in spec:
            made.update(thresholds=_thresholds(spec["thresholds"], where))
        coloured = "thresholds" in spec and kind.type != "timeseries"
        made["color"] = {"mode": "thresholds" if coloured else "palette-classic"}
        if kind.type == "timeseries":
            bars = spec.get("draw", "line") == "bars"
            made["custom"] = {
                "drawStyle": spec.get("draw", "line"),
                "lineWidth": 1,
                "fillOpacity": 60 if bars else 20 if spec.get("stack") else 10,
                "showPoints": "auto",
                "spanNulls": 300000,
                "stacking": {"mode": "normal" if spec.get("stack") else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if "thresholds" in spec else "off"},
            }
        if "links" in spec:
            made["links"] = [_link(link, kind, where) for link in spec["links"]]
        return made

    def _overrides(self, spec: Spec, where: str) -> list[Json]:
        """What single columns have of their own."""
        kind, made = KINDS[spec["kind"]], []
        for column, own in spec.get("columns", {}).items():
            _check_keys(own, COLUMN_KEYS, f"{where}, column {column}")
            properties: list[Json] = [{"id": key, "value": own[key]} for key in ("unit", "decimals") if key in own]
            if "thresholds" in own:
                properties += [
                    {"id": "thresholds", "value": _thresholds(own["thresholds"], where)},
                    {"id": "color", "value": {"mode": "thresholds"}},
                    {"id": "custom.cellOptions", "value": {"type": "color-text"}},
                ]
            if "links" in own:
                properties.append({"id": "links", "value": [_link(link, kind, where) for link in own["links"]]})
            if own.get("hidden"):
                properties.append({"id": "custom.hidden", "value": True})
            made.append({"matcher": {"id": "byName", "options": column}, "properties": properties})
        return made + ([self._points(spec, kind, where)] if "points" in spec else [])

    def _points(self, spec: Spec, kind: Kind, where: str) -> Json:
        """What the points of a query have of their own. Each is a series, whose labels its link names: Grafana does not find its row."""
        own = spec["points"]
        _check_keys(own, POINTS_KEYS, f"{where}, points")
        if kind.type != "timeseries" or not isinstance(spec["sql"], t.Mapping) or own["query"] not in spec["sql"]:
            raise DashboardError(f"{where}, points: query must be the name of a query of a timeseries, not {own['query']!r}")
        properties = {
            "displayName": _placeholders(own["legend"], kind),
            "custom.drawStyle": "points",
            "custom.showPoints": "always",
            "custom.pointSize": 9,
            "custom.hideFrom": {"legend": True, "tooltip": False, "viz": False},
            "color": {"mode": "fixed", "fixedColor": "orange"},
            **({"links": [_link(link, kind, where) for link in own["links"]]} if "links" in own else {}),
        }
        return {
            "matcher": {"id": "byFrameRefID", "options": own["query"]},
            "properties": [{"id": key, "value": value} for key, value in properties.items()],
        }


def _datasource(spec: Spec, where: str) -> Json:
    """The data source of a panel that does not ask ClickHouse."""
    own = spec["datasource"]
    _check_keys(own, DATASOURCE_KEYS, f"{where}, datasource")
    if own["type"] not in SQL_TYPES:
        types = " or ".join(SQL_TYPES)
        raise DashboardError(f"{where}, datasource: type must be {types}, not {own['type']!r}; a panel without asks ClickHouse")
    if not UID.match(own["uid"]):
        raise DashboardError(f"{where}, datasource: uid must be 1 to 40 of A-Z a-z 0-9 _ -, not {own['uid']!r}")
    if spec["kind"] not in SQL_KINDS:
        raise DashboardError(f"{where}: the kinds with a datasource are {', '.join(SQL_KINDS)}, not {spec['kind']}")
    return {"type": own["type"], "uid": own["uid"]}


def product_datasources(dashboard: t.Mapping[str, t.Any]) -> list[Json]:
    """The data sources besides ClickHouse that panels of a dashboard ask, each once.

    :param dashboard: what C(build) returned.
    """
    found: list[Json] = []
    for panel in dashboard["panels"]:
        source = panel.get("datasource", {})
        if source.get("type") in SQL_TYPES and source not in found:
            found.append(source)
    return found


def _check_macros(sql: str, known: frozenset[str], where: str) -> None:
    """Refuse macros that mean something else, or nothing, in a version of the plugin."""
    unknown = sorted(set(re.findall(r"\$__\w+", sql)) - known)
    if unknown:
        raise DashboardError(f"{where}: {', '.join(unknown)} is no macro that all supported versions of the plugin expand alike")


def _placeholders(text: str, kind: Kind) -> str:
    """{host} as Grafana writes it: C({name}) is the name of the column, other names are labels of a series or columns of its row."""

    def written(match: re.Match[str]) -> str:
        name = match[1]
        if name == "name":
            return "${__field.name}"
        return f"${{__field.labels.{name}}}" if kind.type == "timeseries" else f"${{__data.fields.{name}}}"

    return PLACEHOLDER.sub(written, text)


def _thresholds(spec: Spec, where: str) -> Json:
    """Green, orange and red. A critical value below the one of the warning says that small values are bad."""
    _check_keys(spec, THRESHOLD_KEYS, f"{where}, thresholds")
    warning, critical = spec.get("warning"), spec["critical"]
    steps: list[tuple[str, t.Any]] = [("green", None), *([] if warning is None else [("orange", warning)]), ("red", critical)]
    if warning is not None and critical < warning:
        steps = [("red", None), ("orange", critical), ("green", warning)]
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}


def _link(spec: Spec, kind: Kind, where: str) -> Json:
    """A link to another dashboard at the same time range. A variable's value is text, {column} or ${variable}."""
    _check_keys(spec, LINK_KEYS, f"{where}, link")
    values = "".join(f"&var-{name}={_placeholders(str(value), kind)}" for name, value in spec.get("variables", {}).items())
    return {"title": spec["title"], "url": f"/d/{spec['dashboard']}?${{__url_time_range}}{values}"}
