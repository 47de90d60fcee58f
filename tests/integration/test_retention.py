"""The retention is honoured in every table: what is past it goes, whatever it is."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from ai_workers.tables import job_days, job_events, job_metrics, job_spending, jobs
from notifications.bus import tables as bus_tables
from notifications.bus.topology import NOTIFY_WEBHOOK
from notifications.database import metadata
from notifications.deliveries import Delivery, Failed, State
from notifications.events import Channel
from notifications.messages import Message
from notifications.records import InboxEntry, Record, Result
from notifications.retries import DAY, HOUR, MINUTE
from notifications.stores.leftovers import VISITS, SqlLeftovers
from tests.heart_world import TAKEN, HeartWorld, heart_world, sample_event
from tests.ledger_world import LedgerWorld, ledger_world

ALL = frozenset(Channel)
REFUSED = Failed(reason="http-500", status=500)
RETENTION = 30 * DAY

_OF_JOBS = (jobs, job_events, job_metrics, job_days, job_spending)

KEPT = {
    "bus_entities": "the topology of a door that runs alone, where no hub sweeps",
    "event_counts": "closed figures: a row a day and type",
    "inbox_heads": "a user's last seq, which must never come again",
    "lanes": "of a tenant, or of an endpoint that is there",
    "endpoint_failures": "of an endpoint that is there, while it fails",
    "marks": "how far the sweep has come",
    "bus_runs": "one row",
    "bus_subscriptions": "one row each",
    "users": "removed by hand",
    "endpoints": "removed by hand",
    "api_keys": "removed by hand",
    "tenants": "set up by hand",
    "suppressions": "removed by hand: an address that bounced does so next month",
    "mail_budgets": "one row",
}
"""Tables whose rows are kept, and why."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart with all channels, at work."""
    async with heart_world(tmp_path, channels=ALL) as world:
        yield world


def counts(world: HeartWorld) -> dict[str, int]:
    """How many rows each table has, save where they are kept on purpose."""
    return {
        table: number
        for table in sorted(metadata.tables)
        if table not in KEPT and (number := world.one(f"SELECT count(*) FROM {table}"))
    }


async def live_and_end(world: HeartWorld) -> None:
    """A day of everything: successes, retries, exhausted ones, an inbox, dead letters."""
    world.channels[Channel.REALTIME].targets = ("ada", "bob")
    world.channels[Channel.EMAIL].script("evt-1", REFUSED, REFUSED, TAKEN)
    world.webhooks.script("evt-2", REFUSED, TAKEN)
    world.webhooks.script("evt-3", *[REFUSED] * 20)
    await world.publish(*[sample_event(f"evt-{number}") for number in range(8)])
    strange = Message(id="strange", body=b"{", properties={})
    await world.put(strange)
    await world.live_until(
        lambda: world.states() == {"delivered": 31, "exhausted": 1}, step=10 * MINUTE
    )
    await world.until_quiet()


async def sweep_twice(world: HeartWorld) -> None:
    for _ in range(2):
        await world.sweep.sweep()
        await world.leftovers.tidy(limit=500)


async def test_every_table_is_emptied_of_what_is_past_the_retention(world: HeartWorld) -> None:
    """Thirty days on, no table holds a row of it: attempts, inbox, dead letters, what is on the
    bus; payloads that one table keeps for ever are how databases fill up unseen."""
    await live_and_end(world)
    before = counts(world)
    for table in ("events", "deliveries", "attempts", "inbox", "bus_dead_letters"):
        assert before[table]
    await world.pass_time(RETENTION - 2 * DAY)
    await sweep_twice(world)
    assert counts(world) == before
    await world.pass_time(2 * DAY)
    await sweep_twice(world)
    assert counts(world) == {}


def test_every_table_is_swept_or_kept_for_a_reason() -> None:
    """A new table must be thought of: it is swept, or listed here with why its rows stay."""
    swept = {"events", "deliveries", "attempts", "inbox", "outbox", bus_tables.dead_letters.name}
    swept |= {
        "rejections",
        "replays",
        bus_tables.deferred.name,
        *(table.name for table in _OF_JOBS),
    }
    ends_by_itself = {"bus_messages", "bus_scheduled", "bus_redeliveries", "deleted_lanes"}
    assert set(metadata.tables) == swept | ends_by_itself | set(KEPT)


async def test_unread_items_that_go_are_taken_off_the_count(world: HeartWorld) -> None:
    """The bell shows what is in the inbox, also after the retention took some of it."""
    world.channels[Channel.REALTIME].targets = ("ada",)
    await world.publish(*[sample_event(f"evt-{number}") for number in range(5)])
    await world.live_until(lambda: world.states() == {"delivered": 15})
    await world.pass_time(RETENTION - HOUR)
    await world.publish(sample_event("young"))
    await world.live_until(lambda: world.states() == {"delivered": 18})
    await world.pass_time(2 * HOUR)
    assert await world.leftovers.tidy(limit=3) == 3
    assert world.rows("SELECT unread FROM inbox_heads") == [(3,)]
    assert await world.leftovers.tidy(limit=3) == 2
    assert world.rows("SELECT unread, seq FROM inbox_heads") == [(1, 6)]
    assert world.rows("SELECT event_id FROM inbox") == [("young",)]


