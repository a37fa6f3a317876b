"""Does what it is told with the official `google-genai` package: one JSON command a line in, one JSON answer a line out."""

import json
import sys

from google import genai
from google.genai import errors, types

clients = {}
#: What the SDK itself puts into its answers.
OWN = {"sdk_http_response", "automatic_function_calling_history", "parsed"}


def client(command):
    where = (command["base_url"], command["key"])
    if where not in clients:
        options = types.HttpOptions(base_url=where[0], timeout=30_000)
        clients[where] = genai.Client(api_key=where[1], vertexai=False, http_options=options)
    return clients[where]


def dumped(answer):
    return answer.model_dump(mode="json", exclude_none=True, exclude=OWN)


def run(command):
    models, what = client(command).models, command["do"]
    if what == "list":
        return {"models": sorted(m.name for m in models.list())}
    if what == "retrieve":
        return {"model": dumped(models.get(model=command["model"]))}
    asked = {"model": command["model"], "contents": command["contents"]}
    if what == "count":
        return {"answer": dumped(models.count_tokens(**asked))}
    config = types.GenerateContentConfig(**command.get("config", {}))
    config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    if what == "generate":
        return {"answer": dumped(models.generate_content(**asked, config=config))}
    if what == "stream":
        return {"parts": [dumped(part) for part in models.generate_content_stream(**asked, config=config)]}
    raise ValueError(what)


for line in sys.stdin:
    try:
        result = run(json.loads(line))
    except errors.APIError as error:
        result = {
            "error": type(error).__name__,
            "status": error.code,
            "word": error.status,
            "body": error.details,
            "message": str(error),
        }
    print(json.dumps(result), flush=True)
