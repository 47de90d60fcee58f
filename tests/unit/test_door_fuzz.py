"""Hostile bytes: whatever comes, the connection ends in good order and nothing is left of it.

`tests/wire/amqp/` holds what clients say: what Microsoft's said to the door, and what none should
ever say. It is fed as it is, and changed by chance; `make soak` does so for longer.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.door import performatives as kind
from notifications.door.connection import Connection
from notifications.door.decoding import Described, decode
from notifications.door.frames import AMQP_HEADER, SASL_HEADER, Frames
from notifications.door.limits import Limits
from notifications.door.sas import EMULATOR_KEY, EMULATOR_POLICY
from notifications.door.world import World
from notifications.testing import ManualClock, SeededDice
from tests.memory_broker import MemoryBroker

CORPUS = {
    path.stem: path.read_bytes()
    for path in (Path(__file__).parents[1] / "wire" / "amqp").glob("*.bin")
}
LIMITS = Limits(unread_bytes=256 * 1024)
TURNS = 200
"""More turns of the loop than anything here takes."""

WHOLE = {"javascript", "python-sender", "python-receiver", "silence", "half-a-header"}
"""What is no offence by itself."""

LOCAL = {
    "all-handles",
    "coordinator",
    "dispositions",
    "never-finished",
    "requests",
    "truncated",
    "unknown-handles",
}
"""What ends a session, a link or a message, and not the connection."""


class Tap(asyncio.Transport):
    """The network: what was written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def said(written: bytes) -> list[Described]:
    """What the door said; it says nothing but headers and well-formed frames."""
    frames, found = Frames(2**31), []
    frames.add(bytes(written))
    while True:
        head = frames.take(8)
        if head is None:
            return found
        if head in (SASL_HEADER, AMQP_HEADER):
            continue
        frames._at -= 8
        frame = frames.next()
        if frame is None:
            return found
        if frame[2]:
            found.append(decode(frame[2])[0])


async def feed(data: bytes, pieces: int = 1) -> tuple[Tap, list[Described]]:
    """Have a door hear something, then lose its client; nothing may be left."""
    broker = MemoryBroker({"t": ["one"]})
    world = World(
        broker=broker,
        clock=ManualClock(),
        dice=SeededDice(1),
        keys={EMULATOR_POLICY: EMULATOR_KEY},
        limits=LIMITS,
        own_bus=False,
    )
    gone: list[Connection] = []
    connection, tap = Connection(world, gone.append), Tap()
    connection.connection_made(tap)
    size = max(len(data) // pieces, 1)
    for at in range(0, len(data), size):
        if tap.closed:
            break
        connection.data_received(data[at : at + size])
        await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    client = connection._client
    left = (client.links, client._waiting, client._partial, len(connection._sessions))
    assert left == (0, 0, 0, 0)
    assert gone == [connection]
    assert not world.tasks
    for topic in broker._topics.values():
        for timer in topic.timers.values():
            timer.cancel()
    return tap, said(tap.written)


def check_log(log: pytest.LogCaptureFixture) -> None:
    """Nothing went wrong in a way that nobody foresaw."""
    assert [r.getMessage() for r in log.records if r.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("name", sorted(CORPUS))
@pytest.mark.parametrize("pieces", [1, 40])
async def test_corpus(name: str, pieces: int, caplog: pytest.LogCaptureFixture) -> None:
    """What is hostile ends with an error, what is a client's does not, in pieces or whole."""
    tap, heard = await feed(CORPUS[name], pieces)
    check_log(caplog)
    closes = [one for one in heard if one.descriptor == kind.CLOSE]
    if name in WHOLE:
        assert all(one.value[0] is None for one in closes)
    elif name in LOCAL:
        assert not tap.closed
    else:
        assert tap.closed
        if any(one.descriptor == kind.OPEN for one in heard):
            assert closes[0].value[0].descriptor == 0x1D


SHARED_LOG = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

WAYS = st.sampled_from(["flip", "cut", "drop", "double", "random"])
CHANGES = st.lists(st.tuples(WAYS, st.floats(0, 1), st.binary(max_size=12)), min_size=1, max_size=4)


def changed(data: bytes, how: str, where: float, some: bytes) -> bytes:
    """Something else in a place."""
    at = int(where * len(data))
    if how == "flip":
        flipped = bytearray(data)
        if at < len(data):
            flipped[at] ^= 1 << len(some) % 8
        return bytes(flipped)
    if how == "cut":
        return data[:at]
    if how == "drop":
        return data[:at] + data[at + len(some) :]
    if how == "double":
        return data[:at] + data[at - 40 :]
    return data[:at] + some + data[at + len(some) :]


@settings(max_examples=120, suppress_health_check=SHARED_LOG)
@given(st.sampled_from(sorted(CORPUS)), CHANGES)
def test_changed(caplog: pytest.LogCaptureFixture, name: str, changes: Any) -> None:
    """However a conversation is changed, nothing is left and the door says what is well formed."""
    data = CORPUS[name]
    for change in changes:
        data = changed(data, *change)
    asyncio.run(feed(data, 1 + len(data) % 7))
    check_log(caplog)


@settings(max_examples=60, suppress_health_check=SHARED_LOG)
@given(st.binary(max_size=300))
def test_random(caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    """Any bytes after a good beginning do no harm."""
    begun = CORPUS["open-twice"]
    asyncio.run(feed(begun[: begun.rindex(b"\x00\x53\x10") - 8] + data))
    check_log(caplog)
