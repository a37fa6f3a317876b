"""What the suites of the official SDKs share: the SDK in a process of its own, the provider that replays a recording, and
what a recording says, whatever dialect it is in."""

import json
import os
import subprocess

from refusals import refused
from upstream import Upstream, answer, chunk, stream_head


class Replay:
    """The provider: answers with the recording that is played, whatever is asked, unless providers refuse it."""

    def __init__(self):
        self.recording = None
        self.error = None
        self.upstream = Upstream(self.play)

    def play(self, request, wire):
        if self.error:
            return wire.send(answer(*self.error))
        if refusal := refused(request):
            return wire.send(answer(*refusal))
        if request.path.endswith("/count_tokens"):
            return wire.send(answer(200, b'{"input_tokens":14}'))
        if request.path.endswith("/input_tokens"):
            return wire.send(answer(200, b'{"object":"response.input_tokens","input_tokens":15}'))
        if request.path.endswith(":countTokens"):
            return wire.send(answer(200, b'{"totalTokens":14}'))
        if not self.recording.streamed:
            return wire.send(answer(200, self.recording.response))
        wire.send(stream_head(self.recording.content_type))
        # Cut where no event ends, as networks do.
        data = self.recording.response
        pieces = [chunk(data[at : at + 777]) for at in range(0, len(data), 777)]
        # The end comes with the last of them: an SDK that has read all events leaves, as if it had not waited for it.
        for piece in [*pieces[:-1], b"".join([*pieces[-1:], chunk(b"")])]:
            wire.send(piece)


