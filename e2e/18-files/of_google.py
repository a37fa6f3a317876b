"""Google's Files API with the official `google-genai` for Python and `@google/genai` for Node.js, and a stand-in for the
provider that takes uploads as Google does: pieces without a key, at an address of their own."""

import json
import pathlib
import secrets
import subprocess
import sys
import tempfile
import time
from urllib.parse import urlsplit

from checks import equal, eventually, holds
from installation import cached
from sdks import Sdk
from upstream import answer

HERE = pathlib.Path(__file__).resolve().parent
URI = "https://generativelanguage.googleapis.com/v1beta/"
HELLO = b"Hello. " * 10


class Google:
    """Keeps files as Google does, each for the credential that it came with."""

    def __init__(self):
        self.files, self.uploads, self.complaints, self.asked = {}, {}, [], []

    def serve(self, request, wire, keys):
        """Answers; None where it is not Google's."""
        if "/v1beta/" not in request.path:
            return None
        key = request.header("x-goog-api-key")
        if key not in keys:
            self.complaints.append(f"the key {key!r} of {request.method} {request.path}")
        status, headers, body = self.told(request, key)
        body = json.dumps(body).encode() if body is not None else b""
        return wire.send(answer(status, body, headers)) or True

    def told(self, request, key):
        nothing = (403, {}, {"error": {"code": 403, "message": "You do not have permission to access the File", "status": "PERMISSION_DENIED"}})
        match [request.method, *request.path.strip("/").split("/")]:
            case ["POST", "upload", "v1beta", "files"] if not request.query:
                return self.begin(request, key)
            case ["POST", "upload", "v1beta", "files"]:
                return self.piece(request, key)
            case ["GET", "v1beta", "files", id] if self.files.get(f"files/{id}", [0])[0] == key:
                return 200, {}, self.files[f"files/{id}"][2]
            case ["DELETE", "v1beta", "files", id] if self.files.get(f"files/{id}", [0])[0] == key:
                del self.files[f"files/{id}"]
                return 200, {}, {}
            case ["POST", "v1beta", "models", call] if call == "real:generateContent":
                parts = request.json()["contents"][0]["parts"]
                files = [part["fileData"] for part in parts if "fileData" in part]
                # Google reads either way of writing, and its SDKs write both.
                names = [file.get("fileUri") or file["file_uri"] for file in files]
                self.asked.append((names, key))
                texts = []
                for name in names:
                    kept = self.files.get(name.removeprefix(URI))
                    if not name.startswith(URI) or not kept or kept[0] != key:
                        self.complaints.append(f"{name} is no file of {key}")
                    texts.append(str(len(kept[1])) if kept else "nothing")
                content = {"role": "model", "parts": [{"text": " ".join(texts) or "no file"}]}
                usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
                return 200, {}, {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}
        return nothing

    def begin(self, request, key):
        told = {name: request.header(f"x-goog-upload-{name}") for name in ("protocol", "command")}
        length = request.header("x-goog-upload-header-content-length")
        if told != {"protocol": "resumable", "command": "start"} or not (length or "").isdigit():
            self.complaints.append(f"an upload begins with {told}, {length}")
        file = request.json().get("file", {})
        file.setdefault("mimeType", file.get("mime_type"))
        file.setdefault("displayName", file.get("display_name") or "")
        if "name" in file or file["mimeType"] != request.header("x-goog-upload-header-content-type"):
            self.complaints.append(f"an upload of {file}")
        if request.header("x-credentialflow-model"):
            self.complaints.append("a header of ours")
        id = secrets.token_hex(16)
        self.uploads[id] = [key, b"", int(length or 0), file]
        url = f"http://{request.header('host')}/upload/v1beta/files?upload_id={id}&upload_protocol=resumable"
        fields = {"x-goog-upload-url": url, "x-goog-upload-control-url": url, "x-goog-upload-status": "active"}
        return 200, {**fields, "x-goog-upload-chunk-granularity": "262144"}, None

    def piece(self, request, key):
        parameters = dict(one.split("=", 1) for one in request.query.split("&"))
        upload = self.uploads.get(parameters.get("upload_id"))
        wrong = lambda what: (self.complaints.append(what), (400, {"x-goog-upload-status": "final"}, {"error": {"code": 400, "message": what}}))[1]
        if parameters.get("upload_protocol") != "resumable" or upload is None:
            return wrong(f"an upload that is not there: {request.query}")
        if upload[0] != key:
            return wrong("another key than the upload began with")
        offset, command = request.header("x-goog-upload-offset"), request.header("x-goog-upload-command")
        if offset != str(len(upload[1])) or command not in ("upload", "upload, finalize"):
            return wrong(f"{command} at {offset}, not {len(upload[1])}")
        if command == "upload" and len(request.body) % 262144:
            return wrong(f"a piece of {len(request.body)} bytes")
        upload[1] += request.body
        if command == "upload":
            return 200, {"x-goog-upload-status": "active"}, None
        if len(upload[1]) != upload[2]:
            return wrong(f"{len(upload[1])} bytes, not {upload[2]}")
        name = f"files/there-{secrets.token_hex(4)}"
        expires = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() + 48 * 3600))
        told = {"name": name, "displayName": upload[3]["displayName"], "mimeType": upload[3]["mimeType"], "uri": URI + name,
                "sizeBytes": str(len(upload[1])), "createTime": "2026-11-23T00:00:00Z", "updateTime": "2026-11-23T00:00:00Z",
                "expirationTime": expires, "sha256Hash": "eA==", "state": "ACTIVE", "source": "UPLOADED"}
        self.files[name] = (key, upload[1], told)
        del self.uploads[parameters["upload_id"]]
        return 200, {"x-goog-upload-status": "final"}, {"file": told}


