"""Does what it is told with the official `google-genai` package: one JSON command a line in, one JSON answer a line out."""

import json
import sys

from google import genai


def run(command):
    what, body = command["do"], command.get("body") or {}
    options = {"base_url": command["base_url"].removesuffix("/v1"), "timeout": 30_000}
    # Held, as it is closed when nobody does.
    client = genai.Client(api_key=command["key"], http_options=options)
    batches = client.batches
    match what:
        case "create":
            return batches.create(**body).model_dump(mode="json")
        case "get":
            return batches.get(name=body["name"]).model_dump(mode="json")
        case "list":
            return [one.name for one in batches.list(config={"page_size": 2})]
        case "cancel":
            return batches.cancel(name=body["name"])
        case "delete":
            return batches.delete(name=body["name"]).model_dump(mode="json")
    raise ValueError(what)


for line in sys.stdin:
    try:
        result = {"answer": run(json.loads(line))}
    except genai.errors.APIError as error:
        result = {"error": type(error).__name__, "status": error.code, "message": str(error)}
    print(json.dumps(result), flush=True)
