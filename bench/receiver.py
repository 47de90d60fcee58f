"""A receiver that costs next to nothing: answers 204 to every POST, and counts.

Run as a process of its own: `python bench/receiver.py [--after SECONDS]`. Prints its port. `GET /`
answers the count of POSTs so far, `GET /arrivals` when each event came whose message is `n` and a
number, `GET /last` when the last POST came, `GET /forget` begins anew. With `--after` it lets every
POST wait for so long. It ends when its standard input does.
"""

import asyncio
import re
import sys
import time

import httptools
import orjson

_NUMBERED = re.compile(rb'"message":"n([0-9]+)"')
_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver(asyncio.Protocol):
    """One connection."""

    count = 0
    last = 0.0
    after_s = 0.0
    arrivals: dict[str, float] = {}  # noqa: RUF012 - the process's; by the number in the message

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.path = b""
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.path, self.body = url, b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"POST":
            Receiver.count += 1
            Receiver.last = time.perf_counter()
            numbered = _NUMBERED.search(self.body)
            if numbered:
                Receiver.arrivals.setdefault(numbered[1].decode(), Receiver.last)
            if Receiver.after_s:
                asyncio.get_running_loop().call_later(Receiver.after_s, self._take)
            else:
                self.transport.write(_TAKEN)
            return
        if self.path == b"/forget":
            Receiver.count, Receiver.arrivals = 0, {}
        answers = {b"/arrivals": Receiver.arrivals, b"/last": Receiver.last}
        body = orjson.dumps(answers.get(self.path, Receiver.count))
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _take(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TAKEN)


async def main() -> None:
    """Serve until standard input ends."""
    if "--after" in sys.argv:
        Receiver.after_s = float(sys.argv[sys.argv.index("--after") + 1])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
