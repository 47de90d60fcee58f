"""A hub that is killed at named points while everything that it does is going on.

`work` is one round of all of that: events to every channel, an endpoint that fails at first, one
that is paused and resumed, a job, a replay. Each call is made until it is answered, as by a
producer that takes no silence for an answer.
"""

import asyncio
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from notifications.crashpoints import Point
from tests.crash_host import ORDER
from tests.hub_process import ROOT, HubProcess, run_huntaze
from tests.job_runs import schema_of
from tests.model_server import ModelServer

PROGRAM = (sys.executable, str(ROOT / "tests" / "crash_host.py"))
WITHIN_S = 180
"""How long anything may take: claims run out in half a minute, and each minute there is a sweep."""

SETTINGS = {
    "HUNTAZE_RETRY_NOTIFICATIONS": ",".join(["200ms"] * 10),
    "HUNTAZE_RETRY_LIGHT": ",".join(["200ms"] * 5),
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_AI_KEY": "sample-key",
    "HUNTAZE_LOG": "error",
}
PATIENCE = aiohttp.ClientTimeout(total=20)
ENDPOINTS = ("steady", "flaky", "paused")
USER = "u1"

Answer = tuple[int, Any]


class Receiver:
    """Takes webhooks of three endpoints; `flaky` answers 500 to the first call of each event."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.taken: defaultdict[str, set[str]] = defaultdict(set)
        self.webhook_ids: defaultdict[str, set[str]] = defaultdict(set)

    async def take(self, request: web.Request) -> web.Response:
        """One call."""
        name, event_id = request.match_info["name"], str((await request.json())["id"])
        self.calls[(name, event_id)] += 1
        self.webhook_ids[event_id].add(request.headers["webhook-id"])
        if name == "flaky" and self.calls[(name, event_id)] == 1:
            return web.Response(status=500)
        self.taken[name].add(event_id)
        return web.Response(status=204)


@dataclass(slots=True)
class CrashWorld:
    """A hub, what it delivers to, and what it was asked for.

    Attributes:
        hub: Dies where it is told.
        receiver: Its tenant's endpoints.
        targets: Where they are.
        settings: The hub's.
        answered: The events that it answered for, by id.
        jobs: The jobs that it answered for, by id.
        deaths: How often it died.
    """

    hub: HubProcess
    receiver: Receiver
    targets: str
    settings: Mapping[str, str]
    answered: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    deaths: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    endpoints: dict[str, str] = field(default_factory=dict)

    async def furnish(self) -> None:
        """A tenant, its user and its endpoints."""
        self.headers = await asyncio.to_thread(self.hub.tenant_headers, "t1")
        user = {"email": "ada@example.com", "locale": "en", "role": "owner"}
        assert (await self.call("PUT", f"/v1/users/{USER}", user))[0] == 200
        for name in ENDPOINTS:
            made = await self.call(
                "POST", "/v1/webhook-endpoints", {"url": f"{self.targets}/{name}"}
            )
            assert made[0] == 201, made
            self.endpoints[name] = made[1]["id"]

    async def call(self, method: str, path: str, body: object = None) -> Answer:
        """What the hub answers, as soon as it does."""
        give_up = time.monotonic() + WITHIN_S
        while True:
            try:
                async with (
                    aiohttp.ClientSession(headers=self.headers, timeout=PATIENCE) as session,
                    session.request(method, self.hub.url + path, json=body) as answer,
                ):
                    found = await answer.json() if answer.status != 204 else None
                    if answer.status < 500:
                        return answer.status, found
            except (aiohttp.ClientError, TimeoutError):
                pass  # it is dead, or not up again
            assert time.monotonic() < give_up, f"no answer to {method} {path}"
            await asyncio.sleep(0.02)

    async def arm(self, point: Point, *, nth: int = 1) -> None:
        """From now on it dies there, the nth time."""
        order = self.hub.data / ORDER
        order.write_text(f"{point.value} {nth}")
        self.hub.send(signal.SIGUSR1)
        await until(lambda: not order.exists(), f"{point} to be armed")

    async def die(self, working: "asyncio.Task[None] | None" = None) -> None:
        """Wait until it is dead, for as long as what it is to die of goes on."""

        def over() -> bool:
            assert working is None or not working.done(), "all was done before the hub died there"
            return self.hub.ended() is not None

        await until(over, "the hub to die there")
        assert self.hub.ended() == -signal.SIGKILL
        self.deaths += 1

    async def rise(self) -> None:
        """Start it again."""
        await asyncio.to_thread(self.hub.kill)
        await asyncio.to_thread(self.hub.start)

    # ---------------------------------------------------------------- what is going on

    async def work(self, number: int) -> None:
        """Everything once, and to its end."""
        await self.call("POST", f"/v1/webhook-endpoints/{self.endpoints['paused']}/pause")
        names = [f"event-{number}-{each}" for each in range(4)]
        status, answer = await self.call("POST", "/v1/events", [event(name) for name in names])
        assert status == 202, answer
        self.answered.update(names)
        await self._job(number)
        parked = f"/v1/deliveries?state=parked&endpointId={self.endpoints['paused']}"
        await self.until(lambda: self._items(parked), "deliveries to be parked")
        await self.call("POST", f"/v1/webhook-endpoints/{self.endpoints['paused']}/resume")
        await self.until(self.is_quiet, "everything to be delivered")
        await self._replay(number)
        await self.until(self.is_quiet, "what was replayed to be delivered")

    async def _job(self, number: int) -> None:
        given = schema_of("chat.suggest", "v1.example")
        asked = {
            "jobType": "chat.suggest",
            "userId": USER,
            "input": {name: each for name, each in given.items() if name != "title"},
            "idempotencyKey": f"job-{number}",
        }
        status, job = await self.call("POST", "/v1/jobs", asked)
        assert status == 202, job
        self.jobs.add(job["id"])

        async def ended() -> bool:
            _, found = await self.call("GET", f"/v1/jobs/{job['id']}")
            assert found["state"] != "failed", found
            return bool(found["state"] == "succeeded")

        await self.until(ended, "the job to end")

    async def _replay(self, number: int) -> None:
        since = datetime(2020, 1, 1, tzinfo=UTC).isoformat()
        path = f"/v1/webhook-endpoints/{self.endpoints['steady']}/replay"
        status, answer = await self.call("POST", path, {"since": since, "states": ["delivered"]})
        assert status in (202, 409), answer  # 409: it was killed before it could answer

        async def over() -> bool:
            _, found = await self.call("GET", "/v1/replays")
            return bool(found["items"]) and all(each["state"] == "done" for each in found["items"])

        await self.until(over, f"replay {number}")

    async def is_quiet(self) -> bool:
        """Whether nothing is under way: every event is routed, nothing waits."""
        for state in ("pending", "parked"):
            if await self._items(f"/v1/deliveries?state={state}"):
                return False
        return all(each["state"] == "routed" for each in await self.events())

    async def events(self) -> list[dict[str, Any]]:
        """All of its tenant's events, those of jobs too, each with its deliveries."""
        found = []
        for each in await self._items("/v1/events?limit=200"):
            _, whole = await self.call("GET", f"/v1/events/{each['event']['id']}")
            found.append(whole)
        return found

    async def inbox(self) -> list[dict[str, Any]]:
        """What is in the user's inbox."""
        return await self._items(f"/v1/inbox?userId={USER}&limit=200")

    async def _items(self, path: str) -> list[dict[str, Any]]:
        status, answer = await self.call("GET", path)
        assert status == 200, answer
        items: list[dict[str, Any]] = answer["items"]
        return items

    async def until(self, condition: Callable[[], Awaitable[object]], what: str) -> None:
        """Wait until a condition, awaited, is true."""
        give_up = time.monotonic() + WITHIN_S
        while not await condition():
            assert time.monotonic() < give_up, f"waited {WITHIN_S} s for {what}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def crash_world(
    data: Path, settings: Mapping[str, str] | None = None, *, model_s: float = 0.7
) -> AsyncIterator[CrashWorld]:
    """A hub that is up and furnished; its model takes so long for an answer."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{name}", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ModelServer(delay_s=model_s) as model:
        given = {**SETTINGS, "HUNTAZE_AI_ENDPOINT": model.url, **(settings or {})}
        hub = HubProcess(data, given, PROGRAM)
        targets = f"http://127.0.0.1:{runner.addresses[0][1]}"
        world = CrashWorld(hub, receiver, targets, given)
        await asyncio.to_thread(hub.start)
        try:
            await world.furnish()
            yield world
        finally:
            await asyncio.to_thread(hub.stop)
            await runner.cleanup()


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition is true."""
    give_up = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up, f"waited {WITHIN_S} s for {what}"
        await asyncio.sleep(0.01)


