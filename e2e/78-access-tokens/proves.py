"""Checks signed statements with the verifications that others wrote: `google-auth` for service accounts, PyJWT for
clients. One JSON object a line in, one out."""

import json
import sys

import jwt
from google.auth import jwt as google_jwt

for line in sys.stdin:
    asked = json.loads(line)
    try:
        if asked["kind"] == "google":
            claims = google_jwt.decode(asked["jwt"], certs={asked["key_id"]: asked["public"]}, audience=asked["audience"])
        else:
            claims = jwt.decode(asked["jwt"], asked["public"], algorithms=["RS256", "ES256"], audience=asked["audience"],
                                options={"require": ["exp", "iat", "nbf", "jti", "iss", "sub"]})
        told = {"claims": claims, "header": jwt.get_unverified_header(asked["jwt"])}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)
