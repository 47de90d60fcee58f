"""Replaying a range of events to an endpoint: asking for it, and working it off.

A replay is a row. It is worked off a page at a time, replays in turn; each page and how far it came
are one commit, so that a crash neither skips nor doubles a delivery. A page is taken up only when
the endpoint has little left to do: what is replayed waits in the ledger as it is, not at the end of
a queue where its deadline runs, and new events are never behind more than a page of it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from notifications.crashpoints import Point, between, passing
from notifications.directory import Endpoint, EndpointState
from notifications.errors import FieldError, InvalidInput, NotFound, Unavailable
from notifications.ports import Clock, Directory
from notifications.replays import Kind, Replay, ReplayState, Running, Selection
from notifications.retries import MINUTE
from notifications.timing import Numbers

log = logging.getLogger("huntaze")

EVERY = MINUTE
"""How often it looks for replays that nobody told it of."""

PAGE = 512
"""Deliveries that are taken up at once."""

_RUNNING = 200
_FIRST_PAUSE = 50
_LONGEST_PAUSE = 2_000


class Replays(Protocol):
    """Replays as they are asked for, read and cancelled."""

    async def add(self, replay: Replay) -> Replay:
        """Keep a new replay.

        Raises:
            Conflict: One of this endpoint is under way; names it.
        """
        ...

    async def find(self, tenant_id: str, replay_id: int) -> Replay | None:
        """One replay as it stands."""
        ...

    async def page(
        self, tenant_id: str, *, endpoint_id: str | None, below: int | None, limit: int
    ) -> Sequence[Replay]:
        """A tenant's replays, newest first."""
        ...

    async def cancel(self, tenant_id: str, replay_id: int, reason: str) -> Replay | None:
        """End one that is running; as it stands then, None where there is none."""
        ...


class ReplayWork(Protocol):
    """Working replays off, in bounded pages."""

    async def count(self, endpoint: Endpoint, selection: Selection) -> Mapping[Kind, int]:
        """How much a selection takes up now, by kind; every kind that it asks for is named."""
        ...

    async def running(self, after: Running | None, *, limit: int) -> Sequence[Running]:
        """Replays that are not over, everybody's, in a fixed order, behind one of them."""
        ...

    async def advance(self, one: Running, *, limit: int) -> int:
        """Take up to `limit` more deliveries up, with the replay's position in one commit.

        How many it was, and 1 at least where it went on or ended. 0 where it waits: its endpoint
        takes nothing now, or has enough to do.
        """
        ...


class Replaying:
    """What is done with replays, for every way of asking for it."""

    def __init__(
        self,
        directory: Directory,
        replays: Replays,
        work: ReplayWork,
        runner: "ReplayRunner",
        *,
        check_types: Callable[[Sequence[str]], Sequence[FieldError]],
        clock: Clock,
        numbers: Numbers,
    ) -> None:
        self._check_types = check_types
        self._directory = directory
        self._replays = replays
        self._work = work
        self._runner = runner
        self._clock = clock
        self._numbers = numbers

    async def preview(
        self, tenant_id: str, endpoint_id: str, selection: Selection
    ) -> Mapping[Kind, int]:
        """How much it would take up.

        Raises:
            NotFound: There is no such endpoint.
            InvalidInput: The range holds no time, or a type is none.
        """
        endpoint = await self._endpoint(tenant_id, endpoint_id)
        return await self._work.count(endpoint, self._bounded(selection))

    async def start(
        self, tenant_id: str, endpoint_id: str, selection: Selection, *, asked_by: str
    ) -> Replay:
        """Begin; it goes on by itself until it is done or cancelled.

        Raises:
            NotFound: There is no such endpoint.
            InvalidInput: The range holds no time, or a type is none.
            Conflict: One of this endpoint is under way.
        """
        endpoint = await self._endpoint(tenant_id, endpoint_id)
        bounded = self._bounded(selection)
        counts = await self._work.count(endpoint, bounded)
        now = self._clock.now()
        replay = await self._replays.add(
            Replay(
                tenant_id=tenant_id,
                id=self._numbers.next(),
                endpoint_id=endpoint_id,
                asked_by=asked_by,
                selection=bounded,
                position=Numbers.at(bounded.since) - 1,
                total=sum(counts.values()),
                created_at=now,
                updated_at=now,
            )
        )
        passing(Point.REPLAY_ADDED)
        log.info("replay.started", extra=_context(replay))
        self._runner.nudge()
        return await self._shown(replay)

    async def get(self, tenant_id: str, replay_id: int) -> Replay:
        """One replay as it stands.

        Raises:
            NotFound: There is no such replay.
        """
        found = await self._replays.find(tenant_id, replay_id)
        if found is None:
            raise NotFound("no such replay")
        return await self._shown(found)

    async def page(
        self, tenant_id: str, *, endpoint_id: str | None, below: int | None, limit: int
    ) -> Sequence[Replay]:
        """A tenant's replays, newest first."""
        found = await self._replays.page(
            tenant_id, endpoint_id=endpoint_id, below=below, limit=limit
        )
        return [await self._shown(each) for each in found]

    async def cancel(self, tenant_id: str, replay_id: int) -> Replay:
        """End it; what was taken up stays so. One that is over is left as it is.

        Raises:
            NotFound: There is no such replay.
        """
        found = await self._replays.cancel(tenant_id, replay_id, "by-hand")
        if found is None:
            raise NotFound("no such replay")
        return found

    async def _shown(self, replay: Replay) -> Replay:
        """With what it waits for."""
        if replay.state is not ReplayState.RUNNING:
            return replay
        endpoints = await self._directory.endpoints(replay.tenant_id)
        endpoint = next((each for each in endpoints if each.id == replay.endpoint_id), None)
        if endpoint is None or endpoint.state is EndpointState.ACTIVE:
            return replay
        return replace(replay, reason=f"endpoint-{endpoint.state}")

    async def _endpoint(self, tenant_id: str, endpoint_id: str) -> Endpoint:
        for endpoint in await self._directory.endpoints(tenant_id):
            if endpoint.id == endpoint_id:
                return endpoint
        raise NotFound("no such endpoint")

    def _bounded(self, selection: Selection) -> Selection:
        """Up to now: what comes later is delivered anyway."""
        # A misspelt one would find nothing, which reads as if nothing were missing.
        if errors := self._check_types(selection.event_types):
            raise InvalidInput(errors)
        now = self._clock.now()
        if selection.since > now:
            raise InvalidInput([FieldError("/since", "must not lie in the future")])
        if selection.since >= selection.until:
            raise InvalidInput([FieldError("/until", "must be later than since")])
        return replace(selection, until=min(selection.until, now + 1))


