"""What providers refuse of a call, in their words, as far as their documentation and the errors that people got of them tell it.
The stand-ins for providers refuse the same."""

import json
import re

#: What OpenAI's strict schemas may not have; `$ref` stands alone. (`default` was refused once, and is taken in recordings.)
NOT_STRICT = {
    "allOf", "oneOf", "not", "if", "then", "else", "minLength", "maxLength", "uniqueItems", "patternProperties",
    "propertyNames", "minProperties", "maxProperties", "prefixItems", "dependentRequired", "dependentSchemas", "examples",
}
FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
#: Limits to which Claude cannot be held.
LIMITS = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems", "minProperties", "maxProperties",
}
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
LOOKAROUND = re.compile(r"\(\?<?[=!]")


def within(schema):
    """The schemas within one, each with where it stands."""
    for word in ("properties", "$defs", "definitions"):
        for name, inner in (schema.get(word) or {}).items():
            yield (word, name), inner
    for word in ("items", "not", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield (word,), schema[word]
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for i, inner in enumerate(schema.get(word) or ()):
            yield (word, str(i)), inner


def strict_schema(schema, path=()):
    """Why OpenAI does not take a schema as strict, or None."""
    here = f"In context={path}, "
    if not path and (schema.get("type") != "object" or "anyOf" in schema):
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    if "$ref" in schema:
        beside = set(schema) - {"$ref"}
        return f"{here}$ref cannot have keywords {beside}." if beside else None
    if wrong := sorted(set(schema) & NOT_STRICT):
        return f"{here}'{wrong[0]}' is not permitted."
    if "type" not in schema and "anyOf" not in schema and not set(schema) & {"enum", "const"}:
        return f"{here}schema must have a 'type' key."
    if "format" in schema and schema["format"] not in FORMATS:
        return f"{here}'{schema['format']}' is not a valid format."
    if LOOKAROUND.search(schema.get("pattern", "")):
        return f"{here}regex lookaround is not supported."
    if "object" in schema.get("type", ()):
        if schema.get("additionalProperties") is not False:
            return f"{here}'additionalProperties' is required to be supplied and to be false."
        if missing := set(schema.get("properties", {})) ^ set(schema.get("required", ())):
            return f"{here}'required' is required to be supplied and to be an array including every key in properties. Missing '{missing.pop()}'."
    if "array" in schema.get("type", ()) and "items" not in schema:
        return f"{here}array schema missing items."
    return next((why for at, inner in within(schema) if (why := strict_schema(inner, (*path, *at)))), None)


def closed_schema(schema):
    """Why Claude does not take a schema, or None."""
    kind = schema.get("type", "any")
    if "object" in kind and (others := schema.get("additionalProperties")) is not False:
        if others is None:
            return "For 'object' type, 'additionalProperties' must be explicitly set to false"
        return "For 'object' type, 'additionalProperties: object' is not supported. Please set 'additionalProperties' to false"
    if wrong := sorted(set(schema) & LIMITS):
        return f"For '{kind}' type, property '{wrong[0]}' is not supported"
    if schema.get("minItems", 0) > 1:
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if "format" in schema and schema["format"] not in FORMATS | {"uri"}:
        return f"For '{kind}' type, format '{schema['format']}' is not supported"
    if LOOKAROUND.search(schema.get("pattern", "")):
        return "Invalid regex pattern: lookaround is not supported"
    if "oneOf" in schema:
        return "Schema type 'oneOf' is not supported"
    return next((why for _, inner in within(schema) if (why := closed_schema(inner))), None)


def by_openai(body, chat):
    """Why OpenAI refuses a call of its dialects, or None."""
    form = body.get("response_format", {}).get("json_schema") if chat else body.get("text", {}).get("format")
    if form and form.get("strict") and (why := strict_schema(form["schema"])):
        return f"Invalid schema for response_format '{form['name']}': {why}"
    tools = [tool.get("function") if chat else tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    for tool in tools:
        if tool.get("strict") and (why := strict_schema(tool["parameters"])):
            return f"Invalid schema for function '{tool['name']}': {why}"
    if chat and "tool_choice" in body and not body.get("tools"):
        return "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."


def blocks(content):
    for block in content if isinstance(content, list) else ():
        yield block
        yield from blocks(block.get("content"))


def by_anthropic(body):
    """Why Anthropic refuses a message, or None."""
    form = (body.get("output_config") or {}).get("format")
    if form and (why := closed_schema(form["schema"])):
        return f"output_config.format.schema: {why}"
    for i, tool in enumerate(body.get("tools") or ()):
        if tool.get("strict") and (why := closed_schema(tool["input_schema"])):
            return f"tools.{i}.custom: {why}"
    if "tool_choice" in body and not body.get("tools"):
        return "tool_choice: may only be specified while providing tools"
    said = [block for turn in body["messages"] for block in blocks(turn["content"])]
    said += blocks(body.get("system"))
    for block in said:
        source = block.get("source") or {}
        if block["type"] == "text" and not block["text"].strip():
            return "messages: text content blocks must contain non-whitespace text"
        if source.get("type") == "base64":
            allowed = IMAGES if block["type"] == "image" else ("application/pdf",)
            if source["media_type"] not in allowed:
                told = " or ".join(f"'{one}'" for one in allowed)
                return f"{block['type']}.source.base64.media_type: Input should be {told}"


def by_bedrock(body):
    """Why AWS Bedrock refuses a call of Converse, or None."""
    form = body.get("outputConfig", {}).get("textFormat", {}).get("structure", {}).get("jsonSchema")
    if form and (why := closed_schema(json.loads(form["schema"]))):
        return f"The model returned the following errors: output_config.format.schema: {why}"
    for i, turn in enumerate(body["messages"]):
        for j, block in enumerate(turn["content"]):
            if not block.get("text", "x").strip():
                return f"The text field in the ContentBlock object at messages.{i}.content.{j} is blank. Add text to the text field, and try again."


def refused(request):
    """Status, body and headers of what a provider answers to a call that it refuses; None where it takes it."""
    if request.method != "POST" or not request.body.startswith(b"{"):
        return None
    path, body, headers = request.path, request.json(), {}
    if path.endswith("/chat/completions"):
        why = by_openai(body, True)
    elif path.endswith("/responses"):
        why = by_openai(body, False)
    elif path.endswith(("/messages", ":rawPredict", ":streamRawPredict")):
        why = by_anthropic(body)
    elif path.endswith(("/converse", "/converse-stream")):
        why, headers = by_bedrock(body), {"x-amzn-errortype": "ValidationException"}
    else:
        return None
    if not why:
        return None
    error = {"type": "invalid_request_error", "message": why}
    whole = {"message": why} if headers else {"type": "error", "error": {**error, "param": None, "code": None}}
    return 400, whole, headers
