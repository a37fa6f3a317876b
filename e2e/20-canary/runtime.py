"""Drives the run-time API of one installation, and remembers every secret: what applications store and fetch, what
they log in with, what they get, and the shares that open the vault.

Nothing here judges, but that the right requests work; the suite searches afterwards. The installation is made
through the API itself (`sys/init`), so that its shares and first token are planted too.
"""

import base64
import json
import secrets as randomness
import urllib.parse

from checks import eventually, holds
from client import Caller
from drive import quietly, secret
from installation import free_port
from upstream import Upstream, answer

RULES = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }'


class Provider:
    """An identity provider that tells everything it is sent in its refusals."""

    def __init__(self):
        self.upstream = Upstream(self.answer)
        self.url = self.upstream.url

    def answer(self, request, wire):
        if request.path.endswith("openid-configuration"):
            told = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "token_endpoint": f"{self.url}/token"}
            wire.send(answer(200, {**told, "authorization_endpoint": f"{self.url}/authorize"}))
        elif request.path == "/keys":
            wire.send(answer(200, {"keys": []}))
        else:
            sent = f"{request.header('authorization')} {request.body.decode('latin-1')}"
            wire.send(answer(400, {"error": "invalid_client", "error_description": sent}))


class Runtime:
    """The secrets of one installation's run-time API and everything done with them."""

    def __init__(self, installation, canaries, database=None):
        self.one, self.canaries, self.database = installation, canaries, database
        self.one.unsealing = lambda: []
        self.address = ("127.0.0.1", free_port())
        self.provider = Provider()
        self.shares, self.root, self.child = [], None, None
        self.values, self.asked = {}, 0

    def plant(self, name, value):
        return self.canaries.plant(f"{name} of {self.one.dir.name}", value)

    def fresh(self, name):
        """A new secret, planted."""
        return self.plant(name, secret(name.replace(" ", "-")))

    # ---- asking -----------------------------------------------------------------------------

    def send(self, method, path, body=None, token=None, headers=None, keep=True, listener=False, timeout=15):
        """One request, in turn at the API's own listener and below the control plane."""
        self.asked += 1
        own = listener or self.asked % 2
        caller = Caller(self.address if own else self.one.control_address, self.one.transcript, bool(self.one.tls))
        fields = {**({"x-vault-token": token} if token else {}), **(headers or {})}
        return caller.send(method, f"{'' if own else '/vault'}/v1/{path}", fields, body, timeout, keep)

    def good(self, method, path, body=None, token=None, headers=None, keep=True, **more):
        """A request that must work; its answer is kept out of the transcript where it is to tell a secret."""
        got = self.send(method, path, body, token or self.root, headers, keep, **more)
        holds(200 <= got.status < 300, f"{method} {path}: {got}")
        return json.loads(got.body) if got.body else {}

    def bad(self, *args, **more):
        """A request of which nothing is expected, but that it tells no secret."""
        return quietly(self.send, *args, **more)

    # ---- beginning, ending ------------------------------------------------------------------

    def start(self, log, *args):
        flags = ["--vault", "%s:%d" % self.address, "--vault-api", *args]
        if self.one.tls:
            certificate, key = self.one.tls
            flags += ["--vault-tls-certificate", str(certificate), "--vault-tls-key", str(key)]
        self.one.start(*flags, log=log, wait=False)

    def answers(self):
        """Waits until the API says how it is."""
        def told():
            got = quietly(self.send, "GET", "sys/seal-status", listener=True)
            return got and got.status == 200 and got.json()["initialized"] == bool(self.shares)

        eventually(
            told,
            lambda: f"no answer: {self.one.log()[-600:]}",
            20,
        )

    def begin(self):
        """Initialises the vault, unseals it, and makes a child of the first token."""
        self.answers()
        body = {"secret_shares": 3, "secret_threshold": 2}
        made = self.good("PUT", "sys/init", body, keep=False, listener=True)
        self.shares = made["keys"]
        for number, share in enumerate(self.shares):
            self.plant(f"share {number}", bytes.fromhex(share))
        self.root = self.plant("root token", made["root_token"])
        self.one.token = self.plant("admin token", made["admin_token"])
        self.bad("PUT", "sys/init", {**body, "root_token_pgp_key": self.fresh("init")}, listener=True)
        self.unseal()
        self.good("PUT", "sys/policies/acl/all", {"policy": RULES})
        made = self.good("POST", "auth/token/create", {"policies": ["all"], "ttl": "2h"}, keep=False)
        self.child = self.plant("child token", made["auth"]["client_token"])

    def unseal(self):
        wrong = self.fresh("wrong share")
        self.bad("PUT", "sys/unseal", {"key": wrong}, listener=True)
        self.bad("PUT", "sys/unseal", {"key": [self.shares[0]]}, listener=True)
        self.bad("PUT", "sys/unseal", '{"key": "' + self.shares[0], listener=True)
        self.good("PUT", "sys/unseal", {"key": self.shares[0]}, listener=True)
        again = base64.b64encode(bytes.fromhex(self.shares[1])).decode()
        self.good("PUT", "sys/unseal", {"key": again}, listener=True)
        self.one.ready()

    def drive(self):
        """Every room of the API."""
        for room in (self.kv, self.cubbyhole, self.userpass, self.approle, self.oidc, self.tokens, self.wrapping):
            room()
        self.misuse()
        if self.database:
            self.leases()
        self.shares_anew()

    def drive_again(self):
        """What was stored is still told, after a restart."""
        self.answers()
        self.unseal()
        told = self.good("GET", "kv2/data/app", keep=False)["data"]["data"]
        holds(told["password"] == self.values["kv2"], "the value of kv2 is another one after the restart")
        self.misuse()
        self.look()

    # ---- rooms ------------------------------------------------------------------------------

    def kv(self):
        for version in ("1", "2"):
            mount, inner = f"kv{version}", ("", "")
            self.good("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": version}})
            at, wrap = (f"{mount}/app", lambda d: d) if version == "1" else (f"{mount}/data/app", lambda d: {"data": d})
            value, deep, old = (self.fresh(f"{n} in {mount}") for n in ("value", "nested value", "first value"))
            self.good("POST", at, wrap({"password": old}))
            self.good("PUT", at, wrap({"password": value, "more": {"list": [deep, 1]}}), self.child)
            for token in (self.root, self.child):
                told = self.good("GET", at, token=token, keep=False)
                holds(deep.encode() in json.dumps(told, ensure_ascii=False).encode(), f"{at} does not tell its value")
            self.values[mount] = value
            lost = self.fresh(f"refused value in {mount}")
            for body in (
                wrap([lost]),
                {"password": lost},
                {"data": lost},
                {"data": {"p": lost}, "options": {"cas": 99}},
                {"data": {"p": lost}, "options": lost},
                '{"data": {"password": "' + lost,
                '{"data": {"a": "' + lost + '", "a": "' + lost + '", "b": "\\ud800"}}',
                '["' + lost + '"]',
                '"' + lost + '"',
                json.dumps({"data": {"p": lost, "pad": "x" * (1 << 20)}}),
            ):
                for path in (f"{mount}/data/refused/", f"{mount}/metadata/refused", f"{mount}/destroy/app", "nowhere/x"):
                    self.bad("POST", path, body, self.child)
                self.bad("PATCH", f"{mount}/data/app", body, self.child)
                self.bad("POST", at, body, self.fresh_token())
                self.bad("POST", at, body)
            quoted = urllib.parse.quote(lost, safe="")
            self.bad("GET", f"{at}?password={quoted}", token=self.child, keep=False)
            self.bad("TRACE", f"{at}?password={quoted}", token=self.child)
            self.bad("POST", f"{at}?%zz={quoted}", {"p": lost}, self.child, {"x-vault-namespace": "other"})
            self.bad("POST", at, {"p": lost}, self.child, {"origin": "https://elsewhere.example"})
            self.bad("LIST", f"{mount}/metadata", token=self.child)
        patch = {"content-type": "application/merge-patch+json"}
        self.good("PATCH", "kv2/data/app", {"data": {"added": self.fresh("patched value")}}, headers=patch)
        self.good("GET", "kv2/data/app?version=1", keep=False)
        self.good("GET", "kv2/subkeys/app")
        self.good("GET", "kv2/metadata/app")
        self.good("POST", "kv2/delete/app", {"versions": [1]})
        self.good("POST", "kv2/undelete/app", {"versions": [1]})
        self.good("POST", "kv2/destroy/app", {"versions": [1]})
        self.good("POST", "sys/remount", {"from": "kv1", "to": "moved"})
        self.good("DELETE", "sys/mounts/moved")

    def fresh_token(self):
        """A token of the right form that nobody has."""
        return self.plant(f"stranger {self.asked}", "cfs_" + randomness.token_hex(19))

    def cubbyhole(self):
        value = self.fresh("cubbyhole value")
        self.good("POST", "cubbyhole/own", {"key": value}, self.child)
        told = self.good("GET", "cubbyhole/own", token=self.child, keep=False)
        holds(told["data"]["key"] == value, "the cubbyhole does not tell its value")
        self.bad("GET", "cubbyhole/own", token=self.root)
        self.bad("POST", "cubbyhole/", {"key": value}, self.child)
        self.bad("POST", "cubbyhole/own", '{"key": "' + value, self.child)

    def userpass(self):
        self.good("POST", "sys/auth/userpass", {"type": "userpass"})
        password, new, wrong = self.fresh("password"), self.fresh("new password"), self.fresh("wrong password")
        self.good("POST", "auth/userpass/users/bob", {"password": password, "token_policies": ["all"]})
        self.log_in("userpass/login/bob", {"password": password})
        self.good("POST", "auth/userpass/users/bob/password", {"password": new})
        self.log_in("userpass/login/bob", {"password": new})
        self.good("GET", "auth/userpass/users/bob")
        for body in ({"password": [password]}, {"password": {"p": password}}, '{"password": "' + password, {"token": password}):
            self.bad("POST", "auth/userpass/login/bob", body)
            self.bad("POST", "auth/userpass/users/eve", body, self.child)
        self.bad("POST", "auth/userpass/users/eve", {"password": wrong, "password_hash": wrong}, self.child)
        for _ in range(7):  # until the name is locked
            self.bad("POST", "auth/userpass/login/bob", {"password": wrong})

    def log_in(self, path, body):
        """A login that must work; its token is planted."""
        made = self.good("POST", f"auth/{path}", body, token=None, keep=False)
        return self.plant(f"token of {path} {self.asked}", made["auth"]["client_token"])

    def approle(self):
        self.good("POST", "sys/auth/approle", {"type": "approle"})
        self.good("POST", "auth/approle/role/web", {"token_policies": ["all"]})
        role = self.good("GET", "auth/approle/role/web/role-id")["data"]["role_id"]
        made = self.good("POST", "auth/approle/role/web/secret-id", {}, keep=False)["data"]["secret_id"]
        made, own, wrong = self.plant("secret id", made), self.fresh("custom secret id"), self.fresh("wrong secret id")
        self.good("POST", "auth/approle/role/web/custom-secret-id", {"secret_id": own}, keep=False)
        for known in (made, own):
            self.log_in("approle/login", {"role_id": role, "secret_id": known})
            self.good("POST", "auth/approle/role/web/secret-id/lookup", {"secret_id": known})
        for given in (wrong, [made], {"s": own}):
            self.bad("POST", "auth/approle/login", {"role_id": role, "secret_id": given})
            self.bad("POST", "auth/approle/login", {"role_id": "nobody", "secret_id": given})
            self.bad("POST", "auth/approle/role/web/secret-id/lookup", {"secret_id": given}, self.child)
        self.bad("POST", "auth/approle/role/web/custom-secret-id", {"secret_id": own, "ttl": "x"}, self.child)
        self.good("POST", "auth/approle/role/web/secret-id/destroy", {"secret_id": own})

    def oidc(self):
        self.good("POST", "sys/auth/oidc", {"type": "oidc"})
        client = self.fresh("client secret")
        body = {"oidc_discovery_url": self.provider.url, "oidc_client_id": "us", "oidc_client_secret": client}
        self.good("POST", "auth/oidc/config", {**body, "default_role": "web"})
        holds(b"oidc_client_id" in json.dumps(self.good("GET", "auth/oidc/config")).encode(), "no configuration")
        back = "http://localhost:8250/oidc/callback"
        self.good("POST", "auth/oidc/role/web", {"user_claim": "sub", "allowed_redirect_uris": [back]})
        told = self.good("POST", "auth/oidc/oidc/auth_url", {"redirect_uri": back, "role": "web"}, keep=False)
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(told["data"]["auth_url"]).query))
        code = self.fresh("code")
        query = urllib.parse.urlencode({"state": asked["state"], "code": code, "nonce": asked["nonce"]})
        # The provider refuses and repeats what it was sent.
        self.bad("GET", f"auth/oidc/oidc/callback?{query}")
        sent = [r for r in self.provider.upstream.requests if r.path == "/token"]
        holds(sent and code in urllib.parse.unquote(sent[-1].body.decode()), "the provider was not asked with the code")
        for wrong in (
            {"oidc_client_secret": [client]},
            {"oidc_client_id": ""},
            {"oidc_discovery_url": "http://127.0.0.1:1"},
            {"oidc_response_mode": client},
            {"jwt_supported_algs": [client]},
            {"jwt_validation_pubkeys": [client]},
        ):
            self.bad("POST", "auth/oidc/config", {**body, **wrong}, self.child if "alg" not in str(wrong) else None)
        header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"x"}').rstrip(b"=").decode()
        presented = f"{header}.{randomness.token_hex(20)}.{randomness.token_hex(40)}"
        self.plant("presented token", presented.split(".", 1)[1])
        self.good("POST", "auth/oidc/role/jwt", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["us"]})
        for text in (presented, presented[:-1], f"{presented}=", [presented]):
            self.bad("POST", "auth/oidc/login", {"role": "jwt", "jwt": text})

    def tokens(self):
        given = self.plant("token of a chosen id", f"chosen-{randomness.token_hex(16)}")
        self.good("POST", "auth/token/create", {"id": given, "policies": ["default"]}, keep=False)
        batch = self.good("POST", "auth/token/create", {"type": "batch", "policies": ["default"]}, keep=False)
        batch = self.plant("batch token", batch["auth"]["client_token"])
        self.good("GET", "auth/token/lookup-self", token=batch, keep=False)
        self.good("POST", "auth/token/lookup", {"token": given}, keep=False)
        self.good("GET", f"auth/token/lookup/{given}", keep=False)
        self.good("POST", f"auth/token/renew/{given}", {}, keep=False)
        self.good("POST", "sys/capabilities", {"token": self.child, "paths": ["kv2/data/app"]})
        self.good("LIST", "auth/token/accessors")
        bearer = {"authorization": f"Bearer {self.child}"}
        holds(self.send("GET", "auth/token/lookup-self", headers=bearer, keep=False).status == 200, "no bearer token")
        for stranger in (self.fresh_token(), self.fresh("odd token"), given[:-1], f"{self.child}x", f"hvs.{'z' * 40}"):
            quoted = urllib.parse.quote(stranger, safe="")
            for path in ("auth/token/lookup", "auth/token/renew", "auth/token/revoke-orphan", "sys/capabilities"):
                self.bad("POST", path, {"token": stranger, "paths": ["x"]}, self.child)
            for path in ("auth/token/lookup", "auth/token/renew", "auth/token/revoke", "auth/token/revoke-orphan"):
                self.bad("POST", f"{path}/{quoted}", {}, self.child)
            self.bad("GET", "auth/token/lookup-self", token=stranger)
            self.bad("GET", "auth/token/lookup-self", headers={"authorization": stranger})
        # Where no token belongs only those of our own form can be recognised and left out.
        for place in ("nowhere/", "kv2/data/", "sys/", "auth/", "auth/token/"):
            self.bad("GET", f"{place}{self.child}", token=self.child)
            self.bad("GET", f"{place}{self.child}/x", token=batch)
        self.good("POST", f"auth/token/revoke/{given}", {})

    def wrapping(self):
        for method, path, body in (
            ("GET", "kv2/data/app", None),
            ("POST", "sys/wrapping/wrap", {"own": self.fresh("wrapped value")}),
        ):
            made = self.good(method, path, body, headers={"x-vault-wrap-ttl": "300"}, keep=False)
            token = self.plant(f"wrapping token {self.asked}", made["wrap_info"]["token"])
            self.good("POST", "sys/wrapping/lookup", {"token": token})
            made = self.good("POST", "sys/wrapping/rewrap", {"token": token}, keep=False)
            new = self.plant(f"wrapping token {self.asked}", made["wrap_info"]["token"])
            for wrong in (token, [new], f"{new}x"):
                self.bad("POST", "sys/wrapping/unwrap", {"token": wrong}, self.child)
            self.bad("GET", "kv2/data/app", token=new)
            self.good("POST", "sys/wrapping/unwrap", {}, token=new, keep=False)
            self.bad("POST", "sys/wrapping/unwrap", {}, token=new)
        made = self.good("GET", "kv2/data/app", headers={"x-vault-wrap-ttl": "300"}, keep=False)
        self.plant("wrapping token that stays", made["wrap_info"]["token"])

    def leases(self):
        own = self.fresh("database administrator's password")
        self.good("POST", "sys/mounts/database", {"type": "database"})
        url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{self.database.port}/postgres?sslmode=disable"
        body = {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url}
        body |= {"username": "postgres", "password": own}
        self.good("POST", "database/config/main", body)
        self.good("GET", "database/config/main")
        create = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'"
        self.good("POST", "database/roles/reader", {"db_name": "main", "creation_statements": [create]})
        self.good("POST", "database/roles/broken", {"db_name": "main", "creation_statements": [create + " NONSENSE"]})
        made = self.good("GET", "database/creds/reader", token=self.child, keep=False)
        self.plant("leased password", made["data"]["password"])
        self.good("POST", "sys/leases/lookup", {"lease_id": made["lease_id"]})
        self.good("POST", "sys/leases/renew", {"lease_id": made["lease_id"]})
        self.bad("GET", "database/creds/broken", token=self.child)
        self.bad("GET", "database/creds/nobody", token=self.child)
        gone = url.replace(str(self.database.port), "1")
        inside = url.replace("{{password}}", urllib.parse.quote(own, safe=""))
        for wrong in (
            {"connection_url": gone},
            {"connection_url": inside.replace(str(self.database.port), "1")},
            {"connection_url": own},
            {"password": [own]},
            {"username": "nobody-of-this-name"},
            {"plugin_name": own},
        ):
            self.bad("POST", "database/config/other", {**body, **wrong}, timeout=30, token=self.child)
        self.good("POST", "sys/leases/revoke", {"lease_id": made["lease_id"]})
        kept = self.good("GET", "database/creds/reader", token=self.child, keep=False)
        self.plant("leased password that stays", kept["data"]["password"])

    def misuse(self):
        """Tokens and values where they do not belong."""
        value = self.fresh(f"misplaced value {self.asked}")
        quoted = urllib.parse.quote(value, safe="")
        for token in (None, self.fresh_token()):
            self.bad("POST", "kv2/data/app", {"data": {"p": value}}, token)
            self.bad("GET", f"kv2/data/app?p={quoted}", token=token)
        for raw in (
            f"POST /v1/kv2/data/app HTTP/1.1\r\nhost: x\r\nx-vault-token: {self.child}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            f"POST /v1/kv2/data/app HTTP/1.1\r\nhost: x\r\nx-vault-token: {self.child}\r\ncontent-length: {len(value) + 99}\r\n\r\n" + '{"data": {"p": "' + value,
            f"GET /v1/x HTTP/1.1\r\nhost: x\r\nx-vault-token: {self.child}\0\r\n\r\n",
            f"GET /v1/x HTTP/1.1\r\nhost: x\r\n{self.child}: x\r\n\r\n",
            f"{self.child} /v1/x HTTP/1.1\r\nhost: x\r\n\r\n",
            f"GET /v1/x HTTP/1.1\r\nhost: x\r\nx-vault-token: {self.child}\r\nx-pad: {'p' * 200000}\r\n\r\n",
        ):
            caller = Caller(self.address, self.one.transcript, bool(self.one.tls))
            quietly(caller.raw, raw.encode("latin-1"), timeout=0.4)

    def shares_anew(self):
        """New shares take the place of the present ones."""
        begun = self.good("PUT", "sys/rekey/init", {"secret_shares": 3, "secret_threshold": 2})
        for key in (self.fresh("wrong rekey share"), [self.shares[0]]):
            self.bad("PUT", "sys/rekey/update", {"key": key, "nonce": begun["nonce"]}, self.root)
        for share in self.shares[:2]:
            made = self.good("PUT", "sys/rekey/update", {"key": share, "nonce": begun["nonce"]}, keep=False)
        self.shares = made["keys"]
        for number, share in enumerate(self.shares):
            self.plant(f"new share {number}", bytes.fromhex(share))
        self.good("PUT", "sys/rotate", {})

    def look(self):
        """Reads everything that tells about what happened."""
        for path in ("audit?limit=1000", "status", "stats", "calls?limit=1000"):
            quietly(self.one.api.send, "GET", f"/api/v1/{path}")
        for path in ("/metrics", "/healthz", "/readyz"):
            quietly(self.one.control.send, "GET", path)
        for path in ("sys/health", "sys/seal-status", "sys/leader"):
            self.bad("GET", path)
        for path in ("sys/mounts", "sys/auth", "sys/audit", "sys/key-status", "sys/policies/acl/all"):
            self.good("GET", path)
