"""Microsoft's SDK against the door, as a bus to hold against `ports.Bus`.

The door and the SDK live on a loop of their own, in a thread that serves all tests of the process:
the SDK takes half a second to open a link and one to close it. What is behind the door is new for
each test, and the hub's own locks are forgotten with it.

Time is the broker's and in the test's hands; it is ahead of the wall clock, so that the SDK, which
looks at that, leaves it to the door to say which locks are lost.
"""

import asyncio
import atexit
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from notifications.broker import End, Item, Peekable, Rules
from notifications.bus.brokering import EmbeddedBroker
from notifications.bus.registry import Registry
from notifications.bus.servicebus.bus import ServiceBus, open_service_bus
from notifications.bus.servicebus.connection import Pace
from notifications.bus.servicebus.dead_letters import Keeping, ServiceBusDeadLetters
from notifications.bus.topology import Topic
from notifications.door.listener import Door
from notifications.errors import Unavailable
from notifications.messages import Message, Received
from notifications.retries import DAY
from notifications.service_bus_address import ServiceBusAddress
from notifications.stores.rejections import SqlRejections
from notifications.testing import ManualClock, SeededDice
from notifications.timing import SystemClock
from tests.bus_worlds import (
    ALL,
    BIG,
    BRIEF,
    SAMPLE,
    Dead,
    EmbeddedWorld,
    Features,
    embedded_world,
)

AHEAD_MS = 600_000
LOOK_S = 0.01
"""How often it is looked whether the broker has something that is to come."""

COMES_WITHIN_S = 20.0
"""How long what the broker has may take."""

QUICK = Pace(patience_s=0.02, slice_s=0.02, read_s=0.005)
"""Here nothing is far away: the SDK's waits are most of what a test takes."""

REST_WITHIN_S = 10.0
OPEN_S = 2.0

BETWEEN_TESTS_MS = 600_000

SERVICE_BUS = Features(
    durable=True,
    by_hand=True,
    refuses=Message(id="refused", body=b"", properties={"size": 2**31}),
    one_commit=False,
    backlog=2_000,
    ordered=False,
)


def connection_string(port: int) -> str:
    """What opens a door on this machine, as the emulator's documentation has it."""
    return (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )


class Swapped:
    """Implements `broker.Broker`: whatever broker stands behind it at the moment."""

    def __init__(self) -> None:
        self.now: EmbeddedBroker | None = None
        self.came = asyncio.Event()

    async def there(self) -> EmbeddedBroker:
        """The broker; waits while there is none."""
        while self.now is None:
            self.came.clear()
            await self.came.wait()
        return self.now

    def swap(self, broker: EmbeddedBroker | None) -> None:
        """Put another one there."""
        self.now = broker
        self.came.set()

    def inlet(self, path: str) -> "SwappedEnd":
        assert self.now
        self.now.inlet(path)
        return SwappedEnd(self, path, EmbeddedBroker.inlet)

    def outlet(self, path: str) -> "SwappedEnd":
        assert self.now
        self.now.outlet(path)
        return SwappedEnd(self, path, EmbeddedBroker.outlet)

    def peekable(self, path: str) -> Peekable:
        assert self.now
        return self.now.peekable(path)

    def rules(self, path: str) -> Rules:
        assert self.now
        return self.now.rules(path)


class SwappedEnd:
    """Implements `broker.Inlet` and `broker.Outlet`, on the broker of the moment."""

    def __init__(
        self, swapped: Swapped, path: str, end: Callable[[EmbeddedBroker, str], Any]
    ) -> None:
        self._swapped = swapped
        self._path = path
        self._of = end

    async def _end(self) -> Any:
        return self._of(await self._swapped.there(), self._path)

    async def send(self, messages: Sequence[Message]) -> Sequence[int]:
        return await (await self._end()).send(messages)

    async def cancel(self, numbers: Sequence[int]) -> None:
        await (await self._end()).cancel(numbers)

    async def peek(self, *, after: int, limit: int) -> Sequence[Item]:
        return await (await self._end()).peek(after=after, limit=limit)

    async def receive(self, *, limit: int, wait: bool, lock: bool) -> Sequence[Item]:
        while True:
            broker = await self._swapped.there()
            try:
                return await self._of(broker, self._path).receive(limit=limit, wait=wait, lock=lock)
            except Unavailable:
                if self._swapped.now is broker:
                    raise
            await asyncio.sleep(0)

    async def settle(self, ends: Sequence[tuple[UUID, End]]) -> Sequence[bool]:
        return await (await self._end()).settle(ends)

    async def renew(self, token: UUID) -> int | None:
        return await (await self._end()).renew(token)

    async def deferred(self, numbers: Sequence[int], *, lock: bool) -> Sequence[Item]:
        return await (await self._end()).deferred(numbers, lock=lock)


