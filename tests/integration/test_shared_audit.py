"""The audit of a ledger that several hubs share, each with a bus of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from notifications.deliveries import Failed
from notifications.postgres import driver_url
from notifications.retries import SECOND
from notifications.stores.audit import AuditReport, audit
from notifications.stores.audit_sources import SETTLED_MS, run_shared_audit
from tests.heart_world import (
    POSTGRESQL,
    HeartWorld,
    expectations,
    heart_world,
    sample_event,
)


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart on a shared ledger, with nobody at work."""
    async with heart_world(tmp_path / "a", store=POSTGRESQL, working=False) as world:
        yield world


def webhook(report: AuditReport) -> dict[str, int]:
    """What the audit counts of webhooks, without what is nought."""
    counts = report.tenants.get("acme", {}).get("webhook", {})
    return {what: number for what, number in counts.items() if number}


async def lose(world: HeartWorld) -> None:
    """An event whose messages are gone, and that was routed nowhere."""
    await world.publish(sample_event())
    await world.sent()
    await world.write("DELETE FROM bus_messages")


async def test_a_lost_event_is_missing_once_it_is_settled(still: HeartWorld) -> None:
    """Without delivery and message an event is missing; a young one may be between the two."""
    await lose(still)
    await still.pass_time(SETTLED_MS - SECOND)
    assert still.audit().clean
    await still.pass_time(2 * SECOND)
    report = still.audit()
    assert webhook(report) == {"missing": 1}
    assert report.missing == 1
    assert any("evt-1" in sentence for sentence in report.violations)


async def test_an_event_on_the_bus_is_not_missing(still: HeartWorld) -> None:
    """What nobody has dealt with yet is on the bus of the hub that took it."""
    await still.publish(sample_event())
    await still.sent()
    await still.pass_time(SETTLED_MS + 1)
    assert webhook(still.audit()) == {"bus": 1}
    assert still.audit().clean


async def test_an_event_in_the_outbox_is_not_missing(still: HeartWorld) -> None:
    """While the bus is away its messages are counted where they wait."""
    still.carrier.away = True
    await still.publish(sample_event())
    await still.pass_time(SETTLED_MS + 1)
    report = still.audit()
    assert webhook(report) == {"outbox": 1}
    assert report.clean


async def test_every_hubs_bus_is_looked_at(still: HeartWorld, tmp_path: Path) -> None:
    """An event may wait on any of the buses: where one is left out, it is not found."""
    await still.publish(sample_event())
    await still.sent()
    await still.pass_time(SETTLED_MS + 1)
    async with heart_world(tmp_path / "b", store=still.store, clock=still.clock) as other:
        expected = expectations(still.clock.now())
        both = run_shared_audit(still.store, [other.path, still.path], expected)
        assert webhook(both) == {"bus": 1}
        assert both.clean
        assert run_shared_audit(still.store, [other.path], expected).missing == 1


async def test_one_of_several_deliveries_that_is_not_there_is_missing(still: HeartWorld) -> None:
    """Rows say how many were routed together: one that vanished is found."""
    still.webhooks.targets = ("ep_1", "ep_2", "ep_3")
    for worker in still.workers.values():
        worker.start()
    await still.publish(sample_event())
    await still.until_states(delivered=3)
    await still.until_quiet()
    await still.write("DELETE FROM deliveries WHERE target = 'ep_2'")
    await still.pass_time(SETTLED_MS + 1)
    report = still.audit()
    assert webhook(report) == {"delivered": 2, "missing": 1}
    assert "2 of 3 webhook deliveries" in report.violations[0]


async def test_an_event_that_metrics_never_sees_is_wrong(still: HeartWorld) -> None:
    """An event that is not counted, with no message on its way to metrics, is named."""
    for worker in still.workers.values():
        worker.start()
    await still.publish(sample_event())
    await still.until_states(delivered=1)
    await still.until_quiet()
    await still.write("UPDATE events SET counted = 0")
    await still.pass_time(SETTLED_MS + 1)
    (sentence,) = still.audit().violations
    assert "not counted by metrics" in sentence


async def test_what_moves_between_the_looks_is_not_missing(still: HeartWorld) -> None:
    """An event that left the bus and came into the ledger meanwhile is found at the second look."""
    await lose(still)
    await still.pass_time(SETTLED_MS + 1)
    engine = sa.create_engine(driver_url(still.store), poolclass=sa.NullPool)

    class JustLeft:
        """A bus that the event has just left: it is in the ledger by now."""

        def where(self, _name: str, _consumer: str) -> None:
            with engine.begin() as connection:
                connection.execute(sa.text("UPDATE events SET counted = 1, channels = 0"))

    snapshots = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshots.connect() as ledger:
        report = audit(
            ledger,
            JustLeft(),
            expectations(still.clock.now()),
            settled_ms=SETTLED_MS,
            again=snapshots.connect,
        )
    assert report.clean


async def test_a_retry_that_waits_is_in_order(still: HeartWorld) -> None:
    """What is pending with its drain scheduled on some hub's bus is what it says."""
    for worker in still.workers.values():
        worker.start()
    still.webhooks.script("ep_1", Failed(reason="http-500", status=500))
    await still.publish(sample_event())
    await still.until_waiting(1)
    await still.until_quiet()
    report = still.audit()
    assert report.clean
    assert webhook(report) == {"pending": 1}
