"""Pushes through Azure SignalR Service, over its REST API, and where its clients connect.

There is no server SDK for Python: the API is plain HTTP. The realtime user is `<tenant>/<user>`,
and a push invokes `notification` at each of its clients, as the built-in service does.
"""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from notifications.azure_resource import AzureResource
from notifications.channels.realtime.azure_answers import outcome_of, too_slow, unreached
from notifications.channels.realtime.signalr_session import TARGET
from notifications.channels.realtime.signalr_tokens import SignalRTokens
from notifications.channels.realtime.tokens import SignedTokens
from notifications.deliveries import Outcome
from notifications.errors import Unavailable
from notifications.ports import Clock

if TYPE_CHECKING:
    import httpx

SETTING = "HUNTAZE_SIGNALR_CONNECTION"
TIME_LIMIT = 5.0
"""Seconds for one push, a second try over a fresh connection included."""

_API_VERSION = "2022-06-01"
_TOKENS_API_VERSION = "2022-11-01"
_SCOPE = "https://signalr.azure.com/.default"
_SERVER_LIFE_S = 60
_MOST_CONNECTIONS = 100
_KEPT_OF_ANSWER = 2_048
_TRIES = 2
"""A connection that was kept may turn out to be dead; clients know a message that comes twice."""


class SignalRGateway:
    """Sends to whoever is connected to the service. A `PushGateway`."""

    def __init__(
        self, resource: AzureResource, hub: str, clock: Clock, *, time_limit: float = TIME_LIMIT
    ) -> None:
        """Configure; nothing is opened before the first push.

        Only who is given a service loads what speaks HTTP to it.

        Args:
            resource: The service.
            hub: The name under which clients reach it; the service writes it in lower case.
            clock: For tokens.
            time_limit: Seconds for one push.
        """
        self._resource = resource
        self._hub = hub.lower()
        self._clock = clock
        self._time_limit = time_limit
        self._credential: Any = None
        import httpx

        self._http = httpx.AsyncClient(
            timeout=None,  # noqa: S113 - one limit over everything
            trust_env=False,
            limits=httpx.Limits(max_connections=_MOST_CONNECTIONS),
        )

    async def push(self, tenant_id: str, user_id: str, data: bytes) -> Outcome:
        """See `ports.PushGateway.push`. The service does not tell whether anybody is connected."""
        user = quote(f"{tenant_id}/{user_id}", safe="")
        body = b'{"target":"' + TARGET.encode() + b'","arguments":[' + data + b"]}"
        return await self._call("POST", f"/users/{user}/:send", body)

    async def examine(self) -> Outcome:
        """Whether the service answers and takes our key, without sending anything."""
        outcome = await self._call("HEAD", "/users/huntaze%2Fdoctor")
        if getattr(outcome, "status", None) == HTTPStatus.NOT_FOUND:  # nobody of that name
            return outcome_of(200, None, "", setting=SETTING)
        return outcome

    async def client_access(self, tenant_id: str, user_id: str, life_s: int) -> tuple[str, str]:
        """Where a user's client is redirected to, and its token.

        With a key the token is signed here; with a managed identity the service is asked for it.

        Raises:
            Unavailable: The service does not answer, or refuses.
        """
        if self._resource.key is not None:
            tokens = SignalRTokens([self._resource.key], self._clock, hub=self._hub)
            return tokens.issue(self._resource.endpoint, tenant_id, user_id, life_s)
        import httpx

        user = quote(f"{tenant_id}/{user_id}", safe="")
        query = f"&userId={user}&minutesToExpire={max(life_s // 60, 1)}"
        url = self._url("/:generateToken", _TOKENS_API_VERSION) + query
        try:
            async with asyncio.timeout(self._time_limit):
                answer = await self._send("POST", url, b"")
                token = str(answer.raise_for_status().json()["token"])
        except (httpx.HTTPError, TimeoutError, ValueError, LookupError, Unavailable) as error:
            kind = type(error).__name__
            raise Unavailable(f"SignalR Service gave no client token ({kind})") from error
        return f"{self._resource.endpoint}/client/?hub={self._hub}", token

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        if self._credential is not None:
            await self._credential.close()

    async def _call(self, method: str, path: str, body: bytes = b"") -> Outcome:
        import httpx

        try:
            async with asyncio.timeout(self._time_limit):
                answer = await self._send(method, self._url(path, _API_VERSION), body)
        except TimeoutError:
            return too_slow(self._time_limit)
        except (httpx.HTTPError, Unavailable) as error:
            return unreached(error)
        text = answer.content[:_KEPT_OF_ANSWER].decode(errors="replace")
        retry_after = answer.headers.get("retry-after")
        return outcome_of(answer.status_code, retry_after, text, setting=SETTING)

    async def _send(self, method: str, url: str, body: bytes) -> "httpx.Response":
        import httpx

        headers = {"content-type": "application/json"} if body else {}
        headers["authorization"] = f"Bearer {await self._token(url)}"
        for left in reversed(range(_TRIES)):
            try:
                return await self._http.request(method, url, content=body, headers=headers)
            except httpx.TransportError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _url(self, path: str, version: str) -> str:
        return f"{self._resource.endpoint}/api/hubs/{self._hub}{path}?api-version={version}"

    async def _token(self, url: str) -> str:
        if self._resource.key is not None:
            tokens = SignedTokens([self._resource.key], self._clock)
            exp = int(tokens.expiry(_SERVER_LIFE_S).timestamp())
            return tokens.sign({"aud": url, "exp": exp})
        from azure.core.exceptions import ClientAuthenticationError

        if self._credential is None:
            from azure.identity.aio import DefaultAzureCredential

            self._credential = DefaultAzureCredential()
        try:
            return str((await self._credential.get_token(_SCOPE)).token)
        except ClientAuthenticationError as error:
            raise Unavailable("this machine has no managed identity") from error
