"""The realtime channel: who an event goes to, the row it becomes, and the push that tells of it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from notifications.channels.realtime.channel import RealtimeChannel
from notifications.channels.realtime.items import item_json
from notifications.deliveries import (
    Delivered,
    Delivery,
    Failed,
    Outcome,
    State,
    attempted,
    new_round,
)
from notifications.directory import Endpoint, Locale, Role, User
from notifications.events import Channel, Event
from notifications.ports import ChannelAdapter
from notifications.records import InboxItem, Placed, Route
from notifications.rendering import RenderError
from notifications.retries import NOTIFICATIONS
from tests.realtime_server import HandClock

OWNER = User(tenant_id="acme", id="olga", role=Role.OWNER)
LEA = User(tenant_id="acme", id="lea", locale=Locale.EN)


@dataclass
class People:
    """A directory of these users."""

    users: Sequence[User] = ()

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        return next((u for u in self.users if (u.tenant_id, u.id) == (tenant_id, user_id)), None)

    async def owners(self, tenant_id: str) -> Sequence[User]:
        return [u for u in self.users if u.tenant_id == tenant_id and u.role is Role.OWNER]

    async def endpoints(self, tenant_id: str) -> Sequence[Endpoint]:
        return ()


@dataclass
class Wire:
    """A gateway that keeps what it was given, and answers or breaks as told."""

    answer: Outcome | Exception = field(default_factory=Delivered)
    pushed: list[tuple[str, str, Any]] = field(default_factory=list)

    async def push(self, tenant_id: str, user_id: str, data: bytes) -> Outcome:
        self.pushed.append((tenant_id, user_id, orjson.loads(data)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a renderer returns."""

    title: str
    body: str = ""
    url: str | None = None
    progress: int | None = None


class Plainly:
    """A renderer that names type and language."""

    def toast(self, event: Event, user: User) -> Words:
        progress = event.data.get("progress")
        return Words(title=f"{event.type} {user.locale}", url="/there", progress=progress)


@dataclass
class Desk:
    """A channel and what it stands between."""

    people: People
    wire: Wire
    clock: HandClock
    channel: ChannelAdapter


@pytest.fixture
def desk() -> Desk:
    people, wire, clock = People([OWNER, LEA]), Wire(), HandClock()
    return Desk(people, wire, clock, RealtimeChannel(people, wire, Plainly(), clock))


def event(user_id: str | None = "lea", **changed: Any) -> Event:
    values: dict[str, Any] = {
        "id": "evt-1",
        "source": "/tests",
        "type": "job.progress",
        "subject": None,
        "time": "2026-03-01T12:00:00Z",
        "tenant_id": "acme",
        "user_id": user_id,
        "job_id": "job-1",
        "job_type": "chat.suggest",
        "traceparent": None,
        "data": {"run": 1, "progress": 40},
        "body": b"",
    }
    return Event(**(values | changed))


def delivery(target: str = "lea", **changed: Any) -> Delivery:
    values: dict[str, Any] = {"deadline": 10, "created_at": 0, "due_at": 0}
    return Delivery(
        tenant_id="acme",
        id=1,
        event_key=1,
        channel=Channel.REALTIME,
        target=target,
        **(values | changed),
    )


async def placed(desk: Desk, *, unread: int = 1) -> Placed:
    entry = (await desk.channel.attempt(delivery(), event())).entry
    assert entry is not None
    return Placed(item=InboxItem(entry=entry, seq=5, state="unread", updated_at=9), unread=unread)


async def test_an_event_goes_to_its_user(desk: Desk) -> None:
    """The user it names is the target, even one that nobody has registered."""
    assert await desk.channel.route(event("lea")) == Route(targets=("lea",))
    assert await desk.channel.route(event("stranger")) == Route(targets=("stranger",))


async def test_an_event_of_nobody_goes_to_the_owners(desk: Desk) -> None:
    """All of that tenant's owners, and no member and no other tenant's owner."""
    desk.people.users = [OWNER, LEA, replace(OWNER, id="oskar"), replace(OWNER, tenant_id="other")]
    assert await desk.channel.route(event(None)) == Route(targets=("olga", "oskar"))


async def test_no_owner_is_a_reason(desk: Desk) -> None:
    """Where there is nobody to tell, the route says why."""
    desk.people.users = [LEA]
    assert await desk.channel.route(event(None)) == Route(reason="no-owner")


