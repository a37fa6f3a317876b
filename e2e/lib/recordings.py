"""Recorded exchanges with model providers of every dialect: the project's own, and the public ones where they are found.

Public ones are looked for at `CREDENTIALFLOW_SUITES`, or at `../shared/suites` beside the repository.
"""

import json
import os
import pathlib
import struct

from installation import ROOT

#: Public recordings read of each kind; all of them are read by `crates/llm/tests/recordings.rs`.
MOST = 25


#: The content type of a stream in frames of AWS's own.
FRAMES = "application/vnd.amazon.eventstream"


def frames(data):
    """The headers, as they stand, and the JSON of each of AWS's frames; their checksums are not looked at."""
    at = 0
    while at < len(data):
        length, headers = struct.unpack(">II", data[at : at + 8])
        head, payload = data[at + 12 : at + 12 + headers], data[at + 12 + headers : at + length - 4]
        yield head, json.loads(payload or b"{}")
        at += length


class Recording:
    def __init__(self, name, path, body, response, streamed):
        self.name, self.path, self.body, self.response, self.streamed = name, path, body, response, streamed

    @property
    def content_type(self):
        if self.path == "/converse":
            return FRAMES if self.streamed else "application/json"
        return "text/event-stream" if self.streamed else "application/json"

    def events(self):
        """The JSON of each event of a stream, whether it came as an event of a page or in AWS's own frames."""
        if self.path == "/converse":
            return [payload for _, payload in frames(self.response)]
        return [json.loads(line[6:]) for line in self.response.splitlines() if line.startswith(b"data: {")]

    def message_usage(self):
        """The usage of a recorded message, the parts of a stream put together."""
        if not self.streamed:
            return json.loads(self.response)["usage"]
        found = {}
        for line in self.response.splitlines():
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                told = event.get("usage") or event.get("message", {}).get("usage") or {}
                found.update({name: value for name, value in told.items() if value is not None})
        return found

    def parts(self):
        """The parts of a recorded answer of Gemini's."""
        if not self.streamed:
            return [json.loads(self.response)]
        return [json.loads(line[6:]) for line in self.response.splitlines() if line.startswith(b"data: {")]

    def counts(self):
        """The largest of each of Gemini's counts."""
        found = {}
        for part in self.parts():
            for name, value in part.get("usageMetadata", {}).items():
                if isinstance(value, int):
                    found[name] = max(found.get(name, 0), value)
        return found

    def final_response(self):
        """The recorded response, of a stream the one that it ends with."""
        if not self.streamed:
            return json.loads(self.response)
        events = [json.loads(line[6:]) for line in self.response.splitlines() if line.startswith(b"data: {")]
        return events[-1]["response"]

    def usage(self):
        """The usage object the provider reported last, or None."""
        if not self.streamed:
            return json.loads(self.response).get("usage")
        found = None
        for line in self.response.splitlines():
            if line.startswith(b"data: {"):
                found = json.loads(line[6:]).get("usage") or found
        return found


def _folders(own, api):
    if own:
        yield ROOT / "crates/llm/tests/fixtures/own" / own
    public = pathlib.Path(os.environ.get("CREDENTIALFLOW_SUITES") or ROOT.parent / "shared/suites") / "llm" / api
    if public.is_dir():
        yield public
    else:
        print(f"      no public recordings at {public}; only the project's own are replayed")


def _whole(recording):
    """Whether an SDK can read it by itself: events end as they should, and everything is JSON."""
    try:
        if recording.streamed:
            events = [line[6:] for line in recording.response.splitlines() if line.startswith(b"data: ")]
            chunks = [json.loads(event) for event in events if event != b"[DONE]"]
            if recording.path == "/responses":
                return bool(chunks) and chunks[-1].get("type") in ("response.completed", "response.incomplete")
            if recording.path == "/messages":
                return bool(chunks) and chunks[-1].get("type") == "message_stop"
            return bool(chunks) and events[-1] == b"[DONE]" and all(chunk.get("choices") is not None for chunk in chunks)
        whole = json.loads(recording.response)
        if recording.path == "/responses":
            return whole.get("object") == "response" and whole.get("status") in ("completed", "incomplete")
        return whole.get("type") == "message" if recording.path == "/messages" else whole.get("object") == "chat.completion"
    except (ValueError, AttributeError):
        return False


def load_converse(own="converse"):
    """Every recording of an answer of Bedrock's Converse that is replayed."""
    found = []
    for folder in _folders(own, "bedrock/converse"):
        for meta_file in sorted(folder.glob("*.meta.json")):
            meta = json.loads(meta_file.read_text())
            response = pathlib.Path(str(meta_file)[: -len(".meta.json")] + ".response").read_bytes()
            if meta.get("status") == 200:
                name, streamed = meta_file.name[: -len(".meta.json")], meta["kind"] == "aws-eventstream"
                found.append(Recording(name, "/converse", None, response, streamed))
    return found


def load_gemini(own="generateContent", api="gemini/generateContent"):
    """Every recording of Gemini's generateContent that is replayed."""
    found = []
    for folder in _folders(own, api):
        for meta_file in sorted(folder.glob("*.meta.json")):
            meta = json.loads(meta_file.read_text())
            response = pathlib.Path(str(meta_file)[: -len(".meta.json")] + ".response").read_bytes()
            streamed = meta["kind"] == "sse"
            recording = Recording(meta_file.name[: -len(".meta.json")], meta.get("path"), None, response, streamed)
            # An array is how a stream comes that nobody asked events for, which the SDK never does.
            if b'"candidates"' in response and not response.startswith(b"["):
                found.append(recording)
    return found


def load(own="chat", api="openai/chat", path="/chat/completions"):
    """Every recording that is replayed, of one API; without `own` only the public ones."""
    found = []
    for folder in _folders(own, api):
        count = {True: 0, False: 0}
        for meta_file in sorted(folder.glob("*.meta.json")):
            meta = json.loads(meta_file.read_text())
            stem = str(meta_file)[: -len(".meta.json")]
            asked = meta.get("path") or path
            if not asked.endswith(path) or meta.get("status") != 200 or meta["kind"] not in ("json", "sse"):
                continue
            try:
                body = json.loads(pathlib.Path(stem + ".request").read_bytes())
            except (OSError, ValueError):
                continue
            if not isinstance(body, dict) or not body.get("input" if path == "/responses" else "messages"):
                continue
            streamed = meta["kind"] == "sse"
            response = pathlib.Path(stem + ".response").read_bytes()
            recording = Recording(meta_file.name[: -len(".meta.json")], path, body, response, streamed)
            if bool(body.get("stream")) == streamed and count[streamed] < MOST and _whole(recording):
                count[streamed] += 1
                found.append(recording)
    return found
