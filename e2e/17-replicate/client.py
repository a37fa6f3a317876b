"""Does what it is told with the official `replicate` package: one JSON command a line in, one JSON answer a line out. It
shows that the stand-in answers as Replicate does."""

import json
import os
import sys

for line in sys.stdin:
    asked = json.loads(line)
    os.environ["REPLICATE_API_BASE_URL"] = asked["base_url"]
    import replicate

    client = replicate.Client(api_token=asked["key"], base_url=asked["base_url"])
    try:
        if asked["do"] == "run":
            told = {"said": "".join(str(part) for part in client.run(asked["model"], input=asked["input"]))}
        else:
            told = {"said": "".join(str(event) for event in client.stream(asked["model"], input=asked["input"]))}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)