def python_sdk():
    """`google-genai`, in the environment of the other suites."""
    def make(venv):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", "google-genai>=3,<4"], check=True)

    return Sdk("Google", [cached("sdk-python-google", make) / "bin/python", HERE / "google_sdk.py"])


def node_sdk():
    """`@google/genai`, in the folder of the other suites."""
    def make(folder):
        (folder / "package.json").write_text('{"private": true}')
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "@google/genai@2"], cwd=folder, check=True)

    return Sdk("Google's for Node", ["node", HERE / "google_sdk.mjs"], {"E2E_NODE": str(cached("sdk-node-google", make))})


def checks(suite, one, google, keys, forget):
    """The checks. `keys`: those of the applications `app` and `twin`. `forget`: what the log must not hold gets added to it."""
    sdks = suite.prepare("Google's SDKs can be installed from PyPI and npm, or are there", lambda: [python_sdk(), node_sdk()])
    python = sdks[0]

    def ask(what, who="app", sdk=python, **body):
        headers = body.pop("headers", None)
        return sdk.do(what, one.gateway_url, keys[who], body=body, headers=headers)

    def got(what, who="app", sdk=python, **body):
        told = ask(what, who, sdk, **body)
        holds("error" not in told, f"{what}: {told}")
        return told["answer"]

    def refused(status, words, what, who="app", **body):
        told = ask(what, who, **body)
        equal(told.get("status"), status, f"{what}: {told}")
        holds(words in told["message"], f"{words!r} is not in {told['message']!r}")

    def begin(key=None):
        """An upload that is begun by hand: the path and query of its address."""
        headers = {"x-goog-api-key": key or keys["app"], "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start",
                   "x-goog-upload-header-content-length": str(len(HELLO)), "x-goog-upload-header-content-type": "text/plain"}
        told = one.gateway.send("POST", "/upload/v1beta/files", headers, {"file": {"mimeType": "text/plain"}})
        equal(told.status, 200, f"begins: {told}")
        address = urlsplit(told.headers["x-goog-upload-url"])
        equal(f"{address.scheme}://{address.netloc}", one.gateway_url, "the address of the gateway")
        forget.append(dict(p.split("=", 1) for p in address.query.split("&"))["upload_id"])
        return f"{address.path}?{address.query}"

    def piece(path, body=HELLO, command="upload, finalize"):
        return one.gateway.send("POST", path, {"x-goog-upload-command": command, "x-goog-upload-offset": "0"}, body)

    @suite.check("google-genai: files of 20 MiB go up in pieces, and calls read them by names of ours")
    def _():
        for sdk in sdks:
            large = secrets.token_bytes(20 << 20)
            with tempfile.NamedTemporaryFile(suffix=".txt") as file:
                file.write(large)
                file.flush()
                seen = len(google.files)
                told = got("upload", sdk=sdk, path=file.name, display_name="a report")
            equal(len(google.files), seen + 1, f"{sdk.name}: at the provider")
            there, kept = list(google.files.items())[-1]
            holds(kept[1] == large, f"{sdk.name}: as it was")
            name, uri = told["name"], told["uri"]
            own = name.removeprefix("files/")
            holds(name.startswith("files/") and own.isalnum() and own == own.lower() and len(own) <= 40, f"{sdk.name}: {told}")
            equal(uri, URI + name, "its address")
            holds(there not in json.dumps(told), f"{sdk.name}: nothing of the provider's own name: {told}")
            equal(got("file", sdk=sdk, name=name), told, f"{sdk.name}: is told again")
            equal(got("ask", sdk=sdk, to="gem", names=[name]), str(len(large)), f"{sdk.name}: is read")
            equal(google.asked[-1][0], [URI + there], f"{sdk.name}: by the provider's own address")
            more = [got("upload", text=f"file {n}")["name"] for n in range(3)]
            equal(got("files", sdk=sdk), [*more[::-1], name], f"{sdk.name}: all pages, the newest first")
            for gone in [name, *more]:
                equal(got("delete", sdk=sdk, name=gone), None, f"{sdk.name}: is deleted")
            equal((got("files", sdk=sdk), there in google.files), ([], False), f"{sdk.name}: and gone")
            refused(400, "not uploaded here by this application", "ask", to="gem", uris=[uri])
        told = lambda: {(row["route"], row["outcome"]) for row in one.api.get("/calls?application=app&limit=1000")["items"]}
        routes = {(f"gemini-file-{what}", "served") for what in ("upload", "upload-v1", "piece")}
        eventually(lambda: routes <= told(), lambda: f"the call log has {told()}", 30)

    @suite.check("google-genai: another application's files, and the provider's own, are unknown")
    def _():
        file = got("upload", text="mine", display_name="x")
        holds("expirationTime" in json.dumps(file) or "expiration_time" in file, f"when it ends is told: {file}")
        asked = len(google.asked)
        there = list(google.files)[-1]
        for who, uri in (("twin", file["uri"]), ("app", URI + there), ("app", URI + "files/nothing")):
            refused(400, "not uploaded here by this application", "ask", who, to="gem", uris=[uri])
            name = uri.removeprefix(URI)
            for what in ("file", "delete"):
                refused(404, "no such file", what, who, name=name)
        equal(got("files", "twin"), [], "is not listed")
        refused(400, "can be read by models alone", "download", name=file["name"])
        refused(400, "files get their names here", "upload", text="x", config={"name": "mine"})
        refused(404, "no such model", "upload", text="x", headers={"x-credentialflow-model": "nothing"})
        equal(len(google.asked), asked, "calls at the provider")
        holds(there in google.files, "is there still")
        equal(got("delete", name=file["name"]), None, "its own application deletes it")

    @suite.check("google-genai: the address of an upload opens this upload alone, and ends with its key")
    def _():
        own = begin()
        path, _, query = own.partition("?")
        seen = len(google.uploads)
        altered = query[:60] + ("A" if query[60] != "A" else "B") + query[61:]
        for forged in (f"{path}?{altered}", path, f"{path}?upload_id={keys['app']}", own.replace("upload_id=", "upload_id=x")):
            told = piece(forged)
            equal((told.status, told.json()["error"]["status"]), (401, "UNAUTHENTICATED"), f"{forged}: {told}")
        told = one.gateway.send("GET", "/v1beta/files", {"x-goog-api-key": query.split("&")[0].removeprefix("upload_id=")})
        equal(told.status, 401, "an address is no key")
        told = piece(own)
        equal((told.status, told.json()["file"]["sizeBytes"]), (200, str(len(HELLO))), "the address itself")
        equal(len(google.uploads), seen - 1, "nothing else went to the provider")
        told = piece(own)
        equal(told.status, 400, "an upload that is over takes nothing more")
        google.complaints.remove(next(one for one in google.complaints if "not there" in one))
        equal(got("delete", name=f"{got('files')[0]}"), None, "is deleted")
        # The key is revoked in the middle of an upload.
        secret = one.api.issue("for-an-upload", "app")[1]
        begun = begin(secret)
        one.api.post("/keys/for-an-upload/revoke")
        eventually(lambda: piece(begun).status == 401, "the pieces of a revoked key are taken", 10)
        equal(got("files"), [], "no file came of it")
