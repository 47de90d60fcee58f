"""`ports.Bus` and `dead_letters.Peek` on Azure Service Bus, or on the door that speaks like it.

What is received is never `ours`: a policy that may send may write any property, so what begins
with `hub` is only what somebody said. `docs/decisions/0026-who-is-believed-on-service-bus.md`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from azure.servicebus.aio import ServiceBusClient

from notifications.bus.servicebus.connection import USUAL, Pace, open_client, unavailable
from notifications.bus.servicebus.peeking import Peeker
from notifications.bus.servicebus.receiving import Reception
from notifications.bus.servicebus.sending import TopicSender
from notifications.bus.topology import Subscription, Topic
from notifications.errors import NotFound, Unavailable
from notifications.messages import Message, Received, Settlement
from notifications.ports import Clock
from notifications.service_bus_address import ServiceBusAddress


@asynccontextmanager
async def open_service_bus(
    address: ServiceBusAddress,
    topology: Sequence[Topic],
    clock: Clock,
    *,
    sending: ServiceBusAddress | None = None,
    pace: Pace = USUAL,
) -> AsyncIterator["ServiceBus"]:
    """The bus, until the block ends.

    Connects when something is first sent or wanted: a namespace that is away stops no start.

    Args:
        address: The namespace, with what may listen and send.
        topology: What is there; `huntaze topology apply` makes it.
        clock: For locks.
        sending: The same namespace with what may send; None where `address` sends too.
        pace: How long the SDK is left to wait.

    Raises:
        ConfigurationError: The machine's identity cannot be asked for.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(address, pace=pace))
        sender = client
        if sending is not None:
            sender = await stack.enter_async_context(open_client(sending, pace=pace))
        bus = ServiceBus(
            client,
            address,
            topology,
            clock,
            sender=(sender, sending or address),
            pace=pace,
        )
        bus.start()
        stack.push_async_callback(bus.close)
        yield bus


class ServiceBus:
    """Implements `ports.Bus` and `dead_letters.Peek`."""

    def __init__(
        self,
        client: ServiceBusClient,
        address: ServiceBusAddress,
        topology: Sequence[Topic],
        clock: Clock,
        *,
        sender: tuple[ServiceBusClient, ServiceBusAddress],
        pace: Pace = USUAL,
    ) -> None:
        self._client = client
        self._address = address
        self._clock = clock
        self._pace = pace
        self._subscriptions = {
            each.name: each for topic in topology for each in topic.subscriptions
        }
        self._senders = {topic.name: TopicSender(*sender, topic.name, pace) for topic in topology}
        self._receptions: dict[str, Reception] = {}
        self._peekers: dict[tuple[str, bool], Peeker] = {}
        self._open = False

    def start(self) -> None:
        """Begin to send what is published."""
        self._open = True
        for sender in self._senders.values():
            sender.start()

    async def close(self) -> None:
        """Stop; what is in hand comes again when its lock has run out."""
        self._open = False
        await asyncio.gather(
            *(each.close() for each in self._receptions.values()),
            *(each.close() for each in self._senders.values()),
            *(each.close() for each in self._peekers.values()),
        )

    @property
    def subscriptions(self) -> Mapping[str, Subscription]:
        """Every subscription by its name."""
        return self._subscriptions

    def at_rest(self, subscription: str) -> bool:
        """Whether nobody waits for its messages, and none are on their way here."""
        return subscription not in self._receptions or self._receptions[subscription].at_rest

    # ---------------------------------------------------------------- ports.Bus

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See `ports.Bus.publish`; more than a batch holds may be there in part when it fails.

        Raises:
            NotFound: There is no such topic.
            InvalidInput: A message cannot be carried; none was sent.
            Unavailable: The bus is away.
        """
        if topic not in self._senders:
            raise NotFound(f"there is no topic {topic!r}")
        await self._senders[topic].publish(messages)

    async def receive(self, subscription: str, *, limit: int) -> Sequence[Received]:
        """See `ports.Bus.receive`.

        Raises:
            Unavailable: The bus is away.
        """
        return await self._reception(subscription).receive(limit)

    async def settle(self, received: Received, settlement: Settlement) -> None:
        """See `ports.Bus.settle`."""
        await self._reception(received.subscription).settle(received, settlement)

    async def renew(self, received: Received) -> None:
        """See `ports.Bus.renew`; where the bus is away, the lock runs out by itself."""
        await self._reception(received.subscription).renew(received)

    # ---------------------------------------------------------------- dead_letters.Peek

    async def peek(self, subscription: str, *, after: int, limit: int) -> Sequence[Received]:
        """See `dead_letters.Peek.peek`.

        Raises:
            Unavailable: The bus is away.
        """
        return await self.peeker(subscription).waiting(after=after, limit=limit)

    def peeker(self, subscription: str, *, dead: bool = False) -> Peeker:
        """Looks at what waits in a subscription, or at its dead letters.

        Raises:
            NotFound: There is no such subscription.
            Unavailable: The bus is closed.
        """
        key = (subscription, dead)
        if key not in self._peekers:
            found = self._named(subscription)
            self._peekers[key] = Peeker(
                self._client,
                found,
                partial(unavailable, address=self._address, what=_path(found)),
                dead=dead,
                pace=self._pace,
            )
        return self._peekers[key]

    def _reception(self, subscription: str) -> Reception:
        if subscription not in self._receptions:
            found = self._named(subscription)
            receiver = self._client.get_subscription_receiver(
                found.topic, found.name, socket_timeout=self._pace.read_s
            )
            failed = partial(unavailable, address=self._address, what=_path(found))
            reception = Reception(receiver, found.name, failed, self._clock, pace=self._pace)
            reception.start()
            self._receptions[subscription] = reception
        return self._receptions[subscription]

    def _named(self, subscription: str) -> Subscription:
        if not self._open:
            raise Unavailable("the bus is closed")
        if subscription not in self._subscriptions:
            there = ", ".join(self._subscriptions)
            raise NotFound(f"no subscription {subscription!r}; there are {there}")
        return self._subscriptions[subscription]


def _path(subscription: Subscription) -> str:
    return f"{subscription.topic}/Subscriptions/{subscription.name}"
