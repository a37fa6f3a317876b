"""Drives one installation through everything in which a secret could get out, and remembers every secret.

Nothing here judges; the suite searches afterwards.
"""

import base64
import concurrent.futures
import json
import pathlib
import re
import secrets as randomness
import subprocess
import time
import urllib.parse

from checks import eventually
from upstream import Upstream, answer, chunk, stream_head

CONFIGURATION = """
teams: [{{ name: owners }}]
credentials:
  - {{ name: bearer, engine: static, owner: owners, tags: [canary] }}
  - {{ name: header, engine: static, value: "${{env:CANARY_HEADER}}" }}
  - {{ name: query, engine: static, value: "${{file:{file}}}" }}
  - {{ name: basic, engine: static }}
  - {{ name: made, engine: generated, generate: {{ length: 48 }} }}
  - {{ name: provider, engine: static }}
  - {{ name: verified, engine: static, verify: {{ upstream: verified, path: /refuse }} }}
upstreams:
  - {{ name: bearer, endpoints: ["{url}"], inject: {{ bearer: bearer }}, timeouts: {{ response: 300ms, idle: 300ms }}, health: {{ failures: 1000 }} }}
  - {{ name: header, endpoints: ["{url}"], inject: {{ header: {{ name: x-upstream-key, credential: header, prefix: "Token " }} }}, timeouts: {{ response: 300ms, idle: 300ms }}, health: {{ failures: 1000 }} }}
  - {{ name: query, endpoints: ["{url}"], inject: {{ query: {{ name: key, credential: query }} }}, timeouts: {{ response: 300ms, idle: 300ms }}, health: {{ failures: 1000 }} }}
  - {{ name: basic, endpoints: ["{url}"], inject: {{ basic: {{ username: user, credential: basic }} }}, timeouts: {{ response: 300ms, idle: 300ms }}, health: {{ failures: 1000 }} }}
  - {{ name: made, endpoints: ["{url}"], inject: {{ bearer: made }}, timeouts: {{ response: 300ms, idle: 300ms }}, health: {{ failures: 1000 }} }}
  - {{ name: provider, endpoints: ["{url}/v1"], provider: openai, inject: {{ bearer: provider }}, timeouts: {{ response: 300ms, idle: 300ms }}, health: {{ failures: 1000 }} }}
  - {{ name: verified, endpoints: ["{url}"], inject: {{ bearer: verified }} }}
  - {{ name: away, endpoints: ["http://127.0.0.1:1"], inject: {{ query: {{ name: key, credential: query }} }} }}
routes:
  - {{ name: bearer, match: {{ path: /bearer/* }}, upstream: bearer, authenticate: [api_key], strip_prefix: /bearer, key_in_query: api_key, websocket: true }}
  - {{ name: header, match: {{ path: /header/* }}, upstream: header, authenticate: [api_key], strip_prefix: /header, key_in_query: api_key, websocket: true }}
  - {{ name: query, match: {{ path: /query/* }}, upstream: query, authenticate: [api_key], strip_prefix: /query, key_in_query: api_key, websocket: true }}
  - {{ name: basic, match: {{ path: /basic/* }}, upstream: basic, authenticate: [api_key], strip_prefix: /basic, key_in_query: api_key, websocket: true }}
  - {{ name: made, match: {{ path: /made/* }}, upstream: made, authenticate: [api_key], strip_prefix: /made, key_in_query: api_key, websocket: true }}
  - {{ name: away, match: {{ path: /away/* }}, upstream: away, authenticate: [api_key], strip_prefix: /away }}
  - {{ name: not-mine, match: {{ path: /not-mine/* }}, upstream: bearer, authenticate: [api_key] }}
models:
  - {{ name: chat, targets: [{{ provider: provider, model: m }}] }}
applications:
  - {{ name: canary, team: owners, allow: {{ routes: [bearer, header, query, basic, made, away], models: [chat] }} }}
"""
WAYS = ("bearer", "header", "query", "basic", "made")
#: Written as a header and a URL may hold it, with characters that the forms escape differently.
SPECIAL = "+/=%&~'x"


