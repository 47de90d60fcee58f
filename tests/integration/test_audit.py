"""The audit: says nothing while all is well, and finds each thing that can be wrong."""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from notifications.bus.topology import NOTIFY_WEBHOOK
from notifications.deliveries import Delivered, Failed, Parked
from notifications.events import Channel, Event
from notifications.messages import Message
from notifications.records import Route
from notifications.retries import DAY, HOUR, MINUTE, SECOND, RetryTable
from notifications.routing import drain_message, event_message
from notifications.stores.audit import COLUMNS, AuditReport, figures
from notifications.stores.audit_sources import run_audit
from notifications.stores.standing import SqlStanding, note_resumed
from notifications.testing import ManualClock
from tests.heart_world import (
    STORES,
    HeartWorld,
    document,
    expectations,
    heart_world,
    sample_event,
)

ALL = frozenset(Channel)
REFUSED = Failed(reason="http-500", status=500)
NONE = dict.fromkeys(COLUMNS, 0)


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart that carries everything by webhook."""
    async with heart_world(tmp_path, store=request.param) as world:
        yield world


@pytest.fixture
async def one_file(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """The same, its ledger in one file with the bus: one snapshot shows both."""
    async with heart_world(tmp_path) as world:
        yield world


async def delivered(world: HeartWorld, *targets: str) -> None:
    """One event, delivered to everybody."""
    world.webhooks.targets = targets or ("ep_1",)
    await world.publish(sample_event())
    await world.until_states(delivered=len(targets) or 1)
    await world.until_quiet()
    assert world.audit().clean


async def failed(world: HeartWorld) -> None:
    """One event that waits for its retry."""
    world.webhooks.answer = REFUSED
    await world.publish(sample_event())
    await world.until_states(pending=1)
    await world.until_quiet()
    assert world.audit().clean


def webhook(report: AuditReport, tenant_id: str = "acme") -> dict[str, int]:
    """What the audit counts for a tenant's webhooks, without what is nought."""
    return {what: number for what, number in report.tenants[tenant_id]["webhook"].items() if number}


def only(report: AuditReport, *words: str) -> None:
    """The audit finds one thing wrong, and its sentence has these words."""
    assert not report.clean
    (sentence,) = report.violations
    for word in words:
        assert word in sentence


# --------------------------------------------------------------------------- all is well


async def test_it_is_clean_at_any_moment_under_load(tmp_path: Path) -> None:
    """Audits that run all the while find nothing wrong: each snapshot is whole."""
    table = RetryTable(delays=(SECOND,) * 10, lifetime=DAY)
    async with heart_world(tmp_path, channels=ALL, table=table) as world:
        world.webhooks.targets = _by_number
        for channel in world.channels.values():
            channel.pace = 0.001
        for number in range(0, 600, 4):
            world.webhooks.script(f"evt-{number}", REFUSED)
            world.channels[Channel.EMAIL].script(f"evt-{number}", REFUSED, REFUSED)
        world.webhooks.hold("ep_hung")
        loop, audits = asyncio.get_running_loop(), []

        async def publish() -> None:
            for start in range(0, 600, 20):
                await world.publish(
                    *[sample_event(f"evt-{number}") for number in range(start, start + 20)]
                )
                await asyncio.sleep(0)

        publishing = asyncio.create_task(publish())
        give_up = time.monotonic() + 20
        while not publishing.done() or world.states().get("pending", 0) > 20:
            audits.append(await loop.run_in_executor(None, world.audit))
            await world.pass_time(200)
            assert time.monotonic() < give_up, world.picture()
        await publishing
        assert len(audits) > 10
        for report in audits:
            assert report.violations == []
            assert report.missing == 0
        assert len({str(figures(report)) for report in audits}) > 5


def _by_number(event: Event) -> Route:
    number = int(event.id.removeprefix("evt-"))
    return Route(targets=("ep_1", "ep_hung") if number % 30 == 0 else ("ep_1", "ep_2"))


