"""Does what it is told with the official `openai` package: one JSON command a line in, one JSON answer a line out."""

import json
import sys

import openai

clients = {}


def client(command):
    where = (command["base_url"], command["key"])
    if where not in clients:
        clients[where] = openai.OpenAI(base_url=where[0], api_key=where[1], max_retries=0, timeout=30)
    return clients[where]


def run(command):
    sdk, what = client(command), command["do"]
    if what == "list":
        return {"models": sorted(m.id for m in sdk.models.list())}
    if what == "retrieve":
        return {"model": sdk.models.retrieve(command["model"]).model_dump()}
    body = dict(command["body"])
    if what == "respond":
        model, said = body.pop("model"), body.pop("input")
        return {"answer": sdk.responses.create(model=model, input=said, extra_body=body).model_dump(mode="json")}
    if what == "respond_stream":
        # The SDK itself puts the events together.
        model, said = body.pop("model"), body.pop("input")
        body.pop("stream", None)
        with sdk.responses.stream(model=model, input=said, extra_body=body) as stream:
            events = list(stream)
        # `get_final_response` knows of completed ones alone.
        return {"events": [event.type for event in events], "answer": events[-1].response.model_dump(mode="json")}
    if what == "respond_events":
        model, said = body.pop("model"), body.pop("input")
        body.pop("stream", None)
        stream = sdk.responses.create(model=model, input=said, stream=True, extra_body=body)
        return {"events": [event.model_dump(mode="json") for event in stream]}
    if what == "kept":
        return {"answer": sdk.responses.retrieve(body["id"]).model_dump(mode="json")}
    if what == "count":
        model, said = body.pop("model"), body.pop("input")
        return {"answer": sdk.responses.input_tokens.count(model=model, input=said, extra_body=body).model_dump()}
    model, messages = body.pop("model"), body.pop("messages")
    if what == "chat":
        return {"answer": sdk.chat.completions.create(model=model, messages=messages, extra_body=body).model_dump()}
    if what == "stream":
        body.pop("stream", None)
        stream = sdk.chat.completions.create(model=model, messages=messages, stream=True, extra_body=body)
        return {"events": [event.model_dump() for event in stream]}
    raise ValueError(what)


for line in sys.stdin:
    try:
        result = run(json.loads(line))
    except openai.APIStatusError as error:
        result = {"error": type(error).__name__, "status": error.status_code, "code": error.code, "message": str(error)}
    except openai.APIError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
