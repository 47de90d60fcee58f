"""Endpoints that are paused, disabled, gone or deleted: nothing is dropped on the way."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifications.deliveries import Delivered, Delivery, Failed
from notifications.directory import EndpointState
from notifications.errors import Conflict
from notifications.retries import DAY, SECOND
from notifications.stores import orphans
from tests.heart_world import STORES, sample_event
from tests.parking_world import GONE, REFUSED, Parking, parking_world


@pytest.fixture(params=STORES)
async def parking(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Parking]:
    """An active endpoint."""
    async with parking_world(tmp_path, store=request.param) as parking:
        yield parking


async def parked(parking: Parking, state: EndpointState) -> None:
    """A delivery that met an endpoint in that state."""
    await parking.set(state)
    await parking.heart.publish(sample_event())
    await parking.heart.until_states(parked=1)
    await parking.heart.until_quiet()


@pytest.mark.parametrize("state", [EndpointState.PAUSED, EndpointState.DISABLED])
async def test_what_meets_an_endpoint_that_takes_none_is_parked(
    parking: Parking, state: EndpointState
) -> None:
    """An event for a paused or disabled endpoint is parked: no request, no attempt spent."""
    await parked(parking, state)
    assert parking.delivery() == ("parked", f"endpoint-{state}", 1, 0)
    assert parking.sender.posts == []
    assert parking.heart.audit().clean


async def test_pausing_changes_the_endpoint_alone(parking: Parking) -> None:
    """A retry that waits is not touched by the pause; it parks when its time comes."""
    parking.sender.answer = REFUSED
    await parking.heart.publish(sample_event())
    await parking.heart.until_states(pending=1)
    await parking.heart.until_quiet()
    await parking.set(EndpointState.PAUSED)
    assert parking.delivery() == ("pending", None, 1, 1)
    await parking.heart.pass_to_next_drain()
    await parking.heart.until_states(parked=1)
    assert parking.delivery() == ("parked", "endpoint-paused", 1, 1)
    assert len(parking.sender.posts) == 1


async def test_resuming_begins_a_new_round_at_once(parking: Parking) -> None:
    """After resuming, the next sweep makes what was parked due: a new round, delivered."""
    await parked(parking, EndpointState.PAUSED)
    assert not any((await parking.heart.sweep.sweep()).values())
    await parking.set(EndpointState.ACTIVE)
    assert (await parking.heart.sweep.sweep())["unparked"] == 1
    await parking.heart.until_states(delivered=1)
    assert parking.delivery() == ("delivered", None, 2, 1)
    assert parking.heart.rows("SELECT round, number, outcome FROM attempts") == [
        (2, 1, "delivered")
    ]
    assert parking.heart.audit().clean


async def test_a_new_round_has_all_its_attempts_and_a_new_deadline(parking: Parking) -> None:
    """What was parked for days has the whole table again when it leaves."""
    await parked(parking, EndpointState.PAUSED)
    await parking.heart.pass_time(3 * DAY)
    await parking.set(EndpointState.ACTIVE)
    parking.sender.answer = REFUSED
    await parking.heart.sweep.sweep()
    await parking.heart.until(lambda: parking.delivery()[3] == 1)
    assert parking.delivery() == ("pending", None, 2, 1)
    deadline = parking.heart.one("SELECT deadline FROM deliveries")
    assert deadline == parking.heart.clock.now() + DAY


async def test_a_thousand_parked_deliveries_leave_together(parking: Parking) -> None:
    """Resuming an endpoint with a backlog delivers all of it, a bound at a time."""
    await parking.set(EndpointState.PAUSED)
    await parking.heart.publish(*[sample_event(f"evt-{number}") for number in range(1_000)])
    await parking.heart.until_states(parked=1_000)
    await parking.set(EndpointState.ACTIVE)
    assert (await parking.heart.sweep.sweep())["unparked"] == 1_000
    await parking.heart.until_states(delivered=1_000)
    assert len(parking.sender.posts) == 1_000
    assert parking.heart.audit().clean


async def test_what_is_parked_too_long_is_given_up(parking: Parking) -> None:
    """After seven days in the park a delivery is exhausted, with that reason; not before."""
    await parked(parking, EndpointState.PAUSED)
    await parking.heart.pass_time(7 * DAY - SECOND)
    assert (await parking.heart.sweep.sweep())["ended"] == 0
    await parking.heart.pass_time(2 * SECOND)
    assert (await parking.heart.sweep.sweep())["ended"] == 1
    assert parking.delivery() == ("exhausted", "parked-too-long", 1, 0)
    assert parking.heart.audit().clean


@pytest.mark.fault("answers 410", "receivers")
async def test_410_ends_the_delivery_and_disables_the_endpoint(parking: Parking) -> None:
    """`410 Gone` exhausts this delivery; the endpoint is disabled, and later events park."""
    parking.sender.answer = GONE
    await parking.heart.publish(sample_event())
    # What is skipped is the news that it was disabled: there is no other endpoint to tell.
    await parking.heart.until_states(exhausted=1, skipped=1)
    gone = "SELECT state, reason, round, attempt FROM deliveries WHERE target = 'ep_1'"
    assert parking.heart.rows(gone) == [("exhausted", "gone", 1, 1)]
    parking.directory.forget("acme")  # the file tells before whoever waits for the commit does
    (endpoint,) = await parking.directory.endpoints("acme")
    assert endpoint.state is EndpointState.DISABLED
    await parking.heart.publish(sample_event("evt-2"))
    await parking.heart.until_states(exhausted=1, parked=1, skipped=1)
    assert len(parking.sender.posts) == 1
    assert parking.heart.audit().clean


async def test_deleting_an_endpoint_ends_what_is_open(parking: Parking) -> None:
    """Pending and parked deliveries of a deleted endpoint are skipped; nothing more is sent."""
    parking.sender.answer = REFUSED
    await parking.heart.publish(sample_event())
    await parking.heart.until_states(pending=1)
    await parking.heart.until_quiet()
    await parking.set(EndpointState.PAUSED)
    await parking.heart.publish(sample_event("evt-2"))
    await parking.heart.until_states(pending=1, parked=1)
    assert await parking.directory.delete_endpoint("acme", "ep_1")
    assert parking.heart.rows("SELECT DISTINCT state, reason FROM deliveries") == [
        ("skipped", "endpoint-deleted")
    ]
    await parking.heart.pass_to_next_drain()
    await parking.heart.until_quiet()
    assert len(parking.sender.posts) == 1
    assert parking.heart.audit().clean


async def test_deleting_an_endpoint_holds_nobody_up(parking: Parking) -> None:
    """A commit ends a page of what is open; the sweep ends the rest, and nothing of it is sent."""
    await parking.set(EndpointState.PAUSED)
    count = orphans.PAGE + 300
    await parking.heart.publish(*[sample_event(f"evt-{number}") for number in range(count)])
    await parking.heart.until(lambda: parking.heart.states() == {"parked": count}, 60)
    assert await parking.directory.delete_endpoint("acme", "ep_1")
    assert parking.heart.states() == {"parked": 300, "skipped": orphans.PAGE}
    assert (await parking.heart.upkeep.end(limit=200)) == 200
    assert (await parking.heart.sweep.sweep())["unparked"] == 100
    await parking.heart.until_states(skipped=count)
    assert (await parking.heart.sweep.sweep())["ended"] == 0
    assert parking.heart.one("SELECT count(*) FROM deleted_lanes") == 0
    assert parking.sender.posts == []
    assert parking.heart.audit().clean


async def test_what_parked_while_its_endpoint_was_deleted_ends_too(parking: Parking) -> None:
    """A delivery that is parked though its endpoint is gone is tried again, and skipped."""
    await parked(parking, EndpointState.PAUSED)
    await parking.heart.write("DELETE FROM endpoints")
    parking.heart.clock.ms += 6 * SECOND  # what the directory remembers of it runs out
    await parking.heart.sweep.sweep()
    await parking.heart.until_states(skipped=1)
    assert parking.delivery()[1] == "endpoint-deleted"


async def test_an_endpoint_that_does_not_ask_for_the_type_leaves_no_row(parking: Parking) -> None:
    """An endpoint whose types do not match is no target; the event says that nobody was."""
    await parking.set(EndpointState.ACTIVE, event_types=("job.*",))
    await parking.heart.publish(sample_event())
    await parking.heart.until_quiet()
    assert parking.heart.rows("SELECT target, state, reason FROM deliveries") == [
        ("-", "skipped", "no-endpoint")
    ]


# --------------------------------------------------------------------------- by hand


def number(parking: Parking) -> int:
    """The delivery's number."""
    return int(parking.heart.one("SELECT id FROM deliveries"))


