"""What the hub puts on the topic, and what events become on a channel."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.deliveries import State
from notifications.errors import RejectedMessage
from notifications.events import Channel, Event, Known, read_event
from notifications.messages import Message, Received
from notifications.records import Route
from notifications.retries import DAY, MINUTE, NOTIFICATIONS, SECOND
from notifications.routing import (
    NOBODY,
    RESEND_TRIES,
    addressed,
    drain_message,
    event_message,
    is_drain,
    lane_of,
    plan,
    resend,
)

NOON = 1_772_366_400_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def event(**changes: Any) -> Event:
    """A sample event."""
    document = {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "/payments",
        "type": "payment.received",
        "tenantid": "acme",
        "userid": "ada",
        "jobtype": "video.analysis",
        "traceparent": TRACE,
        **changes,
    }
    kept = {key: value for key, value in document.items() if value is not None}
    return read_event(kept, tenant_id=None, now=datetime(2026, 1, 31, tzinfo=UTC))


KNOWN = Known(key=5, event=event(), channels=frozenset(Channel))


def received(message: Message, *, enqueued_at: int = NOON) -> Received:
    """A message in hand."""
    return Received(
        message=message,
        subscription="notify-webhook",
        sequence_number=1,
        delivery_count=1,
        enqueued_at=enqueued_at,
        token=1,
    )


def again(
    message: Message, *, now: int = NOON, enqueued_at: int = NOON, away: bool = False
) -> Message | None:
    """The message sent again to the webhook consumer."""
    return resend(
        received(message, enqueued_at=enqueued_at),
        "webhook",
        message_id="again-1",
        now=now,
        lifetime=DAY,
        away=away,
    )


def test_an_event_message_is_the_event_as_stored() -> None:
    """Body, id, subject and properties are the event's, for everybody, at once."""
    message = event_message(event())
    assert message == Message(
        id="acme:evt-1",
        body=event().body,
        properties={
            "type": "payment.received",
            "tenantId": "acme",
            "userId": "ada",
            "jobType": "video.analysis",
            "traceparent": TRACE,
        },
        subject="payment.received",
        content_type="application/cloudevents+json",
    )


def test_absent_attributes_are_absent_properties() -> None:
    """Rules see a missing property as NULL: it is left out, not empty."""
    message = event_message(event(userid=None, jobtype=None, traceparent=None))
    assert dict(message.properties) == {"type": "payment.received", "tenantId": "acme"}


def test_a_drain_is_for_its_channel_alone_and_says_its_lane() -> None:
    """A drain message carries its lane, is addressed to its channel, and comes when it is due."""
    message = drain_message("webhook/acme/ep_1", message_id="drain-1", due_at=NOON)
    assert (message.properties["hubConsumer"], message.due_at) == ("webhook", NOON)
    assert is_drain(message)
    assert lane_of(message, Channel.WEBHOOK) == "webhook/acme/ep_1"
    assert not is_drain(event_message(event()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"lane": 5}',
        b'{"lane": null}',
        b'{"lane": "email/acme"}',
        b'"x"',
        b"\xff",
    ],
)
def test_a_drain_without_a_lane_of_its_channel_is_rejected(body: bytes) -> None:
    """A drain that names no lane, or another channel's, can never be handled."""
    message = replace(drain_message("webhook/a/b", message_id="d", due_at=NOON), body=body)
    with pytest.raises(RejectedMessage) as rejected:
        lane_of(message, Channel.WEBHOOK)
    assert rejected.value.reason == "drain-without-lane"


def test_an_addressed_event_is_the_whole_event_for_one_consumer() -> None:
    """An event that is sent again carries the same bytes, the consumer, and an id of its own."""
    message = addressed(event(), "email", message_id="again-1", due_at=None)
    assert (message.id, message.body) == ("again-1", event().body)
    assert message.properties["hubConsumer"] == "email"
    assert message.properties["hubKind"] == "event"
    assert message.properties["type"] == "payment.received"


def test_a_message_sent_again_goes_to_its_own_consumer() -> None:
    """What failed at one consumer comes again there alone, with the same body and properties."""
    original = event_message(event())
    message = again(original)
    assert message is not None
    assert (message.id, message.body, message.subject) == (
        "again-1",
        original.body,
        original.subject,
    )
    assert dict(message.properties) == {
        **original.properties,
        "hubConsumer": "webhook",
        "hubKind": "event",
        "hubTries": 1,
        "hubNotAfter": str(NOON + DAY),
    }


