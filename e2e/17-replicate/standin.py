"""A stand-in for Replicate: predictions that are made at once, while somebody waits, or later; their streams, at an address
of the same host that serves nobody who shows a credential."""

import itertools
import json
import threading
import time

from upstream import Upstream, answer, chunk, stream_head

MODELS = ("/v1/models/meta/meta-llama-3-70b-instruct", "/v1/models/openai/gpt-5", "/v1/deployments/acme/chat")
METRICS = {"predict_time": 0.4, "input_token_count": 20, "output_token_count": 8, "tokens_per_second": 20.0}


class Replicate(Upstream):
    """Says what it was asked. `slow` is how long it takes, in seconds."""

    def __init__(self, token):
        super().__init__(self.serve)
        self.token, self.slow, self.how = token, 0.0, "well"
        self.made, self.ids, self.kept = {}, itertools.count(1), threading.Lock()
        self.strange, self.canceled = [], []

    def forget(self):
        super().forget()
        self.strange, self.canceled = [], []

    def serve(self, request, wire):
        path = request.path
        if path.startswith("/v1/streams/"):
            return self.stream(path.rsplit("/", 1)[1], request, wire)
        if request.header("authorization") not in (f"Bearer {self.token}", f"Token {self.token}"):
            return wire.send(answer(401, {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}))
        if request.method == "POST" and path.endswith("/predictions"):
            return self.make(request, wire)
        _, _, _, name, *rest = path.split("/")
        made = self.made.get(name)
        if made is None:
            return wire.send(answer(404, {"title": "Not found", "detail": "The requested resource does not exist.", "status": 404}))
        if rest == ["cancel"]:
            self.canceled.append(name)
            made["ended"] = True
        wire.send(answer(200, self.shown(made)))

    def make(self, request, wire):
        call = request.json()
        model = request.path.removesuffix("/predictions")
        problem = None
        if model not in MODELS and not (model == "/v1" and len(call.get("version", "").rpartition(":")[2]) == 64):
            problem = (404, "The requested resource does not exist.")
        elif not isinstance(call.get("input", {}).get("prompt"), str):
            problem = (422, "- input: prompt is required\n")
        elif self.how == "throttled":
            problem = (429, "Request was throttled. Your rate limit resets in ~30s.")
        if problem:
            return wire.send(answer(problem[0], {"title": "Refused", "detail": problem[1], "status": problem[0]}))
        id = f"rep{next(self.ids):023d}x"
        host = request.header("host")
        self.made[id] = {"id": id, "input": call["input"], "ready": time.monotonic() + self.slow, "ended": False, "host": host}
        wait = request.header("prefer") or ""
        if wait.startswith("wait"):
            time.sleep(min(self.slow, float(wait.partition("=")[2] or 60)))
        wire.send(answer(201, self.shown(self.made[id])))

    @staticmethod
    def words(given):
        pictures = [given["image"]] if "image" in given else given.get("image_input", [])
        told = {name: value for name, value in given.items() if name not in ("image", "image_input")}
        return f"Seen: {len(pictures)} pictures\nand {json.dumps(told, ensure_ascii=False, sort_keys=True)} — done."

    def shown(self, made):
        over = time.monotonic() >= made["ready"]
        status = "canceled" if made["ended"] else "processing" if not over else "failed" if self.how == "broken" else "succeeded"
        said = self.words(made["input"])
        parts = [said[at : at + 5] for at in range(0, len(said), 5)]
        at = f"http://{made['host']}/v1"
        return {
            "id": made["id"], "model": "meta/meta-llama-3-70b-instruct", "version": "hidden", "input": made["input"], "logs": "",
            "output": parts if status == "succeeded" else None, "data_removed": False, "status": status,
            "error": "Prediction failed: out of memory" if status == "failed" else None, "created_at": "2026-11-23T10:00:00Z",
            "metrics": METRICS if status == "succeeded" else {},
            "urls": {"get": f"{at}/predictions/{made['id']}", "cancel": f"{at}/predictions/{made['id']}/cancel", "stream": f"{at}/streams/{made['id']}"},
        }

    def stream(self, id, request, wire):
        if request.header("accept") != "text/event-stream":
            self.strange.append("no stream was asked for")
        made = self.made[id]
        wire.send(stream_head())
        said = self.words(made["input"])
        for number, at in enumerate(range(0, len(said), 5)):
            lines = "".join(f"data: {line}\n" for line in said[at : at + 5].split("\n"))
            data = f"event: output\nid: 17:{number}\n{lines}\n".encode()
            # Cut where no event ends, as networks do.
            for cut in range(0, len(data), 11):
                wire.send(chunk(data[cut : cut + 11]))
            if self.how == "broken" and number == 2:
                wire.send(chunk(b'event: error\ndata: {"detail": "Prediction failed: out of memory"}\n\n') + chunk(b""))
                return
            if self.how == "endless":
                time.sleep(0.05)
        wire.send(chunk(b"event: done\ndata: {}\n\n") + chunk(b""))
