"""Endpoints that are switched off because they fail, and how their tenants are told."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from notifications.deliveries import Delivered, Failed
from notifications.directory import Endpoint, EndpointState
from notifications.events import Channel
from notifications.failing import FAILURES, PATIENCE
from notifications.retries import HOUR, MINUTE, SECOND
from tests.heart_world import STORES, sample_event
from tests.parking_world import ENDPOINT, GONE, REFUSED, Parking, parking_world

TAKEN = Delivered(status=200)
FINAL = Failed(reason="http-500", status=500, retryable=False)
"""Refused for good, so that nothing is retried while a test lets days pass."""


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Parking]:
    """An active endpoint."""
    async with parking_world(tmp_path, store=request.param) as world:
        world.sender.answer = FINAL
        yield world


async def endpoint(world: Parking, endpoint_id: str = "ep_1") -> Endpoint:
    """As it is now."""
    world.directory.forget("acme")  # the file tells before whoever waits for the commit does
    found = await world.directory.endpoints("acme")
    return next(each for each in found if each.id == endpoint_id)


async def send(world: Parking, name: str, count: int = 1) -> None:
    """Events, each tried once; returns when all were."""
    before = len(world.sender.posts)
    await world.heart.publish(*[sample_event(f"{name}-{number}") for number in range(count)])
    await world.heart.until(lambda: len(world.sender.posts) == before + count)
    await world.heart.until_quiet()


async def resume(world: Parking) -> None:
    """By hand, as the API does it."""
    changed = await world.directory.change_endpoint(
        "acme",
        "ep_1",
        lambda each: replace(each, state=EndpointState.ACTIVE, state_reason=None),
    )
    assert changed is not None


def told(world: Parking) -> list[dict[str, Any]]:
    """The events that tell of disabled endpoints."""
    rows = world.heart.rows("SELECT body FROM events WHERE type = 'endpoint.disabled' ORDER BY key")
    return [orjson.loads(body) for (body,) in rows]


async def test_twenty_failures_in_five_days_disable(world: Parking) -> None:
    """The twentieth failure, five days after the first, switches the endpoint off."""
    await send(world, "first", FAILURES - 1)
    await world.heart.pass_time(PATIENCE)
    await send(world, "last")
    now = await endpoint(world)
    assert (now.state, now.state_reason) == (EndpointState.DISABLED, "no success in 5 days")
    assert world.heart.one("SELECT count(*) FROM endpoint_failures") == 0


async def test_nineteen_failures_disable_nothing(world: Parking) -> None:
    """However long it fails: with nineteen failures it stays on."""
    await send(world, "first", FAILURES - 2)
    await world.heart.pass_time(10 * PATIENCE)
    await send(world, "last")
    assert (await endpoint(world)).state is EndpointState.ACTIVE
    assert told(world) == []


async def test_a_minute_less_than_five_days_disables_nothing(world: Parking) -> None:
    """However often it fails: 4 days, 23 hours and 59 minutes after the first it stays on."""
    await send(world, "first", 3 * FAILURES)
    await world.heart.pass_time(PATIENCE - MINUTE)
    await send(world, "almost")
    assert (await endpoint(world)).state is EndpointState.ACTIVE
    await world.heart.pass_time(MINUTE)
    await send(world, "last")
    assert (await endpoint(world)).state is EndpointState.DISABLED


async def test_one_success_in_between_starts_the_clock_again(world: Parking) -> None:
    """A single delivery that was taken, of whichever event, forgives all failures before it."""
    await send(world, "first", FAILURES)
    await world.heart.pass_time(PATIENCE - MINUTE)
    world.sender.answer = TAKEN
    await send(world, "taken")
    world.sender.answer = FINAL
    await world.heart.pass_time(HOUR)
    await send(world, "again", FAILURES)
    await world.heart.pass_time(PATIENCE - MINUTE)
    await send(world, "almost")
    assert (await endpoint(world)).state is EndpointState.ACTIVE
    await world.heart.pass_time(MINUTE)
    await send(world, "last")
    assert (await endpoint(world)).state is EndpointState.DISABLED


async def test_a_success_in_the_same_commit_counts_in_its_order(world: Parking) -> None:
    """Failures that came before a success that is written with them are forgiven, too."""
    await send(world, "first", FAILURES)
    await world.heart.pass_time(PATIENCE)
    world.sender.script = [FINAL, FINAL, TAKEN, FINAL]
    await send(world, "mixed", 4)
    assert (await endpoint(world)).state is EndpointState.ACTIVE
    assert world.heart.one("SELECT failures FROM endpoint_failures") <= 3


async def test_a_success_writes_nothing_of_the_clock(world: Parking) -> None:
    """An endpoint that is well has no row."""
    world.sender.answer = TAKEN
    await send(world, "taken", 10)
    assert world.heart.rows("SELECT * FROM endpoint_failures") == []


async def test_another_endpoint_has_its_own_clock(world: Parking) -> None:
    """A tenant's other endpoint, and another tenant's of the same id, are not judged by it."""
    await world.directory.save_endpoint(replace(ENDPOINT, id="ep_2", url="https://two.example/"))
    await world.directory.save_endpoint(replace(ENDPOINT, tenant_id="zeta"))
    world.sender.answers["https://two.example/"] = TAKEN
    for name, passed in (("first", PATIENCE), ("last", 0)):
        events = [sample_event(f"{name}-{number}") for number in range(FAILURES)]
        await world.heart.publish(*events)
        await world.heart.until_quiet()
        await world.heart.pass_time(passed)
    await world.heart.until(lambda: told(world))
    states = {each.id: each.state for each in await world.directory.endpoints("acme")}
    assert states == {"ep_1": EndpointState.DISABLED, "ep_2": EndpointState.ACTIVE}
    (other,) = await world.directory.endpoints("zeta")
    assert other.state is EndpointState.ACTIVE


async def test_a_fault_of_ours_is_not_held_against_it(world: Parking) -> None:
    """Attempts that broke in the hub count as no failure of the endpoint."""
    world.sender.answer = RuntimeError("ours")
    await send(world, "broken", FAILURES)
    assert world.heart.rows("SELECT * FROM endpoint_failures") == []


async def test_the_clock_outlives_the_process(tmp_path: Path) -> None:
    """The failures are in the database: a hub that starts anew goes on counting."""
    async with parking_world(tmp_path) as world:
        world.sender.answer = FINAL
        await send(world, "first", FAILURES - 1)
        clock = world.heart.clock
    clock.ms += PATIENCE
    async with parking_world(tmp_path, clock=clock) as world:
        world.sender.answer = FINAL
        await send(world, "last")
        assert (await endpoint(world)).state is EndpointState.DISABLED


# --------------------------------------------------------------------------- resuming


async def fail_for_good(world: Parking, name: str) -> None:
    """Enough to be disabled."""
    await send(world, f"{name}-first", FAILURES - 1)
    await world.heart.pass_time(PATIENCE)
    await send(world, f"{name}-last")
    assert (await endpoint(world)).state is EndpointState.DISABLED


async def test_resuming_starts_a_fresh_clock(world: Parking) -> None:
    """After a resume it takes twenty failures and five days once more, and is told once more."""
    await fail_for_good(world, "one")
    await resume(world)
    await send(world, "fresh", FAILURES)
    assert (await endpoint(world)).state is EndpointState.ACTIVE
    await world.heart.pass_time(PATIENCE - MINUTE)
    await send(world, "almost")
    assert (await endpoint(world)).state is EndpointState.ACTIVE
    await world.heart.pass_time(MINUTE)
    await send(world, "again")
    assert (await endpoint(world)).state is EndpointState.DISABLED
    assert len({event["id"] for event in told(world)}) == 2


async def test_resuming_after_a_pause_forgives_too(world: Parking) -> None:
    """Whoever pauses and resumes a failing endpoint has looked after it."""
    await send(world, "first", FAILURES)
    await world.directory.change_endpoint(
        "acme", "ep_1", lambda each: replace(each, state=EndpointState.PAUSED)
    )
    await resume(world)
    await world.heart.pass_time(PATIENCE)
    await send(world, "last")
    assert (await endpoint(world)).state is EndpointState.ACTIVE


async def test_an_answer_from_before_the_resume_disables_nothing(world: Parking) -> None:
    """A 410 to a request that went out before the endpoint was resumed comes too late."""
    world.sender.answer = GONE
    gate = world.sender.hold()
    await world.heart.publish(sample_event("late"))
    await world.heart.until(lambda: world.sender.posts)
    await world.directory.change_endpoint(
        "acme", "ep_1", lambda each: replace(each, state=EndpointState.DISABLED)
    )
    await world.heart.pass_time(SECOND)
    await resume(world)
    gate.set()
    await world.heart.until_states(exhausted=1)
    assert (await endpoint(world)).state is EndpointState.ACTIVE
    assert told(world) == []


# --------------------------------------------------------------------------- telling


@pytest.mark.parametrize(("answer", "reason"), [(GONE, "gone"), (FINAL, "failing")])
async def test_the_tenant_is_told_once(world: Parking, answer: Failed, reason: str) -> None:
    """However many attempts find out together, one event tells of it, in the schema's form."""
    if answer is FINAL:
        await send(world, "first", FAILURES)
        await world.heart.pass_time(PATIENCE)
    world.sender.answer = answer
    await send(world, "last", 30)
    (event,) = told(world)
    assert event["data"] == {
        "endpointId": "ep_1",
        "url": ENDPOINT.url,
        "reason": reason,
        "parkDays": 7,
    }
    assert (event["tenantid"], event["subject"]) == ("acme", "ep_1")
    assert event["id"].startswith("ep_1.disabled.")
    assert "userid" not in event  # it goes to the owners


