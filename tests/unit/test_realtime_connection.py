"""One websocket: what goes straight out, what waits, what ends it. The server is held by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.websockets import WebSocket

from notifications.channels.realtime.connection import (
    Backlogs,
    Connection,
    Ending,
    Limits,
    Manners,
    SlowReader,
)
from notifications.channels.realtime.frames import CloseCode, Frame
from tests.realtime_server import HeldServer, until


@dataclass
class Line:
    """A connection under test."""

    server: HeldServer
    connection: Connection
    backlogs: Backlogs
    taken: list[str]
    serving: asyncio.Task[Ending] = field(init=False)

    def write(self, *texts: str) -> None:
        for text in texts:
            self.connection.write(Frame(text, len(text.encode())))


@contextlib.asynccontextmanager
async def line(
    limits: Limits | None = None,
    *,
    take: Callable[[str], None] | None = None,
    manners: Manners | None = None,
) -> AsyncIterator[Line]:
    server, backlogs = HeldServer(), Backlogs()
    scope = {"type": "websocket", "headers": [], "path": "/", "query_string": b""}
    websocket = WebSocket(scope, server.receive, server.send)
    await websocket.accept()
    server.sent.clear()
    connection = Connection(
        websocket,
        connection_id="c1",
        limits=limits or Limits(),
        backlogs=backlogs,
        manners=manners,
    )
    made = Line(server, connection, backlogs, [])
    made.serving = asyncio.create_task(connection.serve(take or made.taken.append))
    await asyncio.sleep(0)  # it has begun, as in the endpoint
    try:
        yield made
    finally:
        server.reads.set()
        connection.end(CloseCode.GOING_AWAY, "the test is over")
        async with asyncio.timeout(5):
            with contextlib.suppress(asyncio.CancelledError):
                await made.serving


def bounded(**limits: Any) -> Limits:
    return Limits(close_grace_s=0.2, **limits)


async def test_a_write_goes_straight_out() -> None:
    """With nothing before it, a frame is with the server when `write` returns."""
    async with line() as it:
        it.write("a", "b")
        assert it.server.texts == ["a", "b"]
        assert not it.connection.behind


async def test_order_holds_across_the_backlog() -> None:
    """What waits goes out in the order it came, and later writes do not overtake it."""
    async with line() as it:
        it.write("1")
        it.server.reads.clear()
        it.write("2", "3", "4")
        assert it.connection.behind
        assert it.server.texts == ["1"]
        it.server.reads.set()
        it.write("5")
        await until(lambda: not it.connection.behind)
        it.write("6")
        assert it.server.texts == ["1", "2", "3", "4", "5", "6"]
        assert it.backlogs.size == 0


@pytest.mark.parametrize(
    ("limits", "fit"),
    [
        (bounded(backlog_messages=3), 3),
        (bounded(backlog_bytes=40), 4),
        (bounded(backlog_bytes_in_all=20), 2),
    ],
    ids=["messages", "bytes", "bytes in all"],
)
async def test_the_backlog_is_bounded(limits: Limits, fit: int) -> None:
    """Each bound lets in what fits; one more ends the connection with 1013 and frees it all."""
    assert limits.slow_reader is SlowReader.DISCONNECT
    async with line(limits) as it:
        it.server.reads.clear()
        it.write("the first is with the server", *["ten bytes!"] * fit)
        assert it.backlogs.size == 10 * fit
        assert not it.serving.done()
        it.write("ten bytes!")
        assert it.backlogs.size == 0
        it.server.reads.set()
        ending = await it.serving
        assert (ending.code, ending.by_client) == (CloseCode.TRY_AGAIN_LATER, False)
        assert it.server.closed == 1013


async def test_a_client_that_never_reads_ends_all_the_same() -> None:
    """Its end is waited for no longer than the grace, and what is written then goes nowhere."""
    async with line(bounded(backlog_messages=1)) as it:
        it.server.reads.clear()
        it.write("1", "2", "3")
        assert (await it.serving).code == CloseCode.TRY_AGAIN_LATER
        it.write("4")
        it.server.reads.set()
        await asyncio.sleep(0)
        assert it.server.sent == []
        assert it.backlogs.size == 0


async def test_the_backlog_in_all_is_shared() -> None:
    """What waits for one connection leaves less room for another, until it is let out."""
    shared = Backlogs()
    limits = bounded(backlog_bytes_in_all=20)
    async with line(limits) as one, line(limits) as two:
        for each in (one, two):
            each.backlogs = each.connection._backlogs = shared
            each.server.reads.clear()
            each.write("out")
        one.write("ten bytes!", "ten bytes!")
        two.write("x")
        assert (await two.serving).code == CloseCode.TRY_AGAIN_LATER
        one.server.reads.set()
        await until(lambda: not one.connection.behind)
        assert shared.size == 0
        assert not one.serving.done()


async def test_what_the_client_says_is_handed_on() -> None:
    """Each text message in order; the client's own end gives its code."""
    async with line() as it:
        it.server.say(text="a")
        it.server.say(text="é")
        it.server.leave(1000)
        assert await it.serving == Ending(code=1000, reason="bye", by_client=True)
        assert it.taken == ["a", "é"]
        assert it.server.closed is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"bytes": b"{}"}, CloseCode.UNSUPPORTED),
        ({"text": "x" * 101}, CloseCode.TOO_BIG),
        ({"text": "é" * 51}, CloseCode.TOO_BIG),
    ],
    ids=["binary", "too long", "too many bytes"],
)
async def test_messages_that_end_it(message: dict[str, Any], code: CloseCode) -> None:
    """Binary messages and those over the limit, counted in bytes, are not handed on."""
    async with line(Limits(frame_bytes=100)) as it:
        it.server.say(text="x" * 100)
        it.server.say(text="é" * 50)
        it.server.say(**message)
        assert (await it.serving).code == code
        assert len(it.taken) == 2
        assert '"event":"disconnected"' in it.server.texts[-1]
        assert it.server.closed == code


