"""Suggests replies to a fan."""

from collections.abc import Mapping, Sequence
from typing import Any

from ai_workers.ports import Run
from ai_workers.text_work import TextWorker
from notifications.text import shorten

_COUNT = 3
_LENGTH = 300
_MOST_CHARACTERS = 12_000
"""Of a conversation that a model gets to see, from its end: what was said earlier matters less."""

_KNOWN = ("fan", "persona", "offer", "avoid")


class ChatSuggestionsWorker(TextWorker):
    """Does the jobs of the type `chat.suggest`. Implements `ports.JobWorker`."""

    JOB_TYPE = "chat.suggest"
    ANSWERED = ("summary", "mood", "suggestions", "cautions")
    MOST_TOKENS = 2_048

    async def run(self, run: Run) -> Mapping[str, Any]:
        """Suggest replies to the last message of a conversation.

        Raises:
            ModelFailed: The model did not answer.
        """
        await run.progress(5, "reading")
        given = run.input
        count, length = given.get("count", _COUNT), given.get("maxLength", _LENGTH)
        question = self.question(
            run,
            told={
                "count": count,
                "length": length,
                "goal": given.get("goal", "keep-talking"),
                "tone": given.get("tone", "friendly"),
                "emoji": given.get("emoji", "few"),
            },
            material={name: given[name] for name in _KNOWN if name in given}
            | {"conversation": _the_end_of(given["messages"])},
        )
        await run.progress(20, "model")
        answer = await run.ask(question)
        await run.progress(95, "checking")
        return {
            "language": run.locale,
            **answer,
            "suggestions": _usable(answer["suggestions"], count, length),
        }


def _the_end_of(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As many of the last messages as fit, one at least."""
    kept: list[Mapping[str, Any]] = []
    left = _MOST_CHARACTERS
    for message in reversed(messages):
        left -= len(message["text"])
        if left < 0 and kept:
            break
        kept.append(message)
    return kept[::-1]


def _usable(
    suggestions: Sequence[Mapping[str, Any]], count: int, length: int
) -> list[dict[str, Any]]:
    """Each text once, those that keep the length before those that have to be cut."""
    once: dict[str, Mapping[str, Any]] = {}
    for each in suggestions:
        once.setdefault(each["text"].strip(), each)
    order = sorted(once.items(), key=lambda each: len(each[0]) > length)
    return [{**each, "text": shorten(text, length)} for text, each in order[:count]]


WORKER = ChatSuggestionsWorker()
