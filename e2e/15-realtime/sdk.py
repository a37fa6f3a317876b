"""The official `openai` SDK for Python in a session: one JSON command a line, one JSON answer a line."""

import json
import sys

import openai

client = connection = manager = None


def event(recv):
    try:
        return json.loads(recv.to_json())
    except AttributeError:
        return json.loads(json.dumps(recv, default=str))


def do(command):
    global client, connection, manager
    what = command["do"]
    if what == "connect":
        client = openai.OpenAI(base_url=command["base_url"], api_key=command["key"], max_retries=0)
        manager = client.realtime.connect(model=command["model"], extra_query=command.get("query", {}))
        connection = manager.enter()
        return {"event": event(connection.recv())}
    if what == "send":
        connection.send(command["event"])
        return {}
    if what == "append":
        connection.input_audio_buffer.append(audio=command["audio"])
        return {}
    if what == "until":
        got = []
        while True:
            got.append(event(connection.recv()))
            if got[-1]["type"] in command["types"]:
                return {"events": got}
    if what == "end":
        connection.close()
        return {}
    raise ValueError(what)


for line in sys.stdin:
    try:
        told = do(json.loads(line))
    except Exception as error:
        cause = getattr(error, "__cause__", None) or error
        received = getattr(error, "rcvd", None) or getattr(cause, "rcvd", None)
        response = getattr(error, "response", None) or getattr(cause, "response", None)
        told = {
            "error": type(error).__name__,
            "message": str(error),
            "close": getattr(received, "code", None),
            "status": getattr(response, "status_code", None),
        }
    print(json.dumps(told), flush=True)