async def test_a_retry_by_hand_begins_a_new_round(parking: Parking) -> None:
    """An exhausted delivery that is retried by hand is tried at once: round 2, attempt 1."""
    parking.sender.answer = Failed(reason="address-not-allowed", retryable=False)
    await parking.heart.publish(sample_event())
    await parking.heart.until_states(exhausted=1)
    parking.sender.answer = Delivered(status=200)
    again = await parking.heart.upkeep.retry("acme", number(parking))
    assert again is not None
    assert (again.round, again.attempt, again.due_at) == (2, 0, parking.heart.clock.now())
    await parking.heart.until_states(delivered=1)
    assert parking.delivery() == ("delivered", None, 2, 1)
    assert len({headers["webhook-id"] for headers in parking.sender.posts}) == 1


async def test_a_pending_delivery_can_be_retried_before_its_time(parking: Parking) -> None:
    """Whoever retries by hand does not wait for the table."""
    parking.sender.answer = REFUSED
    await parking.heart.publish(sample_event())
    await parking.heart.until_waiting(1)
    parking.sender.answer = Delivered(status=200)
    assert await parking.heart.upkeep.retry("acme", number(parking)) is not None
    await parking.heart.until_states(delivered=1)
    assert parking.delivery() == ("delivered", None, 2, 1)