async def test_it_counts_deliveries_by_tenant_channel_and_state(tmp_path: Path) -> None:
    """The figures say how many deliveries each tenant has in each state, per channel."""
    async with heart_world(tmp_path, channels=ALL) as world:
        world.webhooks.targets = ("ep_1", "ep_2")
        world.channels[Channel.EMAIL].targets = ()
        world.webhooks.script("ep_2", REFUSED)
        await world.publish(sample_event())
        await world.until(lambda: sum(world.states().values()) == 4)
        world.webhooks.script("ep_1", Parked(reason="endpoint-paused"))
        await world.publish(sample_event(tenant_id="zeta"))
        await world.until(lambda: sum(world.states().values()) == 8)
        await world.until_quiet()
        report = world.audit()
        assert report.clean
        assert webhook(report) == {"delivered": 1, "pending": 1}
        assert webhook(report, "zeta") == {"parked": 1, "delivered": 1}
        assert report.tenants["acme"]["email"] == {**NONE, "skipped": 1}
        assert report.tenants["acme"]["realtime"] == {**NONE, "delivered": 1}


async def test_the_figures_have_the_published_shape(world: HeartWorld) -> None:
    """The JSON is the contract's: tenants, channels and counts, missing, violations, as of when."""
    await delivered(world)
    counts = {**NONE, "delivered": 1}
    assert orjson.loads(orjson.dumps(figures(world.audit()))) == {
        "tenants": [{"tenantId": "acme", "channels": {"webhook": counts}}],
        "missing": 0,
        "violations": [],
        "asOf": "2026-03-01T12:00:00.000+00:00",
    }
    assert set(counts) == {
        "delivered",
        "skipped",
        "pending",
        "parked",
        "exhausted",
        "outbox",
        "bus",
        "deadLettered",
        "missing",
    }


async def test_an_event_on_the_bus_is_not_missing(tmp_path: Path) -> None:
    """What waits for its consumer is counted as on the bus."""
    async with heart_world(tmp_path, working=False) as world:
        await world.publish(sample_event())
        report = world.audit()
        assert report.clean
        assert webhook(report) == {"bus": 1}


async def test_an_event_in_hand_is_not_missing(one_file: HeartWorld) -> None:
    """While its first attempt is under way and nothing is written, an event is on the bus."""
    world = one_file
    world.faulty.away("record")
    await world.publish(sample_event())
    await world.until_tried(1)
    report = world.audit()
    assert report.clean
    assert webhook(report) == {"bus": 1}


async def test_an_event_that_comes_again_later_is_not_missing(one_file: HeartWorld) -> None:
    """What met a fault of ours and is sent again, waiting or visible, is on the bus."""
    world = one_file

    def broken(_event: Event) -> Route:
        raise RuntimeError("surprise")

    world.webhooks.targets = broken
    await world.publish(sample_event())
    await world.until(lambda: world.one("SELECT count(*) FROM bus_scheduled") == 1)
    await world.until_quiet()
    assert webhook(world.audit()) == {"bus": 1}
    await world.workers["webhook"].stop(1)
    await world.pass_to_next_drain()
    await world.until(lambda: world.one("SELECT count(*) FROM bus_scheduled") == 0)
    report = world.audit()
    assert report.clean
    assert webhook(report) == {"bus": 1}


async def test_an_event_in_the_dead_letters_is_not_missing(world: HeartWorld) -> None:
    """A dead-lettered event is counted as such: a person can replay it."""

    def broken(_event: Event) -> Route:
        raise RuntimeError("surprise")

    world.webhooks.targets = broken
    await world.publish(sample_event())
    for _ in range(10):
        await world.pass_to_next_drain()
    await world.until(lambda: world.dead() != [])
    await world.until_quiet()
    report = world.audit()
    assert report.clean
    assert webhook(report) == {"deadLettered": 1}


