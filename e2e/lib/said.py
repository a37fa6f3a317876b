"""What a recorded answer of any dialect says, in words that belong to none: what an SDK must come to, whatever its own dialect is."""

import json
from dataclasses import dataclass

from sdks import recorded_words

#: Why an answer stopped, in the words of dialects and SDKs.
STOPS = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "completed", "STOP"), "end"),
    **dict.fromkeys(("tool_calls", "tool_use", "tool-calls"), "calls"),
    **dict.fromkeys(("length", "max_tokens", "incomplete", "MAX_TOKENS"), "limit"),
}


def stopped(word, calls):
    """Why an answer stopped: `end`, `calls` or `limit`, or None for any other reason. Some dialects have no word for calls of
    tools."""
    why = STOPS.get(word)
    return "calls" if calls and why == "end" else why


@dataclass
class Said:
    """An answer: words, calls of tools as pairs of name and input, why it stopped, the tokens that were read and
    written (None when that is not told), and of a stream in how many pieces words and inputs came."""

    words: str
    calls: list
    stop: str | None
    tokens: tuple | None
    pieces: int
    argument_pieces: int


def said(recording):
    """What a recording says."""
    words, calls = recorded_words(recording)
    stop, tokens, texts, inputs = READERS[recording.path if recording.path in READERS else None](recording)
    pieces = (len([t for t in texts if t]), len([i for i in inputs if i])) if recording.streamed else (1, 1)
    # Zeros stand in recordings that were made without a provider.
    tokens = tokens if tokens and any(tokens) else None
    return Said(words, calls, stopped(stop, calls), tokens, *pieces)


def _chat(recording):
    usage, texts, inputs, stops = recording.usage(), [], [], []
    events = recording.events() if recording.streamed else [json.loads(recording.response)]
    for event in events:
        for choice in event["choices"]:
            stops += [choice["finish_reason"]] if choice.get("finish_reason") else []
            delta = choice.get("delta") or {}
            texts.append(delta.get("content"))
            inputs += [call["function"].get("arguments") for call in delta.get("tool_calls") or []]
    tokens = usage and (usage["prompt_tokens"], usage["completion_tokens"])
    # Where more was written than is shown, chat completions show less than the other dialects tell. What is told more than
    # once some SDKs add up: tokens, and even the word for why it stopped.
    clear = tokens and sum(tokens) == usage.get("total_tokens") and sum(bool(e.get("usage")) for e in events) == 1
    return stops[0] if len(stops) == 1 else None, tokens if clear else None, texts, inputs


def _messages(recording):
    usage, texts, inputs = recording.message_usage(), [], []
    stop = None if recording.streamed else json.loads(recording.response)["stop_reason"]
    for event in recording.events() if recording.streamed else []:
        delta = event.get("delta") or {}
        stop = delta.get("stop_reason") or stop
        texts.append(delta.get("text"))
        inputs.append(delta.get("partial_json"))
    read = sum(usage.get(n) or 0 for n in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"))
    return stop, None if usage.get("iterations") else (read, usage["output_tokens"]), texts, inputs


def _responses(recording):
    whole = recording.final_response()
    events, usage = recording.events() if recording.streamed else [], whole.get("usage")

    def deltas(kind):
        return [event["delta"] for event in events if event["type"] == kind]

    tokens = usage and (usage["input_tokens"], usage["output_tokens"])
    texts, inputs = deltas("response.output_text.delta"), deltas("response.function_call_arguments.delta")
    return whole["status"], tokens, texts, inputs


def _generated(recording):
    stop, texts, counts = None, [], recording.counts()
    for part in recording.parts():
        for candidate in part.get("candidates") or []:
            stop = candidate.get("finishReason") or stop
            parts = (candidate.get("content") or {}).get("parts") or []
            texts.append("".join(p.get("text") or "" for p in parts if not p.get("thought")))
    read = counts.get("promptTokenCount", 0) + counts.get("toolUsePromptTokenCount", 0)
    written = counts.get("candidatesTokenCount", 0) + counts.get("thoughtsTokenCount", 0)
    # A function is called in one piece.
    return stop, (read, written), texts, []


def _converse(recording):
    whole, texts, inputs = {}, [], []
    for event in recording.events() if recording.streamed else [json.loads(recording.response)]:
        delta = event.get("delta") or {}
        texts.append(delta.get("text"))
        inputs.append((delta.get("toolUse") or {}).get("input"))
        whole |= {name: event[name] for name in ("stopReason", "usage") if name in event}
    usage = whole["usage"]
    read = sum(usage.get(n) or 0 for n in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"))
    return whole["stopReason"], (read, usage["outputTokens"]), texts, inputs


READERS = {"/chat/completions": _chat, "/messages": _messages, "/responses": _responses, "/converse": _converse, None: _generated}
