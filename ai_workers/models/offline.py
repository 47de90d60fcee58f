"""The model that answers where none is configured: it computes its answers, and says so.

For trying the hub without an account, and for tests: the same question has the same answer, every
answer is valid by its schema, and none costs anything. What it says is taken from the question's
material: a conversation's last message, the growth of figures, the pictures of a video. It knows
nothing else, and where a reader could think that it does, its texts say that it is offline.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ai_workers.compiling import validator_of
from ai_workers.models.filling import filled
from ai_workers.models.offline_analysis import analysis
from ai_workers.models.offline_chat import chat
from ai_workers.models.offline_ideas import ideas
from ai_workers.models.offline_video import video
from ai_workers.models.offline_words import words_of
from ai_workers.ports import Question, Reply, Usage
from ai_workers.reading import cleaned

NAME = "offline"

_LOCALES = ("en", "fr")

_ANSWERS: Mapping[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    "chat.suggest": chat,
    "content.suggest": ideas,
    "content.analyze": analysis,
    "video.analysis": video,
}


class OfflineModel:
    """Implements `ports.Model` without anybody to ask."""

    async def answer(
        self,
        question: Question,
        *,
        within_s: float,  # noqa: ARG002
        spent: Callable[[Usage], None] | None = None,  # noqa: ARG002
    ) -> Reply:
        """Compute an answer; it is there at once.

        A job type that it knows nothing of gets the least that the schema takes.
        """
        locale = question.locale if question.locale in _LOCALES else "en"
        compute = _ANSWERS.get(question.job_type)
        found = None if compute is None else cleaned(compute(question.material, locale))
        if found is None or not validator_of(question.schema).is_valid(found):
            found = filled(question.schema, str(words_of("common", locale)["sample"]))
        return Reply(
            text=json.dumps(found, ensure_ascii=False),
            usage=Usage(model=NAME, input_tokens=0, output_tokens=0, cost_nano_usd=0),
        )