class Sdk:
    """One SDK in a process of its own."""

    def __init__(self, name, command, env=None):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **(env or {})}, text=True
        )

    def do(self, what, base_url, key, **more):
        self.process.stdin.write(json.dumps({"do": what, "base_url": base_url, "key": key, **more}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the {self.name} SDK's process ended"
        return json.loads(line)


def blocks_of_response(response):
    """The items of a response, in the words of a message: blocks."""
    blocks, texts, thoughts = [], "", []
    for item in response["output"]:
        if item["type"] == "reasoning":
            thoughts += [part["text"] for part in item["summary"] if part["text"]]
        if item["type"] == "message":
            texts += "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
        if item["type"] == "function_call":
            arguments = json.loads(item["arguments"] or "{}")
            blocks.append({"id": item["call_id"], "name": item["name"], "input": arguments})
    first = [{"thinking": "".join(thoughts)}] if thoughts else []
    return first + ([{"text": texts}] if texts else []) + blocks


def recorded_message(recording):
    """What a recorded message says: its words, the tools it calls and their input as it was sent."""
    said = {"words": "", "called": [], "arguments": ""}
    if not recording.streamed:
        # As the bytes stood, which is how they come.
        for block in json.loads(recording.response)["content"]:
            said["words"] += block["text"] if block["type"] == "text" else ""
            if block["type"] == "tool_use":
                said["called"].append(block["name"])
                said["arguments"] += json.dumps(block["input"], ensure_ascii=False)
        return said
    open_tools = {}
    for line in recording.response.splitlines():
        event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        block, delta = event.get("content_block") or {}, event.get("delta") or {}
        said["words"] += block.get("text") or "" if block.get("type") == "text" else ""
        if block.get("type") == "tool_use":
            said["called"].append(block["name"])
            open_tools[event["index"]] = ""
        if delta.get("type") == "text_delta":
            said["words"] += delta["text"]
        if delta.get("type") == "input_json_delta" and event["index"] in open_tools:
            open_tools[event["index"]] += delta["partial_json"]
    said["arguments"] = "".join(part or "{}" for part in open_tools.values())
    return said


def recorded_completion(recording):
    """What a recorded chat completion says, in the words of a message: blocks, and why it stopped."""
    texts, thoughts, calls, stop = "", "", [], None
    if recording.streamed:
        lines = [line[6:] for line in recording.response.splitlines() if line.startswith(b"data: {")]
        choices = [choice for line in lines for choice in json.loads(line)["choices"]]
        parts = [(choice["delta"], choice.get("finish_reason")) for choice in choices if not choice.get("index")]
    else:
        choice = next(c for c in json.loads(recording.response)["choices"] if not c.get("index"))
        parts = [(choice["message"], choice["finish_reason"])]
    for said, finish in parts:
        stop = finish or stop
        content = said.get("content") or ""
        if isinstance(content, list):
            thoughts += "".join(t["text"] for part in content for t in part.get("thinking") or [])
            content = "".join(part.get("text") or "" for part in content)
        texts += content + (said.get("refusal") or "")
        thoughts += said.get("reasoning_content") or said.get("reasoning") or ""
        for call in said.get("tool_calls") or []:
            if call.get("id") or not recording.streamed:
                calls.append([call["id"], call["function"]["name"], ""])
            calls[-1][2] += call["function"].get("arguments") or ""
    # Some providers give their calls no id, and no caller could answer them.
    answer_id = json.loads(lines[0] if recording.streamed else recording.response)["id"]
    calls = [[id or f"call_{answer_id}_{n}", *rest] for n, (id, *rest) in enumerate(calls)]
    blocks = [{"thinking": thoughts}] if thoughts else []
    blocks += [{"text": texts}] if texts else []
    blocks += [{"id": id, "name": name, "input": json.loads(arguments or "{}")} for id, name, arguments in calls]
    return blocks, "max_tokens" if stop == "length" else "tool_use" if calls else "end_turn"


def signed_by_google(recording):
    """What Google signed of what a recorded chat completion says, without its calls; `None` where it signed nothing."""
    if recording.streamed:
        return None
    choice = next(c for c in json.loads(recording.response)["choices"] if not c.get("index"))
    return ((choice["message"].get("extra_content") or {}).get("google") or {}).get("thought_signature")


def generated(parts):
    """What parts of an answer of Gemini's say: words, thinking, the functions they call, in the end why it stopped."""
    words, thinking, calls, reason = "", "", [], None
    for part in parts:
        for candidate in part.get("candidates") or []:
            reason = candidate.get("finishReason") or candidate.get("finish_reason") or reason
            for said in (candidate.get("content") or {}).get("parts") or []:
                text = said.get("text") or ""
                words, thinking = (words, thinking + text) if said.get("thought") else (words + text, thinking)
                call = said.get("functionCall") or said.get("function_call")
                if call:
                    calls.append((call["name"], call.get("args") or {}))
    return words, thinking, calls, reason


def recorded_words(recording):
    """What a recording of any dialect says: its words, and the tools it calls, each with its input."""
    if recording.path == "/chat/completions":
        blocks, _ = recorded_completion(recording)
    elif recording.path == "/responses":
        blocks = blocks_of_response(recording.final_response())
    elif recording.path == "/messages":
        blocks = _blocks_of_message(recording)
    elif recording.path == "/converse":
        blocks = _blocks_of_converse(recording)
    else:
        words, _, calls, _ = generated(recording.parts())
        return words, calls
    return "".join(b.get("text", "") for b in blocks), [(b["name"], b["input"]) for b in blocks if "name" in b]


def _blocks_of_message(recording):
    """The text and the calls of a recorded message."""
    if not recording.streamed:
        return [b for b in json.loads(recording.response)["content"] if b["type"] in ("text", "tool_use")]
    blocks = {}
    for line in recording.response.splitlines():
        event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        if event.get("type") == "content_block_start" and event["content_block"]["type"] in ("text", "tool_use"):
            blocks[event["index"]] = {**event["content_block"], "arguments": ""}
        if event.get("type") == "content_block_delta" and event["index"] in blocks:
            block, delta = blocks[event["index"]], event["delta"]
            if "text" in delta:
                block["text"] += delta["text"]
            block["arguments"] += delta.get("partial_json", "")
    for block in blocks.values():
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["arguments"] or "{}")
    return list(blocks.values())


def _blocks_of_converse(recording):
    """The text and the calls of a recorded answer of Converse, but for calls of tools that AWS runs itself."""
    if not recording.streamed:
        content, blocks = json.loads(recording.response)["output"]["message"]["content"], []
        for block in content:
            texts = [block, *(block.get("citationsContent") or {}).get("content", [])]
            blocks += [{"text": part["text"]} for part in texts if "text" in part]
            blocks += [block["toolUse"]] if "toolUse" in block else []
    else:
        found = {}
        for event in recording.events():
            index, start, delta = event.get("contentBlockIndex"), event.get("start") or {}, event.get("delta") or {}
            if "toolUse" in start:
                found[index] = {**start["toolUse"], "arguments": ""}
            if "text" in delta:
                found.setdefault(index, {"text": ""})["text"] += delta["text"]
            if "toolUse" in delta:
                found[index]["arguments"] += delta["toolUse"]["input"]
        blocks = list(found.values())
        for block in blocks:
            if "name" in block:
                block["input"] = json.loads(block["arguments"] or "{}")
    return [block for block in blocks if block.get("type") != "server_tool_use"]
