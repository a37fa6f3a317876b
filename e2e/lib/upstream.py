"""An upstream that writes down every byte it receives and answers with exactly the bytes it is told to.

One thread for each connection; the behaviour is a function from the request to what is done on the socket.
"""

import json
import socket
import struct
import threading
import time


class Received:
    """One request as it arrived."""

    def __init__(self, head, body, connection):
        self.raw = head + body
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = (lines[0].split(" ") + ["", ""])[:3]
        self.path, _, self.query = self.target.partition("?")
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]
        self.body = body
        self.connection = connection
        self.time = time.monotonic()

    def header(self, name):
        """The first value of a header, or None."""
        return next((v for n, v in self.headers if n.lower() == name), None)

    def json(self):
        return json.loads(self.body)


class Wire:
    """The upstream's end of a connection."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data)

    def pieces(self, pieces, pause=0.0):
        """Sends pieces one after the other."""
        for i, piece in enumerate(pieces):
            if i and pause:
                time.sleep(pause)
            self.send(piece)

    def reset(self):
        """Cuts the connection with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def more(self):
        piece = self.sock.recv(65536)
        self.buffer += piece
        return bool(piece)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                return None
        head, _, self.buffer = self.buffer.partition(mark)
        return head + mark

    def exactly(self, length):
        pieces, missing = [self.buffer], length - len(self.buffer)
        while missing > 0:
            if not (piece := self.sock.recv(min(missing, 1 << 20))):
                return None
            pieces.append(piece)
            missing -= len(piece)
        whole = b"".join(pieces)
        self.buffer = whole[length:]
        return whole[:length]

    def read(self):
        """The next request, or None."""
        head = self.until(b"\r\n\r\n")
        if head is None:
            return None
        request = Received(head, b"", self)
        if "chunked" in (request.header("transfer-encoding") or "").lower():
            body = b""
            while True:
                line = self.until(b"\r\n")
                if line is None:
                    return None
                size = int(line.split(b";")[0], 16)
                data = self.exactly(size + 2)
                if data is None:
                    return None
                if size == 0:
                    break
                body += data[:-2]
        else:
            body = self.exactly(int(request.header("content-length") or 0))
            if body is None:
                return None
        return Received(head, body, self)


REASONS = {200: "OK", 201: "Created", 401: "Unauthorized", 429: "Too Many Requests", 500: "Internal Server Error"}


def answer(status=200, body=b"{}", headers=None):
    """The bytes of a whole answer."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": len(body), **(headers or {})}
    head = f"HTTP/1.1 {status} {REASONS.get(status, 'Answer')}\r\n" + "".join(
        f"{n}: {v}\r\n" for n, v in fields.items()
    )
    return head.encode("latin-1") + b"\r\n" + body


def stream_head(content_type="text/event-stream", headers=None):
    """The head of a chunked answer."""
    fields = {"content-type": content_type, "transfer-encoding": "chunked", **(headers or {})}
    return ("HTTP/1.1 200 OK\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items()) + "\r\n").encode()


def chunk(data):
    """One chunk of a chunked answer; an empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Upstream:
    """A server on a free loopback port. `behaviour(request, wire)` answers; False ends the connection."""

    def __init__(self, behaviour=None, port=0):
        self.behaviour = behaviour or plain
        self.requests = []
        self.connections = 0
        self.stopping = False
        self.lock = threading.Lock()
        self.open = set()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(1024)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(sock)
        try:
            while (request := wire.read()) is not None:
                with self.lock:
                    self.requests.append(request)
                if self.behaviour(request, wire) is False:
                    return
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def seen(self):
        """Everything received so far, as one text of bytes."""
        with self.lock:
            return b"\n".join(r.raw for r in self.requests)

    def last(self):
        """The newest request."""
        with self.lock:
            return self.requests[-1]

    def forget(self):
        with self.lock:
            self.requests.clear()

    def stop(self):
        self.stopping = True
        self.listener.close()
        with self.lock:
            for sock in self.open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def plain(request, wire):
    """Answers everything with a small JSON object."""
    wire.send(answer(200, {"ok": True}))
