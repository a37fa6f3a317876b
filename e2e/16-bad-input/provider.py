"""The stand-in: a provider of all four dialects that misbehaves as the prompt asks it to (`how:NAME`).

Otherwise it is as strict about types as the real ones are: what it cannot take is refused in its own dialect.
"""

import json
import re

from upstream import Upstream, answer, chunk, stream_head

WORDS = "hello"
#: Tokens read and written that it counts unless it is to count wrongly.
READ, WRITTEN = 7, 3
EVENTS = "text/event-stream"
JSON = "application/json"


def dialect_of(path):
    if "/chat/completions" in path:
        return "chat"
    if "/responses" in path:
        return "responses"
    return "messages" if "/messages" in path else "gemini"


def usage(dialect, read, written):
    """What it counts, in its dialect."""
    if dialect == "chat":
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": 10}
    if dialect == "responses":
        return {"input_tokens": read, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 10}
    if dialect == "messages":
        return {"input_tokens": read, "output_tokens": written}
    return {"promptTokenCount": read, "candidatesTokenCount": written, "totalTokenCount": 10}


def whole(dialect, words=WORDS, counted=(READ, WRITTEN)):
    """An answer that is right."""
    used = usage(dialect, *counted)
    if dialect == "chat":
        message = {"role": "assistant", "content": words}
        return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": used}
    if dialect == "responses":
        item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": words, "annotations": []}]}
        return {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": used}
    if dialect == "messages":
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": words}], "stop_reason": "end_turn", "stop_sequence": None, "usage": used}
    content = {"role": "model", "parts": [{"text": words}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "usageMetadata": used, "modelVersion": "m", "responseId": "r1"}


def event(data, name=None):
    """One event."""
    text = data if isinstance(data, str) else json.dumps(data)
    return ((f"event: {name}\n" if name else "") + f"data: {text}\n\n").encode()


def begins(dialect, words=WORDS):
    """The events of a stream up to its first words."""
    if dialect == "chat":
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return [event({**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": words}, "finish_reason": None}]})]
    if dialect == "responses":
        response = {**whole(dialect), "status": "in_progress", "output": [], "usage": None}
        item = {"type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        return [
            event({"type": "response.created", "sequence_number": 0, "response": response}, "response.created"),
            event({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item}, "response.output_item.added"),
            event({"type": "response.content_part.added", "sequence_number": 2, **where, "part": part}, "response.content_part.added"),
            event({"type": "response.output_text.delta", "sequence_number": 3, **where, "delta": words, "logprobs": []}, "response.output_text.delta"),
        ]
    if dialect == "messages":
        message = {**whole(dialect), "content": [], "stop_reason": None, "usage": {"input_tokens": READ, "output_tokens": 1}}
        return [
            event({"type": "message_start", "message": message}, "message_start"),
            event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start"),
            more(dialect, words),
        ]
    return [event({"candidates": [{"content": {"role": "model", "parts": [{"text": words}]}, "index": 0}], "modelVersion": "m", "responseId": "r1"})]


def more(dialect, words):
    """One event more of the same words."""
    if dialect == "messages":
        return event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}}, "content_block_delta")
    return begins(dialect, words)[-1]


def ends(dialect, words=WORDS, counted=(READ, WRITTEN)):
    """The events of a stream behind its words."""
    used = usage(dialect, *counted)
    if dialect == "chat":
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        stop = {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        return [event(stop), event({**base, "choices": [], "usage": used}), event("[DONE]")]
    if dialect == "responses":
        response = whole(dialect, words, counted)
        item, where = response["output"][0], {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        return [
            event({"type": "response.output_text.done", "sequence_number": 4, **where, "text": words, "logprobs": []}, "response.output_text.done"),
            event({"type": "response.content_part.done", "sequence_number": 5, **where, "part": item["content"][0]}, "response.content_part.done"),
            event({"type": "response.output_item.done", "sequence_number": 6, "output_index": 0, "item": item}, "response.output_item.done"),
            event({"type": "response.completed", "sequence_number": 7, "response": response}, "response.completed"),
        ]
    if dialect == "messages":
        return [
            event({"type": "content_block_stop", "index": 0}, "content_block_stop"),
            event({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"input_tokens": counted[0], "output_tokens": counted[1]}}, "message_delta"),
            event({"type": "message_stop"}, "message_stop"),
        ]
    return [event({"candidates": [{"content": {"role": "model", "parts": []}, "finishReason": "STOP", "index": 0}], "usageMetadata": used, "modelVersion": "m", "responseId": "r1"})]


def error(dialect, status, message="the model is on fire"):
    """An error as its dialect has it."""
    if dialect in ("chat", "responses"):
        return {"error": {"message": message, "type": "server_error", "param": None, "code": "on_fire"}}
    if dialect == "messages":
        return {"type": "error", "error": {"type": "api_error", "message": message}}
    return {"error": {"code": status, "message": message, "status": "INTERNAL"}}


def error_event(dialect):
    """An error within a stream."""
    told = error(dialect, 500)
    if dialect == "responses":
        failed = {**whole(dialect), "status": "failed", "output": [], "error": {"code": "server_error", "message": "the model is on fire"}, "usage": None}
        return event({"type": "response.failed", "sequence_number": 4, "response": failed}, "response.failed")
    return event(told, "error" if dialect == "messages" else None)


#: A page as proxies send it.
PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>Bad gateway</body></html>"
#: Counts of tokens that are none.
COUNTS = {
    "negative": (-7, -3),
    "negative-output": (7, -3),
    "fractions": (7.5, 3.25),
    "texts": ("7", "3"),
    "nothing": (None, None),
    "lists": ([7], {"a": 3}),
}


class Provider(Upstream):
    """Answers each call as its prompt says."""

    def __init__(self):
        super().__init__(self.serve)

    def serve(self, request, wire):
        dialect = dialect_of(request.path)
        if len(request.body) > 8 << 20:
            # Read by nobody but for how it was sent: what is large is the prompt.
            self.forget()
            return self.right(wire, dialect, b'"stream":true' in request.body)
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            return wire.send(answer(400, error(dialect, 400, "this is not JSON")))
        if wrong := refusal(dialect, body):
            return wire.send(answer(400, error(dialect, 400, wrong)))
        streamed = "streamGenerateContent" in request.path if dialect == "gemini" else body.get("stream") is True
        found = re.search(rb"how:([a-z0-9-]+)", request.body)
        how = found[1].decode() if found else "ok"
        if how.startswith("count-"):
            return self.right(wire, dialect, streamed, {**COUNTS, "huge": (10**30, 10**30)}[how.removeprefix("count-")])
        behaviour = getattr(self, how.replace("-", "_"), None)
        assert behaviour, how
        return behaviour(wire, dialect, streamed)

    # ---- what it should do ------------------------------------------------------------------

    def right(self, wire, dialect, streamed, counted=(READ, WRITTEN)):
        if not streamed:
            return wire.send(answer(200, whole(dialect, counted=counted)))
        wire.send(stream_head())
        for piece in begins(dialect) + ends(dialect, counted=counted):
            wire.send(chunk(piece))
        return wire.send(chunk(b""))

    def ok(self, wire, dialect, streamed):
        return self.right(wire, dialect, streamed)

    def error_500(self, wire, dialect, streamed):
        wire.send(answer(500, error(dialect, 500)))

    def error_429(self, wire, dialect, streamed):
        wire.send(answer(429, error(dialect, 429), {"retry-after": "0"}))

    # ---- pages and other types --------------------------------------------------------------

    def html_200(self, wire, dialect, streamed):
        wire.send(answer(200, PAGE, {"content-type": "text/html; charset=utf-8"}))

    def html_502(self, wire, dialect, streamed):
        wire.send(answer(502, PAGE, {"content-type": "text/html"}))

    def html_chunked_503(self, wire, dialect, streamed):
        wire.send(b"HTTP/1.1 503 x\r\ncontent-type: text/html\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(PAGE[:20]))
        wire.send(chunk(PAGE[20:]) + chunk(b""))

    def html_as_json(self, wire, dialect, streamed):
        wire.send(answer(200, PAGE))

    def html_as_events(self, wire, dialect, streamed):
        wire.send(stream_head() + chunk(PAGE) + chunk(b""))

    def text_200(self, wire, dialect, streamed):
        wire.send(answer(200, b"upstream connect error or disconnect/reset before headers", {"content-type": "text/plain"}))

    def text_503(self, wire, dialect, streamed):
        wire.send(answer(503, b"no healthy upstream", {"content-type": "text/plain"}))

    def nothing_500(self, wire, dialect, streamed):
        wire.send(b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n")

    def json_as_html(self, wire, dialect, streamed):
        wire.send(answer(200, whole(dialect), {"content-type": "text/html"}))

    def json_as_text(self, wire, dialect, streamed):
        wire.send(answer(200, whole(dialect), {"content-type": "text/plain; charset=utf-8"}))

    def events_as_json(self, wire, dialect, streamed):
        wire.send(stream_head(JSON) + b"".join(chunk(piece) for piece in begins(dialect) + ends(dialect)) + chunk(b""))

    def other_kind(self, wire, dialect, streamed):
        """A stream for who asks for none, and the other way round."""
        return self.right(wire, dialect, not streamed)

    # ---- answers that are none --------------------------------------------------------------

    def error_in_200(self, wire, dialect, streamed):
        if not streamed:
            return wire.send(answer(200, error(dialect, 500)))
        return wire.send(stream_head() + chunk(error_event(dialect)) + chunk(b""))

    def plain_error_in_200(self, wire, dialect, streamed):
        """Also for who asks for a stream."""
        wire.send(answer(200, error(dialect, 500)))

    def error_within(self, wire, dialect, streamed):
        if not streamed:
            return wire.send(answer(200, error(dialect, 500)))
        return wire.send(stream_head() + b"".join(chunk(p) for p in begins(dialect)) + chunk(error_event(dialect)) + chunk(b""))

    def empty(self, wire, dialect, streamed):
        if streamed:
            return wire.send(stream_head() + chunk(b""))
        return wire.send(answer(200, b""))

    def null(self, wire, dialect, streamed):
        if streamed:
            return wire.send(stream_head() + chunk(event("null")) + chunk(b""))
        return wire.send(answer(200, b"null"))

    def nested(self, wire, dialect, streamed):
        deep = b"[" * 100_000
        if streamed:
            return wire.send(stream_head() + chunk(b"data: " + deep + b"\n\n") + chunk(b""))
        return wire.send(answer(200, deep + b"]" * 100_000))

    def half(self, wire, dialect, streamed):
        """JSON that ends in the middle, with the right length."""
        if streamed:
            return self.cut_clean(wire, dialect, streamed)
        whole_body = json.dumps(whole(dialect)).encode()
        return wire.send(answer(200, whole_body[: len(whole_body) // 2]))

    def not_utf8(self, wire, dialect, streamed):
        if streamed:
            wire.send(stream_head() + chunk(begins(dialect, "WORDS")[-1].replace(b"WORDS", b"a\xff\xfeb")))
            return wire.send(b"".join(chunk(p) for p in ends(dialect)) + chunk(b""))
        return wire.send(answer(200, json.dumps(whole(dialect, "WORDS")).encode().replace(b"WORDS", b"a\xff\xfeb")))

    # ---- cut ---------------------------------------------------------------------------------

    def cut(self, wire, dialect, streamed):
        """Within an event, or within the body."""
        if streamed:
            first = begins(dialect)
            wire.send(stream_head() + b"".join(chunk(p) for p in first) + chunk(more(dialect, WORDS)[:-9]))
        else:
            body = json.dumps(whole(dialect)).encode()
            wire.send(answer(200, body[:-9], {"content-length": len(body)}))
        return False

    def cut_clean(self, wire, dialect, streamed):
        """Within an event, and then the proper end of the body. Of a whole answer that is `half`."""
        if not streamed:
            return self.cut(wire, dialect, streamed)
        pieces = begins(dialect) + [more(dialect, WORDS)[:-9]]
        return wire.send(stream_head() + b"".join(chunk(p) for p in pieces) + chunk(b""))

    def cut_at_once(self, wire, dialect, streamed):
        """Behind the head."""
        wire.send(stream_head() if streamed else answer(200, b"", {"content-length": 100}))
        return False

    def reset(self, wire, dialect, streamed):
        wire.reset()
        return False

    # ---- without an end ----------------------------------------------------------------------

    def endless_words(self, wire, dialect, streamed):
        piece = chunk(more(dialect, "x" * 2000) * 16)
        wire.send(stream_head() + b"".join(chunk(p) for p in begins(dialect)))
        while True:
            wire.send(piece)

    def endless_comments(self, wire, dialect, streamed):
        piece = chunk(b": still there\n\n" * 2000)
        wire.send(stream_head())
        while True:
            wire.send(piece)

    def endless_event(self, wire, dialect, streamed):
        wire.send(stream_head() + chunk(b'data: {"choices": "'))
        while True:
            wire.send(chunk(b"x" * 32768))

    def endless_body(self, wire, dialect, streamed):
        wire.send(stream_head(JSON) + chunk(b'{"id": "'))
        while True:
            wire.send(chunk(b"x" * 32768))


# ---- what it cannot take ---------------------------------------------------------------------


def refusal(dialect, body):
    """What is wrong with the types of a call, as far as callers here get them wrong."""
    if not isinstance(body, dict):
        return "the body is no object"
    turns = body.get({"chat": "messages", "responses": "input", "messages": "messages", "gemini": "contents"}[dialect])
    said = "parts" if dialect == "gemini" else "content"
    if not (dialect == "responses" and isinstance(turns, str)):
        if not isinstance(turns, list) or not turns:
            return "there are no turns"
        for turn in turns:
            if not isinstance(turn, dict) or not isinstance(turn.get("role", ""), str):
                return "a turn is wrong"
            if not isinstance(turn.get(said, ""), (str, list)) or (dialect == "gemini" and not isinstance(turn.get(said), list)):
                return "what a turn says is wrong"
            if isinstance(turn.get(said), list) and not all(isinstance(part, dict) for part in turn[said]):
                return "a part is wrong"
    own = body.get("generationConfig", {}) if dialect == "gemini" else body
    if not isinstance(own, dict):
        return "the settings are wrong"
    for name in ("max_tokens", "max_output_tokens", "maxOutputTokens", "max_completion_tokens"):
        most = own.get(name)
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            return f"{name} is wrong"
    temperature = own.get("temperature")
    if temperature is not None and not isinstance(temperature, (int, float)):
        return "temperature is wrong"
    tools = body.get("tools")
    if tools is not None and (not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools)):
        return "the tools are wrong"
    if not isinstance(body.get("stream", False), (bool, type(None))):
        return "stream is wrong"
    return None
