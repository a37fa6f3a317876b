"""Google Secret Manager's REST API and Google's token endpoint, as `google-cloud-secret-manager` and `google-auth` know
them.
"""

import base64
import json
import re
import secrets
import subprocess
import time

from installation import folder
from standin import StandIn, text

PROJECT, NUMBER = "project-1", "123456789"
EMAIL = f"robot@{PROJECT}.iam.gserviceaccount.com"
AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
STATES = {"ENABLED": 1, "DISABLED": 2, "DESTROYED": 3}
CODES = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429}


def error(status, message, headers=None):
    return CODES[status], {"error": {"code": CODES[status], "message": message, "status": status}}, headers or {}


def template(path):
    path = re.sub(r"/secrets/[^/:]+", "/secrets/ID", path)
    return re.sub(r"/versions/[^/:]+", "/versions/VERSION", path)


def crc32c(data):
    """With a table, other than the product has it (RFC 3720, B.4)."""
    total = 0xFFFFFFFF
    for byte in data:
        total = TABLE[(total ^ byte) & 0xFF] ^ (total >> 8)
    return total ^ 0xFFFFFFFF


def _entry(number):
    for _ in range(8):
        number = (number >> 1) ^ 0x82F63B78 if number & 1 else number >> 1
    return number


TABLE = [_entry(number) for number in range(256)]


