"""An authorization server with one client, which may have two secrets at a time (as most allow) and gives tokens to
whoever shows one of them (RFC 6749, client credentials).

Its API makes, lists and deletes secrets; the list comes one secret to a page.
"""

import base64
import secrets
import threading
import urllib.parse

from holds import Gate
from upstream import Upstream, answer

CLIENT = "orders"
MOST = 2


class Authorization(Upstream):
    def __init__(self, admin):
        self.admin, self.secrets, self.made, self.too_many, self.most = admin, {}, 0, 0, 0
        self.guard, self.gate = threading.Lock(), Gate()
        super().__init__(self.behave)

    def behave(self, request, wire):
        if request.path == "/token":
            return wire.send(self.token(request))
        if request.header("authorization") != f"Bearer {self.admin}":
            return wire.send(answer(401, {}))
        if request.method == "DELETE":
            self.gate.through("delete")
        with self.guard:
            told = self.manage(request)
        if request.method == "POST":
            # Made already: who dies now has not heard of it.
            self.gate.through("make")
        wire.send(told)

    def token(self, request):
        """The client's id and secret stand in the form, or as HTTP basic authentication; not in both (RFC 6749, 2.3)."""
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        client, secret = form.get("client_id"), form.get("client_secret")
        if shown := request.header("authorization"):
            if secret or not shown.startswith("Basic "):
                return answer(400, {"error": "invalid_request"})
            client, _, secret = base64.b64decode(shown.removeprefix("Basic ")).decode().partition(":")
        else:
            self.gate.through("test")
        with self.guard:
            good = client == CLIENT and any(known["secret"] == secret for known in self.secrets.values())
        if not good:
            return answer(401, {"error": "invalid_client"})
        return answer(200, {"access_token": secrets.token_hex(8), "token_type": "Bearer", "expires_in": 60})

    def manage(self, request):
        if request.method == "POST":
            if len(self.secrets) >= MOST:
                self.too_many += 1
                return answer(409, {"error": f"a client has at most {MOST} secrets"})
            self.made += 1
            made = {"secret_id": f"cs_{self.made}", "label": request.json()["label"], "secret": secrets.token_hex(24)}
            self.secrets[made["secret_id"]] = made
            self.most = max(self.most, len(self.secrets))
            return answer(201, made)
        if request.method == "GET":
            after = dict(urllib.parse.parse_qsl(request.query)).get("page_token", "")
            ids = sorted(name for name in self.secrets if name > after)
            page = [{name: self.secrets[one][name] for name in ("secret_id", "label")} for one in ids[:1]]
            return answer(200, {"secrets": page, "next_page_token": ids[0] if len(ids) > 1 else ""})
        gone = self.secrets.pop(request.path.rsplit("/", 1)[1], None)
        return answer(200, {}) if gone else b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
