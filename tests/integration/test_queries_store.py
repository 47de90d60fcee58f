"""What the API reads, in SQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifications.deliveries import State
from notifications.endpoints import EndpointHealth
from notifications.events import Channel
from notifications.records import DeliveryView, EventView
from tests.ledger_world import REFUSED, TAKEN, LedgerWorld, ledger_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    """A new ledger."""
    async with ledger_world(tmp_path) as world:
        yield world


def event_ids(views: object) -> list[str]:
    """The ids of events."""
    return [view.event.id for view in views]  # type: ignore[attr-defined]


def targets(views: object) -> list[str]:
    """Deliveries by their targets."""
    return [view.delivery.target for view in views]  # type: ignore[attr-defined]


# --------------------------------------------------------------------------- events


async def test_events_are_listed_newest_first_and_go_on_below_a_cursor(world: LedgerWorld) -> None:
    """Pages of two lead through all of a tenant's events, each once."""
    for number in range(5):
        await world.accept(f"event-{number}")
    await world.accept("event-of-another", "other")

    seen: list[str] = []
    below = None
    while page := await world.queries.events("acme", below=below, limit=2):
        seen += event_ids(page)
        below = page[-1].key

    assert seen == [f"event-{number}" for number in reversed(range(5))]


async def test_no_tenant_is_everybody(world: LedgerWorld) -> None:
    """Without a tenant the list holds everybody's events."""
    await world.accept("event-1")
    await world.accept("event-1", "other")

    assert event_ids(await world.queries.events(None, limit=10)) == ["event-1", "event-1"]


async def test_events_are_narrowed_down_by_type_and_user(world: LedgerWorld) -> None:
    """Each filter leaves only what fits it."""
    await world.accept("event-1")
    await world.accept("event-2", userid="bob")
    test_data = {"endpointId": "ep_1", "message": "test"}
    await world.accept("event-3", type="webhook.test", data=test_data)

    by_type = await world.queries.events("acme", event_type="webhook.test", limit=10)
    by_user = await world.queries.events("acme", user_id="bob", limit=10)
    by_both = await world.queries.events("acme", event_type="webhook.test", user_id="bob", limit=10)

    assert event_ids(by_type) == ["event-3"]
    assert event_ids(by_user) == ["event-2"]
    assert event_ids(by_both) == []


async def test_an_event_is_routed_once_every_channel_has_all_its_rows(world: LedgerWorld) -> None:
    """The state is `routed` only when each carrying channel has as many rows as were routed."""
    known = await world.accept("event-1")
    assert known.channels == {Channel.REALTIME, Channel.WEBHOOK}

    async def routed() -> tuple[bool, bool]:
        one = await world.queries.event("acme", "event-1")
        (listed,) = await world.queries.events("acme", limit=1)
        assert one is not None
        return one.routed, listed.routed

    assert await routed() == (False, False)
    await world.deliver(known, [TAKEN], channel=Channel.REALTIME, target="ada")
    assert await routed() == (False, False)
    await world.deliver(known, [TAKEN], target="ep_1", routed=2)
    assert await routed() == (False, False)
    await world.deliver(known, [TAKEN], target="ep_2", routed=2)
    assert await routed() == (True, True)


async def test_one_event_has_its_deliveries_with_all_their_attempts(world: LedgerWorld) -> None:
    """First attempts (in the delivery's row) and later ones (in their own) come as one list."""
    known = await world.accept("event-1")
    await world.deliver(known, [REFUSED, REFUSED, TAKEN], target="ep_1", state=State.DELIVERED)
    await world.deliver(known, [TAKEN], target="ep_2", state=State.DELIVERED)
    await world.deliver(known, [], target="ep_3")

    view = await world.queries.event("acme", "event-1")

    assert isinstance(view, EventView)
    assert view.event == known.event
    assert targets(view.deliveries) == ["ep_1", "ep_2", "ep_3"]
    first, second, third = (delivery.attempts for delivery in view.deliveries)
    assert [(a.number, a.outcome, a.status) for a in first] == [
        (1, "http-500", 500),
        (2, "http-500", 500),
        (3, "delivered", 200),
    ]
    assert [a.at - first[0].at for a in first] == [0, 1_000, 2_000]
    assert [a.outcome for a in second] == ["delivered"]
    assert third == []


@pytest.mark.parametrize(("tenant_id", "event_id"), [("acme", "event-9"), ("other", "event-1")])
async def test_what_is_absent_or_anothers_is_nothing(
    world: LedgerWorld, tenant_id: str, event_id: str
) -> None:
    """An absent event and another tenant's look alike."""
    await world.accept("event-1")

    assert await world.queries.event(tenant_id, event_id) is None


