"""Messages that no hub would send: each is dead-lettered with its reason, and disturbs nothing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from notifications.bus.topology import CONSUMERS, METRICS, NOTIFY_WEBHOOK
from notifications.events import MAX_EVENT_BYTES, Channel
from notifications.messages import Message
from tests.heart_world import UNKNOWN_TYPE, HeartWorld, document, heart_world, sample_event

RIGHT = orjson.dumps(document("strange"))
MANY = {f"property-{number}": number for number in range(200)}


def stranger(body: bytes = RIGHT, **changes: Any) -> Message:
    """A message as somebody else might put it on the topic."""
    sample: dict[str, Any] = {"id": "stranger", "body": body, "properties": {}, **changes}
    return Message(**sample)


def with_text(text: bytes) -> bytes:
    """An event whose data holds such a text, as it stands."""
    return orjson.dumps(document("strange", data={"a": "?"})).replace(b'"?"', b'"' + text + b'"')


BAD: dict[str, tuple[str, bytes]] = {
    "nothing": ("not-json", b""),
    "no JSON": ("not-json", b"hello"),
    "half a document": ("not-json", RIGHT[:-1]),
    "two documents": ("not-json", RIGHT + RIGHT),
    "no UTF-8": ("not-json", b"\xff\xfe\x00"),
    "no UTF-8 in a string": ("not-json", with_text(b"\xc3\x28")),
    "UTF-16": ("not-json", RIGHT.decode().encode("utf-16")),
    "a byte order mark": ("not-json", b"\xef\xbb\xbf" + RIGHT),
    "half a surrogate pair": ("not-json", with_text(b"\\ud800")),
    "NaN": ("not-json", RIGHT.replace(b"12", b"NaN")),
    "an integer beyond 64 bits": ("not-json", RIGHT.replace(b"12", b"9" * 30)),
    "nested too deeply": ("not-json", RIGHT.replace(b"12", b"[" * 40 + b"]" * 40)),
    "nested without end": ("not-json", b"[" * 100_000),
    "a list": ("envelope", b"[]"),
    "a number": ("envelope", b"7"),
    "null": ("envelope", b"null"),
    "no event": ("envelope", b"{}"),
    "another version": ("envelope", orjson.dumps(document(specversion="0.3"))),
    "no tenant": ("envelope", orjson.dumps(document(tenantid=None))),
    "a tenant of another type": ("envelope", orjson.dumps(document(tenantid={"a": 1}))),
    "no id": ("envelope", orjson.dumps(document(id=None))),
    "an id that is too long": ("envelope", orjson.dumps(document("x" * 91))),
    "an id with a line end": ("envelope", orjson.dumps(document("a\nb"))),
    "an id of the hub's own events": ("reserved-id", orjson.dumps(document("job_1.end"))),
    "a date without a zone": ("envelope", orjson.dumps(document(time="2026-01-31T12:00:00"))),
    "an attribute nobody knows": ("envelope", orjson.dumps(document(hubconsumer="email"))),
    "an unknown type": ("unknown-type", orjson.dumps(document(type=UNKNOWN_TYPE))),
    "data that breaks its schema": ("schema", orjson.dumps(document(data={"wrong": 1}))),
    "too large": ("too-large", b" " * (MAX_EVENT_BYTES + 1)),
    "far too large": ("too-large", b'{"a":"' + b"x" * 4_000_000 + b'"}'),
}
"""What is wrong, the reason that it dies of, and the body."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HeartWorld]:
    """A heart on all channels, at work."""
    async with heart_world(tmp_path, channels=frozenset(Channel)) as world:
        yield world


async def still_works(world: HeartWorld) -> None:
    """A right event is delivered on each channel afterwards, and the audit finds nothing."""
    before = world.states().get("delivered", 0)
    await world.publish(sample_event("right"))
    await world.until_states(delivered=before + 3)
    await world.until_quiet()
    assert world.audit().clean


@pytest.mark.parametrize("what", BAD)
async def test_each_kind_dies_of_its_reason(world: HeartWorld, what: str) -> None:
    """Every consumer puts it away at its first sight, says why, and goes on."""
    reason, body = BAD[what]
    await world.put(stranger(body))
    await world.until(lambda: len(world.dead()) == 4)
    assert {each for _, each in world.dead()} == {reason}
    assert world.rows("SELECT DISTINCT delivery_count FROM bus_dead_letters") == [(1,)]
    ((description,),) = world.rows("SELECT DISTINCT description FROM bus_dead_letters")
    assert description
    await still_works(world)


