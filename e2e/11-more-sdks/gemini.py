"""A stand-in for Gemini's third generation, which refuses a conversation that comes back without what it signed, tells log
probabilities and gives several answers where it is asked for them."""

import json

from upstream import Upstream, answer, chunk, stream_head

#: What it signs: the call of a tool, and what it says of the result.
SIGNED = {"call": "Y2FsbC1zaWduYXR1cmU=", "text": "dGV4dC1zaWduYXR1cmU="}
#: The words of the last answer, each a token.
WORDS = ["It ", "is ", "süß", "."]
USAGE = {"promptTokenCount": 7, "candidatesTokenCount": 9, "totalTokenCount": 16}


class Gemini(Upstream):
    """Calls a tool first, in two places at the same time; then it tells of it, and then it answers whatever is asked."""

    def __init__(self):
        super().__init__(self.serve)
        self.signatures = 0

    def serve(self, request, wire):
        asked = request.json()
        models = [content["parts"] for content in asked["contents"] if content["role"] == "model"]
        why = self.unsigned(models)
        if why:
            told = f"Function call is missing a thought_signature in functionCall parts. {why}"
            return wire.send(answer(400, {"error": {"code": 400, "message": told, "status": "INVALID_ARGUMENT"}}))
        config = asked.get("generationConfig") or {}
        parts = self.said(len(models)) if asked.get("tools") else [{"text": word} for word in WORDS]
        many = config.get("candidateCount", 1)
        if not request.path.endswith(":streamGenerateContent"):
            return wire.send(answer(200, self.generated(joined(parts), config, range(many), "STOP")))
        wire.send(stream_head("text/event-stream"))
        for i, part in enumerate(parts):
            event = self.generated([part], config, range(many), "STOP" if i + 1 == len(parts) else None)
            wire.send(chunk(f"data: {json.dumps(event)}\r\n\r\n".encode()))
        wire.send(chunk(b""))

    def unsigned(self, models):
        """What is wrong with the signatures of what it said before, if anything is."""
        for parts in models:
            calls = [part for part in parts if "functionCall" in part]
            if calls and calls[0].get("thoughtSignature") != SIGNED["call"]:
                return f"The first call has {calls[0].get('thoughtSignature')!r}."
            if any("thoughtSignature" in part for part in calls[1:]):
                return "A call at the same time is signed."
            if not calls and [part.get("thoughtSignature") for part in parts if "text" in part] != [SIGNED["text"]]:
                return f"The text was {parts}."
            self.signatures += 1
        return None

    def said(self, turn):
        if turn == 0:
            call = lambda id, city: {"functionCall": {"id": id, "name": "weather", "args": {"city": city}}}
            return [{"text": "Hm.", "thought": True}, {**call("c1", "Bern"), "thoughtSignature": SIGNED["call"]}, call("c2", "Genf")]
        if turn == 1:
            # A stream signs what it said in a last part that says nothing.
            return [{"text": "Sunny "}, {"text": "in both."}, {"text": "", "thoughtSignature": SIGNED["text"]}]
        return [{"text": word} for word in WORDS]

    def generated(self, parts, config, indexes, reason):
        one = lambda token, logprob: {"token": token, "tokenId": 7, "logProbability": logprob}
        candidates = []
        for index in indexes:
            candidate = {"index": index, "content": {"role": "model", "parts": parts}, **({"finishReason": reason} if reason else {})}
            if config.get("responseLogprobs"):
                tokens = WORDS if len(parts) == 1 and parts[0].get("text") == "".join(WORDS) else [part["text"] for part in parts]
                top = [{"candidates": [one(token, -0.25), one("no", -2.5)][: config.get("logprobs", 0)]} for token in tokens]
                candidate["logprobsResult"] = {"chosenCandidates": [one(token, -0.25) for token in tokens], "topCandidates": top}
            candidates.append(candidate)
        return {"candidates": candidates, "usageMetadata": USAGE, "modelVersion": "gemini-3-e2e", "responseId": "r1"}


def joined(parts):
    """The parts of an answer that is no stream: its words are one, and it is signed there."""
    whole = []
    for part in parts:
        last = whole[-1] if whole else {}
        if "text" in part and "text" in last and part.get("thought") == last.get("thought"):
            last.update({**part, "text": last["text"] + part["text"]})
        else:
            whole.append(dict(part))
    return whole
