"""What AWS's own client thinks of what was sent and answered: one JSON command a line in, one JSON answer a line out.

`botocore` signs each request again and tells whether it comes to the same, judges a body by the description of the
service that it carries, and reads the frames of streams.
"""

import base64
import json
import sys

import botocore.session
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import EventStreamBuffer
from botocore.validate import ParamValidator

MODEL = botocore.session.get_session().get_service_model("bedrock-runtime")


def signed(command):
    """The value of `Authorization` that botocore makes of the same request."""
    headers = {name.lower(): value for name, value in command["headers"]}
    scope = headers["authorization"].split("Credential=")[1].split(",")[0].split("/")
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    credentials = Credentials(command["id"], command["secret"], command.get("token"))
    kind = S3SigV4Auth if scope[3].startswith("s3") else SigV4Auth
    auth = kind(credentials, scope[3], scope[2])
    url = f"https://{headers['host']}{command['target']}"
    request = AWSRequest(method=command["method"], url=url, data=base64.b64decode(command["body"]))
    for name in names:
        request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    if headers.get("x-amz-content-sha256") == "UNSIGNED-PAYLOAD":
        request.context["payload_signing_enabled"] = False
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    return f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={';'.join(sorted(names))}, Signature={signature}"


def bytes_in(value):
    """A body as botocore takes it: bytes where JSON has base64."""
    if isinstance(value, dict):
        return {k: base64.b64decode(v) if k == "bytes" and isinstance(v, str) else bytes_in(v) for k, v in value.items()}
    if isinstance(value, list):
        return [bytes_in(one) for one in value]
    return value


def problems(command):
    """What does not fit the description of the operation."""
    operation = MODEL.operation_model(command["operation"])
    body = {"modelId": command["model"], **bytes_in(command["said"])}
    return ParamValidator().validate(body, operation.input_shape).generate_report()


def frames(command):
    """The messages of a stream: their types and payloads."""
    buffer = EventStreamBuffer()
    buffer.add_data(base64.b64decode(command["bytes"]))
    return [[event.headers, event.payload.decode()] for event in buffer]


def run(command):
    what = command["do"]
    if what == "sign":
        return {"authorization": signed(command)}
    if what == "judge":
        return {"problems": problems(command)}
    if what == "frames":
        return {"frames": frames(command)}
    raise ValueError(what)


for line in sys.stdin:
    try:
        result = run(json.loads(line))
    except Exception as error:  # noqa: BLE001 - whatever it is, the suite is told
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)
