"""Analyses videos: fetches, looks, listens, asks the model, puts its answer right."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from aiohttp.abc import AbstractResolver

from ai_workers.download import Downloader, DownloadLimits
from ai_workers.media import Footage, read_video
from ai_workers.media_limits import MediaLimits
from ai_workers.ports import Image, JobFailed, Question, Run
from ai_workers.prompts import Told, shipped_prompts
from ai_workers.text_work import result_schema
from ai_workers.video_answers import answer_schema, result_of
from notifications.ports import Dice
from notifications.settings import Settings
from notifications.timing import SystemDice

JOB_TYPE = "video.analysis"

_CAPTIONS = 3
_SAID = ("title", "context")
"""What a user writes about a video: material, never instructions."""

_MOST_TOKENS = 4_096  # what the multimodal model can say at most


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSettings:
    """How videos are analysed.

    Attributes:
        download: What fetching one may take, and which networks are allowed.
        media: What reading one may take.
        at_once: How many are read at a time, each in a process of its own; the others wait.
    """

    download: DownloadLimits = field(default_factory=DownloadLimits)
    media: MediaLimits = field(default_factory=MediaLimits)
    at_once: int = 2


class VideoAnalysisWorker:
    """Does the jobs of the type `video.analysis`. Implements `ports.JobWorker`."""

    def __init__(
        self,
        settings: VideoSettings | None = None,
        *,
        dice: Dice | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """Read prompts and schema.

        Args:
            settings: The defaults fit a hub with two cores.
            dice: Makes what nobody can guess; the machine's randomness by default.
            resolver: Looks names up; `getaddrinfo` by default.

        Raises:
            ConfigurationError: A prompt is missing or wrong.
        """
        self._settings = settings or VideoSettings()
        self._dice = dice or SystemDice()
        self._downloader = Downloader(self._settings.download, resolver=resolver)
        self._room = asyncio.Semaphore(self._settings.at_once)
        self._prompts = shipped_prompts(JOB_TYPE)
        result = result_schema(JOB_TYPE)
        self._schema = answer_schema(result)
        self._kinds = result["properties"]["safety"]["items"]["properties"]["kind"]["enum"]

    @property
    def job_type(self) -> str:
        """`video.analysis`."""
        return JOB_TYPE

    def for_hub(self, settings: Settings) -> "VideoAnalysisWorker":
        """See `ports.Configurable`: it fetches where webhooks may go, and nowhere else."""
        download = DownloadLimits(
            allowed=settings.webhook_allowed_networks, ca_file=settings.webhook_ca_file
        )
        return self.configured(VideoSettings(download=download))

    def configured(self, settings: VideoSettings) -> "VideoAnalysisWorker":
        """The same with other settings: what a host that has any makes of `WORKER`."""
        return VideoAnalysisWorker(settings, dice=self._dice)

    async def run(self, run: Run) -> Mapping[str, Any]:
        """Analyse the video that the input's `url` leads to.

        Raises:
            JobFailed: It cannot be fetched or read.
            ModelFailed: The model did not answer.
        """
        await run.progress(2, "reading")
        async with self._downloader.fetch(run.input["url"]) as file:
            footage = await self._read(run, file)
        return await self._analyse(run, footage)

    async def run_file(self, run: Run, path: Path) -> Mapping[str, Any]:
        """Analyse a video that is here already. For callers in Python: no input of a job can ask
        for it, as a path in one would open the hub's own files to anybody.

        Raises:
            JobFailed: It cannot be read.
            ModelFailed: The model did not answer.
        """
        await run.progress(2, "reading")
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except OSError as error:
            raise JobFailed("video-unreadable", "The video's file cannot be opened.") from error
        with file:
            footage = await self._read(run, file)
        return await self._analyse(run, footage)

    async def _read(self, run: Run, file: BinaryIO) -> Footage:
        async def listening() -> None:
            await run.progress(45, "audio")

        async with self._room:
            await run.progress(25, "frames")
            return await read_video(file, self._settings.media, listening=listening)

    async def _analyse(self, run: Run, footage: Footage) -> Mapping[str, Any]:
        await run.progress(55, "model")
        captions = run.input.get("captions", _CAPTIONS)
        question = self._question(run, footage, captions)
        answer = await run.ask(question)
        await run.progress(95, "checking")
        return result_of(answer, footage, captions)

    def _question(self, run: Run, footage: Footage, captions: int) -> Question:
        said = {name: run.input[name] for name in _SAID if name in run.input}
        prompt = self._prompts.render(
            run.locale,
            told={
                "captions": captions,
                "kinds": self._kinds,
                "said": bool(said),
                **_shown(footage),
            },
            material=said,
            schema=self._schema,
            dice=self._dice,
        )
        return Question(
            job_type=JOB_TYPE,
            locale=run.locale,
            system=prompt.system,
            user=prompt.user,
            material={"title": "", "context": "", **said, **_measured(footage, captions)},
            images=tuple(Image(at_ms=each.at_ms, jpeg=each.jpeg) for each in footage.frames),
            sound=footage.sound,
            schema=self._schema,
            most_tokens=_MOST_TOKENS,
        )


def _shown(footage: Footage) -> dict[str, Told]:
    """What a model is told of the pictures and the sound that go along."""
    facts = footage.facts
    return {
        "duration_ms": facts.duration_ms,
        "width": facts.width,
        "height": facts.height,
        "pictures": [each.at_ms for each in footage.frames],
        "cuts": [each.at_ms for each in footage.frames if each.cut],
        "sound_ms": 0 if footage.sound is None else footage.sound.duration_ms,
        "notes": footage.notes,
    }


def _measured(footage: Footage, captions: int) -> dict[str, Any]:
    """The same as values, for the model that computes its answer."""
    facts = footage.facts
    return {
        "captions": captions,
        "durationMs": facts.duration_ms,
        "width": facts.width,
        "height": facts.height,
        "hasAudio": facts.audio_codec is not None,
        "soundMs": 0 if footage.sound is None else footage.sound.duration_ms,
        "frames": [
            {"atMs": each.at_ms, "change": each.change, "cut": each.cut} for each in footage.frames
        ],
        "notes": list(footage.notes),
    }


WORKER = VideoAnalysisWorker()
