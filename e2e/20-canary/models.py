"""Drives what models, tools and agents bring into an installation, and remembers every secret of it: prompts, caches, files
and batches, MCP servers, realtime sessions, the token endpoint, judges with credentials of their own, access tokens that
are fetched for Claude at Vertex AI, and reports of what was spent.

Whoever stands behind the gateway here repeats the credential that it got, wherever an answer can hold one: in what works,
in errors, in headers, in ids, in frames, in reasons.
"""

import base64
import hashlib
import json
import secrets as randomness
import struct
import subprocess
import urllib.parse

from checks import eventually, holds
from client import connect, read_all
from drive import each, quietly, secret
from installation import folder
from upstream import Upstream, answer, chunk, stream_head

PRICES = 'prices: [{ from: 2020-01-01T00:00:00Z, input: "1", output: "1" }]'
CONFIGURATION = """
credentials:
  - { name: of-model, engine: static }
  - { name: of-vectors, engine: static }
  - { name: of-batches, engine: static }
  - { name: of-tools, engine: static }
  - { name: of-voice, engine: static }
  - { name: of-judge, engine: static }
  - { name: of-moderator, engine: static }
  - { name: of-claude, engine: google_service_account, token: { url: "URL/token" } }
upstreams:
  - { name: of-model, endpoints: ["URL/model/v1"], provider: openai, inject: { bearer: of-model }, QUICK }
  - { name: of-vectors, endpoints: ["URL/vectors/v1"], provider: openai, inject: { bearer: of-vectors }, QUICK }
  - { name: of-batches, endpoints: ["URL/batches/v1"], provider: openai, inject: { bearer: of-batches }, QUICK }
  - { name: of-messages, endpoints: ["URL/messages/v1"], provider: anthropic, inject: { header: { name: x-api-key, credential: of-batches } }, QUICK }
  - { name: of-voice, endpoints: ["URL/voice/v1"], provider: openai, inject: { bearer: of-voice }, QUICK }
  - { name: of-tools, endpoints: ["URL/tools"], inject: { bearer: of-tools }, QUICK }
  - { name: of-judge, endpoints: ["URL/judge"], inject: { bearer: of-judge }, QUICK }
  - { name: of-moderator, endpoints: ["URL/moderator/v1"], provider: openai, inject: { bearer: of-moderator }, QUICK }
  - { name: of-claude, endpoints: ["URL/claude/v1/projects/p/locations/global/publishers/anthropic"], provider: vertex-anthropic, QUICK }
models:
  - { name: prompted, targets: [{ provider: of-model, model: m, PRICES }] }
  - { name: cached, targets: [{ provider: of-model, model: m, PRICES }], cache: { ttl: 1h } }
  - { name: vectors, targets: [{ provider: of-vectors, model: v, PRICES }] }
  - { name: alike, targets: [{ provider: of-model, model: m, PRICES }], cache: { mode: semantic, embedding_model: vectors } }
  - { name: batched, targets: [{ provider: of-batches, model: m, PRICES }] }
  - { name: claude-batched, targets: [{ provider: of-messages, model: m, PRICES }] }
  - { name: voice, targets: [{ provider: of-voice, model: m, context: 32000, PRICES }] }
  - { name: moderator, targets: [{ provider: of-moderator, model: m, PRICES }] }
  - name: judged
    targets: [{ provider: of-model, model: m, PRICES }]
    guardrails:
      - { detect: webhook, action: block, upstream: of-judge, path: /v1/judge, on: both }
  - name: moderated
    targets: [{ provider: of-model, model: m, PRICES }]
    guardrails: [{ detect: moderation, action: flag, model: moderator, on: both }]
  - name: lenient
    targets: [{ provider: of-model, model: m, PRICES }]
    guardrails:
      - { detect: webhook, action: redact, upstream: of-judge, path: /v1/judge, on_error: allow }
      - { detect: moderation, action: block, model: moderator, on_error: allow }
  - { name: claude, targets: [{ provider: of-claude, model: c, credential: of-claude, PRICES }] }
prompts:
  - name: mood
    model: prompted
    variables: { text: { type: string } }
    versions:
      - { version: 1, system: "Judge the mood.", messages: [{ role: user, content: "{{text}}" }], parameters: { max_tokens: 20 } }
    tests: [{ name: likes, variables: { text: "I love it" }, checks: [{ contains: positive }] }]
routes:
  - { name: mood, match: { path: /mood }, prompt: { name: mood, version: 1 }, authenticate: [api_key] }
  - { name: tools, match: { path: /mcp/tools }, upstream: of-tools, authenticate: [api_key], mcp: { tools: { deny: ["hidden_*"] } } }
applications:
  - name: modern
    team: owners
    allow: { routes: [mood, tools], models: [prompted, cached, vectors, alike, batched, claude-batched, voice, moderator, judged, moderated, lenient, claude], prompts: [mood] }
    budget: { usd: 1000, per: month, hard: true }
"""
QUICK = "timeouts: { response: 2s, idle: 1s }, health: { failures: 1000 }"
#: What a call has the other side do: it stands in the call's own text, which travels through every dialect.
WAYS = ("well", "refuse", "fail", "limit", "headers", "not-taken", "reason", "redirect", "garbage", "cut", "page", "ids")
MAKE_TOKEN = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def word(name):
    """A secret of letters and digits alone, as fits into an id, a reason or the name of a category."""
    return f"cnry{name}{randomness.token_hex(12)}"