def secret(name):
    """A value that occurs nowhere else."""
    return f"cnry-{name}-{randomness.token_hex(12)}{SPECIAL}"


def quietly(function, *args, **more):
    """Does something that may be refused in any way; what comes back is in the transcript."""
    try:
        return function(*args, **more)
    except (OSError, AssertionError, subprocess.SubprocessError):
        return None


def each(function, items, *more):
    """Calls a function with each item, at the same time; an error of one is raised."""
    with concurrent.futures.ThreadPoolExecutor(len(items)) as pool:
        for done in [pool.submit(function, item, *more) for item in items]:
            done.result()


class Echo:
    """The upstream: repeats what it was sent in every place it can."""

    def __init__(self):
        self.upstream = Upstream(self.answer)

    def answer(self, request, wire):
        sent = [v for n, v in request.headers if n.lower() in ("authorization", "x-upstream-key")]
        sent += [request.query]
        sent += [urllib.parse.unquote(v) for _, _, v in (p.partition("=") for p in request.query.split("&")) if v]
        for value in list(sent):
            sent.append(value.split(" ")[-1])
        sent = [value for value in sent if value]
        text = "\n".join(sent).encode("latin-1")
        what = request.path.rsplit("/", 1)[-1]
        if (request.header("upgrade") or "").lower() == "websocket":
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nx-echo: ")
            wire.send(sent[0].encode("latin-1") + b"\r\n\r\n")
            # One frame for each place to cut it.
            for at in range(1, len(text), 9):
                wire.pieces([b"\x81\x7e" + len(text).to_bytes(2, "big") + text[:at], text[at:]], 0.005)
            return False
        if what == "body":
            wire.send(answer(200, request.raw))
        elif what == "headers":
            fields = {f"x-echo-{i}": value for i, value in enumerate(sent)}
            fields |= {"location": f"/again?{request.query}", "set-cookie": f"a={sent[0]}", "www-authenticate": sent[-1]}
            wire.send(answer(302, b"{}", fields))
        elif what == "split":
            wire.send(stream_head("text/plain"))
            wire.pieces([chunk(text[i : i + 1]) for i in range(len(text))] + [chunk(b"")], 0.001)
        elif what == "halves":
            wire.send(stream_head("text/plain"))
            for at in range(1, len(text), 7):
                wire.pieces([chunk(text[:at]), chunk(text[at:])], 0.002)
            wire.send(chunk(b""))
        elif what == "trailers":
            wire.send(stream_head("text/plain") + chunk(b"x") + b"0\r\nx-echo: " + sent[0].encode("latin-1") + b"\r\n\r\n")
        elif what == "early":
            wire.send(b"HTTP/1.1 103 Early Hints\r\nlink: " + sent[0].encode("latin-1") + b"\r\n\r\n")
            wire.send(answer(200, text))
        elif what == "error":
            wire.send(answer(500, {"error": sent}))
        elif what == "reason":
            wire.send(b"HTTP/1.1 400 " + sent[0].encode("latin-1") + b"\r\ncontent-length: 0\r\n\r\n")
        elif what == "garbage":
            wire.send(b"NOT HTTP " + text + b"\r\n\r\n")
            return False
        elif what == "badhead":
            wire.send(b"HTTP/1.1 200 OK\r\n" + text + b"\r\n\r\n")
            return False
        elif what == "reset":
            wire.reset()
            return False
        elif what == "cut":
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + text)
            return False
        elif what == "hang":
            time.sleep(0.8)
            return False
        elif what == "stall":
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + text)
            time.sleep(0.8)
            return False
        elif what == "refuse":
            wire.send(answer(401, {"error": f"Incorrect key: {sent[-1]}"}))
        elif what == "completions":
            self.complete(request, wire, sent)
        else:
            wire.send(answer(200, {"ok": True}))

    @staticmethod
    def complete(request, wire, sent):
        body = json.loads(request.body)
        told = f"Incorrect API key provided: {sent[-1]}"
        if not body.get("stream"):
            return wire.send(answer(401, {"error": {"message": told, "code": "invalid_api_key"}}))
        wire.send(stream_head())
        for part in (told, told):
            event = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": part}}]}).encode() + b"\n\n"
            wire.pieces([chunk(event[i : i + 5]) for i in range(0, len(event), 5)])
        wire.send(chunk(b"data: [DONE]\n\n") + chunk(b""))


