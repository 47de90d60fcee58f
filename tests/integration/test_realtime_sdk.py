"""Microsoft's own Web PubSub client, unmodified, against the built-in sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from azure.messaging.webpubsubclient.aio import WebPubSubClient, WebPubSubClientCredential
from azure.messaging.webpubsubclient.models import (
    CallbackType,
    SendMessageError,
    WebPubSubDataType,
    WebPubSubProtocolType,
)

from notifications.channels.realtime.frames import CloseCode
from tests.realtime_server import PATIENCE_S, Service, serving, until

NOTIFICATION = {"kind": "notification", "item": {"id": "itm_1", "title": "Prêt"}, "unread": 1}


class Heard:
    """What a client's callbacks were given."""

    def __init__(self) -> None:
        self.connected: list[Any] = []
        self.disconnected: list[Any] = []
        self.server: list[Any] = []
        self.group: list[Any] = []


@contextlib.asynccontextmanager
async def listening(
    service: Service, user_id: str = "lea", *, roles: tuple[str, ...] = ()
) -> AsyncIterator[tuple[WebPubSubClient, Heard]]:
    """An opened client, which asks for a fresh URL whenever it connects."""

    async def url() -> str:
        return service.url(service.token("acme", user_id, roles=roles))

    client = WebPubSubClient(
        WebPubSubClientCredential(url),
        protocol_type=WebPubSubProtocolType.JSON,
        message_retry_total=1,
        reconnect_retry_backoff_factor=0.05,
    )
    heard = Heard()

    def keep(into: list[Any]) -> Any:
        async def listener(args: Any) -> None:
            into.append(args)

        return listener

    await client.subscribe(CallbackType.CONNECTED, keep(heard.connected))
    await client.subscribe(CallbackType.DISCONNECTED, keep(heard.disconnected))
    await client.subscribe(CallbackType.SERVER_MESSAGE, keep(heard.server))
    await client.subscribe(CallbackType.GROUP_MESSAGE, keep(heard.group))
    async with asyncio.timeout(PATIENCE_S):
        await client.open()
        try:
            await until(lambda: heard.connected)
            yield client, heard
        finally:
            await client.close()


async def test_it_connects_and_hears_a_push() -> None:
    """It is greeted with its user id and hands the notification to its listener."""
    async with serving() as service, listening(service) as (_, heard):
        assert heard.connected[0].user_id == "acme/lea"
        await service.sockets.push("acme", "lea", orjson.dumps(NOTIFICATION))
        await until(lambda: heard.server)
        assert heard.server[0].data == NOTIFICATION
        assert heard.server[0].data_type == WebPubSubDataType.JSON


async def test_its_groups_work_with_the_roles() -> None:
    """Joining, sending and leaving are acknowledged, and the message comes round."""
    roles = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")
    async with serving() as service, listening(service, roles=roles) as (client, heard):
        await client.join_group("g")
        await client.send_to_group("g", {"a": 1}, WebPubSubDataType.JSON)
        await until(lambda: heard.group)
        message = heard.group[0]
        assert (message.group, message.from_user_id, message.data) == ("g", "acme/lea", {"a": 1})
        await client.leave_group("g")


async def test_it_is_told_what_it_may_not() -> None:
    """Without roles its calls fail with the service's own error name, and it stays connected."""
    async with serving() as service, listening(service) as (client, _):
        for call in (
            client.join_group("g"),
            client.send_to_group("g", "hi", WebPubSubDataType.TEXT),
            client.send_event("e", "hi", WebPubSubDataType.TEXT),
        ):
            with pytest.raises(SendMessageError) as caught:
                await call
            assert caught.value.error_detail is not None
            assert caught.value.error_detail.name == "Forbidden"
        assert client.is_connected()


async def test_it_comes_back_by_itself() -> None:
    """Dropped with a reason, it tells its listener, connects again and hears the next push."""
    async with serving() as service, listening(service) as (_, heard):
        (session,) = service.sockets._sessions["acme", "lea"]
        session.connection.end(
            CloseCode.TRY_AGAIN_LATER, "too slow: connect again and read the inbox"
        )
        await until(lambda: len(heard.connected) == 2)
        assert heard.disconnected[0].message.startswith("too slow")
        await service.sockets.push("acme", "lea", orjson.dumps(NOTIFICATION))
        await until(lambda: heard.server)
