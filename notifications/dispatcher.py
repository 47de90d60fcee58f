"""One channel's work: route events, attempt deliveries, record what came of it, drain lanes.

No handler ever waits for a busy endpoint. First attempts run while their message is in hand; those
that have not come back after `grace` are written down as claimed and go on without it, and what
finds no place in its lane waits in the ledger for a drain.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from notifications import deliveries as rules
from notifications.deliveries import Attempt, Delivery, Failed, Outcome, Parked, Skipped, State
from notifications.errors import RejectedMessage, StoreUnavailable
from notifications.events import Channel, Event
from notifications.intake import Intake
from notifications.lanes import Health, Lanes
from notifications.ports import (
    Attempted,
    ChannelAdapter,
    Clock,
    Complete,
    DeadLetter,
    Dice,
    Known,
    Ledger,
    Placed,
    Received,
    Record,
    Result,
    Settlement,
)
from notifications.retries import SECOND, RetryTable
from notifications.routing import lane_of, plan
from notifications.timing import Numbers

log = logging.getLogger("huntaze")

BUSY_LANE_RETRY = 500
"""When a drain that found no room in its lane looks again, ms."""

DRAIN_FOR = 20 * SECOND
"""How long one drain message works its lane before it hands over to the next."""

_RECORD_AGAIN_S = 1.0


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
    """

    table: RetryTable
    grace: float
    claim: int
    patience: float


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """An attempt under way."""

    delivery: Delivery
    event: Event
    task: asyncio.Task["_Made"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """An attempt that came back."""

    attempted: Attempted
    at: int
    duration_ms: int
    now: int
    health: Health | None


class Dispatcher:
    """Handles one channel's messages; the same on one machine and on Functions."""

    def __init__(
        self,
        channel: Channel,
        adapter: ChannelAdapter,
        *,
        ledger: Ledger,
        intake: Intake,
        lanes: Lanes,
        policy: Policy,
        clock: Clock,
        dice: Dice,
        numbers: Numbers,
    ) -> None:
        self.channel = channel
        self._adapter = adapter
        self._ledger = ledger
        self._intake = intake
        self._lanes = lanes
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._numbers = numbers
        self._background: set[asyncio.Task[None]] = set()

    async def handle(self, messages: Sequence[Received]) -> list[Settlement]:
        """Deal with messages; one settlement each, in order.

        Raises:
            Unavailable: Something of ours is away; nothing is lost by handling them again.
        """
        drains = [m for m in messages if m.message.properties.get("hubKind") == "drain"]
        events = [m for m in messages if m.message.properties.get("hubKind") != "drain"]
        settled: dict[int, Settlement] = {}
        for message in drains:
            settled[message.sequence_number] = await self._drain_message(message)
        if events:
            for message, settlement in zip(events, await self._events(events), strict=True):
                settled[message.sequence_number] = settlement
        return [settled[message.sequence_number] for message in messages]

    async def close(self) -> None:
        """Wait for the attempts that go on in the background."""
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)

    # ---------------------------------------------------------------- first attempts

    async def _events(self, messages: Sequence[Received]) -> list[Settlement]:
        answers = await self._intake.read(messages, self.channel)
        settlements: list[Settlement] = []
        completes: list[Received] = []
        planned: list[tuple[Delivery, Event]] = []
        for received, answer in zip(messages, answers, strict=True):
            if isinstance(answer, DeadLetter):
                settlements.append(answer)
                continue
            settlements.append(Complete())
            completes.append(received)
            if self.channel in answer.channels and not answer.routed:
                planned += [(d, answer.event) for d in await self._plan(answer)]
        await self._first_attempts(planned, completes)
        return settlements

    async def _plan(self, known: Known) -> list[Delivery]:
        route = await self._adapter.route(known.event)
        ids = [self._numbers.next() for _ in range(max(len(route.targets), 1))]
        now = self._clock.now()
        return plan(known, self.channel, route, ids=ids, now=now, table=self._policy.table)

    async def _first_attempts(
        self, planned: Sequence[tuple[Delivery, Event]], completes: Sequence[Received]
    ) -> None:
        now = self._clock.now()
        results: list[Result] = []
        running: list[_Running] = []
        for delivery, event in planned:
            if delivery.state is not State.PENDING:
                results.append(Result(before=None, after=delivery))
            elif self._lanes.enter(delivery.lane, self.channel, now=now):
                running.append(self._start(delivery, event))
            else:
                due_at = max(now, self._lanes.health(delivery.lane).probe_at or 0)
                after = rules.waiting(delivery, due_at=due_at)
                results.append(Result(before=None, after=after))
        done, slow = await self._wait(running)
        finished = [self._result(one, before=None) for one in done]
        until = self._clock.now() + self._policy.claim
        for one in slow:
            after = rules.claimed(one.delivery, until=until)
            results.append(Result(before=None, after=after))
        await self._record(
            [result for result, _ in finished] + results,
            events=[one.event for one in done],
            completes=completes,
            health=[health for _, health in finished if health],
        )
        for one in slow:
            self._go_on(one, before=rules.claimed(one.delivery, until=until))

    # ---------------------------------------------------------------- drains

    async def _drain_message(self, received: Received) -> Settlement:
        try:
            lane = lane_of(received.message)
        except RejectedMessage as error:
            return DeadLetter(error.reason, error.description)
        await self.drain(lane)
        return Complete()

    async def drain(self, lane: str) -> None:
        """Work off a lane's due deliveries, then schedule its next drain."""
        stop_at = self._clock.now() + DRAIN_FOR
        while True:
            now = self._clock.now()
            room = self._lanes.room(lane, self.channel, now=now)
            until = now + self._policy.claim
            claim = await self._ledger.claim(lane, limit=room, until=until)
            self._lanes.learn(claim.health)
            await self._work_off(lane, claim.deliveries)
            now = self._clock.now()
            more = claim.next_due is not None and claim.next_due <= now
            if not more or not claim.deliveries or now >= stop_at:
                await self._end_drain(lane, until, claim.next_due, now)
                return

    async def _end_drain(self, lane: str, until: int, next_due: int | None, now: int) -> None:
        wakes = {}
        if next_due is not None:
            probe_at = self._lanes.health(lane).probe_at or 0
            wakes[lane] = max(next_due, probe_at, now + BUSY_LANE_RETRY if next_due <= now else 0)
        await self._ledger.record(Record(wakes=wakes, drained=(lane, until)))

    async def _work_off(self, lane: str, claimed: Sequence[tuple[Delivery, Event]]) -> None:
        now = self._clock.now()
        probe = self._lanes.health(lane).sick
        running: list[_Running] = []
        results: list[Result] = []
        for delivery, event in claimed:
            if self._lanes.enter(lane, self.channel, now=now, probe=probe):
                running.append(self._start(delivery, event))
            else:
                results.append(Result(before=delivery, after=rules.waiting(delivery, due_at=now)))
        done, slow = await self._wait(running)
        finished = [self._result(one, before=one.delivery) for one in done]
        await self._record(
            [result for result, _ in finished] + results,
            events=[one.event for one in done],
            health=[health for _, health in finished if health],
        )
        for one in slow:
            self._go_on(one, before=one.delivery)

    # ---------------------------------------------------------------- attempts

    def _start(self, delivery: Delivery, event: Event) -> _Running:
        return _Running(delivery, event, asyncio.create_task(self._attempt(delivery, event)))

    async def _attempt(self, delivery: Delivery, event: Event) -> _Made:
        """Try once; whatever happens comes back as a value, and the lane's place is given back."""
        at = self._clock.now()
        begun = time.perf_counter()
        attempted = Attempted(outcome=Failed(reason="interrupted"))
        health = None
        try:
            attempted = await self._adapter.attempt(delivery, event)
        except Exception as error:
            log.exception("delivery.attempt_raised", extra=event.log_context())
            attempted = Attempted(
                outcome=Failed(reason="internal-error", detail=type(error).__name__)
            )
        finally:
            now = self._clock.now()
            health = self._lanes.leave(delivery.lane, attempted.outcome, now=now)
        return _Made(
            attempted=attempted,
            at=at,
            duration_ms=int((time.perf_counter() - begun) * 1000),
            now=now,
            health=health,
        )

    async def _wait(self, running: Sequence[_Running]) -> tuple[list[_Running], list[_Running]]:
        """Those that came back within the grace, and those that did not."""
        if running:
            await asyncio.wait([one.task for one in running], timeout=self._policy.grace)
        done = [one for one in running if one.task.done()]
        return done, [one for one in running if not one.task.done()]

    def _result(self, one: _Running, *, before: Delivery | None) -> tuple[Result, Health | None]:
        made = one.task.result()
        outcome = made.attempted.outcome
        after = rules.attempted(
            one.delivery,
            outcome,
            now=made.now,
            table=self._policy.table,
            dice=self._dice.roll(),
        )
        attempt = None
        if not isinstance(outcome, Skipped | Parked):
            attempt = Attempt(
                round=one.delivery.round,
                number=one.delivery.attempt + 1,
                at=made.at,
                duration_ms=made.duration_ms,
                outcome=outcome,
            )
        _log(one, outcome, after, made)
        entry = made.attempted.entry
        return Result(before=before, after=after, attempt=attempt, entry=entry), made.health

    def _go_on(self, one: _Running, *, before: Delivery) -> None:
        """Let an attempt go on without its message; it is recorded when it comes back."""
        task = asyncio.create_task(self._finish(one, before), name=f"attempt-{one.delivery.id}")
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _finish(self, one: _Running, before: Delivery) -> None:
        await asyncio.wait([one.task])
        result, health = self._result(one, before=before)
        try:
            await self._record([result], events=[one.event], health=[health] if health else [])
        except StoreUnavailable:
            # Its claim runs out and it is tried again: at least once.
            log.warning("delivery.unrecorded", extra=one.event.log_context())

    # ---------------------------------------------------------------- recording

    async def _record(
        self,
        results: Sequence[Result],
        *,
        events: Sequence[Event],
        completes: Sequence[Received] = (),
        health: Iterable[Health] = (),
    ) -> None:
        """Write results, the first `len(events)` of which came of an attempt at that event."""
        if not results and not completes:
            return
        record = Record(
            results=results,
            completes=completes,
            wakes=self._wakes(results),
            health=tuple(health),
        )
        placed = await self._record_patiently(record)
        for result, event, place in zip(results, events, placed, strict=False):
            if place is not None:
                await self._adapter.recorded(result.after, event, place)

    async def _record_patiently(self, record: Record) -> Sequence[Placed | None]:
        """Outcomes in hand are worth waiting for: what was sent must not be sent again."""
        give_up_at = time.monotonic() + self._policy.patience
        while True:
            try:
                return await self._ledger.record(record)
            except StoreUnavailable:
                if time.monotonic() >= give_up_at:
                    raise
                log.warning("ledger.away", extra={"results": len(record.results)})
                await asyncio.sleep(_RECORD_AGAIN_S)

    def _wakes(self, results: Sequence[Result]) -> dict[str, int]:
        wakes: dict[str, int] = {}
        for result in results:
            after = result.after
            if after.state is State.PENDING and not after.claimed and after.due_at is not None:
                lane = after.lane
                due_at = max(after.due_at, self._lanes.health(lane).probe_at or 0)
                wakes[lane] = min(due_at, wakes.get(lane, due_at))
        return wakes


def _log(one: _Running, outcome: Outcome, after: Delivery, made: _Made) -> None:
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
                "durationMs": made.duration_ms,
            },
        )
