"""An agent as it is written: Authlib exchanges its parent's key for one of its own, the `openai` SDK calls with that. One
JSON object a line in, one out."""

import json
import sys

import openai
from authlib.integrations.requests_client import OAuth2Session

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def exchange(asked):
    """The token as the client library has it, or the error as it read it."""
    client = OAuth2Session(client_id=asked.get("client", "agent"), scope=asked.get("scope"), token_endpoint_auth_method="none")
    more = {name: asked[name] for name in ("actor", "purpose", "subject", "expires_in", "budget_usd", "audience") if name in asked}
    if "actor_token" in asked:
        more |= {"actor_token": asked["actor_token"], "actor_token_type": ACCESS_TOKEN}
    token = client.fetch_token(
        f"{asked['base_url']}/oauth2/token",
        grant_type=EXCHANGE,
        subject_token=asked["key"],
        subject_token_type=ACCESS_TOKEN,
        **more,
    )
    return dict(token)


def revoke(asked):
    client = OAuth2Session(client_id="agent", token_endpoint_auth_method="none")
    answer = client.revoke_token(f"{asked['base_url']}/oauth2/revoke", token=asked["key"])
    return answer.status_code


def chat(asked):
    client = openai.OpenAI(base_url=f"{asked['base_url']}/v1", api_key=asked["key"], max_retries=0)
    said = client.chat.completions.create(model=asked["model"], messages=[{"role": "user", "content": "hi"}], max_tokens=10)
    return said.choices[0].message.content


def stream(asked):
    """The words of a stream, and how it ended: tells when the first have come."""
    client = openai.OpenAI(base_url=f"{asked['base_url']}/v1", api_key=asked["key"], max_retries=0)
    asking = {"role": "user", "content": "for ever"}
    words = []
    try:
        for event in client.chat.completions.create(model=asked["model"], messages=[asking], max_tokens=10, stream=True):
            words.append(event.choices[0].delta.content)
            if len(words) == 1:
                print(json.dumps({"begun": True}), flush=True)
    except Exception as error:
        return len(words), type(error).__name__
    return len(words), "ended"


for line in sys.stdin:
    asked = json.loads(line)
    try:
        told = {"gave": {"exchange": exchange, "revoke": revoke, "chat": chat, "stream": stream}[asked["do"]](asked)}
    except Exception as error:
        status = getattr(error, "status_code", None)
        told = {"error": f"{type(error).__name__}: {error}", "code": getattr(error, "error", None), "status": status}
    print(json.dumps(told), flush=True)
