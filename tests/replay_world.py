"""A heart with the real webhook channel, and replays that are worked off."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from notifications.channels.webhooks.channel import check_event_types
from notifications.deliveries import Failed
from notifications.directory import EndpointState
from notifications.events import Event
from notifications.replaying import Replaying, ReplayRunner
from notifications.replays import USUAL, Kind, Replay, ReplayState, Selection
from notifications.stores.replays import SqlReplays, SqlReplayWork
from tests.heart_world import PATIENCE_S, HeartWorld, sample_event
from tests.ledger_world import CATALOGUE
from tests.parking_world import ENDPOINT, Parking, parking_world

FINAL = Failed(reason="http-500", status=500, retryable=False)


@dataclass(slots=True)
class ReplayWorld:
    """What replays need, beside the endpoint `ep_1` of acme."""

    parking: Parking
    work: SqlReplayWork
    runner: ReplayRunner
    replaying: Replaying

    @property
    def heart(self) -> HeartWorld:
        """Bus, ledger, channels."""
        return self.parking.heart

    async def refuse(self, *names: str, **changes: Any) -> None:
        """Events whose deliveries are exhausted at once."""
        self.parking.sender.answer = FINAL
        await self.send([sample_event(name, **changes) for name in names])

    async def send(self, events: Sequence[Event]) -> None:
        """Events that are routed and tried when it returns."""
        before = self.heart.one("SELECT count(*) FROM deliveries")
        await self.heart.publish(*events)
        await self.heart.until(
            lambda: self.heart.one("SELECT count(*) FROM deliveries") >= before + len(events)
        )
        await self.heart.until_quiet()

    def selection(self, kinds: Sequence[Kind] = USUAL, **changes: Any) -> Selection:
        """Everything up to now."""
        whole = Selection(since=0, until=self.heart.clock.now() + 1, kinds=tuple(kinds))
        return replace(whole, **changes)

    async def start(self, *kinds: Kind, endpoint_id: str = "ep_1", **changes: Any) -> Replay:
        """A replay of everything up to now."""
        selection = self.selection(kinds or USUAL, **changes)
        return await self.replaying.start("acme", endpoint_id, selection, asked_by="key_1")

    async def finish(self, replay: Replay, within_s: float = PATIENCE_S) -> Replay:
        """Work it off; as it stands then."""
        give_up = time.monotonic() + within_s
        while (found := await self.now(replay)).state is ReplayState.RUNNING:
            assert time.monotonic() < give_up, (found, self.heart.picture())
            moved, _ = await self.runner.step()
            if not moved:
                await asyncio.sleep(0.002)
        return found

    async def now(self, replay: Replay) -> Replay:
        """As it stands now."""
        return await self.replaying.get(replay.tenant_id, replay.id)

    async def set(self, state: EndpointState, **changes: Any) -> None:
        """Change the endpoint."""
        await self.parking.set(state, **changes)

    def posted(self) -> dict[str, int]:
        """How often each event was posted, by its webhook id."""
        counts: dict[str, int] = {}
        for headers in self.parking.sender.posts:
            counts[headers["webhook-id"]] = counts.get(headers["webhook-id"], 0) + 1
        return counts


@asynccontextmanager
async def replay_world(folder: Path, **options: Any) -> AsyncIterator[ReplayWorld]:
    """Replays on `folder/hub.db`; nobody works on them but the test."""
    async with parking_world(folder, **options) as parking:
        heart = parking.heart
        work = SqlReplayWork(
            heart.database,
            heart.ledger,
            parking.directory,
            heart.policy.table,
            clock=heart.clock,
            numbers=heart.numbers,
        )
        runner = ReplayRunner(work, heart.clock)
        replaying = Replaying(
            parking.directory,
            SqlReplays(heart.database),
            work,
            runner,
            check_types=partial(check_event_types, known=[each.name for each in CATALOGUE.types()]),
            clock=heart.clock,
            numbers=heart.numbers,
        )
        yield ReplayWorld(parking, work, runner, replaying)


__all__ = ["ENDPOINT", "FINAL", "ReplayWorld", "replay_world"]
