# GNU General Public License v3.0+ (see LICENSE)
"""Draws the dashboards without Grafana: `make dashboards`.

Runs the query of every panel on the tests' platform, and writes a page for each dashboard and theme to tests/output/dashboards. Pages need
nothing else. Where Chromium is installed, pictures of the pages go to docs/dashboards. Every page says that it is a preview.
"""

from __future__ import annotations

import html
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from tests import conftest  # noqa: F401  makes the collection importable
from tests.support import dashboards
from tests.support.collector_files import CHECKOUT
from tests.support.dashboards import Answer, View
from tests.support.metric_history import named_metrics, send_history
from tests.support.platform import platform

PAGES = CHECKOUT / "tests" / "output" / "dashboards"
PICTURES = CHECKOUT / "docs" / "dashboards"
PREVIEW = "Preview drawn without Grafana, with generated data"
WIDTH, CELL, GAP = 1280, 30, 8
# Theme -> page, panel, border, text, faint text.
THEMES = {
    "light": ("#f4f5f5", "#ffffff", "#dcdde0", "#24292e", "#6a6f76"),
    "dark": ("#111217", "#181b1f", "#2c3037", "#d0d1d5", "#8e8f98"),
}
# Grafana's words for colours, as shades that both themes can show.
SHADES = {"green": "#37872d", "orange": "#e0752d", "red": "#e02f44"}
SERIES = ("#3274d9", "#37872d", "#e0752d", "#a352cc", "#e02f44", "#e0b400", "#1f9e9e", "#8f3bb8", "#7d8590", "#c15c17")
LEVELS = {"error": "#e02f44", "fatal": "#8f3bb8", "warn": "#e0752d", "info": "#37872d"}
STEPS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "bytes": (1024, ("B", "KiB", "MiB", "GiB", "TiB")),
    "Bps": (1000, ("B/s", "kB/s", "MB/s", "GB/s")),
    "ns": (1000, ("ns", "µs", "ms", "s")),
    "ms": (1000, ("ms", "s")),
    "short": (1000, ("", " K", " Mil", " Bil")),
}
SUFFIXES = {"s": " s", "m": " min", "d": " days", "reqps": " req/s", "cps": " c/s", "wps": " rows/s", "pps": " p/s"}


