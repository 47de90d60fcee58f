"""What the console reads beside the API's lists, on both databases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from notifications.browsing import Held
from notifications.deliveries import Attempt, Delivered, Delivery, State
from notifications.directory import Role, User
from notifications.events import Channel
from notifications.records import ApiKey, Record, Result
from notifications.stores.browsing import SqlBrowsing
from notifications.stores.directory import SqlDirectory, SqlKeys
from notifications.timing import SystemDice
from notifications.vault import Vault
from tests.heart_world import STORES, HeartWorld, heart_world, sample_event

ALL = frozenset(Channel)


@dataclass(slots=True)
class World:
    """A ledger, and what looks around in it."""

    heart: HeartWorld
    browsing: SqlBrowsing
    directory: SqlDirectory
    keys: SqlKeys

    async def event(self, event_id: str, tenant_id: str = "acme") -> int:
        """An accepted event's key."""
        event = sample_event(event_id, tenantid=tenant_id)
        (accepted,) = await self.heart.ledger.accept([event], [ALL])
        return accepted.key

    async def deliver(self, key: int, state: State, tenant_id: str = "acme") -> None:
        """A delivery in a state; delivered ones with their attempt."""
        now = self.heart.clock.now()
        delivery = Delivery(
            tenant_id=tenant_id, id=self.heart.numbers.next(), event_key=key,
            channel=Channel.WEBHOOK, target=f"ep_{self.heart.numbers.next()}", state=state,
            deadline=now + 60_000, created_at=now, attempt=1,
        )  # fmt: skip
        tried = Attempt(round=1, number=1, at=now, duration_ms=7, outcome=Delivered(status=200))
        attempt = tried if state is State.DELIVERED else None
        result = Result(before=None, after=delivery, attempt=attempt)
        await self.heart.ledger.record(Record(results=[result]))


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """One on each database, with nobody at work."""
    async with heart_world(tmp_path, channels=ALL, working=False, store=request.param) as heart:
        vault = Vault((bytes(range(32)),), SystemDice())
        yield World(
            heart,
            SqlBrowsing(heart.database),
            SqlDirectory(heart.database, vault, heart.clock),
            SqlKeys(heart.database, heart.clock),
        )


async def test_a_tenant_is_there_from_whatever_it_has_first(world: World) -> None:
    """A key, a user or an event makes one, once, however much it has; pages follow each other."""
    for number in range(3):
        await world.event(f"event-{number}", "a-events")
    await world.directory.save_user(User(tenant_id="b-users", id="ada"))
    key = ApiKey(tenant_id="c-keys", id="key_1", name="k", created_at=1)
    await world.keys.add(key, b"0" * 32)
    await world.event("event-1", "b-users")

    seen: list[str] = []
    while page := await world.browsing.tenants(after=seen[-1] if seen else "", limit=2):
        seen += page

    assert seen == ["a-events", "b-users", "c-keys"]


async def test_no_tenant_is_an_empty_list(world: World) -> None:
    """A new hub has none."""
    assert list(await world.browsing.tenants(after="", limit=5)) == []


async def test_users_are_listed_by_id(world: World) -> None:
    """A tenant's own, each once, over pages."""
    for user_id in ("c", "a", "b"):
        await world.directory.save_user(User(tenant_id="acme", id=user_id, role=Role.OWNER))
    await world.directory.save_user(User(tenant_id="other", id="d"))

    first = await world.browsing.users("acme", after="", limit=2)
    rest = await world.browsing.users("acme", after=first[-1].id, limit=2)

    assert [each.id for each in (*first, *rest)] == ["a", "b", "c"]
    assert first[0].role is Role.OWNER


async def test_what_is_held_is_counted_up_to_a_bound(world: World) -> None:
    """By state and tenant; what was delivered is not counted."""
    key = await world.event("event-1")
    for state in (State.PARKED, *[State.EXHAUSTED] * 4, State.DELIVERED):
        await world.deliver(key, state)

    held = await world.browsing.held(["acme", "other"], most=3)

    assert held == {
        "acme": Held(pending=0, parked=1, exhausted=3),
        "other": Held(pending=0, parked=0, exhausted=0),
    }


async def test_tenants_in_need_are_found_among_many_others(world: World) -> None:
    """Those with something given up or parked, wherever they are by name; no others."""
    key = await world.event("event-1")
    for number in range(60):
        await world.event(f"event-{number}", f"customer-{number:02}")
    held = {"busy": State.PENDING, "well": State.DELIVERED, "zeta": State.EXHAUSTED}
    for tenant_id, state in {**held, "acme": State.PARKED}.items():
        await world.deliver(key, state, tenant_id)
    await world.deliver(key, State.PARKED, "acme")

    assert list(await world.browsing.needing(limit=5)) == ["acme", "zeta"]
    assert list(await world.browsing.needing(limit=1)) == ["acme"]


async def test_nobody_in_need_is_an_empty_list(world: World) -> None:
    """As it should be."""
    assert list(await world.browsing.needing(limit=5)) == []


async def test_the_newest_events_come_first_without_their_bodies(world: World) -> None:
    """Everybody's, or a tenant's."""
    await world.event("event-1")
    await world.event("event-2", "other")
    await world.event("event-3")

    everybody = await world.browsing.recent(None, limit=2)
    acme = await world.browsing.recent("acme", limit=5)

    assert [each.id for each in everybody] == ["event-3", "event-2"]
    assert [each.id for each in acme] == ["event-3", "event-1"]


async def test_an_event_has_its_deliveries_in_short(world: World) -> None:
    """Each with its first attempt; an event that has none is there, too."""
    tried, untried = await world.event("event-1"), await world.event("event-2")
    await world.deliver(tried, State.DELIVERED)

    legs = await world.browsing.legs([tried, untried])

    (leg,) = legs[tried]
    assert (leg.channel, leg.state, leg.first_ms, leg.first_ok) == (
        Channel.WEBHOOK, "delivered", 7, True,
    )  # fmt: skip
    assert legs[untried] == []
