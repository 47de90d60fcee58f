"""Suggests what to publish, with captions."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ai_workers.ports import Run
from ai_workers.text_work import TextWorker

_COUNT = 5
_HASHTAGS = 5
_LONGEST_HASHTAG = 50
_KNOWN = ("niche", "audience", "voice", "themes", "avoid", "recent", "occasion")


class ContentSuggestionsWorker(TextWorker):
    """Does the jobs of the type `content.suggest`. Implements `ports.JobWorker`."""

    JOB_TYPE = "content.suggest"
    ANSWERED = ("summary", "ideas")
    MOST_TOKENS = 4_096

    async def run(self, run: Run) -> Mapping[str, Any]:
        """Suggest ideas for a creator's niche, platform and goals.

        Raises:
            ModelFailed: The model did not answer.
        """
        await run.progress(5, "reading")
        given = run.input
        count = given.get("count", _COUNT)
        hashtags = given.get("hashtags", _HASHTAGS)
        question = self.question(
            run,
            told={
                "count": count,
                "hashtags": hashtags,
                "platform": given["platform"],
                "goals": given["goals"],
                "formats": given.get("formats", ()),
                "tone": given.get("tone", "friendly"),
            },
            material={name: given[name] for name in _KNOWN if name in given},
            schema=self._wanted(given),
        )
        await run.progress(20, "model")
        answer = await run.ask(question)
        await run.progress(95, "checking")
        return {
            "language": run.locale,
            **answer,
            "ideas": [
                {**idea, "hashtags": _hashtags(idea["hashtags"], hashtags)}
                for idea in answer["ideas"][:count]
            ],
        }

    def _wanted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What is asked for: formats and goals of this job alone; hashtags in any form."""
        schema = copy.deepcopy(self._schema)
        idea = schema["properties"]["ideas"]["items"]["properties"]
        idea["goal"]["enum"] = list(given["goals"])
        if "formats" in given:
            idea["format"]["enum"] = list(given["formats"])
        idea["hashtags"] = {
            "type": "array",
            "maxItems": 30,
            "items": {"type": "string", "maxLength": 100},
        }
        return schema


def _hashtags(said: Sequence[str], most: int) -> list[str]:
    """One word each, without `#`, none twice."""
    once: dict[str, str] = {}
    for each in said:
        word = "".join(each.replace("#", " ").split())[:_LONGEST_HASHTAG]
        if word:
            once.setdefault(word.casefold(), word)
    return list(once.values())[:most]


WORKER = ContentSuggestionsWorker()
