# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hands the batches of a gateway's disk queues to its exporters, and takes out the records that ClickHouse refuses for ever.

The collector's ClickHouse exporter does not tell a refusal from an absence, so its retries would hold a batch with one bad
record for ever, with the good records of other hosts in it. This program stands between the queue and the exporter:

- A batch that is stored is acknowledged. The bytes are passed on as they came.
- A batch that fails because of what is in it goes to a second exporter, which ignores errors of materialized views. ClickHouse
  has stored the rows of a batch in the table itself when a view fails, so halving the batch would store them twice. The same
  block again reaches the views that did not have it; the view that fails misses the batch, and the log says so.
- A batch that this exporter is refused, too, is refused by the table, which has stored nothing of it. It is halved until the
  bad records are alone. The others are stored, the bad ones are written to the dead letter folder with ClickHouse's reason,
  and then the batch is acknowledged.
- Every other failure (ClickHouse is away, a table is missing, a full disk) is handed to the queue, which tries again.

The halves of a batch are the same at each attempt, so ClickHouse drops those that it has when an attempt was cut off.

Source of the wire format: https://protobuf.dev/programming-guides/encoding/ and opentelemetry-proto 1.x: in requests of all
three signals field 1 is a resource, in it field 2 is a scope, in it field 2 is a log record, a span or a metric.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import re
import socket
import sys
import time
from pathlib import Path

# ClickHouse's codes for a value that it cannot take, from its src/Common/ErrorCodes.cpp. A code that is not here may pass by
# itself or by an operator's hand, and concerns every record: the queue keeps the batch.
REFUSALS = {
    6: "CANNOT_PARSE_TEXT",
    25: "CANNOT_PARSE_ESCAPE_SEQUENCE",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    128: "TOO_LARGE_ARRAY_SIZE",
    131: "TOO_LARGE_STRING_SIZE",
    153: "ILLEGAL_DIVISION",
    190: "SIZES_OF_ARRAYS_DONT_MATCH",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    376: "CANNOT_PARSE_UUID",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    407: "DECIMAL_OVERFLOW",
    467: "CANNOT_PARSE_BOOL",
    469: "VIOLATED_CONSTRAINT",
    675: "CANNOT_PARSE_IPV4",
    676: "CANNOT_PARSE_IPV6",
}
# The exporter repeats what the server said: "code: 395, message: ...".
CODE = re.compile(rb"\bcode: (\d+), message: ")
# What a receiver answers to a request that it cannot read or that is too large.
UNREADABLE = (400, 413)
# Parts of one batch that are tried, each with one INSERT or two. What is still refused then goes to the dead letter folder as it is,
# with good records in it.
ATTEMPTS = 64
# Above the exporter's own time-out.
TIMEOUT = 30


class Unavailable(Exception):
    """A batch that could not be stored now. Its arguments are the HTTP status, the content type and the body of the answer."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place and the place after it. Raises ValueError where there is none."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("not protobuf")


def _fields(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Number, content and whole encoding of each field of a message. Raises ValueError for what is no protobuf."""
    found, at = [], 0
    while at < len(data):
        key, begin = _varint(data, at)
        kind = key & 7
        if kind == 0:
            end = _varint(data, begin)[1]
        elif kind == 2:
            size, begin = _varint(data, begin)
            end = begin + size
        elif kind in (1, 5):
            end = begin + (8 if kind == 1 else 4)
        else:
            raise ValueError("not protobuf")
        if end > len(data):
            raise ValueError("not protobuf")
        found.append((key >> 3, data[begin:end], data[at:end]))
        at = end
    return found


def _message(number: int, content: bytes) -> bytes:
    """A field that holds a message."""
    encoded = bytearray()
    for value in (number << 3 | 2, len(content)):
        while value > 0x7F:
            encoded.append(value & 0x7F | 0x80)
            value >>= 7
        encoded.append(value)
    return bytes(encoded) + content


