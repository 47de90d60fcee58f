"""What every push gateway keeps: one suite for the `PushGateway` port over all of its adapters."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import pytest
import websockets

from notifications.azure_resource import AzureResource
from notifications.channels.realtime.signalr import SignalRGateway
from notifications.channels.realtime.webpubsub import WebPubSubGateway
from notifications.deliveries import Delivered, Failed
from notifications.ports import PushGateway
from notifications.timing import SystemClock
from tests.azure_server import Script, scripted
from tests.realtime_server import HUB, SECRET, Service, frame, hub_messages, serving


@dataclass(frozen=True, kw_only=True)
class World:
    """A gateway, and clients of what it pushes through.

    Attributes:
        gateway: The gateway.
        client: A client of a tenant's user that is connected.
        read: What the next message brings to such a client.
    """

    gateway: PushGateway
    client: Callable[[str, str], AbstractAsyncContextManager[websockets.ClientConnection]]
    read: Callable[[websockets.ClientConnection], Awaitable[Any]]


@asynccontextmanager
async def built_in(service: Service) -> AsyncIterator[PushGateway]:
    yield service.sockets


@asynccontextmanager
async def web_pubsub(service: Service) -> AsyncIterator[PushGateway]:
    async with opened_web_pubsub(f"http://127.0.0.1:{service.port}") as gateway:
        yield gateway


@asynccontextmanager
async def opened_web_pubsub(endpoint: str, **options: float) -> AsyncIterator[WebPubSubGateway]:
    resource = AzureResource(endpoint=endpoint, key=SECRET)
    gateway = WebPubSubGateway(resource, HUB, **options)
    try:
        yield gateway
    finally:
        await gateway.close()


@asynccontextmanager
async def signalr(service: Service) -> AsyncIterator[PushGateway]:
    async with opened_signalr(f"http://127.0.0.1:{service.port}/signalr") as gateway:
        yield gateway


@asynccontextmanager
async def opened_signalr(endpoint: str, **options: float) -> AsyncIterator[SignalRGateway]:
    resource = AzureResource(endpoint=endpoint, key=SECRET)
    gateway = SignalRGateway(resource, HUB, SystemClock(), **options)
    try:
        yield gateway
    finally:
        await gateway.close()


async def read_web_pubsub(client: websockets.ClientConnection) -> Any:
    """What the next message brings."""
    message = await frame(client)
    assert (message["from"], message["dataType"]) == ("server", "json")
    return message["data"]


async def read_signalr(client: websockets.ClientConnection) -> Any:
    """The same for a SignalR client."""
    (message,) = await hub_messages(client)
    assert (message["type"], message["target"]) == (1, "notification")
    (data,) = message["arguments"]
    return data


@pytest.fixture(
    params=[
        (built_in, Service.client, read_web_pubsub),
        (built_in, Service.signalr_client, read_signalr),
        (web_pubsub, Service.client, read_web_pubsub),
        (signalr, Service.signalr_client, read_signalr),
    ],
    ids=["built-in", "built-in signalr", "web-pubsub", "signalr"],
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Each gateway in turn."""
    opened, client, read = request.param
    async with serving(clock=SystemClock()) as service, opened(service) as gateway:
        yield World(gateway=gateway, client=partial(client, service), read=read)


async def test_a_push_reaches_all_of_the_users_connections(world: World) -> None:
    """What is pushed arrives at every connection of that user, as it was, and at nobody else's."""
    data = {"kind": "notification", "item": {"title": "Prêt « à » 100 %"}, "unread": 1}
    async with (
        world.client("acme", "lea") as first,
        world.client("acme", "lea") as second,
        world.client("acme", "tom") as other,
        world.client("other", "lea") as stranger,
    ):
        assert isinstance(await world.gateway.push("acme", "lea", orjson.dumps(data)), Delivered)
        for client in (first, second):
            assert await world.read(client) == data
        for user, client in (("acme/tom", other), ("other/lea", stranger)):
            await world.gateway.push(*user.split("/"), b'"yours"')
            assert await world.read(client) == "yours"


@pytest.mark.parametrize("user", ["a/b/:send", "é@x", "a%2Fb", "..", "a?b#c", "x/groups/y"])
async def test_a_user_id_is_taken_as_it_is(world: World, user: str) -> None:
    """Whatever a user is called, the push goes to that user's connections."""
    async with world.client("acme", user) as client:
        await world.gateway.push("acme", user, b"1")
        assert await world.read(client) == 1


async def test_nobody_there_is_no_failure(world: World) -> None:
    """A push to a user without a connection is `Delivered`: the inbox has it."""
    assert isinstance(await world.gateway.push("acme", "nobody", b"{}"), Delivered)


# --------------------------------------------------------------------------- over the network

Opened = Callable[..., Awaitable[PushGateway]]

NETWORKED = pytest.mark.parametrize(
    "opened", [opened_web_pubsub, opened_signalr], ids=["web-pubsub", "signalr"]
)


@NETWORKED
@pytest.mark.parametrize(
    ("status", "headers", "reason", "retryable", "retry_after"),
    [
        (401, {}, "http-401", False, None),
        (403, {}, "http-403", False, None),
        (404, {}, "http-404", False, None),
        (409, {}, "http-409", True, None),
        (429, {"Retry-After": "7"}, "http-429", True, 7_000),
        (429, {}, "http-429", True, None),
        (429, {"Retry-After": "soon"}, "http-429", True, None),
        (500, {}, "http-500", True, None),
        (503, {"Retry-After": "99999999"}, "http-503", True, 3_600_000),
        (503, {}, "http-503", True, None),
    ],
)
async def test_what_the_service_refuses_is_a_failure(
    opened: Opened,
    status: int,
    headers: dict[str, str],
    reason: str,
    retryable: bool,
    retry_after: int | None,
) -> None:
    """A refusal is a value that says which, whether to try again and when; it is asked once."""
    script = Script(status=status, headers=headers, body=b'{"error":"no"}')
    async with scripted(script), opened(script.endpoint) as gateway:
        outcome = await gateway.push("acme", "lea", b"{}")
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == (reason, retryable)
    assert (outcome.retry_after, outcome.status) == (retry_after, status)
    assert len(script.requests) == 1
    assert SECRET not in repr(outcome)


@NETWORKED
@pytest.mark.parametrize(("cut", "least"), [("before", 2), ("within", 1)])
async def test_a_connection_that_is_cut_is_a_failure(opened: Opened, cut: str, least: int) -> None:
    """A connection that breaks off before the answer, as kept ones do, costs a second try."""
    script = Script(cut=cut)
    async with scripted(script), opened(script.endpoint) as gateway:
        outcome = await gateway.push("acme", "lea", b"{}")
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("connection", True)
    assert least <= len(script.requests) <= 2


@NETWORKED
async def test_an_answer_that_never_ends_is_given_up(opened: Opened) -> None:
    """A body that does not come costs the time limit and no more."""
    script = Script(slow=True)
    async with scripted(script), opened(script.endpoint, time_limit=0.3) as gateway:
        outcome = await gateway.push("acme", "lea", b"{}")
    assert isinstance(outcome, Failed)
    assert outcome.timed_out


@NETWORKED
async def test_a_service_that_is_not_there_is_a_failure(opened: Opened) -> None:
    """Nobody listening is a failure that may be tried again."""
    async with opened("http://127.0.0.1:9") as gateway:
        outcome = await gateway.push("acme", "lea", b"{}")
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("connection", True)