class SecretManager(StandIn):
    def __init__(self, authority):
        super().__init__(authority)
        self.tokens, self.secrets, self.forbidden, self.assertions = set(), {}, set(), []
        #: What somebody else adds to a secret right before our next version: {id: value}.
        self.between = {}
        place = folder()
        self.key, self.public = place / "key.pem", place / "public.pem"
        for words in (["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.key],
                      ["pkey", "-in", self.key, "-pubout", "-out", self.public]):
            subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=120)

    def key_file(self, **more):
        """What Google hands out for a service account's key."""
        return json.dumps({
            "type": "service_account", "project_id": PROJECT, "private_key_id": "key-1", "private_key": self.key.read_text(),
            "client_email": EMAIL, "client_id": "1", "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": AUDIENCE, "universe_domain": "googleapis.com", **more,
        })

    def is_login(self, request):
        return request.path == "/token"

    def serve(self, request):
        if self.is_login(request):
            return self.log_in(request)
        if request.bearer not in self.tokens:
            words = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."
            return error("UNAUTHENTICATED", words, {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'})
        below = re.fullmatch(rf"/v1/projects/(?:{PROJECT}|{NUMBER})/secrets(?:/([^/:]+))?(?:/versions(?:/([^/:]+))?)?(?::(\w+))?", request.path)
        if not below:
            return error("PERMISSION_DENIED", "Permission denied on resource project.")
        identity, version, verb = below.groups()
        self.numbers = "enum-encoding=int" in request.query.get("$alt", "")
        body = request.json()
        if request.body and request.kind != "application/json":
            raise ValueError(f"a body of the kind {request.kind}")
        if identity is None:
            return self.create(request.query["secretId"], body) if request.method == "POST" else (200, {"secrets": [self.secret(i) for i in self.secrets]})
        if identity in self.forbidden:
            return error("PERMISSION_DENIED", f"Permission 'secretmanager.versions.access' denied for resource 'projects/{PROJECT}/secrets/{identity}/versions/latest' (or it may not exist).")
        if identity not in self.secrets:
            return error("NOT_FOUND", f"Secret [projects/{NUMBER}/secrets/{identity}] not found.")
        versions = self.secrets[identity]
        if (request.method, version, verb) == ("POST", None, "addVersion"):
            return self.add(identity, body)
        if version is None and verb is None:
            if request.path.endswith("/versions"):
                return 200, {"versions": [self.version(identity, n) for n in range(len(versions), 0, -1)]}
            if request.method == "DELETE":
                del self.secrets[identity]
                return 200, {}
            return 200, self.secret(identity)
        number = len(versions) if version == "latest" else int(version)
        if not 1 <= number <= len(versions):
            return error("NOT_FOUND", f"Secret [projects/{NUMBER}/secrets/{identity}] not found or has no versions.")
        return self.use(request, identity, number, verb)

    def use(self, request, identity, number, verb):
        one = self.secrets[identity][number - 1]
        if (request.method, verb) == ("GET", None):
            return 200, self.version(identity, number)
        if (request.method, verb) == ("GET", "access"):
            if one["state"] != "ENABLED":
                return error("FAILED_PRECONDITION", f"Secret Version [{self.name(identity, number)}] is in {one['state']} state.")
            data = base64.b64encode(one["data"]).decode()
            return 200, {"name": self.name(identity, number), "payload": {"data": data, "dataCrc32c": str(one["sum"])}}
        if request.method == "POST" and verb in ("enable", "disable", "destroy"):
            if one["state"] == "DESTROYED":
                return error("FAILED_PRECONDITION", f"Secret Version [{self.name(identity, number)}] is in DESTROYED state.")
            one["state"] = {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[verb]
            return 200, self.version(identity, number)
        raise ValueError("an operation that is not known")

    def create(self, identity, body):
        if not re.fullmatch(r"[0-9A-Za-z_-]{1,255}", identity) or "replication" not in body:
            return error("INVALID_ARGUMENT", "The secret id or its replication is not valid.")
        if identity in self.secrets:
            return error("ALREADY_EXISTS", f"Secret [projects/{NUMBER}/secrets/{identity}] already exists.")
        self.secrets[identity] = []
        return 200, self.secret(identity)

    def add(self, identity, body):
        payload = body["payload"]
        if unknown := (set(body) - {"payload"}) | (set(payload) - {"data", "dataCrc32c"}):
            raise ValueError(f"members that are not known: {unknown}")
        data = base64.b64decode(payload["data"], validate=True)
        if not data or len(data) > 65_536:
            return error("INVALID_ARGUMENT", "The payload is empty or larger than 65,536 bytes.")
        if "dataCrc32c" in payload and int(payload["dataCrc32c"]) != crc32c(data):
            return error("INVALID_ARGUMENT", "The checksum of the payload is another.")
        if identity in self.between:
            self.put(identity, self.between.pop(identity))
        return 200, self.version(identity, self.put(identity, data, "dataCrc32c" in payload))

    def put(self, identity, data, with_sum=False):
        one = {"data": data, "sum": crc32c(data), "state": "ENABLED", "with_sum": with_sum}
        self.secrets.setdefault(identity, []).append(one)
        return len(self.secrets[identity])

    def name(self, identity, number):
        return f"projects/{NUMBER}/secrets/{identity}/versions/{number}"

    def secret(self, identity):
        return {"name": f"projects/{NUMBER}/secrets/{identity}", "replication": {"automatic": {}}, "createTime": "2026-01-02T03:04:05Z", "etag": '"1"'}

    def version(self, identity, number):
        one = self.secrets[identity][number - 1]
        state = STATES[one["state"]] if self.numbers else one["state"]
        return {"name": self.name(identity, number), "createTime": "2026-01-02T03:04:05Z", "state": state, "replicationStatus": {"automatic": {}}, "etag": '"1"', "clientSpecifiedPayloadChecksum": one["with_sum"]}

    def log_in(self, request):
        form = request.form()
        if request.method != "POST" or form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise ValueError("no such grant")
        signed, _, signature = form["assertion"].rpartition(".")
        place = folder()
        (place / "signature").write_bytes(text(signature))
        good = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.public, "-signature", place / "signature"], input=signed.encode(), capture_output=True, timeout=60)
        header, claims = (json.loads(text(part)) for part in signed.split("."))
        self.assertions.append((header, claims))
        if good.returncode or (header["alg"], header["typ"]) != ("RS256", "JWT"):
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        now = time.time()
        if claims["aud"] != AUDIENCE or claims["iss"] != EMAIL or not now - 300 <= claims["iat"] <= now + 300 or claims["exp"] - claims["iat"] > 3600:
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."}
        if claims["scope"] != SCOPE:
            return 400, {"error": "invalid_scope", "error_description": "Invalid OAuth scope or ID token audience provided."}
        token = f"ya29.{secrets.token_hex(12)}"
        self.tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
