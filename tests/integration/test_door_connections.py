"""The door and its clients' connections: what no SDK would do, and what it costs."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator

import pytest

from notifications.door import encoding as put
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door import sections
from notifications.door.limits import Limits
from tests.amqp_client import (
    attach,
    begin,
    disposition,
    flow,
    message,
    nobody,
    opening,
    peek,
    performative,
    raw,
    token,
    transfer,
)
from tests.door_worlds import OpenDoor, memory_kb, open_door, until
from tests.memory_broker import MemoryBroker

TOPIC, ONE = "t", "t/Subscriptions/one"
QUICK = Limits(opening_ms=300, idle_ms=300, heartbeat_ms=300, stuck_ms=500)


def named(value: object) -> str:
    """A parameter in a test's name."""
    return value if isinstance(value, str) else ""


@pytest.fixture
def broker() -> MemoryBroker:
    """A topic with a subscription."""
    return MemoryBroker({TOPIC: ["one"]})


@pytest.fixture
async def there(broker: MemoryBroker) -> AsyncIterator[OpenDoor]:
    """A door with its usual limits."""
    async with open_door(broker) as found:
        yield found


class TestOpening:
    """From the first byte to the open."""

    @pytest.mark.parametrize("header", [b"GET / HT", say.AMQP_HEADER, b"\x16\x03\x01\x02\0\1\0\1"])
    async def test_another_protocol(self, there: OpenDoor, header: bytes) -> None:
        """Whoever begins otherwise is told what is spoken here, and the connection ends."""
        async with nobody(there.port) as client:
            client.send(header)
            assert await client.exactly(8) == say.SASL_HEADER
            assert await client.end() is None

    async def test_a_password(self, there: OpenDoor) -> None:
        """Logging in other than anonymously fails with SASL's code for it."""
        async with nobody(there.port) as client:
            init = put.described(kind.SASL_INIT, put.sequence([put.symbol("PLAIN")]))
            client.send(say.SASL_HEADER, say.frame(0, init, sasl=True))
            await client.exactly(8)
            last = await client.end()
            assert last
            assert (last.kind, last.fields[0]) == (kind.SASL_OUTCOME, say.SASL_AUTH)

    async def test_at_once(self, there: OpenDoor) -> None:
        """A client that says everything without waiting is served like others."""
        async with nobody(there.port) as client:
            init = put.described(kind.SASL_INIT, put.sequence([put.symbol("ANONYMOUS")]))
            login = [say.SASL_HEADER, say.frame(0, init, sasl=True), say.AMQP_HEADER]
            client.send(*login, opening(), begin(3))
            await client.exactly(8)
            await client.until(kind.SASL_OUTCOME)
            assert await client._header() == say.AMQP_HEADER
            assert (await client.until(kind.OPEN)).fields[2] == Limits().frame_bytes
            assert (await client.until(kind.BEGIN)).fields[0] == 3

    @pytest.mark.parametrize("said", [b"", say.SASL_HEADER])
    async def test_not_in_time(self, broker: MemoryBroker, said: bytes) -> None:
        """Who does not open in time is closed."""
        async with open_door(broker, limits=QUICK) as there, nobody(there.port) as client:
            client.send(said)
            await client.rest()
            await until(lambda: there.door.connections == 0)

    async def test_too_many(self, broker: MemoryBroker) -> None:
        """Beyond the limit clients are closed at once; there is room when one has left."""
        async with open_door(broker, limits=Limits(connections=1)) as there:
            async with raw(there.port), nobody(there.port) as second:
                assert await second.end() is None
            await until(lambda: there.door.connections == 0)
            async with raw(there.port):
                assert there.door.connections == 1


