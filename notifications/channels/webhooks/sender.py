"""Posts to customers' URLs over aiohttp. Whatever the receiver does is an outcome, never an error.

aiohttp was chosen by measurement: the sender is the hub's hottest loop.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from notifications.addresses import Network, read_url
from notifications.channels.webhooks.answers import KEPT_OF_FAILURE, outcome_of, retry_after_ms
from notifications.channels.webhooks.bodiless import BODILESS, PatientHandler
from notifications.channels.webhooks.faults import fault_of, invalid_url, timed_out
from notifications.connections import (
    CheckedSockets,
    Exchange,
    ThreadedLookups,
    current_exchange,
    tls_context,
)
from notifications.deliveries import Outcome
from notifications.errors import Unavailable
from notifications.ports import Clock
from notifications.settings import Settings

USER_AGENT = "Huntaze-Webhooks/1.0"
READ_AT_MOST = KEPT_OF_FAILURE
"""Bytes of an answer that are read; the connection of one that has more is dropped."""

_STALE_TRIES = 3
_LONGEST_FIELD = 32 * 1024  # some content security policies exceed aiohttp's 8 KiB
_read_url = lru_cache(maxsize=4096)(read_url)
_NO_LIMIT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)


class WebhookSender:
    """Makes one POST and tells what came of it.

    Use as an async context manager, or call `start` and `close`.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        timeout: float = 15.0,
        allowed: Sequence[Network] = (),
        ca_file: Path | None = None,
        connections: int = 512,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Configure; nothing is opened before `start`.

        Args:
            clock: For `Retry-After` dates.
            timeout: Seconds for lookup, connection, TLS, headers and body together.
            allowed: Networks that the guard lets through; http goes to these alone.
            ca_file: Certificates to trust beside the system's, PEM.
            connections: While more than these are open, in use or idle, none is kept alive. The
                sender makes no request wait: how many are in flight is the lanes' bound, and a
                wait in here would count as the endpoint's.
            resolver: Looks names up; `getaddrinfo` by default.
        """
        self._clock = clock
        self._timeout = timeout
        self._ca_file = ca_file
        self._connections = connections
        self._resolver = resolver
        self._sockets = CheckedSockets(allowed)
        self._keeping: aiohttp.ClientSession | None = None
        self._passing: aiohttp.ClientSession | None = None
        self._under_way = 0

    async def start(self) -> None:
        """Open the pool.

        Raises:
            ConfigurationError: The CA file cannot be used.
        """
        tls = tls_context(self._ca_file)
        resolver = self._resolver or ThreadedLookups()
        self._keeping = self._open_session(tls, resolver, keep_alive=True)
        self._passing = self._open_session(tls, resolver, keep_alive=False)

    def _open_session(
        self, tls: ssl.SSLContext, resolver: AbstractResolver, *, keep_alive: bool
    ) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=tls,
            resolver=resolver,
            socket_factory=self._sockets.open,
            limit=0,
            force_close=not keep_alive,
        )
        # The connector has no parameter for it; all of its connections are made by this.
        handler = partial(PatientHandler, loop=asyncio.get_running_loop())
        connector._factory = cast("partial[ResponseHandler]", handler)
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers if keep_alive else {**headers, "Connection": "close"},
            timeout=_NO_LIMIT,
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_AT_MOST,
            max_field_size=_LONGEST_FIELD,
        )

    async def close(self) -> None:
        """Close all connections; requests under way raise `Unavailable`."""
        sessions = (self._keeping, self._passing)
        self._keeping = self._passing = None
        for session in sessions:
            if session is not None:
                await session.close()

    @property
    def open_connections(self) -> int:
        """How many sockets are open, in use or idle: a figure for the metrics."""
        return self._sockets.open_count

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def post(
        self, endpoint_url: str, headers: Mapping[str, str], body: bytes, *, owner: str = ""
    ) -> Outcome:
        """POST once, within the time limit; redirects are not followed.

        Args:
            endpoint_url: An endpoint's URL, as `check_url` let it pass.
            headers: All that is to be sent beside the sender's own and HTTP's.
            body: Sent as it is.
            owner: Whose endpoint it is: what is scarce in here is shared out by it.

        Raises:
            Unavailable: We are out of sockets or being closed: the receiver has no part in it.
        """
        try:
            url = _read_url(endpoint_url)
        except ValueError as error:
            return invalid_url(error)
        exchange = Exchange(plain=url.scheme != "https", owner=owner)
        token = current_exchange.set(exchange)
        self._under_way += 1
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(exchange, url, headers, body)
        except TimeoutError:
            return timed_out(exchange, self._timeout)
        except aiohttp.InvalidURL as error:
            return invalid_url(error)
        except (aiohttp.ClientError, OSError) as error:
            if self._keeping is None:
                raise Unavailable("the webhook sender was closed during a request") from error
            return fault_of(error, exchange, url)
        finally:
            self._under_way -= 1
            current_exchange.reset(token)

    async def _exchange(
        self, exchange: Exchange, url: URL, headers: Mapping[str, str], body: bytes
    ) -> Outcome:
        try:
            response = await self._send(exchange, url, headers, body)
        except aiohttp.ClientResponseError as error:
            if error.status not in BODILESS:
                raise
            exchange.status = error.status
            return outcome_of(error.status, b"", location=None, retry_after=None)
        exchange.status = response.status
        try:
            answer = await _read(response)
        finally:
            # Nothing to do where the answer was read whole: then it is back in the pool.
            _drop(response)
        received = response.headers
        return outcome_of(
            response.status,
            answer,
            location=received.get("Location"),
            retry_after=retry_after_ms(received.get("Retry-After"), self._clock.wall())
            if response.status >= 300
            else None,
        )

    async def _send(
        self, exchange: Exchange, url: URL, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        crowded = max(self._sockets.open_count, self._under_way) > self._connections
        session = self._passing if crowded else self._keeping
        if session is None:
            raise Unavailable("the webhook sender is not started, or closed already")
        for tries_left in reversed(range(_STALE_TRIES)):
            try:
                return await session.post(url, data=body, headers=headers, allow_redirects=False)
            except aiohttp.ClientConnectorError:
                raise
            except aiohttp.ClientConnectionError:
                # A kept connection that the receiver closed meanwhile says nothing about it: the
                # request is sent again, by the same id. One on a new connection never is.
                if exchange.opened or not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The answer's body as far as we want it; a refusal counts however its body ends."""
    parts: list[bytes] = []
    size = 0
    try:
        while size <= READ_AT_MOST and (part := await response.content.readany()):
            parts.append(part)
            size += len(part)
    except (aiohttp.ClientError, OSError):
        if response.status < 300:
            raise
    return b"".join(parts)


def _drop(response: aiohttp.ClientResponse) -> None:
    """Cut the connection of an answer that was not read whole: closing would wait for the rest."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


def sender_of(settings: Settings, clock: Clock) -> WebhookSender:
    """The sender that the settings describe."""
    return WebhookSender(
        clock=clock,
        timeout=settings.webhook_timeout,
        allowed=settings.webhook_allowed_networks,
        ca_file=settings.webhook_ca_file,
    )
