"""One channel's work: route events, make first attempts, drain lanes.

No handler ever waits for a busy endpoint. First attempts run while their message is in hand; those
that have not come back after `grace` are written down as claimed and go on without it, and what
finds no place in its lane waits in the ledger for a drain. A drain works off one page and hands
over to the next, which goes to the back of the queue: lanes take turns.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from notifications import deliveries as rules
from notifications.attempts import Attempts, Policy, Running
from notifications.crashpoints import Point, between
from notifications.deliveries import Delivery, Postponed, State
from notifications.drain_turns import TOGETHER, DrainTurns
from notifications.errors import RejectedMessage
from notifications.events import Channel, Event, Known
from notifications.intake import Intake
from notifications.lanes import Lanes
from notifications.messages import Abandon, Complete, DeadLetter, Received, Settlement
from notifications.outage import Outage
from notifications.ports import ChannelAdapter, Clock, Dice, Ledger
from notifications.records import Result
from notifications.routing import is_drain, lane_of, plan
from notifications.timing import Numbers

__all__ = ["Dispatcher", "Policy"]


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
        outage: Outage | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wire it.

        Args:
            channel: Whose messages it handles; what else is not said here is as its name says.
            outage: The one that all of the process share.
            stopping: Whether the process is about to end: then no drain begins anything more.
        """
        self.channel = channel
        self._stopping = stopping
        self._place = list(Channel).index(channel)
        self._adapter = adapter
        self._ledger = ledger
        self._intake = intake
        self._lanes = lanes
        self._policy = policy
        self._clock = clock
        self._numbers = numbers
        self._attempts = Attempts(
            channel,
            adapter,
            ledger=ledger,
            lanes=lanes,
            policy=policy,
            clock=clock,
            dice=dice,
            outage=outage,
        )
        self._turns = DrainTurns()
        self._first: set[int] = set()  # events whose first attempts are under way: their claim

    async def handle(self, messages: Sequence[Received]) -> list[Settlement]:
        """Deal with messages; one settlement each, in order.

        Raises:
            Unavailable: Something of ours is away; nothing is lost by handling them again.
        """
        drains = [received for received in messages if is_drain(received.message)]
        if not drains:
            return await self._events(messages)
        events = [received for received in messages if not is_drain(received.message)]
        # All are waited for: a failure of one must not leave the others behind at work.
        ended = await asyncio.gather(
            self._events(events), *map(self._drain, drains), return_exceptions=True
        )
        settled: list[Settlement] = []
        for answer in ended:
            if isinstance(answer, BaseException):
                raise answer
            settled += answer
        by_number = dict(
            zip([each.sequence_number for each in (*events, *drains)], settled, strict=True)
        )
        return [by_number[received.sequence_number] for received in messages]

    async def close(self) -> None:
        """Wait for the attempts that go on in the background."""
        await self._attempts.close()

    # ---------------------------------------------------------------- first attempts

    async def _events(self, messages: Sequence[Received]) -> list[Settlement]:
        if not messages:
            return []
        answers = await between(
            Point.ROUTE_BEGINS, self._intake.read(messages, self.channel), Point.ROUTE_READ
        )
        known = [answer for answer in answers if isinstance(answer, Known)]
        mine = self._claim_first(known)
        completes = [
            received
            for received, answer in zip(messages, answers, strict=True)
            if isinstance(answer, Known)
        ]
        try:
            planned = []
            for each in mine:
                planned += [(delivery, each.event) for delivery in await self._plan(each)]
            await self._first_attempts(planned, completes)
        finally:
            self._first.difference_update(each.key for each in mine)
        return [Complete() if isinstance(answer, Known) else answer for answer in answers]

    def _claim_first(self, known: Sequence[Known]) -> list[Known]:
        """Those to be routed now: carried by this channel, without rows, in nobody's hands."""
        mine = []
        for each in known:
            if self.channel in each.channels and not each.routed and each.key not in self._first:
                self._first.add(each.key)
                mine.append(each)
        return mine

    async def _plan(self, known: Known) -> list[Delivery]:
        route = await between(
            Point.ROUTE_READ, self._adapter.route(known.event), Point.ROUTE_CHOSEN
        )
        ids = self._ids(known.key, max(len(route.targets), 1))
        now = self._clock.now()
        return plan(known, self.channel, route, ids=ids, now=now, table=self._policy.table)

    def _ids(self, key: int, count: int) -> list[int]:
        """The deliveries' numbers: out of the event's own block, so that an event that is routed
        again after a crash makes the same mails, not others; beyond it, new ones."""
        share = (self._numbers.BLOCK - 1) // len(Channel)
        first = key + 1 + share * self._place
        own = [first + place for place in range(min(count, share))]
        return own + [self._numbers.next() for _ in range(count - len(own))]

    async def _first_attempts(
        self, planned: Sequence[tuple[Delivery, Event]], completes: Sequence[Received]
    ) -> None:
        for lane in {one.lane for one, _ in planned if one.state is State.PENDING}:
            rate = await between(Point.ROUTE_PACES, self._adapter.rate(lane), Point.ROUTE_PACED)
            self._lanes.pace(lane, rate)
        now = self._clock.now()
        others: list[Result] = []
        entered: list[tuple[Delivery, Event]] = []
        for delivery, event in planned:
            if self._attempts.in_hand(delivery):
                # Begun when its message was here before, which failed: what comes of it is to be
                # written into this row.
                others.append(Result(before=None, after=self._claimed(delivery)))
            elif delivery.state is State.PENDING and self._lanes.enter(
                delivery.lane, self.channel, now=now
            ):
                entered.append((delivery, event))
            else:
                others.append(Result(before=None, after=delivery))  # skipped, or waits: due now
        if self._policy.shared:
            running = await self._start_claimed(entered, others)
            others = []
        else:
            running = [self._attempts.start(each, event, row=None) for each, event in entered]
        done, slow = await self._attempts.within_grace(running)
        slow = [one if one.row else replace(one, row=self._claimed(one.delivery)) for one in slow]
        if not self._policy.shared:
            others += [Result(before=None, after=one.row) for one in slow if one.row]
        await self._attempts.end(done, slow, others=others, completes=completes)

    async def _start_claimed(
        self, entered: Sequence[tuple[Delivery, Event]], others: Sequence[Result]
    ) -> list[Running]:
        """Write everything down first; begin those attempts whose claim nobody had before."""
        rows = [self._claimed(delivery) for delivery, _ in entered]
        claims = [Result(before=None, after=row) for row in rows]
        mine: list[bool] = []
        try:
            written = await self._attempts.route([*claims, *others])
            mine = [answer.ok for answer in written[: len(claims)]]
        finally:
            for index, row in enumerate(rows):
                if not mine or not mine[index]:
                    self._leave_untried(row.lane)
        return [
            self._attempts.start(delivery, event, row=row)
            for (delivery, event), row, ok in zip(entered, rows, mine, strict=True)
            if ok
        ]

    def _claimed(self, delivery: Delivery) -> Delivery:
        return rules.claimed(delivery, until=self._clock.now() + self._policy.claim)

    def _leave_untried(self, lane: str) -> None:
        now = self._clock.now()
        self._lanes.leave(lane, Postponed(reason="not-ours"), began=now, now=now)

    # ---------------------------------------------------------------- drains

    async def _drain(self, received: Received) -> list[Settlement]:
        """Work off a page of the lane's due deliveries, then hand over to its next drain."""
        try:
            lane = lane_of(received.message, self.channel)
        except RejectedMessage as error:
            return [DeadLetter(error.reason, error.description)]
        async with self._turns.claiming:
            if self._stopping():
                return [Abandon()]
            until, running, others = await self._claim(lane)
        done, slow = await self._attempts.within_grace(running)
        await self._attempts.end(
            done, slow, others=others, completes=[received], drained=(lane, until)
        )
        return [Complete()]

    async def _claim(self, lane: str) -> tuple[int, list[Running], list[Result]]:
        """Claim a page and begin it: until when, what is under way, and what goes on waiting."""
        rate = await between(Point.DRAIN_BEGINS, self._adapter.rate(lane), Point.DRAIN_PACED)
        self._lanes.pace(lane, rate)
        now = self._clock.now()
        room = self._lanes.room(lane, self.channel, now=now)
        until = now + self._policy.claim
        claim = await between(
            Point.CLAIM_BEGINS,
            self._ledger.claim(lane, limit=room, until=until),
            Point.CLAIM_ENDS,
        )
        self._lanes.learn(claim.health)
        if len(claim.deliveries) == room:
            self._lanes.want(lane)
        return until, *await self._begin_in_turn(lane, claim.deliveries)

    async def _begin_in_turn(
        self, lane: str, claimed: Sequence[tuple[Delivery, Event]]
    ) -> tuple[list[Running], list[Result]]:
        """Begin attempts a few at a time; what is under way, and what goes on waiting."""
        running: list[Running] = []
        others: list[Result] = []
        try:
            for first in range(0, len(claimed), TOGETHER):
                async with self._turns:
                    begun = self._begin(lane, claimed[first : first + TOGETHER], others)
                    running += begun
                    await self._turns.begun(one.task for one in begun)
        except asyncio.CancelledError:  # the process stops: what is out is still written down
            self._attempts.let_go(running)
            raise
        return running, others

    def _begin(
        self, lane: str, claimed: Sequence[tuple[Delivery, Event]], others: list[Result]
    ) -> list[Running]:
        """Begin those that there is room for; `others` gets those that go on waiting."""
        now = self._clock.now()
        running = []
        for delivery, event in claimed:
            if self._attempts.in_hand(delivery):
                continue  # its outcome is still to be written; it stays claimed until then
            if not self._stopping() and self._lanes.enter(lane, self.channel, now=now, probe=True):
                running.append(self._attempts.start(delivery, event, row=delivery))
            else:
                waits = rules.waiting(delivery, due_at=now)
                others.append(Result(before=delivery, after=waits))
        return running
