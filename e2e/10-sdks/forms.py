"""Has answers in the form of pydantic models, as the documentation of each official SDK has them made: one JSON command a line
in, one JSON answer a line out."""

import json
import sys
from decimal import Decimal
from typing import List, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field


class Place(BaseModel):
    name: str = Field(description="What it is called.", max_length=80)
    height: Optional[int] = Field(default=None, ge=-500, le=9000)


class City(BaseModel):
    """The plainest: one property."""

    city: str


class Visit(BaseModel):
    """What OpenAI does not take as strict and Claude not as it stands: optional, limited, nested and described properties."""

    model_config = ConfigDict(regex_engine="python-re")

    city: str = Field(pattern="^(?!x)[A-Z]")
    kind: Literal["trip", "stay"] = "trip"
    near: Optional[Place] = Field(default=None, description="The next one.")
    places: List[Place] = Field(default_factory=list, max_length=9)
    share: Union[int, Decimal, None] = None


class Closed(BaseModel):
    """As OpenAI's strict schemas are, but for what those of Claude may not have."""

    model_config = ConfigDict(extra="forbid")

    city: str
    people: int = Field(ge=1)


MODELS = {model.__name__: model for model in (City, Visit, Closed)}


def openai_sdk(command, model):
    from openai import OpenAI

    sdk = OpenAI(base_url=f"{command['base_url']}/v1", api_key=command["key"], max_retries=0, timeout=30)
    asked, schema = [{"role": "user", "content": "Where?"}], model.model_json_schema()
    how = command["how"]
    if how == "chat, parse":
        return sdk.chat.completions.parse(model=command["model"], messages=asked, response_format=model).choices[0].message.parsed
    if how == "chat":
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        got = sdk.chat.completions.create(model=command["model"], messages=asked, response_format=form)
        return model.model_validate_json(got.choices[0].message.content)
    if how == "responses, parse":
        return sdk.responses.parse(model=command["model"], input=asked, text_format=model).output_parsed
    form = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": False}}
    return model.model_validate_json(sdk.responses.create(model=command["model"], input=asked, text=form).output_text)


def anthropic_sdk(command, model):
    from anthropic import Anthropic, transform_schema

    sdk = Anthropic(base_url=command["base_url"], api_key=command["key"], auth_token=None, max_retries=0, timeout=30)
    asked = {"model": command["model"], "max_tokens": 64, "messages": [{"role": "user", "content": "Where?"}]}
    if command["how"] == "parse":
        return sdk.messages.parse(**asked, output_format=model).parsed_output
    tool = {"name": "answer", "strict": True, "input_schema": transform_schema(model)}
    got = sdk.messages.create(**asked, tools=[tool])
    return model.model_validate_json(next(block.text for block in got.content if block.type == "text"))


def google_sdk(command, model):
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=command["base_url"], timeout=30_000)
    sdk = genai.Client(api_key=command["key"], vertexai=False, http_options=options)
    form = {"response_schema": model} if command["how"] == "schema" else {"response_json_schema": model.model_json_schema()}
    config = {"response_mime_type": "application/json", **form}
    return model.model_validate_json(sdk.models.generate_content(model=command["model"], contents="Where?", config=config).text)


SDKS = {"openai": openai_sdk, "anthropic": anthropic_sdk, "google": google_sdk}

for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = SDKS[command["do"]](command, MODELS[command["form"]])
        result = {"answer": answer.model_dump(mode="json", exclude_unset=True)}
    except Exception as error:
        result = {"error": type(error).__name__, "message": str(error)[:300]}
    print(json.dumps(result), flush=True)
