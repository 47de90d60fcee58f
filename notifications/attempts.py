"""Making attempts at one channel's deliveries, and writing down what came of them.

An attempt may outlive the message or drain that began it: it then goes on in the background and
is recorded when it comes back.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from notifications import deliveries as rules
from notifications import spans, tracing
from notifications.crashpoints import Point, between, passing
from notifications.deliveries import (
    Attempt,
    Delivery,
    Failed,
    Outcome,
    Parked,
    Postponed,
    Skipped,
    State,
)
from notifications.errors import StoreUnavailable, Unavailable
from notifications.events import Channel, Event
from notifications.lanes import Health, Lanes
from notifications.messages import Received
from notifications.outage import DATABASE, Outage
from notifications.ports import ChannelAdapter, Clock, Dice, Ledger
from notifications.records import Attempted, Record, Result, Written
from notifications.retries import SECOND, RetryTable

log = logging.getLogger("huntaze")

_Stand = tuple[str, int, int, int]
"""Tenant, delivery, round and attempts made: which attempt comes next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient a dispatcher is.

    Attributes:
        table: The retries.
        grace: Seconds that a message is kept in hand for its attempts. On Functions, where
            nothing may go on after the handler returned, as long as an attempt can take.
        claim: Milliseconds after which an attempt that was never recorded is due again: longer
            than an attempt can take.
        patience: Seconds to go on trying to write outcomes while the database is away.
        shared: Whether other processes work on the same ledger: then first attempts, too, are
            claimed in their rows before they are made.
    """

    table: RetryTable
    grace: float
    claim: int
    patience: float
    shared: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """An attempt under way.

    Attributes:
        row: The delivery as the ledger has it; None where it has no row yet.
        delivery: The delivery as it is tried.
        event: What is delivered.
        task: The attempt.
    """

    row: Delivery | None
    delivery: Delivery
    event: Event
    task: asyncio.Task["Made"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An attempt that came back.

    Attributes:
        attempted: With what.
        began: When it began, ms since the epoch.
        ended: When it came back.
        health: The lane's health where the attempt changed it.
    """

    attempted: Attempted
    began: int
    ended: int
    health: Health | None