class TestTime:
    """Silence, and tokens."""

    async def test_heartbeats(self, there: OpenDoor) -> None:
        """A client hears something within what it asked for, though nothing happens."""
        async with raw(there.port, idle_ms=2000) as client:
            found = await client.anything()
            assert found
            assert found.kind is None

    async def test_silence(self, broker: MemoryBroker) -> None:
        """A client that stays silent is told why it is closed."""
        async with open_door(broker, limits=QUICK) as there, raw(there.port) as client:
            last = await client.end()
            assert last
            assert last.condition == "amqp:resource-limit-exceeded"

    async def test_without_a_token(self, there: OpenDoor) -> None:
        """No link comes about without a token for its path."""
        async with raw(there.port, "elsewhere") as client:
            client.send(attach(1, 0, TOPIC, receiver=False))
            assert (await client.until(kind.DETACH)).condition == "amqp:unauthorized-access"

    @pytest.mark.parametrize(
        "wrong",
        [
            token(TOPIC, key="another"),
            token(TOPIC, policy="nobody"),
            token(TOPIC, lasts_s=-5),
            token("other"),
            "jwt",
        ],
        ids=["key", "policy", "expired", "path", "jwt"],
    )
    async def test_wrong_tokens(self, there: OpenDoor, wrong: str) -> None:
        """A token that does not open the path is refused with 401."""
        async with raw(there.port) as client:
            assert await client.show(TOPIC, wrong) == 401

    async def test_keys_of_ones_own(self, broker: MemoryBroker) -> None:
        """A policy that was given opens by its key, and only by that."""
        async with open_door(broker, keys={"hub": "k"}) as there, raw(there.port) as client:
            assert await client.show(TOPIC, token(TOPIC, policy="hub", key="k")) == 202
            assert await client.show(TOPIC, token(TOPIC, policy="hub")) == 401

    async def test_an_expired_token(self, there: OpenDoor) -> None:
        """When a token expires its links end, the session does not."""
        async with raw(there.port) as client:
            assert await client.show(TOPIC, token(TOPIC, lasts_s=2)) == 202
            client.send(attach(1, 0, TOPIC, receiver=False))
            await client.until(kind.ATTACH)
            assert (await client.until(kind.DETACH)).condition == "amqp:unauthorized-access"
            assert await client.show(TOPIC, token(TOPIC)) == 202


class TestFaults:
    """What is wrong ends as little as it can."""

    @pytest.mark.parametrize(
        ("said", "condition"),
        [
            (b"\x00\x00\x00\x07\x02\x00\x00\x00", "amqp:connection:framing-error"),
            (b"\x7f\xff\xff\xff\x02\x00\x00\x00", "amqp:connection:framing-error"),
            (b"\x00\x00\x00\x08\x01\x00\x00\x00", "amqp:connection:framing-error"),
            (b"\x00\x00\x00\x08\x02\x01\x00\x00", "amqp:connection:framing-error"),
            (say.frame(1, b"\x00\x53\x14\xc0\x02\x05"), "amqp:decode-error"),
            (say.frame(1, b"\x00\x53\x14" + b"\xc0\x04\x01" * 50), "amqp:decode-error"),
            (performative(1, kind.TRANSFER, put.string("x")), "amqp:invalid-field"),
            (performative(1, 0x19), "amqp:not-allowed"),
            (performative(1, kind.BEGIN, put.NULL, put.uint(0), put.uint(1)), "amqp:not-allowed"),
        ],
        ids=named,
    )
    async def test_of_the_connection(self, there: OpenDoor, said: bytes, condition: str) -> None:
        """Bytes that are no frames, or say what nobody may, close it with an error."""
        async with raw(there.port) as client:
            client.send(said)
            last = await client.end()
            assert last
            assert (last.kind, last.condition) == (kind.CLOSE, condition)

    @pytest.mark.parametrize(
        ("said", "condition"),
        [
            (transfer(1, 5, 0, b""), "amqp:session:unattached-handle"),
            (flow(1, 5, 1), "amqp:session:unattached-handle"),
            (attach(1, 256, TOPIC, receiver=True), "amqp:session:handle-in-use"),
            (disposition(1, 0, 2**31, say.ACCEPTED), "amqp:not-allowed"),
        ],
        ids=named,
    )
    async def test_of_the_session(self, there: OpenDoor, said: bytes, condition: str) -> None:
        """What is said about links that there are not ends the session, and no other."""
        async with raw(there.port) as client:
            client.send(begin(2), said)
            ended = await client.until(kind.END)
            assert (ended.channel, ended.condition) == (1, condition)
            client.send(performative(1, kind.END), performative(2, kind.END))
            assert (await client.until(kind.END)).channel == 2

    @pytest.mark.parametrize(
        ("said", "condition"),
        [
            (attach(1, 0, "nowhere", receiver=False), "amqp:not-found"),
            (attach(1, 0, TOPIC, receiver=True), "amqp:not-found"),
            (attach(1, 0, "nowhere/$management", receiver=False), "amqp:not-found"),
            (attach(1, 0, "sb://[", receiver=False), "amqp:invalid-field"),
            (
                attach(1, 0, TOPIC, receiver=False, target=put.described(0x30, put.EMPTY_LIST)),
                "amqp:not-implemented",
            ),
            (attach(1, 0, TOPIC, receiver=False, target=put.NULL), "amqp:invalid-field"),
        ],
        ids=named,
    )
    async def test_of_the_link(self, there: OpenDoor, said: bytes, condition: str) -> None:
        """A link that cannot be is refused by itself."""
        async with raw(there.port, "") as client:
            client.send(said)
            attached = await client.until(kind.ATTACH)
            assert None in (attached.fields[5], attached.fields[6])
            assert (await client.until(kind.DETACH)).condition == condition
            client.send(attach(1, 1, TOPIC, receiver=False))
            assert (await client.until(kind.FLOW)).fields[4] == 1

    async def test_too_many_links(self, broker: MemoryBroker) -> None:
        """One link more than there may be is refused; the others go on."""
        async with (
            open_door(broker, limits=Limits(links=2)) as there,
            raw(there.port, "") as client,
        ):
            client.send(*[attach(1, handle, TOPIC, receiver=False) for handle in range(3)])
            detached = await client.until(kind.DETACH)
            assert detached.condition == "amqp:resource-limit-exceeded"

    async def test_unfinished_messages(self, broker: MemoryBroker) -> None:
        """What is begun on many links and never finished is bounded."""
        limits = Limits(partial_bytes=100_000)
        async with open_door(broker, limits=limits) as there, raw(there.port, "") as client:
            for handle in range(3):
                client.send(attach(1, handle, TOPIC, receiver=False))
                client.send(transfer(1, handle, handle, b"x" * 50_000, more=True))
            last = await client.end()
            assert last
            assert last.condition == "amqp:resource-limit-exceeded"


