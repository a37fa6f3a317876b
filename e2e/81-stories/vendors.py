"""Stand-ins for vendors of models: each speaks its dialect, says what it is told to, and counts 100 tokens in and 10 out."""

import json

from upstream import Upstream, answer, chunk, stream_head


class Vendor(Upstream):
    """Answers plain and streamed, or with a status."""

    def __init__(self, name):
        super().__init__(self.serve)
        self.name, self.says, self.status = name, "Hello.", 200

    def serve(self, request, wire):
        if self.status != 200:
            return wire.send(answer(self.status, {"error": {"type": "overloaded_error", "message": "overloaded"}}))
        call = request.json()
        text = self.says(call) if callable(self.says) else self.says
        if not self.streams(request, call):
            return wire.send(answer(200, self.whole(text)))
        wire.send(stream_head())
        for event in self.events(text):
            wire.send(chunk(event))
        wire.send(chunk(b""))

    def streams(self, request, call):
        return bool(call.get("stream"))


def data(event, name=None):
    return (f"event: {name}\n" if name else "").encode() + f"data: {json.dumps(event)}\n\n".encode()


class OpenAi(Vendor):
    """Chat Completions."""

    USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    HEAD = {"id": "1", "created": 1, "model": "m"}

    def whole(self, text):
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {**self.HEAD, "object": "chat.completion", "choices": [choice], "usage": self.USAGE}

    def events(self, text):
        head = {**self.HEAD, "object": "chat.completion.chunk"}
        for delta, finish in (({"role": "assistant", "content": ""}, None), ({"content": text}, None), ({}, "stop")):
            yield data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        yield data({**head, "choices": [], "usage": self.USAGE})
        yield b"data: [DONE]\n\n"


class Anthropic(Vendor):
    """Messages."""

    HEAD = {"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}

    def whole(self, text):
        usage = {"input_tokens": 100, "output_tokens": 10}
        return {**self.HEAD, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": usage}

    def events(self, text):
        usage = {"input_tokens": 100, "output_tokens": 1}
        start = {**self.HEAD, "content": [], "stop_reason": None, "usage": usage}
        yield data({"type": "message_start", "message": start}, "message_start")
        block = {"type": "text", "text": ""}
        yield data({"type": "content_block_start", "index": 0, "content_block": block}, "content_block_start")
        delta = {"type": "text_delta", "text": text}
        yield data({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")
        yield data({"type": "content_block_stop", "index": 0}, "content_block_stop")
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        yield data({"type": "message_delta", "delta": end, "usage": {"output_tokens": 10}}, "message_delta")
        yield data({"type": "message_stop"}, "message_stop")


class Google(Vendor):
    """Gemini's generateContent."""

    def streams(self, request, call):
        return "streamGenerateContent" in request.path

    def whole(self, text):
        candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m"}

    def events(self, text):
        yield data(self.whole(text))
