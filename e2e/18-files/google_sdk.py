"""Files with the official `google-genai` package: one JSON command a line in, one JSON answer a line out."""

import io
import json
import sys

from google import genai
from google.genai import errors, types

clients = {}


def client(command):
    where = (command["base_url"], command["key"], json.dumps(command.get("headers")))
    if where not in clients:
        options = types.HttpOptions(base_url=where[0], timeout=60_000, headers=command.get("headers"))
        clients[where] = genai.Client(api_key=where[1], vertexai=False, http_options=options)
    return clients[where]


def dumped(told):
    return told.model_dump(mode="json", exclude_none=True, exclude={"sdk_http_response"})


def run(command):
    sdk, what, body = client(command), command["do"], command.get("body") or {}
    match what:
        case "upload":
            file = body.get("path") or io.BytesIO(body["text"].encode())
            config = {"mime_type": body.get("mime_type", "text/plain"), "display_name": body.get("display_name")}
            return dumped(sdk.files.upload(file=file, config={**config, **body.get("config", {})}))
        case "file":
            return dumped(sdk.files.get(name=body["name"]))
        case "files":
            return [file.name for file in sdk.files.list(config={"page_size": body.get("page_size", 2)})]
        case "delete":
            sdk.files.delete(name=body["name"])
            return None
        case "download":
            return sdk.files.download(file=body["name"]).decode()
        case "ask":
            files = [sdk.files.get(name=name) for name in body.get("names", [])]
            files += [types.Part.from_uri(file_uri=uri, mime_type="text/plain") for uri in body.get("uris", [])]
            return sdk.models.generate_content(model=body["to"], contents=[*files, "What does it say?"]).text


for line in sys.stdin:
    try:
        result = {"answer": run(json.loads(line))}
    except errors.APIError as error:
        result = {"error": type(error).__name__, "status": error.code, "message": str(error)}
    except Exception as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
