#!/usr/bin/env python3
"""The letters desk: has letters summarised by a prompt that it knows by name only. `pip install openai`.

    desk.py letter.txt …       or letters on standard input, one a line
"""

import os
import sys

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("GATEWAY", "http://127.0.0.1:8080") + "/v1", api_key=os.environ["DESK_KEY"])


def summary(letter):
    """What the customer wants, as the version in production says it."""
    answer = client.responses.create(prompt={"id": "letter-summary", "variables": {"letter": letter}})
    return answer.output_text.strip()


if __name__ == "__main__":
    letters = [open(name).read() for name in sys.argv[1:]] or [line.strip() for line in sys.stdin if line.strip()]
    for letter in letters:
        print(summary(letter))
