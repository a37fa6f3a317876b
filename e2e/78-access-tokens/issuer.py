"""A token endpoint for three kinds of clients, and APIs that refuse everything but tokens of it that have not ended."""

import base64
import json
import secrets
import subprocess
import threading
import time
from urllib.parse import parse_qs

from installation import folder
from upstream import Upstream, answer, chunk, stream_head

SCOPES = {"entra": "https://cognitiveservices.azure.com/.default", "google": "https://www.googleapis.com/auth/cloud-platform", "partner": "orders.read"}
CLIENT = "gateway-client"
EMAIL = "robot@project-1.iam.gserviceaccount.com"
AUDIENCE = "https://oauth2.googleapis.com/token"
VERTEX = "/v1/projects/project-1/locations/europe-west4/publishers/google"
CLAUDE = "/v1/projects/project-1/locations/europe-west4/publishers/anthropic"


def key(words):
    """A private key and its public one, in PEM."""
    place = folder()
    for arguments in (["genpkey", *words, "-out", place / "key"], ["pkey", "-in", place / "key", "-pubout", "-out", place / "public"]):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=120)
    return (place / "key").read_text(), (place / "public").read_text()


class Issuer:
    """`life` is how long its tokens are good for, in seconds; `how` is what happens to those who ask."""

    def __init__(self, proves):
        self.proves = proves
        self.lock = threading.Lock()
        self.life, self.how = 3, "well"
        #: Tokens by kind: when each ends.
        self.tokens = {"entra": {}, "google": {}, "partner": {}}
        #: Every token and secret there ever was, for the search.
        self.known = set()
        self.given_back, self.problems, self.jtis = [], [], set()
        self.secret = "entra-secret/" + secrets.token_urlsafe(20)
        self.rsa, self.rsa_public = key(["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        self.ec, self.ec_public = key(["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
        self.upstream = Upstream(self.serve)
        self.url = self.upstream.url

    def key_file(self):
        return json.dumps({"type": "service_account", "project_id": "project-1", "private_key_id": "key-1",
                           "private_key": self.rsa, "client_email": EMAIL, "token_uri": AUDIENCE})

    def fetches(self, kind):
        with self.lock:
            return len(self.tokens[kind])

    def newest(self, kind):
        with self.lock:
            return next(reversed(self.tokens[kind]))

    def withdraw(self, kind):
        """The tokens so far are good for nothing."""
        with self.lock:
            self.tokens[kind] = dict.fromkeys(self.tokens[kind], 0)

    def is_good(self, kind, request):
        words = (request.header("authorization") or "").split(" ")
        with self.lock:
            return len(words) == 2 and words[0] == "Bearer" and self.tokens[kind].get(words[1], 0) > time.monotonic()

    def serve(self, request, wire):
        for kind in self.tokens:
            if request.path in (f"/{kind}/token", f"/{kind}/revoke"):
                return self.asked(kind, request, wire)
        kind = "google" if request.path.startswith((VERTEX, CLAUDE)) else "entra" if request.path.startswith("/openai/v1") else "partner"
        if request.header("api-key") or request.header("x-goog-api-key") or request.header("x-api-key"):
            self.problems.append(f"{request.path} came with a key")
        if not self.is_good(kind, request):
            return wire.send(answer(401, {"error": {"message": "no such token", "code": 401, "status": "UNAUTHENTICATED"}}))
        if kind == "partner":
            return wire.send(answer(200, {"order": 7, "echo": request.header("x-echo") and request.header("authorization")}))
        if kind == "entra":
            return wire.send(answer(200, {
                "id": "1", "object": "chat.completion", "model": "m", "created": 1, "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "from Azure"}, "finish_reason": "stop"}],
            }))
        if request.path.startswith(CLAUDE):
            return self.claude(request, wire)
        said = {"candidates": [{"content": {"role": "model", "parts": [{"text": "from Vertex"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}
        if request.path.endswith("/models/real:generateContent"):
            return wire.send(answer(200, said))
        if request.path.endswith("/models/real:streamGenerateContent") and request.query == "alt=sse":
            wire.send(stream_head())
            wire.send(chunk(b"data: " + json.dumps(said).encode() + b"\r\n\r\n"))
            return wire.send(chunk(b""))
        self.problems.append(f"{request.path}?{request.query} is no method")
        wire.send(answer(404, {"error": {"code": 404, "message": "no such method"}}))

    def claude(self, request, wire):
        """Claude as Vertex AI serves it: the model in the path, the version of the API in the body."""
        call, method = request.json(), request.path.removeprefix(f"{CLAUDE}/models/")
        if call.get("anthropic_version") != "vertex-2023-10-16" or request.query:
            self.problems.append(f"{request.target}: {call}")
        if method == "count-tokens:rawPredict" and call.get("model") == "claude-sonnet-4-5@20250929":
            return wire.send(answer(200, {"input_tokens": 3}))
        if "model" in call or method not in ("claude-sonnet-4-5@20250929:rawPredict", "claude-sonnet-4-5@20250929:streamRawPredict"):
            self.problems.append(f"{request.target}: {list(call)}")
        results = [part for turn in call["messages"] if isinstance(turn["content"], list) for part in turn["content"] if part["type"] == "tool_result"]
        words = f"It is {results[0]['content']}." if results else "from Claude"
        tool = {"type": "tool_use", "id": "toolu_vrtx_1", "name": "weather", "input": {"city": "Zürich"}}
        block = tool if call.get("tools") and not results else {"type": "text", "text": words}
        stop = "tool_use" if block is tool else "end_turn"
        message = {"id": "msg_vrtx_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_sequence": None}
        if method.endswith(":rawPredict"):
            whole = {**message, "content": [block], "stop_reason": stop, "usage": {"input_tokens": 3, "output_tokens": 2}}
            return wire.send(answer(200, whole))
        begun = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
        empty = {**tool, "input": {}} if block is tool else {"type": "text", "text": ""}
        text = json.dumps(tool["input"]) if block is tool else words
        kind, name = ("input_json_delta", "partial_json") if block is tool else ("text_delta", "text")
        events = [
            {"type": "message_start", "message": begun},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            *({"type": "content_block_delta", "index": 0, "delta": {"type": kind, name: text[at : at + 4]}} for at in range(0, len(text), 4)),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
        wire.send(stream_head())
        for event in events:
            wire.send(chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()))
        wire.send(chunk(b""))

    def asked(self, kind, request, wire):
        if self.how == "503":
            return wire.send(answer(503, {"error": "temporarily_unavailable"}))
        if self.how == "drop":
            return False
        form = {name: value[0] for name, value in parse_qs(request.body.decode(), strict_parsing=True).items()}
        refused = self.how if self.how == "invalid_client" else getattr(self, f"check_{kind}")(request, form)
        if refused:
            self.problems += [] if self.how == "invalid_client" or "wrong" in refused else [f"{kind}: {refused}"]
            return wire.send(answer(401, {"error": "invalid_client", "error_description": refused}))
        if request.path.endswith("/revoke"):
            with self.lock:
                self.given_back.append(form["token"])
                self.tokens[kind][form["token"]] = 0
            return wire.send(answer(200, b""))
        # As long as those of Entra ID.
        token = f"tok.{kind}." + secrets.token_urlsafe(1200 if kind == "entra" else 120)
        with self.lock:
            self.tokens[kind][token] = time.monotonic() + self.life
            self.known.add(token)
        wire.send(answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.life}))

    def check_entra(self, request, form):
        if (form.get("grant_type"), form.get("scope"), form.get("client_id")) != ("client_credentials", SCOPES["entra"], CLIENT):
            return f"form {form}"
        if form.get("resource") != "extra/parameter":
            return "no further parameter"
        return None if form.get("client_secret") == self.secret else "the secret is wrong"

    def check_google(self, request, form):
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return f"grant {form}"
        told = self.proves(kind="google", jwt=form["assertion"], public=self.rsa_public, key_id="key-1", audience=AUDIENCE)
        claims = told.get("claims", {})
        ours = (claims.get("iss"), claims.get("scope")) == (EMAIL, SCOPES["google"])
        return None if ours else str(told)

    def check_partner(self, request, form):
        """A client that signs; each of its statements may be used once."""
        if request.path.endswith("/token") and form.get("scope") != SCOPES["partner"]:
            return f"scope {form}"
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return f"type {form}"
        told = self.proves(kind="client", jwt=form["client_assertion"], public=self.ec_public, audience=f"{self.url}/partner/token")
        claims = told.get("claims", {})
        if (claims.get("iss"), claims.get("sub"), told.get("header", {}).get("kid")) != (CLIENT, CLIENT, "ec-1"):
            return str(told)
        if claims["jti"] in self.jtis:
            return "a statement that was used before"
        self.jtis.add(claims["jti"])
        return None


def forms(secret):
    """A secret in the forms in which it could be found."""
    data = secret.encode()
    return {data, base64.b64encode(data), data.hex().encode()}