async def test_the_tenants_other_endpoints_are_told(world: Parking) -> None:
    """The event goes to every other endpoint of the tenant, and not to the one it is about."""
    await world.directory.save_endpoint(replace(ENDPOINT, id="ep_2", url="https://two.example/"))
    world.sender.answers["https://two.example/"] = TAKEN
    world.sender.answer = GONE
    await world.heart.publish(sample_event())
    await world.heart.until(lambda: told(world))
    await world.heart.until_quiet()
    assert world.heart.rows(
        "SELECT d.target, d.state FROM deliveries d JOIN events e ON e.key = d.event_key"
        " WHERE e.type = 'endpoint.disabled'"
    ) == [("ep_2", "delivered")]
    assert world.heart.audit().clean


async def test_owners_get_a_toast_and_a_mail(tmp_path: Path) -> None:
    """The event is carried by every channel, so that owners see it wherever they look."""
    async with parking_world(tmp_path, channels=frozenset(Channel)) as world:
        world.sender.answer = GONE
        await world.heart.publish(sample_event())
        await world.heart.until(lambda: told(world))
        event_id = told(world)[0]["id"]
        for channel in (Channel.REALTIME, Channel.EMAIL):
            await world.heart.until(
                lambda channel=channel: (
                    event_id in [each.event_id for each in world.heart.channels[channel].tries]
                )
            )


