"""What the three stand-ins share: an HTTPS server that writes down each request and knows only what it was taught, and
the form of a request, so that those of two clients can be compared.
"""

import base64
import collections
import http.server
import json
import ssl
import subprocess
import threading
import time
import urllib.parse

from installation import folder


class Authority:
    """A certificate authority that OpenSSL makes, and a certificate for 127.0.0.1."""

    def __init__(self):
        place = folder()
        self.file, self.certificate, self.key = place / "ca.crt", place / "leaf.crt", place / "leaf.key"

        def openssl(*words):
            subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)

        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        openssl("req", "-x509", *curve, "-days", 2, "-keyout", place / "ca.key", "-out", self.file, "-subj", "/CN=stand-ins",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", *curve, "-keyout", self.key, "-out", place / "leaf.csr", "-subj", "/CN=stand-in")
        (place / "leaf.ext").write_text(
            "basicConstraints=critical,CA:FALSE\nsubjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
            "keyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        openssl("x509", "-req", "-in", place / "leaf.csr", "-CA", self.file, "-CAkey", place / "ca.key", "-CAcreateserial",
                "-days", 2, "-out", self.certificate, "-extfile", place / "leaf.ext")


class Request:
    """One request as it arrived."""

    def __init__(self, method, target, headers, body):
        path, _, query = target.partition("?")
        self.method, self.path, self.body = method, urllib.parse.unquote(path), body
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.kind = self.headers.get("content-type", "").split(";")[0].strip()

    @property
    def bearer(self):
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else None

    def json(self):
        return json.loads(self.body) if self.body else None

    def form(self):
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))


class StandIn:
    """Serves until the suite ends. `serve` gives (status, what is answered as JSON or None, headers); what it was not
    taught it raises, and that fails the suite."""

    def __init__(self, authority):
        self.requests, self.failures, self.guard = [], [], threading.Lock()
        #: What the next requests are answered instead: (status, body, headers).
        self.instead = collections.deque()
        #: How long what is read is under way, in seconds.
        self.slow = 0
        standin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = Request(self.command, self.path, self.headers, body)
                with standin.guard:
                    status, told, more = standin.answered(request)
                if self.command == "GET":
                    time.sleep(standin.slow)
                text = b"" if told is None else json.dumps(told).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json; charset=utf-8", **more}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *words):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                raw, address = self.socket.accept()
                raw.settimeout(120)
                # The handshake is the connection's own thread's, at its first reading.
                return tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, *_):
                """Callers hang up."""

        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority.certificate, authority.key)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"https://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answered(self, request):
        self.requests.append(request)
        try:
            if self.instead and not self.is_login(request):
                return self.instead.popleft()
            status, told, *more = self.serve(request)
            return status, told, (more[0] if more else {})
        except Exception as error:
            self.failures.append(f"{request.method} {request.path} {request.query}: {type(error).__name__}: {error}")
            return 500, {"error": "the stand-in does not know this"}, {}

    def taken(self):
        """The requests since it was last asked."""
        with self.guard:
            taken, self.requests = self.requests, []
        return taken


def forms(requests, template, wild=()):
    """The forms of requests, each with its requests: `template` gives the path without names, `wild` names the maps whose
    keys are not the API's."""
    found = collections.defaultdict(list)
    for request in requests:
        body = request.form() if request.kind == "application/x-www-form-urlencoded" else request.json()
        found[f"{request.method} {template(request.path)}"].append({
            "query": {name: kind(value) for name, value in request.query.items()},
            "kind": (request.kind or "application/json") if request.body else None,
            "scheme": request.headers.get("authorization", "").partition(" ")[0].lower(),
            "body": shape(body, wild),
        })
    return found


def kind(value):
    return "number" if value.isdigit() else "text"


def shape(value, wild=()):
    """A body with types in place of values."""
    if isinstance(value, dict):
        return {name: {"*": "text"} if name in wild else shape(item, wild) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item, wild) for item in value[:1]]
    return "null" if value is None else {bool: "truth", int: "number", str: "text"}[type(value)]


def within(ours, official):
    """Whether what one request holds, the other holds too."""
    if isinstance(ours, dict) and isinstance(official, dict):
        return all(name in official and within(item, official[name]) for name, item in ours.items())
    return ours == official


def strange(ours, official):
    """Our requests that have no like among the official client's: of the same method and path, with no part that none of
    the others has."""
    found = []
    for where, requests in ours.items():
        for request in requests:
            if not any(within(request, other) for other in official.get(where, [])):
                found.append(f"{where}: {request} is like none of {official.get(where, 'nothing')}")
    return found


def text(raw):
    """Base64 as JSON Web Tokens have it, undone."""
    return base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))