async def test_a_fault_of_ours_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the conversation ends that one connection, and is logged."""

    def broken(text: str) -> None:
        raise ValueError(text)

    async with line(take=broken) as it:
        it.server.say(text="a")
        assert (await it.serving).code == CloseCode.INTERNAL
        assert [record.message for record in caplog.records] == ["socket.broken"]


async def test_the_first_reason_to_end_stays() -> None:
    """Ending twice closes once, with the first code."""
    async with line() as it:
        it.connection.end(CloseCode.POLICY, "first")
        it.connection.end(CloseCode.GOING_AWAY, "second")
        assert (await it.serving).reason == "first"
        assert it.server.closed == CloseCode.POLICY


@pytest.mark.parametrize("behind", [False, True])
async def test_a_client_that_left_ends_it(behind: bool) -> None:
    """A write that the server refuses ends the connection, straight or from the backlog."""
    async with line() as it:
        if behind:
            it.server.reads.clear()
            it.write("1", "2")
        it.server.left = True
        it.server.reads.set()
        it.write("3")
        assert await it.serving == Ending(code=1006, reason="", by_client=True)
        assert it.backlogs.size == 0


async def test_a_server_that_stops_takes_everything_with_it() -> None:
    """Cancelling the endpoint leaves no task and no bytes behind."""
    async with line() as it:
        it.server.reads.clear()
        it.write("1", "2")
        it.serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await it.serving
        assert it.backlogs.size == 0
        await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_a_chatty_client_lets_others_have_their_turn() -> None:
    """However much is there to read, the loop turns at least every 64 messages."""
    async with line() as it:
        for number in range(1000):
            it.server.say(text=str(number))
        turns = 0
        while len(it.taken) < 1000:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 1000 // 64


def source(count: int) -> tuple[Manners, list[str]]:
    """A source of so many frames, and those that are left in it."""
    left = [str(number) for number in range(count)]

    def more() -> Frame | None:
        return Frame(left.pop(0), 1) if left else None

    return Manners(more=more), left


async def test_a_source_is_taken_from_as_the_client_reads() -> None:
    """One frame is on its way while the client takes none; all follow once it does, and nothing
    of it counts as backlog."""
    manners, left = source(5)
    async with line(bounded(backlog_messages=1), manners=manners) as it:
        it.server.reads.clear()
        it.connection.pump()
        it.connection.pump()
        await asyncio.sleep(0)
        assert (len(left), it.backlogs.size) == (4, 0)
        it.write("answer")
        it.server.reads.set()
        await until(lambda: not it.connection.behind)
        assert it.server.texts == ["0", "answer", "1", "2", "3", "4"]


async def test_a_connection_at_its_end_takes_nothing_from_its_source() -> None:
    """What is in it is for the next connection."""
    manners, left = source(5)
    async with line(manners=manners) as it:
        it.server.reads.clear()
        it.connection.pump()
        it.connection.end(CloseCode.POLICY, "over")
        it.server.reads.set()
        await it.serving
        it.connection.pump()
        assert len(left) == 4


async def test_a_write_that_ends_after_the_end_brings_nothing_along() -> None:
    """The client reads just as its connection is given up: the next frame is not for this one."""
    manners, left = source(5)
    async with line(manners=manners) as it:
        it.server.reads.clear()
        it.connection.pump()
        await asyncio.sleep(0)  # the write is on its way
        it.server.reads.set()
        it.connection.end(CloseCode.POLICY, "recovered elsewhere")
        await it.serving
        assert len(left) == 4


async def test_without_protocol_binary_messages_may_come() -> None:
    """They are as nothing, up to their bound; and no frame of the hub's own goes out."""
    manners = Manners(farewell=None, takes_binary=True)
    async with line(Limits(frame_bytes=10), manners=manners) as it:
        it.server.say(bytes=b"\xff" * 10)
        it.server.say(text="a")
        it.server.say(bytes=b"\xff" * 11)
        assert (await it.serving).code == CloseCode.TOO_BIG
        assert it.taken == ["", "a"]
        assert it.server.texts == []
        assert it.server.closed == CloseCode.TOO_BIG