class Thread:
    """A loop of its own, for as long as the process lives."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it there; cancelled there when this is, unless it was done a moment before."""
        ended: concurrent.futures.Future[Any] = concurrent.futures.Future()
        tasks: list[asyncio.Task[Any]] = []

        def start() -> None:
            tasks.append(self.loop.create_task(work))
            tasks[0].add_done_callback(lambda task: _tell(task, ended))

        self.loop.call_soon_threadsafe(start)
        answer = asyncio.wrap_future(ended)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            self.loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            return await answer

    def finish(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it there to its end, from outside of any loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


def _tell(task: asyncio.Task[Any], ended: "concurrent.futures.Future[Any]") -> None:
    if task.cancelled():
        ended.set_exception(asyncio.CancelledError())
    elif error := task.exception():
        ended.set_exception(error)
    else:
        ended.set_result(task.result())


class There:
    """Something of the thread's loop: its methods run there."""

    def __init__(self, thread: Thread, target: Any) -> None:
        self._thread = thread
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        method = getattr(self._target, name)

        async def call(*args: Any, **named: Any) -> Any:
            return await self._thread.run(method(*args, **named))

        return call


class Gathering:
    """The bus to a test that waits for all there is: the port promises one message at least.

    It looks behind the door whether there is something yet, so that a slow machine misses nothing.
    """

    def __init__(self, bus: ServiceBus, embedded: EmbeddedWorld) -> None:
        self._bus = bus
        self._embedded = embedded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def receive(self, subscription: str, *, limit: int) -> Sequence[Received]:
        found = list(await self._bus.receive(subscription, limit=limit))
        while len(found) < limit:
            more = await self.at_once(subscription, limit - len(found))
            if not more:
                break
            found += more
        return found

    async def at_once(self, subscription: str, limit: int) -> Sequence[Received]:
        """What comes, without waiting for more to be published.

        Where nothing is there it asks all the same, and leaves: then what an earlier call asked
        for and did not get is not asked for any more.
        """
        receiving = asyncio.create_task(self._bus.receive(subscription, limit=limit))
        give_up = time.monotonic() + COMES_WITHIN_S
        try:
            while await self._is_there(subscription):
                done, _ = await asyncio.wait({receiving}, timeout=LOOK_S)
                if done or time.monotonic() > give_up:
                    break
        finally:
            receiving.cancel()
            await asyncio.wait({receiving})
        return [] if receiving.cancelled() else receiving.result()

    async def _is_there(self, subscription: str) -> bool:
        """Whether the broker has something that nobody holds, or that is on its way here."""
        bus = self._embedded.bus
        held = len(bus.queue(subscription).locks)
        if held > _in_hand(self._bus, subscription):
            return True
        return len(await bus.peek(subscription, after=0, limit=held + 1)) > held


def _in_hand(bus: ServiceBus, subscription: str) -> int:
    """How many of a subscription's messages the SDK's side holds, under locks that still last."""
    reception = bus._receptions.get(subscription)
    if reception is None:
        return 0
    now = reception._clock.wall()
    until = [each.locked_until_utc for each in reception._held.values()]
    return sum(each is not None and each > now for each in until)


class Standing:
    """A door with the SDK before it, on a topology, for all tests of the process."""

    def __init__(self, thread: Thread, topology: Sequence[Topic]) -> None:
        self.thread = thread
        self.topology = topology
        self.clock = ManualClock(round(time.time() * 1000) + AHEAD_MS)
        self.broker = Swapped()
        self.bus: ServiceBus | None = None
        self._stack = contextlib.AsyncExitStack()
        self._warm = False

    async def start(self) -> None:
        """Open the door and a client of it."""
        # Its heartbeats and tokens go by the wall: the SDK's do.
        door = Door(self.broker, clock=SystemClock(), dice=SeededDice())
        port = await door.start("127.0.0.1", 0)
        self._stack.push_async_callback(door.stop)
        address = ServiceBusAddress(host="localhost", connection_string=connection_string(port))
        self.bus = await self._stack.enter_async_context(
            open_service_bus(address, self.topology, self.clock, pace=QUICK)
        )

    async def warm(self) -> None:
        """Have every link opened, once, so that no test waits for that."""
        assert self.bus
        if not self._warm:
            await asyncio.gather(*(self._open(each) for each in self.bus.subscriptions))
        self._warm = True

    async def _open(self, subscription: str) -> None:
        assert self.bus
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.bus.receive(subscription, limit=1), OPEN_S)

    async def stop(self) -> None:
        """Close both."""
        await self._stack.aclose()


