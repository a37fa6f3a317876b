#!/usr/bin/env python3
"""How soon a revoked key is refused: on every connection, and so on every worker, from the moment it is asked for.

One loop drives the gateway's connections and the admin API, so that all times are of one clock: every connection sends
the key again `--pause` milliseconds after its answer came, and the key is revoked meanwhile. A revocation is durable before it is
enforced, so what the disk takes for a write is told beside it (`E2E_TMP=/dev/shm` leaves that out). `cargo xtask bench
revoke` runs this with the shipped binary. `--keys N --workers N --connections N --pause N`. Needs nginx.
"""

import argparse
import os
import pathlib
import select
import socket
import sys
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "e2e/lib")]

import fixed
from installation import Installation

CONFIGURATION = """
credentials: [{{ name: token, engine: generated }}]
upstreams: [{{ name: fixed, endpoints: ["http://127.0.0.1:{port}"], inject: {{ bearer: token }} }}]
routes: [{{ name: fixed, match: {{ path: /* }}, upstream: fixed, authenticate: [api_key] }}]
applications: [{{ name: app, allow: {{ routes: [fixed] }} }}]
"""


class Line:
    """A connection with one request under way."""

    def __init__(self, address, request, source="127.0.0.1"):
        self.socket = socket.create_connection(address, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request, self.received = request, b""

    def ask(self):
        """Sends the request; when that was."""
        now = time.perf_counter()
        self.socket.sendall(self.request)
        return now

    def status(self):
        """The status of an answer that is whole, after more of it came."""
        more = self.socket.recv(65536)
        assert more, "the connection was closed in the middle of an answer"
        self.received += more
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return None
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(fields[b"content-length"]):
            return None
        self.received = b""
        return int(head.split(b" ", 2)[1])


def revoke(made, name, key, source):
    """Revokes it under load. Times in seconds from the request for it: its acknowledgement, the moment the last request
    that was still served was sent, and the first refusal on each connection."""
    request = f"GET /item HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    order = f"POST /api/v1/keys/{name}/revoke HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {made.token}\r\nContent-Length: 0\r\n\r\n"
    control = Line(made.control_address, order.encode())
    lines = [Line(made.gateway_address, request, source) for _ in range(arguments.connections)]
    by_number = {line.socket.fileno(): line for line in (*lines, control)}
    sent = {line: line.ask() for line in lines}
    served, refused, waiting = {}, {}, {}
    began = time.perf_counter() + 0.05
    asked = acknowledged = None
    while acknowledged is None or len(refused) < len(lines):
        now = time.perf_counter()
        assert now < began + 20, f"{name} was not refused on every connection"
        if asked is None and now >= began:
            asked = control.ask()
        for line in [line for line, due in waiting.items() if due <= now]:
            del waiting[line]
            sent[line] = line.ask()
        # Asleep until something comes or is due, as this loop's processor is also the gateway's. Not by epoll, which
        # sleeps whole milliseconds: a connection that is asked so late finds out so late.
        pause = max(min(waiting.values()) - now, 0.0002) if waiting else 0.01
        for number in select.select(list(by_number), [], [], pause)[0]:
            line = by_number[number]
            status = line.status()
            if status is None:
                continue
            now = time.perf_counter()
            if line is control:
                assert status == 200, f"{name} was not revoked: {status}"
                acknowledged = now
            elif status == 200:
                served[line] = max(served.get(line, 0), sent[line])
                waiting[line] = now + arguments.pause / 1000
            else:
                assert status == 401 and asked is not None, f"{status} before {name} was revoked"
                refused[line] = now
                del by_number[number]
    for line in (*lines, control):
        line.socket.close()
    assert len(served) == len(lines), "a connection was never served"
    return acknowledged - asked, max(served.values()) - asked, [at - asked for at in refused.values()]


def disk(place, times=300):
    """How long a durable write of 8 KiB takes there, when nothing of ours is under way."""
    took = []
    with open(place / "probe", "wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 8192)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return took


def quantile(values, share):
    """Of a list, in milliseconds."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1000


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--keys", type=int, default=500)
parser.add_argument("--workers", type=int, default=4)
parser.add_argument("--connections", type=int, default=16)
parser.add_argument("--pause", type=float, default=1)
arguments = parser.parse_args()

upstream, port = fixed.start()
made = Installation("revoke").init().start("--workers", str(arguments.workers), log="error")
made.api.apply(CONFIGURATION.format(port=port), {})
keys = [(f"key-{n}", made.api.issue(f"key-{n}", "app")[1]) for n in range(arguments.keys)]
acknowledged, served, late, refused = [], [], [], []
for n, (name, key) in enumerate(keys):
    # From an address of its own each: a source with many refusals is refused as guessing is.
    ack, last, on_each = revoke(made, name, key, f"127.1.{n // 250}.{n % 250 + 1}")
    acknowledged.append(ack)
    served.append(last)
    late.append(last - ack)
    refused += on_each
print(f"{arguments.keys} keys revoked, each in use on {arguments.connections} connections of {arguments.workers} workers")
print("| ms | p50 | p99 | max |\n|---|---:|---:|---:|")
for what, values in (
    ("asked for until acknowledged (durable, every worker confirmed)", acknowledged),
    ("asked for until the last request that was still served was sent", served),
    ("asked for until refused, each connection", refused),
    ("last request served, sent after the acknowledgement (negative: before)", late),
    ("the disk alone: a durable write of 8 KiB", disk(made.dir)),
):
    print(f"| {what} | {quantile(values, 0.5):.2f} | {quantile(values, 0.99):.2f} | {max(values) * 1000:.2f} |")
made.stop()
upstream.terminate()
