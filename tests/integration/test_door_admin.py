"""The door's management API, asked by the unmodified `ServiceBusAdministrationClient`."""

import asyncio
import base64
import contextlib
import hmac
import http.client
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import (
    CorrelationRuleFilter,
    FalseRuleFilter,
    SqlRuleAction,
    SqlRuleFilter,
    TrueRuleFilter,
)

from notifications.bus.looking import NoChanges
from notifications.door.admin.certificate import CERTIFICATE
from notifications.door.admin.http import MAX_BODY, MAX_HEAD
from notifications.door.admin.listener import AdminDoor
from notifications.door_alone import Alone, open_alone
from notifications.messages import Message
from notifications.timing import SystemClock, SystemDice
from tests.node_packages import FOLDER, install, needs_node

KEY = "SAS_KEY_VALUE"


class World:
    """A door's management API on free ports."""

    def __init__(self, alone: Alone, folder: Path, ports: tuple[int, int, int]) -> None:
        self.alone = alone
        self.folder = folder
        self.http, self.https, self.fixed = ports

    def connection(self, port: int, key: str = KEY) -> str:
        """The connection string that administration clients use."""
        return (
            f"Endpoint=sb://localhost:{port};"
            f"SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey={key}"
        )

    def client(self, *, port: int | None = None, key: str = KEY) -> ServiceBusAdministrationClient:
        """An administration client that trusts the door's certificate."""
        return ServiceBusAdministrationClient.from_connection_string(
            self.connection(port or self.https, key),
            connection_verify=str(self.folder / CERTIFICATE),
            retry_total=0,
        )

    async def raw(self, sent: bytes) -> bytes:
        """What the http port answers to these bytes, until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        try:
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One door for the module: each test has a topic of its own."""
    folder = tmp_path_factory.mktemp("door")
    clock = SystemClock()
    async with open_alone(folder / "door.db", clock, SystemDice()) as alone:
        topology = alone.topology
        doors = [
            AdminDoor(topology, changes, clock=clock, keys={}, folder=folder)
            for changes in (topology, NoChanges())
        ]
        ports = (
            await doors[0].start("localhost", 0, secure=False),
            await doors[0].start("localhost", 0, secure=True),
            await doors[1].start("localhost", 0, secure=True),
        )
        yield World(alone, folder, ports)
        for door in doors:
            await door.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(world: World) -> AsyncIterator[ServiceBusAdministrationClient]:
    """One client for the module."""
    async with world.client() as client:
        yield client


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_topics(client: ServiceBusAdministrationClient) -> None:
    """A topic is created, read, changed, listed and deleted, and its own properties come back."""
    made = await client.create_topic(
        "topics-a", default_message_time_to_live=timedelta(hours=1), user_metadata="<mine> & yours"
    )
    assert made.name == "topics-a"
    assert made.default_message_time_to_live == timedelta(hours=1)
    assert made.user_metadata == "<mine> & yours"
    made.default_message_time_to_live = timedelta(minutes=90)
    await client.update_topic(made)
    found = await client.get_topic("TOPICS-A")
    assert found.default_message_time_to_live == timedelta(minutes=90)
    await client.update_topic(await client.get_topic("topics-a"))
    assert "topics-a" in [each.name async for each in client.list_topics()]

    await client.delete_topic("topics-a")
    with pytest.raises(ResourceNotFoundError):
        await client.get_topic("topics-a")
    with pytest.raises(ResourceNotFoundError):
        await client.delete_topic("topics-a")


async def test_subscriptions(client: ServiceBusAdministrationClient) -> None:
    """A subscription likewise; what was not said has Service Bus's defaults."""
    await client.create_topic("subs")
    plain = await client.create_subscription("subs", "plain")
    assert (plain.lock_duration, plain.max_delivery_count) == (timedelta(minutes=1), 10)
    assert plain.dead_lettering_on_message_expiration is False
    assert plain.default_message_time_to_live > timedelta(days=9_999_999)
    made = await client.create_subscription(
        "subs",
        "full",
        lock_duration=timedelta(seconds=30),
        max_delivery_count=3,
        dead_lettering_on_message_expiration=True,
        default_message_time_to_live=timedelta(minutes=5),
    )
    made.max_delivery_count = 4
    await client.update_subscription("subs", made)
    found = await client.get_subscription("subs", "full")
    assert found.max_delivery_count == 4
    assert found.lock_duration == timedelta(seconds=30)
    assert found.dead_lettering_on_message_expiration is True
    assert found.default_message_time_to_live == timedelta(minutes=5)
    assert [each.name async for each in client.list_subscriptions("subs")] == ["full", "plain"]
    await client.delete_subscription("subs", "full")

    assert [each.name async for each in client.list_subscriptions("subs")] == ["plain"]
    with pytest.raises(ResourceNotFoundError):
        await client.get_subscription("subs", "full")


