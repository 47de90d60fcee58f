"""A run of a video job and a model that looks at what it is asked, for tests."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from ai_workers.media import Footage, KeyFrame, VideoFacts
from ai_workers.ports import Model, ModelFailed, Question, Reply, Sound, Usage

FACTS = VideoFacts(
    duration_ms=10_000,
    width=1080,
    height=1920,
    fps=29.97,
    size=123_456,
    container="mov,mp4,m4a,3gp,3g2,mj2",
    video_codec="h264",
    audio_codec="aac",
)
FOOTAGE = Footage(
    facts=FACTS,
    frames=(
        KeyFrame(at_ms=0, change=1.0, cut=True, jpeg=b"\xff\xd8one"),
        KeyFrame(at_ms=4_000, change=0.4, cut=True, jpeg=b"\xff\xd8two"),
        KeyFrame(at_ms=7_000, change=0.01, cut=False, jpeg=b"\xff\xd8three"),
    ),
    sound=Sound(wav=b"RIFF", duration_ms=9_000),
    notes=(),
)
"""Ten seconds of two scenes, as they were read."""


def describe(material: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody who sees only the cuts says of a video."""
    begins = [frame["atMs"] for frame in material["frames"] if frame["cut"]]
    ends = [*begins[1:], material["durationMs"]]
    return {
        "summary": f"A video of {len(begins)} scenes.",
        "scenes": [
            {"startMs": start, "endMs": end, "description": f"Scene at {start}.", "tags": ["#one"]}
            for start, end in zip(begins, ends, strict=True)
        ],
        "tags": ["test", "Test", "#colours"],
        "safety": [],
        "captions": [{"text": f"Caption {n}", "hashtags": []} for n in range(5)],
    }


@dataclass(slots=True)
class WatchingModel:
    """Answers from what it is shown. Implements `ports.Model`.

    Attributes:
        says: Makes the answer of the question's material.
        asked: Every question, in order.
    """

    says: Callable[[Mapping[str, Any]], Mapping[str, Any]] = describe
    asked: list[Question] = field(default_factory=list)

    async def answer(
        self,
        question: Question,
        *,
        within_s: float,
        spent: Callable[[Usage], None] | None = None,
    ) -> Reply:
        self.asked.append(question)
        usage = Usage(model="watching", input_tokens=10, output_tokens=10, cost_nano_usd=0)
        return Reply(text=json.dumps(self.says(question.material)), usage=usage)


@dataclass(slots=True)
class HandRun:
    """A run that keeps what it is told. Implements `ports.Run`.

    Attributes:
        input: The job's.
        model: Who is asked.
        locale: Of whoever the result is for.
        told: Every progress, in order.
        cancel_at: The step at which somebody cancels the job.
    """

    input: Mapping[str, Any]
    model: Model = field(default_factory=WatchingModel)
    locale: str = "en"
    told: list[tuple[int, str]] = field(default_factory=list)
    cancel_at: BaseException | None = None
    cancel_step: str = ""

    async def progress(self, percent: int, step: str) -> None:
        self.told.append((percent, step))
        if self.cancel_at is not None and step == self.cancel_step:
            raise self.cancel_at

    async def ask(self, question: Question) -> Mapping[str, Any]:
        reply = await self.model.answer(question, within_s=10.0)
        answer = json.loads(reply.text)
        validator = jsonschema_rs.validator_for(dict(question.schema))
        if not validator.is_valid(answer):
            raise ModelFailed("model-reply-invalid", "No.", retryable=False, usage=(reply.usage,))
        return answer
