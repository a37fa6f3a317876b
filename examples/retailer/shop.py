#!/usr/bin/env python3
"""The shop: three things that models do for it, with one address and one key. `pip install openai`.

It knows what it wants done and for which business unit, and neither vendors nor their keys.
"""

import base64
import json
import os
import sys

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("GATEWAY", "http://127.0.0.1:8080") + "/v1", api_key=os.environ["SHOP_KEY"])

PRODUCTS = {
    "type": "object",
    "properties": {"products": {"type": "array", "items": {"type": "string"}}},
    "required": ["products"],
    "additionalProperties": False,
}


def of(business_unit):
    """The client, calling for this business unit."""
    return client.with_options(default_headers={"x-business-unit": business_unit})


def recommend(basket):
    """What goes well with what is in the basket."""
    answer = of("merchandising").chat.completions.create(
        model="recommendations",
        messages=[
            {"role": "system", "content": "You know our range. Name three products that go well with the basket, as JSON."},
            {"role": "user", "content": json.dumps(basket)},
        ],
        max_tokens=200,
        response_format={"type": "json_schema", "json_schema": {"name": "products", "schema": PRODUCTS, "strict": True}},
    )
    return json.loads(answer.choices[0].message.content)["products"]


def chat(question):
    """Answers a customer, word by word."""
    stream = of("customer-care").chat.completions.create(
        model="shop-chat",
        messages=[
            {"role": "system", "content": "You help customers of our shop. Be brief and friendly."},
            {"role": "user", "content": question},
        ],
        max_tokens=400,
        stream=True,
    )
    for event in stream:
        if event.choices and event.choices[0].delta.content:
            yield event.choices[0].delta.content


def image_search(picture, media_type="image/png"):
    """Words to search for, from a customer's picture."""
    address = f"data:{media_type};base64,{base64.b64encode(picture).decode()}"
    answer = of("online-shop").chat.completions.create(
        model="image-search",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Name this product in at most five words."},
                    {"type": "image_url", "image_url": {"url": address}},
                ],
            }
        ],
        max_tokens=30,
    )
    return answer.choices[0].message.content.strip()


#: A green square: what a customer sends when none is named.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mNQWOBAEmIY1TCqYfhqAAD5+QAQtyW8mAAAAABJRU5ErkJggg=="
)

if __name__ == "__main__":
    picture = open(sys.argv[1], "rb").read() if len(sys.argv) > 1 else PICTURE
    print("recommendations:", ", ".join(recommend(["running shoes", "water bottle"])))
    print("chat:", end=" ", flush=True)
    for piece in chat("Do you take back shoes that are too small?"):
        print(piece, end="", flush=True)
    print()
    print("image search:", image_search(picture))
