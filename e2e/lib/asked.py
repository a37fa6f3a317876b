"""What a provider was asked, in whatever dialect: the pictures, tools, system prompt and results of tools in a body that arrived."""

import json


def dialect(path):
    """The dialect in which a request to this path is."""
    for end in ("/chat/completions", "/messages", "/responses"):
        if path.endswith(end):
            return end
    if path.endswith((":rawPredict", ":streamRawPredict")):
        return "/messages"
    return "/converse" if path.endswith(("/converse", "/converse-stream")) else "generateContent"


def _parts(messages):
    return [part for message in messages if isinstance(message.get("content"), list) for part in message["content"]]


def sent(body, path):
    """Pictures in base64, names of tools, and whether `Be brief.` is the system prompt."""
    spoken = dialect(path)
    if spoken == "/chat/completions":
        pictures = [p["image_url"]["url"].partition("base64,")[2] for p in _parts(body["messages"]) if p["type"] == "image_url"]
        tools = [tool["function"]["name"] for tool in body["tools"]]
        system = [m for m in body["messages"] if m["role"] in ("system", "developer")]
    elif spoken == "/messages":
        pictures = [p["source"]["data"] for p in _parts(body["messages"]) if p["type"] == "image"]
        tools, system = [tool["name"] for tool in body["tools"]], body.get("system")
    elif spoken == "/responses":
        pictures = [p["image_url"].partition("base64,")[2] for p in _parts(body["input"]) if p["type"] == "input_image"]
        tools = [tool["name"] for tool in body["tools"]]
        system = [body.get("instructions"), [item for item in body["input"] if item.get("role") in ("system", "developer")]]
    elif spoken == "/converse":
        pictures = [p["image"]["source"]["bytes"] for p in _parts(body["messages"]) if p.get("image", {}).get("format") == "png"]
        tools = [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"] if "toolSpec" in tool]
        system = body.get("system")
    else:
        parts = [p for content in body["contents"] for p in content["parts"]]
        data = [blob["data"] for p in parts if (blob := p.get("inlineData") or p.get("inline_data"))]
        # Google takes both alphabets, and its SDK for Python writes the other one, which passes unchanged.
        pictures = [picture.replace("-", "+").replace("_", "/") for picture in data]
        declared = [f for tool in body["tools"] for f in tool.get("functionDeclarations") or tool["function_declarations"]]
        tools, system = [f["name"] for f in declared], body.get("systemInstruction") or body.get("system_instruction")
    return pictures, tools, "Be brief." in json.dumps(system)


def results(body, path):
    """The results of tools that the provider was told: for each, the name and the input of the call that it belongs to, or
    None where there is no such call, and its text."""
    spoken = dialect(path)
    if spoken == "/chat/completions":
        made = [call for m in body["messages"] for call in m.get("tool_calls") or []]
        calls = {c["id"]: (c["function"]["name"], json.loads(c["function"]["arguments"] or "{}")) for c in made}
        return [(calls.get(m["tool_call_id"]), json.dumps(m["content"])) for m in body["messages"] if m["role"] == "tool"]
    if spoken == "/messages":
        parts = _parts(body["messages"])
        calls = {p["id"]: (p["name"], p["input"]) for p in parts if p["type"] == "tool_use"}
        return [(calls.get(p["tool_use_id"]), json.dumps(p["content"])) for p in parts if p["type"] == "tool_result"]
    if spoken == "/responses":
        made = [item for item in body["input"] if item.get("type") == "function_call"]
        calls = {item["call_id"]: (item["name"], json.loads(item["arguments"] or "{}")) for item in made}
        told = [item for item in body["input"] if item.get("type") == "function_call_output"]
        return [(calls.get(item["call_id"]), json.dumps(item["output"])) for item in told]
    if spoken == "/converse":
        parts = _parts(body["messages"])
        calls = {p["toolUse"]["toolUseId"]: (p["toolUse"]["name"], p["toolUse"]["input"]) for p in parts if "toolUse" in p}
        told = [p["toolResult"] for p in parts if "toolResult" in p]
        return [(calls.get(result["toolUseId"]), json.dumps(result["content"])) for result in told]
    parts = [p for content in body["contents"] for p in content["parts"]]
    calls = [call for p in parts if (call := p.get("functionCall") or p.get("function_call"))]
    told, found = [r for p in parts if (r := p.get("functionResponse") or p.get("function_response"))], []
    for result in told:
        # By the id where there is one, else the earliest of that name.
        mine = [c for c in calls if c["name"] == result["name"] and c.get("id") in (None, result.get("id"))]
        call = mine[0] if mine else None
        if call:
            calls.remove(call)
        found.append((call and (call["name"], call.get("args") or {}), json.dumps(result["response"])))
    return found
