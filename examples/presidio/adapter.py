#!/usr/bin/env python3
"""Stands between a webhook of guardrails and Presidio's analyzer: what Presidio finds is what the webhook replaces.

    ADAPTER_TOKEN=… PRESIDIO_URL=http://127.0.0.1:5002 python3 adapter.py [PORT]

Beside these, ENTITIES (PERSON,LOCATION unless set), LANGUAGE (en) and SCORE (0.5), as Presidio means them. What Presidio does
not answer is an error here, so that the gateway lets nothing pass.
"""

import hmac
import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = os.environ["ADAPTER_TOKEN"].encode()
if not TOKEN:
    # Whoever shows none would be let in.
    sys.exit("ADAPTER_TOKEN is empty")
ANALYZE = os.environ.get("PRESIDIO_URL", "http://127.0.0.1:5002").rstrip("/") + "/analyze"
ENTITIES = os.environ.get("ENTITIES", "PERSON,LOCATION").split(",")
LANGUAGE = os.environ.get("LANGUAGE", "en")
SCORE = float(os.environ.get("SCORE", "0.5"))
#: Larger questions than the gateway looks at; in bytes.
MOST = 64 << 20
#: Presidio is on this network: no proxy stands before it.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def analyzed(texts):
    """What Presidio finds in each of the texts."""
    asked = {"text": texts, "language": LANGUAGE, "entities": ENTITIES, "score_threshold": SCORE}
    request = urllib.request.Request(ANALYZE, json.dumps(asked).encode(), {"content-type": "application/json"})
    with DIRECT.open(request, timeout=30) as answer:
        found = json.load(answer)
    if len(found) != len(texts):
        raise ValueError("Presidio did not answer for each text")
    return found


def verdict(question):
    """The webhook's answer: what was found, each in its place, by what Presidio calls it. Both count code points."""
    texts = [said["text"] for said in question["texts"]]
    replacements = [
        {"text": number, "start": one["start"], "end": one["end"], "with": f"[{one['entity_type']}]"}
        for number, found in enumerate(analyzed(texts))
        for one in found
    ]
    return {"verdict": "redact", "replacements": replacements} if replacements else {"verdict": "allow"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        shown = (self.headers.get("authorization") or "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(shown, TOKEN):
            return self.tell(401, {"error": "the token is another one"})
        if not 0 < length <= MOST:
            return self.tell(413, {"error": "too much, or nothing"})
        try:
            return self.tell(200, verdict(json.loads(self.rfile.read(length))))
        except Exception as error:
            # Never what was asked: it is what was to be taken out.
            print(f"no verdict: {type(error).__name__}", file=sys.stderr, flush=True)
            return self.tell(502, {"error": "Presidio could not be asked"})

    def tell(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status in (401, 413):
            # The body was not read.
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """The gateway's call log tells of every question."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8090), Handler)
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
