"""Pushes through Azure Web PubSub, and where its clients connect.

Microsoft's SDK is loaded on first use: it takes as long to load as the rest of a start. The
realtime user is `<tenant>/<user>`, as with the built-in sockets: user ids are unique in their
tenant only.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from notifications.azure_resource import AzureResource
from notifications.channels.realtime.azure_answers import outcome_of, too_slow, unreached
from notifications.channels.realtime.plain import SUBPROTOCOL
from notifications.deliveries import Outcome
from notifications.errors import Unavailable

if TYPE_CHECKING:
    from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

SETTING = "HUNTAZE_WEBPUBSUB_CONNECTION"
TIME_LIMIT = 5.0
"""Seconds for one push, a second try over a fresh connection included."""

_TRIES = 2
"""A connection that was kept may turn out to be dead; clients know a message that comes twice."""


class WebPubSubGateway:
    """Sends to whoever is connected to the service. A `PushGateway`."""

    def __init__(
        self, resource: AzureResource, hub: str, *, time_limit: float = TIME_LIMIT
    ) -> None:
        """Configure; nothing is loaded or opened before the first push.

        Args:
            resource: The service.
            hub: The name under which clients reach it.
            time_limit: Seconds for one push.
        """
        self._resource = resource
        self._hub = hub
        self._time_limit = time_limit
        self._loading = asyncio.Lock()
        self._client: WebPubSubServiceClient | None = None
        self._credential: Any = None

    async def push(self, tenant_id: str, user_id: str, data: bytes) -> Outcome:
        """See `ports.PushGateway.push`. The service does not tell whether anybody is connected."""
        return await self._outcome(self._send(f"{tenant_id}/{user_id}", data))

    async def examine(self) -> Outcome:
        """Whether the service answers and takes our key, without sending anything."""

        async def ask() -> None:
            await (await self._opened()).user_exists("huntaze/doctor")

        return await self._outcome(ask())

    async def _outcome(self, call: Coroutine[Any, Any, None]) -> Outcome:
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            async with asyncio.timeout(self._time_limit):
                await call
        except TimeoutError:
            return too_slow(self._time_limit)
        except HttpResponseError as error:
            if error.response is None or error.status_code is None:
                return unreached(error)
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            return outcome_of(
                error.status_code, headers.get("retry-after"), str(error), setting=SETTING
            )
        except AzureError as error:
            return unreached(error)
        return outcome_of(202, None, "", setting=SETTING)

    async def client_url(self, tenant_id: str, user_id: str, life_s: int) -> tuple[str, str]:
        """Where a user's client connects, and the subprotocol that it speaks.

        With a key the token is signed here; with a managed identity the service is asked for it.

        Raises:
            Unavailable: The service does not answer, or refuses.
        """
        from azure.core.exceptions import AzureError

        client = await self._opened()
        try:
            async with asyncio.timeout(self._time_limit):
                access = await client.get_client_access_token(
                    user_id=f"{tenant_id}/{user_id}", minutes_to_expire=max(life_s // 60, 1)
                )
        except (AzureError, TimeoutError) as error:
            raise Unavailable(
                f"Web PubSub gave no client token ({type(error).__name__})"
            ) from error
        return str(access["url"]), SUBPROTOCOL

    async def close(self) -> None:
        """Close the connections."""
        for each in (self._client, self._credential):
            if each is not None:
                await each.close()
        self._client = self._credential = None

    async def _send(self, user: str, data: bytes) -> None:
        from azure.core.exceptions import ServiceRequestError, ServiceResponseError

        client = await self._opened()
        document = orjson.loads(data)  # the SDK writes JSON itself
        for left in reversed(range(_TRIES)):
            try:
                await client.send_to_user(user, document, content_type="application/json")
            except (ServiceRequestError, ServiceResponseError):
                if not left:
                    raise
            else:
                return

    async def _opened(self) -> "WebPubSubServiceClient":
        async with self._loading:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)
            return self._client

    def _make(self) -> "WebPubSubServiceClient":
        from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

        credential = self._make_credential()
        if self._resource.key is None:
            self._credential = credential  # it has connections of its own to close
        # What waits for a Retry-After here would hold up whoever pushes.
        return WebPubSubServiceClient(
            self._resource.endpoint, self._hub, credential, retry_total=0, logging_enable=False
        )

    def _make_credential(self) -> Any:
        if self._resource.key is not None:
            from azure.core.credentials import AzureKeyCredential

            return AzureKeyCredential(self._resource.key)
        from azure.identity.aio import DefaultAzureCredential

        return DefaultAzureCredential()
