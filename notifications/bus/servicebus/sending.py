"""Sending to a topic: one sender, whoever publishes, and batches that are filled to the limit.

The SDK's senders are not made for several coroutines at once. So what is published while a batch
is on its way waits, and goes with the next one.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from azure.servicebus.exceptions import MessageSizeExceededError

from notifications.bus.servicebus.connection import USUAL, Pace, unavailable
from notifications.bus.servicebus.wire import outgoing
from notifications.errors import FieldError, InvalidInput, Unavailable
from notifications.messages import Message
from notifications.service_bus_address import ServiceBusAddress

log = logging.getLogger("huntaze")

SEND_S = 30.0
"""For sending a batch, new connections and the SDK's own tries included."""

MOST_WAITING = 64 << 20
"""Bytes that wait for the sender; who brings more is told that the bus is away."""

_TOGETHER = 1_000
"""Messages that are looked at for one batch."""


@dataclass(slots=True, eq=False)
class _Parcel:
    """What one caller publishes, and what it is told.

    Attributes:
        messages: What the SDK sends.
        size: About how many bytes they take.
        sent: Resolves when the namespace has them.
    """

    messages: Sequence[ServiceBusMessage]
    size: int
    sent: asyncio.Future[None] = field(repr=False)


@dataclass(slots=True, eq=False)
class _Load:
    """A batch, and the parcels that are hurt when it is not sent."""

    batch: ServiceBusMessageBatch
    parcels: list[_Parcel] = field(default_factory=list)


