"""Switching endpoints off that are gone or keep failing, within the transaction that says so.

What an attempt returned, the endpoint's new state and the event that tells its tenant of it are one
commit: a crash loses all or nothing of it. How long an endpoint has been failing is a row, so that
it counts wherever the hub runs; a success writes nothing, unless there is such a row to delete.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from notifications import statements
from notifications.database import Transaction
from notifications.directory import EndpointState
from notifications.events import Channel
from notifications.failing import (
    FAILING,
    GONE,
    STATE_REASONS,
    News,
    Run,
    announcement,
    news_of,
)
from notifications.records import Result
from notifications.routing import DISABLED_EVENT
from notifications.stores import codes, tables
from notifications.stores.arrivals import Offer


class SqlSwitches:
    """Looks at what is recorded; implements `ledger.Switches`."""

    def __init__(
        self,
        channels: Callable[[str], frozenset[Channel]],
        *,
        park_days: int,
        changed: Callable[[str], None],
    ) -> None:
        """Put it together.

        Args:
            channels: The channels that carry a type.
            park_days: How long deliveries of a disabled endpoint are kept; owners are told.
            changed: Is told, after the commit, the tenant whose endpoint was switched off.
        """
        self._channels = channels
        self._park_days = park_days
        self._changed = changed

    def note(self, tx: Transaction, results: Sequence[Result]) -> list[Offer]:
        """Note what was written of attempts; the events that are to be accepted with it."""
        news = news_of(results)
        codes.lock(tx, _f.lane, news)
        forget(tx, [lane for lane, each in news.items() if each.succeeded or each.gone])
        offers = [
            offer
            for each in news.values()
            if each.gone and (offer := self._disable(tx, each.gone, GONE))
        ]
        failing = {lane: each for lane, each in news.items() if each.run and not each.gone}
        for lane, run in _count(tx, failing).items():
            last = failing[lane].last
            if last is None or not run.hopeless(_ended(last)):
                continue
            offer = self._disable(tx, last, FAILING)
            if offer is not None:
                forget(tx, [lane])
                offers.append(offer)
        return offers

    def _disable(self, tx: Transaction, result: Result, reason: str) -> Offer | None:
        """Switch an endpoint off; None where it is off, was resumed since, or is no more."""
        delivery, attempt = result.after, result.attempt
        if attempt is None:
            return None
        which = {
            "b_tenant": delivery.tenant_id,
            "b_id": delivery.target,
            "b_began": attempt.at,
            "b_reason": STATE_REASONS[reason],
        }
        url = tx.connection.execute(_DISABLE[reason], which).scalar()
        if url is None:
            return None
        tenant_id = delivery.tenant_id
        tx.after_commit(lambda: self._changed(tenant_id))
        event = announcement(
            delivery, attempt, url=url, reason=reason, now=tx.now, park_days=self._park_days
        )
        return event, self._channels(DISABLED_EVENT), True


def forget(tx: Transaction, lanes: Sequence[str]) -> None:
    """Stop the clocks of these endpoints."""
    if not tx.shared:  # each commit of outcomes asks for it
        statements.run(tx.connection, _FORGET_ONE, [{"b_lane": lane} for lane in lanes])
        return
    for page in codes.pages(lanes):
        tx.connection.execute(_FORGET, {"lanes": page})


def _count(tx: Transaction, failing: dict[str, News]) -> dict[str, Run]:
    """Add failures to what is known; how each endpoint stands now."""
    rows = [
        {"lane": lane, "since": each.run.since, "failures": each.run.failures}
        for lane, each in failing.items()
        if each.run
    ]
    if not rows:
        return {}
    statement = codes.upsert(tx.connection, tables.endpoint_failures)
    statement = statement.on_conflict_do_update(
        index_elements=["lane"], set_={"failures": _f.failures + statement.excluded.failures}
    ).returning(_f.lane, _f.since, _f.failures)
    return {
        row.lane: Run(since=row.since, failures=row.failures)
        for row in tx.connection.execute(statement, rows)
    }


def _ended(result: Result) -> int:
    return result.attempt.at + result.attempt.duration_ms if result.attempt else 0


_f, _ep = tables.endpoint_failures.c, tables.endpoints.c
_b = sa.bindparam
_FORGET = sa.delete(tables.endpoint_failures).where(_f.lane.in_(_b("lanes", expanding=True)))
_FORGET_ONE = sa.delete(tables.endpoint_failures).where(_f.lane == _b("b_lane"))
_SWITCH_OFF = (
    sa.update(tables.endpoints)
    .where(
        _ep.tenant_id == _b("b_tenant"),
        _ep.id == _b("b_id"),
        _ep.active_since <= _b("b_began"),
    )
    .values(state=EndpointState.DISABLED.value, state_reason=_b("b_reason"))
    .returning(_ep.url)
)
_DISABLE = {
    # Whoever paused an endpoint knows that it fails; that it is gone is news.
    GONE: _SWITCH_OFF.where(_ep.state != EndpointState.DISABLED.value),
    FAILING: _SWITCH_OFF.where(_ep.state == EndpointState.ACTIVE.value),
}
