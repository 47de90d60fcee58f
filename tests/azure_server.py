"""A server that answers as Azure's do on a bad day: whatever it is told to, or not to the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Script:
    """What it does with every request.

    Attributes:
        status: What it answers.
        headers: Sent with it.
        body: Sent with it.
        cut: Close the connection: `before` any answer, or `within` its body.
        slow: Begin an answer and never end it.
        requests: The heads of the requests that came.
    """

    status: int = 202
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    cut: str | None = None
    slow: bool = False
    requests: list[str] = field(default_factory=list)
    port: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.serving.discard(task)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = 0
                for line in head.lower().split("\r\n"):
                    if line.startswith("content-length:"):
                        length = int(line.partition(":")[2])
                await reader.readexactly(length)
                self.requests.append(head)
                if self.cut == "before":
                    break
                lines = [f"HTTP/1.1 {self.status} Whatever", f"content-length: {len(self.body)}"]
                lines += [f"{name}: {value}" for name, value in self.headers.items()]
                lines += ["content-type: application/json", "", ""]
                whole = "\r\n".join(lines).encode() + self.body
                half = self.cut or self.slow
                writer.write(whole[:-1] if half else whole)
                await writer.drain()
                if self.cut:
                    break
                if self.slow:
                    await reader.read()  # until the client gives up
                    break


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[Script]:
    """The server, on a free port."""
    server = await asyncio.start_server(script.answer, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        await asyncio.gather(*script.serving)  # whoever called has left by now
