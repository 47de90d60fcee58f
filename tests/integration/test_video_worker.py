"""A video job, from the URL to the result."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from ai_workers.download import DownloadLimits
from ai_workers.ports import JobFailed, JobWorker, ModelFailed
from ai_workers.workers.video import WORKER, VideoAnalysisWorker, VideoSettings
from notifications.shipped import ROOT, SCHEMAS
from tests.video_runs import HandRun, WatchingModel, describe
from tests.videos import Made, make
from tests.webhook_receivers import Receiver, answer, receiver
from tests.webhook_worlds import LOOPBACK, CountingDice

FOLDER = SCHEMAS / "jobs" / "video.analysis"
RESULTS = jsonschema_rs.validator_for(json.loads((FOLDER / "v1.result.json").read_text("utf-8")))
SETTINGS = VideoSettings(download=DownloadLimits(allowed=LOOPBACK))
HERE = VideoAnalysisWorker(SETTINGS, dice=CountingDice())
STEPS = ["reading", "frames", "audio", "model", "checking"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three scenes with a tone."""
    folder = tmp_path_factory.mktemp("video")
    return make(folder / "video.mp4", Made(scenes=(1.0, 2.0, 1.4), sound=440)).read_bytes()


def serving(body: bytes) -> Any:
    return receiver(answer(body=body, headers={"content-type": "video/mp4"}))


def run_of(server: Receiver, **more: Any) -> HandRun:
    locale = more.pop("locale", "en")
    model = more.pop("model", None) or WatchingModel()
    return HandRun(input={"url": server.url(), **more}, model=model, locale=locale)


def is_a_worker(worker: JobWorker) -> str:
    return worker.job_type


def test_it_is_a_worker():
    """The module has its worker, of the type that its folder of schemas is named for."""
    assert is_a_worker(WORKER) == FOLDER.name


async def test_the_hub_never_loads_the_decoders():
    """Importing the worker brings no FFmpeg into the process: only the reader has it."""
    program = "import sys, ai_workers.workers.video; print('av' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.strip() == b"False"


async def test_a_video_is_analysed(video: bytes):
    """Its scenes are where they were made, the facts are measured, and the result is valid."""
    async with serving(video) as server:
        run = run_of(server)
        result = await HERE.run(run)
    assert RESULTS.is_valid(result), next(RESULTS.iter_errors(result), None)
    assert [(each["startMs"], each["endMs"]) for each in result["scenes"]] == [
        (0, 1_000), (1_000, 3_000), (3_000, pytest.approx(4_400, abs=50)),
    ]  # fmt: skip
    technical = result["technical"]
    assert (technical["width"], technical["height"], technical["videoCodec"]) == (320, 180, "h264")
    assert technical["sizeBytes"] == len(video)
    assert len(result["captions"]) == 3


async def test_progress_is_told_step_by_step(video: bytes):
    """Each step once, in order, and further every time."""
    async with serving(video) as server:
        run = run_of(server)
        await HERE.run(run)
    assert [step for _, step in run.told] == STEPS
    percents = [percent for percent, _ in run.told]
    assert percents == sorted(set(percents))
    assert 0 < percents[0] < percents[-1] < 100


async def test_the_model_gets_what_it_needs(video: bytes):
    """Pictures in order, the sound, the language, and the user's words in the user part alone."""
    model = WatchingModel()
    async with serving(video) as server:
        run = run_of(server, model=model, title="Mon titre", context="Pour mes fans", captions=1)
        await HERE.run(replace(run, locale="fr"))
    (question,) = model.asked
    assert question.locale == "fr"
    assert question.system.startswith("Tu analyses une vidéo")
    assert "Mon titre" not in question.system
    assert "Mon titre" in question.user
    assert "Pour mes fans" in question.user
    times = [image.at_ms for image in question.images]
    assert times == sorted(times)
    assert [frame["atMs"] for frame in question.material["frames"]] == times
    assert question.sound is not None
    assert question.sound.duration_ms == pytest.approx(4_400, abs=100)
    assert question.most_tokens <= 4_096


