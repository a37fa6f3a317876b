"""Identity tokens of the run-time API under load, while the key that signs them rotates and nodes are killed.

Who checks them keeps a copy of the published keys, fetched once a second, and asks for nothing more when a key is not
in it. So every token must be good by a copy that may be as old as that, from the moment it is made to its end.
"""

import base64
import collections
import hashlib
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request

from checks import eventually
from installation import binary, folder, free_port, with_parent

#: Seconds: a token's life, how long a key is published after it signed, the age of a copy at most.
LIFE, PUBLISHED, COPY = 3, 6, 1
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")


class Node:
    """A server with the run-time API on a database that others share."""

    def __init__(self, name, database):
        self.dir, self.name, self.process = folder(), name, None
        ports = [free_port() for _ in range(3)]
        self.address = f"http://127.0.0.1:{ports[2]}"
        self.command = [
            binary(), "server", "--data-dir", str(self.dir / "data"), "--database", database, "--node-name", name,
            "--gateway", f"127.0.0.1:{ports[0]}", "--control", f"127.0.0.1:{ports[1]}",
            f"--vault=127.0.0.1:{ports[2]}", "--workers", "1", "--log", "warn",
        ]  # fmt: skip

    def start(self, key=None):
        with open(self.dir / "output", "ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output, preexec_fn=with_parent)
        for _ in range(2400):
            try:
                if key:
                    self.ask("PUT", "sys/unseal", {"key": key})
                if self.ask("GET", "sys/health")[0] == (200 if key else 501):
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.name} does not serve: {(self.dir / 'output').read_text()[-800:]}")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait(60)

    def ask(self, method, path, body=None, token=""):
        data = json.dumps(body).encode() if body is not None else None
        headers = {"X-Vault-Token": token} if token else {}
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            status, text = refused.code, refused.read()
        return status, json.loads(text) if text.strip() else None


def number(text):
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")


def good(token, keys):
    """Whether a token is signed with one of these keys (RFC 8017, RSASSA-PKCS1-v1_5 with SHA-256)."""
    head, _, signature = token.rpartition(".")
    kid = json.loads(base64.urlsafe_b64decode(head.split(".")[0] + "=="))["kid"]
    key = keys.get(kid)
    if key is None:
        return False
    size = (number(key["n"]).bit_length() + 7) // 8
    shown = pow(number(signature), number(key["e"]), number(key["n"])).to_bytes(size, "big")
    end = SHA256 + hashlib.sha256(head.encode()).digest()
    return shown == b"\x00\x01" + b"\xff" * (size - len(end) - 3) + b"\x00" + end


class Drill:
    """Two nodes, a signing key, a user who is given tokens."""

    def __init__(self, database):
        self.nodes = [Node("s", database.url), Node("t", database.url)]
        first, second = self.nodes
        made = first.start().ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})[1]
        self.root, self.unseal = made["root_token"], made["keys"][0]
        first.kill()
        first.start(self.unseal)
        second.start(self.unseal)
        self.write("sys/auth/userpass", {"type": "userpass"})
        self.write("sys/policies/acl/tokens", {"policy": 'path "identity/oidc/token/*" { capabilities = ["read"] }'})
        self.write("auth/userpass/users/bob", {"password": "a password", "token_policies": "tokens"})
        key = {"rotation_period": "1h", "verification_ttl": f"{PUBLISHED}s", "allowed_client_ids": "*"}
        self.write("identity/oidc/key/k", key)
        self.write("identity/oidc/role/r", {"key": "k", "ttl": f"{LIFE}s"})
        login = first.ask("POST", "auth/userpass/login/bob", {"password": "a password"})[1]
        self.caller = login["auth"]["client_token"]
        self.counts, self.failures, self.signers = collections.Counter(), [], set()
        self.tokens, self.copy, self.running = collections.deque(), None, True
        self.fetch()

    def write(self, path, body):
        status, told = self.nodes[0].ask("POST", path, body, self.root)
        assert status in (200, 204), f"{path}: {status} {told}"

    def either(self, at, method, path, body=None, token=""):
        """From one node; from the other where the first is dead."""
        for turn in (at, at + 1):
            try:
                status, told = self.nodes[turn % 2].ask(method, path, body, token)
                if status != 503:
                    return status, told
            except OSError:
                self.counts["cut"] += 1
        return 0, None

    def fetch(self, at=0):
        status, told = self.either(at, "GET", "identity/oidc/.well-known/keys")
        if status != 200:
            return self.failures.append(("keys", status, told))
        self.copy = {key["kid"]: key for key in told["keys"]}
        self.counts["copies"] += 1

    def keep_copy(self):
        turn = 0
        while self.running:
            began = time.monotonic()
            self.fetch(turn := turn + 1)
            time.sleep(max(0, COPY - (time.monotonic() - began)))

    def use(self):
        turn = 0
        while self.running:
            turn += 1
            status, told = self.either(turn, "GET", "identity/oidc/token/r", token=self.caller)
            if status != 200:
                self.failures.append(("token", status, told))
                continue
            token, made = told["data"]["token"], time.monotonic()
            if not good(token, self.copy):
                self.failures.append(("fresh", self.counts["tokens"], len(self.copy)))
            self.signers.add(json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"])
            self.counts["tokens"] += 1
            self.tokens.append((made, token))
            while self.tokens and self.tokens[0][0] < time.monotonic() - (LIFE - 0.5):
                born, token = self.tokens.popleft()
                fine, age = good(token, self.copy), time.monotonic() - born
                if age > LIFE:
                    # This machine was late: nobody looks at one that is over.
                    self.counts["outlived"] += 1
                    continue
                if not fine:
                    self.failures.append(("old", self.counts["tokens"], len(self.copy)))
                self.counts["looked at again"] += 1
            time.sleep(0.02)

    def run(self, chance, rotations, deaths):
        """Rotates so often, not faster than copies are fetched, with nodes dying in between."""
        threads = [threading.Thread(target=work, daemon=True) for work in (self.keep_copy, self.use)]
        for thread in threads:
            thread.start()
        dying = set(chance.sample(range(rotations), deaths))
        for turn in range(rotations):
            # A copy must have been fetched since the rotation before, and the key of then have signed.
            time.sleep(COPY + 0.5 + chance.uniform(0, 0.5))
            copies, tokens = self.counts["copies"], self.counts["tokens"]
            eventually(
                lambda: self.counts["copies"] >= copies + 2 and self.counts["tokens"] >= tokens + 2,
                lambda: f"no copies, or no tokens: {dict(self.counts)} {self.failures[:3]}", 30,
            )
            victim = self.nodes[chance.randrange(2)]
            asked = threading.Thread(target=self.rotate, args=(self.nodes.index(victim),))
            asked.start()
            if turn in dying:
                time.sleep(chance.uniform(0, 0.3))
                victim.kill()
                asked.join()
                victim.start(self.unseal)
            asked.join()
        time.sleep(LIFE)
        self.running = False
        for thread in threads:
            thread.join(90)
        for node in self.nodes:
            node.kill()

    def rotate(self, at):
        """At one node; whether it was done before that died is not known, so it is not asked for again."""
        try:
            status, told = self.nodes[at].ask("POST", "identity/oidc/key/k/rotate", {}, self.root)
            if status == 503:
                self.counts["rotations cut"] += 1
            elif status not in (200, 204):
                self.failures.append(("rotation", status, told))
        except OSError:
            self.counts["rotations cut"] += 1
