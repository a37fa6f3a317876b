"""Sessions of Gemini's Live API with the official `google-genai` for Python and `@google/genai` for Node.js: a stand-in for
the provider, and what both SDKs and hosts of idle callers see of the gateway."""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import time
from decimal import Decimal

from checks import equal, holds
from installation import Installation, cached
from sdks import Sdk
from upstream import Upstream

HERE = pathlib.Path(__file__).resolve().parent
PROVIDER_KEY = "provider-e2e-key-4410c2f07b9d"
PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
#: Which version each SDK asks for.
PATHS = {"Python": PATH.replace("v1beta", "v1"), "Node": PATH}
PRICES = 'prices: [{ from: 2020-01-01T00:00:00Z, input: "0.75", output: "4.5", audio_input: "3", audio_output: "12" }]'
CONFIGURATION = f"""
credentials:
  - {{ name: provider-key, engine: static }}
upstreams:
  - {{ name: vendor, endpoints: ["URL/v1beta"], provider: gemini, inject: {{ header: {{ name: x-goog-api-key, credential: provider-key }} }} }}
models:
  - {{ name: voice, targets: [{{ provider: vendor, model: gemini-real, context: 32000, {PRICES} }}] }}
  - {{ name: strict, targets: [{{ provider: vendor, model: gemini-real, {PRICES} }}], guardrails: [{{ detect: words, words: [forbidden], action: block }}] }}
applications:
  - {{ name: app, allow: {{ models: [voice, strict] }} }}
  - {{ name: other, allow: {{ models: [voice] }} }}
  - {{ name: poor, allow: {{ models: [voice] }}, budget: {{ usd: "1.2", per: month, hard: true }} }}
"""
USAGE = {
    "promptTokenCount": 1000, "responseTokenCount": 300, "totalTokenCount": 1300,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 400}, {"modality": "AUDIO", "tokenCount": 600}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 200}, {"modality": "TEXT", "tokenCount": 100}],
}
COST = (400 * Decimal("0.75") + 600 * 3 + 100 * Decimal("4.5") + 200 * 12) / Decimal(1_000_000)
SOUND = bytes(range(256)) * 40


class Provider:
    """Speaks enough of Live, as its reference says, in binary frames as Google does."""

    def __init__(self, peer):
        """`peer`: the provider's side of a WebSocket."""
        self.heard, self.handshakes, self.peer = [], [], peer
        self.upstream = Upstream(self.serve)

    def serve(self, request, wire):
        self.handshakes.append(request)
        key = request.header("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            f"sec-websocket-accept: {accept}\r\n\r\n".encode()
        )
        peer = self.peer(wire, binary=True)
        while (message := peer.hear()) is not None:
            self.heard.append(message)
            self.answer(peer, message, json.dumps(message))
        return False

    def answer(self, peer, message, text):
        if "setup" in message:
            peer.say({"setupComplete": {}})
            return peer.say({"sessionResumptionUpdate": {"newHandle": "provider-handle", "resumable": True}})
        if "weather" in text and "tool_response" not in message and "toolResponse" not in message:
            call = {"functionCalls": [{"id": "call_1", "name": "weather", "args": {"city": "Bern"}}]}
            return peer.say({"toolCall": call, "usageMetadata": USAGE})
        sound = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(SOUND).decode()}}
        peer.say({"serverContent": {"modelTurn": {"role": "model", "parts": [sound if "audio" in text else {"text": "hello from the provider"}]}}})
        if "hang" in text:
            return None
        return peer.say({"serverContent": {"turnComplete": True}, "usageMetadata": USAGE})


def python_sdk(certificate):
    def make(venv):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", "google-genai>=3,<4"], check=True)

    venv = cached("sdk-python-google", make)
    # It connects with TLS alone, whatever its address says.
    return Sdk("Python", [venv / "bin/python", HERE / "google_sdk.py"], {"SSL_CERT_FILE": str(certificate)})


def node_sdk(certificate):
    def make(folder):
        (folder / "package.json").write_text('{"private": true}')
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "@google/genai@2"], cwd=folder, check=True)

    folder = cached("sdk-node-google", make)
    return Sdk("Node", ["node", HERE / "google_sdk.mjs"], {"E2E_NODE": str(folder), "NODE_EXTRA_CA_CERTS": str(certificate)})


def certified(folder):
    """A certificate for this machine, and its key."""
    certificate, key = folder / "live.pem", folder / "live.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{int(time.time() % 1 * 1e6):06d}Z"


def turns(calls):
    return [call for call in calls if call["status"] == 200]


