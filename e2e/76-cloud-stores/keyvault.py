"""Azure Key Vault's secrets and the token endpoint of Microsoft Entra ID, as `azure-keyvault-secrets` and
`azure-identity` know them.
"""

import re
import secrets
import time

from standin import StandIn

TENANT, CLIENT, SCOPE = "11111111-2222-3333-4444-555555555555", "client-1", "https://vault.azure.net/.default"
VERSIONS = {"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01"}
PAGE = 2


def error(status, code, message, inner=None, headers=None):
    told = {"code": code, "message": message, **({"innererror": {"code": inner}} if inner else {})}
    return status, {"error": told}, headers or {}


def template(path):
    path = re.sub(r"^/(secrets|deletedsecrets)/[^/]+", r"/\1/NAME", path)
    path = re.sub(r"^/secrets/NAME/(?!versions)[^/]+$", "/secrets/NAME/VERSION", path)
    # The client's paths end in `/` where they name no version.
    return path.replace(TENANT, "TENANT").rstrip("/")


class KeyVault(StandIn):
    def __init__(self, authority):
        super().__init__(authority)
        self.secret = "client&secret=" + secrets.token_hex(12)
        self.tokens, self.secrets, self.deleted, self.forbidden = {}, {}, {}, set()

    def is_login(self, request):
        return request.path.startswith(f"/{TENANT}/")

    def serve(self, request):
        if self.is_login(request):
            return self.log_in(request)
        if self.tokens.get(request.bearer, 0) <= time.time():
            challenge = f'Bearer authorization="{self.url}/{TENANT}", resource="https://vault.azure.net"'
            return error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", headers={"WWW-Authenticate": challenge})
        if request.query.get("api-version") not in VERSIONS:
            return error(400, "BadParameter", "The specified version is not recognized. Consider using the latest supported version.")
        if request.body and request.kind != "application/json":
            return error(415, "UnsupportedMediaType", "Content type is not supported")
        parts = request.path.strip("/").split("/")
        if parts[0] == "deletedsecrets":
            return self.removed(request, parts[1:])
        if parts == ["secrets"]:
            return self.page(request, [all_of[-1] for all_of in self.secrets.values()], "")
        name, rest = parts[1], parts[2:]
        if not re.fullmatch(r"[0-9A-Za-z-]{1,127}", name):
            return error(400, "BadParameter", f"The request URI contains an invalid name: {name}")
        if name in self.forbidden:
            return error(403, "Forbidden", "Caller is not authorized to perform action on resource.", "ForbiddenByRbac")
        if request.method == "PUT" and not rest:
            return self.put(name, request.json())
        if name not in self.secrets:
            return error(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may be able to recover it.")
        versions = self.secrets[name]
        if request.method == "DELETE":
            self.deleted[name] = self.secrets.pop(name)
            return 200, self.gone(name)
        if rest == ["versions"]:
            return self.page(request, versions, f"/{name}/versions")
        one = next((v for v in versions if rest and v["version"] == rest[0]), None if rest else versions[-1])
        if one is None:
            return error(404, "SecretNotFound", f"A secret with (name/id) {name}/{rest[0]} was not found in this key vault.")
        if request.method == "PATCH":
            return self.patch(one, request.json())
        if request.method == "GET":
            if not one["attributes"]["enabled"]:
                return error(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled")
            return 200, self.bundle(one, value=one["value"])
        raise ValueError("an operation that is not known")

    def log_in(self, request):
        if request.path.endswith("/.well-known/openid-configuration"):
            base = f"{self.url}/{TENANT}"
            return 200, {
                "token_endpoint": f"{base}/oauth2/v2.0/token", "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "issuer": f"{base}/v2.0",
            }
        form = request.form()
        if (request.method, request.path) != ("POST", f"/{TENANT}/oauth2/v2.0/token") or form["grant_type"] != "client_credentials":
            raise ValueError("no such grant")
        if form["scope"] != SCOPE:
            return 400, {"error": "invalid_scope", "error_description": "AADSTS70011: The provided value for the input parameter 'scope' is not valid."}
        if (form["client_id"], form["client_secret"]) != (CLIENT, self.secret):
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}
        token = f"entra-{secrets.token_hex(12)}"
        self.tokens[token] = time.time() + 3600
        return 200, {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}

    def bundle(self, one, **more):
        shown = {name: one[name] for name in ("contentType", "tags") if one[name] is not None}
        return {"id": f"{self.url}/secrets/{one['name']}/{one['version']}", "attributes": one["attributes"], **shown, **more}

    def gone(self, name):
        recovery = f"{self.url}/deletedsecrets/{name}"
        return self.bundle(self.deleted[name][-1], recoveryId=recovery, deletedDate=int(time.time()), scheduledPurgeDate=int(time.time()) + 7_776_000)

    def put(self, name, body):
        if unknown := set(body) - {"value", "contentType", "tags", "attributes"}:
            raise ValueError(f"members that are not known: {unknown}")
        if not isinstance(body.get("value"), str) or len(body["value"]) > 25_600:
            return error(400, "BadParameter", "The parameter value has an invalid value.")
        if name in self.deleted:
            words = f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can only be recovered or purged."
            return error(409, "Conflict", words, "ObjectIsDeletedButRecoverable")
        now = int(time.time())
        attributes = {"enabled": True, **self.given(body), "created": now, "updated": now, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}
        one = {"name": name, "version": secrets.token_hex(16), "value": body["value"], "contentType": body.get("contentType"), "tags": body.get("tags"), "attributes": attributes}
        self.secrets.setdefault(name, []).append(one)
        return 200, self.bundle(one, value=one["value"])

    def given(self, body):
        given = {name: value for name, value in (body.get("attributes") or {}).items() if value is not None}
        kinds = {"enabled": bool, "nbf": int, "exp": int}
        if any(type(value) is not kinds[name] for name, value in given.items()):
            raise ValueError(f"attributes that cannot be: {given}")
        return given

    def patch(self, one, body):
        one["attributes"] |= {**self.given(body), "updated": int(time.time())}
        for name in ("contentType", "tags"):
            one[name] = body[name] if body.get(name) is not None else one[name]
        return 200, self.bundle(one)

    def removed(self, request, parts):
        if not parts:
            return self.page(request, [self.deleted[name][-1] for name in self.deleted], "")
        if parts[0] not in self.deleted:
            return error(404, "SecretNotFound", f"Deleted Secret not found: {parts[0]}")
        if request.method == "DELETE":
            del self.deleted[parts[0]]
            return 204, None
        if parts[1:] == ["recover"]:
            self.secrets[parts[0]] = self.deleted.pop(parts[0])
            return 200, self.bundle(self.secrets[parts[0]][-1])
        return 200, self.gone(parts[0])

    def page(self, request, items, below):
        at = int(request.query.get("$skiptoken", 0))
        following = f"{self.url}/secrets{below}?api-version={request.query['api-version']}&$skiptoken={at + PAGE}"
        return 200, {"value": [self.bundle(one) for one in items[at:at + PAGE]], "nextLink": following if len(items) > at + PAGE else None}
