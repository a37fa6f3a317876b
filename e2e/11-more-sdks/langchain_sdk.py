"""Does what it is told with LangChain's own packages: one JSON command a line in, one JSON answer a line out."""

import json
import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI


def openai(url, key, model, **more):
    return ChatOpenAI(model=model, base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30, max_tokens=64, **more)


def anthropic(url, key, model):
    return ChatAnthropic(model=model, base_url=url, api_key=key, max_retries=0, timeout=30, max_tokens=64)


def google(url, key, model):
    # One attempt in all: of this package the number counts the first one too.
    return ChatGoogleGenerativeAI(model=model, base_url=url, api_key=key, max_retries=1, timeout=30, max_tokens=64)


MODELS = {
    "chat": lambda *at: openai(*at, use_responses_api=False, stream_usage=True),
    "responses": lambda *at: openai(*at, use_responses_api=True),
    "anthropic": anthropic,
    "google": google,
}
made = {}


def asked(command):
    """The model of a command; a new one opens connections, so it is kept."""
    at = (command["client"], command["base_url"], command["key"], command["model"])
    if at not in made:
        made[at] = MODELS[at[0]](*at[1:])
    functions = [
        {"type": "function", "function": {"name": t["name"], "description": t["description"], "parameters": t["schema"]}}
        for t in command["tools"]
    ]
    return made[at].bind_tools(functions)


def run(command):
    model = asked(command)
    picture = {"type": "image", "base64": command["image"], "mime_type": "image/png"}
    said = [
        SystemMessage(command["system"]),
        HumanMessage(content=[{"type": "text", "text": command["text"]}, picture]),
    ]

    def ask():
        if not command["stream"]:
            return model.invoke(said), 1, 1
        whole, pieces, inputs = None, 0, 0
        for piece in model.stream(said):
            whole, pieces = piece if whole is None else whole + piece, pieces + bool(piece.text)
            inputs += any(call["args"] for call in piece.tool_call_chunks)
        return whole, pieces, inputs

    answer, *pieces = ask()
    if "result" in command:
        said.append(answer)
        said.extend(ToolMessage(command["result"], tool_call_id=c["id"], name=c["name"]) for c in answer.tool_calls)
        answer, *pieces = ask()
    calls = [[call["name"], call["args"]] for call in answer.tool_calls]
    told, usage = answer.response_metadata, answer.usage_metadata
    stop = next((told[name] for name in ("finish_reason", "stop_reason", "status") if told.get(name)), None)
    tokens = usage and [usage["input_tokens"], usage["output_tokens"]]
    inputs = None if command["client"] == "google" else pieces[1]
    return {"words": str(answer.text), "calls": calls, "stop": stop, "tokens": tokens, "pieces": pieces[0], "argument_pieces": inputs}


def status(error):
    """The status of an error, or of what it was raised from."""
    while error is not None:
        for name in ("status_code", "code"):
            if isinstance(getattr(error, name, None), int):
                return getattr(error, name)
        error = error.__cause__
    return None


for line in sys.stdin:
    try:
        told = run(json.loads(line))
    except Exception as error:
        told = {"error": type(error).__name__, "status": status(error), "message": str(error)}
        if told["status"] is None:
            sys.excepthook(*sys.exc_info())
    print(json.dumps(told), flush=True)
