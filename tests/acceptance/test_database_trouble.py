"""A database that takes no writes for a while: the hub says so, loses nothing, and goes on."""

import asyncio
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.bus_worlds import held
from tests.chaos_load import SETTINGS, counting, event
from tests.hub_process import HubProcess, hub_process, run_huntaze

PATIENCE_S = 60
"""How long anything may take to be well again."""


@contextmanager
def locked(hub: HubProcess) -> Iterator[None]:
    """Another process's transaction holds the write lock."""
    with held(hub.data / "hub.db"):
        yield


@contextmanager
def full(hub: HubProcess) -> Iterator[None]:
    """No write of the hub's process finds room, in any file."""
    before = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, before)


Trouble = Callable[[HubProcess], AbstractContextManager[None]]
LOCKED_S = 10.0
"""Longer than a statement waits for the lock."""

ANSWERS_IN_S = 4.0
"""What a slow receiver takes: less than that, and less than a webhook may take."""

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")


class Caller:
    """A tenant's calls; of each event that was answered 202, whether it was there before."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.accepted: dict[str, bool] = {}

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any, Any]:
        """Status, headers and document of an answer."""
        async with self._session.request(method, self._url + path, json=body) as answer:
            return answer.status, answer.headers, await answer.json()

    async def publish(self, event_id: str) -> tuple[int, Any, Any]:
        """Publish one event."""
        answer = await self.call("POST", "/v1/events", event(event_id))
        if answer[0] == 202:
            self.accepted.setdefault(event_id, answer[2]["duplicate"])
        return answer


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition, awaited, gives something true."""
    give_up = time.monotonic() + PATIENCE_S
    while not (found := await condition()):
        assert time.monotonic() < give_up, f"waited {PATIENCE_S} s for {what}"
        await asyncio.sleep(0.05)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("trouble", "lasts_s"),
    [pytest.param(locked, LOCKED_S), pytest.param(full, 0.0, marks=ON_LINUX)],
    ids=["locked", "full"],
)
@pytest.mark.fault("its database is locked for ten seconds, or its disk is full", "ourselves")
async def test_a_database_that_cannot_be_written_answers_503_and_recovers_by_itself(
    tmp_path: Path, trouble: Trouble, lasts_s: float
) -> None:
    """Publishing answers 503 with Retry-After and leaves nothing half-done, reading goes on; then
    the same events are accepted as new, all that was accepted arrives once, what was under way to a
    slow receiver included, and the audit is clean."""
    with hub_process(tmp_path, SETTINGS) as hub:
        headers = await asyncio.to_thread(hub.tenant_headers, "acme")
        async with counting() as receiver, aiohttp.ClientSession(headers=headers) as session:
            caller = Caller(session, hub.url)
            await caller.call("POST", "/v1/webhook-endpoints", {"url": receiver.url})
            await asyncio.gather(*(caller.publish(f"before-{n}") for n in range(20)))
            assert len(caller.accepted) == 20
            late = [f"late-{number}" for number in range(5)]
            slow = {f"slow-{number}" for number in range(5)}

            async def arrived() -> bool:
                return set(caller.accepted) <= set(receiver.answered)

            async def under_way() -> bool:
                return slow <= set(receiver.calls)

            async def answered() -> bool:
                return slow <= set(receiver.answered) and time.monotonic() >= over_at

            await until(arrived, "what was there before")
            receiver.delay_s = ANSWERS_IN_S
            await asyncio.gather(*map(caller.publish, slow))
            await until(under_way, "the slow receiver to be called")
            with trouble(hub):
                over_at = time.monotonic() + lasts_s
                assert not slow & set(receiver.answered), "nothing is under way any more"
                receiver.delay_s = 0.0
                refused = await asyncio.gather(
                    *(caller.publish(each) for each in late),
                    caller.call("POST", "/v1/events", [event("batch-1"), event("batch-2")]),
                    caller.call("POST", "/v1/webhook-endpoints", {"url": receiver.url}),
                )
                ready = await caller.call("GET", "/readyz")
                read = await caller.call("GET", "/v1/events/before-0")
                missing = await caller.call("GET", "/v1/events/late-0")
                await until(answered, "the slow receiver to answer")

            for status, sent, problem in refused:
                assert status == 503, problem
                assert int(sent["retry-after"]) >= 1
                assert sent["content-type"] == "application/problem+json"
                assert problem["type"] == "urn:huntaze:problem:unavailable"
                assert "Nothing was done" in problem["detail"]
            assert ready[0] == 503
            assert "database-writes" in ready[2]["detail"]
            assert (read[0], missing[0]) == (200, 404)

            async def accepted_again() -> bool:
                answers = [await caller.publish(each) for each in late]
                assert {status for status, *_ in answers} <= {202, 503}
                return all(status == 202 for status, *_ in answers)

            await until(accepted_again, "the hub to take events again")

            async def is_ready() -> bool:
                return (await caller.call("GET", "/readyz"))[0] == 200

            async def settled() -> bool:
                found = await caller.call("GET", "/v1/deliveries?state=pending")
                return found[0] == 200 and not found[2]["items"]

            await until(is_ready, "the hub to be ready again")
            await until(arrived, "all that was accepted")
            await until(settled, "all of it to be written down")
            assert not any(caller.accepted.values()), "something was half-done"
            listed = (await caller.call("GET", "/v1/webhook-endpoints"))[2]["items"]
            assert len(listed) == 1

            async def audited() -> bool:
                arguments = ["audit", "--data", str(tmp_path)]
                audit = await asyncio.to_thread(run_huntaze, arguments, SETTINGS)
                return audit.returncode == 0

            await until(audited, "a clean audit")
            assert receiver.answered == Counter(caller.accepted.keys())
