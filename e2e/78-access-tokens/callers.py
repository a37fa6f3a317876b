"""The official SDKs, given another base URL and key. One JSON object a line in, one out."""

import json
import sys

import anthropic
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


def claude(asked):
    """Plain, streamed and with a tool, of which all say the same."""
    client = anthropic.Anthropic(base_url=asked["base_url"], api_key=asked["key"], max_retries=0)
    call = {"model": asked["model"], "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
    said = client.messages.create(**call)
    with client.messages.stream(**call) as stream:
        streamed = "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == said.usage.output_tokens
    assert streamed == said.content[0].text, streamed
    tool = {"name": "weather", "description": "Tells the weather.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    for answer in (client.messages.create(**call, tools=[tool]), stream_of(client, **call, tools=[tool])):
        used = next(block for block in answer.content if block.type == "tool_use")
        assert (used.name, used.input, answer.stop_reason) == ("weather", {"city": "Zürich"}, "tool_use"), answer
        result = {"type": "tool_result", "tool_use_id": used.id, "content": "sunny"}
        turns = [*call["messages"], {"role": "assistant", "content": [used.model_dump()]}, {"role": "user", "content": [result]}]
        last = client.messages.create(**{**call, "messages": turns}, tools=[tool])
        assert last.content[0].text == "It is sunny.", last
    assert client.messages.count_tokens(model=asked["model"], messages=call["messages"]).input_tokens == 3
    return said.content[0].text, said.usage.input_tokens + said.usage.output_tokens


def stream_of(client, **call):
    with client.messages.stream(**call) as stream:
        return stream.get_final_message()


for line in sys.stdin:
    asked = json.loads(line)
    try:
        told = {"gave": {"azure": azure, "claude": claude, "vertex": vertex}[asked["do"]](asked)}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)