async def test_a_fence_is_another_each_time(video: bytes):
    """A user who has seen one cannot close the next."""
    model = WatchingModel()
    async with serving(video) as server:
        for _ in range(2):
            await HERE.run(run_of(server, model=model, title="x"))
    fences = [question.user.splitlines()[-1].removesuffix(">>>") for question in model.asked]
    assert fences[0] != fences[1]
    assert all(
        fence in question.system for fence, question in zip(fences, model.asked, strict=True)
    )


async def test_a_model_cannot_change_the_facts(video: bytes):
    """Technical facts in an answer are no part of a valid one."""

    def lies(material: Any) -> dict[str, Any]:
        return {**describe(material), "technical": {"durationMs": 1}}

    async with serving(video) as server:
        with pytest.raises(ModelFailed):
            await HERE.run(run_of(server, model=WatchingModel(says=lies)))


async def test_without_sound_there_is_none(tmp_path: Path):
    """A silent film is analysed by its pictures."""
    model = WatchingModel()
    body = make(tmp_path / "video.mp4", Made(scenes=(1.0,))).read_bytes()
    async with serving(body) as server:
        result = await HERE.run(run_of(server, model=model))
    assert model.asked[0].sound is None
    assert (result["technical"]["hasAudio"], result["technical"]["soundMs"]) == (False, 0)


async def test_what_is_no_video_costs_no_model_anything():
    """The model is not asked about a file that cannot be read."""
    model = WatchingModel()
    async with serving(b"not a video, " * 100) as server:
        with pytest.raises(JobFailed) as caught:
            await HERE.run(run_of(server, model=model))
    assert caught.value.code == "video-unreadable"
    assert model.asked == []


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/latest/meta-data", "https://localhost/v.mp4", "/etc/passwd",
            "file:///etc/passwd"],
)  # fmt: skip
async def test_the_worker_as_shipped_goes_nowhere_inside(url: str):
    """With its defaults no address inside and no path is opened, whoever lets it through."""
    run = HandRun(input={"url": url})
    with pytest.raises(JobFailed) as caught:
        await WORKER.run(run)
    assert caught.value.code == "url-refused"


async def test_a_configured_worker_has_its_settings(video: bytes):
    """What a host sets holds for the worker that it makes, and for no other."""
    async with serving(video) as server:
        result = await WORKER.configured(SETTINGS).run(run_of(server))
        with pytest.raises(JobFailed):
            await WORKER.run(run_of(server))
    assert result["summary"]


async def test_callers_in_python_may_give_a_file(tmp_path: Path):
    """A path is a method's argument; an input that names one is not looked at."""
    path = make(tmp_path / "video.mp4", Made(scenes=(1.0, 1.0)))
    run = HandRun(input={})
    result = await WORKER.run_file(run, path)
    assert RESULTS.is_valid(result)
    assert len(result["scenes"]) == 2
    with pytest.raises(JobFailed, match="cannot be opened"):
        await WORKER.run_file(run, tmp_path / "missing.mp4")


@pytest.mark.parametrize("step", STEPS)
async def test_a_cancelled_job_stops_where_it_is(step: str, video: bytes):
    """Wherever somebody cancels, no further step is begun."""
    async with serving(video) as server:
        run = run_of(server)
        run.cancel_at, run.cancel_step = asyncio.CancelledError(), step
        with pytest.raises(asyncio.CancelledError):
            await HERE.run(run)
    assert [told for _, told in run.told] == STEPS[: STEPS.index(step) + 1]


async def test_no_more_are_read_at_once_than_allowed(video: bytes):
    """Of several jobs two are between frames and model at any time; the others wait."""
    worker = VideoAnalysisWorker(replace(SETTINGS, at_once=2))
    reading, most = 0, 0

    class Counting(HandRun):
        async def progress(self, percent: int, step: str) -> None:
            nonlocal reading, most
            reading += {"frames": 1, "model": -1}.get(step, 0)
            most = max(most, reading)

    async with serving(video) as server:
        runs = [Counting(input={"url": server.url()}) for _ in range(5)]
        results = await asyncio.gather(*(worker.run(run) for run in runs))
    assert len(results) == 5
    assert most <= 3  # one that is done with reading may not yet have said so
