"""Does what it is told with the official packages for Python, each imported when it is first asked: one JSON command a line in, one JSON answer a line out."""

import base64
import json
import sys

clients = {}


def kept(command, make):
    """The SDK's client of a command; a new one opens connections, so it is kept."""
    at = (command["client"], command["base_url"], command["key"])
    if at not in clients:
        clients[at] = make(command["base_url"], command["key"])
    return clients[at]


def openai(url, key):
    from openai import OpenAI

    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


def with_chat(command):
    sdk, picture = kept(command, openai), f"data:image/png;base64,{command['image']}"
    content = [{"type": "text", "text": command["text"]}, {"type": "image_url", "image_url": {"url": picture}}]
    messages = [{"role": "system", "content": command["system"]}, {"role": "user", "content": content}]
    tools = [
        {"type": "function", "function": {"name": t["name"], "description": t["description"], "parameters": t["schema"]}}
        for t in command["tools"]
    ]
    asked = {"model": command["model"], "messages": messages, "tools": tools, "max_tokens": 64}

    def ask():
        if not command["stream"]:
            answer = sdk.chat.completions.create(**asked)
            message = answer.choices[0].message
            calls = [[c.id, c.function.name, c.function.arguments] for c in message.tool_calls or []]
            return message.content or "", calls, answer.choices[0].finish_reason, answer.usage, (1, 1)
        words, calls, stop, usage, inputs = [], {}, None, None, 0
        # By hand: the SDK's own helper raises where the answer was cut off by the limit.
        for event in sdk.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
            usage = event.usage or usage
            for choice in event.choices:
                stop = choice.finish_reason or stop
                words += [choice.delta.content] if choice.delta.content else []
                for piece in choice.delta.tool_calls or []:
                    call = calls.setdefault(piece.index, [piece.id, piece.function.name, ""])
                    call[2] += piece.function.arguments or ""
                    inputs += bool(piece.function.arguments)
        return "".join(words), list(calls.values()), stop, usage, (len(words), inputs)

    words, calls, stop, usage, pieces = ask()
    if "result" in command:
        called = [{"id": id, "type": "function", "function": {"name": n, "arguments": a}} for id, n, a in calls]
        messages.append({"role": "assistant", "content": words or None, "tool_calls": called})
        messages.extend({"role": "tool", "tool_call_id": id, "content": command["result"]} for id, *_ in calls)
        words, calls, stop, usage, pieces = ask()
    tokens = usage and [usage.prompt_tokens, usage.completion_tokens]
    return words, [[name, json.loads(told or "{}")] for _, name, told in calls], stop, tokens, pieces


def with_responses(command):
    sdk, picture = kept(command, openai), f"data:image/png;base64,{command['image']}"
    content = [{"type": "input_text", "text": command["text"]}, {"type": "input_image", "image_url": picture, "detail": "auto"}]
    said = [{"role": "user", "content": content}]
    tools = [
        {"type": "function", "name": t["name"], "description": t["description"], "parameters": t["schema"], "strict": False}
        for t in command["tools"]
    ]
    asked = {"model": command["model"], "instructions": command["system"], "input": said, "tools": tools, "store": False}

    def ask():
        if not command["stream"]:
            return sdk.responses.create(**asked), 1, 1
        pieces = inputs = 0
        with sdk.responses.stream(**asked) as events:
            for event in events:
                pieces += event.type == "response.output_text.delta"
                inputs += event.type == "response.function_call_arguments.delta"
        # `get_final_response` knows of completed ones alone.
        return event.response, pieces, inputs

    got, *pieces = ask()
    if "result" in command:
        called = [item for item in got.output if item.type == "function_call"]
        said.extend({"type": "function_call", "call_id": c.call_id, "name": c.name, "arguments": c.arguments} for c in called)
        said.extend({"type": "function_call_output", "call_id": c.call_id, "output": command["result"]} for c in called)
        got, *pieces = ask()
    calls = [[item.name, json.loads(item.arguments or "{}")] for item in got.output if item.type == "function_call"]
    tokens = got.usage and [got.usage.input_tokens, got.usage.output_tokens]
    return got.output_text, calls, got.status, tokens, pieces


def anthropic(url, key):
    from anthropic import Anthropic

    return Anthropic(base_url=url, api_key=key, auth_token=None, max_retries=0, timeout=30)


