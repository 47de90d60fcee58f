"""Microsoft's Service Bus clients, unmodified, and the door in front of a file.

The cases for Python are here, those for JavaScript in `tests/node/service-bus.mjs`. The clients
take half a second to open and as long to close, whatever the server does, and some cases wait for
locks to run out. So all of them run side by side, each with a topic of its own, and a test looks
at the outcomes of all: two processes that share the tests would each run every case.
"""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from azure.servicebus import (
    ServiceBusClient as BlockingClient,
)
from azure.servicebus import (
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import (
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusReceiver,
    ServiceBusSender,
)
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageNotFoundError,
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    ServiceBusError,
)

from tests import door_javascript
from tests.door_worlds import LOCK_MS, ONE, durable, open_door
from tests.node_packages import needs_node

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

PATIENCE_S = 60
TIMED = "unknown_entities"
"""The one case that others must not hold up."""
WAITING = ("locks_are_renewed", "lost_locks")
"""The longest: they wait for locks to run out, and hold nobody up."""
WAIT_S = 10


class There:
    """A client, and a topic of its own for a case."""

    def __init__(self, client: ServiceBusClient, topic: str, connection: str) -> None:
        self.client = client
        self.topic = topic
        self.connection = connection

    @asynccontextmanager
    async def pair(
        self, **options: Any
    ) -> AsyncIterator[tuple[ServiceBusSender, ServiceBusReceiver]]:
        """A sender and a receiver."""
        sender = self.client.get_topic_sender(self.topic)
        receiver = self.client.get_subscription_receiver(self.topic, ONE, **options)
        async with sender, receiver:
            yield sender, receiver

    def graves(self, **options: Any) -> ServiceBusReceiver:
        """A receiver of dead letters."""
        dead = ServiceBusSubQueue.DEAD_LETTER
        return self.client.get_subscription_receiver(self.topic, ONE, sub_queue=dead, **options)


