"""Makes calls with the official `openai` and `anthropic` SDKs, one for each line of its input, and tells what came."""

import json
import sys

import anthropic
import openai

clients = {}


def client(asked):
    place = (asked["do"], asked["base_url"], asked["key"])
    if place not in clients:
        make, base = (anthropic.Anthropic, asked["base_url"]) if asked["do"] == "messages" else (openai.OpenAI, asked["base_url"] + "/v1")
        clients[place] = make(base_url=base, api_key=asked["key"], max_retries=0, timeout=30)
    return clients[place]


def chat(asked):
    more = {"stream": True, "stream_options": {"include_usage": True}} if asked.get("stream") else {}
    raw = client(asked).chat.completions.with_raw_response.create(
        model=asked["model"], messages=asked.get("messages") or [{"role": "user", "content": asked["says"]}],
        extra_headers=asked.get("headers"), **asked.get("more", {}), **more)
    told = raw.parse()
    if not asked.get("stream"):
        return raw, told.choices[0].message.content, told.usage.total_tokens
    words, tokens = "", 0
    for chunk in told:
        words += "".join(choice.delta.content or "" for choice in chunk.choices)
        tokens = chunk.usage.total_tokens if chunk.usage else tokens
    return raw, words, tokens


def messages(asked):
    raw = client(asked).messages.with_raw_response.create(
        model=asked["model"], max_tokens=100, stream=bool(asked.get("stream")), extra_headers=asked.get("headers"),
        messages=[{"role": "user", "content": asked["says"]}])
    told = raw.parse()
    if not asked.get("stream"):
        return raw, told.content[0].text, told.usage.input_tokens + told.usage.output_tokens
    words, tokens = "", 0
    for event in told:
        if event.type == "message_start":
            tokens = event.message.usage.input_tokens
        if event.type == "content_block_delta":
            words += event.delta.text
        if event.type == "message_delta":
            # Translated streams tell both in the end.
            tokens = (event.usage.input_tokens or tokens) + event.usage.output_tokens
    return raw, words, tokens


def embeddings(asked):
    raw = client(asked).embeddings.with_raw_response.create(
        model=asked["model"], input=asked["says"], encoding_format="float", extra_headers=asked.get("headers"))
    told = raw.parse()
    return raw, str(told.data[0].embedding), told.usage.total_tokens


for line in sys.stdin:
    asked = json.loads(line)
    try:
        raw, words, tokens = {"chat": chat, "messages": messages, "embeddings": embeddings}[asked["do"]](asked)
        told = {"status": 200, "headers": dict(raw.headers), "words": words, "tokens": tokens}
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        told = {"status": error.status_code, "message": str(error)}
    except (openai.OpenAIError, anthropic.AnthropicError) as error:
        told = {"status": 0, "message": str(error)}
    print(json.dumps(told), flush=True)
