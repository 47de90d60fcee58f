"""Inbox rows: which events share one, which of them stays, and how a row looks outside."""

import itertools
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.realtime.items import (
    inbox_changed,
    item_id,
    item_json,
    notification,
    rank,
)
from notifications.events import Event
from notifications.records import InboxEntry, InboxItem


def event(type: str = "payment.received", **changed: Any) -> Event:  # noqa: A002
    values: dict[str, Any] = {
        "id": "evt-1",
        "source": "/tests",
        "type": type,
        "subject": None,
        "time": "2026-03-01T12:00:00Z",
        "tenant_id": "acme",
        "user_id": "lea",
        "job_id": None,
        "job_type": None,
        "traceparent": None,
        "data": {},
        "body": b"",
    }
    return Event(**(values | changed))


def job(step: str, job_id: str = "job-1", **data: Any) -> Event:
    return event(f"job.{step}", id=f"{job_id}.{step}", job_id=job_id, data=data)


def item(**changed: Any) -> InboxItem:
    entry = InboxEntry(
        tenant_id="acme",
        user_id="lea",
        item_id="itm_1",
        rank=0,
        event_id="evt-1",
        type="payment.received",
        title="Paiement reçu",
        body="",
        url="/payments/1",
        progress=None,
        created_at=1_772_366_400_001,
    )
    values: dict[str, Any] = {"seq": 7, "state": "unread", "updated_at": 1_772_366_460_000}
    return InboxItem(entry=entry, **(values | changed))


def test_the_events_of_a_job_share_a_row() -> None:
    """Whatever a job tells, it tells in one place; another job has its own."""
    steps = ["queued", "started", "progress", "retrying", "succeeded", "failed"]
    assert len({item_id(job(step), "lea") for step in steps}) == 1
    assert item_id(job("queued"), "lea") != item_id(job("queued", "job-2"), "lea")


def test_other_news_that_names_a_job_has_its_own_row() -> None:
    """A budget warning that a job caused is not overwritten by the job's progress."""
    warning = event("budget.threshold", job_id="job-1")
    assert item_id(warning, "lea") != item_id(job("queued"), "lea")
    assert item_id(warning, "lea") == item_id(event("budget.threshold"), "lea")
    assert rank(warning) == 0


def test_a_row_is_of_one_tenant_user_and_event() -> None:
    """The same ids elsewhere name another row; the same event names the same row again."""
    there = [
        item_id(event(), "lea"),
        item_id(event(), "max"),
        item_id(event(tenant_id="other"), "lea"),
        item_id(event(id="evt-2"), "lea"),
        item_id(job("queued", "evt-1"), "lea"),
    ]
    assert len(set(there)) == len(there)
    assert item_id(event(), "lea") == there[0]


@given(st.text(min_size=1), st.text(min_size=1))
def test_row_ids_are_safe_in_a_url(event_id: str, user_id: str) -> None:
    """Whatever the ids they are made of, there is nothing to escape."""
    assert re.fullmatch(r"itm_[0-9a-f]{32}", item_id(event(id=event_id), user_id))


def test_a_job_s_life_only_goes_up() -> None:
    """In the order things happen over two runs, every event outranks those before it."""
    life = [
        job("queued"),
        job("started", run=1),
        *(job("progress", run=1, progress=done) for done in (0, 1, 50, 100)),
        job("retrying", run=1),
        job("started", run=2),
        job("progress", run=2, progress=10),
        job("retrying", run=2),
        job("started", run=3),
        job("succeeded", run=3),
    ]
    ranks = [rank(each) for each in life]
    assert all(before < after for before, after in itertools.pairwise(ranks))
    assert ranks[:3] == [1000, 1001, 1002]


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled", "expired"])
def test_an_end_outranks_everything(end: str) -> None:
    """No late progress of any run replaces a job's end."""
    assert rank(job(end)) == 1_000_000_000
    assert rank(job("retrying", run=10**12)) < rank(job(end))


def test_what_is_no_job_has_no_rank() -> None:
    """News of its own is not replaced by rank."""
    assert rank(event("message.received")) == 0
    assert rank(event("job.progress", job_id=None, data={"progress": 50})) == 0


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_odd_data_still_ranks_between_start_and_end(odd: Any) -> None:
    """Producers other than ours may write anything; a rank is always a sensible number."""
    for data in ({"progress": odd}, {"run": odd}, {"run": odd, "progress": odd}):
        assert 0 <= rank(job("progress", **data)) < rank(job("succeeded"))


def test_a_row_looks_as_the_contract_says() -> None:
    """The fields and their names are the contract's, times in UTC to the millisecond."""
    assert item_json(item()) == {
        "id": "itm_1",
        "seq": 7,
        "eventId": "evt-1",
        "type": "payment.received",
        "title": "Paiement reçu",
        "body": "",
        "url": "/payments/1",
        "state": "unread",
        "progress": None,
        "createdAt": "2026-03-01T12:00:00.001Z",
        "updatedAt": "2026-03-01T12:01:00.000Z",
    }


def test_pushes_carry_the_row_and_the_count() -> None:
    """A notification says whether it is late; a change in the inbox says what changed, if one."""
    assert orjson.loads(notification(item(), 3, late=True)) == {
        "kind": "notification",
        "item": item_json(item()) | {"late": True},
        "unread": 3,
    }
    changed = item(state="read")
    assert orjson.loads(inbox_changed(changed, 2)) == {
        "kind": "inbox",
        "item": item_json(changed),
        "unread": 2,
    }
    assert orjson.loads(inbox_changed(None, 0)) == {"kind": "inbox", "item": None, "unread": 0}
