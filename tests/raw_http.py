"""Raw bytes to a served hub, and what comes back."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from notifications.cli.protocol import Patience
from notifications.cli.serving import Place, serve_local_hub
from notifications.owner import own
from tests.hub_world import ADMIN_KEY, SECRETS, SETTINGS, bearer, document

PATIENCE_S = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; status 0 where the connection was closed without any."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        """The body, decoded."""
        return orjson.loads(self.body)


@dataclass(slots=True)
class Wire:
    """A served hub, as tenant acme.

    Attributes:
        http: A well-behaved client.
        key: The tenant's `Authorization`.
    """

    url: str
    http: httpx.AsyncClient
    key: str

    async def send(self, *pieces: bytes, hang_up: bool = False, pause_s: float = 0.0) -> Reply:
        """Send pieces over a connection of its own, and read one answer to its end."""
        host, port = self.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        reading = asyncio.create_task(_reply(reader))
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
                if reading.done():
                    break
            if hang_up:
                writer.write_eof()
            return await asyncio.wait_for(reading, PATIENCE_S)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    def head(self, request_line: str, *lines: str, key: bool = True) -> bytes:
        """The head of a request."""
        given = [f"authorization: {self.key}"] if key else []
        return "\r\n".join((request_line, "host: hub", *given, *lines, "", "")).encode("latin-1")

    async def takes(self, event_id: str) -> bool:
        """Whether the hub accepts a good event."""
        answer = await self.http.post("/v1/events", json=document(event_id))
        return answer.status_code == 202


async def _reply(reader: asyncio.StreamReader) -> Reply:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {
            name.lower(): value for name, _, value in (each.partition(": ") for each in lines)
        }
        if headers.get("transfer-encoding") == "chunked":
            body = await reader.read()
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return Reply(0, {}, b"")
    return Reply(int(line.split(" ")[1]), headers, body)


@asynccontextmanager
async def wired(data: Path, patience: Patience | None = None) -> AsyncIterator[Wire]:
    """A hub behind its real server on a free port."""
    with own(data) as folder:
        place = Place(host="127.0.0.1", port=0)
        async with (
            serve_local_hub(SETTINGS, SECRETS, folder, place, patience) as hub,
            httpx.AsyncClient(base_url=hub.url) as http,
        ):
            made = await http.post(
                "/v1/api-keys",
                json={"tenantId": "acme", "name": "test"},
                headers=bearer(ADMIN_KEY),
            )
            http.headers.update(bearer(made.json()["key"]))
            yield Wire(hub.url, http, f"Bearer {made.json()['key']}")


def chunked(chunks: Iterable[bytes], *, end: bool = True) -> bytes:
    """A body in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks)
    return body + (b"0\r\n\r\n" if end else b"")
