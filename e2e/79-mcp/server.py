"""An MCP server of the official Python SDK: it refuses everything without its own key, and tells what it is asked.

Writes its port to standard output, and then a line of JSON for each HTTP request that it was sent.
"""

import json
import sys

import anyio
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

KEY = sys.argv[1]
server = MCPServer("library")


def reached(what):
    """Tells of what nobody may reach."""
    print(json.dumps({"reached": what}), flush=True)


@server.tool()
def search_books(title: str) -> str:
    """Search for a book."""
    return f"found {title}"


@server.tool()
def delete_book(title: str) -> str:
    """Delete a book."""
    reached("delete_book")
    return f"deleted {title}"


@server.tool()
def search_nothing() -> str:
    """Fails."""
    raise ValueError("there is nothing to search")


@server.tool()
def search_key() -> str:
    """Tells the server's own key, which it must not."""
    return f"the key is {KEY}"


@server.tool()
async def search_slowly(steps: int, context: Context) -> str:
    """Tells of its progress."""
    for step in range(steps):
        await context.report_progress(step + 1, steps, f"step {step + 1}")
        await anyio.sleep(0.05)
    return "searched"


@server.tool()
async def search_forever() -> str:
    """Goes on until nobody waits for it any more."""
    try:
        await anyio.sleep(3600)
        return "never"
    except anyio.get_cancelled_exc_class():
        print(json.dumps({"cancelled": True}), flush=True)
        raise


@server.tool()
async def search_shelves(context: Context) -> str:
    """Has more shelves from now on, and says so."""
    await context.session.send_tool_list_changed()
    return "done"


@server.prompt()
def recommend(topic: str) -> str:
    """Asks for a book."""
    return f"Recommend a book about {topic}"


@server.prompt()
def secret_prompt() -> str:
    """Not for everybody."""
    reached("secret_prompt")
    return "hush"


@server.resource("book://public/1")
def public_book() -> str:
    """For everybody."""
    return "once upon a time"


@server.resource("book://private/1")
def private_book() -> str:
    """Not for everybody."""
    reached("private_book")
    return "hush"


class Guarded:
    """Lets in who has the key, and tells of every request."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        told = {name: headers.get(name) for name in ("authorization", "mcp-session-id", "mcp-protocol-version", "host", "origin")}
        print(json.dumps({"method": scope["method"], "path": scope["path"], **told}), flush=True)
        if headers.get("authorization") != f"Bearer {KEY}":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            return await send({"type": "http.response.body", "body": b""})
        return await self.app(scope, receive, send)


async def main():
    app = Guarded(server.streamable_http_app(json_response=sys.argv[2] == "json"))
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    instance = uvicorn.Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(instance.serve)
        while not instance.started:
            await anyio.sleep(0.02)
        print(instance.servers[0].sockets[0].getsockname()[1], flush=True)


anyio.run(main)
