"""Writing deliveries and their attempts down, within a transaction.

A delivery moves by compare-and-set on round, attempt and state: a result of something that
meanwhile moved on (its claim ran out, a new round began, its endpoint is gone) is left out.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from notifications import statements
from notifications.database import Transaction
from notifications.deliveries import Attempt, Delivery
from notifications.records import Result
from notifications.stores import codes, tables

_Key = tuple[str, int]
_Stand = tuple[int, int, str]
"""Round, attempt and state: what a delivery is compared by."""


def write_results(tx: Transaction, results: Sequence[Result]) -> list[bool]:
    """Write results in order; for each whether it was written, not left out.

    One of a delivery whose target has a row of another number is left out; that is only told of
    claims, since somebody who claims needs to know.
    """
    new = [result for result in results if result.before is None]
    mine = _insert(tx, new) if new else frozenset()
    if len(new) == len(results):
        return [_is_in(result, mine) for result in results]
    stands = _stands(tx, [r.before for r in results if r.before is not None])
    written = [_is_in(r, mine) if r.before is None else _holds(r, stands) for r in results]
    _update(tx, [r for r, ok in zip(results, written, strict=True) if ok and r.before is not None])
    return written


def _insert(tx: Transaction, results: Sequence[Result]) -> frozenset[int]:
    """Insert new deliveries, save those whose target has a row; the numbers of those claimed."""
    claims: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    # In one order everywhere, so that no two transactions wait for each other.
    for result in sorted(results, key=_place) if tx.shared else results:
        row = {**codes.delivery_row(result.after, tx.now), **codes.first_columns(result.attempt)}
        (claims if result.after.claimed else others).append(row)
    dialect = tx.connection.dialect.name
    statements.run(tx.connection, _new_deliveries(dialect), others)
    if not claims:
        return frozenset()
    return frozenset(tx.connection.execute(_new_claims(dialect), claims).scalars())


def _place(result: Result) -> tuple[int, str, str]:
    return (result.after.event_key, result.after.channel.value, result.after.target)


def _is_in(result: Result, claimed: frozenset[int]) -> bool:
    return not result.after.claimed or result.after.id in claimed


def _stands(tx: Transaction, deliveries: Sequence[Delivery]) -> dict[_Key, _Stand]:
    by_tenant: dict[str, list[int]] = {}
    for delivery in deliveries:
        by_tenant.setdefault(delivery.tenant_id, []).append(delivery.id)
    return {
        (tenant_id, row.id): (row.round, row.attempt, row.state)
        for tenant_id, ids in sorted(by_tenant.items())
        for page in codes.pages(ids)
        for row in tx.connection.execute(_STANDS, {"tenant": tenant_id, "ids": page})
    }


def _holds(result: Result, stands: dict[_Key, _Stand]) -> bool:
    """Whether the delivery still stands where the result found it; it moves on if so."""
    before, after = result.before, result.after
    assert before is not None
    key = (before.tenant_id, before.id)
    if stands.get(key) != (before.round, before.attempt, before.state.value):
        return False
    stands[key] = (after.round, after.attempt, after.state.value)
    return True


def _update(tx: Transaction, results: Sequence[Result]) -> None:
    if not results:
        return
    firsts: list[Mapping[str, Any]] = []
    later: list[Mapping[str, Any]] = []
    for result in results:
        attempt = result.attempt
        if attempt is None:
            continue
        if attempt.round == 1 and attempt.number == 1:
            key = {"b_tenant": result.after.tenant_id, "b_id": result.after.id}
            firsts.append({**key, **codes.first_columns(attempt)})
        else:
            later.append(_attempt_row(result.after, attempt))
    rewrite(tx, [result.after for result in results])
    statements.run(tx.connection, _FIRST, firsts)
    statements.run(tx.connection, _new_attempts(tx.connection.dialect.name), later)


def rewrite(tx: Transaction, deliveries: Sequence[Delivery]) -> None:
    """Write deliveries over their rows, which the caller has locked or compared."""
    statements.run(tx.connection, _UPDATE, [_delivery_row(each, tx.now) for each in deliveries])


def _delivery_row(after: Delivery, now: int) -> dict[str, Any]:
    return {
        "b_tenant": after.tenant_id,
        "b_id": after.id,
        "state": after.state.value,
        "reason": after.reason,
        "round": after.round,
        "attempt": after.attempt,
        "due_at": after.due_at,
        "claimed": int(after.claimed),
        "deadline": after.deadline,
        "updated_at": now,
    }


def _attempt_row(after: Delivery, attempt: Attempt) -> dict[str, Any]:
    outcome, status, detail = codes.outcome_columns(attempt.outcome)
    return {
        "tenant_id": after.tenant_id,
        "delivery_id": after.id,
        "round": attempt.round,
        "number": attempt.number,
        "at": attempt.at,
        "duration_ms": attempt.duration_ms,
        "outcome": outcome,
        "status": status,
        "detail": detail,
    }


@cache
def _new_deliveries(dialect: str) -> Any:
    return codes.upsert_in(dialect, tables.deliveries).on_conflict_do_nothing()


@cache
def _new_claims(dialect: str) -> Any:
    return _new_deliveries(dialect).returning(_d.id)


@cache
def _new_attempts(dialect: str) -> Any:
    return codes.upsert_in(dialect, tables.attempts).on_conflict_do_nothing()


_d = tables.deliveries.c
_b = sa.bindparam

_MOVING = ("state", "reason", "round", "attempt", "due_at", "claimed", "deadline", "updated_at")

_STANDS = (
    sa.select(_d.id, _d.round, _d.attempt, _d.state)
    .where(_d.tenant_id == _b("tenant"), _d.id.in_(_b("ids", expanding=True)))
    .order_by(_d.id)
    .with_for_update()
)
_UPDATE = (
    sa.update(tables.deliveries)
    .where(_d.tenant_id == _b("b_tenant"), _d.id == _b("b_id"))
    .values({name: _b(name) for name in _MOVING})
)
_FIRST = (
    sa.update(tables.deliveries)
    .where(_d.tenant_id == _b("b_tenant"), _d.id == _b("b_id"))
    .values({name: _b(name) for name in codes.NO_FIRST})
)
