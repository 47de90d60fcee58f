"""Analyses how published content does: the figures are computed here, the model explains them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ai_workers.content_figures import analyzed
from ai_workers.ports import JobFailed, Run
from ai_workers.text_work import TextWorker

_BEST = 25
_WEAKEST = 15
"""Posts that a model gets to see, from either end of the list."""

_KNOWN = ("platform", "niche", "question")


class ContentAnalysisWorker(TextWorker):
    """Does the jobs of the type `content.analyze`. Implements `ports.JobWorker`."""

    JOB_TYPE = "content.analyze"
    ANSWERED = ("summary", "insights", "recommendations", "notes")
    MOST_TOKENS = 4_096

    def _answers(self, result: dict[str, Any]) -> dict[str, Any]:
        post = result["properties"]["posts"]["items"]
        note = {name: post["properties"][name] for name in ("id", "note")}
        result["properties"]["notes"] = {
            "type": "array",
            "description": "What is worth knowing about single posts; not about each.",
            "maxItems": _BEST + _WEAKEST,
            "items": {
                "type": "object",
                "properties": note,
                "required": ["id", "note"],
                "additionalProperties": False,
            },
        }
        return super()._answers(result)

    async def run(self, run: Run) -> Mapping[str, Any]:
        """Compute what the figures say, and have it explained.

        Raises:
            JobFailed: The input contradicts itself.
            ModelFailed: The model did not answer.
        """
        await run.progress(5, "reading")
        given = run.input
        try:
            computed = analyzed(given)
        except ValueError as error:
            raise JobFailed("invalid-input", f"The posts cannot be read: {error}.") from error
        question = self.question(
            run,
            told={"rank": given.get("rankBy", "views"), "posts": computed["totals"]["posts"]},
            material={name: given[name] for name in _KNOWN if name in given} | _seen(computed),
            found=computed,
        )
        await run.progress(20, "model")
        answer = await run.ask(question)
        await run.progress(95, "checking")
        return {"language": run.locale, **computed, **_explained(computed, answer)}


def _seen(computed: Mapping[str, Any]) -> dict[str, Any]:
    posts = computed["posts"]
    if len(posts) > _BEST + _WEAKEST:
        posts = [*posts[:_BEST], *posts[-_WEAKEST:]]
    return {**computed, "posts": posts}


def _explained(computed: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The model's part of the result; what it says of posts that there are not is left out."""
    known = {post["id"] for post in computed["posts"]}
    notes = {each["id"]: each["note"] for each in answer["notes"]}
    posts: Sequence[dict[str, Any]] = [
        {**post, "note": notes[post["id"]]} if post["id"] in notes else post
        for post in computed["posts"]
    ]
    insights = [
        {**each, "postIds": [name for name in each["postIds"] if name in known]}
        for each in answer["insights"]
    ]
    return {
        "posts": posts,
        "summary": answer["summary"],
        "insights": insights,
        "recommendations": answer["recommendations"],
    }


WORKER = ContentAnalysisWorker()
