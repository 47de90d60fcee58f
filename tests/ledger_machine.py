"""The ledger under changes in any order, whatever database it is on; the audit looks after each.

Everything that moves deliveries does so here: routing, attempts that come back in time, late or
twice, drains, claims that run out, crashes, pauses, resumptions, deletions, retries by hand, time
and sweeps. What waits on the bus stays there: nobody but the machine is at work.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from notifications import deliveries as rules
from notifications.auditing import expectations
from notifications.deliveries import (
    Attempt,
    Delivered,
    Delivery,
    Failed,
    Outcome,
    Parked,
    Postponed,
    Skipped,
    State,
)
from notifications.directory import Endpoint, EndpointState, SigningSecret
from notifications.errors import Conflict
from notifications.events import Channel, Known
from notifications.records import Record, Result, Route
from notifications.retries import DAY, HOUR, MINUTE, SECOND, RetryTable
from notifications.routing import plan
from notifications.stores import tables
from notifications.stores.audit import AuditReport, audit
from notifications.stores.directory import SqlDirectory
from notifications.stores.leftovers import SqlLeftovers
from notifications.stores.on_bus import OnBus
from notifications.stores.standing import SqlStanding
from notifications.stores.upkeep import Keeping, SqlUpkeep
from notifications.sweep import Sweep, upkeep_steps
from notifications.testing import SeededDice
from notifications.vault import Vault
from tests.ledger_world import LedgerWorld

TABLE = RetryTable(delays=(5 * SECOND, 2 * MINUTE), lifetime=HOUR)
CLAIM = 45 * SECOND
ENDPOINTS = ("ep_a", "ep_b")
TENANTS = ("acme", "other")
TERMINAL = frozenset(("delivered", "skipped", "exhausted"))

OpenWorld = Callable[[Path], AbstractAsyncContextManager[LedgerWorld]]
Key = tuple[str, int]

outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Delivered(status=200),
        Failed(reason="http-500", status=500),
        Failed(reason="http-503", status=503),
        Failed(reason="timeout"),
        Failed(reason="http-429", status=429, retry_after=40 * MINUTE),
        Failed(reason="address-not-allowed", retryable=False),
        Postponed(reason="no socket"),
    ]
)
places = st.integers(0, 1_000)
tenants = st.sampled_from(TENANTS)
endpoints = st.sampled_from(ENDPOINTS)


@dataclass(frozen=True, slots=True)
class Running:
    """An attempt under way."""

    row: Delivery
    began: int


class LedgerMachine(RuleBasedStateMachine):
    """A ledger and all who move its deliveries. `open_world` says which database it is on."""

    open_world: ClassVar[OpenWorld]

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._context = type(self).open_world(Path(self._folder.name))
        self._unrouted: list[Known] = []
        self._running: list[Running] = []
        self._seen: dict[Key, Any] = {}
        self._count = 0

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    @initialize()
    def open(self) -> None:
        """An empty ledger, two tenants with the same two endpoints."""
        self._world = world = self._run(self._context.__aenter__())
        dice = SeededDice()
        keeping = Keeping(parked=7 * DAY, events=30 * DAY)
        self._directory = SqlDirectory(world.database, Vault([bytes(32)], dice), world.clock)
        self._upkeep = SqlUpkeep(world.database, world.ledger, TABLE, keeping)
        standing = SqlStanding(world.database, TABLE)
        tidying = SqlLeftovers(world.database, world.database, world.clock, keep=30 * DAY)
        tidy = {"forgotten": self._upkeep.forget, "tidied": tidying.tidy}
        self._sweep = Sweep(upkeep_steps(self._upkeep), world.clock, standing, tidying=tidy)
        self._run(standing.begin())
        self._states: dict[tuple[str, str], EndpointState] = {}
        for tenant_id in TENANTS:
            for endpoint_id in ENDPOINTS:
                self._run(self._make_endpoint(tenant_id, endpoint_id))

    async def _make_endpoint(self, tenant_id: str, endpoint_id: str) -> None:
        await self._directory.save_endpoint(
            Endpoint(
                tenant_id=tenant_id,
                id=endpoint_id,
                url="https://example.com/hook",
                secrets=(SigningSecret(key=bytes(32), private_key=bytes(32)),),
            )
        )
        self._states[(tenant_id, endpoint_id)] = EndpointState.ACTIVE

    def teardown(self) -> None:
        """Close the ledger."""
        if hasattr(self, "_world"):
            self._run(self._context.__aexit__(None, None, None))
        self._runner.close()
        self._folder.cleanup()

    # ---------------------------------------------------------------- events

    @rule(tenant_id=tenants)
    def accept(self, tenant_id: str) -> None:
        """An event is published."""
        self._count += 1
        self._unrouted.append(self._run(self._world.accept(f"evt-{self._count}", tenant_id)))

    @precondition(lambda self: self._unrouted)
    @rule(
        place=places,
        whom=st.sets(endpoints, min_size=1),
        first=st.lists(st.one_of(st.none(), outcomes), min_size=3, max_size=3),
        dice=st.floats(0, 0.999),
    )
    def route(self, place: int, whom: set[str], first: list[Outcome | None], dice: float) -> None:
        """An event is routed; first attempts come back, or go on without their message."""
        known = self._unrouted.pop(place % len(self._unrouted))
        results = self._planned(known, Channel.REALTIME, ["ada"], [Delivered()], dice)
        results += self._planned(known, Channel.WEBHOOK, sorted(whom), first, dice)
        self._run(self._world.ledger.record(Record(results=results, wakes=self._wakes(results))))

    def _planned(
        self,
        known: Known,
        channel: Channel,
        targets: Sequence[str],
        first: Sequence[Outcome | None],
        dice: float,
    ) -> list[Result]:
        there = [t for t in targets if channel is Channel.REALTIME or self._is_there(known, t)]
        route = Route(targets=tuple(there)) if there else Route(reason="no-endpoint")
        now = self._world.clock.now()
        ids = [self._world.number() for _ in there or (0,)]
        planned = plan(known, channel, route, ids=ids, now=now, table=TABLE)
        results = []
        for delivery, outcome in zip(planned, first, strict=False):
            if delivery.state is not State.PENDING:
                results.append(Result(before=None, after=delivery))
            elif outcome is None:
                row = rules.claimed(delivery, until=now + CLAIM)
                self._running.append(Running(row, now))
                results.append(Result(before=None, after=row))
            else:
                met = self._met(delivery, outcome)
                results.append(self._result(None, delivery, met, now, dice))
        return results

    def _is_there(self, known: Known, endpoint_id: str) -> bool:
        return (known.event.tenant_id, endpoint_id) in self._states

    # ---------------------------------------------------------------- attempts

    @precondition(lambda self: self._lanes())
    @rule(place=places, limit=st.integers(0, 5), wait=st.booleans())
    def drain(self, place: int, limit: int, wait: bool) -> None:
        """A drain claims what is due, now or when its time has come; its attempts are under way."""
        lanes = sorted(self._lanes().items())
        lane, due_at = lanes[place % len(lanes)]
        self._running += self._claimed(lane, due_at if wait else 0, limit)

    @precondition(lambda self: self._lanes())
    @rule(
        place=places, outcomes=st.lists(outcomes, min_size=1, max_size=4), dice=st.floats(0, 0.999)
    )
    def work_off(self, place: int, outcomes: list[Outcome], dice: float) -> None:
        """A lane is drained time and again, each of its attempts with the same outcome."""
        lanes = sorted(self._lanes().items())
        lane, _ = lanes[place % len(lanes)]
        for outcome in outcomes:
            self._seen = {(row.tenant_id, row.id): row for row in self._rows()}
            for running in self._claimed(lane, self._lanes().get(lane, 0), limit=20):
                met = self._met(running.row, outcome)
                result = self._result(running.row, running.row, met, running.began, dice)
                record = Record(results=[result], wakes=self._wakes([result]))
                self._run(self._world.ledger.record(record))

    def _claimed(self, lane: str, due_at: int, limit: int) -> list[Running]:
        self._world.clock.at = max(self._world.clock.at, due_at)
        until = self._world.clock.now() + CLAIM
        claim = self._run(self._world.ledger.claim(lane, limit=limit, until=until))
        for delivery, _ in claim.deliveries:
            assert delivery.attempt < TABLE.attempts
            assert delivery.lane == lane
        self._run(self._world.ledger.record(Record(drained=(lane, until))))
        return [Running(delivery, self._world.clock.now()) for delivery, _ in claim.deliveries]

    def _lanes(self) -> dict[str, int]:
        """When each lane with something pending has something due."""
        due: dict[str, int] = {}
        for row in self._seen.values():
            if row.state == "pending":
                due[row.lane] = min(row.due_at, due.get(row.lane, row.due_at))
        return due

    @precondition(lambda self: self._running)
    @rule(place=places, outcome=outcomes, dice=st.floats(0, 0.999), again=st.booleans())
    def come_back(self, place: int, outcome: Outcome, dice: float, again: bool) -> None:
        """An attempt comes back: in time, long after its claim ran out, or a second time."""
        place %= len(self._running)
        running = self._running[place] if again else self._running.pop(place)
        met = self._met(running.row, outcome)
        result = self._result(running.row, running.row, met, running.began, dice)
        self._run(self._world.ledger.record(Record(results=[result], wakes=self._wakes([result]))))

    @precondition(lambda self: self._running)
    @rule()
    def crash(self) -> None:
        """The process dies with its attempts; the next one frees their claims."""
        self._running.clear()
        self._run(self._world.ledger.release_claims())

    def _met(self, delivery: Delivery, outcome: Outcome) -> Outcome:
        """What the channel says of an endpoint that takes none."""
        if delivery.channel is not Channel.WEBHOOK:
            return outcome
        state = self._states.get((delivery.tenant_id, delivery.target))
        if state is None:
            return Skipped(reason="endpoint-deleted")
        if state is not EndpointState.ACTIVE:
            return Parked(reason=f"endpoint-{state}")
        return outcome

    def _result(
        self, row: Delivery | None, delivery: Delivery, outcome: Outcome, began: int, dice: float
    ) -> Result:
        now = self._world.clock.now()
        after = rules.attempted(delivery, outcome, now=now, table=TABLE, dice=dice)
        attempt = None
        if isinstance(outcome, Delivered | Failed):
            attempt = Attempt(
                round=delivery.round,
                number=delivery.attempt + 1,
                at=began,
                duration_ms=now - began,
                outcome=outcome,
            )
        return Result(before=row, after=after, attempt=attempt)

    def _wakes(self, results: Sequence[Result]) -> dict[str, int]:
        return {
            result.after.lane: result.after.due_at
            for result in results
            if result.after.state is State.PENDING
            and not result.after.claimed
            and result.after.due_at is not None
        }

    # ---------------------------------------------------------------- people

    @precondition(lambda self: self._states)
    @rule(place=places, state=st.sampled_from([EndpointState.PAUSED, EndpointState.DISABLED]))
    def hold(self, place: int, state: EndpointState) -> None:
        """An endpoint is paused or disabled."""
        self._set(*sorted(self._states)[place % len(self._states)], state)

    @precondition(lambda self: self._held())
    @rule(place=places, sweep=st.booleans())
    def resume(self, place: int, sweep: bool) -> None:
        """An endpoint is resumed; the sweep that it asks for comes at once, or a while later."""
        held = self._held()
        self._set(*held[place % len(held)], EndpointState.ACTIVE)
        if sweep:
            self._run(self._sweep.sweep())

    def _held(self) -> list[tuple[str, str]]:
        return sorted(
            name for name, state in self._states.items() if state is not EndpointState.ACTIVE
        )

    def _set(self, tenant_id: str, endpoint_id: str, state: EndpointState) -> None:
        changed = self._run(
            self._directory.change_endpoint(
                tenant_id, endpoint_id, lambda each: replace(each, state=state)
            )
        )
        assert (changed is not None) == ((tenant_id, endpoint_id) in self._states)
        if changed is not None:
            self._states[(tenant_id, endpoint_id)] = state

    @precondition(lambda self: self._states)
    @rule(place=places)
    def delete(self, place: int) -> None:
        """An endpoint is deleted, most likely one that holds something; what is open of it ends."""
        parked = {(row.tenant_id, row.target) for row in self._seen.values() if row.reason} & set(
            self._held()
        )
        names = sorted(parked or self._states)
        tenant_id, endpoint_id = names[place % len(names)]
        assert self._run(self._directory.delete_endpoint(tenant_id, endpoint_id))
        del self._states[(tenant_id, endpoint_id)]
        open_ones = [
            row
            for row in self._rows()
            if (row.tenant_id, row.channel, row.target) == (tenant_id, "webhook", endpoint_id)
            and row.state not in TERMINAL
        ]
        assert open_ones == []

    @rule(tenant_id=tenants, endpoint_id=endpoints)
    def make(self, tenant_id: str, endpoint_id: str) -> None:
        """An endpoint is made, where it was deleted."""
        if (tenant_id, endpoint_id) not in self._states:
            self._run(self._make_endpoint(tenant_id, endpoint_id))

    @precondition(lambda self: self._seen)
    @rule(place=places)
    def retry(self, place: int) -> None:
        """Somebody retries a delivery by hand."""
        key = sorted(self._seen)[place % len(self._seen)]
        before = self._seen[key]
        try:
            again = self._run(self._upkeep.retry(*key))
        except Conflict:
            assert before.state in ("delivered", "skipped") or before.claimed
        else:
            # What is due and untried already, in nobody's hands, is no sooner by another round.
            now = self._world.clock.now()
            waits = (
                before.attempt == 0
                and not before.claimed
                and before.due_at is not None
                and before.due_at <= now < before.deadline
            )
            assert (again.round, again.attempt) == (before.round + (not waits), 0)

    # ---------------------------------------------------------------- time

    @rule(
        ms=st.one_of(st.integers(0, MINUTE), st.integers(0, 3 * HOUR), st.just(8 * DAY)),
        swept=st.booleans(),
    )
    def pass_time(self, ms: int, swept: bool) -> None:
        """Time passes, on a machine that works, sleeps or is stopped."""
        self._world.clock.at += ms
        if swept:
            self._run(self._sweep.sweep())

    @rule()
    def sweep(self) -> None:
        """The sweep looks."""
        moved = self._run(self._sweep.sweep())
        assert set(moved) == {"unparked", "ended", "woken", "forgotten", "tidied"}

    # ---------------------------------------------------------------- what holds

    def _rows(self) -> Sequence[Any]:
        return self._run(
            self._world.database.read(
                lambda connection: connection.execute(sa.select(tables.deliveries)).all()
            )
        )

    @invariant()
    def it_tells_the_truth(self) -> None:
        """After every step."""
        if not hasattr(self, "_world"):
            return
        self._audit()
        rows = {(row.tenant_id, row.id): row for row in self._rows()}
        self._only_moved_on(rows)
        self._seen = rows
        self._attempts_count()

    def _audit(self) -> None:
        """Nothing is missing, no row says what is not so. Where the bus is in another database, a
        subclass looks for it there."""
        expected = expectations(self._world.clock.now())

        def look(connection: sa.Connection) -> AuditReport:
            bus = OnBus(connection, expected.topic, expected.subscriptions)
            return audit(connection, bus, expected)

        report = self._run(self._world.database.read(look))
        assert report.violations == [], report.violations
        assert report.missing == 0

    def _only_moved_on(self, rows: dict[Key, Any]) -> None:
        """What ended stays ended unless a new round begins; rounds and attempts only grow, and
        attempts never beyond the table."""
        for key, row in rows.items():
            assert 0 <= row.attempt <= TABLE.attempts, row
            assert (row.due_at is not None) == (row.state == "pending"), row
            assert row.claimed in ((0, 1) if row.state == "pending" else (0,)), row
            before = self._seen.get(key)
            if before is None:
                continue
            assert row.round >= before.round, (before, row)
            if row.round > before.round:
                assert before.state not in ("delivered", "skipped"), (before, row)
                continue
            assert row.attempt >= before.attempt, (before, row)
            assert row.deadline == before.deadline, (before, row)
            if before.state in TERMINAL:
                assert (row.state, row.reason) == (before.state, before.reason), (before, row)
        gone = [before for key, before in self._seen.items() if key not in rows]
        assert all(before.state in TERMINAL for before in gone), gone

    def _attempts_count(self) -> None:
        """A round has as many attempts as its number says, each once, and at most one success."""
        made = self._run(
            self._world.database.read(
                lambda connection: connection.execute(sa.select(tables.attempts)).all()
            )
        )
        numbers: dict[tuple[str, int, int], list[int]] = {}
        for attempt in made:
            key = (attempt.tenant_id, attempt.delivery_id, attempt.round)
            numbers.setdefault(key, []).append(attempt.number)
        for (tenant_id, delivery_id), row in self._seen.items():
            if row.first_at is not None:
                numbers.setdefault((tenant_id, delivery_id, 1), []).append(1)
            mine = sorted(numbers.get((tenant_id, delivery_id, row.round), ()))
            assert mine == list(range(1, row.attempt + 1)), (row, mine)
        assert {key[:2] for key in numbers} <= set(self._seen)
        assert all(max(each) <= TABLE.attempts for each in numbers.values())