def split(body: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The records of a request: the other fields of the resource, those of the scope, the record. A metric counts as one record."""
    records = []
    for number, resource, _field in _fields(body):
        inside = _fields(resource) if number == 1 else []
        about_resource = b"".join(whole for field, _content, whole in inside if field != 2)
        for field, scope, _whole in inside:
            parts = _fields(scope) if field == 2 else []
            about_scope = b"".join(whole for part, _content, whole in parts if part != 2)
            records += [(about_resource, about_scope, whole) for part, _content, whole in parts if part == 2]
    return records


def join(records: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """A request with these records. Neighbours with the same resource and scope share them, as they did before."""
    resources: list[tuple[bytes, list[tuple[bytes, list[bytes]]]]] = []
    for about_resource, about_scope, record in records:
        if not resources or resources[-1][0] != about_resource:
            resources.append((about_resource, []))
        scopes = resources[-1][1]
        if not scopes or scopes[-1][0] != about_scope:
            scopes.append((about_scope, []))
        scopes[-1][1].append(record)
    return b"".join(
        _message(1, about_resource + b"".join(_message(2, about_scope + b"".join(parts)) for about_scope, parts in scopes))
        for about_resource, scopes in resources
    )


def refusal(status: int, answer: bytes) -> str:
    """Why a batch is refused for what is in it; empty where it was stored or may be stored later."""
    if status in UNREADABLE:
        return f"the exporter's receiver answered {status}"
    code = CODE.search(answer) if status != 200 else None
    if code is None or int(code.group(1)) not in REFUSALS:
        return ""
    return f"{REFUSALS[int(code.group(1))]}: " + re.sub(r"[^\x20-\x7e]+", " ", answer[code.start() :].decode("utf-8", "replace"))


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self.path))


class Relay:
    """Where batches go: the exporters' sockets, and the dead letter folder with the most bytes that it may hold."""

    def __init__(self, sockets: Path, folder: Path, limit: int) -> None:
        self.sockets, self.folder, self.limit = sockets, folder, limit

    def post(self, shard: str, signal: str, body: bytes, exporter: str = "write") -> tuple[int, str, bytes]:
        """Status, content type and body that an exporter's receiver answers, C(write) or C(ignore_views).

        Raises Unavailable when it does not answer.
        """
        connection = UnixConnection(self.sockets / f"{shard}_{exporter}_{signal}.sock")
        try:
            connection.request("POST", f"/v1/{signal}", body, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", "text/plain"), answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(503, "text/plain", f"the exporter of shard {shard} does not answer: {error}".encode()) from error
        finally:
            connection.close()

    def store(self, shard: str, signal: str, body: bytes) -> tuple[int, str, bytes]:
        """Store a batch but for what is refused in it, and return the answer to it. Raises Unavailable, OSError, ValueError."""
        answer, reason = self.insert(shard, signal, body)
        if not reason:
            return answer
        refused, attempts = [(split(body), reason)], 1
        while refused:
            records, reason = refused.pop()
            if len(records) < 2 or attempts + 2 > ATTEMPTS:
                self.keep(shard, signal, records, reason)
                continue
            attempts += 2
            middle = len(records) // 2
            for half in (records[middle:], records[:middle]):
                _answer, reason = self.insert(shard, signal, join(half))
                if reason:
                    refused.append((half, reason))
        return 200, "application/x-protobuf", b""

    def insert(self, shard: str, signal: str, body: bytes) -> tuple[tuple[int, str, bytes], str]:
        """The answer to a batch, and why its table refuses it: empty when the table has it. Raises Unavailable when it may be stored later.

        A batch that only a view refuses is in the table already. The table drops the same block when it comes again, without the errors of
        views; the other views get it.
        """
        reason = ""
        for exporter in ("write", "ignore_views"):
            status, kind, answer = self.post(shard, signal, body, exporter)
            if status == 200:
                if reason:
                    count = len(split(body))
                    print(f"a view of shard {shard} misses a batch of {count} {signal}, which its table has: {reason}", flush=True)
                return (status, kind, answer), ""
            reason = refusal(status, answer)
            if not reason:
                raise Unavailable(503, kind, answer)
        return (status, kind, answer), reason

    def size(self) -> int:
        """Bytes of the dead letter folder. A file that a replay removes meanwhile counts nothing."""
        used = 0
        for file in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                used += file.stat().st_size
        return used

    def metrics(self) -> str:
        """How full the dead letter folder is, in the text format of Prometheus."""
        values = {
            "otelcol_gateway_dead_letters": len(list(self.folder.glob("*.otlp"))),
            "otelcol_gateway_dead_letter_bytes": self.size(),
            "otelcol_gateway_dead_letter_limit_bytes": self.limit,
        }
        return "".join(f"# TYPE {name} gauge\n{name} {value}\n" for name, value in values.items())

    def keep(self, shard: str, signal: str, records: list[tuple[bytes, bytes, bytes]], reason: str) -> None:
        """Write refused records to the dead letter folder; the same records again are the same file. Raises Unavailable when it is full."""
        body = join(records)
        name = f"{signal}-{hashlib.sha256(body).hexdigest()[:32]}"
        used = self.size()
        if used + len(body) > self.limit:
            text = f"the dead letter folder {self.folder} is full: {used} of {self.limit} bytes. A batch waits for: {reason}"
            raise Unavailable(503, "text/plain", text.encode())
        about = {
            "signal": signal,
            "shard": shard,
            "records": len(records),
            "refused": reason,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        # The reason first: records without one would be a file that nobody can explain.
        for suffix, content in ((".json", json.dumps(about).encode()), (".otlp", body)):
            new = self.folder / f".{name}{suffix}"
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.rename(self.folder / f"{name}{suffix}")
        # The names, too: the batch is removed from the queue next.
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        print(f"{len(records)} refused {signal} of shard {shard} are in {self.folder / name}.otlp: {reason}", flush=True)

    def replay(self) -> tuple[int, int, dict[str, str]]:
        """Send every dead letter again; those that are stored go.

        Returns how many went, how many ClickHouse still refuses, and of shards that do not take their letters now why they do not.
        """
        gone = left = 0
        away: dict[str, str] = {}
        for file in sorted(self.folder.glob("*.otlp")):
            about = json.loads(file.with_suffix(".json").read_text())
            shard = about["shard"]
            if shard in away:
                continue
            try:
                status, _kind, answer = self.post(shard, about["signal"], file.read_bytes(), "ignore_views")
            except Unavailable as error:
                away[shard] = error.args[2].decode("utf-8", "replace")
                continue
            if status == 200:
                file.unlink()
                file.with_suffix(".json").unlink()
                gone += 1
            elif refusal(status, answer):
                left += 1
            else:
                away[shard] = answer.decode("utf-8", "replace")
        return gone, left, away


class Handler(http.server.BaseHTTPRequestHandler):
    """POST /SHARD/v1/SIGNAL with a token of the gateway; what is not stored is answered with 503, which the queue tries again.

    GET /metrics needs no token, as the collector's own metrics do not.
    """

    protocol_version = "HTTP/1.1"
    relay: Relay
    tokens: Path
    shards = re.compile(r"^/([A-Za-z0-9_-]+)/v1/(logs|traces|metrics)\Z")

    def do_GET(self) -> None:
        """Tell the metrics."""
        if self.path == "/metrics":
            self.answer(200, "text/plain; version=0.0.4", self.relay.metrics().encode())
        else:
            self.answer(404, "text/plain", b"there is nothing here")

    def do_POST(self) -> None:
        """Take a batch."""
        given = self.headers.get("Authorization", "").encode()
        known = [f"Bearer {token}".encode() for token in self.tokens.read_text().split()]
        path = self.shards.match(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not any(hmac.compare_digest(given, token) for token in known):
            # Not 401, for which a queue drops its batch: it reads changed tokens a moment later than this program.
            self.answer(503, "text/plain", b"a token of the gateway is needed")
        elif path is None:
            self.answer(404, "text/plain", b"there is nothing here")
        else:
            try:
                self.answer(*self.relay.store(path.group(1), path.group(2), body))
            except Unavailable as error:
                self.answer(*error.args)
            except (OSError, ValueError) as error:
                self.answer(503, "text/plain", f"{type(error).__name__}: {error}".encode())

    def answer(self, status: int, kind: str, body: bytes) -> None:
        """Send an answer."""
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """A thread for each consumer of the queues."""

    request_queue_size = 128
    daemon_threads = True


def main() -> int:
    """Serve, or send the dead letters again."""
    parser = argparse.ArgumentParser(description="Hands batches of a gateway's queues to ClickHouse and takes out what it refuses.")
    parser.add_argument("command", choices=("serve", "replay"))
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--sockets", type=Path, required=True, help="folder with the exporters' sockets")
    parser.add_argument("--tokens", type=Path, required=True, help="file with a token on each line")
    parser.add_argument("--folder", type=Path, required=True, help="the dead letter folder")
    parser.add_argument("--limit", type=int, required=True, help="bytes that the dead letter folder may hold")
    options = parser.parse_args()
    options.folder.mkdir(mode=0o750, exist_ok=True)
    relay = Relay(options.sockets, options.folder, options.limit)
    if options.command == "replay":
        gone, left, away = relay.replay()
        print(json.dumps({"stored": gone, "refused": left, "unavailable": away}))
        return 0
    Handler.relay, Handler.tokens = relay, options.tokens
    Server(("127.0.0.1", options.port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
