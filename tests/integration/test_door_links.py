"""Links as the protocol has them: windows, credit, draining, settling, and refusals one by one."""

from collections.abc import AsyncIterator

import pytest

from notifications.broker import State
from notifications.door import encoding as put
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.decoding import Described, decode
from notifications.door.limits import Limits
from tests.amqp_client import (
    Heard,
    Raw,
    attach,
    begin,
    disposition,
    flow,
    message,
    peek,
    performative,
    raw,
    transfer,
)
from tests.door_worlds import open_door, until
from tests.memory_broker import MemoryBroker, Queue

TOPIC, ONE = "t", "t/Subscriptions/one"
REJECTED = put.described(kind.REJECTED, put.EMPTY_LIST)


@pytest.fixture
def broker() -> MemoryBroker:
    """A topic with a subscription."""
    return MemoryBroker({TOPIC: ["one"]})


@pytest.fixture
def queue(broker: MemoryBroker) -> Queue:
    """What the subscription holds."""
    return broker.outlet(ONE)


@pytest.fixture
async def client(broker: MemoryBroker) -> AsyncIterator[Raw]:
    """A client that may do everything, with a link that sends: handle 0 of channel 1."""
    async with open_door(broker) as there, raw(there.port, "") as client:
        client.send(attach(1, 0, TOPIC, receiver=False))
        await client.until(kind.FLOW)
        yield client


def outcome(heard: Heard) -> tuple[int, int | None, int, str | None]:
    """Of a disposition: from which to which delivery, which outcome, which error."""
    _, first, last, settled, state, *_ = heard.fields
    assert settled
    error = state.value[0] if state.value else None
    return first, last, state.descriptor, error.value[0] if isinstance(error, Described) else None


class TestSending:
    """What a client sends."""

    async def test_acknowledged_together(self, client: Raw) -> None:
        """What comes together is acknowledged together."""
        client.send(*[transfer(1, 0, number, message()) for number in range(20)])
        last = -1
        frames = 0
        while last < 19:
            _, last, descriptor, _ = outcome(await client.until(kind.DISPOSITION))
            assert descriptor == kind.ACCEPTED
            frames += 1
        assert frames < 10

    async def test_refused_by_itself(self, client: Raw, queue: Queue) -> None:
        """A message that cannot be carried, or is none, is refused; its neighbours are not."""
        refused = put.described(0x74, put.strings({"refuse": put.TRUE}))
        properties, body = put.described(0x73, put.EMPTY_LIST), put.described(0x75, put.binary(b""))
        client.send(
            transfer(1, 0, 0, message()),
            transfer(1, 0, 1, properties + refused + body),
            transfer(1, 0, 2, b"no message"),
            transfer(1, 0, 3, message()),
            transfer(1, 0, 4, message(), format_=7),
        )
        found = [outcome(await client.until(kind.DISPOSITION)) for _ in range(5)]
        assert {one[0]: one[3] for one in found} == {
            0: None,
            1: "com.microsoft:argument-error",
            2: "amqp:decode-error",
            3: None,
            4: "amqp:not-implemented",
        }
        assert len(queue.ready) == 2

    async def test_a_batch_is_whole(self, client: Raw, queue: Queue) -> None:
        """A batch with one message that is none is refused with all of them."""
        parts = put.described(0x75, put.binary(message())) + put.described(0x75, put.binary(b"x"))
        client.send(transfer(1, 0, 0, parts, format_=0x80013700))
        assert outcome(await client.until(kind.DISPOSITION))[3] == "amqp:decode-error"
        assert not queue.ready

    async def test_in_pieces_and_given_up(self, client: Raw, queue: Queue) -> None:
        """A message in frames of any size is one; one that is given up is none."""
        whole = message(b"0123456789")
        aborted = [put.uint(0), *[put.NULL] * 8, put.TRUE]
        client.send(
            transfer(1, 0, 0, whole[:5], more=True),
            performative(1, kind.TRANSFER, *aborted),
            transfer(1, 0, 1, whole[:1], more=True),
            transfer(1, 0, None, b"", more=True),
            transfer(1, 0, None, whole[1:]),
        )
        assert outcome(await client.until(kind.DISPOSITION))[0] == 1
        assert [kept.item.message.body for kept in queue.ready.values()] == [b"0123456789"]

    async def test_credit_is_renewed(self, broker: MemoryBroker) -> None:
        """A client hears of new credit, and of the session's window, before it has used them up."""
        limits = Limits(credit=10, incoming_frames=10)
        async with open_door(broker, limits=limits) as there, raw(there.port, "") as client:
            client.send(attach(1, 0, TOPIC, receiver=False))
            credit = window = number = 0
            while number < 50:
                while number < min(credit, window):
                    client.send(transfer(1, 0, number, message()))
                    number += 1
                told = (await client.until(kind.FLOW)).fields
                window = told[0] + told[1]
                if told[4] is not None:
                    credit = told[5] + told[6]
            await until(lambda: len(broker.outlet(ONE).ready) == 50)

    async def test_a_transaction(self, client: Raw) -> None:
        """A transfer that belongs to a transaction ends its link with the reason."""
        state = put.described(0x34, put.sequence([put.binary(b"tx")]))
        fields = [put.uint(0), put.uint(0), put.binary(b"t"), put.uint(0), put.FALSE, put.FALSE]
        client.send(performative(1, kind.TRANSFER, *fields, put.NULL, state, payload=message()))
        assert (await client.until(kind.DETACH)).condition == "amqp:not-implemented"


