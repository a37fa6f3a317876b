"""The same questions to the built binary and to the real OpenBao server: whole answers must agree.

Status, every name at every level and every value are compared, also the words of refusals. Some values are the server's
to choose: of an id it is compared whether there is one, of a moment whether it is about the same one, of seconds that are
left whether they are about as many. Where we answer otherwise on purpose, the question says how and why, and is held to
exactly that.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

from checks import eventually
from installation import free_port

HERE = pathlib.Path(__file__).resolve().parent
KV = {"data": {"user": "web", "nested": {"a": 1}}}
POLICY = 'path "kv/data/own/*" { capabilities = ["create", "read"] }'


class Ours:
    """A value that is ours here, and not theirs."""

    def __init__(self, value, why):
        self.value, self.why = value, why


class Newer:
    """Something that OpenBao added to the Vault API whose version is followed here: not in our answer."""


class AsMany:
    """A list of ids: as many here as there."""


class Absent:
    """No such name in the answer."""

    def __repr__(self):
        return "nothing"


NEWER, AS_MANY, ABSENT = Newer(), AsMany(), Absent()
META = {"data.current_metadata_version": NEWER, "data.metadata_cas_required": NEWER}
CONFIG = {"data.metadata_cas_required": NEWER}
WORDS = "our own words"
ROOT = "their root token is one that was made with a name"

# Names of values that are the server's to choose.
IDS = {
    "request_id", "client_token", "accessor", "id", "entity_id", "role_id", "secret_id", "secret_id_accessor", "uuid",
    "migration_id",
}
MOMENTS = {"created_time", "updated_time", "deletion_time", "issue_time", "expire_time"}
SECONDS = {"ttl", "creation_time"}

#: Seconds by which moments and what is left of a time may differ: the two are not asked at once.
NEAR = 60

# Method, path, body, and what is answered otherwise; `{…}` is filled from an earlier answer.
QUESTIONS = [
    ("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}),
    ("POST", "sys/mounts/kv", {"type": "kv"}),
    ("POST", "sys/mounts/one", {"type": "kv"}),
    ("POST", "sys/mounts/bad", {"type": "telepathy"}, {"errors": Ours(['unknown backend type: "telepathy"'], WORDS)}),
    ("POST", "kv/data/a/b", KV),
    ("POST", "kv/data/a/b", {**KV, "options": {"cas": 1}}),
    ("POST", "kv/data/a/b", {**KV, "options": {"cas": 1}}),
    ("POST", "kv/data/a/b", {}),
    ("GET", "kv/data/a/b", None),
    ("GET", "kv/data/a/b?version=1", None),
    ("GET", "kv/data/a/b?version=9", None),
    ("GET", "kv/data/none", None),
    ("GET", "kv/subkeys/a/b?depth=1", None),
    # Names with slashes, spaces and letters of other scripts.
    ("POST", "kv/data/dir/%C3%A4%20b/%E6%97%A5%E6%9C%AC", KV),
    ("GET", "kv/data/dir/%C3%A4%20b/%E6%97%A5%E6%9C%AC", None),
    ("LIST", "kv/metadata/dir", None),
    ("LIST", "kv/metadata/dir/%C3%A4%20b", None),
    ("GET", "kv/metadata/dir/%C3%A4%20b/%E6%97%A5%E6%9C%AC", None, META),
    ("DELETE", "kv/metadata/dir/%C3%A4%20b/%E6%97%A5%E6%9C%AC", None),
    ("POST", "sys/mounts/team/%C3%BCnit", {"type": "kv"}),
    ("POST", "team/%C3%BCnit/a/%C3%B6", {"k": "ä"}),
    ("GET", "team/%C3%BCnit/a/%C3%B6", None),
    ("LIST", "team/%C3%BCnit/a", None),
    ("LIST", "kv/metadata/", None),
    ("LIST", "kv/metadata/a", None),
    ("LIST", "kv/metadata/none", None),
    ("GET", "kv/metadata/a?list=true", None),
    ("GET", "kv/metadata/a?list=True", None),
    ("GET", "kv/metadata/a?list=yes", None, {"errors": Ours(["list is true or false"], "they say nothing")}),
    ("GET", "kv/metadata/a/b", None, META),
    ("POST", "kv/metadata/a/b", {"max_versions": 3, "custom_metadata": {"owner": "web"}, "delete_version_after": "1h"}),
    ("GET", "kv/metadata/a/b", None, META),
    ("DELETE", "kv/data/a/b", None),
    ("GET", "kv/data/a/b", None),
    ("POST", "kv/undelete/a/b", {"versions": [2]}),
    ("GET", "kv/data/a/b", None),
    ("POST", "kv/delete/a/b", {"versions": [1]}),
    ("POST", "kv/delete/a/b", {}, {"errors": Ours(["no version number provided"], WORDS)}),
    ("POST", "kv/destroy/a/b", {"versions": [1]}),
    ("GET", "kv/data/a/b?version=1", None),
    ("GET", "kv/config", None, CONFIG),
    ("POST", "kv/config", {"max_versions": 2}),
    ("GET", "kv/config", None, CONFIG),
    ("POST", "kv/data/a/b", KV),
    ("GET", "kv/metadata/a/b", None, {**META, "data.oldest_version": Ours(0, "no version was let go of yet")}),
    ("POST", "kv/data/a/b", KV),
    ("GET", "kv/metadata/a/b", None, META),
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
    ("PUT", "sys/policies/acl/bad", {"policy": 'path "x" { capabilities = ["fly"] }'}, {
        "errors": Ours(['failed to parse policy: line 1: path "x": invalid capability "fly"'], WORDS),
    }),
    ("GET", "sys/policies/acl/own", None, {
        "data.allow_slashes_in_identity_templates": NEWER, "data.allow_wildcards_in_identity_templates": NEWER,
        "data.cas_required": NEWER, "data.modified": NEWER, "data.version": NEWER,
    }),
    ("GET", "sys/policies/acl/none", None),
    ("LIST", "sys/policies/acl", None),
    ("DELETE", "sys/policies/acl/root", None),
    ("POST", "auth/token/create", {"policies": ["own"], "ttl": "1h"}),
    ("POST", "auth/token/lookup", {"token": "{client_token}"}),
    ("POST", "sys/capabilities", {"token": "{client_token}", "paths": ["kv/data/own/x"]}),
    ("POST", "auth/token/lookup", {"token": "nobody"}),
    ("GET", "auth/token/lookup-self", None, {
        "data.display_name": Ours("root", ROOT), "data.path": Ours("auth/token/root", ROOT),
    }),
    ("POST", "auth/token/renew", {"token": "{client_token}"}),
    ("POST", "auth/token/revoke", {"token": "{client_token}"}),
    ("LIST", "auth/token/accessors", None, {"data.keys": AS_MANY}),
    ("POST", "sys/auth/approle", {"type": "approle"}),
    ("POST", "auth/approle/role/web", {"token_policies": ["own"], "token_ttl": "5m"}),
    ("GET", "auth/approle/role/web", None, {"data.secret_id_bound_cidrs": Ours([], "a list, also of nothing")}),
    ("GET", "auth/approle/role/none", None),
    ("GET", "auth/approle/role/web/role-id", None),
    ("POST", "auth/approle/role/web/secret-id", {}),
    ("POST", "auth/approle/login", {"role_id": "{role_id}", "secret_id": "{secret_id}"}),
    ("POST", "auth/approle/login", {"role_id": "{role_id}", "secret_id": "wrong"}),
    ("LIST", "auth/approle/role", None),
    ("POST", "sys/wrapping/unwrap", {"token": "nobody"}),
    ("POST", "sys/leases/lookup", {"lease_id": "nothing/x"}),
    ("LIST", "sys/leases/lookup/nothing", None),
    ("POST", "sys/remount", {"from": "one", "to": "two"}, {"warnings": Ours(None, "it is moved at once")}),
    ("GET", "two/x", None),
    ("GET", "nowhere/x", None),
    ("DELETE", "sys/mounts/two", None),
    ("GET", "sys/internal/ui/mounts/kv/x", None, {
        "data.deprecation_status": NEWER, "data.running_plugin_version": Ours("", "engines have no versions of their own"),
    }),
]

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


def moment(text):
    """Seconds since 1970 of a moment in RFC 3339, or None."""
    try:
        return datetime.datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp()
    except (TypeError, ValueError):
        return None


def same(path, mine, other):
    """Whether two values agree, as far as they are not the server's to choose."""
    name = path.rsplit(".", 1)[-1]
    if name in IDS and isinstance(mine, str) and isinstance(other, str):
        return bool(mine) == bool(other)
    if name in MOMENTS and mine != other:
        one, two = moment(mine), moment(other)
        return one is not None and two is not None and abs(one - two) <= NEAR
    if name in SECONDS and isinstance(mine, int) and isinstance(other, int):
        return abs(mine - other) <= NEAR and bool(mine) == bool(other)
    return type(mine) is type(other) and mine == other


