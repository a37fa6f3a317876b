"""Does what it is told with the official `openai` and `cohere` packages: one JSON command a line in, one JSON answer a line out."""

import base64
import json
import sys

import openai

clients = {}


def client(command):
    where = (command["base_url"], command["key"])
    if where not in clients:
        clients[where] = openai.OpenAI(base_url=where[0], api_key=where[1], max_retries=0, timeout=30)
    return clients[where]


def rerank(command):
    import cohere

    sdk = cohere.ClientV2(api_key=command["key"], base_url=command["base_url"].removesuffix("/v1"))
    got = sdk.rerank(**command["body"])
    units = got.meta.billed_units.search_units
    return {"answer": {"results": [[one.index, one.relevance_score] for one in got.results], "search_units": units}}


def run(command):
    what, body = command["do"], dict(command["body"])
    if what == "rerank":
        return rerank(command)
    sdk = client(command)
    file = base64.b64decode(body.pop("file", ""))
    if what == "embed":
        return {"answer": sdk.embeddings.create(**body).model_dump()}
    if what == "moderate":
        return {"answer": sdk.moderations.create(**body).model_dump()}
    if what == "image":
        return {"answer": sdk.images.generate(**body).model_dump()}
    if what == "image_stream":
        return {"events": [event.model_dump() for event in sdk.images.generate(stream=True, **body)]}
    if what == "edit":
        return {"answer": sdk.images.edit(image=[("a.png", file, "image/png"), ("b.png", file, "image/png")], **body).model_dump()}
    if what == "speak":
        return {"answer": base64.b64encode(sdk.audio.speech.create(**body).content).decode()}
    if what == "transcribe":
        got = sdk.audio.transcriptions.create(file=("a.wav", file), **body)
        return {"answer": got if isinstance(got, str) else got.model_dump()}
    if what == "transcribe_stream":
        got = sdk.audio.transcriptions.create(file=("a.wav", file), stream=True, **body)
        return {"events": [event.model_dump() for event in got]}
    if what == "translate":
        return {"answer": sdk.audio.translations.create(file=("a.wav", file), **body).model_dump()}
    raise ValueError(what)


for line in sys.stdin:
    try:
        result = run(json.loads(line))
    except openai.APIStatusError as error:
        result = {"error": type(error).__name__, "status": error.status_code, "code": error.code, "message": str(error)}
    except openai.APIError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