def event(name: str) -> dict[str, Any]:
    """An event that every channel carries."""
    return {
        "specversion": "1.0",
        "id": name,
        "source": "/test",
        "type": "payment.received",
        "userid": USER,
        "data": {"amount": 4200, "currency": "EUR", "payer": {"name": "Sample Fan"}},
    }


Death = tuple[Point, int]
"""A point, and which time of passing it is the last."""


async def die_at(world: CrashWorld, *deaths: Death) -> None:
    """Work, and die each of these deaths in turn, while it goes on."""
    for number, (point, nth) in enumerate(deaths):
        await world.arm(point, nth=nth)
        working = asyncio.create_task(world.work(number))
        try:
            await world.die(working)
            await world.rise()
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def reconcile(world: CrashWorld) -> None:
    """The list of what was asked for, what arrived, and the ledger tell the same story; the audit,
    beside the hub, finds no remainder."""
    events = await world.events()
    ids = {each["event"]["id"] for each in events}
    assert world.answered <= ids
    assert {f"{job}.end" for job in world.jobs} <= ids
    by_channel: Counter[str] = Counter()
    for each in events:
        to = [(one["channel"], one["target"]) for one in each["deliveries"]]
        assert len(to) == len(set(to)), f"delivered twice: {each}"
        assert {one["state"] for one in each["deliveries"]} == {"delivered"}, each
        assert [channel for channel, _ in to].count("webhook") == len(ENDPOINTS)
        by_channel.update(channel for channel, _ in to)
    assert by_channel["email"] >= len(world.answered)
    for name in ENDPOINTS:
        assert world.receiver.taken[name] == ids, f"{name} did not get what the ledger says"
    assert {len(found) for found in world.receiver.webhook_ids.values()} == {1}
    mails = list((world.hub.data / "mail").glob("*.eml"))
    assert len(mails) == by_channel["email"], "a mail is missing, or there twice"
    shown = [item["eventId"] for item in await world.inbox()]
    assert len(shown) == len(set(shown)), "an inbox shows something twice"
    assert world.answered <= set(shown), "an inbox lacks something"
    arguments = ["audit", "--data", str(world.hub.data)]
    audit = await asyncio.to_thread(run_huntaze, arguments, world.settings)
    assert audit.returncode == 0, audit.stdout + audit.stderr
