"""The secrets of a Kubernetes API server, as the official client `kubernetes` knows them, and the folder that a cluster
mounts into a pod.
"""

import base64
import copy
import os
import re
import secrets
import uuid

from installation import folder
from standin import StandIn

NAMESPACE = "apps"
REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 415: "UnsupportedMediaType", 422: "Invalid"}


def status(code, message, reason=None, headers=None):
    told = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason or REASONS[code], "code": code}
    return code, told, headers or {}


def template(path):
    return re.sub(r"/secrets/[^/]+", "/secrets/NAME", path)


def merged(there, patch):
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    there = dict(there) if isinstance(there, dict) else {}
    for name, value in patch.items():
        if value is None:
            there.pop(name, None)
        else:
            there[name] = merged(there.get(name), value)
    return there


class Cluster(StandIn):
    def __init__(self, authority):
        super().__init__(authority)
        self.tokens, self.secrets, self.forbidden, self.count = set(), {}, set(), 100

    def new_token(self):
        token = f"sa-{secrets.token_hex(16)}"
        self.tokens.add(token)
        return token

    def is_login(self, request):
        return False

    def serve(self, request):
        if request.bearer not in self.tokens:
            return status(401, "Unauthorized")
        below = re.fullmatch(r"/api/v1/namespaces/([^/]+)/secrets(?:/([^/]+))?", request.path)
        if not below:
            raise ValueError("no such path")
        namespace, name = below.groups()
        if namespace != NAMESPACE:
            return status(404, f'namespaces "{namespace}" not found')
        if name in self.forbidden:
            return status(403, f'secrets "{name}" is forbidden: User "system:serviceaccount:apps:robot" cannot get resource "secrets" in API group "" in the namespace "apps"')
        if name is None:
            if request.method == "GET":
                return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": str(self.count)}, "items": list(self.secrets.values())}
            return self.create(request)
        there = self.secrets.get(name)
        if there is None:
            return status(404, f'secrets "{name}" not found')
        if request.method == "GET":
            return 200, there
        if request.method == "DELETE":
            del self.secrets[name]
            return 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": {"name": name, "kind": "secrets", "uid": there["metadata"]["uid"]}}
        if request.method == "PUT":
            return self.replace(name, request.json())
        if request.method == "PATCH":
            # For what a secret has, both patches come to the same.
            if request.kind not in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
                return status(415, f"the body of the request was in an unknown format - accepted media types include: application/merge-patch+json, not {request.kind}")
            return self.replace(name, merged(there, request.json()))
        raise ValueError("an operation that is not known")

    def create(self, request):
        # The official client names no kind; that means JSON.
        if request.kind not in ("", "application/json"):
            return status(415, "the body of the request was in an unknown format")
        made = request.json()
        name = made["metadata"]["name"]
        if name in self.secrets:
            return status(409, f'secrets "{name}" already exists', "AlreadyExists")
        metadata = {**made["metadata"], "namespace": NAMESPACE, "uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-02T03:04:05Z"}
        return self.keep(name, {**made, "type": made.get("type") or "Opaque", "metadata": metadata}, 201)

    def replace(self, name, new):
        there = self.secrets[name]
        asked = new["metadata"].get("resourceVersion")
        if asked and asked != there["metadata"]["resourceVersion"]:
            words = f'Operation cannot be fulfilled on secrets "{name}": the object has been modified; please apply your changes to the latest version and try again'
            return status(409, words, "Conflict")
        if there.get("immutable") and (new.get("data"), new.get("immutable")) != (there.get("data"), True):
            return status(422, f'Secret "{name}" is invalid: data: Forbidden: field is immutable when `immutable` is set')
        if new.get("type", there["type"]) != there["type"]:
            return status(422, f'Secret "{name}" is invalid: type: Invalid value: "{new["type"]}": field is immutable')
        return self.keep(name, {**new, "metadata": {**there["metadata"], **new["metadata"]}}, 200)

    def keep(self, name, new, code):
        new = copy.deepcopy(new)
        if unknown := set(new) - {"apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"}:
            raise ValueError(f"members that are not known: {unknown}")
        for key, value in new.pop("stringData", {}).items():
            new.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
        for key, value in (new.get("data") or {}).items():
            base64.b64decode(value, validate=True)
            if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key):
                return status(422, f'Secret "{name}" is invalid: data[{key}]: Invalid value: "{key}": a valid config key must consist of alphanumeric characters, \'-\', \'_\' or \'.\'')
        if new.get("data") != self.secrets.get(name, {}).get("data") or code == 201:
            self.count += 1
        new["metadata"]["resourceVersion"] = str(self.count)
        self.secrets[name] = {"kind": "Secret", "apiVersion": "v1", **new}
        return code, self.secrets[name]


class Pod:
    """The folder that a cluster mounts, laid out as it does: each state is a folder, `..data` leads to the newest, and
    the files lead through it."""

    def __init__(self, authority, token):
        self.dir, self.states, self.authority = folder() / "serviceaccount", 0, authority.file.read_text()
        self.dir.mkdir()
        self.give(token)
        for name in ("token", "ca.crt", "namespace"):
            (self.dir / name).symlink_to(f"..data/{name}")

    def give(self, token):
        """Another token takes the place of the one there, at once."""
        self.states += 1
        state = self.dir / f"..state_{self.states}"
        state.mkdir()
        for name, words in {"token": token, "ca.crt": self.authority, "namespace": NAMESPACE}.items():
            (state / name).write_text(words)
        (self.dir / "..data_tmp").symlink_to(state.name)
        os.replace(self.dir / "..data_tmp", self.dir / "..data")