class Attempts:
    """Attempts of one channel."""

    def __init__(
        self,
        channel: Channel,
        adapter: ChannelAdapter,
        *,
        ledger: Ledger,
        lanes: Lanes,
        policy: Policy,
        clock: Clock,
        dice: Dice,
        outage: Outage | None = None,
    ) -> None:
        """Wire it; `outage` is the one that all of the process share."""
        self._channel = channel
        self._adapter = adapter
        self._ledger = ledger
        self._lanes = lanes
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._outage = outage or Outage(clock)
        self._background: set[asyncio.Task[None]] = set()
        self._in_hand: set[_Stand] = set()

    def start(self, delivery: Delivery, event: Event, *, row: Delivery | None) -> Running:
        """Begin an attempt at a delivery that has a place in its lane."""
        self._in_hand.add(_stand(delivery))
        task = asyncio.create_task(self._attempt(delivery, event))
        return Running(row, delivery, event, task)

    def in_hand(self, delivery: Delivery) -> bool:
        """Whether its next attempt was begun here and is not written down yet.

        Its claim may have run out meanwhile, when the database was away for longer: who finds
        the delivery due again must not make the attempt a second time.
        """
        return _stand(delivery) in self._in_hand

    async def within_grace(self, running: Sequence[Running]) -> tuple[list[Running], list[Running]]:
        """Those that came back within the grace, and those that did not.

        Whoever is cancelled meanwhile leaves those that have a row to go on in the background. The
        others' event comes again, with all of its targets: of what it became, one commit says all.
        """
        try:
            if running:
                await asyncio.wait([one.task for one in running], timeout=self._policy.grace)
        except asyncio.CancelledError:
            self.let_go(running)
            raise
        done = [one for one in running if one.task.done()]
        return done, [one for one in running if not one.task.done()]

    async def end(
        self,
        done: Sequence[Running],
        slow: Sequence[Running],
        *,
        others: Sequence[Result],
        completes: Sequence[Received],
        drained: tuple[str, int] | None = None,
    ) -> None:
        """Write down what came back, as `record` does; what did not goes on in the background.

        Where this is cancelled, all that has a row does: what is written twice is found to be, and
        left.
        """
        try:
            await self.record(done, others=others, completes=completes, drained=drained)
        except asyncio.CancelledError:
            self.let_go(done)
            raise
        finally:
            for one in slow:
                self.go_on(one)

    async def record(
        self,
        done: Sequence[Running],
        *,
        others: Sequence[Result] = (),
        completes: Sequence[Received] = (),
        drained: tuple[str, int] | None = None,
    ) -> None:
        """Write down what came back, with everything else that belongs to the same commit.

        Raises:
            StoreUnavailable: The database was away for longer than there is patience. What came
                back is written in the background, for as long as this process lives: a message
                may be given back, but what was sent must not be sent again.
        """
        kept = False
        try:
            await self._record(done, others, completes, drained)
        except StoreUnavailable:
            kept = True
            for one in done:
                self.go_on(one)
            raise
        finally:
            if not kept:
                self._in_hand.difference_update(_stand(one.delivery) for one in done)

    async def _record(
        self,
        done: Sequence[Running],
        others: Sequence[Result],
        completes: Sequence[Received],
        drained: tuple[str, int] | None,
    ) -> None:
        if not (done or others or completes or drained):
            return
        results = [self._result(one) for one in done]
        health = tuple(made.health for one in done if (made := one.task.result()).health)
        wakes = self._wakes([*results, *others], health)
        if drained is not None:
            wakes[drained[0]] = self._lanes.open_at(
                drained[0], self._channel, now=self._clock.now()
            )
        written = await self._record_patiently(
            Record(
                results=[*results, *others],
                completes=completes,
                wakes=wakes,
                health=health,
                drained=drained,
            )
        )
        await self._tell(done, results, written)

    async def route(self, results: Sequence[Result]) -> Sequence[Written]:
        """Write down new deliveries before any attempt: which of the claims are ours.

        Raises:
            Unavailable: None was written, or nobody knows.
        """
        if not results:
            return ()
        record = Record(results=results, wakes=self._wakes(results, ()))
        return await between(Point.ROUTE_CLAIMS, self._ledger.record(record), Point.ROUTE_CLAIMED)

    def go_on(self, one: Running) -> None:
        """Let an attempt go on in the background; it is recorded when it comes back."""
        task = asyncio.create_task(self._finish(one), name=f"attempt-{one.delivery.id}")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def let_go(self, running: Sequence[Running]) -> None:
        """Whoever began these is cancelled: those that have a row go on in the background."""
        for one in running:
            if one.row is not None:
                self.go_on(one)

    async def close(self) -> None:
        """Wait for the attempts that go on in the background."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    # ---------------------------------------------------------------- one attempt

    async def _attempt(self, delivery: Delivery, event: Event) -> Made:
        """Try once; whatever happens comes back as a value, and the lane's place is given back."""
        began = self._clock.now()
        attempted = Attempted(outcome=Failed(reason="interrupted"))
        try:
            if tracing.active is None:
                attempted = await between(
                    Point.ATTEMPT_BEGINS, self._adapter.attempt(delivery, event), Point.ATTEMPT_ENDS
                )
            else:
                spanning = spans.attempt(tracing.active, self._adapter, delivery, event)
                attempted = await between(Point.ATTEMPT_BEGINS, spanning, Point.ATTEMPT_ENDS)
        except Unavailable as error:
            log.warning("delivery.postponed", extra={**event.log_context(), "detail": str(error)})
            attempted = Attempted(outcome=Postponed(reason=str(error)))
        except Exception as error:
            log.exception("delivery.attempt_raised", extra=event.log_context())
            attempted = Attempted(
                outcome=Failed(reason="internal-error", detail=type(error).__name__)
            )
        finally:
            ended = self._clock.now()
            health = self._lanes.leave(delivery.lane, attempted.outcome, began=began, now=ended)
        return Made(attempted=attempted, began=began, ended=ended, health=health)

    def _result(self, one: Running) -> Result:
        made = one.task.result()
        outcome = made.attempted.outcome
        after = rules.attempted(
            one.delivery,
            outcome,
            now=made.ended,
            table=self._policy.table,
            dice=self._dice.roll(),
        )
        if after.state is State.PARKED:
            passing(Point.PARK_DECIDED)
        attempt = None
        if not isinstance(outcome, Skipped | Parked | Postponed):
            attempt = Attempt(
                round=one.delivery.round,
                number=one.delivery.attempt + 1,
                at=made.began,
                duration_ms=made.ended - made.began,
                outcome=outcome,
            )
        _log(one, outcome, after, made)
        return Result(before=one.row, after=after, attempt=attempt, entry=made.attempted.entry)

    async def _finish(self, one: Running) -> None:
        await asyncio.wait([one.task])
        if one.task.cancelled():
            return  # the process ends, and nobody knows what came of it
        try:
            await self.record([one])
        except StoreUnavailable:
            pass  # it goes on
        except Exception:
            # Its claim runs out and it is tried again: at least once.
            log.exception("delivery.unrecorded", extra=one.event.log_context())

    # ---------------------------------------------------------------- recording

    async def _record_patiently(self, record: Record) -> Sequence[Written]:
        """Outcomes in hand are worth waiting for: what was sent must not be sent again."""
        give_up_at = self._clock.now() + int(self._policy.patience * SECOND)
        while True:
            try:
                placed = await between(
                    Point.RECORD_BEGINS, self._ledger.record(record), Point.RECORD_ENDS
                )
            except StoreUnavailable as error:
                log.warning(
                    "ledger.away", extra={"results": len(record.results), "reason": str(error)}
                )
                self._outage.noticed(DATABASE)
                if not await self._outage.turn(DATABASE, until=give_up_at):
                    raise
            else:
                self._outage.over(DATABASE)
                return placed

    def _wakes(self, results: Sequence[Result], health: Sequence[Health]) -> dict[str, int]:
        """When each lane with something waiting is to be drained."""
        wakes: dict[str, int] = {}
        now = self._clock.now()
        for result in results:
            after = result.after
            if after.state is State.PENDING and not after.claimed and after.due_at is not None:
                lane = after.lane
                due_at = max(after.due_at, self._lanes.open_at(lane, self._channel, now=now))
                wakes[lane] = min(due_at, wakes.get(lane, due_at))
        if self._lanes.wanted:
            for lane in {result.after.lane for result in results}:
                if self._lanes.opened(lane, self._channel, now=now):
                    wakes[lane] = now
        for changed in health:
            if changed.probe_at is not None:
                wakes[changed.lane] = changed.probe_at
        return wakes

    async def _tell(
        self, done: Sequence[Running], results: Sequence[Result], written: Sequence[Written]
    ) -> None:
        """Tell the channel which of its entries are in the inbox. Nothing can undo that."""
        for one, result, answer in zip(done, results, written, strict=False):
            if answer.placed is not None:
                try:
                    tell = self._adapter.recorded(result.after, one.event, answer.placed)
                    await between(Point.TELL_BEGINS, tell, Point.TELL_ENDS)
                except Exception:
                    log.exception("delivery.recorded_raised", extra=one.event.log_context())


def _stand(delivery: Delivery) -> _Stand:
    return (delivery.tenant_id, delivery.id, delivery.round, delivery.attempt)


def _log(one: Running, outcome: Outcome, after: Delivery, made: Made) -> None:
    if isinstance(outcome, Failed):
        log.info(
            "delivery.failed",
            extra={
                **one.event.log_context(),
                "channel": after.channel,
                "target": after.target,
                "attempt": after.attempt,
                "reason": outcome.reason,
                "status": outcome.status,
                "state": after.state,
                "durationMs": made.ended - made.began,
            },
        )