async def test_a_strangers_message_id_says_nothing(tmp_path: Path) -> None:
    """A stranger's event that one consumer has taken in is on the bus for the others."""
    async with heart_world(tmp_path, channels=ALL, working=False) as world:
        body = orjson.dumps(document())
        await world.put(Message(id="zeta:other", body=body, properties={}))
        world.workers["email"].start()
        await world.until_states(delivered=1)
        report = world.audit()
        assert report.clean
        assert webhook(report) == {"bus": 1}


async def test_messages_that_are_no_events_disturb_nothing(tmp_path: Path) -> None:
    """Drains, bytes that are no JSON and JSON that is no event are passed over."""
    async with heart_world(tmp_path, working=False) as world:
        await world.put(
            drain_message("webhook/acme/ep_1", message_id="d1", due_at=0),
            drain_message("webhook/acme/ep_1", message_id="d2", due_at=world.clock.now() + HOUR),
            *[
                Message(id=f"junk-{number}", body=body, properties={})
                for number, body in enumerate((b"", b"\xff\xfe", b"[1]", b"7", b'{"id":{}}'))
            ],
        )
        for worker in world.workers.values():
            worker.start()
        await world.until_quiet()
        await world.until(lambda: len(world.dead()) == 20)
        assert world.audit().clean


async def test_what_ended_for_a_reason_is_in_order(world: HeartWorld) -> None:
    """Attempts used, deadline passed, a final refusal, parked too long: each is a true end."""
    await failed(world)
    now = world.clock.now()
    for reason, attempt, deadline, updated in (
        ("attempts-used", 11, now + DAY, now),
        ("deadline", 3, now - 1, now),
        ("parked-too-long", 0, now + DAY, now),
        ("bounced", 1, now + DAY, now),
        ("http-500", 1, now + DAY, now),
    ):
        await world.write(
            "UPDATE deliveries SET state = 'exhausted', reason = ?, attempt = ?, deadline = ?,"
            " updated_at = ?",
            reason,
            attempt,
            deadline,
            updated,
        )
        assert world.audit().violations == [], reason


async def test_a_shorter_table_of_the_past_is_in_order(world: HeartWorld) -> None:
    """What used the attempts of an earlier, shorter table is not accused a day later."""
    await failed(world)
    await world.write(
        "UPDATE deliveries SET state = 'exhausted', reason = 'attempts-used', attempt = 4"
    )
    assert not world.audit().clean
    await world.pass_time(DAY)
    assert world.audit().clean


# --------------------------------------------------------------------------- what is wrong


async def test_an_event_that_is_nowhere_is_missing(tmp_path: Path) -> None:
    """An event without delivery, message or dead letter is missing, for that channel."""
    async with heart_world(tmp_path, working=False) as world:
        await world.publish(sample_event())
        await world.write("UPDATE events SET counted = 1")
        await world.write("DELETE FROM bus_messages")
        report = world.audit()
        only(report, "evt-1", "acme", "no webhook delivery")
        assert report.missing == 1
        assert webhook(report) == {"missing": 1}


async def test_an_event_that_a_client_of_the_door_put_aside_is_not_missing(
    tmp_path: Path,
) -> None:
    """A deferred message waits for its own consumer: it is on the bus."""
    columns = "topic, enqueued_at, message_id, properties, subject, content_type, body"
    async with heart_world(tmp_path, working=False) as world:
        await world.publish(sample_event())
        await world.write("UPDATE events SET counted = 1")
        await world.write(
            f"INSERT INTO bus_deferred (subscription, seq, delivery_count, event, {columns})"
            f" SELECT ?, seq, 1, message_id, {columns} FROM bus_messages",
            NOTIFY_WEBHOOK,
        )
        await world.write("DELETE FROM bus_messages")
        assert webhook(world.audit()) == {"bus": 1}


async def test_a_message_for_another_consumer_does_not_hide_what_is_missing(
    tmp_path: Path,
) -> None:
    """An event on the bus for e-mail alone is missing for webhooks."""
    async with heart_world(tmp_path, channels=ALL, working=False) as world:
        await world.publish(sample_event())
        world.workers["webhook"].start()
        await world.until_states(delivered=1)
        await world.write("DELETE FROM deliveries")
        report = world.audit()
        assert report.missing == 1
        assert webhook(report) == {"missing": 1}
        assert report.tenants["acme"]["email"]["bus"] == 1


