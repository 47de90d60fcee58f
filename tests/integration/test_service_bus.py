"""The Service Bus adapter beyond the bus's contract: strangers' messages, sizes, a bus that is away
and comes back."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageProperties
from azure.servicebus.exceptions import MessageSizeExceededError

from notifications.bus.brokering import EmbeddedBroker
from notifications.bus.registry import Registry
from notifications.bus.servicebus.bus import ServiceBus, open_service_bus
from notifications.bus.servicebus.connection import Pace
from notifications.bus.servicebus.dead_letters import Keeping, ServiceBusDeadLetters
from notifications.bus.servicebus.look import ServiceBusAudit, ServiceBusLook
from notifications.bus.servicebus.wire import outgoing
from notifications.cli.doctor_bus import examine_bus
from notifications.cli.findings import Mark
from notifications.door.listener import Door
from notifications.errors import InvalidInput, Unavailable
from notifications.messages import Complete, DeadLetter, Message
from notifications.retries import DAY
from notifications.service_bus_address import ServiceBusAddress
from notifications.settings import Settings
from notifications.stores.rejections import SqlRejections
from notifications.timing import SystemClock, SystemDice
from tests.bus_worlds import (
    ALL,
    BIG,
    NEWS,
    SAMPLE,
    EmbeddedWorld,
    embedded_world,
    ids,
    message,
    messages,
)
from tests.hub_process import free_port
from tests.service_bus_world import connection_string

PATIENCE_S = 30


class House:
    """A broker with the sample topology, whose door is opened and closed by the test."""

    def __init__(self, embedded: EmbeddedWorld, port: int) -> None:
        clock = embedded.clock
        self.embedded = embedded
        self.port = port
        self.broker = EmbeddedBroker(
            embedded.database,
            embedded.bus,
            Registry.of_topology(SAMPLE, clock.now()),
            clock=clock,
            dice=SystemDice(),
        )
        self.door = Door(self.broker, clock=SystemClock(), dice=SystemDice())

    @property
    def address(self) -> ServiceBusAddress:
        return ServiceBusAddress(
            host=f"localhost:{self.port}", connection_string=connection_string(self.port)
        )

    async def open(self) -> None:
        self.door = Door(self.broker, clock=SystemClock(), dice=SystemDice())
        assert await self.door.start("127.0.0.1", self.port) == self.port

    async def close(self) -> None:
        await self.door.stop()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with embedded_world(tmp_path, consuming=(), clock=SystemClock()) as embedded:
        house = House(embedded, free_port())
        await house.open()
        yield house
        await house.close()
        await house.broker.close()


@pytest.fixture
async def bus(house: House) -> AsyncIterator[ServiceBus]:
    async with open_service_bus(house.address, SAMPLE, SystemClock()) as bus:
        yield bus


async def take(bus: ServiceBus, count: int) -> list[str]:
    """So many messages' ids, completed."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            try:
                page = await bus.receive(ALL, limit=200)
            except Unavailable:
                continue  # as a worker does, but for its second of rest
            await asyncio.gather(*(bus.settle(one, Complete()) for one in page))
            found += ids(page)
    return found


async def test_it_comes_back_with_the_bus(house: House, bus: ServiceBus) -> None:
    """A receiver that waits and a publisher that comes while the bus is away both get through
    when it is back, and nothing is there twice."""
    await bus.publish(NEWS, [message("before")])
    assert await take(bus, 1) == ["before"]
    waiting = asyncio.create_task(take(bus, 2))
    await house.close()
    publishing = asyncio.create_task(bus.publish(NEWS, messages("ab")))
    await asyncio.sleep(0)
    await house.open()
    await asyncio.wait_for(publishing, PATIENCE_S)

    assert sorted(await waiting) == ["a", "b"]
    assert await bus.peek(ALL, after=0, limit=10) == []


