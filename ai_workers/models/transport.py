"""How requests leave for a model's endpoint: nothing is sent that was not meant to be, and no
answer is larger than it may be."""

from collections.abc import AsyncIterator

import httpx2

MAX_BODY = 2 << 20
"""Bytes of an answer, an error's among them: hundreds of times what any question asks for."""

_SENT = frozenset(
    ("host", "accept", "accept-encoding", "authorization", "connection", "content-length",
     "content-type", "user-agent")
)  # fmt: skip
"""What an endpoint gets to see; not what runs here, nor what an environment variable adds."""


class ReplyTooLarge(httpx2.ReadError):
    """An answer went on beyond `MAX_BODY`; the rest was not read."""


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends at the limit, with an error."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > MAX_BODY:
                raise ReplyTooLarge(f"the answer is over {MAX_BODY} bytes")
            yield chunk

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._stream.aclose()


class _Transport(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # A request of its own: the client reads back from its own what it left out here.
        sent = httpx2.Request(
            request.method,
            request.url,
            headers=[each for each in request.headers.multi_items() if each[0] in _SENT],
            stream=request.stream,
            extensions=request.extensions,
        )
        response = await super().handle_async_request(sent)
        packed = response.headers.get("content-encoding", "identity")
        if packed != "identity":  # asked for as it is: a small body could unpack to any size
            await response.aclose()
            raise httpx2.DecodingError(f"the answer is packed as {packed[:20]}", request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream), "it is async"
        response.stream = _Bounded(response.stream)
        return response


def http_client(*, connections: int) -> httpx2.AsyncClient:
    """A client for one endpoint: follows nothing elsewhere, reads no environment.

    Args:
        connections: How many questions may be under way at once; more wait.
    """
    limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx2.AsyncClient(
        transport=_Transport(limits=limits, trust_env=False),
        headers={"accept-encoding": "identity", "user-agent": "huntaze-notifications"},
        follow_redirects=False,
        trust_env=False,
    )