def checks(suite, provider, folder):
    """Adds what is looked at, with this stand-in for the provider."""
    certificate, key = suite.prepare("a certificate can be made with openssl", lambda: certified(folder))
    sdks = suite.prepare("Google's SDKs can be installed from PyPI and npm, or are there", lambda: (python_sdk(certificate), node_sdk(certificate)))
    one = suite.prepare("an installation with TLS starts", lambda: Installation("live", tls=(certificate, key)).init().start())
    one.api.apply(CONFIGURATION.replace("URL", provider.upstream.url), {"provider-key": PROVIDER_KEY})
    base, app, other, poor = one.gateway_url, one.api.issue("app", "app")[1], one.api.issue("other", "other")[1], one.api.issue("poor", "poor")[1]

    for sdk in sdks:

        def check(name, sdk=sdk):
            return suite.check(f"Live, {sdk.name}: {name}", 120)

        @check("turns in text and sound: messages pass as they are, the provider sees its own key and model, each turn is in the call log with its cost")
        def _(sdk=sdk):
            since, provider.heard = now(), []
            got = sdk.do("connect", base, app, model="voice", config={"response_modalities": ["AUDIO"]} if sdk is sdks[0] else {"responseModalities": ["AUDIO"]})
            holds("error" not in got, got)
            shake = provider.handshakes[-1]
            equal((shake.path, shake.query, shake.header("x-goog-api-key")), (PATHS[sdk.name], "", PROVIDER_KEY), "where it goes")
            holds(app not in str(shake.raw), "the caller's key reached the provider")
            equal(provider.heard[0]["setup"]["model"], "models/gemini-real", "model of the session")
            got = sdk.do("say", base, app, text="Hello!")
            holds("hello from the provider" in json.dumps(got), got)
            got = sdk.do("sound", base, app, sound=base64.b64encode(SOUND).decode())
            holds("audio/pcm;rate=24000" in json.dumps(got), f"no sound in {str(got)[:300]}")
            heard = provider.heard[-1].get("realtime_input") or provider.heard[-1]["realtimeInput"]
            # Python's writes base64 for addresses.
            equal(base64.b64decode(heard["audio"]["data"].replace("-", "+").replace("_", "/")), SOUND, "sound that was sent")
            sdk.do("end", base, app)
            calls = one.api.recorded(3, model="voice", since=since)
            equal([Decimal(turn["model"]["cost_usd"]) for turn in turns(calls)], [COST, COST], "cost")
            equal({(turn["model"]["tokens"]["input"], turn["model"]["tokens"]["output"]) for turn in turns(calls)}, {(1000, 300)}, "tokens")
            equal([call["outcome"] for call in calls if call["status"] == 101], ["served"], "outcome of the session")

        @check("what may not be used and what guardrails forbid is told with the end")
        def _(sdk=sdk):
            provider.heard = []
            got = sdk.do("connect", base, other, model="strict")
            holds("model_not_found" in json.dumps(got), got)
            sdk.do("connect", base, app, model="strict")
            got = sdk.do("say", base, app, text="a forbidden word")
            holds("prompt_blocked" in json.dumps(got) and got.get("code") == 1008, got)
            holds("forbidden" not in json.dumps(provider.heard), "the provider heard it")

        @check("a wrong key is refused before anything reaches the provider")
        def _(sdk=sdk):
            before = len(provider.handshakes)
            got = sdk.do("connect", base, "AIza-nonsense", model="voice")
            holds("error" in got or got.get("code"), got)
            equal(len(provider.handshakes), before, "handshakes")

    sdk = sdks[0]

    @suite.check("Live: a function is called and its result goes back; a session is taken up again by its own application alone", 120)
    def _():
        since, provider.heard = now(), []
        sdk.do("connect", base, app, model="voice", config={"session_resumption": {}})
        got = sdk.do("say", base, app, text="what is the weather?")
        (call,) = [call for message in got["messages"] for call in (message.get("tool_call") or {}).get("function_calls", [])]
        equal((call["name"], call["args"]), ("weather", {"city": "Bern"}), "call")
        handles = [message["session_resumption_update"]["new_handle"] for message in got["messages"] if "session_resumption_update" in message]
        holds(len(handles) == 1 and handles[0] != "provider-handle", handles)
        got = sdk.do("tool", base, app, id="call_1", name="weather", response={"degrees": 12})
        holds("hello from the provider" in json.dumps(got), got)
        sdk.do("end", base, app)
        equal(len(turns(one.api.recorded(3, model="voice", since=since))), 2, "turns")
        provider.heard = []
        got = sdk.do("connect", base, app, model="voice", config={"session_resumption": {"handle": handles[0]}})
        holds("error" not in got, got)
        equal(provider.heard[0]["setup"]["sessionResumption"]["handle"], "provider-handle", "handle")
        sdk.do("end", base, app)
        provider.heard = []
        got = sdk.do("connect", base, other, model="voice", config={"session_resumption": {"handle": handles[0]}})
        holds("no session of this handle" in json.dumps(got), got)
        equal(provider.heard, [], "what the provider heard")

    @suite.check("Live: revocation ends a session at once, and what ran is paid as it was held back", 60)
    def _():
        since = now()
        key = one.api.issue("gone", "app")[1]
        sdk.do("connect", base, key, model="voice")
        sdk.do("say", base, key, text="hang", until="server_content")
        began = time.monotonic()
        one.api.post("/keys/gone/revoke")
        got = sdk.do("listen", base, key)
        holds(got.get("code") == 1008 and "revoked" in got["message"], got)
        holds(time.monotonic() - began < 5, "it took long")
        calls = one.api.recorded(2, model="voice", since=since)
        equal({call["outcome"] for call in calls}, {"revoked"}, "outcomes")

    @suite.check("Live: a hard budget that is used up ends the session; what was charged is what the call log tells", 120)
    def _():
        since, count = now(), 0
        sdk.do("connect", base, poor, model="voice")
        while "error" not in (got := sdk.do("say", base, poor, text="Hello!")):
            count += 1
            holds(count < 1000, "the budget is never used up")
        holds(got["code"] == 1008 and "budget_exceeded" in got["message"] and count > 1, (got, count))
        told = sum(Decimal(turn["model"]["cost_usd"]) for turn in turns(one.api.recorded(count + 1, model="voice", since=since)))
        equal(told, COST * count, "sum of the call log")
        print(f"      {count} turns, {told} US dollars")
