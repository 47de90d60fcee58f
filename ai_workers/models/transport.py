"""How requests leave for a model's endpoint: nothing is sent that was not meant to be, and no
answer is larger than it may be.

The `openai` package speaks through `httpx2`; below it the requests go over aiohttp, as webhooks
do: the pool of `httpx2` looks at every idle connection for each question.
"""

import io
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
import httpx2
from yarl import URL

AGENT = "huntaze-notifications"
"""What endpoints are told of who asks."""

MAX_BODY = 2 << 20
"""Bytes of an answer, an error's among them: hundreds of times what any question asks for."""

_SENT = frozenset(
    ("host", "accept", "accept-encoding", "authorization", "content-type", "user-agent")
)
"""What an endpoint gets to see, beside the length; not what runs here, nor what an environment
variable adds."""


@dataclass(slots=True)
class Sending:
    """A question on its way.

    Attributes:
        left: Its headers were handed to a connection: from then on somebody may have read it.
    """

    left: bool = False


sending: ContextVar[Sending] = ContextVar("sending")
"""The question that this task sends; set by whoever wants to know how far it came."""


class ReplyTooLarge(httpx2.ReadError):
    """An answer went on beyond `MAX_BODY`; the rest was not read."""


class _Transport(httpx2.AsyncBaseTransport):
    """Sends over aiohttp, which keeps no cookies, follows nothing and unpacks nothing here.

    Answers are whole when they are handed over.
    """

    def __init__(self, connections: int) -> None:
        """Be ready, within the event loop that uses it; see `http_client`."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections, ssl=httpx2.create_ssl_context(trust_env=False)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=[_watching()],
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        limits = request.extensions["timeout"]
        try:
            async with self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                data=io.BytesIO(request.content),  # pictures are long: sent in bites
                headers=[each for each in request.headers.multi_items() if each[0] in _SENT],
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=limits["connect"], sock_read=limits["read"]
                ),
                trace_request_ctx=sending.get(None),
            ) as answer:
                return httpx2.Response(
                    answer.status, headers=answer.raw_headers, content=await _body(answer)
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx2.ConnectTimeout(str(error)) from error
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error)) from error
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(str(error)) from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(str(error)) from error

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._session.close()


def _watching() -> aiohttp.TraceConfig:
    """Notes what has left in the request's `Sending`."""

    async def left(
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        __: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.left = True

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(left)
    return config


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    packed = answer.headers.get("content-encoding", "identity")
    if packed != "identity":  # asked for as it is: a small body could unpack to any size
        answer.close()
        raise httpx2.DecodingError(f"the answer is packed as {packed[:20]}")
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            answer.close()
            raise ReplyTooLarge(f"the answer is over {MAX_BODY} bytes")
    return bytes(body)


def http_client(*, connections: int) -> httpx2.AsyncClient:
    """A client for one endpoint: follows nothing elsewhere, reads no environment.

    Args:
        connections: How many questions may be under way at once; more wait.
    """
    return httpx2.AsyncClient(
        transport=_Transport(connections),
        headers={"accept-encoding": "identity", "user-agent": AGENT},
        follow_redirects=False,
        trust_env=False,
    )
