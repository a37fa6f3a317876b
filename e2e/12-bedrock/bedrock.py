"""A stand-in for AWS Bedrock: verifies each signature with botocore, judges each call by botocore's description of the
service, and answers with Converse answers, whole and in AWS's frames, that botocore reads."""

import base64
import json
import struct
import threading
import urllib.parse
import zlib

from upstream import Upstream, answer, chunk, stream_head

FRAMES = "application/vnd.amazon.eventstream"
OPERATIONS = {"converse": "Converse", "converse-stream": "ConverseStream", "count-tokens": "CountTokens"}
COUNTED = 2095
USAGE = {"inputTokens": 20, "outputTokens": 8, "totalTokens": 128, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 0}


def frame(headers, payload):
    """A message of AWS's event stream."""
    block = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode() for name, value in headers
    )
    head = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    head += struct.pack(">I", zlib.crc32(head))
    return head + block + payload + struct.pack(">I", zlib.crc32(head + block + payload))


def event(name, said):
    headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")]
    return frame(headers, json.dumps(said).encode())


def thrown(name, message):
    headers = [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")]
    return frame(headers, json.dumps({"message": message}).encode())


def vector(text):
    """Numbers that a text of its own length has, exact in 32 bits."""
    return [len(text) / 8, -0.5, 1.25, 3.0]


class Bedrock(Upstream):
    """Answers with text, and with calls of the tools that it is offered, unless results of tools are there already."""

    def __init__(self, aws, keys, bearer):
        super().__init__(self.serve)
        self.aws, self.keys, self.bearer = aws, keys, bearer
        # One process judges calls that come at the same time.
        self.judging = threading.Lock()
        self.refused, self.verified, self.strange = [], 0, []
        self.how = "well"

    def forget(self):
        super().forget()
        self.refused, self.verified, self.strange = [], 0, []

    def serve(self, request, wire):
        with self.judging:
            why = self.judge(request)
        if why:
            self.refused.append(why)
            body = {"message": "The request signature we calculated does not match the signature you provided."}
            return wire.send(answer(403, body, {"x-amzn-errortype": "InvalidSignatureException"}))
        if not request.path.startswith("/model/"):
            return wire.send(answer(200, {"got": len(request.body)}))
        _, _, model, action = request.path.split("/")
        if action == "invoke":
            return wire.send(self.invoked(urllib.parse.unquote(model), request))
        model, said, streams = urllib.parse.unquote(model), request.json(), action == "converse-stream"
        told = self.aws.do("judge", "", "", said=said, operation=OPERATIONS[action], model=model)
        if told.get("problems") or told.get("error"):
            self.strange.append(told)
            return wire.send(answer(400, {"message": str(told)}, {"x-amzn-errortype": "ValidationException"}))
        if self.how == "throttled":
            body = {"message": "Too many requests, please wait before trying again."}
            return wire.send(answer(429, body, {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/"}))
        if action == "count-tokens":
            if model.startswith(("eu.", "arn:")) or "amazon.nova" in model:
                body = {"message": "The provided model doesn't support counting tokens."}
                return wire.send(answer(400, body, {"x-amzn-errortype": "ValidationException"}))
            return wire.send(answer(200, {"inputTokens": COUNTED}))
        blocks, stop = self.said(said)
        if not streams:
            message = {"role": "assistant", "content": blocks}
            return wire.send(answer(200, {"metrics": {"latencyMs": 1}, "output": {"message": message}, "stopReason": stop, "usage": USAGE}))
        wire.send(stream_head(FRAMES))
        data = b"".join(self.events(blocks, stop))
        if self.how == "cut":
            data = data[: len(data) * 2 // 3]
        if self.how == "garbled":
            data = data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]
        # Cut where no message ends, as networks do.
        for at in range(0, len(data), 77):
            wire.send(chunk(data[at : at + 77]))
        if self.how == "cut":
            return False
        wire.send(chunk(b""))

    def judge(self, request):
        """Why a request is not to be served, if it is not."""
        given = request.header("authorization") or ""
        if given == f"Bearer {self.bearer}":
            return None
        if "Credential=" not in given:
            return f"no signature: {given[:20]}"
        key_id = given.split("Credential=")[1].split("/")[0]
        secret, token = self.keys.get(key_id, (None, None))
        if secret is None or request.header("x-amz-security-token") != token:
            return f"not with {key_id}"
        made = self.aws.do(
            "sign", "", "", method=request.method, target=request.target, headers=request.headers, id=key_id, secret=secret,
            token=token, body=base64.b64encode(request.body).decode(),
        )
        if made.get("authorization") != given:
            return f"{given} should be {made}"
        self.verified += 1
        return None

    def invoked(self, model, request):
        """The answer of a model that is asked in its maker's own form, as AWS describes it for each."""
        said = request.json()
        name = model.split(".", 1)[1] if model.startswith(("eu.", "global.")) else model
        known = {
            "amazon.titan-embed-text-v2:0": ({"inputText"}, {"dimensions", "normalize", "embeddingTypes"}),
            "cohere.embed-v4:0": ({"input_type", "texts"}, {"embedding_types", "output_dimension", "truncate"}),
            "cohere.rerank-v3-5:0": ({"query", "documents", "api_version"}, {"top_n"}),
            "amazon.rerank-v1:0": ({"query", "documents"}, {"top_n"}),
        }
        needed, may = known[name]
        if not needed <= set(said) <= needed | may or len(said.get("texts", [])) > 96:
            self.strange.append(said)
            return answer(400, {"message": "Malformed input request."}, {"x-amzn-errortype": "ValidationException"})
        if self.how == "throttled":
            body = {"message": "Too many requests, please wait before trying again."}
            return answer(429, body, {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/"})
        if "titan" in name:
            numbers = vector(said["inputText"])[: said.get("dimensions", 1024)]
            body = {"embedding": numbers, "embeddingsByType": {"float": numbers}, "inputTextTokenCount": len(said["inputText"].split())}
            return answer(200, body)
        if "embed" in name:
            body = {"id": "x", "embeddings": {"float": [vector(text) for text in said["texts"]]}, "response_type": "embeddings_by_type"}
            words = sum(len(text.split()) for text in said["texts"])
            return answer(200, body, {"x-amzn-bedrock-input-token-count": str(words)})
        scores = [[index, 1 / (2 + index)] for index, _ in enumerate(said["documents"])][: said["top_n"]]
        return answer(200, {"results": [{"index": index, "relevance_score": score} for index, score in scores]})

    @staticmethod
    def said(call):
        parts = [part for message in call["messages"] for part in message["content"]]
        results = [part["toolResult"] for part in parts if "toolResult" in part]
        pictures = [part["image"] for part in parts if "image" in part]
        tools = [tool["toolSpec"]["name"] for tool in (call.get("toolConfig") or {}).get("tools", []) if "toolSpec" in tool]
        if tools and not results:
            calls = [
                {"toolUse": {"toolUseId": f"tooluse_{n}", "name": name, "input": {"city": "Zürich", "n": n}}}
                for n, name in enumerate(tools)
            ]
            return [{"text": "I look it up."}, *calls], "tool_use"
        thought = {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}}
        told = [part["text"] for result in results for part in result["content"] if "text" in part]
        return [thought, {"text": f"Seen: {len(pictures)} pictures, {json.dumps(told)} — done."}], "end_turn"

    def events(self, blocks, stop):
        yield event("messageStart", {"role": "assistant", "p": "abcdef"})
        for index, block in enumerate(blocks):
            if "toolUse" in block:
                call = block["toolUse"]
                yield event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {k: call[k] for k in ("toolUseId", "name")}}})
                told = json.dumps(call["input"])
                parts = [{"toolUse": {"input": told[at : at + 7]}} for at in range(0, len(told), 7)]
            elif "reasoningContent" in block:
                text = block["reasoningContent"]["reasoningText"]
                parts = [{"reasoningContent": {"text": text["text"]}}, {"reasoningContent": {"signature": text["signature"]}}]
            else:
                parts = [{"text": block["text"][at : at + 5]} for at in range(0, len(block["text"]), 5)]
            for part in parts:
                yield event("contentBlockDelta", {"contentBlockIndex": index, "delta": part, "p": "abc"})
            yield event("contentBlockStop", {"contentBlockIndex": index})
            if self.how == "thrown":
                yield thrown("throttlingException", "Too many tokens, please wait before trying again.")
                return
        yield event("messageStop", {"stopReason": stop})
        yield event("metadata", {"metrics": {"latencyMs": 1}, "usage": USAGE})