async def test_another_tenants_event_does_not_hide_what_is_missing(tmp_path: Path) -> None:
    """The same id of another tenant on the bus does not stand in for a lost one."""
    async with heart_world(tmp_path, working=False) as world:
        await world.publish(sample_event(), sample_event(tenant_id="zeta"))
        await world.write("UPDATE events SET counted = 1")
        await world.write("DELETE FROM bus_messages WHERE message_id = 'acme:evt-1'")
        report = world.audit()
        assert webhook(report) == {"missing": 1}
        assert webhook(report, "zeta") == {"bus": 1}


async def test_one_of_several_deliveries_that_is_not_there_is_missing(one_file: HeartWorld) -> None:
    """Rows say how many were routed together: one that vanished is found."""
    world = one_file
    await delivered(world, "ep_1", "ep_2", "ep_3")
    await world.write("DELETE FROM deliveries WHERE target = 'ep_2'")
    report = world.audit()
    only(report, "evt-1", "2 of 3 webhook deliveries")
    assert report.missing == 1
    assert webhook(report) == {"delivered": 2, "missing": 1}


async def test_delivered_without_a_success_is_wrong(world: HeartWorld) -> None:
    """A delivery that says it was delivered, with no attempt that succeeded, is named."""
    await failed(world)
    await world.write("UPDATE deliveries SET state = 'delivered', due_at = NULL")
    only(world.audit(), "delivered, but no attempt succeeded", "dlv_")


async def test_a_success_in_a_later_attempt_counts(world: HeartWorld) -> None:
    """Delivered by a retry is delivered: the success is beside the row, not in it."""
    world.webhooks.script("ep_1", REFUSED)
    await world.publish(sample_event())
    await world.pass_to_next_drain()
    await world.until_states(delivered=1)
    await world.until_quiet()
    assert world.audit().clean
    await world.write("DELETE FROM attempts")
    only(world.audit(), "delivered, but no attempt succeeded")


@pytest.mark.parametrize(
    ("reason", "attempt"),
    [("attempts-used", 10), ("deadline", 2), (None, 11), ("gone", 1), ("http-404", 1)],
)
async def test_exhausted_too_early_is_wrong(
    world: HeartWorld, reason: str | None, attempt: int
) -> None:
    """A delivery given up with attempts and time left, or for a refusal nobody gave, is named."""
    await failed(world)
    await world.write(
        "UPDATE deliveries SET state = 'exhausted', due_at = NULL, reason = ?, attempt = ?",
        reason,
        attempt,
    )
    only(world.audit(), "exhausted, but has attempts and time left")


async def test_parked_without_a_paused_endpoint_is_wrong(world: HeartWorld) -> None:
    """A parked delivery whose endpoint takes deliveries is named, once a resume had its time."""
    await failed(world)
    await world.write("UPDATE deliveries SET state = 'parked', due_at = NULL")
    assert world.audit().clean
    await world.pass_time(11 * MINUTE)
    only(world.audit(), "parked, but no paused or disabled endpoint")
    await world.write(
        "INSERT INTO endpoints VALUES ('acme', 'ep_1', 'https://x', '[]', '', '', '[]', '',"
        " 'paused', NULL, 0,"
        " NULL, 0)"
    )
    assert world.audit().clean


async def test_pending_past_its_time_without_a_drain_is_wrong(world: HeartWorld) -> None:
    """A delivery due more than ten minutes ago with no drain on its way is stuck, and named."""
    await failed(world)
    await world.workers["webhook"].stop(1)
    await world.write("DELETE FROM bus_scheduled")
    await world.write("UPDATE lanes SET drain_at = NULL")
    await world.pass_time(9 * MINUTE)
    assert world.audit().clean
    await world.pass_time(2 * MINUTE)
    only(world.audit(), "pending, but due more than ten minutes ago")
    await world.write("UPDATE lanes SET drain_at = ?", world.clock.now() + MINUTE)
    assert world.audit().clean
    await world.write("UPDATE lanes SET drain_at = ?", world.clock.now() + 8 * HOUR)
    only(world.audit(), "pending, but due more than ten minutes ago")


