# GNU General Public License v3.0+ (see LICENSE)
"""What a person or Prometheus asks for: the pages, the login, the metrics."""

from __future__ import annotations

import base64
import os
import resource
import secrets
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from .. import BANNER, NOTICE, VERSION
from ..api import NONE, OPTIONAL, VIEWER, Fail, Reply, Request, Routes
from ..store import Row
from . import dashboards

routes = Routes()
HTML = "text/html; charset=UTF-8"
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p><strong>{notice}</strong></p>
{content}
<hr><p>{banner}</p></body></html>
"""
LOGIN = """<form method="post" action="/login">
<p><label>User <input name="user" autocomplete="username"></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label></p>
<p><button>Log in</button></p></form>"""


def page(title: str, content: str, status: int = 200) -> Reply:
    """A page that says what this is."""
    return Reply(status, PAGE.format(title=title, notice=NOTICE, content=content, banner=escape(BANNER)), HTML)


def redirect(target: str, cookie: str = "") -> Reply:
    """Go elsewhere."""
    return Reply(302, "", HTML, {"Location": target, **({"Set-Cookie": cookie} if cookie else {})})


@routes("GET", "/", OPTIONAL)
def home(request: Request) -> Any:
    caller = request.caller
    if caller is None or not caller.may(VIEWER):
        return redirect("/login")
    sources = request.store.rows("datasources", orgId=caller.org)
    boards = request.store.rows("dashboards", orgId=caller.org)
    content = (
        f"<p>Signed in as {escape(caller.login)}. <a href='/logout'>Log out</a></p>"
        f"<h2>Data sources</h2>{_table(['Name', 'Type', 'From a file', ''], map(_source, sources))}"
        f"<h2>Dashboards</h2>{_table(['Title', 'From a file'], [_board(request, row) for row in boards])}"
    )
    return page("Home", content)


def _source(row: Row) -> list[str]:
    check = f"<a href='/api/datasources/uid/{escape(row['uid'])}/health'>check its health</a>"
    return [escape(row["name"]), escape(row["type"]), "yes" if row["readOnly"] else "no", check]


def _board(request: Request, row: Row) -> list[str]:
    file = request.store.one("dashboard_files", dashboardId=row["id"])
    link = f"<a href='{escape(dashboards.url(row))}'>{escape(row['title'])}</a>"
    return [link, escape(file["externalId"]) if file else "no"]


def _table(head: list[str], rows: Any) -> str:
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    if not body:
        return "<p>None.</p>"
    return "<table><tr>" + "".join(f"<th>{name}</th>" for name in head) + f"</tr>{body}</table>"


@routes("GET", "/d/:uid/:slug", OPTIONAL)
@routes("GET", "/d/:uid", OPTIONAL)
def dashboard(request: Request) -> Any:
    if request.caller is None or not request.caller.may(VIEWER):
        return redirect("/login")
    board = request.store.one("dashboards", orgId=request.org, uid=request.params["uid"])
    if board is None:
        return page("Dashboard not found", "<p><a href='/'>Home</a></p>", 404)
    panels = [
        [escape(str(panel.get(key, ""))) for key in ("title", "type")] for panel in board["data"].get("panels") or []
    ]
    return page(
        escape(board["title"]), f"<h2>Panels</h2>{_table(['Title', 'Type'], panels)}<p><a href='/'>Home</a></p>"
    )


@routes("GET", "/login", NONE)
def login_page(request: Request) -> Any:
    wrong = "<p>Invalid username or password</p>" if request.arg("failed") else ""
    return page("Log in", wrong + LOGIN)


@routes("POST", "/login", NONE)
def log_in(request: Request) -> Any:
    """JSON as Grafana's own page sends it, or this page's plain form."""
    form = "x-www-form-urlencoded" in request.headers.get("content-type", "")
    if form:
        fields = parse_qs(request.raw.decode("utf-8", "replace"))
        given: Row = {key: values[0] for key, values in fields.items()}
    else:
        given = request.json()
    user = request.app.log_in(str(given.get("user") or ""), str(given.get("password") or ""))
    if user is None and form:
        return redirect("/login?failed=1")
    if user is None:
        raise Fail(401, "Invalid username or password", messageId="password-auth.failed", statusCode=401, traced=True)
    cookie = request.app.open_session(user)
    if form:
        return redirect("/", cookie)
    return Reply(200, {"message": "Logged in", "redirectUrl": "/"}, headers={"Set-Cookie": cookie})


@routes("GET", "/logout", NONE)
def log_out(request: Request) -> Any:
    request.app.sessions.pop(request.app.session_token(request.headers), None)
    return redirect("/login", "grafana_session=; Path=/; Max-Age=0")


@routes("GET", "/metrics", NONE)
def metrics(request: Request) -> Any:
    app, config = request.app, request.app.config
    if not config.flag("metrics", "enabled", True):
        raise Fail(404, "Not found")
    user, password = (config.text("metrics", f"basic_auth_{key}") for key in ("username", "password"))
    if user and password:
        wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if not secrets.compare_digest(request.headers.get("authorization", "").encode(), wanted.encode()):
            return Reply(401, {"message": "Unauthorized"}, headers={"WWW-Authenticate": 'Basic realm="Grafana"'})
    store, usage = app.store, resource.getrusage(resource.RUSAGE_SELF)
    types: dict[str, int] = {}
    for row in store.rows("datasources"):
        types[row["type"]] = types.get(row["type"], 0) + 1
    labels = f'branch="standin",edition="standin",goversion="",revision="standin",version="{VERSION}"'
    samples: list[tuple[str, str, dict[str, float]]] = [
        ("grafana_build_info", "gauge", {f"{{{labels}}}": 1}),
        ("grafana_instance_start_total", "counter", {"": 1}),
        ("grafana_stat_totals_dashboard", "gauge", {"": len(store.rows("dashboards"))}),
        (
            "grafana_stat_totals_datasource",
            "gauge",
            {f'{{plugin_id="{name}"}}': count for name, count in types.items()},
        ),
        ("grafana_stat_total_orgs", "gauge", {"": len(store.rows("orgs"))}),
        ("grafana_stat_total_users", "gauge", {"": len(store.rows("users"))}),
        ("process_cpu_seconds_total", "counter", {"": usage.ru_utime + usage.ru_stime}),
        ("process_open_fds", "gauge", {"": len(os.listdir("/proc/self/fd"))}),
        ("process_resident_memory_bytes", "gauge", {"": _resident()}),
        ("process_start_time_seconds", "gauge", {"": app.started}),
    ]
    lines: list[str] = []
    for name, kind, values in samples:
        lines += [f"# TYPE {name} {kind}", *(f"{name}{label} {value!r}" for label, value in values.items())]
    name = "grafana_http_request_duration_seconds"
    lines.append(f"# TYPE {name} histogram")
    for key, count in sorted(app.requests.items()):
        label = 'handler="{}",method="{}",status_code="{}"'.format(*key)
        lines.append(f'{name}_bucket{{{label},le="+Inf"}} {count}')
        lines += [f"{name}_sum{{{label}}} {app.seconds[key]!r}", f"{name}_count{{{label}}} {count}"]
    return Reply(200, "\n".join([*lines, ""]), "text/plain; version=0.0.4; charset=utf-8")


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
