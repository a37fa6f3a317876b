"""The four callers: how each asks, and whether an answer or an error is what its dialect says that it is."""

import json

DIALECTS = ("chat", "responses", "messages", "gemini")
#: What errors of Anthropic's and Google's are called.
KINDS = {"invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error", "request_too_large", "rate_limit_error", "api_error", "overloaded_error", "timeout_error"}
STATUSES = {"INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "ABORTED", "RESOURCE_EXHAUSTED", "CANCELLED", "UNIMPLEMENTED", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED"}


def path(dialect, model, stream=False):
    """Where a call goes."""
    if dialect == "gemini":
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    return {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}[dialect]


def call(dialect, model, prompt, stream=False):
    """A call that is right."""
    if dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": {"maxOutputTokens": 20}}
    body = {"model": model, "stream": stream}
    if dialect == "responses":
        return {**body, "store": False, "max_output_tokens": 20, "input": [{"role": "user", "content": prompt}]}
    return {**body, "max_tokens": 20, "messages": [{"role": "user", "content": prompt}]}


def tools(dialect, count):
    """So many tools, as a call holds them."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    named = [{"name": f"tool_{n}", "description": "does it"} for n in range(count)]
    if dialect == "chat":
        return [{"type": "function", "function": {**tool, "parameters": schema}} for tool in named]
    if dialect == "responses":
        return [{"type": "function", **tool, "parameters": schema} for tool in named]
    if dialect == "messages":
        return [{**tool, "input_schema": schema} for tool in named]
    return [{"functionDeclarations": [{**tool, "parameters": schema} for tool in named]}]


def turns(dialect):
    return {"chat": "messages", "responses": "input", "messages": "messages", "gemini": "contents"}[dialect]


def wrong_types(dialect, model):
    """Calls of which one field has a type that it cannot have: what is wrong, and the body."""
    good = call(dialect, model, "how:ok")
    said, part = turns(dialect), "parts" if dialect == "gemini" else "content"
    settings = good["generationConfig"] if dialect == "gemini" else good
    limit = {"chat": "max_tokens", "responses": "max_output_tokens", "messages": "max_tokens", "gemini": "maxOutputTokens"}[dialect]
    for body in ([good], "text", 7, None, True, []):
        yield f"body {str(body)[:6]}", body
    for value in (7, {}, True, [7], [[good[said][0]]], ["text", 5], [{"role": 5, part: "x"}], [{"role": "user", part: 7}], [{"role": "user", part: [7]}], [{"role": "user", part: {"a": []}}]):
        yield f"{said} {json.dumps(value)[:40]}", {**good, said: value}
    for value in ("text", [5], {"a": 1}, 7, [[]]):
        yield f"tools {json.dumps(value)}", {**good, "tools": value}
    for name, values in ((limit, ("many", -1, 1.5, [1], {}, 0)), ("temperature", ("warm", [], {}))):
        for value in values:
            changed = {**settings, name: value}
            yield f"{name} {json.dumps(value)}", {**good, "generationConfig": changed} if dialect == "gemini" else changed
    if dialect == "gemini":
        yield "generationConfig 7", {**good, "generationConfig": 7}
        yield "generationConfig []", {**good, "generationConfig": []}
        return
    for value in (5, [], {}, None, "", True):
        yield f"model {json.dumps(value)}", {**good, "model": value}
    for value in ("yes", 1, [], {}):
        yield f"stream {json.dumps(value)}", {**good, "stream": value}


# ---- judging what comes back --------------------------------------------------------------------


def is_error(dialect, status, told):
    """Whether this is an error as the dialect has it."""
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str) or not error["message"]:
        return False
    if dialect in ("chat", "responses"):
        return isinstance(error.get("type"), str) and "code" in error and "param" in error
    if dialect == "messages":
        return told.get("type") == "error" and error.get("type") in KINDS
    return error.get("code") == status and error.get("status") in STATUSES


def is_whole(dialect, told):
    """Whether this is an answer of the dialect, with the words that the provider said."""
    try:
        return words(dialect, told) == "hello"
    except (KeyError, IndexError, TypeError, AttributeError):
        return False


def words(dialect, told):
    if dialect == "chat":
        return told["choices"][0]["message"]["content"]
    if dialect == "responses":
        return "".join(p["text"] for item in told["output"] for p in item["content"]) if told["status"] == "completed" else None
    if dialect == "messages":
        return "".join(block["text"] for block in told["content"]) if told["type"] == "message" else None
    return "".join(part["text"] for part in told["candidates"][0]["content"]["parts"])


def events(body):
    """The events of a stream, each as its JSON, and whether nothing stands behind the last one. A comment is none."""
    found = []
    pieces = body.replace(b"\r\n", b"\n").split(b"\n\n")
    for piece in pieces:
        data = b"\n".join(line[5:].removeprefix(b" ") for line in piece.split(b"\n") if line.startswith(b"data:"))
        if data == b"[DONE]":
            found.append("[DONE]")
        elif data:
            found.append(json.loads(data))
    return found, not pieces[-1].strip()


def stream_ended(dialect, found):
    """How a stream ended: `ok`, `error`, or None where it says neither."""
    last = found[-1] if found else None
    kinds = [e.get("type") for e in found if isinstance(e, dict)]
    if dialect == "responses":
        if "response.failed" in kinds or "error" in kinds:
            return "error"
        return "ok" if kinds and kinds[-1] == "response.completed" else None
    failed = [e for e in found if isinstance(e, dict) and "error" in e]
    if failed:
        return "error" if is_error(dialect, failed[-1]["error"].get("code") if dialect == "gemini" else None, failed[-1]) else None
    if dialect == "chat":
        return "ok" if last == "[DONE]" else None
    if dialect == "messages":
        return "ok" if kinds and kinds[-1] == "message_stop" else None
    reasons = [c.get("finishReason") for e in found for c in e.get("candidates") or []]
    return "ok" if reasons and reasons[-1] else None


def judged(dialect, got):
    """What an answer is: `ok`, `error` (with its status), `error in the stream`, `cut`, or what is odd about it."""
    kind = got.headers.get("content-type", "").split(";")[0]
    if got.status == 0:
        return f"odd: no answer ({got.raw[:80]!r})"
    if got.status >= 400:
        try:
            told = json.loads(got.body)
        except ValueError:
            return f"odd: {got.status} with {kind} {got.body[:60]!r}"
        if kind != "application/json" or not got.complete:
            return f"odd: {got.status} with {kind}, complete {got.complete}"
        return f"error {got.status}" if is_error(dialect, got.status, told) else f"odd: {got.status} {told}"
    if kind == "text/event-stream":
        # Of one that is cut off, what stands behind the last whole event is none.
        body = got.body if got.complete else got.body[: max(got.body.rfind(b"\n\n"), got.body.rfind(b"\r\n\r\n")) + 2]
        try:
            found, whole = events(body)
        except ValueError:
            return f"odd: a stream with an event that is no JSON {got.body[-80:]!r}"
        ended = stream_ended(dialect, found)
        if ended == "error":
            return "error in the stream"
        if not got.complete:
            return "cut"
        return "ok" if ended == "ok" and whole else f"odd: a stream that ends {got.body[-80:]!r}"
    if not got.complete:
        return "cut"
    try:
        told = json.loads(got.body)
    except (ValueError, RecursionError):
        return f"odd: {got.status} with {kind} {got.body[:60]!r}"
    if kind != "application/json":
        return f"odd: {got.status} with {kind}"
    return "ok" if is_whole(dialect, told) else f"odd: {got.status} {str(told)[:120]}"
