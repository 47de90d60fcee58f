"""What an inbox row is and how it looks outside. Pure: no I/O, no clock.

Job progress is a state, not a message: the events of one job share one row, and of two of them
the later one stays, whatever order they arrive in (`item_id`, `rank`).
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

import orjson

from notifications.events import Event
from notifications.records import InboxItem

_RUN = 1_000
_FINAL = 1_000_000_000
_STEPS = {"job.queued": 0, "job.started": 1, "job.progress": 2, "job.retrying": 900}
_ENDS = frozenset(("job.succeeded", "job.failed", "job.cancelled", "job.expired"))


def item_id(event: Event, user_id: str) -> str:
    """The row that `event` has in a user's inbox: the same however often it is delivered.

    Carries tenant and user, so that it names one row of the whole hub; safe in a URL.
    """
    told_of = ("job", event.job_id) if _of_job(event) else ("event", event.id)
    # None of these can hold a line break, so no two rows share a name.
    name = "\n".join((event.tenant_id, user_id, *map(str, told_of)))
    return "itm_" + hashlib.sha256(name.encode()).hexdigest()[:32]


def rank(event: Event) -> int:
    """How late in its job's life an event tells of it; of two entries the higher stays.

    Each run outranks the one before it; an end outranks everything. 0 where there is no job.
    """
    if not _of_job(event):
        return 0
    if event.type in _ENDS:
        return _FINAL
    run = min(_whole(event.data.get("run"), 1), _FINAL // _RUN - 2)
    step = _STEPS.get(event.type, 0)
    if event.type == "job.progress":
        step += min(_whole(event.data.get("progress"), 0), 100)
    return run * _RUN + step


def item_json(item: InboxItem) -> dict[str, Any]:
    """An inbox row as the API and the pushes show it; times are RFC 3339, UTC."""
    entry = item.entry
    return {
        "id": entry.item_id,
        "seq": item.seq,
        "eventId": entry.event_id,
        "type": entry.type,
        "title": entry.title,
        "body": entry.body,
        "url": entry.url,
        "state": item.state,
        "progress": entry.progress,
        "createdAt": _rfc3339(entry.created_at),
        "updatedAt": _rfc3339(item.updated_at),
    }


def notification(item: InboxItem, unread: int, *, late: bool) -> bytes:
    """What is pushed when a row has come or changed; a `late` one does not pop up."""
    shown = item_json(item) | {"late": late}
    return orjson.dumps({"kind": "notification", "item": shown, "unread": unread})


def inbox_changed(item: InboxItem | None, unread: int) -> bytes:
    """What is pushed when the user changed the inbox, in this tab or another.

    `item` is the row that changed, or None where many did.
    """
    shown = None if item is None else item_json(item)
    return orjson.dumps({"kind": "inbox", "item": shown, "unread": unread})


def _of_job(event: Event) -> bool:
    # An event of another type may name the job it came from; it is news of its own.
    return event.job_id is not None and event.type.startswith("job.")


def _whole(value: object, default: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return int(max(0, min(value, _FINAL)))


def _rfc3339(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
