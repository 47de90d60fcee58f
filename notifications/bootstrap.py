"""The composition root: the one visible list of adapters. Only the hosts import this.

`open_hub` puts the parts together, for a host that calls them when something comes, such as
Functions. `open_local_hub` also sets them to work: it receives, sweeps and replays by itself.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from notifications import sweep_steps as steps
from notifications.bus.topology import (
    EVENTS_TOPIC,
    METRICS,
    NOTIFY_EMAIL,
    NOTIFY_SIGNALR,
    NOTIFY_WEBHOOK,
    TOPICS,
)
from notifications.catalogue import Catalogue
from notifications.channels.realtime.gateways import Realtime, open_realtime
from notifications.channels.webhooks.channel import check_event_types
from notifications.channels.webhooks.sender import sender_of
from notifications.database import Database
from notifications.dead_letters import DeadLetters, Rejections
from notifications.dispatcher import Policy
from notifications.extensions import Extension, Parts, Running
from notifications.hub import Hub
from notifications.mails import Mails, open_mails
from notifications.messages import Received
from notifications.owner import DataFolder
from notifications.pipeline import Gateways, Pipeline, Store
from notifications.policies import keeping, local_policy
from notifications.ports import (
    Bus,
    Clock,
    Dice,
    Directory,
)
from notifications.rendering import Renderer
from notifications.replaying import Replaying, ReplayRunner
from notifications.retries import SECOND
from notifications.settings import Secrets, Settings
from notifications.shipped import load_catalogue
from notifications.stopping import StopTime
from notifications.storage import Storage, open_storage
from notifications.stores.browsing import SqlBrowsing
from notifications.stores.directory import SqlDirectory, SqlKeys
from notifications.stores.inbox import SqlInbox
from notifications.stores.ledger import SqlLedger
from notifications.stores.queries import SqlQueries
from notifications.stores.replays import SqlReplays, SqlReplayWork
from notifications.stores.standing import SqlStanding
from notifications.stores.switching import SqlSwitches
from notifications.stores.upkeep import OVERDUE_MS, SqlUpkeep
from notifications.sweep import Sweep
from notifications.tally import Tally
from notifications.telemetry.opening import open_telemetry
from notifications.timing import SystemDice
from notifications.vault import Vault
from notifications.worker import Appetite, Guard, Worker

log = logging.getLogger("huntaze")

_LET_GO_S = 0.1
"""How long attempts have to be found over, where no time is left, before they are ended."""

APPETITES: Mapping[str, Appetite] = {
    NOTIFY_SIGNALR: Appetite(window=256, batch=64),
    NOTIFY_EMAIL: Appetite(window=128),
    NOTIFY_WEBHOOK: Appetite(window=128),
    METRICS: Appetite(window=1_000, batch=1_000, linger_ms=100),
}

_DRAINS_OF_OUR_OWN = 10_000
"""Drains in hand at once where the bus is in this process: a lock is an entry of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHub:
    """A hub's parts, while it is open.

    Attributes:
        guards: By subscription: handles its messages, and never loses one.
        over: Whether a message is settled already, by a commit that the bus shares.
        runner: Works replays off.
        beside: What else it runs; its guards are among those above.
        rejections: Where to write down why a message is given back for good, where the bus cannot
            be told.
        stop_time: How long what is in hand may take once it stops.
    """

    hub: Hub
    settings: Settings
    secrets: Secrets
    catalogue: Catalogue
    database: Database
    bus: Bus
    dead_letters: DeadLetters
    rejections: Rejections | None
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
    runner: ReplayRunner
    guards: Mapping[str, Guard]
    over: Callable[[Received], bool]
    renderer: Renderer
    clock: Clock
    dice: Dice
    beside: Running
    stop_time: StopTime


@asynccontextmanager
async def open_local_hub(
    settings: Settings,
    secrets: Secrets,
    folder: DataFolder,
    policy: Policy | None = None,
    extension: Extension | None = None,
) -> AsyncIterator[OpenHub]:
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
    policy = policy or local_policy(settings)
    appetites = {**_appetites(settings), **(extension.appetites(settings) if extension else {})}
    async with (
        open_hub(settings, secrets, folder, policy, extension, appetites) as hub,
        _at_work(hub, appetites),
        _replaying(hub.runner),
    ):
        yield hub