async def test_a_parked_delivery_that_is_retried_parks_again_while_paused(
    parking: Parking,
) -> None:
    """A retry by hand does not get past a pause; the endpoint is looked at before every attempt."""
    await parked(parking, EndpointState.PAUSED)
    assert await parking.heart.upkeep.retry("acme", number(parking)) is not None
    await parking.heart.until(lambda: parking.delivery() == ("parked", "endpoint-paused", 2, 0))
    assert parking.sender.posts == []


async def test_retrying_twice_is_retrying_once(parking: Parking) -> None:
    """Two retries by hand at the same time begin one round and make one request."""
    parking.sender.answer = Failed(reason="address-not-allowed", retryable=False)
    await parking.heart.publish(sample_event())
    await parking.heart.until_states(exhausted=1)
    parking.sender.answer = Delivered(status=200)
    both = await asyncio.gather(
        *(parking.heart.upkeep.retry("acme", number(parking)) for _ in range(2)),
        return_exceptions=True,
    )
    # The second may come so late that it is delivered: then there is nothing to retry.
    begun = [again for again in both if not isinstance(again, Conflict)]
    assert {again.round for again in begun if isinstance(again, Delivery)} == {2}
    await parking.heart.until_states(delivered=1)
    assert parking.delivery() == ("delivered", None, 2, 1)
    assert len(parking.sender.posts) == 2


async def test_what_nobody_works_on_any_more_can_be_retried(parking: Parking) -> None:
    """A claim that ran out holds nobody up: whoever made it is gone."""
    parking.sender.answer = REFUSED
    await parking.heart.publish(sample_event())
    await parking.heart.until_states(pending=1)
    await parking.heart.write(
        "UPDATE deliveries SET claimed = 1, due_at = ?", parking.heart.clock.now() - SECOND
    )
    parking.sender.answer = Delivered(status=200)
    assert await parking.heart.upkeep.retry("acme", number(parking)) is not None
    await parking.heart.until_states(delivered=1)
    assert parking.delivery() == ("delivered", None, 2, 1)


@pytest.mark.parametrize("state", ["delivered", "skipped"])
async def test_what_ended_well_cannot_be_retried(parking: Parking, state: str) -> None:
    """Delivered and skipped deliveries have nothing to retry: a conflict says so."""
    await parking.heart.publish(sample_event())
    await parking.heart.until_states(delivered=1)
    await parking.heart.write("UPDATE deliveries SET state = ?", state)
    with pytest.raises(Conflict, match=state):
        await parking.heart.upkeep.retry("acme", number(parking))
    assert parking.delivery()[2] == 1


async def test_what_is_under_way_cannot_be_retried(parking: Parking) -> None:
    """While an attempt is under way a retry by hand is refused: it would be a second request."""
    parking.sender.answer = REFUSED
    await parking.heart.publish(sample_event())
    await parking.heart.until_waiting(1)
    await parking.heart.write("UPDATE deliveries SET claimed = 1")
    with pytest.raises(Conflict, match="under way"):
        await parking.heart.upkeep.retry("acme", number(parking))


async def test_another_tenants_delivery_is_not_there(parking: Parking) -> None:
    """A tenant that names another's delivery is told that there is none; nothing changes."""
    parking.sender.answer = REFUSED
    await parking.heart.publish(sample_event())
    await parking.heart.until_waiting(1)
    assert await parking.heart.upkeep.retry("zeta", number(parking)) is None
    assert await parking.heart.upkeep.retry("acme", number(parking) + 1) is None
    assert parking.delivery() == ("pending", None, 1, 1)