def shown(value: Any, unit: str, decimals: int | None = None) -> str:
    """A value with its unit, about as Grafana writes it."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    if not math.isfinite(value):
        return "-"
    if unit == "percentunit":
        return f"{value * 100:.{1 if decimals is None else max(decimals - 1, 0)}f} %"
    suffix, number = SUFFIXES.get(unit, ""), float(value)
    if unit in STEPS:
        base, names = STEPS[unit]
        step = 0
        while abs(number) >= base and step < len(names) - 1:
            number, step = number / base, step + 1
        suffix = (" " if names[step][:1] != " " and names[step] else "") + names[step]
    places = decimals if decimals is not None else 0 if number == int(number) else 2
    return f"{number:.{places}f}{suffix}"


def colour(value: Any, thresholds: Mapping[str, Any] | None) -> str:
    """The shade of a value by its thresholds, or nothing."""
    if not thresholds or not isinstance(value, (int, float)):
        return ""
    reached = [step["color"] for step in thresholds["steps"] if step["value"] is None or value >= step["value"]]
    return SHADES[reached[-1]]


def label(template: str, row: Mapping[str, Any]) -> str:
    """A legend with the labels or columns of its row."""
    return re.sub(r"\$\{__(?:field\.labels|data\.fields)\.(\w+)\}", lambda match: str(row[match[1]]), template)


class Page:
    """One dashboard in one theme."""

    def __init__(self, dashboard: Mapping[str, Any], theme: str, begin: datetime, end: datetime) -> None:
        self.dashboard, self.range = dashboard, [f"{when:%Y-%m-%d %H:%M:%S}" for when in (begin, end)]
        self.page, self.panel, self.border, self.text, self.faint = THEMES[theme]
        self.bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])

    @property
    def height(self) -> int:
        """Pixels of the whole page."""
        return self.bottom * (CELL + GAP) + 100

    def draw(self, answers: Mapping[int, Mapping[str, Answer]], values: Mapping[str, Sequence[str]]) -> str:
        """The page as HTML. `answers` are those of each panel, by its id."""
        drawn = []
        for panel in self.dashboard["panels"]:
            place = panel["gridPos"]
            area = f"grid-column:{place['x'] + 1}/span {place['w']};grid-row:{place['y'] + 1}/span {place['h']}"
            if panel["type"] == "row":
                drawn.append(f'<h2 style="{area}">{html.escape(panel["title"])}</h2>')
                continue
            inside = place["h"] * (CELL + GAP) - GAP - 34
            body = self.body(panel, answers.get(panel["id"], {}), inside)
            drawn.append(f'<section style="{area}"><h3>{html.escape(panel["title"])}</h3><div class="body">{body}</div></section>')
        names = {variable["name"]: variable["label"] for variable in self.dashboard["templating"]["list"]}
        chosen = " ".join(
            f"<b>{html.escape(names[name])}</b> {html.escape(', '.join(text).replace('$__all', 'All'))}" for name, text in values.items()
        )
        return f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.dashboard["title"])}</title><style>
        body {{background:{self.page};color:{self.text};font:13px Helvetica,Arial,sans-serif;margin:12px;width:{WIDTH - 24}px}}
        h1 {{font-size:18px;margin:0}} header {{display:flex;gap:16px;align-items:baseline;margin-bottom:8px}}
        .preview {{color:{SHADES["orange"]};font-weight:bold}} .variables {{color:{self.faint};margin-bottom:8px}}
        main {{display:grid;grid-template-columns:repeat(24,1fr);grid-auto-rows:{CELL}px;gap:{GAP}px}}
        h2 {{font-size:14px;margin:6px 0 0}} h3 {{font-size:13px;margin:0 0 4px;font-weight:600}}
        section {{background:{self.panel};border:1px solid {self.border};border-radius:3px;padding:6px 8px;overflow:hidden}}
        .body {{height:calc(100% - 22px);overflow:hidden}}
        table {{border-collapse:collapse;width:100%;white-space:nowrap}}
        td,th {{text-align:left;padding:3px 8px;border-bottom:1px solid {self.border}}}
        td {{max-width:420px;overflow:hidden;text-overflow:ellipsis}}
        th {{color:{self.faint};font-weight:600}} .stat {{font-size:26px;text-align:center;padding-top:14px;font-weight:600}}
        .log {{font:12px monospace;padding:2px 6px;border-left:3px solid;white-space:nowrap;overflow:hidden;margin-bottom:1px}}
        .bar {{display:flex;align-items:center;gap:8px;height:22px}}
        .bar .name {{width:38%;overflow:hidden;white-space:nowrap;text-align:right}}
        .bar .track {{flex:1;background:{self.border};height:14px}} .bar .track div {{height:14px}} .bar .value {{width:80px}}
        .faint {{color:{self.faint}}}
        </style><script>{get_plotlyjs() if "js-plotly-plot" in str(drawn) or "plotly-graph-div" in str(drawn) else ""}</script></head><body>
        <header><h1>{html.escape(self.dashboard["title"])}</h1><span class="preview">{PREVIEW}</span></header>
        <div class="variables">{chosen} <b>Time range of this preview</b> one hour</div>
        <main>{"".join(drawn)}</main></body></html>"""

    def body(self, panel: Mapping[str, Any], answers: Mapping[str, Answer], height: int) -> str:
        """What is inside of a panel."""
        if panel["type"] == "alertlist":
            return '<p class="faint">Grafana itself makes this list: alerts that fire, are pending, have no data or an error.</p>'
        if not answers and panel["datasource"]["type"] != dashboards.CLICKHOUSE:
            source = html.escape(panel["datasource"]["uid"])
            return f'<p class="faint">Grafana asks the data source {source}, which this preview does not have.</p>'
        if panel["type"] == "nodeGraph":
            return self.map(answers["nodes"], answers["edges"], height)
        if panel["type"] == "timeseries":
            return self.series(panel, answers, height)
        answer = answers["A"]
        draw = {"stat": self.stat, "bargauge": self.bars, "table": self.table, "logs": self.logs}
        return {**draw, "traces": self.trace}[panel["type"]](panel, answer, height)

    def figure(self, figure: go.Figure, height: int) -> str:
        """A Plotly figure without a background of its own."""
        axis = {"gridcolor": self.border, "zerolinecolor": self.border, "linecolor": self.border}
        figure.update_layout(
            height=height,
            margin={"l": 8, "r": 8, "t": 4, "b": 4},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font={"color": self.text, "size": 11},
            legend={"orientation": "h", "y": -0.15, "yanchor": "top", "font": {"size": 10}},
            colorway=SERIES,
            xaxis=axis,
            yaxis=axis,
        )
        for hidden in figure.data[8:]:
            hidden.showlegend = False
        made: str = figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False})
        return made

    def series(self, panel: Mapping[str, Any], answers: Mapping[str, Answer], height: int) -> str:
        """Lines or bars over time, and the points of other queries."""
        defaults, answer = panel["fieldConfig"]["defaults"], answers["A"]
        custom, names = defaults["custom"], list(answer.columns)
        number = next(name for name in reversed(names) if name != "time" and isinstance(answer.rows[0][names.index(name)], (int, float)))
        found: dict[str, tuple[list[str], list[float]]] = {}
        for row in (dict(zip(names, row, strict=True)) for row in answer.rows):
            times, values = found.setdefault(label(defaults["displayName"], row), ([], []))
            times.append(row["time"])
            values.append(row[number])
        figure = go.Figure()
        stacked = custom["stacking"]["mode"] == "normal"
        for name, (times, values) in sorted(found.items(), key=lambda item: -sum(value or 0 for value in item[1][1]))[:12]:
            if custom["drawStyle"] == "bars":
                figure.add_bar(x=times, y=values, name=name)
            else:
                mode = "lines" if len(times) > 3 else "lines+markers"
                figure.add_scatter(x=times, y=values, name=name, mode=mode, line={"width": 1.2}, stackgroup="all" if stacked else None)
        for name in answers.keys() - {"A"}:
            figure.add_scatter(**self.points(panel, name, answers[name]))
        if custom["drawStyle"] == "bars":
            figure.update_layout(barmode="stack" if stacked else "group", bargap=0.1)
        unit = defaults["unit"]
        highest = max((value or 0 for _, values in found.values() for value in values), default=1)
        large = {"tickformat": "~s"} if highest >= 1000 else {}
        suffixes = {"bytes": "B", "Bps": "B/s"}
        axis: dict[str, Any] = {"tickformat": ".0%"} if unit == "percentunit" else {**large, "ticksuffix": suffixes.get(unit, "")}
        if unit == "ns":
            figure.for_each_trace(lambda trace: trace.update(y=[value / 1e6 for value in trace.y]))
            axis = {"ticksuffix": " ms"}
        figure.update_yaxes(**axis, rangemode="tozero" if "min" in defaults else "normal")
        figure.update_xaxes(range=self.range)
        figure.update_layout(showlegend=True)
        return self.figure(figure, height)

    def points(self, panel: Mapping[str, Any], name: str, answer: Answer) -> dict[str, Any]:
        """The points of a query of a time series, in the colour that its panel gives them."""
        (own,) = [override for override in panel["fieldConfig"]["overrides"] if override["matcher"]["options"] == name]
        options = {part["id"]: part["value"] for part in own["properties"]}
        time, number = (list(answer.columns).index(column) for column in ("time", list(answer.columns)[-1]))
        return {
            "x": [row[time] for row in answer.rows],
            "y": [row[number] for row in answer.rows],
            "name": options["displayName"],
            "mode": "markers",
            "marker": {"size": options["custom.pointSize"], "color": SHADES[options["color"]["fixedColor"]]},
            "showlegend": False,
        }

    def stat(self, panel: Mapping[str, Any], answer: Answer, _height: int) -> str:
        """One number."""
        defaults, value = panel["fieldConfig"]["defaults"], answer.rows[0][0]
        shade = colour(value, defaults.get("thresholds")) or self.text
        return f'<div class="stat" style="color:{shade}">{html.escape(shown(value, defaults["unit"], defaults.get("decimals")))}</div>'

    def bars(self, panel: Mapping[str, Any], answer: Answer, height: int) -> str:
        """A bar for each row."""
        defaults, names = panel["fieldConfig"]["defaults"], list(answer.columns)
        drawn, rows = [], [dict(zip(names, row, strict=True)) for row in answer.rows]
        number = next(name for name in names if isinstance(rows[0][name], (int, float)))
        full = defaults.get("max") or max((row[number] or 0 for row in rows), default=1) or 1
        for row in rows[: height // 22]:
            shade = colour(row[number], defaults.get("thresholds")) or SERIES[0]
            part = min(max(row[number] / full * 100, 0), 100)
            value = html.escape(shown(row[number], defaults["unit"], defaults.get("decimals")))
            drawn.append(
                f'<div class="bar"><div class="name">{html.escape(label(defaults["displayName"], row))}</div><div class="track">'
                f'<div style="width:{part:.1f}%;background:{shade}"></div></div><div class="value">{value}</div></div>'
            )
        return "".join(drawn)

    def table(self, panel: Mapping[str, Any], answer: Answer, height: int) -> str:
        """Rows that fit."""
        own = {
            override["matcher"]["options"]: {part["id"]: part["value"] for part in override["properties"]}
            for override in panel["fieldConfig"]["overrides"]
        }
        head = "".join(f"<th>{html.escape(name)}</th>" for name in answer.columns)
        lines = []
        for row in answer.rows[: max((height - 26) // 23, 1)]:
            cells = []
            for name, value in zip(answer.columns, row, strict=True):
                options = own.get(name, {})
                shade = colour(value, options.get("thresholds"))
                text = html.escape(shown(value, options.get("unit", panel["fieldConfig"]["defaults"]["unit"]), options.get("decimals")))
                text = f'<span style="color:{SERIES[0]}">{text}</span>' if "links" in options else text
                cells.append(f'<td style="color:{shade or self.text}">{text}</td>')
            lines.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table><tr>{head}</tr>{''.join(lines)}</table>"

    def logs(self, _panel: Mapping[str, Any], answer: Answer, height: int) -> str:
        """A line for each record."""
        drawn = []
        for row in (dict(zip(answer.columns, row, strict=True)) for row in answer.rows[: height // 21]):
            shade = LEVELS.get(row.get("level", ""), self.faint)
            text = html.escape(f"{row['timestamp'][:23]}  {row.get('service', '')}  {row['body']}")
            drawn.append(f'<div class="log" style="border-color:{shade}">{text}</div>')
        return "".join(drawn)

    def trace(self, _panel: Mapping[str, Any], answer: Answer, height: int) -> str:
        """A bar for each span, below each other in order of time."""
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        begin = min(row["startTime"] for row in rows)
        length = max(row["startTime"] + row["duration"] for row in rows) - begin
        drawn = []
        for row in rows[: height // 22]:
            left, width = (row["startTime"] - begin) / length * 100, max(row["duration"] / length * 100, 0.3)
            shade = SHADES["red"] if row["statusCode"] == 2 else SERIES[0]
            name = html.escape(f"{row['serviceName']}: {row['operationName']}")
            drawn.append(
                f'<div class="bar"><div class="name">{name}</div><div class="track"><div style="margin-left:{left:.2f}%;width:{width:.2f}%;'
                f'background:{shade}"></div></div><div class="value">{row["duration"]:.1f} ms</div></div>'
            )
        return "".join(drawn)

    def map(self, nodes: Answer, edges: Answer, height: int) -> str:
        """Services on a circle, with arrows between them."""
        services = [dict(zip(nodes.columns, row, strict=True)) for row in nodes.rows]
        places = {
            node["id"]: (math.cos(2 * math.pi * number / len(services)), math.sin(2 * math.pi * number / len(services)))
            for number, node in enumerate(services)
        }
        figure = go.Figure()
        for row in (dict(zip(edges.columns, row, strict=True)) for row in edges.rows):
            if row["source"] in places and row["target"] in places:
                (ax, ay), (x, y) = places[row["source"]], places[row["target"]]
                arrow = {"ax": ax, "ay": ay, "x": x, "y": y, "axref": "x", "ayref": "y", "showarrow": True, "arrowhead": 2, "standoff": 26}
                figure.add_annotation(**arrow, startstandoff=26, arrowcolor=self.faint, arrowwidth=1)
                figure.add_annotation(x=(ax + x) / 2, y=(ay + y) / 2, text=row["mainstat"], showarrow=False, font={"size": 10})
        figure.add_scatter(
            x=[places[node["id"]][0] for node in services],
            y=[places[node["id"]][1] for node in services],
            mode="markers+text",
            text=[f"{node['title']}<br>{node['mainstat']}<br>{node['secondarystat']}" for node in services],
            textposition="middle right",
            marker={
                "size": 40,
                "color": self.panel,
                "line": {"width": 4, "color": [SHADES["red"] if node["arc__errors"] > 0.01 else SHADES["green"] for node in services]},
            },
        )
        figure.update_xaxes(visible=False, range=[-1.6, 2])
        figure.update_yaxes(visible=False, range=[-1.4, 1.4])
        return self.figure(figure, height)


def photograph(chromium: str, page: Path, picture: Path, height: int) -> None:
    """A picture of a page by a browser without a window."""
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        command += [f"--window-size={WIDTH},{height}", "--virtual-time-budget=10000", f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    # A third of the size, and nobody sees the difference.
    subprocess.run(["pngquant", "--force", "--strip", "--speed=1", f"--output={picture}", "64", picture], check=True)


def main() -> int:
    """Draw all dashboards; light pictures of all, and a dark one of the overview."""
    PAGES.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") if shutil.which("pngquant") else None
    if chromium is None:
        print("only pages are made: pictures need the programs chromium and pngquant (Debian's packages have these names)", flush=True)
    specs = dashboards.specs()
    built = {uid: dashboards.built(spec) for uid, spec in specs.items()}
    queries = [target["rawSql"] for dashboard in built.values() for panel in dashboards.panels(dashboard) for target in panel["targets"]]
    with tempfile.TemporaryDirectory() as folder, platform(Path(folder)) as running:
        dashboards.fill(running)
        now = time.time()
        send_history(running, named_metrics(queries), now - dashboards.HOUR, now - 60)
        running.wait_for("the history", "SELECT uniq(`__otel_materialized_host.name`) FROM otel.otel_metrics_gauge", 5)
        running.clickhouse.query("SYSTEM FLUSH LOGS")
        view = dashboards.view(running)
        for uid, dashboard in built.items():
            draw(view, uid, dashboard, chromium)
    print(f"pages: {PAGES}", flush=True)
    return 0


def draw(view: View, uid: str, dashboard: Mapping[str, Any], chromium: str | None) -> None:
    """The pages and pictures of one dashboard."""
    values = view.values(dashboard)
    answers = {panel["id"]: view.answers(panel, values) for panel in dashboards.panels(dashboard)}
    empty = [panel["title"] for panel in dashboards.panels(dashboard) if not all(answer.rows for answer in answers[panel["id"]].values())]
    assert not empty, f"{uid}: nothing to draw for {', '.join(empty)}"
    for theme in THEMES:
        page, path = Page(dashboard, theme, view.begin, view.end), PAGES / f"{uid}-{theme}.html"
        path.write_text(page.draw(answers, values), encoding="utf-8")
        if chromium and (theme == "light" or uid == "groundwork-overview"):
            photograph(chromium, path, PICTURES / f"{uid}{'' if theme == 'light' else '-dark'}.png", page.height)
    print(f"{datetime.now(UTC):%H:%M:%S} {uid}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
