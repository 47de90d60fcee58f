"""The demo's jobs: one of each type, asked for, watched, and shown with what came of it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from notifications import formats
from notifications.cli.board import Expected, Landing
from notifications.cli.demo_story import (
    ALEX,
    CAMILLE,
    PATIENCE_S,
    RECEIVER,
    Person,
    World,
    call,
    what_lands,
)
from notifications.events import Channel

RESULT = "result"
"""What lands of a job beside what its events bring."""

_LOOK_AGAIN_S = 0.05
_OFFLINE = "offline"
_TOLD = ("queued", "started.1", "end")
"""The events that each job has, whatever its pace: by the end of their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A job that somebody asks for."""

    job_type: str
    person: Person
    input: Mapping[str, Any]


def jobs(video: str) -> Sequence[Asked]:
    """One of each type; `video` is where the demo serves its own."""
    return (
        Asked(
            job_type="video.analysis",
            person=CAMILLE,
            input={"url": video, "title": "Vidéo de démonstration", "captions": 2},
        ),
        Asked(
            job_type="chat.suggest",
            person=ALEX,
            input={
                "title": "Chat with Sam",
                "messages": [
                    {"from": "creator", "text": "Thanks for watching the live last night!"},
                    {"from": "fan", "text": "I loved it! When is the next one?"},
                ],
                "goal": "thank",
                "count": 2,
            },
        ),
        Asked(
            job_type="content.suggest",
            person=ALEX,
            input={
                "title": "Ideas for spring",
                "niche": "Outdoor yoga for beginners",
                "platform": "instagram",
                "goals": ["engage"],
                "count": 2,
            },
        ),
        Asked(
            job_type="content.analyze",
            person=CAMILLE,
            input={
                "title": "Publications de mars",
                "platform": "instagram",
                "posts": [
                    _post("p1", "Routine du matin", (1_200, 5_400, 6_000)),
                    _post("p2", "Mon nouveau tapis", (800, 1_000, 1_050)),
                ],
            },
        ),
    )


def _post(name: str, title: str, views: Sequence[int]) -> Mapping[str, Any]:
    figures = [
        {"at": f"2026-03-{4 + 7 * place:02d}T07:00:00Z", "views": seen, "likes": seen // 10}
        for place, seen in enumerate(views)
    ]
    return {
        "id": name,
        "title": title,
        "format": "short-video",
        "publishedAt": "2026-03-03T07:00:00Z",
        "figures": figures,
    }


async def ask_for_jobs(world: World, channels: Mapping[str, Sequence[str]]) -> None:
    """Ask for each, one after the other, and wait until it has landed.

    Args:
        world: With a hub that does jobs; one that does none is told nothing of them.
        channels: By event type: the channels that carry it.
    """
    if (await world.api.get("/v1/jobs", params={"limit": 1})).status_code == HTTPStatus.NOT_FOUND:
        return
    world.board.note("(now the AI jobs: no model is configured, so the offline model answers,")
    world.board.note(" which computes from the input alone, says so, and costs nothing)")
    for asked in jobs(world.video):
        await _ask(world, asked, channels)


async def _ask(world: World, asked: Asked, channels: Mapping[str, Sequence[str]]) -> None:
    begun = world.board.now()
    body = {"jobType": asked.job_type, "userId": asked.person.id, "input": asked.input}
    name = str((await call(world.api, "POST", "/v1/jobs", body))["id"])
    awaited = [Expected(name, RESULT, asked.person.id)]
    for end, event_type in zip(_TOLD, ("job.queued", "job.started", "job.succeeded"), strict=True):
        awaited += [
            Expected(f"{name}.{end}", what_lands(channel), _who(channel, asked.person))
            for channel in channels[event_type]
            # What a job was a moment ago is not shown any more: its user sees the latest state.
            if channel != Channel.REALTIME or end == "end"
        ]
    world.board.publishing(name, asked.job_type, awaited, at=begun)
    world.board.land(_landing(await _ended(world, name), asked.person))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await world.board.landed(awaited)
    except TimeoutError:
        return  # it is among what is missing in the end


def _who(channel: str, person: Person) -> str:
    return RECEIVER if channel == Channel.WEBHOOK else person.id


async def _ended(world: World, name: str) -> Mapping[str, Any]:
    """A job once it is over."""
    while True:
        job = await call(world.api, "GET", f"/v1/jobs/{name}")
        if job["finishedAt"] is not None:
            return job
        await asyncio.sleep(_LOOK_AGAIN_S)


def _landing(job: Mapping[str, Any], person: Person) -> Landing:
    usage = job["usage"]
    cost = formats.dollars(usage["costUsd"], formats.EN)
    model = f"the {_OFFLINE} model" if usage["model"] == _OFFLINE else usage["model"]
    problem = None
    if job["state"] != "succeeded":
        why = job["error"]["message"] if job["error"] else ""
        problem = f"{job['jobType']} {job['state']}: {why}"
    said = (job["result"] or {}).get("summary") or job["jobType"]
    took = formats.duration(usage["runMs"], formats.EN)
    return Landing(
        event_id=str(job["id"]),
        what=RESULT,
        who=person.id,
        text=f"{model}, {cost}, {took} · {said}",
        problem=problem,
    )
