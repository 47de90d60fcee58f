"""A model that costs next to nothing: answers every question alike, after a while.

Run as a process of its own: `python bench/model.py SECONDS`. Prints its port. `GET /` answers how
many questions came. It ends when its standard input does.
"""

import asyncio
import sys

import httptools
import orjson

ANSWER = {
    "summary": "The fan asks for another session by the sea.",
    "mood": "happy",
    "suggestions": [
        {
            "text": "I would love to! Which day suits you best?",
            "tone": "warm",
            "why": "It takes the wish up and asks for something that can be planned.",
        },
        {
            "text": "That makes me happy to read. More pictures are coming soon!",
            "tone": "playful",
            "why": "It thanks, and keeps the conversation going.",
        },
    ],
    "cautions": [],
}
"""What `schemas/jobs/chat.suggest/v1.result.json` asks a model for."""


def completion(model: str) -> bytes:
    """What an endpoint answers, whole."""
    body = orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": orjson.dumps(ANSWER).decode()},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 900, "completion_tokens": 90, "total_tokens": 990},
        }
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class Model(asyncio.Protocol):
    """One connection."""

    count = 0
    after_s = 0.0
    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"POST":
            Model.count += 1
            asyncio.get_running_loop().call_later(Model.after_s, self._answer)
            return
        said = b"%d" % Model.count
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(Model.answer)


async def main() -> None:
    """Serve until standard input ends."""
    Model.after_s = float(sys.argv[1])
    Model.answer = completion("Phi-4-mini-instruct")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Model, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
