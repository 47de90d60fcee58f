"""What every host shares: the channels, and the handlers of their messages."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from notifications.bus.topology import CONSUMERS
from notifications.catalogue import Catalogue
from notifications.channels.email.channel import EmailChannel
from notifications.channels.email.mailers import mail_time_limit
from notifications.channels.realtime.channel import RealtimeChannel
from notifications.channels.webhooks.channel import WebhookChannel
from notifications.channels.webhooks.sender import WebhookSender
from notifications.dispatcher import Dispatcher, Policy
from notifications.events import Channel
from notifications.intake import Intake
from notifications.lanes import Lanes
from notifications.mailing import Suppressions
from notifications.messages import Message
from notifications.metrics import MetricsHandler
from notifications.outage import Outage
from notifications.ports import (
    ChannelAdapter,
    Clock,
    Counts,
    Dice,
    Directory,
    Ledger,
    Mailer,
    PushGateway,
)
from notifications.rendering import Renderer
from notifications.settings import Settings
from notifications.shipped import TEMPLATES
from notifications.timing import Numbers
from notifications.worker import Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The ports that a database stands behind."""

    ledger: Ledger
    counts: Counts
    directory: Directory
    suppressions: Suppressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateways:
    """What the channels go out through."""

    push: PushGateway
    mailer: Mailer
    sender: WebhookSender


class Pipeline:
    """The channels and the handlers of their messages, for any host."""

    def __init__(
        self,
        store: Store,
        gateways: Gateways,
        catalogue: Catalogue,
        policy: Policy,
        settings: Settings,
        *,
        publish: Callable[[Sequence[Message]], Awaitable[None]],
        clock: Clock,
        dice: Dice,
        numbers: Numbers,
        stopping: Callable[[], bool],
    ) -> None:
        self.renderer = renderer = Renderer(TEMPLATES, app_url=settings.app_url)
        intake = Intake(store.ledger, catalogue, clock)
        lanes, outage = Lanes(), Outage(clock)
        adapters: Mapping[Channel, ChannelAdapter] = {
            Channel.REALTIME: RealtimeChannel(store.directory, gateways.push, renderer, clock),
            Channel.EMAIL: EmailChannel(
                store.directory,
                renderer,
                gateways.mailer,
                clock,
                store.suppressions,
                time_limit=mail_time_limit(settings),
            ),
            Channel.WEBHOOK: WebhookChannel(store.directory, gateways.sender, clock),
        }
        self.dispatchers = {
            channel: Dispatcher(
                channel,
                adapter,
                ledger=store.ledger,
                intake=intake,
                lanes=lanes,
                policy=policy,
                clock=clock,
                dice=dice,
                numbers=numbers,
                outage=outage,
                stopping=stopping,
            )
            for channel, adapter in adapters.items()
        }
        handlers = {channel.value: one.handle for channel, one in self.dispatchers.items()}
        handlers["metrics"] = MetricsHandler(store.counts, intake).handle
        self.guards = {
            CONSUMERS[consumer]: Guard(consumer, handler, publish, clock, dice, outage)
            for consumer, handler in handlers.items()
        }
        """By subscription: handles its messages and never loses one."""

    async def close(self) -> None:
        """Wait for attempts that go on in the background."""
        await asyncio.gather(*(one.close() for one in self.dispatchers.values()))
