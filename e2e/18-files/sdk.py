"""Does what it is told with the official `openai` and `anthropic` packages: one JSON command a line in, one JSON answer a line out."""

import base64
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


def naming(body):
    """What names the model that a file is for."""
    return {"x-credentialflow-model": body["model"]} if body.get("model") else {}


def content(body):
    return base64.b64decode(body["bytes"])


def of_anthropic(what, body, sdk):
    betas = ["files-api-2025-04-14"]
    match what:
        case "upload":
            file = (body["name"], io.BytesIO(content(body)), "application/pdf")
            return sdk.beta.files.upload(file=file, extra_headers=naming(body)).model_dump(mode="json")
        case "file":
            return sdk.beta.files.retrieve_metadata(body["id"]).model_dump(mode="json")
        case "files":
            return [one.id for one in sdk.beta.files.list(limit=2)]
        case "content":
            return base64.b64encode(sdk.beta.files.download(body["id"]).read()).decode()
        case "delete":
            return sdk.beta.files.delete(body["id"]).model_dump(mode="json")
        case "ask":
            parts = [{"type": "document", "source": {"type": "file", "file_id": id}} for id in body["ids"]]
            said = sdk.beta.messages.create(
                model=body["to"], max_tokens=50, betas=betas, messages=[{"role": "user", "content": [*parts, {"type": "text", "text": "?"}]}]
            )
            return said.content[0].text


def of_openai(what, body, sdk):
    match what:
        case "upload":
            more = {"expires_after": body["expires_after"]} if body.get("expires_after") else {}
            file = (body["name"], io.BytesIO(content(body)))
            return sdk.files.create(file=file, purpose=body["purpose"], extra_headers=naming(body), **more).model_dump()
        case "file":
            return sdk.files.retrieve(body["id"]).model_dump()
        case "files":
            more = {"purpose": body["purpose"]} if body.get("purpose") else {}
            return [one.id for one in sdk.files.list(limit=2, **more)]
        case "content":
            return base64.b64encode(sdk.files.content(body["id"]).read()).decode()
        case "delete":
            return sdk.files.delete(body["id"]).model_dump()
        case "ask":
            parts = [{"type": "file", "file": {"file_id": id}} for id in body["ids"]]
            said = sdk.chat.completions.create(model=body["to"], messages=[{"role": "user", "content": [*parts, {"type": "text", "text": "?"}]}])
            return said.choices[0].message.content
        case "respond":
            parts = [{"type": "input_file", "file_id": id} for id in body["ids"]]
            said = sdk.responses.create(model=body["to"], input=[{"role": "user", "content": [*parts, {"type": "input_text", "text": "?"}]}])
            return said.output_text


def run(command):
    what, body = command["do"], command.get("body") or {}
    if what.startswith("claude_"):
        return of_anthropic(what.removeprefix("claude_"), body, client(anthropic.Anthropic, command))
    return of_openai(what, body, client(openai.OpenAI, command))


for line in sys.stdin:
    try:
        result = {"answer": run(json.loads(line))}
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        result = {"error": type(error).__name__, "status": error.status_code, "message": str(error)}
    except (openai.APIError, anthropic.APIError) as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
