"""The official SDKs, given another base URL and key. One JSON object a line in, one out."""

import json
import sys

import openai
from google import genai


def azure(asked):
    """As a caller of the gateway has it: the plain client, whatever is behind."""
    client = openai.OpenAI(base_url=f"{asked['base_url']}/v1", api_key=asked["key"], max_retries=0)
    said = client.chat.completions.create(model=asked["model"], messages=[{"role": "user", "content": "hi"}])
    return said.choices[0].message.content, said.usage.total_tokens


def vertex(asked):
    client = genai.Client(api_key=asked["key"], http_options={"base_url": asked["base_url"]})
    said = client.models.generate_content(model=asked["model"], contents="hi")
    streamed = "".join(part.text or "" for part in client.models.generate_content_stream(model=asked["model"], contents="hi"))
    assert streamed == said.text, streamed
    return said.text, said.usage_metadata.total_token_count


for line in sys.stdin:
    asked = json.loads(line)
    try:
        told = {"gave": {"azure": azure, "vertex": vertex}[asked["do"]](asked)}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)