async def test_a_claim_that_ran_out_long_ago_is_wrong(world: HeartWorld) -> None:
    """A live claim is in order; one that ended ten minutes ago with nobody coming is not."""
    await failed(world)
    await world.workers["webhook"].stop(1)
    await world.write("DELETE FROM bus_scheduled")
    await world.write("UPDATE lanes SET drain_at = NULL")
    await world.write("UPDATE deliveries SET claimed = 1, due_at = ?", world.clock.now() + MINUTE)
    await world.pass_time(10 * MINUTE)
    assert world.audit().clean
    await world.pass_time(2 * MINUTE)
    only(world.audit(), "pending")


async def test_an_event_that_metrics_never_sees_is_wrong(one_file: HeartWorld) -> None:
    """An event that is not counted, with no message on its way to metrics, is named."""
    world = one_file
    await delivered(world)
    await world.write("UPDATE events SET counted = 0")
    report = world.audit()
    only(report, "evt-1", "not counted by metrics")
    assert report.missing == 0


async def test_every_wrong_is_counted_and_the_first_thousand_are_spelled_out(
    world: HeartWorld,
) -> None:
    """However much is wrong the report stays readable, and says how much it left out."""
    await delivered(world)
    await world.write(
        "INSERT INTO deliveries (tenant_id, id, event_key, channel, target, lane, state, routed,"
        " round, attempt, claimed, deadline, created_at, updated_at)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)"
        " SELECT 'acme', i, i, 'webhook', 'ep_1', 'l', 'delivered', 1, 1, 1, 0, 0, 0, 0 FROM n"
    )
    report = world.audit()
    assert (len(report.violations), report.unsaid) == (1_000, 500)
    assert not report.clean


# --------------------------------------------------------------------------- by whose time


async def test_a_stopped_hub_is_judged_by_when_it_stopped(tmp_path: Path) -> None:
    """Retries that wait while their hub is stopped are not overdue, however long that lasts."""
    async with heart_world(tmp_path) as world:
        await failed(world)
        await world.sweep.sweep()
        await world.pass_time(2 * SECOND)
        await world.sweep.close()
        stopped = world.clock.now()
    report = run_audit(tmp_path / "hub.db", expectations(stopped + 3 * DAY))
    assert report.violations == []
    assert report.as_of == stopped


@pytest.mark.fault("its clock jumps or the machine sleeps", "ourselves")
async def test_a_sleeping_machine_makes_nothing_overdue(tmp_path: Path) -> None:
    """While the ledger's clock catches up with the wall, what waits by it is on time."""
    async with heart_world(tmp_path) as world:
        await failed(world)
        await world.sweep.sweep()
        slept = world.clock.now() + 8 * HOUR
    assert run_audit(tmp_path / "hub.db", expectations(slept)).clean


async def test_what_a_hub_at_work_leaves_lying_is_overdue(world: HeartWorld) -> None:
    """A hub that sweeps and yet does not move what is due is judged by the time it swept at."""
    await failed(world)
    await world.sweep.sweep()
    await world.write("DELETE FROM bus_scheduled")
    await world.write("UPDATE lanes SET drain_at = NULL")
    await world.write("UPDATE deliveries SET due_at = ?", world.clock.now())
    await world.pass_time(11 * MINUTE)
    assert world.audit().clean
    await world.sweep.close()
    only(world.audit(), "pending", "due more than ten minutes ago")


async def test_a_start_that_has_not_swept_yet_says_no_time(tmp_path: Path) -> None:
    """Between a start after a long stop and its first sweep nothing is called overdue."""
    async with heart_world(tmp_path) as world:
        await failed(world)
        await world.sweep.sweep()
        later = ManualClock(world.clock.now() + DAY - HOUR)
    async with heart_world(tmp_path, working=False, clock=later) as world:
        assert world.audit().clean
        await world.sweep.close()
        assert world.audit().clean
        await world.sweep.sweep()
        assert world.audit().clean


