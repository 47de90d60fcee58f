"""The composition root: the one visible list of adapters. Only the hosts import this.

`open_local_hub` is the hub of one machine: bus, ledger, channels, workers and API on one SQLite
file. `Pipeline` is what every host shares: the channels and the handlers of their messages.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from notifications.bus.topology import (
    CONSUMERS,
    EVENTS_TOPIC,
    METRICS,
    NOTIFY_EMAIL,
    NOTIFY_SIGNALR,
    NOTIFY_WEBHOOK,
)
from notifications.catalogue import Catalogue
from notifications.channels.email.channel import EmailChannel
from notifications.channels.email.mailers import mail_time_limit
from notifications.channels.realtime.channel import RealtimeChannel
from notifications.channels.realtime.gateways import Realtime, open_realtime
from notifications.channels.webhooks.channel import WebhookChannel, check_event_types
from notifications.channels.webhooks.sender import WebhookSender, sender_of
from notifications.database import Database
from notifications.dead_letters import DeadLetters
from notifications.dispatcher import Dispatcher, Policy
from notifications.events import Channel
from notifications.extensions import Extension, Parts, Running
from notifications.hub import Hub
from notifications.intake import Intake
from notifications.lanes import Lanes
from notifications.mailing import Suppressions
from notifications.mails import Mails, open_mails
from notifications.messages import Message
from notifications.metrics import MetricsHandler
from notifications.outage import Outage
from notifications.owner import DataFolder
from notifications.policies import keeping, local_policy
from notifications.ports import (
    Bus,
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
from notifications.replaying import Replaying, ReplayRunner
from notifications.retries import SECOND
from notifications.settings import Secrets, Settings
from notifications.shipped import TEMPLATES, load_catalogue
from notifications.storage import Storage, open_storage
from notifications.stores.browsing import SqlBrowsing
from notifications.stores.directory import SqlDirectory, SqlKeys
from notifications.stores.inbox import SqlInbox
from notifications.stores.ledger import SqlLedger
from notifications.stores.leftovers import SqlLeftovers
from notifications.stores.lost import SqlLostEvents
from notifications.stores.queries import SqlQueries
from notifications.stores.replays import SqlReplays, SqlReplayWork
from notifications.stores.standing import SqlStanding
from notifications.stores.switching import SqlSwitches
from notifications.stores.upkeep import OVERDUE_MS, SqlUpkeep
from notifications.sweep import Step, Sweep, upkeep_steps
from notifications.tally import Tally
from notifications.timing import Numbers, SystemDice
from notifications.vault import Vault
from notifications.worker import Appetite, Guard, Worker

log = logging.getLogger("huntaze")

APPETITES: Mapping[str, Appetite] = {
    NOTIFY_SIGNALR: Appetite(window=256, batch=64),
    NOTIFY_EMAIL: Appetite(window=128),
    NOTIFY_WEBHOOK: Appetite(window=128),
    METRICS: Appetite(window=1_000, batch=1_000, linger_ms=100),
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalHub:
    """The hub of one machine, at work."""

    hub: Hub
    settings: Settings
    secrets: Secrets
    catalogue: Catalogue
    database: Database
    bus: Bus
    dead_letters: DeadLetters
    ledger: SqlLedger
    tally: Tally
    upkeep: SqlUpkeep
    directory: SqlDirectory
    keys: SqlKeys
    inbox: SqlInbox
    queries: SqlQueries
    browsing: SqlBrowsing
    sweep: Sweep
    replaying: Replaying
    realtime: Realtime
    mails: Mails
    pipeline: Pipeline
    renderer: Renderer
    clock: Clock
    dice: Dice
    beside: Running


@asynccontextmanager
async def open_local_hub(
    settings: Settings,
    secrets: Secrets,
    folder: DataFolder,
    policy: Policy | None = None,
    extension: Extension | None = None,
) -> AsyncIterator[LocalHub]:
    """Open the data folder, which this process owns, and go to work until the block ends.

    Args:
        settings: What is configured.
        secrets: Keys of all kinds.
        folder: Owned by this process.
        policy: How patient its channels are; `local_policy` by default.
        extension: What else it runs.

    Raises:
        ConfigurationError: A secret that the stored data needs is missing.
    """
    dice = SystemDice()
    policy = policy or local_policy(settings)
    catalogue = load_catalogue()
    appetites = {**APPETITES, **(extension.appetites(settings) if extension else {})}
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings, folder, dice, appetites))
        database, bus, ledger = storage.database, storage.carrier.bus, storage.ledger
        clock, numbers = storage.clock, storage.numbers
        vault = Vault(secrets.encryption_keys, dice)
        directory = SqlDirectory(database, vault, clock)
        switches = SqlSwitches(
            catalogue.channels, park_days=settings.park_days, changed=directory.forget
        )
        ledger.heed(switches)
        tally = Tally(ledger)
        await directory.check_keys()
        upkeep = SqlUpkeep(database, ledger, settings.retry_notifications, keeping(settings))
        realtime = await stack.enter_async_context(
            open_realtime(settings, secrets.user_token_secrets, clock, dice)
        )
        sender = await stack.enter_async_context(sender_of(settings, clock))
        mails = await stack.enter_async_context(
            open_mails(settings, secrets, folder.mail, database, clock, dice)
        )
        pipeline = Pipeline(
            Store(
                ledger=tally,
                counts=ledger,
                directory=directory,
                suppressions=mails.suppressions,
            ),
            Gateways(push=realtime.push, mailer=mails.mailer, sender=sender),
            catalogue,
            policy,
            settings,
            publish=lambda messages: bus.publish(EVENTS_TOPIC, messages),
            clock=clock,
            dice=dice,
            numbers=numbers,
        )
        beside = Running()
        if extension is not None:
            parts = _parts(storage, settings, catalogue, directory, dice)
            beside = await stack.enter_async_context(extension.open(parts))
        standing = SqlStanding(database, settings.retry_notifications)
        await standing.begin()
        sweep = Sweep(
            {**_sweep_steps(storage, upkeep, settings), **beside.steps},
            clock,
            standing,
            first_pause=policy.claim + OVERDUE_MS + SECOND,
        )
        replays = SqlReplayWork(
            database,
            ledger,
            directory,
            settings.retry_notifications,
            clock=clock,
            numbers=numbers,
        )
        runner = ReplayRunner(replays, clock)
        guards = {**pipeline.guards, **beside.guards}
        over = storage.carrier.over
        workers = [
            Worker(name, guards[name], bus, clock, appetites[name], over=over) for name in guards
        ]
        await stack.enter_async_context(_at_work(pipeline, workers, sweep, settings))
        await stack.enter_async_context(_replaying(runner))
        yield LocalHub(
            hub=Hub(tally, catalogue, clock),
            settings=settings,
            secrets=secrets,
            catalogue=catalogue,
            database=database,
            bus=bus,
            dead_letters=storage.carrier.dead_letters,
            ledger=ledger,
            tally=tally,
            upkeep=upkeep,
            directory=directory,
            keys=SqlKeys(database, clock),
            inbox=SqlInbox(database),
            queries=SqlQueries(database),
            browsing=SqlBrowsing(database),
            sweep=sweep,
            replaying=Replaying(
                directory,
                SqlReplays(database),
                replays,
                runner,
                check_types=partial(
                    check_event_types, known=[each.name for each in catalogue.types()]
                ),
                clock=clock,
                numbers=numbers,
            ),
            realtime=realtime,
            mails=mails,
            pipeline=pipeline,
            renderer=pipeline.renderer,
            clock=clock,
            dice=dice,
            beside=beside,
        )


def _parts(
    storage: Storage,
    settings: Settings,
    catalogue: Catalogue,
    directory: Directory,
    dice: Dice,
) -> Parts:
    return Parts(
        settings=settings,
        catalogue=catalogue,
        database=storage.database,
        shared=storage.outbox is not None,
        ledger=storage.ledger,
        outbox=storage.within,
        bus=storage.carrier.bus,
        dead_letters=storage.carrier.dead_letters,
        directory=directory,
        clock=storage.clock,
        dice=dice,
        numbers=storage.numbers,
    )


def _sweep_steps(storage: Storage, upkeep: SqlUpkeep, settings: Settings) -> dict[str, Step]:
    database, clock = storage.database, storage.clock
    carrier = storage.carrier
    lost = SqlLostEvents(database, carrier.look, storage.ledger, clock, consumers=CONSUMERS)
    leftovers = SqlLeftovers(database, carrier.file, clock, keep=keeping(settings).events)
    relayed = {} if storage.outbox is None else {"relayed": storage.outbox.relay}
    return {
        **relayed,
        **upkeep_steps(upkeep),
        "resent": lost.resend,
        "tidied": leftovers.tidy,
        **carrier.steps,
    }


@asynccontextmanager
async def _at_work(
    pipeline: Pipeline, workers: Sequence[Worker], sweep: Sweep, settings: Settings
) -> AsyncIterator[None]:
    """Workers and sweep run; at the end they finish what they have in hand, within the limit."""
    for worker in workers:
        worker.start()
    sweeping = asyncio.create_task(sweep.run(), name="sweep")
    try:
        yield
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        within = settings.drain_seconds
        await asyncio.gather(*(worker.stop(within) for worker in workers))
        try:
            await asyncio.wait_for(pipeline.close(), within)
        except TimeoutError:
            log.warning("hub.attempts_left", extra={"afterSeconds": within})
        await sweep.close()


@asynccontextmanager
async def _replaying(runner: ReplayRunner) -> AsyncIterator[None]:
    """Replays are worked off; what is left at the end goes on at the next start."""
    running = asyncio.create_task(runner.run(), name="replays")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
