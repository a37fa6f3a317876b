"""The official `google-genai` package in a session of Live: one JSON command a line, one JSON answer a line."""

import asyncio
import base64
import json
import sys

from google import genai
from google.genai import errors, types

loop = asyncio.new_event_loop()
client = manager = session = None


def dumped(message):
    return message.model_dump(mode="json", exclude_none=True)


async def do(command):
    global client, manager, session
    what = command["do"]
    if what == "connect":
        client = genai.Client(api_key=command["key"], vertexai=False, http_options=types.HttpOptions(base_url=command["base_url"]))
        manager = client.aio.live.connect(model=command["model"], config=command.get("config", {}))
        session = await manager.__aenter__()
        return {}
    if what == "say":
        await session.send_client_content(turns={"role": "user", "parts": [{"text": command["text"]}]}, turn_complete=True)
    if what == "write":
        await session.send_realtime_input(text=command["text"])
    if what == "sound":
        blob = types.Blob(data=base64.b64decode(command["sound"]), mime_type="audio/pcm;rate=16000")
        await session.send_realtime_input(audio=blob)
    if what == "tool":
        response = types.FunctionResponse(id=command["id"], name=command["name"], response=command["response"])
        await session.send_tool_response(function_responses=[response])
    if what == "end":
        await manager.__aexit__(None, None, None)
        return {}
    # What comes back, up to the end of a turn or the call of a tool.
    messages = []
    async for message in session.receive():
        messages.append(dumped(message))
        if message.tool_call or (command.get("until") and command["until"] in messages[-1]):
            break
    return {"messages": messages}


for line in sys.stdin:
    try:
        told = loop.run_until_complete(asyncio.wait_for(do(json.loads(line)), 30))
    except errors.APIError as error:
        told = {"error": type(error).__name__, "code": error.code, "message": str(error)}
    except Exception as error:
        told = {"error": type(error).__name__, "message": str(error)}
        response = getattr(error, "response", None)
        told["status"] = getattr(response, "status_code", None)
    print(json.dumps(told), flush=True)