async def test_a_crash_loses_neither(tmp_path: Path) -> None:
    """The disabling and its event are one commit: after a crash right behind it both are there."""
    async with parking_world(tmp_path) as world:
        world.sender.answer = GONE
        await world.heart.publish(sample_event())
        await world.heart.until(lambda: told(world))
        clock = world.heart.clock
    async with parking_world(tmp_path, clock=clock) as world:
        assert len(told(world)) == 1
        assert (await endpoint(world)).state is EndpointState.DISABLED
        assert world.heart.states()["exhausted"] == 1
        await world.heart.until_states(exhausted=1, skipped=1)  # there is nobody else to tell
        await world.heart.until_quiet()
        assert world.heart.audit().clean


async def test_what_is_not_written_disables_nothing(world: Parking) -> None:
    """An outcome whose delivery moved on meanwhile is left out, and so is what it would do."""
    world.sender.answer = REFUSED
    await world.heart.publish(sample_event())
    await world.heart.until_states(pending=1)
    await world.heart.until_quiet()
    world.sender.answer = GONE
    gate = world.sender.hold()
    await world.heart.pass_to_next_drain()
    await world.heart.until(lambda: len(world.sender.posts) == 2)
    await world.heart.write("UPDATE deliveries SET round = 2, claimed = 0, due_at = ?", 1 << 60)
    gate.set()
    await world.heart.dispatchers[Channel.WEBHOOK].close()  # what is under way was written, or not
    assert told(world) == []
    assert (await endpoint(world)).state is EndpointState.ACTIVE