async def test_what_is_parked_is_not_wrong_before_the_sweep_that_a_resumption_asks_for(
    world: HeartWorld,
) -> None:
    """Between an endpoint's resumption and the sweep that moves what it held, nothing is wrong;
    what is still parked after that sweep is."""
    world.webhooks.answer = Parked(reason="endpoint-paused")
    await world.publish(sample_event())
    await world.until_states(parked=1)
    await world.until_quiet()
    await world.pass_time(11 * MINUTE)
    await SqlStanding(world.database, world.policy.table).keep(world.clock.now())
    await world.database.write(note_resumed)
    assert world.audit().clean
    await world.pass_time(SECOND)
    await SqlStanding(world.database, world.policy.table).keep(world.clock.now())
    only(world.audit(), "parked", "no paused or disabled endpoint holds it")


async def test_the_data_says_how_many_attempts_there_were_to_be(tmp_path: Path) -> None:
    """A hub with a shorter table than the default exhausts early, and the audit knows it."""
    table = RetryTable(delays=(SECOND,), lifetime=DAY)
    async with heart_world(tmp_path, table=table) as world:
        world.webhooks.answer = REFUSED
        await world.publish(sample_event())
        await world.live_until(lambda: world.states() == {"exhausted": 1})
        ended = world.clock.now()
    assert run_audit(tmp_path / "hub.db", expectations(ended)).clean


async def test_what_ended_by_a_former_table_is_held_against_that(tmp_path: Path) -> None:
    """After the table was made longer, what ended by the shorter one stays in order; what ends
    now with as few attempts does not."""
    table = RetryTable(delays=(SECOND,), lifetime=DAY)
    async with heart_world(tmp_path, table=table) as world:
        world.webhooks.answer = REFUSED
        await world.publish(sample_event())
        await world.live_until(lambda: world.states() == {"exhausted": 1})
        await world.sweep.sweep()
        later = ManualClock(world.clock.now() + HOUR)
    async with heart_world(tmp_path, clock=later) as world:
        await world.sweep.sweep()
        assert world.audit().clean
        await world.write("UPDATE deliveries SET updated_at = ?", world.clock.now())
        only(world.audit(), "exhausted", "attempts and time left")


# --------------------------------------------------------------------------- reading


def digest(path: Path) -> str:
    """What is in a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_stopped_hubs_data_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    """Auditing a stopped hub's file changes nothing in it."""
    async with heart_world(tmp_path) as world:
        await delivered(world)
        now = world.clock.now()
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = digest(path)
    report = run_audit(path, expectations(now))
    assert report.clean
    assert webhook(report) == {"delivered": 1}
    assert digest(path) == before


def test_no_database_is_told(tmp_path: Path) -> None:
    """Where there is no file the audit says so, and makes none."""
    with pytest.raises(FileNotFoundError, match=r"hub\.db"):
        run_audit(tmp_path / "hub.db", expectations(0))
    assert list(tmp_path.iterdir()) == []


async def test_the_audit_does_not_block_the_hub(one_file: HeartWorld) -> None:
    """While an audit holds its snapshot, the hub goes on writing."""
    world = one_file
    await delivered(world)
    with closing(sqlite3.connect(f"file:{world.path}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM events").fetchone()
        await world.publish(sample_event("evt-2"))
        await world.until_states(delivered=2)
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)
    assert world.audit().clean


async def test_an_empty_ledger_is_clean(world: HeartWorld) -> None:
    """A hub that has done nothing has nothing wrong."""
    report: Any = world.audit()
    assert report.clean
    assert figures(report) == {
        "tenants": [],
        "missing": 0,
        "violations": [],
        "asOf": "2026-03-01T12:00:00.000+00:00",
    }
    assert event_message(sample_event()).id == "acme:evt-1"
    assert isinstance(world.webhooks.answer, Delivered)
