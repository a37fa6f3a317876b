"""Has a conversation of three turns with tools, sending back what the official SDK made of each answer as it is, and asks for
log probabilities and several answers: one JSON command a line in, one JSON answer a line out."""

import json
import sys

TOOL = {"name": "weather", "description": "Tells the weather.", "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


def openai(url, key):
    from openai import OpenAI

    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


def converse_chat(sdk, command):
    function = {"name": TOOL["name"], "description": TOOL["description"], "parameters": TOOL["schema"]}
    messages = [{"role": "user", "content": "What is it like?"}]
    while True:
        asked = {"model": command["model"], "messages": messages, "tools": [{"type": "function", "function": function}]}
        if command["stream"]:
            with sdk.chat.completions.stream(**asked) as events:
                for _ in events:
                    pass
                message = events.get_final_completion().choices[0].message
        else:
            message = sdk.chat.completions.create(**asked).choices[0].message
        # As the SDK has it, in its own words.
        messages.append(message.to_dict())
        messages[-1].pop("parsed", None)
        for call in message.tool_calls or []:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
        if not message.tool_calls:
            if len(messages) > 6:
                return message.content
            messages.append({"role": "user", "content": "And to eat?"})


def converse_responses(sdk, command):
    said = [{"role": "user", "content": "What is it like?"}]
    tool = {"type": "function", "name": TOOL["name"], "description": TOOL["description"], "parameters": TOOL["schema"], "strict": False}
    for turn in range(3):
        asked = {"model": command["model"], "input": said, "tools": [tool], "store": False, "include": ["reasoning.encrypted_content"]}
        if command["stream"]:
            with sdk.responses.stream(**asked) as events:
                for _ in events:
                    pass
                got = events.get_final_response()
        else:
            got = sdk.responses.create(**asked)
        said += [item.to_dict() for item in got.output]
        for item in said:
            # Of what the SDK read of it.
            for field in ("parsed", "parsed_arguments"):
                item.pop(field, None)
                for part in item.get("content") or []:
                    if isinstance(part, dict):
                        part.pop(field, None)
        calls = [item for item in got.output if item.type == "function_call"]
        said += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
        if not calls:
            said.append({"role": "user", "content": "And to eat?"})
    return got.output_text


def converse_anthropic(command):
    from anthropic import Anthropic

    sdk = Anthropic(base_url=command["base_url"], api_key=command["key"], auth_token=None, max_retries=0, timeout=30)
    tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["schema"]}
    messages = [{"role": "user", "content": "What is it like?"}]
    for turn in range(3):
        asked = {"model": command["model"], "messages": messages, "tools": [tool], "max_tokens": 64}
        if command["stream"]:
            with sdk.messages.stream(**asked) as events:
                got = events.get_final_message()
        else:
            got = sdk.messages.create(**asked)
        messages.append({"role": "assistant", "content": [block.to_dict() for block in got.content]})
        uses = [block for block in got.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
        messages.append({"role": "user", "content": results or "And to eat?"})
    return "".join(block.text for block in got.content if block.type == "text")


def tokens(told):
    return [[one.token, one.logprob, [[top.token, top.logprob] for top in one.top_logprobs]] for one in told]


def probable(sdk, command):
    """The words of an answer, its tokens by Chat Completions and by Responses."""
    asked = {"model": command["model"], "messages": [{"role": "user", "content": "hi"}], "logprobs": True, "top_logprobs": 2}
    said = {"model": command["model"], "input": "hi", "include": ["message.output_text.logprobs"], "top_logprobs": 2, "store": False}
    if command["stream"]:
        with sdk.chat.completions.stream(**asked) as events:
            pieces = [event for event in events if event.type == "chunk"]
            choice = events.get_final_completion().choices[0]
        pieces = [chunk.chunk.choices[0] for chunk in pieces if chunk.chunk.choices]
        together = all(bool(piece.delta.content) == bool(piece.logprobs and piece.logprobs.content) for piece in pieces)
        with sdk.responses.stream(**said) as events:
            for _ in events:
                pass
            part = events.get_final_response().output[-1].content[0]
    else:
        choice, together = sdk.chat.completions.create(**asked).choices[0], True
        part = sdk.responses.create(**said).output[-1].content[0]
    return {"words": choice.message.content, "chat": tokens(choice.logprobs.content), "responses": tokens(part.logprobs), "together": together}


def several(sdk, command):
    """The words of each of three answers, by their numbers."""
    asked = {"model": command["model"], "messages": [{"role": "user", "content": "hi"}], "n": 3}
    if command["stream"]:
        with sdk.chat.completions.stream(**asked) as events:
            for _ in events:
                pass
            choices = events.get_final_completion().choices
    else:
        choices = sdk.chat.completions.create(**asked).choices
    return [[choice.index, choice.message.content, choice.finish_reason] for choice in choices]


def do(command):
    if command["client"] == "anthropic":
        return converse_anthropic(command)
    sdk = openai(command["base_url"], command["key"])
    return {"chat": converse_chat, "responses": converse_responses, "probable": probable, "several": several}[command["client"]](sdk, command)


for line in sys.stdin:
    try:
        told = {"told": do(json.loads(line))}
    except Exception as error:
        sys.excepthook(*sys.exc_info())
        told = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(told), flush=True)