class TopicSender:
    """Sends to one topic, safe under concurrency.

    What one caller publishes goes in one batch, which is accepted whole or not at all, as long as
    it fits; only what is more than a batch holds is sent in several.
    """

    def __init__(
        self,
        client: ServiceBusClient,
        address: ServiceBusAddress,
        topic: str,
        pace: Pace = USUAL,
    ) -> None:
        self._client = client
        self._address = address
        self._topic = topic
        self._read_s = pace.read_s
        self._waiting: list[_Parcel] = []
        self._bytes = 0
        self._came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send what is published."""
        self._task = asyncio.create_task(self._run(), name=f"send-{self._topic}")

    async def close(self) -> None:
        """Stop; whoever still waits is told that the bus is away."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Put messages on the topic; returns when the namespace has them.

        Raises:
            InvalidInput: One of them cannot be carried; none was sent.
            Unavailable: The bus is away. Where there were more than a batch holds, some may be
                there.
        """
        if not messages:
            return
        if self._task is None:
            raise Unavailable("the bus is closed")
        if self._bytes > MOST_WAITING:
            raise Unavailable(f"too much waits to be sent to {self._topic}")
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        size = sum(_about(message) for message in messages)
        self._waiting.append(_Parcel([outgoing(message) for message in messages], size, sent))
        self._bytes += size
        self._came.set()
        await sent

    async def _run(self) -> None:
        sender = self._client.get_topic_sender(self._topic, socket_timeout=self._read_s)
        batches = _Batches(sender)
        under_way: list[_Parcel] = []
        try:
            while True:
                await self._came.wait()
                self._came.clear()
                while self._waiting:
                    under_way = self._take()
                    await self._deliver(sender, batches, under_way)
        finally:
            self._fail([*under_way, *self._waiting], Unavailable("the bus is closed"))
            self._waiting = []
            await sender.close()

    def _take(self) -> list[_Parcel]:
        """The next parcels, about as many messages as are looked at together."""
        count = taken = 0
        for parcel in self._waiting:
            taken += 1
            count += len(parcel.messages)
            if count >= _TOGETHER:
                break
        parcels, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._bytes -= sum(parcel.size for parcel in parcels)
        return [parcel for parcel in parcels if not parcel.sent.done()]

    async def _deliver(
        self, sender: ServiceBusSender, batches: "_Batches", parcels: Sequence[_Parcel]
    ) -> None:
        try:
            loads = await self._pack(batches, parcels)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises
            batches.forget()  # it may be that the namespace takes less than before
            log.warning("bus.send_failed", extra={"topic": self._topic, "detail": str(error)})
            self._fail(parcels, unavailable(error, self._address, self._topic))
            return
        for load in loads:
            await self._send(sender, load)
        for parcel in parcels:
            if not parcel.sent.done():
                parcel.sent.set_result(None)

    async def _pack(self, batches: "_Batches", parcels: Sequence[_Parcel]) -> list[_Load]:
        """Fill batches; parcels with a message that is too large are refused, and left out."""
        loads: list[_Load] = []
        room = most = await batches.most()
        for parcel in parcels:
            if parcel.size > most // 2 and not await _fits(batches, parcel):
                too_large = FieldError("", "a message is larger than the namespace carries")
                self._fail([parcel], InvalidInput([too_large]))
                continue
            if not loads or parcel.size > room:
                loads.append(_Load(await batches.empty()))
            await self._fill(batches, loads, parcel)
            room = most - loads[-1].batch.size_in_bytes
        return loads

    async def _fill(self, batches: "_Batches", loads: list[_Load], parcel: _Parcel) -> None:
        """Put a parcel into the last load, and into new ones where that is full."""
        for message in parcel.messages:
            if not _put(loads[-1].batch, message):
                loads.append(_Load(await batches.empty()))
                loads[-1].batch.add_message(message)
            if parcel not in loads[-1].parcels[-1:]:
                loads[-1].parcels.append(parcel)

    async def _send(self, sender: ServiceBusSender, load: _Load) -> None:
        if all(parcel.sent.done() for parcel in load.parcels):
            return  # they were told already that it failed, or wait no more
        try:
            await sender.send_messages(load.batch, timeout=SEND_S)
        except MessageSizeExceededError as error:
            self._fail(load.parcels, InvalidInput([FieldError("", str(error))]))
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises
            log.warning("bus.send_failed", extra={"topic": self._topic, "detail": str(error)})
            self._fail(load.parcels, unavailable(error, self._address, self._topic))

    def _fail(self, parcels: Sequence[_Parcel], error: Exception) -> None:
        for parcel in parcels:
            if not parcel.sent.done():
                parcel.sent.set_exception(error)


class _Batches:
    """Empty batches for a sender, with room for what the SDK adds around them and does not count.

    How much the namespace takes is read once.
    """

    def __init__(self, sender: ServiceBusSender) -> None:
        self._sender = sender
        self._most: int | None = None

    def forget(self) -> None:
        """Read again how much it takes."""
        self._most = None

    async def most(self) -> int:
        """Bytes that a batch holds."""
        if self._most is None:
            whole = await self._sender.create_message_batch()
            self._most = whole.max_size_in_bytes - _AROUND_BATCH
        return self._most

    async def empty(self) -> ServiceBusMessageBatch:
        """A batch without messages."""
        return await self._sender.create_message_batch(max_size_in_bytes=await self.most())


async def _fits(batches: _Batches, parcel: _Parcel) -> bool:
    """Whether each message of a parcel fits into a batch of its own."""
    for message in parcel.messages:
        if not _put(await batches.empty(), message):
            return False
    return True


def _put(batch: ServiceBusMessageBatch, message: ServiceBusMessage) -> bool:
    try:
        batch.add_message(message)
    except MessageSizeExceededError:
        return False
    return True


def _about(message: Message) -> int:
    """About how many bytes a message takes in a batch; rather too many."""
    properties = sum(
        len(name.encode()) + len(str(value).encode()) + _AROUND_PROPERTY
        for name, value in message.properties.items()
    )
    return len(message.body) + properties + _AROUND_MESSAGE


_AROUND_BATCH = 1_024
_AROUND_PROPERTY = 16
_AROUND_MESSAGE = 512