class Vendor:
    """Everybody behind the gateway. Repeats the credential, never what a caller says."""

    def __init__(self):
        self.upstream, self.tokens, self.token_way = Upstream(self.serve), 0, "well"
        self.plant = None
        #: What came as credentials, by who it came to.
        self.got = {}

    def serve(self, request, wire):
        who = request.path.split("/")[1]
        if who == "token":
            return self.token(request, wire)
        field = request.header("authorization") or request.header("x-api-key") or ""
        mine = field.split(" ")[-1]
        self.got.setdefault(who, set()).add(mine)
        if (request.header("upgrade") or "").lower() == "websocket":
            return self.voice(request, wire, mine)
        found = [way for way in WAYS if f"do-{way}".encode() in request.body or f"do-{way}" in request.path]
        way = found[0] if found else "well"
        told = {"message": f"Incorrect API key provided: {mine}", "type": mine, "param": mine, "code": mine}
        error = {"error": told, "type": "error", "request_id": mine}
        if way == "refuse":
            wire.send(answer(401, error, {"www-authenticate": f"Bearer realm={mine}"}))
        elif way == "fail":
            wire.send(answer(500, error))
        elif way == "limit":
            wire.send(answer(429, error, {"retry-after": "0", "x-ratelimit-key": mine}))
        elif way == "not-taken":
            wire.send(answer(400, error))
        elif way == "headers":
            error["error"] = {**told, "message": f"not with {mine}"}
            wire.send(answer(400, error, {f"x-{name}": field for name in ("echo", "request-id")} | {"set-cookie": f"a={mine}"}))
        elif way == "reason":
            wire.send(b"HTTP/1.1 400 " + mine.encode() + b"\r\ncontent-length: 0\r\n\r\n")
        elif way == "redirect":
            wire.send(answer(307, error, {"location": f"/again?key={urllib.parse.quote(mine)}"}))
        elif way == "garbage":
            wire.send(b"NOT HTTP " + mine.encode() + b"\r\n\r\n")
            return False
        elif way == "cut":
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n" + json.dumps(error).encode())
            return False
        elif way == "page":
            wire.send(answer(502, f"<html>{mine}</html>".encode(), {"content-type": "text/html"}))
        else:
            behaviour = {"model": self.chat, "claude": self.message, "messages": self.claude_batches}.get(who) or getattr(self, who)
            return behaviour(request, wire, mine if way == "ids" else None)
        return None

    # ---- what works, with the credential in what is said or, where `ids`, also in names --------

    def chat(self, request, wire, ids):
        call, mine = json.loads(request.body), (request.header("authorization") or "").split(" ")[-1]
        name = ids or "c1"
        said = f"positive, and your key is {mine}"
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        base = {"id": name, "object": "chat.completion", "created": 1, "model": ids or "m", "system_fingerprint": name}
        if not call.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            return wire.send(answer(200, {**base, "choices": [choice], "usage": usage}, {"x-request-id": mine, "openai-organization": mine}))
        wire.send(stream_head(headers={"openai-organization": mine}))
        for choice in ({"index": 0, "delta": {"content": said}}, {"index": 0, "delta": {}, "finish_reason": "stop"}):
            event = b"data: " + json.dumps({**base, "choices": [choice]}).encode() + b"\n\n"
            wire.pieces([chunk(event[at : at + 7]) for at in range(0, len(event), 7)])
        wire.send(chunk(b"data: " + json.dumps({**base, "choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n") + chunk(b""))
        return None

    def message(self, request, wire, ids):
        mine = (request.header("authorization") or "").split(" ")[-1]
        said = [{"type": "text", "text": f"your key is {mine}"}]
        told = {"id": ids or "msg_1", "type": "message", "role": "assistant", "model": ids or "c", "content": said}
        wire.send(answer(200, {**told, "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 5}}))

    def vectors(self, request, wire, ids):
        usage = {"prompt_tokens": 5, "total_tokens": 5}
        wire.send(answer(200, {"object": "list", "model": ids or "v", "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}], "usage": usage}))

    def judge(self, request, wire, ids):
        mine = (request.header("authorization") or "").split(" ")[-1]
        wire.send(answer(200, {"verdict": "block", "reason": mine} if ids else {"verdict": "allow"}))

    def moderator(self, request, wire, ids):
        mine = (request.header("authorization") or "").split(" ")[-1]
        count = json.loads(request.body)["input"]
        count = len(count) if isinstance(count, list) else 1
        result = {"flagged": bool(ids), "categories": {mine: True, "hate": bool(ids)}, "category_scores": {mine: 0.9, "hate": 0.9 if ids else 0.0}}
        wire.send(answer(200, {"id": mine, "model": mine, "results": [result] * count}))

    def batches(self, request, wire, ids):
        mine, path = (request.header("authorization") or "").split(" ")[-1], request.path.removeprefix("/batches/v1/")
        if request.method == "POST" and path == "files":
            told = {"id": ids or f"file-{randomness.token_hex(8)}", "object": "file", "bytes": 10, "created_at": 1, "filename": mine, "purpose": "batch", "status": "processed", "status_details": mine}
        elif path.endswith("/content"):
            return wire.send(answer(200, json.dumps({"id": mine, "custom_id": "a", "response": {"status_code": 400, "request_id": mine, "body": {"error": {"message": mine}}}, "error": {"code": mine, "message": mine}}).encode() + b"\n"))
        elif path.startswith("files/"):
            told = {"id": mine, "object": "file", "deleted": True}
        else:
            failed = {"object": "list", "data": [{"code": mine, "message": mine, "param": mine, "line": 1}]}
            over = path != "batches"
            told = {
                "id": ids or f"batch_{randomness.token_hex(8)}", "object": "batch", "endpoint": "/v1/chat/completions", "completion_window": "24h", "created_at": 1,
                "input_file_id": mine, "output_file_id": "file-output" if over else None, "error_file_id": None, "model": mine, "metadata": {"key": mine},
                "errors": failed if over else None, "status": "completed" if over else "in_progress", "request_counts": {"total": 1, "completed": 0, "failed": 1},
            }
        return wire.send(answer(200, told, {"x-request-id": mine}))

    def claude_batches(self, request, wire, ids):
        mine = request.header("x-api-key") or ""
        if request.path.endswith("/results"):
            line = {"custom_id": "a", "result": {"type": "errored", "error": {"type": "error", "error": {"type": mine, "message": mine}}}}
            return wire.send(answer(200, json.dumps(line).encode() + b"\n"))
        over = not request.path.endswith("/batches")
        counts = {"processing": 0 if over else 1, "succeeded": 0, "errored": 1 if over else 0, "canceled": 0, "expired": 0}
        return wire.send(answer(200, {
            "id": ids or f"msgbatch_{randomness.token_hex(8)}", "type": "message_batch", "processing_status": "ended" if over else "in_progress", "request_counts": counts,
            "results_url": f"https://x/{mine}" if over else None, "created_at": "2026-11-23T00:00:00Z", "expires_at": "2026-11-24T00:00:00Z",
            "ended_at": None, "archived_at": None, "cancel_initiated_at": None,
        }))

    def tools(self, request, wire, ids):
        mine = (request.header("authorization") or "").split(" ")[-1]
        if request.method != "POST":
            wire.send(stream_head(headers={"mcp-session-id": mine}))
            event = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": mine}}
            return wire.send(chunk(b"id: " + mine.encode() + b"\ndata: " + json.dumps(event).encode() + b"\n\n") + chunk(b""))
        asked = json.loads(request.body)
        number, method = asked.get("id"), asked.get("method")
        if method == "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": mine, "version": "1"}, "instructions": mine}
        elif method == "tools/list":
            result = {"tools": [{"name": name, "description": mine, "inputSchema": {"type": "object"}} for name in ("show", mine)], "nextCursor": mine}
        else:
            result = {"content": [{"type": "text", "text": mine}], "isError": True, "structuredContent": {mine: mine}}
        told = {"jsonrpc": "2.0", "id": number, "result": result}
        if ids:
            told = {"jsonrpc": "2.0", "id": number, "error": {"code": -32000, "message": mine, "data": {mine: [mine]}}}
        if method == "tools/call" and not ids:
            data = b"event: message\nid: " + mine.encode() + b"\ndata: " + json.dumps(told).encode() + b"\n\n"
            wire.send(stream_head(headers={"mcp-session-id": mine}))
            return wire.pieces([chunk(data[at : at + 11]) for at in range(0, len(data), 11)] + [chunk(b"")])
        return wire.send(answer(200, told, {"mcp-session-id": mine}))

    def voice(self, request, wire, mine):
        if "refuse" in request.query:
            wire.send(answer(401, {"error": {"message": f"Incorrect key: {mine}"}}, {"x-echo": mine}))
            return False
        accept = base64.b64encode(hashlib.sha1((request.header("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nx-echo: " + mine.encode() + b"\r\nsec-websocket-accept: " + accept + b"\r\n\r\n")
        response = {"object": "realtime.response", "id": mine, "status": "failed", "status_details": {"error": {"message": mine, "code": mine}}, "output": [], "usage": {"total_tokens": 2, "input_tokens": 1, "output_tokens": 1}}
        for event in (
            {"type": "session.created", "event_id": mine, "session": {"type": "realtime", "object": "realtime.session", "id": mine, "model": mine, "client_secret": {"value": mine}}},
            {"type": "error", "event_id": "e2", "error": {"type": mine, "code": mine, "message": f"Incorrect key {mine}"}},
            {"type": "response.done", "event_id": "e3", "response": response},
            {"type": mine, mine: mine},
        ):
            data = json.dumps(event).encode()
            wire.pieces([b"\x81\x7e" + struct.pack(">H", len(data)) + data[: len(data) // 2], data[len(data) // 2 :]], 0.005)
        wire.more()
        reason = mine.encode()[:100]
        wire.send(b"\x88" + bytes([2 + len(reason)]) + struct.pack(">H", 4000) + reason)
        return False

    def token(self, request, wire):
        """The token endpoint of Google: repeats the signed statement when it refuses."""
        form = urllib.parse.parse_qs(request.body.decode())
        shown = (form.get("assertion") or [""])[0]
        self.plant("statement", shown.rsplit(".", 1)[-1])
        self.tokens += 1
        if self.tokens == 1 or self.token_way == "refuse":
            return wire.send(answer(400, {"error": "invalid_grant", "error_description": f"Bad assertion {shown}", "assertion": shown}))
        token = self.plant("access token", f"ya29.{randomness.token_urlsafe(60)}")
        return wire.send(answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600}))


class Models:
    """All of this at one installation."""

    def __init__(self, drive):
        self.drive, self.one, self.vendor = drive, drive.one, Vendor()
        self.vendor.plant = drive.plant

    def fresh(self, name):
        return self.drive.plant(name, secret(name.replace(" ", "-")))

    def configure(self):
        url = self.vendor.upstream.url
        text = CONFIGURATION.replace("URL", url).replace("QUICK", QUICK).replace("PRICES", PRICES)
        values = {name: self.drive.plant(f"credential {name}", word(name.replace("-", ""))) for name in ("of-batches", "of-judge", "of-moderator", "of-tools")}
        values |= {name: self.drive.plant(f"credential {name}", secret(name)) for name in ("of-model", "of-vectors", "of-voice")}
        values["of-claude"] = self.service_account(url)
        self.one.api.apply(text, values)
        self.values = values
        delegate = {"lifetime": "1h", "keys": 100}
        self.key = self.drive.plant_key("modern", self.one.api.issue("modern", "modern", delegate=delegate)[1])
        self.caller = self.one.with_key(self.key)

    def service_account(self, url):
        """A key file, whose private key is looked for line by line."""
        file = folder() / "google.key"
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", file], check=True, capture_output=True)
        pem = file.read_text()
        file.unlink()
        for number in (3, 12, 20):
            self.drive.plant(f"line {number} of the service account's key", pem.splitlines()[number])
        told = {"type": "service_account", "project_id": "p", "private_key_id": "k", "private_key": pem, "client_email": "robot@p.iam.gserviceaccount.com"}
        return json.dumps({**told, "token_uri": "https://oauth2.googleapis.com/token"})

    # ---- everything ---------------------------------------------------------------------------

    def everything(self):
        each(lambda work: work(), (self.prompts, self.caches, self.batches, self.tools, self.voice, self.judges, self.claude, self.tokens))
        self.spend()
        for who in ("model", "vectors", "batches", "messages", "tools", "voice", "judge", "moderator"):
            name = "of-batches" if who == "messages" else f"of-{who}"
            holds(self.values[name] in self.vendor.got.get(who, ()), f"nobody used the credential of {who}")

    def chat(self, model, way, stream=False, path="/v1/chat/completions", **more):
        said = f"do-{way} {self.fresh('prompt of a model')}"
        body = {"model": model, "max_tokens": 20, "stream": stream, "messages": [{"role": "user", "content": said}], **more}
        return quietly(self.caller.send, "POST", path, body=body, timeout=10)

    def prompts(self):
        for way in WAYS:
            said = f"do-{way} {self.fresh('variable')}"
            quietly(self.caller.send, "POST", "/mood", body={"text": said})
            quietly(self.caller.send, "POST", "/mood", body={"text": said, self.fresh("unknown variable"): 1})
            quietly(self.caller.send, "POST", "/v1/chat/completions", body={"model": "prompted", "messages": [], "prompt": {"id": "mood", "version": "1", "variables": {"text": said}}})
            quietly(self.caller.send, "POST", "/v1/responses", body={"prompt": {"id": "mood", "version": "1", "variables": {"text": [said]}}})
        quietly(self.caller.send, "GET", "/mood/openapi.json")
        api = self.one.api
        wrong = self.drive.plant_key("of a test", "cfk_live_000000000000_" + randomness.token_hex(19))
        for key in (self.key, wrong, [wrong]):
            quietly(api.send, "POST", "/api/v1/prompts/mood/versions/1/test", body={"key": key})
        quietly(api.send, "POST", "/api/v1/prompts/mood/versions/1/test", body={"key": self.key, wrong: wrong})
        quietly(api.send, "POST", "/api/v1/prompts/mood/promote", body={"version": 1})
        got = api.get("/prompts/mood/runs")["items"]
        holds(any(run["passed"] for run in got), f"the test of the prompt did not run: {got}")

    def caches(self):
        for model in ("cached", "alike"):
            for stream in (False, True):
                same = {"messages": [{"role": "user", "content": f"do-well {self.fresh('cached prompt')}"}]}
                for _ in range(3):
                    got = self.chat(model, "well", stream, **same)
                    holds(got is not None and got.status == 200, f"{model}: {got}")
                holds("hit" in got.headers.get("cache-status", ""), f"{model} keeps nothing: {got.headers}")
            for way in WAYS:
                self.chat(model, way)
        for way in WAYS:
            quietly(self.caller.send, "POST", "/v1/embeddings", body={"model": "vectors", "input": f"do-{way} {self.fresh('embedded text')}"})

    def batches(self):
        for way in ("well", *WAYS[1:]):
            call = {"model": "batched", "max_tokens": 20, "messages": [{"role": "user", "content": f"do-{way} {self.fresh('prompt of a batch')}"}]}
            line = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": call})
            for text in (line + "\n", line[:-1] + "\n", line + "\n" + self.fresh("wrong line")):
                form = f'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="{self.fresh("file")[:30]}.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n{text}\r\n--b--\r\n'
                made = quietly(self.caller.send, "POST", "/v1/files", {"content-type": "multipart/form-data; boundary=b"}, form, timeout=10, keep=False)
                if made is None or made.status != 200:
                    if made is not None:
                        self.caller.keep("a refused file", made.raw)
                    continue
                self.batch(made.json()["id"])
            requests = [{"custom_id": "a", "params": {**call, "model": "claude-batched"}}]
            made = quietly(self.caller.send, "POST", "/v1/messages/batches", {"anthropic-version": "2023-06-01"}, {"requests": requests}, timeout=10)
            if made is not None and made.status == 200:
                for path in ("", "/results"):
                    quietly(self.caller.send, "GET", f"/v1/messages/batches/{made.json()['id']}{path}", {"anthropic-version": "2023-06-01"})
        for path in ("/v1/files", "/v1/batches", "/v1/messages/batches"):
            quietly(self.caller.send, "GET", path)

    def batch(self, file):
        for path in ("", "/content"):
            quietly(self.caller.send, "GET", f"/v1/files/{file}{path}")
        body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": {"note": "kept and told again"}}
        made = quietly(self.caller.send, "POST", "/v1/batches", body=body, timeout=10, keep=False)
        if made is not None and made.status == 200:
            id = made.json()["id"]
            for method, path in (("GET", ""), ("POST", "/cancel"), ("GET", "")):
                quietly(self.caller.send, method, f"/v1/batches/{id}{path}", keep=False)
        quietly(self.caller.send, "DELETE", f"/v1/files/{file}", keep=False)

    def tools(self):
        accepts = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}

        def send(body, method="POST", **fields):
            return quietly(self.caller.send, method, "/mcp/tools", {**accepts, **fields}, body, timeout=5)

        info = {"name": "canary", "version": self.fresh("version of a client")}
        begun = send({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}})
        session = (begun.headers.get("mcp-session-id") if begun is not None else None) or "none"
        for way in WAYS:
            said = f"do-{way} {self.fresh('argument of a tool')}"
            for method, params in (
                ("tools/list", {"cursor": said}),
                ("tools/call", {"name": "show", "arguments": {"q": said}}),
                ("tools/call", {"name": "hidden_" + said[-8:], "arguments": {"q": said}}),
                ("prompts/get", {"name": "p", "arguments": {"q": said}}),
                ("resources/read", {"uri": f"x://{urllib.parse.quote(said)}"}),
                (said, {}),
            ):
                send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, **{"mcp-session-id": session})
                send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, **{"mcp-session-id": self.fresh("session")})
            send('{"jsonrpc": "2.0", "id": 1, "method": "' + said)
        send(None, "GET", **{"mcp-session-id": session})
        send(None, "DELETE", **{"mcp-session-id": session})

    def voice(self):
        for query in ("model=voice", "model=voice&refuse=1", f"model={self.fresh('name of a model')[:40]}"):
            upgrade = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13", "sec-websocket-key": base64.b64encode(b"0123456789abcdef").decode()}
            said = self.fresh("words in a session")
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}
            events = [json.dumps({"type": "conversation.item.create", "item": item}), json.dumps({"type": "response.create"}), json.dumps({"type": said, said: said}), said, '{"type": "' + said]
            frames = b""
            for event in events:
                data, mask = event.encode(), b"\x01\x02\x03\x04"
                frames += b"\x81\xfe" + struct.pack(">H", len(data)) + mask + bytes(b ^ mask[at % 4] for at, b in enumerate(data))
            with connect(self.one.gateway_address, bool(self.one.tls)) as sock:
                sock.sendall(self.caller.request("GET", f"/v1/realtime?{urllib.parse.quote(query, safe='=&')}", upgrade, close=False))
                raw = sock.recv(65536)
                try:
                    sock.sendall(frames)
                except OSError:
                    pass
                self.caller.keep("a session", raw + read_all(sock, 1.5))

    def judges(self):
        for model in ("judged", "moderated", "lenient"):
            for way in WAYS:
                for stream in (False, True):
                    self.chat(model, way, stream)
        quietly(self.caller.send, "POST", "/v1/moderations", body={"model": "moderator", "input": f"do-ids {self.fresh('moderated text')}"})

    def claude(self):
        def said(way, stream=False):
            body = {"model": "claude", "max_tokens": 20, "stream": stream, "messages": [{"role": "user", "content": f"do-{way} {self.fresh('prompt of Claude')}"}]}
            got = quietly(self.caller.send, "POST", "/v1/messages", {"anthropic-version": "2023-06-01"}, body, timeout=10)
            self.chat("claude", way, stream)
            return got is not None and got.status == 200

        eventually(lambda: said("well"), lambda: f"Claude at Vertex does not work: {self.one.log()[-400:]}", 30, 0.5)
        for way in WAYS:
            said(way), said(way, True)
        self.vendor.token_way = "refuse"
        quietly(self.one.api.send, "POST", "/api/v1/credentials/of-claude/rotate", body={"secret": self.service_account(self.vendor.upstream.url)})
        said("refuse")
        self.vendor.token_way = "well"

    def tokens(self):
        """The token endpoint, with right and with wrong tokens in every place."""
        control, form = self.one.control, {"content-type": "application/x-www-form-urlencoded"}
        usual = {"grant_type": MAKE_TOKEN, "subject_token": self.key, "subject_token_type": ACCESS_TOKEN, "actor": "robot"}

        def ask(path, parameters, fields=form, keep=True, raw=None):
            return quietly(control.send, "POST", path, fields, raw if raw is not None else urllib.parse.urlencode(parameters), keep=keep)

        made = ask("/oauth2/token", {**usual, "expires_in": 600, "scope": "model:prompted", "client_secret": self.fresh("client secret"), "purpose": "canary"}, keep=False)
        holds(made is not None and made.status == 200, f"no key at the token endpoint: {made}")
        child = self.drive.plant_key("of an agent", made.json()["access_token"])
        for way in ("well", "refuse", "fail"):
            body = {"model": "prompted", "max_tokens": 20, "messages": [{"role": "user", "content": f"do-{way} {self.fresh('prompt of an agent')}"}]}
            quietly(self.one.with_key(child).send, "POST", "/v1/chat/completions", body=body)
        wrong = self.drive.plant_key("of a stranger", "cfk_live_000000000000_" + randomness.token_hex(19))
        near = self.drive.plant_key("near an agent's", child.rsplit("_", 1)[0] + "_" + randomness.token_hex(19))
        odd = self.fresh("odd token")
        for token in (wrong, near, odd, child):
            quoted = urllib.parse.quote(token, safe="")
            for parameters in (
                {**usual, "subject_token": token, "expires_in": 1},
                {**usual, "actor_token": token, "actor_token_type": ACCESS_TOKEN},
                {**usual, "subject_token_type": token},
                {**usual, "scope": f"model:{token}"},
                {**usual, "audience": token},
                {**usual, "grant_type": token},
                {**usual, "requested_token_type": token},
                {**usual, "expires_in": token},
                {**usual, "budget_usd": token},
                {**usual, "expires_in": 1, "password": token, "client_assertion": token, token: token},
                # A name is a name, unless it is a key.
                *([] if token == odd else [{**usual, name: f"for {token}"} for name in ("actor", "subject", "purpose", "client_id")]),
                {token: "x"},
            ):
                ask("/oauth2/token", parameters)
            for raw in (f"subject_token={quoted}&subject_token={quoted}", f"token={quoted}%", f"token={quoted}%ff", f"{quoted}=%zz", f'{{"token": "{token}"}}', "a=b&" * 200 + quoted):
                ask("/oauth2/token", {}, raw=raw)
                ask("/oauth2/revoke", {}, raw=raw)
                ask("/oauth2/token", {}, {"content-type": "application/json"}, raw=raw)
            ask(f"/oauth2/token?subject_token={quoted}", {})
            basic = base64.b64encode(f"client:{token}".encode()).decode()
            ask("/oauth2/token", usual, {**form, "authorization": f"Basic {basic}"})
            ask("/oauth2/revoke", {"token": token, "token_type_hint": token})
        for path in ("/keys?limit=1000", f"/keys/{made.json()['key']}", "/audit?limit=1000"):
            quietly(self.one.api.send, "GET", f"/api/v1{path}")

    def spend(self):
        """Reports of what was spent, as JSON and as CSV, of end users that are called like secrets."""
        for user in (self.key, "ada", self.values["of-judge"]):
            self.chat("prompted", "well", user=user)
        api = self.one.api
        quietly(api.recorded, application="modern")
        for query in ("", "?by=application,user,key", "?by=model,provider", "?by=agent,root_key", f"?user={urllib.parse.quote(self.key)}"):
            quietly(api.send, "GET", f"/api/v1/spend{query}")
            quietly(api.send, "GET", f"/api/v1/spend{query}", {"accept": "text/csv"})
        for path in ("/spend/check", "/budgets", "/prompts/mood/runs", "/inventory", "/leaks", "/calls?application=modern&limit=1000", "/config/export"):
            quietly(api.send, "GET", f"/api/v1{path}")
        if not self.one.tls:
            for words in ("spend report --by user,application --csv", "spend report --by agent,root_key", "spend check", "budget list", "prompt runs mood", "leak list", "inventory list", "model cache"):
                quietly(self.one.run, *words.split(), check=False)