class TestReceiving:
    """What a client receives."""

    async def fill(self, client: Raw, queue: Queue, count: int, size: int = 1) -> None:
        """Have messages there, and a link that receives them: handle 1 of channel 2."""
        client.send(*[transfer(1, 0, n, message(b"x" * size)) for n in range(count)])
        await until(lambda: len(queue.ready) == count)
        client.send(begin(2, window=3), attach(2, 1, ONE, receiver=True))
        await client.until(kind.ATTACH)

    async def test_the_window(self, client: Raw, queue: Queue) -> None:
        """No more transfers come than the session's window has room for."""
        await self.fill(client, queue, 10)
        client.send(flow(2, 1, 100, window=3))
        for _ in range(3):
            await client.until(kind.TRANSFER)
        client.send(begin(7))
        assert (await client.until(kind.TRANSFER, kind.BEGIN)).kind == kind.BEGIN
        client.send(flow(2, 1, 97, seen=3, window=100))
        for _ in range(7):
            await client.until(kind.TRANSFER)

    async def test_credit_and_drain(self, client: Raw, queue: Queue) -> None:
        """As many come as there is credit for; draining hands out what there is and ends it."""
        await self.fill(client, queue, 3)
        client.send(flow(2, 1, 2))
        for number in range(2):
            assert (await client.until(kind.TRANSFER)).fields[1] == number
        client.send(flow(2, 1, 5, seen=2, drain=True))
        assert (await client.until(kind.TRANSFER, kind.FLOW)).kind == kind.TRANSFER
        drained = await client.until(kind.TRANSFER, kind.FLOW)
        assert drained.kind == kind.FLOW
        assert (drained.fields[5], drained.fields[6], drained.fields[8]) == (7, 0, True)

    async def test_small_frames(self, broker: MemoryBroker, queue: Queue) -> None:
        """A large message comes in frames no larger than the client takes."""
        async with open_door(broker) as there, raw(there.port, "", max_frame=512) as client:
            client.send(attach(1, 0, TOPIC, receiver=False))
            client.send(transfer(1, 0, 0, message(b"x" * 5000)))
            await until(lambda: len(queue.ready) == 1)
            client.send(attach(1, 1, ONE, receiver=True), flow(1, 1, 1))
            payload, more = b"", True
            while more:
                found = await client.until(kind.TRANSFER)
                payload += found.payload
                assert len(found.payload) < 512
                more = found.fields[5]
            assert payload.endswith(message(b"x" * 5000))

    async def test_settling(self, client: Raw, queue: Queue) -> None:
        """Each outcome is echoed by itself, and a second one of the same message is refused."""
        await self.fill(client, queue, 6)
        client.send(flow(2, 1, 6, window=100))
        for _ in range(6):
            await client.until(kind.TRANSFER)
        deferred = say.modified(failed=True, undeliverable=True)
        client.send(disposition(2, 0, 1, say.ACCEPTED), disposition(2, 2, 2, deferred))
        client.send(disposition(2, 3, 3, REJECTED), disposition(2, 4, 4, say.RELEASED))
        client.send(disposition(2, 5, 5, say.modified(failed=False, undeliverable=False)))
        found = [outcome(await client.until(kind.DISPOSITION)) for _ in range(6)]
        assert sorted(found) == [
            (0, 0, kind.ACCEPTED, None),
            (1, 1, kind.ACCEPTED, None),
            (2, 2, kind.MODIFIED, None),
            (3, 3, kind.REJECTED, None),
            (4, 4, kind.RELEASED, None),
            (5, 5, kind.MODIFIED, None),
        ]
        counts = {kept.item.sequence_number: kept.deliveries for kept in queue.ready.values()}
        assert counts == {5: 0, 6: 1}
        assert [kept.item.state for kept in queue.deferred_.values()] == [State.DEFERRED]
        client.send(disposition(2, 0, 0, say.ACCEPTED))
        lost = outcome(await client.until(kind.DISPOSITION))
        assert lost == (0, 0, kind.REJECTED, "com.microsoft:message-lock-lost")

    async def test_a_refusal_is_nobody_elses(self, client: Raw, queue: Queue) -> None:
        """Of what is settled in one turn only that is refused which cannot be done."""
        await self.fill(client, queue, 2)
        client.send(flow(2, 1, 2, window=100))
        for _ in range(2):
            await client.until(kind.TRANSFER)
        client.send(disposition(2, 0, 1, REJECTED))
        dead = f"{ONE}/$DeadLetterQueue"
        client.send(attach(2, 2, dead, receiver=True), flow(2, 2, 2, window=100))
        for _ in range(2):
            await client.until(kind.TRANSFER)
        client.send(disposition(2, 2, 2, REJECTED), disposition(2, 3, 3, say.ACCEPTED))
        found = [outcome(await client.until(kind.DISPOSITION)) for _ in range(2)]
        assert sorted(found) == [
            (2, 2, kind.REJECTED, "com.microsoft:argument-error"),
            (3, 3, kind.ACCEPTED, None),
        ]


