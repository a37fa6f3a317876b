"""The same questions to the built binary and to the real OpenBao server: statuses and shapes must agree.

Values differ by nature (ids, times), so what is compared is the status, the names at the top of the answer, the names
in `data` and `auth`, and the values of fields that are not theirs to choose.
"""

import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

from checks import eventually
from installation import free_port

HERE = pathlib.Path(__file__).resolve().parent
KV = {"data": {"user": "web", "nested": {"a": 1}}}
POLICY = 'path "kv/data/own/*" { capabilities = ["create", "read"] }'

# method, path, body; `{…}` is filled from an earlier answer.
QUESTIONS = [
    ("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}),
    ("POST", "sys/mounts/kv", {"type": "kv"}),
    ("POST", "sys/mounts/one", {"type": "kv"}),
    ("POST", "sys/mounts/bad", {"type": "telepathy"}),
    ("POST", "kv/data/a/b", KV),
    ("POST", "kv/data/a/b", {**KV, "options": {"cas": 1}}),
    ("POST", "kv/data/a/b", {**KV, "options": {"cas": 1}}),
    ("POST", "kv/data/a/b", {}),
    ("GET", "kv/data/a/b", None),
    ("GET", "kv/data/a/b?version=1", None),
    ("GET", "kv/data/a/b?version=9", None),
    ("GET", "kv/data/none", None),
    ("GET", "kv/subkeys/a/b?depth=1", None),
    ("LIST", "kv/metadata/", None),
    ("LIST", "kv/metadata/a", None),
    ("LIST", "kv/metadata/none", None),
    ("GET", "kv/metadata/a?list=true", None),
    ("GET", "kv/metadata/a/b", None),
    ("POST", "kv/metadata/a/b", {"max_versions": 3, "custom_metadata": {"owner": "web"}, "delete_version_after": "1h"}),
    ("GET", "kv/metadata/a/b", None),
    ("DELETE", "kv/data/a/b", None),
    ("GET", "kv/data/a/b", None),
    ("POST", "kv/undelete/a/b", {"versions": [2]}),
    ("GET", "kv/data/a/b", None),
    ("POST", "kv/delete/a/b", {"versions": [1]}),
    ("POST", "kv/delete/a/b", {}),
    ("POST", "kv/destroy/a/b", {"versions": [1]}),
    ("GET", "kv/data/a/b?version=1", None),
    ("GET", "kv/config", None),
    ("POST", "kv/config", {"max_versions": 5}),
    ("GET", "kv/config", None),
    ("DELETE", "kv/metadata/a/b", None),
    ("GET", "kv/metadata/a/b", None),
    ("POST", "one/x", {"k": "v", "n": 1}),
    ("GET", "one/x", None),
    ("GET", "one/none", None),
    ("LIST", "one/", None),
    ("POST", "one/x", {}),
    ("DELETE", "one/x", None),
    ("DELETE", "one/x", None),
    ("POST", "cubbyhole/c", {"k": "v"}),
    ("GET", "cubbyhole/c", None),
    ("LIST", "cubbyhole/", None),
    ("GET", "cubbyhole/none", None),
    ("GET", "sys/mounts/one/tune", None),
    ("POST", "sys/mounts/one/tune", {"default_lease_ttl": "1h"}),
    ("PUT", "sys/policies/acl/own", {"policy": POLICY}),
    ("PUT", "sys/policies/acl/bad", {"policy": 'path "x" { capabilities = ["fly"] }'}),
    ("GET", "sys/policies/acl/own", None),
    ("GET", "sys/policies/acl/none", None),
    ("LIST", "sys/policies/acl", None),
    ("DELETE", "sys/policies/acl/root", None),
    ("POST", "auth/token/create", {"policies": ["own"], "ttl": "1h"}),
    ("POST", "auth/token/lookup", {"token": "{client_token}"}),
    ("POST", "sys/capabilities", {"token": "{client_token}", "paths": ["kv/data/own/x"]}),
    ("POST", "auth/token/lookup", {"token": "nobody"}),
    ("GET", "auth/token/lookup-self", None),
    ("POST", "auth/token/renew", {"token": "{client_token}"}),
    ("POST", "auth/token/revoke", {"token": "{client_token}"}),
    ("LIST", "auth/token/accessors", None),
    ("POST", "sys/auth/approle", {"type": "approle"}),
    ("POST", "auth/approle/role/web", {"token_policies": ["own"], "token_ttl": "5m"}),
    ("GET", "auth/approle/role/web", None),
    ("GET", "auth/approle/role/none", None),
    ("GET", "auth/approle/role/web/role-id", None),
    ("POST", "auth/approle/role/web/secret-id", {}),
    ("POST", "auth/approle/login", {"role_id": "{role_id}", "secret_id": "{secret_id}"}),
    ("POST", "auth/approle/login", {"role_id": "{role_id}", "secret_id": "wrong"}),
    ("LIST", "auth/approle/role", None),
    ("POST", "sys/wrapping/unwrap", {"token": "nobody"}),
    ("POST", "sys/leases/lookup", {"lease_id": "nothing/x"}),
    ("LIST", "sys/leases/lookup/nothing", None),
    ("POST", "sys/remount", {"from": "one", "to": "two"}),
    ("GET", "two/x", None),
    ("GET", "nowhere/x", None),
    ("DELETE", "sys/mounts/two", None),
    ("GET", "sys/internal/ui/mounts/kv/x", None),
]

# Names that OpenBao added to answers of the Vault API whose version is followed here.
ADDED = {
    "current_metadata_version", "metadata_cas_required", "deprecation_status", "cas_required", "modified", "version",
    "allow_slashes_in_identity_templates", "allow_wildcards_in_identity_templates",
}


class Server:
    """One server of the API, unsealed, with a token that may do everything."""

    def __init__(self, command, address, token=None, environment=None):
        self.address, self.token = address, token
        self.process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Uninitialised, it says so with 501.
        self.wait_for(200 if token else 501)
        if not token:
            made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})[1]
            self.token = made["root_token"]
            self.ask("PUT", "sys/unseal", {"key": made["keys"][0]})
            self.wait_for(200)

    def wait_for(self, status):
        def answers():
            try:
                return self.ask("GET", "sys/health", None)[0] == status
            except OSError:
                return False

        eventually(answers, f"{self.address} does not answer", 30, 0.1)

    def ask(self, method, path, body, token=None):
        data = json.dumps(body).encode() if body is not None else None
        headers = {"X-Vault-Token": token or self.token or "", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            status, text = refused.code, refused.read()
        return status, json.loads(text) if text.strip() else None

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def ours(folder):
    """The built binary behind the stand-in, without TLS."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "listener.json"
    config.write_text(json.dumps({"listener": {"tcp": {"address": address, "tls_disable": True}}}))
    return Server([sys.executable, HERE / "shim.py", "server", f"-config={config}"], f"http://{address}")


def theirs(bao, folder):
    """The real server, in memory."""
    address = f"127.0.0.1:{free_port()}"
    command = [bao, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address={address}"]
    return Server(command, f"http://{address}", "root", {"HOME": str(folder)})


def shape(status, body):
    """What must agree of an answer."""
    told = {"status": status}
    if isinstance(body, dict) and status < 400:
        for part in ("data", "auth"):
            if isinstance(body.get(part), dict):
                told[part] = sorted(body[part])
    return told


def agree(ours, theirs):
    """Whether two answers have one shape, but for what was added to one later."""
    if ours.keys() != theirs.keys() or ours["status"] != theirs["status"]:
        return False
    parts = [(set(ours[part]), set(theirs[part])) for part in ours if part != "status"]
    return all(not mine - other and other - mine <= ADDED for mine, other in parts)


def compare(one, other):
    """Answers the questions on both; gives (question, agreement, both shapes)."""
    filled = [{}, {}]
    for method, path, body in QUESTIONS:
        shapes = []
        for server, known in zip((one, other), filled):
            text = json.dumps(body)
            for name, value in known.items():
                text = text.replace("{" + name + "}", value)
            status, told = server.ask(method, path, json.loads(text))
            for part in ("auth", "data"):
                for name in ("client_token", "role_id", "secret_id"):
                    value = ((told or {}).get(part) or {}).get(name)
                    if isinstance(value, str):
                        known[name] = value
            shapes.append(shape(status, told))
        yield f"{method} {path}", agree(*shapes), shapes
