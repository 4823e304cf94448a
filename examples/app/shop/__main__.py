# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shop: /products and /orders over a Postgres database, /healthz, /metrics, and customers that it brings along."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import signal
import threading
import time
import urllib.request
from collections import deque
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import prometheus_client
import psycopg
from opentelemetry import propagate
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client.exposition import choose_encoder
from psycopg.rows import dict_row

from shop import telemetry
from shop.telemetry import log, tracer

DSN = os.environ.get("SHOP_DSN", "host=/run/postgresql dbname=shop")
UNLUCKY = 13  # an order of that many fails, so that there is always an error to look at

recent_orders: deque[dict[str, Any]] = deque(maxlen=1000)


class RequestError(Exception):
    """The request cannot be answered: the status to answer with, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def query(sql: str, *values: object) -> list[dict[str, Any]]:
    """Ask the database, in a span of its own."""
    verb = sql.split(maxsplit=1)[0]
    started = time.monotonic()
    attributes = {"db.system.name": "postgresql", "db.namespace": "shop", "db.query.text": sql}
    try:
        with (
            tracer.start_as_current_span(f"{verb} products", kind=SpanKind.CLIENT, attributes=attributes),
            psycopg.connect(DSN, connect_timeout=3, row_factory=dict_row, autocommit=True) as connection,
        ):
            return connection.execute(sql.encode(), values).fetchall()
    except psycopg.Error as exc:
        raise RequestError(503, f"the database does not answer: {exc}") from exc
    finally:
        telemetry.query_duration.record(time.monotonic() - started, {"db.operation.name": verb})


def products(_body: dict[str, Any]) -> Any:
    """All products, cheapest first."""
    found = query("SELECT id, name, price::float8 AS price, stock FROM products ORDER BY price")
    telemetry.prom_products.set(len(found))
    return found


def order(body: dict[str, Any]) -> Any:
    """Take an order: {"product": <id>, "quantity": <number>}."""
    result = "failed"
    try:
        product, quantity = int(body.get("product", 0)), int(body.get("quantity", 1))
        found = query("SELECT name, price::float8 AS price FROM products WHERE id = %s", product)
        if not found:
            raise RequestError(404, f"there is no product {product}")
        if quantity == UNLUCKY:
            raise RequestError(500, f"payment of {quantity} x {found[0]['name']} was refused")
        result = "accepted"
    finally:
        telemetry.orders.add(1, {"result": result})
        telemetry.prom_orders.labels(result).inc()
    taken = {"product": product, "quantity": quantity, "value": round(quantity * found[0]["price"], 2)}
    recent_orders.append(taken)
    telemetry.prom_order_value.observe(taken["value"])
    log.info("order of %d x %s", quantity, found[0]["name"], extra={"shop.order.value": taken["value"]})
    return taken


def healthz(_body: dict[str, Any]) -> Any:
    """Healthy is a shop that has something to sell."""
    if not query("SELECT id FROM products LIMIT 1"):
        raise RequestError(503, "there are no products")
    return {"status": "ok"}


ROUTES = {
    ("GET", "/products"): products,
    ("POST", "/orders"): order,
    ("GET", "/healthz"): healthz,
}


class Handler(BaseHTTPRequestHandler):
    """One request, in a server span that continues the caller's trace."""

    server_version = "shop"
    timeout = 30

    def do_GET(self) -> None:
        """Answer a GET."""
        if self.path == "/metrics":  # the scrape of telemetry is no traffic of the shop
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self.reply(200, encode(prometheus_client.REGISTRY), content_type)
        else:
            self.traced()

    def do_POST(self) -> None:
        """Answer a POST."""
        self.traced()

    def traced(self) -> None:
        """Answer, and leave a span, a duration and, for an error, a log record."""
        path = self.path.partition("?")[0]
        route = path if (self.command, path) in ROUTES else "unknown"
        attributes: dict[str, str | int] = {"http.request.method": self.command, "http.route": route}
        parent = propagate.extract(dict(self.headers.items()))
        started = time.monotonic()
        telemetry.active_requests.add(1)
        with tracer.start_as_current_span(f"{self.command} {route}", parent, SpanKind.SERVER, attributes) as span:
            status, result = self.answer(path)
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR, result["error"]))
            span.set_attribute("http.response.status_code", status)
            # Inside the span, so that the measurement carries the trace as its exemplar.
            seconds = time.monotonic() - started
            telemetry.request_duration.record(seconds, attributes | {"http.response.status_code": status})
        telemetry.active_requests.add(-1)
        telemetry.prom_requests.labels(route).observe(seconds)
        self.reply(status, json.dumps(result).encode() + b"\n", "application/json")

    def answer(self, path: str) -> tuple[int, Any]:
        """Status and content of the answer."""
        try:
            return 200, ROUTES[self.command, path](self.body())
        except RequestError as exc:
            status, why = exc.status, str(exc)
        except KeyError:
            status, why = 404, f"there is no {self.command} {path}"
        except (TypeError, ValueError) as exc:
            status, why = 400, f"bad request: {exc}"
        level = logging.ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
        log.log(level, "%s %s: %s", self.command, path, why)
        return status, {"error": why}

    def body(self) -> dict[str, Any]:
        """The request's JSON object; {} where there is none."""
        length = min(int(self.headers.get("Content-Length", 0)), 65536)
        parsed = json.loads(self.rfile.read(length) or b"{}")
        if not isinstance(parsed, dict):
            raise ValueError("it is not a JSON object")
        return parsed

    def reply(self, status: int, content: bytes, content_type: str) -> None:
        """Send the answer."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """No access log: spans tell more."""


def bring_customers(url: str, per_second: float, stop: threading.Event) -> None:
    """Look at products and order some, at random; about one order in UNLUCKY fails."""
    while not stop.wait(random.expovariate(per_second)):
        request = urllib.request.Request(f"{url}/products")
        if random.random() < 0.4:
            wish = {"product": random.randint(1, 20), "quantity": random.randint(1, UNLUCKY)}
            request = urllib.request.Request(f"{url}/orders", json.dumps(wish).encode())
        with contextlib.suppress(OSError):  # the server's side tells all about it
            urllib.request.urlopen(request, timeout=10).close()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="shop", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="port on 127.0.0.1")
    parser.add_argument("--traffic", type=float, default=0, metavar="N", help="requests a second it sends to itself")
    arguments = parser.parse_args()

    stop_telemetry = telemetry.start()
    telemetry.observe("shop.orders.remembered", "{order}", "Orders kept in memory", lambda: len(recent_orders))
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if arguments.traffic > 0:
        url = f"http://127.0.0.1:{arguments.port}"
        threading.Thread(target=bring_customers, args=(url, arguments.traffic, stop), daemon=True).start()
    log.info("the shop is open", extra={"server.port": arguments.port})
    stop.wait()
    server.shutdown()
    log.info("the shop is closed")
    stop_telemetry()


if __name__ == "__main__":
    main()
