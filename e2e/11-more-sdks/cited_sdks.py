"""Tells what the official SDK finds cited in an answer, plain or streamed: the words, the address and the title, each cut out of
the text by the SDK's own numbers. One JSON command a line in, one JSON answer a line out."""

import json
import sys


def openai(url, key):
    from openai import OpenAI

    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=30)


def with_chat(command):
    sdk, asked = openai(command["base_url"], command["key"]), {"model": command["model"], "messages": [{"role": "user", "content": "Where?"}]}
    if command["stream"]:
        # The helper joins the lists of deltas by their indexes, and raises where one has none.
        with sdk.chat.completions.stream(**asked) as events:
            for _ in events:
                pass
            message = events.get_final_completion().choices[0].message
    else:
        message = sdk.chat.completions.create(**asked).choices[0].message
    cited = [one.url_citation for one in message.annotations or []]
    return message.content, [[message.content[c.start_index : c.end_index], c.url, c.title] for c in cited]


def with_responses(command):
    sdk, asked = openai(command["base_url"], command["key"]), {"model": command["model"], "input": "Where?", "store": False}
    added = None
    if command["stream"]:
        with sdk.responses.stream(**asked) as events:
            added = [event.annotation for event in events if event.type == "response.output_text.annotation.added"]
            got = events.get_final_response()
    else:
        got = sdk.responses.create(**asked)
    parts = [part for item in got.output if item.type == "message" for part in item.content]
    cited = [[part.text[c.start_index : c.end_index], c.url, c.title] for part in parts for c in part.annotations]
    assert added is None or len(added) == len(cited), f"{len(added)} were added, {len(cited)} are there"
    return got.output_text, cited


def with_anthropic(command):
    from anthropic import Anthropic

    sdk = Anthropic(base_url=command["base_url"], api_key=command["key"], auth_token=None, max_retries=0, timeout=30)
    asked = {"model": command["model"], "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 64}
    if command["stream"]:
        with sdk.messages.stream(**asked) as events:
            got = events.get_final_message()
    else:
        got = sdk.messages.create(**asked)
    cited = [[block.text, c.url, c.title] for block in got.content for c in block.citations or []]
    kinds = {type(c).__name__ for block in got.content for c in block.citations or []}
    assert kinds <= {"CitationsWebSearchResultLocation"}, kinds
    return "".join(block.text for block in got.content), cited


def with_google(command):
    from google import genai

    options = genai.types.HttpOptions(base_url=command["base_url"], timeout=30_000)
    sdk = genai.Client(api_key=command["key"], vertexai=False, http_options=options)
    asked = {"model": command["model"], "contents": "Where?"}
    answers = list(sdk.models.generate_content_stream(**asked)) if command["stream"] else [sdk.models.generate_content(**asked)]
    words = "".join(answer.text or "" for answer in answers)
    grounding = answers[-1].candidates[0].grounding_metadata
    cited = []
    for support in (grounding and grounding.grounding_supports) or []:
        # Google's numbers are of bytes.
        there = words.encode()[support.segment.start_index or 0 : support.segment.end_index].decode()
        assert support.segment.text == there, (support.segment, there)
        chunks = [grounding.grounding_chunks[at].web for at in support.grounding_chunk_indices]
        cited += [[there, web.uri, web.title or ""] for web in chunks]
    return words, cited


WITH = {"chat": with_chat, "responses": with_responses, "anthropic": with_anthropic, "google": with_google}

for line in sys.stdin:
    command = json.loads(line)
    try:
        words, cited = WITH[command["client"]](command)
        told = {"words": words, "cited": cited}
    except Exception as error:  # noqa: BLE001 - whatever it is, the suite is told
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)
