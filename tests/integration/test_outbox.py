"""The outbox of a ledger that the bus shares no commit with."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifications.postgres import PostgresDatabase
from notifications.retries import SECOND
from notifications.stores.outbox import LEASE_MS, SqlOutbox
from tests.heart_world import POSTGRESQL, HeartWorld, heart_world, sample_event


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart on a shared ledger, with nobody at work."""
    async with heart_world(tmp_path, store=POSTGRESQL, working=False) as world:
        yield world


def relay_of(world: HeartWorld) -> SqlOutbox:
    """Another process's outbox on the same database: it only relays."""
    return SqlOutbox(world.database, world.numbers, world.carrier)


def left(world: HeartWorld) -> int:
    """How many messages are in the outbox."""
    return int(world.one("SELECT count(*) FROM outbox"))


async def test_what_is_committed_is_sent_at_once(still: HeartWorld) -> None:
    """Whoever commits messages sends them, and the outbox is empty again."""
    await still.publish(*[sample_event(f"evt-{number}") for number in range(50)])
    await still.sent()
    assert still.one("SELECT count(*) FROM bus_messages") == 50


async def test_messages_of_one_commit_are_sent_together(still: HeartWorld) -> None:
    """A hundred events are not a hundred calls of the bus."""
    await still.publish(*[sample_event(f"evt-{number}") for number in range(100)])
    await still.sent()
    assert still.carrier.lots == [100]


async def test_what_was_left_behind_is_relayed_after_its_lease(still: HeartWorld) -> None:
    """A process that died with messages in hand delays them by its lease, and loses none."""
    still.carrier.away = True
    await still.publish(sample_event())
    await still.until(lambda: left(still) == 1)
    still.carrier.away = False
    assert await relay_of(still).relay(limit=10) == 0  # somebody is still sending it
    await still.pass_time(LEASE_MS + 1)
    assert await relay_of(still).relay(limit=10) == 1
    assert left(still) == 0
    assert still.rows("SELECT message_id FROM bus_messages") == [("acme:evt-1",)]


async def test_a_relayed_message_is_the_one_that_was_put(still: HeartWorld) -> None:
    """Body, properties, subject and due time survive the wait."""
    still.carrier.away = True
    await still.publish(sample_event())
    await still.until(lambda: left(still) == 1)
    still.carrier.away = False
    await still.pass_time(LEASE_MS + 1)
    await relay_of(still).relay(limit=10)
    await still.publish(sample_event("evt-2"))
    await still.sent()
    relayed, sent = still.rows("SELECT properties, subject, content_type FROM bus_messages")
    assert relayed[1:] == sent[1:]
    assert set(relayed[0]) - set(b"0123456789") == set(sent[0]) - set(b"0123456789")


async def test_relays_that_race_send_each_message_once(still: HeartWorld) -> None:
    """Any number of instances may relay: each leases what it takes, none waits for another."""
    still.carrier.away = True
    await still.publish(*[sample_event(f"evt-{number}") for number in range(200)])
    await still.until(lambda: left(still) == 200)
    still.carrier.away = False
    await still.pass_time(LEASE_MS + 1)
    others = [PostgresDatabase(still.store, still.clock) for _ in range(6)]
    for other in others:
        await other.start()
    relays = [SqlOutbox(other, still.numbers, still.carrier) for other in others]
    counts = await asyncio.gather(*(relay.relay(limit=70) for relay in relays))
    for other in others:
        await other.close()
    assert sum(counts) == 200
    assert left(still) == 0
    assert still.one("SELECT count(*) FROM bus_messages") == 200


async def test_while_the_bus_is_away_everything_waits(still: HeartWorld) -> None:
    """An outage of the bus costs publishers nothing; the sweep sends all of it afterwards."""
    still.carrier.away = True
    for number in range(5):
        await still.publish(sample_event(f"evt-{number}"))
    await still.pass_time(LEASE_MS + 1)
    await still.sweep.sweep()
    assert left(still) == 5
    assert still.sweep.last_at is None  # whoever watches the sweep's age learns of it
    still.carrier.away = False
    await still.pass_time(LEASE_MS + 1)
    assert (await still.sweep.sweep())["relayed"] == 5
    assert left(still) == 0


async def test_what_the_bus_refuses_for_good_holds_up_nothing(
    still: HeartWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that the bus will never take is set aside with the reason; its lot is sent."""
    still.carrier.refuses = {"acme:evt-3"}
    with caplog.at_level(logging.ERROR, "huntaze"):
        await still.publish(*[sample_event(f"evt-{number}") for number in range(6)])
        await still.until(lambda: left(still) == 1)
        await still.until(lambda: still.one("SELECT rejected FROM outbox") is not None)
    assert still.one("SELECT count(*) FROM bus_messages") == 5
    assert "refused for good" in still.one("SELECT rejected FROM outbox")
    assert [record.getMessage() for record in caplog.records] == ["outbox.rejected"]
    await still.pass_time(LEASE_MS + SECOND)
    assert await relay_of(still).relay(limit=10) == 0


async def test_a_drain_waits_in_the_outbox_too(still: HeartWorld) -> None:
    """A scheduled message keeps the time it is due at, however late it is sent."""
    still.carrier.away = True
    due_at = still.clock.now() + 3_600 * SECOND
    await still.database.write(lambda tx: still.ledger.wake(tx, {"webhook/acme/ep_1": due_at}))
    await still.until(lambda: left(still) == 1)
    still.carrier.away = False
    await still.pass_time(LEASE_MS + 1)
    await relay_of(still).relay(limit=10)
    assert still.rows("SELECT due_at FROM bus_scheduled") == [(due_at,)]