Case = Callable[[There], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(work: Case) -> Case:
    """Have it run with the others."""
    CASES[work.__name__] = work
    return work


async def take(receiver: ServiceBusReceiver, count: int = 1) -> list[ServiceBusReceivedMessage]:
    """So many messages; fewer only where there are no more in time."""
    found: list[ServiceBusReceivedMessage] = []
    while len(found) < count:
        some = await receiver.receive_messages(count - len(found), max_wait_time=WAIT_S)
        if not some:
            break
        found += some
    return found


@case
async def send_and_complete(there: There) -> None:
    id_ = uuid4()
    message = ServiceBusMessage(
        b"body",
        message_id="m-1",
        subject="s",
        content_type="text/plain",
        correlation_id="c",
        time_to_live=timedelta(hours=1),
        application_properties={"i": 7, "d": 1.5, "b": True, "t": "é", "id": id_, "n": None},
    )
    async with there.pair() as (sender, receiver):
        await sender.send_messages(message)
        [found] = await take(receiver)
        assert b"".join(found.body) == b"body"
        assert (found.message_id, found.subject, found.correlation_id) == ("m-1", "s", "c")
        assert found.content_type == "text/plain"
        assert found.time_to_live == timedelta(hours=1)
        assert found.delivery_count == 0
        assert found.application_properties == {
            b"i": 7,
            b"d": 1.5,
            b"b": True,
            b"t": "é".encode(),
            b"id": id_,
            b"n": None,
        }
        await receiver.complete_message(found)
        assert await receiver.peek_messages(sequence_number=1) == []


@case
async def lists_and_batches(there: There) -> None:
    async with there.pair(prefetch_count=10) as (sender, receiver):
        await sender.send_messages([ServiceBusMessage(str(n)) for n in range(40)])
        batch = await sender.create_message_batch()
        for number in range(40, 100):
            batch.add_message(ServiceBusMessage(str(number)))
        await sender.send_messages(batch)
        found = await take(receiver, 100)
        assert [str(message) for message in found] == [str(number) for number in range(100)]
        await asyncio.gather(*[receiver.complete_message(message) for message in found])


@case
async def abandon_counts(there: There) -> None:
    async with there.pair() as (sender, receiver):
        await sender.send_messages(ServiceBusMessage("x"))
        [first] = await take(receiver)
        await receiver.abandon_message(first)
        [second] = await take(receiver)
        assert second.delivery_count == 1
        await receiver.abandon_message(second)
        [third] = await take(receiver)
        assert third.delivery_count == 2
        await receiver.abandon_message(third)
    async with there.graves() as graves:
        [dead] = await take(graves)
        assert dead.dead_letter_reason == "MaxDeliveryCountExceeded"


@case
async def dead_letters(there: There) -> None:
    async with there.pair() as (sender, receiver):
        message = ServiceBusMessage("x", application_properties={"kept": "yes"})
        await sender.send_messages(message)
        [found] = await take(receiver)
        await receiver.dead_letter_message(found, reason="why", error_description="because")
    async with there.graves() as graves:
        [peeked] = await graves.peek_messages()
        assert peeked.dead_letter_reason == "why"
        [dead] = await take(graves)
        assert dead.dead_letter_error_description == "because"
        assert dead.dead_letter_source.lower().startswith(there.topic)
        assert dead.application_properties[b"kept"] == b"yes"
        await graves.complete_message(dead)
        assert await graves.peek_messages(sequence_number=1) == []


@case
async def locks_are_renewed(there: There) -> None:
    async with AutoLockRenewer() as renewer, there.pair() as (sender, receiver):
        await sender.send_messages(ServiceBusMessage("x"))
        [found] = await take(receiver)
        renewer.register(receiver, found, max_lock_renewal_duration=30)
        await asyncio.sleep(LOCK_MS / 1000 + 1.5)  # the time is what is tested
        await receiver.complete_message(found)


@case
async def lost_locks(there: There) -> None:
    async with there.pair() as (sender, receiver):
        await sender.send_messages(ServiceBusMessage("x"))
        [found] = await take(receiver)
        [again] = await take(receiver)  # once the lock has run out
        assert again.delivery_count == 1
        # Its own clock tells the client; without that, the server does.
        found._raw_amqp_message.annotations[b"x-opt-locked-until"] = 2**42
        with pytest.raises(MessageLockLostError):
            await receiver.renew_message_lock(found)
        with pytest.raises(MessageLockLostError):
            await receiver.dead_letter_message(found)
        await receiver.complete_message(again)


@case
async def schedule_and_cancel(there: There) -> None:
    async with there.pair() as (sender, receiver):
        at = datetime.now(UTC) + timedelta(seconds=2)
        messages = [ServiceBusMessage("a"), ServiceBusMessage("b")]
        numbers = await sender.schedule_messages(messages, at)
        await sender.cancel_scheduled_messages(numbers[0])
        with pytest.raises(MessageNotFoundError):
            await sender.cancel_scheduled_messages(numbers[0])
        later = ServiceBusMessage("c", scheduled_enqueue_time_utc=at)
        await sender.send_messages(later)
        found = await take(receiver, 2)
        assert [str(message) for message in found] == ["b", "c"]
        assert datetime.now(UTC) >= at - timedelta(milliseconds=50)


@case
async def peek_goes_on(there: There) -> None:
    async with there.pair() as (sender, receiver):
        await sender.send_messages([ServiceBusMessage(str(number)) for number in range(3)])
        seen = [*await receiver.peek_messages(2), *await receiver.peek_messages(2)]
        assert [str(message) for message in seen] == ["0", "1", "2"]
        assert await receiver.peek_messages(2) == []


@case
async def defer(there: There) -> None:
    async with there.pair() as (sender, receiver):
        await sender.send_messages(ServiceBusMessage("later"))
        [found] = await take(receiver)
        await receiver.defer_message(found)
        number = found.sequence_number
        [again] = await receiver.receive_deferred_messages(number)
        assert str(again) == "later"
        await receiver.complete_message(again)
        with pytest.raises(ServiceBusError) as raised:
            await receiver.receive_deferred_messages(number)
        assert isinstance(raised.value, MessageNotFoundError)


@case
async def receive_and_delete(there: There) -> None:
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    async with there.pair(receive_mode=mode) as (sender, receiver):
        await sender.send_messages([ServiceBusMessage("a"), ServiceBusMessage("b")])
        assert len(await take(receiver, 2)) == 2
        assert await receiver.peek_messages(sequence_number=1) == []


@case
async def large_messages(there: There) -> None:
    async with there.pair() as (sender, receiver):
        await sender.send_messages(ServiceBusMessage(b"x" * 250_000))
        [found] = await take(receiver)
        assert len(b"".join(found.body)) == 250_000
        for size in (262_144, 2_000_000):
            with pytest.raises(MessageSizeExceededError):
                await sender.send_messages(ServiceBusMessage(b"x" * size))
        await sender.send_messages(ServiceBusMessage("the link lives on"))


@case
async def values_and_sequences(there: There) -> None:
    async with there.pair() as (sender, receiver):
        await sender.send_messages(AmqpAnnotatedMessage(value_body={"a": 1}))
        await sender.send_messages(AmqpAnnotatedMessage(sequence_body=[[1, "x"], [2]]))
        value, sequence = await take(receiver, 2)
        assert value.body_type is AmqpMessageBodyType.VALUE
        assert value.body == {b"a": 1}
        assert sequence.body_type is AmqpMessageBodyType.SEQUENCE
        assert list(sequence.body) == [[1, b"x"], [2]]


@case
async def what_was_not_looked_at_goes_back(there: There) -> None:
    async with there.pair(prefetch_count=10) as (sender, receiver):
        await sender.send_messages([ServiceBusMessage(str(number)) for number in range(5)])
        [found] = await take(receiver)
        await receiver.complete_message(found)
    async with there.pair() as (_, receiver):
        rest = await take(receiver, 4)
        assert [message.delivery_count for message in rest] == [0] * 4


@case
async def an_iterator(there: There) -> None:
    async with there.pair() as (sender, receiver):
        waiting = asyncio.ensure_future(receiver.__anext__())
        await sender.send_messages(ServiceBusMessage("x"))
        found = await asyncio.wait_for(waiting, WAIT_S)
        await receiver.complete_message(found)


@case
async def unknown_entities(there: There) -> None:
    begun = time.monotonic()
    sender = there.client.get_topic_sender("nowhere")
    receiver = there.client.get_subscription_receiver(there.topic, "nobody")
    found = await asyncio.gather(
        sender.send_messages(ServiceBusMessage("x")),
        receiver.receive_messages(1, max_wait_time=WAIT_S),
        return_exceptions=True,
    )
    assert time.monotonic() - begun < 3
    assert [type(error) for error in found] == [MessagingEntityNotFoundError] * 2
    await asyncio.gather(sender.close(), receiver.close())


@case
async def wrong_keys(there: There) -> None:
    wrong = there.connection.replace("SAS_KEY_VALUE", "another")
    async with ServiceBusClient.from_connection_string(wrong, retry_total=0) as client:
        sender = client.get_topic_sender(there.topic)
        with pytest.raises(ServiceBusError, match="amqp:client-error"):
            await sender.send_messages(ServiceBusMessage("x"))


@case
async def sessions_are_refused(there: There) -> None:
    with pytest.raises(ServiceBusError, match="sessions are not supported"):
        async with there.client.get_subscription_receiver(there.topic, ONE, session_id="s"):
            pass


@case
async def the_blocking_client(there: There) -> None:
    await asyncio.to_thread(_blocking, there)


def _blocking(there: There) -> None:
    with (
        BlockingClient.from_connection_string(there.connection) as client,
        client.get_topic_sender(there.topic) as sender,
        client.get_subscription_receiver(there.topic, ONE) as receiver,
    ):
        sender.send_messages([ServiceBusMessage(str(number)) for number in range(5)])
        found = []
        while len(found) < 5 and (some := receiver.receive_messages(5, max_wait_time=WAIT_S)):
            found += some
        complete, abandon, dead, deferred, renewed = found
        receiver.complete_message(complete)
        receiver.abandon_message(abandon)
        receiver.dead_letter_message(dead, reason="why")
        receiver.defer_message(deferred)
        assert receiver.renew_message_lock(renewed) > datetime.now(UTC)
        [again] = receiver.receive_deferred_messages(deferred.sequence_number)
        receiver.complete_message(again)
        [number] = sender.schedule_messages(
            [ServiceBusMessage("x")], datetime.now(UTC) + timedelta(hours=1)
        )
        sender.cancel_scheduled_messages(number)
        [abandoned] = receiver.receive_messages(1, max_wait_time=WAIT_S)
        assert str(abandoned) == "1"


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What went wrong in each case, by name; nothing is an empty text."""

    python: Mapping[str, str]
    javascript: Mapping[str, str]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def outcomes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outcomes]:
    """Run them all, once."""
    topics = {name: f"py-{number}" for number, name in enumerate(CASES)}
    found = {}

    async def run(name: str, client: ServiceBusClient, connection: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await CASES[name](There(client, topics[name], connection))
        except BaseException:
            found[name] = traceback.format_exc()
        else:
            found[name] = ""

    folder = tmp_path_factory.mktemp("door")
    async with (
        durable(folder, [*topics.values(), *door_javascript.TOPICS]) as alone,
        open_door(alone.broker) as there,
    ):
        connection = there.connection()
        # It tries again even for what it is told is not there: here without long pauses.
        async with (
            ServiceBusClient.from_connection_string(connection, retry_backoff_factor=0.1) as client,
            asyncio.TaskGroup() as waiting,
        ):
            for name in WAITING:
                waiting.create_task(run(name, client, connection))
            await run(TIMED, client, connection)
            others = [name for name in CASES if name not in (TIMED, *WAITING)]
            javascript, *_ = await asyncio.gather(
                door_javascript.outcomes(connection),
                *[run(name, client, connection) for name in others],
            )
    yield Outcomes(python=found, javascript=javascript)


async def test_python(outcomes: Outcomes, subtests: pytest.Subtests) -> None:
    """What the cases' names say holds, as the SDK sees it."""
    for name in CASES:
        with subtests.test(name):
            if why := outcomes.python[name]:
                pytest.fail(why)


@needs_node
async def test_javascript(outcomes: Outcomes, subtests: pytest.Subtests) -> None:
    """What the cases' names say holds, as the SDK sees it."""
    for name in door_javascript.CASES:
        with subtests.test(name):
            if why := outcomes.javascript.get(name, outcomes.javascript[""] or "it did not run"):
                pytest.fail(why)