class ReplayRunner:
    """Works replays off: at start, when nudged, and every minute."""

    def __init__(self, work: ReplayWork, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """There is something to do."""
        self._nudged.set()

    async def run(self) -> None:
        """Work until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            self._nudged.clear()
            moved, left = await self.step()
            if moved:
                pause = _FIRST_PAUSE
                continue
            await self._rest(pause if left else EVERY)
            pause = min(pause * 2, _LONGEST_PAUSE) if left else _FIRST_PAUSE

    async def turn(self, within_ms: int) -> None:
        """Work until nothing is left or the time is up, for a host that comes back later."""
        until = self._clock.now() + within_ms
        pause = _FIRST_PAUSE
        while True:
            moved, left = await self.step()
            pause = _FIRST_PAUSE if moved else min(pause * 2, _LONGEST_PAUSE)
            if not left or self._clock.now() + pause > until:
                return
            if not moved:
                await self._clock.sleep_until(self._clock.now() + pause)

    async def step(self) -> tuple[int, int]:
        """A page of every replay that is not over; what moved, and how many there were.

        One that fails is tried again with the next step.
        """
        moved = seen = 0
        last: Running | None = None
        while True:
            try:
                passing(Point.REPLAY_LOOKS)
                page = await self._work.running(last, limit=_RUNNING)
            except Exception as error:  # noqa: BLE001 - written down
                _failed(error)
                return moved, seen + 1
            for one in page:
                try:
                    advance = self._work.advance(one, limit=PAGE)
                    moved += await between(Point.REPLAY_ADVANCES, advance, Point.REPLAY_ADVANCED)
                except Exception as error:  # noqa: BLE001 - as above
                    _failed(error, tenantId=one.tenant_id, endpointId=one.endpoint_id)
            seen += len(page)
            if len(page) < _RUNNING:
                return moved, seen
            last = page[-1]

    async def _rest(self, ms: int) -> None:
        waits = {
            asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + ms)),
            asyncio.ensure_future(self._until_nudged()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _until_nudged(self) -> None:
        await self._nudged.wait()


def _context(replay: Replay) -> dict[str, object]:
    return {
        "tenantId": replay.tenant_id,
        "endpointId": replay.endpoint_id,
        "total": replay.total,
        "askedBy": replay.asked_by,
    }


def _failed(error: Exception, **fields: str) -> None:
    """Write down why nothing was moved; an outage is told in a line by everybody it meets."""
    if isinstance(error, Unavailable):
        log.warning("replay.waits", extra={**fields, "reason": str(error)})
    else:
        log.warning("replay.failed", exc_info=error, extra=fields)