@pytest.mark.long
async def test_what_is_away_or_missing_is_said_so(house: House) -> None:
    """A bus that does not answer is unavailable to publishers and receivers; a topic that nobody
    made sends people to the command that makes it; a key that is refused names its variable, and
    what is sent goes by the sending one."""
    nobody = ServiceBusAddress(host="localhost", connection_string=connection_string(free_port()))
    (topic,) = SAMPLE
    (first, *_) = topic.subscriptions
    unmade = (type(topic)(name="unmade", subscriptions=(first,)),)
    wrong = ServiceBusAddress(
        host=house.address.host,
        connection_string=connection_string(house.port).replace("SAS_KEY_VALUE", "d3Jvbmc="),
        setting="SERVICEBUS_CONNECTION_SEND",
    )
    clock, brief = SystemClock(), Pace(backoff_s=0.1)
    async with (
        open_service_bus(house.address, SAMPLE, clock, sending=wrong, pace=brief) as refused,
        open_service_bus(nobody, SAMPLE, clock, pace=brief) as away,
        open_service_bus(house.address, unmade, clock, pace=brief) as lost,
    ):
        answers = await asyncio.gather(
            away.publish(NEWS, [message()]),
            away.receive(ALL, limit=1),
            away.peek(ALL, after=0, limit=1),
            lost.publish("unmade", [message()]),
            refused.publish(NEWS, [message()]),
            return_exceptions=True,
        )

    assert all(isinstance(each, Unavailable) for each in answers), answers
    assert "does not answer for news" in str(answers[0])
    assert "huntaze topology apply" in str(answers[3])
    assert "SERVICEBUS_CONNECTION_SEND" in str(answers[4])


async def test_what_is_too_large_is_refused_and_the_rest_of_others_goes(bus: ServiceBus) -> None:
    """Of what is published at the same moment only the call with the message over the limit is
    refused, with nothing of it sent; more than a batch holds goes in several."""
    large = message("large", body=b"x" * 300_000)
    many = messages(range(40), body=b"x" * 20_000)
    answers = await asyncio.gather(
        bus.publish(NEWS, [message("beside"), large]),
        bus.publish(NEWS, many),
        bus.publish(NEWS, [message("alone")]),
        return_exceptions=True,
    )

    assert isinstance(answers[0], InvalidInput)
    assert answers[1:] == [None, None]
    assert sorted(await take(bus, 41)) == sorted(["alone", *(str(n) for n in range(40))])


async def test_a_batch_that_is_full_is_taken(house: House, bus: ServiceBus) -> None:
    """To the last byte: the SDK does not count what it adds around a batch, and neither it nor
    the hub is refused for that."""
    crowd = [replace(message(f"{number:04}"), body=b"x" * 259) for number in range(3_000)]
    await bus.publish(NEWS, crowd)
    client = ServiceBusClient.from_connection_string(connection_string(house.port))
    async with client, client.get_topic_sender(NEWS) as sender:
        batch = await sender.create_message_batch()
        with contextlib.suppress(MessageSizeExceededError):
            while True:
                batch.add_message(ServiceBusMessage(b"m"))
        await sender.send_messages(batch)

    waiting = await house.embedded.bus.peek(ALL, after=0, limit=10_000)
    assert len(waiting) == len(crowd) + len(batch)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, math.nan, math.inf])
async def test_a_number_that_cannot_be_sent_is_the_publishers_fault(
    bus: ServiceBus, value: float
) -> None:
    """It is told which property, and that without asking the bus."""
    with pytest.raises(InvalidInput, match="/properties/size"):
        await bus.publish(NEWS, [message(properties={"size": value})])


async def test_strangers_messages_are_read_whatever_they_are_made_of(
    house: House, bus: ServiceBus
) -> None:
    """Bodies that are values, properties of types that the hub does not send, an id that is no
    text: all of it arrives as what the hub knows, and nothing of it is believed."""
    value = AmqpAnnotatedMessage(
        value_body={"tenantid": "acme", "n": 1},
        properties=AmqpMessageProperties(message_id="value"),
    )
    text = AmqpAnnotatedMessage(
        value_body="plain", properties=AmqpMessageProperties(message_id="text")
    )
    odd = AmqpAnnotatedMessage(
        data_body=[b"in ", b"two"],
        properties=AmqpMessageProperties(message_id="odd"),
        application_properties={
            "uuid": UUID(int=7),
            "long": {"TYPE": "LONG", "VALUE": 2**40},
            b"bytes": "é",
            "none": None,
            "hubEvent": "1:webhook",
        },
    )
    async with (
        ServiceBusClient.from_connection_string(connection_string(house.port)) as client,
        client.get_topic_sender(NEWS) as sender,
    ):
        await sender.send_messages([value, text, odd])
    found = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < 3:
            found.update({one.message.id: one for one in await bus.receive(ALL, limit=3)})

    assert found["value"].message.body == b'{"tenantid":"acme","n":1}'
    assert found["text"].message.body == b"plain"
    assert found["odd"].message.body == b"in two"
    assert found["odd"].message.properties == {
        "uuid": str(UUID(int=7)),
        "long": 2**40,
        "bytes": "é",
        "hubEvent": "1:webhook",
    }
    assert not any(one.ours for one in found.values())


