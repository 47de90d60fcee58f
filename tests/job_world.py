"""The AI workers in a test's hands: the hub's heart, real jobs, workers that obey.

Time stands still until the test moves it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from ai_workers.jobs import Job, Order
from ai_workers.services import JobServices
from ai_workers.store import SqlJobs
from notifications.bus.dead_letters import EmbeddedDeadLetters
from notifications.bus.topology import CONSUMERS, JOBS_TOPIC
from notifications.extensions import Parts, Running
from notifications.http.exposition import Metrics
from notifications.messages import Message
from notifications.settings import Settings
from notifications.shipped import load_catalogue
from notifications.stores.directory import SqlDirectory
from notifications.stores.given_up import SqlGivenUp
from notifications.sweep import Sweep
from notifications.vault import Vault
from notifications.worker import Worker
from tests.heart_world import SQLITE, HeartWorld, heart_world
from tests.job_workers import CHAT, VIDEO, Obedient, extension

TENANT = "acme"


class _App:
    """Stands where the API is mounted, and keeps what is mounted."""

    def __init__(self) -> None:
        self.state = _State()
        self.router = _State()
        self.router.routes = []
        self.state.metrics = []


class _State:
    jobs: JobServices
    routes: list[Any]
    metrics: list[Metrics]


@dataclass(slots=True, kw_only=True)
class JobWorld:
    """Jobs at work.

    Attributes:
        heart: What is below them.
        services: What the API of jobs talks to.
        running: What the hub was given to run.
        chat: Does the light jobs.
        video: Does the heavy ones.
        sweep: The jobs' own steps.
        workers: By subscription: receive the jobs' messages.
    """

    heart: HeartWorld
    services: JobServices
    running: Running
    chat: Obedient
    video: Obedient
    sweep: Sweep
    workers: Mapping[str, Worker]

    @property
    def store(self) -> SqlJobs:
        """The truth about jobs."""
        assert isinstance(self.services.desk, SqlJobs)
        return self.services.desk

    async def submit(self, job_id: str = "job-1", **changes: Any) -> Job:
        """Ask for a job."""
        job, _ = await self.store.submit(order(job_id, **changes))
        return job

    async def put(self, document: Mapping[str, Any] | bytes, job_type: str = CHAT) -> None:
        """A message of another producer."""
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        message = Message(id="theirs", body=body, properties={"jobType": job_type})
        await self.heart.bus.publish(JOBS_TOPIC, [message])

    def job(self, job_id: str = "job-1") -> dict[str, Any]:
        """A job's row."""
        names = ("state", "run", "progress", "error_code", "cost_nano_usd", "input_tokens")
        rows = self.heart.rows(f"SELECT {', '.join(names)} FROM jobs WHERE id = '{job_id}'")
        return dict(zip(names, rows[0], strict=True)) if rows else {}

    def state(self, job_id: str = "job-1") -> str | None:
        """How a job stands."""
        return self.job(job_id).get("state")

    async def until_state(self, state: str, job_id: str = "job-1") -> None:
        """Wait for a job's state."""
        await self.heart.until(lambda: self.state(job_id) == state)

    def events(self, job_id: str = "job-1") -> list[str]:
        """The ids of a job's events in the ledger, without the job's own, in their order."""
        rows = self.heart.rows("SELECT id FROM events ORDER BY key")
        return [row[0].removeprefix(f"{job_id}.") for row in rows if row[0].startswith(job_id)]


def order(job_id: str = "job-1", **changes: Any) -> Order:
    """A light job of ada's."""
    whole = Order(
        tenant_id=TENANT, id=job_id, job_type=CHAT, user_id="ada", input={"text": "one two three"}
    )
    return replace(whole, **changes)


def document(job_id: str = "job-1", **changes: Any) -> dict[str, Any]:
    """The same as another producer writes it; None takes a field away."""
    whole = {
        "id": job_id,
        "jobType": CHAT,
        "tenantId": TENANT,
        "userId": "ada",
        "input": {"text": "one two three"},
        "createdAt": "2026-03-01T12:00:00Z",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


@asynccontextmanager
async def job_world(
    folder: Path, store: str = SQLITE, *, working: bool = True, **settings: Any
) -> AsyncIterator[JobWorld]:
    """Jobs on a hub's heart, new or as the last one left it; see `heart_world`."""
    chat, video = Obedient(CHAT), Obedient(VIDEO)
    beside = extension(folder / "schemas", [chat, video])
    async with heart_world(folder, store=store) as heart:
        configured = Settings(**settings)
        async with beside.open(_parts(heart, configured)) as running:
            app = _App()
            running.mount(app)  # type: ignore[arg-type]
            appetites = beside.appetites(configured)
            workers = {
                name: Worker(name, guard, heart.bus, heart.clock, appetites[name])
                for name, guard in running.guards.items()
            }
            if working:
                for worker in workers.values():
                    worker.start()
            yield JobWorld(
                heart=heart,
                services=app.state.jobs,
                running=running,
                chat=chat,
                video=video,
                sweep=Sweep(running.steps, heart.clock, tidying=running.tidying),
                workers=workers,
            )


def _parts(heart: HeartWorld, settings: Settings) -> Parts:
    dead_letters = EmbeddedDeadLetters(
        heart.bus_database,
        heart.bus,
        heart.dice,
        SqlGivenUp(heart.numbers),
        consumers=CONSUMERS,
        ledger=None if heart.outbox is None else heart.database,
    )
    return Parts(
        settings=settings,
        catalogue=load_catalogue(),
        database=heart.database,
        shared=heart.outbox is not None,
        ledger=heart.ledger,
        outbox=heart.within,
        bus=heart.bus,
        dead_letters=dead_letters,
        directory=SqlDirectory(heart.database, Vault((bytes(32),), heart.dice), heart.clock),
        clock=heart.clock,
        dice=heart.dice,
        numbers=heart.numbers,
    )
