"""What kill tests of jobs load hubs with: jobs of all types, a model that keeps books, a receiver.

Every job's input carries a mark of its own, so that what a model was asked can be told by job.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from ai_workers.models.prices import Counts, PriceTable
from tests.hub_process import HubProcess
from tests.job_runs import schema_of
from tests.model_server import (
    Asked,
    Behaviour,
    ModelServer,
    Reported,
    hang,
    refuse,
    reset,
    right,
    say,
)
from tests.videos import Made, make

VIDEO, CHAT, SUGGEST, ANALYZE = TYPES = (
    "video.analysis", "chat.suggest", "content.suggest", "content.analyze",
)  # fmt: skip
_EVERY = 10
"""One job in so many is a video: each is read in a process of its own."""

_MARK = re.compile(r"mark-(\d+)\.")
_AT_ONCE = 16


def job(number: int, video_url: str) -> dict[str, Any]:
    """A job as it is asked for, the first of its kind in every ten a video."""
    kind = VIDEO if number % _EVERY == 0 else TYPES[1 + number % 3]
    mark = f"mark-{number}."
    given = {name: each for name, each in schema_of(kind, "v1.example").items() if name != "title"}
    if kind == VIDEO:
        given |= {"url": video_url, "title": mark}
    elif kind == CHAT:
        given["persona"] = mark
    elif kind == SUGGEST:
        given["voice"] = mark
    else:
        given["question"] = mark
    return {"jobType": kind, "userId": f"u{number % 7}", "input": given, "idempotencyKey": mark}


@dataclass(slots=True)
class Books:
    """A model's server that writes down by job what it told of, and fails as it should.

    Attributes:
        server: Where it is.
        asked: By job: how often it was asked about.
        told: By job: the usage it reported, one each; of a question that is never answered, what
            it read.
        hanging: The jobs that wait for an answer until somebody cancels them.
    """

    server: ModelServer
    asked: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    told: defaultdict[int, list[Reported]] = field(default_factory=lambda: defaultdict(list))
    hanging: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, delay_s: float) -> Self:
        """A server that takes so long for each answer; enter it."""
        books = cls(ModelServer(delay_s=delay_s))
        books.server.behaviours = [books.behave]
        return books

    async def behave(
        self, server: ModelServer, asked: Asked, request: web.Request
    ) -> web.StreamResponse:
        """Answer as this job's model does, and note what was told: nothing else runs meanwhile."""
        found = _MARK.search(asked.user)
        assert found is not None, "no job's mark is in the question"
        number = int(found[1])
        self.asked[number] += 1
        if number % 20 in CANCELLED or (number % 20 in RESETS and self.asked[number] == 1):
            self.told[number].append(_read(asked))
        if number % 20 in CANCELLED:
            self.hanging.add(number)
        before = len(server.reported)
        answer = await _fate(number, self.asked[number])(server, asked, request)
        self.told[number] += server.reported[before:]
        return answer

    def costs(self, number: int) -> list[int]:
        """What each answer about a job cost, in billionths of a dollar."""
        prices, today = PriceTable.shipped(), datetime.now(UTC).date()
        return [
            prices.cost(
                each.model,
                Counts(input=each.input, output=each.output, audio=each.audio),
                on=today,
            )
            for each in self.told[number]
        ]


def _fate(number: int, times: int) -> Behaviour:
    """Some are refused or cut off at first, some fail for good, and what they cost is paid."""
    match number % 20:
        case 3 if times == 1:
            return refuse(500, {"code": "oops"})
        case 4 if times == 1:
            return reset
        case 8 | 18:
            return hang
        case 5:
            return say("This is no JSON at all.")  # asked once more, then it has failed
        case 6:
            return say("", finish="content_filter")
        case 7 if times == 1:
            return say("Certainly! Let me think about it.")  # repaired by the second
        case _:
            return right()


def _read(asked: Asked) -> Reported:
    """What a question is reckoned to be that nobody told of: four characters a token."""
    sent = -(-(len(asked.system) + len(asked.user)) // 4)
    return Reported(model=asked.model, input=sent, output=0, audio=0)


FAILS = frozenset((5, 6))
"""Of every twenty, those whose model never answers with anything of use."""

RESETS = frozenset((4,))
"""Those whose first question is read, and then the connection breaks."""

CANCELLED = frozenset((8, 18))
"""Those that are cancelled while their model answers."""


async def cancel_what_hangs(
    hub: HubProcess, headers: Mapping[str, str], books: Books, ends: "Ends"
) -> None:
    """Cancel jobs whose model does not answer, until their end was told; goes on for ever."""
    async with aiohttp.ClientSession(hub.url, headers=headers) as session:
        while True:
            for number in sorted(books.hanging):
                with suppress(aiohttp.ClientError):  # killed, or not up again
                    key = {"idempotencyKey": f"mark-{number}."}
                    async with session.get("/v1/jobs", params=key) as answer:
                        (found,) = (await answer.json())["items"]
                    if found["id"] in ends.ended:
                        books.hanging.discard(number)
                    else:
                        async with session.post(f"/v1/jobs/{found['id']}/cancel") as answer:
                            assert answer.status == 200, await answer.text()
            await asyncio.sleep(0.02)


@dataclass(slots=True)
class Ends:
    """A receiver of webhooks, and the place of a video.

    Attributes:
        url: Where it takes webhooks.
        video_url: Where the video is.
        calls: By event id: the webhook ids it came under.
        told: By event id: the types it came as, and of which job.
    """

    video: bytes
    url: str = ""
    video_url: str = ""
    calls: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    told: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    _runner: web.AppRunner | None = None

    @property
    def ended(self) -> set[str]:
        """The jobs whose end was told."""
        ends = (told for name, told in self.told.items() if name.endswith(".end"))
        return {job_id for told in ends for _, job_id in told}

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/", self._take)
        app.router.add_get("/video.mp4", self._show)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.url, self.video_url = f"{base}/", f"{base}/video.mp4"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        event = await request.json()
        self.calls[event["id"]].append(request.headers["webhook-id"])
        self.told[event["id"]].add((event["type"], event["jobid"]))
        return web.Response(status=200)

    async def _show(self, _: web.Request) -> web.Response:
        return web.Response(body=self.video, content_type="video/mp4")


def short_video(folder: Path) -> bytes:
    """Half a second of two scenes, with sound."""
    made = Made(scenes=(0.3, 0.2), width=160, height=90, sound=440)
    return make(folder / "short.mp4", made).read_bytes()


async def submit_all(
    hub: HubProcess, headers: Mapping[str, str], count: int, video_url: str
) -> dict[int, str]:
    """Ask for so many jobs, each again under its key until it is answered; their ids."""
    numbers = iter(range(count))
    names: dict[int, str] = {}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def submit() -> None:
            for number in numbers:
                asked = job(number, video_url)
                while number not in names:
                    try:
                        async with session.post(f"{hub.url}/v1/jobs", json=asked) as answer:
                            assert answer.status == 202, await answer.text()
                            names[number] = (await answer.json())["id"]
                    except aiohttp.ClientError:
                        await asyncio.sleep(0.05)  # killed, or not up again

        await asyncio.gather(*(submit() for _ in range(_AT_ONCE)))
    return names
