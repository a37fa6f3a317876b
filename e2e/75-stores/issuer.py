"""A CI system as far as its jobs' identity tokens go: it publishes keys (a JWKS over HTTP) and signs with them.

The keys are made and used by OpenSSL, so that nothing of ours takes part in what is checked here.
"""

import base64
import http.server
import json
import subprocess
import threading
import time

from installation import folder

AUDIENCE = "https://credentialflow.example"


def _text(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Answers `/keys` until it is stopped."""

    def __init__(self):
        self.dir, self.keys, self.asked = folder(), [], 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                body = json.dumps({"keys": [public for _, public in issuer.keys]}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.new_key("one")

    def new_key(self, kid, published=True):
        """A key of 2048 bits; the newest signs. Returns its file."""
        path = self.dir / f"{kid}.pem"
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path],
            check=True, capture_output=True, timeout=120,
        )
        modulus = subprocess.run(
            ["openssl", "rsa", "-in", path, "-noout", "-modulus"], check=True, capture_output=True, text=True, timeout=60
        ).stdout.strip().removeprefix("Modulus=")
        public = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": _text(bytes.fromhex(modulus)), "e": "AQAB"}
        if published:
            self.keys.append((path, public))
        return path

    def token(self, key=None, kid=None, **claims):
        """What a job is given: signed by the newest key unless another one is named."""
        newest, public = self.keys[-1]
        now = int(time.time())
        told = {
            "iss": self.url, "aud": AUDIENCE, "sub": "repo:acme/orders:ref:refs/heads/main", "repository": "acme/orders",
            "ref": "refs/heads/main", "iat": now, "nbf": now - 5, "exp": now + 600, **claims,
        }
        header = {"alg": "RS256", "typ": "JWT", "kid": kid or public["kid"]}
        signed = ".".join(_text(json.dumps(part).encode()) for part in (header, told))
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", key or newest], input=signed.encode(), check=True,
            capture_output=True, timeout=60,
        )
        return f"{signed}.{_text(done.stdout)}"
