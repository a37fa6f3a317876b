"""Does what it is told with the official `openai` and `anthropic` packages: one JSON command a line in, one JSON answer a line out."""

import io
import json
import sys

import anthropic
import openai

clients = {}


def client(kind, command):
    where = (kind, command["base_url"], command["key"])
    if where not in clients:
        base = where[1] if kind is openai.OpenAI else where[1].removesuffix("/v1")
        clients[where] = kind(base_url=base, api_key=where[2], max_retries=0, timeout=60)
    return clients[where]


def run(command):
    what, body = command["do"], command.get("body") or {}
    if what.startswith("message_"):
        batches = client(anthropic.Anthropic, command).messages.batches
        match what.removeprefix("message_"):
            case "create":
                return batches.create(**body).model_dump(mode="json")
            case "get":
                return batches.retrieve(body["id"]).model_dump(mode="json")
            case "list":
                return [one.id for one in batches.list(limit=2)]
            case "cancel":
                return batches.cancel(body["id"]).model_dump(mode="json")
            case "results":
                return [one.model_dump(mode="json") for one in batches.results(body["id"])]
            case "delete":
                return batches.delete(body["id"]).model_dump(mode="json")
    sdk = client(openai.OpenAI, command)
    match what:
        case "upload":
            file = ("calls.jsonl", io.BytesIO(body["lines"].encode()))
            return sdk.files.create(file=file, purpose=body.get("purpose", "batch")).model_dump()
        case "file":
            return sdk.files.retrieve(body["id"]).model_dump()
        case "files":
            return [one.id for one in sdk.files.list(**body)]
        case "content":
            return sdk.files.content(body["id"]).text
        case "delete":
            return sdk.files.delete(body["id"]).model_dump()
        case "create":
            return sdk.batches.create(**body).model_dump()
        case "get":
            return sdk.batches.retrieve(body["id"]).model_dump()
        case "list":
            return [one.id for one in sdk.batches.list(limit=2)]
        case "cancel":
            return sdk.batches.cancel(body["id"]).model_dump()
    raise ValueError(what)


for line in sys.stdin:
    try:
        result = {"answer": run(json.loads(line))}
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        result = {"error": type(error).__name__, "status": error.status_code, "message": str(error)}
    except (openai.APIError, anthropic.APIError) as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