async def test_an_attempt_is_the_row(desk: Desk) -> None:
    """It is delivered by what is to be committed with it: the row, in the user's language."""
    result = await desk.channel.attempt(delivery(), event())
    assert result.outcome == Delivered()
    entry = result.entry
    assert entry is not None
    assert (entry.tenant_id, entry.user_id, entry.event_id) == ("acme", "lea", "evt-1")
    assert (entry.title, entry.url, entry.progress) == ("job.progress en", "/there", 40)
    assert (entry.rank, entry.created_at) == (1042, desk.clock.now())
    assert desk.wire.pushed == []


async def test_a_stranger_reads_french(desk: Desk) -> None:
    """A user nobody registered has an inbox all the same, in the default language."""
    result = await desk.channel.attempt(delivery("stranger"), event("stranger"))
    assert result.entry is not None
    assert (result.entry.user_id, result.entry.title) == ("stranger", "job.progress fr")


async def test_each_owner_has_a_row_of_their_own(desk: Desk) -> None:
    """An event of nobody becomes one row per owner: reading one leaves the other unread."""
    rows = [await desk.channel.attempt(delivery(who), event(None)) for who in ("olga", "oskar")]
    assert {row.entry.user_id for row in rows if row.entry} == {"olga", "oskar"}
    assert len({row.entry.item_id for row in rows if row.entry}) == 2


async def test_a_redelivery_makes_the_same_row(desk: Desk) -> None:
    """Attempting twice gives the same entry, so that writing it twice changes nothing."""
    first = await desk.channel.attempt(delivery(), event())
    assert await desk.channel.attempt(delivery(), event()) == first


async def test_the_push_tells_of_the_row(desk: Desk) -> None:
    """Once committed, the row and the unread count are pushed to that user."""
    row = await placed(desk, unread=4)
    await desk.channel.recorded(delivery(), event(), row)
    assert row.item is not None
    told = {
        "kind": "notification",
        "item": item_json(row.item) | {"late": False},
        "unread": 4,
    }
    assert desk.wire.pushed == [("acme", "lea", told)]


async def test_what_was_superseded_is_not_told(desk: Desk) -> None:
    """Where a later state of the job was there first, nothing is pushed."""
    await desk.channel.recorded(delivery(), event(), Placed(item=None, unread=1))
    assert desk.wire.pushed == []


@pytest.mark.parametrize("as_recorded", [False, True], ids=["as claimed", "as recorded"])
async def test_a_late_toast_says_so(desk: Desk, as_recorded: bool) -> None:
    """Late is what failed before or was begun again, whichever form of the delivery is given."""
    first = delivery()
    failed = attempted(first, Failed(reason="x"), now=1, table=NOTIFICATIONS, dice=0.5)
    again = new_round(first, now=1, table=NOTIFICATIONS)
    row = await placed(desk)
    for each in (first, failed, again):
        given = each
        if as_recorded:
            given = attempted(each, Delivered(), now=2, table=NOTIFICATIONS, dice=0.5)
            assert given.state is State.DELIVERED
        await desk.channel.recorded(given, event(), row)
    assert [told["item"]["late"] for _, _, told in desk.wire.pushed] == [False, True, True]


@pytest.mark.parametrize("answer", [OSError("away"), Failed(reason="http-500")])
async def test_a_push_that_fails_is_logged_and_no_more(
    desk: Desk, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The row is committed: a gateway that breaks or refuses raises nothing into the caller."""
    row = await placed(desk)
    desk.wire.answer = answer
    with caplog.at_level(logging.WARNING, "huntaze"):
        await desk.channel.recorded(delivery(), event(), row)
    assert [record.message for record in caplog.records] in (["push.broken"], ["push.refused"])


class Speechless:
    """A renderer that has no words for anything."""

    def toast(self, event: Event, user: User) -> Words:
        raise RenderError("toast/job.progress/en.json", 3, "`progress` is missing")


async def test_a_toast_that_cannot_be_rendered_is_given_up_with_its_reason() -> None:
    """What no template can put into words fails for good and names template and problem."""
    people = People([LEA])
    channel = RealtimeChannel(people, Wire(), Speechless(), HandClock())
    outcome = (await channel.attempt(delivery(), event())).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("render", False)
    assert "toast/job.progress/en.json" in (outcome.detail or "")
