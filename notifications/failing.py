"""When an endpoint is switched off without anybody's doing, and how its tenant is told. Pure.

    answered 410 Gone                                        ──► disabled (gone)
    20 failures and 5 days since the first, and no success   ──► disabled (failing)

The clock of a failing endpoint begins with its first failure; a success, of whichever delivery,
stops it, and so does resuming. It is looked at when another attempt fails: an endpoint that nobody
calls is left as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from notifications.deliveries import Attempt, Delivered, Delivery, Failed
from notifications.events import Channel, Event, read_event
from notifications.ids import public_id
from notifications.records import Result
from notifications.retries import DAY
from notifications.routing import DISABLED_EVENT

PATIENCE = 5 * DAY
FAILURES = 20

GONE = "gone"
FAILING = "failing"

STATE_REASONS: Mapping[str, str] = {
    GONE: "answered 410 Gone",
    FAILING: "no success in 5 days",
}
"""What is shown as the endpoint's `stateReason`."""

_OURS = frozenset(("internal-error", "interrupted"))
"""Failures that are the hub's own doing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Failures in a row, over all deliveries of an endpoint.

    Attributes:
        since: When the first of them ended, ms since the epoch.
        failures: How many there were.
    """

    since: int
    failures: int

    def hopeless(self, now: int) -> bool:
        """Whether it has gone on for long enough to give the endpoint up."""
        return self.failures >= FAILURES and now - self.since >= PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a few results say about one endpoint.

    Attributes:
        succeeded: It took something: what failed before then counts no more.
        run: What failed after that, if anything.
        last: The last of these failures.
        gone: The first 410, if there was one.
    """

    succeeded: bool = False
    run: Run | None = None
    last: Result | None = None
    gone: Result | None = None


def news_of(results: Iterable[Result]) -> dict[str, News]:
    """What results say about endpoints, by lane, in the order of the lanes' names."""
    tried: dict[str, list[tuple[int, Result]]] = {}
    for result in results:
        attempt = result.attempt
        if attempt is not None and result.after.channel is Channel.WEBHOOK and _tells(attempt):
            ended = attempt.at + attempt.duration_ms
            tried.setdefault(result.after.lane, []).append((ended, result))
    return {lane: _news(tried[lane]) for lane in sorted(tried)}


def announcement(
    delivery: Delivery, attempt: Attempt, *, url: str, reason: str, now: int, park_days: int
) -> Event:
    """The event that tells a tenant of a disabled endpoint.

    Its id names the attempt that the endpoint was disabled for: there is one for each disabling,
    however often it is written down.
    """
    endpoint_id = delivery.target
    cause = f"{public_id(delivery)}.{attempt.round}.{attempt.number}"
    at = datetime.fromtimestamp(now / 1000, UTC)
    document = {
        "specversion": "1.0",
        "id": f"{endpoint_id}.disabled.{cause}",
        "source": "/huntaze/webhooks",
        "type": DISABLED_EVENT,
        "subject": endpoint_id,
        "data": {"endpointId": endpoint_id, "url": url, "reason": reason, "parkDays": park_days},
    }
    return read_event(document, tenant_id=delivery.tenant_id, now=at)


def _tells(attempt: Attempt) -> bool:
    outcome = attempt.outcome
    return isinstance(outcome, Delivered) or (
        isinstance(outcome, Failed) and outcome.reason not in _OURS
    )


def _news(tried: list[tuple[int, Result]]) -> News:
    if len(tried) > 1:
        tried.sort(key=lambda each: each[0])
    succeeded = False
    failed: list[tuple[int, Result]] = []
    gone: Result | None = None
    for ended, result in tried:
        outcome = result.attempt.outcome if result.attempt else None
        if isinstance(outcome, Delivered):
            succeeded = True
            failed.clear()
            continue
        failed.append((ended, result))
        if isinstance(outcome, Failed) and outcome.reason == GONE and gone is None:
            gone = result
    if not failed:
        return News(succeeded=succeeded, gone=gone)
    run = Run(since=failed[0][0], failures=len(failed))
    return News(succeeded=succeeded, run=run, last=failed[-1][1], gone=gone)