def with_anthropic(command):
    sdk = kept(command, anthropic)
    source = {"type": "base64", "media_type": "image/png", "data": command["image"]}
    messages = [{"role": "user", "content": [{"type": "text", "text": command["text"]}, {"type": "image", "source": source}]}]
    tools = [{"name": t["name"], "description": t["description"], "input_schema": t["schema"]} for t in command["tools"]]
    asked = {"model": command["model"], "system": command["system"], "messages": messages, "tools": tools, "max_tokens": 64}

    def ask():
        if not command["stream"]:
            return sdk.messages.create(**asked), 1, 1
        pieces = inputs = 0
        with sdk.messages.stream(**asked) as events:
            for event in events:
                pieces += event.type == "text"
                inputs += event.type == "input_json" and bool(event.partial_json)
            return events.get_final_message(), pieces, inputs

    got, *pieces = ask()
    if "result" in command:
        uses = [block for block in got.content if block.type == "tool_use"]
        messages.append({"role": "assistant", "content": got.content})
        told = [{"type": "tool_result", "tool_use_id": use.id, "content": command["result"]} for use in uses]
        messages.append({"role": "user", "content": told})
        got, *pieces = ask()
    words = "".join(block.text for block in got.content if block.type == "text")
    calls = [[block.name, block.input] for block in got.content if block.type == "tool_use"]
    read = got.usage.input_tokens + (got.usage.cache_read_input_tokens or 0) + (got.usage.cache_creation_input_tokens or 0)
    return words, calls, got.stop_reason, [read, got.usage.output_tokens], pieces


def google(url, key):
    from google import genai

    options = genai.types.HttpOptions(base_url=url, timeout=30_000)
    return genai.Client(api_key=key, vertexai=False, http_options=options)


def with_google(command):
    from google.genai import types

    sdk = kept(command, google)
    picture = types.Part.from_bytes(data=base64.b64decode(command["image"]), mime_type="image/png")
    contents = [types.Content(role="user", parts=[types.Part(text=command["text"]), picture])]
    declared = [
        types.FunctionDeclaration(name=t["name"], description=t["description"], parameters_json_schema=t["schema"])
        for t in command["tools"]
    ]
    config = types.GenerateContentConfig(
        system_instruction=command["system"],
        tools=[types.Tool(function_declarations=declared)],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        max_output_tokens=64,
    )

    def ask():
        asked = {"model": command["model"], "contents": contents, "config": config}
        ask = sdk.models.generate_content_stream if command["stream"] else sdk.models.generate_content
        answers = list(ask(**asked)) if command["stream"] else [ask(**asked)]
        candidates = [candidate for answer in answers for candidate in answer.candidates or []]
        parts = [part for c in candidates for part in (c.content and c.content.parts) or []]
        usage = next((a.usage_metadata for a in reversed(answers) if a.usage_metadata), None)
        stop = next((c.finish_reason for c in reversed(candidates) if c.finish_reason), None)
        return parts, stop, usage

    parts, stop, usage = ask()
    if "result" in command:
        made = [part.function_call for part in parts if part.function_call]
        contents.append(types.Content(role="model", parts=parts))
        told = [types.FunctionResponse(id=c.id, name=c.name, response={"output": command["result"]}) for c in made]
        contents.append(types.Content(role="user", parts=[types.Part(function_response=one) for one in told]))
        parts, stop, usage = ask()
    texts = [part.text for part in parts if part.text and not part.thought]
    calls = [[part.function_call.name, part.function_call.args or {}] for part in parts if part.function_call]
    tokens = usage and [
        (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
        (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
    ]
    return "".join(texts), calls, stop and stop.value, tokens, (len(texts), None)


WITH = {"chat": with_chat, "responses": with_responses, "anthropic": with_anthropic, "google": with_google}


def status(error):
    return next((n for n in ("status_code", "code") if isinstance(getattr(error, n, None), int)), None)


for line in sys.stdin:
    command = json.loads(line)
    try:
        words, calls, stop, tokens, (pieces, inputs) = WITH[command["client"]](command)
        told = {"words": words, "calls": calls, "stop": stop, "tokens": tokens, "pieces": pieces, "argument_pieces": inputs}
    except Exception as error:
        name = status(error)
        told = {"error": type(error).__name__, "status": name and getattr(error, name), "message": str(error)}
        if not name:
            sys.excepthook(*sys.exc_info())
    print(json.dumps(told), flush=True)
