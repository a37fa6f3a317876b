"""A provider of Anthropic's messages for measurements: answers every call with a stream of 64 texts, written at once.

`messages_provider.py PORT` serves on loopback until it is ended.
"""

import asyncio
import json
import sys

#: As the mock of the comparison harness says them in Chat Completions.
WORDS = [f"tok{n:02} " for n in range(64)]


def message_stream():
    """The bytes of an answer."""

    def event(kind, **more):
        text = f"event: {kind}\ndata: {json.dumps({'type': kind, **more}, separators=(',', ':'))}\n\n".encode()
        return b"%x\r\n%s\r\n" % (len(text), text)

    start = {"id": "msg_0123456789", "type": "message", "role": "assistant", "model": "mock-model", "content": []}
    start |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 32, "output_tokens": 1}}
    parts = [event("message_start", message=start)]
    parts.append(event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
    parts += [event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in WORDS]
    parts.append(event("content_block_stop", index=0))
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    parts.append(event("message_delta", delta=stop, usage={"output_tokens": 64}))
    parts.append(event("message_stop"))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(parts) + b"0\r\n\r\n"


class Messages(asyncio.Protocol):
    """Answers every request that has come whole."""

    ANSWER = message_stream()

    def connection_made(self, transport):
        self.transport, self.came = transport, b""

    def data_received(self, data):
        self.came += data
        while (end := self.came.find(b"\r\n\r\n")) >= 0:
            head = self.came[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self.came) < end + 4 + length:
                return
            self.came = self.came[end + 4 + length :]
            self.transport.write(self.ANSWER)


def serve(port):
    """Serves until it is ended."""

    async def forever():
        server = await asyncio.get_running_loop().create_server(Messages, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    asyncio.run(forever())


if __name__ == "__main__":
    serve(int(sys.argv[1]))
