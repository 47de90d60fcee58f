"""Dead letters of which the bus says only that they came too often: what was written down counts,
for looking at them and for choosing among them."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from notifications.dead_letters import Chosen, DeadMessage
from notifications.messages import Abandon, DeadLetter
from tests.bus_worlds import BRIEF, FEW, NEWS, message, receive, receive_number, settle
from tests.service_bus_world import ServiceBusWorld, service_bus_world

WORN_OUT = "MaxDeliveryCountExceeded"
CARRYING = b'{"tenantid": "acme", "id": "event-1"}'


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ServiceBusWorld]:
    """Service Bus, and a database beside it."""
    async with service_bus_world(tmp_path) as world:
        yield world


async def wear_out(world: ServiceBusWorld, *names: str, body: bytes = b"m") -> None:
    """Have messages given back until they are dead; none may wait there before."""
    await world.bus.publish(
        NEWS, [message(name, body=body, properties={"kind": "brief"}) for name in names]
    )
    for _ in range(FEW):
        await settle(world, await receive_number(world, len(names), BRIEF), Abandon())


async def note(world: ServiceBusWorld, name: str, reason: str) -> None:
    """Write down why a message was given back, as a function does."""
    await world.rejections.note(BRIEF, name, DeadLetter(reason, f"{reason} is wrong"))


async def listed(world: ServiceBusWorld, reason: str | None = None) -> Sequence[DeadMessage]:
    """The dead letters, or those of a reason."""
    page, _ = await world.letters.page(BRIEF, reason=reason, after=("", 0), limit=100)
    return page


def names(page: Sequence[DeadMessage]) -> list[str]:
    """What they are."""
    return [one.message.id for one in page]


async def test_what_was_written_down_is_what_it_died_of(world: ServiceBusWorld) -> None:
    """Lists, filters, dry runs and the look-up of an event say the reason that was written down;
    of what nothing was written, the bus's. A letter that says a reason of its own keeps it, and
    another subscription's word is nothing to it."""
    await wear_out(world, "noted", "unnoted", body=CARRYING)
    await world.bus.publish(NEWS, [message("own", properties={"kind": "brief"})])
    await settle(world, await receive(world, BRIEF), DeadLetter("schema", "no amount"))
    await world.rejections.note("other", "unnoted", DeadLetter("conflict", "elsewhere"))
    for name in ("noted", "own"):
        await note(world, name, "not-json")

    said = [(one.message.id, one.reason, one.description) for one in await listed(world)]
    assert said == [
        ("noted", "not-json", "not-json is wrong"),
        ("unnoted", WORN_OUT, "Message could not be consumed after 3 delivery attempts."),
        ("own", "schema", "no amount"),
    ]
    assert names(await listed(world, "not-json")) == ["noted"]
    assert names(await listed(world, WORN_OUT)) == ["unnoted"]
    would_be = await world.letters.purge(
        Chosen(subscription=BRIEF, reason="not-json"), limit=9, dry_run=True
    )
    assert would_be.reasons == {"not-json": 1}
    newest = await world.letters.of_event("acme:event-1")
    assert newest[f"of-{BRIEF}"].reason == WORN_OUT
    await note(world, "unnoted", "conflict")
    newest = await world.letters.of_event("acme:event-1")
    assert newest[f"of-{BRIEF}"].reason == "conflict"


@pytest.mark.parametrize("what", ["replay", "purge"])
async def test_those_of_a_reason_are_taken_and_it_is_forgotten(
    world: ServiceBusWorld, what: str
) -> None:
    """Only the letters of that reason go, and what was written of them; not while another letter
    goes by the same name, as where a producer sent one message twice."""
    await wear_out(world, "one", "twin", "twin", "other")
    for name in ("one", "twin"):
        await note(world, name, "not-json")
    chosen = Chosen(subscription=BRIEF, reason="not-json")
    first = await getattr(world.letters, what)(chosen, limit=2)

    assert (first.reasons, names(await listed(world))) == ({"not-json": 2}, ["twin", "other"])
    assert set(await world.rejections.of(BRIEF, ["one", "twin"])) == {"twin"}
    second = await getattr(world.letters, what)(first.rest, limit=2)
    assert (second.reasons, second.rest) == ({"not-json": 1}, None)
    assert Counter(one.reason for one in await listed(world)) == {WORN_OUT: 1}
    assert await world.rejections.of(BRIEF, ["one", "twin"]) == {}
