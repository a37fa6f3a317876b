"""Makes calls with the official `openai` SDK, one for each line of its input, and tells what came of each."""

import json
import sys

import openai

clients = {}
for line in sys.stdin:
    asked = json.loads(line)
    place = (asked["base_url"], asked["key"])
    if place not in clients:
        clients[place] = openai.OpenAI(base_url=asked["base_url"], api_key=asked["key"], max_retries=0, timeout=30)
    more = {name: asked[name] for name in ("user", "safety_identifier") if name in asked}
    try:
        raw = clients[place].chat.completions.with_raw_response.create(
            model=asked["model"],
            max_tokens=asked.get("max_tokens", 1000),
            # Of a prompt, what is said is one of its variables.
            messages=[] if "prompt" in asked else [{"role": "user", "content": asked["says"]}],
            extra_headers=asked.get("headers"),
            extra_body={**asked.get("extra", {}), **({"prompt": {**asked["prompt"], "variables": {"says": asked["says"]}}} if "prompt" in asked else {})},
            **more,
        )
        told = {"status": 200, "headers": dict(raw.headers), "usage": raw.parse().usage.model_dump()}
    except openai.APIStatusError as error:
        told = {"status": error.status_code, "code": error.code, "message": error.message}
    except openai.OpenAIError as error:
        told = {"status": 0, "message": str(error)}
    print(json.dumps(told), flush=True)
