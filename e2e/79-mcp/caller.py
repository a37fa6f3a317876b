"""A client of the official Python SDK. A task is a line of JSON on standard input, its answer one on standard output."""

import json
import sys

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

open_clients = {}


def told(error):
    return {"error": error.error.code, "message": error.error.message, "data": error.error.data}


class Connection:
    """One client, connected until it is closed."""

    def __init__(self, task):
        self.session, self.heard = None, []
        self.http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {task['key']}"}, timeout=60, event_hooks={"response": [self.note]})
        transport = streamable_http_client(task["base_url"], http_client=self.http)
        self.client = Client(transport, mode=task.get("mode", "auto"), message_handler=self.hear)

    async def note(self, response):
        self.session = response.headers.get("mcp-session-id", self.session)

    async def hear(self, message):
        self.heard.append(type(message).__name__)


async def all_pages(call, items):
    found, cursor = [], None
    while True:
        page = await call(cursor=cursor)
        found += getattr(page, items)
        cursor = page.next_cursor
        if not cursor:
            return found


async def do(task, connection):
    client, what = connection.client, task["do"]
    if what == "tools":
        return [tool.name for tool in await all_pages(client.list_tools, "tools")]
    if what == "prompts":
        return [prompt.name for prompt in await all_pages(client.list_prompts, "prompts")]
    if what == "resources":
        return [str(resource.uri) for resource in await all_pages(client.list_resources, "resources")]
    if what == "call":
        steps = []

        async def progress(done, total, message):
            steps.append([done, total, message])

        result = await client.call_tool(task["name"], task.get("arguments", {}), progress_callback=progress)
        return {"text": result.content[0].text, "failed": bool(result.is_error), "progress": steps}
    if what == "prompt":
        return (await client.get_prompt(task["name"], task.get("arguments"))).messages[0].content.text
    if what == "read":
        return (await client.read_resource(task["uri"])).contents[0].text
    if what == "cancel":
        with anyio.move_on_after(0.5) as scope:
            await client.call_tool(task["name"], {})
        return scope.cancelled_caught
    if what == "told":
        return {"version": client.protocol_version, "session": connection.session, "heard": connection.heard}
    raise KeyError(what)


async def serve(name, inbox, outbox, task):
    """Connects, and does one task after the other until it is told to close."""
    try:
        connection = Connection(task)
        async with connection.http, connection.client:
            await outbox.send({"ok": {"version": connection.client.protocol_version, "session": connection.session}})
            async for task in inbox:
                if task["do"] == "close":
                    break
                try:
                    await outbox.send({"ok": await do(task, connection)})
                except MCPError as error:
                    await outbox.send(told(error))
        await outbox.send({"ok": None})
    except BaseException as error:
        await outbox.send({"error": repr(error)[:500]})


async def main():
    async with anyio.create_task_group() as group:
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            task = json.loads(line)
            name = task.get("client", "")
            if task["do"] == "connect":
                inbox, outbox = anyio.create_memory_object_stream(1), anyio.create_memory_object_stream(1)
                open_clients[name] = (inbox[0], outbox[1])
                group.start_soon(serve, name, inbox[1], outbox[0], task)
            else:
                await open_clients[name][0].send(task)
            print(json.dumps(await open_clients[name][1].receive()), flush=True)
        group.cancel_scope.cancel()


anyio.run(main)