async def test_an_item_that_was_touched_stays_for_as_long_again(tmp_path: Path) -> None:
    """What its user marked yesterday does not vanish today because its event is old."""
    async with ledger_world(tmp_path) as world:
        await world.notify("touched")
        await world.notify("left")
        world.clock.at += RETENTION - DAY
        await world.inbox.mark("acme", "ada", "touched", "read")
        world.clock.at += 2 * DAY
        assert await leftovers(world).tidy(limit=100) == 1
        items = await world.inbox.page("acme", "ada", state=None, after=None, limit=9)
        assert [item.entry.item_id for item in items] == ["touched"]
        assert await world.inbox.unread("acme", "ada") == 0


async def test_users_beyond_one_look_have_their_turn(tmp_path: Path) -> None:
    """However many users there are, each inbox is tidied within a few sweeps."""
    async with ledger_world(tmp_path) as world:
        users = VISITS + 50
        await notify_all(world, users)
        world.clock.at += RETENTION + DAY
        tidying = leftovers(world)
        removed = [await tidying.tidy(limit=10_000) for _ in range(3)]
        assert removed[:2] == [VISITS, 50]
        assert removed[2] == 0


async def test_lanes_of_deleted_endpoints_go_and_others_stay(world: HeartWorld) -> None:
    """An endpoint that is gone leaves no lane behind, nor failures; one that is there, or has
    something waiting, keeps its lane."""
    await world.write(
        "INSERT INTO endpoints VALUES ('acme', 'ep_there', 'https://x.example', '[]', '', '',"
        " '[]', '', 'active', NULL, 0, NULL, 0)"
    )
    for lane in ("webhook/acme/ep_there", "webhook/acme/ep_gone", "email/acme", "realtime/acme"):
        await world.write("INSERT INTO lanes VALUES (?, NULL, 0, NULL, NULL)", lane)
    world.webhooks.targets = ("ep_waits",)
    world.webhooks.answer = REFUSED
    await world.publish(sample_event())
    await world.until(lambda: world.states().get("pending") == 1)
    await world.write("INSERT INTO endpoint_failures VALUES ('webhook/acme/ep_gone', 1, 1)")
    assert await world.leftovers.tidy(limit=500) == 1
    assert "webhook/acme/ep_gone" not in str(world.rows("SELECT lane FROM endpoint_failures"))
    lanes = {lane for (lane,) in world.rows("SELECT lane FROM lanes")}
    assert lanes == {
        "webhook/acme/ep_there",
        "webhook/acme/ep_waits",
        "email/acme",
        "realtime/acme",
    }


async def test_what_nobody_asks_for_goes_too(world: HeartWorld) -> None:
    """What a client of the door put aside and never asked for goes with the dead letters."""
    await world.write(
        "INSERT INTO bus_deferred (subscription, seq, topic, enqueued_at, delivery_count,"
        " message_id, properties, body) VALUES (?, 7, 't', ?, 1, 'm', '{}', '')",
        NOTIFY_WEBHOOK,
        world.clock.now(),
    )
    assert await world.leftovers.tidy(limit=5) == 0
    await world.pass_time(RETENTION + 1)
    assert await world.leftovers.tidy(limit=5) == 1


async def test_dead_letters_come_in_pages(world: HeartWorld) -> None:
    """However many dead letters are old, a call removes a bounded number of them."""
    for number in range(12):
        body = orjson.dumps({"no": number})
        properties: dict[str, Any] = {"hubConsumer": "webhook"}
        await world.put(Message(id=f"m{number}", body=body, properties=properties))
    await world.until(lambda: len(world.dead()) == 12)
    await world.pass_time(RETENTION + 1)
    assert [await world.leftovers.tidy(limit=5) for _ in range(4)] == [5, 5, 2, 0]


# --------------------------------------------------------------------------- helpers


def leftovers(world: LedgerWorld) -> SqlLeftovers:
    """Tidies a ledger world."""
    return SqlLeftovers(world.database, world.database, world.clock, keep=RETENTION)


async def notify_all(world: LedgerWorld, users: int) -> None:
    """An item for each of so many users, in one commit."""
    known = await world.accept("for-all")
    results = []
    for number in range(users):
        user = f"user-{number:05d}"
        entry = InboxEntry(
            tenant_id="acme",
            user_id=user,
            item_id="itm_1",
            rank=0,
            event_id="for-all",
            type="message.received",
            title="title",
            body="body",
            url=None,
            progress=None,
            created_at=world.clock.now(),
        )
        delivery = Delivery(
            tenant_id="acme",
            id=number + 1,
            event_key=known.key,
            channel=Channel.REALTIME,
            target=user,
            state=State.DELIVERED,
            deadline=0,
            created_at=world.clock.now(),
        )
        results.append(Result(before=None, after=delivery, entry=entry))
    await world.ledger.record(Record(results=results))
