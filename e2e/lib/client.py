"""HTTP as callers speak it, with every byte at hand: whole requests, raw bytes, slow and broken ones.

Everything that comes back is kept in a `Transcript`, so that a suite can search it afterwards.
"""

import json
import socket
import ssl
import threading
import time

from checks import eventually


class Transcript:
    """Every byte that came back, with what it answered."""

    def __init__(self):
        self.entries = []
        self.lock = threading.Lock()

    def add(self, what, data):
        with self.lock:
            self.entries.append((what, bytes(data)))


class Answer:
    """A parsed HTTP/1.1 answer."""

    def __init__(self, raw):
        self.raw = bytes(raw)
        head, _, body = self.raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        self.status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers.setdefault(name.strip().lower(), value.strip())
        self.chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self.complete = True
        if self.chunked:
            body, self.complete = dechunk(body)
        elif "content-length" in self.headers:
            self.complete = len(body) >= int(self.headers["content-length"])
            body = body[: int(self.headers["content-length"])]
        self.body = body

    def json(self):
        return json.loads(self.body)

    def text(self):
        return self.body.decode("utf-8", "replace")

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


def dechunk(data):
    """The payload of a chunked body, and whether it was complete."""
    out = b""
    while True:
        line, found, rest = data.partition(b"\r\n")
        if not found:
            return out, False
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            return out, False
        if size == 0:
            return out, True
        if len(rest) < size + 2:
            return out + rest[:size], False
        out += rest[:size]
        data = rest[size + 2 :]


def connect(address, tls=False, timeout=10.0, receive_buffer=None):
    """A connected socket. With `tls`, nothing about the certificate is verified."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(timeout)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(sock, server_hostname="localhost")
    return sock


def read_answer(sock):
    """One whole answer with a `content-length` from a connection that stays."""
    raw = b""
    while b"\r\n\r\n" not in raw or not Answer(raw).complete:
        piece = sock.recv(65536)
        assert piece, f"the connection ended within an answer: {raw[:300]!r}"
        raw += piece
    return Answer(raw)


def read_all(sock, timeout=10.0):
    """Everything until the peer closes, or until nothing came for `timeout` seconds."""
    sock.settimeout(timeout)
    out = b""
    try:
        while piece := sock.recv(65536):
            out += piece
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    return out


class Caller:
    """Sends requests to one address."""

    def __init__(self, address, transcript=None, tls=False, headers=None):
        self.address = address
        self.transcript = transcript
        self.tls = tls
        self.headers = dict(headers or {})

    def keep(self, what, data):
        if self.transcript is not None:
            self.transcript.add(what, data)

    def send(self, method, path, headers=None, body=None, timeout=60.0, keep=True):
        """One request on a connection of its own; reads the answer to its end."""
        with connect(self.address, self.tls, timeout) as sock:
            try:
                sock.sendall(self.request(method, path, headers, body))
            except ConnectionError:
                pass  # refused before it was read to its end; the answer may be there
            raw = read_all(sock, timeout)
        if keep:
            self.keep(f"{method} {path[:60]}", raw)
        return Answer(raw)

    def request(self, method, path, headers=None, body=None, close=True):
        """The bytes of a request."""
        fields = {"host": f"{self.address[0]}:{self.address[1]}", **self.headers, **(headers or {})}
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            fields.setdefault("content-type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        if body is not None and not any(n.lower() in ("content-length", "transfer-encoding") for n in fields):
            fields["content-length"] = str(len(body))
        if close:
            fields.setdefault("connection", "close")
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items() if v is not None)
        return head.encode("latin-1") + b"\r\n" + (body or b"")

    def raw(self, data, timeout=5.0, pause=0.0, first=None):
        """Raw bytes, or several pieces with a pause between them; returns the raw bytes that came back, until the
        connection ends or nothing came for `timeout` seconds. With `first`, what comes first may take that long."""
        pieces = [data] if isinstance(data, bytes) else data
        with connect(self.address, self.tls, first or timeout) as sock:
            for i, piece in enumerate(pieces):
                if i and pause:
                    time.sleep(pause)
                try:
                    sock.sendall(piece)
                except ConnectionError:
                    break
            raw = b""
            if first:
                try:
                    raw = sock.recv(65536)
                except (TimeoutError, ConnectionError, ssl.SSLError):
                    pass
            raw += read_all(sock, timeout) if raw or not first else b""
        self.keep("raw", raw)
        return raw

    def cut(self, data, wait=0.0):
        """Sends bytes and cuts the connection without reading the answer."""
        sock = connect(self.address, self.tls)
        sock.sendall(data)
        if wait:
            time.sleep(wait)
        # With no linger the kernel resets the connection: whatever was answered is lost.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        sock.close()


class Refused(AssertionError):
    """The admin API did not answer as asked."""

    def __init__(self, method, path, answer):
        super().__init__(f"{method} {path}: {answer}")
        self.answer = answer


class Api(Caller):
    """The admin API, as an administrator."""

    def __init__(self, address, token, transcript=None, tls=False):
        super().__init__(address, transcript, tls, {"authorization": f"Bearer {token}"})

    def call(self, method, path, body=None, headers=None, expect=(200, 201, 202, 204), keep=True, timeout=90.0):
        """The JSON of an answer that has one of the expected statuses."""
        answer = self.send(method, f"/api/v1{path}", headers, body, timeout, keep)
        if answer.status not in (expect if isinstance(expect, tuple) else (expect,)):
            raise Refused(method, path, answer)
        return json.loads(answer.body) if answer.body else None

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, body if body is not None else {}, **more)

    def put(self, path, body, **more):
        return self.call("PUT", path, body, **more)

    def delete(self, path, **more):
        return self.call("DELETE", path, **more)

    def apply(self, text, values=None, prune=False, expect=200, keep=True, headers=None):
        """Applies a configuration text."""
        body = {"documents": [{"file": "test.yaml", "text": text}], "values": values or {}, "prune": prune}
        return self.post("/config/apply", body, expect=expect, keep=keep, headers=headers)

    def issue(self, name, application, headers=None, **more):
        """Issues a key: (what is shown of it, its secret). The answer is left out of the transcript."""
        body = {"name": name, "application": application, **more}
        issued = self.post("/keys", body, keep=False, headers=headers)
        return issued["key"], issued["secret"]

    def calls(self, **query):
        """The newest calls that match."""
        text = "&".join(f"{n}={v}" for n, v in query.items())
        return self.get(f"/calls?{text}")["items"]

    def recorded(self, count=1, seconds=10, **query):
        """Waits until at least `count` calls match, and returns them, newest first."""
        found = []

        def enough():
            found[:] = self.calls(**query)
            return len(found) >= count

        eventually(enough, lambda: f"{len(found)} calls match {query}, not {count}", seconds, 0.1)
        return found

    def rotation(self, identity, seconds=30):
        """Waits until a rotation is finished."""
        told = {}

        def finished():
            told.update(self.get(f"/rotations/{identity}"))
            return told["finished"]

        eventually(finished, lambda: f"the rotation is not finished: {told}", seconds, 0.1)
        return told
