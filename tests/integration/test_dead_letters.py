"""Dead letters and the ledger: a replay delivers once, a purge leaves nothing missing."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from notifications.bus.dead_letters import EmbeddedDeadLetters
from notifications.bus.topology import CONSUMERS, METRICS, NOTIFY_EMAIL, NOTIFY_WEBHOOK
from notifications.dead_letters import Chosen, Moved
from notifications.deliveries import Failed
from notifications.errors import Conflict
from notifications.events import Channel, Event
from notifications.messages import DeadLetter, Message
from notifications.records import Route
from notifications.retries import DAY, HOUR, MINUTE, SECOND
from notifications.routing import addressed, drain_message, event_message
from notifications.stores.given_up import SqlGivenUp
from notifications.stores.lost import SETTLED_MS
from tests.heart_world import STORES, HeartWorld, document, heart_world, sample_event

ALL = frozenset(Channel)
REFUSED = Failed(reason="http-500", status=500)


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart on all channels, at work."""
    async with heart_world(tmp_path, channels=ALL, store=request.param) as world:
        yield world


@pytest.fixture(params=STORES)
async def still(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart on all channels with nobody at work."""
    async with heart_world(tmp_path, channels=ALL, working=False, store=request.param) as world:
        yield world


def letters(world: HeartWorld) -> EmbeddedDeadLetters:
    """Its dead letters."""
    given_up = SqlGivenUp(world.numbers)
    return EmbeddedDeadLetters(
        world.bus_database,
        world.bus,
        world.dice,
        given_up,
        consumers=CONSUMERS,
        ledger=None if world.database is world.bus_database else world.database,
    )


async def replay(world: HeartWorld, subscription: str, **which: Any) -> Moved:
    """Replay a subscription's."""
    return await letters(world).replay(Chosen(subscription=subscription, **which), limit=500)


async def purge(world: HeartWorld, *subscriptions: str) -> None:
    """Purge everything, of all or of these."""
    for subscription in subscriptions or CONSUMERS.values():
        await letters(world).purge(Chosen(subscription=subscription), limit=500)


async def bury(world: HeartWorld, *events: Event) -> None:
    """Publish events whose messages die at every consumer before anybody has seen them."""
    await world.publish(*events)
    for subscription in CONSUMERS.values():
        for received in await world.bus.receive(subscription, limit=500):
            await world.bus.settle(received, DeadLetter("handler-failed", "surprise"))
    assert len(world.dead()) == 4 * len(events)
    await world.pass_time(SETTLED_MS + 1)  # a younger event may be anywhere on its way


def work(world: HeartWorld) -> None:
    """Everybody goes to work."""
    for worker in world.workers.values():
        worker.start()


# --------------------------------------------------------------------------- replay


async def test_a_replayed_event_is_delivered_by_its_consumer(still: HeartWorld) -> None:
    """An event that died at every consumer is delivered on each channel once, after a replay of
    each; until then, and after, the audit is clean."""
    await bury(still, sample_event())
    work(still)
    assert still.audit().clean
    for count, (consumer, subscription) in enumerate(CONSUMERS.items(), start=1):
        await replay(still, subscription)
        await still.until_quiet()
        assert len(still.dead()) == 4 - count, consumer
        assert still.audit().clean
    await still.until_states(delivered=3)
    assert [len(each.tries) for each in still.channels.values()] == [1, 1, 1]
    assert still.one("SELECT sum(count) FROM event_counts") == 1


@pytest.mark.parametrize("noted", [False, True], ids=["a copy", "the first message"])
async def test_a_replay_doubles_no_delivery(world: HeartWorld, noted: bool) -> None:
    """A dead letter of an event that was delivered all the same changes nothing when replayed,
    though it be the very message on which the hub noted that there are no deliveries yet."""
    await world.publish(sample_event())
    await world.until_states(delivered=3)
    await world.until_quiet()
    await world.workers["webhook"].stop(1)
    copy = addressed(sample_event(), "webhook", message_id="again-1", due_at=None)
    note = {"hubEvent": f"{world.one('SELECT key FROM events')}:webhook"} if noted else {}
    await world.put(replace(copy, properties={**copy.properties, **note}))
    (late,) = await world.bus.receive(NOTIFY_WEBHOOK, limit=1)
    await world.bus.settle(late, DeadLetter("handler-failed", "surprise"))
    # Another process, as it were: this one remembers that it has met the event.
    world.dispatchers[Channel.WEBHOOK]._intake._met.clear()
    before = world.rows("SELECT * FROM deliveries")
    world.workers["webhook"].start()
    await replay(world, NOTIFY_WEBHOOK)
    await world.until_quiet()
    assert world.dead() == []
    assert world.rows("SELECT * FROM deliveries") == before
    assert len(world.webhooks.tries) == 1


async def test_an_event_that_expired_has_all_its_time_again(still: HeartWorld) -> None:
    """What nobody came for within a day is dead, and a replay gives it another day."""
    await still.publish(sample_event())
    await still.until(lambda: still.waiting_for(NOTIFY_WEBHOOK) == 1)
    await still.pass_time(DAY + MINUTE)
    await still.until(lambda: len(still.dead()) == 4)
    assert {reason for _, reason in still.dead()} == {"TTLExpiredException"}
    await replay(still, NOTIFY_WEBHOOK)
    await still.pass_time(HOUR)
    still.workers["webhook"].start()
    await still.until_states(delivered=1)
    assert still.one("SELECT deadline FROM deliveries") >= still.clock.now() + DAY - SECOND


async def test_what_the_catalogue_learnt_meanwhile_is_taken_in(world: HeartWorld) -> None:
    """A stranger's event of a type that was unknown is delivered by a replay once it is known."""
    unknown = orjson.dumps(document(type="no.such"))
    await world.put(Message(id="s", body=unknown, properties={}))
    await world.until(lambda: len(world.dead()) == 4)
    assert {reason for _, reason in world.dead()} == {"unknown-type"}
    world.types.channels = lambda _type: ALL  # type: ignore[method-assign]
    for subscription in CONSUMERS.values():
        await replay(world, subscription)
    await world.until_states(delivered=3)
    await world.until_quiet()
    assert world.dead() == []
    assert world.audit().clean


async def test_a_replayed_drain_wakes_its_lane(world: HeartWorld) -> None:
    """A drain that died is the same drain again: its lane's deliveries are tried."""
    world.webhooks.script("ep_1", REFUSED)
    await world.publish(sample_event())
    await world.until_states(delivered=2, pending=1)
    await world.until_quiet()
    await world.workers["webhook"].stop(1)
    await world.write("DELETE FROM bus_scheduled")
    await world.pass_time(6 * SECOND)
    await world.put(drain_message("webhook/acme/ep_1", message_id="d", due_at=0))
    (drain,) = await world.bus.receive(NOTIFY_WEBHOOK, limit=1)
    await world.bus.settle(drain, DeadLetter("handler-failed", "surprise"))
    world.workers["webhook"].start()
    await replay(world, NOTIFY_WEBHOOK)
    await world.until_states(delivered=3)


async def test_a_replay_has_all_its_tries_again(world: HeartWorld) -> None:
    """An event that met a fault ten times and is replayed may meet it ten times more."""

    def broken(_event: Event) -> Route:
        raise RuntimeError("surprise")

    world.webhooks.targets = broken
    burnt = event_message(sample_event())
    await world.put(
        replace(burnt, properties={"hubConsumer": "webhook", "hubTries": 10, "hubKind": "event"})
    )
    await world.until(lambda: world.dead() == [(NOTIFY_WEBHOOK, "handler-failed")])
    await replay(world, NOTIFY_WEBHOOK)
    await world.until(lambda: world.one("SELECT count(*) FROM bus_scheduled") == 1)
    assert world.dead() == []
    (properties,) = world.rows("SELECT properties FROM bus_scheduled")
    assert orjson.loads(properties[0])["hubTries"] == 1
    world.webhooks.targets = ("ep_1",)
    await world.pass_to_next_drain()
    await world.until(lambda: len(world.webhooks.tries) == 1)


async def test_a_replay_of_many_goes_page_by_page_over_a_crash(tmp_path: Path) -> None:
    """A replay that is cut short, and the process with it, is begun again and loses nothing."""
    count = 1_200
    async with heart_world(tmp_path, working=False) as world:
        await world.publish(*[sample_event(f"evt-{number}") for number in range(count)])
        await world.write("UPDATE events SET counted = 1")
        while world.waiting_for(NOTIFY_WEBHOOK):
            for received in await world.bus.receive(NOTIFY_WEBHOOK, limit=500):
                await world.bus.settle(received, DeadLetter("handler-failed", "surprise"))
        moved = await replay(world, NOTIFY_WEBHOOK)
        assert (moved.count, moved.rest is None) == (500, False)
        clock = world.clock
    async with heart_world(tmp_path, clock=clock) as world:
        chosen: Chosen | None = Chosen(subscription=NOTIFY_WEBHOOK)
        while chosen is not None:
            chosen = (await letters(world).replay(chosen, limit=500)).rest
        await world.until_states(delivered=count)
        await world.until_quiet()
        assert {each.event_id for each in world.webhooks.tries} == {
            f"evt-{number}" for number in range(count)
        }
        assert world.dead() == []
        assert world.audit().clean


# --------------------------------------------------------------------------- purge


async def test_a_purged_event_is_given_up_and_not_missing(still: HeartWorld) -> None:
    """What is purged at every consumer is exhausted on each channel with that reason, counted, not
    missing, and never brought back by the sweep."""
    await bury(still, sample_event())
    await purge(still)
    assert still.dead() == []
    rows = still.rows("SELECT channel, target, state, reason FROM deliveries ORDER BY channel")
    assert rows == [(name, "-", "exhausted", "purged") for name in ("email", "realtime", "webhook")]
    report = still.audit()
    assert report.clean
    assert report.tenants["acme"]["webhook"]["exhausted"] == 1
    assert still.one("SELECT sum(count) FROM event_counts") == 1
    await still.pass_time(SETTLED_MS + 1)
    assert (await still.sweep.sweep())["resent"] == 0


async def test_a_purge_at_one_consumer_says_nothing_of_the_others(still: HeartWorld) -> None:
    """Purged for webhooks, an event still waits in the dead letters of mail."""
    await bury(still, sample_event())
    await purge(still, NOTIFY_WEBHOOK, METRICS)
    assert still.rows("SELECT channel, reason FROM deliveries") == [("webhook", "purged")]
    report = still.audit()
    assert report.clean
    assert report.tenants["acme"]["email"]["deadLettered"] == 1
    still.workers["email"].start()
    await replay(still, NOTIFY_EMAIL)
    await still.until_states(delivered=1, exhausted=1)


async def test_a_purge_leaves_what_was_delivered(world: HeartWorld) -> None:
    """A dead letter of an event that has its deliveries is purged without another word."""
    await world.publish(sample_event())
    await world.until_states(delivered=3)
    await world.until_quiet()
    await world.workers["webhook"].stop(1)
    await world.put(addressed(sample_event(), "webhook", message_id="again-1", due_at=None))
    (late,) = await world.bus.receive(NOTIFY_WEBHOOK, limit=1)
    await world.bus.settle(late, DeadLetter("handler-failed", "surprise"))
    await purge(world)
    assert world.states() == {"delivered": 3}
    assert world.audit().clean


async def test_a_purge_of_two_copies_says_it_once(still: HeartWorld) -> None:
    """Only with the last of an event's dead letters is it given up."""
    await bury(still, sample_event())
    await still.put(addressed(sample_event(), "webhook", message_id="again-1", due_at=None))
    (copy,) = await still.bus.receive(NOTIFY_WEBHOOK, limit=1)
    await still.bus.settle(copy, DeadLetter("other", "another"))
    one = Chosen(subscription=NOTIFY_WEBHOOK, reason="other")
    await letters(still).purge(one, limit=10)
    assert still.states() == {}
    assert still.audit().clean
    await purge(still, NOTIFY_WEBHOOK)
    assert still.states() == {"exhausted": 1}
    assert still.audit().clean


async def test_a_purge_of_what_the_ledger_never_had(world: HeartWorld) -> None:
    """Junk, and events that were never taken in, are purged without a trace."""
    await world.put(
        Message(id="junk", body=b"\xff", properties={}),
        Message(id="s", body=orjson.dumps(document(type="no.such")), properties={}),
    )
    await world.until(lambda: len(world.dead()) == 8)
    await purge(world)
    assert world.dead() == []
    assert world.states() == {}
    assert world.audit().clean


async def test_another_tenants_event_of_that_name_is_not_given_up(still: HeartWorld) -> None:
    """Two tenants' events of the same id are two: purging one says nothing of the other."""
    await bury(still, sample_event(), sample_event(tenant_id="zeta"))
    (mine,) = still.rows(
        "SELECT seq FROM bus_dead_letters WHERE subscription = ? AND event = 'acme:evt-1'",
        NOTIFY_WEBHOOK,
    )
    one = Chosen(subscription=NOTIFY_WEBHOOK, numbers=frozenset(mine))
    await letters(still).purge(one, limit=10)
    assert still.rows("SELECT tenant_id, reason FROM deliveries") == [("acme", "purged")]
    assert still.audit().clean


async def test_what_was_given_up_cannot_be_retried(still: HeartWorld) -> None:
    """A row that says that nobody was chosen has nobody to be tried at; the answer says so."""
    await bury(still, sample_event())
    await purge(still)
    ((number,),) = still.rows("SELECT id FROM deliveries WHERE channel = 'webhook'")
    with pytest.raises(Conflict, match="before anybody was chosen"):
        await still.upkeep.retry("acme", number)