def event(name: str) -> bytes:
    """A body that carries an event."""
    return orjson.dumps({"tenantid": "acme", "id": name})


async def one_waits_and_one_is_dead(bus: ServiceBus) -> None:
    """The event `waits` waits in a subscription, and `dead` is in its dead letters."""
    await bus.publish(NEWS, [message("copy", body=event("dead"))])
    (one,) = await bus.receive(ALL, limit=1)
    await bus.settle(one, DeadLetter("schema", "it is wrong"))
    await bus.publish(NEWS, [message("other", body=event("waits")), message("no event")])


async def test_the_sweep_and_the_audit_find_events_on_the_bus(
    house: House, bus: ServiceBus
) -> None:
    """An event that waits and one that is dead are found by what their messages carry; one that
    is nowhere is not; the oldest message says since when something waits."""
    look = ServiceBusLook(bus, {"webhook": ALL, "email": BIG})
    began = SystemClock().now()
    assert await look.waiting_since("webhook") is None
    await one_waits_and_one_is_dead(bus)
    asked = ["acme:waits", "acme:dead", "acme:lost"]
    since = await look.waiting_since("webhook")
    audit = ServiceBusAudit(house.address, SAMPLE, SystemClock(), {"webhook": ALL, "email": BIG})

    assert since is not None
    assert began - 1_000 <= since <= SystemClock().now() + 1_000
    assert await look.copies_of(asked, "webhook") == {"acme:waits", "acme:dead"}
    assert await look.copies_of(asked, "email") == set()
    found = [await asyncio.to_thread(audit.where, name, "webhook") for name in asked]
    assert found == ["bus", "deadLettered", None]


async def test_dead_letters_past_the_retention_are_removed(house: House, bus: ServiceBus) -> None:
    """The sweep's step removes what is older than is kept, and leaves what waits."""
    await one_waits_and_one_is_dead(bus)
    database = house.embedded.database
    keeping = Keeping(
        ledger=database,
        given_up=house.embedded,
        rejections=SqlRejections(database, keep=DAY),
        consumers={},
    )

    def letters(keep: int) -> ServiceBusDeadLetters:
        return ServiceBusDeadLetters(bus, keeping, SystemDice(), SystemClock(), keep=keep)

    assert await letters(DAY).tidy(limit=10) == 0
    assert await letters(-DAY).tidy(limit=10) == 1
    page, _ = await letters(DAY).page(None, reason=None, after=("", 0), limit=10)
    assert page == []
    assert len(await bus.peek(ALL, after=0, limit=10)) == 2


async def test_a_message_names_its_trace_as_microsofts_sdks_do() -> None:
    """The Functions host goes by `Diagnostic-Id`; a message that is in no trace has neither."""
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    sent = outgoing(Message(id="1", body=b"", properties={"type": "t", "traceparent": trace}))
    untraced = outgoing(Message(id="2", body=b"", properties={"type": "t"}))

    told = {"type": "t", "traceparent": trace, "Diagnostic-Id": trace}
    assert sent.application_properties == told
    assert untraced.application_properties == {"type": "t"}


@pytest.mark.long
async def test_the_doctor_says_whether_the_namespace_is_as_it_shall_be(house: House) -> None:
    """A namespace that answers but lacks the hub's subscriptions is wrong, with what to run; where
    the bus is the hub's own there is nothing to say."""
    settings = Settings(bus="servicebus", service_bus=house.address)
    (finding,) = await asyncio.to_thread(lambda: list(examine_bus(settings)))

    assert finding.mark is Mark.WRONG
    assert "huntaze topology apply" in finding.advice
    assert "/Subscriptions/" in finding.detail
    assert list(examine_bus(Settings())) == []