def test_a_drain_sent_again_stays_a_drain() -> None:
    """A drain that met a fault of ours is still a drain when it comes again."""
    message = again(drain_message("webhook/acme/ep_1", message_id="d", due_at=NOON))
    assert message is not None
    assert is_drain(message)


def test_sending_again_doubles_from_half_a_minute_to_ten_and_ends_after_ten() -> None:
    """30 s, 1, 2, 4, 8 min, then every 10 min; after the tenth time it is given up."""
    message: Message | None = event_message(event())
    now, waits = NOON, []
    while message is not None:
        message = again(message, now=now)
        if message is not None:
            assert message.due_at is not None
            waits.append((message.due_at - now) // SECOND)
            now = message.due_at
    assert waits == [30, 60, 120, 240, 480, 600, 600, 600, 600, 600]


def test_while_something_is_away_it_is_sent_again_for_a_day() -> None:
    """However long it was away, ten faults that nobody knows are not made up by it."""
    message, now, waits = again(event_message(event()), away=True), NOON, []
    while message is not None:
        assert message.due_at is not None
        waits.append((message.due_at - now) // SECOND)
        now, last = message.due_at, message
        message = again(last, now=now, away=True)
    assert waits == [30, 60, 120, 240, 480] + [600] * ((DAY // SECOND - 930) // 600)
    assert again(last, now=NOON + DAY // 2) is not None


def test_nothing_is_sent_again_past_a_day_of_its_first_coming() -> None:
    """The deadline counts from the first coming, however often it was sent again since."""
    late = event_message(event())
    assert again(late, now=NOON + DAY - 31 * SECOND) is not None
    assert again(late, now=NOON + DAY - 29 * SECOND) is None
    once = again(late)
    assert once is not None
    assert again(once, now=NOON + DAY - 30 * SECOND, enqueued_at=NOON + DAY - MINUTE) is None


@pytest.mark.parametrize("tries", [2**31 - 1, -(2**31), -1, "many", "", 1.5, True, float("inf")])
def test_a_nonsense_count_of_tries_harms_nothing(tries: Any) -> None:
    """Whatever a stranger writes into `hubTries`, it is sent again soon, or given up."""
    message = event_message(event())
    message = again(replace(message, properties={**message.properties, "hubTries": tries}))
    if message is not None:
        assert message.due_at is not None
        assert isinstance(message.due_at, int)
        assert NOON + 30 * SECOND <= message.due_at <= NOON + 10 * MINUTE


@given(tries=st.integers(0, RESEND_TRIES - 1), now=st.integers(NOON, NOON + DAY // 2))
def test_every_property_fits_an_amqp_int(tries: int, now: int) -> None:
    """Integers in properties fit 32 bits, since that is what the SDK sends; times are text."""
    original = event_message(event())
    message = again(
        replace(original, properties={**original.properties, "hubTries": tries}), now=now
    )
    assert message is not None
    for value in message.properties.values():
        assert isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**31)


def test_properties_survive_the_bus_as_json() -> None:
    """The embedded bus keeps properties as JSON: they come back equal."""
    message = again(event_message(event()))
    assert message is not None
    assert orjson.loads(orjson.dumps(message.properties)) == dict(message.properties)


def test_each_target_becomes_a_delivery() -> None:
    """An event becomes one delivery per target, due at once, each saying how many there are."""
    route = Route(targets=("ep_1", "ep_2"))
    first, second = plan(KNOWN, Channel.WEBHOOK, route, ids=[11, 12], now=NOON, table=NOTIFICATIONS)
    assert (first.id, first.target, second.id, second.target) == (11, "ep_1", 12, "ep_2")
    for delivery in (first, second):
        assert (delivery.state, delivery.due_at) == (State.PENDING, NOON)
        assert (delivery.routed, delivery.deadline) == (2, NOON + DAY)
        assert (delivery.tenant_id, delivery.event_key) == ("acme", 5)


def test_an_event_for_nobody_leaves_a_row_that_says_why() -> None:
    """Where there is no target, one skipped delivery tells the reason."""
    (row,) = plan(
        KNOWN, Channel.EMAIL, Route(reason="no-user"), ids=[11], now=NOON, table=NOTIFICATIONS
    )
    assert (row.state, row.reason, row.target) == (State.SKIPPED, "no-user", NOBODY)
    assert (row.routed, row.due_at) == (1, None)