async def rest(door: Standing, *subscriptions: str) -> None:
    """Return when receivers that nobody waits at have let go of what they asked for."""
    assert door.bus
    async with asyncio.timeout(REST_WITHIN_S):
        for name in subscriptions or door.bus.subscriptions:
            while not door.bus.at_rest(name):
                await asyncio.sleep(0.005)


_standing: dict[tuple[str, ...], Standing] = {}


def standing(topology: Sequence[Topic]) -> Standing:
    """The door of a topology, opened once."""
    key = tuple(topic.name for topic in topology)
    if key not in _standing:
        found = Standing(_thread(), topology)
        found.thread.finish(found.start())
        _standing[key] = found
    return _standing[key]


@atexit.register
def _stop() -> None:
    for found in _standing.values():
        with contextlib.suppress(Exception):
            found.thread.finish(found.stop())


@lru_cache
def _thread() -> Thread:
    return Thread()


class ServiceBusWorld:
    """The SDK, the door, and a fresh broker behind it. Implements `BusWorld`."""

    features = SERVICE_BUS

    def __init__(self, door: Standing, embedded: EmbeddedWorld) -> None:
        assert door.bus
        self._door = door
        self._embedded = embedded
        self._dice = SeededDice()
        self.clock = door.clock
        self.peek = There(door.thread, door.bus)
        self._gathering = Gathering(door.bus, embedded)
        self.bus = There(door.thread, self._gathering)
        names = {f"of-{name}": name for name in (ALL, BRIEF, BIG)}
        rejections = SqlRejections(embedded.database, keep=DAY)
        keeping = Keeping(
            ledger=embedded.database, given_up=embedded, rejections=rejections, consumers=names
        )
        self.rejections = There(door.thread, rejections)
        letters = ServiceBusDeadLetters(door.bus, keeping, self._dice, self.clock, keep=DAY)
        self.letters = There(door.thread, letters)

    @property
    def given_up(self) -> Sequence[tuple[str, str]]:
        return self._embedded.given_up

    def open(self) -> None:
        """Put a broker behind the door."""
        registry = Registry.of_topology(self._door.topology, self.clock.now())
        embedded = self._embedded
        broker = EmbeddedBroker(
            embedded.database, embedded.bus, registry, clock=self.clock, dice=self._dice
        )
        self._door.broker.swap(broker)

    async def reopen(self) -> None:
        await self._door.thread.run(self._reopen())

    async def _reopen(self) -> None:
        await rest(self._door)
        self._door.broker.swap(None)
        await self._embedded.reopen()
        self.open()

    async def pass_time(self, ms: int) -> None:
        await self._door.thread.run(self._embedded.pass_time(ms))

    async def at_once(self, subscription: str, *, limit: int = 100) -> Sequence[Received]:
        return await self._door.thread.run(self._at_once(subscription, limit))

    async def _at_once(self, subscription: str, limit: int) -> Sequence[Received]:
        found = list(await self._gathering.at_once(subscription, limit))
        while found and len(found) < limit:
            more = await self._gathering.at_once(subscription, limit - len(found))
            if not more:
                break
            found += more
        await rest(self._door, subscription)
        return found

    async def dead_letters(self, subscription: str) -> Sequence[Dead]:
        return await self._door.thread.run(self._embedded.dead_letters(subscription))


@asynccontextmanager
async def service_bus_world(
    folder: Path,
    topology: Sequence[Topic] = SAMPLE,
    consuming: Sequence[str] = (ALL, BRIEF, BIG),
) -> AsyncIterator[ServiceBusWorld]:
    """The SDK before the door, with nothing behind it yet."""
    door = await asyncio.to_thread(standing, topology)
    stack = contextlib.AsyncExitStack()

    async def begin() -> ServiceBusWorld:
        opened = embedded_world(folder, topology, (), clock=door.clock)
        world = ServiceBusWorld(door, await stack.enter_async_context(opened))
        world.open()
        await door.warm()
        return world

    async def end() -> None:
        await rest(door)
        door.broker.swap(None)
        await stack.aclose()
        await door.clock.advance(BETWEEN_TESTS_MS)  # whatever is still held has lost its lock

    world = await door.thread.run(begin())
    try:
        yield world
    finally:
        await door.thread.run(end())