class TestManagement:
    """Requests."""

    @pytest.mark.parametrize(
        ("operation", "body", "status"),
        [
            ("com.microsoft:get-session-state", put.mapping(()), 501),
            ("renew-lock", put.mapping(()), 501),
            ("com.microsoft:renew-lock", put.NULL, 400),
            ("com.microsoft:renew-lock", put.strings({"lock-tokens": put.EMPTY_LIST}), 400),
            ("com.microsoft:update-disposition", put.strings({"lock-tokens": put.NULL}), 400),
            ("com.microsoft:peek-message", put.mapping(()), 400),
            ("com.microsoft:remove-rule", put.strings({"rule-name": put.string("none")}), 404),
            ("com.microsoft:enumerate-rules", put.mapping(()), 200),
            ("com.microsoft:schedule-message", put.mapping(()), 404),
        ],
    )
    async def test_statuses(self, client: Raw, operation: str, body: bytes, status: int) -> None:
        """What is wrong with a request is said by a status, and the links go on."""
        node = f"{ONE}/$management"
        client.send(attach(1, 1, node, receiver=False), attach(1, 2, node, receiver=True))
        client.send(flow(1, 2, 10), transfer(1, 1, 0, _request(operation, body)))
        assert await _status(client) == status
        client.send(transfer(1, 1, 1, peek(1, 1)))
        assert await _status(client) == 204


def _request(operation: str, body: bytes) -> bytes:
    return (
        put.described(0x73, put.sequence([put.ulong(7)]))
        + put.described(0x74, put.strings({"operation": put.string(operation)}))
        + put.described(0x77, body)
    )


async def _status(client: Raw) -> int:
    """Of the next answer."""
    payload, at = (await client.until(kind.TRANSFER)).payload, 0
    while True:
        section, at = decode(payload, at)
        if section.descriptor == 0x74:
            return int(section.value["statusCode"])