# --------------------------------------------------------------------------- deliveries


async def a_few_deliveries(world: LedgerWorld) -> None:
    """Three to endpoints, one to a user, one of another tenant."""
    one, two = await world.accept("event-1"), await world.accept("event-2")
    await world.deliver(one, [TAKEN], target="ep_1", state=State.DELIVERED)
    await world.deliver(one, [REFUSED], target="ep_2", state=State.EXHAUSTED)
    await world.deliver(two, [REFUSED], target="ep_2", state=State.PENDING)
    await world.deliver(two, [TAKEN], channel=Channel.REALTIME, target="ep_2", state=State.SKIPPED)
    other = await world.accept("event-1", "other")
    await world.deliver(other, [TAKEN], target="ep_2", state=State.EXHAUSTED)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (
            {},
            [
                ("event-2", "skipped"),
                ("event-2", "pending"),
                ("event-1", "exhausted"),
                ("event-1", "delivered"),
            ],
        ),
        ({"endpoint_id": "ep_2"}, [("event-2", "pending"), ("event-1", "exhausted")]),
        ({"state": "exhausted"}, [("event-1", "exhausted")]),
        ({"state": "delivered"}, [("event-1", "delivered")]),
        ({"event_id": "event-1"}, [("event-1", "exhausted"), ("event-1", "delivered")]),
        ({"event_id": "event-9"}, []),
        ({"channel": "realtime"}, [("event-2", "skipped")]),
        ({"endpoint_id": "ep_2", "state": "pending"}, [("event-2", "pending")]),
        ({"event_id": "event-1", "state": "delivered"}, [("event-1", "delivered")]),
        ({"event_id": "event-1", "endpoint_id": "ep_2"}, [("event-1", "exhausted")]),
        ({"endpoint_id": "ep_2", "channel": "realtime"}, []),
    ],
)
async def test_deliveries_are_narrowed_down_by_each_filter(
    world: LedgerWorld, filters: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    """Each filter, and filters together, leave what fits of this tenant's, newest first."""
    await a_few_deliveries(world)

    views = await world.queries.deliveries("acme", limit=10, **filters)  # type: ignore[arg-type]

    assert [(view.event_id, view.delivery.state.value) for view in views] == expected


async def test_deliveries_go_on_below_a_cursor(world: LedgerWorld) -> None:
    """Pages of one lead through all of a tenant's deliveries, each once."""
    await a_few_deliveries(world)
    everything = await world.queries.deliveries("acme", limit=10)

    seen: list[DeliveryView] = []
    below = None
    while page := await world.queries.deliveries("acme", below=below, limit=1):
        seen += page
        below = page[-1].delivery.id

    assert seen == everything


async def test_one_delivery_is_its_tenants_alone(world: LedgerWorld) -> None:
    """A delivery is found by its tenant and by nobody else."""
    known = await world.accept("event-1")
    delivery = await world.deliver(known, [REFUSED, TAKEN], state=State.DELIVERED)

    view = await world.queries.delivery("acme", delivery.id)

    assert view is not None
    assert view.event_id == "event-1"
    assert [attempt.outcome for attempt in view.attempts] == ["http-500", "delivered"]
    assert await world.queries.delivery("other", delivery.id) is None


# --------------------------------------------------------------------------- health


async def test_an_endpoints_health_is_that_of_its_last_twenty_deliveries(
    world: LedgerWorld,
) -> None:
    """Older failures are forgotten; one that got through in the end is no failure."""
    start = world.clock.now()
    for number in range(5):
        old = await world.accept(f"old-{number}")
        await world.deliver(old, [REFUSED], state=State.EXHAUSTED)
    world.clock.at += 60_000
    for number in range(18):
        fine = await world.accept(f"fine-{number}")
        await world.deliver(fine, [TAKEN], state=State.DELIVERED)
    mended = await world.accept("mended")
    await world.deliver(mended, [REFUSED, TAKEN], state=State.DELIVERED)
    world.clock.at += 60_000
    broken = await world.accept("broken")
    await world.deliver(broken, [REFUSED, REFUSED], state=State.PENDING)

    health = await world.queries.health("acme", ["ep_1", "ep_9"])

    assert health == {
        "ep_1": EndpointHealth(
            last_attempt_at=start + 121_000, last_success_at=start + 61_000, recent_failures=1
        ),
        "ep_9": EndpointHealth(),
    }