async def test_all_kinds_at_once_leave_the_right_ones_alone(world: HeartWorld) -> None:
    """Among bad messages of every kind the good ones are delivered, each once."""
    for number, (_, body) in enumerate(BAD.values()):
        await world.put(stranger(body))
        await world.publish(sample_event(f"between-{number}"))
    await world.until_states(delivered=3 * len(BAD))
    await world.until(lambda: len(world.dead()) == 4 * len(BAD))
    await still_works(world)


async def test_a_known_id_with_another_content_is_a_conflict(world: HeartWorld) -> None:
    """A stranger cannot change what an event was."""
    await world.publish(sample_event())
    await world.until_states(delivered=3)
    await world.until_quiet()
    await world.put(stranger(orjson.dumps(document(data={"amount": 13}))))
    await world.until(lambda: len(world.dead()) == 4)
    assert {reason for _, reason in world.dead()} == {"conflict"}
    await still_works(world)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "x" * 1_000},
        {"id": "acme:right"},
        {"id": "\x00\n"},
        {"subject": "x" * 10_000, "content_type": "y" * 10_000},
        {"subject": None, "content_type": None},
        {"properties": MANY},
        {"properties": {"x" * 5_000: "y" * 60_000}},
        {"properties": {"": "", "type": 5, "tenantId": True, "userId": 1.5}},
        {"properties": {"TYPE": "a", "type": "b", "Type": "c"}},
        {"properties": {"null": "\x00", "quote": "'; DROP TABLE events; --"}},
        {"properties": {"hubEvent": "nonsense"}},
        {"properties": {"hubEvent": "x:webhook"}},
        {"properties": {"hubEvent": "7:fax"}},
        {"properties": {"hubEvent": 7, "hubTries": "many", "hubNotAfter": "never"}},
        {"properties": {"hubKind": "party"}},
        {"properties": {"hubUnheardOf": True}},
    ],
    ids=lambda changes: str(changes)[:60],
)
async def test_what_is_around_a_right_event_does_not_matter(
    world: HeartWorld, changes: dict[str, Any]
) -> None:
    """Whatever id, subject and properties a stranger gives it, its event is delivered once."""
    await world.put(stranger(**changes))
    await world.until_states(delivered=3)
    await world.until_quiet()
    assert world.dead() == []
    assert [len(channel.tries) for channel in world.channels.values()] == [1, 1, 1]
    await still_works(world)


@pytest.mark.parametrize(
    ("properties", "body", "reason"),
    [
        ({"hubKind": "drain"}, RIGHT, "drain-without-lane"),
        ({"hubKind": "drain"}, b"\xff", "drain-without-lane"),
        ({"hubKind": "drain"}, b'{"lane": 5}', "drain-without-lane"),
        ({"hubKind": "drain"}, b'{"lane": "email/acme"}', "drain-without-lane"),
        ({"hubEvent": "7:webhook"}, b"{", "not-json"),
        ({"hubEvent": "7:webhook"}, b"{}", "envelope"),
        ({"hubEvent": "7:webhook"}, b"[]", "envelope"),
        ({"hubTries": 10**9, "hubNotAfter": "-1"}, b"{", "not-json"),
        ({"hubTries": float(2**60), "hubNotAfter": False}, b"{", "not-json"),
    ],
    ids=str,
)
async def test_properties_that_are_the_hubs_alone_hide_nothing(
    world: HeartWorld, properties: dict[str, Any], body: bytes, reason: str
) -> None:
    """A bad message that claims to be the hub's own dies of what is wrong with it."""
    await world.put(stranger(body, properties={"hubConsumer": "webhook", **properties}))
    await world.until(lambda: world.dead() == [(NOTIFY_WEBHOOK, reason)])
    await still_works(world)


@pytest.mark.parametrize("consumer", ["fax", "", 5, True, "x" * 1_000])
async def test_an_addressee_nobody_is_goes_to_metrics(world: HeartWorld, consumer: object) -> None:
    """What is addressed to nobody is not dropped: it is counted, or dies of what is wrong."""
    properties = {"hubConsumer": consumer}
    await world.put(stranger(properties=properties), stranger(b"{", properties=properties))
    await world.until(lambda: world.dead() == [(METRICS, "not-json")])
    await world.until(lambda: world.one("SELECT sum(count) FROM event_counts") == 1)
    assert world.states() == {}
    assert set(CONSUMERS) == {"realtime", "email", "webhook", "metrics"}