class TestCost:
    """What clients may cost."""

    async def test_who_never_reads(self, broker: MemoryBroker) -> None:
        """A client that asks for everything and reads nothing gets little, and is closed."""
        async with open_door(broker, limits=QUICK) as there, raw(there.port, "") as client:
            client.send(attach(1, 0, TOPIC, receiver=False))
            for number in range(400):
                client.send(transfer(1, 0, number, message(b"x" * 50_000)))
            await until(lambda: len(broker.outlet(ONE).ready) == 400)
            client.send(attach(1, 1, ONE, receiver=True, settled=True))
            client.stop_reading()
            client.send(flow(1, 1, 10_000, window=1_000_000))
            await until(lambda: there.door.connections == 0)
            assert len(broker.outlet(ONE).ready) > 200

    async def test_many_links_that_nobody_reads(self, broker: MemoryBroker) -> None:
        """However many links wait, the messages held for a client that does not read are few."""
        size, links = 50_000, 60
        sample = sections.read(message(b"x" * size), new_id="m", own_bus=False)
        queue = broker.outlet(ONE)
        async with open_door(broker) as there, raw(there.port, "") as client:
            for handle in range(links):
                client.send(attach(1, handle, ONE, receiver=True))
                client.send(flow(1, handle, 100, window=1_000_000))
            client.send(attach(1, links, TOPIC, receiver=False))
            await client.until(kind.FLOW)  # by then each of them waits
            client.stop_reading()
            await broker.inlet(TOPIC).send([sample] * 20 * links)
            await until(lambda: bool(queue.locked))
            held = [0] * 5
            while held[-1] != held[-5] or not held[-1]:  # until no more are taken
                await asyncio.sleep(0.02)
                held.append(len(queue.locked))
            # Of this the machine's own buffers hold most.
            assert held[-1] * size < 12_000_000, f"{held[-1]} messages are held for the client"
            assert len(queue.ready) + held[-1] == 20 * links

    async def test_who_asks_and_never_reads(self, broker: MemoryBroker) -> None:
        """A client that asks much and takes no answer is not read from, and closed."""
        async with open_door(broker, limits=QUICK) as there, raw(there.port, "") as client:
            node = f"{ONE}/$management"
            client.send(attach(1, 0, TOPIC, receiver=False))
            client.send(*[transfer(1, 0, n, message(b"x" * 50_000)) for n in range(6)])
            client.send(attach(1, 1, node, receiver=False), attach(1, 2, node, receiver=True))
            client.stop_reading()
            client.send(flow(1, 2, 10_000, window=1_000_000))
            for number in range(6, 600):
                client.send(transfer(1, 1, number, peek(1, 250)))
            await until(lambda: there.door.connections == 0)

    async def test_a_thousand_idle(self, broker: MemoryBroker) -> None:
        """A thousand connections that do nothing cost little, and nobody waits for them."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        idle: list[socket.socket] = []
        try:
            async with open_door(broker) as there:
                before = memory_kb(os.getpid())
                init = put.described(kind.SASL_INIT, put.sequence([put.symbol("ANONYMOUS")]))
                login = [say.SASL_HEADER, say.frame(0, init, sasl=True), say.AMQP_HEADER]
                hello = b"".join([*login, opening(), begin(1)])
                for number in range(1000):
                    idle.append(socket.create_connection(("127.0.0.1", there.port)))
                    idle[-1].sendall(hello)
                    if number % 50 == 0:
                        await asyncio.sleep(0)
                await until(lambda: there.door.connections == 1000)
                async with asyncio.timeout(2), raw(there.port, "") as client:
                    client.send(attach(1, 0, TOPIC, receiver=False), transfer(1, 0, 0, message()))
                    await client.until(kind.DISPOSITION)
                grown = memory_kb(os.getpid()) - before
                assert grown < 40_000, f"{grown} KB for 1,000 connections"
        finally:
            for one in idle:
                one.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
