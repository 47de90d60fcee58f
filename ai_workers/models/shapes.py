"""How each model wants to be asked: the form of requests, and what they are made of. Pure.

What is known of a family of models is the table below; deployments may have any name, so that a
shape is also learnt from what an endpoint refuses.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ai_workers.models import faults
from ai_workers.models.prices import Counts
from ai_workers.ports import Question, Sound

_REASONING_ROOM = 8_192
"""Tokens that a reasoning model may think in, beside its answer: they count as output."""

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_IMAGE = 2_400
"""As Azure's sample of Phi-4-multimodal counts one picture."""

_MS_PER_AUDIO_TOKEN = 80


class AudioShape(StrEnum):
    """How sound is put into a request: one is OpenAI's, the other what Phi took first."""

    INPUT_AUDIO = "input_audio"
    AUDIO_URL = "audio_url"


class TokensField(StrEnum):
    """What the bound of an answer is called."""

    MAX_TOKENS = "max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a model wants to be asked.

    Attributes:
        json_mode: Whether it can be told to reply in JSON alone.
        reasons: Whether it thinks before it answers.
        tokens: How the bound of its answer is called.
        most_tokens: The longest answer it may be asked for.
        audio: How sound is sent.
    """

    json_mode: bool = False
    reasons: bool = False
    tokens: TokensField = TokensField.MAX_TOKENS
    most_tokens: int = 4_096
    audio: AudioShape = AudioShape.INPUT_AUDIO


_PHI = Shape()
_COMPLETION = TokensField.MAX_COMPLETION_TOKENS
_DEEPSEEK = Shape(json_mode=True, reasons=True, tokens=_COMPLETION, most_tokens=32_768)
_FAMILIES: Sequence[tuple[str, Shape]] = (
    ("phi-4-reasoning", replace(_PHI, reasons=True, most_tokens=32_768)),
    ("phi", _PHI),
    ("deepseek", _DEEPSEEK),
    ("gpt-4", Shape(json_mode=True, most_tokens=16_384)),
    ("gpt-5", _DEEPSEEK),
    ("o1", _DEEPSEEK),
    ("o3", _DEEPSEEK),
    ("o4", _DEEPSEEK),
)


def shape_of(model: str, *, audio: AudioShape) -> Shape:
    """What is known of a model, by how its name begins; the plainest shape where nothing is."""
    name = model.casefold()
    known = next((shape for prefix, shape in _FAMILIES if name.startswith(prefix)), Shape())
    return replace(known, audio=audio)


def learnt(shape: Shape, question: Question, status: int, body: object) -> Shape | None:
    """The shape to ask once more in, after a refusal; None where the shape is not to blame."""
    if (
        status == 422 and question.sound is not None and shape.audio is AudioShape.INPUT_AUDIO
        # FastAPI's and Azure's 422 name no parameter: sound is what is likeliest to be it.
    ):
        return replace(shape, audio=AudioShape.AUDIO_URL)
    if status not in (400, 422):
        return None
    if shape.json_mode and faults.is_about(body, "response_format"):
        return replace(shape, json_mode=False)
    if faults.is_about(body, shape.tokens):
        other = next(each for each in TokensField if each is not shape.tokens)
        return replace(shape, tokens=other)
    return None


def request(model: str, shape: Shape, question: Question) -> dict[str, Any]:
    """The body of a chat completion that asks a question."""
    room = question.most_tokens + (_REASONING_ROOM if shape.reasons else 0)
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": question.system},
            {"role": "user", "content": _content(question, shape.audio)},
        ],
        shape.tokens.value: min(room, shape.most_tokens),
    }
    if shape.json_mode:
        body["response_format"] = {"type": "json_object"}
    return body


def tells(usage: object) -> bool:
    """Whether an answer says what it took."""
    if not isinstance(usage, dict):
        return False
    return None not in (
        _number(usage.get("prompt_tokens")),
        _number(usage.get("completion_tokens")),
    )


def counts(usage: object, question: Question, reply: str) -> Counts:
    """What an answer says it took; estimated where it does not.

    Endpoints that count sound together with text price it as text, which is fifty times too
    cheap: its share is then reckoned from how long it is.
    """
    said: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    details = said.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    sent = _number(said.get("prompt_tokens"))
    back = _number(said.get("completion_tokens"))
    heard = _number(details.get("audio_tokens"))
    return Counts(
        input=_estimate(question) if sent is None else sent,
        output=-(-len(reply) // _CHARACTERS_PER_TOKEN) if back is None else back,
        cached=_number(details.get("cached_tokens")) or 0,
        audio=_heard(question.sound) if heard is None else heard,
    )


def _content(question: Question, audio: AudioShape) -> str | list[dict[str, Any]]:
    if not question.images and question.sound is None:
        return question.user
    parts: list[dict[str, Any]] = [{"type": "text", "text": question.user}]
    for image in question.images:
        url = f"data:image/jpeg;base64,{base64.b64encode(image.jpeg).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    if question.sound is not None:
        data = base64.b64encode(question.sound.wav).decode()
        if audio is AudioShape.INPUT_AUDIO:
            part: dict[str, Any] = {"data": data, "format": "wav"}
        else:
            part = {"url": f"data:audio/wav;base64,{data}"}
        parts.append({"type": audio.value, audio.value: part})
    return parts


def _estimate(question: Question) -> int:
    characters = len(question.system) + len(question.user)
    return (
        -(-characters // _CHARACTERS_PER_TOKEN)
        + _TOKENS_PER_IMAGE * len(question.images)
        + _heard(question.sound)
    )


def _heard(sound: Sound | None) -> int:
    return 0 if sound is None else -(-sound.duration_ms // _MS_PER_AUDIO_TOKEN)


def _number(value: object) -> int | None:
    """A count that can be one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= 1_000_000_000 else None