def _appetites(settings: Settings) -> Mapping[str, Appetite]:
    if settings.bus == "servicebus":
        return APPETITES
    return {name: replace(each, drains=_DRAINS_OF_OUR_OWN) for name, each in APPETITES.items()}


@asynccontextmanager
async def open_hub(
    settings: Settings,
    secrets: Secrets,
    folder: DataFolder,
    policy: Policy,
    extension: Extension | None = None,
    appetites: Mapping[str, Appetite] | None = None,
) -> AsyncIterator[OpenHub]:
    """Open a hub that does what it is called for, and nothing by itself, until the block ends.

    Args:
        settings: What is configured.
        secrets: Keys of all kinds.
        folder: Owned by this process.
        policy: How patient its channels are.
        extension: What else it runs.
        appetites: The subscriptions that will be received from; none by default.

    Raises:
        ConfigurationError: A secret that the stored data needs is missing.
    """
    dice = SystemDice()
    catalogue = load_catalogue()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_telemetry(settings, TOPICS))
        storage = await stack.enter_async_context(
            open_storage(settings, folder, dice, appetites or {})
        )
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
        stop_time = StopTime(settings.drain_seconds)
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
            stopping=lambda: stop_time.begun,
        )
        beside = Running()
        if extension is not None:
            parts = _parts(storage, settings, catalogue, directory, dice)
            beside = await stack.enter_async_context(extension.open(parts))
        standing = SqlStanding(database, settings.retry_notifications)
        await standing.begin()
        sweep = Sweep(
            {**steps.moving(storage, upkeep), **beside.steps},
            clock,
            standing,
            first_pause=policy.claim + OVERDUE_MS + SECOND,
            tidying={**steps.tidying(storage, upkeep, settings), **beside.tidying},
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
        stack.push_async_callback(_finish, pipeline, sweep, stop_time)
        yield OpenHub(
            hub=Hub(tally, catalogue, clock),
            settings=settings,
            secrets=secrets,
            catalogue=catalogue,
            database=database,
            bus=bus,
            dead_letters=storage.carrier.dead_letters,
            rejections=storage.carrier.rejections,
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
            runner=runner,
            guards={**pipeline.guards, **beside.guards},
            over=storage.carrier.over,
            renderer=pipeline.renderer,
            clock=clock,
            dice=dice,
            beside=beside,
            stop_time=stop_time,
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


@asynccontextmanager
async def _at_work(hub: OpenHub, appetites: Mapping[str, Appetite]) -> AsyncIterator[None]:
    """Workers and sweep run; at the end workers finish what they have in hand, within the limit."""
    workers = [
        Worker(name, guard, hub.bus, hub.clock, appetites[name], over=hub.over)
        for name, guard in hub.guards.items()
    ]
    for worker in workers:
        worker.start()
    sweeping = asyncio.create_task(hub.sweep.run(), name="sweep")
    try:
        try:
            yield
        finally:  # whoever loses patience with it still has the workers stopped
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)
    except asyncio.CancelledError:
        hub.stop_time.cut()
        raise
    finally:
        await _stop(workers, hub.stop_time)


async def _stop(workers: Sequence[Worker], stop_time: StopTime) -> None:
    try:
        within_s = stop_time.left_s()
        await asyncio.gather(*(worker.stop(within_s) for worker in workers))
    except asyncio.CancelledError:
        stop_time.cut()
        raise


@asynccontextmanager
async def _replaying(runner: ReplayRunner) -> AsyncIterator[None]:
    """Replays are worked off; what is left at the end goes on at the next start."""
    running = asyncio.create_task(runner.run(), name="replays")
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _finish(pipeline: Pipeline, sweep: Sweep, stop_time: StopTime) -> None:
    """Let attempts that go on without their message end, and note when that was."""
    try:
        await asyncio.wait_for(pipeline.close(), max(stop_time.left_s(), _LET_GO_S))
    except TimeoutError:
        log.warning("hub.attempts_left", extra={"afterSeconds": stop_time.within_s})
    finally:
        await sweep.close()