ECHOES = ("body", "headers", "split", "halves", "trailers", "early", "error", "reason", "garbage", "badhead")
FAILURES = ("reset", "cut", "hang", "stall")


class Drive:
    """The secrets of one installation and everything done with them."""

    def __init__(self, installation, canaries):
        self.one, self.canaries = installation, canaries
        self.echo = Echo()
        self.keys = {}
        self.values = {}

    def plant(self, name, value):
        return self.canaries.plant(f"{name} of {self.one.dir.name}", value)

    def plant_key(self, name, whole):
        """The key id may be shown, so only the secret part is looked for."""
        self.plant(f"key {name}", whole.rsplit("_", 1)[1])
        self.keys[name] = whole
        return whole

    # ---- the beginning ----------------------------------------------------------------------

    def configure(self):
        one = self.one
        self.plant("admin token", one.token)
        # What people ask a model is nobody else's: no log and no record may hold it.
        self.prompt = self.plant("prompt", secret("prompt"))
        for name in ("bearer", "header", "query", "basic", "provider", "verified"):
            self.values[name] = self.plant(f"credential {name}", secret(name))
        file = one.dir / "query-value"
        file.write_text(self.values["query"] + "\n")
        file.chmod(0o600)
        text = CONFIGURATION.format(url=self.echo.upstream.url, file=file)
        # Held in the API's own way where the command line cannot know the value, else by reference.
        (one.dir / "configuration.yaml").write_text(text)
        given = {n: v for n, v in self.values.items()}
        one.api.apply(text, given)
        one.api.post("/credentials", {"name": "by-api", "engine": "static", "secret": self.plant("by-api", secret("api"))})
        for name in ("first", "revoked", "rotated"):
            self.plant_key(name, one.api.issue(name, "canary", {"idempotency-key": f"once-{name}"})[1])
        again = one.api.issue("first", "canary", {"idempotency-key": "once-first"})
        assert again[1] == self.keys["first"], "the same Idempotency-Key brought another key"
        # The suite waits for that before it uses the key.
        self.expires = int(time.time()) + 2
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expires))
        self.plant_key("expired", one.api.issue("expired", "canary", expires=end)[1])

    # ---- traffic ----------------------------------------------------------------------------

    def serves(self, way, when="now"):
        """A request is answered with 200. The upstreams have 300 ms, which a busy machine may need for itself: only then
        it is asked again."""

        def answered():
            status = self.one.with_key(self.keys["first"]).send("GET", f"/{way}/plain").status
            assert status in (200, 504), f"{way} does not work {when}: {status}"
            return status == 200

        eventually(answered, f"{way} does not work {when}: no answer of its upstream in time")

    def succeed(self):
        for way in WAYS:
            self.serves(way)
        made = [r.header("authorization") for r in self.echo.upstream.requests if r.path == "/plain"][-1]
        self.plant("generated", made.split(" ")[-1])

    def echoes(self):
        caller = self.one.with_key(self.keys["first"])

        def along(way):
            for what in ECHOES + FAILURES:
                quietly(caller.send, "GET", f"/{way}/{what}?mine=1")
            upgrade = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
            upgrade["sec-websocket-key"] = base64.b64encode(b"0123456789abcdef").decode()
            quietly(caller.send, "GET", f"/{way}/socket", upgrade, timeout=2)

        def along_http2(way):
            self.over_http2(self.keys["first"], [f"/{way}/{what}?mine=1" for what in ECHOES + FAILURES])

        each(along, WAYS)
        each(along_http2, WAYS)
        quietly(caller.send, "GET", "/away/x")
        for stream in (False, True):
            body = {"model": "chat", "stream": stream, "messages": [{"role": "user", "content": self.prompt}]}
            quietly(caller.send, "POST", "/v1/chat/completions", body=body)

    def over_http2(self, key, paths):
        """The same through HTTP/2, which is another implementation on both its sides."""
        one = self.one
        version = "--http2" if one.tls else "--http2-prior-knowledge"
        head = ["curl", "--silent", "--insecure", "--include", "--max-time", "3", version, "--config", "-"]
        # The key is not for the list of processes.
        lines = [f'header = "authorization: Bearer {key}"'] + [f'url = "{one.gateway_url}{path}"' for path in paths]
        done = subprocess.run(head, input="\n".join(lines).encode(), capture_output=True, check=False)
        assert b"HTTP/2 " in done.stdout, f"no answer over HTTP/2: {done.stdout[:200]} {done.stderr[:200]}"
        one.transcript.add(f"{len(paths)} requests over HTTP/2", done.stdout)

    def refusals(self):
        """Wrong keys in every place, and requests that are broken around a right one."""
        first = self.keys["first"]
        stranger = self.plant_key("stranger", "cfk_live_000000000000_" + randomness.token_hex(19))
        near = self.plant_key("near", first.rsplit("_", 1)[0] + "_" + randomness.token_hex(19))
        odd = self.plant("odd bearer", secret("odd"))
        each(self.guess, (self.keys["expired"], stranger, near, odd, first), odd)
        each(self.values_in_paths, ("bearer", "header"))

    def values_in_paths(self, way):
        """A credential's value in a path, where nothing but the value itself tells that it is a secret: on routes that are
        there and on others, of callers that are known and of others."""
        value = self.values[way]
        quoted = urllib.parse.quote(value, safe="")
        for caller in (self.one.with_key(self.keys["first"]), self.one.gateway):
            for path in (
                f"/absent/{quoted}",
                f"/{quoted}",
                f"/bearer/{quoted}/plain",
                f"/bearer/x/{quoted}-x/" + "y" * 300,
                "/bearer/" + "y" * (245 - len("/bearer/")) + quoted,
                f"/bearer/{value}",
                f"/bearer/x-{value.replace('%', '%25')}",
                f"/not-mine/{quoted}",
                f"/v1/models/{quoted}",
                f"/bearer/plain?x={quoted}",
                f"http://user:{quoted}@127.0.0.1/bearer/plain",
            ):
                quietly(caller.send, "GET", path)

    def guess(self, key, odd):
        """One key in every place where a key can stand, and in places where none belongs."""
        gateway, first = self.one.gateway, self.keys["first"]
        pair = base64.b64encode(f"user:{key}".encode()).decode()
        quoted = urllib.parse.quote(key, safe="")
        for fields in (
            {"authorization": f"Bearer {key}"},
            {"authorization": key},
            {"authorization": f"Basic {pair}"},
            {"x-api-key": key},
            {"api-key": key},
            {"x-goog-api-key": key},
            {"cookie": f"key={key}"},
            {"x-api-key": key, "authorization": f"Bearer {key}"},
        ):
            quietly(gateway.send, "GET", "/bearer/plain", fields)
            quietly(gateway.send, "GET", "/not-mine/plain", fields)
        in_query = (
            f"/bearer/plain?api_key={quoted}",
            f"/bearer/plain?key={quoted}&api_key={quoted}",
            f"/absent?api_key={quoted}",
        )
        # Only keys of our own can be recognised in a path and left out of what is recorded.
        in_path = (
            f"/absent/{quoted}",
            f"/{quoted}",
            f"/bearer/{quoted}/plain",
            f"/bearer/x/{quoted}-x",
            f"/v1/models/{quoted}",
            f"//{quoted}@elsewhere/",
            f"http://user:{quoted}@127.0.0.1/bearer/plain",
            f"/absent/{quoted.replace('_', '%5F')}",
            f"/bearer/{quoted.replace('_', '%5f')}/plain",
            f"/{quoted.replace('_', '%255F')}",
        )
        for path in in_query + (in_path if key != odd else ()):
            quietly(gateway.send, "GET", path)
            quietly(self.one.with_key(first).send, "GET", path)
        for raw in (
            f"GET /bearer/plain HTTP/1.1\nhost: x\nx-api-key: {key}\n\n",
            f"GET /bearer/x?api_key={quoted} HTTP/9.9\r\nhost: x\r\n\r\n",
            f"GET /bearer/plain {quoted} HTTP/1.1\r\nhost: x\r\n\r\n",
            f"{quoted} /bearer/plain HTTP/1.1\r\nhost: x\r\n\r\n",
            f"GET /bearer/plain HTTP/1.1\r\nhost: {quoted}\r\n\r\n",
            f"GET /bearer/plain HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            f"GET /bearer/plain HTTP/1.1\r\nhost: x\r\nx-api-key:\r\n {key}\r\n\r\n",
            f"GET /bearer/plain HTTP/1.1\r\nhost: x\r\n{key}: x\r\n\r\n",
            f"GET /bearer/plain HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\0\r\n\r\n",
            f"GET /bearer/plain HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nx-pad: {'p' * 90000}\r\n\r\n",
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {first}\r\ncontent-type: application/json\r\ncontent-length: {len(key) + 12}\r\n\r\n" + '{"model": "' + key + '"',
            f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{key}",
        ):
            quietly(gateway.raw, raw.encode("latin-1"), timeout=0.4)
            quietly(self.one.control.raw, raw.encode("latin-1"), timeout=0.4)
        body = {"model": key, "messages": [{"role": "user", "content": "hi"}]}
        quietly(self.one.with_key(first).send, "POST", "/v1/chat/completions", body=body)

    # ---- the control plane ------------------------------------------------------------------

    def administration(self):
        one, api = self.one, self.one.api
        bad = self.plant("literal", secret("literal"))
        for text in (
            f"credentials: [{{ name: literal, engine: static, value: \"{bad}\" }}]",
            f"credentials: [{{ name: literal, engine: static, secret: \"{bad}\" }}]",
            f"credentials:\n  - name: literal\n    value: [ {bad}",
            f"upstreams: [{{ name: u, endpoints: [\"http://user:{urllib.parse.quote(bad, safe='')}@127.0.0.1:1\"] }}]",
        ):
            for verb in ("check", "plan", "apply"):
                body = {"documents": [{"file": "bad.yaml", "text": text}], "values": {}}
                quietly(api.send, "POST", f"/api/v1/config/{verb}", body=body)
            file = one.dir / "bad.yaml"
            file.write_text(text)
            for verb in ("check", "plan", "apply"):
                quietly(one.run, verb, str(file), check=False)
        for body in (
            {"name": "x", "engine": "static", "secret": bad, "unknown": 1},
            {"name": "x", "engine": "static", "secret": [bad]},
            {"name": "x", "engine": "static", "secret": {"value": bad}},
            {"name": "x", "engine": "generated", "secret": bad},
            {"name": "x", "engine": "static", "value": bad},
            {"name": "bearer", "engine": "static", "secret": bad},
        ):
            quietly(api.send, "POST", "/api/v1/credentials", body=body)
            quietly(api.send, "PUT", "/api/v1/credentials/bearer", body=body)
        quietly(api.send, "POST", "/api/v1/credentials", {"content-type": "application/json"}, f'{{"secret": "{bad}", ')
        quietly(api.send, "POST", "/api/v1/credentials", {"content-type": "text/plain"}, f'{{"secret": "{bad}"}}')
        quietly(api.send, "POST", "/api/v1/credentials/absent/rotate", body={"secret": bad})
        quietly(api.send, "POST", "/api/v1/credentials/bearer/rotate", body={"secret": bad, "more": 1})
        quietly(api.send, "POST", "/api/v1/config/apply", body={"documents": [], "values": {"absent": bad}})
        wrong = self.plant("wrong admin token", "cfadmin_" + randomness.token_urlsafe(32))
        for _ in range(3):
            quietly(one.control.send, "GET", "/api/v1/status", {"authorization": f"Bearer {wrong}"})
            quietly(one.control.send, "POST", "/api/v1/session", body={"token": wrong})
        quietly(one.control.send, "GET", f"/api/v1/status?token={wrong}")
        quietly(one.control.send, "GET", f"/{wrong}")
        quietly(one.control.send, "GET", "/api/v1/status", {"cookie": f"credentialflow_session={wrong}"})
        self.session()

    def session(self):
        one = self.one
        answered = one.control.send("POST", "/api/v1/session", body={"token": one.token}, keep=False)
        assert answered.status == 200, answered
        cookie = answered.headers["set-cookie"].split(";")[0]
        self.plant("session", cookie.split("=", 1)[1])
        one.control.keep("session", answered.body)
        one.control.send("GET", "/api/v1/session", {"cookie": cookie})
        one.control.send("DELETE", "/api/v1/session", {"cookie": cookie, "x-credentialflow-csrf": "1"})

    def rotations(self):
        """Keys and credentials are rotated and revoked; one new value is refused by its target."""
        one, api = self.one, self.one.api
        new = api.post("/keys/rotated/rotate", {"overlap": "1h"}, keep=False)["secret"]
        self.plant_key("rotated again", new)
        api.post("/keys/revoked/revoke")

        def rotate(way):
            body = {"overlap": "1s"}
            if way != "made":
                body["secret"] = self.plant(f"rotated {way}", secret(f"new-{way}"))
            rotation = api.post(f"/credentials/{way}/rotate", body)
            self.echoes_of(way)
            api.rotation(rotation["id"])

        each(rotate, WAYS)
        self.succeed()
        refused = self.plant("refused", secret("refused"))
        rotation = api.post("/credentials/verified/rotate", {"secret": refused})
        quietly(api.rotation, rotation["id"], 5)
        for key in self.keys.values():
            quietly(one.with_key(key).send, "GET", "/bearer/plain")
        api.post("/credentials/by-api/revoke")

    def echoes_of(self, way):
        for what in ("body", "headers", "split"):
            quietly(self.one.with_key(self.keys["first"]).send, "GET", f"/{way}/{what}")

    def look(self):
        """Reads everything there is to read."""
        one, api = self.one, self.one.api
        for kind in ("teams", "applications", "credentials", "upstreams", "routes", "models", "keys"):
            for item in api.get(f"/{kind}?limit=1000")["items"]:
                name = item["spec"]["name"]
                api.get(f"/{kind}/{name}")
                if kind == "credentials":
                    api.get(f"/credentials/{name}/versions")
                    for rotation in api.get(f"/credentials/{name}/rotations")["items"]:
                        api.get(f"/rotations/{rotation['id']}")
        calls = api.get("/calls?limit=1000")
        for call in calls["items"][:20]:
            api.get(f"/calls/{call['request_id']}")
        for path in ("/audit?limit=1000", "/status", "/stats", "/stats?window=1h", "/openapi.json", "/config/export"):
            quietly(api.send, "GET", f"/api/v1{path}")
        text = (one.dir / "configuration.yaml").read_text()
        for verb in ("check", "plan"):
            body = {"documents": [{"file": "c.yaml", "text": text}], "values": self.values}
            api.post(f"/config/{verb}", body)
        page = one.control.send("GET", "/")
        for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.text()):
            one.control.send("GET", path)
        for path in ("/metrics", "/healthz", "/readyz", "/keys", "/calls", "/credentials", "/absent"):
            one.control.send("GET", path)
        if not one.tls:
            for words in ("key list", "credential list", "calls", "audit list", "status", "export", "route list"):
                quietly(one.run, *words.split(), check=False)
                quietly(one.run, *words.split(), "--output", "json", check=False)

    def everything(self):
        self.succeed()
        self.echoes()
        self.refusals()
        self.administration()
        self.rotations()
        self.look()


def certificate(folder):
    """A throwaway certificate and its private key; also the key's own bytes."""
    certificate, key = folder / "tls.pem", folder / "tls.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-days", "2", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    text = subprocess.run(["openssl", "ec", "-in", key, "-text", "-noout"], check=True, capture_output=True).stdout
    scalar = re.search(rb"priv:\s*([0-9a-f:\s]+)pub:", text).group(1)
    return certificate, key, bytes.fromhex(re.sub(rb"[^0-9a-f]", b"", scalar).decode())[-32:]