async def test_rules(client: ServiceBusAdministrationClient) -> None:
    """Rules of each kind are created, read, changed, listed and deleted; the first is $Default."""
    await client.create_topic("ruled")
    await client.create_subscription("ruled", "s")
    (first,) = [each async for each in client.list_rules("ruled", "s")]
    assert (first.name, type(first.filter)) == ("$Default", TrueRuleFilter)
    properties: dict[str, Any] = {"text": "<a>", "number": 7, "big": 2**40, "f": 1.5, "flag": True}
    correlation = CorrelationRuleFilter(label="x", correlation_id="c", properties=properties)
    await client.create_rule("ruled", "s", "correlated", filter=correlation)
    await client.create_rule("ruled", "s", "sql", filter=SqlRuleFilter("size > 10 AND a <> 'b'"))
    await client.create_rule("ruled", "s", "none", filter=FalseRuleFilter())
    await client.delete_rule("ruled", "s", "$Default")
    found = {each.name: each.filter async for each in client.list_rules("ruled", "s")}

    assert set(found) == {"correlated", "none", "sql"}
    assert found["correlated"].properties == properties
    assert (found["correlated"].label, found["correlated"].correlation_id) == ("x", "c")
    assert found["sql"].sql_expression == "size > 10 AND a <> 'b'"
    assert isinstance(found["none"], FalseRuleFilter)
    rule = await client.get_rule("ruled", "s", "sql")
    rule.filter = SqlRuleFilter("size > 11")
    await client.update_rule("ruled", "s", rule)
    assert (await client.get_rule("ruled", "s", "sql")).filter.sql_expression == "size > 11"
    with pytest.raises(ResourceNotFoundError):
        await client.get_rule("ruled", "s", "$Default")


async def test_counts(world: World, client: ServiceBusAdministrationClient) -> None:
    """Runtime properties say how many messages are where, and when the entity was made."""
    await client.create_topic("counted")
    await client.create_subscription("counted", "s")
    inlet = world.alone.broker.inlet("counted")
    await inlet.send([Message(id=name, body=b"12345", properties={}) for name in "abc"])
    subscription = await client.get_subscription_runtime_properties("counted", "s")
    topic = await client.get_topic_runtime_properties("counted")

    assert subscription.active_message_count == subscription.total_message_count == 3
    assert subscription.dead_letter_message_count == 0
    assert (topic.subscription_count, topic.scheduled_message_count) == (1, 0)
    assert topic.size_in_bytes == 15
    assert topic.created_at_utc == topic.updated_at_utc
    assert [each.name async for each in client.list_topics_runtime_properties()] != []


async def test_lists_come_in_pages(client: ServiceBusAdministrationClient) -> None:
    """A list that is longer than a page comes whole, in order."""
    names = [f"paged-{number:02}" for number in range(7)]
    for name in names:
        await client.create_topic(name)
    found = [each.name async for each in client.list_topics(max_page_size=3)]

    assert [name for name in found if name.startswith("paged-")] == names


async def test_says_what_it_is(client: ServiceBusAdministrationClient) -> None:
    """The namespace has a name, and no queues."""
    found = await client.get_namespace_properties()
    assert (found.name, found.messaging_sku) == ("huntaze-door", "Standard")
    assert [each async for each in client.list_queues()] == []


async def test_refuses_what_is_not_there(client: ServiceBusAdministrationClient) -> None:
    """What the door leaves out, what exists already and what is out of bounds is refused, each
    with the reason."""
    await client.create_topic("refused")
    await client.create_subscription("refused", "s")
    with pytest.raises(ResourceExistsError):
        await client.create_topic("Refused")
    with pytest.raises(ResourceExistsError):
        await client.create_subscription("refused", "S")
    with pytest.raises(ResourceNotFoundError):
        await client.create_subscription("nothing", "s")
    refused: list[tuple[Any, str]] = [
        (client.create_queue("q"), "TopicDescription"),
        (client.create_subscription("refused", "x", requires_session=True), "no sessions"),
        (client.create_subscription("refused", "x", forward_to="refused"), "no forwarding"),
        (
            client.create_topic("x", requires_duplicate_detection=True),
            "no duplicate detection",
        ),
        (client.create_subscription("refused", "x", lock_duration=timedelta(hours=1)), "lock"),
        (client.create_rule("refused", "s", "x", filter=SqlRuleFilter("a =")), "expected"),
        (
            client.create_rule(
                "refused", "s", "x", filter=TrueRuleFilter(), action=SqlRuleAction("SET a = 1")
            ),
            "no rule actions",
        ),
    ]
    for asked, why in refused:
        with pytest.raises(HttpResponseError, match=why) as caught:
            await asked
        assert caught.value.status_code == 400