def flat(path, value):
    """The values of an answer by their paths; an empty object or list is a value."""
    if isinstance(value, dict) and value:
        return {p: v for name, inner in value.items() for p, v in flat(f"{path}.{name}" if path else name, inner).items()}
    return {path: value}


def unlike(mine, other, otherwise):
    """In what two answers, each status and body, do not agree as they should."""
    (one, mine), (two, other) = mine, other
    found = [f"status: here {one}, there {two}"] if one != two else []
    mine, other = flat("", mine), flat("", other)
    for path in sorted(mine.keys() | other.keys() | otherwise.keys()):
        here, there = mine.get(path, ABSENT), other.get(path, ABSENT)
        expected = otherwise.get(path)
        if isinstance(expected, Newer):
            good = here is ABSENT and there is not ABSENT
        elif isinstance(expected, Ours):
            good = here == expected.value and here != there
        elif isinstance(expected, AsMany):
            good = isinstance(here, list) and isinstance(there, list) and len(here) == len(there)
        else:
            good = same(path, here, there)
        if not good:
            found.append(f"{path}: here {here!r}, there {there!r}")
    return found


def compare(one, other):
    """Answers the questions on both; gives the question and in what the answers do not agree."""
    filled = [{}, {}]
    for method, path, body, *otherwise in QUESTIONS:
        answers = []
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
            answers.append((status, told))
        yield f"{method} {path}", unlike(*answers, *otherwise or [{}])
