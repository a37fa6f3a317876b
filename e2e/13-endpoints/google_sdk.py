"""Does what it is told with the official `google-genai` package: one JSON command a line in, one JSON answer a line out."""

import json
import sys

from google import genai

for line in sys.stdin:
    command = json.loads(line)
    try:
        options = {"base_url": command["base_url"].removesuffix("/v1"), "timeout": 30_000}
        sdk = genai.Client(api_key=command["key"], http_options=options)
        got = sdk.models.embed_content(**command["body"])
        result = {"vectors": [one.values for one in got.embeddings]}
    except genai.errors.APIError as error:
        result = {"error": type(error).__name__, "status": error.code, "message": str(error)}
    print(json.dumps(result), flush=True)
