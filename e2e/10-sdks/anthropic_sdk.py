"""Does what it is told with the official `anthropic` package: one JSON command a line in, one JSON answer a line out."""

import json
import sys

import anthropic

clients = {}


def client(command):
    how = "auth_token" if command.get("bearer") else "api_key"
    where = (command["base_url"], how, command["key"])
    if where not in clients:
        # Nothing comes from the environment.
        keys = {"api_key": None, "auth_token": None, how: command["key"]}
        clients[where] = anthropic.Anthropic(base_url=where[0], max_retries=0, timeout=30, **keys)
    return clients[where]


def run(command):
    sdk, what = client(command), command["do"]
    if what == "list":
        return {"models": sorted(m.id for m in sdk.models.list())}
    if what == "retrieve":
        return {"model": sdk.models.retrieve(command["model"]).model_dump(mode="json")}
    body = dict(command["body"])
    model, messages = body.pop("model"), body.pop("messages")
    if what == "count":
        return {"answer": sdk.messages.count_tokens(model=model, messages=messages, extra_body=body).model_dump(mode="json")}
    most = body.pop("max_tokens", 64)
    if what == "message":
        answer = sdk.messages.create(model=model, messages=messages, max_tokens=most, extra_body=body)
        return {"answer": answer.model_dump(mode="json"), "request_id": answer._request_id}
    if what == "stream":
        body.pop("stream", None)
        stream = sdk.messages.create(model=model, messages=messages, max_tokens=most, stream=True, extra_body=body)
        return {"events": [event.model_dump(mode="json") for event in stream]}
    if what == "gather":
        # The SDK itself puts the events together.
        body.pop("stream", None)
        with sdk.messages.stream(model=model, messages=messages, max_tokens=most, extra_body=body) as stream:
            return {"answer": stream.get_final_message().model_dump(mode="json")}
    raise ValueError(what)


for line in sys.stdin:
    try:
        result = run(json.loads(line))
    except anthropic.APIStatusError as error:
        result = {
            "error": type(error).__name__,
            "status": error.status_code,
            "body": error.body,
            "message": str(error),
            "request_id": error.request_id,
        }
    except anthropic.APIError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