async def test_a_hubs_own_topology_stays(world: World) -> None:
    """In front of a hub's own bus changes are forbidden, and the answer says why."""
    async with world.client(port=world.fixed) as client:
        with pytest.raises(HttpResponseError, match="the hub's own") as caught:
            await client.create_topic("anything")
    assert caught.value.status_code == 403


async def test_wants_the_key(world: World) -> None:
    """A token that was signed with another key opens nothing."""
    async with world.client(key="another") as client:
        with pytest.raises(ClientAuthenticationError):
            await client.get_topic("anything")


@needs_node
async def test_the_javascript_client(world: World) -> None:
    """`@azure/service-bus` manages the door, too, with its certificate in NODE_EXTRA_CA_CERTS."""
    install()
    process = await asyncio.create_subprocess_exec(
        "node",
        "service-bus-admin.mjs",
        world.connection(world.https),
        cwd=FOLDER,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(world.folder / CERTIFICATE)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)

    assert json.loads(said) == {
        "ttl": "PT2H",
        "lock": "PT30S",
        "deliveries": 5,
        "subscriptions": ["full", "plain"],
        "rules": [
            {"name": "first", "filter": {"sqlExpression": "size > 10"}},
            {
                "name": "same",
                "filter": {
                    "subject": "x",
                    "applicationProperties": {"text": "a", "flag": True, "number": 7},
                },
            },
        ],
        "active": 0,
        "exists": [True, False],
        "again": "409 MessageEntityAlreadyExistsError",
        "sessions": "400 ServiceError",
        "namespace": "huntaze-door",
        "gone": "404 MessageEntityNotFoundError",
    }


async def test_is_healthy_for_everybody(world: World) -> None:
    """`/health` answers without a token, as the emulator's does."""
    answer = await world.raw(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"status":"healthy","message":"Service is healthy."}')


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /health HTTP/1.0\r\nHost: x\r\n\r\n", 505),
        (b"GET health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", 400),
        (b"PUT /t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"PUT /t HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"PUT /t HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"PUT /t HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (b"GET /health HTTP/1.1\r\nHost: " + b"x" * MAX_HEAD + b"\r\n\r\n", 431),
        (b"GET /t HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 401),
    ],
)
async def test_hostile_requests(world: World, sent: bytes, status: int) -> None:
    """What is no request of HTTP/1.1, or too much of one, is answered once, in the API's own
    form, and the connection closed."""
    answer = await world.raw(sent)
    assert answer.startswith(f"HTTP/1.1 {status} {http.client.responses[status]}"[:12].encode())
    assert f"<Error><Code>{status}</Code><Detail>".encode() in answer
    assert b"Content-Type: application/xml" in answer


async def test_too_much_is_told_to_the_sdk(client: ServiceBusAdministrationClient) -> None:
    """A client that is still sending when it is refused reads why."""
    with pytest.raises(HttpResponseError, match="at most 262,144 bytes") as refused:
        await client.create_topic("large", user_metadata="x" * 1_000_000)
    assert refused.value.status_code == 413


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<entry>",
        b"{}",
        b'<!DOCTYPE e [<!ENTITY a "aaaa">]><e>&a;</e>',
        b'<!DOCTYPE e SYSTEM "file:///etc/passwd"><e/>',
        b"<e>" * 30 + b"</e>" * 30,
        b"<e>" + b"<x/>" * 6_000 + b"</e>",
        b"\xff\xfe<\x00e",
        b'<?xml version="1.0" encoding="no-such"?><e/>',
    ],
)
async def test_hostile_documents(world: World, document: bytes) -> None:
    """A body that is no XML, has a document type or entities, or goes too deep is a bad request."""
    signed = "http%3A%2F%2Flocalhost%2Fhostile\n9999999999"
    digest = base64.b64encode(hmac.digest(KEY.encode(), signed.encode(), "sha256"))
    token = (
        f"SharedAccessSignature sr={signed.replace(chr(10), '&se=')}&sig={quote(digest)}"
        "&skn=RootManageSharedAccessKey"
    )
    head = f"PUT /hostile HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n"
    answer = await world.raw(f"{head}Content-Length: {len(document)}\r\n\r\n".encode() + document)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<Code>400</Code>" in answer
