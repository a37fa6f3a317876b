#!/usr/bin/env python3
"""Whether memory grows while streams run: for an hour, callers of two dialects hold streams of 64 paced events, one in
eight is left in the middle, and everything is on (key, limits, budgets, usage, guardrails on answers, call log).

Samples the server's own memory (anonymous pages) every ten seconds. The first quarter of the time is its warm-up; after it
the middle of the last quarter may be above that of the second one by 3 % and 1 MiB at most, which is what the allocator
moves about. `cargo xtask bench soak` runs this with the shipped binary. `--minutes N --streams N --pause MILLISECONDS`.
"""

import argparse
import asyncio
import json
import pathlib
import random
import statistics
import sys
import time

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / "e2e/lib")]

from checks import holds
from installation import Installation, free_port

CONFIGURATION = """
credentials: [{{ name: token, engine: generated }}]
upstreams:
  - {{ name: chats, endpoints: ["http://127.0.0.1:{port}/v1"], provider: openai-chat, inject: {{ bearer: token }} }}
models:
  - name: chat
    targets:
      - {{ provider: chats, model: m, prices: [{{ from: 2026-01-01T00:00:00Z, input: "0.25", output: "2.00" }}] }}
    budget: {{ usd: 1000000, per: month, hard: true }}
    guardrails: [{{ detect: personal_data, action: redact, on: both }}]
applications:
  - {{ name: app, allow: {{ models: [chat] }}, limit: {{ requests: 1000000, per: 1s }}, budget: {{ usd: 1000000, per: month, hard: true }} }}
"""
EVENTS = 64


def event(delta=None, finish=None, usage=None):
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body["choices"] = [] if usage else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    text = f"data: {json.dumps({**body, **({'usage': usage} if usage else {})})}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(text), text)


async def provide(reader, writer):
    """One connection of the provider: a paced stream for each call."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(event({"role": "assistant", "content": ""}))
            for n in range(EVENTS):
                writer.write(event({"content": f"word{n} "}))
                await writer.drain()
                await asyncio.sleep(arguments.pause / 1000)
            writer.write(event(finish="stop"))
            writer.write(event(usage={"prompt_tokens": 100, "completion_tokens": EVENTS, "total_tokens": 100 + EVENTS}))
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        writer.close()


def call(dialect):
    """The path and the last words of a stream, by dialect; the body is the same."""
    said = [{"role": "user", "content": "Tell me something about gateways. " * random.randrange(1, 40)}]
    body = json.dumps({"model": "chat", "messages": said, "max_tokens": 128, "stream": True}).encode()
    path, last = {"chat": ("/v1/chat/completions", b"[DONE]"), "messages": ("/v1/messages", b"message_stop")}[dialect]
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body, last


async def caller(number):
    """Streams one after the other; what fails ends the measurement."""
    connection = None
    while time.monotonic() < until:
        request, last = call("chat" if number % 2 else "messages")
        leaves = random.randrange(8) == 0
        reader, writer = connection or await asyncio.open_connection(*made.gateway_address)
        connection = (reader, writer)
        writer.write(request)
        came = b""
        while last not in came or not came.endswith(b"0\r\n\r\n"):
            piece = await reader.read(65536)
            holds(piece, f"the stream was cut: {came[-300:]!r}")
            came += piece
            if leaves and came.count(b"data:") > EVENTS // 2:
                break
        holds(b" 200 OK" in came[:20], came[:300])
        counted["left" if leaves else "whole"] += 1
        if leaves:
            writer.close()
            connection = None


def own_memory():
    """Anonymous pages of the server, in KiB."""
    status = pathlib.Path(f"/proc/{made.process.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0])


async def sample():
    began = time.monotonic()
    while time.monotonic() < until:
        await asyncio.sleep(10)
        samples.append(own_memory())
        if len(samples) % 30 == 0:
            minutes = (time.monotonic() - began) / 60
            print(f"{minutes:5.0f} min  {statistics.median(samples[-30:]) / 1024:7.2f} MiB  {sum(counted.values())} streams", flush=True)


async def measure():
    server = await asyncio.start_server(provide, "127.0.0.1", port, backlog=1024)
    callers = [asyncio.create_task(caller(n)) for n in range(arguments.streams)]
    await asyncio.gather(sample(), *callers)
    server.close()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--minutes", type=float, default=60)
parser.add_argument("--streams", type=int, default=32)
parser.add_argument("--pause", type=float, default=20)
arguments = parser.parse_args()

port = free_port()
made = Installation("soak").init().start("--workers", "2", log="error")
made.api.apply(CONFIGURATION.format(port=port), {})
key = made.api.issue("key", "app")[1]
samples, counted = [], {"whole": 0, "left": 0}
until = time.monotonic() + arguments.minutes * 60
asyncio.run(measure())
quarter = len(samples) // 4
early, late = (statistics.median(part) for part in (samples[quarter : 2 * quarter], samples[-quarter:]))
print(f"{counted['whole']} streams of {EVENTS} events, {counted['left']} left in the middle, {arguments.streams} at once, {arguments.minutes:g} minutes")
print(f"own memory: {early / 1024:.2f} MiB in the second quarter, {late / 1024:.2f} MiB in the last one, {max(samples) / 1024:.2f} MiB at most")
made.stop()
holds(late <= early * 1.03 + 1024, "memory grew")
