"""Names prompts with the official `openai` package: one JSON command a line in, one JSON answer a line out."""

import json
import sys

import openai


def run(command):
    sdk = openai.OpenAI(base_url=command["base_url"], api_key=command["key"], max_retries=0, timeout=30)
    prompt = command["prompt"]
    if command["do"] == "respond":
        answer = sdk.responses.create(prompt=prompt, **command.get("more", {}))
        return {"text": answer.output_text}
    more = {"prompt": prompt}
    if command["do"] == "stream":
        stream = sdk.chat.completions.create(model="chat", messages=[], stream=True, extra_body=more)
        return {"text": "".join(choice.delta.content or "" for event in stream for choice in event.choices)}
    answer = sdk.chat.completions.create(model="chat", messages=[], extra_body=more)
    return {"text": answer.choices[0].message.content}


for line in sys.stdin:
    try:
        result = run(json.loads(line))
    except openai.APIStatusError as error:
        result = {"error": type(error).__name__, "status": error.status_code, "code": error.code, "message": str(error)}
    except openai.APIError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(result), flush=True)
